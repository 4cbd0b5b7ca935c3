/*
 * hokm_check.c: replays archived games of Hokm through the rules.
 *
 * The model: start from a new game, make every archived move in order under
 * the name of the archived player, and the rules must accept each of them and
 * end at the archived final state and result, to the letter.  Nothing that
 * was kept while the game was played takes part, but the names at the table.
 */
#include "hokm_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hokm_text.h"

/* A created game, four players who join, and the start. */
#define VERSION_BEFORE_MOVES 6

typedef struct HokmCheck
{
	Task task; /* must be first */
	HokmCheckSource *source;
	const PlayedGame *game;
	HokmGame board;
	bool game_next; /* the moves are replayed */
	Buf players;	/* as an array literal */
	Buf text;
	gamestate_param params[ARCHIVED_PARAMS];
	char bots[HOKM_SEATS][HOKM_BOT_SIZE];
} HokmCheck;

static void
check_next(Task *task, gamestate_call *call)
{
	HokmCheck *check = (HokmCheck *) task;

	if (check->game_next)
		archived_game_call(call, check->game->id, check->players.data, check->params);
	else
		archived_moves_call(call, check->game->id, check->params);
}

/* The seat of an archived player; HOKM_NONE for NULL, -2 for a stranger. */
static int
seat_of(const HokmCheck *check, const gamestate_result *result, size_t row)
{
	const char *player = gamestate_result_text(result, row, MOVE_PLAYER);

	if (player == NULL)
		return HOKM_NONE;
	for (int seat = 0; seat < HOKM_SEATS; seat++)
		if (strcmp(check->bots[seat], player) == 0)
			return seat;
	return -2;
}

/* One archived move on the board. */
static bool
replay_move(HokmCheck *check, const gamestate_result *result, size_t row)
{
	const char *event = gamestate_result_text(result, row, MOVE_EVENT);
	int seat = seat_of(check, result, row);
	HokmMove move;
	HokmStatus status;

	if (!check_number(check->game, "version of a move", result, row, MOVE_VERSION,
					  (int64_t) row + 1 + VERSION_BEFORE_MOVES))
		return false;
	if (seat != check->board.turn || !hokm_move_parse(event, seat, &move))
	{
		log_error(
			"archived game %s: move %zu is not a move of the player whose turn it is",
			check->game->id, row + 1);
		log_detail("The event is %.200s.", event);
		return false;
	}
	status = hokm_apply(&check->board, &move);
	if (status != HOKM_OK)
	{
		log_error("archived game %s: the rules refuse move %zu: %s", check->game->id,
				  row + 1, hokm_status_text(status));
		log_detail("The event is %.200s.", event);
		return false;
	}
	return true;
}

static bool
check_moves(HokmCheck *check, const gamestate_result *result)
{
	if (!check_rows(check->game, "archived_moves", result, check->game->moves))
		return false;
	for (size_t row = 0; row < check->game->moves; row++)
		if (!replay_move(check, result, row))
			return false;
	if (check->board.phase == HOKM_OVER)
		return true;
	log_error("archived game %s: the game is not over after the last move",
			  check->game->id);
	return false;
}

static bool
check_game(HokmCheck *check, const gamestate_result *result)
{
	const PlayedGame *game = check->game;
	char *players[HOKM_SEATS];
	HokmGame fresh;

	if (!check_archived_game(game, result, HOKM_GAME_TYPE))
		return false;
	hokm_init(&fresh);
	hokm_state_text(&fresh, &check->text);
	if (!check_text(game, "initial state", result, 0, GAME_INITIAL_STATE,
					check->text.data))
		return false;
	hokm_state_text(&check->board, &check->text);
	if (!check_text(game, "final state", result, 0, GAME_FINAL_STATE, check->text.data))
		return false;
	for (int seat = 0; seat < HOKM_SEATS; seat++)
		players[seat] = check->bots[seat];
	hokm_result_text(&check->board, players, &check->text);
	return check_text(game, "result", result, 0, GAME_RESULT, check->text.data);
}

static TaskOutcome
check_answer(Task *task, gamestate_result *result)
{
	HokmCheck *check = (HokmCheck *) task;

	if (!check->game_next)
	{
		if (!check_moves(check, result))
			return TASK_FAILED;
		check->game_next = true;
		return TASK_GOES_ON;
	}
	if (!check_game(check, result))
		return TASK_FAILED;
	check->source->checked++;
	check->source->moves += check->game->moves;
	return TASK_DONE;
}

static void
check_free(Task *task)
{
	HokmCheck *check = (HokmCheck *) task;

	buf_free(&check->players);
	buf_free(&check->text);
	free(check);
}

static const TaskOps check_ops = {check_next, check_answer, check_free};

static Task *
check_open(TaskSource *base)
{
	HokmCheckSource *source = (HokmCheckSource *) base;
	HokmCheck *check;
	size_t index;

	if (source->opened >= source->sample)
		return NULL;
	index =
		(size_t) ((uint64_t) source->opened++ * source->ledger->count / source->sample);
	check = xcalloc(1, sizeof(*check));
	check->task.ops = &check_ops;
	check->source = source;
	check->game = &source->ledger->games[index];
	hokm_init(&check->board);
	hokm_table_bots(source->seed, check->game->number, check->bots);
	buf_printf(&check->players, "{%s,%s,%s,%s}", check->bots[0], check->bots[1],
			   check->bots[2], check->bots[3]);
	return &check->task;
}

static uint64_t
check_done(const TaskSource *base)
{
	return ((const HokmCheckSource *) base)->checked;
}

static double
check_part(const TaskSource *base)
{
	const HokmCheckSource *source = (const HokmCheckSource *) base;

	return (double) source->checked / (double) source->sample;
}

void
hokm_check_source_init(HokmCheckSource *source, uint32_t sample, uint64_t seed,
					   const Ledger *ledger)
{
	*source =
		(HokmCheckSource){.source = {check_open, check_done, check_part},
						  .ledger = ledger,
						  .seed = seed,
						  .sample =
							  sample < ledger->count ? sample : (uint32_t) ledger->count};
}
