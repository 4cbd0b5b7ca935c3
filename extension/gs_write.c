/*-------------------------------------------------------------------------
 *
 * gs_write.c
 *	  SQL functions that change games.
 *
 * How each of them works is said in gs_target.c; moves are in gs_move.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_deleted.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_lease.h"
#include "gs_limits.h"
#include "gs_lock.h"
#include "gs_lookup.h"
#include "gs_memory_wait.h"
#include "gs_policy.h"
#include "gs_suspend.h"
#include "gs_target.h"
#include "gs_tier.h"
#include "gs_uuid.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_create_game);
PG_FUNCTION_INFO_V1(gs_create_game_bytes);
PG_FUNCTION_INFO_V1(gs_set_metadata);
PG_FUNCTION_INFO_V1(gs_set_room_code);
PG_FUNCTION_INFO_V1(gs_start_game);
PG_FUNCTION_INFO_V1(gs_join_game);
PG_FUNCTION_INFO_V1(gs_leave_game);
PG_FUNCTION_INFO_V1(gs_finish_game);
PG_FUNCTION_INFO_V1(gs_delete_game);

/* ----------------------------------------------------------------
 *		create_game
 * ----------------------------------------------------------------
 */

/* text[] to an array of strings; checks that they are players. */
static int
arg_players(FunctionCallInfo fcinfo, int n, GsText **players)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(n);
	Datum *datums;
	bool *nulls;
	int count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("players must be a one-dimensional array")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &datums, &nulls, &count);
	if (count > gs_max_players)
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("too many players"),
				 errdetail("There are %d, the limit is %d.", count, gs_max_players),
				 errhint("Raise gamestate.max_players.")));
	*players = palloc(sizeof(GsText) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		GsText *player = &(*players)[i];

		if (nulls[i])
			gs_null_argument("player");
		player->data = VARDATA_ANY(DatumGetPointer(datums[i]));
		player->len = VARSIZE_ANY_EXHDR(DatumGetPointer(datums[i]));
		gs_check_id(player, "player");
		for (int j = 0; j < i; j++)
			if (gs_text_equal(&(*players)[j], player))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("player \"%.*s\" is given twice", (int) player->len, player->data)));
	}
	return count;
}

/* Lock a room code that is to be taken, and see whether it is free. */
static void
take_room(const GsText *room_code, const pg_uuid_t *for_game)
{
	pg_uuid_t holder;

	gs_lock_names(false);
	gs_lock_room(room_code);
	if (gs_lookup_room(room_code, true, &holder) &&
		memcmp(&holder, for_game, UUID_LEN) != 0)
	{
		gs_wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_ROOM_TAKEN),
				 errmsg("room code \"%.*s\" is taken", (int) room_code->len, room_code->data),
				 errdetail("Game %s has it.", gs_id_text(&holder))));
	}
}

static _Noreturn void
duplicate_game(const pg_uuid_t *id, const char *status)
{
	gs_wait_before_answer();
	ereport(ERROR,
			(errcode(ERRCODE_GS_DUPLICATE_GAME),
			 errmsg("game %s exists already", gs_id_text(id)),
			 errdetail("It is %s.", status)));
}

/*
 * Has the request been answered by the game of this id that is not live?  *tier
 * is where it is.  derived: the id follows from the request's.
 */
static bool
find_stored(const pg_uuid_t *id, const GsRequest *request, bool derived, GsTier *tier,
			GsAnswered *answered)
{
	GsStoredRequest found;

	if (request->id == NULL)
	{
		*tier = gs_tier_of(id);
		return false;
	}
	found = gs_request_find_stored(request, id, derived, tier, answered);
	if (found == GS_REQUEST_NO_PAYLOAD && derived)
	{
		/* nothing else makes such ids; only the arguments are not known any more */
		*answered = (GsAnswered){1, request->arguments};
		return true;
	}
	return found == GS_REQUEST_IS_ANSWERED;
}

/*
 * Lock the id.  Has this request created the game before?  A game of this id
 * that something else has created is an error.
 */
static bool
is_created(const pg_uuid_t *id, const GsRequest *request, bool derived)
{
	GsTarget target;
	GsAnswered answered;
	const char *status = NULL; /* of what has the id */
	bool found = false;

	if (gs_find_target(id, NULL, &target))
	{
		found = gs_request_find(request, id, target.pending, &answered);
		status = gs_status_name(target.h.status);
	}
	else if (gs_may_be_stored(&target))
	{
		GsTier tier;

		found = find_stored(id, request, derived, &tier, &answered);
		status = tier != GS_TIER_NONE ? gs_tier_name(tier) : NULL;
	}
	/* it may have been deleted since, and another one have the id */
	if (!found && request->id)
		found = gs_deleted_find(request, id, &answered);
	if (found)
		gs_answer_again(request, id, &answered);
	else if (status)
		duplicate_game(id, status);
	return found;
}

/* The id that follows from the request's; true if the request has created the game before. */
static bool
take_request_id(const GsRequest *request, pg_uuid_t *id)
{
	GsUuidOfRequest candidates = gs_uuid_of_request(request->id);

	gs_lock_names(false);
	if (candidates.n > 1)
	{
		(void) gs_lock_game(&candidates.lock, false);
		/* who had the lock may have taken an id that follows from a later time */
		candidates = gs_uuid_of_request(request->id);
	}
	for (int i = candidates.n - 1; i >= 0; i--)
	{
		int mark = gs_lock_mark();

		*id = candidates.ids[i];
		if (is_created(id, request, true))
			return true;
		if (i > 0)
			gs_unlock_to(mark);
	}
	return false;
}

/* The id of the new game, locked if somebody else could have it; true as above. */
static bool
take_id(FunctionCallInfo fcinfo, const GsRequest *request, pg_uuid_t *id)
{
	if (!PG_ARGISNULL(5))
	{
		*id = *PG_GETARG_UUID_P(5);
		gs_lock_names(false);
		return is_created(id, request, false);
	}
	if (request->id)
		return take_request_id(request, id);
	gs_uuid_generate(id);
	return false;
}

static GsStatus
arg_first_status(FunctionCallInfo fcinfo, int n)
{
	char *status = text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (strcmp(status, "active") == 0)
		return GS_STATUS_ACTIVE;
	if (strcmp(status, "waiting") == 0)
		return GS_STATUS_WAITING;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a game cannot be created with status \"%s\"", status),
			 errhint("Use \"waiting\" or \"active\".")));
}

int
gs_arg_max_players(FunctionCallInfo fcinfo, int n, int nplayers)
{
	int max_players;

	if (PG_ARGISNULL(n))
		return 0;
	max_players = PG_GETARG_INT32(n);
	if (max_players < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_players must be at least 1")));
	if (max_players > gs_max_players)
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("max_players is too large"),
				 errdetail("It is %d, the limit is %d.", max_players, gs_max_players),
				 errhint("Raise gamestate.max_players.")));
	if (nplayers > max_players)
		ereport(ERROR,
				(errcode(ERRCODE_GS_ROOM_FULL),
				 errmsg("more players than seats"),
				 errdetail("There are %d players and max_players is %d.", nplayers, max_players)));
	return max_players;
}

static void
keep_parts(GsInfoParts *kept, const GsInfoParts *parts)
{
	kept->game_type = gs_keep(&parts->game_type);
	kept->room_code = gs_keep(&parts->room_code);
	kept->metadata = gs_keep(&parts->metadata);
	kept->result = gs_keep(&parts->result);
	kept->nplayers = parts->nplayers;
	kept->players = MemoryContextAlloc(gs_writeset_context(),
									   sizeof(GsText) * Max(parts->nplayers, 1));
	for (int i = 0; i < parts->nplayers; i++)
		kept->players[i] = gs_keep(&parts->players[i]);
}

void
gs_record_create(const pg_uuid_t *id, const GsHeader *h, const GsText *state,
				 const GsInfoParts *parts)
{
	GsText kept_state = gs_keep(state);
	GsInfoParts kept_parts;
	GsPending *pending;
	GsChange *change;

	keep_parts(&kept_parts, parts);
	pending = gs_writeset_open(id, NULL);
	change = &pending->change;
	change->kind = GS_CHANGE_CREATE;
	change->replaces = pending->base_incarnation != 0;
	change->frees = false;
	change->base_version = 0;
	change->h = *h;
	change->state_changed = true;
	change->state = kept_state;
	change->own_state = true;
	change->initial = (GsText){NULL, 0};
	change->info_changed = true;
	change->info = kept_parts;
	change->nentries = 0;
	change->entries = NULL;
	pending->exists = true;
}

static Datum
create_game(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	GsRequest request;
	GsInfoParts parts = {0};
	GsText state;
	GsHeader h = {0};
	TimestampTz now = GetCurrentTimestamp();

	GS_REQUIRE_ARG(0, "game_type");
	GS_REQUIRE_ARG(1, "state");
	GS_REQUIRE_ARG(2, "players");
	GS_REQUIRE_ARG(4, "metadata");
	GS_REQUIRE_ARG(6, "status");

	parts.game_type = gs_arg_bytes(fcinfo, 0);
	gs_check_id(&parts.game_type, "game type");
	state = gs_arg_bytes(fcinfo, 1);
	gs_check_size(&state, "state", gs_max_state_size, "gamestate.max_state_size");
	gs_limits_check_state(&parts.game_type, &state);
	parts.nplayers = arg_players(fcinfo, 2, &parts.players);
	parts.room_code = gs_arg_bytes(fcinfo, 3);
	if (parts.room_code.data)
		gs_check_id(&parts.room_code, "room code");
	parts.metadata = gs_arg_bytes(fcinfo, 4);
	gs_check_size(&parts.metadata, "metadata", gs_max_metadata_size,
				  "gamestate.max_metadata_size");

	h.encoding = encoding;
	gs_policy_new_game(&parts.game_type, &h);
	h.status = arg_first_status(fcinfo, 6);
	h.max_players = gs_arg_max_players(fcinfo, 7, parts.nplayers);
	h.version = 1;
	h.created_at = h.updated_at = now;
	h.started_at = h.status == GS_STATUS_ACTIVE ? now : 0;
	request = gs_request(fcinfo,
						 encoding == GS_ENCODING_JSON ? GS_REQUEST_CREATE_GAME
													  : GS_REQUEST_CREATE_GAME_BYTES,
						 "vvavvuv4");
	if (request.id)
	{
		h.has_create_request = true;
		h.create_request = *request.id;
		h.create_arguments = request.arguments;
	}
	gs_wait_to_create(sizeof(GsGame) + state.len + parts.metadata.len, state.len);
	if (take_id(fcinfo, &request, id))
		PG_RETURN_UUID_P(id);
	if (parts.room_code.data)
		take_room(&parts.room_code, id);
	gs_check_memory(gs_my_database(), sizeof(GsGame) + state.len + parts.metadata.len);

	h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	gs_record_create(id, &h, &state, &parts);
	if (IsTransactionBlock())
		gs_durable_wait();
	PG_RETURN_UUID_P(id);
}

Datum
gs_create_game(PG_FUNCTION_ARGS)
{
	gs_begin_write("create_game()");
	return create_game(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_create_game_bytes(PG_FUNCTION_ARGS)
{
	gs_begin_write("create_game_bytes()");
	return create_game(fcinfo, GS_ENCODING_BYTES);
}

/* ----------------------------------------------------------------
 *		Changes of metadata, room code, status, players
 * ----------------------------------------------------------------
 */

Datum
gs_set_metadata(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsText metadata;
	GsPending *pending;

	gs_begin_write("set_metadata()");
	GS_REQUIRE_ARG(1, "metadata");
	metadata = gs_arg_bytes(fcinfo, 1);
	gs_check_size(&metadata, "metadata", gs_max_metadata_size,
				  "gamestate.max_metadata_size");
	request = gs_request(fcinfo, GS_REQUEST_SET_METADATA, "uv8");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), metadata.len);

	metadata = gs_keep(&metadata);
	pending = gs_change_info(&request, &target, GS_KIND_METADATA, NULL, &metadata);
	pending->change.info.metadata = metadata;
	PG_RETURN_INT64(gs_new_version(pending));
}

/* The game's room code as this transaction sees it, in the write set's memory. */
static GsText
room_of(const GsTarget *target)
{
	GsGameCopy *copy;

	if (target->pending && target->pending->change.info_changed)
		return target->pending->change.info.room_code;
	copy = gs_table_copy(&target->id, 0, true, gs_writeset_context());
	return copy ? copy->info.room_code : (GsText){NULL, 0};
}

void
gs_give_up_room(const GsTarget *target)
{
	GsText room_code = room_of(target);

	if (room_code.data)
		gs_lock_room(&room_code);
}

Datum
gs_set_room_code(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsText room_code;
	StringInfoData event;
	GsText event_text;
	GsPending *pending;

	gs_begin_write("set_room_code()");
	room_code = gs_arg_bytes(fcinfo, 1);
	if (room_code.data)
		gs_check_id(&room_code, "room code");
	request = gs_request(fcinfo, GS_REQUEST_SET_ROOM_CODE, "uv8");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), room_code.len);

	gs_give_up_room(&target);
	initStringInfo(&event);
	if (room_code.data)
	{
		take_room(&room_code, &target.id);
		escape_json(&event, pnstrdup(room_code.data, room_code.len));
	}
	else
		appendStringInfoString(&event, "null");
	event_text.data = event.data;
	event_text.len = event.len;

	room_code = gs_keep(&room_code);
	pending = gs_change_info(&request, &target, GS_KIND_ROOM_CODE, NULL, &event_text);
	pending->change.info.room_code = room_code;
	PG_RETURN_INT64(gs_new_version(pending));
}

Datum
gs_start_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsPending *pending;

	gs_begin_write("start_game()");
	request = gs_request(fcinfo, GS_REQUEST_START_GAME, "u8");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_require_status(&target, GS_STATUS_WAITING, "start");
	gs_check_version(&target, fcinfo, 1);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	/* with the info: an open room leaves its index */
	pending = gs_change_info(&request, &target, GS_KIND_START, NULL, NULL);
	pending->change.h.status = GS_STATUS_ACTIVE;
	pending->change.h.started_at = pending->change.h.updated_at;
	PG_RETURN_INT64(gs_new_version(pending));
}

int
gs_count_players(const GsTarget *target)
{
	GsGame *game;
	int n;

	if (target->pending && target->pending->change.info_changed)
		return target->pending->change.info.nplayers;
	game = gs_table_find(&target->id, true);
	if (game == NULL)
		return 0;
	n = ((const GsInfo *) GS_PTR(game->info))->nplayers;
	gs_table_release(game);
	return n;
}

GsPending *
gs_take_seat(const GsRequest *request, GsTarget *target, const GsText *player, int n)
{
	GsText *players = MemoryContextAlloc(gs_writeset_context(), sizeof(GsText) * (n + 1));
	GsText kept = gs_keep(player);
	GsPending *pending = gs_change_info(request, target, GS_KIND_JOIN, &kept, NULL);
	GsInfoParts *info = &pending->change.info;

	memcpy(players, info->players, sizeof(GsText) * n);
	players[n] = kept;
	info->players = players;
	info->nplayers = n + 1;
	return pending;
}

Datum
gs_join_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsText player;
	GsPending *pending;
	int n;

	gs_begin_write("join_game()");
	GS_REQUIRE_ARG(1, "player");
	player = gs_arg_bytes(fcinfo, 1);
	gs_check_id(&player, "player");
	request = gs_request(fcinfo, GS_REQUEST_JOIN_GAME, "uv8");
	if (!gs_open_target(fcinfo, &request, &player, &target))
		PG_RETURN_INT64(target.answered.version);
	if (target.has_player)
	{
		/* a repeated join changes nothing */
		gs_wait_before_answer();
		PG_RETURN_INT64(target.h.version);
	}
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	n = gs_count_players(&target);
	if (target.h.max_players > 0 && n >= target.h.max_players)
	{
		gs_wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_ROOM_FULL),
				 errmsg("game %s is full", gs_id_text(&target.id)),
				 errdetail("All %d seats are taken.", target.h.max_players)));
	}
	if (n >= gs_max_players)
	{
		gs_wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("too many players"),
				 errdetail("There are %d, the limit is %d.", n, gs_max_players),
				 errhint("Raise gamestate.max_players.")));
	}
	gs_check_memory(gs_my_database(), player.len);

	pending = gs_take_seat(&request, &target, &player, n);
	PG_RETURN_INT64(gs_new_version(pending));
}

Datum
gs_leave_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsText player;
	GsPending *pending;
	GsInfoParts *info;
	GsText *players;
	int n = 0;

	gs_begin_write("leave_game()");
	GS_REQUIRE_ARG(1, "player");
	player = gs_arg_bytes(fcinfo, 1);
	request = gs_request(fcinfo, GS_REQUEST_LEAVE_GAME, "uv8");
	if (!gs_open_target(fcinfo, &request, &player, &target))
		PG_RETURN_INT64(target.answered.version);
	if (!target.has_player)
		gs_not_a_player(&target, &player);
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	players = MemoryContextAlloc(gs_writeset_context(),
								 sizeof(GsText) * gs_count_players(&target));
	pending = gs_change_info(&request, &target, GS_KIND_LEAVE, &player, NULL);
	info = &pending->change.info;
	for (int i = 0; i < info->nplayers; i++)
		if (!gs_text_equal(&info->players[i], &player))
			players[n++] = info->players[i];
	info->players = players;
	info->nplayers = n;
	PG_RETURN_INT64(gs_new_version(pending));
}

/* ----------------------------------------------------------------
 *		The end of a game
 * ----------------------------------------------------------------
 */

static GsStatus
arg_last_status(FunctionCallInfo fcinfo, int n)
{
	char *status;

	GS_REQUIRE_ARG(n, "status");
	status = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (strcmp(status, "finished") == 0)
		return GS_STATUS_FINISHED;
	if (strcmp(status, "abandoned") == 0)
		return GS_STATUS_ABANDONED;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a game cannot end with status \"%s\"", status),
			 errhint("Use \"finished\" or \"abandoned\".")));
}

GsPending *
gs_end_game(const GsRequest *request, GsTarget *target, GsStatus status,
			const GsText *player, const GsText *result)
{
	GsPending *pending;
	GsText kept;

	gs_give_up_room(target);
	kept = result ? gs_keep(result) : (GsText){NULL, 0};
	pending =
		gs_change_info(request, target,
					   status == GS_STATUS_FINISHED ? GS_KIND_FINISH : GS_KIND_ABANDON,
					   player, kept.data ? &kept : NULL);
	pending->change.frees = pending->change.kind == GS_CHANGE_UPDATE;
	pending->change.info.result = kept;
	pending->change.h.status = status;
	pending->change.h.ended_at = pending->change.h.updated_at;
	pending->change.h.deadline = 0;
	return pending;
}

Datum
gs_finish_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsRefusal refusal;
	GsText result;
	GsStatus status;

	gs_begin_write("finish_game()");
	result = gs_arg_bytes(fcinfo, 1);
	gs_check_size(&result, "result", gs_max_metadata_size, "gamestate.max_metadata_size");
	status = arg_last_status(fcinfo, 3);
	request = gs_request(fcinfo, GS_REQUEST_FINISH_GAME, "uv8v-");
	gs_wait_to_end();
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	if (!PG_ARGISNULL(4) && !gs_lease_is_held(&target.id, PG_GETARG_INT64(4), &refusal))
		gs_raise(&refusal);
	gs_check_version(&target, fcinfo, 2);
	PG_RETURN_INT64(
		gs_new_version(gs_end_game(&request, &target, status, NULL, &result)));
}

/* A deletion with a request id: was it done before?  The game's lock is held. */
static bool
is_deleted(const GsRequest *request, GsTarget *target, bool exists)
{
	if (request->id == NULL)
		return false;
	if ((target->suspended && gs_suspended_has_answered(request, target)) ||
		(exists && !target->suspended &&
		 gs_request_find(request, &target->id, target->pending, &target->answered)) ||
		gs_deleted_find(request, &target->id, &target->answered))
	{
		gs_answer_again(request, &target->id, &target->answered);
		return true;
	}
	return false;
}

Datum
gs_delete_game(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	pg_uuid_t *id;
	bool exists;
	GsPending *pending;

	gs_begin_write("delete_game()");
	GS_REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	request = gs_request(fcinfo, GS_REQUEST_DELETE_GAME, "u8");
	exists = gs_find_target(id, NULL, &target) ||
			 (gs_may_be_stored(&target) && gs_find_suspended(id, NULL, &target));
	if (is_deleted(&request, &target, exists))
		PG_RETURN_BOOL(true);
	if (!exists)
	{
		/* an archived one is an error: it cannot have been asked to delete itself */
		if (gs_may_be_stored(&target))
			(void) gs_is_retry_of_stored(id, &request, &target.answered);
		gs_wait_before_answer();
		PG_RETURN_BOOL(false);
	}
	gs_check_version(&target, fcinfo, 1);
	if (target.suspended)
	{
		gs_deleted_keep(id, &request, &target.h);
		gs_delete_suspended(&target);
		if (IsTransactionBlock())
			gs_durable_wait();
		PG_RETURN_BOOL(true);
	}
	if (!GS_STATUS_IS_OVER(target.h.status))
		gs_give_up_room(&target);
	gs_deleted_keep(id, &request, &target.h);

	pending = gs_writeset_open(id, &target.h);
	pending->exists = false;
	pending->change.frees = true;
	pending->change.kind =
		pending->base_incarnation != 0 ? GS_CHANGE_REMOVE : GS_CHANGE_NONE;
	pending->change.h.incarnation = pending->base_incarnation;
	/* it came back from a table by this transaction: nothing of it is in memory */
	if (pending->change.kind == GS_CHANGE_NONE && pending->change.base_version > 0)
		pending->change.told = GS_TOLD_DELETION;
	if (IsTransactionBlock())
		gs_durable_wait();
	PG_RETURN_BOOL(true);
}
