/*-------------------------------------------------------------------------
 *
 * gs_follow_groups.h
 *	  From rows of the journal to games in a standby's shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_FOLLOW_GROUPS_H
#define GS_FOLLOW_GROUPS_H

#include "gs_database.h"

#include "access/htup.h"
#include "storage/itemptr.h"

/* Begin from nothing, with no game of the database in memory. */
extern void gs_groups_reset(void);

/* From now on what is applied has not been told of before: put it into the change feed. */
extern void gs_groups_tell(void);

/* Take a row; the same one may come any number of times. */
extern void gs_groups_row(int table, const ItemPointerData *tid, HeapTupleHeader header,
						  Size len);
extern void gs_groups_damaged(int table, const ItemPointerData *tid, const char *what);

/* The rows of a table are gone and will not come again. */
extern void gs_groups_emptied(int table);

/*
 * Apply what can be applied; *all: nothing that has been committed had to
 * wait.  False if recovery ended meanwhile.  May fail for lack of memory: then
 * what is in memory is not whole.
 */
extern bool gs_groups_apply(GsDatabase *db, bool *all);

typedef struct GsGroupsStatus
{
	uint64 pending;	 /* groups that wait for their transaction, or for rows */
	uint64 applied;	 /* groups */
	uint64 problems; /* rows and games that cannot be followed */
	uint64 holes;	 /* those of them that a missing row explains */
} GsGroupsStatus;

extern void gs_groups_status(GsGroupsStatus *status);

/* For problems that others have found. */
extern void gs_groups_count_problem(void);

#endif /* GS_FOLLOW_GROUPS_H */
