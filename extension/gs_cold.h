/*-------------------------------------------------------------------------
 *
 * gs_cold.h
 *	  Files of frozen payloads: writing one, reading it back.
 *
 * A partition of gamestate.archive_payload that is frozen (gs_freeze.c) is a foreign
 * table over one file below gamestate.cold_directory.  The executor reads it
 * through gs_cold_fdw.c, a look-up by id (gs_archive.c) directly.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_COLD_H
#define GS_COLD_H

#include "postgres.h"

#include "gs_cold_format.h"

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define GS_COLD_SERVER "gamestate_cold"

/* Longest name of a file. */
#define GS_COLD_NAME_SIZE 128

/* ---- gs_cold_file.c: bytes and blocks ---- */

/* A file that is being read; all of it lives in the context in which it was opened. */
typedef struct GsColdFile
{
	char name[GS_COLD_NAME_SIZE];
	int fd;
	GsColdTrailer trailer;
	char *directory;
	int ncolumns;
	GsColdColumn *columns;
	int nblocks;
	GsColdBlock *blocks;
} GsColdFile;

/* Only letters, digits, "-", "_" and ".", and not beginning with the last. */
extern bool gs_cold_name_is_valid(const char *name);

/* ERROR if gamestate.cold_directory is not set.  palloc'd. */
extern char *gs_cold_path(const char *name);

/*
 * Opens and checks all but the blocks.  Returns NULL, or what is wrong (static or
 * palloc'd); then nothing stays open.  The transaction's end closes it too.
 */
extern const char *gs_cold_open(const char *name, GsColdFile *file);
extern void gs_cold_close(GsColdFile *file);

/* Only the trailer, for who wants to know how many rows there are. */
extern const char *gs_cold_read_trailer(const char *name, GsColdTrailer *trailer,
										uint64 *size);

/* The rows of a block, palloc'd; NULL or what is wrong. */
extern const char *gs_cold_read_block(const GsColdFile *file, int block, char **rows);

/* Where the game may be: the first block, and it may go on; -1 = nowhere. */
extern int gs_cold_find_block(const GsColdFile *file, const pg_uuid_t *id);

typedef struct GsColdWriter GsColdWriter;

/* Begins a file beside its final place; rows must come in the order of their ids. */
extern GsColdWriter *gs_cold_create(const char *name, const GsColdColumn *columns,
									int ncolumns);
extern void gs_cold_write_row(GsColdWriter *writer, const GsColdRow *row);

/* Makes the file durable and gives it its name.  Returns its size and checksum. */
extern uint64 gs_cold_finish(GsColdWriter *writer, uint32 *checksum, uint64 *rows);

/* Checksum of a whole file; NULL or what is wrong. */
extern const char *gs_cold_checksum(const char *name, uint32 *checksum);

/* ---- gs_cold.c: rows of a table ---- */

/* Is this a foreign table of ours?  The name of its file, palloc'd; NULL if it has none. */
extern bool gs_cold_is_frozen(Oid relid);
extern char *gs_cold_file_of(Oid relid);

/* From the columns of a file to those of a table and back. */
typedef struct GsColdRows GsColdRows;

extern GsColdRows *gs_cold_rows_to_write(TupleDesc desc, GsColdColumn **columns,
										 int *ncolumns);
extern void gs_cold_encode(GsColdRows *rows, const Datum *values, const bool *nulls,
						   GsColdRow *row, StringInfo buffer);
extern GsColdRows *gs_cold_rows_to_read(TupleDesc desc, const GsColdFile *file);
extern const char *gs_cold_decode(GsColdRows *rows, const GsColdRow *row, Datum *values,
								  bool *nulls);

/* A file that cannot be read: an ERROR, unless somebody collects such. */
typedef void (*GsColdDamage)(void *arg, Oid relid, const char *what);
extern void gs_cold_collect_damage(GsColdDamage report, void *arg);
extern void gs_cold_damaged(Oid relid, const char *name, const char *what);

/*
 * The row of a game in a frozen partition, palloc'd, or NULL.  Its ctid says block
 * and row of the file.
 */
extern HeapTuple gs_cold_find(Relation rel, const pg_uuid_t *id);

#endif /* GS_COLD_H */
