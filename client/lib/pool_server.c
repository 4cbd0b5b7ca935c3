/*-------------------------------------------------------------------------
 *
 * pool_server.c
 *	  The servers of a pool: which one is the primary, which may be asked, and
 *	  where connections are wanted.
 *
 * The model:
 *
 * 1. What a server is, it says itself, each time the keeper asks: after
 *	  connecting, as a sign of life of an idle connection, after a cancel.
 * 2. The primary is the server of the highest timeline among those which are
 *	  not in recovery.  A promotion begins a new timeline, so an old primary that
 *	  was frozen or cut off and comes back is recognised although it still
 *	  takes writes: it is *outdated*, and gets no calls.  (Timelines of another
 *	  system, after pg_upgrade or a restore elsewhere, are not compared: then the
 *	  last answer counts.)  Among equals the first stays, so that several names
 *	  of one server, or several poolers, do no harm.
 * 3. A server to which no connection can be made, or whose breaker opens, is
 *	  unknown again.  While there is no primary, all servers are looked at, at
 *	  the same time, each with its own backoff: a frozen one delays no other.
 * 4. Calls never go to a server whose breaker does not admit them.  When the
 *	  breakers of all servers are open, waiting is hopeless: callers get their
 *	  error at once.  A healthy standby is hope: it may be promoted.
 *
 * All of this runs under the pool's lock.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

/* Attempts to connect to one server at a time: each costs it a new process. */
#define MAX_CONNECTING 4

const char *
gsp_role_name(GspRole role)
{
	switch (role)
	{
		case GSP_ROLE_UNKNOWN:
			return "unknown";
		case GSP_ROLE_PRIMARY:
			return "primary";
		case GSP_ROLE_STANDBY:
			return "standby";
		case GSP_ROLE_OUTDATED:
			return "outdated";
	}
	return "unknown";
}

static void
set_role(gamestate_pool *pool, int server, GspRole role)
{
	PoolServer *s = &pool->servers[server];

	if (s->role == role)
		return;
	s->role = role;
	gsp_event(pool, GAMESTATE_POOL_ROLE, server, "", NULL, gsp_role_name(role));
}

/* Its idle connections are of no use any more. */
static void
drop_idle(gamestate_pool *pool, int server)
{
	PoolServer *s = &pool->servers[server];
	PoolConn *conn;

	while ((conn = s->idle) != NULL)
	{
		s->idle = conn->next;
		s->num_idle--;
		gsp_keep(pool, conn, GSP_KEEPER_CLOSING);
	}
}

static void
set_primary(gamestate_pool *pool, int server)
{
	int old = pool->primary;

	if (old == server)
		return;
	pool->primary = server;
	if (server < 0)
		return;
	if (pool->last_primary >= 0 && pool->last_primary != server)
		pool->stats.primary_changes++;
	pool->last_primary = server;
	if (old >= 0)
	{
		/* It has not heard of its successor; what it is, it will be asked. */
		set_role(pool, old, GSP_ROLE_UNKNOWN);
		drop_idle(pool, old);
	}
}

/* There is no primary any more: perhaps another server is known to be one. */
static void
lose_primary(gamestate_pool *pool, int server)
{
	if (pool->primary != server)
		return;
	set_primary(pool, -1);
	for (int i = 0; i < pool->num_servers; i++)
		if (pool->servers[i].role == GSP_ROLE_PRIMARY)
		{
			set_primary(pool, i);
			return;
		}
	/* Look everywhere at once. */
	for (int i = 0; i < pool->num_servers; i++)
		if (i != server)
		{
			gsp_backoff_reset(&pool->servers[i].backoff);
			pool->servers[i].connect_at = 0;
		}
}

/* No connection could be made. */
void
gsp_server_failed(gamestate_pool *pool, int server, GspTime now)
{
	PoolServer *s = &pool->servers[server];

	s->connect_at = gsp_after(now, gsp_backoff_next(&s->backoff, &pool->random));
	set_role(pool, server, GSP_ROLE_UNKNOWN);
	lose_primary(pool, server);
}

/* It has refused a write. */
void
gsp_server_read_only(gamestate_pool *pool, int server)
{
	if (pool->servers[server].role == GSP_ROLE_PRIMARY)
		set_role(pool, server, GSP_ROLE_STANDBY);
	lose_primary(pool, server);
}

/* Item 2; false: it is outdated */
static bool
compare_timeline(gamestate_pool *pool, const PoolConn *conn)
{
	if (conn->timeline == 0)
		return true;
	if (conn->system_id == pool->system_id && conn->timeline < pool->timeline)
		return false;
	if (conn->system_id != pool->system_id || conn->timeline > pool->timeline)
	{
		pool->system_id = conn->system_id;
		pool->timeline = conn->timeline;
		/* Whoever was on an earlier one has had its time. */
		if (pool->primary >= 0 && pool->primary != conn->server)
			set_primary(pool, conn->server);
	}
	return true;
}

/* The answer to the keeper's question. */
void
gsp_server_is(gamestate_pool *pool, const PoolConn *conn, GspTime now)
{
	PoolServer *s = &pool->servers[conn->server];
	GspRole role = GSP_ROLE_PRIMARY;

	if (conn->in_recovery || conn->read_only)
		role = GSP_ROLE_STANDBY;
	else if (!compare_timeline(pool, conn))
		role = GSP_ROLE_OUTDATED;

	s->timeline = conn->timeline;
	set_role(pool, conn->server, role);
	if (role == GSP_ROLE_OUTDATED)
		drop_idle(pool, conn->server);
	if (role == GSP_ROLE_PRIMARY && pool->primary < 0)
		set_primary(pool, conn->server);
	else if (role != GSP_ROLE_PRIMARY)
		lose_primary(pool, conn->server);

	if (conn->server == pool->primary || (role == GSP_ROLE_STANDBY && pool->primary >= 0))
	{
		gsp_backoff_reset(&s->backoff);
		s->connect_at = 0;
	}
	else
		s->connect_at = gsp_after(now, gsp_backoff_next(&s->backoff, &pool->random));
}

static bool
is_healthy_standby(const PoolServer *s, GspTime now)
{
	return s->role == GSP_ROLE_STANDBY && gsp_breaker_allows(&s->breaker, now);
}

bool
gsp_fits(const gamestate_pool *pool, const PoolWaiter *waiter, int server, GspTime now)
{
	if (waiter->standby || waiter->only_standby)
	{
		if (pool->servers[server].role == GSP_ROLE_STANDBY)
			return true;
		if (waiter->only_standby)
			return false;
		/* The primary stands in for standbys that are not there. */
		for (int i = 0; i < pool->num_servers; i++)
			if (is_healthy_standby(&pool->servers[i], now))
				return false;
	}
	return server == pool->primary;
}

bool
gsp_hopeless(const gamestate_pool *pool, const PoolWaiter *waiter, GspTime now)
{
	if (waiter->patient)
		return false;
	for (int i = 0; i < pool->num_servers; i++)
	{
		const GspBreaker *breaker = &pool->servers[i].breaker;

		if (breaker->state != GSP_BREAKER_OPEN || gsp_breaker_allows(breaker, now))
			return false;
	}
	return true;
}

/* Admits a call or an attempt to connect, and says when the breaker half-opens. */
bool
gsp_admit(gamestate_pool *pool, int server, GspTime now, GspPermit *permit)
{
	GspBreaker *breaker = &pool->servers[server].breaker;
	GspBreakerState before = breaker->state;

	if (!gsp_breaker_admit(breaker, now, permit))
		return false;
	if (breaker->state != before)
		gsp_event(pool, GAMESTATE_POOL_BREAKER, server, "", NULL,
				  gsp_breaker_state_name(breaker->state));
	return true;
}

/* What a call, or a question of the keeper's, says about the server. */
void
gsp_record(gamestate_pool *pool, int server, GspPermit permit, GspOutcome outcome,
		   GspTime now)
{
	PoolServer *s = &pool->servers[server];

	if (!gsp_breaker_record(&s->breaker, now, permit, outcome, &pool->random))
		return;
	gsp_event(pool, GAMESTATE_POOL_BREAKER, server, "", NULL,
			  gsp_breaker_state_name(s->breaker.state));
	if (s->breaker.state == GSP_BREAKER_OPEN)
	{
		pool->stats.breaker_opened++;
		gsp_server_failed(pool, server, now);
		/* The breaker says when to try again. */
		s->connect_at = 0;
		drop_idle(pool, server);
	}
	gsp_serve_waiters(pool, now);
	gsp_wake_keeper(pool);
}

/* Connections that those who wait, and min_connections, ask of this server. */
static int
demand(const gamestate_pool *pool, int server, GspTime now)
{
	const PoolServer *s = &pool->servers[server];
	bool takes_calls = server == pool->primary ||
					   (pool->reads_to_standbys && s->role == GSP_ROLE_STANDBY);
	int waiting = 0;
	int below_min = takes_calls ? pool->options.min_connections - s->connections : 0;

	for (const PoolWaiter *w = pool->first_waiter; w != NULL; w = w->next)
		waiting += gsp_fits(pool, w, server, now);
	return waiting > below_min ? waiting : below_min;
}

/* Is somebody waiting, or would be if there were calls, whom no server fits? */
static bool
is_searched(const gamestate_pool *pool, int server)
{
	GspRole role = pool->servers[server].role;

	if (pool->primary < 0 && !pool->only_standbys &&
		(pool->first_waiter != NULL || pool->options.min_connections > 0))
		return true;
	return role == GSP_ROLE_UNKNOWN &&
		   (pool->standbys_wanted || pool->reads_to_standbys || pool->only_standbys);
}

/*
 * How many connections are to be begun now; *search: one that is idle will do,
 * to ask it what the server is.  *later: when to look again, if that is not now.
 */
int
gsp_connections_wanted(gamestate_pool *pool, int server, GspTime now, bool *search,
					   GspTime *later)
{
	PoolServer *s = &pool->servers[server];
	int wanted = demand(pool, server, now) - s->connecting;
	int room = pool->options.max_connections - s->connections - s->connecting;
	int most;
	GspTime at = gsp_breaker_next(&s->breaker, now);

	*search = wanted <= 0 && s->connecting == 0 && is_searched(pool, server);
	if (*search)
		wanted = 1;
	if (wanted > room && !(*search && s->idle != NULL))
		wanted = room;
	/* One that has just refused is asked by one, not by all at once. */
	most = s->backoff.attempts > 0 ? 1 : MAX_CONNECTING;
	if (wanted > most - s->connecting)
		wanted = most - s->connecting;
	if (wanted <= 0)
		return 0;
	if (at < s->connect_at)
		at = s->connect_at;
	if (at > now)
	{
		*later = gsp_earlier(*later, at);
		return 0;
	}
	return wanted;
}
