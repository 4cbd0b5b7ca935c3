/*-------------------------------------------------------------------------
 *
 * gs_row.h
 *	  Games and changes as rows: gamestate.game and gamestate.change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ROW_H
#define GS_ROW_H

#include "gs_archive.h"
#include "gs_table.h"

/* Columns of gamestate.game, in the order of the script. */
enum
{
	GS_GAME_ID,
	GS_GAME_TYPE,
	GS_GAME_STATUS,
	GS_GAME_TIER,
	GS_GAME_VERSION,
	GS_GAME_ENCODING,
	GS_GAME_STATE,
	GS_GAME_STATE_BYTES,
	GS_GAME_PLAYERS,
	GS_GAME_MAX_PLAYERS,
	GS_GAME_ROOM_CODE,
	GS_GAME_METADATA,
	GS_GAME_RESULT,
	GS_GAME_MOVES,
	GS_GAME_DEADLINE,
	GS_GAME_CREATED_AT,
	GS_GAME_STARTED_AT,
	GS_GAME_UPDATED_AT,
	GS_GAME_ENDED_AT,
	GS_GAME_NATTS
};

/* Columns of gamestate.change. */
enum
{
	GS_CHANGE_GAME_ID,
	GS_CHANGE_VERSION,
	GS_CHANGE_KIND,
	GS_CHANGE_PLAYER,
	GS_CHANGE_AT,
	GS_CHANGE_REQUEST_ID,
	GS_CHANGE_EVENT,
	GS_CHANGE_EVENT_BYTES,
	GS_CHANGE_PATCH,
	GS_CHANGE_STATE,
	GS_CHANGE_STATE_BYTES,
	GS_CHANGE_NATTS
};

extern void gs_row_live_game(const GsGameCopy *game, Datum *values, bool *nulls);
extern void gs_row_stored_game(const GsStoredGame *game, Datum *values, bool *nulls);
extern void gs_row_snapshot(const pg_uuid_t *id, bool is_bytes, int64 version,
							const GsText *state, Datum *values, bool *nulls);
extern void gs_row_change(const pg_uuid_t *id, bool is_bytes, int64 version,
						  const GsEntry *e, Datum *values, bool *nulls);

/*
 * The row type of the function that is called, looked up once for each call
 * site: the catalogs are not for every call.  In gs_read.c.
 */
extern TupleDesc gs_result_type(FunctionCallInfo fcinfo);

#endif /* GS_ROW_H */
