/*
 * bench.h: one measurement of `gamestate bench`: a workload against a store.
 */
#ifndef GAMESTATE_CLIENT_BENCH_H
#define GAMESTATE_CLIENT_BENCH_H

#include "gamestate.h"

#include "hist.h"
#include "util.h"

#define BENCH_GAME_TYPE "gamestate_bench"
#define BENCH_SCHEMA	"gamestate_bench"

/* Where the games are. */
typedef enum BenchStore
{
	STORE_GAMESTATE, /* live games, through the SQL functions */
	STORE_TABLE,	 /* ordinary tables, one statement a move */
	STORE_REDIS,	 /* Redis, a script a move */
	STORE_COUNT
} BenchStore;

typedef enum BenchWorkload
{
	WORKLOAD_MOVES,		 /* with version check, each in a game of its own */
	WORKLOAD_GETS,		 /* the state of any game */
	WORKLOAD_MIXED,		 /* four gets to a move */
	WORKLOAD_GAMES,		 /* create, finish, create, ... */
	WORKLOAD_CONTENTION, /* moves of all clients in one game */
	WORKLOAD_COUNT
} BenchWorkload;

typedef struct BenchOptions
{
	const char *conninfo;
	const char *redis; /* HOST, HOST:PORT, or the path of a socket */
	bool stores[STORE_COUNT];
	int clients;
	int pipeline; /* calls in flight on each */
	int games;
	int state_size;
	int event_size;
	double seconds;
	double warmup;
	double rate; /* open loop: calls a second offered; 0 = closed loop */
} BenchOptions;

typedef struct BenchFigures
{
	uint64_t calls; /* answered in the measured time */
	double seconds;
} BenchFigures;

typedef struct Bench Bench;

/* Connects, and makes the games of all stores; NULL after a message. */
extern Bench *bench_open(const BenchOptions *options);

/* What somebody who compares figures must know of a store; the caller's to free. */
extern char *bench_describe(Bench *bench, BenchStore store);

/* Removes the games, tables and keys. */
extern void bench_close(Bench *bench);

/*
 * Runs a workload; latencies are added to `latency`.  Afterwards the version of
 * every game is compared with the moves that were acknowledged.  False after
 * a message.
 */
extern bool bench_run(Bench *bench, BenchWorkload workload, BenchStore store,
					  Hist *latency, BenchFigures *figures);

#endif /* GAMESTATE_CLIENT_BENCH_H */
