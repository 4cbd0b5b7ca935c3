/*-------------------------------------------------------------------------
 *
 * gs_tablespace.h
 *	  Old partitions of the archive go to another tablespace.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TABLESPACE_H
#define GS_TABLESPACE_H

#include "postgres.h"

/*
 * Move one table or index that is due, in a transaction of its own, and ask for another
 * turn if there are more; ERROR if one could not be moved now.  For the
 * maintenance worker.
 */
extern void gs_tablespace_run(MemoryContext mcxt);

#endif /* GS_TABLESPACE_H */
