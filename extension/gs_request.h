/*-------------------------------------------------------------------------
 *
 * gs_request.h
 *	  Request ids: a retry gets the first answer and changes nothing.
 *
 * Every function that changes a game does this:
 *
 *	1. gs_request() with its arguments, before anything else.
 *	2. With the game locked, and before it checks anything of the game: has
 *	   the request been answered (gs_request_find(), for games that are not in
 *	   memory gs_request_find_stored())?  Then gs_request_check(), and the
 *	   answer is that version.
 *	3. gs_request_keep() into the log entry of the change.
 *
 * gs_open_target() does 2 for most of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_REQUEST_H
#define GS_REQUEST_H

#include "gs_writeset.h"

#include "fmgr.h"

/*
 * What a request id was given to.  It counts in the checksum of the arguments,
 * which is stored: values never change.
 */
typedef enum GsRequestFunction
{
	GS_REQUEST_CREATE_GAME = 1,
	GS_REQUEST_CREATE_GAME_BYTES = 2,
	GS_REQUEST_APPLY_MOVE = 3,
	GS_REQUEST_APPLY_MOVE_BYTES = 4,
	GS_REQUEST_SET_METADATA = 5,
	GS_REQUEST_SET_ROOM_CODE = 6,
	GS_REQUEST_START_GAME = 7,
	GS_REQUEST_JOIN_GAME = 8,
	GS_REQUEST_LEAVE_GAME = 9,
	GS_REQUEST_FINISH_GAME = 10,
	GS_REQUEST_DELETE_GAME = 11,
	GS_REQUEST_APPLY_PATCH = 12,
	GS_REQUEST_APPLY_MOVES = 13,
	GS_REQUEST_APPLY_MOVES_BYTES = 14,
	GS_REQUEST_RESTORE_GAME = 15,
	GS_REQUEST_SET_DEADLINE = 16,
	GS_REQUEST_SUSPEND_GAME = 17,
	GS_REQUEST_RESUME_GAME = 18,
	GS_REQUEST_JOIN_ANY = 19,
	GS_REQUEST_JOIN_ANY_BYTES = 20
} GsRequestFunction;

/* A request id as a call gives it. */
typedef struct GsRequest
{
	const pg_uuid_t *id; /* NULL = none */
	uint32 arguments;	 /* CRC-32C of function and arguments */
} GsRequest;

/* How it was answered. */
typedef struct GsAnswered
{
	int64 version; /* 0 = by deleting the game */
	uint32 arguments;
} GsAnswered;

extern void gs_request_take(FunctionCallInfo fcinfo, GsRequestFunction function,
							const char *types, int n, GsRequest *request);

/*
 * The request id of a call: the argument after those whose types are given, a
 * letter each: "u" uuid, "4" integer, "8" bigint, "a" text[], "v" text, json
 * or bytea; "-" does not count.
 */
static inline GsRequest
gs_request(FunctionCallInfo fcinfo, GsRequestFunction function, const char *types)
{
	GsRequest request = {NULL, 0};
	int n = (int) strlen(types);

	if (!PG_ARGISNULL(n))
		gs_request_take(fcinfo, function, types, n, &request);
	return request;
}

/*
 * The same for who has the arguments in other shapes: each in turn, NULL (or
 * data NULL) for a null.  One of several moves of a call counts as apply_move(),
 * so that it may be retried alone.
 */
extern void gs_request_begin(GsRequest *request, const pg_uuid_t *id,
							 GsRequestFunction function);
extern void gs_request_add_uuid(GsRequest *request, const pg_uuid_t *value);
extern void gs_request_add_int4(GsRequest *request, const int32 *value);
extern void gs_request_add_int8(GsRequest *request, const int64 *value);
extern void gs_request_add_bytes(GsRequest *request, const GsText *value);
extern void gs_request_end(GsRequest *request);

/*
 * Was it answered by a change of this game, of this transaction or a committed
 * one?  The game is in memory, or pending is what the write set has of it, and
 * its heavyweight lock is held.  false without a request id.
 */
extern bool gs_request_find_slow(const GsRequest *request, const pg_uuid_t *game_id,
								 const GsPending *pending, GsAnswered *answered);

static inline bool
gs_request_find(const GsRequest *request, const pg_uuid_t *game_id,
				const GsPending *pending, GsAnswered *answered)
{
	return unlikely(request->id != NULL) &&
		   gs_request_find_slow(request, game_id, pending, answered);
}

/* What the tables of games that are not live know. */
typedef enum GsStoredRequest
{
	GS_REQUEST_NO_GAME,	   /* there is no such game */
	GS_REQUEST_NOT_THERE,  /* there is, and it has not answered it */
	GS_REQUEST_NO_PAYLOAD, /* there is, and its log is gone */
	GS_REQUEST_IS_ANSWERED
} GsStoredRequest;

/*
 * The same for a game that is not live; *tier is where it is.  With "creation"
 * the game is looked for where one would be whose id follows from this
 * request's (gs_uuid.h).
 */
extern GsStoredRequest gs_request_find_stored(const GsRequest *request,
											  const pg_uuid_t *game_id, bool creation,
											  GsTier *tier, GsAnswered *answered);

/* The same for a copy of a whole game. */
extern bool gs_request_find_in(const GsRequest *request, const GsGameCopy *game,
							   GsAnswered *answered);

/* Is it a retry, and not something else with the same id (GS014)? */
static inline bool
gs_request_is_same(const GsRequest *request, const GsAnswered *answered)
{
	return request->arguments == answered->arguments;
}

/* Into the log entry of the change, in the write set's memory. */
extern void gs_request_keep(const GsRequest *request, GsEntry *e);

#endif /* GS_REQUEST_H */
