/*-------------------------------------------------------------------------
 *
 * gs_rate_policy.c
 *	  Rate limits: the rows of gamestate.rate_limit.
 *
 * The model is that of gs_policy.c: the table is read as a whole into
 * backend-local memory when it is first needed; a trigger sends a relcache
 * invalidation when its rows change, which all sessions hear of before the
 * change is committed to its client; a callback counts it; a look-up compares
 * the count.  While nothing changes a look-up is a probe of a hash table.
 *
 * The callback runs at any time and may only count.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_policy.h"
#include "gs_rate_limit.h"
#include "gs_sql.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns, in no particular order. */
enum
{
	COL_NAME,
	COL_KIND,
	COL_AMOUNT,
	COL_PERIOD,
	COL_BURST,
	COL_BUSY_SESSIONS,
	COL_MIN_SHARE,
	COL_COST_KEY,
	COL_COSTS,
	COL_DEFAULT_COST,
	NCOLUMNS
};

static const struct
{
	const char *name;
	Oid type;
} columns[NCOLUMNS] = {
	[COL_NAME] = {"name", TEXTOID},
	[COL_KIND] = {"kind", TEXTOID},
	[COL_AMOUNT] = {"amount", FLOAT8OID},
	[COL_PERIOD] = {"period", INTERVALOID},
	[COL_BURST] = {"burst", FLOAT8OID},
	[COL_BUSY_SESSIONS] = {"busy_sessions", INT4OID},
	[COL_MIN_SHARE] = {"min_share", FLOAT8OID},
	[COL_COST_KEY] = {"cost_key", TEXTOID},
	[COL_COSTS] = {"costs", JSONBOID},
	[COL_DEFAULT_COST] = {"default_cost", FLOAT8OID},
};

/* A row, taken apart. */
typedef struct Row
{
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS];
} Row;

static HTAB *policies = NULL; /* NULL = there are none */
static MemoryContext policies_context = NULL;
static Oid policy_table = InvalidOid; /* as of the last reading */
static uint64 changes = 1;
static uint64 changes_read = 0; /* what "changes" was before the last reading */

static void
relcache_callback(Datum arg, Oid relid)
{
	/* without a table any message may be that of its creation */
	if (!OidIsValid(relid) || relid == policy_table || !OidIsValid(policy_table))
		changes++;
}

void
gs_rate_policy_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
}

static void
find_columns(Relation rel, AttrNumber *numbers)
{
	for (int i = 0; i < NCOLUMNS; i++)
		numbers[i] = gs_sql_column(rel, columns[i].name, columns[i].type);
}

/* ----------------------------------------------------------------
 *		From a row to a policy
 *
 * The table's CHECKs say which values there may be.  Whoever has taken one
 * away gets, for any other value, what can be calculated with.
 * ----------------------------------------------------------------
 */

static double
number_in(const Row *row, int column, double standard, double lowest)
{
	double value = row->nulls[column] ? standard : DatumGetFloat8(row->values[column]);

	return value >= lowest && value <= 1e15 ? value : Max(standard, lowest);
}

static int
compare_costs(const void *a, const void *b)
{
	return strcmp(((const GsRateCost *) a)->kind, ((const GsRateCost *) b)->kind);
}

/* The caller is in the memory context of the policies. */
static void
take_costs(GsRatePolicy *policy, Jsonb *costs)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(costs))
		return;
	policy->costs = palloc(sizeof(GsRateCost) * Max(JB_ROOT_COUNT(costs), 1));
	it = JsonbIteratorInit(&costs->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			policy->costs[policy->ncosts].kind =
				pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE && value.type == jbvNumeric)
		{
			double cost =
				DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												   NumericGetDatum(value.val.numeric)));

			policy->costs[policy->ncosts++].cost = Min(Max(cost, 0), 1e15);
		}
	}
	qsort(policy->costs, policy->ncosts, sizeof(GsRateCost), compare_costs);
}

static void
take_row(GsRatePolicy *policy, const Row *row)
{
	const text *kind = DatumGetTextPP(row->values[COL_KIND]);
	GsRateLimit *limit = &policy->limit;

	memset((char *) policy + sizeof(policy->name), 0,
		   sizeof(*policy) - sizeof(policy->name));
	limit->kind = VARSIZE_ANY_EXHDR(kind) == strlen("sliding_window")
					  ? GS_RATE_SLIDING_WINDOW
					  : GS_RATE_TOKEN_BUCKET;
	limit->amount = number_in(row, COL_AMOUNT, 1, 1e-9);
	limit->burst = number_in(row, COL_BURST, limit->amount, 1e-9);
	limit->period_us =
		row->nulls[COL_PERIOD]
			? USECS_PER_SEC
			: Max(gs_interval_us(DatumGetIntervalP(row->values[COL_PERIOD])), 1);
	if (!row->nulls[COL_BUSY_SESSIONS])
		policy->busy_sessions = Max(DatumGetInt32(row->values[COL_BUSY_SESSIONS]), 1);
	policy->min_share = Min(number_in(row, COL_MIN_SHARE, 0.1, 1e-9), 1);
	policy->default_cost = number_in(row, COL_DEFAULT_COST, 1, 0);
	if (!row->nulls[COL_COST_KEY] && !row->nulls[COL_COSTS])
	{
		policy->cost_key = TextDatumGetCString(row->values[COL_COST_KEY]);
		take_costs(policy, DatumGetJsonbP(row->values[COL_COSTS]));
	}
	policy->highest_cost = policy->default_cost;
	for (int i = 0; i < policy->ncosts; i++)
		policy->highest_cost = Max(policy->highest_cost, policy->costs[i].cost);
}

/* ----------------------------------------------------------------
 *		Reading the table
 * ----------------------------------------------------------------
 */

static bool
set_name(char *name, const char *data, Size len)
{
	if (len > GS_MAX_ID_LENGTH)
		return false;
	memset(name, 0, GS_MAX_ID_LENGTH + 1);
	memcpy(name, data, len);
	return true;
}

static HTAB *
read_rows(Relation rel, Snapshot snapshot, const AttrNumber *numbers,
		  MemoryContext context)
{
	HASHCTL ctl = {.keysize = GS_MAX_ID_LENGTH + 1,
				   .entrysize = sizeof(GsRatePolicy),
				   .hcxt = context};
	HTAB *table = NULL;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Row row;
		const text *text_name;
		char name[GS_MAX_ID_LENGTH + 1];
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < NCOLUMNS; i++)
			row.values[i] = slot_getattr(slot, numbers[i], &row.nulls[i]);
		if (row.nulls[COL_NAME] || row.nulls[COL_KIND])
			continue;
		text_name = DatumGetTextPP(row.values[COL_NAME]);
		if (!set_name(name, VARDATA_ANY(text_name), VARSIZE_ANY_EXHDR(text_name)))
			continue;
		if (table == NULL)
			table = hash_create("gamestate rate limits", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		old = MemoryContextSwitchTo(context);
		take_row(hash_search(table, name, HASH_ENTER, NULL), &row);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return table;
}

static HTAB *
read_table(Relation rel, MemoryContext context)
{
	AttrNumber numbers[NCOLUMNS];
	/* not the transaction's: what is committed now holds */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	HTAB *table;

	find_columns(rel, numbers);
	table = read_rows(rel, snapshot, numbers, context);
	UnregisterSnapshot(snapshot);
	return table;
}

static void
read_policies(void)
{
	Oid schema = get_namespace_oid("gamestate", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid("rate_limit", schema) : InvalidOid;
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	MemoryContext context;
	HTAB *table = NULL;
	uint64 seen;

	/* what is heard of from here on may be about rows that are read too early */
	policy_table = rel ? relid : InvalidOid;
	seen = changes;
	context = AllocSetContextCreate(CurrentMemoryContext, "gamestate rate limits",
									ALLOCSET_SMALL_SIZES);
	if (rel)
	{
		table = read_table(rel, context);
		table_close(rel, AccessShareLock);
	}

	MemoryContextSetParent(context, TopMemoryContext);
	if (policies_context)
		MemoryContextDelete(policies_context);
	policies_context = context;
	policies = table;
	changes_read = seen;
}

const GsRatePolicy *
gs_rate_policy(const char *name, Size len)
{
	char key[GS_MAX_ID_LENGTH + 1];

	AcceptInvalidationMessages();
	if (unlikely(changes_read != changes))
		read_policies();
	if (policies == NULL || !set_name(key, name, len))
		return NULL;
	return hash_search(policies, key, HASH_FIND, NULL);
}
