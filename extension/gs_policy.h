/*-------------------------------------------------------------------------
 *
 * gs_policy.h
 *	  What gamestate.policy says about a game type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_POLICY_H
#define GS_POLICY_H

#include "gs_table.h"

#include "utils/timestamp.h"

/* A field that follows the setting of the same name. */
#define GS_POLICY_SETTING (-1)

/* What becomes of partitions that are no longer kept. */
typedef enum GsRetentionAction
{
	GS_RETENTION_DETACH = 0,
	GS_RETENTION_DROP
} GsRetentionAction;

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

	/* how long archived games are kept; without a limit if there is none */
	GsRetentionAction retention_action;
	bool has_retention; /* of both tables' rows */
	bool has_payload_retention;
	Interval retention;
	Interval payload_retention;
} GsPolicy;

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

#endif /* GS_POLICY_H */
