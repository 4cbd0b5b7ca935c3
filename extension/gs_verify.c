/*-------------------------------------------------------------------------
 *
 * gs_verify.c
 *	  gamestate.verify_archive(): which archived games cannot be read, and why.
 *
 * The model:
 *	1. The rows of gamestate.archive_payload, or of one partition of it, are read
 *	   by an ordinary query with the caller's rights, and unpacked as a
 *	   reader would do it (gs_unpack.c): checksum, dictionary, each entry.
 *	2. What is wrong becomes a row of the result; nothing damaged ends the call.
 *	   So does a file of a frozen partition that is damaged or missing: a row
 *	   without a game.
 *	3. A NOTICE says how far it is, once a second at most, and cancelling works
 *	   at each row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_dictionary.h"
#include "gs_history.h"
#include "gs_unpack.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#define FETCH		100
#define PROGRESS_MS 1000

/* Columns of the query and, the first ones, of the result. */
enum
{
	COLUMN_PARTITION = 1,
	COLUMN_GAME_TYPE,
	COLUMN_ENDED_AT,
	COLUMN_GAME_ID,
	COLUMN_FORMAT,
	COLUMN_DICTIONARY,
	COLUMN_RAW_SIZE,
	COLUMN_CHECKSUM,
	COLUMN_PAYLOAD
};
#define RESULT_COLUMNS 5

typedef struct Progress
{
	int64 games;
	int64 problems;
	TimestampTz said_at;
} Progress;

PG_FUNCTION_INFO_V1(gs_verify_archive);

/* NULL or what is wrong with a row */
static const char *
check_row(HeapTuple tuple, TupleDesc desc)
{
	GsPacked packed;
	GsPayload payload;
	GsText state;
	const char *wrong;
	bytea *bytes;
	char *raw;
	bool null[COLUMN_PAYLOAD + 1];
	Datum value[COLUMN_PAYLOAD + 1];

	for (int i = COLUMN_FORMAT; i <= COLUMN_PAYLOAD; i++)
	{
		value[i] = SPI_getbinval(tuple, desc, i, &null[i]);
		if (null[i] && i != COLUMN_DICTIONARY)
			return "a column of its row is null";
	}
	packed.format = DatumGetInt16(value[COLUMN_FORMAT]);
	packed.dictionary =
		null[COLUMN_DICTIONARY] ? 0 : DatumGetInt32(value[COLUMN_DICTIONARY]);
	packed.raw_size = DatumGetInt32(value[COLUMN_RAW_SIZE]);
	packed.checksum = DatumGetInt64(value[COLUMN_CHECKSUM]);
	bytes = DatumGetByteaPP(value[COLUMN_PAYLOAD]);
	wrong = gs_unpack(&packed, bytes, &raw, &payload);
	/* back to the first state there is, through all the others */
	if (wrong == NULL && payload.has_deltas)
		(void) gs_history_archived(&payload, Max(payload.first_version - 1, 1), &state,
								   &wrong);
	return wrong;
}

static void
report(ReturnSetInfo *rsinfo, HeapTuple tuple, TupleDesc desc, const char *problem)
{
	Datum values[RESULT_COLUMNS];
	bool nulls[RESULT_COLUMNS];

	for (int i = 0; i < RESULT_COLUMNS - 1; i++)
		values[i] = SPI_getbinval(tuple, desc, i + 1, &nulls[i]);
	values[RESULT_COLUMNS - 1] = CStringGetTextDatum(problem);
	nulls[RESULT_COLUMNS - 1] = false;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
say_progress(Progress *progress, int64 games)
{
	TimestampTz now = GetCurrentTimestamp();

	progress->games += games;
	if (!TimestampDifferenceExceeds(progress->said_at, now, PROGRESS_MS))
		return;
	progress->said_at = now;
	ereport(NOTICE, (errmsg("%lld games verified, %lld of them damaged",
							(long long) progress->games, (long long) progress->problems)));
}

/* The rows that the portal gives */
static void
verify(Portal portal, ReturnSetInfo *rsinfo)
{
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate verify",
							  ALLOCSET_DEFAULT_SIZES);
	Progress progress = {.said_at = GetCurrentTimestamp()};

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);
			const char *problem = check_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);

			CHECK_FOR_INTERRUPTS();
			if (problem != NULL)
			{
				progress.problems++;
				report(rsinfo, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, problem);
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		say_progress(&progress, (int64) SPI_processed);
		SPI_freetuptable(SPI_tuptable);
	}
	MemoryContextDelete(row_context);
}

/* A frozen partition cannot be read, or a part of it. */
static void
report_file(void *arg, Oid relid, const char *what)
{
	ReturnSetInfo *rsinfo = arg;
	Datum values[RESULT_COLUMNS] = {0};
	bool nulls[RESULT_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[0] = ObjectIdGetDatum(relid);
	nulls[0] = false;
	values[RESULT_COLUMNS - 1] = CStringGetTextDatum(what);
	nulls[RESULT_COLUMNS - 1] = false;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Detached partitions have them, too. */
static void
check_columns(Oid relid)
{
	static const char *const columns[] = {"game_type", "ended_at",	 "game_id",
										  "format",	   "dictionary", "raw_size",
										  "checksum",  "payload"};

	for (int i = 0; i < (int) lengthof(columns); i++)
		if (get_attnum(relid, columns[i]) == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a partition of gamestate.archive_payload",
							get_rel_name(relid)),
					 errdetail("It has no column \"%s\".", columns[i])));
}

Datum
gs_verify_archive(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid partition = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
	const char *table = "gamestate.archive_payload";
	char *query;
	SPIPlanPtr plan;
	Portal portal;

	InitMaterializedSRF(fcinfo, 0);
	if (OidIsValid(partition))
	{
		char *name = get_rel_name(partition);

		if (name == NULL)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("relation with OID %u does not exist", partition)));
		check_columns(partition);
		table =
			quote_qualified_identifier(get_namespace_name(get_rel_namespace(partition)),
									   name);
	}

	/* what is kept here may be of a dictionary that has gone */
	gs_dictionary_forget();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	query =
		psprintf("SELECT tableoid::pg_catalog.regclass, game_type, ended_at, game_id, "
				 "format, dictionary, raw_size, checksum, payload FROM %s",
				 table);
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", query);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	gs_cold_collect_damage(report_file, rsinfo);
	PG_TRY();
	{
		verify(portal, rsinfo);
	}
	PG_FINALLY();
	{
		gs_cold_collect_damage(NULL, NULL);
	}
	PG_END_TRY();
	SPI_cursor_close(portal);
	SPI_finish();
	return (Datum) 0;
}
