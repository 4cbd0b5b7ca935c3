/*-------------------------------------------------------------------------
 *
 * run.c
 *	  Calls that wait for their answers: the loop over one connection.
 *
 * The model: the call is sent like any other, with a callback that takes the
 * answer to a Waiter on our stack; then the connection is processed until the
 * callback has run, which it does by the call's deadline at the latest, or when
 * the connection breaks or is closed by another callback.
 *
 *-------------------------------------------------------------------------
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Waits until there is something to process, at most until `deadline`. */
static void
wait_ready(gamestate_conn *conn, int64_t deadline)
{
	int wants = gamestate_conn_wants(conn);
	int timeout = gamestate_conn_wait_time(conn);
	struct pollfd poll_fd = {.fd = gamestate_conn_socket(conn)};

	if ((wants & GAMESTATE_WANTS_READ) != 0)
		poll_fd.events |= POLLIN;
	if ((wants & GAMESTATE_WANTS_WRITE) != 0)
		poll_fd.events |= POLLOUT;
	if (deadline != NEVER)
	{
		int64_t left = deadline - gamestate_now();

		if (left < 0)
			left = 0;
		if (timeout < 0 || left < timeout)
			timeout = (int) left;
	}
	/* An error, or a signal, is a turn too many at worst. */
	(void) poll(&poll_fd, 1, timeout);
}

gamestate_conn *
gamestate_connect(const char *conninfo, const gamestate_options *options)
{
	gamestate_conn *conn = gamestate_connect_start(conninfo, options);

	while (gamestate_conn_get_state(conn) == GAMESTATE_CONN_CONNECTING)
	{
		wait_ready(conn, NEVER);
		gamestate_conn_process(conn);
	}
	return conn;
}

typedef struct Waiter
{
	bool done;
	gamestate_status status;
	gamestate_callback take;
	void *arg;
} Waiter;

static void
answered(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Waiter *waiter = arg;

	waiter->done = true;
	waiter->status = gamestate_result_status(result);
	if (waiter->take != NULL)
		waiter->take(conn, result, waiter->arg);
	if (waiter->status != GAMESTATE_OK)
		gsl_conn_fail(conn, gamestate_result_error(result));
}

/* Nothing may run within a callback, which is in the middle of a turn. */
static bool
may_wait(gamestate_conn *conn)
{
	if (conn->depth == 0)
		return true;
	gsl_conn_fail_text(conn, GAMESTATE_BAD_CALL,
					   "a callback may not wait on its own connection");
	return false;
}

/* Sends it and waits, once. */
static gamestate_status
run_once(gamestate_conn *conn, const gamestate_call *call, int timeout, Waiter *waiter)
{
	gamestate_status status = gamestate_conn_send(conn, call, timeout, answered, waiter);

	if (status != GAMESTATE_OK)
		return status;
	/* Saves a turn; if it fails, the loop says so. */
	gamestate_conn_flush(conn);
	while (!waiter->done)
	{
		wait_ready(conn, NEVER);
		if (gamestate_conn_process(conn) != GAMESTATE_OK)
			break;
	}
	return waiter->status;
}

gamestate_status
gsl_run(gamestate_conn *conn, const gamestate_call *call, int timeout,
		gamestate_callback take, void *arg)
{
	int64_t start;
	gamestate_status status;

	if (conn == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!may_wait(conn))
		return GAMESTATE_BAD_CALL;
	if (timeout <= 0)
		timeout = conn->options.call_timeout;
	start = gamestate_now();
	for (;;)
	{
		Waiter waiter = {false, GAMESTATE_CLOSED, take, arg};
		int64_t left = timeout > 0 ? start + timeout - gamestate_now() : 0;
		bool again;

		if (timeout > 0 && left <= 0)
			return GAMESTATE_DISTURBED;
		/* If the connection is closed in there, it is gone when this returns. */
		status = run_once(conn, call, (int) left, &waiter);
		if (status != GAMESTATE_DISTURBED)
			return status;
		/* Hit by the cancel of an earlier call, and not executed. */
		again = conn->state == GAMESTATE_CONN_READY && !conn->in_transaction;
		if (!again)
			return status;
	}
}

static void
keep_result(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	gamestate_result_free(*(gamestate_result **) arg);
	*(gamestate_result **) arg = gamestate_result_keep(result);
}

gamestate_status
gamestate_run(gamestate_conn *conn, const gamestate_call *call, int timeout,
			  gamestate_result **result)
{
	gamestate_status status;

	if (result == NULL)
		return gsl_run(conn, call, timeout, NULL, NULL);
	*result = NULL;
	status = gsl_run(conn, call, timeout, keep_result, result);
	if (*result == NULL && status == GAMESTATE_OK)
		return GAMESTATE_NO_MEMORY; /* executed; the answer could not be kept */
	if (*result == NULL && status != GAMESTATE_CLOSED && conn != NULL)
	{
		/* It was not even sent. */
		gamestate_result failed;

		gsl_result_fail(&failed, gamestate_conn_error(conn));
		*result = gamestate_result_keep(&failed);
	}
	return status;
}

gamestate_status
gamestate_conn_drain(gamestate_conn *conn, int timeout)
{
	int64_t deadline = timeout > 0 ? gamestate_now() + timeout : NEVER;

	if (conn == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!may_wait(conn))
		return GAMESTATE_BAD_CALL;
	while (conn->pending > 0)
	{
		gamestate_status status;

		if (deadline != NEVER && gamestate_now() >= deadline)
			return gsl_conn_fail_text(conn, GAMESTATE_TIMEOUT, NULL);
		gamestate_conn_flush(conn);
		wait_ready(conn, deadline);
		status = gamestate_conn_process(conn);
		if (status != GAMESTATE_OK)
			return status;
	}
	return GAMESTATE_OK;
}
