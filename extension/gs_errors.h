/*-------------------------------------------------------------------------
 *
 * gs_errors.h
 *	  The extension's SQLSTATEs as ereport() wants them.
 *
 * The codes themselves stand in client/include/gamestate_errors.h, which clients
 * include too: one list, one truth.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ERRORS_H
#define GS_ERRORS_H

#include "gamestate_errors.h"

/* A string literal is not a constant expression for MAKE_SQLSTATE. */
#define GS_SQLSTATE(s) MAKE_SQLSTATE((s)[0], (s)[1], (s)[2], (s)[3], (s)[4])

#define ERRCODE_GS_STALE_VERSION	GS_SQLSTATE(GAMESTATE_STALE_VERSION)
#define ERRCODE_GS_NO_SUCH_GAME		GS_SQLSTATE(GAMESTATE_NO_SUCH_GAME)
#define ERRCODE_GS_GAME_OVER		GS_SQLSTATE(GAMESTATE_GAME_OVER)
#define ERRCODE_GS_ROOM_TAKEN		GS_SQLSTATE(GAMESTATE_ROOM_TAKEN)
#define ERRCODE_GS_DUPLICATE_GAME	GS_SQLSTATE(GAMESTATE_DUPLICATE_GAME)
#define ERRCODE_GS_OUT_OF_MEMORY	GS_SQLSTATE(GAMESTATE_OUT_OF_MEMORY)
#define ERRCODE_GS_TOO_LARGE		GS_SQLSTATE(GAMESTATE_TOO_LARGE)
#define ERRCODE_GS_ROOM_FULL		GS_SQLSTATE(GAMESTATE_ROOM_FULL)
#define ERRCODE_GS_NOT_A_PLAYER		GS_SQLSTATE(GAMESTATE_NOT_A_PLAYER)
#define ERRCODE_GS_WRONG_ENCODING	GS_SQLSTATE(GAMESTATE_WRONG_ENCODING)
#define ERRCODE_GS_HISTORY_NOT_KEPT GS_SQLSTATE(GAMESTATE_HISTORY_NOT_KEPT)
#define ERRCODE_GS_LOADING			GS_SQLSTATE(GAMESTATE_LOADING)
#define ERRCODE_GS_REQUEST_REUSED	GS_SQLSTATE(GAMESTATE_REQUEST_REUSED)
#define ERRCODE_GS_WRONG_STATUS		GS_SQLSTATE(GAMESTATE_WRONG_STATUS)
#define ERRCODE_GS_DISABLED			GS_SQLSTATE(GAMESTATE_DISABLED)

#endif /* GS_ERRORS_H */
