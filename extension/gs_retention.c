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
 *	2. What shall be done is first written down in gamestate.retention_log.
 *	   Then, each in a transaction of its own: DETACH CONCURRENTLY, which keeps
 *	   neither readers nor writers waiting, and the DROP of what is by then a
 *	   table that nobody's query names.  So a failure in one step undoes none
 *	   before it, and the next turn goes on from there: it finalizes a detach
 *	   that was interrupted, and drops what has been detached to be dropped.
 *	3. Until the detach has begun a change of policy is heeded: a partition that
 *	   is to be kept now loses its entry in the log.
 *
 * Nothing is remembered between turns but the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_policy.h"
#include "gs_retention.h"
#include "gs_worker.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
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

static TimestampTz
ago(const Interval *interval)
{
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_mi_interval,
							TimestampTzGetDatum(GetCurrentTimestamp()),
							IntervalPGetDatum(interval)));
}

static Term
term_of(const char *game_type, bool payloads)
{
	GsText type = {game_type, strlen(game_type)};
	const GsPolicy *policy = gs_policy(&type);
	Term term = {.drop = policy->retention_action == GS_RETENTION_DROP};

	if (policy->has_retention)
	{
		term.limited = true;
		term.oldest = ago(&policy->retention);
	}
	if (payloads && policy->has_payload_retention)
	{
		TimestampTz oldest = ago(&policy->payload_retention);

		term.oldest = term.limited ? Max(term.oldest, oldest) : oldest;
		term.limited = true;
	}
	return term;
}

static bool
is_partitioned_by(Relation rel, char strategy, const char *column)
{
	PartitionKey key;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	key = RelationGetPartitionKey(rel);
	return key->strategy == strategy && key->partnatts == 1 && key->partattrs[0] > 0 &&
		   strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), key->partattrs[0] - 1)
							  ->attname),
				  column) == 0;
}

static char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

static bool
is_ours(Oid relid)
{
	return get_rel_namespace(relid) == get_namespace_oid("gamestate_partitions", true) &&
		   get_rel_relkind(relid) == RELKIND_RELATION &&
		   GS_CLASS_OWNERCHECK(relid, get_role_oid(GS_OWNER_ROLE, false));
}

/* The leaves of a branch that ended before the term. */
static List *
expired_leaves(Relation branch, const char *game_type, const Term *term, List *found)
{
	PartitionDesc desc = RelationGetPartitionDesc(branch, true);
	PartitionBoundInfo bounds = desc->boundinfo;

	for (int i = 0; bounds != NULL && i < bounds->ndatums; i++)
	{
		int part = bounds->indexes[i]; /* the one that ends at this bound */
		TimestampTz to;
		Removal *removal;

		if (part < 0 || bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE)
			continue;
		to = DatumGetTimestampTz(bounds->datums[i][0]);
		if (to > term->oldest || !is_ours(desc->oids[part]))
			continue;
		removal = palloc0(sizeof(Removal));
		removal->leaf = desc->oids[part];
		removal->name = qualified_name(removal->leaf);
		removal->game_type = pstrdup(game_type);
		removal->ended_before = to;
		removal->drop = term->drop;
		removal->expired = true;
		found = lappend(found, removal);
	}
	return found;
}

/* The type of a branch; "" if it is not that of one type alone. */
static const char *
type_of_branch(PartitionBoundInfo bounds, int part)
{
	const char *game_type = "";
	int n = 0;

	for (int i = 0; i < bounds->ndatums; i++)
	{
		if (bounds->indexes[i] != part)
			continue;
		game_type = TextDatumGetCString(bounds->datums[i][0]);
		n++;
	}
	return n == 1 ? game_type : "";
}

static List *
expired_partitions(const char *table, bool payloads, List *found)
{
	Oid relid = get_relname_relid(table, get_namespace_oid("gamestate", false));
	Relation root = table_open(relid, AccessShareLock);
	PartitionDesc desc;

	if (!is_partitioned_by(root, PARTITION_STRATEGY_LIST, "game_type"))
	{
		table_close(root, NoLock);
		return found;
	}
	desc = RelationGetPartitionDesc(root, true);
	for (int i = 0; i < desc->nparts; i++)
	{
		const char *game_type = type_of_branch(desc->boundinfo, i);
		Term term = term_of(game_type, payloads);
		Relation branch;

		CHECK_FOR_INTERRUPTS();
		if (!term.limited)
			continue;
		branch = table_open(desc->oids[i], AccessShareLock);
		if (is_partitioned_by(branch, PARTITION_STRATEGY_RANGE, "ended_at"))
			found = expired_leaves(branch, game_type, &term, found);
		table_close(branch, NoLock);
	}
	table_close(root, NoLock);
	return found;
}

/* ----------------------------------------------------------------
 *		The log
 * ----------------------------------------------------------------
 */

static void
run_sql(const char *command, int expected, int nargs, const Oid *types,
		const Datum *values)
{
	int result = SPI_execute_with_args(command, nargs, unconstify(Oid *, types),
									   unconstify(Datum *, values), NULL, false, 0);

	if (result != expected)
		elog(ERROR, "unexpected result %d of: %s", result, command);
}

/* The entries that are not done yet, together with what has expired now. */
static List *
merge_log(List *expired, MemoryContext mcxt)
{
	run_sql("SELECT entry, relid, partition, game_type, ended_before, action = 'drop' "
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

	run_sql(
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

	run_sql(command, strncmp(command, "DELETE", 6) == 0 ? SPI_OK_DELETE : SPI_OK_UPDATE,
			1, types, values);
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

/* The next thing to do for a removal, as a command of its own; NULL = it is done. */
static char *
next_command(Removal *removal)
{
	char *command = NULL;
	const char *name;
	bool pending;
	Oid parent;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	name = get_rel_name(removal->leaf);
	if (name == NULL || !is_ours(removal->leaf))
		end_entry(removal, DONE); /* somebody was faster */
	else if (OidIsValid(parent = parent_of(removal->leaf, &pending)))
	{
		if (pending || removal->expired)
			command = psprintf("ALTER TABLE %s DETACH PARTITION %s %s",
							   qualified_name(parent), qualified_name(removal->leaf),
							   pending ? "FINALIZE" : "CONCURRENTLY");
		else
			end_entry(removal, FORGET); /* the policy keeps it now */
	}
	else
	{
		if (removal->drop)
		{
			char *drop = psprintf("DROP TABLE %s", qualified_name(removal->leaf));

			if (SPI_execute(drop, false, 0) != SPI_OK_UTILITY)
				elog(ERROR, "unexpected result of: %s", drop);
		}
		end_entry(removal, DONE);
	}
	if (command)
		command = MemoryContextStrdup(GetMemoryChunkContext(removal), command);
	SPI_finish();
	gs_worker_commit();
	return command;
}

/* Until it is done; ERROR if it cannot be done now. */
static void
carry_out(Removal *removal)
{
	char *command;

	while ((command = next_command(removal)) != NULL)
		gs_worker_utility(command, LOCK_TIMEOUT_MS);
}

static List *
plan_removals(MemoryContext mcxt)
{
	MemoryContext old;
	List *removals = NIL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	old = MemoryContextSwitchTo(mcxt);
	removals = expired_partitions("archive_payload", true, removals);
	removals = expired_partitions("archive", false, removals);
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

/* NULL, or why it cannot be done now. */
static ErrorData *
try_removal(Removal *removal, MemoryContext mcxt)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		carry_out(removal);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(mcxt);
		error = CopyErrorData();
		FlushErrorState();
		gs_worker_abort();
	}
	PG_END_TRY();
	return error;
}

void
gs_retention_run(MemoryContext mcxt)
{
	List *removals = plan_removals(mcxt);
	ErrorData *first = NULL;
	ListCell *cell;

	/* one that somebody uses must not keep the others */
	foreach (cell, removals)
	{
		ErrorData *error = try_removal(lfirst(cell), mcxt);

		CHECK_FOR_INTERRUPTS();
		if (first == NULL)
			first = error;
	}
	if (first != NULL)
		ReThrowError(first);
}
