/*
 * cmd_bench.c: gamestate bench: how fast a server is at games.
 *
 * The model:
 * 1. Rounds, in each of which every workload is measured for a short time, on
 *    games and, with --against, on ordinary tables and on Redis right after, so
 *    that whatever else the machine does meets all alike (bench.c measures).
 * 2. What is shown is the median of the rounds, with the smallest and the
 *    largest; ratios are taken within a round.  Percentiles are of all rounds.
 * 3. The same as JSON, and as a plot: a script for gnuplot that holds its data.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "command.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "stream.h"

#define MAX_ROUNDS 100

static const char *const workload_names[WORKLOAD_COUNT] = {"moves", "gets", "mixed",
														   "games", "contention"};
static const char *const store_names[STORE_COUNT] = {"gamestate", "table", "redis"};

/* A workload on a store, over all rounds. */
typedef struct Series
{
	double rates[MAX_ROUNDS];
	Hist *latency;
} Series;

typedef struct BenchCommand
{
	CommonOptions common;
	BenchOptions bench;
	const char *against;
	const char *plot;
	int rounds;
	bool wanted[WORKLOAD_COUNT];
	int store_count;
	char *descriptions[STORE_COUNT];
	Series series[WORKLOAD_COUNT][STORE_COUNT];
} BenchCommand;

static void
print_help(void)
{
	printf(
		"%s bench measures how fast a server is at games.\n\n"
		"Usage:\n  %s bench [OPTION]... [WORKLOAD]...\n\n"
		"Workloads (default: all):\n"
		"  moves       moves with version check, clients in different games\n"
		"  gets        reading states\n"
		"  mixed       four gets to a move\n"
		"  games       creating games and finishing them; they go to the archive\n"
		"  contention  moves of all clients in one game\n\n"
		"Games are of type " BENCH_GAME_TYPE
		" and are deleted at the end.  synchronous_commit\n"
		"is the server's; set it for a run with PGOPTIONS.\n\n"
		"Options:\n"
		"      --against=STORE,...  compare with ordinary tables (table: one statement a\n"
		"                           move, in schema " BENCH_SCHEMA "), with Redis\n"
		"                           (redis: a script a move, in keys " BENCH_GAME_TYPE
		":*)\n"
		"      --redis=ADDRESS      where that is: HOST, HOST:PORT or the path of a socket\n"
		"                           (default 127.0.0.1); a password is taken from\n"
		"                           REDISCLI_AUTH\n"
		"  -c, --clients=N          connections (default 8)\n"
		"  -P, --pipeline=N         calls in flight on each of them (default 1)\n"
		"  -g, --games=N            games (default 1000)\n"
		"  -T, --time=SECONDS       of each measurement (default 2)\n"
		"  -R, --rate=N             offer so many calls a second, whether or not the\n"
		"                           server keeps up (default: each client waits for its\n"
		"                           answer)\n"
		"      --rounds=N           (default 3)\n"
		"      --state-size=BYTES   (default 2048)\n"
		"      --event-size=BYTES   (default 120)\n"
		"      --plot=FILE          write a script for gnuplot; if FILE ends with .png,\n"
		"                           have gnuplot make it\n",
		PROGRAM_NAME, PROGRAM_NAME);
}

static int
compare_doubles(const void *a, const void *b)
{
	double left = *(const double *) a;
	double right = *(const double *) b;

	return (left > right) - (left < right);
}

/* Sorted copy: the first is the smallest, the last the largest. */
static void
sorted(const double *values, int count, double *out)
{
	memcpy(out, values, (size_t) count * sizeof(double));
	qsort(out, (size_t) count, sizeof(double), compare_doubles);
}

static double
median(const double *values, int count)
{
	double copy[MAX_ROUNDS];

	sorted(values, count, copy);
	return count % 2 == 1 ? copy[count / 2] : (copy[count / 2 - 1] + copy[count / 2]) / 2;
}

/* Games over another store, round by round. */
static double
median_ratio(const BenchCommand *command, int workload, int store)
{
	double ratios[MAX_ROUNDS];

	for (int i = 0; i < command->rounds; i++)
	{
		double other = command->series[workload][store].rates[i];

		ratios[i] =
			other > 0 ? command->series[workload][STORE_GAMESTATE].rates[i] / other : 0;
	}
	return median(ratios, command->rounds);
}

/* The next combination of a wanted workload and a wanted store after this one. */
static bool
next_series(const BenchCommand *command, int *workload, int *store)
{
	do
	{
		if (++*store == STORE_COUNT)
		{
			*store = 0;
			++*workload;
		}
	} while (*workload < WORKLOAD_COUNT &&
			 (!command->wanted[*workload] || !command->bench.stores[*store]));
	return *workload < WORKLOAD_COUNT;
}

static double
percentile_us(const Series *series, double percent)
{
	return (double) hist_percentile(series->latency, percent) / 1e3;
}

static void
print_results(const BenchCommand *command)
{
	char number[3][NUMBER_SIZE];
	int w = 0;
	int store = -1;

	for (int i = 0; i < STORE_COUNT; i++)
		if (command->descriptions[i] != NULL)
			printf("%s: %s\n", store_names[i], command->descriptions[i]);
	printf("\n%-11s %-10s %10s %22s %10s %10s %10s%s\n", "workload", "on", "calls/s",
		   "smallest to largest", "p50 us", "p99 us", "max us",
		   command->store_count > 1 ? "  gamestate / this" : "");
	while (next_series(command, &w, &store))
	{
		const Series *series = &command->series[w][store];
		double order[MAX_ROUNDS];
		char range[2 * NUMBER_SIZE + 4];

		sorted(series->rates, command->rounds, order);
		snprintf(range, sizeof(range), "%s to %s",
				 format_count(number[1], (uint64_t) order[0]),
				 format_count(number[2], (uint64_t) order[command->rounds - 1]));
		printf("%-11s %-10s %10s %22s %10.1f %10.1f %10.1f", workload_names[w],
			   store_names[store],
			   format_count(number[0], (uint64_t) median(series->rates, command->rounds)),
			   range, percentile_us(series, 50), percentile_us(series, 99),
			   percentile_us(series, 100));
		if (store != STORE_GAMESTATE)
			printf("  %16.2f", median_ratio(command, w, store));
		printf("\n");
	}
}

static void
print_json(const BenchCommand *command)
{
	bool first = true;
	int w = 0;
	int store = -1;

	printf("{\"clients\": %d, \"pipeline\": %d, \"games\": %d, \"state_bytes\": %d, "
		   "\"offered\": %.1f, \"rounds\": %d, \"seconds\": %.3f, \"on\": {",
		   command->bench.clients, command->bench.pipeline, command->bench.games,
		   command->bench.state_size, command->bench.rate, command->rounds,
		   command->bench.seconds);
	for (int i = 0; i < STORE_COUNT; i++)
	{
		Buf text = {0};

		if (command->descriptions[i] == NULL)
			continue;
		buf_json_string(&text, command->descriptions[i]);
		printf("%s\"%s\": %s", i > 0 ? ", " : "", store_names[i], text.data);
		buf_free(&text);
	}
	printf("}, \"results\": [");
	while (next_series(command, &w, &store))
	{
		const Series *series = &command->series[w][store];

		printf("%s\n {\"workload\": \"%s\", \"on\": \"%s\", \"calls_per_second\": %.1f, "
			   "\"rounds\": [",
			   first ? "" : ",", workload_names[w], store_names[store],
			   median(series->rates, command->rounds));
		first = false;
		for (int i = 0; i < command->rounds; i++)
			printf("%s%.1f", i > 0 ? ", " : "", series->rates[i]);
		printf("], \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f",
			   percentile_us(series, 50), percentile_us(series, 99),
			   percentile_us(series, 100));
		if (store != STORE_GAMESTATE)
			printf(", \"gamestate_times\": %.3f", median_ratio(command, w, store));
		printf("}");
	}
	printf("]}\n");
}

/* ---- the plot ---- */

static void
make_script(const BenchCommand *command, const char *png, Buf *out)
{
	buf_puts(out, "# gnuplot\n$data << EOD\nworkload");
	for (int s = 0; s < STORE_COUNT; s++)
		if (command->bench.stores[s])
			buf_printf(out, " %s", store_names[s]);
	buf_puts(out, "\n");
	for (int w = 0; w < WORKLOAD_COUNT; w++)
	{
		if (!command->wanted[w])
			continue;
		buf_puts(out, workload_names[w]);
		for (int s = 0; s < STORE_COUNT; s++)
			if (command->bench.stores[s])
				buf_printf(out, " %.1f",
						   median(command->series[w][s].rates, command->rounds));
		buf_puts(out, "\n");
	}
	buf_puts(out, "EOD\nset terminal pngcairo size 900,500\n");
	if (png != NULL)
		buf_printf(out, "set output \"%s\"\n", png);
	buf_puts(out, "set style data histograms\nset style fill solid 0.8 border -1\n"
				  "set yrange [0:*]\nset ylabel \"calls a second\"\nset grid ytics\n");
	buf_printf(out,
			   "set title \"%d clients, %d in flight, states of %d bytes\"\n"
			   "plot for [i=2:%d] $data using i:xtic(1) title columnheader(i)\n",
			   command->bench.clients, command->bench.pipeline, command->bench.state_size,
			   command->store_count + 1);
}

static bool
run_gnuplot(const char *script)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
	{
		execlp("gnuplot", "gnuplot", script, (char *) NULL);
		_exit(127);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		WEXITSTATUS(status) == 0)
		return true;
	log_error("gnuplot could not be run");
	log_hint("Its script is \"%s\": run gnuplot on it where it is installed.", script);
	return false;
}

static bool
write_plot(const BenchCommand *command)
{
	size_t len = strlen(command->plot);
	bool png = len > 4 && strcmp(command->plot + len - 4, ".png") == 0;
	LineWriter *writer;
	Buf path = {0};
	Buf script = {0};
	bool ok;

	if (strpbrk(command->plot, "\"\\\n") != NULL)
	{
		log_error("the name of the plot's file may not have quotes or backslashes in it");
		return false;
	}
	buf_printf(&path, "%s%s", command->plot, png ? ".gnuplot" : "");
	make_script(command, png ? command->plot : NULL, &script);
	writer = writer_open(path.data, 0);
	ok = writer != NULL && writer_line(writer, script.data, script.len);
	if (writer != NULL && ok)
		ok = writer_close(writer);
	else
		writer_abandon(writer);
	if (ok && png)
		ok = run_gnuplot(path.data);
	buf_free(&path);
	buf_free(&script);
	return ok;
}

/* ---- the run ---- */

/* Where to measure; NULL after a message. */
static char *
make_conninfo(const ConnectOptions *options)
{
	PGconn *conn = connect_gamestate(options);
	char *conninfo = NULL;

	if (conn != NULL)
		conninfo = connection_string(conn);
	disconnect_database(conn);
	return conninfo;
}

static bool
run_rounds(BenchCommand *command, Bench *bench)
{
	uint64_t total = 0;
	uint64_t done = 0;

	for (int w = 0; w < WORKLOAD_COUNT; w++)
		total +=
			command->wanted[w] ? (uint64_t) (command->rounds * command->store_count) : 0;
	progress_begin("measuring", "measurements", total);
	for (int i = 0; i < command->rounds; i++)
	{
		int w = 0;
		int s = -1;

		while (next_series(command, &w, &s))
		{
			Series *series = &command->series[w][s];
			BenchFigures figures;

			if (!bench_run(bench, (BenchWorkload) w, (BenchStore) s, series->latency,
						   &figures))
			{
				progress_abandon();
				return false;
			}
			series->rates[i] = (double) figures.calls / figures.seconds;
			done++;
			if (progress_due())
				progress_update(done, (double) done / (double) total, NULL);
		}
	}
	progress_end(done, NULL);
	return true;
}

static bool
run_bench(BenchCommand *command)
{
	char *conninfo = make_conninfo(&command->common.connect);
	Bench *bench = NULL;
	bool ok = false;

	if (conninfo != NULL)
	{
		command->bench.conninfo = conninfo;
		bench = bench_open(&command->bench);
	}
	for (int s = 0; bench != NULL && s < STORE_COUNT; s++)
		if (command->bench.stores[s])
			command->descriptions[s] = bench_describe(bench, (BenchStore) s);
	for (int w = 0; w < WORKLOAD_COUNT; w++)
		for (int s = 0; s < STORE_COUNT; s++)
			command->series[w][s].latency = hist_create();
	if (bench != NULL)
		ok = run_rounds(command, bench);
	if (interrupted)
		log_error("interrupted");
	bench_close(bench);
	if (ok && command->common.json)
		print_json(command);
	else if (ok)
		print_results(command);
	if (ok && command->plot != NULL)
		ok = write_plot(command);
	for (int w = 0; w < WORKLOAD_COUNT; w++)
		for (int s = 0; s < STORE_COUNT; s++)
			hist_free(command->series[w][s].latency);
	for (int s = 0; s < STORE_COUNT; s++)
		free(command->descriptions[s]);
	free(conninfo);
	return output_flush() && ok;
}

/* The stores of --against, with commas in between; false after a message. */
static bool
take_stores(BenchCommand *command)
{
	char *list = xstrdup(command->against != NULL ? command->against : "");
	char *rest = list;
	char *name;
	bool ok = true;

	command->bench.stores[STORE_GAMESTATE] = true;
	while (ok && (name = strsep(&rest, ",")) != NULL)
	{
		int store = STORE_GAMESTATE + 1;

		if (command->against == NULL)
			break;
		while (store < STORE_COUNT && strcmp(name, store_names[store]) != 0)
			store++;
		ok = store < STORE_COUNT;
		if (ok)
			command->bench.stores[store] = true;
		else
			options_complain("bench", "invalid value \"%s\" for option --against", name);
	}
	free(list);
	for (int i = 0; i < STORE_COUNT; i++)
		command->store_count += command->bench.stores[i] ? 1 : 0;
	return ok;
}

/* Workloads are operands; false after a message. */
static bool
take_operands(BenchCommand *command, int argc, char **argv)
{
	for (int i = optind; i < argc; i++)
	{
		int w = 0;

		while (w < WORKLOAD_COUNT && strcmp(argv[i], workload_names[w]) != 0)
			w++;
		if (w == WORKLOAD_COUNT)
		{
			options_complain("bench", "unrecognized workload \"%s\"", argv[i]);
			return false;
		}
		command->wanted[w] = true;
	}
	for (int w = 0; optind == argc && w < WORKLOAD_COUNT; w++)
		command->wanted[w] = true;
	if (!take_stores(command))
		return false;
	if (command->bench.games < command->bench.clients * command->bench.pipeline)
	{
		options_complain("bench", "there must be a game for each call in flight");
		return false;
	}
	return true;
}

int
cmd_bench(int argc, char **argv)
{
	BenchCommand *command = xcalloc(1, sizeof(*command));
	BenchOptions *bench = &command->bench;
	uint64_t rate = 0;
	const OptionSpec specs[] = {
		{0, "against", OPTION_TEXT, &command->against, 0, 0},
		{0, "redis", OPTION_TEXT, &bench->redis, 0, 0},
		{'c', "clients", OPTION_INT, &bench->clients, 1, 1000},
		{'P', "pipeline", OPTION_INT, &bench->pipeline, 1, 1000},
		{'g', "games", OPTION_INT, &bench->games, 1, 10000000},
		{'T', "time", OPTION_SECONDS, &bench->seconds, 0, 1000000},
		{'R', "rate", OPTION_UINT64, &rate, 1, 1000000000},
		{0, "rounds", OPTION_INT, &command->rounds, 1, MAX_ROUNDS},
		{0, "state-size", OPTION_INT, &bench->state_size, 40, 1000000},
		{0, "event-size", OPTION_INT, &bench->event_size, 40, 60000},
		{0, "plot", OPTION_TEXT, &command->plot, 0, 0},
	};
	const OptionTable table = {"bench", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome;
	int status = EXIT_BAD_USE;

	*bench = (BenchOptions){.redis = "127.0.0.1",
							.clients = 8,
							.pipeline = 1,
							.games = 1000,
							.state_size = 2048,
							.event_size = 120,
							.seconds = 2,
							.warmup = 0.2};
	command->rounds = 3;
	outcome = options_parse(argc, argv, &table, &command->common);
	if (outcome == OPTIONS_DONE)
		status = EXIT_OK;
	else if (outcome == OPTIONS_RUN && take_operands(command, argc, argv))
	{
		bench->rate = (double) rate;
		if (bench->seconds < 0.01)
			bench->seconds = 0.01;
		install_signal_handlers();
		status = exit_status(run_bench(command));
	}
	free(command);
	return status;
}
