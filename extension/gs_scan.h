/*-------------------------------------------------------------------------
 *
 * gs_scan.h
 *	  Reading a journal table whatever has happened to its pages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SCAN_H
#define GS_SCAN_H

#include "postgres.h"

#include "access/htup.h"
#include "port/atomics.h"
#include "storage/block.h"
#include "storage/off.h"
#include "utils/relcache.h"

/* A committed row; valid while the callback runs. */
typedef struct GsScanRow
{
	HeapTupleHeader header; /* nothing in it is to be trusted but its visibility */
	Size len;
	BlockNumber block;
	OffsetNumber item;
	bool by_xid; /* committed with a transaction id, not written as frozen */
} GsScanRow;

/* What is damaged; bytes are valid while the callback runs. */
typedef struct GsScanDamage
{
	BlockNumber block;
	OffsetNumber item; /* InvalidOffsetNumber: the whole page */
	const char *what;  /* static text, the predicate of a sentence or a clause */
	const char *bytes;
	Size len;
	int rows_used;	 /* whole page: rows that could be used all the same ... */
	int rows_unused; /* ... and that could not */
} GsScanDamage;

typedef struct GsScan
{
	Relation rel; /* locked by the caller */
	void *arg;
	/* returns NULL, or what is wrong with the row */
	const char *(*row)(void *arg, const GsScanRow *row);
	void (*damage)(void *arg, const GsScanDamage *damage);
	pg_atomic_uint64 *blocks_done; /* counted up, or NULL */
} GsScan;

extern void gs_scan(const GsScan *scan);

/* The blocks that gs_scan() would read. */
extern BlockNumber gs_scan_blocks(Relation rel);

/* The bytes of one row into a buffer of BLCKSZ; 0 if it is not there any more. */
extern Size gs_scan_fetch(Relation rel, BlockNumber block, OffsetNumber item,
						  char *buffer);

#endif /* GS_SCAN_H */
