/*-------------------------------------------------------------------------
 *
 * gs_repack.c
 *	  Rewriting closed partitions of payloads, smaller: sorted, at a high level,
 *	  with the newest dictionary, in columns.
 *
 * The model:
 *	1. gamestate.repack has a row for each partition that is to be repacked, is
 *	   being repacked, or was: because the policy of its type wants it and its
 *	   period is over, or because somebody asked (gamestate.repack_partition()).
 *	   All that is known stands in that row and in the copy, so work goes on
 *	   after a crash where it was.
 *	2. "copying": games are inserted into a table beside the partition, in the
 *	   order of their end, a few in each transaction, at gamestate.repack_rate.
 *	   Nobody is kept from anything.  What cannot be unpacked is copied as
 *	   it is.
 *	3. "settling": the copy is vacuumed with FREEZE until every row in it is
 *	   visible to every snapshot, on standbys too: so whoever has an old snapshot
 *	   does not miss games after the swap.
 *	4. The swap is one transaction.  Writers are locked out, and what they have
 *	   changed since it was copied is found by comparing all rows: if anything,
 *	   the copy is mended and 3 begins anew.  If nothing, readers are locked out
 *	   too, and the partition gets the copy's files, as CLUSTER would do it
 *	   (gs_swap.c).  It remains the table it was: indexes, triggers,
 *	   privileges, columns that a DBA has added are the partition's own.
 *	5. Waits for locks are short; whoever is in the way makes it a later turn.
 *
 * A partition whose shape does not allow that is skipped, with the reason in
 * its row.  The copy belongs to gamestate_owner and has nothing but rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_dictionary.h"
#include "gs_leaves.h"
#include "gs_maintenance.h"
#include "gs_policy.h"
#include "gs_repack.h"
#include "gs_sql.h"
#include "gs_swap.h"
#include "gs_unpack.h"
#include "gs_worker.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#define LOCK_TIMEOUT_MS 1000
#define CHUNK			200			/* games in a transaction */
#define TURN_MS			(10 * 1000) /* then other tasks have theirs */

/* A partition is closed so long after the end of its period: late games. */
#define CLOSED_AFTER USECS_PER_HOUR

typedef enum RepackState
{
	REPACK_WAITING,
	REPACK_COPYING,
	REPACK_SETTLING
} RepackState;

/* The row of gamestate.repack that is worked on. */
typedef struct Repack
{
	Oid relid;
	char *name; /* of the partition, qualified and quoted */
	char *game_type;
	RepackState state;
	Oid copy_id;
	char *copy;		/* its name, the same way */
	char *columns;	/* all but the generated and the repacked ones ... */
	char *old_row;	/* ... of the partition as a row "o" */
	char *new_row;	/* ... of the copy as a row "n" */
	char *selected; /* ... of the partition */
} Repack;

PG_FUNCTION_INFO_V1(gs_archiver_repack);

/* ----------------------------------------------------------------
 *		Its row
 * ----------------------------------------------------------------
 */

static void
update_row(const Repack *repack, const char *set)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(repack->relid)};

	gs_sql_run(psprintf("UPDATE gamestate.repack SET %s, "
						"updated_at = pg_catalog.clock_timestamp() WHERE relid = $1",
						set),
			   SPI_OK_UPDATE, 1, types, values);
}

static void
skip(const Repack *repack, const char *reason)
{
	if (repack->copy != NULL)
		gs_sql_run(psprintf("DROP TABLE %s", repack->copy), SPI_OK_UTILITY, 0, NULL,
				   NULL);
	update_row(
		repack,
		psprintf(
			"state = 'skipped', copy = NULL, done_at = pg_catalog.clock_timestamp(), "
			"reason = %s",
			quote_literal_cstr(reason)));
}

/* The partitions that policies want repacked become rows. */
static void
add_rows(List *leaves)
{
	TimestampTz closed = GetCurrentTimestamp() - CLOSED_AFTER;
	ListCell *cell;

	foreach (cell, leaves)
	{
		const GsLeaf *leaf = lfirst(cell);
		GsText type = {leaf->game_type, strlen(leaf->game_type)};
		Oid types[] = {OIDOID, TEXTOID, TEXTOID};
		Datum values[3];

		if (leaf->frozen || leaf->to > closed || !gs_policy(&type)->repack)
			continue;
		values[0] = ObjectIdGetDatum(leaf->relid);
		values[1] = CStringGetTextDatum(leaf->name);
		values[2] = CStringGetTextDatum(leaf->game_type);
		gs_sql_run("INSERT INTO gamestate.repack (relid, partition, game_type) "
				   "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
				   SPI_OK_INSERT, 3, types, values);
	}
}

/* A partition that there is no more, or that its policy wants to be left alone now. */
static void
remove_rows(List *leaves)
{
	SPITupleTable *rows;
	uint64 n;

	gs_sql_run("SELECT relid, game_type, requested, copy FROM gamestate.repack "
			   "WHERE state NOT IN ('done', 'skipped')",
			   SPI_OK_SELECT, 0, NULL, NULL);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		Oid relid =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &null));
		char *type = SPI_getvalue(rows->vals[i], rows->tupdesc, 2);
		bool requested =
			DatumGetBool(SPI_getbinval(rows->vals[i], rows->tupdesc, 3, &null));
		Oid copy =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 4, &null));
		GsText game_type = {type, strlen(type)};
		Oid types[] = {OIDOID};
		Datum values[] = {ObjectIdGetDatum(relid)};
		bool found = false;
		ListCell *cell;

		if (null)
			copy = InvalidOid;
		foreach (cell, leaves)
			found = found || ((GsLeaf *) lfirst(cell))->relid == relid;
		if (found && (requested || gs_policy(&game_type)->repack))
			continue;
		if (OidIsValid(copy) && get_rel_name(copy) != NULL)
			gs_sql_run(psprintf("DROP TABLE %s", gs_leaf_name(copy)), SPI_OK_UTILITY, 0,
					   NULL, NULL);
		gs_sql_run("DELETE FROM gamestate.repack WHERE relid = $1", SPI_OK_DELETE, 1,
				   types, values);
	}
}

/* The lists of columns; NULL, or why the partition is not repacked. */
static const char *
list_columns(Repack *repack)
{
	Relation rel = table_open(repack->relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData columns;
	StringInfoData old_row;
	StringInfoData new_row;
	StringInfoData selected;
	const char *reason = gs_swap_shape(rel);

	initStringInfo(&columns);
	initStringInfo(&old_row);
	initStringInfo(&new_row);
	initStringInfo(&selected);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = quote_identifier(NameStr(att->attname));

		if (att->attisdropped || att->attgenerated ||
			strcmp(NameStr(att->attname), "format") == 0 ||
			strcmp(NameStr(att->attname), "dictionary") == 0 ||
			strcmp(NameStr(att->attname), "payload") == 0)
			continue;
		appendStringInfo(&columns, "%s, ", name);
		appendStringInfo(&old_row, "%so.%s", old_row.len ? ", " : "", name);
		appendStringInfo(&new_row, "%sn.%s", new_row.len ? ", " : "", name);
		appendStringInfo(&selected, "o.%s, ", name);
	}
	table_close(rel, NoLock);
	repack->columns = columns.data;
	repack->old_row = old_row.data;
	repack->new_row = new_row.data;
	repack->selected = selected.data;
	return reason;
}

/* The partition whose turn it is, in mcxt; false if there is none. */
static bool
next_repack(Repack *repack, MemoryContext mcxt)
{
	HeapTuple row;
	TupleDesc desc;
	MemoryContext old;
	bool null;
	char *state;

	gs_sql_run("SELECT relid, game_type, state, copy FROM gamestate.repack "
			   "WHERE state NOT IN ('done', 'skipped') "
			   "AND relid NOT IN (SELECT l.relid FROM gamestate.promotion_leaf l) "
			   "ORDER BY state = 'copying' DESC, (requested AND state = 'waiting') DESC, "
			   "COALESCE(updated_at, added_at), relid LIMIT 1",
			   SPI_OK_SELECT, 0, NULL, NULL);
	if (SPI_processed == 0)
		return false;
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	old = MemoryContextSwitchTo(mcxt);
	memset(repack, 0, sizeof(*repack));
	repack->relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &null));
	repack->name = gs_leaf_name(repack->relid);
	repack->game_type = SPI_getvalue(row, desc, 2);
	state = SPI_getvalue(row, desc, 3);
	repack->state = strcmp(state, "copying") == 0	 ? REPACK_COPYING
					: strcmp(state, "settling") == 0 ? REPACK_SETTLING
													 : REPACK_WAITING;
	repack->copy_id = DatumGetObjectId(SPI_getbinval(row, desc, 4, &null));
	if (null || get_rel_name(repack->copy_id) == NULL)
		repack->state = REPACK_WAITING; /* somebody has dropped it */
	else
		repack->copy = gs_leaf_name(repack->copy_id);
	MemoryContextSwitchTo(old);
	return true;
}

/* ----------------------------------------------------------------
 *		Copying
 * ----------------------------------------------------------------
 */

static void
begin_copy(Repack *repack)
{
	const char *tablespace = "";
	const char *reason = list_columns(repack);
	char *copy = psprintf("gamestate_partitions.repack_%u", repack->relid);

	if (reason == NULL)
		reason = gs_swap_copy_refused(repack->relid, &tablespace);
	if (reason != NULL)
	{
		skip(repack, reason);
		return;
	}
	gs_sql_run(psprintf("DROP TABLE IF EXISTS %s", copy), SPI_OK_UTILITY, 0, NULL, NULL);
	gs_sql_run(
		psprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED "
				 "INCLUDING STORAGE INCLUDING COMPRESSION) WITH (autovacuum_enabled = "
				 "false)%s",
				 copy, repack->name, tablespace),
		SPI_OK_UTILITY, 0, NULL, NULL);
	update_row(
		repack,
		psprintf("state = 'copying', copy = %s::pg_catalog.regclass, "
				 "last_ended_at = '-infinity', "
				 "last_game_id = '00000000-0000-0000-0000-000000000000', games = 0, "
				 "raw_bytes = 0, bytes_after = NULL, "
				 "bytes_before = pg_catalog.pg_total_relation_size(%u), "
				 "started_at = pg_catalog.clock_timestamp()",
				 quote_literal_cstr(copy), repack->relid));
}

static void
make_statement(const Repack *repack, StringInfo s, const char *source)
{
	GsText type = {repack->game_type, strlen(repack->game_type)};
	const GsPolicy *policy = gs_policy(&type);
	int32 dictionary = policy->dictionary ? gs_dictionary_newest(gs_dictionary_list(),
																 type.data, type.len)
										  : 0;

	appendStringInfo(
		s,
		"INSERT INTO %s (%sformat, dictionary, payload) "
		"SELECT %sr.format, r.dictionary, r.payload FROM (%s) o "
		"CROSS JOIN LATERAL gamestate.archiver_repack(o.format, o.dictionary, "
		"o.raw_size, o.checksum, o.payload, %d, %d) r",
		repack->copy, repack->columns, repack->selected, source, policy->repack_level,
		dictionary);
}

/* The next games; their raw bytes, -1 if there are no more. */
static int64
copy_chunk(const Repack *repack)
{
	StringInfoData s;
	int64 bytes = 0;
	HeapTuple last;
	TupleDesc desc;
	bool null;
	Oid types[] = {OIDOID, TIMESTAMPTZOID, UUIDOID, INT8OID, INT8OID};
	Datum values[5];

	initStringInfo(&s);
	make_statement(
		repack, &s,
		psprintf("SELECT o.* FROM %s o, gamestate.repack k WHERE k.relid = %u AND "
				 "(o.ended_at, o.game_id) > (k.last_ended_at, k.last_game_id) "
				 "ORDER BY o.ended_at, o.game_id LIMIT %d",
				 repack->name, repack->relid, CHUNK));
	appendStringInfoString(&s, " RETURNING ended_at, game_id, raw_size");
	gs_sql_run(s.data, SPI_OK_INSERT_RETURNING, 0, NULL, NULL);
	if (SPI_processed == 0)
	{
		update_row(repack, "state = 'settling'");
		return -1;
	}
	desc = SPI_tuptable->tupdesc;
	last = SPI_tuptable->vals[SPI_processed - 1];
	for (uint64 i = 0; i < SPI_processed; i++)
		bytes += DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], desc, 3, &null));
	values[0] = ObjectIdGetDatum(repack->relid);
	values[1] = SPI_getbinval(last, desc, 1, &null);
	values[2] = SPI_getbinval(last, desc, 2, &null);
	values[3] = Int64GetDatum((int64) SPI_processed);
	values[4] = Int64GetDatum(bytes);
	gs_sql_run("UPDATE gamestate.repack SET last_ended_at = $2, last_game_id = $3, "
			   "games = games + $4, raw_bytes = raw_bytes + $5, "
			   "updated_at = pg_catalog.clock_timestamp() WHERE relid = $1",
			   SPI_OK_UPDATE, 5, types, values);
	return bytes;
}

/* So that so many bytes take as long as they should. */
void
gs_repack_keep_pace(int64 bytes, TimestampTz began)
{
	TimestampTz until;
	long ms;

	if (gs_repack_rate == 0)
		return;
	until = began + bytes * USECS_PER_SEC / ((int64) gs_repack_rate * 1024);
	while ((ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ----------------------------------------------------------------
 *		The swap
 * ----------------------------------------------------------------
 */

/* Does the copy have what the partition has?  Writers are locked out. */
static bool
mend_copy(const Repack *repack)
{
	StringInfoData s;
	uint64 changes;

	gs_sql_run(psprintf("DELETE FROM %s n WHERE NOT EXISTS (SELECT FROM %s o WHERE "
						"o.game_id OPERATOR(pg_catalog.=) n.game_id AND "
						"ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*=) "
						"ROW(%s)::pg_catalog.record)",
						repack->copy, repack->name, repack->old_row, repack->new_row),
			   SPI_OK_DELETE, 0, NULL, NULL);
	changes = SPI_processed;
	initStringInfo(&s);
	make_statement(repack, &s,
				   psprintf("SELECT o.* FROM %s o WHERE NOT EXISTS (SELECT FROM %s n "
							"WHERE n.game_id OPERATOR(pg_catalog.=) o.game_id)",
							repack->name, repack->copy));
	gs_sql_run(s.data, SPI_OK_INSERT, 0, NULL, NULL);
	return changes + SPI_processed == 0;
}

/* true once it is done */
static bool
try_swap(const Repack *repack)
{
	bool done = false;

	gs_sql_run(psprintf("LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE", repack->name),
			   SPI_OK_UTILITY, 0, NULL, NULL);
	gs_sql_run(psprintf("LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", repack->copy),
			   SPI_OK_UTILITY, 0, NULL, NULL);
	if (gs_swap_is_settled(repack->relid, repack->copy_id) && mend_copy(repack))
	{
		gs_sql_run(psprintf("LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", repack->name),
				   SPI_OK_UTILITY, 0, NULL, NULL);
		gs_swap_files(repack->relid, repack->copy_id);
		update_row(repack, psprintf("state = 'done', copy = NULL, reason = NULL, "
									"requested = false, "
									"done_at = pg_catalog.clock_timestamp(), "
									"bytes_after = pg_catalog.pg_total_relation_size(%u)",
									repack->relid));
		done = true;
	}
	return done;
}

/* ----------------------------------------------------------------
 *		The task
 * ----------------------------------------------------------------
 */

/* One transaction's work; false if it has to wait. */
static bool
step(Repack *repack)
{
	TimestampTz began = GetCurrentTimestamp();
	const char *reason;
	int64 bytes = 0;
	bool go_on = true;

	if (repack->state == REPACK_SETTLING)
	{
		/* one that has to wait, or cannot be locked, goes behind the others */
		gs_worker_begin(LOCK_TIMEOUT_MS);
		SPI_connect();
		update_row(repack, "state = 'settling'");
		SPI_finish();
		gs_worker_commit();
		gs_worker_utility(
			psprintf("VACUUM (FREEZE, DISABLE_PAGE_SKIPPING, TRUNCATE false) %s",
					 repack->copy),
			LOCK_TIMEOUT_MS);
	}

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	reason = list_columns(repack);
	if (reason != NULL)
		skip(repack, reason);
	else if (repack->state == REPACK_WAITING)
		begin_copy(repack);
	else if (repack->state == REPACK_COPYING)
		bytes = copy_chunk(repack);
	else
		go_on = try_swap(repack);
	SPI_finish();
	gs_worker_commit();
	if (bytes > 0)
		gs_repack_keep_pace(bytes, began);
	return go_on;
}

static bool
find_work(Repack *repack, MemoryContext mcxt)
{
	bool found;
	List *leaves;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	leaves = gs_leaves("archive_payload");
	add_rows(leaves);
	remove_rows(leaves);
	found = next_repack(repack, mcxt);
	SPI_finish();
	gs_worker_commit();
	return found;
}

void
gs_repack_run(MemoryContext mcxt)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MS);
	MemoryContext turn_context =
		AllocSetContextCreate(mcxt, "gamestate repack", ALLOCSET_DEFAULT_SIZES);
	Repack repack;

	while (find_work(&repack, turn_context))
	{
		CHECK_FOR_INTERRUPTS();
		if (!step(&repack))
			return; /* once more after a while */
		MemoryContextReset(turn_context);
		if (GetCurrentTimestamp() > until)
		{
			gs_maintenance_again();
			return;
		}
	}
}

/*
 * archiver_repack(format, dictionary, raw_size, checksum, payload, level,
 * new_dictionary): the payload made anew, or as it was if that is not smaller.
 */
Datum
gs_archiver_repack(PG_FUNCTION_ARGS)
{
	GsPacked packed = {.format = PG_GETARG_INT16(0),
					   .dictionary = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1),
					   .raw_size = PG_GETARG_INT32(2),
					   .checksum = PG_GETARG_INT64(3)};
	bytea *bytes = PG_GETARG_BYTEA_PP(4);
	GsPacked repacked;
	GsPayload payload;
	bytea *smaller = NULL;
	char *raw;
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* what is damaged stays as it is: gamestate.verify_archive() says so */
	if (gs_unpack(&packed, bytes, &raw, &payload) == NULL)
		smaller = gs_pack(&payload, raw, packed.raw_size, PG_GETARG_INT32(5),
						  PG_GETARG_INT32(6), CurrentMemoryContext, &repacked);
	if (smaller != NULL && VARSIZE_ANY_EXHDR(smaller) < VARSIZE_ANY_EXHDR(bytes))
	{
		bytes = smaller;
		packed = repacked;
	}
	values[0] = Int16GetDatum(packed.format);
	values[1] = Int32GetDatum(packed.dictionary);
	nulls[1] = packed.dictionary == 0;
	values[2] = PointerGetDatum(bytes);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
