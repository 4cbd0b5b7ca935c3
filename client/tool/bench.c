/*
 * bench.c: one measurement of `gamestate bench`.
 *
 * The model:
 * 1. Each client has a connection to each store (bench_link.h), with as many
 *    slots as calls may be in flight on it.  One thread and poll(2) drive them
 *    all.
 * 2. Closed loop: a slot makes the next call when it has its answer.  Open loop:
 *    calls are due at random times (a Poisson process), whether or not the
 *    server keeps up; the first free slot takes the next one, and its latency
 *    counts from when it was due.
 * 3. A game belongs to one slot, so no move waits for another's game, except in
 *    the workload that measures just that.
 * 4. Only answers count, and the server answers after the commit.  Afterwards
 *    each game's version must be what was acknowledged.
 */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_link.h"
#include "connect.h"

#define DRAIN_MS	   10000
#define GETS_TO_A_MOVE 4

typedef struct BenchGame
{
	gamestate_uuid id;
	int64_t version; /* as acknowledged; 0: not created */
} BenchGame;

typedef struct BenchSlot
{
	Bench *bench;
	int client;
	int number;
	BenchCall kind;	 /* of the call in flight */
	BenchGame *game; /* of that */
	BenchGame own;	 /* in the workload of whole games */
	bool has_own;
	uint64_t since; /* latency counts from here */
	struct BenchSlot *next_free;
} BenchSlot;

struct Bench
{
	BenchOptions options;
	BenchLink **links[STORE_COUNT]; /* by client; tables and games share theirs */
	struct pollfd *polls;
	BenchSlot *slots;
	int slot_count;
	BenchSlot *free_slots;
	int in_flight;
	BenchGame *games[STORE_COUNT];
	BenchGame shared[STORE_COUNT]; /* that of the contention */
	Buf state;
	Buf event;
	Rng random;

	/* the measurement that runs */
	BenchWorkload workload;
	BenchStore store;
	Hist *latency;
	uint64_t start; /* of the measured time */
	uint64_t end;
	uint64_t due; /* of the next call, open loop */
	uint64_t calls;
	bool failed;
};

/* ---- calls ---- */

#define NUMBER_WIDTH 20
static const char number_begins[] = "{\"n\":\"";

/* A JSON object of this size that tells its number; made once, then changed. */
static void
make_document(Buf *out, int64_t number, int size)
{
	char digits[NUMBER_WIDTH + 1];

	snprintf(digits, sizeof(digits), "%0*" PRId64, NUMBER_WIDTH, number);
	if (out->len == 0)
	{
		buf_printf(out, "%s%s\",\"fill\":\"", number_begins, digits);
		while (out->len + 2 < (size_t) size)
			buf_putc(out, (char) ('a' + (int) (out->len % 26)));
		buf_puts(out, "\"}");
	}
	else
		memcpy(out->data + strlen(number_begins), digits, NUMBER_WIDTH);
}

static BenchRequest
make_request(const Bench *bench, BenchStore store, BenchCall kind, const BenchGame *game,
			 int64_t expected)
{
	return (BenchRequest){.kind = kind,
						  .store = store,
						  .id = &game->id,
						  .expected = expected,
						  .event = buf_document(&bench->event),
						  .state = buf_document(&bench->state)};
}

/* What the next call of the workload is. */
static void
choose_call(BenchSlot *slot)
{
	Bench *bench = slot->bench;
	int own = bench->options.games / bench->slot_count;
	uint32_t any = rng_below(&bench->random, (uint32_t) bench->options.games);
	int mine = slot->number +
			   bench->slot_count * (int) rng_below(&bench->random, (uint32_t) own);

	switch (bench->workload)
	{
		case WORKLOAD_GAMES:
			slot->kind = slot->has_own ? BENCH_FINISH : BENCH_CREATE;
			slot->game = &slot->own;
			return;
		case WORKLOAD_CONTENTION:
			slot->kind = BENCH_MOVE;
			slot->game = &bench->shared[bench->store];
			return;
		case WORKLOAD_GETS:
			slot->kind = BENCH_GET;
			break;
		case WORKLOAD_MIXED:
			slot->kind = rng_below(&bench->random, GETS_TO_A_MOVE + 1) == 0 ? BENCH_MOVE
																			: BENCH_GET;
			break;
		default:
			slot->kind = BENCH_MOVE;
			break;
	}
	slot->game = &bench->games[bench->store][slot->kind == BENCH_MOVE ? mine : (int) any];
}

/* ---- answers ---- */

static bool
take_version(BenchSlot *slot, int64_t version)
{
	Bench *bench = slot->bench;

	if (bench->workload == WORKLOAD_CONTENTION)
	{
		/* answers of several connections come in any order */
		slot->game->version++;
		return version > 1;
	}
	if (version != slot->game->version + 1)
		return false;
	slot->game->version = version;
	return true;
}

/* Is the answer what the call must return? */
static bool
take_value(BenchSlot *slot, const BenchAnswer *answer)
{
	if (slot->kind == BENCH_GET)
		return answer->state_len > 0;
	if (slot->kind == BENCH_CREATE)
	{
		slot->own = (BenchGame){answer->id, 1};
		slot->has_own = true;
		return true;
	}
	if (slot->kind == BENCH_FINISH)
		slot->has_own = false;
	return take_version(slot, answer->version);
}

/* A BenchTake. */
static void
take_answer(void *owner, const BenchAnswer *answer)
{
	BenchSlot *slot = owner;
	Bench *bench = slot->bench;
	uint64_t now = now_ns();

	bench->in_flight--;
	slot->next_free = bench->free_slots;
	bench->free_slots = slot;
	if (bench->failed)
		return;
	if (!answer->ok)
	{
		bench->failed = true;
		return;
	}
	if (!take_value(slot, answer))
	{
		log_error("a call was answered with a wrong value");
		bench->failed = true;
		return;
	}
	if (now >= bench->start && now < bench->end)
	{
		bench->calls++;
		hist_add(bench->latency, now - slot->since);
	}
}

/* ---- the loop ---- */

static bool
send_call(BenchSlot *slot, uint64_t since)
{
	Bench *bench = slot->bench;
	BenchLink *link = bench->links[bench->store][slot->client];
	BenchRequest request;
	int64_t expected;

	choose_call(slot);
	expected = bench->workload == WORKLOAD_CONTENTION ? 0 : slot->game->version;
	make_document(&bench->state, expected, bench->options.state_size);
	make_document(&bench->event, expected, bench->options.event_size);
	request = make_request(bench, bench->store, slot->kind, slot->game, expected);
	slot->since = since;
	if (!link->ops->send(link, &request, take_answer, slot))
		return false;
	bench->in_flight++;
	return true;
}

/* The time to the next call of a Poisson process. */
static uint64_t
next_gap(Bench *bench)
{
	double u = ((double) (rng_next(&bench->random) >> 11) + 1) / 9007199254740993.0;

	return (uint64_t) (-log(u) / bench->options.rate * 1e9);
}

/* Give free slots what is to be sent now. */
static bool
send_calls(Bench *bench, uint64_t now)
{
	while (bench->free_slots != NULL)
	{
		BenchSlot *slot = bench->free_slots;
		uint64_t since = now;

		if (bench->options.rate > 0)
		{
			if (bench->due > now)
				return true;
			since = bench->due;
			bench->due += next_gap(bench);
		}
		bench->free_slots = slot->next_free;
		if (!send_call(slot, since))
			return false;
	}
	return true;
}

static void
prepare_poll(struct pollfd *poll, BenchLink *link)
{
	int wants = link->ops->wants(link);

	poll->fd = link->ops->socket(link);
	poll->events = (short) ((wants & GAMESTATE_WANTS_READ ? POLLIN : 0) |
							(wants & GAMESTATE_WANTS_WRITE ? POLLOUT : 0));
	poll->revents = 0;
}

/* Until something comes, but not longer than so many milliseconds. */
static bool
exchange_on(BenchLink **links, struct pollfd *polls, int count, int timeout)
{
	for (int i = 0; i < count; i++)
		prepare_poll(&polls[i], links[i]);
	if (poll(polls, (nfds_t) count, timeout) < 0 && errno != EINTR)
	{
		log_error("poll failed: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < count; i++)
		if (polls[i].revents != 0 && !links[i]->ops->process(links[i]))
			return false;
	return true;
}

/* The same on all connections, or until the next call is due. */
static bool
exchange(Bench *bench)
{
	int timeout = 10;
	uint64_t now = now_ns();

	if (bench->options.rate > 0 && bench->free_slots != NULL)
		timeout = bench->due > now ? (int) ((bench->due - now) / 1000000) : 0;
	return exchange_on(bench->links[bench->store], bench->polls, bench->options.clients,
					   timeout < 10 ? timeout : 10);
}

static bool
run_calls(Bench *bench)
{
	uint64_t give_up;

	while (!interrupted && !bench->failed)
	{
		uint64_t now = now_ns();

		if (now >= bench->end)
			break;
		if (!send_calls(bench, now) || !exchange(bench))
			return false;
	}
	give_up = now_ns() + (uint64_t) DRAIN_MS * 1000000;
	while (bench->in_flight > 0 && now_ns() < give_up)
		if (!exchange(bench))
			return false;
	if (bench->in_flight > 0)
	{
		log_error("the server does not answer");
		return false;
	}
	return !interrupted && !bench->failed;
}

/* ---- games ---- */

typedef struct Waiting
{
	bool answered;
	BenchAnswer answer;
} Waiting;

static void
take_waited(void *owner, const BenchAnswer *answer)
{
	Waiting *waiting = owner;

	waiting->answered = true;
	waiting->answer = *answer;
}

/* A call whose answer is waited for, on the first connection. */
static bool
run_one(Bench *bench, BenchStore store, BenchCall kind, const BenchGame *game,
		BenchAnswer *answer)
{
	BenchLink *link = bench->links[store][0];
	BenchRequest request = make_request(bench, store, kind, game, 0);
	uint64_t give_up = now_ns() + (uint64_t) DRAIN_MS * 1000000;
	/* not on the stack: the answer may come after we have given up */
	static Waiting waiting;

	waiting.answered = false;
	if (!link->ops->send(link, &request, take_waited, &waiting))
		return false;
	while (!waiting.answered)
	{
		if (now_ns() > give_up)
		{
			log_error("the server does not answer");
			return false;
		}
		if (!exchange_on(&link, bench->polls, 1, 100) && !waiting.answered)
			return false;
	}
	*answer = waiting.answer;
	return answer->ok;
}

static bool
make_game(Bench *bench, BenchStore store, BenchGame *game)
{
	BenchAnswer answer;

	if (interrupted || !run_one(bench, store, BENCH_CREATE, game, &answer))
		return false;
	*game = (BenchGame){answer.id, 1};
	return true;
}

static bool
make_games(Bench *bench, BenchStore store)
{
	BenchLink *link = bench->links[store][0];

	bench->games[store] = xcalloc((size_t) bench->options.games, sizeof(BenchGame));
	make_document(&bench->state, 0, bench->options.state_size);
	if (!link->ops->prepare(link, store))
		return false;
	for (int i = 0; i < bench->options.games; i++)
		if (!make_game(bench, store, &bench->games[store][i]))
			return false;
	return make_game(bench, store, &bench->shared[store]);
}

static bool
check_game(Bench *bench, BenchStore store, const BenchGame *game)
{
	char id[GAMESTATE_UUID_TEXT];
	BenchAnswer answer;

	if (!run_one(bench, store, BENCH_VERSION, game, &answer))
		return false;
	if (answer.version == game->version)
		return true;
	gamestate_uuid_format(&game->id, id);
	log_error("game %s is at version %" PRId64 ", and %" PRId64 " was acknowledged", id,
			  answer.version, game->version);
	return false;
}

static bool
check_games(Bench *bench, BenchStore store)
{
	for (int i = 0; i < bench->options.games; i++)
		if (!check_game(bench, store, &bench->games[store][i]))
			return false;
	return check_game(bench, store, &bench->shared[store]);
}

/* Live games must not stay; false when there is nobody to say it to. */
static bool
forget_game(Bench *bench, const BenchGame *game)
{
	BenchAnswer answer;

	return game->version == 0 ||
		   run_one(bench, STORE_GAMESTATE, BENCH_FORGET, game, &answer);
}

/* Games that a measurement has created and not finished. */
static void
forget_own_games(Bench *bench)
{
	for (int i = 0; i < bench->slot_count; i++)
	{
		if (bench->slots[i].has_own && bench->store == STORE_GAMESTATE)
			(void) forget_game(bench, &bench->slots[i].own);
		bench->slots[i].has_own = false;
	}
}

static void
forget_games(Bench *bench)
{
	bool goes_on = forget_game(bench, &bench->shared[STORE_GAMESTATE]);

	for (int i = 0;
		 goes_on && bench->games[STORE_GAMESTATE] != NULL && i < bench->options.games;
		 i++)
		goes_on = forget_game(bench, &bench->games[STORE_GAMESTATE][i]);
}

/* ---- opening and closing ---- */

/* One for each client. */
static bool
open_links(Bench *bench, BenchStore store)
{
	const BenchOptions *options = &bench->options;
	BenchLink **links = xcalloc((size_t) options->clients, sizeof(BenchLink *));

	bench->links[store] = links;
	for (int i = 0; i < options->clients; i++)
	{
		links[i] = store == STORE_REDIS
					   ? bench_link_redis(options->redis, options->pipeline)
					   : bench_link_postgres(options->conninfo, options->pipeline);
		if (links[i] == NULL)
			return false;
	}
	return true;
}

static void
make_slots(Bench *bench)
{
	int depth = bench->options.pipeline;

	bench->slot_count = bench->options.clients * depth;
	bench->polls = xcalloc((size_t) bench->options.clients, sizeof(struct pollfd));
	bench->slots = xcalloc((size_t) bench->slot_count, sizeof(BenchSlot));
	for (int i = bench->slot_count - 1; i >= 0; i--)
	{
		bench->slots[i] = (BenchSlot){.bench = bench,
									  .client = i / depth,
									  .number = i,
									  .next_free = bench->free_slots};
		bench->free_slots = &bench->slots[i];
	}
}

Bench *
bench_open(const BenchOptions *options)
{
	Bench *bench = xcalloc(1, sizeof(*bench));
	bool ok;

	bench->options = *options;
	rng_seed(&bench->random, 1, 0x62656E63);
	make_slots(bench);
	ok = open_links(bench, STORE_GAMESTATE);
	bench->links[STORE_TABLE] = bench->links[STORE_GAMESTATE];
	if (ok && options->stores[STORE_REDIS])
		ok = open_links(bench, STORE_REDIS);
	for (int store = 0; ok && store < STORE_COUNT; store++)
		if (options->stores[store])
			ok = make_games(bench, (BenchStore) store);
	if (ok)
		return bench;
	bench->failed = true;
	bench_close(bench);
	return NULL;
}

char *
bench_describe(Bench *bench, BenchStore store)
{
	BenchLink *link = bench->links[store][0];

	return link->ops->describe(link);
}

void
bench_close(Bench *bench)
{
	if (bench == NULL)
		return;
	if (bench->links[STORE_GAMESTATE][0] != NULL && bench->in_flight == 0 &&
		!connection_failed)
		forget_games(bench);
	for (int store = 0; store < STORE_COUNT; store++)
	{
		BenchLink *link = bench->links[store] != NULL ? bench->links[store][0] : NULL;

		if (link != NULL && bench->games[store] != NULL)
			link->ops->clean_up(link, (BenchStore) store);
		free(bench->games[store]);
	}
	for (int store = 0; store < STORE_COUNT; store++)
	{
		if (store == STORE_TABLE || bench->links[store] == NULL)
			continue; /* those of the games */
		for (int i = 0; i < bench->options.clients; i++)
			if (bench->links[store][i] != NULL)
				bench->links[store][i]->ops->close(bench->links[store][i]);
		free(bench->links[store]);
	}
	buf_free(&bench->state);
	buf_free(&bench->event);
	free(bench->polls);
	free(bench->slots);
	free(bench);
}

bool
bench_run(Bench *bench, BenchWorkload workload, BenchStore store, Hist *latency,
		  BenchFigures *figures)
{
	uint64_t now = now_ns();
	bool ok;

	bench->workload = workload;
	bench->store = store;
	bench->latency = latency;
	bench->calls = 0;
	bench->failed = false;
	bench->start = now + (uint64_t) (bench->options.warmup * 1e9);
	bench->end = bench->start + (uint64_t) (bench->options.seconds * 1e9);
	bench->due = now;
	ok = run_calls(bench);
	if (ok)
		ok = check_games(bench, store);
	if (bench->in_flight == 0 && !connection_failed)
		forget_own_games(bench);
	*figures = (BenchFigures){bench->calls, bench->options.seconds};
	return ok;
}
