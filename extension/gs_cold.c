/*-------------------------------------------------------------------------
 *
 * gs_cold.c
 *	  Frozen payloads: between the rows of a table and those of a file.
 *
 * The model:
 *	1. A row's columns are written as the send functions of their types make them, as
 *	   in COPY BINARY: that is the same in each version of PostgreSQL, and the
 *	   same bytes come back.  So are generated columns, which nobody computes for a
 *	   foreign table.
 *	2. The file has the columns' names and types.  A table finds its columns by
 *	   name; one that the file does not have, since it was added later, is NULL.  One
 *	   of another type is an error.
 *	3. A look-up by id opens the file, reads the directory, and one block.
 *	4. What is wrong with a file is an error for whoever reads it, and a line of the
 *	   report of gamestate.verify_archive().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"

#include "access/htup_details.h"
#include "commands/defrem.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* How a column of the file becomes one of the table, or the other way. */
typedef struct ColdColumn
{
	int attribute; /* of the table, from 0; -1 = it has none */
	FmgrInfo function;
	Oid io_param;
	int32 typmod;
} ColdColumn;

struct GsColdRows
{
	int ncolumns;
	int natts;
	ColdColumn *columns;
	int game_id; /* attributes */
	int ended_at;
};

static GsColdDamage collect = NULL;
static void *collect_arg = NULL;

/* ----------------------------------------------------------------
 *		Which tables, which files
 * ----------------------------------------------------------------
 */

bool
gs_cold_is_frozen(Oid relid)
{
	return GetForeignServerIdByRelId(relid) ==
		   get_foreign_server_oid(GS_COLD_SERVER, true);
}

char *
gs_cold_file_of(Oid relid)
{
	ForeignTable *table = GetForeignTable(relid);
	ListCell *cell;

	foreach (cell, table->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "file") == 0)
			return defGetString(option);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("foreign table \"%s\" has no option \"file\"", get_rel_name(relid))));
	return NULL; /* keep compiler quiet */
}

void
gs_cold_collect_damage(GsColdDamage report, void *arg)
{
	collect = report;
	collect_arg = arg;
}

void
gs_cold_damaged(Oid relid, const char *name, const char *what)
{
	if (collect != NULL)
	{
		collect(collect_arg, relid,
				psprintf("cold file \"%s\" is damaged or missing: %s", name, what));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("cold file \"%s\" of partition \"%s\" is damaged or missing", name,
					get_rel_name(relid)),
			 errdetail("What is wrong: %s.", what),
			 errhint("Bring the file back into gamestate.cold_directory from a backup, or drop the partition.")));
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

static GsColdRows *
make_rows(TupleDesc desc, int ncolumns)
{
	GsColdRows *rows = palloc0(sizeof(GsColdRows));

	rows->natts = desc->natts;
	rows->columns = palloc0(sizeof(ColdColumn) * Max(ncolumns, 1));
	rows->game_id = rows->ended_at = -1;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (strcmp(NameStr(att->attname), "game_id") == 0 && att->atttypid == UUIDOID)
			rows->game_id = i;
		if (strcmp(NameStr(att->attname), "ended_at") == 0 &&
			att->atttypid == TIMESTAMPTZOID)
			rows->ended_at = i;
	}
	if (rows->game_id < 0 || rows->ended_at < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the table has no columns game_id and ended_at as gamestate.archive_payload has them")));
	return rows;
}

GsColdRows *
gs_cold_rows_to_write(TupleDesc desc, GsColdColumn **columns, int *ncolumns)
{
	GsColdRows *rows = make_rows(desc, desc->natts);

	*columns = palloc0(sizeof(GsColdColumn) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		ColdColumn *column = &rows->columns[rows->ncolumns];
		GsColdColumn *named = &(*columns)[rows->ncolumns];
		Oid function;
		bool varlena;
		char *type;

		if (att->attisdropped)
			continue;
		getTypeBinaryOutputInfo(att->atttypid, &function, &varlena);
		fmgr_info(function, &column->function);
		column->attribute = i;
		type = format_type_extended(att->atttypid, -1, FORMAT_TYPE_FORCE_QUALIFY);
		named->name = pstrdup(NameStr(att->attname));
		named->name_len = strlen(named->name);
		named->type = type;
		named->type_len = strlen(type);
		rows->ncolumns++;
	}
	*ncolumns = rows->ncolumns;
	return rows;
}

static void
append_count(StringInfo buffer, uint64 n)
{
	char *p;

	enlargeStringInfo(buffer, 10);
	p = gs_cold_put_count(buffer->data + buffer->len, n);
	buffer->len = (int) (p - buffer->data);
}

void
gs_cold_encode(GsColdRows *rows, const Datum *values, const bool *nulls, GsColdRow *row,
			   StringInfo buffer)
{
	resetStringInfo(buffer);
	for (int i = 0; i < rows->ncolumns; i++)
	{
		ColdColumn *column = &rows->columns[i];
		bytea *bytes;

		if (nulls[column->attribute])
		{
			append_count(buffer, 0);
			continue;
		}
		bytes = SendFunctionCall(&column->function, values[column->attribute]);
		append_count(buffer, (uint64) VARSIZE(bytes) - VARHDRSZ + 1);
		appendBinaryStringInfo(buffer, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
	}
	row->game_id = DatumGetUUIDP(values[rows->game_id])->data;
	row->ended_at = DatumGetTimestampTz(values[rows->ended_at]);
	row->columns = buffer->data;
	row->columns_len = buffer->len;
}

GsColdRows *
gs_cold_rows_to_read(TupleDesc desc, const GsColdFile *file)
{
	GsColdRows *rows = make_rows(desc, file->ncolumns);

	rows->ncolumns = file->ncolumns;
	for (int c = 0; c < file->ncolumns; c++)
	{
		const GsColdColumn *named = &file->columns[c];
		ColdColumn *column = &rows->columns[c];

		column->attribute = -1;
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);
			Oid function;
			char *type;

			if (att->attisdropped || strlen(NameStr(att->attname)) != named->name_len ||
				memcmp(NameStr(att->attname), named->name, named->name_len) != 0)
				continue;
			type = format_type_extended(att->atttypid, -1, FORMAT_TYPE_FORCE_QUALIFY);
			if (strlen(type) != named->type_len ||
				memcmp(type, named->type, named->type_len) != 0)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
						 errmsg("column \"%s\" is of type %s, in file \"%s\" it is of type %.*s",
								NameStr(att->attname), type, file->name,
								(int) named->type_len, named->type)));
			getTypeBinaryInputInfo(att->atttypid, &function, &column->io_param);
			fmgr_info(function, &column->function);
			column->typmod = att->atttypmod;
			column->attribute = i;
		}
	}
	return rows;
}

const char *
gs_cold_decode(GsColdRows *rows, const GsColdRow *row, Datum *values, bool *nulls)
{
	const char *p = row->columns;
	const char *end = p + row->columns_len;

	memset(values, 0, sizeof(Datum) * rows->natts);
	memset(nulls, true, sizeof(bool) * rows->natts);
	for (int i = 0; i < rows->ncolumns; i++)
	{
		ColdColumn *column = &rows->columns[i];
		const char *data;
		uint32 len;
		const char *error = gs_cold_get_value(&p, end, &data, &len);
		StringInfoData bytes;

		if (error != NULL)
			return error;
		if (data == NULL || column->attribute < 0)
			continue;
		if (len >= MaxAllocSize)
			return "a value is too large";
		/* receive functions want a byte of zero behind it */
		bytes.data = palloc(len + 1);
		memcpy(bytes.data, data, len);
		bytes.data[len] = '\0';
		bytes.len = bytes.maxlen = (int) len;
		bytes.cursor = 0;
		values[column->attribute] = ReceiveFunctionCall(&column->function, &bytes,
														column->io_param, column->typmod);
		nulls[column->attribute] = false;
		if (bytes.cursor != bytes.len)
			return "a value is longer than its type";
	}
	if (p != end)
		return "a row is longer than its columns";
	if (nulls[rows->game_id] || nulls[rows->ended_at] ||
		memcmp(DatumGetUUIDP(values[rows->game_id])->data, row->game_id, UUID_LEN) != 0 ||
		DatumGetTimestampTz(values[rows->ended_at]) != row->ended_at)
		return "a row is not that of its game";
	return NULL;
}

/* ----------------------------------------------------------------
 *		A look-up
 * ----------------------------------------------------------------
 */

static HeapTuple
form_tuple(GsColdRows *rows, Relation rel, const GsColdRow *row, int block, int number,
		   const char **error)
{
	TupleDesc desc = RelationGetDescr(rel);
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	HeapTuple tuple;

	*error = gs_cold_decode(rows, row, values, nulls);
	if (*error != NULL)
		return NULL;
	tuple = heap_form_tuple(desc, values, nulls);
	ItemPointerSet(&tuple->t_self, block, (OffsetNumber) (number % MaxOffsetNumber + 1));
	HeapTupleHeaderSetXmin(tuple->t_data, FrozenTransactionId);
	tuple->t_tableOid = RelationGetRelid(rel);
	return tuple;
}

/* NULL or what is wrong; *tuple stays NULL if the game is not there. */
static const char *
find_row(Relation rel, const GsColdFile *file, const pg_uuid_t *id, HeapTuple *tuple)
{
	int block = gs_cold_find_block(file, id);

	for (; block >= 0 && block < file->nblocks &&
		   memcmp(file->blocks[block].first, id->data, UUID_LEN) <= 0;
		 block++)
	{
		char *bytes;
		const char *p;
		const char *end;
		const char *error = gs_cold_read_block(file, block, &bytes);
		GsColdRow row;

		if (error != NULL)
			return error;
		p = bytes;
		end = p + file->blocks[block].raw_len;
		for (int i = 0; p < end; i++)
		{
			error = gs_cold_get_row(&p, end, &row);
			if (error != NULL)
				return error;
			if (memcmp(row.game_id, id->data, UUID_LEN) != 0)
				continue;
			*tuple = form_tuple(gs_cold_rows_to_read(RelationGetDescr(rel), file), rel,
								&row, block, i, &error);
			return error;
		}
	}
	return NULL;
}

HeapTuple
gs_cold_find(Relation rel, const pg_uuid_t *id)
{
	char *name = gs_cold_file_of(RelationGetRelid(rel));
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate cold look-up",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HeapTuple found = NULL;
	GsColdFile file;
	const char *error = gs_cold_open(name, &file);

	if (error == NULL)
	{
		error = find_row(rel, &file, id, &found);
		gs_cold_close(&file);
	}
	if (error != NULL)
	{
		gs_cold_damaged(RelationGetRelid(rel), name, error);
		found = NULL;
	}
	MemoryContextSwitchTo(old);
	if (found)
		found = heap_copytuple(found);
	MemoryContextDelete(context);
	return found;
}
