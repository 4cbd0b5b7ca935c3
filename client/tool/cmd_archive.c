/*
 * cmd_archive.c: gamestate archive: what is in the archive, and waiting until
 * everything that is over is there.
 *
 * The model: three actions, each one query of the catalogs, of
 * gamestate.archive or of gamestate.stat_memory.  Partitions are read from the
 * catalogs, so that those which a DBA has made or detached show as they are.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "options.h"
#include "output.h"
#include "progress.h"

#define LOOK_MS 50

typedef struct ArchiveOptions
{
	CommonOptions common;
	const char *period;
	const char *game_type;
	double timeout;
} ArchiveOptions;

static void
print_help(void)
{
	printf(
		"%s archive tells what is in the archive.\n\n"
		"Usage:\n"
		"  %s archive [OPTION]... games       games by type and period (default)\n"
		"  %s archive [OPTION]... partitions  partitions with their periods and sizes\n"
		"  %s archive [OPTION]... wait        wait until all games that are over are\n"
		"                                            in the archive\n\n"
		"Options:\n"
		"  -b, --by=PERIOD          day, week, month (default), year, or all\n"
		"  -t, --game-type=TYPE     of this game type only\n"
		"      --timeout=SECONDS    wait no longer (default: for ever)\n",
		PROGRAM_NAME, PROGRAM_NAME, PROGRAM_NAME, PROGRAM_NAME);
}

/* Rows without their period when all periods are wanted as one. */
static const char games_sql[] =
	"SELECT a.game_type, CASE WHEN $1 <> 'all' THEN pg_catalog.to_char(pg_catalog.date_trunc("
	"CASE WHEN $1 = 'all' THEN 'year' ELSE $1 END, a.ended_at AT TIME ZONE 'UTC'),"
	" CASE $1 WHEN 'year' THEN 'YYYY' WHEN 'month' THEN 'YYYY-MM' ELSE 'YYYY-MM-DD' END)"
	" ELSE 'all' END AS period,"
	" pg_catalog.count(*) AS games, pg_catalog.sum(a.moves)::bigint AS moves,"
	" pg_catalog.count(*) FILTER (WHERE a.status = 'abandoned') AS abandoned,"
	" pg_catalog.min(a.ended_at) AS first_ended_at, pg_catalog.max(a.ended_at) AS last_ended_at"
	" FROM gamestate.archive a WHERE $2::text IS NULL OR a.game_type = $2"
	" GROUP BY 1, 2 ORDER BY 1, 2";

static const char partitions_sql[] =
	"WITH RECURSIVE tree AS ("
	" SELECT c.oid, c.relname AS table_name, NULL::text COLLATE pg_catalog.\"default\" AS game_type"
	"   FROM pg_catalog.pg_class c"
	"  WHERE c.oid IN ('gamestate.archive'::pg_catalog.regclass,"
	"                  'gamestate.archive_payload'::pg_catalog.regclass)"
	" UNION ALL"
	" SELECT c.oid, t.table_name,"
	"        coalesce(t.game_type, pg_catalog.substring("
	"          pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'FOR VALUES IN \\((.*)\\)'),"
	"          pg_catalog.pg_get_expr(c.relpartbound, c.oid)) COLLATE pg_catalog.\"default\""
	"   FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid"
	"   JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid)"
	" SELECT t.table_name AS \"table\", c.oid::pg_catalog.regclass::text AS partition,"
	"        t.game_type,"
	"        pg_catalog.substring(b.bound, 'FROM \\(''?([^'')]*)''?\\)') AS from_time,"
	"        pg_catalog.substring(b.bound, 'TO \\(''?([^'')]*)''?\\)') AS to_time,"
	"        CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS about_rows,"
	"        pg_catalog.pg_total_relation_size(c.oid) AS bytes"
	"   FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid,"
	"        LATERAL (SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid)) AS b(bound)"
	"  WHERE c.relkind <> 'p'"
	"    AND ($1::text IS NULL OR t.game_type = pg_catalog.quote_literal($1))"
	"  ORDER BY 3, 4, 1";

static bool
is_period(const char *period)
{
	static const char *const periods[] = {"day", "week", "month", "year", "all"};

	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++)
		if (strcmp(period, periods[i]) == 0)
			return true;
	options_complain("archive", "invalid value \"%s\" for option --by", period);
	return false;
}

static bool
show_games(PGconn *conn, const ArchiveOptions *options)
{
	const char *args[] = {options->period, options->game_type};
	PGresult *result = run_query(conn, "query of the archive", games_sql, 2, args);

	if (result == NULL)
		return false;
	output_result(result, options->common.json);
	PQclear(result);
	return output_flush();
}

static bool
show_partitions(PGconn *conn, const ArchiveOptions *options)
{
	PGresult *result = run_query(conn, "query of the archive's partitions",
								 partitions_sql, 1, &options->game_type);

	if (result == NULL)
		return false;
	output_result(result, options->common.json);
	PQclear(result);
	return output_flush();
}

/* How many games wait; -1 after a message. */
static int64_t
queue_length(PGconn *conn)
{
	PGresult *result =
		run_query(conn, "query of stat_memory",
				  "SELECT archive_queue FROM gamestate.stat_memory", 0, NULL);
	int64_t games = -1;

	if (result != NULL)
		games = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return games;
}

static bool
wait_for_archive(PGconn *conn, const ArchiveOptions *options)
{
	uint64_t start = now_ns();
	int64_t first = queue_length(conn);
	int64_t left = first;

	progress_begin("archiving", "games", first > 0 ? (uint64_t) first : 0);
	while (left > 0)
	{
		if (options->timeout > 0 && (double) (now_ns() - start) / 1e9 > options->timeout)
		{
			progress_abandon();
			log_error("%" PRId64 " games are not archived yet", left);
			log_hint("\"%s check\" tells what keeps the archiver from its work.",
					 PROGRAM_NAME);
			return false;
		}
		if (!pause_ms(LOOK_MS))
		{
			progress_abandon();
			log_error("interrupted");
			return false;
		}
		left = queue_length(conn);
		if (left > first)
			first = left; /* games go on ending */
		if (left >= 0 && progress_due())
			progress_update((uint64_t) (first - left),
							(double) (first - left) / (double) first, NULL);
	}
	if (left == 0 && first > 0)
		progress_end((uint64_t) first, NULL);
	else
		progress_abandon();
	if (left == 0 && options->common.json)
		printf("{\"archived\": %" PRId64 ", \"seconds\": %.3f}\n", first,
			   (double) (now_ns() - start) / 1e9);
	return left == 0 && output_flush();
}

int
cmd_archive(int argc, char **argv)
{
	ArchiveOptions options = {.period = "month"};
	const OptionSpec specs[] = {
		{'b', "by", OPTION_TEXT, &options.period, 0, 0},
		{'t', "game-type", OPTION_TEXT, &options.game_type, 0, 0},
		{0, "timeout", OPTION_SECONDS, &options.timeout, 0, 1000000000},
	};
	const OptionTable table = {"archive", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &options.common);
	bool (*action)(PGconn *, const ArchiveOptions *) = show_games;
	PGconn *conn;
	bool ok;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (!is_period(options.period))
		return EXIT_BAD_USE;
	if (optind < argc && strcmp(argv[optind], "partitions") == 0)
		action = show_partitions;
	else if (optind < argc && strcmp(argv[optind], "wait") == 0)
		action = wait_for_archive;
	else if (optind < argc && strcmp(argv[optind], "games") != 0)
	{
		options_complain("archive", "unrecognized action \"%s\"", argv[optind]);
		return EXIT_BAD_USE;
	}
	if (optind + 1 < argc)
	{
		options_complain("archive", "too many command-line arguments (first is \"%s\")",
						 argv[optind + 1]);
		return EXIT_BAD_USE;
	}
	install_signal_handlers();
	conn = connect_gamestate(&options.common.connect);
	ok = conn != NULL && action(conn, &options);
	disconnect_database(conn);
	return exit_status(ok);
}
