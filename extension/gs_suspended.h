/*-------------------------------------------------------------------------
 *
 * gs_suspended.h
 *	  gamestate.suspended: suspended games, a row each.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SUSPENDED_H
#define GS_SUSPENDED_H

#include "gs_table.h"
#include "gs_tier.h"

#include "utils/snapshot.h"

/* Why a game was suspended, as it stands in its row and in the event of the change. */
#define GS_SUSPENDED_BY_REQUEST	   "request"
#define GS_SUSPENDED_BY_INACTIVITY "inactivity"
#define GS_SUSPENDED_BY_MEMORY	   "memory"

/* What gs_tier.c asks for. */
extern bool gs_suspended_exists(const pg_uuid_t *id);
extern GsStoredGame *gs_suspended_get(const pg_uuid_t *id, bool want_payload,
									  MemoryContext mcxt);

/* Does this snapshot see a row of the game? */
extern bool gs_suspended_is_visible(const pg_uuid_t *id, Snapshot snapshot);

/*
 * The game as it was, its version the row's, states and log only if asked for;
 * NULL if it is not suspended.  Looks with the newest snapshot: the caller holds
 * its lock.
 */
extern GsGameCopy *gs_suspended_read(const pg_uuid_t *id, bool want_payload,
									 MemoryContext mcxt);

/* Suspended games of a type in which the player sits, in a palloc'd array. */
extern pg_uuid_t *gs_suspended_of_player(const GsText *game_type, const GsText *player,
										 int *n);

/* Rows come and go with the transaction, and are seen by it from then on. */
extern void gs_suspended_insert(const GsGameCopy *game, const char *reason);
extern void gs_suspended_delete(const pg_uuid_t *id);

#endif /* GS_SUSPENDED_H */
