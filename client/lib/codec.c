/*-------------------------------------------------------------------------
 *
 * codec.c
 *	  Values and their form on the wire.
 *
 * The model:
 * 1. A parameter goes out in the binary form of its type, with that type's
 *	  OID, so that the server neither parses nor guesses.
 * 2. Texts, documents and ids are sent from where they are; numbers are turned
 *	  around into a small array; arrays are put together in one buffer, whose
 *	  size is computed before anything is written to it.
 * 3. What came back is checked when it arrives (gsl_value_fits), so that the
 *	  functions that read it need not be able to fail.
 *
 *-------------------------------------------------------------------------
 */
#include "codec.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* 1970-01-01 to 2000-01-01 */
#define EPOCH_OFFSET_US INT64_C(946684800000000)

/* libpq sends 16 bits of a count. */
#define MAX_PARAMS 65535

/* An array on the wire: dimensions, has NULLs, type; for each its size and first index. */
#define ARRAY_HEADER	 12
#define ARRAY_DIMENSION	 8
#define ARRAY_MAX_LENGTH (1024 * 1024 * 1024 - 1)

static const uint32_t type_of_param[PARAM_TYPE_COUNT] = {
	[PARAM_NULL] = TYPE_UNKNOWN,
	[PARAM_LITERAL] = TYPE_UNKNOWN,
	[PARAM_BOOL] = TYPE_BOOL,
	[PARAM_INT4] = TYPE_INT4,
	[PARAM_INT8] = TYPE_INT8,
	[PARAM_FLOAT8] = TYPE_FLOAT8,
	[PARAM_TIMESTAMPTZ] = TYPE_TIMESTAMPTZ,
	[PARAM_INTERVAL] = TYPE_INTERVAL,
	[PARAM_UUID] = TYPE_UUID,
	[PARAM_TEXT] = TYPE_TEXT,
	[PARAM_JSON] = TYPE_JSON,
	[PARAM_BYTEA] = TYPE_BYTEA,
	[PARAM_TEXT_ARRAY] = TYPE_TEXT_ARRAY,
	[PARAM_UUID_ARRAY] = TYPE_UUID_ARRAY,
	[PARAM_INT8_ARRAY] = TYPE_INT8_ARRAY,
	[PARAM_TIMESTAMPTZ_ARRAY] = TYPE_TIMESTAMPTZ_ARRAY,
	[PARAM_JSON_ARRAY] = TYPE_JSON_ARRAY,
	[PARAM_BYTEA_ARRAY] = TYPE_BYTEA_ARRAY,
};

void
gsl_put32(unsigned char *at, uint32_t value)
{
	at[0] = (unsigned char) (value >> 24);
	at[1] = (unsigned char) (value >> 16);
	at[2] = (unsigned char) (value >> 8);
	at[3] = (unsigned char) value;
}

void
gsl_put64(unsigned char *at, uint64_t value)
{
	gsl_put32(at, (uint32_t) (value >> 32));
	gsl_put32(at + 4, (uint32_t) value);
}

uint32_t
gsl_get32(const void *at)
{
	const unsigned char *bytes = at;

	return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 |
		   (uint32_t) bytes[2] << 8 | bytes[3];
}

uint64_t
gsl_get64(const void *at)
{
	return (uint64_t) gsl_get32(at) << 32 | gsl_get32((const char *) at + 4);
}

/* infinity stays infinity, and INT64_MIN is left for "no time" */
int64_t
gsl_unix_us(int64_t server_us)
{
	if (server_us == INT64_MIN)
		return INT64_MIN + 1;
	if (server_us == INT64_MAX)
		return INT64_MAX;
	if (server_us > INT64_MAX - 1 - EPOCH_OFFSET_US)
		return INT64_MAX - 1;
	return server_us + EPOCH_OFFSET_US;
}

int64_t
gsl_server_us(int64_t unix_us)
{
	if (unix_us == INT64_MAX)
		return INT64_MAX;
	if (unix_us < INT64_MIN + 2 + EPOCH_OFFSET_US)
		return INT64_MIN;
	return unix_us - EPOCH_OFFSET_US;
}

/* -----------------------------------------------------------------------
 * Making parameters
 * -----------------------------------------------------------------------
 */

static gamestate_param
make_number(ParamType type, int64_t number)
{
	gamestate_param param = {.type = type};

	param.value.number = number;
	return param;
}

static gamestate_param
make_ref(ParamType type, const void *data, size_t len)
{
	gamestate_param param = {.type = type};

	if (data == NULL)
		param.flags = PARAM_IS_NULL;
	param.value.ref.data = data;
	param.value.ref.len = len;
	return param;
}

/* An array without elements needs no memory. */
static gamestate_param
make_array(ParamType type, const void *data, size_t count)
{
	return make_ref(type, count == 0 ? "" : data, count);
}

gamestate_param
gamestate_param_null(void)
{
	return make_ref(PARAM_NULL, NULL, 0);
}

gamestate_param
gamestate_param_bool(bool value)
{
	return make_number(PARAM_BOOL, value);
}

gamestate_param
gamestate_param_int4(int32_t value)
{
	return make_number(PARAM_INT4, value);
}

gamestate_param
gamestate_param_int8(int64_t value)
{
	return make_number(PARAM_INT8, value);
}

gamestate_param
gamestate_param_float8(double value)
{
	gamestate_param param = {.type = PARAM_FLOAT8};

	param.value.real = value;
	return param;
}

gamestate_param
gamestate_param_timestamptz(int64_t us)
{
	gamestate_param param = make_number(PARAM_TIMESTAMPTZ, us);

	if (us == GAMESTATE_NO_TIME)
		param.flags = PARAM_IS_NULL;
	return param;
}

gamestate_param
gsl_param_deadline(int64_t us)
{
	return gamestate_param_timestamptz(us == 0 ? GAMESTATE_NO_TIME : us);
}

gamestate_param
gamestate_param_uuid(const gamestate_uuid *value)
{
	gamestate_param param = {.type = PARAM_UUID};

	if (value == NULL)
		param.flags = PARAM_IS_NULL;
	else
		param.value.uuid = *value;
	return param;
}

gamestate_param
gamestate_param_text(const char *value)
{
	return make_ref(PARAM_TEXT, value, 0);
}

gamestate_param
gamestate_param_json(gamestate_data value)
{
	return make_ref(PARAM_JSON, value.data, value.len);
}

gamestate_param
gamestate_param_bytea(gamestate_data value)
{
	return make_ref(PARAM_BYTEA, value.data, value.len);
}

gamestate_param
gamestate_param_text_array(const char *const *values, size_t count)
{
	return make_array(PARAM_TEXT_ARRAY, values, count);
}

gamestate_param
gamestate_param_uuid_array(const gamestate_uuid *values, size_t count)
{
	return make_array(PARAM_UUID_ARRAY, values, count);
}

gamestate_param
gamestate_param_int8_array(const int64_t *values, size_t count)
{
	return make_array(PARAM_INT8_ARRAY, values, count);
}

gamestate_param
gsl_param_deadline_array(const int64_t *values, size_t count)
{
	gamestate_param param =
		make_array(PARAM_TIMESTAMPTZ_ARRAY, values, values == NULL ? 1 : count);

	param.flags |= PARAM_ZERO_IS_NULL;
	return param;
}

gamestate_param
gsl_param_data_array(ParamType type, const gamestate_data *values, size_t count)
{
	return make_array(type, values, count);
}

gamestate_param
gamestate_param_literal(const char *value)
{
	return make_ref(PARAM_LITERAL, value, 0);
}

gamestate_param
gsl_param_version(int64_t version)
{
	gamestate_param param = make_number(PARAM_INT8, version);

	if (version == 0)
		param.flags = PARAM_IS_NULL;
	return param;
}

gamestate_param
gsl_param_count(int count)
{
	gamestate_param param = make_number(PARAM_INT4, count);

	if (count == 0)
		param.flags = PARAM_IS_NULL;
	return param;
}

gamestate_param
gsl_param_interval(int64_t us)
{
	return make_number(PARAM_INTERVAL, us);
}

gamestate_data
gamestate_text(const char *text)
{
	gamestate_data data = {text, text != NULL ? strlen(text) : 0};

	return data;
}

/* -----------------------------------------------------------------------
 * Arrays
 * -----------------------------------------------------------------------
 */

/* The i-th element: its bytes, for NULL none; numbers are put into `fixed`. */
static gamestate_data
array_element(const gamestate_param *param, size_t i, unsigned char fixed[16])
{
	const void *data = param->value.ref.data;
	gamestate_data element = {NULL, 0};

	if ((param->flags & PARAM_ALL_NULL) != 0)
		return element;
	switch (param->type)
	{
		case PARAM_TEXT_ARRAY:
			element = gamestate_text(((const char *const *) data)[i]);
			break;
		case PARAM_UUID_ARRAY:
			element.data = ((const gamestate_uuid *) data)[i].bytes;
			element.len = 16;
			break;
		case PARAM_JSON_ARRAY:
		case PARAM_BYTEA_ARRAY:
			element = ((const gamestate_data *) data)[i];
			break;
		default: /* PARAM_INT8_ARRAY, PARAM_TIMESTAMPTZ_ARRAY */
		{
			int64_t number = ((const int64_t *) data)[i];

			if (number == 0 && (param->flags & PARAM_ZERO_IS_NULL) != 0)
				break;
			if (param->type == PARAM_TIMESTAMPTZ_ARRAY)
				number = gsl_server_us(number);
			gsl_put64(fixed, (uint64_t) number);
			element.data = fixed;
			element.len = 8;
			break;
		}
	}
	return element;
}

static uint32_t
element_type(int32_t param_type)
{
	switch (param_type)
	{
		case PARAM_TEXT_ARRAY:
			return TYPE_TEXT;
		case PARAM_UUID_ARRAY:
			return TYPE_UUID;
		case PARAM_JSON_ARRAY:
			return TYPE_JSON;
		case PARAM_BYTEA_ARRAY:
			return TYPE_BYTEA;
		case PARAM_TIMESTAMPTZ_ARRAY:
			return TYPE_TIMESTAMPTZ;
		default:
			return TYPE_INT8;
	}
}

/* false: longer than any value can be */
static bool
array_size(const gamestate_param *param, size_t *size)
{
	unsigned char fixed[16];
	size_t count = param->value.ref.len;

	*size = count == 0 ? ARRAY_HEADER : ARRAY_HEADER + ARRAY_DIMENSION;
	for (size_t i = 0; i < count; i++)
	{
		size_t len = array_element(param, i, fixed).len;

		if (len > ARRAY_MAX_LENGTH - 4 || *size > ARRAY_MAX_LENGTH - 4 - len)
			return false;
		*size += 4 + len;
	}
	return true;
}

/* Writes the array of that size; returns its end. */
static char *
write_array(const gamestate_param *param, char *start)
{
	unsigned char *at = (unsigned char *) start;
	size_t count = param->value.ref.len;
	bool has_null = false;

	gsl_put32(at, count == 0 ? 0 : 1);
	gsl_put32(at + 8, element_type(param->type));
	at += ARRAY_HEADER;
	if (count > 0)
	{
		gsl_put32(at, (uint32_t) count);
		gsl_put32(at + 4, 1);
		at += ARRAY_DIMENSION;
	}
	for (size_t i = 0; i < count; i++)
	{
		unsigned char fixed[16];
		gamestate_data element = array_element(param, i, fixed);

		gsl_put32(at, element.data == NULL ? UINT32_MAX : (uint32_t) element.len);
		at += 4;
		if (element.data == NULL)
			has_null = true;
		else if (element.len > 0)
			memcpy(at, element.data, element.len);
		at += element.data == NULL ? 0 : element.len;
	}
	gsl_put32((unsigned char *) start + 4, has_null ? 1 : 0);
	return (char *) at;
}

/* -----------------------------------------------------------------------
 * Parameters for libpq
 * -----------------------------------------------------------------------
 */

static bool
grow(void **memory, size_t room, size_t size)
{
	void *larger = realloc(*memory, room * size);

	if (larger == NULL)
		return false;
	*memory = larger;
	return true;
}

static bool
make_room(Params *params, size_t count)
{
	size_t room = count < 16 ? 16 : count;

	if ((size_t) params->room >= count && params->room > 0)
		return true;
	if (!grow((void **) &params->types, room, sizeof(*params->types)) ||
		!grow((void **) &params->values, room, sizeof(*params->values)) ||
		!grow((void **) &params->lengths, room, sizeof(*params->lengths)) ||
		!grow((void **) &params->formats, room, sizeof(*params->formats)) ||
		!grow((void **) &params->fixed, room, sizeof(*params->fixed)))
		return false;
	params->room = (int) room;
	return true;
}

/* Room for all arrays of the list, so that the buffer does not move later. */
static gamestate_status
make_room_for_arrays(Params *params, const gamestate_param *list, size_t count)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
	{
		size_t size;

		if (list[i].type < PARAM_TEXT_ARRAY || (list[i].flags & PARAM_IS_NULL) != 0)
			continue;
		if (!array_size(&list[i], &size) || total > ARRAY_MAX_LENGTH - size)
			return GAMESTATE_BAD_CALL;
		total += size;
	}
	if (total > params->arrays_room)
	{
		if (!grow((void **) &params->arrays, total, 1))
			return GAMESTATE_NO_MEMORY;
		params->arrays_room = total;
	}
	return GAMESTATE_OK;
}

/* A value of fixed size into params->fixed[i]; its length. */
static int
encode_fixed(Params *params, int i, const gamestate_param *param)
{
	unsigned char *at = params->fixed[i];
	uint64_t bits = (uint64_t) param->value.number;

	params->values[i] = (const char *) at;
	switch (param->type)
	{
		case PARAM_BOOL:
			at[0] = bits != 0;
			return 1;
		case PARAM_INT4:
			gsl_put32(at, (uint32_t) bits);
			return 4;
		case PARAM_TIMESTAMPTZ:
			gsl_put64(at, (uint64_t) gsl_server_us(param->value.number));
			return 8;
		case PARAM_INTERVAL:
			gsl_put64(at, bits);
			gsl_put64(at + 8, 0); /* days and months */
			return 16;
		case PARAM_FLOAT8:
			memcpy(&bits, &param->value.real, sizeof(bits));
			gsl_put64(at, bits);
			return 8;
		default: /* PARAM_INT8 */
			gsl_put64(at, bits);
			return 8;
	}
}

gamestate_status
gsl_params_encode(Params *params, const gamestate_param *list, size_t count)
{
	gamestate_status status;
	char *end;

	if (count > MAX_PARAMS)
		return GAMESTATE_BAD_CALL;
	for (size_t i = 0; i < count; i++)
	{
		if (list[i].type < 0 || list[i].type >= PARAM_TYPE_COUNT)
			return GAMESTATE_BAD_CALL;
	}
	if (!make_room(params, count))
		return GAMESTATE_NO_MEMORY;
	status = make_room_for_arrays(params, list, count);
	if (status != GAMESTATE_OK)
		return status;

	end = params->arrays;
	params->count = (int) count;
	for (int i = 0; i < (int) count; i++)
	{
		const gamestate_param *param = &list[i];
		size_t len = param->value.ref.len;

		params->types[i] = type_of_param[param->type];
		params->formats[i] = 1;
		params->values[i] = NULL;
		params->lengths[i] = 0;
		if ((param->flags & PARAM_IS_NULL) != 0)
			continue;
		switch (param->type)
		{
			case PARAM_LITERAL:
			case PARAM_TEXT:
			case PARAM_JSON:
			case PARAM_BYTEA:
				params->values[i] = param->value.ref.data;
				if (param->type == PARAM_LITERAL)
					params->formats[i] = 0;
				/* libpq does not look at a literal's length, but copies of it do */
				if (param->type == PARAM_TEXT || param->type == PARAM_LITERAL)
					len = strlen(params->values[i]);
				if (len > ARRAY_MAX_LENGTH)
					return GAMESTATE_BAD_CALL;
				params->lengths[i] = (int) len;
				break;
			case PARAM_UUID:
				params->values[i] = (const char *) param->value.uuid.bytes;
				params->lengths[i] = 16;
				break;
			case PARAM_TEXT_ARRAY:
			case PARAM_UUID_ARRAY:
			case PARAM_INT8_ARRAY:
			case PARAM_TIMESTAMPTZ_ARRAY:
			case PARAM_JSON_ARRAY:
			case PARAM_BYTEA_ARRAY:
				params->values[i] = end;
				end = write_array(param, end);
				params->lengths[i] = (int) (end - params->values[i]);
				break;
			default:
				params->lengths[i] = encode_fixed(params, i, param);
				break;
		}
	}
	return GAMESTATE_OK;
}

void
gsl_params_free(Params *params)
{
	free(params->types);
	free(params->values);
	free(params->lengths);
	free(params->formats);
	free(params->fixed);
	free(params->arrays);
	memset(params, 0, sizeof(*params));
}

/* -----------------------------------------------------------------------
 * What came back
 * -----------------------------------------------------------------------
 */

int
gsl_text_array(const char *value, int len, const char **list, char *texts)
{
	const char *end = value + len;
	uint32_t dimensions;
	uint32_t count;

	if (len < ARRAY_HEADER)
		return -1;
	dimensions = gsl_get32(value);
	if (gsl_get32(value + 8) != TYPE_TEXT || dimensions > 1)
		return -1;
	value += ARRAY_HEADER;
	if (dimensions == 0)
	{
		if (list != NULL)
			list[0] = NULL;
		return value == end ? 0 : -1;
	}
	if (end - value < ARRAY_DIMENSION)
		return -1;
	count = gsl_get32(value);
	value += ARRAY_DIMENSION;
	/* each element has at least its length */
	if (count > (uint32_t) (end - value) / 4)
		return -1;
	for (uint32_t i = 0; i < count; i++)
	{
		int32_t size;

		if (end - value < 4)
			return -1;
		size = (int32_t) gsl_get32(value);
		value += 4;
		if (size < 0)
			size = 0; /* NULL */
		if (size > end - value)
			return -1;
		if (list != NULL)
		{
			/* The text and its NUL: never more than the length it came with. */
			list[i] = texts;
			memcpy(texts, value, (size_t) size);
			texts[size] = '\0';
			texts += size + 1;
		}
		value += size;
	}
	if (list != NULL)
		list[count] = NULL;
	return value == end ? (int) count : -1;
}

bool
gsl_value_fits(uint32_t type, const char *value, int len)
{
	switch (type)
	{
		case TYPE_BOOL:
			return len == 1;
		case TYPE_INT2:
			return len == 2;
		case TYPE_INT4:
		case TYPE_OID:
		case TYPE_FLOAT4:
			return len == 4;
		case TYPE_INT8:
		case TYPE_FLOAT8:
		case TYPE_TIMESTAMP:
		case TYPE_TIMESTAMPTZ:
			return len == 8;
		case TYPE_UUID:
			return len == 16;
		case TYPE_JSONB:
			return len >= 1 && value[0] == 1;
		case TYPE_TEXT_ARRAY:
			return gsl_text_array(value, len, NULL, NULL) >= 0;
		case TYPE_TEXT:
		case TYPE_VARCHAR:
		case TYPE_BPCHAR:
		case TYPE_NAME:
			/* The server never sends a NUL in these; it would cut the text short. */
			return memchr(value, '\0', (size_t) len) == NULL;
		default:
			return true;
	}
}
