/*
 * hokm.h: the rules of Hokm, the four-player trick-taking game with a trump
 * suit.  Pure: no I/O, no memory of its own, no randomness; whoever shuffles
 * passes the cards in.  The same engine plays the demo's games and checks
 * the archived ones.
 *
 * Wording: a *trick* is four cards, a *hand* is played for seven tricks, a
 * *game* is played for seven points.  *Hakem* is who names the trump suit.
 * Seats 0 to 3 go round to the right, which is the order of play; seats 0
 * and 2 are team 0, seats 1 and 3 are team 1.
 */
#ifndef GAMESTATE_CLIENT_HOKM_H
#define GAMESTATE_CLIENT_HOKM_H

#include <stdbool.h>
#include <stdint.h>

#define HOKM_SEATS		   4
#define HOKM_TEAMS		   2
#define HOKM_SUITS		   4
#define HOKM_RANKS		   13
#define HOKM_CARDS		   52
#define HOKM_FIRST_DEAL	   5 /* the hakem's cards before the trump */
#define HOKM_HAND_CARDS	   13
#define HOKM_TRICKS_TO_WIN 7
#define HOKM_MAX_TRICKS	   13 /* 7 to 6 */
#define HOKM_POINTS_TO_WIN 7
#define HOKM_MAX_HANDS	   13 /* 7 points to 6, a point each */
#define HOKM_NONE		   (-1)

/* suit * 13 + rank; suits S, H, D, C; rank 0 is the two, 12 the ace */
typedef int HokmCard;

/* bit n is card n */
typedef uint64_t HokmCardSet;

typedef enum HokmPhase
{
	HOKM_CHOOSE_HAKEM, /* next: DEAL */
	HOKM_DEAL,		   /* next: TRUMP */
	HOKM_TRUMP,		   /* next: PLAY */
	HOKM_PLAY,		   /* next: PLAY, DEAL, OVER */
	HOKM_OVER
} HokmPhase;

typedef enum HokmStatus
{
	HOKM_OK,
	HOKM_WRONG_PHASE,
	HOKM_WRONG_TURN,
	HOKM_BAD_CARDS, /* not a card, not a deck, no ace at the end */
	HOKM_BAD_SUIT,
	HOKM_NOT_IN_HAND,
	HOKM_MUST_FOLLOW_SUIT
} HokmStatus;

/* How a hand ended, for the score. */
typedef enum HokmHandKind
{
	HOKM_WIN,	   /* 1 point */
	HOKM_KOT,	   /* seven to nothing: 2 points */
	HOKM_HAKEM_KOT /* the same against the hakem's team: 3 */
} HokmHandKind;

typedef struct HokmTrick
{
	int lead;					/* the seat that led */
	int winner;					/* a seat; HOKM_NONE while it is played */
	int count;					/* cards on the table */
	HokmCard cards[HOKM_SEATS]; /* in order of play, from the leader */
} HokmTrick;

typedef struct HokmHandResult
{
	int hakem;
	int trump;
	int winner; /* a team */
	int tricks[HOKM_TEAMS];
	HokmHandKind kind;
} HokmHandResult;

typedef struct HokmGame
{
	HokmPhase phase;
	int hakem; /* HOKM_NONE until chosen */
	int trump; /* HOKM_NONE until declared */
	int turn;  /* whose move; HOKM_NONE = the dealer's */
	int score[HOKM_TEAMS];
	int tricks[HOKM_TEAMS]; /* won in this hand */
	int hand;				/* number of the hand, from 1; 0 before */
	int trick_count;		/* tricks begun in this hand */
	int hand_count;			/* hands that are over */
	int stock_count;		/* cards not dealt yet */
	HokmCard stock[HOKM_CARDS];
	HokmCardSet hands[HOKM_SEATS];
	HokmTrick played[HOKM_MAX_TRICKS];
	HokmHandResult results[HOKM_MAX_HANDS];
} HokmGame;

extern void hokm_init(HokmGame *game);

/*
 * Cards are turned up from seat 0 on until the first ace; who gets it is the
 * hakem.  `cards` are the cards turned up, the ace last.
 */
extern HokmStatus hokm_choose_hakem(HokmGame *game, const HokmCard *cards, int count);

/*
 * Shuffle: `deck` is the whole pack in the order of dealing.  The hakem gets
 * the first five; the rest is dealt when the trump has been declared.
 */
extern HokmStatus hokm_deal(HokmGame *game, const HokmCard *deck);

extern HokmStatus hokm_declare(HokmGame *game, int seat, int suit);
extern HokmStatus hokm_play(HokmGame *game, int seat, HokmCard card);

/* The cards that the seat may play now; empty if it is not its turn. */
extern HokmCardSet hokm_legal(const HokmGame *game, int seat);

/* The team that has seven points, or HOKM_NONE. */
extern int hokm_winner(const HokmGame *game);

extern int hokm_points(HokmHandKind kind);
extern const char *hokm_status_text(HokmStatus status);

static inline int
hokm_suit(HokmCard card)
{
	return card / HOKM_RANKS;
}

static inline int
hokm_rank(HokmCard card)
{
	return card % HOKM_RANKS;
}

static inline HokmCardSet
hokm_card_bit(HokmCard card)
{
	return UINT64_C(1) << card;
}

#endif /* GAMESTATE_CLIENT_HOKM_H */
