/*-------------------------------------------------------------------------
 *
 * gs_memory_wait.c
 *	  Waiting until the archiver has freed memory.
 *
 * The model:
 *	1. Games can end faster than they are archived.  Then those that are over
 *	   fill the memory: nothing can be created, and what an end needs comes from
 *	   the reserve, until that is used up as well.  Who creates or ends a game
 *	   then goes at the archiver's pace: he waits until a creation would not be
 *	   refused, an end until half of the reserve is there, for
 *	   gamestate.memory_wait at most.  What is done after that is what would
 *	   have been done at once.
 *	2. That helps only while an archiver is at work on a queue: it runs and does
 *	   not pause, and lately it has archived something, or begun to run, or its
 *	   queue has begun.  Otherwise nobody waits.
 *	3. Nobody else, nor the archiver, may have to wait for who waits.  So he is
 *	   in a transaction that has done nothing yet: it has no transaction id
 *	   (hence no locks on rows, and no table locked against readers) and has
 *	   locked and changed no game.  The snapshot of its statement keeps archived
 *	   games in memory: he frees them himself, as anybody does who needs memory.
 *
 * Locking: none is held while sleeping; slots_lock while it is looked whether an
 * archiver is at work, queue_lock within that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_lock.h"
#include "gs_memory_wait.h"
#include "gs_queue.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* An archiver that has archived nothing for so long, and could have, is not at work. */
#define STUCK_MS 5000

/* How often it is looked. */
#define LOOK_MS 5

static bool
may_wait(void)
{
	return gs_memory_wait > 0 && gs_archiver && !GsWriteSetActive &&
		   gs_lock_mark() == 0 && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* Will this database's archiver free something?  The caller holds slots_lock. */
static bool
is_at_work(GsDatabase *db, TimestampTz now)
{
	const GsWorkerSlot *slot = gs_worker_slot(db, GS_ROLE_GAMES);
	TimestampTz since;

	if (!OidIsValid(db->dboid) || slot->pid == 0 || slot->follower ||
		slot->state != GS_WORKER_RUNNING)
		return false;
	since = gs_queue_oldest(db);
	if (TIMESTAMP_IS_NOEND(since))
		return false;
	since = Max(since, Max(slot->started_at, slot->last_archived_at));
	return !TimestampDifferenceExceeds(since, now, STUCK_MS);
}

/* The memory is everybody's, a quota one database's. */
static bool
any_is_at_work(bool only_mine)
{
	TimestampTz now = GetCurrentTimestamp();
	bool found = false;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	if (only_mine)
		found = is_at_work(gs_my_database(), now);
	else
		for (int i = 0; i < gs_max_databases && !found; i++)
			found = is_at_work(gs_database_by_index(i), now);
	LWLockRelease(GsShmem->slots_lock);
	return found;
}

/* Sleep for a moment; false if there is nothing to wait for any more. */
static bool
wait_a_little(TimestampTz start, bool only_mine)
{
	if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), gs_memory_wait) ||
		!any_is_at_work(only_mine))
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* As an error would say at the call, or at the commit. */
static GsShortage
shortage_of(Size size, Size state)
{
	GsDatabase *db = gs_my_database();
	GsShortage shortage = gs_memory_shortage(db, size);

	if (shortage == GS_MEMORY_SUFFICES && !gs_has_room(db, state))
		shortage = GS_MEMORY_IS_USED;
	return shortage;
}

void
gs_wait_for_memory(Size size, Size state)
{
	TimestampTz start;
	GsShortage shortage;

	if (!may_wait())
		return;
	start = GetCurrentTimestamp();
	while ((shortage = shortage_of(size, state)) != GS_MEMORY_SUFFICES &&
		   wait_a_little(start, shortage == GS_QUOTA_IS_USED))
		;
}

void
gs_wait_for_reserve(void)
{
	TimestampTz start;

	if (!may_wait())
		return;
	start = GetCurrentTimestamp();
	while (gs_reserve_is_low(gs_my_database()) && wait_a_little(start, false))
		;
}
