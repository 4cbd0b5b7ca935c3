/*-------------------------------------------------------------------------
 *
 * gs_load_rows.c
 *	  Loading, what is read: from the rows of the journal to records of games.
 *
 * The model:
 *	1. gs_scan.c hands over each row, and what is damaged.  A row that is a whole
 *	   group is taken apart at once; those of larger groups wait for the others.
 *	2. The records of a group are dealt into buckets by the hash of their game.
 *	   Their bytes are copied to one arena, since they end together; but the
 *	   state of an image, the largest part of most journals, to where its game
 *	   will have it, in shared memory (share_state()).
 *	3. At the end there are groups that are not whole: cut off by a crash, or
 *	   damaged.
 *
 * Nothing is looked up while the tables are read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_journal.h"
#include "gs_load_parts.h"
#include "gs_replay.h"
#include "gs_scan.h"

#include "utils/memutils.h"
#include "utils/rel.h"

#include <sys/mman.h>

/* The arena's blocks, growing between these; what is larger than a quarter of one gets its own. */
#define ARENA_FIRST ((Size) 64 * 1024)
#define ARENA_LAST	((Size) 32 * 1024 * 1024)
#define HUGE_PAGE	((Size) 2 * 1024 * 1024)

typedef struct LoadPiece
{
	const char *data; /* NULL = not found yet */
	uint32 len;
	GsRowPlace place;
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

/* ----------------------------------------------------------------
 *		Memory
 * ----------------------------------------------------------------
 */

/*
 * A fresh block in huge pages, where the system gives them to who asks: the
 * kernel then takes one fault for each instead of hundreds.  It is none the
 * worse if it does not.
 */
static char *
new_block(GsLoad *load, Size size)
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
arena_alloc(GsLoad *load, Size size)
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

/* ----------------------------------------------------------------
 *		Damage
 * ----------------------------------------------------------------
 */

void
gs_load_count_problem(GsLoad *load)
{
	load->problems++;
	if (load->keep == NULL)
		pg_atomic_fetch_add_u64(&load->db->load.problems, 1);
}

/* A damaged row or page, from the scan. */
static void
take_damage(void *arg, const GsScanDamage *damage)
{
	GsLoad *load = arg;
	Relation rel = load->rels[load->table];

	load->found++;
	gs_load_count_problem(load);
	if (load->keep)
		gs_damage_add(load->keep, rel, damage);
	else
		gs_damage_report(rel, damage);
}

/* Keep a row that is not damaged, but of no use because of others that are. */
void
gs_load_keep_useless(GsLoad *load, const GsRowPlace *place, const char *what)
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

static GsLoadRecord *
add_record(GsLoad *load, const pg_uuid_t *id)
{
	GsLoadRecord *kept;
	GsLoadBucket *bucket =
		&load->buckets[gs_table_hash(id) >> (32 - GS_LOAD_BUCKET_BITS)];
	uint32 place = bucket->n % GS_LOAD_BLOCK_RECORDS;

	if (place == 0)
	{
		GsLoadBlock *block = arena_alloc(load, sizeof(GsLoadBlock));

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
share_state(GsLoad *load, GsLoadRecord *kept, const GsRecord *record, const char *data,
			uint32 len)
{
	uint32 head = record->state.data - data - gs_varint_size(record->state.len);
	uint32 rest = data + len - (record->state.data + record->state.len);
	const char *at = data + head;
	uint64 state_len;
	char *p;

	/* a length that takes more bytes than it needs is not ours, but valid */
	if (!load->may_share || !gs_varint_get(&at, data + len, &state_len) ||
		at != record->state.data)
		return false;
	kept->state = gs_alloc_spare(load->db, Max(record->state.len, 1));
	if (!DsaPointerIsValid(kept->state))
		return false;
	load->has_shared = true;
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
keep_record(GsLoad *load, const GsRecord *record, const char *data, uint32 len,
			const GsRowPlace *place)
{
	pg_uuid_t id;
	GsLoadRecord *kept;
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
keep_group(GsLoad *load, const char *data, Size len, const GsRowPlace *place)
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
keep_piece(GsLoad *load, const GsJournalRow *row, const char *data, bool by_xid,
		   const GsRowPlace *place)
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
	GsLoad *load = arg;
	GsRowPlace place = {found->block, found->item, load->table};
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
scan_table(GsLoad *load, int table)
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
 *		Groups that are not whole
 * ----------------------------------------------------------------
 */

/* A group that is not whole: cut off by a crash, or damaged? */
static void
leave_out(GsLoad *load, const LoadGroup *group)
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
	gs_load_count_problem(load);
	if (load->keep)
	{
		for (int i = 0; i < group->cnt; i++)
			if (group->pieces[i].data)
				gs_load_keep_useless(load, &group->pieces[i].place,
									 "another row of its transaction is missing");
	}
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("transaction %lld of the journal is skipped", (long long) group->seq),
				 errdetail("Of its %d rows %d are there.", group->cnt, group->have)));
}

static void
check_groups(GsLoad *load)
{
	HASH_SEQ_STATUS scan;
	LoadGroup *group;

	hash_seq_init(&scan, load->groups);
	while ((group = hash_seq_search(&scan)) != NULL)
		if (group->have < group->cnt)
			leave_out(load, group);
}

/* ----------------------------------------------------------------
 *		The whole
 * ----------------------------------------------------------------
 */

static void
create_containers(GsLoad *load)
{
	HASHCTL ctl = {.keysize = sizeof(int64),
				   .entrysize = sizeof(LoadGroup),
				   .hcxt = load->context};

	load->buckets =
		MemoryContextAllocZero(load->context, sizeof(GsLoadBucket) * GS_LOAD_BUCKETS);
	load->groups = hash_create("gamestate load groups", 64, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
gs_load_rows(GsLoad *load)
{
	load->arena_block = ARENA_FIRST;
	create_containers(load);
	for (int table = 0; table < 2; table++)
		scan_table(load, table);
	check_groups(load);
}
