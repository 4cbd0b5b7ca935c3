/*-------------------------------------------------------------------------
 *
 * gs_uuid.c
 *	  Generated game ids.
 *
 * The model:
 *	1. In general they are UUIDs of version 7 (RFC 9562, section 5.7):
 *
 *	bytes 0-5	milliseconds since 1970, big endian
 *	bytes 6-7	version 7, then 12 bits of the fraction of the millisecond
 *				(section 6.2, method 3), which keeps the order of ids made
 *				within one millisecond
 *	bytes 8-15	variant 10, then 62 random bits
 *
 *	2. The id of a game that is created with a request id follows from that, so
 *	   that a retry finds the game by its id wherever it has gone, and nothing
 *	   else has to be remembered.  If the request id is a UUID of version 7, the
 *	   game has the same one: it is ordered by time, as in 1, by the caller's
 *	   clock.  A retry is looked for in the archive since that time
 *	   (gs_request.c), so one that is too far ahead is refused.
 *	3. Any other request id says nothing of time, and an id that does not either
 *	   would have to be looked for in all of the archive, at each creation and
 *	   at each read later.  So the game gets a UUID of version 8 (section 5.8):
 *
 *	bytes 0-5	the upper 21 bits of the milliseconds since 1970, big endian, then
 *				27 bits of the hash
 *	bytes 6-15	version 8, variant 10 and 74 bits of the hash
 *
 *	   The hash is SHA-256 of the request id.  A period of these 21 bits lasts 37
 *	   hours; a retry looks for the id as of this period and the one before, so
 *	   it is recognised for so long at least.  Later it is a new request, which
 *	   makes a game with another id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_uuid.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "datatype/timestamp.h"
#include "port.h"
#include "utils/timestamp.h"

#include <time.h>

#define NS_PER_MS	  1000000
#define FRACTION_BITS 12

/* Of the milliseconds, those that the ids of version 8 do not have. */
#define PERIOD_BITS 27
#define PERIOD_MASK ((UINT64CONST(1) << PERIOD_BITS) - 1)

#define US_PER_MS 1000
#define UNIX_EPOCH_US \
	((TimestampTz) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

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

static int
version_of(const pg_uuid_t *id)
{
	/* only in this variant there are versions */
	return (id->data[8] >> 6) == 2 ? id->data[6] >> 4 : 0;
}

/* bytes 0-5 */
static uint64
get_ms(const pg_uuid_t *id)
{
	uint64 ms = 0;

	for (int i = 0; i < 6; i++)
		ms = (ms << 8) | id->data[i];
	return ms;
}

static void
set_ms(pg_uuid_t *id, uint64 ms)
{
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (ms >> (40 - 8 * i));
}

static void
hash_request(const pg_uuid_t *request, pg_uuid_t *id)
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, request->data, UUID_LEN) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-256 of a request id: %s",
						pg_cryptohash_error(ctx))));
	pg_cryptohash_free(ctx);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = 0x80 | (id->data[6] & 0x0F);
	id->data[8] = 0x80 | (id->data[8] & 0x3F);
}

GsUuidOfRequest
gs_uuid_of_request(const pg_uuid_t *request)
{
	GsUuidOfRequest result = {.n = 1, .ids = {*request}, .lock = *request};
	uint64 now = (GetCurrentTimestamp() + UNIX_EPOCH_US) / US_PER_MS;
	uint64 hash_bits;

	if (version_of(request) == 7)
	{
		if (get_ms(request) > now + GS_CLOCKS_DIFFER / US_PER_MS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("request id is of the future"),
					 errdetail("Its time is more than a day ahead of the server's clock, so that a retry might not be recognised later."),
					 errhint("Set the clocks right, or use UUIDs of version 4.")));
		return result;
	}
	hash_request(request, &result.lock);
	hash_bits = get_ms(&result.lock) & PERIOD_MASK;
	result.n = GS_UUID_CANDIDATES;
	for (int i = 0; i < result.n; i++)
	{
		uint64 period = (now >> PERIOD_BITS) - i;

		result.ids[i] = result.lock;
		set_ms(&result.ids[i], period << PERIOD_BITS | hash_bits);
	}
	set_ms(&result.lock, hash_bits);
	return result;
}

bool
gs_uuid_times(const pg_uuid_t *id, TimestampTz *from, TimestampTz *to)
{
	uint64 first = get_ms(id);
	uint64 last = first;

	switch (version_of(id))
	{
		case 7:
			break;
		case 8:
			first &= ~PERIOD_MASK;
			last |= PERIOD_MASK;
			break;
		default:
			return false;
	}
	/* 2^48 ms are 8,900 years, so this does not overflow */
	*from = (TimestampTz) first * US_PER_MS - UNIX_EPOCH_US;
	*to = (TimestampTz) last * US_PER_MS - UNIX_EPOCH_US;
	return true;
}
