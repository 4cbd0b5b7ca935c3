/*-------------------------------------------------------------------------
 *
 * gs_compat.h
 *	  Differences between PostgreSQL 15, 16, 17 and 18, and nothing else.
 *
 * Function bodies elsewhere have no version tests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_COMPAT_H
#define GS_COMPAT_H

#include "postgres.h"

#include "lib/dshash.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 150000
#error "gamestate needs PostgreSQL 15 or later"
#endif

/* 17: dshash asks for a function that copies keys */
#if PG_VERSION_NUM >= 170000
#define GS_DSHASH_COPY_FUNCTION .copy_function = dshash_memcpy
#else
#define GS_DSHASH_COPY_FUNCTION
#endif

/* 18: LockAcquireExtended() can log failures of a conditional lock */
#if PG_VERSION_NUM >= 180000
#define GsLockAcquireExtended(tag, mode, session, nowait, memerr) \
	LockAcquireExtended(tag, mode, session, nowait, memerr, NULL, false)
#else
#define GsLockAcquireExtended(tag, mode, session, nowait, memerr) \
	LockAcquireExtended(tag, mode, session, nowait, memerr, NULL)
#endif

/* 16: one function for the ownership of all kinds of objects */
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#define GS_CLASS_OWNERCHECK(oid, role)	  object_ownercheck(RelationRelationId, oid, role)
#define GS_DATABASE_OWNERCHECK(oid, role) object_ownercheck(DatabaseRelationId, oid, role)
#define GS_EXTENSION_OWNERCHECK(oid, role) \
	object_ownercheck(ExtensionRelationId, oid, role)
#define GS_NAMESPACE_OWNERCHECK(oid, role) \
	object_ownercheck(NamespaceRelationId, oid, role)
#else
#define GS_CLASS_OWNERCHECK(oid, role)	   pg_class_ownercheck(oid, role)
#define GS_DATABASE_OWNERCHECK(oid, role)  pg_database_ownercheck(oid, role)
#define GS_EXTENSION_OWNERCHECK(oid, role) pg_extension_ownercheck(oid, role)
#define GS_NAMESPACE_OWNERCHECK(oid, role) pg_namespace_ownercheck(oid, role)
#endif

/* 16: relfilenode has become relfilenumber */
#include "utils/relcache.h"
#if PG_VERSION_NUM >= 160000
#define GsRelationSetNewStorage(rel) \
	RelationSetNewRelfilenumber(rel, (rel)->rd_rel->relpersistence)
#else
#define GsRelationSetNewStorage(rel) \
	RelationSetNewRelfilenode(rel, (rel)->rd_rel->relpersistence)
#endif

/* 16: a relation's file is named by a locator; smgrextend() wants an aligned block */
#if PG_VERSION_NUM >= 160000
#define GsRelationFile(rel) ((rel)->rd_locator.relNumber)
typedef PGIOAlignedBlock GsZeroBlock;
#else
#define GsRelationFile(rel) ((rel)->rd_node.relNode)
typedef PGAlignedBlock GsZeroBlock;
#endif

/* 16: a bulk insert remembers how it has extended the table */
#include "access/hio.h"
#if PG_VERSION_NUM >= 160000
#define GS_BULK_INSERT_STATE                                           \
	{                                                                  \
		.current_buf = InvalidBuffer, .next_free = InvalidBlockNumber, \
		.last_free = InvalidBlockNumber                                \
	}
#else
#define GS_BULK_INSERT_STATE         \
	{                                \
		.current_buf = InvalidBuffer \
	}
#endif

/* 18: the path of a relation's file is a struct */
#include "common/relpath.h"
#if PG_VERSION_NUM >= 180000
#define GsRelationPath(rel) pstrdup(relpathperm((rel)->rd_locator, MAIN_FORKNUM).str)
#elif PG_VERSION_NUM >= 160000
#define GsRelationPath(rel) relpathperm((rel)->rd_locator, MAIN_FORKNUM)
#else
#define GsRelationPath(rel) relpathperm((rel)->rd_node, MAIN_FORKNUM)
#endif

/*
 * 15.13, 16.9, 17.5, 18: whether standbys are asked for is known in shared
 * memory by a flag of several.  Shared memory, because a backend that waits
 * does not see a reload.
 */
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "replication/syncrep.h"
static inline bool
GsSyncStandbysDefined(void)
{
#ifdef SYNC_STANDBY_DEFINED
	bits8 status = ((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_status;

	/* not looked at since the server started */
	if ((status & SYNC_STANDBY_INIT) == 0)
		return SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
	return (status & SYNC_STANDBY_DEFINED) != 0;
#else
	return ((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_defined;
#endif
}

/* 16: RelFileNode has become RelFileLocator */
#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"
#define GsRelFileNode			  RelFileLocator
#define GsRelFileNodeEquals(a, b) RelFileLocatorEquals(a, b)
#define GS_RELATION_NODE(rel)	  ((rel)->rd_locator)
#else
#include "storage/relfilenode.h"
#define GsRelFileNode			  RelFileNode
#define GsRelFileNodeEquals(a, b) RelFileNodeEquals(a, b)
#define GS_RELATION_NODE(rel)	  ((rel)->rd_node)
#endif

/*
 * 15 to 18: generic_xlog.c writes what has changed of a page as fragments, each
 * an offset, a length (OffsetNumber both) and the bytes.  To be read again there
 * before a later version is let in.
 */
#define GS_GENERIC_DELTA_KNOWN (PG_VERSION_NUM < 190000)

/*
 * 16: what the JSON parser calls says whether it shall go on.  17: the parser's
 * state may be the caller's.
 */
#include "common/jsonapi.h"
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType GsJsonResult;
#define GS_JSON_RETURN return JSON_SUCCESS
#else
typedef void GsJsonResult;
#define GS_JSON_RETURN return
#endif
#if PG_VERSION_NUM >= 170000
#define GsMakeJsonLexContext(json, len, encoding, need_escapes) \
	makeJsonLexContextCstringLen(NULL, json, len, encoding, need_escapes)
#else
#define GsMakeJsonLexContext(json, len, encoding, need_escapes)                   \
	makeJsonLexContextCstringLen(unconstify(char *, json), (int) (len), encoding, \
								 need_escapes)
#endif

/* 15.4, 16: datconnlimit of a database whose DROP was interrupted */
#define GS_DATCONNLIMIT_INVALID (-2)

/* 17, 18: a path of a foreign scan has more to say */
#if PG_VERSION_NUM >= 180000
#define GsCreateForeignScanPath(root, rel, rows, startup, total)           \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, \
							(rel)->lateral_relids, NULL, NIL, NIL)
#elif PG_VERSION_NUM >= 170000
#define GsCreateForeignScanPath(root, rel, rows, startup, total)        \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, \
							(rel)->lateral_relids, NULL, NIL, NIL)
#else
#define GsCreateForeignScanPath(root, rel, rows, startup, total)        \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, \
							(rel)->lateral_relids, NULL, NIL)
#endif

#endif /* GS_COMPAT_H */
