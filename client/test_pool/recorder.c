/*-------------------------------------------------------------------------
 *
 * recorder.c
 *	  Many threads do things to a few games at the same time, and write down when
 *	  each call began, when it was answered, and what.
 *
 * The model:
 *
 * 1. Each call is made once, whatever becomes of it (GAMESTATE_POOL_NO_RETRY), so
 *	  that the history has calls of which nobody knows whether they were executed.
 *	  Writes have a request id, by which the games' logs tell.
 * 2. A line for each call goes to the file OUT, fields between tabs:
 *
 *		  thread, began, ended (microseconds of one clock), game, call, player,
 *		  expected version, request id, outcome (ok, refused, unknown), SQLSTATE,
 *		  version, what was read (the state), detail of the error
 *
 *	  tests/t/Linear.pm looks whether there is an order of the calls that explains
 *	  all answers.
 *
 * 3. With -L each thread is an owner of games: it claims games, makes moves under
 *	  its leases, also under those that it has given up, and gives them up.  The
 *	  number of the lease is in the place of the state then.  (No crashes: they end
 *	  all leases.)
 *
 * usage: recorder [-g GAMES] [-t THREADS] [-D] [-L] OUT CONNINFO    until SIGTERM
 *		  -D: deadlines, too
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_GAMES 64
#define SEATS	  4
#define PLAYERS	  7

typedef struct Thread
{
	pthread_t thread;
	int number;
	unsigned seed;
	long events;
	char owner[8];
	int64_t seen[MAX_GAMES];   /* the version that it knows of each game */
	int64_t leases[MAX_GAMES]; /* the last lease that it had */
} Thread;

static gamestate_pool *pool;
static gamestate_uuid games[MAX_GAMES];
static int num_games = 4;
static bool deadlines;
static bool leases;
static FILE *out;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stop;

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int
random_up_to(Thread *t, int max)
{
	return rand_r(&t->seed) % (max + 1);
}

/* A call, while it is being made. */
typedef struct Record
{
	int game;
	char player[8]; /* or "" */
	int64_t expected;
	gamestate_uuid request;
	bool is_write;
	gamestate_call call;
	char event[64];
	const char *name; /* of the call */
	int64_t lease;
	gamestate_param params[5];
} Record;

#define CLAIM                                                                       \
	"SELECT lease, game_id FROM gamestate.claim_games(owner => $1, game_ids => $2," \
	" ttl => '1 h', with_session => false)"
#define RELEASE "SELECT gamestate.release_games(owner => $1, game_ids => $2)"
#define LEASED_MOVE                                                                     \
	"SELECT gamestate.apply_move(game_id => $1, expected_version => NULL, event => $2," \
	" state => $2, lease => $3, request_id => $4)"

static void
fill_in_lease(Thread *t, Record *r, int what)
{
	r->is_write = true;
	r->player[0] = '\0';
	if (what < 3)
	{
		r->name = what == 0 ? "claim" : what == 1 ? "claim" : "release";
		r->lease = what == 2 ? t->leases[r->game] : 0;
		r->params[0] = gamestate_param_text(t->owner);
		r->params[1] = gamestate_param_uuid_array(&games[r->game], 1);
		gamestate_call_sql(&r->call, what == 2 ? RELEASE : CLAIM, r->params, 2,
						   GAMESTATE_SQL_PREPARE);
		return;
	}
	r->name = "leased_move";
	r->lease = t->leases[r->game] > 0 ? t->leases[r->game] : 1;
	snprintf(r->event, sizeof(r->event), "\"%d-%ld\"", t->number, t->events++);
	r->params[0] = gamestate_param_uuid(&games[r->game]);
	r->params[1] = gamestate_param_json(gamestate_text(r->event));
	r->params[2] = gamestate_param_int8(r->lease);
	r->params[3] = gamestate_param_uuid(&r->request);
	gamestate_call_sql(&r->call, LEASED_MOVE, r->params, 4, GAMESTATE_SQL_PREPARE);
}

static void
fill_in(Thread *t, Record *r)
{
	int what = random_up_to(t, deadlines ? 105 : 99);

	memset(r, 0, sizeof(*r));
	r->game = random_up_to(t, num_games - 1);
	r->is_write = true;
	gamestate_uuid_generate(&r->request);
	snprintf(r->player, sizeof(r->player), "p%d", random_up_to(t, PLAYERS - 1));
	if (leases && what < 70)
	{
		fill_in_lease(t, r, what / 10);
		return;
	}
	if (what < 40)
	{
		gamestate_move move = {.game_id = &games[r->game], .request_id = &r->request};

		/* with the version that was seen, or whatever it is; by a player, or not */
		r->expected = random_up_to(t, 2) > 0 ? t->seen[r->game] : 0;
		if (random_up_to(t, 2) > 0)
			r->player[0] = '\0';
		snprintf(r->event, sizeof(r->event), "\"%d-%ld\"", t->number, t->events++);
		move.expected_version = r->expected;
		move.player = r->player[0] != '\0' ? r->player : NULL;
		move.event = move.state = gamestate_text(r->event);
		gamestate_call_apply_move(&r->call, &move);
	}
	else if (what < 55)
		gamestate_call_join_game(&r->call, &games[r->game], r->player, 0, &r->request);
	else if (what < 65)
		gamestate_call_leave_game(&r->call, &games[r->game], r->player, 0, &r->request);
	else if (what >= 100)
	{
		struct timeval tv;

		gettimeofday(&tv, NULL);
		r->player[0] = '\0';
		/* soon: each call replaces the one of before, some hundred times a second */
		gamestate_call_set_deadline(&r->call, &games[r->game],
									(int64_t) tv.tv_sec * 1000000 + tv.tv_usec +
										random_up_to(t, 10000),
									0, &r->request);
	}
	else
	{
		r->is_write = false;
		r->player[0] = '\0';
		if (what < 82)
			gamestate_call_get_version(&r->call, &games[r->game]);
		else
			gamestate_call_get_state(&r->call, &games[r->game]);
	}
}

/* What SQL has returned: the version, or the number of a lease, or of games. */
static void
take_numbers(Thread *t, Record *r, gamestate_result *result, int64_t *version)
{
	int64_t number = 0;

	if (r->name == NULL || gamestate_result_status(result) != GAMESTATE_OK)
		return;
	gamestate_result_int8(result, 0, 0, &number);
	if (strcmp(r->name, "claim") == 0)
	{
		r->lease = number;
		if (number > 0)
			t->leases[r->game] = number;
	}
	/* whether there was anything to give up */
	*version = number;
}

static void
write_down(Thread *t, Record *r, int64_t began, int64_t ended, gamestate_result *result)
{
	int64_t version = gamestate_result_version(result);
	const gamestate_error *error = gamestate_result_error(result);
	gamestate_data state = gamestate_result_state(result);
	const char *outcome = error->status == GAMESTATE_OK			 ? "ok"
						  : r->is_write && error->maybe_executed ? "unknown"
																 : "refused";
	char request[GAMESTATE_UUID_TEXT] = "";
	char game[GAMESTATE_UUID_TEXT];
	char lease[24] = "";

	take_numbers(t, r, result, &version);
	if (r->name != NULL)
		snprintf(lease, sizeof(lease), "%" PRId64, r->lease);
	if (r->is_write)
		gamestate_uuid_format(&r->request, request);
	gamestate_uuid_format(&games[r->game], game);
	pthread_mutex_lock(&out_lock);
	fprintf(out,
			"%d\t%" PRId64 "\t%" PRId64 "\t%s\t%s\t%s\t%" PRId64 "\t%s\t%s\t%s\t%" PRId64
			"\t%s\t%s\n",
			t->number, began, ended, game,
			r->name != NULL ? r->name : gamestate_call_name(&r->call), r->player,
			r->expected, request, outcome, error->sqlstate, version,
			state.data != NULL ? (const char *) state.data : lease, error->detail);
	pthread_mutex_unlock(&out_lock);
}

static void *
play(void *arg)
{
	static const gamestate_pool_call_options once = {.timeout = 5000,
													 .flags = GAMESTATE_POOL_NO_RETRY |
															  GAMESTATE_POOL_WAIT};
	Thread *t = arg;

	while (!atomic_load(&stop))
	{
		Record r;
		gamestate_result *result;
		int64_t began;
		int64_t ended;

		fill_in(t, &r);
		began = now_us();
		gamestate_pool_run(pool, &r.call, &once, &result);
		ended = now_us();
		write_down(t, &r, began, ended, result);
		if (gamestate_result_version(result) > 0)
			t->seen[r.game] = gamestate_result_version(result);
		gamestate_result_free(result);
	}
	return NULL;
}

static void
create_games(void)
{
	static const char *const players[] = {"p0"};
	gamestate_new_game game = {.game_type = "linear",
							   .state = gamestate_text("\"none\""),
							   .players = players,
							   .num_players = 1,
							   .max_players = SEATS};

	for (int i = 0; i < num_games; i++)
		if (gamestate_pool_create_game(pool, &game, &games[i]) != GAMESTATE_OK)
		{
			fprintf(stderr, "recorder: %s\n", gamestate_pool_error()->message);
			exit(1);
		}
}

int
main(int argc, char **argv)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	int num_threads = 8;
	Thread *threads;
	sigset_t term;
	char why[256];
	int c;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	while ((c = getopt(argc, argv, "g:t:DL")) != -1)
	{
		if (c == 'g')
			num_games = atoi(optarg);
		else if (c == 't')
			num_threads = atoi(optarg);
		else if (c == 'D')
			deadlines = true;
		else if (c == 'L')
			leases = true;
		else
			return 2;
	}
	if (argc - optind != 2 || num_games > MAX_GAMES)
		return 2;
	options.max_connections = num_threads;
	out = fopen(argv[optind], "w");
	if (out == NULL || gamestate_pool_open(argv[optind + 1], &options, &pool, why,
										   sizeof(why)) != GAMESTATE_OK)
		return 1;
	create_games();
	threads = calloc((size_t) num_threads, sizeof(*threads));
	for (int i = 0; i < num_threads; i++)
	{
		threads[i].number = i;
		snprintf(threads[i].owner, sizeof(threads[i].owner), "t%d", i);
		threads[i].seed = (unsigned) (i * 7919 + getpid());
		if (pthread_create(&threads[i].thread, NULL, play, &threads[i]) != 0)
			return 1;
	}
	printf("recording\n");
	fflush(stdout);
	sigwait(&term, &c);
	atomic_store(&stop, true);
	for (int i = 0; i < num_threads; i++)
		pthread_join(threads[i].thread, NULL);
	gamestate_pool_close(pool);
	free(threads);
	return fclose(out) == 0 ? 0 : 1;
}
