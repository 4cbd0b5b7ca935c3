/*-------------------------------------------------------------------------
 *
 * pool_backoff.h
 *	  How long to wait before trying again: exponential backoff with full
 *	  jitter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_BACKOFF_H
#define GAMESTATE_POOL_BACKOFF_H

#include <stdint.h>

#include "pool_time.h"

/* A source of random numbers; not for secrets.  Protected by its owner's lock. */
typedef struct GspRandom
{
	uint64_t state;
} GspRandom;

/* a sequence of its own for each seed; seed 0 takes one from the system */
extern void gsp_random_init(GspRandom *random, uint64_t seed);

/* evenly distributed in 0 .. max, both included; 0 if max < 0 */
extern int64_t gsp_random_up_to(GspRandom *random, int64_t max);

typedef struct GspBackoff
{
	int64_t base; /* microseconds, the most that the first wait takes */
	int64_t cap;  /* microseconds, the most that any wait takes */
	int attempts; /* waits since the last success */
} GspBackoff;

extern void gsp_backoff_init(GspBackoff *backoff, int64_t base, int64_t cap);

/* the next wait, in microseconds */
extern int64_t gsp_backoff_next(GspBackoff *backoff, GspRandom *random);

/* after a success */
extern void gsp_backoff_reset(GspBackoff *backoff);

#endif /* GAMESTATE_POOL_BACKOFF_H */
