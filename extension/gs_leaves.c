/*-------------------------------------------------------------------------
 *
 * gs_leaves.c
 *	  Partitions of the archive as a list, for the maintenance worker.
 *
 * The model: the two levels of partitioned tables (gs_partition.c) are read from
 * PostgreSQL's own partition descriptors.  What has another shape, or is
 * somebody else's, is left out: a DBA's partitions are the DBA's to look after.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_compat.h"
#include "gs_leaves.h"
#include "gs_worker.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

static bool
is_partitioned_by(Relation rel, char strategy, const char *column)
{
	PartitionKey key;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	key = RelationGetPartitionKey(rel);
	return key->strategy == strategy && key->partnatts == 1 && key->partattrs[0] > 0 &&
		   strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), key->partattrs[0] - 1)
							  ->attname),
				  column) == 0;
}

char *
gs_leaf_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* Longer ago is before all times that there are. */
#define LONGEST_YEARS 6000

TimestampTz
gs_leaf_ago(const Interval *interval)
{
	double days = (double) interval->month * DAYS_PER_MONTH + interval->day +
				  (double) interval->time / USECS_PER_DAY;

	if (days > LONGEST_YEARS * DAYS_PER_YEAR)
		return DT_NOBEGIN;
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_mi_interval,
							TimestampTzGetDatum(GetCurrentTimestamp()),
							IntervalPGetDatum(interval)));
}

static bool
is_ours(Oid relid)
{
	return get_rel_namespace(relid) == get_namespace_oid("gamestate_partitions", true) &&
		   GS_CLASS_OWNERCHECK(relid, get_role_oid(GS_OWNER_ROLE, false));
}

/* An ordinary table, or one that we have frozen? */
static bool
is_leaf(Oid relid, bool *frozen)
{
	char kind = get_rel_relkind(relid);

	*frozen = kind == RELKIND_FOREIGN_TABLE && gs_cold_is_frozen(relid);
	return kind == RELKIND_RELATION || *frozen;
}

bool
gs_leaf_is_ours(Oid relid)
{
	bool frozen;

	return is_ours(relid) && is_leaf(relid, &frozen);
}

static List *
leaves_of_branch(Relation branch, const char *game_type, bool in_default, List *leaves)
{
	PartitionDesc desc = RelationGetPartitionDesc(branch, true);
	PartitionBoundInfo bounds = desc->boundinfo;

	for (int i = 0; bounds != NULL && i < bounds->ndatums; i++)
	{
		int part = bounds->indexes[i]; /* the one that ends at this bound */
		GsLeaf *leaf;
		bool frozen;

		if (part < 0 || bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE ||
			!is_ours(desc->oids[part]) || !is_leaf(desc->oids[part], &frozen))
			continue;
		leaf = palloc0(sizeof(GsLeaf));
		leaf->relid = desc->oids[part];
		leaf->name = gs_leaf_name(leaf->relid);
		leaf->game_type = pstrdup(game_type);
		leaf->in_default = in_default;
		leaf->frozen = frozen;
		leaf->parent = RelationGetRelid(branch);
		leaf->to = DatumGetTimestampTz(bounds->datums[i][0]);
		leaf->from = i > 0 && bounds->kind[i - 1][0] == PARTITION_RANGE_DATUM_VALUE
						 ? DatumGetTimestampTz(bounds->datums[i - 1][0])
						 : DT_NOBEGIN;
		leaves = lappend(leaves, leaf);
	}
	return leaves;
}

/* The type of a branch; "" if it is not that of one type alone. */
static const char *
type_of_branch(PartitionBoundInfo bounds, int part)
{
	const char *game_type = "";
	int n = 0;

	for (int i = 0; i < bounds->ndatums; i++)
	{
		if (bounds->indexes[i] != part)
			continue;
		game_type = TextDatumGetCString(bounds->datums[i][0]);
		n++;
	}
	return n == 1 ? game_type : "";
}

List *
gs_leaves_of_branch(Oid relid, const char *game_type)
{
	Relation branch = table_open(relid, AccessShareLock);
	List *leaves = NIL;

	if (is_partitioned_by(branch, PARTITION_STRATEGY_RANGE, "ended_at"))
		leaves = leaves_of_branch(branch, game_type, false, NIL);
	table_close(branch, NoLock);
	return leaves;
}

List *
gs_leaves(const char *table)
{
	Oid relid = get_relname_relid(table, get_namespace_oid("gamestate", false));
	Relation root = table_open(relid, AccessShareLock);
	List *leaves = NIL;

	if (is_partitioned_by(root, PARTITION_STRATEGY_LIST, "game_type"))
	{
		PartitionDesc desc = RelationGetPartitionDesc(root, true);

		for (int i = 0; i < desc->nparts; i++)
		{
			Relation branch = table_open(desc->oids[i], AccessShareLock);

			CHECK_FOR_INTERRUPTS();
			if (is_partitioned_by(branch, PARTITION_STRATEGY_RANGE, "ended_at"))
				leaves = leaves_of_branch(branch, type_of_branch(desc->boundinfo, i),
										  i == desc->boundinfo->default_index, leaves);
			table_close(branch, NoLock);
		}
	}
	table_close(root, NoLock);
	return leaves;
}
