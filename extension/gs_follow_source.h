/*-------------------------------------------------------------------------
 *
 * gs_follow_source.h
 *	  What is new in the journal's tables on a standby.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_FOLLOW_SOURCE_H
#define GS_FOLLOW_SOURCE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/xlogdefs.h"
#include "storage/itemptr.h"

typedef enum GsSourceResult
{
	GS_SOURCE_READ,		 /* all that was new has been handed out */
	GS_SOURCE_BUSY,		 /* a table is locked: try again soon */
	GS_SOURCE_REWRITTEN, /* the tables are others now: forget everything, start anew */
	GS_SOURCE_GONE		 /* the extension is not there */
} GsSourceResult;

/* Who takes the rows; one that was handed out before may come again. */
typedef struct GsRowSink
{
	void (*row)(int table, const ItemPointerData *tid, HeapTupleHeader header, Size len);
	void (*damaged)(int table, const ItemPointerData *tid, const char *what);
	void (*emptied)(int table); /* its rows are gone, as after a rotation */
} GsRowSink;

/* Begin from nothing: the next read hands out all rows. */
extern void gs_source_reset(void);

/*
 * Hand out what is new, in a transaction.  *upto: all that was replayed before
 * it has been handed out.
 */
extern GsSourceResult gs_source_read(const GsRowSink *sink, XLogRecPtr *upto);

/*
 * Between reads the tables stay locked, so that none gets new storage before
 * its last rows have been read.  Does somebody wait for that?  Then the next
 * read lets go; if there is nothing new to be read, the caller does.
 */
extern bool gs_source_is_awaited(void);
extern void gs_source_let_go(void);

/* After an error, when the transaction, if there was one, has been aborted; at the end. */
extern void gs_source_after_error(void);

/*
 * After an error: was a block being read?  Then it is left out until it is
 * written again, and its place is returned.
 */
extern bool gs_source_leave_out_block(int *table, ItemPointerData *tid);

/*
 * The transaction before which rows of a table may be missing in what was read
 * from nothing: a rotation that has emptied it, perhaps, or something later.
 */
extern TransactionId gs_source_storage_xid(int table);

/* How often all blocks were read because the WAL could not be. */
extern uint64 gs_source_scans(void);

#endif /* GS_FOLLOW_SOURCE_H */
