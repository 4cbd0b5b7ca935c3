/*-------------------------------------------------------------------------
 *
 * gs_partition.c
 *	  Partitions of the archive: is there one for a game, and making it.
 *
 * The model:
 *	1. gamestate.archive and gamestate.archive_payload are partitioned by LIST
 *	   (game_type), each of these branches by RANGE (ended_at) into leaves of
 *	   one day (UTC).  Both have the same branches and leaves.
 *	2. The first gamestate.archive_max_types types get a branch of their own;
 *	   further ones share the default branch, which is made when the first of
 *	   them needs it.  Once that has leaves, new types go there too, even if the
 *	   limit is raised: to attach a branch would mean to search the default
 *	   branch, locked against everybody.  (Even an empty default branch would
 *	   have to be locked so, which is why it is not made earlier.)
 *	3. Whether a place exists is asked from PostgreSQL's own partition
 *	   descriptors, never from names.  So partitions made by a DBA, with other
 *	   bounds, are used as they are; where they cover part of a day, the leaf
 *	   is made for the free part around the game's end; below a partition of
 *	   any other kind we leave it to the INSERT to find its way.
 *	4. A leaf is created standalone and then attached, because ATTACH takes a
 *	   weaker lock on the parent (SHARE UPDATE EXCLUSIVE, taken first) than
 *	   CREATE TABLE ... PARTITION OF does: readers and writers go on.  It needs
 *	   no CHECK to be attached quickly: it is empty, so that looking through
 *	   it costs nothing.
 *	5. A query that was planned before a partition was attached, but takes its
 *	   snapshot after the first games have been committed to it, would find
 *	   those games neither there nor in memory.  So a partition is only used
 *	   when all transactions that had locked its tables by then have ended
 *	   (gs_partition_is_settled()); whoever locks them later plans anew.  The
 *	   games stay in memory meanwhile, unless that runs short.  Partitions made
 *	   ahead have settled long before they are used.
 *	6. What was found is remembered (type, day -> interval) until PostgreSQL
 *	   says that one of the partitioned tables has changed (relcache callback).
 *
 * Locking: waits for a lock are short (LOCK_TIMEOUT_MS); whoever fails tries
 * again later, and only games without a partition wait meanwhile.  The callback
 * runs at any time and may only set a flag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_partition.h"
#include "gs_worker.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#define SCHEMA			  "gamestate"
#define PARTITIONS_SCHEMA "gamestate_partitions"

#define LOCK_TIMEOUT_MS 1000

/* Types that had no games for so long get no more partitions ahead. */
#define RECENT_DAYS 3

/* Bounds of what is remembered. */
#define MAX_PLACES	   10000
#define MAX_USED_TYPES 10000

/*
 * Longest slug of a game type.  The longest name is
 * archive_payload_<slug>_<8 hex digits>_p20261121_99, and has to fit into 63.
 */
#define MAX_SLUG 24

/* Game types as hash keys: padded with zero bytes. */
typedef struct TypeKey
{
	char type[GS_MAX_ID_LENGTH + 1];
} TypeKey;

/* For [from, to), part of a day, games of a type have a place in both tables. */
typedef struct PlaceKey
{
	TypeKey type;
	int64 day;
} PlaceKey;

typedef struct Place
{
	PlaceKey key;
	TimestampTz from;
	TimestampTz to;
} Place;

/* A place that has just been made, and who may not know it yet. */
typedef struct Settling
{
	PlaceKey key;
	int n; /* so many of vxids may still be running */
	VirtualTransactionId *vxids;
} Settling;

typedef struct UsedType
{
	TypeKey type; /* hash key */
	TimestampTz last_used;
	int64 ahead_until; /* day up to which partitions have been made */
} UsedType;

/*
 * Where a game belongs in one of the tables: either found, or the partitioned
 * table that lacks a partition, and which.
 */
typedef struct Route
{
	bool found;
	bool in_default;   /* the type shares the default branch */
	bool no_branch;	   /* parent lacks a branch, else a leaf */
	bool make_default; /* and that branch is the default one */
	Oid parent;
	TimestampTz from; /* bounds of the partition, or of the gap */
	TimestampTz to;
} Route;

static HTAB *places = NULL;
static HTAB *used_types = NULL;
static HTAB *settling = NULL;

/* The partitioned tables that "places" depends on. */
static HTAB *watched = NULL;
static bool places_stale = false;

/* ----------------------------------------------------------------
 *		What is remembered
 * ----------------------------------------------------------------
 */

static HTAB *
make_table(const char *name, Size key_size, Size entry_size)
{
	HASHCTL ctl = {0};

	ctl.keysize = key_size;
	ctl.entrysize = entry_size;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS);
}

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || hash_search(watched, &relid, HASH_FIND, NULL) != NULL)
		places_stale = true;
}

void
gs_partition_init(void)
{
	places = make_table("gamestate places", sizeof(PlaceKey), sizeof(Place));
	used_types = make_table("gamestate types", sizeof(TypeKey), sizeof(UsedType));
	settling =
		make_table("gamestate settling places", sizeof(PlaceKey), sizeof(Settling));
	watched = make_table("gamestate watched tables", sizeof(Oid), sizeof(Oid));
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
}

void
gs_partition_forget(void)
{
	places_stale = true;
}

static void
forget_stale_places(void)
{
	if (!places_stale && hash_get_num_entries(places) < MAX_PLACES)
		return;
	places_stale = false;
	hash_destroy(places);
	places = make_table("gamestate places", sizeof(PlaceKey), sizeof(Place));
}

static int64
day_of(TimestampTz at)
{
	return at >= 0 ? at / USECS_PER_DAY : -((-at + USECS_PER_DAY - 1) / USECS_PER_DAY);
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
	set_type_key(&key->type, game_type);
	key->day = day_of(at);
}

bool
gs_partition_is_known(const GsText *game_type, TimestampTz ended_at)
{
	PlaceKey key;
	Place *place;

	forget_stale_places();
	set_place_key(&key, game_type, ended_at);
	place = hash_search(places, &key, HASH_FIND, NULL);
	return place != NULL && ended_at >= place->from && ended_at < place->to;
}

static void
remember_place(const GsText *game_type, TimestampTz at, TimestampTz from, TimestampTz to)
{
	PlaceKey key;
	Place *place;
	bool found;

	forget_stale_places();
	set_place_key(&key, game_type, at);
	place = hash_search(places, &key, HASH_ENTER, &found);
	place->from = from;
	place->to = to;
}

/* Append the transactions that hold a lock on one of the archive's tables. */
static void
add_lockers(Settling *place, const char *table)
{
	LOCKTAG tag;
	Oid relid = get_relname_relid(table, get_namespace_oid(SCHEMA, false));
	VirtualTransactionId *lockers;
	int n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	lockers = GetLockConflicts(&tag, AccessExclusiveLock, &n);
	if (n == 0)
		return;
	place->vxids =
		place->vxids
			? repalloc(place->vxids, sizeof(VirtualTransactionId) * (place->n + n))
			: MemoryContextAlloc(TopMemoryContext, sizeof(VirtualTransactionId) * n);
	memcpy(place->vxids + place->n, lockers, sizeof(VirtualTransactionId) * n);
	place->n += n;
}

/*
 * A place has been made and committed.  The caller is in another transaction:
 * whoever locks the tables from now on sees the new partition.
 */
static void
begin_settling(const GsText *game_type, TimestampTz at)
{
	PlaceKey key;
	Settling *place;
	bool found;

	set_place_key(&key, game_type, at);
	place = hash_search(settling, &key, HASH_ENTER, &found);
	if (!found)
	{
		place->n = 0;
		place->vxids = NULL;
	}
	add_lockers(place, "archive");
	add_lockers(place, "archive_payload");
}

static bool
memory_is_short(void)
{
	return GsShmem->nreserve < GsShmem->reserve_target;
}

bool
gs_partition_is_settled(const GsText *game_type, TimestampTz ended_at)
{
	PlaceKey key;
	Settling *place;

	if (hash_get_num_entries(settling) == 0)
		return true;
	set_place_key(&key, game_type, ended_at);
	place = hash_search(settling, &key, HASH_FIND, NULL);
	if (place == NULL)
		return true;
	while (place->n > 0 && VirtualXactLock(place->vxids[place->n - 1], false))
		place->n--;
	if (place->n > 0 && !memory_is_short())
		return false;
	if (place->vxids)
		pfree(place->vxids);
	(void) hash_search(settling, &key, HASH_REMOVE, NULL);
	return true;
}

/* ----------------------------------------------------------------
 *		Finding the place
 * ----------------------------------------------------------------
 */

/* Has a default branch partitions, or is it something that we did not make? */
static bool
default_branch_in_use(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool in_use = true;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		in_use = RelationGetPartitionDesc(rel, true)->nparts > 0;
	table_close(rel, NoLock);
	return in_use;
}

/* One level down a table that is partitioned by game type. */
static Oid
list_step(PartitionKey key, PartitionDesc desc, const GsText *game_type,
		  bool want_default, Route *route)
{
	PartitionBoundInfo bounds = desc->boundinfo;
	Datum value =
		PointerGetDatum(cstring_to_text_with_len(game_type->data, game_type->len));
	Oid default_branch = InvalidOid;
	int branches = desc->nparts;
	int offset;
	bool equal;

	if (bounds != NULL)
	{
		offset = partition_list_bsearch(key->partsupfunc, key->partcollation, bounds,
										value, &equal);
		if (offset >= 0 && equal)
			return desc->oids[bounds->indexes[offset]];
		if (partition_bound_has_default(bounds))
		{
			default_branch = desc->oids[bounds->default_index];
			branches--;
		}
	}

	if (want_default || branches >= gs_archive_max_types ||
		(OidIsValid(default_branch) && default_branch_in_use(default_branch)))
	{
		route->in_default = true;
		if (OidIsValid(default_branch))
			return default_branch;
		route->make_default = true;
	}
	route->no_branch = true;
	return InvalidOid;
}

static bool
is_value(PartitionBoundInfo bounds, int i)
{
	return i >= 0 && i < bounds->ndatums &&
		   bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE;
}

/* One level down a table that is partitioned by the time of the end. */
static Oid
range_step(PartitionKey key, PartitionDesc desc, TimestampTz at, Route *route)
{
	PartitionBoundInfo bounds = desc->boundinfo;
	Datum value = TimestampTzGetDatum(at);
	int offset;
	int part;
	bool equal;

	if (bounds == NULL)
		return InvalidOid;

	/* the partition, or gap, between bounds number offset and offset + 1 */
	offset = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds,
										   1, &value, &equal);
	part = bounds->indexes[offset + 1];
	if (part < 0 && partition_bound_has_default(bounds))
		part = bounds->default_index;
	if (is_value(bounds, offset))
		route->from = Max(route->from, DatumGetTimestampTz(bounds->datums[offset][0]));
	if (is_value(bounds, offset + 1))
		route->to = Min(route->to, DatumGetTimestampTz(bounds->datums[offset + 1][0]));
	return part < 0 ? InvalidOid : desc->oids[part];
}

static Oid
step(Relation rel, const GsText *game_type, TimestampTz at, bool want_default,
	 Route *route)
{
	PartitionKey key = RelationGetPartitionKey(rel);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	const char *column = "";

	if (key->partnatts == 1 && key->partattrs[0] > 0)
		column =
			NameStr(TupleDescAttr(RelationGetDescr(rel), key->partattrs[0] - 1)->attname);
	if (key->strategy == PARTITION_STRATEGY_LIST && strcmp(column, "game_type") == 0 &&
		key->parttypid[0] == TEXTOID)
		return list_step(key, desc, game_type, want_default, route);
	if (key->strategy == PARTITION_STRATEGY_RANGE && strcmp(column, "ended_at") == 0 &&
		key->parttypid[0] == TIMESTAMPTZOID)
		return range_step(key, desc, at, route);

	/* a scheme of the DBA's: the INSERT will tell */
	route->found = true;
	return InvalidOid;
}

/* Follow a game down a table's partitions as far as they exist. */
static void
find_route(Oid table, const GsText *game_type, TimestampTz at, bool want_default,
		   Route *route)
{
	memset(route, 0, sizeof(*route));
	route->parent = table;
	route->from = day_of(at) * USECS_PER_DAY;
	route->to = route->from + USECS_PER_DAY;

	for (;;)
	{
		Relation rel = table_open(route->parent, AccessShareLock);
		Oid next = InvalidOid;

		(void) hash_search(watched, &route->parent, HASH_ENTER, NULL);
		if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
			next = step(rel, game_type, at, want_default, route);
		else
			route->found = true;
		table_close(rel, NoLock);
		if (!OidIsValid(next))
			return;
		route->parent = next;
	}
}

/* ----------------------------------------------------------------
 *		Making it
 * ----------------------------------------------------------------
 */

/*
 * A game type as part of an SQL name: lower case letters, digits and
 * underscores.  Where that changed or shortened the type, a hash makes sure
 * that different types have different names.
 */
static void
append_slug(StringInfo name, const GsText *game_type)
{
	bool same = game_type->len <= MAX_SLUG;

	for (uint32 i = 0; i < Min(game_type->len, MAX_SLUG); i++)
	{
		char c = game_type->data[i];

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
			appendStringInfoChar(name, c);
		else
		{
			appendStringInfoChar(name, c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : '_');
			same = false;
		}
	}
	if (!same)
		appendStringInfo(name, "_%08x",
						 hash_bytes((const unsigned char *) game_type->data,
									game_type->len));
}

/*
 * A free name in the partitions' schema.  Types like "chess_p20261121" may
 * have taken the one that comes first to mind.
 */
static char *
free_name(const char *wanted)
{
	Oid schema = get_namespace_oid(PARTITIONS_SCHEMA, false);
	char *name = pstrdup(wanted);

	for (int i = 2; OidIsValid(get_relname_relid(name, schema)); i++)
	{
		if (i > 99)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("no free name for a partition like \"%s\"", wanted)));
		name = psprintf("%s_%d", wanted, i);
	}
	return name;
}

static void
execute(const char *command)
{
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result of: %s", command);
}

static const char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* The day of a leaf as the names of partitions have it. */
static void
append_day(StringInfo s, TimestampTz at, const char *format)
{
	int year;
	int month;
	int day;

	j2date((int) day_of(at) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(s, format, year, month, day);
}

/* A bound, independent of DateStyle and TimeZone. */
static void
append_bound(StringInfo s, TimestampTz at)
{
	TimestampTz usecs = at - day_of(at) * USECS_PER_DAY;

	appendStringInfoChar(s, '\'');
	append_day(s, at, "%04d-%02d-%02d");
	appendStringInfo(s, " %02d:%02d:%02d.%06d+00'", (int) (usecs / USECS_PER_HOUR),
					 (int) (usecs / USECS_PER_MINUTE % MINS_PER_HOUR),
					 (int) (usecs / USECS_PER_SEC % SECS_PER_MINUTE),
					 (int) (usecs % USECS_PER_SEC));
}

#define LIKE_CLAUSE                                             \
	"INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE " \
	"INCLUDING COMPRESSION INCLUDING CONSTRAINTS"

static void
make_branch(const char *table, const GsText *game_type, const Route *route)
{
	StringInfoData name;
	StringInfoData command;
	const char *branch;

	initStringInfo(&name);
	appendStringInfo(&name, "%s_", table);
	if (route->make_default)
		appendStringInfoString(&name, "default");
	else
		append_slug(&name, game_type);
	branch = quote_identifier(free_name(name.data));

	initStringInfo(&command);
	appendStringInfo(&command,
					 "CREATE TABLE " PARTITIONS_SCHEMA ".%s (LIKE %s " LIKE_CLAUSE
					 ") PARTITION BY RANGE (ended_at)",
					 branch, qualified_name(route->parent));
	execute(command.data);

	resetStringInfo(&command);
	appendStringInfo(&command,
					 "ALTER TABLE %s ATTACH PARTITION " PARTITIONS_SCHEMA ".%s ",
					 qualified_name(route->parent), branch);
	if (route->make_default)
		appendStringInfoString(&command, "DEFAULT");
	else
		appendStringInfo(&command, "FOR VALUES IN (%s)",
						 quote_literal_cstr(pnstrdup(game_type->data, game_type->len)));
	execute(command.data);
}

static bool
has_primary_key(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool result;

	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	result = OidIsValid(rel->rd_pkindex);
	table_close(rel, NoLock);
	return result;
}

static void
make_leaf(const char *table, const GsText *game_type, const Route *route)
{
	StringInfoData name;
	StringInfoData command;
	const char *leaf;

	initStringInfo(&name);
	appendStringInfo(&name, "%s_", table);
	if (route->in_default)
		appendStringInfoString(&name, "default");
	else
		append_slug(&name, game_type);
	append_day(&name, route->from, "_p%04d%02d%02d");
	leaf = quote_identifier(free_name(name.data));

	/* a DBA's primary key on the parent will be this table's too */
	initStringInfo(&command);
	appendStringInfo(&command,
					 "CREATE TABLE " PARTITIONS_SCHEMA ".%s (LIKE %s " LIKE_CLAUSE
					 ", %s (game_id))",
					 leaf, qualified_name(route->parent),
					 has_primary_key(route->parent) ? "UNIQUE" : "PRIMARY KEY");
	execute(command.data);

	resetStringInfo(&command);
	appendStringInfo(&command,
					 "ALTER TABLE %s ATTACH PARTITION " PARTITIONS_SCHEMA ".%s "
					 "FOR VALUES FROM (",
					 qualified_name(route->parent), leaf);
	append_bound(&command, route->from);
	appendStringInfoString(&command, ") TO (");
	append_bound(&command, route->to);
	appendStringInfoChar(&command, ')');
	execute(command.data);
	elog(DEBUG1, "made partition %s", leaf);
}

/* Make what is missing in one of the tables, a level at a time; true if anything was. */
static bool
complete(const char *table, const GsText *game_type, TimestampTz at, bool want_default,
		 Route *route)
{
	Oid relid = get_relname_relid(table, get_namespace_oid(SCHEMA, false));
	Oid locked = InvalidOid;
	bool made = false;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", SCHEMA, table)));

	for (;;)
	{
		find_route(relid, game_type, at, want_default, route);
		if (route->found)
			return made;
		if (route->parent != locked)
		{
			/* look again when nobody else can attach partitions */
			LockRelationOid(route->parent, ShareUpdateExclusiveLock);
			locked = route->parent;
			continue;
		}
		if (route->no_branch)
			make_branch(table, game_type, route);
		else
			make_leaf(table, game_type, route);
		made = true;
	}
}

void
gs_partition_ensure(const GsText *game_type, TimestampTz ended_at)
{
	Route rows;
	Route payloads;
	bool made;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	made = complete("archive", game_type, ended_at, false, &rows);
	made |= complete("archive_payload", game_type, ended_at, rows.in_default, &payloads);
	SPI_finish();
	gs_worker_commit();
	if (made)
	{
		gs_worker_begin(LOCK_TIMEOUT_MS);
		begin_settling(game_type, ended_at);
		gs_worker_commit();
	}
	remember_place(game_type, ended_at, Max(rows.from, payloads.from),
				   Min(rows.to, payloads.to));
}

/*
 * Nothing has to settle: who does not see the new partition yet misses rows
 * that were nowhere before.
 */
void
gs_partition_ensure_here(const GsText *game_type, TimestampTz ended_at, TimestampTz *from,
						 TimestampTz *to)
{
	Route rows;
	Route payloads;

	if (watched == NULL)
		gs_partition_init();
	SPI_connect();
	(void) complete("archive", game_type, ended_at, false, &rows);
	(void) complete("archive_payload", game_type, ended_at, rows.in_default, &payloads);
	SPI_finish();
	*from = Max(rows.from, payloads.from);
	*to = Min(rows.to, payloads.to);
}

/* ----------------------------------------------------------------
 *		Making them ahead
 * ----------------------------------------------------------------
 */

void
gs_partition_used(const GsText *game_type)
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
		used->ahead_until = PG_INT64_MIN;
	used->last_used = GetCurrentTimestamp();
}

static bool
is_recent(const UsedType *used, TimestampTz now)
{
	return used->last_used > now - RECENT_DAYS * USECS_PER_DAY;
}

TimestampTz
gs_partition_next_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 today = day_of(now);
	TimestampTz due = 0;
	HASH_SEQ_STATUS scan;
	UsedType *used;

	hash_seq_init(&scan, used_types);
	while ((used = hash_seq_search(&scan)) != NULL)
	{
		if (!is_recent(used, now))
			(void) hash_search(used_types, &used->type, HASH_REMOVE, NULL);
		else if (used->ahead_until < today + gs_archive_make_ahead)
			due = now;
		else if (due == 0)
			due = (today + 1) * USECS_PER_DAY;
	}
	return due;
}

/* Copies, because a scan of a hash table must not go on across transactions. */
static TypeKey *
types_that_are_due(int64 until, int *n)
{
	TypeKey *types = palloc(sizeof(TypeKey) * hash_get_num_entries(used_types));
	HASH_SEQ_STATUS scan;
	UsedType *used;

	*n = 0;
	hash_seq_init(&scan, used_types);
	while ((used = hash_seq_search(&scan)) != NULL)
	{
		if (used->ahead_until < until)
			types[(*n)++] = used->type;
	}
	return types;
}

void
gs_partition_make_ahead(void)
{
	int64 today = day_of(GetCurrentTimestamp());
	int64 until = today + gs_archive_make_ahead;
	int n;
	TypeKey *types = types_that_are_due(until, &n);

	for (int i = 0; i < n; i++)
	{
		GsText game_type = {types[i].type, strlen(types[i].type)};
		UsedType *used = hash_search(used_types, &types[i], HASH_FIND, NULL);

		for (int64 day = Max(today, used->ahead_until) + 1; day <= until; day++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!gs_partition_is_known(&game_type, day * USECS_PER_DAY))
				gs_partition_ensure(&game_type, day * USECS_PER_DAY);
			used->ahead_until = day;
		}
		used->ahead_until = until;
	}
	pfree(types);
}
