/*-------------------------------------------------------------------------
 *
 * gs_suspend.c
 *	  Suspending games and resuming them.
 *
 * The model:
 *	1. Suspending is a change like any other, of kind "suspended", and makes a
 *	   version.  The game as it is then becomes a row of gamestate.suspended
 *	   (gs_suspended.c), and with the commit it leaves memory, index and journal.
 *	   Its room code is free from then on.
 *	2. Resuming is one too, of kind "resumed".  The row is deleted, and a change
 *	   record creates the game in memory with its whole log, under a new
 *	   incarnation.  It gets its room code back if nobody has taken it.
 *	3. Each is one transaction, which has a transaction id, since a table is
 *	   changed.  How a reader finds the game meanwhile is said in gs_tier.c.
 *	   A crash finds it where it was before the commit or where it is after it:
 *	   row and journal's rows carry the same xid.
 *	4. The game's lock is held throughout, so of two who resume it at once the
 *	   second finds it live, and of a move and a suspension one comes first.
 *	   Whether a game is suspended is asked with the newest snapshot, under that
 *	   lock: in every isolation level it is what it is.
 *	5. A game may be suspended and resumed several times by one transaction.
 *	   The write set then has, as always, what becomes of it in the end; what
 *	   nobody else has seen of it in memory is only told to the change feed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_errors.h"
#include "gs_lock.h"
#include "gs_lookup.h"
#include "gs_policy.h"
#include "gs_suspend.h"
#include "gs_suspended.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_suspend_game);
PG_FUNCTION_INFO_V1(gs_resume_game);

/* ----------------------------------------------------------------
 *		A suspended game as a target
 * ----------------------------------------------------------------
 */

void
gs_refuse_suspended(const pg_uuid_t *id, GsRefusal *refusal)
{
	*refusal = (GsRefusal){
		.sqlerrcode = ERRCODE_GS_WRONG_STATUS,
		.message = psprintf("game %s is suspended", gs_id_text(id)),
		.hint =
			"Call gamestate.resume_game() first, or set resume_on_move in gamestate.policy so that the next move does it."};
}

static bool
has_player(const GsGameCopy *game, const GsText *player)
{
	return player && gs_parts_have_player(&game->info, player);
}

bool
gs_find_suspended(const pg_uuid_t *id, const GsText *player, GsTarget *target)
{
	MemoryContext mcxt =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate suspended",
							  ALLOCSET_DEFAULT_SIZES);
	GsGameCopy *game = gs_suspended_read(id, false, mcxt);

	if (game)
	{
		target->suspended = true;
		target->h = game->h;
		target->has_player = has_player(game, player);
		target->resumes_on_move = gs_policy(&game->info.game_type)->resume_on_move;
	}
	MemoryContextDelete(mcxt);
	return target->suspended;
}

bool
gs_suspended_has_answered(const GsRequest *request, GsTarget *target)
{
	MemoryContext mcxt;
	GsGameCopy *game;
	bool found = false;

	if (request->id == NULL)
		return false;
	mcxt = AllocSetContextCreate(CurrentMemoryContext, "gamestate suspended",
								 ALLOCSET_DEFAULT_SIZES);
	game = gs_suspended_read(&target->id, true, mcxt);
	if (game)
		found = gs_request_find_in(request, game, &target->answered);
	MemoryContextDelete(mcxt);
	return found;
}

/* ----------------------------------------------------------------
 *		Suspending
 * ----------------------------------------------------------------
 */

static GsText
json_object(const char *key, const char *value, int len)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "{\"%s\": ", key);
	if (value)
		escape_json(&s, pnstrdup(value, len));
	else
		appendStringInfoString(&s, "null");
	appendStringInfoChar(&s, '}');
	return (GsText){s.data, s.len};
}

GsPending *
gs_suspend(const GsRequest *request, GsTarget *target, const char *reason)
{
	GsText event = json_object("reason", reason, strlen(reason));
	GsPending *pending = gs_change_info(request, target, GS_KIND_SUSPEND, NULL, &event);
	GsChange *change = &pending->change;

	gs_suspended_insert(gs_writeset_copy(pending, GS_COPY_ALL, CurrentMemoryContext),
						reason);
	pending->exists = false;
	pending->stored = true;
	change->frees = true;
	if (pending->base_incarnation != 0)
	{
		change->kind = GS_CHANGE_ARCHIVE;
		change->moved_to = GS_TIER_SUSPENDED;
		change->h.incarnation = pending->base_incarnation;
	}
	else
	{
		change->kind = GS_CHANGE_NONE;
		change->told = GS_TOLD_ENTRIES;
	}
	return pending;
}

Datum
gs_suspend_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;

	gs_begin_write("suspend_game()");
	request = gs_request(fcinfo, GS_REQUEST_SUSPEND_GAME, "u8");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 1);
	gs_check_log(&target);
	gs_give_up_room(&target);
	PG_RETURN_INT64(
		gs_new_version(gs_suspend(&request, &target, GS_SUSPENDED_BY_REQUEST)));
}

/* ----------------------------------------------------------------
 *		Resuming
 * ----------------------------------------------------------------
 */

/* The room code, unless somebody has taken it. */
static void
take_room_back(GsGameCopy *game)
{
	pg_uuid_t holder;

	/* as for every id that comes to life: see load_saved_games() */
	gs_lock_names(false);
	if (game->info.room_code.data == NULL)
		return;
	gs_lock_room(&game->info.room_code);
	if (gs_lookup_room(&game->info.room_code, true, &holder))
		game->info.room_code = (GsText){NULL, 0};
}

static void
take_entry(GsChange *change, GsNewEntry *entry, int64 version)
{
	entry->prev = change->entries;
	entry->version = version;
	change->entries = entry;
	change->nentries++;
}

/* The log, and before it an entry for each older request (see gs_log.c). */
static void
take_log(GsPending *pending, const GsGameCopy *game)
{
	GsChange *change = &pending->change;
	GsNewEntry *entry = MemoryContextAllocHuge(gs_writeset_context(),
											   sizeof(GsNewEntry) * (game->nrequests +
																	 game->nentries + 1));
	int64 version = game->h.version - (int64) game->nentries;

	change->entries = NULL;
	change->nentries = 0;
	for (uint32 i = 0; i < game->nrequests; i++, entry++)
	{
		const GsAnsweredRequest *request = &game->requests[i];

		entry->e = (GsEntry){.kind = GS_KIND_MOVE,
							 .at = game->h.updated_at,
							 .request_id = request->id.data,
							 .request_arguments = request->arguments};
		take_entry(change, entry, request->version);
	}
	for (uint64 i = 0; i < game->nentries; i++, entry++)
	{
		entry->e = game->entries[i];
		take_entry(change, entry, ++version);
	}
}

/* A change record that creates the game as it was; what it points to is in the write set's memory. */
static GsPending *
create_again(const GsGameCopy *game)
{
	GsPending *pending = gs_writeset_open(&game->game_id, NULL);
	GsChange *change = &pending->change;
	bool same_state = game->initial.data && game->initial.len == game->state.len &&
					  memcmp(game->initial.data, game->state.data, game->state.len) == 0;

	/* one that was suspended by this transaction has been told of up to what was before */
	if (!pending->stored)
		change->base_version = game->h.version;
	pending->stored = false;
	pending->exists = true;
	change->kind = GS_CHANGE_CREATE;
	change->told = GS_TOLD_NOTHING;
	change->returns = change->base_version > 0;
	change->replaces = pending->base_incarnation != 0;
	change->frees = false;
	change->h = game->h;
	change->h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	change->state_changed = true;
	change->state = game->state;
	change->own_state = false;
	change->initial = same_state ? (GsText){NULL, 0} : game->initial;
	change->wants_delta = change->has_empty_delta = false;
	change->info_changed = true;
	change->info = game->info;
	take_log(pending, game);
	return pending;
}

GsPending *
gs_resume(const GsRequest *request, GsTarget *target)
{
	GsEntry e = {.kind = GS_KIND_RESUME, .at = GetCurrentTimestamp()};
	GsGameCopy *game = gs_suspended_read(&target->id, true, gs_writeset_context());
	GsPending *pending;
	GsText event;

	if (game == NULL)
		elog(ERROR, "game %s is not suspended any more", gs_id_text(&target->id));
	gs_check_memory(gs_my_database(), sizeof(GsGame) + game->state.len +
										  game->initial.len + game->info.metadata.len);
	take_room_back(game);
	event = json_object("room_code", game->info.room_code.data, game->info.room_code.len);
	event = gs_keep(&event);
	e.event = event.data;
	e.event_len = event.len;
	gs_request_keep(request, &e);
	gs_suspended_delete(&target->id);

	pending = create_again(game);
	pending->change.h.version++;
	pending->change.h.updated_at = e.at;
	gs_writeset_log(pending, &e);
	target->pending = pending;
	target->suspended = false;
	target->h = pending->change.h;
	return pending;
}

/* A game that is suspended, with the errors for one that is not; false as gs_open_target(). */
static bool
open_suspended(FunctionCallInfo fcinfo, const GsRequest *request, GsTarget *target)
{
	pg_uuid_t *id;
	bool live;
	bool answered;
	GsRefusal refusal;

	GS_REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	live = gs_find_target(id, NULL, target);
	if (live)
		answered = gs_request_find(request, id, target->pending, &target->answered);
	else if (gs_may_be_stored(target) && gs_find_suspended(id, NULL, target))
		answered = gs_suspended_has_answered(request, target);
	else
	{
		if (gs_may_be_stored(target) &&
			gs_is_retry_of_stored(id, request, &target->answered))
			return false;
		gs_refuse_no_such_game(id, &refusal);
		gs_raise(&refusal);
	}
	if (answered)
	{
		gs_answer_again(request, id, &target->answered);
		return false;
	}
	if (!live)
		return true;
	if (GS_STATUS_IS_OVER(target->h.status))
		gs_game_over(id, gs_status_name(target->h.status));
	gs_refuse_status(target, "resume", &refusal);
	gs_raise(&refusal);
}

Datum
gs_resume_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;

	gs_begin_write("resume_game()");
	request = gs_request(fcinfo, GS_REQUEST_RESUME_GAME, "u8");
	if (!open_suspended(fcinfo, &request, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 1);
	PG_RETURN_INT64(gs_new_version(gs_resume(&request, &target)));
}

/* ----------------------------------------------------------------
 *		Deleting
 * ----------------------------------------------------------------
 */

void
gs_delete_suspended(const GsTarget *target)
{
	GsGameCopy *game = gs_suspended_read(&target->id, false, gs_writeset_context());
	GsPending *pending;
	GsChange *change;

	if (game == NULL)
		elog(ERROR, "game %s is not suspended any more", gs_id_text(&target->id));
	gs_suspended_delete(&target->id);
	pending = gs_writeset_open(&target->id, NULL);
	change = &pending->change;
	if (!pending->stored)
	{
		change->base_version = game->h.version;
		change->h = game->h;
	}
	pending->stored = false;
	change->info = game->info;
	change->frees = true;
	if (pending->base_incarnation != 0)
		change->kind = GS_CHANGE_REMOVE;
	else if (change->base_version > 0)
		change->told = GS_TOLD_DELETION;
	else
		change->told = GS_TOLD_NOTHING;
}
