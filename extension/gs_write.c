/*-------------------------------------------------------------------------
 *
 * gs_write.c
 *	  SQL functions that change games.
 *
 * The model, the same for every function:
 *	1. Check the arguments; nothing has happened yet.
 *	2. Take the game's heavyweight lock and look the game up, or find it in
 *	   this transaction's write set (open_target).
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

#include "gs_archive.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_lock.h"
#include "gs_lookup.h"
#include "gs_policy.h"
#include "gs_uuid.h"
#include "gs_writeset.h"

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
PG_FUNCTION_INFO_V1(gs_apply_move);
PG_FUNCTION_INFO_V1(gs_apply_move_bytes);
PG_FUNCTION_INFO_V1(gs_set_metadata);
PG_FUNCTION_INFO_V1(gs_set_room_code);
PG_FUNCTION_INFO_V1(gs_start_game);
PG_FUNCTION_INFO_V1(gs_join_game);
PG_FUNCTION_INFO_V1(gs_leave_game);
PG_FUNCTION_INFO_V1(gs_finish_game);
PG_FUNCTION_INFO_V1(gs_delete_game);

/* locks that the transaction held before this call */
static int lock_mark = 0;

/* A game about to be changed: what it is now, for this transaction. */
typedef struct Target
{
	pg_uuid_t id;
	GsPending *pending; /* NULL: not touched by this transaction yet */
	GsHeader h;
	bool has_player; /* of the player that open_target() was asked for */
} Target;

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

static void
begin_write(const char *function)
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
	(void) gs_ready();
	lock_mark = gs_lock_mark();
}

/*
 * Before an answer that changes nothing: what it tells must be durable.  Nobody
 * else has to wait for that, so the locks of this call are given up first.
 */
static void
wait_before_answer(void)
{
	if (likely(!GsSeenAny))
		return;
	gs_unlock_to(lock_mark);
	gs_durable_wait();
}

/*
 * The new version.  Outside of a transaction block it is told when the commit
 * is durable, and with it what it is based on; inside it is told now.
 */
static int64
new_version(const GsPending *pending)
{
	if (IsTransactionBlock())
		gs_durable_wait();
	return pending->change.h.version;
}

static _Noreturn void
null_argument(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name)));
}

#define REQUIRE_ARG(n, name)           \
	do                                 \
	{                                  \
		if (unlikely(PG_ARGISNULL(n))) \
			null_argument(name);       \
	} while (0)

/* A text, json or bytea argument, detoasted; data is NULL for NULL. */
static GsText
arg_bytes(FunctionCallInfo fcinfo, int n)
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

/* A game type, player id or room code. */
static void
check_id(const GsText *text, const char *name)
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

static void
check_size(const GsText *text, const char *name, int limit_kb, const char *guc)
{
	if (unlikely(text->len > (Size) limit_kb * 1024))
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("%s is too large", name),
				 errdetail("It has %u bytes, the limit is %d kB.", text->len, limit_kb),
				 errhint("Raise %s.", guc)));
}

/* Into memory of the write set. */
static GsText
keep(const GsText *text)
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

static const unsigned char *
keep_request(FunctionCallInfo fcinfo, int n)
{
	unsigned char *kept;

	if (PG_ARGISNULL(n))
		return NULL;
	kept = MemoryContextAlloc(gs_writeset_context(), UUID_LEN);
	memcpy(kept, PG_GETARG_UUID_P(n)->data, UUID_LEN);
	return kept;
}

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
			null_argument("player");
		player->data = VARDATA_ANY(DatumGetPointer(datums[i]));
		player->len = VARSIZE_ANY_EXHDR(DatumGetPointer(datums[i]));
		check_id(player, "player");
		for (int j = 0; j < i; j++)
			if (gs_text_equal(&(*players)[j], player))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("player \"%.*s\" is given twice", (int) player->len, player->data)));
	}
	return count;
}

static const char *
id_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* ----------------------------------------------------------------
 *		The target of a change
 * ----------------------------------------------------------------
 */

static _Noreturn void
no_such_game(const pg_uuid_t *id)
{
	wait_before_answer();
	ereport(ERROR,
			(errcode(ERRCODE_GS_NO_SUCH_GAME),
			 errmsg("game %s does not exist", id_text(id))));
}

static _Noreturn void
game_over(const pg_uuid_t *id, const char *status)
{
	wait_before_answer();
	ereport(ERROR,
			(errcode(ERRCODE_GS_GAME_OVER),
			 errmsg("game %s is over", id_text(id)),
			 errdetail("It is %s.", status)));
}

/* What is not in memory may be in the archive; the lock is given back. */
static bool
is_archived(const pg_uuid_t *id)
{
	gs_unlock_to(lock_mark);
	return gs_archive_exists(id);
}

/*
 * Lock the game and see what it is.  false if it is not in memory, or if this
 * transaction has deleted it.
 */
static bool
find_target(const pg_uuid_t *id, const GsText *player, Target *target)
{
	GsGame *game;

	target->id = *id;
	target->has_player = false;
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
	else
		(void) gs_lock_game(id, false);

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

static void
check_version(const Target *target, FunctionCallInfo fcinfo, int n)
{
	int64 expected;

	if (PG_ARGISNULL(n))
		return;
	expected = PG_GETARG_INT64(n);
	if (unlikely(expected != target->h.version))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_STALE_VERSION),
				 errmsg("stale version of game %s", id_text(&target->id)),
				 errdetail("Expected version %lld, but the game is at version %lld.",
						   (long long) expected, (long long) target->h.version),
				 errhint("Read the game again and decide anew.")));
	}
}

/* As find_target(), with the errors for a game that cannot be changed. */
static void
open_target(FunctionCallInfo fcinfo, const GsText *player, Target *target)
{
	pg_uuid_t *id;

	REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	if (unlikely(!find_target(id, player, target)))
	{
		if (target->pending == NULL && is_archived(id))
			game_over(id, "archived");
		no_such_game(id);
	}
	if (unlikely(GS_STATUS_IS_OVER(target->h.status)))
		game_over(id, gs_status_name(target->h.status));
}

static void
check_log(const Target *target)
{
	if (unlikely(target->h.version >= gs_max_log))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("log of game %s is full", id_text(&target->id)),
				 errdetail("The limit is %d changes.", gs_max_log),
				 errhint("Finish the game, or raise gamestate.max_log.")));
	}
}

static void
require_status(const Target *target, GsStatus status, const char *what)
{
	if (unlikely(target->h.status != status))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_WRONG_STATUS),
				 errmsg("cannot %s game %s", what, id_text(&target->id)),
				 errdetail("It is %s.", gs_status_name(target->h.status))));
	}
}

/* A new version of the target, not yet logged. */
static GsPending *
next_version(Target *target, TimestampTz now)
{
	GsPending *pending = gs_writeset_open(&target->id, &target->h);
	GsHeader *h = &pending->change.h;

	h->version++;
	h->updated_at = now;
	return pending;
}

/*
 * Record the common part of a change other than a move: room in memory, the
 * entry, a private copy of the info to be modified, the log entry.
 */
static GsPending *
change_info(FunctionCallInfo fcinfo, Target *target, GsKind kind, const GsText *player,
			const GsText *event, int request_arg)
{
	GsEntry e = {.kind = kind, .at = GetCurrentTimestamp()};
	GsText kept_player = player ? keep(player) : (GsText){NULL, 0};
	GsText kept_event = event ? keep(event) : (GsText){NULL, 0};
	GsPending *pending;

	e.request_id = keep_request(fcinfo, request_arg);
	e.player = kept_player.data;
	e.player_len = kept_player.len;
	e.event = kept_event.data;
	e.event_len = kept_event.len;

	/* the entry first, unchanged: what may fail comes before the new version */
	pending = gs_writeset_open(&target->id, &target->h);
	gs_writeset_load_info(pending);
	(void) next_version(target, e.at);
	gs_writeset_log(pending, &e);
	return pending;
}

/* ----------------------------------------------------------------
 *		create_game
 * ----------------------------------------------------------------
 */

/* Lock a room code that is to be taken, and see whether it is free. */
static void
take_room(const GsText *room_code, const pg_uuid_t *for_game)
{
	pg_uuid_t holder;

	gs_lock_names(false);
	gs_lock_room(room_code);
	if (gs_lookup_room(room_code, &holder) && memcmp(&holder, for_game, UUID_LEN) != 0)
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_ROOM_TAKEN),
				 errmsg("room code \"%.*s\" is taken", (int) room_code->len, room_code->data),
				 errdetail("Game %s has it.", id_text(&holder))));
	}
}

/* An id of the caller's: locked, and an error if there is such a game. */
static void
take_id(const pg_uuid_t *id)
{
	Target target;

	gs_lock_names(false);
	if (find_target(id, NULL, &target))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_DUPLICATE_GAME),
				 errmsg("game %s exists already", id_text(id)),
				 errdetail("It is %s.", gs_status_name(target.h.status))));
	}
	if (target.pending == NULL && gs_archive_exists(id))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_DUPLICATE_GAME),
				 errmsg("game %s exists already", id_text(id)),
				 errdetail("It is archived.")));
	}
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

static int
arg_max_players(FunctionCallInfo fcinfo, int n, int nplayers)
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
	kept->game_type = keep(&parts->game_type);
	kept->room_code = keep(&parts->room_code);
	kept->metadata = keep(&parts->metadata);
	kept->result = keep(&parts->result);
	kept->nplayers = parts->nplayers;
	kept->players = MemoryContextAlloc(gs_writeset_context(),
									   sizeof(GsText) * Max(parts->nplayers, 1));
	for (int i = 0; i < parts->nplayers; i++)
		kept->players[i] = keep(&parts->players[i]);
}

/* Record a creation; everything has been checked. */
static void
record_create(const pg_uuid_t *id, const GsHeader *h, const GsText *state,
			  const GsInfoParts *parts)
{
	GsText kept_state = keep(state);
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
	GsInfoParts parts = {0};
	GsText state;
	GsHeader h = {0};
	TimestampTz now = GetCurrentTimestamp();

	REQUIRE_ARG(0, "game_type");
	REQUIRE_ARG(1, "state");
	REQUIRE_ARG(2, "players");
	REQUIRE_ARG(4, "metadata");
	REQUIRE_ARG(6, "status");

	parts.game_type = arg_bytes(fcinfo, 0);
	check_id(&parts.game_type, "game type");
	state = arg_bytes(fcinfo, 1);
	check_size(&state, "state", gs_max_state_size, "gamestate.max_state_size");
	parts.nplayers = arg_players(fcinfo, 2, &parts.players);
	parts.room_code = arg_bytes(fcinfo, 3);
	if (parts.room_code.data)
		check_id(&parts.room_code, "room code");
	parts.metadata = arg_bytes(fcinfo, 4);
	check_size(&parts.metadata, "metadata", gs_max_metadata_size,
			   "gamestate.max_metadata_size");

	h.encoding = encoding;
	h.durability = gs_policy_durability(&parts.game_type);
	h.status = arg_first_status(fcinfo, 6);
	h.max_players = arg_max_players(fcinfo, 7, parts.nplayers);
	h.version = 1;
	h.created_at = h.updated_at = now;
	h.started_at = h.status == GS_STATUS_ACTIVE ? now : 0;
	if (!PG_ARGISNULL(8))
	{
		h.has_create_request = true;
		h.create_request = *PG_GETARG_UUID_P(8);
	}

	if (PG_ARGISNULL(5))
		gs_uuid_generate(id);
	else
	{
		*id = *PG_GETARG_UUID_P(5);
		take_id(id);
	}
	if (parts.room_code.data)
		take_room(&parts.room_code, id);
	gs_check_memory(gs_my_database(), sizeof(GsGame) + state.len + parts.metadata.len);

	h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	record_create(id, &h, &state, &parts);
	if (IsTransactionBlock())
		gs_durable_wait();
	PG_RETURN_UUID_P(id);
}

Datum
gs_create_game(PG_FUNCTION_ARGS)
{
	begin_write("create_game()");
	return create_game(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_create_game_bytes(PG_FUNCTION_ARGS)
{
	begin_write("create_game_bytes()");
	return create_game(fcinfo, GS_ENCODING_BYTES);
}

/* ----------------------------------------------------------------
 *		apply_move
 * ----------------------------------------------------------------
 */

static void
check_encoding(const Target *target, GsEncoding encoding)
{
	if (unlikely(target->h.encoding != encoding))
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_WRONG_ENCODING),
				 errmsg("wrong encoding for game %s", id_text(&target->id)),
				 errdetail("The game's encoding is %s.",
						   target->h.encoding == GS_ENCODING_BYTES ? "bytes" : "json"),
				 errhint("Use %s.",
						 target->h.encoding == GS_ENCODING_BYTES ?
						 "apply_move_bytes()" : "apply_move()")));
	}
}

static _Noreturn void
not_a_player(const Target *target, const GsText *player)
{
	wait_before_answer();
	ereport(ERROR,
			(errcode(ERRCODE_GS_NOT_A_PLAYER),
			 errmsg("player \"%.*s\" is not in game %s",
					(int) player->len, player->data, id_text(&target->id))));
}

/* Put a new state, already in the write set's memory, into the change. */
static void
set_state(GsPending *pending, GsText state)
{
	GsChange *change = &pending->change;

	if (change->state_changed)
	{
		if (change->kind == GS_CHANGE_CREATE && change->initial.data == NULL)
			change->initial = change->state;
		else if (!gs_writeset_is_saved(pending))
			pfree(unconstify(char *, change->state.data));
	}
	change->state = state;
	change->state_changed = true;
}

static Datum
apply_move(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	Target target;
	GsText event;
	GsText state;
	GsText player;
	GsEntry e = {.kind = GS_KIND_MOVE};
	GsPending *pending;

	REQUIRE_ARG(2, "event");
	event = arg_bytes(fcinfo, 2);
	check_size(&event, "event", gs_max_event_size, "gamestate.max_event_size");
	state = arg_bytes(fcinfo, 3);
	check_size(&state, "state", gs_max_state_size, "gamestate.max_state_size");
	player = arg_bytes(fcinfo, 4);

	open_target(fcinfo, player.data ? &player : NULL, &target);
	check_encoding(&target, encoding);
	require_status(&target, GS_STATUS_ACTIVE, "make a move in");
	check_version(&target, fcinfo, 1);
	if (player.data && !target.has_player)
		not_a_player(&target, &player);
	check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	event = keep(&event);
	state = keep(&state);
	player = keep(&player);
	e.at = GetCurrentTimestamp();
	e.request_id = keep_request(fcinfo, 5);
	e.player = player.data;
	e.player_len = player.len;
	e.event = event.data;
	e.event_len = event.len;

	pending = next_version(&target, e.at);
	pending->change.h.moves++;
	if (state.data)
		set_state(pending, state);
	gs_writeset_log(pending, &e);
	PG_RETURN_INT64(new_version(pending));
}

Datum
gs_apply_move(PG_FUNCTION_ARGS)
{
	begin_write("apply_move()");
	return apply_move(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_apply_move_bytes(PG_FUNCTION_ARGS)
{
	begin_write("apply_move_bytes()");
	return apply_move(fcinfo, GS_ENCODING_BYTES);
}

/* ----------------------------------------------------------------
 *		Changes of metadata, room code, status, players
 * ----------------------------------------------------------------
 */

Datum
gs_set_metadata(PG_FUNCTION_ARGS)
{
	Target target;
	GsText metadata;
	GsPending *pending;

	begin_write("set_metadata()");
	REQUIRE_ARG(1, "metadata");
	metadata = arg_bytes(fcinfo, 1);
	check_size(&metadata, "metadata", gs_max_metadata_size,
			   "gamestate.max_metadata_size");
	open_target(fcinfo, NULL, &target);
	check_version(&target, fcinfo, 2);
	check_log(&target);
	gs_check_memory(gs_my_database(), metadata.len);

	metadata = keep(&metadata);
	pending = change_info(fcinfo, &target, GS_KIND_METADATA, NULL, &metadata, 3);
	pending->change.info.metadata = metadata;
	PG_RETURN_INT64(new_version(pending));
}

/* The game's room code as this transaction sees it, in the write set's memory. */
static GsText
room_of(const Target *target)
{
	GsGameCopy *copy;

	if (target->pending && target->pending->change.info_changed)
		return target->pending->change.info.room_code;
	copy = gs_table_copy(&target->id, 0, true, gs_writeset_context());
	return copy ? copy->info.room_code : (GsText){NULL, 0};
}

static void
give_up_room(const Target *target)
{
	GsText room_code = room_of(target);

	if (room_code.data)
		gs_lock_room(&room_code);
}

Datum
gs_set_room_code(PG_FUNCTION_ARGS)
{
	Target target;
	GsText room_code;
	StringInfoData event;
	GsText event_text;
	GsPending *pending;

	begin_write("set_room_code()");
	room_code = arg_bytes(fcinfo, 1);
	if (room_code.data)
		check_id(&room_code, "room code");
	open_target(fcinfo, NULL, &target);
	check_version(&target, fcinfo, 2);
	check_log(&target);
	gs_check_memory(gs_my_database(), room_code.len);

	give_up_room(&target);
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

	room_code = keep(&room_code);
	pending = change_info(fcinfo, &target, GS_KIND_ROOM_CODE, NULL, &event_text, 3);
	pending->change.info.room_code = room_code;
	PG_RETURN_INT64(new_version(pending));
}

Datum
gs_start_game(PG_FUNCTION_ARGS)
{
	Target target;
	GsEntry e = {.kind = GS_KIND_START};
	GsPending *pending;

	begin_write("start_game()");
	open_target(fcinfo, NULL, &target);
	require_status(&target, GS_STATUS_WAITING, "start");
	check_version(&target, fcinfo, 1);
	check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	e.at = GetCurrentTimestamp();
	e.request_id = keep_request(fcinfo, 2);
	pending = next_version(&target, e.at);
	pending->change.h.status = GS_STATUS_ACTIVE;
	pending->change.h.started_at = e.at;
	gs_writeset_log(pending, &e);
	PG_RETURN_INT64(new_version(pending));
}

static int
count_players(const Target *target)
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

Datum
gs_join_game(PG_FUNCTION_ARGS)
{
	Target target;
	GsText player;
	GsPending *pending;
	GsInfoParts *info;
	GsText *players;
	int n;

	begin_write("join_game()");
	REQUIRE_ARG(1, "player");
	player = arg_bytes(fcinfo, 1);
	check_id(&player, "player");
	open_target(fcinfo, &player, &target);
	if (target.has_player)
	{
		/* a repeated join changes nothing */
		wait_before_answer();
		PG_RETURN_INT64(target.h.version);
	}
	check_version(&target, fcinfo, 2);
	check_log(&target);
	n = count_players(&target);
	if (target.h.max_players > 0 && n >= target.h.max_players)
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_ROOM_FULL),
				 errmsg("game %s is full", id_text(&target.id)),
				 errdetail("All %d seats are taken.", target.h.max_players)));
	}
	if (n >= gs_max_players)
	{
		wait_before_answer();
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("too many players"),
				 errdetail("There are %d, the limit is %d.", n, gs_max_players),
				 errhint("Raise gamestate.max_players.")));
	}
	gs_check_memory(gs_my_database(), player.len);

	players = MemoryContextAlloc(gs_writeset_context(), sizeof(GsText) * (n + 1));
	player = keep(&player);
	pending = change_info(fcinfo, &target, GS_KIND_JOIN, &player, NULL, 3);
	info = &pending->change.info;
	memcpy(players, info->players, sizeof(GsText) * n);
	players[n] = player;
	info->players = players;
	info->nplayers = n + 1;
	PG_RETURN_INT64(new_version(pending));
}

Datum
gs_leave_game(PG_FUNCTION_ARGS)
{
	Target target;
	GsText player;
	GsPending *pending;
	GsInfoParts *info;
	GsText *players;
	int n = 0;

	begin_write("leave_game()");
	REQUIRE_ARG(1, "player");
	player = arg_bytes(fcinfo, 1);
	open_target(fcinfo, &player, &target);
	if (!target.has_player)
		not_a_player(&target, &player);
	check_version(&target, fcinfo, 2);
	check_log(&target);
	gs_check_memory(gs_my_database(), 0);

	players = MemoryContextAlloc(gs_writeset_context(),
								 sizeof(GsText) * count_players(&target));
	pending = change_info(fcinfo, &target, GS_KIND_LEAVE, &player, NULL, 3);
	info = &pending->change.info;
	for (int i = 0; i < info->nplayers; i++)
		if (!gs_text_equal(&info->players[i], &player))
			players[n++] = info->players[i];
	info->players = players;
	info->nplayers = n;
	PG_RETURN_INT64(new_version(pending));
}

/* ----------------------------------------------------------------
 *		The end of a game
 * ----------------------------------------------------------------
 */

static GsStatus
arg_last_status(FunctionCallInfo fcinfo, int n)
{
	char *status;

	REQUIRE_ARG(n, "status");
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

Datum
gs_finish_game(PG_FUNCTION_ARGS)
{
	Target target;
	GsText result;
	GsStatus status;
	GsPending *pending;

	begin_write("finish_game()");
	result = arg_bytes(fcinfo, 1);
	check_size(&result, "result", gs_max_metadata_size, "gamestate.max_metadata_size");
	status = arg_last_status(fcinfo, 3);
	open_target(fcinfo, NULL, &target);
	check_version(&target, fcinfo, 2);
	give_up_room(&target);

	result = keep(&result);
	pending = change_info(fcinfo, &target,
						  status == GS_STATUS_FINISHED ? GS_KIND_FINISH : GS_KIND_ABANDON,
						  NULL, result.data ? &result : NULL, 4);
	pending->change.frees = pending->change.kind == GS_CHANGE_UPDATE;
	pending->change.info.result = result;
	pending->change.h.status = status;
	pending->change.h.ended_at = pending->change.h.updated_at;
	PG_RETURN_INT64(new_version(pending));
}

Datum
gs_delete_game(PG_FUNCTION_ARGS)
{
	Target target;
	pg_uuid_t *id;
	GsPending *pending;

	begin_write("delete_game()");
	REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	if (!find_target(id, NULL, &target))
	{
		if (target.pending == NULL && is_archived(id))
			game_over(id, "archived");
		wait_before_answer();
		PG_RETURN_BOOL(false);
	}
	check_version(&target, fcinfo, 1);
	if (!GS_STATUS_IS_OVER(target.h.status))
		give_up_room(&target);

	pending = gs_writeset_open(id, &target.h);
	pending->exists = false;
	pending->change.frees = true;
	pending->change.kind =
		pending->base_incarnation != 0 ? GS_CHANGE_REMOVE : GS_CHANGE_NONE;
	pending->change.h.incarnation = pending->base_incarnation;
	if (IsTransactionBlock())
		gs_durable_wait();
	PG_RETURN_BOOL(true);
}
