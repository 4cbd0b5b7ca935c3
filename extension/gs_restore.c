/*-------------------------------------------------------------------------
 *
 * gs_restore.c
 *	  load_saved_games(): live games out of the rows of gs_save.c.
 *
 * The model:
 *	1. All rows are read and decoded before anything else.  Nothing in them is
 *	   trusted: an image is the bytes of a dump that somebody may have edited.
 *	2. Each game becomes a change record of kind create in the write set, with
 *	   its log, its version and its times, and a new incarnation.  From there
 *	   it goes the way of every created game: reserve, journal, apply.  A game
 *	   that is over is queued for the archive by that.  The rows are deleted by
 *	   the same transaction, so that all of it happens or nothing.
 *	3. No game and no room code is locked: a hundred thousand of them would not
 *	   fit into the lock table.  A game that is not there can only appear if
 *	   somebody creates it with that id, and a free room code can only be taken
 *	   by somebody; both do so with the lock on names held shared
 *	   (gs_lock_names()).  We hold it exclusively from before we look until our
 *	   end, so what was looked up then stays true.  Everybody else plays on.
 *	4. A dump is taken some time after the games were saved.  A game may have
 *	   gone on meanwhile, ended or been suspended, and be in the dump's archive,
 *	   its dead letters or its suspended games as well: that is the same game (its id and
 *	   the time of its creation say so) at a later version, and it is left out.  Anything else that exists already is an
 *	   error, unless the caller wants to keep what is there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_lock.h"
#include "gs_lookup.h"
#include "gs_record.h"
#include "gs_replay.h"
#include "gs_save.h"
#include "gs_writeset.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(gs_load_saved_games);

/* Rows fetched at a time. */
#define FETCH_ROWS 100

/* A row whose image has been checked; the image lives as long as the write set. */
typedef struct SavedRow
{
	pg_uuid_t id;
	GsDurability durability;
	bool skip;
	GsText image;
	int64 version;
	TimestampTz created_at;
	GsText room_code; /* of a game that is not over; data NULL = none */
} SavedRow;

typedef struct SavedRows
{
	SavedRow *rows; /* in the order of ids */
	uint64 n;
	uint64 size;
	uint64 bytes;
	TimestampTz saved_at; /* of the oldest */
} SavedRows;

static const char *
id_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* ----------------------------------------------------------------
 *		Reading the rows
 * ----------------------------------------------------------------
 */

static _Noreturn void
damaged(const pg_uuid_t *id, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("saved game %s is damaged", id_text(id)),
			 errdetail("%s.", what),
			 errhint("Delete its row from gamestate.saved_games to load the others without it.")));
}

/*
 * Do the runs of the log follow each other, up to the game's version?  If it is a log of
 * the last changes only, older requests come before it, each in a run of its own.
 */
static bool
log_is_whole(const GsRecord *record)
{
	const char *p = record->runs_raw.data;
	int64 next = 0;

	for (uint32 i = 0; i < record->nruns; i++)
	{
		GsRecordRun run;

		gs_record_next_run(record, &p, &run);
		if (run.first_version < 2 || run.first_version > PG_INT64_MAX - run.nentries)
			return false;
		if (i > 0 && (record->history == GS_HISTORY_LAST ? run.first_version < next
														 : run.first_version != next))
			return false;
		next = run.first_version + run.nentries;
	}
	return record->nruns == 0 || next - 1 == record->version;
}

static const char *
check_image(const SavedRow *row, GsRecord *record)
{
	const char *p = row->image.data;
	const char *end = row->image.data + row->image.len;
	const char *wrong = gs_replay_record(&p, end, record);

	if (wrong)
		return wrong;
	if (p != end)
		return "there is something behind its image";
	if (record->kind != GS_RECORD_IMAGE)
		return "it is not the image of a game";
	if (memcmp(record->id, row->id.data, UUID_LEN) != 0)
		return "its image is that of another game";
	if (record->version < 1)
		return "its version is impossible";
	if (GS_STATUS_IS_OVER(record->status) != (record->ended_at != 0))
		return "its status and the time of its end contradict each other";
	if (!(record->parts & GS_RECORD_HAS_LOG))
		return NULL;
	return log_is_whole(record) ? NULL : "its log has a hole";
}

static void
check_format(const pg_uuid_t *id, int format, const char *encoding)
{
	if (format != GS_SAVED_FORMAT_1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("saved game %s has format %d, which this version does not know", id_text(id), format),
				 errhint("Install the version of gamestate that saved it, or a later one.")));
	/* json and texts are kept to the letter, so as bytes: nothing converts them */
	if (strcmp(encoding, GetDatabaseEncodingName()) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("saved game %s is of a database with another encoding", id_text(id)),
				 errdetail("It is %s, and this database's is %s.", encoding, GetDatabaseEncodingName()),
				 errhint("Restore the dump into a database whose encoding is %s.", encoding)));
}

enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_DURABILITY,
	COLUMN_SAVED_AT,
	COLUMN_ENCODING,
	COLUMN_FORMAT,
	COLUMN_CHECKSUM,
	COLUMN_IMAGE
};

#define SELECT_ROWS                                                     \
	"SELECT game_id, durability, saved_at, database_encoding, format, " \
	"checksum, image FROM ONLY gamestate.saved_games ORDER BY game_id"

/* A column's value; its tables's NOT NULL may have been dropped. */
static Datum
column(HeapTuple tuple, TupleDesc desc, int n)
{
	bool isnull;
	Datum value = SPI_getbinval(tuple, desc, n, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of gamestate.saved_games is null", SPI_fname(desc, n))));
	return value;
}

static void
read_row(SavedRow *row, TimestampTz *saved_at, HeapTuple tuple, TupleDesc desc)
{
	bytea *image;
	char *kept;
	GsRecord record;
	const char *wrong;

	memset(row, 0, sizeof(*row));
	row->id = *DatumGetUUIDP(column(tuple, desc, COLUMN_GAME_ID));
	check_format(&row->id, DatumGetInt16(column(tuple, desc, COLUMN_FORMAT)),
				 TextDatumGetCString(column(tuple, desc, COLUMN_ENCODING)));
	*saved_at = DatumGetTimestampTz(column(tuple, desc, COLUMN_SAVED_AT));
	row->durability =
		strcmp(TextDatumGetCString(column(tuple, desc, COLUMN_DURABILITY)), "memory") == 0
			? GS_DURABILITY_MEMORY
			: GS_DURABILITY_JOURNAL;
	image = DatumGetByteaPP(column(tuple, desc, COLUMN_IMAGE));
	row->image.len = VARSIZE_ANY_EXHDR(image);
	kept = MemoryContextAlloc(gs_writeset_context(), Max(row->image.len, 1));
	memcpy(kept, VARDATA_ANY(image), row->image.len);
	row->image.data = kept;

	if (DatumGetInt64(column(tuple, desc, COLUMN_CHECKSUM)) !=
		(int64) gs_saved_checksum(&row->id, row->image.data, row->image.len))
		damaged(&row->id, "its checksum is wrong");
	wrong = check_image(row, &record);
	if (wrong)
		damaged(&row->id, wrong);
	row->version = record.version;
	row->created_at = record.created_at;
	if (!GS_STATUS_IS_OVER(record.status) && record.room_code.data)
		row->room_code = (GsText){record.room_code.data, record.room_code.len};
}

static void
read_rows(SavedRows *saved)
{
	MemoryContext mcxt = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(mcxt, "gamestate load saved", ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr plan = SPI_prepare(SELECT_ROWS, 0, NULL);
	Portal portal;

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", SELECT_ROWS);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	saved->size = 1024;
	saved->rows = palloc(sizeof(SavedRow) * saved->size);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		if (saved->n + SPI_processed > saved->size)
		{
			saved->size = saved->size * 2 + SPI_processed;
			saved->rows = repalloc_huge(saved->rows, sizeof(SavedRow) * saved->size);
		}
		MemoryContextSwitchTo(scratch);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			SavedRow *row = &saved->rows[saved->n++];
			TimestampTz saved_at;

			CHECK_FOR_INTERRUPTS();
			read_row(row, &saved_at, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			if (saved->n > 1 && memcmp(&row[-1].id, &row->id, UUID_LEN) == 0)
				damaged(&row->id, "it is there twice");
			saved->bytes += row->image.len + sizeof(GsGame);
			if (saved->n == 1 || saved_at < saved->saved_at)
				saved->saved_at = saved_at;
		}
		MemoryContextSwitchTo(mcxt);
		MemoryContextReset(scratch);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(scratch);
}

/* ----------------------------------------------------------------
 *		What is there already
 * ----------------------------------------------------------------
 */

static int
compare_row_ids(const void *a, const void *b)
{
	return memcmp(&((const SavedRow *) a)->id, &((const SavedRow *) b)->id, UUID_LEN);
}

static SavedRow *
find_row(const SavedRows *saved, const pg_uuid_t *id)
{
	SavedRow key = {.id = *id};

	return bsearch(&key, saved->rows, saved->n, sizeof(SavedRow), compare_row_ids);
}

static void
exists(SavedRow *row, const char *status, int64 version, bool skip_existing)
{
	if (!skip_existing)
	{
		gs_durable_wait();
		ereport(ERROR,
				(errcode(ERRCODE_GS_DUPLICATE_GAME),
				 errmsg("game %s exists already", id_text(&row->id)),
				 errdetail("It is %s, at version %lld; the saved game is at version %lld.",
						   status, (long long) version, (long long) row->version),
				 errhint("Use skip_existing := true to keep the games that are there.")));
	}
	row->skip = true;
}

static void
find_live(SavedRows *saved, bool skip_existing)
{
	for (uint64 i = 0; i < saved->n; i++)
	{
		SavedRow *row = &saved->rows[i];
		GsGame *game = gs_table_find(&row->id, true);
		int64 version;
		GsStatus status;

		CHECK_FOR_INTERRUPTS();
		if (game == NULL)
			continue;
		version = game->h.version;
		status = game->h.status;
		gs_table_release(game);
		exists(row, gs_status_name(status), version, skip_existing);
	}
}

#define SELECT_STORED                                           \
	"SELECT a.game_id, a.version, a.created_at, 'archived' "    \
	"FROM ONLY gamestate.saved_games s, gamestate.archive a "   \
	"WHERE a.game_id = s.game_id "                              \
	"UNION ALL "                                                \
	"SELECT a.game_id, a.version, a.created_at, 'suspended' "   \
	"FROM ONLY gamestate.saved_games s, gamestate.suspended a " \
	"WHERE a.game_id = s.game_id "                              \
	"UNION ALL "                                                \
	"SELECT a.game_id, a.version, a.created_at, "               \
	"'a dead letter' "                                          \
	"FROM ONLY gamestate.saved_games s, "                       \
	"gamestate.dead_letter a WHERE a.game_id = s.game_id"

/*
 * After find_live(): a live game may move to a table meanwhile, but not back,
 * since who brings one back needs the lock on names.
 */
static void
find_stored(SavedRows *saved, bool skip_existing)
{
	if (SPI_execute(SELECT_STORED, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of: %s", SELECT_STORED);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		SavedRow *row = find_row(saved, DatumGetUUIDP(column(tuple, desc, 1)));
		int64 version = DatumGetInt64(column(tuple, desc, 2));
		TimestampTz created_at = DatumGetTimestampTz(column(tuple, desc, 3));

		if (row == NULL)
			continue;
		exists(row, TextDatumGetCString(column(tuple, desc, 4)), version,
			   skip_existing ||
				   (created_at == row->created_at && version >= row->version));
	}
	SPI_freetuptable(SPI_tuptable);
}

static int
compare_room_codes(const void *a, const void *b)
{
	const GsText *x = &(*(SavedRow *const *) a)->room_code;
	const GsText *y = &(*(SavedRow *const *) b)->room_code;
	int cmp = memcmp(x->data, y->data, Min(x->len, y->len));

	if (cmp != 0)
		return cmp;
	return x->len < y->len ? -1 : x->len > y->len;
}

static _Noreturn void
room_taken(const SavedRow *row, const pg_uuid_t *holder, bool saved)
{
	gs_durable_wait();
	ereport(ERROR,
			(errcode(ERRCODE_GS_ROOM_TAKEN),
			 errmsg("room code \"%.*s\" of saved game %s is taken", (int) row->room_code.len,
					row->room_code.data, id_text(&row->id)),
			 saved ? errdetail("Saved game %s has it too.", id_text(holder)) :
			 errdetail("Game %s has it.", id_text(holder)),
			 saved ? 0 : errhint("Let that game give it up with gamestate.set_room_code(), or finish it.")));
}

/* Are the room codes free?  Asked before the write set has anything: each look-up searches it. */
static void
check_room_codes(const SavedRows *saved)
{
	const SavedRow **with_room =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(SavedRow *) * (saved->n + 1));
	uint64 n = 0;

	for (uint64 i = 0; i < saved->n; i++)
		if (!saved->rows[i].skip && saved->rows[i].room_code.data)
			with_room[n++] = &saved->rows[i];
	qsort(with_room, n, sizeof(SavedRow *), compare_room_codes);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t holder;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && compare_room_codes(&with_room[i - 1], &with_room[i]) == 0)
			room_taken(with_room[i], &with_room[i - 1]->id, true);
		if (gs_lookup_room(&with_room[i]->room_code, true, &holder))
			room_taken(with_room[i], &holder, false);
	}
	pfree(with_room);
}

/* ----------------------------------------------------------------
 *		Creating the games
 * ----------------------------------------------------------------
 */

/* The image has been checked; this is its second reading. */
static void
create(const SavedRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(gs_writeset_context());
	GsRecord record;
	GsPending *pending;
	GsChange *change;

	if (check_image(row, &record) != NULL)
		elog(ERROR, "image that has been checked does not decode");
	pending = gs_writeset_open(&row->id, NULL);
	change = &pending->change;
	change->kind = GS_CHANGE_CREATE;
	gs_replay_image(change, &record);
	change->h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	change->h.durability = row->durability;
	pending->exists = true;
	MemoryContextSwitchTo(old);
}

/* Early and roughly; what it really takes is seen at commit. */
static void
check_memory(GsDatabase *db, uint64 bytes)
{
	gs_check_memory(db, bytes);
	if (pg_atomic_read_u64(&GsShmem->used_bytes) + bytes > GsShmem->area_size)
		gs_out_of_memory();
}

static uint64
create_games(GsDatabase *db, const SavedRows *saved)
{
	uint64 created = 0;

	check_memory(db, saved->bytes);
	for (uint64 i = 0; i < saved->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (saved->rows[i].skip)
			continue;
		create(&saved->rows[i]);
		created++;
	}
	return created;
}

static void
empty_table(uint64 expected)
{
	if (SPI_execute("DELETE FROM ONLY gamestate.saved_games", false, 0) !=
			SPI_OK_DELETE ||
		SPI_processed != expected)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table gamestate.saved_games could not be emptied"),
				 errhint("Look for a trigger or a rule on the table that keeps rows.")));
}

static void
check_may_load(void)
{
	if (!gs_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_GS_DISABLED),
				 errmsg("changes of games are disabled"),
				 errdetail("gamestate.enabled is off."),
				 errhint("Set gamestate.enabled to on for this database.")));
	PreventCommandIfReadOnly("load_saved_games()");
	PreventCommandIfParallelMode("load_saved_games()");
	/* an old snapshot does not see what has been archived since */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("load_saved_games() cannot run in this isolation level"),
				 errhint("Call it in a transaction of isolation level READ COMMITTED.")));
}

Datum
gs_load_saved_games(PG_FUNCTION_ARGS)
{
	bool skip_existing;
	GsDatabase *db;
	GsOwnerAccess access;
	SavedRows saved = {0};
	uint64 created;

	gs_attach();
	check_may_load();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("skip_existing must not be null")));
	skip_existing = PG_GETARG_BOOL(0);
	db = gs_ready();
	gs_saved_require_no_changes("load_saved_games()");

	gs_saved_begin(&access);
	read_rows(&saved);
	gs_lock_names(true);
	find_live(&saved, skip_existing);
	find_stored(&saved, skip_existing);
	check_room_codes(&saved);
	created = create_games(db, &saved);
	empty_table(saved.n);
	gs_owner_end(&access);

	if (created > 0)
		ereport(NOTICE,
				(errmsg("loaded %llu games that were saved at %s", (unsigned long long) created,
						timestamptz_to_str(saved.saved_at))));
	if (created < saved.n)
		ereport(NOTICE,
				(errmsg("%llu saved games were left out, for they exist already",
						(unsigned long long) (saved.n - created))));
	PG_RETURN_INT64((int64) created);
}
