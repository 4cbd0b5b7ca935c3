/*-------------------------------------------------------------------------
 *
 * gs_swap.c
 *	  A table gets the files of another one that has the same rows.
 *
 * The model: PostgreSQL's own CLUSTER does the same: it writes a new heap,
 * exchanges the files of the two in pg_class, builds the indexes anew and drops
 * the new table with the old files.  The difference is that our new heap was
 * written long before by other transactions, so its rows would be invisible
 * to older snapshots.  Therefore all of them have to be frozen, which is
 * what gs_swap_is_settled() says, and the old heap must not have rows that some
 * snapshots still see and others do not.  (VACUUM's record of freezing makes
 * standbys cancel queries with older snapshots, as it does for any table.)
 *
 * Rows that have come to the old heap since it was copied need not be frozen: they
 * can be put behind those of the copy together with what says who sees them
 * (gs_swap_append()), as CLUSTER takes rows along.  That writes pages which no
 * rollback takes back; the caller knows how long the copy was, and truncates it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_sql.h"
#include "gs_swap.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/rewriteheap.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/tupconvert.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "commands/cluster.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

bool
gs_swap_possible(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		   rel->rd_rel->relam == HEAP_TABLE_AM_OID;
}

const char *
gs_swap_shape(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (!gs_swap_possible(rel))
		return "its access method is not heap";
	if (rel->rd_rel->relforcerowsecurity)
		return "row security is forced on its owner";
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return "it is not logged";
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attisdropped)
			return "columns of it have been dropped";
	return NULL;
}

bool
gs_swap_copy_is_published(void)
{
	gs_sql_run("SELECT FROM pg_catalog.pg_publication WHERE puballtables UNION ALL "
			   "SELECT FROM pg_catalog.pg_publication_namespace "
			   "WHERE pnnspid = 'gamestate_partitions'::pg_catalog.regnamespace",
			   SPI_OK_SELECT, 0, NULL, NULL);
	return SPI_processed > 0;
}

const char *
gs_swap_copy_refused(Oid relid, const char **clause)
{
	bool null;

	*clause = ""; /* default_tablespace is the worker's own, the database's */
	if (gs_swap_copy_is_published())
		return "a publication of all tables would publish the copy";
	gs_sql_run(psprintf("SELECT t.spcname::text, "
						"pg_catalog.has_tablespace_privilege(t.oid, 'CREATE') "
						"FROM pg_catalog.pg_class c "
						"JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace "
						"WHERE c.oid = %u",
						relid),
			   SPI_OK_SELECT, 0, NULL, NULL);
	if (SPI_processed == 0)
		return NULL;
	*clause = psprintf(" TABLESPACE %s",
					   quote_identifier(SPI_getvalue(SPI_tuptable->vals[0],
													 SPI_tuptable->tupdesc, 1)));
	if (!DatumGetBool(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)))
		return "gamestate_owner may not create tables in its tablespace";
	return NULL;
}

bool
gs_swap_all_frozen(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	BlockNumber visible;
	BlockNumber frozen;
	bool result;

	visibilitymap_count(rel, &visible, &frozen);
	result = frozen == RelationGetNumberOfBlocks(rel);
	table_close(rel, NoLock);
	return result;
}

/* Is every row dead or alive, and if recent_too is not set, so for every snapshot? */
static bool
is_quiet(Oid relid, bool recent_too)
{
	Relation rel = table_open(relid, NoLock);
	TransactionId horizon = GetOldestNonRemovableTransactionId(rel);
	TableScanDesc scan = table_beginscan_strat(rel, SnapshotAny, 0, NULL, true, true);
	HeapTuple tuple;
	bool result = true;

	while (result && (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Buffer buffer = ((HeapScanDesc) scan)->rs_cbuf;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		switch (HeapTupleSatisfiesVacuum(tuple, horizon, buffer))
		{
			case HEAPTUPLE_DEAD:
				break;
			case HEAPTUPLE_LIVE:
				result =
					recent_too ||
					TransactionIdPrecedes(HeapTupleHeaderGetXmin(tuple->t_data), horizon);
				break;
			default:
				result = false;
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	table_endscan(scan);
	table_close(rel, NoLock);
	return result;
}

bool
gs_swap_same_for_all(Oid relid)
{
	return is_quiet(relid, false);
}

bool
gs_swap_none_dying(Oid relid)
{
	return is_quiet(relid, true);
}

bool
gs_swap_is_settled(Oid relid, Oid copy)
{
	return gs_swap_all_frozen(copy) && gs_swap_same_for_all(relid);
}

/*
 * Rows of another table are about to come: whatever it may have in them that is not
 * frozen, this one may have then.
 */
static void
lower_horizons(Oid relid, Oid from)
{
	Relation class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	HeapTuple other = SearchSysCache1(RELOID, ObjectIdGetDatum(from));
	Form_pg_class ours;
	Form_pg_class theirs;

	if (!HeapTupleIsValid(tuple) || !HeapTupleIsValid(other))
		elog(ERROR, "cache lookup failed for relation %u or %u", relid, from);
	ours = (Form_pg_class) GETSTRUCT(tuple);
	theirs = (Form_pg_class) GETSTRUCT(other);
	if (TransactionIdPrecedes(theirs->relfrozenxid, ours->relfrozenxid))
		ours->relfrozenxid = theirs->relfrozenxid;
	if (MultiXactIdPrecedes(theirs->relminmxid, ours->relminmxid))
		ours->relminmxid = theirs->relminmxid;
	CatalogTupleUpdate(class, &tuple->t_self, tuple);
	ReleaseSysCache(other);
	table_close(class, RowExclusiveLock);
	CommandCounterIncrement();
}

void
gs_swap_append(Oid relid, Oid copy, const ItemPointerData *tids, int n)
{
	Relation rel;
	Relation copy_rel;
	TupleConversionMap *map;
	RewriteState state;

	lower_horizons(copy, relid);
	rel = table_open(relid, NoLock);
	copy_rel = table_open(copy, NoLock);
	map = convert_tuples_by_name(RelationGetDescr(rel), RelationGetDescr(copy_rel));
	/* nothing is frozen by that: what is older than relfrozenxid is already */
	state = begin_heap_rewrite(rel, copy_rel, GetOldestNonRemovableTransactionId(rel),
							   rel->rd_rel->relfrozenxid, rel->rd_rel->relminmxid);
	for (int i = 0; i < n; i++)
	{
		HeapTupleData tuple = {.t_self = tids[i]};
		HeapTuple row;
		Buffer buffer;

		CHECK_FOR_INTERRUPTS();
		if (!heap_fetch(rel, SnapshotAny, &tuple, &buffer, false))
			elog(ERROR, "row of table %u has gone although it is locked", relid);
		row = map ? execute_attr_map_tuple(&tuple, map) : heap_copytuple(&tuple);
		rewrite_heap_tuple(state, &tuple, row);
		heap_freetuple(row);
		ReleaseBuffer(buffer);
	}
	end_heap_rewrite(state);
	table_close(copy_rel, NoLock);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* TOAST tables change places too, and are renamed together with their indexes. */
static void
lock_toast(Relation rel)
{
	Relation toast;
	List *indexes;
	ListCell *cell;

	if (!OidIsValid(rel->rd_rel->reltoastrelid))
		return;
	toast = table_open(rel->rd_rel->reltoastrelid, AccessExclusiveLock);
	indexes = RelationGetIndexList(toast);
	foreach (cell, indexes)
		LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
	list_free(indexes);
	table_close(toast, NoLock);
}

void
gs_swap_files(Oid relid, Oid copy)
{
	Relation rel = table_open(relid, NoLock);
	Relation copy_rel = table_open(copy, NoLock);
	TransactionId frozen_xid = copy_rel->rd_rel->relfrozenxid;
	MultiXactId min_multi = copy_rel->rd_rel->relminmxid;

	CheckTableNotInUse(rel, "gamestate");
	CheckTableNotInUse(copy_rel, "gamestate");
	lock_toast(rel);
	lock_toast(copy_rel);
	table_close(copy_rel, NoLock);
	table_close(rel, NoLock);
	finish_heap_swap(relid, copy, false, false, false, true, frozen_xid, min_multi,
					 RELPERSISTENCE_PERMANENT);
	CommandCounterIncrement();
}
