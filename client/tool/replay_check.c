/*
 * replay_check.c: compares archived games with the records they were played
 * from: type, status, version, players, metadata, result, first and last
 * state, and every move in order, to the letter.
 */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

typedef struct ReplayCheck
{
	Task task; /* must be first */
	ReplayCheckSource *source;
	const PlayedGame *game;
	RecordView view;
	bool moves_next; /* the game itself is checked */
	Buf players;
	Buf text;
	gamestate_param params[ARCHIVED_PARAMS];
} ReplayCheck;

static void
check_next(Task *task, gamestate_call *call)
{
	ReplayCheck *check = (ReplayCheck *) task;

	if (check->moves_next)
		archived_moves_call(call, check->game->id, check->params);
	else
		archived_game_call(call, check->game->id, check->players.data, check->params);
}

/* A json column against a node of the record; JSON_NONE stands for `absent`. */
static bool
check_node(ReplayCheck *check, const char *what, const gamestate_result *result,
		   size_t column, JsonNode node, const char *absent)
{
	record_text(&check->view, node, &check->text);
	return check_text(check->game, what, result, 0, column,
					  node == JSON_NONE ? absent : check->text.data);
}

static bool
check_state(ReplayCheck *check, const char *what, const gamestate_result *result,
			size_t column, int moves)
{
	record_state(&check->view, moves, &check->text);
	return check_text(check->game, what, result, 0, column, check->text.data);
}

static bool
check_game(ReplayCheck *check, const gamestate_result *result)
{
	const RecordView *view = &check->view;

	return check_archived_game(check->game, result, view->game_type) &&
		   check_node(check, "metadata", result, GAME_METADATA, view->metadata, "{}") &&
		   check_node(check, "result", result, GAME_RESULT, view->result, NULL) &&
		   check_state(check, "initial state", result, GAME_INITIAL_STATE, 0) &&
		   check_state(check, "final state", result, GAME_FINAL_STATE, view->move_count);
}

static bool
check_moves(ReplayCheck *check, const gamestate_result *result)
{
	const RecordView *view = &check->view;

	if (!check_rows(check->game, "archived_moves", result, (size_t) view->move_count))
		return false;
	for (int i = 0; i < view->move_count; i++)
	{
		char what[48];

		record_text(view, view->moves[i], &check->text);
		snprintf(what, sizeof(what), "move %d", i + 1);
		if (!check_text(check->game, what, result, (size_t) i, MOVE_EVENT,
						check->text.data))
			return false;
		snprintf(what, sizeof(what), "version of move %d", i + 1);
		if (!check_number(check->game, what, result, (size_t) i, MOVE_VERSION, i + 2))
			return false;
		snprintf(what, sizeof(what), "player of move %d", i + 1);
		if (!check_text(check->game, what, result, (size_t) i, MOVE_PLAYER,
						record_player(view, i)))
			return false;
	}
	return true;
}

static TaskOutcome
check_answer(Task *task, gamestate_result *result)
{
	ReplayCheck *check = (ReplayCheck *) task;

	if (!check->moves_next)
	{
		if (!check_game(check, result))
			return TASK_FAILED;
		check->moves_next = true;
		return TASK_GOES_ON;
	}
	if (!check_moves(check, result))
		return TASK_FAILED;
	check->source->checked++;
	check->source->moves += (uint64_t) check->view.move_count;
	return TASK_DONE;
}

static void
check_free(Task *task)
{
	ReplayCheck *check = (ReplayCheck *) task;

	record_close(&check->view);
	buf_free(&check->players);
	buf_free(&check->text);
	free(check);
}

static const TaskOps check_ops = {check_next, check_answer, check_free};

static Task *
check_open(TaskSource *base)
{
	ReplayCheckSource *source = (ReplayCheckSource *) base;
	ReplayCheck *check;
	const char *error;

	if (source->opened >= source->ledger->count)
		return NULL;
	check = xcalloc(1, sizeof(*check));
	check->task.ops = &check_ops;
	check->source = source;
	check->game = &source->ledger->games[source->opened++];

	/* It could be opened when the file was read, so it can be now. */
	if (!record_open(&source->records->records[check->game->number], &check->view,
					 &error))
		abort();
	record_players_literal(&check->view, &check->players);
	return &check->task;
}

static uint64_t
check_done(const TaskSource *base)
{
	return ((const ReplayCheckSource *) base)->checked;
}

static double
check_part(const TaskSource *base)
{
	const ReplayCheckSource *source = (const ReplayCheckSource *) base;

	return (double) source->checked / (double) source->ledger->count;
}

void
replay_check_source_init(ReplayCheckSource *source, const RecordSet *records,
						 const Ledger *ledger)
{
	*source = (ReplayCheckSource){.source = {check_open, check_done, check_part},
								  .records = records,
								  .ledger = ledger};
}
