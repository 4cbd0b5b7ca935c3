/*-------------------------------------------------------------------------
 *
 * follower.c
 *	  Follows games through subscriptions while a test does something to the
 *	  servers, and writes down what it was told.
 *
 * The model:
 *
 * 1. Each -t, -a and -g begins a subscription, all of one subscriber: -t TYPE, -a
 *	  all games, -g GAME,GAME,... by their ids.  Options before it are its own:
 *	  -s from the start, -w with states, -p with a queue, from which one update is
 *	  taken every DELAY microseconds (-d).
 * 2. A line for each update goes to the file OUT, in the form of COPY: number of the
 *	  subscription, kind, game, version, what, player, time (microseconds since
 *	  1970), event, state.  The test compares them with the games' logs.
 * 3. At SIGTERM it reports what it has counted, as key=value lines.
 *
 * usage: follower [-s] [-w] [-p] [-d DELAY] [-t TYPE] [-a] [-g GAMES] ...
 *                 [-q MAX-QUEUED] [-W WAIT] [-C CONNECT-TIMEOUT] [-A ANSWER-TIMEOUT]
 *                 [-e EVENTS] OUT CONNINFO
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate_subscription.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SUBSCRIPTIONS 16

typedef struct Follower
{
	int number;
	bool polled;
	gamestate_subscription_options options;
	char *games;
	gamestate_subscription *subscription;
} Follower;

static Follower followers[MAX_SUBSCRIPTIONS];
static int num_followers;
static gamestate_subscriber_options options = GAMESTATE_SUBSCRIBER_OPTIONS_INIT;
static gamestate_subscriber *subscriber;
static useconds_t delay;
static FILE *out;
static FILE *events;
static volatile sig_atomic_t stop;

static void
on_term(int signal)
{
	(void) signal;
	stop = 1;
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "follower: %s: %s\n", what, why);
	exit(1);
}

static void
on_event(void *arg, gamestate_subscriber *s, const gamestate_subscriber_event *event)
{
	(void) arg;
	(void) s;
	fprintf(events, "%" PRId64 " %s %s %s %s\n", gamestate_now(),
			gamestate_subscriber_event_name(event->kind), event->server, event->sqlstate,
			event->message);
	fflush(events);
}

/* As COPY takes it; NULL is \N. */
static void
put(const char *data, size_t len)
{
	putc('\t', out);
	if (data == NULL)
	{
		fputs("\\N", out);
		return;
	}
	for (size_t i = 0; i < len; i++)
	{
		if (data[i] == '\\' || data[i] == '\t' || data[i] == '\n')
			putc('\\', out);
		putc(data[i] == '\n' ? 'n' : data[i] == '\t' ? 't' : data[i], out);
	}
}

static void
write_down(const Follower *follower, const gamestate_update *update)
{
	static const char *const kinds[] = {"change", "snapshot", "deleted",
										"reset",  "notice",	  "current"};
	char id[GAMESTATE_UUID_TEXT];

	gamestate_uuid_format(&update->game_id, id);
	fprintf(out, "%d\t%s\t%s\t%" PRId64 "\t%s", follower->number, kinds[update->kind], id,
			update->version, update->what);
	put(update->player, update->player != NULL ? strlen(update->player) : 0);
	fprintf(out, "\t%" PRId64,
			update->at_us == GAMESTATE_NO_TIME ? INT64_C(0) : update->at_us);
	put(update->event.data, update->event.len);
	put(update->state.data, update->state.len);
	putc('\n', out);
}

static void
on_update(void *arg, const gamestate_update *update)
{
	write_down(arg, update);
}

static void
take_updates(void)
{
	for (int i = 0; i < num_followers; i++)
	{
		const gamestate_update *update;

		if (!followers[i].polled)
			continue;
		while ((update = gamestate_subscription_next(followers[i].subscription)) != NULL)
		{
			write_down(&followers[i], update);
			if (delay > 0)
			{
				usleep(delay);
				break;
			}
		}
	}
	fflush(out);
}

static void
begin(Follower *follower)
{
	gamestate_uuid id;

	if (gamestate_subscribe(subscriber, &follower->options, &follower->subscription) !=
		GAMESTATE_OK)
		fail("gamestate_subscribe", gamestate_subscriber_error(subscriber)->message);
	for (char *text = follower->games != NULL ? strtok(follower->games, ",") : NULL;
		 text != NULL; text = strtok(NULL, ","))
		if (!gamestate_uuid_parse(text, &id) ||
			gamestate_subscription_add_game(follower->subscription, &id, 0) !=
				GAMESTATE_OK)
			fail("game", text);
}

/* A turn of our own: the slow one must go on taking updates while the server is silent. */
static void
turn(void)
{
	struct pollfd fd = {.fd = gamestate_subscriber_socket(subscriber)};
	int wants = gamestate_subscriber_wants(subscriber);
	int timeout = gamestate_subscriber_wait_time(subscriber);

	if ((wants & GAMESTATE_WANTS_READ) != 0)
		fd.events |= POLLIN;
	if ((wants & GAMESTATE_WANTS_WRITE) != 0)
		fd.events |= POLLOUT;
	if (timeout < 0 || timeout > 20)
		timeout = delay > 0 ? 0 : 20;
	poll(&fd, 1, timeout);
	gamestate_subscriber_process(subscriber);
	take_updates();
}

static void
report(void)
{
	gamestate_subscriber_stats s;

	gamestate_subscriber_get_stats(subscriber, &s, sizeof(s));
	printf("connected=%d\nconnects=%" PRIu64 "\nconnect_failures=%" PRIu64
		   "\nlost=%" PRIu64 "\nserver_changes=%" PRIu64 "\n",
		   s.connected, s.connects, s.connect_failures, s.lost, s.server_changes);
	printf("waits=%" PRIu64 "\nrows=%" PRIu64 "\nchanges=%" PRIu64 "\nsnapshots=%" PRIu64
		   "\ndeletes=%" PRIu64 "\nresets=%" PRIu64 "\nnotices=%" PRIu64 "\n",
		   s.waits, s.rows, s.changes, s.snapshots, s.deletes, s.resets, s.notices);
	printf("known=%" PRIu64 "\nunwanted=%" PRIu64 "\ngaps=%" PRIu64 "\nreads=%" PRIu64
		   "\nread_changes=%" PRIu64 "\nrefused=%" PRIu64 "\npauses=%" PRIu64
		   "\ngames=%" PRIu64 "\n",
		   s.known, s.unwanted, s.gaps, s.reads, s.read_changes, s.refused, s.pauses,
		   s.games);
}

static Follower *
next_follower(bool polled)
{
	Follower *follower = &followers[num_followers];

	if (num_followers == MAX_SUBSCRIPTIONS - 1)
		fail("too many subscriptions", "");
	follower->number = num_followers++;
	follower->polled = polled;
	if (!polled)
	{
		follower->options.callback = on_update;
		follower->options.arg = follower;
	}
	/* The next one begins with the same options. */
	followers[num_followers].options = follower->options;
	followers[num_followers].options.callback = NULL;
	followers[num_followers].options.game_type = NULL;
	followers[num_followers].options.all_games = false;
	return follower;
}

static void
read_options(int argc, char **argv)
{
	gamestate_subscription_options first = GAMESTATE_SUBSCRIPTION_OPTIONS_INIT;
	bool polled = false;
	int c;

	followers[0].options = first;
	while ((c = getopt(argc, argv, "swpd:t:ag:q:W:C:A:e:")) != -1)
	{
		gamestate_subscription_options *own = &followers[num_followers].options;

		switch (c)
		{
			case 's':
				own->from_start = true;
				break;
			case 'w':
				own->with_states = true;
				break;
			case 'p':
				polled = true;
				break;
			case 'd':
				delay = (useconds_t) atoi(optarg);
				break;
			case 'q':
				own->max_queued = atoi(optarg);
				break;
			case 't':
				own->game_type = optarg;
				next_follower(polled);
				break;
			case 'a':
				own->all_games = true;
				next_follower(polled);
				break;
			case 'g':
				next_follower(polled)->games = optarg;
				break;
			case 'W':
				options.wait = atoi(optarg);
				break;
			case 'C':
				options.connect_timeout = atoi(optarg);
				break;
			case 'A':
				options.answer_timeout = atoi(optarg);
				break;
			case 'e':
				events = fopen(optarg, "w");
				if (events == NULL)
					fail(optarg, strerror(errno));
				options.event = on_event;
				break;
			default:
				exit(2);
		}
	}
}

int
main(int argc, char **argv)
{
	struct sigaction term = {.sa_handler = on_term};
	bool told = false;
	char why[256];

	sigaction(SIGTERM, &term, NULL);
	read_options(argc, argv);
	if (argc - optind != 2 || num_followers == 0)
		return 2;
	out = fopen(argv[optind], "w");
	if (out == NULL)
		fail(argv[optind], strerror(errno));
	if (gamestate_subscriber_open(argv[optind + 1], &options, &subscriber, why,
								  sizeof(why)) != GAMESTATE_OK)
		fail("gamestate_subscriber_open", why);
	for (int i = 0; i < num_followers; i++)
		begin(&followers[i]);
	while (!stop)
	{
		bool current = true;

		turn();
		for (int i = 0; i < num_followers; i++)
			current &= gamestate_subscription_is_current(followers[i].subscription);
		if (current && !told)
		{
			printf("following\n");
			fflush(stdout);
			told = true;
		}
	}
	report();
	gamestate_subscriber_close(subscriber);
	fclose(out);
	if (events != NULL)
		fclose(events);
	return 0;
}
