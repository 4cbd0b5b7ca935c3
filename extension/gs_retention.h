/*-------------------------------------------------------------------------
 *
 * gs_retention.h
 *	  Partitions of the archive that a policy no longer keeps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RETENTION_H
#define GS_RETENTION_H

/*
 * Detach and drop what has expired, in transactions of its own.  All are
 * tried; ERROR if some could not be removed now, the first reason.  For the
 * maintenance worker.
 */
extern void gs_retention_run(MemoryContext mcxt);

#endif /* GS_RETENTION_H */
