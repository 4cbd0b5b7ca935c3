/*-------------------------------------------------------------------------
 *
 * gs_payload.c
 *	  Codec of an archived game's payload, and its zstd frame.
 *
 * The format is drawn in gs_payload.h.  How the code is built:
 *
 *	1. Archiving: size, encode to raw, (the caller takes the checksum of
 *	   raw), compress.
 *	2. Reading: decompress, turn columns back, to exactly raw_size bytes,
 *	   (the caller compares the checksum), decode.  gs_payload_decode() visits every byte once, so
 *	   a payload it accepts is whole: whoever walks the entries later cannot
 *	   meet an error.
 *	3. Each process has one zstd context for either direction, made on first
 *	   use and kept: making one costs more than compressing a small game.
 *
 * What may not be done here: include a PostgreSQL header, or keep anything
 * but the two contexts and the text of an error.  Nothing here is thread-safe.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns.h"

#include <stdio.h>

static ZSTD_CCtx *compress_context = NULL;
static ZSTD_DCtx *decompress_context = NULL;

/* ----------
 * raw bytes
 * ----------
 */

bool
gs_payload_same_state(const GsPayload *payload)
{
	return !payload->has_deltas && payload->final_len == payload->initial_len &&
		   (payload->final_len == 0 || payload->final == payload->initial ||
			memcmp(payload->final, payload->initial, payload->final_len) == 0);
}

int
gs_payload_flags(const GsPayload *payload)
{
	return (gs_payload_same_state(payload) ? GS_PAYLOAD_SAME_STATE : 0) |
		   (payload->has_deltas ? GS_PAYLOAD_HAS_DELTAS : 0) |
		   (payload->history_limit > 0 ? GS_PAYLOAD_HAS_LIMIT : 0) |
		   (payload->nrequests > 0 ? GS_PAYLOAD_HAS_REQUESTS : 0);
}

size_t
gs_payload_size(const GsPayload *payload)
{
	size_t size = 2;

	if (!payload->has_deltas)
		size += gs_varint_size(payload->initial_len) + payload->initial_len;
	if (!gs_payload_same_state(payload))
		size += gs_varint_size(payload->final_len) + payload->final_len;
	size += gs_varint_size((uint64_t) payload->first_version);
	size += gs_varint_size(payload->nentries);
	size += gs_varint_size(gs_zigzag(payload->base));
	if (payload->history_limit > 0)
		size += gs_varint_size(payload->history_limit);
	if (payload->nrequests > 0)
		size += gs_varint_size(payload->nrequests) + payload->requests_len;
	size += payload->entries_len;
	return size;
}

char *
gs_payload_put_request(char *dst, int64_t version, const unsigned char *id,
					   uint32_t arguments)
{
	return gs_put_request(gs_varint_put(dst, (uint64_t) version), id, arguments);
}

bool
gs_payload_next_request(const char **p, const char *end, int64_t *version,
						const unsigned char **id, uint32_t *arguments)
{
	const char *raw;

	if (!gs_consume_int64(p, end, version) || !gs_consume(p, end, GS_REQUEST_LEN, &raw))
		return false;
	*id = (const unsigned char *) raw;
	*arguments = gs_get_uint32(raw + GS_REQUEST_ID_LEN);
	return true;
}

void
gs_payload_encode(const GsPayload *payload, char *dst)
{
	bool same = gs_payload_same_state(payload);

	*dst++ = GS_PAYLOAD_FORMAT_1;
	*dst++ = (char) gs_payload_flags(payload);
	if (!payload->has_deltas)
		dst = gs_put_bytes(dst, payload->initial, payload->initial_len);
	if (!same)
		dst = gs_put_bytes(dst, payload->final, payload->final_len);
	dst = gs_varint_put(dst, (uint64_t) payload->first_version);
	dst = gs_varint_put(dst, payload->nentries);
	dst = gs_varint_put(dst, gs_zigzag(payload->base));
	if (payload->history_limit > 0)
		dst = gs_varint_put(dst, payload->history_limit);
	if (payload->nrequests > 0)
	{
		dst = gs_varint_put(dst, payload->nrequests);
		dst = gs_put_raw(dst, payload->requests, payload->requests_len);
	}
	gs_put_raw(dst, payload->entries, payload->entries_len);
}

static bool
consume_requests(const char **p, const char *end, GsPayload *payload)
{
	if (!gs_varint_get(p, end, &payload->nrequests) || payload->nrequests == 0)
		return false;
	payload->requests = *p;
	for (uint64_t i = 0; i < payload->nrequests; i++)
	{
		const unsigned char *id;
		uint32_t arguments;
		int64_t version;

		if (!gs_payload_next_request(p, end, &version, &id, &arguments))
			return false;
	}
	payload->requests_len = (size_t) (*p - payload->requests);
	return true;
}

const char *
gs_payload_decode(const char *raw, size_t raw_len, GsPayload *payload)
{
	const char *p = raw;
	const char *end = raw + raw_len;
	int flags;
	uint64_t n;

	memset(payload, 0, sizeof(*payload));

	if (raw_len < 1)
		return "payload is empty";
	if (*p++ != GS_PAYLOAD_FORMAT_1)
		return "payload has an unknown format";

	if (p >= end || (*p & ~GS_PAYLOAD_FLAGS) != 0)
		return "payload has unknown flags";
	flags = (unsigned char) *p++;
	payload->has_deltas = (flags & GS_PAYLOAD_HAS_DELTAS) != 0;
	if (!payload->has_deltas &&
		!gs_consume_bytes(&p, end, &payload->initial, &payload->initial_len))
		return "payload has a broken initial state";
	if (flags & GS_PAYLOAD_SAME_STATE)
	{
		if (payload->has_deltas)
			return "payload has flags that exclude each other";
		payload->final = payload->initial;
		payload->final_len = payload->initial_len;
	}
	else if (!gs_consume_bytes(&p, end, &payload->final, &payload->final_len))
		return "payload has a broken final state";

	if (!gs_consume_int64(&p, end, &payload->first_version))
		return "payload has a broken first version";
	if (!gs_varint_get(&p, end, &payload->nentries) ||
		payload->nentries > (uint64_t) (INT64_MAX - payload->first_version))
		return "payload has a broken number of entries";
	if (!gs_varint_get(&p, end, &n))
		return "payload has a broken base time";
	payload->base = gs_unzigzag(n);
	if (flags & GS_PAYLOAD_HAS_LIMIT)
	{
		if (!gs_consume_number(&p, end, GS_PAYLOAD_LIMIT_MAX, &n) || n == 0)
			return "payload has a broken limit";
		payload->history_limit = (uint16_t) n;
	}
	if ((flags & GS_PAYLOAD_HAS_REQUESTS) && !consume_requests(&p, end, payload))
		return "payload has broken requests";

	payload->entries = p;
	payload->entries_len = (size_t) (end - p);
	for (n = 0; n < payload->nentries; n++)
	{
		GsEntry entry;
		const char *error = gs_entry_decode(&p, end, payload->base, &entry);

		if (error)
			return error;
	}
	if (p != end)
		return "payload has bytes behind its last entry";
	return NULL;
}

/* ----------
 * zstd
 * ----------
 */

static const char *
zstd_error(size_t code)
{
	static char text[128];

	snprintf(text, sizeof(text), "zstd: %s", ZSTD_getErrorName(code));
	return text;
}

size_t
gs_payload_bound(size_t raw_len)
{
	return ZSTD_compressBound(raw_len);
}

size_t
gs_payload_compress(const char *raw, size_t raw_len, int level,
					const ZSTD_CDict *dictionary, char *dst, size_t dst_len,
					const char **error)
{
	size_t n;

	if (compress_context == NULL)
	{
		compress_context = ZSTD_createCCtx();
		if (compress_context == NULL)
		{
			*error = "out of memory";
			return 0;
		}
		(void) ZSTD_CCtx_setParameter(compress_context, ZSTD_c_dictIDFlag, 0);
	}

	(void) ZSTD_CCtx_setParameter(compress_context, ZSTD_c_compressionLevel, level);
	(void) ZSTD_CCtx_refCDict(compress_context, dictionary);
	/* one call, so the frame's header says the content size */
	n = ZSTD_compress2(compress_context, dst, dst_len, raw, raw_len);
	/* the caller may free the dictionary */
	(void) ZSTD_CCtx_refCDict(compress_context, NULL);
	if (ZSTD_isError(n))
	{
		*error = zstd_error(n);
		return 0;
	}
	*error = NULL;
	return n;
}

const char *
gs_payload_frame_size(const char *src, size_t src_len, size_t *size)
{
	size_t n = ZSTD_findFrameCompressedSize(src, src_len);
	unsigned long long content;

	if (ZSTD_isError(n))
		return zstd_error(n);
	if (n != src_len)
		return "bytes behind the zstd frame";
	content = ZSTD_getFrameContentSize(src, src_len);
	if (content == ZSTD_CONTENTSIZE_UNKNOWN || content == ZSTD_CONTENTSIZE_ERROR)
		return "the zstd frame does not say what it holds";
	*size = (size_t) content;
	return NULL;
}

const char *
gs_payload_check_frame(const char *src, size_t src_len, size_t raw_len)
{
	size_t size;
	const char *error = gs_payload_frame_size(src, src_len, &size);

	if (error == NULL && size != raw_len)
		error = "the zstd frame holds another number of bytes than it should";
	return error;
}

const char *
gs_payload_decompress(const char *src, size_t src_len, const ZSTD_DDict *dictionary,
					  char *raw, size_t raw_len)
{
	const char *error;
	size_t n;

	/* sizes first: a damaged header must not make zstd work for nothing */
	error = gs_payload_check_frame(src, src_len, raw_len);
	if (error != NULL)
		return error;

	if (decompress_context == NULL)
	{
		decompress_context = ZSTD_createDCtx();
		if (decompress_context == NULL)
			return "out of memory";
	}
	/* without one if it is NULL */
	n = ZSTD_decompress_usingDDict(decompress_context, raw, raw_len, src, src_len,
								   dictionary);
	if (ZSTD_isError(n))
		return zstd_error(n);
	if (n != raw_len)
		return "the zstd frame gave another number of bytes than it should";
	return NULL;
}

/* ----------
 * formats
 * ----------
 */

const char *
gs_payload_room(int format, const char *src, size_t src_len, size_t raw_len, size_t *room)
{
	const char *error;

	*room = 0;
	if (format == GS_PAYLOAD_FORMAT_1)
		return gs_payload_check_frame(src, src_len, raw_len);
	if (format != GS_PAYLOAD_FORMAT_2 && format != GS_PAYLOAD_FORMAT_3)
		return "the format is unknown to this version of gamestate";
	error = gs_payload_frame_size(src, src_len, room);
	/* columns are only used where they are shorter */
	if (error == NULL && *room > raw_len)
		error = "the zstd frame holds more bytes than it should";
	return error;
}

const char *
gs_payload_unpack(int format, const char *src, size_t src_len,
				  const ZSTD_DDict *dictionary, char *columns, char *raw, size_t raw_len)
{
	size_t room;
	const char *error;

	if (format == GS_PAYLOAD_FORMAT_1)
		return gs_payload_decompress(src, src_len, dictionary, raw, raw_len);
	error = gs_payload_room(format, src, src_len, raw_len, &room);
	if (error == NULL)
		error = gs_payload_decompress(src, src_len, dictionary, columns, room);
	if (error == NULL)
		error = gs_columns_decode(columns, room, raw, raw_len);
	if (error == NULL && columns[0] != format)
		error = "columns are of another format than it should be";
	return error;
}
