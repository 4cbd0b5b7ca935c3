/*-------------------------------------------------------------------------
 *
 * gs_load.c
 *	  Rebuilding running games from the journal.
 *
 * The model:
 *	1. After a start, a crash or a promotion shared memory is empty.  The
 *	   archiver, or whoever needs a database's games before it, loads them;
 *	   others wait for a heavyweight lock, so that they can be cancelled, and
 *	   not longer than gamestate.load_timeout.
 *	2. Both journal tables are read once (gs_scan.c).  Rows are put together to
 *	   groups, groups are taken apart into records, and records are dealt into
 *	   buckets by the hash of their game.
 *	3. Bucket by bucket the records are sorted.  Of a game only the highest
 *	   incarnation counts, and of it the newest image and what comes after that.
 *	   Unless the game has been removed, they give one change record of kind
 *	   create, which goes the way of all change records into the table.
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
 * Until it is done nobody else can see a game: every function waits for it
 * (gs_ready()).  A load that fails takes back what it has put into memory, and
 * its error is raised again for some seconds instead of trying each time.  Of
 * one whose process was ended the next one takes it back.
 *
 * What it costs is, above all, memory that is touched for the first time, then
 * caches that are missed.  So an image's state, the largest part of most
 * journals, is copied once, to where its game will have it, in shared memory
 * (share_state()); the other records are copied to one arena, since they end
 * together, in huge pages if there are some; nothing is looked up while the tables are read; and the buckets
 * come in the order of the games' hash table.
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
#include "gs_lock.h"
#include "gs_replay.h"
#include "gs_scan.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include <sys/mman.h>

/* The arena's blocks, growing between these; what is larger than a quarter of one gets its own. */
#define ARENA_FIRST ((Size) 64 * 1024)
#define ARENA_LAST	((Size) 32 * 1024 * 1024)
#define HUGE_PAGE	((Size) 2 * 1024 * 1024)

/* One game while its updates are applied: enough for most, so that resetting is cheap. */
#define GAME_CONTEXT_SIZE ((Size) 256 * 1024)

/* Records whose bytes are fetched before they are needed, and how much of each. */
#define PREFETCH_AHEAD 16
#define PREFETCH_MAX   512

/* First and longest time for which the error of a load is raised again. */
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS  30000

/* Where a row stands. */
typedef struct RowPlace
{
	BlockNumber block;
	OffsetNumber item;
	uint8 table;
} RowPlace;

/* A record, in the bucket of its game. */
typedef struct LoadRecord
{
	pg_uuid_t id;
	int64 incarnation;
	int64 version;
	const char *data;  /* encoded; without its state if that is in shared memory */
	dsa_pointer state; /* of an image; valid while it is nobody else's */
	uint32 len;
	uint32 state_len;
	BlockNumber block; /* of the row; of a group of several, of the last one found */
	OffsetNumber item;
	uint8 table;
	uint8 kind; /* GsRecordKind */
} LoadRecord;

typedef LoadRecord *LoadRecordRef;

/* So many fill about a kilobyte. */
#define BLOCK_RECORDS 15

typedef struct LoadBlock
{
	struct LoadBlock *next;
	LoadRecord records[BLOCK_RECORDS];
} LoadBlock;

/*
 * The records of the games that come together in the games' hash table, too: so
 * a bucket's games are inserted into a small piece of it, and what the
 * first bucket needs makes the table as large as it has to be in the end, while
 * it is nearly empty.
 */
typedef struct LoadBucket
{
	LoadBlock *blocks; /* all but the first are full */
	uint32 n;		   /* records; here, since the blocks are not in a cache */
} LoadBucket;

#define RECORDS_IN_FIRST(bucket) \
	((bucket)->n == 0 ? 0 : ((bucket)->n - 1) % BLOCK_RECORDS + 1)

#define BUCKET_BITS 10
#define NBUCKETS	(1 << BUCKET_BITS)

/* What there is of one game: its highest incarnation, in the order of versions. */
typedef struct LoadGame
{
	const pg_uuid_t *id;
	bool removed;
	LoadRecord *image;	  /* the newest; NULL = none */
	LoadRecord **updates; /* later than the image */
	int nupdates;
} LoadGame;

typedef struct LoadPiece
{
	const char *data; /* NULL = not found yet */
	uint32 len;
	RowPlace place;
} LoadPiece;

/* A group of several rows. */
typedef struct LoadGroup
{
	int64 seq; /* hash key */
	int cnt;
	int have;
	bool by_xid;
	LoadPiece *pieces;
} LoadGroup;

typedef struct Load
{
	GsDatabase *db;
	MemoryContext context;		/* everything below */
	MemoryContext pieces;		/* of groups that are not whole yet */
	MemoryContext game_context; /* one game, reset */
	char *arena;
	Size arena_left;
	Size arena_block;
	Relation rels[2];
	int table; /* that is being read */
	LoadBucket *buckets;
	LoadRecord **sorted; /* of one bucket */
	HTAB *groups;
	int64 max_seq;
	int64 max_incarnation;
	uint64 bytes[2]; /* in each table */
	int64 min_seq[2];
	uint32 active;		/* table to write to from now on */
	uint64 found;		/* damaged rows and pages */
	uint64 problems;	/* they, and what they have cost */
	uint64 unfinished;	/* groups that a crash has cut off */
	uint64 loaded;		/* games */
	GsDamageList *keep; /* NULL = load; else only look for damage */
	int64 last_seq;		/* with keep: rows after this have come later */
} Load;

/* ----------------------------------------------------------------
 *		Memory and damage
 * ----------------------------------------------------------------
 */

/*
 * A fresh block in huge pages, where the system gives them to who asks: the
 * kernel then takes one fault for each instead of hundreds.  It is none the
 * worse if it does not.
 */
static char *
new_block(Load *load, Size size)
{
	char *block = MemoryContextAllocHuge(load->context, size);

#ifdef MADV_HUGEPAGE
	char *start = (char *) TYPEALIGN(HUGE_PAGE, block);
	char *end = (char *) TYPEALIGN_DOWN(HUGE_PAGE, block + size);

	if (start < end)
		(void) madvise(start, end - start, MADV_HUGEPAGE);
#endif
	return block;
}

static void *
arena_alloc(Load *load, Size size)
{
	char *p;

	size = MAXALIGN(size);
	if (unlikely(size > load->arena_left))
	{
		if (size > load->arena_block / 4)
			return MemoryContextAllocHuge(load->context, size);
		load->arena = new_block(load, load->arena_block);
		load->arena_left = load->arena_block;
		load->arena_block = Min(load->arena_block * 2, ARENA_LAST);
	}
	p = load->arena;
	load->arena += size;
	load->arena_left -= size;
	return p;
}

static void
count_problem(Load *load)
{
	load->problems++;
	if (load->keep == NULL)
		pg_atomic_fetch_add_u64(&load->db->load.problems, 1);
}

/* A damaged row or page, from the scan. */
static void
take_damage(void *arg, const GsScanDamage *damage)
{
	Load *load = arg;
	Relation rel = load->rels[load->table];

	load->found++;
	count_problem(load);
	if (load->keep)
		gs_damage_add(load->keep, rel, damage);
	else
		gs_damage_report(rel, damage);
}

/* Keep a row that is not damaged, but of no use because of others that are. */
static void
keep_useless(Load *load, const RowPlace *place, const char *what)
{
	PGAlignedBlock buffer;
	Relation rel = load->rels[place->table];
	GsScanDamage damage = {.block = place->block, .item = place->item, .what = what};

	damage.bytes = buffer.data;
	damage.len = gs_scan_fetch(rel, place->block, place->item, buffer.data);
	if (damage.len > 0)
		gs_damage_add(load->keep, rel, &damage);
}

/* ----------------------------------------------------------------
 *		Records
 * ----------------------------------------------------------------
 */

static LoadRecord *
add_record(Load *load, const pg_uuid_t *id)
{
	LoadRecord *kept;
	LoadBucket *bucket = &load->buckets[gs_table_hash(id) >> (32 - BUCKET_BITS)];
	uint32 place = bucket->n % BLOCK_RECORDS;

	if (place == 0)
	{
		LoadBlock *block = arena_alloc(load, sizeof(LoadBlock));

		block->next = bucket->blocks;
		bucket->blocks = block;
	}
	bucket->n++;
	kept = &bucket->blocks->records[place];
	kept->state = InvalidDsaPointer; /* before anything can fail */
	return kept;
}

/*
 * Put an image's state where it will be needed, if it is needed: it is the
 * largest part of most journals, and is copied only once so.  What stays in the
 * arena is the same record with an empty state.
 */
static bool
share_state(Load *load, LoadRecord *kept, const GsRecord *record, const char *data,
			uint32 len)
{
	uint32 head = record->state.data - data - gs_varint_size(record->state.len);
	uint32 rest = data + len - (record->state.data + record->state.len);
	const char *at = data + head;
	uint64 state_len;
	char *p;

	/* a length that takes more bytes than it needs is not ours, but valid */
	if (load->keep || !gs_varint_get(&at, data + len, &state_len) ||
		at != record->state.data)
		return false;
	kept->state = gs_alloc_spare(load->db, Max(record->state.len, 1));
	if (!DsaPointerIsValid(kept->state))
		return false;
	memcpy(GS_PTR(kept->state), record->state.data, record->state.len);
	kept->state_len = record->state.len;
	kept->len = head + gs_varint_size(0) + rest;
	kept->data = p = arena_alloc(load, kept->len);
	memcpy(p, data, head);
	p = gs_varint_put(p + head, 0);
	memcpy(p, data + len - rest, rest);
	return true;
}

static void
keep_record(Load *load, const GsRecord *record, const char *data, uint32 len,
			const RowPlace *place)
{
	pg_uuid_t id;
	LoadRecord *kept;
	char *copy;

	memcpy(id.data, record->id, UUID_LEN);
	load->max_incarnation = Max(load->max_incarnation, record->incarnation);
	kept = add_record(load, &id);
	kept->id = id;
	kept->incarnation = record->incarnation;
	kept->version = record->version;
	kept->block = place->block;
	kept->item = place->item;
	kept->table = place->table;
	kept->kind = record->kind;
	if (record->kind == GS_RECORD_IMAGE && share_state(load, kept, record, data, len))
		return;
	kept->data = copy = arena_alloc(load, len);
	kept->len = len;
	memcpy(copy, data, len);
}

/* A whole group. */
static const char *
keep_group(Load *load, const char *data, Size len, const RowPlace *place)
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
		keep_record(load, &record, start, p - start, place);
	}
	return NULL;
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

/* One piece of a group of several; when it is the last one missing, the group is kept. */
static const char *
keep_piece(Load *load, const GsJournalRow *row, const char *data, bool by_xid,
		   const RowPlace *place)
{
	bool found;
	LoadGroup *group = hash_search(load->groups, &row->seq, HASH_ENTER, &found);
	Size total = 0;
	char *whole;
	char *p;
	const char *wrong;

	if (!found)
	{
		group->cnt = row->cnt;
		group->have = 0;
		group->by_xid = by_xid;
		group->pieces =
			MemoryContextAllocExtended(load->context, sizeof(LoadPiece) * row->cnt,
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}
	if (group->cnt != row->cnt)
		return "the number of rows differs from that of another row of its group";
	if (group->have == group->cnt || group->pieces[row->idx].data != NULL)
		return NULL; /* the same row once more */
	group->pieces[row->idx] = (LoadPiece){data, row->len, *place};
	if (++group->have < group->cnt)
		return NULL;

	for (int i = 0; i < group->cnt; i++)
		total += group->pieces[i].len;
	p = whole = MemoryContextAllocHuge(load->pieces, Max(total, 1));
	for (int i = 0; i < group->cnt; i++)
	{
		memcpy(p, group->pieces[i].data, group->pieces[i].len);
		p += group->pieces[i].len;
		pfree(unconstify(char *, group->pieces[i].data));
	}
	wrong = keep_group(load, whole, total, place);
	pfree(whole);
	return wrong;
}

/* A row, from the scan. */
static const char *
take_row(void *arg, const GsScanRow *found)
{
	Load *load = arg;
	RowPlace place = {found->block, found->item, load->table};
	GsJournalRow row;
	char *data;
	const char *wrong = gs_replay_row(found->header, found->len, &row);

	if (wrong)
		return wrong;
	if (load->keep && row.seq > load->last_seq)
		return NULL;
	load->max_seq = Max(load->max_seq, row.seq);
	if (load->bytes[load->table] == 0 || row.seq < load->min_seq[load->table])
		load->min_seq[load->table] = row.seq;
	load->bytes[load->table] += row.len + 64;
	if (row.cnt == 1)
		return keep_group(load, row.data, row.len, &place);
	data = MemoryContextAllocHuge(load->pieces, Max(row.len, 1));
	memcpy(data, row.data, row.len);
	return keep_piece(load, &row, data, found->by_xid, &place);
}

static void
scan_table(Load *load, int table)
{
	GsScan scan = {.rel = load->rels[table],
				   .arg = load,
				   .row = take_row,
				   .damage = take_damage,
				   .blocks_done = load->keep ? NULL : &load->db->load.blocks_done};

	load->table = table;
	gs_scan(&scan);
}

/* ----------------------------------------------------------------
 *		Games
 * ----------------------------------------------------------------
 */

static void
decode_again(const LoadRecord *kept, GsRecord *record)
{
	const char *p = kept->data;

	if (gs_record_decode(&p, kept->data + kept->len, record) != NULL)
		elog(ERROR, "record that has been checked does not decode");
}

/* Apply the updates; NULL or what is wrong. */
static const char *
take_updates(GsChange *change, const LoadGame *game)
{
	for (int i = 0; i < game->nupdates; i++)
	{
		GsRecord record;
		const char *wrong;

		if (game->updates[i]->version <= change->h.version)
			continue; /* the same one once more */
		decode_again(game->updates[i], &record);
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
	for (int i = 0; i < game->nupdates; i++)
		if (game->updates[i]->table != load->active)
			return 1 - load->active;
	return load->active;
}

static char *
name_of(const LoadGame *game)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(game->id)));
}

/* Updates that nothing leads to any more: the versions after this one. */
static void
keep_updates(Load *load, const LoadGame *game, int64 version)
{
	for (int i = 0; i < game->nupdates; i++)
	{
		const LoadRecord *u = game->updates[i];
		RowPlace place = {u->block, u->item, u->table};

		if (u->version > version)
			keep_useless(load, &place, "what it goes on from is missing");
	}
}

static void
lack_image(Load *load, const LoadGame *game)
{
	count_problem(load);
	if (load->keep)
		keep_updates(load, game, 0);
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("game %s cannot be loaded", name_of(game)),
				 errdetail("The journal has no image of it.")));
}

static void
lack_updates(Load *load, const LoadGame *game, GsChange *change, const char *wrong)
{
	count_problem(load);
	if (load->keep)
	{
		keep_updates(load, game, change->h.version);
		return;
	}
	change->h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	change->image_in = GS_IMAGE_NONE;
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("game %s is loaded as of version %lld only", name_of(game),
					(long long) change->h.version),
			 errdetail("In the journal %s.", wrong)));
}

static void
put_into_memory(Load *load, GsChange *change)
{
	/* what was acknowledged has to fit, whatever quota is set now */
	change->frees = true;
	PG_TRY();
	{
		gs_table_reserve(change);
	}
	PG_CATCH();
	{
		gs_table_unreserve(change);
		PG_RE_THROW();
	}
	PG_END_TRY();
	gs_table_apply(change);
	load->loaded++;
	pg_atomic_fetch_add_u64(&load->db->load.games, 1);
}

/* The state of an image that is in shared memory becomes that of the game, or its initial one. */
static void
pass_state(LoadRecord *image, GsChange *change)
{
	const char *state = GS_PTR(image->state);
	Size size = gs_alloc_size(Max(image->state_len, 1));

	if (change->state.data == state)
	{
		change->new_state = image->state;
		change->new_state_size = size;
	}
	else if (change->initial.data == state)
	{
		change->new_initial = image->state;
		change->new_initial_size = size;
	}
	else
		return;
	image->state = InvalidDsaPointer;
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
		lack_image(load, game);
		return;
	}
	decode_again(game->image, &record);
	change.key.dboid = MyDatabaseId;
	change.key.id = *game->id;
	change.db = load->db;
	change.image_in = table_of(load, game);
	gs_replay_image(&change, &record);
	if (DsaPointerIsValid(game->image->state))
		change.state = (GsText){GS_PTR(game->image->state), game->image->state_len};
	wrong = take_updates(&change, game);
	if (wrong)
		lack_updates(load, game, &change, wrong);
	if (load->keep)
		return;
	if (DsaPointerIsValid(game->image->state))
		pass_state(game->image, &change);
	put_into_memory(load, &change);
}

/* A group that is not whole: cut off by a crash, or damaged? */
static void
leave_out(Load *load, const LoadGroup *group)
{
	if (!group->by_xid && load->found == 0)
	{
		load->unfinished++;
		if (!load->keep)
			ereport(DEBUG1,
					(errmsg_internal("transaction %lld of the journal is not whole: %d of %d rows",
									 (long long) group->seq, group->have, group->cnt)));
		return;
	}
	count_problem(load);
	if (load->keep)
	{
		for (int i = 0; i < group->cnt; i++)
			if (group->pieces[i].data)
				keep_useless(load, &group->pieces[i].place,
							 "another row of its transaction is missing");
	}
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("transaction %lld of the journal is skipped", (long long) group->seq),
				 errdetail("Of its %d rows %d are there.", group->cnt, group->have)));
}

static void
check_groups(Load *load)
{
	HASH_SEQ_STATUS scan;
	LoadGroup *group;

	hash_seq_init(&scan, load->groups);
	while ((group = hash_seq_search(&scan)) != NULL)
		if (group->have < group->cnt)
			leave_out(load, group);
}

/* ----------------------------------------------------------------
 *		Buckets
 * ----------------------------------------------------------------
 */

/* By id, in any order; the highest incarnation first; by version. */
static inline int
compare_records(const LoadRecord *a, const LoadRecord *b)
{
	uint64 ids[2][2];

	memcpy(ids[0], a->id.data, UUID_LEN);
	memcpy(ids[1], b->id.data, UUID_LEN);
	if (ids[0][1] != ids[1][1])
		return ids[0][1] < ids[1][1] ? -1 : 1;
	if (ids[0][0] != ids[1][0])
		return ids[0][0] < ids[1][0] ? -1 : 1;
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation ? -1 : 1;
	if (a->version != b->version)
		return a->version < b->version ? -1 : 1;
	return 0;
}

#define ST_SORT			 sort_records
#define ST_ELEMENT_TYPE	 LoadRecordRef
#define ST_COMPARE(a, b) compare_records(*(a), *(b))
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
free_state(GsDatabase *db, LoadRecord *record)
{
	if (!DsaPointerIsValid(record->state))
		return;
	gs_free(db, record->state, gs_alloc_size(Max(record->state_len, 1)));
	record->state = InvalidDsaPointer;
}

/* The game of n sorted records of one id. */
static LoadGame
make_game(LoadRecord **records, int n)
{
	LoadGame game = {.id = &records[0]->id, .updates = records};
	int first = 0;

	while (records[n - 1]->incarnation != records[0]->incarnation)
		n--;
	for (int i = 0; i < n; i++)
	{
		if (records[i]->kind == GS_RECORD_REMOVE)
			game.removed = true;
		if (records[i]->kind == GS_RECORD_IMAGE)
			game.image = records[i];
		if (game.image && records[i]->version <= game.image->version)
			first = i + 1;
	}
	game.updates = records + first;
	game.nupdates = n - first;
	return game;
}

/* The records of games that come soon, whose bytes lie anywhere in the arena. */
static inline void
prefetch_record(const LoadRecord *record)
{
	for (uint32 at = 0; at < Min(record->len, PREFETCH_MAX); at += PG_CACHE_LINE_SIZE)
		__builtin_prefetch(record->data + at);
}

static int
sort_bucket(Load *load, const LoadBucket *bucket)
{
	int in_block = RECORDS_IN_FIRST(bucket);
	int n = 0;

	for (LoadBlock *block = bucket->blocks; block != NULL; block = block->next)
	{
		for (int i = 0; i < in_block; i++)
			load->sorted[n++] = &block->records[i];
		in_block = BLOCK_RECORDS;
	}
	sort_records(load->sorted, n);
	return n;
}

static void
load_bucket(Load *load, const LoadBucket *bucket)
{
	LoadRecord **records = load->sorted;
	int n = sort_bucket(load, bucket);
	int ahead = 0;
	int start;
	int end;

	for (start = 0; start < n; start = end)
	{
		LoadGame game;

		CHECK_FOR_INTERRUPTS();
		for (end = start + 1; end < n; end++)
			if (memcmp(&records[end]->id, &records[start]->id, UUID_LEN) != 0)
				break;
		for (; ahead < Min(n, end + PREFETCH_AHEAD); ahead++)
			prefetch_record(records[ahead]);
		game = make_game(records + start, end - start);
		load_game(load, &game);
		for (int i = start; i < end; i++)
			free_state(load->db, records[i]);
		MemoryContextReset(load->game_context);
	}
}

static void
load_games(Load *load)
{
	MemoryContext old = MemoryContextSwitchTo(load->game_context);
	uint32 most = 0;

	for (int i = 0; i < NBUCKETS; i++)
		most = Max(most, load->buckets[i].n);
	load->sorted =
		MemoryContextAllocHuge(load->context, sizeof(LoadRecord *) * Max(most, 1));
	for (int i = 0; i < NBUCKETS; i++)
		load_bucket(load, &load->buckets[i]);
	MemoryContextSwitchTo(old);
}

/* Also when the process is ended: what no game owns yet. */
static void
free_states(int code, Datum arg)
{
	Load *load = (Load *) DatumGetPointer(arg);

	if (load->buckets == NULL)
		return;
	for (int i = 0; i < NBUCKETS; i++)
	{
		int in_block = RECORDS_IN_FIRST(&load->buckets[i]);

		for (LoadBlock *block = load->buckets[i].blocks; block; block = block->next)
		{
			for (int j = 0; j < in_block; j++)
				free_state(load->db, &block->records[j]);
			in_block = BLOCK_RECORDS;
		}
	}
}

/* ----------------------------------------------------------------
 *		Waiting
 * ----------------------------------------------------------------
 */

static _Noreturn void
raise_loading(GsDatabase *db)
{
	ereport(ERROR,
			(errcode(ERRCODE_GS_LOADING),
			 errmsg("games of this database are still being loaded"),
			 errdetail(UINT64_FORMAT " of " UINT64_FORMAT
									 " blocks of the journal have been read and " UINT64_FORMAT
									 " games loaded.",
					   pg_atomic_read_u64(&db->load.blocks_done),
					   pg_atomic_read_u64(&db->load.blocks_total),
					   pg_atomic_read_u64(&db->load.games)),
			 errhint("Try again later; gamestate.stat_journal shows how far it is, gamestate.load_timeout how long a call waits.")));
}

/*
 * Take the load lock, or with relation that table's, within the time.  Both are
 * waited for as for every heavyweight lock: cancel and deadlock detection
 * work, and a shorter lock_timeout of the user's own holds.
 */
static void
lock_within(GsDatabase *db, Oid relation, int timeout)
{
	int users = LockTimeout;
	bool ours = timeout > 0 && (users <= 0 || timeout < users);
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		if (ours)
			LockTimeout = timeout;
		if (OidIsValid(relation))
			LockRelationOid(relation, AccessShareLock);
		else
			gs_lock_load();
	}
	PG_CATCH();
	{
		LockTimeout = users;
		if (ours && geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			raise_loading(db);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	LockTimeout = users;
}

/* Is the error the caller's own, which says nothing about the next try? */
static bool
is_callers(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_GS_LOADING || sqlerrcode == ERRCODE_QUERY_CANCELED ||
		   sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		   sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

static void
copy_text(char *dst, Size size, const char *text)
{
	int len;

	if (text == NULL)
		text = "";
	len = strlen(text);
	if (len >= (int) size)
		len = pg_mbcliplen(text, len, size - 1);
	memcpy(dst, text, len);
	dst[len] = '\0';
}

/* In a PG_CATCH block. */
static void
remember_failure(GsDatabase *db, MemoryContext context)
{
	GsLoadFailure *failure = &db->load_failure;
	MemoryContext old = MemoryContextSwitchTo(context);
	ErrorData *error = CopyErrorData();
	TimestampTz now = GetCurrentTimestamp();

	MemoryContextSwitchTo(old);
	if (is_callers(error->sqlerrcode))
		return;
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	failure->retry_at =
		TimestampTzPlusMilliseconds(now,
									Min(RETRY_LAST_MS,
										RETRY_FIRST_MS << Min(failure->failures, 10)));
	failure->failures++;
	failure->sqlerrcode = error->sqlerrcode;
	copy_text(failure->message, sizeof(failure->message), error->message);
	copy_text(failure->detail, sizeof(failure->detail), error->detail);
	copy_text(failure->hint, sizeof(failure->hint), error->hint);
	LWLockRelease(GsShmem->slots_lock);
}

/* A load that has just failed will fail again: raise its error. */
static void
raise_failure(GsDatabase *db)
{
	GsLoadFailure failure;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	failure = db->load_failure;
	LWLockRelease(GsShmem->slots_lock);
	if (failure.retry_at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(failure.sqlerrcode), errmsg_internal("%s", failure.message),
				 failure.detail[0] ? errdetail_internal("%s", failure.detail) : 0,
				 failure.hint[0] ? errhint("%s", failure.hint) : 0,
				 errcontext("loading the games of this database")));
}

static void
forget_failure(GsDatabase *db)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	memset(&db->load_failure, 0, sizeof(db->load_failure));
	LWLockRelease(GsShmem->slots_lock);
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

/* The younger table; the other one, if it has rows, is left from a rotation. */
static uint32
choose_active(const Load *load)
{
	if (load->bytes[0] > 0 && load->bytes[1] > 0)
		return load->min_seq[0] > load->min_seq[1] ? 0 : 1;
	return load->bytes[1] > 0 ? 1 : 0;
}

static void
open_tables(Load *load, int timeout)
{
	uint64 blocks = 0;

	gs_journal_oids(load->db->journal);
	for (int table = 0; table < 2; table++)
	{
		lock_within(load->db, load->db->journal[table], timeout);
		load->rels[table] = table_open(load->db->journal[table], NoLock);
		gs_journal_check(load->rels[table]);
		blocks += gs_scan_blocks(load->rels[table]);
	}
	if (!load->keep)
		pg_atomic_write_u64(&load->db->load.blocks_total, blocks);
}

static void
create_containers(Load *load)
{
	HASHCTL ctl = {.keysize = sizeof(int64),
				   .entrysize = sizeof(LoadGroup),
				   .hcxt = load->context};

	load->buckets = MemoryContextAllocZero(load->context, sizeof(LoadBucket) * NBUCKETS);
	load->groups = hash_create("gamestate load groups", 64, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
begin(Load *load)
{
	load->context = AllocSetContextCreate(CurrentMemoryContext, "gamestate load",
										  ALLOCSET_DEFAULT_SIZES);
	load->pieces = AllocSetContextCreate(load->context, "gamestate load pieces",
										 ALLOCSET_DEFAULT_SIZES);
	load->game_context =
		AllocSetContextCreate(load->context, "gamestate load game", GAME_CONTEXT_SIZE,
							  GAME_CONTEXT_SIZE, ALLOCSET_DEFAULT_MAXSIZE);
	load->arena_block = ARENA_FIRST;
}

/* Read the tables and, unless only damage is looked for, fill the memory. */
static void
run(Load *load, int timeout)
{
	open_tables(load, timeout);
	create_containers(load);
	for (int table = 0; table < 2; table++)
		scan_table(load, table);
	check_groups(load);
	load->active = choose_active(load);
	if (!load->keep)
	{
		raise_to(&GsShmem->commit_seq, load->max_seq);
		raise_to(&GsShmem->incarnation, load->max_incarnation);
	}
	load_games(load);
	for (int table = 0; table < 2; table++)
		table_close(load->rels[table], AccessShareLock);
}

static void
set_active(Load *load)
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
end_progress(Load *load)
{
	GsDatabase *db = load->db;

	pg_atomic_write_u64(&db->load.ended_at, GetCurrentTimestamp());
	pg_atomic_write_u64(&db->load.last_seq, load->max_seq);
	pg_atomic_write_u32(&db->load.has_unkept, load->found > 0 || load->problems > 0);
	forget_failure(db);
	pg_write_barrier();
	pg_atomic_write_u32(&db->load_state, GS_LOAD_DONE);
}

static void
load_or_clean_up(Load *load, int timeout, MemoryContext context)
{
	PG_TRY();
	{
		run(load, timeout);
	}
	PG_CATCH();
	{
		gs_table_remove_database(load->db);
		remember_failure(load->db, context);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* The caller holds the load lock. */
static void
load_now(GsDatabase *db, int timeout)
{
	Load load = {.db = db};
	MemoryContext context = CurrentMemoryContext;

	begin_progress(db);
	begin(&load);
	PG_ENSURE_ERROR_CLEANUP(free_states, PointerGetDatum(&load));
	{
		load_or_clean_up(&load, timeout, context);
	}
	PG_END_ENSURE_ERROR_CLEANUP(free_states, PointerGetDatum(&load));
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

	raise_failure(db);
	lock_within(db, InvalidOid, timeout);
	if (pg_atomic_read_u32(&db->load_state) != GS_LOAD_DONE)
	{
		raise_failure(db);
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
	Load load = {.db = db};
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
