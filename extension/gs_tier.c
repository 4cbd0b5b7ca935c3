/*-------------------------------------------------------------------------
 *
 * gs_tier.c
 *	  Games that are not live: in which table they are, and reading them.
 *
 * The model:
 *	1. A game moves from memory to a table, or back, in one transaction with a
 *	   transaction id: the row is inserted, or deleted, and a change record
 *	   takes the game out of memory, or creates it there.
 *	2. Out of memory (GS_CHANGE_ARCHIVE): before the commit the entry is marked
 *	   with the xid, and is live exactly to those snapshots that do not see it.
 *	   It is freed when no such snapshot is left (gs_table.c).
 *	3. Into memory (GS_CHANGE_CREATE with "returns"): before the commit there is
 *	   an invisible entry marked with the xid.  Who does not see that xid finds
 *	   the row.  Who does see it, and finds the entry invisible still, waits the
 *	   moment until it is not.  From then on the game is live to everybody who
 *	   asks for it by itself; a list of games leaves it out if its snapshot
 *	   shows the row (gs_tier_is_hidden()).
 *	4. So a snapshot has every game in exactly one place.  What remains is the
 *	   reader who looks into memory first, then, with a newer snapshot, into the
 *	   tables.  He misses a game only if it was in memory at the second look,
 *	   and that he can see: the entry is there, or it was freed although his
 *	   snapshot needed it, which is counted.
 *
 * Tables are looked into in the order in which a game goes through them, so
 * that one that goes on meanwhile is found in the next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archive.h"
#include "gs_database.h"
#include "gs_dead_letter.h"
#include "gs_suspended.h"
#include "gs_table.h"
#include "gs_tier.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

/* A table of games that are not live. */
typedef struct Store
{
	GsTier tier;
	bool (*exists)(const pg_uuid_t *id);
	GsStoredGame *(*get)(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt);
} Store;

static const Store stores[] = {
	{GS_TIER_SUSPENDED, gs_suspended_exists, gs_suspended_get},
	{GS_TIER_DEAD_LETTER, gs_dead_letter_exists, gs_dead_letter_get},
	{GS_TIER_ARCHIVED, gs_archive_exists, gs_archive_get},
};

const char *
gs_tier_name(GsTier tier)
{
	switch (tier)
	{
		case GS_TIER_NONE:
			break;
		case GS_TIER_LIVE:
			return "live";
		case GS_TIER_SUSPENDED:
			return "suspended";
		case GS_TIER_DEAD_LETTER:
			return "dead_letter";
		case GS_TIER_ARCHIVED:
			return "archived";
	}
	return "none";
}

GsTier
gs_tier_of(const pg_uuid_t *id)
{
	for (int i = 0; i < (int) lengthof(stores); i++)
		if (stores[i].exists(id))
			return stores[i].tier;
	return GS_TIER_NONE;
}

GsStoredGame *
gs_tier_get(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt)
{
	for (int i = 0; i < (int) lengthof(stores); i++)
	{
		GsStoredGame *game = stores[i].get(id, want_payload, mcxt);

		if (game)
			return game;
	}
	return NULL;
}

GsStoredGame *
gs_tier_get_between(const pg_uuid_t *id, TimestampTz ended_from, TimestampTz ended_to,
					MemoryContext mcxt)
{
	for (int i = 0; i < (int) lengthof(stores); i++)
	{
		GsStoredGame *game = stores[i].tier == GS_TIER_ARCHIVED
								 ? gs_archive_get_between(id, ended_from, ended_to, mcxt)
								 : stores[i].get(id, true, mcxt);

		if (game)
			return game;
	}
	return NULL;
}

bool
gs_tier_is_hidden(const pg_uuid_t *id, FullTransactionId returned_by)
{
	Snapshot snapshot;
	FullTransactionId xmin;

	if (likely(!FullTransactionIdIsValid(returned_by)) || !ActiveSnapshotSet())
		return false;
	snapshot = GetActiveSnapshot();
	xmin = gs_table_full_xid(snapshot->xmin);
	if (FullTransactionIdPrecedes(returned_by, xmin) ||
		!XidInMVCCSnapshot(XidFromFullTransactionId(returned_by), snapshot))
		return false;
	return gs_suspended_is_visible(id, snapshot);
}

GsTierLook
gs_tier_look(void)
{
	return (GsTierLook){pg_atomic_read_u64(&gs_my_database()->freed_early)};
}

bool
gs_tier_again(const pg_uuid_t *id, GsTierLook look)
{
	GsGame *game;

	CHECK_FOR_INTERRUPTS();
	if (gs_table_wait_for_return(id))
		return true;
	game = gs_table_find(id, false);
	if (game)
	{
		gs_table_release(game);
		return true;
	}
	return pg_atomic_read_u64(&gs_my_database()->freed_early) != look.freed_early;
}
