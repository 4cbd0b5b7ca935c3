/*-------------------------------------------------------------------------
 *
 * connect.c
 *	  Connecting, without waiting.
 *
 * The model:
 * 1. libpq connects by itself, host after host; PQconnectPoll() goes on when
 *	  the socket is ready (which we check: libpq believes whoever calls it).
 * 2. The probe: with GAMESTATE_PREPARE_AUTO the server is asked for its process
 *	  id.  Another one than libpq was told at connecting means that a pooler
 *	  sits in between, and that prepared statements may get lost.
 * 3. Then the connection enters pipeline mode and is ready.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static void
receive_notice(void *arg, const PGresult *notice)
{
	gamestate_conn *conn = arg;
	const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

	if (conn->options.notice != NULL)
		conn->options.notice(conn->options.notice_arg, severity != NULL ? severity : "",
							 sqlstate != NULL ? sqlstate : "",
							 message != NULL ? message : "");
}

void
gsl_connect_begin(gamestate_conn *conn, const char *conninfo)
{
	/* Later ones win: the user may name the application, but not the encoding. */
	const char *const keywords[] = {"fallback_application_name", "dbname",
									"client_encoding", NULL};
	const char *const values[] = {"libgamestate", conninfo != NULL ? conninfo : "",
								  "UTF8", NULL};

	conn->phase = PHASE_CONNECT;
	conn->connect_deadline = conn->options.connect_timeout > 0
								 ? gamestate_now() + conn->options.connect_timeout
								 : NEVER;
	conn->wants = GAMESTATE_WANTS_WRITE;
	conn->pg = PQconnectStartParams(keywords, values, 1);
	if (conn->pg == NULL)
	{
		gsl_conn_fail(conn, &gsl_out_of_memory);
		conn->state = GAMESTATE_CONN_BROKEN;
		return;
	}
	if (PQstatus(conn->pg) == CONNECTION_BAD)
	{
		gsl_conn_fail_libpq(conn, GAMESTATE_CONNECT_FAILED);
		gsl_conn_break(conn);
		return;
	}
	PQsetNoticeReceiver(conn->pg, receive_notice, conn);
}

static gamestate_status
connect_failed(gamestate_conn *conn)
{
	gsl_conn_fail_libpq(conn, GAMESTATE_CONNECT_FAILED);
	return gsl_conn_break(conn);
}

/* Is the socket ready for what we wait for? */
static bool
socket_ready(const gamestate_conn *conn)
{
	struct pollfd poll_fd = {.fd = PQsocket(conn->pg)};
	int ready;

	if ((conn->wants & GAMESTATE_WANTS_READ) != 0)
		poll_fd.events |= POLLIN;
	if ((conn->wants & GAMESTATE_WANTS_WRITE) != 0)
		poll_fd.events |= POLLOUT;
	ready = poll(&poll_fd, 1, 0);
	/* an error of poll is libpq's to find */
	return ready > 0 || (ready < 0 && errno != EINTR);
}

static gamestate_status
become_ready(gamestate_conn *conn)
{
	if (PQenterPipelineMode(conn->pg) != 1)
		return connect_failed(conn);
	conn->phase = PHASE_DONE;
	conn->state = GAMESTATE_CONN_READY;
	conn->heard = gamestate_now();
	return GAMESTATE_OK;
}

static gamestate_status
connected(gamestate_conn *conn)
{
	if (PQsetnonblocking(conn->pg, 1) != 0)
		return connect_failed(conn);
	if (conn->options.prepare != GAMESTATE_PREPARE_AUTO)
	{
		conn->prepares = conn->options.prepare == GAMESTATE_PREPARE_ALWAYS;
		return become_ready(conn);
	}
	if (PQsendQueryParams(conn->pg, "SELECT pg_catalog.pg_backend_pid()", 0, NULL, NULL,
						  NULL, NULL, 1) != 1)
		return connect_failed(conn);
	conn->phase = PHASE_PROBE;
	conn->wants = GAMESTATE_WANTS_READ | GAMESTATE_WANTS_WRITE;
	return GAMESTATE_OK;
}

/* The result of the probe; takes it over. */
static bool
read_probe(gamestate_conn *conn, PGresult *pg)
{
	bool good = PQresultStatus(pg) == PGRES_TUPLES_OK && PQntuples(pg) == 1 &&
				PQnfields(pg) == 1 && PQgetlength(pg, 0, 0) == 4;

	if (good)
		conn->prepares = (int) gsl_get32(PQgetvalue(pg, 0, 0)) == PQbackendPID(conn->pg);
	else if (PQresultErrorField(pg, PG_DIAG_SQLSTATE) != NULL)
	{
		gamestate_result result;

		gsl_result_set(&result, pg, &gsl_functions[FN_SQL]);
		result.error.status = GAMESTATE_CONNECT_FAILED;
		gsl_conn_fail(conn, &result.error);
	}
	else
		gsl_conn_fail_text(conn, GAMESTATE_CONNECT_FAILED,
						   "the server does not answer as PostgreSQL does");
	PQclear(pg);
	return good;
}

static gamestate_status
process_probe(gamestate_conn *conn)
{
	int left = PQflush(conn->pg);

	if (left < 0 || PQconsumeInput(conn->pg) != 1)
		return connect_failed(conn);
	conn->wants = GAMESTATE_WANTS_READ | (left > 0 ? GAMESTATE_WANTS_WRITE : 0);
	while (!PQisBusy(conn->pg))
	{
		PGresult *pg = PQgetResult(conn->pg);

		if (pg == NULL)
			return PQstatus(conn->pg) == CONNECTION_OK ? become_ready(conn)
													   : connect_failed(conn);
		if (PQstatus(conn->pg) != CONNECTION_OK)
		{
			PQclear(pg);
			return connect_failed(conn);
		}
		if (!read_probe(conn, pg))
			return gsl_conn_break(conn);
	}
	return GAMESTATE_OK;
}

gamestate_status
gsl_connect_process(gamestate_conn *conn)
{
	if (conn->connect_deadline != NEVER && gamestate_now() >= conn->connect_deadline)
	{
		gsl_conn_fail_text(conn, GAMESTATE_CONNECT_FAILED,
						   "could not connect to the server: timeout expired");
		return gsl_conn_break(conn);
	}
	if (!socket_ready(conn))
		return GAMESTATE_OK;
	if (conn->phase == PHASE_PROBE)
		return process_probe(conn);
	switch (PQconnectPoll(conn->pg))
	{
		case PGRES_POLLING_OK:
			return connected(conn);
		case PGRES_POLLING_READING:
			conn->wants = GAMESTATE_WANTS_READ;
			return GAMESTATE_OK;
		case PGRES_POLLING_WRITING:
			conn->wants = GAMESTATE_WANTS_WRITE;
			return GAMESTATE_OK;
		default:
			return connect_failed(conn);
	}
}
