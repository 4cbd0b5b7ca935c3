/*-------------------------------------------------------------------------
 *
 * gs_scan.c
 *	  Reading a journal table whatever has happened to its pages.
 *
 * The model:
 *	1. The table is read block by block, not by a table scan: that ends at the
 *	   first page whose checksum or header is wrong.  Here such a page is read
 *	   from the file once more, as it is.  PostgreSQL has put an empty page into
 *	   the buffer, so a page that is empty in the buffer and not in the file is
 *	   a damaged one.  Pages that are empty in both are normal: allocated ahead.
 *	2. Line pointers and the tuple headers they lead to are checked before
 *	   anything uses them.  A transaction id that was never given out, or is
 *	   older than the table, is damage, and nobody is asked about it.
 *	3. A row counts if its transaction has committed and no other one that has
 *	   committed has deleted it.  No snapshot is needed, since nobody writes to
 *	   the journal before the games are loaded.  No hint bits are set: that would
 *	   write the whole journal once more.
 *	4. What the callback finds wrong within a row is damage as well.
 *	5. Of a damaged page the rows are tried one by one; each has a checksum of
 *	   its own, and one flipped bit need not cost the others.
 *
 * I/O errors are not damage.  They are raised: the next try may be able to read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_scan.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/transam.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/fd.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include <sys/stat.h>

/* A scan and what it remembers from row to row. */
typedef struct ScanState
{
	const GsScan *scan;
	TransactionId next_xid; /* not given out yet, when last looked */
	TransactionId last_xid; /* was asked about last ... */
	bool last_committed;	/* ... and this was the answer */
	PGAlignedBlock raw;		/* a page as the file has it */
} ScanState;

typedef struct PageItem
{
	OffsetNumber item;
	const char *wrong; /* NULL = a row that counts */
	bool by_xid;
} PageItem;

/* ----------------------------------------------------------------
 *		Who wrote a row
 * ----------------------------------------------------------------
 */

/* Can this be the id of a transaction that has touched this table? */
static bool
is_possible_xid(ScanState *state, TransactionId xid)
{
	if (TransactionIdPrecedes(xid, state->scan->rel->rd_rel->relfrozenxid))
		return false;
	if (TransactionIdPrecedes(xid, state->next_xid))
		return true;
	state->next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	return TransactionIdPrecedes(xid, state->next_xid);
}

/* The xid is possible. */
static bool
has_committed(ScanState *state, TransactionId xid)
{
	if (xid != state->last_xid)
	{
		state->last_committed = TransactionIdDidCommit(xid);
		state->last_xid = xid;
	}
	return state->last_committed;
}

/* Has the inserting transaction committed?  NULL, or what is wrong. */
static const char *
check_inserted(ScanState *state, HeapTupleHeader header, bool *committed)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(header);

	*committed = true;
	if (HeapTupleHeaderXminFrozen(header))
		return NULL;
	if (TransactionIdIsNormal(xmin) ? !is_possible_xid(state, xmin)
									: xmin != FrozenTransactionId)
		return "the transaction that wrote it is impossible";
	if (HeapTupleHeaderXminCommitted(header))
		return NULL;
	*committed = has_committed(state, xmin);
	if (*committed && HeapTupleHeaderXminInvalid(header))
		return "its header says that its transaction was rolled back, which is not so";
	return NULL;
}

/* Has a transaction that deleted the row committed?  NULL, or what is wrong. */
static const char *
check_deleted(ScanState *state, HeapTupleHeader header, bool *deleted)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(header);

	*deleted = false;
	if ((header->t_infomask & HEAP_XMAX_INVALID) ||
		HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) || !TransactionIdIsValid(xmax))
		return NULL;
	if (header->t_infomask & HEAP_XMAX_IS_MULTI)
	{
		if (MultiXactIdPrecedes(xmax, state->scan->rel->rd_rel->relminmxid) ||
			!MultiXactIdPrecedes(xmax, ReadNextMultiXactId()))
			return "the transactions that locked it are impossible";
		xmax = HeapTupleGetUpdateXid(header);
		if (!TransactionIdIsValid(xmax))
			return NULL;
	}
	if (!TransactionIdIsNormal(xmax) || !is_possible_xid(state, xmax))
		return "the transaction that deleted it is impossible";
	*deleted = has_committed(state, xmax);
	return NULL;
}

/* ----------------------------------------------------------------
 *		Pages
 * ----------------------------------------------------------------
 */

static bool
is_sane_header(Page page)
{
	PageHeader header = (PageHeader) page;

	return PageGetPageSize(page) == BLCKSZ &&
		   PageGetPageLayoutVersion(page) == PG_PAGE_LAYOUT_VERSION &&
		   (header->pd_flags & ~PD_VALID_FLAG_BITS) == 0 &&
		   header->pd_lower >= SizeOfPageHeaderData &&
		   header->pd_lower <= header->pd_upper &&
		   header->pd_upper <= header->pd_special && header->pd_special == BLCKSZ;
}

/* Does the item count?  Its line pointer is in use. */
static bool
examine_item(ScanState *state, Page page, PageItem *found)
{
	ItemId lp = PageGetItemId(page, found->item);
	HeapTupleHeader header;
	bool committed;
	bool deleted;

	found->wrong = NULL;
	if (ItemIdGetOffset(lp) < ((PageHeader) page)->pd_upper ||
		ItemIdGetOffset(lp) != MAXALIGN(ItemIdGetOffset(lp)) ||
		ItemIdGetLength(lp) < SizeofHeapTupleHeader ||
		ItemIdGetOffset(lp) + ItemIdGetLength(lp) > BLCKSZ)
	{
		found->wrong = "its line pointer is wrong";
		return true;
	}
	header = (HeapTupleHeader) PageGetItem(page, lp);
	if (header->t_infomask & HEAP_MOVED)
		found->wrong = "its header is wrong";
	if (found->wrong == NULL)
		found->wrong = check_inserted(state, header, &committed);
	if (found->wrong == NULL && !committed)
		return false;
	if (found->wrong == NULL)
		found->wrong = check_deleted(state, header, &deleted);
	if (found->wrong == NULL && deleted)
		return false;
	found->by_xid = HeapTupleHeaderGetRawXmin(header) != FrozenTransactionId;
	return true;
}

/* The rows of a page, and what stands in the place of one; the header is sane. */
static int
examine_page(ScanState *state, Page page, PageItem *items)
{
	OffsetNumber last = PageGetMaxOffsetNumber(page);
	int n = 0;

	/* more do not fit: what comes after that is no line pointer */
	last = Min(last, MaxHeapTuplesPerPage);
	for (OffsetNumber item = FirstOffsetNumber; item <= last; item++)
	{
		if (!ItemIdIsNormal(PageGetItemId(page, item)))
			continue;
		items[n].item = item;
		if (examine_item(state, page, &items[n]))
			n++;
	}
	return n;
}

/* What there is of a row; its line pointer may be anything. */
static void
bytes_of(Page page, OffsetNumber item, const char **bytes, Size *len)
{
	ItemId lp = PageGetItemId(page, item);

	*bytes = (const char *) page + Min(ItemIdGetOffset(lp), BLCKSZ);
	*len = Min(ItemIdGetLength(lp), BLCKSZ - (Size) (*bytes - (const char *) page));
}

static const char *
use_row(ScanState *state, Page page, BlockNumber block, const PageItem *found)
{
	ItemId lp = PageGetItemId(page, found->item);
	GsScanRow row = {.block = block, .item = found->item, .by_xid = found->by_xid};

	if (found->wrong)
		return found->wrong;
	row.header = (HeapTupleHeader) PageGetItem(page, lp);
	row.len = ItemIdGetLength(lp);
	return state->scan->row(state->scan->arg, &row);
}

static void
use_page(ScanState *state, Page page, BlockNumber block, const PageItem *items, int n)
{
	for (int i = 0; i < n; i++)
	{
		GsScanDamage damage = {.block = block, .item = items[i].item};

		damage.what = use_row(state, page, block, &items[i]);
		if (likely(damage.what == NULL))
			continue;
		bytes_of(page, items[i].item, &damage.bytes, &damage.len);
		state->scan->damage(state->scan->arg, &damage);
	}
}

/* A page that PostgreSQL does not accept, as the file has it. */
static void
use_damaged_page(ScanState *state, Page page, BlockNumber block, const char *what)
{
	GsScanDamage damage = {.block = block, .what = what, .bytes = page, .len = BLCKSZ};
	PageItem items[MaxHeapTuplesPerPage];
	int n = is_sane_header(page) ? examine_page(state, page, items) : 0;

	for (int i = 0; i < n; i++)
	{
		if (use_row(state, page, block, &items[i]) == NULL)
			damage.rows_used++;
		else
			damage.rows_unused++;
	}
	state->scan->damage(state->scan->arg, &damage);
}

static bool
is_all_zero(const char *bytes, Size len)
{
	for (Size i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void
scan_block(ScanState *state, BlockNumber block, BufferAccessStrategy strategy)
{
	Relation rel = state->scan->rel;
	PageItem items[MaxHeapTuplesPerPage];
	int n = 0;
	bool is_new;
	bool is_sane = true;
	Buffer buffer =
		ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_ZERO_ON_ERROR, strategy);
	Page page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	is_new = PageIsNew(page);
	if (!is_new)
	{
		is_sane = is_sane_header(page);
		if (is_sane)
			n = examine_page(state, page, items);
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);

	/* The pin keeps rows where they are. */
	if (!is_new && is_sane)
		use_page(state, page, block, items, n);
	else if (!is_new)
		use_damaged_page(state, page, block, "its header is wrong");
	else
	{
		smgrread(RelationGetSmgr(rel), MAIN_FORKNUM, block, state->raw.data);

		/* unless somebody has begun to use it meanwhile */
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		is_new = PageIsNew(page);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (is_new && !is_all_zero(state->raw.data, BLCKSZ))
			use_damaged_page(state, (Page) state->raw.data, block,
							 "its checksum or its header is wrong");
	}
	ReleaseBuffer(buffer);
}

/*
 * A file that has been cut off within a page: PostgreSQL counts whole pages
 * only, so the rest would go unnoticed.
 */
static void
scan_rest(ScanState *state, BlockNumber nblocks)
{
	Relation rel = state->scan->rel;
	GsScanDamage damage = {.block = nblocks, .what = "the file ends within it"};
	BlockNumber segment = nblocks / (BlockNumber) RELSEG_SIZE;
	off_t offset = (off_t) (nblocks % (BlockNumber) RELSEG_SIZE) * BLCKSZ;
	char *base = GsRelationPath(rel);
	char *path = segment == 0 ? base : psprintf("%s.%u", base, segment);
	struct stat st;
	int fd;
	ssize_t len;

	if (stat(path, &st) != 0 || st.st_size <= offset || st.st_size >= offset + BLCKSZ)
		return;
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return;
	len = pg_pread(fd, state->raw.data, BLCKSZ, offset);
	CloseTransientFile(fd);
	if (len <= 0 || is_all_zero(state->raw.data, len))
		return;
	damage.bytes = state->raw.data;
	damage.len = len;
	state->scan->damage(state->scan->arg, &damage);
}

BlockNumber
gs_scan_blocks(Relation rel)
{
	return RelationGetNumberOfBlocks(rel);
}

void
gs_scan(const GsScan *scan)
{
	ScanState *state = palloc0(sizeof(ScanState));
	/* what is read once need not push others out, nor be pushed in */
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	BlockNumber nblocks = gs_scan_blocks(scan->rel);

	state->scan = scan;
	state->next_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		scan_block(state, block, strategy);
		if (scan->blocks_done)
			pg_atomic_fetch_add_u64(scan->blocks_done, 1);
	}
	scan_rest(state, nblocks);
	FreeAccessStrategy(strategy);
	pfree(state);
}

Size
gs_scan_fetch(Relation rel, BlockNumber block, OffsetNumber item, char *buffer)
{
	Buffer pin;
	Page page;
	const char *bytes;
	Size len = 0;

	if (block >= gs_scan_blocks(rel))
		return 0;
	pin = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_ZERO_ON_ERROR, NULL);
	page = BufferGetPage(pin);
	LockBuffer(pin, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page) && is_sane_header(page) && item <= PageGetMaxOffsetNumber(page))
	{
		bytes_of(page, item, &bytes, &len);
		memcpy(buffer, bytes, len);
	}
	UnlockReleaseBuffer(pin);
	return len;
}
