/*-------------------------------------------------------------------------
 *
 * gs_replay.h
 *	  What the rows of the journal mean: from a row to a change record.
 *
 * Used by whoever reads the journal.  Nothing here trusts a length or a value
 * that comes from a page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_REPLAY_H
#define GS_REPLAY_H

#include "gs_record.h"
#include "gs_table.h"

#include "access/htup.h"

/* A row whose checksum is right; data points into the tuple. */
typedef struct GsJournalRow
{
	int64 seq;
	int32 idx;
	int32 cnt;
	const char *data;
	Size len;
} GsJournalRow;

/*
 * All return NULL, or what is wrong (static text).
 */

/* Take a tuple of a journal table apart. */
extern const char *gs_replay_row(HeapTupleHeader header, Size len, GsJournalRow *row);

/* As gs_record_decode(), and is it a game of ours? */
extern const char *gs_replay_record(const char **p, const char *end, GsRecord *record);

/*
 * Put a record that has been checked into a change: an image makes the change
 * the whole game, an update goes on from what the change says so far, header
 * and state included: it says only what is new.  What is allocated is in CurrentMemoryContext; the rest points to the record's bytes.
 */
extern void gs_replay_image(GsChange *change, const GsRecord *record);
extern const char *gs_replay_update(GsChange *change, const GsRecord *record);

#endif /* GS_REPLAY_H */
