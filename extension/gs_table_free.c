/*-------------------------------------------------------------------------
 *
 * gs_table_free.c
 *	  The active-game table: the lists that games are on, and freeing games.
 *
 * The model:
 *	1. A game may be on one list of its database: that of games that wait for
 *	   the archive, that of games which shall be there later (gs_delay.c), or
 *	   that of games that have been moved to a table and that old snapshots
 *	   still need in memory.
 *	2. Those are freed, oldest first, when no such snapshot is left; earlier
 *	   when memory is short.
 *	3. What a game or a change leaves behind (GsTableGarbage) is taken under the
 *	   partition lock and freed after it.
 *
 * Lock order: gs_shmem.h.  Nothing here can fail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_deadline.h"
#include "gs_index.h"
#include "gs_lease.h"
#include "gs_log.h"
#include "gs_table.h"
#include "gs_table_free.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"

/* Put a game on one of the lists, or on none; the caller holds its partition lock. */
void
gs_table_set_link(GsDatabase *db, GsGame *game, GsLink link)
{
	LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
	if (game->link_state == GS_LINK_QUEUE)
		db->nqueue--;
	else if (game->link_state == GS_LINK_DELAYED)
		db->ndelayed--;
	else if (game->link_state == GS_LINK_ARCHIVED)
		db->narchived--;
	if (game->link_state != GS_LINK_NONE)
		dlist_delete(&game->link);

	game->link_state = link;
	if (link == GS_LINK_QUEUE)
	{
		gs_queue_push(&db->queue, game);
		db->nqueue++;
	}
	else if (link == GS_LINK_DELAYED)
	{
		dlist_push_tail(&db->delayed, &game->link);
		db->ndelayed++;
	}
	else if (link == GS_LINK_ARCHIVED)
	{
		dlist_push_tail(&db->archived, &game->link);
		db->narchived++;
	}
	LWLockRelease(&db->queue_lock);
}

void
gs_table_collect(const GsGame *game, GsTableGarbage *garbage)
{
	garbage->state = game->state;
	garbage->state_size = game->state_size;
	garbage->initial = game->initial;
	garbage->initial_size = game->initial_size;
	garbage->info = game->info;
	garbage->info_size = game->info_size;
	garbage->ring = game->ring;
	garbage->ring_size = game->ring_size;
	garbage->log = game->log_first;
	garbage->timer = game->timer;
}

void
gs_table_free_garbage(GsDatabase *db, const GsTableGarbage *garbage)
{
	gs_free(db, garbage->state, garbage->state_size);
	gs_free(db, garbage->initial, garbage->initial_size);
	gs_free(db, garbage->info, garbage->info_size);
	gs_free(db, garbage->ring, garbage->ring_size);
	gs_log_free(db, garbage->log);
	gs_deadline_free(db, garbage->timer);
}

/* Take the nodes of a game that goes out of the index. */
void
gs_table_unlink_info(GsDatabase *db, Oid dboid, dsa_pointer p)
{
	GsInfo *info;

	if (!DsaPointerIsValid(p))
		return;
	info = GS_PTR(p);
	for (int i = 0; i < gs_info_nodes(info); i++)
		gs_index_remove(db, dboid, info->nodes[i]);
}

/* Does GsDatabase.ngames count it? */
static bool
is_counted(const GsGame *game)
{
	return game->visible && game->link_state != GS_LINK_ARCHIVED && !game->returning;
}

/* Delete an entry and everything it has; the caller holds its partition lock exclusively. */
void
gs_table_delete_entry(GsDatabase *db, GsGame *game)
{
	GsTableGarbage garbage = {0};
	Oid dboid = game->key.dboid;

	gs_table_collect(game, &garbage);
	if (is_counted(game))
		pg_atomic_fetch_sub_u64(&db->ngames, 1);
	if (game->link_state != GS_LINK_NONE)
		gs_table_set_link(db, game, GS_LINK_NONE);
	dshash_delete_entry(GsGames, game);
	gs_account_hash_delete(db, sizeof(GsGame));

	gs_table_unlink_info(db, dboid, garbage.info);
	gs_table_free_garbage(db, &garbage);
}

/* From one list to another; false if it is not on that one. */
static bool
change_link(GsDatabase *db, const GsGameKey *key, GsLink from, GsLink to)
{
	GsGame *game = dshash_find(GsGames, key, true);
	bool result;

	if (game == NULL)
		return false;
	result = game->link_state == from;
	if (result)
		gs_table_set_link(db, game, to);
	dshash_release_lock(GsGames, game);
	return result;
}

bool
gs_table_delay(GsDatabase *db, const pg_uuid_t *id)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};

	return change_link(db, &key, GS_LINK_QUEUE, GS_LINK_DELAYED);
}

void
gs_table_end_delay(GsDatabase *db, const pg_uuid_t *id)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};

	(void) change_link(db, &key, GS_LINK_DELAYED, GS_LINK_QUEUE);
}

void
gs_table_end_delays(GsDatabase *db)
{
	for (;;)
	{
		GsGameKey key;

		LWLockAcquire(&db->queue_lock, LW_SHARED);
		if (dlist_is_empty(&db->delayed))
		{
			LWLockRelease(&db->queue_lock);
			break;
		}
		key = dlist_container(GsGame, link, dlist_head_node(&db->delayed))->key;
		LWLockRelease(&db->queue_lock);
		(void) change_link(db, &key, GS_LINK_DELAYED, GS_LINK_QUEUE);
	}
}

/* Does a running transaction of this database have a snapshot older than the xid's end? */
static bool
still_needed(TransactionId xid)
{
	int n;

	pfree(
		GetCurrentVirtualXIDs(xid, true, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &n));
	return n > 0;
}

int
gs_table_free_archived(GsDatabase *db, bool even_if_needed, int max)
{
	TransactionId passed = InvalidTransactionId;
	int n = 0;

	while (n < max)
	{
		GsGameKey key;
		TransactionId xid;
		GsGame *game;

		/*
		 * The first of the list, whose xid nobody changes any more.  It stays
		 * on the list until its partition lock is held: lock order.
		 */
		LWLockAcquire(&db->queue_lock, LW_SHARED);
		if (dlist_is_empty(&db->archived))
		{
			LWLockRelease(&db->queue_lock);
			break;
		}
		game = dlist_container(GsGame, link, dlist_head_node(&db->archived));
		key = game->key;
		xid = game->archive_xid;
		LWLockRelease(&db->queue_lock);

		if (!even_if_needed && xid != passed)
		{
			if (still_needed(xid))
				break;
			passed = xid;
		}
		game = dshash_find(GsGames, &key, true);
		if (game == NULL)
			continue; /* somebody else was faster */
		if (game->link_state != GS_LINK_ARCHIVED || game->archive_xid != xid)
		{
			dshash_release_lock(GsGames, game);
			continue;
		}
		/* before it is gone: who misses it there looks again.  An archived one never comes back */
		if (even_if_needed && game->moved_to != GS_TIER_ARCHIVED)
			pg_atomic_fetch_add_u64(&db->freed_early, 1);
		gs_table_delete_entry(db, game);
		n++;
	}
	if (!even_if_needed && n > 0)
		gs_refill_reserve();
	return n;
}

void
gs_table_remove_database(GsDatabase *db)
{
	dshash_seq_status scan;
	GsGame *game;

	pg_atomic_fetch_add_u32(&db->generation, 1);
	pg_atomic_write_u32(&db->load_state, GS_LOAD_NONE);
	db->load_failure.retry_at = 0; /* it was about other games */
	gs_leases_remove_database(db);
	dshash_seq_init(&scan, GsGames, true);
	while ((game = dshash_seq_next(&scan)) != NULL)
	{
		GsTableGarbage garbage = {0};

		if (game->key.dboid != db->dboid)
			continue;
		gs_table_collect(game, &garbage);
		if (is_counted(game))
			pg_atomic_fetch_sub_u64(&db->ngames, 1);
		if (game->link_state != GS_LINK_NONE)
			gs_table_set_link(db, game, GS_LINK_NONE);
		dshash_delete_current(&scan);
		gs_account_hash_delete(db, sizeof(GsGame));
		gs_table_unlink_info(db, db->dboid, garbage.info);
		gs_table_free_garbage(db, &garbage);
	}
	dshash_seq_term(&scan);
	gs_refill_reserve();
}
