/*-------------------------------------------------------------------------
 *
 * gs_rules.h
 *	  What policies say about games in memory, for the archiver.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RULES_H
#define GS_RULES_H

#include "gs_database.h"
#include "gs_policy.h"

/* Of one game type; times in microseconds, 0 = none. */
typedef struct GsRule
{
	int64 archive_delay;
	int64 inactivity_limit;
	GsIdleAction inactivity_action;
	bool suspend_on_pressure;
} GsRule;

/* Of all types together. */
typedef struct GsRulesSummary
{
	bool any_delay;
	bool any_suspends; /* on memory pressure */
	int64 shortest_limit;
} GsRulesSummary;

/*
 * Read the policies if they have changed, in a transaction of its own; true if
 * they have.  Then these need no transaction, allocate nothing and cannot fail.
 */
extern bool gs_rules_refresh(void);
extern const GsRule *gs_rule(const char *game_type, Size len);
extern const GsRulesSummary *gs_rules_summary(void);

/* Is so much memory in use that games have to be put away? */
extern bool gs_rules_pressure(GsDatabase *db);

#endif /* GS_RULES_H */
