/*
 * arrival.c: waits for the archive.
 *
 * The model:
 * 1. The games of the run stand in a list; the archive is asked for the first
 *    few thousand of the list by id, and those that are there leave the list.
 * 2. As long as all that were asked for are there, the next ones follow at
 *    once; otherwise there is a pause.  Games are archived about in the order
 *    in which they ended, so few questions are asked in vain.
 * 3. Only what does not arrive any more is an error: there is no limit to the
 *    whole, only one to the time without an arrival.
 */
#include "arrival.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "connect.h"
#include "progress.h"

#define BATCH	 5000
#define PAUSE_NS 50000000L
#define NS_PER_S UINT64_C(1000000000)

/* ord is the place in the array that was asked for. */
static const char find_sql[] =
	"SELECT w.ord, a.status, a.version, a.moves, octet_length(p.payload)"
	" FROM unnest($1::uuid[]) WITH ORDINALITY AS w(game_id, ord)"
	" JOIN gamestate.archive a ON a.game_id = w.game_id"
	" LEFT JOIN gamestate.archive_payload p ON p.game_id = a.game_id"
	" AND p.game_type = a.game_type AND p.ended_at = a.ended_at"
	" ORDER BY w.ord";

static const char delete_sql[] = "SELECT count(*) FROM unnest($1::uuid[]) AS u(game_id)"
								 " WHERE gamestate.delete_game(game_id => u.game_id)";

typedef struct ArchiveWait
{
	PGconn *conn;
	Ledger *ledger;
	size_t *missing; /* indexes into the ledger */
	size_t missing_count;
} ArchiveWait;

/* The archived row of a game is what it must be. */
static bool
check_row(const PlayedGame *game, const PGresult *result, int row)
{
	int64_t version = strtoll(PQgetvalue(result, row, 2), NULL, 10);
	int64_t moves = strtoll(PQgetvalue(result, row, 3), NULL, 10);

	if (strcmp(PQgetvalue(result, row, 1), "finished") == 0 && version == game->version &&
		moves == (int64_t) game->moves)
		return true;
	log_error("game %s is archived as %s, version %" PRId64 ", %" PRId64 " moves",
			  game->id, PQgetvalue(result, row, 1), version, moves);
	log_detail("It was finished at version %" PRId64 " after %" PRIu32 " moves.",
			   game->version, game->moves);
	return false;
}

/*
 * Take the games of the answer off the first `asked` of the list; how many
 * those are, or -1 after a message.
 */
static long
take_found(ArchiveWait *wait, size_t asked, const PGresult *result)
{
	size_t kept = 0;
	int row = 0;

	for (size_t i = 0; i < asked; i++)
	{
		PlayedGame *game = &wait->ledger->games[wait->missing[i]];

		if (row >= PQntuples(result) ||
			strtoull(PQgetvalue(result, row, 0), NULL, 10) != i + 1)
		{
			wait->missing[kept++] = wait->missing[i];
			continue;
		}
		if (!check_row(game, result, row))
			return -1;
		ledger_stored(wait->ledger, game, strtoull(PQgetvalue(result, row, 4), NULL, 10));
		row++;
		if (row < PQntuples(result) &&
			strtoull(PQgetvalue(result, row, 0), NULL, 10) == i + 1)
		{
			log_error("game %s is archived more than once", game->id);
			return -1;
		}
	}
	memmove(wait->missing + kept, wait->missing + asked,
			(wait->missing_count - asked) * sizeof(size_t));
	wait->missing_count -= asked - kept;
	return (long) (asked - kept);
}

/* Ask for the first games of the list; how many came, or -1. */
static long
look(ArchiveWait *wait, size_t asked)
{
	Buf ids = {0};
	const char *args[1];
	PGresult *result;
	long found;

	buf_putc(&ids, '{');
	for (size_t i = 0; i < asked; i++)
	{
		if (i > 0)
			buf_putc(&ids, ',');
		buf_puts(&ids, wait->ledger->games[wait->missing[i]].id);
	}
	buf_putc(&ids, '}');
	args[0] = ids.data;
	result = run_query(wait->conn, "query of the archive", find_sql, 1, args);
	buf_free(&ids);
	if (result == NULL)
		return -1;
	found = take_found(wait, asked, result);
	PQclear(result);
	return found;
}

static void
report_missing(const ArchiveWait *wait, int patience)
{
	char number[NUMBER_SIZE];

	log_error("%s of the games played have not been archived",
			  format_count(number, wait->missing_count));
	log_detail("None of them has arrived in the archive for %d seconds; one is %s.",
			   patience, wait->ledger->games[wait->missing[0]].id);
	log_hint("The server's log says what keeps the archiver from its work.");
}

static bool
wait_for_all(ArchiveWait *wait, int patience)
{
	uint64_t last_arrival = now_ns();

	while (wait->missing_count > 0)
	{
		size_t asked = wait->missing_count < BATCH ? wait->missing_count : BATCH;
		long found;

		if (interrupted)
			return false;
		found = look(wait, asked);
		if (found < 0)
			return false;
		if (found > 0)
			last_arrival = now_ns();
		else if (now_ns() - last_arrival > (uint64_t) patience * NS_PER_S)
		{
			report_missing(wait, patience);
			return false;
		}
		if (progress_due())
		{
			size_t done = wait->ledger->count - wait->missing_count;

			progress_update(done, (double) done / (double) wait->ledger->count, NULL);
		}
		if ((size_t) found < asked)
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	return true;
}

bool
arrival_wait(PGconn *conn, Ledger *ledger, int patience)
{
	ArchiveWait wait = {.conn = conn, .ledger = ledger, .missing_count = ledger->count};
	uint64_t start = now_ns();
	bool ok;

	wait.missing = xmalloc(ledger->count * sizeof(size_t));
	for (size_t i = 0; i < ledger->count; i++)
		wait.missing[i] = i;
	progress_begin("archiving", "games", ledger->count);
	ok = wait_for_all(&wait, patience);
	if (ok)
		progress_end(ledger->count, NULL);
	else
		progress_abandon();
	ledger->archive_wait_ns = now_ns() - start;
	free(wait.missing);
	return ok;
}

/* Delete the first unfinished games from index `i` on; the next index. */
static size_t
delete_batch(PGconn *conn, const Ledger *ledger, size_t i)
{
	Buf ids = {0};
	const char *args[1];
	size_t count = 0;

	buf_putc(&ids, '{');
	for (; i < ledger->count && count < BATCH; i++)
		if (!ledger->games[i].finished)
			buf_printf(&ids, "%s%s", count++ > 0 ? "," : "", ledger->games[i].id);
	buf_putc(&ids, '}');
	args[0] = ids.data;
	if (count > 0)
	{
		PQclear(PQexecParams(conn, delete_sql, 1, NULL, args, NULL, NULL, 0));

		/* Was the connection the failure?  Then once more, on a new one. */
		if (PQstatus(conn) == CONNECTION_BAD)
		{
			PQreset(conn);
			PQclear(PQexecParams(conn, delete_sql, 1, NULL, args, NULL, NULL, 0));
		}
	}
	buf_free(&ids);
	return i;
}

void
arrival_clean_up(PGconn *conn, const Ledger *ledger)
{
	size_t i = 0;

	while (i < ledger->count && PQstatus(conn) == CONNECTION_OK)
		i = delete_batch(conn, ledger, i);
}
