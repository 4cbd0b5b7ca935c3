/*
 * test_libgamestate.c: unit test of what libgamestate does without a connection:
 * parameters and values on the wire (client/lib/codec.c), calls (call.c), ids
 * (uuid.c), timestamps.
 */
#include "codec.h"

#include <stdlib.h>

#include "tap.h"

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const void *data, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static void
test_uuid(void)
{
	static const char *const good[] = {"0123abcd-4567-89ab-CDEF-0123456789ab",
									   "0123abcd456789abcdef0123456789ab"};
	static const char *const bad[] = {"",
									  "0",
									  "0123abcd-4567-89ab-cdef-0123456789a",
									  "0123abcd-4567-89ab-cdef-0123456789abc",
									  "0123abcd-4567-89ab-cdef-0123456789ag",
									  "0123abcd--4567-89ab-cdef-0123456789ab",
									  "{0123abcd-4567-89ab-cdef-0123456789ab}"};
	gamestate_uuid uuid;
	gamestate_uuid other;
	char text[GAMESTATE_UUID_TEXT];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		ok(gamestate_uuid_parse(good[i], &uuid), "%s", good[i]);
		gamestate_uuid_format(&uuid, text);
		is(text, "0123abcd-4567-89ab-cdef-0123456789ab", "there and back");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		char *copy = exact_copy(bad[i], strlen(bad[i]) + 1);

		ok(!gamestate_uuid_parse(copy, &uuid), "not: %s", bad[i]);
		free(copy);
	}
	ok(gamestate_uuid_generate(&uuid) && gamestate_uuid_generate(&other) &&
		   memcmp(&uuid, &other, sizeof(uuid)) != 0,
	   "two random ones");
	ok(uuid.bytes[6] >> 4 == 4 && uuid.bytes[8] >> 6 == 2, "of version 4");
}

static void
test_times(void)
{
	static const int64_t times[] = {0, 1, -1, INT64_C(1700000000123456),
									INT64_C(946684800000000)};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		ok(gsl_unix_us(gsl_server_us(times[i])) == times[i], "%lld there and back",
		   (long long) times[i]);
	ok(gsl_server_us(INT64_C(946684800000000)) == 0, "the year 2000");
	ok(gsl_unix_us(INT64_MAX) == INT64_MAX && gsl_server_us(INT64_MAX) == INT64_MAX,
	   "infinity");
	ok(gsl_unix_us(INT64_MIN) == INT64_MIN + 1 &&
		   gsl_server_us(INT64_MIN + 1) == INT64_MIN,
	   "-infinity");
	ok(gsl_unix_us(INT64_C(9223371331199999999)) == INT64_MAX - 1,
	   "the year 294276 is not infinity");
}

/* What a parameter is on the wire. */
static void
is_sent_as(gamestate_param param, uint32_t type, const void *bytes, size_t len,
		   const char *name)
{
	Params params = {0};
	gamestate_status status = gsl_params_encode(&params, &param, 1);

	ok(status == GAMESTATE_OK && params.count == 1 && params.types[0] == type &&
		   params.formats[0] == 1 && params.lengths[0] == (int) len &&
		   (bytes == NULL
				? params.values[0] == NULL
				: params.values[0] != NULL && memcmp(params.values[0], bytes, len) == 0),
	   "%s", name);
	gsl_params_free(&params);
}

static void
test_params(void)
{
	static const char *const texts[] = {"ab", NULL, ""};
	static const int64_t versions[] = {0, 258};
	gamestate_param array = gamestate_param_int8_array(versions, 2);
	gamestate_data documents[] = {{"[]", 2}, {NULL, 0}};

	is_sent_as(gamestate_param_bool(true), TYPE_BOOL, "\1", 1, "true");
	is_sent_as(gamestate_param_int4(-2), TYPE_INT4, "\xff\xff\xff\xfe", 4, "int4");
	is_sent_as(gamestate_param_int8(258), TYPE_INT8, "\0\0\0\0\0\0\1\2", 8, "int8");
	is_sent_as(gamestate_param_float8(1.0), TYPE_FLOAT8, "\x3f\xf0\0\0\0\0\0\0", 8,
			   "float8");
	is_sent_as(gamestate_param_timestamptz(INT64_C(946684800000001)), TYPE_TIMESTAMPTZ,
			   "\0\0\0\0\0\0\0\1", 8, "timestamptz");
	is_sent_as(gamestate_param_timestamptz(GAMESTATE_NO_TIME), TYPE_TIMESTAMPTZ, NULL, 0,
			   "no time");
	is_sent_as(gsl_param_interval(1), TYPE_INTERVAL, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0",
			   16, "interval");
	is_sent_as(gamestate_param_text("a\xC3\xA9"), TYPE_TEXT, "a\xC3\xA9", 3, "text");
	is_sent_as(gamestate_param_text(NULL), TYPE_TEXT, NULL, 0, "no text");
	is_sent_as(gamestate_param_bytea((gamestate_data){"\0", 1}), TYPE_BYTEA, "\0", 1,
			   "bytea");
	is_sent_as(gamestate_param_json((gamestate_data){"", 0}), TYPE_JSON, "", 0,
			   "an empty document is not NULL");
	is_sent_as(gsl_param_version(0), TYPE_INT8, NULL, 0, "no version");
	is_sent_as(gamestate_param_text_array(texts, 3), TYPE_TEXT_ARRAY,
			   "\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\3\0\0\0\1\0\0\0\2"
			   "ab\xff\xff\xff\xff\0\0\0\0",
			   34, "text[] with a NULL");
	is_sent_as(gamestate_param_text_array(NULL, 0), TYPE_TEXT_ARRAY,
			   "\0\0\0\0\0\0\0\0\0\0\0\x19", 12, "an empty array");
	is_sent_as(gamestate_param_text_array(NULL, 1), TYPE_TEXT_ARRAY, NULL, 0, "no array");
	array.flags |= PARAM_ZERO_IS_NULL;
	is_sent_as(array, TYPE_INT8_ARRAY,
			   "\0\0\0\1\0\0\0\1\0\0\0\x14\0\0\0\2\0\0\0\1\xff\xff\xff\xff\0\0\0\x08"
			   "\0\0\0\0\0\0\1\2",
			   36, "versions, 0 is NULL");
	is_sent_as(gsl_param_data_array(PARAM_JSON_ARRAY, documents, 2), TYPE_JSON_ARRAY,
			   "\0\0\0\1\0\0\0\1\0\0\0\x72\0\0\0\2\0\0\0\1\0\0\0\2[]\xff\xff\xff\xff", 30,
			   "json[]");
}

static void
test_refused_params(void)
{
	Params params = {0};
	gamestate_param param;
	gamestate_param *many = calloc(70000, sizeof(*many));
	gamestate_data huge[2] = {{"", SIZE_MAX / 2}, {"", SIZE_MAX / 2}};

	memset(&param, 0x7f, sizeof(param));
	ok(gsl_params_encode(&params, &param, 1) == GAMESTATE_BAD_CALL, "no parameter");
	ok(gsl_params_encode(&params, many, 70000) == GAMESTATE_BAD_CALL, "too many");
	ok(gsl_params_encode(&params, many, 1000) == GAMESTATE_OK && params.count == 1000,
	   "many");
	param = gsl_param_data_array(PARAM_JSON_ARRAY, huge, 2);
	ok(gsl_params_encode(&params, &param, 1) == GAMESTATE_BAD_CALL, "a huge array");
	param = gamestate_param_bytea(huge[0]);
	ok(gsl_params_encode(&params, &param, 1) == GAMESTATE_BAD_CALL, "a huge document");
	gsl_params_free(&params);
	free(many);
}

/* Every array is either refused, or has as many elements as are unpacked. */
static void
test_arrays(void)
{
	static const unsigned char two[] = {0, 0,  0, 1, 0,	  0,   0,	0,	 0,	 0,
										0, 25, 0, 0, 0,	  2,   0,	0,	 0,	 1,
										0, 0,  0, 1, 'a', 255, 255, 255, 255};
	const char *list[3];
	char texts[sizeof(two)];
	char *copy = exact_copy(two, sizeof(two));
	int wrong = 0;

	ok(gsl_text_array(copy, sizeof(two), list, texts) == 2, "two elements");
	is(list[0], "a", "the first");
	is(list[1], "", "the second is NULL");
	ok(list[2] == NULL, "no more");
	free(copy);
	for (size_t len = 0; len < sizeof(two); len++)
	{
		copy = exact_copy(two, len);
		wrong += gsl_text_array(copy, (int) len, NULL, NULL) != -1;
		free(copy);
	}
	for (size_t at = 0; at < sizeof(two) * 256; at++)
	{
		int count;

		copy = exact_copy(two, sizeof(two));
		copy[at / 256] = (char) (at % 256);
		count = gsl_text_array(copy, sizeof(two), NULL, NULL);
		if (count > 2)
			wrong++;
		else if (count >= 0 && gsl_text_array(copy, sizeof(two), list, texts) != count)
			wrong++;
		free(copy);
	}
	ok(wrong == 0, "cut off, or with any byte changed, none is believed too much");
	ok(gsl_value_fits(TYPE_INT8, "12345678", 8) &&
		   !gsl_value_fits(TYPE_INT8, "1234", 4) && !gsl_value_fits(TYPE_UUID, "", 0) &&
		   !gsl_value_fits(TYPE_BOOL, "tt", 2) && !gsl_value_fits(TYPE_TEXT, "a\0b", 3) &&
		   gsl_value_fits(TYPE_BYTEA, "a\0b", 3) && !gsl_value_fits(TYPE_JSONB, "", 0),
	   "lengths of other types");
}

static void
test_calls(void)
{
	gamestate_uuid id = {{7}};
	gamestate_uuid other;
	gamestate_move move = {.game_id = &id, .event = {"1", 1}};
	gamestate_moves moves = {.count = 1, .game_ids = &id, .events = &move.event};
	gamestate_call call;

	gamestate_call_apply_move(&call, &move);
	is(gamestate_call_name(&call), "apply_move", "its name");
	ok(gamestate_call_is_write(&call) && !gamestate_call_is_read(&call) &&
		   !gamestate_call_is_retryable(&call) &&
		   !gamestate_call_get_request_id(&call, &other),
	   "a move without request id");
	ok(gamestate_call_set_request_id(&call, &id) && gamestate_call_is_retryable(&call) &&
		   gamestate_call_get_request_id(&call, &other) &&
		   memcmp(&id, &other, sizeof(id)) == 0,
	   "and with one");
	ok(gamestate_call_set_request_id(&call, NULL) && !gamestate_call_is_retryable(&call),
	   "which can be taken away");
	gamestate_call_apply_moves(&call, &moves);
	ok(!gamestate_call_is_retryable(&call) && !gamestate_call_set_request_id(&call, &id),
	   "many moves take no single one");
	moves.request_ids = &id;
	gamestate_call_apply_moves(&call, &moves);
	ok(gamestate_call_is_retryable(&call) &&
		   !gamestate_call_get_request_id(&call, &other),
	   "but one each");
	gamestate_call_get_state(&call, &id);
	ok(gamestate_call_is_read(&call) && gamestate_call_is_retryable(&call) &&
		   !gamestate_call_is_write(&call) && !gamestate_call_set_request_id(&call, &id),
	   "a read");
	gamestate_call_commit(&call);
	ok(!gamestate_call_is_read(&call) && !gamestate_call_is_retryable(&call), "a commit");
	gamestate_call_sql(&call, "SELECT 1", NULL, 0, GAMESTATE_SQL_READ);
	ok(gamestate_call_is_read(&call) && gamestate_call_is_retryable(&call),
	   "SQL that reads");
	gamestate_call_sql(&call, "DELETE FROM t", NULL, 0, 0);
	ok(!gamestate_call_is_retryable(&call), "SQL that writes");
	memset(&call, 0x55, sizeof(call));
	is(gamestate_call_name(&call), "no call", "something else");
	ok(!gamestate_call_is_read(&call) && !gamestate_call_is_write(&call) &&
		   !gamestate_call_is_retryable(&call),
	   "is nothing");
}

int
main(void)
{
	test_uuid();
	test_times();
	test_params();
	test_refused_params();
	test_arrays();
	test_calls();
	return tap_done();
}
