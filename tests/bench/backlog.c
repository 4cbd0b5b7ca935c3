/*
 * Work for the archiver while the load runs: finished games of 4 KB, made before
 * and held back until measuring begins.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gs_bench.h"

#define BATCH		500
#define PATIENCE_NS 60000000000LL

static void
make_finished(PGconn *conn, int count)
{
	for (int done = 0; done < count; done += BATCH)
	{
		char n[16];
		const char *params[] = {n};

		snprintf(n, sizeof(n), "%d", count - done < BATCH ? count - done : BATCH);
		PQclear(query(conn,
					  "WITH made AS MATERIALIZED (SELECT gamestate.create_game('backlog',"
					  " state => (SELECT json_agg(md5((i * 64 + k)::text))"
					  " FROM generate_series(1, 56) k)) AS id"
					  " FROM generate_series(1, $1::int) i),"
					  " moved AS MATERIALIZED (SELECT id, gamestate.apply_move(id, 1,"
					  " json_build_object('made', repeat('m', 1900)), NULL) FROM made)"
					  " SELECT gamestate.finish_game(id, '{\"winner\":0}') FROM moved",
					  1, params));
	}
}

int64_t
backlog_left(PGconn *conn)
{
	return query_int(conn, "SELECT archive_queue FROM gamestate.stat_memory");
}

/* backlog_wait: until nothing waits for the archiver any more */
void
backlog_wait(PGconn *control)
{
	int64_t left = backlog_left(control);
	int64_t deadline = now_ns() + PATIENCE_NS;

	PQclear(query(control, "SELECT gamestate.resume_archiving()", 0, NULL));
	while (left > 0)
	{
		int64_t before = left;

		nanosleep(&(struct timespec){0, 10000000}, NULL);
		left = backlog_left(control);
		if (left < before)
			deadline = now_ns() + PATIENCE_NS;
		if (now_ns() > deadline)
			die("%lld finished games are not being archived", (long long) left);
	}
}

/*
 * backlog_create: keep the archiver from inserting while its backlog is made, with
 * a lock that lets readers pass.  Returns the connection that has the lock: the
 * end of its transaction lets the archiver go.
 */
PGconn *
backlog_create(PGconn *control, const Options *options)
{
	PGconn *gate = connect_server(options);

	/* The partitions should be there already. */
	make_finished(control, 1);
	backlog_wait(control);
	PQclear(query(gate, "BEGIN", 0, NULL));
	PQclear(query(gate, "LOCK TABLE gamestate.archive IN SHARE MODE", 0, NULL));
	make_finished(control, options->backlog);
	return gate;
}
