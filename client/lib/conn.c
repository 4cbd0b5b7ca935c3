/*-------------------------------------------------------------------------
 *
 * conn.c
 *	  A connection's life: made, asked, processed, broken, closed.
 *
 * The model:
 * 1. gamestate_conn_process() is one turn: connect, or send, receive, look at
 *	  deadlines, and send what callbacks have asked for.
 * 2. A connection breaks once.  libpq's part is thrown away at once, and every
 *	  call in the line is answered with what is known of it.  What remains can be
 *	  asked for its error, and closed.
 * 3. Callbacks run in one place, gsl_conn_run().  Closing within one is put off
 *	  until the outermost has returned; then nobody below uses the connection.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t
gamestate_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *
gamestate_version(void)
{
	return GAMESTATE_VERSION;
}

/* -----------------------------------------------------------------------
 * Errors
 * -----------------------------------------------------------------------
 */

/* libpq's messages end with a newline, ours do not. */
static size_t
trimmed(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	return len;
}

static const char *
copy_text(char **at, const char *text)
{
	size_t len = trimmed(text);
	char *copy = *at;

	memcpy(copy, text, len);
	copy[len] = '\0';
	*at += len + 1;
	return copy;
}

gamestate_status
gsl_conn_fail(gamestate_conn *conn, const gamestate_error *error)
{
	size_t size =
		strlen(error->message) + strlen(error->detail) + strlen(error->hint) + 3;
	gamestate_error copy = *error;
	char *at = malloc(size);
	char *texts;

	if (at == NULL)
	{
		/* The status is worth more than its words. */
		copy.message = gamestate_status_text(error->status);
		copy.detail = copy.hint = "";
		conn->error = copy;
		return copy.status;
	}
	texts = at;
	copy.message = copy_text(&at, error->message);
	copy.detail = copy_text(&at, error->detail);
	copy.hint = copy_text(&at, error->hint);
	/* The old texts may have been the ones that were copied. */
	free(conn->error_text);
	conn->error_text = texts;
	conn->error = copy;
	return copy.status;
}

gamestate_status
gsl_conn_fail_text(gamestate_conn *conn, gamestate_status status, const char *message)
{
	gamestate_error error = gsl_error(status, message);

	return gsl_conn_fail(conn, &error);
}

gamestate_status
gsl_conn_fail_libpq(gamestate_conn *conn, gamestate_status status)
{
	const char *message = PQerrorMessage(conn->pg);

	return gsl_conn_fail_text(conn, status, *message != '\0' ? message : NULL);
}

const gamestate_error *
gamestate_conn_error(const gamestate_conn *conn)
{
	return conn != NULL ? &conn->error : &gsl_out_of_memory;
}

/* -----------------------------------------------------------------------
 * Callbacks, breaking, closing
 * -----------------------------------------------------------------------
 */

bool
gsl_conn_run(gamestate_conn *conn, const Slot *slot)
{
	conn->pending--;
	if (slot->callback != NULL)
	{
		conn->depth++;
		slot->callback(conn, &conn->result, slot->arg);
		conn->depth--;
	}
	if (!conn->result.kept)
		gsl_result_clear(&conn->result);
	memset(&conn->result, 0, sizeof(conn->result));
	return conn->closing && conn->depth == 0;
}

/*
 * The answer to a call whose connection is gone: what the server had said to
 * it, if that was final, else `error`.
 */
static void
set_last_answer(gamestate_conn *conn, uint64_t number, Slot *slot,
				const gamestate_error *error)
{
	gamestate_error lost = *error;

	if (slot->result != NULL)
	{
		gsl_result_set(&conn->result, slot->result, slot->function);
		slot->result = NULL;
		/* An error is final, and the answer to a read needs no commit. */
		if (conn->result.error.status == GAMESTATE_SERVER_ERROR ||
			(conn->result.error.status == GAMESTATE_OK && (slot->flags & SLOT_READ) != 0))
			return;
		gsl_result_clear(&conn->result);
	}
	lost.maybe_executed = (slot->flags & SLOT_READ) == 0 && number < conn->not_executed;
	gsl_result_fail(&conn->result, &lost);
}

/* Answers everything in the line.  Callbacks can send nothing any more. */
static void
answer_all(gamestate_conn *conn, const gamestate_error *error)
{
	while (conn->first < conn->end)
	{
		uint64_t number = conn->first++;
		Slot slot = *slot_at(conn, number);

		if ((slot.flags & SLOT_ANSWERED) != 0)
		{
			PQclear(slot.result);
			continue;
		}
		set_last_answer(conn, number, &slot, error);
		gsl_conn_run(conn, &slot);
	}
	conn->reading = conn->end;
	conn->next_deadline = NEVER;
}

/* Gives libpq's part up, which sends nothing more. */
static void
drop(gamestate_conn *conn)
{
	PQfinish(conn->pg);
	conn->pg = NULL;
	conn->state = GAMESTATE_CONN_BROKEN;
	gsl_cancel_release(conn->cancel);
	conn->cancel = NULL;
}

gamestate_status
gsl_conn_break(gamestate_conn *conn)
{
	/* Kept apart from errors that callbacks may cause meanwhile. */
	gamestate_error error = conn->error;
	char *texts = conn->error_text;

	conn->error_text = NULL;
	drop(conn);
	answer_all(conn, &error);
	if (conn->closing)
	{
		gamestate_conn_close(conn);
		free(texts);
		return GAMESTATE_CLOSED;
	}
	free(conn->error_text);
	conn->error_text = texts;
	conn->error = error;
	return error.status;
}

void
gamestate_conn_close(gamestate_conn *conn)
{
	gamestate_error error = gsl_error(GAMESTATE_CLOSED, NULL);

	if (conn == NULL)
		return;
	conn->closing = true;
	if (conn->depth > 0)
		return; /* who runs the callback closes it */
	/* A callback that closes it again changes nothing. */
	conn->depth++;
	drop(conn);
	answer_all(conn, &error);
	gsl_params_free(&conn->params);
	gsl_statements_free(&conn->statements);
	free(conn->ring);
	free(conn->error_text);
	free(conn);
}

/* -----------------------------------------------------------------------
 * Making one
 * -----------------------------------------------------------------------
 */

gamestate_conn *
gamestate_connect_start(const char *conninfo, const gamestate_options *options)
{
	gamestate_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	/* A program that was compiled with an older header knows fewer options. */
	if (options != NULL)
		memcpy(&conn->options, options,
			   options->size < sizeof(*options) ? options->size : sizeof(*options));
	conn->error = gsl_error(GAMESTATE_OK, "");
	conn->next_deadline = NEVER;
	conn->not_executed = UINT64_MAX;
	gsl_connect_begin(conn, conninfo);
	return conn;
}

/* -----------------------------------------------------------------------
 * Asking it
 * -----------------------------------------------------------------------
 */

gamestate_conn_state
gamestate_conn_get_state(const gamestate_conn *conn)
{
	return conn != NULL ? conn->state : GAMESTATE_CONN_BROKEN;
}

const char *
gamestate_conn_parameter(const gamestate_conn *conn, const char *name)
{
	if (conn == NULL || conn->pg == NULL)
		return NULL;
	if (strcmp(name, "host") == 0)
		return PQhost(conn->pg);
	if (strcmp(name, "port") == 0)
		return PQport(conn->pg);
	if (strcmp(name, "dbname") == 0)
		return PQdb(conn->pg);
	if (strcmp(name, "user") == 0)
		return PQuser(conn->pg);
	return PQparameterStatus(conn->pg, name);
}

bool
gamestate_conn_prepares(const gamestate_conn *conn)
{
	return conn != NULL && conn->prepares;
}

bool
gamestate_conn_in_transaction(const gamestate_conn *conn)
{
	return conn != NULL && conn->in_transaction;
}

int
gamestate_conn_socket(const gamestate_conn *conn)
{
	return conn != NULL && conn->pg != NULL ? PQsocket(conn->pg) : -1;
}

int
gamestate_conn_wants(const gamestate_conn *conn)
{
	if (conn == NULL || conn->pg == NULL)
		return 0;
	if (conn->state == GAMESTATE_CONN_CONNECTING)
		return conn->wants;
	return GAMESTATE_WANTS_READ |
		   (conn->unsent || conn->grouped > 0 ? GAMESTATE_WANTS_WRITE : 0);
}

int64_t
gamestate_conn_deadline(const gamestate_conn *conn)
{
	if (conn == NULL || conn->pg == NULL)
		return NEVER;
	if (conn->doomed)
		return gamestate_now();
	if (conn->state == GAMESTATE_CONN_CONNECTING)
		return conn->connect_deadline;
	return gsl_answers_deadline(conn);
}

int
gamestate_conn_wait_time(const gamestate_conn *conn)
{
	int64_t deadline = gamestate_conn_deadline(conn);
	int64_t wait;

	if (deadline == NEVER)
		return -1;
	wait = deadline - gamestate_now();
	if (wait < 0)
		wait = 0;
	return wait < INT_MAX ? (int) wait : INT_MAX;
}

int
gamestate_conn_in_flight(const gamestate_conn *conn)
{
	return conn != NULL ? conn->pending : 0;
}

int
gamestate_conn_unanswered(const gamestate_conn *conn)
{
	return conn != NULL ? (int) (conn->end - conn->first) : 0;
}

int64_t
gamestate_conn_silence(const gamestate_conn *conn)
{
	if (conn == NULL || conn->first == conn->end)
		return 0;
	return gamestate_now() - conn->heard;
}

bool
gamestate_conn_cancelling(const gamestate_conn *conn)
{
	return conn != NULL && conn->cancel != NULL && !gsl_cancel_done(conn->cancel);
}

/* -----------------------------------------------------------------------
 * One turn
 * -----------------------------------------------------------------------
 */

/* Sends; a failure is found out about by reading, which may bring a reason. */
static bool
send_all(gamestate_conn *conn)
{
	return !conn->doomed && gsl_line_flush(conn);
}

gamestate_status
gamestate_conn_process(gamestate_conn *conn)
{
	int64_t now;
	gamestate_status status;

	if (conn == NULL)
		return GAMESTATE_NO_MEMORY;
	if (conn->depth > 0)
		return gsl_conn_fail_text(conn, GAMESTATE_BAD_CALL,
								  "a callback may not process its own connection");
	if (conn->state == GAMESTATE_CONN_BROKEN)
		return conn->error.status;
	if (conn->state == GAMESTATE_CONN_CONNECTING)
		return gsl_connect_process(conn);

	now = gamestate_now();
	if (!send_all(conn))
		conn->doomed = true;
	status = gsl_answers_receive(conn, now);
	if (status != GAMESTATE_OK)
		return status;
	if (conn->doomed)
	{
		gsl_conn_fail_libpq(conn, GAMESTATE_CONNECTION_LOST);
		return gsl_conn_break(conn);
	}
	status = gsl_answers_expire(conn, now);
	if (status != GAMESTATE_OK)
		return status;
	/* What callbacks have sent; a failure shows in the next turn. */
	if (!send_all(conn))
		conn->doomed = true;
	return GAMESTATE_OK;
}
