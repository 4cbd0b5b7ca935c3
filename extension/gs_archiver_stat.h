/*-------------------------------------------------------------------------
 *
 * gs_archiver_stat.h
 *	  What archivers have done and what has failed, by database and game type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVER_STAT_H
#define GS_ARCHIVER_STAT_H

#include "gs_table.h"

#include "utils/elog.h"

struct GsDatabase;

/*
 * The type as a hash key is: padded with zero bytes.  The empty one stands for
 * the archiver as a whole: what fails whatever is archived.
 */
#define GS_STAT_WHOLE ((const char[GS_MAX_ID_LENGTH + 1]){0})

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_archiver_stat_shmem_size(void);
extern void gs_archiver_stat_shmem_init(bool found);

/* ---- for the archiver of this database ---- */

/* A batch has archived so many games of a type; took counts once for each type in it. */
extern void gs_archiver_stat_batch(const char *type, int games, int64 raw_bytes,
								   int64 stored_bytes, int64 took_us);
extern void gs_archiver_stat_failure(const char *type, const ErrorData *error);
extern void gs_archiver_stat_dead_letter(const char *type);

/* 0 = it goes on */
extern void gs_archiver_stat_pause(const char *type, TimestampTz until, int pauses);

/*
 * Somebody wants archiving to go on at once: fills in one type, which is the
 * empty one if it holds for all; false if there is none (any more).
 */
extern bool gs_archiver_stat_take_resume(char *type);

/* ---- for others ---- */

/* The database is dropped.  Cannot fail. */
extern void gs_archiver_stat_forget(Oid dboid);

#endif /* GS_ARCHIVER_STAT_H */
