/*-------------------------------------------------------------------------
 *
 * gs_replay.c
 *	  What the rows of the journal mean: from a row to a change record.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_journal.h"
#include "gs_replay.h"

#include "access/htup_details.h"

/* seq, idx and cnt at the beginning of a row's data; data follows without a gap */
#define ROW_FIXED (sizeof(int64) + 2 * sizeof(int32))

/* ----------------------------------------------------------------
 *		Rows and records
 * ----------------------------------------------------------------
 */

/*
 * Take a row apart.  Not heap_deform_tuple(): that trusts every length, and a
 * damaged one would end this process, and with it the server, at each start.
 */
const char *
gs_replay_row(HeapTupleHeader header, Size len, GsJournalRow *row)
{
	const char *p;
	const struct varlena *datum;
	Size left;
	uint32 crc;

	if (len < SizeofHeapTupleHeader || header->t_hoff > len ||
		header->t_hoff < SizeofHeapTupleHeader ||
		header->t_hoff != MAXALIGN(header->t_hoff) ||
		HeapTupleHeaderGetNatts(header) < GS_JOURNAL_NATTS)
		return "its header is wrong";
	if ((header->t_infomask & HEAP_HASNULL) != 0)
	{
		if (header->t_hoff <
			SizeofHeapTupleHeader + BITMAPLEN(HeapTupleHeaderGetNatts(header)))
			return "its header is wrong";
		for (int i = 0; i < GS_JOURNAL_NATTS; i++)
			if (att_isnull(i, header->t_bits))
				return "a column is null";
	}
	p = (const char *) header + header->t_hoff;
	left = len - header->t_hoff;
	if (left < ROW_FIXED + VARHDRSZ)
		return "it is too short";
	memcpy(&row->seq, p, sizeof(row->seq));
	memcpy(&row->idx, p + sizeof(row->seq), sizeof(row->idx));
	memcpy(&row->cnt, p + sizeof(row->seq) + sizeof(row->idx), sizeof(row->cnt));
	datum = (const struct varlena *) (p + ROW_FIXED);
	left -= ROW_FIXED;
	if (VARATT_IS_EXTERNAL(datum) || VARATT_IS_COMPRESSED(datum))
		return "its data is compressed or stored elsewhere";
	if (VARSIZE_ANY(datum) > left ||
		VARSIZE_ANY(datum) < (VARATT_IS_SHORT(datum) ? VARHDRSZ_SHORT : VARHDRSZ))
		return "the length of its data is wrong";
	if (VARSIZE_ANY_EXHDR(datum) < GS_JOURNAL_CRC_SIZE)
		return "it is too short";
	memcpy(&crc, VARDATA_ANY(datum), sizeof(crc));
	row->data = VARDATA_ANY(datum) + GS_JOURNAL_CRC_SIZE;
	row->len = VARSIZE_ANY_EXHDR(datum) - GS_JOURNAL_CRC_SIZE;
	if (crc != gs_journal_crc(row->seq, row->idx, row->cnt, row->data, row->len))
		return "its checksum is wrong";
	if (row->cnt < 1 || row->idx < 0 || row->idx >= row->cnt)
		return "its place in the group is impossible";
	return NULL;
}

/* What the codec cannot know: is it a game of ours? */
static const char *
check_record(const GsRecord *record)
{
	const char *p = record->players_raw.data;

	if (record->kind == GS_RECORD_REMOVE)
		return NULL;
	if (record->status > GS_STATUS_ABANDONED || record->encoding > GS_ENCODING_BYTES ||
		record->history > GS_HISTORY_LAST)
		return "a status, an encoding or a history is unknown";
	if (!(record->parts & GS_RECORD_HAS_INFO))
		return NULL;
	if (record->game_type.len > GS_MAX_ID_LENGTH ||
		record->room_code.len > GS_MAX_ID_LENGTH || record->nplayers > PG_UINT16_MAX)
		return "a game type or room code is too long, or there are too many players";
	for (uint32 i = 0; i < record->nplayers; i++)
	{
		GsBytes player;

		gs_record_next_player(&p, &player);
		if (player.len > GS_MAX_ID_LENGTH)
			return "a player id is too long";
	}
	return NULL;
}

const char *
gs_replay_record(const char **p, const char *end, GsRecord *record)
{
	const char *wrong = gs_record_decode(p, end, record);

	return wrong ? wrong : check_record(record);
}

/* ----------------------------------------------------------------
 *		Changes
 * ----------------------------------------------------------------
 */

static GsText
text_of(const GsBytes *bytes)
{
	return (GsText){bytes->data, bytes->len};
}

/* An image sets all of a header, an update what has changed. */
static void
take_header(GsHeader *h, const GsRecord *record)
{
	uint8 set = record->kind == GS_RECORD_IMAGE ? 0xFF : record->fields;

	h->incarnation = record->incarnation;
	h->version = record->version;
	h->moves = record->moves;
	h->updated_at = record->updated_at;
	if (set & GS_RECORD_SET_STATUS)
		h->status = record->status;
	if (set & GS_RECORD_SET_ENCODING)
	{
		h->encoding = record->encoding;
		h->history = record->history;
		h->history_limit = record->history_limit;
	}
	if (set & GS_RECORD_SET_CREATED_AT)
		h->created_at = record->created_at;
	if (set & GS_RECORD_SET_STARTED_AT)
		h->started_at = record->started_at;
	if (set & GS_RECORD_SET_ENDED_AT)
		h->ended_at = record->ended_at;
	if (set & GS_RECORD_SET_DEADLINE)
		h->deadline = record->deadline;
	if (set & GS_RECORD_SET_MAX_PLAYERS)
		h->max_players = record->max_players;
	if (set & GS_RECORD_SET_REQUEST)
	{
		h->has_create_request = (record->fields & GS_RECORD_SET_REQUEST) != 0;
		memcpy(h->create_request.data, record->create_request, UUID_LEN);
		h->create_arguments = record->create_arguments;
	}
}

static void
take_info(GsInfoParts *info, const GsRecord *record)
{
	const char *p = record->players_raw.data;

	info->game_type = text_of(&record->game_type);
	info->room_code = text_of(&record->room_code);
	info->metadata = text_of(&record->metadata);
	info->result = text_of(&record->result);
	info->nplayers = record->nplayers;
	info->players = palloc(sizeof(GsText) * Max(record->nplayers, 1));
	for (uint32 i = 0; i < record->nplayers; i++)
	{
		GsBytes player;

		gs_record_next_player(&p, &player);
		info->players[i] = text_of(&player);
	}
}

/*
 * "back" leads to the state before; without it (which only damage can bring
 * about) an empty delta stays, and who needs it will find it broken.
 */
static void
take_log(GsChange *change, const GsRecord *record, const GsText *back)
{
	const char *p = record->runs_raw.data;

	for (uint32 i = 0; i < record->nruns; i++)
	{
		GsRecordRun run;
		GsNewEntry *entry;
		const char *q;

		gs_record_next_run(record, &p, &run);
		q = run.entries.data;
		entry = MemoryContextAllocHuge(CurrentMemoryContext,
									   sizeof(GsNewEntry) * run.nentries);
		for (uint32 j = 0; j < run.nentries; j++, entry++)
		{
			if (gs_entry_decode(&q, run.entries.data + run.entries.len, run.base,
								&entry->e) != NULL)
				elog(ERROR, "entry that has been checked does not decode");
			if (entry->e.delta && entry->e.delta_len == 0 && back->data)
			{
				entry->e.delta = back->data;
				entry->e.delta_len = back->len;
			}
			entry->version = run.first_version + j;
			entry->prev = change->entries;
			change->entries = entry;
			change->nentries++;
		}
	}
}

/* What leads back to the state before an update. */
static GsText
way_back(const GsText *old, const GsRecord *record)
{
	Size room = gs_delta_back_room(old->len, record->delta.len);
	char *back = MemoryContextAllocHuge(CurrentMemoryContext, room);
	Size len = record->parts & GS_RECORD_HAS_DELTA
				   ? gs_delta_invert(old->data, old->len, record->delta.data,
									 record->delta.len, back, room)
				   : gs_delta_whole(old->data, old->len, back, room);

	char *exact;

	if (len == 0)
		elog(ERROR, "delta that has been applied cannot be inverted");
	/* a game may have many updates, and a delta is short */
	exact = MemoryContextAllocHuge(CurrentMemoryContext, len);
	memcpy(exact, back, len);
	pfree(back);
	return (GsText){exact, len};
}

/* The state after an update, and the way back; NULL or what is wrong. */
static const char *
take_state(GsChange *change, const GsRecord *record, GsText *back)
{
	const GsText old = change->state;
	bool own = false;
	const char *wrong;
	char *data;
	uint32 len;

	if (record->parts & GS_RECORD_HAS_STATE)
		change->state = text_of(&record->state);
	else if (record->parts & GS_RECORD_HAS_DELTA)
	{
		wrong = gs_delta_length(record->delta.data, record->delta.len, &len);
		if (wrong)
			return wrong;
		data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) len + 1);
		wrong = gs_delta_apply(old.data, old.len, record->delta.data, record->delta.len,
							   data, len);
		if (wrong)
		{
			pfree(data);
			return wrong;
		}
		change->state = (GsText){data, len};
		own = true;
	}
	else
		return NULL;
	if (gs_has_deltas(&change->h))
		*back = way_back(&old, record);
	else if (change->initial.data == NULL)
	{
		change->initial = old;
		change->own_state = false;
	}
	if (change->own_state)
		pfree(unconstify(char *, old.data)); /* a large one may change often */
	change->own_state = own;
	return NULL;
}

void
gs_replay_image(GsChange *change, const GsRecord *record)
{
	change->state_changed = change->info_changed = true;
	take_header(&change->h, record);
	take_info(&change->info, record);
	change->state = text_of(&record->state);
	if (record->parts & GS_RECORD_HAS_INITIAL)
		change->initial = text_of(&record->initial);
	take_log(change, record, &(GsText){NULL, 0});
}

const char *
gs_replay_update(GsChange *change, const GsRecord *record)
{
	GsText back = {NULL, 0};
	const char *wrong;

	if (record->base_version != change->h.version)
		return "an update is missing";
	wrong = take_state(change, record, &back);
	if (wrong)
		return wrong;
	take_header(&change->h, record);
	if (record->parts & GS_RECORD_HAS_INFO)
		take_info(&change->info, record);
	take_log(change, record, &back);
	return NULL;
}
