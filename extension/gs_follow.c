/*-------------------------------------------------------------------------
 *
 * gs_follow.c
 *	  Live games on a hot standby: a worker follows the journal.
 *
 * The model:
 *	1. On a standby the launcher starts a follower for each database that has
 *	   the extension.  It begins with all rows of the journal and goes on with
 *	   what has been replayed since, a pass after the other: what is new in the
 *	   journal's tables (gs_follow_source.c) is put together and applied to
 *	   shared memory (gs_follow_groups.c).
 *	2. After a pass it publishes up to which place in the WAL everything has
 *	   been applied.  A reader notes what has been replayed when it is called,
 *	   wakes the follower if that is not applied yet, and waits for it.  So a
 *	   read answers as of what had been replayed when it was asked, or later,
 *	   and two reads one after another never go back.
 *	3. The archive's rows become visible while their commit record is being
 *	   replayed, a moment before that counts as replayed.  So that a game is
 *	   not found both there and here, a reader waits for the record that is
 *	   just being replayed as well, unless that takes long: then it is a record
 *	   that waits for somebody, which a commit does not.
 *	4. When everything has to start anew (a table was rewritten, memory did not
 *	   suffice, a record is missing) all games leave memory first.  A reader who
 *	   was in the middle finds that out afterwards (gs_require_games()): what
 *	   it has read may have been half a load.
 *	   What moved to a table, or back, before a rotation that the follower has
 *	   missed leaves no trace in the journal.  A list of live games and that
 *	   table's rows fit together only for who sees that rotation: a list for
 *	   anybody else fails (gs_follow_check_list()).
 *	   After a load, and after 5, there is a gap in the change feed (gs_feed.c);
 *	   what is applied later goes into it as on the primary.
 *	5. After a promotion the follower leaves, and what it has put into memory is
 *	   thrown away: games are loaded from the journal as after any restart
 *	   (gs_load.c).  Loading is what is tested most, it needs no trust in the
 *	   follower, and it sets up what only a primary has (the archive queue,
 *	   which table is written to).  A transaction that was reading with a
 *	   snapshot from before a game was archived no longer finds that game.
 *
 * Locking: a pass locks the journal's tables only if they are free, and keeps
 * that while it sleeps, so that replay waits for the next pass before it empties
 * one (gs_follow_source.c): no longer than IDLE_MS, while anything else is
 * replayed for ACTIVE_MS.  When replay cancels us, the pass is done again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_errors.h"
#include "gs_feed.h"
#include "gs_follow.h"
#include "gs_follow_groups.h"
#include "gs_follow_source.h"
#include "gs_worker.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Pauses between passes while something is replayed, and at most. */
#define ACTIVE_MS 10
#define IDLE_MS	  200

/* While a journal table is locked, or replay has cancelled us. */
#define BUSY_MS 5

/* A record whose replay takes longer waits for somebody. */
#define STUCK_MS 20

/* How often a reader looks whether there is a follower at all. */
#define LOOK_MS 200

/* A load for a missing record helps, or it does not: not too often. */
#define REPAIR_MS 60000

/* Archived games to be freed in one pass. */
#define FREE_AT_ONCE 5000

/*
 *	stopped -> loading
 *	loading -> following | failed | stopped
 *	following <-> blocked
 *	following, blocked -> loading | failed | stopped
 *	failed -> loading | stopped
 */
typedef enum GsFollowState
{
	GS_FOLLOW_STOPPED = 0, /* there is no follower */
	GS_FOLLOW_LOADING,
	GS_FOLLOW_FOLLOWING,
	GS_FOLLOW_BLOCKED, /* a journal table is locked */
	GS_FOLLOW_FAILED   /* waits before it tries again */
} GsFollowState;

/* One for each database slot. */
typedef struct GsFollow
{
	pg_atomic_uint32 state;	  /* GsFollowState */
	pg_atomic_uint32 running; /* a follower is in the process of changing memory */
	pg_atomic_uint32 games;	  /* it has put games there; cleared by who removes them */
	pg_atomic_uint64 applied; /* everything before this has been applied; 0 = nothing */
	ConditionVariable published;

	/* full xids: what these have emptied the load has not seen; set by a load */
	pg_atomic_uint64 emptied_by[2];

	slock_t mutex; /* protects what follows; for the view */
	TimestampTz applied_at;
	int64 pending;
	int64 transactions;
	int64 loads;
	int64 scans;
	int64 problems;
	TimestampTz last_problem_at;
	char last_problem[GS_WORKER_ERROR_LEN];
} GsFollow;

static GsFollow *follows = NULL;

/* a reader: what it read is good as long as this is so */
bool GsFollowedRead = false;
static uint32 read_generation;
static GsFollowState read_state;

/* the follower's own */
static GsDatabase *db = NULL;
static GsFollow *follow = NULL;
static GsWorkerSlot *slot = NULL;
static MemoryContext loop_context = NULL;
static XLogRecPtr last_upto = InvalidXLogRecPtr; /* of the pass before */
static bool changing = false;					 /* memory */
static uint64 holes_seen = 0;
static TimestampTz loaded_at = 0;
static int failures = 0;

PG_FUNCTION_INFO_V1(gs_stat_standby);

Size
gs_follow_shmem_size(void)
{
	return mul_size(sizeof(GsFollow), gs_max_databases);
}

void
gs_follow_shmem_init(bool found)
{
	bool found_follows;

	follows =
		ShmemInitStruct("gamestate followers", gs_follow_shmem_size(), &found_follows);
	if (found)
		return;
	memset(follows, 0, gs_follow_shmem_size());
	for (int i = 0; i < gs_max_databases; i++)
	{
		pg_atomic_init_u32(&follows[i].state, GS_FOLLOW_STOPPED);
		pg_atomic_init_u32(&follows[i].running, 0);
		pg_atomic_init_u32(&follows[i].games, 0);
		pg_atomic_init_u64(&follows[i].applied, InvalidXLogRecPtr);
		pg_atomic_init_u64(&follows[i].emptied_by[0], 0);
		pg_atomic_init_u64(&follows[i].emptied_by[1], 0);
		ConditionVariableInit(&follows[i].published);
		SpinLockInit(&follows[i].mutex);
	}
}

static GsFollow *
follow_of(const GsDatabase *database)
{
	return &follows[gs_database_index(database)];
}

static const char *
state_name(GsFollowState state)
{
	switch (state)
	{
		case GS_FOLLOW_LOADING:
			return "loading";
		case GS_FOLLOW_FOLLOWING:
			return "following";
		case GS_FOLLOW_BLOCKED:
			return "blocked";
		case GS_FOLLOW_FAILED:
			return "failed";
		case GS_FOLLOW_STOPPED:
			break;
	}
	return "stopped";
}

/* ----------------------------------------------------------------
 *		Readers
 * ----------------------------------------------------------------
 */

/*
 * Remember what is read, for gs_check_followed_read().  "state" is FOLLOWING,
 * or says why there are no games.
 */
static bool
note_read(uint32 generation, GsFollowState state)
{
	read_generation = generation;
	read_state = state;
	GsFollowedRead = true;
	return true;
}

static _Noreturn void
not_followed(const char *what)
{
	GsFollow *mine = follow_of(gs_my_database());
	char problem[GS_WORKER_ERROR_LEN];

	SpinLockAcquire(&mine->mutex);
	memcpy(problem, mine->last_problem, GS_WORKER_ERROR_LEN);
	SpinLockRelease(&mine->mutex);
	ConditionVariableCancelSleep();
	ereport(ERROR,
			(errcode(ERRCODE_GS_LOADING),
			 errmsg("running games are not available on this standby"),
			 problem[0] != '\0' ? errdetail("%s: %s.", what, problem)
								: errdetail("%s.", what),
			 errhint("Try again later, or ask the primary server. The view gamestate.stat_standby shows how the standby follows.")));
}

void
gs_check_followed_read(bool found)
{
	if (pg_atomic_read_u32(&gs_my_database()->generation) != read_generation)
		ereport(ERROR,
				(errcode(ERRCODE_GS_LOADING),
				 errmsg("the running games are being loaded"),
				 errdetail("That began while they were read."),
				 errhint("Try again.")));
	if (found || read_state == GS_FOLLOW_FOLLOWING)
		return;
	if (read_state == GS_FOLLOW_FAILED)
		not_followed("Following the journal has failed");
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("running games cannot be read on this standby"),
			 errdetail("gamestate.standby_reads is off."),
			 errhint("Ask the primary server, or set gamestate.standby_reads to on.")));
}

void
gs_follow_check_list(void)
{
	GsFollow *mine;
	Snapshot snapshot;
	uint64 oldest;

	if (!GsFollowedRead)
		return;
	mine = follow_of(gs_my_database());
	snapshot = GetActiveSnapshot();
	oldest = U64FromFullTransactionId(gs_table_full_xid(snapshot->xmin));
	for (int i = 0; i < 2; i++)
	{
		uint64 xid = pg_atomic_read_u64(&mine->emptied_by[i]);

		if (xid < oldest || !XidInMVCCSnapshot((TransactionId) xid, snapshot))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_GS_LOADING),
				 errmsg("the running games have been loaded since the snapshot was taken"),
				 errdetail("Some may have been moved to a table, or back, that the snapshot does not show."),
				 errhint("Try again, in a new transaction.")));
	}
}

/* The follower has work, or there should be one. */
static void
call_follower(GsDatabase *database, GsFollow *mine)
{
	if (pg_atomic_read_u32(&mine->running) != 0)
		gs_worker_wake_archiver(database);
	else
		gs_worker_request_look(MyDatabaseId);
}

/* Wait until everything before the target has been applied; false when recovery ends. */
static bool
wait_for(GsDatabase *database, XLogRecPtr replayed, XLogRecPtr target, int timeout)
{
	GsFollow *mine = follow_of(database);
	TimestampTz start = GetCurrentTimestamp();

	ConditionVariablePrepareToSleep(&mine->published);
	for (;;)
	{
		uint32 generation = pg_atomic_read_u32(&database->generation);
		GsFollowState state;
		TimestampTz now;
		bool in_replay;

		pg_read_barrier();
		if (pg_atomic_read_u64(&mine->applied) >= target)
		{
			ConditionVariableCancelSleep();
			return note_read(generation, GS_FOLLOW_FOLLOWING);
		}
		if (!RecoveryInProgress())
		{
			ConditionVariableCancelSleep();
			return false;
		}

		/* without any in memory, the archive can be read at least */
		state = pg_atomic_read_u32(&mine->state);
		if (!gs_standby_reads)
			state = GS_FOLLOW_STOPPED;
		if ((state == GS_FOLLOW_FAILED || !gs_standby_reads) &&
			pg_atomic_read_u32(&mine->games) == 0)
		{
			ConditionVariableCancelSleep();
			return note_read(generation, state);
		}
		now = GetCurrentTimestamp();
		if (timeout > 0 && TimestampDifferenceExceeds(start, now, timeout))
			not_followed("The standby has not caught up in time");

		in_replay = GetXLogReplayRecPtr(NULL) < target;
		if (in_replay && TimestampDifferenceExceeds(start, now, STUCK_MS))
		{
			target = replayed;
			continue;
		}
		call_follower(database, mine);
		(void) ConditionVariableTimedSleep(&mine->published,
										   in_replay	 ? 1
										   : timeout > 0 ? Min(timeout, LOOK_MS)
														 : LOOK_MS,
										   PG_WAIT_EXTENSION);
	}
}

bool
gs_follow_wait(GsDatabase *database, int timeout)
{
	GsFollow *mine = follow_of(database);
	uint32 generation = pg_atomic_read_u32(&database->generation);
	XLogRecPtr replayed;
	XLogRecPtr target;

	pg_read_barrier();
	replayed = GetXLogReplayRecPtr(NULL);
	target = Max(GetCurrentReplayRecPtr(NULL), replayed);
	if (likely(pg_atomic_read_u64(&mine->applied) >= target && gs_standby_reads))
		return note_read(generation, GS_FOLLOW_FOLLOWING);
	return wait_for(database, replayed, target, timeout);
}

/* ----------------------------------------------------------------
 *		After a promotion, or DROP DATABASE
 * ----------------------------------------------------------------
 */

void
gs_follow_end(GsDatabase *database)
{
	GsFollow *mine = follow_of(database);

	ConditionVariablePrepareToSleep(&mine->published);
	while (pg_atomic_read_u32(&mine->running) != 0)
	{
		gs_worker_wake_archiver(database);
		(void) ConditionVariableTimedSleep(&mine->published, BUSY_MS, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	pg_read_barrier();
	if (pg_atomic_exchange_u32(&mine->games, 0) != 0)
	{
		gs_table_remove_database(database);
		gs_feed_gap(database->dboid);
	}
}

void
gs_follow_forget_database(GsDatabase *database)
{
	GsFollow *mine = follow_of(database);

	if (pg_atomic_read_u32(&mine->running) != 0)
		return; /* it is on its way out, and will wake the launcher */
	pg_atomic_write_u32(&mine->games, 0);
	pg_atomic_write_u64(&mine->applied, InvalidXLogRecPtr);
	gs_table_remove_database(database);
	gs_database_release(database);
}

/* ----------------------------------------------------------------
 *		The follower: what others see of it
 * ----------------------------------------------------------------
 */

static void
set_state(GsFollowState state)
{
	pg_atomic_write_u32(&follow->state, state);
}

static void
publish(XLogRecPtr upto, TimestampTz at)
{
	GsGroupsStatus status;

	gs_groups_status(&status);
	SpinLockAcquire(&follow->mutex);
	follow->applied_at = at;
	follow->pending = status.pending;
	follow->transactions = status.applied;
	follow->problems = status.problems;
	follow->scans = gs_source_scans();
	SpinLockRelease(&follow->mutex);
	pg_write_barrier();
	pg_atomic_write_u64(&follow->applied, upto);
	ConditionVariableBroadcast(&follow->published);
}

static void
note_problem(const char *message)
{
	char text[GS_WORKER_ERROR_LEN];
	TimestampTz now = GetCurrentTimestamp();

	/* do not leave half a character at the end */
	strlcpy(text, message, sizeof(text));
	text[pg_mbcliplen(text, strlen(text), sizeof(text) - 1)] = '\0';
	gs_worker_set_error(slot, message);
	SpinLockAcquire(&follow->mutex);
	memcpy(follow->last_problem, text, sizeof(text));
	follow->last_problem_at = now;
	SpinLockRelease(&follow->mutex);
}

/* Nothing of what is in memory counts any more. */
static void
drop_games(void)
{
	last_upto = InvalidXLogRecPtr;
	pg_atomic_write_u64(&follow->applied, InvalidXLogRecPtr);
	pg_memory_barrier();
	gs_table_remove_database(db);
	if (pg_atomic_exchange_u32(&follow->games, 0) != 0)
		gs_feed_gap(db->dboid);
	gs_source_reset();
	gs_groups_reset();
}

static void
start_load(void)
{
	set_state(GS_FOLLOW_LOADING);
	drop_games();
	pg_atomic_write_u32(&follow->games, 1);
	loaded_at = GetCurrentTimestamp();
	SpinLockAcquire(&follow->mutex);
	follow->loads++;
	SpinLockRelease(&follow->mutex);
}

static void
follower_exit(int code, Datum arg)
{
	gs_source_after_error();
	pg_atomic_write_u64(&follow->applied, InvalidXLogRecPtr);
	set_state(GS_FOLLOW_STOPPED);
	pg_write_barrier();
	pg_atomic_write_u32(&follow->running, 0);
	ConditionVariableBroadcast(&follow->published);
}

/* ----------------------------------------------------------------
 *		The follower: a pass
 * ----------------------------------------------------------------
 */

static const GsRowSink sink = {.row = gs_groups_row,
							   .damaged = gs_groups_damaged,
							   .emptied = gs_groups_emptied};

static void
free_archived(void)
{
	bool any;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	any = db->narchived > 0;
	LWLockRelease(&db->queue_lock);
	if (any)
		(void) gs_table_free_archived(db, false, FREE_AT_ONCE);
}

/* A record was missing although nothing had been: perhaps we have missed it. */
static bool
needs_repair(TimestampTz now)
{
	GsGroupsStatus status;

	gs_groups_status(&status);
	if (status.holes == holes_seen)
		return false;
	holes_seen = status.holes;
	note_problem("a record of the journal is missing");
	return TimestampDifferenceExceeds(loaded_at, now, REPAIR_MS);
}

static void
note_emptied(void)
{
	for (int i = 0; i < 2; i++)
	{
		TransactionId xid = gs_source_storage_xid(i);
		uint64 full = TransactionIdIsNormal(xid)
						  ? U64FromFullTransactionId(gs_table_full_xid(xid))
						  : 0;

		pg_atomic_write_u64(&follow->emptied_by[i], full);
	}
}

/* What was read is in local memory: apply it. */
static void
apply(XLogRecPtr upto, TimestampTz at)
{
	XLogRecPtr before = last_upto;
	bool all;
	bool whole;

	changing = true;
	whole = gs_groups_apply(db, &all);
	changing = false;
	if (!whole)
		return; /* the process is about to end */
	last_upto = upto;
	free_archived();
	if (!all && before == InvalidXLogRecPtr)
		return; /* the load takes a second pass */
	if (pg_atomic_read_u32(&follow->state) == GS_FOLLOW_LOADING)
	{
		/* who waits for changes has missed what was loaded */
		gs_groups_tell();
		gs_feed_gap(db->dboid);
	}
	publish(all ? upto : before, at);
	set_state(GS_FOLLOW_FOLLOWING);
	failures = 0;
	if (needs_repair(at))
		start_load();
}

/* Returns how long to pause after it. */
static int
pass(void)
{
	static int idle_ms = ACTIVE_MS;
	TimestampTz at = GetCurrentTimestamp();
	XLogRecPtr upto = InvalidXLogRecPtr;
	GsSourceResult result;

	/* before it is looked at what has been replayed: that of who waits counts */
	bool awaited = gs_source_is_awaited();

	if (GetXLogReplayRecPtr(NULL) == pg_atomic_read_u64(&follow->applied))
	{
		if (awaited)
			gs_source_let_go();
		SpinLockAcquire(&follow->mutex);
		follow->applied_at = at;
		SpinLockRelease(&follow->mutex);
		free_archived();
		idle_ms =
			Min(idle_ms * 2, gs_feed_has_waiters(MyDatabaseId) ? ACTIVE_MS : IDLE_MS);
		return idle_ms;
	}
	idle_ms = ACTIVE_MS;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	result = gs_source_read(&sink, &upto);

	/* no snapshot of ours may be in replay's way */
	InvalidateCatalogSnapshot();
	if (result == GS_SOURCE_READ &&
		pg_atomic_read_u32(&follow->state) == GS_FOLLOW_LOADING)
		note_emptied();
	if (result == GS_SOURCE_READ)
		apply(upto, at);
	CommitTransactionCommand();
	MemoryContextSwitchTo(loop_context);
	switch (result)
	{
		case GS_SOURCE_READ:
			break;
		case GS_SOURCE_BUSY:
			if (pg_atomic_read_u32(&follow->state) == GS_FOLLOW_FOLLOWING)
				set_state(GS_FOLLOW_BLOCKED);
			return BUSY_MS;
		case GS_SOURCE_REWRITTEN:
			start_load();
			return 0;
		case GS_SOURCE_GONE:
			drop_games();
			proc_exit(0);
	}
	return pg_atomic_read_u64(&follow->applied) < upto ? 0 : ACTIVE_MS;
}

/* ----------------------------------------------------------------
 *		The follower: failures
 * ----------------------------------------------------------------
 */

/* Replay, or somebody with pg_cancel_backend(), wanted us out of the way. */
static bool
is_conflict(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		   error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK;
}

/* A block that cannot be read is left out, as a damaged row is. */
static bool
leave_out_block(const ErrorData *error)
{
	ItemPointerData tid;
	int table;

	if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
			ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR))
		return false;
	if (!gs_source_leave_out_block(&table, &tid))
		return false;
	note_problem(error->message);
	gs_groups_count_problem();
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("block %u of journal table \"journal_%d\" is skipped",
					ItemPointerGetBlockNumber(&tid), table),
			 errdetail("%s.", error->message)));
	return true;
}

/* Returns how long to pause. */
static int
failed(const ErrorData *error)
{
	bool was_changing = changing;
	int pause_ms;

	changing = false;
	if (!was_changing)
	{
		if (is_conflict(error))
			return BUSY_MS;
		if (leave_out_block(error))
			return 0;
	}

	pause_ms = gs_worker_backoff(++failures);
	note_problem(error->message);
	set_state(GS_FOLLOW_FAILED);
	drop_games();
	ConditionVariableBroadcast(&follow->published);

	/* often in vain: then do not say it each time */
	ereport(failures == 1 ? WARNING : DEBUG1,
			(errcode(error->sqlerrcode),
			 errmsg("could not follow the journal: %s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Running games of this database cannot be read on this standby; it is tried again in %d s, and then with growing pauses.%s%s",
					 pause_ms / 1000, error->hint ? " " : "", error->hint ? error->hint : "")));
	return pause_ms;
}

/* ----------------------------------------------------------------
 *		The follower: the process
 * ----------------------------------------------------------------
 */

static void
handle_interrupts(void)
{
	ResetLatch(MyLatch);
	if (ProcDiePending || !RecoveryInProgress())
		proc_exit(0);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!gs_standby_reads)
	{
		drop_games();
		proc_exit(0);
	}
}

static int
guarded_pass(void)
{
	volatile int pause_ms = 0;

	PG_TRY();
	{
		CHECK_FOR_INTERRUPTS();
		if (pg_atomic_read_u32(&follow->state) == GS_FOLLOW_FAILED)
			start_load();
		pause_ms = pass();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(loop_context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		LWLockReleaseAll();
		gs_source_after_error();
		MemoryContextSwitchTo(loop_context);
		pause_ms = failed(error);
	}
	PG_END_TRY();
	return pause_ms;
}

/* After a failure readers cannot hurry us; otherwise they can. */
static void
sleep_ms(int ms)
{
	bool paused = pg_atomic_read_u32(&follow->state) == GS_FOLLOW_FAILED;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	if (ms == 0)
		return;
	pgstat_report_activity(STATE_IDLE, NULL);
	do
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
																until)),
						 PG_WAIT_EXTENSION);
		handle_interrupts();
	} while (paused && GetCurrentTimestamp() < until);
}

void
gs_follower_main(Datum main_arg)
{
	slot = gs_worker_start("gamestate follower", true);
	SetConfigOption("gamestate.quota", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	db = gs_my_database();
	follow = follow_of(db);
	pg_atomic_write_u32(&follow->running, 1);
	on_shmem_exit(follower_exit, (Datum) 0);
	pg_memory_barrier();
	loop_context = AllocSetContextCreate(TopMemoryContext, "gamestate follower",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(loop_context);

	/* after a promotion nothing is to be dropped, it may be loaded already */
	handle_interrupts();
	start_load();
	for (;;)
	{
		MemoryContextReset(loop_context);
		handle_interrupts();
		pgstat_report_activity(STATE_RUNNING, "following the journal");
		sleep_ms(guarded_pass());
	}
}

/* ----------------------------------------------------------------
 *		gamestate.stat_standby
 * ----------------------------------------------------------------
 */

#define STAT_STANDBY_COLUMNS 12

/* One row on a standby, none on a primary. */
Datum
gs_stat_standby(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[STAT_STANDBY_COLUMNS];
	bool nulls[STAT_STANDBY_COLUMNS] = {0};
	GsFollow *mine;
	GsFollow copy;
	XLogRecPtr applied;
	XLogRecPtr replayed;
	TimestampTz now = GetCurrentTimestamp();
	int i = 0;

	gs_attach();
	InitMaterializedSRF(fcinfo, 0);
	if (!RecoveryInProgress())
		return (Datum) 0;
	mine = follow_of(gs_my_database());
	if (pg_atomic_read_u32(&mine->running) == 0 && gs_standby_reads)
		gs_worker_request_look(MyDatabaseId);
	SpinLockAcquire(&mine->mutex);
	copy = *mine;
	SpinLockRelease(&mine->mutex);
	applied = pg_atomic_read_u64(&mine->applied);
	replayed = GetXLogReplayRecPtr(NULL);

	values[i++] = CStringGetTextDatum(
		gs_standby_reads ? state_name(pg_atomic_read_u32(&mine->state)) : "off");
	values[i] = LSNGetDatum(applied);
	nulls[i++] = applied == InvalidXLogRecPtr;
	values[i++] = LSNGetDatum(replayed);
	values[i] = Int64GetDatum(replayed > applied ? replayed - applied : 0);
	nulls[i++] = applied == InvalidXLogRecPtr;
	values[i] = Float8GetDatum(replayed > applied && now > copy.applied_at
								   ? (now - copy.applied_at) / 1000.0
								   : 0.0);
	nulls[i++] = applied == InvalidXLogRecPtr;
	values[i++] = Int64GetDatum(copy.transactions);
	values[i++] = Int64GetDatum(copy.pending);
	values[i++] = Int64GetDatum(copy.loads);
	values[i++] = Int64GetDatum(copy.scans);
	values[i++] = Int64GetDatum(copy.problems);
	if (copy.last_problem_at != 0)
		values[i] = CStringGetTextDatum(copy.last_problem);
	nulls[i++] = copy.last_problem_at == 0;
	values[i] = TimestampTzGetDatum(copy.last_problem_at);
	nulls[i++] = copy.last_problem_at == 0;
	Assert(i == STAT_STANDBY_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}
