/*-------------------------------------------------------------------------
 *
 * fuzz_record.c
 *	  libFuzzer target: the codec of journal records.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_record.c extension/gs_delta.c
 *		  extension/gs_entry.c extension/gs_record.c
 *
 * The input is records, one after another: they give an error, or what was
 * read can be walked and encodes to the very same bytes (encodings are
 * canonical).
 *
 *-------------------------------------------------------------------------
 */
#include "gs_record.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool condition)
{
	if (!condition)
		abort();
}

/* the arrays that encode wants, from what decode left; the caller frees them */
static GsBytes *
walk_players(const GsRecord *record)
{
	GsBytes *players = calloc((size_t) record->nplayers + 1, sizeof(GsBytes));
	const char *p = record->players_raw.data;

	for (uint32_t i = 0; i < record->nplayers; i++)
		gs_record_next_player(&p, &players[i]);
	check(record->players_raw.data == NULL ||
		  p == record->players_raw.data + record->players_raw.len);
	return players;
}

static GsRecordRun *
walk_runs(const GsRecord *record)
{
	GsRecordRun *runs = calloc((size_t) record->nruns + 1, sizeof(GsRecordRun));
	const char *p = record->runs_raw.data;

	for (uint32_t i = 0; i < record->nruns; i++)
	{
		GsRecordRun *run = &runs[i];
		const char *entry;

		gs_record_next_run(record, &p, run);
		check(run->first_version + run->nentries - 1 <= record->version);
		check(run->nentries > 0);
		entry = run->entries.data;
		for (uint32_t k = 0; k < run->nentries; k++)
		{
			GsEntry e;

			check(gs_entry_decode(&entry, run->entries.data + run->entries.len, run->base,
								  &e) == NULL);
		}
		check(entry == run->entries.data + run->entries.len);
	}
	check(record->runs_raw.data == NULL ||
		  p == record->runs_raw.data + record->runs_raw.len);
	return runs;
}

static void
try_records(const char *p, const char *end)
{
	while (p < end)
	{
		const char *start = p;
		GsRecord record;
		const char *error = gs_record_decode(&p, end, &record);
		GsBytes *players;
		GsRecordRun *runs;
		size_t len;
		char *copy;

		if (error != NULL)
		{
			check(error[0] != '\0');
			return;
		}
		check(p > start && p <= end);
		check(record.moves <= record.version && record.base_version <= record.version);

		record.players = players = walk_players(&record);
		record.runs = runs = walk_runs(&record);
		len = gs_record_size(&record);
		check(len == (size_t) (p - start));
		copy = malloc(len);
		check(gs_record_encode(&record, copy) == copy + len);
		check(memcmp(copy, start, len) == 0);
		free(copy);
		free(runs);
		free(players);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_records((const char *) data, (const char *) data + size);
	return 0;
}
