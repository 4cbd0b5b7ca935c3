/*-------------------------------------------------------------------------
 *
 * gs_ahead.c
 *	  Partitions of the archive that are made before they are needed.
 *
 * The model:
 *	1. A branch is in use if one of our leaves of the last days (RECENT_DAYS), or of the
 *	   running period, has rows.  That is read from the tables, so nothing is
 *	   forgotten by a restart; and a branch whose leaves a DBA makes (pg_partman,
 *	   say) is left alone.
 *	2. Its leaves are made from now to the end of the policy's make_ahead-th period
 *	   after the running one, each in a transaction of its own, as the archiver
 *	   would make them (gs_partition.c).  Who fails, because somebody has locked
 *	   the tables, does not hold up the others.
 *	3. With make_ahead = 0 nothing is made here; the archiver makes what is missing when
 *	   a game needs it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_ahead.h"
#include "gs_config.h"
#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_partition.h"
#include "gs_policy.h"
#include "gs_worker.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT_MS 1000

#define RECENT_DAYS 3

/*
 * Of a partition that somebody has locked against everybody we know nothing, and leave
 * it for another time: pg_restore is about to attach others, which ours would overlap.
 */
static bool
has_rows(Oid relid)
{
	Relation rel;
	bool result;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	rel = try_table_open(relid, NoLock);
	if (rel == NULL)
		return false;
	result = RelationGetNumberOfBlocks(rel) > 0;
	table_close(rel, NoLock);
	return result;
}

static bool
is_recent(const GsLeaf *leaf, TimestampTz now)
{
	return !leaf->frozen && leaf->from <= now &&
		   leaf->to > now - RECENT_DAYS * USECS_PER_DAY;
}

/* The types that are in use, "" for the default branch; in mcxt. */
static List *
types_in_use(MemoryContext mcxt)
{
	TimestampTz now = GetCurrentTimestamp();
	List *types = NIL;
	const char *last = NULL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	foreach (cell, gs_leaves("archive"))
	{
		const GsLeaf *leaf = lfirst(cell);
		MemoryContext old;

		/* what several types share but the default branch is a DBA's idea */
		if (leaf->game_type[0] == '\0' && !leaf->in_default)
			continue;
		if ((last != NULL && strcmp(last, leaf->game_type) == 0) ||
			!is_recent(leaf, now) || !has_rows(leaf->relid))
			continue;
		old = MemoryContextSwitchTo(mcxt);
		last = pstrdup(leaf->game_type);
		types = lappend(types, unconstify(char *, last));
		MemoryContextSwitchTo(old);
	}
	gs_worker_commit();
	return types;
}

/* The end of the n-th period after the running one. */
static TimestampTz
horizon_of(const GsText *game_type, TimestampTz now)
{
	const GsPolicy *policy = gs_policy(game_type);
	int n = policy->make_ahead == GS_POLICY_SETTING ? gs_archive_make_ahead
													: policy->make_ahead;
	TimestampTz from;
	TimestampTz to = now;

	if (n == 0)
		return now;
	for (int i = 0; i <= n; i++)
		gs_period(policy->partition_interval, to, &from, &to);
	return to;
}

/* Where the first leaf is missing before the horizon; the horizon if none is. */
static TimestampTz
first_missing(const GsText *game_type, TimestampTz at, TimestampTz *horizon)
{
	bool shared = game_type->len == 0;
	GsPlace place;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	*horizon = horizon_of(game_type, GetCurrentTimestamp());
	while (at < *horizon && gs_partition_find(game_type, at, shared, &place))
		at = place.to;
	gs_worker_commit();
	return Min(at, *horizon);
}

static void
make_ahead(void *element)
{
	const char *type = element;
	GsText game_type = {type, strlen(type)};
	TimestampTz at = GetCurrentTimestamp();
	TimestampTz horizon;

	while ((at = first_missing(&game_type, at, &horizon)) < horizon)
	{
		GsPlace place;

		CHECK_FOR_INTERRUPTS();
		gs_worker_begin(LOCK_TIMEOUT_MS);
		(void) gs_partition_complete(&game_type, at, game_type.len == 0, &place);
		gs_worker_commit();
		at = place.to;
	}
}

void
gs_ahead_run(MemoryContext mcxt)
{
	gs_maintenance_each(types_in_use(mcxt), make_ahead, false, mcxt);
}
