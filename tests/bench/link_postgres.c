/*
 * A connection to PostgreSQL, by libpq's environment variables.
 *
 * In pipeline mode a sync follows each group of calls: what is between two syncs
 * is one transaction.  An answer is handed out only when the sync after it has
 * been answered, since the commit comes with that.
 */
#include <stdlib.h>

#include "gs_bench.h"

struct Link
{
	PGconn *conn;
	bool pipelined;
	int group;
	int unsynced;	/* calls sent since the last sync */
	int expected;	/* results to come, those of syncs included */
	PGresult **got; /* results, a ring of so many */
	int room;
	int first;
	int count;
	int committed;	 /* of those that were got, how many may be handed out */
	PGresult *given; /* the one handed out last */
};

/* query: run it, and die if it fails */
PGresult *
query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult *res = PQexecParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);

	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		die("%s\n%s", sql, PQresultErrorMessage(res));
	return res;
}

int64_t
query_int(PGconn *conn, const char *sql)
{
	PGresult *res = query(conn, sql, 0, NULL);
	int64_t value = atoll(PQgetvalue(res, 0, 0));

	PQclear(res);
	return value;
}

/* wal_position: where the next WAL record goes, in bytes */
int64_t
wal_position(PGconn *conn)
{
	return query_int(conn, "SELECT pg_current_wal_insert_lsn() - '0/0'");
}

PGconn *
connect_server(const Options *options)
{
	PGconn *conn = PQconnectdb("application_name=gs_bench");
	PGresult *res;

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	PQclear(query(conn,
				  options->sync ? "SET synchronous_commit = on"
								: "SET synchronous_commit = off",
				  0, NULL));
	if (options->settings != NULL)
	{
		/* may be several commands */
		res = PQexec(conn, options->settings);
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			die("%s\n%s", options->settings, PQerrorMessage(conn));
		PQclear(res);
	}
	return conn;
}

static Link *
open_link(const Options *options)
{
	Link *link = must_alloc(sizeof(Link));
	PGresult *res;

	link->conn = connect_server(options);
	link->pipelined = options->pipelined;
	link->group = options->group;
	link->room = options->depth;
	link->got = must_alloc(sizeof(PGresult *) * (size_t) link->room);
	res = PQprepare(link->conn, "w", options->workload->statement, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("prepare: %s", PQerrorMessage(link->conn));
	PQclear(res);
	PQsetnonblocking(link->conn, 1);
	if (link->pipelined && PQenterPipelineMode(link->conn) != 1)
		die("pipeline mode: %s", PQerrorMessage(link->conn));
	return link;
}

static int
socket_of(Link *link)
{
	return PQsocket(link->conn);
}

static void
send_call(Link *link, int nparams, const char *const *params)
{
	if (!PQsendQueryPrepared(link->conn, "w", nparams, params, NULL, NULL, 0))
		die("send: %s", PQerrorMessage(link->conn));
	link->expected++;
	if (link->pipelined && ++link->unsynced == link->group)
	{
		if (!PQpipelineSync(link->conn))
			die("sync: %s", PQerrorMessage(link->conn));
		link->expected++;
		link->unsynced = 0;
	}
}

static bool
flush_link(Link *link)
{
	int left;

	/* The last group may be a short one. */
	if (link->unsynced > 0)
	{
		if (!PQpipelineSync(link->conn))
			die("sync: %s", PQerrorMessage(link->conn));
		link->expected++;
		link->unsynced = 0;
	}
	left = PQflush(link->conn);
	if (left < 0)
		die("send: %s", PQerrorMessage(link->conn));
	return left == 1;
}

static void
take_result(Link *link, PGresult *res)
{
	link->expected--;
	if (PQresultStatus(res) == PGRES_PIPELINE_SYNC)
	{
		PQclear(res);
		link->committed = link->count;
		return;
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die("%s", PQresultErrorMessage(res));
	if (PQntuples(res) != 1)
		die("%d rows instead of one", PQntuples(res));
	if (link->count == link->room)
		die("more answers than calls");
	link->got[(link->first + link->count++) % link->room] = res;
}

static void
receive(Link *link)
{
	if (!PQconsumeInput(link->conn))
		die("receive: %s", PQerrorMessage(link->conn));
	while (link->expected > 0 && !PQisBusy(link->conn))
	{
		PGresult *res = PQgetResult(link->conn);

		/* NULL: the end of one call's results */
		if (res != NULL)
			take_result(link, res);
	}
	/* One call at a time: its NULL is the end of its transaction. */
	if (!link->pipelined && link->count > 0 && link->expected == 0 &&
		!PQisBusy(link->conn) && PQgetResult(link->conn) == NULL)
		link->committed = link->count;
}

static bool
answer(Link *link, Value *value)
{
	PQclear(link->given);
	link->given = NULL;
	if (link->committed == 0)
		return false;
	link->given = link->got[link->first];
	link->first = (link->first + 1) % link->room;
	link->count--;
	link->committed--;
	value->text = PQgetvalue(link->given, 0, 0);
	value->len = PQgetlength(link->given, 0, 0);
	return true;
}

static void
close_link(Link *link)
{
	PQclear(link->given);
	PQfinish(link->conn);
	free(link->got);
	free(link);
}

const LinkKind link_postgres = {open_link, socket_of, send_call, flush_link,
								receive,   answer,	  close_link};
