/*
 * game_server.c: a game server that may die at any moment.
 *
 * Its games are clocks: each move is a tick, which sets the deadline of the next
 * one.  Start several of it with different names: they share the games.
 *
 * 1. A lease says which server runs which game.  claim_games() gives a server games
 *	  that nobody runs.  When it dies its session ends, and its games are free again.
 * 2. A subscription tells everything that happens: a deadline has passed, a player's
 *	  connection is there or gone, the game of another server is free.
 * 3. A move shows the lease.  A server that has lost a game without knowing it (it
 *	  was frozen, say) is refused, so nothing happens twice.
 *
 * cc game_server.c $(pkg-config --cflags --libs gamestate)
 * usage: game_server NAME GAMES
 */
#include <gamestate_subscription.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_GAMES	100
#define TTL			2000 /* ms: so long after it has frozen its games are free */
#define RENEW_EVERY 500
#define TICK_EVERY	200

typedef struct Game
{
	gamestate_uuid id;
	int64_t lease;
	int64_t version;
} Game;

static const char *name;
static int wanted;
static gamestate_conn *conn;
static Game games[MAX_GAMES];
static int num_games;
static bool some_are_free = true;

static Game *
find_game(const gamestate_uuid *id)
{
	for (int i = 0; i < num_games; i++)
		if (memcmp(&games[i].id, id, sizeof(*id)) == 0)
			return &games[i];
	return NULL;
}

static void
lose_game(Game *game)
{
	*game = games[--num_games];
	some_are_free = true;
}

static void
complain(void)
{
	fprintf(stderr, "%s: %s\n", name, gamestate_conn_error(conn)->message);
}

static int64_t
from_now_us(int ms)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000 + ms * 1000;
}

/* A move of one of our games: a tick, or that something has become of a player. */
static void
make_move(Game *game, const char *what, const char *player)
{
	char event[200];
	gamestate_move move = {.game_id = &game->id,
						   .expected_version = game->version,
						   .deadline_us = from_now_us(TICK_EVERY),
						   .lease = game->lease};

	snprintf(event, sizeof(event), "{\"what\":\"%s\",\"player\":\"%s\",\"by\":\"%s\"}",
			 what, player, name);
	move.event = move.state = gamestate_text(event);
	if (gamestate_apply_move(conn, &move, &game->version) == GAMESTATE_OK)
		return;
	/* It has changed meanwhile: the subscription is about to say how. */
	if (gamestate_error_is(gamestate_conn_error(conn), GAMESTATE_STALE_VERSION))
		return;
	complain();
	if (gamestate_error_is(gamestate_conn_error(conn), GAMESTATE_LEASE_LOST))
		lose_game(game);
}

static void
claim_games(void)
{
	gamestate_claim claim = {.owner = name,
							 .game_type = "clock",
							 .max_games = wanted - num_games,
							 .ttl = TTL};
	gamestate_result *result;
	gamestate_lease lease;

	some_are_free = false;
	if (gamestate_claim_games(conn, &claim, &result) != GAMESTATE_OK)
		complain();
	for (size_t i = 0; gamestate_result_lease(result, i, &lease); i++)
	{
		games[num_games++] = (Game){lease.game_id, lease.lease, lease.version};
		/* Its deadline may have passed while nobody ran it. */
		make_move(&games[num_games - 1], "tick", "");
	}
	gamestate_result_free(result);
}

static void
on_update(void *arg, const gamestate_update *update)
{
	Game *game = find_game(&update->game_id);

	(void) arg;
	if (update->kind == GAMESTATE_UPDATE_CURRENT || strcmp(update->what, "create") == 0 ||
		strcmp(update->what, "orphaned") == 0)
		some_are_free = true;
	if (game == NULL)
		return;
	if (update->kind == GAMESTATE_UPDATE_NOTICE)
	{
		if (strcmp(update->what, "connected") == 0 ||
			strcmp(update->what, "disconnected") == 0)
			make_move(game, update->what, update->player);
		return;
	}
	if (update->version > game->version)
		game->version = update->version;
	if (strcmp(update->what, "deadline") == 0 && update->version == game->version)
		make_move(game, "tick", "");
	else if (strcmp(update->what, "finish") == 0)
		lose_game(game);
}

/* Whoever has lost its session has lost its games. */
static void
connect_again(void)
{
	gamestate_conn_close(conn);
	num_games = 0;
	some_are_free = true;
	conn = gamestate_connect("", NULL);
	if (gamestate_conn_get_state(conn) != GAMESTATE_CONN_READY)
		usleep(100000);
}

int
main(int argc, char **argv)
{
	gamestate_subscription_options options = {.size = sizeof(options),
											  .game_type = "clock",
											  .callback = on_update};
	gamestate_subscriber *subscriber;
	gamestate_subscription *subscription;
	int64_t renew_at = 0;

	if (argc != 3 || (wanted = atoi(argv[2])) < 1 || wanted > MAX_GAMES)
		return 2;
	name = argv[1];
	gamestate_subscriber_open("", NULL, &subscriber, NULL, 0);
	gamestate_subscribe(subscriber, &options, &subscription);
	for (;;)
	{
		if (gamestate_conn_get_state(conn) == GAMESTATE_CONN_BROKEN)
		{
			connect_again();
			continue;
		}
		if (gamestate_now() >= renew_at)
		{
			if (gamestate_renew_lease(conn, name, TTL, NULL) != GAMESTATE_OK)
				complain();
			renew_at = gamestate_now() + RENEW_EVERY;
			some_are_free = true; /* a notice may have been missed */
		}
		if (some_are_free && num_games < wanted)
			claim_games();
		gamestate_subscriber_wait(subscriber, RENEW_EVERY);
	}
}
