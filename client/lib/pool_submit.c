/*-------------------------------------------------------------------------
 *
 * pool_submit.c
 *	  Submitted calls: a thread of the pool, the sender, executes them.
 *
 * The model:
 *
 * 1. A submitted call is a run (pool_run.c) on the heap.  The thread that submits
 *	  it lets it in and takes an idle connection for it or puts it into the line;
 *	  then it belongs to the sender, which was woken.  The sender is started by
 *	  the first call that is submitted.
 * 2. The sender works on as many calls as there are connections at the same time,
 *	  with poll(2).  A run is *active* while its call is being executed; else it
 *	  waits, for a connection or for its next attempt, and is in a heap sorted
 *	  by the time at which something must happen: its deadline, or the end of
 *	  its backoff.
 * 3. Whoever hands a waiting run its connection, or the reason why it gets none,
 *	  puts it into the list of those that are ready, and wakes the sender.
 * 4. The answer is given in the callback, without the lock; then the run is freed.
 *	  A callback may submit calls.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

typedef struct Sender
{
	gamestate_pool *pool;
	PoolRun **active; /* room for all connections there can be */
	size_t num_active;
	PoolRun **ended;	/* the same room */
	struct pollfd *fds; /* the eventfd's, then one for each active run */
	PoolRun **heap;		/* room for max_calls: waiting runs, the earliest first */
	size_t num_waiting;
} Sender;

/* -----------------------------------------------------------------------
 * The heap
 * -----------------------------------------------------------------------
 */

static void
heap_put(Sender *sender, size_t i, PoolRun *run)
{
	sender->heap[i] = run;
	run->heap_index = i + 1;
}

static void
sift_up(Sender *sender, size_t i, PoolRun *run)
{
	while (i > 0 && sender->heap[(i - 1) / 2]->wake_at > run->wake_at)
	{
		heap_put(sender, i, sender->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(sender, i, run);
}

static void
sift_down(Sender *sender, size_t i, PoolRun *run)
{
	for (;;)
	{
		size_t child = 2 * i + 1;

		if (child + 1 < sender->num_waiting &&
			sender->heap[child + 1]->wake_at < sender->heap[child]->wake_at)
			child++;
		if (child >= sender->num_waiting || sender->heap[child]->wake_at >= run->wake_at)
			break;
		heap_put(sender, i, sender->heap[child]);
		i = child;
	}
	heap_put(sender, i, run);
}

static void
heap_add(Sender *sender, PoolRun *run, GspTime wake_at)
{
	run->wake_at = wake_at;
	sift_up(sender, sender->num_waiting++, run);
}

static void
heap_remove(Sender *sender, PoolRun *run)
{
	size_t i = run->heap_index - 1;
	PoolRun *last = sender->heap[--sender->num_waiting];

	run->heap_index = 0;
	if (last == run)
		return;
	if (i > 0 && sender->heap[(i - 1) / 2]->wake_at > last->wake_at)
		sift_up(sender, i, last);
	else
		sift_down(sender, i, last);
}

/* -----------------------------------------------------------------------
 * Runs of the sender
 * -----------------------------------------------------------------------
 */

/* Under the lock: the sender shall look at it. */
static void
make_ready(PoolRun *run)
{
	gamestate_pool *pool = run->pool;

	if (run->in_ready)
		return;
	run->in_ready = true;
	run->next_ready = NULL;
	*pool->ready_end = run;
	pool->ready_end = &run->next_ready;
	gsp_wake_sender(pool);
}

static void
wake_run(PoolWaiter *waiter)
{
	make_ready((PoolRun *) waiter);
}

static void
finish(PoolRun *run)
{
	gamestate_pool *pool = run->pool;

	pthread_mutex_lock(&pool->lock);
	gsp_let_out(pool, gamestate_result_error(run->result));
	pthread_mutex_unlock(&pool->lock);
	if (run->callback != NULL)
		run->callback(run->result, run->arg);
	gamestate_result_free(run->result);
	free(run);
}

static void
take_result(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	PoolRun *run = arg;

	(void) conn;
	run->result = gamestate_result_keep(result);
	run->answered = true;
}

static void begin_attempt(Sender *sender, PoolRun *run, GspTime now);

/* The attempt is over; run->result says how. */
static void
attempt_ended(Sender *sender, PoolRun *run, GspTime now)
{
	GspTime again;

	if (gsp_run_answered(run, now, &again))
		finish(run);
	else if (again > now)
		heap_add(sender, run, again);
	else
		begin_attempt(sender, run, now);
}

/* It has a connection: sends its call.  False: that one was dead. */
static bool
send_call(Sender *sender, PoolRun *run, GspTime now)
{
	gamestate_status status;

	run->conn = run->waiter.conn;
	if (!gsp_alive(run->conn))
	{
		gsp_run_lost(run, now);
		return false;
	}
	gamestate_result_free(run->result);
	run->result = NULL;
	run->answered = false;
	status = gamestate_conn_send(run->conn->conn, &run->call, gsp_run_timeout(run, now),
								 take_result, run);
	if (status != GAMESTATE_OK)
	{
		run->result =
			gsp_error_result(status, false,
							 gamestate_conn_error(run->conn->conn)->message, NULL);
		attempt_ended(sender, run, now);
		return true;
	}
	gamestate_conn_flush(run->conn->conn);
	sender->active[sender->num_active++] = run;
	return true;
}

/* What the line has come to: a connection, a reason why not, or neither yet. */
static void
continue_attempt(Sender *sender, PoolRun *run, bool queued, GspTime now)
{
	if (queued)
		heap_add(sender, run, run->deadline);
	else if (run->waiter.conn == NULL)
	{
		gsp_run_refused(run, run->waiter.status);
		finish(run);
	}
	else if (!send_call(sender, run, now))
		begin_attempt(sender, run, now);
}

static void
begin_attempt(Sender *sender, PoolRun *run, GspTime now)
{
	bool queued;

	pthread_mutex_lock(&run->pool->lock);
	gsp_acquire(run->pool, &run->waiter, now);
	queued = run->waiter.queued;
	pthread_mutex_unlock(&run->pool->lock);
	continue_attempt(sender, run, queued, now);
}

/* The time of a waiting run has come. */
static void
time_is_up(Sender *sender, PoolRun *run, GspTime now)
{
	gamestate_pool *pool = run->pool;
	bool is_ready;
	bool gave_up;

	heap_remove(sender, run);
	pthread_mutex_lock(&pool->lock);
	/* It may have got its connection a moment ago. */
	is_ready = run->in_ready;
	gave_up = gsp_abandon(pool, &run->waiter, now);
	pthread_mutex_unlock(&pool->lock);
	if (is_ready)
		return;
	if (gave_up || now >= run->deadline)
	{
		gsp_run_refused(run, GAMESTATE_TIMEOUT);
		finish(run);
	}
	else
		begin_attempt(sender, run, now);
}

/* Those that have been submitted, or were handed something. */
static bool
take_ready(Sender *sender)
{
	gamestate_pool *pool = sender->pool;
	GspTime now = gsp_now();

	for (;;)
	{
		PoolRun *run;
		bool queued;
		bool stop;

		pthread_mutex_lock(&pool->lock);
		pool->sender_woken = false;
		stop = pool->sender_stop;
		run = pool->ready;
		if (run == NULL)
		{
			pthread_mutex_unlock(&pool->lock);
			return stop;
		}
		pool->ready = run->next_ready;
		if (pool->ready == NULL)
			pool->ready_end = &pool->ready;
		run->in_ready = false;
		queued = run->waiter.queued;
		pthread_mutex_unlock(&pool->lock);

		if (run->heap_index > 0)
			heap_remove(sender, run);
		continue_attempt(sender, run, queued, now);
	}
}

/* -----------------------------------------------------------------------
 * The thread
 * -----------------------------------------------------------------------
 */

static void
wait_for_something(Sender *sender)
{
	GspTime until = sender->num_waiting > 0 ? sender->heap[0]->wake_at : GSP_NEVER;
	nfds_t n = 1;

	sender->fds[0] = (struct pollfd){.fd = sender->pool->sender_wake, .events = POLLIN};
	for (size_t i = 0; i < sender->num_active; i++)
	{
		gamestate_conn *conn = sender->active[i]->conn->conn;
		int wants = gamestate_conn_wants(conn);
		int64_t at = gamestate_conn_deadline(conn);

		sender->fds[n++] = (struct pollfd){
			.fd = gamestate_conn_socket(conn),
			.events = (short) ((wants & GAMESTATE_WANTS_READ ? POLLIN : 0) |
							   (wants & GAMESTATE_WANTS_WRITE ? POLLOUT : 0)),
		};
		if (at < GSP_NEVER / GSP_MS)
			until = gsp_earlier(until, at * GSP_MS);
	}
	if (poll(sender->fds, n, gsp_poll_timeout(gsp_now(), until)) > 0 &&
		sender->fds[0].revents != 0)
	{
		eventfd_t count;

		eventfd_read(sender->pool->sender_wake, &count);
	}
}

/* Goes on with the calls that are being executed. */
static void
process_active(Sender *sender)
{
	size_t n = sender->num_active;
	size_t left = 0;
	size_t ended = 0;
	GspTime now = gsp_now();

	/* First sorted, then ended: ending one may begin others. */
	for (size_t i = 0; i < n; i++)
	{
		PoolRun *run = sender->active[i];

		if (sender->fds[i + 1].revents != 0 ||
			gamestate_conn_deadline(run->conn->conn) <= now / GSP_MS)
			gamestate_conn_process(run->conn->conn);
		if (run->answered)
			sender->ended[ended++] = run;
		else
			sender->active[left++] = run;
	}
	sender->num_active = left;
	for (size_t i = 0; i < ended; i++)
		attempt_ended(sender, sender->ended[i], now);
}

/* The pool is closed: everybody is answered. */
static void
stop_sending(Sender *sender)
{
	while (sender->num_active > 0)
	{
		PoolRun *run = sender->active[--sender->num_active];
		gamestate_conn *conn = run->conn->conn;
		GspTime again;

		/* Its callback gives it the result GAMESTATE_CLOSED. */
		run->conn->conn = NULL;
		gamestate_conn_close(conn);
		if (!gsp_run_answered(run, gsp_now(), &again))
			gsp_run_refused(run, GAMESTATE_CLOSED);
		finish(run);
	}
	while (sender->num_waiting > 0)
	{
		PoolRun *run = sender->heap[--sender->num_waiting];

		gsp_run_refused(run, GAMESTATE_CLOSED);
		finish(run);
	}
}

void *
gsp_sender_main(void *arg)
{
	gamestate_pool *pool = arg;
	Sender sender = {
		.pool = pool,
		.active = pool->sender_active,
		.ended = pool->sender_ended,
		.fds = pool->sender_fds,
		.heap = pool->sender_heap,
	};

	for (;;)
	{
		GspTime now;

		if (take_ready(&sender))
			break;
		now = gsp_now();
		while (sender.num_waiting > 0 && sender.heap[0]->wake_at <= now)
			time_is_up(&sender, sender.heap[0], now);
		wait_for_something(&sender);
		process_active(&sender);
	}
	stop_sending(&sender);
	return NULL;
}

/* -----------------------------------------------------------------------
 * Submitting
 * -----------------------------------------------------------------------
 */

/* Under the lock. */
static gamestate_status
admit(gamestate_pool *pool, PoolRun *run)
{
	gamestate_status status = gsp_let_in(pool);

	if (status != GAMESTATE_OK)
		return status;
	if (!pool->sender_started && !gsp_start_sender(pool))
	{
		pool->calls--;
		pool->stats.started--;
		return GAMESTATE_NO_MEMORY;
	}
	gsp_acquire(pool, &run->waiter, run->begun);
	make_ready(run);
	return GAMESTATE_OK;
}

gamestate_status
gamestate_pool_submit(gamestate_pool *pool, const gamestate_call *call,
					  const gamestate_pool_call_options *options,
					  gamestate_pool_callback callback, void *arg)
{
	PoolRun *run;
	gamestate_status status;

	if (pool == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!gsp_is_ours(pool))
		return GAMESTATE_NOT_CONNECTED;
	run = malloc(sizeof(*run));
	if (run == NULL)
		return GAMESTATE_NO_MEMORY;
	status = gsp_run_init(run, pool, call, options);
	if (status == GAMESTATE_OK)
	{
		run->waiter.wake = wake_run;
		run->callback = callback;
		run->arg = arg;
		pthread_mutex_lock(&pool->lock);
		status = admit(pool, run);
		pthread_mutex_unlock(&pool->lock);
	}
	if (status != GAMESTATE_OK)
		free(run);
	return status;
}
