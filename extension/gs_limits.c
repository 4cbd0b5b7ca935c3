/*-------------------------------------------------------------------------
 *
 * gs_limits.c
 *	  Limits of a game type's policy on states, events and logs.
 *
 * The model:
 *	1. The settings (gamestate.max_state_size and the like) hold for all games and
 *	   are looked at first; a policy can only ask for less.  The default policy's
 *	   limits hold for types that do not say.
 *	2. They are as of now, also for games that exist: a state that is larger stays,
 *	   the next one may not be.
 *	3. Where no policy has one this costs moves nothing: who makes a move asks first
 *	   whether any has (gs_policy_limits_moves()).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_errors.h"
#include "gs_limits.h"
#include "gs_policy.h"

/* limit 0 = none; column is the policy's */
static bool
is_within(Size len, const char *what, int limit, const char *column, GsRefusal *refusal)
{
	if (likely(limit == 0 || len <= (Size) limit))
		return true;
	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_GS_TOO_LARGE,
					.message = psprintf("%s is too large", what),
					.detail =
						psprintf("It has %zu bytes, the limit of its game type is %d.",
								 len, limit),
					.hint = psprintf("Raise %s in gamestate.policy.", column)};
	return false;
}

static bool
state_fits(const GsPolicy *policy, const GsText *state, GsRefusal *refusal)
{
	return state->data == NULL || is_within(state->len, "state", policy->max_state_size,
											"max_state_size", refusal);
}

static bool
log_fits(const GsPolicy *policy, const GsTarget *target, GsRefusal *refusal)
{
	if (likely(policy->max_log == 0 || target->h.version < policy->max_log ||
			   target->h.history == GS_HISTORY_LAST))
		return true;
	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_GS_TOO_LARGE,
					.message =
						psprintf("log of game %s is full", gs_id_text(&target->id)),
					.detail = psprintf("The limit of its game type is %d changes.",
									   policy->max_log),
					.hint = "Finish the game, or raise max_log in gamestate.policy."};
	return false;
}

bool
gs_limits_allow_move(const GsTarget *target, const GsText *event, const GsText *state,
					 GsRefusal *refusal)
{
	char type_data[GS_MAX_ID_LENGTH];
	GsText type = gs_target_type(target, type_data);
	const GsPolicy *policy = gs_policy(&type);

	return is_within(event->len, "event", policy->max_event_size, "max_event_size",
					 refusal) &&
		   state_fits(policy, state, refusal) && log_fits(policy, target, refusal);
}

void
gs_limits_check_state(const GsText *game_type, const GsText *state)
{
	GsRefusal refusal;

	if (!state_fits(gs_policy(game_type), state, &refusal))
		gs_raise(&refusal);
}

void
gs_limits_check_patched(const GsTarget *target, const GsText *state)
{
	char type_data[GS_MAX_ID_LENGTH];
	GsText type;

	if (likely(!gs_policy_limits_moves()))
		return;
	type = gs_target_type(target, type_data);
	gs_limits_check_state(&type, state);
}

void
gs_limits_check_log(const GsTarget *target)
{
	char type_data[GS_MAX_ID_LENGTH];
	GsText type;
	GsRefusal refusal;

	if (likely(!gs_policy_limits_moves()))
		return;
	type = gs_target_type(target, type_data);
	if (!log_fits(gs_policy(&type), target, &refusal))
		gs_raise(&refusal);
}
