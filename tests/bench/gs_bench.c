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

#define QUIET_NS 3000000000LL

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

/*
 * wait_quiet: until our workers and autovacuum have done what the measurement
 * before has left them to do, or have shown that they will not be done soon
 */
static void
wait_quiet(PGconn *control)
{
	int64_t deadline = now_ns() + QUIET_NS;

	while (now_ns() < deadline &&
		   query_int(control,
					 "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
					 " AND (backend_type LIKE 'gamestate%'"
					 " OR backend_type = 'autovacuum worker')") > 0)
		nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static void
usage(void)
{
	printf(
		"usage: gs_bench WORKLOAD [OPTION ...]\n"
		"       gs_bench --first DIRECTORY GAME_ID   until a server that starts answers\n"
		"       gs_bench --feed HOW RATE WAITERS S   from moves to who waits for them\n"
		"       gs_bench --deadline GAMES S          deadlines within so many seconds\n"
		"\n"
		"  -c N   connections (8)              -j N   threads (2)\n"
		"  -t S   seconds measured (5)         -w S   seconds of warm-up before (0.5)\n"
		"  -n N   N calls, no matter how long  -P N   pipelined, N calls in flight\n"
		"  -g N   games (2000)                 -G N   N calls in one transaction, with -P\n"
		"  -r N   open loop: N calls a second  -b N   N finished games for the archiver\n"
		"  -R     rotate the journal meanwhile,\n"
		"         with -n afterwards           -S     synchronous_commit = on\n"
		"  -e SQL settings of each connection  -p X   what moves change: typical, all,\n"
		"  -s N   seed (1)                            one, four\n"
		"  -u F   Redis's socket\n"
		"\n"
		"workloads:");
	workload_list();
}

static void
check_options(const Options *options)
{
	if (options->threads < 1 || options->clients < options->threads ||
		options->seconds <= 0)
		die("at least 1 thread, and a connection for each thread");
	if (options->games < 1 || (options->workload->arguments != ARGS_MOVE_ANY &&
							   options->games < options->clients))
		die("at least a game for each connection");
	if (options->depth < 1 || options->group < 1 || options->group > options->depth)
		die("at least one call in flight, and not more of them in a transaction");
	if (options->workload->store == STORE_REDIS && options->redis == NULL)
		die("where is Redis? (-u)");
	if (options->calls > 0 && options->rate > 0)
		die("either -n or -r");
	if (options->pipelined && options->rate > 0)
		die("either -P or -r");
}

static void
parse_options(int argc, char **argv, Options *options)
{
	int option;

	*options = (Options){.clients = 8,
						 .threads = 2,
						 .games = 2000,
						 .depth = 1,
						 .group = 1,
						 .seconds = 5,
						 .warmup = 0.5,
						 .seed = 1};
	while ((option = getopt(argc, argv, "c:j:t:w:n:P:g:G:r:b:RSe:p:s:u:h")) != -1)
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
			case 'n':
				options->calls = atoll(optarg);
				break;
			case 'P':
				options->depth = atoi(optarg);
				options->pipelined = true;
				break;
			case 'g':
				options->games = atoi(optarg);
				break;
			case 'G':
				options->group = atoi(optarg);
				break;
			case 'r':
				options->rate = atof(optarg);
				break;
			case 'b':
				options->backlog = atoi(optarg);
				break;
			case 'R':
				options->rotation = true;
				break;
			case 'S':
				options->sync = true;
				break;
			case 'e':
				options->settings = optarg[0] ? optarg : NULL;
				break;
			case 'p':
				if (!pattern_find(optarg, &options->pattern))
					die("no such pattern: %s", optarg);
				break;
			case 's':
				options->seed = (unsigned) atoi(optarg);
				break;
			case 'u':
				options->redis = optarg;
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
	if (options->calls > 0)
		options->warmup = 0;
	check_options(options);
}

static void
print_result(const Options *options, const Result *result)
{
	printf("{\"workload\":\"%s\",\"sync\":%s,\"clients\":%d,\"games\":%d,"
		   "\"offered\":%.0f,\"backlog\":%d,",
		   options->workload->name, options->sync ? "true" : "false", options->clients,
		   options->games, options->rate, options->backlog);
	printf("\"calls\":%lld,\"all_calls\":%lld,\"seconds\":%.3f,\"rate\":%.1f,"
		   "\"cpu_us\":%.2f,\"wal_bytes\":%.1f,\"xids\":%lld,",
		   (long long) result->calls, (long long) result->all, result->seconds,
		   (double) result->calls / result->seconds, result->cpu_us, result->wal_bytes,
		   (long long) result->xids);
	printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"watched_s\":%.3f,"
		   "\"archived_rate\":%.1f,\"rotation_wal\":%lld}\n",
		   result->p50_us, result->p99_us, result->max_us, result->watched_s,
		   (double) result->archived / result->seconds, (long long) result->rotated);
}

int
main(int argc, char **argv)
{
	Options options;
	Result result = {0};
	PGconn *control;
	PGconn *gate = NULL;
	Game *games;
	bool rotate_after;

	if (argc == 4 && strcmp(argv[1], "--first") == 0)
	{
		first_answer(argv[2], argv[3]);
		return 0;
	}
	if (argc == 6 && strcmp(argv[1], "--feed") == 0)
	{
		feed_run(argv[2], atof(argv[3]), atoi(argv[4]), atof(argv[5]));
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "--deadline") == 0)
	{
		deadline_run(atoi(argv[2]), atof(argv[3]));
		return 0;
	}
	parse_options(argc, argv, &options);
	control = connect_server(&options);
	games = games_create(control, &options);
	if (options.backlog > 0)
		gate = backlog_create(control, &options);
	/* with -n it comes after the calls */
	rotate_after = options.rotation && options.calls > 0;
	if (rotate_after)
		options.rotation = false;
	if (options.rotation)
		rotation_prepare(control);
	/* No measurement pays for what the one before it has left to do. */
	wait_quiet(control);
	PQclear(query(control, "CHECKPOINT", 0, NULL));

	load_run(&options, games, control, gate, &result);
	if (rotate_after)
		rotation_run(control, &result);

	games_check(control, &options, games);
	games_remove(control, &options, games);
	print_result(&options, &result);
	if (options.rotation || rotate_after)
		rotation_end(control);
	if (gate)
	{
		/* The next measurement must not meet this one's backlog. */
		backlog_wait(control);
		PQfinish(gate);
	}
	PQfinish(control);
	return 0;
}
