/*-------------------------------------------------------------------------
 *
 * gs_presence.c
 *	  Presence: which players of a running game are connected.
 *
 * The model:
 *	1. A player who connects to a game takes a place in shared memory; their
 *	   number is fixed (gamestate.max_connected_players).  He gets a token, 128
 *	   random bits, and shows it from then on.  A player has one place in each of
 *	   his games: when he connects anew, from another device, the newer token
 *	   counts and the older one is void.
 *	2. A place expires ttl after the last heartbeat.  A heartbeat finds its place
 *	   by the token and writes when it expires now; the lock is shared, and
 *	   the place's timer stays where it is.  When that goes off, the timer worker
 *	   looks (gs_presence_look()): has the time been put off, or is the player gone?
 *	3. Who is gone (disconnected) keeps the place, and his token is good for
 *	   reconnect(), until his absence has been dealt with as the policy says.
 *	   Then the place is spare: it stays as it is as long as nobody else needs
 *	   one.  A player without a place is neither: unknown.
 *	4. Connecting and the loss of it are told in the feed (gs_feed_notice.c), with
 *	   the lock held, so that they are told in the order in which they happened.
 *	5. Leaving a game, and the game's end, end presence: the commit that does so
 *	   frees the places (gs_presence_applied()).  Who connects at that moment takes
 *	   his place first and looks at the game then (gs_connect.c): one of the two
 *	   sees the other.
 *	6. Nothing is journaled, or part of a transaction.  After a restart everybody
 *	   is unknown and all tokens are void.
 *
 * Tokens are found by a salted hash, so that how long a look-up takes tells
 * nothing of them, and then compared in constant time.  No message has one.
 *
 * Locking: presence_lock protects all places, but for what a heartbeat writes; the
 * locks of the feed and of timers are taken under it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_feed.h"
#include "gs_presence.h"
#include "gs_shmem.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define NONE 0 /* places count from 1 */

/*
 *	free -> connected
 *	connected -> disconnected | free
 *	disconnected -> connected | free
 */
typedef enum PlaceState
{
	PLACE_FREE = 0,
	PLACE_CONNECTED,
	PLACE_DISCONNECTED
} PlaceState;

/* Protected by presence_lock, but for "expires_at" and what GsTimer says. */
typedef struct Place
{
	GsTimer timer; /* its id has the place's number */
	GsDatabase *db;
	Oid dboid;
	pg_uuid_t game_id;
	pg_uuid_t token;
	int64 ttl_us;
	int64 absence_us;
	TimestampTz since; /* connected, or disconnected */

	/* if connected; written with the lock held shared, too */
	pg_atomic_uint64 expires_at;

	uint32 game_chain; /* the next in the hash table's slot */
	uint32 token_chain;
	uint32 older; /* neighbours in the list of spare places; of free ones the next */
	uint32 newer;
	uint8 state;		  /* PlaceState */
	uint8 absence_action; /* GsAbsenceAction */
	bool absence_done;	  /* if disconnected: it has been dealt with */
	uint8 type_len;
	uint8 player_len;
	char type[GS_MAX_ID_LENGTH];
	char player[GS_MAX_ID_LENGTH];
} Place;

typedef struct Presence
{
	LWLock lock; /* presence_lock: protects the rest */
	uint32 free;
	uint32 oldest; /* spare places */
	uint32 newest;
	pg_atomic_uint32 nused; /* read without the lock */

	/* set once, at start */
	uint64 salt;
	uint32 nplaces;
	uint32 slot_mask;
	uint32 *games; /* slots of the hash tables */
	uint32 *tokens;
	Place *places; /* [number - 1] */
} Presence;

static Presence *presence = NULL;

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

static uint32
number_of_slots(void)
{
	return pg_nextpower2_32((uint32) gs_max_connected);
}

Size
gs_presence_shmem_size(void)
{
	Size size = MAXALIGN(sizeof(Presence));

	size = add_size(size, mul_size(sizeof(Place), gs_max_connected));
	return add_size(size, mul_size(2 * sizeof(uint32), number_of_slots()));
}

static inline Place *
place_at(uint32 number)
{
	return &presence->places[number - 1];
}

static void
init_place(uint32 number)
{
	Place *place = place_at(number);
	pg_uuid_t id = {{0}};

	memcpy(&id, &number, sizeof(number));
	gs_timer_init(&place->timer, GS_TIMER_PRESENCE, &id);
	pg_atomic_init_u64(&place->expires_at, 0);
	place->older = number < presence->nplaces ? number + 1 : NONE;
}

void
gs_presence_shmem_init(bool found)
{
	bool found_presence;

	presence =
		ShmemInitStruct("gamestate presence", gs_presence_shmem_size(), &found_presence);
	if (found)
		return;
	memset(presence, 0, gs_presence_shmem_size());
	if (!pg_strong_random(&presence->salt, sizeof(presence->salt)))
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	LWLockInitialize(&presence->lock, GsShmem->presence_tranche);
	pg_atomic_init_u32(&presence->nused, 0);
	presence->nplaces = gs_max_connected;
	presence->slot_mask = number_of_slots() - 1;
	presence->places = (Place *) ((char *) presence + MAXALIGN(sizeof(Presence)));
	presence->games = (uint32 *) (presence->places + presence->nplaces);
	presence->tokens = presence->games + number_of_slots();
	for (uint32 number = 1; number <= presence->nplaces; number++)
		init_place(number);
	presence->free = 1;
}

/* ----------------------------------------------------------------
 *		Places
 *
 * The caller holds the lock, exclusively where something changes.
 * ----------------------------------------------------------------
 */

static inline uint32 *
slot_of_game(Oid dboid, const pg_uuid_t *game_id)
{
	return &presence->games[hash_bytes_extended(game_id->data, UUID_LEN, dboid) &
							presence->slot_mask];
}

static inline uint32 *
slot_of_token(const pg_uuid_t *token)
{
	return &presence->tokens[hash_bytes_extended(token->data, UUID_LEN, presence->salt) &
							 presence->slot_mask];
}

static inline bool
is_of_game(const Place *place, Oid dboid, const pg_uuid_t *game_id)
{
	return place->dboid == dboid && memcmp(&place->game_id, game_id, UUID_LEN) == 0;
}

static inline bool
is_of_player(const Place *place, const GsText *player)
{
	return place->player_len == player->len &&
		   memcmp(place->player, player->data, player->len) == 0;
}

static uint32
find_player(Oid dboid, const pg_uuid_t *game_id, const GsText *player)
{
	uint32 number = *slot_of_game(dboid, game_id);

	while (number != NONE && !(is_of_game(place_at(number), dboid, game_id) &&
							   is_of_player(place_at(number), player)))
		number = place_at(number)->game_chain;
	return number;
}

/* All bytes are looked at, wherever they differ. */
static bool
is_same_token(const pg_uuid_t *a, const pg_uuid_t *b)
{
	volatile unsigned char difference = 0;

	for (int i = 0; i < UUID_LEN; i++)
		difference |= a->data[i] ^ b->data[i];
	return difference == 0;
}

/* A token of this database; NONE if it is void. */
static uint32
find_token(const pg_uuid_t *token)
{
	uint32 found = NONE;

	for (uint32 number = *slot_of_token(token); number != NONE;
		 number = place_at(number)->token_chain)
		if (is_same_token(&place_at(number)->token, token) &&
			place_at(number)->dboid == MyDatabaseId)
			found = number;
	return found;
}

static bool
is_expired(const Place *place, TimestampTz now)
{
	return (TimestampTz) pg_atomic_read_u64(
			   unconstify(pg_atomic_uint64 *, &place->expires_at)) <= now;
}

static bool
is_connected(const Place *place, TimestampTz now)
{
	return place->state == PLACE_CONNECTED && !is_expired(place, now);
}

static void
take_token(uint32 number)
{
	Place *place = place_at(number);
	uint32 *link = slot_of_token(&place->token);

	while (*link != number)
		link = &place_at(*link)->token_chain;
	*link = place->token_chain;
}

static void
give_token(uint32 number, const pg_uuid_t *token)
{
	Place *place = place_at(number);
	uint32 *slot = slot_of_token(token);

	place->token = *token;
	place->token_chain = *slot;
	*slot = number;
}

/* Nothing is left to be done about this player. */
static bool
is_spare(const Place *place)
{
	return place->state == PLACE_DISCONNECTED &&
		   (place->absence_action == GS_ABSENCE_NOTHING || place->absence_done);
}

static void
enter_spare(uint32 number)
{
	Place *place = place_at(number);

	place->older = presence->newest;
	place->newer = NONE;
	if (presence->newest != NONE)
		place_at(presence->newest)->newer = number;
	else
		presence->oldest = number;
	presence->newest = number;
}

static void
leave_spare(uint32 number)
{
	Place *place = place_at(number);

	if (place->older != NONE)
		place_at(place->older)->newer = place->newer;
	else
		presence->oldest = place->newer;
	if (place->newer != NONE)
		place_at(place->newer)->older = place->older;
	else
		presence->newest = place->older;
}

static void
free_place(uint32 number)
{
	Place *place = place_at(number);
	uint32 *link = slot_of_game(place->dboid, &place->game_id);

	while (*link != number)
		link = &place_at(*link)->game_chain;
	*link = place->game_chain;
	take_token(number);
	if (is_spare(place))
		leave_spare(number);
	gs_timer_remove(place->db, &place->timer);
	place->state = PLACE_FREE;
	place->dboid = InvalidOid;
	memset(&place->token, 0, sizeof(place->token));
	place->older = presence->free;
	presence->free = number;
	pg_atomic_write_u32(&presence->nused, pg_atomic_read_u32(&presence->nused) - 1);
}

/* A place that nobody has; NONE if there is none. */
static uint32
take_place(void)
{
	uint32 number;

	if (presence->free == NONE && presence->oldest != NONE)
		free_place(presence->oldest);
	number = presence->free;
	if (number == NONE)
		return NONE;
	presence->free = place_at(number)->older;
	pg_atomic_write_u32(&presence->nused, pg_atomic_read_u32(&presence->nused) + 1);
	return number;
}

/* ----------------------------------------------------------------
 *		Coming and going
 * ----------------------------------------------------------------
 */

static void
tell(const Place *place, uint8 kind)
{
	GsText type = {place->type, place->type_len};
	GsText player = {place->player, place->player_len};

	gs_feed_notice(place->dboid, &place->game_id, &type, kind, &player, NULL);
}

static void
set_expiry(Place *place, TimestampTz now)
{
	pg_atomic_write_u64(&place->expires_at, (uint64) (now + place->ttl_us));
}

static void
make_token(pg_uuid_t *token)
{
	if (!pg_strong_random(token, sizeof(*token)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
}

/* The place is in use; what was there is not looked at any more. */
static void
connect_place(uint32 number, const pg_uuid_t *token)
{
	Place *place = place_at(number);
	TimestampTz now = GetCurrentTimestamp();

	give_token(number, token);
	place->state = PLACE_CONNECTED;
	place->absence_done = false;
	place->since = now;
	set_expiry(place, now);
	gs_timer_set(place->db, &place->timer, now + place->ttl_us);
	tell(place, GS_FEED_CONNECTED);
}

/* What the policy says of absence begins anew with each connection. */
static void
set_terms(Place *place, const GsConnect *connect)
{
	place->ttl_us = connect->ttl_us;
	place->absence_action = connect->absence_action;
	place->absence_us = connect->absence_us;
}

static uint32
enter_player(GsDatabase *db, const GsConnect *connect)
{
	uint32 number = take_place();
	Place *place;
	uint32 *slot;

	if (number == NONE)
		return NONE;
	place = place_at(number);
	place->db = db;
	place->dboid = MyDatabaseId;
	place->game_id = connect->game_id;
	place->type_len = Min(connect->game_type.len, GS_MAX_ID_LENGTH);
	memcpy(place->type, connect->game_type.data, place->type_len);
	place->player_len = connect->player.len;
	memcpy(place->player, connect->player.data, place->player_len);
	slot = slot_of_game(MyDatabaseId, &connect->game_id);
	place->game_chain = *slot;
	*slot = number;
	return number;
}

void
gs_presence_connect(GsDatabase *db, const GsConnect *connect, pg_uuid_t *token)
{
	uint32 number;

	Assert(connect->player.len <= GS_MAX_ID_LENGTH);
	make_token(token);
	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = find_player(MyDatabaseId, &connect->game_id, &connect->player);
	if (number != NONE)
	{
		take_token(number);
		if (is_spare(place_at(number)))
			leave_spare(number);
	}
	else
		number = enter_player(db, connect);
	if (number != NONE)
	{
		set_terms(place_at(number), connect);
		connect_place(number, token);
	}
	LWLockRelease(&presence->lock);
	if (number == NONE)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many connected players"),
				 errdetail("gamestate.max_connected_players is %d.", gs_max_connected),
				 errhint("Raise gamestate.max_connected_players and restart the server.")));
	gs_feed_wake();
}

bool
gs_presence_beat(const pg_uuid_t *token)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32 number;
	bool beats;

	if (!gs_presence_any())
		return false;
	LWLockAcquire(&presence->lock, LW_SHARED);
	number = find_token(token);
	beats = number != NONE && is_connected(place_at(number), now);
	if (beats)
		set_expiry(place_at(number), now);
	LWLockRelease(&presence->lock);
	return beats;
}

/* He is gone.  The caller holds the lock exclusively, and wakes. */
static void
disconnect_place(uint32 number, TimestampTz since)
{
	Place *place = place_at(number);

	place->state = PLACE_DISCONNECTED;
	place->since = since;
	tell(place, GS_FEED_DISCONNECTED);
	if (is_spare(place))
		enter_spare(number);
	else
		gs_timer_set(place->db, &place->timer, since + place->absence_us);
}

bool
gs_presence_disconnect(const pg_uuid_t *token)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32 number;
	bool was_connected = false;

	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = find_token(token);
	if (number != NONE && is_connected(place_at(number), now))
	{
		disconnect_place(number, now);
		was_connected = true;
	}
	LWLockRelease(&presence->lock);
	gs_feed_wake();
	return was_connected;
}

bool
gs_presence_renew(const pg_uuid_t *token, pg_uuid_t *new_token, pg_uuid_t *game_id,
				  char *player, uint32 *player_len)
{
	uint32 number;

	make_token(new_token);
	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = find_token(token);
	if (number != NONE)
	{
		Place *place = place_at(number);

		*game_id = place->game_id;
		*player_len = place->player_len;
		memcpy(player, place->player, place->player_len);
		take_token(number);
		if (is_spare(place))
			leave_spare(number);
		connect_place(number, new_token);
	}
	LWLockRelease(&presence->lock);
	gs_feed_wake();
	return number != NONE;
}

/* ----------------------------------------------------------------
 *		Looking
 * ----------------------------------------------------------------
 */

bool
gs_presence_any(void)
{
	return pg_atomic_read_u32(&presence->nused) > 0;
}

void
gs_presence_of(const pg_uuid_t *game_id, const GsText *player, GsPresenceOf *of)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32 number;

	memset(of, 0, sizeof(*of));
	LWLockAcquire(&presence->lock, LW_SHARED);
	number = find_player(MyDatabaseId, game_id, player);
	if (number != NONE)
	{
		const Place *place = place_at(number);

		of->is_known = true;
		of->is_connected = is_connected(place, now);
		of->expires_at = (TimestampTz) pg_atomic_read_u64(
			unconstify(pg_atomic_uint64 *, &place->expires_at));

		/* the timer worker has not come to it yet */
		of->since = place->state == PLACE_CONNECTED && !of->is_connected ? of->expires_at
																		 : place->since;
	}
	LWLockRelease(&presence->lock);
}

void
gs_presence_get_stat(GsPresenceStat *stat)
{
	TimestampTz now = GetCurrentTimestamp();

	memset(stat, 0, sizeof(*stat));
	stat->max_connected = presence->nplaces;
	LWLockAcquire(&presence->lock, LW_SHARED);
	stat->all = pg_atomic_read_u32(&presence->nused);
	for (uint32 number = 1; number <= presence->nplaces; number++)
	{
		const Place *place = place_at(number);

		if (place->dboid != MyDatabaseId)
			continue;
		if (is_connected(place, now))
			stat->connected++;
		else
			stat->disconnected++;
	}
	LWLockRelease(&presence->lock);
}

/* ----------------------------------------------------------------
 *		The end of presence
 * ----------------------------------------------------------------
 */

void
gs_presence_end(const pg_uuid_t *token)
{
	uint32 number;

	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = find_token(token);
	if (number != NONE)
		free_place(number);
	LWLockRelease(&presence->lock);
}

/* All players of a game, or those that "info" does not have any more. */
static void
end_players(Oid dboid, const pg_uuid_t *game_id, const GsInfoParts *info)
{
	uint32 number;
	uint32 next;

	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	for (number = *slot_of_game(dboid, game_id); number != NONE; number = next)
	{
		Place *place = place_at(number);
		GsText player = {place->player, place->player_len};

		next = place->game_chain;
		if (is_of_game(place, dboid, game_id) &&
			(info == NULL || !gs_parts_have_player(info, &player)))
			free_place(number);
	}
	LWLockRelease(&presence->lock);
}

void
gs_presence_end_game(Oid dboid, const pg_uuid_t *game_id)
{
	end_players(dboid, game_id, NULL);
}

void
gs_presence_end_database(Oid dboid)
{
	if (!gs_presence_any())
		return;
	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	for (uint32 number = 1; number <= presence->nplaces; number++)
		if (place_at(number)->state != PLACE_FREE && place_at(number)->dboid == dboid)
			free_place(number);
	LWLockRelease(&presence->lock);
}

void
gs_presence_follow(const GsChange *change)
{
	bool goes_on =
		change->kind == GS_CHANGE_UPDATE && !GS_STATUS_IS_OVER(change->h.status);

	if (change->kind == GS_CHANGE_IMAGE || change->kind == GS_CHANGE_NONE ||
		(change->kind == GS_CHANGE_CREATE && !change->replaces))
		return;
	end_players(change->key.dboid, &change->key.id, goes_on ? &change->info : NULL);
}

/* ----------------------------------------------------------------
 *		Time
 * ----------------------------------------------------------------
 */

/* The place that a timer of this database is about; NONE if it is not used there now. */
static uint32
number_of(const GsDatabase *db, const GsTimerDue *due)
{
	uint32 number;

	memcpy(&number, &due->id, sizeof(number));
	if (number < 1 || number > presence->nplaces ||
		place_at(number)->state == PLACE_FREE || place_at(number)->db != db)
		return NONE;
	return number;
}

static bool
anybody_is_connected(Oid dboid, const pg_uuid_t *game_id, TimestampTz now)
{
	for (uint32 number = *slot_of_game(dboid, game_id); number != NONE;
		 number = place_at(number)->game_chain)
		if (is_of_game(place_at(number), dboid, game_id) &&
			is_connected(place_at(number), now))
			return true;
	return false;
}

/* Would the game be abandoned because of this player?  He is disconnected. */
static bool
abandons(const Place *place, TimestampTz now)
{
	return !place->absence_done &&
		   (place->absence_action == GS_ABSENCE_ABANDON ||
			(place->absence_action == GS_ABSENCE_ABANDON_EMPTY &&
			 !anybody_is_connected(place->dboid, &place->game_id, now)));
}

/* His absence has lasted as long as the policy says.  true: the game is to be abandoned. */
static bool
be_absent(uint32 number, TimestampTz now, GsAbsent *absent)
{
	Place *place = place_at(number);

	if (abandons(place, now))
	{
		absent->number = number;
		absent->game_id = place->game_id;
		absent->player_len = place->player_len;
		memcpy(absent->player_data, place->player, place->player_len);
		absent->since = place->since;
		return true;
	}

	/* who is connected still will be absent one day, and then it is looked at again */
	if (place->absence_action == GS_ABSENCE_NOTIFY)
		tell(place, GS_FEED_ABSENT);
	place->absence_done = true;
	enter_spare(number);
	return false;
}

bool
gs_presence_look(GsDatabase *db, const GsTimerDue *due, GsAbsent *absent)
{
	TimestampTz now = GetCurrentTimestamp();
	bool abandon = false;
	uint32 number;

	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = number_of(db, due);
	if (number != NONE)
	{
		Place *place = place_at(number);
		TimestampTz expires_at = (TimestampTz) pg_atomic_read_u64(&place->expires_at);

		if (place->state == PLACE_CONNECTED && expires_at > now)
			gs_timer_set(db, &place->timer, expires_at);
		else if (place->state == PLACE_CONNECTED)
			disconnect_place(number, expires_at);
		else if (!is_spare(place) && place->since + place->absence_us > now)
			gs_timer_set(db, &place->timer, place->since + place->absence_us);
		else if (!is_spare(place))
			abandon = be_absent(number, now, absent);
	}
	LWLockRelease(&presence->lock);
	return abandon;
}

bool
gs_presence_is_absent(GsDatabase *db, const GsAbsent *absent)
{
	const Place *place = place_at(absent->number);
	GsText player = {absent->player_data, absent->player_len};
	bool is_absent;

	LWLockAcquire(&presence->lock, LW_SHARED);
	is_absent = place->state == PLACE_DISCONNECTED && place->db == db &&
				is_of_game(place, MyDatabaseId, &absent->game_id) &&
				is_of_player(place, &player) && place->since == absent->since &&
				abandons(place, GetCurrentTimestamp());
	LWLockRelease(&presence->lock);
	return is_absent;
}

void
gs_presence_again(GsDatabase *db, const GsTimerDue *due, bool failed)
{
	uint32 number;

	LWLockAcquire(&presence->lock, LW_EXCLUSIVE);
	number = number_of(db, due);
	if (number != NONE && !is_spare(place_at(number)))
		gs_timer_again(db, &place_at(number)->timer, failed);
	LWLockRelease(&presence->lock);
}
