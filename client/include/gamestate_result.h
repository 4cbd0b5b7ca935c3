/*-------------------------------------------------------------------------
 *
 * gamestate_result.h
 *	  Results of libgamestate: what a call was answered.  Include gamestate.h.
 *
 * Before a result is handed out it has been compared with what its call
 * returns: number and types of columns, lengths of all values.  So the typed
 * functions cannot meet garbage; a wrong row or column, a value that is NULL,
 * and a result of another call or of an error answer with NULL, 0 or false.
 *
 * Everything that is returned points into the result and is valid until that
 * is freed (in a callback: until it returns).  A result may be read by several
 * threads at a time, but for gamestate_result_game(), _change(), _feed_row()
 * and _text_array(), which unpack rows into it when first asked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_RESULT_H
#define GAMESTATE_RESULT_H

#ifndef GAMESTATE_H
#error "include gamestate.h"
#endif

GAMESTATE_BEGIN_DECLS

extern gamestate_status gamestate_result_status(const gamestate_result *result);

/* Its status is GAMESTATE_OK if there was no error.  Owned by the result. */
extern const gamestate_error *gamestate_result_error(const gamestate_result *result);

/*
 * Within a callback: makes the result the caller's, to be freed with
 * gamestate_result_free().  NULL: out of memory.
 */
extern gamestate_result *gamestate_result_keep(gamestate_result *result);
extern void gamestate_result_free(gamestate_result *result);

/* -----------------------------------------------------------------------
 * Results of calls with one value
 * -----------------------------------------------------------------------
 */

/* The version: of writes (but create_game, delete_game, apply_moves), get_version.
 * 0: there is no such game. */
extern int64_t gamestate_result_version(const gamestate_result *result);
/* create_game, find_room; false: none */
extern bool gamestate_result_game_id(const gamestate_result *result,
									 gamestate_uuid *game_id);
/* connect_player, reconnect; false: none, the old one was void */
extern bool gamestate_result_token(const gamestate_result *result, gamestate_uuid *token);
/* heartbeat: is the player connected?  disconnect_player: was he? */
extern bool gamestate_result_connected(const gamestate_result *result);
/* delete_game: was there one? */
extern bool gamestate_result_deleted(const gamestate_result *result);
/* get_state, get_state_bytes, get_state_if_newer, state_at; data NULL: none.
 * A NUL follows the last byte. */
extern gamestate_data gamestate_result_state(const gamestate_result *result);
/* feed_position, and wait_changes: where to go on; 0 if there is none */
extern int64_t gamestate_result_feed_position(const gamestate_result *result);

/* -----------------------------------------------------------------------
 * Results with rows, counted from 0
 * -----------------------------------------------------------------------
 */

/* get_game (0 or 1), lists, SQL */
extern size_t gamestate_result_rows(const gamestate_result *result);

#define GAMESTATE_NO_TIME INT64_MIN /* a timestamp that is NULL */

/* A game: get_game, open_rooms, list_live_games; row 0 of reconnect. */
typedef struct gamestate_game
{
	gamestate_uuid game_id;
	const char *game_type;
	const char *status;
	const char *tier;
	const char *encoding; /* json or bytes */
	int64_t version;
	gamestate_data state;		/* of either encoding; NULL if not asked for */
	const char *const *players; /* NULL-terminated */
	size_t num_players;
	int max_players;	   /* 0: none */
	const char *room_code; /* NULL: none */
	gamestate_data metadata;
	gamestate_data result;
	int64_t moves;
	int64_t deadline_us; /* microseconds since the Unix epoch, or GAMESTATE_NO_TIME */
	int64_t created_us;
	int64_t started_us;
	int64_t updated_us;
	int64_t ended_us;
} gamestate_game;

/* NULL: no such row, or out of memory */
extern const gamestate_game *gamestate_result_game(gamestate_result *result, size_t row);

/* A change of a game: get_changes; rows 1 and on of reconnect. */
typedef struct gamestate_change
{
	gamestate_uuid game_id;
	int64_t version;
	const char *kind;
	const char *player; /* NULL: none */
	int64_t at_us;
	bool has_request_id;
	gamestate_uuid request_id;
	gamestate_data event; /* of either encoding */
	gamestate_data patch;
	gamestate_data state; /* of either encoding */
} gamestate_change;

extern const gamestate_change *gamestate_result_change(gamestate_result *result,
													   size_t row);

/* A row of the change feed: wait_changes. */
typedef struct gamestate_feed_row
{
	int64_t position;
	const char *kind; /* a change's, or gap, position */
	bool has_game;
	gamestate_uuid game_id;
	const char *game_type; /* NULL: none */
	int64_t version;
	const char *player; /* NULL: none */
	int64_t at_us;
	gamestate_data event; /* of either encoding */
	bool event_omitted;	  /* there is one, too large for the feed: see get_changes */
	bool has_request_id;
	gamestate_uuid request_id;
} gamestate_feed_row;

extern const gamestate_feed_row *gamestate_result_feed_row(gamestate_result *result,
														   size_t row);

/* A move of apply_moves: row i is that of the i-th move. */
typedef struct gamestate_moved
{
	int ord; /* counted from 1 */
	gamestate_uuid game_id;
	int64_t version;	  /* 0: it failed */
	const char *sqlstate; /* NULL: it has not */
	const char *message;
} gamestate_moved;

/* false: no such row */
extern bool gamestate_result_moved(const gamestate_result *result, size_t row,
								   gamestate_moved *moved);

/* A lease: claim_games, list_leases. */
typedef struct gamestate_lease
{
	gamestate_uuid game_id;
	int64_t lease;
	int64_t version;	/* of the game; claim_games only */
	int64_t expires_us; /* GAMESTATE_NO_TIME: never */
	const char *owner;	/* list_leases only */
	int pid;			/* list_leases only; 0: not bound to a session */
} gamestate_lease;

/* false: no such row */
extern bool gamestate_result_lease(const gamestate_result *result, size_t row,
								   gamestate_lease *lease);

/* A game of get_states; games that do not exist have no row. */
typedef struct gamestate_versioned_state
{
	gamestate_uuid game_id;
	int64_t version;
	gamestate_data state;
} gamestate_versioned_state;

extern bool gamestate_result_versioned_state(const gamestate_result *result, size_t row,
											 gamestate_versioned_state *state);

/* A player of player_presence. */
typedef struct gamestate_presence
{
	const char *player;
	const char *presence; /* connected, disconnected or unknown */
	int64_t since_us;	  /* or GAMESTATE_NO_TIME */
	int64_t expires_us;	  /* if connected: unless there is a heartbeat before */
} gamestate_presence;

extern bool gamestate_result_presence(const gamestate_result *result, size_t row,
									  gamestate_presence *presence);

/* allow */
typedef struct gamestate_allowed
{
	bool allowed;
	int64_t wait_ms; /* else: how long to wait; -1: it never will be */
	double remaining;
} gamestate_allowed;

extern bool gamestate_result_allowed(const gamestate_result *result,
									 gamestate_allowed *allowed);

/* player_games */
extern bool gamestate_result_id(const gamestate_result *result, size_t row,
								gamestate_uuid *game_id);

/* -----------------------------------------------------------------------
 * Results of other SQL
 *
 * Each is for the column types that it names, and answers false or NULL for
 * others; everything can be read as data, in the form of the wire.
 * -----------------------------------------------------------------------
 */

extern size_t gamestate_result_columns(const gamestate_result *result);
extern const char *gamestate_result_column_name(const gamestate_result *result,
												size_t column);
extern uint32_t gamestate_result_column_type(const gamestate_result *result,
											 size_t column); /* OID */
/* Rows that INSERT, UPDATE, DELETE or SELECT was about; 0 for others. */
extern int64_t gamestate_result_affected(const gamestate_result *result);
/* true for what does not exist as well */
extern bool gamestate_result_is_null(const gamestate_result *result, size_t row,
									 size_t column);
/* bool */
extern bool gamestate_result_bool(const gamestate_result *result, size_t row,
								  size_t column, bool *value);
/* int2, int4, int8, oid */
extern bool gamestate_result_int8(const gamestate_result *result, size_t row,
								  size_t column, int64_t *value);
/* float4, float8 */
extern bool gamestate_result_float8(const gamestate_result *result, size_t row,
									size_t column, double *value);
/* timestamptz, timestamp: microseconds since the Unix epoch; infinity is
 * INT64_MAX, -infinity INT64_MIN + 1 */
extern bool gamestate_result_timestamp(const gamestate_result *result, size_t row,
									   size_t column, int64_t *us);
extern bool gamestate_result_uuid(const gamestate_result *result, size_t row,
								  size_t column, gamestate_uuid *value);
/* text, varchar, name, json, unknown, and everything with GAMESTATE_SQL_TEXT */
extern const char *gamestate_result_text(const gamestate_result *result, size_t row,
										 size_t column);
extern gamestate_data gamestate_result_data(const gamestate_result *result, size_t row,
											size_t column);
/* text[]: NULL-terminated; an element that is NULL is ""; *count may be NULL */
extern const char *const *gamestate_result_text_array(gamestate_result *result,
													  size_t row, size_t column,
													  size_t *count);

GAMESTATE_END_DECLS

#endif /* GAMESTATE_RESULT_H */
