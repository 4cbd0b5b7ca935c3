/*-------------------------------------------------------------------------
 *
 * typed_calls.h
 *	  The calls that have a waiting function each: on a connection (typed.c),
 *	  and on a pool (pool_calls.c).
 *
 * A line of RESULT(name, (parameters), (arguments)) is gamestate_<name>() and
 * gamestate_pool_<name>(): the parameters after the connection or the pool, what
 * of them gamestate_call_<name>() gets, and the answer as a whole as the
 * out-parameter.  That of VALUE(name, type, what, ...) gets one value instead,
 * which gsl_take_<what>() takes out of the answer (typed.h).
 *
 * What is declared and documented is gamestate.h and gamestate_pool.h; a line
 * that differs from that does not compile.  A function without parameters, or whose
 * two versions do different things, is not here, but in both files.
 *
 * No include guard: who includes this defines VALUE and RESULT before, and they
 * are undefined again here.
 *
 *-------------------------------------------------------------------------
 */
#define GAME	   const gamestate_uuid *game_id
#define GAMES	   const gamestate_uuid *game_ids, size_t count
#define CHECKS	   int64_t expected_version, const gamestate_uuid *request_id
#define CHECK_ARGS expected_version, request_id

VALUE(create_game, gamestate_uuid, game_id, (const gamestate_new_game *game), (game))
VALUE(create_game_bytes, gamestate_uuid, game_id, (const gamestate_new_game *game),
	  (game))
VALUE(apply_move, int64_t, version, (const gamestate_move *move), (move))
VALUE(apply_move_bytes, int64_t, version, (const gamestate_move *move), (move))
VALUE(apply_patch, int64_t, version, (const gamestate_patch *patch), (patch))
RESULT(apply_moves, (const gamestate_moves *moves), (moves))
RESULT(apply_moves_bytes, (const gamestate_moves *moves), (moves))
VALUE(set_metadata, int64_t, version, (GAME, gamestate_data metadata, CHECKS),
	  (game_id, metadata, CHECK_ARGS))
VALUE(set_room_code, int64_t, version, (GAME, const char *room_code, CHECKS),
	  (game_id, room_code, CHECK_ARGS))
VALUE(set_deadline, int64_t, version, (GAME, int64_t deadline_us, CHECKS),
	  (game_id, deadline_us, CHECK_ARGS))
VALUE(join_game, int64_t, version, (GAME, const char *player, CHECKS),
	  (game_id, player, CHECK_ARGS))
VALUE(leave_game, int64_t, version, (GAME, const char *player, CHECKS),
	  (game_id, player, CHECK_ARGS))
VALUE(start_game, int64_t, version, (GAME, CHECKS), (game_id, CHECK_ARGS))
VALUE(finish_game, int64_t, version, (const gamestate_finish *finish), (finish))
VALUE(suspend_game, int64_t, version, (GAME, CHECKS), (game_id, CHECK_ARGS))
VALUE(resume_game, int64_t, version, (GAME, CHECKS), (game_id, CHECK_ARGS))
VALUE(restore_game, int64_t, version, (GAME, int64_t to_version, CHECKS),
	  (game_id, to_version, CHECK_ARGS))
VALUE(delete_game, bool, deleted, (GAME, CHECKS), (game_id, CHECK_ARGS))

VALUE(renew_lease, int64_t, version, (const char *owner, int ttl), (owner, ttl))
VALUE(release_games, int64_t, version, (const char *owner, GAMES),
	  (owner, game_ids, count))
RESULT(list_leases, (const char *owner), (owner))

RESULT(get_game, (GAME), (game_id))
RESULT(get_state, (GAME), (game_id))
RESULT(get_state_bytes, (GAME), (game_id))
RESULT(get_state_if_newer, (GAME, int64_t version), (game_id, version))
RESULT(get_state_if_newer_bytes, (GAME, int64_t version), (game_id, version))
VALUE(get_version, int64_t, version, (GAME), (game_id))
RESULT(get_states, (GAMES), (game_ids, count))
RESULT(get_states_bytes, (GAMES), (game_ids, count))
RESULT(get_changes, (GAME, int64_t after_version, int max_changes),
	   (game_id, after_version, max_changes))
RESULT(state_at, (GAME, int64_t version), (game_id, version))
RESULT(state_at_bytes, (GAME, int64_t version), (game_id, version))
RESULT(player_games, (const char *player), (player))
RESULT(open_rooms, (const char *game_type, int max_rows), (game_type, max_rows))
RESULT(list_live_games, (const gamestate_live_filter *filter), (filter))

VALUE(connect_player, gamestate_uuid, token, (GAME, const char *player, int ttl),
	  (game_id, player, ttl))
VALUE(heartbeat, bool, connected, (const gamestate_uuid *token), (token))
VALUE(disconnect_player, bool, connected, (const gamestate_uuid *token), (token))
RESULT(reconnect, (const gamestate_uuid *token, int64_t after_version),
	   (token, after_version))
RESULT(player_presence, (GAME), (game_id))
VALUE(allow, gamestate_allowed, allowed,
	  (const char *key, double cost, const char *policy), (key, cost, policy))

RESULT(sql, (const char *sql, const gamestate_param *params, size_t count, int flags),
	   (sql, params, count, flags))

#undef GAME
#undef GAMES
#undef CHECKS
#undef CHECK_ARGS
#undef VALUE
#undef RESULT
