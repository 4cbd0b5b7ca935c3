/*
 * play.c: what every game that is played has in common.
 *
 * The model:
 * 1. A game is created at version 1, and every change adds one: what the
 *    server returns is compared with what we count.
 * 2. Now and then get_state is asked right after a move, and its answer is
 *    compared with what was written, to the byte.
 * 3. The bytes of the states and events are added up, for the compression
 *    ratio: the raw size of a game is its first state, its last state and its
 *    log as a JSON array of events.
 */
#include "play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"

void
play_init(Play *play, const TaskOps *ops, Ledger *ledger, uint32_t number)
{
	play->task.ops = ops;
	play->ledger = ledger;
	play->number = number;
	rng_seed(&play->checks, number, 0x6368656B);
}

void
play_free(Play *play)
{
	buf_free(&play->state);
}

PlayedGame *
play_game(const Play *play)
{
	return &play->ledger->games[play->entry];
}

/* Has the call succeeded?  Else says why not. */
static bool
is_good(const Play *play, gamestate_result *result)
{
	if (gamestate_result_status(result) == GAMESTATE_OK)
		return true;
	report_call_error(play->task.call_name, gamestate_result_error(result));
	if (play->version > 0)
		log_detail("The game is %s, at version %" PRId64 ".", play_game(play)->id,
				   play->version);
	return false;
}

bool
play_created(Play *play, gamestate_result *result, const char *game_type)
{
	char id[GAMESTATE_UUID_TEXT];
	PlayedGame *game;

	if (!is_good(play, result) || !gamestate_result_game_id(result, &play->id))
		return false;
	gamestate_uuid_format(&play->id, id);
	play->entry = ledger_add(play->ledger, id, game_type, play->number);
	game = play_game(play);
	game->raw_bytes = play->state.len + strlen("[]");
	game->all_states_bytes = game->raw_bytes;
	play->version = 1;
	return true;
}

bool
play_advanced(Play *play, gamestate_result *result)
{
	int64_t version;

	if (!is_good(play, result))
		return false;
	version = gamestate_result_version(result);
	if (version != play->version + 1)
	{
		log_error("%s returned version %" PRId64 " of game %s, expected %" PRId64,
				  play->task.call_name, version, play_game(play)->id, play->version + 1);
		return false;
	}
	play->version = version;
	return true;
}

bool
play_moved(Play *play, gamestate_result *result, const Buf *event)
{
	PlayedGame *game;
	size_t log_bytes;

	if (!play_advanced(play, result))
		return false;
	game = play_game(play);
	log_bytes = event->len + (game->moves > 0 ? strlen(",") : 0);
	game->moves++;
	play->ledger->moves++;
	game->raw_bytes += log_bytes;
	game->all_states_bytes += log_bytes + play->state.len;
	return true;
}

bool
play_wants_check(Play *play)
{
	return rng_below(&play->checks, STATE_CHECK_INTERVAL) == 0;
}

bool
play_check_state(Play *play, gamestate_result *result)
{
	gamestate_data state;

	if (!is_good(play, result))
		return false;
	state = gamestate_result_state(result);
	if (state.data == NULL || state.len != play->state.len ||
		memcmp(state.data, play->state.data, state.len) != 0)
	{
		log_error("get_state of game %s at version %" PRId64 " is not what was written",
				  play_game(play)->id, play->version);
		log_detail("Written: %.300s", play->state.data);
		log_detail("Read: %.300s",
				   state.data != NULL ? (const char *) state.data : "nothing");
		return false;
	}
	play->ledger->states_compared++;
	return true;
}

bool
play_finished(Play *play, gamestate_result *result, bool recorded_states)
{
	PlayedGame *game;

	if (!play_advanced(play, result))
		return false;
	game = play_game(play);
	game->version = play->version;
	game->finished = true;
	if (recorded_states)
		game->raw_bytes = game->all_states_bytes;
	else if (game->moves > 0)
		game->raw_bytes += play->state.len;
	ledger_finish(play->ledger, game);
	return true;
}
