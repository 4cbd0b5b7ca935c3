/*-------------------------------------------------------------------------
 *
 * gs_train.c
 *	  Training of compression dictionaries from archived games.
 *
 * The model:
 *	1. For each game type whose policy wants dictionaries, the newest leaves of
 *	   gamestate.archive_payload are asked for games: as many as a dictionary
 *	   is trained from at least (gamestate.dictionary_min_games), and then up to
 *	   MAX_SAMPLE_BYTES.  Only so many blocks of a leaf are looked at, spread over
 *	   it, so that a turn costs little however large the archive is.
 *	2. A type without a dictionary gets one when there are enough games.  Later
 *	   ones are looked at once in CHECK_MINUTES: when games compressed with the
 *	   newest dictionary come out DRIFT times as large as it promised, or there
 *	   are GROWTH times as many samples as it was trained from, a new one is
 *	   trained.  The first games of a type make a poor one; since samples are
 *	   bounded, it is replaced for that reason a few times only.
 *	3. A trial dictionary from every second game is measured by the others.  If
 *	   it does not make these smaller by at least MIN_GAIN, a row without content
 *	   says so, and after RETRY_HOURS it is tried again.  The one that is kept is
 *	   trained from all of them: with few games that is worth several percent, and
 *	   what the trial promised is a cautious estimate of it.
 *	4. One transaction a type reads, another one writes the row; in between, where
 *	   the time goes, there is none.  An unwelcome interrupt waits at most for
 *	   the training of one type, which MAX_SAMPLE_BYTES bounds to a few seconds.
 *
 * The dictionary is made for bytes as they are compressed: columns where those
 * are shorter (gs_unpack.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_columns.h"
#include "gs_config.h"
#include "gs_dictionary.h"
#include "gs_leaves.h"
#include "gs_policy.h"
#include "gs_train.h"
#include "gs_unpack.h"
#include "gs_worker.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <zdict.h>

#define LOCK_TIMEOUT_MS	 1000
#define DICTIONARY_BYTES (110 * 1024)
#define MAX_SAMPLE_BYTES ((Size) 8 * 1024 * 1024)
#define MAX_SAMPLES		 20000
/* A sample is not longer than that: what is behind is not near a dictionary's reach. */
#define MAX_ONE_SAMPLE ((Size) 128 * 1024)
#define MAX_LEAVES	   30  /* of a type, the newest */
#define LEAF_BLOCKS	   500 /* looked at in each */
#define CHECK_MINUTES  10
#define RETRY_HOURS	   24
#define DRIFT		   1.15
#define GROWTH		   4
#define MIN_GAIN	   0.03

/* Games of a type, as they are compressed. */
typedef struct Samples
{
	char *bytes; /* MAX_SAMPLE_BYTES */
	Size len;
	size_t *sizes;
	int n;
	int32 dictionary; /* the type's newest, 0 = none */
	int64 with_games; /* games that have been compressed with it */
} Samples;

/* The newest row of a type, 0 = none */
typedef struct Newest
{
	int32 number;
	bool kept;
	int samples;
	TimestampTz created_at;
	double ratio;
} Newest;

/* When a type that has a dictionary was looked at last, in this process. */
typedef struct Looked
{
	char *game_type;
	TimestampTz at;
} Looked;

static List *looked = NIL; /* in TopMemoryContext */

/* ----------------------------------------------------------------
 *		Games
 * ----------------------------------------------------------------
 */

/* Appends a game's bytes as they would be compressed. */
static void
add_sample(Samples *samples, const GsPayload *payload, const char *raw, Size raw_size)
{
	char *columns = palloc(raw_size);
	Size size = gs_columns_encode(payload, columns, raw_size);
	const char *src = size > 0 ? columns : raw;

	if (size == 0)
		size = raw_size;
	size = Min(size, MAX_ONE_SAMPLE);
	if (size <= MAX_SAMPLE_BYTES - samples->len)
	{
		memcpy(samples->bytes + samples->len, src, size);
		samples->len += size;
		samples->sizes[samples->n++] = size;
	}
	pfree(columns);
}

static void
take_row(Samples *samples, HeapTuple tuple, TupleDesc desc)
{
	GsPacked packed;
	GsPayload payload;
	bytea *bytes;
	char *raw;
	bool null[5];
	Datum value[5];

	for (int i = 0; i < 5; i++)
		value[i] = SPI_getbinval(tuple, desc, i + 1, &null[i]);
	packed.format = DatumGetInt16(value[0]);
	packed.dictionary = null[1] ? 0 : DatumGetInt32(value[1]);
	packed.raw_size = DatumGetInt32(value[2]);
	packed.checksum = DatumGetInt64(value[3]);
	bytes = DatumGetByteaPP(value[4]);
	if (packed.dictionary == samples->dictionary)
		samples->with_games++;
	/* what is damaged is not ours to say */
	if (gs_unpack(&packed, bytes, &raw, &payload) == NULL)
		add_sample(samples, &payload, raw, packed.raw_size);
}

/* Games of one leaf, spread over it. */
static void
sample_leaf(Samples *samples, const GsLeaf *leaf)
{
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate sample",
							  ALLOCSET_DEFAULT_SIZES);
	char *query;
	Portal portal;
	SPIPlanPtr plan;

	LockRelationOid(leaf->relid, AccessShareLock);
	if (get_rel_relkind(leaf->relid) != RELKIND_RELATION)
		return; /* frozen or dropped meanwhile */
	query = psprintf("SELECT format, dictionary, raw_size, checksum, payload FROM %s "
					 "TABLESAMPLE SYSTEM (LEAST(100, 100.0 * %d * "
					 "pg_catalog.current_setting('block_size')::int / "
					 "GREATEST(1, pg_catalog.pg_relation_size(%u))))",
					 leaf->name, LEAF_BLOCKS, leaf->relid);
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", query);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, 50);
		for (uint64 i = 0; i < SPI_processed && samples->n < MAX_SAMPLES; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);

			take_row(samples, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0 && samples->n < MAX_SAMPLES &&
			 samples->len < MAX_SAMPLE_BYTES - MAX_ONE_SAMPLE);
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
}

/* ----------------------------------------------------------------
 *		A dictionary
 * ----------------------------------------------------------------
 */

/* Compressed by raw size of the samples that do not train; 1 if it fails */
static double
measure(const Samples *samples, int level, const ZSTD_CDict *dictionary)
{
	Size bound = gs_payload_bound(MAX_ONE_SAMPLE);
	char *frame = palloc(bound);
	const char *src = samples->bytes;
	uint64 raw = 0;
	uint64 stored = 0;

	for (int i = 0; i < samples->n; i++)
	{
		const char *error;

		if (i % 2 == 1)
		{
			raw += samples->sizes[i];
			stored += gs_payload_compress(src, samples->sizes[i], level, dictionary,
										  frame, bound, &error);
			if (error != NULL)
				return 1;
		}
		src += samples->sizes[i];
	}
	pfree(frame);
	return raw > 0 ? (double) stored / raw : 1;
}

/* Every second sample, one after another */
static unsigned
every_second(const Samples *samples, char *bytes, size_t *sizes)
{
	const char *src = samples->bytes;
	unsigned n = 0;

	for (int i = 0; i < samples->n; i++)
	{
		if (i % 2 == 0)
		{
			memcpy(bytes, src, samples->sizes[i]);
			bytes += samples->sizes[i];
			sizes[n++] = samples->sizes[i];
		}
		src += samples->sizes[i];
	}
	return n;
}

/* Its length, 0 if these samples make none */
static Size
train(const char *bytes, const size_t *sizes, unsigned n, char *content)
{
	Size len = ZDICT_trainFromBuffer(content, DICTIONARY_BYTES, bytes, sizes, n);

	return ZDICT_isError(len) ? 0 : len;
}

/* What does a dictionary promise?  What is so without it, if these samples make none */
static double
try_dictionary(const Samples *samples, int level, double without, char *content)
{
	char *bytes = palloc(samples->len);
	size_t *sizes = palloc(sizeof(size_t) * samples->n);
	Size len = train(bytes, sizes, every_second(samples, bytes, sizes), content);
	ZSTD_CDict *digested = len > 0 ? ZSTD_createCDict(content, len, level) : NULL;
	double ratio = digested ? measure(samples, level, digested) : without;

	ZSTD_freeCDict(digested);
	pfree(bytes);
	pfree(sizes);
	return ratio;
}

static void
insert_row(const char *game_type, const Samples *samples, double without, double with,
		   const char *content, Size len)
{
	Oid types[] = {TEXTOID, INT4OID, INT8OID, FLOAT4OID, FLOAT4OID, INT8OID, BYTEAOID};
	Datum values[lengthof(types)];
	char nulls[lengthof(types) + 1] = "       ";

	values[0] = CStringGetTextDatum(game_type);
	values[1] = Int32GetDatum(samples->n);
	values[2] = Int64GetDatum((int64) samples->len);
	values[3] = Float4GetDatum((float4) without);
	values[4] = Float4GetDatum((float4) with);
	values[5] = Int64GetDatum((int64) gs_dictionary_checksum(content, len));
	values[6] = PointerGetDatum(cstring_to_text_with_len(content, (int) len));
	if (len == 0)
		nulls[5] = nulls[6] = 'n';

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (SPI_execute_with_args(
			"INSERT INTO gamestate.dictionary (game_type, samples, sample_bytes, "
			"ratio_without, ratio_with, checksum, content) "
			"VALUES ($1, $2, $3, $4, $5, $6, $7)",
			lengthof(types), types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a dictionary");
	SPI_finish();
	gs_worker_commit();
}

static void
make_dictionary(const char *game_type, int level, const Samples *samples)
{
	char *content = palloc(DICTIONARY_BYTES);
	double without = measure(samples, level, NULL);
	double with = try_dictionary(samples, level, without, content);
	Size len = 0;

	if (with <= without * (1 - MIN_GAIN))
		len = train(samples->bytes, samples->sizes, (unsigned) samples->n, content);
	insert_row(game_type, samples, without, with, content, len);
	ereport(DEBUG1, (errmsg_internal("dictionary of type \"%s\": %d games, %.4f without, %.4f with it%s",
									 game_type, samples->n, without, with,
									 len > 0 ? "" : ", not kept")));
	pfree(content);
}

/* ----------------------------------------------------------------
 *		Which types
 * ----------------------------------------------------------------
 */

static Newest
newest_row(const char *game_type)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(game_type)};
	Newest newest = {0};

	if (SPI_execute_with_args(
			"SELECT number, content IS NOT NULL, created_at, "
			"ratio_with::pg_catalog.float8, samples FROM gamestate.dictionary "
			"WHERE game_type OPERATOR(pg_catalog.=) $1 ORDER BY number DESC LIMIT 1",
			1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read gamestate.dictionary");
	if (SPI_processed == 1)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		newest.number = DatumGetInt32(SPI_getbinval(row, desc, 1, &null));
		newest.kept = DatumGetBool(SPI_getbinval(row, desc, 2, &null));
		newest.created_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 3, &null));
		newest.ratio = DatumGetFloat8(SPI_getbinval(row, desc, 4, &null));
		newest.samples = DatumGetInt32(SPI_getbinval(row, desc, 5, &null));
	}
	return newest;
}

/* Has it been so long? */
static bool
is_due(const char *game_type, const Newest *newest)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext old;
	Looked *l = NULL;
	ListCell *cell;

	if (newest->number == 0)
		return true;
	if (!newest->kept &&
		!TimestampDifferenceExceeds(newest->created_at, now, RETRY_HOURS * 3600 * 1000))
		return false;
	foreach (cell, looked)
	{
		if (strcmp(((Looked *) lfirst(cell))->game_type, game_type) == 0)
			l = lfirst(cell);
	}
	if (l != NULL && !TimestampDifferenceExceeds(l->at, now, CHECK_MINUTES * 60 * 1000))
		return false;
	if (l == NULL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		l = palloc(sizeof(Looked));
		l->game_type = pstrdup(game_type);
		looked = lappend(looked, l);
		MemoryContextSwitchTo(old);
	}
	l->at = now;
	return true;
}

/*
 * Is a new dictionary worth while?  Ratios are by the bytes that are compressed,
 * which are columns, so they are taken from samples and not from rows.
 */
static bool
has_drifted(const Samples *samples, const Newest *newest, const ZSTD_CDict *dictionary,
			int level)
{
	if (samples->with_games < gs_dictionary_min_games)
		return false; /* it is new itself */
	return dictionary == NULL ||
		   measure(samples, level, dictionary) > newest->ratio * DRIFT;
}

/* The leaves of one type are leaves[first .. last]. */
static void
train_type(List *leaves, int first, int last)
{
	const char *game_type = ((GsLeaf *) list_nth(leaves, first))->game_type;
	GsText type = {game_type, strlen(game_type)};
	Samples samples = {0};
	const GsPolicy *policy;
	MemoryContext mcxt = CurrentMemoryContext;
	Newest newest;
	bool wanted;
	int level;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	policy = gs_policy(&type);
	wanted = policy->dictionary;
	level = policy->compression_level == GS_POLICY_SETTING ? gs_archive_compression_level
														   : policy->compression_level;
	SPI_connect();
	newest = newest_row(game_type);
	wanted = wanted && is_due(game_type, &newest);
	if (wanted)
	{
		samples.dictionary = newest.number;
		samples.bytes = MemoryContextAlloc(mcxt, MAX_SAMPLE_BYTES);
		samples.sizes = MemoryContextAlloc(mcxt, sizeof(size_t) * MAX_SAMPLES);
		for (int i = last; i >= first && i > last - MAX_LEAVES; i--)
		{
			if (samples.n < MAX_SAMPLES &&
				samples.len < MAX_SAMPLE_BYTES - MAX_ONE_SAMPLE)
				sample_leaf(&samples, list_nth(leaves, i));
		}
		wanted = samples.n >= gs_dictionary_min_games;
		if (wanted && newest.kept)
		{
			const char *error;

			wanted = samples.n / GROWTH >= newest.samples ||
					 has_drifted(&samples, &newest,
								 gs_dictionary_to_compress(newest.number, level, &error),
								 level);
		}
	}
	SPI_finish();
	gs_worker_commit();

	if (wanted)
		make_dictionary(game_type, level, &samples);
	if (samples.bytes)
	{
		pfree(samples.bytes);
		pfree(samples.sizes);
	}
}

void
gs_train_run(MemoryContext mcxt)
{
	MemoryContext old;
	List *leaves = NIL;
	ListCell *cell;
	int n;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	old = MemoryContextSwitchTo(mcxt);
	foreach (cell, gs_leaves("archive_payload"))
		if (!((GsLeaf *) lfirst(cell))->frozen)
			leaves = lappend(leaves, lfirst(cell));
	MemoryContextSwitchTo(old);
	gs_worker_commit();

	n = list_length(leaves);
	for (int first = 0, last; first < n; first = last + 1)
	{
		const char *game_type = ((GsLeaf *) list_nth(leaves, first))->game_type;

		for (last = first; last + 1 < n; last++)
		{
			if (strcmp(((GsLeaf *) list_nth(leaves, last + 1))->game_type, game_type) !=
				0)
				break;
		}
		CHECK_FOR_INTERRUPTS();
		/* types that share a branch are too small or too many for one each */
		if (game_type[0] != '\0')
			train_type(leaves, first, last);
	}
}
