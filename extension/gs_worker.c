/*-------------------------------------------------------------------------
 *
 * gs_worker.c
 *	  What launcher, workers and the commands that send them away share.
 *
 * The model:
 *	1. The launcher (gs_launcher.c) is one static background worker.  It
 *	   starts a dynamic one for each database it does not know yet; that one
 *	   looks whether the database has the extension and becomes its archiver
 *	   (gs_archiver.c), on a standby its follower (gs_follow.c), or says no and
 *	   exits.  A database with an archiver gets a maintenance worker, too
 *	   (gs_maintenance.c), and one with timers a timer worker (gs_timer_worker.c).
 *	2. While a worker is on its way it has a launch (GsLaunch); at work
 *	   it has one of the worker slots beside its database's slot.  Both hold its pid
 *	   until the process has left the ProcArray: whoever finds no pid of ours
 *	   for a database knows that none of us is connected to it.
 *	3. A command that needs a database for itself puts up a bar: who is on the
 *	   way to the database turns around, who is there is sent SIGTERM, and the
 *	   command waits until they have gone.  Bars end with the transaction,
 *	   however it ends: a backend that dies aborts its transaction first, and
 *	   one that is killed takes all shared memory with it.
 *	4. Whoever changes what the launcher should know wakes it.
 *
 * Locking: slots_lock protects everything here, and nothing is waited for and
 * nothing that can fail is done while it is held.  The one exception is the
 * number of the process to wake (GsWorkerSlot.waker), an atomic: a backend
 * that has just finished a game reads it while it holds other locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_durable.h"
#include "gs_launcher.h"
#include "gs_protect.h"
#include "gs_utility.h"
#include "gs_worker.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* How long a command waits for our workers to leave its database. */
#define SEND_AWAY_TIMEOUT_MS 5000
#define SEND_AWAY_STEP_MS	 5

/* "pid keeps our workers out of the database dboid" */
typedef struct GsBar
{
	Oid dboid; /* InvalidOid = free */
	pid_t pid;
} GsBar;

/* Protected by slots_lock, apart from what GsWorkerSlot says. */
typedef struct GsWorkerShared
{
	GsWorkerSlot launcher;
	GsLaunch launches[GS_MAX_LAUNCHES];

	pg_atomic_uint32 look_wanted; /* the launcher was woken to look; no lock */

	/* databases at which the launcher shall look again */
	int nrequests;
	bool request_all; /* too many to list */
	Oid requests[GS_MAX_REQUESTS];

	int nbars; /* in use; the array below has MaxBackends */
	GsBar bars[FLEXIBLE_ARRAY_MEMBER];
} GsWorkerShared;

static GsWorkerShared *workers = NULL;
static GsWorkerSlot *slots = NULL; /* of each database one for each role */

/* local: this backend has bars up */
static bool have_bars = false;

/* local: a worker, and the launch that made it until it is at work */
static GsLaunch *my_launch = NULL;
static GsLaunchState launch_result = GS_LAUNCH_FAILED;
static GsWorkerSlot *my_slot = NULL;
static GsWorkerRole my_role;

/* local: a worker's transaction */
static int guc_nest_level;
static Oid outer_user;
static int outer_security;
static MemoryContext outer_context;
static bool in_worker_transaction = false;

PG_FUNCTION_INFO_V1(gs_stat_workers);

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

/* A backend has at most one bar for each database, and seldom two at all. */
static int
max_bars(void)
{
	return MaxBackends + 8;
}

static Size
shared_size(void)
{
	return MAXALIGN(offsetof(GsWorkerShared, bars) + sizeof(GsBar) * max_bars());
}

static int
max_slots(void)
{
	return gs_max_databases * GS_WORKER_ROLES;
}

Size
gs_worker_shmem_size(void)
{
	return add_size(shared_size(), mul_size(sizeof(GsWorkerSlot), max_slots()));
}

void
gs_worker_shmem_init(bool found)
{
	bool found_workers;

	workers =
		ShmemInitStruct("gamestate workers", gs_worker_shmem_size(), &found_workers);
	slots = (GsWorkerSlot *) ((char *) workers + shared_size());
	have_bars = false;
	if (found)
		return;

	memset(workers, 0, gs_worker_shmem_size());
	pg_atomic_init_u32(&workers->launcher.waker, 0);
	pg_atomic_init_u32(&workers->look_wanted, 0);
	for (int i = 0; i < max_slots(); i++)
		pg_atomic_init_u32(&slots[i].waker, 0);
}

void
gs_worker_init(void)
{
	/*
	 * Under pg_upgrade nobody may be connected to the databases that it
	 * recreates, and the hooks would only be in its way.
	 */
	if (IsBinaryUpgrade)
		return;
	gs_launcher_register();
	gs_utility_init();
	gs_protect_init();
}

GsWorkerSlot *
gs_worker_slot(const GsDatabase *db, GsWorkerRole role)
{
	return &slots[gs_database_index(db) * GS_WORKER_ROLES + role];
}

GsWorkerSlot *
gs_worker_launcher_slot(void)
{
	return &workers->launcher;
}

GsLaunch *
gs_worker_launch(int i)
{
	Assert(i >= 0 && i < GS_MAX_LAUNCHES);
	return &workers->launches[i];
}

/* ----------------------------------------------------------------
 *		Waking
 * ----------------------------------------------------------------
 */

static void
wake(GsWorkerSlot *slot)
{
	uint32 waker = pg_atomic_read_u32(&slot->waker);

	/* costs a memory barrier and a test if the latch is set already */
	if (waker != 0)
		SetLatch(&ProcGlobal->allProcs[waker - 1].procLatch);
}

void
gs_worker_wake_archiver(GsDatabase *db)
{
	wake(gs_worker_slot(db, GS_ROLE_GAMES));
}

void
gs_worker_wake_maintenance(GsDatabase *db)
{
	wake(gs_worker_slot(db, GS_ROLE_MAINTENANCE));
}

/* One that pauses does not want to be woken by games that end (gs_worker_wakeable()). */
void
gs_worker_rouse_archiver(GsDatabase *db)
{
	GsWorkerSlot *slot = gs_worker_slot(db, GS_ROLE_GAMES);
	PGPROC *proc;
	pid_t pid;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	pid = slot->pid;
	LWLockRelease(GsShmem->slots_lock);
	proc = pid != 0 ? BackendPidGetProc(pid) : NULL;
	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

void
gs_worker_wake_timer(GsDatabase *db)
{
	wake(gs_worker_slot(db, GS_ROLE_TIMER));
}

void
gs_worker_wake_launcher(void)
{
	pg_atomic_write_u32(&workers->look_wanted, 1);
	wake(&workers->launcher);
}

bool
gs_worker_look_wanted(void)
{
	return pg_atomic_exchange_u32(&workers->look_wanted, 0) != 0;
}

void
gs_worker_wake_ticker(void)
{
	wake(&workers->launcher);
}

bool
gs_worker_has_ticker(void)
{
	return pg_atomic_read_u32(&workers->launcher.waker) != 0;
}

void
gs_worker_wakeable(GsWorkerSlot *slot, bool wakeable)
{
	pg_atomic_write_u32(&slot->waker,
						wakeable ? (uint32) (MyProc - ProcGlobal->allProcs) + 1 : 0);
}

/* ----------------------------------------------------------------
 *		A worker's own entry
 * ----------------------------------------------------------------
 */

/*
 * The caller holds slots_lock exclusively.  What was counted for a database
 * survives its archiver's restarts, but not the database.
 */
void
gs_worker_claim(GsWorkerSlot *slot, Oid dboid)
{
	if (slot->dboid != dboid)
	{
		memset(slot, 0, offsetof(GsWorkerSlot, waker));
		slot->dboid = dboid;
	}
	slot->pid = MyProcPid;
	slot->state = GS_WORKER_RUNNING;
	slot->clean_exit = false;
	slot->started_at = GetCurrentTimestamp();
	slot->set_aside = 0;
	gs_worker_wakeable(slot, true);
}

/* The caller holds slots_lock exclusively. */
void
gs_worker_unclaim(GsWorkerSlot *slot, bool clean)
{
	if (slot->pid != MyProcPid)
		return;
	gs_worker_wakeable(slot, false);
	slot->pid = 0;
	slot->state = GS_WORKER_STOPPED;
	slot->clean_exit = clean;
}

void
gs_worker_set_state(GsWorkerSlot *slot, GsWorkerState state)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	slot->state = state;
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_worker_set_error(GsWorkerSlot *slot, const char *message)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	strlcpy(slot->last_error, message, GS_WORKER_ERROR_LEN);
	/* do not leave half a character at the end */
	slot->last_error[pg_mbcliplen(slot->last_error, strlen(slot->last_error),
								  GS_WORKER_ERROR_LEN - 1)] = '\0';
	slot->last_error_at = now;
	LWLockRelease(GsShmem->slots_lock);
}

int
gs_worker_backoff(int failures)
{
	int delay = GS_BACKOFF_FIRST;

	while (--failures > 0 && delay < GS_BACKOFF_LAST)
		delay *= 2;
	return gs_worker_jitter(Min(delay, GS_BACKOFF_LAST));
}

int
gs_worker_jitter(int ms)
{
	return (int) (ms * (0.75 + pg_prng_double(&pg_global_prng_state) / 2));
}

/* ----------------------------------------------------------------
 *		From launch to work
 * ----------------------------------------------------------------
 */

static void
worker_exit(int code, Datum arg)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	if (my_launch != NULL)
	{
		/* told to leave: the launcher need not wait before it tries again */
		my_launch->state = ProcDiePending ? GS_LAUNCH_SENT_AWAY : launch_result;
		my_launch->pid = 0;
	}
	if (my_slot != NULL)
		gs_worker_unclaim(my_slot, code == 0 || ProcDiePending);
	LWLockRelease(GsShmem->slots_lock);
	gs_worker_wake_launcher();
}

bool
gs_worker_take_launch(const GsLaunchArgument *argument)
{
	GsLaunch *mine = gs_worker_launch(argument->launch);
	bool barred;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	if (mine->number != argument->number || mine->state != GS_LAUNCH_REQUESTED)
	{
		LWLockRelease(GsShmem->slots_lock);
		return false;
	}
	barred = gs_worker_is_barred(argument->dboid);
	if (barred)
		mine->state = GS_LAUNCH_SENT_AWAY;
	else
	{
		mine->state = GS_LAUNCH_CONNECTING;
		mine->pid = MyProcPid;
		my_launch = mine;
		my_role = argument->role;
	}
	LWLockRelease(GsShmem->slots_lock);
	if (barred)
		gs_worker_wake_launcher();
	else
		on_shmem_exit(worker_exit, (Datum) 0);
	return !barred;
}

bool
gs_worker_extension_exists(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool exists;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	exists = OidIsValid(get_extension_oid(GS_EXTENSION_NAME, true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return exists;
}

/* Claim the worker slot, unless another worker has it. */
GsWorkerSlot *
gs_worker_become(bool follower)
{
	GsWorkerSlot *wanted;

	if (!gs_worker_extension_exists())
	{
		launch_result = GS_LAUNCH_NO_EXTENSION;
		return NULL;
	}
	wanted = gs_worker_slot(gs_my_database(), my_role);
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	my_launch->state = GS_LAUNCH_AT_WORK;
	my_launch->pid = 0;
	my_launch = NULL;
	if (wanted->pid == 0 || wanted->dboid != MyDatabaseId)
	{
		gs_worker_claim(wanted, MyDatabaseId);
		wanted->follower = follower;
		my_slot = wanted;
	}
	LWLockRelease(GsShmem->slots_lock);
	gs_worker_wake_launcher();
	return my_slot;
}

/* ----------------------------------------------------------------
 *		Requests to the launcher
 * ----------------------------------------------------------------
 */

void
gs_worker_request_look(Oid dboid)
{
	bool listed = false;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < workers->nrequests; i++)
		listed |= workers->requests[i] == dboid;
	if (!listed)
	{
		if (workers->nrequests < GS_MAX_REQUESTS)
			workers->requests[workers->nrequests++] = dboid;
		else
			workers->request_all = true;
	}
	LWLockRelease(GsShmem->slots_lock);
	gs_worker_wake_launcher();
}

/* For the launcher: takes the requests away. */
int
gs_worker_take_requests(Oid *dboids, int max, bool *all)
{
	int n;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	n = Min(workers->nrequests, max);
	memcpy(dboids, workers->requests, sizeof(Oid) * n);
	*all = workers->request_all || n < workers->nrequests;
	workers->nrequests = 0;
	workers->request_all = false;
	LWLockRelease(GsShmem->slots_lock);
	return n;
}

/* ----------------------------------------------------------------
 *		Bars
 * ----------------------------------------------------------------
 */

bool
gs_worker_is_barred(Oid dboid)
{
	for (int i = 0, seen = 0; seen < workers->nbars && i < max_bars(); i++)
	{
		if (!OidIsValid(workers->bars[i].dboid))
			continue;
		if (workers->bars[i].dboid == dboid)
			return true;
		seen++;
	}
	return false;
}

static void
put_up_bar(Oid dboid)
{
	GsBar *unused = NULL;
	bool ours = false;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < max_bars(); i++)
	{
		GsBar *bar = &workers->bars[i];

		if (!OidIsValid(bar->dboid))
			unused = unused ? unused : bar;
		else if (bar->dboid == dboid && bar->pid == MyProcPid)
			ours = true;
	}
	if (!ours && unused)
	{
		unused->dboid = dboid;
		unused->pid = MyProcPid;
		workers->nbars++;
	}
	LWLockRelease(GsShmem->slots_lock);

	if (!ours && !unused)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many databases are closed to the workers of gamestate"),
				 errhint("End transactions that rename databases.")));
	have_bars = true;
}

/* Signal whoever of us is connected to a database; returns how many are. */
static int
signal_workers(Oid dboid, bool do_signal)
{
	int n = 0;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	for (int i = 0; i < max_slots(); i++)
	{
		if (slots[i].dboid == dboid && slots[i].pid != 0)
		{
			n++;
			if (do_signal)
				kill(slots[i].pid, SIGTERM);
		}
	}
	for (int i = 0; i < GS_MAX_LAUNCHES; i++)
	{
		GsLaunch *launch = &workers->launches[i];

		/* without a pid it has not looked at the bars yet: turns around there */
		if (launch->dboid == dboid && launch->pid != 0)
		{
			n++;
			if (do_signal)
				kill(launch->pid, SIGTERM);
		}
	}
	LWLockRelease(GsShmem->slots_lock);
	return n;
}

/* Cannot fail: called at the end of the transaction. */
void
gs_worker_renew(Oid dboid)
{
	(void) signal_workers(dboid, true);
}

void
gs_worker_bar(Oid dboid)
{
	put_up_bar(dboid);
	for (int waited = 0; waited < SEND_AWAY_TIMEOUT_MS; waited += SEND_AWAY_STEP_MS)
	{
		/* once is enough, unless a signal came before its handler */
		if (signal_workers(dboid, waited % 500 == 0) == 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 SEND_AWAY_STEP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	/* The command itself will say who is in its way. */
}

/* Cannot fail: called at the end of the transaction. */
void
gs_worker_unbar_all(void)
{
	if (!have_bars)
		return;
	have_bars = false;
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < max_bars(); i++)
	{
		GsBar *bar = &workers->bars[i];

		if (OidIsValid(bar->dboid) && bar->pid == MyProcPid)
		{
			bar->dboid = InvalidOid;
			workers->nbars--;
		}
	}
	LWLockRelease(GsShmem->slots_lock);
	gs_worker_wake_launcher();
}

/* ----------------------------------------------------------------
 *		A worker's transactions
 * ----------------------------------------------------------------
 */

/*
 * What a worker does must not depend on settings made for users.  As PGC_S_OVERRIDE
 * they survive a reload and ALTER DATABASE ... SET.
 */
void
gs_worker_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"row_security", "on"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

static void
set_in_transaction(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

void
gs_worker_begin(int lock_timeout)
{
	char ms[16];
	Oid owner;

	outer_context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	GetUserIdAndSecContext(&outer_user, &outer_security);
	in_worker_transaction = true;

	owner = get_role_oid(GS_OWNER_ROLE, false);
	SetUserIdAndSecContext(owner, outer_security | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);

	/*
	 * Whatever SQL of ours or of a trigger sets ends with this level, so that
	 * nothing a trigger does can reach the next transaction.
	 */
	guc_nest_level = NewGUCNestLevel();
	set_in_transaction("search_path", "pg_catalog, pg_temp");
	snprintf(ms, sizeof(ms), "%d", lock_timeout);
	set_in_transaction("lock_timeout", ms);

	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * The variable alone, for one commit: the setting's own functions would make it
 * one that a reload does not change any more.
 */
static void
set_synchronous_commit(int level)
{
	synchronous_commit = level;
	assign_synchronous_commit(level, NULL);
}

/*
 * The role is kept until the commit is done, for what runs at commit.  (A
 * deferred trigger does not: PostgreSQL refuses it in a restricted context.)
 */
void
gs_worker_commit(void)
{
	PopActiveSnapshot();
	AtEOXact_GUC(false, guc_nest_level);
	CommitTransactionCommand();
	SetUserIdAndSecContext(outer_user, outer_security);
	in_worker_transaction = false;
	MemoryContextSwitchTo(outer_context);
}

/*
 * The same, for what must not wait for a standby, since others would wait with it:
 * this one waits for the local flush alone.  Nobody is told of it earlier for
 * that: whoever wants to know waits for what the setting asks for.
 */
void
gs_worker_commit_unawaited(void)
{
	int level = synchronous_commit;

	gs_durable_forget(); /* what was looked at is told to nobody */
	GsToldLevel = level;
	if (level > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		set_synchronous_commit(SYNCHRONOUS_COMMIT_LOCAL_FLUSH);
	PG_TRY();
	{
		gs_worker_commit();
	}
	PG_FINALLY();
	{
		set_synchronous_commit(level);
		GsToldLevel = SYNCHRONOUS_COMMIT_OFF;
	}
	PG_END_TRY();
}

/*
 * What StartTransactionCommand() and the likes of it find again after each commit.  No
 * restrictions besides, which must not be set between transactions: VACUUM sets them
 * itself for the functions of indexes, and DETACH calls none but event triggers, which
 * only superusers can make.
 */
static void
become_owner(void)
{
	Oid owner;

	StartTransactionCommand();
	owner = get_role_oid(GS_OWNER_ROLE, false);
	CommitTransactionCommand();
	GetUserIdAndSecContext(&outer_user, &outer_security);
	in_worker_transaction = true;
	SetUserIdAndSecContext(owner, outer_security);
}

/*
 * All that the portal runs with is in its own memory: the command may end the transaction,
 * and with it the memory of the transaction.
 */
static void
run_portal(const char *command)
{
	Portal portal = CreatePortal("", true, true);
	MemoryContext context = MemoryContextSwitchTo(portal->portalContext);
	DestReceiver *receiver = CreateDestReceiver(DestNone);
	List *parsed = pg_parse_query(command);
	List *plans;

	if (list_length(parsed) != 1)
		elog(ERROR, "not one command: %s", command);
	plans =
		pg_plan_queries(pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, parsed),
														   command, NULL, 0, NULL),
						command, 0, NULL);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, pstrdup(command),
					  CreateCommandTag(linitial_node(RawStmt, parsed)->stmt), plans,
					  NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) PortalRun(portal, FETCH_ALL, true, true, receiver, receiver, NULL);
	receiver->rDestroy(receiver);
	MemoryContextSwitchTo(context);
	PortalDrop(portal, false);
}

/*
 * Settings cannot be changed for just this command: it may end the
 * transaction in which that was done.
 */
void
gs_worker_utility(const char *command, int lock_timeout)
{
	char ms[16];
	MemoryContext context = CurrentMemoryContext;

	snprintf(ms, sizeof(ms), "%d", lock_timeout);
	SetCurrentStatementStartTimestamp();
	become_owner();
	PG_TRY();
	{
		SetConfigOption("lock_timeout", ms, PGC_SUSET, PGC_S_OVERRIDE);
		StartTransactionCommand();
		MemoryContextSwitchTo(context); /* which outlives transactions */
		run_portal(command);
		CommitTransactionCommand();
	}
	PG_FINALLY();
	{
		SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(outer_user, outer_security);
	in_worker_transaction = false;
	MemoryContextSwitchTo(context);
}

/* In a PG_CATCH block or after it; also when gs_worker_begin() failed. */
void
gs_worker_abort(void)
{
	MemoryContext context = CurrentMemoryContext;

	AbortCurrentTransaction(); /* settings and snapshots too */
	if (in_worker_transaction)
		SetUserIdAndSecContext(outer_user, outer_security);
	in_worker_transaction = false;
	MemoryContextSwitchTo(context);
}

/* ----------------------------------------------------------------
 *		gamestate.stat_workers
 * ----------------------------------------------------------------
 */

#define STAT_WORKERS_COLUMNS 15

static const char *const kind_names[GS_WORKER_ROLES] = {[GS_ROLE_GAMES] = "archiver",
														[GS_ROLE_MAINTENANCE] =
															"maintenance",
														[GS_ROLE_TIMER] = "timer"};

static const char *
state_name(GsWorkerState state)
{
	switch (state)
	{
		case GS_WORKER_STARTING:
			return "starting";
		case GS_WORKER_RUNNING:
			return "running";
		case GS_WORKER_PAUSED:
			return "paused";
		case GS_WORKER_NO_SLOT:
			return "no free slot";
		case GS_WORKER_NONE:
		case GS_WORKER_STOPPED:
			break;
	}
	return "stopped";
}

static void
put_timestamp(Datum *value, bool *null, TimestampTz at)
{
	*value = TimestampTzGetDatum(at);
	*null = at == 0;
}

/* Another database may have another encoding than ours. */
static Datum
error_text(const GsWorkerSlot *slot)
{
	char *text = pstrdup(slot->last_error);

	if (!pg_verifymbstr(text, strlen(text), true))
	{
		for (char *p = text; *p; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	}
	return CStringGetTextDatum(text);
}

static void
put_row(ReturnSetInfo *rsinfo, const char *kind, const GsWorkerSlot *slot, bool barred)
{
	Datum values[STAT_WORKERS_COLUMNS] = {0};
	bool nulls[STAT_WORKERS_COLUMNS] = {0};
	bool is_launcher = !OidIsValid(slot->dboid);
	char *database = is_launcher ? NULL : get_database_name(slot->dboid);
	int i = 0;

	values[i] = ObjectIdGetDatum(slot->dboid);
	nulls[i++] = is_launcher;
	if (database)
		values[i] = DirectFunctionCall1(namein, CStringGetDatum(database));
	nulls[i++] = database == NULL;
	values[i++] = CStringGetTextDatum(kind);
	values[i] = Int32GetDatum(slot->pid);
	nulls[i++] = slot->pid == 0;
	values[i++] = CStringGetTextDatum(barred ? "barred" : state_name(slot->state));
	put_timestamp(&values[i], &nulls[i], slot->started_at);
	i++;
	for (int first = i; i < first + 6; i++)
		nulls[i] = is_launcher;
	i -= 6;
	values[i++] = Int64GetDatum(slot->batches);
	values[i++] = Int64GetDatum(slot->games);
	values[i++] = Int64GetDatum(slot->raw_bytes);
	values[i++] = Int64GetDatum(slot->stored_bytes);
	values[i++] = Int64GetDatum(slot->failures);
	values[i++] = Int64GetDatum(slot->set_aside);
	put_timestamp(&values[i], &nulls[i], slot->last_archived_at);
	i++;
	if (slot->last_error_at != 0)
		values[i] = error_text(slot);
	nulls[i++] = slot->last_error_at == 0;
	put_timestamp(&values[i], &nulls[i], slot->last_error_at);
	i++;
	Assert(i == STAT_WORKERS_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* One row for the launcher and one for each worker of a database that has the extension. */
Datum
gs_stat_workers(PG_FUNCTION_ARGS)
{
	GsWorkerSlot launcher;
	GsWorkerSlot *copy;
	bool *barred;
	const char **kinds;
	int n = 0;

	gs_attach();
	InitMaterializedSRF(fcinfo, 0);
	copy = palloc(sizeof(GsWorkerSlot) * max_slots());
	barred = palloc(sizeof(bool) * max_slots());
	kinds = palloc(sizeof(char *) * max_slots());

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	launcher = workers->launcher;
	for (int i = 0; i < max_slots(); i++)
	{
		Oid dboid = gs_database_by_index(i / GS_WORKER_ROLES)->dboid;

		if (!OidIsValid(dboid) || slots[i].dboid != dboid)
			continue;
		copy[n] = slots[i];
		barred[n] = gs_worker_is_barred(dboid);
		kinds[n] = slots[i].follower ? "follower" : kind_names[i % GS_WORKER_ROLES];
		n++;
	}
	LWLockRelease(GsShmem->slots_lock);

	put_row((ReturnSetInfo *) fcinfo->resultinfo, "launcher", &launcher, false);
	for (int i = 0; i < n; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, kinds[i], &copy[i], barred[i]);
	return (Datum) 0;
}
