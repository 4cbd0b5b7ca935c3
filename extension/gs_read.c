/*-------------------------------------------------------------------------
 *
 * gs_read.c
 *	  SQL functions that read games.
 *
 * The model: look into this transaction's write set, then into shared memory,
 * then into the tables of games that are not live (gs_tier.h).  A game is
 * copied under its partition lock and turned into rows after that: nothing
 * that could wait or touch the disk happens under a lock.  Before a function
 * answers, it waits until what it has seen is durable (gs_durable.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_errors.h"
#include "gs_follow.h"
#include "gs_lookup.h"
#include "gs_row.h"
#include "gs_writeset.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_get_game);
PG_FUNCTION_INFO_V1(gs_get_state);
PG_FUNCTION_INFO_V1(gs_get_state_bytes);
PG_FUNCTION_INFO_V1(gs_get_state_if_newer);
PG_FUNCTION_INFO_V1(gs_get_state_if_newer_bytes);
PG_FUNCTION_INFO_V1(gs_get_version);
PG_FUNCTION_INFO_V1(gs_find_room);
PG_FUNCTION_INFO_V1(gs_player_games);
PG_FUNCTION_INFO_V1(gs_list_live_games);
PG_FUNCTION_INFO_V1(gs_stat_memory);

static inline GsPending *
own_change(const pg_uuid_t *id)
{
	return unlikely(GsWriteSetActive) ? gs_writeset_find(id) : NULL;
}

/* ----------------------------------------------------------------
 *		One game
 * ----------------------------------------------------------------
 */

static void
check_encoding(const pg_uuid_t *id, bool is_bytes, bool want_bytes)
{
	if (unlikely(is_bytes != want_bytes))
	{
		gs_durable_wait();
		ereport(ERROR,
				(errcode(ERRCODE_GS_WRONG_ENCODING),
				 errmsg("wrong encoding for game %s",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
				 errdetail("The game's encoding is %s.", is_bytes ? "bytes" : "json"),
				 errhint("Use %s.", is_bytes ? "get_state_bytes()" : "get_state()")));
	}
}

/* A state as text, json or bytea: all are a varlena with the bytes. */
static struct varlena *
make_varlena(const char *data, uint32 len)
{
	struct varlena *result = palloc(VARHDRSZ + (Size) len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return result;
}

/* The state of a game that is not live; *again: look into memory once more. */
static struct varlena *
stored_state(const pg_uuid_t *id, GsTierLook look, bool want_bytes, int64 after_version,
			 bool *again)
{
	GsStoredGame *stored = gs_tier_get(id, true, CurrentMemoryContext);

	if (stored == NULL)
	{
		gs_require_games();
		*again = gs_tier_again(id, look);
		return NULL;
	}
	check_encoding(id, stored->is_bytes, want_bytes);
	return stored->has_payload && stored->version > after_version
			   ? make_varlena(stored->payload.final, stored->payload.final_len)
			   : NULL;
}

/* One look; *again: nothing was found, but may be there now. */
static struct varlena *
look_for_state(const pg_uuid_t *id, bool want_bytes, int64 after_version, bool *again)
{
	GsTierLook look = gs_tier_look();
	GsPending *pending = own_change(id);
	GsGame *game;
	struct varlena *result;

	if (pending && gs_pending_is_deleted(pending))
		return NULL;
	if (pending && !pending->exists)
		return stored_state(id, look, want_bytes, after_version, again);
	if (pending && pending->change.state_changed)
	{
		check_encoding(id, pending->change.h.encoding == GS_ENCODING_BYTES, want_bytes);
		if (pending->change.h.version <= after_version)
			return NULL;
		return make_varlena(pending->change.state.data, pending->change.state.len);
	}

	game = gs_table_find(id, pending != NULL);
	if (game == NULL)
		return stored_state(id, look, want_bytes, after_version, again);
	if (unlikely((game->h.encoding == GS_ENCODING_BYTES) != want_bytes))
	{
		gs_table_release(game);
		check_encoding(id, !want_bytes, want_bytes);
	}
	result = (pending ? pending->change.h.version : game->h.version) > after_version
				 ? make_varlena(GS_PTR(game->state), game->state_len)
				 : NULL;
	gs_table_release(game);
	gs_confirm_read();
	return result;
}

/* The hot read; NULL also if the game is not beyond a version. */
static Datum
get_state(FunctionCallInfo fcinfo, bool want_bytes, int64 after_version)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	struct varlena *state;
	bool again;

	gs_attach();
	(void) gs_ready();
	do
	{
		again = false;
		state = look_for_state(id, want_bytes, after_version, &again);
	} while (unlikely(again));
	gs_durable_wait();
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

Datum
gs_get_state(PG_FUNCTION_ARGS)
{
	return get_state(fcinfo, false, 0);
}

Datum
gs_get_state_bytes(PG_FUNCTION_ARGS)
{
	return get_state(fcinfo, true, 0);
}

Datum
gs_get_state_if_newer(PG_FUNCTION_ARGS)
{
	return get_state(fcinfo, false, PG_GETARG_INT64(1));
}

Datum
gs_get_state_if_newer_bytes(PG_FUNCTION_ARGS)
{
	return get_state(fcinfo, true, PG_GETARG_INT64(1));
}

Datum
gs_get_version(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	GsPending *pending;
	GsGame *game;
	GsStoredGame *stored;
	GsTierLook look;
	int64 version;

	gs_attach();
	(void) gs_ready();
	pending = own_change(id);
	if (pending)
	{
		if (gs_pending_is_deleted(pending))
			PG_RETURN_NULL();
		PG_RETURN_INT64(pending->change.h.version);
	}
	do
	{
		look = gs_tier_look();
		game = gs_table_find(id, false);
		if (game)
		{
			version = game->h.version;
			gs_table_release(game);
			gs_durable_wait();
			gs_confirm_read();
			PG_RETURN_INT64(version);
		}
		stored = gs_tier_get(id, false, CurrentMemoryContext);
	} while (stored == NULL && gs_tier_again(id, look));
	gs_durable_wait();
	if (stored == NULL)
	{
		gs_require_games();
		PG_RETURN_NULL();
	}
	PG_RETURN_INT64(stored->version);
}

TupleDesc
gs_result_type(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		TupleDesc desc;
		MemoryContext old;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("function returning record called in context that cannot accept type record")));
		old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	return fcinfo->flinfo->fn_extra;
}

Datum
gs_get_game(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	GsPending *pending;
	GsTierLook look;
	GsGameCopy *game = NULL;
	GsStoredGame *stored = NULL;
	Datum values[GS_GAME_NATTS];
	bool nulls[GS_GAME_NATTS];

	gs_attach();
	(void) gs_ready();
	pending = own_change(id);
	if (pending && gs_pending_is_deleted(pending))
		PG_RETURN_NULL();
	do
	{
		look = gs_tier_look();
		if (pending == NULL)
			game = gs_table_copy(id, GS_COPY_STATE, false, CurrentMemoryContext);
		else if (pending->exists)
			game = gs_writeset_copy(pending, GS_COPY_STATE, CurrentMemoryContext);
		if (game == NULL)
			stored = gs_tier_get(id, true, CurrentMemoryContext);
	} while (game == NULL && stored == NULL && gs_tier_again(id, look));

	gs_durable_wait();
	if (game)
		gs_row_live_game(game, values, nulls);
	else if (stored)
		gs_row_stored_game(stored, values, nulls);
	else
	{
		gs_require_games();
		PG_RETURN_NULL();
	}
	gs_confirm_read();
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}

/* ----------------------------------------------------------------
 *		Look-ups and lists
 * ----------------------------------------------------------------
 */

static GsText
arg_text(FunctionCallInfo fcinfo, int n)
{
	text *datum = PG_GETARG_TEXT_PP(n);

	return (GsText){VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum)};
}

Datum
gs_find_room(PG_FUNCTION_ARGS)
{
	GsText room_code = arg_text(fcinfo, 0);
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	bool found;

	gs_attach();
	(void) gs_ready();
	found = gs_lookup_room(&room_code, false, id);
	gs_durable_wait();
	gs_require_games();
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}

Datum
gs_player_games(PG_FUNCTION_ARGS)
{
	GsText player = arg_text(fcinfo, 0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	pg_uuid_t *ids;
	int n;

	gs_attach();
	(void) gs_ready();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ids = gs_lookup_player(&player, &n);
	gs_durable_wait();
	gs_require_games();
	for (int i = 0; i < n; i++)
	{
		Datum value = UUIDPGetDatum(&ids[i]);
		bool null = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &null);
	}
	return (Datum) 0;
}

/* What list_live_games() was asked for. */
typedef struct ListFilter
{
	ReturnSetInfo *rsinfo;
	GsText game_type; /* data NULL = all */
	char *status;	  /* NULL = all */
	int what;		  /* GS_COPY_* */
	int64 left;
} ListFilter;

static void
list_game(ListFilter *filter, const GsGameCopy *game)
{
	Datum values[GS_GAME_NATTS];
	bool nulls[GS_GAME_NATTS];

	if ((filter->game_type.data &&
		 !gs_text_equal(&filter->game_type, &game->info.game_type)) ||
		(filter->status && strcmp(filter->status, gs_status_name(game->h.status)) != 0))
		return;
	gs_row_live_game(game, values, nulls);
	if (!(filter->what & GS_COPY_STATE))
		nulls[GS_GAME_STATE] = nulls[GS_GAME_STATE_BYTES] = true;
	tuplestore_putvalues(filter->rsinfo->setResult, filter->rsinfo->setDesc, values,
						 nulls);
	filter->left--;
}

static void
list_all(ListFilter *filter)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "gamestate list",
											  ALLOCSET_DEFAULT_SIZES);
	int n;
	pg_uuid_t *ids = gs_table_ids(&n);
	GsWriteSetScan scan = {0};
	GsPending *pending;
	GsGameCopy *game;
	MemoryContext old = MemoryContextSwitchTo(row);

	for (int i = 0; i < n && filter->left > 0; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (own_change(&ids[i]))
			continue;
		game = gs_table_copy(&ids[i], filter->what, false, row);
		if (game && !gs_tier_is_hidden(&ids[i], game->returned_by))
			list_game(filter, game);
		MemoryContextReset(row);
	}
	while (GsWriteSetActive && filter->left > 0 &&
		   (pending = gs_writeset_next(&scan)) != NULL)
	{
		if (pending->exists)
			list_game(filter, gs_writeset_copy(pending, filter->what, row));
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
}

Datum
gs_list_live_games(PG_FUNCTION_ARGS)
{
	ListFilter filter = {.left = PG_INT64_MAX};

	gs_attach();
	(void) gs_ready();
	InitMaterializedSRF(fcinfo, 0);
	filter.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (!PG_ARGISNULL(0))
		filter.game_type = arg_text(fcinfo, 0);
	if (!PG_ARGISNULL(1))
		filter.status = text_to_cstring(PG_GETARG_TEXT_PP(1));
	filter.what = PG_ARGISNULL(2) || PG_GETARG_BOOL(2) ? GS_COPY_STATE : 0;
	if (!PG_ARGISNULL(3))
		filter.left = PG_GETARG_INT32(3);
	if (filter.left < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	list_all(&filter);
	gs_durable_wait();
	gs_require_games();
	gs_follow_check_list();
	return (Datum) 0;
}

/* ----------------------------------------------------------------
 *		Memory
 * ----------------------------------------------------------------
 */

Datum
gs_stat_memory(PG_FUNCTION_ARGS)
{
	Datum values[10];
	bool nulls[10] = {0};
	GsDatabase *db;

	gs_attach();
	db = gs_my_database();
	values[0] = Int64GetDatum(GsShmem->area_size);
	values[1] = Int64GetDatum(pg_atomic_read_u64(&GsShmem->used_bytes));
	values[2] = Int64GetDatum(pg_atomic_read_u64(&db->used_bytes));
	values[3] = Int64GetDatum((int64) gs_quota * 1024 * 1024);
	nulls[3] = gs_quota < 0;
	values[4] = Int64GetDatum((int64) GsShmem->reserve_target * GS_RESERVE_PIECE);
	values[5] = Int64GetDatum(gs_reserve_free());
	values[6] = Int64GetDatum(pg_atomic_read_u64(&db->ngames));
	LWLockAcquire(&db->queue_lock, LW_SHARED);
	values[7] = Int64GetDatum(db->nqueue);
	values[8] = Int64GetDatum(db->ndelayed);
	values[9] = Int64GetDatum(db->narchived);
	LWLockRelease(&db->queue_lock);
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}
