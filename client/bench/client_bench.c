/*
 * client_bench: what libgamestate costs above libpq.
 *
 * usage: client_bench SECONDS ROUND
 *
 * The model: for each kind of call two connections to the same server, one used
 * through libpq as plainly as possible (prepared, the same statement, the same
 * binary parameters, a Sync after each call), one through libgamestate, without
 * deadlines.  They take turns of BATCH calls until the time is up, so that whatever
 * else the machine does meets both.  Printed are calls a second, our own processor
 * time a call, and the median over the turns of libgamestate's time to libpq's: a
 * line of JSON for each.  The number of changes is checked after each turn.
 */
#include <gamestate.h>
#include <libpq-fe.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH	   256
#define IN_FLIGHT  32
#define STATE_SIZE 2048
#define EVENT_SIZE 120
#define MAX_TURNS  10000

#define MOVE_SQL                                                         \
	"SELECT gamestate.apply_move(game_id => $1, expected_version => $2," \
	" event => $3, state => $4, player => $5, request_id => $6)"
#define GET_SQL "SELECT gamestate.get_state(game_id => $1)"

typedef struct Bench
{
	const char *name;
	bool moves;
	int depth;
	bool no_groups;
	PGconn *raw;
	gamestate_conn *conn;
	gamestate_uuid raw_game;
	gamestate_uuid game;
	int64_t version; /* of `game`, as answered */
	int64_t raw_version;
	int unanswered; /* of libpq */
	/* for each of both */
	int64_t calls[2];
	double seconds[2];
	double cpu[2];
	double ratios[MAX_TURNS]; /* libgamestate's time to libpq's, in each turn */
	int turns;
} Bench;

static char state[STATE_SIZE];
static char event[EVENT_SIZE];

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "client_bench: %s: %s\n", what, why);
	exit(1);
}

static double
seconds_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
put64(char *at, int64_t value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (char) ((uint64_t) value >> (56 - 8 * i));
}

static int64_t
get64(const char *at)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | (unsigned char) at[i];
	return (int64_t) value;
}

/* ---- libpq ---- */

static void
raw_open(Bench *bench)
{
	static const Oid move_types[] = {2950, 20, 114, 114, 25, 2950};
	PGresult *result;

	bench->raw = PQconnectdb("fallback_application_name=client_bench");
	if (PQstatus(bench->raw) != CONNECTION_OK)
		die("connect", PQerrorMessage(bench->raw));
	result = PQexec(bench->raw, "SET synchronous_commit = off");
	PQclear(result);
	result = PQprepare(bench->raw, "c", bench->moves ? MOVE_SQL : GET_SQL,
					   bench->moves ? 6 : 1, move_types);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("prepare", PQresultErrorMessage(result));
	PQclear(result);
	if (PQsetnonblocking(bench->raw, 1) != 0 || PQenterPipelineMode(bench->raw) != 1)
		die("pipeline", PQerrorMessage(bench->raw));
}

static void
raw_send(Bench *bench)
{
	static const int formats[6] = {1, 1, 1, 1, 1, 1};
	char version[8];
	const char *values[6] =
		{(const char *) bench->raw_game.bytes, version, event, state, NULL, NULL};
	const int lengths[6] = {16, 8, EVENT_SIZE, STATE_SIZE, 0, 0};

	put64(version, bench->raw_version++);
	if (PQsendQueryPrepared(bench->raw, "c", bench->moves ? 6 : 1, values, lengths,
							formats, 1) != 1 ||
		PQpipelineSync(bench->raw) != 1)
		die("send", PQerrorMessage(bench->raw));
	bench->unanswered++;
}

static void
raw_receive(Bench *bench, int64_t *answered)
{
	if (PQconsumeInput(bench->raw) != 1)
		die("receive", PQerrorMessage(bench->raw));
	while (bench->unanswered > 0 && !PQisBusy(bench->raw))
	{
		PGresult *result = PQgetResult(bench->raw);

		if (result == NULL)
			continue;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			bench->unanswered--;
		else if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
				 PQgetlength(result, 0, 0) != (bench->moves ? 8 : STATE_SIZE))
			die("call", PQresultErrorMessage(result));
		else
			*answered = bench->moves ? get64(PQgetvalue(result, 0, 0)) : 0;
		PQclear(result);
	}
}

static void
raw_batch(Bench *bench)
{
	int64_t answered = 0;

	for (int sent = 0; sent < BATCH || bench->unanswered > 0;)
	{
		struct pollfd fd = {.fd = PQsocket(bench->raw), .events = POLLIN};
		int left;

		while (sent < BATCH && bench->unanswered < bench->depth)
		{
			raw_send(bench);
			sent++;
		}
		left = PQflush(bench->raw);
		if (left < 0)
			die("send", PQerrorMessage(bench->raw));
		if (left > 0)
			fd.events |= POLLOUT;
		poll(&fd, 1, -1);
		raw_receive(bench, &answered);
	}
	if (bench->moves && answered != bench->raw_version)
		die("libpq", "wrong version");
}

/* ---- libgamestate ---- */

static void
lib_open(Bench *bench)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	gamestate_new_game game = {.game_type = "bench", .state = {state, STATE_SIZE}};

	options.no_groups = bench->no_groups;
	bench->conn = gamestate_connect("", &options);
	if (gamestate_sql(bench->conn, "SET synchronous_commit = off", NULL, 0, 0, NULL) !=
			GAMESTATE_OK ||
		gamestate_create_game(bench->conn, &game, &bench->game) != GAMESTATE_OK ||
		gamestate_create_game(bench->conn, &game, &bench->raw_game) != GAMESTATE_OK)
		die("connect", gamestate_conn_error(bench->conn)->message);
	bench->version = 1;
	bench->raw_version = 1;
}

static void
lib_answer(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Bench *bench = arg;

	(void) conn;
	if (gamestate_result_status(result) != GAMESTATE_OK)
		die("call", gamestate_result_error(result)->message);
	if (bench->moves)
		bench->version = gamestate_result_version(result);
	else if (gamestate_result_state(result).len != STATE_SIZE)
		die("call", "wrong state");
}

static void
lib_send(Bench *bench, int64_t expected_version)
{
	gamestate_call call;

	if (bench->moves)
	{
		gamestate_move move = {.game_id = &bench->game,
							   .expected_version = expected_version,
							   .event = {event, EVENT_SIZE},
							   .state = {state, STATE_SIZE}};

		gamestate_call_apply_move(&call, &move);
	}
	else
		gamestate_call_get_state(&call, &bench->game);
	if (gamestate_conn_send(bench->conn, &call, 0, lib_answer, bench) != GAMESTATE_OK)
		die("send", gamestate_conn_error(bench->conn)->message);
}

static void
lib_batch(Bench *bench)
{
	int64_t first = bench->version;

	for (int sent = 0; sent < BATCH || gamestate_conn_in_flight(bench->conn) > 0;)
	{
		struct pollfd fd = {.fd = gamestate_conn_socket(bench->conn), .events = POLLIN};

		while (sent < BATCH && gamestate_conn_in_flight(bench->conn) < bench->depth)
			lib_send(bench, first + sent++);
		gamestate_conn_flush(bench->conn);
		if ((gamestate_conn_wants(bench->conn) & GAMESTATE_WANTS_WRITE) != 0)
			fd.events |= POLLOUT;
		poll(&fd, 1, gamestate_conn_wait_time(bench->conn));
		if (gamestate_conn_process(bench->conn) != GAMESTATE_OK)
			die("receive", gamestate_conn_error(bench->conn)->message);
	}
	if (bench->moves && bench->version != first + BATCH)
		die("libgamestate", "wrong version");
}

/* ---- both ---- */

/* One batch; how long it took. */
static double
measure(Bench *bench, int which)
{
	double start = seconds_of(CLOCK_MONOTONIC);
	double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	double took;

	if (which == 0)
		raw_batch(bench);
	else
		lib_batch(bench);
	bench->calls[which] += BATCH;
	took = seconds_of(CLOCK_MONOTONIC) - start;
	bench->seconds[which] += took;
	bench->cpu[which] += seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	return took;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static double
median_ratio(Bench *bench)
{
	qsort(bench->ratios, (size_t) bench->turns, sizeof(double), compare);
	return bench->ratios[bench->turns / 2];
}

static void
run(Bench *bench, double seconds, int round)
{
	double end;
	bool deleted;

	lib_open(bench);
	raw_open(bench);
	/* once without counting: statements are prepared, plans are made */
	raw_batch(bench);
	lib_batch(bench);
	end = seconds_of(CLOCK_MONOTONIC) + seconds;
	while (bench->turns == 0 ||
		   (seconds_of(CLOCK_MONOTONIC) < end && bench->turns < MAX_TURNS))
	{
		double took[2];
		int first = bench->turns % 2;

		took[first] = measure(bench, first);
		took[1 - first] = measure(bench, 1 - first);
		bench->ratios[bench->turns++] = took[1] / took[0];
	}
	for (int which = 0; which < 2; which++)
		printf("{\"part\":\"client\",\"name\":\"client_%s%s\",\"round\":%d,\"rate\":%.1f,"
			   "\"cpu_us\":%.3f,\"ratio\":%.4f}\n",
			   bench->name, which == 0 ? "_libpq" : "", round,
			   (double) bench->calls[which] / bench->seconds[which],
			   bench->cpu[which] * 1e6 / (double) bench->calls[which],
			   which == 0 ? 1.0 : median_ratio(bench));
	PQfinish(bench->raw);
	gamestate_delete_game(bench->conn, &bench->game, 0, NULL, &deleted);
	gamestate_delete_game(bench->conn, &bench->raw_game, 0, NULL, &deleted);
	gamestate_conn_close(bench->conn);
}

int
main(int argc, char **argv)
{
	static Bench benches[] = {
		{.name = "move", .moves = true, .depth = 1},
		{.name = "get", .depth = 1},
		{.name = "pipe_move", .moves = true, .depth = IN_FLIGHT},
		{.name = "pipe_get", .depth = IN_FLIGHT, .no_groups = true},
		{.name = "pipe_get_grouped", .depth = IN_FLIGHT},
	};

	if (argc != 3)
		die("usage", "client_bench SECONDS ROUND");
	memset(event, '1', sizeof(event));
	memset(state, '2', sizeof(state));
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++)
		run(&benches[i], atof(argv[1]), atoi(argv[2]));
	return 0;
}
