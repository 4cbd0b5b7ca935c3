/*-------------------------------------------------------------------------
 *
 * gs_feed_waiters.c
 *	  Who waits for changes, and how they are woken.
 *
 * The model:
 *	1. A session that finds nothing in the feed enters: it takes a slot and says
 *	   what it wants, by database, game type and game ids.
 *	2. Before each sleep it is armed: it sets its bit, then looks into the feed
 *	   once more.  A writer publishes, then looks for bits.  So one of the two
 *	   sees the other.  Who takes the bit away sets the latch: a waiter is woken
 *	   once, however many changes come until it has looked.
 *	3. A writer must not look at each waiter for each change.  Waiters are bits
 *	   of words; for each class of game ids (a hash) there is such a set of
 *	   those who want one of the class.  So who may want a change of a game is
 *	   armed & (all games | class): a few words, and of these only database, types
 *	   and, of who wants no more than a few games, the hashes of their ids are
 *	   compared.  Who wants some games and besides all of some types is in both
 *	   sets.  A waiter woken for nothing sleeps again.
 *	4. What is pending (gs_feed.c) is published by its writer, as a rule.  For
 *	   the rest one of those who sleep is the poller: it sleeps shortly.  When it
 *	   leaves, it wakes another one to take over.
 *
 * Locking: none, only atomics.  A slot's fields are written by its owner before
 * its bit is set for the first time; who reads those of an owner before wakes
 * somebody for nothing, at worst.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_feed.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

/* For more changes at once everybody is woken. */
#define WAKE_FOR_AT_ONCE 64

/* So many game ids are most of the classes anyway. */
#define MAX_CLASSIFIED_IDS GS_FEED_ID_CLASSES

/* Of more game types a waiter is woken for all. */
#define MAX_TYPES 8

/* Of so many ids the hashes are known; of more, only their classes. */
#define MAX_HASHES 8

/* A session that waits; its index is that of its bit. */
typedef struct GsFeedWaiter
{
	Oid dboid;
	bool either;			 /* as the filter's */
	int ntypes;				 /* 0 = all */
	uint32 types[MAX_TYPES]; /* hashes */
	int proc;				 /* index in ProcGlobal->allProcs */
	int nhashes;			 /* 0 = not known */
	uint32 hashes[MAX_HASHES];
	pg_atomic_uint64 next; /* number of the row that it reads next */
} GsFeedWaiter;

/* Followed by the sets, then by the waiters. */
typedef struct GsFeedWaiters
{
	/* set once, at start */
	int words; /* of a set */
	pg_atomic_uint64 *used;
	pg_atomic_uint64 *armed;
	pg_atomic_uint64 *all_games;
	pg_atomic_uint64 *classes; /* GS_FEED_ID_CLASSES sets */
	GsFeedWaiter *waiters;

	pg_atomic_uint32 nused;
	pg_atomic_uint32 narmed;
	pg_atomic_uint32 poller; /* its index + 1; 0 = none */
	pg_atomic_uint64 wakeups;
} GsFeedWaiters;

#define NSETS (3 + GS_FEED_ID_CLASSES)

static GsFeedWaiters *shared = NULL;

/* this session's own */
static int mine = -1;
static bool mine_all_games;
static bool mine_classified;
static uint64 mine_classes[GS_FEED_ID_CLASSES / 64];

static int
set_words(void)
{
	return (gs_max_waiters + 63) / 64;
}

Size
gs_feed_waiters_shmem_size(void)
{
	Size size = MAXALIGN(sizeof(GsFeedWaiters));

	size = add_size(size, mul_size(sizeof(pg_atomic_uint64) * NSETS, set_words()));
	return add_size(size, mul_size(sizeof(GsFeedWaiter), gs_max_waiters));
}

void
gs_feed_waiters_shmem_init(bool found)
{
	bool found_waiters;
	pg_atomic_uint64 *sets;

	shared = ShmemInitStruct("gamestate feed waiters", gs_feed_waiters_shmem_size(),
							 &found_waiters);
	mine = -1;
	if (found)
		return;
	memset(shared, 0, sizeof(GsFeedWaiters));
	shared->words = set_words();
	sets = (pg_atomic_uint64 *) ((char *) shared + MAXALIGN(sizeof(GsFeedWaiters)));
	for (int i = 0; i < NSETS * shared->words; i++)
		pg_atomic_init_u64(&sets[i], 0);
	shared->used = sets;
	shared->armed = sets + shared->words;
	shared->all_games = sets + 2 * shared->words;
	shared->classes = sets + 3 * shared->words;
	shared->waiters = (GsFeedWaiter *) (sets + NSETS * shared->words);
	memset(shared->waiters, 0, sizeof(GsFeedWaiter) * gs_max_waiters);
	for (int i = 0; i < gs_max_waiters; i++)
		pg_atomic_init_u64(&shared->waiters[i].next, 0);
	pg_atomic_init_u32(&shared->nused, 0);
	pg_atomic_init_u32(&shared->narmed, 0);
	pg_atomic_init_u32(&shared->poller, 0);
	pg_atomic_init_u64(&shared->wakeups, 0);
}

/* ----------------------------------------------------------------
 *		Sets
 * ----------------------------------------------------------------
 */

static inline uint64
bit_of(int i)
{
	return UINT64CONST(1) << (i % 64);
}

static inline pg_atomic_uint64 *
class_set(uint32 class)
{
	return shared->classes + (Size) class * shared->words;
}

static void
put_in(pg_atomic_uint64 *set, int i)
{
	(void) pg_atomic_fetch_or_u64(&set[i / 64], bit_of(i));
}

/* Returns whether it was in. */
static bool
take_out(pg_atomic_uint64 *set, int i)
{
	return (pg_atomic_fetch_and_u64(&set[i / 64], ~bit_of(i)) & bit_of(i)) != 0;
}

/* ----------------------------------------------------------------
 *		Waking
 * ----------------------------------------------------------------
 */

bool
gs_feed_any_asleep(void)
{
	return pg_atomic_read_u32(&shared->narmed) > 0;
}

static void
wake(int i)
{
	if (!take_out(shared->armed, i))
		return;
	(void) pg_atomic_fetch_sub_u32(&shared->narmed, 1);
	(void) pg_atomic_fetch_add_u64(&shared->wakeups, 1);
	SetLatch(&ProcGlobal->allProcs[shared->waiters[i].proc].procLatch);
}

/* All of a database; InvalidOid: all. */
static void
wake_all(Oid dboid)
{
	for (int word = 0; word < shared->words; word++)
	{
		uint64 bits = pg_atomic_read_u64(&shared->armed[word]);

		for (; bits != 0; bits &= bits - 1)
		{
			int i = word * 64 + pg_rightmost_one_pos64(bits);

			if (!OidIsValid(dboid) || shared->waiters[i].dboid == dboid)
				wake(i);
		}
	}
}

static bool
is_among(const uint32 *hashes, int n, uint32 hash)
{
	for (int i = 0; i < n; i++)
		if (hashes[i] == hash)
			return true;
	return false;
}

/* The lengths are another owner's perhaps, but never more than there is room for. */
static bool
wants(const GsFeedWaiter *waiter, const GsFeedKeys *keys, bool is_of_class)
{
	bool is_of_type =
		waiter->ntypes == 0 || is_among(waiter->types, waiter->ntypes, keys->type_hash);
	bool is_one =
		waiter->nhashes == 0 || is_among(waiter->hashes, waiter->nhashes, keys->id_hash);

	if (waiter->dboid != keys->dboid)
		return false;
	if (waiter->either)
		return is_of_type || (is_of_class && is_one);
	return is_of_type && is_one;
}

static void
wake_for_keys(const GsFeedKeys *keys)
{
	pg_atomic_uint64 *class = class_set(keys->id_hash % GS_FEED_ID_CLASSES);

	for (int word = 0; word < shared->words; word++)
	{
		uint64 bits = pg_atomic_read_u64(&shared->armed[word]);
		uint64 of_class = 0;

		if (bits != 0)
		{
			/* what the armed ones had written before */
			pg_read_barrier();
			of_class = pg_atomic_read_u64(&class[word]);
			bits &= pg_atomic_read_u64(&shared->all_games[word]) | of_class;
		}
		for (; bits != 0; bits &= bits - 1)
		{
			int i = word * 64 + pg_rightmost_one_pos64(bits);

			if (wants(&shared->waiters[i], keys, (of_class & bit_of(i)) != 0))
				wake(i);
		}
	}
}

void
gs_feed_wake_for(uint64 from, uint64 to)
{
	if (to - from > WAKE_FOR_AT_ONCE)
	{
		wake_all(InvalidOid);
		return;
	}
	for (; from < to; from++)
	{
		GsFeedKeys keys;

		if (!gs_feed_keys(from, &keys))
		{
			wake_all(InvalidOid);
			return;
		}
		if (keys.is_gap)
			wake_all(keys.dboid);
		else
			wake_for_keys(&keys);
	}
}

void
gs_feed_wake_poller(void)
{
	if (pg_atomic_read_u32(&shared->poller) != 0)
		return;
	for (int word = 0; word < shared->words; word++)
	{
		uint64 bits = pg_atomic_read_u64(&shared->armed[word]);

		if (bits != 0)
		{
			wake(word * 64 + pg_rightmost_one_pos64(bits));
			return;
		}
	}
}

/* ----------------------------------------------------------------
 *		Waiting
 * ----------------------------------------------------------------
 */

static _Noreturn void
too_many(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("too many sessions wait for changes"),
			 errdetail("gamestate.max_waiters is %d.", gs_max_waiters),
			 errhint("Let one session wait for all games of a game server, or raise gamestate.max_waiters and restart the server.")));
}

static int
take_slot(void)
{
	for (int i = 0; i < gs_max_waiters; i++)
	{
		uint64 bits = pg_atomic_read_u64(&shared->used[i / 64]);

		while ((bits & bit_of(i)) == 0)
			if (pg_atomic_compare_exchange_u64(&shared->used[i / 64], &bits,
											   bits | bit_of(i)))
				return i;
	}
	too_many();
}

void
gs_feed_waiter_enter(const GsFeedFilter *filter)
{
	GsFeedWaiter *waiter;

	Assert(mine < 0);
	mine = take_slot();
	waiter = &shared->waiters[mine];
	(void) pg_atomic_fetch_add_u32(&shared->nused, 1);
	waiter->dboid = filter->dboid;
	waiter->proc = MyProc - ProcGlobal->allProcs;
	waiter->either = filter->either;
	waiter->ntypes = filter->ntypes <= MAX_TYPES ? filter->ntypes : 0;
	waiter->nhashes = filter->nids > 0 && filter->nids <= MAX_HASHES ? filter->nids : 0;
	mine_classified = filter->nids >= 0 && filter->nids <= MAX_CLASSIFIED_IDS;
	if (filter->either && filter->nids >= 0 && !mine_classified)
		waiter->ntypes = 0;
	for (int i = 0; i < waiter->ntypes; i++)
		waiter->types[i] = filter->types[i].hash;
	for (int i = 0; i < waiter->nhashes; i++)
		waiter->hashes[i] = gs_feed_hash(&filter->ids[i], UUID_LEN);
	mine_all_games = filter->either || !mine_classified;
	if (mine_all_games)
		put_in(shared->all_games, mine);
	if (!mine_classified)
		return;
	memcpy(mine_classes, filter->classes, sizeof(mine_classes));
	for (int word = 0; word < (int) lengthof(mine_classes); word++)
		for (uint64 bits = mine_classes[word]; bits != 0; bits &= bits - 1)
			put_in(class_set(word * 64 + pg_rightmost_one_pos64(bits)), mine);
}

void
gs_feed_waiter_arm(uint64 number)
{
	pg_atomic_write_u64(&shared->waiters[mine].next, number);
	if ((pg_atomic_read_u64(&shared->armed[mine / 64]) & bit_of(mine)) == 0)
	{
		/* counted first: who sees no one counted sees no bit */
		(void) pg_atomic_fetch_add_u32(&shared->narmed, 1);
		put_in(shared->armed, mine);
	}
	pg_memory_barrier();
}

bool
gs_feed_waiter_polls(bool pending)
{
	uint32 me = (uint32) mine + 1;
	uint32 none = 0;

	if (pending)
		return pg_atomic_read_u32(&shared->poller) == me ||
			   pg_atomic_compare_exchange_u32(&shared->poller, &none, me);
	if (pg_atomic_read_u32(&shared->poller) == me)
		pg_atomic_write_u32(&shared->poller, 0);
	return false;
}

/* Of an armed one nobody may be left with his latch to be set. */
void
gs_feed_waiter_leave(void)
{
	int i = mine;

	if (i < 0)
		return;
	if (take_out(shared->armed, i))
		(void) pg_atomic_fetch_sub_u32(&shared->narmed, 1);
	if (mine_all_games)
		(void) take_out(shared->all_games, i);
	if (mine_classified)
		for (int word = 0; word < (int) lengthof(mine_classes); word++)
			for (uint64 bits = mine_classes[word]; bits != 0; bits &= bits - 1)
				(void) take_out(class_set(word * 64 + pg_rightmost_one_pos64(bits)), i);
	if (pg_atomic_read_u32(&shared->poller) == (uint32) i + 1)
	{
		pg_atomic_write_u32(&shared->poller, 0);
		pg_memory_barrier();
		if (gs_feed_pending())
			gs_feed_wake_poller();
	}
	shared->waiters[i].dboid = InvalidOid;
	mine = -1;
	(void) take_out(shared->used, i);
	(void) pg_atomic_fetch_sub_u32(&shared->nused, 1);
}

/* ----------------------------------------------------------------
 *		Looking at them
 * ----------------------------------------------------------------
 */

bool
gs_feed_has_waiters(Oid dboid)
{
	if (pg_atomic_read_u32(&shared->nused) == 0)
		return false;
	for (int i = 0; i < gs_max_waiters; i++)
		if (shared->waiters[i].dboid == dboid)
			return true;
	return false;
}

void
gs_feed_waiters_get_stat(Oid dboid, GsFeedWaitersStat *stat)
{
	stat->waiters = 0;
	stat->asleep = pg_atomic_read_u32(&shared->narmed);
	stat->wakeups = pg_atomic_read_u64(&shared->wakeups);
	stat->any = false;
	stat->slowest = PG_UINT64_MAX;
	for (int i = 0; i < gs_max_waiters; i++)
	{
		if ((pg_atomic_read_u64(&shared->used[i / 64]) & bit_of(i)) == 0)
			continue;
		stat->waiters++;
		if (shared->waiters[i].dboid != dboid)
			continue;
		stat->any = true;
		stat->slowest = Min(stat->slowest, pg_atomic_read_u64(&shared->waiters[i].next));
	}
}
