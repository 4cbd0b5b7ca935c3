/*-------------------------------------------------------------------------
 *
 * gs_partition.c
 *	  Partitions of the archive: is there one for a game, and making it.
 *
 * The model:
 *	1. gamestate.archive and gamestate.archive_payload are partitioned by LIST
 *	   (game_type), each of these branches by RANGE (ended_at) into leaves of
 *	   a period (gs_period.c) each, as long as the type's policy says.  Both have
 *	   the same branches and leaves.
 *	2. The first gamestate.archive_max_types types get a branch of their own;
 *	   further ones share the default branch, which is made when the first of
 *	   them needs it, and follow the default policy.  Once that branch has leaves, new
 *	   types go there too, even if the limit is raised: to attach a branch would mean to
 *	   search the default branch, locked against everybody.  (Even an empty default
 *	   branch would have to be locked so, which is why it is not made earlier.)
 *	   A type gets out of it by gamestate.promote_type() (gs_promote.c).
 *	3. Whether a place exists is asked from PostgreSQL's own partition
 *	   descriptors, never from names.  So partitions made by a DBA, or by ourselves when
 *	   the policy said another interval, are used as they are.  Where they
 *	   cover part of a period the leaf is made for the free part around the game's
 *	   end: partitions never overlap, and a new interval begins at the next free
 *	   boundary.  Below a partition of any other kind we leave it to the INSERT
 *	   to find its way.
 *	4. A leaf is created standalone and then attached, because ATTACH takes a
 *	   weaker lock on the parent (SHARE UPDATE EXCLUSIVE, taken first) than
 *	   CREATE TABLE ... PARTITION OF does: readers and writers go on.  It needs
 *	   no CHECK to be attached quickly: it is empty, so that looking through
 *	   it costs nothing.
 *
 * What the archiver remembers of all that is in gs_place.c; who makes leaves before they
 * are needed is gs_ahead.c.
 *
 * Locking: parents, until the caller's transaction ends; how long is waited for
 * that is the caller's lock_timeout.  The relcache callback runs at any time and
 * may only count.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_config.h"
#include "gs_partition.h"
#include "gs_period.h"
#include "gs_policy.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#define SCHEMA			  "gamestate"
#define PARTITIONS_SCHEMA "gamestate_partitions"

/*
 * Longest slug of a game type.  The longest name is
 * archive_payload_<slug>_<8 hex digits>_p20261121t07_99, and has to fit into 63.
 */
#define MAX_SLUG 21

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
	TimestampTz at;
	TimestampTz from; /* bounds of the partition, or of the gap, within the period */
	TimestampTz to;
} Route;

/* The partitioned tables that were looked at, and how often one of them has changed. */
static HTAB *watched = NULL;
static uint64 changes = 0;

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || hash_search(watched, &relid, HASH_FIND, NULL) != NULL)
		changes++;
}

static void
watch(Oid relid)
{
	if (watched == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Oid)};

		watched =
			hash_create("gamestate watched tables", 64, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	}
	(void) hash_search(watched, &relid, HASH_ENTER, NULL);
}

uint64
gs_partition_changes(void)
{
	return changes;
}

/* ----------------------------------------------------------------
 *		Finding the place
 * ----------------------------------------------------------------
 */

/* The types of the default branch follow the default policy. */
static const GsText shared_type = {"", 0};

/* What the route may be at most, as the policy of a type says. */
static void
set_period(Route *route, const GsText *game_type)
{
	gs_period(gs_policy(game_type)->partition_interval, route->at, &route->from,
			  &route->to);
}

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
		set_period(route, &shared_type);
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
	route->at = at;
	set_period(route, game_type);

	for (;;)
	{
		Relation rel = table_open(route->parent, AccessShareLock);
		Oid next = InvalidOid;

		watch(route->parent);
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

/* The day of a time, in UTC. */
static void
append_day(StringInfo s, TimestampTz at, const char *format)
{
	int year;
	int month;
	int day;

	j2date((int) gs_period_day(at) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(s, format, year, month, day);
}

/* The start of a leaf as the names of partitions have it. */
static void
append_start(StringInfo name, TimestampTz from)
{
	int64 usecs = from - gs_period_day(from) * USECS_PER_DAY;

	append_day(name, from, "_p%04d%02d%02d");
	if (usecs != 0)
		appendStringInfo(name, "t%02d", (int) (usecs / USECS_PER_HOUR));
}

/* A bound, independent of DateStyle and TimeZone. */
static void
append_bound(StringInfo s, TimestampTz at)
{
	TimestampTz usecs = at - gs_period_day(at) * USECS_PER_DAY;

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

/* A branch that is not attached yet; game_type NULL: the default one.  Its name, not quoted. */
static char *
create_branch(const char *table, const GsText *game_type, Oid parent,
			  const char *also_like)
{
	StringInfoData name;
	char *branch;

	initStringInfo(&name);
	appendStringInfo(&name, "%s_", table);
	if (game_type == NULL)
		appendStringInfoString(&name, "default");
	else
		append_slug(&name, game_type);
	branch = free_name(name.data);
	execute(psprintf("CREATE TABLE " PARTITIONS_SCHEMA ".%s (LIKE %s " LIKE_CLAUSE
					 "%s) PARTITION BY RANGE (ended_at)",
					 quote_identifier(branch), qualified_name(parent), also_like));
	return branch;
}

static void
attach_branch(const char *branch, const GsText *game_type, Oid parent)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfo(&command, "ALTER TABLE %s ATTACH PARTITION %s ",
					 qualified_name(parent), branch);
	if (game_type == NULL)
		appendStringInfoString(&command, "DEFAULT");
	else
		appendStringInfo(&command, "FOR VALUES IN (%s)",
						 quote_literal_cstr(pnstrdup(game_type->data, game_type->len)));
	execute(command.data);
}

static void
make_branch(const char *table, const GsText *game_type, const Route *route)
{
	const GsText *of_type = route->make_default ? NULL : game_type;
	char *branch = create_branch(table, of_type, route->parent, "");

	attach_branch(quote_qualified_identifier(PARTITIONS_SCHEMA, branch), of_type,
				  route->parent);
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
	append_start(&name, route->from);
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

static Oid
table_oid(const char *table)
{
	Oid relid = get_relname_relid(table, get_namespace_oid(SCHEMA, false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", SCHEMA, table)));
	return relid;
}

static void
set_place(GsPlace *place, const Route *rows, const Route *payloads)
{
	place->from = Max(rows->from, payloads->from);
	place->to = Min(rows->to, payloads->to);
	place->rows = rows->parent;
	place->payloads = payloads->parent;
}

/* Nothing can be inserted into a file. */
static void
check_not_frozen(Oid leaf)
{
	if (get_rel_relkind(leaf) != RELKIND_FOREIGN_TABLE || !gs_cold_is_frozen(leaf))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("partition %s is frozen", qualified_name(leaf)),
			 errdetail("A game that ended in its period cannot be archived."),
			 errhint("SELECT gamestate.thaw_partition('%s');", qualified_name(leaf))));
}

/* Make what is missing in one of the tables, a level at a time; true if anything was. */
static bool
complete(const char *table, const GsText *game_type, TimestampTz at, bool want_default,
		 Route *route)
{
	Oid relid = table_oid(table);
	Oid locked = InvalidOid;
	bool made = false;

	for (;;)
	{
		find_route(relid, game_type, at, want_default, route);
		if (route->found)
		{
			check_not_frozen(route->parent);
			return made;
		}
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

bool
gs_partition_complete(const GsText *game_type, TimestampTz ended_at, bool shared,
					  GsPlace *place)
{
	Route rows;
	Route payloads;
	bool made;

	SPI_connect();
	made = complete("archive", game_type, ended_at, shared, &rows);
	made |= complete("archive_payload", game_type, ended_at, rows.in_default, &payloads);
	SPI_finish();
	set_place(place, &rows, &payloads);
	return made;
}

bool
gs_partition_find(const GsText *game_type, TimestampTz ended_at, bool shared,
				  GsPlace *place)
{
	Route rows;
	Route payloads;

	find_route(table_oid("archive"), game_type, ended_at, shared, &rows);
	find_route(table_oid("archive_payload"), game_type, ended_at, rows.in_default,
			   &payloads);
	set_place(place, &rows, &payloads);
	return rows.found && payloads.found;
}

/* ----------------------------------------------------------------
 *		A branch for a type that shares the default one
 * ----------------------------------------------------------------
 */

Oid
gs_partition_branch(const char *table, const GsText *game_type, bool *is_default)
{
	Relation rel = table_open(table_oid(table), AccessShareLock);
	PartitionKey key = RelationGetPartitionKey(rel);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	PartitionBoundInfo bounds = desc->boundinfo;
	Oid branch = InvalidOid;

	*is_default = false;
	if (bounds != NULL && key->strategy == PARTITION_STRATEGY_LIST &&
		key->parttypid[0] == TEXTOID)
	{
		Datum value =
			PointerGetDatum(cstring_to_text_with_len(game_type->data, game_type->len));
		bool equal;
		int offset = partition_list_bsearch(key->partsupfunc, key->partcollation, bounds,
											value, &equal);

		if (offset >= 0 && equal)
			branch = desc->oids[bounds->indexes[offset]];
		else if (partition_bound_has_default(bounds))
		{
			branch = desc->oids[bounds->default_index];
			*is_default = true;
		}
	}
	table_close(rel, NoLock);
	return branch;
}

#define TYPE_CHECK "gamestate_promotion"

Oid
gs_partition_create_branch(const char *table, const GsText *game_type)
{
	char *branch;

	/* with the parent's indexes: those that are missing would be made when it is attached */
	branch = create_branch(table, game_type, table_oid(table),
						   psprintf(" INCLUDING INDEXES, CONSTRAINT " TYPE_CHECK
									" CHECK (game_type = %s::text)",
									quote_literal_cstr(
										pnstrdup(game_type->data, game_type->len))));
	return get_relname_relid(branch, get_namespace_oid(PARTITIONS_SCHEMA, false));
}

Oid
gs_partition_leaf(const char *table, Oid branch, const GsText *game_type,
				  TimestampTz ended_at, bool *made)
{
	Route route;

	*made = false;
	find_route(branch, game_type, ended_at, false, &route);
	if (route.found)
		return route.parent;
	make_leaf(table, game_type, &route);
	CommandCounterIncrement();
	*made = true;
	find_route(branch, game_type, ended_at, false, &route);
	if (!route.found)
		elog(ERROR, "partition %u has no leaf that has just been made", branch);
	return route.parent;
}

void
gs_partition_attach_branch(const char *table, Oid branch, const GsText *game_type)
{
	const char *name = qualified_name(branch);

	attach_branch(name, game_type, table_oid(table));
	execute(psprintf("ALTER TABLE %s DROP CONSTRAINT " TYPE_CHECK, name));
}
