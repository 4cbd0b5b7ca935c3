/*-------------------------------------------------------------------------
 *
 * gs_merge.c
 *	  JSON Merge Patch (RFC 7396) on text.
 *
 * The model:
 *	1. The patch is taken apart: a node for each member of its objects, found by
 *	   the object it is in and its name through a hash table.  Arrays and
 *	   scalars are text.  This is the only part that goes down recursively, so
 *	   depth is bounded here.
 *	2. The target is walked beside it, and only where the patch has an object:
 *	   anything else is passed over by counting brackets.  An object is walked
 *	   twice: first the last member of each name that the patch has is noted,
 *	   then what stays is copied, and what the patch has for it instead.
 *	3. Members that the first walk has not met are new.  Nulls are left out of
 *	   what is new; if there are none, the patch's text is copied as it is.
 *
 * Every byte is read through a cursor that knows its end.  The result is never
 * longer than both texts: each member that is added brings its comma along,
 * or the brace of its object.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep state.
 * The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_merge.h"

#include <string.h>

#include "gs_json_read.h"

#define NONE (-1)

/* A member of an object of the patch; node 0 is the patch itself. */
typedef struct Node
{
	GsJsonText key;	  /* between the quotes */
	GsJsonText value; /* without white space around */
	uint64_t hash;
	int32_t parent;
	int32_t first; /* members of an object, in order ... */
	int32_t next;  /* ... linked by this */
	int32_t chain; /* next in the hash table's slot */
	bool is_object;
	bool is_null;
	bool is_plain;	  /* no null, no name twice in it: its text is what it means */
	bool superseded;  /* a later one has the same name */
	const char *last; /* the target's last member of this name; NULL = none */
} Node;

typedef struct Merge
{
	Node *nodes;
	int32_t nnodes;
	int32_t max_nodes;
	int32_t *slots;
	uint32_t mask;
	char *dst;
	char *dst_end;
	const char *wrong; /* NULL = nothing so far */
} Merge;

static bool
fail(Merge *merge, const char *wrong)
{
	if (merge->wrong == NULL)
		merge->wrong = wrong;
	return false;
}

/* ----------
 * the patch
 * ----------
 */

/* The member of an object of the patch that has this name. */
static Node *
find_node(const Merge *merge, int32_t parent, const GsJsonText *key)
{
	uint64_t hash = gs_json_key_hash(key, parent);

	for (int32_t i = merge->slots[hash & merge->mask]; i != NONE;
		 i = merge->nodes[i].chain)
	{
		Node *node = &merge->nodes[i];

		if (node->hash == hash && node->parent == parent && !node->superseded &&
			gs_json_same_key(&node->key, key))
			return node;
	}
	return NULL;
}

static int32_t
add_node(Merge *merge, int32_t parent, const GsJsonText *key)
{
	int32_t i = merge->nnodes;
	Node *node = &merge->nodes[i];
	Node *before = find_node(merge, parent, key);
	int32_t *slot;

	if (i == merge->max_nodes)
	{
		fail(merge, "patch has more members than colons");
		return NONE;
	}
	merge->nnodes++;
	memset(node, 0, sizeof(*node));
	node->key = *key;
	node->hash = gs_json_key_hash(key, parent);
	node->parent = parent;
	node->first = node->next = NONE;
	slot = &merge->slots[node->hash & merge->mask];
	node->chain = *slot;
	*slot = i;
	if (before)
	{
		before->superseded = true;
		merge->nodes[parent].is_plain = false;
	}
	return i;
}

static bool parse_members(Merge *merge, GsJsonCursor *c, int32_t parent, int depth);

/* The value at the cursor into a node. */
static bool
parse_value(Merge *merge, GsJsonCursor *c, int32_t i, int depth)
{
	const char *start = c->p;
	Node *node = &merge->nodes[i];

	node->is_plain = true;
	node->is_object = gs_json_peek(c) == '{';
	if (node->is_object)
	{
		c->p++;
		if (!parse_members(merge, c, i, depth + 1))
			return false;
	}
	else if (!gs_json_skip_value(c))
		return fail(merge, "patch has a broken value");
	node->value = (GsJsonText){start, (size_t) (c->p - start)};
	node->is_null = node->value.len == 4 && memcmp(start, "null", 4) == 0;
	return true;
}

/* The cursor stands behind the opening brace, then behind the closing one. */
static bool
parse_members(Merge *merge, GsJsonCursor *c, int32_t parent, int depth)
{
	int32_t last = NONE;

	if (depth > GS_MERGE_MAX_DEPTH)
		return fail(merge, "patch is nested too deeply");
	gs_json_skip_space(c);
	if (gs_json_peek(c) == '}')
	{
		c->p++;
		return true;
	}
	for (;;)
	{
		GsJsonText key;
		int32_t i;

		if (!gs_json_take_key(c, &key))
			return fail(merge, "patch has a broken member");
		i = add_node(merge, parent, &key);
		if (i == NONE || !parse_value(merge, c, i, depth))
			return false;
		if (last == NONE)
			merge->nodes[parent].first = i;
		else
			merge->nodes[last].next = i;
		last = i;
		if (merge->nodes[i].is_null || !merge->nodes[i].is_plain)
			merge->nodes[parent].is_plain = false;
		gs_json_skip_space(c);
		if (gs_json_peek(c) == '}')
		{
			c->p++;
			return true;
		}
		if (gs_json_peek(c) != ',')
			return fail(merge, "patch has a broken object");
		c->p++;
	}
}

/* ----------
 * writing
 * ----------
 */

static void
put(Merge *merge, const char *data, size_t len)
{
	if ((size_t) (merge->dst_end - merge->dst) < len)
	{
		fail(merge, "result is too long");
		return;
	}
	if (len > 0)
		memcpy(merge->dst, data, len);
	merge->dst += len;
}

/* A value that has nothing to be merged with: what it has, without its nulls. */
static void
put_new(Merge *merge, const Node *node)
{
	bool any = false;

	if (node->is_plain)
	{
		put(merge, node->value.data, node->value.len);
		return;
	}
	put(merge, "{", 1);
	for (int32_t i = node->first; i != NONE; i = merge->nodes[i].next)
	{
		const Node *member = &merge->nodes[i];

		if (member->is_null || member->superseded)
			continue;
		if (any)
			put(merge, ",", 1);
		any = true;
		put(merge, member->key.data - 1, member->key.len + 2);
		put(merge, ":", 1);
		put_new(merge, member);
	}
	put(merge, "}", 1);
}

/* ----------
 * the target
 * ----------
 */

/* A member of an object of the target; its text ends where the comma or brace is. */
typedef struct Member
{
	const char *start; /* white space before the name included */
	GsJsonText key;
	GsJsonText value;
	const char *end; /* white space behind the value included */
	bool is_last;
} Member;

/* The next member; false at the end, or if it is broken (merge->wrong) */
static bool
next_member(Merge *merge, GsJsonCursor *c, Member *member)
{
	member->start = c->p;
	if (!gs_json_take_key(c, &member->key) || !gs_json_take_value(c, &member->value))
		return fail(merge, "target has a broken member");
	gs_json_skip_space(c);
	member->end = c->p;
	member->is_last = gs_json_peek(c) == '}';
	if (!member->is_last && gs_json_peek(c) != ',')
		return fail(merge, "target has a broken object");
	c->p++;
	return true;
}

/* Has the object whose opening brace is behind the cursor no members? */
static bool
is_empty(GsJsonCursor c)
{
	gs_json_skip_space(&c);
	return gs_json_peek(&c) == '}';
}

/* Which members of the target does the patch name, and where is the last of each? */
static void
note_members(Merge *merge, GsJsonCursor c, int32_t parent)
{
	Member member = {.is_last = is_empty(c)};

	while (!member.is_last && next_member(merge, &c, &member))
	{
		Node *node = find_node(merge, parent, &member.key);

		if (node)
			node->last = member.start;
	}
}

static void merge_object(Merge *merge, GsJsonCursor c, int32_t parent);

/* A member that the patch names, with what it says of it. */
static void
put_merged(Merge *merge, const Member *member, const Node *node)
{
	put(merge, member->start, (size_t) (member->value.data - member->start));
	if (node->is_object && *member->value.data == '{')
		merge_object(merge,
					 (GsJsonCursor){member->value.data + 1,
									member->value.data + member->value.len},
					 (int32_t) (node - merge->nodes));
	else
		put_new(merge, node);
}

/* The cursor stands behind the opening brace; writes the object with both. */
static void
merge_object(Merge *merge, GsJsonCursor c, int32_t parent)
{
	Member member = {.is_last = is_empty(c)};
	const char *space = c.p; /* before the closing brace */
	const char *space_end = c.p;
	bool any = false;
	bool all = true; /* nothing has been left out or added */

	if (member.is_last)
	{
		gs_json_skip_space(&c);
		space_end = c.p;
	}
	note_members(merge, c, parent);
	put(merge, "{", 1);
	while (!member.is_last && merge->wrong == NULL && next_member(merge, &c, &member))
	{
		const Node *node = find_node(merge, parent, &member.key);

		space = member.value.data + member.value.len;
		space_end = member.end;
		if (node && (node->is_null || node->last != member.start))
		{
			all = false;
			continue;
		}
		if (any)
			put(merge, ",", 1);
		any = true;
		if (node)
			put_merged(merge, &member, node);
		else
			put(merge, member.start, (size_t) (space - member.start));
		if (!member.is_last)
			put(merge, space, (size_t) (space_end - space));
	}
	for (int32_t i = merge->nodes[parent].first; i != NONE; i = merge->nodes[i].next)
	{
		const Node *node = &merge->nodes[i];

		if (node->is_null || node->superseded || node->last != NULL)
			continue;
		if (any)
			put(merge, ",", 1);
		any = true;
		all = false;
		put(merge, node->key.data - 1, node->key.len + 2);
		put(merge, ":", 1);
		put_new(merge, node);
	}
	if (any || all)
		put(merge, space, (size_t) (space_end - space));
	put(merge, "}", 1);
}

/* ----------
 * both
 * ----------
 */

/* Each member has a colon. */
static int32_t
count_members(const char *patch, size_t len)
{
	int32_t n = 1;

	for (size_t i = 0; i < len; i++)
		n += patch[i] == ':';
	return n;
}

static uint32_t
count_slots(int32_t nodes)
{
	uint32_t slots = 8;

	while (slots < 2 * (uint32_t) nodes)
		slots *= 2;
	return slots;
}

size_t
gs_merge_scratch_size(const char *patch, size_t patch_len)
{
	int32_t nodes = count_members(patch, patch_len);

	return sizeof(Node) * (size_t) nodes + sizeof(int32_t) * count_slots(nodes);
}

const char *
gs_merge(const char *target, size_t target_len, const char *patch, size_t patch_len,
		 void *scratch, char *dst, size_t *dst_len)
{
	Merge merge = {.nodes = scratch,
				   .nnodes = 1,
				   .max_nodes = count_members(patch, patch_len),
				   .dst = dst,
				   .dst_end = dst + target_len + patch_len};
	GsJsonCursor t = {target, target + target_len};
	GsJsonCursor p = {patch, patch + patch_len};
	GsJsonText value;

	merge.mask = count_slots(merge.max_nodes) - 1;
	merge.slots = (int32_t *) (merge.nodes + merge.max_nodes);
	memset(merge.slots, 0xFF, sizeof(int32_t) * ((size_t) merge.mask + 1)); /* NONE */
	memset(&merge.nodes[0], 0, sizeof(Node));
	merge.nodes[0].first = merge.nodes[0].next = merge.nodes[0].parent = NONE;

	gs_json_skip_space(&p);
	if (!parse_value(&merge, &p, 0, 0))
		return merge.wrong;
	gs_json_skip_space(&p);
	if (p.p != p.end)
		return "patch has something behind its end";
	if (!merge.nodes[0].is_object)
		put(&merge, patch, patch_len);
	else
	{
		gs_json_skip_space(&t);
		put(&merge, target, (size_t) (t.p - target));
		if (!gs_json_take_value(&t, &value))
			return "target is broken";
		if (*value.data == '{')
			merge_object(&merge, (GsJsonCursor){value.data + 1, t.p}, 0);
		else
			put_new(&merge, &merge.nodes[0]);
		put(&merge, t.p, (size_t) (t.end - t.p));
	}
	*dst_len = (size_t) (merge.dst - dst);
	return merge.wrong;
}
