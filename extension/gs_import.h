/*-------------------------------------------------------------------------
 *
 * gs_import.h
 *	  import_games(): what its two files share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_IMPORT_H
#define GS_IMPORT_H

#include "gs_table.h"

typedef enum GsImportOutcome
{
	GS_IMPORT_OPEN,
	GS_IMPORT_DONE,
	GS_IMPORT_SKIPPED,
	GS_IMPORT_REFUSED
} GsImportOutcome;

/* One element of the call's array. */
typedef struct GsImport
{
	int ord; /* from 1 */
	text *line;
	bool has_id;
	GsGameCopy game; /* entries are those of version 2 and later */
	bool has_payload;
	bool has_initial; /* the line says it */
	bool has_final;
	GsImportOutcome outcome;
	int sqlerrcode;
	const char *message;
} GsImport;

/*
 * Read import->line into import->game, with what it points to in mcxt.  Needs a
 * connection to SPI; ERROR if there is something wrong with the game.
 */
extern void gs_import_read(GsImport *import, MemoryContext mcxt);

/*
 * The history of a game whose entries are read: states[i] is the state after
 * entry i, as far as it is given (data NULL: not), or entries have deltas.  Checks
 * the one, makes the other.  ERROR if they do not fit the game.
 */
extern void gs_import_history(GsImport *import, const GsText *states);

#endif /* GS_IMPORT_H */
