/*-------------------------------------------------------------------------
 *
 * gs_presence_absent.c
 *	  Players whose heartbeats have ended: what the timer worker does.
 *
 * The model:
 *	1. For each timer that was due look at its place (gs_presence.c): a heartbeat
 *	   may have put it off.  A player who is gone is told in the feed, and one who
 *	   has been absent for as long as his game type's policy says.
 *	2. If the policy wants the game to be abandoned, that is a change like any
 *	   other: the game is locked, and then looked at again, for the player may be
 *	   back, or the game over.  The change ends the presence of all its players
 *	   when it is committed, so it happens once.  A transaction each: one game
 *	   does not wait for another, and a failure is that of one.
 *	3. A game that is locked is not waited for: its timer is set for a moment
 *	   later.
 *
 * A player who comes back between that second look and the commit finds his game
 * abandoned, as if he had come a moment later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"
#include "gs_lock.h"
#include "gs_presence.h"
#include "gs_target.h"
#include "gs_worker.h"

#include "miscadmin.h"

/* For its room code's lock; then it is tried again. */
#define LOCK_TIMEOUT_MS 200

/* Returns whether it has been done. */
static bool
abandon(GsDatabase *db, const GsTimerDue *due, const GsAbsent *absent)
{
	GsText player = {absent->player_data, absent->player_len};
	GsRequest none = {NULL, 0};
	GsTarget target;

	if (!gs_lock_game(&absent->game_id, true))
	{
		gs_presence_again(db, due, false);
		return false;
	}
	if (!gs_find_locked_target(&absent->game_id, NULL, &target) ||
		GS_STATUS_IS_OVER(target.h.status))
	{
		gs_presence_end_game(MyDatabaseId, &absent->game_id);
		return false;
	}
	if (!gs_presence_is_absent(db, absent))
		return false; /* whoever is back has set the timer */
	(void) gs_end_game(&none, &target, GS_STATUS_ABANDONED, &player, NULL);
	return true;
}

static int
abandon_game(GsDatabase *db, const GsTimerDue *due, const GsAbsent *absent)
{
	bool done;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	gs_begin_write("absence");
	done = abandon(db, due, absent);
	gs_worker_commit_unawaited();
	return done ? 1 : 0;
}

int
gs_presence_run(GsDatabase *db, const GsTimerDue *due, int n)
{
	int done = 0;
	int nabandoned = 0;
	GsAbsent *absent = palloc(sizeof(GsAbsent) * n);
	GsTimerDue *whose = palloc(sizeof(GsTimerDue) * n);

	for (int i = 0; i < n; i++)
	{
		whose[nabandoned] = due[i];
		if (gs_presence_look(db, &due[i], &absent[nabandoned]))
			nabandoned++;
	}
	gs_feed_wake();
	for (int i = 0; i < nabandoned; i++)
		done += abandon_game(db, &whose[i], &absent[i]);
	return done;
}
