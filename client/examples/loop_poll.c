/*
 * loop_poll.c: libgamestate in a loop of poll(2).
 *
 * Plays a game of 1,000 moves with up to 32 of them in flight on one connection.
 * The adapter is wait_and_process(); a program with several connections puts all
 * their sockets into one array.
 *
 * cc loop_poll.c $(pkg-config --cflags --libs gamestate)
 */
#include <gamestate.h>

#include <poll.h>
#include <stdio.h>

#define MOVES	  1000
#define IN_FLIGHT 32

static gamestate_uuid game_id;
static int sent;
static int moved;

/* One turn of the loop. */
static gamestate_status
wait_and_process(gamestate_conn *conn)
{
	int wants = gamestate_conn_wants(conn);
	struct pollfd fd = {.fd = gamestate_conn_socket(conn)};

	if ((wants & GAMESTATE_WANTS_READ) != 0)
		fd.events |= POLLIN;
	if ((wants & GAMESTATE_WANTS_WRITE) != 0)
		fd.events |= POLLOUT;
	poll(&fd, 1, gamestate_conn_wait_time(conn));
	return gamestate_conn_process(conn);
}

static void
move_done(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	(void) arg;
	if (gamestate_result_status(result) == GAMESTATE_OK)
		moved++;
	else
		fprintf(stderr, "%s\n", gamestate_result_error(result)->message);
}

static void
game_created(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	*(bool *) arg = gamestate_result_game_id(result, &game_id);
}

static void
send_move(gamestate_conn *conn)
{
	gamestate_move move = {.game_id = &game_id, .event = gamestate_text("{\"n\":1}")};
	gamestate_call call;

	gamestate_call_apply_move(&call, &move);
	if (gamestate_conn_send(conn, &call, 10000, move_done, NULL) == GAMESTATE_OK)
		sent++;
}

int
main(void)
{
	gamestate_conn *conn = gamestate_connect_start("", NULL);
	gamestate_new_game game = {.game_type = "example"};
	gamestate_call call;
	bool created = false;

	while (gamestate_conn_get_state(conn) == GAMESTATE_CONN_CONNECTING)
		wait_and_process(conn);
	gamestate_call_create_game(&call, &game);
	gamestate_conn_send(conn, &call, 10000, game_created, &created);
	while (gamestate_conn_in_flight(conn) > 0)
		wait_and_process(conn);
	while (created && (sent < MOVES || gamestate_conn_in_flight(conn) > 0))
	{
		while (sent < MOVES && gamestate_conn_in_flight(conn) < IN_FLIGHT)
			send_move(conn);
		if (wait_and_process(conn) != GAMESTATE_OK)
			break;
	}
	if (moved < MOVES)
		fprintf(stderr, "%s\n", gamestate_conn_error(conn)->message);
	printf("%d moves\n", moved);
	gamestate_conn_close(conn);
	return moved == MOVES ? 0 : 1;
}
