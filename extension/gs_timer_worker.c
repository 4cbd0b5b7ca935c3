/*-------------------------------------------------------------------------
 *
 * gs_timer_worker.c
 *	  The process that sets off what is due in one database.
 *
 * The model:
 *	1. A worker beside the archiver, which exists only while there is something
 *	   to time in its database: the first timer makes the launcher start it
 *	   (gs_timer.c), and when the queue has been empty for a while it leaves, so
 *	   that it takes no worker slot from others.
 *	2. It sleeps until the first timer is due or somebody sets an earlier one.
 *	   Then it takes out what is due, and calls the functions of their kinds, for
 *	   many timers at once: one transaction, and one wait for the disk, serves
 *	   all games whose deadlines pass at about the same time.
 *	3. A function that fails with many is called for each of them alone, so that
 *	   one cannot keep others from being set off.  What fails alone is tried
 *	   again after a pause that doubles.  The same complaint is logged seldom.
 *	4. What has been taken out is put back if this process ends in between; if the
 *	   server does, it is set again when games are loaded.
 *
 * No transaction, lock or snapshot is held while sleeping.  No commit here waits for a
 * standby: one that is away must not keep deadlines, players and leases of
 * others waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_deadline.h"
#include "gs_presence.h"
#include "gs_lease.h"
#include "gs_timer.h"
#include "gs_worker.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Timers taken at once. */
#define TAKE_MAX 200

/* It looks at the clock at least so often: that may be set. */
#define LOOK_MS 5000

/* With an empty queue it stays for so long. */
#define IDLE_MS 10000

/* The same complaint is logged so often at most. */
#define WARNING_MS (10 * 60 * 1000)

static const GsTimerClass classes[GS_TIMER_KINDS] = {
	[GS_TIMER_DEADLINE] = {"set off a deadline", gs_deadline_run, gs_deadline_again},
	[GS_TIMER_PRESENCE] = {"look after a player's absence", gs_presence_run,
						   gs_presence_again},
	[GS_TIMER_LEASE] = {"end leases", gs_lease_run, gs_lease_again},
};

static GsDatabase *db = NULL;
static GsWorkerSlot *slot = NULL;
static MemoryContext turn_context = NULL;

/* out of the queue, and perhaps not dealt with yet */
static GsTimerDue taken[TAKE_MAX];
static int ntaken = 0;

static TimestampTz idle_since = 0; /* 0 = it is not */

static TimestampTz warned_at = 0;
static char warned[GS_WORKER_ERROR_LEN];

/* In a PG_CATCH block: take the error, end the transaction. */
static ErrorData *
take_error(void)
{
	ErrorData *error = gs_worker_take_error(turn_context);

	QueryCancelPending = false;
	gs_worker_failed(slot, error);
	return error;
}

static void
complain(const GsTimerClass *class, const ErrorData *error)
{
	TimestampTz now = GetCurrentTimestamp();

	if (strncmp(warned, error->message, GS_WORKER_ERROR_LEN - 1) == 0 &&
		!TimestampDifferenceExceeds(warned_at, now, WARNING_MS))
		return;
	strlcpy(warned, error->message, sizeof(warned));
	warned_at = now;
	ereport(WARNING, (errcode(error->sqlerrcode),
					  errmsg("could not %s: %s", class->what, error->message),
					  error->detail ? errdetail_internal("%s", error->detail) : 0,
					  errhint("It is tried again.%s%s", error->hint ? " " : "",
							  error->hint ? error->hint : ""),
					  error->context ? errcontext("%s", error->context) : 0));
}

/* Returns the error, or NULL. */
static ErrorData *
try_timers(const GsTimerClass *class, const GsTimerDue *due, int n)
{
	ErrorData *volatile error = NULL;
	volatile int done = 0;

	PG_TRY();
	{
		done = class->run(db, due, n);
	}
	PG_CATCH();
	{
		error = take_error();
	}
	PG_END_TRY();
	if (done > 0)
	{
		LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
		slot->batches++;
		slot->games += done;
		LWLockRelease(GsShmem->slots_lock);
	}
	return error;
}

static void
run_timers(const GsTimerClass *class, const GsTimerDue *due, int n)
{
	if (n == 0 || try_timers(class, due, n) == NULL)
		return;
	for (int i = 0; i < n; i++)
	{
		ErrorData *error = try_timers(class, &due[i], 1);

		if (error == NULL)
			continue;
		class->again(db, &due[i], true);
		complain(class, error);
	}
}

/* Timers of each kind together; the order within a kind is kept. */
static void
run_taken(void)
{
	GsTimerDue *same = palloc(sizeof(GsTimerDue) * ntaken);

	for (int kind = 0; kind < GS_TIMER_KINDS; kind++)
	{
		int n = 0;

		for (int i = 0; i < ntaken; i++)
			if (taken[i].kind == kind)
				same[n++] = taken[i];
		run_timers(&classes[kind], same, n);
	}
	ntaken = 0;
}

/* Set off all that is due; what becomes due meanwhile is left for the next turn. */
static void
turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int max = Min(TAKE_MAX, gs_max_games_per_transaction);

	while (!ProcDiePending && (ntaken = gs_timers_take(db, now, taken, max)) > 0)
	{
		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);
		idle_since = 0;
		pgstat_report_activity(STATE_RUNNING, "setting off what is due");
		run_taken();
		MemoryContextSwitchTo(TopMemoryContext);
	}
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */

/* Transaction and locks are gone, shared memory is still there. */
static void
timer_exit(int code, Datum arg)
{
	for (int i = 0; i < ntaken; i++)
		classes[taken[i].kind].again(db, &taken[i], false);
	ntaken = 0;
	(void) gs_timers_end(db, false);
}

static void
sleep_until_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	long ms = LOOK_MS;

	if (!gs_timers_sleep(db, now, &next))
		return;
	if (next != DT_NOEND)
	{
		idle_since = 0;
		ms = Min(ms, TimestampDifferenceMilliseconds(now, next));
	}
	else if (idle_since == 0)
		idle_since = now;
	else if (TimestampDifferenceExceeds(idle_since, now, IDLE_MS) &&
			 gs_timers_end(db, true))
		proc_exit(0);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(false);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(ms, 1),
					 PG_WAIT_EXTENSION);
}

/* While no game may be changed nothing is set off; a reload wakes us. */
static void
pause_while_disabled(void)
{
	gs_worker_set_state(slot, GS_WORKER_PAUSED);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
	if (gs_enabled)
		gs_worker_set_state(slot, GS_WORKER_RUNNING);
}

void
gs_timer_main(Datum main_arg)
{
	slot = gs_worker_start("gamestate timer", false);
	db = gs_my_database();
	turn_context = AllocSetContextCreate(TopMemoryContext, "gamestate timer turn",
										 ALLOCSET_DEFAULT_SIZES);
	on_shmem_exit(timer_exit, (Datum) 0);
	gs_timers_begin(db);

	for (;;)
	{
		gs_worker_interrupts(&gs_timer_enabled);
		if (!gs_enabled)
		{
			pause_while_disabled();
			continue;
		}
		turn();
		sleep_until_due();
	}
}
