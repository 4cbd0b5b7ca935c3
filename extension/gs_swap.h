/*-------------------------------------------------------------------------
 *
 * gs_swap.h
 *	  A table gets the files of another one that has the same rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SWAP_H
#define GS_SWAP_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/rel.h"

extern bool gs_swap_possible(Relation rel);

/* NULL, or why a table cannot get the files of a copy. */
extern const char *gs_swap_shape(Relation rel);

/*
 * NULL, or why a copy cannot be made; *clause is what CREATE TABLE says of its
 * tablespace then.  Connected to SPI, as gamestate_owner.
 */
extern const char *gs_swap_copy_refused(Oid relid, const char **clause);

/* Would what is inserted into a table of ours beside the partitions be published? */
extern bool gs_swap_copy_is_published(void);

/*
 * Does every snapshot, also one on a standby, see all rows of the copy, and are
 * there no rows in the table that only some snapshots see?  Writers of both are
 * locked out.
 */
extern bool gs_swap_is_settled(Oid relid, Oid copy);

/* The latter alone. */
extern bool gs_swap_same_for_all(Oid relid);

/* The former alone: every row is one that all snapshots see. */
extern bool gs_swap_all_frozen(Oid relid);

/*
 * Are there no rows in the table that have been deleted and that some snapshot still
 * sees?  Rows may have been inserted lately.  Writers are locked out.
 */
extern bool gs_swap_none_dying(Oid relid);

/*
 * Put rows of the table, which has none that are dying, behind those of the copy: who
 * sees them there is who sees them here.  Columns go by their names.  Both are locked
 * against everybody.  The copy's indexes do not get them; and a rollback leaves them in
 * the copy, in blocks behind those that it had.
 */
extern void gs_swap_append(Oid relid, Oid copy, const ItemPointerData *tids, int n);

/* The swap.  The copy is dropped.  Both are locked against everybody. */
extern void gs_swap_files(Oid relid, Oid copy);

#endif /* GS_SWAP_H */
