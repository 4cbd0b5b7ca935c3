/*-------------------------------------------------------------------------
 *
 * gs_feed.h
 *	  The change feed: a ring of what has happened to games, and who waits for it.
 *
 * gs_feed.c owns the ring, gs_feed_filter.c who wants what, gs_feed_notice.c what is no change, gs_feed_waiters.c who
 * is asleep, gs_feed_wait.c the SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_FEED_H
#define GS_FEED_H

#include "gs_durable.h"
#include "gs_table.h"

#include "common/hashfn.h"
#include "port/atomics.h"

/* Kinds of rows that are no entries of a log (GsKind); never stored. */
#define GS_FEED_DELETE 200 /* the game was deleted */
#define GS_FEED_GAP	   201 /* something is missing here */

/* Notices: no new version, see gs_feed_notice.c. */
#define GS_FEED_CONNECTED	 202 /* a player is there; again after each reconnect */
#define GS_FEED_DISCONNECTED 203 /* a player is not there any more */
#define GS_FEED_ABSENT		 204 /* ... for as long as the policy says */
#define GS_FEED_CLAIMED		 205 /* the game has got an owner */
#define GS_FEED_RELEASED	 206 /* its owner has given it up */
#define GS_FEED_ORPHANED	 207 /* its owner is gone */
#define GS_FEED_INACTIVE	 220 /* nobody has changed it for as long as the policy says */

#define GS_FEED_HAS_PLAYER	0x01
#define GS_FEED_HAS_REQUEST 0x02
#define GS_FEED_HAS_EVENT	0x04
#define GS_FEED_IS_BYTES	0x08
#define GS_FEED_OMITTED		0x10 /* there was an event, too large for the feed */

/*
 * A row of the feed as it lies in the ring, aligned to 8 bytes.
 *
 *	GsFeedRow, game type, player, request id, event
 *
 * A gap has no game; dboid is InvalidOid if it concerns every database.
 */
typedef struct GsFeedRow
{
	uint32 size; /* of it all, a multiple of 8 */
	Oid dboid;
	int64 version; /* 0 = unknown */
	TimestampTz at;
	pg_uuid_t game_id;
	uint32 type_hash; /* never 0; see gs_feed_type_hash() */
	uint32 id_hash;
	uint32 event_len;
	uint8 kind;	 /* GsKind or GS_FEED_* */
	uint8 flags; /* GS_FEED_HAS_* ... */
	uint8 type_len;
	uint8 player_len;
	char data[FLEXIBLE_ARRAY_MEMBER];
} GsFeedRow;

StaticAssertDecl(offsetof(GsFeedRow, data) == 56, "rows of the feed have no padding");

#define GS_FEED_ROW_HEADER offsetof(GsFeedRow, data)

/* Sleeping waiters are found by so many classes of game ids. */
#define GS_FEED_ID_CLASSES 4096

/* One game type out of those that are wanted. */
typedef struct GsFeedType
{
	GsText name;
	uint32 hash; /* see gs_feed_type_hash() */
} GsFeedType;

/*
 * Which rows somebody wants: those of these games, if they are of these types; or,
 * if "either", those of these games and those of these types.  Local memory.
 */
typedef struct GsFeedFilter
{
	Oid dboid;
	bool either;
	int ntypes; /* 0 = of any type */
	GsFeedType *types;
	int nids;								 /* -1 = all games */
	pg_uuid_t *ids;							 /* sorted */
	uint64 classes[GS_FEED_ID_CLASSES / 64]; /* of ids, a bit each */
} GsFeedFilter;

/* gs_feed_filter.c */
extern void gs_feed_filter_sort(GsFeedFilter *filter); /* its ids */
extern bool gs_feed_passes(const GsFeedFilter *filter, const GsFeedRow *row);

/* Where somebody reads. */
typedef struct GsFeedCursor
{
	const GsFeedFilter *filter;
	uint64 next; /* number of the row that comes next */
} GsFeedCursor;

typedef enum GsFeedResult
{
	GS_FEED_ROW, /* a row that passes the filter */
	GS_FEED_END, /* there is no more */
	GS_FEED_LOST /* what comes next has been overwritten */
} GsFeedResult;

typedef struct GsFeedStat
{
	uint64 rows;
	uint64 oldest; /* number of the oldest row that is still there, about */
	uint64 bytes;
	uint64 size;
	uint64 pending; /* transactions that are not durable yet */
	uint64 lost;	/* transactions overwritten before they were */
	uint64 gaps;	/* that readers were told of */
} GsFeedStat;

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_feed_shmem_size(void);
extern void gs_feed_shmem_init(bool found);

static inline uint32
gs_feed_hash(const void *data, uint32 len)
{
	return DatumGetUInt32(hash_any((const unsigned char *) data, len));
}

static inline uint32
gs_feed_type_hash(const char *type, uint32 len)
{
	return gs_feed_hash(type, len) | 1; /* 0 stands for all types */
}

/* ---- writing: gs_feed.c.  Cannot fail. ---- */

/*
 * The changes of one transaction, after they have been applied, while their
 * games are locked: first each is added, in order, then all are put into the
 * ring.
 */
extern void gs_feed_add(GsChange *change);
extern void gs_feed_append(void);

/* Everybody who follows this database (InvalidOid: any) has missed something. */
extern void gs_feed_gap(Oid dboid);

/*
 * A row that is no change of the game's log (gs_feed_notice.c): player and event,
 * which is json, may be NULL.  Like append; not between adding and appending of a
 * commit.  Takes the feed's lock, allocates nothing, waits for nobody.
 */
extern void gs_feed_notice(Oid dboid, const pg_uuid_t *game_id, const GsText *game_type,
						   uint8 kind, const GsText *player, const GsText *event);

/* NULL = it is none */
extern const char *gs_feed_notice_name(uint8 kind);

/* After an append or notices, without locks: wake who wants to know of them. */
extern void gs_feed_wake(void);

/* After a commit has waited for its durability: let everybody know who waits for that. */
extern void gs_feed_durable(void);

/* ---- reading ---- */

/* Is there anything that waits to become durable? */
extern bool gs_feed_pending(void);

/* Put into the feed what has become durable, as this backend knows. */
extern void gs_feed_publish(void);

/* The same after a look at what is durable; wakes.  For who is about to read. */
extern void gs_feed_publish_pending(void);

/* The number of the next row to come. */
extern uint64 gs_feed_head(void);

/* The next row that passes the filter; *row is palloc'd. */
extern GsFeedResult gs_feed_read(GsFeedCursor *cursor, GsFeedRow **row);

/*
 * Positions as users see them, of a database: false if it is none of ours, or
 * one that does not exist yet.
 */
extern int64 gs_feed_position(Oid dboid, uint64 number);
extern bool gs_feed_number(Oid dboid, int64 position, uint64 *number);

extern void gs_feed_count_gap(void);
extern void gs_feed_get_stat(GsFeedStat *stat);

/* what a row is about, for who need not read it all: false if it has been overwritten */
typedef struct GsFeedKeys
{
	Oid dboid;
	uint32 type_hash;
	uint32 id_hash;
	pg_uuid_t game_id;
	uint8 kind;
	bool is_gap;
} GsFeedKeys;
extern bool gs_feed_keys(uint64 number, GsFeedKeys *keys);

/* ---- waiters: gs_feed_waiters.c ---- */

extern Size gs_feed_waiters_shmem_size(void);
extern void gs_feed_waiters_shmem_init(bool found);

/* Is anybody asleep?  One read of shared memory. */
extern bool gs_feed_any_asleep(void);

/* Is anybody waiting for changes of this database, asleep or not? */
extern bool gs_feed_has_waiters(Oid dboid);

/* Wake who sleeps and wants one of the rows [from, to). */
extern void gs_feed_wake_for(uint64 from, uint64 to);

/* Something is pending and nobody else will look after it: wake somebody. */
extern void gs_feed_wake_poller(void);

/*
 * A waiter: ERROR if there are too many.  Then before each sleep "arm" it, look
 * once more, and sleep; who wakes it disarms it.  gs_feed_waiter_leave() undoes
 * it all and may be called at any time.
 */
extern void gs_feed_waiter_enter(const GsFeedFilter *filter);
extern void gs_feed_waiter_arm(uint64 number);
extern void gs_feed_waiter_leave(void);

/* Shall this waiter look after what is pending? */
extern bool gs_feed_waiter_polls(bool pending);

typedef struct GsFeedWaitersStat
{
	int waiters;
	int asleep;
	uint64 wakeups;
	bool any;		/* of this database */
	uint64 slowest; /* number of the row that the slowest of them reads next */
} GsFeedWaitersStat;
extern void gs_feed_waiters_get_stat(Oid dboid, GsFeedWaitersStat *stat);

#endif /* GS_FEED_H */
