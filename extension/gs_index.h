/*-------------------------------------------------------------------------
 *
 * gs_index.h
 *	  Look-up index of the active-game table: room codes, players, open rooms.
 *
 * The index maps (database, kind, hash of the text) to candidates: ids of
 * games that may have this room code or player.  It may hold too many (a
 * transaction that has not committed, another text with the same hash), never
 * too few, so whoever looks up must check each candidate against the game.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_INDEX_H
#define GS_INDEX_H

#include "gs_table.h"

typedef enum GsIndexKind
{
	GS_INDEX_ROOM = 1,
	GS_INDEX_PLAYER = 2,
	GS_INDEX_OPEN = 3 /* by game type: waits, and has a free seat */
} GsIndexKind;

extern void gs_index_create(void);
extern void gs_index_attach(void);

/* Before the commit point; may fail (GS006). */
extern dsa_pointer gs_index_add(struct GsDatabase *db, GsIndexKind kind,
								const GsText *text, const pg_uuid_t *id,
								bool may_use_reserve);

/* Cannot fail. */
extern void gs_index_remove(struct GsDatabase *db, Oid dboid, dsa_pointer node);

/* At most max of them, oldest or newest first. */
extern pg_uuid_t *gs_index_some(GsIndexKind kind, const GsText *text, bool oldest_first,
								int max, int *n);

/* Candidates in a palloc'd array, newest first. */
extern pg_uuid_t *gs_index_find(GsIndexKind kind, const GsText *text, int *n);

#endif /* GS_INDEX_H */
