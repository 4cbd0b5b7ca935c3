/*
 * cmd_check.c: gamestate check: is everything healthy?  For people, and for
 * monitoring systems, whose convention for plug-ins it keeps: a line a check,
 * the worst first, and exit status 0 ok, 1 warning, 2 critical, 3 unknown.
 *
 * The model:
 * 1. Each check is a function that asks one of the statistics views, judges,
 *    and adds one finding.  What cannot be asked is unknown, and the others go on.
 * 2. A role that is a member of pg_monitor may ask all that must be asked.  The
 *    age of the archive's queue and the table of damage need more rights: who
 *    does not have them gets less exact findings, never an error.
 * 3. A server that cannot be reached is critical: the games are not to be had.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "options.h"
#include "output.h"

typedef enum Level
{
	LEVEL_OK,
	LEVEL_WARNING,
	LEVEL_CRITICAL,
	LEVEL_UNKNOWN
} Level;

static const char *const level_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

/* The worst first; what is not known is not as bad as what is known to be. */
static const Level by_severity[] = {LEVEL_CRITICAL, LEVEL_UNKNOWN, LEVEL_WARNING,
									LEVEL_OK};

typedef struct Finding
{
	Level level;
	const char *check;
	char message[512];
} Finding;

#define CONNECT_TIMEOUT "10" /* seconds, unless connect_timeout says otherwise */
#define MAX_FINDINGS	24

#define OWN_DATABASE "w.database OPERATOR(pg_catalog.=) pg_catalog.current_database()"

typedef struct Check
{
	CommonOptions common;
	double queue[2];	 /* games that wait for the archive */
	double queue_age[2]; /* seconds that the oldest of them has waited */
	double memory[2];	 /* per cent of gamestate.memory, or of the quota */
	double lag[2];		 /* seconds that a standby is behind */
	PGconn *conn;
	bool standby;
	Finding findings[MAX_FINDINGS];
	int count;
} Check;

static void
print_help(void)
{
	printf(
		"%s check tells whether all is well with the games of a database.\n\n"
		"Usage:\n  %s check [OPTION]...\n\n"
		"Exit status: 0 all is well, 1 warnings, 2 something is critical, 3 something\n"
		"could not be found out.  A server that has not let it in after 10 seconds (or\n"
		"PGCONNECT_TIMEOUT) is not reached, which is critical.\n\n"
		"Options, each WARNING,CRITICAL:\n"
		"      --queue=N,N          games that wait for the archive\n"
		"                           (default 10000,100000)\n"
		"      --queue-age=S,S      seconds that the oldest of them has waited\n"
		"                           (default 60,600)\n"
		"      --memory=P,P         per cent of game memory or quota in use (default\n"
		"                           80,95)\n"
		"      --lag=S,S            seconds that a standby's games are behind (default\n"
		"                           5,60)\n",
		PROGRAM_NAME, PROGRAM_NAME);
}

static void add(Check *check, Level level, const char *name, const char *format, ...)
	PRINTF_LIKE(4, 5);

static void
add(Check *check, Level level, const char *name, const char *format, ...)
{
	Finding *finding;
	va_list args;

	if (check->count == MAX_FINDINGS)
		return;
	finding = &check->findings[check->count++];
	finding->level = level;
	finding->check = name;
	va_start(args, format);
	vsnprintf(finding->message, sizeof(finding->message), format, args);
	va_end(args);
	finding->message[strcspn(finding->message, "\n")] = '\0';
}

static Level
judge(double value, const double levels[2])
{
	if (value >= levels[1])
		return LEVEL_CRITICAL;
	return value >= levels[0] ? LEVEL_WARNING : LEVEL_OK;
}

/* The answer to a question that has at least one row; else adds "unknown". */
static PGresult *
ask(Check *check, const char *name, const char *sql)
{
	PGresult *result = PQexec(check->conn, sql);

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
		return result;
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		add(check, LEVEL_UNKNOWN, name, "the server gave no rows");
	else
	{
		const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

		add(check, LEVEL_UNKNOWN, name, "%s",
			message ? message : PQerrorMessage(check->conn));
	}
	PQclear(result);
	return NULL;
}

static double
number(const PGresult *result, int column)
{
	return PQgetisnull(result, 0, column) ? 0
										  : strtod(PQgetvalue(result, 0, column), NULL);
}

/* Extension and library; false if there is no sense in going on. */
static bool
check_extension(Check *check)
{
	const char *name = "extension";
	PGresult *result =
		ask(check, name,
			"SELECT e.extversion, pg_catalog.pg_is_in_recovery(),"
			" coalesce(pg_catalog.current_setting('gamestate.memory', true), '')"
			" FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_extension e"
			" ON extname = 'gamestate'");
	bool ok = false;

	if (result == NULL)
		return false;
	check->standby = PQgetvalue(result, 0, 1)[0] == 't';
	if (PQgetisnull(result, 0, 0))
		add(check, LEVEL_CRITICAL, name, "database \"%s\" does not have it",
			PQdb(check->conn));
	else if (PQgetvalue(result, 0, 2)[0] == '\0')
		add(check, LEVEL_CRITICAL, name, "it is not in shared_preload_libraries");
	else
	{
		add(check, LEVEL_OK, name, "version %s, on a %s", PQgetvalue(result, 0, 0),
			check->standby ? "standby" : "primary");
		ok = true;
	}
	PQclear(result);
	return ok;
}

/*
 * "running", or what is wrong with a worker.  `setting` switches it off, in the
 * server's configuration.
 */
static void
check_worker(Check *check, const char *name, const char *setting,
			 const char *kind_condition)
{
	Buf sql = {0};
	PGresult *result;

	buf_printf(&sql,
			   "SELECT w.state, w.pid, w.last_error, w.games_set_aside,"
			   " pg_catalog.current_setting('%s', true)"
			   " FROM (SELECT) AS one LEFT JOIN gamestate.stat_workers w ON %s",
			   setting, kind_condition);
	result = ask(check, name, sql.data);
	buf_free(&sql);
	if (result == NULL)
		return;
	if (strcmp(PQgetvalue(result, 0, 4), "off") == 0)
		add(check, LEVEL_WARNING, name, "switched off (%s)", setting);
	else if (PQgetisnull(result, 0, 0))
		add(check, LEVEL_CRITICAL, name, "there is none");
	else
	{
		const char *state = PQgetvalue(result, 0, 0);
		const char *error = PQgetvalue(result, 0, 2);
		Level level = LEVEL_CRITICAL;

		if (strcmp(state, "running") == 0)
			level = number(result, 3) > 0 ? LEVEL_WARNING : LEVEL_OK;
		else if (strcmp(state, "starting") == 0 || strcmp(state, "barred") == 0 ||
				 strcmp(state, "paused") == 0)
			level = LEVEL_WARNING;
		if (number(result, 3) > 0)
			add(check, level, name, "%s; %s games have been set aside: %s", state,
				PQgetvalue(result, 0, 3), error);
		else if (level != LEVEL_OK && error[0] != '\0')
			add(check, level, name, "%s: %s", state, error);
		else
			add(check, level, name, "%s", state);
	}
	PQclear(result);
}

static void
check_load(Check *check)
{
	const char *name = "load";
	PGresult *result = ask(check, name,
						   "SELECT state, games_loaded, load_ms, last_error, problems,"
						   " blocks_done, blocks_total, journal_bytes, journal_limit"
						   " FROM gamestate.stat_journal");
	const char *state;

	if (result == NULL)
		return;
	state = PQgetvalue(result, 0, 0);
	if (!PQgetisnull(result, 0, 3))
		add(check, LEVEL_CRITICAL, name, "%s: %s", state, PQgetvalue(result, 0, 3));
	else if (strcmp(state, "loaded") == 0)
		add(check, LEVEL_OK, name, "games are loaded");
	else
		add(check, LEVEL_WARNING, name, "%s, %s of %s blocks", state,
			PQgetvalue(result, 0, 5), PQgetvalue(result, 0, 6));
	if (number(result, 4) > 0)
		add(check, LEVEL_WARNING, "journal",
			"%s problems were found when games were loaded", PQgetvalue(result, 0, 4));
	else if (number(result, 8) > 0 && number(result, 7) > 2 * number(result, 8))
		add(check, LEVEL_WARNING, "journal",
			"it has %s bytes, and should be rotated at %s", PQgetvalue(result, 0, 7),
			PQgetvalue(result, 0, 8));
	else
		add(check, LEVEL_OK, "journal", "no problems");
	PQclear(result);
}

/* What load and followers have kept; only who may read the table can tell. */
static void
check_damage(Check *check)
{
	const char *name = "damage";
	PGresult *result = ask(
		check, name,
		"SELECT pg_catalog.has_table_privilege('gamestate.journal_damage', 'SELECT')");
	bool allowed;

	if (result == NULL)
		return;
	allowed = PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	if (!allowed)
		return;
	result = ask(check, name,
				 "SELECT pg_catalog.count(*), pg_catalog.max(found_at)"
				 " FROM gamestate.journal_damage");
	if (result == NULL)
		return;
	if (number(result, 0) > 0)
		add(check, LEVEL_WARNING, name,
			"%s damaged pieces of the journal, the last of %s", PQgetvalue(result, 0, 0),
			PQgetvalue(result, 0, 1));
	else
		add(check, LEVEL_OK, name, "none");
	PQclear(result);
}

static void
check_memory(Check *check)
{
	const char *name = "memory";
	PGresult *result = ask(check, name,
						   "SELECT total_bytes, used_bytes, database_bytes, quota_bytes,"
						   " games, pg_catalog.pg_size_pretty(used_bytes),"
						   " pg_catalog.pg_size_pretty(total_bytes)"
						   " FROM gamestate.stat_memory");
	double part;
	double quota_part = 0;

	if (result == NULL)
		return;
	part = 100.0 * number(result, 1) / number(result, 0);
	if (!PQgetisnull(result, 0, 3) && number(result, 3) > 0)
		quota_part = 100.0 * number(result, 2) / number(result, 3);
	add(check, judge(part > quota_part ? part : quota_part, check->memory), name,
		"%.0f %% in use (%s of %s), %s games%s", part, PQgetvalue(result, 0, 5),
		PQgetvalue(result, 0, 6), PQgetvalue(result, 0, 4),
		quota_part > part ? "; the database's quota is nearer" : "");
	PQclear(result);
}

/*
 * How long the oldest game in the queue has waited, in seconds; -1 = not known.
 * Only who may list games can see when each of them ended.
 */
static double
queue_age(Check *check)
{
	static const char may_sql[] =
		"SELECT pg_catalog.has_function_privilege("
		"'gamestate.list_live_games(text, text, boolean, integer)', 'EXECUTE')";
	static const char age_sql[] =
		"SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
		" pg_catalog.min(ended_at)) FROM (SELECT ended_at FROM gamestate.list_live_games("
		"status => 'finished', with_state => false) UNION ALL SELECT ended_at"
		" FROM gamestate.list_live_games(status => 'abandoned', with_state => false)) AS g";
	PGresult *result = ask(check, "queue", may_sql);
	bool allowed = result != NULL && PQgetvalue(result, 0, 0)[0] == 't';
	double age = -1;

	PQclear(result);
	if (!allowed || (result = ask(check, "queue", age_sql)) == NULL)
		return -1;
	age = number(result, 0);
	PQclear(result);
	return age;
}

static void
check_queue(Check *check)
{
	const char *name = "queue";
	PGresult *result =
		ask(check, name, "SELECT archive_queue FROM gamestate.stat_memory");
	double games;
	double age = 0;
	Level level;

	if (result == NULL)
		return;
	games = number(result, 0);
	PQclear(result);
	if (games > 0)
		age = queue_age(check);
	level = judge(games, check->queue);
	if (age >= 0 && judge(age, check->queue_age) > level)
		level = judge(age, check->queue_age);
	if (age > 0)
		add(check, level, name, "%.0f games wait for the archive, the oldest for %.0f s",
			games, age);
	else
		add(check, level, name, "%.0f games wait for the archive", games);
}

static void
check_standby(Check *check)
{
	const char *name = "standby";
	PGresult *result = ask(check, name,
						   "SELECT state, lag_ms, problems, last_problem"
						   " FROM gamestate.stat_standby");
	const char *state;
	double seconds;
	Level level;

	if (result == NULL)
		return;
	state = PQgetvalue(result, 0, 0);
	seconds = number(result, 1) / 1000.0;
	level = judge(seconds, check->lag);
	if (strcmp(state, "following") != 0 && level < LEVEL_WARNING)
		level = LEVEL_WARNING;
	if (strcmp(state, "failed") == 0 || strcmp(state, "stopped") == 0)
		level = LEVEL_CRITICAL;
	if (strcmp(state, "off") == 0)
		level = LEVEL_OK; /* somebody wanted it so */
	if (number(result, 2) > 0)
		add(check, level < LEVEL_WARNING ? LEVEL_WARNING : level, name,
			"%s, %.1f s behind; %s problems, the last: %s", state, seconds,
			PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 3));
	else
		add(check, level, name, "%s, %.1f s behind", state, seconds);
	PQclear(result);
}

static void
run_checks(Check *check)
{
	/* a server that is frozen is an answer too */
	(void) setenv("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT, 0);
	check->conn = connect_database(&check->common.connect);
	if (check->conn == NULL)
	{
		add(check, LEVEL_CRITICAL, "connection", "the server cannot be reached");
		return;
	}
	add(check, LEVEL_OK, "connection", "to database \"%s\"", PQdb(check->conn));
	if (!check_extension(check))
		return;
	check_worker(check, "launcher", "gamestate.memory",
				 "w.kind OPERATOR(pg_catalog.=) 'launcher'");
	if (check->standby)
		check_worker(check, "follower", "gamestate.standby_reads",
					 "w.kind OPERATOR(pg_catalog.=) 'follower' AND " OWN_DATABASE);
	else
		check_worker(check, "archiver", "gamestate.archiver",
					 "w.kind OPERATOR(pg_catalog.=) 'archiver' AND " OWN_DATABASE);
	if (check->standby)
		check_standby(check);
	else
		check_load(check);
	check_damage(check);
	check_memory(check);
	if (!check->standby)
		check_queue(check);
}

/* Prints the findings; returns the worst level as an exit status. */
static int
report(const Check *check)
{
	Buf json = {0};
	Level worst = LEVEL_OK;
	bool first = true;

	for (int i = (int) (sizeof(by_severity) / sizeof(by_severity[0])) - 1; i >= 0; i--)
		for (int j = 0; j < check->count; j++)
			if (check->findings[j].level == by_severity[i])
				worst = by_severity[i];
	for (size_t i = 0; i < sizeof(by_severity) / sizeof(by_severity[0]); i++)
		for (int j = 0; j < check->count; j++)
		{
			const Finding *finding = &check->findings[j];

			if (finding->level != by_severity[i])
				continue;
			if (!check->common.json)
			{
				printf("%s %s: %s\n", level_names[finding->level], finding->check,
					   finding->message);
				continue;
			}
			buf_puts(&json, first ? "[" : ",\n ");
			first = false;
			buf_printf(&json, "{\"check\": \"%s\", \"level\": \"%s\", \"message\": ",
					   finding->check, level_names[finding->level]);
			buf_json_string(&json, finding->message);
			buf_putc(&json, '}');
		}
	if (check->common.json)
		printf("%s]\n", json.data);
	buf_free(&json);
	return (int) worst;
}

int
cmd_check(int argc, char **argv)
{
	Check check = {.queue = {10000, 100000},
				   .queue_age = {60, 600},
				   .memory = {80, 95},
				   .lag = {5, 60}};
	const OptionSpec specs[] = {
		{0, "queue", OPTION_LEVELS, check.queue, 0, 0},
		{0, "queue-age", OPTION_LEVELS, check.queue_age, 0, 0},
		{0, "memory", OPTION_LEVELS, check.memory, 0, 0},
		{0, "lag", OPTION_LEVELS, check.lag, 0, 0},
	};
	const OptionTable table = {"check", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &check.common);
	int status;

	if (outcome == OPTIONS_DONE)
		return LEVEL_OK;
	if (outcome == OPTIONS_RUN && optind < argc)
		options_complain("check", "too many command-line arguments (first is \"%s\")",
						 argv[optind]);
	if (outcome == OPTIONS_WRONG || optind < argc)
		return LEVEL_UNKNOWN; /* what monitoring systems make of wrong options */
	run_checks(&check);
	status = report(&check);
	PQfinish(check.conn);
	return output_flush() ? status : LEVEL_UNKNOWN;
}
