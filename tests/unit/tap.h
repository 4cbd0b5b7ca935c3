/*-------------------------------------------------------------------------
 *
 * tap.h
 *	  The few lines that a unit test needs to speak TAP.
 *
 * A test program calls ok() and is() any number of times, then returns
 * tap_done(): the plan comes last, so nobody has to count.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_tests = 0;
static int tap_failures = 0;

__attribute__((format(printf, 2, 3))) static inline bool
ok(bool passed, const char *name, ...)
{
	va_list args;

	tap_tests++;
	if (!passed)
		tap_failures++;
	printf("%sok %d - ", passed ? "" : "not ", tap_tests);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	return passed;
}

/* equal texts; NULL equals NULL only */
static inline bool
is(const char *got, const char *expected, const char *name)
{
	bool same =
		(got == NULL || expected == NULL) ? got == expected : strcmp(got, expected) == 0;

	ok(same, "%s", name);
	if (!same)
		printf("# got:      %s\n# expected: %s\n", got ? got : "(null)",
			   expected ? expected : "(null)");
	return same;
}

static inline int
tap_done(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failures == 0 ? 0 : 1;
}

#endif /* TAP_H */
