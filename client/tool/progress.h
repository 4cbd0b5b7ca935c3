/*
 * progress.h: how far a long step has come: a bar on a terminal, a plain line
 * now and then elsewhere.  One step at a time.
 */
#ifndef GAMESTATE_CLIENT_PROGRESS_H
#define GAMESTATE_CLIENT_PROGRESS_H

#include "util.h"

/* Set by --quiet: nothing is shown. */
extern bool progress_quiet;

/* `label` and `unit` ("games") must outlive the step; a total of 0 is not known. */
extern void progress_begin(const char *label, const char *unit, uint64_t total);

/*
 * Is it time to call progress_update()?  Cheap, for inner loops.
 */
extern bool progress_due(void);

/*
 * `part` of the whole (0 to 1) is the length of the bar; `note` (may be NULL)
 * stands behind the numbers.
 */
extern void progress_update(uint64_t done, double part, const char *note);

/* Ends the step, and leaves a last line of the whole of it. */
extern void progress_end(uint64_t done, const char *note);

/* Ends the step without a word, after an error. */
extern void progress_abandon(void);

#endif /* GAMESTATE_CLIENT_PROGRESS_H */
