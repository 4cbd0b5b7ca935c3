/*
 * archived.c: the SQL of the questions to the archive.
 *
 * Everything is asked for as text: it is compared to the letter, and shown.
 */
#include "archived.h"

#define ARCHIVED_FLAGS (GAMESTATE_SQL_READ | GAMESTATE_SQL_PREPARE | GAMESTATE_SQL_TEXT)

static const char game_sql[] =
	"SELECT game_type, status, version, moves, players = $2::text[],"
	" metadata, result, initial_state, final_state"
	" FROM gamestate.archived_games WHERE game_id = $1::uuid";

static const char moves_sql[] = "SELECT version, player, event"
								" FROM gamestate.archived_moves WHERE game_id = $1::uuid"
								" ORDER BY version";

void
archived_game_call(gamestate_call *call, const char *id, const char *players,
				   gamestate_param params[ARCHIVED_PARAMS])
{
	params[0] = gamestate_param_literal(id);
	params[1] = gamestate_param_literal(players);
	gamestate_call_sql(call, game_sql, params, 2, ARCHIVED_FLAGS);
}

void
archived_moves_call(gamestate_call *call, const char *id,
					gamestate_param params[ARCHIVED_PARAMS])
{
	params[0] = gamestate_param_literal(id);
	gamestate_call_sql(call, moves_sql, params, 1, ARCHIVED_FLAGS);
}
