/*-------------------------------------------------------------------------
 *
 * gs_dictionary.c
 *	  Compression dictionaries: rows of gamestate.dictionary, ready for use.
 *
 * The model:
 *	1. A dictionary is a row that never changes: the maintenance worker adds it
 *	   (gs_train.c), payloads refer to it by number for as long as they exist.
 *	   A trigger refuses what would take it away from them.
 *	2. Who needs one reads the row directly: no SQL is run, the caller needs no
 *	   right on the table, and it works on a hot standby and in a parallel
 *	   worker too.  The table has few rows, so it is read from its start.
 *	3. Digested dictionaries are kept in backend-local memory, the ones used
 *	   last, by direction, number and level.  A number means the same row for
 *	   ever, unless somebody forces a change or the extension is dropped
 *	   and created again: then the table's oid is another one, or the payload's
 *	   checksum does not fit, upon which the caller forgets what is kept and
 *	   tries once more (gs_unpack.c).
 *
 * Digested dictionaries are zstd's, allocated with malloc(): nothing that may
 * raise an error stands between making one and remembering it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_dictionary.h"
#include "gs_config.h"
#include "gs_sql.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* So many are kept: a few types, for either direction, some 100 kB each. */
#define KEPT 8

typedef struct Kept
{
	Oid table; /* InvalidOid = unused */
	int32 number;
	int level; /* 0 = to decompress */
	uint64 used;
	ZSTD_CDict *compress;
	ZSTD_DDict *decompress;
} Kept;

/* The columns that are read. */
typedef enum DictionaryColumn
{
	COLUMN_NUMBER = 0,
	COLUMN_GAME_TYPE,
	COLUMN_CHECKSUM,
	COLUMN_CONTENT,
	DICTIONARY_COLUMNS
} DictionaryColumn;

typedef struct Newest
{
	int32 number;
	int len;
	char game_type[GS_MAX_ID_LENGTH];
} Newest;

struct GsDictionaryList
{
	int n;
	int size;
	Newest *newest;
};

typedef bool (*RowCallback)(TupleTableSlot *slot, const AttrNumber *numbers, void *arg);

static Kept kept[KEPT];
static uint64 uses = 0;

PG_FUNCTION_INFO_V1(gs_dictionary_changes);

/* ----------
 * the table
 * ----------
 */

static Oid
dictionary_table(void)
{
	Oid nsp = get_namespace_oid("gamestate", true);

	return OidIsValid(nsp) ? get_relname_relid("dictionary", nsp) : InvalidOid;
}

static void
find_columns(Relation rel, AttrNumber *numbers)
{
	static const struct
	{
		const char *name;
		Oid type;
	} columns[DICTIONARY_COLUMNS] = {{"number", INT4OID},
									 {"game_type", TEXTOID},
									 {"checksum", INT8OID},
									 {"content", BYTEAOID}};

	for (int i = 0; i < DICTIONARY_COLUMNS; i++)
		numbers[i] = gs_sql_column(rel, columns[i].name, columns[i].type);
}

/* Each row that is committed, until the callback returns true. */
static void
read_rows(Oid relid, RowCallback callback, void *arg)
{
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	AttrNumber numbers[DICTIONARY_COLUMNS];
	Snapshot snapshot;
	TupleTableSlot *slot;
	TableScanDesc scan;

	if (rel == NULL)
		return;
	find_columns(rel, numbers);
	/* see newest_snapshot() in gs_archive.c */
	snapshot = RegisterSnapshot(GetCatalogSnapshot(relid));
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (callback(slot, numbers, arg))
			break;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

uint32
gs_dictionary_checksum(const char *content, Size len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, content, len);
	FIN_CRC32C(crc);
	return crc;
}

/* ----------
 * the newest of each type
 * ----------
 */

static bool
take_newest(TupleTableSlot *slot, const AttrNumber *numbers, void *arg)
{
	GsDictionaryList *list = arg;
	bool null;
	int32 number = DatumGetInt32(slot_getattr(slot, numbers[COLUMN_NUMBER], &null));
	text *type;
	Newest *newest = NULL;
	int len;

	/* training that did not help leaves no content */
	if (null || slot_attisnull(slot, numbers[COLUMN_CONTENT]) ||
		slot_attisnull(slot, numbers[COLUMN_GAME_TYPE]))
		return false;
	type = DatumGetTextPP(slot_getattr(slot, numbers[COLUMN_GAME_TYPE], &null));
	len = (int) VARSIZE_ANY_EXHDR(type);
	if (len > GS_MAX_ID_LENGTH)
		return false;
	for (int i = 0; i < list->n && newest == NULL; i++)
	{
		if (list->newest[i].len == len &&
			memcmp(list->newest[i].game_type, VARDATA_ANY(type), len) == 0)
			newest = &list->newest[i];
	}
	if (newest == NULL)
	{
		if (list->n == list->size)
		{
			list->size *= 2;
			list->newest = repalloc(list->newest, list->size * sizeof(Newest));
		}
		newest = &list->newest[list->n++];
		newest->number = number;
		newest->len = len;
		memcpy(newest->game_type, VARDATA_ANY(type), len);
	}
	newest->number = Max(newest->number, number);
	return false;
}

GsDictionaryList *
gs_dictionary_list(void)
{
	GsDictionaryList *list = palloc0(sizeof(GsDictionaryList));

	list->size = 8;
	list->newest = palloc(list->size * sizeof(Newest));
	read_rows(dictionary_table(), take_newest, list);
	return list;
}

int32
gs_dictionary_newest(const GsDictionaryList *list, const char *game_type, Size len)
{
	for (int i = 0; i < list->n; i++)
	{
		if ((Size) list->newest[i].len == len &&
			memcmp(list->newest[i].game_type, game_type, len) == 0)
			return list->newest[i].number;
	}
	return 0;
}

/* ----------
 * one of them
 * ----------
 */

typedef struct Wanted
{
	int32 number;
	bytea *content;
	const char *error;
} Wanted;

static bool
take_content(TupleTableSlot *slot, const AttrNumber *numbers, void *arg)
{
	Wanted *wanted = arg;
	bool null;
	Datum value = slot_getattr(slot, numbers[COLUMN_NUMBER], &null);
	int64 checksum;

	if (null || DatumGetInt32(value) != wanted->number)
		return false;
	value = slot_getattr(slot, numbers[COLUMN_CONTENT], &null);
	if (null)
		return true;
	wanted->content = DatumGetByteaPCopy(value);
	checksum = DatumGetInt64(slot_getattr(slot, numbers[COLUMN_CHECKSUM], &null));
	if (null ||
		checksum != (int64) gs_dictionary_checksum(VARDATA_ANY(wanted->content),
												   VARSIZE_ANY_EXHDR(wanted->content)))
		wanted->error = "its compression dictionary is damaged";
	return true;
}

static void
drop_kept(Kept *k)
{
	ZSTD_freeCDict(k->compress);
	ZSTD_freeDDict(k->decompress);
	memset(k, 0, sizeof(*k));
}

void
gs_dictionary_forget(void)
{
	for (int i = 0; i < KEPT; i++)
		drop_kept(&kept[i]);
}

/* The kept one, or a place for it, in which there may be another one. */
static Kept *
find_kept(Oid table, int32 number, int level)
{
	Kept *oldest = &kept[0];

	for (int i = 0; i < KEPT; i++)
	{
		if (kept[i].table == table && kept[i].number == number && kept[i].level == level)
			return &kept[i];
		if (kept[i].used < oldest->used)
			oldest = &kept[i];
	}
	return oldest;
}

static Kept *
get_dictionary(int32 number, int level, const char **error)
{
	Oid table = dictionary_table();
	Kept *k = find_kept(table, number, level);
	Wanted wanted = {.number = number};

	*error = NULL;
	if (OidIsValid(table) && k->table == table && k->number == number &&
		k->level == level)
	{
		k->used = ++uses;
		return k;
	}

	read_rows(table, take_content, &wanted);
	*error = wanted.error;
	if (wanted.content == NULL)
		*error = "its compression dictionary is missing";
	if (*error == NULL)
	{
		const char *content = VARDATA_ANY(wanted.content);
		Size len = VARSIZE_ANY_EXHDR(wanted.content);

		drop_kept(k);
		if (level > 0)
			k->compress = ZSTD_createCDict(content, len, level);
		else
			k->decompress = ZSTD_createDDict(content, len);
		if (k->compress == NULL && k->decompress == NULL)
			*error = "its compression dictionary is not one, or there is no memory";
		else
		{
			k->table = table;
			k->number = number;
			k->level = level;
			k->used = ++uses;
		}
	}
	if (wanted.content)
		pfree(wanted.content);
	return *error ? NULL : k;
}

const ZSTD_CDict *
gs_dictionary_to_compress(int32 number, int level, const char **error)
{
	Kept *k = get_dictionary(number, Max(level, 1), error);

	return k ? k->compress : NULL;
}

const ZSTD_DDict *
gs_dictionary_to_decompress(int32 number, const char **error)
{
	Kept *k = get_dictionary(number, 0, error);

	return k ? k->decompress : NULL;
}

/* ----------
 * keeping them
 * ----------
 */

/* Trigger: before rows are changed or removed. */
Datum
gs_dictionary_changes(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("gamestate.dictionary_trigger() must be called by a BEFORE trigger")));
	if (!gs_allow_dictionary_changes)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rows of gamestate.dictionary must not be changed or removed"),
				 errdetail("Archived games that were compressed with a dictionary cannot be read without it."),
				 errhint("If no row of gamestate.archive_payload, of a detached partition or of a backup has its number: SET gamestate.allow_dictionary_changes = on.")));
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)
							   ? trigger->tg_newtuple
							   : trigger->tg_trigtuple);
}
