/*
 * progress.c: the progress bar.
 *
 * The model:
 * 1. Everything goes to stderr, so that stdout is the report alone.
 * 2. On a terminal (and TERM is not "dumb") one line is redrawn ten times a
 *    second; elsewhere a plain line is written every five seconds, so that a
 *    log of a run stays short.
 * 3. A message of util.c wipes the bar first; the next redraw brings it back.
 */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define REDRAW_NS UINT64_C(100000000)
#define LINE_NS	  UINT64_C(5000000000)

static struct
{
	const char *label;
	const char *unit;
	uint64_t total;
	uint64_t due; /* when the next update is wanted */
	bool active;
	bool terminal;
	bool drawn; /* the bar is on the screen */
} progress;

bool progress_quiet = false;

static void
wipe(void)
{
	if (progress.drawn)
	{
		fputs("\r\033[K", stderr);
		progress.drawn = false;
	}
}

static bool
is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

static int
terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

void
progress_begin(const char *label, const char *unit, uint64_t total)
{
	progress.label = label;
	progress.unit = unit;
	progress.total = total;
	progress.active = !progress_quiet;
	progress.terminal = is_terminal();
	progress.due = now_ns() + (progress.terminal ? 0 : LINE_NS);
	log_before_message = wipe;
}

bool
progress_due(void)
{
	return progress.active && now_ns() >= progress.due;
}

/* The text of the step; the bar only on a terminal. */
static void
format_line(Buf *line, uint64_t done, double part, const char *note)
{
	char number[NUMBER_SIZE];

	if (part < 0.0 || part > 1.0)
		part = part < 0.0 ? 0.0 : 1.0;
	buf_reset(line);
	if (progress.terminal && progress.total == 0)
		buf_printf(line, "%-9s  ", progress.label);
	else if (progress.terminal)
	{
		int filled = (int) (part * BAR_WIDTH);

		buf_printf(line, "%-9s [", progress.label);
		for (int i = 0; i < BAR_WIDTH; i++)
			buf_putc(line, i < filled ? '#' : '.');
		buf_printf(line, "] %3d%%  ", (int) (part * 100));
	}
	else
		buf_printf(line, "%s: ", progress.label);
	buf_puts(line, format_count(number, done));
	if (progress.total > 0)
		buf_printf(line, " of %s", format_count(number, progress.total));
	buf_printf(line, " %s", progress.unit);
	if (note != NULL && note[0] != '\0')
		buf_printf(line, ", %s", note);
}

void
progress_update(uint64_t done, double part, const char *note)
{
	Buf line = {0};

	if (!progress.active)
		return;
	format_line(&line, done, part, note);
	if (progress.terminal)
	{
		fprintf(stderr, "\r%.*s\033[K", terminal_width() - 1, line.data);
		progress.drawn = true;
		progress.due = now_ns() + REDRAW_NS;
	}
	else
	{
		fprintf(stderr, "%s\n", line.data);
		progress.due = now_ns() + LINE_NS;
	}
	fflush(stderr);
	buf_free(&line);
}

void
progress_end(uint64_t done, const char *note)
{
	if (!progress.active)
		return;
	progress_update(done, 1.0, note);
	if (progress.terminal)
		fputc('\n', stderr);
	progress.drawn = false;
	progress.active = false;
}

void
progress_abandon(void)
{
	wipe();
	progress.active = false;
}
