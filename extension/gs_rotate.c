/*-------------------------------------------------------------------------
 *
 * gs_rotate.c
 *	  Rotation of the journal: from a full table to an empty one.
 *
 * The model, in the archiver's process, when the active table has grown
 * beyond what gamestate.journal_size says:
 *	1. The other table, which is empty, becomes the active one.
 *	2. Whoever writes to the old table has locked it: wait for them with a
 *	   ShareLock, which is not sent to standbys.  From now on nobody writes there.
 *	3. Images of the games whose newest image is not in the active table are
 *	   written to it, a few in a transaction, busy games last.
 *	4. The old table is emptied by giving it new storage, in an ordinary
 *	   transaction.  That is not TRUNCATE: logical subscribers see nothing.
 * A crash between any two steps leaves two tables with rows.  Loading reads
 * both, so nothing is lost; then the rotation is finished from step 2.
 *
 * Play goes on all the time: a game is locked while its image is written, and
 * between two transactions of images is a pause as long as they took.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_journal.h"
#include "gs_lock.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* One transaction of images: few, so that no game is locked for long. */
#define IMAGES_MAX	 16
#define IMAGES_BYTES ((Size) 256 * 1024)

/* What is left to the players: as long as a transaction took, up to this. */
#define PAUSE_MAX_MS 100

/*
 * How long to wait for somebody who has locked the old table, since archiving
 * waits as well, or has a game locked.
 */
#define LOCK_TIMEOUT_MS 1000
#define BUSY_WAIT_MS	10

/* Images of all games must fit well below it. */
uint64
gs_rotate_limit(GsDatabase *db)
{
	uint64 limit = (uint64) gs_journal_size * 1024 * 1024;

	return Max(limit, 2 * pg_atomic_read_u64(&db->used_bytes));
}

static bool
is_due(GsDatabase *db)
{
	if (pg_atomic_read_u32(&db->load_state) != GS_LOAD_DONE)
		return false;
	return db->journal_two ||
		   pg_atomic_read_u64(&db->journal_bytes) > gs_rotate_limit(db);
}

static void
change_active(GsDatabase *db)
{
	uint32 old = pg_atomic_read_u32(&db->journal_active);

	db->journal_two = true;
	pg_atomic_write_u64(&db->journal_bytes, 0);
	pg_write_barrier();
	pg_atomic_write_u32(&db->journal_active, 1 - old);
	pg_memory_barrier();
}

static void
drain(Oid old)
{
	gs_worker_begin(LOCK_TIMEOUT_MS);
	LockRelationOid(old, ShareLock);
	gs_worker_commit();
}

/* Bytes of the image of a game that still needs one; 0 if it does not. */
static Size
needs_image(const pg_uuid_t *id, uint32 active)
{
	GsGame *game = gs_table_find(id, true);
	Size size = 0;

	if (game == NULL)
		return 0;
	if (game->image_in != active && game->h.durability == GS_DURABILITY_JOURNAL)
		size = 1 + game->state_len + game->initial_len + game->log_bytes;
	gs_table_release(game);
	return size;
}

/*
 * Nobody waits for images: what comes after them is flushed after them.  Not a
 * setting of the transaction: those end in gs_worker_commit() before the commit.
 */
static void
commit_images(void)
{
	int level = synchronous_commit;

	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	PG_TRY();
	{
		gs_worker_commit();
	}
	PG_FINALLY();
	{
		synchronous_commit = level;
	}
	PG_END_TRY();
}

/*
 * One transaction: images of games from *next on.  Returns how many games
 * were busy.
 */
static int
write_some(const pg_uuid_t *ids, int n, int *next, uint32 active)
{
	Size bytes = 0;
	int images = 0;
	int busy = 0;

	gs_worker_begin(0);
	while (*next < n && images < IMAGES_MAX && bytes < IMAGES_BYTES)
	{
		const pg_uuid_t *id = &ids[(*next)++];
		Size size;

		CHECK_FOR_INTERRUPTS();
		if (needs_image(id, active) == 0)
			continue;
		if (!gs_lock_game(id, true))
		{
			busy++;
			continue;
		}
		size = needs_image(id, active);
		if (size == 0)
			continue;
		gs_writeset_image(id);
		bytes += size;
		images++;
	}
	commit_images();
	return busy;
}

/*
 * Let others work for as long as we have worked, unless the new table, too, is
 * about to be full.
 */
static void
give_way(GsDatabase *db, TimestampTz since)
{
	uint64 limit = (uint64) gs_journal_size * 1024 * 1024;
	long ms = TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

	if (pg_atomic_read_u64(&db->journal_bytes) > limit)
		return;
	(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(Max(ms, 1), PAUSE_MAX_MS), PG_WAIT_EXTENSION);
	CHECK_FOR_INTERRUPTS();
}

/* Images of all games; false if some were busy all the time. */
static bool
write_images(GsDatabase *db, uint32 active)
{
	for (int try = 0; try < 100; try++)
	{
		int n;
		pg_uuid_t *ids = gs_table_ids(&n);
		int next = 0;
		int busy = 0;

		while (next < n)
		{
			TimestampTz start = GetCurrentTimestamp();

			busy += write_some(ids, n, &next, active);
			give_way(db, start);
		}
		pfree(ids);
		if (busy == 0)
			return true;
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, BUSY_WAIT_MS,
						 PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

static void
empty(Oid old)
{
	Relation rel;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	rel = table_open(old, AccessExclusiveLock);
	gs_journal_check(rel);
	GsRelationSetNewStorage(rel);
	table_close(rel, NoLock);
	gs_worker_commit();
}

/* A rotation that has to wait is one, however many turns it takes. */
static void
begin_statistics(GsDatabase *db)
{
	if (pg_atomic_read_u64(&db->rotation.started_at) == 0)
		pg_atomic_write_u64(&db->rotation.started_at, GetCurrentTimestamp());
}

static void
end_statistics(GsDatabase *db)
{
	TimestampTz start = pg_atomic_read_u64(&db->rotation.started_at);

	pg_atomic_write_u64(&db->rotation.last_ms,
						TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()));
	pg_atomic_fetch_add_u64(&db->rotation.count, 1);
	pg_atomic_write_u64(&db->rotation.started_at, 0);
}

bool
gs_rotate_if_due(GsDatabase *db)
{
	uint32 active;

	if (!is_due(db))
		return false;
	pgstat_report_activity(STATE_RUNNING, "rotating the journal");
	begin_statistics(db);
	if (!db->journal_two)
		change_active(db);
	active = pg_atomic_read_u32(&db->journal_active);
	drain(db->journal[1 - active]);
	if (!write_images(db, active))
		return true; /* the next turn goes on */
	empty(db->journal[1 - active]);
	db->journal_two = false;
	end_statistics(db);
	return true;
}
