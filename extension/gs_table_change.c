/*-------------------------------------------------------------------------
 *
 * gs_table_change.c
 *	  The active-game table: change records, the only way in.
 *
 * The model, for each change record of a transaction:
 *	1. gs_table_reserve(), before the commit point: everything that can fail.
 *	   Memory is allocated and filled, index nodes are added, a new game gets
 *	   an invisible entry, a game to be archived is marked with our xid.
 *	2. gs_table_apply(), after the commit point: cannot fail.  Pointers are
 *	   exchanged, or a state is overwritten in place, under the partition lock;
 *	   what is no longer needed is freed.
 *	3. gs_table_unreserve(), after an abort: cannot fail.  Undoes 1.
 * Between 1 and 2 or 3 nobody else changes the game, because the transaction
 * holds its heavyweight lock (or made up the id, which nobody else knows); the
 * exception is that all games of the database are removed at once.  Then
 * step 2 finds no game, or another incarnation, and only frees.
 *
 * A move usually allocates nothing: the state fits into the old one's place,
 * and the entry into the last chunk of the log.
 *
 * Lock order: gs_shmem.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_delta.h"
#include "gs_deadline.h"
#include "gs_index.h"
#include "gs_lease.h"
#include "gs_log.h"
#include "gs_ring.h"
#include "gs_table.h"
#include "gs_table_free.h"
#include "gs_worker.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

/* ----------------------------------------------------------------
 *		Building
 * ----------------------------------------------------------------
 */

static Size
info_size(const GsInfoParts *parts, bool is_open)
{
	Size size =
		offsetof(GsInfo, nodes) + sizeof(dsa_pointer) * (1 + parts->nplayers + is_open);

	size += parts->game_type.len + parts->room_code.len;
	for (int i = 0; i < parts->nplayers; i++)
		size += 1 + parts->players[i].len;
	return size + parts->metadata.len + parts->result.len;
}

static char *
put_text(char *p, const GsText *text)
{
	if (text->data != NULL)
		memcpy(p, text->data, text->len);
	return p + text->len;
}

/* Writes everything but the index nodes. */
static void
build_info(GsInfo *info, const GsInfoParts *parts, bool is_open)
{
	char *p = (char *) &info->nodes[1 + parts->nplayers + is_open];

	info->metadata_len = parts->metadata.len;
	info->result_len = parts->result.len;
	info->nplayers = parts->nplayers;
	info->type_len = parts->game_type.len;
	info->room_len = parts->room_code.len;
	info->has_metadata = parts->metadata.data != NULL;
	info->has_result = parts->result.data != NULL;
	info->is_open = is_open;
	for (int i = 0; i < gs_info_nodes(info); i++)
		info->nodes[i] = InvalidDsaPointer;

	p = put_text(p, &parts->game_type);
	p = put_text(p, &parts->room_code);
	for (int i = 0; i < parts->nplayers; i++)
	{
		*(uint8 *) p = parts->players[i].len;
		p = put_text(p + 1, &parts->players[i]);
	}
	p = put_text(p, &parts->metadata);
	(void) put_text(p, &parts->result);
}

static dsa_pointer
add_node(GsChange *change, GsIndexKind kind, const GsText *text)
{
	dsa_pointer node =
		gs_index_add(change->db, kind, text, &change->key.id, change->frees);

	change->added[change->nadded++] = node;
	return node;
}

/*
 * Give the new info its index nodes: those of the old info where the room
 * code or player stays, new ones else.  What the old info has and the new one
 * does not is dropped by apply.  A game that is over is in no index.
 */
static void
link_info(GsChange *change, GsInfo *info, const GsInfo *old)
{
	const GsInfoParts *parts = &change->info;
	GsInfoParts was = {0};
	bool *kept;
	int nold = old ? old->nplayers : 0;

	change->added = palloc(sizeof(dsa_pointer) * gs_info_nodes(info));
	change->dropped = palloc(sizeof(dsa_pointer) * (2 + nold));
	kept = palloc0(sizeof(bool) * (2 + nold));
	if (old)
		gs_info_parts(old, &was, palloc(sizeof(GsText) * Max(nold, 1)));

	if (!GS_STATUS_IS_OVER(change->h.status))
	{
		if (parts->room_code.data)
		{
			if (was.room_code.data && DsaPointerIsValid(old->nodes[0]) &&
				gs_text_equal(&was.room_code, &parts->room_code))
			{
				info->nodes[0] = old->nodes[0];
				kept[0] = true;
			}
			else
				info->nodes[0] = add_node(change, GS_INDEX_ROOM, &parts->room_code);
		}
		for (int i = 0; i < parts->nplayers; i++)
		{
			for (int j = 0; j < nold; j++)
			{
				if (DsaPointerIsValid(old->nodes[1 + j]) && !kept[1 + j] &&
					gs_text_equal(&was.players[j], &parts->players[i]))
				{
					info->nodes[1 + i] = old->nodes[1 + j];
					kept[1 + j] = true;
					break;
				}
			}
			if (!DsaPointerIsValid(info->nodes[1 + i]))
				info->nodes[1 + i] =
					add_node(change, GS_INDEX_PLAYER, &parts->players[i]);
		}
	}
	if (info->is_open)
	{
		dsa_pointer *node = &info->nodes[1 + parts->nplayers];

		/* the type does not change; who stays open keeps his place */
		if (old && old->is_open)
		{
			*node = old->nodes[1 + nold];
			kept[1 + nold] = true;
		}
		else
			*node = add_node(change, GS_INDEX_OPEN, &parts->game_type);
	}

	if (old)
		for (int j = 0; j < gs_info_nodes(old); j++)
			if (DsaPointerIsValid(old->nodes[j]) && !kept[j])
				change->dropped[change->ndropped++] = old->nodes[j];
}

static void
reserve_info(GsChange *change, const GsInfo *old)
{
	bool is_open = gs_is_open(&change->h, change->info.nplayers);
	GsInfo *info;

	change->new_info_size = info_size(&change->info, is_open);
	change->new_info = gs_alloc(change->db, change->new_info_size, change->frees);
	info = GS_PTR(change->new_info);
	build_info(info, &change->info, is_open);
	link_info(change, info, old);
}

/* DSA's whole size class, so that a state can grow a little in place. */
static dsa_pointer
alloc_bytes(GsChange *change, const GsText *text, bool may_use_reserve, Size *size)
{
	dsa_pointer p;

	*size = gs_alloc_size(Max(text->len, 1));
	p = gs_alloc(change->db, *size, may_use_reserve);
	if (text->len > 0)
		memcpy(GS_PTR(p), text->data, text->len);
	return p;
}

/* May the new state overwrite the old one, without wasting half of the place? */
static bool
state_fits(const GsGame *game, uint32 len)
{
	return (DsaPointerIsValid(game->initial) || gs_has_deltas(&game->h)) &&
		   len <= game->state_size && gs_alloc_size(Max(len, 1)) * 2 > game->state_size;
}

/* ----------------------------------------------------------------
 *		Deltas
 * ----------------------------------------------------------------
 */

/*
 * What tells the new state from the committed one, and, for the history, what
 * leads back.  The caller holds the partition lock: a microsecond for 2 KB.  A
 * delta is worth it if it saves an eighth of the state.
 */
static void
make_deltas(GsChange *change, const GsGame *game, char *delta, Size room)
{
	const char *old = GS_PTR(game->state);
	const GsText *state = &change->state;
	Size len = 0;
	Size back_room;
	Size back_len;
	char *back;

	if (room > 0)
		len = gs_delta_encode(old, game->state_len, state->data, state->len, delta, room);
	change->delta = (GsText){delta, len};
	for (int i = 0; i < change->nentries && change->first_state == NULL; i++)
	{
		const GsEntry *e = &change->entry_array[i]->e;

		if (e->delta && e->delta_len == 0)
			change->first_state = change->entry_array[i];
	}
	if (change->first_state == NULL)
		return;
	back_room = gs_delta_back_room(game->state_len, len);
	back = MemoryContextAllocHuge(CurrentMemoryContext, back_room);
	back_len = len > 0
				   ? gs_delta_invert(old, game->state_len, delta, len, back, back_room)
				   : gs_delta_whole(old, game->state_len, back, back_room);
	change->first_state->e.delta = back;
	change->first_state->e.delta_len = back_len;
}

/* ----------------------------------------------------------------
 *		Reserve
 * ----------------------------------------------------------------
 */

/*
 * The committed game, its partition locked shared.  The caller holds its
 * heavyweight lock, so nobody changes it; but all games of the database may be
 * removed at once, so it is not looked at without the partition lock.
 */
static GsGame *
find_committed(const GsChange *change)
{
	GsGame *game = dshash_find(GsGames, &change->key, false);

	if (game == NULL || !game->visible)
		gs_table_removed();
	return game;
}

/* The xid of who moves the game between memory and a table. */
static FullTransactionId
moving_xid(const GsChange *change)
{
	return TransactionIdIsValid(change->archive_xid)
			   ? gs_table_full_xid(change->archive_xid)
			   : GetTopFullTransactionId();
}

/* A new entry, invisible until the change is applied. */
static void
init_entry(GsChange *change, GsGame *game)
{
	memset((char *) game + sizeof(GsGameKey), 0, sizeof(GsGame) - sizeof(GsGameKey));
	game->h.incarnation = change->h.incarnation;
	if (change->returns)
	{
		game->returning = true;
		game->returned_by = change->moved_by;
	}
	change->inserted = true;
}

/*
 * A game comes back while old snapshots still have the entry of the time before
 * it was moved: that stays until the change is applied.  Off its list, so
 * that nobody frees it meanwhile.
 */
static void
take_over(GsChange *change, GsGame *game)
{
	gs_table_set_link(change->db, game, GS_LINK_NONE);
	change->returned_before = game->returned_by;
	game->returning = true;
	game->returned_by = change->moved_by;
	change->over_moved = true;
}

static void
reserve_create(GsChange *change)
{
	if (change->returns)
		change->moved_by = moving_xid(change);
	if (change->replaces)
		dshash_release_lock(GsGames, find_committed(change));
	else
	{
		bool found;
		GsGame *game = gs_hash_insert(change->db, GsGames, &change->key, sizeof(GsGame),
									  change->frees, &found);

		/*
		 * A game that was moved to a table, that old snapshots still need here,
		 * and whose row has been deleted since: it makes place, as it does when
		 * memory is short.
		 */
		while (found && game->link_state == GS_LINK_ARCHIVED && !change->returns)
		{
			gs_table_delete_entry(change->db, game);
			game = gs_hash_insert(change->db, GsGames, &change->key, sizeof(GsGame),
								  change->frees, &found);
		}
		if (found && game->link_state == GS_LINK_ARCHIVED)
			take_over(change, game);
		else if (found)
		{
			dshash_release_lock(GsGames, game);
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("a game of this id exists already")));
		}
		else
			init_entry(change, game);
		dshash_release_lock(GsGames, game);
	}

	if (!DsaPointerIsValid(change->new_state))
		change->new_state =
			alloc_bytes(change, &change->state, change->frees, &change->new_state_size);
	if (change->initial.data && !DsaPointerIsValid(change->new_initial))
		change->new_initial = alloc_bytes(change, &change->initial, change->frees,
										  &change->new_initial_size);
	reserve_info(change, NULL);
	gs_deadline_reserve(change, false);
	if (change->nentries > 0)
	{
		GsLogPlan plan;

		gs_log_order(change);
		plan = gs_log_plan(change, NULL);
		gs_log_reserve(change, &plan);
		gs_ring_reserve(change, 0, 0);
	}
}

/* The same, and what the new state has to do with the committed one. */
static GsGame *
find_for_deltas(GsChange *change)
{
	GsGame *game;
	Size room = 0;
	char *delta = NULL;

	if (change->wants_delta)
	{
		room = change->state.len - change->state.len / 8;
		delta = MemoryContextAllocHuge(CurrentMemoryContext, Max(room, 1));
	}
	game = find_committed(change);
	if (change->wants_delta)
		make_deltas(change, game, delta, room);
	return game;
}

static void
reserve_update(GsChange *change)
{
	GsGame *game;
	GsInfo *info = NULL;
	bool new_state;
	GsLogPlan plan = {.new_chunk = false};
	bool has_timer;
	GsRing ring = {.size = 0};

	if (change->nentries > 0)
		gs_log_order(change);
	game = find_for_deltas(change);
	new_state = change->state_changed && !state_fits(game, change->state.len);
	if (change->nentries > 0)
		plan = gs_log_plan(change, game);
	has_timer = DsaPointerIsValid(game->timer);
	if (DsaPointerIsValid(game->ring))
		ring = *(const GsRing *) GS_PTR(game->ring);
	if (change->info_changed)
	{
		info = palloc(game->info_size);
		memcpy(info, GS_PTR(game->info), game->info_size);
	}
	dshash_release_lock(GsGames, game);

	/* a move in the same transaction as the end is a move: the reserve is not for it */
	if (new_state)
		change->new_state =
			alloc_bytes(change, &change->state, false, &change->new_state_size);
	if (change->info_changed)
		reserve_info(change, info);
	gs_deadline_reserve(change, has_timer);
	gs_log_reserve(change, &plan);
	if (change->nentries > 0)
		gs_ring_reserve(change, ring.size, ring.n);
}

static void
reserve_archive(GsChange *change)
{
	TransactionId xid = change->archive_xid;
	GsGame *game;

	if (!TransactionIdIsValid(xid))
		xid = GetTopTransactionId();
	if (change->nentries > 0)
		gs_log_order(change); /* for journal and feed */

	dshash_release_lock(GsGames, find_for_deltas(change));
	game = dshash_find(GsGames, &change->key, true);
	if (game)
	{
		game->archive_xid = xid;
		game->moved_to = change->moved_to;
		change->marked = true;
		dshash_release_lock(GsGames, game);
	}
}

void
gs_table_reserve(GsChange *change)
{
	change->reserved = true;
	switch (change->kind)
	{
		case GS_CHANGE_CREATE:
			reserve_create(change);
			break;
		case GS_CHANGE_UPDATE:
			reserve_update(change);
			break;
		case GS_CHANGE_ARCHIVE:
			reserve_archive(change);
			break;
		case GS_CHANGE_IMAGE:
			dshash_release_lock(GsGames, find_committed(change));
			break;
		case GS_CHANGE_NONE:
			if (change->told == GS_TOLD_ENTRIES)
				gs_log_order(change);
			break;
		case GS_CHANGE_REMOVE:
			break;
	}
}

/* ----------------------------------------------------------------
 *		Apply
 * ----------------------------------------------------------------
 */

/* Find the game that this change was reserved for; NULL if it has been removed. */
static GsGame *
find_for_apply(const GsChange *change, int64 incarnation)
{
	GsGame *game = dshash_find(GsGames, &change->key, true);

	if (game && incarnation != 0 && game->h.incarnation != incarnation)
	{
		dshash_release_lock(GsGames, game);
		game = NULL;
	}
	return game;
}

/*
 * What readers have to wait for from here on.  What was to be waited for before, in a
 * stronger sense, still is: it comes with the new version.
 */
static void
set_wait(GsGame *game, const GsChange *change)
{
	if (change->level == SYNCHRONOUS_COMMIT_OFF)
		return;
	if (game->wait_level <= change->level ||
		gs_durable_is(game->wait_lsn, game->wait_level))
		game->wait_level = change->level;
	game->wait_lsn = change->lsn;
}

static void
note_type(GsChange *change, const char *type, uint32 len)
{
	change->feed.applied = true;
	change->feed.type_len = Min(len, GS_MAX_ID_LENGTH);
	memcpy(change->feed.type, type, change->feed.type_len);
}

/* Before the game is unlocked: its info may be gone afterwards. */
static void
note_for_feed(GsChange *change, const GsGame *game)
{
	const GsInfo *info = GS_PTR(game->info);

	note_type(change, (const char *) &info->nodes[gs_info_nodes(info)], info->type_len);
}

/* Something is no longer to be found. */
static void
set_gone(const GsChange *change)
{
	pg_atomic_uint64 *gone = &change->db->gone_lsn[change->level];
	uint64 lsn = pg_atomic_read_u64(gone);

	if (change->level == SYNCHRONOUS_COMMIT_OFF)
		return;
	while (lsn < change->lsn && !pg_atomic_compare_exchange_u64(gone, &lsn, change->lsn))
		;
}

static void
apply_create(GsChange *change)
{
	GsTableGarbage garbage = {0};
	Size ring_size;
	bool has_old = change->replaces || change->over_moved;
	GsGame *game = find_for_apply(change, has_old ? 0 : change->h.incarnation);

	if (game == NULL)
	{
		gs_table_unreserve(change);
		return;
	}
	if (has_old)
	{
		gs_table_collect(game, &garbage);
		if (game->link_state != GS_LINK_NONE)
			gs_table_set_link(change->db, game, GS_LINK_NONE);
	}
	if (!change->replaces)
		pg_atomic_fetch_add_u64(&change->db->ngames, 1);

	game->archive_xid = InvalidTransactionId;
	game->moved_to = GS_TIER_NONE;
	game->reported = false;
	game->returning = false;
	game->returned_by = change->moved_by; /* 0 unless it returns */
	game->image_in = change->image_in;
	game->h = change->h;
	set_wait(game, change);
	game->state = change->new_state;
	game->state_len = change->state.len;
	game->state_size = change->new_state_size;
	game->initial = change->new_initial;
	game->initial_len = change->initial.len;
	game->initial_size = change->new_initial_size;
	game->info = change->new_info;
	game->info_size = change->new_info_size;
	game->log_first = InvalidDsaPointer;
	game->log_last = InvalidDsaPointer;
	game->log_bytes = 0;
	(void) gs_log_install(change, game);
	note_for_feed(change, game);
	game->ring = InvalidDsaPointer;
	game->ring_size = 0;
	(void) gs_ring_install(change, game, &ring_size);
	game->timer = InvalidDsaPointer;
	gs_deadline_install(change, game);
	game->visible = true;
	if (GS_STATUS_IS_OVER(game->h.status))
		gs_table_set_link(change->db, game, GS_LINK_QUEUE);
	if (change->replaces)
		set_gone(change); /* before anybody can miss what was there */
	dshash_release_lock(GsGames, game);

	gs_table_unlink_info(change->db, change->key.dboid, garbage.info);
	gs_table_free_garbage(change->db, &garbage);
}

static void
install_state(GsChange *change, GsGame *game, GsTableGarbage *garbage)
{
	if (!DsaPointerIsValid(change->new_state))
	{
		memcpy(GS_PTR(game->state), change->state.data, change->state.len);
		game->state_len = change->state.len;
		return;
	}
	if (!DsaPointerIsValid(game->initial) && !gs_has_deltas(&game->h))
	{
		/* the first new state: the old one is the initial one */
		game->initial = game->state;
		game->initial_len = game->state_len;
		game->initial_size = game->state_size;
	}
	else
	{
		garbage->state = game->state;
		garbage->state_size = game->state_size;
	}
	game->state = change->new_state;
	game->state_len = change->state.len;
	game->state_size = change->new_state_size;
}

static void
apply_update(GsChange *change)
{
	GsTableGarbage garbage = {0};
	GsGame *game = find_for_apply(change, change->h.incarnation);

	if (game == NULL)
	{
		gs_table_unreserve(change);
		return;
	}
	if (change->state_changed)
		install_state(change, game, &garbage);
	if (change->info_changed)
	{
		garbage.info = game->info;
		garbage.info_size = game->info_size;
		game->info = change->new_info;
		game->info_size = change->new_info_size;
	}
	game->reported = false;
	garbage.log = gs_log_install(change, game);
	garbage.ring = gs_ring_install(change, game, &garbage.ring_size);
	if (change->imaged)
		game->image_in = change->image_in;
	if (GS_STATUS_IS_OVER(change->h.status) && !GS_STATUS_IS_OVER(game->h.status))
	{
		game->h = change->h;
		gs_table_set_link(change->db, game, GS_LINK_QUEUE);
	}
	else
		game->h = change->h;
	gs_deadline_install(change, game);
	set_wait(game, change);
	note_for_feed(change, game);
	if (change->ndropped > 0 || GS_STATUS_IS_OVER(change->h.status))
		set_gone(change);
	dshash_release_lock(GsGames, game);

	for (int i = 0; i < change->ndropped; i++)
		gs_index_remove(change->db, change->key.dboid, change->dropped[i]);
	gs_table_free_garbage(change->db, &garbage);
}

static void
apply_remove(GsChange *change)
{
	GsGame *game = find_for_apply(change, change->h.incarnation);

	set_gone(change);
	if (game)
	{
		note_for_feed(change, game);
		gs_table_delete_entry(change->db, game);
	}
	gs_refill_reserve();
}

static void
apply_archive(GsChange *change)
{
	GsGame *game = find_for_apply(change, change->h.incarnation);

	if (game == NULL)
		return;
	gs_table_set_link(change->db, game, GS_LINK_ARCHIVED);
	pg_atomic_fetch_sub_u64(&change->db->ngames, 1);
	note_for_feed(change, game);
	dshash_release_lock(GsGames, game);
}

bool
gs_table_report(const pg_uuid_t *id, TimestampTz updated_at)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};
	GsGame *game = dshash_find(GsGames, &key, true);
	bool result;

	if (game == NULL)
		return false;
	result = game->visible && !game->reported && game->h.updated_at == updated_at;
	if (result)
		game->reported = true;
	dshash_release_lock(GsGames, game);
	return result;
}

static void
apply_image(GsChange *change)
{
	GsGame *game = find_for_apply(change, change->h.incarnation);

	if (game == NULL)
		return;
	game->image_in = change->image_in;
	dshash_release_lock(GsGames, game);
}

void
gs_table_apply(GsChange *change)
{
	switch (change->kind)
	{
		case GS_CHANGE_CREATE:
			apply_create(change);
			break;
		case GS_CHANGE_UPDATE:
			apply_update(change);
			break;
		case GS_CHANGE_REMOVE:
			apply_remove(change);
			break;
		case GS_CHANGE_ARCHIVE:
			apply_archive(change);
			break;
		case GS_CHANGE_IMAGE:
			apply_image(change);
			break;
		case GS_CHANGE_NONE:
			if (change->told != GS_TOLD_NOTHING)
				note_type(change, change->info.game_type.data,
						  change->info.game_type.len);
			break;
	}
	change->reserved = false;
	if (GS_STATUS_IS_OVER(change->h.status) || change->replaces ||
		change->kind == GS_CHANGE_REMOVE || change->kind == GS_CHANGE_ARCHIVE)
		gs_lease_drop(change->db, &change->key.id);
	if ((GS_STATUS_IS_OVER(change->h.status) &&
		 (change->kind == GS_CHANGE_CREATE || change->kind == GS_CHANGE_UPDATE)) ||
		(change->kind == GS_CHANGE_ARCHIVE && change->moved_to == GS_TIER_SUSPENDED))
		gs_worker_wake_archiver(change->db); /* to archive it, or to free it */
}

/* ----------------------------------------------------------------
 *		Unreserve
 * ----------------------------------------------------------------
 */

void
gs_table_unreserve(GsChange *change)
{
	GsDatabase *db = change->db;

	if (!change->reserved)
		return;
	change->reserved = false;

	if (change->inserted)
	{
		GsGame *game = find_for_apply(change, change->h.incarnation);

		if (game && game->visible)
			dshash_release_lock(GsGames, game);
		else if (game)
		{
			dshash_delete_entry(GsGames, game);
			gs_account_hash_delete(db, sizeof(GsGame));
		}
	}
	if (change->over_moved)
	{
		GsGame *game = find_for_apply(change, 0);

		if (game && game->returning)
		{
			game->returning = false;
			game->returned_by = change->returned_before;
			gs_table_set_link(db, game, GS_LINK_ARCHIVED);
		}
		if (game)
			dshash_release_lock(GsGames, game);
	}
	if (change->marked)
	{
		GsGame *game = find_for_apply(change, change->h.incarnation);

		if (game)
		{
			game->archive_xid = InvalidTransactionId;
			game->moved_to = GS_TIER_NONE;
			dshash_release_lock(GsGames, game);
		}
	}
	for (int i = 0; i < change->nadded; i++)
		gs_index_remove(db, change->key.dboid, change->added[i]);
	gs_free(db, change->new_state, change->new_state_size);
	gs_free(db, change->new_initial, change->new_initial_size);
	gs_free(db, change->new_info, change->new_info_size);
	gs_log_free(db, change->new_chunk);
	gs_free(db, change->new_ring, change->new_ring_size);
	gs_free(db, change->new_timer, sizeof(GsTimer));
	change->new_state = change->new_initial = InvalidDsaPointer;
}
