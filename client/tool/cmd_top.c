/*
 * cmd_top.c: gamestate top: what happens now, like top(1) and pg_top.
 *
 * The model:
 * 1. Every few seconds one query takes a sample of the statistics views; what
 *    is shown as a rate is the difference of two samples.
 * 2. Calls and their mean times come from pg_stat_user_functions, which counts
 *    only what "track_functions" says; without it the screen says so.
 * 3. On a terminal the screen is drawn in place, with plain ANSI sequences on
 *    the alternate screen, and q or an interrupt ends it.  With -b, or when
 *    stdout is no terminal, samples are written one after another.
 * 4. A server that goes away ends it: what is shown must be true.
 */
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "options.h"
#include "output.h"

#define MAX_FUNCTIONS 12

typedef struct TopOptions
{
	CommonOptions common;
	bool batch;
	int samples; /* 0 = until interrupted */
	double delay;
} TopOptions;

/* Counters, and what is so at the moment. */
typedef struct Sample
{
	uint64_t taken_at;
	PGresult *general;	 /* one row, see general_sql */
	PGresult *functions; /* name, calls, milliseconds */
	PGresult *workers;
} Sample;

typedef struct Top
{
	const TopOptions *options;
	PGconn *conn;
	Sample now;
	Sample before; /* general NULL = there is none yet */
	struct termios shown;
	bool drawing; /* the terminal is ours */
	int rows;	  /* of the terminal; 0 = any number */
	Buf screen;
} Top;

static void
print_help(void)
{
	printf("%s top shows what happens to the games of a database.\n\n"
		   "Usage:\n  %s top [OPTION]...\n\n"
		   "Calls and their times are known when \"track_functions\" is \"all\".\n"
		   "Key q ends it.\n\n"
		   "Options:\n"
		   "  -b, --batch              write one sample after another, without drawing\n"
		   "  -n, --samples=N          end after so many (default: go on)\n"
		   "  -s, --delay=SECONDS      between two samples (default 2)\n",
		   PROGRAM_NAME, PROGRAM_NAME);
}

/* Columns of general_sql. */
enum
{
	GENERAL_STANDBY,
	GENERAL_GAMES,
	GENERAL_USED,
	GENERAL_TOTAL,
	GENERAL_OWN,
	GENERAL_QUEUE,
	GENERAL_LINGERING,
	GENERAL_JOURNAL_STATE,
	GENERAL_JOURNAL_BYTES,
	GENERAL_JOURNAL_LIMIT,
	GENERAL_ROTATIONS,
	GENERAL_PROBLEMS,
	GENERAL_LSN,
	GENERAL_ACTIVE,
	GENERAL_SESSIONS,
	GENERAL_COMMITS,
	GENERAL_ARCHIVED,
	GENERAL_RAW_BYTES,
	GENERAL_STORED_BYTES,
	GENERAL_TRACKED,
	GENERAL_STANDBYS,
	GENERAL_STANDBY_LAG
};

/* The views' schemas are named and the operators are those of a fixed path. */
static const char general_sql[] =
	"SELECT pg_is_in_recovery(), m.games, m.used_bytes, m.total_bytes, m.database_bytes,"
	" m.archive_queue, m.archived_in_memory, j.state, j.journal_bytes, j.journal_limit,"
	" j.rotations, j.problems,"
	" CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
	"  ELSE pg_current_wal_insert_lsn() END - '0/0',"
	" (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
	"  AND backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()),"
	" (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
	"  AND backend_type = 'client backend' AND pid <> pg_backend_pid()),"
	" (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),"
	" w.games, w.raw_bytes, w.compressed_bytes, current_setting('track_functions'),"
	" (SELECT count(*) FROM pg_stat_replication),"
	" coalesce((SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication),"
	"  (SELECT max(lag_ms) / 1000 FROM gamestate.stat_standby))"
	" FROM gamestate.stat_memory m, gamestate.stat_journal j,"
	" (SELECT sum(games)::bigint, sum(raw_bytes)::bigint, sum(compressed_bytes)::bigint"
	"   FROM gamestate.stat_workers WHERE database = current_database())"
	"  AS w(games, raw_bytes, compressed_bytes)";

static const char functions_sql[] =
	"SELECT funcname, sum(calls)::bigint, sum(total_time)"
	" FROM pg_stat_user_functions WHERE schemaname = 'gamestate'"
	" AND funcname NOT LIKE 'stat\\_%'"
	" GROUP BY funcname ORDER BY sum(calls) DESC, funcname";

static const char workers_sql[] =
	"SELECT kind, coalesce(pid::text, '-') AS pid, state, failures,"
	" coalesce(last_error, '') AS last_error"
	" FROM gamestate.stat_workers WHERE database IS NULL OR database = current_database()"
	" ORDER BY kind";

static void
free_sample(Sample *sample)
{
	PQclear(sample->general);
	PQclear(sample->functions);
	PQclear(sample->workers);
	memset(sample, 0, sizeof(*sample));
}

static bool
take_sample(Top *top)
{
	free_sample(&top->before);
	top->before = top->now;
	memset(&top->now, 0, sizeof(top->now));
	top->now.taken_at = now_ns();
	top->now.general =
		run_query(top->conn, "query of the statistics", general_sql, 0, NULL);
	if (top->now.general != NULL)
		top->now.functions = run_query(top->conn, "query of the functions' statistics",
									   functions_sql, 0, NULL);
	if (top->now.functions != NULL)
		top->now.workers =
			run_query(top->conn, "query of the workers", workers_sql, 0, NULL);
	return top->now.workers != NULL;
}

static double
value(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column)
			   ? 0
			   : strtod(PQgetvalue(result, row, column), NULL);
}

static double
seconds_between(const Top *top)
{
	return (double) (top->now.taken_at - top->before.taken_at) / 1e9;
}

/* A counter of general_sql as a rate; 0 for the first sample. */
static double
rate(const Top *top, int column)
{
	if (top->before.general == NULL)
		return 0;
	return (value(top->now.general, 0, column) - value(top->before.general, 0, column)) /
		   seconds_between(top);
}

/* The row of a function in the sample before; -1 = it was not called yet. */
static int
row_before(const Top *top, const char *name)
{
	const PGresult *before = top->before.functions;

	for (int row = 0; before != NULL && row < PQntuples(before); row++)
		if (strcmp(PQgetvalue(before, row, 0), name) == 0)
			return row;
	return -1;
}

/* Calls a second and microseconds a call since the sample before. */
static void
function_rate(const Top *top, int row, double *calls, double *us)
{
	int old = row_before(top, PQgetvalue(top->now.functions, row, 0));
	double n = value(top->now.functions, row, 1);
	double ms = value(top->now.functions, row, 2);

	*calls = *us = 0;
	if (top->before.general == NULL)
		return;
	if (old >= 0)
	{
		n -= value(top->before.functions, old, 1);
		ms -= value(top->before.functions, old, 2);
	}
	if (n <= 0)
		return; /* or somebody has reset the statistics */
	*calls = n / seconds_between(top);
	*us = ms * 1000 / n;
}

/* ---- as text ---- */

static const char *
bytes_text(char *out, double bytes)
{
	return format_bytes(out, bytes > 0 ? (uint64_t) bytes : 0);
}

static const char *
count_text(char *out, double count)
{
	return format_count(out, count > 0 ? (uint64_t) (count + 0.5) : 0);
}

static void
append_header(Top *top)
{
	const PGresult *g = top->now.general;
	Buf *out = &top->screen;
	time_t now = time(NULL);
	struct tm local;
	char clock[32] = "";
	char a[NUMBER_SIZE];
	char b[NUMBER_SIZE];

	if (localtime_r(&now, &local) != NULL)
		strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	buf_printf(out, "gamestate top - %s  database %s on a %s, %s of %s sessions active\n",
			   clock, PQdb(top->conn),
			   PQgetvalue(g, 0, GENERAL_STANDBY)[0] == 't' ? "standby" : "primary",
			   PQgetvalue(g, 0, GENERAL_ACTIVE), PQgetvalue(g, 0, GENERAL_SESSIONS));
	buf_printf(out, "Games:    %s in memory, ",
			   count_text(a, value(g, 0, GENERAL_GAMES)));
	buf_printf(out, "%s wait for the archive, ",
			   count_text(a, value(g, 0, GENERAL_QUEUE)));
	buf_printf(out, "%s archived and kept for snapshots\n",
			   count_text(a, value(g, 0, GENERAL_LINGERING)));
	buf_printf(out, "Memory:   %s of %s in use (%.0f %%), ",
			   bytes_text(a, value(g, 0, GENERAL_USED)),
			   bytes_text(b, value(g, 0, GENERAL_TOTAL)),
			   100 * value(g, 0, GENERAL_USED) / value(g, 0, GENERAL_TOTAL));
	buf_printf(out, "%s by this database\n", bytes_text(a, value(g, 0, GENERAL_OWN)));
	buf_printf(out, "Journal:  %s, %s of %s", PQgetvalue(g, 0, GENERAL_JOURNAL_STATE),
			   bytes_text(a, value(g, 0, GENERAL_JOURNAL_BYTES)),
			   bytes_text(b, value(g, 0, GENERAL_JOURNAL_LIMIT)));
	buf_printf(out, " (%s rotations), %s problems\n", PQgetvalue(g, 0, GENERAL_ROTATIONS),
			   PQgetvalue(g, 0, GENERAL_PROBLEMS));
	buf_printf(out, "Archiver: %s games/s, ", count_text(a, rate(top, GENERAL_ARCHIVED)));
	buf_printf(out, "%s/s as %s/s\n", bytes_text(a, rate(top, GENERAL_RAW_BYTES)),
			   bytes_text(b, rate(top, GENERAL_STORED_BYTES)));
	buf_printf(out, "Server:   %s transactions/s, ",
			   count_text(a, rate(top, GENERAL_COMMITS)));
	buf_printf(out, "%s WAL/s", bytes_text(a, rate(top, GENERAL_LSN)));
	if (value(g, 0, GENERAL_STANDBYS) > 0)
		buf_printf(out, ", %s standbys", PQgetvalue(g, 0, GENERAL_STANDBYS));
	if (!PQgetisnull(g, 0, GENERAL_STANDBY_LAG))
		buf_printf(out, ", the slowest %.3f s behind", value(g, 0, GENERAL_STANDBY_LAG));
	buf_puts(out, "\n");
}

static void
append_functions(Top *top)
{
	Buf *out = &top->screen;
	char number[NUMBER_SIZE];
	int shown = 0;

	if (strcmp(PQgetvalue(top->now.general, 0, GENERAL_TRACKED), "all") != 0)
	{
		buf_puts(out, "\nCalls are not counted: SET track_functions = 'all', for the "
					  "server or the game server's role.\n");
		return;
	}
	buf_printf(out, "\n%-22s %12s %12s %14s\n", "FUNCTION", "CALLS/S", "US/CALL",
			   "CALLS");
	for (int row = 0; row < PQntuples(top->now.functions) && shown < MAX_FUNCTIONS; row++)
	{
		double calls;
		double us;

		function_rate(top, row, &calls, &us);
		buf_printf(out, "%-22s %12s", PQgetvalue(top->now.functions, row, 0),
				   count_text(number, calls));
		buf_printf(out, " %12.1f %14s\n", us,
				   count_text(number, value(top->now.functions, row, 1)));
		shown++;
	}
}

static void
append_workers(Top *top)
{
	const PGresult *workers = top->now.workers;
	Buf *out = &top->screen;

	buf_printf(out, "\n%-12s %8s %-12s %8s  %s\n", "WORKER", "PID", "STATE", "FAILURES",
			   "LAST ERROR");
	for (int row = 0; row < PQntuples(workers); row++)
		buf_printf(out, "%-12s %8s %-12s %8s  %.80s\n", PQgetvalue(workers, row, 0),
				   PQgetvalue(workers, row, 1), PQgetvalue(workers, row, 2),
				   PQgetvalue(workers, row, 3), PQgetvalue(workers, row, 4));
}

/* ---- as JSON, a line a sample ---- */

static void
append_json(Top *top)
{
	static const struct
	{
		const char *name;
		int column;
		bool is_rate;
	} members[] = {
		{"games", GENERAL_GAMES, false},
		{"memory_used_bytes", GENERAL_USED, false},
		{"memory_total_bytes", GENERAL_TOTAL, false},
		{"database_bytes", GENERAL_OWN, false},
		{"archive_queue", GENERAL_QUEUE, false},
		{"archived_in_memory", GENERAL_LINGERING, false},
		{"journal_bytes", GENERAL_JOURNAL_BYTES, false},
		{"journal_limit", GENERAL_JOURNAL_LIMIT, false},
		{"journal_problems", GENERAL_PROBLEMS, false},
		{"sessions", GENERAL_SESSIONS, false},
		{"active_sessions", GENERAL_ACTIVE, false},
		{"standbys", GENERAL_STANDBYS, false},
		{"standby_lag_seconds", GENERAL_STANDBY_LAG, false},
		{"archived_per_second", GENERAL_ARCHIVED, true},
		{"transactions_per_second", GENERAL_COMMITS, true},
		{"wal_bytes_per_second", GENERAL_LSN, true},
	};
	const PGresult *g = top->now.general;
	Buf *out = &top->screen;
	bool first = true;

	buf_puts(out, "{\"journal_state\": ");
	buf_json_string(out, PQgetvalue(g, 0, GENERAL_JOURNAL_STATE));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
	{
		buf_printf(out, ", \"%s\": ", members[i].name);
		if (members[i].is_rate && top->before.general != NULL)
			buf_printf(out, "%.1f", rate(top, members[i].column));
		else if (members[i].is_rate || PQgetisnull(g, 0, members[i].column))
			buf_puts(out, "null");
		else
			buf_printf(out, "%s", PQgetvalue(g, 0, members[i].column));
	}
	buf_puts(out, ", \"functions\": {");
	for (int row = 0; row < PQntuples(top->now.functions); row++)
	{
		double calls;
		double us;

		function_rate(top, row, &calls, &us);
		buf_puts(out, first ? "" : ", ");
		first = false;
		buf_json_string(out, PQgetvalue(top->now.functions, row, 0));
		buf_printf(out,
				   ": {\"calls\": %s, \"calls_per_second\": %.1f, \"us_per_call\": %.1f}",
				   PQgetvalue(top->now.functions, row, 1), calls, us);
	}
	buf_puts(out, "}, \"workers\": ");
	output_json_rows(out, top->now.workers);
	buf_puts(out, "}");
	for (size_t i = 0; i < out->len; i++)
		if (out->data[i] == '\n')
			out->data[i] = ' '; /* one line a sample */
	buf_puts(out, "\n");
}

/* ---- the terminal ---- */

static void
begin_drawing(Top *top)
{
	struct termios raw;

	if (top->options->batch || top->options->common.json || !isatty(STDOUT_FILENO))
		return;
	top->drawing = true;
	if (tcgetattr(STDIN_FILENO, &top->shown) == 0)
	{
		raw = top->shown;
		raw.c_lflag &= ~(tcflag_t) (ECHO | ICANON);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l", stdout); /* the other screen, without a cursor */
}

static void
end_drawing(Top *top)
{
	if (!top->drawing)
		return;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &top->shown);
	top->drawing = false;
}

/* As many lines as the screen has, each cleared to its end. */
static void
draw(const Top *top)
{
	struct winsize size;
	int rows = 24;
	const char *line = top->screen.data;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
		rows = size.ws_row;
	fputs("\033[H", stdout);
	for (int row = 0; row < rows - 1 && *line != '\0'; row++)
	{
		size_t len = strcspn(line, "\n");

		printf("%.*s\033[K\n", (int) len, line);
		line += len + (line[len] == '\n');
	}
	fputs("\033[J", stdout);
}

static void
show(Top *top)
{
	buf_reset(&top->screen);
	if (top->options->common.json)
		append_json(top);
	else
	{
		append_header(top);
		append_functions(top);
		append_workers(top);
	}
	if (top->drawing)
		draw(top);
	else
		printf("%s%s", top->screen.data, top->options->common.json ? "" : "\n");
}

/* Until the next sample is due; false = it is to end. */
static bool
wait_for_next(const Top *top)
{
	uint64_t until = top->now.taken_at + (uint64_t) (top->options->delay * 1e9);

	while (!interrupted)
	{
		struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
		uint64_t now = now_ns();
		char key;

		if (now >= until)
			return true;
		if (!top->drawing)
			(void) pause_ms((int) ((until - now) / 1000000 + 1));
		else if (poll(&keys, 1, (int) ((until - now) / 1000000 + 1)) > 0 &&
				 (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))
			return false;
	}
	return false;
}

static bool
run_top(Top *top)
{
	bool ok = run_command(top->conn, "SET search_path",
						  "SET search_path = pg_catalog, pg_temp");

	for (int i = 0; ok; i++)
	{
		ok = take_sample(top);
		if (!ok)
			break;
		if (i == 0)
			begin_drawing(top);
		show(top);
		if (fflush(stdout) != 0 || ferror(stdout))
		{
			end_drawing(top);
			return output_flush();
		}
		if (top->options->samples > 0 && i + 1 >= top->options->samples)
			break;
		if (!wait_for_next(top))
			break;
	}
	end_drawing(top);
	return ok || interrupted;
}

int
cmd_top(int argc, char **argv)
{
	TopOptions options = {.delay = 2};
	const OptionSpec specs[] = {
		{'b', "batch", OPTION_FLAG, &options.batch, 0, 0},
		{'n', "samples", OPTION_INT, &options.samples, 1, 1000000000},
		{'s', "delay", OPTION_SECONDS, &options.delay, 0, 1000000},
	};
	const OptionTable table = {"top", print_help, specs, sizeof(specs) / sizeof(specs[0]),
							   false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &options.common);
	Top top = {.options = &options};
	bool ok;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind < argc)
	{
		options_complain("top", "too many command-line arguments (first is \"%s\")",
						 argv[optind]);
		return EXIT_BAD_USE;
	}
	if (options.delay < 0.1)
		options.delay = 0.1;
	install_signal_handlers();
	top.conn = connect_gamestate(&options.common.connect);
	ok = top.conn != NULL && run_top(&top);
	disconnect_database(top.conn);
	free_sample(&top.now);
	free_sample(&top.before);
	buf_free(&top.screen);
	return exit_status(ok);
}
