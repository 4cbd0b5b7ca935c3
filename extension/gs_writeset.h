/*-------------------------------------------------------------------------
 *
 * gs_writeset.h
 *	  What the current transaction has done to games so far.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_WRITESET_H
#define GS_WRITESET_H

#include "gs_table.h"

/*
 * A game as this transaction sees it after its own changes.  Strings it
 * points to are never changed in place, so that a shallow copy is enough to
 * undo a subtransaction.
 */
typedef struct GsPending
{
	GsChange change;
	bool exists;			/* false: deleted by this transaction ... */
	bool stored;			/* ... or no longer live: its row is in a table */
	int64 base_incarnation; /* of the committed game; 0 = there is none */
} GsPending;

extern bool GsWriteSetActive; /* this transaction has changed games */

/* from _PG_init: transaction callbacks */
extern void gs_writeset_init(void);

/* Has this transaction deleted it?  If not, and it does not exist, see gs_tier.h. */
static inline bool
gs_pending_is_deleted(const GsPending *pending)
{
	return !pending->exists && !pending->stored;
}

/* The transaction's view of a game; NULL if it has not touched it. */
extern GsPending *gs_writeset_find(const pg_uuid_t *id);
extern GsPending *gs_writeset_find_room(const GsText *room_code);

/*
 * The entry of a game that is about to be changed at the current nesting
 * level; the first change of a subtransaction saves the state before.  base
 * is the committed game's header, NULL if there is no such game; it is only
 * looked at when the transaction touches the game for the first time.  The
 * caller holds the game's heavyweight lock (or made up the id itself).
 */
extern GsPending *gs_writeset_open(const pg_uuid_t *id, const GsHeader *base);

/* May the entry's strings be freed, or does a savepoint need them? */
extern bool gs_writeset_is_saved(const GsPending *pending);

/* Append a log entry; the strings must be in gs_writeset_context(). */
extern void gs_writeset_log(GsPending *pending, const GsEntry *e);

/*
 * Make change.info a private copy of the game's info.  Its fields may then be
 * set; the array of players is never changed in place but replaced.
 */
extern void gs_writeset_load_info(GsPending *pending);

/* The game as this transaction sees it; what: GS_COPY_* */
extern GsGameCopy *gs_writeset_copy(const GsPending *pending, int what,
									MemoryContext mcxt);

/* Memory that lives until the transaction ends. */
extern MemoryContext gs_writeset_context(void);

/* All games touched by this transaction, for scans. */
typedef struct GsWriteSetScan
{
	int next;
} GsWriteSetScan;
extern GsPending *gs_writeset_next(GsWriteSetScan *scan);

/*
 * For the archiver: this transaction has inserted the archive's rows of the
 * game, so it leaves memory with its commit.  The caller holds its lock.
 */
extern void gs_writeset_archive(const pg_uuid_t *id);

/* For rotation: the game is written to the journal as a whole.  The caller holds its lock. */
extern void gs_writeset_image(const pg_uuid_t *id);

/* All games of a database go when this transaction commits (DROP EXTENSION, DROP DATABASE). */
extern void gs_writeset_remove_database(Oid dboid, bool release_slot);

#endif /* GS_WRITESET_H */
