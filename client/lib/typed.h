/*-------------------------------------------------------------------------
 *
 * typed.h
 *	  What the functions for each SQL function share (typed_calls.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_TYPED_H
#define GSL_TYPED_H

#include "gamestate.h"

/* Takes the parentheses off: LIST (a, b) is a, b. */
#define LIST(...) __VA_ARGS__

/*
 * Callbacks that take the one value of an answer to where `to` points, unless
 * that is NULL or the answer an error.
 */
extern void gsl_take_version(gamestate_conn *conn, gamestate_result *result, void *to);
extern void gsl_take_feed_position(gamestate_conn *conn, gamestate_result *result,
								   void *to);
extern void gsl_take_deleted(gamestate_conn *conn, gamestate_result *result, void *to);
extern void gsl_take_connected(gamestate_conn *conn, gamestate_result *result, void *to);
extern void gsl_take_game_id(gamestate_conn *conn, gamestate_result *result, void *to);
extern void gsl_take_token(gamestate_conn *conn, gamestate_result *result, void *to);
extern void gsl_take_allowed(gamestate_conn *conn, gamestate_result *result, void *to);

/* The same, for what find_room answers. */
typedef struct FoundGame
{
	gamestate_uuid *game_id; /* untouched if there is none; may be NULL */
	bool *found;			 /* may be NULL */
} FoundGame;

extern void gsl_take_found_game(gamestate_conn *conn, gamestate_result *result, void *to);

#endif /* GSL_TYPED_H */
