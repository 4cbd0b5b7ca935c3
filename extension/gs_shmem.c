/*-------------------------------------------------------------------------
 *
 * gs_shmem.c
 *	  The extension's piece of main shared memory, and allocation in it.
 *
 * The model:
 *	1. The postmaster asks for one piece of gamestate.memory megabytes plus
 *	   the fixed structures, and creates a DSA area in place in it.  The area
 *	   is limited to that piece: it never makes a DSM segment, so a pointer
 *	   into it is the same address in every process and is always mapped.
 *	2. A backend attaches when it first needs a game (gs_attach()).
 *	3. gs_alloc() takes memory from the area before a commit point; nothing is
 *	   allocated after it.  What an allocation costs is counted in what DSA
 *	   really hands out (its size classes, utils/mmgr/dsa.c), for the server
 *	   and for the database.
 *	4. The reserve is a number of blocks allocated at start.  What frees memory
 *	   (finish, archive, delete) may give blocks back to the area when it
 *	   finds no memory; everybody else has to fill the reserve up again before
 *	   allocating anything.
 *
 * The lock order stands in gs_shmem.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_stat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_errors.h"
#include "gs_feed.h"
#include "gs_follow.h"
#include "gs_index.h"
#include "gs_lease.h"
#include "gs_presence.h"
#include "gs_rate_limit.h"
#include "gs_shmem.h"
#include "gs_table.h"
#include "gs_worker.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#define GS_TRANCHE "gamestate"

enum
{
	GS_LWLOCK_COMMIT,
	GS_LWLOCK_SLOTS,
	GS_LWLOCK_RESERVE,
	GS_LWLOCK_COUNT
};

/* DSA allocates whole pages above this (dsa.c's largest size class). */
#define GS_DSA_LARGEST_CLASS 8192
#define GS_DSA_PAGE			 4096

GsShared *GsShmem = NULL;
dsa_area *GsArea = NULL;

/* the place of the area in main shared memory */
static void *area_place = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static Size
area_size(void)
{
	return (Size) gs_memory * 1024 * 1024;
}

static int
reserve_blocks(void)
{
	Size bytes = area_size() / 100 * gs_reserve_percent;

	/* a finish may need two: the largest info, and a chunk for the largest result */
	return Max(2, (int) (bytes / GS_RESERVE_BLOCK)) *
		   (int) (GS_RESERVE_BLOCK / GS_RESERVE_PIECE);
}

static Size
shared_size(void)
{
	return add_size(MAXALIGN(sizeof(GsShared)),
					MAXALIGN(mul_size(sizeof(GsReserved), reserve_blocks())));
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(shared_size());
	RequestAddinShmemSpace(area_size());
	RequestAddinShmemSpace(gs_database_shmem_size());
	RequestAddinShmemSpace(gs_worker_shmem_size());
	RequestAddinShmemSpace(gs_archiver_stat_shmem_size());
	RequestAddinShmemSpace(gs_follow_shmem_size());
	RequestAddinShmemSpace(gs_feed_shmem_size());
	RequestAddinShmemSpace(gs_presence_shmem_size());
	RequestAddinShmemSpace(gs_rate_shmem_size());
	RequestNamedLWLockTranche(GS_TRANCHE, GS_LWLOCK_COUNT);
}

static bool fill_reserve(void);

/* Create the area, the hash tables in it, and the reserve. */
static void
create_area(void)
{
	GsArea = dsa_create_in_place(area_place, area_size(), GsShmem->dsa_tranche, NULL);
	dsa_pin(GsArea);
	dsa_set_size_limit(GsArea, area_size());

	gs_table_create();
	gs_index_create();
	gs_leases_create();

	(void) fill_reserve();

	/* Children attach for themselves. */
	dsa_detach(GsArea);
	GsArea = NULL;
}

static void
shmem_startup(void)
{
	bool found;
	bool found_area;
	LWLockPadded *locks;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	/* after a crash the postmaster makes new shared memory */
	GsShmem = NULL;
	GsArea = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	GsShmem = ShmemInitStruct("gamestate", shared_size(), &found);
	area_place = ShmemInitStruct("gamestate area", area_size(), &found_area);
	if (!found)
	{
		memset(GsShmem, 0, shared_size());
		locks = GetNamedLWLockTranche(GS_TRANCHE);
		GsShmem->commit_lock = &locks[GS_LWLOCK_COMMIT].lock;
		GsShmem->slots_lock = &locks[GS_LWLOCK_SLOTS].lock;
		GsShmem->reserve_lock = &locks[GS_LWLOCK_RESERVE].lock;
		GsShmem->dsa_tranche = LWLockNewTrancheId();
		GsShmem->games_tranche = LWLockNewTrancheId();
		GsShmem->index_tranche = LWLockNewTrancheId();
		GsShmem->queue_tranche = LWLockNewTrancheId();
		GsShmem->pages_tranche = LWLockNewTrancheId();
		GsShmem->feed_tranche = LWLockNewTrancheId();
		GsShmem->leases_tranche = LWLockNewTrancheId();
		GsShmem->rate_tranche = LWLockNewTrancheId();
		GsShmem->presence_tranche = LWLockNewTrancheId();
		GsShmem->timers_tranche = LWLockNewTrancheId();
		gs_tick_init(&GsShmem->tick);
		for (int level = 0; level < GS_DURABLE_LEVELS; level++)
			pg_atomic_init_u64(&GsShmem->waited_lsn[level], 0);
		GsShmem->area_size = area_size();
		GsShmem->reserve_target = reserve_blocks();
		GsShmem->reserve = (GsReserved *) ((char *) GsShmem + MAXALIGN(sizeof(GsShared)));
		pg_atomic_init_u64(&GsShmem->used_bytes, 0);
		pg_atomic_init_u64(&GsShmem->commit_seq, 0);
		pg_atomic_init_u64(&GsShmem->incarnation, 0);
		create_area();
	}
	gs_database_shmem_init(found);
	gs_worker_shmem_init(found);
	gs_archiver_stat_shmem_init(found);
	gs_follow_shmem_init(found);
	gs_feed_shmem_init(found);
	gs_presence_shmem_init(found);
	gs_rate_shmem_init(found);
	LWLockRelease(AddinShmemInitLock);
}

void
gs_shmem_install_hooks(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/* An area in place has no DSM segment whose detaching would release it. */
static void
release_area(int code, Datum arg)
{
	dsa_release_in_place(area_place);
}

void
gs_attach_slow(void)
{
	MemoryContext old;

	if (GsShmem == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("gamestate is not loaded"),
				 errdetail("Running games are kept in shared memory, which is allocated when the server starts."),
				 errhint("Add gamestate to shared_preload_libraries, for example shared_preload_libraries = 'gamestate', and restart the server.")));

	LWLockRegisterTranche(GsShmem->dsa_tranche, "GamestateArea");
	LWLockRegisterTranche(GsShmem->games_tranche, "GamestateGames");
	LWLockRegisterTranche(GsShmem->index_tranche, "GamestateIndex");
	LWLockRegisterTranche(GsShmem->queue_tranche, "GamestateQueue");
	LWLockRegisterTranche(GsShmem->pages_tranche, "GamestatePages");
	LWLockRegisterTranche(GsShmem->feed_tranche, "GamestateFeed");
	LWLockRegisterTranche(GsShmem->leases_tranche, "GamestateLeases");
	LWLockRegisterTranche(GsShmem->rate_tranche, "GamestateRates");
	LWLockRegisterTranche(GsShmem->presence_tranche, "GamestatePresence");
	LWLockRegisterTranche(GsShmem->timers_tranche, "GamestateTimers");

	old = MemoryContextSwitchTo(TopMemoryContext);
	PG_TRY();
	{
		GsArea = dsa_attach_in_place(area_place, NULL);
		dsa_pin_mapping(GsArea);
		on_shmem_exit(release_area, (Datum) 0);
		gs_table_attach();
		gs_index_attach();
		gs_leases_attach();
	}
	PG_CATCH();
	{
		/* out of local memory: attach as a whole or not at all */
		GsArea = NULL;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/*
 * What DSA really hands out.  The classes are those of dsa.c (PostgreSQL 13
 * to 18); were they to change, only the accounting would become less exact.
 */
Size
gs_alloc_size(Size size)
{
	static const uint16 classes[] = {8,	   16,	 24,   32,	 40,
									 48,   56,	 64,   80,	 96,
									 112,  128,	 160,  192,	 224,
									 256,  320,	 384,  448,	 512,
									 640,  768,	 896,  1024, 1280,
									 1560, 1816, 2048, 2616, 3120,
									 3640, 4096, 5456, 6552, GS_DSA_LARGEST_CLASS};
	int lo = 0;
	int hi = lengthof(classes) - 1;

	if (size > GS_DSA_LARGEST_CLASS)
		return TYPEALIGN(GS_DSA_PAGE, size);
	while (lo < hi)
	{
		int mid = (lo + hi) / 2;

		if (classes[mid] < size)
			lo = mid + 1;
		else
			hi = mid;
	}
	return classes[lo];
}

void
gs_account(GsDatabase *db, int64 delta)
{
	pg_atomic_fetch_add_u64(&GsShmem->used_bytes, delta);
	pg_atomic_fetch_add_u64(&db->used_bytes, delta);
}

void
gs_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_GS_OUT_OF_MEMORY),
			 errmsg("out of memory for games"),
			 errdetail("gamestate.memory (%d MB) has no room left for this change.", gs_memory),
			 errhint("Finish or delete games, or raise gamestate.memory and restart the server.")));
}

static void
quota_is_used(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_GS_OUT_OF_MEMORY),
			 errmsg("out of memory for games of this database"),
			 errdetail("The quota of this database is %d MB.", gs_quota),
			 errhint("Finish or delete games, or raise gamestate.quota for the database.")));
}

/*
 * Take blocks for the reserve until it is full; false if memory is used up.
 * Cannot fail otherwise.
 */
static bool
fill_reserve(void)
{
	bool full;

	LWLockAcquire(GsShmem->reserve_lock, LW_EXCLUSIVE);
	while (GsShmem->nreserve < GsShmem->reserve_target)
	{
		Size size = GS_RESERVE_BLOCK;
		dsa_pointer block = dsa_allocate_extended(GsArea, size, DSA_ALLOC_NO_OOM);

		/* what is free may lie in pieces: one of DSA's superblocks is worth having */
		if (!DsaPointerIsValid(block))
		{
			size = GS_RESERVE_PIECE;
			block = dsa_allocate_extended(GsArea, size, DSA_ALLOC_NO_OOM);
		}
		if (!DsaPointerIsValid(block))
			break;
		GsShmem->reserve[GsShmem->nblocks].p = block;
		GsShmem->reserve[GsShmem->nblocks++].pieces = size / GS_RESERVE_PIECE;
		GsShmem->nreserve += size / GS_RESERVE_PIECE;
	}
	full = GsShmem->nreserve >= GsShmem->reserve_target;
	LWLockRelease(GsShmem->reserve_lock);
	return full;
}

/* Give one block of the reserve back to the area; false if none is left. */
static bool
spend_reserve(void)
{
	bool spent = false;

	LWLockAcquire(GsShmem->reserve_lock, LW_EXCLUSIVE);
	if (GsShmem->nblocks > 0)
	{
		GsReserved *last = &GsShmem->reserve[--GsShmem->nblocks];

		GsShmem->nreserve -= last->pieces;
		dsa_free(GsArea, last->p);
		spent = true;
	}
	LWLockRelease(GsShmem->reserve_lock);
	return spent;
}

/*
 * Games have been freed: fill up the reserve before anybody else takes the
 * memory.  Cannot fail.
 */
void
gs_refill_reserve(void)
{
	if (unlikely(GsShmem->nreserve < GsShmem->reserve_target))
		(void) fill_reserve();
}

/*
 * A lot has been freed: make whole again what can be, for large allocations.  DSA
 * keeps an empty superblock of each size class, and the reserve may lie where
 * there was room when memory was short.
 */
void
gs_tidy_memory(void)
{
	while (spend_reserve())
		;
	dsa_trim(GsArea);
	(void) fill_reserve();
}

Size
gs_reserve_free(void)
{
	return (Size) GsShmem->nreserve * GS_RESERVE_PIECE;
}

GsShortage
gs_memory_shortage(GsDatabase *db, Size size)
{
	if (gs_quota >= 0 &&
		pg_atomic_read_u64(&db->used_bytes) + size > (uint64) gs_quota * 1024 * 1024)
		return GS_QUOTA_IS_USED;
	if (likely(GsShmem->nreserve >= GsShmem->reserve_target) || fill_reserve() ||
		(gs_table_free_archived(db, true, INT_MAX) > 0 && fill_reserve()))
		return GS_MEMORY_SUFFICES;

	/*
	 * What is free may lie in pieces too small even for that, inside DSA's
	 * superblocks.  As long as there is plenty of it, let it be used.
	 */
	return pg_atomic_read_u64(&GsShmem->used_bytes) + size >
				   GsShmem->area_size / 100 * (100 - 2 * Max(gs_reserve_percent, 5))
			   ? GS_MEMORY_IS_USED
			   : GS_MEMORY_SUFFICES;
}

/*
 * Would an allocation of that size be refused?  Called when a change is made,
 * so that the error comes there rather than at commit; the allocation proper
 * may still fail.
 */
void
gs_check_memory(GsDatabase *db, Size size)
{
	switch (gs_memory_shortage(db, size))
	{
		case GS_MEMORY_SUFFICES:
			break;
		case GS_QUOTA_IS_USED:
			quota_is_used();
			break;
		case GS_MEMORY_IS_USED:
			gs_out_of_memory();
			break;
	}
}

bool
gs_has_room(GsDatabase *db, Size size)
{
	dsa_pointer p;

	do
		p = dsa_allocate_extended(GsArea, gs_alloc_size(Max(size, 1)), DSA_ALLOC_NO_OOM);
	while (!DsaPointerIsValid(p) && gs_table_free_archived(db, true, INT_MAX) > 0);
	if (DsaPointerIsValid(p))
		dsa_free(GsArea, p);
	return DsaPointerIsValid(p);
}

bool
gs_reserve_is_low(GsDatabase *db)
{
	if (GsShmem->nreserve * 2 < GsShmem->reserve_target)
	{
		(void) gs_table_free_archived(db, true, INT_MAX);
		(void) fill_reserve();
	}
	return GsShmem->nreserve * 2 < GsShmem->reserve_target;
}

dsa_pointer
gs_alloc(GsDatabase *db, Size size, bool may_use_reserve)
{
	dsa_pointer p;

	if (!may_use_reserve)
		gs_check_memory(db, size);

	for (;;)
	{
		p = dsa_allocate_extended(GsArea, size, DSA_ALLOC_NO_OOM);
		if (likely(DsaPointerIsValid(p)))
			break;
		/* memory pressure: no longer wait for old snapshots */
		if (gs_table_free_archived(db, true, INT_MAX) > 0)
			continue;
		if (!may_use_reserve || !spend_reserve())
			gs_out_of_memory();
	}
	gs_account(db, gs_alloc_size(size));
	return p;
}

/*
 * For what can wait in local memory as well, and may turn out not to be needed:
 * it is given half of the memory at most.
 */
dsa_pointer
gs_alloc_spare(GsDatabase *db, Size size)
{
	dsa_pointer p;

	if (pg_atomic_read_u64(&GsShmem->used_bytes) + size > GsShmem->area_size / 2)
		return InvalidDsaPointer;
	p = dsa_allocate_extended(GsArea, size, DSA_ALLOC_NO_OOM);
	if (DsaPointerIsValid(p))
		gs_account(db, gs_alloc_size(size));
	return p;
}

void
gs_free(GsDatabase *db, dsa_pointer p, Size size)
{
	if (!DsaPointerIsValid(p))
		return;
	dsa_free(GsArea, p);
	gs_account(db, -(int64) gs_alloc_size(size));
}

/* what dshash puts before an entry (dshash_table_item in dshash.c) */
#define GS_DSHASH_ITEM_HEADER MAXALIGN(sizeof(dsa_pointer) + sizeof(dshash_hash))

/*
 * dshash raises "out of memory" from inside, with its locks held.  Nothing
 * but a failed allocation can happen there, so it is enough to let the locks
 * go and to ask the caller for memory: the next try, or our own error.
 */
static void *
try_hash_insert(dshash_table *table, const void *key, bool *found)
{
	MemoryContext old = CurrentMemoryContext;
	void *volatile entry = NULL;

	PG_TRY();
	{
		entry = dshash_find_or_insert(table, key, found);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_OUT_OF_MEMORY)
			PG_RE_THROW();
		LWLockReleaseAll();
		MemoryContextSwitchTo(old);
		FlushErrorState();
	}
	PG_END_TRY();
	return entry;
}

void *
gs_hash_insert(GsDatabase *db, dshash_table *table, const void *key, Size entry_size,
			   bool may_use_reserve, bool *found)
{
	void *entry;

	while ((entry = try_hash_insert(table, key, found)) == NULL)
	{
		if (gs_table_free_archived(db, true, INT_MAX) > 0)
			continue;
		if (!may_use_reserve || !spend_reserve())
			gs_out_of_memory();
	}
	if (!*found)
		gs_account(db, gs_alloc_size(entry_size + GS_DSHASH_ITEM_HEADER));
	return entry;
}

/* The counterpart in the accounts, when an entry has been deleted. */
void
gs_account_hash_delete(GsDatabase *db, Size entry_size)
{
	gs_account(db, -(int64) gs_alloc_size(entry_size + GS_DSHASH_ITEM_HEADER));
}
