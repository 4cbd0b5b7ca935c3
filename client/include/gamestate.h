/*-------------------------------------------------------------------------
 *
 * gamestate.h
 *	  libgamestate: running games inside PostgreSQL, called from C.
 *
 * The model:
 * 1. A *call* (gamestate_call.h) is a plain value that says which SQL function
 *	  to call with which arguments.  Making one costs no memory; it names the
 *	  caller's memory, and the same value may be sent again and elsewhere.
 * 2. A *connection* (gamestate_conn) sends calls to one server through libpq's
 *	  pipeline mode: hundreds may be in flight, they are executed in the order
 *	  in which they were sent, each in a transaction of its own unless the
 *	  caller has begun one, and each is answered exactly once: by the server,
 *	  at its deadline, or when the connection is lost or closed.
 * 3. A *result* (gamestate_result.h) is an answer: an error, or values that
 *	  have been checked against what the call must return.
 * 4. The library owns no event loop.  A connection says which socket it waits
 *	  for, in which direction, and until when; gamestate_conn_process() does
 *	  what there is to do and runs callbacks.  gamestate_run() and the typed
 *	  functions at the end are that loop for a program that would rather wait.
 *
 * Everywhere in this library:
 * - Times are milliseconds.  A *deadline* is a reading of CLOCK_MONOTONIC
 *	 (gamestate_now()), a *timeout* a span: 0 = none, wait for ever.
 *	 Timestamps of games are microseconds since the Unix epoch.
 * - A handle that is NULL stands for "out of memory": functions that make one
 *	 return NULL for nothing else, all functions accept it, and its error is a
 *	 static one.  Freeing or closing NULL does nothing.
 * - A connection and what belongs to it may be used by one thread at a time
 *	 (not always the same).  Calls and results are plain data: several threads
 *	 may read one, and a result may outlive its connection.
 * - Texts are NUL-terminated UTF-8 (client_encoding is set to it).
 * - No function prints, exits, or changes signal handlers.  SIGPIPE is not
 *	 raised by writing to a lost connection (libpq sees to that).
 *
 * Structures that the caller allocates and the numbers of enumerations only
 * change together with the library's SONAME; structures that the library
 * returns may grow at their ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_H
#define GAMESTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gamestate_errors.h"

/* C linkage for C++ */
#ifdef __cplusplus
#define GAMESTATE_BEGIN_DECLS \
	extern "C"                \
	{
#define GAMESTATE_END_DECLS }
#else
#define GAMESTATE_BEGIN_DECLS
#define GAMESTATE_END_DECLS
#endif

GAMESTATE_BEGIN_DECLS

typedef struct gamestate_conn gamestate_conn;
typedef struct gamestate_result gamestate_result;

/*
 * How a call, or an attempt to connect, has ended.  The enumeration only
 * grows; treat a value you do not know like GAMESTATE_SERVER_ERROR.  Whether a
 * call that failed may have been executed all the same says
 * gamestate_error.maybe_executed.
 */
typedef enum gamestate_status
{
	/* executed and, outside a transaction of the caller's, committed */
	GAMESTATE_OK = 0,
	/* the server refused; sqlstate says why */
	GAMESTATE_SERVER_ERROR = 1,
	/* the deadline passed before the answer */
	GAMESTATE_TIMEOUT = 2,
	/* the connection broke before the answer */
	GAMESTATE_CONNECTION_LOST = 3,
	/* the caller closed the connection (or pool) first */
	GAMESTATE_CLOSED = 4,
	/* not executed: hit by the cancel of an earlier call that had passed its
	 * deadline, or a read skipped behind one that failed (see
	 * gamestate_conn_send()); send it again */
	GAMESTATE_DISTURBED = 5,
	/* there is no connection: refused, no such host, wrong password, ... */
	GAMESTATE_CONNECT_FAILED = 6,
	/* not sent: the connection is not ready, or broken */
	GAMESTATE_NOT_CONNECTED = 7,
	/* not sent: max_in_flight calls are in flight */
	GAMESTATE_TOO_MANY_CALLS = 8,
	/* not sent: wrong arguments, or a function used where it may not be */
	GAMESTATE_BAD_CALL = 9,
	/* the answer is not what this call returns: the server has another version,
	 * or what came over the wire is corrupt */
	GAMESTATE_BAD_ANSWER = 10,
	/* the client is out of memory */
	GAMESTATE_NO_MEMORY = 11,
	/* not sent: a pool's circuit breaker is open */
	GAMESTATE_CIRCUIT_OPEN = 12,
	/* not sent: a pool's limit of calls is reached */
	GAMESTATE_OVERLOADED = 13,
} gamestate_status;

/* The sentence that belongs to a status; static. */
extern const char *gamestate_status_text(gamestate_status status);

/*
 * An error, owned by the handle it was asked of and valid as long as that
 * handle says.  The texts are never NULL, detail and hint may be "".
 */
typedef struct gamestate_error
{
	gamestate_status status;
	bool maybe_executed; /* the call may have taken effect, or may do so yet */
	char sqlstate[6];	 /* five characters, or "" when it did not come from a server */
	const char *message; /* what */
	const char *detail;	 /* its consequence */
	const char *hint;	 /* what can be done */
} gamestate_error;

/* Is it this SQLSTATE of gamestate_errors.h, or of PostgreSQL? */
extern bool gamestate_error_is(const gamestate_error *error, const char *sqlstate);

/*
 * May the same call succeed if it is simply sent again, perhaps elsewhere or a
 * little later (lost connections, deadlocks, a server that starts, loads games
 * or is a standby now)?  Whether sending it again is safe is another question:
 * it is if !error->maybe_executed, or if gamestate_call_is_retryable().
 */
extern bool gamestate_error_is_transient(const gamestate_error *error);

/*
 * GS012, refused by a rate limit: how long to wait, in milliseconds.  -1: it is another
 * error, or costs more than the limit ever allows.
 */
extern int64_t gamestate_error_wait_ms(const gamestate_error *error);

#include "gamestate_call.h"
#include "gamestate_result.h"

/* -----------------------------------------------------------------------
 * Connections
 * -----------------------------------------------------------------------
 */

typedef enum gamestate_conn_state
{
	GAMESTATE_CONN_CONNECTING = 0, /* next: READY, BROKEN */
	GAMESTATE_CONN_READY = 1,	   /* calls can be sent; next: BROKEN */
	GAMESTATE_CONN_BROKEN = 2,	   /* of no more use but to ask what went wrong */
} gamestate_conn_state;

/*
 * Whether statements are prepared.  A connection pooler that hands each
 * transaction to another server process (PgBouncer in transaction mode) loses
 * prepared statements; then each call carries its SQL (about 20 % slower).  Such
 * a pooler also mixes up messages that stand behind one that is being answered;
 * so calls in flight wait in the library then, and each is sent when the one
 * before has been answered (as with options.one_at_a_time).
 */
typedef enum gamestate_prepare
{
	/* unless something sits between us and the server: the process id that was
	 * given at connecting is compared with the server's, one round trip */
	GAMESTATE_PREPARE_AUTO = 0,
	/* no state is left in the session at all; whether there is a pooler is not asked */
	GAMESTATE_PREPARE_NEVER = 1,
	/* also through a pooler */
	GAMESTATE_PREPARE_ALWAYS = 2,
} gamestate_prepare;

/*
 * severity is WARNING, NOTICE, ...; called within gamestate_conn_process(), and
 * may not use the connection.
 */
typedef void (*gamestate_notice_callback)(void *arg, const char *severity,
										  const char *sqlstate, const char *message);

/*
 * How to connect and how to behave.  Begin with GAMESTATE_OPTIONS_INIT; a
 * member left at zero means its default.  The texts are copied.
 */
typedef struct gamestate_options
{
	size_t size; /* sizeof(gamestate_options): later versions have more members */
	gamestate_prepare prepare;
	int connect_timeout; /* for the whole attempt, all hosts; 0 = none */
	int call_timeout;	 /* of calls that are given none of their own */
	int max_in_flight;	 /* calls sent and not yet answered by the server: 1024 */
	bool no_cancel;		 /* do not ask the server to cancel calls past their deadline */
	bool no_groups;		 /* see gamestate_conn_send() */
	gamestate_notice_callback notice; /* NULL = ignore the server's notices */
	void *notice_arg;
	bool one_at_a_time; /* send a call when the one before has been answered */
} gamestate_options;

#define GAMESTATE_OPTIONS_INIT                                                          \
	{                                                                                   \
		sizeof(gamestate_options), GAMESTATE_PREPARE_AUTO, 0, 0, 0, false, false, NULL, \
			NULL, false                                                                 \
	}

/*
 * Begins to connect.  conninfo is a connection string or URI of libpq
 * ("host=a,b dbname=games target_session_attrs=read-write", NULL or "" for all
 * from the environment); options may be NULL.  Never waits, but for the names
 * of hosts (libpq looks them up at once; give hostaddr to avoid that).  Returns
 * a connection whose state is CONNECTING or BROKEN; NULL: out of memory.
 */
extern gamestate_conn *gamestate_connect_start(const char *conninfo,
											   const gamestate_options *options);

/*
 * The same, waiting until it is ready or broken: look at
 * gamestate_conn_get_state().
 */
extern gamestate_conn *gamestate_connect(const char *conninfo,
										 const gamestate_options *options);

/*
 * Closes the connection and frees everything that belongs to it.  Calls in
 * flight are answered first (their callbacks run in here) with
 * GAMESTATE_CLOSED.  Within a callback of this connection it is closed when
 * that callback has returned; other calls in flight are answered then.
 */
extern void gamestate_conn_close(gamestate_conn *conn);

extern gamestate_conn_state gamestate_conn_get_state(const gamestate_conn *conn);

/*
 * The last error of the connection: why it is broken, or what the last
 * function that was given this connection and did not return GAMESTATE_OK
 * complains about.  Valid until the next use of the connection.
 */
extern const gamestate_error *gamestate_conn_error(const gamestate_conn *conn);

/*
 * A parameter that the server reports (server_version, in_hot_standby,
 * session_authorization, ...), or "host", "port", "dbname", "user" of the
 * connection; NULL if unknown.  Valid until the next use of the connection.
 */
extern const char *gamestate_conn_parameter(const gamestate_conn *conn, const char *name);

/* Does it use prepared statements (once it is ready)? */
extern bool gamestate_conn_prepares(const gamestate_conn *conn);

/* Is a transaction of the caller's open, as far as answers have come? */
extern bool gamestate_conn_in_transaction(const gamestate_conn *conn);

/* -----------------------------------------------------------------------
 * Asynchronous use
 *
 * The loop, in every state of the connection:
 *
 *	   wait for gamestate_conn_socket() in the directions of
 *	   gamestate_conn_wants(), at most gamestate_conn_wait_time();
 *	   gamestate_conn_process();
 *
 * client/examples has it for poll, epoll and libuv.
 * -----------------------------------------------------------------------
 */

#define GAMESTATE_WANTS_READ  1
#define GAMESTATE_WANTS_WRITE 2

/*
 * The socket, or -1.  While connecting, each gamestate_conn_process() may
 * close it and open another (that may have the same number): register it anew.
 */
extern int gamestate_conn_socket(const gamestate_conn *conn);

/* GAMESTATE_WANTS_READ, _WRITE, both or 0.  Changes with every call sent. */
extern int gamestate_conn_wants(const gamestate_conn *conn);

/* When gamestate_conn_process() is to be called at the latest; INT64_MAX: no timer. */
extern int64_t gamestate_conn_deadline(const gamestate_conn *conn);

/* The same as poll(2) takes it: milliseconds from now, or -1. */
extern int gamestate_conn_wait_time(const gamestate_conn *conn);

/* Now, as deadlines are counted. */
extern int64_t gamestate_now(void);

/*
 * Does what there is to do: goes on connecting, sends, receives, runs the
 * callbacks of calls that were answered or have passed their deadlines.  Never
 * waits.  GAMESTATE_OK: go on (also for a spurious call).  GAMESTATE_CLOSED: a
 * callback has closed the connection, which is gone.  Anything else: the
 * connection is broken, all calls have been answered.
 */
extern gamestate_status gamestate_conn_process(gamestate_conn *conn);

/*
 * Gets the answer of a call; runs within gamestate_conn_process(), or within
 * gamestate_conn_close() and gamestate_run() of the same connection, once for
 * each call that was sent.  The result belongs to the library and is valid
 * until the callback returns, unless it is kept with gamestate_result_keep().
 * A callback may send calls and close the connection.
 */
typedef void (*gamestate_callback)(gamestate_conn *conn, gamestate_result *result,
								   void *arg);

/*
 * Sends a call.  What the call names may be changed or freed as soon as this
 * returns.  timeout: until the callback runs at the latest; 0 = that of the
 * options.  A callback of NULL: nobody wants the answer.
 *
 * GAMESTATE_OK: it is on its way, the callback will run once, and not from in
 * here.  Anything else: nothing was sent, the callback will not run, and
 * gamestate_conn_error() says why.
 *
 * The call leaves with the next gamestate_conn_flush() or _process() at the
 * latest.  Reads of one game (get_state, get_version, ...) that are sent in a
 * row go in groups, which costs the server less; should one fail, those after
 * it in its group are sent again by the library and may then see the effect
 * of writes that were sent after them, or, if a transaction has been begun
 * meanwhile, are answered with GAMESTATE_DISTURBED (options.no_groups: each
 * by itself).
 * Writes always are transactions of their own.
 *
 * Past the deadline: the callback runs with GAMESTATE_TIMEOUT.  If the call is
 * being executed (all calls sent before it have been answered) and has been
 * for 10 ms, the server is asked to cancel it; one that still stands in the
 * line behind others is cancelled when its turn has come.  PostgreSQL cancels
 * whatever the session is executing when the request arrives; should that be
 * the next call already, then that one has not been executed and is answered
 * with GAMESTATE_DISTURBED, or, if it was waiting for synchronous standbys
 * after its commit, with SQLSTATE 08007 and maybe_executed.  So where calls of very different length share a
 * connection (wait_changes!), give the long ones a connection of their own.
 * The request is made by a short-lived thread, since libpq's waits.
 */
extern gamestate_status gamestate_conn_send(gamestate_conn *conn,
											const gamestate_call *call, int timeout,
											gamestate_callback callback, void *arg);

/*
 * Sends what is waiting, as far as the socket takes it.  Not needed in a loop
 * that asks gamestate_conn_wants() after sending; it saves a turn of it.
 */
extern gamestate_status gamestate_conn_flush(gamestate_conn *conn);

/* Calls whose callbacks are still to run. */
extern int gamestate_conn_in_flight(const gamestate_conn *conn);

/*
 * Calls that the server has yet to answer, those among them whose callbacks
 * have run at their deadlines.  A connection where this is not 0 while
 * gamestate_conn_in_flight() is, hangs or is being cancelled.
 */
extern int gamestate_conn_unanswered(const gamestate_conn *conn);

/*
 * For how long the server has been silent although it owes an answer; 0 if it
 * owes none.
 */
extern int64_t gamestate_conn_silence(const gamestate_conn *conn);

/* Is a cancel on its way?  Calls sent now cannot be hit by it once it is not. */
extern bool gamestate_conn_cancelling(const gamestate_conn *conn);

/* -----------------------------------------------------------------------
 * Synchronous use
 * -----------------------------------------------------------------------
 */

/*
 * Sends a call and waits for its answer.  Calls sent before are processed
 * meanwhile.  *result is set in any case, also for an error, unless result is
 * NULL; free it with gamestate_result_free().  Not within a callback.
 */
extern gamestate_status gamestate_run(gamestate_conn *conn, const gamestate_call *call,
									  int timeout, gamestate_result **result);

/* Waits until no call is in flight; GAMESTATE_TIMEOUT if some still are. */
extern gamestate_status gamestate_conn_drain(gamestate_conn *conn, int timeout);

/*
 * One function for each SQL function, on gamestate_run() with the timeout of
 * the options; gamestate_conn_error() has the details of a failure.  Arguments
 * are those of gamestate_call.h.  Out-parameters come last, are set only for
 * GAMESTATE_OK, and may be NULL; a result is the caller's to free and, if
 * asked for, is set for errors as well.
 */
extern gamestate_status gamestate_create_game(gamestate_conn *conn,
											  const gamestate_new_game *game,
											  gamestate_uuid *game_id);
extern gamestate_status gamestate_create_game_bytes(gamestate_conn *conn,
													const gamestate_new_game *game,
													gamestate_uuid *game_id);
extern gamestate_status gamestate_apply_move(gamestate_conn *conn,
											 const gamestate_move *move,
											 int64_t *version);
extern gamestate_status gamestate_apply_move_bytes(gamestate_conn *conn,
												   const gamestate_move *move,
												   int64_t *version);
extern gamestate_status gamestate_apply_patch(gamestate_conn *conn,
											  const gamestate_patch *patch,
											  int64_t *version);
extern gamestate_status gamestate_apply_moves(gamestate_conn *conn,
											  const gamestate_moves *moves,
											  gamestate_result **result);
extern gamestate_status gamestate_apply_moves_bytes(gamestate_conn *conn,
													const gamestate_moves *moves,
													gamestate_result **result);
extern gamestate_status gamestate_set_metadata(
	gamestate_conn *conn, const gamestate_uuid *game_id, gamestate_data metadata,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_set_room_code(
	gamestate_conn *conn, const gamestate_uuid *game_id, const char *room_code,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_set_deadline(
	gamestate_conn *conn, const gamestate_uuid *game_id, int64_t deadline_us,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
/* games: how many */
extern gamestate_status gamestate_claim_games(gamestate_conn *conn,
											  const gamestate_claim *claim,
											  gamestate_result **result);
extern gamestate_status gamestate_renew_lease(gamestate_conn *conn, const char *owner,
											  int ttl, int64_t *games);
extern gamestate_status gamestate_release_games(gamestate_conn *conn, const char *owner,
												const gamestate_uuid *game_ids,
												size_t count, int64_t *games);
extern gamestate_status gamestate_list_leases(gamestate_conn *conn, const char *owner,
											  gamestate_result **result);
extern gamestate_status gamestate_join_game(gamestate_conn *conn,
											const gamestate_uuid *game_id,
											const char *player, int64_t expected_version,
											const gamestate_uuid *request_id,
											int64_t *version);
extern gamestate_status gamestate_leave_game(gamestate_conn *conn,
											 const gamestate_uuid *game_id,
											 const char *player, int64_t expected_version,
											 const gamestate_uuid *request_id,
											 int64_t *version);
extern gamestate_status gamestate_start_game(gamestate_conn *conn,
											 const gamestate_uuid *game_id,
											 int64_t expected_version,
											 const gamestate_uuid *request_id,
											 int64_t *version);
extern gamestate_status gamestate_finish_game(gamestate_conn *conn,
											  const gamestate_finish *finish,
											  int64_t *version);
extern gamestate_status gamestate_suspend_game(gamestate_conn *conn,
											   const gamestate_uuid *game_id,
											   int64_t expected_version,
											   const gamestate_uuid *request_id,
											   int64_t *version);
extern gamestate_status gamestate_resume_game(gamestate_conn *conn,
											  const gamestate_uuid *game_id,
											  int64_t expected_version,
											  const gamestate_uuid *request_id,
											  int64_t *version);
extern gamestate_status gamestate_restore_game(
	gamestate_conn *conn, const gamestate_uuid *game_id, int64_t to_version,
	int64_t expected_version, const gamestate_uuid *request_id, int64_t *version);
extern gamestate_status gamestate_delete_game(gamestate_conn *conn,
											  const gamestate_uuid *game_id,
											  int64_t expected_version,
											  const gamestate_uuid *request_id,
											  bool *deleted);
extern gamestate_status gamestate_get_game(gamestate_conn *conn,
										   const gamestate_uuid *game_id,
										   gamestate_result **result);
extern gamestate_status gamestate_get_state(gamestate_conn *conn,
											const gamestate_uuid *game_id,
											gamestate_result **result);
extern gamestate_status gamestate_get_state_bytes(gamestate_conn *conn,
												  const gamestate_uuid *game_id,
												  gamestate_result **result);
extern gamestate_status gamestate_get_state_if_newer(gamestate_conn *conn,
													 const gamestate_uuid *game_id,
													 int64_t version,
													 gamestate_result **result);
extern gamestate_status gamestate_get_state_if_newer_bytes(gamestate_conn *conn,
														   const gamestate_uuid *game_id,
														   int64_t version,
														   gamestate_result **result);
/* *version = 0: there is no such game */
extern gamestate_status gamestate_get_version(gamestate_conn *conn,
											  const gamestate_uuid *game_id,
											  int64_t *version);
extern gamestate_status gamestate_get_states(gamestate_conn *conn,
											 const gamestate_uuid *game_ids, size_t count,
											 gamestate_result **result);
extern gamestate_status gamestate_get_states_bytes(gamestate_conn *conn,
												   const gamestate_uuid *game_ids,
												   size_t count,
												   gamestate_result **result);
extern gamestate_status gamestate_get_changes(gamestate_conn *conn,
											  const gamestate_uuid *game_id,
											  int64_t after_version, int max_changes,
											  gamestate_result **result);
extern gamestate_status gamestate_state_at(gamestate_conn *conn,
										   const gamestate_uuid *game_id, int64_t version,
										   gamestate_result **result);
extern gamestate_status gamestate_state_at_bytes(gamestate_conn *conn,
												 const gamestate_uuid *game_id,
												 int64_t version,
												 gamestate_result **result);
/* *found = false: there is none */
extern gamestate_status gamestate_find_room(gamestate_conn *conn, const char *room_code,
											gamestate_uuid *game_id, bool *found);
extern gamestate_status gamestate_player_games(gamestate_conn *conn, const char *player,
											   gamestate_result **result);
extern gamestate_status gamestate_open_rooms(gamestate_conn *conn, const char *game_type,
											 int max_rows, gamestate_result **result);
extern gamestate_status gamestate_list_live_games(gamestate_conn *conn,
												  const gamestate_live_filter *filter,
												  gamestate_result **result);
extern gamestate_status gamestate_wait_changes(gamestate_conn *conn,
											   const gamestate_feed *feed,
											   gamestate_result **result);
extern gamestate_status gamestate_feed_position(gamestate_conn *conn, int64_t *position);

/* The token is a secret between server and player. */
extern gamestate_status gamestate_connect_player(gamestate_conn *conn,
												 const gamestate_uuid *game_id,
												 const char *player, int ttl,
												 gamestate_uuid *token);
/* *connected = false: he is not, or not by this token */
extern gamestate_status gamestate_heartbeat(gamestate_conn *conn,
											const gamestate_uuid *token, bool *connected);
extern gamestate_status gamestate_disconnect_player(gamestate_conn *conn,
													const gamestate_uuid *token,
													bool *connected);
/* no rows: the token is void; else gamestate_result_token(), _game() of row 0, and
 * _change() of the others */
extern gamestate_status gamestate_reconnect(gamestate_conn *conn,
											const gamestate_uuid *token,
											int64_t after_version,
											gamestate_result **result);
extern gamestate_status gamestate_player_presence(gamestate_conn *conn,
												  const gamestate_uuid *game_id,
												  gamestate_result **result);
extern gamestate_status gamestate_allow(gamestate_conn *conn, const char *key,
										double cost, const char *policy,
										gamestate_allowed *allowed);

extern gamestate_status gamestate_begin(gamestate_conn *conn);
extern gamestate_status gamestate_commit(gamestate_conn *conn);
extern gamestate_status gamestate_rollback(gamestate_conn *conn);
extern gamestate_status gamestate_sql(gamestate_conn *conn, const char *sql,
									  const gamestate_param *params, size_t count,
									  int flags, gamestate_result **result);

/* Version of the library, "0.1.0". */
extern const char *gamestate_version(void);

GAMESTATE_END_DECLS

#endif /* GAMESTATE_H */
