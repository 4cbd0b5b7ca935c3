/*-------------------------------------------------------------------------
 *
 * gs_place.c
 *	  What the archiver remembers of partitions: where there is a place for a
 *	  game, and whether it may be used already.
 *
 * The model:
 *	1. What was found (gs_partition.c) is remembered (type, hour -> interval and
 *	   the two partitions) until PostgreSQL says that one of the partitioned
 *	   tables has changed.
 *	2. A query that was planned before a partition was attached, but takes its
 *	   snapshot after the first games have been committed to it, would find
 *	   those games neither there nor in memory.  So a partition is only used
 *	   when all transactions have ended that held a lock on its root when it
 *	   was seen for the first time: it settles.  Whoever locks the tables later plans
 *	   anew.  The games stay in memory meanwhile, unless that runs short.
 *	3. It does not matter who has made a partition: ourselves, because it was
 *	   missing, the maintenance worker ahead of time (gs_ahead.c), a DBA.  So that
 *	   one which was made ahead has settled long before it is used, the archiver
 *	   looks at the next partition of each type that it has archived games of
 *	   lately, when the types or the tables have changed and when a period begins.
 *	   What is there when the archiver begins is seen then; what has settled by
 *	   then, as an archiver before it has found out, is known (gs_settled.c).
 *	4. A partition stays settled for as long as it is the same table.
 *
 * Locking: waits for a lock are short (LOCK_TIMEOUT_MS); whoever fails tries
 * again later, and only games without a partition wait meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_partition.h"
#include "gs_period.h"
#include "gs_place.h"
#include "gs_policy.h"
#include "gs_settled.h"
#include "gs_worker.h"

#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT_MS 1000

/* A type that had no games for so long needs no look ahead. */
#define RECENT_DAYS 3

/* Bounds of what is remembered. */
#define MAX_PLACES	   10000
#define MAX_SETTLING   10000
#define MAX_USED_TYPES 10000

/* Game types as hash keys: padded with zero bytes. */
typedef struct TypeKey
{
	char type[GS_MAX_ID_LENGTH + 1];
} TypeKey;

/* For part of an hour, games of a type have this place. */
typedef struct PlaceKey
{
	TypeKey type;
	int64 hour;
} PlaceKey;

typedef struct Place
{
	PlaceKey key;
	GsPlace place;
} Place;

/* A partition that was seen, and who may not know it yet. */
typedef struct Settling
{
	Oid leaf; /* hash key */
	int n;	  /* so many of vxids may still be running */
	VirtualTransactionId *vxids;
} Settling;

typedef struct UsedType
{
	TypeKey type; /* hash key */
	TimestampTz last_used;
	TimestampTz look_at; /* when its next period begins; 0 = now */
} UsedType;

static HTAB *places = NULL;
static HTAB *used_types = NULL;
static HTAB *settling = NULL;

/* gs_partition_changes() as of what "places" holds, and of the last look ahead */
static uint64 places_as_of = 0;
static uint64 looked_as_of = 0;

static bool existing_seen = false;

static HTAB *
make_table(const char *name, Size key_size, Size entry_size)
{
	HASHCTL ctl = {0};

	ctl.keysize = key_size;
	ctl.entrysize = entry_size;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS);
}

void
gs_place_init(void)
{
	places = make_table("gamestate places", sizeof(PlaceKey), sizeof(Place));
	used_types = make_table("gamestate types", sizeof(TypeKey), sizeof(UsedType));
	settling = make_table("gamestate settling partitions", sizeof(Oid), sizeof(Settling));
}

/* ----------------------------------------------------------------
 *		Places
 * ----------------------------------------------------------------
 */

void
gs_place_forget(void)
{
	hash_destroy(places);
	places = make_table("gamestate places", sizeof(PlaceKey), sizeof(Place));
	places_as_of = gs_partition_changes();
}

static void
set_type_key(TypeKey *key, const GsText *game_type)
{
	Assert(game_type->len <= GS_MAX_ID_LENGTH);
	memset(key, 0, sizeof(*key));
	memcpy(key->type, game_type->data, game_type->len);
}

static void
set_place_key(PlaceKey *key, const GsText *game_type, TimestampTz at)
{
	TimestampTz from;
	TimestampTz to;

	set_type_key(&key->type, game_type);
	gs_period(GS_INTERVAL_HOUR, at, &from, &to);
	key->hour = from / USECS_PER_HOUR;
}

static const GsPlace *
known_place(const GsText *game_type, TimestampTz at)
{
	PlaceKey key;
	Place *entry;

	if (places_as_of != gs_partition_changes())
		gs_place_forget();
	set_place_key(&key, game_type, at);
	entry = hash_search(places, &key, HASH_FIND, NULL);
	if (entry == NULL || at < entry->place.from || at >= entry->place.to)
		return NULL;
	return &entry->place;
}

static void
remember_place(const GsText *game_type, TimestampTz at, const GsPlace *place)
{
	PlaceKey key;
	Place *entry;

	if (hash_get_num_entries(places) >= MAX_PLACES)
		gs_place_forget();
	set_place_key(&key, game_type, at);
	entry = hash_search(places, &key, HASH_ENTER, NULL);
	entry->place = *place;
}

bool
gs_place_is_known(const GsText *game_type, TimestampTz ended_at)
{
	return known_place(game_type, ended_at) != NULL;
}

/* ----------------------------------------------------------------
 *		Settling
 * ----------------------------------------------------------------
 */

static void
stop_settling(Settling *entry)
{
	if (entry->vxids)
		pfree(entry->vxids);
	entry->vxids = NULL;
	entry->n = 0;
}

static void
forget_settling(void)
{
	HASH_SEQ_STATUS scan;
	Settling *entry;

	hash_seq_init(&scan, settling);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		stop_settling(entry);
		(void) hash_search(settling, &entry->leaf, HASH_REMOVE, NULL);
	}
}

static bool
is_seen(Oid leaf)
{
	return hash_search(settling, &leaf, HASH_FIND, NULL) != NULL;
}

/*
 * A partition is seen for the first time.  The caller is not in the transaction
 * that attached it: whoever locks the root from now on sees it.
 */
static void
begin_settling(Oid leaf, const char *root)
{
	VirtualTransactionId *lockers;
	Settling *entry;
	int n = 0;

	if (is_seen(leaf))
		return;
	if (hash_get_num_entries(settling) >= MAX_SETTLING)
		forget_settling();
	lockers = gs_settled_is_known(leaf) ? NULL : gs_settled_lockers(root, &n);
	entry = hash_search(settling, &leaf, HASH_ENTER, NULL);
	entry->n = 0;
	entry->vxids = NULL;
	gs_settled_want();
	if (n == 0)
		return;
	entry->vxids = MemoryContextAlloc(TopMemoryContext, sizeof(VirtualTransactionId) * n);
	memcpy(entry->vxids, lockers, sizeof(VirtualTransactionId) * n);
	entry->n = n;
}

/*
 * What is there when the archiver begins is seen then: who comes later to keep a lock on
 * the root for long is no reason to wait.
 */
static void
see_existing(void)
{
	static const char *const roots[] = {"archive", "archive_payload"};

	if (existing_seen)
		return;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	for (int i = 0; i < (int) lengthof(roots); i++)
	{
		Oid root = get_relname_relid(roots[i], get_namespace_oid("gamestate", false));
		ListCell *cell;

		if (!OidIsValid(root))
			continue;
		foreach (cell, find_all_inheritors(root, NoLock, NULL))
			begin_settling(lfirst_oid(cell), roots[i]);
	}
	gs_worker_commit();
	existing_seen = true;
}

static void
begin_settling_place(const GsPlace *place)
{
	if (is_seen(place->rows) && is_seen(place->payloads))
		return;
	gs_worker_begin(LOCK_TIMEOUT_MS);
	begin_settling(place->rows, "archive");
	begin_settling(place->payloads, "archive_payload");
	gs_worker_commit();
}

static bool
memory_is_short(void)
{
	return GsShmem->nreserve < GsShmem->reserve_target;
}

static bool
leaf_is_settled(Oid leaf)
{
	Settling *entry = hash_search(settling, &leaf, HASH_FIND, NULL);

	if (entry == NULL)
		return false;
	entry->n = gs_settled_still_running(entry->vxids, entry->n);
	if (entry->n > 0 && !memory_is_short())
		return false;
	stop_settling(entry);
	return true;
}

bool
gs_place_is_settled(const GsText *game_type, TimestampTz ended_at)
{
	const GsPlace *place = known_place(game_type, ended_at);

	return place != NULL && leaf_is_settled(place->rows) &&
		   leaf_is_settled(place->payloads);
}

void
gs_place_ensure(const GsText *game_type, TimestampTz ended_at)
{
	GsPlace place;

	see_existing();
	gs_worker_begin(LOCK_TIMEOUT_MS);
	(void) gs_partition_complete(game_type, ended_at, false, &place);
	gs_worker_commit();
	begin_settling_place(&place);
	if (places_as_of != gs_partition_changes())
		gs_place_forget();
	remember_place(game_type, ended_at, &place);
}

/* ----------------------------------------------------------------
 *		Looking ahead
 * ----------------------------------------------------------------
 */

void
gs_place_used(const GsText *game_type)
{
	TypeKey key;
	UsedType *used;
	bool found;

	set_type_key(&key, game_type);
	if (hash_get_num_entries(used_types) >= MAX_USED_TYPES &&
		hash_search(used_types, &key, HASH_FIND, NULL) == NULL)
		return;
	used = hash_search(used_types, &key, HASH_ENTER, &found);
	if (!found)
	{
		used->look_at = 0;
		/* it makes partitions ahead for types that are in use */
		gs_worker_wake_maintenance(gs_my_database());
	}
	used->last_used = GetCurrentTimestamp();
}

TimestampTz
gs_place_next_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = 0;
	HASH_SEQ_STATUS scan;
	UsedType *used;

	if (!existing_seen)
		return now;
	due = gs_settled_due();
	hash_seq_init(&scan, used_types);
	while ((used = hash_seq_search(&scan)) != NULL)
	{
		if (used->last_used <= now - RECENT_DAYS * USECS_PER_DAY)
			(void) hash_search(used_types, &used->type, HASH_REMOVE, NULL);
		else if (used->look_at <= now || looked_as_of != gs_partition_changes())
			due = now;
		else if (due == 0 || used->look_at < due)
			due = used->look_at;
	}
	return due;
}

/* Copies, because a scan of a hash table must not go on across transactions. */
static TypeKey *
copy_used_types(int *n)
{
	TypeKey *types = palloc(sizeof(TypeKey) * hash_get_num_entries(used_types));
	HASH_SEQ_STATUS scan;
	UsedType *used;

	*n = 0;
	hash_seq_init(&scan, used_types);
	while ((used = hash_seq_search(&scan)) != NULL)
		types[(*n)++] = used->type;
	return types;
}

void
gs_place_look_ahead(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int n;
	TypeKey *types = copy_used_types(&n);

	see_existing();
	gs_worker_begin(LOCK_TIMEOUT_MS);
	looked_as_of = gs_partition_changes();
	for (int i = 0; i < n; i++)
	{
		GsText game_type = {types[i].type, strlen(types[i].type)};
		UsedType *used = hash_search(used_types, &types[i], HASH_FIND, NULL);
		TimestampTz from;
		GsPlace place;

		CHECK_FOR_INTERRUPTS();
		gs_period(gs_policy(&game_type)->partition_interval, now, &from, &used->look_at);
		if (gs_partition_find(&game_type, used->look_at, false, &place))
		{
			begin_settling(place.rows, "archive");
			begin_settling(place.payloads, "archive_payload");
		}
	}
	gs_settled_look();
	gs_worker_commit();
	pfree(types);
}
