/*-------------------------------------------------------------------------
 *
 * gs_policy.c
 *	  What gamestate.policy says about a game type.
 *
 * The model:
 *	1. The table is read as a whole into backend-local memory by the first
 *	   look-up.  From then on a look-up costs one probe of a hash table, or
 *	   nothing if there are no policies: no catalog, no snapshot, no lock.
 *	2. Whatever changes rows of the table fires a statement trigger, which
 *	   sends a relcache invalidation for the table.  PostgreSQL delivers it to
 *	   all sessions when the change commits, before the client is told, and to
 *	   our own at the end of the statement, and again if that is rolled back.
 *	   The callback only counts it, which makes what is remembered
 *	   stale.
 *	3. A look-up asks for invalidations first, because a transaction that has
 *	   been open for long would otherwise not hear of them.  So a committed
 *	   policy holds for every game created afterwards, in each session and in
 *	   each isolation level.
 *
 * The callback runs at any time and may only count.  It may come while the
 * table is being read: then what was read is used once and read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_policy.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(gs_policy_changed);

/* Columns of gamestate.policy, in the order of the script. */
enum
{
	POLICY_GAME_TYPE = 1,
	POLICY_DURABILITY
};

/* A game type as a hash key: padded with zero bytes. */
typedef struct TypeKey
{
	char type[GS_MAX_ID_LENGTH + 1];
} TypeKey;

typedef struct Policy
{
	TypeKey type;
	GsDurability durability;
} Policy;

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
gs_policy_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
}

/* Trigger: rows of the table have been changed. */
Datum
gs_policy_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("gamestate.policy_changed() must be called by an AFTER ... FOR EACH STATEMENT trigger")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/* false if the type cannot be one: it is too long */
static bool
set_type_key(TypeKey *key, const char *type, Size len)
{
	if (len > GS_MAX_ID_LENGTH)
		return false;
	memset(key, 0, sizeof(*key));
	memcpy(key->type, type, len);
	return true;
}

/*
 * The table's CHECK allows two words.  Whoever has taken it away gets the one
 * that loses nothing.
 */
static GsDurability
durability_of(const text *word)
{
	return VARSIZE_ANY_EXHDR(word) == strlen("memory") &&
				   memcmp(VARDATA_ANY(word), "memory", strlen("memory")) == 0
			   ? GS_DURABILITY_MEMORY
			   : GS_DURABILITY_JOURNAL;
}

static void
check_columns(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (desc->natts < POLICY_DURABILITY ||
		TupleDescAttr(desc, POLICY_GAME_TYPE - 1)->atttypid != TEXTOID ||
		TupleDescAttr(desc, POLICY_DURABILITY - 1)->atttypid != TEXTOID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table gamestate.policy is not usable"),
				 errdetail("Its columns have been changed."),
				 errhint("Undo that change.")));
}

static HTAB *
read_rows(Relation rel, MemoryContext context)
{
	HASHCTL ctl = {.keysize = sizeof(TypeKey),
				   .entrysize = sizeof(Policy),
				   .hcxt = context};
	HTAB *table = NULL;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	/* not the transaction's: what is committed now holds */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool type_null;
		bool durability_null;
		Datum type_datum = slot_getattr(slot, POLICY_GAME_TYPE, &type_null);
		Datum durability = slot_getattr(slot, POLICY_DURABILITY, &durability_null);
		const text *type;
		TypeKey key;
		Policy *policy;

		CHECK_FOR_INTERRUPTS();
		if (type_null || durability_null)
			continue;
		type = DatumGetTextPP(type_datum);
		if (!set_type_key(&key, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
			continue;
		if (table == NULL)
			table = hash_create("gamestate policies", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		policy = hash_search(table, &key, HASH_ENTER, NULL);
		policy->durability = durability_of(DatumGetTextPP(durability));
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	return table;
}

static void
read_policies(void)
{
	Oid schema = get_namespace_oid("gamestate", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid("policy", schema) : InvalidOid;
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	MemoryContext context;
	HTAB *table = NULL;
	uint64 seen;

	/* what is heard of from here on may be about rows that are read too early */
	policy_table = rel ? relid : InvalidOid;
	seen = changes;
	context = AllocSetContextCreate(CurrentMemoryContext, "gamestate policies",
									ALLOCSET_SMALL_SIZES);
	if (rel)
	{
		check_columns(rel);
		table = read_rows(rel, context);
		table_close(rel, AccessShareLock);
	}

	MemoryContextSetParent(context, TopMemoryContext);
	if (policies_context)
		MemoryContextDelete(policies_context);
	policies_context = context;
	policies = table;
	changes_read = seen;
}

GsDurability
gs_policy_durability(const GsText *game_type)
{
	TypeKey key;
	const Policy *policy;

	AcceptInvalidationMessages();
	if (unlikely(changes_read != changes))
		read_policies();
	if (likely(policies == NULL) || !set_type_key(&key, game_type->data, game_type->len))
		return gs_durability;
	policy = hash_search(policies, &key, HASH_FIND, NULL);
	return policy ? policy->durability : (GsDurability) gs_durability;
}
