/*-------------------------------------------------------------------------
 *
 * gs_history.c
 *	  Earlier states of a game: state_at(), restore_game().
 *
 * The model:
 *	1. Each log entry that changed the state has the delta from the new state back to
 *	   the one before (unless GsHistory says otherwise).  So an
 *	   earlier state is the current one, or an archived game's last one, with
 *	   the deltas of all later entries applied, the newest first.
 *	2. Of a log of the last changes only, the same holds as far as it reaches.
 *	   Without deltas, there are the first state and the current one.
 *	3. restore_game() makes an earlier state the current one by a change like
 *	   any other, so that what was between stays in the log, and can be had
 *	   again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_delta.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_history.h"
#include "gs_target.h"
#include "gs_tier.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_state_at);
PG_FUNCTION_INFO_V1(gs_state_at_bytes);
PG_FUNCTION_INFO_V1(gs_restore_game);

/* ----------------------------------------------------------------
 *		Going back
 * ----------------------------------------------------------------
 */

const char *
gs_history_before(const GsText *state, const GsEntry *e, GsText *before)
{
	const char *wrong;
	uint32 len;
	char *data;

	wrong = gs_delta_length(e->delta, e->delta_len, &len);
	if (wrong)
		return wrong;
	data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) len + 1);
	wrong = gs_delta_apply(state->data, state->len, e->delta, e->delta_len, data, len);
	if (wrong)
		pfree(data);
	else
		*before = (GsText){data, len};
	return wrong;
}

/* n entries, oldest first: the state before the first of them; NULL or what is wrong */
static const char *
go_back(GsText *state, const GsEntry *entries, uint64 n)
{
	GsText before;
	bool own = false;

	while (n > 0)
	{
		const GsEntry *e = &entries[--n];
		const char *wrong;

		CHECK_FOR_INTERRUPTS();
		if (e->delta == NULL)
			continue;
		wrong = gs_history_before(state, e, &before);
		if (wrong)
			return wrong;
		if (own)
			pfree(unconstify(char *, state->data));
		own = true;
		*state = before;
	}
	return NULL;
}

void
gs_history_damaged(const pg_uuid_t *id, const char *wrong)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("history of game %s is damaged", gs_id_text(id)),
			 errdetail("%s.", wrong)));
}

/* first: the first version whose state there is besides, 0 = none; -1 = there is nothing */
static _Noreturn void
not_kept(const pg_uuid_t *id, int64 version, int64 first)
{
	ereport(ERROR,
			(errcode(ERRCODE_GS_HISTORY_NOT_KEPT),
			 errmsg("the state of game %s as of version %lld is not kept", gs_id_text(id),
					(long long) version),
			 first > 0
				 ? errdetail("Its history begins with version %lld.", (long long) first)
			 : first == 0 ? errdetail("Of its states only the first and the last are kept.")
						  : errdetail("The game is archived, but its row of gamestate.archive_payload is gone."),
			 first >= 0 ? errhint("Set history in gamestate.policy before such games are created.") : 0));
}

/* What is needed of a game for its state as of a version; NULL if there is none. */
static GsGameCopy *
copy_since(const pg_uuid_t *id, const GsPending *pending, int64 version)
{
	GsGameCopy *game;
	int64 first;

	if (pending)
		return gs_writeset_copy(pending, GS_COPY_ALL, CurrentMemoryContext);
	game = gs_table_copy_log(id, version, 0, &first, CurrentMemoryContext);
	if (game == NULL || gs_has_deltas(&game->h))
		return game;
	return gs_table_copy(id, GS_COPY_STATE | GS_COPY_INITIAL, false,
						 CurrentMemoryContext);
}

typedef enum Found
{
	FOUND,
	FOUND_NO_VERSION,
	FOUND_NOT_KEPT
} Found;

static Found
live_state_at(const GsGameCopy *game, int64 version, GsText *state)
{
	int64 before = game->h.version - (int64) game->nentries; /* all entries */
	const char *wrong;

	if (version < 1 || version > game->h.version)
		return FOUND_NO_VERSION;
	*state = game->state;
	if (version == game->h.version)
		return FOUND;
	if (!gs_has_deltas(&game->h))
	{
		*state = game->initial;
		return version == 1 ? FOUND : FOUND_NOT_KEPT;
	}
	if (version < before)
		return FOUND_NOT_KEPT;
	wrong = go_back(state, game->entries + (version - before), game->h.version - version);
	if (wrong)
		gs_history_damaged(&game->game_id, wrong);
	return FOUND;
}

/* The first version whose state there is, for not_kept(). */
static int64
live_history_start(const GsGameCopy *game)
{
	return gs_has_deltas(&game->h) ? game->h.version - (int64) game->nentries : 0;
}

GsEntry *
gs_history_entries(const GsPayload *payload)
{
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;
	GsEntry *entries =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   sizeof(GsEntry) * Max(payload->nentries, 1));

	for (uint64 i = 0; i < payload->nentries; i++)
		if (gs_entry_decode(&p, end, payload->base, &entries[i]) != NULL)
			elog(ERROR, "archived entry does not decode a second time");
	return entries;
}

bool
gs_history_archived(const GsPayload *payload, int64 version, GsText *state,
					const char **wrong)
{
	int64 before = payload->first_version - 1; /* all entries */
	int64 last = before + (int64) payload->nentries;

	*wrong = NULL;
	*state = (GsText){NULL, 0};
	if (version == last)
		*state = (GsText){payload->final, payload->final_len};
	else if (!payload->has_deltas && version == 1)
		*state = (GsText){payload->initial, payload->initial_len};
	else if (payload->has_deltas && version >= Max(before, 1) && version < last)
	{
		GsText found = {payload->final, payload->final_len};

		*wrong = go_back(&found, gs_history_entries(payload) + (version - before),
						 last - version);
		if (*wrong == NULL)
			*state = found;
	}
	else
		return false;
	return true;
}

static void
take_request(GsGameCopy *game, int64 version, const unsigned char *id, uint32 arguments)
{
	if (version == 1)
	{
		game->h.has_create_request = true;
		memcpy(game->h.create_request.data, id, UUID_LEN);
		game->h.create_arguments = arguments;
	}
	else
	{
		GsAnsweredRequest *request = &game->requests[game->nrequests++];

		memcpy(request->id.data, id, UUID_LEN);
		request->version = version;
		request->arguments = arguments;
	}
}

void
gs_history_take(const GsPayload *payload, GsGameCopy *game)
{
	const char *p = payload->requests;
	const char *end = p + payload->requests_len;

	game->state = (GsText){payload->final, payload->final_len};
	if (payload->history_limit > 0)
		game->h.history = GS_HISTORY_LAST;
	else
		game->h.history = payload->has_deltas ? GS_HISTORY_FULL : GS_HISTORY_EVENTS;
	game->h.history_limit = payload->history_limit;
	if (!payload->has_deltas)
		game->initial = (GsText){payload->initial, payload->initial_len};

	game->nrequests = 0;
	game->requests =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   sizeof(GsAnsweredRequest) * Max(payload->nrequests, 1));
	for (uint64 i = 0; i < payload->nrequests; i++)
	{
		const unsigned char *id;
		int64 version;
		uint32 arguments;

		if (!gs_payload_next_request(&p, end, &version, &id, &arguments))
			elog(ERROR, "request that has been checked does not decode");
		if (version >= 1 && version < payload->first_version)
			take_request(game, version, id, arguments);
	}
}

/* false if there is no such version */
static bool
stored_state_at(const GsStoredGame *game, int64 version, GsText *state)
{
	const char *wrong;

	if (version > game->version)
		return false;
	if (!game->has_payload)
		not_kept(&game->game_id, version, -1);
	if (!gs_history_archived(&game->payload, version, state, &wrong))
		not_kept(&game->game_id, version,
				 game->payload.has_deltas ? Max(game->payload.first_version - 1, 1) : 0);
	if (wrong)
		gs_history_damaged(&game->game_id, wrong);
	return true;
}

/* ----------------------------------------------------------------
 *		state_at
 * ----------------------------------------------------------------
 */

static void
check_encoding(const pg_uuid_t *id, bool is_bytes, bool want_bytes)
{
	if (is_bytes == want_bytes)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_GS_WRONG_ENCODING),
			 errmsg("wrong encoding for game %s", gs_id_text(id)),
			 errdetail("The game's encoding is %s.", is_bytes ? "bytes" : "json"),
			 errhint("Use %s.", is_bytes ? "state_at_bytes()" : "state_at()")));
}

static Datum
state_at(FunctionCallInfo fcinfo, bool want_bytes)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	int64 version = PG_GETARG_INT64(1);
	GsPending *pending;
	GsGameCopy *game = NULL;
	GsStoredGame *stored = NULL;
	GsTierLook look;
	GsText state;
	bool found = false;

	gs_attach();
	(void) gs_ready();
	if (version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("version must be at least 1")));
	pending = GsWriteSetActive ? gs_writeset_find(id) : NULL;
	if (pending && gs_pending_is_deleted(pending))
		PG_RETURN_NULL();
	do
	{
		look = gs_tier_look();
		if (pending == NULL || pending->exists)
			game = copy_since(id, pending, version);
		if (game == NULL)
			stored = gs_tier_get(id, true, CurrentMemoryContext);
	} while (game == NULL && stored == NULL && gs_tier_again(id, look));
	gs_durable_wait();
	if (game)
	{
		check_encoding(id, game->h.encoding == GS_ENCODING_BYTES, want_bytes);
		switch (live_state_at(game, version, &state))
		{
			case FOUND_NOT_KEPT:
				not_kept(id, version, live_history_start(game));
			case FOUND_NO_VERSION:
				break;
			case FOUND:
				found = true;
				break;
		}
	}
	else
	{
		if (stored == NULL)
		{
			gs_require_games();
			PG_RETURN_NULL();
		}
		check_encoding(id, stored->is_bytes, want_bytes);
		found = stored_state_at(stored, version, &state);
	}
	gs_confirm_read();
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(state.data, state.len));
}

Datum
gs_state_at(PG_FUNCTION_ARGS)
{
	return state_at(fcinfo, false);
}

Datum
gs_state_at_bytes(PG_FUNCTION_ARGS)
{
	return state_at(fcinfo, true);
}

/* ----------------------------------------------------------------
 *		restore_game
 * ----------------------------------------------------------------
 */

/* In the write set's memory. */
static GsText
state_to_restore(const GsTarget *target, int64 version)
{
	GsGameCopy *game = copy_since(&target->id, target->pending, version);
	GsText state;
	Found found;

	if (game == NULL)
		gs_table_removed();
	found = live_state_at(game, version, &state);
	if (found != FOUND)
		gs_wait_before_answer();
	if (found == FOUND_NOT_KEPT)
		not_kept(&target->id, version, live_history_start(game));
	if (found == FOUND_NO_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("game %s has no version %lld", gs_id_text(&target->id),
						(long long) version),
				 errdetail("It is at version %lld.", (long long) game->h.version)));
	return gs_keep(&state);
}

Datum
gs_restore_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsEntry e = {.kind = GS_KIND_RESTORE};
	GsPending *pending;
	GsText state;
	GsText event;

	gs_begin_write("restore_game()");
	GS_REQUIRE_ARG(1, "version");
	request = gs_request(fcinfo, GS_REQUEST_RESTORE_GAME, "u88");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	state = state_to_restore(&target, PG_GETARG_INT64(1));
	event.data = psprintf("%lld", (long long) PG_GETARG_INT64(1));
	event.len = strlen(event.data);
	event = gs_keep(&event);
	e.at = GetCurrentTimestamp();
	e.event = event.data;
	e.event_len = event.len;
	gs_request_keep(&request, &e);
	pending = gs_next_version(&target, e.at);
	gs_set_state(pending, state, &e);
	gs_writeset_log(pending, &e);
	PG_RETURN_INT64(gs_new_version(pending));
}
