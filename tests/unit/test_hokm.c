/*
 * test_hokm.c: unit test of the rules of Hokm (client/hokm.c) and of their
 * JSON (client/hokm_text.c).
 *
 * Build: cc -std=gnu11 -Iclient tests/unit/test_hokm.c client/hokm.c
 *        client/hokm_text.c client/json.c client/util.c
 *
 * First each rule on a position made for it, then whole games with random
 * cards, where every trick is judged by a second, slower reading of the rules.
 */
#include "hokm.h"
#include "hokm_text.h"
#include "json.h"

#include <stdlib.h>

#include "tap.h"

#define SPADES			 0
#define HEARTS			 1
#define DIAMONDS		 2
#define CLUBS			 3
#define TWO				 0
#define KING			 11
#define ACE				 12
#define CARD(suit, rank) (((suit) *HOKM_RANKS + (rank)))
#define RANDOM_GAMES	 300

static void
identity_deck(HokmCard deck[HOKM_CARDS])
{
	for (int i = 0; i < HOKM_CARDS; i++)
		deck[i] = i;
}

static void
shuffle(Rng *rng, HokmCard deck[HOKM_CARDS])
{
	identity_deck(deck);
	for (uint32_t i = HOKM_CARDS - 1; i > 0; i--)
	{
		uint32_t other = rng_below(rng, i + 1);
		HokmCard card = deck[i];

		deck[i] = deck[other];
		deck[other] = card;
	}
}

/* A game in which the hand is about to be played, with this hakem and trump. */
static void
at_play(HokmGame *game, int hakem, int trump)
{
	HokmCard deck[HOKM_CARDS];

	hokm_init(game);
	identity_deck(deck);
	game->hakem = hakem;
	game->phase = HOKM_DEAL;
	hokm_deal(game, deck);
	hokm_declare(game, hakem, trump);
}

/* Is the game as it was? */
static bool
same_game(const HokmGame *a, const HokmGame *b)
{
	Buf a_text = {0};
	Buf b_text = {0};
	bool same;

	hokm_state_text(a, &a_text);
	hokm_state_text(b, &b_text);
	same = strcmp(a_text.data, b_text.data) == 0 && a->hand_count == b->hand_count;
	buf_free(&a_text);
	buf_free(&b_text);
	return same;
}

static void
test_choose_hakem(void)
{
	static const HokmCard third[] = {CARD(HEARTS, TWO), CARD(DIAMONDS, KING),
									 CARD(SPADES, ACE)};
	static const HokmCard fifth[] = {CARD(HEARTS, 0), CARD(HEARTS, 1), CARD(HEARTS, 2),
									 CARD(HEARTS, 3), CARD(CLUBS, ACE)};
	static const HokmCard too_late[] = {CARD(HEARTS, ACE), CARD(CLUBS, ACE)};
	static const HokmCard twice[] = {CARD(HEARTS, TWO), CARD(HEARTS, TWO),
									 CARD(CLUBS, ACE)};
	static const HokmCard no_card[] = {HOKM_CARDS, CARD(CLUBS, ACE)};
	HokmGame game;
	HokmGame before;

	hokm_init(&game);
	before = game;
	ok(hokm_choose_hakem(&game, fifth, 4) == HOKM_BAD_CARDS, "no ace is refused");
	ok(hokm_choose_hakem(&game, too_late, 2) == HOKM_BAD_CARDS,
	   "cards after an ace are refused");
	ok(hokm_choose_hakem(&game, twice, 3) == HOKM_BAD_CARDS, "a card twice is refused");
	ok(hokm_choose_hakem(&game, no_card, 2) == HOKM_BAD_CARDS,
	   "what is no card is refused");
	ok(hokm_choose_hakem(&game, third, 0) == HOKM_BAD_CARDS, "no cards are refused");
	ok(same_game(&game, &before), "a refused choice changes nothing");
	ok(hokm_choose_hakem(&game, third, 3) == HOKM_OK && game.hakem == 2,
	   "the third card's receiver is seat 2");
	ok(game.phase == HOKM_DEAL, "then the cards are dealt");
	ok(hokm_choose_hakem(&game, third, 3) == HOKM_WRONG_PHASE,
	   "the hakem is chosen once");
	hokm_init(&game);
	ok(hokm_choose_hakem(&game, fifth, 5) == HOKM_OK && game.hakem == 0,
	   "the fifth card goes to seat 0 again");
}

static void
test_deal(void)
{
	HokmCard deck[HOKM_CARDS];
	HokmGame game;
	HokmGame before;

	hokm_init(&game);
	identity_deck(deck);
	ok(hokm_deal(&game, deck) == HOKM_WRONG_PHASE, "no deal before there is a hakem");
	game.hakem = 1;
	game.phase = HOKM_DEAL;
	before = game;
	deck[51] = deck[0];
	ok(hokm_deal(&game, deck) == HOKM_BAD_CARDS, "a deck with a card twice is refused");
	deck[51] = -1;
	ok(hokm_deal(&game, deck) == HOKM_BAD_CARDS, "a deck with no card in it is refused");
	ok(same_game(&game, &before), "a refused deal changes nothing");
	deck[51] = 51;
	ok(hokm_deal(&game, deck) == HOKM_OK, "a deck is dealt");
	ok(game.hands[1] == 0x1F && (game.hands[0] | game.hands[2] | game.hands[3]) == 0,
	   "the hakem gets five cards, nobody else any");
	ok(game.stock_count == 47 && game.turn == 1 && game.hand == 1, "and has the move");

	before = game;
	ok(hokm_declare(&game, 2, SPADES) == HOKM_WRONG_TURN, "only the hakem declares");
	ok(hokm_declare(&game, 1, 4) == HOKM_BAD_SUIT, "there are four suits");
	ok(hokm_declare(&game, 1, -1) == HOKM_BAD_SUIT, "no suit is not a suit");
	ok(hokm_play(&game, 1, 0) == HOKM_WRONG_PHASE, "no card before the trump");
	ok(same_game(&game, &before), "a refused declaration changes nothing");
	ok(hokm_declare(&game, 1, CLUBS) == HOKM_OK && game.trump == CLUBS,
	   "the hakem declares");
	ok(game.hands[1] == (UINT64_C(0x1F) | UINT64_C(0xF) << 20 | UINT64_C(0xF) << 36),
	   "the hakem's cards: five, four, four");
	ok(game.hands[2] == (UINT64_C(0x1F) << 5 | UINT64_C(0xF) << 24 | UINT64_C(0xF) << 40),
	   "then those of the player on the right");
	ok(game.hands[0] ==
		   (UINT64_C(0x1F) << 15 | UINT64_C(0xF) << 32 | UINT64_C(0xF) << 48),
	   "and so on round the table");
	ok(game.stock_count == 0 && game.turn == 1, "all cards are dealt, the hakem leads");
}

/* Play one trick from single-card hands and say who won it. */
static int
winner_of(int trump, int lead, HokmCard a, HokmCard b, HokmCard c, HokmCard d)
{
	const HokmCard cards[HOKM_SEATS] = {a, b, c, d};
	HokmGame game;

	at_play(&game, lead, trump);
	for (int i = 0; i < HOKM_SEATS; i++)
		game.hands[(lead + i) % HOKM_SEATS] = hokm_card_bit(cards[i]);
	for (int i = 0; i < HOKM_SEATS; i++)
		if (hokm_play(&game, (lead + i) % HOKM_SEATS, cards[i]) != HOKM_OK)
			return -1;
	return game.turn;
}

static void
test_tricks(void)
{
	ok(winner_of(CLUBS, 0, CARD(HEARTS, 5), CARD(HEARTS, KING), CARD(HEARTS, 3),
				 CARD(HEARTS, 9)) == 1,
	   "the highest card of the suit wins");
	ok(winner_of(CLUBS, 2, CARD(HEARTS, 5), CARD(SPADES, ACE), CARD(DIAMONDS, ACE),
				 CARD(SPADES, KING)) == 2,
	   "another suit never wins");
	ok(winner_of(CLUBS, 3, CARD(HEARTS, ACE), CARD(CLUBS, TWO), CARD(HEARTS, KING),
				 CARD(HEARTS, 4)) == 0,
	   "the lowest trump beats an ace");
	ok(winner_of(CLUBS, 1, CARD(HEARTS, ACE), CARD(CLUBS, 3), CARD(CLUBS, 7),
				 CARD(CLUBS, 5)) == 3,
	   "the highest trump wins");
	ok(winner_of(CLUBS, 1, CARD(CLUBS, 3), CARD(HEARTS, ACE), CARD(CLUBS, 7),
				 CARD(CLUBS, 5)) == 3,
	   "trump led is a suit like the others");
}

static void
test_follow_suit(void)
{
	HokmGame game;
	HokmGame before;

	at_play(&game, 0, CLUBS);
	game.hands[0] = hokm_card_bit(CARD(HEARTS, 4)) | hokm_card_bit(CARD(SPADES, 4));
	game.hands[1] = hokm_card_bit(CARD(HEARTS, 5)) | hokm_card_bit(CARD(CLUBS, 5));
	game.hands[2] = hokm_card_bit(CARD(DIAMONDS, 6)) | hokm_card_bit(CARD(CLUBS, 6));
	ok(hokm_legal(&game, 0) == game.hands[0], "the leader may play any card");
	ok(hokm_legal(&game, 1) == 0, "who is not at turn may play none");
	before = game;
	ok(hokm_play(&game, 1, CARD(HEARTS, 5)) == HOKM_WRONG_TURN, "and is refused");
	ok(hokm_play(&game, 0, CARD(HEARTS, 5)) == HOKM_NOT_IN_HAND,
	   "another's card is refused");
	ok(hokm_play(&game, 0, HOKM_CARDS) == HOKM_BAD_CARDS, "what is no card is refused");
	ok(same_game(&game, &before), "a refused card changes nothing");
	ok(hokm_play(&game, 0, CARD(HEARTS, 4)) == HOKM_OK, "hearts are led");
	before = game;
	ok(hokm_legal(&game, 1) == hokm_card_bit(CARD(HEARTS, 5)), "suit must be followed");
	ok(hokm_play(&game, 1, CARD(CLUBS, 5)) == HOKM_MUST_FOLLOW_SUIT,
	   "a trump is refused");
	ok(same_game(&game, &before), "and changes nothing");
	ok(hokm_play(&game, 1, CARD(HEARTS, 5)) == HOKM_OK, "following is accepted");
	ok(hokm_legal(&game, 2) == game.hands[2], "who cannot follow may play any card");
}

/*
 * Play the last trick of a hand: the hakem at seat `hakem`, this many tricks
 * and points so far, the trick goes to seat `winner`.
 */
static void
last_trick(HokmGame *game, int hakem, int winner, const int tricks[2], const int score[2])
{
	at_play(game, hakem, CLUBS);
	for (int team = 0; team < HOKM_TEAMS; team++)
	{
		game->tricks[team] = tricks[team];
		game->score[team] = score[team];
	}
	for (int i = 0; i < HOKM_SEATS; i++)
	{
		int seat = (hakem + i) % HOKM_SEATS;

		game->hands[seat] = hokm_card_bit(CARD(HEARTS, seat == winner ? ACE : i));
	}
	for (int i = 0; i < HOKM_SEATS; i++)
	{
		int seat = (hakem + i) % HOKM_SEATS;

		hokm_play(game, seat, CARD(HEARTS, seat == winner ? ACE : i));
	}
}

static void
test_scoring(void)
{
	HokmGame game;

	last_trick(&game, 0, 2, (int[]){6, 4}, (int[]){0, 0});
	ok(game.score[0] == 1 && game.score[1] == 0, "seven tricks are a point");
	ok(game.results[0].kind == HOKM_WIN && game.results[0].winner == 0, "a plain win");
	ok(game.hakem == 0 && game.phase == HOKM_DEAL && game.turn == HOKM_NONE,
	   "the hakem whose team wins stays");
	last_trick(&game, 0, 2, (int[]){6, 0}, (int[]){0, 0});
	ok(game.score[0] == 2 && game.results[0].kind == HOKM_KOT,
	   "seven to nothing: two points");
	last_trick(&game, 0, 1, (int[]){0, 6}, (int[]){0, 0});
	ok(game.score[1] == 3 && game.results[0].kind == HOKM_HAKEM_KOT,
	   "against the hakem's team: three points");
	ok(game.hakem == 1, "the office goes to the right");
	last_trick(&game, 3, 0, (int[]){6, 6}, (int[]){2, 5});
	ok(game.score[0] == 3 && game.hakem == 0, "from seat 3 it goes to seat 0");
	ok(game.results[0].tricks[0] == 7 && game.results[0].tricks[1] == 6,
	   "a hand may go to the thirteenth trick");
	last_trick(&game, 2, 1, (int[]){5, 5}, (int[]){6, 6});
	ok(game.phase == HOKM_PLAY && game.tricks[1] == 6 && hokm_winner(&game) == HOKM_NONE,
	   "six tricks are not enough");
	last_trick(&game, 2, 1, (int[]){5, 6}, (int[]){6, 6});
	ok(game.phase == HOKM_OVER && hokm_winner(&game) == 1, "seven points win the game");
	ok(hokm_deal(&game, game.stock) == HOKM_WRONG_PHASE, "and it is over");
	last_trick(&game, 0, 1, (int[]){0, 6}, (int[]){6, 6});
	ok(game.score[1] == 9 && hokm_winner(&game) == 1, "more than seven points win too");
}

/* The rules once more, in other words: how strong is a card in this trick? */
static int
strength(HokmCard card, int led, int trump)
{
	if (hokm_suit(card) == trump)
		return 200 + hokm_rank(card);
	if (hokm_suit(card) == led)
		return 100 + hokm_rank(card);
	return 0;
}

static bool
trick_is_right(const HokmTrick *trick, int trump)
{
	int best = -1;
	int winner = -1;

	for (int i = 0; i < HOKM_SEATS; i++)
	{
		int value = strength(trick->cards[i], hokm_suit(trick->cards[0]), trump);

		if (value > best)
		{
			best = value;
			winner = (trick->lead + i) % HOKM_SEATS;
		}
	}
	return winner == trick->winner;
}

/* Each card is in exactly one place: a hand, the stock, the table. */
static bool
cards_are_complete(const HokmGame *game)
{
	int count = game->stock_count;
	HokmCardSet seen = 0;

	if (game->phase != HOKM_PLAY && game->phase != HOKM_TRUMP)
		return true;
	for (int i = 0; i < game->stock_count; i++)
		seen |= hokm_card_bit(game->stock[i]);
	for (int seat = 0; seat < HOKM_SEATS; seat++)
	{
		count += __builtin_popcountll(game->hands[seat]);
		seen |= game->hands[seat];
	}
	for (int i = 0; i < game->trick_count; i++)
		for (int j = 0; j < game->played[i].count; j++)
		{
			count++;
			seen |= hokm_card_bit(game->played[i].cards[j]);
		}
	return count == HOKM_CARDS && seen == (UINT64_C(1) << HOKM_CARDS) - 1;
}

static void
draw_move(Rng *rng, const HokmGame *game, HokmMove *move)
{
	static const HokmMoveType types[] = {HOKM_MOVE_HAKEM, HOKM_MOVE_DEAL, HOKM_MOVE_TRUMP,
										 HOKM_MOVE_PLAY};
	HokmCardSet legal = hokm_legal(game, game->turn);

	memset(move, 0, sizeof(*move));
	move->type = types[game->phase];
	move->seat = game->turn;
	if (game->phase == HOKM_TRUMP)
		move->suit = (int) rng_below(rng, HOKM_SUITS);
	if (game->phase == HOKM_PLAY && legal != 0)
	{
		do
			move->card = rng_below(rng, HOKM_CARDS);
		while ((legal & hokm_card_bit(move->card)) == 0);
	}
	if (game->phase > HOKM_DEAL)
		return;
	shuffle(rng, move->cards);
	move->count = HOKM_CARDS;
	if (game->phase == HOKM_CHOOSE_HAKEM)
		for (move->count = 1; hokm_rank(move->cards[move->count - 1]) != ACE;)
			move->count++;
}

typedef struct Seen
{
	bool cards;
	bool tricks;
	bool moves;
	bool states;
	bool scores;
	bool length;
	int kinds[3];
} Seen;

/* The results of a game add up to its score, and the hakem moves by the rules. */
static bool
results_are_right(const HokmGame *game)
{
	int score[HOKM_TEAMS] = {0, 0};

	for (int i = 0; i < game->hand_count; i++)
	{
		const HokmHandResult *hand = &game->results[i];
		bool hakem_won = hand->hakem % 2 == hand->winner;
		int next = i + 1 < game->hand_count ? game->results[i + 1].hakem : game->hakem;

		score[hand->winner] += hand->tricks[1 - hand->winner] > 0 ? 1 : hakem_won ? 2 : 3;
		if (hand->tricks[hand->winner] != 7 || hand->tricks[1 - hand->winner] > 6)
			return false;
		if (next != (hakem_won ? hand->hakem : (hand->hakem + 1) % HOKM_SEATS))
			return false;
	}
	return score[0] == game->score[0] && score[1] == game->score[1] &&
		   (score[0] >= 7) != (score[1] >= 7);
}

static void
play_random_game(Rng *rng, Seen *seen)
{
	HokmGame game;
	HokmGame copy;
	Buf text = {0};
	Buf copied = {0};
	const char *error;
	int moves = 0;

	hokm_init(&game);
	hokm_init(&copy);
	while (game.phase != HOKM_OVER && moves++ < 2000)
	{
		HokmMove move;
		HokmMove parsed;
		int tricks = game.trick_count;
		JsonDoc *doc;

		draw_move(rng, &game, &move);
		hokm_move_text(&move, &text);
		seen->moves &= hokm_move_parse(text.data, game.turn, &parsed);
		seen->moves &= hokm_apply(&game, &move) == HOKM_OK;
		seen->moves &= hokm_apply(&copy, &parsed) == HOKM_OK;
		seen->cards &= cards_are_complete(&game);
		if (tricks > 0 && tricks <= game.trick_count &&
			game.played[tricks - 1].count == 4)
			seen->tricks &= trick_is_right(&game.played[tricks - 1], game.trump);
		hokm_state_text(&game, &text);
		hokm_state_text(&copy, &copied);
		doc = json_parse(text.data, text.len, &error);
		seen->states &= doc != NULL && strcmp(text.data, copied.data) == 0;
		json_free(doc);
	}
	seen->length &= game.phase == HOKM_OVER;
	seen->scores &= results_are_right(&game);
	for (int i = 0; i < game.hand_count; i++)
		seen->kinds[game.results[i].kind]++;
	buf_free(&text);
	buf_free(&copied);
}

static void
test_random_games(void)
{
	Seen seen = {true, true, true, true, true, true, {0, 0, 0}};
	Rng rng;

	rng_seed(&rng, 2024, 0);
	for (int i = 0; i < RANDOM_GAMES; i++)
		play_random_game(&rng, &seen);
	ok(seen.length, "%d random games come to their end", RANDOM_GAMES);
	ok(seen.moves, "every legal move is accepted, and read back from its text");
	ok(seen.cards, "no card is lost or doubled");
	ok(seen.tricks, "every trick goes to its winner");
	ok(seen.states, "states are JSON, and the same after a replay of the texts");
	ok(seen.scores, "scores, results and hakems agree");
	ok(seen.kinds[HOKM_WIN] > seen.kinds[HOKM_KOT] && seen.kinds[HOKM_KOT] > 0,
	   "most hands are plain wins (%d), some are kots (%d and %d)", seen.kinds[HOKM_WIN],
	   seen.kinds[HOKM_KOT], seen.kinds[HOKM_HAKEM_KOT]);
}

static void
test_texts(void)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"type\":\"play\"}",
		"{\"type\":\"play\",\"card\":\"1S\"}",
		"{\"type\":\"play\",\"card\":\"AX\"}",
		"{\"type\":\"play\",\"card\":\"AS \"}",
		"{\"type\":\"trump\",\"suit\":\"X\"}",
		"{\"type\":\"trump\"}",
		"{\"type\":\"deal\",\"cards\":{}}",
		"{\"type\":\"deal\",\"cards\":[\"AS\",1]}",
		"{\"type\":\"shuffle\"}",
	};
	char *players[HOKM_SEATS] = {"a", "b\"", "c", "d"};
	HokmGame game;
	HokmMove move;
	Buf text = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!hokm_move_parse(bad[i], 0, &move), "not a move: %s", bad[i]);
	ok(hokm_move_parse("{\"card\": \"TD\", \"type\": \"play\"}", 3, &move) &&
		   move.card == CARD(DIAMONDS, 8) && move.seat == 3,
	   "a move in another layout is read");
	hokm_init(&game);
	hokm_state_text(&game, &text);
	is(text.data,
	   "{\"phase\":\"choose hakem\",\"hand\":0,\"hakem\":null,\"trump\":null,\"turn\":null,"
	   "\"score\":[0,0],\"tricks\":[0,0],\"hands\":[[],[],[],[]],\"stock\":[],\"played\":[]}",
	   "the state of a new game");
	last_trick(&game, 0, 1, (int[]){0, 6}, (int[]){6, 6});
	hokm_result_text(&game, players, &text);
	is(text.data,
	   "{\"winner\":1,\"winners\":[\"b\\\"\",\"d\"],\"score\":[6,9],\"hands\":[{\"hakem\":0,"
	   "\"trump\":\"C\",\"tricks\":[0,7],\"winner\":1,\"points\":3,\"kind\":\"hakem kot\"}]}",
	   "the result of a game");
	buf_free(&text);
}

int
main(void)
{
	test_choose_hakem();
	test_deal();
	test_tricks();
	test_follow_suit();
	test_scoring();
	test_random_games();
	test_texts();
	return tap_done();
}
