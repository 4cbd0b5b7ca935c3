/*-------------------------------------------------------------------------
 *
 * gamestate_pool.h
 *	  Connections of libgamestate shared by threads.
 *
 * The model:
 * 1. A pool keeps connections to one or several servers, opens them when they
 *	  are needed, checks those that are idle and closes those that are old.  Any
 *	  thread may call any function of this file at any time, but for
 *	  gamestate_pool_close().
 * 2. gamestate_pool_run() takes a connection, sends the call, waits for the
 *	  answer and gives the connection back; one call at a time on a connection.
 *	  gamestate_pool_submit() does it in a thread of the pool and runs a callback.
 * 3. Every call is answered once, by its deadline at the latest, whatever the
 *	  servers do.  A call that runs into its deadline is cancelled on its server;
 *	  the connection is used again when the server has said so.
 * 4. The conninfo names the servers, as for libpq.  The pool finds out which one
 *	  is the primary, sends writes there (and reads, unless they may go to a
 *	  standby), and looks for the new one when that is lost or does not take
 *	  writes any more.  A server on an older timeline than one that was seen
 *	  before is no primary, though it may still believe so.
 * 5. What failed is tried again until the deadline if that is safe: whenever it
 *	  is certain that nothing was changed; reads; writes with a request id.  For
 *	  any other write whose answer was lost the error says maybe_executed.
 *	  Between attempts there is exponential backoff with full jitter.
 * 6. A circuit breaker for each server refuses calls at once while the server
 *	  is ill, and tries it again a little later.  A limit of calls in flight or
 *	  waiting keeps a slow server from taking all threads of a program.
 *
 * Everywhere in this file:
 * - Times are milliseconds.
 * - A pool that is NULL stands for "out of memory".
 * - fork(): a child may not use its parent's pool; calls answer
 *	 GAMESTATE_NOT_CONNECTED there and gamestate_pool_close() does nothing.
 *	 Sockets are closed on exec.
 * - Signals: the pool's threads block all of them, so that handlers run in the
 *	 program's own threads; a wait that a handler interrupts goes on.  None of
 *	 this may be called from a handler.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_H
#define GAMESTATE_POOL_H

#include "gamestate.h"

GAMESTATE_BEGIN_DECLS

typedef struct gamestate_pool gamestate_pool;

/* -----------------------------------------------------------------------
 * Events
 * -----------------------------------------------------------------------
 */

/* What happened; the enumeration only grows. */
typedef enum gamestate_pool_event_kind
{
	GAMESTATE_POOL_CONNECTED = 0,	   /* a connection is open */
	GAMESTATE_POOL_CONNECT_FAILED = 1, /* it could not be opened */
	GAMESTATE_POOL_LOST = 2,		   /* a connection broke, or hung and was given up */
	GAMESTATE_POOL_RETIRED = 3,		   /* it was closed for its age, or as not needed */
	GAMESTATE_POOL_ROLE = 4,		   /* message: what the server is now */
	GAMESTATE_POOL_BREAKER = 5,		   /* message: closed, open or half-open */
	GAMESTATE_POOL_RETRY = 6,		   /* an attempt failed and is made again */
	GAMESTATE_POOL_CALL_TIMEOUT = 7,   /* a call ran into its deadline */
	GAMESTATE_POOL_CALL_REFUSED = 8,   /* overloaded, or the circuit breaker is open */
	GAMESTATE_POOL_CALL_UNKNOWN = 9,   /* nobody knows whether a write was executed */
} gamestate_pool_event_kind;

typedef struct gamestate_pool_event
{
	gamestate_pool_event_kind kind;
	int64_t at;			 /* as gamestate_now() */
	const char *server;	 /* "host:port", or "" */
	const char *call;	 /* gamestate_call_name(), or "" */
	char sqlstate[6];	 /* or "" */
	const char *message; /* or "" */
} gamestate_pool_event;

/*
 * Runs in a thread of the pool, one event after another, in their order; the
 * texts are valid until it returns.  It must not wait for anything; of this file
 * it may call gamestate_pool_get_stats(), _get_server(), _submit().
 */
typedef void (*gamestate_pool_event_callback)(void *arg,
											  const gamestate_pool_event *event);

extern const char *gamestate_pool_event_name(gamestate_pool_event_kind kind);

/* -----------------------------------------------------------------------
 * Opening and closing
 * -----------------------------------------------------------------------
 */

/*
 * Begin with GAMESTATE_POOL_OPTIONS_INIT.  A member left at zero means its
 * default; where that is a number, a negative one switches the thing off.
 */
typedef struct gamestate_pool_options
{
	size_t size; /* sizeof(gamestate_pool_options): later versions have more members */
	gamestate_prepare prepare;
	int min_connections;  /* kept open to the server that takes the calls; default 1 */
	int max_connections;  /* to each server; default 10 */
	int max_calls;		  /* in flight or waiting; default 1000 */
	int call_timeout;	  /* of calls that are given none of their own; default 10 s */
	int connect_timeout;  /* of one attempt at one server; default 5 s */
	int cancel_timeout;	  /* until a connection whose call was cancelled must be free
							 * again, else it is given up; default 2 s */
	int idle_timeout;	  /* more than min_connections are closed then; default 10 min */
	int max_lifetime;	  /* of a connection, less a random tenth; default 30 min */
	int check_interval;	  /* idle ones are asked for a sign of life; default 30 s */
	int backoff_base;	  /* the first wait is between 0 and this; default 20 ms */
	int backoff_cap;	  /* the longest wait is between 0 and this; default 1 s */
	int breaker_failures; /* so many failures open the breaker ... */
	int breaker_percent;  /* ... if so many of a hundred calls failed; default 5, 50 % */
	int breaker_window;	  /* looked at; default 10 s */
	int breaker_open_min; /* how long it stays open at first; default 500 ms */
	int breaker_open_max; /* and at most; default 10 s */
	int breaker_trials;	  /* calls that must succeed to close it; default 2 */
	bool request_ids;	  /* gives each write that has no request id one, so that it can
							 * be tried again */
	gamestate_pool_event_callback event;
	void *event_arg;
} gamestate_pool_options;

#define GAMESTATE_POOL_OPTIONS_INIT                                                     \
	{                                                                                   \
		sizeof(gamestate_pool_options), GAMESTATE_PREPARE_AUTO, 0, 0, 0, 0, 0, 0, 0, 0, \
			0, 0, 0, 0, 0, 0, 0, 0, 0, false, NULL, NULL                                \
	}

/*
 * Makes a pool; its thread begins to connect, nobody waits for that.  conninfo
 * is a connection string or URI of libpq; several hosts are several servers (at
 * most 16).  target_session_attrs says where calls go:
 *
 *	  any (the default), primary, read-write	 all to the primary; reads to a
 *												 standby if their options say so
 *	  prefer-standby							 reads to a standby if there is one
 *	  standby, read-only						 reads to a standby, no writes
 *
 * GAMESTATE_OK, GAMESTATE_BAD_CALL (conninfo or options are wrong) or
 * GAMESTATE_NO_MEMORY; then *pool is NULL and message, unless NULL, holds why.
 */
extern gamestate_status gamestate_pool_open(const char *conninfo,
											const gamestate_pool_options *options,
											gamestate_pool **pool, char *message,
											size_t message_size);

/*
 * Waits until min_connections are open (GAMESTATE_OK), or GAMESTATE_TIMEOUT.
 * A program can begin without it: calls wait for their connection.
 */
extern gamestate_status gamestate_pool_warm_up(gamestate_pool *pool, int timeout);

/*
 * Calls that wait are answered GAMESTATE_CLOSED, submitted ones also while their
 * server works on them; synchronous ones that are being executed are waited for.
 * Connections that are checked out become invalid when they are checked in.
 * After this no thread may use the pool; no callback runs any more.  Not from a
 * callback.
 */
extern void gamestate_pool_close(gamestate_pool *pool);

/* -----------------------------------------------------------------------
 * Calls
 * -----------------------------------------------------------------------
 */

#define GAMESTATE_POOL_PREFER_STANDBY 1 /* a read may be answered by a standby */
#define GAMESTATE_POOL_NO_RETRY		  2 /* one attempt (waiting for a connection is none) */
#define GAMESTATE_POOL_WAIT			  4 /* wait for a server also while its breaker is open */

/* A member left at zero means its default. */
typedef struct gamestate_pool_call_options
{
	int timeout; /* until the call is answered, all attempts; 0 = that of the pool */
	int flags;	 /* GAMESTATE_POOL_... */
} gamestate_pool_call_options;

/*
 * Executes a call and waits for its answer; options may be NULL.  *result is
 * set in any case unless result is NULL; free it with gamestate_result_free().
 * Besides the statuses of a connection:
 *
 *	  GAMESTATE_TIMEOUT		   not answered in time; error->maybe_executed
 *	  GAMESTATE_OVERLOADED	   max_calls are in flight or waiting; at once
 *	  GAMESTATE_CIRCUIT_OPEN   every server that could is ill; at once
 *	  GAMESTATE_CLOSED		   the pool is being closed
 *
 * BEGIN, COMMIT and ROLLBACK are GAMESTATE_BAD_CALL here: check a connection out.
 */
extern gamestate_status gamestate_pool_run(gamestate_pool *pool,
										   const gamestate_call *call,
										   const gamestate_pool_call_options *options,
										   gamestate_result **result);

/*
 * The result belongs to the library and is valid until the callback returns,
 * unless it is kept with gamestate_result_keep().  Runs in a thread of the pool,
 * which other submitted calls are waiting for: it must not wait.  It may submit.
 */
typedef void (*gamestate_pool_callback)(gamestate_result *result, void *arg);

/*
 * The same without waiting.  What the call names must stay as it is until the
 * callback runs, which it does once if this returns GAMESTATE_OK, and not if it
 * returns anything else (GAMESTATE_OVERLOADED, _CLOSED, _NO_MEMORY, _BAD_CALL).
 */
extern gamestate_status gamestate_pool_submit(gamestate_pool *pool,
											  const gamestate_call *call,
											  const gamestate_pool_call_options *options,
											  gamestate_pool_callback callback,
											  void *arg);

/*
 * A connection for the calling thread alone, for a transaction or a pipeline.
 * timeout: until it is there; GAMESTATE_POOL_PREFER_STANDBY: one to read from.
 * Deadlines of its calls, retries and what is in its session are the caller's
 * business.  *conn is NULL unless GAMESTATE_OK is returned.
 */
extern gamestate_status gamestate_pool_checkout(
	gamestate_pool *pool, const gamestate_pool_call_options *options,
	gamestate_conn **conn);

/*
 * Gives it back (NULL: nothing), in any state: a transaction that is open is
 * rolled back, a connection that is broken is replaced, calls still in flight
 * are answered GAMESTATE_CLOSED in here.  Never gamestate_conn_close() it.
 */
extern void gamestate_pool_checkin(gamestate_pool *pool, gamestate_conn *conn);

/* -----------------------------------------------------------------------
 * What it does
 * -----------------------------------------------------------------------
 */

typedef struct gamestate_pool_stats
{
	/* now */
	int servers;
	int connections; /* open: idle, in use, and with the pool's thread */
	int idle;
	int in_use;		/* by calls, and checked out */
	int connecting; /* not yet among connections */
	int calls;		/* in flight or waiting, and checked out */
	int waiting;	/* those among them that have no connection */

	/* since the pool was opened */
	uint64_t started;		/* calls and checkouts that were let in */
	uint64_t succeeded;		/* answered GAMESTATE_OK */
	uint64_t failed;		/* answered with anything else; each is in one of these: */
	uint64_t server_errors; /* the server refused */
	uint64_t timeouts;
	uint64_t circuit_open;
	uint64_t other_errors; /* GAMESTATE_CONNECTION_LOST, _CLOSED, ... */
	uint64_t overloaded;   /* never let in, so not in `started` */
	uint64_t
		maybe_executed; /* failures of which nobody knows whether they were executed */
	uint64_t retries;
	uint64_t waits;	  /* had to wait for a connection */
	uint64_t wait_us; /* for so many microseconds altogether */
	uint64_t connects;
	uint64_t connect_failures;
	uint64_t lost;	  /* connections that broke or hung */
	uint64_t retired; /* closed for their age, or as not needed */
	uint64_t checks;  /* of idle connections, and after cancels */
	uint64_t check_failures;
	uint64_t cancelled; /* connections that were used again after a cancel */
	uint64_t standby_reads;
	uint64_t primary_changes;
	uint64_t breaker_opened;
	uint64_t events_dropped; /* the callback was too slow */
} gamestate_pool_stats;

/* As of one moment; stats is filled as far as `size` (sizeof(*stats)) goes. */
extern void gamestate_pool_get_stats(gamestate_pool *pool, gamestate_pool_stats *stats,
									 size_t size);

typedef struct gamestate_pool_server
{
	const char *name;	 /* "host:port"; valid as long as the pool */
	const char *role;	 /* primary, standby, unknown; static */
	const char *breaker; /* closed, open, half-open; static */
	int64_t timeline;	 /* of a primary, 0 if unknown */
	int connections;
	int idle;
	int in_use;
	int connecting;
	uint64_t connects;
	uint64_t connect_failures;
	uint64_t breaker_opened;
} gamestate_pool_server;

/* Server number 0, 1, ... in the order of the conninfo; false: there is no such. */
extern bool gamestate_pool_get_server(gamestate_pool *pool, int number,
									  gamestate_pool_server *server, size_t size);

/* -----------------------------------------------------------------------
 * One function for each SQL function, on gamestate_pool_run() with the pool's
 * timeout (for gamestate_pool_wait_changes(): after the time that the server is
 * to wait); arguments and out-parameters as in gamestate.h.  The details of a
 * failure are gamestate_pool_error()'s.
 * -----------------------------------------------------------------------
 */

/*
 * The error of the last of these functions, or of gamestate_pool_checkout(),
 * that the calling thread has called; its status is GAMESTATE_OK if there was
 * none.  Valid until the thread calls the next one.
 */
extern const gamestate_error *gamestate_pool_error(void);

extern gamestate_status gamestate_pool_create_game(gamestate_pool *pool,
												   const gamestate_new_game *game,
												   gamestate_uuid *game_id);
extern gamestate_status gamestate_pool_create_game_bytes(gamestate_pool *pool,
														 const gamestate_new_game *game,
														 gamestate_uuid *game_id);
extern gamestate_status gamestate_pool_apply_move(gamestate_pool *pool,
												  const gamestate_move *move,
												  int64_t *version);
extern gamestate_status gamestate_pool_apply_move_bytes(gamestate_pool *pool,
														const gamestate_move *move,
														int64_t *version);
extern gamestate_status gamestate_pool_apply_patch(gamestate_pool *pool,
												   const gamestate_patch *patch,
												   int64_t *version);
extern gamestate_status gamestate_pool_apply_moves(gamestate_pool *pool,
												   const gamestate_moves *moves,
												   gamestate_result **result);
extern gamestate_status gamestate_pool_apply_moves_bytes(gamestate_pool *pool,
														 const gamestate_moves *moves,
														 gamestate_result **result);
extern gamestate_status gamestate_pool_set_metadata(
	gamestate_pool *pool, const gamestate_uuid *game_id, gamestate_data metadata,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_pool_set_room_code(
	gamestate_pool *pool, const gamestate_uuid *game_id, const char *room_code,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_pool_set_deadline(
	gamestate_pool *pool, const gamestate_uuid *game_id, int64_t deadline_us,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
/* claims of a pool are never bound to a session */
extern gamestate_status gamestate_pool_claim_games(gamestate_pool *pool,
												   const gamestate_claim *claim,
												   gamestate_result **result);
extern gamestate_status gamestate_pool_renew_lease(gamestate_pool *pool,
												   const char *owner, int ttl,
												   int64_t *games);
extern gamestate_status gamestate_pool_release_games(gamestate_pool *pool,
													 const char *owner,
													 const gamestate_uuid *game_ids,
													 size_t count, int64_t *games);
extern gamestate_status gamestate_pool_list_leases(gamestate_pool *pool,
												   const char *owner,
												   gamestate_result **result);
extern gamestate_status gamestate_pool_join_game(
	gamestate_pool *pool, const gamestate_uuid *game_id, const char *player,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_pool_leave_game(
	gamestate_pool *pool, const gamestate_uuid *game_id, const char *player,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_pool_start_game(gamestate_pool *pool,
												  const gamestate_uuid *game_id,
												  int64_t expected_version,
												  const gamestate_uuid *request_id,
												  int64_t *version);
extern gamestate_status gamestate_pool_finish_game(gamestate_pool *pool,
												   const gamestate_finish *finish,
												   int64_t *version);
extern gamestate_status gamestate_pool_suspend_game(gamestate_pool *pool,
													const gamestate_uuid *game_id,
													int64_t expected_version,
													const gamestate_uuid *request_id,
													int64_t *version);
extern gamestate_status gamestate_pool_resume_game(gamestate_pool *pool,
												   const gamestate_uuid *game_id,
												   int64_t expected_version,
												   const gamestate_uuid *request_id,
												   int64_t *version);
extern gamestate_status gamestate_pool_restore_game(
	gamestate_pool *pool, const gamestate_uuid *game_id, int64_t to_version,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_pool_delete_game(gamestate_pool *pool,
												   const gamestate_uuid *game_id,
												   int64_t expected_version,
												   const gamestate_uuid *request_id,
												   bool *deleted);
extern gamestate_status gamestate_pool_get_game(gamestate_pool *pool,
												const gamestate_uuid *game_id,
												gamestate_result **result);
extern gamestate_status gamestate_pool_get_state(gamestate_pool *pool,
												 const gamestate_uuid *game_id,
												 gamestate_result **result);
extern gamestate_status gamestate_pool_get_state_bytes(gamestate_pool *pool,
													   const gamestate_uuid *game_id,
													   gamestate_result **result);
extern gamestate_status gamestate_pool_get_state_if_newer(gamestate_pool *pool,
														  const gamestate_uuid *game_id,
														  int64_t version,
														  gamestate_result **result);
extern gamestate_status gamestate_pool_get_state_if_newer_bytes(
	gamestate_pool *pool, const gamestate_uuid *game_id, int64_t version,
	gamestate_result **result);
/* *version = 0: there is no such game */
extern gamestate_status gamestate_pool_get_version(gamestate_pool *pool,
												   const gamestate_uuid *game_id,
												   int64_t *version);
extern gamestate_status gamestate_pool_get_states(gamestate_pool *pool,
												  const gamestate_uuid *game_ids,
												  size_t count,
												  gamestate_result **result);
extern gamestate_status gamestate_pool_get_states_bytes(gamestate_pool *pool,
														const gamestate_uuid *game_ids,
														size_t count,
														gamestate_result **result);
extern gamestate_status gamestate_pool_get_changes(gamestate_pool *pool,
												   const gamestate_uuid *game_id,
												   int64_t after_version, int max_changes,
												   gamestate_result **result);
extern gamestate_status gamestate_pool_state_at(gamestate_pool *pool,
												const gamestate_uuid *game_id,
												int64_t version,
												gamestate_result **result);
extern gamestate_status gamestate_pool_state_at_bytes(gamestate_pool *pool,
													  const gamestate_uuid *game_id,
													  int64_t version,
													  gamestate_result **result);
/* *found = false: there is none */
extern gamestate_status gamestate_pool_find_room(gamestate_pool *pool,
												 const char *room_code,
												 gamestate_uuid *game_id, bool *found);
extern gamestate_status gamestate_pool_player_games(gamestate_pool *pool,
													const char *player,
													gamestate_result **result);
extern gamestate_status gamestate_pool_open_rooms(gamestate_pool *pool,
												  const char *game_type, int max_rows,
												  gamestate_result **result);
extern gamestate_status gamestate_pool_list_live_games(
	gamestate_pool *pool, const gamestate_live_filter *filter, gamestate_result **result);
extern gamestate_status gamestate_pool_wait_changes(gamestate_pool *pool,
													const gamestate_feed *feed,
													gamestate_result **result);
extern gamestate_status gamestate_pool_feed_position(gamestate_pool *pool,
													 int64_t *position);
extern gamestate_status gamestate_pool_connect_player(gamestate_pool *pool,
													  const gamestate_uuid *game_id,
													  const char *player, int ttl,
													  gamestate_uuid *token);
/* *connected = false: he is not, or not by this token */
extern gamestate_status gamestate_pool_heartbeat(gamestate_pool *pool,
												 const gamestate_uuid *token,
												 bool *connected);
extern gamestate_status gamestate_pool_disconnect_player(gamestate_pool *pool,
														 const gamestate_uuid *token,
														 bool *connected);
/* no rows: the token is void; else gamestate_result_token(), _game() of row 0, and
 * _change() of the others */
extern gamestate_status gamestate_pool_reconnect(gamestate_pool *pool,
												 const gamestate_uuid *token,
												 int64_t after_version,
												 gamestate_result **result);
extern gamestate_status gamestate_pool_player_presence(gamestate_pool *pool,
													   const gamestate_uuid *game_id,
													   gamestate_result **result);
extern gamestate_status gamestate_pool_allow(gamestate_pool *pool, const char *key,
											 double cost, const char *policy,
											 gamestate_allowed *allowed);
extern gamestate_status gamestate_pool_sql(gamestate_pool *pool, const char *sql,
										   const gamestate_param *params, size_t count,
										   int flags, gamestate_result **result);

GAMESTATE_END_DECLS

#endif /* GAMESTATE_POOL_H */
