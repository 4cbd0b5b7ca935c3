/*-------------------------------------------------------------------------
 *
 * gs_lease_look.c
 *	  Looking for games that nobody has claimed.
 *
 * The model:
 *	1. To look at all games takes milliseconds when there are many, and most of
 *	   them are claimed.  A game server does it once; from then on it knows the
 *	   place in the change feed where it began, and what has become free since is
 *	   there: games are created or resumed, leases are given up or orphaned.
 *	2. So a session remembers, for each of the few game types it asks for, that
 *	   place and the candidates: games that were free and that it did not take.
 *	   They are looked at again before they are taken, for others claim, too.
 *	3. All games are looked at again when the session cannot know: the feed has a
 *	   gap, or has more rows than there are games; there were more free games
 *	   than it remembers, and those are used up; a game was on its way into a
 *	   table, and may have come back; and in any case after a minute.
 *
 * Nothing of this is shared, so nobody pays for it who does not claim.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"
#include "gs_lease.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* For so many game types a session remembers what is free ... */
#define KNOWN_TYPES 4

/* ... and so many games of each. */
#define KNOWN_GAMES 1000

#define LOOK_AGAIN_MS 60000

/* To read a row of the feed is cheaper than to look at a game, by so much at least. */
#define ROWS_PER_GAME 4
#define ROWS_ALWAYS	  1000

typedef struct Known
{
	bool is_valid;
	uint32 type_hash; /* 0 = any type */
	uint8 type_len;
	char type[GS_MAX_ID_LENGTH];
	uint64 position; /* of the row of the feed that has not been looked at yet */
	TimestampTz looked_at;
	TimestampTz used_at;
	bool is_all; /* what else was free by then is among these */
	int ngames;
	pg_uuid_t *games; /* the oldest first */
} Known;

static Known known_types[KNOWN_TYPES];

/* The caller holds the game's partition lock. */
static bool
is_of_type(const GsGame *game, const GsText *type)
{
	const GsInfo *info = GS_PTR(game->info);

	return type->data == NULL ||
		   (info->type_len == type->len &&
			memcmp(&info->nodes[gs_info_nodes(info)], type->data, type->len) == 0);
}

/* The same.  A running game that a transaction is moving into a table may stay. */
static bool
is_wanted(const GsGame *game, const GsText *type, bool *may_stay)
{
	if (!game->visible || GS_STATUS_IS_OVER(game->h.status) || !is_of_type(game, type))
		return false;
	if (TransactionIdIsValid(game->archive_xid))
	{
		*may_stay = true;
		return false;
	}
	return gs_lease_is_free(&game->key.id);
}

static bool
is_free(const pg_uuid_t *id, const GsText *type, bool *may_stay)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};
	GsGame *game = dshash_find(GsGames, &key, false);
	bool wanted;

	if (game == NULL)
		return false;
	wanted = is_wanted(game, type, may_stay);
	dshash_release_lock(GsGames, game);
	return wanted;
}

/* ----------------------------------------------------------------
 *		What is known
 * ----------------------------------------------------------------
 */

static bool
is_about(const Known *known, const GsText *type)
{
	return known->games != NULL && known->type_len == type->len &&
		   (known->type_hash == 0) == (type->data == NULL) &&
		   memcmp(known->type, type->data ? type->data : "", type->len) == 0;
}

/* Of the type, or in place of the one that was not asked for for longest. */
static Known *
known_of(const GsText *type)
{
	Known *known = &known_types[0];

	Assert(type->len <= GS_MAX_ID_LENGTH);
	for (int i = 0; i < KNOWN_TYPES; i++)
	{
		if (is_about(&known_types[i], type))
			return &known_types[i];
		if (known_types[i].used_at < known->used_at)
			known = &known_types[i];
	}
	if (known->games == NULL)
		known->games =
			MemoryContextAlloc(TopMemoryContext, sizeof(pg_uuid_t) * KNOWN_GAMES);
	known->is_valid = false;
	known->type_hash = type->data ? gs_feed_type_hash(type->data, type->len) : 0;
	known->type_len = type->len;
	memcpy(known->type, type->data ? type->data : "", type->len);
	return known;
}

/* Room is for those that have become free last. */
static void
remember(Known *known, const pg_uuid_t *id)
{
	if (known->ngames < KNOWN_GAMES)
		known->games[known->ngames++] = *id;
	else
		known->is_all = false;
}

/* ----------------------------------------------------------------
 *		The feed
 * ----------------------------------------------------------------
 */

static bool
makes_free(uint8 kind)
{
	switch (kind)
	{
		case GS_KIND_CREATE:
		case GS_KIND_RESUME:
		case GS_KIND_ANONYMISE: /* the game is put in anew */
		case GS_FEED_RELEASED:
		case GS_FEED_ORPHANED:
			return true;
		default:
			return false;
	}
}

/* What has become free since; false if that cannot be known. */
static bool
read_feed(GsDatabase *db, Known *known)
{
	uint64 end;
	uint64 worthwhile = pg_atomic_read_u64(&db->ngames) * ROWS_PER_GAME + ROWS_ALWAYS;

	gs_feed_publish_pending();
	end = gs_feed_head();
	if (end - known->position > worthwhile)
		return false;
	for (; known->position < end; known->position++)
	{
		GsFeedKeys keys;

		if (!gs_feed_keys(known->position, &keys))
			return false;
		if (keys.dboid != MyDatabaseId && OidIsValid(keys.dboid))
			continue;
		if (keys.is_gap)
			return false;
		if (makes_free(keys.kind) &&
			(known->type_hash == 0 || keys.type_hash == known->type_hash))
			remember(known, &keys.game_id);
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Looking
 * ----------------------------------------------------------------
 */

static bool
is_up_to_date(GsDatabase *db, Known *known)
{
	return known->is_valid &&
		   !TimestampDifferenceExceeds(known->looked_at, GetCurrentTimestamp(),
									   LOOK_AGAIN_MS) &&
		   read_feed(db, known);
}

static int
take_known(Known *known, const GsText *type, pg_uuid_t *found, int max)
{
	int n = 0;
	int next = 0;

	for (; next < known->ngames && n < max; next++)
	{
		bool may_stay = false;

		if (is_free(&known->games[next], type, &may_stay))
			found[n++] = known->games[next];
		else if (may_stay)
			known->is_all = false;
	}
	known->ngames -= next;
	memmove(known->games, known->games + next, sizeof(pg_uuid_t) * known->ngames);
	return n;
}

static int
look_at_all(Known *known, const GsText *type, pg_uuid_t *found, int max)
{
	dshash_seq_status scan;
	GsGame *game;
	bool may_stay = false;
	int n = 0;

	/* the place first: what becomes free while we look comes after it */
	known->is_valid = false;
	known->looked_at = GetCurrentTimestamp();
	known->position = gs_feed_head();
	known->is_all = true;
	known->ngames = 0;
	dshash_seq_init(&scan, GsGames, false);
	while (known->is_all && (game = dshash_seq_next(&scan)) != NULL)
	{
		if (game->key.dboid != MyDatabaseId || !is_wanted(game, type, &may_stay))
			continue;
		if (n < max)
			found[n++] = game->key.id;
		else
			remember(known, &game->key.id);
	}
	dshash_seq_term(&scan);
	known->is_all &= !may_stay;
	known->is_valid = true;
	return n;
}

static int
look_for_named(const GsLeaseWanted *wanted, pg_uuid_t *found, int max)
{
	bool may_stay;
	int n = 0;

	for (int i = 0; i < wanted->nids && n < max; i++)
		if (is_free(&wanted->ids[i], &wanted->game_type, &may_stay))
			found[n++] = wanted->ids[i];
	return n;
}

int
gs_lease_look_for(GsDatabase *db, const GsLeaseWanted *wanted, pg_uuid_t *found, int max)
{
	const GsText *type = &wanted->game_type;
	Known *known;
	int n;

	if (wanted->nids >= 0)
		return look_for_named(wanted, found, max);
	if (max == 0 || (type->data && type->len > GS_MAX_ID_LENGTH))
		return 0; /* there is no such type */
	known = known_of(type);
	known->used_at = GetCurrentTimestamp();
	if (is_up_to_date(db, known))
	{
		n = take_known(known, type, found, max);
		if (n == max || known->is_all)
			return n;
	}
	return look_at_all(known, type, found, max);
}
