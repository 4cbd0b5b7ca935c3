/*-------------------------------------------------------------------------
 *
 * gs_tick.h
 *	  What light commits leave to be done a little later, by the launcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TICK_H
#define GS_TICK_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "port/atomics.h"

typedef struct GsTick
{
	/*
	 * Atomics, no lock.  next_announcement is a TimestampTz; the flags are set
	 * by light commits and cleared by the launcher before it does the work.
	 */
	pg_atomic_uint64 next_announcement;
	pg_atomic_uint64 last_commit; /* end of the newest record to be announced */
	pg_atomic_uint32 announcement_wanted;
	pg_atomic_uint32 tick_wanted;
} GsTick;

extern void gs_tick_init(GsTick *tick);

/* An asynchronous light commit: let the WAL writer know, now or soon. */
extern void gs_tick_announce(XLogRecPtr lsn);

/* A light commit: a commit record is wanted for point-in-time recovery. */
extern void gs_tick_want(void);

/* For the launcher: do what is due; returns after how many ms to call again, -1 = when woken. */
extern long gs_tick_run(void);

#endif /* GS_TICK_H */
