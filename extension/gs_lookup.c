/*-------------------------------------------------------------------------
 *
 * gs_lookup.c
 *	  Games by room code and by player, as the current transaction sees them.
 *
 * The index (gs_index.c) gives candidates; each is checked against the game.
 * A game that this transaction has changed is checked against its write set
 * instead, and games that only the write set knows are added.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_index.h"
#include "gs_lookup.h"
#include "gs_writeset.h"

typedef bool (*InfoTest)(const GsInfo *info, const GsText *text);

/*
 * Is the committed game waiting or active, and does its info pass?  Not asked
 * for a game whose status or info the write set has changed.
 */
static bool
check_committed(const pg_uuid_t *id, bool for_write, InfoTest test, const GsText *text)
{
	GsGame *game = gs_table_find(id, for_write);
	bool result;

	if (game == NULL)
		return false;
	result = !GS_STATUS_IS_OVER(game->h.status) && test(GS_PTR(game->info), text);
	gs_table_release(game);
	return result;
}

/* Does the write set know better than the table what this game's info is? */
static bool
overridden(const pg_uuid_t *id)
{
	GsPending *pending = GsWriteSetActive ? gs_writeset_find(id) : NULL;

	return pending != NULL && (!pending->exists || pending->change.info_changed ||
							   GS_STATUS_IS_OVER(pending->change.h.status));
}

bool
gs_lookup_room(const GsText *room_code, bool for_write, pg_uuid_t *id)
{
	pg_uuid_t *candidates;
	int n;
	bool found = false;

	if (GsWriteSetActive)
	{
		GsPending *pending = gs_writeset_find_room(room_code);

		if (pending)
		{
			*id = pending->change.key.id;
			return true;
		}
	}
	candidates = gs_index_find(GS_INDEX_ROOM, room_code, &n);
	for (int i = 0; i < n && !found; i++)
	{
		if (!overridden(&candidates[i]) &&
			check_committed(&candidates[i], for_write, gs_info_has_room, room_code))
		{
			*id = candidates[i];
			found = true;
		}
	}
	if (candidates)
		pfree(candidates);
	if (!found)
		gs_durable_note_gone(gs_my_database());
	return found;
}

/* Append the games whose info the write set has. */
static pg_uuid_t *
add_own_games(const GsText *player, pg_uuid_t *ids, int *n)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;
	int size = *n;

	while ((pending = gs_writeset_next(&scan)) != NULL)
	{
		const GsChange *change = &pending->change;

		if (!pending->exists || !change->info_changed ||
			GS_STATUS_IS_OVER(change->h.status) ||
			!gs_parts_have_player(&change->info, player))
			continue;
		if (*n == size)
		{
			size = Max(16, size * 2);
			ids = ids ? repalloc_huge(ids, sizeof(pg_uuid_t) * size)
					  : palloc(sizeof(pg_uuid_t) * size);
		}
		ids[(*n)++] = change->key.id;
	}
	return ids;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/*
 * A game that is just being replaced by another of the same id is in the
 * index twice for a moment.
 */
static int
unique_ids(pg_uuid_t *ids, int n)
{
	int unique = 1;

	if (n < 2)
		return n;
	qsort(ids, n, sizeof(pg_uuid_t), compare_ids);
	for (int i = 1; i < n; i++)
		if (compare_ids(&ids[i], &ids[unique - 1]) != 0)
			ids[unique++] = ids[i];
	return unique;
}

pg_uuid_t *
gs_lookup_player(const GsText *player, int *n)
{
	int ncandidates;
	pg_uuid_t *ids = gs_index_find(GS_INDEX_PLAYER, player, &ncandidates);

	*n = 0;
	for (int i = 0; i < ncandidates; i++)
	{
		if (!overridden(&ids[i]) &&
			check_committed(&ids[i], false, gs_info_has_player, player))
			ids[(*n)++] = ids[i];
	}
	*n = unique_ids(ids, *n);
	gs_durable_note_gone(gs_my_database());
	if (GsWriteSetActive)
		ids = add_own_games(player, ids, n);
	return ids;
}
