/*-------------------------------------------------------------------------
 *
 * gs_database.c
 *	  What shared memory knows about one database: its slot, its queue.
 *
 * The model: a fixed array of slots in main shared memory.  A slot is claimed
 * under slots_lock by the first game or worker of a database, and freed after
 * DROP DATABASE.  A backend remembers the slot of its own database; it stays
 * valid as long as anybody is connected to the database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_stat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_lease.h"
#include "gs_timer.h"

#include "miscadmin.h"
#include "storage/shmem.h"

static GsDatabase *slots = NULL;
static GsDatabase *my_slot = NULL;

Size
gs_database_shmem_size(void)
{
	return mul_size(sizeof(GsDatabase), gs_max_databases);
}

static void
init_statistics(GsDatabase *db)
{
	memset(&db->load, 0, sizeof(db->load));
	pg_atomic_init_u32(&db->load.pid, 0);
	pg_atomic_init_u64(&db->load.started_at, 0);
	pg_atomic_init_u64(&db->load.ended_at, 0);
	pg_atomic_init_u64(&db->load.blocks_done, 0);
	pg_atomic_init_u64(&db->load.blocks_total, 0);
	pg_atomic_init_u64(&db->load.games, 0);
	pg_atomic_init_u64(&db->load.problems, 0);
	pg_atomic_init_u64(&db->load.last_seq, 0);
	pg_atomic_init_u32(&db->load.has_unkept, 0);
	memset(&db->load_failure, 0, sizeof(db->load_failure));
	pg_atomic_init_u64(&db->rotation.count, 0);
	pg_atomic_init_u64(&db->rotation.started_at, 0);
	pg_atomic_init_u64(&db->rotation.last_ms, 0);
	pg_atomic_init_u64(&db->deadlines, 0);
	pg_atomic_init_u64(&db->deadline_late, 0);
	pg_atomic_init_u64(&db->deadline_latest, 0);
}

void
gs_database_shmem_init(bool found)
{
	bool found_slots;

	slots =
		ShmemInitStruct("gamestate databases", gs_database_shmem_size(), &found_slots);
	my_slot = NULL;
	if (found)
		return;
	for (int i = 0; i < gs_max_databases; i++)
	{
		GsDatabase *db = &slots[i];

		memset(db, 0, sizeof(*db));
		pg_atomic_init_u32(&db->generation, 1);
		pg_atomic_init_u64(&db->used_bytes, 0);
		pg_atomic_init_u64(&db->ngames, 0);
		pg_atomic_init_u64(&db->freed_early, 0);
		pg_atomic_init_u32(&db->policy_changes, 0);
		pg_atomic_init_u64(&db->settled_before, 0);
		pg_atomic_init_u32(&db->load_state, GS_LOAD_NONE);
		pg_atomic_init_u32(&db->journal_active, 0);
		pg_atomic_init_u64(&db->journal_bytes, 0);
		gs_pages_init(db);
		for (int level = 0; level < GS_DURABLE_LEVELS; level++)
			pg_atomic_init_u64(&db->gone_lsn[level], 0);
		init_statistics(db);
		gs_timers_init(db);
		gs_leases_init(db);
		LWLockInitialize(&db->queue_lock, GsShmem->queue_tranche);
		gs_queue_init(&db->queue);
		dlist_init(&db->delayed);
		dlist_init(&db->archived);
	}
}

/* The caller holds slots_lock. */
static GsDatabase *
find_slot(Oid dboid)
{
	for (int i = 0; i < gs_max_databases; i++)
	{
		if (slots[i].dboid == dboid)
			return &slots[i];
	}
	return NULL;
}

GsDatabase *
gs_database_find(Oid dboid, bool claim)
{
	GsDatabase *db;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	db = find_slot(dboid);
	LWLockRelease(GsShmem->slots_lock);
	if (db != NULL || !claim)
		return db;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	db = find_slot(dboid);
	if (db == NULL)
	{
		db = find_slot(InvalidOid);
		if (db != NULL)
		{
			db->dboid = dboid;
			init_statistics(db);
			db->lease_next = db->lease_end = 0;
		}
	}
	LWLockRelease(GsShmem->slots_lock);
	if (db == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases with games"),
				 errdetail("gamestate.max_databases is %d.", gs_max_databases),
				 errhint("Raise gamestate.max_databases and restart the server.")));
	return db;
}

GsDatabase *
gs_my_database(void)
{
	if (unlikely(my_slot == NULL))
		my_slot = gs_database_find(MyDatabaseId, true);
	return my_slot;
}

int
gs_database_index(const GsDatabase *db)
{
	return db - slots;
}

GsDatabase *
gs_database_by_index(int i)
{
	Assert(i >= 0 && i < gs_max_databases);
	return &slots[i];
}

void
gs_database_release(GsDatabase *db)
{
	gs_pages_forget(db);
	gs_archiver_stat_forget(db->dboid);
	pg_atomic_write_u64(&db->settled_before, 0);
	for (int level = 0; level < GS_DURABLE_LEVELS; level++)
		pg_atomic_write_u64(&db->gone_lsn[level], 0);
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	db->dboid = InvalidOid;
	LWLockRelease(GsShmem->slots_lock);
}
