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

#include "utils/timestamp.h"

/* One turn; what it allocates is in mcxt.  May raise ERROR. */
extern void gs_repack_run(MemoryContext mcxt);

/* Sleep for as long as gamestate.repack_rate says that so many bytes take, since then. */
extern void gs_repack_keep_pace(int64 bytes, TimestampTz began);

#endif /* GS_REPACK_H */
