/*-------------------------------------------------------------------------
 *
 * gs_queue.h
 *	  The games of one database that are over and wait for the archiver.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_QUEUE_H
#define GS_QUEUE_H

#include "gs_table.h"

#include "lib/ilist.h"

/* What a policy may say; higher is archived first. */
#define GS_PRIORITY_MIN		(-9)
#define GS_PRIORITY_MAX		9
#define GS_PRIORITY_DEFAULT 0
#define GS_PRIORITIES		(GS_PRIORITY_MAX - GS_PRIORITY_MIN + 1)

/* All of it is protected by the database's queue_lock. */
typedef struct GsQueue
{
	dlist_head arrivals;			  /* not ranked yet, oldest finish first */
	dlist_head ranked[GS_PRIORITIES]; /* the same, lowest priority first */
	dlist_node marks[GS_PRIORITIES];  /* in each: what stands before it waits */
} GsQueue;

/* One game in the queue, as the archiver sees it. */
typedef struct GsQueueItem
{
	pg_uuid_t game_id;
	TimestampTz ended_at;
} GsQueueItem;

extern void gs_queue_init(GsQueue *queue);

/* Put a game behind the others; the caller holds queue_lock. */
static inline void
gs_queue_push(GsQueue *queue, GsGame *game)
{
	dlist_push_tail(&queue->arrivals, &game->link);
}

/* ---- for the archiver, the only one who ranks ---- */

/* Copy the first arrivals. */
extern int gs_queue_arrivals(struct GsDatabase *db, GsQueueItem *items, int max);

/* Give arrivals a rank: those of the list, or the first max of them the default. */
extern void gs_queue_rank(struct GsDatabase *db, const GsQueueItem *items,
						  const int *priorities, int n);
extern int gs_queue_rank_default(struct GsDatabase *db, int max);

/* Policies have changed: all games are arrivals again, in the order of their end. */
extern void gs_queue_unrank(struct GsDatabase *db);

/*
 * Copy the next games, of the highest priority that has any, oldest finish
 * first.  They stay queued until their removal commits, and are not given out
 * again before gs_queue_rewind().
 */
extern int gs_queue_next(struct GsDatabase *db, GsQueueItem *items, int max);
extern void gs_queue_rewind(struct GsDatabase *db);

/* Are there games that have been given out and are still there? */
extern bool gs_queue_any_waits(struct GsDatabase *db);

/* When the game ended that waits longest; infinity if none waits. */
extern TimestampTz gs_queue_oldest(struct GsDatabase *db);

/* Copy games that came last. */
extern int gs_queue_last(struct GsDatabase *db, GsQueueItem *items, int max);

#endif /* GS_QUEUE_H */
