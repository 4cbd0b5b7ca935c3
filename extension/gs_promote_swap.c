/*-------------------------------------------------------------------------
 *
 * gs_promote_swap.c
 *	  The copies of the leaves of the default branch, and the branch of the type that
 *	  leaves it, take their places.
 *
 * The model:
 *	1. The copies are vacuumed with FREEZE.  While a row of one is not visible to every
 *	   snapshot it has to wait.
 *	2. One transaction.  Writers of the archive are locked out, and by the maps it is
 *	   seen which rows of the leaves have not been copied: new ones.  If a copied row has
 *	   changed, or too many are new, that is for another time; the limit grows with
 *	   each try, so that the end is reached however fast games are archived.
 *	3. Then all others are locked out too, from the archive's two tables downwards:
 *	   who has planned a query before does not know the new branch, and who reads
 *	   its descriptor while it waits for a partition would not see it either.
 *	   Nobody is made to wait for our locks: they are taken together, when all are
 *	   free, or not at all.  Only after some tries in vain we queue up for the first,
 *	   shortly; the others are never waited for, so that there is no deadlock.
 *	4. New rows are put behind those of the copies as they are (gs_swap_append()), the
 *	   leaves get the copies' files, the branch is attached: PostgreSQL looks
 *	   through the default branch whether it has games of the type left, which is the
 *	   last check of it all.
 *	5. What gs_swap_append() has written no rollback takes back.  So how long the copies are
 *	   is committed before (undo_tables, undo_blocks of gamestate.promotion), and
 *	   what is behind that is cut off before anything else is done with them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_leaves.h"
#include "gs_partition.h"
#include "gs_promote.h"
#include "gs_swap.h"
#include "gs_worker.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/storage.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define LOCK_TIMEOUT_MS 1000

/* How long all locks are tried to be had at once, and how often. */
#define TRY_MS	 1000
#define RETRY_MS 20

/* After so many tries in vain we stand in the queue for the first one, so long. */
#define PATIENCE 3
#define QUEUE_MS "500"

/* How often it is looked in one turn whether all snapshots see the copies. */
#define SETTLE_TRIES	10
#define SETTLE_PAUSE_MS 100

/* So many new rows in a leaf are taken over under the locks, at first and at last. */
#define NEW_ROWS	 2000
#define NEW_ROWS_MAX (1000 * 1000)

/* A row that has not been copied. */
typedef struct NewRow
{
	ItemPointerData tid;
	bool ours;
	TimestampTz ended_at;
} NewRow;

typedef struct NewRows
{
	NewRow *rows;
	int n;
} NewRows;

/* What is locked, in this order; the tries in vain of each. */
typedef enum LockStep
{
	LOCK_WRITERS,
	LOCK_COPIES,
	LOCK_ALL,
	LOCK_STEPS
} LockStep;

static int tries_in_vain[LOCK_STEPS];

/* It was only for want of the last locks that the swap has failed. */
static bool only_locks_failed = false;

static uint64
run(const char *command, int expected)
{
	return gs_promote_sql(command, expected, 0, NULL, NULL);
}

/* ----------------------------------------------------------------
 *		The tables
 * ----------------------------------------------------------------
 */

/* All that games were copied to: copies of leaves, leaves of the type's branches. */
static List *
copies(const GsPromotion *promotion)
{
	List *tables = NIL;
	ListCell *cell;

	foreach (cell, promotion->leaves)
		tables = lappend_oid(tables, ((GsPromotionLeaf *) lfirst(cell))->copy);
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
		foreach (cell, gs_leaves_of_branch(promotion->branches[i], promotion->game_type))
			tables = lappend_oid(tables, ((GsLeaf *) lfirst(cell))->relid);
	return tables;
}

static Oid
root_of(int table)
{
	return get_relname_relid(gs_promote_tables[table],
							 get_namespace_oid("gamestate", false));
}

/* What writers of the games lock, and who detaches one of the leaves. */
static List *
tables_to_keep(const GsPromotion *promotion)
{
	List *tables = NIL;
	ListCell *cell;

	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
		tables = lappend_oid(tables, root_of(i));
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
	{
		bool is_default;
		Oid branch =
			gs_partition_branch(gs_promote_tables[i], &promotion->type, &is_default);

		if (OidIsValid(branch))
			tables = lappend_oid(tables, branch);
	}
	foreach (cell, promotion->leaves)
		tables = lappend_oid(tables, ((GsPromotionLeaf *) lfirst(cell))->relid);
	return tables;
}

/* What anybody locks who could miss something, and what ATTACH will lock. */
static List *
tables_to_close(const GsPromotion *promotion)
{
	List *tables = NIL;

	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
		tables = lappend_oid(tables, root_of(i));
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
	{
		bool is_default;
		Oid branch =
			gs_partition_branch(gs_promote_tables[i], &promotion->type, &is_default);

		if (OidIsValid(branch) && is_default)
			tables = list_concat(tables, find_all_inheritors(branch, NoLock, NULL));
	}
	return tables;
}

/* All of them at once, from the n-th on; false if one is not free. */
static bool
lock_if_free(List *tables, int n, LOCKMODE mode)
{
	for (int i = n; i < list_length(tables); i++)
	{
		if (ConditionalLockRelationOid(list_nth_oid(tables, i), mode))
			continue;
		while (--i >= n)
			UnlockRelationOid(list_nth_oid(tables, i), mode);
		return false;
	}
	return true;
}

static void
lock_tables(LockStep step, List *tables, LOCKMODE mode)
{
	int n = 0;

	if (tables == NIL)
		return;
	if (tries_in_vain[step]++ >= PATIENCE)
	{
		(void) set_config_option("lock_timeout", QUEUE_MS, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		LockRelationOid(list_nth_oid(tables, n++), mode);
	}
	for (int ms = 0; !lock_if_free(tables, n, mode); ms += RETRY_MS)
	{
		if (ms >= TRY_MS)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not obtain locks on the archive's partitions"),
					 errdetail("A game type is moved to partitions of its own in a moment in which no transaction has read or written the archive.")));
		CHECK_FOR_INTERRUPTS();
		pg_usleep(RETRY_MS * 1000);
	}
	tries_in_vain[step] = 0;
}

/* ----------------------------------------------------------------
 *		Settling
 * ----------------------------------------------------------------
 */

/* The tables of which not all rows are visible to all; names, in the current context. */
static List *
unsettled(const GsPromotion *promotion)
{
	MemoryContext mcxt = CurrentMemoryContext;
	List *names = NIL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	foreach (cell, copies(promotion))
	{
		Oid relid = lfirst_oid(cell);
		MemoryContext old;

		LockRelationOid(relid, AccessShareLock);
		if (gs_swap_all_frozen(relid))
			continue;
		old = MemoryContextSwitchTo(mcxt);
		names = lappend(names, gs_leaf_name(relid));
		MemoryContextSwitchTo(old);
	}
	gs_worker_commit();
	return names;
}

static bool
settle(const GsPromotion *promotion)
{
	for (int i = 0; i < SETTLE_TRIES; i++)
	{
		List *names = unsettled(promotion);
		ListCell *cell;

		if (names == NIL)
			return true;
		if (i > 0)
			pg_usleep(SETTLE_PAUSE_MS * 1000);
		foreach (cell, names)
		{
			CHECK_FOR_INTERRUPTS();
			gs_worker_utility(psprintf("VACUUM (FREEZE, TRUNCATE false) %s",
									   (char *) lfirst(cell)),
							  LOCK_TIMEOUT_MS);
		}
	}
	return unsettled(promotion) == NIL;
}

/* ----------------------------------------------------------------
 *		What a rollback does not take back
 * ----------------------------------------------------------------
 */

/* So long are the copies; in a transaction of its own. */
static void
remember_lengths(const GsPromotion *promotion)
{
	StringInfoData tables;
	StringInfoData blocks;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	initStringInfo(&tables);
	initStringInfo(&blocks);
	foreach (cell, copies(promotion))
	{
		Relation rel = table_open(lfirst_oid(cell), AccessShareLock);

		appendStringInfo(&tables, "%s%u", tables.len ? "," : "", RelationGetRelid(rel));
		appendStringInfo(&blocks, "%s%u", blocks.len ? "," : "",
						 RelationGetNumberOfBlocks(rel));
		table_close(rel, NoLock);
	}
	gs_promote_update(promotion, psprintf("undo_tables = '{%s}', undo_blocks = '{%s}'",
										  tables.data, blocks.data));
	SPI_finish();
	gs_worker_commit();
}

static void
cut_off(Oid relid, BlockNumber blocks)
{
	Relation rel = try_table_open(relid, AccessExclusiveLock);

	if (rel == NULL)
		return;
	if (RelationGetNumberOfBlocks(rel) > blocks)
		RelationTruncate(rel, blocks);
	table_close(rel, NoLock);
}

void
gs_promote_undo(const GsPromotion *promotion)
{
	SPITupleTable *rows;
	uint64 n;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	n = run(psprintf("SELECT u.relid, u.blocks FROM gamestate.promotion p, "
					 "unnest(p.undo_tables, p.undo_blocks) u(relid, blocks) "
					 "WHERE p.game_type = %s",
					 promotion->literal),
			SPI_OK_SELECT);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		Oid relid =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &null));
		int64 blocks =
			DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &null));

		cut_off(relid, (BlockNumber) blocks);
	}
	/* or else games of the type may have come to another leaf: look at all again */
	gs_promote_update(promotion,
					  only_locks_failed
						  ? "undo_tables = NULL, undo_blocks = NULL"
						  : "undo_tables = NULL, undo_blocks = NULL, state = CASE state "
							"WHEN 'settling' THEN 'copying' ELSE state END");
	SPI_finish();
	gs_worker_commit();
}

/* ----------------------------------------------------------------
 *		New rows
 * ----------------------------------------------------------------
 */

static int
new_rows_limit(const GsPromotion *promotion)
{
	int64 limit = NEW_ROWS;

	for (int i = 1; i < promotion->rounds && limit < NEW_ROWS_MAX; i++)
		limit *= 2;
	return (int) Min(limit, NEW_ROWS_MAX);
}

/* The rows of a leaf that have not been copied; false if it needs more than that. */
static bool
find_new_rows(const GsPromotion *promotion, const GsPromotionLeaf *leaf, NewRows *found)
{
	int limit = new_rows_limit(promotion);
	uint64 n;

	if (run(psprintf("SELECT %s LIMIT 1", gs_promote_outdated(leaf)), SPI_OK_SELECT) > 0)
		return false;
	n = run(psprintf("SELECT o.ctid, o.ended_at, o.game_type = %s FROM ONLY %s o "
					 "WHERE %s LIMIT %d",
					 promotion->literal, leaf->name, gs_promote_missing(leaf), limit + 1),
			SPI_OK_SELECT);
	if (n > (uint64) limit)
		return false;
	found->n = (int) n;
	found->rows = palloc(sizeof(NewRow) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		found->rows[i].tid =
			*(ItemPointer) DatumGetPointer(SPI_getbinval(row, desc, 1, &null));
		found->rows[i].ended_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 2, &null));
		found->rows[i].ours = DatumGetBool(SPI_getbinval(row, desc, 3, &null));
	}
	return true;
}

/* Those of other types stay in the leaf, which is about to get the files of its copy. */
static void
append_others(const GsPromotionLeaf *leaf, const NewRows *found)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * Max(found->n, 1));
	int n = 0;

	for (int i = 0; i < found->n; i++)
		if (!found->rows[i].ours)
			tids[n++] = found->rows[i].tid;
	if (n > 0)
		gs_swap_append(leaf->relid, leaf->copy, tids, n);
}

/* Those of the type go to its own leaves. */
static void
append_ours(const GsPromotion *promotion, const GsPromotionLeaf *leaf,
			const NewRows *found)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * Max(found->n, 1));
	Oid *targets = palloc0(sizeof(Oid) * Max(found->n, 1));
	bool made;

	for (int i = 0; i < found->n; i++)
		if (found->rows[i].ours)
			targets[i] = gs_promote_own_leaf(promotion, leaf->table,
											 found->rows[i].ended_at, &made);
	for (int i = 0; i < found->n; i++)
	{
		Oid target = targets[i];
		int n = 0;

		if (!OidIsValid(target))
			continue;
		for (int j = i; j < found->n; j++)
			if (targets[j] == target)
			{
				tids[n++] = found->rows[j].tid;
				targets[j] = InvalidOid;
			}
		LockRelationOid(target, AccessExclusiveLock);
		gs_swap_append(leaf->relid, target, tids, n);
		run(psprintf("REINDEX TABLE %s", gs_leaf_name(target)), SPI_OK_UTILITY);
	}
}

/* ----------------------------------------------------------------
 *		The swap
 * ----------------------------------------------------------------
 */

static void
attach_branches(const GsPromotion *promotion)
{
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
	{
		ListCell *cell;

		foreach (cell,
				 find_all_inheritors(promotion->branches[i], AccessExclusiveLock, NULL))
			gs_promote_unhide(lfirst_oid(cell));
		gs_partition_attach_branch(gs_promote_tables[i], promotion->branches[i],
								   &promotion->type);
	}
}

/* Nobody has asked for something else meanwhile, and nobody will until we are done. */
static bool
is_still_wanted(const GsPromotion *promotion)
{
	return run(psprintf("SELECT FROM gamestate.promotion WHERE game_type = %s "
						"AND state = 'settling' AND NOT canceled FOR UPDATE",
						promotion->literal),
			   SPI_OK_SELECT) > 0;
}

/* Writers are locked out. */
static GsPromoteResult
check(const GsPromotion *promotion, NewRows *found)
{
	List *leaves = tables_to_close(promotion);
	ListCell *cell;
	int i = 0;

	foreach (cell, promotion->leaves)
		if (!list_member_oid(leaves, ((GsPromotionLeaf *) lfirst(cell))->relid))
			return GS_PROMOTE_CATCH_UP; /* detached, or dropped */
	foreach (cell, copies(promotion))
		if (!gs_swap_all_frozen(lfirst_oid(cell)))
			return GS_PROMOTE_WAIT;
	foreach (cell, promotion->leaves)
	{
		const GsPromotionLeaf *leaf = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (!gs_swap_none_dying(leaf->relid))
			return GS_PROMOTE_WAIT;
		if (!find_new_rows(promotion, leaf, &found[i++]))
			return GS_PROMOTE_CATCH_UP;
	}
	return GS_PROMOTE_DONE;
}

/* How many games move, and how many rows that has taken. */
static void
count_games(const GsPromotion *promotion, const NewRows *found)
{
	int64 games = 0;
	int64 rows = 0;
	ListCell *cell;
	int i = 0;

	foreach (cell, promotion->leaves)
	{
		const NewRows *some = &found[i++];

		rows += some->n;
		for (int j = 0; j < some->n && ((GsPromotionLeaf *) lfirst(cell))->table == 0;
			 j++)
			games += some->rows[j].ours;
	}
	gs_promote_update(promotion,
					  psprintf("(games, copied) = (SELECT coalesce(sum(l.games) "
							   "FILTER (WHERE l.archive_table = 'archive'), 0) + %lld, "
							   "coalesce(sum(l.copied), 0) + %lld "
							   "FROM gamestate.promotion_leaf l WHERE l.game_type = %s)",
							   (long long) games, (long long) rows, promotion->literal));
}

/* Everybody is locked out. */
static void
swap(const GsPromotion *promotion, const NewRows *found)
{
	ListCell *cell;
	int i = 0;

	count_games(promotion, found);
	foreach (cell, promotion->leaves)
	{
		const GsPromotionLeaf *leaf = lfirst(cell);

		append_others(leaf, &found[i]);
		append_ours(promotion, leaf, &found[i]);
		gs_promote_unhide(leaf->copy);
		gs_swap_files(leaf->relid, leaf->copy);
		gs_promote_drop_leaf(leaf, false);
		i++;
	}
	attach_branches(promotion);
	gs_promote_update(promotion, "state = 'done', reason = NULL, undo_tables = NULL, "
								 "undo_blocks = NULL, done_at = clock_timestamp()");
}

static GsPromoteResult
try_swap(const GsPromotion *promotion)
{
	GsPromoteResult result = GS_PROMOTE_WAIT;
	NewRows *found;

	only_locks_failed = true;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	found = palloc0(sizeof(NewRows) * Max(list_length(promotion->leaves), 1));
	if (is_still_wanted(promotion))
	{
		lock_tables(LOCK_WRITERS, tables_to_keep(promotion), ShareRowExclusiveLock);
		lock_tables(LOCK_COPIES, copies(promotion), AccessExclusiveLock);
		only_locks_failed = false;
		result = check(promotion, found);
	}
	if (result == GS_PROMOTE_DONE)
	{
		only_locks_failed = true;
		lock_tables(LOCK_ALL, tables_to_close(promotion), AccessExclusiveLock);
		only_locks_failed = false;
		swap(promotion, found);
	}
	else
		gs_promote_update(promotion, "undo_tables = NULL, undo_blocks = NULL");
	SPI_finish();
	gs_worker_commit();
	return result;
}

/* Nobody is locked out for that.  ATTACH looks again. */
static bool
knows_all_leaves(const GsPromotion *promotion)
{
	bool result;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	result = gs_promote_knows_all_leaves(promotion);
	SPI_finish();
	gs_worker_commit();
	return result;
}

GsPromoteResult
gs_promote_swap(const GsPromotion *promotion)
{
	ListCell *cell;

	foreach (cell, promotion->leaves)
	{
		const GsPromotionLeaf *leaf = lfirst(cell);

		if (leaf->name == NULL || leaf->copy_name == NULL || leaf->copying)
			return GS_PROMOTE_CATCH_UP;
	}
	if (!settle(promotion))
		return GS_PROMOTE_WAIT;
	if (!knows_all_leaves(promotion))
		return GS_PROMOTE_CATCH_UP;
	remember_lengths(promotion);
	return try_swap(promotion);
}
