/*-------------------------------------------------------------------------
 *
 * gs_save.c
 *	  save_live_games(): all live games as rows of an ordinary table.
 *
 * pg_dump does not dump the journal, which would be of no use in another
 * database (commit sequences and incarnations are those of a server).  It
 * dumps the rows that are written here.
 *
 * The model:
 *	1. The saved games are one consistent set: a commit that changed several
 *	   games is in it whole or not at all.  Such a commit holds commit_lock
 *	   exclusively while it changes memory, so the set is taken with
 *	   commit_lock held shared.  No game is locked, no move waits for us.
 *	2. So that commits of several games wait for a moment only, all games are
 *	   copied first without the lock.  With the lock held it is only seen which
 *	   of them have changed since, appeared or gone, and only those are copied
 *	   again.  After that each copy is the game as of that moment.
 *	3. Then the rows are written, in place of those of an earlier save.  Rows
 *	   that came by a restore and have not been loaded are not replaced: they
 *	   may be the only copy of their games.
 *
 * Durability: our commit record comes after the records of everything that
 * was copied, so the rows never survive a crash that a saved version does not.
 * For the answer we wait as every reader does (gs_durable.h), since our own
 * synchronous_commit may be off.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_journal.h"
#include "gs_record.h"
#include "gs_save.h"
#include "gs_writeset.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_save_live_games);

/*
 * The largest image.  pg_dump has to be able to read a row as text, where each
 * byte takes two, and no text is larger than 1 GB.
 */
#define MAX_IMAGE ((Size) 400 * 1024 * 1024)

/* A game as it will be saved. */
typedef struct SavedGame
{
	pg_uuid_t id;
	int64 incarnation;
	int64 version;
	uint8 status;
	uint8 durability;
	text *game_type;
	bytea *image;
} SavedGame;

typedef struct SavedGames
{
	SavedGame *games;
	int n;
} SavedGames;

/* ----------------------------------------------------------------
 *		What saving and loading share
 * ----------------------------------------------------------------
 */

void
gs_saved_require_no_changes(const char *function)
{
	if (GsWriteSetActive)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s cannot run in a transaction that has changed games", function),
				 errhint("Commit first.")));
}

uint32
gs_saved_checksum(const pg_uuid_t *id, const char *image, Size len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, id->data, UUID_LEN);
	COMP_CRC32C(crc, image, len);
	FIN_CRC32C(crc);
	return crc;
}

/* ----------------------------------------------------------------
 *		Copying the games
 * ----------------------------------------------------------------
 */

static bytea *
encode_image(const GsGameCopy *copy, MemoryContext mcxt)
{
	GsRecord record;
	Size size;
	bytea *image;

	gs_journal_image(copy, &record, CurrentMemoryContext);
	size = gs_record_size(&record);
	if (size > MAX_IMAGE)
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("game %s is too large to be saved",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&copy->game_id)))),
				 errdetail("State and log have %zu bytes, the limit is %zu.", size, MAX_IMAGE),
				 errhint("Finish or delete the game.")));
	image = MemoryContextAlloc(mcxt, VARHDRSZ + size);
	SET_VARSIZE(image, VARHDRSZ + size);
	(void) gs_record_encode(&record, VARDATA(image));
	return image;
}

static void
set_game(SavedGame *game, const GsGameCopy *copy, MemoryContext mcxt)
{
	MemoryContext old;

	game->id = copy->game_id;
	game->incarnation = copy->h.incarnation;
	game->version = copy->h.version;
	game->status = copy->h.status;
	game->durability = copy->h.durability;
	game->image = encode_image(copy, mcxt);
	old = MemoryContextSwitchTo(mcxt);
	game->game_type =
		cstring_to_text_with_len(copy->info.game_type.data, copy->info.game_type.len);
	MemoryContextSwitchTo(old);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

static pg_uuid_t *
sorted_ids(int *n)
{
	pg_uuid_t *ids = gs_table_ids(n);

	qsort(ids, *n, sizeof(pg_uuid_t), compare_ids);
	return ids;
}

/* Each game as it is when its turn comes, in the order of ids. */
static void
copy_one_after_another(SavedGames *saved, MemoryContext scratch)
{
	MemoryContext mcxt = CurrentMemoryContext;
	int n;
	pg_uuid_t *ids = sorted_ids(&n);

	saved->games = MemoryContextAllocHuge(mcxt, sizeof(SavedGame) * Max(n, 1));
	saved->n = 0;
	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < n; i++)
	{
		GsGameCopy *copy;

		CHECK_FOR_INTERRUPTS();
		copy = gs_table_copy(&ids[i], GS_COPY_ALL, true, scratch);
		if (copy != NULL)
			set_game(&saved->games[saved->n++], copy, mcxt);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(mcxt);
	pfree(ids);
}

/*
 * Is there such a game that is not in the archive, and is it still what was
 * copied (NULL: it was not)?
 */
static bool
is_live(const pg_uuid_t *id, const SavedGame *copied, bool *same)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};
	GsGame *game = dshash_find(GsGames, &key, false);
	bool live;

	if (game == NULL)
		return false;
	live = game->visible && game->link_state != GS_LINK_ARCHIVED && !game->returning;
	*same = copied && game->h.incarnation == copied->incarnation &&
			game->h.version == copied->version;
	dshash_release_lock(GsGames, game);
	return live;
}

/* What commit_lock is held for: a set as of one moment, partly still to be encoded. */
typedef struct Moment
{
	SavedGames games;
	GsGameCopy **copies; /* for each game, if it has to be encoded */
} Moment;

static void
take_moment(const SavedGames *before, Moment *moment)
{
	int n;
	pg_uuid_t *ids = sorted_ids(&n);
	int j = 0;

	moment->games.games =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(SavedGame) * Max(n, 1));
	moment->games.n = 0;
	moment->copies =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(GsGameCopy *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		const SavedGame *copied = NULL;
		GsGameCopy *copy = NULL;
		bool same = false;

		while (j < before->n && memcmp(&before->games[j].id, &ids[i], UUID_LEN) < 0)
			j++;
		if (j < before->n && memcmp(&before->games[j].id, &ids[i], UUID_LEN) == 0)
			copied = &before->games[j];
		if (!is_live(&ids[i], copied, &same))
			continue;
		if (!same)
		{
			copy = gs_table_copy(&ids[i], GS_COPY_ALL, true, CurrentMemoryContext);
			if (copy == NULL)
				continue;
		}
		else
			moment->games.games[moment->games.n] = *copied;
		moment->copies[moment->games.n++] = copy;
	}
}

/* All live games of this database as of one moment. */
static void
copy_games(SavedGames *saved)
{
	MemoryContext mcxt = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(mcxt, "gamestate save", ALLOCSET_DEFAULT_SIZES);
	Moment moment;

	copy_one_after_another(saved, scratch);

	LWLockAcquire(GsShmem->commit_lock, LW_SHARED);
	take_moment(saved, &moment);
	LWLockRelease(GsShmem->commit_lock);

	*saved = moment.games;
	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < saved->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (moment.copies[i] == NULL)
			continue;
		set_game(&saved->games[i], moment.copies[i], mcxt);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(mcxt);
	MemoryContextDelete(scratch);
}

/* ----------------------------------------------------------------
 *		Writing the rows
 * ----------------------------------------------------------------
 */

/*
 * Rows that this database has not written itself have come by a restore, and
 * loading them is what empties the table.
 */
static void
check_nothing_to_load(void)
{
	if (SPI_execute("SELECT FROM ONLY gamestate.saved_games WHERE xmin <> saved_by",
					false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look into gamestate.saved_games");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table gamestate.saved_games has games that have not been loaded"),
				 errdetail("They have been restored from a dump, or changed by hand, and may exist nowhere else."),
				 errhint("Call gamestate.load_saved_games(), or TRUNCATE gamestate.saved_games if they are not needed.")));
}

static void
delete_rows(void)
{
	/* not TRUNCATE: that would wait for a pg_dump, and empty it for its snapshot */
	if (SPI_execute("DELETE FROM ONLY gamestate.saved_games", false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not empty gamestate.saved_games");
}

#define INSERT_NARGS 9

static SPIPlanPtr
prepare_insert(void)
{
	Oid types[INSERT_NARGS] = {UUIDOID, TEXTOID, TEXTOID, INT8OID, TEXTOID,
							   XIDOID,	TEXTOID, INT8OID, BYTEAOID};
	SPIPlanPtr plan = SPI_prepare(
		"INSERT INTO gamestate.saved_games (game_id, game_type, status, version, durability,"
		" saved_at, saved_by, database_encoding, format, checksum, image)"
		" VALUES ($1, $2, $3, $4, $5, pg_catalog.now(), $6, $7, 1, $8, $9)",
		INSERT_NARGS, types);

	StaticAssertStmt(GS_SAVED_FORMAT_1 == 1, "the statement names the format");
	if (plan == NULL)
		elog(ERROR, "could not prepare the insertion into gamestate.saved_games");
	return plan;
}

static void
insert_rows(const SavedGames *saved)
{
	SPIPlanPtr plan = prepare_insert();
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate save row",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	TransactionId xid = GetCurrentTransactionId();

	for (int i = 0; i < saved->n; i++)
	{
		SavedGame *game = &saved->games[i];
		uint32 checksum = gs_saved_checksum(&game->id, VARDATA(game->image),
											VARSIZE(game->image) - VARHDRSZ);
		Datum values[INSERT_NARGS];

		values[0] = UUIDPGetDatum(&game->id);
		values[1] = PointerGetDatum(game->game_type);
		values[2] = CStringGetTextDatum(gs_status_name(game->status));
		values[3] = Int64GetDatum(game->version);
		values[4] = CStringGetTextDatum(
			game->durability == GS_DURABILITY_MEMORY ? "memory" : "journal");
		values[5] = TransactionIdGetDatum(xid);
		values[6] = CStringGetTextDatum(GetDatabaseEncodingName());
		values[7] = Int64GetDatum((int64) checksum);
		values[8] = PointerGetDatum(game->image);
		CHECK_FOR_INTERRUPTS();
		if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_INSERT ||
			SPI_processed != 1)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("table gamestate.saved_games did not take a game"),
					 errhint("Look for a trigger or a rule on the table that drops rows.")));
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

Datum
gs_save_live_games(PG_FUNCTION_ARGS)
{
	GsOwnerAccess access;
	SavedGames saved;

	gs_attach();
	PreventCommandIfReadOnly("save_live_games()");
	PreventCommandIfParallelMode("save_live_games()");
	(void) gs_ready();
	gs_saved_require_no_changes("save_live_games()");

	gs_saved_begin(&access);
	check_nothing_to_load();
	delete_rows();
	copy_games(&saved);
	insert_rows(&saved);
	gs_owner_end(&access);
	gs_durable_wait();
	PG_RETURN_INT64(saved.n);
}
