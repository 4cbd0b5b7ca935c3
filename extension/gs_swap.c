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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_swap.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "commands/cluster.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

bool
gs_swap_possible(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		   rel->rd_rel->relam == HEAP_TABLE_AM_OID;
}

static bool
all_frozen(Oid relid)
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

bool
gs_swap_same_for_all(Oid relid)
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
gs_swap_is_settled(Oid relid, Oid copy)
{
	return all_frozen(copy) && gs_swap_same_for_all(relid);
}

void
gs_swap_files(Oid relid, Oid copy)
{
	Relation rel = table_open(relid, NoLock);
	Relation copy_rel = table_open(copy, NoLock);
	TransactionId frozen_xid = copy_rel->rd_rel->relfrozenxid;
	MultiXactId min_multi = copy_rel->rd_rel->relminmxid;

	CheckTableNotInUse(rel, "repack_partition");
	CheckTableNotInUse(copy_rel, "repack_partition");
	table_close(copy_rel, NoLock);
	table_close(rel, NoLock);
	finish_heap_swap(relid, copy, false, false, false, true, frozen_xid, min_multi,
					 RELPERSISTENCE_PERMANENT);
	CommandCounterIncrement();
}
