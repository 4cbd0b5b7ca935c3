/*-------------------------------------------------------------------------
 *
 * gs_archive_find.c
 *	  Finding one row in the archive's partitions.
 *
 * The model:
 *	1. From the parent table down, the partitions that may hold the row are
 *	   visited: with the whole key that is one leaf; by id alone first those of the
 *	   time at which the id was made, if it says that (gs_uuid.c), then later
 *	   ones, in the order of time, then all, the newest first.  A leaf is locked
 *	   only while it is looked at.  An SQL query would plan, and until the end of the
 *	   transaction lock, every leaf and index, which with a few years of daily
 *	   partitions no lock table can hold; and even with one leaf left it would cost
 *	   ten times as much a row.
 *	2. In a leaf the row is looked up by a B-tree that starts with game_id; or
 *	   by a sequential scan if somebody has dropped that.  No function,
 *	   operator or rule of a user runs, so there is no user to switch to.
 *	3. Most leaves do not have the game.  So the index is first asked whether it has
 *	   any entry, of whatever version of a row; only then are rows looked at.
 *	   Which index that is, is remembered for each leaf until PostgreSQL says that the
 *	   leaf has changed (relcache callback).
 *	4. Columns are found by name: a table attached by hand may have them in
 *	   another order.
 *
 * Frozen partitions (gs_freeze.c) are read like any.  A DBA's foreign tables as
 * partitions are left out; the search says so.
 *
 * What may not be done here: use shared memory, write anything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archive_find.h"
#include "gs_cold.h"
#include "gs_uuid.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/snapmgr.h"

/* How many leaves are remembered. */
#define MAX_PATHS 10000

/* How a game is looked for in a leaf. */
typedef struct LeafPath
{
	Oid relid; /* hash key */
	AttrNumber attno;
	Oid index; /* InvalidOid = there is none */
} LeafPath;

static HTAB *leaf_paths = NULL;
static bool all_paths_stale = false;

/* Clocks differ, and games take so long: where to look first, if the id says when it was made. */
#define HINT_BEFORE USECS_PER_HOUR
#define HINT_AFTER	USECS_PER_DAY

Oid
gs_archive_table(const char *name)
{
	Oid nsp = get_namespace_oid("gamestate", true);

	return OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;
}

/* A column by its name; a partition has it, with this type. */
Datum
gs_row_column(HeapTuple tuple, Relation leaf, const char *name, Oid type, bool *isnull)
{
	TupleDesc desc = RelationGetDescr(leaf);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0 &&
			att->atttypid == type)
			return heap_getattr(tuple, i + 1, desc, isnull);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("table \"%s\" has no column \"%s\" of type %s",
					RelationGetRelationName(leaf), name, format_type_be(type))));
	return (Datum) 0; /* keep compiler quiet */
}

Datum
gs_row_column_not_null(HeapTuple tuple, Relation leaf, const char *name, Oid type)
{
	bool isnull;
	Datum value = gs_row_column(tuple, leaf, name, type, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("column \"%s\" of table \"%s\" is null",
						name, RelationGetRelationName(leaf))));
	return value;
}

static void
relcache_callback(Datum arg, Oid relid)
{
	if (OidIsValid(relid))
		(void) hash_search(leaf_paths, &relid, HASH_REMOVE, NULL);
	else
		all_paths_stale = true;
}

/* An entry for the leaf, and whether it says something. */
static LeafPath *
leaf_path(Oid relid, bool *known)
{
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(LeafPath)};

	if (leaf_paths == NULL)
	{
		leaf_paths =
			hash_create("gamestate archive leaves", 256, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	}
	if (all_paths_stale || hash_get_num_entries(leaf_paths) > MAX_PATHS)
	{
		HASH_SEQ_STATUS scan;
		LeafPath *path;

		hash_seq_init(&scan, leaf_paths);
		while ((path = hash_seq_search(&scan)) != NULL)
			(void) hash_search(leaf_paths, &path->relid, HASH_REMOVE, NULL);
		all_paths_stale = false;
	}
	return hash_search(leaf_paths, &relid, HASH_ENTER, known);
}

/* A usable B-tree whose first column is game_id, or InvalidOid; does that hold for long? */
static Oid
find_index(Relation leaf, AttrNumber attno, bool *lasting)
{
	List *indexes = RelationGetIndexList(leaf);
	ListCell *lc;
	Oid result = InvalidOid;

	*lasting = true;
	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		/* whether it may be used depends on the snapshot */
		if (form->indcheckxmin)
			*lasting = false;

		/* the same tests as the planner's, see get_relation_info() */
		if (form->indisvalid && index->rd_rel->relam == BTREE_AM_OID &&
			form->indkey.values[0] == attno && index->rd_opcintype[0] == UUIDOID &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
			!(form->indcheckxmin &&
			  !TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
									 TransactionXmin)))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(result))
			break;
	}
	list_free(indexes);
	return result;
}

/*
 * Is this row the one?  A scan without an index may give any row, and a leaf
 * may hold the game under another key than was asked for.
 */
static bool
row_matches(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	Datum value = gs_row_column_not_null(tuple, leaf, "game_id", UUIDOID);

	if (memcmp(DatumGetUUIDP(value), search->id, sizeof(pg_uuid_t)) != 0)
		return false;
	if (!search->exact)
		return true;
	value = gs_row_column_not_null(tuple, leaf, "ended_at", TIMESTAMPTZOID);
	if (DatumGetTimestampTz(value) != search->ended_from)
		return false;
	value = gs_row_column_not_null(tuple, leaf, "game_type", TEXTOID);
	return strcmp(TextDatumGetCString(value), search->game_type) == 0;
}

/* How the game is looked for in this leaf; false if there is no such column. */
static bool
find_path(Relation leaf, AttrNumber *attno, Oid *index)
{
	Oid relid = RelationGetRelid(leaf);
	bool known;
	bool lasting;
	LeafPath *path = leaf_path(relid, &known);

	if (known)
	{
		*attno = path->attno;
		*index = path->index;
		return true;
	}
	/* in case of an error, and because what follows may change the table of paths */
	(void) hash_search(leaf_paths, &relid, HASH_REMOVE, NULL);
	*attno = get_attnum(relid, "game_id");
	if (*attno == InvalidAttrNumber)
		return false;
	*index = find_index(leaf, *attno, &lasting);
	if (lasting)
	{
		path = leaf_path(relid, &known);
		path->attno = *attno;
		path->index = *index;
	}
	return true;
}

/* Has the index any entry for the game, whoever sees the row? */
static bool
has_entry(Relation leaf, Relation index, const pg_uuid_t *id)
{
	ScanKeyData key;
	IndexScanDesc scan = index_beginscan(leaf, index, SnapshotAny, 1, 0);
	bool result;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	index_rescan(scan, &key, 1, NULL, 0);
	result = index_getnext_tid(scan, ForwardScanDirection) != NULL;
	index_endscan(scan);
	return result;
}

static bool
search_leaf(Relation leaf, GsRowSearch *search)
{
	AttrNumber attno;
	Oid indexoid;
	bool result = false;

	if (!find_path(leaf, &attno, &indexoid))
		return false;
	if (OidIsValid(indexoid))
	{
		Relation index = index_open(indexoid, AccessShareLock);
		bool worth = has_entry(leaf, index, search->id);

		index_close(index, AccessShareLock);
		if (!worth)
			return false;
	}

	for (int i = 0; i < search->nsnapshots && !result; i++)
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key, attno, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(search->id));
		scan = systable_beginscan(leaf, indexoid, OidIsValid(indexoid),
								  search->snapshots[i], 1, &key);
		while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			if (!row_matches(search, leaf, tuple))
				continue;
			result = true;
			if (search->found)
			{
				MemoryContext old = MemoryContextSwitchTo(search->mcxt);

				search->found(search, leaf, tuple);
				MemoryContextSwitchTo(old);
			}
		}
		systable_endscan(scan);
	}
	return result;
}

/* A row in a file is the same for every snapshot. */
static bool
search_frozen(Relation leaf, GsRowSearch *search)
{
	HeapTuple tuple = gs_cold_find(leaf, search->id);

	if (tuple == NULL || !row_matches(search, leaf, tuple))
		return false;
	if (search->found)
	{
		MemoryContext old = MemoryContextSwitchTo(search->mcxt);

		search->found(search, leaf, tuple);
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Is this the only column that the table is partitioned by? */
static bool
partitioned_by(Relation rel, PartitionKey key, const char *column, Oid type)
{
	AttrNumber attno = key->partattrs[0];

	return key->partnatts == 1 && attno != 0 && key->parttypid[0] == type &&
		   strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), attno - 1)->attname),
				  column) == 0;
}

/*
 * Which partitions of rel may hold the row: sets wanted[], an element for
 * each of desc->oids.  A shape that is not ours wants all of them.
 */
static void
choose_partitions(Relation rel, PartitionDesc desc, GsRowSearch *search, bool *wanted)
{
	PartitionKey key = RelationGetPartitionKey(rel);
	PartitionBoundInfo bounds = desc->boundinfo;
	int first = 0;
	int last = -1;
	bool with_default = true;

	if (search->game_type && key->strategy == PARTITION_STRATEGY_LIST &&
		partitioned_by(rel, key, "game_type", TEXTOID))
	{
		Datum value = CStringGetTextDatum(search->game_type);
		bool equal;

		first = last = partition_list_bsearch(key->partsupfunc, key->partcollation,
											  bounds, value, &equal);
		with_default = !equal;
		if (!equal)
			last = first - 1;
	}
	else if (search->has_range && key->strategy == PARTITION_STRATEGY_RANGE &&
			 partitioned_by(rel, key, "ended_at", TIMESTAMPTZOID))
	{
		Datum from = TimestampTzGetDatum(search->ended_from);
		Datum to = TimestampTzGetDatum(search->ended_to);
		bool equal;

		/* indexes[i + 1] is the partition behind bound i, -1 = none */
		first = 1 + partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
												  bounds, 1, &from, &equal);
		last = 1 + partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
												 bounds, 1, &to, &equal);
		with_default = first != last || bounds->indexes[first] < 0;
	}
	else
	{
		memset(wanted, true, desc->nparts);
		return;
	}

	memset(wanted, false, desc->nparts);
	for (int i = first; i <= last; i++)
	{
		if (bounds->indexes[i] >= 0)
			wanted[bounds->indexes[i]] = true;
	}
	if (with_default && bounds->default_index >= 0)
		wanted[bounds->default_index] = true;
}

bool
gs_find_row(Oid relid, GsRowSearch *search)
{
	Relation rel;
	bool result = false;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return false;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		PartitionDesc desc = RelationGetPartitionDesc(rel, false);

		if (desc->nparts > 0)
		{
			bool *wanted = palloc(desc->nparts * sizeof(bool));

			choose_partitions(rel, desc, search, wanted);
			for (int i = 0; i < desc->nparts && !result; i++)
			{
				int part = search->newest_first ? desc->nparts - 1 - i : i;

				if (wanted[part])
					result = gs_find_row(desc->oids[part], search);
			}
			pfree(wanted);
		}
	}
	else if (rel->rd_rel->relkind == RELKIND_RELATION)
		result = search_leaf(rel, search);
	else if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE && gs_cold_is_frozen(relid))
		result = search_frozen(rel, search);
	else
		search->foreign = true;

	/*
	 * Nothing outlives the look at a leaf, so neither need the lock: a walk
	 * over many must not fill the lock table.
	 */
	relation_close(rel, AccessShareLock);
	return result;
}

/* The row's whole key is known. */
void
gs_find_set_key(GsRowSearch *search, const char *game_type, TimestampTz ended_at)
{
	search->exact = true;
	search->game_type = game_type;
	search->has_range = true;
	search->ended_from = search->ended_to = ended_at;
}

/* First where the id's time points to, then later, then everywhere. */
bool
gs_find_row_by_id(Oid parent, GsRowSearch *search)
{
	TimestampTz to;

	if (!OidIsValid(parent))
		return false;
	if (gs_uuid_times(search->id, &search->ended_from, &to))
	{
		search->has_range = true;
		search->ended_from -= HINT_BEFORE;
		search->ended_to = to + HINT_AFTER;
		if (gs_find_row(parent, search))
			return true;
		/* a game that took longer */
		search->ended_from = search->ended_to;
		search->ended_to = DT_NOEND;
		if (gs_find_row(parent, search))
			return true;
		search->has_range = false;
	}
	search->newest_first = true;
	return gs_find_row(parent, search);
}
