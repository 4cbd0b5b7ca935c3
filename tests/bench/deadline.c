/*
 * How late deadlines are set off: gs_bench --deadline.
 *
 * Many games get deadlines at random moments of the same few seconds.  One session
 * follows the games in the change feed: late is how long after a game's deadline it is told
 * that it has passed.
 *
 * Each game must be told of exactly once, as its third version, and not before its
 * deadline; or the program fails.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gs_bench.h"

#define GAME_TYPE "deadline"
#define AT_ONCE	  500

/* Between the last of the deadlines being set and the first one. */
#define HEAD_START_S 2.0
#define PATIENCE_NS	 30000000000LL

typedef struct Told
{
	double *late_ms;
	int n;
	int room;
} Told;

static double
seconds_since(int64_t start)
{
	return (double) (now_ns() - start) / 1e9;
}

/* in_batches: the statement, whose $1 is how many games, until it has had all of them */
static void
in_batches(PGconn *conn, int games, const char *sql, const char *more1, const char *more2)
{
	for (int done = 0; done < games; done += AT_ONCE)
	{
		char n[16], from[16];
		const char *params[] = {n, from, more1, more2};

		snprintf(n, sizeof(n), "%d", games - done < AT_ONCE ? games - done : AT_ONCE);
		snprintf(from, sizeof(from), "%d", done);
		PQclear(query(conn, sql, more1 ? 4 : 2, params));
	}
}

static int64_t
set_off_so_far(PGconn *conn)
{
	return query_int(conn, "SELECT deadlines FROM gamestate.stat_timer");
}

/*
 * Games in a table, by number; then their deadlines.  Setting them takes about as long as
 * creating the games, so the first is that far away, and more.
 */
static void
prepare(PGconn *conn, int games, double seconds)
{
	int64_t start = now_ns();
	int64_t before = set_off_so_far(conn);
	char begin[32], length[32];
	PGresult *result;

	PQclear(query(conn, "CREATE TEMP TABLE made (n int PRIMARY KEY, id uuid)", 0, NULL));
	in_batches(conn, games,
			   "INSERT INTO made SELECT n + $2::int,"
			   " gamestate.create_game('" GAME_TYPE "', to_json(repeat('s', 200)))"
			   " FROM generate_series(1, $1::int) n",
			   NULL, NULL);
	PQclear(query(conn, "ANALYZE made", 0, NULL));
	snprintf(length, sizeof(length), "%f", seconds);
	snprintf(begin, sizeof(begin), "%f s", seconds_since(start) * 2 + HEAD_START_S);
	result = query(conn, "SELECT clock_timestamp() + $1::interval", 1,
				   (const char *[]){begin});
	in_batches(conn, games,
			   "SELECT count(gamestate.set_deadline(id, $3::timestamptz"
			   " + random() * $4::float8 * interval '1 s'))"
			   " FROM made WHERE n > $2::int AND n <= $2::int + $1::int",
			   PQgetvalue(result, 0, 0), length);
	PQclear(result);
	if (set_off_so_far(conn) > before)
		die("the first deadlines have passed before the last one was set");
}

static void
take_row(Told *told, const PGresult *result, int row)
{
	if (strcmp(PQgetvalue(result, row, 1), "deadline") != 0)
		die("a row of kind %s", PQgetvalue(result, row, 1));
	if (strcmp(PQgetvalue(result, row, 2), "3") != 0)
		die("version %s of a game", PQgetvalue(result, row, 2));
	if (told->n == told->room)
		die("told of more than %d deadlines", told->room);
	told->late_ms[told->n] = strtod(PQgetvalue(result, row, 3), NULL);
	if (told->late_ms[told->n] < 0)
		die("a deadline has passed %f ms too early", -told->late_ms[told->n]);
	told->n++;
}

static void
follow(PGconn *conn, const char *from, Told *told)
{
	char position[32];
	int64_t last = now_ns();

	snprintf(position, sizeof(position), "%s", from);
	while (told->n < told->room)
	{
		PGresult *result =
			query(conn,
				  "SELECT feed_position, kind, version, CASE WHEN kind = 'deadline' THEN"
				  " extract(epoch FROM clock_timestamp() - (event #>> '{}')::timestamptz)"
				  " * 1000 END FROM gamestate.wait_changes($1, game_type => '" GAME_TYPE
				  "', timeout => '1 s')",
				  1, (const char *[]){position});
		int rows = PQntuples(result) - 1; /* and the position at the end */

		for (int row = 0; row < rows; row++)
			take_row(told, result, row);
		snprintf(position, sizeof(position), "%s", PQgetvalue(result, rows, 0));
		PQclear(result);
		if (rows > 0)
			last = now_ns();
		else if (now_ns() > last + PATIENCE_NS)
			die("told of %d deadlines of %d", told->n, told->room);
	}
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

void
deadline_run(int games, double seconds)
{
	Told told = {.late_ms = must_alloc(sizeof(double) * (size_t) games), .room = games};
	PGconn *conn = PQconnectdb("application_name=gs_bench");
	PGresult *position;

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	PQclear(query(conn, "SET synchronous_commit = off", 0, NULL));
	prepare(conn, games, seconds);
	position = query(conn, "SELECT gamestate.feed_position()", 0, NULL);
	follow(conn, PQgetvalue(position, 0, 0), &told);
	PQclear(position);
	if (query_int(conn, "SELECT count(DISTINCT id) FROM made"
						" WHERE gamestate.get_version(id) = 3") != games)
		die("not each game is at its third version");
	qsort(told.late_ms, (size_t) games, sizeof(double), compare);
	printf("{\"games\":%d,\"seconds\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
		   "\"max_ms\":%.3f}\n",
		   games, seconds, told.late_ms[games / 2],
		   told.late_ms[(size_t) games * 99 / 100], told.late_ms[games - 1]);
	in_batches(conn, games,
			   "SELECT count(gamestate.delete_game(id)) FROM made"
			   " WHERE n > $2::int AND n <= $2::int + $1::int",
			   NULL, NULL);
	PQfinish(conn);
	free(told.late_ms);
}
