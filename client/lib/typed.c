/*-------------------------------------------------------------------------
 *
 * typed.c
 *	  One waiting function for each SQL function.
 *
 * The model: make the call, run it with the timeout of the options, take the
 * one value out of the answer in a callback (no memory), or keep the answer.
 *
 *-------------------------------------------------------------------------
 */
#include "run.h"

static void
take_version(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		*(int64_t *) arg = gamestate_result_version(result);
}

static void
take_position(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		*(int64_t *) arg = gamestate_result_feed_position(result);
}

static void
take_deleted(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		*(bool *) arg = gamestate_result_deleted(result);
}

typedef struct FoundGame
{
	gamestate_uuid *game_id;
	bool *found;
} FoundGame;

static void
take_game_id(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	FoundGame *to = arg;
	gamestate_uuid game_id;
	bool found;

	(void) conn;
	if (gamestate_result_status(result) != GAMESTATE_OK)
		return;
	found = gamestate_result_game_id(result, &game_id);
	if (found && to->game_id != NULL)
		*to->game_id = game_id;
	if (to->found != NULL)
		*to->found = found;
}

static gamestate_status
run_created(gamestate_conn *conn, const gamestate_call *call, gamestate_uuid *game_id)
{
	FoundGame to = {game_id, NULL};

	return gsl_run(conn, call, 0, take_game_id, &to);
}

gamestate_status
gamestate_create_game(gamestate_conn *conn, const gamestate_new_game *game,
					  gamestate_uuid *game_id)
{
	gamestate_call call;

	gamestate_call_create_game(&call, game);
	return run_created(conn, &call, game_id);
}

gamestate_status
gamestate_create_game_bytes(gamestate_conn *conn, const gamestate_new_game *game,
							gamestate_uuid *game_id)
{
	gamestate_call call;

	gamestate_call_create_game_bytes(&call, game);
	return run_created(conn, &call, game_id);
}

gamestate_status
gamestate_apply_move(gamestate_conn *conn, const gamestate_move *move, int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_move(&call, move);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_apply_move_bytes(gamestate_conn *conn, const gamestate_move *move,
						   int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_move_bytes(&call, move);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_apply_patch(gamestate_conn *conn, const gamestate_patch *patch,
					  int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_patch(&call, patch);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_apply_moves(gamestate_conn *conn, const gamestate_moves *moves,
					  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_apply_moves(&call, moves);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_apply_moves_bytes(gamestate_conn *conn, const gamestate_moves *moves,
							gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_apply_moves_bytes(&call, moves);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_set_metadata(gamestate_conn *conn, const gamestate_uuid *game_id,
					   gamestate_data metadata, int64_t expected_version,
					   const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_metadata(&call, game_id, metadata, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_set_room_code(gamestate_conn *conn, const gamestate_uuid *game_id,
						const char *room_code, int64_t expected_version,
						const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_room_code(&call, game_id, room_code, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_set_deadline(gamestate_conn *conn, const gamestate_uuid *game_id,
					   int64_t deadline_us, int64_t expected_version,
					   const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_deadline(&call, game_id, deadline_us, expected_version,
								request_id);
	return gsl_run(conn, &call, 0, take_version, version);
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
gamestate_renew_lease(gamestate_conn *conn, const char *owner, int ttl, int64_t *games)
{
	gamestate_call call;

	gamestate_call_renew_lease(&call, owner, ttl);
	return gsl_run(conn, &call, 0, take_version, games);
}

gamestate_status
gamestate_release_games(gamestate_conn *conn, const char *owner,
						const gamestate_uuid *game_ids, size_t count, int64_t *games)
{
	gamestate_call call;

	gamestate_call_release_games(&call, owner, game_ids, count);
	return gsl_run(conn, &call, 0, take_version, games);
}

gamestate_status
gamestate_list_leases(gamestate_conn *conn, const char *owner, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_list_leases(&call, owner);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_join_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					const char *player, int64_t expected_version,
					const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_join_game(&call, game_id, player, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_leave_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					 const char *player, int64_t expected_version,
					 const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_leave_game(&call, game_id, player, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_start_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					 int64_t expected_version, const gamestate_uuid *request_id,
					 int64_t *version)
{
	gamestate_call call;

	gamestate_call_start_game(&call, game_id, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_finish_game(gamestate_conn *conn, const gamestate_finish *finish,
					  int64_t *version)
{
	gamestate_call call;

	gamestate_call_finish_game(&call, finish);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_suspend_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					   int64_t expected_version, const gamestate_uuid *request_id,
					   int64_t *version)
{
	gamestate_call call;

	gamestate_call_suspend_game(&call, game_id, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_resume_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					  int64_t expected_version, const gamestate_uuid *request_id,
					  int64_t *version)
{
	gamestate_call call;

	gamestate_call_resume_game(&call, game_id, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_restore_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					   int64_t to_version, int64_t expected_version,
					   const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_restore_game(&call, game_id, to_version, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_delete_game(gamestate_conn *conn, const gamestate_uuid *game_id,
					  int64_t expected_version, const gamestate_uuid *request_id,
					  bool *deleted)
{
	gamestate_call call;

	gamestate_call_delete_game(&call, game_id, expected_version, request_id);
	return gsl_run(conn, &call, 0, take_deleted, deleted);
}

gamestate_status
gamestate_get_game(gamestate_conn *conn, const gamestate_uuid *game_id,
				   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_game(&call, game_id);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_state(gamestate_conn *conn, const gamestate_uuid *game_id,
					gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state(&call, game_id);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_state_bytes(gamestate_conn *conn, const gamestate_uuid *game_id,
						  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state_bytes(&call, game_id);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_state_if_newer(gamestate_conn *conn, const gamestate_uuid *game_id,
							 int64_t version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state_if_newer(&call, game_id, version);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_state_if_newer_bytes(gamestate_conn *conn, const gamestate_uuid *game_id,
								   int64_t version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state_if_newer_bytes(&call, game_id, version);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_version(gamestate_conn *conn, const gamestate_uuid *game_id,
					  int64_t *version)
{
	gamestate_call call;

	gamestate_call_get_version(&call, game_id);
	return gsl_run(conn, &call, 0, take_version, version);
}

gamestate_status
gamestate_get_states(gamestate_conn *conn, const gamestate_uuid *game_ids, size_t count,
					 gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_states(&call, game_ids, count);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_states_bytes(gamestate_conn *conn, const gamestate_uuid *game_ids,
						   size_t count, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_states_bytes(&call, game_ids, count);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_get_changes(gamestate_conn *conn, const gamestate_uuid *game_id,
					  int64_t after_version, int max_changes, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_changes(&call, game_id, after_version, max_changes);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_state_at(gamestate_conn *conn, const gamestate_uuid *game_id, int64_t version,
				   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_state_at(&call, game_id, version);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_state_at_bytes(gamestate_conn *conn, const gamestate_uuid *game_id,
						 int64_t version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_state_at_bytes(&call, game_id, version);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_find_room(gamestate_conn *conn, const char *room_code, gamestate_uuid *game_id,
					bool *found)
{
	FoundGame to = {game_id, found};
	gamestate_call call;

	gamestate_call_find_room(&call, room_code);
	return gsl_run(conn, &call, 0, take_game_id, &to);
}

gamestate_status
gamestate_player_games(gamestate_conn *conn, const char *player,
					   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_player_games(&call, player);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_open_rooms(gamestate_conn *conn, const char *game_type, int max_rows,
					 gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_open_rooms(&call, game_type, max_rows);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_list_live_games(gamestate_conn *conn, const gamestate_live_filter *filter,
						  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_list_live_games(&call, filter);
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
	return gsl_run(conn, &call, 0, take_position, position);
}

static void
take_token(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		gamestate_result_token(result, arg);
}

static void
take_connected(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		*(bool *) arg = gamestate_result_connected(result);
}

static void
take_allowed(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	(void) conn;
	if (arg != NULL && gamestate_result_status(result) == GAMESTATE_OK)
		gamestate_result_allowed(result, arg);
}

gamestate_status
gamestate_connect_player(gamestate_conn *conn, const gamestate_uuid *game_id,
						 const char *player, int ttl, gamestate_uuid *token)
{
	gamestate_call call;

	gamestate_call_connect_player(&call, game_id, player, ttl);
	return gsl_run(conn, &call, 0, take_token, token);
}

gamestate_status
gamestate_heartbeat(gamestate_conn *conn, const gamestate_uuid *token, bool *connected)
{
	gamestate_call call;

	gamestate_call_heartbeat(&call, token);
	return gsl_run(conn, &call, 0, take_connected, connected);
}

gamestate_status
gamestate_disconnect_player(gamestate_conn *conn, const gamestate_uuid *token,
							bool *connected)
{
	gamestate_call call;

	gamestate_call_disconnect_player(&call, token);
	return gsl_run(conn, &call, 0, take_connected, connected);
}

gamestate_status
gamestate_reconnect(gamestate_conn *conn, const gamestate_uuid *token,
					int64_t after_version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_reconnect(&call, token, after_version);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_player_presence(gamestate_conn *conn, const gamestate_uuid *game_id,
						  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_player_presence(&call, game_id);
	return gamestate_run(conn, &call, 0, result);
}

gamestate_status
gamestate_allow(gamestate_conn *conn, const char *key, double cost, const char *policy,
				gamestate_allowed *allowed)
{
	gamestate_call call;

	gamestate_call_allow(&call, key, cost, policy);
	return gsl_run(conn, &call, 0, take_allowed, allowed);
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

gamestate_status
gamestate_sql(gamestate_conn *conn, const char *sql, const gamestate_param *params,
			  size_t count, int flags, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_sql(&call, sql, params, count, flags);
	return gamestate_run(conn, &call, 0, result);
}
