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

/*
 * The timer of a game's deadline goes with its change record: reserve may fail, the
 * others cannot.  To install it the game's header is the new one and its
 * partition locked.
 */
extern void gs_deadline_reserve(GsChange *change, bool has_timer);
extern void gs_deadline_install(GsChange *change, GsGame *game);
extern void gs_deadline_free(GsDatabase *db, dsa_pointer timer);

/* For the timer worker, see gs_timer.h. */
extern int gs_deadline_run(GsDatabase *db, const GsTimerDue *due, int n);
extern void gs_deadline_again(GsDatabase *db, const GsTimerDue *due, bool failed);

#endif /* GS_DEADLINE_H */
