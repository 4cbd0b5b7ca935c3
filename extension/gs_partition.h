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

/* Grows when a table changes that either of these has looked at. */
extern uint64 gs_partition_changes(void);

#endif /* GS_PARTITION_H */
