/*-------------------------------------------------------------------------
 *
 * gs_light.h
 *	  The light way to commit: frozen rows under generic WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LIGHT_H
#define GS_LIGHT_H

#include "access/htup.h"
#include "access/xlogdefs.h"
#include "utils/relcache.h"

struct GsDatabase;

/* A group of more rows commits with a transaction id. */
#define GS_LIGHT_MAX_ROWS 64

/*
 * At pre-commit; may fail.  Takes over the opened table, which stays locked
 * until the transaction has ended.  The rows are in memory that lives until
 * then; they are changed.
 */
extern void gs_light_prepare(Relation rel, struct GsDatabase *db, int table,
							 HeapTuple *rows, int nrows);

/* At commit: lock the pages; may fail, which aborts the transaction. */
extern void gs_light_lock(void);

/* In a critical section, at once after that: write.  Returns the record's end. */
extern XLogRecPtr gs_light_write(void);

/* After it. */
extern void gs_light_finish(void);

/* The transaction has been aborted. */
extern void gs_light_reset(void);

#endif /* GS_LIGHT_H */
