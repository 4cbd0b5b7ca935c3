/*-------------------------------------------------------------------------
 *
 * gs_database.h
 *	  What shared memory knows about one database.
 *
 * A slot is claimed by the first game or worker of a database and freed when
 * the database is dropped.  Slots never move, so pointers to them stay valid.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DATABASE_H
#define GS_DATABASE_H

#include "gs_durable.h"
#include "gs_pages.h"
#include "gs_queue.h"
#include "gs_table.h"

#include "lib/ilist.h"

/*
 *	none -> running
 *	running -> done | none (it failed) | running (its process has gone)
 *	done -> none (all games were removed)
 */
typedef enum GsLoadState
{
	GS_LOAD_NONE = 0, /* not since the server started */
	GS_LOAD_RUNNING,  /* somebody has begun */
	GS_LOAD_DONE
} GsLoadState;

/*
 * Loading: how far it is, what it has found.  Written by whoever loads, read
 * by anybody at any time (gamestate.stat_journal).
 */
typedef struct GsLoadProgress
{
	pg_atomic_uint32 pid;
	pg_atomic_uint64 started_at; /* TimestampTz; 0 = never */
	pg_atomic_uint64 ended_at;	 /* when it was done */
	pg_atomic_uint64 blocks_done;
	pg_atomic_uint64 blocks_total;
	pg_atomic_uint64 games;
	pg_atomic_uint64 problems;
	pg_atomic_uint64 last_seq;	 /* highest commit sequence it has seen */
	pg_atomic_uint32 has_unkept; /* damage that the archiver shall keep */
} GsLoadProgress;

/* Why loading failed last; protected by slots_lock. */
typedef struct GsLoadFailure
{
	int failures;		  /* in a row */
	TimestampTz retry_at; /* 0 = it did not fail */
	int sqlerrcode;
	char message[192];
	char detail[256];
	char hint[192];
} GsLoadFailure;

/* Rotation: written by the archiver, read by anybody. */
typedef struct GsRotationStat
{
	pg_atomic_uint64 count;		 /* since the server started */
	pg_atomic_uint64 started_at; /* of the one that runs */
	pg_atomic_uint64 last_ms;
} GsRotationStat;

typedef struct GsDatabase
{
	Oid dboid; /* protected by slots_lock; InvalidOid = free slot */

	pg_atomic_uint32 generation; /* +1 whenever all games are removed at once */
	pg_atomic_uint64 used_bytes;
	pg_atomic_uint32 policy_changes; /* +1 whenever gamestate.policy has changed */
	pg_atomic_uint64 settled_before; /* full xid, 0 = none; see gs_settled.c */
	pg_atomic_uint64 ngames;		 /* visible games in memory */
	pg_atomic_uint64
		freed_early; /* moved games freed while snapshots needed them; gs_tier.h */

	/*
	 * The journal.  load_state is set to GS_LOAD_DONE after the others have
	 * been set, by whoever loads; journal_active is changed by rotation only.
	 */
	pg_atomic_uint32 load_state; /* GsLoadState */
	Oid journal[2];
	pg_atomic_uint32 journal_active; /* index into journal */
	pg_atomic_uint64 journal_bytes;	 /* written to the active table, about */
	bool journal_two; /* the other table is not empty: rotation has to finish */

	LWLock pages_lock;		 /* protects pages, pages_ahead */
	GsPagePool pages[2];	 /* of the journal tables */
	BlockNumber pages_ahead; /* empty pages that the pool of the active one shall have */
	pg_atomic_uint32 pages_wanted; /* it has less than half: the archiver was woken */

	/*
	 * For those who find nothing: the last change that took something away (a
	 * game, a room code, a player), by the synchronous_commit of who made it.
	 * See gs_durable.c.
	 */
	pg_atomic_uint64 gone_lsn[GS_DURABLE_LEVELS];

	GsLoadProgress load;
	GsLoadFailure load_failure;
	GsRotationStat rotation;

	/* Timers, gs_timer.h: changed with timers_lock held, ntimers read without. */
	LWLock timers_lock;
	struct pairingheap_node *timers; /* root of the heap; NULL = there are none */
	pg_atomic_uint32 ntimers;
	bool timers_worker;		  /* there is a worker */
	TimestampTz timers_sleep; /* it sleeps until then */

	/* deadlines set off since the server started; how late, in us: the last, the latest */
	pg_atomic_uint64 deadlines;
	pg_atomic_uint64 deadline_late;
	pg_atomic_uint64 deadline_latest;

	/* Leases, gs_lease.h: protected by leases_lock; nleases is read without it. */
	LWLock leases_lock;
	dlist_head holders;
	int64 lease_next; /* number of the next one; none is left if it is lease_end */
	int64 lease_end;
	pg_atomic_uint32 nleases;

	LWLock queue_lock;	 /* protects the rest, and GsGame.link */
	GsQueue queue;		 /* games that are over */
	dlist_head delayed;	 /* games that are over, not to be archived yet (gs_delay.c) */
	dlist_head archived; /* archived games still needed by old snapshots */
	int nqueue;
	int ndelayed;
	int narchived;
} GsDatabase;

extern Size gs_database_shmem_size(void);
extern void gs_database_shmem_init(bool found);

/* The slot of a database; claims one if asked to (ERROR when none is free). */
extern GsDatabase *gs_database_find(Oid dboid, bool claim);
extern GsDatabase *gs_my_database(void); /* slot of MyDatabaseId, claimed */
/* Before anything that needs this database's games: waits until they are loaded. */
extern void gs_load_slow(GsDatabase *db);

/*
 * On a standby: the games come from following the journal (gs_follow.c), and
 * may have been taken away while they were read.
 */
extern bool GsFollowedRead;
extern void gs_check_followed_read(bool found);

static inline GsDatabase *
gs_ready(void)
{
	GsDatabase *db = gs_my_database();

	GsFollowedRead = false;
	if (unlikely(pg_atomic_read_u32(&db->load_state) != GS_LOAD_DONE))
		gs_load_slow(db);
	return db;
}

/*
 * After having read: ERROR if the games have been taken away since gs_ready().
 * Who has not found a game, or makes a list, also gets one if they were not
 * there in the first place.
 */
static inline void
gs_confirm_read(void)
{
	if (unlikely(GsFollowedRead))
		gs_check_followed_read(true);
}

static inline void
gs_require_games(void)
{
	if (unlikely(GsFollowedRead))
		gs_check_followed_read(false);
}

extern int gs_database_index(const GsDatabase *db); /* 0 .. gs_max_databases - 1 */
extern GsDatabase *gs_database_by_index(int i);
extern void gs_database_release(GsDatabase *db); /* after DROP DATABASE, games removed */

#endif /* GS_DATABASE_H */
