/*
 * replay.c: plays recorded games.
 *
 * The model: a game is created active, with its players, its metadata and its
 * initial state; each recorded move is one apply_move, with the state that
 * belongs to it and the version that we expect; then it is finished with the
 * recorded result.  Times in the records stay in the metadata: the time of a
 * move is the server's.
 */
#include "replay.h"

#include <stdlib.h>

#include "play.h"

typedef enum ReplayStep
{
	REPLAY_CREATE, /* next: MOVE, FINISH */
	REPLAY_MOVE,   /* next: CHECK, MOVE, FINISH */
	REPLAY_CHECK,  /* next: MOVE, FINISH */
	REPLAY_FINISH
} ReplayStep;

typedef struct Replay
{
	Play play; /* must be first */
	RecordView view;
	ReplayStep step;
	int done_moves;
	Buf event; /* the move that is made now */
	Buf text;  /* the result */
	Buf metadata;
} Replay;

static void
replay_next(Task *task, gamestate_call *call)
{
	Replay *replay = (Replay *) task;
	Play *play = &replay->play;
	const RecordView *view = &replay->view;

	switch (replay->step)
	{
		case REPLAY_CREATE:
			gamestate_call_create_game(
				call,
				&(gamestate_new_game){.game_type = view->game_type,
									  .state = buf_document(&play->state),
									  .players = (const char *const *) view->players,
									  .num_players = (size_t) view->player_count,
									  .metadata = buf_document(&replay->metadata)});
			break;
		case REPLAY_MOVE:
			gamestate_call_apply_move(
				call,
				&(gamestate_move){.game_id = &play->id,
								  .expected_version = play->version,
								  .event = buf_document(&replay->event),
								  .state = buf_document(&play->state),
								  .player = record_player(view, replay->done_moves)});
			break;
		case REPLAY_CHECK:
			gamestate_call_get_state(call, &play->id);
			break;
		case REPLAY_FINISH:
			record_text(view, view->result, &replay->text);
			gamestate_call_finish_game(
				call, &(gamestate_finish){.game_id = &play->id,
										  .result = view->result == JSON_NONE
														? (gamestate_data){NULL, 0}
														: buf_document(&replay->text),
										  .expected_version = play->version});
			break;
	}
}

/* Get the next move ready, or the end. */
static void
prepare_move(Replay *replay)
{
	if (replay->done_moves == replay->view.move_count)
	{
		replay->step = REPLAY_FINISH;
		return;
	}
	replay->step = REPLAY_MOVE;
	record_text(&replay->view, replay->view.moves[replay->done_moves], &replay->event);
	record_state(&replay->view, replay->done_moves + 1, &replay->play.state);
}

static TaskOutcome
replay_answer(Task *task, gamestate_result *result)
{
	Replay *replay = (Replay *) task;
	Play *play = &replay->play;

	switch (replay->step)
	{
		case REPLAY_CREATE:
			if (!play_created(play, result, replay->view.game_type))
				return TASK_FAILED;
			prepare_move(replay);
			break;
		case REPLAY_MOVE:
			if (!play_moved(play, result, &replay->event))
				return TASK_FAILED;
			replay->done_moves++;
			if (play_wants_check(play) || replay->done_moves == replay->view.move_count)
				replay->step = REPLAY_CHECK;
			else
				prepare_move(replay);
			break;
		case REPLAY_CHECK:
			if (!play_check_state(play, result))
				return TASK_FAILED;
			prepare_move(replay);
			break;
		case REPLAY_FINISH:
			if (!play_finished(play, result, replay->view.states != NULL))
				return TASK_FAILED;
			return TASK_DONE;
	}
	return TASK_GOES_ON;
}

static void
replay_free(Task *task)
{
	Replay *replay = (Replay *) task;

	record_close(&replay->view);
	buf_free(&replay->event);
	buf_free(&replay->text);
	buf_free(&replay->metadata);
	play_free(&replay->play);
	free(replay);
}

static const TaskOps replay_ops = {replay_next, replay_answer, replay_free};

static Task *
replay_open(TaskSource *base)
{
	ReplaySource *source = (ReplaySource *) base;
	uint64_t total = (uint64_t) source->records->count * source->repeat;
	uint32_t number;
	Replay *replay;
	const char *error;

	if (source->opened >= total)
		return NULL;
	number = (uint32_t) (source->opened++ % source->records->count);
	replay = xcalloc(1, sizeof(*replay));
	play_init(&replay->play, &replay_ops, source->ledger, number);

	/* It could be opened when the file was read, so it can be now. */
	if (!record_open(&source->records->records[number], &replay->view, &error))
		abort();
	if (replay->view.metadata == JSON_NONE)
		buf_puts(&replay->metadata, "{}");
	else
		record_text(&replay->view, replay->view.metadata, &replay->metadata);
	record_state(&replay->view, 0, &replay->play.state);
	return &replay->play.task;
}

static uint64_t
replay_done(const TaskSource *base)
{
	return ((const ReplaySource *) base)->ledger->finished;
}

static double
replay_part(const TaskSource *base)
{
	const ReplaySource *source = (const ReplaySource *) base;
	double total = (double) source->records->moves * source->repeat;

	return total > 0 ? (double) source->ledger->moves / total : 1.0;
}

void
replay_source_init(ReplaySource *source, const RecordSet *records, uint32_t repeat,
				   Ledger *ledger)
{
	*source = (ReplaySource){.source = {replay_open, replay_done, replay_part},
							 .records = records,
							 .ledger = ledger,
							 .repeat = repeat};
}
