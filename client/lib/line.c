/*-------------------------------------------------------------------------
 *
 * line.c
 *	  Sending calls: the line of those that the server has yet to answer.
 *
 * The model:
 * 1. A call becomes a message Bind/Execute, of a prepared statement or with its
 *	  SQL before it, in libpq's buffer, and a slot at the end of the line.
 *	  libpq copies the arguments, so the caller's memory is free again.
 * 2. A Sync ends a *group*, which the server executes as one transaction.  A
 *	  write is a group by itself.  Reads of one game join the group at the end of
 *	  the line, which ends with the next other call, with GROUP_MAX of them, or
 *	  when the line is flushed: the server sends its answers once for a group.
 * 3. A read that fails makes the server skip the rest of its group.  What was
 *	  skipped was not executed; its slot has its arguments, and it is sent again,
 *	  unless a transaction of the caller's has begun since.
 * 4. Within a transaction of the caller's there are no groups: there a failed
 *	  read must be followed by what the caller sent after it, failing as well.
 * 5. Slots are used again and again; the ring grows to the number of calls that
 *	  have once been in flight together.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_MAX	  32
#define RING_START	  64
#define MAX_IN_FLIGHT 1024 /* default */

/* libpq 17 can queue a Sync without sending it at once. */
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
#define queue_sync(pg) PQsendPipelineSync(pg)
#else
#define queue_sync(pg) PQpipelineSync(pg)
#endif

static bool
end_group(gamestate_conn *conn)
{
	if (conn->grouped == 0)
		return true;
	conn->grouped = 0;
	slot_at(conn, conn->end - 1)->flags |= SLOT_SYNC;
	return queue_sync(conn->pg) == 1;
}

bool
gsl_line_flush(gamestate_conn *conn)
{
	int left;

	if (!end_group(conn))
		return false;
	if (!conn->unsent)
		return true;
	left = PQflush(conn->pg);
	if (left < 0)
		return false;
	conn->blocked = left > 0;
	conn->unsent = left > 0;
	return true;
}

/* Room for one more slot. */
static bool
make_room(gamestate_conn *conn)
{
	uint64_t size = conn->ring == NULL ? 0 : conn->mask + 1;
	uint64_t larger = size == 0 ? RING_START : size * 2;
	Slot *ring;

	if (conn->end - conn->first < size)
		return true;
	ring = calloc(larger, sizeof(*ring));
	if (ring == NULL)
		return false;
	for (uint64_t i = conn->first; conn->ring != NULL && i < conn->end; i++)
		ring[i & (larger - 1)] = conn->ring[i & conn->mask];
	free(conn->ring);
	conn->ring = ring;
	conn->mask = larger - 1;
	return true;
}

/*
 * Queues the messages of a call, whose parameters are in conn->params.
 * *statement is the one that is prepared with it, or -1.
 */
static bool
queue_messages(gamestate_conn *conn, const gamestate_call *call, const char *sql,
			   int *statement)
{
	Params *params = &conn->params;
	int format = (call->flags & GAMESTATE_SQL_TEXT) != 0 ? 0 : 1;
	const char *name;
	Statement *prepared;
	int number = -1;

	*statement = -1;
	if (conn->prepares)
		number = gsl_statement_find(&conn->statements, call, params);
	if (number < 0 ||
		gsl_statement(&conn->statements, number)->state == STATEMENT_PREPARING)
		return PQsendQueryParams(conn->pg, sql, params->count, params->types,
								 params->values, params->lengths, params->formats,
								 format) == 1;

	prepared = gsl_statement(&conn->statements, number);
	name = gsl_statement_name(&conn->statements, number);
	if (prepared->state == STATEMENT_NONE)
	{
		/* Its failure must not take others along. */
		if (!end_group(conn) ||
			PQsendPrepare(conn->pg, name, sql, params->count, params->types) != 1)
			return false;
		prepared->state = STATEMENT_PREPARING;
		*statement = number;
	}
	return PQsendQueryPrepared(conn->pg, name, params->count, params->values,
							   params->lengths, params->formats, format) == 1;
}

bool
gsl_line_maybe_transaction(gamestate_conn *conn)
{
	if (conn->maybe_transaction && conn->first == conn->end)
		conn->maybe_transaction = PQtransactionStatus(conn->pg) != PQTRANS_IDLE;
	return conn->maybe_transaction;
}

/* May this call share a Sync with others? */
static bool
can_group(gamestate_conn *conn, const Function *function)
{
	return !gsl_line_maybe_transaction(conn) && (function->flags & FN_GROUP) != 0 &&
		   !conn->options.no_groups && !conn->one_at_a_time;
}

/*
 * libpq could not queue or send something.  What stands in its buffer can be
 * neither taken back nor completed, so the next gamestate_conn_process() breaks
 * the connection; not we, since that runs callbacks.
 */
static void
doom(gamestate_conn *conn)
{
	gsl_conn_fail_libpq(conn, GAMESTATE_CONNECTION_LOST);
	conn->doomed = true;
}

bool
gsl_line_append(gamestate_conn *conn, const gamestate_call *call, int64_t deadline,
				gamestate_callback callback, void *arg)
{
	const Function *function = &gsl_functions[call->function];
	const char *sql = function->sql != NULL ? function->sql : call->sql;
	bool group = can_group(conn, function);
	int statement;
	Slot *slot;

	if (!make_room(conn))
	{
		gsl_conn_fail(conn, &gsl_out_of_memory);
		conn->doomed = true;
		return false;
	}
	if ((!group && !end_group(conn)) || !queue_messages(conn, call, sql, &statement))
	{
		doom(conn);
		return false;
	}
	if (conn->first == conn->end)
	{
		conn->reading_since = gamestate_now();
		conn->heard = conn->reading_since;
	}
	slot = slot_at(conn, conn->end++);
	slot->callback = callback;
	slot->arg = arg;
	slot->deadline = deadline;
	slot->function = function;
	slot->result = NULL;
	slot->statement = statement;
	slot->flags = statement >= 0 ? SLOT_PREPARES : 0;
	if (gamestate_call_is_read(call))
		slot->flags |= SLOT_READ;
	conn->grouped++;
	conn->unsent = true;
	if ((function->flags & FN_TRANSACTION) != 0)
		conn->maybe_transaction = true;
	if (group && statement < 0)
	{
		slot->flags |= SLOT_GROUPED;
		slot->num_args = (int) call->num_params;
		memcpy(slot->args, call->args, call->num_params * sizeof(call->args[0]));
		if (conn->grouped < GROUP_MAX)
			return true;
	}
	/* From here on it may have been sent: its answer is that of a lost connection. */
	if (!end_group(conn))
		doom(conn);
	return true;
}

/* Can calls be sent?  If not, the connection's error says why. */
static bool
is_usable(gamestate_conn *conn)
{
	if (conn->state == GAMESTATE_CONN_READY && !conn->closing && !conn->doomed)
		return true;
	if (conn->state == GAMESTATE_CONN_CONNECTING)
		gsl_conn_fail_text(conn, GAMESTATE_NOT_CONNECTED,
						   "the connection is not yet ready");
	return false;
}

/* What is wrong with a call, or NULL. */
static const char *
check_call(const gamestate_call *call)
{
	const Function *function = gsl_function_of(call);

	if (function == NULL)
		return "this is not a call";
	if (call->function == FN_SQL)
		return call->sql == NULL ? "the call has no SQL" : NULL;
	if (call->num_params > GAMESTATE_MAX_ARGS)
		return "this is not a call";
	return NULL;
}

static gamestate_status
encode(gamestate_conn *conn, const gamestate_call *call)
{
	const gamestate_param *params = call->function == FN_SQL ? call->params : call->args;
	gamestate_status status = gsl_params_encode(&conn->params, params, call->num_params);

	if (status == GAMESTATE_NO_MEMORY)
		return gsl_conn_fail(conn, &gsl_out_of_memory);
	if (status != GAMESTATE_OK)
		return gsl_conn_fail_text(conn, status,
								  "an argument has no type, or the arguments are "
								  "larger than 1 GB");
	return GAMESTATE_OK;
}

gamestate_status
gamestate_conn_send(gamestate_conn *conn, const gamestate_call *call, int timeout,
					gamestate_callback callback, void *arg)
{
	const char *problem = check_call(call);
	int64_t deadline = NEVER;
	int max;

	if (conn == NULL)
		return GAMESTATE_NO_MEMORY;
	if (problem != NULL)
		return gsl_conn_fail_text(conn, GAMESTATE_BAD_CALL, problem);
	if (!is_usable(conn))
		return GAMESTATE_NOT_CONNECTED;
	max = conn->options.max_in_flight > 0 ? conn->options.max_in_flight : MAX_IN_FLIGHT;
	if (conn->end - conn->first + (uint64_t) conn->num_waiting >= (uint64_t) max)
		return gsl_conn_fail_text(conn, GAMESTATE_TOO_MANY_CALLS, NULL);
	if (!make_room(conn))
		return gsl_conn_fail(conn, &gsl_out_of_memory);
	if (encode(conn, call) != GAMESTATE_OK)
		return conn->error.status;

	gsl_answers_note_cancel(conn);
	if (timeout <= 0)
		timeout = conn->options.call_timeout;
	if (timeout > 0)
		deadline = gamestate_now() + timeout;
	if (gsl_waiting_is_needed(conn))
	{
		if (!gsl_waiting_add(conn, call, deadline, callback, arg))
			return gsl_conn_fail(conn, &gsl_out_of_memory);
	}
	else if (!gsl_line_append(conn, call, deadline, callback, arg))
		return GAMESTATE_NOT_CONNECTED;
	conn->pending++;
	if (deadline < conn->next_deadline)
		conn->next_deadline = deadline;
	return GAMESTATE_OK;
}

bool
gsl_line_resend(gamestate_conn *conn, const Slot *slot)
{
	gamestate_call call = {.function = (int32_t) (slot->function - gsl_functions),
						   .num_params = (size_t) slot->num_args};

	memcpy(call.args, slot->args, call.num_params * sizeof(call.args[0]));
	if (!make_room(conn) ||
		gsl_params_encode(&conn->params, call.args, call.num_params) != GAMESTATE_OK)
	{
		gsl_conn_fail(conn, &gsl_out_of_memory);
		return false;
	}
	return gsl_line_append(conn, &call, slot->deadline, slot->callback, slot->arg);
}

gamestate_status
gamestate_conn_flush(gamestate_conn *conn)
{
	if (conn == NULL)
		return GAMESTATE_NO_MEMORY;
	if (!is_usable(conn))
		return GAMESTATE_NOT_CONNECTED;
	if (!gsl_line_flush(conn))
	{
		doom(conn);
		return GAMESTATE_CONNECTION_LOST;
	}
	return GAMESTATE_OK;
}
