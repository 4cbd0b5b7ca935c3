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
	Buf text;  /* players, or the result */
	Buf metadata;
} Replay;

static void
replay_next(Task *task, Call *call)
{
	Replay *replay = (Replay *) task;
	Play *play = &replay->play;

	switch (replay->step)
	{
		case REPLAY_CREATE:
			record_players_literal(&replay->view, &replay->text);
			*call = (Call){CALL_CREATE_GAME,
						   {replay->view.game_type, play->state.data, replay->text.data,
							replay->metadata.data}};
			break;
		case REPLAY_MOVE:
			*call = (Call){CALL_APPLY_MOVE,
						   {play_game(play)->id, play->version_text, replay->event.data,
							play->state.data,
							record_player(&replay->view, replay->done_moves)}};
			break;
		case REPLAY_CHECK:
			*call = (Call){CALL_GET_STATE, {play_game(play)->id}};
			break;
		case REPLAY_FINISH:
			record_text(&replay->view, replay->view.result, &replay->text);
			*call = (Call){CALL_FINISH_GAME,
						   {play_game(play)->id,
							replay->view.result == JSON_NONE ? NULL : replay->text.data,
							play->version_text}};
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
replay_answer(Task *task, const PGresult *result)
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
