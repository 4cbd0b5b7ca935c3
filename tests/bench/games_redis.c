/*
 * The workload's games in Redis: a hash with version and state, and a list of
 * events, for each game.
 *
 * Before a measurement the append-only file is written anew, empty, and while it
 * runs it is not rewritten (redis.sh), just as PostgreSQL gets a checkpoint
 * before and none meanwhile.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hiredis/hiredis.h>

#include "gs_bench.h"

static redisContext *
connect_redis(const Options *options)
{
	redisContext *context = redisConnectUnix(options->redis);

	if (context == NULL || context->err)
		die("Redis at %s: %s", options->redis, context ? context->errstr : "no memory");
	return context;
}

/* run: a command without spaces in its words; dies if it fails */
static redisReply *
run(redisContext *context, const char *command)
{
	redisReply *reply = redisCommand(context, command);

	if (reply == NULL)
		die("Redis: %s: %s", command, context->errstr);
	if (reply->type == REDIS_REPLY_ERROR)
		die("Redis: %s: %s", command, reply->str);
	return reply;
}

/* An empty append-only file. */
static void
rewrite_file(redisContext *context)
{
	bool busy = true;

	freeReplyObject(run(context, "BGREWRITEAOF"));
	for (int i = 0; busy && i < 3000; i++)
	{
		redisReply *reply = run(context, "INFO persistence");

		busy = strstr(reply->str, "aof_rewrite_in_progress:1") != NULL ||
			   strstr(reply->str, "aof_rewrite_scheduled:1") != NULL;
		if (!busy && strstr(reply->str, "aof_last_bgrewrite_status:ok") == NULL)
			die("Redis could not rewrite its append-only file");
		freeReplyObject(reply);
		if (busy)
			nanosleep(&(struct timespec){0, 10000000}, NULL);
	}
	if (busy)
		die("Redis does not finish rewriting its append-only file");
}

void
redis_games_create(const Options *options, Game *games, char *const *states)
{
	redisContext *context = connect_redis(options);

	freeReplyObject(run(context, "FLUSHALL"));
	freeReplyObject(run(context, options->sync ? "CONFIG SET appendfsync always"
											   : "CONFIG SET appendfsync everysec"));
	for (int i = 0; i < options->games; i++)
	{
		redisReply *reply = redisCommand(context, "HSET game:%s version 1 state %s",
										 games[i].id, states[i]);

		if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != 2)
			die("Redis: HSET: %s", reply && reply->str ? reply->str : context->errstr);
		freeReplyObject(reply);
	}
	rewrite_file(context);
	redisFree(context);
}

/* redis_games_check: as games_check() */
void
redis_games_check(const Options *options, const Game *games)
{
	redisContext *context = connect_redis(options);

	for (int i = 0; i < options->games; i++)
	{
		const Game *game = &games[i];
		redisReply *reply =
			redisCommand(context, "HMGET game:%s version state", game->id);

		if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
			reply->element[0]->str == NULL || reply->element[1]->str == NULL)
			die("Redis: HMGET failed");
		if (atoll(reply->element[0]->str) != game->version)
			die("game %s has version %s in Redis, acknowledged was %lld", game->id,
				reply->element[0]->str, (long long) game->version);
		if (strcmp(reply->element[1]->str, game->state) != 0)
			die("game %s: the state in Redis is not the one written last", game->id);
		freeReplyObject(reply);

		reply = redisCommand(context, "LLEN log:%s", game->id);
		if (reply == NULL || reply->type != REDIS_REPLY_INTEGER ||
			reply->integer != game->version - 1)
			die("game %s has %lld moves in its log in Redis, acknowledged were %lld",
				game->id, reply ? reply->integer : -1, (long long) game->version - 1);
		freeReplyObject(reply);
	}
	redisFree(context);
}

void
redis_games_remove(const Options *options)
{
	redisContext *context = connect_redis(options);

	freeReplyObject(run(context, "FLUSHALL"));
	redisFree(context);
}
