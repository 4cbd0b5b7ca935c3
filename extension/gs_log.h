/*-------------------------------------------------------------------------
 *
 * gs_log.h
 *	  The log of a running game, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LOG_H
#define GS_LOG_H

#include "gs_table.h"

/* What a change needs besides what is there. */
typedef struct GsLogPlan
{
	bool new_chunk; /* else the entries fit into the last one */
	int64 base;		/* of the entries in the new chunk */
	Size size;		/* of it */
} GsLogPlan;

/* All of this is for gs_table_change.c; the change has entries. */

/* The new entries, oldest first, into change->entry_array. */
extern void gs_log_order(GsChange *change);

/* Plan for a game that is there; the caller holds its partition lock.  NULL: a new game. */
extern GsLogPlan gs_log_plan(GsChange *change, const GsGame *game);

/* Get the memory for it; may fail (GS006). */
extern void gs_log_reserve(GsChange *change, const GsLogPlan *plan);

/*
 * Put the entries into the log.  Cannot fail; the caller holds the partition lock
 * exclusively.  Returns chunks for gs_log_free().
 */
extern dsa_pointer gs_log_install(GsChange *change, GsGame *game);

/* Free a chunk and those behind it. */
extern void gs_log_free(struct GsDatabase *db, dsa_pointer chunk);

#endif /* GS_LOG_H */
