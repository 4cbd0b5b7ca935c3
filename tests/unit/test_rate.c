/*-------------------------------------------------------------------------
 *
 * test_rate.c
 *	  Unit test of the arithmetic of rate limits (extension/gs_rate.c), with a
 *	  clock that the test sets.
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_rate.c extension/gs_rate.c -lm
 *
 *-------------------------------------------------------------------------
 */
#include "gs_rate.h"

#include <math.h>
#include <stdlib.h>

#include "tap.h"

#define SECOND INT64_C(1000000)
#define START  (INT64_C(780000000) * SECOND) /* like today's TimestampTz */

static const GsRateLimit bucket = {GS_RATE_TOKEN_BUCKET, 5, 10, SECOND};
static const GsRateLimit window = {GS_RATE_SLIDING_WINDOW, 10, 0, SECOND};

static int64_t waited;

static bool
take(const GsRateLimit *limit, GsRateAccount *account, int64_t now, double cost)
{
	return gs_rate_take(limit, account, now, cost, &waited);
}

/* how many calls of one cost pass, of n at the same time */
static int
burst(const GsRateLimit *limit, GsRateAccount *account, int64_t now, int n)
{
	int passed = 0;

	for (int i = 0; i < n; i++)
		passed += take(limit, account, now, 1);
	return passed;
}

static bool
near(double a, double b)
{
	return fabs(a - b) < 1e-6;
}

static void
test_bucket(void)
{
	GsRateAccount account = {0};
	GsRateAccount copy;

	ok(near(gs_rate_left(&bucket, &account, START), 10), "a new bucket is full");
	ok(burst(&bucket, &account, START, 20) == 10, "a burst is what the bucket holds");
	ok(waited == SECOND / 5, "the next token comes in a fifth of a second");
	copy = account;
	ok(!take(&bucket, &account, START, 1) && account.level == copy.level,
	   "who is refused takes nothing");
	ok(!take(&bucket, &account, START + SECOND / 5 - 1, 1) && waited == 1,
	   "a microsecond too early");
	ok(take(&bucket, &account, START + SECOND / 5, 1), "when it was told to come");
	ok(!take(&bucket, &account, START + SECOND / 5, 1), "and once only");
	ok(burst(&bucket, &account, START + SECOND / 5 + SECOND, 20) == 5,
	   "five in a second");
	ok(burst(&bucket, &account, START + 1000 * SECOND, 20) == 10,
	   "after a long time it is full, and not more");
	ok(!take(&bucket, &account, START + 1000 * SECOND, 10) && waited == 2 * SECOND,
	   "ten tokens take two seconds");
	ok(!take(&bucket, &account, START + 2000 * SECOND, 10.5) && waited == GS_RATE_NEVER,
	   "more than it holds never comes");
	ok(take(&bucket, &account, START + 2000 * SECOND, 0), "what costs nothing passes");
	ok(take(&bucket, &account, START + 2000 * SECOND, 0.5) &&
		   near(gs_rate_left(&bucket, &account, START + 2000 * SECOND), 9.5),
	   "parts of a token");
	gs_rate_give_back(&bucket, &account, 0.5);
	gs_rate_give_back(&bucket, &account, 3);
	ok(near(account.level, 10), "what is given back does not overflow");
}

static void
test_bucket_clock(void)
{
	GsRateAccount account = {0};
	GsRateLimit other = bucket;

	burst(&bucket, &account, START, 10);
	ok(!take(&bucket, &account, START - 3600 * SECOND, 1) && waited == SECOND / 5,
	   "a clock that is set back gives nothing");
	ok(take(&bucket, &account, START - 3600 * SECOND + SECOND / 5, 1),
	   "and the bucket goes on from there");
	account = (GsRateAccount){0};
	burst(&bucket, &account, START, 3);
	other.burst = 2;
	ok(near(gs_rate_left(&other, &account, START), 2), "a smaller bucket overflows");
	other.burst = 100;
	ok(near(gs_rate_left(&other, &account, START + SECOND), 7),
	   "a larger one fills as fast as before");
}

static void
test_window(void)
{
	GsRateAccount account = {0};

	ok(burst(&window, &account, START, 20) == 10, "ten in a period");
	ok(waited == SECOND + SECOND / 10, "the first of them goes a tenth into the next");
	ok(!take(&window, &account, START + SECOND, 1) && waited == SECOND / 10,
	   "as the period ends, all of them count");
	ok(take(&window, &account, START + SECOND + SECOND / 10, 1), "when told to come");
	ok(!take(&window, &account, START + SECOND + SECOND / 10, 1), "and once only");
	ok(near(gs_rate_left(&window, &account, START + SECOND + SECOND / 2), 4),
	   "half of the period before counts half");
	ok(!take(&window, &account, START + SECOND + SECOND / 2, 10),
	   "as much as there may be in a period");
	ok(take(&window, &account, START + SECOND + SECOND / 2 + waited, 10),
	   "when told to come");
	ok(near(gs_rate_left(&window, &account, START + 100 * SECOND), 10),
	   "two periods later all is forgotten");
	ok(!take(&window, &account, START + 100 * SECOND, 11) && waited == GS_RATE_NEVER,
	   "more than a period's amount never passes");
	ok(take(&window, &account, START + 100 * SECOND, 4) &&
		   near(gs_rate_left(&window, &account, START + 100 * SECOND), 6),
	   "costs");
	gs_rate_give_back(&window, &account, 1.5);
	ok(near(gs_rate_left(&window, &account, START + 100 * SECOND), 7.5), "given back");
	gs_rate_give_back(&window, &account, 100);
	ok(near(gs_rate_left(&window, &account, START + 100 * SECOND), 10), "not below none");
}

static void
test_window_clock(void)
{
	GsRateAccount account = {0};

	burst(&window, &account, START, 10);
	ok(!take(&window, &account, START - SECOND / 2, 1), "set back a little");
	ok(waited == SECOND + SECOND / 2 + SECOND / 10, "it has to catch up");
	ok(!take(&window, &account, START - 3600 * SECOND, 1) && waited <= 2 * SECOND,
	   "set back by far: nobody waits for hours");
	ok(take(&window, &account, START - 3600 * SECOND + waited, 1), "and then passes");
}

/*
 * Whatever calls come, when and at what cost: what passes stays below the limit,
 * and who comes back when told to, passes.
 */
static void
test_random(const GsRateLimit *limit, const char *name)
{
	GsRateAccount account = {0};
	int64_t now = START;
	double passed = 0;
	int promises = 0;
	int kept = 0;
	double most;

	srand(1);
	for (int i = 0; i < 200000; i++)
	{
		double cost = (rand() % 40) / 10.0;

		if (take(limit, &account, now, cost))
			passed += cost;
		else if (rand() % 2)
		{
			int64_t wait = waited;

			promises++;
			now += wait;
			if (take(limit, &account, now, cost))
			{
				kept++;
				passed += cost;
			}
		}
		now += rand() % 300000;
	}
	/* evenly spread calls may not have more than the limit, give and take a window */
	most = (double) (now - START) / (double) limit->period_us * limit->amount +
		   limit->burst + 2 * limit->amount;
	ok(passed <= most, "%s: %.0f passed, at most %.0f", name, passed, most);
	ok(passed > 0.5 * most, "%s: and not much less", name);
	ok(promises > 1000 && kept == promises, "%s: %d of %d promises kept", name, kept,
	   promises);
}

static void
test_load(void)
{
	ok(gs_rate_share(3, 8, 0.1) == 1, "few busy sessions: all");
	ok(gs_rate_share(8, 8, 0.1) == 1, "as many as allowed: all");
	ok(near(gs_rate_share(16, 8, 0.1), 0.5), "twice as many: half");
	ok(near(gs_rate_share(1000, 8, 0.1), 0.1), "not below the smallest share");
	ok(near(gs_rate_average(0, 10, SECOND, SECOND), 5), "half after a half-life");
	ok(near(gs_rate_average(4, 10, 0, SECOND), 4), "nothing after no time");
	ok(near(gs_rate_average(4, 10, -5, SECOND), 4), "nor when the clock is set back");
	ok(near(gs_rate_average(4, 10, 100 * SECOND, SECOND), 10), "all after a long time");
}

int
main(void)
{
	test_bucket();
	test_bucket_clock();
	test_window();
	test_window_clock();
	test_random(&bucket, "token bucket");
	test_random(&window, "sliding window");
	test_load();
	return tap_done();
}
