/*-------------------------------------------------------------------------
 *
 * gs_writeset.c
 *	  What the current transaction has done to games so far.
 *
 * The model:
 *	1. The first change of a game makes an entry (GsPending) in backend-local
 *	   memory: a change record that grows with each further change.  Readers
 *	   of this transaction look here first.
 *	2. A subtransaction's first change of a game saves a shallow copy of the
 *	   entry; rollback to the savepoint restores it.  That works because
 *	   strings are never changed in place and log entries are a list with the
 *	   newest first.
 *	3. XACT_EVENT_PRE_COMMIT reserves all change records and writes them to the
 *	   journal (gs_journal.c): may fail, the transaction aborts.
 *	   XACT_EVENT_COMMIT applies them: cannot fail.  XACT_EVENT_ABORT takes
 *	   reservations back.  The heavyweight locks that protect the games are
 *	   released by PostgreSQL after these callbacks.
 *	   A transaction that has changed nothing but games commits the light way:
 *	   it writes to the journal at XACT_EVENT_COMMIT (gs_light.c), applies,
 *	   releases the locks, and only then waits until that is durable.
 *	   What has been applied goes into the change feed (gs_feed.c), while the
 *	   games are still locked.
 *	4. A commit of several games holds commit_lock while it applies, so that a
 *	   reader of several games (who holds it shared) sees it whole or not.
 *
 * Nothing here is in shared memory.  PREPARE TRANSACTION is refused: the write
 * set could not survive a restart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_delta.h"
#include "gs_durable.h"
#include "gs_feed.h"
#include "gs_journal.h"
#include "gs_lease.h"
#include "gs_light.h"
#include "gs_lock.h"
#include "gs_presence.h"
#include "gs_writeset.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* What an entry was before a subtransaction changed it. */
typedef struct Saved
{
	GsPending pending;
	int level;
	struct Saved *saved; /* before the level below */
} Saved;

/* An entry; callers see only its first field. */
typedef struct Entry
{
	GsPending pending;
	int level;	  /* nesting level of the last change */
	Saved *saved; /* NULL: there is nothing to go back to */
	bool dead;	  /* its first change was rolled back */
} Entry;

typedef struct IdEntry
{
	pg_uuid_t id;
	char status;
	Entry *entry;
} IdEntry;

#define SH_PREFIX			 ids
#define SH_ELEMENT_TYPE		 IdEntry
#define SH_KEY_TYPE			 pg_uuid_t
#define SH_KEY				 id
#define SH_HASH_KEY(tb, key) hash_bytes((key).data, UUID_LEN)
#define SH_EQUAL(tb, a, b)	 (memcmp((a).data, (b).data, UUID_LEN) == 0)
#define SH_SCOPE			 static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* Changes of subtransactions in the order they were made; levels never fall. */
typedef struct Touched
{
	Entry *entry;
	int level;
} Touched;

/* A database whose games go with the commit. */
typedef struct Removal
{
	Oid dboid;
	bool release_slot;
	int level;
	struct Removal *prev;
} Removal;

/* A hash table that has grown beyond this is not kept for the next transaction. */
#define KEEP_IDS_SIZE 1024

bool GsWriteSetActive = false;

static MemoryContext context = NULL;
static ids_hash *ids = NULL;
static Entry **entries = NULL;
static int nentries = 0;
static int entries_size = 0;
static Touched *touched = NULL;
static int ntouched = 0;
static int touched_size = 0;
static Removal *removals = NULL;
static uint32 generation = 0;

/* of the transaction that is being committed */
static uint64 commit_seq = 0;
static bool is_committing = false; /* pre-commit is over: nothing more can be reserved */
static bool is_light = false;	   /* its rows are prepared */
static bool is_image = false;	   /* it says nothing new: rotation's images */

static void
begin(void)
{
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "gamestate write set",
										ALLOCSET_DEFAULT_SIZES);
	if (ids == NULL)
		ids = ids_create(TopMemoryContext, 16, NULL);
	GsWriteSetActive = true;
}

static void
reset(void)
{
	GsWriteSetActive = false;
	nentries = entries_size = 0;
	entries = NULL;
	ntouched = touched_size = 0;
	touched = NULL;
	removals = NULL;
	if (ids != NULL)
	{
		if (ids->size > KEEP_IDS_SIZE)
		{
			ids_destroy(ids);
			ids = NULL;
		}
		else
			ids_reset(ids);
	}
	if (context != NULL)
		MemoryContextReset(context);
}

MemoryContext
gs_writeset_context(void)
{
	if (!GsWriteSetActive)
		begin();
	return context;
}

/* ----------------------------------------------------------------
 *		Entries
 * ----------------------------------------------------------------
 */

GsPending *
gs_writeset_find(const pg_uuid_t *id)
{
	IdEntry *found;

	if (nentries == 0)
		return NULL;
	found = ids_lookup(ids, *id);
	return found ? &found->entry->pending : NULL;
}

GsPending *
gs_writeset_next(GsWriteSetScan *scan)
{
	while (scan->next < nentries)
	{
		Entry *entry = entries[scan->next++];

		if (!entry->dead)
			return &entry->pending;
	}
	return NULL;
}

GsPending *
gs_writeset_find_room(const GsText *room_code)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;

	while ((pending = gs_writeset_next(&scan)) != NULL)
	{
		const GsText *mine = &pending->change.info.room_code;

		if (pending->exists && pending->change.info_changed &&
			!GS_STATUS_IS_OVER(pending->change.h.status) && mine->data &&
			mine->len == room_code->len &&
			memcmp(mine->data, room_code->data, mine->len) == 0)
			return pending;
	}
	return NULL;
}

static void
push_touched(Entry *entry, int level)
{
	if (ntouched == touched_size)
	{
		touched_size = Max(16, touched_size * 2);
		touched = touched ? repalloc_huge(touched, sizeof(Touched) * touched_size)
						  : MemoryContextAlloc(context, sizeof(Touched) * touched_size);
	}
	touched[ntouched].entry = entry;
	touched[ntouched].level = level;
	ntouched++;
}

static void
push_entry(Entry *entry)
{
	if (nentries == entries_size)
	{
		entries_size = Max(8, entries_size * 2);
		entries = entries ? repalloc_huge(entries, sizeof(Entry *) * entries_size)
						  : MemoryContextAlloc(context, sizeof(Entry *) * entries_size);
	}
	entries[nentries++] = entry;
}

/* Games of a database whose games all go with this commit cannot be changed. */
static void
check_not_removed(void)
{
	for (Removal *removal = removals; removal != NULL; removal = removal->prev)
		if (removal->dboid == MyDatabaseId)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot change games in a transaction that has dropped extension gamestate"),
					 errhint("Commit first.")));
}

GsPending *
gs_writeset_open(const pg_uuid_t *id, const GsHeader *base)
{
	int level = GetCurrentTransactionNestLevel();
	IdEntry *id_entry;
	Entry *entry;
	GsChange *change;

	if (unlikely(is_committing))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot change games while the transaction is being committed"),
				 errhint("Load gamestate before the other libraries in shared_preload_libraries.")));
	if (!GsWriteSetActive)
		begin();

	/*
	 * Only here, not in begin(): DROP DATABASE comes that way too, when it can
	 * no longer fail, and it needs no slot for the database it is run from.
	 */
	if (nentries == 0)
		generation = pg_atomic_read_u32(&gs_my_database()->generation);

	/* it would go with the commit, and silently */
	if (unlikely(removals != NULL))
		check_not_removed();
	id_entry = ids_lookup(ids, *id);
	if (id_entry != NULL)
	{
		entry = id_entry->entry;
		if (entry->level < level)
		{
			Saved *saved = MemoryContextAlloc(context, sizeof(Saved));

			push_touched(entry, level);
			saved->pending = entry->pending;
			saved->level = entry->level;
			saved->saved = entry->saved;
			entry->saved = saved;
			entry->level = level;
		}
		return &entry->pending;
	}

	entry = MemoryContextAllocZero(context, sizeof(Entry));
	entry->level = level;
	change = &entry->pending.change;
	change->key.dboid = MyDatabaseId;
	change->key.id = *id;
	change->db = gs_my_database();
	if (base)
	{
		entry->pending.exists = true;
		entry->pending.base_incarnation = base->incarnation;
		change->kind = GS_CHANGE_UPDATE;
		change->base_version = base->version;
		change->h = *base;
	}
	push_entry(entry);
	if (level > 1)
		push_touched(entry, level);
	{
		bool found;

		id_entry = ids_insert(ids, *id, &found);
		id_entry->entry = entry;
	}
	return &entry->pending;
}

bool
gs_writeset_is_saved(const GsPending *pending)
{
	return ((const Entry *) pending)->saved != NULL;
}

void
gs_writeset_log(GsPending *pending, const GsEntry *e)
{
	GsNewEntry *entry = MemoryContextAlloc(context, sizeof(GsNewEntry));

	entry->prev = pending->change.entries;
	entry->version = pending->change.h.version;
	entry->e = *e;
	pending->change.entries = entry;
	pending->change.nentries++;
}

/* ----------------------------------------------------------------
 *		The game as this transaction sees it
 * ----------------------------------------------------------------
 */

void
gs_writeset_load_info(GsPending *pending)
{
	GsChange *change = &pending->change;
	GsGameCopy *base;

	if (change->info_changed)
		return;
	base = gs_table_copy(&change->key.id, 0, true, context);
	if (base == NULL)
		gs_table_removed();
	change->info = base->info;
	change->info_changed = true;
}

/*
 * Append this transaction's log entries to the committed ones: those that the log
 * will have.  If some are too old, so are all the committed ones.
 */
static void
append_new_entries(GsGameCopy *copy, const GsChange *change)
{
	int64 start = gs_log_start(&change->h);
	uint64 i = 0;
	GsEntry *all;

	for (GsNewEntry *e = change->entries; e != NULL && e->version >= start; e = e->prev)
		i++;
	if (i == 0)
		return;
	if (i < (uint64) change->nentries)
		copy->nentries = 0;
	i += copy->nentries;
	all = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(GsEntry) * i);
	if (copy->nentries > 0)
		memcpy(all, copy->entries, sizeof(GsEntry) * copy->nentries);
	copy->nentries = i;
	for (GsNewEntry *e = change->entries; e != NULL && e->version >= start; e = e->prev)
		all[--i] = e->e;
	copy->entries = all;
}

static void
add_request(GsGameCopy *copy, const GsEntry *e, int64 version)
{
	GsAnsweredRequest *request = &copy->requests[copy->nrequests];

	if (e->request_id == NULL)
		return;
	memcpy(request->id.data, e->request_id, UUID_LEN);
	request->version = version;
	request->arguments = e->request_arguments;
	copy->nrequests++;
}

/*
 * The requests to be remembered of entries that have become too old for the log, after
 * those that were before; from the committed entries and from this transaction's.
 */
static void
remember_requests(GsGameCopy *copy, const GsChange *change)
{
	int64 start = gs_log_start(&change->h);
	int64 version = change->base_version - (int64) copy->nentries;
	uint64 n = copy->nrequests + copy->nentries + (uint64) change->nentries;
	GsAnsweredRequest *all;
	GsAnsweredRequest *end;

	if (start <= 2)
		return;
	all =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(GsAnsweredRequest) * (n + 1));
	if (copy->nrequests > 0)
		memcpy(all, copy->requests, sizeof(GsAnsweredRequest) * copy->nrequests);
	copy->requests = all;
	for (uint64 i = 0; i < copy->nentries && ++version < start; i++)
		add_request(copy, &copy->entries[i], version);
	end = all + n;
	for (GsNewEntry *e = change->entries; e != NULL; e = e->prev)
	{
		if (e->version >= start || e->e.request_id == NULL)
			continue;
		end--;
		memcpy(end->id.data, e->e.request_id, UUID_LEN);
		end->version = e->version;
		end->arguments = e->e.request_arguments;
	}
	for (; end < all + n; end++)
		all[copy->nrequests++] = *end;
}

/* Of the committed entries some may have become too old for the log. */
static void
drop_outdated(GsGameCopy *copy, int64 start)
{
	int64 first = copy->h.version - (int64) copy->nentries + 1;

	if (first >= start)
		return;
	copy->entries += start - first;
	copy->nentries -= start - first;
}

/*
 * The entry that leads back to the committed state has no delta until the
 * commit: here, if the state was copied, it gets one that says all of it.
 */
static void
resolve_entry(GsGameCopy *copy, const GsText *committed)
{
	Size room = gs_delta_back_room(committed->len, 0);

	if (committed->data == NULL)
		return;
	for (uint64 i = 0; i < copy->nentries; i++)
	{
		GsEntry *e = &copy->entries[i];
		char *delta;

		if (e->delta == NULL || e->delta_len > 0)
			continue;
		delta = MemoryContextAllocHuge(CurrentMemoryContext, room);
		e->delta = delta;
		e->delta_len = gs_delta_whole(committed->data, committed->len, delta, room);
	}
}

GsGameCopy *
gs_writeset_copy(const GsPending *pending, int what, MemoryContext mcxt)
{
	const GsChange *change = &pending->change;
	bool created = change->kind == GS_CHANGE_CREATE;
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	GsGameCopy *copy;
	GsText committed;

	if (created)
	{
		copy = palloc0(sizeof(GsGameCopy));
		copy->game_id = change->key.id;
		if (!gs_has_deltas(&change->h))
			copy->initial = change->initial.data ? change->initial : change->state;
	}
	else
	{
		copy = gs_table_copy(&change->key.id, what, true, mcxt);
		if (copy == NULL)
			gs_table_removed();
	}
	copy->h = change->h;
	committed = copy->state;
	if (change->state_changed)
		copy->state = change->state;
	if (change->info_changed)
		copy->info = change->info;
	if (what & GS_COPY_LOG)
	{
		remember_requests(copy, change);
		append_new_entries(copy, change);
	}
	if ((what & GS_COPY_LOG) && !created && change->state_changed)
		resolve_entry(copy, &committed);
	if (what & GS_COPY_LOG)
		drop_outdated(copy, gs_log_start(&copy->h));
	MemoryContextSwitchTo(old);
	return copy;
}

/* ----------------------------------------------------------------
 *		Whole removals
 * ----------------------------------------------------------------
 */

/* A change of a whole game that leaves its content as it is. */
static GsPending *
open_whole(const pg_uuid_t *id, GsChangeKind kind)
{
	GsGame *game = gs_table_find(id, true);
	GsHeader h;
	GsPending *pending;

	if (game == NULL)
		gs_table_removed();
	h = game->h;
	gs_table_release(game);

	pending = gs_writeset_open(id, &h);
	pending->change.kind = kind;
	pending->change.frees = true;
	return pending;
}

void
gs_writeset_archive(const pg_uuid_t *id)
{
	open_whole(id, GS_CHANGE_ARCHIVE)->change.moved_to = GS_TIER_ARCHIVED;
}

void
gs_writeset_image(const pg_uuid_t *id)
{
	(void) open_whole(id, GS_CHANGE_IMAGE);
}

void
gs_writeset_remove_database(Oid dboid, bool release_slot)
{
	Removal *removal;

	gs_attach();
	if (!GsWriteSetActive)
		begin();
	removal = MemoryContextAlloc(context, sizeof(Removal));
	removal->dboid = dboid;
	removal->release_slot = release_slot;
	removal->level = GetCurrentTransactionNestLevel();
	removal->prev = removals;
	removals = removal;
}

static void
apply_removals(void)
{
	for (Removal *removal = removals; removal != NULL; removal = removal->prev)
	{
		GsDatabase *db = gs_database_find(removal->dboid, false);

		if (db == NULL)
			continue;
		gs_table_remove_database(db);
		gs_presence_end_database(removal->dboid);
		gs_feed_gap(removal->dboid);
		if (removal->release_slot)
			gs_database_release(db);
	}
}

/* ----------------------------------------------------------------
 *		Transaction callbacks
 * ----------------------------------------------------------------
 */

/* The durable copy of it all. */
static void
journal_all(void)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;
	bool light = gs_light_commit && removals == NULL &&
				 !TransactionIdIsValid(GetTopTransactionIdIfAny());
	bool any = false;
	bool images_only = true;

	commit_seq = pg_atomic_add_fetch_u64(&GsShmem->commit_seq, 1);
	gs_journal_begin(context);
	while ((pending = gs_writeset_next(&scan)) != NULL)
	{
		if (!gs_journal_wants(&pending->change))
			continue;
		gs_journal_add(&pending->change);
		/* rotation's images: too many for a light commit to be worth it */
		light &= pending->change.kind != GS_CHANGE_IMAGE;
		images_only &= pending->change.kind == GS_CHANGE_IMAGE;
		any = true;
	}
	is_image = any && images_only;
	is_light = any && gs_journal_write(commit_seq, light);
}

/* May fail. */
static void
pre_commit(void)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;
	MemoryContext old = MemoryContextSwitchTo(context);
	ResourceOwner old_owner = CurrentResourceOwner;

	/* a procedure that commits has another one */
	CurrentResourceOwner = TopTransactionResourceOwner;
	is_light = false;
	if (nentries > 0 && generation != pg_atomic_read_u32(&gs_my_database()->generation))
		gs_table_removed();
	while ((pending = gs_writeset_next(&scan)) != NULL)
		gs_table_reserve(&pending->change);
	journal_all();
	if (!is_light && !is_image)
		gs_durable_before_commit();
	CurrentResourceOwner = old_owner;
	MemoryContextSwitchTo(old);
}

/* Cannot fail. */
static void
apply_all(XLogRecPtr lsn, int level)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;
	bool several = nentries > 1;

	if (several)
		LWLockAcquire(GsShmem->commit_lock, LW_EXCLUSIVE);
	while ((pending = gs_writeset_next(&scan)) != NULL)
	{
		pending->change.h.commit_seq = commit_seq;
		if (gs_journal_wants(&pending->change))
		{
			pending->change.lsn = lsn;
			pending->change.level = level;
		}
		gs_table_apply(&pending->change);
		gs_feed_add(&pending->change);
		gs_presence_applied(&pending->change);
	}
	if (several)
		LWLockRelease(GsShmem->commit_lock);
	gs_feed_append();
}

/*
 * The light way.  An error before the critical section aborts the transaction;
 * after it nothing can fail.
 */
static void
commit_light(void)
{
	ResourceOwner old_owner = CurrentResourceOwner;
	MemoryContext old = MemoryContextSwitchTo(context);
	XLogRecPtr lsn;

	CurrentResourceOwner = TopTransactionResourceOwner;
	gs_light_lock();
	START_CRIT_SECTION();
	lsn = gs_light_write();
	apply_all(lsn, gs_durable_told_level());
	END_CRIT_SECTION();
	gs_unlock_all();
	gs_light_finish();
	is_light = false;
	gs_feed_wake();
	gs_durable_commit(lsn);
	if (synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		gs_feed_durable();

	/* what has been waited for need not be waited for by the next transaction */
	XactLastRecEnd = 0;
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = old_owner;
}

static void
commit(void)
{
	if (is_light)
	{
		commit_light();
		return;
	}
	/* core's wait for standbys ends early when it is cancelled; readers wait on */
	if (gs_durable_committed(XactLastCommitEnd))
		apply_all(InvalidXLogRecPtr, SYNCHRONOUS_COMMIT_OFF);
	else
		apply_all(XactLastCommitEnd, gs_durable_told_level());
	apply_removals();
	gs_feed_wake();
}

/* Cannot fail. */
static void
rollback(void)
{
	GsWriteSetScan scan = {0};
	GsPending *pending;

	while ((pending = gs_writeset_next(&scan)) != NULL)
		gs_table_unreserve(&pending->change);
	if (is_light)
	{
		gs_light_reset();
		is_light = false;
	}
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (GsWriteSetActive)
				pre_commit();
			is_committing = true;
			break;
		case XACT_EVENT_COMMIT:
			if (GsWriteSetActive)
			{
				commit();
				reset();
			}
			gs_lease_xact_end(true);
			gs_lock_reset();
			gs_durable_forget();
			is_committing = false;
			break;
		case XACT_EVENT_ABORT:
			if (GsWriteSetActive)
			{
				rollback();
				reset();
			}
			gs_lease_xact_end(false);
			gs_lock_reset();
			gs_durable_forget();
			is_committing = false;
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (GsWriteSetActive)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has changed games")));
			/* locks of calls that changed nothing would stay until COMMIT PREPARED */
			gs_unlock_all();
			break;
		case XACT_EVENT_PREPARE:
			gs_lease_xact_end(true);
			gs_lock_reset();
			break;
		default:
			/* parallel workers change no games */
			break;
	}
}

static void
restore(Entry *entry)
{
	Saved *saved = entry->saved;

	if (saved)
	{
		entry->pending = saved->pending;
		entry->level = saved->level;
		entry->saved = saved->saved;
	}
	else
	{
		/* first touched by what is rolled back now */
		ids_delete(ids, entry->pending.change.key.id);
		entry->dead = true;
	}
}

static void
subxact_abort(int level)
{
	while (ntouched > 0 && touched[ntouched - 1].level >= level)
		restore(touched[--ntouched].entry);
	while (removals != NULL && removals->level >= level)
		removals = removals->prev;
}

/* The changes of this level become those of the level below. */
static void
subxact_commit(int level)
{
	int first = ntouched;
	int kept;

	while (first > 0 && touched[first - 1].level >= level)
		first--;
	kept = first;
	for (int i = first; i < ntouched; i++)
	{
		Entry *entry = touched[i].entry;
		Saved *saved = entry->saved;

		entry->level = level - 1;
		if (saved && saved->level == level - 1)
		{
			/* the level below has saved what was before it, or is the top */
			entry->saved = saved->saved;
			continue;
		}
		if (level - 1 > 1)
		{
			touched[kept].entry = entry;
			touched[kept].level = level - 1;
			kept++;
		}
	}
	ntouched = kept;
	for (Removal *removal = removals; removal != NULL; removal = removal->prev)
		removal->level = Min(removal->level, level - 1);
}

static void
subxact_callback(SubXactEvent event, SubTransactionId subid, SubTransactionId parent,
				 void *arg)
{
	int level;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	level = GetCurrentTransactionNestLevel();
	gs_lock_subxact_end(level, event == SUBXACT_EVENT_COMMIT_SUB);
	gs_lease_subxact_end(level, event == SUBXACT_EVENT_COMMIT_SUB);
	if (!GsWriteSetActive)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		subxact_commit(level);
	else
		subxact_abort(level);
}

void
gs_writeset_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
