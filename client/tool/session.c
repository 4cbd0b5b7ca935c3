/*
 * session.c: calls on a connection in libpq's pipeline mode.
 *
 * The model:
 * 1. session_open() connects, prepares all calls of calls.h, and turns on
 *    non-blocking and pipeline mode.
 * 2. session_send() queues one prepared statement and one Sync: each call is
 *    a transaction of its own, and a call that fails takes no other with it.
 * 3. The calls in flight stand in a ring, in the order in which they were
 *    sent, which is the order in which the server answers.
 * 4. An answer is complete at its Sync.  Only then is it handed over: the
 *    server sends that after the commit, so who is told of a move is told of
 *    a committed one.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct InFlight
{
	void *owner;
	PGresult *result; /* NULL until it has come */
} InFlight;

struct Session
{
	PGconn *conn;
	int depth; /* size of the ring */
	int first; /* the oldest call in flight */
	int count; /* calls in flight */
	InFlight *ring;
};

/* The name under which a call is prepared. */
static void
statement_name(char name[16], CallKind kind)
{
	snprintf(name, 16, "call_%d", (int) kind);
}

static bool
prepare_calls(PGconn *conn)
{
	for (int kind = 0; kind < CALL_KINDS; kind++)
	{
		char name[16];
		PGresult *result;
		bool ok;

		statement_name(name, (CallKind) kind);
		result = PQprepare(conn, name, call_sql((CallKind) kind), 0, NULL);
		ok = PQresultStatus(result) == PGRES_COMMAND_OK;
		if (!ok)
		{
			Buf what = {0};

			buf_printf(&what, "preparing %s", call_name((CallKind) kind));
			report_result_error(what.data, result);
			buf_free(&what);
		}
		PQclear(result);
		if (!ok)
			return false;
	}
	return true;
}

Session *
session_open(const ConnectOptions *options, int depth)
{
	PGconn *conn = connect_database(options);
	Session *session;

	if (conn == NULL)
		return NULL;
	if (!prepare_calls(conn))
	{
		PQfinish(conn);
		return NULL;
	}
	if (PQsetnonblocking(conn, 1) != 0 || PQenterPipelineMode(conn) != 1)
	{
		report_connection_error("could not set up the connection: ", conn);
		PQfinish(conn);
		return NULL;
	}
	session = xcalloc(1, sizeof(*session));
	session->conn = conn;
	session->depth = depth;
	session->ring = xcalloc((size_t) depth, sizeof(InFlight));
	return session;
}

void
session_close(Session *session)
{
	if (session == NULL)
		return;
	for (int i = 0; i < session->depth; i++)
		PQclear(session->ring[i].result);
	PQfinish(session->conn);
	free(session->ring);
	free(session);
}

bool
session_has_room(const Session *session)
{
	return session->count < session->depth;
}

int
session_in_flight(const Session *session)
{
	return session->count;
}

int
session_socket(const Session *session)
{
	return PQsocket(session->conn);
}

bool
session_send(Session *session, const Call *call, void *owner)
{
	char name[16];
	InFlight *slot;

	statement_name(name, call->kind);
	if (PQsendQueryPrepared(session->conn, name, call_arg_count(call->kind), call->args,
							NULL, NULL, 0) != 1 ||
		PQpipelineSync(session->conn) != 1)
	{
		report_connection_error("could not send to the server: ", session->conn);
		return false;
	}
	slot = &session->ring[(session->first + session->count) % session->depth];
	slot->owner = owner;
	slot->result = NULL;
	session->count++;
	return true;
}

bool
session_flush(Session *session, bool *wants_write)
{
	int result = PQflush(session->conn);

	if (result < 0)
	{
		report_connection_error("could not send to the server: ", session->conn);
		return false;
	}
	*wants_write = result == 1;
	return true;
}

/* The oldest call's Sync has come: hand its answer over. */
static void
complete_first(Session *session, SessionAnswer answer, void *arg)
{
	InFlight done = session->ring[session->first];

	session->ring[session->first].result = NULL;
	session->first = (session->first + 1) % session->depth;
	session->count--;
	answer(arg, done.owner, done.result);
	PQclear(done.result);
}

bool
session_receive(Session *session, SessionAnswer answer, void *arg)
{
	if (PQconsumeInput(session->conn) != 1)
	{
		report_connection_error("lost the connection: ", session->conn);
		return false;
	}
	while (session->count > 0 && !PQisBusy(session->conn))
	{
		PGresult *result = PQgetResult(session->conn);

		if (PQstatus(session->conn) == CONNECTION_BAD)
		{
			report_connection_error("lost the connection: ", session->conn);
			PQclear(result);
			return false;
		}
		if (result == NULL)
			continue; /* end of one statement's results */
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			complete_first(session, answer, arg);
		}
		else
		{
			PQclear(session->ring[session->first].result);
			session->ring[session->first].result = result;
		}
	}
	return true;
}

void *
session_abandon_call(Session *session)
{
	void *owner;

	if (session->count == 0)
		return NULL;
	owner = session->ring[session->first].owner;
	PQclear(session->ring[session->first].result);
	session->ring[session->first].result = NULL;
	session->first = (session->first + 1) % session->depth;
	session->count--;
	return owner;
}
