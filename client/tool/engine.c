/*
 * engine.c: the loop that plays many games on a few connections.
 *
 * The model:
 * 1. A task is always in exactly one place: the ready queue, the delayed
 *    list, or in flight on a connection of libgamestate.
 * 2. Each turn opens new tasks while there are fewer than wanted, gives each
 *    connection with room the next ready tasks, waits in poll(2) for sockets,
 *    and hands the answers to their tasks, which become ready again.
 * 3. A game has at most one call in flight, so its moves are in order
 *    whichever connection they take.
 * 4. Out of game memory (GS006) is no failure of the game: it means that
 *    games end faster than they are archived.  The task is asked again a
 *    little later, until patience is at an end.
 * 5. The first failure stops the run; tasks in flight are freed when their
 *    connections are closed, which answers them.
 */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "progress.h"

#define NS_PER_MS		UINT64_C(1000000)
#define NS_PER_S		UINT64_C(1000000000)
#define MEMORY_DELAY_NS (20 * NS_PER_MS)
#define DRAIN_NS		(2 * NS_PER_S)
#define MAX_POLL_MS		100

typedef struct TaskQueue
{
	Task *first;
	Task *last;
} TaskQueue;

struct Engine
{
	EngineOptions options;
	gamestate_conn **conns;
	struct pollfd *polls;
	TaskQueue ready;
	TaskQueue delayed; /* in order of ready_at */
	int open_tasks;
	bool exhausted; /* the source has no more tasks */
	bool failed;
	uint64_t last_answer; /* of any call that was carried out */
	EngineStats *stats;
};

static void
queue_push(TaskQueue *queue, Task *task)
{
	task->queue_next = NULL;
	if (queue->first == NULL)
		queue->first = task;
	else
		queue->last->queue_next = task;
	queue->last = task;
}

static Task *
queue_pop(TaskQueue *queue)
{
	Task *task = queue->first;

	if (task != NULL)
		queue->first = task->queue_next;
	return task;
}

static bool
open_connections(Engine *engine)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;

	options.max_in_flight = engine->options.pipeline;
	for (int i = 0; i < engine->options.connections; i++)
	{
		engine->conns[i] = gamestate_connect(engine->options.conninfo, &options);
		if (engine->conns[i] == NULL)
		{
			log_error("out of memory");
			return false;
		}
		if (gamestate_conn_get_state(engine->conns[i]) != GAMESTATE_CONN_READY)
		{
			report_call_error("connecting", gamestate_conn_error(engine->conns[i]));
			return false;
		}
	}
	return true;
}

Engine *
engine_open(const EngineOptions *options)
{
	Engine *engine = xcalloc(1, sizeof(*engine));

	engine->options = *options;
	engine->conns = xcalloc((size_t) options->connections, sizeof(gamestate_conn *));
	engine->polls = xcalloc((size_t) options->connections, sizeof(struct pollfd));
	if (open_connections(engine))
		return engine;
	engine_close(engine);
	return NULL;
}

void
engine_close(Engine *engine)
{
	if (engine == NULL)
		return;
	for (int i = 0; i < engine->options.connections; i++)
		gamestate_conn_close(engine->conns[i]);
	free(engine->conns);
	free(engine->polls);
	free(engine);
}

static void
open_tasks(Engine *engine, TaskSource *source)
{
	while (!engine->exhausted && engine->open_tasks < engine->options.tasks)
	{
		Task *task = source->open(source);

		if (task == NULL)
		{
			engine->exhausted = true;
			return;
		}
		task->engine = engine;
		engine->open_tasks++;
		queue_push(&engine->ready, task);
	}
}

static void
close_task(Engine *engine, Task *task)
{
	engine->open_tasks--;
	task->ops->free(task);
}

/* The game memory is full: ask the task again later, but not for ever. */
static void
delay_task(Engine *engine, Task *task, const gamestate_error *error, uint64_t now)
{
	engine->stats->memory_waits++;
	if (now - engine->last_answer > (uint64_t) engine->options.patience * NS_PER_S)
	{
		report_call_error(task->call_name, error);
		log_hint("No game could go on for %d seconds: the server's log says what keeps "
				 "the archiver from freeing memory.",
				 engine->options.patience);
		engine->failed = true;
	}
	task->ready_at = now + MEMORY_DELAY_NS;
	queue_push(&engine->delayed, task);
}

/* Did the server get the call, so that this is its answer? */
static bool
was_answered(gamestate_status status)
{
	return status == GAMESTATE_OK || status == GAMESTATE_SERVER_ERROR;
}

/* A connection has an answer for one of the tasks (a gamestate_callback). */
static void
take_answer(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Task *task = arg;
	Engine *engine = task->engine;
	gamestate_status status = gamestate_result_status(result);
	const gamestate_error *error = gamestate_result_error(result);
	uint64_t now = now_ns();

	(void) conn;
	/* One message about a failure is enough. */
	if (engine->failed)
	{
		close_task(engine, task);
		return;
	}
	if (!was_answered(status))
	{
		if (status != GAMESTATE_CLOSED)
			report_call_error(task->call_name, error);
		engine->failed = true;
		close_task(engine, task);
		return;
	}
	engine->stats->calls++;
	if (gamestate_error_is(error, GAMESTATE_OUT_OF_MEMORY))
	{
		delay_task(engine, task, error, now);
		return;
	}
	engine->last_answer = now;
	if (task->is_move && status == GAMESTATE_OK)
	{
		hist_add(engine->stats->move_latency, now - task->sent_at);
		engine->stats->moves++;
	}
	switch (task->ops->answer(task, result))
	{
		case TASK_GOES_ON:
			queue_push(&engine->ready, task);
			break;
		case TASK_FAILED:
			engine->failed = true;
			close_task(engine, task);
			break;
		case TASK_DONE:
			close_task(engine, task);
			break;
	}
}

/* Give one connection its next call; false if it or the queue is out of room. */
static bool
feed_connection(Engine *engine, gamestate_conn *conn)
{
	gamestate_call call;
	Task *task;

	if (engine->failed || gamestate_conn_in_flight(conn) >= engine->options.pipeline ||
		(task = queue_pop(&engine->ready)) == NULL)
		return false;
	task->ops->next(task, &call);
	task->call_name = gamestate_call_name(&call);
	task->is_move = strcmp(task->call_name, "apply_move") == 0;
	task->sent_at = now_ns();
	if (gamestate_conn_send(conn, &call, 0, take_answer, task) != GAMESTATE_OK)
	{
		report_call_error(task->call_name, gamestate_conn_error(conn));
		close_task(engine, task);
		engine->failed = true;
		return false;
	}
	return true;
}

/* Deal the ready tasks out, one to each connection in turn. */
static void
feed_connections(Engine *engine)
{
	bool fed = true;

	while (fed && !engine->failed)
	{
		fed = false;
		for (int i = 0; i < engine->options.connections; i++)
			fed |= feed_connection(engine, engine->conns[i]);
	}
}

static void
wake_delayed(Engine *engine, uint64_t now)
{
	while (engine->delayed.first != NULL && engine->delayed.first->ready_at <= now)
		queue_push(&engine->ready, queue_pop(&engine->delayed));
}

/* How long poll may wait, in milliseconds. */
static int
poll_timeout(const Engine *engine, uint64_t now)
{
	const Task *delayed = engine->delayed.first;
	uint64_t wait;

	if (delayed == NULL)
		return MAX_POLL_MS;
	wait = delayed->ready_at > now ? (delayed->ready_at - now) / NS_PER_MS + 1 : 0;
	return wait < MAX_POLL_MS ? (int) wait : MAX_POLL_MS;
}

/* Unless a call has said so already; false, for the caller. */
static bool
connection_lost(Engine *engine, gamestate_conn *conn)
{
	if (!engine->failed)
		report_call_error("the connection", gamestate_conn_error(conn));
	engine->failed = true;
	return false;
}

/* Send what is queued, wait for sockets, take the answers. */
static bool
exchange(Engine *engine)
{
	int count = engine->options.connections;
	bool in_flight = false;

	for (int i = 0; i < count; i++)
	{
		gamestate_conn *conn = engine->conns[i];
		int wants;

		if (gamestate_conn_flush(conn) != GAMESTATE_OK)
			return connection_lost(engine, conn);
		in_flight |= gamestate_conn_in_flight(conn) > 0;
		wants = gamestate_conn_wants(conn);
		engine->polls[i].fd = gamestate_conn_socket(conn);
		engine->polls[i].events = (short) ((wants & GAMESTATE_WANTS_READ ? POLLIN : 0) |
										   (wants & GAMESTATE_WANTS_WRITE ? POLLOUT : 0));
		engine->polls[i].revents = 0;
	}
	if (poll(engine->polls, (nfds_t) count, poll_timeout(engine, now_ns())) < 0)
	{
		if (errno == EINTR)
			return true;
		log_error("poll failed: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < count; i++)
		if (engine->polls[i].revents != 0 &&
			gamestate_conn_process(engine->conns[i]) != GAMESTATE_OK)
			return connection_lost(engine, engine->conns[i]);
	if (in_flight && engine->delayed.first == NULL &&
		now_ns() - engine->last_answer > (uint64_t) engine->options.patience * NS_PER_S)
	{
		log_error("the server has not answered for %d seconds", engine->options.patience);
		connection_failed = true;
		return false;
	}
	return true;
}

static void
show_progress(const Engine *engine, const TaskSource *source, uint64_t start, bool last)
{
	Buf note = {0};
	char number[NUMBER_SIZE];
	double seconds = (double) (now_ns() - start) / 1e9;

	if (engine->stats->moves > 0 && seconds > 0)
	{
		buf_printf(&note, "%s moves", format_count(number, engine->stats->moves));
		buf_printf(&note, ", %s moves/s",
				   format_count(number,
								(uint64_t) ((double) engine->stats->moves / seconds)));
	}
	if (last)
		progress_end(source->done(source), note.data);
	else
		progress_update(source->done(source), source->part(source), note.data);
	buf_free(&note);
}

static bool
any_in_flight(const Engine *engine)
{
	for (int i = 0; i < engine->options.connections; i++)
		if (gamestate_conn_in_flight(engine->conns[i]) > 0)
			return true;
	return false;
}

/*
 * When interrupted, take the answers that are on their way, so that every
 * game that was created is known.  Those that do
 * not come are given up with their connections: nobody needs these any more.
 */
static void
drop_tasks(Engine *engine)
{
	uint64_t deadline = now_ns() + DRAIN_NS;
	Task *task;

	while (!engine->failed && any_in_flight(engine) && now_ns() < deadline)
		if (!exchange(engine))
			break;
	engine->failed = true;
	while ((task = queue_pop(&engine->ready)) != NULL)
		close_task(engine, task);
	while ((task = queue_pop(&engine->delayed)) != NULL)
		close_task(engine, task);
	for (int i = 0; i < engine->options.connections; i++)
	{
		gamestate_conn_close(engine->conns[i]);
		engine->conns[i] = NULL;
	}
}

bool
engine_run(Engine *engine, TaskSource *source, EngineStats *stats)
{
	uint64_t start = now_ns();
	bool ok;

	engine->stats = stats;
	engine->exhausted = false;
	engine->failed = false;
	engine->last_answer = start;
	for (;;)
	{
		open_tasks(engine, source);
		if (engine->open_tasks == 0)
			break;
		wake_delayed(engine, now_ns());
		feed_connections(engine);
		if (engine->failed || interrupted)
			break;
		if (!exchange(engine))
			engine->failed = true;
		if (progress_due())
			show_progress(engine, source, start, false);
	}
	stats->elapsed_ns = now_ns() - start;
	ok = engine->open_tasks == 0 && !engine->failed && !interrupted;
	if (ok)
		show_progress(engine, source, start, true);
	else
	{
		progress_abandon();
		drop_tasks(engine);
	}
	engine->stats = NULL;
	return ok;
}
