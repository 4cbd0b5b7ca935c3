/*-------------------------------------------------------------------------
 *
 * gs_feed.c
 *	  The change feed: a ring of what has happened to games.
 *
 * The model:
 *	1. Every committed change of a game becomes a row of the ring, in the step
 *	   that makes it visible (gs_writeset.c; on a standby gs_follow_groups.c)
 *	   and while its game is locked.  That cannot fail: the ring has a fixed
 *	   size and overwrites what is oldest.
 *	2. The rows of one transaction are a group: one piece of the data ring.  A
 *	   group is in the feed when it has been published: then each of its rows
 *	   has a number, and the order ring says where the row of a number is.
 *	   Numbers grow by one; a position is a number (see 6).
 *	3. Nobody is told what a crash can take back.  A group whose writer waits
 *	   for a flush or a standby is published when that has happened, and until
 *	   then stands in a lane: one for each level of synchronous_commit, each in
 *	   the order of commit.  So a commit that waits for a slow standby does not
 *	   hold up those that ask for less.  Groups that need not wait (off, games
 *	   of durability memory, commits with a transaction id, which have waited
 *	   before) are published at once.
 *	4. For one game the order of rows is that of its versions.  A change that
 *	   comes while an earlier one of its game is still in a lane goes into the
 *	   same lane, or a stronger one (choose_lane()).  If it goes into a stronger
 *	   one, it waits for what the weaker one waits for as well; and lanes are
 *	   published from the weakest to the strongest.  Games are known here by the
 *	   class of their id's hash, so that a deleted id and its next use keep their
 *	   order, too.
 *	5. Who publishes?  Each append does, as far as its backend knows of
 *	   durability; the writer after its own wait, when somebody is waiting; a
 *	   waiter before it reads.  When a wait was cancelled, one of the waiters
 *	   polls (gs_feed_waiters.c).
 *	6. Positions say which feed they belong to: numbers start at a random one
 *	   of 2^61, other in each database and after each start, so one of another
 *	   feed is almost certainly outside of what the ring has.
 *	7. What a reader must not miss and cannot be given is a gap: he has been
 *	   overrun; a group was too large, or was overwritten in its lane; the games
 *	   of a database have been loaded anew.  The last two are rows of the feed.
 *
 * Locking: writers of the ring hold feed->lock, the last of all locks
 * (gs_shmem.h); only while looking up to where the WAL is durable core's
 * SyncRepLock is taken under it.  Readers hold nothing: they read up to
 * "published", copy, and then see by "floor", which is raised before anything is
 * overwritten, whether what they have copied was still there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_feed.h"
#include "gs_shmem.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* A group may take this part of the ring, an event that part. */
#define GROUP_PART 4
#define EVENT_PART 16

/* Bytes of data for each entry of the order ring: no row takes less. */
#define BYTES_PER_ROW 64

/* One bit of a position says that it is one, the others are the number's. */
#define POSITION_BITS 61

#define NOWHERE PG_UINT64_MAX

#define LANES GS_DURABLE_LEVELS /* the first is not used: published at once */

/* Games of one class keep their order. */
#define CLASSES 4096

/* Instead of a class: the row concerns everybody. */
#define NO_GAME PG_UINT16_MAX

StaticAssertDecl(GS_FEED_ID_CLASSES <= NO_GAME, "classes of ids must fit into 16 bits");

/*
 * Header of a group, in the data ring, aligned to 8 bytes; its rows follow.
 * Places in the ring grow for ever, like WAL positions.
 */
typedef struct GsFeedGroup
{
	uint64 next;	/* in the lane; protected by lock */
	XLogRecPtr lsn; /* what has to be durable ... */
	uint32 size;	/* with the header */
	uint32 nrows;
	uint32 level; /* ... in this sense; 0 = nothing */
	uint32 unused;
} GsFeedGroup;

StaticAssertDecl(sizeof(GsFeedGroup) == 32, "groups of the feed are aligned to 8 bytes");

/* Protected by lock. */
typedef struct GsFeedLane
{
	uint64 first; /* NOWHERE = empty */
	uint64 last;
	XLogRecPtr max_lsn; /* of all groups that ever were in it */
} GsFeedLane;

/* Where the last groups are that have changed a game of a class; protected by lock. */
typedef struct GsFeedClass
{
	uint64 last[LANES]; /* by lane; what is before the first in the lane is published */
} GsFeedClass;

typedef struct GsFeed
{
	/* set once, at start */
	uint64 base; /* of the numbers */
	uint64 size; /* of the data ring, bytes */
	uint64 order_mask;
	Size event_limit;
	uint64 *order; /* places of rows, by number */
	uint16 *ids;   /* classes of their games' ids, or NO_GAME; likewise */
	char *data;

	LWLock lock;

	/* changed with lock held, read without */
	pg_atomic_uint64 published; /* number of the next row */
	pg_atomic_uint64 floor;		/* what is before this has been overwritten */
	pg_atomic_uint32 pending;	/* groups in all lanes */

	/* protected by lock */
	uint64 end; /* place of the next group */
	uint64 bytes;
	uint64 lost;
	XLogRecPtr
		durable[LANES]; /* as far as anybody knows; never more for a stronger level */
	GsFeedLane lanes[LANES];
	GsFeedClass classes[CLASSES];

	/* no lock: up to this number who waits has been woken; gaps told to readers */
	pg_atomic_uint64 woken;
	pg_atomic_uint64 gaps;
} GsFeed;

static GsFeed *feed = NULL;

/* changes of the transaction that is being committed */
static GsChange *first_change = NULL;
static GsChange *last_change = NULL;

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

static uint64
data_size(void)
{
	return (uint64) gs_feed_size * 1024;
}

static uint64
order_entries(void)
{
	return pg_nextpower2_64(data_size() / BYTES_PER_ROW);
}

Size
gs_feed_shmem_size(void)
{
	Size size = MAXALIGN(sizeof(GsFeed));

	size = add_size(size, mul_size(sizeof(uint64) + sizeof(uint16), order_entries()));
	size = add_size(size, data_size());
	return add_size(size, gs_feed_waiters_shmem_size());
}

static void
init_lanes(void)
{
	for (int i = 0; i < LANES; i++)
	{
		feed->lanes[i].first = feed->lanes[i].last = NOWHERE;
	}
}

void
gs_feed_shmem_init(bool found)
{
	bool found_feed;

	feed =
		ShmemInitStruct("gamestate feed",
						gs_feed_shmem_size() - gs_feed_waiters_shmem_size(), &found_feed);
	first_change = last_change = NULL;
	if (!found)
	{
		memset(feed, 0, sizeof(GsFeed));
		if (!pg_strong_random(&feed->base, sizeof(feed->base)))
			ereport(FATAL,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random number")));
		feed->size = data_size();
		feed->order_mask = order_entries() - 1;
		feed->event_limit = feed->size / EVENT_PART;
		feed->order = (uint64 *) ((char *) feed + MAXALIGN(sizeof(GsFeed)));
		feed->data = (char *) (feed->order + order_entries());
		feed->ids = (uint16 *) (feed->data + feed->size);
		LWLockInitialize(&feed->lock, GsShmem->feed_tranche);
		pg_atomic_init_u64(&feed->published, 0);
		pg_atomic_init_u64(&feed->floor, 0);
		pg_atomic_init_u32(&feed->pending, 0);
		pg_atomic_init_u64(&feed->woken, 0);
		pg_atomic_init_u64(&feed->gaps, 0);
		feed->end = feed->size; /* so that the floor is never negative */
		init_lanes();
	}
	gs_feed_waiters_shmem_init(found);
}

/* ----------------------------------------------------------------
 *		Lanes
 * ----------------------------------------------------------------
 */

static inline void *
at_place(uint64 place)
{
	return feed->data + place % feed->size;
}

/* What this backend knows of durability, all do now.  The caller holds the lock. */
static void
share_knowledge(void)
{
	XLogRecPtr lsn = InvalidXLogRecPtr;

	for (int level = LANES - 1; level > 0; level--)
	{
		lsn = Max(lsn, GsKnownDurable[level]);
		lsn = Max(lsn, feed->durable[level]);
		feed->durable[level] = lsn;
	}
}

static void
take_first(GsFeedLane *lane)
{
	const GsFeedGroup *group = at_place(lane->first);

	lane->first = group->next;
	pg_atomic_write_u32(&feed->pending, pg_atomic_read_u32(&feed->pending) - 1);
}

/* Give numbers to the rows of a group. */
static void
publish_group(uint64 place)
{
	const GsFeedGroup *group = at_place(place);
	uint64 number = pg_atomic_read_u64(&feed->published);
	uint64 row = place + sizeof(GsFeedGroup);

	for (uint32 i = 0; i < group->nrows; i++)
	{
		const GsFeedRow *r = at_place(row);
		uint64 at = number++ & feed->order_mask;

		feed->order[at] = row;
		feed->ids[at] =
			r->kind == GS_FEED_GAP ? NO_GAME : r->id_hash % GS_FEED_ID_CLASSES;
		row += r->size;
	}
	pg_write_barrier();
	pg_atomic_write_u64(&feed->published, number);
}

/* Publish what is durable, from the weakest lane to the strongest. */
static void
publish_durable(void)
{
	for (int i = 1; i < LANES; i++)
	{
		GsFeedLane *lane = &feed->lanes[i];

		while (lane->first != NOWHERE)
		{
			const GsFeedGroup *group = at_place(lane->first);

			if (group->level > 0 && group->lsn > feed->durable[group->level])
				break;
			publish_group(lane->first);
			take_first(lane);
		}
	}
}

static void
enter_lane(GsFeedLane *lane, uint64 place)
{
	GsFeedGroup *group = at_place(place);

	group->next = NOWHERE;
	if (lane->first == NOWHERE)
		lane->first = place;
	else
		((GsFeedGroup *) at_place(lane->last))->next = place;
	lane->last = place;
	lane->max_lsn = Max(lane->max_lsn, group->lsn);
	pg_atomic_write_u32(&feed->pending, pg_atomic_read_u32(&feed->pending) + 1);
}

/* Groups in lanes that are about to be overwritten.  Returns whether there are any. */
static bool
lose_before(uint64 floor)
{
	bool lost = false;

	for (int i = 1; i < LANES; i++)
	{
		GsFeedLane *lane = &feed->lanes[i];

		while (lane->first < floor) /* NOWHERE is not */
		{
			take_first(lane);
			feed->lost++;
			lost = true;
		}
	}
	return lost;
}

static bool
is_in_the_way(uint64 floor)
{
	for (int i = 1; i < LANES; i++)
		if (feed->lanes[i].first < floor)
			return true;
	return false;
}

/* ----------------------------------------------------------------
 *		Groups
 * ----------------------------------------------------------------
 */

/* Place for a group, whose size is a multiple of 8; it is not cut at the ring's end. */
static uint64
take_place(Size size)
{
	uint64 place = feed->end;
	uint64 left = feed->size - place % feed->size;

	if (left < size)
		place += left;
	feed->end = place + size;
	feed->bytes += size;
	pg_atomic_write_u64(&feed->floor, feed->end - feed->size);
	pg_write_barrier();
	return place;
}

/* Only a gap, published at once.  The caller holds the lock. */
static void
append_gap(Oid dboid)
{
	Size size = sizeof(GsFeedGroup) + GS_FEED_ROW_HEADER;
	uint64 place = take_place(size);
	GsFeedGroup *group = at_place(place);
	GsFeedRow *row = (GsFeedRow *) (group + 1);

	memset(group, 0, size);
	group->size = size;
	group->nrows = 1;
	row->size = GS_FEED_ROW_HEADER;
	row->dboid = dboid;
	row->kind = GS_FEED_GAP;
	row->at = GetCurrentTimestamp();
	publish_group(place);
}

/*
 * Make room for so many bytes: what has waited for its durability as long as the
 * whole ring has gone round is either durable by now, or lost.  The caller holds
 * the lock.
 */
static void
make_room(Size size)
{
	/* both, each perhaps with a rest of the ring that is too short */
	uint64 need = 2 * (size + sizeof(GsFeedGroup) + GS_FEED_ROW_HEADER);
	uint64 floor = feed->end + need - feed->size;

	if (likely(pg_atomic_read_u32(&feed->pending) == 0) || !is_in_the_way(floor))
		return;
	gs_durable_look();
	share_knowledge();
	publish_durable();
	if (lose_before(floor))
		append_gap(InvalidOid);
}

static Size
event_limit(void)
{
	return Min((Size) gs_feed_event_size * 1024, feed->event_limit);
}

static Size
entry_row_size(const GsChange *change, const GsEntry *e)
{
	Size size = GS_FEED_ROW_HEADER + change->feed.type_len;

	if (e->player)
		size += Min(e->player_len, GS_MAX_ID_LENGTH);
	if (e->request_id)
		size += GS_REQUEST_ID_LEN;
	if (e->event && e->event_len <= event_limit())
		size += e->event_len;
	return TYPEALIGN(8, size);
}

static GsFeedRow *
put_entry(GsFeedRow *row, const GsChange *change, int64 version, uint8 kind,
		  const GsEntry *e)
{
	char *p = row->data;

	row->dboid = change->key.dboid;
	row->version = version;
	row->at = e->at;
	row->game_id = change->key.id;
	row->type_hash = change->feed.type_hash;
	row->id_hash = change->feed.id_hash;
	row->event_len = 0;
	row->kind = kind;
	row->flags = change->h.encoding == GS_ENCODING_BYTES ? GS_FEED_IS_BYTES : 0;
	row->type_len = change->feed.type_len;
	row->player_len = 0;
	memcpy(p, change->feed.type, change->feed.type_len);
	p += change->feed.type_len;
	if (e->player)
	{
		row->flags |= GS_FEED_HAS_PLAYER;
		row->player_len = Min(e->player_len, GS_MAX_ID_LENGTH);
		memcpy(p, e->player, row->player_len);
		p += row->player_len;
	}
	if (e->request_id)
	{
		row->flags |= GS_FEED_HAS_REQUEST;
		memcpy(p, e->request_id, GS_REQUEST_ID_LEN);
		p += GS_REQUEST_ID_LEN;
	}
	if (e->event && e->event_len > event_limit())
		row->flags |= GS_FEED_OMITTED;
	else if (e->event)
	{
		row->flags |= GS_FEED_HAS_EVENT;
		row->event_len = e->event_len;
		memcpy(p, e->event, e->event_len);
		p += e->event_len;
	}
	row->size = TYPEALIGN(8, p - (char *) row);
	return (GsFeedRow *) ((char *) row + row->size);
}

/* ----------------------------------------------------------------
 *		Changes
 *
 * A change gives a row for its deletion, or else one for the deletion of
 * what it replaces, one for its creation and one for each entry of the log.
 * A game that comes back from a table was created and has its log since long:
 * of it, and of one that was followed up to a version already, only what is
 * new is told.
 * ----------------------------------------------------------------
 */

static bool
has_delete_row(const GsChange *change)
{
	return change->kind == GS_CHANGE_REMOVE || change->told == GS_TOLD_DELETION ||
		   (change->kind == GS_CHANGE_CREATE && change->replaces &&
			change->base_version == 0);
}

static bool
has_create_row(const GsChange *change)
{
	return (change->kind == GS_CHANGE_CREATE || change->told == GS_TOLD_ENTRIES) &&
		   change->base_version == 0;
}

static bool
has_entry_row(const GsChange *change, int i)
{
	const GsNewEntry *entry = change->entry_array[i];

	return entry->version > change->base_version && !gs_entry_is_request(&entry->e);
}

static GsEntry
create_entry(const GsChange *change)
{
	GsEntry e = {.kind = GS_KIND_CREATE, .at = change->h.created_at};

	if (change->h.has_create_request)
		e.request_id = change->h.create_request.data;
	return e;
}

static GsEntry
delete_entry(void)
{
	return (GsEntry){.at = GetCurrentTimestamp()};
}

static int
entries_of(const GsChange *change)
{
	if (change->kind == GS_CHANGE_REMOVE || change->told == GS_TOLD_DELETION)
		return 0;
	return change->nentries;
}

static Size
change_size(const GsChange *change, uint32 *nrows)
{
	Size size = 0;
	GsEntry e;

	if (has_delete_row(change))
	{
		e = delete_entry();
		size += entry_row_size(change, &e);
		(*nrows)++;
	}
	if (has_create_row(change))
	{
		e = create_entry(change);
		size += entry_row_size(change, &e);
		(*nrows)++;
	}
	for (int i = 0; i < entries_of(change); i++)
	{
		if (!has_entry_row(change, i))
			continue;
		size += entry_row_size(change, &change->entry_array[i]->e);
		(*nrows)++;
	}
	return size;
}

static GsFeedRow *
put_change(GsFeedRow *row, const GsChange *change)
{
	GsEntry e;

	if (has_delete_row(change))
	{
		e = delete_entry();
		row = put_entry(row, change,
						change->kind == GS_CHANGE_CREATE ? 0 : change->base_version,
						GS_FEED_DELETE, &e);
	}
	if (has_create_row(change))
	{
		e = create_entry(change);
		row = put_entry(row, change, 1, GS_KIND_CREATE, &e);
	}
	for (int i = 0; i < entries_of(change); i++)
	{
		const GsNewEntry *entry = change->entry_array[i];

		if (has_entry_row(change, i))
			row = put_entry(row, change, entry->version, entry->e.kind, &entry->e);
	}
	return row;
}

void
gs_feed_add(GsChange *change)
{
	if (!change->feed.applied || change->kind == GS_CHANGE_IMAGE ||
		(change->kind == GS_CHANGE_ARCHIVE && change->nentries == 0))
		return;
	change->feed.type_hash = gs_feed_type_hash(change->feed.type, change->feed.type_len);
	change->feed.id_hash = gs_feed_hash(&change->key.id, UUID_LEN);
	change->feed.next = NULL;
	if (last_change != NULL)
		last_change->feed.next = change;
	else
		first_change = change;
	last_change = change;
}

/* The caller holds the lock, for all of these. */
static inline GsFeedClass *
class_of(const GsChange *change)
{
	return &feed->classes[change->feed.id_hash % CLASSES];
}

/* Is a change of one of our games in this lane? */
static bool
follows_in(int lane)
{
	if (feed->lanes[lane].first == NOWHERE)
		return false;
	for (GsChange *change = first_change; change != NULL; change = change->feed.next)
		if (class_of(change)->last[lane] >= feed->lanes[lane].first)
			return true;
	return false;
}

/*
 * The lane of the group that is put together: that of its level, or a stronger
 * one that one of its games is in.  It must not be published before what its
 * games have in weaker ones.
 */
static int
choose_lane(GsFeedGroup *group)
{
	int lane = group->level;

	if (pg_atomic_read_u32(&feed->pending) == 0)
		return lane;
	for (int stronger = LANES - 1; stronger > lane; stronger--)
		if (follows_in(stronger))
			lane = stronger;
	for (int weaker = 1; weaker < lane; weaker++)
		if (follows_in(weaker))
		{
			group->level = Max(group->level, (uint32) weaker);
			group->lsn = Max(group->lsn, feed->lanes[weaker].max_lsn);
		}
	return lane;
}

/* Room has been made. */
static void
put_group(Size size, uint32 nrows)
{
	uint64 place = take_place(size);
	GsFeedGroup *group = at_place(place);
	GsFeedRow *row = (GsFeedRow *) (group + 1);
	int lane;

	memset(group, 0, sizeof(GsFeedGroup));
	group->next = NOWHERE;
	group->size = size;
	group->nrows = nrows;
	for (GsChange *change = first_change; change != NULL; change = change->feed.next)
	{
		row = put_change(row, change);
		group->lsn = Max(group->lsn, change->lsn);
		group->level = Max(group->level, change->level);
	}
	Assert((char *) row == (char *) group + size);
	lane = choose_lane(group);
	if (lane == 0)
	{
		publish_group(place);
		return;
	}
	for (GsChange *change = first_change; change != NULL; change = change->feed.next)
		class_of(change)->last[lane] = place;
	enter_lane(&feed->lanes[lane], place);
}

void
gs_feed_append(void)
{
	Size size = sizeof(GsFeedGroup);
	uint32 nrows = 0;

	if (first_change == NULL)
		return;
	for (GsChange *change = first_change; change != NULL; change = change->feed.next)
		size += change_size(change, &nrows);
	if (nrows > 0)
	{
		LWLockAcquire(&feed->lock, LW_EXCLUSIVE);
		if (pg_atomic_read_u32(&feed->pending) > 0)
		{
			share_knowledge();
			publish_durable();
		}
		if (unlikely(size > feed->size / GROUP_PART))
		{
			make_room(0);
			append_gap(first_change->key.dboid);
		}
		else
		{
			make_room(size);
			put_group(size, nrows);
		}
		LWLockRelease(&feed->lock);
	}
	first_change = last_change = NULL;
}

void
gs_feed_gap(Oid dboid)
{
	LWLockAcquire(&feed->lock, LW_EXCLUSIVE);
	make_room(0);
	append_gap(dboid);
	LWLockRelease(&feed->lock);
	gs_feed_wake();
}

/* ----------------------------------------------------------------
 *		Waking
 * ----------------------------------------------------------------
 */

/*
 * Who has published something comes here afterwards, and takes on itself to
 * wake for all that nobody has woken for yet.
 */
static void
wake_published(void)
{
	uint64 from = pg_atomic_read_u64(&feed->woken);
	uint64 to = pg_atomic_read_u64(&feed->published);

	while (from < to)
	{
		if (pg_atomic_compare_exchange_u64(&feed->woken, &from, to))
		{
			gs_feed_wake_for(from, to);
			return;
		}
	}
}

void
gs_feed_wake(void)
{
	/* pairs with gs_feed_waiter_arm(): either we see him, or he sees our rows */
	pg_memory_barrier();
	if (gs_feed_any_asleep())
		wake_published();
}

void
gs_feed_durable(void)
{
	pg_memory_barrier();
	if (likely(!gs_feed_any_asleep()))
		return;
	if (gs_feed_pending())
		gs_feed_publish();
	wake_published();

	/* somebody's wait was cancelled, or goes on: so that it is not forgotten */
	if (gs_feed_pending())
		gs_feed_wake_poller();
}

bool
gs_feed_pending(void)
{
	return pg_atomic_read_u32(&feed->pending) > 0;
}

void
gs_feed_publish(void)
{
	LWLockAcquire(&feed->lock, LW_EXCLUSIVE);
	share_knowledge();
	publish_durable();
	LWLockRelease(&feed->lock);
}

/* What has become durable meanwhile is in the feed from now on. */
void
gs_feed_publish_pending(void)
{
	if (!gs_feed_pending())
		return;
	gs_durable_look();
	gs_feed_publish();
	gs_feed_wake();
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */

uint64
gs_feed_head(void)
{
	return pg_atomic_read_u64(&feed->published);
}

static const GsFeedRow *
row_of(uint64 number, uint64 *place)
{
	*place = feed->order[number & feed->order_mask];
	return at_place(*place);
}

/* Is what was read there still, from this number and this place on? */
static bool
is_still_there(uint64 number, uint64 place)
{
	pg_read_barrier();
	return place >= pg_atomic_read_u64(&feed->floor) &&
		   pg_atomic_read_u64(&feed->published) - number <= feed->order_mask + 1;
}

bool
gs_feed_keys(uint64 number, GsFeedKeys *keys)
{
	uint64 place;
	const GsFeedRow *row = row_of(number, &place);

	keys->dboid = row->dboid;
	keys->type_hash = row->type_hash;
	keys->id_hash = row->id_hash;
	keys->game_id = row->game_id;
	keys->kind = row->kind;
	keys->is_gap = row->kind == GS_FEED_GAP;
	return is_still_there(number, place);
}

/*
 * Can the row of this number pass?  Who follows a few games passes over the many rows of
 * others without looking at them, which would be somewhere else in memory each.
 */
static inline bool
may_pass(const GsFeedFilter *filter, uint64 number)
{
	uint16 class = feed->ids[number & feed->order_mask];

	return filter->nids < 0 || filter->either || class == NO_GAME ||
		   (filter->classes[class / 64] & (UINT64CONST(1) << (class % 64))) != 0;
}

/* NULL if it is being overwritten. */
static GsFeedRow *
copy_row(const GsFeedRow *row, uint64 place)
{
	uint32 size = *(volatile const uint32 *) &row->size;
	GsFeedRow *copy;

	if (size < GS_FEED_ROW_HEADER || size > feed->size / GROUP_PART ||
		place % feed->size + size > feed->size)
		return NULL;
	copy = palloc(size);
	memcpy(copy, row, size);
	return copy;
}

/* Does a row that was copied from memory still there hold what it says? */
static bool
is_whole(const GsFeedRow *row)
{
	Size size = GS_FEED_ROW_HEADER + row->type_len + row->player_len + row->event_len;

	if (row->flags & GS_FEED_HAS_REQUEST)
		size += GS_REQUEST_ID_LEN;
	return size <= row->size;
}

GsFeedResult
gs_feed_read(GsFeedCursor *cursor, GsFeedRow **result)
{
	uint64 first = cursor->next;
	uint64 end = pg_atomic_read_u64(&feed->published);
	uint64 oldest = NOWHERE;

	*result = NULL;
	if (end - first > feed->order_mask + 1)
		return GS_FEED_LOST;
	pg_read_barrier();
	while (cursor->next < end)
	{
		uint64 place;
		const GsFeedRow *row;

		if (!may_pass(cursor->filter, cursor->next))
		{
			cursor->next++;
			continue;
		}
		row = row_of(cursor->next, &place);
		cursor->next++;
		oldest = Min(oldest, place);
		if (!gs_feed_passes(cursor->filter, row))
			continue;
		*result = copy_row(row, place);
		if (*result == NULL || !is_still_there(first, oldest))
			return GS_FEED_LOST;
		if (!is_whole(*result))
			elog(ERROR, "row of the change feed is damaged");
		return GS_FEED_ROW;
	}
	return cursor->next == first || is_still_there(first, oldest) ? GS_FEED_END
																  : GS_FEED_LOST;
}

/* ----------------------------------------------------------------
 *		Positions
 * ----------------------------------------------------------------
 */

static uint64
base_of(Oid dboid)
{
	uint64 mask = (UINT64CONST(1) << POSITION_BITS) - 1;
	uint64 own = DatumGetUInt64(
		hash_any_extended((const unsigned char *) &dboid, sizeof(dboid), feed->base));

	return (UINT64CONST(1) << POSITION_BITS) + (own & mask);
}

int64
gs_feed_position(Oid dboid, uint64 number)
{
	return (int64) (base_of(dboid) + number);
}

bool
gs_feed_number(Oid dboid, int64 position, uint64 *number)
{
	/* what is before the base becomes very large */
	*number = (uint64) position - base_of(dboid);
	return *number <= pg_atomic_read_u64(&feed->published);
}

/* ----------------------------------------------------------------
 *		Statistics
 * ----------------------------------------------------------------
 */

/* The oldest number whose row is there; rows that waited for long may be missing before. */
static uint64
oldest_number(uint64 head, uint64 floor)
{
	uint64 low = head > feed->order_mask ? head - feed->order_mask - 1 : 0;
	uint64 high = head;

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;

		if (feed->order[middle & feed->order_mask] >= floor)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void
gs_feed_count_gap(void)
{
	(void) pg_atomic_fetch_add_u64(&feed->gaps, 1);
}

void
gs_feed_get_stat(GsFeedStat *stat)
{
	LWLockAcquire(&feed->lock, LW_SHARED);
	stat->rows = pg_atomic_read_u64(&feed->published);
	stat->oldest = oldest_number(stat->rows, pg_atomic_read_u64(&feed->floor));
	stat->bytes = feed->bytes;
	stat->size = feed->size;
	stat->pending = pg_atomic_read_u32(&feed->pending);
	stat->lost = feed->lost;
	stat->gaps = pg_atomic_read_u64(&feed->gaps);
	LWLockRelease(&feed->lock);
}
