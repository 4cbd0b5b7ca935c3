/*-------------------------------------------------------------------------
 *
 * player.c
 *	  Plays games through a pool while a test does something to the servers, and
 *	  writes down what it was told about each move.
 *
 * The model:
 *
 * 1. Each game has one player, which makes one call at a time: moves, each
 *	  with an event that is unique and the version that it expects, and reads
 *	  between them.  In a thread of its own with gamestate_pool_run(), or, with
 *	  -a, all with gamestate_pool_submit() from callbacks.
 * 2. For each move a line goes to the file OUT: the event, the game, what the
 *	  caller was told (ok, failed, unknown), the version.  The test compares
 *	  them with the games' logs: "ok" is there once with that version, "failed"
 *	  is not there, "unknown" at most once.
 * 3. After anything but "ok" the player reads the version until it gets it.
 * 4. How late the latest answer came, compared with its deadline, is reported at
 *	  the end, as is what the pool has counted, as key=value lines.
 *
 * usage: player [-a] [-s] [-r] [-w] [-g GAMES] [-t TIMEOUT] [-m MAX] [-i MIN] [-b FAILURES]
 *               [-c CONNECT-TIMEOUT] [-f FIRST] [-e EVENTS] OUT CONNINFO
 *
 * Plays until SIGTERM.
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Player
{
	int number;
	gamestate_uuid game;
	char game_text[GAMESTATE_UUID_TEXT];
	int64_t version; /* 0: to be read */
	long moves;
	/* of the call that is being made */
	bool is_move;
	char event[64];
	char state[64];
	gamestate_call call;
	int64_t deadline;
} Player;

static gamestate_pool *pool;
static gamestate_pool_call_options call_options = {.timeout = 2000};
static FILE *out;
static FILE *events;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static int64_t latest = INT64_MIN;
static long told_ok;
static long told_failed;
static long told_unknown;
static long reads_ok;
static long reads_failed;
static int playing;
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;
static atomic_bool stop;
static bool standby_reads;

static void
on_event(void *arg, const gamestate_pool_event *event)
{
	(void) arg;
	fprintf(events, "%" PRId64 " %s %s %s %s %s\n", event->at,
			gamestate_pool_event_name(event->kind), event->server, event->call,
			event->sqlstate, event->message);
	fflush(events);
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "player: %s: %s\n", what, why);
	exit(1);
}

/* The next call of a player. */
static void
next_call(Player *p)
{
	gamestate_move move = {0};

	p->deadline = gamestate_now() + call_options.timeout;
	p->is_move = p->version > 0 && (p->moves + p->version) % 3 != 0;
	if (!p->is_move)
	{
		gamestate_call_get_version(&p->call, &p->game);
		return;
	}
	snprintf(p->event, sizeof(p->event), "{\"n\":\"%d-%ld\"}", p->number, p->moves);
	snprintf(p->state, sizeof(p->state), "{\"last\":%ld}", p->moves);
	move.game_id = &p->game;
	move.expected_version = p->version;
	move.event = gamestate_text(p->event);
	move.state = gamestate_text(p->state);
	gamestate_call_apply_move(&p->call, &move);
}

/* What it was answered. */
static void
take_answer(Player *p, gamestate_result *result)
{
	const gamestate_error *error = gamestate_result_error(result);
	const char *told = "ok";
	int64_t late = gamestate_now() - p->deadline;

	pthread_mutex_lock(&lock);
	if (late > latest)
		latest = late;
	if (!p->is_move)
	{
		if (error->status == GAMESTATE_OK)
		{
			reads_ok++;
			/* A standby may be behind: then the next move is refused as stale. */
			p->version = gamestate_result_version(result);
		}
		else
			reads_failed++;
		if (error->status == GAMESTATE_OK)
			p->moves++;
		pthread_mutex_unlock(&lock);
		return;
	}
	if (error->status == GAMESTATE_OK)
	{
		told_ok++;
		p->version = gamestate_result_version(result);
	}
	else
	{
		told = error->maybe_executed ? "unknown" : "failed";
		if (error->maybe_executed)
			told_unknown++;
		else
			told_failed++;
		p->version = 0;
	}
	fprintf(out, "%d-%ld\t%s\t%s\t%" PRId64 "\t%d\t%s\n", p->number, p->moves,
			p->game_text, told, error->status == GAMESTATE_OK ? p->version : 0,
			(int) error->status, error->sqlstate);
	p->moves++;
	pthread_mutex_unlock(&lock);
}

static const gamestate_pool_call_options *
options_of(const Player *p)
{
	static gamestate_pool_call_options to_standbys;

	if (!standby_reads || p->is_move)
		return &call_options;
	to_standbys = call_options;
	to_standbys.flags |= GAMESTATE_POOL_PREFER_STANDBY;
	return &to_standbys;
}

static void
finished(void)
{
	pthread_mutex_lock(&lock);
	if (--playing == 0)
		pthread_cond_broadcast(&all_done);
	pthread_mutex_unlock(&lock);
}

/* -----------------------------------------------------------------------
 * Waiting, in threads
 * -----------------------------------------------------------------------
 */

static void *
play(void *arg)
{
	Player *p = arg;

	while (!atomic_load(&stop))
	{
		gamestate_result *result;
		gamestate_status status;

		next_call(p);
		status = gamestate_pool_run(pool, &p->call, options_of(p), &result);
		take_answer(p, result);
		gamestate_result_free(result);
		/* Whoever is refused at once would turn in circles. */
		if (status == GAMESTATE_CIRCUIT_OPEN || status == GAMESTATE_OVERLOADED)
			usleep(10000);
	}
	finished();
	return NULL;
}

/* -----------------------------------------------------------------------
 * Submitting, in callbacks
 * -----------------------------------------------------------------------
 */

static void submit(Player *p);

static void
on_answer(gamestate_result *result, void *arg)
{
	Player *p = arg;

	take_answer(p, result);
	if (gamestate_result_status(result) == GAMESTATE_CIRCUIT_OPEN)
		usleep(1000);
	submit(p);
}

static void
submit(Player *p)
{
	if (!atomic_load(&stop))
	{
		next_call(p);
		if (gamestate_pool_submit(pool, &p->call, options_of(p), on_answer, p) ==
			GAMESTATE_OK)
			return;
	}
	finished();
}

/* -----------------------------------------------------------------------
 * The program
 * -----------------------------------------------------------------------
 */

static void
create_game(Player *p, int number)
{
	gamestate_new_game game = {.game_type = "pool", .state = gamestate_text("{}")};
	gamestate_result *result;
	gamestate_call call;

	p->number = number;
	gamestate_call_create_game(&call, &game);
	if (gamestate_pool_run(pool, &call, &call_options, &result) != GAMESTATE_OK ||
		!gamestate_result_game_id(result, &p->game))
		fail("create_game", gamestate_result_error(result)->message);
	gamestate_result_free(result);
	gamestate_uuid_format(&p->game, p->game_text);
	p->version = 1;
}

static void
report(void)
{
	gamestate_pool_stats s;

	gamestate_pool_get_stats(pool, &s, sizeof(s));
	printf("ok=%ld\nfailed=%ld\nunknown=%ld\nreads_ok=%ld\nreads_failed=%ld\n", told_ok,
		   told_failed, told_unknown, reads_ok, reads_failed);
	printf("late_ms=%" PRId64 "\n", latest);
	printf("started=%" PRIu64 "\nsucceeded=%" PRIu64 "\nfailures=%" PRIu64 "\n",
		   s.started, s.succeeded, s.failed);
	printf("timeouts=%" PRIu64 "\ncircuit_open=%" PRIu64 "\nretries=%" PRIu64 "\n",
		   s.timeouts, s.circuit_open, s.retries);
	printf("connects=%" PRIu64 "\nconnect_failures=%" PRIu64 "\nlost=%" PRIu64 "\n",
		   s.connects, s.connect_failures, s.lost);
	printf("cancelled=%" PRIu64 "\nstandby_reads=%" PRIu64 "\nprimary_changes=%" PRIu64
		   "\n",
		   s.cancelled, s.standby_reads, s.primary_changes);
	printf("breaker_opened=%" PRIu64 "\nwaits=%" PRIu64 "\nconnections=%d\ncalls=%d\n",
		   s.breaker_opened, s.waits, s.connections, s.calls);
}

static void
play_all(Player *players, int games, bool async)
{
	pthread_t *threads = calloc((size_t) games, sizeof(*threads));
	sigset_t term;
	int signal;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	playing = games;
	for (int i = 0; i < games; i++)
	{
		if (async)
			submit(&players[i]);
		else if (pthread_create(&threads[i], NULL, play, &players[i]) != 0)
			fail("pthread_create", strerror(errno));
	}
	printf("playing\n");
	fflush(stdout);
	sigwait(&term, &signal);
	atomic_store(&stop, true);
	pthread_mutex_lock(&lock);
	while (playing > 0)
		pthread_cond_wait(&all_done, &lock);
	pthread_mutex_unlock(&lock);
	for (int i = 0; !async && i < games; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

static void
read_options(int argc, char **argv, gamestate_pool_options *options, bool *async,
			 int *games, int *first)
{
	int c;

	while ((c = getopt(argc, argv, "asrwg:t:m:i:b:c:f:e:")) != -1)
	{
		switch (c)
		{
			case 'a':
				*async = true;
				break;
			case 's':
				standby_reads = true;
				break;
			case 'r':
				options->request_ids = true;
				break;
			case 'w':
				call_options.flags |= GAMESTATE_POOL_WAIT;
				break;
			case 'g':
				*games = atoi(optarg);
				break;
			case 't':
				call_options.timeout = atoi(optarg);
				break;
			case 'm':
				options->max_connections = atoi(optarg);
				break;
			case 'i':
				options->min_connections = atoi(optarg);
				break;
			case 'b':
				options->breaker_failures = atoi(optarg);
				break;
			case 'c':
				options->connect_timeout = atoi(optarg);
				break;
			case 'f':
				*first = atoi(optarg);
				break;
			case 'e':
				events = fopen(optarg, "w");
				if (events == NULL)
					fail(optarg, strerror(errno));
				options->event = on_event;
				break;
			default:
				exit(2);
		}
	}
}

int
main(int argc, char **argv)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	Player *players;
	char why[256];
	bool async = false;
	int games = 8;
	int first = 0;
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	read_options(argc, argv, &options, &async, &games, &first);
	if (argc - optind != 2)
		return 2;
	out = fopen(argv[optind], "w");
	if (out == NULL)
		fail(argv[optind], strerror(errno));
	if (gamestate_pool_open(argv[optind + 1], &options, &pool, why, sizeof(why)) !=
		GAMESTATE_OK)
		fail("gamestate_pool_open", why);
	if (gamestate_pool_warm_up(pool, 30000) != GAMESTATE_OK)
		fail("gamestate_pool_warm_up", "no connection");
	players = calloc((size_t) games, sizeof(*players));
	for (int i = 0; i < games; i++)
		create_game(&players[i], first + i);
	play_all(players, games, async);
	report();
	gamestate_pool_close(pool);
	free(players);
	fclose(out);
	if (events != NULL)
		fclose(events);
	return 0;
}
