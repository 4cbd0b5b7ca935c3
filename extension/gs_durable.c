/*-------------------------------------------------------------------------
 *
 * gs_durable.c
 *	  Nobody is told what a crash can take back.
 *
 * The model:
 *	1. A light commit (gs_light.c) writes its record, changes shared memory and
 *	   releases the games' locks before the record is on disk: the next writer
 *	   of a game does not wait for the flush.  His record comes later in the
 *	   WAL, so whatever makes it durable makes ours durable too.
 *	2. The client gets his answer when the record is as durable as his
 *	   synchronous_commit says (gs_durable_commit()).
 *	3. Everybody else who has seen the new version waits, before he answers, for
 *	   the same: what counts is what its writer asked for, not what the reader
 *	   asks for.  Each game has the position and the level (GsGame.wait_lsn).
 *	   Once that much is known to be durable, looking costs a comparison.
 *	   What a commit has waited for counts from then on, so that a standby that
 *	   is asked for later makes nobody wait for old versions.
 *	4. Who finds nothing may owe that to a change which took something away and
 *	   is not durable yet; the database has the last position of these.
 *
 * A wait for the local disk cannot be cancelled, as in PostgreSQL; a reader's
 * wait for standbys can, and is an error then, not an answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_tick.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

/* How often a reader looks whether the standbys have come far enough. */
#define STANDBY_POLL_FIRST_MS 1
#define STANDBY_POLL_LAST_MS  20

XLogRecPtr GsSeenLsn[GS_DURABLE_LEVELS] = {0};
XLogRecPtr GsKnownDurable[GS_DURABLE_LEVELS] = {0};
bool GsSeenAny = false;
int GsToldLevel = SYNCHRONOUS_COMMIT_OFF;

static int
wait_mode(int level)
{
	switch (level)
	{
		case SYNCHRONOUS_COMMIT_REMOTE_WRITE:
			return SYNC_REP_WAIT_WRITE;
		case SYNCHRONOUS_COMMIT_REMOTE_APPLY:
			return SYNC_REP_WAIT_APPLY;
		default:
			return SYNC_REP_WAIT_FLUSH;
	}
}

/* Up to where is the WAL durable in this sense? */
static XLogRecPtr
durable_up_to(int level)
{
	XLogRecPtr lsn = GetFlushRecPtr(NULL);

	/* not our own synchronous_standby_names: a reload does not reach who waits */
	if (level > SYNCHRONOUS_COMMIT_LOCAL_FLUSH && max_wal_senders > 0 &&
		GsSyncStandbysDefined())
	{
		LWLockAcquire(SyncRepLock, LW_SHARED);
		lsn = Min(lsn, WalSndCtl->lsn[wait_mode(level)]);
		LWLockRelease(SyncRepLock);
		for (int i = level; i < GS_DURABLE_LEVELS; i++)
			lsn = Max(lsn, pg_atomic_read_u64(&GsShmem->waited_lsn[i]));
	}
	return lsn;
}

/*
 * A commit has waited for standbys.  If it was not cancelled, that much is
 * durable in this sense for ever, even if more standbys are asked for later.
 */
static void
note_waited(XLogRecPtr lsn, int level)
{
	pg_atomic_uint64 *waited = &GsShmem->waited_lsn[level];
	uint64 known = pg_atomic_read_u64(waited);

	if (level <= SYNCHRONOUS_COMMIT_LOCAL_FLUSH || !gs_durable_is(lsn, level))
		return;
	while (known < lsn && !pg_atomic_compare_exchange_u64(waited, &known, lsn))
		;
}

bool
gs_durable_is(XLogRecPtr lsn, int level)
{
	if (level == SYNCHRONOUS_COMMIT_OFF || lsn <= GsKnownDurable[level])
		return true;
	GsKnownDurable[level] = durable_up_to(level);
	return lsn <= GsKnownDurable[level];
}

void
gs_durable_look(void)
{
	for (int level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH; level < GS_DURABLE_LEVELS; level++)
		GsKnownDurable[level] = Max(GsKnownDurable[level], durable_up_to(level));
}

void
gs_durable_note_gone(GsDatabase *db)
{
	for (int level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH; level < GS_DURABLE_LEVELS; level++)
		gs_durable_note(pg_atomic_read_u64(&db->gone_lsn[level]), level);
}

static void
wait_for_standbys(XLogRecPtr lsn, int level)
{
	int delay = STANDBY_POLL_FIRST_MS;

	while (!gs_durable_is(lsn, level))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, delay,
						 WAIT_EVENT_SYNC_REP);
		ResetLatch(MyLatch);
		delay = Min(delay * 2, STANDBY_POLL_LAST_MS);
	}
}

static void
wait_for(XLogRecPtr lsn, int level)
{
	if (gs_durable_is(lsn, level))
		return;
	XLogFlush(lsn);
	if (level > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		wait_for_standbys(lsn, level);
}

void
gs_durable_wait_slow(void)
{
	for (int level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH; level < GS_DURABLE_LEVELS; level++)
		wait_for(GsSeenLsn[level], level);
	gs_durable_forget();
}

bool
gs_durable_try(void)
{
	bool durable = true;

	if (!GsSeenAny)
		return true;
	for (int level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH; level < GS_DURABLE_LEVELS; level++)
		durable &= gs_durable_is(GsSeenLsn[level], level);
	gs_durable_forget();
	return durable;
}

void
gs_durable_before_commit(void)
{
	if (!GsSeenAny)
		return;
	for (int level = synchronous_commit + 1; level < GS_DURABLE_LEVELS; level++)
		wait_for(GsSeenLsn[level], level);
}

/* As core waits for standbys, in another sense than our own: cancelling it is a warning. */
static void
commit_wait_for_standbys(XLogRecPtr lsn, int level)
{
	int own_level = synchronous_commit;

	synchronous_commit = level;
	assign_synchronous_commit(level, NULL);
	SyncRepWaitForLSN(lsn, true);
	synchronous_commit = own_level;
	assign_synchronous_commit(own_level, NULL);
}

bool
gs_durable_committed(XLogRecPtr lsn)
{
	int level = gs_durable_told_level();

	note_waited(lsn, level);
	return gs_durable_is(lsn, level);
}

void
gs_durable_commit(XLogRecPtr lsn)
{
	if (synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
	{
		XLogFlush(lsn);
		GsKnownDurable[SYNCHRONOUS_COMMIT_LOCAL_FLUSH] = lsn;
		SyncRepWaitForLSN(lsn, true);
		note_waited(lsn, synchronous_commit);
	}
	else
		gs_tick_announce(lsn);
	gs_tick_want();

	if (!GsSeenAny)
		return;
	for (int level = synchronous_commit + 1; level < GS_DURABLE_LEVELS; level++)
	{
		if (gs_durable_is(GsSeenLsn[level], level))
			continue;
		if (level == SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
			XLogFlush(GsSeenLsn[level]);
		else
		{
			/* our own record, which comes later: no two may wait for the same position */
			XLogFlush(lsn);
			commit_wait_for_standbys(lsn, level);
		}
	}
}
