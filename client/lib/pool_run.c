/*-------------------------------------------------------------------------
 *
 * pool_run.c
 *	  One call through all its attempts, and calls that a thread waits for.
 *
 * The model:
 *
 * 1. A run is let in unless max_calls are there already (the bulkhead), and is
 *	  let out exactly once, with the answer, which is counted then.
 * 2. An attempt: get a connection (pool_checkout.c), send the call with what is
 *	  left until the deadline, get the answer.  gsp_run_answered() gives the
 *	  connection back and decides (pool_retry.c): done, or another attempt at a
 *	  certain time, later by backoff.  If that time is not before the deadline
 *	  the run ends with the error that it has.
 * 3. An attempt that ran into the deadline is cancelled by the connection; the
 *	  answer does not wait for that, the keeper does.
 * 4. The run remembers whether an attempt may have been executed.  The answer
 *	  of a later attempt settles that (the server knows the request id, and a
 *	  read changes nothing); an end without an answer says maybe_executed.  Since
 *	  only another attempt can settle it, such a run is patient: it is not given
 *	  up before its deadline when a breaker opens.
 * 5. A read that a standby could not answer goes to the primary next.
 *
 * The same functions serve the calls that a thread waits for (below) and those
 * that are submitted (pool_submit.c).
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"
#include "pool_retry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FEATURE_NOT_SUPPORTED "0A000"

/* -----------------------------------------------------------------------
 * Letting in and out
 * -----------------------------------------------------------------------
 */

gamestate_status
gsp_let_in(gamestate_pool *pool)
{
	if (pool->closing)
		return GAMESTATE_CLOSED;
	if (pool->calls >= pool->options.max_calls)
	{
		pool->stats.overloaded++;
		gsp_event(pool, GAMESTATE_POOL_CALL_REFUSED, -1, "", NULL, "overloaded");
		return GAMESTATE_OVERLOADED;
	}
	pool->calls++;
	pool->stats.started++;
	return GAMESTATE_OK;
}

void
gsp_let_out(gamestate_pool *pool, const gamestate_error *error)
{
	gamestate_pool_stats *stats = &pool->stats;

	pool->calls--;
	if (error->status == GAMESTATE_OK)
	{
		stats->succeeded++;
		return;
	}
	stats->failed++;
	stats->maybe_executed += error->maybe_executed;
	switch (error->status)
	{
		case GAMESTATE_SERVER_ERROR:
			stats->server_errors++;
			break;
		case GAMESTATE_TIMEOUT:
			stats->timeouts++;
			gsp_event(pool, GAMESTATE_POOL_CALL_TIMEOUT, -1, "", error, NULL);
			break;
		case GAMESTATE_CIRCUIT_OPEN:
			stats->circuit_open++;
			gsp_event(pool, GAMESTATE_POOL_CALL_REFUSED, -1, "", error, NULL);
			break;
		default:
			stats->other_errors++;
			break;
	}
	if (error->maybe_executed)
		gsp_event(pool, GAMESTATE_POOL_CALL_UNKNOWN, -1, "", error, NULL);
}

/* -----------------------------------------------------------------------
 * A run
 * -----------------------------------------------------------------------
 */

static bool
is_transaction_command(const gamestate_call *call)
{
	const char *name = gamestate_call_name(call);

	return strcmp(name, "begin") == 0 || strcmp(name, "commit") == 0 ||
		   strcmp(name, "rollback") == 0;
}

/* Where it may go, and how often.  Anything but GAMESTATE_OK: it may not. */
gamestate_status
gsp_run_init(PoolRun *run, gamestate_pool *pool, const gamestate_call *call,
			 const gamestate_pool_call_options *options)
{
	static const gamestate_pool_call_options defaults = {0};
	bool is_read;

	if (call == NULL || is_transaction_command(call))
		return GAMESTATE_BAD_CALL;
	if (options == NULL)
		options = &defaults;
	memset(run, 0, sizeof(*run));
	run->pool = pool;
	run->call = *call;
	if (pool->options.request_ids && !gamestate_call_is_retryable(call) &&
		gamestate_call_is_write(call))
	{
		gamestate_uuid id;

		gamestate_uuid_generate(&id);
		gamestate_call_set_request_id(&run->call, &id);
	}
	run->flags = options->flags;
	is_read = gamestate_call_is_read(call);
	run->repeatable = gamestate_call_is_retryable(&run->call);
	run->waiter.standby = is_read && (pool->reads_to_standbys ||
									  (run->flags & GAMESTATE_POOL_PREFER_STANDBY));
	run->waiter.only_standby = pool->only_standbys;
	run->waiter.patient = (run->flags & GAMESTATE_POOL_WAIT) != 0;
	if (pool->only_standbys && !is_read)
		return GAMESTATE_BAD_CALL;
	gsp_backoff_init(&run->backoff, pool->options.backoff_base * GSP_MS,
					 pool->options.backoff_cap * GSP_MS);
	run->begun = gsp_now();
	run->deadline =
		gsp_after(run->begun,
				  (options->timeout > 0 ? options->timeout : pool->options.call_timeout) *
					  GSP_MS);
	return GAMESTATE_OK;
}

/* What is left for an attempt, in milliseconds. */
int
gsp_run_timeout(const PoolRun *run, GspTime now)
{
	int left = gsp_poll_timeout(now, run->deadline);

	return left > 0 ? left : 1;
}

/*
 * Why there is no connection: what the last attempt to open one came to, if it
 * failed; else status is GAMESTATE_OK.  `why` is memory for the message.
 */
void
gsp_connect_error(gamestate_pool *pool, gamestate_error *error, char *why, size_t size)
{
	pthread_mutex_lock(&pool->lock);
	memcpy(error->sqlstate, pool->connect_sqlstate, sizeof(error->sqlstate));
	snprintf(why, size, "%s", pool->connect_message);
	pthread_mutex_unlock(&pool->lock);
	error->status = why[0] != '\0' ? GAMESTATE_CONNECT_FAILED : GAMESTATE_OK;
	error->message = why;
}

/* It ends without (another) attempt. */
void
gsp_run_refused(PoolRun *run, gamestate_status status)
{
	gamestate_result *last = run->result;
	gamestate_error connect = {.status = GAMESTATE_CONNECT_FAILED};
	char why[256];
	const char *message = gamestate_status_text(status);

	if (status == GAMESTATE_TIMEOUT)
		message = "no server could be asked before the deadline";
	gsp_connect_error(run->pool, &connect, why, sizeof(why));
	run->result =
		gsp_error_result(status, run->maybe_executed, message,
						 last != NULL ? gamestate_result_error(last) : &connect);
	gamestate_result_free(last);
}

/* Before the call was sent its connection turned out to be dead. */
void
gsp_run_lost(PoolRun *run, GspTime now)
{
	gamestate_pool *pool = run->pool;

	pthread_mutex_lock(&pool->lock);
	gsp_discard(pool, run->conn, gamestate_conn_error(run->conn->conn), false, now);
	pthread_mutex_unlock(&pool->lock);
	run->conn = NULL;
}

/* What an answer means. */
static GspJudgement
judge(const PoolRun *run, const gamestate_error *error)
{
	GspJudgement judgement = {.verdict = GSP_ANSWER, .not_done = !error->maybe_executed};

	switch (error->status)
	{
		case GAMESTATE_SERVER_ERROR:
		case GAMESTATE_CONNECTION_LOST:
		case GAMESTATE_NOT_CONNECTED:
			judgement =
				gsp_judge_call(error->status == GAMESTATE_SERVER_ERROR ? error->sqlstate
																	   : NULL,
							   run->repeatable);
			/* The connection knows more than the code says: no answer came, but none could. */
			if (judgement.verdict == GSP_UNKNOWN && !error->maybe_executed)
				judgement.verdict = GSP_RETRY;
			judgement.not_done |= !error->maybe_executed;
			break;
		case GAMESTATE_DISTURBED:
			judgement.verdict = GSP_RETRY;
			judgement.not_done = true;
			break;
		default:
			break;
	}
	if (run->flags & GAMESTATE_POOL_NO_RETRY && judgement.verdict == GSP_RETRY)
		judgement.verdict = GSP_ANSWER;
	return judgement;
}

/* Item 5: not on the standby again; true if that is another place. */
static bool
leave_standby(PoolRun *run, GspRole role)
{
	bool left =
		run->waiter.standby && !run->waiter.only_standby && role == GSP_ROLE_STANDBY;

	if (left)
		run->waiter.standby = false;
	return left;
}

/* The connection of an attempt that is over goes where it belongs. */
static void
give_back(PoolRun *run, const gamestate_error *error, const GspJudgement *judgement,
		  GspTime now)
{
	gamestate_pool *pool = run->pool;
	PoolConn *conn = run->conn;
	bool broken = gamestate_conn_get_state(conn->conn) != GAMESTATE_CONN_READY;

	run->conn = NULL;
	if (error->status == GAMESTATE_OK &&
		pool->servers[conn->server].role == GSP_ROLE_STANDBY)
		pool->stats.standby_reads++;
	if (judgement->wrong_role)
		gsp_server_read_only(pool, conn->server);
	if (broken)
		gsp_discard(pool, conn, error, judgement->unhealthy, now);
	else if (gamestate_conn_unanswered(conn->conn) > 0 ||
			 gamestate_conn_cancelling(conn->conn) ||
			 gamestate_conn_in_transaction(conn->conn))
		gsp_settle(pool, conn, error->status == GAMESTATE_TIMEOUT, now);
	else
		gsp_release(pool, conn, judgement->unhealthy ? GSP_UNHEALTHY : GSP_HEALTHY, now);
}

/* When the next attempt is made. */
static GspTime
next_attempt(PoolRun *run, const gamestate_error *error, bool elsewhere, GspTime now)
{
	if (elsewhere || error->status == GAMESTATE_DISTURBED)
		return now;
	return gsp_after(now, gsp_backoff_next(&run->backoff, &run->pool->random));
}

/*
 * run->result is what the attempt on run->conn came to.  True: that is the
 * answer, or run->result has become it.  False: *again is when to make another.
 */
bool
gsp_run_answered(PoolRun *run, GspTime now, GspTime *again)
{
	gamestate_pool *pool = run->pool;
	const gamestate_error *error = gamestate_result_error(run->result);
	GspJudgement judgement = judge(run, error);
	int server = run->conn->server;
	bool elsewhere;

	pthread_mutex_lock(&pool->lock);
	elsewhere = leave_standby(run, pool->servers[server].role);
	if (elsewhere && error->status == GAMESTATE_SERVER_ERROR &&
		strcmp(error->sqlstate, FEATURE_NOT_SUPPORTED) == 0 &&
		!(run->flags & GAMESTATE_POOL_NO_RETRY))
		judgement.verdict = GSP_RETRY; /* one without live games */
	give_back(run, error, &judgement, now);
	if (judgement.verdict == GSP_RETRY)
	{
		*again = next_attempt(run, error, elsewhere, now);
		if (*again < run->deadline && !pool->closing)
		{
			pool->stats.retries++;
			gsp_event(pool, GAMESTATE_POOL_RETRY, server, gamestate_call_name(&run->call),
					  error, NULL);
			pthread_mutex_unlock(&pool->lock);
			run->maybe_executed |=
				!judgement.not_done && !gamestate_call_is_read(&run->call);
			run->waiter.patient |= run->maybe_executed;
			return false;
		}
	}
	pthread_mutex_unlock(&pool->lock);

	/* An answer settles everything; other ends do not. */
	if (error->status != GAMESTATE_OK &&
		(judgement.verdict != GSP_ANSWER || error->status != GAMESTATE_SERVER_ERROR) &&
		run->maybe_executed && !error->maybe_executed)
		gsp_run_refused(run, GAMESTATE_TIMEOUT);
	return true;
}

/* -----------------------------------------------------------------------
 * Calls that a thread waits for
 * -----------------------------------------------------------------------
 */

/* Until `again`, or the pool is closed. */
static void
sleep_until(gamestate_pool *pool, GspTime again)
{
	struct timespec until = gsp_timespec(again);

	pthread_mutex_lock(&pool->lock);
	while (!pool->closing &&
		   pthread_cond_timedwait(&pool->changed, &pool->lock, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&pool->lock);
}

static void
run_to_its_end(PoolRun *run)
{
	GspTime now = run->begun;
	GspTime again;
	gamestate_status status;

	for (;;)
	{
		run->conn =
			gsp_wait_for_conn(run->pool, &run->waiter, now, run->deadline, &status);
		if (run->conn == NULL)
		{
			gsp_run_refused(run, status);
			return;
		}
		gamestate_result_free(run->result);
		run->result = NULL;
		gamestate_run(run->conn->conn, &run->call, gsp_run_timeout(run, now),
					  &run->result);
		now = gsp_now();
		if (gsp_run_answered(run, now, &again))
			return;
		if (again > now)
		{
			sleep_until(run->pool, again);
			now = gsp_now();
		}
	}
}

/* Refused before it began: *result says so. */
static gamestate_status
refuse(gamestate_status status, const char *message, gamestate_result **result)
{
	if (result != NULL)
		*result = gsp_error_result(status, false, message, NULL);
	return status;
}

gamestate_status
gamestate_pool_run(gamestate_pool *pool, const gamestate_call *call,
				   const gamestate_pool_call_options *options, gamestate_result **result)
{
	PoolRun run;
	gamestate_status status;

	if (result != NULL)
		*result = NULL;
	if (pool == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!gsp_is_ours(pool))
		return refuse(GAMESTATE_NOT_CONNECTED, "the pool belongs to another process",
					  result);
	status = gsp_run_init(&run, pool, call, options);
	if (status != GAMESTATE_OK)
		return refuse(status, "a pool does not take this call", result);

	pthread_mutex_lock(&pool->lock);
	status = gsp_let_in(pool);
	if (status == GAMESTATE_OK)
		pool->users++;
	pthread_mutex_unlock(&pool->lock);
	if (status != GAMESTATE_OK)
		return refuse(status, gamestate_status_text(status), result);

	run_to_its_end(&run);
	status = gamestate_result_status(run.result);

	pthread_mutex_lock(&pool->lock);
	gsp_let_out(pool, gamestate_result_error(run.result));
	if (--pool->users == 0 && pool->closing)
		pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	if (result != NULL)
		*result = run.result;
	else
		gamestate_result_free(run.result);
	return status;
}
