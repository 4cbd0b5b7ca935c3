/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL of each call, and the columns of its answer.
 *
 * The model:
 * 1. Functions are called by argument name and their rows by column name, so
 *	  that a call goes on working when a function gets another argument or its
 *	  type another column.
 * 2. The types of parameters are not in the text: each is sent with its type
 *	  (codec.c), so that the server never has to guess.
 * 3. The columns here and the unpacking in rows.c go together.
 *
 *-------------------------------------------------------------------------
 */
#include "functions.h"

#define GAME_COLUMNS                                                           \
	"game_id, game_type, status, tier, version, encoding, state, state_bytes," \
	" players, max_players, room_code, metadata, result, moves, deadline,"     \
	" created_at, started_at, updated_at, ended_at"

#define RECONNECTED_COLUMNS                                                         \
	"(game).game_id, (game).game_type, (game).status, (game).tier, (game).version," \
	" (game).encoding, (game).state, (game).state_bytes, (game).players,"           \
	" (game).max_players, (game).room_code, (game).metadata, (game).result,"        \
	" (game).moves, (game).deadline, (game).created_at, (game).started_at,"         \
	" (game).updated_at, (game).ended_at,"                                          \
	" (change).game_id, (change).version, (change).kind, (change).player,"          \
	" (change).at, (change).request_id, (change).event, (change).event_bytes,"      \
	" (change).patch, (change).state, (change).state_bytes"

/* The arguments that all changes end with. */
#define CHECKED(n, m) ", expected_version => $" #n ", request_id => $" #m ")"

#define MANY_MOVES                                                         \
	"game_ids => $1, expected_versions => $2, events => $3, states => $4," \
	" players => $5, all_or_nothing => $6, deadlines => $7, leases => $8, request_ids => $9"

const Function gsl_functions[FN_COUNT] = {
	[FN_CREATE_GAME] = {"create_game",
						"SELECT gamestate.create_game(game_type => $1, state => $2,"
						" players => $3, room_code => $4, metadata => $5, game_id => $6,"
						" status => $7, max_players => $8, request_id => $9)",
						SHAPE_GAME_ID, FN_WRITE},
	[FN_CREATE_GAME_BYTES] =
		{"create_game_bytes",
		 "SELECT gamestate.create_game_bytes(game_type => $1, state => $2,"
		 " players => $3, room_code => $4, metadata => $5, game_id => $6,"
		 " status => $7, max_players => $8, request_id => $9)",
		 SHAPE_GAME_ID, FN_WRITE},
	[FN_APPLY_MOVE] = {"apply_move",
					   "SELECT gamestate.apply_move(game_id => $1,"
					   " expected_version => $2, event => $3, state => $4,"
					   " player => $5, deadline => $6, lease => $7, request_id => $8)",
					   SHAPE_VERSION, FN_WRITE},
	[FN_APPLY_MOVE_BYTES] =
		{"apply_move_bytes",
		 "SELECT gamestate.apply_move_bytes(game_id => $1,"
		 " expected_version => $2, event => $3, state => $4,"
		 " player => $5, deadline => $6, lease => $7, request_id => $8)",
		 SHAPE_VERSION, FN_WRITE},
	[FN_APPLY_PATCH] = {"apply_patch",
						"SELECT gamestate.apply_patch(game_id => $1,"
						" expected_version => $2, event => $3, patch => $4,"
						" player => $5, deadline => $6, lease => $7, request_id => $8)",
						SHAPE_VERSION, FN_WRITE},
	[FN_APPLY_MOVES] = {"apply_moves",
						"SELECT ord, game_id, version, sqlstate, message"
						" FROM gamestate.apply_moves(" MANY_MOVES ")",
						SHAPE_MOVED, FN_WRITE},
	[FN_APPLY_MOVES_BYTES] = {"apply_moves_bytes",
							  "SELECT ord, game_id, version, sqlstate, message"
							  " FROM gamestate.apply_moves_bytes(" MANY_MOVES ")",
							  SHAPE_MOVED, FN_WRITE},
	[FN_SET_METADATA] =
		{"set_metadata",
		 "SELECT gamestate.set_metadata(game_id => $1, metadata => $2" CHECKED(3, 4),
		 SHAPE_VERSION, FN_WRITE},
	[FN_SET_ROOM_CODE] =
		{"set_room_code",
		 "SELECT gamestate.set_room_code(game_id => $1, room_code => $2" CHECKED(3, 4),
		 SHAPE_VERSION, FN_WRITE},
	[FN_SET_DEADLINE] =
		{"set_deadline",
		 "SELECT gamestate.set_deadline(game_id => $1, at => $2" CHECKED(3, 4),
		 SHAPE_VERSION, FN_WRITE},
	[FN_JOIN_GAME] = {"join_game",
					  "SELECT gamestate.join_game(game_id => $1, player => $2" CHECKED(3,
																					   4),
					  SHAPE_VERSION, FN_WRITE},
	[FN_LEAVE_GAME] =
		{"leave_game",
		 "SELECT gamestate.leave_game(game_id => $1, player => $2" CHECKED(3, 4),
		 SHAPE_VERSION, FN_WRITE},
	[FN_START_GAME] = {"start_game",
					   "SELECT gamestate.start_game(game_id => $1" CHECKED(2, 3),
					   SHAPE_VERSION, FN_WRITE},
	[FN_FINISH_GAME] = {"finish_game",
						"SELECT gamestate.finish_game(game_id => $1, result => $2,"
						" expected_version => $3, status => $4, lease => $5,"
						" request_id => $6)",
						SHAPE_VERSION, FN_WRITE},
	[FN_SUSPEND_GAME] = {"suspend_game",
						 "SELECT gamestate.suspend_game(game_id => $1" CHECKED(2, 3),
						 SHAPE_VERSION, FN_WRITE},
	[FN_RESUME_GAME] = {"resume_game",
						"SELECT gamestate.resume_game(game_id => $1" CHECKED(2, 3),
						SHAPE_VERSION, FN_WRITE},
	[FN_RESTORE_GAME] = {"restore_game",
						 "SELECT gamestate.restore_game(game_id => $1,"
						 " version => $2" CHECKED(3, 4),
						 SHAPE_VERSION, FN_WRITE},
	[FN_DELETE_GAME] = {"delete_game",
						"SELECT gamestate.delete_game(game_id => $1" CHECKED(2, 3),
						SHAPE_DELETED, FN_WRITE},
	/*
	 * No reads, as only the primary knows: no standby is asked.  No writes either,
	 * as they have no request id.
	 */
	[FN_CONNECT_PLAYER] =
		{"connect_player",
		 "SELECT gamestate.connect_player(game_id => $1, player => $2, ttl => $3)",
		 SHAPE_TOKEN, 0},
	[FN_HEARTBEAT] = {"heartbeat", "SELECT gamestate.heartbeat(token => $1)",
					  SHAPE_CONNECTED, 0},
	[FN_DISCONNECT_PLAYER] = {"disconnect_player",
							  "SELECT gamestate.disconnect_player(token => $1)",
							  SHAPE_CONNECTED, 0},
	[FN_RECONNECT] = {"reconnect",
					  "SELECT new_token, " RECONNECTED_COLUMNS
					  " FROM gamestate.reconnect(token => $1, after_version => $2)",
					  SHAPE_RECONNECTED, 0},
	[FN_PLAYER_PRESENCE] = {"player_presence",
							"SELECT player, presence, since, expires_at"
							" FROM gamestate.player_presence(game_id => $1)",
							SHAPE_PRESENCE, 0},
	[FN_ALLOW] = {"allow",
				  "SELECT allowed, wait_ms, remaining"
				  " FROM gamestate.allow(key => $1, cost => $2, policy => $3)",
				  SHAPE_ALLOWED, 0},
	/* neither: asked twice they may answer otherwise, and no request id is kept */
	[FN_CLAIM_GAMES] = {"claim_games",
						"SELECT game_id, lease, version, expires_at"
						" FROM gamestate.claim_games(owner => $1, game_type => $2,"
						" max_games => $3, ttl => $4, game_ids => $5,"
						" with_session => $6)",
						SHAPE_CLAIMED, 0},
	[FN_RENEW_LEASE] = {"renew_lease",
						"SELECT gamestate.renew_lease(owner => $1, ttl => $2)",
						SHAPE_VERSION, 0},
	[FN_RELEASE_GAMES] = {"release_games",
						  "SELECT gamestate.release_games(owner => $1, game_ids => $2)",
						  SHAPE_VERSION, 0},
	[FN_LIST_LEASES] = {"list_leases",
						"SELECT game_id, lease, owner_name, pid, expires_at"
						" FROM gamestate.list_leases(owner => $1)",
						SHAPE_LEASES, 0},
	[FN_GET_GAME] = {"get_game",
					 "SELECT " GAME_COLUMNS " FROM gamestate.get_game(game_id => $1)",
					 SHAPE_GAME, FN_READ | FN_GROUP},
	[FN_GET_STATE] = {"get_state", "SELECT gamestate.get_state(game_id => $1)",
					  SHAPE_JSON, FN_READ | FN_GROUP},
	[FN_GET_STATE_BYTES] = {"get_state_bytes",
							"SELECT gamestate.get_state_bytes(game_id => $1)",
							SHAPE_BYTES, FN_READ | FN_GROUP},
	[FN_GET_VERSION] = {"get_version", "SELECT gamestate.get_version(game_id => $1)",
						SHAPE_VERSION, FN_READ | FN_GROUP},
	[FN_GET_STATE_IF_NEWER] =
		{"get_state_if_newer",
		 "SELECT gamestate.get_state_if_newer(game_id => $1, version => $2)", SHAPE_JSON,
		 FN_READ | FN_GROUP},
	[FN_GET_STATE_IF_NEWER_BYTES] =
		{"get_state_if_newer_bytes",
		 "SELECT gamestate.get_state_if_newer_bytes(game_id => $1, version => $2)",
		 SHAPE_BYTES, FN_READ | FN_GROUP},
	[FN_GET_STATES] = {"get_states",
					   "SELECT game_id, version, state"
					   " FROM gamestate.get_states(game_ids => $1)",
					   SHAPE_STATES, FN_READ},
	[FN_GET_STATES_BYTES] = {"get_states_bytes",
							 "SELECT game_id, version, state"
							 " FROM gamestate.get_states_bytes(game_ids => $1)",
							 SHAPE_STATES_BYTES, FN_READ},
	[FN_GET_CHANGES] = {"get_changes",
						"SELECT game_id, version, kind, player, at, request_id, event,"
						" event_bytes, patch, state, state_bytes"
						" FROM gamestate.get_changes(game_id => $1,"
						" after_version => $2, max_changes => $3)",
						SHAPE_CHANGES, FN_READ | FN_GROUP},
	[FN_STATE_AT] = {"state_at",
					 "SELECT gamestate.state_at(game_id => $1, version => $2)",
					 SHAPE_JSON, FN_READ | FN_GROUP},
	[FN_STATE_AT_BYTES] =
		{"state_at_bytes",
		 "SELECT gamestate.state_at_bytes(game_id => $1, version => $2)", SHAPE_BYTES,
		 FN_READ | FN_GROUP},
	[FN_FIND_ROOM] = {"find_room", "SELECT gamestate.find_room(room_code => $1)",
					  SHAPE_GAME_ID, FN_READ},
	[FN_PLAYER_GAMES] = {"player_games", "SELECT gamestate.player_games(player => $1)",
						 SHAPE_IDS, FN_READ},
	[FN_OPEN_ROOMS] = {"open_rooms",
					   "SELECT " GAME_COLUMNS
					   " FROM gamestate.open_rooms(game_type => $1, max_rows => $2)",
					   SHAPE_GAMES, FN_READ},
	[FN_LIST_LIVE_GAMES] = {"list_live_games",
							"SELECT " GAME_COLUMNS
							" FROM gamestate.list_live_games(game_type => $1,"
							" status => $2, with_state => $3, max_rows => $4)",
							SHAPE_GAMES, FN_READ},
	[FN_WAIT_CHANGES] =
		{"wait_changes",
		 "SELECT feed_position, game_id, version, kind, player, at, event,"
		 " event_bytes, event_omitted, request_id, type"
		 " FROM gamestate.wait_changes(after => $1, game_ids => $2, game_type => $3,"
		 " max_changes => $4, timeout => $5, game_types => $6)",
		 SHAPE_FEED, FN_READ},
	[FN_FEED_POSITION] = {"feed_position", "SELECT gamestate.feed_position()",
						  SHAPE_POSITION, FN_READ},
	[FN_BEGIN] = {"begin", "BEGIN", SHAPE_COMMAND, FN_TRANSACTION},
	[FN_COMMIT] = {"commit", "COMMIT", SHAPE_COMMAND, FN_TRANSACTION},
	[FN_ROLLBACK] = {"rollback", "ROLLBACK", SHAPE_COMMAND, FN_TRANSACTION},
	/* its text and whether it reads are said by the call */
	[FN_SQL] = {"sql", NULL, SHAPE_ANY, FN_TRANSACTION},
};

static const uint32_t one_int8[] = {TYPE_INT8};
static const uint32_t one_uuid[] = {TYPE_UUID};
static const uint32_t one_bool[] = {TYPE_BOOL};
static const uint32_t one_json[] = {TYPE_JSON};
static const uint32_t one_bytea[] = {TYPE_BYTEA};
static const uint32_t game[] = {TYPE_UUID,		  TYPE_TEXT,		TYPE_TEXT,
								TYPE_TEXT,		  TYPE_INT8,		TYPE_TEXT,
								TYPE_JSON,		  TYPE_BYTEA,		TYPE_TEXT_ARRAY,
								TYPE_INT4,		  TYPE_TEXT,		TYPE_JSON,
								TYPE_JSON,		  TYPE_INT8,		TYPE_TIMESTAMPTZ,
								TYPE_TIMESTAMPTZ, TYPE_TIMESTAMPTZ, TYPE_TIMESTAMPTZ,
								TYPE_TIMESTAMPTZ};
static const uint32_t change[] = {TYPE_UUID,		TYPE_INT8, TYPE_TEXT, TYPE_TEXT,
								  TYPE_TIMESTAMPTZ, TYPE_UUID, TYPE_JSON, TYPE_BYTEA,
								  TYPE_JSON,		TYPE_JSON, TYPE_BYTEA};
static const uint32_t feed[] = {TYPE_INT8, TYPE_UUID,		 TYPE_INT8, TYPE_TEXT,
								TYPE_TEXT, TYPE_TIMESTAMPTZ, TYPE_JSON, TYPE_BYTEA,
								TYPE_BOOL, TYPE_UUID,		 TYPE_TEXT};
static const uint32_t moved[] = {TYPE_INT4, TYPE_UUID, TYPE_INT8, TYPE_TEXT, TYPE_TEXT};
static const uint32_t states[] = {TYPE_UUID, TYPE_INT8, TYPE_JSON};
static const uint32_t states_bytes[] = {TYPE_UUID, TYPE_INT8, TYPE_BYTEA};

static const uint32_t reconnected[] =
	{TYPE_UUID,		   TYPE_UUID,		 TYPE_TEXT,		   TYPE_TEXT,
	 TYPE_TEXT,		   TYPE_INT8,		 TYPE_TEXT,		   TYPE_JSON,
	 TYPE_BYTEA,	   TYPE_TEXT_ARRAY,	 TYPE_INT4,		   TYPE_TEXT,
	 TYPE_JSON,		   TYPE_JSON,		 TYPE_INT8,		   TYPE_TIMESTAMPTZ,
	 TYPE_TIMESTAMPTZ, TYPE_TIMESTAMPTZ, TYPE_TIMESTAMPTZ, TYPE_TIMESTAMPTZ,
	 TYPE_UUID,		   TYPE_INT8,		 TYPE_TEXT,		   TYPE_TEXT,
	 TYPE_TIMESTAMPTZ, TYPE_UUID,		 TYPE_JSON,		   TYPE_BYTEA,
	 TYPE_JSON,		   TYPE_JSON,		 TYPE_BYTEA};
static const uint32_t presence[] = {TYPE_TEXT, TYPE_TEXT, TYPE_TIMESTAMPTZ,
									TYPE_TIMESTAMPTZ};
static const uint32_t allowed[] = {TYPE_BOOL, TYPE_INT8, TYPE_FLOAT8};
static const uint32_t claimed[] = {TYPE_UUID, TYPE_INT8, TYPE_INT8, TYPE_TIMESTAMPTZ};
static const uint32_t leases[] = {TYPE_UUID, TYPE_INT8, TYPE_TEXT, TYPE_INT4,
								  TYPE_TIMESTAMPTZ};

#define COLUMNS(types) sizeof(types) / sizeof((types)[0]), types

const ShapeColumns gsl_shapes[SHAPE_COUNT] = {
	[SHAPE_VERSION] = {COLUMNS(one_int8), true},
	[SHAPE_GAME_ID] = {COLUMNS(one_uuid), true},
	[SHAPE_DELETED] = {COLUMNS(one_bool), true},
	[SHAPE_JSON] = {COLUMNS(one_json), true},
	[SHAPE_BYTES] = {COLUMNS(one_bytea), true},
	[SHAPE_POSITION] = {COLUMNS(one_int8), true},
	[SHAPE_GAME] = {COLUMNS(game), true},
	[SHAPE_GAMES] = {COLUMNS(game), false},
	[SHAPE_CHANGES] = {COLUMNS(change), false},
	[SHAPE_FEED] = {COLUMNS(feed), false},
	[SHAPE_MOVED] = {COLUMNS(moved), false},
	[SHAPE_STATES] = {COLUMNS(states), false},
	[SHAPE_STATES_BYTES] = {COLUMNS(states_bytes), false},
	[SHAPE_CLAIMED] = {COLUMNS(claimed), false},
	[SHAPE_LEASES] = {COLUMNS(leases), false},
	[SHAPE_IDS] = {COLUMNS(one_uuid), false},
	[SHAPE_TOKEN] = {COLUMNS(one_uuid), true},
	[SHAPE_CONNECTED] = {COLUMNS(one_bool), true},
	[SHAPE_RECONNECTED] = {COLUMNS(reconnected), false},
	[SHAPE_PRESENCE] = {COLUMNS(presence), false},
	[SHAPE_ALLOWED] = {COLUMNS(allowed), true},
	[SHAPE_COMMAND] = {0, NULL, false},
	[SHAPE_ANY] = {0, NULL, false},
};

const Function *
gsl_function_of(const gamestate_call *call)
{
	if (call == NULL || call->function < 0 || call->function >= FN_COUNT)
		return NULL;
	return &gsl_functions[call->function];
}
