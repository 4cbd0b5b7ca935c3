/*-------------------------------------------------------------------------
 *
 * gs_policy.h
 *	  What gamestate.policy says about a game type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_POLICY_H
#define GS_POLICY_H

#include "gs_period.h"
#include "gs_queue.h"

#include "utils/timestamp.h"

/* A field that follows the setting of the same name. */
#define GS_POLICY_SETTING (-1)

#define GS_ARCHIVE_ATTEMPTS_DEFAULT 8

/* What becomes of partitions that are no longer kept. */
typedef enum GsRetentionAction
{
	GS_RETENTION_DETACH = 0,
	GS_RETENTION_DROP
} GsRetentionAction;

/* What becomes of a game that nobody has changed for as long as inactivity_limit says. */
typedef enum GsIdleAction
{
	GS_IDLE_REPORT = 0, /* a notice of the change feed */
	GS_IDLE_SUSPEND,
	GS_IDLE_ABANDON
} GsIdleAction;

/* What happens when a player of a game has been away for long; see gs_presence.h. */
typedef enum GsAbsenceAction
{
	GS_ABSENCE_NOTHING = 0,
	GS_ABSENCE_NOTIFY,		 /* a notice */
	GS_ABSENCE_ABANDON,		 /* the game is abandoned */
	GS_ABSENCE_ABANDON_EMPTY /* ... if nobody is connected to it */
} GsAbsenceAction;

/* What holds for a type, its own row and the default row put together. */
typedef struct GsPolicy
{
	int durability; /* GsDurability, or GS_POLICY_SETTING */
	GsHistory history;
	uint16 history_limit; /* GS_HISTORY_LAST */

	/* how games are compressed when they are archived, and later once more */
	int compression_level; /* or GS_POLICY_SETTING */
	bool dictionary;
	bool repack;
	int repack_level;

	/* the archiver's queue */
	int archive_batch;	  /* or GS_POLICY_SETTING */
	int archive_priority; /* GS_PRIORITY_MIN .. GS_PRIORITY_MAX */
	int archive_attempts; /* that a game may fail; 0 = without a limit */

	/* functions called when games are archived (gs_hook.c), by qualified names */
	bool player_stats;
	bool hook_skip;			  /* a failure does not hold up the games */
	const char *stats_rule;	  /* NULL = the default rule */
	const char *archive_hook; /* NULL = none */
	bool resume_on_move;	  /* a move on a suspended game */

	/* games in memory, in microseconds; 0 = none */
	int64 archive_delay;
	int64 inactivity_limit;
	GsIdleAction inactivity_action;
	bool suspend_on_pressure;

	/* how long archived games are kept; without a limit if there is none */
	GsRetentionAction retention_action;
	bool has_retention; /* of both tables' rows */
	bool has_payload_retention;
	Interval retention;
	Interval payload_retention;

	/* rows of gamestate.rate_limit that moves are counted by; empty = none */
	char player_rate_limit[GS_MAX_ID_LENGTH + 1];
	char game_rate_limit[GS_MAX_ID_LENGTH + 1];
	/* of states and events, in bytes, of changes of a game (gs_limits.c); 0 = none */
	int max_state_size;
	int max_event_size;
	int max_log;

	/* partitions: how long, how many ahead, and where they go when they are old */
	GsInterval partition_interval;
	int make_ahead; /* or GS_POLICY_SETTING */
	bool has_old_tablespace;
	bool has_freeze_after;
	Interval freeze_after;
	bool has_old_tablespace_after;
	NameData old_tablespace;
	Interval old_tablespace_after;

	/* of players who connect from now on */
	GsAbsenceAction absence_action;
	int64 absence_us;
} GsPolicy;

/* A month is 30 days, a day 24 hours. */
extern int64 gs_interval_us(const Interval *interval);

/* from _PG_init */
extern void gs_policy_init(void);

/*
 * The policy of a type as committed now, or as this transaction has changed
 * it.  Valid until the next call; never NULL.  Needs a transaction.
 */
extern const GsPolicy *gs_policy(const GsText *game_type);

/*
 * What a new game of this type has from its policy, as committed now or as this
 * transaction has changed it: durability and history.
 */
extern void gs_policy_new_game(const GsText *game_type, GsHeader *h);

/* All policies as committed now: first the default's, whose type is empty, then those of types. */
extern void gs_policy_scan(void (*each)(const char *game_type, const GsPolicy *policy,
										void *arg),
						   void *arg);

/*
 * For the archiver, all policies together: grows with each change of them; is
 * there another priority than the default; the largest batch.
 */
extern uint64 gs_policy_generation(void);
extern bool gs_policy_any_priority(void);
extern int gs_policy_largest_batch(void);

/* Do the moves of any game type have a limit, of whatever kind? */
extern bool gs_policy_limits_moves(void);

#endif /* GS_POLICY_H */
