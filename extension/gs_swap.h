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

#include "utils/rel.h"

extern bool gs_swap_possible(Relation rel);

/*
 * Does every snapshot, also one on a standby, see all rows of the copy, and are
 * there no rows in the table that only some snapshots see?  Writers of both are
 * locked out.
 */
extern bool gs_swap_is_settled(Oid relid, Oid copy);

/* The latter alone. */
extern bool gs_swap_same_for_all(Oid relid);

/* The swap.  The copy is dropped.  Both are locked against everybody. */
extern void gs_swap_files(Oid relid, Oid copy);

#endif /* GS_SWAP_H */
