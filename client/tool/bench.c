/*
 * bench.c: one measurement of `gamestate bench`.
 *
 * The model:
 * 1. Some connections of libgamestate, each with as many slots as calls may be
 *    in flight on it.  One thread and poll(2) drive them all.
 * 2. Closed loop: a slot makes the next call when it has its answer.  Open loop:
 *    calls are due at random times (a Poisson process), whether or not the
 *    server keeps up; the first free slot takes the next one, and its latency
 *    counts from when it was due.
 * 3. A game belongs to one slot, so no move waits for another's game, except in
 *    the workload that measures just that.
 * 4. Only answers count, and the server answers after the commit.  Afterwards
 *    each game's version must be what was acknowledged.
 */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"

#define DRAIN_MS	   10000
#define GETS_TO_A_MOVE 4

typedef struct BenchGame
{
	gamestate_uuid id;
	int64_t version; /* as acknowledged */
} BenchGame;

typedef enum BenchCall
{
	CALL_MOVE,
	CALL_GET,
	CALL_CREATE,
	CALL_FINISH
} BenchCall;

typedef struct BenchSlot
{
	Bench *bench;
	gamestate_conn *conn;
	int number;
	BenchCall kind;	 /* of the call in flight */
	BenchGame *game; /* of that */
	BenchGame own;	 /* in the workload of whole games */
	bool has_own;
	uint64_t since; /* latency counts from here */
	struct BenchSlot *next_free;
} BenchSlot;

struct Bench
{
	BenchOptions options;
	bool with_table;
	gamestate_conn **conns;
	struct pollfd *polls;
	BenchSlot *slots;
	int slot_count;
	BenchSlot *free_slots;
	int in_flight;
	BenchGame *games[STORE_COUNT];
	BenchGame shared[STORE_COUNT]; /* that of the contention */
	Buf state;
	Buf event;
	Rng random;

	/* the measurement that runs */
	BenchWorkload workload;
	BenchStore store;
	Hist *latency;
	uint64_t start; /* of the measured time */
	uint64_t end;
	uint64_t due; /* of the next call, open loop */
	uint64_t calls;
	bool failed;
};

static const char *const table_sql[] =
	{"CREATE SCHEMA " BENCH_SCHEMA,
	 "CREATE TABLE " BENCH_SCHEMA ".game (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
	 " status text NOT NULL DEFAULT 'active', version bigint NOT NULL DEFAULT 1,"
	 " updated_at timestamptz NOT NULL DEFAULT now(), state json NOT NULL)"
	 " WITH (fillfactor = 50)",
	 "CREATE TABLE " BENCH_SCHEMA ".log (game uuid NOT NULL, version bigint NOT NULL,"
	 " at timestamptz NOT NULL, event json NOT NULL, PRIMARY KEY (game, version))"};

static const char table_create[] =
	"INSERT INTO " BENCH_SCHEMA ".game (state) VALUES ($1) RETURNING id";
static const char table_move[] =
	"WITH u AS (UPDATE " BENCH_SCHEMA ".game SET state = $4, version = version + 1,"
	" updated_at = now() WHERE id = $1 AND ($2 = 0 OR version = $2)"
	" RETURNING id, version) INSERT INTO " BENCH_SCHEMA ".log"
	" SELECT id, version, now(), $3 FROM u RETURNING version";
static const char table_get[] = "SELECT state FROM " BENCH_SCHEMA ".game WHERE id = $1";
static const char table_finish[] =
	"UPDATE " BENCH_SCHEMA ".game SET status = 'finished', version = version + 1"
	" WHERE id = $1 RETURNING version";
static const char table_version[] =
	"SELECT version FROM " BENCH_SCHEMA ".game WHERE id = $1";

static bool
report_error(const char *what, const gamestate_error *error)
{
	log_error("%s failed: %s%s%s%s", what, error->message,
			  error->sqlstate[0] != '\0' ? " (SQLSTATE " : "", error->sqlstate,
			  error->sqlstate[0] != '\0' ? ")" : "");
	if (error->detail[0] != '\0')
		log_detail("%s", error->detail);
	if (error->hint[0] != '\0')
		log_hint("%s", error->hint);
	if (error->status == GAMESTATE_CONNECT_FAILED ||
		error->status == GAMESTATE_CONNECTION_LOST ||
		error->status == GAMESTATE_NOT_CONNECTED)
		connection_failed = true;
	return false;
}

/* ---- calls ---- */

#define NUMBER_WIDTH 20
static const char number_begins[] = "{\"n\":\"";

/* A JSON object of this size that tells its number; made once, then changed. */
static void
make_document(Buf *out, int64_t number, int size)
{
	char digits[NUMBER_WIDTH + 1];

	snprintf(digits, sizeof(digits), "%0*" PRId64, NUMBER_WIDTH, number);
	if (out->len == 0)
	{
		buf_printf(out, "%s%s\",\"fill\":\"", number_begins, digits);
		while (out->len + 2 < (size_t) size)
			buf_putc(out, (char) ('a' + (int) (out->len % 26)));
		buf_puts(out, "\"}");
	}
	else
		memcpy(out->data + strlen(number_begins), digits, NUMBER_WIDTH);
}

static gamestate_data
document(const Buf *buf)
{
	return (gamestate_data){buf->data, buf->len};
}

/* Parameters must live until the call is sent. */
static void
make_table_call(Bench *bench, BenchCall kind, const BenchGame *game, int64_t expected,
				gamestate_param params[4], gamestate_call *call)
{
	int flags = GAMESTATE_SQL_PREPARE;

	if (kind == CALL_CREATE)
	{
		params[0] = gamestate_param_json(document(&bench->state));
		gamestate_call_sql(call, table_create, params, 1, flags);
		return;
	}
	params[0] = gamestate_param_uuid(&game->id);
	params[1] = gamestate_param_int8(expected);
	params[2] = gamestate_param_json(document(&bench->event));
	params[3] = gamestate_param_json(document(&bench->state));
	if (kind == CALL_MOVE)
		gamestate_call_sql(call, table_move, params, 4, flags);
	else if (kind == CALL_GET)
		gamestate_call_sql(call, table_get, params, 1, flags | GAMESTATE_SQL_READ);
	else
		gamestate_call_sql(call, table_finish, params, 1, flags);
}

static void
make_gamestate_call(Bench *bench, BenchCall kind, const BenchGame *game, int64_t expected,
					gamestate_call *call)
{
	gamestate_new_game new_game = {.game_type = BENCH_GAME_TYPE,
								   .state = document(&bench->state)};
	gamestate_move move = {.game_id = &game->id,
						   .expected_version = expected,
						   .event = document(&bench->event),
						   .state = document(&bench->state)};
	gamestate_finish finish = {.game_id = &game->id};

	switch (kind)
	{
		case CALL_CREATE:
			gamestate_call_create_game(call, &new_game);
			break;
		case CALL_MOVE:
			gamestate_call_apply_move(call, &move);
			break;
		case CALL_GET:
			gamestate_call_get_state(call, &game->id);
			break;
		case CALL_FINISH:
			gamestate_call_finish_game(call, &finish);
			break;
	}
}

/* What the next call of the workload is. */
static void
choose_call(BenchSlot *slot)
{
	Bench *bench = slot->bench;
	int own = bench->options.games / bench->slot_count;
	uint32_t any = rng_below(&bench->random, (uint32_t) bench->options.games);
	int mine = slot->number +
			   bench->slot_count * (int) rng_below(&bench->random, (uint32_t) own);

	switch (bench->workload)
	{
		case WORKLOAD_GAMES:
			slot->kind = slot->has_own ? CALL_FINISH : CALL_CREATE;
			slot->game = &slot->own;
			return;
		case WORKLOAD_CONTENTION:
			slot->kind = CALL_MOVE;
			slot->game = &bench->shared[bench->store];
			return;
		case WORKLOAD_GETS:
			slot->kind = CALL_GET;
			break;
		case WORKLOAD_MIXED:
			slot->kind =
				rng_below(&bench->random, GETS_TO_A_MOVE + 1) == 0 ? CALL_MOVE : CALL_GET;
			break;
		default:
			slot->kind = CALL_MOVE;
			break;
	}
	slot->game = &bench->games[bench->store][slot->kind == CALL_MOVE ? mine : (int) any];
}

/* ---- answers ---- */

static bool
take_version(BenchSlot *slot, int64_t version)
{
	Bench *bench = slot->bench;

	if (bench->workload == WORKLOAD_CONTENTION)
	{
		/* answers of several connections come in any order */
		slot->game->version++;
		return version > 1;
	}
	if (version != slot->game->version + 1)
		return false;
	slot->game->version = version;
	return true;
}

/* Is the answer what the call must return? */
static bool
take_result(BenchSlot *slot, gamestate_result *result)
{
	Bench *bench = slot->bench;
	bool table = bench->store == STORE_TABLE;
	gamestate_data state = {0};
	int64_t version = 0;

	switch (slot->kind)
	{
		case CALL_CREATE:
			slot->own.version = 1;
			slot->has_own = true;
			return table ? gamestate_result_rows(result) == 1 &&
							   gamestate_result_uuid(result, 0, 0, &slot->own.id)
						 : gamestate_result_game_id(result, &slot->own.id);
		case CALL_GET:
			if (!table)
				state = gamestate_result_state(result);
			else if (gamestate_result_rows(result) == 1)
				state = gamestate_result_data(result, 0, 0);
			return state.data != NULL && state.len > 0;
		case CALL_MOVE:
		case CALL_FINISH:
			break;
	}
	if (!table)
		version = gamestate_result_version(result);
	else if (gamestate_result_rows(result) == 1)
		(void) gamestate_result_int8(result, 0, 0, &version);
	slot->has_own = false;
	return take_version(slot, version);
}

static void
take_answer(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	BenchSlot *slot = arg;
	Bench *bench = slot->bench;
	uint64_t now = now_ns();

	(void) conn;
	bench->in_flight--;
	slot->next_free = bench->free_slots;
	bench->free_slots = slot;
	if (bench->failed)
		return;
	if (gamestate_result_status(result) != GAMESTATE_OK)
	{
		report_error("a call", gamestate_result_error(result));
		bench->failed = true;
		return;
	}
	if (!take_result(slot, result))
	{
		log_error("a call was answered with a wrong value");
		bench->failed = true;
		return;
	}
	if (now >= bench->start && now < bench->end)
	{
		bench->calls++;
		hist_add(bench->latency, now - slot->since);
	}
}

/* ---- the loop ---- */

static bool
send_call(BenchSlot *slot, uint64_t since)
{
	Bench *bench = slot->bench;
	gamestate_param params[4];
	gamestate_call call;
	int64_t expected;

	choose_call(slot);
	expected = bench->workload == WORKLOAD_CONTENTION ? 0 : slot->game->version;
	make_document(&bench->state, expected, bench->options.state_size);
	make_document(&bench->event, expected, bench->options.event_size);
	if (bench->store == STORE_TABLE)
		make_table_call(bench, slot->kind, slot->game, expected, params, &call);
	else
		make_gamestate_call(bench, slot->kind, slot->game, expected, &call);
	slot->since = since;
	if (gamestate_conn_send(slot->conn, &call, 0, take_answer, slot) != GAMESTATE_OK)
		return report_error("sending a call", gamestate_conn_error(slot->conn));
	bench->in_flight++;
	return true;
}

/* The time to the next call of a Poisson process. */
static uint64_t
next_gap(Bench *bench)
{
	double u = ((double) (rng_next(&bench->random) >> 11) + 1) / 9007199254740993.0;

	return (uint64_t) (-log(u) / bench->options.rate * 1e9);
}

/* Give free slots what is to be sent now. */
static bool
send_calls(Bench *bench, uint64_t now)
{
	while (bench->free_slots != NULL)
	{
		BenchSlot *slot = bench->free_slots;
		uint64_t since = now;

		if (bench->options.rate > 0)
		{
			if (bench->due > now)
				return true;
			since = bench->due;
			bench->due += next_gap(bench);
		}
		bench->free_slots = slot->next_free;
		if (!send_call(slot, since))
			return false;
	}
	return true;
}

/* Until something comes, or until the next call is due. */
static bool
exchange(Bench *bench)
{
	int count = bench->options.clients;
	int timeout = 10;
	uint64_t now = now_ns();

	if (bench->options.rate > 0 && bench->free_slots != NULL)
		timeout = bench->due > now ? (int) ((bench->due - now) / 1000000) : 0;
	for (int i = 0; i < count; i++)
	{
		int wants = gamestate_conn_wants(bench->conns[i]);

		bench->polls[i].fd = gamestate_conn_socket(bench->conns[i]);
		bench->polls[i].events = (short) ((wants & GAMESTATE_WANTS_READ ? POLLIN : 0) |
										  (wants & GAMESTATE_WANTS_WRITE ? POLLOUT : 0));
		bench->polls[i].revents = 0;
	}
	if (poll(bench->polls, (nfds_t) count, timeout < 10 ? timeout : 10) < 0 &&
		errno != EINTR)
	{
		log_error("poll failed: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < count; i++)
		if (bench->polls[i].revents != 0 &&
			gamestate_conn_process(bench->conns[i]) != GAMESTATE_OK)
		{
			if (!bench->failed)
				report_error("the connection", gamestate_conn_error(bench->conns[i]));
			bench->failed = true;
			return false;
		}
	return true;
}

static bool
run_calls(Bench *bench)
{
	uint64_t give_up;

	while (!interrupted && !bench->failed)
	{
		uint64_t now = now_ns();

		if (now >= bench->end)
			break;
		if (!send_calls(bench, now) || !exchange(bench))
			return false;
	}
	give_up = now_ns() + (uint64_t) DRAIN_MS * 1000000;
	while (bench->in_flight > 0 && now_ns() < give_up)
		if (!exchange(bench))
			return false;
	if (bench->in_flight > 0)
	{
		log_error("the server does not answer");
		return false;
	}
	return !interrupted && !bench->failed;
}

/* ---- games ---- */

/* A call whose answer is waited for. */
static bool
run_one(Bench *bench, BenchStore store, BenchCall kind, BenchGame *game)
{
	gamestate_conn *conn = bench->conns[0];
	gamestate_result *result = NULL;
	gamestate_param params[4];
	gamestate_call call;
	bool ok;

	if (store == STORE_TABLE)
		make_table_call(bench, kind, game, 0, params, &call);
	else
		make_gamestate_call(bench, kind, game, 0, &call);
	ok = gamestate_run(conn, &call, 0, &result) == GAMESTATE_OK;
	if (!ok)
		report_error("making the games", gamestate_result_error(result));
	else if (kind == CALL_CREATE)
	{
		ok = store == STORE_TABLE ? gamestate_result_uuid(result, 0, 0, &game->id)
								  : gamestate_result_game_id(result, &game->id);
		game->version = 1;
	}
	gamestate_result_free(result);
	return ok;
}

static bool
make_games(Bench *bench, BenchStore store)
{
	bench->games[store] = xcalloc((size_t) bench->options.games, sizeof(BenchGame));
	make_document(&bench->state, 0, bench->options.state_size);
	for (int i = 0; i < bench->options.games; i++)
		if (interrupted || !run_one(bench, store, CALL_CREATE, &bench->games[store][i]))
			return false;
	return run_one(bench, store, CALL_CREATE, &bench->shared[store]);
}

/* The version that a game has now; 0 after a message. */
static int64_t
version_of(Bench *bench, BenchStore store, const BenchGame *game)
{
	gamestate_param param = gamestate_param_uuid(&game->id);
	gamestate_result *result = NULL;
	gamestate_call call;
	int64_t version = 0;

	if (store == STORE_TABLE)
		gamestate_call_sql(&call, table_version, &param, 1, GAMESTATE_SQL_PREPARE);
	else
		gamestate_call_get_version(&call, &game->id);
	if (gamestate_run(bench->conns[0], &call, 0, &result) != GAMESTATE_OK)
		report_error("checking the games", gamestate_result_error(result));
	else if (store == STORE_GAMESTATE)
		version = gamestate_result_version(result);
	else if (gamestate_result_rows(result) == 1)
		(void) gamestate_result_int8(result, 0, 0, &version);
	gamestate_result_free(result);
	return version;
}

static bool
check_game(Bench *bench, BenchStore store, const BenchGame *game)
{
	char id[GAMESTATE_UUID_TEXT];
	int64_t version = version_of(bench, store, game);

	if (version == game->version)
		return true;
	gamestate_uuid_format(&game->id, id);
	log_error("game %s is at version %" PRId64 ", and %" PRId64 " was acknowledged", id,
			  version, game->version);
	return false;
}

static bool
check_games(Bench *bench, BenchStore store)
{
	for (int i = 0; i < bench->options.games; i++)
		if (!check_game(bench, store, &bench->games[store][i]))
			return false;
	return check_game(bench, store, &bench->shared[store]);
}

static void
forget_game(Bench *bench, const BenchGame *game)
{
	if (game->version > 0)
		(void) gamestate_delete_game(bench->conns[0], &game->id, 0, NULL, NULL);
}

/* Games that a measurement has created and not finished. */
static void
forget_own_games(Bench *bench)
{
	for (int i = 0; i < bench->slot_count; i++)
	{
		if (bench->slots[i].has_own && bench->store == STORE_GAMESTATE)
			forget_game(bench, &bench->slots[i].own);
		bench->slots[i].has_own = false;
	}
}

/* ---- opening and closing ---- */

static bool
make_tables(Bench *bench)
{
	for (size_t i = 0; i < sizeof(table_sql) / sizeof(table_sql[0]); i++)
		if (gamestate_sql(bench->conns[0], table_sql[i], NULL, 0, 0, NULL) !=
			GAMESTATE_OK)
		{
			report_error("making the tables", gamestate_conn_error(bench->conns[0]));
			if (i == 0)
				log_hint("They stand in a schema of their own, " BENCH_SCHEMA
						 "; if an earlier run has left it, drop it.");
			return false;
		}
	bench->with_table = true;
	return true;
}

static bool
open_connections(Bench *bench)
{
	int depth = bench->options.pipeline;

	bench->slot_count = bench->options.clients * depth;
	bench->conns = xcalloc((size_t) bench->options.clients, sizeof(gamestate_conn *));
	bench->polls = xcalloc((size_t) bench->options.clients, sizeof(struct pollfd));
	bench->slots = xcalloc((size_t) bench->slot_count, sizeof(BenchSlot));
	for (int i = 0; i < bench->options.clients; i++)
	{
		bench->conns[i] = gamestate_connect(bench->options.conninfo, NULL);
		if (gamestate_conn_get_state(bench->conns[i]) != GAMESTATE_CONN_READY)
			return report_error("connecting", gamestate_conn_error(bench->conns[i]));
	}
	for (int i = bench->slot_count - 1; i >= 0; i--)
	{
		bench->slots[i] = (BenchSlot){.bench = bench,
									  .conn = bench->conns[i / depth],
									  .number = i,
									  .next_free = bench->free_slots};
		bench->free_slots = &bench->slots[i];
	}
	return true;
}

Bench *
bench_open(const BenchOptions *options, bool with_table)
{
	Bench *bench = xcalloc(1, sizeof(*bench));
	bool ok;

	bench->options = *options;
	rng_seed(&bench->random, 1, 0x62656E63);
	ok = open_connections(bench) && make_games(bench, STORE_GAMESTATE);
	if (ok && with_table)
		ok = make_tables(bench) && make_games(bench, STORE_TABLE);
	if (ok)
		return bench;
	bench_close(bench);
	return NULL;
}

void
bench_close(Bench *bench)
{
	gamestate_conn *conn;

	if (bench == NULL)
		return;
	conn = bench->conns[0];
	if (gamestate_conn_get_state(conn) == GAMESTATE_CONN_READY)
	{
		for (int i = 0; bench->games[STORE_GAMESTATE] != NULL && i < bench->options.games;
			 i++)
			forget_game(bench, &bench->games[STORE_GAMESTATE][i]);
		forget_game(bench, &bench->shared[STORE_GAMESTATE]);
		if (bench->with_table &&
			gamestate_sql(conn, "DROP SCHEMA " BENCH_SCHEMA " CASCADE", NULL, 0, 0,
						  NULL) != GAMESTATE_OK)
			report_error("dropping the tables", gamestate_conn_error(conn));
	}
	for (int i = 0; i < bench->options.clients; i++)
		gamestate_conn_close(bench->conns[i]);
	for (int i = 0; i < STORE_COUNT; i++)
		free(bench->games[i]);
	buf_free(&bench->state);
	buf_free(&bench->event);
	free(bench->conns);
	free(bench->polls);
	free(bench->slots);
	free(bench);
}

bool
bench_run(Bench *bench, BenchWorkload workload, BenchStore store, Hist *latency,
		  BenchFigures *figures)
{
	uint64_t now = now_ns();
	bool ok;

	bench->workload = workload;
	bench->store = store;
	bench->latency = latency;
	bench->calls = 0;
	bench->failed = false;
	bench->start = now + (uint64_t) (bench->options.warmup * 1e9);
	bench->end = bench->start + (uint64_t) (bench->options.seconds * 1e9);
	bench->due = now;
	ok = run_calls(bench);
	if (ok)
		ok = check_games(bench, store);
	if (gamestate_conn_get_state(bench->conns[0]) == GAMESTATE_CONN_READY)
		forget_own_games(bench);
	*figures = (BenchFigures){bench->calls, bench->options.seconds};
	return ok;
}
