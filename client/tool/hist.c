/*
 * hist.c: a log-linear histogram.
 *
 * The model:
 * 1. Values below 2^10 have a bucket each.  Above, each power of two is cut
 *    into 2^10 equal buckets, so a bucket is never wider than a thousandth
 *    of the values in it: the three digits that are printed are right.
 * 2. 2^10 buckets for each power of two of a 64-bit value are 450 kB: one
 *    histogram for a run, not one for each game.
 * 3. The maximum is kept beside the buckets, and is exact.
 */
#include "hist.h"

#include <math.h>
#include <stdlib.h>

#include "util.h"

#define SUB_BITS  10
#define SUB_COUNT (1u << SUB_BITS)
#define GROUPS	  (64 - SUB_BITS + 1)

struct Hist
{
	uint64_t count;
	uint64_t max;
	uint64_t buckets[GROUPS * SUB_COUNT];
};

Hist *
hist_create(void)
{
	return xcalloc(1, sizeof(Hist));
}

void
hist_free(Hist *hist)
{
	free(hist);
}

/*
 * Group 0 holds the values below SUB_COUNT one by one; group g > 0 those from
 * SUB_COUNT << (g - 1), in steps of 1 << (g - 1).
 */
static unsigned
bucket_of(uint64_t value)
{
	unsigned group;

	if (value < SUB_COUNT)
		return (unsigned) value;
	group = (unsigned) (63 - __builtin_clzll(value)) - SUB_BITS + 1;
	return group * SUB_COUNT + (unsigned) ((value >> (group - 1)) - SUB_COUNT);
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_top(unsigned bucket)
{
	unsigned group = bucket / SUB_COUNT;
	uint64_t sub = bucket % SUB_COUNT;

	if (group == 0)
		return sub;
	return ((sub + SUB_COUNT + 1) << (group - 1)) - 1;
}

void
hist_add(Hist *hist, uint64_t ns)
{
	hist->buckets[bucket_of(ns)]++;
	hist->count++;
	if (ns > hist->max)
		hist->max = ns;
}

uint64_t
hist_count(const Hist *hist)
{
	return hist->count;
}

uint64_t
hist_percentile(const Hist *hist, double percent)
{
	uint64_t rank = (uint64_t) ceil((double) hist->count * percent / 100.0);
	uint64_t seen = 0;

	if (hist->count == 0)
		return 0;
	for (unsigned i = 0; i < GROUPS * SUB_COUNT; i++)
	{
		seen += hist->buckets[i];
		if (seen >= rank && seen > 0)
			return bucket_top(i) < hist->max ? bucket_top(i) : hist->max;
	}
	return hist->max;
}
