/*-------------------------------------------------------------------------
 *
 * gs_retention.c
 *	  Partitions of the archive that a policy no longer keeps: detached, or
 *	  detached and dropped.
 *
 * The model:
 *	1. A partition goes when its whole period has ended longer ago than the
 *	   policy of its game type keeps its rows (column retention) or payloads
 *	   (payload_retention, if that is shorter).  The branch that several types
 *	   share follows the default policy.  Only partitions in our schema that
 *	   belong to our role are looked at, one level below a type's branch: what
 *	   a DBA has attached is the DBA's to remove.
 *	   (gs_leaves.c.)
 *	2. What shall be done is first written down in gamestate.retention_log.
 *	   Then, each in a transaction of its own: DETACH CONCURRENTLY, which keeps
 *	   neither readers nor writers waiting, and the DROP of what is by then a
 *	   table that nobody's query names.  So a failure in one step undoes none
 *	   before it, and the next turn goes on from there: it finalizes a detach
 *	   that was interrupted, and drops what has been detached to be dropped.
 *	   Where a DBA has added a default partition to the branch, the DETACH is an
 *	   ordinary one, as PostgreSQL wants it.  A detach that somebody else's
 *	   session has left behind is finalized when the process starts.
 *	3. Until the detach has begun a change of policy is heeded: a partition that
 *	   is to be kept now loses its entry in the log.
 *
 * Nothing is remembered between turns but the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_policy.h"
#include "gs_retention.h"
#include "gs_sql.h"
#include "gs_worker.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT_MS 1000

/* A partition that goes. */
typedef struct Removal
{
	int64 entry; /* in the log; 0 = none yet */
	Oid leaf;
	char *name; /* of the leaf, qualified and quoted */
	char *game_type;
	TimestampTz ended_before;
	bool drop;
	bool expired;
} Removal;

/* What the policies say of a branch. */
typedef struct Term
{
	bool limited;
	bool drop;
	TimestampTz oldest; /* what ended before this goes */
} Term;

/* ----------------------------------------------------------------
 *		What has expired
 * ----------------------------------------------------------------
 */

static Term
term_of(const char *game_type, bool payloads)
{
	GsText type = {game_type, strlen(game_type)};
	const GsPolicy *policy = gs_policy(&type);
	Term term = {.drop = policy->retention_action == GS_RETENTION_DROP};

	if (policy->has_retention)
	{
		term.limited = true;
		term.oldest = gs_leaf_ago(&policy->retention);
	}
	if (payloads && policy->has_payload_retention)
	{
		TimestampTz oldest = gs_leaf_ago(&policy->payload_retention);

		term.oldest = term.limited ? Max(term.oldest, oldest) : oldest;
		term.limited = true;
	}
	return term;
}

/* The leaves whose term is over, appended to found. */
static List *
expired_leaves(const char *table, bool payloads, List *found)
{
	ListCell *cell;

	foreach (cell, gs_leaves(table))
	{
		const GsLeaf *leaf = lfirst(cell);
		Term term = term_of(leaf->game_type, payloads);
		Removal *removal;

		CHECK_FOR_INTERRUPTS();
		if (!term.limited || leaf->to > term.oldest)
			continue;
		removal = palloc0(sizeof(Removal));
		removal->leaf = leaf->relid;
		removal->name = leaf->name;
		removal->game_type = leaf->game_type;
		removal->ended_before = leaf->to;
		removal->drop = term.drop;
		removal->expired = true;
		found = lappend(found, removal);
	}
	return found;
}

/* ----------------------------------------------------------------
 *		The log
 * ----------------------------------------------------------------
 */

/* The entries that are not done yet, together with what has expired now. */
static List *
merge_log(List *expired, MemoryContext mcxt)
{
	gs_sql_run("SELECT entry, relid, partition, game_type, ended_before, action = 'drop' "
			   "FROM gamestate.retention_log WHERE done_at IS NULL ORDER BY entry",
			   SPI_OK_SELECT, 0, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		Oid leaf = DatumGetObjectId(SPI_getbinval(row, desc, 2, &null));
		MemoryContext old = MemoryContextSwitchTo(mcxt);
		Removal *removal = NULL;
		ListCell *cell;

		foreach (cell, expired)
			if (((Removal *) lfirst(cell))->leaf == leaf)
				removal = lfirst(cell);
		if (removal == NULL)
		{
			removal = palloc0(sizeof(Removal));
			removal->leaf = leaf;
			removal->name = TextDatumGetCString(SPI_getbinval(row, desc, 3, &null));
			removal->game_type = TextDatumGetCString(SPI_getbinval(row, desc, 4, &null));
			removal->ended_before =
				DatumGetTimestampTz(SPI_getbinval(row, desc, 5, &null));
			removal->drop = DatumGetBool(SPI_getbinval(row, desc, 6, &null));
			expired = lappend(expired, removal);
		}
		removal->entry = DatumGetInt64(SPI_getbinval(row, desc, 1, &null));
		MemoryContextSwitchTo(old);
	}
	return expired;
}

static void
write_entry(Removal *removal)
{
	Oid types[] = {OIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(removal->leaf), CStringGetTextDatum(removal->name),
					  CStringGetTextDatum(removal->game_type),
					  TimestampTzGetDatum(removal->ended_before),
					  CStringGetTextDatum(removal->drop ? "drop" : "detach")};
	bool null;

	gs_sql_run(
		"INSERT INTO gamestate.retention_log (relid, partition, game_type, ended_before, action) "
		"VALUES ($1, $2, $3, $4, $5) RETURNING entry",
		SPI_OK_INSERT_RETURNING, lengthof(types), types, values);
	removal->entry = DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

static void
end_entry(const Removal *removal, const char *command)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(removal->entry)};

	gs_sql_run(command,
			   strncmp(command, "DELETE", 6) == 0 ? SPI_OK_DELETE : SPI_OK_UPDATE, 1,
			   types, values);
}

#define DONE \
	"UPDATE gamestate.retention_log SET done_at = pg_catalog.clock_timestamp() WHERE entry = $1"
#define FORGET "DELETE FROM gamestate.retention_log WHERE entry = $1"

/* ----------------------------------------------------------------
 *		Doing it
 * ----------------------------------------------------------------
 */

/* A partition's parent, InvalidOid if it is none any more; is a detach of it pending? */
static Oid
parent_of(Oid leaf, bool *pending)
{
	Relation inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid parent = InvalidOid;

	*pending = false;
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(leaf));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	if ((tuple = systable_getnext(scan)) != NULL)
	{
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
		*pending = ((Form_pg_inherits) GETSTRUCT(tuple))->inhdetachpending;
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parent;
}

/*
 * A branch with a default partition (a DBA's) refuses to detach concurrently, as what is
 * detached would have to be kept out of that one.  Then readers and writers of the branch
 * wait for a moment.
 */
static void
detach_at_once(Oid parent, const Removal *removal)
{
	gs_sql_run(psprintf("ALTER TABLE %s DETACH PARTITION %s", gs_leaf_name(parent),
						gs_leaf_name(removal->leaf)),
			   SPI_OK_UTILITY, 0, NULL, NULL);
}

/* What is a table of its own by now. */
static void
drop_table(const Removal *removal)
{
	gs_sql_run(psprintf("DROP %s %s",
						get_rel_relkind(removal->leaf) == RELKIND_FOREIGN_TABLE
							? "FOREIGN TABLE"
							: "TABLE",
						gs_leaf_name(removal->leaf)),
			   SPI_OK_UTILITY, 0, NULL, NULL);
}

/*
 * The next thing to do for a removal, as a command of its own; NULL = go on, and
 * *done says whether that is all.
 */
static char *
next_command(Removal *removal, bool *done)
{
	char *command = NULL;
	bool pending;
	Oid parent;

	*done = true;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (get_rel_name(removal->leaf) == NULL || !gs_leaf_is_ours(removal->leaf))
		end_entry(removal, DONE); /* somebody was faster */
	else if (!OidIsValid(parent = parent_of(removal->leaf, &pending)))
	{
		if (removal->drop)
			drop_table(removal);
		end_entry(removal, DONE);
	}
	else if (!pending && !removal->expired)
		end_entry(removal, FORGET); /* the policy keeps it now */
	else if (!pending && OidIsValid(get_default_partition_oid(parent)))
	{
		detach_at_once(parent, removal);
		*done = false;
	}
	else
		command = MemoryContextStrdup(GetMemoryChunkContext(removal),
									  psprintf("ALTER TABLE %s DETACH PARTITION %s %s",
											   gs_leaf_name(parent),
											   gs_leaf_name(removal->leaf),
											   pending ? "FINALIZE" : "CONCURRENTLY"));
	SPI_finish();
	gs_worker_commit();
	return command;
}

/* Until it is done; ERROR if it cannot be done now. */
static void
carry_out(void *element)
{
	Removal *removal = element;
	bool done = false;

	while (!done)
	{
		char *command = next_command(removal, &done);

		if (command == NULL)
			continue;
		gs_worker_utility(command, LOCK_TIMEOUT_MS);
		done = false;
	}
}

static List *
plan_removals(MemoryContext mcxt)
{
	MemoryContext old;
	List *removals = NIL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	old = MemoryContextSwitchTo(mcxt);
	removals = expired_leaves("archive_payload", true, removals);
	removals = expired_leaves("archive", false, removals);
	MemoryContextSwitchTo(old);
	SPI_connect();
	removals = merge_log(removals, mcxt);
	foreach (cell, removals)
		if (((Removal *) lfirst(cell))->entry == 0)
			write_entry(lfirst(cell));
	SPI_finish();
	gs_worker_commit();
	return removals;
}

/* A detach that was interrupted, whoever began it, in the way of all further ones. */
static char *
next_pending(MemoryContext mcxt, Oid *after)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(*after)};
	char *command = NULL;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	gs_sql_run("SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i "
			   "JOIN pg_catalog.pg_class c ON c.oid = i.inhparent "
			   "WHERE i.inhdetachpending AND i.inhrelid > $1 "
			   "AND c.relowner = 'gamestate_owner'::pg_catalog.regrole "
			   "AND pg_catalog.pg_partition_root(i.inhparent) IN "
			   "('gamestate.archive'::pg_catalog.regclass, "
			   "'gamestate.archive_payload'::pg_catalog.regclass) "
			   "ORDER BY i.inhrelid LIMIT 1",
			   SPI_OK_SELECT, 1, types, values);
	if (SPI_processed > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		Oid parent;

		*after = DatumGetObjectId(SPI_getbinval(row, desc, 1, &null));
		parent = DatumGetObjectId(SPI_getbinval(row, desc, 2, &null));
		command =
			MemoryContextStrdup(mcxt,
								psprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE",
										 gs_leaf_name(parent), gs_leaf_name(*after)));
	}
	SPI_finish();
	gs_worker_commit();
	return command;
}

/*
 * Once, when this process begins: who was at it has gone with the server, or is still at it
 * and does not mind an error less than the branch minds never to lose a partition again.
 */
static void
finalize_pending(MemoryContext mcxt)
{
	static bool done = false;
	Oid after = InvalidOid;
	char *command;

	if (done)
		return;
	done = true;
	while ((command = next_pending(mcxt, &after)) != NULL)
		gs_worker_utility(command, LOCK_TIMEOUT_MS);
}

void
gs_retention_run(MemoryContext mcxt)
{
	finalize_pending(mcxt);
	gs_maintenance_each(plan_removals(mcxt), carry_out, false, mcxt);
}
