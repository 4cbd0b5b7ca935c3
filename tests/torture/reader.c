/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  A client of the torture test that only asks: nobody is told what a crash
 *	  can take back.
 *
 * usage: reader CONNINFO LOG SEED SHARED-GAMES WRITERS
 *
 * It reads games of writers that wait for the disk, itself with
 * synchronous_commit = off, which must make no difference, and logs, outside the
 * server, what it was told:
 *
 *	O w k			a state or an event of operation k of writer w
 *	V game version	a version, from a result or from a stale-version error
 *	C game room		a room code that was taken, by which game
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define REFRESH 100 /* questions about the games that we have heard of */

static PGconn *conn;
static FILE *logfile;
static PGresult *games = NULL;

static unsigned
rnd(unsigned n)
{
	return (unsigned) (drand48() * n);
}

/* NULL for an error; the connection's loss is what the test is about. */
static PGresult *
ask(const char *sql, int nvalues, const char *const *values, PGresult **error)
{
	PGresult *res = PQexecParams(conn, sql, nvalues, NULL, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(res);
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return res;
	if (PQstatus(conn) != CONNECTION_OK || code == NULL || strncmp(code, "57P0", 4) == 0)
	{
		fclose(logfile);
		exit(0);
	}
	if (error == NULL)
	{
		fprintf(stderr, "reader: %s: %s\n", sql, PQerrorMessage(conn));
		exit(1);
	}
	*error = res;
	return NULL;
}

static void
find_games(const char *writers)
{
	if (games != NULL)
		PQclear(games);
	games =
		ask("SELECT game_id, room_code FROM gamestate.list_live_games(NULL, NULL, false) "
			"WHERE game_id::text LIKE '5a%' OR substr(game_id::text, 7, 2)::int <= $1",
			1, &writers, NULL);
}

static void
told_operation(const PGresult *res)
{
	if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0) && !PQgetisnull(res, 0, 1))
		fprintf(logfile, "O %s %s\n", PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
}

static void
ask_state(const char *game)
{
	PGresult *res =
		ask("SELECT j->>'w', j->>'k' FROM gamestate.get_state($1) j", 1, &game, NULL);

	told_operation(res);
	PQclear(res);
}

static void
ask_version(const char *game)
{
	PGresult *res = ask("SELECT gamestate.get_version($1)", 1, &game, NULL);

	if (!PQgetisnull(res, 0, 0))
		fprintf(logfile, "V %s %s\n", game, PQgetvalue(res, 0, 0));
	PQclear(res);
}

/* The last change has its maker's mark, if it is a move. */
static void
ask_changes(const char *game)
{
	PGresult *res = ask(
		"SELECT c.event->>'w', c.event->>'k', c.version "
		"FROM gamestate.get_changes($1, greatest(gamestate.get_version($1) - 1, 0)) c "
		"ORDER BY c.version DESC LIMIT 1",
		1, &game, NULL);

	told_operation(res);
	if (PQntuples(res) > 0)
		fprintf(logfile, "V %s %s\n", game, PQgetvalue(res, 0, 2));
	PQclear(res);
}

/* A move that cannot fit is answered with the version that there is. */
static void
ask_stale(const char *game)
{
	PGresult *error = NULL;
	PGresult *res =
		ask("SELECT gamestate.apply_move($1, 1000000, '1', '1')", 1, &game, &error);
	const char *detail;
	const char *version;

	if (res != NULL)
	{
		fprintf(stderr, "reader: a move for version 1000000 was accepted\n");
		exit(1);
	}
	detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	version = detail ? strstr(detail, "is at version ") : NULL;
	if (strcmp(PQresultErrorField(error, PG_DIAG_SQLSTATE), "GS001") == 0 && version)
		fprintf(logfile, "V %s %d\n", game, atoi(version + strlen("is at version ")));
	PQclear(error);
}

/* Asks for a room code that is taken, as far as we know; takes nothing. */
static void
ask_room(const char *game, const char *room)
{
	PGresult *error = NULL;
	PGresult *res;

	PQclear(ask("BEGIN", 0, NULL, NULL));
	res =
		ask("SELECT gamestate.create_game('reader', room_code => $1)", 1, &room, &error);
	if (res != NULL)
		PQclear(res);
	else
	{
		if (strcmp(PQresultErrorField(error, PG_DIAG_SQLSTATE), "GS004") == 0)
			fprintf(logfile, "C %s %s\n", game, room);
		PQclear(error);
	}
	PQclear(ask("ROLLBACK", 0, NULL, NULL));
}

static void
question(int shared)
{
	int n = PQntuples(games);
	int row = n > 0 ? (int) rnd(n) : 0;
	char game[37];

	/* shared games have the most to do with others */
	if (n == 0 || (shared > 0 && rnd(2) == 0))
		snprintf(game, sizeof(game), "5a000000-0000-4000-8000-%012d", (int) rnd(shared));
	else
		snprintf(game, sizeof(game), "%s", PQgetvalue(games, row, 0));
	switch (rnd(8))
	{
		case 0:
			ask_version(game);
			break;
		case 1:
			ask_stale(game);
			break;
		case 2:
			ask_changes(game);
			break;
		case 3:
			if (n > 0 && !PQgetisnull(games, row, 1))
			{
				ask_room(PQgetvalue(games, row, 0), PQgetvalue(games, row, 1));
				break;
			}
			/* FALLTHROUGH */
		default:
			ask_state(game);
	}
	fflush(logfile);
}

/* A server that goes says so, whether anybody has asked or not. */
static void
be_silent(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

int
main(int argc, char **argv)
{
	if (argc != 6)
	{
		fprintf(stderr, "usage: reader CONNINFO LOG SEED SHARED-GAMES WRITERS\n");
		return 2;
	}
	conn = PQconnectdb(argv[1]);
	logfile = fopen(argv[2], "a");
	srand48(atol(argv[3]));
	if (logfile == NULL || PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "reader: cannot start: %s\n", PQerrorMessage(conn));
		return 1;
	}
	PQsetNoticeProcessor(conn, be_silent, NULL);
	PQclear(ask("SET synchronous_commit = off", 0, NULL, NULL));
	/* some writers have games locked until the disk has answered: ask about others */
	PQclear(ask("SET lock_timeout = '3ms'", 0, NULL, NULL));
	PQclear(ask("SET client_min_messages = error", 0, NULL, NULL));
	for (;;)
	{
		find_games(argv[5]);
		for (int i = 0; i < REFRESH; i++)
			question(atoi(argv[4]));
	}
}
