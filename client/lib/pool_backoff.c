/*-------------------------------------------------------------------------
 *
 * pool_backoff.c
 *	  How long to wait before trying again: exponential backoff with full
 *	  jitter.
 *
 * The model:
 *
 * 1. The n-th wait is a random time between 0 and min(cap, base * 2^n), evenly
 *	  distributed ("full jitter": Marc Brooker, Exponential Backoff And Jitter,
 *	  AWS Architecture Blog, 2015).  Clients that were thrown out together, as
 *	  all of a server's are when it stops, come back spread over the whole
 *	  interval and not in waves; of the ways compared there it is the one with
 *	  the least calls made in vain.  RFC 8961 (section 4, item 4) asks for the
 *	  exponential growth of whoever retransmits without knowing why an answer
 *	  is missing.
 * 2. The range doubles until it meets the cap; a success starts it anew.
 * 3. Random numbers are SplitMix64's (Steele, Lea, Flood 2014): eight bytes of
 *	  state and no lock of its own, other than rand()'s.
 *
 * Pure: no clock, no lock; the owner's lock protects both structs.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_backoff.h"

#include <sys/random.h>

void
gsp_random_init(GspRandom *random, uint64_t seed)
{
	/* Without entropy yet (an early start), the time will do: it is only jitter. */
	if (seed == 0 && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t) gsp_now() ^ (uint64_t) (uintptr_t) random;
	random->state = seed;
}

static uint64_t
random_next(GspRandom *random)
{
	uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

int64_t
gsp_random_up_to(GspRandom *random, int64_t max)
{
	if (max <= 0)
		return 0;
	/* The remainder's bias is below one part in 2^20 for a wait of weeks. */
	return (int64_t) (random_next(random) % ((uint64_t) max + 1));
}

void
gsp_backoff_init(GspBackoff *backoff, int64_t base, int64_t cap)
{
	*backoff = (GspBackoff){.base = base, .cap = cap};
}

int64_t
gsp_backoff_next(GspBackoff *backoff, GspRandom *random)
{
	int64_t range = backoff->base;

	for (int i = 0; i < backoff->attempts && range < backoff->cap; i++)
		range = range > backoff->cap / 2 ? backoff->cap : range * 2;
	if (range > backoff->cap)
		range = backoff->cap;
	if (backoff->attempts < 64)
		backoff->attempts++;
	return gsp_random_up_to(random, range);
}

void
gsp_backoff_reset(GspBackoff *backoff)
{
	backoff->attempts = 0;
}
