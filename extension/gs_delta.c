/*-------------------------------------------------------------------------
 *
 * gs_delta.c
 *	  Codec of a delta: one state, said by what differs from another.
 *
 * The format is drawn in gs_delta.h.
 *
 * The model of finding a delta, on the path of every journaled move:
 *
 *	1. The longest common prefix and the longest common suffix, word by word.
 *	   What is between them in the new state is the middle.
 *	2. Through the middle from its start: does the old state have the same
 *	   bytes at a place that is likely?  Likely is where it went on before
 *	   (bytes were replaced by as many others), where it went on before that,
 *	   and where it must go on in the end, as the suffix does.  A distance of
 *	   the place in the old state to that in the new one is called a shift.
 *	3. Only if that has failed for a while, the old state's middle is indexed:
 *	   an anchor of ANCHOR bytes each so many bytes, in a hash table on the
 *	   stack, and anchors are looked up too.  The longer nothing is found, the
 *	   fewer places are tried: states without anything in common are given up
 *	   cheaply.
 *	4. What was found is extended in both directions, so neither the places
 *	   left out nor the gaps between anchors cost bytes, only the chance to
 *	   miss something short.
 *
 * Everything is linear: each byte of the middle is compared once when it is
 * passed, once when it is extended over, and at most once more going back.
 *
 * What may not be done here: include a PostgreSQL header, allocate, keep
 * state.  The file is compiled into unit tests and fuzzers as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_delta.h"

#include "gs_bytes.h"

/* Bytes that must match at a likely place; to look further at another; to take that. */
#define WORD	  8
#define ANCHOR	  16
#define MIN_FOUND 20

/* After so many places without a match, anchors are indexed; then the step doubles. */
#define PATIENCE 32
#define STEP_MAX 64

#define MAX_ANCHORS 1024
#define TABLE_BITS	11 /* twice as many slots */

/* ----------
 * comparing
 * ----------
 */

static inline uint64_t
load64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* do 32 bytes differ? */
static inline bool
differ32(const char *a, const char *b)
{
	return ((load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8)) |
			(load64(a + 16) ^ load64(b + 16)) | (load64(a + 24) ^ load64(b + 24))) != 0;
}

/* How many bytes of a difference, not 0, are equal before the first other one. */
static inline uint32_t
equal_first(uint64_t difference)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint32_t) __builtin_clzll(difference) / 8;
#else
	return (uint32_t) __builtin_ctzll(difference) / 8;
#endif
}

/* ... and behind the last one */
static inline uint32_t
equal_last(uint64_t difference)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint32_t) __builtin_ctzll(difference) / 8;
#else
	return (uint32_t) __builtin_clzll(difference) / 8;
#endif
}

/* equal bytes at the start of a and b, at most max */
static uint32_t
common_prefix(const char *a, const char *b, uint32_t max)
{
	uint32_t n = 0;

	while (max - n >= 32 && !differ32(a + n, b + n))
		n += 32;
	while (max - n >= WORD)
	{
		uint64_t difference = load64(a + n) ^ load64(b + n);

		if (difference != 0)
			return n + equal_first(difference);
		n += WORD;
	}
	while (n < max && a[n] == b[n])
		n++;
	return n;
}

/* equal bytes before the ends a and b, at most max */
static uint32_t
common_suffix(const char *a, const char *b, uint32_t max)
{
	uint32_t n = 0;

	while (max - n >= 32 && !differ32(a - n - 32, b - n - 32))
		n += 32;
	while (max - n >= WORD)
	{
		uint64_t difference = load64(a - n - WORD) ^ load64(b - n - WORD);

		if (difference != 0)
			return n + equal_last(difference);
		n += WORD;
	}
	while (n < max && *(a - n - 1) == *(b - n - 1))
		n++;
	return n;
}

/* ----------
 * writing hunks
 * ----------
 */

/* Bytes that are equal in both states. */
typedef struct Match
{
	uint32_t old_pos;
	uint32_t new_pos;
	uint32_t len;
} Match;

typedef struct Writer
{
	char *p;
	char *end;
	uint64_t place; /* in the old state, as gs_delta_apply() will have it */
} Writer;

/* A match, and the bytes of the new state behind it; nothing for nothing. */
static bool
put_hunk(Writer *w, const Match *copy, const char *insert, uint32_t insert_len)
{
	int64_t skip = copy->len > 0 ? (int64_t) copy->old_pos - (int64_t) w->place : 0;
	uint64_t head = (uint64_t) copy->len * 2 + (skip != 0);
	size_t size = gs_varint_size(head) + gs_varint_size(insert_len) + insert_len;

	if (copy->len == 0 && insert_len == 0)
		return true;
	if (skip != 0)
		size += gs_varint_size(gs_zigzag(skip));
	if (size > (size_t) (w->end - w->p))
		return false;
	w->p = gs_varint_put(w->p, head);
	if (skip != 0)
		w->p = gs_varint_put(w->p, gs_zigzag(skip));
	w->p = gs_put_bytes(w->p, insert, insert_len);
	w->place = w->place + (uint64_t) skip + copy->len + insert_len;
	return true;
}

/* ----------
 * finding matches
 * ----------
 */

typedef struct Finder
{
	const char *old_state;
	const char *new_state;
	uint32_t old_len;
	uint32_t old_start; /* the old state's middle */
	uint32_t old_end;
	uint32_t new_end; /* end of the new state's middle */

	/* places that are likely, as shifts: old place - new place */
	int64_t now;
	int64_t before;
	int64_t at_end;

	/* the anchors of the old state's middle */
	bool indexed;
	uint32_t stride;
	uint16_t anchors; /* how many there are */
	int bits;
	uint16_t *table; /* number of an anchor + 1; 0 = none */
} Finder;

static inline uint32_t
hash_anchor(const char *p, int bits)
{
	uint64_t h = load64(p) * UINT64_C(0x9E3779B97F4A7C15);

	h = (h ^ load64(p + 8)) * UINT64_C(0xC2B2AE3D27D4EB4F);
	return (uint32_t) (h >> (64 - bits));
}

static void
index_anchors(Finder *f)
{
	uint32_t len = f->old_end - f->old_start;
	uint32_t n;

	f->indexed = true;
	f->anchors = 0;
	if (len < ANCHOR)
		return;

	/*
	 * The stride is odd and the step a power of 2: so whatever the step, all
	 * the places modulo the stride come up.
	 */
	f->stride = 9;
	while ((len - ANCHOR) / f->stride >= MAX_ANCHORS)
		f->stride = f->stride * 2 - 1;
	n = (len - ANCHOR) / f->stride + 1;
	f->anchors = (uint16_t) n;
	f->bits = 4;
	while ((1U << f->bits) < n * 2)
		f->bits++;
	memset(f->table, 0, sizeof(f->table[0]) << f->bits);

	/* backwards: of equal anchors the first one stays */
	while (n-- > 0)
	{
		const char *anchor = f->old_state + f->old_start + n * f->stride;

		f->table[hash_anchor(anchor, f->bits)] = (uint16_t) (n + 1);
	}
}

/*
 * Extend a match of two places over all that is equal: forwards to the end of
 * the middle, backwards to start, the end of the match before.
 */
static void
extend(const Finder *f, uint32_t start, uint32_t old_pos, uint32_t new_pos, Match *match)
{
	uint32_t max = f->new_end - new_pos;
	uint32_t back = new_pos - start;

	if (max > f->old_len - old_pos)
		max = f->old_len - old_pos;
	if (back > old_pos)
		back = old_pos;
	back = common_suffix(f->old_state + old_pos, f->new_state + new_pos, back);
	match->old_pos = old_pos - back;
	match->new_pos = new_pos - back;
	match->len =
		back + common_prefix(f->old_state + old_pos, f->new_state + new_pos, max);
}

/* Has the old state, at this shift, the same word as the new one at pos? */
static inline bool
same_word(const Finder *f, uint32_t pos, uint64_t word, int64_t shift)
{
	int64_t old_pos = (int64_t) pos + shift;

	return old_pos >= 0 && old_pos + WORD <= (int64_t) f->old_len &&
		   load64(f->old_state + old_pos) == word;
}

static bool
find_anchor(const Finder *f, uint32_t start, uint32_t pos, Match *match)
{
	uint16_t n;
	uint32_t old_pos;

	if (f->anchors == 0 || f->new_end - pos < ANCHOR)
		return false;
	n = f->table[hash_anchor(f->new_state + pos, f->bits)];
	if (n == 0)
		return false;
	old_pos = f->old_start + (uint32_t) (n - 1) * f->stride;
	if (load64(f->old_state + old_pos) != load64(f->new_state + pos) ||
		load64(f->old_state + old_pos + 8) != load64(f->new_state + pos + 8))
		return false;
	extend(f, start, old_pos, pos, match);
	return match->len >= MIN_FOUND;
}

/* The next match from start on, if there is one. */
static bool
find_match(Finder *f, uint32_t start, Match *match)
{
	uint32_t pos = start;
	uint32_t step = 1;
	uint32_t tries = 0;

	while (f->new_end - pos >= WORD)
	{
		uint64_t word = load64(f->new_state + pos);
		int64_t shift;

		if (same_word(f, pos, word, f->now))
			shift = f->now;
		else if (same_word(f, pos, word, f->at_end))
			shift = f->at_end;
		else if (same_word(f, pos, word, f->before))
			shift = f->before;
		else
		{
			if (f->indexed && find_anchor(f, start, pos, match))
				return true;
			if (++tries % PATIENCE == 0)
			{
				/* from the start again, now that there is more to find */
				if (!f->indexed)
				{
					index_anchors(f);
					pos = start;
					continue;
				}
				if (step < STEP_MAX)
					step *= 2;
			}
			if (step > f->new_end - pos)
				return false;
			pos += step;
			continue;
		}
		extend(f, start, (uint32_t) ((int64_t) pos + shift), pos, match);
		return true;
	}
	return false;
}

size_t
gs_delta_encode(const char *old_state, uint32_t old_len, const char *new_state,
				uint32_t new_len, char *dst, size_t dst_size)
{
	uint32_t max = old_len < new_len ? old_len : new_len;
	Writer w = {dst, dst + dst_size, 0};
	Match copy = {0, 0, 0};
	Match next;
	uint32_t suffix = 0;
	uint32_t start;
	uint16_t table[1 << TABLE_BITS]; /* not cleared before it is needed */
	Finder f;

	if (gs_varint_size(new_len) > dst_size)
		return 0;
	w.p = gs_varint_put(w.p, new_len);

	/* without bytes there need not be a pointer, and nothing may be added to none */
	if (new_len == 0)
		return (size_t) (w.p - dst);
	if (max > 0)
	{
		copy.len = common_prefix(old_state, new_state, max);
		suffix = common_suffix(old_state + old_len, new_state + new_len, max - copy.len);
	}
	start = copy.len;

	f = (Finder){.old_state = old_state,
				 .new_state = new_state,
				 .old_len = old_len,
				 .old_start = copy.len,
				 .old_end = old_len - suffix,
				 .new_end = new_len - suffix,
				 .at_end = (int64_t) old_len - (int64_t) new_len,
				 .table = table};

	while (find_match(&f, start, &next))
	{
		int64_t shift = (int64_t) next.old_pos - (int64_t) next.new_pos;

		if (!put_hunk(&w, &copy, new_state + start, next.new_pos - start))
			return 0;
		copy = next;
		start = next.new_pos + next.len;
		if (shift != f.now)
		{
			f.before = f.now;
			f.now = shift;
		}
	}

	/* a match that the suffix goes on from needs not be said */
	if (start == f.new_end && copy.old_pos + copy.len == f.old_end)
		return (size_t) (w.p - dst);
	if (!put_hunk(&w, &copy, new_state + start, f.new_end - start))
		return 0;
	return (size_t) (w.p - dst);
}

/* ----------
 * applying
 * ----------
 */

const char *
gs_delta_length(const char *delta, size_t len, uint32_t *new_len)
{
	uint64_t n;

	if (!gs_consume_number(&delta, delta + len, GS_DELTA_MAX_BYTES, &n))
		return "delta has a broken length";
	*new_len = (uint32_t) n;
	return NULL;
}

const char *
gs_delta_apply(const char *old_state, uint32_t old_len, const char *delta, size_t len,
			   char *dst, uint32_t new_len)
{
	const char *p = delta;
	const char *end = delta + len;
	uint64_t n;
	uint64_t left = new_len;
	int64_t place = 0; /* may be behind the end, not before the start */

	if (!gs_varint_get(&p, end, &n) || n != new_len)
		return "delta has another length than it should";

	while (p < end)
	{
		uint64_t head;
		uint64_t skip = 0;
		const char *insert;
		uint32_t insert_len;

		/* sums of numbers so bounded do not wrap */
		if (!gs_consume_number(&p, end, (uint64_t) UINT32_MAX * 2 + 1, &head))
			return "delta has a broken hunk";
		if (head & 1)
		{
			if (!gs_consume_number(&p, end, (uint64_t) UINT32_MAX * 4, &skip) ||
				skip == 0)
				return "delta has a broken skip";
		}
		if (!gs_consume_bytes(&p, end, &insert, &insert_len))
			return "delta has a broken insertion";
		head >>= 1;
		if (head == 0 && insert_len == 0)
			return "delta has an empty hunk";
		if (head + insert_len > left)
			return "delta makes more bytes than it should";

		place += gs_unzigzag(skip);
		if (place < 0 || place > (int64_t) old_len ||
			head > (uint64_t) ((int64_t) old_len - place))
			return "delta copies what the old state does not have";
		if (head > 0)
			dst = gs_put_raw(dst, old_state + place, head);
		dst = gs_put_raw(dst, insert, insert_len);
		place += (int64_t) head + insert_len;
		left -= head + insert_len;
	}

	if (left > old_len)
		return "delta copies what the old state does not have";
	if (left > 0)
		gs_put_raw(dst, old_state + old_len - left, left);
	return NULL;
}

/* ----------
 * going back
 * ----------
 */

typedef struct Inverter
{
	Writer w;
	const char *old_state;
	uint32_t
		covered; /* bytes of the old state that have been said, the copy's included */
	Match copy;	 /* not yet written; old and new change their places */
} Inverter;

/* What the delta copies, in the order of the new state. */
static bool
invert_copy(Inverter *v, uint32_t old_pos, uint32_t new_pos, uint32_t len)
{
	/* what was copied twice, or in another order, is inserted */
	if (old_pos < v->covered)
	{
		uint32_t cut = v->covered - old_pos;

		if (cut >= len)
			return true;
		old_pos += cut;
		new_pos += cut;
		len -= cut;
	}
	if (len == 0)
		return true;
	if (v->copy.len > 0 && old_pos == v->covered &&
		new_pos == v->copy.old_pos + v->copy.len)
		v->copy.len += len;
	else
	{
		if (!put_hunk(&v->w, &v->copy, v->old_state + v->covered, old_pos - v->covered))
			return false;
		v->copy = (Match){.old_pos = new_pos, .new_pos = old_pos, .len = len};
	}
	v->covered = old_pos + len;
	return true;
}

size_t
gs_delta_invert(const char *old_state, uint32_t old_len, const char *delta, size_t len,
				char *dst, size_t dst_size)
{
	const char *p = delta;
	const char *end = delta + len;
	Inverter v = {.w = {dst, dst + dst_size, 0}, .old_state = old_state};
	uint64_t new_len;
	uint64_t made = 0;
	int64_t place = 0;

	if (gs_varint_size(old_len) > dst_size || !gs_varint_get(&p, end, &new_len) ||
		new_len > GS_DELTA_MAX_BYTES)
		return 0;
	v.w.p = gs_varint_put(v.w.p, old_len);
	if (old_len == 0)
		return (size_t) (v.w.p - dst);
	while (p < end)
	{
		uint64_t head;
		uint64_t skip = 0;
		const char *insert;
		uint32_t insert_len;

		if (!gs_varint_get(&p, end, &head) ||
			((head & 1) && !gs_varint_get(&p, end, &skip)) ||
			!gs_consume_bytes(&p, end, &insert, &insert_len))
			return 0;
		head >>= 1;
		place += gs_unzigzag(skip);
		if (place < 0 || place > (int64_t) old_len ||
			head > (uint64_t) ((int64_t) old_len - place) ||
			head + insert_len > new_len - made)
			return 0;
		if (!invert_copy(&v, (uint32_t) place, (uint32_t) made, (uint32_t) head))
			return 0;
		place += (int64_t) head + insert_len;
		made += head + insert_len;
	}
	if (new_len - made > old_len ||
		!invert_copy(&v, (uint32_t) (old_len - (new_len - made)), (uint32_t) made,
					 (uint32_t) (new_len - made)))
		return 0;

	/* a copy of both ends needs not be said */
	if (v.covered == old_len && v.copy.len > 0 && v.copy.old_pos + v.copy.len == new_len)
		return (size_t) (v.w.p - dst);
	if (!put_hunk(&v.w, &v.copy, old_state + v.covered, old_len - v.covered))
		return 0;
	return (size_t) (v.w.p - dst);
}

size_t
gs_delta_whole(const char *old_state, uint32_t old_len, char *dst, size_t dst_size)
{
	Writer w = {dst, dst + dst_size, 0};
	Match nothing = {0, 0, 0};

	if (gs_varint_size(old_len) > dst_size)
		return 0;
	w.p = gs_varint_put(w.p, old_len);
	if (!put_hunk(&w, &nothing, old_state, old_len))
		return 0;
	return (size_t) (w.p - dst);
}
