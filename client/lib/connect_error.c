/*-------------------------------------------------------------------------
 *
 * connect_error.c
 *	  Why a connection could not be opened.
 *
 * libpq hands out no SQLSTATE for an attempt to connect that failed, only a text.
 * With PQERRORS_VERBOSE the text has the code in it, and where in the server's
 * source the error came from:
 *
 *	  connection to server ... failed: FATAL:  53300: sorry, too many clients already
 *	  LOCATION:  InitProcess, proc.c:361
 *
 * The model:
 * 1. The words may be translated, the form is not: two blanks after a colon, five
 *	  capitals or digits, a colon.  They are taken out of the text.
 * 2. A line that ends in a C file and a number of a line is left out.
 * 3. There may be several errors, one for each host and each way to talk to it
 *	  (with and without TLS): the last one counts.
 *
 * Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "connect_error.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define LENGTH 5 /* of a SQLSTATE */

/* Does "XXXXX: " stand here? */
static bool
is_code(const char *text)
{
	for (int i = 0; i < LENGTH; i++)
		if (!isdigit((unsigned char) text[i]) && (text[i] < 'A' || text[i] > 'Z'))
			return false;
	return text[LENGTH] == ':' && text[LENGTH + 1] == ' ';
}

/* Is it "LOCATION:  function, file.c:123"? */
static bool
is_location(const char *line, size_t len)
{
	size_t digits = 0;

	while (digits < len && isdigit((unsigned char) line[len - 1 - digits]))
		digits++;
	return digits > 0 && len > digits + 3 &&
		   memcmp(line + len - digits - 3, ".c:", 3) == 0;
}

void
gsl_connect_error(char *message, char sqlstate[6])
{
	char *to = message;
	const char *line = message;

	memset(sqlstate, 0, LENGTH + 1);
	while (*line != '\0')
	{
		size_t len = strcspn(line, "\n");
		const char *end = line + len;
		bool skip = is_location(line, len);

		for (const char *from = line; !skip && from < end; from++)
		{
			if (from >= line + 3 && memcmp(from - 3, ":  ", 3) == 0 && is_code(from))
			{
				memcpy(sqlstate, from, LENGTH);
				from += LENGTH + 2;
			}
			if (from < end)
				*to++ = *from;
		}
		line = *end != '\0' ? end + 1 : end;
		if (!skip && *line != '\0')
			*to++ = '\n';
	}
	/* libpq's messages end with a line feed, ours do not */
	while (to > message && to[-1] == '\n')
		to--;
	*to = '\0';
}
