/*-------------------------------------------------------------------------
 *
 * gs_states.c
 *	  get_states(): many games as of one moment.
 *
 * The model:
 *	1. A commit of several games holds commit_lock exclusively while it changes
 *	   memory.  Who holds it shared sees such a commit whole or not at all.
 *	2. So that these commits wait for a moment only, all games are copied first
 *	   without the lock.  With the lock held it is only seen which of them have
 *	   changed since, and only those are copied again.  After that each copy is
 *	   the game as of that moment.
 *	3. Games of which this transaction has changed something are as it sees
 *	   them; it holds their locks, so they cannot change meanwhile.
 *	4. What is not in memory at that moment is looked for in the tables of games
 *	   that are not live after it (gs_tier.h).  If one of the games has moved
 *	   meanwhile all are looked at once more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_tier.h"
#include "gs_writeset.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_get_states);
PG_FUNCTION_INFO_V1(gs_get_states_bytes);

#define STATES_NATTS 3

/* A game that was asked for; version 0 = it is not in memory. */
typedef struct StateCopy
{
	const pg_uuid_t *id;
	bool own; /* as this transaction has made it */
	int64 incarnation;
	int64 version;
	GsEncoding encoding;
	GsText state;
} StateCopy;

/* The caller holds the game's partition lock. */
static void
copy_game(const GsGame *game, StateCopy *copy)
{
	char *data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) game->state_len + 1);

	if (copy->state.data)
		pfree(unconstify(char *, copy->state.data));
	memcpy(data, GS_PTR(game->state), game->state_len);
	copy->state = (GsText){data, game->state_len};
	copy->incarnation = game->h.incarnation;
	copy->version = game->h.version;
	copy->encoding = game->h.encoding;
}

/* As of now, one game alone. */
static void
copy_first(StateCopy *copy)
{
	GsPending *pending = GsWriteSetActive ? gs_writeset_find(copy->id) : NULL;
	GsGame *game;

	copy->own = pending != NULL;
	if (pending && gs_pending_is_deleted(pending))
	{
		copy->id = NULL;
		return;
	}
	if (pending && !pending->exists)
		return;
	if (pending == NULL || !pending->change.state_changed)
	{
		game = gs_table_find(copy->id, pending != NULL);
		if (game == NULL)
			return;
		copy_game(game, copy);
		gs_table_release(game);
	}
	else
		copy->state = pending->change.state;
	if (pending)
	{
		copy->version = pending->change.h.version;
		copy->encoding = pending->change.h.encoding;
	}
}

/*
 * Has a commit moved the game to a table, where it is at another version than
 * here?  What the same commit has changed of other games is new already.  A
 * game that is over is archived at the version that it has here.
 */
static bool
has_left(const GsGame *game)
{
	return (game->link_state == GS_LINK_ARCHIVED || game->returning) &&
		   game->moved_to != GS_TIER_ARCHIVED;
}

/*
 * Copy it again if it has changed.  The caller holds commit_lock, so clog is
 * not asked: a game that is being archived does not change, and one that was
 * archived when it was copied first is left to the archive.
 */
static void
copy_again(StateCopy *copy)
{
	GsGameKey key = {.dboid = MyDatabaseId};
	GsGame *game;

	if (copy->id == NULL || copy->own)
		return;
	key.id = *copy->id;
	game = dshash_find(GsGames, &key, false);
	if (game == NULL || !game->visible)
	{
		gs_durable_note_gone(gs_my_database());
		copy->version = 0;
	}
	else if (has_left(game))
		copy->version = 0;
	else if ((game->h.incarnation != copy->incarnation ||
			  game->h.version != copy->version) &&
			 !(copy->version == 0 && TransactionIdIsValid(game->archive_xid)))
	{
		gs_durable_note(game->wait_lsn, game->wait_level);
		copy_game(game, copy);
	}
	if (game)
		dshash_release_lock(GsGames, game);
}

static void
copy_games(StateCopy *copies, int n)
{
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		copy_first(&copies[i]);
	}
	if (n < 2)
		return;
	LWLockAcquire(GsShmem->commit_lock, LW_SHARED);
	for (int i = 0; i < n; i++)
		copy_again(&copies[i]);
	LWLockRelease(GsShmem->commit_lock);
}

static void
check_encoding(const pg_uuid_t *id, bool is_bytes, bool want_bytes)
{
	if (is_bytes == want_bytes)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_GS_WRONG_ENCODING),
			 errmsg("wrong encoding for game %s",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
			 errdetail("The game's encoding is %s.", is_bytes ? "bytes" : "json"),
			 errhint("Use %s.", is_bytes ? "get_states_bytes()" : "get_states()")));
}

/* One row; false if there is no such game, or *again: it may be in memory now. */
static bool
state_row(const StateCopy *copy, GsTierLook look, bool want_bytes, Datum *values,
		  bool *nulls, bool *again)
{
	GsStoredGame *stored;

	*again = false;
	if (copy->id == NULL)
		return false;
	values[0] = UUIDPGetDatum(copy->id);
	memset(nulls, 0, sizeof(bool) * STATES_NATTS);
	if (copy->version > 0)
	{
		check_encoding(copy->id, copy->encoding == GS_ENCODING_BYTES, want_bytes);
		values[1] = Int64GetDatum(copy->version);
		values[2] =
			PointerGetDatum(cstring_to_text_with_len(copy->state.data, copy->state.len));
		return true;
	}
	stored = gs_tier_get(copy->id, true, CurrentMemoryContext);
	if (stored == NULL)
	{
		gs_require_games();
		*again = gs_tier_again(copy->id, look);
		return false;
	}
	check_encoding(copy->id, stored->is_bytes, want_bytes);
	values[1] = Int64GetDatum(stored->version);
	nulls[2] = !stored->has_payload;
	if (stored->has_payload)
		values[2] = PointerGetDatum(
			cstring_to_text_with_len(stored->payload.final, stored->payload.final_len));
	return true;
}

/* All rows; false if games have to be looked at once more. */
static bool
answer(const StateCopy *copies, int n, GsTierLook look, bool want_bytes,
	   ReturnSetInfo *rsinfo)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "gamestate states",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);
	bool again = false;

	tuplestore_clear(rsinfo->setResult);
	for (int i = 0; i < n && !again; i++)
	{
		Datum values[STATES_NATTS] = {0};
		bool nulls[STATES_NATTS];

		CHECK_FOR_INTERRUPTS();
		if (state_row(&copies[i], look, want_bytes, values, nulls, &again))
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	return !again;
}

static Datum
get_states(FunctionCallInfo fcinfo, bool want_bytes)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum *ids;
	bool *nulls;
	int nids;
	StateCopy *copies;
	GsTierLook look;
	int n = 0;

	gs_attach();
	(void) gs_ready();
	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, &nulls,
					  &nids);
	copies =
		MemoryContextAllocExtended(CurrentMemoryContext, sizeof(StateCopy) * Max(nids, 1),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < nids; i++)
		if (!nulls[i])
			copies[n++].id = DatumGetUUIDP(ids[i]);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	do
	{
		look = gs_tier_look();
		copy_games(copies, n);
		gs_durable_wait();
	} while (!answer(copies, n, look, want_bytes, (ReturnSetInfo *) fcinfo->resultinfo));
	gs_confirm_read();
	return (Datum) 0;
}

Datum
gs_get_states(PG_FUNCTION_ARGS)
{
	return get_states(fcinfo, false);
}

Datum
gs_get_states_bytes(PG_FUNCTION_ARGS)
{
	return get_states(fcinfo, true);
}
