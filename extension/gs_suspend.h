/*-------------------------------------------------------------------------
 *
 * gs_suspend.h
 *	  Suspending games and resuming them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SUSPEND_H
#define GS_SUSPEND_H

#include "gs_target.h"

/*
 * The target of a game that is suspended: what its row says.  Its lock is held,
 * and gs_find_target() has not found it.  false if it is not suspended.
 */
extern bool gs_find_suspended(const pg_uuid_t *id, const GsText *player,
							  GsTarget *target);

/* Of such a target: was the request answered?  Sets target->answered. */
extern bool gs_suspended_has_answered(const GsRequest *request, GsTarget *target);

extern void gs_refuse_suspended(const pg_uuid_t *id, GsRefusal *refusal);

/*
 * Put a live game that is not over away.  Its lock is held, version and log
 * have been checked.  reason: GS_SUSPENDED_BY_... (gs_suspended.h)
 */
extern GsPending *gs_suspend(const GsRequest *request, GsTarget *target,
							 const char *reason);

/* Bring it back: target is that of a live game then, at the next version. */
extern GsPending *gs_resume(const GsRequest *request, GsTarget *target);

/* It goes without having come back. */
extern void gs_delete_suspended(const GsTarget *target);

#endif /* GS_SUSPEND_H */
