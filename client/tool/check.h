/*
 * check.h: compare what the archive says with what was played.  Each function
 * says what differs and returns false.
 */
#ifndef GAMESTATE_CLIENT_CHECK_H
#define GAMESTATE_CLIENT_CHECK_H

#include <libpq-fe.h>

#include "ledger.h"

/* A value of the result against the expected text; NULL is SQL NULL. */
extern bool check_text(const PlayedGame *game, const char *what, const PGresult *result,
					   int row, int column, const char *expected);

extern bool check_number(const PlayedGame *game, const char *what, const PGresult *result,
						 int row, int column, int64_t expected);

/* The answer of a query: rows, as many as expected. */
extern bool check_rows(const PlayedGame *game, const char *what, const PGresult *result,
					   int expected);

/* Type, status, version, number of moves and players of CALL_ARCHIVED_GAME. */
extern bool check_archived_game(const PlayedGame *game, const PGresult *result,
								const char *game_type);

#endif /* GAMESTATE_CLIENT_CHECK_H */
