/*-------------------------------------------------------------------------
 *
 * gs_load_parts.h
 *	  What the files that load games from the journal share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LOAD_PARTS_H
#define GS_LOAD_PARTS_H

#include "gs_damage.h"
#include "gs_database.h"

#include "storage/block.h"
#include "storage/off.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

/* Where a row stands. */
typedef struct GsRowPlace
{
	BlockNumber block;
	OffsetNumber item;
	uint8 table;
} GsRowPlace;

/* A record, in the bucket of its game. */
typedef struct GsLoadRecord
{
	pg_uuid_t id;
	int64 incarnation;
	int64 version;
	const char *data;  /* encoded; without its state if that is in shared memory */
	dsa_pointer state; /* of an image; valid while it is nobody else's */
	uint32 len;
	uint32 state_len;
	BlockNumber block; /* of the row; of a group of several, of the last one found */
	OffsetNumber item;
	uint8 table;
	uint8 kind; /* GsRecordKind */
} GsLoadRecord;

/* So many fill about a kilobyte. */
#define GS_LOAD_BLOCK_RECORDS 15

typedef struct GsLoadBlock
{
	struct GsLoadBlock *next;
	GsLoadRecord records[GS_LOAD_BLOCK_RECORDS];
} GsLoadBlock;

/*
 * The records of the games that come together in the games' hash table, too: so
 * a bucket's games are inserted into a small piece of it, and what the
 * first bucket needs makes the table as large as it has to be in the end, while
 * it is nearly empty.
 */
typedef struct GsLoadBucket
{
	GsLoadBlock *blocks; /* all but the first are full */
	uint32 n;			 /* records; here, since the blocks are not in a cache */
} GsLoadBucket;

#define GS_LOAD_RECORDS_IN_FIRST(bucket) \
	((bucket)->n == 0 ? 0 : ((bucket)->n - 1) % GS_LOAD_BLOCK_RECORDS + 1)

#define GS_LOAD_BUCKET_BITS 10
#define GS_LOAD_BUCKETS		(1 << GS_LOAD_BUCKET_BITS)

/* All of it is the loading process's own, apart from what db points to. */
typedef struct GsLoad
{
	GsDatabase *db;
	MemoryContext context;		/* everything below */
	MemoryContext pieces;		/* of groups that are not whole yet */
	MemoryContext game_context; /* one game, reset */
	char *arena;
	Size arena_left;
	Size arena_block;
	Relation rels[2];
	int table; /* that is being read */
	GsLoadBucket *buckets;
	GsLoadRecord **sorted; /* of one bucket */
	HTAB *groups;
	int64 max_seq;
	int64 max_incarnation;
	uint64 bytes[2]; /* in each table */
	int64 min_seq[2];
	uint32 active;		/* table to write to from now on */
	uint64 found;		/* damaged rows and pages */
	uint64 problems;	/* they, and what they have cost */
	uint64 unfinished;	/* groups that a crash has cut off */
	uint64 loaded;		/* games */
	GsDamageList *keep; /* NULL = load; else only look for damage */
	int64 last_seq;		/* with keep: rows after this have come later */
	bool may_share;		/* states of images may be put into shared memory ... */
	bool has_shared;	/* ... and some have been */
} GsLoad;

/* gs_load_rows.c: read both tables; the records are in the buckets then */
extern void gs_load_rows(GsLoad *load);

/*
 * Damage: count it; and, where it is to be kept, a row that is not damaged, but
 * of no use because of others that are.
 */
extern void gs_load_count_problem(GsLoad *load);
extern void gs_load_keep_useless(GsLoad *load, const GsRowPlace *place, const char *what);

/*
 * gs_load_games.c: from the buckets to games in memory.  Whatever happens, also
 * when the process is ended, gs_load_free_states() frees what no game owns yet.
 */
extern void gs_load_games(GsLoad *load);
extern void gs_load_free_states(int code, Datum arg);

/*
 * gs_load_wait.c: take the load lock, or with relation that table's, within the
 * time in milliseconds (0 = no limit), else GS013.
 */
extern void gs_load_lock(GsDatabase *db, Oid relation, int timeout);

/*
 * The error of a load, raised again for a while.  It is remembered from within
 * a PG_CATCH block, with memory that its copy may use.
 */
extern void gs_load_raise_failure(GsDatabase *db);
extern void gs_load_remember_failure(GsDatabase *db, MemoryContext context);
extern void gs_load_forget_failure(GsDatabase *db);

#endif /* GS_LOAD_PARTS_H */
