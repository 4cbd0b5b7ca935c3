/*
 * gs_bench: the load generator of `make bench`.  What the files share.
 */
#ifndef GS_BENCH_H
#define GS_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#define STATE_SIZE 2048
#define EVENT_SIZE 120
#define UUID_TEXT  37

/* Where a workload's games are, which decides setup, check and clean-up. */
typedef enum Store
{
	STORE_NONE,		 /* no games: ids are made up */
	STORE_GAMESTATE, /* live games */
	STORE_TABLES,	 /* bench.game and bench.log */
	STORE_TUNED,	 /* bench.game_tuned and bench.log */
} Store;

/* What a call's argument list is. */
typedef enum Arguments
{
	ARGS_NONE,
	ARGS_MOVE, /* id, expected version, event, state, player */
	ARGS_ID,
	ARGS_ROOM,
	ARGS_PLAYER,
} Arguments;

/* What a call must return; anything else ends the run. */
typedef enum Answer
{
	ANSWER_ONE,		/* one row */
	ANSWER_VERSION, /* one row: the expected version + 1 */
	ANSWER_STATE,	/* one row of STATE_SIZE bytes */
	ANSWER_GAME_ID, /* one row: the game's id */
} Answer;

typedef struct Workload
{
	const char *name;
	Store store;
	Arguments arguments;
	Answer answer;
	const char *statement;
	const char *setting; /* for each connection, before anything else; or NULL */
} Workload;

typedef struct Game
{
	char id[UUID_TEXT];
	int64_t version; /* as acknowledged */
	char *state;	 /* as last sent; only for workloads that move */
} Game;

typedef struct Options
{
	const Workload *workload;
	int clients;
	int threads;
	int games;
	double seconds;
	double warmup;
	double rate; /* open loop: calls a second offered; 0 = closed loop */
	int backlog; /* finished games for the archiver to work on meanwhile */
	bool sync;	 /* synchronous_commit */
	unsigned seed;
} Options;

typedef struct Result
{
	int64_t calls; /* finished in the measured time */
	double seconds;
	double p50_us;
	double p99_us;
	double max_us;
	int64_t archived; /* games the archiver took in the measured time */
} Result;

extern void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
extern void *must_alloc(size_t size);
extern int64_t now_ns(void);
extern uint64_t next_random(uint64_t *seed);

/* gs_bench.c */
extern PGconn *connect_server(const Options *options);
extern PGresult *query(PGconn *conn, const char *sql, int nparams,
					   const char *const *params);

/* games.c */
extern const Workload *workload_find(const char *name);
extern void workload_list(void);
extern Game *games_create(PGconn *conn, const Options *options);
extern void games_check(PGconn *conn, const Options *options, Game *games);
extern void games_remove(PGconn *conn, const Options *options, Game *games);
extern void game_next_state(Game *game, uint64_t random);
extern void game_next_event(char *event, int64_t version, uint64_t random);
extern void backlog_create(PGconn *conn, int count);
extern int64_t backlog_left(PGconn *conn);

/* load.c */
extern void load_run(const Options *options, Game *games, PGconn *control, PGconn *gate,
					 Result *result);

#endif /* GS_BENCH_H */
