/*-------------------------------------------------------------------------
 *
 * gs_settled.h
 *	  Which partitions of the archive everybody is known to know.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SETTLED_H
#define GS_SETTLED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/lock.h"

/* Who holds a lock on a table; in CurrentMemoryContext. */
extern VirtualTransactionId *gs_settled_lockers(const char *root, int *n);

/* Forget those at the end of the list who have ended; how many are left. */
extern int gs_settled_still_running(const VirtualTransactionId *vxids, int n);

/*
 * Was the partition attached before all have ended who may not know it, as any
 * archiver of this database has found out since the server started?  In a
 * transaction.
 */
extern bool gs_settled_is_known(Oid leaf);

/* There are new partitions. */
extern void gs_settled_want(void);

/* When gs_settled_look() is due, which needs a transaction; 0 = not that we know. */
extern TimestampTz gs_settled_due(void);
extern void gs_settled_look(void);

#endif /* GS_SETTLED_H */
