/*-------------------------------------------------------------------------
 *
 * gs_log.c
 *	  The log of a running game, in shared memory.
 *
 * The model:
 *	1. A log is a list of chunks, each a run of entries one after another with
 *	   a common base time.
 *	2. New entries go into the last chunk if it has room for them.
 *	3. If it has not, a small log moves into another chunk, larger by a quarter
 *	   or so: games have many small logs, and a quarter of one, or an end that no
 *	   entry fits into, would be lost with each chunk.  To a larger log a chunk is
 *	   added, a quarter as large as all it has: what moved would be too much.
 *	4. Many new entries at once, as when a game is loaded, get several chunks:
 *	   memory that is nearly full has no room for a large one in one piece.
 *	5. A log of the last changes only (GS_HISTORY_LAST) loses the chunks in
 *	   which all entries have become too old; when it moves, the entries that have
 *	   stay behind.
 *
 * As for all of a change record, memory is allocated before the commit point,
 * and nothing fails after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_log.h"

/* A log with so many bytes of entries no longer moves. */
#define MOVE_MAX 4096

/* Chunks that are added to a log are between these. */
#define CHUNK_MIN 1024
#define CHUNK_MAX 8192

/* Where many entries come at once: in whole pages of the area, of which little is lost. */
#define CHUNK_MANY (16 * 4096)

/* ----------------------------------------------------------------
 *		New entries
 * ----------------------------------------------------------------
 */

void
gs_log_order(GsChange *change)
{
	int64 start = gs_log_start(&change->h);
	int i = change->nentries;

	change->entry_array = palloc(sizeof(GsNewEntry *) * change->nentries);
	for (GsNewEntry *e = change->entries; e != NULL; e = e->prev)
		change->entry_array[--i] = e;
	Assert(i == 0);
	change->noutdated = 0;
	while (change->noutdated < change->nentries - 1 &&
		   change->entry_array[change->noutdated]->version < start)
		change->noutdated++;
}

static const GsNewEntry *
first_entry(const GsChange *change)
{
	return change->entry_array[change->noutdated];
}

static Size
entries_size(const GsChange *change, int64 base)
{
	Size size = 0;

	for (int i = change->noutdated; i < change->nentries; i++)
		size += gs_entry_size(&change->entry_array[i]->e, base);
	return size;
}

static void
append_some(const GsChange *change, int from, int to, GsLogChunk *chunk)
{
	char *p = chunk->data + chunk->used;

	for (int i = from; i < to; i++)
		p = gs_entry_encode(&change->entry_array[i]->e, chunk->base, p);
	chunk->used = p - chunk->data;
	chunk->nentries += to - from;
	Assert(GS_LOG_CHUNK_HEADER + chunk->used <= chunk->size);
}

static void
append_entries(const GsChange *change, GsLogChunk *chunk)
{
	append_some(change, change->noutdated, change->nentries, chunk);
}

/* ----------------------------------------------------------------
 *		Plan and reserve
 * ----------------------------------------------------------------
 */

/* How many entries of a chunk have become too old? */
static void
leave_outdated(GsChange *change, const GsLogChunk *chunk)
{
	int64 start = gs_log_start(&change->h);
	const char *p = chunk->data;
	uint32 n = 0;
	GsEntry e;

	while (n < chunk->nentries && chunk->first_version + n < start &&
		   gs_entry_decode(&p, chunk->data + chunk->used, chunk->base, &e) == NULL)
		n++;
	change->nleft_behind = n;
	change->left_behind = p - chunk->data;
}

/* The log's only chunk is full: it moves, or does not (false). */
static bool
plan_move(GsChange *change, const GsLogChunk *chunk, Size need, GsLogPlan *plan)
{
	Size used;

	change->nleft_behind = 0;
	change->left_behind = 0;
	if (change->h.history == GS_HISTORY_LAST)
		leave_outdated(change, chunk);
	used = chunk->used - change->left_behind + need;
	if (used > MOVE_MAX)
		return false;
	change->moves_log = true;
	plan->base = chunk->base;
	/* the last changes only: so much will become free again as is needed */
	plan->size = GS_LOG_CHUNK_HEADER + used +
				 (change->h.history == GS_HISTORY_LAST ? used / 2 : used / 4);
	return true;
}

GsLogPlan
gs_log_plan(GsChange *change, const GsGame *game)
{
	GsLogPlan plan = {.new_chunk = true, .base = first_entry(change)->e.at};
	const GsLogChunk *chunk;
	Size need;

	change->moves_log = false;
	change->replaces_log = change->noutdated > 0;
	if (game == NULL || !DsaPointerIsValid(game->log_last) || change->replaces_log)
	{
		need = entries_size(change, plan.base);
		plan.size = GS_LOG_CHUNK_HEADER + need;
		if (game != NULL)
			plan.size += need / 4; /* it will grow */
		return plan;
	}

	chunk = GS_PTR(game->log_last);
	need = entries_size(change, chunk->base);
	if (GS_LOG_CHUNK_HEADER + chunk->used + need <= chunk->size)
		plan.new_chunk = false;
	else if (game->log_first != game->log_last || !plan_move(change, chunk, need, &plan))
	{
		plan.size = GS_LOG_CHUNK_HEADER + entries_size(change, plan.base);
		plan.size = Max(plan.size, Min(Max(game->log_bytes / 4, CHUNK_MIN), CHUNK_MAX));
	}
	return plan;
}

/* An empty chunk, linked to the change at once, so that it is freed with it. */
static GsLogChunk *
add_chunk(GsChange *change, Size size, int first, int64 base)
{
	dsa_pointer p;
	GsLogChunk *chunk;

	size = gs_alloc_size(size);
	p = gs_alloc(change->db, size, change->frees);
	chunk = GS_PTR(p);
	chunk->next = InvalidDsaPointer;
	chunk->first_version = change->entry_array[first]->version;
	chunk->base = base;
	chunk->nentries = 0;
	chunk->used = 0;
	chunk->size = size;
	if (!DsaPointerIsValid(change->new_chunk))
		change->new_chunk = p;
	else
		((GsLogChunk *) GS_PTR(change->new_last_chunk))->next = p;
	change->new_last_chunk = p;
	change->new_chunks_size += size;
	return chunk;
}

static void
reserve_many(GsChange *change)
{
	int i = change->noutdated;

	while (i < change->nentries)
	{
		int first = i;
		int64 base = change->entry_array[first]->e.at;
		Size size = GS_LOG_CHUNK_HEADER;

		do
			size += gs_entry_size(&change->entry_array[i++]->e, base);
		while (i < change->nentries &&
			   size + gs_entry_size(&change->entry_array[i]->e, base) <= CHUNK_MANY);
		append_some(change, first, i, add_chunk(change, size, first, base));
	}
}

void
gs_log_reserve(GsChange *change, const GsLogPlan *plan)
{
	GsLogChunk *chunk;

	if (!plan->new_chunk)
		return;
	if (!change->moves_log && plan->size > CHUNK_MANY)
	{
		reserve_many(change);
		return;
	}
	chunk = add_chunk(change, plan->size, change->noutdated, plan->base);
	if (!change->moves_log)
		append_entries(change, chunk);
}

/* ----------------------------------------------------------------
 *		Install
 * ----------------------------------------------------------------
 */

/* What the log's only chunk has, and the new entries, into the new one. */
static void
move_log(const GsChange *change, const GsLogChunk *old, GsLogChunk *chunk)
{
	chunk->first_version = old->first_version + change->nleft_behind;
	chunk->nentries = old->nentries - change->nleft_behind;
	chunk->used = old->used - change->left_behind;
	memcpy(chunk->data, old->data + change->left_behind, chunk->used);
	append_entries(change, chunk);
}

/* Take the chunks off whose entries have all become too old. */
static dsa_pointer
cut_outdated(GsGame *game, int64 start)
{
	dsa_pointer first = game->log_first;
	GsLogChunk *last = NULL; /* of those */

	while (game->log_first != game->log_last)
	{
		GsLogChunk *chunk = GS_PTR(game->log_first);

		if (chunk->first_version + chunk->nentries > start)
			break;
		game->log_first = chunk->next;
		game->log_bytes -= chunk->size;
		last = chunk;
	}
	if (last == NULL)
		return InvalidDsaPointer;
	last->next = InvalidDsaPointer;
	return first;
}

dsa_pointer
gs_log_install(GsChange *change, GsGame *game)
{
	dsa_pointer garbage = InvalidDsaPointer;

	if (change->nentries == 0)
		return InvalidDsaPointer;
	if (!DsaPointerIsValid(change->new_chunk))
		append_entries(change, GS_PTR(game->log_last));
	else if (!DsaPointerIsValid(game->log_last) || change->moves_log ||
			 change->replaces_log)
	{
		if (change->moves_log)
			move_log(change, GS_PTR(game->log_last), GS_PTR(change->new_chunk));
		garbage = game->log_first;
		game->log_first = change->new_chunk;
		game->log_last = change->new_last_chunk;
		game->log_bytes = change->new_chunks_size;
	}
	else
	{
		((GsLogChunk *) GS_PTR(game->log_last))->next = change->new_chunk;
		game->log_last = change->new_last_chunk;
		game->log_bytes += change->new_chunks_size;
	}
	if (!DsaPointerIsValid(garbage) && change->h.history == GS_HISTORY_LAST)
		garbage = cut_outdated(game, gs_log_start(&change->h));
	return garbage;
}

void
gs_log_free(GsDatabase *db, dsa_pointer p)
{
	while (DsaPointerIsValid(p))
	{
		GsLogChunk *chunk = GS_PTR(p);
		dsa_pointer next = chunk->next;

		gs_free(db, p, chunk->size);
		p = next;
	}
}
