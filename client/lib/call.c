/*-------------------------------------------------------------------------
 *
 * call.c
 *	  Calls: filling them in, and what can be asked of one.
 *
 * The model: a call is the number of its function and its arguments in the
 * order of the parameters in functions.c.  A write's last argument is its
 * request id.  What was left at zero becomes NULL or the default here, so that
 * the rest of the library only knows arguments.
 *
 *-------------------------------------------------------------------------
 */
#include "codec.h"

#include <limits.h>
#include <string.h>

static const gamestate_data empty_object = {"{}", 2};
static const gamestate_data no_bytes = {"", 0};

/* Begins a call without arguments; those not added stay unset. */
static void
begin(gamestate_call *call, FunctionId function)
{
	call->function = function;
	call->flags = 0;
	call->sql = NULL;
	call->params = NULL;
	call->num_params = 0;
}

static void
add(gamestate_call *call, gamestate_param param)
{
	call->args[call->num_params++] = param;
}

static void
add_uuid(gamestate_call *call, const gamestate_uuid *uuid)
{
	add(call, gamestate_param_uuid(uuid));
}

static gamestate_data
or_default(gamestate_data data, gamestate_data standard)
{
	return data.data != NULL ? data : standard;
}

/* The arguments that every change of a game ends with. */
static void
add_checks(gamestate_call *call, int64_t expected_version,
		   const gamestate_uuid *request_id)
{
	add(call, gsl_param_version(expected_version));
	add_uuid(call, request_id);
}

/* -----------------------------------------------------------------------
 * Writes
 * -----------------------------------------------------------------------
 */

static void
create_game(gamestate_call *call, FunctionId function, gamestate_param state,
			const gamestate_new_game *game)
{
	begin(call, function);
	add(call, gamestate_param_text(game->game_type));
	add(call, state);
	add(call, gamestate_param_text_array(game->players, game->num_players));
	add(call, gamestate_param_text(game->room_code));
	add(call, gamestate_param_json(or_default(game->metadata, empty_object)));
	add_uuid(call, game->game_id);
	add(call, gamestate_param_text(game->status != NULL ? game->status : "active"));
	add(call, gsl_param_count(game->max_players));
	add_uuid(call, game->request_id);
}

void
gamestate_call_create_game(gamestate_call *call, const gamestate_new_game *game)
{
	create_game(call, FN_CREATE_GAME,
				gamestate_param_json(or_default(game->state, empty_object)), game);
}

void
gamestate_call_create_game_bytes(gamestate_call *call, const gamestate_new_game *game)
{
	create_game(call, FN_CREATE_GAME_BYTES,
				gamestate_param_bytea(or_default(game->state, no_bytes)), game);
}

void
gamestate_call_apply_move(gamestate_call *call, const gamestate_move *move)
{
	begin(call, FN_APPLY_MOVE);
	add_uuid(call, move->game_id);
	add(call, gsl_param_version(move->expected_version));
	add(call, gamestate_param_json(move->event));
	add(call, gamestate_param_json(move->state));
	add(call, gamestate_param_text(move->player));
	add(call, gsl_param_deadline(move->deadline_us));
	add(call, gsl_param_version(move->lease));
	add_uuid(call, move->request_id);
}

void
gamestate_call_apply_move_bytes(gamestate_call *call, const gamestate_move *move)
{
	begin(call, FN_APPLY_MOVE_BYTES);
	add_uuid(call, move->game_id);
	add(call, gsl_param_version(move->expected_version));
	add(call, gamestate_param_bytea(move->event));
	add(call, gamestate_param_bytea(move->state));
	add(call, gamestate_param_text(move->player));
	add(call, gsl_param_deadline(move->deadline_us));
	add(call, gsl_param_version(move->lease));
	add_uuid(call, move->request_id);
}

void
gamestate_call_apply_patch(gamestate_call *call, const gamestate_patch *patch)
{
	begin(call, FN_APPLY_PATCH);
	add_uuid(call, patch->game_id);
	add(call, gsl_param_version(patch->expected_version));
	add(call, gamestate_param_json(patch->event));
	add(call, gamestate_param_json(patch->patch));
	add(call, gamestate_param_text(patch->player));
	add(call, gsl_param_deadline(patch->deadline_us));
	add(call, gsl_param_version(patch->lease));
	add_uuid(call, patch->request_id);
}

/* An array that was left out: none, as SQL's NULL. */
static gamestate_param
uuid_array_or_null(const gamestate_uuid *values, size_t count)
{
	return gamestate_param_uuid_array(values, values == NULL ? 1 : count);
}

/* An array that must be as long as the others even where it says nothing. */
static gamestate_param
filled(gamestate_param array, const void *values, size_t count)
{
	if (values == NULL && count > 0)
		array.flags = PARAM_ALL_NULL;
	return array;
}

static void
apply_moves(gamestate_call *call, FunctionId function, ParamType documents,
			const gamestate_moves *moves)
{
	size_t count = moves->count;
	gamestate_param versions =
		gamestate_param_int8_array(moves->expected_versions, count);
	gamestate_param leases =
		gamestate_param_int8_array(moves->leases, moves->leases == NULL ? 1 : count);

	versions.flags |= PARAM_ZERO_IS_NULL;
	leases.flags |= PARAM_ZERO_IS_NULL;
	begin(call, function);
	add(call, gamestate_param_uuid_array(moves->game_ids, count));
	add(call, filled(versions, moves->expected_versions, count));
	add(call, gsl_param_data_array(documents, moves->events, count));
	add(call, filled(gsl_param_data_array(documents, moves->states, count), moves->states,
					 count));
	add(call,
		gamestate_param_text_array(moves->players, moves->players == NULL ? 1 : count));
	add(call, gamestate_param_bool(moves->all_or_nothing));
	add(call, gsl_param_deadline_array(moves->deadlines_us, count));
	add(call, leases);
	add(call, uuid_array_or_null(moves->request_ids, count));
}

void
gamestate_call_apply_moves(gamestate_call *call, const gamestate_moves *moves)
{
	apply_moves(call, FN_APPLY_MOVES, PARAM_JSON_ARRAY, moves);
}

void
gamestate_call_apply_moves_bytes(gamestate_call *call, const gamestate_moves *moves)
{
	apply_moves(call, FN_APPLY_MOVES_BYTES, PARAM_BYTEA_ARRAY, moves);
}

void
gamestate_call_set_metadata(gamestate_call *call, const gamestate_uuid *game_id,
							gamestate_data metadata, int64_t expected_version,
							const gamestate_uuid *request_id)
{
	begin(call, FN_SET_METADATA);
	add_uuid(call, game_id);
	add(call, gamestate_param_json(metadata));
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_set_room_code(gamestate_call *call, const gamestate_uuid *game_id,
							 const char *room_code, int64_t expected_version,
							 const gamestate_uuid *request_id)
{
	begin(call, FN_SET_ROOM_CODE);
	add_uuid(call, game_id);
	add(call, gamestate_param_text(room_code));
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_set_deadline(gamestate_call *call, const gamestate_uuid *game_id,
							int64_t deadline_us, int64_t expected_version,
							const gamestate_uuid *request_id)
{
	begin(call, FN_SET_DEADLINE);
	add_uuid(call, game_id);
	add(call, gamestate_param_timestamptz(deadline_us));
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_join_game(gamestate_call *call, const gamestate_uuid *game_id,
						 const char *player, int64_t expected_version,
						 const gamestate_uuid *request_id)
{
	begin(call, FN_JOIN_GAME);
	add_uuid(call, game_id);
	add(call, gamestate_param_text(player));
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_leave_game(gamestate_call *call, const gamestate_uuid *game_id,
						  const char *player, int64_t expected_version,
						  const gamestate_uuid *request_id)
{
	begin(call, FN_LEAVE_GAME);
	add_uuid(call, game_id);
	add(call, gamestate_param_text(player));
	add_checks(call, expected_version, request_id);
}

/* A change that has no arguments of its own. */
static void
plain_change(gamestate_call *call, FunctionId function, const gamestate_uuid *game_id,
			 int64_t expected_version, const gamestate_uuid *request_id)
{
	begin(call, function);
	add_uuid(call, game_id);
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_start_game(gamestate_call *call, const gamestate_uuid *game_id,
						  int64_t expected_version, const gamestate_uuid *request_id)
{
	plain_change(call, FN_START_GAME, game_id, expected_version, request_id);
}

void
gamestate_call_finish_game(gamestate_call *call, const gamestate_finish *finish)
{
	begin(call, FN_FINISH_GAME);
	add_uuid(call, finish->game_id);
	add(call, gamestate_param_json(finish->result));
	add(call, gsl_param_version(finish->expected_version));
	add(call, gamestate_param_text(finish->status != NULL ? finish->status : "finished"));
	add(call, gsl_param_version(finish->lease));
	add_uuid(call, finish->request_id);
}

void
gamestate_call_suspend_game(gamestate_call *call, const gamestate_uuid *game_id,
							int64_t expected_version, const gamestate_uuid *request_id)
{
	plain_change(call, FN_SUSPEND_GAME, game_id, expected_version, request_id);
}

void
gamestate_call_resume_game(gamestate_call *call, const gamestate_uuid *game_id,
						   int64_t expected_version, const gamestate_uuid *request_id)
{
	plain_change(call, FN_RESUME_GAME, game_id, expected_version, request_id);
}

void
gamestate_call_restore_game(gamestate_call *call, const gamestate_uuid *game_id,
							int64_t to_version, int64_t expected_version,
							const gamestate_uuid *request_id)
{
	begin(call, FN_RESTORE_GAME);
	add_uuid(call, game_id);
	add(call, gamestate_param_int8(to_version));
	add_checks(call, expected_version, request_id);
}

void
gamestate_call_delete_game(gamestate_call *call, const gamestate_uuid *game_id,
						   int64_t expected_version, const gamestate_uuid *request_id)
{
	plain_change(call, FN_DELETE_GAME, game_id, expected_version, request_id);
}

/* -----------------------------------------------------------------------
 * Leases
 * -----------------------------------------------------------------------
 */

#define DEFAULT_TTL		  30000 /* ms */
#define DEFAULT_MAX_GAMES 100

static gamestate_param
ttl_param(int ttl)
{
	return gsl_param_interval((ttl != 0 ? ttl : DEFAULT_TTL) * INT64_C(1000));
}

void
gamestate_call_claim_games(gamestate_call *call, const gamestate_claim *claim)
{
	begin(call, FN_CLAIM_GAMES);
	add(call, gamestate_param_text(claim->owner));
	add(call, gamestate_param_text(claim->game_type));
	add(call, gamestate_param_int4(claim->max_games != 0 ? claim->max_games
														 : DEFAULT_MAX_GAMES));
	add(call, ttl_param(claim->ttl));
	add(call, uuid_array_or_null(claim->game_ids, claim->num_game_ids));
	add(call, gamestate_param_bool(!claim->without_session));
}

void
gamestate_call_renew_lease(gamestate_call *call, const char *owner, int ttl)
{
	begin(call, FN_RENEW_LEASE);
	add(call, gamestate_param_text(owner));
	add(call, ttl_param(ttl));
}

void
gamestate_call_release_games(gamestate_call *call, const char *owner,
							 const gamestate_uuid *game_ids, size_t count)
{
	begin(call, FN_RELEASE_GAMES);
	add(call, gamestate_param_text(owner));
	add(call, uuid_array_or_null(game_ids, count));
}

void
gamestate_call_list_leases(gamestate_call *call, const char *owner)
{
	begin(call, FN_LIST_LEASES);
	add(call, gamestate_param_text(owner));
}

/* -----------------------------------------------------------------------
 * Reads
 * -----------------------------------------------------------------------
 */

/* A call about one game (or token) that has no other argument. */
static void
about(gamestate_call *call, FunctionId function, const gamestate_uuid *game_id)
{
	begin(call, function);
	add_uuid(call, game_id);
}

void
gamestate_call_get_game(gamestate_call *call, const gamestate_uuid *game_id)
{
	about(call, FN_GET_GAME, game_id);
}

void
gamestate_call_get_state(gamestate_call *call, const gamestate_uuid *game_id)
{
	about(call, FN_GET_STATE, game_id);
}

void
gamestate_call_get_state_bytes(gamestate_call *call, const gamestate_uuid *game_id)
{
	about(call, FN_GET_STATE_BYTES, game_id);
}

void
gamestate_call_get_version(gamestate_call *call, const gamestate_uuid *game_id)
{
	about(call, FN_GET_VERSION, game_id);
}

void
gamestate_call_get_state_if_newer(gamestate_call *call, const gamestate_uuid *game_id,
								  int64_t version)
{
	about(call, FN_GET_STATE_IF_NEWER, game_id);
	add(call, gamestate_param_int8(version));
}

void
gamestate_call_get_state_if_newer_bytes(gamestate_call *call,
										const gamestate_uuid *game_id, int64_t version)
{
	about(call, FN_GET_STATE_IF_NEWER_BYTES, game_id);
	add(call, gamestate_param_int8(version));
}

void
gamestate_call_get_states(gamestate_call *call, const gamestate_uuid *game_ids,
						  size_t count)
{
	begin(call, FN_GET_STATES);
	add(call, gamestate_param_uuid_array(game_ids, count));
}

void
gamestate_call_get_states_bytes(gamestate_call *call, const gamestate_uuid *game_ids,
								size_t count)
{
	begin(call, FN_GET_STATES_BYTES);
	add(call, gamestate_param_uuid_array(game_ids, count));
}

void
gamestate_call_get_changes(gamestate_call *call, const gamestate_uuid *game_id,
						   int64_t after_version, int max_changes)
{
	about(call, FN_GET_CHANGES, game_id);
	add(call, gamestate_param_int8(after_version));
	add(call, gsl_param_count(max_changes));
}

void
gamestate_call_state_at(gamestate_call *call, const gamestate_uuid *game_id,
						int64_t version)
{
	about(call, FN_STATE_AT, game_id);
	add(call, gamestate_param_int8(version));
}

void
gamestate_call_state_at_bytes(gamestate_call *call, const gamestate_uuid *game_id,
							  int64_t version)
{
	about(call, FN_STATE_AT_BYTES, game_id);
	add(call, gamestate_param_int8(version));
}

void
gamestate_call_find_room(gamestate_call *call, const char *room_code)
{
	begin(call, FN_FIND_ROOM);
	add(call, gamestate_param_text(room_code));
}

void
gamestate_call_player_games(gamestate_call *call, const char *player)
{
	begin(call, FN_PLAYER_GAMES);
	add(call, gamestate_param_text(player));
}

void
gamestate_call_open_rooms(gamestate_call *call, const char *game_type, int max_rows)
{
	begin(call, FN_OPEN_ROOMS);
	add(call, gamestate_param_text(game_type));
	add(call, gamestate_param_int4(max_rows != 0 ? max_rows : 50));
}

void
gamestate_call_list_live_games(gamestate_call *call, const gamestate_live_filter *filter)
{
	static const gamestate_live_filter all = {NULL, NULL, false, 0};

	if (filter == NULL)
		filter = &all;
	begin(call, FN_LIST_LIVE_GAMES);
	add(call, gamestate_param_text(filter->game_type));
	add(call, gamestate_param_text(filter->status));
	add(call, gamestate_param_bool(!filter->without_state));
	add(call, gsl_param_count(filter->max_rows));
}

void
gamestate_call_wait_changes(gamestate_call *call, const gamestate_feed *feed)
{
	gamestate_param after = gamestate_param_int8(feed->after);
	gamestate_param types = gamestate_param_text_array(feed->game_types, feed->num_types);

	if (feed->from_now)
		after.flags |= PARAM_IS_NULL;
	if (feed->num_types == 0)
		types.flags |= PARAM_IS_NULL;
	begin(call, FN_WAIT_CHANGES);
	add(call, after);
	add(call, uuid_array_or_null(feed->num_games == 0 ? NULL : feed->game_ids,
								 feed->num_games));
	add(call, gamestate_param_text(feed->game_type));
	add(call, gamestate_param_int4(feed->max_changes != 0 ? feed->max_changes : 1000));
	add(call, gsl_param_interval((feed->wait != 0 ? feed->wait : 30000) * INT64_C(1000)));
	add(call, types);
}

void
gamestate_call_feed_position(gamestate_call *call)
{
	begin(call, FN_FEED_POSITION);
}

/* -----------------------------------------------------------------------
 * Presence and rate limits
 * -----------------------------------------------------------------------
 */

void
gamestate_call_connect_player(gamestate_call *call, const gamestate_uuid *game_id,
							  const char *player, int ttl)
{
	about(call, FN_CONNECT_PLAYER, game_id);
	add(call, gamestate_param_text(player));
	add(call, gsl_param_interval((ttl != 0 ? ttl : 30000) * INT64_C(1000)));
}

void
gamestate_call_heartbeat(gamestate_call *call, const gamestate_uuid *token)
{
	about(call, FN_HEARTBEAT, token);
}

void
gamestate_call_disconnect_player(gamestate_call *call, const gamestate_uuid *token)
{
	about(call, FN_DISCONNECT_PLAYER, token);
}

void
gamestate_call_reconnect(gamestate_call *call, const gamestate_uuid *token,
						 int64_t after_version)
{
	about(call, FN_RECONNECT, token);
	add(call, gamestate_param_int8(after_version));
}

void
gamestate_call_player_presence(gamestate_call *call, const gamestate_uuid *game_id)
{
	about(call, FN_PLAYER_PRESENCE, game_id);
}

void
gamestate_call_allow(gamestate_call *call, const char *key, double cost,
					 const char *policy)
{
	begin(call, FN_ALLOW);
	add(call, gamestate_param_text(key));
	add(call, gamestate_param_float8(cost));
	add(call, gamestate_param_text(policy));
}

/* -----------------------------------------------------------------------
 * Transactions and other SQL
 * -----------------------------------------------------------------------
 */

void
gamestate_call_begin(gamestate_call *call)
{
	begin(call, FN_BEGIN);
}

void
gamestate_call_commit(gamestate_call *call)
{
	begin(call, FN_COMMIT);
}

void
gamestate_call_rollback(gamestate_call *call)
{
	begin(call, FN_ROLLBACK);
}

void
gamestate_call_sql(gamestate_call *call, const char *sql, const gamestate_param *params,
				   size_t count, int flags)
{
	begin(call, FN_SQL);
	call->sql = sql;
	call->params = params;
	call->num_params = count;
	call->flags = flags;
}

/* -----------------------------------------------------------------------
 * What can be asked of a call
 * -----------------------------------------------------------------------
 */

const char *
gamestate_call_name(const gamestate_call *call)
{
	const Function *function = gsl_function_of(call);

	return function != NULL ? function->name : "no call";
}

bool
gamestate_call_is_read(const gamestate_call *call)
{
	const Function *function = gsl_function_of(call);

	if (function == NULL)
		return false;
	if (call->function == FN_SQL)
		return (call->flags & GAMESTATE_SQL_READ) != 0;
	return (function->flags & FN_READ) != 0;
}

bool
gamestate_call_is_write(const gamestate_call *call)
{
	const Function *function = gsl_function_of(call);

	return function != NULL && (function->flags & FN_WRITE) != 0;
}

/* The request id, or ids, of a write; else NULL. */
static const gamestate_param *
request_id_of(const gamestate_call *call)
{
	if (!gamestate_call_is_write(call) || call->num_params == 0 ||
		call->num_params > GAMESTATE_MAX_ARGS)
		return NULL;
	return &call->args[call->num_params - 1];
}

bool
gamestate_call_is_retryable(const gamestate_call *call)
{
	const gamestate_param *id = request_id_of(call);

	return gamestate_call_is_read(call) ||
		   (id != NULL && (id->flags & PARAM_IS_NULL) == 0);
}

bool
gamestate_call_get_request_id(const gamestate_call *call, gamestate_uuid *request_id)
{
	const gamestate_param *id = request_id_of(call);

	if (id == NULL || id->type != PARAM_UUID || (id->flags & PARAM_IS_NULL) != 0)
		return false;
	*request_id = id->value.uuid;
	return true;
}

bool
gamestate_call_set_request_id(gamestate_call *call, const gamestate_uuid *request_id)
{
	const gamestate_param *id = request_id_of(call);

	if (id == NULL || id->type != PARAM_UUID)
		return false;
	call->args[call->num_params - 1] = gamestate_param_uuid(request_id);
	return true;
}
