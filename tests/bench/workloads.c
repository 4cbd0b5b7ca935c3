/*
 * The workloads: what a call is, and what it must return.
 */
#include <stdio.h>
#include <string.h>

#include "gs_bench.h"

#define APPLY_MOVE \
	"SELECT gamestate.apply_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)"

#define TABLE_MOVE(table)                                                         \
	"WITH u AS (UPDATE " table " SET state = $4::json, version = version + 1,"    \
	" updated_at = now() WHERE id = $1::uuid AND version = $2::bigint"            \
	" RETURNING id, version)"                                                     \
	" INSERT INTO bench.log SELECT id, version, $5::text, now(), $3::json FROM u" \
	" RETURNING version"

/*
 * The same move in Redis: version check, new state, event appended, version + 1.
 * It does less than the others: no check that state and event are JSON, no time
 * and no version beside the event (its place in the list tells it).
 */
#define REDIS_MOVE                                                \
	"local game = 'game:' .. ARGV[1] "                            \
	"local version = redis.call('HGET', game, 'version') "        \
	"if version ~= ARGV[2] then "                                 \
	"return redis.error_reply('GS001 stale version') end "        \
	"local new = tonumber(version) + 1 "                          \
	"redis.call('HSET', game, 'version', new, 'state', ARGV[4]) " \
	"redis.call('RPUSH', 'log:' .. ARGV[1], ARGV[3]) "            \
	"return new"

static const Workload workloads[] = {
	{"select1", STORE_NONE, ARGS_NONE, ANSWER_ONE, "SELECT 1"},
	{"noop_move", STORE_NONE, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT bench.noop_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)"},
	{"noop_state", STORE_NONE, ARGS_ID, ANSWER_STATE,
	 "SELECT bench.noop_state($1::uuid)"},
	{"get_state", STORE_GAMESTATE, ARGS_ID, ANSWER_STATE,
	 "SELECT gamestate.get_state($1::uuid)"},
	{"move", STORE_GAMESTATE, ARGS_MOVE, ANSWER_VERSION, APPLY_MOVE},
	{"move_batch", STORE_GAMESTATE, ARGS_MOVE, ANSWER_BATCH,
	 "SELECT version, sqlstate FROM gamestate.apply_moves($1::uuid[], $2::bigint[],"
	 " $3::json[], $4::json[], $5::text[])"},
	{"move_any", STORE_GAMESTATE, ARGS_MOVE_ANY, ANSWER_VERSION, APPLY_MOVE},
	{"plpgsql", STORE_TABLES, ARGS_MOVE, ANSWER_VERSION,
	 "SELECT bench.table_move($1::uuid, $2::bigint, $3::json, $4::json, $5::text)"},
	{"cte", STORE_TABLES, ARGS_MOVE, ANSWER_VERSION, TABLE_MOVE("bench.game")},
	{"cte_tuned", STORE_TUNED, ARGS_MOVE, ANSWER_VERSION, TABLE_MOVE("bench.game_tuned")},
	{"redis_noop", STORE_REDIS, ARGS_NONE, ANSWER_ONE, "return 1"},
	{"redis", STORE_REDIS, ARGS_MOVE, ANSWER_VERSION, REDIS_MOVE},
	{"by_id", STORE_GAMESTATE, ARGS_ID, ANSWER_ONE,
	 "SELECT gamestate.get_version($1::uuid)"},
	{"by_room", STORE_GAMESTATE, ARGS_ROOM, ANSWER_GAME_ID,
	 "SELECT gamestate.find_room($1::text)"},
	{"by_player", STORE_GAMESTATE, ARGS_PLAYER, ANSWER_GAME_ID,
	 "SELECT * FROM gamestate.player_games($1::text)"},
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
