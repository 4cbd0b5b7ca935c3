/*-------------------------------------------------------------------------
 *
 * gs_ranking.h
 *	  Rankings of players that are kept as gamestate.player_stats changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RANKING_H
#define GS_RANKING_H

#include "postgres.h"

#include "utils/palloc.h"

/* Bits of a value that one level of gamestate.ranking_count takes away; see gs_ranking.c. */
#define GS_RANKING_BITS	  "8"
#define GS_RANKING_LEVELS 8

/* The value of a metric, as an expression over a row of gamestate.player_stats. */
#define GS_RANKING_VALUE(metric, row)                       \
	"CASE " metric " WHEN 'games' THEN " row ".games "      \
	"WHEN 'wins' THEN " row ".wins WHEN 'losses' THEN " row \
	".losses WHEN 'draws' THEN " row ".draws "              \
	"ELSE (" row ".counters ->> " metric ")::bigint END"

/* Settings for plans that depend on no statistics: for a nest level of its own. */
extern void gs_ranking_settings(void);

/* A task of the maintenance worker: make rankings that policies ask for, drop others. */
extern void gs_ranking_run(MemoryContext mcxt);

#endif /* GS_RANKING_H */
