/*
 * calls.c: the SQL of the calls.
 *
 * The functions are called by argument name, as the documentation recommends:
 * a call says what it means and goes on working when a function gets another
 * argument.  The casts give the parameters their types, so that preparing
 * needs no guess of the server.
 */
#include "calls.h"

static const struct
{
	const char *name;
	int arg_count;
	const char *sql;
} calls[CALL_KINDS] = {
	[CALL_CREATE_GAME] =
		{"create_game", 4,
		 "SELECT gamestate.create_game(game_type => $1::text, state => $2::json,"
		 " players => $3::text[], metadata => $4::json)"},
	[CALL_CREATE_ROOM] =
		{"create_game", 5,
		 "SELECT gamestate.create_game(game_type => $1::text, state => $2::json,"
		 " room_code => $3::text, metadata => $4::json, status => 'waiting',"
		 " max_players => $5::int)"},
	[CALL_JOIN_GAME] =
		{"join_game", 3,
		 "SELECT gamestate.join_game(game_id => $1::uuid, player => $2::text,"
		 " expected_version => $3::bigint)"},
	[CALL_START_GAME] = {"start_game", 2,
						 "SELECT gamestate.start_game(game_id => $1::uuid,"
						 " expected_version => $2::bigint)"},
	[CALL_APPLY_MOVE] = {"apply_move", 5,
						 "SELECT gamestate.apply_move(game_id => $1::uuid,"
						 " expected_version => $2::bigint, event => $3::json,"
						 " state => $4::json, player => $5::text)"},
	[CALL_GET_STATE] = {"get_state", 1,
						"SELECT gamestate.get_state(game_id => $1::uuid)"},
	[CALL_FINISH_GAME] =
		{"finish_game", 3,
		 "SELECT gamestate.finish_game(game_id => $1::uuid, result => $2::json,"
		 " expected_version => $3::bigint)"},
	[CALL_ARCHIVED_GAME] =
		{"query of archived_games", 2,
		 "SELECT game_type, status, version, moves, players = $2::text[],"
		 " metadata, result, initial_state, final_state"
		 " FROM gamestate.archived_games WHERE game_id = $1::uuid"},
	[CALL_ARCHIVED_MOVES] = {"query of archived_moves", 1,
							 "SELECT version, player, event"
							 " FROM gamestate.archived_moves WHERE game_id = $1::uuid"
							 " ORDER BY version"},
};

const char *
call_name(CallKind kind)
{
	return calls[kind].name;
}

const char *
call_sql(CallKind kind)
{
	return calls[kind].sql;
}

int
call_arg_count(CallKind kind)
{
	return calls[kind].arg_count;
}
