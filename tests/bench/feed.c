/*
 * From a move to those who wait for it in other processes: gs_bench --feed.
 *
 * Four connections make moves at a rate, of games of which each waiter has its part.
 * Each event says when it was sent; a waiter notes how long it took until he had it.
 * Several waiters name the games of theirs by their ids; a single one, who follows all
 * of them, names their type, as such a server would.
 *
 * Waiters wait with wait_changes(), or with a subscription of libgamestate, which
 * waits with it, or for comparison LISTEN, while the same call that makes the move
 * notifies them.
 *
 * With wait_changes() and subscriptions every change must come exactly once, in order, and none may be
 * missing at the end; or the program fails.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gamestate_subscription.h"
#include "gs_bench.h"

#define WRITERS	   4
#define GAMES	   400
#define STATE_SIZE 2048
#define GAME_TYPE  "feed"
#define GRACE_NS   10000000000LL

typedef struct Waiter
{
	pthread_t thread;
	int number;
	int64_t *samples;
	size_t n;
	size_t size;
} Waiter;

static double rate;
static int nwaiters;
static bool listening;
static bool subscribing;
static double seconds;

static char ids[GAMES][37];
static int64_t begin_ns;
static atomic_int ready;
static atomic_bool done;

/* written by the game's writer, read when done */
static int64_t versions[GAMES];

/* written by the game's waiter */
static int64_t seen[GAMES];
static int64_t moves[WRITERS];

static PGconn *
open_connection(void)
{
	PGconn *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	PQclear(query(conn, "SET synchronous_commit = off", 0, NULL));
	return conn;
}

static void
sleep_until(int64_t at)
{
	int64_t left = at - now_ns();

	if (left > 0)
		nanosleep(&(struct timespec){left / 1000000000LL, left % 1000000000LL}, NULL);
}

/* ---------------------------------------------------------------------
 * Writers
 * ---------------------------------------------------------------------
 */

static void
make_move(PGconn *conn, int game, char *state)
{
	char event[64], channel[32];
	const char *params[5] = {ids[game], event, state, channel, event};
	PGresult *result;

	/* The first 8 bytes of the string are another each time. */
	memset(state + 1, 'a' + (int) (versions[game] % 26), 8);
	snprintf(channel, sizeof(channel), "w%d", game % nwaiters);
	snprintf(event, sizeof(event), "[%d, %lld]", game, (long long) now_ns());
	result = PQexecPrepared(conn, "move", listening ? 5 : 3, params, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	versions[game] = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
}

static void *
write_moves(void *arg)
{
	int me = (int) (intptr_t) arg;
	PGconn *conn = open_connection();
	double interval = 1e9 * WRITERS / rate;
	int64_t end = begin_ns + (int64_t) (seconds * 1e9);
	int game = me;
	char state[STATE_SIZE];

	memset(state, 'x', sizeof(state));
	state[0] = state[STATE_SIZE - 2] = '"';
	state[STATE_SIZE - 1] = '\0';
	PQclear(
		PQprepare(conn, "move",
				  listening
					  ? "SELECT gamestate.apply_move($1, NULL, $2, $3), pg_notify($4, $5)"
					  : "SELECT gamestate.apply_move($1, NULL, $2, $3)",
				  0, NULL));
	for (int64_t i = 0;; i++)
	{
		int64_t at = begin_ns + (int64_t) ((double) i * interval);

		sleep_until(at);
		if (now_ns() >= end)
			break;
		make_move(conn, game, state);
		moves[me]++;
		game = (game + WRITERS) % GAMES;
	}
	PQfinish(conn);
	return NULL;
}

/* ---------------------------------------------------------------------
 * Waiters
 * ---------------------------------------------------------------------
 */

static void
take_sample(Waiter *waiter, const char *event, int *game)
{
	long long sent;

	if (sscanf(event, "[%d, %lld]", game, &sent) != 2 || *game < 0 || *game >= GAMES)
		die("not an event of ours: %s", event);
	if (waiter->n == waiter->size)
	{
		waiter->size = waiter->size ? waiter->size * 2 : 1024;
		waiter->samples = realloc(waiter->samples, waiter->size * sizeof(int64_t));
		if (!waiter->samples)
			die("out of memory");
	}
	waiter->samples[waiter->n++] = now_ns() - sent;
}

static bool
has_all(const Waiter *waiter)
{
	for (int game = waiter->number; game < GAMES; game += nwaiters)
		if (seen[game] != versions[game])
			return false;
	return true;
}

static bool
is_finished(const Waiter *waiter)
{
	if (!atomic_load(&done))
		return false;
	if (has_all(waiter))
		return true;
	if (now_ns() > begin_ns + (int64_t) (seconds * 1e9) + GRACE_NS)
		die("waiter %d has not been told of everything", waiter->number);
	return false;
}

/* A change of a game, which must be the next one. */
static void
take_change(Waiter *waiter, const char *event, int64_t version)
{
	int game;

	take_sample(waiter, event, &game);
	if (version != seen[game] + 1)
		die("game %d: version %lld after %lld", game, (long long) version,
			(long long) seen[game]);
	seen[game] = version;
}

/* One answer of wait_changes(). */
static void
take_changes(Waiter *waiter, PGresult *result, char *position, size_t size)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		const char *kind = PQgetvalue(result, row, 2);
		int64_t version = strtoll(PQgetvalue(result, row, 1), NULL, 10);

		if (strcmp(kind, "position") == 0)
			snprintf(position, size, "%s", PQgetvalue(result, row, 0));
		else if (strcmp(kind, "move") != 0)
			die("a row of kind %s", kind);
		else
			take_change(waiter, PQgetvalue(result, row, 3), version);
	}
}

/* Does this waiter follow everything there is? */
static bool
follows_all(void)
{
	return nwaiters == 1;
}

/* The waiter's games as an array. */
static char *
wanted_games(const Waiter *waiter)
{
	char *wanted = must_alloc(GAMES * 38 + 3);
	char *p = wanted;

	*p++ = '{';
	for (int game = waiter->number; game < GAMES; game += nwaiters)
		p += sprintf(p, "%s%s", p == wanted + 1 ? "" : ",", ids[game]);
	(void) sprintf(p, "}");
	return wanted;
}

static void
wait_for_changes(Waiter *waiter, PGconn *conn)
{
	char position[32];
	char *wanted = follows_all() ? NULL : wanted_games(waiter);
	PGresult *result = query(conn, "SELECT gamestate.feed_position()", 0, NULL);

	snprintf(position, sizeof(position), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	PQclear(PQprepare(conn, "wait",
					  "SELECT feed_position, version, kind, event FROM"
					  " gamestate.wait_changes($1, $2, $3, timeout => '1 s')",
					  0, NULL));
	atomic_fetch_add(&ready, 1);
	while (!is_finished(waiter))
	{
		const char *params[3] = {position, wanted, follows_all() ? GAME_TYPE : NULL};

		result = PQexecPrepared(conn, "wait", 3, params, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		take_changes(waiter, result, position, sizeof(position));
		PQclear(result);
	}
	free(wanted);
}

static void
on_update(void *arg, const gamestate_update *update)
{
	if (update->kind == GAMESTATE_UPDATE_CHANGE)
		take_change(arg, update->event.data, update->version);
	else if (update->kind != GAMESTATE_UPDATE_CURRENT)
		die("an update of kind %d", (int) update->kind);
}

static void
wait_with_library(Waiter *waiter)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	gamestate_subscriber *subscriber;
	gamestate_subscription *subscription;
	char why[200];

	options.callback = on_update;
	options.arg = waiter;
	options.game_type = follows_all() ? GAME_TYPE : NULL;
	if (gamestate_subscriber_open("", NULL, &subscriber, why, sizeof(why)) !=
		GAMESTATE_OK)
		die("%s", why);
	if (gamestate_subscribe(subscriber, &options, &subscription) != GAMESTATE_OK)
		die("%s", gamestate_subscriber_error(subscriber)->message);
	for (int game = waiter->number; game < GAMES; game += nwaiters)
	{
		gamestate_uuid id;

		if (!gamestate_uuid_parse(ids[game], &id) ||
			gamestate_subscription_add_game(subscription, &id, 1) != GAMESTATE_OK)
			die("game %s", ids[game]);
	}
	while (!gamestate_subscription_is_current(subscription))
		gamestate_subscriber_wait(subscriber, 100);
	atomic_fetch_add(&ready, 1);
	while (!is_finished(waiter))
		gamestate_subscriber_wait(subscriber, 100);
	gamestate_subscriber_close(subscriber);
}

static void
wait_for_notifications(Waiter *waiter, PGconn *conn)
{
	char command[32];
	PGnotify *notify;
	int game;

	snprintf(command, sizeof(command), "LISTEN w%d", waiter->number);
	PQclear(query(conn, command, 0, NULL));
	atomic_fetch_add(&ready, 1);
	while (!is_finished(waiter))
	{
		struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

		(void) poll(&fd, 1, 100);
		if (!PQconsumeInput(conn))
			die("%s", PQerrorMessage(conn));
		while ((notify = PQnotifies(conn)) != NULL)
		{
			take_sample(waiter, notify->extra, &game);
			seen[game]++;
			PQfreemem(notify);
		}
	}
}

static void *
wait_here(void *arg)
{
	Waiter *waiter = arg;
	PGconn *conn;

	if (subscribing)
	{
		wait_with_library(waiter);
		return NULL;
	}
	conn = open_connection();
	if (listening)
		wait_for_notifications(waiter, conn);
	else
		wait_for_changes(waiter, conn);
	PQfinish(conn);
	return NULL;
}

/* ---------------------------------------------------------------------
 * The whole
 * ---------------------------------------------------------------------
 */

static void
create_games(PGconn *conn)
{
	for (int game = 0; game < GAMES; game++)
	{
		PGresult *result =
			query(conn, "SELECT gamestate.create_game('" GAME_TYPE "')", 0, NULL);

		snprintf(ids[game], sizeof(ids[game]), "%s", PQgetvalue(result, 0, 0));
		PQclear(result);
		versions[game] = seen[game] = 1;
	}
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a;
	int64_t y = *(const int64_t *) b;

	return x < y ? -1 : x > y;
}

static double
microseconds(int64_t ns)
{
	return (double) ns / 1000;
}

static void
print_figures(const Waiter *waiters)
{
	size_t n = 0;
	int64_t total = 0;
	int64_t median;
	int64_t p99;
	int64_t *all;

	for (int i = 0; i < nwaiters; i++)
		n += waiters[i].n;
	for (int i = 0; i < WRITERS; i++)
		total += moves[i];
	if ((int64_t) n != total)
		die("%lld moves were made, waiters were told of %zu", (long long) total, n);
	all = must_alloc(n * sizeof(int64_t));
	n = 0;
	for (int i = 0; i < nwaiters; i++)
	{
		memcpy(all + n, waiters[i].samples, waiters[i].n * sizeof(int64_t));
		n += waiters[i].n;
		free(waiters[i].samples);
	}
	qsort(all, n, sizeof(int64_t), compare);
	median = all[n / 2];
	p99 = all[n * 99 / 100];
	printf("{\"offered\":%.0f,\"waiters\":%d,\"calls\":%zu,\"rate\":%.1f,"
		   "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"wal_bytes\":0}\n",
		   rate, nwaiters, n, (double) n / seconds, microseconds(median),
		   microseconds(p99), microseconds(all[n - 1]));
	free(all);
}

void
feed_run(const char *how, double moves_per_second, int waiting, double length)
{
	Waiter *waiters = must_alloc(sizeof(Waiter) * (size_t) waiting);
	pthread_t writers[WRITERS];
	PGconn *control = open_connection();

	listening = strcmp(how, "listen") == 0;
	subscribing = strcmp(how, "subscription") == 0;
	rate = moves_per_second;
	nwaiters = waiting;
	seconds = length;
	create_games(control);
	for (int i = 0; i < nwaiters; i++)
	{
		waiters[i].number = i;
		if (pthread_create(&waiters[i].thread, NULL, wait_here, &waiters[i]) != 0)
			die("no thread");
	}
	while (atomic_load(&ready) < nwaiters)
		sleep_until(now_ns() + 1000000);
	begin_ns = now_ns() + 100000000;
	for (int i = 0; i < WRITERS; i++)
		if (pthread_create(&writers[i], NULL, write_moves, (void *) (intptr_t) i) != 0)
			die("no thread");
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&done, true);
	for (int i = 0; i < nwaiters; i++)
		pthread_join(waiters[i].thread, NULL);
	print_figures(waiters);
	for (int game = 0; game < GAMES; game++)
	{
		const char *id = ids[game];

		PQclear(query(control, "SELECT gamestate.delete_game($1)", 1, &id));
	}
	PQfinish(control);
	free(waiters);
}
