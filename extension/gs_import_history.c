/*-------------------------------------------------------------------------
 *
 * gs_import_history.c
 *	  The earlier states of a game that is imported.
 *
 * The model:
 *	1. A file that `gamestate export` has written has the deltas that lead back
 *	   (gs_delta.h).  They are followed to the state before the first entry: each
 *	   state on the way must be one that the game could have had, and the last
 *	   one that which the game is said to have begun with.
 *	2. A file of another system has the state after an entry instead, where it is
 *	   known.  What is not said is as it was before.  Deltas are made of them.
 *	3. Without either there are the first state and the last one.
 *
 * Nothing of it is trusted: it comes from a file.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_delta.h"
#include "gs_history.h"
#include "gs_import.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

static _Noreturn void
refuse(int sqlerrcode, const char *message)
{
	ereport(ERROR, (errcode(sqlerrcode), errmsg_internal("%s", message)));
	pg_unreachable();
}

static bool
same_state(const GsText *a, const GsText *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Could a game have had this state?  ERROR if not. */
static void
check_state(const GsGameCopy *game, const GsText *state)
{
	char *text;

	if (game->h.encoding == GS_ENCODING_BYTES)
		return;
	if (!pg_verifymbstr(state->data, (int) state->len, true))
		refuse(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
			   "a delta of the log leads to a state that is no text");
	text = pnstrdup(state->data, state->len);
	(void) DirectFunctionCall1(json_in, CStringGetDatum(text));
	pfree(text);
}

/* From the last state to that before the first entry. */
static void
follow_deltas(GsImport *import)
{
	GsGameCopy *game = &import->game;
	GsText state = game->state;
	bool own = false;

	for (uint64 i = game->nentries; i-- > 0;)
	{
		GsText before;
		const char *wrong;

		CHECK_FOR_INTERRUPTS();
		if (game->entries[i].delta == NULL)
			continue;
		wrong = gs_history_before(&state, &game->entries[i], &before);
		if (wrong)
			refuse(ERRCODE_DATA_CORRUPTED, psprintf("entry %llu of the log: %s",
													(unsigned long long) i + 1, wrong));
		check_state(game, &before);
		if (own)
			pfree(unconstify(char *, state.data));
		own = true;
		state = before;
	}
	if (game->h.version != (int64) game->nentries + 1)
		state = (GsText){NULL, 0}; /* the log begins later: so does the history */
	else if (import->has_initial && !same_state(&state, &game->initial))
		refuse(ERRCODE_DATA_CORRUPTED,
			   "the deltas of the log do not lead back to the initial state");
	game->initial = state;
}

/* The delta back from a state to the one before, as a running game's log has it. */
static void
make_delta(GsEntry *e, const GsText *state, const GsText *before)
{
	Size room = gs_delta_back_room(before->len, 0);
	char *delta = MemoryContextAllocHuge(CurrentMemoryContext, room);

	e->delta = delta;
	e->delta_len =
		gs_delta_encode(state->data, state->len, before->data, before->len, delta, room);
	if (e->delta_len == 0)
		e->delta_len = gs_delta_whole(before->data, before->len, delta, room);
}

static void
take_states(GsImport *import, const GsText *states)
{
	GsGameCopy *game = &import->game;
	GsText state = game->initial;

	for (uint64 i = 0; i < game->nentries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (states[i].data == NULL)
			continue;
		make_delta(&game->entries[i], &states[i], &state);
		state = states[i];
	}
	if (import->has_final && !same_state(&state, &game->state))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE,
			   "the last state in the log is not the final state");
	game->state = state;
}

void
gs_import_history(GsImport *import, const GsText *states)
{
	GsGameCopy *game = &import->game;
	bool has_deltas = false;
	bool has_states = false;
	bool has_moves = false;

	for (uint64 i = 0; i < game->nentries; i++)
	{
		has_moves = has_moves || game->entries[i].kind == GS_KIND_MOVE;
		has_deltas = has_deltas || game->entries[i].delta != NULL;
		has_states = has_states || states[i].data != NULL;
	}
	if (has_deltas && has_states)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "the log has both states and deltas");
	game->h.history = has_deltas || has_states ? GS_HISTORY_FULL : GS_HISTORY_EVENTS;
	/* a whole log without a move: the one state there is was the state all the time */
	if (!has_moves && game->h.version == (int64) game->nentries + 1 &&
		same_state(&game->state, &game->initial))
		game->h.history = GS_HISTORY_FULL;
	if (has_deltas)
		follow_deltas(import);
	if (has_states)
		take_states(import, states);
}
