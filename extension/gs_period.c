/*-------------------------------------------------------------------------
 *
 * gs_period.c
 *	  Periods of time that a partition of the archive is made for.
 *
 * The model: hours, days, weeks and months of UTC, whatever TimeZone says, so
 * that all sessions mean the same.  A week begins on Monday (ISO 8601).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_period.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

/* 2000-01-01 was a Saturday */
#define DAYS_SINCE_MONDAY 5

/* Division that rounds down, for times before 2000 too. */
static int64
floor_div(int64 value, int64 unit)
{
	return value >= 0 ? value / unit : -((-value + unit - 1) / unit);
}

int64
gs_period_day(TimestampTz at)
{
	return floor_div(at, USECS_PER_DAY);
}

static TimestampTz
start_of_month(int year, int month)
{
	return ((int64) date2j(year, month, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}

static void
month_of(TimestampTz at, TimestampTz *from, TimestampTz *to)
{
	int year;
	int month;
	int day;

	j2date((int) gs_period_day(at) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	*from = start_of_month(year, month);
	*to = month == MONTHS_PER_YEAR ? start_of_month(year + 1, 1)
								   : start_of_month(year, month + 1);
}

void
gs_period(GsInterval interval, TimestampTz at, TimestampTz *from, TimestampTz *to)
{
	int64 day = gs_period_day(at);

	switch (interval)
	{
		case GS_INTERVAL_HOUR:
			*from = floor_div(at, USECS_PER_HOUR) * USECS_PER_HOUR;
			*to = *from + USECS_PER_HOUR;
			return;
		case GS_INTERVAL_WEEK:
			*from = (floor_div(day + DAYS_SINCE_MONDAY, 7) * 7 - DAYS_SINCE_MONDAY) *
					USECS_PER_DAY;
			*to = *from + 7 * USECS_PER_DAY;
			return;
		case GS_INTERVAL_MONTH:
			month_of(at, from, to);
			return;
		case GS_INTERVAL_DAY:
			break;
	}
	*from = day * USECS_PER_DAY;
	*to = *from + USECS_PER_DAY;
}
