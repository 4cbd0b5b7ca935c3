/*-------------------------------------------------------------------------
 *
 * gs_player_stats.h
 *	  gamestate.player_stats: what players have done in archived games.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PLAYER_STATS_H
#define GS_PLAYER_STATS_H

#include "gs_hook.h"

/*
 * Count games whose rows have been inserted in this transaction.  As
 * gamestate_owner, not connected to SPI.
 */
extern void gs_player_stats_count(const GsBatchedGame *games, int n);

#endif /* GS_PLAYER_STATS_H */
