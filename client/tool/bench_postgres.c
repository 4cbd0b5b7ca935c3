/*
 * bench_postgres.c: games of `gamestate bench` in PostgreSQL: live games of
 * gamestate, and for comparison a table with a row a game and one with a row a
 * move, written by one statement, as somebody would do who knows SQL well.
 */
#include "bench_link.h"

#include <stdlib.h>

#include "connect.h"

typedef struct PostgresLink
{
	BenchLink link; /* must be first */
	gamestate_conn *conn;
	bool made_tables;
	bool failed; /* and that has been told */
	struct PostgresCall *free_calls;
	struct PostgresCall *calls;
} PostgresLink;

/* One request in flight. */
typedef struct PostgresCall
{
	PostgresLink *link;
	BenchCall kind;
	BenchStore store;
	BenchTake take;
	void *owner;
	struct PostgresCall *next_free;
} PostgresCall;

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
static const char table_forget[] =
	"DELETE FROM " BENCH_SCHEMA ".game WHERE id = $1 RETURNING version";

static PostgresLink *
as_postgres(BenchLink *link)
{
	return (PostgresLink *) link;
}

/* ---- requests ---- */

/* The parameters must stay until the call is sent. */
static void
make_table_call(const BenchRequest *request, gamestate_param params[4],
				gamestate_call *call)
{
	static const struct
	{
		const char *sql;
		size_t params;
		int flags;
	} statements[] = {
		[BENCH_CREATE] = {table_create, 1, 0},
		[BENCH_MOVE] = {table_move, 4, 0},
		[BENCH_GET] = {table_get, 1, GAMESTATE_SQL_READ},
		[BENCH_FINISH] = {table_finish, 1, 0},
		[BENCH_VERSION] = {table_version, 1, GAMESTATE_SQL_READ},
		[BENCH_FORGET] = {table_forget, 1, 0},
	};

	if (request->kind == BENCH_CREATE)
		params[0] = gamestate_param_json(request->state);
	else
		params[0] = gamestate_param_uuid(request->id);
	params[1] = gamestate_param_int8(request->expected);
	params[2] = gamestate_param_json(request->event);
	params[3] = gamestate_param_json(request->state);
	gamestate_call_sql(call, statements[request->kind].sql, params,
					   statements[request->kind].params,
					   GAMESTATE_SQL_PREPARE | statements[request->kind].flags);
}

static void
make_game_call(const BenchRequest *request, gamestate_call *call)
{
	switch (request->kind)
	{
		case BENCH_CREATE:
			gamestate_call_create_game(call,
									   &(gamestate_new_game){.game_type = BENCH_GAME_TYPE,
															 .state = request->state});
			break;
		case BENCH_MOVE:
			gamestate_call_apply_move(call, &(gamestate_move){.game_id = request->id,
															  .expected_version =
																  request->expected,
															  .event = request->event,
															  .state = request->state});
			break;
		case BENCH_GET:
			gamestate_call_get_state(call, request->id);
			break;
		case BENCH_FINISH:
			gamestate_call_finish_game(call, &(gamestate_finish){.game_id = request->id});
			break;
		case BENCH_VERSION:
			gamestate_call_get_version(call, request->id);
			break;
		case BENCH_FORGET:
			gamestate_call_delete_game(call, request->id, 0, NULL);
			break;
	}
}

static void
read_table_result(const gamestate_result *result, BenchCall kind, BenchAnswer *answer)
{
	if (gamestate_result_rows(result) != 1)
		return;
	if (kind == BENCH_CREATE)
		(void) gamestate_result_uuid(result, 0, 0, &answer->id);
	else if (kind == BENCH_GET)
		answer->state_len = gamestate_result_data(result, 0, 0).len;
	else
		(void) gamestate_result_int8(result, 0, 0, &answer->version);
}

static void
read_game_result(const gamestate_result *result, BenchCall kind, BenchAnswer *answer)
{
	if (kind == BENCH_CREATE)
		(void) gamestate_result_game_id(result, &answer->id);
	else if (kind == BENCH_GET)
		answer->state_len = gamestate_result_state(result).len;
	else if (kind != BENCH_FORGET)
		answer->version = gamestate_result_version(result);
}

static void
take_result(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	PostgresCall *call = arg;
	BenchAnswer answer = {.ok = gamestate_result_status(result) == GAMESTATE_OK};

	(void) conn;
	if (!answer.ok)
	{
		if (!call->link->failed && gamestate_result_status(result) != GAMESTATE_CLOSED)
			report_call_error("a call", gamestate_result_error(result));
		call->link->failed = true;
	}
	else if (call->store == STORE_TABLE)
		read_table_result(result, call->kind, &answer);
	else
		read_game_result(result, call->kind, &answer);
	call->next_free = call->link->free_calls;
	call->link->free_calls = call;
	call->take(call->owner, &answer);
}

static bool
postgres_send(BenchLink *base, const BenchRequest *request, BenchTake take, void *owner)
{
	PostgresLink *link = as_postgres(base);
	PostgresCall *open = link->free_calls;
	gamestate_param params[4];
	gamestate_call call;

	if (request->store == STORE_TABLE)
		make_table_call(request, params, &call);
	else
		make_game_call(request, &call);
	if (gamestate_conn_send(link->conn, &call, 0, take_result, open) != GAMESTATE_OK)
	{
		report_call_error("sending a call", gamestate_conn_error(link->conn));
		return false;
	}
	link->free_calls = open->next_free;
	open->kind = request->kind;
	open->store = request->store;
	open->take = take;
	open->owner = owner;
	return true;
}

static int
postgres_socket(BenchLink *base)
{
	return gamestate_conn_socket(as_postgres(base)->conn);
}

static int
postgres_wants(BenchLink *base)
{
	return gamestate_conn_wants(as_postgres(base)->conn);
}

static bool
postgres_process(BenchLink *base)
{
	/* whoever waits for an answer has been told */
	return gamestate_conn_process(as_postgres(base)->conn) == GAMESTATE_OK;
}

/* ---- before and after ---- */

static bool
postgres_prepare(BenchLink *base, BenchStore store)
{
	PostgresLink *link = as_postgres(base);

	if (store != STORE_TABLE)
		return true;
	for (size_t i = 0; i < sizeof(table_sql) / sizeof(table_sql[0]); i++)
		if (gamestate_sql(link->conn, table_sql[i], NULL, 0, 0, NULL) != GAMESTATE_OK)
		{
			report_call_error("making the tables", gamestate_conn_error(link->conn));
			if (i == 0)
				log_hint("They stand in a schema of their own, " BENCH_SCHEMA
						 "; if an earlier run has left it, drop it.");
			return false;
		}
		else
			link->made_tables = true;
	return true;
}

static void
postgres_clean_up(BenchLink *base, BenchStore store)
{
	PostgresLink *link = as_postgres(base);

	if (store == STORE_TABLE && link->made_tables &&
		gamestate_conn_get_state(link->conn) == GAMESTATE_CONN_READY &&
		gamestate_sql(link->conn, "DROP SCHEMA " BENCH_SCHEMA " CASCADE", NULL, 0, 0,
					  NULL) != GAMESTATE_OK)
		report_call_error("dropping the tables", gamestate_conn_error(link->conn));
}

static char *
postgres_describe(BenchLink *base)
{
	PostgresLink *link = as_postgres(base);
	gamestate_result *result = NULL;
	Buf out = {0};

	buf_puts(&out, "PostgreSQL");
	if (gamestate_sql(link->conn,
					  "SELECT current_setting('server_version'),"
					  " current_setting('synchronous_commit')",
					  NULL, 0, GAMESTATE_SQL_READ | GAMESTATE_SQL_TEXT,
					  &result) == GAMESTATE_OK)
		buf_printf(&out, " %s, synchronous_commit = %s",
				   gamestate_result_text(result, 0, 0),
				   gamestate_result_text(result, 0, 1));
	gamestate_result_free(result);
	return out.data;
}

static void
postgres_close(BenchLink *base)
{
	PostgresLink *link = as_postgres(base);

	gamestate_conn_close(link->conn);
	free(link->calls);
	free(link);
}

static const BenchLinkOps postgres_ops = {postgres_prepare,	 postgres_clean_up,
										  postgres_describe, postgres_send,
										  postgres_socket,	 postgres_wants,
										  postgres_process,	 postgres_close};

BenchLink *
bench_link_postgres(const char *conninfo, int depth)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	PostgresLink *link = xcalloc(1, sizeof(*link));

	link->link.ops = &postgres_ops;
	link->calls = xcalloc((size_t) depth, sizeof(PostgresCall));
	for (int i = 0; i < depth; i++)
	{
		link->calls[i] = (PostgresCall){.link = link, .next_free = link->free_calls};
		link->free_calls = &link->calls[i];
	}
	options.max_in_flight = depth;
	link->conn = gamestate_connect(conninfo, &options);
	if (gamestate_conn_get_state(link->conn) == GAMESTATE_CONN_READY)
		return &link->link;
	report_call_error("connecting", gamestate_conn_error(link->conn));
	postgres_close(&link->link);
	return NULL;
}
