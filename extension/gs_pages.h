/*-------------------------------------------------------------------------
 *
 * gs_pages.h
 *	  Which page of a journal table a backend writes its next row to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PAGES_H
#define GS_PAGES_H

#include "postgres.h"

#include "storage/block.h"
#include "storage/buf.h"
#include "storage/lwlock.h"
#include "utils/relcache.h"

struct GsDatabase;

/*
 * Rows of the two ways to commit do not share a page: hint bits of ordinary
 * rows are set without WAL, and wal_consistency_checking compares them in the
 * generic records that put a frozen row on the page.
 */
typedef enum GsPageKind
{
	GS_PAGE_LIGHT, /* frozen rows */
	GS_PAGE_XID	   /* ordinary rows */
} GsPageKind;

#define GS_PAGE_KINDS 2

/* Pages that a backend has left behind, with room for more. */
#define GS_OPEN_PAGES 32

typedef struct GsOpenPage
{
	BlockNumber block;
	uint16 free;
} GsOpenPage;

/*
 * Pages of one journal table that nobody owns.  Protected by pages_lock of
 * the database.
 */
typedef struct GsPagePool
{
	Oid node;		  /* the file that the rest is about; 0 = nothing known */
	BlockNumber next; /* blocks from here ... */
	BlockNumber end;  /* ... to before here are empty */
	int nopen[GS_PAGE_KINDS];
	GsOpenPage open[GS_PAGE_KINDS][GS_OPEN_PAGES];
} GsPagePool;

/* What a row of so many bytes takes of a page. */
#define GS_PAGE_NEED(tuple_len) (MAXALIGN(tuple_len) + sizeof(ItemIdData))

/* When shared memory is made. */
extern void gs_pages_init(struct GsDatabase *db);

/* A transaction begins to ask for pages; what others before it asked for has been used, or will not be. */
extern void gs_pages_begin(int table);

/*
 * A page of our own with room for "need" bytes (GS_PAGE_NEED), pinned.  The
 * caller has locked the table, and uses the room or leaves it for good.  May
 * extend the table; ERROR if that fails.
 */
extern Buffer gs_pages_get(Relation rel, struct GsDatabase *db, int table,
						   GsPageKind kind, Size need);

/* Bytes that can still be put on a page, new ones included; the caller has locked it. */
extern Size gs_pages_room(Buffer buffer);

/* The pool of the active table is nearly empty: the archiver shall fill it. */
extern bool gs_pages_wanted(struct GsDatabase *db);

/* From the archiver, who has locked the table: extend it until the pool has enough. */
extern void gs_pages_fill(Relation rel, struct GsDatabase *db, int table);

/* Nothing is known of the tables of this database any more. */
extern void gs_pages_forget(struct GsDatabase *db);

#endif /* GS_PAGES_H */
