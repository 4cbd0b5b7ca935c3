/*-------------------------------------------------------------------------
 *
 * gs_protect.h
 *	  The journal's tables are written by nobody but the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PROTECT_H
#define GS_PROTECT_H

#include "utils/reltrigger.h"

/* from _PG_init: hooks */
extern void gs_protect_init(void);

/* The triggers that belong on a journal table; see gamestate--0.1.0.sql. */
#define GS_JOURNAL_TRIGGER			"keep_out_replicated_rows"
#define GS_JOURNAL_TRUNCATE_TRIGGER "keep_out_replicated_truncate"

/* Are there others? */
extern bool gs_protect_has_triggers(const TriggerDesc *triggers);

#endif /* GS_PROTECT_H */
