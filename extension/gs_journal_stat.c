/*-------------------------------------------------------------------------
 *
 * gs_journal_stat.c
 *	  gamestate.stat_journal: the state of a database's journal as a row.
 *
 * The model: everything shown is in the database's slot in shared memory.  It
 * is read without waiting for anything but slots_lock, so that the view
 * works while games are loaded, and it never begins to load them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_journal.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_stat_journal);

#define STAT_JOURNAL_COLUMNS 15

typedef struct Row
{
	Datum values[STAT_JOURNAL_COLUMNS];
	bool nulls[STAT_JOURNAL_COLUMNS];
	int n;
} Row;

static void
put(Row *row, Datum value, bool is_null)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = is_null;
}

static void
put_count(Row *row, pg_atomic_uint64 *counter, bool is_null)
{
	put(row, Int64GetDatum((int64) pg_atomic_read_u64(counter)), is_null);
}

static void
put_load(Row *row, GsDatabase *db)
{
	GsLoadState state = pg_atomic_read_u32(&db->load_state);
	int pid = pg_atomic_read_u32(&db->load.pid);
	TimestampTz start = pg_atomic_read_u64(&db->load.started_at);
	TimestampTz end = pg_atomic_read_u64(&db->load.ended_at);
	/* one that was killed while it loaded says nothing about it */
	bool running = state == GS_LOAD_RUNNING && BackendPidGetProc(pid) != NULL;
	bool never = start == 0;

	if (end == 0)
		end = GetCurrentTimestamp();
	put(row,
		CStringGetTextDatum(state == GS_LOAD_DONE ? "loaded"
												  : (running ? "loading" : "not loaded")),
		false);
	put(row, Int32GetDatum(pid), !running);
	put_count(row, &db->load.blocks_done, never);
	put_count(row, &db->load.blocks_total, never);
	put_count(row, &db->load.games, never);
	put(row, TimestampTzGetDatum(start), never);
	put(row, Int64GetDatum((end - start) / 1000), !running && state != GS_LOAD_DONE);
	put_count(row, &db->load.problems, never);
}

static void
put_error(Row *row, GsDatabase *db)
{
	GsLoadFailure failure;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	failure = db->load_failure;
	LWLockRelease(GsShmem->slots_lock);
	if (failure.failures == 0)
		put(row, (Datum) 0, true);
	else
		put(row, CStringGetTextDatum(failure.message), false);
}

static void
put_rotation(Row *row, GsDatabase *db)
{
	bool loaded = pg_atomic_read_u32(&db->load_state) == GS_LOAD_DONE;
	bool never = pg_atomic_read_u64(&db->rotation.count) == 0;
	bool first = pg_atomic_read_u32(&db->journal_active) == 0;

	put(row, CStringGetTextDatum(first ? "gamestate.journal_0" : "gamestate.journal_1"),
		!loaded);
	put_count(row, &db->journal_bytes, !loaded);
	put(row, Int64GetDatum((int64) gs_rotate_limit(db)), false);
	put(row, BoolGetDatum(db->journal_two), !loaded);
	put_count(row, &db->rotation.count, false);
	put_count(row, &db->rotation.last_ms, never);
}

Datum
gs_stat_journal(PG_FUNCTION_ARGS)
{
	Row row = {.n = 0};
	TupleDesc desc;
	GsDatabase *db;

	gs_attach();
	db = gs_my_database();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	put_load(&row, db);
	put_error(&row, db);
	put_rotation(&row, db);
	Assert(row.n == STAT_JOURNAL_COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), row.values, row.nulls));
}
