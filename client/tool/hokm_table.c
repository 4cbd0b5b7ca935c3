/*
 * hokm_table.c: plays Hokm, four bots a table.
 *
 * The model:
 * 1. A table is opened as a waiting room with a room code; the four bots
 *    join; the game is started.  If the code is taken (another program on the
 *    same server may draw the same), another one is drawn.
 * 2. Each event is one apply_move: the choice of the hakem and each deal are
 *    the server's own moves (no player), the trump and each card are a
 *    player's.
 * 3. A move is drawn, made on our own board, and sent with the board that
 *    results.  Nobody else plays at this table, so the server must agree.
 * 4. Bots play a random legal card.  A hakem names the suit of which the five
 *    cards show most, the higher cards deciding between equals.
 * 5. All that is random comes from the seed and the number of the table, so a
 *    run with the same seed plays the same games, however they interleave.
 */
#include "hokm_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gamestate_errors.h"
#include "hokm_text.h"
#include "play.h"

#define ROOM_CODE_SIZE 7
#define STREAM_BOTS	   UINT64_C(0x100000000)
#define STREAM_ROOMS   UINT64_C(0x200000000)
#define STREAM_CARDS   UINT64_C(0x300000000)

typedef enum TableStep
{
	TABLE_OPEN,	 /* next: OPEN (code taken), JOIN */
	TABLE_JOIN,	 /* next: JOIN, START */
	TABLE_START, /* next: MOVE */
	TABLE_MOVE,	 /* next: CHECK, MOVE, FINISH */
	TABLE_CHECK, /* next: MOVE, FINISH */
	TABLE_FINISH
} TableStep;

typedef struct Table
{
	Play play; /* must be first */
	HokmSource *source;
	TableStep step;
	int joined;
	HokmGame game;
	HokmMove move; /* the move that is made now */
	Buf event;	   /* its text; in the end the result */
	Buf metadata;
	Rng cards;
	Rng rooms;
	char room_code[ROOM_CODE_SIZE];
	char bots[HOKM_SEATS][HOKM_BOT_SIZE];
} Table;

void
hokm_table_bots(uint64_t seed, uint32_t number, char bots[HOKM_SEATS][HOKM_BOT_SIZE])
{
	uint32_t drawn[HOKM_SEATS];
	Rng rng;

	rng_seed(&rng, seed, STREAM_BOTS + number);
	for (int seat = 0; seat < HOKM_SEATS; seat++)
	{
		bool again;

		do
		{
			again = false;
			drawn[seat] = rng_below(&rng, HOKM_BOTS);
			for (int other = 0; other < seat; other++)
				again |= drawn[other] == drawn[seat];
		} while (again);
		snprintf(bots[seat], HOKM_BOT_SIZE, "bot_%04" PRIu32, drawn[seat]);
	}
}

/* Letters that nobody mistakes for digits or for each other. */
static void
draw_room_code(Table *table)
{
	static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ";

	for (int i = 0; i < ROOM_CODE_SIZE - 1; i++)
		table->room_code[i] = letters[rng_below(&table->rooms, sizeof(letters) - 1)];
	table->room_code[ROOM_CODE_SIZE - 1] = '\0';
}

/* Fisher and Yates. */
static void
shuffle(Rng *rng, HokmCard deck[HOKM_CARDS])
{
	for (int i = 0; i < HOKM_CARDS; i++)
		deck[i] = i;
	for (uint32_t i = HOKM_CARDS - 1; i > 0; i--)
	{
		uint32_t other = rng_below(rng, i + 1);
		HokmCard card = deck[i];

		deck[i] = deck[other];
		deck[other] = card;
	}
}

/* The suit of which the hand has most; the higher cards decide a tie. */
static int
choose_trump(HokmCardSet hand)
{
	int best = 0;
	int best_weight = -1;

	for (int suit = 0; suit < HOKM_SUITS; suit++)
	{
		int weight = 0;

		for (int rank = 0; rank < HOKM_RANKS; rank++)
			if ((hand & hokm_card_bit((suit * HOKM_RANKS + rank))) != 0)
				weight += 100 + rank;
		if (weight > best_weight)
		{
			best = suit;
			best_weight = weight;
		}
	}
	return best;
}

/* One of the cards, each as likely as the others. */
static HokmCard
choose_card(Rng *rng, HokmCardSet legal)
{
	uint32_t skip = rng_below(rng, (uint32_t) __builtin_popcountll(legal));

	while (skip-- > 0)
		legal &= legal - 1;
	return __builtin_ctzll(legal);
}

/* Draw the move that is due in this game. */
static void
draw_move(Rng *rng, const HokmGame *game, HokmMove *move)
{
	move->seat = game->turn;
	switch (game->phase)
	{
		case HOKM_CHOOSE_HAKEM:
			move->type = HOKM_MOVE_HAKEM;
			shuffle(rng, move->cards);
			move->count = 1;
			while (hokm_rank(move->cards[move->count - 1]) != HOKM_RANKS - 1)
				move->count++;
			break;
		case HOKM_DEAL:
			move->type = HOKM_MOVE_DEAL;
			shuffle(rng, move->cards);
			move->count = HOKM_CARDS;
			break;
		case HOKM_TRUMP:
			move->type = HOKM_MOVE_TRUMP;
			move->suit = choose_trump(game->hands[game->turn]);
			break;
		case HOKM_PLAY:
			move->type = HOKM_MOVE_PLAY;
			move->card = choose_card(rng, hokm_legal(game, game->turn));
			break;
		case HOKM_OVER:
			break;
	}
}

/* Points of the team that is ahead, as far as they count for the end. */
static uint64_t
best_score(const HokmGame *game)
{
	int best = game->score[0] > game->score[1] ? game->score[0] : game->score[1];

	return (uint64_t) (best < HOKM_POINTS_TO_WIN ? best : HOKM_POINTS_TO_WIN);
}

/* Get the next move ready, or the end; false if our own rules refuse it. */
static bool
prepare_move(Table *table)
{
	uint64_t points = best_score(&table->game);
	HokmStatus status;

	if (table->game.phase == HOKM_OVER)
	{
		char *players[HOKM_SEATS];

		for (int seat = 0; seat < HOKM_SEATS; seat++)
			players[seat] = table->bots[seat];
		hokm_result_text(&table->game, players, &table->event);
		table->step = TABLE_FINISH;
		return true;
	}
	draw_move(&table->cards, &table->game, &table->move);
	status = hokm_apply(&table->game, &table->move);
	if (status != HOKM_OK)
	{
		log_error("a bot made an illegal move: %s", hokm_status_text(status));
		return false;
	}
	table->source->points += best_score(&table->game) - points;
	hokm_move_text(&table->move, &table->event);
	hokm_state_text(&table->game, &table->play.state);
	table->step = TABLE_MOVE;
	return true;
}

static void
table_next(Task *task, gamestate_call *call)
{
	Table *table = (Table *) task;
	Play *play = &table->play;

	switch (table->step)
	{
		case TABLE_OPEN:
			gamestate_call_create_game(
				call, &(gamestate_new_game){.game_type = HOKM_GAME_TYPE,
											.state = buf_document(&play->state),
											.room_code = table->room_code,
											.metadata = buf_document(&table->metadata),
											.status = "waiting",
											.max_players = HOKM_SEATS});
			break;
		case TABLE_JOIN:
			gamestate_call_join_game(call, &play->id, table->bots[table->joined],
									 play->version, NULL);
			break;
		case TABLE_START:
			gamestate_call_start_game(call, &play->id, play->version, NULL);
			break;
		case TABLE_MOVE:
			gamestate_call_apply_move(
				call, &(gamestate_move){.game_id = &play->id,
										.expected_version = play->version,
										.event = buf_document(&table->event),
										.state = buf_document(&play->state),
										.player = table->move.seat == HOKM_NONE
													  ? NULL
													  : table->bots[table->move.seat]});
			break;
		case TABLE_CHECK:
			gamestate_call_get_state(call, &play->id);
			break;
		case TABLE_FINISH:
			gamestate_call_finish_game(call, &(gamestate_finish){.game_id = &play->id,
																 .result = buf_document(
																	 &table->event),
																 .expected_version =
																	 play->version});
			break;
	}
}

/* create_game was answered. */
static TaskOutcome
answer_open(Table *table, gamestate_result *result)
{
	if (gamestate_error_is(gamestate_result_error(result), GAMESTATE_ROOM_TAKEN))
	{
		draw_room_code(table);
		return TASK_GOES_ON;
	}
	if (!play_created(&table->play, result, HOKM_GAME_TYPE))
		return TASK_FAILED;
	table->step = TABLE_JOIN;
	return TASK_GOES_ON;
}

static TaskOutcome
table_answer(Task *task, gamestate_result *result)
{
	Table *table = (Table *) task;
	Play *play = &table->play;
	bool ok = true;

	switch (table->step)
	{
		case TABLE_OPEN:
			return answer_open(table, result);
		case TABLE_JOIN:
			ok = play_advanced(play, result);
			if (++table->joined == HOKM_SEATS)
				table->step = TABLE_START;
			break;
		case TABLE_START:
			ok = play_advanced(play, result) && prepare_move(table);
			break;
		case TABLE_MOVE:
			ok = play_moved(play, result, &table->event);
			if (ok && (play_wants_check(play) || table->game.phase == HOKM_OVER))
				table->step = TABLE_CHECK;
			else if (ok)
				ok = prepare_move(table);
			break;
		case TABLE_CHECK:
			ok = play_check_state(play, result) && prepare_move(table);
			break;
		case TABLE_FINISH:
			return play_finished(play, result, false) ? TASK_DONE : TASK_FAILED;
	}
	return ok ? TASK_GOES_ON : TASK_FAILED;
}

static void
table_free(Task *task)
{
	Table *table = (Table *) task;

	buf_free(&table->event);
	buf_free(&table->metadata);
	play_free(&table->play);
	free(table);
}

static const TaskOps table_ops = {table_next, table_answer, table_free};

static Task *
table_open(TaskSource *base)
{
	HokmSource *source = (HokmSource *) base;
	uint32_t number = source->opened;
	Table *table;

	if (number >= source->games)
		return NULL;
	source->opened++;
	table = xcalloc(1, sizeof(*table));
	table->source = source;
	play_init(&table->play, &table_ops, source->ledger, number);
	rng_seed(&table->cards, source->seed, STREAM_CARDS + number);
	rng_seed(&table->rooms, source->seed, STREAM_ROOMS + number);
	hokm_table_bots(source->seed, number, table->bots);
	draw_room_code(table);
	hokm_init(&table->game);
	hokm_state_text(&table->game, &table->play.state);
	buf_printf(&table->metadata,
			   "{\"bots\":\"random legal cards\",\"seed\":%" PRIu64 ",\"table\":%" PRIu32
			   "}",
			   source->seed, number + 1);
	return &table->play.task;
}

static uint64_t
table_done(const TaskSource *base)
{
	return ((const HokmSource *) base)->ledger->finished;
}

static double
table_part(const TaskSource *base)
{
	const HokmSource *source = (const HokmSource *) base;

	return (double) source->points / ((double) source->games * HOKM_POINTS_TO_WIN);
}

void
hokm_source_init(HokmSource *source, uint32_t games, uint64_t seed, Ledger *ledger)
{
	*source = (HokmSource){.source = {table_open, table_done, table_part},
						   .ledger = ledger,
						   .seed = seed,
						   .games = games};
}
