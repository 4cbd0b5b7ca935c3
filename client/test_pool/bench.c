/*-------------------------------------------------------------------------
 *
 * bench.c
 *	  What a pool costs: the breaker's decision, taking a connection and giving
 *	  it back, and a call through a pool beside one on a connection.
 *
 * usage: bench SECONDS CONNINFO
 *
 * Prints one JSON object.  Calls on a connection and through the pool take turns,
 * so that whatever else the machine does meets both.
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_pool.h"
#include "pool_breaker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8

static gamestate_pool *pool;
static GspTime span; /* of one measurement */

static void
fail(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

/* Processor time of this process, in microseconds. */
static int64_t
processor_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * GSP_S + ts.tv_nsec / 1000;
}

/* Nanoseconds of processor time for "may I" and "it went well". */
static double
breaker_ns(void)
{
	GspBreaker breaker;
	GspBreakerOptions options = {.min_failures = 5,
								 .failure_percent = 50,
								 .trials = 2,
								 .window = 10 * GSP_S,
								 .open_min = GSP_S,
								 .open_max = GSP_S};
	GspRandom dice;
	GspTime begun = gsp_now();
	GspTime now = begun;
	int64_t cpu = processor_time();
	int64_t count = 0;

	gsp_random_init(&dice, 1);
	gsp_breaker_init(&breaker, &options);
	while (now - begun < span)
	{
		for (int i = 0; i < 1000; i++)
		{
			GspPermit permit;

			if (!gsp_breaker_admit(&breaker, now, &permit))
				fail("the breaker has opened");
			gsp_breaker_record(&breaker, now, permit, GSP_HEALTHY, &dice);
		}
		count += 1000;
		now = gsp_now();
	}
	return (double) (processor_time() - cpu) * 1000 / (double) count;
}

static void *
check_out_and_in(void *arg)
{
	GspTime begun = gsp_now();
	int64_t *count = arg;

	while (gsp_now() - begun < span)
		for (int i = 0; i < 100; i++)
		{
			gamestate_conn *conn;

			if (gamestate_pool_checkout(pool, NULL, &conn) != GAMESTATE_OK)
				fail("no connection");
			gamestate_pool_checkin(pool, conn);
			*count += 1;
		}
	return NULL;
}

/* Nanoseconds of processor time for each, with so many threads at it. */
static double
checkout_ns(int threads)
{
	pthread_t thread[THREADS];
	int64_t count[THREADS] = {0};
	int64_t cpu = processor_time();
	int64_t all = 0;

	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, check_out_and_in, &count[i]) != 0)
			fail("no thread");
	for (int i = 0; i < threads; i++)
	{
		pthread_join(thread[i], NULL);
		all += count[i];
	}
	return (double) (processor_time() - cpu) * 1000 / (double) all;
}

/* Microseconds a call, of wall-clock and of our processor time. */
static void
measure_calls(gamestate_conn *conn, double *us, double *cpu_us)
{
	gamestate_call call;
	GspTime begun = gsp_now();
	int64_t cpu = processor_time();
	int64_t count = 0;

	gamestate_call_sql(&call, "SELECT 1", NULL, 0,
					   GAMESTATE_SQL_READ | GAMESTATE_SQL_PREPARE);
	while (gsp_now() - begun < span / 10)
		for (int i = 0; i < 20; i++)
		{
			gamestate_result *result;
			gamestate_status status =
				conn != NULL ? gamestate_run(conn, &call, 10000, &result)
							 : gamestate_pool_run(pool, &call, NULL, &result);

			if (status != GAMESTATE_OK)
				fail(gamestate_result_error(result)->message);
			gamestate_result_free(result);
			count++;
		}
	*us += (double) (gsp_now() - begun) / (double) count / 10;
	*cpu_us += (double) (processor_time() - cpu) / (double) count / 10;
}

int
main(int argc, char **argv)
{
	gamestate_pool_options options = GAMESTATE_POOL_OPTIONS_INIT;
	gamestate_conn *conn;
	char why[256];
	double breaker;
	double alone;
	double together;
	double conn_us = 0;
	double conn_cpu = 0;
	double pool_us = 0;
	double pool_cpu = 0;

	if (argc != 3)
		return 2;
	span = (GspTime) (atof(argv[1]) * (double) GSP_S);
	options.min_connections = options.max_connections = THREADS;
	if (gamestate_pool_open(argv[2], &options, &pool, why, sizeof(why)) != GAMESTATE_OK)
		fail(why);
	if (gamestate_pool_warm_up(pool, 30000) != GAMESTATE_OK)
		fail("no connections");
	conn = gamestate_connect(argv[2], NULL);
	if (gamestate_conn_get_state(conn) != GAMESTATE_CONN_READY)
		fail(gamestate_conn_error(conn)->message);

	breaker = breaker_ns();
	alone = checkout_ns(1);
	together = checkout_ns(THREADS);
	for (int i = 0; i < 10; i++)
	{
		measure_calls(conn, &conn_us, &conn_cpu);
		measure_calls(NULL, &pool_us, &pool_cpu);
	}
	printf(
		"{\"breaker_ns\":%.1f,\"checkout_ns\":%.0f,\"checkout_8_ns\":%.0f,"
		"\"conn_us\":%.2f,\"conn_cpu_us\":%.2f,\"pool_us\":%.2f,\"pool_cpu_us\":%.2f}\n",
		breaker, alone, together, conn_us, conn_cpu, pool_us, pool_cpu);
	gamestate_conn_close(conn);
	gamestate_pool_close(pool);
	return 0;
}
