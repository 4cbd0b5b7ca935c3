/*-------------------------------------------------------------------------
 *
 * subscription_internal.h
 *	  What the files of subscriptions share.
 *
 * Wording: a *cursor* is how far one subscription is with one game; it is *behind*
 * when changes have to be read from the game (get_changes) before rows of the feed
 * count again.  A *row* comes from the feed, a *change* from a game.
 *
 * Everything here is used by one thread at a time (gamestate_subscription.h).
 * Callbacks of the program may end subscriptions, remove games and close the
 * subscriber while we stand in a loop over these things: they are marked only,
 * and freed by gsu_reap() when no callback and no call's answer is being handled.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSU_SUBSCRIPTION_INTERNAL_H
#define GSU_SUBSCRIPTION_INTERNAL_H

#include "gamestate_subscription.h"

#include "pool_backoff.h"
#include "pool_conninfo.h"

#define GSU_NEVER	INT64_MAX
#define GSU_UNKNOWN INT64_C(-1) /* a version that has to be asked for */

typedef struct Cursor Cursor;
struct Cursor
{
	gamestate_subscription *owner;
	gamestate_uuid id;
	int64_t last;		/* version that was told last; GSU_UNKNOWN: from now */
	int64_t last_at;	/* its time; GAMESTATE_NO_TIME: not known */
	int64_t ended_at;	/* when the game was over, or GAMESTATE_NO_TIME */
	int64_t retry_at;	/* behind: not before, as gamestate_now() */
	int64_t lost_since; /* a standby does not have it (any more); 0 = it has */
	bool is_listed;		/* asked for by its id; else of the subscription's type */
	bool is_behind;
	bool verifies; /* behind: is what was told still so? */
	bool restarts; /* behind: it is not; read from the start */
	bool unkept;   /* behind: its log is not kept, only its version can be told */
	bool is_read;  /* a call for it is in flight */
	bool removed;  /* to be freed */
	bool in_ended; /* in the subscription's list of games that are over */

	Cursor *next_same; /* in the table: others of the same class of ids */
	Cursor *next;	   /* the subscription's */
	Cursor *prev;
	Cursor *next_work; /* the subscriber's: behind, or to be freed */
	bool in_work;
	Cursor *next_ended; /* oldest first */
	Cursor *prev_ended;
};

typedef struct Queued Queued;
struct Queued
{
	Queued *next;
	size_t bytes;
	gamestate_update update; /* its texts and documents follow */
};

/* What a subscription to a type has yet to ask for; in this order. */
typedef enum ListState
{
	LIST_NONE,	 /* next: LIVE */
	LIST_LIVE,	 /* games that run; next: ENDED, or LIVE again after a gap */
	LIST_STORED, /* games that have left the memory; next: NONE, LIVE */
} ListState;

struct gamestate_subscription
{
	gamestate_subscriber *subscriber;
	gamestate_subscription_options options; /* game_type is a copy of ours */
	bool closed;
	ListState list;
	bool list_is_first; /* games that it finds are noted, not told; unless from_start */
	int64_t
		began_at;	 /* the server's time after the first list; see subscription_rows.c */
	bool is_listing; /* a call for it is in flight */
	int64_t missed_since; /* the server's time when the feed was last complete */
	bool announce;		  /* GAMESTATE_UPDATE_CURRENT is due */
	uint64_t games;
	uint64_t behind;
	Cursor *cursors;
	Cursor *first_ended;
	Cursor *last_ended;

	Queued *first_queued;
	Queued *last_queued;
	Queued *taken; /* what gamestate_subscription_next() returned last */
	int queued;
	size_t queued_bytes;

	gamestate_subscription *next;
};

typedef enum SubscriberPhase
{
	SUBSCRIBER_CLOSED,	   /* no connection; next: CONNECTING, at connect_at */
	SUBSCRIBER_CONNECTING, /* next: ASKING, CLOSED */
	SUBSCRIBER_ASKING,	   /* what the server is; next: READY, CLOSED */
	SUBSCRIBER_READY,	   /* next: CLOSED */
} SubscriberPhase;

#define GSU_ERROR_SIZE 256

/* Of more game types the whole feed is read. */
#define GSU_FILTER_TYPES 64

struct gamestate_subscriber
{
	/* set at open */
	GspConninfo conninfo;
	gamestate_subscriber_options options;

	gamestate_conn *conn;
	SubscriberPhase phase;
	bool give_up;		  /* the connection is to be closed, for the reason in `error` */
	int server;			  /* that of the connection, or to be tried next */
	int last_server;	  /* that was ready before, or -1 */
	int refused_in_a_row; /* servers, since one was ready */
	int64_t connect_at;
	int64_t ask_again_at; /* no call before, after one that failed */
	GspBackoff connect_backoff;
	GspBackoff call_backoff;
	GspRandom random;
	bool is_standby;
	bool in_recovery; /* what the server has said */
	bool read_only;
	bool answered;
	int64_t timeline;
	int64_t system_id;
	int64_t best_timeline; /* the highest that a primary of best_system had */
	int64_t best_system;

	/* the feed */
	bool has_position;
	int64_t position;
	int64_t current_at;	 /* the server's time when its feed had been read to the end */
	bool is_waiting;	 /* wait_changes is in flight */
	bool interrupted;	 /* and was told to end */
	int in_flight;		 /* other calls of ours */
	bool filter_changed; /* what follows is to be put together anew */
	const char *filter_types[GSU_FILTER_TYPES]; /* the subscriptions' own */
	size_t num_filter_types;
	gamestate_uuid *filter_ids;
	size_t filter_count;
	size_t filter_room;

	gamestate_subscription *subscriptions;
	Cursor **table; /* by class of id; a power of two */
	size_t table_size;
	size_t num_cursors;
	Cursor *first_work;
	Cursor *last_work;
	int64_t retry_at; /* some of the work has to wait until then, or GSU_NEVER */

	int depth; /* callbacks of the program */
	bool processing;
	bool closing;
	bool paused;
	gamestate_subscription
		*waited_for; /* by gamestate_subscription_wait(); NULL: it was freed */
	bool something;	 /* an update was handed over */
	bool reap;		 /* something is to be freed */
	gamestate_error error;
	char error_message[GSU_ERROR_SIZE];
	gamestate_subscriber_stats stats;
};

/* subscription.c */
extern gamestate_status gsu_fail(gamestate_subscriber *s, gamestate_status status,
								 const char *message);
extern void gsu_note_error(gamestate_subscriber *s, const gamestate_error *error);
extern void gsu_event(gamestate_subscriber *s, gamestate_subscriber_event_kind kind,
					  const char *sqlstate, const char *message);
extern void gsu_reap(gamestate_subscriber *s);
extern void gsu_free(gamestate_subscriber *s);

/* subscription_cursor.c: games by id, and what is to be read */
extern Cursor *gsu_first_cursor(const gamestate_subscriber *s, const gamestate_uuid *id);
extern Cursor *gsu_next_cursor(const Cursor *cursor);
extern Cursor *gsu_cursor(const gamestate_subscription *sub, const gamestate_uuid *id);
/* NULL: no memory */
extern Cursor *gsu_add_cursor(gamestate_subscription *sub, const gamestate_uuid *id,
							  int64_t last);
extern void gsu_remove_cursor(Cursor *cursor);
extern void gsu_free_cursor(Cursor *cursor);
extern void gsu_fall_behind(Cursor *cursor, bool verify);
extern void gsu_catch_up(Cursor *cursor);
extern void gsu_ended(Cursor *cursor, int64_t at);
extern void gsu_goes_on(Cursor *cursor);
extern void gsu_add_work(Cursor *cursor);
extern Cursor *gsu_take_work(gamestate_subscriber *s);
extern void gsu_forget_ended(gamestate_subscription *sub, int64_t before);

/* subscription_update.c: to callbacks and queues; false: no memory */
extern bool gsu_hand_over(gamestate_subscription *sub, const gamestate_update *update);
extern bool gsu_is_full(const gamestate_subscription *sub);
extern void gsu_free_queue(gamestate_subscription *sub);

/* subscription_rows.c: rows of the feed, and changes of games */
extern void gsu_take_rows(gamestate_subscriber *s, gamestate_result *result);
extern void gsu_take_changes(Cursor *cursor, gamestate_result *result, int asked_for);
extern void gsu_take_version(Cursor *cursor, int64_t version);
extern void gsu_gap(gamestate_subscriber *s);
extern bool gsu_take_live(gamestate_subscription *sub, gamestate_result *result);
extern bool gsu_take_stored(gamestate_subscription *sub, gamestate_result *result);
extern int64_t gsu_search_from(const gamestate_subscription *sub);

/* subscription_calls.c: what is asked next */
extern bool gsu_has_subscriptions(const gamestate_subscriber *s);
extern int64_t gsu_calls_deadline(const gamestate_subscriber *s);
extern void gsu_advance(gamestate_subscriber *s);
extern void gsu_interrupt(gamestate_subscriber *s);

/* subscription_connect.c: which server */
extern void gsu_check_connection(gamestate_subscriber *s);
extern int64_t gsu_connect_deadline(const gamestate_subscriber *s);
extern void gsu_connect(gamestate_subscriber *s);

#endif /* GSU_SUBSCRIPTION_INTERNAL_H */
