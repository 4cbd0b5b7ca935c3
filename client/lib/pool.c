/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  Opening and closing a pool, and what it says about itself.
 *
 * The model:
 *
 * 1. gamestate_pool_open() checks everything, takes all memory that the threads
 *	  will ever need for themselves, and starts the keeper (pool_keeper.c).  It
 *	  waits for no server.
 * 2. gamestate_pool_close(): nobody is let in any more; whoever waits is sent
 *	  away; the sender (pool_submit.c) answers its calls and ends; calls that
 *	  threads wait for end by themselves, at their deadlines at the latest; the
 *	  keeper closes all connections and ends.  The memory is freed when no
 *	  connection is checked out.
 * 3. Threads do not survive fork(): a counter of forks, advanced in each child,
 *	  tells it that the pools it sees are its parent's.  They are left alone
 *	  there: closing a connection would say farewell to the parent's server.
 *
 * The map of the pool's files is in client/README.md.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Forks between the start of the program and this process; see item 3. */
static unsigned forks;
static pthread_once_t forks_once = PTHREAD_ONCE_INIT;

static void
forked(void)
{
	forks++;
}

static void
watch_forks(void)
{
	pthread_atfork(NULL, NULL, forked);
}

bool
gsp_is_ours(const gamestate_pool *pool)
{
	return pool->fork_count == forks;
}

/* -----------------------------------------------------------------------
 * Options
 * -----------------------------------------------------------------------
 */

/* A number of the options: zero is the default, a negative one none. */
static void
set_default(int *value, int standard)
{
	if (*value == 0)
		*value = standard;
	else if (*value < 0)
		*value = 0;
}

static const char *
check_options(gamestate_pool_options *o)
{
	set_default(&o->min_connections, 1);
	set_default(&o->max_connections, 10);
	set_default(&o->max_calls, 1000);
	set_default(&o->call_timeout, 10000);
	set_default(&o->connect_timeout, 5000);
	set_default(&o->cancel_timeout, 2000);
	set_default(&o->idle_timeout, 10 * 60 * 1000);
	set_default(&o->max_lifetime, 30 * 60 * 1000);
	set_default(&o->check_interval, 30000);
	set_default(&o->backoff_base, 20);
	set_default(&o->backoff_cap, 1000);
	set_default(&o->breaker_failures, 5);
	set_default(&o->breaker_percent, 50);
	set_default(&o->breaker_window, 10000);
	set_default(&o->breaker_open_min, 500);
	set_default(&o->breaker_open_max, 10000);
	set_default(&o->breaker_trials, 2);
	if (o->max_connections < 1 || o->max_connections > 10000)
		return "max_connections must be between 1 and 10000";
	if (o->min_connections > o->max_connections)
		return "min_connections is more than max_connections";
	if (o->max_calls < 1 || o->max_calls > 1000000)
		return "max_calls must be between 1 and 1000000";
	if (o->breaker_percent > 100)
		return "breaker_percent is more than 100";
	if (o->cancel_timeout == 0 || o->connect_timeout == 0)
		return "cancel_timeout and connect_timeout cannot be switched off";
	if (o->breaker_trials == 0)
		return "breaker_trials must be at least 1";
	/* Calls without a deadline end after weeks, so that sums of times cannot overflow. */
	if (o->call_timeout == 0)
		o->call_timeout = INT_MAX;
	return NULL;
}

/* -----------------------------------------------------------------------
 * Making and freeing
 * -----------------------------------------------------------------------
 */

static void
init_servers(gamestate_pool *pool)
{
	const gamestate_pool_options *o = &pool->options;
	GspBreakerOptions breaker = {
		.min_failures = o->breaker_failures,
		.failure_percent = o->breaker_percent,
		.trials = o->breaker_trials,
		.window = o->breaker_window * GSP_MS,
		.open_min = o->breaker_open_min * GSP_MS,
		.open_max = o->breaker_open_max * GSP_MS,
	};

	pool->num_servers = pool->conninfo.servers;
	for (int i = 0; i < pool->num_servers; i++)
	{
		PoolServer *s = &pool->servers[i];

		s->name = pool->conninfo.name[i];
		s->conninfo = pool->conninfo.conninfo[i];
		gsp_breaker_init(&s->breaker, &breaker);
		gsp_backoff_init(&s->backoff, o->backoff_base * GSP_MS, o->backoff_cap * GSP_MS);
	}
	pool->only_standbys = pool->conninfo.target == GSP_TARGET_STANDBY ||
						  pool->conninfo.target == GSP_TARGET_READ_ONLY;
	pool->reads_to_standbys =
		pool->only_standbys || pool->conninfo.target == GSP_TARGET_PREFER_STANDBY;
}

/* The threads' own memory. */
static bool
allocate(gamestate_pool *pool)
{
	size_t conns = (size_t) pool->num_servers * (size_t) pool->options.max_connections;

	pool->keeper_tasks = calloc(conns, sizeof(PoolConn *));
	pool->keeper_fds = calloc(conns + 1, sizeof(struct pollfd));
	pool->sender_active = calloc(conns, sizeof(PoolRun *));
	pool->sender_ended = calloc(conns, sizeof(PoolRun *));
	pool->sender_fds = calloc(conns + 1, sizeof(struct pollfd));
	pool->sender_heap = calloc((size_t) pool->options.max_calls, sizeof(PoolRun *));
	pool->keeper_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool->sender_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return pool->keeper_tasks != NULL && pool->keeper_fds != NULL &&
		   pool->sender_active != NULL && pool->sender_ended != NULL &&
		   pool->sender_fds != NULL && pool->sender_heap != NULL &&
		   pool->keeper_wake >= 0 && pool->sender_wake >= 0;
}

/* No thread is left. */
void
gsp_free(gamestate_pool *pool)
{
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->changed);
	pthread_condattr_destroy(&pool->monotonic);
	if (pool->keeper_wake >= 0)
		close(pool->keeper_wake);
	if (pool->sender_wake >= 0)
		close(pool->sender_wake);
	free(pool->keeper_tasks);
	free(pool->keeper_fds);
	free(pool->sender_active);
	free(pool->sender_ended);
	free(pool->sender_fds);
	free(pool->sender_heap);
	gsp_conninfo_free(&pool->conninfo);
	free(pool);
}

/* A thread that no signal is delivered to. */
static bool
start_thread(pthread_t *thread, void *(*function)(void *), gamestate_pool *pool)
{
	sigset_t all;
	sigset_t before;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(thread, NULL, function, pool) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

bool
gsp_start_sender(gamestate_pool *pool)
{
	pool->sender_started = start_thread(&pool->sender, gsp_sender_main, pool);
	return pool->sender_started;
}

static gamestate_status
refuse(gamestate_pool *pool, gamestate_status status, const char *why, char *message,
	   size_t size)
{
	if (message != NULL && size > 0)
		snprintf(message, size, "%s", why);
	if (pool != NULL)
		gsp_free(pool);
	return status;
}

static gamestate_pool *
new_pool(const gamestate_pool_options *options)
{
	gamestate_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	if (options != NULL)
	{
		size_t size = options->size < sizeof(*options) ? options->size : sizeof(*options);

		memcpy(&pool->options, options, size);
	}
	pool->keeper_wake = -1;
	pool->sender_wake = -1;
	pool->primary = -1;
	pool->last_primary = -1;
	pool->ready_end = &pool->ready;
	pool->fork_count = forks;
	gsp_random_init(&pool->random, 0);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&pool->monotonic);
	pthread_condattr_setclock(&pool->monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->changed, &pool->monotonic);
	return pool;
}

gamestate_status
gamestate_pool_open(const char *conninfo, const gamestate_pool_options *options,
					gamestate_pool **result, char *message, size_t size)
{
	gamestate_pool *pool;
	const char *wrong;
	char why[256];

	*result = NULL;
	pthread_once(&forks_once, watch_forks);
	pool = new_pool(options);
	if (pool == NULL)
		return refuse(NULL, GAMESTATE_NO_MEMORY, "out of memory", message, size);
	wrong = check_options(&pool->options);
	if (wrong != NULL)
		return refuse(pool, GAMESTATE_BAD_CALL, wrong, message, size);
	if (gsp_conninfo_split(conninfo != NULL ? conninfo : "", &pool->conninfo, why,
						   sizeof(why)) != 0)
		return refuse(pool, GAMESTATE_BAD_CALL, why, message, size);
	init_servers(pool);
	if (!allocate(pool) || !start_thread(&pool->keeper, gsp_keeper_main, pool))
		return refuse(pool, GAMESTATE_NO_MEMORY, "out of memory, descriptors or threads",
					  message, size);
	*result = pool;
	return GAMESTATE_OK;
}

void
gamestate_pool_close(gamestate_pool *pool)
{
	bool is_free;

	if (pool == NULL || !gsp_is_ours(pool))
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	gsp_serve_waiters(pool, gsp_now());
	pthread_cond_broadcast(&pool->changed);
	pool->sender_stop = true;
	gsp_wake_sender(pool);
	pthread_mutex_unlock(&pool->lock);
	/* Nobody is let in any more, so that nobody starts it now. */
	if (pool->sender_started)
		pthread_join(pool->sender, NULL);

	pthread_mutex_lock(&pool->lock);
	while (pool->users > 0)
		pthread_cond_wait(&pool->changed, &pool->lock);
	for (int i = 0; i < pool->num_servers; i++)
	{
		PoolServer *s = &pool->servers[i];
		PoolConn *conn;

		while ((conn = s->idle) != NULL)
		{
			s->idle = conn->next;
			s->num_idle--;
			gsp_keep(pool, conn, GSP_KEEPER_CLOSING);
		}
	}
	pool->keeper_stop = true;
	gsp_wake_keeper(pool);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->keeper, NULL);

	pthread_mutex_lock(&pool->lock);
	pool->closed = true;
	is_free = pool->checked_out == NULL;
	pthread_mutex_unlock(&pool->lock);
	if (is_free)
		gsp_free(pool);
}

gamestate_status
gamestate_pool_warm_up(gamestate_pool *pool, int timeout)
{
	GspTime now = gsp_now();
	GspTime deadline = timeout > 0 ? gsp_after(now, timeout * GSP_MS) : GSP_NEVER;
	struct timespec until = gsp_timespec(deadline);
	gamestate_status status = GAMESTATE_TIMEOUT;
	int rc = 0;

	if (pool == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!gsp_is_ours(pool))
		return GAMESTATE_NOT_CONNECTED;
	pthread_mutex_lock(&pool->lock);
	pool->users++;
	for (;;)
	{
		int most = 0;

		for (int i = 0; i < pool->num_servers; i++)
		{
			const PoolServer *s = &pool->servers[i];

			if ((pool->only_standbys ? s->role == GSP_ROLE_STANDBY
									 : i == pool->primary) &&
				s->connections > most)
				most = s->connections;
		}
		if (pool->closing)
			status = GAMESTATE_CLOSED;
		else if (most >= pool->options.min_connections)
			status = GAMESTATE_OK;
		if (status != GAMESTATE_TIMEOUT || rc == ETIMEDOUT)
			break;
		if (deadline == GSP_NEVER)
			rc = pthread_cond_wait(&pool->changed, &pool->lock);
		else
			rc = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
	}
	if (--pool->users == 0 && pool->closing)
		pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	return status;
}

/* -----------------------------------------------------------------------
 * What it says about itself
 * -----------------------------------------------------------------------
 */

void
gamestate_pool_get_stats(gamestate_pool *pool, gamestate_pool_stats *stats, size_t size)
{
	gamestate_pool_stats now = {0};

	if (pool != NULL && gsp_is_ours(pool))
	{
		pthread_mutex_lock(&pool->lock);
		now = pool->stats;
		now.servers = pool->num_servers;
		now.calls = pool->calls;
		now.waiting = pool->waiting;
		for (int i = 0; i < pool->num_servers; i++)
		{
			now.connections += pool->servers[i].connections;
			now.idle += pool->servers[i].num_idle;
			now.in_use += pool->servers[i].in_use;
			now.connecting += pool->servers[i].connecting;
		}
		pthread_mutex_unlock(&pool->lock);
	}
	memcpy(stats, &now, size < sizeof(now) ? size : sizeof(now));
}

bool
gamestate_pool_get_server(gamestate_pool *pool, int number, gamestate_pool_server *server,
						  size_t size)
{
	gamestate_pool_server now = {0};
	const PoolServer *s;

	if (pool == NULL || number < 0 || number >= pool->num_servers || !gsp_is_ours(pool))
		return false;
	pthread_mutex_lock(&pool->lock);
	s = &pool->servers[number];
	now.name = s->name;
	now.role = gsp_role_name(s->role);
	now.breaker = gsp_breaker_state_name(s->breaker.state);
	now.timeline = s->timeline;
	now.connections = s->connections;
	now.idle = s->num_idle;
	now.in_use = s->in_use;
	now.connecting = s->connecting;
	now.connects = s->connects;
	now.connect_failures = s->connect_failures;
	now.breaker_opened = s->breaker.times_opened;
	pthread_mutex_unlock(&pool->lock);
	memcpy(server, &now, size < sizeof(now) ? size : sizeof(now));
	return true;
}
