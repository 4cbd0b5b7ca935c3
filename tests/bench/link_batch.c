/*
 * A connection to PostgreSQL that makes its moves with apply_moves(): what has
 * been queued when the link is flushed is one call.  The next one goes out when
 * all answers of the one before have been taken.
 *
 * Arrays are sent in PostgreSQL's binary format, as a game server's driver would.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "gs_bench.h"

#define NARRAYS 5

static const unsigned types[NARRAYS] = {2950, 20, 114, 114, 25}; /* of the elements */

/* An array in the making: header, then a length and the bytes of each element. */
typedef struct Array
{
	char *bytes;
	size_t len;
	size_t size;
} Array;

struct Link
{
	PGconn *conn;
	Array arrays[NARRAYS];
	int queued;
	bool in_flight;
	PGresult *got;
	int next; /* row of the next answer */
};

static void
add_bytes(Array *array, const void *bytes, size_t len)
{
	if (array->len + len > array->size)
	{
		array->size = (array->len + len) * 2;
		array->bytes = realloc(array->bytes, array->size);
		if (!array->bytes)
			die("out of memory");
	}
	memcpy(array->bytes + array->len, bytes, len);
	array->len += len;
}

static void
add_int32(Array *array, int32_t value)
{
	uint32_t wire = htonl((uint32_t) value);

	add_bytes(array, &wire, sizeof(wire));
}

static void
clear(Link *link)
{
	for (int i = 0; i < NARRAYS; i++)
	{
		Array *array = &link->arrays[i];

		array->len = 0;
		add_int32(array, 1); /* dimensions */
		add_int32(array, 1); /* there may be nulls */
		add_int32(array, (int32_t) types[i]);
		add_int32(array, 0); /* number of elements: set when it is sent */
		add_int32(array, 1); /* lower bound */
	}
	link->queued = 0;
}

static Link *
open_link(const Options *options)
{
	Link *link = must_alloc(sizeof(Link));
	PGresult *res;

	if (options->workload->arguments != ARGS_MOVE)
		die("only moves go in batches");
	link->conn = connect_server(options);
	res = PQprepare(link->conn, "w", options->workload->statement, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("prepare: %s", PQerrorMessage(link->conn));
	PQclear(res);
	PQsetnonblocking(link->conn, 1);
	clear(link);
	return link;
}

static int
socket_of(Link *link)
{
	return PQsocket(link->conn);
}

static void
add_uuid(Array *array, const char *text)
{
	unsigned char bytes[16];
	int n = 0;

	for (const char *p = text; *p && n < 32; p++)
	{
		int digit = *p >= 'a' ? *p - 'a' + 10 : *p - '0';

		if (*p == '-')
			continue;
		bytes[n / 2] = (unsigned char) (n % 2 ? bytes[n / 2] | digit : digit << 4);
		n++;
	}
	add_int32(array, sizeof(bytes));
	add_bytes(array, bytes, sizeof(bytes));
}

static void
add_text(Array *array, const char *text)
{
	add_int32(array, (int32_t) strlen(text));
	add_bytes(array, text, strlen(text));
}

static void
send_call(Link *link, int nparams, const char *const *params)
{
	long long version = atoll(params[1]);

	(void) nparams;
	add_uuid(&link->arrays[0], params[0]);
	add_int32(&link->arrays[1], sizeof(int64_t));
	add_int32(&link->arrays[1], (int32_t) (version >> 32));
	add_int32(&link->arrays[1], (int32_t) version);
	for (int i = 2; i < NARRAYS; i++)
		add_text(&link->arrays[i], params[i]);
	link->queued++;
}

static bool
flush_link(Link *link)
{
	int left;

	if (link->queued > 0 && !link->in_flight)
	{
		const char *values[NARRAYS];
		int lengths[NARRAYS];
		int formats[NARRAYS];
		uint32_t n = htonl((uint32_t) link->queued);

		for (int i = 0; i < NARRAYS; i++)
		{
			memcpy(link->arrays[i].bytes + 12, &n, sizeof(n));
			values[i] = link->arrays[i].bytes;
			lengths[i] = (int) link->arrays[i].len;
			formats[i] = 1;
		}
		if (!PQsendQueryPrepared(link->conn, "w", NARRAYS, values, lengths, formats, 0))
			die("send: %s", PQerrorMessage(link->conn));
		link->in_flight = true;
		clear(link);
	}
	left = PQflush(link->conn);
	if (left < 0)
		die("send: %s", PQerrorMessage(link->conn));
	return left == 1;
}

static void
receive(Link *link)
{
	if (!PQconsumeInput(link->conn))
		die("receive: %s", PQerrorMessage(link->conn));
	while (link->in_flight && !PQisBusy(link->conn))
	{
		PGresult *res = PQgetResult(link->conn);

		if (res == NULL)
			link->in_flight = false; /* the transaction is over */
		else if (PQresultStatus(res) != PGRES_TUPLES_OK)
			die("%s", PQresultErrorMessage(res));
		else
		{
			PQclear(link->got);
			link->got = res;
			link->next = 0;
		}
	}
}

static bool
answer(Link *link, Value *value)
{
	if (link->in_flight || link->got == NULL || link->next == PQntuples(link->got))
		return false;
	if (!PQgetisnull(link->got, link->next, 1))
		die("%s", PQgetvalue(link->got, link->next, 1));
	value->text = PQgetvalue(link->got, link->next, 0);
	value->len = PQgetlength(link->got, link->next, 0);
	link->next++;
	return true;
}

static void
close_link(Link *link)
{
	PQclear(link->got);
	PQfinish(link->conn);
	for (int i = 0; i < NARRAYS; i++)
		free(link->arrays[i].bytes);
	free(link);
}

const LinkKind link_batch = {open_link, socket_of, send_call, flush_link,
							 receive,	answer,	   close_link};
