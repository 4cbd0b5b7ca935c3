/*-------------------------------------------------------------------------
 *
 * gs_limits.h
 *	  Limits of a game type's policy on states, events and logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LIMITS_H
#define GS_LIMITS_H

#include "gs_target.h"

/* Only to be called if gs_policy_limits_moves(); the game's lock is held. */
extern bool gs_limits_allow_move(const GsTarget *target, const GsText *event,
								 const GsText *state, GsRefusal *refusal);

/* ERROR if it is too large: the state of a new game, one that a patch has made. */
extern void gs_limits_check_state(const GsText *game_type, const GsText *state);
extern void gs_limits_check_patched(const GsTarget *target, const GsText *state);

/* ERROR if there is no room for another change. */
extern void gs_limits_check_log(const GsTarget *target);

#endif /* GS_LIMITS_H */
