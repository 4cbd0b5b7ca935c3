/*
 * games_run.h: a run of `play` or `replay`: games played, awaited in the
 * archive, checked there and reported.
 */
#ifndef GAMESTATE_CLIENT_GAMES_RUN_H
#define GAMESTATE_CLIENT_GAMES_RUN_H

#include "engine.h"
#include "ledger.h"
#include "options.h"
#include "records.h"
#include "report.h"

#define RUN_MAX_CONNECTIONS 1000
#define RUN_MAX_PIPELINE	1000
#define RUN_MAX_TABLES		100000
#define RUN_MAX_GAMES		100000000

typedef struct RunOptions
{
	ConnectOptions connect;
	EngineOptions engine;
	bool json;
	int games;		   /* of Hokm */
	int repeat;		   /* of records */
	int verify_sample; /* archived games of Hokm to replay */
	uint64_t seed;
} RunOptions;

typedef struct GamesRun
{
	RunOptions options;
	RecordSet records; /* empty: Hokm */
	Ledger ledger;
	EngineStats stats;
	CheckSummary checks;
	PGconn *conn;	/* for all but playing and checking */
	char *conninfo; /* for these */
} GamesRun;

/* What the command line may leave out. */
#define RUN_DEFAULTS                                                               \
	{                                                                              \
		.engine = {.connections = 4, .pipeline = 4, .tasks = 400, .patience = 60}, \
		.games = 3000, .repeat = 1, .verify_sample = 300, .seed = 1                \
	}

/* The options that both commands have, for their tables of options. */
#define RUN_OPTION_SPECS(options)                                                        \
	{'c', "clients", OPTION_INT, &(options).engine.connections, 1, RUN_MAX_CONNECTIONS}, \
		{'P', "pipeline", OPTION_INT, &(options).engine.pipeline, 1, RUN_MAX_PIPELINE},  \
		{'t', "tables", OPTION_INT, &(options).engine.tasks, 1, RUN_MAX_TABLES},         \
	{                                                                                    \
		0, "patience", OPTION_INT, &(options).engine.patience, 1, 2000000                \
	}
#define RUN_OPTION_HELP                                                           \
	"  -c, --clients=N          connections to play on (default 4)\n"             \
	"  -P, --pipeline=N         calls in flight on each of them (default 4)\n"    \
	"  -t, --tables=N           games that are played at once (default 400)\n"    \
	"      --patience=SECONDS   how long nothing may happen while it waits for\n" \
	"                           the server or the archive (default 60)\n"

/* All of it; returns the exit status.  The records are the caller's. */
extern int games_run(GamesRun *run);

#endif /* GAMESTATE_CLIENT_GAMES_RUN_H */
