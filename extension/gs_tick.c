/*-------------------------------------------------------------------------
 *
 * gs_tick.c
 *	  What light commits leave to be done a little later, by the launcher.
 *
 * The model:
 *	1. Announcements.  An asynchronous commit tells the WAL writer what to
 *	   flush (XLogSetAsyncXactLSN()), which wakes it: at tens of thousands of
 *	   moves a second that costs up to a tenth of a move.  So only the first
 *	   commit of a quarter of wal_writer_delay does; when others have come
 *	   after it, the launcher announces everything at the end of the quarter.
 *	   What synchronous_commit = off may lose (three times wal_writer_delay,
 *	   as documented by PostgreSQL) grows by that quarter.
 *	2. Ticks.  Point-in-time recovery stops at commit records only, and light
 *	   commits have none.  While there are some, the launcher commits an empty
 *	   transaction every gamestate.pitr_tick.
 *
 * A commit that finds a flag set has nothing to do; who sets it wakes the
 * launcher.  Without a launcher commits announce themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_shmem.h"
#include "gs_tick.h"
#include "gs_worker.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "postmaster/walwriter.h"
#include "utils/timestamp.h"

#define QUARTER ((TimestampTz) WalWriterDelay * 1000 / 4)

static TimestampTz next_tick = 0;

void
gs_tick_init(GsTick *tick)
{
	pg_atomic_init_u64(&tick->next_announcement, 0);
	pg_atomic_init_u64(&tick->last_commit, 0);
	pg_atomic_init_u32(&tick->announcement_wanted, 0);
	pg_atomic_init_u32(&tick->tick_wanted, 0);
}

static void
want(pg_atomic_uint32 *flag)
{
	if (pg_atomic_read_u32(flag) == 0 && pg_atomic_exchange_u32(flag, 1) == 0)
		gs_worker_wake_ticker();
}

void
gs_tick_announce(XLogRecPtr lsn)
{
	GsTick *tick = &GsShmem->tick;
	TimestampTz now = GetCurrentTimestamp();
	uint64 next = pg_atomic_read_u64(&tick->next_announcement);
	uint64 last = pg_atomic_read_u64(&tick->last_commit);

	/* a clock that was set back must not silence us */
	if (now >= (TimestampTz) next || (TimestampTz) next - now > QUARTER)
	{
		TimestampTz later = now + QUARTER;

		if (pg_atomic_compare_exchange_u64(&tick->next_announcement, &next, later))
		{
			XLogSetAsyncXactLSN(lsn);
			return;
		}
	}
	if (!gs_worker_has_ticker())
	{
		XLogSetAsyncXactLSN(lsn);
		return;
	}

	/*
	 * The end of a record, not the place where the next one will be inserted:
	 * that can be behind the header of a page which does not exist yet, and the
	 * WAL writer would panic.
	 */
	while (last < lsn && !pg_atomic_compare_exchange_u64(&tick->last_commit, &last, lsn))
		;
	want(&tick->announcement_wanted);
}

void
gs_tick_want(void)
{
	if (gs_pitr_tick > 0)
		want(&GsShmem->tick.tick_wanted);
}

/* Milliseconds until then; at least one. */
static long
until(TimestampTz at, TimestampTz now)
{
	return Max(1, (long) ((at - now + 999) / 1000));
}

static long
announce_if_due(TimestampTz now)
{
	GsTick *tick = &GsShmem->tick;
	TimestampTz next = pg_atomic_read_u64(&tick->next_announcement);

	if (pg_atomic_read_u32(&tick->announcement_wanted) == 0)
		return -1;
	if (now < next && next - now <= QUARTER)
		return until(next, now);
	(void) pg_atomic_exchange_u32(&tick->announcement_wanted, 0);
	XLogSetAsyncXactLSN(pg_atomic_read_u64(&tick->last_commit));
	return -1;
}

static void
commit_something(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTopTransactionId();
	CommitTransactionCommand();
}

static long
tick_if_due(TimestampTz now)
{
	GsTick *tick = &GsShmem->tick;
	TimestampTz later = now + (TimestampTz) gs_pitr_tick * 1000;

	if (gs_pitr_tick == 0 || pg_atomic_read_u32(&tick->tick_wanted) == 0)
		return -1;
	if (next_tick == 0 || next_tick > later)
		next_tick = later; /* the first commit after a silence: a tick from now */
	if (now < next_tick)
		return until(next_tick, now);
	next_tick = 0;
	(void) pg_atomic_exchange_u32(&tick->tick_wanted, 0);
	commit_something();
	return -1;
}

long
gs_tick_run(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long announcement = announce_if_due(now);
	long tick = tick_if_due(now);

	if (announcement < 0)
		return tick;
	return tick < 0 ? announcement : Min(announcement, tick);
}
