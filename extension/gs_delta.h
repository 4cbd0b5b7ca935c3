/*-------------------------------------------------------------------------
 *
 * gs_delta.h
 *	  Codec of a delta: one state, said by what differs from another.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no allocation, no global state.
 *
 *	delta := new_len hunk*
 *
 *	new_len	varint	bytes of the new state
 *	hunk	:= head [skip] insert
 *		head	varint	number of bytes to copy * 2 + (1 if there is a skip)
 *		skip	varint	zigzag, not 0: moves the place in the old state
 *		insert	varint + bytes, which follow what was copied
 *
 * The new state is put together from its start.  The place in the old state is
 * at first its start; a hunk moves it by skip, copies from there, and moves it
 * behind the bytes copied, then further by as many as were inserted: bytes
 * replaced by as many others need no skip.  When the hunks are at their end,
 * what the new state still lacks are the last bytes of the old one.
 *
 * So a state of 2 KB of which 100 bytes in one place are others is told in 105
 * bytes, 25 bytes in each of four places in 113.
 *
 * Nothing says which format this is: the version of what contains it does.
 * Nor does the delta know its old state: given another one, the result is
 * another one, or an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DELTA_H
#define GS_DELTA_H

#include <stddef.h>
#include <stdint.h>

#define GS_DELTA_MAX_BYTES 0x3FFFFFFF /* of a state: PostgreSQL's MaxAllocSize */

/*
 * Writes at dst what makes new_state from old_state, and returns the number of
 * bytes; or 0 if there is no room for them in dst_size bytes, dst then being
 * unspecified.  Work is linear, about a microsecond for 2 KB that have nothing
 * in common.  Neither state is longer than GS_DELTA_MAX_BYTES.
 */
extern size_t gs_delta_encode(const char *old_state, uint32_t old_len,
							  const char *new_state, uint32_t new_len, char *dst,
							  size_t dst_size);

/*
 * Both return NULL, or what is wrong (static text).  Nothing in the bytes is
 * trusted.  gs_delta_length() says how long the new state is;
 * gs_delta_apply() makes it, in dst, which has exactly that room.
 */
extern const char *gs_delta_length(const char *delta, size_t len, uint32_t *new_len);
extern const char *gs_delta_apply(const char *old_state, uint32_t old_len,
								  const char *delta, size_t len, char *dst,
								  uint32_t new_len);

/*
 * The delta back: from one that has been applied without a fault, and the old
 * state, writes what makes old_state from the new state.  Nothing is searched:
 * what the one copies the other copies, what the one leaves out the other
 * inserts.  Returns the number of bytes, 0 if there is no room; a delta of
 * gs_delta_back_room() bytes always has room, whatever the deltas.
 */
extern size_t gs_delta_invert(const char *old_state, uint32_t old_len, const char *delta,
							  size_t len, char *dst, size_t dst_size);

/* the same without a delta: all of the old state */
extern size_t gs_delta_whole(const char *old_state, uint32_t old_len, char *dst,
							 size_t dst_size);

static inline size_t
gs_delta_back_room(uint32_t old_len, size_t delta_len)
{
	return (size_t) old_len + delta_len * 12 + 32;
}

#endif /* GS_DELTA_H */
