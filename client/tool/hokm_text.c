/*
 * hokm_text.c: Hokm as JSON.
 *
 * The model:
 * 1. A card is two characters, rank and suit: "TS" is the ten of spades.
 * 2. The events are
 *        {"type":"hakem","cards":["7H","KD","AS"]}
 *        {"type":"deal","cards":["2S", ... 52 of them]}
 *        {"type":"trump","suit":"S"}
 *        {"type":"play","card":"AS"}
 *    Who moved is not in the event: apply_move's player says it.
 * 3. The state holds all that is needed to go on from it: the hands, the
 *    stock that is not dealt yet, the tricks of this hand, the score.  A
 *    server keeps the secrets; what a player may see of it is the game
 *    server's business.
 */
#include "hokm_text.h"

#include "json.h"

#include <string.h>

static const char suit_letters[] = "SHDC";
static const char rank_letters[] = "23456789TJQKA";

static void
append_card(Buf *out, HokmCard card)
{
	char text[4] = {'"', rank_letters[hokm_rank(card)], suit_letters[hokm_suit(card)],
					'"'};

	buf_append(out, text, sizeof(text));
}

static void
append_cards(Buf *out, const HokmCard *cards, int count)
{
	buf_putc(out, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			buf_putc(out, ',');
		append_card(out, cards[i]);
	}
	buf_putc(out, ']');
}

/* A hand, sorted by suit, the highest card first. */
static void
append_card_set(Buf *out, HokmCardSet set)
{
	HokmCard cards[HOKM_CARDS];
	int count = 0;

	for (int suit = 0; suit < HOKM_SUITS; suit++)
		for (int rank = HOKM_RANKS - 1; rank >= 0; rank--)
		{
			HokmCard card = (suit * HOKM_RANKS + rank);

			if ((set & hokm_card_bit(card)) != 0)
				cards[count++] = card;
		}
	append_cards(out, cards, count);
}

static void
append_seat(Buf *out, const char *name, int seat)
{
	if (seat == HOKM_NONE)
		buf_printf(out, ",\"%s\":null", name);
	else
		buf_printf(out, ",\"%s\":%d", name, seat);
}

static void
append_suit(Buf *out, const char *name, int suit)
{
	if (suit == HOKM_NONE)
		buf_printf(out, ",\"%s\":null", name);
	else
		buf_printf(out, ",\"%s\":\"%c\"", name, suit_letters[suit]);
}

/* The tricks of this hand, the one on the table last. */
static void
append_tricks(Buf *out, const HokmGame *game)
{
	buf_puts(out, ",\"played\":[");
	for (int i = 0; i < game->trick_count; i++)
	{
		const HokmTrick *trick = &game->played[i];

		buf_printf(out, "%s{\"lead\":%d,\"cards\":", i > 0 ? "," : "", trick->lead);
		append_cards(out, trick->cards, trick->count);
		append_seat(out, "winner", trick->winner);
		buf_putc(out, '}');
	}
	buf_putc(out, ']');
}

void
hokm_state_text(const HokmGame *game, Buf *out)
{
	static const char *const phases[] = {
		[HOKM_CHOOSE_HAKEM] = "choose hakem",
		[HOKM_DEAL] = "deal",
		[HOKM_TRUMP] = "trump",
		[HOKM_PLAY] = "play",
		[HOKM_OVER] = "over",
	};

	buf_reset(out);
	buf_printf(out, "{\"phase\":\"%s\",\"hand\":%d", phases[game->phase], game->hand);
	append_seat(out, "hakem", game->hakem);
	append_suit(out, "trump", game->trump);
	append_seat(out, "turn", game->turn);
	buf_printf(out, ",\"score\":[%d,%d],\"tricks\":[%d,%d]", game->score[0],
			   game->score[1], game->tricks[0], game->tricks[1]);
	buf_puts(out, ",\"hands\":[");
	for (int seat = 0; seat < HOKM_SEATS; seat++)
	{
		if (seat > 0)
			buf_putc(out, ',');
		append_card_set(out, game->hands[seat]);
	}
	buf_puts(out, "],\"stock\":");
	append_cards(out, game->stock, game->stock_count);
	append_tricks(out, game);
	buf_putc(out, '}');
}

void
hokm_move_text(const HokmMove *move, Buf *out)
{
	buf_reset(out);
	switch (move->type)
	{
		case HOKM_MOVE_HAKEM:
		case HOKM_MOVE_DEAL:
			buf_printf(out, "{\"type\":\"%s\",\"cards\":",
					   move->type == HOKM_MOVE_DEAL ? "deal" : "hakem");
			append_cards(out, move->cards, move->count);
			buf_putc(out, '}');
			break;
		case HOKM_MOVE_TRUMP:
			buf_printf(out, "{\"type\":\"trump\",\"suit\":\"%c\"}",
					   suit_letters[move->suit]);
			break;
		case HOKM_MOVE_PLAY:
			buf_puts(out, "{\"type\":\"play\",\"card\":");
			append_card(out, move->card);
			buf_putc(out, '}');
			break;
	}
}

void
hokm_result_text(const HokmGame *game, char *const players[], Buf *out)
{
	static const char *const kinds[] = {
		[HOKM_WIN] = "win",
		[HOKM_KOT] = "kot",
		[HOKM_HAKEM_KOT] = "hakem kot",
	};
	int team = hokm_winner(game);

	buf_reset(out);
	buf_printf(out, "{\"winner\":%d,\"winners\":[", team);
	buf_json_string(out, players[team]);
	buf_putc(out, ',');
	buf_json_string(out, players[team + HOKM_TEAMS]);
	buf_printf(out, "],\"score\":[%d,%d],\"hands\":[", game->score[0], game->score[1]);
	for (int i = 0; i < game->hand_count; i++)
	{
		const HokmHandResult *hand = &game->results[i];

		buf_printf(out,
				   "%s{\"hakem\":%d,\"trump\":\"%c\",\"tricks\":[%d,%d],"
				   "\"winner\":%d,\"points\":%d,\"kind\":\"%s\"}",
				   i > 0 ? "," : "", hand->hakem, suit_letters[hand->trump],
				   hand->tricks[0], hand->tricks[1], hand->winner,
				   hokm_points(hand->kind), kinds[hand->kind]);
	}
	buf_puts(out, "]}");
}

HokmStatus
hokm_apply(HokmGame *game, const HokmMove *move)
{
	switch (move->type)
	{
		case HOKM_MOVE_HAKEM:
			return hokm_choose_hakem(game, move->cards, move->count);
		case HOKM_MOVE_DEAL:
			if (move->count != HOKM_CARDS)
				return HOKM_BAD_CARDS;
			return hokm_deal(game, move->cards);
		case HOKM_MOVE_TRUMP:
			return hokm_declare(game, move->seat, move->suit);
		case HOKM_MOVE_PLAY:
			return hokm_play(game, move->seat, move->card);
	}
	return HOKM_WRONG_PHASE;
}

/* The position of a letter, or -1. */
static int
letter_index(const char *letters, char letter)
{
	const char *found = letter != '\0' ? strchr(letters, letter) : NULL;

	return found != NULL ? (int) (found - letters) : -1;
}

static bool
parse_card(const JsonDoc *doc, JsonNode node, HokmCard *card)
{
	JsonSlice slice;
	int rank;
	int suit;

	if (node == JSON_NONE || json_type(doc, node) != JSON_STRING)
		return false;
	slice = json_slice(doc, node);
	if (slice.len != 4)
		return false;
	rank = letter_index(rank_letters, slice.data[1]);
	suit = letter_index(suit_letters, slice.data[2]);
	if (rank < 0 || suit < 0)
		return false;
	*card = (suit * HOKM_RANKS + rank);
	return true;
}

static bool
parse_cards(const JsonDoc *doc, JsonNode array, HokmMove *move)
{
	if (array == JSON_NONE || json_type(doc, array) != JSON_ARRAY ||
		json_length(doc, array) > HOKM_CARDS)
		return false;
	for (JsonNode node = json_first(doc, array); node != JSON_NONE;
		 node = json_next(doc, array, node))
		if (!parse_card(doc, node, &move->cards[move->count++]))
			return false;
	return true;
}

static bool
parse_move(const JsonDoc *doc, HokmMove *move)
{
	JsonNode type = json_member(doc, JSON_ROOT, "type");
	JsonNode suit = json_member(doc, JSON_ROOT, "suit");

	if (type == JSON_NONE)
		return false;
	if (json_string_is(doc, type, "hakem") || json_string_is(doc, type, "deal"))
	{
		move->type = json_string_is(doc, type, "deal") ? HOKM_MOVE_DEAL : HOKM_MOVE_HAKEM;
		return parse_cards(doc, json_member(doc, JSON_ROOT, "cards"), move);
	}
	if (json_string_is(doc, type, "play"))
	{
		move->type = HOKM_MOVE_PLAY;
		return parse_card(doc, json_member(doc, JSON_ROOT, "card"), &move->card);
	}
	if (json_string_is(doc, type, "trump") && suit != JSON_NONE &&
		json_slice(doc, suit).len == 3)
	{
		move->type = HOKM_MOVE_TRUMP;
		move->suit = letter_index(suit_letters, json_slice(doc, suit).data[1]);
		return move->suit >= 0;
	}
	return false;
}

bool
hokm_move_parse(const char *text, int seat, HokmMove *move)
{
	const char *error;
	JsonDoc *doc = json_parse(text, strlen(text), &error);
	bool ok;

	memset(move, 0, sizeof(*move));
	move->seat = seat;
	if (doc == NULL)
		return false;
	ok = parse_move(doc, move);
	json_free(doc);
	return ok;
}
