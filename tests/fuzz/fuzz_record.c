/*-------------------------------------------------------------------------
 *
 * fuzz_record.c
 *	  libFuzzer target: the codec of journal records.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_record.c extension/gs_entry.c
 *		  extension/gs_record.c
 *
 * The first byte says what the rest is:
 *	0: records, one after another: they give an error, or what was read can be
 *	   walked and encodes to the very same bytes (encodings are canonical)
 *	1: two states, the first as long as the next two bytes say: prefix and
 *	   suffix are those that a comparison byte by byte finds
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

		gs_record_next_run(&p, run);
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
		check((uint64_t) record.prefix + record.state.len + record.suffix <=
			  GS_RECORD_MAX_BYTES);

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

static void
try_diff(const char *states, size_t len, size_t old_len)
{
	const char *old_data = states;
	const char *new_data;
	size_t new_len;
	size_t max;
	uint32_t prefix;
	uint32_t suffix;
	size_t n;

	if (old_len > len)
		old_len = len;
	new_data = states + old_len;
	new_len = len - old_len;
	max = old_len < new_len ? old_len : new_len;
	gs_record_diff(old_data, (uint32_t) old_len, new_data, (uint32_t) new_len, &prefix,
				   &suffix);

	for (n = 0; n < max && old_data[n] == new_data[n];)
		n++;
	check(prefix == n);
	max -= n;
	for (n = 0; n < max && old_data[old_len - 1 - n] == new_data[new_len - 1 - n];)
		n++;
	check(suffix == n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *rest = (const char *) data + 1;

	if (size < 1)
		return 0;
	if (data[0] % 2 == 0)
		try_records(rest, rest + size - 1);
	else if (size >= 3)
		try_diff(rest + 2, size - 3, (size_t) data[1] + 256 * (size_t) data[2]);
	return 0;
}
