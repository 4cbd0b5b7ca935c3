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

/* from _PG_init */
extern void gs_policy_init(void);

/*
 * The durability of a new game of this type: that of its row as committed
 * now, or as this transaction has changed it; of a type without a row
 * gamestate.durability.
 */
extern GsDurability gs_policy_durability(const GsText *game_type);

#endif /* GS_POLICY_H */
