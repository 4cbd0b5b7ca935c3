/*-------------------------------------------------------------------------
 *
 * gs_promote.h
 *	  Moving a game type out of the default branch of the archive; a task of the
 *	  maintenance worker.
 *
 * The task goes on from state to state (gs_promote.c), copies rows
 * (gs_promote_copy.c) and puts the copies in their places (gs_promote_swap.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PROMOTE_H
#define GS_PROMOTE_H

#include "gs_table.h"

#include "nodes/pg_list.h"
#include "utils/array.h"

/* One turn; what it allocates is in mcxt.  May raise ERROR. */
extern void gs_promote_run(MemoryContext mcxt);

/* ---- what the parts share ---- */

/* The archive's two tables. */
#define GS_PROMOTE_TABLES 2
extern const char *const gs_promote_tables[GS_PROMOTE_TABLES];

/*
 * Of a row of gamestate.promotion that is not done.
 *	waiting -> copying | failed | canceled
 *	copying -> settling | failed | canceled
 *	settling -> copying | done | failed | canceled
 */
typedef enum GsPromotionState
{
	GS_PROMOTION_WAITING,
	GS_PROMOTION_COPYING,
	GS_PROMOTION_SETTLING
} GsPromotionState;

typedef struct GsPromotion
{
	char *game_type;
	GsText type;   /* the same */
	char *literal; /* the same in SQL */
	GsPromotionState state;
	bool canceled;
	bool in_doubt; /* it was interrupted where a rollback is not enough */
	int rounds;	   /* so often it began to settle */
	Oid branches[GS_PROMOTE_TABLES];
	List *leaves; /* GsPromotionLeaf */
} GsPromotion;

/* A leaf of the default branch that has games of the type: a row of gamestate.promotion_leaf. */
typedef struct GsPromotionLeaf
{
	Oid relid;
	char *name; /* qualified and quoted, as those that follow */
	int table;	/* of gs_promote_tables */
	Oid copy;	/* of the games of other types */
	char *copy_name;
	Oid map; /* which rows have been copied */
	char *map_name;
	char *columns; /* all but the generated ones */
	bool copying;  /* not all were copied once */
} GsPromotionLeaf;

/* ---- gs_promote.c ---- */

extern uint64 gs_promote_sql(const char *command, int expected, int nargs,
							 const Oid *types, const Datum *values);
extern void gs_promote_update(const GsPromotion *promotion, const char *set);

/*
 * A table that nobody but us shall see: it is a member of the extension, so that
 * pg_dump leaves it out, DROP EXTENSION takes it along and nobody drops it.
 */
extern void gs_promote_hide(Oid relid);
extern void gs_promote_unhide(Oid relid);

/* What is left of a leaf's copy, its row too. */
extern void gs_promote_drop_leaf(const GsPromotionLeaf *leaf, bool with_copy);

/* The leaf of the type's own branch for a game that ended then; within a transaction. */
extern Oid gs_promote_own_leaf(const GsPromotion *promotion, int table,
							   TimestampTz ended_at, bool *made);

/* Has no other leaf of the default branch games of the type?  Within a transaction. */
extern bool gs_promote_knows_all_leaves(const GsPromotion *promotion);

/* ---- gs_promote_copy.c ---- */

/* The next games of a leaf; false if all have been copied once. */
extern bool gs_promote_copy_some(const GsPromotion *promotion,
								 const GsPromotionLeaf *leaf);

/* What has changed in a leaf since. */
extern void gs_promote_catch_up(const GsPromotion *promotion,
								const GsPromotionLeaf *leaf);

/* The rows that have been copied from a leaf and are there no more, or others by now. */
extern char *gs_promote_outdated(const GsPromotionLeaf *leaf);

/* The rows that have not been copied: a condition for a leaf as "o". */
extern char *gs_promote_missing(const GsPromotionLeaf *leaf);

/* Games of the type that came from a leaf which is gone. */
extern void gs_promote_forget_rows(const GsPromotion *promotion,
								   const GsPromotionLeaf *leaf);

/* ---- gs_promote_swap.c ---- */

typedef enum GsPromoteResult
{
	GS_PROMOTE_DONE,
	GS_PROMOTE_WAIT,	/* for older snapshots */
	GS_PROMOTE_CATCH_UP /* too much has changed */
} GsPromoteResult;

/* Vacuum the copies, and put them in their places if that can be done now. */
extern GsPromoteResult gs_promote_swap(const GsPromotion *promotion);

/* What a swap that did not come to its end has left in the copies is cut off. */
extern void gs_promote_undo(const GsPromotion *promotion);

#endif /* GS_PROMOTE_H */
