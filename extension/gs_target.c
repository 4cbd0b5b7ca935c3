/*-------------------------------------------------------------------------
 *
 * gs_target.c
 *	  The game that a function is about to change: what all changes share.
 *
 * The model, the same for every function that changes a game:
 *	1. Check the arguments; nothing has happened yet.
 *	2. Take the game's heavyweight lock and look the game up, or find it in
 *	   this transaction's write set (gs_open_target(), gs_find_target()).  A
 *	   retry of a request that was answered gets its answer (gs_request.h).
 *	3. Check status, version, players: an error leaves everything as it was.
 *	4. Lock the room codes that are taken or given up.
 *	5. Open the write set's entry and record the change.
 * An error or another answer that changes nothing waits first until what it
 * says of the game is durable (gs_durable.h), without the game's lock.  A change
 * waits at its commit, or, in a transaction block, before it is answered.
 * What is recorded is copied into the write set's memory first, so that an
 * error in the middle leaves the entry as it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_delta.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_hook.h"
#include "gs_limits.h"
#include "gs_lock.h"
#include "gs_suspend.h"
#include "gs_suspended.h"
#include "gs_target.h"
#include "gs_tier.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* locks that the transaction held before this call */
static int lock_mark = 0;

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

void
gs_begin_write(const char *function)
{
	gs_attach();
	if (unlikely(!gs_enabled))
		ereport(ERROR,
				(errcode(ERRCODE_GS_DISABLED),
				 errmsg("changes of games are disabled"),
				 errdetail("gamestate.enabled is off."),
				 errhint("Set gamestate.enabled to on for this database.")));
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	gs_hook_refuse(function);
	(void) gs_ready();
	lock_mark = gs_lock_mark();
}

void
gs_wait_before_answer(void)
{
	if (likely(!GsSeenAny))
		return;
	gs_unlock_to(lock_mark);
	gs_durable_wait();
}

int64
gs_new_version(const GsPending *pending)
{
	if (IsTransactionBlock())
		gs_durable_wait();
	return pending->change.h.version;
}

void
gs_null_argument(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name)));
}

GsText
gs_arg_bytes(FunctionCallInfo fcinfo, int n)
{
	GsText text = {NULL, 0};
	struct varlena *datum;

	if (PG_ARGISNULL(n))
		return text;
	datum = PG_GETARG_VARLENA_PP(n);
	text.data = VARDATA_ANY(datum);
	text.len = VARSIZE_ANY_EXHDR(datum);
	return text;
}

void
gs_check_id(const GsText *text, const char *name)
{
	if (unlikely(text->len == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name)));
	if (unlikely(text->len > (uint32) gs_max_id_length))
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("%s is too long", name),
				 errdetail("It has %u bytes, the limit is %d.", text->len, gs_max_id_length)));
}

bool
gs_size_is_allowed(const GsText *text, const char *name, int limit_kb, const char *guc,
				   GsRefusal *refusal)
{
	if (likely(text->len <= (Size) limit_kb * 1024))
		return true;
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_TOO_LARGE,
						   .message = psprintf("%s is too large", name),
						   .detail = psprintf("It has %u bytes, the limit is %d kB.",
											  text->len, limit_kb),
						   .hint = psprintf("Raise %s.", guc)};
	return false;
}

void
gs_check_size(const GsText *text, const char *name, int limit_kb, const char *guc)
{
	GsRefusal refusal;

	if (!gs_size_is_allowed(text, name, limit_kb, guc, &refusal))
		gs_raise(&refusal);
}

GsText
gs_keep(const GsText *text)
{
	GsText kept = {NULL, text->len};

	if (text->data)
	{
		char *data = MemoryContextAllocHuge(gs_writeset_context(), (Size) text->len + 1);

		memcpy(data, text->data, text->len);
		kept.data = data;
	}
	return kept;
}

char *
gs_id_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* ----------------------------------------------------------------
 *		Why a change is refused
 * ----------------------------------------------------------------
 */

void
gs_raise(const GsRefusal *refusal)
{
	gs_wait_before_answer();
	ereport(ERROR,
			(errcode(refusal->sqlerrcode),
			 errmsg_internal("%s", refusal->message),
			 refusal->detail ? errdetail_internal("%s", refusal->detail) : 0,
			 refusal->hint ? errhint("%s", refusal->hint) : 0));
}

void
gs_refuse_no_such_game(const pg_uuid_t *id, GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_NO_SUCH_GAME,
						   .message = psprintf("game %s does not exist", gs_id_text(id))};
}

void
gs_refuse_over(const pg_uuid_t *id, const char *status, GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_GAME_OVER,
						   .message = psprintf("game %s is over", gs_id_text(id)),
						   .detail = psprintf("It is %s.", status)};
}

void
gs_refuse_stored(const pg_uuid_t *id, GsTier tier, GsRefusal *refusal)
{
	gs_refuse_over(id, gs_tier_name(tier), refusal);
}

void
gs_refuse_version(const GsTarget *target, int64 expected, GsRefusal *refusal)
{
	*refusal = (GsRefusal){
		.sqlerrcode = ERRCODE_GS_STALE_VERSION,
		.message = psprintf("stale version of game %s", gs_id_text(&target->id)),
		.detail = psprintf("Expected version %lld, but the game is at version %lld.",
						   (long long) expected, (long long) target->h.version),
		.hint = "Read the game again and decide anew."};
}

void
gs_refuse_log(const GsTarget *target, GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_TOO_LARGE,
						   .message = psprintf("log of game %s is full",
											   gs_id_text(&target->id)),
						   .detail = psprintf("The limit is %d changes.", gs_max_log),
						   .hint = "Finish the game, or raise gamestate.max_log."};
}

void
gs_refuse_status(const GsTarget *target, const char *what, GsRefusal *refusal)
{
	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_GS_WRONG_STATUS,
					.message =
						psprintf("cannot %s game %s", what, gs_id_text(&target->id)),
					.detail = psprintf("It is %s.", gs_status_name(target->h.status))};
}

void
gs_refuse_encoding(const GsTarget *target, const char *function, GsRefusal *refusal)
{
	bool is_bytes = target->h.encoding == GS_ENCODING_BYTES;

	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_GS_WRONG_ENCODING,
					.message =
						psprintf("wrong encoding for game %s", gs_id_text(&target->id)),
					.detail = psprintf("The game's encoding is %s.",
									   is_bytes ? "bytes" : "json"),
					.hint = psprintf("Use %s%s().", function, is_bytes ? "_bytes" : "")};
}

void
gs_refuse_player(const GsTarget *target, const GsText *player, GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_NOT_A_PLAYER,
						   .message = psprintf("player \"%.*s\" is not in game %s",
											   (int) player->len, player->data,
											   gs_id_text(&target->id))};
}

void
gs_refuse_request(const GsRequest *request, const pg_uuid_t *game_id,
				  const GsAnswered *answered, GsRefusal *refusal)
{
	*refusal = (GsRefusal){
		.sqlerrcode = ERRCODE_GS_REQUEST_REUSED,
		.message = psprintf("request id %s was used for something else",
							gs_id_text(request->id)),
		.detail =
			answered->version == 0
				? psprintf("It has deleted game %s.", gs_id_text(game_id))
				: psprintf(
					  "It has led to version %lld of game %s, by another function or with other arguments.",
					  (long long) answered->version, gs_id_text(game_id)),
		.hint =
			"A retry repeats the call with all its arguments; anything else takes a new request id."};
}

void
gs_game_over(const pg_uuid_t *id, const char *status)
{
	GsRefusal refusal;

	gs_refuse_over(id, status, &refusal);
	gs_raise(&refusal);
}

void
gs_not_a_player(const GsTarget *target, const GsText *player)
{
	GsRefusal refusal;

	gs_refuse_player(target, player, &refusal);
	gs_raise(&refusal);
}

/* ----------------------------------------------------------------
 *		The target of a change
 * ----------------------------------------------------------------
 */

void
gs_answer_again(const GsRequest *request, const pg_uuid_t *game_id,
				const GsAnswered *answered)
{
	GsRefusal refusal;

	if (unlikely(!gs_request_is_same(request, answered)))
	{
		gs_refuse_request(request, game_id, answered, &refusal);
		gs_raise(&refusal);
	}
	gs_wait_before_answer();
}

bool
gs_is_retry_of_stored(const pg_uuid_t *id, const GsRequest *request, GsAnswered *answered)
{
	GsTier tier;
	GsRefusal refusal;

	gs_unlock_to(lock_mark);
	if (request->id == NULL)
	{
		tier = gs_tier_of(id);
		if (tier == GS_TIER_NONE)
			return false;
	}
	else
		switch (gs_request_find_stored(request, id, false, &tier, answered))
		{
			case GS_REQUEST_NO_GAME:
				return false;
			case GS_REQUEST_IS_ANSWERED:
				gs_answer_again(request, id, answered);
				return true;
			case GS_REQUEST_NOT_THERE:
			case GS_REQUEST_NO_PAYLOAD:
				break;
		}
	gs_refuse_stored(id, tier, &refusal);
	gs_raise(&refusal);
}

bool
gs_find_locked_target(const pg_uuid_t *id, const GsText *player, GsTarget *target)
{
	GsGame *game;

	target->id = *id;
	target->has_player = false;
	target->suspended = false;
	target->pending = GsWriteSetActive ? gs_writeset_find(id) : NULL;
	if (target->pending && !target->pending->exists)
		return false;
	if (target->pending)
	{
		target->h = target->pending->change.h;
		if (player && target->pending->change.info_changed)
		{
			target->has_player =
				gs_parts_have_player(&target->pending->change.info, player);
			return true;
		}
		if (!player)
			return true;
	}

	game = gs_table_find(id, true);
	if (game == NULL)
		return false;
	if (!target->pending)
		target->h = game->h;
	if (player)
		target->has_player = gs_info_has_player(GS_PTR(game->info), player);
	gs_table_release(game);
	return true;
}

bool
gs_find_target(const pg_uuid_t *id, const GsText *player, GsTarget *target)
{
	/* who has changed it has the lock */
	if (!GsWriteSetActive || gs_writeset_find(id) == NULL)
		(void) gs_lock_game(id, false);
	return gs_find_locked_target(id, player, target);
}

/*
 * A game that is not live: true if it is suspended and for_move may resume it,
 * false if the request is a retry, else an error.
 */
static bool
open_stored(const pg_uuid_t *id, const GsRequest *request, const GsText *player,
			bool for_move, GsTarget *target)
{
	GsRefusal refusal;

	if (gs_may_be_stored(target) && gs_find_suspended(id, player, target))
	{
		if (gs_suspended_has_answered(request, target))
		{
			gs_answer_again(request, id, &target->answered);
			return false;
		}
		if (for_move && target->resumes_on_move)
			return true;
		gs_refuse_suspended(id, &refusal);
	}
	else if (gs_may_be_stored(target) &&
			 gs_is_retry_of_stored(id, request, &target->answered))
		return false;
	else
		gs_refuse_no_such_game(id, &refusal);
	gs_raise(&refusal);
}

static bool
open_target(FunctionCallInfo fcinfo, const GsRequest *request, const GsText *player,
			bool for_move, GsTarget *target)
{
	pg_uuid_t *id;

	GS_REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	if (unlikely(!gs_find_target(id, player, target)))
		return open_stored(id, request, player, for_move, target);
	/* first of all: since then the game may have gone on, and ended */
	if (gs_request_find(request, id, target->pending, &target->answered))
	{
		gs_answer_again(request, id, &target->answered);
		return false;
	}
	if (unlikely(GS_STATUS_IS_OVER(target->h.status)))
		gs_game_over(id, gs_status_name(target->h.status));
	return true;
}

bool
gs_open_target(FunctionCallInfo fcinfo, const GsRequest *request, const GsText *player,
			   GsTarget *target)
{
	return open_target(fcinfo, request, player, false, target);
}

bool
gs_open_move_target(FunctionCallInfo fcinfo, const GsRequest *request,
					const GsText *player, GsTarget *target)
{
	return open_target(fcinfo, request, player, true, target);
}

GsText
gs_target_state(const GsTarget *target)
{
	GsText state;
	GsGame *game;
	char *data;

	if (target->pending && target->pending->change.state_changed)
		return target->pending->change.state;
	game = gs_table_find(&target->id, true);
	if (game == NULL)
		gs_table_removed();
	state.len = game->state_len;
	state.data = data =
		MemoryContextAllocHuge(CurrentMemoryContext, (Size) state.len + 1);
	memcpy(data, GS_PTR(game->state), state.len);
	gs_table_release(game);
	return state;
}

static GsText
suspended_type(const GsTarget *target, char *buffer)
{
	GsText type = {buffer, 0};
	GsGameCopy *game = gs_suspended_read(&target->id, false, CurrentMemoryContext);

	if (game == NULL)
		elog(ERROR, "game %s is not suspended any more", gs_id_text(&target->id));
	type.len = Min(game->info.game_type.len, GS_MAX_ID_LENGTH);
	memcpy(buffer, game->info.game_type.data, type.len);
	return type;
}

GsText
gs_target_type(const GsTarget *target, char *buffer)
{
	GsText type = {buffer, 0};
	GsGame *game;
	const GsInfo *info;

	if (unlikely(target->suspended))
		return suspended_type(target, buffer);
	if (target->pending && target->pending->change.info_changed)
		return target->pending->change.info.game_type;
	game = gs_table_find(&target->id, true);
	if (game == NULL)
		gs_table_removed();
	info = GS_PTR(game->info);
	type.len = Min(info->type_len, GS_MAX_ID_LENGTH);
	memcpy(buffer, &info->nodes[gs_info_nodes(info)], type.len);
	gs_table_release(game);
	return type;
}

void
gs_check_version(const GsTarget *target, FunctionCallInfo fcinfo, int n)
{
	GsRefusal refusal;

	if (PG_ARGISNULL(n) || likely(PG_GETARG_INT64(n) == target->h.version))
		return;
	gs_refuse_version(target, PG_GETARG_INT64(n), &refusal);
	gs_raise(&refusal);
}

void
gs_check_log(const GsTarget *target)
{
	GsRefusal refusal;

	if (unlikely(gs_log_is_full(&target->h)))
	{
		gs_refuse_log(target, &refusal);
		gs_raise(&refusal);
	}
	gs_limits_check_log(target);
}

void
gs_require_status(const GsTarget *target, GsStatus status, const char *what)
{
	GsRefusal refusal;

	if (likely(target->h.status == status))
		return;
	gs_refuse_status(target, what, &refusal);
	gs_raise(&refusal);
}

/* ----------------------------------------------------------------
 *		Recording the change
 * ----------------------------------------------------------------
 */

GsPending *
gs_next_version(GsTarget *target, TimestampTz now)
{
	GsPending *pending = gs_writeset_open(&target->id, &target->h);
	GsHeader *h = &pending->change.h;

	h->version++;
	h->updated_at = now;
	return pending;
}

GsPending *
gs_change_info(const GsRequest *request, GsTarget *target, GsKind kind,
			   const GsText *player, const GsText *event)
{
	GsEntry e = {.kind = kind, .at = GetCurrentTimestamp()};
	GsText kept_player = player ? gs_keep(player) : (GsText){NULL, 0};
	GsText kept_event = event ? gs_keep(event) : (GsText){NULL, 0};
	GsPending *pending;

	gs_request_keep(request, &e);
	e.player = kept_player.data;
	e.player_len = kept_player.len;
	e.event = kept_event.data;
	e.event_len = kept_event.len;

	/* the entry first, unchanged: what may fail comes before the new version */
	pending = gs_writeset_open(&target->id, &target->h);
	gs_writeset_load_info(pending);
	(void) gs_next_version(target, e.at);
	gs_writeset_log(pending, &e);
	return pending;
}

/* The delta from a state to the one before, in the write set's memory. */
static void
lead_back(GsEntry *e, const GsText *state, const char *before, uint32 before_len)
{
	Size room = gs_delta_back_room(before_len, 0);
	char *delta = MemoryContextAllocHuge(gs_writeset_context(), room);

	e->delta = delta;
	e->delta_len =
		gs_delta_encode(state->data, state->len, before, before_len, delta, room);
	if (e->delta_len == 0)
		e->delta_len = gs_delta_whole(before, before_len, delta, room);
}

/* The committed state is followed by a second new one: what leads back to it now? */
static void
resolve_first(GsPending *pending)
{
	GsChange *change = &pending->change;
	GsGame *game;
	GsNewEntry *entry = change->entries;

	if (!change->has_empty_delta)
		return;
	change->has_empty_delta = false;
	while (entry && !(entry->e.delta && entry->e.delta_len == 0))
		entry = entry->prev;
	if (entry == NULL)
		return;
	game = gs_table_find(&change->key.id, true);
	if (game == NULL)
		gs_table_removed();
	lead_back(&entry->e, &change->state, GS_PTR(game->state), game->state_len);
	gs_table_release(game);
}

void
gs_set_state(GsPending *pending, GsText state, GsEntry *e)
{
	GsChange *change = &pending->change;
	bool deltas = gs_has_deltas(&change->h);

	if (deltas && !change->state_changed)
	{
		e->delta = ""; /* see GsNewEntry */
		e->delta_len = 0;
		change->has_empty_delta = true;
	}
	else if (deltas)
	{
		resolve_first(pending);
		lead_back(e, &state, change->state.data, change->state.len);
	}
	if (change->state_changed)
	{
		if (!deltas && change->kind == GS_CHANGE_CREATE && change->initial.data == NULL)
			change->initial = change->state;
		else if (change->own_state && !gs_writeset_is_saved(pending))
			pfree(unconstify(char *, change->state.data));
	}
	change->state = state;
	change->own_state = true;
	change->state_changed = true;
	change->wants_delta = change->kind == GS_CHANGE_UPDATE;
}
