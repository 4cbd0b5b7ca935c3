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

/* Warnings are shown, what is only notable is not. */
static void
receive_notice(void *arg, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void) arg;
	if (severity != NULL && message != NULL && strcmp(severity, "WARNING") == 0)
		log_warning("%s", message);
}

/* libpq's messages end with a newline, ours do not. */
static void
report_connection_error(const char *what, const PGconn *conn)
{
	const char *message = PQerrorMessage(conn);
	size_t len = strlen(message);

	while (len > 0 && message[len - 1] == '\n')
		len--;
	log_error("%s%.*s", what, (int) len, message);
}

PGconn *
connect_database(const ConnectOptions *options)
{
	const char *const keywords[] =
		{"host", "port", "user", "dbname", "fallback_application_name", "client_encoding",
		 NULL};
	const char *const values[] = {options->host, options->port,
								  options->user, options->dbname,
								  PROGRAM_NAME,	 "UTF8",
								  NULL};
	PGconn *conn = PQconnectdbParams(keywords, values, 1);

	if (conn == NULL)
	{
		log_error("out of memory");
		return NULL;
	}
	if (PQstatus(conn) != CONNECTION_OK)
	{
		report_connection_error("", conn);
		PQfinish(conn);
		return NULL;
	}
	PQsetNoticeReceiver(conn, receive_notice, NULL);
	return conn;
}

void
report_result_error(const char *what, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = PQresultErrorMessage(result);
	if (message[0] == '\0')
		message = "the server gave no rows";
	log_error("%s failed: %s%s%s%s", what, message, sqlstate ? " (SQLSTATE " : "",
			  sqlstate ? sqlstate : "", sqlstate ? ")" : "");
	if (detail != NULL)
		log_detail("%s", detail);
	if (hint != NULL)
		log_hint("%s", hint);
}

PGresult *
run_query(PGconn *conn, const char *what, const char *sql, int arg_count,
		  const char *const *args)
{
	PGresult *result = PQexecParams(conn, sql, arg_count, NULL, args, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	if (PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL)
		report_result_error(what, result);
	else
	{
		Buf prefix = {0};

		buf_printf(&prefix, "%s failed: ", what);
		report_connection_error(prefix.data, conn);
		buf_free(&prefix);
	}
	PQclear(result);
	return NULL;
}

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
