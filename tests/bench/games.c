/*
 * A workload's games: made, checked, removed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gs_bench.h"

#define BATCH 500

#define TABLE_FILL(table)                                                \
	"INSERT INTO " table " SELECT gen_random_uuid(), 1, $3::json, now()" \
	" FROM generate_series($1::int, $2::int) i RETURNING id"

/* The SQL that makes games $1 to $2 with the state $3 and returns their ids. */
static const char *
create_sql(Store store)
{
	switch (store)
	{
		case STORE_GAMESTATE:
			return "SELECT gamestate.create_game('bench', state => $3::json,"
				   " players => ARRAY['p0', 'p1', 'p2', 'p3', 'own' || i],"
				   " room_code => 'room' || i)"
				   " FROM generate_series($1::int, $2::int) i";
		case STORE_TABLES:
			return TABLE_FILL("bench.game");
		case STORE_TUNED:
			return TABLE_FILL("bench.game_tuned");
		case STORE_NONE:
		case STORE_REDIS:
			break;
	}
	return "SELECT gen_random_uuid(), $3::text FROM generate_series($1::int, $2::int) i";
}

/*
 * games_create: the workload's games at version 1, with a room code and two
 * players of their own each beside the four of the moves
 */
Game *
games_create(PGconn *conn, const Options *options)
{
	const Workload *workload = options->workload;
	Game *games = must_alloc(sizeof(Game) * (size_t) options->games);
	char **states = must_alloc(sizeof(char *) * (size_t) options->games);
	uint64_t seed = options->seed;
	bool full_state = workload->arguments == ARGS_MOVE ||
					  workload->arguments == ARGS_MOVE_ANY ||
					  workload->answer == ANSWER_STATE;

	for (int first = 0; first < options->games; first += BATCH)
	{
		int last = first + BATCH < options->games ? first + BATCH : options->games;
		char *state =
			full_state ? state_create(options->pattern, &seed) : strdup("{\"turn\":1}");
		char first_text[16];
		char last_text[16];
		const char *params[] = {first_text, last_text, state};
		PGresult *res;

		snprintf(first_text, sizeof(first_text), "%d", first);
		snprintf(last_text, sizeof(last_text), "%d", last - 1);
		res = query(conn, create_sql(workload->store), 3, params);
		if (PQntuples(res) != last - first)
			die("games made: %d, not %d", PQntuples(res), last - first);
		for (int i = first; i < last; i++)
		{
			snprintf(games[i].id, UUID_TEXT, "%s", PQgetvalue(res, i - first, 0));
			games[i].sent = games[i].version = 1;
			games[i].state = states[i] = strdup(state);
		}
		PQclear(res);
		free(state);
	}
	if (workload->store == STORE_REDIS)
		redis_games_create(options, games, states);
	free(states);
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

static const char *
check_sql(Store store)
{
	switch (store)
	{
		case STORE_TABLES:
			return TABLE_CHECK("bench.game");
		case STORE_TUNED:
			return TABLE_CHECK("bench.game_tuned");
		case STORE_NONE:
		case STORE_REDIS:
		case STORE_GAMESTATE:
			break;
	}
	return "SELECT gamestate.get_version(g.id),"
		   " (SELECT count(*) FROM gamestate.get_changes(g.id, 1)),"
		   " gamestate.get_state(g.id)"
		   " FROM unnest($1::uuid[]) WITH ORDINALITY g(id, n) ORDER BY g.n";
}

/* One game against the row version, moves in the log, state. */
static void
check_game(const Workload *workload, const Game *game, const PGresult *res, int row)
{
	if (atoll(PQgetvalue(res, row, 0)) != game->version)
		die("game %s has version %s, acknowledged was %lld", game->id,
			PQgetvalue(res, row, 0), (long long) game->version);
	if (atoll(PQgetvalue(res, row, 1)) != game->version - 1)
		die("game %s has %s moves in its log, acknowledged were %lld", game->id,
			PQgetvalue(res, row, 1), (long long) game->version - 1);
	if (workload->arguments == ARGS_MOVE &&
		strcmp(PQgetvalue(res, row, 2), game->state) != 0)
		die("game %s: the state is not the one written last", game->id);
	if (PQgetlength(res, row, 2) != STATE_SIZE)
		die("game %s has a state of %d bytes", game->id, PQgetlength(res, row, 2));
}

/*
 * games_check: each game's version is 1 + the acknowledged moves, its log has as
 * many entries, its state is the one sent last, to the byte (if only one
 * connection could move it, so that it is known which one was the last)
 */
void
games_check(PGconn *conn, const Options *options, const Game *games)
{
	const Workload *workload = options->workload;

	if (workload->store == STORE_NONE ||
		(workload->arguments != ARGS_MOVE && workload->arguments != ARGS_MOVE_ANY))
		return;
	if (workload->store == STORE_REDIS)
	{
		redis_games_check(options, games);
		return;
	}
	for (int first = 0; first < options->games; first += BATCH)
	{
		int last = first + BATCH < options->games ? first + BATCH : options->games;
		char *ids = ids_array(games, first, last);
		const char *params[] = {ids};
		PGresult *res = query(conn, check_sql(workload->store), 1, params);

		if (PQntuples(res) != last - first)
			die("check: %d games, not %d", PQntuples(res), last - first);
		for (int i = first; i < last; i++)
			check_game(workload, &games[i], res, i - first);
		PQclear(res);
		free(ids);
	}
}

void
games_remove(PGconn *conn, const Options *options, const Game *games)
{
	Store store = options->workload->store;

	if (store == STORE_TABLES || store == STORE_TUNED)
		PQclear(query(conn, "TRUNCATE bench.game, bench.game_tuned, bench.log", 0, NULL));
	if (store == STORE_REDIS)
		redis_games_remove(options);
	if (store != STORE_GAMESTATE)
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
