/*-------------------------------------------------------------------------
 *
 * gs_entry.c
 *	  Codec of one log entry, and the varints that all formats share.
 *
 * The format is drawn in gs_entry.h.  How the code is built:
 *
 *	1. Encoding is two passes over one entry, size and bytes, so that the
 *	   caller allocates once and this file never does.
 *	2. Decoding reads every length through consume_varint() and
 *	   consume_bytes(), which compare with what is left before they touch
 *	   anything.  Nothing else moves the read position.
 *	3. Encodings are canonical: a varint with needless bytes is an error, so
 *	   an entry that decodes encodes to the same bytes again.
 *	4. Times are subtracted and added modulo 2^64, so every pair of time and
 *	   base goes through, also what no clock would say.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep
 * state.  The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_entry.h"

#include <string.h>

#define VARINT_MAX_BYTES 10

/* ----------
 * varints
 * ----------
 */

static inline size_t
varint_size(uint64_t value)
{
	/* number of significant bits, at least 1, in groups of 7 */
	return (size_t) (70 - __builtin_clzll(value | 1)) / 7;
}

static inline char *
varint_put(char *dst, uint64_t value)
{
	while (value >= 0x80)
	{
		*dst++ = (char) (unsigned char) (value | 0x80);
		value >>= 7;
	}
	*dst++ = (char) (unsigned char) value;
	return dst;
}

static inline bool
consume_varint(const char **p, const char *end, uint64_t *value)
{
	const unsigned char *s = (const unsigned char *) *p;
	const unsigned char *stop = (const unsigned char *) end;
	uint64_t result;
	int shift;

	/* one byte is by far the most frequent case */
	if (s < stop && *s < 0x80)
	{
		*value = *s;
		*p = (const char *) (s + 1);
		return true;
	}

	result = 0;
	for (shift = 0; shift < 7 * VARINT_MAX_BYTES; shift += 7)
	{
		unsigned char c;

		if (s >= stop)
			return false;
		c = *s++;
		/* the tenth byte holds the 64th bit only */
		if (shift == 63 && c > 1)
			return false;
		result |= (uint64_t) (c & 0x7F) << shift;
		if (c < 0x80)
		{
			/* a last byte of 0 adds nothing: not canonical */
			if (c == 0)
				return false;
			*value = result;
			*p = (const char *) s;
			return true;
		}
	}
	return false;
}

/* a length, then that many bytes */
static inline bool
consume_bytes(const char **p, const char *end, const char **data, uint32_t *len)
{
	uint64_t n;

	if (!consume_varint(p, end, &n))
		return false;
	if (n > UINT32_MAX || n > (uint64_t) (end - *p))
		return false;
	*data = *p;
	*len = (uint32_t) n;
	*p += n;
	return true;
}

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

size_t
gs_varint_size(uint64_t value)
{
	return varint_size(value);
}

char *
gs_varint_put(char *dst, uint64_t value)
{
	return varint_put(dst, value);
}

/* Reads a varint at *p, not beyond end; false, *p unchanged, if there is none. */
bool
gs_varint_get(const char **p, const char *end, uint64_t *value)
{
	return consume_varint(p, end, value);
}

/* ----------
 * entries
 * ----------
 */

static inline uint64_t
time_offset(int64_t at, int64_t base)
{
	return zigzag((int64_t) ((uint64_t) at - (uint64_t) base));
}

static inline char *
put_bytes(char *dst, const char *data, uint32_t len)
{
	dst = varint_put(dst, len);
	memcpy(dst, data, len);
	return dst + len;
}

size_t
gs_entry_size(const GsEntry *e, int64_t base)
{
	size_t size = 2 + varint_size(time_offset(e->at, base));

	if (e->player)
		size += varint_size(e->player_len) + e->player_len;
	if (e->request_id)
		size += GS_REQUEST_ID_LEN;
	if (e->event)
		size += varint_size(e->event_len) + e->event_len;
	if (e->delta)
		size += varint_size(e->delta_len) + e->delta_len;
	return size;
}

char *
gs_entry_encode(const GsEntry *e, int64_t base, char *dst)
{
	unsigned char flags = 0;

	if (e->player)
		flags |= GS_ENTRY_HAS_PLAYER;
	if (e->request_id)
		flags |= GS_ENTRY_HAS_REQUEST;
	if (e->event)
		flags |= GS_ENTRY_HAS_EVENT;
	if (e->delta)
		flags |= GS_ENTRY_HAS_DELTA;

	*dst++ = (char) e->kind;
	*dst++ = (char) flags;
	dst = varint_put(dst, time_offset(e->at, base));
	if (e->player)
		dst = put_bytes(dst, e->player, e->player_len);
	if (e->request_id)
	{
		memcpy(dst, e->request_id, GS_REQUEST_ID_LEN);
		dst += GS_REQUEST_ID_LEN;
	}
	if (e->event)
		dst = put_bytes(dst, e->event, e->event_len);
	if (e->delta)
		dst = put_bytes(dst, e->delta, e->delta_len);
	return dst;
}

const char *
gs_entry_decode(const char **p, const char *end, int64_t base, GsEntry *e)
{
	const char *s = *p;
	unsigned char kind;
	unsigned char flags;
	uint64_t offset;

	if (end - s < 2)
		return "entry is cut off";
	kind = (unsigned char) s[0];
	flags = (unsigned char) s[1];
	s += 2;
	if (kind == 0 || kind > GS_KIND_LAST)
		return "entry has an unknown kind";
	if (flags & ~GS_ENTRY_FLAGS)
		return "entry has unknown flags";

	memset(e, 0, sizeof(*e));
	e->kind = (GsKind) kind;

	if (!consume_varint(&s, end, &offset))
		return "entry has a broken time";
	e->at = (int64_t) ((uint64_t) base + (uint64_t) unzigzag(offset));

	if ((flags & GS_ENTRY_HAS_PLAYER) &&
		!consume_bytes(&s, end, &e->player, &e->player_len))
		return "entry has a broken player";
	if (flags & GS_ENTRY_HAS_REQUEST)
	{
		if (end - s < GS_REQUEST_ID_LEN)
			return "entry has a broken request id";
		e->request_id = (const unsigned char *) s;
		s += GS_REQUEST_ID_LEN;
	}
	if ((flags & GS_ENTRY_HAS_EVENT) && !consume_bytes(&s, end, &e->event, &e->event_len))
		return "entry has a broken event";
	if ((flags & GS_ENTRY_HAS_DELTA) && !consume_bytes(&s, end, &e->delta, &e->delta_len))
		return "entry has a broken delta";

	*p = s;
	return NULL;
}

const char *
gs_kind_name(GsKind kind)
{
	switch (kind)
	{
		case GS_KIND_CREATE:
			return "create";
		case GS_KIND_MOVE:
			return "move";
		case GS_KIND_METADATA:
			return "metadata";
		case GS_KIND_ROOM_CODE:
			return "room_code";
		case GS_KIND_START:
			return "start";
		case GS_KIND_JOIN:
			return "join";
		case GS_KIND_LEAVE:
			return "leave";
		case GS_KIND_FINISH:
			return "finish";
		case GS_KIND_ABANDON:
			return "abandon";
	}
	return "unknown";
}
