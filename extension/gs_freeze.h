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

#endif /* GS_FREEZE_H */
