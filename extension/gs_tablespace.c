/*-------------------------------------------------------------------------
 *
 * gs_tablespace.c
 *	  Old partitions of the archive go to another tablespace.
 *
 * The model:
 *	1. A partition whose period has ended longer ago than old_tablespace_after of
 *	   its type's policy belongs into old_tablespace, with its TOAST table and its
 *	   indexes.
 *	2. One table or index a turn is moved (ALTER ... SET TABLESPACE), in a
 *	   transaction of its own.  While it is copied it is locked against everybody;
 *	   that lock is waited for shortly, and who is in the way makes it a later
 *	   turn: the others have theirs.
 *	3. What was moved is written down in gamestate.tablespace_log.  Only what
 *	   is where it was made, or where we have put it last, is moved: whatever a
 *	   DBA has moved stays where it is.
 *	4. A partition that is to be repacked, or that a type is being moved out of,
 *	   waits for that (gs_repack.c, gs_promote.c), which brings its copy's
 *	   tablespace along.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_policy.h"
#include "gs_sql.h"
#include "gs_tablespace.h"
#include "gs_worker.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/tablespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define LOCK_TIMEOUT_MS 1000

/* A table or index that is to be moved. */
typedef struct Move
{
	Oid relid;
	char kind;
	char *name; /* qualified and quoted */
	char *tablespace;
	Oid tablespace_id;
} Move;

static List *
add_move(List *moves, Oid relid, char kind, const GsPolicy *policy, Oid target)
{
	Move *move = palloc(sizeof(Move));

	move->relid = relid;
	move->kind = kind;
	move->name = gs_leaf_name(relid);
	move->tablespace = pstrdup(NameStr(policy->old_tablespace));
	move->tablespace_id = target;
	return lappend(moves, move);
}

/* What of a leaf that is due is still to be moved, appended to moves. */
static List *
add_moves(List *moves, const GsLeaf *leaf, const GsPolicy *policy, MemoryContext mcxt)
{
	MemoryContext old;
	Oid target = get_tablespace_oid(NameStr(policy->old_tablespace), true);
	Oid types[] = {OIDOID, OIDOID};
	Datum values[2];

	if (!OidIsValid(target))
	{
		/* it fails by itself, and keeps none of the others */
		old = MemoryContextSwitchTo(mcxt);
		moves = add_move(moves, leaf->relid, RELKIND_RELATION, policy, target);
		MemoryContextSwitchTo(old);
		return moves;
	}
	/* as pg_class has it: 0 is the database's own */
	if (target == MyDatabaseTableSpace)
		target = InvalidOid;
	values[0] = ObjectIdGetDatum(leaf->relid);
	values[1] = ObjectIdGetDatum(target);
	gs_sql_run(
		"SELECT c.oid, c.relkind FROM pg_catalog.pg_class c "
		"LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid "
		"LEFT JOIN gamestate.tablespace_log l ON l.relid = c.oid "
		"WHERE (c.oid = $1 OR x.indrelid = $1) AND c.reltablespace <> $2 "
		"AND c.reltablespace = COALESCE(l.tablespace_oid, 0) "
		"AND NOT EXISTS (SELECT FROM gamestate.repack r WHERE r.relid = $1 "
		"AND r.state IN ('waiting', 'copying', 'settling')) "
		"AND NOT EXISTS (SELECT FROM gamestate.promotion_leaf l WHERE l.relid = $1) "
		"ORDER BY c.oid <> $1, c.oid",
		SPI_OK_SELECT, lengthof(types), types, values);
	old = MemoryContextSwitchTo(mcxt);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		Oid relid = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &null));
		char kind = DatumGetChar(SPI_getbinval(tuple, desc, 2, &null));

		moves = add_move(moves, relid, kind, policy, target);
	}
	MemoryContextSwitchTo(old);
	return moves;
}

static List *
plan_moves(MemoryContext mcxt)
{
	static const char *const tables[] = {"archive_payload", "archive"};
	List *moves = NIL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		foreach (cell, gs_leaves(tables[i]))
		{
			const GsLeaf *leaf = lfirst(cell);
			GsText type = {leaf->game_type, strlen(leaf->game_type)};
			const GsPolicy *policy = gs_policy(&type);

			CHECK_FOR_INTERRUPTS();
			if (policy->has_old_tablespace && policy->has_old_tablespace_after &&
				!leaf->frozen && leaf->to <= gs_leaf_ago(&policy->old_tablespace_after))
				moves = add_moves(moves, leaf, policy, mcxt);
		}
	}
	gs_sql_run("DELETE FROM gamestate.tablespace_log l WHERE NOT EXISTS "
			   "(SELECT FROM pg_catalog.pg_class c WHERE c.oid = l.relid)",
			   SPI_OK_DELETE, 0, NULL, NULL);

	SPI_finish();
	gs_worker_commit();
	return moves;
}

static void
carry_out(void *element)
{
	const Move *move = element;
	Oid types[] = {OIDOID, TEXTOID, OIDOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(move->relid), CStringGetTextDatum(move->name),
					  ObjectIdGetDatum(move->tablespace_id),
					  CStringGetTextDatum(move->tablespace)};

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	gs_sql_run(psprintf("ALTER %s %s SET TABLESPACE %s",
						move->kind == RELKIND_INDEX ? "INDEX" : "TABLE", move->name,
						quote_identifier(move->tablespace)),
			   SPI_OK_UTILITY, 0, NULL, NULL);
	gs_sql_run(
		"INSERT INTO gamestate.tablespace_log (relid, relation, tablespace_oid, tablespace) "
		"VALUES ($1, $2, $3, $4) ON CONFLICT (relid) DO UPDATE SET "
		"relation = excluded.relation, tablespace_oid = excluded.tablespace_oid, "
		"tablespace = excluded.tablespace, moved_at = excluded.moved_at",
		SPI_OK_INSERT, lengthof(types), types, values);
	SPI_finish();
	gs_worker_commit();
}

void
gs_tablespace_run(MemoryContext mcxt)
{
	gs_maintenance_each(plan_moves(mcxt), carry_out, true, mcxt);
}
