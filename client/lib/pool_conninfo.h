/*-------------------------------------------------------------------------
 *
 * pool_conninfo.h
 *	  From a connection string with several hosts to one for each host.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_CONNINFO_H
#define GAMESTATE_POOL_CONNINFO_H

#include <stddef.h>

/* What target_session_attrs asks for, in the words of libpq. */
typedef enum GspTarget
{
	GSP_TARGET_ANY,
	GSP_TARGET_READ_WRITE,
	GSP_TARGET_READ_ONLY,
	GSP_TARGET_PRIMARY,
	GSP_TARGET_STANDBY,
	GSP_TARGET_PREFER_STANDBY,
} GspTarget;

#define GSP_MAX_SERVERS 16

typedef struct GspConninfo
{
	int servers;
	GspTarget target;
	char *name[GSP_MAX_SERVERS];	 /* "host:port", for people */
	char *conninfo[GSP_MAX_SERVERS]; /* one host, any session */
} GspConninfo;

/*
 * Splits what libpq would make of `conninfo` (keywords or URI, a service, the
 * environment, defaults).  Zero if all is well; else -1, with a message.
 */
extern int gsp_conninfo_split(const char *conninfo, GspConninfo *result, char *message,
							  size_t size);

/* NULL-safe; afterwards it is empty. */
extern void gsp_conninfo_free(GspConninfo *conninfo);

#endif /* GAMESTATE_POOL_CONNINFO_H */
