/*-------------------------------------------------------------------------
 *
 * gamestate_errors.h
 *	  SQLSTATEs of gamestate, shared by the extension and by client programs.
 *
 * A client branches on these codes (PQresultErrorField(res,
 * PG_DIAG_SQLSTATE)), never on message texts.  Class "GS" lies in the range
 * that the SQL standard leaves to implementations.  Codes are only ever
 * added; a code keeps its meaning.
 *
 * Everything that is not listed here is reported with PostgreSQL's own codes
 * (22004 null argument, 22023 bad argument, 25006 read-only, 40P01 deadlock,
 * 55P03 lock timeout, 54000 too many games in one transaction, ...).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_ERRORS_H
#define GAMESTATE_ERRORS_H

#define GAMESTATE_STALE_VERSION	 "GS001" /* expected_version is not the game's version */
#define GAMESTATE_NO_SUCH_GAME	 "GS002" /* no game has this id */
#define GAMESTATE_GAME_OVER		 "GS003" /* the game is finished, abandoned or archived */
#define GAMESTATE_ROOM_TAKEN	 "GS004" /* another live game has this room code */
#define GAMESTATE_DUPLICATE_GAME "GS005" /* this id is live or archived already */
#define GAMESTATE_OUT_OF_MEMORY	 "GS006" /* gamestate.memory or the quota is used up */
#define GAMESTATE_TOO_LARGE		 "GS007" /* a limit on size or count is exceeded */
#define GAMESTATE_ROOM_FULL		 "GS008" /* max_players sit in the game */
#define GAMESTATE_NOT_A_PLAYER	 "GS009" /* the player does not sit in the game */
#define GAMESTATE_WRONG_ENCODING \
	"GS010" /* json function on a bytes game, or the reverse */
#define GAMESTATE_HISTORY_NOT_KEPT "GS011" /* the log does not reach back that far */
#define GAMESTATE_RATE_LIMITED	   "GS012" /* refused by a rate limit */
#define GAMESTATE_LOADING		   "GS013" /* games are still being loaded after a start */
#define GAMESTATE_REQUEST_REUSED   "GS014" /* request_id was used with other arguments */
#define GAMESTATE_WRONG_STATUS	   "GS015" /* not allowed in the game's status */
#define GAMESTATE_DISABLED		   "GS016" /* gamestate.enabled is off */
#define GAMESTATE_LEASE_LOST	   "GS017" /* the game is not run under this lease (any more) */

#endif /* GAMESTATE_ERRORS_H */
