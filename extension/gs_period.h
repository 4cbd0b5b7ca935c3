/*-------------------------------------------------------------------------
 *
 * gs_period.h
 *	  Periods of time that a partition of the archive is made for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PERIOD_H
#define GS_PERIOD_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* As gamestate.policy.partition_interval names them; 0 = the default. */
typedef enum GsInterval
{
	GS_INTERVAL_DAY = 0,
	GS_INTERVAL_HOUR,
	GS_INTERVAL_WEEK, /* of ISO 8601: it begins on Monday */
	GS_INTERVAL_MONTH
} GsInterval;

/* The period [*from, *to) that a time falls into, in UTC. */
extern void gs_period(GsInterval interval, TimestampTz at, TimestampTz *from,
					  TimestampTz *to);

/* The days since 2000-01-01, in UTC; negative before. */
extern int64 gs_period_day(TimestampTz at);

#endif /* GS_PERIOD_H */
