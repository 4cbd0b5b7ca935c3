/*-------------------------------------------------------------------------
 *
 * gs_lock.h
 *	  Heavyweight locks on games and room codes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LOCK_H
#define GS_LOCK_H

#include "gs_table.h"

/*
 * Advisory lock tags of our own: field 4 (objsubid in pg_locks) is neither 1
 * nor 2, which pg_advisory_lock() uses.  Fields 2 and 3 are a 64-bit hash.
 */
#define GS_LOCKCLASS_GAME  0x4701 /* 18177 */
#define GS_LOCKCLASS_ROOM  0x4702 /* 18178 */
#define GS_LOCKCLASS_LOAD  0x4703 /* 18179: whoever loads the games of a database */
#define GS_LOCKCLASS_NAMES 0x4704 /* 18180: ids and room codes that callers choose */
#define GS_LOCKCLASS_MATCH 0x4705 /* 18181: who looks for a seat in a room of some type */

/*
 * Take the lock until the transaction ends.  Waits like every heavyweight
 * lock (deadlock detection, lock_timeout, cancel).  gs_lock_game() returns
 * false only with nowait.  A transaction that holds
 * gamestate.max_games_per_transaction of them, or a full lock table, is an
 * ERROR (54000).
 */
extern bool gs_lock_game(const pg_uuid_t *id, bool nowait);
extern void gs_lock_room(const GsText *room_code);
extern void gs_lock_match(const GsText *game_type);

/*
 * Held shared, to the end of the transaction, by whoever takes a room code
 * or an id of the caller's choice.  With it held exclusively nobody else can,
 * so that any number of them can be taken without a lock on each.
 */
extern void gs_lock_names(bool exclusive);

/* Only one process loads a database's games at a time. */
extern void gs_lock_load(void);
extern void gs_unlock_load(void);

/*
 * Give up the locks that this call has taken since the mark: it changes nothing.
 */
extern int gs_lock_mark(void);
extern void gs_unlock_to(int mark);

/*
 * Give up all of them before the transaction has ended: after a light commit,
 * whose changes are in memory.  The resource owner of the transaction is current.
 */
extern void gs_unlock_all(void);

/* at the end of a subtransaction, of a transaction */
extern void gs_lock_subxact_end(int level, bool commit);
extern void gs_lock_reset(void);

#endif /* GS_LOCK_H */
