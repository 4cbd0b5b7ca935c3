/*-------------------------------------------------------------------------
 *
 * gs_stored.c
 *	  list_stored_games(): games that are not live any more.
 *
 * The model: who follows games by their type and was away for a while lists the
 * live ones (list_live_games()), and then those that have left the memory since.
 * A game server may read any archived game whose id it knows, without a privilege
 * on the tables; so it may get to know the ids too.  The tables are asked as their
 * owner (gs_owner.c), with a time that both partition keys and rows are compared
 * with, so that only the newest partitions are read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_owner.h"
#include "gs_shmem.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_list_stored_games);

#define STORED_COLUMNS 4

/* Rows at a time: they need not all be in memory twice. */
#define ROWS_AT_ONCE 1000

#define STORED_SQL                                                      \
	"SELECT a.game_id, 'archived'::pg_catalog.text, a.version,"         \
	" a.ended_at FROM gamestate.archive a WHERE a.ended_at >= $2"       \
	" AND ($1 IS NULL OR a.game_type = $1 COLLATE pg_catalog.\"C\")"    \
	" UNION ALL SELECT s.game_id, 'suspended', s.version, s.updated_at" \
	" FROM gamestate.suspended s WHERE s.updated_at >= $2"              \
	" AND ($1 IS NULL OR s.game_type = $1 COLLATE pg_catalog.\"C\")"    \
	" UNION ALL SELECT d.game_id, 'dead_letter', d.version, d.ended_at" \
	" FROM gamestate.dead_letter d WHERE d.ended_at >= $2"              \
	" AND ($1 IS NULL OR d.game_type = $1 COLLATE pg_catalog.\"C\")"

static void
put_rows(ReturnSetInfo *rsinfo)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[STORED_COLUMNS];
		bool nulls[STORED_COLUMNS];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

Datum
gs_list_stored_games(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum values[2] = {0};
	char nulls[2] = {' ', ' '};
	GsOwnerAccess access;
	Portal portal;

	gs_attach();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("updated_after must not be null")));
	nulls[0] = PG_ARGISNULL(0) ? 'n' : ' ';
	if (!PG_ARGISNULL(0))
		values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);

	gs_owner_begin(&access, "archive", AccessShareLock);
	portal = SPI_cursor_open_with_args(NULL, STORED_SQL, 2, types, values, nulls, true,
									   CURSOR_OPT_NO_SCROLL);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		put_rows(rsinfo);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed == ROWS_AT_ONCE);
	SPI_cursor_close(portal);
	gs_owner_end(&access);
	return (Datum) 0;
}
