/*-------------------------------------------------------------------------
 *
 * gs_deadline.h
 *	  Deadlines of games.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DEADLINE_H
#define GS_DEADLINE_H

#include "gs_target.h"
#include "gs_timer.h"

/*
 * A time that a caller gives, other than null.  As a header has it: infinity is 0,
 * no deadline.
 */
extern bool gs_deadline_is_allowed(TimestampTz at, GsRefusal *refusal);
extern TimestampTz gs_deadline_value(TimestampTz at);

/* For the timer worker, see gs_timer.h. */
extern int gs_deadline_run(GsDatabase *db, const GsTimerDue *due, int n);
extern void gs_deadline_again(GsDatabase *db, const GsTimerDue *due, bool failed);

#endif /* GS_DEADLINE_H */
