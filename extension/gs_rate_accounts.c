/*-------------------------------------------------------------------------
 *
 * gs_rate_accounts.c
 *	  Rate limits: what each key has used, and how busy the server is.
 *
 * The model:
 *	1. An account belongs to a database, a limit, a scope and a key, and is found
 *	   by 128 bits of hash of these, salted at start: so a key may be of any
 *	   length, and nobody can choose keys that meet.
 *	2. Accounts are in parts, each with a lock of its own, a hash table and a list
 *	   in the order of last use.  Their number is fixed (gamestate.rate_limit_keys).
 *	   When a part is full, the account that was used longest ago goes: its key
 *	   begins anew, with all it may have.  So too few accounts are generous, never
 *	   unjust.
 *	3. Nothing is journaled: after a restart all keys begin anew.
 *	4. A session is busy if it executes something, or waits for a lock, for the
 *	   disk or for another process; not if it waits for its client or sleeps (as
 *	   wait_changes() does).  Who needs the number and finds it old looks at all
 *	   sessions, the others take what is there.
 *
 * Locking: the lock of a part is taken with no other lock of ours behind it, and
 * for a few hundred instructions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_rate_limit.h"
#include "gs_shmem.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

#define PARTS 16

#define NONE 0 /* account numbers of a part count from 1 */

/* The number of busy sessions is looked at so often, and is an average of this. */
#define BUSY_SAMPLE_US	  (50 * 1000)
#define BUSY_HALF_LIFE_US (500 * 1000)

/* Protected by the lock of its part. */
typedef struct Account
{
	GsRateKey key;
	GsRateAccount account;
	uint32 chain; /* the next in the hash table's slot */
	uint32 older; /* neighbours by last use */
	uint32 newer;
} Account;

typedef struct Part
{
	LWLock lock; /* protects the rest, and what it points to */
	uint32 nused;
	uint32 oldest;
	uint32 newest;
	int64 evicted;
	int64 allowed;
	int64 refused;

	/* set once, at start */
	uint32 *slots;
	Account *accounts; /* [number - 1] */
} Part;

typedef struct Rates
{
	/* set once, at start */
	uint64 salt[2];
	uint32 per_part;
	uint32 slot_mask;

	/* no lock */
	pg_atomic_uint64 sampled_at;
	pg_atomic_uint64 busy; /* sessions, 65536 times */

	union
	{
		Part part;
		char pad[PG_CACHE_LINE_SIZE];
	} parts[PARTS];
} Rates;

StaticAssertDecl(sizeof(Part) <= PG_CACHE_LINE_SIZE,
				 "parts of the accounts do not share cache lines");

#define BUSY_UNIT 65536.0

static Rates *rates = NULL;

/* ----------------------------------------------------------------
 *		Shared memory
 * ----------------------------------------------------------------
 */

static uint32
accounts_per_part(void)
{
	return ((uint32) gs_rate_limit_keys + PARTS - 1) / PARTS;
}

static uint32
slots_per_part(void)
{
	return pg_nextpower2_32(accounts_per_part());
}

Size
gs_rate_shmem_size(void)
{
	Size part = add_size(mul_size(sizeof(Account), accounts_per_part()),
						 mul_size(sizeof(uint32), slots_per_part()));

	return add_size(MAXALIGN(sizeof(Rates)), mul_size(PARTS, MAXALIGN(part)));
}

void
gs_rate_shmem_init(bool found)
{
	bool found_rates;
	char *p;

	rates = ShmemInitStruct("gamestate rate limits", gs_rate_shmem_size(), &found_rates);
	if (found)
		return;
	memset(rates, 0, gs_rate_shmem_size());
	if (!pg_strong_random(rates->salt, sizeof(rates->salt)))
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	rates->per_part = accounts_per_part();
	rates->slot_mask = slots_per_part() - 1;
	pg_atomic_init_u64(&rates->sampled_at, 0);
	pg_atomic_init_u64(&rates->busy, 0);
	p = (char *) rates + MAXALIGN(sizeof(Rates));
	for (int i = 0; i < PARTS; i++)
	{
		Part *part = &rates->parts[i].part;

		LWLockInitialize(&part->lock, GsShmem->rate_tranche);
		part->accounts = (Account *) p;
		part->slots = (uint32 *) (part->accounts + rates->per_part);
		p += MAXALIGN(sizeof(Account) * rates->per_part +
					  sizeof(uint32) * slots_per_part());
	}
}

/* ----------------------------------------------------------------
 *		Keys
 * ----------------------------------------------------------------
 */

GsRateKey
gs_rate_key(const GsRatePolicy *policy, GsRateScope scope, const void *data, Size len)
{
	struct
	{
		Oid dboid;
		uint32 scope;
		uint32 kind;
		char name[GS_MAX_ID_LENGTH + 1];
	} whose = {MyDatabaseId, (uint32) scope, (uint32) policy->limit.kind, {0}};
	GsRateKey key;

	memcpy(whose.name, policy->name, sizeof(whose.name));
	for (int i = 0; i < 2; i++)
	{
		uint64 salt = hash_bytes_extended((const unsigned char *) &whose, sizeof(whose),
										  rates->salt[i]);

		key.hash[i] = hash_bytes_extended(data, (int) len, salt);
	}
	return key;
}

static inline Part *
part_of(const GsRateKey *key)
{
	return &rates->parts[key->hash[0] % PARTS].part;
}

static inline uint32 *
slot_of(Part *part, const GsRateKey *key)
{
	return &part->slots[key->hash[1] & rates->slot_mask];
}

/* ----------------------------------------------------------------
 *		Accounts
 *
 * The caller holds the part's lock exclusively, for all of these.
 * ----------------------------------------------------------------
 */

static inline Account *
account_at(const Part *part, uint32 number)
{
	return &part->accounts[number - 1];
}

static void
unlink_use(Part *part, uint32 number)
{
	Account *account = account_at(part, number);

	if (account->older != NONE)
		account_at(part, account->older)->newer = account->newer;
	else
		part->oldest = account->newer;
	if (account->newer != NONE)
		account_at(part, account->newer)->older = account->older;
	else
		part->newest = account->older;
}

static void
link_newest(Part *part, uint32 number)
{
	Account *account = account_at(part, number);

	account->older = part->newest;
	account->newer = NONE;
	if (part->newest != NONE)
		account_at(part, part->newest)->newer = number;
	else
		part->oldest = number;
	part->newest = number;
}

/* NONE if there is no such account. */
static uint32
find_account(Part *part, const GsRateKey *key)
{
	uint32 number = *slot_of(part, key);

	while (number != NONE &&
		   memcmp(&account_at(part, number)->key, key, sizeof(GsRateKey)) != 0)
		number = account_at(part, number)->chain;
	return number;
}

/* An account that nobody has: an unused one, or the one used longest ago. */
static uint32
free_account(Part *part)
{
	uint32 number = part->oldest;
	uint32 *link;

	if (part->nused < rates->per_part)
		return ++part->nused;
	link = slot_of(part, &account_at(part, number)->key);
	while (*link != number)
		link = &account_at(part, *link)->chain;
	*link = account_at(part, number)->chain;
	unlink_use(part, number);
	part->evicted++;
	return number;
}

static GsRateAccount *
use_account(Part *part, const GsRateKey *key)
{
	uint32 number = find_account(part, key);
	Account *account;

	if (number == NONE)
	{
		uint32 *slot;

		number = free_account(part);
		account = account_at(part, number);
		slot = slot_of(part, key);
		memset(account, 0, sizeof(Account));
		account->key = *key;
		account->chain = *slot;
		*slot = number;
		link_newest(part, number);
	}
	else if (number != part->newest)
	{
		unlink_use(part, number);
		link_newest(part, number);
	}
	return &account_at(part, number)->account;
}

bool
gs_rate_account_take(const GsRateKey *key, const GsRateLimit *limit, TimestampTz now,
					 double cost, int64 *wait_us, double *left)
{
	Part *part = part_of(key);
	GsRateAccount *account;
	int64_t wait;
	bool allowed;

	LWLockAcquire(&part->lock, LW_EXCLUSIVE);
	account = use_account(part, key);
	allowed = gs_rate_take(limit, account, now, cost, &wait);
	if (allowed)
		part->allowed++;
	else
		part->refused++;
	if (left)
		*left = gs_rate_left(limit, account, now);
	LWLockRelease(&part->lock);
	*wait_us = wait;
	return allowed;
}

void
gs_rate_account_give_back(const GsRateKey *key, const GsRateLimit *limit, double cost)
{
	Part *part = part_of(key);
	uint32 number;

	LWLockAcquire(&part->lock, LW_EXCLUSIVE);
	number = find_account(part, key);
	if (number != NONE) /* else it has gone meanwhile, and with it what was taken */
		gs_rate_give_back(limit, &account_at(part, number)->account, cost);
	part->allowed--;
	LWLockRelease(&part->lock);
}

/* ----------------------------------------------------------------
 *		Load
 * ----------------------------------------------------------------
 */

static bool
is_busy(const PGPROC *proc)
{
	uint32 waits_for;

	if (proc->procLatch.owner_pid == 0 || !OidIsValid(proc->databaseId) ||
		proc->isBackgroundWorker)
		return false;
	waits_for = *(volatile const uint32 *) &proc->wait_event_info & 0xFF000000;
	return waits_for != PG_WAIT_CLIENT && waits_for != PG_WAIT_ACTIVITY &&
		   waits_for != PG_WAIT_EXTENSION && waits_for != PG_WAIT_TIMEOUT;
}

/* PGPROCs are always valid memory; what is read while it changes is a sample, too. */
static int
count_busy(void)
{
	int n = 0;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
		n += is_busy(&ProcGlobal->allProcs[i]);
	return n;
}

double
gs_rate_busy_sessions(TimestampTz now)
{
	uint64 last = pg_atomic_read_u64(&rates->sampled_at);
	double busy = (double) pg_atomic_read_u64(&rates->busy) / BUSY_UNIT;
	int64 elapsed = now - (TimestampTz) last;

	/* a clock that was set back by far counts as old, too */
	if ((elapsed < BUSY_SAMPLE_US && elapsed > -USECS_PER_SEC) ||
		!pg_atomic_compare_exchange_u64(&rates->sampled_at, &last, (uint64) now))
		return busy;
	busy = gs_rate_average(busy, count_busy(), elapsed, BUSY_HALF_LIFE_US);
	pg_atomic_write_u64(&rates->busy, (uint64) (busy * BUSY_UNIT));
	return busy;
}

/* ----------------------------------------------------------------
 *		Statistics
 * ----------------------------------------------------------------
 */

void
gs_rate_get_stat(GsRateStat *stat)
{
	memset(stat, 0, sizeof(*stat));
	stat->max_keys = (int64) rates->per_part * PARTS;
	for (int i = 0; i < PARTS; i++)
	{
		Part *part = &rates->parts[i].part;

		LWLockAcquire(&part->lock, LW_SHARED);
		stat->keys += part->nused;
		stat->evicted += part->evicted;
		stat->allowed += part->allowed;
		stat->refused += part->refused;
		LWLockRelease(&part->lock);
	}
}
