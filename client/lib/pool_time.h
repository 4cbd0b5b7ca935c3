/*-------------------------------------------------------------------------
 *
 * pool_time.h
 *	  Times and deadlines of the pool: microseconds on a clock that only goes
 *	  forward.
 *
 * The model:
 *
 * 1. A time is an int64_t of microseconds since some start (CLOCK_MONOTONIC);
 *	  the wall clock may be set, and a deadline must not move with it.
 * 2. A deadline is a time; GSP_NEVER is the deadline that is never reached.
 *	  Additions saturate there.
 * 3. Everything that decides something takes `now` as an argument: tests use a
 *	  clock of their own, and one reading serves a whole decision.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_TIME_H
#define GAMESTATE_POOL_TIME_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

typedef int64_t GspTime;

#define GSP_NEVER INT64_MAX
#define GSP_MS	  INT64_C(1000)
#define GSP_S	  INT64_C(1000000)

static inline GspTime
gsp_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (GspTime) ts.tv_sec * GSP_S + ts.tv_nsec / 1000;
}

/* time + span; both are >= 0 */
static inline GspTime
gsp_after(GspTime time, int64_t span)
{
	return span > GSP_NEVER - time ? GSP_NEVER : time + span;
}

static inline GspTime
gsp_earlier(GspTime a, GspTime b)
{
	return a < b ? a : b;
}

/*
 * poll(2)'s timeout: whole milliseconds, rounded up so that a waiter does not
 * wake just before its time and turn in circles; -1 for GSP_NEVER.
 */
static inline int
gsp_poll_timeout(GspTime now, GspTime until)
{
	int64_t ms;

	if (until == GSP_NEVER)
		return -1;
	if (until <= now)
		return 0;
	ms = (until - now) / GSP_MS + ((until - now) % GSP_MS != 0);
	return ms > INT_MAX ? INT_MAX : (int) ms;
}

static inline struct timespec
gsp_timespec(GspTime time)
{
	return (struct timespec){.tv_sec = time / GSP_S, .tv_nsec = time % GSP_S * 1000};
}

#endif /* GAMESTATE_POOL_TIME_H */
