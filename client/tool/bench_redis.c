/*
 * bench_redis.c: games of `gamestate bench` in Redis, the way game servers keep
 * them there: a hash with version, status and state and a list of events for
 * each game, and a script for each change, which checks the version.
 *
 * The model:
 * 1. hiredis, without its event loop: requests are appended to its buffer and
 *    answered in their order, so those in flight stand in a ring.
 * 2. A script is loaded once and called by its hash, as client libraries do it.
 * 3. All keys of a game share a hash tag, and begin with a name of ours.
 *    Afterwards all keys that begin so are removed, those of earlier runs, too.
 */
#include "bench_link.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#define KEY_PREFIX	 BENCH_GAME_TYPE ":"
#define KEY_SIZE	 (sizeof(KEY_PREFIX) + GAMESTATE_UUID_TEXT + sizeof("{}:game"))
#define SHA1_HEX	 40
#define NUMBER_TEXT	 24
#define DEFAULT_PORT 6379
#define MAX_ARGS	 8
#define SCAN_AT_ONCE "1000"

static const char move_script[] =
	"local v = redis.call('HGET', KEYS[1], 'version')\n"
	"if not v then return redis.error_reply('no such game') end\n"
	"if ARGV[1] ~= '0' and ARGV[1] ~= v then return redis.error_reply('stale version') "
	"end\n"
	"redis.call('HSET', KEYS[1], 'state', ARGV[3])\n"
	"redis.call('RPUSH', KEYS[2], ARGV[2])\n"
	"return redis.call('HINCRBY', KEYS[1], 'version', 1)";

static const char finish_script[] =
	"if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('no such game') "
	"end\n"
	"redis.call('HSET', KEYS[1], 'status', 'finished')\n"
	"return redis.call('HINCRBY', KEYS[1], 'version', 1)";

typedef struct RedisCall
{
	BenchCall kind;
	gamestate_uuid id; /* of a game that is created */
	BenchTake take;
	void *owner;
} RedisCall;

typedef struct RedisLink
{
	BenchLink link; /* must be first */
	redisContext *context;
	bool unsent;
	char move_hash[SHA1_HEX + 1];
	char finish_hash[SHA1_HEX + 1];
	int depth; /* of the ring */
	int first;
	int count;
	RedisCall *ring;
} RedisLink;

static RedisLink *
as_redis(BenchLink *link)
{
	return (RedisLink *) link;
}

/* ---- requests ---- */

typedef struct Command
{
	int argc;
	const char *argv[MAX_ARGS];
	size_t lens[MAX_ARGS];
} Command;

static void
add_bytes(Command *command, const void *data, size_t len)
{
	command->argv[command->argc] = data;
	command->lens[command->argc++] = len;
}

static void
add(Command *command, const char *text)
{
	add_bytes(command, text, strlen(text));
}

static void
make_key(char key[KEY_SIZE], const gamestate_uuid *id, const char *what)
{
	char text[GAMESTATE_UUID_TEXT];

	gamestate_uuid_format(id, text);
	snprintf(key, KEY_SIZE, KEY_PREFIX "{%s}:%s", text, what);
}

static bool
redis_send(BenchLink *base, const BenchRequest *request, BenchTake take, void *owner)
{
	RedisLink *link = as_redis(base);
	RedisCall *open = &link->ring[(link->first + link->count) % link->depth];
	const gamestate_uuid *id = request->id;
	char game[KEY_SIZE];
	char log[KEY_SIZE];
	char expected[NUMBER_TEXT];
	Command command = {0};

	*open = (RedisCall){.kind = request->kind, .take = take, .owner = owner};
	if (request->kind == BENCH_CREATE)
	{
		if (!gamestate_uuid_generate(&open->id))
		{
			log_error("the system gives no random numbers");
			return false;
		}
		id = &open->id;
	}
	make_key(game, id, "game");
	make_key(log, id, "log");
	snprintf(expected, sizeof(expected), "%lld", (long long) request->expected);
	switch (request->kind)
	{
		case BENCH_CREATE:
			add(&command, "HSET");
			add(&command, game);
			add(&command, "version");
			add(&command, "1");
			add(&command, "status");
			add(&command, "active");
			add(&command, "state");
			add_bytes(&command, request->state.data, request->state.len);
			break;
		case BENCH_MOVE:
			add(&command, "EVALSHA");
			add(&command, link->move_hash);
			add(&command, "2");
			add(&command, game);
			add(&command, log);
			add(&command, expected);
			add_bytes(&command, request->event.data, request->event.len);
			add_bytes(&command, request->state.data, request->state.len);
			break;
		case BENCH_FINISH:
			add(&command, "EVALSHA");
			add(&command, link->finish_hash);
			add(&command, "1");
			add(&command, game);
			break;
		case BENCH_GET:
		case BENCH_VERSION:
			add(&command, "HGET");
			add(&command, game);
			add(&command, request->kind == BENCH_GET ? "state" : "version");
			break;
		case BENCH_FORGET:
			add(&command, "DEL");
			add(&command, game);
			add(&command, log);
			break;
	}
	if (redisAppendCommandArgv(link->context, command.argc, command.argv, command.lens) !=
		REDIS_OK)
	{
		log_error("could not send to Redis: %s", link->context->errstr);
		return false;
	}
	link->count++;
	link->unsent = true;
	return true;
}

/* Is it what such a request is answered with? */
static bool
read_reply(const RedisCall *call, const redisReply *reply, BenchAnswer *answer)
{
	bool number = reply->type == REDIS_REPLY_INTEGER;

	switch (call->kind)
	{
		case BENCH_CREATE:
			answer->id = call->id;
			return number;
		case BENCH_MOVE:
		case BENCH_FINISH:
			answer->version = number ? reply->integer : 0;
			return number;
		case BENCH_GET:
			answer->state_len = reply->type == REDIS_REPLY_STRING ? reply->len : 0;
			return reply->type == REDIS_REPLY_STRING;
		case BENCH_VERSION:
			if (reply->type != REDIS_REPLY_STRING)
				return false;
			answer->version = strtoll(reply->str, NULL, 10);
			return true;
		case BENCH_FORGET:
			return number;
	}
	return false;
}

static void
take_reply(RedisLink *link, const redisReply *reply)
{
	RedisCall call = link->ring[link->first];
	BenchAnswer answer = {0};

	link->first = (link->first + 1) % link->depth;
	link->count--;
	answer.ok = read_reply(&call, reply, &answer);
	if (!answer.ok)
		log_error("Redis: %s",
				  reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected reply");
	call.take(call.owner, &answer);
}

static bool
redis_process(BenchLink *base)
{
	RedisLink *link = as_redis(base);
	int sent = 0;
	bool ok = redisBufferWrite(link->context, &sent) == REDIS_OK &&
			  redisBufferRead(link->context) == REDIS_OK;

	link->unsent = !sent;
	while (ok)
	{
		void *reply = NULL;

		ok = redisGetReplyFromReader(link->context, &reply) == REDIS_OK;
		if (!ok || reply == NULL)
			break;
		take_reply(link, reply);
		freeReplyObject(reply);
	}
	if (!ok)
		log_error("lost the connection to Redis: %s", link->context->errstr);
	return ok;
}

static int
redis_socket(BenchLink *base)
{
	return as_redis(base)->context->fd;
}

static int
redis_wants(BenchLink *base)
{
	return GAMESTATE_WANTS_READ | (as_redis(base)->unsent ? GAMESTATE_WANTS_WRITE : 0);
}

/* ---- before and after ---- */

/* Shall calls of hiredis wait?  Not while something is measured. */
static void
set_waiting(redisContext *context, bool waiting)
{
	int flags = fcntl(context->fd, F_GETFL);

	(void) fcntl(context->fd, F_SETFL,
				 waiting ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
	context->flags =
		waiting ? context->flags | REDIS_BLOCK : context->flags & ~REDIS_BLOCK;
}

/* HOST, HOST:PORT or the path of a socket. */
static redisContext *
connect_redis(const char *address)
{
	const char *colon = strrchr(address, ':');
	int port = colon != NULL ? atoi(colon + 1) : DEFAULT_PORT;
	char *host = xstrdup(address);
	redisContext *context;

	if (colon != NULL)
		host[colon - address] = '\0';
	context = address[0] == '/' ? redisConnectUnix(address) : redisConnect(host, port);
	free(host);
	if (context != NULL && context->err == 0)
		return context;
	log_error("could not connect to Redis at \"%s\": %s", address,
			  context != NULL ? context->errstr : "out of memory");
	log_hint("--redis names another one: HOST, HOST:PORT or the path of a socket.");
	if (context != NULL)
		redisFree(context);
	return NULL;
}

/* A command that is waited for; NULL after a message, else to be freed. */
static redisReply *
run(redisContext *context, int argc, const char *const *argv)
{
	redisReply *reply = redisCommandArgv(context, argc, (const char **) argv, NULL);

	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return reply;
	log_error("Redis: %s failed: %s", argv[0],
			  reply != NULL ? reply->str : context->errstr);
	freeReplyObject(reply);
	return NULL;
}

/* The password is where redis-cli looks for it. */
static bool
log_in(redisContext *context)
{
	const char *password = getenv("REDISCLI_AUTH");
	redisReply *reply;

	if (password == NULL)
		return true;
	reply = run(context, 2, (const char *const[]){"AUTH", password});
	freeReplyObject(reply);
	return reply != NULL;
}

static bool
load_script(redisContext *context, const char *script, char hash[SHA1_HEX + 1])
{
	redisReply *reply = run(context, 3, (const char *const[]){"SCRIPT", "LOAD", script});
	bool ok =
		reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == SHA1_HEX;

	if (ok)
		memcpy(hash, reply->str, SHA1_HEX + 1);
	freeReplyObject(reply);
	return ok;
}

static bool
redis_prepare(BenchLink *base, BenchStore store)
{
	(void) base;
	(void) store;
	return true;
}

/* One step of going through all keys; false when it was the last, or failed. */
static bool
remove_some(redisContext *context, char cursor[NUMBER_TEXT])
{
	static const char all_ours[] = KEY_PREFIX "*";
	redisReply *found = run(context, 6,
							(const char *const[]){"SCAN", cursor, "MATCH", all_ours,
												  "COUNT", SCAN_AT_ONCE});
	redisReply *keys;

	if (found == NULL || found->type != REDIS_REPLY_ARRAY || found->elements != 2)
	{
		freeReplyObject(found);
		return false;
	}
	snprintf(cursor, NUMBER_TEXT, "%s", found->element[0]->str);
	keys = found->element[1];
	for (size_t i = 0; i < keys->elements; i++)
		freeReplyObject(
			run(context, 2, (const char *const[]){"UNLINK", keys->element[i]->str}));
	freeReplyObject(found);
	return strcmp(cursor, "0") != 0;
}

/* Waits again from here on: nothing is measured any more. */
static void
redis_clean_up(BenchLink *base, BenchStore store)
{
	RedisLink *link = as_redis(base);
	char cursor[NUMBER_TEXT] = "0";

	(void) store;
	if (link->context->err != 0 || link->count > 0)
		return;
	set_waiting(link->context, true);
	while (remove_some(link->context, cursor))
		;
}

/* A setting; "?" where it may not be asked for. */
static void
add_setting(Buf *out, redisContext *context, const char *name)
{
	redisReply *reply = redisCommand(context, "CONFIG GET %s", name);

	buf_printf(out, ", %s = %s", name,
			   reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
				   ? reply->element[1]->str
				   : "?");
	freeReplyObject(reply);
}

static char *
redis_describe(BenchLink *base)
{
	redisContext *context = as_redis(base)->context;
	redisReply *info;
	const char *version = NULL;
	Buf out = {0};

	set_waiting(context, true);
	info = redisCommand(context, "INFO server");
	if (info != NULL && info->type == REDIS_REPLY_STRING)
		version = strstr(info->str, "redis_version:");
	buf_puts(&out, "Redis");
	if (version != NULL)
	{
		version += strlen("redis_version:");
		buf_putc(&out, ' ');
		buf_append(&out, version, strcspn(version, "\r\n"));
	}
	freeReplyObject(info);
	add_setting(&out, context, "appendonly");
	add_setting(&out, context, "appendfsync");
	set_waiting(context, false);
	return out.data;
}

static void
redis_close(BenchLink *base)
{
	RedisLink *link = as_redis(base);

	redisFree(link->context);
	free(link->ring);
	free(link);
}

static const BenchLinkOps redis_ops = {redis_prepare, redis_clean_up, redis_describe,
									   redis_send,	  redis_socket,	  redis_wants,
									   redis_process, redis_close};

BenchLink *
bench_link_redis(const char *address, int depth)
{
	redisContext *context = connect_redis(address);
	RedisLink *link;

	if (context == NULL)
		return NULL;
	link = xcalloc(1, sizeof(*link));
	link->link.ops = &redis_ops;
	link->context = context;
	link->depth = depth;
	link->ring = xcalloc((size_t) depth, sizeof(RedisCall));
	if (log_in(context) && load_script(context, move_script, link->move_hash) &&
		load_script(context, finish_script, link->finish_hash))
	{
		set_waiting(context, false);
		return &link->link;
	}
	redis_close(&link->link);
	return NULL;
}
