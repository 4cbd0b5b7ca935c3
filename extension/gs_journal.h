/*-------------------------------------------------------------------------
 *
 * gs_journal.h
 *	  The journal: the durable copy of running games, two ordinary tables.
 *
 * A row of a journal table:
 *
 *	seq		bigint	commit sequence: the rows of one transaction are a group
 *	idx		integer	0 .. cnt - 1
 *	cnt		integer	number of rows of the group
 *	data	bytea	CRC-32C of seq, idx, cnt and what follows (4 bytes, as the
 *					machine stores it), then a piece of the group
 *
 * The pieces of a group, in the order of idx, are the records of all games
 * that the transaction changed (gs_record.h), one after another.  A group that
 * is not whole is ignored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_JOURNAL_H
#define GS_JOURNAL_H

#include "gs_record.h"
#include "gs_table.h"

#include "utils/relcache.h"

/* From the pre-commit callback, after everything has been reserved; may fail. */
extern void gs_journal_begin(MemoryContext mcxt);
extern void gs_journal_add(GsChange *change);

/*
 * Insert the rows, or, for a light commit, prepare them (gs_light.h).  Returns
 * whether they are prepared; groups of too many rows never are.
 */
extern bool gs_journal_write(uint64 seq, bool light);

/* Is this change to be journaled at all? */
extern bool gs_journal_wants(const GsChange *change);

/* A whole game as a record of kind image; its runs are allocated in mcxt. */
extern void gs_journal_image(const GsGameCopy *copy, GsRecord *record,
							 MemoryContext mcxt);

/* The journal tables of this database, from the catalogs; ERROR if they are not there. */
extern void gs_journal_oids(Oid *oids);

/* Is a journal table still what this code can write?  ERROR if not. */
extern void gs_journal_check(Relation rel);

/* Lock and open the active table, whose number goes to *which. */
extern Relation gs_journal_open(struct GsDatabase *db, uint32 *which);

/* CRC-32C of a row: its fixed part and the piece. */
extern uint32 gs_journal_crc(int64 seq, int32 idx, int32 cnt, const char *data, Size len);

enum
{
	GS_JOURNAL_SEQ = 1,
	GS_JOURNAL_IDX,
	GS_JOURNAL_CNT,
	GS_JOURNAL_DATA,
	GS_JOURNAL_NATTS = GS_JOURNAL_DATA
};

/* Columns that were added and dropped again stay in the table for good. */
#define GS_JOURNAL_MAX_NATTS 32

/* GsGame.image_in: no table's image and updates together give this game, see gs_load.c */
#define GS_IMAGE_NONE 0xFF

#define GS_JOURNAL_CRC_SIZE ((Size) sizeof(uint32))

/* ---- gs_rotate.c ---- */

/* Bytes in the active table beyond which the journal is rotated. */
extern uint64 gs_rotate_limit(struct GsDatabase *db);

/*
 * From the archiver, at least as often as it says: rotate the journal a little,
 * if it is time to.  Returns when to be called again; 0 = when there is reason to.
 * An error is no reason to stop: what was done counts.
 */
extern TimestampTz gs_rotate(struct GsDatabase *db);

/* From the archiver: empty pages for those who play, if they need some (gs_pages.h). */
extern void gs_rotate_make_room(struct GsDatabase *db);

#endif /* GS_JOURNAL_H */
