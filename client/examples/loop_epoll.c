/*
 * loop_epoll.c: several connections of libgamestate in a loop of epoll(7).
 *
 * Four connections play a game of 500 moves each.  The adapter is Watched: it
 * registers a connection's socket anew when libpq has opened another one, and
 * changes the directions when they have changed.
 *
 * cc loop_epoll.c $(pkg-config --cflags --libs gamestate)
 */
#include <gamestate.h>

#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTIONS 4
#define MOVES		500

typedef struct Watched
{
	gamestate_conn *conn;
	int fd;
	int wants;
	bool created;
	bool over;
	int moved;
	gamestate_uuid game_id;
} Watched;

/* After each turn, and after sending. */
static void
watch(int epoll, Watched *watched)
{
	int fd = gamestate_conn_socket(watched->conn);
	int wants = gamestate_conn_wants(watched->conn);
	bool connecting =
		gamestate_conn_get_state(watched->conn) == GAMESTATE_CONN_CONNECTING;
	struct epoll_event event = {.data.ptr = watched};

	if (fd == watched->fd && wants == watched->wants && !connecting)
		return;
	if ((wants & GAMESTATE_WANTS_READ) != 0)
		event.events |= EPOLLIN;
	if ((wants & GAMESTATE_WANTS_WRITE) != 0)
		event.events |= EPOLLOUT;
	/* A socket that was closed has left epoll by itself, whatever its number is. */
	if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) != 0)
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	watched->fd = fd;
	watched->wants = wants;
}

static void send_move(Watched *watched);

static void
move_done(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Watched *watched = arg;

	(void) conn;
	if (gamestate_result_status(result) != GAMESTATE_OK)
	{
		fprintf(stderr, "%s\n", gamestate_result_error(result)->message);
		watched->over = true;
	}
	else if (++watched->moved < MOVES)
		send_move(watched);
	else
		watched->over = true;
}

static void
send_move(Watched *watched)
{
	gamestate_move move = {
		.game_id = &watched->game_id,
		.expected_version = watched->moved + 1,
		.event = gamestate_text("{\"n\":1}"),
	};
	gamestate_call call;

	gamestate_call_apply_move(&call, &move);
	if (gamestate_conn_send(watched->conn, &call, 10000, move_done, watched) !=
		GAMESTATE_OK)
		watched->over = true;
}

static void
game_created(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Watched *watched = arg;

	(void) conn;
	if (gamestate_result_game_id(result, &watched->game_id))
		send_move(watched);
	else
		watched->over = true;
}

/* One turn of a connection; begins its game once it is ready. */
static void
turn(int epoll, Watched *watched)
{
	gamestate_new_game game = {.game_type = "example"};
	gamestate_call call;

	if (gamestate_conn_process(watched->conn) != GAMESTATE_OK)
	{
		fprintf(stderr, "%s\n", gamestate_conn_error(watched->conn)->message);
		watched->over = true;
	}
	else if (!watched->created &&
			 gamestate_conn_get_state(watched->conn) == GAMESTATE_CONN_READY)
	{
		watched->created = true;
		gamestate_call_create_game(&call, &game);
		gamestate_conn_send(watched->conn, &call, 10000, game_created, watched);
	}
	watch(epoll, watched);
}

/* How long epoll may wait: until the first of the deadlines. */
static int
wait_time(const Watched *watched)
{
	int first = -1;

	for (int i = 0; i < CONNECTIONS; i++)
	{
		int wait = gamestate_conn_wait_time(watched[i].conn);

		if (wait >= 0 && (first < 0 || wait < first))
			first = wait;
	}
	return first;
}

int
main(void)
{
	Watched watched[CONNECTIONS] = {{0}};
	int epoll = epoll_create1(0);
	int playing = CONNECTIONS;
	int moved = 0;

	for (int i = 0; i < CONNECTIONS; i++)
	{
		watched[i].fd = -1;
		watched[i].conn = gamestate_connect_start("", NULL);
		watch(epoll, &watched[i]);
	}
	while (playing > 0)
	{
		struct epoll_event events[CONNECTIONS];
		int ready = epoll_wait(epoll, events, CONNECTIONS, wait_time(watched));

		for (int i = 0; i < ready; i++)
			turn(epoll, events[i].data.ptr);
		/* those whose timers have run out */
		for (int i = 0; i < CONNECTIONS; i++)
		{
			if (gamestate_conn_wait_time(watched[i].conn) == 0)
				turn(epoll, &watched[i]);
		}
		playing = 0;
		for (int i = 0; i < CONNECTIONS; i++)
			playing += !watched[i].over;
	}
	for (int i = 0; i < CONNECTIONS; i++)
	{
		moved += watched[i].moved;
		gamestate_conn_close(watched[i].conn);
	}
	close(epoll);
	printf("%d moves\n", moved);
	return moved == CONNECTIONS * MOVES ? 0 : 1;
}
