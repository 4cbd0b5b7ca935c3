/*-------------------------------------------------------------------------
 *
 * gs_lobby.c
 *	  Open rooms: games that wait and have a free seat.
 *
 * The model:
 *	1. The look-up index (gs_index.c) has the open rooms of each game type, the
 *	   one that opened last first.  As always it may have too many: each is
 *	   checked against the game.  What this transaction has changed itself is
 *	   taken from its write set.
 *	2. join_any() takes a lock on the game type first, so that of several players
 *	   who find no room one makes it and the others join it.
 *	3. Then it goes through the rooms, the oldest first: one that looks open is
 *	   locked and looked at again.  So the last seat is decided by the game's
 *	   lock, as in join_game(); who does not get it goes on to the next room.
 *
 * The list is copied out of the index a piece at a time, twice as much each
 * time it did not suffice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_index.h"
#include "gs_limits.h"
#include "gs_lock.h"
#include "gs_lookup.h"
#include "gs_memory_wait.h"
#include "gs_policy.h"
#include "gs_row.h"
#include "gs_suspended.h"
#include "gs_target.h"
#include "gs_uuid.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_open_rooms);
PG_FUNCTION_INFO_V1(gs_join_any);
PG_FUNCTION_INFO_V1(gs_join_any_bytes);

#define FIRST_PIECE 32

static GsPending *
own_change(const pg_uuid_t *id)
{
	return GsWriteSetActive ? gs_writeset_find(id) : NULL;
}

static bool
is_open_room(const GsGameCopy *game, const GsText *game_type)
{
	return game != NULL && gs_is_open(&game->h, game->info.nplayers) &&
		   gs_text_equal(&game->info.game_type, game_type);
}

/* ----------------------------------------------------------------
 *		open_rooms
 * ----------------------------------------------------------------
 */

/* Rooms that are listed, newest first; those of this transaction before all others. */
typedef struct RoomList
{
	ReturnSetInfo *rsinfo;
	GsText game_type;
	MemoryContext row; /* reset after each */
	int left;
} RoomList;

static void
list_room(RoomList *list, const GsGameCopy *game)
{
	Datum values[GS_GAME_NATTS];
	bool nulls[GS_GAME_NATTS];

	if (is_open_room(game, &list->game_type))
	{
		gs_row_live_game(game, values, nulls);
		tuplestore_putvalues(list->rsinfo->setResult, list->rsinfo->setDesc, values,
							 nulls);
		list->left--;
	}
	MemoryContextReset(list->row);
}

static void
list_own_rooms(RoomList *list)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;

	while (GsWriteSetActive && list->left > 0 &&
		   (pending = gs_writeset_next(&scan)) != NULL)
		if (pending->exists && pending->change.h.status == GS_STATUS_WAITING)
			list_room(list, gs_writeset_copy(pending, GS_COPY_STATE, list->row));
}

static void
list_rooms(RoomList *list)
{
	int max = Max(FIRST_PIECE, Min(list->left, INT_MAX / 4));
	int done = 0;
	int n;

	do
	{
		pg_uuid_t *ids = gs_index_some(GS_INDEX_OPEN, &list->game_type, false, max, &n);

		/* what came before may have moved a little meanwhile: nobody holds still */
		for (; done < n && list->left > 0; done++)
		{
			CHECK_FOR_INTERRUPTS();
			if (own_change(&ids[done]) == NULL)
				list_room(list,
						  gs_table_copy(&ids[done], GS_COPY_STATE, false, list->row));
		}
		if (ids)
			pfree(ids);
		max = Min(max, INT_MAX / 2) * 2;
	} while (list->left > 0 && done == n && n >= max / 2);
}

Datum
gs_open_rooms(PG_FUNCTION_ARGS)
{
	RoomList list = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	MemoryContext old;

	gs_attach();
	(void) gs_ready();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	list.game_type = gs_arg_bytes(fcinfo, 0);
	list.left = PG_ARGISNULL(1) ? INT_MAX : PG_GETARG_INT32(1);
	if (list.left < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));

	list.row = AllocSetContextCreate(CurrentMemoryContext, "gamestate rooms",
									 ALLOCSET_DEFAULT_SIZES);
	list_own_rooms(&list);
	old = CurrentMemoryContext;
	list_rooms(&list);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(list.row);
	gs_durable_note_gone(gs_my_database());
	gs_durable_wait();
	gs_require_games();
	return (Datum) 0;
}

/* ----------------------------------------------------------------
 *		join_any
 * ----------------------------------------------------------------
 */

/* Arguments of join_any() */
enum
{
	ARG_GAME_TYPE,
	ARG_PLAYER,
	ARG_STATE,
	ARG_MAX_PLAYERS,
	ARG_METADATA
};

/* Who looks for what, and what the new room would be. */
typedef struct Search
{
	GsRequest request;
	GsInfoParts parts; /* game type, the player, metadata */
	GsText player;
	GsText state;
	GsHeader h;
	int32 max_players; /* 0 = any number */

	bool sits; /* in this game already, which may be the answer */

	/* the answer */
	pg_uuid_t id;
	int64 version;
	bool created;
} Search;

static void
take_arguments(FunctionCallInfo fcinfo, GsEncoding encoding, Search *search)
{
	GS_REQUIRE_ARG(ARG_GAME_TYPE, "game_type");
	GS_REQUIRE_ARG(ARG_PLAYER, "player");
	GS_REQUIRE_ARG(ARG_STATE, "state");
	GS_REQUIRE_ARG(ARG_METADATA, "metadata");
	search->parts.game_type = gs_arg_bytes(fcinfo, ARG_GAME_TYPE);
	gs_check_id(&search->parts.game_type, "game type");
	search->player = gs_arg_bytes(fcinfo, ARG_PLAYER);
	gs_check_id(&search->player, "player");
	search->state = gs_arg_bytes(fcinfo, ARG_STATE);
	gs_check_size(&search->state, "state", gs_max_state_size, "gamestate.max_state_size");
	gs_limits_check_state(&search->parts.game_type, &search->state);
	search->parts.metadata = gs_arg_bytes(fcinfo, ARG_METADATA);
	gs_check_size(&search->parts.metadata, "metadata", gs_max_metadata_size,
				  "gamestate.max_metadata_size");
	search->parts.nplayers = 1;
	search->parts.players = &search->player;
	search->max_players = gs_arg_max_players(fcinfo, ARG_MAX_PLAYERS, 1);
	search->h.encoding = encoding;
	search->h.status = GS_STATUS_WAITING;
	search->h.max_players = search->max_players;
	search->request = gs_request(fcinfo,
								 encoding == GS_ENCODING_JSON ? GS_REQUEST_JOIN_ANY
															  : GS_REQUEST_JOIN_ANY_BYTES,
								 "vvv4v");
}

/* Does a room of the right type fit what is looked for? */
static bool
fits(const Search *search, const GsHeader *h)
{
	return h->encoding == search->h.encoding &&
		   (search->max_players == 0 || h->max_players == search->max_players);
}

static void
answer_again(Search *search, const pg_uuid_t *id, const GsAnswered *answered)
{
	gs_answer_again(&search->request, id, answered);
	search->id = *id;
	search->version = answered->version;
	search->created = answered->version == 1;
}

/* The game's lock is held.  It may have been suspended, or resumed, since it was found. */
static bool
has_answered(Search *search, const pg_uuid_t *id, GsAnswered *answered)
{
	GsTarget target;
	GsTier tier;

	if (gs_find_target(id, NULL, &target))
		return gs_request_find(&search->request, id, target.pending, answered);
	return gs_may_be_stored(&target) &&
		   gs_request_find_stored(&search->request, id, false, &tier, answered) ==
			   GS_REQUEST_IS_ANSWERED &&
		   tier == GS_TIER_SUSPENDED;
}

/* Did this request take a seat in the game?  The lock is given back if not. */
static bool
is_answered(Search *search, const pg_uuid_t *id)
{
	int mark = gs_lock_mark();
	GsAnswered answered;

	if (search->request.id == NULL)
		return false;
	if (has_answered(search, id, &answered))
	{
		answer_again(search, id, &answered);
		return true;
	}
	gs_unlock_to(mark);
	return false;
}

/*
 * The answer to this request, if it was given before and the player still sits
 * there; else false, and search->sits if he sits in a waiting game of this type.
 */
static bool
find_own_seat(Search *search)
{
	int n;
	pg_uuid_t *ids = gs_lookup_player(&search->player, &n);

	for (int i = 0; i < n; i++)
	{
		GsPending *pending = own_change(&ids[i]);
		GsGameCopy *game = pending
							   ? gs_writeset_copy(pending, 0, CurrentMemoryContext)
							   : gs_table_copy(&ids[i], 0, true, CurrentMemoryContext);

		if (game == NULL ||
			!gs_text_equal(&game->info.game_type, &search->parts.game_type))
			continue;
		if (is_answered(search, &ids[i]))
			return true;
		if (!search->sits && game->h.status == GS_STATUS_WAITING &&
			fits(search, &game->h))
		{
			search->id = ids[i];
			search->version = game->h.version;
			search->sits = true;
		}
	}
	return false;
}

/* The same of games that have been suspended since. */
static bool
find_suspended_seat(Search *search)
{
	int n = 0;
	pg_uuid_t *ids;

	if (search->request.id == NULL)
		return false;
	ids = gs_suspended_of_player(&search->parts.game_type, &search->player, &n);
	for (int i = 0; i < n; i++)
		if (is_answered(search, &ids[i]))
			return true;
	return false;
}

/* Without its lock: is it worth locking? */
static bool
looks_open(const Search *search, const pg_uuid_t *id)
{
	GsPending *pending = own_change(id);
	GsGameCopy *game =
		pending == NULL
			? gs_table_copy(id, 0, true, CurrentMemoryContext)
			: (pending->exists ? gs_writeset_copy(pending, 0, CurrentMemoryContext)
							   : NULL);

	return is_open_room(game, &search->parts.game_type) && fits(search, &game->h) &&
		   game->info.nplayers < gs_max_players;
}

/* Take a seat in it, if there still is one. */
static bool
try_room(Search *search, const pg_uuid_t *id)
{
	int mark = gs_lock_mark();
	GsTarget target;

	if (!looks_open(search, id))
		return false;
	if (gs_find_target(id, &search->player, &target) && !target.has_player &&
		looks_open(search, id) && !gs_log_is_full(&target.h))
	{
		GsPending *pending;
		GsAnswered answered;

		/* he has left since; or it has seated somebody else: GS014 */
		if (gs_request_find(&search->request, id, target.pending, &answered))
		{
			answer_again(search, id, &answered);
			return true;
		}
		gs_check_memory(gs_my_database(), search->player.len);
		pending = gs_take_seat(&search->request, &target, &search->player,
							   gs_count_players(&target));
		search->id = *id;
		search->version = pending->change.h.version;
		return true;
	}
	gs_unlock_to(mark);
	return false;
}

static bool
join_room(Search *search)
{
	int max = FIRST_PIECE;
	int n;
	GsWriteSetScan scan = {0};
	GsPending *pending;

	do
	{
		pg_uuid_t *ids =
			gs_index_some(GS_INDEX_OPEN, &search->parts.game_type, true, max, &n);

		/* from the start again: rooms that are gone move the others */
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (try_room(search, &ids[i]))
				return true;
		}
		if (ids)
			pfree(ids);
		max = Min(max, INT_MAX / 2) * 2;
	} while (n >= max / 2);

	/* those that this transaction has made or opened are younger */
	while (GsWriteSetActive && (pending = gs_writeset_next(&scan)) != NULL)
		if (pending->exists && try_room(search, &pending->change.key.id))
			return true;
	return false;
}

static void
create_room(Search *search)
{
	GsHeader *h = &search->h;

	gs_policy_new_game(&search->parts.game_type, h);
	h->version = 1;
	h->created_at = h->updated_at = GetCurrentTimestamp();
	if (search->request.id)
	{
		h->has_create_request = true;
		h->create_request = *search->request.id;
		h->create_arguments = search->request.arguments;
	}
	gs_uuid_generate(&search->id);
	gs_check_memory(gs_my_database(),
					sizeof(GsGame) + search->state.len + search->parts.metadata.len);
	h->incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	gs_record_create(&search->id, h, &search->state, &search->parts);
	search->version = 1;
	search->created = true;
}

static Datum
join_any(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	Search search = {0};
	Datum values[3];
	bool nulls[3] = {0};

	take_arguments(fcinfo, encoding, &search);
	gs_wait_to_create(sizeof(GsGame) + search.state.len + search.parts.metadata.len,
					  search.state.len);
	gs_lock_match(&search.parts.game_type);
	if (find_own_seat(&search) || find_suspended_seat(&search) || search.sits)
		gs_wait_before_answer();
	else
	{
		if (!join_room(&search))
			create_room(&search);
		if (IsTransactionBlock())
			gs_durable_wait();
	}
	values[0] = UUIDPGetDatum(&search.id);
	values[1] = Int64GetDatum(search.version);
	values[2] = BoolGetDatum(search.created);
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}

Datum
gs_join_any(PG_FUNCTION_ARGS)
{
	gs_begin_write("join_any()");
	return join_any(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_join_any_bytes(PG_FUNCTION_ARGS)
{
	gs_begin_write("join_any_bytes()");
	return join_any(fcinfo, GS_ENCODING_BYTES);
}
