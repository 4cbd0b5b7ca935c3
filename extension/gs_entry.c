/*-------------------------------------------------------------------------
 *
 * gs_entry.c
 *	  Codec of one log entry: bytes in, bytes out.
 *
 * The format is drawn in gs_entry.h.  How the code is built:
 *
 *	1. Encoding is two passes over one entry, size and bytes, so that the
 *	   caller allocates once and this file never does.
 *	2. Decoding reads everything through gs_bytes.h, which compares with what
 *	   is left before it touches anything.  Nothing else moves the read
 *	   position.
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

size_t
gs_entry_size(const GsEntry *e, int64_t base)
{
	size_t size = 2 + gs_varint_size(gs_time_distance(e->at, base));

	if (e->player)
		size += gs_varint_size(e->player_len) + e->player_len;
	if (e->request_id)
		size += GS_REQUEST_LEN;
	if (e->event)
		size += gs_varint_size(e->event_len) + e->event_len;
	if (e->delta)
		size += gs_varint_size(e->delta_len) + e->delta_len;
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
	dst = gs_varint_put(dst, gs_time_distance(e->at, base));
	if (e->player)
		dst = gs_put_bytes(dst, e->player, e->player_len);
	if (e->request_id)
		dst = gs_put_request(dst, e->request_id, e->request_arguments);
	if (e->event)
		dst = gs_put_bytes(dst, e->event, e->event_len);
	if (e->delta)
		dst = gs_put_bytes(dst, e->delta, e->delta_len);
	return dst;
}

const char *
gs_entry_decode(const char **p, const char *end, int64_t base, GsEntry *e)
{
	const char *s = *p;
	unsigned char kind;
	unsigned char flags;
	uint64_t distance;

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

	if (!gs_varint_get(&s, end, &distance))
		return "entry has a broken time";
	e->at = gs_time_at(distance, base);

	if ((flags & GS_ENTRY_HAS_PLAYER) &&
		!gs_consume_bytes(&s, end, &e->player, &e->player_len))
		return "entry has a broken player";
	if (flags & GS_ENTRY_HAS_REQUEST)
	{
		if (end - s < GS_REQUEST_LEN)
			return "entry has a broken request id";
		e->request_id = (const unsigned char *) s;
		e->request_arguments = gs_get_uint32(s + GS_REQUEST_ID_LEN);
		s += GS_REQUEST_LEN;
	}
	if ((flags & GS_ENTRY_HAS_EVENT) &&
		!gs_consume_bytes(&s, end, &e->event, &e->event_len))
		return "entry has a broken event";
	if ((flags & GS_ENTRY_HAS_DELTA) &&
		!gs_consume_bytes(&s, end, &e->delta, &e->delta_len))
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
		case GS_KIND_RESTORE:
			return "restore";
		case GS_KIND_SUSPEND:
			return "suspended";
		case GS_KIND_RESUME:
			return "resumed";
		case GS_KIND_SET_DEADLINE:
			return "set_deadline";
		case GS_KIND_DEADLINE:
			return "deadline";
		case GS_KIND_ANONYMISE:
			return "anonymise";
	}
	return "unknown";
}
