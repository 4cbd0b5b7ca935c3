/*
 * hist.h: a histogram of durations with a bounded relative error, for
 * latency percentiles without keeping every sample.
 */
#ifndef GAMESTATE_CLIENT_HIST_H
#define GAMESTATE_CLIENT_HIST_H

#include <stdint.h>

typedef struct Hist Hist;

extern Hist *hist_create(void);
extern void hist_free(Hist *hist);
extern void hist_add(Hist *hist, uint64_t ns);
extern uint64_t hist_count(const Hist *hist);

/*
 * The smallest value such that at least `percent` of the samples are not
 * above it, to within one part in a thousand; 100 gives the exact maximum.
 * 0 when there are no samples.
 */
extern uint64_t hist_percentile(const Hist *hist, double percent);

#endif /* GAMESTATE_CLIENT_HIST_H */
