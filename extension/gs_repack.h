/*-------------------------------------------------------------------------
 *
 * gs_repack.h
 *	  Rewriting closed partitions of payloads; a task of the maintenance worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_REPACK_H
#define GS_REPACK_H

#include "postgres.h"

/* One turn; what it allocates is in mcxt.  May raise ERROR. */
extern void gs_repack_run(MemoryContext mcxt);

#endif /* GS_REPACK_H */
