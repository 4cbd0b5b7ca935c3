/*-------------------------------------------------------------------------
 *
 * gs_freeze.h
 *	  Freezing and thawing partitions of payloads.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_FREEZE_H
#define GS_FREEZE_H

#include "postgres.h"

/*
 * Tasks of the maintenance worker, in transactions of their own.  Freeze a partition that
 * is due, and ask for another turn if there are more; ERROR if one could not be
 * frozen now, when the others have been tried.
 */
extern void gs_freeze_run(MemoryContext mcxt);

/* Remove files that nothing refers to any more. */
extern void gs_freeze_clean_run(MemoryContext mcxt);

/*
 * For who writes a frozen partition's file anew, within a transaction, connected to SPI
 * as gamestate_owner, with a lock on gamestate.cold_file: a name for it, palloc'd; then,
 * with the partition locked against everybody, that it is the partition's.
 */
extern char *gs_freeze_new_file(Oid relid);
extern void gs_freeze_set_file(Oid relid, const char *file, uint64 bytes, uint64 rows,
							   uint32 checksum);

#endif /* GS_FREEZE_H */
