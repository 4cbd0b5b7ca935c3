/*-------------------------------------------------------------------------
 *
 * gs_follow_groups.c
 *	  From rows of the journal to games in a standby's shared memory.
 *
 * The model:
 *	1. Rows come in no particular order and any number of times.  A group (the
 *	   rows of one transaction in one table) is complete when all its rows are
 *	   there and, if they carry a transaction id, when that has committed as
 *	   the standby sees it.  Rows without one (frozen) are valid at once; a
 *	   group of them that a crash has torn just never becomes complete.
 *	2. After each pass complete groups are applied in the order of their commit
 *	   sequences, each as a whole.  The sequence is taken while the games are
 *	   locked, so for one game it is the order of its changes.
 *	3. A pass may show a later group and not an earlier one, since rows are
 *	   added while pages are read.  But each record says what it builds on
 *	   (incarnation and version), so a group that does not fit yet waits.  What
 *	   it builds on is earlier in the WAL, hence is seen by the next pass: what
 *	   does not fit then has a hole before it.
 *	4. So after a pass in which nothing had to wait everything is applied that
 *	   was committed before the pass began; otherwise what was committed before
 *	   the pass before that.  No numbers without gaps are needed.
 *	5. Which groups are settled (applied, or found useless) is remembered, a
 *	   bit each, as long as their rows are in the table.  A removed game is
 *	   remembered for one more pass, for earlier records that come late.
 *
 * A game that is moved to a table, or comes back from one, goes the way it goes
 * on the primary (gs_tier.c): it is marked with the transaction that has done
 * it, which is the xmin of the row.
 *
 * Locking: as a committing backend does (gs_writeset.c).  Nobody else changes
 * games on a standby, so there are no heavyweight locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"
#include "gs_follow_groups.h"
#include "gs_journal.h"
#include "gs_replay.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Hashed as bytes: no padding. */
typedef struct GroupKey
{
	int64 seq;
	TransactionId xid; /* FrozenTransactionId: valid at once */
	int32 table;
} GroupKey;

StaticAssertDecl(sizeof(GroupKey) == 16, "GroupKey must not have padding");

typedef struct Group
{
	GroupKey key;
	int32 cnt;
	int32 have;
	GsBytes *pieces;
	uint64 complete_at; /* pass; 0 = not yet */
} Group;

/* One bit for each of SETTLED_BITS sequences. */
#define SETTLED_BITS 1024
typedef struct Settled
{
	int64 first; /* hash key: sequence / SETTLED_BITS */
	uint64 bits[SETTLED_BITS / 64];
} Settled;

/* A removed game; or one whose next record is missing. */
typedef struct Mark
{
	pg_uuid_t id; /* hash key */
	int64 incarnation;
	uint64 pass;
} Mark;

/* Hashed as bytes: no padding. */
typedef struct Place
{
	int32 table;
	BlockNumber block;
	uint32 offset;
} Place;

StaticAssertDecl(sizeof(Place) == 12, "Place must not have padding");

/* What applying a record would come to. */
typedef enum Fit
{
	FIT_NOW,
	FIT_STALE, /* nothing to do */
	FIT_LATER  /* what it builds on is missing */
} Fit;

/* The game of a record as it is in shared memory. */
typedef struct Current
{
	bool exists;
	bool archived; /* only old snapshots see it */
	GsHeader h;
} Current;

/* The changes of one group, in local memory. */
typedef struct ChangeList
{
	int n;
	int size;
	GsChange **changes;
} ChangeList;

static MemoryContext context = NULL;
static MemoryContext change_context = NULL; /* one group, reset */
static MemoryContext row_context = NULL; /* rows of groups, reset when there are none */
static HTAB *groups = NULL;
static HTAB *settled[2];
static HTAB *removed = NULL;
static HTAB *holes = NULL;
static HTAB *reported = NULL;
static uint64 pass = 1;
static bool loading = true;	 /* nothing has been applied yet */
static bool telling = false; /* what is applied is new: for the change feed */
static GsGroupsStatus status;

static HTAB *
create_hash(const char *name, Size keysize, Size entrysize)
{
	HASHCTL ctl = {.keysize = keysize, .entrysize = entrysize, .hcxt = context};

	return hash_create(name, 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
gs_groups_reset(void)
{
	if (context != NULL)
		MemoryContextDelete(context);
	context = AllocSetContextCreate(TopMemoryContext, "gamestate follower's groups",
									ALLOCSET_DEFAULT_SIZES);
	change_context = AllocSetContextCreate(context, "gamestate follower's changes",
										   ALLOCSET_DEFAULT_SIZES);
	row_context = AllocSetContextCreate(context, "gamestate follower's rows",
										ALLOCSET_DEFAULT_SIZES);
	groups = create_hash("gamestate groups", sizeof(GroupKey), sizeof(Group));
	for (int i = 0; i < 2; i++)
		settled[i] =
			create_hash("gamestate settled groups", sizeof(int64), sizeof(Settled));
	removed = create_hash("gamestate removed games", sizeof(pg_uuid_t), sizeof(Mark));
	holes = create_hash("gamestate games with holes", sizeof(pg_uuid_t), sizeof(Mark));
	reported = create_hash("gamestate damaged rows", sizeof(Place), sizeof(Place));
	status.pending = 0;
	loading = true;
	telling = false;
}

void
gs_groups_tell(void)
{
	telling = true;
}

void
gs_groups_status(GsGroupsStatus *result)
{
	*result = status;
}

void
gs_groups_count_problem(void)
{
	status.problems++;
}

/* ----------------------------------------------------------------
 *		What is settled
 * ----------------------------------------------------------------
 */

static bool
is_settled(int table, int64 seq)
{
	int64 first = seq / SETTLED_BITS;
	uint64 bit = (uint64) seq % SETTLED_BITS;
	Settled *entry;

	if (seq < 0)
		return false;
	entry = hash_search(settled[table], &first, HASH_FIND, NULL);
	return entry != NULL && (entry->bits[bit / 64] & (UINT64CONST(1) << (bit % 64))) != 0;
}

static void
set_settled(int table, int64 seq)
{
	int64 first = seq / SETTLED_BITS;
	uint64 bit = (uint64) seq % SETTLED_BITS;
	Settled *entry;
	bool found;

	if (seq < 0)
		return;
	entry = hash_search(settled[table], &first, HASH_ENTER, &found);
	if (!found)
		memset(entry->bits, 0, sizeof(entry->bits));
	entry->bits[bit / 64] |= UINT64CONST(1) << (bit % 64);
}

static void
forget_group(Group *group)
{
	if (group->pieces != NULL)
	{
		for (int i = 0; i < group->cnt; i++)
			if (group->pieces[i].data != NULL)
				pfree((char *) group->pieces[i].data);
		pfree(group->pieces);
	}
	(void) hash_search(groups, &group->key, HASH_REMOVE, NULL);
}

static void
settle_group(Group *group)
{
	set_settled(group->key.table, group->key.seq);
	forget_group(group);
}

void
gs_groups_emptied(int table)
{
	HASH_SEQ_STATUS scan;
	Group *group;
	Place *place;

	hash_destroy(settled[table]);
	settled[table] =
		create_hash("gamestate settled groups", sizeof(int64), sizeof(Settled));

	/* complete groups are in local memory: they are applied all the same */
	hash_seq_init(&scan, groups);
	while ((group = hash_seq_search(&scan)) != NULL)
		if (group->key.table == table && group->have < group->cnt)
			forget_group(group);
	hash_seq_init(&scan, reported);
	while ((place = hash_seq_search(&scan)) != NULL)
		if (place->table == table)
			(void) hash_search(reported, place, HASH_REMOVE, NULL);
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */

/* A page is read again whenever it changes: say it once. */
void
gs_groups_damaged(int table, const ItemPointerData *tid, const char *what)
{
	Place place = {.table = table,
				   .block = ItemPointerGetBlockNumberNoCheck(tid),
				   .offset = ItemPointerGetOffsetNumberNoCheck(tid)};
	bool found;

	(void) hash_search(reported, &place, HASH_ENTER, &found);
	if (found)
		return;
	status.problems++;
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("damaged row (%u,%u) of journal table \"journal_%d\" is skipped",
					place.block, place.offset, table),
			 errdetail("%s.", what)));
}

static TransactionId
inserted_by(HeapTupleHeader header)
{
	TransactionId xid = HeapTupleHeaderGetRawXmin(header);

	if (HeapTupleHeaderXminFrozen(header) || !TransactionIdIsNormal(xid))
		return FrozenTransactionId;
	return xid;
}

/* Has somebody deleted it by hand?  Loading heeds that, too. */
static bool
is_deleted(HeapTupleHeader header)
{
	TransactionId xid = HeapTupleHeaderGetRawXmax(header);

	if ((header->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) != 0 ||
		HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) || !TransactionIdIsNormal(xid))
		return false;
	return !TransactionIdIsInProgress(xid) && TransactionIdDidCommit(xid);
}

static bool
is_aborted(TransactionId xid)
{
	/* in this order: a transaction commits before it is no longer in progress */
	return TransactionIdIsNormal(xid) && !TransactionIdIsInProgress(xid) &&
		   !TransactionIdDidCommit(xid);
}

void
gs_groups_row(int table, const ItemPointerData *tid, HeapTupleHeader header, Size len)
{
	GsJournalRow row;
	GroupKey key;
	Group *group;
	bool found;
	const char *wrong = gs_replay_row(header, len, &row);
	char *data;

	if (wrong == NULL && is_settled(table, row.seq))
		return;
	key.seq = wrong ? 0 : row.seq;
	key.xid = inserted_by(header);
	key.table = table;
	if (is_aborted(key.xid) || is_deleted(header))
		return;
	if (wrong)
	{
		gs_groups_damaged(table, tid, wrong);
		return;
	}

	group = hash_search(groups, &key, HASH_ENTER, &found);
	if (!found)
	{
		group->cnt = row.cnt;
		group->have = 0;
		group->pieces = NULL;
		group->complete_at = 0;
		group->pieces = MemoryContextAllocExtended(row_context, sizeof(GsBytes) * row.cnt,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO |
													   MCXT_ALLOC_NO_OOM);
		if (group->pieces == NULL)
		{
			(void) hash_search(groups, &key, HASH_REMOVE, NULL);
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("A transaction of the journal has %d rows.", row.cnt)));
		}
	}
	if (group->cnt != row.cnt)
		gs_groups_damaged(table, tid,
						  "number of rows differs from that of another row of its group");
	else if (group->pieces[row.idx].data == NULL)
	{
		data = MemoryContextAlloc(row_context, Max(row.len, 1));
		memcpy(data, row.data, row.len);
		group->pieces[row.idx] = (GsBytes){data, row.len};
		group->have++;
	}
}

/* ----------------------------------------------------------------
 *		Does a record fit?
 * ----------------------------------------------------------------
 */

static Current
look_up(const GsGameKey *key)
{
	Current current = {.exists = false};
	GsGame *game = dshash_find(GsGames, key, false);

	if (game == NULL)
		return current;
	current.exists = game->visible;
	current.archived = game->link_state == GS_LINK_ARCHIVED;
	current.h = game->h;
	dshash_release_lock(GsGames, game);
	return current;
}

static Fit
fit_of(const Group *group, const GsRecord *record, const Current *current)
{
	Mark *mark = hash_search(removed, record->id, HASH_FIND, NULL);
	bool live = current->exists && !current->archived;

	if ((mark != NULL && mark->incarnation >= record->incarnation) ||
		(current->exists && current->h.incarnation > record->incarnation))
		return FIT_STALE;
	if (current->archived && current->h.incarnation == record->incarnation)
		return FIT_STALE;
	switch (record->kind)
	{
		case GS_RECORD_IMAGE:
			if (live && current->h.incarnation == record->incarnation &&
				current->h.version >= record->version)
				return FIT_STALE;
			return FIT_NOW;
		case GS_RECORD_UPDATE:
			if (!live || current->h.incarnation < record->incarnation)
				return FIT_LATER;
			if (current->h.version >= record->version)
				return FIT_STALE;
			return current->h.version == record->base_version ? FIT_NOW : FIT_LATER;
		case GS_RECORD_REMOVE:
			/*
			 * What comes late will find that the game has been removed.  But one
			 * that was moved stays in memory for some, so that it has to be whole.
			 */
			if ((record->parts & GS_RECORD_MOVED) && live &&
				current->h.incarnation == record->incarnation &&
				current->h.version < record->version)
				return FIT_LATER;
			return FIT_NOW;
	}
	return FIT_STALE;
}

/* ----------------------------------------------------------------
 *		From records to changes
 * ----------------------------------------------------------------
 */

static GsChange *
find_change(const ChangeList *list, const unsigned char *id)
{
	for (int i = 0; i < list->n; i++)
		if (memcmp(list->changes[i]->key.id.data, id, UUID_LEN) == 0)
			return list->changes[i];
	return NULL;
}

static GsChange *
add_change(ChangeList *list, GsDatabase *db, const GsRecord *record)
{
	GsChange *change = palloc0(sizeof(GsChange));

	if (list->n == list->size)
	{
		list->size = Max(8, list->size * 2);
		list->changes = list->changes
							? repalloc(list->changes, sizeof(GsChange *) * list->size)
							: palloc(sizeof(GsChange *) * list->size);
	}
	list->changes[list->n++] = change;
	change->key.dboid = MyDatabaseId;
	memcpy(change->key.id.data, record->id, UUID_LEN);
	change->db = db;
	/* what the primary has accepted has to fit */
	change->frees = true;
	return change;
}

/* Start an update from what is in memory. */
static void
take_current(GsChange *change, const Current *current, bool need_state)
{
	change->kind = GS_CHANGE_UPDATE;
	change->base_version = current->h.version;
	change->h = current->h;
	if (need_state)
	{
		GsGame *game = dshash_find(GsGames, &change->key, false);
		char *data = MemoryContextAllocHuge(CurrentMemoryContext, game->state_len + 1);

		memcpy(data, GS_PTR(game->state), game->state_len);
		change->state = (GsText){data, game->state_len};
		dshash_release_lock(GsGames, game);
	}
}

static void
take_removal(GsChange *change, const GsRecord *record, const Current *current,
			 TransactionId xid)
{
	change->h = current->h;
	change->base_version = current->h.version;
	change->kind = GS_CHANGE_REMOVE;
	if (TransactionIdIsNormal(xid) && (record->parts & GS_RECORD_MOVED))
	{
		change->kind = GS_CHANGE_ARCHIVE;
		change->archive_xid = xid;
		change->moved_to =
			GS_STATUS_IS_OVER(current->h.status) ? GS_TIER_ARCHIVED : GS_TIER_SUSPENDED;
	}
}

static void
note_removed(const GsRecord *record)
{
	bool found;
	Mark *mark = hash_search(removed, record->id, HASH_ENTER, &found);

	if (!found || mark->incarnation < record->incarnation)
		mark->incarnation = record->incarnation;
	mark->pass = pass;
}

/* A game cannot be followed any further until its next image: say it once. */
static void
note_hole(const GsRecord *record, const Current *current)
{
	pg_uuid_t id;
	bool found;
	Mark *mark = hash_search(holes, record->id, HASH_ENTER, &found);

	mark->pass = pass;
	if (found && mark->incarnation == record->incarnation)
		return;
	mark->incarnation = record->incarnation;
	status.problems++;
	status.holes++;
	memcpy(id.data, record->id, UUID_LEN);
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("game %s cannot be followed on this standby",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id)))),
			 current->exists ?
			 errdetail("It is at version %lld, and in the journal an update is missing before version %lld.",
					   (long long) current->h.version, (long long) record->version) :
			 errdetail("The journal has no image of it before version %lld.",
					   (long long) record->version)));
}

/* Add one record to the group's changes; NULL or what is wrong. */
static const char *
change_record(ChangeList *list, GsDatabase *db, const Group *group,
			  const GsRecord *record, const Current *current)
{
	GsChange *change = find_change(list, record->id);
	const char *wrong = NULL;

	if (record->kind == GS_RECORD_REMOVE)
	{
		note_removed(record);
		if (current->exists && !current->archived)
			take_removal(change ? change : add_change(list, db, record), record, current,
						 group->key.xid);
		return NULL;
	}
	if (change == NULL)
		change = add_change(list, db, record);
	if (record->kind == GS_RECORD_IMAGE)
	{
		change->kind = GS_CHANGE_CREATE;
		change->replaces = current->exists && !current->archived;
		if (change->replaces && current->h.incarnation == record->incarnation)
			change->base_version = current->h.version;
		if ((record->parts & GS_RECORD_MOVED) && TransactionIdIsNormal(group->key.xid))
		{
			change->returns = true;
			change->archive_xid = group->key.xid;
			change->base_version = record->base_version;
		}
		change->image_in = group->key.table;
		gs_replay_image(change, record);
		(void) hash_search(holes, record->id, HASH_REMOVE, NULL);
	}
	else
	{
		bool has_state =
			(record->parts & (GS_RECORD_HAS_STATE | GS_RECORD_HAS_DELTA)) != 0;

		if (change->kind == GS_CHANGE_NONE)
			take_current(change, current, has_state);
		wrong = gs_replay_update(change, record);
		if (wrong)
			change->kind = GS_CHANGE_NONE;
		if (has_state)
			change->state_changed = true;
		if (record->parts & GS_RECORD_HAS_INFO)
			change->info_changed = true;
	}
	change->h.commit_seq = group->key.seq;
	return wrong;
}

/* ----------------------------------------------------------------
 *		Groups
 * ----------------------------------------------------------------
 */

/* Its pieces in one string; of several, in change_context. */
static GsText
whole_group(const Group *group)
{
	Size total = 0;
	char *whole;
	char *p;

	if (group->cnt == 1)
		return (GsText){group->pieces[0].data, group->pieces[0].len};
	for (int i = 0; i < group->cnt; i++)
		total += group->pieces[i].len;
	if (total > PG_UINT32_MAX)
		return (GsText){NULL, 0};
	p = whole = MemoryContextAllocHuge(change_context, Max(total, 1));
	for (int i = 0; i < group->cnt; i++)
	{
		memcpy(p, group->pieces[i].data, group->pieces[i].len);
		p += group->pieces[i].len;
	}
	return (GsText){whole, total};
}

static void
report_group(const Group *group, const char *what)
{
	status.problems++;
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("transaction %lld of journal table \"journal_%d\" is skipped",
					(long long) group->key.seq, group->key.table),
			 errdetail("%s.", what)));
}

/*
 * What to do with the group.  Its records are looked at twice: first whether
 * all fit, then to make changes of them.  With "force" those that do not fit
 * are left out.
 */
static Fit
make_changes(GsDatabase *db, const Group *group, bool force, ChangeList *list,
			 const char **wrong)
{
	GsText whole = whole_group(group);
	const char *end = whole.data + whole.len;

	*wrong = NULL;
	if (whole.data == NULL)
	{
		*wrong = "It is too large";
		return FIT_STALE;
	}
	for (int round = 0; round < 2; round++)
	{
		const char *p = whole.data;
		pg_uuid_t before = {{0}};
		bool have_before = false;

		while (p < end)
		{
			GsGameKey key = {.dboid = MyDatabaseId};
			GsRecord record;
			Current current;
			Fit fit;

			*wrong = gs_replay_record(&p, end, &record);
			if (*wrong)
				return FIT_STALE;
			memcpy(key.id.data, record.id, UUID_LEN);
			current = look_up(&key);
			fit = fit_of(group, &record, &current);

			/* after what was written just before, by the same transaction */
			if (fit == FIT_LATER && have_before &&
				memcmp(before.data, record.id, UUID_LEN) == 0)
				fit = FIT_NOW;
			have_before = fit == FIT_NOW;
			before = key.id;
			if (round == 0)
			{
				if (fit == FIT_LATER && !force)
					return FIT_LATER;
				continue;
			}
			if (fit == FIT_LATER && record.kind == GS_RECORD_UPDATE)
				note_hole(&record, &current);
			else if (fit != FIT_STALE)
			{
				const char *misfit = change_record(list, db, group, &record, &current);

				if (misfit)
					note_hole(&record, &current);
			}
		}
	}
	return FIT_NOW;
}

static void
apply_changes(ChangeList *list)
{
	bool several = list->n > 1;

	PG_TRY();
	{
		for (int i = 0; i < list->n; i++)
			if (list->changes[i]->kind != GS_CHANGE_NONE)
				gs_table_reserve(list->changes[i]);
	}
	PG_CATCH();
	{
		for (int i = 0; i < list->n; i++)
			gs_table_unreserve(list->changes[i]);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (several)
		LWLockAcquire(GsShmem->commit_lock, LW_EXCLUSIVE);
	for (int i = 0; i < list->n; i++)
	{
		gs_table_apply(list->changes[i]);
		if (telling)
			gs_feed_add(list->changes[i]);
	}
	if (several)
		LWLockRelease(GsShmem->commit_lock);
	gs_feed_append();
	gs_feed_wake();
}

/* Returns whether the group is settled. */
static bool
try_group(GsDatabase *db, Group *group, bool force)
{
	ChangeList list = {0};
	MemoryContext old = MemoryContextSwitchTo(change_context);
	const char *wrong;
	Fit fit = make_changes(db, group, force, &list, &wrong);

	if (wrong)
		report_group(group, wrong);
	else if (fit == FIT_NOW && list.n > 0)
	{
		apply_changes(&list);
		status.applied++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(change_context);
	return fit != FIT_LATER;
}

/* Is all of it there, and has it been committed?  Forgets it if it never will be. */
static bool
is_complete(Group *group)
{
	TransactionId xid = group->key.xid;

	if (group->complete_at != 0)
		return true;
	if (TransactionIdIsNormal(xid))
	{
		if (TransactionIdIsInProgress(xid))
			return false;
		if (!TransactionIdDidCommit(xid))
		{
			forget_group(group);
			return false;
		}
	}
	if (group->have < group->cnt)
		return false;
	group->complete_at = pass;
	return true;
}

static int
by_seq(const void *a, const void *b)
{
	int64 sa = (*(Group *const *) a)->key.seq;
	int64 sb = (*(Group *const *) b)->key.seq;

	return sa < sb ? -1 : sa > sb;
}

static Group **
complete_groups(long *n)
{
	long size = Max(hash_get_num_entries(groups), 1);
	Group **result = MemoryContextAllocHuge(context, sizeof(Group *) * size);
	HASH_SEQ_STATUS scan;
	Group *group;

	*n = 0;
	hash_seq_init(&scan, groups);
	while ((group = hash_seq_search(&scan)) != NULL)
		if (is_complete(group))
			result[(*n)++] = group;
	qsort(result, *n, sizeof(Group *), by_seq);
	return result;
}

static void
forget_old_marks(void)
{
	HASH_SEQ_STATUS scan;
	Mark *mark;

	hash_seq_init(&scan, removed);
	while ((mark = hash_seq_search(&scan)) != NULL)
		if (mark->pass < pass)
			(void) hash_search(removed, &mark->id, HASH_REMOVE, NULL);
}

/* Does no snapshot need what the transaction has removed? */
static bool
is_visible_to_all(TransactionId xid, TransactionId horizon)
{
	return !TransactionIdIsNormal(xid) || TransactionIdPrecedes(xid, horizon);
}

/*
 * Before a load: games that are removed further on are not made at all.  All
 * that there ever were may need more memory than those that there are.
 */
static void
note_removals(Group **ready, long n)
{
	TransactionId horizon = GetOldestNonRemovableTransactionId(NULL);
	MemoryContext old = MemoryContextSwitchTo(change_context);

	for (long i = 0; i < n; i++)
	{
		GsText whole;
		const char *p;
		GsRecord record;

		if (!is_visible_to_all(ready[i]->key.xid, horizon))
			continue;
		whole = whole_group(ready[i]);
		p = whole.data;
		while (p != NULL && p < whole.data + whole.len &&
			   gs_replay_record(&p, whole.data + whole.len, &record) == NULL)
			if (record.kind == GS_RECORD_REMOVE)
				note_removed(&record);
		MemoryContextReset(change_context);
	}
	MemoryContextSwitchTo(old);
}

/* One way through the groups; those that are settled get NULL. */
static bool
apply_round(GsDatabase *db, Group **ready, long n, bool force, bool *progress)
{
	*progress = false;
	for (long i = 0; i < n; i++)
	{
		if (ready[i] == NULL)
			continue;

		/* a promotion waits for us, and has no use for the rest */
		if (!RecoveryInProgress() || ProcDiePending)
			return false;
		if (try_group(db, ready[i], force && ready[i]->complete_at < pass))
		{
			settle_group(ready[i]);
			ready[i] = NULL;
			*progress = true;
		}
	}
	return true;
}

bool
gs_groups_apply(GsDatabase *db, bool *all)
{
	long n;
	Group **ready = complete_groups(&n);
	bool progress = n > 0;
	bool force = false;

	if (loading)
		note_removals(ready, n);
	loading = false;
	while (progress || !force)
	{
		/* only what does not fit after all others is forced */
		force = !progress;
		if (!apply_round(db, ready, n, force, &progress))
		{
			pfree(ready);
			return false;
		}
	}
	*all = true;
	for (long i = 0; i < n; i++)
		*all = *all && ready[i] == NULL;
	pfree(ready);
	forget_old_marks();
	status.pending = hash_get_num_entries(groups);

	/* a load has had the whole journal there: give that back to the system */
	if (status.pending == 0)
		MemoryContextReset(row_context);
	pass++;
	return true;
}
