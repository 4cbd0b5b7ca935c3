/*-------------------------------------------------------------------------
 *
 * gs_load.c
 *	  Rebuilding running games from the journal.
 *
 * The model:
 *	1. After a start, a crash or a promotion shared memory is empty.  Whoever
 *	   needs a database's games first loads them; others wait for a
 *	   heavyweight lock, so that they can be cancelled.
 *	2. Both journal tables are scanned with one snapshot.  Rows are put together
 *	   to groups, groups are taken apart into records, and records are sorted
 *	   by game: only the highest incarnation counts, and of it the newest image
 *	   and what comes after that.
 *	3. For each game that has not been removed, the image and the updates give
 *	   one change record of kind create, which goes the way of all change
 *	   records into the table.
 *	4. Of two tables with rows the younger one goes on to be written to: the
 *	   other one will be emptied, so that whatever is needed of a game must then
 *	   be in the younger one.  It tells itself by its oldest row.
 *	5. Rows that do not decode are reported and skipped.  A game whose updates
 *	   have a hole ends before the hole, with a warning.  It gets a new
 *	   incarnation, and an image before the next update, so that what comes
 *	   after the hole cannot get between later updates at the next load.
 *
 * Until it is done nobody else can see a game: every function waits for it
 * (gs_ready()).  A load that fails takes back what it has put into memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_journal.h"
#include "gs_lock.h"
#include "gs_replay.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A record of a game that may still be needed. */
typedef struct LoadRecord
{
	struct LoadRecord *next;
	int64 version;
	const char *data; /* encoded */
	uint32 len;
	uint8 table;
} LoadRecord;

typedef struct LoadGame
{
	pg_uuid_t id; /* hash key */
	int64 incarnation;
	bool removed;
	LoadRecord *image;	 /* newest of the incarnation */
	LoadRecord *updates; /* later than the image, in no order */
	int nupdates;
} LoadGame;

/* A group of several rows that is not whole yet. */
typedef struct LoadGroup
{
	int64 seq; /* hash key */
	int cnt;
	int have;
	GsBytes *pieces;
} LoadGroup;

typedef struct Load
{
	GsDatabase *db;
	MemoryContext context;		/* everything below */
	MemoryContext game_context; /* one game, reset */
	HTAB *games;
	HTAB *groups;
	int64 max_seq;
	int64 max_incarnation;
	uint64 bytes[2]; /* in each table */
	int64 min_seq[2];
	uint32 active; /* table to write to from now on */
	uint64 damaged;
	uint64 loaded;
} Load;

/* ----------------------------------------------------------------
 *		Records
 * ----------------------------------------------------------------
 */

static void
report_damage(Load *load, Relation rel, ItemPointer tid, const char *what)
{
	load->damaged++;
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("damaged row (%u,%u) of journal table \"%s\" is skipped",
					ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
					RelationGetRelationName(rel)),
			 errdetail("%s.", what)));
}

/* Forget updates that an image has made superfluous. */
static void
drop_older(LoadGame *game, int64 version)
{
	LoadRecord **link = &game->updates;

	while (*link != NULL)
	{
		if ((*link)->version <= version)
		{
			*link = (*link)->next;
			game->nupdates--;
		}
		else
			link = &(*link)->next;
	}
}

static void
keep_record(Load *load, const GsRecord *record, const char *data, uint32 len, int table)
{
	bool found;
	LoadGame *game = hash_search(load->games, record->id, HASH_ENTER, &found);
	LoadRecord *kept;

	load->max_incarnation = Max(load->max_incarnation, record->incarnation);
	if (!found || game->incarnation < record->incarnation)
	{
		game->incarnation = record->incarnation;
		game->removed = false;
		game->image = NULL;
		game->updates = NULL;
		game->nupdates = 0;
	}
	else if (game->incarnation > record->incarnation)
		return;

	if (record->kind == GS_RECORD_REMOVE)
	{
		game->removed = true;
		return;
	}
	if (game->image && record->version <= game->image->version)
		return;

	kept = MemoryContextAlloc(load->context, sizeof(LoadRecord));
	kept->version = record->version;
	kept->data = data;
	kept->len = len;
	kept->table = table;
	kept->next = NULL;
	if (record->kind == GS_RECORD_IMAGE)
	{
		game->image = kept;
		drop_older(game, kept->version);
	}
	else
	{
		kept->next = game->updates;
		game->updates = kept;
		game->nupdates++;
	}
}

/* A whole group; data stays where it is until the load has ended. */
static const char *
keep_group(Load *load, const char *data, Size len, int table)
{
	const char *p = data;
	const char *end = data + len;

	while (p < end)
	{
		GsRecord record;
		const char *start = p;
		const char *wrong = gs_replay_record(&p, end, &record);

		if (wrong)
			return wrong;
		keep_record(load, &record, start, p - start, table);
	}
	return NULL;
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

/* One piece of a group of several; when it is the last one missing, the group is kept. */
static const char *
keep_piece(Load *load, int64 seq, int32 idx, int32 cnt, const char *data, Size len,
		   int table)
{
	bool found;
	LoadGroup *group = hash_search(load->groups, &seq, HASH_ENTER, &found);
	Size total = 0;
	char *whole;
	char *p;

	if (!found)
	{
		group->cnt = cnt;
		group->have = 0;
		group->pieces = MemoryContextAllocExtended(load->context, sizeof(GsBytes) * cnt,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}
	if (group->cnt != cnt)
		return "number of rows differs from that of another row of its group";
	if (group->pieces[idx].data != NULL)
		return NULL; /* the same row once more */
	group->pieces[idx].data = data;
	group->pieces[idx].len = len;
	if (++group->have < cnt)
		return NULL;

	for (int i = 0; i < cnt; i++)
		total += group->pieces[i].len;
	p = whole = MemoryContextAllocHuge(load->context, total);
	for (int i = 0; i < cnt; i++)
	{
		memcpy(p, group->pieces[i].data, group->pieces[i].len);
		p += group->pieces[i].len;
	}
	return keep_group(load, whole, total, table);
}

static const char *
keep_row(Load *load, HeapTuple tuple, int table)
{
	GsJournalRow row;
	char *data;
	const char *wrong = gs_replay_row(tuple->t_data, tuple->t_len, &row);

	if (wrong)
		return wrong;
	load->max_seq = Max(load->max_seq, row.seq);
	if (load->bytes[table] == 0 || row.seq < load->min_seq[table])
		load->min_seq[table] = row.seq;
	load->bytes[table] += row.len + 64;
	data = MemoryContextAllocHuge(load->context, Max(row.len, 1));
	memcpy(data, row.data, row.len);
	if (row.cnt == 1)
		return keep_group(load, data, row.len, table);
	return keep_piece(load, row.seq, row.idx, row.cnt, data, row.len, table);
}

static void
scan_table(Load *load, int table)
{
	Relation rel = table_open(load->db->journal[table], AccessShareLock);
	Snapshot snapshot;
	TableScanDesc scan;
	HeapTuple tuple;

	gs_journal_check(rel);

	/* not GetLatestSnapshot(): that is refused in the leader of a parallel plan */
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		const char *wrong;

		CHECK_FOR_INTERRUPTS();
		wrong = keep_row(load, tuple, table);
		if (wrong)
			report_damage(load, rel, &tuple->t_self, wrong);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* ----------------------------------------------------------------
 *		Games
 * ----------------------------------------------------------------
 */

static int
by_version(const void *a, const void *b)
{
	int64 va = (*(LoadRecord *const *) a)->version;
	int64 vb = (*(LoadRecord *const *) b)->version;

	return va < vb ? -1 : va > vb;
}

static void
decode_again(const LoadRecord *kept, GsRecord *record)
{
	const char *p = kept->data;

	if (gs_record_decode(&p, kept->data + kept->len, record) != NULL)
		elog(ERROR, "record that has been checked does not decode");
}

/* Apply the updates in the order of their versions; NULL or what is wrong. */
static const char *
take_updates(GsChange *change, const LoadGame *game)
{
	LoadRecord **updates = palloc(sizeof(LoadRecord *) * Max(game->nupdates, 1));
	int n = 0;

	for (LoadRecord *u = game->updates; u != NULL; u = u->next)
		updates[n++] = u;
	qsort(updates, n, sizeof(LoadRecord *), by_version);
	for (int i = 0; i < n; i++)
	{
		GsRecord record;
		const char *wrong;

		decode_again(updates[i], &record);
		wrong = gs_replay_update(change, &record);
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* The table that has all there is of a game; the one to be emptied if both are needed. */
static uint8
table_of(const Load *load, const LoadGame *game)
{
	if (game->image->table != load->active)
		return 1 - load->active;
	for (const LoadRecord *u = game->updates; u != NULL; u = u->next)
		if (u->table != load->active)
			return 1 - load->active;
	return load->active;
}

static void
load_game(Load *load, const LoadGame *game)
{
	GsChange change = {.kind = GS_CHANGE_CREATE};
	GsRecord record;
	const char *wrong;

	if (game->removed)
		return;
	if (game->image == NULL)
	{
		load->damaged++;
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("game %s cannot be loaded",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&game->id)))),
				 errdetail("The journal has no image of it.")));
		return;
	}
	decode_again(game->image, &record);
	change.key.dboid = MyDatabaseId;
	change.key.id = game->id;
	change.db = load->db;
	change.image_in = table_of(load, game);
	gs_replay_image(&change, &record);
	wrong = take_updates(&change, game);
	if (wrong)
	{
		load->damaged++;
		change.h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
		change.image_in = GS_IMAGE_NONE;
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("game %s is loaded as of version %lld only",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&game->id))),
						(long long) change.h.version),
				 errdetail("In the journal %s.", wrong)));
	}

	/* what was acknowledged has to fit, whatever quota is set now */
	change.frees = true;
	PG_TRY();
	{
		gs_table_reserve(&change);
	}
	PG_CATCH();
	{
		gs_table_unreserve(&change);
		PG_RE_THROW();
	}
	PG_END_TRY();
	gs_table_apply(&change);
	load->loaded++;
}

/* A transaction's rows come all or none: what is not whole has been damaged. */
static void
report_groups(Load *load)
{
	HASH_SEQ_STATUS scan;
	LoadGroup *group;

	hash_seq_init(&scan, load->groups);
	while ((group = hash_seq_search(&scan)) != NULL)
	{
		if (group->have == group->cnt)
			continue;
		load->damaged++;
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("transaction %lld of the journal is skipped", (long long) group->seq),
				 errdetail("Of its %d rows %d are there.", group->cnt, group->have)));
	}
}

static void
load_games(Load *load)
{
	HASH_SEQ_STATUS scan;
	LoadGame *game;
	MemoryContext old = MemoryContextSwitchTo(load->game_context);

	hash_seq_init(&scan, load->games);
	while ((game = hash_seq_search(&scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		load_game(load, game);
		MemoryContextReset(load->game_context);
	}
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 *		The whole
 * ----------------------------------------------------------------
 */

static void
raise_to(pg_atomic_uint64 *counter, uint64 value)
{
	uint64 now = pg_atomic_read_u64(counter);

	while (now < value && !pg_atomic_compare_exchange_u64(counter, &now, value))
		;
}

static HTAB *
create_hash(Load *load, const char *name, Size keysize, Size entrysize, long size)
{
	HASHCTL ctl = {.keysize = keysize, .entrysize = entrysize, .hcxt = load->context};

	return hash_create(name, size, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The younger table; the other one, if it has rows, is left from a rotation. */
static uint32
choose_active(const Load *load)
{
	if (load->bytes[0] > 0 && load->bytes[1] > 0)
		return load->min_seq[0] > load->min_seq[1] ? 0 : 1;
	return load->bytes[1] > 0 ? 1 : 0;
}

static void
run_load(Load *load)
{
	gs_journal_oids(load->db->journal);
	load->games = create_hash(load, "gamestate load games", sizeof(pg_uuid_t),
							  sizeof(LoadGame), 1024);
	load->groups =
		create_hash(load, "gamestate load groups", sizeof(int64), sizeof(LoadGroup), 64);
	for (int table = 0; table < 2; table++)
		scan_table(load, table);
	report_groups(load);
	load->active = choose_active(load);
	raise_to(&GsShmem->commit_seq, load->max_seq);
	raise_to(&GsShmem->incarnation, load->max_incarnation);
	load_games(load);
}

static void
set_active(Load *load)
{
	GsDatabase *db = load->db;

	pg_atomic_write_u32(&db->journal_active, load->active);
	pg_atomic_write_u64(&db->journal_bytes, load->bytes[load->active]);
	db->journal_two = load->bytes[1 - load->active] > 0;
}

/*
 * A standby has the journal, but nothing follows it: it cannot say that there
 * is no such game.
 */
void
gs_require_games(void)
{
	if (pg_atomic_read_u32(&gs_my_database()->load_state) != GS_LOAD_DONE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("running games cannot be read on a standby"),
				 errhint("Ask the primary server, or promote this one.")));
}

void
gs_load_slow(GsDatabase *db)
{
	Load load = {.db = db};

	/* what the journal says now would be wrong in a moment: gs_require_games() */
	if (RecoveryInProgress())
		return;

	gs_lock_load();
	if (pg_atomic_read_u32(&db->load_state) == GS_LOAD_DONE)
	{
		gs_unlock_load();
		return;
	}
	load.context = AllocSetContextCreate(CurrentMemoryContext, "gamestate load",
										 ALLOCSET_DEFAULT_SIZES);
	load.game_context = AllocSetContextCreate(load.context, "gamestate load game",
											  ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		run_load(&load);
	}
	PG_CATCH();
	{
		gs_table_remove_database(db);
		PG_RE_THROW();
	}
	PG_END_TRY();
	set_active(&load);
	pg_write_barrier();
	pg_atomic_write_u32(&db->load_state, GS_LOAD_DONE);
	gs_unlock_load();

	if (load.loaded > 0 || load.damaged > 0)
		ereport(LOG,
				(errmsg("gamestate: loaded " UINT64_FORMAT " games from the journal, " UINT64_FORMAT " problems",
						load.loaded, load.damaged)));
	MemoryContextDelete(load.context);
}
