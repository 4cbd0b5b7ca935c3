/*
 * demo_main.c: gamestate-demo, a program that plays games through the SQL
 * functions of gamestate and shows what becomes of them.
 *
 * The model, in the order in which it happens:
 * 1. Options; files of recorded games are read and checked whole (records.c).
 * 2. The extension is created if the database does not have it.
 * 3. Play, many games at once on a few connections (engine.c): recorded games
 *    (replay.c), or Hokm by bots (hokm_table.c).
 * 4. Wait until all of them are in the archive (archive.c).
 * 5. Check: archived games against their records (replay_check.c), or against
 *    the rules (hokm_check.c).
 * 6. Report, and ask the archive a few questions in SQL (report.c).
 *
 * An error or an interrupt ends the run with a message and exit status 1,
 * after the games that were still running have been deleted.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "hokm_table.h"
#include "progress.h"
#include "records.h"
#include "replay.h"
#include "report.h"

#ifndef GAMESTATE_VERSION
#define GAMESTATE_VERSION "(unknown version)"
#endif

#define DEFAULT_CONNECTIONS	  4
#define DEFAULT_PIPELINE	  4
#define DEFAULT_TABLES		  400
#define DEFAULT_GAMES		  3000
#define DEFAULT_VERIFY_SAMPLE 300
#define DEFAULT_PATIENCE	  60
#define DEFAULT_SEED		  1
#define MAX_CONNECTIONS		  1000
#define MAX_PIPELINE		  1000
#define MAX_TABLES			  100000
#define MAX_GAMES			  100000000

typedef struct DemoOptions
{
	EngineOptions engine;
	int games;
	int repeat;
	int verify_sample;
	uint64_t seed;
} DemoOptions;

typedef struct Demo
{
	DemoOptions options;
	RecordSet records; /* empty: Hokm */
	Ledger ledger;
	EngineStats stats;
	CheckSummary checks;
	PGconn *conn; /* for all but playing and checking */
} Demo;

static void
print_help(void)
{
	printf("%s plays games through gamestate and shows what becomes of them.\n\n"
		   "Usage:\n  %s [OPTION]... [DATA.jsonl]...\n\n"
		   "With files of recorded games (JSON lines, a game a line) it replays every\n"
		   "record; without, bots play Hokm.  All games are awaited in the archive and\n"
		   "checked there.\n\n",
		   PROGRAM_NAME, PROGRAM_NAME);
	printf("Options:\n"
		   "  -c, --connections=N      connections to play on (default %d)\n"
		   "  -P, --pipeline=N         calls in flight on each of them (default %d)\n"
		   "  -t, --tables=N           games that are played at once (default %d)\n"
		   "  -g, --games=N            games of Hokm to play (default %d)\n"
		   "  -r, --repeat=N           times to play each record (default 1)\n"
		   "  -s, --seed=N             seed of the cards (default %d)\n"
		   "      --verify-sample=N    archived games of Hokm to replay (default %d);\n"
		   "                           of recorded games all are compared\n"
		   "      --patience=SECONDS   how long nothing may happen while it waits for\n"
		   "                           the server or the archive (default %d)\n",
		   DEFAULT_CONNECTIONS, DEFAULT_PIPELINE, DEFAULT_TABLES, DEFAULT_GAMES,
		   DEFAULT_SEED, DEFAULT_VERIFY_SAMPLE, DEFAULT_PATIENCE);
	printf("  -V, --version            show the version, then exit\n"
		   "  -?, --help               show this help, then exit\n\n"
		   "Connection options (or the environment: PGHOST, PGDATABASE, ...):\n"
		   "  -d, --dbname=DBNAME      database name or connection string\n"
		   "  -h, --host=HOST          host or socket directory\n"
		   "  -p, --port=PORT          port\n"
		   "  -U, --username=NAME      user\n");
}

/* A number from `min` to `max`; false after a message. */
static bool
parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
			 uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && strchr(text, '-') == NULL &&
		*value >= min && *value <= max)
		return true;
	log_error("invalid value \"%s\" for option %s", text, option);
	log_hint("It must be a number from %llu to %llu.", (unsigned long long) min,
			 (unsigned long long) max);
	return false;
}

static bool
parse_int(const char *option, const char *text, int max, int *value)
{
	uint64_t number;

	if (!parse_number(option, text, 1, (uint64_t) max, &number))
		return false;
	*value = (int) number;
	return true;
}

enum
{
	OPTION_VERIFY_SAMPLE = 256,
	OPTION_PATIENCE,
	OPTION_HELP
};

static const struct option long_options[] =
	{{"connections", required_argument, NULL, 'c'},
	 {"pipeline", required_argument, NULL, 'P'},
	 {"tables", required_argument, NULL, 't'},
	 {"games", required_argument, NULL, 'g'},
	 {"repeat", required_argument, NULL, 'r'},
	 {"seed", required_argument, NULL, 's'},
	 {"verify-sample", required_argument, NULL, OPTION_VERIFY_SAMPLE},
	 {"patience", required_argument, NULL, OPTION_PATIENCE},
	 {"dbname", required_argument, NULL, 'd'},
	 {"host", required_argument, NULL, 'h'},
	 {"port", required_argument, NULL, 'p'},
	 {"username", required_argument, NULL, 'U'},
	 {"version", no_argument, NULL, 'V'},
	 {"help", no_argument, NULL, OPTION_HELP},
	 {NULL, 0, NULL, 0}};

/* One option; false after a message. */
static bool
take_option(DemoOptions *options, int option)
{
	EngineOptions *engine = &options->engine;

	switch (option)
	{
		case 'c':
			return parse_int("--connections", optarg, MAX_CONNECTIONS,
							 &engine->connections);
		case 'P':
			return parse_int("--pipeline", optarg, MAX_PIPELINE, &engine->pipeline);
		case 't':
			return parse_int("--tables", optarg, MAX_TABLES, &engine->tasks);
		case 'g':
			return parse_int("--games", optarg, MAX_GAMES, &options->games);
		case 'r':
			return parse_int("--repeat", optarg, MAX_GAMES, &options->repeat);
		case 's':
			return parse_number("--seed", optarg, 0, UINT64_MAX, &options->seed);
		case OPTION_VERIFY_SAMPLE:
			return parse_int("--verify-sample", optarg, MAX_GAMES,
							 &options->verify_sample);
		case OPTION_PATIENCE:
			return parse_int("--patience", optarg, INT_MAX / 1000, &engine->patience);
		case 'd':
			engine->connect.dbname = optarg;
			return true;
		case 'h':
			engine->connect.host = optarg;
			return true;
		case 'p':
			engine->connect.port = optarg;
			return true;
		case 'U':
			engine->connect.user = optarg;
			return true;
		default:
			log_hint("Try \"%s --help\" for more information.", PROGRAM_NAME);
			return false;
	}
}

/* The options; false after a message, or *done if there is no more to do. */
static bool
parse_options(int argc, char **argv, DemoOptions *options, bool *done)
{
	int option;

	/* getopt says '?' for what it does not know: -? is looked for here. */
	*done = argc > 1 && strcmp(argv[1], "-?") == 0;
	if (*done)
		print_help();
	while (!*done && (option = getopt_long(argc, argv, "c:P:t:g:r:s:d:h:p:U:V",
										   long_options, NULL)) != -1)
	{
		if (option == OPTION_HELP)
			print_help();
		if (option == 'V')
			printf("%s (gamestate) %s\n", PROGRAM_NAME, GAMESTATE_VERSION);
		*done = option == OPTION_HELP || option == 'V';
		if (*done)
			break;
		if (!take_option(options, option))
			return false;
	}
	return true;
}

static bool
prepare_database(Demo *demo)
{
	PGresult *result;

	demo->conn = connect_database(&demo->options.engine.connect);
	if (demo->conn == NULL)
		return false;
	result = run_query(demo->conn, "CREATE EXTENSION",
					   "CREATE EXTENSION IF NOT EXISTS gamestate", 0, NULL);
	if (result == NULL)
		return false;
	PQclear(result);
	return true;
}

/* What is going to happen. */
static void
announce(const Demo *demo)
{
	const DemoOptions *options = &demo->options;
	char games[NUMBER_SIZE];
	char moves[NUMBER_SIZE];

	if (demo->records.count > 0)
		printf(
			"Playing %s recorded games with %s moves, %d time%s, up to %d games at once\n",
			format_count(games, demo->records.count),
			format_count(moves, demo->records.moves), options->repeat,
			options->repeat == 1 ? "" : "s", options->engine.tasks);
	else
		printf("Playing %s games of Hokm, four bots a table, up to %d tables at once "
			   "(seed %llu)\n",
			   format_count(games, (uint64_t) options->games), options->engine.tasks,
			   (unsigned long long) options->seed);
	fflush(stdout);
}

/* A run of the engine with its own connections. */
static bool
run_engine(const EngineOptions *options, TaskSource *source, EngineStats *stats)
{
	Engine *engine = engine_open(options);
	bool ok;

	if (engine == NULL)
		return false;
	ok = engine_run(engine, source, stats);
	engine_close(engine);
	return ok;
}

static bool
play(Demo *demo)
{
	const DemoOptions *options = &demo->options;
	uint64_t games;
	ReplaySource replay;
	HokmSource hokm;
	TaskSource *source;

	if (demo->records.count > 0)
	{
		games = (uint64_t) demo->records.count * (uint64_t) options->repeat;
		replay_source_init(&replay, &demo->records, (uint32_t) options->repeat,
						   &demo->ledger);
		source = &replay.source;
	}
	else
	{
		games = (uint64_t) options->games;
		hokm_source_init(&hokm, (uint32_t) options->games, options->seed, &demo->ledger);
		source = &hokm.source;
	}
	progress_begin("playing", "games", games);
	return run_engine(&options->engine, source, &demo->stats);
}

static bool
check(Demo *demo)
{
	EngineOptions options = demo->options.engine;
	EngineStats stats = {.move_latency = demo->stats.move_latency};
	ReplayCheckSource replay;
	HokmCheckSource hokm;
	bool ok;

	/* Each open task is a question to the archive: no more than are asked. */
	options.tasks = options.connections * options.pipeline;
	if (demo->records.count > 0)
	{
		replay_check_source_init(&replay, &demo->records, &demo->ledger);
		progress_begin("checking", "games", demo->ledger.count);
		ok = run_engine(&options, &replay.source, &stats);
		demo->checks = (CheckSummary){.games = replay.checked,
									  .moves = replay.moves,
									  .all = replay.checked == demo->ledger.count,
									  .against = "their records"};
	}
	else
	{
		hokm_check_source_init(&hokm, (uint32_t) demo->options.verify_sample,
							   demo->options.seed, &demo->ledger);
		progress_begin("checking", "games", hokm.sample);
		ok = run_engine(&options, &hokm.source, &stats);
		demo->checks = (CheckSummary){.games = hokm.checked,
									  .moves = hokm.moves,
									  .all = hokm.checked == demo->ledger.count,
									  .against = "the rules of Hokm"};
	}
	return ok;
}

static void
handle_signal(int signal)
{
	(void) signal;
	interrupted = 1;
}

/* A second interrupt ends the program as if there were no handler. */
static void
install_signal_handlers(void)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = SA_RESETHAND};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static bool
run_demo(Demo *demo)
{
	if (!prepare_database(demo) || !report_server(demo->conn))
		return false;
	announce(demo);
	if (!play(demo))
		return false;
	if (!archive_wait(demo->conn, &demo->ledger, demo->options.engine.patience))
		return false;
	if (!check(demo))
		return false;
	report_run(&demo->options.engine, &demo->stats, &demo->ledger, &demo->checks);
	return report_queries(demo->conn);
}

int
main(int argc, char **argv)
{
	Demo demo = {.options = {
					 .engine =
						 {
							 .connections = DEFAULT_CONNECTIONS,
							 .pipeline = DEFAULT_PIPELINE,
							 .tasks = DEFAULT_TABLES,
							 .patience = DEFAULT_PATIENCE,
						 },
					 .games = DEFAULT_GAMES,
					 .repeat = 1,
					 .verify_sample = DEFAULT_VERIFY_SAMPLE,
					 .seed = DEFAULT_SEED,
				 }};
	bool ok;
	bool done;

	ok = parse_options(argc, argv, &demo.options, &done);
	if (!ok || done)
		return ok ? EXIT_SUCCESS : EXIT_FAILURE;
	for (int i = optind; i < argc && ok; i++)
		ok = records_read(&demo.records, argv[i]);
	if (ok)
	{
		demo.stats.move_latency = hist_create();
		install_signal_handlers();
		ok = run_demo(&demo);
		if (interrupted)
			log_error("interrupted");
		if (!ok && demo.conn != NULL)
			archive_clean_up(demo.conn, &demo.ledger);
	}
	PQfinish(demo.conn);
	hist_free(demo.stats.move_latency);
	ledger_free(&demo.ledger);
	records_free(&demo.records);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
