/*-------------------------------------------------------------------------
 *
 * gs_follow_source.c
 *	  What is new in the journal's tables on a standby.
 *
 * The model:
 *	1. The WAL says which blocks have changed, the blocks say what is in them.
 *	   From what has been replayed since the last time only block references
 *	   are taken, so that nothing here depends on what kind of record changed a
 *	   block (an insertion, a full-page image, a generic record); then each
 *	   changed block is read and all its rows are handed out.  Most of them
 *	   have been handed out before: whoever takes them must not mind.
 *	2. The end of what counts as replayed is noted while both tables are locked
 *	   and before a block is read.  Replay changes a page first and says so
 *	   later: so whatever was written before that end is on the pages that are
 *	   read, and perhaps more.
 *	3. The first time, and when the WAL cannot be read (a segment was removed
 *	   because we were stopped for long), all blocks are read.
 *	4. A table that has new storage and no blocks was emptied by a rotation,
 *	   which has written images of whatever was only there.  That holds if all
 *	   that was written to the old storage had been read; otherwise, or if the
 *	   new storage has blocks (VACUUM FULL), everything has to start anew.
 *	5. So that it has been read: between the reads both tables stay locked.
 *	   Replay, which has to lock a table exclusively before it gets new storage,
 *	   waits, and has then replayed whatever was written to the old one.  The
 *	   next read finds that somebody waits, reads that, and lets go.
 *
 * Locking: AccessShareLock on both tables, taken only if it is free: we never
 * wait for replay.  Replay waits for us until the next read is done, for as long
 * as the follower pauses.  What is kept from one transaction to the next are
 * session locks: replay does not cancel somebody who is in no transaction.  An
 * error gives them back; then what is replayed before the next read may be
 * missed.  They are not kept while a load is applied, which may take long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_follow_source.h"
#include "gs_journal.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* One journal table as we know it. */
typedef struct SourceTable
{
	Oid relid; /* InvalidOid = not looked at yet */
	GsRelFileNode node;
	TransactionId
		node_xid;		 /* who has given it that storage, when it was first looked at */
	Bitmapset *changed;	 /* blocks to be read */
	Bitmapset *left_out; /* blocks that cannot be read */
} SourceTable;

static MemoryContext context = NULL; /* the reader of the WAL, the bitmaps */
static SourceTable tables[2];
static XLogReaderState *wal = NULL;
static ReadLocalXLogPageNoWaitPrivate *wal_private = NULL;
static XLogRecPtr collected = InvalidXLogRecPtr; /* references are known up to here */
static bool all_blocks = true;					 /* they are not known: read all */
static uint64 scans = 0;

/* the tables that are locked between the reads, if any are */
static bool keeping = false;
static Oid kept[2];

/* the block that is being read, for who catches an error */
static int reading_table = -1;
static BlockNumber reading_block;

/* ----------------------------------------------------------------
 *		Between the reads
 * ----------------------------------------------------------------
 */

static LOCKTAG
lock_tag(Oid relid)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return tag;
}

/* The caller has locked them in his transaction, so that this cannot fail. */
static void
keep_locks(const Oid *oids)
{
	if (keeping)
		return;
	for (int i = 0; i < 2; i++)
	{
		LOCKTAG tag = lock_tag(oids[i]);

		kept[i] = oids[i];
		(void) LockAcquire(&tag, AccessShareLock, true, true);
	}
	keeping = true;
}

void
gs_source_let_go(void)
{
	if (!keeping)
		return;
	keeping = false;
	for (int i = 0; i < 2; i++)
	{
		LOCKTAG tag = lock_tag(kept[i]);

		LockRelease(&tag, AccessShareLock, true);
	}
}

void
gs_source_after_error(void)
{
	/* an abort has given them back, unless there was no transaction */
	keeping = false;
	LockReleaseAll(DEFAULT_LOCKMETHOD, true);
}

/*
 * Does somebody wait for one of the locks that we keep?  Another lock that he
 * would have to wait for is not free then.
 */
bool
gs_source_is_awaited(void)
{
	bool awaited = false;

	for (int i = 0; i < 2 && keeping && !awaited; i++)
	{
		LOCKTAG tag = lock_tag(kept[i]);

		if (LockAcquire(&tag, RowShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
			awaited = true;
		else
			LockRelease(&tag, RowShareLock, true);
	}
	return awaited;
}

/* ----------------------------------------------------------------
 *		From nothing
 * ----------------------------------------------------------------
 */

static void
close_wal(void)
{
	if (wal != NULL)
		XLogReaderFree(wal);
	wal = NULL;
}

void
gs_source_reset(void)
{
	gs_source_let_go();
	close_wal();
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "gamestate follower's source",
										ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	memset(tables, 0, sizeof(tables));
	collected = InvalidXLogRecPtr;
	all_blocks = true;
	reading_table = -1;
}

uint64
gs_source_scans(void)
{
	return scans;
}

bool
gs_source_leave_out_block(int *table, ItemPointerData *tid)
{
	SourceTable *source;
	MemoryContext old;

	if (reading_table < 0)
		return false;
	source = &tables[reading_table];
	old = MemoryContextSwitchTo(context);
	source->left_out = bms_add_member(source->left_out, (int) reading_block);
	MemoryContextSwitchTo(old);
	*table = reading_table;
	ItemPointerSet(tid, reading_block, FirstOffsetNumber);
	reading_table = -1;
	return true;
}

/* ----------------------------------------------------------------
 *		Which blocks
 * ----------------------------------------------------------------
 */

/* The references of one record. */
static void
collect_blocks(void)
{
	for (int id = 0; id <= XLogRecMaxBlockId(wal); id++)
	{
		GsRelFileNode node;
		ForkNumber fork;
		BlockNumber block;

		if (!XLogRecGetBlockTagExtended(wal, id, &node, &fork, &block, NULL) ||
			fork != MAIN_FORKNUM)
			continue;
		for (int i = 0; i < 2; i++)
		{
			if (!OidIsValid(tables[i].relid) ||
				!GsRelFileNodeEquals(tables[i].node, node))
				continue;
			tables[i].changed = bms_add_member(tables[i].changed, (int) block);
			tables[i].left_out = bms_del_member(tables[i].left_out, (int) block);
		}
	}
}

/* Where the record stands that begins at or after a place: a page begins with its header. */
static XLogRecPtr
first_record(XLogRecPtr lsn)
{
	if (lsn % XLOG_BLCKSZ != 0)
		return lsn;
	if (XLogSegmentOffset(lsn, wal_segment_size) == 0)
		return lsn + SizeOfXLogLongPHD;
	return lsn + SizeOfXLogShortPHD;
}

static void
open_wal(void)
{
	wal_private = palloc0(sizeof(ReadLocalXLogPageNoWaitPrivate));
	wal = XLogReaderAllocate(wal_segment_size, NULL,
							 XL_ROUTINE(.page_read = &read_local_xlog_page_no_wait,
										.segment_open = &wal_segment_open,
										.segment_close = &wal_segment_close),
							 wal_private);
	if (wal == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while allocating a WAL reading processor.")));
	XLogBeginRead(wal, first_record(collected));
}

/* Read records up to a place; false if that is not possible. */
static bool
read_wal(XLogRecPtr upto)
{
	if (wal == NULL)
		open_wal();
	while (wal->EndRecPtr < upto)
	{
		char *wrong = NULL;

		CHECK_FOR_INTERRUPTS();
		if (XLogReadRecord(wal, &wrong) == NULL)
		{
			ereport(DEBUG1,
					(errmsg_internal("follower cannot read WAL at %X/%X: %s",
									 LSN_FORMAT_ARGS(wal->EndRecPtr),
									 wrong ? wrong : "it ends there")));
			return false;
		}
		collect_blocks();
	}
	return true;
}

/* Note which blocks have been changed up to there. */
static void
collect(XLogRecPtr upto)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	volatile bool done = false;

	if (!all_blocks && collected < upto)
	{
		PG_TRY();
		{
			done = read_wal(upto);
		}
		PG_CATCH();
		{
			ErrorData *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();

			/* a missing or unreadable segment; nothing else is held that an abort would release */
			if (ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
					ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR) &&
				error->sqlerrcode != ERRCODE_UNDEFINED_FILE &&
				error->sqlerrcode != ERRCODE_INTERNAL_ERROR &&
				error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
				PG_RE_THROW();
			FlushErrorState();
			ereport(DEBUG1, (errmsg_internal("follower cannot read WAL: %s", error->message)));
			FreeErrorData(error);
		}
		PG_END_TRY();
		if (!done)
		{
			close_wal();
			all_blocks = true;
			scans++;
		}
	}
	if (all_blocks)
		close_wal();
	collected = upto;
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 *		What is in them
 * ----------------------------------------------------------------
 */

/*
 * Can these be transactions that have touched the table?  To ask what has become
 * of any other would be an error.  NULL, or what is wrong.
 */
static const char *
check_xids(HeapTupleHeader header, TransactionId oldest, TransactionId next)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(header);
	TransactionId xmax = HeapTupleHeaderGetRawXmax(header);

	if (!HeapTupleHeaderXminFrozen(header) && xmin != FrozenTransactionId &&
		(!TransactionIdIsNormal(xmin) || TransactionIdPrecedes(xmin, oldest) ||
		 !TransactionIdPrecedes(xmin, next)))
		return "the transaction that wrote it is impossible";
	if ((header->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) == 0 &&
		TransactionIdIsValid(xmax) &&
		(!TransactionIdIsNormal(xmax) || TransactionIdPrecedes(xmax, oldest) ||
		 !TransactionIdPrecedes(xmax, next)))
		return "the transaction that deleted it is impossible";
	return NULL;
}

static void
take_page(const GsRowSink *sink, int table, Relation rel, BlockNumber block, Page page)
{
	/* replay makes a transaction's id known before it changes a page */
	TransactionId next = XidFromFullTransactionId(ReadNextFullTransactionId());
	OffsetNumber last;

	if (PageIsNew(page))
		return;
	last = PageGetMaxOffsetNumber(page);
	for (OffsetNumber off = FirstOffsetNumber; off <= last; off++)
	{
		ItemId item = PageGetItemId(page, off);
		ItemPointerData tid;

		if (!ItemIdIsNormal(item))
			continue;
		ItemPointerSet(&tid, block, off);
		if (ItemIdGetOffset(item) < SizeOfPageHeaderData ||
			ItemIdGetOffset(item) != MAXALIGN(ItemIdGetOffset(item)) ||
			ItemIdGetOffset(item) + ItemIdGetLength(item) > BLCKSZ ||
			ItemIdGetLength(item) < SizeofHeapTupleHeader)
			sink->damaged(table, &tid, "its line pointer is wrong");
		else
		{
			HeapTupleHeader header = (HeapTupleHeader) PageGetItem(page, item);
			const char *wrong = check_xids(header, rel->rd_rel->relfrozenxid, next);

			if (wrong)
				sink->damaged(table, &tid, wrong);
			else
				sink->row(table, &tid, header, ItemIdGetLength(item));
		}
	}
}

static void
read_block(const GsRowSink *sink, int table, Relation rel, BlockNumber block,
		   BufferAccessStrategy strategy)
{
	PGAlignedBlock copy;
	Buffer buffer;

	CHECK_FOR_INTERRUPTS();
	reading_table = table;
	reading_block = block;
	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
	reading_table = -1;
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(copy.data, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
	if (((PageHeader) copy.data)->pd_lower > BLCKSZ)
	{
		ItemPointerData tid;

		ItemPointerSet(&tid, block, FirstOffsetNumber);
		sink->damaged(table, &tid, "the header of its page is wrong");
		return;
	}
	take_page(sink, table, rel, block, copy.data);
}

static void
read_table(const GsRowSink *sink, int table, Relation rel)
{
	SourceTable *source = &tables[table];
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BufferAccessStrategy strategy;
	int block = -1;

	if (!all_blocks)
	{
		while ((block = bms_next_member(source->changed, block)) >= 0)
			if ((BlockNumber) block < nblocks && !bms_is_member(block, source->left_out))
				read_block(sink, table, rel, block, NULL);
		return;
	}
	strategy = GetAccessStrategy(BAS_BULKREAD);
	for (BlockNumber next = 0; next < nblocks; next++)
		if (!bms_is_member((int) next, source->left_out))
			read_block(sink, table, rel, next, strategy);
	FreeAccessStrategy(strategy);
}

/* ----------------------------------------------------------------
 *		The whole
 * ----------------------------------------------------------------
 */

static bool
find_tables(Oid *oids)
{
	Oid schema = get_namespace_oid("gamestate", true);

	if (!OidIsValid(schema))
		return false;
	oids[0] = get_relname_relid("journal_0", schema);
	oids[1] = get_relname_relid("journal_1", schema);
	return OidIsValid(oids[0]) && OidIsValid(oids[1]);
}

/* Lock and open both, or none; NULLs in rels if they are gone. */
static bool
open_tables(const Oid *oids, Relation *rels)
{
	if (!ConditionalLockRelationOid(oids[0], AccessShareLock))
		return false;
	if (!ConditionalLockRelationOid(oids[1], AccessShareLock))
	{
		UnlockRelationOid(oids[0], AccessShareLock);
		return false;
	}
	for (int i = 0; i < 2; i++)
	{
		rels[i] = try_table_open(oids[i], NoLock);

		/* other faults than these do not matter to who only reads */
		if (rels[i] != NULL &&
			(rels[i]->rd_rel->relkind != RELKIND_RELATION ||
			 rels[i]->rd_rel->relam != HEAP_TABLE_AM_OID ||
			 rels[i]->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT))
			gs_journal_check(rels[i]);
	}
	return true;
}

static void
close_tables(const Oid *oids, Relation *rels)
{
	for (int i = 0; i < 2; i++)
	{
		if (rels[i] != NULL)
			table_close(rels[i], NoLock);
		UnlockRelationOid(oids[i], AccessShareLock);
	}
}

/* Who has written the table's row of pg_class: whoever gave it its storage, or somebody later. */
static TransactionId
row_xid(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	TransactionId xid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	xid = HeapTupleHeaderGetXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	return xid;
}

TransactionId
gs_source_storage_xid(int table)
{
	return tables[table].node_xid;
}

/* Have the tables the storage that we know?  False: start anew. */
static bool
check_storage(const GsRowSink *sink, const Relation *rels)
{
	for (int i = 0; i < 2; i++)
	{
		SourceTable *source = &tables[i];

		if (!OidIsValid(source->relid))
		{
			source->relid = RelationGetRelid(rels[i]);
			source->node = GS_RELATION_NODE(rels[i]);
			source->node_xid = row_xid(source->relid);
			continue;
		}
		if (source->relid != RelationGetRelid(rels[i]))
			return false;
		if (GsRelFileNodeEquals(source->node, GS_RELATION_NODE(rels[i])))
			continue;
		if (all_blocks || !bms_is_empty(source->changed) ||
			RelationGetNumberOfBlocks(rels[i]) > 0)
			return false;
		source->node = GS_RELATION_NODE(rels[i]);
		bms_free(source->left_out);
		source->left_out = NULL;
		sink->emptied(i);
	}
	return true;
}

GsSourceResult
gs_source_read(const GsRowSink *sink, XLogRecPtr *upto)
{
	Oid oids[2];
	Relation rels[2];
	GsSourceResult result = GS_SOURCE_READ;

	/* before it is looked at what has been replayed: that of who waits counts */
	bool awaited = gs_source_is_awaited();
	bool whole = all_blocks;

	reading_table = -1;
	if (!find_tables(oids))
		return GS_SOURCE_GONE;

	/* most of the WAL is read before anything is locked */
	collect(GetXLogReplayRecPtr(NULL));
	if (!open_tables(oids, rels))
		return GS_SOURCE_BUSY;
	if (rels[0] == NULL || rels[1] == NULL)
		result = GS_SOURCE_GONE;
	else
	{
		*upto = GetXLogReplayRecPtr(NULL);
		collect(*upto);
		if (!check_storage(sink, rels))
			result = GS_SOURCE_REWRITTEN;
		else
			for (int i = 0; i < 2; i++)
				read_table(sink, i, rels[i]);
	}
	if (result == GS_SOURCE_READ && !awaited && !whole)
		keep_locks(oids);
	else
		gs_source_let_go();
	close_tables(oids, rels);
	if (result == GS_SOURCE_READ)
	{
		for (int i = 0; i < 2; i++)
		{
			bms_free(tables[i].changed);
			tables[i].changed = NULL;
		}
		all_blocks = false;
	}
	return result;
}
