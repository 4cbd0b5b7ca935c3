/*-------------------------------------------------------------------------
 *
 * gs_load_wait.c
 *	  Waiting for games that are being loaded; loads that fail.
 *
 * The model:
 *	1. Who needs games while they are loaded waits for a heavyweight lock, so that
 *	   he can be cancelled, and not longer than gamestate.load_timeout.
 *	2. A load that has failed would fail again: its error is raised again for some
 *	   seconds, longer after each failure, instead of trying each time.  Errors
 *	   that are the caller's own (cancelled, say) do not count.
 *
 * What is remembered of a failure is protected by slots_lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_errors.h"
#include "gs_load_parts.h"
#include "gs_lock.h"

#include "mb/pg_wchar.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

/* First and longest time for which the error of a load is raised again. */
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS  30000

static _Noreturn void
raise_loading(GsDatabase *db)
{
	ereport(ERROR,
			(errcode(ERRCODE_GS_LOADING),
			 errmsg("games of this database are still being loaded"),
			 errdetail(UINT64_FORMAT " of " UINT64_FORMAT
									 " blocks of the journal have been read and " UINT64_FORMAT
									 " games loaded.",
					   pg_atomic_read_u64(&db->load.blocks_done),
					   pg_atomic_read_u64(&db->load.blocks_total),
					   pg_atomic_read_u64(&db->load.games)),
			 errhint("Try again later; gamestate.stat_journal shows how far it is, gamestate.load_timeout how long a call waits.")));
}

/*
 * Both locks are waited for as every heavyweight lock is: cancel and deadlock
 * detection work, and a shorter lock_timeout of the user's own holds.
 */
void
gs_load_lock(GsDatabase *db, Oid relation, int timeout)
{
	int users = LockTimeout;
	bool ours = timeout > 0 && (users <= 0 || timeout < users);
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		if (ours)
			LockTimeout = timeout;
		if (OidIsValid(relation))
			LockRelationOid(relation, AccessShareLock);
		else
			gs_lock_load();
	}
	PG_CATCH();
	{
		LockTimeout = users;
		if (ours && geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			raise_loading(db);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	LockTimeout = users;
}

/* Is the error the caller's own, which says nothing about the next try? */
static bool
is_callers(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_GS_LOADING || sqlerrcode == ERRCODE_QUERY_CANCELED ||
		   sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		   sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

static void
copy_text(char *dst, Size size, const char *text)
{
	int len;

	if (text == NULL)
		text = "";
	len = strlen(text);
	if (len >= (int) size)
		len = pg_mbcliplen(text, len, size - 1);
	memcpy(dst, text, len);
	dst[len] = '\0';
}

void
gs_load_remember_failure(GsDatabase *db, MemoryContext context)
{
	GsLoadFailure *failure = &db->load_failure;
	MemoryContext old = MemoryContextSwitchTo(context);
	ErrorData *error = CopyErrorData();
	TimestampTz now = GetCurrentTimestamp();

	MemoryContextSwitchTo(old);
	if (is_callers(error->sqlerrcode))
		return;
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	failure->retry_at =
		TimestampTzPlusMilliseconds(now,
									Min(RETRY_LAST_MS,
										RETRY_FIRST_MS << Min(failure->failures, 10)));
	failure->failures++;
	failure->sqlerrcode = error->sqlerrcode;
	copy_text(failure->message, sizeof(failure->message), error->message);
	copy_text(failure->detail, sizeof(failure->detail), error->detail);
	copy_text(failure->hint, sizeof(failure->hint), error->hint);
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_load_raise_failure(GsDatabase *db)
{
	GsLoadFailure failure;

	LWLockAcquire(GsShmem->slots_lock, LW_SHARED);
	failure = db->load_failure;
	LWLockRelease(GsShmem->slots_lock);
	if (failure.retry_at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(failure.sqlerrcode), errmsg_internal("%s", failure.message),
				 failure.detail[0] ? errdetail_internal("%s", failure.detail) : 0,
				 failure.hint[0] ? errhint("%s", failure.hint) : 0,
				 errcontext("loading the games of this database")));
}

void
gs_load_forget_failure(GsDatabase *db)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	memset(&db->load_failure, 0, sizeof(db->load_failure));
	LWLockRelease(GsShmem->slots_lock);
}
