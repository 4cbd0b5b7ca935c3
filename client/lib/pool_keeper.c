/*-------------------------------------------------------------------------
 *
 * pool_keeper.c
 *	  The keeper: the thread that opens, asks, and closes connections.
 *
 * The model:
 *
 * 1. The keeper owns the connections that are being opened, asked, settled or
 *	  closed: its tasks.  It works on all of them at the same time, with poll(2);
 *	  nothing that a server does or leaves undone holds it up.  (Only the
 *	  names of hosts are looked up by libpq, which waits for that.)
 * 2. A turn: take what others have put into the inbox; run the event callback;
 *	  close what is to be closed; plan, under the lock: retire idle connections
 *	  that are too old or too many, ask those that have been idle for long, begin
 *	  new ones where they are wanted (pool_server.c); then wait for sockets,
 *	  times and the eventfd, and go on with each task.
 * 3. CONNECTING: until the connection is ready, then ASKING.  ASKING: one
 *	  statement that says what the server is (in recovery, read-only, timeline)
 *	  and that it is alive.  SETTLING: after a cancelled call or one that was
 *	  given up, until the server owes no answer and no cancel is on its way, so
 *	  that a late cancel never hits the next call; what is left of a transaction
 *	  is rolled back; then ASKING.
 * 4. Each task has its time.  A connection that exceeds it is closed, which
 *	  counts against the server's health, as a refused connection does.  A
 *	  call that ran late and could be cancelled counts as late only.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"
#include "pool_question.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

/* How often idle connections are looked at, at most. */
#define MAINTENANCE_INTERVAL (100 * GSP_MS)
/* How often it is asked whether a cancel has arrived, which no socket tells. */
#define CANCEL_INTERVAL (5 * GSP_MS)

typedef struct Keeper
{
	gamestate_pool *pool;
	PoolConn **tasks; /* room for all connections there can be */
	int num_tasks;
	struct pollfd *fds; /* the eventfd's, then one for each task */
	GspTime maintain_at;
} Keeper;

/* -----------------------------------------------------------------------
 * Tasks
 * -----------------------------------------------------------------------
 */

static void
add_task(Keeper *keeper, PoolConn *conn)
{
	keeper->tasks[keeper->num_tasks++] = conn;
}

/* The connection is closed; it is not counted any more. */
static void
close_conn(PoolConn *conn)
{
	gamestate_conn_close(conn->conn);
	free(conn);
}

/* The keeper has not got anywhere with it. */
static void
task_failed(gamestate_pool *pool, PoolConn *conn, GspTime now)
{
	PoolServer *s = &pool->servers[conn->server];
	const gamestate_error *error = gamestate_conn_error(conn->conn);

	if (conn->fresh)
	{
		bool is_full = gamestate_error_is(error, "53300") && s->connections > 0;

		pool->stats.connect_failures++;
		s->connect_failures++;
		memcpy(pool->connect_sqlstate, error->sqlstate, sizeof(pool->connect_sqlstate));
		snprintf(pool->connect_message, sizeof(pool->connect_message), "%s",
				 error->message);
		s->connecting--;
		gsp_event(pool, GAMESTATE_POOL_CONNECT_FAILED, conn->server, "", error, NULL);
		if (is_full)
		{
			/* It serves those that there are, and has no room for more. */
			s->connect_at = gsp_after(now, gsp_backoff_next(&s->backoff, &pool->random));
			gsp_breaker_forget(&s->breaker, conn->permit);
			return;
		}
		gsp_server_failed(pool, conn->server, now);
	}
	else
	{
		pool->stats.lost++;
		s->connections--;
		gsp_event(pool, GAMESTATE_POOL_LOST, conn->server, "", error, NULL);
		if (conn->state == GSP_KEEPER_ASKING)
			pool->stats.check_failures++;
	}
	gsp_record(pool, conn->server, conn->permit, GSP_UNHEALTHY, now);
}

/* It has said what its server is. */
static void
task_done(gamestate_pool *pool, PoolConn *conn, GspTime now)
{
	PoolServer *s = &pool->servers[conn->server];

	if (conn->fresh)
	{
		conn->fresh = false;
		s->connecting--;
		s->connections++;
		s->connects++;
		pool->stats.connects++;
		gsp_event(pool, GAMESTATE_POOL_CONNECTED, conn->server, "", NULL, NULL);
	}
	else
		pool->stats.checks++;
	conn->checked_at = now;
	gsp_record(pool, conn->server, conn->permit,
			   conn->was_cancelled ? GSP_TOO_LATE : GSP_HEALTHY, now);
	pool->stats.cancelled += conn->was_cancelled;
	conn->was_cancelled = false;
	gsp_server_is(pool, conn, now);
	gsp_offer(pool, conn, now);
	gsp_serve_waiters(pool, now);
	pthread_cond_broadcast(&pool->changed);
}

/* The answer to GSP_QUESTION; within gamestate_conn_process(). */
static void
take_answer(gamestate_conn *c, gamestate_result *result, void *arg)
{
	PoolConn *conn = arg;
	const gamestate_error *error = gamestate_result_error(result);
	const char *standby = gamestate_conn_parameter(c, "in_hot_standby");

	conn->answered = true;
	conn->timeline = 0;
	conn->system_id = 0;
	conn->in_recovery = false;
	conn->read_only = false;
	if (error->status == GAMESTATE_OK)
	{
		conn->alive = gamestate_result_bool(result, 0, 0, &conn->in_recovery) &&
					  gamestate_result_bool(result, 0, 1, &conn->read_only);
		gamestate_result_int8(result, 0, 2, &conn->timeline);
		gamestate_result_int8(result, 0, 3, &conn->system_id);
		return;
	}
	/* Who may not call these functions (class 42) gets to know less. */
	conn->alive =
		error->status == GAMESTATE_SERVER_ERROR && strncmp(error->sqlstate, "42", 2) == 0;
	conn->in_recovery = standby != NULL && strcmp(standby, "on") == 0;
}

/* To the state ASKING; false: it cannot be sent. */
static bool
ask(gamestate_pool *pool, PoolConn *conn, GspTime now)
{
	gamestate_call call;

	if (!conn->fresh || conn->state != GSP_KEEPER_CONNECTING)
		conn->state_until = gsp_after(now, pool->options.cancel_timeout * GSP_MS);
	conn->state = GSP_KEEPER_ASKING;
	conn->answered = false;
	conn->alive = false;
	if (gamestate_conn_in_transaction(conn->conn))
	{
		gamestate_call_rollback(&call);
		if (gamestate_conn_send(conn->conn, &call, 0, NULL, NULL) != GAMESTATE_OK)
			return false;
	}
	gamestate_call_sql(&call, GSP_QUESTION, NULL, 0, GAMESTATE_SQL_READ);
	return gamestate_conn_send(conn->conn, &call, 0, take_answer, conn) == GAMESTATE_OK;
}

typedef enum Progress
{
	GOES_ON,
	DONE,
	FAILED,
} Progress;

/* Goes on with a task. */
static Progress
advance(gamestate_pool *pool, PoolConn *conn, GspTime now)
{
	gamestate_conn *c = conn->conn;

	if (gamestate_conn_process(c) != GAMESTATE_OK ||
		gamestate_conn_get_state(c) == GAMESTATE_CONN_BROKEN)
		return FAILED;
	switch (conn->state)
	{
		case GSP_KEEPER_CONNECTING:
			if (gamestate_conn_get_state(c) == GAMESTATE_CONN_READY &&
				!ask(pool, conn, now))
				return FAILED;
			break;
		case GSP_KEEPER_SETTLING:
			if (gamestate_conn_unanswered(c) == 0 && gamestate_conn_in_flight(c) == 0 &&
				!gamestate_conn_cancelling(c) && !ask(pool, conn, now))
				return FAILED;
			break;
		case GSP_KEEPER_ASKING:
			if (conn->answered)
				return conn->alive ? DONE : FAILED;
			break;
		case GSP_KEEPER_NONE:
		case GSP_KEEPER_CLOSING:
			return FAILED;
	}
	/* What was sent just now leaves before we wait. */
	gamestate_conn_flush(c);
	return now < conn->state_until ? GOES_ON : FAILED;
}

/* -----------------------------------------------------------------------
 * Planning, under the lock
 * -----------------------------------------------------------------------
 */

/* Is it too old, or one too many? */
static bool
is_to_be_retired(const gamestate_pool *pool, const PoolConn *conn, int left, GspTime now)
{
	if (now >= conn->expires_at)
		return true;
	return pool->options.idle_timeout > 0 && left > pool->options.min_connections &&
		   now - conn->idle_since >= pool->options.idle_timeout * GSP_MS;
}

/* When an idle connection is to be looked at again. */
static GspTime
next_look(const gamestate_pool *pool, const PoolConn *conn)
{
	GspTime at = conn->expires_at;

	if (pool->options.idle_timeout > 0)
		at = gsp_earlier(at, gsp_after(conn->idle_since,
									   pool->options.idle_timeout * GSP_MS));
	if (pool->options.check_interval > 0)
		at = gsp_earlier(at, gsp_after(conn->checked_at,
									   pool->options.check_interval * GSP_MS));
	return at;
}

/* Idle connections of one server.  *later: when to look again. */
static void
look_after_idle(Keeper *keeper, int server, GspTime now, GspTime *later)
{
	gamestate_pool *pool = keeper->pool;
	PoolServer *s = &pool->servers[server];
	int left = s->connections;

	for (PoolConn **link = &s->idle; *link != NULL;)
	{
		PoolConn *conn = *link;
		bool retire = is_to_be_retired(pool, conn, left, now);
		bool check = pool->options.check_interval > 0 &&
					 now - conn->checked_at >= pool->options.check_interval * GSP_MS;

		if (!retire && !(check && gsp_admit(pool, server, now, &conn->permit)))
		{
			*later = gsp_earlier(*later, next_look(pool, conn));
			link = &conn->next;
			continue;
		}
		*link = conn->next;
		s->num_idle--;
		conn->state = GSP_KEEPER_SETTLING;
		if (retire)
		{
			left--;
			pool->stats.retired++;
			gsp_event(pool, GAMESTATE_POOL_RETIRED, server, "", NULL,
					  now >= conn->expires_at ? "its lifetime is over" : "not needed");
			conn->state = GSP_KEEPER_CLOSING;
		}
		conn->state_until = gsp_after(now, pool->options.cancel_timeout * GSP_MS);
		add_task(keeper, conn);
	}
}

/* A new connection, which is begun without the lock. */
static void
plan_connection(Keeper *keeper, int server, GspTime now)
{
	gamestate_pool *pool = keeper->pool;
	PoolConn *conn = calloc(1, sizeof(PoolConn));
	int64_t lifetime = pool->options.max_lifetime * GSP_MS;

	if (conn == NULL)
		return;
	if (!gsp_admit(pool, server, now, &conn->permit))
	{
		free(conn);
		return;
	}
	conn->server = server;
	conn->fresh = true;
	conn->state = GSP_KEEPER_CONNECTING;
	conn->state_until = gsp_after(now, pool->options.connect_timeout * GSP_MS);
	conn->expires_at =
		lifetime > 0
			? gsp_after(now, lifetime - gsp_random_up_to(&pool->random, lifetime / 10))
			: GSP_NEVER;
	conn->idle_since = now;
	pool->servers[server].connecting++;
	add_task(keeper, conn);
}

/* To find out what a server is, an idle connection does as well as a new one. */
static bool
plan_question(Keeper *keeper, int server, GspTime now)
{
	PoolServer *s = &keeper->pool->servers[server];
	PoolConn *conn = s->idle;

	if (conn == NULL)
		return false;
	if (!gsp_admit(keeper->pool, server, now, &conn->permit))
		return true;
	s->idle = conn->next;
	s->num_idle--;
	conn->state = GSP_KEEPER_SETTLING;
	conn->state_until = gsp_after(now, keeper->pool->options.cancel_timeout * GSP_MS);
	/* Not again before it has answered. */
	s->connect_at = gsp_after(now, gsp_backoff_next(&s->backoff, &keeper->pool->random));
	add_task(keeper, conn);
	return true;
}

/* A connection that becomes idle meanwhile needs nothing before this is over. */
static int64_t
longest_rest(const gamestate_pool *pool)
{
	int64_t rest = GSP_NEVER;

	if (pool->options.max_lifetime > 0)
		rest = pool->options.max_lifetime * GSP_MS / 2;
	if (pool->options.idle_timeout > 0)
		rest = gsp_earlier(rest, pool->options.idle_timeout * GSP_MS);
	if (pool->options.check_interval > 0)
		rest = gsp_earlier(rest, pool->options.check_interval * GSP_MS);
	return rest;
}

static GspTime
plan(Keeper *keeper, GspTime now)
{
	gamestate_pool *pool = keeper->pool;
	GspTime later = GSP_NEVER;

	if (now >= keeper->maintain_at)
	{
		GspTime at = gsp_after(now, longest_rest(pool));

		for (int i = 0; i < pool->num_servers; i++)
			look_after_idle(keeper, i, now, &at);
		/* One that is idle longer than it may, but needed, is no reason to hurry. */
		keeper->maintain_at =
			at > now + MAINTENANCE_INTERVAL ? at : now + MAINTENANCE_INTERVAL;
	}
	for (int i = 0; i < pool->num_servers; i++)
	{
		bool search;
		int wanted = gsp_connections_wanted(pool, i, now, &search, &later);

		if (wanted > 0 && search && plan_question(keeper, i, now))
			continue;
		while (wanted-- > 0)
			plan_connection(keeper, i, now);
	}
	return later;
}

/* What others have put into the inbox. */
static void
take_inbox(Keeper *keeper)
{
	gamestate_pool *pool = keeper->pool;
	PoolConn *next;

	for (PoolConn *conn = pool->inbox; conn != NULL; conn = next)
	{
		next = conn->next;
		add_task(keeper, conn);
	}
	pool->inbox = NULL;
}

/* Closes what is to be closed, all if `everything`; takes the lock at its end. */
static void
close_conns(Keeper *keeper, bool everything)
{
	gamestate_pool *pool = keeper->pool;
	int left = 0;

	for (int i = 0; i < keeper->num_tasks; i++)
	{
		PoolConn *conn = keeper->tasks[i];
		int server = conn->server;
		bool fresh = conn->fresh;

		if (conn->state != GSP_KEEPER_CLOSING && !everything)
		{
			keeper->tasks[left++] = conn;
			continue;
		}
		close_conn(conn);
		pthread_mutex_lock(&pool->lock);
		if (fresh)
			pool->servers[server].connecting--;
		else
			pool->servers[server].connections--;
		pthread_mutex_unlock(&pool->lock);
	}
	keeper->num_tasks = left;
}

/* -----------------------------------------------------------------------
 * The thread
 * -----------------------------------------------------------------------
 */

/* New connections are begun, settled ones go on: none of it waits. */
static void
begin_connections(Keeper *keeper)
{
	gamestate_pool *pool = keeper->pool;
	gamestate_options options = GAMESTATE_OPTIONS_INIT;

	options.prepare = pool->options.prepare;
	options.connect_timeout = pool->options.connect_timeout;
	for (int i = 0; i < keeper->num_tasks; i++)
	{
		PoolConn *conn = keeper->tasks[i];

		if (conn->state == GSP_KEEPER_CONNECTING && conn->conn == NULL)
			conn->conn =
				gamestate_connect_start(pool->servers[conn->server].conninfo, &options);
	}
}

/* Waits until a task, a time or somebody else wants attention. */
static void
wait_for_something(Keeper *keeper, GspTime until)
{
	int n = 1;

	keeper->fds[0] = (struct pollfd){.fd = keeper->pool->keeper_wake, .events = POLLIN};
	for (int i = 0; i < keeper->num_tasks; i++)
	{
		PoolConn *conn = keeper->tasks[i];
		int wants = gamestate_conn_wants(conn->conn);
		int64_t at = gamestate_conn_deadline(conn->conn);

		keeper->fds[n++] = (struct pollfd){
			.fd = gamestate_conn_socket(conn->conn),
			.events = (short) ((wants & GAMESTATE_WANTS_READ ? POLLIN : 0) |
							   (wants & GAMESTATE_WANTS_WRITE ? POLLOUT : 0)),
		};
		until = gsp_earlier(until, conn->state_until);
		/* Refused at once: no socket will tell. */
		if (gamestate_conn_get_state(conn->conn) == GAMESTATE_CONN_BROKEN)
			until = 0;
		if (conn->state == GSP_KEEPER_SETTLING && gamestate_conn_cancelling(conn->conn))
			until = gsp_earlier(until, gsp_now() + CANCEL_INTERVAL);
		if (at < GSP_NEVER / GSP_MS)
			until = gsp_earlier(until, at * GSP_MS);
	}
	if (poll(keeper->fds, (nfds_t) n, gsp_poll_timeout(gsp_now(), until)) > 0 &&
		keeper->fds[0].revents != 0)
	{
		eventfd_t count;

		eventfd_read(keeper->pool->keeper_wake, &count);
	}
}

static void
advance_tasks(Keeper *keeper)
{
	gamestate_pool *pool = keeper->pool;
	int left = 0;

	for (int i = 0; i < keeper->num_tasks; i++)
	{
		PoolConn *conn = keeper->tasks[i];
		Progress progress = advance(pool, conn, gsp_now());

		if (progress == GOES_ON)
		{
			keeper->tasks[left++] = conn;
			continue;
		}
		pthread_mutex_lock(&pool->lock);
		if (progress == DONE)
			task_done(pool, conn, gsp_now());
		else
			task_failed(pool, conn, gsp_now());
		pthread_mutex_unlock(&pool->lock);
		if (progress == FAILED)
			close_conn(conn);
	}
	keeper->num_tasks = left;
}

void *
gsp_keeper_main(void *arg)
{
	gamestate_pool *pool = arg;
	Keeper keeper = {.pool = pool, .tasks = pool->keeper_tasks, .fds = pool->keeper_fds};
	bool stop = false;

	while (!stop)
	{
		GspTime later;

		pthread_mutex_lock(&pool->lock);
		pool->keeper_woken = false;
		take_inbox(&keeper);
		pthread_mutex_unlock(&pool->lock);
		close_conns(&keeper, false);

		pthread_mutex_lock(&pool->lock);
		stop = pool->keeper_stop;
		later = pool->closing ? GSP_NEVER : plan(&keeper, gsp_now());
		pthread_mutex_unlock(&pool->lock);
		gsp_deliver_events(pool);
		if (stop)
			break;

		begin_connections(&keeper);
		close_conns(&keeper, false);
		wait_for_something(&keeper, gsp_earlier(later, keeper.maintain_at));
		advance_tasks(&keeper);
	}
	pthread_mutex_lock(&pool->lock);
	take_inbox(&keeper);
	pthread_mutex_unlock(&pool->lock);
	close_conns(&keeper, true);
	gsp_deliver_events(pool);
	return NULL;
}
