/*
 * cmd_show.c: gamestate show: one game and its log, live or archived.
 *
 * The model:
 * 1. GAME is an id, if it is written as one, else the room code of a waiting
 *    or active game.
 * 2. gamestate.get_game() and get_changes() answer for games in memory and in
 *    the archive alike.  When the archive no longer has the log, the game is
 *    shown without it.
 */
#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "gamestate_errors.h"
#include "options.h"
#include "output.h"

typedef struct ShowOptions
{
	CommonOptions common;
	const char *game;
	bool room;	 /* it is a room code, whatever it looks like */
	bool no_log; /* the game only */
	uint64_t after;
} ShowOptions;

static void
print_help(void)
{
	printf("%s show shows a game and its log, wherever the game is.\n\n"
		   "Usage:\n  %s show [OPTION]... GAME\n\n"
		   "GAME is a game id, or the room code of a game that is not over.\n\n"
		   "Options:\n"
		   "  -a, --after=VERSION      only changes after this version\n"
		   "  -r, --room               GAME is a room code, even if it looks like an id\n"
		   "      --no-log             leave the log out\n",
		   PROGRAM_NAME, PROGRAM_NAME);
}

/* 32 hex digits, hyphens after any four of them, as PostgreSQL reads a uuid. */
static bool
is_uuid(const char *text)
{
	int digits = 0;

	for (; *text != '\0'; text++)
	{
		if (isxdigit((unsigned char) *text))
			digits++;
		else if (*text != '-' || digits == 0 || digits % 4 != 0)
			return false;
	}
	return digits == 32;
}

/* The id of the game that was meant; an empty string after a message. */
static bool
find_id(PGconn *conn, const ShowOptions *options, char id[37])
{
	PGresult *result;

	id[0] = '\0';
	if (!options->room && is_uuid(options->game))
		result = run_query(conn, "reading the id", "SELECT $1::uuid", 1, &options->game);
	else
		result = run_query(conn, "looking for the room",
						   "SELECT gamestate.find_room($1::text)", 1, &options->game);
	if (result == NULL)
		return false;
	if (PQgetisnull(result, 0, 0))
	{
		log_error("no game has the room code \"%s\"", options->game);
		log_hint("A game that is over is found by its id only.");
	}
	else
		snprintf(id, 37, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return id[0] != '\0';
}

/* NULL if the archive has no log any more, *ok = false after a message. */
static PGresult *
query_log(PGconn *conn, const ShowOptions *options, const char *id, bool *ok)
{
	char after[24];
	const char *args[] = {id, after};
	PGresult *result;

	*ok = true;
	if (options->no_log)
		return NULL;
	snprintf(after, sizeof(after), "%" PRIu64, options->after);
	result =
		PQexecParams(conn,
					 "SELECT version, kind, player, at, request_id, event, event_bytes,"
					 " patch, state, state_bytes"
					 " FROM gamestate.get_changes(game_id => $1::uuid,"
					 " after_version => $2::bigint)",
					 2, NULL, args, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	if (result_has_sqlstate(result, GAMESTATE_HISTORY_NOT_KEPT))
		log_warning("the log of this game is no longer kept");
	else
	{
		report_query_error("reading the log", conn, result);
		*ok = false;
	}
	PQclear(result);
	return NULL;
}

/* A line a column, and nothing for what is NULL. */
static void
print_game(const PGresult *game)
{
	for (int i = 0; i < PQnfields(game); i++)
		if (!PQgetisnull(game, 0, i))
			printf("%-12s %s\n", PQfname(game, i), PQgetvalue(game, 0, i));
}

static void
print_log(const PGresult *log)
{
	printf("\n%8s  %-26s  %-10s  %-12s  %s\n", "version", "at", "kind", "player",
		   "event");
	for (int row = 0; row < PQntuples(log); row++)
	{
		const char *event = "";

		for (int i = 5; i < PQnfields(log); i++)
			if (!PQgetisnull(log, row, i) && event[0] == '\0')
				event = PQgetvalue(log, row, i);
		printf("%8s  %-26.26s  %-10s  %-12s  %s\n", PQgetvalue(log, row, 0),
			   PQgetvalue(log, row, 3), PQgetvalue(log, row, 1), PQgetvalue(log, row, 2),
			   event);
	}
}

static void
print_json(const PGresult *game, const PGresult *log)
{
	Buf out = {0};

	buf_puts(&out, "{\"game\": ");
	output_json_row(&out, game, 0, false);
	if (log != NULL)
	{
		buf_puts(&out, ",\n \"log\": [");
		for (int row = 0; row < PQntuples(log); row++)
		{
			buf_puts(&out, row > 0 ? ",\n  " : "\n  ");
			output_json_row(&out, log, row, true);
		}
		buf_puts(&out, "]");
	}
	buf_puts(&out, "}");
	puts(out.data);
	buf_free(&out);
}

static bool
show(PGconn *conn, const ShowOptions *options)
{
	char id[37];
	const char *args[] = {id};
	PGresult *game = NULL;
	PGresult *log = NULL;
	bool ok = false;

	if (find_id(conn, options, id))
		game = run_query(
			conn, "reading the game",
			"SELECT * FROM gamestate.get_game($1::uuid) WHERE game_id IS NOT NULL", 1,
			args);
	if (game != NULL && PQntuples(game) == 0)
		log_error("there is no game %s", id);
	else if (game != NULL)
		log = query_log(conn, options, id, &ok);
	if (ok && options->common.json)
		print_json(game, log);
	else if (ok)
	{
		print_game(game);
		if (log != NULL)
			print_log(log);
	}
	PQclear(game);
	PQclear(log);
	return ok && output_flush();
}

int
cmd_show(int argc, char **argv)
{
	ShowOptions options = {0};
	const OptionSpec specs[] = {
		{'a', "after", OPTION_UINT64, &options.after, 0, INT64_MAX},
		{'r', "room", OPTION_FLAG, &options.room, 0, 0},
		{0, "no-log", OPTION_FLAG, &options.no_log, 0, 0},
	};
	const OptionTable table = {"show", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &options.common);
	PGconn *conn;
	bool ok;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind + 1 != argc)
	{
		if (optind == argc)
			options_complain("show", "no game was named");
		else
			options_complain("show", "too many command-line arguments (first is \"%s\")",
							 argv[optind + 1]);
		return EXIT_BAD_USE;
	}
	options.game = argv[optind];
	install_signal_handlers();
	conn = connect_gamestate(&options.common.connect);
	if (conn == NULL)
		return exit_status(false);
	ok = show(conn, &options);
	disconnect_database(conn);
	return exit_status(ok);
}
