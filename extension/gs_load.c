/*-------------------------------------------------------------------------
 *
 * gs_load.c
 *	  Rebuilding running games from the journal.
 *
 * The model:
 *	1. After a start, a crash or a promotion shared memory is empty.  The
 *	   archiver, or whoever needs a database's games before it, loads them;
 *	   others wait for a lock (gs_load_wait.c).
 *	2. Both journal tables are read once (gs_scan.c, gs_load_rows.c).  Rows are
 *	   put together to groups, groups are taken apart into records, and records
 *	   are dealt into buckets by the hash of their game.
 *	3. Bucket by bucket the records become games (gs_load_games.c).
 *	4. Of two tables with rows the younger one goes on to be written to: the
 *	   other one will be emptied, so that whatever is needed of a game must then
 *	   be in the younger one.  It tells itself by its oldest row.
 *	5. What is damaged is reported and skipped (gs_damage.c).  A game whose
 *	   updates have a hole ends before the hole, with a warning.  It gets a new
 *	   incarnation, and an image before the next update, so that what comes
 *	   after the hole cannot get between later updates at the next load.
 *	6. A group that is not whole was never acknowledged if it was written without
 *	   a transaction id: the crash came in between.  It is left out without a
 *	   word, unless something was damaged.
 *	7. Afterwards the archiver does 2 and 3 once more if there was damage, to keep
 *	   its bytes: nothing is put into memory then, and what has been written
 *	   since the load is not looked at.
 *
 *	8. A load that runs out of gamestate.memory is done once more, with nothing put
 *	   there before its game: states of images that turn out not to count leave
 *	   holes of their own size, and a database whose games have nearly filled the
 *	   memory would not fit any more.
 *
 * Until it is done nobody else can see a game: every function waits for it
 * (gs_ready()).  A load that fails takes back what it has put into memory.  Of
 * one whose process was ended the next one takes it back.
 *
 * What it costs is, above all, memory that is touched for the first time, then
 * caches that are missed.  So an image's state is copied once, to where its game
 * will have it, the other records go to one arena, in huge pages if there are
 * some, nothing is looked up while the tables are read, and the buckets come in
 * the order of the games' hash table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_damage.h"
#include "gs_database.h"
#include "gs_errors.h"
#include "gs_follow.h"
#include "gs_journal.h"
#include "gs_load.h"
#include "gs_load_parts.h"
#include "gs_lock.h"
#include "gs_scan.h"

#include "access/table.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* One game while its updates are applied: enough for most, so that resetting is cheap. */
#define GAME_CONTEXT_SIZE ((Size) 256 * 1024)

static void
raise_to(pg_atomic_uint64 *counter, uint64 value)
{
	uint64 now = pg_atomic_read_u64(counter);

	while (now < value && !pg_atomic_compare_exchange_u64(counter, &now, value))
		;
}

/* The younger table; the other one, if it has rows, is left from a rotation. */
static uint32
choose_active(const GsLoad *load)
{
	if (load->bytes[0] > 0 && load->bytes[1] > 0)
		return load->min_seq[0] > load->min_seq[1] ? 0 : 1;
	return load->bytes[1] > 0 ? 1 : 0;
}

static void
open_tables(GsLoad *load, int timeout)
{
	uint64 blocks = 0;

	gs_journal_oids(load->db->journal);
	for (int table = 0; table < 2; table++)
	{
		gs_load_lock(load->db, load->db->journal[table], timeout);
		load->rels[table] = table_open(load->db->journal[table], NoLock);
		gs_journal_check(load->rels[table]);
		blocks += gs_scan_blocks(load->rels[table]);
	}
	if (!load->keep)
		pg_atomic_write_u64(&load->db->load.blocks_total, blocks);
}

static void
begin(GsLoad *load)
{
	load->context = AllocSetContextCreate(CurrentMemoryContext, "gamestate load",
										  ALLOCSET_DEFAULT_SIZES);
	load->pieces = AllocSetContextCreate(load->context, "gamestate load pieces",
										 ALLOCSET_DEFAULT_SIZES);
	load->game_context =
		AllocSetContextCreate(load->context, "gamestate load game", GAME_CONTEXT_SIZE,
							  GAME_CONTEXT_SIZE, ALLOCSET_DEFAULT_MAXSIZE);
}

/* Read the tables and, unless only damage is looked for, fill the memory. */
static void
run(GsLoad *load, int timeout)
{
	open_tables(load, timeout);
	gs_load_rows(load);
	load->active = choose_active(load);
	if (!load->keep)
	{
		raise_to(&GsShmem->commit_seq, load->max_seq);
		raise_to(&GsShmem->incarnation, load->max_incarnation);
	}
	gs_load_games(load);
	for (int table = 0; table < 2; table++)
		table_close(load->rels[table], AccessShareLock);
}

static void
set_active(GsLoad *load)
{
	GsDatabase *db = load->db;

	pg_atomic_write_u32(&db->journal_active, load->active);
	pg_atomic_write_u64(&db->journal_bytes, load->bytes[load->active]);
	db->journal_two = load->bytes[1 - load->active] > 0;
}

/* What came before is void, also a load that somebody has begun and not ended. */
static void
begin_progress(GsDatabase *db)
{
	if (pg_atomic_read_u32(&db->load_state) == GS_LOAD_RUNNING)
		gs_table_remove_database(db);
	pg_atomic_write_u32(&db->load.pid, MyProcPid);
	pg_atomic_write_u64(&db->load.started_at, GetCurrentTimestamp());
	pg_atomic_write_u64(&db->load.ended_at, 0);
	pg_atomic_write_u64(&db->load.blocks_done, 0);
	pg_atomic_write_u64(&db->load.blocks_total, 0);
	pg_atomic_write_u64(&db->load.games, 0);
	pg_atomic_write_u64(&db->load.problems, 0);
	pg_atomic_write_u32(&db->load_state, GS_LOAD_RUNNING);
}

static void
end_progress(GsLoad *load)
{
	GsDatabase *db = load->db;

	pg_atomic_write_u64(&db->load.ended_at, GetCurrentTimestamp());
	pg_atomic_write_u64(&db->load.last_seq, load->max_seq);
	pg_atomic_write_u32(&db->load.has_unkept, load->found > 0 || load->problems > 0);
	gs_load_forget_failure(db);
	pg_write_barrier();
	pg_atomic_write_u32(&db->load_state, GS_LOAD_DONE);
}

/*
 * False: there was no room, but there may be some if it is done again.  Only
 * gs_load_games() asks for memory that must be there, so what is open then are
 * the tables.
 */
static bool
load_or_clean_up(GsLoad *load, int timeout, MemoryContext context)
{
	volatile bool done = true;

	PG_TRY();
	{
		run(load, timeout);
	}
	PG_CATCH();
	{
		gs_load_free_states(0, PointerGetDatum(load));
		gs_table_remove_database(load->db);
		if (!load->has_shared || geterrcode() != ERRCODE_GS_OUT_OF_MEMORY)
		{
			gs_load_remember_failure(load->db, context);
			PG_RE_THROW();
		}
		MemoryContextSwitchTo(context);
		FlushErrorState();
		done = false;
	}
	PG_END_TRY();
	return done;
}

static void
give_up(GsLoad *load)
{
	gs_tidy_memory();
	for (int table = 0; table < 2; table++)
		table_close(load->rels[table], AccessShareLock);
	MemoryContextDelete(load->context);
	ereport(LOG,
			(errmsg("gamestate: loading games once more, with more room"),
			 errdetail("The first time there was not enough of gamestate.memory.")));
}

static bool
try_load(GsLoad *load, int timeout)
{
	MemoryContext context = CurrentMemoryContext;
	bool done;

	begin_progress(load->db);
	begin(load);
	PG_ENSURE_ERROR_CLEANUP(gs_load_free_states, PointerGetDatum(load));
	{
		done = load_or_clean_up(load, timeout, context);
	}
	PG_END_ENSURE_ERROR_CLEANUP(gs_load_free_states, PointerGetDatum(load));
	if (!done)
		give_up(load);
	return done;
}

/* The caller holds the load lock. */
static void
load_now(GsDatabase *db, int timeout)
{
	GsLoad load = {.db = db, .may_share = true};

	if (!try_load(&load, timeout))
	{
		load = (GsLoad){.db = db};
		(void) try_load(&load, timeout);
	}
	set_active(&load);
	end_progress(&load);
	MemoryContextDelete(load.context);
	if (load.loaded > 0 || load.problems > 0 || load.unfinished > 0)
		ereport(LOG,
				(errmsg("gamestate: loaded " UINT64_FORMAT
						" games from the journal in %lld ms, " UINT64_FORMAT
						" problems, " UINT64_FORMAT " transactions that were not finished",
						load.loaded,
						(long long) (pg_atomic_read_u64(&db->load.ended_at) -
									 pg_atomic_read_u64(&db->load.started_at)) / 1000,
						load.problems, load.unfinished)));
}

void
gs_load(GsDatabase *db, int timeout)
{
	/* what the journal says now would be wrong in a moment: it is followed */
	if (RecoveryInProgress() && gs_follow_wait(db, timeout))
		return;

	gs_load_raise_failure(db);
	gs_load_lock(db, InvalidOid, timeout);
	if (pg_atomic_read_u32(&db->load_state) != GS_LOAD_DONE)
	{
		gs_load_raise_failure(db);
		gs_follow_end(db);
		load_now(db, timeout);
	}
	gs_unlock_load();
}

void
gs_load_slow(GsDatabase *db)
{
	gs_load(db, gs_load_timeout);
}

void
gs_load_keep_damage(GsDatabase *db)
{
	GsLoad load = {.db = db};
	GsDamageList list = {0};
	int n;

	if (pg_atomic_read_u32(&db->load.has_unkept) == 0)
		return;
	begin(&load);
	list.context = load.context;
	load.keep = &list;
	load.last_seq = pg_atomic_read_u64(&db->load.last_seq);
	run(&load, 0);
	n = gs_damage_insert(&list);
	MemoryContextDelete(load.context);
	if (n > 0)
		ereport(LOG, (errmsg("gamestate: kept %d damaged rows and pages in gamestate.journal_damage%s",
							 n, list.more ? ", as many as are kept at once" : "")));
}
