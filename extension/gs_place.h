/*-------------------------------------------------------------------------
 *
 * gs_place.h
 *	  What the archiver remembers of partitions: where there is a place for a
 *	  game, and whether it may be used already.
 *
 * All of it is local to the archiver's process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PLACE_H
#define GS_PLACE_H

#include "gs_table.h"

/* once, when the archiver starts */
extern void gs_place_init(void);

/*
 * Is there a place in both tables for a game of this type that ended then?
 * Answers from memory; false may also mean that it is not known.
 */
extern bool gs_place_is_known(const GsText *game_type, TimestampTz ended_at);

/*
 * Make sure that there is.  Runs a transaction of its own; ERROR if it cannot
 * be done now (lock timeout) or at all.
 */
extern void gs_place_ensure(const GsText *game_type, TimestampTz ended_at);

/*
 * May the place be used already?  Not before all transactions have ended that
 * may have planned a query without it, see gs_place.c.
 */
extern bool gs_place_is_settled(const GsText *game_type, TimestampTz ended_at);

/* What is known has turned out to be wrong. */
extern void gs_place_forget(void);

/* Games of this type were archived: its next partition will be needed. */
extern void gs_place_used(const GsText *game_type);

/*
 * Look at the partitions that will be needed next, in a transaction of its own;
 * may raise ERROR.  gs_place_next_due() says when that may be worth while; 0 =
 * not that we know.
 */
extern void gs_place_look_ahead(void);
extern TimestampTz gs_place_next_due(void);

#endif /* GS_PLACE_H */
