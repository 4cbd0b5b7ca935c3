/*-------------------------------------------------------------------------
 *
 * gs_anonymise_rows.c
 *	  Replacing a player's id in tables of games that are over or put away.
 *
 * The model:
 *	1. Partitions of the archive and of its payloads, detached ones, and the
 *	   other tables of games share names of columns; a table has some of
 *	   them (Columns).  What is done to a row follows from that.
 *	2. Rows are read by ids, some at a time, and written back only if anything
 *	   was replaced, so that a table is not written as a whole.
 *	3. A payload is unpacked, replaced in and packed again.  One that was packed
 *	   with a dictionary that has the id in it is packed again in any case, with
 *	   the one that takes that one's place.
 *
 * A payload's row is only written if it still has the checksum it was read with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_config.h"
#include "gs_policy.h"
#include "gs_unpack.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

/* Rows read at a time. */
#define CHUNK 100

/* What a table has. */
typedef struct Columns
{
	char *table; /* its name, qualified and quoted */
	bool encoding;
	bool players;
	bool metadata;
	bool result;
	bool payload; /* with format, raw_size and checksum */
	bool dictionary;
} Columns;

enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_GAME_TYPE,
	COLUMN_ENCODING,
	COLUMN_PLAYERS,
	COLUMN_METADATA,
	COLUMN_RESULT,
	COLUMN_FORMAT,
	COLUMN_DICTIONARY,
	COLUMN_RAW_SIZE,
	COLUMN_CHECKSUM,
	COLUMN_PAYLOAD
};

static bool
has_column(Oid relid, const char *name)
{
	return get_attnum(relid, name) != InvalidAttrNumber;
}

static void
find_columns(Oid relid, Columns *columns)
{
	columns->table =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
								   get_rel_name(relid));
	columns->encoding = has_column(relid, "encoding");
	columns->players = has_column(relid, "players");
	columns->metadata = has_column(relid, "metadata");
	columns->result = has_column(relid, "result");
	columns->payload = has_column(relid, "payload");
	columns->dictionary = has_column(relid, "dictionary");
}

/* Payloads do not say what they are: the game's other row does. */
static const char *
select_rows(const Columns *columns)
{
	return psprintf(
		"SELECT t.game_id, t.game_type, %s, %s, %s, %s, %s FROM %s t "
		"WHERE $1 IS NULL OR t.game_id > $1 ORDER BY t.game_id LIMIT %d",
		columns->encoding ? "t.encoding"
						  : "(SELECT a.encoding FROM gamestate.archive a WHERE "
							"a.game_type = t.game_type AND a.ended_at = t.ended_at "
							"AND a.game_id = t.game_id LIMIT 1)",
		columns->players ? "t.players" : "NULL::text[]",
		columns->metadata ? "t.metadata" : "NULL::json",
		columns->result ? "t.result" : "NULL::json",
		columns->payload
			? (columns->dictionary
				   ? "t.format, t.dictionary, t.raw_size, t.checksum, t.payload"
				   : "t.format, NULL::integer, t.raw_size, t.checksum, t.payload")
			: "NULL::smallint, NULL::integer, NULL::integer, NULL::bigint, NULL::bytea",
		columns->table, CHUNK);
}

static Datum
value_of(HeapTuple tuple, TupleDesc desc, int column, bool *null)
{
	return SPI_getbinval(tuple, desc, column, null);
}

static GsText
text_of(HeapTuple tuple, TupleDesc desc, int column)
{
	bool null;
	Datum value = value_of(tuple, desc, column, &null);
	text *t;

	if (null)
		return (GsText){NULL, 0};
	t = DatumGetTextPP(value);
	return (GsText){VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)};
}

static void
put_text(Datum *value, char *null, const GsText *t)
{
	*null = t->data ? ' ' : 'n';
	*value =
		t->data ? PointerGetDatum(cstring_to_text_with_len(t->data, t->len)) : (Datum) 0;
}

static void
run_update(const char *statement, int nargs, Oid *types, Datum *values, char *nulls)
{
	if (SPI_execute_with_args(statement, nargs, types, values, nulls, false, 0) !=
		SPI_OK_UPDATE)
		elog(ERROR, "could not run: %s", statement);
}

/* ----------------------------------------------------------------
 *		Columns of players and documents
 * ----------------------------------------------------------------
 */

static bool
replace_players(const GsAnonymise *a, Datum *array, bool null)
{
	Datum *players;
	bool *nulls;
	int n;
	bool changed = false;

	if (null)
		return false;
	deconstruct_array(DatumGetArrayTypeP(*array), TEXTOID, -1, false, TYPALIGN_INT,
					  &players, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text *t = nulls[i] ? NULL : DatumGetTextPP(players[i]);
		GsText player = {t ? VARDATA_ANY(t) : NULL, t ? VARSIZE_ANY_EXHDR(t) : 0};

		if (!gs_anonymise_id(a, &player))
			continue;
		players[i] = PointerGetDatum(cstring_to_text_with_len(player.data, player.len));
		changed = true;
	}
	if (changed)
		*array = PointerGetDatum(construct_md_array(players, nulls, 1, &n, (int[]){1},
													TEXTOID, -1, false, TYPALIGN_INT));
	return changed;
}

static void
replace_in_row(GsAnonymise *a, const Columns *columns, HeapTuple tuple, TupleDesc desc,
			   const pg_uuid_t *id)
{
	Oid types[] = {UUIDOID, TEXTARRAYOID, JSONOID, JSONOID};
	Datum values[4];
	char nulls[] = {' ', ' ', ' ', ' '};
	GsText metadata = text_of(tuple, desc, COLUMN_METADATA);
	GsText result = text_of(tuple, desc, COLUMN_RESULT);
	bool null;
	bool changed;

	values[0] = UUIDPGetDatum(id);
	values[1] = value_of(tuple, desc, COLUMN_PLAYERS, &null);
	nulls[1] = null ? 'n' : ' ';
	changed = replace_players(a, &values[1], null);
	changed |= gs_anonymise_document(a, &metadata);
	changed |= gs_anonymise_document(a, &result);
	if (!changed)
		return;
	put_text(&values[2], &nulls[2], &metadata);
	put_text(&values[3], &nulls[3], &result);
	run_update(psprintf("UPDATE %s SET players = $2%s%s WHERE game_id = $1",
						columns->table, columns->metadata ? ", metadata = $3" : "",
						columns->result ? ", result = $4" : ""),
			   4, types, values, nulls);
	a->counts.rows++;
}

/* ----------------------------------------------------------------
 *		Payloads
 * ----------------------------------------------------------------
 */

/* The dictionary to pack with; *dirty: it is not the one the row has. */
static int32
clean_dictionary(const GsAnonymise *a, int32 number, bool *dirty)
{
	*dirty = false;
	for (int i = 0; i < a->ndictionaries; i++)
		if (a->dictionaries[i].number == number && number != 0)
		{
			*dirty = true;
			return a->dictionaries[i].clean;
		}
	return number;
}

static int
level_of(const GsText *game_type)
{
	const GsPolicy *policy = gs_policy(game_type);

	if (policy->repack)
		return policy->repack_level;
	return policy->compression_level == GS_POLICY_SETTING ? gs_archive_compression_level
														  : policy->compression_level;
}

static void
write_payload(const Columns *columns, const pg_uuid_t *id, int64 old_checksum,
			  const GsPacked *packed, bytea *bytes)
{
	Oid types[] = {UUIDOID, INT8OID, INT2OID, INT4OID, INT4OID, INT8OID, BYTEAOID};
	Datum values[7];
	char nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = UUIDPGetDatum(id);
	values[1] = Int64GetDatum(old_checksum);
	values[2] = Int16GetDatum(packed->format);
	values[3] = Int32GetDatum(packed->dictionary);
	nulls[3] = packed->dictionary == 0 ? 'n' : ' ';
	values[4] = Int32GetDatum(packed->raw_size);
	values[5] = Int64GetDatum(packed->checksum);
	values[6] = PointerGetDatum(bytes);
	run_update(psprintf("UPDATE %s SET format = $3, %sraw_size = $5, checksum = $6, "
						"payload = $7 WHERE game_id = $1 AND checksum = $2",
						columns->table, columns->dictionary ? "dictionary = $4, " : ""),
			   7, types, values, nulls);
}

bool
gs_anonymise_packed(GsAnonymise *a, const GsText *game_type, const GsText *encoding,
					GsPacked *packed, bytea **bytes)
{
	bool is_json = encoding->len == 4 && memcmp(encoding->data, "json", 4) == 0;
	GsPayload payload;
	const char *wrong;
	char *raw;
	Size raw_size;
	bool dirty;
	int32 dictionary = 0;

	wrong = gs_unpack(packed, *bytes, &raw, &payload);
	if (wrong == NULL)
	{
		dictionary = clean_dictionary(a, packed->dictionary, &dirty);
		if (!gs_anonymise_payload(a, is_json, &payload, &wrong) && !dirty &&
			wrong == NULL)
		{
			a->counts.opaque += a->documents && !is_json;
			return false;
		}
	}
	if (wrong != NULL)
	{
		a->counts.damaged++;
		return false;
	}
	raw_size = gs_payload_size(&payload);
	if (raw_size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an archived game becomes too large with another player id")));
	raw = palloc(raw_size);
	gs_payload_encode(&payload, raw);
	*bytes = gs_pack(&payload, raw, raw_size, level_of(game_type), dictionary,
					 CurrentMemoryContext, packed);
	a->counts.payloads++;
	a->counts.opaque += a->documents && !is_json;
	return true;
}

static void
replace_in_payload(GsAnonymise *a, const Columns *columns, HeapTuple tuple,
				   TupleDesc desc, const pg_uuid_t *id)
{
	GsText game_type = text_of(tuple, desc, COLUMN_GAME_TYPE);
	GsText encoding = text_of(tuple, desc, COLUMN_ENCODING);
	GsPacked packed;
	int64 old_checksum;
	bytea *bytes;
	bool null;
	int32 dictionary;

	bytes = DatumGetByteaPP(value_of(tuple, desc, COLUMN_PAYLOAD, &null));
	packed.format = DatumGetInt16(value_of(tuple, desc, COLUMN_FORMAT, &null));
	packed.raw_size = DatumGetInt32(value_of(tuple, desc, COLUMN_RAW_SIZE, &null));
	old_checksum = packed.checksum =
		DatumGetInt64(value_of(tuple, desc, COLUMN_CHECKSUM, &null));
	/* a table without this column has payloads without one, and they stay so */
	dictionary = DatumGetInt32(value_of(tuple, desc, COLUMN_DICTIONARY, &null));
	packed.dictionary = null ? 0 : dictionary;
	if (gs_anonymise_packed(a, &game_type, &encoding, &packed, &bytes))
		write_payload(columns, id, old_checksum, &packed, bytes);
}

/* ----------------------------------------------------------------
 *		A table
 * ----------------------------------------------------------------
 */

static void
replace_in_tuple(GsAnonymise *a, const Columns *columns, HeapTuple tuple, TupleDesc desc,
				 pg_uuid_t *id)
{
	bool null;

	*id = *DatumGetUUIDP(value_of(tuple, desc, COLUMN_GAME_ID, &null));
	if (columns->players)
		replace_in_row(a, columns, tuple, desc, id);
	if (columns->payload)
	{
		(void) value_of(tuple, desc, COLUMN_PAYLOAD, &null);
		if (!null)
			replace_in_payload(a, columns, tuple, desc, id);
	}
}

bool
gs_anonymise_rows(GsAnonymise *a, Oid relid, bool *has_position, pg_uuid_t *position)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(old, "gamestate anonymise row", ALLOCSET_DEFAULT_SIZES);
	Columns columns;
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(position)};
	char nulls[] = {*has_position ? ' ' : 'n'};
	SPITupleTable *rows;
	uint64 n;

	find_columns(relid, &columns);
	if (SPI_execute_with_args(select_rows(&columns), 1, types, values, nulls, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read table %s", columns.table);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		replace_in_tuple(a, &columns, rows->vals[i], rows->tupdesc, position);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		*has_position = true;
	}
	MemoryContextDelete(scratch);
	SPI_freetuptable(rows);
	return n == CHUNK;
}
