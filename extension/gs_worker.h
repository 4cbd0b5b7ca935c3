/*-------------------------------------------------------------------------
 *
 * gs_worker.h
 *	  What launcher, archivers, followers and the commands that send them away
 *	  share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_WORKER_H
#define GS_WORKER_H

#include "gs_database.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"

#define GS_EXTENSION_NAME "gamestate"
#define GS_OWNER_ROLE	  "gamestate_owner"

#define GS_WORKER_ERROR_LEN 256

/* Pauses after failures double from the first to the last, in milliseconds. */
#define GS_BACKOFF_FIRST 1000
#define GS_BACKOFF_LAST	 60000

/*
 * What a worker of a database does.  The one that deals with the games (on a
 * primary the archiver, on a hot standby the follower) also finds out whether
 * the database has the extension; only then there is another one.
 */
typedef enum GsWorkerRole
{
	GS_ROLE_GAMES = 0,
	GS_ROLE_MAINTENANCE, /* gs_maintenance.c */
	GS_ROLE_TIMER,		 /* gs_timer_worker.c; only while there is something to time */
	GS_WORKER_ROLES
} GsWorkerRole;

/*
 * State of the launcher or of a worker.
 *	none -> starting
 *	starting -> running | stopped | no slot
 *	running <-> paused
 *	running, paused -> stopped
 *	stopped, no slot -> starting
 * "barred" is not stored: it follows from the bars.
 */
typedef enum GsWorkerState
{
	GS_WORKER_NONE = 0, /* there never was one */
	GS_WORKER_STARTING, /* the launcher has asked for one */
	GS_WORKER_RUNNING,
	GS_WORKER_PAUSED,  /* waits after a failure */
	GS_WORKER_NO_SLOT, /* max_worker_processes is used up */
	GS_WORKER_STOPPED
} GsWorkerState;

/*
 * The launcher, or a worker of one database.  Protected by slots_lock,
 * apart from "waker".
 */
typedef struct GsWorkerSlot
{
	Oid dboid; /* InvalidOid = unused, or the launcher */
	pid_t pid; /* 0 = none runs; cleared by the process itself */
	GsWorkerState state;
	bool clean_exit; /* the last one was told to leave, or left by itself */
	bool follower;	 /* on a standby: not an archiver (gs_follow.c) */
	TimestampTz started_at;
	int64 batches;
	int64 games;
	int64 raw_bytes;	/* payloads before compression ... */
	int64 stored_bytes; /* ... and after */
	int64 failures;		/* transactions that failed */
	int64 set_aside;	/* games that are skipped until their next try */
	TimestampTz last_archived_at;
	TimestampTz last_error_at;
	char last_error[GS_WORKER_ERROR_LEN];

	/*
	 * Whose latch wakes the worker: 1 + index in ProcGlobal->allProcs, 0 =
	 * nobody's.  Read without a lock: PGPROCs are always valid memory, so the
	 * worst is that somebody else is woken for nothing.
	 */
	pg_atomic_uint32 waker;
} GsWorkerSlot;

/*
 * A worker on its way: from the launcher's request until it knows whether
 * its database has the extension.
 *	free -> requested
 *	requested -> connecting | sent away | failed
 *	connecting -> no extension | at work | sent away | failed
 *	no extension, at work, sent away, failed -> free (by the launcher)
 */
typedef enum GsLaunchState
{
	GS_LAUNCH_FREE = 0,
	GS_LAUNCH_REQUESTED,
	GS_LAUNCH_CONNECTING,
	GS_LAUNCH_NO_EXTENSION,
	GS_LAUNCH_AT_WORK,	 /* it has become the database's worker */
	GS_LAUNCH_SENT_AWAY, /* the database is barred, or the server stops */
	GS_LAUNCH_FAILED
} GsLaunchState;

/* How many workers may be on their way at once. */
#define GS_MAX_LAUNCHES 4

/* Protected by slots_lock. */
typedef struct GsLaunch
{
	Oid dboid;
	GsWorkerRole role;
	pid_t pid; /* while connecting */
	GsLaunchState state;
	uint32 number; /* +1 with every use: a late worker finds out */
} GsLaunch;

/* What the postmaster hands to a new worker. */
typedef struct GsLaunchArgument
{
	int32 launch; /* which */
	uint32 number;
	Oid dboid;
	GsWorkerRole role;
} GsLaunchArgument;

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_worker_shmem_size(void);
extern void gs_worker_shmem_init(bool found);

/* from _PG_init: launcher and hooks */
extern void gs_worker_init(void);

/* Wake a worker of a database.  Cannot fail, takes no lock. */
extern void gs_worker_wake_archiver(GsDatabase *db);
extern void gs_worker_wake_maintenance(GsDatabase *db);
extern void gs_worker_rouse_archiver(GsDatabase *db); /* also while it pauses */
extern void gs_worker_wake_timer(GsDatabase *db);
extern void gs_worker_wake_launcher(void); /* to look for databases */
extern bool gs_worker_look_wanted(void);   /* for the launcher: was that asked for? */

/* The launcher also does what gs_tick.h says. */
extern void gs_worker_wake_ticker(void);
extern bool gs_worker_has_ticker(void);

/* All of these are protected by slots_lock. */
extern GsWorkerSlot *gs_worker_slot(const GsDatabase *db, GsWorkerRole role);
extern GsWorkerSlot *gs_worker_launcher_slot(void);
extern GsLaunch *gs_worker_launch(int i);
extern bool gs_worker_is_barred(Oid dboid);

/*
 * Send our workers away from a database and bar them from it until the
 * transaction ends; returns when they have gone, or after a time.
 */
extern void gs_worker_bar(Oid dboid);
extern void gs_worker_unbar_all(void); /* at the end of the transaction */

/* Have the workers of a database begin anew: they read its settings when they connect. */
extern void gs_worker_renew(Oid dboid);

/* Ask the launcher to look whether a database has the extension now. */
extern void gs_worker_request_look(Oid dboid);
extern int gs_worker_take_requests(Oid *dboids, int max, bool *all);
#define GS_MAX_REQUESTS 32

/*
 * A process becomes a worker: the latch that wakes it, its pid, its state.
 * on_shmem_exit() of the process undoes it.
 */
extern void gs_worker_claim(GsWorkerSlot *slot, Oid dboid);
extern void gs_worker_unclaim(GsWorkerSlot *slot, bool clean);
extern void gs_worker_wakeable(GsWorkerSlot *slot, bool wakeable);
extern void gs_worker_set_state(GsWorkerSlot *slot, GsWorkerState state);
extern void gs_worker_set_error(GsWorkerSlot *slot, const char *message);

/*
 * The beginning of a worker's process (gs_worker_process.c), up to its slot: all
 * of what follows, signals, connection and settings.  Does not return if it is
 * not for us any more.
 */
extern GsWorkerSlot *gs_worker_start(const char *name, bool follower);

/* Between two turns: leave quietly when asked to, or no longer wanted after a reload. */
extern void gs_worker_interrupts(const bool *wanted);

/*
 * In a PG_CATCH block: take the error, in mcxt, which is current then, and end
 * the transaction, if there is one.  What stat_workers says of a failure.
 */
extern ErrorData *gs_worker_take_error(MemoryContext mcxt);
extern void gs_worker_failed(GsWorkerSlot *slot, const ErrorData *error);

/*
 * The way of a worker that the launcher has started.  Take up the launch, not
 * yet connected; false if it is not for us any more.  Then, connected, become
 * the database's worker of that role: NULL if the extension is not there, or
 * another worker is.  on_shmem_exit() undoes both.
 */
extern bool gs_worker_take_launch(const GsLaunchArgument *argument);
extern GsWorkerSlot *gs_worker_become(bool follower);
extern bool gs_worker_extension_exists(void);

/*
 * A worker's transaction: as gamestate_owner, in a security-restricted
 * context, with a fixed search_path; lock_timeout in ms, 0 = none.
 * GUC changes made within (by triggers, say) end with it.  Afterwards the
 * memory context is that of before.
 */
extern void gs_worker_begin(int lock_timeout);
extern void gs_worker_commit(void);
extern void gs_worker_commit_unawaited(void); /* by a standby */
extern void gs_worker_abort(void);

/*
 * A command that must not run in a transaction of its caller's, such as DETACH
 * PARTITION ... CONCURRENTLY: with the same rights, in as many transactions as
 * it likes.  After an error gs_worker_abort() as above.
 */
extern void gs_worker_utility(const char *command, int lock_timeout);

/* In the worker's own settings for all its transactions. */
extern void gs_worker_settings(void);

/* GS_BACKOFF_FIRST doubled with each failure after the first, and jittered. */
extern int gs_worker_backoff(int failures);

/* The same, give or take a quarter: so that many do not come back at once. */
extern int gs_worker_jitter(int ms);

#endif /* GS_WORKER_H */
