/*-------------------------------------------------------------------------
 *
 * gs_dictionary.h
 *	  Compression dictionaries: rows of gamestate.dictionary, ready for use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DICTIONARY_H
#define GS_DICTIONARY_H

#include "postgres.h"

#include "gs_payload.h"

/*
 * Number of the newest dictionary of each game type, to be asked often: the
 * table is read once for all of them.  Allocated in the current memory
 * context; the active snapshot is not used, what is committed counts.
 */
typedef struct GsDictionaryList GsDictionaryList;
extern GsDictionaryList *gs_dictionary_list(void);
extern int32 gs_dictionary_newest(const GsDictionaryList *list, const char *game_type,
								  Size len); /* 0 = none */

/*
 * A dictionary digested for a direction; kept for later calls, valid until the
 * next one.  NULL and *error (static text) if there is none of that number, or
 * its row is damaged.
 */
extern const ZSTD_CDict *gs_dictionary_to_compress(int32 number, int level,
												   const char **error);
extern const ZSTD_DDict *gs_dictionary_to_decompress(int32 number, const char **error);

/* What is kept may be of other rows than there are now. */
extern void gs_dictionary_forget(void);

/* of the contents, as the row has it */
extern uint32 gs_dictionary_checksum(const char *content, Size len);

#endif /* GS_DICTIONARY_H */
