/*
 * hokm_text.h: Hokm as JSON: the state and the events that go through
 * apply_move, and the result that goes through finish_game.  The text of a
 * state is a function of the game alone, so that a game replayed from its
 * archived events gives the archived final state to the letter.
 */
#ifndef GAMESTATE_CLIENT_HOKM_TEXT_H
#define GAMESTATE_CLIENT_HOKM_TEXT_H

#include "hokm.h"
#include "util.h"

typedef enum HokmMoveType
{
	HOKM_MOVE_HAKEM, /* cards, count */
	HOKM_MOVE_DEAL,	 /* cards (52) */
	HOKM_MOVE_TRUMP, /* seat, suit */
	HOKM_MOVE_PLAY	 /* seat, card */
} HokmMoveType;

typedef struct HokmMove
{
	HokmMoveType type;
	int seat; /* HOKM_NONE for the dealer's moves */
	int suit;
	HokmCard card;
	int count;
	HokmCard cards[HOKM_CARDS];
} HokmMove;

/* Make the move on the game. */
extern HokmStatus hokm_apply(HokmGame *game, const HokmMove *move);

/* Each replaces the content of `out`. */
extern void hokm_state_text(const HokmGame *game, Buf *out);
extern void hokm_move_text(const HokmMove *move, Buf *out);
extern void hokm_result_text(const HokmGame *game, char *const players[], Buf *out);

/*
 * Read a move back; `seat` is whose move it was.  False if it is none.
 */
extern bool hokm_move_parse(const char *text, int seat, HokmMove *move);

#endif /* GAMESTATE_CLIENT_HOKM_TEXT_H */
