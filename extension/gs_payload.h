/*-------------------------------------------------------------------------
 *
 * gs_payload.h
 *	  Codec of an archived game's payload: initial state, final state, log.
 *
 * Like gs_entry.c this is pure C (zstd apart), with no PostgreSQL in it.  It
 * works in two steps, so that checksum and compression see plain bytes:
 *
 *	raw, format 1 (GS_PAYLOAD_FORMAT_1):
 *		byte	1					format, repeated so that raw bytes name themselves
 *		byte	flags				GS_PAYLOAD_*; others are an error
 *		varint	initial_len, bytes	initial state, unless the entries lead back to it
 *		varint	final_len, bytes	final state, unless it is the initial one
 *		varint	first_version		version of the first entry
 *		varint	number of entries
 *		varint	zigzag(base)		base time of the entries
 *		varint	limit, not 0		the log is that of so many changes, the last ones
 *									(GsHistory); only if GS_PAYLOAD_HAS_LIMIT
 *		varint	number of requests, not 0; each: varint version, 16 bytes id, 4 bytes
 *				arguments as in an entry: what is remembered of the log before its
 *				first entry; only if GS_PAYLOAD_HAS_REQUESTS
 *		...		the entries, gs_entry.h
 *	and nothing behind them.
 *
 *	payload := one zstd frame of raw, content size in the frame's header,
 *		perhaps compressed with a dictionary
 *
 * Formats 2 and 3 have the log in columns, see gs_columns.h.  Size and checksum of
 * a game's raw bytes are always those of format 1: they say what the game is, not how
 * it is stored, and what has been turned into columns and back is checked by
 * them.
 *
 * The column "format" of gamestate.archive_payload says which decoder reads
 * a row; old formats stay readable for ever, so formats are only added.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PAYLOAD_H
#define GS_PAYLOAD_H

#include "gs_entry.h"

#include <zstd.h>

#define GS_PAYLOAD_FORMAT_1 1
#define GS_PAYLOAD_FORMAT_2 2 /* gs_columns.h */
#define GS_PAYLOAD_FORMAT_3 3 /* gs_columns.h */

#define GS_PAYLOAD_SAME_STATE	0x01 /* the final state equals the initial one */
#define GS_PAYLOAD_HAS_DELTAS	0x02 /* the entries lead back to each state before them */
#define GS_PAYLOAD_HAS_REQUESTS 0x04
#define GS_PAYLOAD_HAS_LIMIT	0x08
#define GS_PAYLOAD_FLAGS		0x0F /* not the first two together */

#define GS_PAYLOAD_LIMIT_MAX 65535

/* The states, and entries as the active-game table keeps them: encoded, one after another. */
typedef struct GsPayload
{
	bool has_deltas;
	const char *initial; /* not with deltas: it follows from them, see gs_history.h */
	uint32_t initial_len;
	const char *final;
	uint32_t final_len;
	int64_t first_version; /* version of the first entry */
	uint64_t nentries;
	int64_t base;			/* base time of the entries */
	uint16_t history_limit; /* 0 = none */
	uint64_t nrequests;
	const char *requests; /* encoded, for gs_payload_next_request() */
	size_t requests_len;
	const char *entries; /* encoded, all relative to base */
	size_t entries_len;
} GsPayload;

/* is the final state the initial one?; GS_PAYLOAD_*, as they will be written */
extern bool gs_payload_same_state(const GsPayload *payload);
extern int gs_payload_flags(const GsPayload *payload);

/* bytes that gs_payload_encode() will write */
extern size_t gs_payload_size(const GsPayload *payload);

/* writes raw bytes at dst, which has room for gs_payload_size() */
extern void gs_payload_encode(const GsPayload *payload, char *dst);

/*
 * Reads raw bytes; every entry is decoded once for checking, so that a
 * caller may walk payload->entries without further checks.  Returns NULL or
 * what is wrong (static text).  The result points into raw.
 */
extern const char *gs_payload_decode(const char *raw, size_t raw_len, GsPayload *payload);

/* One request, to be put into payload->requests; returns the end of what it wrote. */
#define GS_PAYLOAD_REQUEST_MAX (GS_VARINT_MAX_BYTES + GS_REQUEST_LEN)
extern char *gs_payload_put_request(char *dst, int64_t version, const unsigned char *id,
									uint32_t arguments);

/* Reads one request at *p, not beyond end; false if it is broken. */
extern bool gs_payload_next_request(const char **p, const char *end, int64_t *version,
									const unsigned char **id, uint32_t *arguments);

/*
 * zstd.  The contexts are made once a process and reused (static), so these
 * are not thread-safe.  A dictionary may be NULL; with one, the level is that
 * with which it was digested.  Its number is not in the frame: who stores the
 * frame stores the number.
 *
 * gs_payload_compress() returns the compressed size, or 0 and *error (static
 * text); dst must have room for gs_payload_bound(raw_len).
 * gs_payload_decompress() demands that exactly raw_len bytes come out and
 * returns NULL or what is wrong.
 */
extern size_t gs_payload_bound(size_t raw_len);
extern size_t gs_payload_compress(const char *raw, size_t raw_len, int level,
								  const ZSTD_CDict *dictionary, char *dst, size_t dst_len,
								  const char **error);
extern const char *gs_payload_decompress(const char *src, size_t src_len,
										 const ZSTD_DDict *dictionary, char *raw,
										 size_t raw_len);

/*
 * How many bytes does a frame say it holds?  Looks at the headers only.
 * Returns NULL or what is wrong; so does gs_payload_check_frame() if it is
 * another number than raw_len.
 */
extern const char *gs_payload_frame_size(const char *src, size_t src_len, size_t *size);
extern const char *gs_payload_check_frame(const char *src, size_t src_len,
										  size_t raw_len);

/*
 * From a frame of some format to raw bytes of format 1.  What lies between
 * needs as much room as gs_payload_room() says, 0 for format 1; it checks the
 * frame's headers, so that no memory is taken for what a damaged length says.
 */
extern const char *gs_payload_room(int format, const char *src, size_t src_len,
								   size_t raw_len, size_t *room);
extern const char *gs_payload_unpack(int format, const char *src, size_t src_len,
									 const ZSTD_DDict *dictionary, char *columns,
									 char *raw, size_t raw_len);

#endif /* GS_PAYLOAD_H */
