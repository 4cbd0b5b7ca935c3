/*-------------------------------------------------------------------------
 *
 * check.c
 *	  What a pool does with one server that is well, and with none: each function
 *	  of gamestate_pool.h, its limits, and its threads.
 *
 * usage: check CONNINFO	   (a role that may call pg_terminate_backend)
 *
 * Speaks TAP.  What it does when servers are not well is player.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

static const char *conninfo;

static gamestate_pool *
open_pool(const gamestate_pool_options *options)
{
	gamestate_pool *pool;
	char why[256] = "";

	if (gamestate_pool_open(conninfo, options, &pool, why, sizeof(why)) != GAMESTATE_OK)
	{
		printf("Bail out! %s\n", why);
		exit(1);
	}
	return pool;
}

static gamestate_pool_stats
stats_of(gamestate_pool *pool)
{
	gamestate_pool_stats stats;

	gamestate_pool_get_stats(pool, &stats, sizeof(stats));
	return stats;
}

/* Waits until a condition holds, at most half a minute. */
#define WAIT_UNTIL(condition)                                  \
	for (int tries = 0; tries < 3000 && !(condition); tries++) \
	usleep(10000)

/* One statement with one number as its result; -1: it failed. */
static int64_t
sql(gamestate_pool *pool, const char *text, int timeout)
{
	gamestate_pool_call_options options = {.timeout = timeout};
	gamestate_result *result;
	gamestate_call call;
	int64_t value = -1;

	gamestate_call_sql(&call, text, NULL, 0, 0);
	if (gamestate_pool_run(pool, &call, &options, &result) == GAMESTATE_OK)
		gamestate_result_int8(result, 0, 0, &value);
	gamestate_result_free(result);
	return value;
}

/* -----------------------------------------------------------------------
 * Opening
 * -----------------------------------------------------------------------
 */

static void
refused(const char *text, gamestate_pool_options options, const char *message)
{
	gamestate_pool *pool;
	char why[256] = "";

	ok(gamestate_pool_open(text, &options, &pool, why, sizeof(why)) ==
			   GAMESTATE_BAD_CALL &&
		   pool == NULL && strstr(why, message) != NULL,
	   "refused: %s", why);
}

static void
test_open(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;

	refused("nonsense", options, "nonsense");
	options.max_connections = 2;
	options.min_connections = 3;
	refused(conninfo, options, "min_connections");
	options.max_connections = -1;
	refused(conninfo, options, "max_connections");

	options.max_connections = 5;
	pool = open_pool(&options);
	ok(gamestate_pool_warm_up(pool, 30000) == GAMESTATE_OK &&
		   stats_of(pool).connections >= 3,
	   "warmed up");
	gamestate_pool_close(pool);

	pool = open_pool(NULL);
	gamestate_pool_close(pool);
	ok(true, "opened and closed at once");
	gamestate_pool_close(NULL);
	ok(gamestate_pool_run(NULL, NULL, NULL, NULL) == GAMESTATE_NO_MEMORY, "no pool");
}

/* -----------------------------------------------------------------------
 * Calls
 * -----------------------------------------------------------------------
 */

static void
test_typed(void)
{
	gamestate_pool *pool = open_pool(NULL);
	gamestate_new_game game = {.game_type = "check",
							   .state = gamestate_text("{\"n\":1}")};
	gamestate_move move = {.expected_version = 1,
						   .event = gamestate_text("1"),
						   .state = gamestate_text("{\"n\":2}")};
	gamestate_uuid id;
	gamestate_result *result = NULL;
	gamestate_call call;
	int64_t version = 0;
	bool deleted = false;

	ok(gamestate_pool_create_game(pool, &game, &id) == GAMESTATE_OK, "create_game");
	move.game_id = &id;
	ok(gamestate_pool_apply_move(pool, &move, &version) == GAMESTATE_OK && version == 2,
	   "apply_move");
	ok(gamestate_pool_error()->status == GAMESTATE_OK, "no error");
	ok(gamestate_pool_apply_move(pool, &move, &version) == GAMESTATE_SERVER_ERROR &&
		   gamestate_error_is(gamestate_pool_error(), GAMESTATE_STALE_VERSION) &&
		   gamestate_pool_error()->message[0] != '\0' &&
		   !gamestate_pool_error()->maybe_executed,
	   "a stale version is an answer");
	ok(gamestate_pool_get_state(pool, &id, &result) == GAMESTATE_OK &&
		   gamestate_result_state(result).len == 7,
	   "get_state");
	gamestate_result_free(result);
	ok(gamestate_pool_get_version(pool, &id, &version) == GAMESTATE_OK && version == 2,
	   "get_version");
	ok(gamestate_pool_delete_game(pool, &id, 0, NULL, &deleted) == GAMESTATE_OK &&
		   deleted,
	   "delete_game");
	gamestate_call_begin(&call);
	ok(gamestate_pool_run(pool, &call, NULL, NULL) == GAMESTATE_BAD_CALL,
	   "BEGIN needs a connection of its own");
	ok(stats_of(pool).server_errors == 1 && stats_of(pool).calls == 0, "counted");
	gamestate_pool_close(pool);
}

static bool
is_bytes(gamestate_status status, gamestate_result *result, const void *bytes, size_t len)
{
	gamestate_data state = gamestate_result_state(result);
	bool same = status == GAMESTATE_OK && state.data != NULL && state.len == len &&
				memcmp(state.data, bytes, len) == 0;

	gamestate_result_free(result);
	return same;
}

static void
test_bytes(void)
{
	static const char bytes[] = {1, 0, 2};
	gamestate_pool *pool = open_pool(NULL);
	gamestate_new_game game = {.game_type = "check", .state = {bytes, 1}};
	gamestate_move move = {.event = {bytes, 1}, .state = {bytes, 3}};
	gamestate_uuid id = {{0}};
	gamestate_result *result = NULL;
	gamestate_status status;
	int64_t version = 0;

	ok(gamestate_pool_create_game_bytes(pool, &game, &id) == GAMESTATE_OK,
	   "create_game_bytes");
	move.game_id = &id;
	ok(gamestate_pool_apply_move_bytes(pool, &move, &version) == GAMESTATE_OK &&
		   version == 2,
	   "apply_move_bytes");
	status = gamestate_pool_get_state_bytes(pool, &id, &result);
	ok(is_bytes(status, result, bytes, 3), "get_state_bytes");
	status = gamestate_pool_get_state_if_newer_bytes(pool, &id, 1, &result);
	ok(is_bytes(status, result, bytes, 3), "get_state_if_newer_bytes");
	status = gamestate_pool_get_state_if_newer_bytes(pool, &id, 2, &result);
	ok(status == GAMESTATE_OK && gamestate_result_state(result).data == NULL,
	   "which has none if there is none newer");
	gamestate_result_free(result);
	status = gamestate_pool_state_at_bytes(pool, &id, 1, &result);
	ok(is_bytes(status, result, bytes, 1), "state_at_bytes");
	gamestate_pool_delete_game(pool, &id, 0, NULL, NULL);
	gamestate_pool_close(pool);
}

static void
test_presence(void)
{
	const char *players[] = {"ann"};
	gamestate_new_game game = {.game_type = "met", .players = players, .num_players = 1};
	gamestate_pool *pool = open_pool(NULL);
	gamestate_uuid id = {{0}};
	gamestate_uuid token = {{0}};
	gamestate_presence there;
	gamestate_allowed allowed;
	gamestate_result *result;
	bool connected = false;

	gamestate_pool_create_game(pool, &game, &id);
	ok(gamestate_pool_connect_player(pool, &id, "ann", 0, &token) == GAMESTATE_OK,
	   "connect_player");
	ok(gamestate_pool_heartbeat(pool, &token, &connected) == GAMESTATE_OK && connected,
	   "heartbeat");
	ok(gamestate_pool_player_presence(pool, &id, &result) == GAMESTATE_OK &&
		   gamestate_result_presence(result, 0, &there) &&
		   strcmp(there.presence, "connected") == 0,
	   "player_presence");
	gamestate_result_free(result);
	ok(gamestate_pool_disconnect_player(pool, &token, &connected) == GAMESTATE_OK &&
		   connected,
	   "disconnect_player");
	ok(gamestate_pool_reconnect(pool, &token, 0, &result) == GAMESTATE_OK &&
		   gamestate_result_rows(result) == 2 && gamestate_result_token(result, &token),
	   "reconnect");
	gamestate_result_free(result);
	(void) sql(pool,
			   "INSERT INTO gamestate.rate_limit (name, amount, period)"
			   " VALUES ('one', 1, '1 hour') ON CONFLICT DO NOTHING",
			   0);
	ok(gamestate_pool_allow(pool, "key", 2, "one", &allowed) == GAMESTATE_OK &&
		   !allowed.allowed && allowed.wait_ms == -1,
	   "allow");
	ok(gamestate_pool_allow(pool, "key", 1, "no such limit", &allowed) ==
			   GAMESTATE_SERVER_ERROR &&
		   gamestate_error_is(gamestate_pool_error(), "42704"),
	   "an error");
	gamestate_pool_delete_game(pool, &id, 0, NULL, NULL);
	gamestate_pool_close(pool);
}

static void
test_deadline(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;
	gamestate_pool_call_options late = {.timeout = 200};
	gamestate_result *result;
	gamestate_call call;
	int64_t begun;
	int64_t pid;

	options.max_connections = 1;
	pool = open_pool(&options);
	pid = sql(pool, "SELECT pg_backend_pid()", 0);
	gamestate_call_sql(&call, "SELECT pg_sleep(60)", NULL, 0, 0);
	begun = gamestate_now();
	ok(gamestate_pool_run(pool, &call, &late, &result) == GAMESTATE_TIMEOUT &&
		   gamestate_result_error(result)->maybe_executed,
	   "a call that takes longer is answered at its deadline");
	ok(gamestate_now() - begun < 5000, "after %d ms", (int) (gamestate_now() - begun));
	gamestate_result_free(result);
	ok(sql(pool, "SELECT pg_backend_pid()", 30000) == pid,
	   "it was cancelled, and its connection is used again");
	ok(stats_of(pool).cancelled == 1 && stats_of(pool).timeouts == 1 &&
		   stats_of(pool).lost == 0,
	   "counted");
	gamestate_pool_close(pool);
}

/* The server ends our idle connections: nobody notices. */
static void
test_dead_idle(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;
	gamestate_pool *other = open_pool(NULL);
	gamestate_new_game game = {.game_type = "check"};
	gamestate_status status;

	options.min_connections = 4;
	pool = open_pool(&options);
	gamestate_pool_warm_up(pool, 30000);
	WAIT_UNTIL(stats_of(pool).idle == 4);
	sql(other,
		"SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
		" WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
		30000);
	status = gamestate_pool_create_game(pool, &game, NULL);
	ok(status == GAMESTATE_OK, "a write is not sent to a session that was ended: %s",
	   gamestate_pool_error()->message);
	ok(stats_of(pool).lost >= 1 && stats_of(pool).retries == 0,
	   "and need not be tried again");
	WAIT_UNTIL(stats_of(pool).connections >= 4);
	ok(stats_of(pool).connections >= 4, "the connections are replaced");
	gamestate_pool_close(other);
	gamestate_pool_close(pool);
}

/* -----------------------------------------------------------------------
 * Limits
 * -----------------------------------------------------------------------
 */

static void *
sleep_a_second(void *pool)
{
	gamestate_call call;
	gamestate_status status;

	gamestate_call_sql(&call, "SELECT pg_sleep(1)", NULL, 0, 0);
	status = gamestate_pool_run(pool, &call, NULL, NULL);
	return (void *) (intptr_t) status;
}

static void
test_limits(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;
	pthread_t threads[3];
	void *status;
	gamestate_conn *conn;
	int64_t begun;
	int succeeded = 0;

	options.max_connections = 2;
	options.max_calls = 3;
	pool = open_pool(&options);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, sleep_a_second, pool);
	WAIT_UNTIL(stats_of(pool).calls == 3 && stats_of(pool).in_use == 2);
	ok(stats_of(pool).waiting == 1, "the third call waits for a connection");
	begun = gamestate_now();
	ok(sql(pool, "SELECT 1", 0) == -1 && stats_of(pool).overloaded == 1,
	   "the fourth is refused");
	ok(gamestate_pool_checkout(pool, NULL, &conn) == GAMESTATE_OVERLOADED &&
		   conn == NULL && gamestate_pool_error()->status == GAMESTATE_OVERLOADED,
	   "so is a checkout");
	ok(gamestate_now() - begun < 500, "at once");
	for (int i = 0; i < 3; i++)
	{
		pthread_join(threads[i], &status);
		succeeded += (intptr_t) status == GAMESTATE_OK;
	}
	ok(succeeded == 3, "the others are executed");
	ok(stats_of(pool).waits >= 1 && stats_of(pool).wait_us > 0, "waiting is counted");
	gamestate_pool_close(pool);
}

static void
test_retirement(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;
	pthread_t threads[4];

	options.min_connections = 1;
	options.max_connections = 4;
	options.idle_timeout = 300;
	options.check_interval = 100;
	pool = open_pool(&options);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, sleep_a_second, pool);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ok(stats_of(pool).connects >= 4, "four connections for four calls");
	WAIT_UNTIL(stats_of(pool).connections == 1);
	ok(stats_of(pool).connections == 1 && stats_of(pool).retired >= 3,
	   "three are retired when they have been idle");
	WAIT_UNTIL(stats_of(pool).checks > 5);
	ok(stats_of(pool).checks > 5 && stats_of(pool).check_failures == 0,
	   "the one that is left is asked for signs of life");
	gamestate_pool_close(pool);

	options.idle_timeout = -1;
	options.check_interval = -1;
	options.max_lifetime = 300;
	pool = open_pool(&options);
	gamestate_pool_warm_up(pool, 30000);
	WAIT_UNTIL(stats_of(pool).connects >= 3);
	ok(stats_of(pool).connects >= 3 && stats_of(pool).retired >= 2 &&
		   sql(pool, "SELECT 7", 0) == 7,
	   "connections that are too old are replaced");
	gamestate_pool_close(pool);
}

/* -----------------------------------------------------------------------
 * Connections that are checked out
 * -----------------------------------------------------------------------
 */

static bool
run_sql(gamestate_conn *conn, const char *text)
{
	return gamestate_sql(conn, text, NULL, 0, 0, NULL) == GAMESTATE_OK;
}

static void
test_checkout(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool_call_options soon = {.timeout = 200};
	gamestate_pool *pool;
	gamestate_conn *conn;
	gamestate_conn *second;

	options.max_connections = 1;
	pool = open_pool(&options);
	ok(gamestate_pool_checkout(pool, NULL, &conn) == GAMESTATE_OK, "checked out");
	ok(gamestate_pool_checkout(pool, &soon, &second) == GAMESTATE_TIMEOUT &&
		   second == NULL,
	   "a second one is not to be had");
	ok(run_sql(conn, "CREATE TABLE IF NOT EXISTS pool_check (n int)") &&
		   gamestate_begin(conn) == GAMESTATE_OK &&
		   run_sql(conn, "INSERT INTO pool_check VALUES (1)"),
	   "a transaction");
	gamestate_pool_checkin(pool, conn);
	ok(sql(pool, "SELECT count(*) FROM pool_check", 0) == 0,
	   "is rolled back when it is given back open");

	gamestate_pool_checkout(pool, NULL, &conn);
	ok(gamestate_begin(conn) == GAMESTATE_OK &&
		   run_sql(conn, "INSERT INTO pool_check VALUES (1)") &&
		   gamestate_commit(conn) == GAMESTATE_OK,
	   "and committed");
	gamestate_pool_checkin(pool, conn);
	ok(sql(pool, "SELECT count(*) FROM pool_check", 0) == 1, "when it is");

	gamestate_pool_checkout(pool, NULL, &conn);
	ok(!run_sql(conn, "SELECT pg_terminate_backend(pg_backend_pid())"),
	   "one that is broken meanwhile");
	gamestate_pool_checkin(pool, conn);
	ok(sql(pool, "DROP TABLE pool_check", 0) == -1 && sql(pool, "SELECT 7", 0) == 7,
	   "is replaced");
	gamestate_pool_checkin(pool, NULL);

	gamestate_pool_checkout(pool, NULL, &conn);
	gamestate_pool_close(pool);
	ok(run_sql(conn, "SELECT 1"), "one that is out when the pool is closed can be used");
	gamestate_pool_checkin(pool, conn);
}

/* -----------------------------------------------------------------------
 * Submitted calls, closing, forking
 * -----------------------------------------------------------------------
 */

#define SUBMITTED 900

static atomic_int answers[SUBMITTED];
static atomic_int answered;
static atomic_int answered_ok;
static atomic_int answered_closed;

static void
on_answer(gamestate_result *result, void *arg)
{
	gamestate_status status = gamestate_result_status(result);

	atomic_fetch_add(&answers[(intptr_t) arg], 1);
	atomic_fetch_add(status == GAMESTATE_OK ? &answered_ok : &answered_closed,
					 status == GAMESTATE_OK || status == GAMESTATE_CLOSED);
	atomic_fetch_add(&answered, 1);
}

static void
test_submit(void)
{
	gamestate_pool *pool = open_pool(NULL);
	gamestate_call call;
	int once = 0;
	int submitted = 0;

	gamestate_call_sql(&call, "SELECT 1", NULL, 0, GAMESTATE_SQL_READ);
	for (intptr_t i = 0; i < SUBMITTED; i++)
		submitted += gamestate_pool_submit(pool, &call, NULL, on_answer, (void *) i) ==
					 GAMESTATE_OK;
	WAIT_UNTIL(atomic_load(&answered) == submitted);
	for (int i = 0; i < SUBMITTED; i++)
		once += atomic_load(&answers[i]) == 1;
	ok(submitted == SUBMITTED && once == SUBMITTED &&
		   atomic_load(&answered_ok) == SUBMITTED,
	   "each of %d submitted calls is answered once", SUBMITTED);

	atomic_store(&answered, 0);
	gamestate_call_sql(&call, "SELECT pg_sleep(60)", NULL, 0, GAMESTATE_SQL_READ);
	for (intptr_t i = 0; i < 100; i++)
		gamestate_pool_submit(pool, &call, NULL, on_answer, (void *) i);
	WAIT_UNTIL(stats_of(pool).in_use == 10);
	gamestate_pool_close(pool);
	ok(atomic_load(&answered) == 100 && atomic_load(&answered_closed) == 100,
	   "closing the pool answers all that are on their way");
}

static void *
wait_for_connection(void *pool)
{
	gamestate_conn *conn;

	return (void *) (intptr_t) gamestate_pool_checkout(pool, NULL, &conn);
}

static void
test_close(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool *pool;
	pthread_t sleeper;
	pthread_t waiter;
	void *slept;
	void *waited;

	options.max_connections = 1;
	pool = open_pool(&options);
	pthread_create(&sleeper, NULL, sleep_a_second, pool);
	WAIT_UNTIL(stats_of(pool).in_use == 1);
	pthread_create(&waiter, NULL, wait_for_connection, pool);
	WAIT_UNTIL(stats_of(pool).waiting == 1);
	gamestate_pool_close(pool);
	pthread_join(sleeper, &slept);
	pthread_join(waiter, &waited);
	ok((intptr_t) slept == GAMESTATE_OK && (intptr_t) waited == GAMESTATE_CLOSED,
	   "closing waits for calls and sends those away who wait");
}

static void
test_fork(void)
{
	gamestate_pool *pool = open_pool(NULL);
	int status;
	pid_t child;

	sql(pool, "SELECT 1", 0);
	fflush(stdout);
	child = fork();
	if (child == 0)
	{
		gamestate_call call;
		bool refused;

		gamestate_call_sql(&call, "SELECT 1", NULL, 0, 0);
		refused =
			gamestate_pool_run(pool, &call, NULL, NULL) == GAMESTATE_NOT_CONNECTED &&
			gamestate_pool_submit(pool, &call, NULL, NULL, NULL) ==
				GAMESTATE_NOT_CONNECTED;
		gamestate_pool_close(pool);
		_exit(refused ? 0 : 1);
	}
	waitpid(child, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child cannot use the pool");
	ok(sql(pool, "SELECT 7", 0) == 7 && stats_of(pool).lost == 0, "and does it no harm");
	gamestate_pool_close(pool);
}

/* -----------------------------------------------------------------------
 * Nobody there
 * -----------------------------------------------------------------------
 */

static atomic_int events[16];

static void
on_event(void *arg, const gamestate_pool_event *event)
{
	(void) arg;
	atomic_fetch_add(&events[event->kind], 1);
}

static void
test_nobody(void)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_pool_call_options patient = {.timeout = 300, .flags = GAMESTATE_POOL_WAIT};
	gamestate_pool *pool;
	gamestate_pool_server server;
	gamestate_result *result;
	gamestate_call call;
	gamestate_status status;
	char why[256];

	options.event = on_event;
	options.breaker_open_min = 60000;
	options.breaker_open_max = 60000;
	gamestate_pool_open("host=127.0.0.1 port=1", &options, &pool, why, sizeof(why));
	gamestate_call_sql(&call, "SELECT 1", NULL, 0, 0);
	status = gamestate_pool_run(pool, &call, NULL, &result);
	ok(status == GAMESTATE_CIRCUIT_OPEN &&
		   !gamestate_result_error(result)->maybe_executed &&
		   strstr(gamestate_result_error(result)->detail, "refused") != NULL,
	   "nobody there: %s; %s", gamestate_result_error(result)->message,
	   gamestate_result_error(result)->detail);
	gamestate_result_free(result);
	ok(gamestate_pool_get_server(pool, 0, &server, sizeof(server)) &&
		   strcmp(server.breaker, "open") == 0 &&
		   strcmp(server.name, "127.0.0.1:1") == 0 && server.connect_failures == 5,
	   "the breaker is open after five attempts");
	ok(!gamestate_pool_get_server(pool, 1, &server, sizeof(server)),
	   "there is one server");
	ok(gamestate_pool_run(pool, &call, &patient, NULL) == GAMESTATE_TIMEOUT,
	   "whoever is patient waits until the deadline");
	gamestate_pool_close(pool);
	ok(atomic_load(&events[GAMESTATE_POOL_CONNECT_FAILED]) == 5 &&
		   atomic_load(&events[GAMESTATE_POOL_BREAKER]) == 1 &&
		   atomic_load(&events[GAMESTATE_POOL_CALL_REFUSED]) == 1 &&
		   atomic_load(&events[GAMESTATE_POOL_CALL_TIMEOUT]) == 1,
	   "all of it was told to the callback");
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	conninfo = argv[1];
	test_open();
	test_typed();
	test_bytes();
	test_presence();
	test_deadline();
	test_dead_idle();
	test_limits();
	test_retirement();
	test_checkout();
	test_submit();
	test_close();
	test_fork();
	test_nobody();
	return tap_done();
}
