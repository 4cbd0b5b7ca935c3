/*-------------------------------------------------------------------------
 *
 * gs_freeze.c
 *	  Freezing partitions of payloads: from a table to a file and a foreign table
 *	  over it; and thawing, the other way.
 *
 * The model:
 *	1. Freezing is one transaction.  Writers of the partition are kept out, readers are
 *	   not.  Every snapshot must see all of its rows, and nobody else any, since rows
 *	   in a file have no versions.  They are written in the order of their ids, and
 *	   the file made durable (gs_cold_file.c).
 *	2. Then the type's branch is locked against everybody for a moment: the partition
 *	   is detached and dropped, and a foreign table of its name and bounds takes its
 *	   place.  A row of gamestate.cold_file has the file, and commands that bring
 *	   back what else the partition had: indexes, triggers, comment, privileges.
 *	3. Thawing is one transaction too.  A new table is filled with frozen rows, as COPY
 *	   FREEZE does it, so that older snapshots see them as they saw the file's.  It gets
 *	   its indexes and a CHECK that spares the search when it is attached, then the
 *	   branch is locked, and it takes the place of the foreign table.
 *	4. Whatever ends a transaction before its commit leaves the old state and perhaps
 *	   a file; a commit leaves the new one and perhaps the file of before.  So files are
 *	   removed by one task only (gs_freeze_clean_run()): those whose name says that
 *	   this database has made them and that no row of gamestate.cold_file has, and rows
 *	   whose foreign table has been dropped, by whomever.  Who freezes holds a lock on
 *	   that table from before the file is made; the task takes one that waits
 *	   for all of these.
 *	5. A file's name begins with the system identifier and the database's oid: a copy of
 *	   a database (CREATE DATABASE ... TEMPLATE) reads the original's files, and never
 *	   removes one.
 *
 * Both run as gamestate_owner.  Waits for locks are short.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_freeze.h"
#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_owner.h"
#include "gs_policy.h"
#include "gs_sql.h"
#include "gs_swap.h"
#include "gs_worker.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include <unistd.h>

#define LOCK_TIMEOUT_MS 1000
#define FETCH			100

/* A partition of payloads, and where it hangs. */
typedef struct Partition
{
	Oid relid;
	char *name; /* qualified and quoted */
	char *relname;
	Oid parent_id;
	char *parent;
	char *bound;		/* FOR VALUES ... */
	char *constraint;	/* the same as a condition */
	ArrayType *rights;	/* commands: comment, privileges */
	ArrayType *objects; /* commands: indexes, triggers */
} Partition;

PG_FUNCTION_INFO_V1(gs_freeze_partition);
PG_FUNCTION_INFO_V1(gs_thaw_partition);

/* ----------------------------------------------------------------
 *		What may be frozen
 * ----------------------------------------------------------------
 */

static _Noreturn void
not_possible(const char *what, Oid relid, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("partition \"%s\" cannot be %s now", get_rel_name(relid), what),
					errdetail_internal("%s", detail)));
	pg_unreachable();
}

static const GsLeaf *
find_leaf(Oid relid)
{
	ListCell *cell;

	foreach (cell, gs_leaves("archive_payload"))
	{
		const GsLeaf *leaf = lfirst(cell);

		if (leaf->relid == relid)
			return leaf;
	}
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("%s is not a partition of gamestate.archive_payload that can be frozen or thawed",
					get_rel_name(relid) ? quote_identifier(get_rel_name(relid)) : "NULL"),
			 errdetail("Only partitions in schema gamestate_partitions that belong to gamestate_owner are, a level below a game type's branch.")));
	return NULL; /* keep compiler quiet */
}

/* Does a game that waits for the archive belong into a partition that ends then? */
static bool
games_wait(TimestampTz to)
{
	GsDatabase *db = GsShmem != NULL ? gs_database_find(MyDatabaseId, false) : NULL;

	return db != NULL && gs_queue_oldest(db) < to;
}

static bool
try_lock(Oid branch, Oid leaf)
{
	if (!ConditionalLockRelationOid(branch, AccessExclusiveLock))
		return false;
	if (!OidIsValid(leaf) || ConditionalLockRelationOid(leaf, AccessExclusiveLock))
		return true;
	UnlockRelationOid(branch, AccessExclusiveLock);
	return false;
}

/*
 * The branch, and a partition if that is not InvalidOid, against everybody, at a moment at
 * which they are free.  We do not queue up: nobody has to wait behind us, and who has them and
 * waits for the weaker lock on the partition that we have is in no deadlock with us.
 */
static void
lock_alone(Oid branch, Oid leaf)
{
	for (int ms = 0; !try_lock(branch, leaf); ms += 20)
	{
		if (ms >= LOCK_TIMEOUT_MS)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not obtain lock on relation \"%s\"",
							get_rel_name(branch)),
					 errdetail("A partition is frozen or thawed when nobody reads its branch.")));
		CHECK_FOR_INTERRUPTS();
		pg_usleep(20 * 1000);
	}
}

/* Is it free at some moment?  To be asked before a file is written for nothing. */
static void
check_free(Oid branch)
{
	lock_alone(branch, InvalidOid);
	UnlockRelationOid(branch, AccessExclusiveLock);
}

static void
check_partition(const GsLeaf *leaf)
{
	Relation rel = table_open(leaf->relid, NoLock);

	if (leaf->to > GetCurrentTimestamp())
		not_possible("frozen", leaf->relid, "Its period is not over.");
	if (games_wait(leaf->to))
		not_possible("frozen", leaf->relid,
					 "Games that ended in its period wait for the archive.");
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT || !gs_swap_possible(rel))
		not_possible("frozen", leaf->relid, "It is not an ordinary logged table.");
	if (rel->rd_rel->relrowsecurity || rel->rd_rel->relforcerowsecurity)
		not_possible("frozen", leaf->relid,
					 "It has row security, which a foreign table has not.");
	table_close(rel, NoLock);
	if (!gs_swap_same_for_all(leaf->relid))
		not_possible("frozen", leaf->relid,
					 "Some of its rows are not visible to all snapshots yet.");
}

/* ----------------------------------------------------------------
 *		What a partition has
 * ----------------------------------------------------------------
 */

#define COMMENT_AND_RIGHTS                                                          \
	"ARRAY(SELECT pg_catalog.format('COMMENT ON %s %s IS %L', k.kind, c.oid::"      \
	"pg_catalog.regclass, d) "                                                      \
	"FROM pg_catalog.obj_description(c.oid, 'pg_class') d WHERE d IS NOT NULL "     \
	"UNION ALL SELECT pg_catalog.format('GRANT %s ON TABLE %s TO %s%s', "           \
	"a.privilege_type, c.oid::pg_catalog.regclass, "                                \
	"CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text " \
	"END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) "         \
	"FROM pg_catalog.aclexplode(c.relacl) a WHERE a.grantee <> c.relowner "         \
	"AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))"

/* PostgreSQL's name of an index that a constraint has is the constraint's */
#define INDEXES_AND_TRIGGERS                                                           \
	"ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index "  \
	"i WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h " \
	"WHERE h.inhrelid = i.indexrelid) AND NOT EXISTS (SELECT FROM "                    \
	"pg_catalog.pg_constraint o WHERE o.conindid = i.indexrelid) "                     \
	"UNION ALL SELECT pg_catalog.pg_get_triggerdef(t.oid) FROM "                       \
	"pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal "          \
	"AND t.tgparentid = 0)"

static Partition *
describe(const GsLeaf *leaf, MemoryContext mcxt)
{
	Partition *partition = MemoryContextAllocZero(mcxt, sizeof(Partition));
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(leaf->relid)};
	HeapTuple row;
	TupleDesc desc;
	MemoryContext old;
	bool null;

	gs_sql_run(
		"SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid), "
		"pg_catalog.pg_get_partition_constraintdef(c.oid), " COMMENT_AND_RIGHTS
		", " INDEXES_AND_TRIGGERS " FROM pg_catalog.pg_class c, "
		"LATERAL (SELECT CASE c.relkind WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' "
		"END) k(kind) WHERE c.oid = $1",
		SPI_OK_SELECT, 1, types, values);
	if (SPI_processed != 1)
		elog(ERROR, "partition %u has gone", leaf->relid);
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	old = MemoryContextSwitchTo(mcxt);
	partition->relid = leaf->relid;
	partition->name = gs_leaf_name(leaf->relid);
	partition->relname = get_rel_name(leaf->relid);
	partition->parent_id = leaf->parent;
	partition->parent = gs_leaf_name(leaf->parent);
	partition->bound = SPI_getvalue(row, desc, 1);
	partition->constraint = SPI_getvalue(row, desc, 2);
	partition->rights = DatumGetArrayTypePCopy(SPI_getbinval(row, desc, 3, &null));
	partition->objects = DatumGetArrayTypePCopy(SPI_getbinval(row, desc, 4, &null));
	MemoryContextSwitchTo(old);
	if (partition->bound == NULL || partition->constraint == NULL)
		elog(ERROR, "partition %u is none any more", leaf->relid);
	return partition;
}

/* Run commands that were written down; kind is what comments are on now. */
static void
replay(ArrayType *commands, const char *kind)
{
	Datum *datums;
	bool *nulls;
	int n;

	deconstruct_array(commands, TEXTOID, -1, false, TYPALIGN_INT, &datums, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *command = TextDatumGetCString(datums[i]);
		static const char *const before[] = {"COMMENT ON FOREIGN TABLE ",
											 "COMMENT ON TABLE "};

		for (int b = 0; b < (int) lengthof(before); b++)
			if (strncmp(command, before[b], strlen(before[b])) == 0)
			{
				command = psprintf("COMMENT ON %s %s", kind, command + strlen(before[b]));
				break;
			}
		gs_sql_utility(command);
	}
}

/* ----------------------------------------------------------------
 *		Freezing
 * ----------------------------------------------------------------
 */

static void
file_prefix(char *prefix, Size size)
{
	snprintf(prefix, size, "%016llx-%u-", (unsigned long long) GetSystemIdentifier(),
			 MyDatabaseId);
}

char *
gs_freeze_new_file(Oid relid)
{
	char prefix[GS_COLD_NAME_SIZE];
	uint64 number;

	if (!pg_strong_random(&number, sizeof(number)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate random values")));
	file_prefix(prefix, sizeof(prefix));
	return psprintf("%s%u-%016llx.cold", prefix, relid, (unsigned long long) number);
}

/* All rows of the partition, in the order of their ids. */
static uint64
write_file(const Partition *partition, const char *file, uint32 *checksum, uint64 *count)
{
	char *query = psprintf("SELECT * FROM ONLY %s ORDER BY game_id", partition->name);
	SPIPlanPtr plan = SPI_prepare(query, 0, NULL);
	GsColdWriter *writer = NULL;
	GsColdRows *rows = NULL;
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate freeze row",
							  ALLOCSET_DEFAULT_SIZES);
	StringInfoData buffer;
	Portal portal;

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", query);
	initStringInfo(&buffer);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	do
	{
		TupleDesc desc;
		Datum *values;
		bool *nulls;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH);
		desc = SPI_tuptable->tupdesc;
		if (writer == NULL)
		{
			GsColdColumn *columns;
			int n;

			rows = gs_cold_rows_to_write(desc, &columns, &n);
			writer = gs_cold_create(file, columns, n);
		}
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);
			GsColdRow row;

			values = palloc(sizeof(Datum) * desc->natts);
			nulls = palloc(sizeof(bool) * desc->natts);
			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			gs_cold_encode(rows, values, nulls, &row, &buffer);
			gs_cold_write_row(writer, &row);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	return gs_cold_finish(writer, checksum, count);
}

static void
remember_file(const Partition *partition, Oid relid, const char *file, uint64 bytes,
			  uint64 rows, uint32 checksum)
{
	Oid types[] = {OIDOID,	TEXTOID, TEXTOID, INT8OID,		INT8OID,
				   INT8OID, INT2OID, OIDOID,  TEXTARRAYOID, TEXTARRAYOID};
	Datum values[] = {ObjectIdGetDatum(relid),
					  CStringGetTextDatum(partition->name),
					  CStringGetTextDatum(file),
					  Int64GetDatum((int64) bytes),
					  Int64GetDatum((int64) rows),
					  Int64GetDatum((int64) checksum),
					  Int16GetDatum(GS_COLD_FORMAT),
					  ObjectIdGetDatum(MyDatabaseId),
					  PointerGetDatum(partition->rights),
					  PointerGetDatum(partition->objects)};

	gs_sql_run("INSERT INTO gamestate.cold_file (relid, partition, file, bytes, rows, "
			   "checksum, format, database_oid, rights, objects) "
			   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
			   SPI_OK_INSERT, lengthof(types), types, values);
}

void
gs_freeze_set_file(Oid relid, const char *file, uint64 bytes, uint64 rows,
				   uint32 checksum)
{
	Oid types[] = {OIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT2OID, OIDOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(relid),
					  CStringGetTextDatum(file),
					  Int64GetDatum((int64) bytes),
					  Int64GetDatum((int64) rows),
					  Int64GetDatum((int64) checksum),
					  Int16GetDatum(GS_COLD_FORMAT),
					  ObjectIdGetDatum(MyDatabaseId),
					  CStringGetTextDatum(gs_leaf_name(relid))};

	gs_sql_utility(psprintf("ALTER FOREIGN TABLE %s OPTIONS (SET file %s)",
							gs_leaf_name(relid), quote_literal_cstr(file)));
	/* after a restore of a dump there is no row */
	gs_sql_run("INSERT INTO gamestate.cold_file (relid, partition, file, bytes, rows, "
			   "checksum, format, database_oid, rights, objects) "
			   "VALUES ($1, $8, $2, $3, $4, $5, $6, $7, '{}', '{}') "
			   "ON CONFLICT (relid) DO UPDATE SET file = $2, bytes = $3, rows = $4, "
			   "checksum = $5, format = $6, database_oid = $7",
			   SPI_OK_INSERT, lengthof(types), types, values);
}

/* The foreign table in the partition's place. */
static void
put_foreign_table(const Partition *partition, const char *file, uint64 bytes, uint64 rows,
				  uint32 checksum)
{
	lock_alone(partition->parent_id, partition->relid);
	gs_sql_utility(psprintf("ALTER TABLE %s DETACH PARTITION %s", partition->parent,
							partition->name));
	gs_sql_utility(psprintf("DROP TABLE %s", partition->name));
	gs_sql_utility(psprintf("CREATE FOREIGN TABLE %s PARTITION OF %s %s "
							"SERVER " GS_COLD_SERVER " OPTIONS (file %s)",
							partition->name, partition->parent, partition->bound,
							quote_literal_cstr(file)));
	CommandCounterIncrement();
	replay(partition->rights, "FOREIGN TABLE");
	remember_file(partition,
				  get_relname_relid(partition->relname,
									get_namespace_oid("gamestate_partitions", false)),
				  file, bytes, rows, checksum);
	gs_sql_run(psprintf("DELETE FROM gamestate.repack WHERE relid = %u",
						partition->relid),
			   SPI_OK_DELETE, 0, NULL, NULL);
}

/*
 * Within the caller's transaction, connected to SPI as gamestate_owner, with a lock on
 * gamestate.cold_file.
 */
static void
freeze(Oid relid)
{
	MemoryContext mcxt = CurrentMemoryContext;
	const GsLeaf *leaf = find_leaf(relid);
	Partition *partition;
	char *file;
	char *path;

	if (leaf->frozen)
		not_possible("frozen", relid, "It is frozen already.");
	LockRelationOid(relid, ShareLock);
	leaf = find_leaf(relid); /* is it still? */
	check_partition(leaf);
	check_free(leaf->parent);
	partition = describe(leaf, mcxt);
	file = gs_freeze_new_file(relid);
	path = gs_cold_path(file);
	PG_TRY();
	{
		uint32 checksum;
		uint64 rows;
		uint64 bytes = write_file(partition, file, &checksum, &rows);

		put_foreign_table(partition, file, bytes, rows, checksum);
	}
	PG_CATCH();
	{
		(void) unlink(path);
		(void) unlink(psprintf("%s.tmp", path));
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* ----------------------------------------------------------------
 *		Thawing
 * ----------------------------------------------------------------
 */

static _Noreturn void
cannot_thaw(const Partition *partition, const char *file, const char *what)
{
	gs_cold_damaged(partition->relid, file, what);
	pg_unreachable();
}

/* A column that came after the file, and that rows of the file should have. */
static void
check_columns(Relation rel, const GsColdFile *file)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool found = false;

		for (int c = 0; c < file->ncolumns; c++)
			found =
				found || (strlen(NameStr(att->attname)) == file->columns[c].name_len &&
						  memcmp(NameStr(att->attname), file->columns[c].name,
								 file->columns[c].name_len) == 0);
		if (!found && !att->attisdropped && (att->attnotnull || att->attgenerated))
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("file \"%s\" has no values for column \"%s\"", file->name,
							NameStr(att->attname)),
					 errdetail("The column was added to gamestate.archive_payload after the partition was frozen, and it is NOT NULL or generated."),
					 errhint("Drop the column, or its NOT NULL, thaw, and add it again.")));
	}
}

/* The rows of the file into the table, as rows that every snapshot sees. */
static void
fill_table(const Partition *partition, Oid relid, GsColdFile *file)
{
	Relation rel = table_open(relid, AccessExclusiveLock);
	GsColdRows *rows;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	BulkInsertState bulk = GetBulkInsertState();
	MemoryContext block_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate thaw block",
							  ALLOCSET_DEFAULT_SIZES);
	int options = TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN;

	check_columns(rel, file);
	rows = gs_cold_rows_to_read(RelationGetDescr(rel), file);
	for (int b = 0; b < file->nblocks; b++)
	{
		MemoryContext old = MemoryContextSwitchTo(block_context);
		char *bytes;
		const char *p = NULL;
		const char *end = NULL;
		const char *error = gs_cold_read_block(file, b, &bytes);

		CHECK_FOR_INTERRUPTS();
		if (error == NULL)
		{
			p = bytes;
			end = bytes + file->blocks[b].raw_len;
		}
		while (error == NULL && p < end)
		{
			GsColdRow row;

			ExecClearTuple(slot);
			error = gs_cold_get_row(&p, end, &row);
			if (error == NULL)
				error = gs_cold_decode(rows, &row, slot->tts_values, slot->tts_isnull);
			if (error != NULL)
				break;
			ExecStoreVirtualTuple(slot);
			table_tuple_insert(rel, slot, GetCurrentCommandId(true), options, bulk);
		}
		if (error != NULL)
			cannot_thaw(partition, file->name, error);
		ExecClearTuple(slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(block_context);
	}
	FreeBulkInsertState(bulk);
	table_finish_bulk_insert(rel, options);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	MemoryContextDelete(block_context);
}

static bool
has_primary_key(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool result;

	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	result = OidIsValid(rel->rd_pkindex);
	table_close(rel, NoLock);
	return result;
}

/* A table with the rows of the file, ready to be attached. */
static char *
make_table(const Partition *partition, GsColdFile *file)
{
	char *relname = psprintf("thaw_%u", partition->relid);
	char *name = psprintf("gamestate_partitions.%s", relname);
	Oid relid;

	gs_sql_utility(
		psprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED "
				 "INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING CONSTRAINTS)",
				 name, partition->parent));
	CommandCounterIncrement();
	relid = get_relname_relid(relname, get_namespace_oid("gamestate_partitions", false));
	fill_table(partition, relid, file);
	CommandCounterIncrement();
	gs_sql_utility(
		psprintf("ALTER TABLE %s ADD %s (game_id), ADD CONSTRAINT gamestate_thaw "
				 "CHECK (%s)",
				 name, has_primary_key(partition->parent_id) ? "UNIQUE" : "PRIMARY KEY",
				 partition->constraint));
	return name;
}

static void
fetch_commands(Oid relid, Partition *partition, MemoryContext mcxt)
{
	MemoryContext old;
	bool null;

	gs_sql_run(psprintf("SELECT objects FROM gamestate.cold_file WHERE relid = %u",
						relid),
			   SPI_OK_SELECT, 0, NULL, NULL);
	if (SPI_processed != 1)
		return; /* after a restore of a dump, say */
	old = MemoryContextSwitchTo(mcxt);
	partition->objects = DatumGetArrayTypePCopy(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	MemoryContextSwitchTo(old);
}

/* As freeze(). */
static void
thaw(Oid relid)
{
	MemoryContext mcxt = CurrentMemoryContext;
	const GsLeaf *leaf = find_leaf(relid);
	Partition *partition;
	GsColdFile file;
	char *file_name;
	char *name;
	const char *error;

	if (!leaf->frozen)
		not_possible("thawed", relid, "It is not frozen.");
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	leaf = find_leaf(relid); /* is it still? */
	check_free(leaf->parent);
	partition = describe(leaf, mcxt);
	fetch_commands(relid, partition, mcxt);
	file_name = gs_cold_file_of(relid);
	error = gs_cold_open(file_name, &file);
	if (error != NULL)
		cannot_thaw(partition, file_name, error);
	name = make_table(partition, &file);
	gs_cold_close(&file);

	lock_alone(leaf->parent, relid);
	gs_sql_utility(psprintf("ALTER TABLE %s DETACH PARTITION %s", partition->parent,
							partition->name));
	gs_sql_utility(psprintf("DROP FOREIGN TABLE %s", partition->name));
	gs_sql_utility(psprintf("ALTER TABLE %s RENAME TO %s", name,
							quote_identifier(partition->relname)));
	gs_sql_utility(psprintf("ALTER TABLE %s ATTACH PARTITION %s %s", partition->parent,
							partition->name, partition->bound));
	gs_sql_utility(
		psprintf("ALTER TABLE %s DROP CONSTRAINT gamestate_thaw", partition->name));
	CommandCounterIncrement();
	replay(partition->rights, "TABLE");
	replay(partition->objects, "TABLE");
	gs_sql_run(psprintf("DELETE FROM gamestate.cold_file WHERE relid = %u", relid),
			   SPI_OK_DELETE, 0, NULL, NULL);
}

/* ----------------------------------------------------------------
 *		By hand
 * ----------------------------------------------------------------
 */

static void
by_hand(FunctionCallInfo fcinfo, const char *function, void (*what)(Oid relid))
{
	Oid relid = PG_GETARG_OID(0);
	GsOwnerAccess access;

	if (RecoveryInProgress())
		PreventCommandDuringRecovery(function);
	if (!GS_CLASS_OWNERCHECK(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
	gs_owner_begin(&access, "cold_file", RowExclusiveLock);
	if (LockTimeout == 0)
	{
		char ms[16];

		snprintf(ms, sizeof(ms), "%d", LOCK_TIMEOUT_MS);
		(void) set_config_option("lock_timeout", ms, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	what(relid);
	gs_owner_end(&access);
}

Datum
gs_freeze_partition(PG_FUNCTION_ARGS)
{
	by_hand(fcinfo, "freeze_partition()", freeze);
	PG_RETURN_VOID();
}

Datum
gs_thaw_partition(PG_FUNCTION_ARGS)
{
	by_hand(fcinfo, "thaw_partition()", thaw);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------
 *		By policy
 * ----------------------------------------------------------------
 */

/* The partitions that are due, each a pointer to its oid, in mcxt. */
static List *
due_partitions(MemoryContext mcxt)
{
	List *due = NIL;
	ListCell *cell;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	foreach (cell, gs_leaves("archive_payload"))
	{
		const GsLeaf *leaf = lfirst(cell);
		GsText type = {leaf->game_type, strlen(leaf->game_type)};
		const GsPolicy *policy = gs_policy(&type);
		MemoryContext old;
		Oid *oid;

		CHECK_FOR_INTERRUPTS();
		if (leaf->frozen || !policy->has_freeze_after ||
			leaf->to > gs_leaf_ago(&policy->freeze_after) || games_wait(leaf->to))
			continue;
		/* first it gets small, and rid of a type that leaves it */
		gs_sql_run(psprintf("SELECT FROM gamestate.repack WHERE relid = %u "
							"AND state NOT IN ('done', 'skipped') UNION ALL "
							"SELECT FROM gamestate.promotion_leaf WHERE relid = %u",
							leaf->relid, leaf->relid),
				   SPI_OK_SELECT, 0, NULL, NULL);
		if (SPI_processed > 0)
			continue;
		old = MemoryContextSwitchTo(mcxt);
		oid = palloc(sizeof(Oid));
		*oid = leaf->relid;
		due = lappend(due, oid);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	gs_worker_commit();
	return due;
}

static void
freeze_due(void *element)
{
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	gs_sql_utility("LOCK TABLE gamestate.cold_file IN ROW EXCLUSIVE MODE");
	freeze(*(Oid *) element);
	SPI_finish();
	gs_worker_commit();
}

void
gs_freeze_run(MemoryContext mcxt)
{
	gs_maintenance_each(due_partitions(mcxt), freeze_due, true, mcxt);
}

/* ----------------------------------------------------------------
 *		Files that nothing refers to
 * ----------------------------------------------------------------
 */

static bool
is_listed(const char *file)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(file)};

	gs_sql_run("SELECT FROM gamestate.cold_file WHERE file = $1", SPI_OK_SELECT, 1, types,
			   values);
	return SPI_processed > 0;
}

/* A file that this database has made, whole or not; not what a DBA has called a copy of it. */
static bool
is_name_of_ours(const char *name)
{
	char prefix[GS_COLD_NAME_SIZE];
	unsigned int relid;
	unsigned long long number;
	int end = 0;

	file_prefix(prefix, sizeof(prefix));
	if (strncmp(name, prefix, strlen(prefix)) != 0 || !gs_cold_name_is_valid(name) ||
		sscanf(name + strlen(prefix), "%u-%16llx.cold%n", &relid, &number, &end) != 2 ||
		end == 0)
		return false;
	name += strlen(prefix) + end;
	return name[0] == '\0' || strcmp(name, ".tmp") == 0;
}

/* A list that outlives the transaction, its cells as well. */
static List *
add_name(List *names, const char *name, MemoryContext mcxt)
{
	MemoryContext old = MemoryContextSwitchTo(mcxt);

	names = lappend(names, pstrdup(name));
	MemoryContextSwitchTo(old);
	return names;
}

/* Files of this database, whole or not, that have no row, appended to found. */
static List *
orphans(List *found, MemoryContext mcxt)
{
	struct dirent *entry;
	DIR *dir = AllocateDir(gs_cold_directory);

	while ((entry = ReadDir(dir, gs_cold_directory)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_name_of_ours(entry->d_name) || is_listed(entry->d_name))
			continue;
		found = add_name(found, entry->d_name, mcxt);
	}
	FreeDir(dir);
	return found;
}

#define GONE                                                                          \
	"FROM gamestate.cold_file f WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c " \
	"WHERE c.oid = f.relid AND c.relkind = 'f')"

/* Rows whose foreign table has been dropped; their files appended to found. */
static List *
remove_rows(List *found, MemoryContext mcxt)
{
	gs_sql_run("DELETE " GONE " RETURNING f.file, f.database_oid",
			   SPI_OK_DELETE_RETURNING, 0, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		char *file = SPI_getvalue(row, desc, 1);

		/* in a copy of a database the file is the original's */
		if (DatumGetObjectId(SPI_getbinval(row, desc, 2, &null)) == MyDatabaseId &&
			gs_cold_name_is_valid(file))
			found = add_name(found, file, mcxt);
	}
	return found;
}

void
gs_freeze_clean_run(MemoryContext mcxt)
{
	List *files = NIL;
	ListCell *cell;

	if (gs_cold_directory == NULL || gs_cold_directory[0] == '\0')
		return;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	gs_sql_run("SELECT " GONE, SPI_OK_SELECT, 0, NULL, NULL);
	if (SPI_processed > 0 || orphans(NIL, mcxt) != NIL)
	{
		/* now that nobody is about to make one: once more */
		gs_sql_utility("LOCK TABLE gamestate.cold_file IN SHARE MODE");
		files = orphans(remove_rows(NIL, mcxt), mcxt);
	}
	SPI_finish();
	gs_worker_commit();

	foreach (cell, files)
	{
		char *path = gs_cold_path(lfirst(cell));

		if (unlink(path) != 0 && errno != ENOENT)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not remove file \"%s\": %m", path)));
		ereport(DEBUG1, (errmsg_internal("removed cold file \"%s\"", path)));
	}
}
