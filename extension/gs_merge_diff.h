/*-------------------------------------------------------------------------
 *
 * gs_merge_diff.h
 *	  From two JSON texts to the JSON Merge Patch (RFC 7396) that leads from the one
 *	  to the other.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no allocation, no global state.
 *
 * What gs_merge() makes of the first text and the patch means the same as the
 * second text: order of members, white space and spelling of names may be other
 * ones, for a patch cannot say them.  Nor can it say that a member shall be null:
 * then there is no patch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_MERGE_DIFF_H
#define GS_MERGE_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What gs_merge_diff() needs besides, aligned as malloc() does it; at dst at most. */
extern size_t gs_merge_diff_scratch_size(const char *from, size_t from_len,
										 const char *to, size_t to_len);
extern size_t gs_merge_diff_room(const char *from, size_t from_len, size_t to_len);

/*
 * Writes the patch at dst, and how many bytes it has; false if there is none, or
 * a text is not JSON, or is nested deeper than GS_MERGE_MAX_DEPTH.
 */
extern bool gs_merge_diff(const char *from, size_t from_len, const char *to,
						  size_t to_len, void *scratch, char *dst, size_t *dst_len);

#endif /* GS_MERGE_DIFF_H */
