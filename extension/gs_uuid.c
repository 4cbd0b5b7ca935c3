/*-------------------------------------------------------------------------
 *
 * gs_uuid.c
 *	  Generated game ids: UUID version 7 (RFC 9562, section 5.7).
 *
 *	bytes 0-5	milliseconds since 1970, big endian
 *	bytes 6-7	version 7, then 12 bits of the fraction of the millisecond
 *				(section 6.2, method 3), which keeps the order of ids made
 *				within one millisecond
 *	bytes 8-15	variant 10, then 62 random bits
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_uuid.h"

#include "port.h"

#include <time.h>

#define NS_PER_MS	  1000000
#define FRACTION_BITS 12

void
gs_uuid_generate(pg_uuid_t *uuid)
{
	static uint64 last = 0;
	struct timespec now;
	uint64 ticks; /* milliseconds and their fraction */
	unsigned char *b = uuid->data;

	clock_gettime(CLOCK_REALTIME, &now);
	ticks = ((uint64) now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS) << FRACTION_BITS;
	ticks += ((uint64) (now.tv_nsec % NS_PER_MS) << FRACTION_BITS) / NS_PER_MS;
	if (ticks <= last)
		ticks = last + 1;
	last = ticks;

	if (!pg_strong_random(b + 8, 8))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char) (ticks >> (FRACTION_BITS + 40 - 8 * i));
	b[6] = 0x70 | ((ticks >> 8) & 0x0F);
	b[7] = ticks & 0xFF;
	b[8] = 0x80 | (b[8] & 0x3F);
}
