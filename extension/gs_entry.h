/*-------------------------------------------------------------------------
 *
 * gs_entry.h
 *	  Codec of one log entry: bytes in, bytes out.
 *
 * The same bytes are used in three places: in a running game's log (shared
 * memory), in the journal, and in the archive's payload.  The codec is pure
 * C: no PostgreSQL, no allocation, no global state, so that it can be tested
 * and fuzzed outside the server.
 *
 *	entry := head flags at [player] [request] [event] [delta]
 *
 *	head	1 byte	 kind (GsKind)
 *	flags	1 byte	 GS_ENTRY_HAS_*; unknown bits are an error
 *	at		varint	 zigzag(time of the server - base), microseconds
 *	player	varint + bytes			if GS_ENTRY_HAS_PLAYER
 *	request 16 bytes, 4 bytes		if GS_ENTRY_HAS_REQUEST: the request id, and what
 *									its arguments come to (gs_request.h), little endian
 *	event	varint + bytes			if GS_ENTRY_HAS_EVENT
 *	delta	varint + bytes			if GS_ENTRY_HAS_DELTA
 *
 * The version is not stored: entries of a game are consecutive, so whoever
 * holds a run of entries stores the first version.  "base" is stored once a
 * run as well, which leaves 3 to 5 bytes for a time.
 * varint and zigzag: gs_bytes.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ENTRY_H
#define GS_ENTRY_H

#include "gs_bytes.h"

/* Kinds of change.  Stored: values never change their meaning. */
typedef enum GsKind
{
	GS_KIND_CREATE = 1,
	GS_KIND_MOVE = 2,
	GS_KIND_METADATA = 3,
	GS_KIND_ROOM_CODE = 4,
	GS_KIND_START = 5,
	GS_KIND_JOIN = 6,
	GS_KIND_LEAVE = 7,
	GS_KIND_FINISH = 8,
	GS_KIND_ABANDON = 9,
	GS_KIND_RESTORE = 10,
	GS_KIND_SUSPEND = 11,
	GS_KIND_RESUME = 12,
	GS_KIND_SET_DEADLINE = 13,
	GS_KIND_DEADLINE = 14, /* it has passed */
	GS_KIND_ANONYMISE = 15
} GsKind;

#define GS_KIND_LAST GS_KIND_ANONYMISE

#define GS_ENTRY_HAS_PLAYER	 0x01
#define GS_ENTRY_HAS_REQUEST 0x02
#define GS_ENTRY_HAS_EVENT	 0x04
#define GS_ENTRY_HAS_DELTA	 0x08
#define GS_ENTRY_FLAGS		 0x0F

#define GS_REQUEST_ID_LEN 16
#define GS_REQUEST_LEN	  (GS_REQUEST_ID_LEN + 4) /* as stored, with its arguments */

/*
 * A decoded entry.  Pointers point into the encoded bytes (decode) or to the
 * caller's data (encode); nothing is owned.  A NULL pointer means absent, a
 * non-NULL pointer with length 0 an empty value.
 */
typedef struct GsEntry
{
	GsKind kind;
	int64_t at; /* microseconds since 2000-01-01 UTC (TimestampTz) */
	const char *player;
	uint32_t player_len;
	const unsigned char *request_id; /* GS_REQUEST_ID_LEN bytes */
	uint32_t request_arguments;		 /* 0 without a request id */
	const char *event;
	uint32_t event_len;
	const char *delta; /* gs_delta.h, to the state before; see GsHistory */
	uint32_t delta_len;
} GsEntry;

/*
 * Is it a request that is remembered, without the change that it has led to?  Such entries
 * are in an image only (gs_record.h): a move has an event.
 */
static inline bool
gs_entry_is_request(const GsEntry *e)
{
	return e->kind == GS_KIND_MOVE && e->event == NULL;
}

/* a request id and its arguments, here and in gs_record.h */
static inline char *
gs_put_request(char *dst, const unsigned char *id, uint32_t arguments)
{
	return gs_put_uint32(gs_put_raw(dst, id, GS_REQUEST_ID_LEN), arguments);
}

extern const char *gs_kind_name(GsKind kind); /* static text, never NULL */

/* bytes that gs_entry_encode() will write */
extern size_t gs_entry_size(const GsEntry *e, int64_t base);

/* writes at dst, which has room for gs_entry_size(); returns the end */
extern char *gs_entry_encode(const GsEntry *e, int64_t base, char *dst);

/*
 * Reads one entry at *p, not beyond end, and advances *p.  Returns NULL, or
 * what is wrong with the bytes (static text), *p then being unspecified.
 */
extern const char *gs_entry_decode(const char **p, const char *end, int64_t base,
								   GsEntry *e);

#endif /* GS_ENTRY_H */
