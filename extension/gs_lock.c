/*-------------------------------------------------------------------------
 *
 * gs_lock.c
 *	  Heavyweight locks on games and room codes.
 *
 * The model: whoever changes a game takes a lock of PostgreSQL's lock manager
 * first and holds it to the end of the transaction.  So deadlocks are
 * detected, lock_timeout and cancel work, and pg_locks shows who waits for
 * whom.  Two ids with the same 64-bit hash share a lock, which costs waiting
 * but never correctness.
 *
 * A place in the lock table is a resource of the whole server, so a
 * transaction may take only so many (gamestate.max_games_per_transaction).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_errors.h"
#include "gs_lock.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * The locks that this transaction has taken, in that order; levels never fall.
 * A lock that was taken twice stands here twice, as it does for PostgreSQL.
 */
typedef struct HeldLock
{
	LOCKTAG tag;
	int level; /* nesting level of the transaction */
	bool first;
} HeldLock;

static HeldLock *held = NULL;
static int nheld = 0;
static int held_size = 0;
static int total_count = 0; /* of them, the first ones */

/* An array that has grown beyond this is not kept for the next transaction. */
#define KEEP_HELD 1024

static void
make_room(void)
{
	if (nheld < held_size)
		return;
	held_size = Max(16, held_size * 2);
	held = held ? repalloc_huge(held, sizeof(HeldLock) * held_size)
				: MemoryContextAlloc(TopMemoryContext, sizeof(HeldLock) * held_size);
}

static void
remember(const LOCKTAG *tag, bool first)
{
	held[nheld].tag = *tag;
	held[nheld].level = GetCurrentTransactionNestLevel();
	held[nheld].first = first;
	nheld++;
	if (first)
		total_count++;
}

static _Noreturn void
too_many_locks(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("too many games in one transaction"),
			 errdetail("The transaction holds locks on %d games and room codes.", total_count),
			 errhint("Use several transactions, or raise gamestate.max_games_per_transaction and max_locks_per_transaction.")));
}

/*
 * As a lock of the (sub)transaction, whatever resource owner is current: in a
 * procedure that commits it is the portal's, which would keep it to itself.
 */
static LockAcquireResult
take(const LOCKTAG *tag, bool nowait)
{
	ResourceOwner owner = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = GsLockAcquireExtended(tag, ExclusiveLock, false, nowait, false);
	CurrentResourceOwner = owner;
	return result;
}

static void
give_back(const LOCKTAG *tag)
{
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(tag, ExclusiveLock, false);
	CurrentResourceOwner = owner;
}

static bool
acquire(LOCKTAG *tag, bool nowait)
{
	bool full = total_count >= gs_max_games_per_transaction;
	LockAcquireResult result;

	make_room();

	/* one more than allowed is only all right if we have it already */
	result = take(tag, nowait || full);
	if (result == LOCKACQUIRE_NOT_AVAIL)
	{
		if (nowait)
			return false;
		too_many_locks(); /* or the lock table is full */
	}
	if (unlikely(full && result == LOCKACQUIRE_OK))
	{
		give_back(tag);
		if (nowait)
			return false;
		too_many_locks();
	}
	remember(tag, result == LOCKACQUIRE_OK);
	return true;
}

static void
make_tag(LOCKTAG *tag, uint16 lockclass, const void *data, int len)
{
	uint64 hash = hash_bytes_extended(data, len, 0);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 lockclass);
}

bool
gs_lock_game(const pg_uuid_t *id, bool nowait)
{
	LOCKTAG tag;

	make_tag(&tag, GS_LOCKCLASS_GAME, id->data, UUID_LEN);
	return acquire(&tag, nowait);
}

/* Does not count: it is one place in the lock table for all of them. */
void
gs_lock_names(bool exclusive)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, GS_LOCKCLASS_NAMES);
	if (GsLockAcquireExtended(&tag, exclusive ? ExclusiveLock : ShareLock, false, false,
							  false) == LOCKACQUIRE_NOT_AVAIL)
		too_many_locks(); /* the lock table is full */
}

void
gs_lock_room(const GsText *room_code)
{
	LOCKTAG tag;

	make_tag(&tag, GS_LOCKCLASS_ROOM, room_code->data, room_code->len);
	(void) acquire(&tag, false);
}

void
gs_lock_match(const GsText *game_type)
{
	LOCKTAG tag;

	make_tag(&tag, GS_LOCKCLASS_MATCH, game_type->data, game_type->len);
	(void) acquire(&tag, false);
}

void
gs_lock_load(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, GS_LOCKCLASS_LOAD);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
gs_unlock_load(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, GS_LOCKCLASS_LOAD);
	LockRelease(&tag, ExclusiveLock, false);
}

int
gs_lock_mark(void)
{
	return nheld;
}

void
gs_unlock_to(int mark)
{
	while (nheld > mark)
	{
		HeldLock *last = &held[--nheld];

		give_back(&last->tag);
		if (last->first)
			total_count--;
	}
}

void
gs_unlock_all(void)
{
	for (int i = 0; i < nheld; i++)
		LockRelease(&held[i].tag, ExclusiveLock, false);
	gs_lock_reset();
}

void
gs_lock_subxact_end(int level, bool commit)
{
	for (int i = nheld - 1; i >= 0 && held[i].level >= level; i--)
	{
		if (commit)
			held[i].level = level - 1;
		else
		{
			nheld--;
			if (held[i].first)
				total_count--;
		}
	}
}

void
gs_lock_reset(void)
{
	nheld = total_count = 0;
	if (held_size > KEEP_HELD)
	{
		pfree(held);
		held = NULL;
		held_size = 0;
	}
}
