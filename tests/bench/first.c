/*
 * How long after its start a server answers get_state for the first time: loading
 * the games takes that long.
 *
 * The server is being started by somebody else meanwhile.  Its time of readiness
 * is when it first lets us in, asked every 2 milliseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gs_bench.h"

#define PATIENCE_NS 600000000000LL
#define LINE_SIZE	1024

/* Where the server listens: lines 4 and 5 of its postmaster.pid, once they are there. */
static bool
find_server(const char *directory, char *port, char *host)
{
	char path[1024];
	char line[LINE_SIZE];
	int n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/postmaster.pid", directory);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (n < 5 && fgets(line, sizeof(line), file) != NULL && strchr(line, '\n'))
	{
		line[strcspn(line, "\n")] = '\0';
		n++;
		if (n == 4)
			snprintf(port, LINE_SIZE, "%s", line);
		else if (n == 5)
			snprintf(host, LINE_SIZE, "%s", line);
	}
	fclose(file);
	return n == 5 && host[0] != '\0';
}

/* first_answer: print the seconds until we were let in, and from then to the answer */
void
first_answer(const char *directory, const char *id)
{
	int64_t begin = now_ns();
	int64_t ready;
	PGconn *conn = NULL;
	PGresult *res;
	const char *params[] = {id};

	for (;;)
	{
		char port[LINE_SIZE] = "";
		char host[LINE_SIZE] = "";

		ready = now_ns();
		if (find_server(directory, port, host))
		{
			conn = PQconnectdbParams((const char *[]){"host", "port", "user", "dbname",
													  NULL},
									 (const char *[]){host, port, "postgres", "postgres",
													  NULL},
									 0);
			if (PQstatus(conn) == CONNECTION_OK)
				break;
			PQfinish(conn);
		}
		if (now_ns() > begin + PATIENCE_NS)
			die("the server in %s does not start", directory);
		nanosleep(&(struct timespec){0, 2000000}, NULL);
	}
	res = query(conn, "SELECT gamestate.get_state($1::uuid)", 1, params);
	if (PQntuples(res) != 1 || PQgetisnull(res, 0, 0))
		die("game %s is not there after the start", id);
	printf("{\"recovery_s\":%.3f,\"load_s\":%.3f}\n", (double) (ready - begin) / 1e9,
		   (double) (now_ns() - ready) / 1e9);
	PQclear(res);
	PQfinish(conn);
}
