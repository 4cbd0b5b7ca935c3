/*-------------------------------------------------------------------------
 *
 * gs_idle.h
 *	  Games that nobody plays: inactivity limits, memory pressure, and suspended
 *	  games that nobody resumes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_IDLE_H
#define GS_IDLE_H

#include "gs_database.h"

/* In the archiver: do what is due; returns when to come again, 0 = no policy asks for it. */
extern TimestampTz gs_idle_run(GsDatabase *db);

/* Policies have changed: look at once. */
extern void gs_idle_reset(void);

/* A task of the maintenance worker: abandon games that were suspended for too long. */
extern void gs_idle_abandon_suspended(MemoryContext mcxt);

#endif /* GS_IDLE_H */
