/*-------------------------------------------------------------------------
 *
 * gs_anonymise_frozen.c
 *	  Replacing a player's id in frozen partitions.
 *
 * The model:
 *	1. A file never changes once it has its name.  So a frozen partition whose payloads
 *	   have the id gets a new file, in one transaction: its rows are read through the
 *	   foreign table and written as freezing writes them (gs_cold.c), then the foreign
 *	   table and gamestate.cold_file name the new file.
 *	2. Most partitions do not have the player.  So rows are read until one
 *	   changes; if none does, that was all.
 *	3. A partition with a file that is damaged or missing is left as it is, and the report
 *	   says so: a new file would be without the rows that cannot be read.
 *	4. The old file is one that nothing refers to any more, as is the new one if
 *	   the transaction fails: the maintenance worker removes it (gs_freeze.c).  In
 *	   a copy of a database the old file is the original's, and stays.
 *
 * Locking: freezing and thawing of the partition are kept out from the beginning, its
 * readers only while the file is exchanged, since they open it after they have
 * learned its name.  For that moment we wait without queueing up: nobody waits behind us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_cold.h"
#include "gs_config.h"
#include "gs_freeze.h"
#include "gs_leaves.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define FETCH	100
#define POLL_MS 20

/* Where a row has what, as attributes from 0; the last one is no column of the table. */
typedef struct Places
{
	int game_type;
	int format;
	int dictionary;
	int raw_size;
	int checksum;
	int payload;
	int encoding;
} Places;

/* The new file. */
typedef struct NewFile
{
	char *name;
	GsColdRows *rows;
	GsColdWriter *writer;
	StringInfoData buffer;
} NewFile;

/* What is wrong with the partition's file: the first that was found. */
typedef struct Damage
{
	MemoryContext mcxt;
	const char *what;
} Damage;

static void
note_damage(void *arg, Oid relid, const char *what)
{
	Damage *damage = arg;

	if (damage->what == NULL)
		damage->what = MemoryContextStrdup(damage->mcxt, what);
}

static int
place_of(TupleDesc desc, const char *column)
{
	int n = SPI_fnumber(desc, column);

	if (n <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("a frozen partition has no column \"%s\"", column)));
	return n - 1;
}

static void
find_places(TupleDesc desc, Places *places)
{
	places->game_type = place_of(desc, "game_type");
	places->format = place_of(desc, "format");
	places->dictionary = place_of(desc, "dictionary");
	places->raw_size = place_of(desc, "raw_size");
	places->checksum = place_of(desc, "checksum");
	places->payload = place_of(desc, "payload");
	places->encoding = desc->natts - 1;
}

/* The table's own columns. */
static TupleDesc
without_encoding(TupleDesc desc)
{
	TupleDesc result = CreateTemplateTupleDesc(desc->natts - 1);

	for (int i = 1; i < desc->natts; i++)
		TupleDescCopyEntry(result, i, desc, i);
	return result;
}

static GsText
text_at(const Datum *values, const bool *nulls, int place)
{
	text *t = nulls[place] ? NULL : DatumGetTextPP(values[place]);

	return t ? (GsText){VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)} : (GsText){NULL, 0};
}

/* In a row's columns; true if anything was changed. */
static bool
replace_in_values(GsAnonymise *a, const Places *places, Datum *values, bool *nulls)
{
	GsText game_type = text_at(values, nulls, places->game_type);
	GsText encoding = text_at(values, nulls, places->encoding);
	GsPacked packed;
	bytea *bytes;

	if (nulls[places->payload] || nulls[places->format] || nulls[places->raw_size] ||
		nulls[places->checksum])
	{
		a->counts.damaged++;
		return false;
	}
	packed.format = DatumGetInt16(values[places->format]);
	packed.dictionary =
		nulls[places->dictionary] ? 0 : DatumGetInt32(values[places->dictionary]);
	packed.raw_size = DatumGetInt32(values[places->raw_size]);
	packed.checksum = DatumGetInt64(values[places->checksum]);
	bytes = DatumGetByteaPP(values[places->payload]);
	if (!gs_anonymise_packed(a, &game_type, &encoding, &packed, &bytes))
		return false;
	values[places->format] = Int16GetDatum(packed.format);
	values[places->dictionary] = Int32GetDatum(packed.dictionary);
	nulls[places->dictionary] = packed.dictionary == 0;
	values[places->raw_size] = Int32GetDatum(packed.raw_size);
	values[places->checksum] = Int64GetDatum(packed.checksum);
	values[places->payload] = PointerGetDatum(bytes);
	return true;
}

static void
begin_file(NewFile *file, TupleDesc desc)
{
	GsColdColumn *columns;
	int n;

	file->rows = gs_cold_rows_to_write(without_encoding(desc), &columns, &n);
	file->writer = gs_cold_create(file->name, columns, n);
	initStringInfo(&file->buffer);
}

static bool
take_row(GsAnonymise *a, HeapTuple tuple, TupleDesc desc, const Places *places,
		 NewFile *file)
{
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	bool changed;

	heap_deform_tuple(tuple, desc, values, nulls);
	changed = replace_in_values(a, places, values, nulls);
	if (file != NULL)
	{
		GsColdRow row;

		gs_cold_encode(file->rows, values, nulls, &row, &file->buffer);
		gs_cold_write_row(file->writer, &row);
	}
	return changed;
}

/*
 * All rows, to the file; or, if that is NULL, until one changes.  Is there one
 * that does?
 */
static bool
read_rows(GsAnonymise *a, const char *table, NewFile *file)
{
	/* payloads do not say what they are: the game's other row does */
	char *query =
		psprintf("SELECT t.*, (SELECT a.encoding FROM gamestate.archive a WHERE "
				 "a.game_type = t.game_type AND a.ended_at = t.ended_at "
				 "AND a.game_id = t.game_id LIMIT 1) FROM ONLY %s t ORDER BY t.game_id",
				 table);
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate anonymise row",
							  ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr plan = SPI_prepare(query, 0, NULL);
	Portal portal;
	Places places = {0};
	bool changed = false;

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", query);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	do
	{
		TupleDesc desc;

		SPI_cursor_fetch(portal, true, FETCH);
		desc = SPI_tuptable->tupdesc;
		find_places(desc, &places);
		if (file != NULL && file->writer == NULL)
			begin_file(file, desc);
		for (uint64 i = 0; i < SPI_processed && (file != NULL || !changed); i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);

			CHECK_FOR_INTERRUPTS();
			changed |= take_row(a, SPI_tuptable->vals[i], desc, &places, file);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0 && (file != NULL || !changed));
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
	return changed;
}

/* Until there is a moment in which nobody reads the partition. */
static void
lock_alone(Oid relid)
{
	for (int64 ms = 0; !ConditionalLockRelationOid(relid, AccessExclusiveLock);
		 ms += POLL_MS)
	{
		if (LockTimeout > 0 && ms >= LockTimeout)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not obtain lock on relation \"%s\"",
							get_rel_name(relid))));
		CHECK_FOR_INTERRUPTS();
		pg_usleep(POLL_MS * 1000);
	}
}

static void
write_file(GsAnonymise *a, Oid relid, const char *table, const Damage *damage)
{
	NewFile file = {.name = gs_freeze_new_file(relid)};
	uint32 checksum;
	uint64 rows;
	uint64 bytes;

	(void) read_rows(a, table, &file);
	bytes = gs_cold_finish(file.writer, &checksum, &rows);
	if (damage->what != NULL)
		return; /* the file is one that nothing refers to */
	lock_alone(relid);
	gs_freeze_set_file(relid, file.name, bytes, rows, checksum);
}

static void
replace_in_partition(GsAnonymise *a, Oid relid, const Damage *damage)
{
	const char *table = gs_leaf_name(relid);
	GsAnonymiseCounts before = a->counts;

	if (read_rows(a, table, NULL) && damage->what == NULL)
	{
		a->counts = before;
		write_file(a, relid, table, damage);
	}
	if (damage->what != NULL)
		a->counts = before;
}

static bool
is_frozen(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE && gs_cold_is_frozen(relid);
}

const char *
gs_anonymise_frozen(GsAnonymise *a, Oid relid)
{
	Damage damage = {.mcxt = CurrentMemoryContext};

	if (gs_cold_directory == NULL || gs_cold_directory[0] == '\0')
		return "gamestate.cold_directory is not set";
	/* whoever makes a file holds this, see gs_freeze.c */
	if (SPI_execute("LOCK TABLE gamestate.cold_file IN ROW EXCLUSIVE MODE", false, 0) !=
		SPI_OK_UTILITY)
		elog(ERROR, "could not lock gamestate.cold_file");
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	if (!is_frozen(relid))
		return NULL; /* thawed or dropped; the table that it has become comes later */
	gs_cold_collect_damage(note_damage, &damage);
	PG_TRY();
	{
		replace_in_partition(a, relid, &damage);
	}
	PG_FINALLY();
	{
		gs_cold_collect_damage(NULL, NULL);
	}
	PG_END_TRY();
	return damage.what;
}

bool
gs_anonymise_frozen_needs(const char *table, int32 dictionary)
{
	Damage damage = {.mcxt = CurrentMemoryContext};
	char *query =
		psprintf("SELECT FROM %s WHERE dictionary = %d LIMIT 1", table, dictionary);
	bool found = false;

	if (gs_cold_directory == NULL || gs_cold_directory[0] == '\0')
		return true;
	gs_cold_collect_damage(note_damage, &damage);
	PG_TRY();
	{
		if (SPI_execute(query, true, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not run: %s", query);
		found = SPI_processed > 0;
	}
	PG_FINALLY();
	{
		gs_cold_collect_damage(NULL, NULL);
	}
	PG_END_TRY();
	return found || damage.what != NULL;
}
