/*-------------------------------------------------------------------------
 *
 * gs_stats_rule.h
 *	  What a game's result says about its players, by the default rule.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_STATS_RULE_H
#define GS_STATS_RULE_H

#include "postgres.h"

#include "utils/array.h"

typedef enum GsOutcome
{
	GS_OUTCOME_NONE = 0, /* the result does not say */
	GS_OUTCOME_WIN,
	GS_OUTCOME_LOSS,
	GS_OUTCOME_DRAW
} GsOutcome;

/* Of one player of a game. */
typedef struct GsStanding
{
	const char *player;
	int player_len;
	GsOutcome outcome;
	bool has_score;
	int64 score;
} GsStanding;

/* One for each player, in their order; palloc'd. */
extern GsStanding *gs_stats_rule(ArrayType *players, const text *result, int *n);

#endif /* GS_STATS_RULE_H */
