/*-------------------------------------------------------------------------
 *
 * gamestate_call.h
 *	  Calls of libgamestate: values, arguments, and one function for each SQL
 *	  function that fills in a gamestate_call.  Include gamestate.h.
 *
 * Making a call never fails and allocates nothing.  Numbers and ids are copied
 * into the call; texts, documents and arrays are named by pointers and must
 * stay as they are until the call has been sent (gamestate_conn_send) or
 * answered (gamestate_run and pools, which may send it again).  A call may be
 * copied, sent any number of times, on any connection, by any thread.
 *
 * Arguments are those of the SQL functions, in their order; README.md says what
 * each function does.  For all of them:
 * - an id or text that is NULL, or a document whose data is NULL, is SQL's
 *	 NULL or the function's default;
 * - expected_version 0 means no check (versions begin at 1);
 * - request_id NULL means none.  With one, the call can be sent again after a
 *	 lost answer: it is executed once and gets its first answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_CALL_H
#define GAMESTATE_CALL_H

#ifndef GAMESTATE_H
#error "include gamestate.h"
#endif

GAMESTATE_BEGIN_DECLS

/* -----------------------------------------------------------------------
 * Values
 * -----------------------------------------------------------------------
 */

typedef struct gamestate_uuid
{
	unsigned char bytes[16];
} gamestate_uuid;

#define GAMESTATE_UUID_TEXT 37 /* with its NUL */

/* A random (version 4) id, as for request ids; false: the kernel gave none. */
extern bool gamestate_uuid_generate(gamestate_uuid *uuid);
/* false: not a uuid; accepts what the server accepts as far as it has hyphens or none */
extern bool gamestate_uuid_parse(const char *text, gamestate_uuid *uuid);
extern void gamestate_uuid_format(const gamestate_uuid *uuid,
								  char text[GAMESTATE_UUID_TEXT]);

/* A document (JSON text or bytes): data NULL is SQL's NULL. Not NUL-terminated. */
typedef struct gamestate_data
{
	const void *data;
	size_t len;
} gamestate_data;

/* A document out of a NUL-terminated text. */
extern gamestate_data gamestate_text(const char *text);

/* How long a parameter is and what it holds; make them with the functions below. */
typedef struct gamestate_param
{
	int32_t type; /* private from here */
	int32_t flags;
	union
	{
		struct
		{
			const void *data;
			size_t len;
		} ref;
		gamestate_uuid uuid;
		int64_t number;
		double real;
	} value;
} gamestate_param;

/* Parameters of gamestate_call_sql(). */
/* NULL, of a type that the server guesses. */
extern gamestate_param gamestate_param_null(void);
extern gamestate_param gamestate_param_bool(bool value);
extern gamestate_param gamestate_param_int4(int32_t value);
extern gamestate_param gamestate_param_int8(int64_t value);
extern gamestate_param gamestate_param_float8(double value);
/* Microseconds since the Unix epoch. */
extern gamestate_param gamestate_param_timestamptz(int64_t us);
extern gamestate_param gamestate_param_uuid(const gamestate_uuid *value);
extern gamestate_param gamestate_param_text(const char *value);
extern gamestate_param gamestate_param_json(gamestate_data value);
extern gamestate_param gamestate_param_bytea(gamestate_data value);
extern gamestate_param gamestate_param_text_array(const char *const *values,
												  size_t count);
extern gamestate_param gamestate_param_uuid_array(const gamestate_uuid *values,
												  size_t count);
extern gamestate_param gamestate_param_int8_array(const int64_t *values, size_t count);
/* A literal of any type, as text: "12.50", "2026-01-01"; its type is guessed. */
extern gamestate_param gamestate_param_literal(const char *value);

/* -----------------------------------------------------------------------
 * Calls
 * -----------------------------------------------------------------------
 */

#define GAMESTATE_MAX_ARGS 12

/* All of it is private. */
typedef struct gamestate_call
{
	int32_t function;
	int32_t flags;
	const char *sql;
	const gamestate_param *params;
	size_t num_params;
	gamestate_param args[GAMESTATE_MAX_ARGS];
} gamestate_call;

/* The name of the SQL function, or "sql", "begin", "commit", "rollback"; static. */
extern const char *gamestate_call_name(const gamestate_call *call);
/* It changes nothing: it may be sent any number of times, and to a standby. */
extern bool gamestate_call_is_read(const gamestate_call *call);
/*
 * It may be sent again although it may have been executed: a read, or a write
 * with a request id.  (Not within a transaction of the caller's: that is to be
 * begun anew.)
 */
extern bool gamestate_call_is_retryable(const gamestate_call *call);
/* Does it change games? */
extern bool gamestate_call_is_write(const gamestate_call *call);
/* false: it has none, or one for each of its moves */
extern bool gamestate_call_get_request_id(const gamestate_call *call,
										  gamestate_uuid *request_id);
/* Makes a write retryable, or (NULL) not; false: it does not take one id. */
extern bool gamestate_call_set_request_id(gamestate_call *call,
										  const gamestate_uuid *request_id);

/* ---- writes ---- */

typedef struct gamestate_new_game
{
	const char *game_type;
	gamestate_data state;		/* default: {} (json), nothing (bytes) */
	const char *const *players; /* may be NULL if num_players is 0 */
	size_t num_players;
	const char *room_code;
	gamestate_data metadata;	   /* default: {} */
	const gamestate_uuid *game_id; /* default: the server makes one */
	const char *status;			   /* default: active */
	int max_players;			   /* default (0): no limit but the server's */
	const gamestate_uuid *request_id;
} gamestate_new_game;

/*
 * Deadlines, in microseconds since the Unix epoch.  With a move 0 leaves the
 * deadline as it is.
 */
#define GAMESTATE_NO_DEADLINE INT64_MAX /* takes it back */

typedef struct gamestate_move
{
	const gamestate_uuid *game_id;
	int64_t expected_version;
	gamestate_data event;
	gamestate_data state; /* NULL: unchanged */
	const char *player;
	const gamestate_uuid *request_id;
	int64_t deadline_us;
	int64_t lease; /* 0: none is shown */
} gamestate_move;

typedef struct gamestate_patch
{
	const gamestate_uuid *game_id;
	int64_t expected_version;
	gamestate_data event;
	gamestate_data patch; /* RFC 7396 */
	const char *player;
	const gamestate_uuid *request_id;
	int64_t deadline_us;
	int64_t lease;
} gamestate_patch;

/* Moves of one call: arrays of `count` elements. */
typedef struct gamestate_moves
{
	size_t count;
	const gamestate_uuid *game_ids;
	const int64_t *expected_versions; /* NULL: no check of any; 0: not of this one */
	const gamestate_data *events;
	const gamestate_data *states; /* NULL: all unchanged */
	const char *const *players;	  /* NULL: none; an element may be NULL */
	bool all_or_nothing;
	const gamestate_uuid *request_ids; /* NULL: none; one for each move */
	const int64_t *deadlines_us;	   /* NULL: all unchanged */
	const int64_t *leases;			   /* NULL: none; 0: none is shown */
} gamestate_moves;

typedef struct gamestate_finish
{
	const gamestate_uuid *game_id;
	gamestate_data result;
	int64_t expected_version;
	const char *status; /* default: finished */
	const gamestate_uuid *request_id;
	int64_t lease;
} gamestate_finish;

/*
 * Claims end with their session (the connection), unless they are made without one,
 * and when they have not been renewed for ttl milliseconds.  A claim whose answer
 * was lost counts; list_leases has its number.
 */
typedef struct gamestate_claim
{
	const char *owner;
	const char *game_type;			/* NULL: any */
	int max_games;					/* default: 100 */
	int ttl;						/* default: 30,000 */
	const gamestate_uuid *game_ids; /* only among these; NULL: any */
	size_t num_game_ids;
	bool without_session;
} gamestate_claim;

extern void gamestate_call_create_game(gamestate_call *call,
									   const gamestate_new_game *game);
extern void gamestate_call_create_game_bytes(gamestate_call *call,
											 const gamestate_new_game *game);
extern void gamestate_call_apply_move(gamestate_call *call, const gamestate_move *move);
extern void gamestate_call_apply_move_bytes(gamestate_call *call,
											const gamestate_move *move);
extern void gamestate_call_apply_patch(gamestate_call *call,
									   const gamestate_patch *patch);
extern void gamestate_call_apply_moves(gamestate_call *call,
									   const gamestate_moves *moves);
extern void gamestate_call_apply_moves_bytes(gamestate_call *call,
											 const gamestate_moves *moves);
extern void gamestate_call_set_metadata(gamestate_call *call,
										const gamestate_uuid *game_id,
										gamestate_data metadata, int64_t expected_version,
										const gamestate_uuid *request_id);
extern void gamestate_call_set_room_code(gamestate_call *call,
										 const gamestate_uuid *game_id,
										 const char *room_code, int64_t expected_version,
										 const gamestate_uuid *request_id);
extern void gamestate_call_set_deadline(gamestate_call *call,
										const gamestate_uuid *game_id,
										int64_t deadline_us, int64_t expected_version,
										const gamestate_uuid *request_id);
extern void gamestate_call_claim_games(gamestate_call *call,
									   const gamestate_claim *claim);
extern void gamestate_call_renew_lease(gamestate_call *call, const char *owner, int ttl);
/* game_ids NULL: all of the owner's */
extern void gamestate_call_release_games(gamestate_call *call, const char *owner,
										 const gamestate_uuid *game_ids, size_t count);
/* owner NULL: of all */
extern void gamestate_call_list_leases(gamestate_call *call, const char *owner);
extern void gamestate_call_join_game(gamestate_call *call, const gamestate_uuid *game_id,
									 const char *player, int64_t expected_version,
									 const gamestate_uuid *request_id);
extern void gamestate_call_leave_game(gamestate_call *call, const gamestate_uuid *game_id,
									  const char *player, int64_t expected_version,
									  const gamestate_uuid *request_id);
extern void gamestate_call_start_game(gamestate_call *call, const gamestate_uuid *game_id,
									  int64_t expected_version,
									  const gamestate_uuid *request_id);
extern void gamestate_call_finish_game(gamestate_call *call,
									   const gamestate_finish *finish);
extern void gamestate_call_suspend_game(gamestate_call *call,
										const gamestate_uuid *game_id,
										int64_t expected_version,
										const gamestate_uuid *request_id);
extern void gamestate_call_resume_game(gamestate_call *call,
									   const gamestate_uuid *game_id,
									   int64_t expected_version,
									   const gamestate_uuid *request_id);
extern void gamestate_call_restore_game(gamestate_call *call,
										const gamestate_uuid *game_id, int64_t to_version,
										int64_t expected_version,
										const gamestate_uuid *request_id);
extern void gamestate_call_delete_game(gamestate_call *call,
									   const gamestate_uuid *game_id,
									   int64_t expected_version,
									   const gamestate_uuid *request_id);

/* ---- reads ---- */

typedef struct gamestate_live_filter
{
	const char *game_type; /* NULL: all */
	const char *status;	   /* NULL: all */
	bool without_state;
	int max_rows; /* 0: all */
} gamestate_live_filter;

/* wait_changes: everything but `from_now` and `after` may be left at zero. */
typedef struct gamestate_feed
{
	int64_t after; /* a position that was given before */
	bool from_now; /* instead of that */
	const gamestate_uuid *game_ids;
	size_t num_games; /* 0: of all games */
	const char *game_type;
	int max_changes; /* default: 1000 */
	int wait;		 /* how long the server waits for a change; default: 30,000 ms */
	/* all games of these types, and besides those of `game_ids`; not with game_type */
	const char *const *game_types;
	size_t num_types;
} gamestate_feed;

extern void gamestate_call_get_game(gamestate_call *call, const gamestate_uuid *game_id);
extern void gamestate_call_get_state(gamestate_call *call, const gamestate_uuid *game_id);
extern void gamestate_call_get_state_bytes(gamestate_call *call,
										   const gamestate_uuid *game_id);
extern void gamestate_call_get_version(gamestate_call *call,
									   const gamestate_uuid *game_id);
extern void gamestate_call_get_state_if_newer(gamestate_call *call,
											  const gamestate_uuid *game_id,
											  int64_t version);
extern void gamestate_call_get_state_if_newer_bytes(gamestate_call *call,
													const gamestate_uuid *game_id,
													int64_t version);
extern void gamestate_call_get_states(gamestate_call *call,
									  const gamestate_uuid *game_ids, size_t count);
extern void gamestate_call_get_states_bytes(gamestate_call *call,
											const gamestate_uuid *game_ids, size_t count);
/* max_changes 0: all */
extern void gamestate_call_get_changes(gamestate_call *call,
									   const gamestate_uuid *game_id,
									   int64_t after_version, int max_changes);
extern void gamestate_call_state_at(gamestate_call *call, const gamestate_uuid *game_id,
									int64_t version);
extern void gamestate_call_state_at_bytes(gamestate_call *call,
										  const gamestate_uuid *game_id, int64_t version);
extern void gamestate_call_find_room(gamestate_call *call, const char *room_code);
extern void gamestate_call_player_games(gamestate_call *call, const char *player);
/* max_rows 0: the server's default, 50 */
extern void gamestate_call_open_rooms(gamestate_call *call, const char *game_type,
									  int max_rows);
extern void gamestate_call_list_live_games(gamestate_call *call,
										   const gamestate_live_filter *filter);
extern void gamestate_call_wait_changes(gamestate_call *call, const gamestate_feed *feed);
extern void gamestate_call_feed_position(gamestate_call *call);

/* ---- presence and rate limits; always on a primary, and without a request id ---- */

/* ttl in milliseconds; default: 30,000 */
extern void gamestate_call_connect_player(gamestate_call *call,
										  const gamestate_uuid *game_id,
										  const char *player, int ttl);
extern void gamestate_call_heartbeat(gamestate_call *call, const gamestate_uuid *token);
extern void gamestate_call_disconnect_player(gamestate_call *call,
											 const gamestate_uuid *token);
extern void gamestate_call_reconnect(gamestate_call *call, const gamestate_uuid *token,
									 int64_t after_version);
extern void gamestate_call_player_presence(gamestate_call *call,
										   const gamestate_uuid *game_id);
extern void gamestate_call_allow(gamestate_call *call, const char *key, double cost,
								 const char *policy);

/* ---- transactions and other SQL ---- */

/*
 * BEGIN, COMMIT, ROLLBACK, so that games and money change together.  What is
 * sent between them belongs to the transaction; it may all be sent without
 * waiting for an answer.  When one of its calls fails, those after it are
 * refused (25P02), and so is the commit: it is an error unless everything has
 * been committed.  Only one user of a connection at a time can do this.
 */
extern void gamestate_call_begin(gamestate_call *call);
extern void gamestate_call_commit(gamestate_call *call);
extern void gamestate_call_rollback(gamestate_call *call);

#define GAMESTATE_SQL_READ	  1 /* it changes nothing: gamestate_call_is_read() */
#define GAMESTATE_SQL_PREPARE 2 /* worth preparing: a text that is used often */
#define GAMESTATE_SQL_TEXT	  4 /* results as text, whatever their types */

/*
 * One statement, its parameters as $1, $2, ...  Results are read with the
 * generic functions of gamestate_result.h.  At most 256 different texts are
 * prepared on a connection, the others are not.
 */
extern void gamestate_call_sql(gamestate_call *call, const char *sql,
							   const gamestate_param *params, size_t count, int flags);

GAMESTATE_END_DECLS

#endif /* GAMESTATE_CALL_H */
