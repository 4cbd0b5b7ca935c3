/*-------------------------------------------------------------------------
 *
 * gs_load_games.c
 *	  Loading, what comes of it: from the records in the buckets to games in
 *	  memory.
 *
 * The model:
 *	1. Bucket by bucket the records are sorted.  Of a game only the highest
 *	   incarnation counts, and of it the newest image and what comes after that.
 *	2. Unless the game has been removed, they give one change record of kind
 *	   create, which goes the way of all change records into the table.
 *	3. A game whose updates have a hole ends before the hole (gs_load.c says what
 *	   follows from that).
 *
 * The buckets come in the order of the games' hash table, and what is needed
 * soon is fetched before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_journal.h"
#include "gs_load_parts.h"
#include "gs_replay.h"
#include "gs_table.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

/* Records whose bytes are fetched before they are needed, and how much of each. */
#define PREFETCH_AHEAD 16
#define PREFETCH_MAX   512

typedef GsLoadRecord *LoadRecordRef;

/* What there is of one game: its highest incarnation, in the order of versions. */
typedef struct LoadGame
{
	const pg_uuid_t *id;
	bool removed;
	GsLoadRecord *image;	/* the newest; NULL = none */
	GsLoadRecord **updates; /* later than the image */
	int nupdates;
} LoadGame;

/* ----------------------------------------------------------------
 *		Games
 * ----------------------------------------------------------------
 */

static void
decode_again(const GsLoadRecord *kept, GsRecord *record)
{
	const char *p = kept->data;

	if (gs_record_decode(&p, kept->data + kept->len, record) != NULL)
		elog(ERROR, "record that has been checked does not decode");
}

/* Apply the updates; NULL or what is wrong. */
static const char *
take_updates(GsChange *change, const LoadGame *game)
{
	for (int i = 0; i < game->nupdates; i++)
	{
		GsRecord record;
		const char *wrong;

		if (game->updates[i]->version <= change->h.version)
			continue; /* the same one once more */
		decode_again(game->updates[i], &record);
		wrong = gs_replay_update(change, &record);
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* The table that has all there is of a game; the one to be emptied if both are needed. */
static uint8
table_of(const GsLoad *load, const LoadGame *game)
{
	if (game->image->table != load->active)
		return 1 - load->active;
	for (int i = 0; i < game->nupdates; i++)
		if (game->updates[i]->table != load->active)
			return 1 - load->active;
	return load->active;
}

static char *
name_of(const LoadGame *game)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(game->id)));
}

/* Updates that nothing leads to any more: the versions after this one. */
static void
keep_updates(GsLoad *load, const LoadGame *game, int64 version)
{
	for (int i = 0; i < game->nupdates; i++)
	{
		const GsLoadRecord *u = game->updates[i];
		GsRowPlace place = {u->block, u->item, u->table};

		if (u->version > version)
			gs_load_keep_useless(load, &place, "what it goes on from is missing");
	}
}

static void
lack_image(GsLoad *load, const LoadGame *game)
{
	gs_load_count_problem(load);
	if (load->keep)
		keep_updates(load, game, 0);
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("game %s cannot be loaded", name_of(game)),
				 errdetail("The journal has no image of it.")));
}

static void
lack_updates(GsLoad *load, const LoadGame *game, GsChange *change, const char *wrong)
{
	gs_load_count_problem(load);
	if (load->keep)
	{
		keep_updates(load, game, change->h.version);
		return;
	}
	change->h.incarnation = pg_atomic_add_fetch_u64(&GsShmem->incarnation, 1);
	change->image_in = GS_IMAGE_NONE;
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("game %s is loaded as of version %lld only", name_of(game),
					(long long) change->h.version),
			 errdetail("In the journal %s.", wrong)));
}

static void
put_into_memory(GsLoad *load, GsChange *change)
{
	/* what was acknowledged has to fit, whatever quota is set now */
	change->frees = true;
	PG_TRY();
	{
		gs_table_reserve(change);
	}
	PG_CATCH();
	{
		gs_table_unreserve(change);
		PG_RE_THROW();
	}
	PG_END_TRY();
	gs_table_apply(change);
	load->loaded++;
	pg_atomic_fetch_add_u64(&load->db->load.games, 1);
}

/* The state of an image that is in shared memory becomes that of the game, or its initial one. */
static void
pass_state(GsLoadRecord *image, GsChange *change)
{
	const char *state = GS_PTR(image->state);
	Size size = gs_alloc_size(Max(image->state_len, 1));

	if (change->state.data == state)
	{
		change->new_state = image->state;
		change->new_state_size = size;
	}
	else if (change->initial.data == state)
	{
		change->new_initial = image->state;
		change->new_initial_size = size;
	}
	else
		return;
	image->state = InvalidDsaPointer;
}

static void
load_game(GsLoad *load, const LoadGame *game)
{
	GsChange change = {.kind = GS_CHANGE_CREATE};
	GsRecord record;
	const char *wrong;

	if (game->removed)
		return;
	if (game->image == NULL)
	{
		lack_image(load, game);
		return;
	}
	decode_again(game->image, &record);
	change.key.dboid = MyDatabaseId;
	change.key.id = *game->id;
	change.db = load->db;
	change.image_in = table_of(load, game);
	gs_replay_image(&change, &record);
	if (DsaPointerIsValid(game->image->state))
		change.state = (GsText){GS_PTR(game->image->state), game->image->state_len};
	wrong = take_updates(&change, game);
	if (wrong)
		lack_updates(load, game, &change, wrong);
	if (load->keep)
		return;
	if (DsaPointerIsValid(game->image->state))
		pass_state(game->image, &change);
	put_into_memory(load, &change);
}

/* ----------------------------------------------------------------
 *		Buckets
 * ----------------------------------------------------------------
 */

/* By id, in any order; the highest incarnation first; by version. */
static inline int
compare_records(const GsLoadRecord *a, const GsLoadRecord *b)
{
	uint64 ids[2][2];

	memcpy(ids[0], a->id.data, UUID_LEN);
	memcpy(ids[1], b->id.data, UUID_LEN);
	if (ids[0][1] != ids[1][1])
		return ids[0][1] < ids[1][1] ? -1 : 1;
	if (ids[0][0] != ids[1][0])
		return ids[0][0] < ids[1][0] ? -1 : 1;
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation ? -1 : 1;
	if (a->version != b->version)
		return a->version < b->version ? -1 : 1;
	return 0;
}

#define ST_SORT			 sort_records
#define ST_ELEMENT_TYPE	 LoadRecordRef
#define ST_COMPARE(a, b) compare_records(*(a), *(b))
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
free_state(GsDatabase *db, GsLoadRecord *record)
{
	if (!DsaPointerIsValid(record->state))
		return;
	gs_free(db, record->state, gs_alloc_size(Max(record->state_len, 1)));
	record->state = InvalidDsaPointer;
}

/* The game of n sorted records of one id. */
static LoadGame
make_game(GsLoadRecord **records, int n)
{
	LoadGame game = {.id = &records[0]->id, .updates = records};
	int first = 0;

	while (records[n - 1]->incarnation != records[0]->incarnation)
		n--;
	for (int i = 0; i < n; i++)
	{
		if (records[i]->kind == GS_RECORD_REMOVE)
			game.removed = true;
		if (records[i]->kind == GS_RECORD_IMAGE)
			game.image = records[i];
		if (game.image && records[i]->version <= game.image->version)
			first = i + 1;
	}
	game.updates = records + first;
	game.nupdates = n - first;
	return game;
}

/* The records of games that come soon, whose bytes lie anywhere in the arena. */
static inline void
prefetch_record(const GsLoadRecord *record)
{
	for (uint32 at = 0; at < Min(record->len, PREFETCH_MAX); at += PG_CACHE_LINE_SIZE)
		__builtin_prefetch(record->data + at);
}

static int
sort_bucket(GsLoad *load, const GsLoadBucket *bucket)
{
	int in_block = GS_LOAD_RECORDS_IN_FIRST(bucket);
	int n = 0;

	for (GsLoadBlock *block = bucket->blocks; block != NULL; block = block->next)
	{
		for (int i = 0; i < in_block; i++)
			load->sorted[n++] = &block->records[i];
		in_block = GS_LOAD_BLOCK_RECORDS;
	}
	sort_records(load->sorted, n);
	return n;
}

static void
load_bucket(GsLoad *load, const GsLoadBucket *bucket)
{
	GsLoadRecord **records = load->sorted;
	int n = sort_bucket(load, bucket);
	int ahead = 0;
	int start;
	int end;

	for (start = 0; start < n; start = end)
	{
		LoadGame game;

		CHECK_FOR_INTERRUPTS();
		for (end = start + 1; end < n; end++)
			if (memcmp(&records[end]->id, &records[start]->id, UUID_LEN) != 0)
				break;
		for (; ahead < Min(n, end + PREFETCH_AHEAD); ahead++)
			prefetch_record(records[ahead]);
		game = make_game(records + start, end - start);
		load_game(load, &game);
		for (int i = start; i < end; i++)
			free_state(load->db, records[i]);
		MemoryContextReset(load->game_context);
	}
}

void
gs_load_games(GsLoad *load)
{
	MemoryContext old = MemoryContextSwitchTo(load->game_context);
	uint32 most = 0;

	for (int i = 0; i < GS_LOAD_BUCKETS; i++)
		most = Max(most, load->buckets[i].n);
	load->sorted =
		MemoryContextAllocHuge(load->context, sizeof(GsLoadRecord *) * Max(most, 1));
	for (int i = 0; i < GS_LOAD_BUCKETS; i++)
		load_bucket(load, &load->buckets[i]);
	MemoryContextSwitchTo(old);
}

/* Also when the process is ended: what no game owns yet. */
void
gs_load_free_states(int code, Datum arg)
{
	GsLoad *load = (GsLoad *) DatumGetPointer(arg);

	if (load->buckets == NULL)
		return;
	for (int i = 0; i < GS_LOAD_BUCKETS; i++)
	{
		int in_block = GS_LOAD_RECORDS_IN_FIRST(&load->buckets[i]);

		for (GsLoadBlock *block = load->buckets[i].blocks; block; block = block->next)
		{
			for (int j = 0; j < in_block; j++)
				free_state(load->db, &block->records[j]);
			in_block = GS_LOAD_BLOCK_RECORDS;
		}
	}
}
