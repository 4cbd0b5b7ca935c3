/*-------------------------------------------------------------------------
 *
 * gs_rules.c
 *	  What policies say about games in memory, for the archiver.
 *
 * The model: gs_policy() may have to read a table, so it needs a transaction,
 * and nobody may call it who holds a lock on a part of the games' hash table.
 * The archiver goes through that table, so it keeps what it needs of all
 * policies here, and reads them again when they have changed.  Whoever commits a
 * change of gamestate.policy wakes the archiver; after COMMIT PREPARED, which
 * cannot, it finds out the next time that it looks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_rules.h"
#include "gs_worker.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct RuleEntry
{
	char type[GS_MAX_ID_LENGTH + 1]; /* hash key, padded */
	GsRule rule;
} RuleEntry;

static MemoryContext context = NULL;
static HTAB *rules = NULL; /* NULL = no type has one of its own */
static GsRule default_rule;
static GsRulesSummary summary;
static bool known = false;
static uint64 seen; /* gs_policy_generation() as of the last reading */

static void
add_rule(const char *type, const GsPolicy *policy, void *arg)
{
	GsRule rule = {.archive_delay = policy->archive_delay,
				   .inactivity_limit = policy->inactivity_limit,
				   .inactivity_action = policy->inactivity_action,
				   .suspend_on_pressure = policy->suspend_on_pressure};
	int64 limit = rule.inactivity_limit;

	summary.any_delay |= rule.archive_delay > 0;
	summary.any_suspends |= rule.suspend_on_pressure;
	if (limit > 0 && (summary.shortest_limit == 0 || limit < summary.shortest_limit))
		summary.shortest_limit = limit;
	if (type[0] == '\0')
		default_rule = rule;
	else
	{
		char key[GS_MAX_ID_LENGTH + 1] = {0};
		RuleEntry *entry;

		strlcpy(key, type, sizeof(key));
		entry = hash_search(rules, key, HASH_ENTER, NULL);
		entry->rule = rule;
	}
}

static void
read_rules(void)
{
	HASHCTL ctl = {.keysize = GS_MAX_ID_LENGTH + 1, .entrysize = sizeof(RuleEntry)};

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "gamestate archiver rules",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	ctl.hcxt = context;
	rules =
		hash_create("gamestate rules", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	memset(&summary, 0, sizeof(summary));
	gs_policy_scan(add_rule, NULL);
}

bool
gs_rules_refresh(void)
{
	uint64 now;
	bool changed;

	gs_worker_begin(0);
	now = gs_policy_generation();
	changed = !known || seen != now;
	if (changed)
	{
		known = false; /* after an error, once more */
		read_rules();
	}
	gs_worker_commit();
	seen = now;
	known = true;
	return changed;
}

const GsRule *
gs_rule(const char *game_type, Size len)
{
	char key[GS_MAX_ID_LENGTH + 1] = {0};
	RuleEntry *entry;

	if (rules == NULL || len > GS_MAX_ID_LENGTH)
		return &default_rule;
	memcpy(key, game_type, len);
	entry = hash_search(rules, key, HASH_FIND, NULL);
	return entry ? &entry->rule : &default_rule;
}

const GsRulesSummary *
gs_rules_summary(void)
{
	return &summary;
}

bool
gs_rules_pressure(GsDatabase *db)
{
	uint64 percent = gs_memory_pressure;

	if (percent >= 100)
		return false;
	return pg_atomic_read_u64(&GsShmem->used_bytes) >
			   GsShmem->area_size / 100 * percent ||
		   (gs_quota >= 0 && pg_atomic_read_u64(&db->used_bytes) >
								 (uint64) gs_quota * 1024 * 1024 / 100 * percent);
}
