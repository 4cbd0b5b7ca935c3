/*-------------------------------------------------------------------------
 *
 * gs_row.c
 *	  Games and changes as rows: gamestate.game and gamestate.change.
 *
 * Everything is allocated in the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_row.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

static void
set_value(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

static void
set_bytes(Datum *values, bool *nulls, int column, const char *data, uint32 len)
{
	if (data)
		set_value(values, nulls, column,
				  PointerGetDatum(cstring_to_text_with_len(data, len)));
}

static void
set_text(Datum *values, bool *nulls, int column, const GsText *text)
{
	set_bytes(values, nulls, column, text->data, text->len);
}

/* 0 stands for "never" */
static void
set_time(Datum *values, bool *nulls, int column, TimestampTz at)
{
	if (at != 0)
		set_value(values, nulls, column, TimestampTzGetDatum(at));
}

static Datum
players_array(const GsInfoParts *info)
{
	Datum *datums = palloc(sizeof(Datum) * Max(info->nplayers, 1));

	for (int i = 0; i < info->nplayers; i++)
		datums[i] = PointerGetDatum(
			cstring_to_text_with_len(info->players[i].data, info->players[i].len));
	return PointerGetDatum(
		construct_array(datums, info->nplayers, TEXTOID, -1, false, TYPALIGN_INT));
}

void
gs_row_live_game(const GsGameCopy *game, Datum *values, bool *nulls)
{
	const GsHeader *h = &game->h;
	bool is_bytes = h->encoding == GS_ENCODING_BYTES;

	memset(nulls, true, sizeof(bool) * GS_GAME_NATTS);
	set_value(values, nulls, GS_GAME_ID, UUIDPGetDatum(&game->game_id));
	set_text(values, nulls, GS_GAME_TYPE, &game->info.game_type);
	set_value(values, nulls, GS_GAME_STATUS,
			  CStringGetTextDatum(gs_status_name(h->status)));
	set_value(values, nulls, GS_GAME_TIER,
			  CStringGetTextDatum(gs_tier_name(GS_TIER_LIVE)));
	set_value(values, nulls, GS_GAME_VERSION, Int64GetDatum(h->version));
	set_value(values, nulls, GS_GAME_ENCODING,
			  CStringGetTextDatum(is_bytes ? "bytes" : "json"));
	set_text(values, nulls, is_bytes ? GS_GAME_STATE_BYTES : GS_GAME_STATE, &game->state);
	set_value(values, nulls, GS_GAME_PLAYERS, players_array(&game->info));
	if (h->max_players > 0)
		set_value(values, nulls, GS_GAME_MAX_PLAYERS, Int32GetDatum(h->max_players));
	set_text(values, nulls, GS_GAME_ROOM_CODE, &game->info.room_code);
	set_text(values, nulls, GS_GAME_METADATA, &game->info.metadata);
	set_text(values, nulls, GS_GAME_RESULT, &game->info.result);
	set_value(values, nulls, GS_GAME_MOVES, Int64GetDatum(h->moves));
	set_time(values, nulls, GS_GAME_DEADLINE, h->deadline);
	set_time(values, nulls, GS_GAME_CREATED_AT, h->created_at);
	set_time(values, nulls, GS_GAME_STARTED_AT, h->started_at);
	set_time(values, nulls, GS_GAME_UPDATED_AT, h->updated_at);
	set_time(values, nulls, GS_GAME_ENDED_AT, h->ended_at);
}

static void
set_pointer(Datum *values, bool *nulls, int column, void *p)
{
	if (p)
		set_value(values, nulls, column, PointerGetDatum(p));
}

void
gs_row_stored_game(const GsStoredGame *game, Datum *values, bool *nulls)
{
	memset(nulls, true, sizeof(bool) * GS_GAME_NATTS);
	set_value(values, nulls, GS_GAME_ID, UUIDPGetDatum(&game->game_id));
	set_value(values, nulls, GS_GAME_TYPE, CStringGetTextDatum(game->game_type));
	set_value(values, nulls, GS_GAME_STATUS, CStringGetTextDatum(game->status));
	set_value(values, nulls, GS_GAME_TIER, CStringGetTextDatum(gs_tier_name(game->tier)));
	set_value(values, nulls, GS_GAME_VERSION, Int64GetDatum(game->version));
	set_value(values, nulls, GS_GAME_ENCODING,
			  CStringGetTextDatum(game->is_bytes ? "bytes" : "json"));
	if (game->has_payload)
		set_bytes(values, nulls, game->is_bytes ? GS_GAME_STATE_BYTES : GS_GAME_STATE,
				  game->payload.final, game->payload.final_len);
	set_pointer(values, nulls, GS_GAME_PLAYERS, game->players);
	if (game->has_max_players)
		set_value(values, nulls, GS_GAME_MAX_PLAYERS, Int32GetDatum(game->max_players));
	set_pointer(values, nulls, GS_GAME_ROOM_CODE, game->room_code);
	set_pointer(values, nulls, GS_GAME_METADATA, game->metadata);
	set_pointer(values, nulls, GS_GAME_RESULT, game->result);
	set_value(values, nulls, GS_GAME_MOVES, Int64GetDatum(game->moves));
	set_time(values, nulls, GS_GAME_CREATED_AT, game->created_at);
	set_time(values, nulls, GS_GAME_STARTED_AT, game->started_at);
	set_time(values, nulls, GS_GAME_DEADLINE, game->deadline);
	set_time(values, nulls, GS_GAME_UPDATED_AT, game->updated_at);
	set_time(values, nulls, GS_GAME_ENDED_AT, game->ended_at);
}

void
gs_row_snapshot(const pg_uuid_t *id, bool is_bytes, int64 version, const GsText *state,
				Datum *values, bool *nulls)
{
	memset(nulls, true, sizeof(bool) * GS_CHANGE_NATTS);
	set_value(values, nulls, GS_CHANGE_GAME_ID, UUIDPGetDatum(id));
	set_value(values, nulls, GS_CHANGE_VERSION, Int64GetDatum(version));
	set_value(values, nulls, GS_CHANGE_KIND, CStringGetTextDatum("snapshot"));
	set_text(values, nulls, is_bytes ? GS_CHANGE_STATE_BYTES : GS_CHANGE_STATE, state);
}

void
gs_row_change(const pg_uuid_t *id, bool is_bytes, int64 version, const GsEntry *e,
			  Datum *values, bool *nulls)
{
	memset(nulls, true, sizeof(bool) * GS_CHANGE_NATTS);
	set_value(values, nulls, GS_CHANGE_GAME_ID, UUIDPGetDatum(id));
	set_value(values, nulls, GS_CHANGE_VERSION, Int64GetDatum(version));
	set_value(values, nulls, GS_CHANGE_KIND, CStringGetTextDatum(gs_kind_name(e->kind)));
	set_bytes(values, nulls, GS_CHANGE_PLAYER, e->player, e->player_len);
	set_value(values, nulls, GS_CHANGE_AT, TimestampTzGetDatum(e->at));
	if (e->request_id)
		set_value(values, nulls, GS_CHANGE_REQUEST_ID,
				  UUIDPGetDatum((const pg_uuid_t *) e->request_id));

	/* only moves are in the game's encoding; metadata, result, ... are json */
	set_bytes(values, nulls,
			  is_bytes && e->kind == GS_KIND_MOVE ? GS_CHANGE_EVENT_BYTES
												  : GS_CHANGE_EVENT,
			  e->event, e->event_len);
}
