/*-------------------------------------------------------------------------
 *
 * gs_record.c
 *	  Codec of a journal record: what one transaction did to one game.
 *
 * The format is drawn in gs_record.h.  How the code is built:
 *
 *	1. Encoding is two passes over one record, size and bytes, so that the
 *	   caller allocates once and this file never does.  What the format leaves
 *	   no choice about (the parts of a REMOVE, the base version of an image,
 *	   a log without runs) is written as the format says, whatever the caller
 *	   has set: what was encoded must decode.
 *	2. Decoding moves its read position in two ways only: gs_varint_get() for
 *	   numbers, consume() for bytes.  Both compare with what is left before
 *	   they touch anything.  Lengths are compared as 64-bit numbers, so no sum
 *	   of them wraps.
 *	3. Decoding visits players, runs and entries, so that whoever walks them
 *	   later cannot meet an error, and reads them without an end.
 *	4. Encodings are canonical: a record that decodes encodes to the same
 *	   bytes again.
 *
 * Whether a record fits the game it is applied to (versions that follow each
 * other, a delta as long as the state before) is for the caller to check.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep
 * state.  The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_record.h"

#include <string.h>

/* format, kind, parts */
#define HEAD_LEN 3

static inline uint64_t
zigzag(int64_t value)
{
	uint64_t u = (uint64_t) value;

	return (u << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t
unzigzag(uint64_t value)
{
	return (int64_t) ((value >> 1) ^ (UINT64_C(0) - (value & 1)));
}

/* ----------
 * encoding
 * ----------
 */

static unsigned char
stored_parts(const GsRecord *record)
{
	if (record->kind == GS_RECORD_REMOVE)
		return 0;
	if (record->nruns == 0)
		return record->parts & (unsigned char) ~GS_RECORD_HAS_LOG;
	return record->parts;
}

static uint64_t
stored_base_version(const GsRecord *record)
{
	return record->kind == GS_RECORD_IMAGE ? 0 : (uint64_t) record->base_version;
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
put_raw(char *dst, const void *data, size_t len)
{
	if (len > 0)
		memcpy(dst, data, len);
	return dst + len;
}

static inline char *
put_bytes(char *dst, const GsBytes *bytes)
{
	dst = gs_varint_put(dst, bytes->len);
	return put_raw(dst, bytes->data, bytes->len);
}

static inline char *
put_optional(char *dst, const GsBytes *bytes)
{
	if (bytes->data == NULL)
		return gs_varint_put(dst, 0);
	dst = gs_varint_put(dst, (uint64_t) bytes->len + 1);
	return put_raw(dst, bytes->data, bytes->len);
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

		size += gs_varint_size((uint64_t) run->first_version);
		size += gs_varint_size(run->nentries);
		size += gs_varint_size(zigzag(run->base));
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

		dst = gs_varint_put(dst, (uint64_t) run->first_version);
		dst = gs_varint_put(dst, run->nentries);
		dst = gs_varint_put(dst, zigzag(run->base));
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

	size += gs_varint_size(stored_base_version(record));
	size += 2; /* status, encoding */
	size += gs_varint_size((uint64_t) record->moves);
	size += gs_varint_size(zigzag(record->created_at));
	size += gs_varint_size(zigzag(record->started_at));
	size += gs_varint_size(zigzag(record->updated_at));
	size += gs_varint_size(zigzag(record->ended_at));
	size += gs_varint_size(zigzag(record->deadline));
	size += gs_varint_size((uint32_t) record->max_players);

	if (parts & GS_RECORD_HAS_REQUEST)
		size += GS_REQUEST_ID_LEN;
	if (parts & GS_RECORD_HAS_INFO)
		size += info_size(record);
	if (parts & GS_RECORD_HAS_STATE)
		size += bytes_size(&record->state);
	if (parts & GS_RECORD_HAS_DELTA)
		size += gs_varint_size(record->prefix) + bytes_size(&record->state) +
				gs_varint_size(record->suffix);
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
	dst = put_raw(dst, record->id, GS_RECORD_ID_LEN);
	dst = gs_varint_put(dst, (uint64_t) record->incarnation);
	dst = gs_varint_put(dst, (uint64_t) record->version);
	if (record->kind == GS_RECORD_REMOVE)
		return dst;

	dst = gs_varint_put(dst, stored_base_version(record));
	*dst++ = (char) record->status;
	*dst++ = (char) record->encoding;
	dst = gs_varint_put(dst, (uint64_t) record->moves);
	dst = gs_varint_put(dst, zigzag(record->created_at));
	dst = gs_varint_put(dst, zigzag(record->started_at));
	dst = gs_varint_put(dst, zigzag(record->updated_at));
	dst = gs_varint_put(dst, zigzag(record->ended_at));
	dst = gs_varint_put(dst, zigzag(record->deadline));
	dst = gs_varint_put(dst, (uint32_t) record->max_players);

	if (parts & GS_RECORD_HAS_REQUEST)
		dst = put_raw(dst, record->create_request, GS_REQUEST_ID_LEN);
	if (parts & GS_RECORD_HAS_INFO)
		dst = put_info(dst, record);
	if (parts & GS_RECORD_HAS_STATE)
		dst = put_bytes(dst, &record->state);
	if (parts & GS_RECORD_HAS_DELTA)
	{
		dst = gs_varint_put(dst, record->prefix);
		dst = put_bytes(dst, &record->state);
		dst = gs_varint_put(dst, record->suffix);
	}
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

/* the next n bytes, if there are that many */
static inline bool
consume(const char **p, const char *end, uint64_t n, const char **data)
{
	if (n > (uint64_t) (end - *p))
		return false;
	*data = *p;
	*p += n;
	return true;
}

static bool
consume_raw(const char **p, const char *end, void *dst, size_t n)
{
	const char *data;

	if (!consume(p, end, n, &data))
		return false;
	memcpy(dst, data, n);
	return true;
}

/* a number, a length, a time: what is not negative, and not more than max */
static bool
consume_number(const char **p, const char *end, uint64_t max, uint64_t *value)
{
	return gs_varint_get(p, end, value) && *value <= max;
}

static bool
consume_int64(const char **p, const char *end, int64_t *value)
{
	uint64_t n;

	if (!consume_number(p, end, INT64_MAX, &n))
		return false;
	*value = (int64_t) n;
	return true;
}

static bool
consume_uint32(const char **p, const char *end, uint32_t *value)
{
	uint64_t n;

	if (!consume_number(p, end, UINT32_MAX, &n))
		return false;
	*value = (uint32_t) n;
	return true;
}

/* A count of things that have one byte each at least. */
static bool
consume_count(const char **p, const char *end, uint32_t *value)
{
	return consume_uint32(p, end, value) && *value <= (uint64_t) (end - *p);
}

static bool
consume_time(const char **p, const char *end, int64_t *value)
{
	uint64_t n;

	if (!gs_varint_get(p, end, &n))
		return false;
	*value = unzigzag(n);
	return true;
}

/* a length, then that many bytes */
static bool
consume_bytes(const char **p, const char *end, GsBytes *bytes)
{
	uint64_t n;

	if (!consume_number(p, end, GS_RECORD_MAX_BYTES, &n) ||
		!consume(p, end, n, &bytes->data))
		return false;
	bytes->len = (uint32_t) n;
	return true;
}

/* 0, or a length + 1 and that many bytes */
static bool
consume_optional(const char **p, const char *end, GsBytes *bytes)
{
	uint64_t n;

	if (!consume_number(p, end, UINT64_C(1) + GS_RECORD_MAX_BYTES, &n))
		return false;
	if (n == 0)
	{
		bytes->data = NULL;
		bytes->len = 0;
		return true;
	}
	if (!consume(p, end, n - 1, &bytes->data))
		return false;
	bytes->len = (uint32_t) (n - 1);
	return true;
}

/* format to version: what a record of any kind has */
static const char *
decode_head(const char **p, const char *end, GsRecord *record)
{
	unsigned char head[HEAD_LEN];

	if (!consume_raw(p, end, head, HEAD_LEN))
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
	if (record->kind == GS_RECORD_REMOVE && record->parts != 0)
		return "record of a removal has parts";
	if (record->kind == GS_RECORD_IMAGE &&
		(!(record->parts & GS_RECORD_HAS_INFO) || !(record->parts & GS_RECORD_HAS_STATE)))
		return "record of an image is not whole";

	if (!consume_raw(p, end, record->id, GS_RECORD_ID_LEN))
		return "record has a broken game id";
	if (!consume_int64(p, end, &record->incarnation))
		return "record has a broken incarnation";
	if (!consume_int64(p, end, &record->version))
		return "record has a broken version";
	return NULL;
}

/* base version to max_players */
static const char *
decode_header(const char **p, const char *end, GsRecord *record)
{
	uint64_t n;

	/* only an image comes from nothing */
	if (!consume_int64(p, end, &record->base_version) ||
		(record->kind == GS_RECORD_IMAGE) != (record->base_version == 0) ||
		record->base_version > record->version)
		return "record has a broken base version";
	if (!consume_raw(p, end, &record->status, 1) || record->status == 0)
		return "record has a broken status";
	if (!consume_raw(p, end, &record->encoding, 1) || record->encoding == 0)
		return "record has a broken encoding";
	if (!consume_int64(p, end, &record->moves))
		return "record has a broken number of moves";
	if (!consume_time(p, end, &record->created_at) ||
		!consume_time(p, end, &record->started_at) ||
		!consume_time(p, end, &record->updated_at) ||
		!consume_time(p, end, &record->ended_at) ||
		!consume_time(p, end, &record->deadline))
		return "record has a broken time";
	if (!consume_number(p, end, INT32_MAX, &n))
		return "record has a broken max_players";
	record->max_players = (int32_t) n;
	return NULL;
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
	if (!consume_uint32(p, end, &record->prefix) ||
		!consume_bytes(p, end, &record->state) ||
		!consume_uint32(p, end, &record->suffix) ||
		(uint64_t) record->prefix + record->state.len + record->suffix >
			GS_RECORD_MAX_BYTES)
		return "record has a broken delta";
	return NULL;
}

/* one run, every entry of it */
static const char *
decode_run(const char **p, const char *end, GsRecordRun *run)
{
	const char *entry;
	const char *entries_end;

	if (!consume_int64(p, end, &run->first_version))
		return "record has a broken first version of a run";
	if (!consume_count(p, end, &run->nentries) || run->nentries == 0 ||
		run->nentries > (uint64_t) (INT64_MAX - run->first_version))
		return "record has a broken number of entries";
	if (!consume_time(p, end, &run->base))
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
		const char *error = decode_run(p, end, &run);

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

	if ((record->parts & GS_RECORD_HAS_REQUEST) &&
		!consume_raw(p, end, record->create_request, GS_REQUEST_ID_LEN))
		return "record has a broken request id";
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
gs_record_next_run(const char **p, GsRecordRun *run)
{
	run->first_version = (int64_t) checked_varint(p);
	run->nentries = (uint32_t) checked_varint(p);
	run->base = unzigzag(checked_varint(p));
	checked_bytes(p, &run->entries);
}

/* ----------
 * the difference of two states
 * ----------
 */

static inline uint64_t
load64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* do 32 bytes differ? */
static inline bool
differ32(const char *a, const char *b)
{
	return ((load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8)) |
			(load64(a + 16) ^ load64(b + 16)) | (load64(a + 24) ^ load64(b + 24))) != 0;
}

/* How many bytes of a difference, not 0, are equal before the first other one. */
static inline uint32_t
equal_first(uint64_t difference)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint32_t) __builtin_clzll(difference) / 8;
#else
	return (uint32_t) __builtin_ctzll(difference) / 8;
#endif
}

/* ... and behind the last one */
static inline uint32_t
equal_last(uint64_t difference)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint32_t) __builtin_ctzll(difference) / 8;
#else
	return (uint32_t) __builtin_clzll(difference) / 8;
#endif
}

/* equal bytes at the start of a and b, at most max */
static uint32_t
common_prefix(const char *a, const char *b, uint32_t max)
{
	uint32_t n = 0;

	while (max - n >= 32 && !differ32(a + n, b + n))
		n += 32;
	while (max - n >= 8)
	{
		uint64_t difference = load64(a + n) ^ load64(b + n);

		if (difference != 0)
			return n + equal_first(difference);
		n += 8;
	}
	while (n < max && a[n] == b[n])
		n++;
	return n;
}

/* equal bytes before the ends a and b, at most max */
static uint32_t
common_suffix(const char *a, const char *b, uint32_t max)
{
	uint32_t n = 0;

	while (max - n >= 32 && !differ32(a - n - 32, b - n - 32))
		n += 32;
	while (max - n >= 8)
	{
		uint64_t difference = load64(a - n - 8) ^ load64(b - n - 8);

		if (difference != 0)
			return n + equal_last(difference);
		n += 8;
	}
	while (n < max && *(a - n - 1) == *(b - n - 1))
		n++;
	return n;
}

/* The prefix is as long as it can be; the suffix has what is left then. */
void
gs_record_diff(const char *old_data, uint32_t old_len, const char *new_data,
			   uint32_t new_len, uint32_t *prefix, uint32_t *suffix)
{
	uint32_t max = old_len < new_len ? old_len : new_len;

	*prefix = 0;
	*suffix = 0;
	/* without bytes there need not be a pointer */
	if (max == 0)
		return;
	*prefix = common_prefix(old_data, new_data, max);
	*suffix = common_suffix(old_data + old_len, new_data + new_len, max - *prefix);
}
