/*-------------------------------------------------------------------------
 *
 * gs_archiver_stat.c
 *	  What archivers have done and what has failed, by database and game type.
 *
 * The model:
 *	1. A fixed number of entries in main shared memory, for all databases.  An
 *	   archiver claims one when it has something to say about a type.  When all
 *	   are in use it takes the one that was used least recently and does not
 *	   pause: what that one has counted is forgotten.
 *	2. How long batches take is counted in a histogram whose buckets grow: four
 *	   to each power of two, so a percentile is exact to a fifth.
 *	3. How many games wait is not counted anywhere, as the commit that ends a
 *	   game has no time for that.  The view looks at all games in memory.
 *	4. resume_archiving() leaves its wish in the entry and wakes the archiver.
 *
 * Locking: slots_lock protects the entries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_stat.h"
#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_worker.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Entries of all databases together; each about 900 bytes. */
#define ENTRIES 256

/* Durations below the first power of two are in the first bucket, from the last on in the last. */
#define FIRST_POWER 6  /* 64 microseconds */
#define LAST_POWER	27 /* two minutes */
#define BUCKETS		((LAST_POWER - FIRST_POWER + 1) * 4)

typedef struct TypeKey
{
	Oid dboid; /* InvalidOid = unused */
	char type[GS_MAX_ID_LENGTH + 1];
} TypeKey;

StaticAssertDecl(sizeof(TypeKey) == sizeof(Oid) + GS_MAX_ID_LENGTH + 1,
				 "TypeKey must not have padding");

/* Protected by slots_lock. */
typedef struct GsArchiverStatEntry
{
	TypeKey key;
	TimestampTz used_at;
	bool resume; /* somebody wants it to go on; taken away by the archiver */
	int pauses;	 /* in a row */
	TimestampTz paused_until;
	int64 batches;
	int64 games;
	int64 raw_bytes;
	int64 stored_bytes;
	int64 failures; /* transactions */
	int64 dead_letters;
	TimestampTz last_archived_at;
	TimestampTz last_error_at;
	int last_sqlerrcode;
	char last_error[GS_WORKER_ERROR_LEN];
	uint32 durations[BUCKETS];
} GsArchiverStatEntry;

static GsArchiverStatEntry *entries = NULL;

PG_FUNCTION_INFO_V1(gs_stat_archiver);
PG_FUNCTION_INFO_V1(gs_resume_archiving);

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

Size
gs_archiver_stat_shmem_size(void)
{
	return mul_size(sizeof(GsArchiverStatEntry), ENTRIES);
}

void
gs_archiver_stat_shmem_init(bool found)
{
	bool found_entries;

	entries = ShmemInitStruct("gamestate archiver statistics",
							  gs_archiver_stat_shmem_size(), &found_entries);
	if (!found)
		memset(entries, 0, gs_archiver_stat_shmem_size());
}

static void
set_key(TypeKey *key, Oid dboid, const char *type, Size len)
{
	memset(key, 0, sizeof(*key));
	key->dboid = dboid;
	memcpy(key->type, type, Min(len, GS_MAX_ID_LENGTH));
}

/* The caller holds slots_lock. */
static GsArchiverStatEntry *
find_entry(const TypeKey *key)
{
	for (int i = 0; i < ENTRIES; i++)
		if (memcmp(&entries[i].key, key, sizeof(*key)) == 0)
			return &entries[i];
	return NULL;
}

/* The caller holds slots_lock exclusively.  Never NULL. */
static GsArchiverStatEntry *
claim_entry(const TypeKey *key)
{
	GsArchiverStatEntry *entry = find_entry(key);
	TimestampTz now = GetCurrentTimestamp();

	if (entry == NULL)
	{
		for (int i = 0; i < ENTRIES; i++)
		{
			GsArchiverStatEntry *other = &entries[i];

			if (entry == NULL || !OidIsValid(other->key.dboid) ||
				(OidIsValid(entry->key.dboid) && other->paused_until <= now &&
				 (entry->paused_until > now || other->used_at < entry->used_at)))
				entry = other;
			if (!OidIsValid(entry->key.dboid))
				break;
		}
		memset(entry, 0, sizeof(*entry));
		entry->key = *key;
	}
	entry->used_at = now;
	return entry;
}

static GsArchiverStatEntry *
my_entry(const char *type)
{
	TypeKey key;

	set_key(&key, MyDatabaseId, type, strlen(type));
	return claim_entry(&key);
}

void
gs_archiver_stat_forget(Oid dboid)
{
	if (entries == NULL)
		return;
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].key.dboid == dboid)
			memset(&entries[i], 0, sizeof(entries[i]));
	LWLockRelease(GsShmem->slots_lock);
}

/* ----------------------------------------------------------------
 *		Counting
 * ----------------------------------------------------------------
 */

static int
bucket_of(int64 us)
{
	int power;

	if (us < ((int64) 1 << FIRST_POWER))
		return 0;
	power = pg_leftmost_one_pos64((uint64) us);
	if (power > LAST_POWER)
		return BUCKETS - 1;
	return (power - FIRST_POWER) * 4 + (int) ((us >> (power - 2)) & 3);
}

/* Nothing in the bucket took longer than this. */
static int64
bucket_end(int bucket)
{
	int power = FIRST_POWER + bucket / 4;

	return ((int64) 1 << power) + (((int64) bucket % 4 + 1) << (power - 2));
}

void
gs_archiver_stat_batch(const char *type, int games, int64 raw_bytes, int64 stored_bytes,
					   int64 took_us)
{
	GsArchiverStatEntry *entry;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	entry = my_entry(type);
	entry->batches++;
	entry->games += games;
	entry->raw_bytes += raw_bytes;
	entry->stored_bytes += stored_bytes;
	entry->durations[bucket_of(took_us)]++;
	entry->last_archived_at = entry->used_at;
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_archiver_stat_failure(const char *type, const ErrorData *error)
{
	GsArchiverStatEntry *entry;
	const char *message = error->message ? error->message : "";
	int len = pg_mbcliplen(message, strlen(message), GS_WORKER_ERROR_LEN - 1);

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	entry = my_entry(type);
	entry->failures++;
	entry->last_error_at = entry->used_at;
	entry->last_sqlerrcode = error->sqlerrcode;
	memcpy(entry->last_error, message, len);
	entry->last_error[len] = '\0';
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_archiver_stat_dead_letter(const char *type)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	my_entry(type)->dead_letters++;
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_archiver_stat_pause(const char *type, TimestampTz until, int pauses)
{
	GsArchiverStatEntry *entry;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	entry = my_entry(type);
	entry->paused_until = until;
	entry->pauses = pauses;
	LWLockRelease(GsShmem->slots_lock);
}

bool
gs_archiver_stat_take_resume(char *type)
{
	bool found = false;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	for (int i = 0; i < ENTRIES && !found; i++)
	{
		GsArchiverStatEntry *entry = &entries[i];

		if (entry->key.dboid != MyDatabaseId || !entry->resume)
			continue;
		entry->resume = false;
		memcpy(type, entry->key.type, sizeof(entry->key.type));
		found = true;
	}
	LWLockRelease(GsShmem->slots_lock);
	return found;
}

/* ----------------------------------------------------------------
 *		Asking for it
 * ----------------------------------------------------------------
 */

Datum
gs_resume_archiving(PG_FUNCTION_ARGS)
{
	TypeKey key;
	GsText type = {"", 0};

	/* there is no archiver */
	PreventCommandDuringRecovery("resume_archiving()");
	gs_attach();
	if (!PG_ARGISNULL(0))
	{
		text *argument = PG_GETARG_TEXT_PP(0);

		type = (GsText){VARDATA_ANY(argument), VARSIZE_ANY_EXHDR(argument)};
		if (type.len == 0 || type.len > GS_MAX_ID_LENGTH)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("game_type must have 1 to %d bytes", GS_MAX_ID_LENGTH),
					 errhint("NULL stands for all types.")));
	}
	set_key(&key, MyDatabaseId, type.data, type.len);
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	claim_entry(&key)->resume = true;
	LWLockRelease(GsShmem->slots_lock);
	gs_worker_rouse_archiver(gs_my_database());
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------
 *		gamestate.stat_archiver
 * ----------------------------------------------------------------
 */

#define STAT_ARCHIVER_COLUMNS 20

/* A row of the view, while it is being put together. */
typedef struct StatRow
{
	TypeKey key; /* hash key */
	int64 queued;
	TimestampTz oldest; /* end of the game that waits longest */
	GsArchiverStatEntry entry;
} StatRow;

static StatRow *
stat_row(HTAB *rows, const TypeKey *key)
{
	bool found;
	StatRow *row = hash_search(rows, key, HASH_ENTER, &found);

	if (!found)
		memset((char *) row + sizeof(row->key), 0, sizeof(*row) - sizeof(row->key));
	return row;
}

static void
add_entries(HTAB *rows)
{
	GsArchiverStatEntry *copy = palloc(gs_archiver_stat_shmem_size());

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	memcpy(copy, entries, gs_archiver_stat_shmem_size());
	LWLockRelease(GsShmem->slots_lock);
	for (int i = 0; i < ENTRIES; i++)
	{
		StatRow *row;

		if (!OidIsValid(copy[i].key.dboid))
			continue;
		row = stat_row(rows, &copy[i].key);
		row->entry = copy[i];
	}
	pfree(copy);
}

/* Partition by partition of the games' hash table, as gs_table_ids() does. */
static void
add_queue(HTAB *rows)
{
	dshash_seq_status scan;
	GsGame *game;

	dshash_seq_init(&scan, GsGames, false);
	while ((game = dshash_seq_next(&scan)) != NULL)
	{
		const GsInfo *info;
		StatRow *row;
		TypeKey key;

		if (!game->visible || game->link_state != GS_LINK_QUEUE)
			continue;
		info = GS_PTR(game->info);
		set_key(&key, game->key.dboid, (const char *) &info->nodes[gs_info_nodes(info)],
				info->type_len);
		row = stat_row(rows, &key);
		row->queued++;
		if (row->oldest == 0 || game->h.ended_at < row->oldest)
			row->oldest = game->h.ended_at;
	}
	dshash_seq_term(&scan);
}

/* Another database may have another encoding than ours. */
static Datum
safe_text(const char *text)
{
	char *copy = pstrdup(text);

	if (!pg_verifymbstr(copy, strlen(copy), true))
	{
		for (char *p = copy; *p; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	}
	return CStringGetTextDatum(copy);
}

static void
put_time(Datum *value, bool *null, TimestampTz at)
{
	*value = TimestampTzGetDatum(at);
	*null = at == 0;
}

/* The duration in ms that so many percent of the batches did not exceed. */
static void
put_percentile(Datum *value, bool *null, const uint32 *durations, double percent)
{
	uint64 total = 0;
	uint64 seen = 0;
	int bucket = 0;

	for (int i = 0; i < BUCKETS; i++)
		total += durations[i];
	*null = total == 0;
	if (total == 0)
		return;
	for (bucket = 0; bucket < BUCKETS - 1; bucket++)
	{
		seen += durations[bucket];
		if ((double) seen >= (double) total * percent / 100)
			break;
	}
	*value = Float8GetDatum((double) bucket_end(bucket) / 1000);
}

static void
put_stat_row(ReturnSetInfo *rsinfo, const StatRow *row)
{
	const GsArchiverStatEntry *entry = &row->entry;
	Datum values[STAT_ARCHIVER_COLUMNS] = {0};
	bool nulls[STAT_ARCHIVER_COLUMNS] = {0};
	char *database = get_database_name(row->key.dboid);
	bool failed = entry->last_error_at != 0;
	bool pauses = entry->paused_until > GetCurrentTimestamp();
	int i = 0;

	values[i++] = ObjectIdGetDatum(row->key.dboid);
	if (database)
		values[i] = DirectFunctionCall1(namein, CStringGetDatum(database));
	nulls[i++] = database == NULL;
	values[i] = safe_text(row->key.type);
	nulls[i++] = row->key.type[0] == '\0';
	values[i++] = Int64GetDatum(row->queued);
	put_time(&values[i], &nulls[i], row->oldest);
	i++;
	values[i++] = Int64GetDatum(entry->batches);
	values[i++] = Int64GetDatum(entry->games);
	values[i++] = Int64GetDatum(entry->raw_bytes);
	values[i++] = Int64GetDatum(entry->stored_bytes);
	put_time(&values[i], &nulls[i], entry->last_archived_at);
	i++;
	values[i++] = Int64GetDatum(entry->failures);
	values[i++] = Int64GetDatum(entry->dead_letters);
	values[i] =
		failed ? CStringGetTextDatum(unpack_sql_state(entry->last_sqlerrcode)) : 0;
	nulls[i++] = !failed;
	values[i] = failed ? safe_text(entry->last_error) : 0;
	nulls[i++] = !failed;
	put_time(&values[i], &nulls[i], entry->last_error_at);
	i++;
	values[i++] = Int32GetDatum(pauses ? entry->pauses : 0);
	put_time(&values[i], &nulls[i], pauses ? entry->paused_until : 0);
	i++;
	put_percentile(&values[i], &nulls[i], entry->durations, 50);
	i++;
	put_percentile(&values[i], &nulls[i], entry->durations, 90);
	i++;
	put_percentile(&values[i], &nulls[i], entry->durations, 99);
	i++;
	Assert(i == STAT_ARCHIVER_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
gs_stat_archiver(PG_FUNCTION_ARGS)
{
	HASHCTL ctl = {.keysize = sizeof(TypeKey),
				   .entrysize = sizeof(StatRow),
				   .hcxt = CurrentMemoryContext};
	HASH_SEQ_STATUS scan;
	HTAB *rows;
	StatRow *row;

	gs_attach();
	InitMaterializedSRF(fcinfo, 0);
	rows = hash_create("gamestate archiver statistics", 64, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	add_entries(rows);
	add_queue(rows);
	hash_seq_init(&scan, rows);
	while ((row = hash_seq_search(&scan)) != NULL)
		put_stat_row((ReturnSetInfo *) fcinfo->resultinfo, row);
	hash_destroy(rows);
	return (Datum) 0;
}
