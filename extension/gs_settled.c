/*-------------------------------------------------------------------------
 *
 * gs_settled.c
 *	  Which partitions of the archive everybody is known to know.
 *
 * The model:
 *	1. A partition has settled when all transactions have ended that held a lock
 *	   on its root before it was attached (gs_place.c says why that matters).
 *	   Who sees a partition for the first time can only wait for all that hold a
 *	   lock now, although most of them may have come later.
 *	2. The catalog says which transaction has attached it: the xmin of its row
 *	   in pg_inherits, and of those of the tables above it.
 *	3. So the archiver notes from time to time which transactions still run, and
 *	   then who holds a lock on the roots.  When these have ended, everything
 *	   that was attached by a transaction older than those which ran has
 *	   settled: it was attached before the locks were looked at.
 *	   That transaction is kept in shared memory (GsDatabase.settled_before).
 *	   So an archiver that begins anew need not wait for readers who
 *	   have come after all this.
 *	   After a restart of the server nothing is known: who was connected to a
 *	   standby that was promoted may not know a partition, however old it is.
 *
 * Locking: none; locks of others are only looked at.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_settled.h"
#include "gs_table.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* How often it is looked whether those who are waited for have ended: ever more seldom. */
#define LOOK_FIRST_MS 20
#define LOOK_LAST_MS  10000

/* A partition of a partition of a root. */
#define MAX_LEVELS 8

static const char *const roots[] = {"archive", "archive_payload"};

/* What is waited for.  Local to the archiver's process. */
typedef struct Round
{
	bool wanted; /* there are partitions that the one that goes on says nothing of */
	bool active;
	uint64 before; /* full xid: what was attached by an older one settles */
	int n[lengthof(roots)];
	VirtualTransactionId *vxids[lengthof(roots)];
	TimestampTz look_at;
	int look_ms;
} Round;

static Round current = {0};

VirtualTransactionId *
gs_settled_lockers(const char *root, int *n)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId,
						 get_relname_relid(root, get_namespace_oid("gamestate", false)));
	return GetLockConflicts(&tag, AccessExclusiveLock, n);
}

int
gs_settled_still_running(const VirtualTransactionId *vxids, int n)
{
	while (n > 0 && VirtualXactLock(vxids[n - 1], false))
		n--;
	return n;
}

/* ----------------------------------------------------------------
 *		Rounds
 * ----------------------------------------------------------------
 */

static void
begin_round(void)
{
	/* first: who attaches later than that may do so after the locks were looked at */
	TransactionId oldest = GetLatestSnapshot()->xmin;

	current.before = U64FromFullTransactionId(gs_table_full_xid(oldest));
	for (int i = 0; i < (int) lengthof(roots); i++)
	{
		int n;
		VirtualTransactionId *lockers = gs_settled_lockers(roots[i], &n);

		if (current.vxids[i] != NULL) /* of one that an error has ended here */
			pfree(current.vxids[i]);
		current.vxids[i] = NULL;
		current.vxids[i] = MemoryContextAlloc(TopMemoryContext,
											  sizeof(VirtualTransactionId) * Max(n, 1));
		memcpy(current.vxids[i], lockers, sizeof(VirtualTransactionId) * n);
		current.n[i] = n;
	}
	current.active = true;
	current.wanted = false;
	current.look_ms = LOOK_FIRST_MS;
}

/* Returns whether it is over. */
static bool
look_at_round(void)
{
	pg_atomic_uint64 *settled = &gs_my_database()->settled_before;
	bool over = true;

	for (int i = 0; i < (int) lengthof(roots); i++)
	{
		current.n[i] = gs_settled_still_running(current.vxids[i], current.n[i]);
		over &= current.n[i] == 0;
	}
	if (!over)
		return false;
	for (int i = 0; i < (int) lengthof(roots); i++)
	{
		pfree(current.vxids[i]);
		current.vxids[i] = NULL;
	}
	current.active = false;

	/* nobody else writes it: there is one archiver */
	if (pg_atomic_read_u64(settled) < current.before)
		pg_atomic_write_u64(settled, current.before);
	return true;
}

void
gs_settled_want(void)
{
	if (!current.active && !current.wanted)
		current.look_at = GetCurrentTimestamp();
	current.wanted = true;
}

TimestampTz
gs_settled_due(void)
{
	return current.active || current.wanted ? current.look_at : 0;
}

void
gs_settled_look(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (gs_settled_due() == 0 || current.look_at > now)
		return;
	if (!current.active)
		begin_round();
	if (look_at_round())
	{
		current.look_at = now;
		return;
	}
	current.look_at = TimestampTzPlusMilliseconds(now, current.look_ms);
	current.look_ms = Min(current.look_ms * 2, LOOK_LAST_MS);
}

/* ----------------------------------------------------------------
 *		What the catalog says
 * ----------------------------------------------------------------
 */

/* The parent of a partition, and who has attached it; false if it has none. */
static bool
read_attachment(Relation inherits, Oid relid, Oid *parent, TransactionId *xid)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
		*xid = HeapTupleHeaderGetXmin(tuple->t_data);
	}
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

bool
gs_settled_is_known(Oid leaf)
{
	uint64 before = pg_atomic_read_u64(&gs_my_database()->settled_before);
	Relation inherits;
	TransactionId xid;
	bool known = true;

	if (before == 0)
		return false;
	inherits = table_open(InheritsRelationId, AccessShareLock);
	for (int level = 0; known && level < MAX_LEVELS; level++)
	{
		if (!read_attachment(inherits, leaf, &leaf, &xid))
			break;

		/* a frozen one is older than any that we have noted */
		known = !TransactionIdIsNormal(xid) ||
				U64FromFullTransactionId(gs_table_full_xid(xid)) < before;
	}
	table_close(inherits, AccessShareLock);
	return known;
}
