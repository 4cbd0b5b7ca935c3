/*-------------------------------------------------------------------------
 *
 * gs_payload.c
 *	  Codec of an archived game's payload, and its zstd frame.
 *
 * The format is drawn in gs_payload.h.  How the code is built:
 *
 *	1. Archiving: size, encode to raw, (the caller takes the checksum of
 *	   raw), compress.
 *	2. Reading: decompress to exactly raw_size bytes, (the caller compares
 *	   the checksum), decode.  gs_payload_decode() visits every byte once, so
 *	   a payload it accepts is whole: whoever walks the entries later cannot
 *	   meet an error.
 *	3. Each process has one zstd context for either direction, made on first
 *	   use and kept: making one costs more than compressing a small game.
 *
 * What may not be done here: include a PostgreSQL header, or keep anything
 * but the two contexts.  Nothing here is thread-safe.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_payload.h"

#include <zstd.h>

static ZSTD_CCtx *compress_context = NULL;
static ZSTD_DCtx *decompress_context = NULL;

/* ----------
 * raw bytes
 * ----------
 */

static inline bool
final_is_initial(const GsPayload *payload)
{
	return payload->final_len == payload->initial_len &&
		   (payload->final_len == 0 || payload->final == payload->initial ||
			memcmp(payload->final, payload->initial, payload->final_len) == 0);
}

size_t
gs_payload_size(const GsPayload *payload)
{
	size_t size = 1;

	size += gs_varint_size(payload->initial_len) + payload->initial_len;
	size += 1;
	if (!final_is_initial(payload))
		size += gs_varint_size(payload->final_len) + payload->final_len;
	size += gs_varint_size((uint64_t) payload->first_version);
	size += gs_varint_size(payload->nentries);
	size += gs_varint_size(gs_zigzag(payload->base));
	size += payload->entries_len;
	return size;
}

void
gs_payload_encode(const GsPayload *payload, char *dst)
{
	bool same = final_is_initial(payload);

	*dst++ = GS_PAYLOAD_FORMAT_1;
	dst = gs_put_bytes(dst, payload->initial, payload->initial_len);
	*dst++ = (char) ((same ? GS_PAYLOAD_SAME_STATE : 0) |
					 (payload->full_history ? GS_PAYLOAD_FULL_HISTORY : 0));
	if (!same)
		dst = gs_put_bytes(dst, payload->final, payload->final_len);
	dst = gs_varint_put(dst, (uint64_t) payload->first_version);
	dst = gs_varint_put(dst, payload->nentries);
	dst = gs_varint_put(dst, gs_zigzag(payload->base));
	gs_put_raw(dst, payload->entries, payload->entries_len);
}

const char *
gs_payload_decode(const char *raw, size_t raw_len, GsPayload *payload)
{
	const char *p = raw;
	const char *end = raw + raw_len;
	uint64_t n;

	memset(payload, 0, sizeof(*payload));

	if (raw_len < 1)
		return "payload is empty";
	if (*p++ != GS_PAYLOAD_FORMAT_1)
		return "payload has an unknown format";

	if (!gs_consume_bytes(&p, end, &payload->initial, &payload->initial_len))
		return "payload has a broken initial state";

	if (p >= end || (*p & ~GS_PAYLOAD_FLAGS) != 0)
		return "payload has unknown flags";
	payload->full_history = (*p & GS_PAYLOAD_FULL_HISTORY) != 0;
	if (*p++ & GS_PAYLOAD_SAME_STATE)
	{
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

size_t
gs_payload_bound(size_t raw_len)
{
	return ZSTD_compressBound(raw_len);
}

size_t
gs_payload_compress(const char *raw, size_t raw_len, int level, char *dst, size_t dst_len,
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
	}

	/* one call, so the frame's header says the content size */
	n = ZSTD_compressCCtx(compress_context, dst, dst_len, raw, raw_len, level);
	if (ZSTD_isError(n))
	{
		*error = ZSTD_getErrorName(n);
		return 0;
	}
	*error = NULL;
	return n;
}

const char *
gs_payload_check_frame(const char *src, size_t src_len, size_t raw_len)
{
	size_t n = ZSTD_findFrameCompressedSize(src, src_len);

	if (ZSTD_isError(n))
		return ZSTD_getErrorName(n);
	if (n != src_len)
		return "bytes behind the zstd frame";
	if (ZSTD_getFrameContentSize(src, src_len) != (unsigned long long) raw_len)
		return "the zstd frame holds another number of bytes than it should";
	return NULL;
}

const char *
gs_payload_decompress(const char *src, size_t src_len, char *raw, size_t raw_len)
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
	n = ZSTD_decompressDCtx(decompress_context, raw, raw_len, src, src_len);
	if (ZSTD_isError(n))
		return ZSTD_getErrorName(n);
	if (n != raw_len)
		return "the zstd frame gave another number of bytes than it should";
	return NULL;
}
