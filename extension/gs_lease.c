/*-------------------------------------------------------------------------
 *
 * gs_lease.c
 *	  Leases: which game server runs which game.
 *
 * The model:
 *	1. A lease says that an owner runs a game: a name that a game server gives
 *	   itself.  The leases of one owner that were taken in one session, or apart
 *	   from any session, have a holder in common, with the time at which they end.
 *	   So to renew them all is to change one time, and one timer watches it.
 *	2. Leases are in a hash table of their own, keyed as the games are.  A game is
 *	   claimed by putting an entry there, which only one can do.  The game is
 *	   looked at once more afterwards: who ends it looks for its lease after
 *	   that, so one of the two sees the other.
 *	3. A lease ends when it is given up, when its time is over, when the session
 *	   of its holder ends, and with the game.  In all cases but the last the change
 *	   feed says so, and the game is free for the next one.
 *	4. Leases are not journaled: after a restart nobody has any.  Their numbers
 *	   grow all the same, for all games of a database and for ever: the upper
 *	   part is an epoch out of a sequence, on disk before the first number of
 *	   it is handed out, and new after each start.  A failover may lose what the
 *	   sequence gave last, so the epoch begins with the timeline, which grows with
 *	   each promotion.
 *	5. Who makes a move under a lease shows its number, which is looked up while
 *	   the game is locked.  So of two owners the one whose lease has ended makes no
 *	   move after one that the next owner has made.
 *	6. Claims hold at once.  What a transaction has claimed is given up again when
 *	   it is rolled back.
 *
 * Locking: leases_lock of the database protects holders, the lists of their
 * leases, and the numbers; an entry of the hash table is read with its partition
 * locked, and changed with both.  A holder is freed when it has no entry left.
 * Rows of the feed are put in with leases_lock held, so that they come in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_errors.h"
#include "gs_feed.h"
#include "gs_lease.h"
#include "gs_owner.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A lease's number: the epoch, and a number within it. */
#define NUMBER_BITS 20
/* An epoch: the timeline, and a number that grows with each start. */
#define EPOCH_BITS 23

/*
 * The leases of an owner that end together.  Protected by leases_lock, unless it
 * says otherwise.
 */
typedef struct GsHolder
{
	dlist_node link; /* of the database's holders */
	dlist_head leases;
	int64 nleases;
	dsa_pointer self;
	pg_atomic_uint64
		expires_at; /* TimestampTz; DT_NOEND = never; read without the lock */
	GsTimer timer;
	pid_t pid;		 /* session that they end with; 0 = none; set once */
	uint8 owner_len; /* set once */
	char owner[GS_MAX_ID_LENGTH];
} GsHolder;

/* An entry of the hash table.  In main shared memory at an address that does not change. */
typedef struct GsLease
{
	GsGameKey key;
	int64 number;	  /* 0 = being claimed */
	GsHolder *holder; /* NULL = being claimed */
	dlist_node link;  /* of the holder's; protected by leases_lock */
} GsLease;

/* What this transaction has claimed; levels never fall. */
typedef struct Claimed
{
	pg_uuid_t id;
	int64 number;
	int level;
} Claimed;

static dshash_table *leases = NULL;

static Claimed *claimed = NULL;
static int nclaimed = 0;
static int claimed_size = 0;

static bool exit_registered = false;

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

static dshash_parameters
lease_parameters(void)
{
	return (dshash_parameters){.key_size = sizeof(GsGameKey),
							   .entry_size = sizeof(GsLease),
							   .compare_function = dshash_memcmp,
							   .hash_function = dshash_memhash,
							   .tranche_id = GsShmem->leases_tranche,
							   GS_DSHASH_COPY_FUNCTION};
}

void
gs_leases_create(void)
{
	dshash_parameters params = lease_parameters();
	dshash_table *table = dshash_create(GsArea, &params, NULL);

	GsShmem->leases_handle = dshash_get_hash_table_handle(table);
	dshash_detach(table);
}

void
gs_leases_attach(void)
{
	dshash_parameters params = lease_parameters();

	leases = dshash_attach(GsArea, &params, GsShmem->leases_handle, NULL);
}

void
gs_leases_init(GsDatabase *db)
{
	LWLockInitialize(&db->leases_lock, GsShmem->leases_tranche);
	pg_atomic_init_u32(&db->nleases, 0);
	dlist_init(&db->holders);
	db->lease_next = db->lease_end = 0;
}

static inline GsGameKey
key_of(const pg_uuid_t *id)
{
	return (GsGameKey){.dboid = MyDatabaseId, .id = *id};
}

static inline TimestampTz
expiry_of(const GsHolder *holder)
{
	return (TimestampTz) pg_atomic_read_u64(
		unconstify(pg_atomic_uint64 *, &holder->expires_at));
}

static inline GsText
owner_of(const GsHolder *holder)
{
	return (GsText){holder->owner, holder->owner_len};
}

/* ----------------------------------------------------------------
 *		The feed
 * ----------------------------------------------------------------
 */

/* As a JSON string.  Nothing is allocated: a session that ends comes here, too. */
static char *
put_json(char *p, const GsText *text)
{
	*p++ = '"';
	for (uint32 i = 0; i < text->len; i++)
	{
		unsigned char c = (unsigned char) text->data[i];

		if (c < ' ')
			p += sprintf(p, "\\u%04x", c);
		else
		{
			if (c == '"' || c == '\\')
				*p++ = '\\';
			*p++ = (char) c;
		}
	}
	*p++ = '"';
	return p;
}

/*
 * Is the game running?  Its type, for which there is room for GS_MAX_ID_LENGTH.  For
 * who is told its version: what is not durable of it is noted.
 */
static bool
look_at_game(const pg_uuid_t *id, char *type, uint32 *type_len, int64 *version)
{
	GsGameKey key = key_of(id);
	GsGame *game = dshash_find(GsGames, &key, false);
	const GsInfo *info;
	bool running;

	if (game == NULL)
		return false;
	running = game->visible && !GS_STATUS_IS_OVER(game->h.status) &&
			  !TransactionIdIsValid(game->archive_xid);
	if (running)
	{
		info = GS_PTR(game->info);
		*type_len = Min(info->type_len, GS_MAX_ID_LENGTH);
		memcpy(type, &info->nodes[gs_info_nodes(info)], *type_len);
		if (version)
		{
			*version = game->h.version;
			gs_durable_note(game->wait_lsn, game->wait_level);
		}
	}
	dshash_release_lock(GsGames, game);
	return running;
}

/* Say what has happened to the lease of a running game.  The caller holds leases_lock. */
static bool
tell(const pg_uuid_t *id, uint8 kind, const GsHolder *holder, int64 number,
	 int64 *version)
{
	char type[GS_MAX_ID_LENGTH];
	char buffer[GS_MAX_ID_LENGTH * 6 + 64];
	GsText type_text = {.data = type};
	GsText owner = owner_of(holder);
	GsText event = {.data = buffer};
	char *p;

	if (!look_at_game(id, type, &type_text.len, version))
		return false;
	p = buffer + sprintf(buffer, "{\"owner\": ");
	p = put_json(p, &owner);
	p += sprintf(p, ", \"lease\": %lld}", (long long) number);
	event.len = p - buffer;
	gs_feed_notice(MyDatabaseId, id, &type_text, kind, NULL, &event);
	return true;
}

/* ----------------------------------------------------------------
 *		Ends
 *
 * The caller holds leases_lock exclusively.
 * ----------------------------------------------------------------
 */

static void
delete_entry(GsDatabase *db, GsLease *lease)
{
	dshash_delete_entry(leases, lease);
	gs_account_hash_delete(db, sizeof(GsLease));
	pg_atomic_fetch_sub_u32(&db->nleases, 1);
}

static void
free_holder(GsDatabase *db, GsHolder *holder)
{
	Assert(dlist_is_empty(&holder->leases));
	dlist_delete(&holder->link);
	gs_timer_remove(db, &holder->timer);
	gs_free(db, holder->self, sizeof(GsHolder));
}

/* The lease's partition is locked exclusively, and is not afterwards. */
static void
unlink_lease(GsDatabase *db, GsLease *lease)
{
	lease->holder->nleases--;
	dlist_delete(&lease->link);
	delete_entry(db, lease);
}

/* kind: what to tell, 0 = nothing.  The holder may be gone afterwards, if it is told to. */
static void
end_lease(GsDatabase *db, const pg_uuid_t *id, int64 number, uint8 kind,
		  bool free_if_last)
{
	GsGameKey key = key_of(id);
	GsLease *lease = dshash_find(leases, &key, true);
	GsHolder *holder;

	if (lease == NULL)
		return;
	holder = lease->holder;
	if (holder == NULL || (number != 0 && lease->number != number))
	{
		dshash_release_lock(leases, lease);
		return;
	}
	number = lease->number;
	unlink_lease(db, lease);
	if (kind != 0)
		(void) tell(id, kind, holder, number, NULL);
	if (free_if_last && dlist_is_empty(&holder->leases))
		free_holder(db, holder);
}

/* All leases of a holder, and the holder. */
static int
end_holder(GsDatabase *db, GsHolder *holder, uint8 kind)
{
	int n = 0;

	while (!dlist_is_empty(&holder->leases))
	{
		GsLease *lease = dlist_head_element(GsLease, link, &holder->leases);
		pg_uuid_t id = lease->key.id;

		end_lease(db, &id, 0, kind, false);
		n++;
	}
	free_holder(db, holder);
	return n;
}

void
gs_lease_drop_slow(GsDatabase *db, const pg_uuid_t *id)
{
	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	end_lease(db, id, 0, 0, true);
	LWLockRelease(&db->leases_lock);
}

void
gs_leases_remove_database(GsDatabase *db)
{
	dshash_seq_status scan;
	GsLease *lease;

	if (pg_atomic_read_u32(&db->nleases) == 0)
		return;
	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	dshash_seq_init(&scan, leases, true);
	while ((lease = dshash_seq_next(&scan)) != NULL)
	{
		if (lease->key.dboid != db->dboid)
			continue;
		if (lease->holder)
		{
			lease->holder->nleases--;
			dlist_delete(&lease->link);
		}
		dshash_delete_current(&scan);
		gs_account_hash_delete(db, sizeof(GsLease));
		pg_atomic_fetch_sub_u32(&db->nleases, 1);
	}
	dshash_seq_term(&scan);
	while (!dlist_is_empty(&db->holders))
		free_holder(db, dlist_head_element(GsHolder, link, &db->holders));
	LWLockRelease(&db->leases_lock);
}

int
gs_leases_expire(GsDatabase *db)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_mutable_iter iter;
	int n = 0;

	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	dlist_foreach_modify (iter, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, iter.cur);

		if (expiry_of(holder) <= now)
			n += end_holder(db, holder, GS_FEED_ORPHANED);
		else if (expiry_of(holder) != DT_NOEND)
			gs_timer_set(db, &holder->timer, expiry_of(holder));
	}
	LWLockRelease(&db->leases_lock);
	if (n > 0)
		gs_feed_wake();
	return n;
}

int
gs_lease_run(GsDatabase *db, const GsTimerDue *due, int n)
{
	return gs_leases_expire(db);
}

/* A timer that is queued already is left alone. */
void
gs_lease_again(GsDatabase *db, const GsTimerDue *due, bool failed)
{
	dlist_iter iter;

	LWLockAcquire(&db->leases_lock, LW_SHARED);
	dlist_foreach (iter, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, iter.cur);

		if (expiry_of(holder) != DT_NOEND)
			gs_timer_again(db, &holder->timer, failed);
	}
	LWLockRelease(&db->leases_lock);
}

/* The session ends: so do the leases that are bound to it. */
static void
session_exit(int code, Datum arg)
{
	GsDatabase *db = (GsDatabase *) DatumGetPointer(arg);
	dlist_mutable_iter iter;
	int n = 0;

	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	dlist_foreach_modify (iter, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, iter.cur);

		if (holder->pid == MyProcPid)
			n += end_holder(db, holder, GS_FEED_ORPHANED);
	}
	LWLockRelease(&db->leases_lock);
	if (n > 0)
		gs_feed_wake();
}

/* ----------------------------------------------------------------
 *		Numbers
 * ----------------------------------------------------------------
 */

static int64
run_for_number(const char *query)
{
	bool null;

	if (SPI_execute(query, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not execute: %s", query);
	return DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

static bool
has_numbers(GsDatabase *db)
{
	bool has;

	LWLockAcquire(&db->leases_lock, LW_SHARED);
	has = db->lease_next < db->lease_end;
	LWLockRelease(&db->leases_lock);
	return has;
}

/* A new epoch, on disk before anybody gets a number of it. */
static int64
next_epoch(void)
{
	int64 first = (int64) GetWALInsertionTimeLine() << EPOCH_BITS;
	int64 epoch = run_for_number("SELECT pg_catalog.nextval('gamestate.lease_epoch')");

	if (epoch < first)
		epoch = run_for_number(
			psprintf("SELECT pg_catalog.setval('gamestate.lease_epoch', %lld)",
					 (long long) first));
	if (!XLogRecPtrIsInvalid(XactLastRecEnd))
		XLogFlush(XactLastRecEnd);
	return epoch;
}

void
gs_lease_reserve_numbers(GsDatabase *db)
{
	GsOwnerAccess access;
	int64 first;

	if (has_numbers(db))
		return;

	/* one at a time: setval() could take back what another one has got */
	gs_owner_begin(&access, "lease_epoch", ShareUpdateExclusiveLock);
	if (!has_numbers(db))
	{
		first = next_epoch() << NUMBER_BITS;
		LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
		if (first > db->lease_next)
		{
			db->lease_next = first;
			db->lease_end = first + (INT64CONST(1) << NUMBER_BITS);
		}
		LWLockRelease(&db->leases_lock);
	}
	gs_owner_end(&access);
}

/* ----------------------------------------------------------------
 *		Claims
 * ----------------------------------------------------------------
 */

static GsHolder *
find_holder(GsDatabase *db, const GsText *owner, pid_t pid)
{
	dlist_iter iter;

	dlist_foreach (iter, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, iter.cur);
		GsText name = owner_of(holder);

		if (holder->pid == pid && gs_text_equal(&name, owner))
			return holder;
	}
	return NULL;
}

static GsHolder *
make_holder(GsDatabase *db, const GsClaim *claim, dsa_pointer place)
{
	GsHolder *holder = GS_PTR(place);

	memset(holder, 0, sizeof(GsHolder));
	holder->self = place;
	holder->pid = claim->with_session ? MyProcPid : 0;
	holder->owner_len = claim->owner.len;
	memcpy(holder->owner, claim->owner.data, claim->owner.len);
	dlist_init(&holder->leases);
	pg_atomic_init_u64(&holder->expires_at, 0);
	gs_timer_init(&holder->timer, GS_TIMER_LEASE, NULL);
	dlist_push_tail(&db->holders, &holder->link);
	return holder;
}

/* To all leases of the holder, sooner or later than before. */
static void
set_expiry(GsDatabase *db, GsHolder *holder, TimestampTz expires_at)
{
	pg_atomic_write_u64(&holder->expires_at, (uint64) expires_at);
	if (expires_at != DT_NOEND)
		gs_timer_set(db, &holder->timer, expires_at);
}

/* An entry that says "being claimed"; false if there is one. */
static bool
put_entry(GsDatabase *db, const pg_uuid_t *id)
{
	GsGameKey key = key_of(id);
	bool found;
	GsLease *lease = gs_hash_insert(db, leases, &key, sizeof(GsLease), false, &found);

	if (!found)
	{
		lease->number = 0;
		lease->holder = NULL;
		pg_atomic_fetch_add_u32(&db->nleases, 1);
	}
	dshash_release_lock(leases, lease);
	return !found;
}

/*
 * Make it a lease, if the game is still running; the place of a new holder is
 * taken if there is none.  The caller holds leases_lock exclusively.
 */
static int64
fill_entry(GsDatabase *db, const pg_uuid_t *id, const GsClaim *claim, dsa_pointer *place,
		   int64 *version)
{
	GsGameKey key = key_of(id);
	GsLease *lease = dshash_find(leases, &key, true);
	GsHolder *holder;
	int64 number;

	if (lease == NULL)
		return 0; /* all games of the database have been removed */
	if (db->lease_next >= db->lease_end)
	{
		delete_entry(db, lease);
		return 0;
	}
	holder = find_holder(db, &claim->owner, claim->with_session ? MyProcPid : 0);
	if (holder == NULL)
	{
		holder = make_holder(db, claim, *place);
		*place = InvalidDsaPointer;
	}
	lease->number = number = db->lease_next++;
	lease->holder = holder;
	dlist_push_tail(&holder->leases, &lease->link);
	holder->nleases++;
	set_expiry(db, holder, claim->expires_at);
	dshash_release_lock(leases, lease);

	if (tell(id, GS_FEED_CLAIMED, holder, number, version))
		return number;
	end_lease(db, id, number, 0, true);
	return 0;
}

/* So that a rollback finds it; makes room before there is anything to remember. */
static void
make_room_for_claim(void)
{
	if (nclaimed < claimed_size)
		return;
	claimed_size = Max(16, claimed_size * 2);
	claimed = claimed
				  ? repalloc_huge(claimed, sizeof(Claimed) * claimed_size)
				  : MemoryContextAlloc(TopMemoryContext, sizeof(Claimed) * claimed_size);
}

int64
gs_lease_take(GsDatabase *db, const pg_uuid_t *id, const GsClaim *claim, int64 *version)
{
	dsa_pointer place;
	int64 number = 0;

	make_room_for_claim();
	if (claim->with_session && !exit_registered)
	{
		on_shmem_exit(session_exit, PointerGetDatum(db));
		exit_registered = true;
	}
	if (!put_entry(db, id))
		return 0;
	PG_TRY();
	{
		place = gs_alloc(db, sizeof(GsHolder), false);
	}
	PG_CATCH();
	{
		GsGameKey key = key_of(id);
		GsLease *lease = dshash_find(leases, &key, true);

		if (lease)
			delete_entry(db, lease);
		PG_RE_THROW();
	}
	PG_END_TRY();

	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	number = fill_entry(db, id, claim, &place, version);
	LWLockRelease(&db->leases_lock);
	gs_free(db, place, sizeof(GsHolder)); /* if it was not needed */
	if (number != 0)
		claimed[nclaimed++] = (Claimed){*id, number, GetCurrentTransactionNestLevel()};
	return number;
}

bool
gs_lease_is_free(const pg_uuid_t *id)
{
	GsGameKey key = key_of(id);
	GsLease *lease = dshash_find(leases, &key, false);

	if (lease == NULL)
		return true;
	dshash_release_lock(leases, lease);
	return false;
}

/* ----------------------------------------------------------------
 *		Renewing, giving up
 * ----------------------------------------------------------------
 */

int64
gs_leases_renew(GsDatabase *db, const GsText *owner, TimestampTz expires_at)
{
	dlist_iter iter;
	int64 n = 0;

	(void) gs_leases_expire(db);
	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	dlist_foreach (iter, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, iter.cur);
		GsText name = owner_of(holder);

		if (!gs_text_equal(&name, owner))
			continue;
		set_expiry(db, holder, expires_at);
		n += holder->nleases;
	}
	LWLockRelease(&db->leases_lock);
	return n;
}

/* Does the owner have it? */
static bool
has_lease(const pg_uuid_t *id, const GsText *owner)
{
	GsGameKey key = key_of(id);
	GsLease *lease = dshash_find(leases, &key, false);
	bool has = false;

	if (lease == NULL)
		return false;
	if (lease->holder)
	{
		GsText name = owner_of(lease->holder);

		has = gs_text_equal(&name, owner);
	}
	dshash_release_lock(leases, lease);
	return has;
}

int64
gs_leases_release(GsDatabase *db, const GsText *owner, const pg_uuid_t *ids, int n)
{
	dlist_mutable_iter iter;
	int64 released = 0;

	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	if (n < 0)
	{
		dlist_foreach_modify (iter, &db->holders)
		{
			GsHolder *holder = dlist_container(GsHolder, link, iter.cur);
			GsText name = owner_of(holder);

			if (gs_text_equal(&name, owner))
				released += end_holder(db, holder, GS_FEED_RELEASED);
		}
	}
	for (int i = 0; i < n; i++)
	{
		if (!has_lease(&ids[i], owner))
			continue;
		end_lease(db, &ids[i], 0, GS_FEED_RELEASED, true);
		released++;
	}
	LWLockRelease(&db->leases_lock);
	if (released > 0)
		gs_feed_wake();
	return released;
}

/* ----------------------------------------------------------------
 *		Transactions
 * ----------------------------------------------------------------
 */

/* Give up what was claimed at this level and those above it. */
static void
give_up_claims(int level)
{
	GsDatabase *db = gs_my_database();

	LWLockAcquire(&db->leases_lock, LW_EXCLUSIVE);
	while (nclaimed > 0 && claimed[nclaimed - 1].level >= level)
	{
		nclaimed--;
		end_lease(db, &claimed[nclaimed].id, claimed[nclaimed].number, GS_FEED_RELEASED,
				  true);
	}
	LWLockRelease(&db->leases_lock);
	gs_feed_wake();
}

void
gs_lease_subxact_end(int level, bool commit)
{
	if (nclaimed == 0 || claimed[nclaimed - 1].level < level)
		return;
	if (commit)
	{
		for (int i = nclaimed - 1; i >= 0 && claimed[i].level >= level; i--)
			claimed[i].level = level - 1;
	}
	else
		give_up_claims(level);
}

void
gs_lease_xact_end(bool commit)
{
	if (nclaimed == 0)
		return;
	if (!commit)
		give_up_claims(0);
	nclaimed = 0;
}

/* ----------------------------------------------------------------
 *		Looking
 * ----------------------------------------------------------------
 */

bool
gs_lease_is_held(const pg_uuid_t *id, int64 number, GsRefusal *refusal)
{
	GsGameKey key = key_of(id);
	GsLease *lease = dshash_find(leases, &key, false);
	int64 current = 0;
	bool expired = false;

	if (lease)
	{
		current = lease->number;
		expired = lease->holder && expiry_of(lease->holder) <= GetCurrentTimestamp();
		dshash_release_lock(leases, lease);
	}
	if (likely(current == number && current != 0 && !expired))
		return true;
	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_GS_LEASE_LOST,
					.message = psprintf("lease %lld of game %s is not held",
										(long long) number, gs_id_text(id)),
					.detail = current == 0 ? "The game is not claimed."
							  : current == number
								  ? "Its time is over."
								  : psprintf("The game is claimed under lease %lld.",
											 (long long) current),
					.hint = "Stop running this game, or claim it again."};
	return false;
}

static void
put_row(GsLeaseRow *row, const GsLease *lease)
{
	const GsHolder *holder = lease->holder;

	row->game_id = lease->key.id;
	row->number = lease->number;
	row->expires_at = expiry_of(holder);
	row->pid = holder->pid;
	row->owner_len = holder->owner_len;
	memcpy(row->owner, holder->owner, holder->owner_len);
}

GsLeaseRow *
gs_leases_list(GsDatabase *db, const GsText *owner, int *n)
{
	dlist_iter holders;
	dlist_iter iter;
	GsLeaseRow *rows;

	*n = 0;
	LWLockAcquire(&db->leases_lock, LW_SHARED);
	rows = MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(GsLeaseRow) *
									  (pg_atomic_read_u32(&db->nleases) + (Size) 1));
	dlist_foreach (holders, &db->holders)
	{
		GsHolder *holder = dlist_container(GsHolder, link, holders.cur);
		GsText name = owner_of(holder);

		if (owner->data && !gs_text_equal(&name, owner))
			continue;
		dlist_foreach (iter, &holder->leases)
			put_row(&rows[(*n)++], dlist_container(GsLease, link, iter.cur));
	}
	LWLockRelease(&db->leases_lock);
	return rows;
}
