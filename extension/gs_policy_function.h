/*-------------------------------------------------------------------------
 *
 * gs_policy_function.h
 *	  Functions that a policy names: which role each runs as.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_POLICY_FUNCTION_H
#define GS_POLICY_FUNCTION_H

#include "postgres.h"

/*
 * The role that a function named by the policy of a game type runs as; ERROR
 * if there is none.  Reads a table: as gamestate_owner, connected to SPI.
 */
extern Oid gs_policy_function_role(const char *game_type, const char *function);

#endif /* GS_POLICY_FUNCTION_H */
