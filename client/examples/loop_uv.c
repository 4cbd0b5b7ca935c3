/*
 * loop_uv.c: libgamestate in libuv's loop.
 *
 * Plays a game of 1,000 moves, one after another.  The adapter is UvConn: a
 * uv_poll_t for the socket and a uv_timer_t for the deadline, both set again after
 * each turn and after sending (uv_conn_update).  libuv does not allow a descriptor
 * to be closed while it is polled, and libpq closes its sockets when it likes; so
 * a duplicate of the descriptor is polled, which is ours to close.
 *
 * cc loop_uv.c $(pkg-config --cflags --libs gamestate libuv)
 */
#include <gamestate.h>
#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOVES 1000

typedef struct UvPoll
{
	uv_poll_t handle;
	int fd; /* the duplicate */
} UvPoll;

typedef struct UvConn
{
	gamestate_conn *conn;
	uv_loop_t *loop;
	UvPoll *poll; /* NULL: no socket */
	int polled;	  /* the socket that it is a duplicate of */
	uv_timer_t timer;
	void (*ready)(struct UvConn *uv, gamestate_status status);
	bool is_ready;
} UvConn;

static void
poll_closed(uv_handle_t *handle)
{
	UvPoll *poll = handle->data;

	close(poll->fd);
	free(poll);
}

static void
stop_polling(UvConn *uv)
{
	if (uv->poll == NULL)
		return;
	uv_poll_stop(&uv->poll->handle);
	uv->poll->handle.data = uv->poll;
	uv_close((uv_handle_t *) &uv->poll->handle, poll_closed);
	uv->poll = NULL;
}

static void uv_conn_turn(UvConn *uv);

static void
on_socket(uv_poll_t *handle, int status, int events)
{
	(void) status;
	(void) events;
	uv_conn_turn(handle->data);
}

static void
on_timer(uv_timer_t *timer)
{
	uv_conn_turn(timer->data);
}

/* Has libuv wait for what the connection waits for. */
static void
uv_conn_update(UvConn *uv)
{
	int wants = gamestate_conn_wants(uv->conn);
	int wait = gamestate_conn_wait_time(uv->conn);
	int fd = gamestate_conn_socket(uv->conn);

	/* An attempt that failed at once has no socket, and is yet to be told. */
	if (!uv->is_ready && gamestate_conn_get_state(uv->conn) == GAMESTATE_CONN_BROKEN)
		wait = 0;
	if (uv->poll != NULL && (fd != uv->polled || !uv->is_ready))
		stop_polling(uv);
	if (uv->poll == NULL && fd >= 0)
	{
		uv->poll = calloc(1, sizeof(*uv->poll));
		if (uv->poll == NULL)
			abort();
		uv->poll->fd = dup(fd);
		uv_poll_init(uv->loop, &uv->poll->handle, uv->poll->fd);
		uv->poll->handle.data = uv;
		uv->polled = fd;
	}
	if (uv->poll != NULL)
		uv_poll_start(&uv->poll->handle,
					  ((wants & GAMESTATE_WANTS_READ) != 0 ? UV_READABLE : 0) |
						  ((wants & GAMESTATE_WANTS_WRITE) != 0 ? UV_WRITABLE : 0),
					  on_socket);
	if (wait >= 0)
		uv_timer_start(&uv->timer, on_timer, (uint64_t) wait, 0);
	else
		uv_timer_stop(&uv->timer);
}

static void
uv_conn_turn(UvConn *uv)
{
	gamestate_status status = gamestate_conn_process(uv->conn);

	if (status == GAMESTATE_CLOSED)
		return;
	if (!uv->is_ready && gamestate_conn_get_state(uv->conn) != GAMESTATE_CONN_CONNECTING)
	{
		uv->is_ready = true;
		uv->ready(uv, status);
	}
	if (uv->conn != NULL)
		uv_conn_update(uv);
}

static void
uv_conn_open(UvConn *uv, uv_loop_t *loop, const char *conninfo,
			 void (*ready)(UvConn *uv, gamestate_status status))
{
	uv->loop = loop;
	uv->ready = ready;
	uv_timer_init(loop, &uv->timer);
	uv->timer.data = uv;
	uv->conn = gamestate_connect_start(conninfo, NULL);
	uv_conn_update(uv);
}

static void
uv_conn_close(UvConn *uv)
{
	stop_polling(uv);
	uv_close((uv_handle_t *) &uv->timer, NULL);
	gamestate_conn_close(uv->conn);
	uv->conn = NULL;
}

/* ---- the game ---- */

static gamestate_uuid game_id;
static int moved;

static void move_done(gamestate_conn *conn, gamestate_result *result, void *arg);

static void
give_up(UvConn *uv, const gamestate_error *error)
{
	fprintf(stderr, "%s\n", error->message);
	uv_conn_close(uv);
}

static void
send_move(UvConn *uv)
{
	gamestate_move move = {.game_id = &game_id,
						   .expected_version = moved + 1,
						   .event = gamestate_text("{\"n\":1}")};
	gamestate_call call;

	gamestate_call_apply_move(&call, &move);
	if (gamestate_conn_send(uv->conn, &call, 10000, move_done, uv) != GAMESTATE_OK)
		give_up(uv, gamestate_conn_error(uv->conn));
}

static void
move_done(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (gamestate_result_status(result) != GAMESTATE_OK)
		give_up(arg, gamestate_result_error(result));
	else if (++moved < MOVES)
		send_move(arg);
	else
		uv_conn_close(arg);
}

static void
game_created(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (gamestate_result_game_id(result, &game_id))
		send_move(arg);
	else
		give_up(arg, gamestate_result_error(result));
}

static void
connected(UvConn *uv, gamestate_status status)
{
	gamestate_new_game game = {.game_type = "example"};
	gamestate_call call;

	gamestate_call_create_game(&call, &game);
	if (status != GAMESTATE_OK ||
		gamestate_conn_send(uv->conn, &call, 10000, game_created, uv) != GAMESTATE_OK)
		give_up(uv, gamestate_conn_error(uv->conn));
}

int
main(void)
{
	UvConn uv = {0};

	uv_conn_open(&uv, uv_default_loop(), "", connected);
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	uv_loop_close(uv_default_loop());
	printf("%d moves\n", moved);
	return moved == MOVES ? 0 : 1;
}
