/*-------------------------------------------------------------------------
 *
 * gs_launcher.c
 *	  The process that starts a worker for each database that needs one.
 *
 * The model:
 *	1. The launcher is connected to no database and reads shared catalogs
 *	   only.  So it cannot see whether a database has the extension: it starts
 *	   a worker there (gs_archiver_main()), which looks and either becomes the
 *	   database's archiver or exits.
 *	2. What a worker found is remembered by database oid in local memory
 *	   ("no extension": leave it alone until told otherwise).  A restarted
 *	   launcher asks all databases again.
 *	3. It is told by gs_worker_request_look(): an extension was created, a drop
 *	   was rolled back.  New databases it finds itself: CREATE DATABASE wakes
 *	   it, and it reads pg_database each time it wakes, at least once in
 *	   RESCAN_MS.
 *	4. Workers exist as shared memory says (worker slots and launches, see
 *	   gs_worker.h), not as the launcher remembers: archivers outlive it.
 *	   On a hot standby the workers are followers (gs_follow.c).  Nobody tells the
 *	   launcher there what the primary does: databases that are gone leave
 *	   memory when it reads pg_database, a reader who misses a follower asks for
 *	   one, and the end of recovery is looked for while it sleeps.
 *	5. A worker that fails is started again after a pause that doubles; one
 *	   that was sent away is started as soon as nobody bars it.
 *
 * Besides, it does what light commits leave to be done a little later
 * (gs_tick.c).  The launcher must not wait for a worker, and it holds no lock and no
 * snapshot while it sleeps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_follow.h"
#include "gs_launcher.h"
#include "gs_tick.h"
#include "gs_timer.h"
#include "gs_worker.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* How often to read pg_database when nobody asks for it. */
#define RESCAN_MS 60000

/* Nobody asked, but something woke us: not more often than this. */
#define LOOK_AGAIN_MS 200

/* How often a launcher on a standby looks whether that was promoted. */
#define PROMOTION_MS 500

/* The launcher itself, after it failed. */
#define RESTART_SECONDS 5

/* "no free worker slot" is said so often at most, of each kind of worker. */
#define NO_SLOT_WARNING_MS (10 * 60 * 1000)

/* An archiver that ran so long starts with a clean record. */
#define GOOD_RUN_MS 60000

/* What the launcher knows about a worker of a database. */
typedef struct KnownWorker
{
	bool was_running;	  /* it ran when we looked last */
	int failures;		  /* in a row */
	TimestampTz next_try; /* 0 = now */
} KnownWorker;

/* What the launcher knows about a database. */
typedef struct KnownDatabase
{
	Oid dboid; /* hash key */
	bool seen; /* in this scan of pg_database */
	bool no_extension;
	bool ask_again; /* asked to look since the last worker was launched */
	KnownWorker workers[GS_WORKER_ROLES];
} KnownDatabase;

static HTAB *databases = NULL;
static MemoryContext turn_context = NULL;

/* Was this a standby at the last turn? */
static bool on_standby = false;

/* Handles of our launches; NULL for those of a launcher before us. */
static BackgroundWorkerHandle *handles[GS_MAX_LAUNCHES];

static TimestampTz no_slot_warnings[2][GS_WORKER_ROLES]; /* on a standby or not */

/* when we shall look for databases, and have looked last */
static TimestampTz look_at = 0;
static TimestampTz looked_at = 0;

/* Static, so that it is zeroed and no field is forgotten. */
static BackgroundWorker worker;

void
gs_launcher_register(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;

	/* on a hot standby, too */
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "gamestate", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "gs_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "gamestate launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "gamestate launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* ----------------------------------------------------------------
 *		What is known
 * ----------------------------------------------------------------
 */

static void
make_databases(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(KnownDatabase);
	databases =
		hash_create("gamestate launcher's databases", 64, &ctl, HASH_ELEM | HASH_BLOBS);
}

static KnownDatabase *
known(Oid dboid)
{
	bool found;
	KnownDatabase *entry = hash_search(databases, &dboid, HASH_ENTER, &found);

	if (!found)
		memset((char *) entry + sizeof(Oid), 0, sizeof(*entry) - sizeof(Oid));
	return entry;
}

static void
failed(KnownWorker *known_worker)
{
	known_worker->failures++;
	known_worker->next_try =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									gs_worker_backoff(known_worker->failures));
}

/* Forget about failures. */
static void
clear(KnownDatabase *entry)
{
	memset(entry->workers, 0, sizeof(entry->workers));
}

static void
take_requests(void)
{
	Oid dboids[GS_MAX_REQUESTS];
	bool all;
	int n = gs_worker_take_requests(dboids, GS_MAX_REQUESTS, &all);

	for (int i = 0; i < n; i++)
	{
		KnownDatabase *entry = known(dboids[i]);

		entry->no_extension = false;
		entry->ask_again = true;
		entry->workers[GS_ROLE_GAMES].next_try = 0;
	}
	if (all)
	{
		HASH_SEQ_STATUS scan;
		KnownDatabase *entry;

		hash_seq_init(&scan, databases);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			entry->no_extension = false;
			entry->ask_again = true;
		}
	}
}

/* Databases of which something is in memory; returns how many. */
static int
databases_in_memory(Oid *dboids)
{
	int n = 0;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	for (int i = 0; i < gs_max_databases; i++)
	{
		Oid dboid = gs_database_by_index(i)->dboid;

		if (OidIsValid(dboid))
			dboids[n++] = dboid;
	}
	LWLockRelease(GsShmem->slots_lock);
	return n;
}

/* On a standby nobody else notices that a database was dropped. */
static void
forget_databases(const Oid *dboids, int n, const Oid *existing, int nexisting)
{
	for (int i = 0; i < n; i++)
	{
		bool exists = false;
		GsDatabase *db;

		for (int j = 0; j < nexisting && !exists; j++)
			exists = existing[j] == dboids[i];
		if (exists || (db = gs_database_find(dboids[i], false)) == NULL)
			continue;
		gs_attach();
		gs_follow_forget_database(db);
	}
}

/* Mark the databases in which a worker could run; forget those that are gone. */
static void
read_pg_database(void)
{
	HASH_SEQ_STATUS hash_scan;
	KnownDatabase *entry;
	MemoryContext old = CurrentMemoryContext;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	Oid *in_memory = palloc(sizeof(Oid) * gs_max_databases);
	Oid *existing = NULL;
	int nin_memory = 0;
	int nexisting = 0;
	int size = 0;

	/* first this: who has games by now is in pg_database as we shall see it */
	if (on_standby)
		nin_memory = databases_in_memory(in_memory);

	hash_seq_init(&hash_scan, databases);
	while ((entry = hash_seq_search(&hash_scan)) != NULL)
		entry->seen = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (nexisting == size)
		{
			size = Max(64, size * 2);
			existing = existing ? repalloc(existing, sizeof(Oid) * size)
								: MemoryContextAlloc(old, sizeof(Oid) * size);
		}
		existing[nexisting++] = form->oid;

		/* the first leaves out template0; the second what a failed DROP left */
		if (form->datallowconn && form->datconnlimit != GS_DATCONNLIMIT_INVALID)
			known(form->oid)->seen = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);

	hash_seq_init(&hash_scan, databases);
	while ((entry = hash_seq_search(&hash_scan)) != NULL)
	{
		if (!entry->seen)
			(void) hash_search(databases, &entry->dboid, HASH_REMOVE, NULL);
	}
	forget_databases(in_memory, nin_memory, existing, nexisting);
}

/* ----------------------------------------------------------------
 *		Launches
 * ----------------------------------------------------------------
 */

static GsWorkerSlot *
nth_slot(int i)
{
	return gs_worker_slot(gs_database_by_index(i / GS_WORKER_ROLES), i % GS_WORKER_ROLES);
}

/*
 * The database has no extension (any more): its worker slots, if it has any,
 * are not shown.  The caller holds slots_lock exclusively.
 */
static void
forget_worker(Oid dboid)
{
	for (int i = 0; i < gs_max_databases * GS_WORKER_ROLES; i++)
	{
		GsWorkerSlot *slot = nth_slot(i);

		if (slot->dboid == dboid && slot->pid == 0)
			slot->dboid = InvalidOid;
	}
}

/* See what has become of the workers that were on their way. */
static void
settle_launches(void)
{
	for (int i = 0; i < GS_MAX_LAUNCHES; i++)
	{
		GsLaunch *launch = gs_worker_launch(i);
		GsLaunchState state;
		Oid dboid;
		pid_t pid;
		bool stopped;
		KnownDatabase *entry;
		KnownWorker *known_worker;

		/*
		 * Until the postmaster has noticed the end of a worker it keeps its
		 * place among max_worker_processes; it tells us when.
		 */
		stopped = handles[i] == NULL ||
				  GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED;
		LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
		state = launch->state;
		dboid = launch->dboid;
		if (state == GS_LAUNCH_REQUESTED && stopped)
			state = GS_LAUNCH_FAILED; /* never ran */
		if (state >= GS_LAUNCH_NO_EXTENSION && launch->pid == 0 &&
			(stopped || state == GS_LAUNCH_AT_WORK))
		{
			/* a worker that comes late finds another number */
			launch->number++;
			launch->state = GS_LAUNCH_FREE;
			launch->dboid = InvalidOid;
			if (state == GS_LAUNCH_NO_EXTENSION)
				forget_worker(dboid);
		}
		else
			state = GS_LAUNCH_FREE; /* nothing to settle */
		LWLockRelease(GsShmem->slots_lock);

		if (state == GS_LAUNCH_FREE)
			continue;
		if (handles[i])
		{
			pfree(handles[i]);
			handles[i] = NULL;
		}
		entry = known(dboid);
		known_worker = &entry->workers[launch->role];
		if (state == GS_LAUNCH_NO_EXTENSION)
		{
			/* a worker that looked before CREATE EXTENSION committed knows nothing */
			entry->no_extension = !entry->ask_again;
			clear(entry);
		}
		else if (state == GS_LAUNCH_AT_WORK)
			known_worker->was_running = true; /* even if it has ended already */
		else if (state == GS_LAUNCH_FAILED)
			failed(known_worker);
	}
}

/* What shared memory says about a database's worker. */
typedef struct WorkerStatus
{
	bool busy; /* there is one, or one is on its way */
	bool running;
	bool barred;
	bool clean_exit;
	TimestampTz started_at;
	int free_launch; /* -1 = none */
} WorkerStatus;

static WorkerStatus
look_up_worker(Oid dboid, GsWorkerRole role)
{
	WorkerStatus status = {.free_launch = -1};

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	status.barred = gs_worker_is_barred(dboid);
	for (int i = 0; i < gs_max_databases; i++)
	{
		GsWorkerSlot *slot = gs_worker_slot(gs_database_by_index(i), role);

		if (slot->dboid != dboid)
			continue;
		status.running = slot->pid != 0;
		status.clean_exit = slot->clean_exit;
		status.started_at = slot->started_at;
	}
	status.busy = status.running;
	for (int i = 0; i < GS_MAX_LAUNCHES; i++)
	{
		GsLaunch *launch = gs_worker_launch(i);

		if (launch->state == GS_LAUNCH_FREE)
			status.free_launch = i;
		else if (launch->dboid == dboid && launch->role == role)
			status.busy = true;
	}
	LWLockRelease(GsShmem->slots_lock);
	return status;
}

static void
set_slot_state(Oid dboid, GsWorkerRole role, GsWorkerState state)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < gs_max_databases; i++)
	{
		GsWorkerSlot *slot = gs_worker_slot(gs_database_by_index(i), role);

		if (slot->dboid == dboid && slot->pid == 0)
			slot->state = state;
	}
	LWLockRelease(GsShmem->slots_lock);
}

static const char *
worker_kind(GsWorkerRole role)
{
	if (role == GS_ROLE_MAINTENANCE)
		return "maintenance";
	if (role == GS_ROLE_TIMER)
		return "timer";
	return on_standby ? "follower" : "archiver";
}

static const char *
what_is_missing(GsWorkerRole role)
{
	if (role == GS_ROLE_MAINTENANCE)
		return "Nothing is dropped from the archive until the maintenance worker of the database runs.";
	if (role == GS_ROLE_TIMER)
		return "Deadlines, leases and absent players wait until the timer worker of the database runs.";
	if (on_standby)
		return "Running games cannot be read on this standby until the follower of their database runs.";
	return "Games that are over stay in memory until the archiver of their database runs.";
}

static void
no_worker_slot(Oid dboid, GsWorkerRole role)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz *warned_at = &no_slot_warnings[on_standby][role];

	set_slot_state(dboid, role, GS_WORKER_NO_SLOT);
	gs_worker_set_error(gs_worker_launcher_slot(), "no free background worker slot");
	if (*warned_at != 0 &&
		!TimestampDifferenceExceeds(*warned_at, now, NO_SLOT_WARNING_MS))
		return;
	*warned_at = now;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("no free background worker slot for gamestate %s", worker_kind(role)),
			 errdetail_internal("%s", what_is_missing(role)),
			 errhint("Raise max_worker_processes by one for the launcher and two for each database that has the extension gamestate, three where games have deadlines, leases or players who are watched, and restart the server.")));
}

/* Start a worker; false if the postmaster has no place for it. */
static bool
launch_worker(Oid dboid, GsWorkerRole role, int i)
{
	GsLaunch *launch = gs_worker_launch(i);
	GsLaunchArgument argument = {.launch = i, .dboid = dboid, .role = role};
	const char *main_function = role == GS_ROLE_MAINTENANCE ? "gs_maintenance_main"
								: role == GS_ROLE_TIMER		? "gs_timer_main"
								: on_standby				? "gs_follower_main"
															: "gs_archiver_main";
	MemoryContext old;
	bool registered;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time =
		on_standby ? BgWorkerStart_ConsistentState : BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART; /* the launcher does that */
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "gamestate", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, main_function, sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, "gamestate %s for database %u",
			 worker_kind(role), dboid);
	snprintf(worker.bgw_type, BGW_MAXLEN, "gamestate %s", worker_kind(role));

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	launch->state = GS_LAUNCH_REQUESTED;
	launch->dboid = dboid;
	launch->role = role;
	launch->pid = 0;
	argument.number = launch->number;
	LWLockRelease(GsShmem->slots_lock);
	memcpy(worker.bgw_extra, &argument, sizeof(argument));

	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &handles[i]);
	MemoryContextSwitchTo(old);
	if (!registered)
	{
		handles[i] = NULL;
		LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
		launch->state = GS_LAUNCH_FREE;
		launch->dboid = InvalidOid;
		launch->number++;
		LWLockRelease(GsShmem->slots_lock);
	}
	return registered;
}

static bool
has_timers(Oid dboid)
{
	GsDatabase *db = gs_database_find(dboid, false);

	return db != NULL && gs_timers_any(db);
}

static bool
is_wanted(const KnownDatabase *entry, GsWorkerRole role)
{
	if (entry->no_extension)
		return false;
	if (role == GS_ROLE_TIMER)
		return !on_standby && gs_timer_enabled && has_timers(entry->dboid);
	if (role == GS_ROLE_GAMES)
		return on_standby ? gs_standby_reads : gs_archiver;

	/* the archiver has found the extension */
	return !on_standby && gs_maintenance && entry->workers[GS_ROLE_GAMES].was_running;
}

/*
 * Start a worker for a database if it should have one and has none.  Returns
 * when to look at it again; 0 = when something happens.
 */
static TimestampTz
consider(KnownDatabase *entry, GsWorkerRole role)
{
	TimestampTz now = GetCurrentTimestamp();
	KnownWorker *known_worker = &entry->workers[role];
	WorkerStatus status;

	if (!is_wanted(entry, role))
		return 0;
	status = look_up_worker(entry->dboid, role);
	if (known_worker->was_running && !status.running)
	{
		if (status.clean_exit)
		{
			known_worker->failures = 0;
			known_worker->next_try = 0;
		}
		else
		{
			if (TimestampDifferenceExceeds(status.started_at, now, GOOD_RUN_MS))
				known_worker->failures = 0;
			failed(known_worker);
		}
	}
	known_worker->was_running = status.running;
	if (status.busy || status.barred)
		return 0;
	if (known_worker->next_try > now)
		return known_worker->next_try;
	if (status.free_launch < 0)
		return 0; /* the end of a launch wakes us */

	if (role == GS_ROLE_GAMES)
		entry->ask_again = false;
	if (launch_worker(entry->dboid, role, status.free_launch))
		set_slot_state(entry->dboid, role, GS_WORKER_STARTING);
	else
	{
		no_worker_slot(entry->dboid, role);
		failed(known_worker);
		return known_worker->next_try;
	}
	return 0;
}

/* Forget what was known about the databases of a standby that is none any more. */
static void
check_promotion(void)
{
	HASH_SEQ_STATUS scan;
	KnownDatabase *entry;

	if (!on_standby || RecoveryInProgress())
		return;
	on_standby = false;
	hash_seq_init(&scan, databases);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->no_extension = false;
		clear(entry);
	}
}

/* One turn of the loop; returns how long to sleep, in milliseconds. */
static long
turn(void)
{
	TimestampTz now;
	TimestampTz wake_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESCAN_MS);
	HASH_SEQ_STATUS scan;
	KnownDatabase *entry;

	check_promotion();
	take_requests();
	settle_launches();
	read_pg_database();

	/* where worker slots are scarce each database has its archiver first */
	for (int role = 0; role < GS_WORKER_ROLES; role++)
	{
		hash_seq_init(&scan, databases);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			TimestampTz at = consider(entry, role);

			if (at != 0 && at < wake_at)
				wake_at = at;
		}
	}
	now = GetCurrentTimestamp();
	return Max(1, TimestampDifferenceMilliseconds(now, wake_at));
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	gs_worker_unclaim(gs_worker_launcher_slot(), true);
	LWLockRelease(GsShmem->slots_lock);
}

static void
look(void)
{
	long sleep_ms;

	MemoryContextSwitchTo(turn_context);
	MemoryContextReset(turn_context);
	pgstat_report_activity(STATE_RUNNING, "looking for databases");
	sleep_ms = turn();
	pgstat_report_activity(STATE_IDLE, NULL);
	looked_at = GetCurrentTimestamp();
	look_at = TimestampTzPlusMilliseconds(looked_at, sleep_ms);
}

/* Until the next look, or until the next tick if that comes first (-1 = there is none). */
static long
sleep_time(long tick_ms)
{
	long look_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), look_at);

	look_ms = Max(look_ms, 1);

	/* nobody tells us that recovery has ended */
	if (on_standby)
		look_ms = Min(look_ms, PROMOTION_MS);
	return tick_ms < 0 ? look_ms : Min(look_ms, tick_ms);
}

void
gs_launcher_main(Datum main_arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	on_shmem_exit(launcher_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	gs_worker_claim(gs_worker_launcher_slot(), InvalidOid);
	LWLockRelease(GsShmem->slots_lock);

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	on_standby = RecoveryInProgress();
	make_databases();
	turn_context = AllocSetContextCreate(TopMemoryContext, "gamestate launcher turn",
										 ALLOCSET_DEFAULT_SIZES);
	ereport(DEBUG1, (errmsg_internal("gamestate launcher started")));

	/* the empty transactions of gs_tick.c; nobody waits for them */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);

	for (;;)
	{
		int woken;

		/*
		 * Not zero, or the postmaster would never start us again after a
		 * pg_terminate_backend().
		 */
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			look_at = 0;
		}

		if (gs_worker_look_wanted() || GetCurrentTimestamp() >= look_at ||
			(on_standby && !RecoveryInProgress()))
			look();
		woken = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						  sleep_time(gs_tick_run()), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);

		/* that may have been the postmaster, about a worker, or light commits */
		if (woken & WL_LATCH_SET)
			look_at = Min(look_at, looked_at + LOOK_AGAIN_MS * 1000);
	}
}
