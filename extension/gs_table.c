/*-------------------------------------------------------------------------
 *
 * gs_table.c
 *	  The active-game table: look-up and copying.
 *
 * The model:
 *	1. One hash table (dshash) for all databases, keyed by database and id.
 *	   An entry is a GsGame; states, log and the rest are allocations of their
 *	   own that only that entry points to.
 *	2. A reader holds the partition lock of the hash table shared while it
 *	   copies, and nothing else: it sees one committed version, whole.  There
 *	   are 128 partitions (dshash.c).
 *	3. Games that are moved to a table: archived, suspended.  The transaction
 *	   marks the game with its xid before it commits.  The row is visible to
 *	   a snapshot exactly if the xid is, so a game is shown as live exactly to
 *	   those snapshots that do not see the xid: never in neither place, never
 *	   in both.  The entry is freed when no such snapshot is left.
 *	4. Games that come back from a table: the entry is there before the commit,
 *	   invisible, or still with what older snapshots see of the game, and is
 *	   marked with the xid.  Who sees that xid waits until the entry is what
 *	   was committed.  See gs_tier.c.
 *
 * How games change is in gs_table_change.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_ring.h"
#include "gs_table.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

dshash_table *GsGames = NULL;

static dshash_parameters
games_parameters(void)
{
	return (dshash_parameters){.key_size = sizeof(GsGameKey),
							   .entry_size = sizeof(GsGame),
							   .compare_function = dshash_memcmp,
							   .hash_function = dshash_memhash,
							   .tranche_id = GsShmem->games_tranche,
							   GS_DSHASH_COPY_FUNCTION};
}

void
gs_table_create(void)
{
	dshash_parameters params = games_parameters();
	dshash_table *table = dshash_create(GsArea, &params, NULL);

	GsShmem->games_handle = dshash_get_hash_table_handle(table);
	dshash_detach(table);
}

void
gs_table_attach(void)
{
	dshash_parameters params = games_parameters();

	GsGames = dshash_attach(GsArea, &params, GsShmem->games_handle, NULL);
}

uint32
gs_table_hash(const pg_uuid_t *id)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};

	return dshash_memhash(&key, sizeof(key), NULL);
}

const char *
gs_status_name(GsStatus status)
{
	switch (status)
	{
		case GS_STATUS_WAITING:
			return "waiting";
		case GS_STATUS_ACTIVE:
			return "active";
		case GS_STATUS_FINISHED:
			return "finished";
		case GS_STATUS_ABANDONED:
			return "abandoned";
	}
	return "unknown";
}

void
gs_table_removed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the games of this database have been removed"),
			 errdetail("The extension gamestate was dropped while this transaction was running.")));
}

/*
 * Does the table, as this transaction sees it, have the game already?  The
 * xid is one that a game is marked with.  A transaction that is no longer
 * running for the snapshot may also have rolled back, its mark not being
 * removed yet; so ask clog, in this order.
 */
static bool
archived_for_us(TransactionId xid, bool for_write)
{
	if (!for_write && ActiveSnapshotSet())
	{
		Snapshot snapshot = GetActiveSnapshot();

		if (XidInMVCCSnapshot(xid, snapshot))
			return false;
	}
	return TransactionIdDidCommit(xid);
}

/*
 * Wait until the transaction that brings a game back has changed memory: it
 * holds its xid's lock until then.  false if that is not for us to wait for.
 */
static bool
wait_for_return(TransactionId xid)
{
	if (!TransactionIdIsValid(xid) || TransactionIdIsCurrentTransactionId(xid) ||
		RecoveryInProgress())
		return false;
	XactLockTableWait(xid, NULL, NULL, XLTW_None);
	return true;
}

/* Of an xid that is not older than the oldest one that anybody may ask for. */
FullTransactionId
gs_table_full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();

	return FullTransactionIdFromU64(U64FromFullTransactionId(next) -
									(uint32) (XidFromFullTransactionId(next) - xid));
}

/* Who brings the game back just now?  The caller holds the partition lock. */
static TransactionId
returning_by(const GsGame *game)
{
	return game->returning ? XidFromFullTransactionId(game->returned_by)
						   : InvalidTransactionId;
}

/* For a snapshot that sees the xid the row is gone, so that memory must have the game. */
static bool
has_returned_for_us(TransactionId xid, bool for_write)
{
	return TransactionIdIsValid(xid) && !for_write && ActiveSnapshotSet() &&
		   !XidInMVCCSnapshot(xid, GetActiveSnapshot()) && wait_for_return(xid);
}

bool
gs_table_wait_for_return(const pg_uuid_t *id)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};
	GsGame *game = dshash_find(GsGames, &key, false);
	TransactionId xid;

	if (game == NULL)
		return false;
	xid = returning_by(game);
	dshash_release_lock(GsGames, game);
	return wait_for_return(xid);
}

GsGame *
gs_table_find(const pg_uuid_t *id, bool for_write)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = *id};
	TransactionId not_archived_by = InvalidTransactionId;

	for (;;)
	{
		GsGame *game = dshash_find(GsGames, &key, false);
		TransactionId xid;
		TransactionId returning;

		if (game == NULL || !game->visible)
		{
			returning = game ? returning_by(game) : InvalidTransactionId;
			if (game)
				dshash_release_lock(GsGames, game);
			if (has_returned_for_us(returning, for_write))
				continue;
			gs_durable_note_gone(gs_my_database());
			return NULL;
		}
		xid = game->archive_xid;
		if (likely(!TransactionIdIsValid(xid)) || xid == not_archived_by)
		{
			gs_durable_note(game->wait_lsn, game->wait_level);
			return game;
		}

		/* clog may have to be read from disk: not under the lock */
		returning = returning_by(game);
		dshash_release_lock(GsGames, game);
		if (!archived_for_us(xid, for_write))
			not_archived_by = xid;
		else if (!has_returned_for_us(returning, for_write))
			return NULL;
	}
}

void
gs_table_release(GsGame *game)
{
	dshash_release_lock(GsGames, game);
}

static const char *
take_text(const char *p, GsText *text, uint32 len, bool present)
{
	text->data = present ? p : NULL;
	text->len = len;
	return p + len;
}

void
gs_info_parts(const GsInfo *info, GsInfoParts *parts, GsText *players)
{
	const char *p = (const char *) &info->nodes[gs_info_nodes(info)];

	p = take_text(p, &parts->game_type, info->type_len, true);
	p = take_text(p, &parts->room_code, info->room_len, info->room_len > 0);
	parts->nplayers = info->nplayers;
	parts->players = players;
	for (int i = 0; i < info->nplayers; i++)
	{
		uint8 len = *(const uint8 *) p;

		p = take_text(p + 1, &players[i], len, true);
	}
	p = take_text(p, &parts->metadata, info->metadata_len, info->has_metadata);
	(void) take_text(p, &parts->result, info->result_len, info->has_result);
}

bool
gs_text_equal(const GsText *a, const GsText *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

bool
gs_is_open(const GsHeader *h, int nplayers)
{
	return h->status == GS_STATUS_WAITING &&
		   (h->max_players == 0 || nplayers < h->max_players);
}

/* On the path of each move that names its player: no allocation. */
bool
gs_info_has_player(const GsInfo *info, const GsText *player)
{
	const char *p = (const char *) &info->nodes[gs_info_nodes(info)] + info->type_len +
					info->room_len;

	for (int i = 0; i < info->nplayers; i++)
	{
		uint8 len = *(const uint8 *) p;

		if (len == player->len && memcmp(p + 1, player->data, len) == 0)
			return true;
		p += 1 + len;
	}
	return false;
}

bool
gs_info_has_room(const GsInfo *info, const GsText *room_code)
{
	const char *p = (const char *) &info->nodes[gs_info_nodes(info)] + info->type_len;

	return info->room_len == room_code->len &&
		   memcmp(p, room_code->data, info->room_len) == 0;
}

bool
gs_parts_have_player(const GsInfoParts *parts, const GsText *player)
{
	for (int i = 0; i < parts->nplayers; i++)
		if (gs_text_equal(&parts->players[i], player))
			return true;
	return false;
}

static GsText
copy_bytes(dsa_pointer p, uint32 len)
{
	GsText text;
	char *data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) len + 1);

	memcpy(data, GS_PTR(p), len);
	data[len] = '\0';
	text.data = data;
	text.len = len;
	return text;
}

/* Chunks of a log as copied under the lock, to be decoded without it. */
typedef struct LogRun
{
	int64 first_version;
	int64 base;
	uint32 nentries;
	uint32 used;
} LogRun;

typedef struct LogCopy
{
	int nruns;
	LogRun *runs;
	char *bytes; /* of all runs, one after another */
} LogCopy;

/*
 * Copy the chunks that hold versions from_version to to_version.  Chunks are
 * copied whole: decoding is left for when the lock has been released.
 */
static void
copy_log(const GsGame *game, int64 from_version, int64 to_version, LogCopy *copy)
{
	Size size = 0;
	int n = 0;
	char *dst;

	for (dsa_pointer p = game->log_first; DsaPointerIsValid(p);)
	{
		GsLogChunk *chunk = GS_PTR(p);

		if (chunk->first_version > to_version)
			break;
		if (chunk->first_version + chunk->nentries > from_version)
		{
			size += chunk->used;
			n++;
		}
		p = chunk->next;
	}

	copy->nruns = 0;
	copy->runs = palloc(sizeof(LogRun) * Max(n, 1));
	copy->bytes = dst = MemoryContextAllocHuge(CurrentMemoryContext, size + 1);
	for (dsa_pointer p = game->log_first; DsaPointerIsValid(p) && copy->nruns < n;)
	{
		GsLogChunk *chunk = GS_PTR(p);

		if (chunk->first_version + chunk->nentries > from_version)
		{
			copy->runs[copy->nruns++] =
				(LogRun){chunk->first_version, chunk->base, chunk->nentries, chunk->used};
			memcpy(dst, chunk->data, chunk->used);
			dst += chunk->used;
		}
		p = chunk->next;
	}
}

/* Decode versions from_version to to_version out of what copy_log() took. */
static GsEntry *
decode_log(const LogCopy *copy, int64 from_version, int64 to_version, uint64 *n)
{
	const char *p = copy->bytes;
	GsEntry *entries;
	uint64 total = 0;

	*n = 0;
	for (int i = 0; i < copy->nruns; i++)
		total += copy->runs[i].nentries;
	entries =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(GsEntry) * Max(total, 1));
	for (int i = 0; i < copy->nruns; i++)
	{
		const LogRun *run = &copy->runs[i];
		const char *end = p + run->used;

		for (uint32 j = 0; j < run->nentries; j++)
		{
			int64 version = run->first_version + j;
			const char *wrong = gs_entry_decode(&p, end, run->base, &entries[*n]);

			if (wrong != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("damaged log of a running game"),
						 errdetail("Entry of version %lld: %s.", (long long) version, wrong)));
			if (version >= from_version && version <= to_version)
				(*n)++;
		}
		p = end;
	}
	return entries;
}

/* Everything but state and log; the caller holds the partition lock. */
static GsGameCopy *
copy_fixed(const GsGame *game)
{
	GsGameCopy *copy = palloc0(sizeof(GsGameCopy));
	GsInfo *info = palloc(game->info_size);

	copy->game_id = game->key.id;
	copy->returned_by = game->returned_by;
	copy->h = game->h;
	memcpy(info, GS_PTR(game->info), game->info_size);
	gs_info_parts(info, &copy->info, palloc(sizeof(GsText) * Max(info->nplayers, 1)));
	return copy;
}

GsGameCopy *
gs_table_copy(const pg_uuid_t *id, int what, bool for_write, MemoryContext mcxt)
{
	GsGame *game = gs_table_find(id, for_write);
	MemoryContext old;
	GsGameCopy *copy;
	LogCopy log;
	int64 start;

	if (game == NULL)
		return NULL;
	old = MemoryContextSwitchTo(mcxt);
	copy = copy_fixed(game);
	if (what & GS_COPY_STATE)
		copy->state = copy_bytes(game->state, game->state_len);
	if ((what & GS_COPY_INITIAL) && !gs_has_deltas(&game->h))
		copy->initial = DsaPointerIsValid(game->initial)
							? copy_bytes(game->initial, game->initial_len)
							: copy_bytes(game->state, game->state_len);
	start = gs_log_start(&copy->h);
	if (what & GS_COPY_LOG)
		copy_log(game, start, copy->h.version, &log);
	if ((what & GS_COPY_LOG) && start > 2)
		copy->requests = gs_ring_before(game, start, &copy->nrequests);
	dshash_release_lock(GsGames, game);

	if (what & GS_COPY_LOG)
	{
		copy->log = log.bytes;
		copy->entries = decode_log(&log, start, copy->h.version, &copy->nentries);
	}
	MemoryContextSwitchTo(old);
	return copy;
}

GsGameCopy *
gs_table_copy_log(const pg_uuid_t *id, int64 after_version, int64 max_entries,
				  int64 *first_version, MemoryContext mcxt)
{
	GsGame *game = gs_table_find(id, false);
	MemoryContext old;
	GsGameCopy *copy;
	LogCopy log;
	int64 from;
	int64 to;

	if (game == NULL)
		return NULL;
	old = MemoryContextSwitchTo(mcxt);
	copy = copy_fixed(game);
	to = copy->h.version;
	from = Max(Min(after_version, to), 1) + 1; /* cannot overflow */
	from = Max(from, gs_log_start(&copy->h));
	if (gs_has_deltas(&copy->h))
		copy->state = copy_bytes(game->state, game->state_len);
	else if (from <= to && to - from >= max_entries)
		to = from + max_entries - 1;
	copy_log(game, from, to, &log);
	dshash_release_lock(GsGames, game);

	copy->log = log.bytes;
	copy->entries = decode_log(&log, from, to, &copy->nentries);
	*first_version = from;
	MemoryContextSwitchTo(old);
	return copy;
}

pg_uuid_t *
gs_table_ids(int *n)
{
	dshash_seq_status scan;
	GsGame *game;
	Size size = 1024;
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * size);

	*n = 0;
	dshash_seq_init(&scan, GsGames, false);
	while ((game = dshash_seq_next(&scan)) != NULL)
	{
		if (game->key.dboid != MyDatabaseId || !(game->visible || game->returning))
			continue;
		if ((Size) *n == size)
		{
			size *= 2;
			ids = repalloc_huge(ids, sizeof(pg_uuid_t) * size);
		}
		ids[(*n)++] = game->key.id;
	}
	dshash_seq_term(&scan);
	gs_durable_note_gone(gs_my_database());
	return ids;
}
