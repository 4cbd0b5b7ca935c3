/*
 * bench_link.h: a connection of `gamestate bench` to where games are, and the
 * requests that are made on it: the same ones for every kind of place.
 */
#ifndef GAMESTATE_CLIENT_BENCH_LINK_H
#define GAMESTATE_CLIENT_BENCH_LINK_H

#include "bench.h"

typedef enum BenchCall
{
	BENCH_CREATE,  /* gives the id */
	BENCH_MOVE,	   /* gives the version; expected 0: no check */
	BENCH_GET,	   /* gives a state */
	BENCH_FINISH,  /* gives the version */
	BENCH_VERSION, /* gives the version */
	BENCH_FORGET   /* removes a game that is not finished */
} BenchCall;

/* What it names must stay until it has been sent. */
typedef struct BenchRequest
{
	BenchCall kind;
	BenchStore store;
	const gamestate_uuid *id;
	int64_t expected;
	gamestate_data event;
	gamestate_data state;
} BenchRequest;

typedef struct BenchAnswer
{
	bool ok; /* else a message has told why not */
	gamestate_uuid id;
	int64_t version; /* 0: the answer has none */
	size_t state_len;
} BenchAnswer;

typedef void (*BenchTake)(void *owner, const BenchAnswer *answer);

typedef struct BenchLink BenchLink;

/*
 * Each that returns a bool returns false after a message, and the link is of no
 * more use then.  Answers come within process(), in any order, once for each
 * request that was sent; those that are open when the link is closed never come.
 */
typedef struct BenchLinkOps
{
	/* before the first game, after the last one; of a store, on its first link */
	bool (*prepare)(BenchLink *link, BenchStore store);
	void (*clean_up)(BenchLink *link, BenchStore store);
	/* what somebody who compares figures must know of it; the caller's to free */
	char *(*describe)(BenchLink *link);
	bool (*send)(BenchLink *link, const BenchRequest *request, BenchTake take,
				 void *owner);
	int (*socket)(BenchLink *link);
	int (*wants)(BenchLink *link); /* as gamestate_conn_wants() */
	bool (*process)(BenchLink *link);
	void (*close)(BenchLink *link);
} BenchLinkOps;

/* The first member of each kind of link. */
struct BenchLink
{
	const BenchLinkOps *ops;
};

/* NULL after a message; at most `depth` requests are open at once. */
extern BenchLink *bench_link_postgres(const char *conninfo, int depth);
extern BenchLink *bench_link_redis(const char *address, int depth);

#endif /* GAMESTATE_CLIENT_BENCH_LINK_H */
