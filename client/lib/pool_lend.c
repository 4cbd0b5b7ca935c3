/*-------------------------------------------------------------------------
 *
 * pool_lend.c
 *	  Connections that are checked out: for transactions and pipelines.
 *
 * The model:
 *
 * 1. A connection that is checked out belongs to the caller alone; he uses it
 *	  with the functions of gamestate.h.  It counts among the calls, and among
 *	  the connections of its server, all the time.
 * 2. When it comes back the pool trusts nothing.  One that is ready and has
 *	  nothing left to say is idle again at once.  If a transaction is open or
 *	  answers are missing the keeper waits for these, rolls back, and asks for a
 *	  sign of life.  One that is broken is closed.
 * 3. After gamestate_pool_close() it is closed here, and the last one takes the
 *	  pool with it.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#include <stdlib.h>

/* True: it has been let in; *conn is NULL if there was no connection. */
static bool
lend(gamestate_pool *pool, const PoolWaiter *waiter, int timeout, PoolConn **conn,
	 gamestate_status *status)
{
	GspTime now = gsp_now();

	*conn = NULL;
	pthread_mutex_lock(&pool->lock);
	*status = gsp_let_in(pool);
	if (*status == GAMESTATE_OK)
		pool->users++;
	pthread_mutex_unlock(&pool->lock);
	if (*status != GAMESTATE_OK)
		return false;

	*conn =
		gsp_wait_for_conn(pool, waiter, now, gsp_after(now, timeout * GSP_MS), status);
	pthread_mutex_lock(&pool->lock);
	if (*conn != NULL)
	{
		(*conn)->next = pool->checked_out;
		pool->checked_out = *conn;
	}
	if (--pool->users == 0 && pool->closing)
		pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	return true;
}

gamestate_status
gamestate_pool_checkout(gamestate_pool *pool, const gamestate_pool_call_options *options,
						gamestate_conn **conn)
{
	static const gamestate_pool_call_options defaults = {0};
	PoolWaiter waiter = {0};
	PoolConn *lent;
	gamestate_error connect = {.status = GAMESTATE_OK};
	char why[256];
	gamestate_result *failure;
	gamestate_status status;
	bool let_in;

	*conn = NULL;
	if (pool == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!gsp_is_ours(pool))
		return GAMESTATE_NOT_CONNECTED;
	if (options == NULL)
		options = &defaults;
	/* A transaction may write: it goes to the primary, wherever reads go. */
	waiter.standby = (options->flags & GAMESTATE_POOL_PREFER_STANDBY) != 0;
	waiter.only_standby = pool->only_standbys;
	waiter.patient = (options->flags & GAMESTATE_POOL_WAIT) != 0;

	let_in = lend(pool, &waiter,
				  options->timeout > 0 ? options->timeout : pool->options.call_timeout,
				  &lent, &status);
	if (lent != NULL)
	{
		*conn = lent->conn;
		gsp_remember(NULL);
		return GAMESTATE_OK;
	}
	gsp_connect_error(pool, &connect, why, sizeof(why));
	failure = gsp_error_result(status, false, gamestate_status_text(status), &connect);
	if (let_in)
	{
		pthread_mutex_lock(&pool->lock);
		gsp_let_out(pool, gamestate_result_error(failure));
		pthread_mutex_unlock(&pool->lock);
	}
	gsp_remember(failure);
	return status;
}

/* Takes it off the list of those that are checked out; NULL: it is not there. */
static PoolConn *
take_back(gamestate_pool *pool, const gamestate_conn *conn)
{
	for (PoolConn **link = &pool->checked_out; *link != NULL; link = &(*link)->next)
		if ((*link)->conn == conn)
		{
			PoolConn *lent = *link;

			*link = lent->next;
			return lent;
		}
	return NULL;
}

/* Item 3 */
static void
close_orphan(gamestate_pool *pool, PoolConn *lent, bool is_last)
{
	gamestate_conn_close(lent->conn);
	free(lent);
	if (is_last)
		gsp_free(pool);
}

void
gamestate_pool_checkin(gamestate_pool *pool, gamestate_conn *conn)
{
	static const gamestate_error fine = {.status = GAMESTATE_OK,
										 .message = "",
										 .detail = "",
										 .hint = ""};
	PoolConn *lent;
	bool is_ready;
	bool is_last;
	GspTime now = gsp_now();

	if (pool == NULL || conn == NULL || !gsp_is_ours(pool))
		return;
	is_ready = gamestate_conn_get_state(conn) == GAMESTATE_CONN_READY;

	pthread_mutex_lock(&pool->lock);
	lent = take_back(pool, conn);
	if (lent == NULL)
	{
		pthread_mutex_unlock(&pool->lock);
		return;
	}
	gsp_let_out(pool, &fine);
	if (pool->closed)
	{
		is_last = pool->checked_out == NULL;
		pthread_mutex_unlock(&pool->lock);
		close_orphan(pool, lent, is_last);
		return;
	}
	if (!is_ready)
		gsp_discard(pool, lent, gamestate_conn_error(conn), true, now);
	else if (gamestate_conn_unanswered(conn) > 0 || gamestate_conn_in_flight(conn) > 0 ||
			 gamestate_conn_cancelling(conn) || gamestate_conn_in_transaction(conn))
		gsp_settle(pool, lent, false, now);
	else
		gsp_release(pool, lent, GSP_HEALTHY, now);
	pthread_mutex_unlock(&pool->lock);
}
