/*-------------------------------------------------------------------------
 *
 * waiting.c
 *	  Calls that must not be sent yet.
 *
 * The model:
 * 1. A pooler that gives a session away after each transaction (PgBouncer's
 *	  transaction mode) looks at the stream of messages to find out when.
 *	  When the next call stands behind the one that is being answered, it may
 *	  send the pieces of one message to two servers
 *	  (github.com/pgbouncer/pgbouncer/issues/759), which lose their sessions over
 *	  that.  So behind a pooler a call is sent when the one before has been
 *	  answered.
 * 2. What has to wait is kept here with copies of its parameters as they go to
 *	  the wire, since its caller's memory is free already.  Nothing of it has
 *	  been sent, so whatever happens to the connection, it has not been executed.
 * 3. Calls leave in the order in which they came; those that have passed their
 *	  deadlines do not leave at all.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

struct Waiting
{
	Waiting *next;
	gamestate_callback callback;
	void *arg;
	int64_t deadline;
	gamestate_call call; /* without its arguments, which are in params */
	Params params;		 /* of this piece of memory, as is call.sql */
};

void
gsl_waiting_init(gamestate_conn *conn)
{
	conn->waiting = NULL;
	conn->waiting_end = &conn->waiting;
	conn->num_waiting = 0;
}

/* -----------------------------------------------------------------------
 * Keeping
 * -----------------------------------------------------------------------
 */

static size_t
value_size(const Params *params, int i)
{
	/* numbers and texts alike go with their lengths */
	return params->values[i] != NULL ? (size_t) params->lengths[i] + 1 : 0;
}

/* The next part of a piece of memory, aligned for anything. */
static void *
take(char **at, size_t size)
{
	void *part = *at;

	*at += (size + 15) & ~(size_t) 15;
	return part;
}

static void
copy_params(Params *copy, const Params *params, char **at)
{
	size_t n = (size_t) params->count;

	memset(copy, 0, sizeof(*copy));
	copy->count = params->count;
	copy->types = take(at, n * sizeof(*copy->types));
	copy->values = take(at, n * sizeof(*copy->values));
	copy->lengths = take(at, n * sizeof(*copy->lengths));
	copy->formats = take(at, n * sizeof(*copy->formats));
	if (n == 0)
		return;
	memcpy(copy->types, params->types, n * sizeof(*copy->types));
	memcpy(copy->lengths, params->lengths, n * sizeof(*copy->lengths));
	memcpy(copy->formats, params->formats, n * sizeof(*copy->formats));
	for (int i = 0; i < params->count; i++)
	{
		size_t size = value_size(params, i);
		char *value;

		copy->values[i] = NULL;
		if (size == 0)
			continue;
		value = take(at, size);
		memcpy(value, params->values[i], size - 1);
		value[size - 1] = '\0';
		copy->values[i] = value;
	}
}

static size_t
size_of(const Params *params, const char *sql)
{
	size_t n = (size_t) params->count;
	/* each part may be rounded up */
	size_t size = sizeof(Waiting) + (6 + n) * 16;

	size += n * (sizeof(*params->types) + sizeof(*params->values) +
				 sizeof(*params->lengths) + sizeof(*params->formats));
	for (int i = 0; i < params->count; i++)
		size += value_size(params, i);
	return size + (sql != NULL ? strlen(sql) + 1 : 0);
}

bool
gsl_waiting_add(gamestate_conn *conn, const gamestate_call *call, int64_t deadline,
				gamestate_callback callback, void *arg)
{
	const char *sql = call->function == FN_SQL ? call->sql : NULL;
	size_t sql_size = sql != NULL ? strlen(sql) + 1 : 0;
	char *at = malloc(size_of(&conn->params, sql));
	Waiting *waiting;

	if (at == NULL)
		return false;
	waiting = take(&at, sizeof(*waiting));
	memset(waiting, 0, sizeof(*waiting));
	waiting->callback = callback;
	waiting->arg = arg;
	waiting->deadline = deadline;
	waiting->call.function = call->function;
	waiting->call.flags = call->flags;
	copy_params(&waiting->params, &conn->params, &at);
	if (sql != NULL)
		waiting->call.sql = memcpy(take(&at, sql_size), sql, sql_size);
	*conn->waiting_end = waiting;
	conn->waiting_end = &waiting->next;
	conn->num_waiting++;
	return true;
}

/* Takes the one at *link out. */
static Waiting *
take_out(gamestate_conn *conn, Waiting **link)
{
	Waiting *waiting = *link;

	*link = waiting->next;
	if (waiting->next == NULL)
		conn->waiting_end = link;
	conn->num_waiting--;
	return waiting;
}

/* -----------------------------------------------------------------------
 * Leaving
 * -----------------------------------------------------------------------
 */

bool
gsl_waiting_send(gamestate_conn *conn)
{
	Params own = conn->params;
	Waiting *waiting;
	bool sent;

	if (conn->waiting == NULL || conn->first != conn->end || conn->doomed ||
		conn->closing)
		return true;
	waiting = take_out(conn, &conn->waiting);
	conn->params = waiting->params;
	sent = gsl_line_append(conn, &waiting->call, waiting->deadline, waiting->callback,
						   waiting->arg);
	conn->params = own;
	if (sent)
	{
		free(waiting);
		return true;
	}
	/* it is answered with the others, when the connection breaks */
	waiting->next = conn->waiting;
	if (conn->waiting == NULL)
		conn->waiting_end = &waiting->next;
	conn->waiting = waiting;
	conn->num_waiting++;
	return false;
}

/* Answers one that has been taken out, and frees it; true: close the connection. */
static bool
answer(gamestate_conn *conn, Waiting *waiting, const gamestate_error *error)
{
	Slot slot = {.callback = waiting->callback, .arg = waiting->arg};
	gamestate_error not_executed = *error;

	free(waiting);
	not_executed.maybe_executed = false;
	gsl_result_fail(&conn->result, &not_executed);
	return gsl_conn_run(conn, &slot);
}

/* The first that is due, or NULL; *next is set when there is none. */
static Waiting **
first_due(gamestate_conn *conn, int64_t now, int64_t *next)
{
	int64_t earliest = *next;

	for (Waiting **link = &conn->waiting; *link != NULL; link = &(*link)->next)
	{
		if ((*link)->deadline <= now)
			return link;
		if ((*link)->deadline < earliest)
			earliest = (*link)->deadline;
	}
	*next = earliest;
	return NULL;
}

gamestate_status
gsl_waiting_expire(gamestate_conn *conn, int64_t now, int64_t *next)
{
	gamestate_error error = gsl_error(GAMESTATE_TIMEOUT, NULL);
	Waiting **link;

	/* from the beginning after each: its callback may have sent others */
	while ((link = first_due(conn, now, next)) != NULL)
	{
		if (answer(conn, take_out(conn, link), &error))
		{
			gamestate_conn_close(conn);
			return GAMESTATE_CLOSED;
		}
	}
	return GAMESTATE_OK;
}

void
gsl_waiting_answer_all(gamestate_conn *conn, const gamestate_error *error)
{
	while (conn->waiting != NULL)
		answer(conn, take_out(conn, &conn->waiting), error);
}
