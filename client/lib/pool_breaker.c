/*-------------------------------------------------------------------------
 *
 * pool_breaker.c
 *	  The circuit breaker of one server: whether it may be asked now.
 *
 * The model (Michael Nygard, Release It!, 2007, "Circuit Breaker"):
 *
 * 1. CLOSED: every call is admitted, and how it went is counted in a window of
 *	  ten buckets that slides over time.  The breaker opens when at least
 *	  min_failures calls of the window met an unhealthy server and these are at
 *	  least failure_percent of all; or when so many in a row did and there has
 *	  been no healthy answer for a tenth of the window (a server that froze
 *	  after thousands of good answers; but a crash that takes all connections in
 *	  one moment is one failure, not many); or when at least as many calls came
 *	  too late or failed and not one was answered in time.  A few late answers
 *	  do not open it: one game that everybody waits for makes its own callers
 *	  late, while the server is well.
 * 2. OPEN: no call is admitted, so that callers get their error at once and the
 *	  server is left in peace.  This lasts open_min, doubled for each time in a
 *	  row up to open_max, less a random part of up to a half: the pools of
 *	  many processes do not come back in one wave.
 * 3. HALF_OPEN, when that time is over: `trials` calls are admitted.  If all
 *	  succeed it closes and forgets the past; at the first that does not it is
 *	  open again.  A late answer counts as a failure here.
 * 4. A permit carries the number of changes of state so far.  What was
 *	  admitted in another state than the present one says nothing about this one
 *	  (a call that hung since before the opening is no failed trial) and is not
 *	  counted.
 * 5. There is no timer: OPEN becomes HALF_OPEN when somebody asks.
 *
 * Pure: `now` is an argument; the owner's lock protects the struct.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_breaker.h"

#include <string.h>

/* Counts of the window. */
typedef struct Window
{
	uint64_t healthy;
	uint64_t unhealthy;
	uint64_t too_late;
} Window;

void
gsp_breaker_init(GspBreaker *breaker, const GspBreakerOptions *options)
{
	memset(breaker, 0, sizeof(*breaker));
	breaker->options = *options;
	for (int i = 0; i < GSP_BREAKER_BUCKETS; i++)
		breaker->buckets[i].slot = -1;
	breaker->healthy_at = -options->window;
}

static int64_t
slot_of(const GspBreaker *breaker, GspTime now)
{
	int64_t length = breaker->options.window / GSP_BREAKER_BUCKETS;

	return now / (length > 0 ? length : 1);
}

static void
count_outcome(GspBreaker *breaker, GspTime now, GspOutcome outcome)
{
	int64_t slot = slot_of(breaker, now);
	struct GspBreakerBucket *bucket = &breaker->buckets[slot % GSP_BREAKER_BUCKETS];

	if (bucket->slot != slot)
		*bucket = (struct GspBreakerBucket){.slot = slot};
	switch (outcome)
	{
		case GSP_HEALTHY:
			bucket->healthy++;
			breaker->healthy_at = now;
			breaker->in_row = 0;
			break;
		case GSP_UNHEALTHY:
			bucket->unhealthy++;
			if (now - breaker->unhealthy_at > breaker->options.window)
				breaker->in_row = 0;
			breaker->unhealthy_at = now;
			if (breaker->in_row < INT_MAX)
				breaker->in_row++;
			break;
		case GSP_TOO_LATE:
			bucket->too_late++;
			break;
	}
}

static Window
window(const GspBreaker *breaker, GspTime now)
{
	int64_t last = slot_of(breaker, now);
	Window sum = {0};

	for (int i = 0; i < GSP_BREAKER_BUCKETS; i++)
	{
		const struct GspBreakerBucket *bucket = &breaker->buckets[i];

		if (bucket->slot < 0 || bucket->slot <= last - GSP_BREAKER_BUCKETS)
			continue;
		sum.healthy += bucket->healthy;
		sum.unhealthy += bucket->unhealthy;
		sum.too_late += bucket->too_late;
	}
	return sum;
}

/* Item 1: is it enough? */
static bool
should_open(const GspBreaker *breaker, GspTime now)
{
	Window w = window(breaker, now);
	uint64_t enough = (uint64_t) breaker->options.min_failures;
	uint64_t all = w.healthy + w.unhealthy + w.too_late;

	if (enough == 0)
		return false;
	if (w.unhealthy >= enough &&
		w.unhealthy * 100 >= all * (uint64_t) breaker->options.failure_percent)
		return true;
	if (breaker->in_row >= breaker->options.min_failures &&
		now - breaker->healthy_at >= breaker->options.window / GSP_BREAKER_BUCKETS)
		return true;
	return w.healthy == 0 && all >= enough;
}

static void
change_state(GspBreaker *breaker, GspBreakerState state)
{
	breaker->state = state;
	breaker->epoch++;
	breaker->trials_running = 0;
	breaker->trials_succeeded = 0;
}

static void
open_breaker(GspBreaker *breaker, GspTime now, GspRandom *random)
{
	int64_t span = breaker->options.open_min;

	for (int i = 0; i < breaker->opened_in_row && span < breaker->options.open_max; i++)
		span =
			span > breaker->options.open_max / 2 ? breaker->options.open_max : span * 2;
	if (span > breaker->options.open_max)
		span = breaker->options.open_max;
	span -= gsp_random_up_to(random, span / 2);
	if (breaker->opened_in_row < 64)
		breaker->opened_in_row++;
	breaker->times_opened++;
	breaker->half_open_at = gsp_after(now, span);
	change_state(breaker, GSP_BREAKER_OPEN);
}

static void
close_breaker(GspBreaker *breaker)
{
	for (int i = 0; i < GSP_BREAKER_BUCKETS; i++)
		breaker->buckets[i] = (struct GspBreakerBucket){.slot = -1};
	breaker->in_row = 0;
	breaker->opened_in_row = 0;
	change_state(breaker, GSP_BREAKER_CLOSED);
}

bool
gsp_breaker_allows(const GspBreaker *breaker, GspTime now)
{
	switch (breaker->state)
	{
		case GSP_BREAKER_CLOSED:
			return true;
		case GSP_BREAKER_OPEN:
			return now >= breaker->half_open_at;
		case GSP_BREAKER_HALF_OPEN:
			return breaker->trials_running + breaker->trials_succeeded <
				   breaker->options.trials;
	}
	return false;
}

bool
gsp_breaker_admit(GspBreaker *breaker, GspTime now, GspPermit *permit)
{
	if (!gsp_breaker_allows(breaker, now))
		return false;
	if (breaker->state == GSP_BREAKER_OPEN)
		change_state(breaker, GSP_BREAKER_HALF_OPEN);
	permit->epoch = breaker->epoch;
	permit->trial = breaker->state == GSP_BREAKER_HALF_OPEN;
	if (permit->trial)
		breaker->trials_running++;
	return true;
}

bool
gsp_breaker_record(GspBreaker *breaker, GspTime now, GspPermit permit, GspOutcome outcome,
				   GspRandom *random)
{
	if (permit.epoch != breaker->epoch)
		return false;
	if (!permit.trial)
	{
		count_outcome(breaker, now, outcome);
		if (outcome == GSP_HEALTHY || !should_open(breaker, now))
			return false;
		open_breaker(breaker, now, random);
		return true;
	}
	breaker->trials_running--;
	if (outcome != GSP_HEALTHY)
	{
		open_breaker(breaker, now, random);
		return true;
	}
	if (++breaker->trials_succeeded < breaker->options.trials)
		return false;
	close_breaker(breaker);
	return true;
}

void
gsp_breaker_forget(GspBreaker *breaker, GspPermit permit)
{
	if (permit.trial && permit.epoch == breaker->epoch)
		breaker->trials_running--;
}

GspTime
gsp_breaker_next(const GspBreaker *breaker, GspTime now)
{
	if (gsp_breaker_allows(breaker, now))
		return now;
	/* A half-open one waits for its trials, which wake whoever waits. */
	return breaker->state == GSP_BREAKER_OPEN ? breaker->half_open_at : GSP_NEVER;
}

const char *
gsp_breaker_state_name(GspBreakerState state)
{
	switch (state)
	{
		case GSP_BREAKER_CLOSED:
			return "closed";
		case GSP_BREAKER_OPEN:
			return "open";
		case GSP_BREAKER_HALF_OPEN:
			return "half-open";
	}
	return "unknown";
}
