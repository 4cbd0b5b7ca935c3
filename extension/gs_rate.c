/*-------------------------------------------------------------------------
 *
 * gs_rate.c
 *	  Rate limits: the arithmetic.
 *
 * The model:
 *	1. Bring the account to the present: tokens have flowed in, periods have
 *	   gone by.  A clock that was set back stands still here until it has caught
 *	   up, or, for a bucket, goes on from where it is: nobody gains by it, and
 *	   nobody is shut out for longer than a period.
 *	2. Is there enough?  Take it.  Else say when there will be.
 *
 * Costs are doubles, so sums are right to about fifteen digits; EPSILON is what
 * two sides of a comparison may differ by and still be the same.
 *
 * What may not be done here: include a PostgreSQL header, look at a clock, keep
 * state.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_rate.h"

#include <math.h>

#define EPSILON 1e-9

static double
min_double(double a, double b)
{
	return a < b ? a : b;
}

static double
max_double(double a, double b)
{
	return a > b ? a : b;
}

/* a <= b, but for rounding */
static bool
at_most(double a, double b)
{
	return a <= b + EPSILON * max_double(1, b);
}

/* Whole microseconds, not less than that. */
static int64_t
wait_of(double us)
{
	if (!(us < 9e18))
		return GS_RATE_NEVER;
	return us <= 1 ? 1 : (int64_t) ceil(us);
}

/* ----------
 * token bucket
 * ----------
 */

static double
tokens_per_us(const GsRateLimit *limit)
{
	return limit->amount / (double) limit->period_us;
}

static void
fill_bucket(const GsRateLimit *limit, GsRateAccount *account, int64_t now)
{
	if (account->began == 0)
		account->level = limit->burst;
	else if (now > account->at)
		account->level += (double) (now - account->at) * tokens_per_us(limit);
	account->level = min_double(account->level, limit->burst);
	account->at = now;
	account->began = 1;
}

static bool
take_tokens(const GsRateLimit *limit, GsRateAccount *account, int64_t now, double cost,
			int64_t *wait_us)
{
	fill_bucket(limit, account, now);
	if (at_most(cost, account->level))
	{
		account->level = max_double(0, account->level - cost);
		return true;
	}
	*wait_us = at_most(cost, limit->burst)
				   ? wait_of((cost - account->level) / tokens_per_us(limit))
				   : GS_RATE_NEVER;
	return false;
}

/* ----------
 * sliding window
 * ----------
 */

static void
begin_period(GsRateAccount *account, int64_t at, double before)
{
	account->at = at;
	account->level = 0;
	account->before = before;
	account->began = 1;
}

static void
move_window(const GsRateLimit *limit, GsRateAccount *account, int64_t now)
{
	/* the clock was set back by more than a period: begin anew with what has been used */
	if (account->began != 0 && now < account->at && account->at - now > limit->period_us)
		account->at = now;
	if (account->began == 0 || now - account->at >= 2 * limit->period_us)
		begin_period(account, now, 0);
	else if (now - account->at >= limit->period_us)
		begin_period(account, account->at + limit->period_us, account->level);
}

/* How far the period has come, 0 to 1. */
static double
progress(const GsRateLimit *limit, const GsRateAccount *account, int64_t now)
{
	return max_double(0, (double) (now - account->at) / (double) limit->period_us);
}

static double
used(const GsRateLimit *limit, const GsRateAccount *account, int64_t now)
{
	return account->level + account->before * (1 - progress(limit, account, now));
}

/* How far must a period come until this much of the one before counts no more? */
static double
progress_until(double before, double room)
{
	return before <= 0 ? 0 : max_double(0, 1 - room / before);
}

static bool
take_from_window(const GsRateLimit *limit, GsRateAccount *account, int64_t now,
				 double cost, int64_t *wait_us)
{
	double periods;

	move_window(limit, account, now);
	if (at_most(used(limit, account, now) + cost, limit->amount))
	{
		account->level += cost;
		return true;
	}
	if (!at_most(cost, limit->amount))
	{
		*wait_us = GS_RATE_NEVER;
		return false;
	}
	if (at_most(account->level + cost, limit->amount))
		periods = progress_until(account->before, limit->amount - account->level - cost);
	else
		periods = 1 + progress_until(account->level, limit->amount - cost);
	*wait_us =
		wait_of(periods * (double) limit->period_us - (double) (now - account->at));
	return false;
}

/* ----------
 * both
 * ----------
 */

bool
gs_rate_take(const GsRateLimit *limit, GsRateAccount *account, int64_t now, double cost,
			 int64_t *wait_us)
{
	*wait_us = 0;
	if (limit->kind == GS_RATE_TOKEN_BUCKET)
		return take_tokens(limit, account, now, cost, wait_us);
	return take_from_window(limit, account, now, cost, wait_us);
}

void
gs_rate_give_back(const GsRateLimit *limit, GsRateAccount *account, double cost)
{
	if (limit->kind == GS_RATE_TOKEN_BUCKET)
		account->level = min_double(account->level + cost, limit->burst);
	else
		account->level = max_double(0, account->level - cost);
}

double
gs_rate_left(const GsRateLimit *limit, GsRateAccount *account, int64_t now)
{
	if (limit->kind == GS_RATE_TOKEN_BUCKET)
	{
		fill_bucket(limit, account, now);
		return account->level;
	}
	move_window(limit, account, now);
	return max_double(0, limit->amount - used(limit, account, now));
}

double
gs_rate_share(double busy, double allowed, double min_share)
{
	if (busy <= allowed)
		return 1;
	return max_double(min_share, allowed / busy);
}

double
gs_rate_average(double average, double sample, int64_t elapsed_us, int64_t half_life_us)
{
	double keep =
		exp2(-(double) (elapsed_us < 0 ? 0 : elapsed_us) / (double) half_life_us);

	return average * keep + sample * (1 - keep);
}
