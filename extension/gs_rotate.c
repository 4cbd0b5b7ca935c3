/*-------------------------------------------------------------------------
 *
 * gs_rotate.c
 *	  Rotation of the journal: from a full table to an empty one.
 *
 * The model, in the archiver's process, when the active table has grown
 * beyond what gamestate.journal_size says:
 *	1. The other table, which is empty, gets some empty pages, so that nobody
 *	   has to wait for those, and becomes the active one.
 *	2. Whoever writes to the old table has locked it: wait for them with a
 *	   ShareLock, which is not sent to standbys.  From now on nobody writes there.
 *	3. Images of the games whose newest image is not in the active table are
 *	   written to it, a few in a transaction, busy games last.
 *	4. The old table is emptied by giving it new storage, in an ordinary
 *	   transaction.  That is not TRUNCATE: logical subscribers see nothing.
 * A crash between any two steps leaves two tables with rows.  Loading reads
 * both, so nothing is lost; then the rotation is finished from step 2.  After
 * an error it goes on from there as well.
 *
 * Play and archiving go on all the time.  A game is locked while its image is
 * written, and images are written at a pace that leaves processor and disk to
 * the players: PACE bytes a second.  What bounds the journal is that images
 * keep up with the moves: when those have taken a quarter of the limit, all
 * images must be there.  The images take half of it at most (gs_rotate_limit()),
 * so that the new table cannot be full before the old one is empty.  Who is
 * behind that writes for half of the time, and when the table is full, always.
 * Between two transactions of images the archiver gives way (gs_give_way.c), unless
 * it is behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_give_way.h"
#include "gs_journal.h"
#include "gs_lock.h"
#include "gs_pages.h"
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
#define IMAGES_MAX	  16
#define IMAGES_BYTES  ((Size) 256 * 1024)
#define IMAGES_LOOKED 1000 /* games that are looked at for them */

/*
 * Bytes of images a second, while nobody needs them sooner; and for how long
 * the pace may be made up for when the archiver was late.
 */
#define PACE		   ((int64) 16 * 1024 * 1024)
#define PACE_BEHIND_US ((int64) 100 * 1000)

/* How long the archiver does nothing else. */
#define TURN_US ((int64) 50 * 1000)

/* How long to wait for somebody who has locked the old table, since archiving waits as well. */
#define LOCK_TIMEOUT_MS 1000

/* How long to wait for games that somebody has locked, from time to time longer. */
#define BUSY_FIRST_MS 10
#define BUSY_LAST_MS  1000

/* The rotation that goes on.  Local: an archiver that takes over begins at step 2. */
typedef struct Rotation
{
	bool drained;		   /* steps 1 and 2 are done, the list is there */
	MemoryContext context; /* of the list */
	pg_uuid_t *ids; /* games that may need an image; the busy ones come first again */
	int n;
	int next;
	int busy;
	int busy_ms;
	uint64 bytes;	 /* of images so far */
	TimestampTz due; /* of the next transaction */
} Rotation;

static Rotation rotation = {0};

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

/* Before it is the active one. */
static void
make_room_in(GsDatabase *db, uint32 which)
{
	Relation rel;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	rel = table_open(db->journal[which], RowExclusiveLock);
	gs_journal_check(rel);
	gs_pages_fill(rel, db, which);
	table_close(rel, NoLock);
	gs_worker_commit();
}

void
gs_rotate_make_room(GsDatabase *db)
{
	Relation rel;
	uint32 which;

	if (!gs_pages_wanted(db))
		return;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	rel = gs_journal_open(db, &which);
	gs_pages_fill(rel, db, which);
	table_close(rel, NoLock);
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

/* One transaction: images of games from the next one on; busy ones are put back. */
static void
write_some(uint32 active)
{
	Rotation *r = &rotation;
	int looked = 0;
	int images = 0;
	Size bytes = 0;

	gs_worker_begin(0);
	while (r->next < r->n && images < IMAGES_MAX && bytes < IMAGES_BYTES &&
		   looked++ < IMAGES_LOOKED)
	{
		pg_uuid_t *id = &r->ids[r->next++];
		Size size;

		CHECK_FOR_INTERRUPTS();
		if (needs_image(id, active) == 0)
			continue;
		if (!gs_lock_game(id, true))
		{
			r->ids[r->busy++] = *id;
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
	r->bytes += bytes;
	r->due += bytes * USECS_PER_SEC / PACE;
}

/* Have the moves taken more of the new table than of the images is written? */
static bool
is_behind(GsDatabase *db)
{
	uint64 written = pg_atomic_read_u64(&db->journal_bytes);
	double moves = written > rotation.bytes ? written - rotation.bytes : 0;

	return moves * rotation.n > (double) gs_rotate_limit(db) / 4 * rotation.next;
}

/* When to go on; the last transaction has begun at "start". */
static void
set_pace(GsDatabase *db, TimestampTz start)
{
	TimestampTz now = GetCurrentTimestamp();

	rotation.due = Max(rotation.due, now - PACE_BEHIND_US);
	if (pg_atomic_read_u64(&db->journal_bytes) > gs_rotate_limit(db))
		rotation.due = now;
	else if (is_behind(db))
		rotation.due = Min(rotation.due, now + (now - start));
}

/* Images, until the next are due later; false if some are missing. */
static bool
write_images(GsDatabase *db, uint32 active)
{
	Rotation *r = &rotation;
	TimestampTz turn_start = GetCurrentTimestamp();
	TimestampTz start = turn_start;

	while (r->next < r->n)
	{
		if (r->due > start || start - turn_start > TURN_US)
			return false;
		gs_rotate_make_room(db);
		write_some(active);
		set_pace(db, start);
		gs_give_way_allow(!is_behind(db));
		gs_give_way();
		start = GetCurrentTimestamp();
	}
	if (r->busy == 0)
		return true;
	r->n = r->busy;
	r->next = r->busy = 0;
	r->due = TimestampTzPlusMilliseconds(start, r->busy_ms);
	r->busy_ms = Min(r->busy_ms * 2, BUSY_LAST_MS);
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

/* Steps 1 and 2, and the games whose images have to be written. */
static void
begin(GsDatabase *db)
{
	MemoryContext old;

	begin_statistics(db);
	if (!db->journal_two)
	{
		make_room_in(db, 1 - pg_atomic_read_u32(&db->journal_active));
		change_active(db);
	}
	drain(db->journal[1 - pg_atomic_read_u32(&db->journal_active)]);

	if (rotation.context == NULL)
		rotation.context = AllocSetContextCreate(TopMemoryContext, "gamestate rotation",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(rotation.context);
	old = MemoryContextSwitchTo(rotation.context);
	/* who comes from now on has his image in the new table */
	rotation.ids = gs_table_ids(&rotation.n);
	MemoryContextSwitchTo(old);
	rotation.next = rotation.busy = 0;
	rotation.busy_ms = BUSY_FIRST_MS;
	rotation.bytes = 0;
	rotation.due = GetCurrentTimestamp();
}

/* Steps 3 and 4; when to go on, 0 = done. */
static TimestampTz
go_on(GsDatabase *db)
{
	uint32 active = pg_atomic_read_u32(&db->journal_active);

	if (!write_images(db, active))
		return rotation.due;
	empty(db->journal[1 - active]);
	db->journal_two = false;
	end_statistics(db);
	MemoryContextReset(rotation.context);
	return 0;
}

TimestampTz
gs_rotate(GsDatabase *db)
{
	bool drained = rotation.drained;
	TimestampTz due;

	rotation.drained = false; /* after an error, once more */
	if (!is_due(db))
		return 0;
	if (drained && rotation.due > GetCurrentTimestamp())
	{
		rotation.drained = true;
		return rotation.due;
	}
	pgstat_report_activity(STATE_RUNNING, "rotating the journal");
	if (!drained)
		begin(db);
	due = go_on(db);
	rotation.drained = due != 0;
	return due;
}
