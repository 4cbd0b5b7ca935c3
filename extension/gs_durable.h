/*-------------------------------------------------------------------------
 *
 * gs_durable.h
 *	  Nobody is told what a crash can take back.
 *
 * A light commit changes shared memory before it is on disk.  So a game says
 * up to where the WAL must be durable, and in which sense (the writer's
 * synchronous_commit), before anybody is told of it.  Who looks at a game
 * notes that; before he answers, with a result or an error, he waits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DURABLE_H
#define GS_DURABLE_H

#include "postgres.h"

#include "access/xact.h"
#include "access/xlogdefs.h"

struct GsDatabase;

/* The levels are those of synchronous_commit; off needs no waiting. */
#define GS_DURABLE_LEVELS (SYNCHRONOUS_COMMIT_REMOTE_APPLY + 1)

/* What this backend has looked at since it last waited, and what it knows to be durable. */
extern XLogRecPtr GsSeenLsn[GS_DURABLE_LEVELS];
extern XLogRecPtr GsKnownDurable[GS_DURABLE_LEVELS];
extern bool GsSeenAny;

/*
 * What readers of this transaction's versions are to wait for: synchronous_commit,
 * unless nobody waits for the commit itself (gs_worker_commit_unawaited()); then
 * this is what its setting is, and synchronous_commit less.
 */
extern int GsToldLevel;

static inline int
gs_durable_told_level(void)
{
	return Max(GsToldLevel, synchronous_commit);
}

/* May be called with locks held. */
static inline void
gs_durable_note(XLogRecPtr lsn, int level)
{
	if (unlikely(lsn > GsKnownDurable[level] && lsn > GsSeenLsn[level]))
	{
		GsSeenLsn[level] = lsn;
		GsSeenAny = true;
	}
}

/* The same for who has found nothing. */
extern void gs_durable_note_gone(struct GsDatabase *db);

extern void gs_durable_wait_slow(void);

/* Before every answer; no locks held but the heavyweight ones.  May be cancelled: ERROR. */
static inline void
gs_durable_wait(void)
{
	if (unlikely(GsSeenAny))
		gs_durable_wait_slow();
}

/* Instead of waiting: is it durable now?  Forgets what was noted. */
extern bool gs_durable_try(void);

/* Is that much WAL durable in this sense?  Cheap if it is known already. */
extern bool gs_durable_is(XLogRecPtr lsn, int level);

/* Look up to where the WAL is durable now, in each sense: GsKnownDurable.  Takes SyncRepLock. */
extern void gs_durable_look(void);

/*
 * Before a commit with a transaction id: what it was based on must be durable
 * in its writers' sense, if that is more than what this commit waits for.
 */
extern void gs_durable_before_commit(void);

/*
 * After a light commit, its record ending at lsn: wait as
 * RecordTransactionCommit() does.  Cannot fail.
 */
extern void gs_durable_commit(XLogRecPtr lsn);

/*
 * After a commit with a transaction id, whose record ends at lsn: is it as
 * durable as it has asked for?  It has waited, but that may have been cancelled.
 * Cannot fail.
 */
extern bool gs_durable_committed(XLogRecPtr lsn);

/* The transaction has ended. */
static inline void
gs_durable_forget(void)
{
	if (GsSeenAny)
	{
		memset(GsSeenLsn, 0, sizeof(XLogRecPtr) * GS_DURABLE_LEVELS);
		GsSeenAny = false;
	}
}

#endif /* GS_DURABLE_H */
