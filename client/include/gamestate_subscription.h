/*-------------------------------------------------------------------------
 *
 * gamestate_subscription.h
 *	  Following games: the change feed as subscriptions of libgamestate.
 *
 * The model:
 * 1. A *subscriber* has one connection, on which it waits for changes
 *	  (wait_changes) for any number of *subscriptions*.  A subscription names
 *	  games, or a game type, or all games, and is handed *updates*: to its
 *	  callback, or into its queue, from which the program takes them.
 * 2. Of each game a subscription is told every change once, in the order of the
 *	  versions, from the version on at which it begins.  Nothing is missed and
 *	  nothing comes twice when the connection is lost, when the server restarts
 *	  or another one takes over: what the feed no longer has is read from the
 *	  games themselves.
 * 3. What is told is as durable as the writer of the change asked for, so that
 *	  with synchronous_commit = on (and a synchronous standby, where there are
 *	  failovers) it is never taken back.  Should it have been all the same
 *	  (synchronous_commit = off, a standby that lagged behind), then the
 *	  subscription is told so: GAMESTATE_UPDATE_RESET.
 * 4. Notices (a player is connected, disconnected, a game's lease was lost) are
 *	  no changes: they have no version and are kept nowhere but in the feed.
 *	  Each is told once at most; some may be missing before an update of kind
 *	  GAMESTATE_UPDATE_CURRENT.
 * 5. The library owns no event loop: the subscriber says which socket it waits
 *	  for, in which direction and until when, as a connection does (gamestate.h),
 *	  and gamestate_subscriber_process() does what there is to do.
 *	  gamestate_subscriber_wait() and gamestate_subscription_wait() are that
 *	  loop.
 * 6. Memory is bounded.  A queue holds max_queued updates (max_queued_bytes);
 *	  while the queue of one subscription is full the subscriber asks for nothing
 *	  more, for none of them, and the server's feed goes on without it.  If the
 *	  feed has overtaken it meanwhile, it catches up as after a reconnect.  So
 *	  programs that are slow in one thing and quick in another take a subscriber
 *	  for each.  What is in flight when a queue becomes full still goes into it:
 *	  max_changes updates at most.  Besides there are about 120 bytes for each
 *	  game that is followed.
 *
 * Everywhere in this file:
 * - Times are milliseconds, timestamps microseconds since the Unix epoch.
 * - A subscriber with all that belongs to it may be used by one thread at a time
 *	 (not always the same); different subscribers by different threads.
 * - A callback may subscribe, unsubscribe, add and remove games, and close the
 *	 subscriber; it may not process it or wait on it (GAMESTATE_BAD_CALL).
 * - A subscriber that is NULL stands for "out of memory".
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_SUBSCRIPTION_H
#define GAMESTATE_SUBSCRIPTION_H

#include "gamestate.h"

GAMESTATE_BEGIN_DECLS

typedef struct gamestate_subscriber gamestate_subscriber;
typedef struct gamestate_subscription gamestate_subscription;

/* -----------------------------------------------------------------------
 * Updates
 * -----------------------------------------------------------------------
 */

/* What an update is; the enumeration only grows. */
typedef enum gamestate_update_kind
{
	/* A change of a game: its next version. */
	GAMESTATE_UPDATE_CHANGE = 0,
	/* The changes up to `version` are not kept any more (the history of the game
	 * type): `state` is the game's state as of that version, if it is kept. */
	GAMESTATE_UPDATE_SNAPSHOT = 1,
	/* The game was deleted.  If it is created once more it begins at version 1. */
	GAMESTATE_UPDATE_DELETED = 2,
	/* What was told of this game is void: a crash or a failover has taken back
	 * what its writer had not asked to be safe from that, or the id stands for
	 * another game by now.  Its changes follow, from the first. */
	GAMESTATE_UPDATE_RESET = 3,
	/* A notice: `what` says which (connected, disconnected, orphaned, ...). */
	GAMESTATE_UPDATE_NOTICE = 4,
	/* Concerns no game: the subscription has been told everything there is; once
	 * after it began, and after each time it had to catch up.  Notices before it
	 * may be missing. */
	GAMESTATE_UPDATE_CURRENT = 5,
} gamestate_update_kind;

/* Owned by the library; valid until the callback returns, or until the next
 * update is taken from the same subscription. */
typedef struct gamestate_update
{
	gamestate_update_kind kind;
	gamestate_subscription *subscription;
	gamestate_uuid game_id; /* all zero if it concerns no game */
	const char *game_type;	/* NULL: not known */
	int64_t version;		/* 0 for DELETED, RESET, NOTICE and CURRENT */
	const char *what;		/* as get_changes and the feed call it: move, join, ... */
	const char *player;		/* NULL: none */
	int64_t at_us;			/* GAMESTATE_NO_TIME: none */
	bool has_request_id;
	gamestate_uuid request_id;
	gamestate_data event; /* of either encoding */
	gamestate_data patch; /* with_states: see gamestate_change */
	gamestate_data state;
} gamestate_update;

/* -----------------------------------------------------------------------
 * Events
 * -----------------------------------------------------------------------
 */

typedef enum gamestate_subscriber_event_kind
{
	GAMESTATE_SUBSCRIBER_CONNECTED = 0,		 /* and asks for changes */
	GAMESTATE_SUBSCRIBER_CONNECT_FAILED = 1, /* or the server has the wrong role */
	GAMESTATE_SUBSCRIBER_LOST = 2,			 /* the connection broke, or hung */
	GAMESTATE_SUBSCRIBER_REFUSED = 3,		 /* a call failed and is made again */
	GAMESTATE_SUBSCRIBER_GAP = 4,			 /* the feed could not go on: it catches up */
	GAMESTATE_SUBSCRIBER_PAUSED = 5,		 /* a queue is full */
	GAMESTATE_SUBSCRIBER_RESUMED = 6,
} gamestate_subscriber_event_kind;

typedef struct gamestate_subscriber_event
{
	gamestate_subscriber_event_kind kind;
	const char *server; /* "host:port" */
	char sqlstate[6];	/* or "" */
	const char *message;
} gamestate_subscriber_event;

/* Runs within gamestate_subscriber_process(); may do what other callbacks may. */
typedef void (*gamestate_subscriber_event_callback)(
	void *arg, gamestate_subscriber *subscriber, const gamestate_subscriber_event *event);

extern const char *gamestate_subscriber_event_name(gamestate_subscriber_event_kind kind);

/* -----------------------------------------------------------------------
 * The subscriber
 * -----------------------------------------------------------------------
 */

/* Begin with GAMESTATE_SUBSCRIBER_OPTIONS_INIT; a member left at zero means its default. */
typedef struct gamestate_subscriber_options
{
	size_t
		size; /* sizeof(gamestate_subscriber_options): later versions have more members */
	gamestate_prepare prepare;
	int connect_timeout; /* of one attempt at one server; default 3 s */
	int answer_timeout;	 /* a server that is silent for longer is given up; default 5 s */
	int wait;			 /* how long the server waits for a change; default 5 s */
	int backoff_base; /* the first wait before trying again is between 0 and this; 20 ms */
	int backoff_cap;  /* the longest is between 0 and this; 1 s */
	int max_changes;  /* in one answer; default 1000 */
	/* Up to so many games are asked for by their ids; of more, the whole feed is
	 * read and what nobody wants is left out here.  Default 1000. */
	int max_filter_games;
	gamestate_subscriber_event_callback event;
	void *event_arg;
} gamestate_subscriber_options;

#define GAMESTATE_SUBSCRIBER_OPTIONS_INIT                                               \
	{                                                                                   \
		sizeof(gamestate_subscriber_options), GAMESTATE_PREPARE_AUTO, 0, 0, 0, 0, 0, 0, \
			0, NULL, NULL                                                               \
	}

/*
 * Makes a subscriber, which connects when it has its first subscription.
 * conninfo is a connection string or URI of libpq; several hosts are tried one
 * after another.  target_session_attrs says where to listen:
 *
 *	  any (the default), primary, read-write	the primary of the highest timeline
 *												that was seen
 *	  standby, read-only						a hot standby
 *	  prefer-standby							a hot standby, else the primary
 *
 * A standby tells what it has replayed.  After a change from a server to a
 * standby that is behind it nothing is told until that has caught up; a game
 * that it does not know, or knows in an older version, is taken as lost there
 * when that has not changed for 10 s.
 *
 * GAMESTATE_OK, GAMESTATE_BAD_CALL (conninfo or options are wrong) or
 * GAMESTATE_NO_MEMORY; then *subscriber is NULL and message, unless NULL, holds
 * why.
 */
extern gamestate_status gamestate_subscriber_open(
	const char *conninfo, const gamestate_subscriber_options *options,
	gamestate_subscriber **subscriber, char *message, size_t message_size);

/*
 * Closes it with all its subscriptions, whose handles and updates are invalid
 * then.  Within a callback: when the outermost has returned.
 */
extern void gamestate_subscriber_close(gamestate_subscriber *subscriber);

/*
 * The last error: of a function that was given this subscriber or one of its
 * subscriptions and did not return GAMESTATE_OK, or of the connection.  Valid
 * until the next use of the subscriber.
 */
extern const gamestate_error *gamestate_subscriber_error(
	const gamestate_subscriber *subscriber);

/* ---- the loop; as gamestate_conn_socket() and so on, in gamestate.h ---- */

/* The socket, or -1 (between two attempts to connect); register it anew after each
 * gamestate_subscriber_process(). */
extern int gamestate_subscriber_socket(const gamestate_subscriber *subscriber);
extern int gamestate_subscriber_wants(const gamestate_subscriber *subscriber);
extern int64_t gamestate_subscriber_deadline(const gamestate_subscriber *subscriber);
extern int gamestate_subscriber_wait_time(const gamestate_subscriber *subscriber);

/*
 * Does what there is to do, and runs callbacks.  Never waits, but for the names
 * of hosts, as gamestate_connect_start().  GAMESTATE_OK: go on (also when there
 * is no connection: there will be one).  GAMESTATE_CLOSED: a callback has closed
 * the subscriber, which is gone.  GAMESTATE_BAD_CALL: within a callback.
 */
extern gamestate_status gamestate_subscriber_process(gamestate_subscriber *subscriber);

/*
 * Waits until an update has been handed to a callback or put into a queue
 * (GAMESTATE_OK), or for `timeout` (0 = for ever; GAMESTATE_TIMEOUT), or until a
 * callback closes the subscriber (GAMESTATE_CLOSED).
 */
extern gamestate_status gamestate_subscriber_wait(gamestate_subscriber *subscriber,
												  int timeout);

typedef struct gamestate_subscriber_stats
{
	/* now */
	bool connected; /* and asks for changes */
	bool paused;	/* a queue is full */
	int subscriptions;
	uint64_t games;	 /* followed, counted for each subscription */
	uint64_t behind; /* those among them with changes to be read */
	uint64_t queued; /* updates in all queues */
	uint64_t queued_bytes;
	int64_t position; /* of the feed; 0: none yet */

	/* since it was opened */
	uint64_t connects;
	uint64_t connect_failures; /* wrong roles included */
	uint64_t lost;
	uint64_t server_changes; /* connected to another server than before */
	uint64_t waits;			 /* calls of wait_changes that were answered */
	uint64_t rows;			 /* of the feed */
	uint64_t changes;		 /* updates of this kind, of all subscriptions */
	uint64_t snapshots;
	uint64_t deletes;
	uint64_t resets;
	uint64_t notices;
	uint64_t known;	   /* rows left out because they had been told */
	uint64_t unwanted; /* rows of games that no subscription follows */
	uint64_t gaps;
	uint64_t reads;		   /* calls of get_changes that were answered */
	uint64_t read_changes; /* rows of them */
	uint64_t refused;	   /* calls that failed */
	uint64_t interrupts;   /* waits cut short, for a new subscription */
	uint64_t pauses;
} gamestate_subscriber_stats;

/* As of now; stats is filled as far as `size` (sizeof(*stats)) goes. */
extern void gamestate_subscriber_get_stats(const gamestate_subscriber *subscriber,
										   gamestate_subscriber_stats *stats,
										   size_t size);

/* -----------------------------------------------------------------------
 * Subscriptions
 * -----------------------------------------------------------------------
 */

/* Where to begin with a game: after the version that it has when it is first asked for. */
#define GAMESTATE_FROM_NOW INT64_C(-1)

/* Owned by the library, valid until the callback returns. */
typedef void (*gamestate_update_callback)(void *arg, const gamestate_update *update);

/* Begin with GAMESTATE_SUBSCRIPTION_OPTIONS_INIT; what it names is copied. */
typedef struct gamestate_subscription_options
{
	size_t
		size; /* sizeof(gamestate_subscription_options): later versions have more members */
	/* The games of this type, those included that are created later; or of all types. */
	const char *game_type;
	bool all_games;
	/* Of those: running games from their first change on; else from now.  Games
	 * that are created later are told from their creation in any case. */
	bool from_start;
	/* Updates of changes have `patch` or `state`, where the history has them, and no
	 * event is too large for the feed: costs a second call for each change. */
	bool with_states;
	/* NULL: updates go into the queue */
	gamestate_update_callback callback;
	void *arg;
	int max_queued;			 /* updates; default 10,000 */
	size_t max_queued_bytes; /* default 64 MB; a single larger one is let in */
} gamestate_subscription_options;

#define GAMESTATE_SUBSCRIPTION_OPTIONS_INIT                                            \
	{                                                                                  \
		sizeof(gamestate_subscription_options), NULL, false, false, false, NULL, NULL, \
			0, 0                                                                       \
	}

/*
 * Begins a subscription, to games that are added with
 * gamestate_subscription_add_game() and to those that the options say.  Several
 * may follow the same game.  The filters of all of them are combined: the server sends
 * only the changes of the games and types that they name.  Of more than
 * max_filter_games games, or 64 types, all changes of the database come and are
 * sorted out here.
 *
 * GAMESTATE_OK, GAMESTATE_BAD_CALL or GAMESTATE_NO_MEMORY.  Nobody waits for the
 * server.
 */
extern gamestate_status gamestate_subscribe(gamestate_subscriber *subscriber,
											const gamestate_subscription_options *options,
											gamestate_subscription **subscription);

/* Ends it; no update comes any more, those in its queue are freed.  NULL: nothing. */
extern void gamestate_unsubscribe(gamestate_subscription *subscription);

/*
 * Follows a game from the change after `after_version` on: 0 = from its creation
 * (also if it does not exist yet), GAMESTATE_FROM_NOW, or the version that the
 * program has seen, perhaps in an earlier life.  To a subscription to a type, too:
 * then it says what of that game was seen before; call it before the subscriber is
 * next processed.  A game that is followed already stays as it is.
 * GAMESTATE_OK, GAMESTATE_NO_MEMORY or GAMESTATE_BAD_CALL (a negative version).
 */
extern gamestate_status gamestate_subscription_add_game(
	gamestate_subscription *subscription, const gamestate_uuid *game_id,
	int64_t after_version);

/*
 * Follows it no more; updates that are in the queue already stay there.  A game of
 * the subscription's type is forgotten: it is told from its creation on should it
 * change once more.
 */
extern void gamestate_subscription_remove_game(gamestate_subscription *subscription,
											   const gamestate_uuid *game_id);

/* Takes the next update from the queue; NULL if there is none.  Does not wait. */
extern const gamestate_update *gamestate_subscription_next(
	gamestate_subscription *subscription);

/*
 * The same, waiting for at most `timeout` (0 = for ever) and processing the
 * subscriber meanwhile, callbacks of other subscriptions included.  GAMESTATE_OK,
 * GAMESTATE_TIMEOUT, GAMESTATE_CLOSED (a callback has closed the subscriber or
 * ended this subscription), GAMESTATE_BAD_CALL (within a callback; or the
 * subscription has a callback).
 */
extern gamestate_status gamestate_subscription_wait(gamestate_subscription *subscription,
													int timeout,
													const gamestate_update **update);

/* Updates in its queue. */
extern int gamestate_subscription_queued(const gamestate_subscription *subscription);

/* Has everything there was been handed over, or put into its queue, as far as is known? */
extern bool gamestate_subscription_is_current(const gamestate_subscription *subscription);

GAMESTATE_END_DECLS

#endif /* GAMESTATE_SUBSCRIPTION_H */
