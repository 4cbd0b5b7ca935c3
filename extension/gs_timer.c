/*-------------------------------------------------------------------------
 *
 * gs_timer.c
 *	  Things that happen at a time: the queue of a database's timers.
 *
 * The model:
 *	1. Timers lie in shared memory, each a part of what it is about or an
 *	   allocation of its own, so there is nothing to run out of here.  The queue
 *	   of a database is a pairing heap of them: to add one costs O(1), to take
 *	   out the first O(log n), in the long run.
 *	2. A timer is queued for the earliest time it was set to since it was last
 *	   taken out.  Most of what is timed is put off before it is due: a move
 *	   sets the next deadline, a heartbeat comes.  That must cost the players
 *	   nothing, so the timer stays where it is: when it is due the worker looks
 *	   what is true by then, and sets it again.  Only a time that is earlier
 *	   takes the lock.
 *	3. The worker says until when it sleeps.  Who sets a timer for a time before
 *	   that wakes it.
 *	4. The first timer of a database asks the launcher for a worker, and the
 *	   worker leaves a while after the last one was taken.
 *
 * Locking: timers_lock of the database protects all this; nothing is taken
 * while it is held (gs_shmem.h).  That a timer's time may be read without it
 * needs a word.  Who changes what is due holds a lock that the worker takes to
 * find that out (for a game its partition of the hash table).  The worker takes
 * a timer out first and looks then; so either it sees the change, or who makes
 * it sees that the timer is out, and sets it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_timer.h"
#include "gs_worker.h"

#include "access/xlog.h"
#include "utils/timestamp.h"

/* What somebody is in the way of is tried again after this, doubled up to that. */
#define AGAIN_FIRST_MS 10
#define AGAIN_LAST_MS  250

/* The worker will look itself before it sleeps; or there is none. */
#define NOBODY_SLEEPS DT_NOBEGIN

static inline TimestampTz
time_of(const GsTimer *timer)
{
	return (TimestampTz) pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &timer->at));
}

/* The heap has the largest first: the earliest time is the largest. */
static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz first = time_of(pairingheap_const_container(GsTimer, node, a));
	TimestampTz second = time_of(pairingheap_const_container(GsTimer, node, b));

	return first < second ? 1 : first > second ? -1 : 0;
}

/*
 * The heap as PostgreSQL's functions want it: a function's address is no thing
 * for shared memory.  The caller holds the lock, here and in what follows.
 */
static inline pairingheap
open_heap(const GsDatabase *db)
{
	return (pairingheap){.ph_compare = compare_timers, .ph_root = db->timers};
}

static inline void
close_heap(GsDatabase *db, const pairingheap *heap)
{
	db->timers = heap->ph_root;
}

static void
add(GsDatabase *db, GsTimer *timer, TimestampTz at)
{
	pairingheap heap = open_heap(db);

	pg_atomic_write_u64(&timer->at, (uint64) at);
	pairingheap_add(&heap, &timer->node);
	close_heap(db, &heap);
	pg_atomic_write_u32(&db->ntimers, pg_atomic_read_u32(&db->ntimers) + 1);
}

static void
take_out(GsDatabase *db, GsTimer *timer)
{
	pairingheap heap = open_heap(db);

	pairingheap_remove(&heap, &timer->node);
	close_heap(db, &heap);
	pg_atomic_write_u64(&timer->at, 0);
	pg_atomic_write_u32(&db->ntimers, pg_atomic_read_u32(&db->ntimers) - 1);
}

void
gs_timers_init(GsDatabase *db)
{
	LWLockInitialize(&db->timers_lock, GsShmem->timers_tranche);
	pg_atomic_init_u32(&db->ntimers, 0);
	db->timers = NULL;
	db->timers_sleep = NOBODY_SLEEPS;
	db->timers_worker = false;
}

void
gs_timer_init(GsTimer *timer, GsTimerKind kind, const pg_uuid_t *id)
{
	memset(timer, 0, sizeof(GsTimer));
	pg_atomic_init_u64(&timer->at, 0);
	timer->kind = kind;
	if (id)
		timer->id = *id;
}

/* 0 would mean that it is not queued */
static inline TimestampTz
valid_time(TimestampTz at)
{
	return at == 0 ? 1 : at;
}

void
gs_timer_set(GsDatabase *db, GsTimer *timer, TimestampTz at)
{
	TimestampTz queued = time_of(timer);
	bool ask;
	bool early;

	at = valid_time(at);
	if (likely(queued != 0 && queued <= at))
		return;
	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	queued = time_of(timer);
	if (queued != 0 && queued <= at)
	{
		LWLockRelease(&db->timers_lock);
		return;
	}
	ask = db->timers == NULL && !db->timers_worker;
	if (queued != 0)
		take_out(db, timer);
	timer->tries = 0;
	add(db, timer, at);
	early = at < db->timers_sleep;
	if (early)
		db->timers_sleep = NOBODY_SLEEPS; /* one signal is enough */
	LWLockRelease(&db->timers_lock);
	if (early)
		gs_worker_wake_timer(db);

	/* on a standby nobody is to do what its primary does */
	if (ask && !RecoveryInProgress())
		gs_worker_wake_launcher();
}

/* By the worker itself, which nobody has to wake. */
void
gs_timer_again(GsDatabase *db, GsTimer *timer, bool failed)
{
	TimestampTz now = GetCurrentTimestamp();
	int delay;

	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	if (time_of(timer) == 0)
	{
		if (timer->tries < PG_UINT8_MAX)
			timer->tries++;
		delay = failed ? gs_worker_backoff(timer->tries)
					   : Min(AGAIN_FIRST_MS << Min(timer->tries - 1, 8), AGAIN_LAST_MS);
		add(db, timer, TimestampTzPlusMilliseconds(now, delay));
	}
	LWLockRelease(&db->timers_lock);
}

void
gs_timer_remove(GsDatabase *db, GsTimer *timer)
{
	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	if (time_of(timer) != 0)
		take_out(db, timer);
	LWLockRelease(&db->timers_lock);
}

static GsTimer *
first_timer(const GsDatabase *db)
{
	return db->timers ? pairingheap_container(GsTimer, node, db->timers) : NULL;
}

TimestampTz
gs_timers_next(GsDatabase *db, uint32 *n)
{
	GsTimer *timer;
	TimestampTz next;

	LWLockAcquire(&db->timers_lock, LW_SHARED);
	timer = first_timer(db);
	next = timer ? time_of(timer) : DT_NOEND;
	*n = pg_atomic_read_u32(&db->ntimers);
	LWLockRelease(&db->timers_lock);
	return next;
}

/* ----------------------------------------------------------------
 *		For the worker
 * ----------------------------------------------------------------
 */

int
gs_timers_take(GsDatabase *db, TimestampTz now, GsTimerDue *due, int max)
{
	int n = 0;
	GsTimer *timer;

	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	while (n < max && (timer = first_timer(db)) != NULL && time_of(timer) <= now)
	{
		due[n].id = timer->id;
		due[n].kind = timer->kind;
		due[n++].at = time_of(timer);
		take_out(db, timer);
	}
	LWLockRelease(&db->timers_lock);
	return n;
}

void
gs_timers_begin(GsDatabase *db)
{
	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	db->timers_worker = true;
	db->timers_sleep = NOBODY_SLEEPS;
	LWLockRelease(&db->timers_lock);
}

bool
gs_timers_sleep(GsDatabase *db, TimestampTz now, TimestampTz *next)
{
	GsTimer *timer;

	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	timer = first_timer(db);
	*next = timer ? time_of(timer) : DT_NOEND;
	db->timers_sleep = *next > now ? *next : NOBODY_SLEEPS;
	LWLockRelease(&db->timers_lock);
	return *next > now;
}

bool
gs_timers_end(GsDatabase *db, bool only_if_empty)
{
	bool end;

	LWLockAcquire(&db->timers_lock, LW_EXCLUSIVE);
	end = !only_if_empty || db->timers == NULL;
	if (end)
	{
		db->timers_worker = false;
		db->timers_sleep = NOBODY_SLEEPS;
	}
	LWLockRelease(&db->timers_lock);
	return end;
}
