/*
 * archived.h: the two questions to the archive by which games are checked.
 */
#ifndef GAMESTATE_CLIENT_ARCHIVED_H
#define GAMESTATE_CLIENT_ARCHIVED_H

#include "gamestate.h"

/* Columns of the game itself; all of them come as text. */
enum ArchivedGameColumn
{
	GAME_TYPE,
	GAME_STATUS,
	GAME_VERSION,
	GAME_MOVES,
	GAME_PLAYERS_EQUAL, /* to the array that was passed in */
	GAME_METADATA,
	GAME_RESULT,
	GAME_INITIAL_STATE,
	GAME_FINAL_STATE,
	GAME_COLUMNS
};

/* Columns of its moves, a row each, in order. */
enum ArchivedMoveColumn
{
	MOVE_VERSION,
	MOVE_PLAYER,
	MOVE_EVENT,
	MOVE_COLUMNS
};

#define ARCHIVED_PARAMS 2

/*
 * Fill in a call; `params` must stay until it has been sent.  The players are
 * an array literal.
 */
extern void archived_game_call(gamestate_call *call, const char *id, const char *players,
							   gamestate_param params[ARCHIVED_PARAMS]);
extern void archived_moves_call(gamestate_call *call, const char *id,
								gamestate_param params[ARCHIVED_PARAMS]);

#endif /* GAMESTATE_CLIENT_ARCHIVED_H */
