/*-------------------------------------------------------------------------
 *
 * gs_rate.h
 *	  Rate limits: the arithmetic.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no clock, no global state.  The caller
 * brings the time, in microseconds of any clock that seldom goes back, and keeps
 * the account (GsRateAccount) of each key.
 *
 * Token bucket: the bucket holds at most "burst" tokens, and "amount" of them
 * flow in during each period, evenly.  A call takes what it costs, or nothing if
 * there is less.
 *
 * Sliding window: calls of any period cost at most "amount" together.  Costs are
 * counted by whole periods; of the period before, that part counts which the
 * window still covers, as if its calls had been spread over it evenly.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RATE_H
#define GS_RATE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum GsRateKind
{
	GS_RATE_TOKEN_BUCKET = 1,
	GS_RATE_SLIDING_WINDOW = 2
} GsRateKind;

typedef struct GsRateLimit
{
	GsRateKind kind;
	double amount;	   /* more than 0 */
	double burst;	   /* of a token bucket, more than 0 */
	int64_t period_us; /* more than 0 */
} GsRateLimit;

/* What a key has used; all zero: nothing yet. */
typedef struct GsRateAccount
{
	int64_t at;		/* bucket: when "level" was right; window: when the period began */
	double level;	/* bucket: tokens in it; window: what the period has cost so far */
	double before;	/* window: what the period before has cost */
	uint32_t began; /* not 0: the rest says something */
	uint32_t unused;
} GsRateAccount;

/* The wait of what costs more than can ever be taken at once. */
#define GS_RATE_NEVER INT64_MAX

/*
 * Take the cost (0 or more): true.  Or false, and how long from now it has to
 * wait if nobody else takes anything; then the account is as it was.
 */
extern bool gs_rate_take(const GsRateLimit *limit, GsRateAccount *account, int64_t now,
						 double cost, int64_t *wait_us);

/* Give back what was taken just now. */
extern void gs_rate_give_back(const GsRateLimit *limit, GsRateAccount *account,
							  double cost);

/* How much could be taken now? */
extern double gs_rate_left(const GsRateLimit *limit, GsRateAccount *account, int64_t now);

/*
 * An adaptive limit: the part of its amount that is left when so many sessions
 * are busy and "allowed" of them count as none.
 */
extern double gs_rate_share(double busy, double allowed, double min_share);

/*
 * The average of samples, the newer the more they count: half of it is from the
 * last half_life_us.
 */
extern double gs_rate_average(double average, double sample, int64_t elapsed_us,
							  int64_t half_life_us);

#endif /* GS_RATE_H */
