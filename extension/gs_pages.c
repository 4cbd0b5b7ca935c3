/*-------------------------------------------------------------------------
 *
 * gs_pages.c
 *	  Which page of a journal table a backend writes its next row to.
 *
 * The model:
 *	1. A backend owns a page of each journal table and kind and fills it alone,
 *	   so that nobody waits for the table's last page.  What it owns it knows
 *	   from its own memory; nothing on disk says so, and everything is checked
 *	   again when the page is locked for writing (gs_light.c, heapam).
 *	2. Empty pages come from a pool in shared memory.  The archiver extends the
 *	   table before the pool is empty (gs_pages_fill()), with zeros and without
 *	   WAL: a page's first row is logged with the whole page.  So a move does
 *	   not wait for the file, which others write to, too: that can take a tenth
 *	   of a second.  Who finds the pool empty all the same, because there is no
 *	   archiver or it is late, extends the table, and from then on more
 *	   is kept in the pool.
 *	3. A backend that ends, or needs a page with more room, leaves its page to
 *	   others.
 *	4. After a restart nothing is known: half full pages stay as they are, and
 *	   blocks that were never used stay zero, until rotation empties the table.
 *
 * The table may get another file (VACUUM FULL, rotation) or lose blocks at its
 * end (VACUUM) between any two transactions, but not while we have it locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_pages.h"
#include "gs_worker.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

/*
 * Empty pages that the archiver keeps in the pool, between these and never more
 * than a 32nd of gamestate.journal_size.  Below half of them it fills up.
 */
#define AHEAD_MIN 8
#define AHEAD_MAX 1024

/* By how much a backend extends the table at most. */
#define EXTEND_MAX 128

/* A page with less room is not worth being passed on. */
#define USEFUL_ROOM 512

#define EMPTY_ROOM (BLCKSZ - SizeOfPageHeaderData - sizeof(ItemIdData))

typedef struct OwnedPage
{
	Oid node;
	BlockNumber block;
	Size free;
	bool promised; /* some of it to this transaction, which writes later */
} OwnedPage;

static OwnedPage owned[2][GS_PAGE_KINDS];
static GsDatabase *owned_in = NULL; /* NULL = nothing owned so far */

static const GsZeroBlock zero_block;

/* ----------------------------------------------------------------
 *		The pool
 * ----------------------------------------------------------------
 */

/* The pool of a file; the caller holds pages_lock exclusive. */
static GsPagePool *
pool_of(GsDatabase *db, int table, Oid node)
{
	GsPagePool *pool = &db->pages[table];

	if (pool->node != node)
	{
		memset(pool, 0, sizeof(*pool));
		pool->node = node;
	}
	return pool;
}

void
gs_pages_init(GsDatabase *db)
{
	LWLockInitialize(&db->pages_lock, GsShmem->pages_tranche);
	pg_atomic_init_u32(&db->pages_wanted, 0);
	db->pages_ahead = AHEAD_MIN;
}

void
gs_pages_forget(GsDatabase *db)
{
	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	memset(db->pages, 0, sizeof(db->pages));
	db->pages_ahead = AHEAD_MIN;
	LWLockRelease(&db->pages_lock);
}

static BlockNumber
most_ahead(void)
{
	return Min(AHEAD_MAX, (BlockNumber) gs_journal_size * (1024 * 1024 / BLCKSZ) / 32);
}

static BlockNumber
pages_left(const GsPagePool *pool)
{
	return pool->next < pool->end ? pool->end - pool->next : 0;
}

static void
give_page(GsDatabase *db, int table, GsPageKind kind, const OwnedPage *page)
{
	GsPagePool *pool;

	if (page->node == InvalidOid || page->free < USEFUL_ROOM)
		return;
	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	pool = &db->pages[table];
	if (pool->node == page->node && pool->nopen[kind] < GS_OPEN_PAGES)
	{
		GsOpenPage *open = &pool->open[kind][pool->nopen[kind]++];

		open->block = page->block;
		open->free = page->free;
	}
	LWLockRelease(&db->pages_lock);
}

/* A page of the pool with room enough; InvalidBlockNumber if there is none. */
static BlockNumber
take_page(GsDatabase *db, int table, Oid node, GsPageKind kind, Size need)
{
	GsPagePool *pool;
	BlockNumber block = InvalidBlockNumber;
	bool is_low = false;

	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	pool = pool_of(db, table, node);
	for (int i = 0; i < pool->nopen[kind] && block == InvalidBlockNumber; i++)
	{
		if (pool->open[kind][i].free < need)
			continue;
		block = pool->open[kind][i].block;
		pool->open[kind][i] = pool->open[kind][--pool->nopen[kind]];
	}
	if (block == InvalidBlockNumber)
	{
		if (pool->next < pool->end)
			block = pool->next++;
		is_low = pages_left(pool) < db->pages_ahead / 2;
	}
	LWLockRelease(&db->pages_lock);
	if (is_low && pg_atomic_read_u32(&db->pages_wanted) == 0 &&
		pg_atomic_exchange_u32(&db->pages_wanted, 1) == 0)
		gs_worker_wake_archiver(db);
	return block;
}

static void
leave_pages(int code, Datum arg)
{
	for (int table = 0; table < 2; table++)
		for (int kind = 0; kind < GS_PAGE_KINDS; kind++)
			give_page(owned_in, table, kind, &owned[table][kind]);
	memset(owned, 0, sizeof(owned));
}

/*
 * VACUUM may have cut off blocks that the pool has.  They must not be given out
 * when the table has grown again.  The caller has locked the file's end; the pages that backends own are checked when
 * they are used (gs_light.c).
 */
static void
forget_cut_off(GsDatabase *db, int table, Oid node, BlockNumber nblocks)
{
	GsPagePool *pool;

	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	pool = pool_of(db, table, node);
	for (int kind = 0; kind < GS_PAGE_KINDS; kind++)
		for (int i = pool->nopen[kind] - 1; i >= 0; i--)
			if (pool->open[kind][i].block >= nblocks)
				pool->open[kind][i] = pool->open[kind][--pool->nopen[kind]];
	pool->end = Min(pool->end, nblocks);
	LWLockRelease(&db->pages_lock);
}

/* By a backend: the caller has locked the file's end, which is at "first". */
static void
add_blocks(Relation rel, BlockNumber first, BlockNumber n)
{
	for (BlockNumber i = 0; i < n; i++)
		smgrextend(RelationGetSmgr(rel), MAIN_FORKNUM, first + i,
				   unconstify(char *, &zero_block.data[0]), false);
}

/*
 * By the archiver: not only into the file but also into buffers, so that it is
 * not a player either who has to write another page for the sake of this one.
 */
static void
add_buffered_blocks(Relation rel, BlockNumber n)
{
	for (BlockNumber i = 0; i < n; i++)
		ReleaseBuffer(ReadBuffer(rel, P_NEW));
}

/* Put new blocks into the pool; the caller has locked the file's end. */
static void
pool_blocks(Relation rel, GsDatabase *db, int table, BlockNumber first, BlockNumber n)
{
	GsPagePool *pool;

	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	pool = pool_of(db, table, GsRelationFile(rel));
	/* what is left is given up if the new blocks do not follow it */
	if (pages_left(pool) == 0 || pool->end != first)
		pool->next = first;
	pool->end = first + n;
	LWLockRelease(&db->pages_lock);
}

/* The pool is empty: make the table longer, and see that it will not happen again. */
static BlockNumber
extend(Relation rel, GsDatabase *db, int table, GsPageKind kind, Size need)
{
	Oid node = GsRelationFile(rel);
	BlockNumber block;
	BlockNumber first;
	BlockNumber n;

	LockRelationForExtension(rel, ExclusiveLock);

	/* while we waited somebody else may have done it */
	block = take_page(db, table, node, kind, need);
	first = RelationGetNumberOfBlocks(rel);
	if (block != InvalidBlockNumber && block < first)
	{
		UnlockRelationForExtension(rel, ExclusiveLock);
		return block;
	}
	forget_cut_off(db, table, node, first);
	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	n = Min(db->pages_ahead, EXTEND_MAX);
	db->pages_ahead = Min(db->pages_ahead * 2, most_ahead());
	LWLockRelease(&db->pages_lock);
	add_blocks(rel, first, n);
	if (n > 1)
		pool_blocks(rel, db, table, first + 1, n - 1);
	UnlockRelationForExtension(rel, ExclusiveLock);
	return first;
}

bool
gs_pages_wanted(GsDatabase *db)
{
	return pg_atomic_read_u32(&db->pages_wanted) != 0;
}

void
gs_pages_fill(Relation rel, GsDatabase *db, int table)
{
	BlockNumber first;
	BlockNumber left;
	BlockNumber ahead;

	/* before looking: who finds the pool low afterwards says so again */
	(void) pg_atomic_exchange_u32(&db->pages_wanted, 0);
	LockRelationForExtension(rel, ExclusiveLock);
	first = RelationGetNumberOfBlocks(rel);
	forget_cut_off(db, table, GsRelationFile(rel), first);
	LWLockAcquire(&db->pages_lock, LW_EXCLUSIVE);
	left = pages_left(pool_of(db, table, GsRelationFile(rel)));
	ahead = db->pages_ahead;
	LWLockRelease(&db->pages_lock);
	if (left < ahead)
	{
		add_buffered_blocks(rel, ahead - left);
		pool_blocks(rel, db, table, first, ahead - left);
	}
	UnlockRelationForExtension(rel, ExclusiveLock);
}

/* ----------------------------------------------------------------
 *		Owned pages
 * ----------------------------------------------------------------
 */

Size
gs_pages_room(Buffer buffer)
{
	Page page = BufferGetPage(buffer);

	return PageIsNew(page) ? EMPTY_ROOM + sizeof(ItemIdData)
						   : PageGetHeapFreeSpace(page) + sizeof(ItemIdData);
}

static Size
look_at_room(Buffer buffer)
{
	Size room;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	room = gs_pages_room(buffer);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return room;
}

/*
 * Does the page that we own still exist?  The relation's target block, which
 * is forgotten whenever the file has been shortened, saves asking for the
 * file's size each time.
 */
static bool
still_there(Relation rel, OwnedPage *own)
{
	if (own->node == InvalidOid)
		return false;
	if (likely(own->node == GsRelationFile(rel)))
	{
		if (likely(RelationGetTargetBlock(rel) == own->block))
			return true;
		if (own->block < RelationGetNumberOfBlocks(rel))
		{
			RelationSetTargetBlock(rel, own->block);
			return true;
		}
	}
	own->node = InvalidOid;
	return false;
}

static void
start_owning(GsDatabase *db)
{
	if (owned_in == NULL)
		before_shmem_exit(leave_pages, (Datum) 0);
	owned_in = db;
}

void
gs_pages_begin(int table)
{
	for (int kind = 0; kind < GS_PAGE_KINDS; kind++)
		owned[table][kind].promised = false;
}

Buffer
gs_pages_get(Relation rel, GsDatabase *db, int table, GsPageKind kind, Size need)
{
	OwnedPage *own = &owned[table][kind];
	OwnedPage page = {.node = GsRelationFile(rel)};
	Buffer buffer;

	if (unlikely(owned_in != db))
		start_owning(db);
	if (still_there(rel, own))
	{
		buffer = ReadBuffer(rel, own->block);

		/* it may have more room: a transaction that failed did not use its own */
		if (own->free < need && !own->promised)
			own->free = look_at_room(buffer);
		if (own->free >= need)
		{
			own->free -= need;
			own->promised = true;
			return buffer;
		}
		ReleaseBuffer(buffer);
	}

	for (;;)
	{
		page.block = take_page(db, table, page.node, kind, need);
		if (page.block == InvalidBlockNumber ||
			page.block >= RelationGetNumberOfBlocks(rel))
			page.block = extend(rel, db, table, kind, need);
		buffer = ReadBuffer(rel, page.block);
		page.free = look_at_room(buffer);
		if (page.free >= need)
			break;
		/* somebody else has written there */
		ReleaseBuffer(buffer);
	}
	page.free -= need;
	page.promised = true;

	/* go on with the one that has more room */
	if (own->node == InvalidOid || own->free <= page.free)
	{
		if (own->node != InvalidOid)
			give_page(db, table, kind, own);
		*own = page;
		RelationSetTargetBlock(rel, own->block);
	}
	return buffer;
}
