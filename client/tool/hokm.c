/*
 * hokm.c: the rules of Hokm.
 *
 * The model:
 * 1. Choose the hakem: cards are turned up to seat 0, 1, 2, 3, 0, ... until
 *    the first ace; its receiver is the first hakem.
 * 2. Deal: five cards to the hakem, who names a trump suit from them alone;
 *    then five to each of the others and, twice, four to everybody.
 * 3. Play: the hakem leads the first trick, the winner of a trick leads the
 *    next.  Follow suit if you can, otherwise any card.  The highest trump
 *    wins, without a trump the highest card of the suit that was led.
 * 4. Seven tricks win the hand at once: 1 point; 2 if the others have no
 *    trick (kot); 3 if those others are the hakem's own team (hakem-kot).
 * 5. The hakem stays if the hakem's team won, otherwise the player on the
 *    right is the next one.  Seven points win the game.
 *
 * Every function checks its move wholly before it changes anything: a move
 * that is refused leaves the game as it was.
 */
#include "hokm.h"

#include <string.h>

#define ACE		  (HOKM_RANKS - 1)
#define SUIT_MASK ((UINT64_C(1) << HOKM_RANKS) - 1)
#define FULL_DECK ((UINT64_C(1) << HOKM_CARDS) - 1)

static int
team_of(int seat)
{
	return seat % HOKM_TEAMS;
}

static int
right_of(int seat)
{
	return (seat + 1) % HOKM_SEATS;
}

static bool
is_card(HokmCard card)
{
	return card >= 0 && card < HOKM_CARDS;
}

static HokmCardSet
suit_cards(int suit)
{
	return SUIT_MASK << (suit * HOKM_RANKS);
}

void
hokm_init(HokmGame *game)
{
	memset(game, 0, sizeof(*game));
	game->phase = HOKM_CHOOSE_HAKEM;
	game->hakem = HOKM_NONE;
	game->trump = HOKM_NONE;
	game->turn = HOKM_NONE;
}

HokmStatus
hokm_choose_hakem(HokmGame *game, const HokmCard *cards, int count)
{
	HokmCardSet seen = 0;

	if (game->phase != HOKM_CHOOSE_HAKEM)
		return HOKM_WRONG_PHASE;
	if (count < 1 || count > HOKM_CARDS)
		return HOKM_BAD_CARDS;
	for (int i = 0; i < count; i++)
	{
		if (!is_card(cards[i]) || (seen & hokm_card_bit(cards[i])) != 0)
			return HOKM_BAD_CARDS;
		seen |= hokm_card_bit(cards[i]);

		/* The first ace ends it: no ace before the last card, one there. */
		if ((hokm_rank(cards[i]) == ACE) != (i == count - 1))
			return HOKM_BAD_CARDS;
	}
	game->hakem = ((count - 1) % HOKM_SEATS);
	game->phase = HOKM_DEAL;
	return HOKM_OK;
}

/* Move the next `count` cards of the stock to a seat. */
static void
deal_to(HokmGame *game, int seat, int count)
{
	for (int i = 0; i < count; i++)
		game->hands[seat] |= hokm_card_bit(game->stock[i]);
	game->stock_count = (game->stock_count - count);
	memmove(game->stock, game->stock + count,
			(size_t) game->stock_count * sizeof(HokmCard));
}

HokmStatus
hokm_deal(HokmGame *game, const HokmCard *deck)
{
	HokmCardSet seen = 0;

	if (game->phase != HOKM_DEAL)
		return HOKM_WRONG_PHASE;
	for (int i = 0; i < HOKM_CARDS; i++)
	{
		if (!is_card(deck[i]))
			return HOKM_BAD_CARDS;
		seen |= hokm_card_bit(deck[i]);
	}
	if (seen != FULL_DECK)
		return HOKM_BAD_CARDS;

	memcpy(game->stock, deck, HOKM_CARDS * sizeof(HokmCard));
	game->stock_count = HOKM_CARDS;
	memset(game->hands, 0, sizeof(game->hands));
	memset(game->tricks, 0, sizeof(game->tricks));
	memset(game->played, 0, sizeof(game->played));
	game->trick_count = 0;
	game->trump = HOKM_NONE;
	game->hand++;
	deal_to(game, game->hakem, HOKM_FIRST_DEAL);
	game->turn = game->hakem;
	game->phase = HOKM_TRUMP;
	return HOKM_OK;
}

static void
begin_trick(HokmGame *game, int lead)
{
	HokmTrick *trick = &game->played[game->trick_count++];

	trick->lead = lead;
	trick->winner = HOKM_NONE;
	trick->count = 0;
	game->turn = lead;
}

HokmStatus
hokm_declare(HokmGame *game, int seat, int suit)
{
	int other;

	if (game->phase != HOKM_TRUMP)
		return HOKM_WRONG_PHASE;
	if (seat != game->hakem)
		return HOKM_WRONG_TURN;
	if (suit < 0 || suit >= HOKM_SUITS)
		return HOKM_BAD_SUIT;

	game->trump = suit;
	for (other = right_of(seat); other != seat; other = right_of(other))
		deal_to(game, other, HOKM_FIRST_DEAL);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < HOKM_SEATS; i++)
			deal_to(game, (seat + i) % HOKM_SEATS, 4);
	begin_trick(game, seat);
	game->phase = HOKM_PLAY;
	return HOKM_OK;
}

HokmCardSet
hokm_legal(const HokmGame *game, int seat)
{
	const HokmTrick *trick;
	HokmCardSet hand;
	HokmCardSet following;

	if (game->phase != HOKM_PLAY || seat != game->turn)
		return 0;
	trick = &game->played[game->trick_count - 1];
	hand = game->hands[seat];
	if (trick->count == 0)
		return hand;
	following = hand & suit_cards(hokm_suit(trick->cards[0]));
	return following != 0 ? following : hand;
}

/* Does the card beat the best one so far? */
static bool
beats(HokmCard card, HokmCard best, int trump)
{
	if (hokm_suit(card) == hokm_suit(best))
		return hokm_rank(card) > hokm_rank(best);
	return hokm_suit(card) == trump;
}

static int
trick_winner(const HokmTrick *trick, int trump)
{
	int best = 0;

	for (int i = 1; i < HOKM_SEATS; i++)
		if (beats(trick->cards[i], trick->cards[best], trump))
			best = i;
	return (trick->lead + best) % HOKM_SEATS;
}

/* The hand is decided: write the result, score it, pass the office on. */
static void
finish_hand(HokmGame *game, int team)
{
	HokmHandResult *result = &game->results[game->hand_count++];
	bool hakem_won = team_of(game->hakem) == team;

	result->hakem = game->hakem;
	result->trump = game->trump;
	result->winner = team;
	memcpy(result->tricks, game->tricks, sizeof(result->tricks));
	if (game->tricks[1 - team] > 0)
		result->kind = HOKM_WIN;
	else
		result->kind = hakem_won ? HOKM_KOT : HOKM_HAKEM_KOT;

	game->score[team] = (game->score[team] + hokm_points(result->kind));
	if (!hakem_won)
		game->hakem = right_of(game->hakem);
	game->turn = HOKM_NONE;
	game->phase = game->score[team] >= HOKM_POINTS_TO_WIN ? HOKM_OVER : HOKM_DEAL;
}

HokmStatus
hokm_play(HokmGame *game, int seat, HokmCard card)
{
	HokmTrick *trick;
	int winner;

	if (game->phase != HOKM_PLAY)
		return HOKM_WRONG_PHASE;
	if (seat != game->turn)
		return HOKM_WRONG_TURN;
	if (!is_card(card))
		return HOKM_BAD_CARDS;
	if ((game->hands[seat] & hokm_card_bit(card)) == 0)
		return HOKM_NOT_IN_HAND;
	if ((hokm_legal(game, seat) & hokm_card_bit(card)) == 0)
		return HOKM_MUST_FOLLOW_SUIT;

	trick = &game->played[game->trick_count - 1];
	game->hands[seat] &= ~hokm_card_bit(card);
	trick->cards[trick->count++] = card;
	if (trick->count < HOKM_SEATS)
	{
		game->turn = right_of(seat);
		return HOKM_OK;
	}

	winner = trick_winner(trick, game->trump);
	trick->winner = winner;
	game->tricks[team_of(winner)]++;
	if (game->tricks[team_of(winner)] == HOKM_TRICKS_TO_WIN)
		finish_hand(game, team_of(winner));
	else
		begin_trick(game, winner);
	return HOKM_OK;
}

int
hokm_winner(const HokmGame *game)
{
	for (int team = 0; team < HOKM_TEAMS; team++)
		if (game->score[team] >= HOKM_POINTS_TO_WIN)
			return team;
	return HOKM_NONE;
}

int
hokm_points(HokmHandKind kind)
{
	switch (kind)
	{
		case HOKM_WIN:
			return 1;
		case HOKM_KOT:
			return 2;
		case HOKM_HAKEM_KOT:
			return 3;
	}
	return 0;
}

const char *
hokm_status_text(HokmStatus status)
{
	switch (status)
	{
		case HOKM_OK:
			return "ok";
		case HOKM_WRONG_PHASE:
			return "not the time for this move";
		case HOKM_WRONG_TURN:
			return "not this player's turn";
		case HOKM_BAD_CARDS:
			return "not the cards this move needs";
		case HOKM_BAD_SUIT:
			return "not a suit";
		case HOKM_NOT_IN_HAND:
			return "the player does not hold this card";
		case HOKM_MUST_FOLLOW_SUIT:
			return "the player must follow suit";
	}
	return "unknown";
}
