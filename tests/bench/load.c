/*
 * The load: some threads, each driving its share of the connections without
 * blocking, one call in flight a connection.
 *
 * Closed loop: each connection sends the next call when it has the answer.
 * Open loop (a rate is given): calls are due at random times (a Poisson process),
 * whether or not the server keeps up; the first free connection takes the next
 * one, and its latency counts from when it was due.  A server that stalls is
 * thus charged for every call that had to wait, not for one in each connection.
 *
 * A game belongs to one connection, so no call waits for another one's game.
 */
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "gs_bench.h"

#define NS 1000000000LL

typedef struct Connection
{
	PGconn *conn;
	int number;	 /* its games are those with index % clients == number */
	Game *game;	 /* of the call in flight */
	int64_t due; /* when the call in flight should have been sent */
	bool busy;
	bool flushing; /* libpq has bytes to send yet */
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
	float *samples; /* latencies in microseconds */
	int64_t nsamples;
	int64_t room;
	pthread_t thread;
} Thread;

/* When sending ends; brought forward when the archiver's backlog is used up. */
static _Atomic int64_t end_ns;

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

static void
send_call(Thread *thread, Connection *c, int64_t due)
{
	const Options *options = thread->options;
	uint64_t random = next_random(&thread->seed);
	int share = (options->games - c->number + options->clients - 1) / options->clients;
	int index = c->number + (int) ((random >> 33) % (uint64_t) share) * options->clients;
	char text[32];
	char event[EVENT_SIZE + 1];
	const char *params[5];
	int nparams = 0;

	c->game = &thread->games[index];
	switch (options->workload->arguments)
	{
		case ARGS_NONE:
			break;
		case ARGS_MOVE:
			snprintf(text, sizeof(text), "%lld", (long long) c->game->version);
			random = next_random(&thread->seed);
			game_next_event(event, c->game->version, random);
			game_next_state(c->game, random);
			params[0] = c->game->id;
			params[1] = text;
			params[2] = event;
			params[3] = c->game->state;
			params[4] = (const char *[]){"p0", "p1", "p2", "p3"}[c->game->version % 4];
			nparams = 5;
			break;
		case ARGS_ID:
			params[0] = c->game->id;
			nparams = 1;
			break;
		case ARGS_ROOM:
			snprintf(text, sizeof(text), "room%d", index);
			params[0] = text;
			nparams = 1;
			break;
		case ARGS_PLAYER:
			snprintf(text, sizeof(text), "own%d", index);
			params[0] = text;
			nparams = 1;
			break;
	}
	if (!PQsendQueryPrepared(c->conn, "w", nparams, params, NULL, NULL, 0))
		die("send: %s", PQerrorMessage(c->conn));
	c->flushing = PQflush(c->conn) == 1;
	c->due = due;
	c->busy = true;
}

static void
check_answer(Thread *thread, Connection *c, const PGresult *res)
{
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die("%s: %s", thread->options->workload->name, PQresultErrorMessage(res));
	if (PQntuples(res) != 1)
		die("%s: %d rows", thread->options->workload->name, PQntuples(res));
	switch (thread->options->workload->answer)
	{
		case ANSWER_ONE:
			break;
		case ANSWER_VERSION:
			if (atoll(PQgetvalue(res, 0, 0)) != c->game->version + 1)
				die("version %s, expected %lld", PQgetvalue(res, 0, 0),
					(long long) c->game->version + 1);
			c->game->version++;
			break;
		case ANSWER_STATE:
			if (PQgetlength(res, 0, 0) != STATE_SIZE)
				die("a state of %d bytes", PQgetlength(res, 0, 0));
			break;
		case ANSWER_GAME_ID:
			if (strcmp(PQgetvalue(res, 0, 0), c->game->id) != 0)
				die("game %s, expected %s", PQgetvalue(res, 0, 0), c->game->id);
			break;
	}
}

/* receive: read what has come; is the call finished? */
static bool
receive(Thread *thread, Connection *c)
{
	PGresult *res;

	if (!PQconsumeInput(c->conn))
		die("receive: %s", PQerrorMessage(c->conn));
	if (c->flushing)
		c->flushing = PQflush(c->conn) == 1;
	if (PQisBusy(c->conn))
		return false;
	while ((res = PQgetResult(c->conn)) != NULL)
	{
		check_answer(thread, c, res);
		PQclear(res);
	}
	c->busy = false;
	return true;
}

/* due_in: to the next call of a Poisson process at this thread's share of the rate */
static int64_t
due_in(Thread *thread)
{
	double u = ((double) (next_random(&thread->seed) >> 11) + 1.0) / 9007199254740993.0;

	return (int64_t) (-log(u) * NS * thread->options->threads / thread->options->rate);
}

/* start_calls: send on idle connections what may be sent now */
static void
start_calls(Thread *thread, int64_t now)
{
	int64_t end = end_ns;

	for (int i = 0; i < thread->count; i++)
	{
		Connection *c = &thread->connections[i];

		if (c->busy)
			continue;
		if (thread->options->rate == 0)
		{
			if (now < end)
				send_call(thread, c, now);
		}
		else if (thread->next <= now && thread->next < end)
		{
			send_call(thread, c, thread->next);
			thread->next += due_in(thread);
		}
	}
}

static void *
thread_main(void *arg)
{
	Thread *thread = arg;
	struct pollfd *fds = must_alloc(sizeof(struct pollfd) * (size_t) thread->count);
	bool open_loop = thread->options->rate > 0;

	/* The kernel may wake a sleeper 50 microseconds late by default. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	thread->next = thread->begin + due_in(thread);
	for (;;)
	{
		int64_t now = now_ns();
		int busy = 0;
		struct timespec wait;

		start_calls(thread, now);
		for (int i = 0; i < thread->count; i++)
		{
			Connection *c = &thread->connections[i];

			fds[i].fd = c->busy ? PQsocket(c->conn) : -1;
			fds[i].events = (short) (POLLIN | (c->flushing ? POLLOUT : 0));
			busy += c->busy;
		}
		if (busy == 0 && (open_loop ? thread->next : now) >= end_ns)
			break;
		if (open_loop && busy < thread->count && thread->next < end_ns)
		{
			int64_t ns = thread->next - now_ns();

			ns = ns < 0 ? 0 : ns;
			wait = (struct timespec){ns / NS, ns % NS};
			ppoll(fds, (nfds_t) thread->count, &wait, NULL);
		}
		else
			ppoll(fds, (nfds_t) thread->count, NULL, NULL);

		for (int i = 0; i < thread->count; i++)
		{
			Connection *c = &thread->connections[i];

			if (fds[i].fd < 0 || fds[i].revents == 0 || !receive(thread, c))
				continue;
			now = now_ns();
			/* By when it was due, so that a slow answer is never left out. */
			if (c->due >= thread->start && (open_loop ? c->due : now) < end_ns)
				sample(thread, now - c->due);
		}
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
		n += threads[i].nsamples;
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
	int64_t at_start;

	while (now_ns() < start)
		poll(NULL, 0, 1);
	at_start = backlog_left(control);
	PQclear(query(gate, "COMMIT", 0, NULL));
	do
	{
		poll(NULL, 0, 50);
		left = backlog_left(control);
		if (left == 0 && now_ns() < end_ns)
			end_ns = now_ns();
	} while (now_ns() < end_ns);
	result->archived = at_start - left;
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
	Connection *connections = must_alloc(sizeof(Connection) * (size_t) options->clients);
	int64_t begin;
	int64_t start;
	int given = 0;

	for (int i = 0; i < options->clients; i++)
	{
		Connection *c = &connections[i];
		PGresult *res;

		c->number = i;
		c->conn = connect_server(options);
		res = PQprepare(c->conn, "w", options->workload->statement, 0, NULL);
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			die("prepare: %s", PQerrorMessage(c->conn));
		PQclear(res);
		PQsetnonblocking(c->conn, 1);
	}

	begin = now_ns();
	start = begin + (int64_t) (options->warmup * NS);
	end_ns = start + (int64_t) (options->seconds * NS);
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
	if (gate)
		watch_backlog(control, gate, start, result);
	for (int i = 0; i < options->threads; i++)
		pthread_join(threads[i].thread, NULL);

	summarize(threads, options->threads, (double) (end_ns - start) / NS, result);
	for (int i = 0; i < options->clients; i++)
		PQfinish(connections[i].conn);
	free(connections);
	free(threads);
}
