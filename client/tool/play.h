/*
 * play.h: what every game that is played has in common: its version, its
 * state as it was written last, its entry in the ledger.
 */
#ifndef GAMESTATE_CLIENT_PLAY_H
#define GAMESTATE_CLIENT_PLAY_H

#include "engine.h"
#include "ledger.h"

/* One move in so many is followed by a get_state, compared to the byte. */
#define STATE_CHECK_INTERVAL 50

typedef struct Play
{
	Task task; /* must be first */
	Ledger *ledger;
	size_t entry;	   /* in the ledger, once created */
	gamestate_uuid id; /* of the game, then */
	uint32_t number;
	int64_t version;
	Buf state;	/* what was written last */
	Rng checks; /* picks the moves to check */
} Play;

extern void play_init(Play *play, const TaskOps *ops, Ledger *ledger, uint32_t number);
extern void play_free(Play *play);
extern PlayedGame *play_game(const Play *play);

/*
 * create_game was answered: make the entry.  The state in play->state is the
 * initial one.
 */
extern bool play_created(Play *play, gamestate_result *result, const char *game_type);

/* A change was answered: it must be the next version. */
extern bool play_advanced(Play *play, gamestate_result *result);

/* The same for a move with this event; play->state is the new state. */
extern bool play_moved(Play *play, gamestate_result *result, const Buf *event);

/* Should get_state be compared now? */
extern bool play_wants_check(Play *play);

/* get_state was answered: it must be play->state to the byte. */
extern bool play_check_state(Play *play, gamestate_result *result);

/*
 * finish_game was answered: complete the entry.  `recorded_states`: every
 * state is source data, not only the first and the last.
 */
extern bool play_finished(Play *play, gamestate_result *result, bool recorded_states);

#endif /* GAMESTATE_CLIENT_PLAY_H */
