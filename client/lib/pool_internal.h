/*-------------------------------------------------------------------------
 *
 * pool_internal.h
 *	  What the files of the pool share.
 *
 * Who owns a connection (PoolConn) at any moment: the idle list of its server,
 * a waiter to whom it was handed, the call or caller that uses it, or the
 * keeper.  Only the owner touches its gamestate_conn, so that no lock is held
 * while there is I/O.
 *
 * There is one lock, gamestate_pool.lock.  It protects every field below that
 * does not say otherwise, is held for some dozen instructions at a time, never
 * during a system call other than a wake-up, and no callback runs under it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_INTERNAL_H
#define GAMESTATE_POOL_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "gamestate_pool.h"
#include "pool_backoff.h"
#include "pool_breaker.h"
#include "pool_conninfo.h"
#include "pool_time.h"

typedef enum GspRole
{
	GSP_ROLE_UNKNOWN,
	GSP_ROLE_PRIMARY,
	GSP_ROLE_STANDBY, /* in recovery, or read-only */
	GSP_ROLE_OUTDATED, /* says it is the primary, on an older timeline than one we have seen */
} GspRole;

/* What the keeper does with a connection.  Next, besides being closed: */
typedef enum GspKeeperState
{
	GSP_KEEPER_NONE,	   /* it is not the keeper's */
	GSP_KEEPER_CONNECTING, /* ASKING */
	GSP_KEEPER_SETTLING,   /* ASKING: cancels and late answers are awaited */
	GSP_KEEPER_ASKING,	   /* NONE: asked what it is, as a sign of life */
	GSP_KEEPER_CLOSING,	   /* to be closed */
} GspKeeperState;

typedef struct PoolConn PoolConn;
struct PoolConn
{
	/* the owner's */
	gamestate_conn *conn;
	GspKeeperState state;
	GspTime state_until; /* it is given up then */
	bool was_cancelled;	 /* SETTLING after a call that ran into its deadline */
	bool fresh;			 /* CONNECTING, and ASKING for the first time */
	bool answered;		 /* ASKING: what follows was set by the callback */
	bool alive;
	bool in_recovery;
	bool read_only;
	int64_t timeline;
	int64_t system_id;

	/* set before it is shared */
	int server;
	GspTime expires_at;

	/* protected by the pool's lock */
	GspPermit permit;	/* while a call, a caller or the keeper has it */
	GspTime idle_since; /* since it was last used */
	GspTime checked_at; /* since the last sign of life */
	PoolConn *next;		/* idle list (newest first), keeper's inbox, or checked out */
};

typedef struct PoolServer
{
	const char *name;	  /* set at init */
	const char *conninfo; /* set at init */
	GspBreaker breaker;
	GspBackoff backoff; /* of attempts to connect, or to find a primary here */
	GspTime connect_at; /* no attempt before */
	GspRole role;
	int64_t timeline;
	PoolConn *idle;
	int num_idle;
	int connections; /* open: idle, in use, with the keeper (but connecting) */
	int in_use;
	int connecting;
	uint64_t connects;
	uint64_t connect_failures;
} PoolServer;

typedef struct PoolRun PoolRun;

/* Somebody who needs a connection. */
typedef struct PoolWaiter PoolWaiter;
struct PoolWaiter
{
	/* set by whoever waits */
	bool standby;					  /* a standby will do, and is preferred */
	bool only_standby;				  /* a primary will not do */
	bool patient;					  /* waits also for a server whose breaker is open */
	void (*wake)(PoolWaiter *waiter); /* runs under the lock, once */

	/* what it got */
	bool queued;
	PoolConn *conn;
	gamestate_status status; /* when it got none: CLOSED or CIRCUIT_OPEN */

	PoolWaiter *next;
	PoolWaiter *prev;
	GspTime since;
};

#define GSP_MAX_EVENTS 256

typedef struct PoolEvent
{
	gamestate_pool_event_kind kind;
	int64_t at;
	int server;		  /* or -1 */
	const char *call; /* static */
	char sqlstate[6];
	char message[160];
} PoolEvent;

struct gamestate_pool
{
	/* set at init */
	GspConninfo conninfo;
	gamestate_pool_options options;
	unsigned fork_count; /* `forks` when it was made */
	int num_servers;
	bool reads_to_standbys; /* target_session_attrs says so */
	bool only_standbys;
	pthread_condattr_t monotonic;
	pthread_t keeper;
	int keeper_wake;		 /* an eventfd */
	int sender_wake;		 /* an eventfd */
	PoolConn **keeper_tasks; /* the keeper's */
	struct pollfd *keeper_fds;
	PoolRun **sender_active; /* the sender's */
	PoolRun **sender_ended;
	struct pollfd *sender_fds;
	PoolRun **sender_heap;

	pthread_mutex_t lock; /* protects the following */
	PoolServer servers[GSP_MAX_SERVERS];
	int primary;		  /* the server that is the primary, or -1 */
	int last_primary;	  /* the last one there was, or -1 */
	bool standbys_wanted; /* some read asked for one */
	int64_t system_id;
	int64_t timeline; /* the highest that a primary of this system had */
	int next_standby; /* where to look first for a standby */
	PoolWaiter *first_waiter;
	PoolWaiter *last_waiter;
	PoolConn *inbox; /* for the keeper */
	PoolConn *checked_out;
	bool keeper_woken; /* it has been, and has not looked yet */
	bool closing;
	bool keeper_stop;
	bool closed; /* by gamestate_pool_close(); connections may still be checked out */
	int calls;
	int waiting;
	int users;				/* threads within a function that waits */
	pthread_cond_t changed; /* users, connections or closing did */
	GspRandom random;
	gamestate_pool_stats stats;
	char connect_sqlstate[6]; /* of the last attempt to connect that failed, or "" */
	char connect_message[256];
	PoolEvent events[GSP_MAX_EVENTS];
	unsigned first_event; /* counts up; modulo GSP_MAX_EVENTS */
	unsigned next_event;

	/* the sender: a thread that executes submitted calls */
	pthread_t sender;
	bool sender_started;
	bool sender_woken;
	bool sender_stop;
	PoolRun *ready; /* submitted, or handed a connection; oldest first */
	PoolRun **ready_end;
};

/* A call on its way through its attempts. */
struct PoolRun
{
	PoolWaiter waiter; /* first */
	gamestate_pool *pool;
	gamestate_call call;
	GspTime begun;
	GspTime deadline;
	int flags;
	bool repeatable;	 /* may be executed twice */
	bool maybe_executed; /* of an earlier attempt */
	GspBackoff backoff;
	PoolConn *conn;
	gamestate_result *result; /* of the last attempt; in the end the answer */

	/* of submitted calls; the sender's, but for in_ready */
	gamestate_pool_callback callback;
	void *arg;
	GspTime wake_at;   /* what the heap is sorted by */
	size_t heap_index; /* its place there + 1, or 0 */
	bool answered;
	bool in_ready; /* protected by the lock */
	PoolRun *next_ready;
};

/* pool_error.c */
extern gamestate_result *gsp_error_result(gamestate_status status, bool maybe_executed,
										  const char *message,
										  const gamestate_error *last);
extern gamestate_result *gsp_copy_error(const gamestate_result *result);
extern void gsp_remember(gamestate_result *result);

/* pool_event.c; under the lock */
extern void gsp_event(gamestate_pool *pool, gamestate_pool_event_kind kind, int server,
					  const char *call, const gamestate_error *error,
					  const char *message);
/* the keeper's: runs the callback; takes the lock itself */
extern void gsp_deliver_events(gamestate_pool *pool);

/* pool.c */
extern bool gsp_is_ours(const gamestate_pool *pool);
extern void gsp_free(gamestate_pool *pool);
extern bool gsp_start_sender(gamestate_pool *pool); /* under the lock */

/* pool_server.c; under the lock */
extern const char *gsp_role_name(GspRole role);
extern bool gsp_fits(const gamestate_pool *pool, const PoolWaiter *waiter, int server,
					 GspTime now);
extern bool gsp_hopeless(const gamestate_pool *pool, const PoolWaiter *waiter,
						 GspTime now);
extern bool gsp_admit(gamestate_pool *pool, int server, GspTime now, GspPermit *permit);
extern void gsp_record(gamestate_pool *pool, int server, GspPermit permit,
					   GspOutcome outcome, GspTime now);
extern void gsp_server_failed(gamestate_pool *pool, int server, GspTime now);
extern void gsp_server_read_only(gamestate_pool *pool, int server);
extern void gsp_server_is(gamestate_pool *pool, const PoolConn *conn, GspTime now);
extern int gsp_connections_wanted(gamestate_pool *pool, int server, GspTime now,
								  bool *search, GspTime *later);

/* pool_checkout.c; under the lock, unless it says otherwise */
extern void gsp_wake_keeper(gamestate_pool *pool);
extern void gsp_wake_sender(gamestate_pool *pool);
extern void gsp_keep(gamestate_pool *pool, PoolConn *conn, GspKeeperState state);
extern void gsp_acquire(gamestate_pool *pool, PoolWaiter *waiter, GspTime now);
extern bool gsp_abandon(gamestate_pool *pool, PoolWaiter *waiter, GspTime now);
extern void gsp_offer(gamestate_pool *pool, PoolConn *conn, GspTime now);
extern void gsp_serve_waiters(gamestate_pool *pool, GspTime now);
extern void gsp_release(gamestate_pool *pool, PoolConn *conn, GspOutcome outcome,
						GspTime now);
extern void gsp_discard(gamestate_pool *pool, PoolConn *conn, const gamestate_error *why,
						bool unhealthy, GspTime now);
extern void gsp_settle(gamestate_pool *pool, PoolConn *conn, bool was_cancelled,
					   GspTime now);
/* without the lock */
extern bool gsp_alive(PoolConn *conn);
extern PoolConn *gsp_wait_for_conn(gamestate_pool *pool, const PoolWaiter *wanted,
								   GspTime now, GspTime deadline,
								   gamestate_status *status);

/* pool_run.c; without the lock */
extern gamestate_status gsp_run_init(PoolRun *run, gamestate_pool *pool,
									 const gamestate_call *call,
									 const gamestate_pool_call_options *options);
extern void gsp_connect_error(gamestate_pool *pool, gamestate_error *error, char *why,
							  size_t size);
extern void gsp_run_refused(PoolRun *run, gamestate_status status);
extern bool gsp_run_answered(PoolRun *run, GspTime now, GspTime *again);
extern void gsp_run_lost(PoolRun *run, GspTime now);
extern int gsp_run_timeout(const PoolRun *run, GspTime now);
/* under the lock */
extern gamestate_status gsp_let_in(gamestate_pool *pool);
extern void gsp_let_out(gamestate_pool *pool, const gamestate_error *error);

/* pool_keeper.c, pool_submit.c: the threads */
extern void *gsp_keeper_main(void *arg);
extern void *gsp_sender_main(void *arg);

#endif /* GAMESTATE_POOL_INTERNAL_H */
