/*
 * test_pool.c: unit test of what the pool of libgamestate decides, with a clock
 * of the test's own: backoff (pool_backoff.c), circuit breaker (pool_breaker.c),
 * deadlines (pool_time.h), what is tried again (pool_retry.c), connection strings
 * with several hosts (pool_conninfo.c), why no connection came about
 * (connect_error.c).
 */
#include "connect_error.h"
#include "pool_backoff.h"
#include "pool_breaker.h"
#include "pool_conninfo.h"
#include "pool_retry.h"
#include "pool_time.h"

#include <stdlib.h>

#include "tap.h"

static GspRandom dice;

/* -----------------------------------------------------------------------
 * Times
 * -----------------------------------------------------------------------
 */

static void
test_time(void)
{
	ok(gsp_after(5, 7) == 12, "a time and a span");
	ok(gsp_after(GSP_NEVER - 3, 7) == GSP_NEVER, "a sum that is too large is never");
	ok(gsp_after(GSP_NEVER, 0) == GSP_NEVER, "never stays never");
	ok(gsp_earlier(3, GSP_NEVER) == 3 && gsp_earlier(9, 4) == 4, "the earlier one");
	ok(gsp_poll_timeout(100, GSP_NEVER) == -1, "never is poll's -1");
	ok(gsp_poll_timeout(100, 100) == 0 && gsp_poll_timeout(100, 50) == 0,
	   "a time that is over is 0");
	ok(gsp_poll_timeout(0, 1) == 1 && gsp_poll_timeout(0, 1000) == 1 &&
		   gsp_poll_timeout(0, 1001) == 2,
	   "parts of milliseconds count as whole ones");
	ok(gsp_poll_timeout(0, GSP_NEVER - 1) == INT_MAX,
	   "more than poll can wait is its most");
	ok(gsp_timespec(1500001).tv_sec == 1 && gsp_timespec(1500001).tv_nsec == 500001000,
	   "as a timespec");
}

/* -----------------------------------------------------------------------
 * Backoff
 * -----------------------------------------------------------------------
 */

static void
test_backoff(void)
{
	GspBackoff backoff;
	int64_t least = INT64_MAX;
	int64_t most = 0;
	int64_t sum = 0;
	bool inside = true;

	for (int attempt = 0; attempt < 70; attempt++)
	{
		int64_t range = attempt < 10 ? INT64_C(100) << attempt : 50000;
		int64_t wait;

		if (range > 50000)
			range = 50000;
		for (int i = 0; i < 50; i++)
		{
			gsp_backoff_init(&backoff, 100, 50000);
			for (int j = 0; j < attempt; j++)
				gsp_backoff_next(&backoff, &dice);
			wait = gsp_backoff_next(&backoff, &dice);
			inside = inside && wait >= 0 && wait <= range;
		}
	}
	ok(inside, "every wait is between 0 and base * 2^n, and the cap");

	gsp_backoff_init(&backoff, 1000, 1000);
	for (int i = 0; i < 10000; i++)
	{
		int64_t wait = gsp_backoff_next(&backoff, &dice);

		sum += wait;
		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	ok(least < 20 && most > 980 && most <= 1000, "full jitter uses the whole interval");
	ok(sum > 10000 * 470 && sum < 10000 * 530, "evenly");

	gsp_backoff_init(&backoff, 10, INT64_MAX);
	for (int i = 0; i < 200; i++)
		gsp_backoff_next(&backoff, &dice);
	ok(gsp_backoff_next(&backoff, &dice) >= 0, "no cap overflows");
	gsp_backoff_reset(&backoff);
	ok(gsp_backoff_next(&backoff, &dice) <= 10, "after a success it starts anew");

	ok(gsp_random_up_to(&dice, 0) == 0 && gsp_random_up_to(&dice, -5) == 0,
	   "nothing to choose from");
}

/* -----------------------------------------------------------------------
 * Circuit breaker
 * -----------------------------------------------------------------------
 */

static const GspBreakerOptions standard = {
	.min_failures = 5,
	.failure_percent = 50,
	.trials = 2,
	.window = 10 * GSP_S,
	.open_min = 500 * GSP_MS,
	.open_max = 8 * GSP_S,
};

/* One call; false: it was not admitted. */
static bool
call(GspBreaker *breaker, GspTime now, GspOutcome outcome)
{
	GspPermit permit;

	if (!gsp_breaker_admit(breaker, now, &permit))
		return false;
	gsp_breaker_record(breaker, now, permit, outcome, &dice);
	return true;
}

static void
call_many(GspBreaker *breaker, GspTime now, GspOutcome outcome, int count)
{
	for (int i = 0; i < count; i++)
		call(breaker, now, outcome);
}

static void
test_breaker_opens(void)
{
	GspBreaker breaker;

	gsp_breaker_init(&breaker, &standard);
	ok(gsp_breaker_allows(&breaker, 0), "a new breaker is closed");
	call_many(&breaker, 1, GSP_UNHEALTHY, 4);
	ok(breaker.state == GSP_BREAKER_CLOSED, "four failures are not enough");
	call(&breaker, 2, GSP_UNHEALTHY);
	ok(breaker.state == GSP_BREAKER_OPEN, "five are");
	ok(!call(&breaker, 3, GSP_HEALTHY), "an open breaker admits nobody");
	ok(breaker.times_opened == 1, "openings are counted");

	gsp_breaker_init(&breaker, &standard);
	call_many(&breaker, 1, GSP_HEALTHY, 100);
	call_many(&breaker, 2, GSP_UNHEALTHY, 99);
	ok(breaker.state == GSP_BREAKER_CLOSED, "99 of 199 calls are less than half");
	call(&breaker, 3, GSP_UNHEALTHY);
	ok(breaker.state == GSP_BREAKER_OPEN, "100 of 200 are half");

	gsp_breaker_init(&breaker, &standard);
	call_many(&breaker, 1, GSP_UNHEALTHY, 4);
	call_many(&breaker, 11 * GSP_S, GSP_UNHEALTHY, 4);
	ok(breaker.state == GSP_BREAKER_CLOSED, "what is older than the window is forgotten");
	call(&breaker, 12 * GSP_S, GSP_UNHEALTHY);
	ok(breaker.state == GSP_BREAKER_OPEN, "what is younger is not");

	gsp_breaker_init(&breaker, &standard);
	call(&breaker, 1, GSP_HEALTHY);
	call_many(&breaker, 2, GSP_TOO_LATE, 1000);
	ok(breaker.state == GSP_BREAKER_CLOSED, "late answers do not open it");
	call_many(&breaker, 15 * GSP_S, GSP_TOO_LATE, 4);
	ok(breaker.state == GSP_BREAKER_CLOSED, "a few late answers and no other do not");
	call(&breaker, 15 * GSP_S, GSP_TOO_LATE);
	ok(breaker.state == GSP_BREAKER_OPEN, "nothing but late answers does");

	gsp_breaker_init(&breaker, &standard);
	call_many(&breaker, 0, GSP_HEALTHY, 10000);
	call_many(&breaker, 999 * GSP_MS, GSP_UNHEALTHY, 8);
	ok(breaker.state == GSP_BREAKER_CLOSED,
	   "many that break at one moment are one failure");
	call(&breaker, GSP_S, GSP_UNHEALTHY);
	ok(breaker.state == GSP_BREAKER_OPEN,
	   "one that says nothing for a while has had its time");

	gsp_breaker_init(&breaker, &(GspBreakerOptions){.min_failures = 0, .window = GSP_S});
	call_many(&breaker, 1, GSP_UNHEALTHY, 1000);
	ok(breaker.state == GSP_BREAKER_CLOSED, "it can be switched off");
}

static void
test_breaker_half_open(void)
{
	GspBreaker breaker;
	GspPermit first;
	GspPermit second;
	GspPermit third;
	GspPermit old;
	GspTime now;

	gsp_breaker_init(&breaker, &standard);
	gsp_breaker_admit(&breaker, 0, &old);
	call_many(&breaker, 0, GSP_UNHEALTHY, 5);
	now = gsp_breaker_next(&breaker, 0);
	ok(now >= 250 * GSP_MS && now <= 500 * GSP_MS, "open for a random part of open_min");
	ok(!gsp_breaker_allows(&breaker, now - 1) && gsp_breaker_allows(&breaker, now),
	   "until then, and not longer");
	ok(breaker.state == GSP_BREAKER_OPEN, "looking changes nothing");
	ok(gsp_breaker_admit(&breaker, now, &first) && breaker.state == GSP_BREAKER_HALF_OPEN,
	   "the first call makes it half-open");
	ok(gsp_breaker_admit(&breaker, now, &second) &&
		   !gsp_breaker_admit(&breaker, now, &third),
	   "it admits two and no more");
	ok(gsp_breaker_next(&breaker, now) == GSP_NEVER, "the next has to wait for them");
	ok(!gsp_breaker_record(&breaker, now, old, GSP_UNHEALTHY, &dice) &&
		   breaker.state == GSP_BREAKER_HALF_OPEN,
	   "a failure from before does not count");
	gsp_breaker_forget(&breaker, second);
	ok(gsp_breaker_admit(&breaker, now, &second),
	   "a trial that did not take place is replaced");
	ok(!gsp_breaker_record(&breaker, now, first, GSP_HEALTHY, &dice) &&
		   !gsp_breaker_allows(&breaker, now),
	   "one success is not enough");
	ok(gsp_breaker_record(&breaker, now, second, GSP_HEALTHY, &dice) &&
		   breaker.state == GSP_BREAKER_CLOSED,
	   "two are: it is closed");
	call_many(&breaker, now, GSP_UNHEALTHY, 4);
	ok(breaker.state == GSP_BREAKER_CLOSED, "and has forgotten the past");
}

static void
test_breaker_reopens(void)
{
	GspBreaker breaker;
	GspTime now = 0;
	bool longer = true;

	gsp_breaker_init(&breaker, &standard);
	call_many(&breaker, now, GSP_UNHEALTHY, 5);
	for (int i = 0; i < 100; i++)
	{
		int64_t most = i < 5 ? standard.open_min << i : standard.open_max;
		GspTime next = gsp_breaker_next(&breaker, now);

		most = most > standard.open_max ? standard.open_max : most;
		longer = longer && next - now <= most && next - now >= most / 2;
		now = next;
		call(&breaker, now, i % 2 ? GSP_UNHEALTHY : GSP_TOO_LATE);
	}
	ok(longer, "each failed trial doubles the time it is open, up to open_max");
	now = gsp_breaker_next(&breaker, now);
	call(&breaker, now, GSP_HEALTHY);
	call(&breaker, now, GSP_HEALTHY);
	call_many(&breaker, now, GSP_UNHEALTHY, 5);
	ok(breaker.state == GSP_BREAKER_OPEN &&
		   gsp_breaker_next(&breaker, now) - now <= standard.open_min,
	   "once it was closed, it starts with open_min again");
	is(gsp_breaker_state_name(GSP_BREAKER_HALF_OPEN), "half-open", "names");
}

/* -----------------------------------------------------------------------
 * What is tried again
 * -----------------------------------------------------------------------
 */

static void
judged(const char *sqlstate, GspVerdict of_write, GspVerdict of_read, bool unhealthy)
{
	GspJudgement once = gsp_judge_call(sqlstate, false);
	GspJudgement twice = gsp_judge_call(sqlstate, true);

	ok(once.verdict == of_write && twice.verdict == of_read &&
		   once.unhealthy == unhealthy && once.not_done == (of_write != GSP_UNKNOWN),
	   "%s", sqlstate != NULL ? sqlstate : "no answer");
}

static void
test_retry(void)
{
	judged("GS001", GSP_ANSWER, GSP_ANSWER, false);
	judged("GS006", GSP_ANSWER, GSP_ANSWER, false);
	judged("GS013", GSP_RETRY, GSP_RETRY, false);
	judged("25006", GSP_RETRY, GSP_RETRY, false);
	judged("40P01", GSP_RETRY, GSP_RETRY, false);
	judged("40001", GSP_RETRY, GSP_RETRY, false);
	judged("57P03", GSP_RETRY, GSP_RETRY, true);
	judged("53300", GSP_RETRY, GSP_RETRY, true);
	judged("57P05", GSP_RETRY, GSP_RETRY, false);
	judged("57P01", GSP_UNKNOWN, GSP_RETRY, true);
	judged("57P02", GSP_UNKNOWN, GSP_RETRY, true);
	judged("08006", GSP_UNKNOWN, GSP_RETRY, true);
	judged("08P01", GSP_UNKNOWN, GSP_RETRY, true);
	judged("08007", GSP_UNKNOWN, GSP_RETRY, false);
	judged(NULL, GSP_UNKNOWN, GSP_RETRY, true);
	judged("", GSP_UNKNOWN, GSP_RETRY, true);
	judged("57014", GSP_ANSWER, GSP_ANSWER, false);
	judged("55P03", GSP_ANSWER, GSP_ANSWER, false);
	judged("53100", GSP_ANSWER, GSP_ANSWER, true);
	judged("22023", GSP_ANSWER, GSP_ANSWER, false);
	ok(gsp_judge_call("25006", false).wrong_role &&
		   !gsp_judge_call("40001", false).wrong_role,
	   "25006: another server takes writes");
}

/* -----------------------------------------------------------------------
 * Connection strings
 * -----------------------------------------------------------------------
 */

static void
splits(const char *conninfo, int servers, GspTarget target, const char *names)
{
	GspConninfo result;
	char why[256] = "";
	char got[512] = "";

	ok(gsp_conninfo_split(conninfo, &result, why, sizeof(why)) == 0 &&
		   result.servers == servers && result.target == target,
	   "%s %s", conninfo, why);
	for (int i = 0; i < result.servers; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s ", result.name[i]);
	is(got, names, "its servers");
	gsp_conninfo_free(&result);
}

static void
refuses(const char *conninfo, const char *message)
{
	GspConninfo result;
	char why[256] = "";

	ok(gsp_conninfo_split(conninfo, &result, why, sizeof(why)) != 0 &&
		   strstr(why, message) != NULL,
	   "%s: %s", conninfo, why);
}

static void
test_conninfo(void)
{
	GspConninfo result;
	char why[256];

	unsetenv("PGHOST");
	unsetenv("PGPORT");
	splits("host=a,b,c port=1,2,3", 3, GSP_TARGET_ANY, "a:1 b:2 c:3 ");
	splits("host=a,b port=7 target_session_attrs=read-write", 2, GSP_TARGET_READ_WRITE,
		   "a:7 b:7 ");
	splits("hostaddr=10.0.0.1,10.0.0.2 port=5,6", 2, GSP_TARGET_ANY,
		   "10.0.0.1:5 10.0.0.2:6 ");
	splits("postgresql://u@a:5433,b:5434/games?target_session_attrs=prefer-standby", 2,
		   GSP_TARGET_PREFER_STANDBY, "a:5433 b:5434 ");
	setenv("PGHOST", "e,f", 1);
	setenv("PGPORT", "9", 1);
	setenv("PGTARGETSESSIONATTRS", "standby", 1);
	splits("dbname=x", 2, GSP_TARGET_STANDBY, "e:9 f:9 ");
	unsetenv("PGHOST");
	unsetenv("PGPORT");
	unsetenv("PGTARGETSESSIONATTRS");

	ok(gsp_conninfo_split("host=a,b dbname='it''s' user=me password='p\\'w\\\\d' "
						  "channel_binding=disable connect_timeout=3",
						  &result, why, sizeof(why)) != 0 &&
		   why[0] != '\0',
	   "what libpq does not understand: %s", why);
	ok(gsp_conninfo_split("host=a,b dbname=games user=me password='p\\'w\\\\d' "
						  "channel_binding=disable connect_timeout=3",
						  &result, why, sizeof(why)) == 0,
	   "one with much in it");
	ok(strstr(result.conninfo[1], "host='b'") &&
		   !strstr(result.conninfo[1], "host='a'") &&
		   strstr(result.conninfo[1], "dbname='games'") &&
		   strstr(result.conninfo[1], "password='p\\'w\\\\d'") &&
		   strstr(result.conninfo[1], "channel_binding='disable'") &&
		   strstr(result.conninfo[1], "connect_timeout='3'") &&
		   strstr(result.conninfo[1], "target_session_attrs='any'"),
	   "each server has all of it and its own host");
	gsp_conninfo_free(&result);
	ok(result.servers == 0, "and is freed");

	refuses("host=a,b port=1,2,3", "3 port numbers to 2 hosts");
	refuses("host=a,b,c hostaddr=10.0.0.1,10.0.0.2", "hostaddr");
	refuses("host=a target_session_attrs=sometimes", "sometimes");
	refuses("hots=a", "hots");
	refuses("host=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "17 hosts");
}

/* -----------------------------------------------------------------------
 * Errors of connecting
 * -----------------------------------------------------------------------
 */

static void
shortens(const char *message, const char *expected, const char *sqlstate)
{
	char *copy = strdup(message);
	char code[6];

	gsl_connect_error(copy, code);
	is(copy, expected, expected);
	is(code, sqlstate, "its SQLSTATE");
	free(copy);
}

static void
test_connect_error(void)
{
	shortens(
		"connection failed: FATAL:  53300: sorry\nLOCATION:  InitProcess, proc.c:361\n",
		"connection failed: FATAL:  sorry", "53300");
	shortens(
		"failed: FATAL:  28000: no entry, SSL encryption\nLOCATION:  f, auth.c:1\n"
		"failed: FATAL:  3D000: no database\nDETAIL:  d\nLOCATION:  f, p.c:22\n",
		"failed: FATAL:  no entry, SSL encryption\nfailed: FATAL:  no database\nDETAIL:  d",
		"3D000");
	shortens("failed: Connection refused\n\tIs the server running?\n",
			 "failed: Connection refused\n\tIs the server running?", "");
	shortens("", "", "");
	shortens("x:  57P0", "x:  57P0", "");
	shortens("x:  57P03: ", "x:  ", "57P03");
	shortens("\n.c:1\nx", "\n.c:1\nx", "");
}

int
main(void)
{
	gsp_random_init(&dice, 42);
	test_time();
	test_backoff();
	test_breaker_opens();
	test_breaker_half_open();
	test_breaker_reopens();
	test_retry();
	test_conninfo();
	test_connect_error();
	return tap_done();
}
