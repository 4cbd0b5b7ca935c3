/*
 * Functions that do nothing, for the benchmark: the least that a call of
 * gamestate.apply_move and of gamestate.get_state can cost.
 *
 * They take the same arguments and return values of the same size, so what they
 * need is what the protocol, the executor and json's input function need.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#define NOOP_STATE_SIZE 2048

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(gs_noop_move);
PG_FUNCTION_INFO_V1(gs_noop_state);

/* (game_id uuid, expected_version bigint, event json, state json, player text) */
Datum
gs_noop_move(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_INT64(1) + 1);
}

/* (game_id uuid) returns json: 2 KB, copied as a stored state has to be */
Datum
gs_noop_state(PG_FUNCTION_ARGS)
{
	static char state[NOOP_STATE_SIZE];

	if (state[0] == '\0')
	{
		memset(state, 'x', sizeof(state));
		state[0] = state[sizeof(state) - 1] = '"';
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(state, sizeof(state)));
}
