/*
 * check.h: compare what the archive says with what was played.  Each function
 * says what differs and returns false.
 */
#ifndef GAMESTATE_CLIENT_CHECK_H
#define GAMESTATE_CLIENT_CHECK_H

#include "archived.h"
#include "ledger.h"

/* A value of the result against the expected text; NULL is SQL NULL. */
extern bool check_text(const PlayedGame *game, const char *what,
					   const gamestate_result *result, size_t row, size_t column,
					   const char *expected);

extern bool check_number(const PlayedGame *game, const char *what,
						 const gamestate_result *result, size_t row, size_t column,
						 int64_t expected);

/* The answer of a query: rows, as many as expected. */
extern bool check_rows(const PlayedGame *game, const char *what,
					   const gamestate_result *result, size_t expected);

/* Type, status, version, number of moves and players of archived_game_call(). */
extern bool check_archived_game(const PlayedGame *game, const gamestate_result *result,
								const char *game_type);

#endif /* GAMESTATE_CLIENT_CHECK_H */
