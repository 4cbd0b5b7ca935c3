/*-------------------------------------------------------------------------
 *
 * soak.c
 *	  Games from their creation to their end, through a pool, while a test does
 *	  something to the servers; others follow them (follower.c).
 *
 * The model:
 *
 * 1. Each thread plays one game after another: creates it, makes moves, seats
 *	  players, changes metadata, and then finishes it, leaves it running, deletes
 *	  it, or deletes it and creates it anew with the same id.  Some threads play
 *	  games of type soak_a, others of soak_b.
 * 2. A move sets some of the numbers k0 to k7 of the state: its event is
 *	  {"set": {"k3": 17}}.  So the events of a game add up to its state, and
 *	  whoever has all of them has the state.
 * 3. Ids that are used again are printed: who was away then cannot tell that from a
 *	  game that was taken back.
 * 4. Every call has a request id and waits for a server as long as it takes.  An
 *	  error is the end of the program: nothing here can be refused.
 *
 * usage: soak [-g THREADS] [-r REST] CONNINFO	  REST: milliseconds between calls
 *
 * Plays until SIGTERM, then comes to the end of its games.
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS 8

typedef struct Table
{
	pthread_t thread;
	unsigned seed;
	const char *game_type;
	gamestate_uuid id;
	int64_t version;
	int numbers[NUMBERS]; /* 0 = not set yet */
} Table;

static gamestate_pool *pool;
static const gamestate_pool_call_options patient = {.timeout = 120000,
													.flags = GAMESTATE_POOL_WAIT};
static useconds_t rest;
static atomic_bool stop;
static atomic_long games;
static atomic_long calls;

/* Executes a call; the program ends if it is refused. */
static gamestate_result *
run(const gamestate_call *call)
{
	gamestate_result *result;

	if (gamestate_pool_run(pool, call, &patient, &result) != GAMESTATE_OK)
	{
		const gamestate_error *error = gamestate_result_error(result);

		fprintf(stderr, "soak: %s: %s %s %s\n", gamestate_call_name(call),
				error->sqlstate, error->message, error->detail);
		exit(1);
	}
	atomic_fetch_add(&calls, 1);
	if (rest > 0)
		usleep(rest);
	return result;
}

static void
change(Table *table, const gamestate_call *call)
{
	gamestate_result *result = run(call);

	table->version = gamestate_result_version(result);
	gamestate_result_free(result);
}

static int
random_up_to(Table *table, int max)
{
	return rand_r(&table->seed) % (max + 1);
}

static void
create(Table *table, const gamestate_uuid *id)
{
	static const char *const players[] = {"ann"};
	gamestate_new_game game = {.game_type = table->game_type,
							   .state = gamestate_text("{}"),
							   .players = players,
							   .num_players = 1,
							   .game_id = id};
	gamestate_result *result;
	gamestate_call call;

	gamestate_call_create_game(&call, &game);
	result = run(&call);
	gamestate_result_game_id(result, &table->id);
	gamestate_result_free(result);
	table->version = 1;
	memset(table->numbers, 0, sizeof(table->numbers));
	atomic_fetch_add(&games, 1);
}

/* {"k1":2,"k5":3}: of the numbers that `which` has a bit for */
static size_t
write_numbers(const Table *table, unsigned which, char *text)
{
	char *at = text;

	*at++ = '{';
	for (int i = 0; i < NUMBERS; i++)
		if ((which & (1U << i)) != 0 && table->numbers[i] > 0)
			at += sprintf(at, "%s\"k%d\":%d", at > text + 1 ? "," : "", i,
						  table->numbers[i]);
	*at++ = '}';
	*at = '\0';
	return (size_t) (at - text);
}

static void
make_move(Table *table)
{
	unsigned which = (unsigned) random_up_to(table, 254) + 1;
	char state[256];
	char set[256];
	char event[300];
	gamestate_move move = {.game_id = &table->id, .expected_version = table->version};
	gamestate_call call;

	for (int i = 0; i < NUMBERS; i++)
		if ((which & (1U << i)) != 0)
			table->numbers[i] = random_up_to(table, 999999) + 1;
	write_numbers(table, which, set);
	write_numbers(table, ~0U, state);
	snprintf(event, sizeof(event), "{\"set\":%s}", set);
	move.event = gamestate_text(event);
	move.state = gamestate_text(state);
	move.player = "ann";
	gamestate_call_apply_move(&call, &move);
	change(table, &call);
}

static void
do_something_else(Table *table)
{
	gamestate_call call;
	char player[16];

	snprintf(player, sizeof(player), "p%d", random_up_to(table, 20));
	if (random_up_to(table, 1) == 0)
		gamestate_call_join_game(&call, &table->id, player, 0, NULL);
	else
		gamestate_call_set_metadata(&call, &table->id, gamestate_text("{\"round\": 2}"),
									table->version, NULL);
	change(table, &call);
}

static void
play_to_the_end(Table *table)
{
	gamestate_finish finish = {.game_id = &table->id,
							   .result = gamestate_text("{\"winner\":\"ann\"}")};
	gamestate_call call;
	int moves = random_up_to(table, 30);
	int end = random_up_to(table, 99);

	for (int i = 0; i < moves; i++)
	{
		if (random_up_to(table, 7) == 0)
			do_something_else(table);
		else
			make_move(table);
	}
	if (end < 75)
	{
		finish.expected_version = table->version;
		gamestate_call_finish_game(&call, &finish);
		change(table, &call);
	}
	else if (end < 85)
	{
		gamestate_call_delete_game(&call, &table->id, table->version, NULL);
		gamestate_result_free(run(&call));
		if (end < 80)
		{
			gamestate_uuid id = table->id;
			char text[GAMESTATE_UUID_TEXT];

			gamestate_uuid_format(&id, text);
			printf("again %s\n", text);
			create(table, &id);
			make_move(table);
		}
	}
}

static void *
play(void *arg)
{
	Table *table = arg;

	while (!atomic_load(&stop))
	{
		create(table, NULL);
		play_to_the_end(table);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	int threads = 6;
	Table *tables;
	sigset_t term;
	char why[256];
	int c;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	options.request_ids = true;
	options.connect_timeout = 1000;
	while ((c = getopt(argc, argv, "g:r:")) != -1)
	{
		if (c == 'g')
			threads = atoi(optarg);
		else if (c == 'r')
			rest = (useconds_t) atoi(optarg) * 1000;
		else
			return 2;
	}
	if (argc - optind != 1)
		return 2;
	if (gamestate_pool_open(argv[optind], &options, &pool, why, sizeof(why)) !=
		GAMESTATE_OK)
	{
		fprintf(stderr, "soak: %s\n", why);
		return 1;
	}
	tables = calloc((size_t) threads, sizeof(*tables));
	for (int i = 0; i < threads; i++)
	{
		tables[i].seed = (unsigned) (i * 7919 + getpid());
		tables[i].game_type = i % 2 == 0 ? "soak_a" : "soak_b";
		if (pthread_create(&tables[i].thread, NULL, play, &tables[i]) != 0)
			return 1;
	}
	printf("playing\n");
	fflush(stdout);
	sigwait(&term, &c);
	atomic_store(&stop, true);
	for (int i = 0; i < threads; i++)
		pthread_join(tables[i].thread, NULL);
	printf("games=%ld\ncalls=%ld\n", atomic_load(&games), atomic_load(&calls));
	gamestate_pool_close(pool);
	free(tables);
	return 0;
}
