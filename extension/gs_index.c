/*-------------------------------------------------------------------------
 *
 * gs_index.c
 *	  Look-up index of the active-game table: room codes, players, open rooms.
 *
 * The model:
 *	1. One hash table for all kinds.  An entry is a list of nodes; a node is
 *	   the id of a game.  A game keeps the addresses of its nodes (GsInfo), so
 *	   removing one takes constant time however many games a player has.
 *	2. Nodes are added before the commit point (that allocates) and removed
 *	   after it (that cannot fail), so the index always covers what is
 *	   committed and sometimes more.  Look-ups check candidates against the
 *	   game itself.
 *	3. Keys hold a 64-bit hash instead of the text: 16 bytes instead of 72,
 *	   and a collision only makes one more candidate.
 *
 * Locking: the partition lock of the hash table protects an entry and its
 * nodes.  No other lock of ours is taken while it is held, DSA's own apart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_index.h"
#include "gs_shmem.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Hashed and compared as bytes: no padding. */
typedef struct GsIndexKey
{
	uint64 hash;
	Oid dboid;
	uint32 kind; /* GsIndexKind */
} GsIndexKey;

StaticAssertDecl(sizeof(GsIndexKey) == 16, "GsIndexKey must not have padding");

typedef struct GsIndexEntry
{
	GsIndexKey key;
	dlist_head nodes;
} GsIndexEntry;

typedef struct GsIndexNode
{
	dlist_node link;
	pg_uuid_t id;
	uint64 hash; /* with kind: where the node hangs */
	uint32 kind;
} GsIndexNode;

static dshash_table *index_table = NULL;

static dshash_parameters
index_parameters(void)
{
	return (dshash_parameters){.key_size = sizeof(GsIndexKey),
							   .entry_size = sizeof(GsIndexEntry),
							   .compare_function = dshash_memcmp,
							   .hash_function = dshash_memhash,
							   .tranche_id = GsShmem->index_tranche,
							   GS_DSHASH_COPY_FUNCTION};
}

void
gs_index_create(void)
{
	dshash_parameters params = index_parameters();
	dshash_table *table = dshash_create(GsArea, &params, NULL);

	GsShmem->index_handle = dshash_get_hash_table_handle(table);
	dshash_detach(table);
}

void
gs_index_attach(void)
{
	dshash_parameters params = index_parameters();

	index_table = dshash_attach(GsArea, &params, GsShmem->index_handle, NULL);
}

static GsIndexKey
index_key(Oid dboid, GsIndexKind kind, uint64 hash)
{
	return (GsIndexKey){.hash = hash, .dboid = dboid, .kind = kind};
}

static uint64
text_hash(const GsText *text)
{
	return hash_bytes_extended((const unsigned char *) text->data, text->len, 0);
}

dsa_pointer
gs_index_add(GsDatabase *db, GsIndexKind kind, const GsText *text, const pg_uuid_t *id,
			 bool may_use_reserve)
{
	uint64 hash = text_hash(text);
	GsIndexKey key = index_key(MyDatabaseId, kind, hash);
	dsa_pointer p = gs_alloc(db, sizeof(GsIndexNode), may_use_reserve);
	GsIndexNode *node = GS_PTR(p);
	GsIndexEntry *entry;
	bool found;

	node->id = *id;
	node->hash = hash;
	node->kind = kind;

	PG_TRY();
	{
		entry = gs_hash_insert(db, index_table, &key, sizeof(GsIndexEntry),
							   may_use_reserve, &found);
	}
	PG_CATCH();
	{
		gs_free(db, p, sizeof(GsIndexNode));
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (!found)
		dlist_init(&entry->nodes);
	dlist_push_head(&entry->nodes, &node->link);
	dshash_release_lock(index_table, entry);
	return p;
}

void
gs_index_remove(GsDatabase *db, Oid dboid, dsa_pointer p)
{
	GsIndexNode *node;
	GsIndexEntry *entry;
	GsIndexKey key;

	if (!DsaPointerIsValid(p))
		return;
	node = GS_PTR(p);
	key = index_key(dboid, node->kind, node->hash);
	entry = dshash_find(index_table, &key, true);
	Assert(entry != NULL);
	if (entry != NULL)
	{
		dlist_delete(&node->link);
		if (dlist_is_empty(&entry->nodes))
		{
			dshash_delete_entry(index_table, entry);
			gs_account_hash_delete(db, sizeof(GsIndexEntry));
		}
		else
			dshash_release_lock(index_table, entry);
	}
	gs_free(db, p, sizeof(GsIndexNode));
}

static pg_uuid_t *
push_id(pg_uuid_t *ids, int *n, int *size, const dlist_node *link)
{
	if (*n == *size)
	{
		*size *= 2;
		ids = repalloc_huge(ids, sizeof(pg_uuid_t) * *size);
	}
	ids[(*n)++] = dlist_container(GsIndexNode, link, unconstify(dlist_node *, link))->id;
	return ids;
}

pg_uuid_t *
gs_index_some(GsIndexKind kind, const GsText *text, bool oldest_first, int max, int *n)
{
	GsIndexKey key = index_key(MyDatabaseId, kind, text_hash(text));
	GsIndexEntry *entry = dshash_find(index_table, &key, false);
	int size = 16;
	pg_uuid_t *ids;
	dlist_node *end;

	*n = 0;
	if (entry == NULL)
		return NULL;
	ids = palloc(sizeof(pg_uuid_t) * size);
	end = &entry->nodes.head;
	for (dlist_node *link = oldest_first ? end->prev : end->next; link != end && *n < max;
		 link = oldest_first ? link->prev : link->next)
		ids = push_id(ids, n, &size, link);
	dshash_release_lock(index_table, entry);
	return ids;
}

pg_uuid_t *
gs_index_find(GsIndexKind kind, const GsText *text, int *n)
{
	return gs_index_some(kind, text, false, INT_MAX, n);
}
