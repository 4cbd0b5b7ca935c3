/*-------------------------------------------------------------------------
 *
 * gs_shmem.h
 *	  The extension's piece of main shared memory, and allocation in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SHMEM_H
#define GS_SHMEM_H

#include "gs_compat.h"
#include "gs_durable.h"
#include "gs_tick.h"

#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"

/*
 * The lock order, from first to last.  Never wait for one while holding one
 * that stands behind it.
 *
 *	1. heavyweight match locks (join_any), game locks, names lock, room code locks
 *	   (gs_lock.c): taken by the writing functions, held to the end of the
 *	   transaction (load_saved_games() locks its table first, delete_game() with a
 *	   request id locks gamestate.deleted_games last); then, at
 *	   pre-commit, RowExclusiveLock on the active journal table
 *	2. commit_lock			 a commit that changes several games: exclusive
 *	3. slots_lock			 slots of databases and workers;
 *	   leases_lock of one database (gs_lease.c)
 *	4. one partition of the games' hash table (gs_table.c)
 *	5. one partition of the look-up index (gs_index.c), or of the leases (gs_lease.c)
 *	6. queue_lock of one database (gs_database.h)
 *	7. reserve_lock			 (gs_shmem.c), then DSA's own locks
 *	8. presence_lock (gs_presence.c)
 *	9. the change feed's lock (gs_feed.c)
 *	10. timers_lock of one database (gs_timer.c)
 *
 *	The content locks of the pages that a light commit writes to (gs_light.c)
 *	come before 2; pages_lock (gs_pages.c) is taken with nothing but the
 *	relation extension lock, and nothing is taken while it is held.  So it is with
 *	the locks of rate limits (gs_rate_accounts.c).
 *
 * Two partitions of one hash table are never held together, and nothing is
 * allocated by gs_alloc() while any of 2 to 6 is held.  4 -> 6 happens when
 * a game that is over is queued, 4 -> 5 -> 6 when all games of a database
 * are removed at once.
 */

/* A block of the reserve. */
typedef struct GsReserved
{
	dsa_pointer p;
	int pieces; /* of GS_RESERVE_PIECE bytes */
} GsReserved;

typedef struct GsShared
{
	/* set once, when shared memory is created */
	int dsa_tranche;
	int games_tranche;
	int index_tranche;
	int queue_tranche;
	int pages_tranche;
	int feed_tranche;
	int leases_tranche;
	int rate_tranche;
	int presence_tranche;
	int timers_tranche;
	dshash_table_handle games_handle;
	dshash_table_handle index_handle;
	dshash_table_handle leases_handle;
	Size area_size;
	int reserve_target; /* pieces of GS_RESERVE_PIECE bytes */

	LWLock *commit_lock; /* see above */
	LWLock *slots_lock;
	LWLock *reserve_lock;

	/* protected by reserve_lock; nreserve may be read without it as a hint */
	int nreserve;
	int nblocks;
	GsReserved *reserve; /* array of reserve_target */

	pg_atomic_uint64 used_bytes;  /* allocated by gs_alloc(), all databases */
	pg_atomic_uint64 commit_seq;  /* last commit sequence handed out */
	pg_atomic_uint64 incarnation; /* last incarnation handed out */

	/* up to where commits have waited for standbys, by level; see gs_durable.c */
	pg_atomic_uint64 waited_lsn[GS_DURABLE_LEVELS];

	GsTick tick;
} GsShared;

/* One block of the reserve; larger than anything finish, archive or delete allocate. */
#define GS_RESERVE_BLOCK ((Size) 256 * 1024)
/* What memory is left in when games of all ages have gone: DSA's superblock. */
#define GS_RESERVE_PIECE ((Size) 64 * 1024)

extern GsShared *GsShmem; /* NULL without shared_preload_libraries */
extern dsa_area *GsArea;  /* NULL until gs_attach() */

/* from _PG_init */
extern void gs_shmem_install_hooks(void);

/*
 * Attach this process to the area and its hash tables, once.  Raises the
 * error that names shared_preload_libraries when the library was not loaded
 * there.  Every SQL function that needs games calls it first.
 */
extern void gs_attach_slow(void);

static inline void
gs_attach(void)
{
	if (unlikely(GsArea == NULL))
		gs_attach_slow();
}

/*
 * Memory for games.  What an allocation really costs (DSA's size classes) is
 * counted for the database, and gs_free() is given the same size again.
 * gs_alloc() raises GS006 when memory or the quota is used up; with may_use_reserve
 * it goes on into the reserve and ignores the quota.
 */
struct GsDatabase;
extern Size gs_alloc_size(Size size); /* size rounded up to what DSA gives */
extern dsa_pointer gs_alloc(struct GsDatabase *db, Size size, bool may_use_reserve);
/* gives InvalidDsaPointer when there is not plenty of memory */
extern dsa_pointer gs_alloc_spare(struct GsDatabase *db, Size size);
extern void gs_free(struct GsDatabase *db, dsa_pointer p, Size size);
extern void gs_account(struct GsDatabase *db, int64 delta);
extern void gs_check_memory(struct GsDatabase *db, Size size);
extern void gs_refill_reserve(void);

/* What gs_check_memory() would complain of. */
typedef enum GsShortage
{
	GS_MEMORY_SUFFICES = 0,
	GS_QUOTA_IS_USED,
	GS_MEMORY_IS_USED
} GsShortage;
extern GsShortage gs_memory_shortage(struct GsDatabase *db, Size size);

/* Could that be allocated, without the reserve? */
extern bool gs_has_room(struct GsDatabase *db, Size size);

/* Is less than half of the reserve there, although it was tried to fill it? */
extern bool gs_reserve_is_low(struct GsDatabase *db);
extern void gs_tidy_memory(void);
extern Size gs_reserve_free(void);

/* dshash_find_or_insert() whose "out of memory" is ours; returns with the partition locked */
extern void *gs_hash_insert(struct GsDatabase *db, dshash_table *table, const void *key,
							Size entry_size, bool may_use_reserve, bool *found);
extern void gs_account_hash_delete(struct GsDatabase *db, Size entry_size);
extern _Noreturn void gs_out_of_memory(void);

#define GS_PTR(p) dsa_get_address(GsArea, (p))

#endif /* GS_SHMEM_H */
