/*-------------------------------------------------------------------------
 *
 * gs_promote.c
 *	  A game type that shares the default branch of the archive gets a branch of its
 *	  own, with the games that are there already.
 *
 * The model:
 *	1. gamestate.promote_type() writes a row of gamestate.promotion.  The maintenance
 *	   worker works on one type at a time.  All it knows stands in that row, in
 *	   gamestate.promotion_leaf and in tables that nobody sees (see 6), so it
 *	   goes on after a crash where it was.
 *	2. "copying": in both of the archive's tables a branch for the type is made and
 *	   not attached.  Each leaf of the default branch that has games of the
 *	   type is copied, a few games in each transaction: those of the type to that
 *	   branch, the others to a copy of the leaf.  A map says which version of a row (its
 *	   xmin) was copied, so what has changed since is found without comparing
 *	   contents.  Nobody is kept from anything, and archiving goes on into the default
 *	   branch all the time.
 *	3. "settling": the copies are vacuumed with FREEZE until every row in them is visible
 *	   to every snapshot, on standbys too.
 *	4. The swap (gs_promote_swap.c) is one transaction.  What was archived
 *	   since is put behind the copies as it is, with what says who sees it; each
 *	   leaf gets the files of its copy (gs_swap.c), and the type's branch is attached.
 *	   So each snapshot, old or new, sees each game once.  It takes a moment in
 *	   which no transaction has read or written the archive, because a query that
 *	   was planned without the branch would miss its games.
 *	5. When other rows were changed meanwhile (a player was anonymised, say), or too
 *	   many are new, it goes back to 2, for these.
 *	6. The tables that are not in place yet are members of the extension: pg_dump leaves
 *	   them out, DROP EXTENSION takes them along, nobody drops them by mistake.
 *	7. What cannot be done, or is no longer wanted (gamestate.cancel_promotion()), ends
 *	   with everything dropped, and the reason in the row.
 *
 * Repacking, freezing and moving a leaf wait while it is in gamestate.promotion_leaf.
 * One that retention takes away takes its games with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_partition.h"
#include "gs_promote.h"
#include "gs_sql.h"
#include "gs_swap.h"
#include "gs_worker.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define LOCK_TIMEOUT_MS 1000
#define TURN_MS			(10 * 1000) /* then other tasks have theirs */

const char *const gs_promote_tables[GS_PROMOTE_TABLES] = {"archive", "archive_payload"};

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

uint64
gs_promote_sql(const char *command, int expected, int nargs, const Oid *types,
			   const Datum *values)
{
	gs_sql_run(command, expected, nargs, types, values);
	return SPI_processed;
}

static uint64
run(const char *command, int expected)
{
	return gs_promote_sql(command, expected, 0, NULL, NULL);
}

void
gs_promote_update(const GsPromotion *promotion, const char *set)
{
	run(psprintf("UPDATE gamestate.promotion SET %s, "
				 "updated_at = clock_timestamp() WHERE game_type = %s",
				 set, promotion->literal),
		SPI_OK_UPDATE);
}

static Oid
get_oid(int row, int column)
{
	bool null;
	Datum value =
		SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);

	return null ? InvalidOid : DatumGetObjectId(value);
}

static char *
get_text(int row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static bool
get_bool(int row, int column)
{
	bool null;

	return DatumGetBool(
		SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null));
}

/* The columns that are copied, as a list. */
static char *
list_columns(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->attgenerated)
			appendStringInfo(&columns, "%s%s", columns.len ? ", " : "",
							 quote_identifier(NameStr(att->attname)));
	}
	table_close(rel, NoLock);
	return columns.data;
}

/* In the current context. */
static List *
read_leaves(const char *literal)
{
	MemoryContext mcxt = CurrentMemoryContext;
	List *leaves = NIL;
	uint64 n;

	SPI_connect();
	n = run(psprintf("SELECT relid, archive_table, copy, map, state = 'copying' "
					 "FROM gamestate.promotion_leaf WHERE game_type = %s ORDER BY relid",
					 literal),
			SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(mcxt);
		GsPromotionLeaf *leaf = palloc0(sizeof(GsPromotionLeaf));

		leaf->relid = get_oid(i, 1);
		leaf->table = strcmp(get_text(i, 2), gs_promote_tables[0]) == 0 ? 0 : 1;
		leaf->copy = get_oid(i, 3);
		leaf->map = get_oid(i, 4);
		leaf->copying = get_bool(i, 5);
		if (get_rel_name(leaf->copy) != NULL && get_rel_name(leaf->map) != NULL)
		{
			leaf->copy_name = gs_leaf_name(leaf->copy);
			leaf->map_name = gs_leaf_name(leaf->map);
		}
		if (get_rel_relkind(leaf->relid) == RELKIND_RELATION)
		{
			leaf->name = gs_leaf_name(leaf->relid);
			leaf->columns = list_columns(leaf->relid);
		}
		leaves = lappend(leaves, leaf);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return leaves;
}

/* The type whose turn it is, in mcxt; NULL if there is none. */
static GsPromotion *
next_promotion(MemoryContext mcxt)
{
	GsPromotion *promotion;
	MemoryContext old;
	char *state;

	if (run("SELECT game_type, state, canceled, undo_tables IS NOT NULL, rounds, "
			"archive_branch, payload_branch FROM gamestate.promotion "
			"WHERE state IN ('waiting', 'copying', 'settling') "
			"ORDER BY state = 'waiting', added_at, game_type LIMIT 1",
			SPI_OK_SELECT) == 0)
		return NULL;
	old = MemoryContextSwitchTo(mcxt);
	promotion = palloc0(sizeof(GsPromotion));
	promotion->game_type = get_text(0, 1);
	promotion->type = (GsText){promotion->game_type, strlen(promotion->game_type)};
	promotion->literal = psprintf("%s::text", quote_literal_cstr(promotion->game_type));
	state = get_text(0, 2);
	promotion->state = strcmp(state, "copying") == 0	? GS_PROMOTION_COPYING
					   : strcmp(state, "settling") == 0 ? GS_PROMOTION_SETTLING
														: GS_PROMOTION_WAITING;
	promotion->canceled = get_bool(0, 3);
	promotion->in_doubt = get_bool(0, 4);
	promotion->rounds = atoi(get_text(0, 5));
	promotion->branches[0] = get_oid(0, 6);
	promotion->branches[1] = get_oid(0, 7);
	promotion->leaves = read_leaves(promotion->literal);
	MemoryContextSwitchTo(old);
	return promotion;
}

/* ----------------------------------------------------------------
 *		Tables that nobody sees
 * ----------------------------------------------------------------
 */

void
gs_promote_hide(Oid relid)
{
	ObjectAddress table = {RelationRelationId, relid, 0};
	ObjectAddress extension = {ExtensionRelationId,
							   get_extension_oid(GS_EXTENSION_NAME, false), 0};

	recordDependencyOn(&table, &extension, DEPENDENCY_EXTENSION);
	CommandCounterIncrement();
}

void
gs_promote_unhide(Oid relid)
{
	(void) deleteDependencyRecordsForClass(RelationRelationId, relid, ExtensionRelationId,
										   DEPENDENCY_EXTENSION);
	CommandCounterIncrement();
}

/* With its partitions. */
static void
drop_table(Oid relid)
{
	ListCell *cell;
	List *tables;

	if (get_rel_name(relid) == NULL)
		return;
	tables = find_all_inheritors(relid, AccessExclusiveLock, NULL);
	foreach (cell, tables)
		gs_promote_unhide(lfirst_oid(cell));
	run(psprintf("DROP TABLE %s", gs_leaf_name(relid)), SPI_OK_UTILITY);
}

static Oid
make_table(const char *name, const char *definition)
{
	bool null;

	run(psprintf("CREATE TABLE gamestate_partitions.%s %s", name, definition),
		SPI_OK_UTILITY);
	run(psprintf("SELECT 'gamestate_partitions.%s'::regclass::oid", name), SPI_OK_SELECT);
	return DatumGetObjectId(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

void
gs_promote_drop_leaf(const GsPromotionLeaf *leaf, bool with_copy)
{
	if (with_copy)
		drop_table(leaf->copy);
	drop_table(leaf->map);
	run(psprintf("DELETE FROM gamestate.promotion_leaf WHERE relid = %u", leaf->relid),
		SPI_OK_DELETE);
}

Oid
gs_promote_own_leaf(const GsPromotion *promotion, int table, TimestampTz ended_at,
					bool *made)
{
	Oid leaf = gs_partition_leaf(gs_promote_tables[table], promotion->branches[table],
								 &promotion->type, ended_at, made);

	if (*made)
		gs_promote_hide(leaf);
	return leaf;
}

/* It ends, and nothing is left but the row. */
static void
give_up(const GsPromotion *promotion, const char *state, const char *reason)
{
	ListCell *cell;

	/* some may have come in this transaction */
	foreach (cell, read_leaves(promotion->literal))
		gs_promote_drop_leaf(lfirst(cell), true);
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
		if (OidIsValid(promotion->branches[i]))
			drop_table(promotion->branches[i]);
	gs_promote_update(promotion,
					  psprintf("state = '%s', reason = %s, archive_branch = NULL, "
							   "payload_branch = NULL, undo_tables = NULL, "
							   "undo_blocks = NULL, done_at = clock_timestamp()",
							   state, reason ? quote_literal_cstr(reason) : "NULL"));
	if (reason != NULL)
		ereport(LOG,
				(errmsg("game type \"%s\" stays in the default branch of the archive: %s",
						promotion->game_type, reason)));
}

/* ----------------------------------------------------------------
 *		Which leaves
 * ----------------------------------------------------------------
 */

static const GsLeaf *
find_leaf(List *leaves, Oid relid)
{
	ListCell *cell;

	foreach (cell, leaves)
		if (((GsLeaf *) lfirst(cell))->relid == relid)
			return lfirst(cell);
	return NULL;
}

static bool
is_known(const GsPromotion *promotion, Oid relid)
{
	ListCell *cell;

	foreach (cell, promotion->leaves)
		if (((GsPromotionLeaf *) lfirst(cell))->relid == relid)
			return true;
	return false;
}

/* NULL, or why it cannot be. */
static const char *
refused(const GsLeaf *leaf, Oid relid, const char **tablespace)
{
	Relation rel;
	const char *reason;

	if (leaf == NULL)
		return "it is not an ordinary table of gamestate_owner in schema gamestate_partitions, directly below the default branch";
	if (leaf->frozen)
		return "it is frozen; gamestate.thaw_partition() makes it a table again";
	rel = table_open(relid, AccessShareLock);
	reason = gs_swap_shape(rel);
	table_close(rel, NoLock);
	return reason ? reason : gs_swap_copy_refused(relid, tablespace);
}

/* A leaf that has games of the type: NULL, or why that prevents it all. */
static const char *
add_leaf(const GsPromotion *promotion, int table, const GsLeaf *leaf, Oid relid)
{
	const char *tablespace = "";
	const char *reason = refused(leaf, relid, &tablespace);
	Oid copy;
	Oid map;

	if (reason != NULL)
		return psprintf("partition %s has games of it, and %s", gs_leaf_name(relid),
						reason);
	copy = make_table(
		psprintf("promote_%u", relid),
		psprintf("(LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE "
				 "INCLUDING COMPRESSION) WITH (autovacuum_enabled = false)%s",
				 leaf->name, tablespace));
	gs_promote_hide(copy);
	map = make_table(psprintf("promote_%u_map", relid),
					 "(game_id uuid NOT NULL, version xid NOT NULL, "
					 "ended_at timestamptz NOT NULL, ours boolean NOT NULL) "
					 "WITH (autovacuum_enabled = false)");
	gs_promote_hide(map);
	run(psprintf("INSERT INTO gamestate.promotion_leaf "
				 "(relid, game_type, archive_table, partition, copy, map) "
				 "VALUES (%u, %s, '%s', %s, %u, %u)",
				 relid, promotion->literal, gs_promote_tables[table],
				 quote_literal_cstr(leaf->name), copy, map),
		SPI_OK_INSERT);
	return NULL;
}

/* Somebody else's table can only be read through the branch. */
static bool
has_games(const GsPromotion *promotion, Oid branch, Oid relid)
{
	const char *query =
		GS_CLASS_OWNERCHECK(relid, GetUserId())
			? psprintf("SELECT FROM ONLY %s WHERE game_type = %s LIMIT 1",
					   gs_leaf_name(relid), promotion->literal)
			: psprintf("SELECT FROM %s WHERE game_type = %s AND tableoid = %u LIMIT 1",
					   gs_leaf_name(branch), promotion->literal, relid);

	return run(query, SPI_OK_SELECT) > 0;
}

/* Those of one table, see look_at_leaves(). */
static const char *
look_at_table(const GsPromotion *promotion, int table, bool *found)
{
	bool is_default;
	Oid branch =
		gs_partition_branch(gs_promote_tables[table], &promotion->type, &is_default);
	List *leaves = gs_leaves(gs_promote_tables[table]);
	ListCell *cell;

	if (OidIsValid(branch) && !is_default)
		return "somebody has attached a partition for it";
	if (!OidIsValid(branch) || get_rel_relkind(branch) != RELKIND_PARTITIONED_TABLE)
		return "there is no default branch that is partitioned";
	foreach (cell, promotion->leaves)
	{
		GsPromotionLeaf *leaf = lfirst(cell);
		const GsLeaf *now = find_leaf(leaves, leaf->relid);

		if (leaf->copy_name == NULL)
			return "somebody has dropped a copy that was made for it";
		if (leaf->table != table || (now != NULL && !now->frozen && now->in_default))
			continue;
		/* retention, or somebody, has taken it away */
		gs_promote_forget_rows(promotion, leaf);
		gs_promote_drop_leaf(leaf, true);
		*found = true;
	}
	foreach (cell, find_all_inheritors(branch, AccessShareLock, NULL))
	{
		Oid relid = lfirst_oid(cell);
		const char *reason;

		CHECK_FOR_INTERRUPTS();
		if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ||
			is_known(promotion, relid) || !has_games(promotion, branch, relid))
			continue;
		reason = add_leaf(promotion, table, find_leaf(leaves, relid), relid);
		if (reason != NULL)
			return reason;
		*found = true;
	}
	return NULL;
}

bool
gs_promote_knows_all_leaves(const GsPromotion *promotion)
{
	bool result = true;

	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
	{
		bool is_default;
		Oid branch =
			gs_partition_branch(gs_promote_tables[i], &promotion->type, &is_default);
		ListCell *cell;

		if (!OidIsValid(branch) || !is_default)
			return false;
		foreach (cell, find_all_inheritors(branch, AccessShareLock, NULL))
		{
			Oid relid = lfirst_oid(cell);

			CHECK_FOR_INTERRUPTS();
			result = result &&
					 (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ||
					  is_known(promotion, relid) || !has_games(promotion, branch, relid));
		}
	}
	return result;
}

/* Which leaves have games of the type now?  NULL, or why it cannot be done. */
static const char *
look_at_leaves(const GsPromotion *promotion, bool *found)
{
	const char *reason = NULL;

	*found = false;
	for (int i = 0; i < GS_PROMOTE_TABLES && reason == NULL; i++)
	{
		if (get_rel_name(promotion->branches[i]) == NULL)
			return "somebody has dropped the branch that was made for it";
		reason = look_at_table(promotion, i, found);
	}
	return reason;
}

/* ----------------------------------------------------------------
 *		The task
 * ----------------------------------------------------------------
 */

static void
begin_work(GsPromotion *promotion)
{
	if (gs_swap_copy_is_published())
	{
		give_up(promotion, "failed",
				"a publication of all tables would publish the copies");
		return;
	}
	for (int i = 0; i < GS_PROMOTE_TABLES; i++)
	{
		bool is_default;

		if (!OidIsValid(gs_partition_branch(gs_promote_tables[i], &promotion->type,
											&is_default)) ||
			!is_default)
		{
			give_up(promotion, "failed", "it does not share the default branch");
			return;
		}
		promotion->branches[i] =
			gs_partition_create_branch(gs_promote_tables[i], &promotion->type);
		gs_promote_hide(promotion->branches[i]);
	}
	gs_promote_update(
		promotion,
		psprintf("state = 'copying', archive_branch = %u, payload_branch = %u, "
				 "started_at = clock_timestamp()",
				 promotion->branches[0], promotion->branches[1]));
}

/* What can be done in one short transaction; false if there is more to do in this state. */
static bool
short_step(GsPromotion *promotion)
{
	const char *reason;
	bool found;
	bool done = true;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (promotion->canceled)
		give_up(promotion, "canceled", NULL);
	else if (promotion->state == GS_PROMOTION_WAITING)
		begin_work(promotion);
	else if (promotion->state == GS_PROMOTION_SETTLING)
		done = false;
	else
	{
		reason = look_at_leaves(promotion, &found);
		if (reason != NULL)
			give_up(promotion, "failed", reason);
		else
			done = found;
	}
	SPI_finish();
	gs_worker_commit();
	return done;
}

static void
set_state(const GsPromotion *promotion, const char *set)
{
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	gs_promote_update(promotion, set);
	SPI_finish();
	gs_worker_commit();
}

/* One step; false if it has to wait. */
static bool
step(GsPromotion *promotion)
{
	ListCell *cell;

	if (promotion->in_doubt)
	{
		gs_promote_undo(promotion);
		return true;
	}
	if (promotion->state == GS_PROMOTION_COPYING && !promotion->canceled)
	{
		foreach (cell, promotion->leaves)
		{
			const GsPromotionLeaf *leaf = lfirst(cell);

			if (leaf->copying && leaf->name != NULL && leaf->copy_name != NULL)
				return gs_promote_copy_some(promotion, leaf), true;
		}
	}
	if (short_step(promotion))
		return true;
	if (promotion->state == GS_PROMOTION_COPYING)
	{
		foreach (cell, promotion->leaves)
			gs_promote_catch_up(promotion, lfirst(cell));
		set_state(promotion, "state = 'settling', rounds = rounds + 1");
		return true;
	}
	switch (gs_promote_swap(promotion))
	{
		case GS_PROMOTE_DONE:
			break;
		case GS_PROMOTE_CATCH_UP:
			set_state(promotion, "state = 'copying'");
			break;
		case GS_PROMOTE_WAIT:
			return false;
	}
	return true;
}

void
gs_promote_run(MemoryContext mcxt)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MS);
	MemoryContext turn_context =
		AllocSetContextCreate(mcxt, "gamestate promotion", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		GsPromotion *promotion;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(turn_context);
		gs_worker_begin(LOCK_TIMEOUT_MS);
		SPI_connect();
		promotion = next_promotion(turn_context);
		SPI_finish();
		gs_worker_commit();
		if (promotion == NULL || !step(promotion))
			return; /* once more after a while */
		if (GetCurrentTimestamp() > until)
		{
			gs_maintenance_again();
			return;
		}
	}
}
