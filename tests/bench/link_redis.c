/*
 * A connection to Redis, with hiredis, in its non-blocking mode.
 */
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "gs_bench.h"

#define SHA1_HEX   40
#define MAX_PARAMS 5

struct Link
{
	redisContext *context;
	char script[SHA1_HEX + 1];
	redisReply *given; /* the one handed out last */
};

/* The script is loaded once and called by its hash, as a client library does. */
static void
load_script(Link *link, const Options *options)
{
	redisContext *context = redisConnectUnix(options->redis);
	redisReply *reply;

	if (context == NULL || context->err)
		die("Redis: %s", context ? context->errstr : "out of memory");
	reply = redisCommand(context, "SCRIPT LOAD %s", options->workload->statement);
	if (reply == NULL || reply->type != REDIS_REPLY_STRING || reply->len != SHA1_HEX)
		die("Redis: SCRIPT LOAD: %s", reply ? reply->str : context->errstr);
	memcpy(link->script, reply->str, SHA1_HEX + 1);
	freeReplyObject(reply);
	redisFree(context);
}

static Link *
open_link(const Options *options)
{
	Link *link = must_alloc(sizeof(Link));

	load_script(link, options);
	link->context = redisConnectUnixNonBlock(options->redis);
	if (link->context == NULL || link->context->err)
		die("Redis: %s", link->context ? link->context->errstr : "out of memory");
	return link;
}

static int
socket_of(Link *link)
{
	return link->context->fd;
}

static void
send_call(Link *link, int nparams, const char *const *params)
{
	const char *argv[3 + MAX_PARAMS] = {"EVALSHA", link->script, "0"};
	size_t lens[3 + MAX_PARAMS];

	for (int i = 0; i < nparams; i++)
		argv[3 + i] = params[i];
	for (int i = 0; i < 3 + nparams; i++)
		lens[i] = strlen(argv[i]);
	if (redisAppendCommandArgv(link->context, 3 + nparams, argv, lens) != REDIS_OK)
		die("Redis: %s", link->context->errstr);
}

static bool
flush_link(Link *link)
{
	int done = 0;

	if (redisBufferWrite(link->context, &done) != REDIS_OK)
		die("Redis: %s", link->context->errstr);
	return !done;
}

static void
receive(Link *link)
{
	if (redisBufferRead(link->context) != REDIS_OK)
		die("Redis: %s", link->context->errstr);
}

static bool
answer(Link *link, Value *value)
{
	static _Thread_local char number[24];
	void *reply = NULL;

	if (link->given)
		freeReplyObject(link->given);
	link->given = NULL;
	if (redisGetReplyFromReader(link->context, &reply) != REDIS_OK)
		die("Redis: %s", link->context->errstr);
	if (reply == NULL)
		return false;
	link->given = reply;
	if (link->given->type == REDIS_REPLY_INTEGER)
	{
		value->len =
			snprintf(number, sizeof(number), "%lld", (long long) link->given->integer);
		value->text = number;
	}
	else if (link->given->type == REDIS_REPLY_STRING)
	{
		value->text = link->given->str;
		value->len = (int) link->given->len;
	}
	else
		die("Redis: %s", link->given->str ? link->given->str : "unexpected reply");
	return true;
}

static void
close_link(Link *link)
{
	if (link->given)
		freeReplyObject(link->given);
	redisFree(link->context);
	free(link);
}

const LinkKind link_redis = {open_link, socket_of, send_call, flush_link,
							 receive,	answer,	   close_link};
