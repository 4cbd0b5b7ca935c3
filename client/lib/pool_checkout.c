/*-------------------------------------------------------------------------
 *
 * pool_checkout.c
 *	  Who gets which connection: idle ones, those who wait for one, and what
 *	  becomes of a connection when it is given back.
 *
 * The model:
 *
 * 1. Whoever needs a connection takes the idle one that was used last, so that
 *	  those which are not needed grow old and are closed; if there is none, he
 *	  waits in one line, first come, first served.
 * 2. A connection that is given back goes to the first in the line whom it fits
 *	  without ever being idle.  The lock is held for both steps, so that nobody
 *	  is overtaken or forgotten.
 * 3. Whoever waits is woken once: with a connection, or with the reason why he
 *	  gets none (the pool is closed; all breakers are open).  Until then he may
 *	  give up, at his deadline.
 * 4. Connections are opened by the keeper only.  He who waits gets whatever is
 *	  there first: his own new one, or one that somebody else gives back.
 * 5. An idle connection may have died unnoticed.  Before it is used the kernel is
 *	  asked whether something has arrived on its socket, which is an error
 *	  message or the end: one system call, and the only way not to send a write
 *	  to a server that is already gone.
 *
 * Functions with a `pool` are called under its lock unless it says otherwise.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Wakes whoever sleeps on an eventfd. */
static void
ring(int fd)
{
	/* Fails only when it is already readable 2^64 - 2 times. */
	(void) !eventfd_write(fd, 1);
}

void
gsp_wake_keeper(gamestate_pool *pool)
{
	if (!pool->keeper_woken)
	{
		pool->keeper_woken = true;
		ring(pool->keeper_wake);
	}
}

void
gsp_wake_sender(gamestate_pool *pool)
{
	if (!pool->sender_woken)
	{
		pool->sender_woken = true;
		ring(pool->sender_wake);
	}
}

/* Gives a connection to the keeper. */
void
gsp_keep(gamestate_pool *pool, PoolConn *conn, GspKeeperState state)
{
	conn->state = state;
	conn->next = pool->inbox;
	pool->inbox = conn;
	gsp_wake_keeper(pool);
}

static void
enqueue(gamestate_pool *pool, PoolWaiter *waiter, GspTime now)
{
	waiter->queued = true;
	waiter->since = now;
	waiter->next = NULL;
	waiter->prev = pool->last_waiter;
	if (pool->last_waiter != NULL)
		pool->last_waiter->next = waiter;
	else
		pool->first_waiter = waiter;
	pool->last_waiter = waiter;
	pool->waiting++;
	pool->stats.waits++;
}

static void
dequeue(gamestate_pool *pool, PoolWaiter *waiter, GspTime now)
{
	waiter->queued = false;
	if (waiter->prev != NULL)
		waiter->prev->next = waiter->next;
	else
		pool->first_waiter = waiter->next;
	if (waiter->next != NULL)
		waiter->next->prev = waiter->prev;
	else
		pool->last_waiter = waiter->prev;
	pool->waiting--;
	if (now > waiter->since)
		pool->stats.wait_us += (uint64_t) (now - waiter->since);
}

static PoolConn *
pop_idle(gamestate_pool *pool, int server, GspTime now)
{
	PoolServer *s = &pool->servers[server];
	PoolConn *conn = s->idle;

	if (conn == NULL || !gsp_admit(pool, server, now, &conn->permit))
		return NULL;
	s->idle = conn->next;
	s->num_idle--;
	s->in_use++;
	return conn;
}

/* An idle connection for him, or NULL. */
static PoolConn *
take_idle(gamestate_pool *pool, const PoolWaiter *waiter, GspTime now)
{
	PoolConn *conn;

	if (waiter->standby || waiter->only_standby)
		for (int i = 0; i < pool->num_servers; i++)
		{
			int server = (pool->next_standby + i) % pool->num_servers;

			if (pool->servers[server].role != GSP_ROLE_STANDBY)
				continue;
			conn = pop_idle(pool, server, now);
			if (conn != NULL)
			{
				pool->next_standby = server + 1;
				return conn;
			}
		}
	if (pool->primary < 0 || !gsp_fits(pool, waiter, pool->primary, now))
		return NULL;
	return pop_idle(pool, pool->primary, now);
}

/*
 * He has a connection (waiter->conn), is in the line (queued), or has been
 * refused (waiter->status).
 */
void
gsp_acquire(gamestate_pool *pool, PoolWaiter *waiter, GspTime now)
{
	waiter->conn = NULL;
	waiter->queued = false;
	waiter->status = GAMESTATE_OK;
	if (pool->closing)
	{
		waiter->status = GAMESTATE_CLOSED;
		return;
	}
	if (waiter->standby && !pool->standbys_wanted)
	{
		pool->standbys_wanted = true;
		gsp_wake_keeper(pool);
	}
	waiter->conn = take_idle(pool, waiter, now);
	if (waiter->conn != NULL)
		return;
	if (gsp_hopeless(pool, waiter, now))
	{
		waiter->status = GAMESTATE_CIRCUIT_OPEN;
		return;
	}
	enqueue(pool, waiter, now);
	gsp_wake_keeper(pool);
}

/* He waits no longer.  True if he had been in the line until now. */
bool
gsp_abandon(gamestate_pool *pool, PoolWaiter *waiter, GspTime now)
{
	if (!waiter->queued)
		return false;
	dequeue(pool, waiter, now);
	return true;
}

/* Whom does this connection fit?  It is nobody's now. */
void
gsp_offer(gamestate_pool *pool, PoolConn *conn, GspTime now)
{
	PoolServer *s = &pool->servers[conn->server];

	conn->state = GSP_KEEPER_NONE;
	if (pool->closing || now >= conn->expires_at || s->role == GSP_ROLE_OUTDATED ||
		s->breaker.state == GSP_BREAKER_OPEN)
	{
		if (now >= conn->expires_at)
			pool->stats.retired++;
		gsp_keep(pool, conn, GSP_KEEPER_CLOSING);
		return;
	}
	for (PoolWaiter *w = pool->first_waiter; w != NULL; w = w->next)
	{
		if (!gsp_fits(pool, w, conn->server, now))
			continue;
		if (!gsp_admit(pool, conn->server, now, &conn->permit))
			break;
		dequeue(pool, w, now);
		s->in_use++;
		w->conn = conn;
		w->wake(w);
		return;
	}
	conn->next = s->idle;
	s->idle = conn;
	s->num_idle++;
}

/* Roles or breakers have changed: who waits may get a connection, or no hope. */
void
gsp_serve_waiters(gamestate_pool *pool, GspTime now)
{
	PoolWaiter *next;

	for (PoolWaiter *w = pool->first_waiter; w != NULL; w = next)
	{
		next = w->next;
		if (pool->closing)
			w->status = GAMESTATE_CLOSED;
		else if (gsp_hopeless(pool, w, now))
			w->status = GAMESTATE_CIRCUIT_OPEN;
		else if ((w->conn = take_idle(pool, w, now)) == NULL)
			continue;
		dequeue(pool, w, now);
		w->wake(w);
	}
}

/* Its user does not need it any more, and it is whole. */
void
gsp_release(gamestate_pool *pool, PoolConn *conn, GspOutcome outcome, GspTime now)
{
	pool->servers[conn->server].in_use--;
	conn->idle_since = now;
	if (outcome == GSP_HEALTHY)
		conn->checked_at = now;
	gsp_record(pool, conn->server, conn->permit, outcome, now);
	gsp_offer(pool, conn, now);
}

/*
 * Its user has found it broken.  Whether that says something about the server's
 * health is for him to know: a connection that had died while it was idle does
 * not, one that breaks under a call does.
 */
void
gsp_discard(gamestate_pool *pool, PoolConn *conn, const gamestate_error *why,
			bool unhealthy, GspTime now)
{
	pool->servers[conn->server].in_use--;
	pool->stats.lost++;
	gsp_event(pool, GAMESTATE_POOL_LOST, conn->server, "", why, NULL);
	if (unhealthy)
		gsp_record(pool, conn->server, conn->permit, GSP_UNHEALTHY, now);
	else
		gsp_breaker_forget(&pool->servers[conn->server].breaker, conn->permit);
	gsp_keep(pool, conn, GSP_KEEPER_CLOSING);
}

/*
 * Its user's call has run into its deadline, or he left something behind: the
 * keeper waits until the server has nothing more to say.  The permit goes along:
 * only then it is known whether the server was slow or is gone.
 */
void
gsp_settle(gamestate_pool *pool, PoolConn *conn, bool was_cancelled, GspTime now)
{
	pool->servers[conn->server].in_use--;
	conn->idle_since = now;
	conn->was_cancelled = was_cancelled;
	conn->state_until = gsp_after(now, pool->options.cancel_timeout * GSP_MS);
	gsp_keep(pool, conn, GSP_KEEPER_SETTLING);
}

/*
 * Item 5.  By the owner of the connection, without the lock.
 */
bool
gsp_alive(PoolConn *conn)
{
	/* A farewell, a notice or TLS's own messages: some reads empty the socket. */
	for (int reads = 0; reads < 10; reads++)
	{
		char byte;
		ssize_t n =
			recv(gamestate_conn_socket(conn->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (n <= 0 || gamestate_conn_process(conn->conn) != GAMESTATE_OK ||
			gamestate_conn_get_state(conn->conn) != GAMESTATE_CONN_READY)
			return false;
	}
	return false;
}

/* -----------------------------------------------------------------------
 * A thread that waits
 * -----------------------------------------------------------------------
 */

typedef struct SyncWaiter
{
	PoolWaiter waiter; /* first */
	pthread_cond_t woken;
} SyncWaiter;

static void
wake_thread(PoolWaiter *waiter)
{
	pthread_cond_signal(&((SyncWaiter *) waiter)->woken);
}

/* In the line until he is woken, or the deadline. */
static void
wait_in_line(gamestate_pool *pool, SyncWaiter *sync, GspTime deadline)
{
	struct timespec until = gsp_timespec(deadline);

	pthread_cond_init(&sync->woken, &pool->monotonic);
	while (sync->waiter.queued)
	{
		if (deadline == GSP_NEVER)
			pthread_cond_wait(&sync->woken, &pool->lock);
		else if (pthread_cond_timedwait(&sync->woken, &pool->lock, &until) == ETIMEDOUT &&
				 gsp_abandon(pool, &sync->waiter, gsp_now()))
			sync->waiter.status = GAMESTATE_TIMEOUT;
	}
	pthread_cond_destroy(&sync->woken);
}

/*
 * A connection that is alive, by the deadline; NULL: *status says why not.
 * `wanted` says which.  Takes the lock; the caller is counted in pool->users.
 */
PoolConn *
gsp_wait_for_conn(gamestate_pool *pool, const PoolWaiter *wanted, GspTime now,
				  GspTime deadline, gamestate_status *status)
{
	SyncWaiter sync = {.waiter = *wanted};

	sync.waiter.wake = wake_thread;
	for (;;)
	{
		pthread_mutex_lock(&pool->lock);
		gsp_acquire(pool, &sync.waiter, now);
		if (sync.waiter.queued)
			wait_in_line(pool, &sync, deadline);
		pthread_mutex_unlock(&pool->lock);
		*status = sync.waiter.status;
		if (sync.waiter.conn == NULL || gsp_alive(sync.waiter.conn))
			return sync.waiter.conn;

		now = gsp_now();
		pthread_mutex_lock(&pool->lock);
		gsp_discard(pool, sync.waiter.conn, gamestate_conn_error(sync.waiter.conn->conn),
					false, now);
		pthread_mutex_unlock(&pool->lock);
	}
}
