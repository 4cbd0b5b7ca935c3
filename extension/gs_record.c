/*-------------------------------------------------------------------------
 *
 * gs_record.c
 *	  Codec of a journal record: what one transaction did to one game.
 *
 * The format is drawn in gs_record.h.  How the code is built:
 *
 *	1. Encoding is two passes over one record, size and bytes, so that the
 *	   caller allocates once and this file never does.  What the format leaves
 *	   no choice about (the parts of a REMOVE, the fields of an image, a log
 *	   without runs) is written as the format says, whatever the caller
 *	   has set: what was encoded must decode.
 *	2. Decoding moves its read position through gs_bytes.h only, which compares
 *	   with what is left before it touches anything.
 *	3. Decoding visits players, runs and entries, so that whoever walks them
 *	   later cannot meet an error, and reads them without an end.
 *	4. Encodings are canonical: a record that decodes encodes to the same
 *	   bytes again.
 *
 * Whether a record fits the game it is applied to (versions that follow each
 * other, a delta that its state goes with) is for the caller to check.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep
 * state.  The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_record.h"

/* format, kind, parts */
#define HEAD_LEN 3

/* ----------
 * encoding
 * ----------
 */

static unsigned char
stored_parts(const GsRecord *record)
{
	unsigned char parts = record->parts;

	if (record->kind == GS_RECORD_REMOVE)
		return parts & GS_RECORD_MOVED;
	if (record->kind == GS_RECORD_UPDATE)
		parts &= (unsigned char) ~GS_RECORD_MOVED;
	if (record->nruns == 0)
		parts &= (unsigned char) ~GS_RECORD_HAS_LOG;
	return parts;
}

static bool
has_base(GsRecordKind kind, unsigned char parts)
{
	return kind == GS_RECORD_UPDATE || (parts & GS_RECORD_MOVED);
}

static unsigned char
stored_fields(const GsRecord *record)
{
	unsigned char fields = record->fields;

	if (record->kind == GS_RECORD_UPDATE)
		return fields;
	fields &= GS_RECORD_SET_REQUEST;
	fields |= GS_RECORD_SET_STATUS | GS_RECORD_SET_ENCODING;
	if (record->created_at != 0)
		fields |= GS_RECORD_SET_CREATED_AT;
	if (record->started_at != 0)
		fields |= GS_RECORD_SET_STARTED_AT;
	if (record->ended_at != 0)
		fields |= GS_RECORD_SET_ENDED_AT;
	if (record->deadline != 0)
		fields |= GS_RECORD_SET_DEADLINE;
	if (record->max_players != 0)
		fields |= GS_RECORD_SET_MAX_PLAYERS;
	return fields;
}

/* Times of a game are near each other: all but one are stored as distances. */
static inline uint64_t
distance(const GsRecord *record, int64_t time)
{
	return gs_time_distance(time, record->updated_at);
}

static inline size_t
bytes_size(const GsBytes *bytes)
{
	return gs_varint_size(bytes->len) + bytes->len;
}

/* the same for bytes that may be absent */
static inline size_t
optional_size(const GsBytes *bytes)
{
	if (bytes->data == NULL)
		return 1;
	return gs_varint_size((uint64_t) bytes->len + 1) + bytes->len;
}

static inline char *
put_bytes(char *dst, const GsBytes *bytes)
{
	return gs_put_bytes(dst, bytes->data, bytes->len);
}

static inline char *
put_optional(char *dst, const GsBytes *bytes)
{
	if (bytes->data == NULL)
		return gs_varint_put(dst, 0);
	dst = gs_varint_put(dst, (uint64_t) bytes->len + 1);
	return gs_put_raw(dst, bytes->data, bytes->len);
}

static size_t
fields_size(const GsRecord *record)
{
	unsigned char fields = stored_fields(record);
	size_t size = 1;

	if (fields & GS_RECORD_SET_STATUS)
		size++;
	if (fields & GS_RECORD_SET_ENCODING)
		size += 1 + (record->history == GS_RECORD_HISTORY_LAST
						 ? gs_varint_size(record->history_limit)
						 : 0);
	if (fields & GS_RECORD_SET_CREATED_AT)
		size += gs_varint_size(distance(record, record->created_at));
	if (fields & GS_RECORD_SET_STARTED_AT)
		size += gs_varint_size(distance(record, record->started_at));
	if (fields & GS_RECORD_SET_ENDED_AT)
		size += gs_varint_size(distance(record, record->ended_at));
	if (fields & GS_RECORD_SET_DEADLINE)
		size += gs_varint_size(distance(record, record->deadline));
	if (fields & GS_RECORD_SET_MAX_PLAYERS)
		size += gs_varint_size((uint32_t) record->max_players);
	if (fields & GS_RECORD_SET_REQUEST)
		size += GS_REQUEST_LEN;
	return size;
}

static char *
put_fields(char *dst, const GsRecord *record)
{
	unsigned char fields = stored_fields(record);

	*dst++ = (char) fields;
	if (fields & GS_RECORD_SET_STATUS)
		*dst++ = (char) record->status;
	if (fields & GS_RECORD_SET_ENCODING)
	{
		*dst++ = (char) (record->encoding | record->history << 4);
		if (record->history == GS_RECORD_HISTORY_LAST)
			dst = gs_varint_put(dst, record->history_limit);
	}
	if (fields & GS_RECORD_SET_CREATED_AT)
		dst = gs_varint_put(dst, distance(record, record->created_at));
	if (fields & GS_RECORD_SET_STARTED_AT)
		dst = gs_varint_put(dst, distance(record, record->started_at));
	if (fields & GS_RECORD_SET_ENDED_AT)
		dst = gs_varint_put(dst, distance(record, record->ended_at));
	if (fields & GS_RECORD_SET_DEADLINE)
		dst = gs_varint_put(dst, distance(record, record->deadline));
	if (fields & GS_RECORD_SET_MAX_PLAYERS)
		dst = gs_varint_put(dst, (uint32_t) record->max_players);
	if (fields & GS_RECORD_SET_REQUEST)
		dst = gs_put_request(dst, record->create_request, record->create_arguments);
	return dst;
}

static size_t
info_size(const GsRecord *record)
{
	size_t size = bytes_size(&record->game_type);

	size += optional_size(&record->room_code);
	size += gs_varint_size(record->nplayers);
	for (uint32_t i = 0; i < record->nplayers; i++)
		size += bytes_size(&record->players[i]);
	size += optional_size(&record->metadata);
	size += optional_size(&record->result);
	return size;
}

static char *
put_info(char *dst, const GsRecord *record)
{
	dst = put_bytes(dst, &record->game_type);
	dst = put_optional(dst, &record->room_code);
	dst = gs_varint_put(dst, record->nplayers);
	for (uint32_t i = 0; i < record->nplayers; i++)
		dst = put_bytes(dst, &record->players[i]);
	dst = put_optional(dst, &record->metadata);
	dst = put_optional(dst, &record->result);
	return dst;
}

static size_t
log_size(const GsRecord *record)
{
	size_t size = gs_varint_size(record->nruns);

	for (uint32_t i = 0; i < record->nruns; i++)
	{
		const GsRecordRun *run = &record->runs[i];

		size += gs_varint_size((uint64_t) (record->version - run->first_version));
		size += gs_varint_size(run->nentries);
		size += gs_varint_size(distance(record, run->base));
		size += bytes_size(&run->entries);
	}
	return size;
}

static char *
put_log(char *dst, const GsRecord *record)
{
	dst = gs_varint_put(dst, record->nruns);
	for (uint32_t i = 0; i < record->nruns; i++)
	{
		const GsRecordRun *run = &record->runs[i];

		dst = gs_varint_put(dst, (uint64_t) (record->version - run->first_version));
		dst = gs_varint_put(dst, run->nentries);
		dst = gs_varint_put(dst, distance(record, run->base));
		dst = put_bytes(dst, &run->entries);
	}
	return dst;
}

size_t
gs_record_size(const GsRecord *record)
{
	unsigned char parts = stored_parts(record);
	size_t size = HEAD_LEN + GS_RECORD_ID_LEN;

	size += gs_varint_size((uint64_t) record->incarnation);
	size += gs_varint_size((uint64_t) record->version);
	if (record->kind == GS_RECORD_REMOVE)
		return size;

	if (has_base(record->kind, parts))
		size += gs_varint_size((uint64_t) (record->version - record->base_version));
	size += gs_varint_size((uint64_t) (record->version - record->moves));
	size += gs_varint_size(gs_zigzag(record->updated_at));
	size += fields_size(record);

	if (parts & GS_RECORD_HAS_INFO)
		size += info_size(record);
	if (parts & GS_RECORD_HAS_STATE)
		size += bytes_size(&record->state);
	if (parts & GS_RECORD_HAS_DELTA)
		size += bytes_size(&record->delta);
	if (parts & GS_RECORD_HAS_INITIAL)
		size += bytes_size(&record->initial);
	if (parts & GS_RECORD_HAS_LOG)
		size += log_size(record);
	return size;
}

char *
gs_record_encode(const GsRecord *record, char *dst)
{
	unsigned char parts = stored_parts(record);

	*dst++ = GS_RECORD_FORMAT;
	*dst++ = (char) record->kind;
	*dst++ = (char) parts;
	dst = gs_put_raw(dst, record->id, GS_RECORD_ID_LEN);
	dst = gs_varint_put(dst, (uint64_t) record->incarnation);
	dst = gs_varint_put(dst, (uint64_t) record->version);
	if (record->kind == GS_RECORD_REMOVE)
		return dst;

	if (has_base(record->kind, parts))
		dst = gs_varint_put(dst, (uint64_t) (record->version - record->base_version));
	dst = gs_varint_put(dst, (uint64_t) (record->version - record->moves));
	dst = gs_varint_put(dst, gs_zigzag(record->updated_at));
	dst = put_fields(dst, record);

	if (parts & GS_RECORD_HAS_INFO)
		dst = put_info(dst, record);
	if (parts & GS_RECORD_HAS_STATE)
		dst = put_bytes(dst, &record->state);
	if (parts & GS_RECORD_HAS_DELTA)
		dst = put_bytes(dst, &record->delta);
	if (parts & GS_RECORD_HAS_INITIAL)
		dst = put_bytes(dst, &record->initial);
	if (parts & GS_RECORD_HAS_LOG)
		dst = put_log(dst, record);
	return dst;
}

/* ----------
 * decoding
 * ----------
 */

/* A count of things that have one byte each at least. */
static bool
consume_count(const char **p, const char *end, uint32_t *value)
{
	return gs_consume_uint32(p, end, value) && *value <= (uint64_t) (end - *p);
}

/* what distance() gave */
static bool
consume_time(const char **p, const char *end, const GsRecord *record, int64_t *value)
{
	uint64_t n;

	if (!gs_varint_get(p, end, &n))
		return false;
	*value = gs_time_at(n, record->updated_at);
	return true;
}

/* A field that is set, if it is; an image has none that are set to 0. */
static bool
consume_time_field(const char **p, const char *end, const GsRecord *record,
				   unsigned char field, int64_t *value)
{
	if (!(record->fields & field))
		return true;
	return consume_time(p, end, record, value) &&
		   (record->kind == GS_RECORD_UPDATE || *value != 0);
}

/* a length, then that many bytes */
static bool
consume_bytes(const char **p, const char *end, GsBytes *bytes)
{
	return gs_consume_bytes(p, end, &bytes->data, &bytes->len) &&
		   bytes->len <= GS_RECORD_MAX_BYTES;
}

/* 0, or a length + 1 and that many bytes */
static bool
consume_optional(const char **p, const char *end, GsBytes *bytes)
{
	uint64_t n;

	if (!gs_consume_number(p, end, UINT64_C(1) + GS_RECORD_MAX_BYTES, &n))
		return false;
	if (n == 0)
	{
		bytes->data = NULL;
		bytes->len = 0;
		return true;
	}
	if (!gs_consume(p, end, n - 1, &bytes->data))
		return false;
	bytes->len = (uint32_t) (n - 1);
	return true;
}

/* format to version: what a record of any kind has */
static const char *
decode_head(const char **p, const char *end, GsRecord *record)
{
	unsigned char head[HEAD_LEN];

	if (!gs_consume_raw(p, end, head, HEAD_LEN))
		return "record is cut off";
	if (head[0] != GS_RECORD_FORMAT)
		return "record has an unknown format";
	if (head[1] < GS_RECORD_IMAGE || head[1] > GS_RECORD_REMOVE)
		return "record has an unknown kind";
	if (head[2] & ~GS_RECORD_PARTS)
		return "record has unknown parts";
	record->kind = (GsRecordKind) head[1];
	record->parts = head[2];

	if ((record->parts & GS_RECORD_HAS_STATE) && (record->parts & GS_RECORD_HAS_DELTA))
		return "record has both a state and a delta";
	if (record->kind == GS_RECORD_REMOVE && (record->parts & ~GS_RECORD_MOVED))
		return "record of a removal has parts";
	if (record->kind == GS_RECORD_UPDATE && (record->parts & GS_RECORD_MOVED))
		return "record of an update moves the game";
	if (record->kind == GS_RECORD_IMAGE &&
		(!(record->parts & GS_RECORD_HAS_INFO) || !(record->parts & GS_RECORD_HAS_STATE)))
		return "record of an image is not whole";

	if (!gs_consume_raw(p, end, record->id, GS_RECORD_ID_LEN))
		return "record has a broken game id";
	if (!gs_consume_int64(p, end, &record->incarnation))
		return "record has a broken incarnation";
	if (!gs_consume_int64(p, end, &record->version))
		return "record has a broken version";
	return NULL;
}

static bool
consume_encoding(const char **p, const char *end, GsRecord *record)
{
	unsigned char byte;
	uint64_t limit = 0;

	if (!gs_consume_raw(p, end, &byte, 1))
		return false;
	record->encoding = byte & 0x0F;
	record->history = byte >> 4;
	if (record->history == GS_RECORD_HISTORY_LAST &&
		(!gs_consume_number(p, end, GS_RECORD_HISTORY_LIMIT, &limit) || limit == 0))
		return false;
	record->history_limit = (uint16_t) limit;
	return record->encoding != 0;
}

static const char *
decode_fields(const char **p, const char *end, GsRecord *record)
{
	const unsigned char needed = GS_RECORD_SET_STATUS | GS_RECORD_SET_ENCODING;
	unsigned char fields;
	uint64_t n;

	if (!gs_consume_raw(p, end, &fields, 1))
		return "record has broken fields";
	if (record->kind == GS_RECORD_IMAGE && (fields & needed) != needed)
		return "record of an image is not whole";
	record->fields = fields;

	if ((fields & GS_RECORD_SET_STATUS) &&
		(!gs_consume_raw(p, end, &record->status, 1) || record->status == 0))
		return "record has a broken status";
	if ((fields & GS_RECORD_SET_ENCODING) && !consume_encoding(p, end, record))
		return "record has a broken encoding";
	if (!consume_time_field(p, end, record, GS_RECORD_SET_CREATED_AT,
							&record->created_at) ||
		!consume_time_field(p, end, record, GS_RECORD_SET_STARTED_AT,
							&record->started_at) ||
		!consume_time_field(p, end, record, GS_RECORD_SET_ENDED_AT, &record->ended_at) ||
		!consume_time_field(p, end, record, GS_RECORD_SET_DEADLINE, &record->deadline))
		return "record has a broken time";
	if (fields & GS_RECORD_SET_MAX_PLAYERS)
	{
		if (!gs_consume_number(p, end, INT32_MAX, &n) ||
			(n == 0 && record->kind == GS_RECORD_IMAGE))
			return "record has a broken max_players";
		record->max_players = (int32_t) n;
	}
	if ((fields & GS_RECORD_SET_REQUEST) &&
		(!gs_consume_raw(p, end, record->create_request, GS_REQUEST_ID_LEN) ||
		 !gs_consume_uint32_raw(p, end, &record->create_arguments)))
		return "record has a broken request id";
	return NULL;
}

/* base version to fields */
static const char *
decode_header(const char **p, const char *end, GsRecord *record)
{
	uint64_t n;

	if (has_base(record->kind, record->parts))
	{
		/* only an image comes from nothing */
		if (!gs_varint_get(p, end, &n) || n >= (uint64_t) record->version)
			return "record has a broken base version";
		record->base_version = record->version - (int64_t) n;
	}
	if (!gs_consume_number(p, end, (uint64_t) record->version, &n))
		return "record has a broken number of moves";
	record->moves = record->version - (int64_t) n;
	if (!gs_varint_get(p, end, &n))
		return "record has a broken time";
	record->updated_at = gs_unzigzag(n);
	return decode_fields(p, end, record);
}

static const char *
decode_info(const char **p, const char *end, GsRecord *record)
{
	const char *start;

	if (!consume_bytes(p, end, &record->game_type))
		return "record has a broken game type";
	if (!consume_optional(p, end, &record->room_code))
		return "record has a broken room code";

	if (!consume_count(p, end, &record->nplayers))
		return "record has a broken number of players";
	start = *p;
	for (uint32_t i = 0; i < record->nplayers; i++)
	{
		GsBytes player;

		if (!consume_bytes(p, end, &player))
			return "record has a broken player";
	}
	if ((uint64_t) (*p - start) > UINT32_MAX)
		return "record has too many players";
	record->players_raw.data = start;
	record->players_raw.len = (uint32_t) (*p - start);

	if (!consume_optional(p, end, &record->metadata))
		return "record has broken metadata";
	if (!consume_optional(p, end, &record->result))
		return "record has a broken result";
	return NULL;
}

static const char *
decode_delta(const char **p, const char *end, GsRecord *record)
{
	uint32_t state_len;

	if (!consume_bytes(p, end, &record->delta))
		return "record has a broken delta";
	return gs_delta_length(record->delta.data, record->delta.len, &state_len);
}

/* one run, every entry of it */
static const char *
decode_run(const char **p, const char *end, const GsRecord *record, GsRecordRun *run)
{
	uint64_t n;
	const char *entry;
	const char *entries_end;

	if (!gs_consume_number(p, end, (uint64_t) record->version, &n))
		return "record has a broken first version of a run";
	run->first_version = record->version - (int64_t) n;
	if (!consume_count(p, end, &run->nentries) || run->nentries == 0 ||
		run->nentries > n + 1)
		return "record has a broken number of entries";
	if (!consume_time(p, end, record, &run->base))
		return "record has a broken base time";
	if (!consume_bytes(p, end, &run->entries))
		return "record has a broken run";

	entry = run->entries.data;
	entries_end = entry + run->entries.len;
	for (uint32_t i = 0; i < run->nentries; i++)
	{
		GsEntry e;
		const char *error = gs_entry_decode(&entry, entries_end, run->base, &e);

		if (error)
			return error;
	}
	if (entry != entries_end)
		return "record has bytes behind the last entry of a run";
	return NULL;
}

static const char *
decode_log(const char **p, const char *end, GsRecord *record)
{
	const char *start;

	if (!consume_count(p, end, &record->nruns) || record->nruns == 0)
		return "record has a broken number of runs";
	start = *p;
	for (uint32_t i = 0; i < record->nruns; i++)
	{
		GsRecordRun run;
		const char *error = decode_run(p, end, record, &run);

		if (error)
			return error;
	}
	if ((uint64_t) (*p - start) > UINT32_MAX)
		return "record has too many runs";
	record->runs_raw.data = start;
	record->runs_raw.len = (uint32_t) (*p - start);
	return NULL;
}

const char *
gs_record_decode(const char **p, const char *end, GsRecord *record)
{
	const char *error;

	memset(record, 0, sizeof(*record));

	error = decode_head(p, end, record);
	if (error || record->kind == GS_RECORD_REMOVE)
		return error;
	error = decode_header(p, end, record);
	if (error)
		return error;

	if (record->parts & GS_RECORD_HAS_INFO)
	{
		error = decode_info(p, end, record);
		if (error)
			return error;
	}
	if ((record->parts & GS_RECORD_HAS_STATE) && !consume_bytes(p, end, &record->state))
		return "record has a broken state";
	if (record->parts & GS_RECORD_HAS_DELTA)
	{
		error = decode_delta(p, end, record);
		if (error)
			return error;
	}
	if ((record->parts & GS_RECORD_HAS_INITIAL) &&
		!consume_bytes(p, end, &record->initial))
		return "record has a broken initial state";
	if (record->parts & GS_RECORD_HAS_LOG)
		return decode_log(p, end, record);
	return NULL;
}

/* ----------
 * walking what gs_record_decode() has checked
 * ----------
 */

static uint64_t
checked_varint(const char **p)
{
	const unsigned char *s = (const unsigned char *) *p;
	uint64_t result = 0;
	int shift = 0;

	while (*s >= 0x80)
	{
		result |= (uint64_t) (*s++ & 0x7F) << shift;
		shift += 7;
	}
	result |= (uint64_t) *s++ << shift;
	*p = (const char *) s;
	return result;
}

static void
checked_bytes(const char **p, GsBytes *bytes)
{
	bytes->len = (uint32_t) checked_varint(p);
	bytes->data = *p;
	*p += bytes->len;
}

void
gs_record_next_player(const char **p, GsBytes *player)
{
	checked_bytes(p, player);
}

void
gs_record_next_run(const GsRecord *record, const char **p, GsRecordRun *run)
{
	run->first_version = record->version - (int64_t) checked_varint(p);
	run->nentries = (uint32_t) checked_varint(p);
	run->base = gs_time_at(checked_varint(p), record->updated_at);
	checked_bytes(p, &run->entries);
}
