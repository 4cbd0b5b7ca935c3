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
	STORE_REDIS,	 /* a hash and a list for each game */
} Store;

/* What a call's argument list is. */
typedef enum Arguments
{
	ARGS_NONE,
	ARGS_MOVE,	   /* id, expected version, event, state, player */
	ARGS_MOVE_ANY, /* the same, but the version is not checked: anybody's game */
	ARGS_ID,
	ARGS_ROOM,
	ARGS_PLAYER,
} Arguments;

/* What a call must return; anything else ends the run. */
typedef enum Answer
{
	ANSWER_ONE,		/* one value */
	ANSWER_VERSION, /* one value: the expected version + 1, if one was expected */
	ANSWER_STATE,	/* one value of STATE_SIZE bytes */
	ANSWER_GAME_ID, /* one value: the game's id */
	ANSWER_BATCH,	/* to many calls at once, a row each: the version, or why not */
} Answer;

/* What a move changes in a state. */
typedef enum Pattern
{
	PATTERN_TYPICAL, /* the turn, clocks and two cells of the board */
	PATTERN_ALL,	 /* every byte */
	PATTERN_ONE,	 /* 100 bytes in one place */
	PATTERN_FOUR,	 /* 4 x 25 bytes, in the first and the last 32 among them */
} Pattern;

typedef struct Workload
{
	const char *name;
	Store store;
	Arguments arguments;
	Answer answer;
	const char *statement; /* SQL, or a Lua script */
} Workload;

typedef struct Game
{
	char id[UUID_TEXT];
	int64_t sent;	 /* version after all moves sent; atomic with ARGS_MOVE_ANY */
	int64_t version; /* as acknowledged; atomic with ARGS_MOVE_ANY */
	char *state;	 /* as last sent; only for ARGS_MOVE */
} Game;

typedef struct Options
{
	const Workload *workload;
	int clients;
	int threads;
	int games;
	int depth;		/* calls in flight on a connection */
	int group;		/* calls in one transaction, when they are pipelined */
	int64_t calls;	/* end after so many calls; 0 = after the seconds */
	double seconds; /* measured */
	double warmup;
	double rate;   /* open loop: calls a second offered; 0 = closed loop */
	int backlog;   /* finished games for the archiver to work on meanwhile */
	bool rotation; /* the journal is rotated meanwhile */
	bool sync;	   /* synchronous_commit; appendfsync always */
	bool pipelined;
	Pattern pattern;
	const char *settings; /* SQL for each connection, before anything else */
	const char *redis;	  /* path of Redis's socket */
	unsigned seed;
} Options;

typedef struct Result
{
	int64_t calls;	  /* acknowledged in the measured time */
	int64_t all;	  /* acknowledged, with those of the warm-up */
	double seconds;	  /* measured */
	double cpu_us;	  /* our own processor time a call */
	double wal_bytes; /* WAL a call; full-page images included */
	int64_t xids;	  /* transaction ids consumed, by whomever */
	double p50_us;
	double p99_us;
	double max_us;
	double watched_s; /* how long the archiver or the rotation worked */
	int64_t archived; /* games the archiver took in the measured time */
	int64_t rotated;  /* bytes of WAL written during the rotation, moves included */
} Result;

/* One value that a call has returned, valid until the next use of the link. */
typedef struct Value
{
	const char *text;
	int len;
} Value;

/*
 * A connection to a server that never blocks.  Any failure ends the program.
 */
typedef struct Link Link;

typedef struct LinkKind
{
	Link *(*open)(const Options *options);
	int (*socket)(Link *link);
	/* Queue a call; it goes out with the next flush at the latest. */
	void (*send)(Link *link, int nparams, const char *const *params);
	/* Send what is queued; true if something is left because the socket is full. */
	bool (*flush)(Link *link);
	/* Read what has come. */
	void (*receive)(Link *link);
	/* Take the next answer, if it has come and what it tells is committed. */
	bool (*answer)(Link *link, Value *value);
	void (*close)(Link *link);
} LinkKind;

extern const LinkKind link_postgres; /* link_postgres.c */
extern const LinkKind link_redis;	 /* link_redis.c */
extern const LinkKind link_batch;	 /* link_batch.c */

/* gs_bench.c */
extern void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
extern void *must_alloc(size_t size);
extern int64_t now_ns(void);
extern uint64_t next_random(uint64_t *seed);

/* link_postgres.c */
extern PGconn *connect_server(const Options *options);
extern PGresult *query(PGconn *conn, const char *sql, int nparams,
					   const char *const *params);
extern int64_t query_int(PGconn *conn, const char *sql);
extern int64_t wal_position(PGconn *conn);

/* workloads.c */
extern const Workload *workload_find(const char *name);
extern void workload_list(void);

/* payload.c */
extern bool pattern_find(const char *name, Pattern *pattern);
extern char *state_create(Pattern pattern, uint64_t *seed);
extern void state_change(Pattern pattern, char *state, int64_t version, uint64_t random);
extern void event_make(char *event, int64_t version, uint64_t random);

/* games.c */
extern Game *games_create(PGconn *conn, const Options *options);
extern void games_check(PGconn *conn, const Options *options, const Game *games);
extern void games_remove(PGconn *conn, const Options *options, const Game *games);

/* games_redis.c */
extern void redis_games_create(const Options *options, Game *games, char *const *states);
extern void redis_games_check(const Options *options, const Game *games);
extern void redis_games_remove(const Options *options);

/* backlog.c */
extern PGconn *backlog_create(PGconn *control, const Options *options);
extern int64_t backlog_left(PGconn *conn);
extern void backlog_wait(PGconn *control);

/* rotation.c */
extern void rotation_prepare(PGconn *control);
extern void rotation_watch(PGconn *control, Result *result);
extern void rotation_run(PGconn *control, Result *result);
extern void rotation_end(PGconn *control);

/* first.c */
extern void first_answer(const char *directory, const char *id);

/* feed.c */
extern void feed_run(const char *how, double moves_per_second, int waiting,
					 double length);

/* deadline.c */
extern void deadline_run(int games, double seconds);

/* load.c */
extern void load_run(const Options *options, Game *games, PGconn *control, PGconn *gate,
					 Result *result);

#endif /* GS_BENCH_H */
