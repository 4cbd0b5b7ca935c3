/*-------------------------------------------------------------------------
 *
 * gs_merge_diff.c
 *	  From two JSON texts to the JSON Merge Patch (RFC 7396) that leads from the one
 *	  to the other.
 *
 * The model:
 *	1. Values whose texts are equal are equal.  Only where both are objects
 *	   their members are compared; any other value is said as a whole.
 *	2. The members of both objects are listed, and found by name through a hash
 *	   table each.  Lists and tables of the objects within are put behind, and
 *	   taken away when that object is done: memory is bounded by the texts.
 *	3. A member that has gone is null in the patch.  So a null that is to be
 *	   there, also within a new object, cannot be said: there is no patch.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep state.
 * The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_merge_diff.h"

#include <string.h>

#include "gs_json_read.h"
#include "gs_merge.h"

#define NONE (-1)

typedef struct Member
{
	GsJsonText key;
	GsJsonText value;
	uint64_t hash;
	int32_t chain;	 /* next in the hash table's slot */
	bool superseded; /* a later one has the same name: that one counts */
} Member;

/* An object's members, and the table that finds them. */
typedef struct Object
{
	int32_t first;
	int32_t n;
	int32_t *slots;
	uint32_t mask;
} Object;

typedef struct Diff
{
	Member *members;
	int32_t nmembers;
	int32_t max_members;
	int32_t *slots; /* free from here */
	char *dst;
	char *dst_end;
} Diff;

/* ----------
 * objects
 * ----------
 */

static const Member *
find_member(const Diff *diff, const Object *object, const GsJsonText *key, uint64_t hash)
{
	for (int32_t i = object->slots[hash & object->mask]; i != NONE;
		 i = diff->members[i].chain)
	{
		const Member *member = &diff->members[i];

		if (member->hash == hash && !member->superseded &&
			gs_json_same_key(&member->key, key))
			return member;
	}
	return NULL;
}

/* Make the table of an object whose members are listed. */
static void
index_members(Diff *diff, Object *object)
{
	uint32_t slots = 4;

	while (slots < 2 * (uint32_t) object->n)
		slots *= 2;
	object->slots = diff->slots;
	object->mask = slots - 1;
	diff->slots += slots;
	memset(object->slots, 0xFF, sizeof(int32_t) * slots); /* NONE */
	for (int32_t i = object->first; i < object->first + object->n; i++)
	{
		Member *member = &diff->members[i];
		Member *before;

		member->hash = gs_json_key_hash(&member->key, 0);
		before = (Member *) find_member(diff, object, &member->key, member->hash);
		if (before)
			before->superseded = true;
		member->chain = object->slots[member->hash & object->mask];
		object->slots[member->hash & object->mask] = i;
	}
}

/* List the members of a text that is an object. */
static bool
open_object(Diff *diff, const GsJsonText *text, Object *object)
{
	GsJsonCursor c = {text->data + 1, text->data + text->len};

	*object = (Object){.first = diff->nmembers};
	gs_json_skip_space(&c);
	if (gs_json_peek(&c) != '}')
	{
		do
		{
			Member *member = &diff->members[diff->nmembers];

			if (diff->nmembers == diff->max_members)
				return false;
			memset(member, 0, sizeof(*member));
			if (!gs_json_take_key(&c, &member->key) ||
				!gs_json_take_value(&c, &member->value))
				return false;
			diff->nmembers++;
			gs_json_skip_space(&c);
		} while (gs_json_peek(&c) == ',' && c.p++);
		if (gs_json_peek(&c) != '}')
			return false;
	}
	object->n = diff->nmembers - object->first;
	index_members(diff, object);
	return true;
}

static void
close_object(Diff *diff, const Object *object)
{
	diff->nmembers = object->first;
	diff->slots = object->slots;
}

static inline bool
is_object(const GsJsonText *value)
{
	return value->len > 0 && value->data[0] == '{';
}

static inline bool
is_null(const GsJsonText *value)
{
	return value->len == 4 && memcmp(value->data, "null", 4) == 0;
}

/* Would a patch take a part of this value for a member that goes? */
static bool
has_null(const GsJsonText *value, int depth)
{
	GsJsonCursor c = {value->data + 1, value->data + value->len};
	GsJsonText key;
	GsJsonText inner;

	if (is_null(value) || depth > GS_MERGE_MAX_DEPTH)
		return true;
	if (!is_object(value))
		return false;
	gs_json_skip_space(&c);
	while (gs_json_take_key(&c, &key) && gs_json_take_value(&c, &inner))
	{
		if (has_null(&inner, depth + 1))
			return true;
		gs_json_skip_space(&c);
		if (gs_json_peek(&c) != ',')
			break;
		c.p++;
	}
	return false;
}

/* ----------
 * the patch
 * ----------
 */

static bool
put(Diff *diff, const char *data, size_t len)
{
	if ((size_t) (diff->dst_end - diff->dst) < len)
		return false;
	if (len > 0)
		memcpy(diff->dst, data, len);
	diff->dst += len;
	return true;
}

/* The name of the next member of the patch, its quotes stand around it in the text */
static bool
put_key(Diff *diff, const Member *member, bool *any)
{
	bool done = (!*any || put(diff, ",", 1)) &&
				put(diff, member->key.data - 1, member->key.len + 2) && put(diff, ":", 1);

	*any = true;
	return done;
}

static bool put_object(Diff *diff, const GsJsonText *from, const GsJsonText *to,
					   int depth, bool *any);

/* What a member of the new object says that the old one does not. */
static bool
put_member(Diff *diff, const Member *from, const Member *to, int depth, bool *any)
{
	char *start = diff->dst;
	bool any_before = *any;
	bool any_inside = false;

	if (from && from->value.len == to->value.len &&
		memcmp(from->value.data, to->value.data, to->value.len) == 0)
		return true;
	if (from && is_object(&from->value) && is_object(&to->value))
	{
		if (!put_key(diff, to, any) ||
			!put_object(diff, &from->value, &to->value, depth + 1, &any_inside))
			return false;
		if (!any_inside)
		{
			/* they mean the same */
			diff->dst = start;
			*any = any_before;
		}
		return true;
	}
	return !has_null(&to->value, depth) && put_key(diff, to, any) &&
		   put(diff, to->value.data, to->value.len);
}

/* The patch from one object to another; "any": it has a member */
static bool
put_object(Diff *diff, const GsJsonText *from, const GsJsonText *to, int depth, bool *any)
{
	Object old_object;
	Object new_object;

	if (depth > GS_MERGE_MAX_DEPTH || !open_object(diff, from, &old_object) ||
		!open_object(diff, to, &new_object) || !put(diff, "{", 1))
		return false;
	for (int32_t i = new_object.first; i < new_object.first + new_object.n; i++)
	{
		const Member *member = &diff->members[i];

		if (!member->superseded &&
			!put_member(diff, find_member(diff, &old_object, &member->key, member->hash),
						member, depth, any))
			return false;
	}
	for (int32_t i = old_object.first; i < old_object.first + old_object.n; i++)
	{
		const Member *member = &diff->members[i];

		if (!member->superseded &&
			find_member(diff, &new_object, &member->key, member->hash) == NULL &&
			(!put_key(diff, member, any) || !put(diff, "null", 4)))
			return false;
	}
	close_object(diff, &new_object);
	close_object(diff, &old_object);
	return put(diff, "}", 1);
}

/* ----------
 * both
 * ----------
 */

/* Each member has a colon. */
static size_t
count_colons(const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == ':';
	return n;
}

/* Each object has a brace, and a table of at least four slots. */
static size_t
count_slots(const char *text, size_t len)
{
	size_t n = 4 * count_colons(text, len);

	for (size_t i = 0; i < len; i++)
		n += text[i] == '{' ? 4 : 0;
	return n;
}

size_t
gs_merge_diff_scratch_size(const char *from, size_t from_len, const char *to,
						   size_t to_len)
{
	return sizeof(Member) * (count_colons(from, from_len) + count_colons(to, to_len)) +
		   sizeof(int32_t) * (count_slots(from, from_len) + count_slots(to, to_len));
}

size_t
gs_merge_diff_room(const char *from, size_t from_len, size_t to_len)
{
	/* a member that goes is null: three more bytes than the shortest value, and a comma */
	return from_len + to_len + 4 * count_colons(from, from_len) + 2;
}

/* The value of a text that has nothing else. */
static bool
take_only(const char *data, size_t len, GsJsonText *value)
{
	GsJsonCursor c = {data, data + len};

	gs_json_skip_space(&c);
	if (!gs_json_take_value(&c, value))
		return false;
	gs_json_skip_space(&c);
	return c.p == c.end;
}

bool
gs_merge_diff(const char *from, size_t from_len, const char *to, size_t to_len,
			  void *scratch, char *dst, size_t *dst_len)
{
	size_t colons = count_colons(from, from_len) + count_colons(to, to_len);
	Diff diff = {.members = scratch,
				 .max_members = (int32_t) colons,
				 .dst = dst,
				 .dst_end = dst + gs_merge_diff_room(from, from_len, to_len)};
	GsJsonText old_value;
	GsJsonText new_value;
	bool any = false;

	diff.slots = (int32_t *) (diff.members + colons);
	if (!take_only(from, from_len, &old_value) || !take_only(to, to_len, &new_value))
		return false;
	if (is_object(&new_value) && is_object(&old_value))
	{
		if (!put_object(&diff, &old_value, &new_value, 0, &any))
			return false;
	}
	else if ((is_object(&new_value) && has_null(&new_value, 0)) ||
			 !put(&diff, new_value.data, new_value.len))
		return false;
	*dst_len = (size_t) (diff.dst - dst);
	return true;
}
