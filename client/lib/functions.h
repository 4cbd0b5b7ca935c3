/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  What libgamestate knows of each SQL function: its text, what it returns,
 *	  whether it may be repeated.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_FUNCTIONS_H
#define GSL_FUNCTIONS_H

#include "gamestate.h"

typedef enum FunctionId
{
	FN_CREATE_GAME,
	FN_CREATE_GAME_BYTES,
	FN_APPLY_MOVE,
	FN_APPLY_MOVE_BYTES,
	FN_APPLY_PATCH,
	FN_APPLY_MOVES,
	FN_APPLY_MOVES_BYTES,
	FN_SET_METADATA,
	FN_SET_ROOM_CODE,
	FN_SET_DEADLINE,
	FN_JOIN_GAME,
	FN_LEAVE_GAME,
	FN_START_GAME,
	FN_FINISH_GAME,
	FN_SUSPEND_GAME,
	FN_RESUME_GAME,
	FN_RESTORE_GAME,
	FN_DELETE_GAME,
	FN_CONNECT_PLAYER,
	FN_HEARTBEAT,
	FN_DISCONNECT_PLAYER,
	FN_RECONNECT,
	FN_PLAYER_PRESENCE,
	FN_ALLOW,
	FN_CLAIM_GAMES,
	FN_RENEW_LEASE,
	FN_RELEASE_GAMES,
	FN_LIST_LEASES,
	FN_GET_GAME,
	FN_GET_STATE,
	FN_GET_STATE_BYTES,
	FN_GET_VERSION,
	FN_GET_STATE_IF_NEWER,
	FN_GET_STATE_IF_NEWER_BYTES,
	FN_GET_STATES,
	FN_GET_STATES_BYTES,
	FN_GET_CHANGES,
	FN_STATE_AT,
	FN_STATE_AT_BYTES,
	FN_FIND_ROOM,
	FN_PLAYER_GAMES,
	FN_OPEN_ROOMS,
	FN_LIST_LIVE_GAMES,
	FN_WAIT_CHANGES,
	FN_FEED_POSITION,
	FN_BEGIN,
	FN_COMMIT,
	FN_ROLLBACK,
	FN_SQL,
	FN_COUNT
} FunctionId;

/* What a function returns; the columns of each stand in functions.c. */
typedef enum Shape
{
	SHAPE_VERSION,	/* one bigint */
	SHAPE_GAME_ID,	/* one uuid */
	SHAPE_DELETED,	/* one boolean */
	SHAPE_JSON,		/* one json */
	SHAPE_BYTES,	/* one bytea */
	SHAPE_POSITION, /* one bigint */
	SHAPE_GAME,		/* one game, all columns NULL if there is none */
	SHAPE_GAMES,
	SHAPE_CHANGES,
	SHAPE_FEED,
	SHAPE_MOVED,
	SHAPE_STATES,
	SHAPE_STATES_BYTES,
	SHAPE_CLAIMED,
	SHAPE_LEASES,
	SHAPE_IDS,
	SHAPE_TOKEN,	   /* one uuid */
	SHAPE_CONNECTED,   /* one boolean */
	SHAPE_RECONNECTED, /* a row with token and game, then changes */
	SHAPE_PRESENCE,
	SHAPE_ALLOWED,
	SHAPE_COMMAND, /* no rows */
	SHAPE_ANY,	   /* whatever SQL returns */
	SHAPE_COUNT
} Shape;

/* flags of a function */
#define FN_READ		   1 /* changes nothing */
#define FN_WRITE	   2 /* its last argument is a request id, or an array of them */
#define FN_GROUP	   4 /* a read of one game, whose arguments are all in the call */
#define FN_TRANSACTION 8 /* may begin or end a transaction */

/* A FN_GROUP function has no more arguments than this. */
#define MAX_GROUP_ARGS 3

typedef struct Function
{
	const char *name;
	const char *sql;
	Shape shape;
	int flags;
} Function;

extern const Function gsl_functions[FN_COUNT];

/* The function of a call, or NULL if it is none. */
extern const Function *gsl_function_of(const gamestate_call *call);

/* Types by their OIDs, which never change. */
#define TYPE_UNKNOWN		   0
#define TYPE_BOOL			   16
#define TYPE_BYTEA			   17
#define TYPE_NAME			   19
#define TYPE_INT8			   20
#define TYPE_INT2			   21
#define TYPE_INT4			   23
#define TYPE_TEXT			   25
#define TYPE_OID			   26
#define TYPE_JSON			   114
#define TYPE_JSON_ARRAY		   199
#define TYPE_FLOAT4			   700
#define TYPE_FLOAT8			   701
#define TYPE_UNKNOWN_TXT	   705
#define TYPE_BYTEA_ARRAY	   1001
#define TYPE_TEXT_ARRAY		   1009
#define TYPE_INT8_ARRAY		   1016
#define TYPE_BPCHAR			   1042
#define TYPE_VARCHAR		   1043
#define TYPE_TIMESTAMP		   1114
#define TYPE_TIMESTAMPTZ	   1184
#define TYPE_TIMESTAMPTZ_ARRAY 1185
#define TYPE_INTERVAL		   1186
#define TYPE_UUID			   2950
#define TYPE_UUID_ARRAY		   2951
#define TYPE_JSONB			   3802

typedef struct ShapeColumns
{
	int count;
	const uint32_t *types;
	bool one_row; /* exactly one, else any number */
} ShapeColumns;

extern const ShapeColumns gsl_shapes[SHAPE_COUNT];

/* Where the columns of game and change begin in SHAPE_RECONNECTED. */
#define RECONNECTED_GAME   1
#define RECONNECTED_CHANGE 20

#endif /* GSL_FUNCTIONS_H */
