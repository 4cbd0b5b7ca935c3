/*-------------------------------------------------------------------------
 *
 * gs_light.c
 *	  The light way to commit: frozen rows under generic WAL.
 *
 * The model, for a transaction that has changed nothing but games, and so has
 * no transaction id:
 *	1. At pre-commit everything that may fail is done: the rows are formed, a
 *	   page of our own with room for each is pinned (gs_pages.c).
 *	2. At XACT_EVENT_COMMIT, when nothing else can make the transaction fail any
 *	   more, the rows are put on the pages as frozen heap tuples: visible to
 *	   everybody, for ever, without a commit record.  Not earlier: a frozen row
 *	   of a transaction that fails after all (NOTIFY, another extension's
 *	   callback) would be a lie on disk.  An error up to here aborts the
 *	   transaction cleanly, although PostgreSQL has called it committed: it has
 *	   no transaction id, so nobody has seen it.
 *	3. The first record begins a critical section (gs_writeset.c), which ends
 *	   when shared memory has been changed too: an error in between would leave
 *	   the disk telling another story than memory, so it restarts the server.
 *	4. Four rows go into one record (generic_xlog.h), which a crash leaves whole
 *	   or not at all; of a group of more rows it can leave a part, which is
 *	   ignored when it is loaded.  Nobody has been told of that group.
 *
 * What has changed of a page we know, so the record is made here, as generic WAL's
 * own functions would make it: they copy the page twice and compare it byte by
 * byte, which was a tenth of a move's processor time.  They are used for a page
 * that has to be logged as a whole, and on a PostgreSQL whose format we do not
 * know (gs_compat.h).
 *
 * Only if NOTIFY has taken a transaction id after pre-commit, and then a page
 * has to be exchanged, and the disk is full, is the error a PANIC.
 *
 * A page that has got less room than we knew of (a superuser's INSERT) is
 * exchanged for another one when it has been locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_database.h"
#include "gs_light.h"
#include "gs_pages.h"

#include "access/generic_xlog.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/rmgr.h"
#include "access/transam.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

typedef struct LightRow
{
	HeapTuple tuple;
	Buffer buffer;
} LightRow;

/*
 * A part of a page in a record of generic WAL (generic_xlog.c), followed by its
 * bytes.
 */
typedef struct Fragment
{
	OffsetNumber offset;
	OffsetNumber length;
} Fragment;

/* All that adding a row changes in front of the free space, as fragments. */
#define HEADER_FIRST offsetof(PageHeaderData, pd_flags)
#define HEADER_LEN	 (offsetof(PageHeaderData, pd_special) - HEADER_FIRST)
#define DELTA_LEN	 (3 * sizeof(Fragment) + HEADER_LEN + sizeof(ItemIdData))

StaticAssertDecl(HEADER_LEN == 2 + 2 * sizeof(LocationIndex),
				 "pd_flags, pd_lower and pd_upper must stand side by side");

static Relation table = NULL; /* NULL = nothing prepared */
static GsDatabase *table_db;
static int table_number;
static LightRow rows[GS_LIGHT_MAX_ROWS];
static int nrows = 0;
static GenericXLogState *records[GS_LIGHT_MAX_ROWS / MAX_GENERIC_XLOG_PAGES];
static int nlocked = 0;

StaticAssertDecl(GS_LIGHT_MAX_ROWS % MAX_GENERIC_XLOG_PAGES == 0,
				 "records must have place for all rows");

/*
 * As heap_prepare_insert() leaves a tuple that is inserted frozen.  All bits
 * that heap_form_tuple() may have set about transactions are cleared: since
 * 15.20 it marks the tuple as a datum there.
 */
static void
freeze(HeapTuple tuple, Oid relid)
{
	HeapTupleHeader header = tuple->t_data;

	header->t_infomask &= ~(HEAP_XACT_MASK);
	header->t_infomask2 &= ~(HEAP2_XACT_MASK);
	HeapTupleHeaderSetXmin(header, FrozenTransactionId);
	HeapTupleHeaderSetXminFrozen(header);
	HeapTupleHeaderSetCmin(header, FirstCommandId);
	HeapTupleHeaderSetXmax(header, InvalidTransactionId);
	header->t_infomask |= HEAP_XMAX_INVALID;
	tuple->t_tableOid = relid;
}

static void
find_page(LightRow *row)
{
	row->buffer = gs_pages_get(table, table_db, table_number, GS_PAGE_LIGHT,
							   GS_PAGE_NEED(row->tuple->t_len));
}

void
gs_light_prepare(Relation rel, GsDatabase *db, int number, HeapTuple *tuples, int n)
{
	Assert(n <= GS_LIGHT_MAX_ROWS);
	table = rel;
	table_db = db;
	table_number = number;
	for (nrows = 0; nrows < n; nrows++)
	{
		rows[nrows].tuple = tuples[nrows];
		freeze(tuples[nrows], RelationGetRelid(rel));
		find_page(&rows[nrows]);
	}
}

static int
by_block(const void *a, const void *b)
{
	BlockNumber block_a = BufferGetBlockNumber(((const LightRow *) a)->buffer);
	BlockNumber block_b = BufferGetBlockNumber(((const LightRow *) b)->buffer);

	return block_a < block_b ? -1 : block_a > block_b;
}

/*
 * Has this group got the page already?  Two of our pages may be the same block
 * when VACUUM has cut off unused ones and the table has grown again.
 */
static bool
is_locked(Buffer buffer)
{
	for (int i = 0; i < nlocked; i++)
		if (rows[i].buffer == buffer)
			return true;
	return false;
}

/* Another page, and from the beginning: looking for one locks pages. */
static void
exchange_page(LightRow *row)
{
	while (nlocked > 0)
		LockBuffer(rows[--nlocked].buffer, BUFFER_LOCK_UNLOCK);
	ReleaseBuffer(row->buffer);
	find_page(row);
}

/* Also if somebody has initialized the page and failed before his WAL record. */
static bool
has_to_be_whole(Page page)
{
	return !GS_GENERIC_DELTA_KNOWN || PageIsNew(page) ||
		   XLogRecPtrIsInvalid(PageGetLSN(page));
}

/* Which of the records are left to generic WAL's functions?  Those need memory. */
static void
start_records(void)
{
	for (int first = 0; first < nrows; first += MAX_GENERIC_XLOG_PAGES)
	{
		int end = Min(nrows, first + MAX_GENERIC_XLOG_PAGES);
		bool any_whole = false;

		for (int i = first; i < end; i++)
			any_whole |= has_to_be_whole(BufferGetPage(rows[i].buffer));
		records[first / MAX_GENERIC_XLOG_PAGES] =
			any_whole ? GenericXLogStart(table) : NULL;
	}
}

void
gs_light_lock(void)
{
	nlocked = 0;
	while (nlocked < nrows)
	{
		LightRow *row;

		/* all in the same order, should two of us have the same pages */
		if (nlocked == 0)
			qsort(rows, nrows, sizeof(LightRow), by_block);
		row = &rows[nlocked];
		if (is_locked(row->buffer))
		{
			exchange_page(row);
			continue;
		}
		nlocked++;

		LockBuffer(row->buffer, BUFFER_LOCK_EXCLUSIVE);
		if (likely(gs_pages_room(row->buffer) >= GS_PAGE_NEED(row->tuple->t_len)))
			continue;

		exchange_page(row);
	}
	start_records();
}

/* Returns the row's number on the page. */
static OffsetNumber
put_row(Page page, const LightRow *row)
{
	OffsetNumber offset;
	HeapTupleHeader header;

	if (PageIsNew(page))
		PageInit(page, BLCKSZ, 0);
	offset = PageAddItem(page, (Item) row->tuple->t_data, row->tuple->t_len,
						 InvalidOffsetNumber, false, true);
	if (offset == InvalidOffsetNumber)
		elog(PANIC, "could not add a row to a page of the journal");
	header = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, offset));
	ItemPointerSet(&header->t_ctid, BufferGetBlockNumber(row->buffer), offset);
	return offset;
}

/* A record by generic WAL's functions. */
static XLogRecPtr
write_generic(GenericXLogState *record, const LightRow *first, const LightRow *end)
{
	for (const LightRow *row = first; row < end; row++)
	{
		Page page = BufferGetPage(row->buffer);
		bool unlogged = PageIsNew(page) || XLogRecPtrIsInvalid(PageGetLSN(page));

		(void) put_row(GenericXLogRegisterBuffer(record, row->buffer,
												 unlogged ? GENERIC_XLOG_FULL_IMAGE : 0),
					   row);
	}
	return GenericXLogFinish(record);
}

static char *
put_fragment(char *p, Page page, Size offset, Size len)
{
	Fragment fragment = {offset, len};

	memcpy(p, &fragment, sizeof(fragment));
	memcpy(p + sizeof(fragment), (char *) page + offset, len);
	return p + sizeof(fragment) + len;
}

/* What putting a row on its page has changed; the row itself is not copied. */
static void
register_delta(uint8 id, const LightRow *row, OffsetNumber offset, char *delta)
{
	Page page = BufferGetPage(row->buffer);
	ItemId item = PageGetItemId(page, offset);
	/* with what aligns it, as it is here */
	Fragment tuple = {ItemIdGetOffset(item), MAXALIGN(ItemIdGetLength(item))};
	char *p = put_fragment(delta, page, HEADER_FIRST, HEADER_LEN);

	p = put_fragment(p, page, (char *) item - (char *) page, sizeof(ItemIdData));
	memcpy(p, &tuple, sizeof(tuple));
	XLogRegisterBuffer(id, row->buffer, REGBUF_STANDARD);
	XLogRegisterBufData(id, delta, DELTA_LEN);
	XLogRegisterBufData(id, (char *) PageGetItem(page, item), tuple.length);
}

/* The same record, of pages that are in the WAL already. */
static XLogRecPtr
write_deltas(const LightRow *first, const LightRow *end)
{
	char deltas[MAX_GENERIC_XLOG_PAGES][DELTA_LEN];
	XLogRecPtr lsn;

	XLogBeginInsert();
	for (const LightRow *row = first; row < end; row++)
	{
		OffsetNumber offset = put_row(BufferGetPage(row->buffer), row);

		MarkBufferDirty(row->buffer);
		register_delta(row - first, row, offset, deltas[row - first]);
	}
	lsn = XLogInsert(RM_GENERIC_ID, 0);
	for (const LightRow *row = first; row < end; row++)
		PageSetLSN(BufferGetPage(row->buffer), lsn);
	return lsn;
}

XLogRecPtr
gs_light_write(void)
{
	XLogRecPtr lsn = InvalidXLogRecPtr;

	Assert(CritSectionCount > 0 && nlocked == nrows && nrows > 0);
	for (int first = 0; first < nrows; first += MAX_GENERIC_XLOG_PAGES)
	{
		GenericXLogState *record = records[first / MAX_GENERIC_XLOG_PAGES];
		int end = Min(nrows, first + MAX_GENERIC_XLOG_PAGES);

		lsn = record ? write_generic(record, rows + first, rows + end)
					 : write_deltas(rows + first, rows + end);
	}
	for (int i = 0; i < nrows; i++)
		UnlockReleaseBuffer(rows[i].buffer);
	return lsn;
}

void
gs_light_finish(void)
{
	/* row and memory agree: rotation need not wait for disk and standbys, too */
	table_close(table, RowExclusiveLock);
	gs_light_reset();
}

void
gs_light_reset(void)
{
	/* after an error PostgreSQL has released locks and pins */
	table = NULL;
	nrows = nlocked = 0;
}
