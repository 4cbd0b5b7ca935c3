/*-------------------------------------------------------------------------
 *
 * gs_leaves.h
 *	  Partitions of the archive as a list, for the maintenance worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LEAVES_H
#define GS_LEAVES_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/timestamp.h"

typedef struct GsLeaf
{
	Oid relid;
	char *name;		 /* qualified and quoted */
	char *game_type; /* "" = a branch that several types share */
	bool in_default; /* and that is the default branch */
	bool frozen;	 /* a foreign table over a file, see gs_freeze.c */
	Oid parent;
	TimestampTz from;
	TimestampTz to; /* what it holds ended in [from, to) */
} GsLeaf;

/*
 * The leaves of gamestate.archive or gamestate.archive_payload that we have made,
 * or somebody in our place: ordinary tables and frozen ones in schema
 * gamestate_partitions that belong to our role, a level below a type's branch.
 * Those of a type stand together, oldest first.  Takes and keeps AccessShareLocks
 * on the partitioned tables.  All is palloc'd.
 */
extern List *gs_leaves(const char *table);

/* The same for one branch, attached or not. */
extern List *gs_leaves_of_branch(Oid relid, const char *game_type);

extern char *gs_leaf_name(Oid relid);

/* Is a table, attached or not, such a one? */
extern bool gs_leaf_is_ours(Oid relid);

/* For the tasks of the maintenance worker: so long before now. */
extern TimestampTz gs_leaf_ago(const Interval *interval);

#endif /* GS_LEAVES_H */
