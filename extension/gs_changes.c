/*-------------------------------------------------------------------------
 *
 * gs_changes.c
 *	  get_changes(): what has happened to a game since a version.
 *
 * The model:
 *	1. The entries after that version come from the log as this transaction sees
 *	   it, from memory or from the archive, with the state as of the last of them
 *	   if they have deltas.
 *	2. Deltas lead back (gs_history.h), from that state to the one before the
 *	   first entry.  Of each two states on the way that are JSON the merge patch
 *	   is made that leads forward again (gs_merge_diff.h); where there is none
 *	   the row has the state itself.
 *	3. Who has nothing to apply a patch to gets a state first: that of the creation,
 *	   or, if the log begins later than what was asked for, a snapshot of the
 *	   version before it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_history.h"
#include "gs_merge_diff.h"
#include "gs_row.h"
#include "gs_target.h"
#include "gs_tier.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_get_changes);

/* What was asked for, and where the rows go. */
typedef struct Request
{
	ReturnSetInfo *rsinfo;
	const pg_uuid_t *id;
	int64 after_version;
	int64 left; /* how many rows may still be added */
} Request;

/* What there is. */
typedef struct Changes
{
	bool is_bytes;
	bool has_deltas;
	int64 log_start; /* first version that the log has; 1 with the creation */
	uint64 n;
	const GsEntry *entries; /* without a gap, to the last version */
	int64 first_version;	/* of the first of them; or that of the next change */
	GsText state;			/* with deltas: as of the last version */
} Changes;

/* What a row has besides its entry. */
typedef struct Extra
{
	GsText patch;
	GsText state;
} Extra;

/* ----------------------------------------------------------------
 *		Patches
 * ----------------------------------------------------------------
 */

/* The patch from one state to another, or that state if there is none. */
static Extra
make_patch(const GsText *from, const GsText *to)
{
	Size room = gs_merge_diff_room(from->data, from->len, to->len);
	char *patch = MemoryContextAllocHuge(CurrentMemoryContext, room);
	void *scratch =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   gs_merge_diff_scratch_size(from->data, from->len, to->data,
														  to->len) +
								   1);
	Extra extra = {{NULL, 0}, {NULL, 0}};
	size_t len;

	if (gs_merge_diff(from->data, from->len, to->data, to->len, scratch, patch, &len))
	{
		/* there may be many, and most are short */
		char *exact = MemoryContextAllocHuge(CurrentMemoryContext, len + 1);

		memcpy(exact, patch, len);
		extra.patch = (GsText){exact, len};
	}
	else
	{
		char *copy = MemoryContextAllocHuge(CurrentMemoryContext, (Size) to->len + 1);

		memcpy(copy, to->data, to->len);
		extra.state = (GsText){copy, to->len};
	}
	pfree(patch);
	pfree(scratch);
	return extra;
}

/*
 * Goes back from the last state to that before the first entry, which is left in
 * changes->state.  The first `wanted` entries get their patches.
 */
static Extra *
make_patches(Changes *changes, uint64 wanted, const pg_uuid_t *id)
{
	Extra *extras =
		MemoryContextAllocExtended(CurrentMemoryContext, sizeof(Extra) * Max(wanted, 1),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	bool own = false;

	for (uint64 i = changes->n; i-- > 0;)
	{
		GsText before;
		const char *wrong;

		CHECK_FOR_INTERRUPTS();
		if (changes->entries[i].delta == NULL)
			continue;
		wrong = gs_history_before(&changes->state, &changes->entries[i], &before);
		if (wrong)
			gs_history_damaged(id, wrong);
		if (i < wanted && !changes->is_bytes)
			extras[i] = make_patch(&before, &changes->state);
		if (own)
			pfree(unconstify(char *, changes->state.data));
		own = true;
		changes->state = before;
	}
	return extras;
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

static void
set_document(Datum *values, bool *nulls, int column, const GsText *document)
{
	if (document->data == NULL)
		return;
	values[column] =
		PointerGetDatum(cstring_to_text_with_len(document->data, (int) document->len));
	nulls[column] = false;
}

static void
put_row(Request *request, Datum *values, bool *nulls)
{
	request->left--;
	tuplestore_putvalues(request->rsinfo->setResult, request->rsinfo->setDesc, values,
						 nulls);
}

static void
put_snapshot(Request *request, const Changes *changes, int64 version)
{
	Datum values[GS_CHANGE_NATTS];
	bool nulls[GS_CHANGE_NATTS];

	gs_row_snapshot(request->id, changes->is_bytes, version, &changes->state, values,
					nulls);
	put_row(request, values, nulls);
}

static void
put_change(Request *request, const Changes *changes, int64 version, const GsEntry *e,
		   const Extra *extra)
{
	Datum values[GS_CHANGE_NATTS];
	bool nulls[GS_CHANGE_NATTS];

	gs_row_change(request->id, changes->is_bytes, version, e, values, nulls);
	if (extra)
	{
		set_document(values, nulls, GS_CHANGE_PATCH, &extra->patch);
		set_document(values, nulls,
					 changes->is_bytes ? GS_CHANGE_STATE_BYTES : GS_CHANGE_STATE,
					 &extra->state);
	}
	put_row(request, values, nulls);
}

/* "creation" is the entry of version 1 if that is not among the others. */
static void
put_changes(Request *request, Changes *changes, const GsEntry *creation)
{
	MemoryContext mcxt = AllocSetContextCreate(CurrentMemoryContext, "gamestate changes",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Extra *extras = NULL;
	uint64 wanted;

	if (request->left == 0 ||
		(changes->n == 0 && request->after_version >= changes->first_version - 1 &&
		 creation == NULL))
		return;
	wanted = Min(changes->n, (uint64) request->left);
	old = MemoryContextSwitchTo(mcxt);
	if (changes->has_deltas)
		extras = make_patches(changes, wanted, request->id);
	MemoryContextSwitchTo(old);

	if (request->after_version < changes->log_start - 1 && changes->state.data)
		put_snapshot(request, changes, changes->first_version - 1);
	if (creation)
	{
		Extra first = {.state = changes->has_deltas ? changes->state : (GsText){NULL, 0}};

		put_change(request, changes, 1, creation, &first);
	}
	for (uint64 i = 0; i < wanted && request->left > 0; i++)
	{
		const GsEntry *e = &changes->entries[i];

		if (extras && e->kind == GS_KIND_CREATE)
			extras[i].state = changes->state;
		put_change(request, changes, changes->first_version + (int64) i, e,
				   extras ? &extras[i] : NULL);
	}
	MemoryContextDelete(mcxt);
}

static void
skip_known(Changes *changes, int64 after_version)
{
	uint64 known;

	if (after_version < changes->first_version)
		return;
	known = Min((uint64) (after_version - changes->first_version) + 1, changes->n);
	changes->entries += known;
	changes->n -= known;
	changes->first_version += (int64) known;
}

static void
live_changes(Request *request, const GsGameCopy *game, int64 first_version)
{
	/* version 1, which the log of a running game implies */
	GsEntry creation = {.kind = GS_KIND_CREATE, .at = game->h.created_at};
	Changes changes = {.is_bytes = game->h.encoding == GS_ENCODING_BYTES,
					   .has_deltas = gs_has_deltas(&game->h),
					   .log_start = gs_log_start(&game->h),
					   .n = game->nentries,
					   .entries = game->entries,
					   .first_version = first_version,
					   .state = game->state};
	bool whole = changes.log_start == 2;

	if (game->h.has_create_request)
		creation.request_id = game->h.create_request.data;
	if (whole)
		changes.log_start = 1;
	skip_known(&changes, request->after_version);
	put_changes(request, &changes,
				whole && request->after_version == 0 ? &creation : NULL);
}

static void
stored_changes(Request *request, const GsStoredGame *game)
{
	Changes changes;

	if (game == NULL)
	{
		gs_require_games();
		return;
	}
	if (!game->has_payload)
		ereport(ERROR,
				(errcode(ERRCODE_GS_HISTORY_NOT_KEPT),
				 errmsg("the log of game %s is no longer kept", gs_id_text(request->id)),
				 errdetail("The game is archived, but its row of gamestate.archive_payload is gone.")));
	changes = (Changes){.is_bytes = game->is_bytes,
						.has_deltas = game->payload.has_deltas,
						.log_start = game->payload.first_version,
						.n = game->payload.nentries,
						.entries = gs_history_entries(&game->payload),
						.first_version = game->payload.first_version};
	/* a log without deltas that is not whole was imported: nothing leads to what was before */
	if (changes.has_deltas || changes.n == 0)
		changes.state = (GsText){game->payload.final, game->payload.final_len};
	skip_known(&changes, request->after_version);
	put_changes(request, &changes, NULL);
}

Datum
gs_get_changes(PG_FUNCTION_ARGS)
{
	Request request = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,
					   .left = PG_INT64_MAX};
	GsPending *pending;
	GsTierLook look;
	GsGameCopy *game = NULL;
	GsStoredGame *stored = NULL;
	int64 first_version = 0;

	gs_attach();
	(void) gs_ready();
	InitMaterializedSRF(fcinfo, 0);
	request.after_version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	if (request.after_version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_version must not be negative")));
	if (!PG_ARGISNULL(2))
		request.left = PG_GETARG_INT32(2);
	if (request.left < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_changes must not be negative")));

	if (PG_ARGISNULL(0))
		return (Datum) 0;
	request.id = PG_GETARG_UUID_P(0);
	pending = GsWriteSetActive ? gs_writeset_find(request.id) : NULL;
	if (pending && gs_pending_is_deleted(pending))
		return (Datum) 0;
	do
	{
		look = gs_tier_look();
		if (pending == NULL)
			game = gs_table_copy_log(request.id, request.after_version, request.left,
									 &first_version, CurrentMemoryContext);
		else if (pending->exists)
		{
			game = gs_writeset_copy(pending, GS_COPY_STATE | GS_COPY_LOG,
									CurrentMemoryContext);
			first_version = game->h.version - (int64) game->nentries + 1;
		}
		if (game == NULL)
			stored = gs_tier_get(request.id, true, CurrentMemoryContext);
	} while (game == NULL && stored == NULL && gs_tier_again(request.id, look));
	gs_durable_wait();
	if (game)
		live_changes(&request, game, first_version);
	else
		stored_changes(&request, stored);
	gs_confirm_read();
	return (Datum) 0;
}
