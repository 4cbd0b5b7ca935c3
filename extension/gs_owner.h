/*-------------------------------------------------------------------------
 *
 * gs_owner.h
 *	  SQL on a table of ours as the role that owns it.
 *
 * Who may call our functions need not have rights on our tables, and what
 * their owner has put on them (triggers, for example) must not run as the caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_OWNER_H
#define GS_OWNER_H

#include "postgres.h"

#include "storage/lockdefs.h"

typedef struct GsOwnerAccess
{
	Oid user;
	int sec_context;
	int guc_level;
} GsOwnerAccess;

/*
 * Lock the table of schema gamestate, become its owner, connect to SPI.  An
 * error in between undoes all of it, as it ends the (sub)transaction.
 */
extern void gs_owner_begin(GsOwnerAccess *access, const char *table, LOCKMODE lockmode);
extern void gs_owner_end(const GsOwnerAccess *access);

#endif /* GS_OWNER_H */
