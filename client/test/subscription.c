/*
 * subscription.c: subscriptions against a server that does what it should, but for
 * sessions that are ended.  Servers that die and take over are the business of
 * tests/t/047_subscription.pl.
 */
#include "lib_test.h"

#include <gamestate_subscription.h>
#include <pthread.h>
#include <stdlib.h>

#include "tap.h"

/* What a subscription was told, a word for each update: "g1.2.move", "current". */
typedef struct Told
{
	char text[4096];
	int updates;
	gamestate_subscription *sub;
	gamestate_subscriber *subscriber;
	void (*then)(struct Told *told, const gamestate_update *update);
} Told;

static gamestate_uuid games[12];
static gamestate_conn *conn;
static gamestate_subscriber *subscriber;

static int
number_of(const gamestate_uuid *id)
{
	for (int i = 0; i < 12; i++)
		if (memcmp(id, &games[i], sizeof(*id)) == 0)
			return i;
	return 99;
}

static void
tell(Told *told, const gamestate_update *update)
{
	size_t len = strlen(told->text);
	char *at = told->text + len;
	size_t room = sizeof(told->text) - len;

	told->updates++;
	if (update->kind == GAMESTATE_UPDATE_CURRENT)
		snprintf(at, room, "%scurrent", len > 0 ? " " : "");
	else if (update->kind == GAMESTATE_UPDATE_NOTICE)
		snprintf(at, room, "%s%d:%s", len > 0 ? " " : "", number_of(&update->game_id),
				 update->what);
	else
		snprintf(at, room, "%s%d.%d.%s", len > 0 ? " " : "", number_of(&update->game_id),
				 (int) update->version, update->what);
}

static void
on_update(void *arg, const gamestate_update *update)
{
	Told *told = arg;

	tell(told, update);
	if (told->then != NULL)
		told->then(told, update);
}

static void
drain_queue(Told *told)
{
	const gamestate_update *update;

	while ((update = gamestate_subscription_next(told->sub)) != NULL)
		tell(told, update);
}

/* Until it has been told this; shows what it was told. */
static void
hears(Told *told, const char *expected, const char *name)
{
	int64_t end = gamestate_now() + 20000;

	while (strcmp(told->text, expected) != 0 && gamestate_now() < end)
	{
		if (gamestate_subscriber_wait(subscriber, 100) == GAMESTATE_CLOSED)
			subscriber = NULL;
		if (told->sub != NULL)
			drain_queue(told);
	}
	/* and nothing more */
	for (int i = 0; i < 3; i++)
		gamestate_subscriber_wait(subscriber, 5);
	if (told->sub != NULL)
		drain_queue(told);
	is(told->text, expected, name);
	told->text[0] = '\0';
}

static void
move_with(int game, const char *event)
{
	gamestate_move move = {.game_id = &games[game], .event = gamestate_text(event)};

	if (gamestate_apply_move(conn, &move, NULL) != GAMESTATE_OK)
		show_error(gamestate_conn_error(conn));
}

static void
move(int game)
{
	move_with(game, "{\"n\":1}");
}

static void
create(int game, const char *type)
{
	gamestate_new_game new_game = {.game_type = type, .state = gamestate_text("{}")};
	gamestate_uuid none = {{0}};

	if (memcmp(&games[game], &none, sizeof(none)) != 0)
		new_game.game_id = &games[game];
	if (gamestate_create_game(conn, &new_game, &games[game]) != GAMESTATE_OK)
		show_error(gamestate_conn_error(conn));
}

static void
finish(int game)
{
	gamestate_finish finish = {.game_id = &games[game]};

	if (gamestate_finish_game(conn, &finish, NULL) != GAMESTATE_OK)
		show_error(gamestate_conn_error(conn));
}

static void
kill_waiters(void)
{
	gamestate_sql(conn,
				  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
				  " WHERE query LIKE '%wait_changes%' AND pid <> pg_backend_pid()",
				  NULL, 0, 0, NULL);
}

static gamestate_subscription *
subscribe(const gamestate_subscription_options *options)
{
	gamestate_subscription *sub;

	if (gamestate_subscribe(subscriber, options, &sub) != GAMESTATE_OK)
		show_error(gamestate_subscriber_error(subscriber));
	return sub;
}

static gamestate_subscriber_stats
stats(void)
{
	gamestate_subscriber_stats now;

	gamestate_subscriber_get_stats(subscriber, &now, sizeof(now));
	return now;
}

static void
open_subscriber(const gamestate_subscriber_options *options)
{
	char why[200];

	conn = must_connect(NULL);
	memset(games, 0, sizeof(games));
	if (gamestate_subscriber_open(NULL, options, &subscriber, why, sizeof(why)) !=
		GAMESTATE_OK)
	{
		printf("# %s\n", why);
		exit(2);
	}
}

static void
close_subscriber(void)
{
	gamestate_subscriber_close(subscriber);
	subscriber = NULL;
	gamestate_conn_close(conn);
}

/* -----------------------------------------------------------------------
 * Games by their ids, games by their type, all games: on one connection
 * -----------------------------------------------------------------------
 */

/* Until the server has it wait for changes. */
static void
let_wait(void)
{
	int64_t end = gamestate_now() + 20000;
	int64_t waiting = 0;

	while (waiting == 0 && gamestate_now() < end)
	{
		gamestate_result *result;

		gamestate_subscriber_wait(subscriber, 10);
		if (gamestate_sql(conn,
						  "SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
						  " 'Extension' AND query LIKE '%gamestate.wait_changes%'",
						  NULL, 0, GAMESTATE_SQL_READ, &result) != GAMESTATE_OK)
			show_error(gamestate_conn_error(conn));
		gamestate_result_int8(result, 0, 0, &waiting);
		gamestate_result_free(result);
	}
}

static void
by_id(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told first = {.subscriber = subscriber};
	Told second = {.subscriber = subscriber};
	gamestate_subscription *sub;

	options.callback = on_update;
	options.arg = &first;
	sub = subscribe(&options);
	second.sub = subscribe(NULL);
	gamestate_subscription_add_game(sub, &games[1], 0);
	gamestate_subscription_add_game(sub, &games[2], 2);
	gamestate_subscription_add_game(second.sub, &games[1], GAMESTATE_FROM_NOW);
	hears(&first, "1.1.create 1.2.move 1.3.move 2.3.move current",
		  "a game from its start, another from the version that is known");
	hears(&second, "current", "from now on");
	move(1);
	move(2);
	move(3);
	hears(&first, "1.4.move 2.4.move", "what comes then, of these games only");
	hears(&second, "1.4.move", "the same change for two subscriptions");
	ok(stats().waits > 0 && stats().connects == 1, "on one connection");

	/* another game, while it waits */
	let_wait();
	gamestate_subscription_add_game(second.sub, &games[3], 1);
	hears(&second, "3.2.move", "a game that is added while it waits");
	ok(stats().interrupts > 0, "whose wait is cut short");
	gamestate_subscription_remove_game(sub, &games[1]);
	move(1);
	move(3);
	hears(&second, "1.5.move 3.3.move", "the other goes on");
	move(2);
	hears(&first, "2.5.move", "a game that was removed is told no more");
	gamestate_subscription_add_game(sub, &games[1], 4);
	hears(&first, "1.5.move", "and added again with its version");
	gamestate_unsubscribe(sub);
	gamestate_unsubscribe(second.sub);
	ok(stats().subscriptions == 0 && stats().games == 0, "all are ended");
}

/* Games and types together: the server sends what somebody follows, and no more. */
static void
by_id_and_type(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told types[2] = {{.subscriber = subscriber}, {.subscriber = subscriber}};
	Told game = {.subscriber = subscriber};
	uint64_t unwanted;

	options.callback = on_update;
	options.arg = &game;
	game.sub = subscribe(&options);
	create(8, "mixed d");
	gamestate_subscription_add_game(game.sub, &games[8], GAMESTATE_FROM_NOW);
	hears(&game, "current", "a game, from now on");
	for (int i = 0; i < 2; i++)
	{
		options.game_type = i == 0 ? "mixed a" : "mixed b";
		options.arg = &types[i];
		types[i].sub = subscribe(&options);
		hears(&types[i], "current", "and a type");
	}
	unwanted = stats().unwanted;
	create(9, "mixed a");
	create(10, "mixed b");
	create(11, "mixed c");
	move(11);
	move(9);
	move(10);
	move(8);
	hears(&types[0], "9.1.create 9.2.move", "one type");
	hears(&types[1], "10.1.create 10.2.move", "another type");
	hears(&game, "8.2.move", "the game");
	ok(stats().unwanted == unwanted, "nothing else was sent");
	gamestate_unsubscribe(game.sub);
	for (int i = 0; i < 2; i++)
		gamestate_unsubscribe(types[i].sub);
}

static void
by_type(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told now = {.subscriber = subscriber};
	Told start = {.subscriber = subscriber};
	Told all = {.subscriber = subscriber};
	gamestate_subscription *from_start;
	gamestate_subscription *everything;

	options.game_type = "a";
	now.sub = subscribe(&options);
	hears(&now, "current", "a type, from now on");
	options.from_start = true;
	options.callback = on_update;
	options.arg = &start;
	from_start = subscribe(&options);
	hears(&start, "2.1.create 2.2.move 2.3.move 2.4.move 2.5.move current",
		  "a type from the start");
	move(2);
	create(4, "a");
	move(4);
	move(1);
	finish(4);
	hears(&now, "2.6.move 4.1.create 4.2.move 4.3.finish", "what comes then");
	hears(&start, "2.6.move 4.1.create 4.2.move 4.3.finish", "also to the other one");

	options.game_type = NULL;
	options.all_games = true;
	options.from_start = false;
	options.arg = &all;
	everything = subscribe(&options);
	hears(&all, "current", "all games");
	create(5, "c");
	move(1);
	hears(&all, "5.1.create 1.7.move", "of all types");
	ok(now.text[0] == '\0' && start.text[0] == '\0', "others are not told of them");
	gamestate_unsubscribe(everything);
	gamestate_unsubscribe(from_start);
	gamestate_unsubscribe(now.sub);
}

/* -----------------------------------------------------------------------
 * What the feed does not have
 * -----------------------------------------------------------------------
 */

static void
lost_connection(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told type = {.subscriber = subscriber};
	Told game = {.subscriber = subscriber};
	gamestate_subscription *of_type;
	gamestate_subscription *sub;

	options.game_type = "lost";
	options.callback = on_update;
	options.arg = &type;
	of_type = subscribe(&options);
	hears(&type, "current", "a type of which there is no game");
	create(6, "lost");
	hears(&type, "6.1.create", "its first game");
	options.game_type = NULL;
	options.arg = &game;
	sub = subscribe(&options);
	gamestate_subscription_add_game(sub, &games[6], GAMESTATE_FROM_NOW);
	hears(&game, "current", "a game from now on");
	for (int i = 0; i < 3; i++)
	{
		uint64_t lost = stats().lost;

		move(6);
		for (int64_t end = gamestate_now() + 20000;
			 stats().lost == lost && gamestate_now() < end;)
		{
			kill_waiters();
			gamestate_subscriber_wait(subscriber, 50);
		}
		move(6);
	}
	hears(&game, "6.2.move 6.3.move 6.4.move 6.5.move 6.6.move 6.7.move",
		  "a connection that is lost three times changes nothing");
	is(type.text, "6.2.move 6.3.move 6.4.move 6.5.move 6.6.move 6.7.move", "for nobody");
	ok(stats().lost >= 3 && stats().connects == stats().lost + 1, "it was lost");
	ok(stats().gaps == 0, "the feed goes on where it was");
	gamestate_unsubscribe(sub);
	gamestate_unsubscribe(of_type);
}

static void
gaps(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told type = {.subscriber = subscriber};
	gamestate_param params[1];
	gamestate_subscription *sub;
	gamestate_uuid born;

	options.game_type = "gap";
	options.callback = on_update;
	options.arg = &type;
	sub = subscribe(&options);
	hears(&type, "current", "a type");
	create(7, "gap");
	hears(&type, "7.1.create", "before the gap");

	/* More than a quarter of the feed in one transaction. */
	params[0] = gamestate_param_uuid(&games[7]);
	gamestate_sql(conn,
				  "SELECT gamestate.apply_move($1, NULL,"
				  " to_json(repeat('x', 7000)), NULL) FROM generate_series(1, 650)",
				  params, 1, 0, NULL);
	for (int64_t end = gamestate_now() + 20000;
		 type.updates < 650 + 3 && gamestate_now() < end;)
	{
		gamestate_subscriber_wait(subscriber, 100);
		type.text[0] = '\0';
	}
	ok(stats().gaps == 1, "the feed has a gap");
	hears(&type, "", "nothing comes twice");
	ok(type.updates == 650 + 3, "every change comes, and the word that it is current: %d",
	   type.updates);
	move(7);
	hears(&type, "7.652.move", "the feed goes on");

	/* Two games while nobody looks, one of them over already. */
	born = games[4];
	memset(&games[4], 0, sizeof(games[4]));
	memset(&games[5], 0, sizeof(games[5]));
	create(4, "gap");
	create(5, "gap");
	finish(5);
	gamestate_sql(conn,
				  "SELECT gamestate.apply_move($1, NULL,"
				  " to_json(repeat('x', 7000)), NULL) FROM generate_series(1, 650)",
				  params, 1, 0, NULL);
	type.updates = 0;
	for (int64_t end = gamestate_now() + 20000;
		 type.updates < 650 + 4 && gamestate_now() < end;)
	{
		gamestate_subscriber_wait(subscriber, 100);
		if (type.updates < 600)
			type.text[0] = '\0';
	}
	ok(type.updates == 650 + 4 && stats().gaps == 2,
	   "games that have come before a gap are told, each change once: %d", type.updates);
	games[4] = born;
	gamestate_unsubscribe(sub);
}

/* Events too large for the feed; states. */
static void
read_each(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told plain = {.subscriber = subscriber};
	Told states = {.subscriber = subscriber};
	char *large = malloc(20002);
	const gamestate_update *update;
	uint64_t reads;

	memset(large, 'x', 20001);
	large[0] = large[20000] = '"';
	large[20001] = '\0';
	plain.sub = subscribe(NULL);
	gamestate_subscription_add_game(plain.sub, &games[2], GAMESTATE_FROM_NOW);
	hears(&plain, "current", "a game");
	move_with(2, large);
	gamestate_subscription_wait(plain.sub, 20000, &update);
	ok(update != NULL && update->event.len == 20001, "an event too large for the feed");
	free(large);
	options.with_states = true;
	states.sub = subscribe(&options);
	gamestate_subscription_add_game(states.sub, &games[2], GAMESTATE_FROM_NOW);
	hears(&states, "current", "with states");
	reads = stats().reads;
	move(2);
	hears(&states, "2.8.move", "a change");
	ok(stats().reads == reads + 1, "is read from the game");
	hears(&plain, "2.8.move", "and from the feed");
	gamestate_unsubscribe(states.sub);
	gamestate_unsubscribe(plain.sub);
}

static void
deleted(void)
{
	Told told = {.subscriber = subscriber};

	told.sub = subscribe(NULL);
	gamestate_subscription_add_game(told.sub, &games[3], 3);
	hears(&told, "current", "a game");
	gamestate_delete_game(conn, &games[3], 0, NULL, NULL);
	create(3, "a");
	move(3);
	hears(&told, "3.0.delete 3.1.create 3.2.move", "is deleted, and its id used again");
	gamestate_subscription_remove_game(told.sub, &games[3]);
	gamestate_subscription_add_game(told.sub, &games[3], 3);
	hears(&told, "3.0.reset 3.1.create 3.2.move",
		  "somebody comes with a version that does not exist");
	gamestate_subscription_remove_game(told.sub, &games[3]);
	gamestate_delete_game(conn, &games[3], 0, NULL, NULL);
	gamestate_subscription_add_game(told.sub, &games[3], 2);
	hears(&told, "3.0.delete", "or of a game that is gone");
	create(3, "a");
	hears(&told, "3.1.create", "and comes back");
	gamestate_unsubscribe(told.sub);
}

/* -----------------------------------------------------------------------
 * Queues
 * -----------------------------------------------------------------------
 */

static void
full_queue(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told slow = {.subscriber = subscriber};
	Told quick = {.subscriber = subscriber};
	char expected[4096] = "";
	int most = 0;

	options.max_queued = 5;
	slow.sub = subscribe(&options);
	quick.sub = subscribe(NULL);
	gamestate_subscription_add_game(slow.sub, &games[1], GAMESTATE_FROM_NOW);
	gamestate_subscription_add_game(quick.sub, &games[1], GAMESTATE_FROM_NOW);
	hears(&slow, "current", "a queue of five");
	hears(&quick, "current", "and a larger one");
	for (int i = 0; i < 40; i++)
	{
		move(1);
		gamestate_subscriber_wait(subscriber, i < 10 ? 100 : 1);
		if (gamestate_subscription_queued(slow.sub) > most)
			most = gamestate_subscription_queued(slow.sub);
		drain_queue(&quick);
	}
	ok(stats().paused && stats().pauses == 1 && most == 5,
	   "is full with five updates: %d", most);
	ok(quick.updates < 40, "nobody is told more then");
	for (int i = 0; i < 40; i++)
		snprintf(expected + strlen(expected), 100, "%s1.%d.move", i > 0 ? " " : "",
				 8 + i);
	hears(&slow, expected, "what was missed comes when there is room");
	hears(&quick, expected, "also for the other");
	ok(!stats().paused, "it goes on");
	gamestate_unsubscribe(slow.sub);
	gamestate_unsubscribe(quick.sub);
}

/* -----------------------------------------------------------------------
 * Callbacks that end things
 * -----------------------------------------------------------------------
 */

static gamestate_subscription *other;

static void
end_both(Told *told, const gamestate_update *update)
{
	if (update->kind != GAMESTATE_UPDATE_CHANGE)
		return;
	ok(gamestate_subscriber_process(told->subscriber) == GAMESTATE_BAD_CALL &&
		   gamestate_subscriber_wait(told->subscriber, 1) == GAMESTATE_BAD_CALL,
	   "a callback may not process its subscriber");
	gamestate_subscription_remove_game(update->subscription, &games[1]);
	gamestate_unsubscribe(other);
	gamestate_unsubscribe(update->subscription);
}

static void
close_it(Told *told, const gamestate_update *update)
{
	if (update->kind == GAMESTATE_UPDATE_CHANGE)
		gamestate_subscriber_close(told->subscriber);
}

static void
ending(void)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	Told first = {.subscriber = subscriber, .then = end_both};
	Told second = {.subscriber = subscriber};
	gamestate_subscription *sub;

	options.callback = on_update;
	options.arg = &second;
	other = subscribe(&options);
	options.arg = &first;
	sub = subscribe(&options);
	gamestate_subscription_add_game(other, &games[1], GAMESTATE_FROM_NOW);
	gamestate_subscription_add_game(sub, &games[1], GAMESTATE_FROM_NOW);
	hears(&first, "current", "two subscriptions");
	second.text[0] = '\0';
	move(1);
	move(1);
	hears(&first, "1.48.move", "the first change ends both");
	ok(second.updates <= 2, "the other is told nothing after that");
	ok(stats().subscriptions == 0, "none is left");

	first.then = close_it;
	options.arg = &first;
	sub = subscribe(&options);
	gamestate_subscription_add_game(sub, &games[1], GAMESTATE_FROM_NOW);
	hears(&first, "current", "a last one");
	move(1);
	hears(&first, "1.50.move", "closes the subscriber");
	subscriber = NULL;
}

int
scenario_subscriptions(void)
{
	open_subscriber(NULL);
	create(1, "b");
	create(2, "a");
	create(3, "b");
	move(1);
	move(1);
	move(2);
	move(2);
	by_id();
	by_id_and_type();
	by_type();
	lost_connection();
	gaps();
	read_each();
	deleted();
	full_queue();
	ending();
	close_subscriber();
	return tap_done();
}

/* A subscriber in each of several threads. */

static void *
follow(void *arg)
{
	gamestate_subscription_options options = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	gamestate_subscriber *own;
	gamestate_subscription *sub;
	const gamestate_update *update;
	int64_t version = 0;

	gamestate_subscriber_open(NULL, NULL, &own, NULL, 0);
	gamestate_subscribe(own, &options, &sub);
	gamestate_subscription_add_game(sub, arg, 0);
	while (version < 200 &&
		   gamestate_subscription_wait(sub, 20000, &update) == GAMESTATE_OK)
	{
		if (update->kind != GAMESTATE_UPDATE_CHANGE)
			continue;
		if (update->version != version + 1)
			break;
		version = update->version;
		/* makes it cancel a wait */
		if (version % 50 == 0)
		{
			gamestate_uuid nobodys;

			gamestate_uuid_generate(&nobodys);
			gamestate_subscription_add_game(sub, &nobodys, 0);
		}
	}
	gamestate_subscriber_close(own);
	return (void *) (intptr_t) version;
}

int
scenario_subscribers(void)
{
	pthread_t threads[4];
	void *told;

	open_subscriber(NULL);
	create(6, "threads");
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, follow, &games[6]);
	for (int i = 1; i < 200; i++)
		move(6);
	for (int i = 0; i < 4; i++)
	{
		pthread_join(threads[i], &told);
		ok((intptr_t) told == 200, "thread %d is told everything: %d", i,
		   (int) (intptr_t) told);
	}
	close_subscriber();
	return tap_done();
}
