/*
 * calls.h: every statement that the demo sends while it plays and checks,
 * prepared once on each connection under a number.
 */
#ifndef GAMESTATE_CLIENT_CALLS_H
#define GAMESTATE_CLIENT_CALLS_H

typedef enum CallKind
{
	CALL_CREATE_GAME,	 /* type, state, players, metadata */
	CALL_CREATE_ROOM,	 /* type, state, room code, metadata, seats */
	CALL_JOIN_GAME,		 /* id, player, version */
	CALL_START_GAME,	 /* id, version */
	CALL_APPLY_MOVE,	 /* id, version, event, state, player */
	CALL_GET_STATE,		 /* id */
	CALL_FINISH_GAME,	 /* id, result, version */
	CALL_ARCHIVED_GAME,	 /* id, players */
	CALL_ARCHIVED_MOVES, /* id */
	CALL_KINDS
} CallKind;

#define CALL_MAX_ARGS 5

/* One call; NULL arguments are SQL NULLs. */
typedef struct Call
{
	CallKind kind;
	const char *args[CALL_MAX_ARGS];
} Call;

/* Columns of CALL_ARCHIVED_GAME. */
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

/* Columns of CALL_ARCHIVED_MOVES. */
enum ArchivedMoveColumn
{
	MOVE_VERSION,
	MOVE_PLAYER,
	MOVE_EVENT,
	MOVE_COLUMNS
};

/* What a user would call it, for messages; and its statement. */
extern const char *call_name(CallKind kind);
extern const char *call_sql(CallKind kind);
extern int call_arg_count(CallKind kind);

#endif /* GAMESTATE_CLIENT_CALLS_H */
