/*-------------------------------------------------------------------------
 *
 * gs_save.h
 *	  Live games as rows of gamestate.saved_games, for pg_dump to carry.
 *
 * A row:
 *
 *	game_id		uuid	primary key
 *	game_type, status, version		for people; the image has them too
 *	durability	text	journal or memory; not in the image
 *	saved_at	timestamptz
 *	saved_by	xid		the transaction that inserted the row: as long as it is the
 *						row's xmin the row was made here, and not by a restore
 *	database_encoding	text	of the texts in the image, which are not converted
 *	format		smallint	GS_SAVED_FORMAT_1
 *	checksum	bigint	CRC-32C of game_id (16 bytes) and image
 *	image		bytea	format 1: one record of kind image, gs_record.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SAVE_H
#define GS_SAVE_H

#include "gs_owner.h"
#include "gs_table.h"

#define GS_SAVED_FORMAT_1 1

/* Locks the table against other saves and loads, to the end of the transaction. */
static inline void
gs_saved_begin(GsOwnerAccess *access)
{
	/* readers, pg_dump among them, may go on */
	gs_owner_begin(access, "saved_games", ShareRowExclusiveLock);
}

/* ERROR if this transaction has changed games: "function" is for the message. */
extern void gs_saved_require_no_changes(const char *function);

extern uint32 gs_saved_checksum(const pg_uuid_t *id, const char *image, Size len);

#endif /* GS_SAVE_H */
