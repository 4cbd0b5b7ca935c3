/*-------------------------------------------------------------------------
 *
 * gs_anonymise_dictionary.c
 *	  Compression dictionaries that have a player's id in them.
 *
 * The model:
 *	1. A dictionary is made of pieces of games, so an id may stand in it.  Such
 *	   a one is not trained anew: its successor is the same with the id
 *	   overwritten, of the same length, so that it helps as much.  Its head
 *	   (tables of frequencies) is left alone.  A type whose newest dictionary
 *	   is clean has that as the successor.
 *	2. Being the newest of its type, the successor is what games are archived
 *	   with from then on.  What was packed with the old one is packed again
 *	   (gs_anonymise_rows.c).
 *	3. An old dictionary is removed when no table refers to it.
 *
 * An id of less than four bytes is only looked for as a JSON string: as plain
 * bytes it would be found everywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_cold.h"
#include "gs_dictionary.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include <zdict.h>

#define SHORT_ID 4

/* As it is looked for. */
static GsText
pattern_of(const GsAnonymise *a)
{
	char *quoted;

	if (a->player.len >= SHORT_ID)
		return a->player;
	quoted = psprintf("\"%.*s\"", (int) a->player.len, a->player.data);
	return (GsText){quoted, strlen(quoted)};
}

static Datum
bytea_of(const char *data, Size len)
{
	bytea *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	return PointerGetDatum(bytes);
}

/* Of the types of those that have the id: whether each has it. */
static const char find_all[] =
	"SELECT d.number, d.game_type, position($1 IN d.content) > 0 AS dirty, d.content "
	"FROM gamestate.dictionary d WHERE d.content IS NOT NULL AND d.game_type IN "
	"(SELECT game_type FROM gamestate.dictionary WHERE position($1 IN content) > 0) "
	"ORDER BY d.game_type, d.number DESC";

static const char insert_clean[] =
	"INSERT INTO gamestate.dictionary (game_type, samples, sample_bytes, ratio_without, "
	"ratio_with, checksum, content) SELECT game_type, samples, sample_bytes, "
	"ratio_without, ratio_with, $2, $3 FROM gamestate.dictionary WHERE number = $1 "
	"RETURNING number";

/* The same without the pattern. */
static int32
make_clean(int32 number, bytea *content, const GsText *pattern)
{
	Size len = VARSIZE_ANY_EXHDR(content);
	char *clean = palloc(len);
	size_t head;
	Oid types[] = {INT4OID, INT8OID, BYTEAOID};
	Datum values[3];
	bool null;

	memcpy(clean, VARDATA_ANY(content), len);
	head = ZDICT_getDictHeaderSize(clean, len);
	if (ZDICT_isError(head))
		head = 0; /* no head: all of it is content */
	for (Size i = head; i + pattern->len <= len; i++)
		if (memcmp(clean + i, pattern->data, pattern->len) == 0)
			memset(clean + i, 'x', pattern->len);
	values[0] = Int32GetDatum(number);
	values[1] = Int64GetDatum((int64) gs_dictionary_checksum(clean, len));
	values[2] = bytea_of(clean, len);
	if (SPI_execute_with_args(insert_clean, 3, types, values, NULL, false, 0) !=
			SPI_OK_INSERT_RETURNING ||
		SPI_processed != 1)
		elog(ERROR, "could not insert a dictionary");
	return DatumGetInt32(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

void
gs_anonymise_dictionaries(GsAnonymise *a)
{
	GsText pattern = pattern_of(a);
	Oid types[] = {BYTEAOID};
	Datum values[] = {bytea_of(pattern.data, pattern.len)};
	SPITupleTable *rows;
	int n;
	char *last_type = NULL;
	int32 clean = 0;

	if (SPI_execute_with_args(find_all, 1, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", find_all);
	rows = SPI_tuptable;
	n = SPI_processed;
	a->dictionaries = palloc(sizeof(GsDictionaryPair) * Max(n, 1));
	a->ndictionaries = 0;
	for (int i = 0; i < n; i++)
	{
		HeapTuple tuple = rows->vals[i];
		char *type = SPI_getvalue(tuple, rows->tupdesc, 2);
		bool null;
		int32 number = DatumGetInt32(SPI_getbinval(tuple, rows->tupdesc, 1, &null));
		bool dirty = DatumGetBool(SPI_getbinval(tuple, rows->tupdesc, 3, &null));
		bool newest = last_type == NULL || strcmp(last_type, type) != 0;

		if (newest && !dirty)
			clean = number;
		else if (newest)
			clean =
				make_clean(number,
						   DatumGetByteaPP(SPI_getbinval(tuple, rows->tupdesc, 4, &null)),
						   &pattern);
		if (dirty)
			a->dictionaries[a->ndictionaries++] = (GsDictionaryPair){number, clean};
		last_type = type;
	}
}

/* ----------------------------------------------------------------
 *		Removing
 * ----------------------------------------------------------------
 */

/* All tables that may have payloads; of a foreign one that is not ours we do not ask. */
static const char find_tables[] =
	"SELECT c.oid::regclass::text, c.relkind = 'f', c.oid FROM pg_class c "
	"WHERE c.relkind IN ('r', 'f') AND EXISTS (SELECT FROM pg_attribute d, pg_attribute p "
	"WHERE d.attrelid = c.oid AND d.attname = 'dictionary' AND d.atttypid = 'integer'::regtype "
	"AND p.attrelid = c.oid AND p.attname = 'payload' AND p.atttypid = 'bytea'::regtype) "
	"AND (c.relnamespace = 'gamestate_partitions'::regnamespace "
	"OR c.relnamespace = 'gamestate'::regnamespace "
	"OR c.oid IN (SELECT relid FROM pg_partition_tree('gamestate.archive_payload') WHERE isleaf))";

static bool
is_needed(int32 number, SPITupleTable *tables, int n)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(number)};

	for (int i = 0; i < n; i++)
	{
		HeapTuple tuple = tables->vals[i];
		char *table = SPI_getvalue(tuple, tables->tupdesc, 1);
		bool null;

		if (DatumGetBool(SPI_getbinval(tuple, tables->tupdesc, 2, &null)))
		{
			Oid relid = DatumGetObjectId(SPI_getbinval(tuple, tables->tupdesc, 3, &null));

			if (!gs_cold_is_frozen(relid) || gs_anonymise_frozen_needs(table, number))
				return true;
			continue;
		}
		if (SPI_execute_with_args(psprintf("SELECT FROM %s WHERE dictionary = $1 LIMIT 1",
										   table),
								  1, types, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not read table %s", table);
		if (SPI_processed > 0)
			return true;
	}
	return false;
}

int
gs_anonymise_drop_dictionaries(const GsAnonymise *a)
{
	SPITupleTable *tables;
	int n;
	int needed = 0;

	if (a->ndictionaries == 0)
		return 0;
	if (SPI_execute(find_tables, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", find_tables);
	tables = SPI_tuptable;
	n = SPI_processed;
	(void) set_config_option("gamestate.allow_dictionary_changes", "on", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	for (int i = 0; i < a->ndictionaries; i++)
	{
		Oid types[] = {INT4OID};
		Datum values[] = {Int32GetDatum(a->dictionaries[i].number)};

		if (is_needed(a->dictionaries[i].number, tables, n))
			needed++;
		else if (SPI_execute_with_args(
					 "DELETE FROM gamestate.dictionary WHERE number = $1", 1, types,
					 values, NULL, false, 0) != SPI_OK_DELETE)
			elog(ERROR, "could not remove a dictionary");
	}
	gs_dictionary_forget();
	return needed;
}
