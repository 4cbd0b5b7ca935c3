/*-------------------------------------------------------------------------
 *
 * gs_partition.h
 *	  Partitions of the archive: is there one for a game, and making it.
 *
 * For the archiver, but for gs_partition_ensure_here(); all of it is local to
 * one process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PARTITION_H
#define GS_PARTITION_H

#include "gs_table.h"

/* once, when the archiver starts */
extern void gs_partition_init(void);

/*
 * Is there a place in both tables for a game of this type that ended then?
 * Answers from memory; false may also mean that it is not known.
 */
extern bool gs_partition_is_known(const GsText *game_type, TimestampTz ended_at);

/*
 * Make sure that there is.  Runs a transaction of its own; ERROR if it cannot
 * be done now (lock timeout) or at all.
 */
extern void gs_partition_ensure(const GsText *game_type, TimestampTz ended_at);

/*
 * The same within the caller's transaction, as gamestate_owner; says for which
 * interval it holds.  Locks the tables' parents until the transaction ends, and
 * waits for that as lock_timeout says.
 */
extern void gs_partition_ensure_here(const GsText *game_type, TimestampTz ended_at,
									 TimestampTz *from, TimestampTz *to);

/*
 * May the place be used already?  Not before all transactions have ended that
 * may have planned a query without it, see gs_partition.c.
 */
extern bool gs_partition_is_settled(const GsText *game_type, TimestampTz ended_at);

/* What is known has turned out to be wrong. */
extern void gs_partition_forget(void);

/* Games of this type were archived: its partitions are made ahead. */
extern void gs_partition_used(const GsText *game_type);

/*
 * Make partitions ahead where they are due, in transactions of their own; may
 * raise ERROR.  gs_partition_next_due() says when there may be work; 0 =
 * nothing known to be.
 */
extern void gs_partition_make_ahead(void);
extern TimestampTz gs_partition_next_due(void);

#endif /* GS_PARTITION_H */
