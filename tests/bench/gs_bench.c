/*
 * gs_bench: one measurement of `make bench`: makes the workload's games, runs the
 * load, checks every game, removes them, and prints the figures as a line of JSON.
 *
 * Exit status 1 and a message when a call failed or a count is wrong.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gs_bench.h"

#define PATIENCE_NS 60000000000LL

void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "gs_bench: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

void *
must_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		die("out of memory");
	return p;
}

int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* splitmix64 */
uint64_t
next_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9E3779B97F4A7C15ULL);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return z ^ (z >> 31);
}

/* query: run it, and die if it fails */
PGresult *
query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult *res = PQexecParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);

	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		die("%s\n%s", sql, PQresultErrorMessage(res));
	return res;
}

/* connect_server: by libpq's environment variables */
PGconn *
connect_server(const Options *options)
{
	PGconn *conn = PQconnectdb("application_name=gs_bench");

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	PQclear(query(conn,
				  options->sync ? "SET synchronous_commit = on"
								: "SET synchronous_commit = off",
				  0, NULL));
	if (options->workload->setting != NULL)
		PQclear(query(conn, options->workload->setting, 0, NULL));
	return conn;
}

/* wait_archived: until nothing waits for the archiver any more */
static void
wait_archived(PGconn *control)
{
	int64_t left = backlog_left(control);
	int64_t deadline = now_ns() + PATIENCE_NS;

	while (left > 0)
	{
		int64_t before = left;

		nanosleep(&(struct timespec){0, 10000000}, NULL);
		left = backlog_left(control);
		if (left < before)
			deadline = now_ns() + PATIENCE_NS;
		if (now_ns() > deadline)
			die("%lld finished games are not being archived", (long long) left);
	}
}

/*
 * close_gate: keep the archiver from inserting while its backlog is made, with a
 * lock that lets readers pass
 */
static PGconn *
close_gate(PGconn *control, const Options *options)
{
	PGconn *gate = connect_server(options);

	/* The partitions should be there already. */
	backlog_create(control, 1);
	wait_archived(control);
	PQclear(query(gate, "BEGIN", 0, NULL));
	PQclear(query(gate, "LOCK TABLE gamestate.archive IN SHARE MODE", 0, NULL));
	backlog_create(control, options->backlog);
	return gate;
}

static void
usage(void)
{
	printf(
		"usage: gs_bench WORKLOAD [OPTION ...]\n"
		"\n"
		"  -c N   connections (8)              -j N   threads (2)\n"
		"  -t S   seconds measured (5)         -w S   seconds of warm-up before (0.5)\n"
		"  -g N   games (2000)                 -s N   seed (1)\n"
		"  -r N   open loop: N calls a second  -b N   N finished games for the archiver\n"
		"  -S     synchronous_commit = on\n"
		"\n"
		"workloads:");
	workload_list();
}

static void
parse_options(int argc, char **argv, Options *options)
{
	int option;

	*options = (Options){.clients = 8,
						 .threads = 2,
						 .games = 2000,
						 .seconds = 5,
						 .warmup = 0.5,
						 .seed = 1};
	while ((option = getopt(argc, argv, "c:j:t:w:g:s:r:b:Sh")) != -1)
	{
		switch (option)
		{
			case 'c':
				options->clients = atoi(optarg);
				break;
			case 'j':
				options->threads = atoi(optarg);
				break;
			case 't':
				options->seconds = atof(optarg);
				break;
			case 'w':
				options->warmup = atof(optarg);
				break;
			case 'g':
				options->games = atoi(optarg);
				break;
			case 's':
				options->seed = (unsigned) atoi(optarg);
				break;
			case 'r':
				options->rate = atof(optarg);
				break;
			case 'b':
				options->backlog = atoi(optarg);
				break;
			case 'S':
				options->sync = true;
				break;
			case 'h':
				usage();
				exit(0);
			default:
				usage();
				exit(2);
		}
	}
	if (optind + 1 != argc)
	{
		usage();
		exit(2);
	}
	options->workload = workload_find(argv[optind]);
	if (!options->workload)
		die("no such workload: %s", argv[optind]);
	if (options->threads < 1 || options->clients < options->threads ||
		options->games < options->clients || options->seconds <= 0)
		die("at least 1 thread, a connection for each thread, a game for each connection");
}

int
main(int argc, char **argv)
{
	Options options;
	Result result = {0};
	PGconn *control;
	PGconn *gate = NULL;
	Game *games;

	parse_options(argc, argv, &options);
	control = connect_server(&options);
	games = games_create(control, &options);
	if (options.backlog > 0)
		gate = close_gate(control, &options);
	/* No measurement pays for the pages that the one before it has changed. */
	PQclear(query(control, "CHECKPOINT", 0, NULL));

	load_run(&options, games, control, gate, &result);

	games_check(control, &options, games);
	games_remove(control, &options, games);
	printf(
		"{\"workload\":\"%s\",\"sync\":%s,\"clients\":%d,\"games\":%d,\"offered\":%.0f,"
		"\"backlog\":%d,\"calls\":%lld,\"seconds\":%.3f,\"rate\":%.1f,\"p50_us\":%.1f,"
		"\"p99_us\":%.1f,\"max_us\":%.1f,\"archived_rate\":%.1f}\n",
		options.workload->name, options.sync ? "true" : "false", options.clients,
		options.games, options.rate, options.backlog, (long long) result.calls,
		result.seconds, (double) result.calls / result.seconds, result.p50_us,
		result.p99_us, result.max_us, (double) result.archived / result.seconds);
	if (gate)
	{
		/* The next measurement must not meet this one's backlog. */
		wait_archived(control);
		PQfinish(gate);
	}
	PQfinish(control);
	return 0;
}
