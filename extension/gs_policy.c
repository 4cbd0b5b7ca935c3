/*-------------------------------------------------------------------------
 *
 * gs_policy.c
 *	  What gamestate.policy says about a game type.
 *
 * The model:
 *	1. A row says what holds for one type; the row of the empty type, if there
 *	   is one, for all others and for what is NULL in a type's row.  What is
 *	   NULL there too follows the settings, or built-in values.
 *	2. The table is read as a whole into backend-local memory by the first
 *	   look-up.  From then on a look-up costs one probe of a hash table, or
 *	   nothing if there are no policies: no catalog, no snapshot, no lock.
 *	3. Whatever changes rows of the table fires a statement trigger, which
 *	   sends a relcache invalidation for the table.  PostgreSQL delivers it to
 *	   all sessions when the change commits, before the client is told, and to
 *	   our own at the end of the statement, and again if that is rolled back.
 *	   The callback only counts it, which makes what is remembered
 *	   stale.
 *	4. A look-up asks for invalidations first, because a transaction that has
 *	   been open for long would otherwise not hear of them.  So a committed
 *	   policy holds for every game created afterwards, in each session and in
 *	   each isolation level.
 *	5. A worker that the change concerns is woken by the commit, a little before
 *	   PostgreSQL delivers the invalidation.  So a commit counts its change in
 *	   shared memory first (GsDatabase.policy_changes), and a look-up compares
 *	   that, too: who has been woken reads what he was woken for.
 *
 * The callback runs at any time and may only count.  It may come while the
 * table is being read: then what was read is used once and read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_policy.h"
#include "gs_sql.h"
#include "gs_worker.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
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

/* A game type as a hash key: padded with zero bytes. */
typedef struct TypeKey
{
	char type[GS_MAX_ID_LENGTH + 1];
} TypeKey;

typedef struct Policy
{
	TypeKey type; /* hash key */
	GsPolicy policy;
} Policy;

/* A column, and what takes its value if it is not NULL. */
typedef struct PolicyColumn
{
	const char *name;
	Oid type;
	void (*set)(GsPolicy *policy, Datum value);
} PolicyColumn;

static const GsPolicy builtin_policy = {.durability = GS_POLICY_SETTING,
										.compression_level = GS_POLICY_SETTING,
										.dictionary = true,
										.repack_level = GS_REPACK_LEVEL_DEFAULT,
										.archive_batch = GS_POLICY_SETTING,
										.archive_priority = GS_PRIORITY_DEFAULT,
										.archive_attempts = GS_ARCHIVE_ATTEMPTS_DEFAULT,
										.player_stats = true,
										.retention_action = GS_RETENTION_DROP,
										.make_ahead = GS_POLICY_SETTING,
										.absence_us = USECS_PER_MINUTE};

static GsPolicy default_policy;
static bool limits_moves = false; /* any of them */
static HTAB *policies = NULL;	  /* NULL = there is at most a default */
static MemoryContext policies_context = NULL;
static Oid policy_table = InvalidOid; /* as of the last reading */
static uint64 changes = 1;
static uint64 changes_read = 0; /* what "changes" was before the last reading */
static GsDatabase *mine = NULL; /* this database's slot, once it has one */
static uint32 commits_read = 0; /* what its policy_changes was then */
static uint64 readings = 0;

/* this transaction has changed rows in that database, which has a maintenance worker */
static GsDatabase *changed_in = NULL;

/* Cannot fail. */
static void
xact_callback(XactEvent event, void *arg)
{
	if (changed_in && event == XACT_EVENT_COMMIT)
	{
		pg_atomic_fetch_add_u32(&changed_in->policy_changes, 1);
		gs_worker_wake_archiver(changed_in);
		gs_worker_wake_maintenance(changed_in);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		changed_in = NULL;
}

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
	RegisterXactCallback(xact_callback, NULL);
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
	if (GsShmem != NULL)
		changed_in = gs_database_find(MyDatabaseId, false);
	return PointerGetDatum(NULL);
}

int64
gs_interval_us(const Interval *interval)
{
	double us =
		interval->time + (interval->day + interval->month * (double) DAYS_PER_MONTH) *
							 (double) USECS_PER_DAY;

	return (int64) Min(Max(us, -1e18), 1e18);
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

/* ----------------------------------------------------------------
 *		From a row to a policy
 *
 * The table's CHECKs say which values there may be.  Whoever has taken one away
 * gets, for any other value, what loses nothing.
 * ----------------------------------------------------------------
 */

static bool
is_word(Datum value, const char *word)
{
	const text *t = DatumGetTextPP(value);

	return VARSIZE_ANY_EXHDR(t) == strlen(word) &&
		   memcmp(VARDATA_ANY(t), word, strlen(word)) == 0;
}

static int
within(int value, int lowest, int highest)
{
	return Min(Max(value, lowest), highest);
}

static int64
microseconds(Datum value)
{
	return gs_interval_us(DatumGetIntervalP(value));
}

static void
take_interval(bool *there, Interval *interval, Datum value)
{
	*there = true;
	*interval = *DatumGetIntervalP(value);
}

static void
take_history(GsPolicy *policy, Datum value)
{
	const text *t = DatumGetTextPP(value);
	int length = VARSIZE_ANY_EXHDR(t);
	int limit = 0;
	int digits = 0;

	policy->history = GS_HISTORY_FULL;
	policy->history_limit = 0;
	if (is_word(value, "events"))
		policy->history = GS_HISTORY_EVENTS;
	if (length <= 5 || memcmp(VARDATA_ANY(t), "last ", 5) != 0)
		return;
	for (const char *p = VARDATA_ANY(t) + 5; digits < length - 5 && digits <= 5; digits++)
	{
		if (p[digits] < '0' || p[digits] > '9')
			return;
		limit = limit * 10 + (p[digits] - '0');
	}
	if (limit < 1 || limit > GS_HISTORY_LIMIT_MAX || digits < length - 5)
		return;
	policy->history = GS_HISTORY_LAST;
	policy->history_limit = limit;
}

/* What is too long is no name of a limit. */
static void
take_name(char *name, Datum value)
{
	const text *t = DatumGetTextPP(value);
	Size len = VARSIZE_ANY_EXHDR(t);

	if (len > GS_MAX_ID_LENGTH)
		len = 0;
	memcpy(name, VARDATA_ANY(t), len);
	name[len] = '\0';
}

static void
take_tablespace(GsPolicy *policy, Datum value)
{
	policy->has_old_tablespace = true;
	policy->old_tablespace = *DatumGetName(value);
}

static GsIdleAction
idle_action(Datum value)
{
	return is_word(value, "suspend")   ? GS_IDLE_SUSPEND
		   : is_word(value, "abandon") ? GS_IDLE_ABANDON
									   : GS_IDLE_REPORT;
}

static GsAbsenceAction
absence_action(Datum value)
{
	return is_word(value, "notify")			 ? GS_ABSENCE_NOTIFY
		   : is_word(value, "abandon")		 ? GS_ABSENCE_ABANDON
		   : is_word(value, "abandon_empty") ? GS_ABSENCE_ABANDON_EMPTY
											 : GS_ABSENCE_NOTHING;
}

static GsInterval
partition_interval(Datum value)
{
	return is_word(value, "hour")	 ? GS_INTERVAL_HOUR
		   : is_word(value, "week")	 ? GS_INTERVAL_WEEK
		   : is_word(value, "month") ? GS_INTERVAL_MONTH
									 : GS_INTERVAL_DAY;
}

/* Each column, its type, and what is done with a value of it that is not NULL. */
#define POLICY_COLUMNS(COLUMN)                                                          \
	COLUMN(durability, TEXTOID,                                                         \
		   policy->durability =                                                         \
			   is_word(value, "memory") ? GS_DURABILITY_MEMORY : GS_DURABILITY_JOURNAL) \
	COLUMN(history, TEXTOID, take_history(policy, value))                               \
	COLUMN(retention, INTERVALOID,                                                      \
		   take_interval(&policy->has_retention, &policy->retention, value))            \
	COLUMN(retention_action, TEXTOID,                                                   \
		   policy->retention_action =                                                   \
			   is_word(value, "drop") ? GS_RETENTION_DROP : GS_RETENTION_DETACH)        \
	COLUMN(payload_retention, INTERVALOID,                                              \
		   take_interval(&policy->has_payload_retention, &policy->payload_retention,    \
						 value))                                                        \
	COLUMN(compression_level, INT2OID,                                                  \
		   policy->compression_level =                                                  \
			   within(DatumGetInt16(value), GS_LEVEL_MIN, GS_LEVEL_MAX))                \
	COLUMN(dictionary, BOOLOID, policy->dictionary = DatumGetBool(value))               \
	COLUMN(repack, BOOLOID, policy->repack = DatumGetBool(value))                       \
	COLUMN(repack_level, INT2OID,                                                       \
		   policy->repack_level =                                                       \
			   within(DatumGetInt16(value), GS_LEVEL_MIN, GS_LEVEL_MAX))                \
	COLUMN(archive_batch, INT4OID,                                                      \
		   policy->archive_batch =                                                      \
			   within(DatumGetInt32(value), 1, GS_ARCHIVE_BATCH_MAX))                   \
	COLUMN(archive_priority, INT2OID,                                                   \
		   policy->archive_priority =                                                   \
			   within(DatumGetInt16(value), GS_PRIORITY_MIN, GS_PRIORITY_MAX))          \
	COLUMN(archive_attempts, INT4OID,                                                   \
		   policy->archive_attempts = Max(DatumGetInt32(value), 0))                     \
	COLUMN(player_rate_limit, TEXTOID, take_name(policy->player_rate_limit, value))     \
	COLUMN(game_rate_limit, TEXTOID, take_name(policy->game_rate_limit, value))         \
	COLUMN(max_state_size, INT4OID,                                                     \
		   policy->max_state_size = Max(DatumGetInt32(value), 0))                       \
	COLUMN(max_event_size, INT4OID,                                                     \
		   policy->max_event_size = Max(DatumGetInt32(value), 0))                       \
	COLUMN(max_log, INT4OID, policy->max_log = Max(DatumGetInt32(value), 0))            \
	COLUMN(player_stats, BOOLOID, policy->player_stats = DatumGetBool(value))           \
	COLUMN(stats_rule, TEXTOID, policy->stats_rule = TextDatumGetCString(value))        \
	COLUMN(freeze_after, INTERVALOID,                                                   \
		   take_interval(&policy->has_freeze_after, &policy->freeze_after, value))      \
	COLUMN(archive_hook, TEXTOID, policy->archive_hook = TextDatumGetCString(value))    \
	COLUMN(hook_failure, TEXTOID, policy->hook_skip = is_word(value, "skip"))           \
	COLUMN(resume_on_move, BOOLOID, policy->resume_on_move = DatumGetBool(value))       \
	COLUMN(archive_delay, INTERVALOID, policy->archive_delay = microseconds(value))     \
	COLUMN(inactivity_limit, INTERVALOID,                                               \
		   policy->inactivity_limit = microseconds(value))                              \
	COLUMN(inactivity_action, TEXTOID, policy->inactivity_action = idle_action(value))  \
	COLUMN(suspend_on_pressure, BOOLOID,                                                \
		   policy->suspend_on_pressure = DatumGetBool(value))                           \
	COLUMN(partition_interval, TEXTOID,                                                 \
		   policy->partition_interval = partition_interval(value))                      \
	COLUMN(make_ahead, INT2OID, policy->make_ahead = Max(DatumGetInt16(value), 0))      \
	COLUMN(old_tablespace, NAMEOID, take_tablespace(policy, value))                     \
	COLUMN(old_tablespace_after, INTERVALOID,                                           \
		   take_interval(&policy->has_old_tablespace_after,                             \
						 &policy->old_tablespace_after, value))                         \
	COLUMN(absence_action, TEXTOID, policy->absence_action = absence_action(value))     \
	COLUMN(absence_after, INTERVALOID, policy->absence_us = Max(microseconds(value), 0))

#define SET_FUNCTION(column, type, set)                     \
	static void set_##column(GsPolicy *policy, Datum value) \
	{                                                       \
		set;                                                \
	}
#define TABLE_ROW(column, type, set) {#column, type, set_##column},

POLICY_COLUMNS(SET_FUNCTION)

static const PolicyColumn policy_columns[] = {POLICY_COLUMNS(TABLE_ROW)};

#define NCOLUMNS ((int) lengthof(policy_columns))

/* The numbers of the columns, that of the type last. */
static void
find_columns(Relation rel, AttrNumber *numbers)
{
	for (int i = 0; i < NCOLUMNS; i++)
		numbers[i] = gs_sql_column(rel, policy_columns[i].name, policy_columns[i].type);
	numbers[NCOLUMNS] = gs_sql_column(rel, "game_type", TEXTOID);
}

/* In the memory of the policies, which strings stay in. */
static void
take_row(GsPolicy *policy, TupleTableSlot *slot, const AttrNumber *numbers)
{
	for (int i = 0; i < NCOLUMNS; i++)
	{
		bool null;
		Datum value = slot_getattr(slot, numbers[i], &null);

		if (!null)
			policy_columns[i].set(policy, value);
	}
}

/* Make the types' policies of rows whose type is not empty, or the default of the one that is. */
static HTAB *
read_rows(Relation rel, Snapshot snapshot, const AttrNumber *numbers, GsPolicy *defaults,
		  bool of_types, MemoryContext context)
{
	HASHCTL ctl = {.keysize = sizeof(TypeKey),
				   .entrysize = sizeof(Policy),
				   .hcxt = context};
	HTAB *table = NULL;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool null;
		Datum value = slot_getattr(slot, numbers[NCOLUMNS], &null);
		const text *type;
		TypeKey key;
		Policy *entry;

		CHECK_FOR_INTERRUPTS();
		if (null)
			continue;
		type = DatumGetTextPP(value);
		if ((VARSIZE_ANY_EXHDR(type) != 0) != of_types)
			continue;
		if (!of_types)
		{
			take_row(defaults, slot, numbers);
			continue;
		}
		if (!set_type_key(&key, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
			continue;
		if (table == NULL)
			table = hash_create("gamestate policies", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		entry = hash_search(table, &key, HASH_ENTER, NULL);
		entry->policy = *defaults;
		take_row(&entry->policy, slot, numbers);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return table;
}

static HTAB *
read_table(Relation rel, GsPolicy *defaults, MemoryContext context)
{
	AttrNumber numbers[lengthof(policy_columns) + 1];
	/* not the transaction's: what is committed now holds */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext old = MemoryContextSwitchTo(context);
	HTAB *table;

	find_columns(rel, numbers);
	(void) read_rows(rel, snapshot, numbers, defaults, false, context);
	table = read_rows(rel, snapshot, numbers, defaults, true, context);
	MemoryContextSwitchTo(old);
	UnregisterSnapshot(snapshot);
	return table;
}

static bool
has_limit(const GsPolicy *policy)
{
	return policy->player_rate_limit[0] != '\0' || policy->game_rate_limit[0] != '\0' ||
		   policy->max_state_size > 0 || policy->max_event_size > 0 ||
		   policy->max_log > 0;
}

static bool
any_has_limit(void)
{
	HASH_SEQ_STATUS scan;
	const Policy *entry;
	bool any = has_limit(&default_policy);

	if (policies == NULL)
		return any;
	hash_seq_init(&scan, policies);
	while ((entry = hash_seq_search(&scan)) != NULL)
		any |= has_limit(&entry->policy);
	return any;
}

/* How many changes have been committed here; without shared memory nobody counts. */
static inline uint32
committed_changes(void)
{
	if (unlikely(mine == NULL) && GsShmem != NULL)
		mine = gs_database_find(MyDatabaseId, false);
	return mine ? pg_atomic_read_u32(&mine->policy_changes) : 0;
}

static void
read_policies(void)
{
	Oid schema = get_namespace_oid("gamestate", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid("policy", schema) : InvalidOid;
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	MemoryContext context;
	GsPolicy defaults = builtin_policy;
	HTAB *table = NULL;
	uint64 seen;
	uint32 commits;

	/* what is heard of from here on may be about rows that are read too early */
	policy_table = rel ? relid : InvalidOid;
	seen = changes;
	commits = committed_changes();
	pg_read_barrier();
	context = AllocSetContextCreate(CurrentMemoryContext, "gamestate policies",
									ALLOCSET_SMALL_SIZES);
	if (rel)
	{
		table = read_table(rel, &defaults, context);
		table_close(rel, AccessShareLock);
	}

	MemoryContextSetParent(context, TopMemoryContext);
	if (policies_context)
		MemoryContextDelete(policies_context);
	policies_context = context;
	default_policy = defaults;
	policies = table;
	limits_moves = any_has_limit();
	changes_read = seen;
	commits_read = commits;
	readings++;
}

static inline void
refresh(void)
{
	AcceptInvalidationMessages();
	if (unlikely(changes_read != changes || commits_read != committed_changes()))
		read_policies();
}

void
gs_policy_scan(void (*each)(const char *game_type, const GsPolicy *policy, void *arg),
			   void *arg)
{
	HASH_SEQ_STATUS scan;
	Policy *entry;

	refresh();
	each("", &default_policy, arg);
	if (policies == NULL)
		return;
	hash_seq_init(&scan, policies);
	while ((entry = hash_seq_search(&scan)) != NULL)
		each(entry->type.type, &entry->policy, arg);
}

const GsPolicy *
gs_policy(const GsText *game_type)
{
	TypeKey key;
	const Policy *entry;

	refresh();
	if (likely(policies == NULL) || !set_type_key(&key, game_type->data, game_type->len))
		return &default_policy;
	entry = hash_search(policies, &key, HASH_FIND, NULL);
	return entry ? &entry->policy : &default_policy;
}

void
gs_policy_new_game(const GsText *game_type, GsHeader *h)
{
	const GsPolicy *policy = gs_policy(game_type);

	h->durability =
		policy->durability == GS_POLICY_SETTING ? gs_durability : policy->durability;
	h->history = policy->history;
	h->history_limit = policy->history_limit;
}

uint64
gs_policy_generation(void)
{
	refresh();
	return readings;
}

bool
gs_policy_any_priority(void)
{
	bool any;
	HASH_SEQ_STATUS scan;
	const Policy *entry;

	refresh();
	any = default_policy.archive_priority != GS_PRIORITY_DEFAULT;
	if (policies == NULL)
		return any;
	hash_seq_init(&scan, policies);
	while ((entry = hash_seq_search(&scan)) != NULL)
		any |= entry->policy.archive_priority != GS_PRIORITY_DEFAULT;
	return any;
}

static int
batch_of(const GsPolicy *policy)
{
	return policy->archive_batch == GS_POLICY_SETTING ? gs_archive_batch
													  : policy->archive_batch;
}

int
gs_policy_largest_batch(void)
{
	int largest;
	HASH_SEQ_STATUS scan;
	const Policy *entry;

	refresh();
	largest = batch_of(&default_policy);
	if (policies == NULL)
		return largest;
	hash_seq_init(&scan, policies);
	while ((entry = hash_seq_search(&scan)) != NULL)
		largest = Max(largest, batch_of(&entry->policy));
	return largest;
}

bool
gs_policy_limits_moves(void)
{
	refresh();
	return limits_moves;
}
