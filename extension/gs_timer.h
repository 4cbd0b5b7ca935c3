/*-------------------------------------------------------------------------
 *
 * gs_timer.h
 *	  Things that happen at a time: the queue of a database's timers, and the
 *	  worker that sets them off.
 *
 * Who wants to be called at a time has a GsTimer in shared memory, a part of
 * whatever it is about, and a row in the table of gs_timer_worker.c:
 *
 *	gs_timer_init(timer, GS_TIMER_..., &id);		once
 *	gs_timer_set(db, timer, at);					whenever the time may have changed
 *	gs_timer_remove(db, timer);						before its memory is freed
 *
 * A timer stays queued for the earliest time it was set to; to put off or to
 * take back what it is about costs nothing.  So being called means "look": the
 * function finds out by the id what is really due, and sets the timer again for
 * what is not.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TIMER_H
#define GS_TIMER_H

#include "gs_database.h"

#include "lib/pairingheap.h"
#include "port/atomics.h"

typedef enum GsTimerKind
{
	GS_TIMER_DEADLINE = 0, /* of a game; id: the game's (gs_deadline.c) */
	GS_TIMER_LEASE,		   /* of an owner of games; no id (gs_lease.c) */
	GS_TIMER_PRESENCE,	   /* of a player in a game; id: its owner's choice */
	GS_TIMER_KINDS
} GsTimerKind;

/* In shared memory at an address that does not change while it is queued. */
typedef struct GsTimer
{
	pairingheap_node node; /* protected by timers_lock of the database */

	/*
	 * For when it is queued; 0 = it is not.  Changed with timers_lock held.  May be
	 * read without it by who holds a lock that the function which is called
	 * takes to find out what is due.
	 */
	pg_atomic_uint64 at;
	pg_uuid_t id;	  /* set once; all zero = none */
	uint8 kind;		  /* GsTimerKind; set once */
	uint8 tries;	  /* in vain, in a row; protected by timers_lock */
	uint16 unused[3]; /* no padding: sizes are counted */
} GsTimer;

/* ---- the queue: gs_timer.c.  None of these can fail. ---- */

extern void gs_timers_init(GsDatabase *db); /* at start */

extern void gs_timer_init(GsTimer *timer, GsTimerKind kind, const pg_uuid_t *id);

/*
 * It is due at a time: wakes the worker if that would come too late, asks for
 * one if there is none.  May be called with any of our locks held, and in a
 * critical section.
 */
extern void gs_timer_set(GsDatabase *db, GsTimer *timer, TimestampTz at);

/*
 * For who is called: what was due could not be done.  Somebody was in the way:
 * look a little later; it has failed: later, and later still each time.
 */
extern void gs_timer_again(GsDatabase *db, GsTimer *timer, bool failed);

extern void gs_timer_remove(GsDatabase *db, GsTimer *timer);

/* How many are queued, and for when the first; DT_NOEND = there is none. */
extern TimestampTz gs_timers_next(GsDatabase *db, uint32 *n);

/* For the launcher: is there anything to time?  No lock. */
static inline bool
gs_timers_any(GsDatabase *db)
{
	return pg_atomic_read_u32(&db->ntimers) > 0;
}

/* ---- for the worker ---- */

typedef struct GsTimerDue
{
	pg_uuid_t id;
	uint8 kind;
	TimestampTz at;
} GsTimerDue;

/* Take up to max timers that are due out of the queue. */
extern int gs_timers_take(GsDatabase *db, TimestampTz now, GsTimerDue *due, int max);

/*
 * There is a worker.  It wants to sleep: *next = until when, DT_NOEND = there is no
 * timer; false: not at all, something is due.  It ends; with only_if_empty
 * false if it must not.
 */
extern void gs_timers_begin(GsDatabase *db);
extern bool gs_timers_sleep(GsDatabase *db, TimestampTz now, TimestampTz *next);
extern bool gs_timers_end(GsDatabase *db, bool only_if_empty);

/*
 * ---- the worker: gs_timer_worker.c ----
 *
 * What it calls for the timers of a kind that were due.  It holds no lock and has
 * no transaction; the function has one of its own if it needs one
 * (gs_worker_begin()), and returns how much it has done.  If it fails, it is
 * called again for each timer alone.  "again" is for what has failed then, or was
 * not come to: gs_timer_again(), if what the timer is about is still there; it
 * cannot fail.
 */
typedef struct GsTimerClass
{
	const char *what; /* "could not ..." */
	int (*run)(GsDatabase *db, const GsTimerDue *due, int n);
	void (*again)(GsDatabase *db, const GsTimerDue *due, bool failed);
} GsTimerClass;

extern PGDLLEXPORT void gs_timer_main(Datum main_arg);

#endif /* GS_TIMER_H */
