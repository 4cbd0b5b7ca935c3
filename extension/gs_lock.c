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

/* locks that each nesting level holds; level_count[0] is not used */
static int *level_count = NULL;
static int level_size = 0;
static int total_count = 0;

/* Was the last lock taken one that the transaction did not hold before? */
static bool last_was_new = false;

static void
count_lock(void)
{
	int level = GetCurrentTransactionNestLevel();

	if (level >= level_size)
	{
		int size = Max(8, level + 1) * 2;

		level_count = level_count
						  ? repalloc(level_count, sizeof(int) * size)
						  : MemoryContextAlloc(TopMemoryContext, sizeof(int) * size);
		memset(level_count + level_size, 0, sizeof(int) * (size - level_size));
		level_size = size;
	}
	level_count[level]++;
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

static bool
acquire(LOCKTAG *tag, bool nowait)
{
	LockAcquireResult result;

	if (unlikely(total_count >= gs_max_games_per_transaction))
	{
		/* one more is only all right if we have it already */
		result = GsLockAcquireExtended(tag, ExclusiveLock, false, true, false);
		if (result != LOCKACQUIRE_NOT_AVAIL && result != LOCKACQUIRE_OK)
		{
			last_was_new = false;
			return true;
		}
		if (result == LOCKACQUIRE_OK)
			LockRelease(tag, ExclusiveLock, false);
		if (nowait)
			return false;
		too_many_locks();
	}

	result = GsLockAcquireExtended(tag, ExclusiveLock, false, nowait, false);
	if (result == LOCKACQUIRE_NOT_AVAIL)
	{
		if (nowait)
			return false;
		too_many_locks(); /* the lock table is full */
	}
	last_was_new = result == LOCKACQUIRE_OK;
	if (last_was_new)
		count_lock();
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

void
gs_lock_room(const GsText *room_code)
{
	LOCKTAG tag;

	make_tag(&tag, GS_LOCKCLASS_ROOM, room_code->data, room_code->len);
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

void
gs_unlock_game(const pg_uuid_t *id)
{
	LOCKTAG tag;

	make_tag(&tag, GS_LOCKCLASS_GAME, id->data, UUID_LEN);
	LockRelease(&tag, ExclusiveLock, false);
	if (last_was_new)
	{
		level_count[GetCurrentTransactionNestLevel()]--;
		total_count--;
		last_was_new = false;
	}
}

void
gs_lock_subxact_end(int level, bool commit)
{
	if (level >= level_size || level_count[level] == 0)
		return;
	if (commit)
		level_count[level - 1] += level_count[level];
	else
		total_count -= level_count[level];
	level_count[level] = 0;
}

void
gs_lock_reset(void)
{
	if (total_count == 0)
		return;
	memset(level_count, 0, sizeof(int) * level_size);
	total_count = 0;
}
