/*
 * The benchmark's workloads and their games: made, changed, checked, removed.
 *
 * A state is 2 KB of compact JSON of a card table: counters, clocks, four hands
 * and a board.  A move changes what a move of such a game changes: the turn, two
 * clocks and two cells of the board, in place, so that the size stays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gs_bench.h"

#define BATCH 500

#define TABLE_MOVE(table)                                                         \
	"WITH u AS (UPDATE " table " SET state = $4::json, version = version + 1,"    \
	" updated_at = now() WHERE id = $1::uuid AND version = $2::bigint"            \
	" RETURNING id, version)"                                                     \
	" INSERT INTO bench.log SELECT id, version, $5::text, now(), $3::json FROM u" \
	" RETURNING version"

static const Workload workloads[] = {
	{"select1", STORE_NONE, ARGS_NONE, ANSWER_ONE, "SELECT 1", NULL},
	{"noop_move", STORE_NONE, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT bench.noop_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)", NULL},
	{"noop_state", STORE_NONE, ARGS_ID, ANSWER_STATE, "SELECT bench.noop_state($1::uuid)",
	 NULL},
	{"get_state", STORE_GAMESTATE, ARGS_ID, ANSWER_STATE,
	 "SELECT gamestate.get_state($1::uuid)", NULL},
	{"move", STORE_GAMESTATE, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT gamestate.apply_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)",
	 NULL},
	{"move_memory", STORE_GAMESTATE, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT gamestate.apply_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)",
	 "SET gamestate.durability = memory"},
	{"plpgsql", STORE_TABLES, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT bench.table_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)", NULL},
	{"cte", STORE_TABLES, ARGS_MOVE, ANSWER_VERSION, TABLE_MOVE("bench.game"), NULL},
	{"cte_tuned", STORE_TUNED, ARGS_MOVE, ANSWER_VERSION, TABLE_MOVE("bench.game_tuned"),
	 NULL},
	{"by_id", STORE_GAMESTATE, ARGS_ID, ANSWER_ONE,
	 "SELECT gamestate.get_version($1::uuid)", NULL},
	{"by_room", STORE_GAMESTATE, ARGS_ROOM, ANSWER_GAME_ID,
	 "SELECT gamestate.find_room($1::text)", NULL},
	{"by_player", STORE_GAMESTATE, ARGS_PLAYER, ANSWER_GAME_ID,
	 "SELECT * FROM gamestate.player_games($1::text)", NULL},
};

const Workload *
workload_find(const char *name)
{
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
	{
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	}
	return NULL;
}

void
workload_list(void)
{
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		printf(" %s", workloads[i].name);
	printf("\n");
}

/* Every number has a first digit that is not 0 and a width that stays. */
#define STATE_HEAD                                                 \
	"{\"turn\":100000,\"phase\":\"play\",\"clock\":1000000000000," \
	"\"left\":[900000,900000,900000,900000],"                      \
	"\"players\":[\"p0\",\"p1\",\"p2\",\"p3\"],\"trump\":\"hearts\",\"board\":\""
#define STATE_TAIL "\"}"
#define AT_TURN	   8
#define AT_CLOCK   38
#define AT_LEFT	   60
#define AT_BOARD   ((int) sizeof(STATE_HEAD) - 1)
#define BOARD_SIZE (STATE_SIZE - AT_BOARD - ((int) sizeof(STATE_TAIL) - 1))

static void
put_number(char *at, int width, uint64_t value)
{
	while (width-- > 1)
	{
		at[width] = (char) ('0' + value % 10);
		value /= 10;
	}
	at[0] = (char) ('1' + value % 9);
}

static char *
state_create(uint64_t *seed)
{
	char *state = must_alloc(STATE_SIZE + 1);

	memcpy(state, STATE_HEAD, AT_BOARD);
	for (int i = 0; i < BOARD_SIZE; i++)
		state[AT_BOARD + i] = "CDHS23456789TJQKA....."[next_random(seed) % 22];
	memcpy(state + STATE_SIZE - strlen(STATE_TAIL), STATE_TAIL, sizeof(STATE_TAIL));
	return state;
}

/* game_next_state: the state after the next move */
void
game_next_state(Game *game, uint64_t random)
{
	char *state = game->state;

	put_number(state + AT_TURN, 6, (uint64_t) game->version);
	put_number(state + AT_CLOCK, 13, (uint64_t) now_ns() / 1000000);
	put_number(state + AT_LEFT + (game->version % 4) * 7, 6, random % 900000);
	state[AT_BOARD + (random >> 8) % BOARD_SIZE] = "23456789TJQKA"[random % 13];
	state[AT_BOARD + (random >> 32) % BOARD_SIZE] = '.';
}

/* game_next_event: the event of the next move, EVENT_SIZE bytes */
void
game_next_event(char *event, int64_t version, uint64_t random)
{
	int len =
		snprintf(event, EVENT_SIZE + 1,
				 "{\"type\":\"play\",\"seat\":%d,\"card\":\"%c%c\",\"seq\":%lld,"
				 "\"from\":%u,\"to\":%u,\"note\":\"",
				 (int) (version % 4), "CDHS"[random % 4],
				 "23456789TJQKA"[(random >> 4) % 13], (long long) version,
				 (unsigned) (random >> 16) % 1000, (unsigned) (random >> 40) % 1000);

	memset(event + len, 'n', (size_t) (EVENT_SIZE - 2 - len));
	memcpy(event + EVENT_SIZE - 2, "\"}", 3);
}

#define TABLE_FILL(table)                                                \
	"INSERT INTO " table " SELECT gen_random_uuid(), 1, $3::json, now()" \
	" FROM generate_series($1::int, $2::int) i RETURNING id"

/*
 * games_create: the workload's games at version 1, with a room code and two
 * players of their own each beside the four of the moves
 */
Game *
games_create(PGconn *conn, const Options *options)
{
	const Workload *workload = options->workload;
	Game *games = must_alloc(sizeof(Game) * (size_t) options->games);
	uint64_t seed = options->seed;
	bool full_state =
		workload->arguments == ARGS_MOVE || workload->answer == ANSWER_STATE;

	for (int first = 0; first < options->games; first += BATCH)
	{
		int last = first + BATCH < options->games ? first + BATCH : options->games;
		char *state = full_state ? state_create(&seed) : strdup("{\"turn\":1}");
		char first_text[16];
		char last_text[16];
		const char *params[] = {first_text, last_text, state};
		PGresult *res;

		snprintf(first_text, sizeof(first_text), "%d", first);
		snprintf(last_text, sizeof(last_text), "%d", last - 1);
		if (workload->store == STORE_GAMESTATE)
			res = query(conn,
						"SELECT gamestate.create_game('bench', state => $3::json,"
						" players => ARRAY['p0', 'p1', 'p2', 'p3', 'own' || i],"
						" room_code => 'room' || i)"
						" FROM generate_series($1::int, $2::int) i",
						3, params);
		else if (workload->store == STORE_TABLES)
			res = query(conn, TABLE_FILL("bench.game"), 3, params);
		else if (workload->store == STORE_TUNED)
			res = query(conn, TABLE_FILL("bench.game_tuned"), 3, params);
		else
			res = query(conn,
						"SELECT gen_random_uuid(), $3::text"
						" FROM generate_series($1::int, $2::int) i",
						3, params);
		if (PQntuples(res) != last - first)
			die("games made: %d, not %d", PQntuples(res), last - first);
		for (int i = first; i < last; i++)
		{
			snprintf(games[i].id, UUID_TEXT, "%s", PQgetvalue(res, i - first, 0));
			games[i].version = 1;
			games[i].state = workload->arguments == ARGS_MOVE ? strdup(state) : NULL;
		}
		PQclear(res);
		free(state);
	}
	return games;
}

/* ids_array: an SQL array of the ids of games[first .. last - 1] */
static char *
ids_array(const Game *games, int first, int last)
{
	char *array = must_alloc((size_t) (last - first) * UUID_TEXT + 3);
	char *p = array;

	*p++ = '{';
	for (int i = first; i < last; i++)
		p += sprintf(p, "%s%s", i > first ? "," : "", games[i].id);
	*p++ = '}';
	*p = '\0';
	return array;
}

#define TABLE_CHECK(table)                                                         \
	"SELECT t.version, (SELECT count(*) FROM bench.log l WHERE l.game_id = g.id)," \
	" t.state FROM unnest($1::uuid[]) WITH ORDINALITY g(id, n)"                    \
	" LEFT JOIN " table " t ON t.id = g.id ORDER BY g.n"

/*
 * games_check: each game's version is 1 + the acknowledged moves, its log has as
 * many entries, its state is the one sent last, to the byte
 */
void
games_check(PGconn *conn, const Options *options, Game *games)
{
	const char *sql;

	if (options->workload->store == STORE_NONE ||
		options->workload->arguments != ARGS_MOVE)
		return;
	if (options->workload->store == STORE_GAMESTATE)
		sql = "SELECT gamestate.get_version(g.id),"
			  " (SELECT count(*) FROM gamestate.get_changes(g.id, 1)),"
			  " gamestate.get_state(g.id)"
			  " FROM unnest($1::uuid[]) WITH ORDINALITY g(id, n) ORDER BY g.n";
	else if (options->workload->store == STORE_TABLES)
		sql = TABLE_CHECK("bench.game");
	else
		sql = TABLE_CHECK("bench.game_tuned");

	for (int first = 0; first < options->games; first += BATCH)
	{
		int last = first + BATCH < options->games ? first + BATCH : options->games;
		char *ids = ids_array(games, first, last);
		const char *params[] = {ids};
		PGresult *res = query(conn, sql, 1, params);

		if (PQntuples(res) != last - first)
			die("check: %d games, not %d", PQntuples(res), last - first);
		for (int i = first; i < last; i++)
		{
			int row = i - first;

			if (atoll(PQgetvalue(res, row, 0)) != games[i].version)
				die("game %s has version %s, acknowledged was %lld", games[i].id,
					PQgetvalue(res, row, 0), (long long) games[i].version);
			if (atoll(PQgetvalue(res, row, 1)) != games[i].version - 1)
				die("game %s has %s moves in its log, acknowledged were %lld",
					games[i].id, PQgetvalue(res, row, 1),
					(long long) games[i].version - 1);
			if (strcmp(PQgetvalue(res, row, 2), games[i].state) != 0)
				die("game %s: the state is not the one written last", games[i].id);
		}
		PQclear(res);
		free(ids);
	}
}

void
games_remove(PGconn *conn, const Options *options, Game *games)
{
	if (options->workload->store == STORE_TABLES ||
		options->workload->store == STORE_TUNED)
		PQclear(query(conn, "TRUNCATE bench.game, bench.game_tuned, bench.log", 0, NULL));
	if (options->workload->store != STORE_GAMESTATE)
		return;
	for (int first = 0; first < options->games; first += BATCH)
	{
		int last = first + BATCH < options->games ? first + BATCH : options->games;
		char *ids = ids_array(games, first, last);
		const char *params[] = {ids};
		PGresult *res = query(conn,
							  "SELECT count(*) FROM unnest($1::uuid[]) id"
							  " WHERE gamestate.delete_game(id)",
							  1, params);

		if (atoi(PQgetvalue(res, 0, 0)) != last - first)
			die("deleted %s games of %d", PQgetvalue(res, 0, 0), last - first);
		PQclear(res);
		free(ids);
	}
}

/* backlog_create: finished games of 4 KB (state and log) for the archiver */
void
backlog_create(PGconn *conn, int count)
{
	for (int done = 0; done < count; done += BATCH)
	{
		char n[16];
		const char *params[] = {n};

		snprintf(n, sizeof(n), "%d", count - done < BATCH ? count - done : BATCH);
		PQclear(query(conn,
					  "WITH made AS MATERIALIZED (SELECT gamestate.create_game('backlog',"
					  " state => (SELECT json_agg(md5((i * 64 + k)::text))"
					  " FROM generate_series(1, 56) k)) AS id"
					  " FROM generate_series(1, $1::int) i),"
					  " moved AS MATERIALIZED (SELECT id, gamestate.apply_move(id, 1,"
					  " json_build_object('made', repeat('m', 1900)), NULL) FROM made)"
					  " SELECT gamestate.finish_game(id, '{\"winner\":0}') FROM moved",
					  1, params));
	}
}

int64_t
backlog_left(PGconn *conn)
{
	PGresult *res =
		query(conn, "SELECT archive_queue FROM gamestate.stat_memory", 0, NULL);
	int64_t left = atoll(PQgetvalue(res, 0, 0));

	PQclear(res);
	return left;
}
