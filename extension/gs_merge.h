/*-------------------------------------------------------------------------
 *
 * gs_merge.h
 *	  JSON Merge Patch (RFC 7396) on text.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no allocation, no global state.
 *
 * A patch that is no object is the result.  An object says of each of its
 * members: null = the target's member of this name goes; an object = it is
 * merged with it; anything else = it takes its place.  Members that the target
 * does not have are put behind the others.  What the patch does not name stays
 * to the letter: white space, order, spelling of names and numbers, members
 * that stand there twice.
 *
 * Names are equal if they are after their escapes have been undone ("a" is
 * "\u0061").  Of members of one name the last one counts, as it does for
 * PostgreSQL: in the patch the others are ignored, in the target they go when
 * the patch names them.
 *
 * Both texts should be valid JSON.  If they are not, the result need not be
 * either, or there is an error; nothing is read or written outside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_MERGE_H
#define GS_MERGE_H

#include <stddef.h>
#include <stdint.h>

#define GS_MERGE_MAX_DEPTH 128		  /* objects within objects, of a patch */
#define GS_MERGE_MAX_BYTES 0x3FFFFFFF /* of target and patch: PostgreSQL's MaxAllocSize */

/* what gs_merge() needs besides, aligned as malloc() does it */
extern size_t gs_merge_scratch_size(const char *patch, size_t patch_len);

/*
 * Writes the target with the patch applied at dst, which has room for
 * target_len + patch_len bytes, and how many they are.  Returns NULL, or what is
 * wrong with the texts (static text), dst then being unspecified.
 */
extern const char *gs_merge(const char *target, size_t target_len, const char *patch,
							size_t patch_len, void *scratch, char *dst, size_t *dst_len);

#endif /* GS_MERGE_H */
