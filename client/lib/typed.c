/*-------------------------------------------------------------------------
 *
 * typed.c
 *	  One waiting function for each SQL function.
 *
 * The model: make the call, run it with the timeout of the options, take the
 * one value out of the answer in a callback (no memory), or keep the answer.
 * Which functions there are says typed_calls.h.
 *
 *-------------------------------------------------------------------------
 */
#include "typed.h"
#include "run.h"

static bool
is_wanted(const gamestate_result *result, const void *to)
{
	return to != NULL && gamestate_result_status(result) == GAMESTATE_OK;
}

void
gsl_take_version(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		*(int64_t *) to = gamestate_result_version(result);
}

void
gsl_take_feed_position(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		*(int64_t *) to = gamestate_result_feed_position(result);
}

void
gsl_take_deleted(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		*(bool *) to = gamestate_result_deleted(result);
}

void
gsl_take_connected(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		*(bool *) to = gamestate_result_connected(result);
}

void
gsl_take_game_id(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		gamestate_result_game_id(result, to);
}

void
gsl_take_token(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		gamestate_result_token(result, to);
}

void
gsl_take_allowed(gamestate_conn *conn, gamestate_result *result, void *to)
{
	(void) conn;
	if (is_wanted(result, to))
		gamestate_result_allowed(result, to);
}

void
gsl_take_found_game(gamestate_conn *conn, gamestate_result *result, void *to)
{
	const FoundGame *wanted = to;
	gamestate_uuid game_id;
	bool found;

	(void) conn;
	if (!is_wanted(result, to))
		return;
	found = gamestate_result_game_id(result, &game_id);
	if (found && wanted->game_id != NULL)
		*wanted->game_id = game_id;
	if (wanted->found != NULL)
		*wanted->found = found;
}

#define VALUE(name, type, what, parameters, arguments)                       \
	gamestate_status gamestate_##name(gamestate_conn *conn, LIST parameters, \
									  type *value)                           \
	{                                                                        \
		gamestate_call call;                                                 \
                                                                             \
		gamestate_call_##name(&call, LIST arguments);                        \
		return gsl_run(conn, &call, 0, gsl_take_##what, value);              \
	}

#define RESULT(name, parameters, arguments)                                  \
	gamestate_status gamestate_##name(gamestate_conn *conn, LIST parameters, \
									  gamestate_result **result)             \
	{                                                                        \
		gamestate_call call;                                                 \
                                                                             \
		gamestate_call_##name(&call, LIST arguments);                        \
		return gamestate_run(conn, &call, 0, result);                        \
	}

#include "typed_calls.h"

gamestate_status
gamestate_find_room(gamestate_conn *conn, const char *room_code, gamestate_uuid *game_id,
					bool *found)
{
	FoundGame to = {game_id, found};
	gamestate_call call;

	gamestate_call_find_room(&call, room_code);
	return gsl_run(conn, &call, 0, gsl_take_found_game, &to);
}

gamestate_status
gamestate_claim_games(gamestate_conn *conn, const gamestate_claim *claim,
					  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_claim_games(&call, claim);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_wait_changes(gamestate_conn *conn, const gamestate_feed *feed,
					   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_wait_changes(&call, feed);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_feed_position(gamestate_conn *conn, int64_t *position)
{
	gamestate_call call;

	gamestate_call_feed_position(&call);
	return gsl_run(conn, &call, 0, gsl_take_feed_position, position);
}

gamestate_status
gamestate_begin(gamestate_conn *conn)
{
	gamestate_call call;

	gamestate_call_begin(&call);
	return gsl_run(conn, &call, 0, NULL, NULL);
}

gamestate_status
gamestate_commit(gamestate_conn *conn)
{
	gamestate_call call;

	gamestate_call_commit(&call);
	return gsl_run(conn, &call, 0, NULL, NULL);
}

gamestate_status
gamestate_rollback(gamestate_conn *conn)
{
	gamestate_call call;

	gamestate_call_rollback(&call);
	return gsl_run(conn, &call, 0, NULL, NULL);
}
