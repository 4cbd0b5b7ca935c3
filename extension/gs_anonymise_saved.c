/*-------------------------------------------------------------------------
 *
 * gs_anonymise_saved.c
 *	  Replacing a player's id in gamestate.saved_games.
 *
 * The model:
 *	1. A row has one image of a game (gs_save.h).  It is decoded, replaced in and encoded
 *	   again, at the same version: what pg_dump carries is the game as it was saved,
 *	   but for the name.
 *	2. Rows that were saved here are told from rows that came by a restore by the
 *	   transaction that has inserted them (gs_save.c).  A row that is written anew stays
 *	   what it was.
 *	3. A row that cannot be read is counted and left alone: loading it is an error as
 *	   well.
 *
 * Locking: as saving and loading do, so that none of them is under way.  A
 * save that comes later copies live games, and these have been done by then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_record.h"
#include "gs_replay.h"
#include "gs_save.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

/* Rows read at a time. */
#define CHUNK 100

enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_ENCODING,
	COLUMN_FORMAT,
	COLUMN_CHECKSUM,
	COLUMN_IMAGE
};

static const char select_rows[] =
	"SELECT game_id, database_encoding, format, checksum, image "
	"FROM ONLY gamestate.saved_games WHERE $1 IS NULL OR game_id > $1 "
	"ORDER BY game_id LIMIT 100";
StaticAssertDecl(CHUNK == 100, "the statement names the number of rows");

/* (a restored row's saved_by is another server's, and must not become its xmin) */
static const char update_row[] =
	"UPDATE ONLY gamestate.saved_games SET image = $2, checksum = $3, "
	"saved_by = CASE WHEN xmin = saved_by THEN pg_catalog.pg_current_xact_id()::xid "
	"WHEN saved_by = pg_catalog.pg_current_xact_id()::xid THEN '0'::xid "
	"ELSE saved_by END WHERE game_id = $1";

/* ----------------------------------------------------------------
 *		An image
 * ----------------------------------------------------------------
 */

static GsBytes
bytes_of(const GsText *t)
{
	return (GsBytes){t->data, t->len};
}

static bool
replace_document(const GsAnonymise *a, GsBytes *document)
{
	GsText t = {document->data, document->len};
	bool changed = gs_anonymise_document(a, &t);

	*document = bytes_of(&t);
	return changed;
}

/* Players of the record as an array, as encoding wants them. */
static bool
replace_players(const GsAnonymise *a, GsRecord *record)
{
	GsBytes *players = palloc(sizeof(GsBytes) * Max(record->nplayers, 1));
	const char *p = record->players_raw.data;
	bool changed = false;

	for (uint32 i = 0; i < record->nplayers; i++)
	{
		GsText t;

		gs_record_next_player(&p, &players[i]);
		t = (GsText){players[i].data, players[i].len};
		changed |= gs_anonymise_id(a, &t);
		players[i] = bytes_of(&t);
	}
	record->players = players;
	return changed;
}

/* The runs of the log as an array, and all their entries as one. */
static GsEntry *
decode_log(GsRecord *record, GsRecordRun **runs, uint64 *n)
{
	const char *p = record->runs_raw.data;
	GsEntry *entries;

	*runs = palloc(sizeof(GsRecordRun) * Max(record->nruns, 1));
	record->runs = *runs;
	*n = 0;
	for (uint32 i = 0; i < record->nruns; i++)
	{
		gs_record_next_run(record, &p, &(*runs)[i]);
		*n += (*runs)[i].nentries;
	}
	entries = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(GsEntry) * Max(*n, 1));
	*n = 0;
	for (uint32 i = 0; i < record->nruns; i++)
	{
		const GsRecordRun *run = &(*runs)[i];
		const char *q = run->entries.data;

		for (uint32 j = 0; j < run->nentries; j++)
			if (gs_entry_decode(&q, run->entries.data + run->entries.len, run->base,
								&entries[(*n)++]) != NULL)
				elog(ERROR, "entry that has been checked does not decode");
	}
	return entries;
}

static void
encode_log(uint32 nruns, GsRecordRun *runs, const GsEntry *e)
{
	for (uint32 i = 0; i < nruns; i++)
	{
		GsRecordRun *run = &runs[i];
		Size size = 0;
		char *p;

		for (uint32 j = 0; j < run->nentries; j++)
			size += gs_entry_size(&e[j], run->base);
		p = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));
		run->entries = (GsBytes){p, size};
		for (uint32 j = 0; j < run->nentries; j++)
			p = gs_entry_encode(e++, run->base, p);
	}
}

/* NULL or what is wrong */
static const char *
replace_in_record(const GsAnonymise *a, GsRecord *record, bool *changed)
{
	GsText initial = {record->initial.data, record->initial.len};
	GsText state = {record->state.data, record->state.len};
	const char *wrong;
	GsRecordRun *runs;
	uint64 n;
	GsEntry *entries = decode_log(record, &runs, &n);

	*changed = gs_anonymise_history(a, record->encoding == GS_ENCODING_JSON, &initial,
									&state, entries, n, &wrong);
	if (wrong)
		return wrong;
	*changed |= replace_players(a, record);
	*changed |= replace_document(a, &record->metadata);
	*changed |= replace_document(a, &record->result);
	if (!*changed)
		return NULL;
	record->initial = bytes_of(&initial);
	record->state = bytes_of(&state);
	encode_log(record->nruns, runs, entries);
	return NULL;
}

/* ----------------------------------------------------------------
 *		A row
 * ----------------------------------------------------------------
 */

static void
write_row(const pg_uuid_t *id, const GsRecord *record)
{
	Oid types[] = {UUIDOID, BYTEAOID, INT8OID};
	Datum values[3];
	Size size = gs_record_size(record);
	bytea *image;

	if (size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a saved game becomes too large with another player id")));
	image = palloc(VARHDRSZ + size);
	SET_VARSIZE(image, VARHDRSZ + size);
	(void) gs_record_encode(record, VARDATA(image));
	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(image);
	values[2] = Int64GetDatum((int64) gs_saved_checksum(id, VARDATA(image), size));
	if (SPI_execute_with_args(update_row, 3, types, values, NULL, false, 0) !=
		SPI_OK_UPDATE)
		elog(ERROR, "could not run: %s", update_row);
}

static bool
read_image(HeapTuple tuple, TupleDesc desc, const pg_uuid_t *id, GsRecord *record)
{
	Datum values[COLUMN_IMAGE + 1];
	const char *p;
	const char *end;
	bytea *image;

	for (int i = COLUMN_ENCODING; i <= COLUMN_IMAGE; i++)
	{
		bool null;

		values[i] = SPI_getbinval(tuple, desc, i, &null);
		if (null)
			return false;
	}
	if (DatumGetInt16(values[COLUMN_FORMAT]) != GS_SAVED_FORMAT_1 ||
		strcmp(TextDatumGetCString(values[COLUMN_ENCODING]), GetDatabaseEncodingName()) !=
			0)
		return false;
	image = DatumGetByteaPP(values[COLUMN_IMAGE]);
	p = VARDATA_ANY(image);
	end = p + VARSIZE_ANY_EXHDR(image);
	return (int64) gs_saved_checksum(id, p, end - p) ==
			   DatumGetInt64(values[COLUMN_CHECKSUM]) &&
		   gs_replay_record(&p, end, record) == NULL && p == end &&
		   record->kind == GS_RECORD_IMAGE;
}

static void
replace_in_saved(GsAnonymise *a, HeapTuple tuple, TupleDesc desc, const pg_uuid_t *id)
{
	GsRecord record;
	bool changed;

	if (!read_image(tuple, desc, id, &record) ||
		replace_in_record(a, &record, &changed) != NULL)
		a->counts.damaged++;
	else if (changed)
	{
		write_row(id, &record);
		a->counts.saved++;
	}
}

bool
gs_anonymise_saved(GsAnonymise *a, bool *has_position, pg_uuid_t *position)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(old, "gamestate anonymise row", ALLOCSET_DEFAULT_SIZES);
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(position)};
	char nulls[] = {*has_position ? ' ' : 'n'};
	SPITupleTable *rows;
	uint64 n;

	if (SPI_execute_with_args(select_rows, 1, types, values, nulls, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", select_rows);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool null;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		*position = *DatumGetUUIDP(
			SPI_getbinval(rows->vals[i], rows->tupdesc, COLUMN_GAME_ID, &null));
		replace_in_saved(a, rows->vals[i], rows->tupdesc, position);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		*has_position = true;
	}
	MemoryContextDelete(scratch);
	SPI_freetuptable(rows);
	return n == CHUNK;
}
