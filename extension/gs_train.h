/*-------------------------------------------------------------------------
 *
 * gs_train.h
 *	  Training of compression dictionaries; a task of the maintenance worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TRAIN_H
#define GS_TRAIN_H

#include "postgres.h"

/* One turn; what it allocates is in mcxt.  May raise ERROR. */
extern void gs_train_run(MemoryContext mcxt);

#endif /* GS_TRAIN_H */
