/*-------------------------------------------------------------------------
 *
 * gs_partition.h
 *	  Partitions of the archive: is there one for a game, and making it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PARTITION_H
#define GS_PARTITION_H

#include "gs_table.h"

/* For games that ended in [from, to) there is a partition in both tables. */
typedef struct GsPlace
{
	TimestampTz from;
	TimestampTz to;
	Oid rows;
	Oid payloads;
} GsPlace;

/*
 * Make sure that there is a place in both tables for a game of this type that
 * ended then; true if anything had to be made.  shared: in the branch that
 * several types share, whatever the type.  Within the caller's transaction, as
 * gamestate_owner; what is made keeps the parents locked until that ends.
 */
extern bool gs_partition_complete(const GsText *game_type, TimestampTz ended_at,
								  bool shared, GsPlace *place);

/*
 * Is there one?  Makes and locks nothing.  *place also says where one is
 * missing: in [from, to).
 */
extern bool gs_partition_find(const GsText *game_type, TimestampTz ended_at, bool shared,
							  GsPlace *place);

/*
 * The branch of gamestate.archive or gamestate.archive_payload that games of a type go
 * to now; InvalidOid if there is none yet, or the table is not partitioned as we do it.
 */
extern Oid gs_partition_branch(const char *table, const GsText *game_type,
							   bool *is_default);

/*
 * For a type that shares the default branch: a branch of its own that is not attached
 * yet; the leaf of it for a game that ended then, made if it is missing; attaching it,
 * for which no game of the type may be in the default branch any more.  As
 * gamestate_owner, connected to SPI.
 */
extern Oid gs_partition_create_branch(const char *table, const GsText *game_type);
extern Oid gs_partition_leaf(const char *table, Oid branch, const GsText *game_type,
							 TimestampTz ended_at, bool *made);
extern void gs_partition_attach_branch(const char *table, Oid branch,
									   const GsText *game_type);

/* Grows when a table changes that either of these has looked at. */
extern uint64 gs_partition_changes(void);

#endif /* GS_PARTITION_H */
