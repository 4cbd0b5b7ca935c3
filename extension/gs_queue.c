/*-------------------------------------------------------------------------
 *
 * gs_queue.c
 *	  The games of one database that are over and wait for the archiver.
 *
 * The model:
 *	1. A game that ends is put behind the arrivals, at its commit, where no
 *	   policy can be looked up (gs_table_change.c).  It is linked through
 *	   GsGame.link, so the queue costs no memory and nothing can fail.
 *	2. The archiver moves arrivals to the list of the priority that the policy
 *	   of their type asks for.  When policies have changed it puts all of them
 *	   back and ranks anew.
 *	3. It takes games from the list of the highest priority that has any.  Each
 *	   list has a mark, a node that is no game: taking games moves the mark
 *	   behind them.  Those that are archived leave the list; what is left
 *	   before the mark has to wait, and costs nothing until the archiver puts
 *	   the marks to the front again.
 *
 * queue_lock protects everything and is held for at most LOCKED_MAX games:
 * whoever finishes a game waits for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_queue.h"

#include "miscadmin.h"

/* So many games are handled while the lock is held. */
#define LOCKED_MAX 1000

void
gs_queue_init(GsQueue *queue)
{
	dlist_init(&queue->arrivals);
	for (int i = 0; i < GS_PRIORITIES; i++)
	{
		dlist_init(&queue->ranked[i]);
		dlist_push_head(&queue->ranked[i], &queue->marks[i]);
	}
}

static int
rank_of(int priority)
{
	return Min(Max(priority, GS_PRIORITY_MIN), GS_PRIORITY_MAX) - GS_PRIORITY_MIN;
}

/* id and end do not change any more once a game is in the queue */
static void
copy_item(const dlist_node *node, GsQueueItem *item)
{
	const GsGame *game = dlist_container(GsGame, link, unconstify(dlist_node *, node));

	item->game_id = game->key.id;
	item->ended_at = game->h.ended_at;
}

int
gs_queue_arrivals(GsDatabase *db, GsQueueItem *items, int max)
{
	dlist_iter iter;
	int n = 0;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	dlist_foreach (iter, &db->queue.arrivals)
	{
		if (n == Min(max, LOCKED_MAX))
			break;
		copy_item(iter.cur, &items[n++]);
	}
	LWLockRelease(&db->queue_lock);
	return n;
}

void
gs_queue_rank(GsDatabase *db, const GsQueueItem *items, const int *priorities, int n)
{
	for (int i = 0; i < n; i++)
	{
		GsGameKey key = {.dboid = MyDatabaseId, .id = items[i].game_id};
		GsGame *game = dshash_find(GsGames, &key, false);

		if (game == NULL)
			continue; /* it has been deleted */
		LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
		if (game->link_state == GS_LINK_QUEUE)
		{
			dlist_delete(&game->link);
			dlist_push_tail(&db->queue.ranked[rank_of(priorities[i])], &game->link);
		}
		LWLockRelease(&db->queue_lock);
		dshash_release_lock(GsGames, game);
	}
}

int
gs_queue_rank_default(GsDatabase *db, int max)
{
	GsQueue *queue = &db->queue;
	dlist_head *list = &queue->ranked[rank_of(GS_PRIORITY_DEFAULT)];
	int n = 0;

	LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
	while (n < Min(max, LOCKED_MAX) && !dlist_is_empty(&queue->arrivals))
	{
		dlist_push_tail(list, dlist_pop_head_node(&queue->arrivals));
		n++;
	}
	LWLockRelease(&db->queue_lock);
	return n;
}

/* The last game of a list, NULL if there is none. */
static dlist_node *
last_game(GsQueue *queue, int rank)
{
	dlist_head *list = &queue->ranked[rank];
	dlist_node *node = dlist_tail_node(list);

	if (node == &queue->marks[rank])
		return dlist_has_prev(list, node) ? dlist_prev_node(list, node) : NULL;
	return node;
}

/* Of the last games of all lists the one that ended last. */
static dlist_node *
latest_game(GsQueue *queue)
{
	dlist_node *latest = NULL;
	TimestampTz ended_at = 0;

	for (int i = 0; i < GS_PRIORITIES; i++)
	{
		dlist_node *node = last_game(queue, i);
		GsQueueItem item;

		if (node == NULL)
			continue;
		copy_item(node, &item);
		if (latest == NULL || item.ended_at > ended_at)
		{
			latest = node;
			ended_at = item.ended_at;
		}
	}
	return latest;
}

void
gs_queue_unrank(GsDatabase *db)
{
	bool more = true;

	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
		for (int i = 0; more && i < LOCKED_MAX; i++)
		{
			dlist_node *node = latest_game(&db->queue);

			more = node != NULL;
			if (more)
			{
				dlist_delete(node);
				dlist_push_head(&db->queue.arrivals, node);
			}
		}
		LWLockRelease(&db->queue_lock);
	}
}

int
gs_queue_next(GsDatabase *db, GsQueueItem *items, int max)
{
	GsQueue *queue = &db->queue;
	int n = 0;

	LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
	for (int i = GS_PRIORITIES - 1; i >= 0 && n == 0; i--)
	{
		dlist_head *list = &queue->ranked[i];
		dlist_node *mark = &queue->marks[i];
		dlist_node *last = mark;

		while (n < max && dlist_has_next(list, last))
		{
			last = dlist_next_node(list, last);
			copy_item(last, &items[n++]);
		}
		if (n > 0)
		{
			dlist_delete(mark);
			dlist_insert_after(last, mark);
		}
	}
	LWLockRelease(&db->queue_lock);
	return n;
}

void
gs_queue_rewind(GsDatabase *db)
{
	LWLockAcquire(&db->queue_lock, LW_EXCLUSIVE);
	for (int i = 0; i < GS_PRIORITIES; i++)
		dlist_move_head(&db->queue.ranked[i], &db->queue.marks[i]);
	LWLockRelease(&db->queue_lock);
}

bool
gs_queue_any_waits(GsDatabase *db)
{
	bool any = false;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	for (int i = 0; i < GS_PRIORITIES; i++)
		any |= dlist_has_prev(&db->queue.ranked[i], &db->queue.marks[i]);
	LWLockRelease(&db->queue_lock);
	return any;
}

static TimestampTz
earlier_end(const dlist_node *node, TimestampTz than)
{
	GsQueueItem item;

	copy_item(node, &item);
	return Min(item.ended_at, than);
}

/* The first of each list ended first of it, but for clocks that were set. */
TimestampTz
gs_queue_oldest(GsDatabase *db)
{
	GsQueue *queue = &db->queue;
	TimestampTz oldest = DT_NOEND;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	if (!dlist_is_empty(&queue->arrivals))
		oldest = earlier_end(dlist_head_node(&queue->arrivals), oldest);
	for (int i = 0; i < GS_PRIORITIES; i++)
	{
		dlist_head *list = &queue->ranked[i];
		dlist_node *node = dlist_head_node(list);

		if (node == &queue->marks[i])
			node = dlist_has_next(list, node) ? dlist_next_node(list, node) : NULL;
		if (node != NULL)
			oldest = earlier_end(node, oldest);
	}
	LWLockRelease(&db->queue_lock);
	return oldest;
}

/* Copy games from the end of a list. */
static int
copy_last(dlist_head *list, const dlist_node *mark, GsQueueItem *items, int max)
{
	dlist_iter iter;
	int n = 0;

	dlist_reverse_foreach(iter, list)
	{
		if (n == max)
			break;
		if (iter.cur != mark)
			copy_item(iter.cur, &items[n++]);
	}
	return n;
}

int
gs_queue_last(GsDatabase *db, GsQueueItem *items, int max)
{
	GsQueue *queue = &db->queue;
	int n;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	n = copy_last(&queue->arrivals, &queue->arrivals.head, items, max); /* no mark */
	for (int i = GS_PRIORITIES - 1; i >= 0; i--)
		n += copy_last(&queue->ranked[i], &queue->marks[i], items + n, max - n);
	LWLockRelease(&db->queue_lock);
	return n;
}
