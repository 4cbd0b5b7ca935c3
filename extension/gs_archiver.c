/*-------------------------------------------------------------------------
 *
 * gs_archiver.c
 *	  The process that moves one database's finished games to the archive.
 *
 * The model:
 *	1. A worker that the launcher starts (gs_launcher.c) looks whether its
 *	   database has the extension.  If so it becomes the archiver, if there is
 *	   none yet, by claiming the database's worker slot.
 *	2. It sleeps until a game is over (gs_worker_wake_archiver()).  A pass then
 *	   goes through the queue (gs_archiver_pass.c).  The queue is in shared
 *	   memory, so nothing is lost whatever fails.
 *	3. The journal needs somebody, too: the archiver loads the games after a
 *	   start, and, between batches and whenever it is due, extends the active
 *	   table and rotates a little (gs_rotate.c).
 *	4. When the queue is done: the partitions that will be needed next are
 *	   looked at (gs_place.c), and archived games
 *	   are freed as soon as no snapshot needs them in memory.
 *
 * No transaction, lock or snapshot is held while sleeping.  SQL runs only
 * inside gs_worker_begin()/gs_worker_commit(), that is without superuser's
 * rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver.h"
#include "gs_archiver_parts.h"
#include "gs_config.h"
#include "gs_delay.h"
#include "gs_give_way.h"
#include "gs_idle.h"
#include "gs_journal.h"
#include "gs_load.h"
#include "gs_place.h"
#include "gs_rules.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/*
 * Under load a pass does not start earlier than so long after the one before,
 * so that there is more than a game or two in a batch.
 */
#define PASS_INTERVAL_MS 10

/* First and longest wait before archived games are tried to be freed again. */
#define FREE_FIRST_MS 50
#define FREE_LAST_MS  2000

/* How often it is seen whether memory is short while games are delayed. */
#define PRESSURE_LOOK_MS 1000

/* How often keeping what is damaged in the journal is tried, and how long it waits for a lock. */
#define DAMAGE_TRIES	5
#define LOCK_TIMEOUT_MS 1000

GsArchiverProcess GsArchiver = {.busy_delay = GS_BUSY_FIRST_MS};

static int free_delay = FREE_FIRST_MS;
static TimestampTz ahead_retry_at = 0;
static int ahead_failures = 0;
static TimestampTz rules_due = 0;
static TimestampTz journal_due = 0;
static int journal_failures = 0;
static int damage_tries = 0;

/* what was said last */
static GsComplaint ahead_complaint;
static GsComplaint journal_complaint;

/* ----------------------------------------------------------------
 *		What is done when the queue is done
 * ----------------------------------------------------------------
 */

static void
look_ahead(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = gs_place_next_due();

	if (due == 0 || due > now || ahead_retry_at > now)
		return;
	PG_TRY();
	{
		gs_place_look_ahead();
		ahead_failures = 0;
		ahead_retry_at = 0;
	}
	PG_CATCH();
	{
		ErrorData *error = gs_failures_take();
		int pause_ms = gs_worker_backoff(++ahead_failures);

		gs_place_forget();
		ahead_retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
		/* in the way of a reader for a moment is no news */
		if (ahead_failures > 3)
			gs_failures_complain(&ahead_complaint, error,
								 "look at the next partitions of the archive", pause_ms);
	}
	PG_END_TRY();
}

static bool
is_loaded(void)
{
	return pg_atomic_read_u32(&GsArchiver.db->load_state) == GS_LOAD_DONE;
}

/* So that the games are there before anybody asks for them. */
static void
load_games(void)
{
	if (is_loaded())
		return;
	pgstat_report_activity(STATE_RUNNING, "loading games");
	gs_worker_begin(0);
	gs_load(GsArchiver.db, 0);
	gs_worker_commit();
}

/*
 * Before a rotation empties the table where it stands.  When it cannot be kept
 * it has still been reported, and the journal must not grow for ever.
 */
static void
keep_damage(void)
{
	if (pg_atomic_read_u32(&GsArchiver.db->load.has_unkept) == 0)
		return;
	pgstat_report_activity(STATE_RUNNING, "keeping what is damaged in the journal");
	if (++damage_tries <= DAMAGE_TRIES)
	{
		gs_worker_begin(LOCK_TIMEOUT_MS);
		gs_load_keep_damage(GsArchiver.db);
		gs_worker_commit();
	}
	pg_atomic_write_u32(&GsArchiver.db->load.has_unkept, 0);
	damage_tries = 0;
}

/*
 * What the journal needs, when it is due.  It is no reason for this process to
 * end.
 */
void
gs_archiver_keep_journal(void)
{
	if (journal_due > GetCurrentTimestamp() &&
		(journal_failures > 0 || !gs_pages_wanted(GsArchiver.db)))
		return;
	PG_TRY();
	{
		load_games();
		keep_damage();
		gs_rotate_make_room(GsArchiver.db);
		journal_due = gs_rotate(GsArchiver.db);
		journal_failures = 0;
	}
	PG_CATCH();
	{
		ErrorData *error = gs_failures_take();
		int pause_ms = gs_worker_backoff(++journal_failures);

		journal_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
		gs_failures_complain(&journal_complaint, error,
							 is_loaded() ? "rotate the journal"
										 : "load games from the journal",
							 pause_ms);
	}
	PG_END_TRY();
}

/* Returns whether archived games are left in memory. */
static bool
free_archived(void)
{
	bool left;

	gs_pass_free_archived();
	LWLockAcquire(&GsArchiver.db->queue_lock, LW_SHARED);
	left = GsArchiver.db->narchived > 0;
	LWLockRelease(&GsArchiver.db->queue_lock);
	return left;
}

static void
earlier(TimestampTz *at, TimestampTz other)
{
	if (other != 0 && (*at == 0 || other < *at))
		*at = other;
}

/* Sleep until there is something to do. */
static void
sleep_until_due(bool free_again)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = gs_place_next_due();
	bool paused = GsArchiver.paused_until > now;
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long ms = 0;

	if (due != 0 && ahead_retry_at > due)
		due = ahead_retry_at;
	if (paused)
		earlier(&due, GsArchiver.paused_until);
	else
		earlier(&due, GsArchiver.pass.retry_at);
	earlier(&due, journal_due);
	earlier(&due, rules_due);
	if (free_again)
	{
		earlier(&due, TimestampTzPlusMilliseconds(now, free_delay));
		free_delay = Min(free_delay * 2, FREE_LAST_MS);
	}
	else
		free_delay = FREE_FIRST_MS;
	if (due != 0)
	{
		events |= WL_TIMEOUT;
		ms = Max(1, TimestampDifferenceMilliseconds(now, due));
	}

	/* while we pause, games that end have nothing to tell us */
	gs_worker_wakeable(GsArchiver.slot, !paused);
	if (GsArchiver.db->journal_two)
		pgstat_report_activity(STATE_RUNNING, "rotating the journal");
	else
		pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(!GsArchiver.db->journal_two);
	(void) WaitLatch(MyLatch, events, ms, PG_WAIT_EXTENSION);
	gs_worker_wakeable(GsArchiver.slot, true);
}

/* Games come faster than we are: let some more come. */
static void
wait_for_more(TimestampTz pass_start)
{
	long passed = TimestampDifferenceMilliseconds(pass_start, GetCurrentTimestamp());

	if (passed < PASS_INTERVAL_MS)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 PASS_INTERVAL_MS - passed, PG_WAIT_EXTENSION);
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */

/* Games that are to be put away later, and those that nobody plays. */
static void
keep_rules(void)
{
	bool pressure = gs_rules_pressure(GsArchiver.db);
	bool changed = gs_rules_refresh();

	if (changed)
		gs_idle_reset();
	rules_due = gs_delay_release(GsArchiver.db, changed || pressure);
	earlier(&rules_due, gs_idle_run(GsArchiver.db));

	/* while games are delayed somebody has to see that memory becomes short */
	if (GsArchiver.db->ndelayed > 0)
		earlier(&rules_due,
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PRESSURE_LOOK_MS));
}

static void
turn(void)
{
	TimestampTz start = GetCurrentTimestamp();
	bool left = false;

	GsArchiver.turn_context = GsArchiver.loop_context;
	MemoryContextSwitchTo(GsArchiver.loop_context);
	MemoryContextReset(GsArchiver.loop_context);
	GsArchiver.pass.archived = 0;
	if (GsArchiver.look_for_extension)
	{
		GsArchiver.look_for_extension = false;
		if (!gs_worker_extension_exists())
			proc_exit(0);
	}
	gs_archiver_keep_journal();
	if (ProcDiePending)
		return;
	keep_rules();
	if (gs_failures_resume())
		gs_pass_forget();
	if (GsArchiver.paused_until <= start)
	{
		pgstat_report_activity(STATE_RUNNING, "archiving games");
		gs_pass_run();
		if (ProcDiePending)
			return;
		look_ahead();
	}
	left = free_archived();
	if (GsArchiver.pass.archived > 0)
		wait_for_more(start);
	sleep_until_due(left);
}

/*
 * A failure outside of a batch (out of memory, say) must not end the process:
 * what it knows about failing games would be lost.
 */
static void
guarded_turn(void)
{
	PG_TRY();
	{
		turn();
	}
	PG_CATCH();
	{
		ErrorData *error;

		GsArchiver.turn_context = GsArchiver.loop_context;
		error = gs_failures_take();
		gs_pass_forget();
		gs_failures_pause_all(error);
	}
	PG_END_TRY();
}

static void
initialize(void)
{
	gs_failures_init();
	gs_give_way_init();
	gs_place_init();
	GsArchiver.loop_context =
		AllocSetContextCreate(TopMemoryContext, "gamestate archiver turn",
							  ALLOCSET_DEFAULT_SIZES);
}

void
gs_archiver_main(Datum main_arg)
{
	GsArchiver.slot = gs_worker_start("gamestate archiver", false);
	GsArchiver.db = gs_my_database();
	initialize();

	for (;;)
	{
		gs_worker_interrupts(&gs_archiver);
		guarded_turn();
	}
}