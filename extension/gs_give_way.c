/*-------------------------------------------------------------------------
 *
 * gs_give_way.c
 *	  Background work that leaves the processors to those who are waited for.
 *
 * Players wait for moves; nobody waits for a game to be archived.  But to the
 * kernel's scheduler the archiver, which is busy without a break, is worth as much
 * as a session, and once it has a processor it keeps it for some milliseconds,
 * in which a hundred moves could have been made.
 *
 * The model:
 *	1. The archiver comes here between small pieces of work (a game, a row).  Now
 *	   and then we ask the kernel how long it has worked and how long it had to
 *	   wait for a processor meanwhile.
 *	2. If it had to wait, there is more work than processors, and for a while it
 *	   takes gamestate.archiver_share percent of one at most: what it has worked, it
 *	   pauses in proportion, at once, by sleeping.  So others wait for a short piece
 *	   of its work, not for the end of its time slice.
 *	3. If it had not, nobody wants the time, and it goes on.
 *
 * A lower priority (nice) would leave others more, but all or nothing is no choice:
 * a process that is not let run while it holds a lock that moves need makes them
 * wait for as long, which we have measured as hundreds of milliseconds.  Who sleeps
 * here holds no LWLock and pins no page.
 *
 * Only Linux tells how long a process has waited for a processor; elsewhere nothing
 * is given way to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_give_way.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "datatype/timestamp.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "utils/wait_event.h"

/* After so much work we look whether others have to wait. */
#define LOOK_US 200

/*
 * Who waits for this part of the time that he works, on average of so many looks, waits
 * for others, and not only for the kernel to wake him.
 */
#define WAITED_PART 8
#define LOOKS		8

/* That holds for so long. */
#define BUSY_US 20000

/*
 * So much of what others had while we waited counts instead of later pauses.  Where
 * there is far too much work for the processors it makes us a process like the others,
 * which waits for long and then works for long.
 */
#define CREDIT_MAX_US 500

/* Nor is more than this caught up on, after a long piece of work. */
#define OWED_MAX_US 20000

/* Shorter pauses are not worth the two switches. */
#define PAUSE_MIN_US 50

/* A longer one is taken in parts. */
#define PAUSE_MAX_US 5000

/* What the kernel says of this process, in microseconds. */
typedef struct Times
{
	int64 worked;
	int64 waited; /* for a processor */
} Times;

static int schedstat = -1;
static bool allowed = false;

/* as of the last look */
static Times known;
static Times recent; /* of the last looks, the older the less */
static int64 looked_us;
static int64 busy_until_us;
static int64
	owed_us; /* pauses that are to be taken yet; negative: others had more than that */
static int64 taken_us;

static int64
now_us(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* The first number of schedstat is the time worked, but as of the last tick only. */
static bool
ask(Times *times)
{
	char line[64];
	ssize_t len = pread(schedstat, line, sizeof(line) - 1, 0);
	unsigned long long waited_ns;
	struct timespec cpu;

	if (len <= 0)
		return false;
	line[len] = '\0';
	if (sscanf(line, "%*u %llu", &waited_ns) != 1 ||
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) != 0)
		return false;
	times->worked = (int64) cpu.tv_sec * USECS_PER_SEC + cpu.tv_nsec / 1000;
	times->waited = (int64) (waited_ns / 1000);
	return true;
}

void
gs_give_way_init(void)
{
	Assert(schedstat < 0);
	schedstat = BasicOpenFile("/proc/self/schedstat", O_RDONLY);
	if (schedstat < 0)
		return;
	(void) fcntl(schedstat, F_SETFD, FD_CLOEXEC);
	ReserveExternalFD();
	allowed = ask(&known);
	looked_us = now_us();
}

void
gs_give_way_allow(bool allow)
{
	bool before = allowed;

	allowed = allow && schedstat >= 0 && gs_archiver_share < 100;
	if (allowed == before)
		return;
	/* nothing is owed for what was urgent */
	owed_us = 0;
	(void) ask(&known);
	looked_us = now_us();
}

int64
gs_give_way_taken(void)
{
	int64 result = taken_us;

	taken_us = 0;
	return result;
}

/* What has passed since the last look: is it busy here, and what do we owe? */
static void
look(int64 now)
{
	Times times;
	int64 worked;
	int64 waited;

	looked_us = now;
	if (!ask(&times))
		return;
	worked = times.worked - known.worked;
	waited = times.waited - known.waited;
	known = times;
	recent.worked += worked - recent.worked / LOOKS;
	recent.waited += waited - recent.waited / LOOKS;
	if (recent.waited > recent.worked / WAITED_PART)
		busy_until_us = now + BUSY_US;
	if (now > busy_until_us)
	{
		owed_us = 0;
		return;
	}
	/* while we waited others had the processor: that is what a pause is for */
	owed_us += worked * (100 - gs_archiver_share) / gs_archiver_share - waited;
	owed_us = Max(-CREDIT_MAX_US, Min(owed_us, OWED_MAX_US));
}

static void
pause_now(int64 now)
{
	int64 end;

	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	pg_usleep(Min(owed_us, PAUSE_MAX_US));
	pgstat_report_wait_end();
	end = now_us();
	taken_us += end - now;
	owed_us = Max(-CREDIT_MAX_US, owed_us - (end - now));
	looked_us = end;
}

void
gs_give_way(void)
{
	int64 now;

	if (!allowed)
		return;
	now = now_us();
	if (now - looked_us < LOOK_US)
		return;
	look(now);
	if (owed_us >= PAUSE_MIN_US)
		pause_now(now);
}
