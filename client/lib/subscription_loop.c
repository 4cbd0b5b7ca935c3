/*-------------------------------------------------------------------------
 *
 * subscription_loop.c
 *	  One turn of a subscriber, and the loops that wait.
 *
 * The model: a turn connects if it is time to, lets the connection do what there
 * is to do (answers become updates in there), looks what has become of it, and asks
 * what is to be asked next.  In the end what was ended meanwhile is freed.
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <limits.h>
#include <poll.h>

int
gamestate_subscriber_socket(const gamestate_subscriber *s)
{
	return s != NULL ? gamestate_conn_socket(s->conn) : -1;
}

int
gamestate_subscriber_wants(const gamestate_subscriber *s)
{
	return s != NULL ? gamestate_conn_wants(s->conn) : 0;
}

int64_t
gamestate_subscriber_deadline(const gamestate_subscriber *s)
{
	int64_t deadline;
	int64_t calls;
	int64_t connect;

	if (s == NULL)
		return GSU_NEVER;
	if (s->give_up || s->reap)
		return gamestate_now();
	deadline = gamestate_conn_deadline(s->conn);
	calls = gsu_calls_deadline(s);
	connect = gsu_connect_deadline(s);
	if (calls < deadline)
		deadline = calls;
	return connect < deadline ? connect : deadline;
}

int
gamestate_subscriber_wait_time(const gamestate_subscriber *s)
{
	int64_t deadline = gamestate_subscriber_deadline(s);
	int64_t wait;

	if (deadline == GSU_NEVER)
		return -1;
	wait = deadline - gamestate_now();
	if (wait < 0)
		wait = 0;
	return wait < INT_MAX ? (int) wait : INT_MAX;
}

gamestate_status
gamestate_subscriber_process(gamestate_subscriber *s)
{
	if (s == NULL)
		return GAMESTATE_NO_MEMORY;
	if (s->depth > 0 || s->processing)
		return gsu_fail(s, GAMESTATE_BAD_CALL,
						"a callback may not process its own subscriber");
	s->processing = true;
	gsu_connect(s);
	if (s->conn != NULL)
		gamestate_conn_process(s->conn);
	gsu_check_connection(s);
	gsu_advance(s);
	if (s->give_up)
		gsu_check_connection(s);
	/* Saves a turn; a failure shows in the next. */
	if (s->conn != NULL && gamestate_conn_get_state(s->conn) == GAMESTATE_CONN_READY)
		gamestate_conn_flush(s->conn);
	s->processing = false;
	if (s->closing)
	{
		gsu_free(s);
		return GAMESTATE_CLOSED;
	}
	gsu_reap(s);
	return GAMESTATE_OK;
}

/* One turn, after having waited for it until `until` at the latest. */
static gamestate_status
turn(gamestate_subscriber *s, int64_t until)
{
	int wants = gamestate_subscriber_wants(s);
	int timeout = gamestate_subscriber_wait_time(s);
	struct pollfd poll_fd = {.fd = gamestate_subscriber_socket(s)};

	if ((wants & GAMESTATE_WANTS_READ) != 0)
		poll_fd.events |= POLLIN;
	if ((wants & GAMESTATE_WANTS_WRITE) != 0)
		poll_fd.events |= POLLOUT;
	if (until != GSU_NEVER)
	{
		int64_t left = until - gamestate_now();

		if (left < 0)
			left = 0;
		if (timeout < 0 || left < timeout)
			timeout = left < INT_MAX ? (int) left : INT_MAX;
	}
	/* An error, or a signal, is a turn too many at worst. */
	(void) poll(&poll_fd, 1, timeout);
	return gamestate_subscriber_process(s);
}

static int64_t
until(int timeout)
{
	return timeout > 0 ? gamestate_now() + timeout : GSU_NEVER;
}

gamestate_status
gamestate_subscriber_wait(gamestate_subscriber *s, int timeout)
{
	int64_t end = until(timeout);
	gamestate_status status = GAMESTATE_OK;

	if (s == NULL)
		return GAMESTATE_NO_MEMORY;
	s->something = false;
	while (status == GAMESTATE_OK && !s->something)
	{
		if (end != GSU_NEVER && gamestate_now() >= end)
			return GAMESTATE_TIMEOUT;
		status = turn(s, end);
		if (status != GAMESTATE_OK)
			return status;
	}
	return status;
}

gamestate_status
gamestate_subscription_wait(gamestate_subscription *sub, int timeout,
							const gamestate_update **update)
{
	int64_t end = until(timeout);
	gamestate_subscriber *s;

	*update = NULL;
	if (sub == NULL)
		return GAMESTATE_NO_MEMORY;
	s = sub->subscriber;
	if (sub->options.callback != NULL)
		return gsu_fail(s, GAMESTATE_BAD_CALL, "the subscription has a callback");
	if (s->depth > 0 || s->processing)
		return gsu_fail(s, GAMESTATE_BAD_CALL, "a callback may not wait");
	s->waited_for = sub;
	while ((*update = gamestate_subscription_next(sub)) == NULL)
	{
		gamestate_status status;

		if (end != GSU_NEVER && gamestate_now() >= end)
			return GAMESTATE_TIMEOUT;
		status = turn(s, end);
		if (status != GAMESTATE_OK)
			return status;
		/* A callback of another one has ended it. */
		if (s->waited_for == NULL)
			return GAMESTATE_CLOSED;
	}
	return GAMESTATE_OK;
}
