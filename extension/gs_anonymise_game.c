/*-------------------------------------------------------------------------
 *
 * gs_anonymise_game.c
 *	  Replacing a player's id in one game.
 *
 * The model:
 *	1. Players' columns and the players of log entries are ids: replaced where
 *	   they are equal.  In documents (states, events, metadata, result), if that
 *	   is wanted, each JSON string that is the id (gs_redact.c).
 *	2. With deltas (full history) each earlier state is gone back to, replaced
 *	   in, and said anew as a delta from the state after it.
 *	3. A live game is written anew as a whole, log and all, as a creation that
 *	   takes the place of the game and goes on from its version: the same
 *	   incarnation, one version more, one entry more (of kind anonymise).  The
 *	   change feed tells just that entry.
 *
 * What may not be done here: touch states and events of games whose encoding is
 * bytes; they mean nothing to us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_delta.h"
#include "gs_lock.h"
#include "gs_redact.h"
#include "gs_target.h"
#include "gs_writeset.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

bool
gs_anonymise_id(const GsAnonymise *a, GsText *player)
{
	if (player->data == NULL || !gs_text_equal(player, &a->player))
		return false;
	*player = a->pseudonym;
	return true;
}

static bool
replace_strings(const GsAnonymise *a, GsText *document)
{
	GsRedaction redaction = {a->player.data, a->player.len, a->pseudonym.data,
							 a->pseudonym.len};
	size_t found;
	size_t len;
	char *dst;

	if (document->data == NULL)
		return false;
	len = gs_redact(&redaction, document->data, document->len, NULL, &found);
	if (found == 0)
		return false;
	if (len > GS_DELTA_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a document becomes too large with another player id")));
	dst = MemoryContextAllocHuge(CurrentMemoryContext, Max(len, 1));
	(void) gs_redact(&redaction, document->data, document->len, dst, &found);
	*document = (GsText){dst, len};
	return true;
}

bool
gs_anonymise_document(const GsAnonymise *a, GsText *document)
{
	return a->documents && replace_strings(a, document);
}

/* ----------------------------------------------------------------
 *		States and log
 * ----------------------------------------------------------------
 */

/* NULL, or what is wrong */
static const char *
state_before(const GsText *after, const GsEntry *e, GsText *before)
{
	uint32 len;
	const char *wrong = gs_delta_length(e->delta, e->delta_len, &len);
	char *data;

	if (wrong)
		return wrong;
	data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) len + 1);
	*before = (GsText){data, len};
	return gs_delta_apply(after->data, after->len, e->delta, e->delta_len, data, len);
}

static void
set_delta(GsEntry *e, const GsText *after, const GsText *before)
{
	Size room = gs_delta_back_room(before->len, 0);
	char *delta = MemoryContextAllocHuge(CurrentMemoryContext, room);
	size_t len =
		gs_delta_encode(after->data, after->len, before->data, before->len, delta, room);

	if (len == 0)
		len = gs_delta_whole(before->data, before->len, delta, room);
	if (len == 0)
		elog(ERROR, "no room for a delta");
	e->delta = delta;
	e->delta_len = len;
}

/* From the last state back; the states are those before anything was replaced. */
static bool
replace_in_deltas(const GsAnonymise *a, GsText after, GsEntry *entries, uint64 n,
				  const char **wrong)
{
	GsText new_after = after;
	bool after_changed = replace_strings(a, &new_after);
	bool changed = false;

	for (; n > 0; n--)
	{
		GsEntry *e = &entries[n - 1];
		GsText before;
		GsText new_before;
		bool before_changed;

		CHECK_FOR_INTERRUPTS();
		if (e->delta == NULL)
			continue;
		*wrong = state_before(&after, e, &before);
		if (*wrong)
			return false;
		new_before = before;
		before_changed = replace_strings(a, &new_before);
		if (before_changed || after_changed)
		{
			set_delta(e, &new_after, &new_before);
			changed = true;
		}
		after = before;
		new_after = new_before;
		after_changed = before_changed;
	}
	return changed;
}

/* Only the events of moves are what the game's encoding says. */
static bool
replace_in_entry(const GsAnonymise *a, bool is_json, GsEntry *e)
{
	GsText player = {e->player, e->player_len};
	GsText event = {e->event, e->event_len};
	bool changed = false;

	if (gs_anonymise_id(a, &player))
	{
		e->player = player.data;
		e->player_len = player.len;
		changed = true;
	}
	if ((is_json || e->kind != GS_KIND_MOVE) && gs_anonymise_document(a, &event))
	{
		e->event = event.data;
		e->event_len = event.len;
		changed = true;
	}
	return changed;
}

bool
gs_anonymise_history(const GsAnonymise *a, bool is_json, GsText *initial, GsText *final,
					 GsEntry *entries, uint64 n, const char **wrong)
{
	bool changed = false;

	*wrong = NULL;
	for (uint64 i = 0; i < n; i++)
		changed |= replace_in_entry(a, is_json, &entries[i]);
	if (!is_json || !a->documents)
		return changed;
	changed |= replace_in_deltas(a, *final, entries, n, wrong);
	changed |= replace_strings(a, initial);
	changed |= replace_strings(a, final);
	return changed;
}

/* ----------------------------------------------------------------
 *		A payload
 * ----------------------------------------------------------------
 */

static void
encode_entries(GsPayload *payload, const GsEntry *entries)
{
	Size size = 0;
	char *p;

	for (uint64 i = 0; i < payload->nentries; i++)
		size += gs_entry_size(&entries[i], payload->base);
	p = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));
	payload->entries = p;
	payload->entries_len = size;
	for (uint64 i = 0; i < payload->nentries; i++)
		p = gs_entry_encode(&entries[i], payload->base, p);
}

bool
gs_anonymise_payload(const GsAnonymise *a, bool is_json, GsPayload *payload,
					 const char **wrong)
{
	GsText initial = {payload->has_deltas ? NULL : payload->initial,
					  payload->initial_len};
	GsText final = {payload->final, payload->final_len};
	GsEntry *entries =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   sizeof(GsEntry) * Max(payload->nentries, 1));
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;

	for (uint64 i = 0; i < payload->nentries; i++)
		if (gs_entry_decode(&p, end, payload->base, &entries[i]) != NULL)
			elog(ERROR, "archived entry does not decode a second time");
	if (!gs_anonymise_history(a, is_json, &initial, &final, entries, payload->nentries,
							  wrong) ||
		*wrong != NULL)
		return false;
	if (!payload->has_deltas)
	{
		payload->initial = initial.data;
		payload->initial_len = initial.len;
	}
	payload->final = final.data;
	payload->final_len = final.len;
	encode_entries(payload, entries);
	return true;
}

/* ----------------------------------------------------------------
 *		A live game
 * ----------------------------------------------------------------
 */

static bool
replace_in_copy(const GsAnonymise *a, GsGameCopy *game)
{
	const char *wrong;
	bool changed =
		gs_anonymise_history(a, game->h.encoding == GS_ENCODING_JSON, &game->initial,
							 &game->state, game->entries, game->nentries, &wrong);

	if (wrong)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("history of game %s is damaged", gs_id_text(&game->game_id)),
				 errdetail("%s.", wrong)));
	for (int i = 0; i < game->info.nplayers; i++)
		changed |= gs_anonymise_id(a, &game->info.players[i]);
	changed |= gs_anonymise_document(a, &game->info.metadata);
	changed |= gs_anonymise_document(a, &game->info.result);
	return changed;
}

static GsNewEntry *
add_entry(GsNewEntry *prev, int64 version, const GsEntry *e)
{
	GsNewEntry *entry = palloc(sizeof(GsNewEntry));

	entry->prev = prev;
	entry->version = version;
	entry->e = *e;
	return entry;
}

/* Everything is in the write set's memory. */
static void
record_change(GsGameCopy *game)
{
	GsPending *pending = gs_writeset_open(&game->game_id, &game->h);
	GsChange *change = &pending->change;
	GsEntry e = {.kind = GS_KIND_ANONYMISE, .at = GetCurrentTimestamp()};
	int64 first = game->h.version - (int64) game->nentries + 1;
	GsNewEntry *newest = NULL;

	/* requests that are older than the log, as gs_journal_image() has them */
	for (uint32 i = 0; i < game->nrequests; i++)
	{
		GsEntry request = {.kind = GS_KIND_MOVE,
						   .at = game->h.updated_at,
						   .request_id = game->requests[i].id.data,
						   .request_arguments = game->requests[i].arguments};

		newest = add_entry(newest, game->requests[i].version, &request);
	}
	for (uint64 i = 0; i < game->nentries; i++)
		newest = add_entry(newest, first + (int64) i, &game->entries[i]);
	newest = add_entry(newest, game->h.version + 1, &e);

	change->kind = GS_CHANGE_CREATE;
	change->replaces = true;
	change->moved_by = game->returned_by; /* old snapshots still do not see it here */
	change->h.version++;
	change->h.updated_at = e.at;
	change->state_changed = change->info_changed = true;
	change->state = game->state;
	change->info = game->info;
	change->initial = (GsText){NULL, 0};
	if (game->initial.data != NULL && !gs_text_equal(&game->initial, &game->state))
		change->initial = game->initial;
	change->nentries = game->nrequests + game->nentries + 1;
	change->entries = newest;
}

bool
gs_anonymise_live(const GsAnonymise *a, const pg_uuid_t *id)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(old, "gamestate anonymise", ALLOCSET_DEFAULT_SIZES);
	GsGameCopy *game;
	bool changed;

	/* most games do not know the player: they are not locked */
	MemoryContextSwitchTo(scratch);
	game = gs_table_copy(id, GS_COPY_ALL, true, scratch);
	changed = game != NULL && replace_in_copy(a, game);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	if (!changed)
		return false;

	(void) gs_lock_game(id, false);
	MemoryContextSwitchTo(gs_writeset_context());
	game = gs_table_copy(id, GS_COPY_ALL, true, CurrentMemoryContext);
	changed = game != NULL && replace_in_copy(a, game);
	if (changed)
		record_change(game);
	MemoryContextSwitchTo(old);
	return changed;
}
