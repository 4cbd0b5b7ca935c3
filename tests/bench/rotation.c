/*
 * A rotation of the journal at a chosen moment.
 *
 * It is due when the journal has grown beyond gamestate.journal_size and beyond
 * twice what the running games take.  So the limit is lifted, the journal is
 * filled with large games that are deleted again, and to start, the limit is
 * brought down.  It is over when the table that was active has new storage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gs_bench.h"

#define FILLER_BYTES 500000
#define FILLERS		 16
#define PATIENCE_NS	 300000000000LL

/* The active table, which has just been filled, is the larger one. */
#define OLD_TABLE                                                    \
	"SELECT pg_relation_filenode(c) FROM unnest(ARRAY["              \
	"'gamestate.journal_0'::regclass, 'gamestate.journal_1']) AS c " \
	"ORDER BY pg_relation_size(c) DESC LIMIT 1"

static int64_t old_file;

static void
set_limit(PGconn *control, const char *command)
{
	PQclear(query(control, command, 0, NULL));
	PQclear(query(control, "SELECT pg_reload_conf()", 0, NULL));
}

/* rotation_prepare: so that a rotation is due but for the limit */
void
rotation_prepare(PGconn *control)
{
	int64_t bytes;

	set_limit(control, "ALTER SYSTEM SET gamestate.journal_size = '1000GB'");
	bytes = query_int(control,
					  "SELECT 2 * used_bytes + (64 << 20) FROM gamestate.stat_memory");
	for (int64_t done = 0; done < bytes; done += (int64_t) FILLERS * FILLER_BYTES)
	{
		char sql[256];

		snprintf(sql, sizeof(sql),
				 "CREATE TEMP TABLE filler AS SELECT gamestate.create_game('filler',"
				 " to_json(repeat('x', %d))) AS id FROM generate_series(1, %d)",
				 FILLER_BYTES, FILLERS);
		PQclear(query(control, sql, 0, NULL));
		PQclear(query(control, "SELECT gamestate.delete_game(id) FROM filler", 0, NULL));
		PQclear(query(control, "DROP TABLE filler", 0, NULL));
	}
	old_file = query_int(control, OLD_TABLE);
}

static bool
is_running(PGconn *control)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
			 "SELECT count(*) FROM pg_class WHERE pg_relation_filenode(oid) = %lld"
			 " AND relname IN ('journal_0', 'journal_1')",
			 (long long) old_file);
	return query_int(control, sql) > 0;
}

/* rotation_watch: start it, and see how long it takes and what WAL is written */
void
rotation_watch(PGconn *control, Result *result)
{
	int64_t wal = wal_position(control);
	int64_t start = now_ns();

	set_limit(control, "ALTER SYSTEM SET gamestate.journal_size = '16MB'");
	while (is_running(control))
	{
		if (now_ns() > start + PATIENCE_NS)
			die("the journal is not being rotated");
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
	result->watched_s = (double) (now_ns() - start) / 1e9;
	result->rotated = wal_position(control) - wal;
}

/* rotation_run: a rotation while nothing else is done */
void
rotation_run(PGconn *control, Result *result)
{
	rotation_prepare(control);
	rotation_watch(control, result);
}

void
rotation_end(PGconn *control)
{
	set_limit(control, "ALTER SYSTEM RESET gamestate.journal_size");
}
