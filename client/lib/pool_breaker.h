/*-------------------------------------------------------------------------
 *
 * pool_breaker.h
 *	  The circuit breaker of one server: whether it may be asked now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_BREAKER_H
#define GAMESTATE_POOL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "pool_backoff.h"
#include "pool_time.h"

/* State                     next */
typedef enum GspBreakerState
{
	GSP_BREAKER_CLOSED,	   /* OPEN: enough calls failed */
	GSP_BREAKER_OPEN,	   /* HALF_OPEN: its time is over */
	GSP_BREAKER_HALF_OPEN, /* CLOSED: all trials succeeded; OPEN: one failed */
} GspBreakerState;

/* How a call went, as far as the server's health goes. */
typedef enum GspOutcome
{
	GSP_HEALTHY, /* it answered, be it with an error */
	GSP_UNHEALTHY, /* connection refused or lost, out of connections, no answer to a cancel */
	GSP_TOO_LATE, /* it answered, but later than the caller could wait */
} GspOutcome;

typedef struct GspBreakerOptions
{
	int min_failures;	 /* so many before it opens; 0: it never opens */
	int failure_percent; /* and so many of the calls in the window */
	int trials;			 /* calls that a half-open breaker admits, and needs to close */
	int64_t window;		 /* microseconds that are looked at */
	int64_t open_min;	 /* microseconds it stays open the first time */
	int64_t open_max;	 /* microseconds it stays open at most */
} GspBreakerOptions;

#define GSP_BREAKER_BUCKETS 10

/* Everything here is protected by the owner's lock. */
typedef struct GspBreaker
{
	GspBreakerOptions options;
	GspBreakerState state;
	uint32_t epoch;		  /* number of changes of state */
	GspTime half_open_at; /* OPEN: when it becomes HALF_OPEN */
	int opened_in_row;	  /* times it opened since it was closed */
	int trials_running;	  /* HALF_OPEN */
	int trials_succeeded; /* HALF_OPEN */
	uint64_t times_opened;
	int in_row;			  /* unhealthy ones since the last healthy one, none long ago */
	GspTime healthy_at;	  /* the last one */
	GspTime unhealthy_at; /* the last one */
	struct GspBreakerBucket
	{
		int64_t slot; /* time / length of a bucket: which part of time it counts */
		uint32_t healthy;
		uint32_t unhealthy;
		uint32_t too_late;
	} buckets[GSP_BREAKER_BUCKETS];
} GspBreaker;

/*
 * The permission for one call.  Each must be given back, by exactly one of
 * gsp_breaker_record() and gsp_breaker_forget().
 */
typedef struct GspPermit
{
	uint32_t epoch;
	bool trial;
} GspPermit;

extern void gsp_breaker_init(GspBreaker *breaker, const GspBreakerOptions *options);

/* Would it admit a call now? */
extern bool gsp_breaker_allows(const GspBreaker *breaker, GspTime now);

/* Admits a call, or not. */
extern bool gsp_breaker_admit(GspBreaker *breaker, GspTime now, GspPermit *permit);

/* The call is over.  True if the state has changed. */
extern bool gsp_breaker_record(GspBreaker *breaker, GspTime now, GspPermit permit,
							   GspOutcome outcome, GspRandom *random);

/* The call did not take place, or says nothing about the server. */
extern void gsp_breaker_forget(GspBreaker *breaker, GspPermit permit);

/* When a breaker that refuses calls may admit one; `now` if it does already. */
extern GspTime gsp_breaker_next(const GspBreaker *breaker, GspTime now);

extern const char *gsp_breaker_state_name(GspBreakerState state);

#endif /* GAMESTATE_POOL_BREAKER_H */
