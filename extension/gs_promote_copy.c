/*-------------------------------------------------------------------------
 *
 * gs_promote_copy.c
 *	  Copying a leaf of the default branch: games of one type to the type's branch,
 *	  the others to a copy of the leaf.
 *
 * The model:
 *	1. First all games are copied in the order of their ids, a few in each transaction,
 *	   at gamestate.repack_rate.  Then what has come or changed since, however
 *	   often that is asked for.
 *	2. For each game the leaf's map gets a row first: id and xmin of the version that is
 *	   there.  When another version is copied right after that, since somebody has
 *	   changed the game between two statements, the map is outdated, which the next
 *	   look shows: a map row that fits a row of the leaf always means that just that
 *	   version has been copied.
 *
 * All runs in transactions of its own, and locks nothing against others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_leaves.h"
#include "gs_promote.h"
#include "gs_repack.h"
#include "gs_worker.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define LOCK_TIMEOUT_MS 1000
#define CHUNK			500	 /* games in a transaction */
#define CATCH_UP_CHUNK	5000 /* of those that have come since */

/* What a row of gamestate.archive counts for, in bytes. */
#define ROW_BYTES "300"

/* Games that go the same way. */
typedef struct IdList
{
	Datum *ids;
	int n;
} IdList;

static const char *
raw_bytes(const GsPromotionLeaf *leaf)
{
	return leaf->table == 0 ? ROW_BYTES : "raw_size";
}

static int64
sum_bytes(void)
{
	int64 bytes = 0;
	bool null;

	for (uint64 i = 0; i < SPI_processed; i++)
		bytes += DatumGetInt32(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
	return bytes;
}

/* Games of the list from the leaf into another table; their bytes. */
static int64
copy_rows(const GsPromotionLeaf *leaf, const char *into, const IdList *list)
{
	Oid types[] = {UUIDARRAYOID};
	Datum values[1];

	if (list->n == 0)
		return 0;
	values[0] = PointerGetDatum(
		construct_array(list->ids, list->n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	gs_promote_sql(psprintf("INSERT INTO %s (%s) SELECT %s FROM ONLY %s o "
							"WHERE o.game_id = ANY ($1) RETURNING %s",
							into, leaf->columns, leaf->columns, leaf->name,
							raw_bytes(leaf)),
				   SPI_OK_INSERT_RETURNING, 1, types, values);
	return sum_bytes();
}

/*
 * Copy the games that a query says, which has game_id, version, ended_at and ours of
 * them.  Returns their number, and the last one's id.
 */
static uint64
copy_games(const GsPromotion *promotion, const GsPromotionLeaf *leaf, const char *query,
		   Datum *last_id, int64 *bytes)
{
	IdList ours = {0};
	IdList others = {0};
	SPITupleTable *rows;
	uint64 n;

	n = gs_promote_sql(psprintf("INSERT INTO %s (game_id, version, ended_at, ours) %s "
								"RETURNING game_id, ended_at, ours",
								leaf->map_name, query),
					   SPI_OK_INSERT_RETURNING, 0, NULL, NULL);
	rows = SPI_tuptable;
	ours.ids = palloc(sizeof(Datum) * Max(n, 1));
	others.ids = palloc(sizeof(Datum) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		bool is_ours =
			DatumGetBool(SPI_getbinval(rows->vals[i], rows->tupdesc, 3, &null));
		Datum ended_at = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &null);
		IdList *list = is_ours ? &ours : &others;
		bool made;

		*last_id = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &null);
		list->ids[list->n++] = *last_id;
		if (is_ours)
			(void) gs_promote_own_leaf(promotion, leaf->table,
									   DatumGetTimestampTz(ended_at), &made);
	}
	*bytes = copy_rows(leaf, leaf->copy_name, &others);
	*bytes += copy_rows(leaf, gs_leaf_name(promotion->branches[leaf->table]), &ours);
	if (n > 0)
		gs_promote_sql(
			psprintf("UPDATE gamestate.promotion_leaf SET copied = copied + %llu, "
					 "games = games + %d WHERE relid = %u",
					 (unsigned long long) n, ours.n, leaf->relid),
			SPI_OK_UPDATE, 0, NULL, NULL);
	gs_promote_update(promotion, "reason = NULL");
	return n;
}

/* What the map has of rows of a leaf "o", before the rows are chosen. */
static char *
select_games(const GsPromotion *promotion, const GsPromotionLeaf *leaf)
{
	return psprintf(
		"SELECT o.game_id, o.xmin, o.ended_at, o.game_type = %s FROM ONLY %s o ",
		promotion->literal, leaf->name);
}

bool
gs_promote_copy_some(const GsPromotion *promotion, const GsPromotionLeaf *leaf)
{
	TimestampTz began = GetCurrentTimestamp();
	Oid types[] = {UUIDOID};
	Datum last_id = (Datum) 0;
	int64 bytes;
	bool more;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	more = copy_games(promotion, leaf,
					  psprintf("%s WHERE o.game_id > (SELECT l.last_game_id FROM "
							   "gamestate.promotion_leaf l WHERE l.relid = %u) "
							   "ORDER BY o.game_id LIMIT %d",
							   select_games(promotion, leaf), leaf->relid, CHUNK),
					  &last_id, &bytes) > 0;
	gs_promote_sql(psprintf("UPDATE gamestate.promotion_leaf SET %s WHERE relid = %u",
							more ? "last_game_id = $1" : "state = 'copied'", leaf->relid),
				   SPI_OK_UPDATE, more ? 1 : 0, types, &last_id);
	SPI_finish();
	gs_worker_commit();
	gs_repack_keep_pace(bytes, began);
	return more;
}

char *
gs_promote_missing(const GsPromotionLeaf *leaf)
{
	return psprintf("NOT EXISTS (SELECT FROM %s m WHERE m.game_id = o.game_id "
					"AND m.version = o.xmin)",
					leaf->map_name);
}

char *
gs_promote_outdated(const GsPromotionLeaf *leaf)
{
	return psprintf("FROM %s m WHERE NOT EXISTS (SELECT FROM ONLY %s o "
					"WHERE o.game_id = m.game_id AND o.xmin = m.version)",
					leaf->map_name, leaf->name);
}

/* Copies of rows of the map are removed, and these. */
static void
remove_copies(const GsPromotion *promotion, const GsPromotionLeaf *leaf,
			  const char *from_map)
{
	gs_promote_sql(
		psprintf("WITH gone AS (DELETE %s RETURNING m.game_id, m.ended_at, m.ours), "
				 "others AS (DELETE FROM %s c USING gone g WHERE NOT g.ours "
				 "AND c.game_id = g.game_id) "
				 "DELETE FROM %s n USING gone g WHERE g.ours AND n.game_id = g.game_id "
				 "AND n.ended_at = g.ended_at",
				 from_map, leaf->copy_name,
				 gs_leaf_name(promotion->branches[leaf->table])),
		SPI_OK_DELETE, 0, NULL, NULL);
}

void
gs_promote_forget_rows(const GsPromotion *promotion, const GsPromotionLeaf *leaf)
{
	remove_copies(promotion, leaf, psprintf("FROM %s m", leaf->map_name));
}

void
gs_promote_catch_up(const GsPromotion *promotion, const GsPromotionLeaf *leaf)
{
	bool more = leaf->name != NULL;

	while (more)
	{
		TimestampTz began = GetCurrentTimestamp();
		Datum last_id;
		int64 bytes;

		CHECK_FOR_INTERRUPTS();
		gs_worker_begin(LOCK_TIMEOUT_MS);
		SPI_connect();
		if (gs_promote_sql(psprintf("SELECT %s LIMIT 1", gs_promote_outdated(leaf)),
						   SPI_OK_SELECT, 0, NULL, NULL) > 0)
			remove_copies(promotion, leaf, gs_promote_outdated(leaf));
		/* a game whose row has just become another one has to be removed first */
		more = copy_games(promotion, leaf,
						  psprintf("%s WHERE NOT EXISTS (SELECT FROM %s m "
								   "WHERE m.game_id = o.game_id) LIMIT %d",
								   select_games(promotion, leaf), leaf->map_name,
								   CATCH_UP_CHUNK),
						  &last_id, &bytes) >= CATCH_UP_CHUNK;
		SPI_finish();
		gs_worker_commit();
		gs_repack_keep_pace(bytes, began);
	}
}
