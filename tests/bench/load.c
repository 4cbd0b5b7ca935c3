/*
 * The load: some threads, each driving its share of the connections without
 * blocking, with one call in flight a connection, or several, pipelined.
 *
 * Closed loop: each connection sends the next call when it has an answer.
 * Open loop (a rate is given): calls are due at random times (a Poisson process),
 * whether or not the server keeps up; the first free connection takes the next
 * one, and its latency counts from when it was due.  A server that stalls is
 * thus charged for every call that had to wait, not for one in each connection.
 *
 * A game belongs to one connection, so no call waits for another one's game.  Only
 * where that is what is measured (ARGS_MOVE_ANY) any connection moves any game.
 *
 * What counts is answers, and those only when what they tell is committed.
 */
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "gs_bench.h"

#define NS 1000000000LL

/* A rotation is waited for as long as it takes. */
#define NO_END (INT64_MAX / 2)

typedef struct Call
{
	Game *game;
	int64_t due;	  /* when it should have been sent */
	int64_t expected; /* the version it must return */
} Call;

typedef struct Connection
{
	const LinkKind *kind;
	Link *link;
	int number;	 /* its games are those with index % clients == number */
	Call *calls; /* those in flight, a ring of depth */
	int first;
	int count;
	char *state;   /* what is sent when games belong to nobody */
	bool flushing; /* there are bytes to send yet */
} Connection;

typedef struct Thread
{
	const Options *options;
	Game *games;
	Connection *connections;
	int count;
	uint64_t seed;
	int64_t begin;	/* sending begins */
	int64_t start;	/* measuring begins */
	int64_t next;	/* open loop: when the next call is due */
	int64_t last;	/* when the last answer came */
	int64_t all;	/* answers */
	float *samples; /* latencies in microseconds of those that count */
	int64_t nsamples;
	int64_t room;
	pthread_t thread;
} Thread;

/* When sending ends; brought forward when what is watched has come to its end. */
static _Atomic int64_t end_ns;

/* Calls sent, if there are to be so many and no more. */
static _Atomic int64_t claimed;

static void
sample(Thread *thread, int64_t ns)
{
	if (thread->nsamples == thread->room)
	{
		thread->room = thread->room ? thread->room * 2 : 1 << 16;
		thread->samples = realloc(thread->samples, sizeof(float) * (size_t) thread->room);
		if (!thread->samples)
			die("out of memory");
	}
	thread->samples[thread->nsamples++] = (float) ((double) ns / 1000.0);
}

/* A move of a game that is the connection's own, or of any game. */
static int
move_params(Thread *thread, Connection *c, Call *call, char *number, char *event,
			const char **params)
{
	const Options *options = thread->options;
	Game *game = call->game;
	bool own = options->workload->arguments == ARGS_MOVE;
	char *state = own ? game->state : c->state;
	int64_t version =
		own ? game->sent++ : __atomic_fetch_add(&game->sent, 1, __ATOMIC_RELAXED);
	uint64_t random = next_random(&thread->seed);

	snprintf(number, 32, "%lld", (long long) version);
	event_make(event, version, random);
	state_change(options->pattern, state, version, random);
	call->expected = own ? version + 1 : 0;
	params[0] = game->id;
	params[1] = own ? number : NULL;
	params[2] = event;
	params[3] = state;
	params[4] = (const char *[]){"p0", "p1", "p2", "p3"}[version % 4];
	return 5;
}

static int
pick_game(Thread *thread, const Connection *c)
{
	const Options *options = thread->options;
	uint64_t random = next_random(&thread->seed) >> 33;
	int share;

	if (options->workload->arguments == ARGS_MOVE_ANY)
		return (int) (random % (uint64_t) options->games);
	share = (options->games - c->number + options->clients - 1) / options->clients;
	return c->number + (int) (random % (uint64_t) share) * options->clients;
}

static void
send_call(Thread *thread, Connection *c, int64_t due)
{
	const Options *options = thread->options;
	Call *call = &c->calls[(c->first + c->count) % options->depth];
	int index = pick_game(thread, c);
	char text[32];
	char event[EVENT_SIZE + 1];
	const char *params[5];
	int nparams = 1;

	call->game = &thread->games[index];
	call->due = due;
	params[0] = text;
	switch (options->workload->arguments)
	{
		case ARGS_NONE:
			nparams = 0;
			break;
		case ARGS_MOVE:
		case ARGS_MOVE_ANY:
			nparams = move_params(thread, c, call, text, event, params);
			break;
		case ARGS_ID:
			params[0] = call->game->id;
			break;
		case ARGS_ROOM:
			snprintf(text, sizeof(text), "room%d", index);
			break;
		case ARGS_PLAYER:
			snprintf(text, sizeof(text), "own%d", index);
			break;
	}
	c->kind->send(c->link, nparams, params);
	c->count++;
}

static void
check_answer(Thread *thread, Call *call, const Value *value)
{
	switch (thread->options->workload->answer)
	{
		case ANSWER_ONE:
			break;
		case ANSWER_VERSION:
		case ANSWER_BATCH:
			if (call->expected > 0 ? atoll(value->text) != call->expected
								   : atoll(value->text) < 2)
				die("version %s, expected %lld", value->text, (long long) call->expected);
			__atomic_fetch_add(&call->game->version, 1, __ATOMIC_RELAXED);
			break;
		case ANSWER_STATE:
			if (value->len != STATE_SIZE)
				die("a state of %d bytes", value->len);
			break;
		case ANSWER_GAME_ID:
			if (strcmp(value->text, call->game->id) != 0)
				die("game %s, expected %s", value->text, call->game->id);
			break;
	}
}

/* receive: take the answers that have come */
static void
receive(Thread *thread, Connection *c)
{
	bool open_loop = thread->options->rate > 0;
	Value value;

	c->kind->receive(c->link);
	if (c->flushing)
		c->flushing = c->kind->flush(c->link);
	while (c->kind->answer(c->link, &value))
	{
		Call *call = &c->calls[c->first];
		int64_t now = now_ns();

		if (c->count == 0)
			die("an answer to no call");
		check_answer(thread, call, &value);
		/* By when it was due, so that a slow answer is never left out. */
		if (call->due >= thread->start && (open_loop ? call->due : now) < end_ns)
			sample(thread, now - call->due);
		thread->all++;
		thread->last = now;
		c->first = (c->first + 1) % thread->options->depth;
		c->count--;
	}
}

/* due_in: to the next call of a Poisson process at this thread's share of the rate */
static int64_t
due_in(Thread *thread)
{
	double u = ((double) (next_random(&thread->seed) >> 11) + 1.0) / 9007199254740993.0;

	return (int64_t) (-log(u) * NS * thread->options->threads / thread->options->rate);
}

/* may_send: is there another call to be sent now?  Then this one is taken. */
static bool
may_send(Thread *thread, int64_t now)
{
	const Options *options = thread->options;

	if (options->calls > 0)
		return claimed < options->calls && claimed++ < options->calls;
	return now < end_ns;
}

static bool
nothing_to_send(const Thread *thread, int64_t now)
{
	if (thread->options->calls > 0)
		return claimed >= thread->options->calls;
	return (thread->options->rate > 0 ? thread->next : now) >= end_ns;
}

/* start_calls: send on connections with room what may be sent now */
static void
start_calls(Thread *thread, int64_t now)
{
	const Options *options = thread->options;
	int64_t end = end_ns;

	for (int i = 0; i < thread->count; i++)
	{
		Connection *c = &thread->connections[i];
		int before = c->count;

		if (options->rate > 0)
		{
			if (c->count == 0 && thread->next <= now && thread->next < end)
			{
				send_call(thread, c, thread->next);
				thread->next += due_in(thread);
			}
		}
		else
			while (c->count < options->depth && may_send(thread, now))
				send_call(thread, c, now);
		if (c->count > before)
			c->flushing = c->kind->flush(c->link);
	}
}

/* wait_ready: until an answer comes, or the next call is due */
static void
wait_ready(Thread *thread, struct pollfd *fds)
{
	int busy = 0;

	for (int i = 0; i < thread->count; i++)
	{
		Connection *c = &thread->connections[i];

		fds[i].fd = c->count > 0 ? c->kind->socket(c->link) : -1;
		fds[i].events = (short) (POLLIN | (c->flushing ? POLLOUT : 0));
		fds[i].revents = 0;
		busy += c->count > 0;
	}
	if (thread->options->rate > 0 && busy < thread->count && thread->next < end_ns)
	{
		int64_t ns = thread->next - now_ns();
		struct timespec wait;

		ns = ns < 0 ? 0 : ns;
		/* what is watched may end before the next call is due */
		ns = ns > NS / 100 ? NS / 100 : ns;
		wait = (struct timespec){ns / NS, ns % NS};
		ppoll(fds, (nfds_t) thread->count, &wait, NULL);
	}
	else if (busy > 0)
		ppoll(fds, (nfds_t) thread->count, NULL, NULL);
}

static void *
thread_main(void *arg)
{
	Thread *thread = arg;
	struct pollfd *fds = must_alloc(sizeof(struct pollfd) * (size_t) thread->count);

	/* The kernel may wake a sleeper 50 microseconds late by default. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	if (thread->options->rate > 0)
		thread->next = thread->begin + due_in(thread);
	for (;;)
	{
		int64_t now = now_ns();
		int busy = 0;

		start_calls(thread, now);
		for (int i = 0; i < thread->count; i++)
			busy += thread->connections[i].count > 0;
		if (busy == 0 && nothing_to_send(thread, now))
			break;
		wait_ready(thread, fds);
		for (int i = 0; i < thread->count; i++)
			if (fds[i].fd >= 0 && fds[i].revents != 0)
				receive(thread, &thread->connections[i]);
	}
	free(fds);
	return NULL;
}

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return (x > y) - (x < y);
}

static void
summarize(Thread *threads, int count, double seconds, Result *result)
{
	int64_t n = 0;
	float *all;

	for (int i = 0; i < count; i++)
	{
		n += threads[i].nsamples;
		result->all += threads[i].all;
	}
	if (n == 0)
		die("no call finished in the measured time");
	all = must_alloc(sizeof(float) * (size_t) n);
	n = 0;
	for (int i = 0; i < count; i++)
	{
		memcpy(all + n, threads[i].samples, sizeof(float) * (size_t) threads[i].nsamples);
		n += threads[i].nsamples;
		free(threads[i].samples);
	}
	qsort(all, (size_t) n, sizeof(float), compare_floats);
	result->calls = n;
	result->seconds = seconds;
	result->p50_us = (double) all[n / 2];
	result->p99_us = (double) all[n * 99 / 100];
	result->max_us = (double) all[n - 1];
	free(all);
}

/*
 * watch_backlog: open the gate before which the archiver waits, and see how long
 * it has work to do.  The measurement ends with the work.
 */
static void
watch_backlog(PGconn *control, PGconn *gate, int64_t start, Result *result)
{
	int64_t left;
	int64_t at_start = backlog_left(control);

	PQclear(query(gate, "COMMIT", 0, NULL));
	/* the gate has made it pause, for longer than a measurement */
	PQclear(query(control, "SELECT gamestate.resume_archiving()", 0, NULL));
	do
	{
		poll(NULL, 0, 50);
		left = backlog_left(control);
		if (left == 0 && now_ns() < end_ns)
			end_ns = now_ns();
	} while (now_ns() < end_ns);
	result->archived = at_start - left;
	result->watched_s = (double) (end_ns - start) / NS;
}

static int64_t
xid_position(PGconn *control)
{
	return query_int(control, "SELECT pg_snapshot_xmax(pg_current_snapshot())");
}

static double
cpu_used(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static Connection *
open_connections(const Options *options)
{
	Connection *connections = must_alloc(sizeof(Connection) * (size_t) options->clients);

	for (int i = 0; i < options->clients; i++)
	{
		Connection *c = &connections[i];
		uint64_t seed = options->seed; /* that of the first games, too */

		c->kind = options->workload->answer == ANSWER_BATCH ? &link_batch
				  : options->workload->store == STORE_REDIS ? &link_redis
															: &link_postgres;
		c->link = c->kind->open(options);
		c->number = i;
		c->calls = must_alloc(sizeof(Call) * (size_t) options->depth);
		c->state = state_create(options->pattern, &seed);
	}
	return connections;
}

static void
close_connections(const Options *options, Connection *connections)
{
	for (int i = 0; i < options->clients; i++)
	{
		connections[i].kind->close(connections[i].link);
		free(connections[i].calls);
		free(connections[i].state);
	}
	free(connections);
}

static void
start_threads(const Options *options, Thread *threads, Connection *connections,
			  Game *games, int64_t begin, int64_t start)
{
	int given = 0;

	for (int i = 0; i < options->threads; i++)
	{
		Thread *thread = &threads[i];

		thread->options = options;
		thread->games = games;
		thread->connections = connections + given;
		thread->count = (options->clients - given) / (options->threads - i);
		given += thread->count;
		thread->seed = options->seed * 1000003ULL + (uint64_t) i;
		thread->begin = begin;
		thread->start = start;
		if (pthread_create(&thread->thread, NULL, thread_main, thread) != 0)
			die("cannot start a thread");
	}
}

/* When the measured time ended. */
static int64_t
end_of(const Options *options, const Thread *threads)
{
	int64_t last = 0;

	if (options->calls == 0)
		return end_ns;
	for (int i = 0; i < options->threads; i++)
		last = threads[i].last > last ? threads[i].last : last;
	return last;
}

/*
 * load_run: the workload on the options' connections.  gate, if not NULL, holds
 * back the archiver and is let go when measuring begins.
 */
void
load_run(const Options *options, Game *games, PGconn *control, PGconn *gate,
		 Result *result)
{
	Thread *threads = must_alloc(sizeof(Thread) * (size_t) options->threads);
	Connection *connections = open_connections(options);
	int64_t wal = wal_position(control);
	int64_t xids = xid_position(control);
	double cpu = cpu_used();
	int64_t begin = now_ns();
	int64_t start = begin + (int64_t) (options->warmup * NS);

	end_ns = options->calls > 0 || options->rotation
				 ? NO_END
				 : start + (int64_t) (options->seconds * NS);
	start_threads(options, threads, connections, games, begin, start);
	while ((gate || options->rotation) && now_ns() < start)
		poll(NULL, 0, 1);
	if (gate)
		watch_backlog(control, gate, start, result);
	if (options->rotation)
	{
		/* the same with a rotation of the journal, for as long as it takes */
		rotation_watch(control, result);
		end_ns = now_ns();
	}
	for (int i = 0; i < options->threads; i++)
		pthread_join(threads[i].thread, NULL);

	cpu = cpu_used() - cpu;
	summarize(threads, options->threads, (double) (end_of(options, threads) - start) / NS,
			  result);
	result->cpu_us = cpu * 1e6 / (double) result->all;
	result->wal_bytes = (double) (wal_position(control) - wal) / (double) result->all;
	result->xids = xid_position(control) - xids;
	close_connections(options, connections);
	free(threads);
}
