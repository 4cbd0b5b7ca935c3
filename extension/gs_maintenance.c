/*-------------------------------------------------------------------------
 *
 * gs_maintenance.c
 *	  The process that looks after one database's archive, so that archiving
 *	  never waits for that.
 *
 * The model:
 *	1. A worker beside the archiver (gs_launcher.c).  It has a list of tasks.
 *	   Each is run when it is due, in transactions of its own, and says nothing
 *	   when there was nothing to do.
 *	2. All tasks are due once in gamestate.maintenance_interval, and when the
 *	   worker is woken (gs_worker_wake_maintenance()): policies have changed, a
 *	   type is to be promoted.
 *	   One that has more to do is due again when the others had their turn.
 *	3. A task that fails is tried again after a pause that doubles; the others
 *	   are not held up by it.  The same complaint is logged seldom.
 *
 * No transaction, lock or snapshot is held while sleeping.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_ahead.h"
#include "gs_config.h"
#include "gs_deleted.h"
#include "gs_freeze.h"
#include "gs_idle.h"
#include "gs_maintenance.h"
#include "gs_promote.h"
#include "gs_ranking.h"
#include "gs_retention.h"
#include "gs_repack.h"
#include "gs_tablespace.h"
#include "gs_train.h"
#include "gs_worker.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* The same complaint is logged so often at most. */
#define WARNING_MS (10 * 60 * 1000)

typedef struct Task
{
	const char *what; /* "could not ..." */
	void (*run)(MemoryContext mcxt);
	TimestampTz due;
	int failures; /* in a row */
	TimestampTz warned_at;
	char warned[GS_WORKER_ERROR_LEN];
} Task;

static Task tasks[] = {
	{.what = "make partitions ahead", .run = gs_ahead_run},
	{.what = "remove partitions that are no longer kept", .run = gs_retention_run},
	{.what = "train compression dictionaries", .run = gs_train_run},
	{.what = "repack a partition", .run = gs_repack_run},
	{.what = "move a game type to partitions of its own", .run = gs_promote_run},
	{.what = "freeze a partition", .run = gs_freeze_run},
	{.what = "remove files of partitions that are gone", .run = gs_freeze_clean_run},
	{.what = "make rankings of players", .run = gs_ranking_run},
	{.what = "move old partitions to their tablespace", .run = gs_tablespace_run},
	{.what = "abandon suspended games", .run = gs_idle_abandon_suspended},
	{.what = "forget requests of deleted games", .run = gs_deleted_purge},
};

static GsWorkerSlot *slot = NULL;
static MemoryContext task_context = NULL;
static bool again = false; /* the running task has more to do */

/* In a PG_CATCH block: take the error, end the transaction, say it. */
static void
task_failed(Task *task)
{
	TimestampTz now = GetCurrentTimestamp();
	int pause_ms = gs_worker_backoff(++task->failures);
	ErrorData *error = gs_worker_take_error(task_context);

	QueryCancelPending = false;
	task->due = TimestampTzPlusMilliseconds(now, pause_ms);
	gs_worker_failed(slot, error);

	/* in the way of somebody for a moment is no news */
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && task->failures <= 3)
		return;
	if (strncmp(task->warned, error->message, GS_WORKER_ERROR_LEN - 1) == 0 &&
		!TimestampDifferenceExceeds(task->warned_at, now, WARNING_MS))
		return;
	strlcpy(task->warned, error->message, sizeof(task->warned));
	task->warned_at = now;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not %s: %s", task->what, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("It is tried again in %d s.%s%s", pause_ms / 1000,
					 error->hint ? " " : "", error->hint ? error->hint : ""),
			 error->context ? errcontext("%s", error->context) : 0));
}

void
gs_maintenance_again(void)
{
	again = true;
}

/* NULL, or why it cannot be done now. */
static ErrorData *
try_step(void (*step)(void *element), void *element, MemoryContext mcxt)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		step(element);
	}
	PG_CATCH();
	{
		error = gs_worker_take_error(mcxt);
	}
	PG_END_TRY();
	return error;
}

void
gs_maintenance_each(const List *elements, void (*step)(void *element), bool one,
					MemoryContext mcxt)
{
	ErrorData *first = NULL;
	ListCell *cell;

	foreach (cell, elements)
	{
		ErrorData *error = try_step(step, lfirst(cell), mcxt);

		CHECK_FOR_INTERRUPTS();
		if (first == NULL)
			first = error;
		if (one && error == NULL && lnext(elements, cell) != NULL)
		{
			gs_maintenance_again();
			break;
		}
	}
	if (first != NULL)
		ReThrowError(first);
}

static void
run_task(Task *task)
{
	MemoryContextSwitchTo(task_context);
	MemoryContextReset(task_context);
	PG_TRY();
	{
		pgstat_report_activity(STATE_RUNNING, task->what);
		again = false;
		task->run(task_context);
		task->failures = 0;
		task->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												again ? 0 : gs_maintenance_interval);
	}
	PG_CATCH();
	{
		task_failed(task);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_stat(true);
}

/* Run what is due; returns when the next task will be. */
static TimestampTz
turn(void)
{
	TimestampTz next = 0;

	for (int i = 0; i < (int) lengthof(tasks) && !ProcDiePending; i++)
	{
		if (tasks[i].due <= GetCurrentTimestamp())
			run_task(&tasks[i]);
		if (next == 0 || tasks[i].due < next)
			next = tasks[i].due;
	}
	return next;
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */

static void
sleep_until(TimestampTz due)
{
	long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);

	pgstat_report_activity(STATE_IDLE, NULL);
	if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(ms, 1),
				  PG_WAIT_EXTENSION) &
		WL_LATCH_SET)
	{
		/* woken: everything is due that does not pause after a failure */
		for (int i = 0; i < (int) lengthof(tasks); i++)
			if (tasks[i].failures == 0)
				tasks[i].due = 0;
	}
}

void
gs_maintenance_main(Datum main_arg)
{
	slot = gs_worker_start("gamestate maintenance", false);
	task_context = AllocSetContextCreate(TopMemoryContext, "gamestate maintenance task",
										 ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		gs_worker_interrupts(&gs_maintenance);
		sleep_until(turn());
	}
}
