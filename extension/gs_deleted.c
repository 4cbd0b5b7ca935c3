/*-------------------------------------------------------------------------
 *
 * gs_deleted.c
 *	  Requests of games that have been deleted.
 *
 * A deleted game takes its log along, and with it the requests that it has
 * answered.  Two of them must be known afterwards all the same: a retry of
 * delete_game() must not delete another game that has the id by then, and a
 * retry of create_game() must not create the game again.
 *
 * The model:
 *	1. Deleting a game with a request id, or one that was created with one,
 *	   inserts a row into gamestate.deleted_games.  It is an ordinary row of an
 *	   ordinary table: it commits and rolls back with the deletion, which so
 *	   has a transaction id, and backups, standbys and dumps have it.
 *	2. It is looked for by the game's id, with the newest snapshot: whoever
 *	   deletes a game holds its lock until his rows are visible.
 *	3. Rows that are older than gamestate.deleted_retention are deleted by the
 *	   maintenance worker.  A retry that comes still later is a new request.
 *
 * Deleting without request ids does not come here, and costs nothing of this.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_deleted.h"
#include "gs_owner.h"
#include "gs_sql.h"
#include "gs_worker.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define TABLE "deleted_games"
#define INDEX "deleted_games_pkey"

#define LOCK_TIMEOUT_MS 1000

/* So many rows in one transaction. */
#define PURGE_ROWS		10000
#define PURGE_ROWS_TEXT CppAsString2(PURGE_ROWS)

/* Columns of the table. */
enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_DELETED_AT,
	COLUMN_REQUEST_ID,
	COLUMN_ARGUMENTS,
	COLUMN_CREATE_REQUEST,
	COLUMN_CREATE_ARGUMENTS,
	NCOLUMNS = COLUMN_CREATE_ARGUMENTS
};

static const Oid column_types[NCOLUMNS] = {UUIDOID, TIMESTAMPTZOID, UUIDOID,
										   INT8OID, UUIDOID,		INT8OID};

/* ----------------------------------------------------------------
 *		Keeping
 * ----------------------------------------------------------------
 */

static SPIPlanPtr
prepare_insert(void)
{
	static SPIPlanPtr plan = NULL;

	if (plan == NULL)
	{
		Oid types[] = {UUIDOID, UUIDOID, INT8OID, UUIDOID, INT8OID};
		SPIPlanPtr new_plan =
			SPI_prepare("INSERT INTO gamestate.deleted_games (game_id, deleted_at,"
						" request_id, arguments, create_request, create_arguments)"
						" VALUES ($1, pg_catalog.clock_timestamp(), $2, $3, $4, $5)",
						lengthof(types), types);

		if (new_plan == NULL || SPI_keepplan(new_plan) != 0)
			elog(ERROR, "could not prepare the insertion into gamestate.deleted_games");
		plan = new_plan;
	}
	return plan;
}

void
gs_deleted_keep(const pg_uuid_t *game_id, const GsRequest *request, const GsHeader *h)
{
	GsOwnerAccess access;
	Datum values[5];
	char nulls[5] = {' ', 'n', 'n', 'n', 'n'};

	if (request->id == NULL && !h->has_create_request)
		return;
	values[0] = UUIDPGetDatum(game_id);
	if (request->id)
	{
		values[1] = UUIDPGetDatum(request->id);
		values[2] = Int64GetDatum((int64) request->arguments);
		nulls[1] = nulls[2] = ' ';
	}
	if (h->has_create_request)
	{
		values[3] = UUIDPGetDatum(&h->create_request);
		values[4] = Int64GetDatum((int64) h->create_arguments);
		nulls[3] = nulls[4] = ' ';
	}

	gs_owner_begin(&access, TABLE, RowExclusiveLock);
	if (SPI_execute_plan(prepare_insert(), values, nulls, false, 0) != SPI_OK_INSERT ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table gamestate.deleted_games did not take a game"),
				 errhint("Look for a trigger or a rule on the table that drops rows.")));
	gs_owner_end(&access);

	/* a retry in this very statement is to find it */
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------
 *		Finding
 * ----------------------------------------------------------------
 */

/* Is the request in these two columns? */
static bool
is_request(const GsRequest *request, HeapTuple tuple, TupleDesc desc, int column,
		   uint32 *arguments)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull || memcmp(DatumGetUUIDP(value), request->id, UUID_LEN) != 0)
		return false;
	value = heap_getattr(tuple, column + 1, desc, &isnull);
	*arguments = isnull ? 0 : (uint32) DatumGetInt64(value);
	return !isnull;
}

static bool
row_has(const GsRequest *request, HeapTuple tuple, TupleDesc desc, GsAnswered *answered)
{
	if (is_request(request, tuple, desc, COLUMN_REQUEST_ID, &answered->arguments))
		answered->version = 0;
	else if (is_request(request, tuple, desc, COLUMN_CREATE_REQUEST,
						&answered->arguments))
		answered->version = 1;
	else
		return false;
	return true;
}

bool
gs_deleted_find(const GsRequest *request, const pg_uuid_t *game_id, GsAnswered *answered)
{
	Oid schema = get_namespace_oid("gamestate", false);
	Oid indexoid = get_relname_relid(INDEX, schema);
	Relation rel = table_open(get_relname_relid(TABLE, schema), AccessShareLock);
	/* of this moment, see newest_snapshot() of gs_archive.c */
	Snapshot snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	gs_sql_columns(rel, column_types, NCOLUMNS);
	ScanKeyInit(&key, COLUMN_GAME_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(game_id));
	scan = systable_beginscan(rel, indexoid, OidIsValid(indexoid), snapshot, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = row_has(request, tuple, RelationGetDescr(rel), answered);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

/* ----------------------------------------------------------------
 *		Forgetting
 * ----------------------------------------------------------------
 */

#define DELETE_SOME                                                                    \
	"DELETE FROM gamestate.deleted_games d USING (SELECT game_id, deleted_at"          \
	" FROM gamestate.deleted_games WHERE deleted_at < $1 LIMIT " PURGE_ROWS_TEXT ") o" \
	" WHERE d.game_id = o.game_id AND d.deleted_at = o.deleted_at"

void
gs_deleted_purge(MemoryContext mcxt)
{
	uint64 deleted;

	do
	{
		Oid type = TIMESTAMPTZOID;
		Datum before;

		gs_worker_begin(LOCK_TIMEOUT_MS);
		before =
			TimestampTzGetDatum(GetCurrentTimestamp() -
								(TimestampTz) gs_deleted_retention * USECS_PER_MINUTE);
		SPI_connect();
		if (SPI_execute_with_args(DELETE_SOME, 1, &type, &before, NULL, false, 0) !=
			SPI_OK_DELETE)
			elog(ERROR, "unexpected result of: %s", DELETE_SOME);
		deleted = SPI_processed;
		SPI_finish();
		gs_worker_commit();
	} while (deleted == PURGE_ROWS);
}
