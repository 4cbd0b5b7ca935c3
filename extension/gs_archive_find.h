/*-------------------------------------------------------------------------
 *
 * gs_archive_find.h
 *	  Finding one row in the archive's partitions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVE_FIND_H
#define GS_ARCHIVE_FIND_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef struct GsRowSearch GsRowSearch;
typedef void (*GsRowCallback)(GsRowSearch *search, Relation leaf, HeapTuple tuple);

/* What row to look for, and what to do with it. */
struct GsRowSearch
{
	const pg_uuid_t *id;
	const char *game_type; /* NULL = any */
	bool exact;			   /* game_type and ended_from are the row's */
	bool has_range;		   /* ended_at is between these, both included */
	TimestampTz ended_from;
	TimestampTz ended_to;
	Snapshot snapshots[2]; /* tried in this order in each leaf */
	int nsnapshots;
	GsRowCallback found; /* NULL = it is enough to know that it exists */
	void *arg;
	MemoryContext mcxt; /* for found() */
	bool newest_first;	/* of partitions by time */
	bool foreign;		/* out: a foreign table was left out */
};

/* One of the parents in schema gamestate; InvalidOid if there is none. */
extern Oid gs_archive_table(const char *name);

/* The row's whole key is known. */
extern void gs_find_set_key(GsRowSearch *search, const char *game_type,
							TimestampTz ended_at);

/* In a table and its partitions, in those that the search leaves. */
extern bool gs_find_row(Oid relid, GsRowSearch *search);

/* By game id alone. */
extern bool gs_find_row_by_id(Oid parent, GsRowSearch *search);

/* A column by its name; a partition has it, with this type. */
extern Datum gs_row_column(HeapTuple tuple, Relation leaf, const char *name, Oid type,
						   bool *isnull);
extern Datum gs_row_column_not_null(HeapTuple tuple, Relation leaf, const char *name,
									Oid type);

#endif /* GS_ARCHIVE_FIND_H */
