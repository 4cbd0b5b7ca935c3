/*-------------------------------------------------------------------------
 *
 * gs_feed_wait.c
 *	  SQL functions of the change feed: wait_changes(), feed_position().
 *
 * The model:
 *	1. Read the feed from the caller's position.  What passes his filter is the
 *	   answer, and at its end the position from which to go on.
 *	2. If there is nothing, sleep until a writer wakes us (gs_feed_waiters.c),
 *	   and read again.
 *	3. Nobody is held up by who sleeps.  A statement's snapshot would hold back
 *	   VACUUM, and on a standby replay; so it is given back before the sleep,
 *	   and a new one is taken after it.  That is possible where nothing has
 *	   been read with it and nobody else has it: in a statement of the client's
 *	   that reads no table, at isolation level READ COMMITTED
 *	   (release_snapshot()).  Elsewhere sleeping is refused.
 *	   For the same reason a transaction must not have written anything.
 *
 * Locking: none while sleeping.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_database.h"
#include "gs_feed.h"
#include "gs_shmem.h"
#include "gs_writeset.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/execdesc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(gs_wait_changes);
PG_FUNCTION_INFO_V1(gs_feed_position_now);
PG_FUNCTION_INFO_V1(gs_stat_feed);

#define MAX_CHANGES_DEFAULT 1000

/* How often the poller (gs_feed_waiters.c) looks. */
#define POLL_FIRST_MS 2
#define POLL_LAST_MS  50

/* Columns of wait_changes(), in the order of the script. */
enum
{
	WAIT_POSITION,
	WAIT_GAME_ID,
	WAIT_VERSION,
	WAIT_KIND,
	WAIT_PLAYER,
	WAIT_AT,
	WAIT_EVENT,
	WAIT_EVENT_BYTES,
	WAIT_EVENT_OMITTED,
	WAIT_REQUEST_ID,
	WAIT_GAME_TYPE,
	WAIT_NATTS
};

/* A call of wait_changes(). */
typedef struct Wait
{
	FunctionCallInfo fcinfo;
	ReturnSetInfo *rsinfo;
	MemoryContext row_context; /* reset with each row */
	GsFeedFilter filter;
	GsFeedCursor cursor;
	bool is_foreign; /* "after" is not a position of this feed */
	int64 left;		 /* how many rows may still be added */
	TimestampTz until;
	int poll_ms;
	bool any; /* rows have been added */

	/* set while the snapshot is given back */
	QueryDesc *query;
} Wait;

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

static const char *
kind_name(uint8 kind)
{
	switch (kind)
	{
		case GS_FEED_DELETE:
			return "delete";
		case GS_FEED_GAP:
			return "gap";
		default:
			return gs_feed_notice_name(kind) ? gs_feed_notice_name(kind)
											 : gs_kind_name(kind);
	}
}

static void
set_value(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

static void
set_bytes(Datum *values, bool *nulls, int column, const char *data, uint32 len)
{
	set_value(values, nulls, column,
			  PointerGetDatum(cstring_to_text_with_len(data, len)));
}

static void
put_row(Wait *wait, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(wait->rsinfo->setResult, wait->rsinfo->setDesc,
						 unconstify(Datum *, values), unconstify(bool *, nulls));
}

/* A row that is about no game: a gap, or the position at the end. */
static void
add_mark(Wait *wait, const char *kind, TimestampTz at)
{
	Datum values[WAIT_NATTS];
	bool nulls[WAIT_NATTS];

	memset(nulls, true, sizeof(nulls));
	set_value(values, nulls, WAIT_POSITION,
			  Int64GetDatum(gs_feed_position(MyDatabaseId, wait->cursor.next)));
	set_value(values, nulls, WAIT_KIND, CStringGetTextDatum(kind));
	set_value(values, nulls, WAIT_AT, TimestampTzGetDatum(at));
	put_row(wait, values, nulls);
}

static void
add_change(Wait *wait, const GsFeedRow *row)
{
	Datum values[WAIT_NATTS];
	bool nulls[WAIT_NATTS];
	const char *p = row->data;

	memset(nulls, true, sizeof(nulls));
	set_value(values, nulls, WAIT_POSITION,
			  Int64GetDatum(gs_feed_position(MyDatabaseId, wait->cursor.next)));
	set_value(values, nulls, WAIT_GAME_ID, UUIDPGetDatum(&row->game_id));
	if (row->version != 0)
		set_value(values, nulls, WAIT_VERSION, Int64GetDatum(row->version));
	set_value(values, nulls, WAIT_KIND, CStringGetTextDatum(kind_name(row->kind)));
	set_value(values, nulls, WAIT_AT, TimestampTzGetDatum(row->at));
	set_value(values, nulls, WAIT_EVENT_OMITTED,
			  BoolGetDatum((row->flags & GS_FEED_OMITTED) != 0));
	set_bytes(values, nulls, WAIT_GAME_TYPE, p, row->type_len);
	p += row->type_len;
	if (row->flags & GS_FEED_HAS_PLAYER)
		set_bytes(values, nulls, WAIT_PLAYER, p, row->player_len);
	p += row->player_len;
	if (row->flags & GS_FEED_HAS_REQUEST)
	{
		pg_uuid_t *request = palloc(sizeof(pg_uuid_t));

		memcpy(request->data, p, UUID_LEN);
		set_value(values, nulls, WAIT_REQUEST_ID, UUIDPGetDatum(request));
		p += UUID_LEN;
	}

	/* only moves are in the game's encoding; metadata, result, ... are json */
	if (row->flags & GS_FEED_HAS_EVENT)
		set_bytes(values, nulls,
				  (row->flags & GS_FEED_IS_BYTES) && row->kind == GS_KIND_MOVE
					  ? WAIT_EVENT_BYTES
					  : WAIT_EVENT,
				  p, row->event_len);
	put_row(wait, values, nulls);
}

/* Somebody else's position, or too old a one: what is missing has to be read elsewhere. */
static void
skip_to_end(Wait *wait)
{
	wait->cursor.next = gs_feed_head();
	add_mark(wait, "gap", GetCurrentTimestamp());
	gs_feed_count_gap();
	wait->any = true;
}

/* Add what is there now. */
static void
read_feed(Wait *wait)
{
	MemoryContext old = MemoryContextSwitchTo(wait->row_context);
	GsFeedResult result = GS_FEED_ROW;
	GsFeedRow *row;

	gs_feed_publish_pending();
	while (wait->left > 0 && (result = gs_feed_read(&wait->cursor, &row)) == GS_FEED_ROW)
	{
		CHECK_FOR_INTERRUPTS();
		if (row->kind == GS_FEED_GAP)
		{
			add_mark(wait, "gap", row->at);
			gs_feed_count_gap();
		}
		else
			add_change(wait, row);
		wait->any = true;
		wait->left--;
		MemoryContextReset(wait->row_context);
	}
	if (result == GS_FEED_LOST)
		skip_to_end(wait);
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 *		The snapshot
 * ----------------------------------------------------------------
 */

static _Noreturn void
cannot_wait(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("wait_changes() cannot wait here"),
			 errdetail("%s", why),
			 errhint("Call it in a statement of its own, SELECT ... FROM gamestate.wait_changes(...), at isolation level READ COMMITTED; with timeout => '0' it never waits.")));
}

/* Does the statement read tables? */
static bool
reads_tables(const QueryDesc *query)
{
	ListCell *lc;

	foreach (lc, query->plannedstmt->rtable)
	{
		const RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && rte->relkind != RELKIND_VIEW)
			return true;
	}
	return false;
}

/* The client's statement that has called us, if its snapshot can be given back; else NULL. */
static QueryDesc *
own_statement(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	QueryDesc *query;
	EState *estate;

	if (ActivePortal == NULL || ActivePortal->strategy != PORTAL_ONE_SELECT ||
		ActivePortal->queryDesc == NULL || ActivePortal->portalSnapshot != NULL ||
		ActivePortal->holdSnapshot != NULL || rsinfo->econtext == NULL)
		return NULL;
	query = ActivePortal->queryDesc;
	estate = rsinfo->econtext->ecxt_estate;
	if (estate == NULL || estate != query->estate ||
		estate->es_snapshot != query->snapshot ||
		estate->es_crosscheck_snapshot != InvalidSnapshot ||
		query->crosscheck_snapshot != InvalidSnapshot ||
		CurrentResourceOwner != ActivePortal->resowner)
		return NULL;
	if (!ActiveSnapshotSet() || GetActiveSnapshot() != query->snapshot)
		return NULL;
	return query;
}

/*
 * Give the statement's snapshot back: the executor and its query have registered
 * it, the portal has it on the stack of active ones.  All of them get a new
 * one in take_snapshot(), so that what comes later in the statement (a function
 * on our rows, say) is right.  When there is an error in between, nobody looks at
 * them any more: the transaction, or its innermost part, is aborted.
 */
static void
release_snapshot(Wait *wait)
{
	QueryDesc *query;
	Snapshot snapshot;

	if (IsolationUsesXactSnapshot())
		cannot_wait("The transaction keeps one snapshot, which would hold back VACUUM.");
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		cannot_wait("The transaction has changed something.");
	query = own_statement(wait->fcinfo);
	if (query == NULL)
		cannot_wait(
			"It is called inside another statement, whose snapshot would hold back VACUUM.");
	if (reads_tables(query))
		cannot_wait(
			"The statement reads tables, and its snapshot would hold back VACUUM.");

	snapshot = query->snapshot;
	PopActiveSnapshot();
	query->estate->es_snapshot = InvalidSnapshot;
	query->snapshot = InvalidSnapshot;
	UnregisterSnapshot(snapshot);
	UnregisterSnapshot(snapshot);
	InvalidateCatalogSnapshot();
	wait->query = query;
	if (ActiveSnapshotSet() || TransactionIdIsValid(MyProc->xmin))
		cannot_wait(
			"The transaction has another snapshot in use, of an open cursor for example.");
}

static void
take_snapshot(Wait *wait)
{
	QueryDesc *query = wait->query;

	query->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	query->estate->es_snapshot = RegisterSnapshot(query->snapshot);
	PushActiveSnapshot(query->snapshot);
	wait->query = NULL;
}

/* ----------------------------------------------------------------
 *		Waiting
 * ----------------------------------------------------------------
 */

static bool
is_over(const Wait *wait)
{
	return wait->any || wait->left <= 0 || GetCurrentTimestamp() >= wait->until;
}

static void
sleep_once(Wait *wait)
{
	bool polls = gs_feed_waiter_polls(gs_feed_pending());
	long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), wait->until);

	wait->poll_ms = polls ? Min(wait->poll_ms * 2, POLL_LAST_MS) : POLL_FIRST_MS;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 polls ? Min(ms, wait->poll_ms) : ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
leave(int code, Datum arg)
{
	gs_feed_waiter_leave();
}

/* As long as there is nothing, and time. */
static void
wait_for_changes(Wait *wait)
{
	release_snapshot(wait);
	PG_ENSURE_ERROR_CLEANUP(leave, (Datum) 0);
	{
		gs_feed_waiter_enter(&wait->filter);
		for (;;)
		{
			gs_feed_waiter_arm(wait->cursor.next);
			read_feed(wait);
			if (is_over(wait))
				break;
			sleep_once(wait);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave, (Datum) 0);
	gs_feed_waiter_leave();
	take_snapshot(wait);
}

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

static _Noreturn void
bad_argument(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what)));
}

static void
arg_ids(FunctionCallInfo fcinfo, int n, GsFeedFilter *filter)
{
	ArrayType *array;
	Datum *datums;
	bool *nulls;

	filter->nids = -1;
	if (PG_ARGISNULL(n))
		return;
	array = PG_GETARG_ARRAYTYPE_P(n);
	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &datums, &nulls,
					  &filter->nids);
	filter->ids = palloc(sizeof(pg_uuid_t) * Max(filter->nids, 1));
	for (int i = 0; i < filter->nids; i++)
	{
		uint32 class;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("game_ids must not contain null")));
		filter->ids[i] = *DatumGetUUIDP(datums[i]);
		class = gs_feed_hash(&filter->ids[i], UUID_LEN) % GS_FEED_ID_CLASSES;
		filter->classes[class / 64] |= UINT64CONST(1) << (class % 64);
	}
	gs_feed_filter_sort(filter);
}

static GsFeedType
wanted_type(const text *name)
{
	GsText type = {VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)};

	return (GsFeedType){type, gs_feed_type_hash(type.data, type.len)};
}

static void
arg_type(FunctionCallInfo fcinfo, int n, GsFeedFilter *filter)
{
	if (PG_ARGISNULL(n))
		return;
	filter->ntypes = 1;
	filter->types = palloc(sizeof(GsFeedType));
	filter->types[0] = wanted_type(PG_GETARG_TEXT_PP(n));
}

/* Alone they are the filter; with ids their games come besides those. */
static void
arg_types(FunctionCallInfo fcinfo, int n, GsFeedFilter *filter)
{
	Datum *datums;
	bool *nulls;

	if (PG_ARGISNULL(n))
		return;
	if (filter->ntypes > 0)
		bad_argument("game_type and game_types cannot be given both");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT, &datums,
					  &nulls, &filter->ntypes);
	filter->types = palloc(sizeof(GsFeedType) * Max(filter->ntypes, 1));
	for (int i = 0; i < filter->ntypes; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("game_types must not contain null")));
		filter->types[i] = wanted_type(DatumGetTextPP(datums[i]));
	}
	if (filter->nids >= 0)
		filter->either = filter->ntypes > 0;
	else if (filter->ntypes == 0)
	{
		/* of no type: nothing */
		filter->nids = 0;
		filter->ids = palloc(sizeof(pg_uuid_t));
	}
}

static TimestampTz
arg_until(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;

	if (PG_ARGISNULL(n))
		return DT_NOEND;
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(n)));
	if (until < now)
		bad_argument("timeout must not be negative");
	return until;
}

static void
take_arguments(FunctionCallInfo fcinfo, Wait *wait)
{
	wait->filter.dboid = MyDatabaseId;
	arg_ids(fcinfo, 1, &wait->filter);
	arg_type(fcinfo, 2, &wait->filter);
	wait->left = PG_ARGISNULL(3) ? MAX_CHANGES_DEFAULT : PG_GETARG_INT32(3);
	if (wait->left < 1)
		bad_argument("max_changes must be at least 1");
	wait->until = arg_until(fcinfo, 4);
	arg_types(fcinfo, 5, &wait->filter);
	wait->poll_ms = POLL_FIRST_MS;
	wait->cursor.filter = &wait->filter;
	if (PG_ARGISNULL(0))
		wait->cursor.next = gs_feed_head();
	else
		wait->is_foreign =
			!gs_feed_number(MyDatabaseId, PG_GETARG_INT64(0), &wait->cursor.next);
}

/* Whatever the feed tells of must be there to be read. */
static void
require_feed(void)
{
	gs_attach();
	(void) gs_ready();
	gs_require_games();
	gs_feed_publish_pending();
}

Datum
gs_wait_changes(PG_FUNCTION_ARGS)
{
	Wait wait = {.fcinfo = fcinfo, .rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};

	if (GsWriteSetActive)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("wait_changes() cannot be called in a transaction that has changed games"),
				 errdetail("Its own changes are told when it has committed."),
				 errhint("Commit first.")));
	require_feed();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	take_arguments(fcinfo, &wait);
	wait.row_context = AllocSetContextCreate(CurrentMemoryContext, "gamestate feed",
											 ALLOCSET_SMALL_SIZES);
	if (wait.is_foreign)
		skip_to_end(&wait);
	else
		read_feed(&wait);
	if (!is_over(&wait))
		wait_for_changes(&wait);
	add_mark(&wait, "position", GetCurrentTimestamp());
	MemoryContextDelete(wait.row_context);
	return (Datum) 0;
}

Datum
gs_feed_position_now(PG_FUNCTION_ARGS)
{
	require_feed();
	PG_RETURN_INT64(gs_feed_position(MyDatabaseId, gs_feed_head()));
}

/* ----------------------------------------------------------------
 *		gamestate.stat_feed
 * ----------------------------------------------------------------
 */

#define STAT_FEED_COLUMNS 13

Datum
gs_stat_feed(PG_FUNCTION_ARGS)
{
	Datum values[STAT_FEED_COLUMNS];
	bool nulls[STAT_FEED_COLUMNS] = {0};
	TupleDesc desc;
	GsFeedStat feed;
	GsFeedWaitersStat waiters;
	int i = 0;

	gs_attach();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	gs_feed_get_stat(&feed);
	gs_feed_waiters_get_stat(MyDatabaseId, &waiters);
	values[i++] = Int64GetDatum(gs_feed_position(MyDatabaseId, feed.rows));
	values[i++] = Int64GetDatum(gs_feed_position(MyDatabaseId, feed.oldest));
	values[i++] = Int64GetDatum(feed.rows);
	values[i++] = Int64GetDatum(feed.bytes);
	values[i++] = Int64GetDatum(feed.size);
	values[i++] = Int64GetDatum(feed.rows - feed.oldest);
	values[i++] = Int64GetDatum(feed.pending);
	values[i++] = Int64GetDatum(feed.lost);
	values[i++] = Int64GetDatum(feed.gaps);
	values[i++] = Int32GetDatum(waiters.waiters);
	values[i++] = Int32GetDatum(gs_max_waiters);
	values[i++] = Int64GetDatum(waiters.wakeups);
	values[i] =
		Int64GetDatum(feed.rows > waiters.slowest ? feed.rows - waiters.slowest : 0);
	nulls[i++] = !waiters.any;
	Assert(i == STAT_FEED_COLUMNS);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
