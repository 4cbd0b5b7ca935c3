/*-------------------------------------------------------------------------
 *
 * gs_archiver_parts.h
 *	  What the parts of the archiver share.
 *
 * The process (gs_archiver.c) runs passes through the queue (gs_archiver_pass.c).
 * A pass archives games in batches, and looks for those that are to blame when a
 * batch fails (gs_archiver_split.c).  What has failed and has to wait is
 * remembered (gs_archiver_failures.c).  All of it is local to the process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVER_PARTS_H
#define GS_ARCHIVER_PARTS_H

#include "gs_batch.h"
#include "gs_worker.h"

/* First and longest wait for a game that somebody has locked. */
#define GS_BUSY_FIRST_MS 5
#define GS_BUSY_LAST_MS	 1000

/* So many single games in a row, none in between archived: the type pauses. */
#define GS_PAUSE_AFTER 3

/* A complaint is logged again only after a while: what was said last. */
typedef struct GsComplaint
{
	int sqlerrcode; /* 0 = nothing yet */
	TimestampTz at;
} GsComplaint;

/* What is known about the pass that goes on. */
typedef struct GsArchiverPass
{
	int archived;		  /* games */
	int paused_types;	  /* that began to pause */
	bool busy;			  /* a game was locked by somebody */
	TimestampTz retry_at; /* earliest of what has to wait; 0 = none */
} GsArchiverPass;

typedef struct GsArchiverProcess
{
	GsDatabase *db;
	GsWorkerSlot *slot;

	/* reset each turn; turn_context is it, or a child for one batch */
	MemoryContext loop_context;
	MemoryContext turn_context;

	TimestampTz paused_until; /* the whole archiver */
	int busy_delay;
	GsArchiverPass pass;

	/* something failed: perhaps the extension was dropped behind our back */
	bool look_for_extension;
} GsArchiverProcess;

extern GsArchiverProcess GsArchiver;

/* ---- gs_archiver.c ---- */

/* What the journal needs, when it is due. */
extern void gs_archiver_keep_journal(void);

/* ---- gs_archiver_pass.c ---- */

extern void gs_pass_run(void);
extern void gs_pass_forget(void); /* what is known about the head of the queue */

/* Free games that are in the archive and that nobody needs in memory any more. */
extern void gs_pass_free_archived(void);

/* ---- gs_archiver_split.c ---- */

/* Archive the games, or find which of them, or what else, is to blame. */
extern void gs_split_archive(GsBatchGame *games, int n);

/*
 * Make the partitions that these games lack.  Games for which that fails are
 * left out, their type pauses; returns how many can be archived now.
 */
extern int gs_split_make_places(GsBatchGame *games, int n);

/* ---- gs_archiver_failures.c ---- */

extern void gs_failures_init(void);

/* In a PG_CATCH block: take the error and end the transaction. */
extern ErrorData *gs_failures_take(void);

/* Has the error, as far as one can tell, nothing to do with which games are archived? */
extern bool gs_failures_is_general(const ErrorData *error);

/* Say it in the log, unless it was said a short time ago. */
extern void gs_failures_complain(GsComplaint *complaint, const ErrorData *error,
								 const char *what, int pause_ms);

extern void gs_failures_pause_all(const ErrorData *error);
extern void gs_failures_pause_type(const GsBatchGame *game, const ErrorData *error);
extern bool gs_failures_is_paused(const GsBatchGame *game);
extern bool gs_failures_any_type_pauses(TimestampTz now);

/* End the pauses that somebody wants to end; returns whether there were any. */
extern bool gs_failures_resume(void);

/*
 * A game has failed by itself: skip it for a while, or give it up.  "alone": no
 * other game of its type was tried, so that it may as well be the type.
 */
extern void gs_failures_set_aside(GsBatchGame *game, const ErrorData *error, bool alone);
extern bool gs_failures_is_aside(const pg_uuid_t *id);
extern int gs_failures_aside(void); /* how many are */
/* Is the game set aside, and not due yet? */
extern bool gs_failures_has_to_wait(const GsQueueItem *item, TimestampTz now);
/* Is it known that it is the game that fails, not its type? */
extern bool gs_failures_is_to_blame(const GsBatchGame *game);
/* Forget games that have left the queue in another way (deleted). */
extern void gs_failures_tidy(TimestampTz pass_start);

/* A game is in the archive: its type is all right, whatever was before. */
extern void gs_failures_archived(const GsBatchGame *game);

/* The pass has to do with something again then. */
extern void gs_archiver_retry_at(TimestampTz at);

#endif /* GS_ARCHIVER_PARTS_H */
