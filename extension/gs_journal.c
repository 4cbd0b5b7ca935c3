/*-------------------------------------------------------------------------
 *
 * gs_journal.c
 *	  The journal: the durable copy of running games.
 *
 * The model:
 *	1. At pre-commit, when memory has been reserved for everything, the change
 *	   records of the transaction are encoded into one string of bytes and cut
 *	   into pieces that fit on a page: the rows of the active journal table.
 *	2. A transaction that has a transaction id inserts them at once, with the
 *	   ordinary heap API.  So they commit or roll back with everything else
 *	   that it did.  Shared memory is changed after the commit record is as
 *	   durable as synchronous_commit asks for (XACT_EVENT_COMMIT comes after
 *	   the flush and after waiting for standbys).  A transaction that has none
 *	   only prepares them here; see gs_light.c.  Either way PostgreSQL's own
 *	   WAL, checkpoints, replication and backups take care of them.
 *	3. An update leaves out what state and header have in common with those
 *	   before: the game's heavyweight lock keeps that as it is until we are done.
 *	4. Rotation (gs_rotate.c) changes the active table.  A writer locks the
 *	   table he takes for the active one and looks again; rotation changes the
 *	   active table first and then waits for everybody who has locked the old.
 *
 * Nothing here runs after the commit point.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_journal.h"
#include "gs_light.h"
#include "gs_protect.h"
#include "gs_record.h"
#include "gs_worker.h"

#include "access/heapam.h"
#include "access/hio.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A piece fills a page at most. */
#define PIECE_MAX                                                           \
	(MaxHeapTupleSize - MAXALIGN(SizeofHeapTupleHeader) -                   \
	 (sizeof(int64) + 2 * sizeof(int32)) - VARHDRSZ - GS_JOURNAL_CRC_SIZE - \
	 MAXIMUM_ALIGNOF)

/* Room in front of a piece for what makes it a bytea with a checksum. */
#define PIECE_HEADER (VARHDRSZ + GS_JOURNAL_CRC_SIZE)

/* What a row takes on a page besides its piece, about. */
#define ROW_OVERHEAD 64

/* Beyond the limit, the archiver is woken each time so many bytes were written. */
#define WAKE_BYTES (1024 * 1024)

/* The group that is being built, with PIECE_HEADER bytes in front. */
static MemoryContext group_context = NULL;
static char *group = NULL;
static Size group_len = 0;
static Size group_size = 0;

/* Creations of this group: where their image goes has to be noted. */
static GsChange **images = NULL;
static int nimages = 0;
static int images_size = 0;

/* ----------------------------------------------------------------
 *		Encoding
 * ----------------------------------------------------------------
 */

void
gs_journal_begin(MemoryContext mcxt)
{
	group_context = mcxt;
	group = NULL;
	group_len = group_size = 0;
	images = NULL;
	nimages = images_size = 0;
}

/* Room for so many more bytes. */
static char *
group_room(Size len)
{
	if (group_len + len > group_size)
	{
		group_size = Max(group_size * 2, group_len + len);
		group_size = Max(group_size, 1024);
		group = group ? repalloc_huge(group, PIECE_HEADER + group_size)
					  : MemoryContextAllocHuge(group_context, PIECE_HEADER + group_size);
	}
	return group + PIECE_HEADER + group_len;
}

/*
 * A game of durability memory is not journaled; only that it has taken the
 * place of another one, which may have been.
 */
bool
gs_journal_wants(const GsChange *change)
{
	return change->kind != GS_CHANGE_NONE &&
		   (change->h.durability == GS_DURABILITY_JOURNAL || change->replaces);
}

static GsBytes
bytes(const GsText *text)
{
	return (GsBytes){text->data, text->len};
}

static void
set_header(GsRecord *record, const GsHeader *h)
{
	record->incarnation = h->incarnation;
	record->version = h->version;
	record->status = h->status;
	record->encoding = h->encoding;
	record->history = h->history;
	record->history_limit = h->history_limit;
	record->moves = h->moves;
	record->created_at = h->created_at;
	record->started_at = h->started_at;
	record->updated_at = h->updated_at;
	record->ended_at = h->ended_at;
	record->deadline = h->deadline;
	record->max_players = h->max_players;
	if (h->has_create_request)
	{
		record->fields |= GS_RECORD_SET_REQUEST;
		memcpy(record->create_request, h->create_request.data, UUID_LEN);
		record->create_arguments = h->create_arguments;
	}
}

StaticAssertDecl(sizeof(GsBytes) == sizeof(GsText) &&
					 offsetof(GsBytes, data) == offsetof(GsText, data) &&
					 offsetof(GsBytes, len) == offsetof(GsText, len),
				 "GsBytes and GsText must be laid out alike");
StaticAssertDecl(GS_RECORD_HISTORY_LAST == GS_HISTORY_LAST &&
					 GS_RECORD_HISTORY_LIMIT == GS_HISTORY_LIMIT_MAX,
				 "what gs_record.h says of the history must be what gs_table.h says");

static void
set_info(GsRecord *record, const GsInfoParts *info)
{
	record->parts |= GS_RECORD_HAS_INFO;
	record->game_type = bytes(&info->game_type);
	record->room_code = bytes(&info->room_code);
	record->nplayers = info->nplayers;
	record->players = (const GsBytes *) info->players;
	record->metadata = bytes(&info->metadata);
	record->result = bytes(&info->result);
}

/*
 * An entry as the journal has it: the delta that leads back to the state before
 * the transaction follows from what the record says of the state, so it is empty.
 */
static GsEntry
journal_entry(const GsChange *change, int i)
{
	GsEntry e = change->entry_array[i]->e;

	if (change->entry_array[i] == change->first_state)
		e.delta_len = 0;
	return e;
}

/* Entries from `first` on, as many as have consecutive versions; returns how many. */
static int
set_run(GsRecordRun *run, const GsChange *change, int first)
{
	int64 base = change->entry_array[first]->e.at;
	int64 version = change->entry_array[first]->version;
	Size size = 0;
	int n = 0;
	char *data;
	char *p;

	for (; first + n < change->nentries; n++)
	{
		GsEntry e = journal_entry(change, first + n);

		if (change->entry_array[first + n]->version != version + n)
			break;
		size += gs_entry_size(&e, base);
	}
	p = data = MemoryContextAllocHuge(group_context, size);
	for (int i = first; i < first + n; i++)
	{
		GsEntry e = journal_entry(change, i);

		p = gs_entry_encode(&e, base, p);
	}
	*run = (GsRecordRun){version, base, n, {data, size}};
	return n;
}

/* The new log entries.  There are gaps between older requests, see gs_record.h. */
static void
set_log(GsRecord *record, const GsChange *change)
{
	GsRecordRun *runs;
	int nruns = 1;
	int done = 0;

	if (change->nentries == 0)
		return;
	for (int i = 1; i < change->nentries; i++)
		nruns +=
			change->entry_array[i]->version != change->entry_array[i - 1]->version + 1;
	runs = MemoryContextAlloc(group_context, sizeof(GsRecordRun) * nruns);
	for (int i = 0; i < nruns; i++)
		done += set_run(&runs[i], change, done);
	record->parts |= GS_RECORD_HAS_LOG;
	record->nruns = nruns;
	record->runs = runs;
}

/* Which of the fields that seldom change have changed? */
static uint8
changed_fields(const GsHeader *old, const GsHeader *h)
{
	uint8 fields = 0;

	if (h->status != old->status)
		fields |= GS_RECORD_SET_STATUS;
	if (h->encoding != old->encoding)
		fields |= GS_RECORD_SET_ENCODING;
	if (h->created_at != old->created_at)
		fields |= GS_RECORD_SET_CREATED_AT;
	if (h->started_at != old->started_at)
		fields |= GS_RECORD_SET_STARTED_AT;
	if (h->ended_at != old->ended_at)
		fields |= GS_RECORD_SET_ENDED_AT;
	if (h->deadline != old->deadline)
		fields |= GS_RECORD_SET_DEADLINE;
	if (h->max_players != old->max_players)
		fields |= GS_RECORD_SET_MAX_PLAYERS;
	if (h->has_create_request &&
		(!old->has_create_request ||
		 memcmp(&h->create_request, &old->create_request, UUID_LEN) != 0))
		fields |= GS_RECORD_SET_REQUEST;
	return fields;
}

/* The new state and header, without what they have in common with the committed ones. */
static void
set_state(GsRecord *record, const GsChange *change)
{
	GsGame *game = dshash_find(GsGames, &change->key, false);

	if (game == NULL)
		gs_table_removed();
	record->fields = changed_fields(&game->h, &change->h);
	dshash_release_lock(GsGames, game);

	if (!change->state_changed)
		return;
	if (change->delta.len > 0)
	{
		record->parts |= GS_RECORD_HAS_DELTA;
		record->delta = bytes(&change->delta);
	}
	else
	{
		record->parts |= GS_RECORD_HAS_STATE;
		record->state = bytes(&change->state);
	}
}

static void
put_record(const GsRecord *record)
{
	Size size = gs_record_size(record);

	(void) gs_record_encode(record, group_room(size));
	group_len += size;
}

static void
add_creation(GsChange *change)
{
	GsRecord record = {.kind = GS_RECORD_IMAGE};

	memcpy(record.id, change->key.id.data, UUID_LEN);
	set_header(&record, &change->h);
	set_info(&record, &change->info);
	if (change->returns)
	{
		record.parts |= GS_RECORD_MOVED;
		record.base_version = change->base_version;
	}
	record.parts |= GS_RECORD_HAS_STATE;
	record.state = bytes(&change->state);
	if (change->initial.data)
	{
		record.parts |= GS_RECORD_HAS_INITIAL;
		record.initial = bytes(&change->initial);
	}
	set_log(&record, change);
	put_record(&record);
}

static void
add_update(GsChange *change)
{
	GsRecord record = {.kind = GS_RECORD_UPDATE};

	memcpy(record.id, change->key.id.data, UUID_LEN);
	set_header(&record, &change->h);
	record.base_version = change->base_version;
	if (change->info_changed)
		set_info(&record, &change->info);
	set_state(&record, change);
	set_log(&record, change);
	put_record(&record);
}

static void
add_removal(GsChange *change)
{
	GsRecord record = {.kind = GS_RECORD_REMOVE};

	memcpy(record.id, change->key.id.data, UUID_LEN);
	record.incarnation = change->h.incarnation;
	record.version = change->h.version;
	if (change->kind == GS_CHANGE_ARCHIVE)
		record.parts = GS_RECORD_MOVED;
	put_record(&record);
}

/* An older request, in an entry of its own. */
static void
set_request_run(GsRecordRun *run, const GsAnsweredRequest *request, TimestampTz at,
				MemoryContext mcxt)
{
	GsEntry e = {.kind = GS_KIND_MOVE,
				 .at = at,
				 .request_id = request->id.data,
				 .request_arguments = request->arguments};
	Size size = gs_entry_size(&e, at);
	char *data = MemoryContextAlloc(mcxt, size);

	gs_entry_encode(&e, at, data);
	*run = (GsRecordRun){request->version, at, 1, {data, size}};
}

static void
image_log(const GsGameCopy *copy, GsRecord *record, MemoryContext mcxt)
{
	GsRecordRun *runs;
	GsRecordRun *run;
	Size size = 0;
	char *p;

	if (copy->nentries == 0)
		return;
	record->parts |= GS_RECORD_HAS_LOG;
	record->nruns = copy->nrequests + 1;
	record->runs = runs = MemoryContextAlloc(mcxt, sizeof(GsRecordRun) * record->nruns);
	for (uint32 i = 0; i < copy->nrequests; i++)
		set_request_run(&runs[i], &copy->requests[i], copy->h.updated_at, mcxt);

	run = &runs[copy->nrequests];
	run->first_version = copy->h.version - copy->nentries + 1;
	run->base = copy->entries[0].at;
	run->nentries = copy->nentries;
	for (uint64 i = 0; i < copy->nentries; i++)
		size += gs_entry_size(&copy->entries[i], run->base);
	p = MemoryContextAllocHuge(mcxt, size);
	run->entries = (GsBytes){p, size};
	for (uint64 i = 0; i < copy->nentries; i++)
		p = gs_entry_encode(&copy->entries[i], run->base, p);
}

void
gs_journal_image(const GsGameCopy *copy, GsRecord *record, MemoryContext mcxt)
{
	memset(record, 0, sizeof(*record));
	record->kind = GS_RECORD_IMAGE;
	memcpy(record->id, copy->game_id.data, UUID_LEN);
	set_header(record, &copy->h);
	set_info(record, &copy->info);
	record->parts |= GS_RECORD_HAS_STATE;
	record->state = bytes(&copy->state);
	if (copy->initial.data &&
		(copy->initial.len != copy->state.len ||
		 memcmp(copy->initial.data, copy->state.data, copy->state.len) != 0))
	{
		record->parts |= GS_RECORD_HAS_INITIAL;
		record->initial = bytes(&copy->initial);
	}
	image_log(copy, record, mcxt);
}

/* The game as it is, for rotation. */
static void
add_image(GsChange *change)
{
	GsGameCopy *copy = gs_table_copy(&change->key.id, GS_COPY_ALL, true, group_context);
	GsRecord record;

	if (copy == NULL)
		return;
	gs_journal_image(copy, &record, group_context);
	put_record(&record);
}

static void
note_image(GsChange *change)
{
	if (nimages == images_size)
	{
		images_size = Max(16, images_size * 2);
		images =
			images ? repalloc(images, sizeof(GsChange *) * images_size)
				   : MemoryContextAlloc(group_context, sizeof(GsChange *) * images_size);
	}
	images[nimages++] = change;
}

/* Was the game loaded from what is not whole?  Then updates of it mean nothing. */
static bool
needs_image_first(const GsGameKey *key)
{
	GsGame *game = dshash_find(GsGames, key, false);
	bool needs;

	if (game == NULL)
		return false;
	needs = game->image_in == GS_IMAGE_NONE;
	dshash_release_lock(GsGames, game);
	return needs;
}

static void
add_image_first(GsChange *change)
{
	if (!needs_image_first(&change->key))
		return;
	add_image(change);
	note_image(change);
	change->imaged = true;
}

/* What the game has become on its way to a table: a standby tells of it. */
static void
add_move(GsChange *change)
{
	if (change->nentries > 0)
	{
		add_image_first(change);
		add_update(change);
	}
	add_removal(change);
}

void
gs_journal_add(GsChange *change)
{
	switch (change->kind)
	{
		case GS_CHANGE_CREATE:
			if (change->h.durability == GS_DURABILITY_JOURNAL)
			{
				add_creation(change);
				note_image(change);
			}
			else
				add_removal(change);
			break;
		case GS_CHANGE_UPDATE:
			add_image_first(change);
			add_update(change);
			break;
		case GS_CHANGE_REMOVE:
			add_removal(change);
			break;
		case GS_CHANGE_ARCHIVE:
			add_move(change);
			break;
		case GS_CHANGE_IMAGE:
			add_image(change);
			note_image(change);
			break;
		case GS_CHANGE_NONE:
			break;
	}
}

/* ----------------------------------------------------------------
 *		Writing
 * ----------------------------------------------------------------
 */

void
gs_journal_oids(Oid *oids)
{
	Oid schema = get_namespace_oid("gamestate", true);

	for (int i = 0; i < 2; i++)
	{
		oids[i] = OidIsValid(schema)
					  ? get_relname_relid(i == 0 ? "journal_0" : "journal_1", schema)
					  : InvalidOid;
		if (!OidIsValid(oids[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table gamestate.journal_%d does not exist", i),
					 errhint("Create the extension gamestate in this database.")));
	}
}

static bool
has_expected_columns(TupleDesc desc)
{
	static const Oid types[] = {INT8OID, INT4OID, INT4OID, BYTEAOID};

	if (desc->natts < GS_JOURNAL_NATTS || desc->natts > GS_JOURNAL_MAX_NATTS)
		return false;
	for (int i = 0; i < GS_JOURNAL_NATTS; i++)
		if (TupleDescAttr(desc, i)->atttypid != types[i] ||
			TupleDescAttr(desc, i)->attisdropped)
			return false;
	for (int i = GS_JOURNAL_NATTS; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			return false;
	return true;
}

void
gs_journal_check(Relation rel)
{
	const char *wrong = NULL;

	if (!has_expected_columns(RelationGetDescr(rel)))
		wrong = "Its columns have been changed.";
	else if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		wrong = "It is not logged.";
	else if (rel->rd_rel->relkind != RELKIND_RELATION ||
			 rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		wrong = "It is not an ordinary heap table.";
	else if (OidIsValid(rel->rd_rel->reltoastrelid))
		wrong = "It has a TOAST table.";
	/* not pg_class's flags: they stay set until the next VACUUM */
	else if (gs_protect_has_triggers(rel->trigdesc) || rel->rd_rules != NULL)
		wrong = "It has triggers or rules.";
	else if (rel->rd_rel->relhasindex && RelationGetIndexList(rel) != NIL)
		wrong = "It has an index.";
	if (wrong)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("journal table \"%s\" is not usable", RelationGetRelationName(rel)),
				 errdetail("%s", wrong),
				 errhint("Undo that change, which a superuser can do after SET gamestate.allow_journal_changes = on.")));
}

/* Lock the active table, and see that it still is the active one. */
Relation
gs_journal_open(GsDatabase *db, uint32 *which)
{
	for (;;)
	{
		Relation rel;

		*which = pg_atomic_read_u32(&db->journal_active);
		rel = try_table_open(db->journal[*which], RowExclusiveLock);
		if (rel == NULL)
			gs_table_removed();
		pg_read_barrier();
		if (pg_atomic_read_u32(&db->journal_active) == *which)
		{
			gs_journal_check(rel);
			return rel;
		}
		table_close(rel, RowExclusiveLock);
	}
}

uint32
gs_journal_crc(int64 seq, int32 idx, int32 cnt, const char *data, Size len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &seq, sizeof(seq));
	COMP_CRC32C(crc, &idx, sizeof(idx));
	COMP_CRC32C(crc, &cnt, sizeof(cnt));
	COMP_CRC32C(crc, data, len);
	FIN_CRC32C(crc);
	return crc;
}

/* A row.  "piece" has PIECE_HEADER bytes in front of it that may be overwritten. */
static HeapTuple
form_row(TupleDesc desc, int64 seq, int32 idx, int32 cnt, char *piece, Size len)
{
	char *datum = piece - PIECE_HEADER;
	uint32 crc = gs_journal_crc(seq, idx, cnt, piece, len);
	Datum values[GS_JOURNAL_MAX_NATTS];
	bool nulls[GS_JOURNAL_MAX_NATTS];

	SET_VARSIZE(datum, PIECE_HEADER + len);
	memcpy(datum + VARHDRSZ, &crc, sizeof(crc));
	for (int i = 0; i < desc->natts; i++)
		nulls[i] = i >= GS_JOURNAL_NATTS;
	values[GS_JOURNAL_SEQ - 1] = Int64GetDatum(seq);
	values[GS_JOURNAL_IDX - 1] = Int32GetDatum(idx);
	values[GS_JOURNAL_CNT - 1] = Int32GetDatum(cnt);
	values[GS_JOURNAL_DATA - 1] = PointerGetDatum(datum);
	return heap_form_tuple(desc, values, nulls);
}

/* The next row of the group.  What is written into overwrites the piece before. */
static HeapTuple
next_row(Relation rel, int64 seq, int32 idx, int32 cnt)
{
	Size start = (Size) idx * PIECE_MAX;

	return form_row(RelationGetDescr(rel), seq, idx, cnt, group + PIECE_HEADER + start,
					Min(PIECE_MAX, group_len - start));
}

/*
 * An ordinary row, on a page of our own: heapam looks at the page that a bulk
 * insert has in hand first.
 */
static void
insert_row(Relation rel, GsDatabase *db, int table, HeapTuple tuple)
{
	BulkInsertStateData bulk = GS_BULK_INSERT_STATE;

	bulk.current_buf =
		gs_pages_get(rel, db, table, GS_PAGE_XID, GS_PAGE_NEED(tuple->t_len));
	heap_insert(rel, tuple, GetCurrentCommandId(true),
				HEAP_INSERT_SKIP_FSM | HEAP_INSERT_NO_LOGICAL, &bulk);
	ReleaseBuffer(bulk.current_buf);
	heap_freetuple(tuple);
}

/* Rotation is the archiver's: wake it when the table has grown too large. */
static void
count_bytes(GsDatabase *db, uint64 len)
{
	uint64 before = pg_atomic_fetch_add_u64(&db->journal_bytes, len);
	uint64 limit = (uint64) gs_journal_size * 1024 * 1024;

	if (before + len > limit && (before + len) / WAKE_BYTES != before / WAKE_BYTES)
		gs_worker_wake_archiver(db);
}

bool
gs_journal_write(uint64 seq, bool light)
{
	GsDatabase *db = gs_my_database();
	Relation rel;
	uint32 which;
	Size pieces;

	if (group_len == 0)
		return false;
	pieces = (group_len + PIECE_MAX - 1) / PIECE_MAX;
	if (pieces > INT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many changes of games in one transaction")));
	light = light && pieces <= GS_LIGHT_MAX_ROWS;
	rel = gs_journal_open(db, &which);
	gs_pages_begin(which);
	if (light)
	{
		HeapTuple rows[GS_LIGHT_MAX_ROWS];

		for (Size i = 0; i < pieces; i++)
			rows[i] = next_row(rel, seq, i, pieces);
		gs_light_prepare(rel, db, which, rows, pieces);
	}
	else
	{
		for (Size i = 0; i < pieces; i++)
		{
			CHECK_FOR_INTERRUPTS();
			insert_row(rel, db, which, next_row(rel, seq, i, pieces));
		}
		/* the lock stays until the transaction has ended: rotation waits for it */
		table_close(rel, NoLock);
	}
	for (int i = 0; i < nimages; i++)
		images[i]->image_in = which;
	count_bytes(db, group_len + pieces * ROW_OVERHEAD);
	return light;
}
