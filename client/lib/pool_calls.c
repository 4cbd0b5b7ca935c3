/*-------------------------------------------------------------------------
 *
 * pool_calls.c
 *	  One function for each SQL function, on a pool.
 *
 * The model: make the call, run it with the pool's timeout, take the one value
 * out of the answer, or hand over the answer; what went wrong is remembered
 * for the thread (pool_error.c).
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#define FEED_WAIT 30000 /* of wait_changes, if nothing else is asked for */

/* The answer, whose error is remembered; the caller's to free, may be NULL. */
static gamestate_result *
run(gamestate_pool *pool, const gamestate_call *call)
{
	gamestate_result *result = NULL;

	if (gamestate_pool_run(pool, call, NULL, &result) == GAMESTATE_OK)
	{
		gsp_remember(NULL);
		return result;
	}
	/* NULL stands for "out of memory"; gamestate_result_status() knows. */
	gsp_remember(result);
	return NULL;
}

/* The status of a call whose answer is not there. */
static gamestate_status
failed(void)
{
	gamestate_status status = gamestate_pool_error()->status;

	return status != GAMESTATE_OK ? status : GAMESTATE_NO_MEMORY;
}

static gamestate_status
run_version(gamestate_pool *pool, const gamestate_call *call, int64_t *version)
{
	gamestate_result *result = run(pool, call);

	if (result == NULL)
		return failed();
	if (version != NULL)
		*version = gamestate_result_version(result);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

static gamestate_status
run_position(gamestate_pool *pool, const gamestate_call *call, int64_t *position)
{
	gamestate_result *result = run(pool, call);

	if (result == NULL)
		return failed();
	if (position != NULL)
		*position = gamestate_result_feed_position(result);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

static gamestate_status
run_deleted(gamestate_pool *pool, const gamestate_call *call, bool *deleted)
{
	gamestate_result *result = run(pool, call);

	if (result == NULL)
		return failed();
	if (deleted != NULL)
		*deleted = gamestate_result_deleted(result);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

static gamestate_status
run_game_id(gamestate_pool *pool, const gamestate_call *call, gamestate_uuid *game_id,
			bool *found)
{
	gamestate_result *result = run(pool, call);
	gamestate_uuid id;
	bool is_there;

	if (result == NULL)
		return failed();
	is_there = gamestate_result_game_id(result, &id);
	if (is_there && game_id != NULL)
		*game_id = id;
	if (found != NULL)
		*found = is_there;
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

/* The answer is the caller's, also that of an error, which is remembered as well. */
static gamestate_status
run_result_within(gamestate_pool *pool, const gamestate_call *call, int timeout,
				  gamestate_result **answer)
{
	gamestate_pool_call_options options = {.timeout = timeout};
	gamestate_result *result = NULL;
	gamestate_status status = gamestate_pool_run(pool, call, &options, &result);

	gsp_remember(status == GAMESTATE_OK ? NULL : gsp_copy_error(result));
	if (answer != NULL)
		*answer = result;
	else
		gamestate_result_free(result);
	return status;
}

static gamestate_status
run_result(gamestate_pool *pool, const gamestate_call *call, gamestate_result **answer)
{
	return run_result_within(pool, call, 0, answer);
}

gamestate_status
gamestate_pool_create_game(gamestate_pool *pool, const gamestate_new_game *game,
						   gamestate_uuid *game_id)
{
	gamestate_call call;

	gamestate_call_create_game(&call, game);
	return run_game_id(pool, &call, game_id, NULL);
}

gamestate_status
gamestate_pool_create_game_bytes(gamestate_pool *pool, const gamestate_new_game *game,
								 gamestate_uuid *game_id)
{
	gamestate_call call;

	gamestate_call_create_game_bytes(&call, game);
	return run_game_id(pool, &call, game_id, NULL);
}

gamestate_status
gamestate_pool_apply_move(gamestate_pool *pool, const gamestate_move *move,
						  int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_move(&call, move);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_apply_move_bytes(gamestate_pool *pool, const gamestate_move *move,
								int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_move_bytes(&call, move);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_apply_patch(gamestate_pool *pool, const gamestate_patch *patch,
						   int64_t *version)
{
	gamestate_call call;

	gamestate_call_apply_patch(&call, patch);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_apply_moves(gamestate_pool *pool, const gamestate_moves *moves,
						   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_apply_moves(&call, moves);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_apply_moves_bytes(gamestate_pool *pool, const gamestate_moves *moves,
								 gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_apply_moves_bytes(&call, moves);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_set_metadata(gamestate_pool *pool, const gamestate_uuid *game_id,
							gamestate_data metadata, int64_t expected_version,
							const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_metadata(&call, game_id, metadata, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_set_room_code(gamestate_pool *pool, const gamestate_uuid *game_id,
							 const char *room_code, int64_t expected_version,
							 const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_room_code(&call, game_id, room_code, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_set_deadline(gamestate_pool *pool, const gamestate_uuid *game_id,
							int64_t deadline_us, int64_t expected_version,
							const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_set_deadline(&call, game_id, deadline_us, expected_version,
								request_id);
	return run_version(pool, &call, version);
}

/* Sessions of a pool come and go: no claim ends with one. */
gamestate_status
gamestate_pool_claim_games(gamestate_pool *pool, const gamestate_claim *claim,
						   gamestate_result **result)
{
	gamestate_claim bound_to_time = *claim;
	gamestate_call call;

	bound_to_time.without_session = true;
	gamestate_call_claim_games(&call, &bound_to_time);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_renew_lease(gamestate_pool *pool, const char *owner, int ttl,
						   int64_t *games)
{
	gamestate_call call;

	gamestate_call_renew_lease(&call, owner, ttl);
	return run_version(pool, &call, games);
}

gamestate_status
gamestate_pool_release_games(gamestate_pool *pool, const char *owner,
							 const gamestate_uuid *game_ids, size_t count, int64_t *games)
{
	gamestate_call call;

	gamestate_call_release_games(&call, owner, game_ids, count);
	return run_version(pool, &call, games);
}

gamestate_status
gamestate_pool_list_leases(gamestate_pool *pool, const char *owner,
						   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_list_leases(&call, owner);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_join_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						 const char *player, int64_t expected_version,
						 const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_join_game(&call, game_id, player, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_leave_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						  const char *player, int64_t expected_version,
						  const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_leave_game(&call, game_id, player, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_start_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						  int64_t expected_version, const gamestate_uuid *request_id,
						  int64_t *version)
{
	gamestate_call call;

	gamestate_call_start_game(&call, game_id, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_finish_game(gamestate_pool *pool, const gamestate_finish *finish,
						   int64_t *version)
{
	gamestate_call call;

	gamestate_call_finish_game(&call, finish);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_suspend_game(gamestate_pool *pool, const gamestate_uuid *game_id,
							int64_t expected_version, const gamestate_uuid *request_id,
							int64_t *version)
{
	gamestate_call call;

	gamestate_call_suspend_game(&call, game_id, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_resume_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						   int64_t expected_version, const gamestate_uuid *request_id,
						   int64_t *version)
{
	gamestate_call call;

	gamestate_call_resume_game(&call, game_id, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_restore_game(gamestate_pool *pool, const gamestate_uuid *game_id,
							int64_t to_version, int64_t expected_version,
							const gamestate_uuid *request_id, int64_t *version)
{
	gamestate_call call;

	gamestate_call_restore_game(&call, game_id, to_version, expected_version, request_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_delete_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						   int64_t expected_version, const gamestate_uuid *request_id,
						   bool *deleted)
{
	gamestate_call call;

	gamestate_call_delete_game(&call, game_id, expected_version, request_id);
	return run_deleted(pool, &call, deleted);
}

gamestate_status
gamestate_pool_get_game(gamestate_pool *pool, const gamestate_uuid *game_id,
						gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_game(&call, game_id);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_state(gamestate_pool *pool, const gamestate_uuid *game_id,
						 gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state(&call, game_id);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_state_bytes(gamestate_pool *pool, const gamestate_uuid *game_id,
							   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state_bytes(&call, game_id);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_state_if_newer(gamestate_pool *pool, const gamestate_uuid *game_id,
								  int64_t version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_state_if_newer(&call, game_id, version);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_version(gamestate_pool *pool, const gamestate_uuid *game_id,
						   int64_t *version)
{
	gamestate_call call;

	gamestate_call_get_version(&call, game_id);
	return run_version(pool, &call, version);
}

gamestate_status
gamestate_pool_get_states(gamestate_pool *pool, const gamestate_uuid *game_ids,
						  size_t count, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_states(&call, game_ids, count);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_states_bytes(gamestate_pool *pool, const gamestate_uuid *game_ids,
								size_t count, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_states_bytes(&call, game_ids, count);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_get_changes(gamestate_pool *pool, const gamestate_uuid *game_id,
						   int64_t after_version, int max_changes,
						   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_get_changes(&call, game_id, after_version, max_changes);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_state_at(gamestate_pool *pool, const gamestate_uuid *game_id,
						int64_t version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_state_at(&call, game_id, version);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_find_room(gamestate_pool *pool, const char *room_code,
						 gamestate_uuid *game_id, bool *found)
{
	gamestate_call call;

	gamestate_call_find_room(&call, room_code);
	return run_game_id(pool, &call, game_id, found);
}

gamestate_status
gamestate_pool_player_games(gamestate_pool *pool, const char *player,
							gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_player_games(&call, player);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_open_rooms(gamestate_pool *pool, const char *game_type, int max_rows,
						  gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_open_rooms(&call, game_type, max_rows);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_list_live_games(gamestate_pool *pool, const gamestate_live_filter *filter,
							   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_list_live_games(&call, filter);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_wait_changes(gamestate_pool *pool, const gamestate_feed *feed,
							gamestate_result **result)
{
	gamestate_call call;
	int wait = feed->wait > 0 ? feed->wait : FEED_WAIT;
	int most = pool != NULL ? pool->options.call_timeout : 0;

	/* The time that the server is to wait is not the pool's patience. */
	gamestate_call_wait_changes(&call, feed);
	return run_result_within(pool, &call, most < INT_MAX - wait ? most + wait : most,
							 result);
}

gamestate_status
gamestate_pool_feed_position(gamestate_pool *pool, int64_t *position)
{
	gamestate_call call;

	gamestate_call_feed_position(&call);
	return run_position(pool, &call, position);
}

gamestate_status
gamestate_pool_connect_player(gamestate_pool *pool, const gamestate_uuid *game_id,
							  const char *player, int ttl, gamestate_uuid *token)
{
	gamestate_call call;
	gamestate_result *result;

	gamestate_call_connect_player(&call, game_id, player, ttl);
	result = run(pool, &call);
	if (result == NULL)
		return failed();
	if (token != NULL)
		gamestate_result_token(result, token);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

static gamestate_status
run_connected(gamestate_pool *pool, const gamestate_call *call, bool *connected)
{
	gamestate_result *result = run(pool, call);

	if (result == NULL)
		return failed();
	if (connected != NULL)
		*connected = gamestate_result_connected(result);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

gamestate_status
gamestate_pool_heartbeat(gamestate_pool *pool, const gamestate_uuid *token,
						 bool *connected)
{
	gamestate_call call;

	gamestate_call_heartbeat(&call, token);
	return run_connected(pool, &call, connected);
}

gamestate_status
gamestate_pool_disconnect_player(gamestate_pool *pool, const gamestate_uuid *token,
								 bool *connected)
{
	gamestate_call call;

	gamestate_call_disconnect_player(&call, token);
	return run_connected(pool, &call, connected);
}

gamestate_status
gamestate_pool_reconnect(gamestate_pool *pool, const gamestate_uuid *token,
						 int64_t after_version, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_reconnect(&call, token, after_version);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_player_presence(gamestate_pool *pool, const gamestate_uuid *game_id,
							   gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_player_presence(&call, game_id);
	return run_result(pool, &call, result);
}

gamestate_status
gamestate_pool_allow(gamestate_pool *pool, const char *key, double cost,
					 const char *policy, gamestate_allowed *allowed)
{
	gamestate_call call;
	gamestate_result *result;

	gamestate_call_allow(&call, key, cost, policy);
	result = run(pool, &call);
	if (result == NULL)
		return failed();
	if (allowed != NULL)
		gamestate_result_allowed(result, allowed);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

gamestate_status
gamestate_pool_sql(gamestate_pool *pool, const char *sql, const gamestate_param *params,
				   size_t count, int flags, gamestate_result **result)
{
	gamestate_call call;

	gamestate_call_sql(&call, sql, params, count, flags);
	return run_result(pool, &call, result);
}
