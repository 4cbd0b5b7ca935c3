/*-------------------------------------------------------------------------
 *
 * test_merge.c
 *	  Unit test of JSON Merge Patch, applied (extension/gs_merge.c) and found
 *	  (gs_merge_diff.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_merge.c extension/gs_merge.c
 *		  extension/gs_merge_diff.c extension/gs_json_read.c
 *
 *-------------------------------------------------------------------------
 */
#include "gs_merge.h"
#include "gs_merge_diff.h"

#include <stdlib.h>

#include "tap.h"

static char result[1 << 20];

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const char *data, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, data, len);
	return copy;
}

/* the target with the patch applied, or what is wrong */
static const char *
merge(const char *target, const char *patch)
{
	size_t target_len = strlen(target);
	size_t patch_len = strlen(patch);
	char *t = exact_copy(target, target_len);
	char *p = exact_copy(patch, patch_len);
	char *dst = malloc(target_len + patch_len + 1);
	void *scratch = malloc(gs_merge_scratch_size(p, patch_len));
	size_t len = 0;
	const char *wrong = gs_merge(t, target_len, p, patch_len, scratch, dst, &len);

	if (wrong == NULL && len < sizeof(result))
	{
		memcpy(result, dst, len);
		result[len] = '\0';
	}
	free(t);
	free(p);
	free(dst);
	free(scratch);
	return wrong ? wrong : result;
}

static void
gives(const char *target, const char *patch, const char *expected)
{
	char name[256];

	snprintf(name, sizeof(name), "%s + %s", target, patch);
	for (char *p = name; *p; p++)
		*p = *p == '\n' ? ' ' : *p; /* a line of TAP */
	is(merge(target, patch), expected, name);
}

/* Appendix A of RFC 7396, in its order */
static void
test_vectors(void)
{
	gives("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
	gives("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
	gives("{\"a\":\"b\"}", "{\"a\":null}", "{}");
	gives("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
	gives("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
	gives("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
	gives("{\"a\": {\"b\": \"c\"}}", "{\"a\": {\"b\": \"d\",\"c\": null}}",
		  "{\"a\": {\"b\": \"d\"}}");
	gives("{\"a\": [{\"b\":\"c\"}]}", "{\"a\": [1]}", "{\"a\": [1]}");
	gives("[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]");
	gives("{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]");
	gives("{\"a\":\"foo\"}", "null", "null");
	gives("{\"a\":\"foo\"}", "\"bar\"", "\"bar\"");
	gives("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
	gives("[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}");
	gives("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");

	/* its section 3 */
	gives("{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\","
		  "\"familyName\":\"Doe\"},\"tags\":[\"example\",\"sample\"],"
		  "\"content\":\"This will be unchanged\"}",
		  "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\","
		  "\"author\":{\"familyName\":null},\"tags\":[\"example\"]}",
		  "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},"
		  "\"tags\":[\"example\"],\"content\":\"This will be unchanged\","
		  "\"phoneNumber\":\"+01-123-456-7890\"}");
}

static void
test_letter(void)
{
	const char *pretty = " {\n  \"a\" : 1.0e+00 ,\n  \"b\" : { \"c\" : [ 1 , 2 ] } ,\n"
						 "  \"d\" : { }\n} ";

	gives(pretty, "{}", pretty);
	gives(pretty, "{\"x\":null,\"b\":{\"x\":null,\"c\":[ 1 , 2 ]}}", pretty);
	gives(pretty, "{\"b\":null}", " {\n  \"a\" : 1.0e+00 ,\n  \"d\" : { }\n} ");
	gives(pretty, "{\"d\":null}",
		  " {\n  \"a\" : 1.0e+00 ,\n  \"b\" : { \"c\" : [ 1 , 2 ] } \n} ");
	gives(pretty, "{ \"d\" : { \"n\" : [ null ] } , \"e\" : true }",
		  " {\n  \"a\" : 1.0e+00 ,\n  \"b\" : { \"c\" : [ 1 , 2 ] } ,\n"
		  "  \"d\" : {\"n\":[ null ] },\"e\":true\n} ");
	gives("{ }", "{}", "{ }");
	gives("{ \"a\":1 }", "{\"a\":null}", "{}");
	gives("{\"a\":1}", " 2 ", " 2 ");
	/* what is new is copied as it stands, unless something in it goes */
	gives("{}", "{\"a\":{ \"b\" : {} }}", "{\"a\":{ \"b\" : {} }}");
	gives("{}", "{\"a\":{ \"b\" : 1 , \"c\" : null }}", "{\"a\":{\"b\":1}}");
	gives("{}", "{\"a\":[{\"b\":null}]}", "{\"a\":[{\"b\":null}]}");
	gives("1", "{\"a\":null}", "{}");
	gives(" 1 ", "{\"a\":2}", " {\"a\":2} ");
}

static void
test_names(void)
{
	/* twice: the last one counts */
	gives("{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":4}", "{\"a\":1,\"b\":4,\"a\":3}");
	gives("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":4}", "{\"b\":2,\"a\":4}");
	gives("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":null}", "{\"b\":2}");
	gives("{\"a\":{\"x\":1},\"a\":{\"y\":1}}", "{\"a\":{\"z\":1}}",
		  "{\"a\":{\"y\":1,\"z\":1}}");
	gives("{\"a\":1}", "{\"a\":2,\"a\":3}", "{\"a\":3}");
	gives("{\"a\":1}", "{\"a\":null,\"a\":3}", "{\"a\":3}");
	gives("{\"a\":1}", "{\"a\":{\"b\":1},\"a\":null}", "{}");
	gives("{}", "{\"a\":{\"b\":1,\"b\":2}}", "{\"a\":{\"b\":2}}");
	/* escapes */
	gives("{\"\\u0061\":1}", "{\"a\":2}", "{\"\\u0061\":2}");
	gives("{\"a\":1}", "{\"\\u0061\":null}", "{}");
	gives("{\"\\/\":1}", "{\"/\":2}", "{\"\\/\":2}");
	gives("{\"\\n\\t\\\"\\\\\":1}", "{\"\\u000a\\u0009\\u0022\\u005C\":null}", "{}");
	gives("{\"\xC3\xA9\":1}", "{\"\\u00e9\":null}", "{}");
	gives("{\"\xE2\x82\xAC\":1}", "{\"\\u20AC\":null}", "{}");
	gives("{\"\xF0\x9F\x98\x80\":1}", "{\"\\ud83d\\ude00\":null}", "{}");
	gives("{\"\\uD83D\":1,\"\\uDE00\":2}", "{\"\\ud83d\":null}", "{\"\\uDE00\":2}");
	gives("{\"\\u0000\":1,\"\":2}", "{\"\\u0000\":null}", "{\"\":2}");
	gives("{\"\":1}", "{\"\":{\"\":2}}", "{\"\":{\"\":2}}");
	/* the same name in another object is another one */
	gives("{\"a\":{\"a\":{\"b\":1}},\"b\":1}", "{\"a\":{\"a\":{\"a\":2}}}",
		  "{\"a\":{\"a\":{\"b\":1,\"a\":2}},\"b\":1}");
	gives("{\"a\":\"}\\\"]\",\"b\":[\"{\",{\"c\":\"}\"}]}", "{\"b\":null,\"c\":1}",
		  "{\"a\":\"}\\\"]\",\"c\":1}");
}

static void
test_wrong(void)
{
	static const char *const broken[] = {"",		  "{",		   "{\"a\"",	"{\"a\":",
										 "{\"a\":1",  "{a:1}",	   "{\"a\":1,", "[",
										 "\"",		  "{\"a\":[}", "}",			"1 2",
										 "{\"a\" 1}", "{\"\\"};
	char name[64];

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
	{
		snprintf(name, sizeof(name), "broken patch: %s", broken[i]);
		ok(merge("{\"b\":1}", broken[i]) != result, "%s", name);
	}
	ok(merge("{\"a\":1", "{\"b\":1}") != result, "broken target");
	ok(merge("", "{\"b\":1}") != result, "empty target");
	ok(merge("{\"a\" 1}", "{\"b\":1}") != result, "target without a colon");
}

/* n objects within one another */
static char *
nested(int n, const char *innermost)
{
	char *text = malloc((size_t) n * 6 + strlen(innermost) + 1);
	char *p = text;

	for (int i = 0; i < n; i++)
		p += sprintf(p, "{\"a\":");
	p += sprintf(p, "%s", innermost);
	for (int i = 0; i < n; i++)
		*p++ = '}';
	*p = '\0';
	return text;
}

static void
test_depth(void)
{
	char *one = nested(GS_MERGE_MAX_DEPTH, "1");
	char *two = nested(GS_MERGE_MAX_DEPTH, "2");
	char *deep = nested(GS_MERGE_MAX_DEPTH + 1, "1");
	char *deeper = nested(100000, "1");
	const char *got;

	ok(strcmp(merge(one, two), two) == 0, "as deep as it may be");
	got = merge(one, deep);
	is(got, "patch is nested too deeply", "one deeper");
	got = merge(deeper, "{\"b\":1}");
	ok(got == result && strlen(result) == strlen(deeper) + 6, "a target of any depth");
	free(one);
	free(two);
	free(deep);
	free(deeper);
}

/* Many members: not a member of one against each of the other. */
static void
test_many(void)
{
	int n = 20000;
	char *target = malloc((size_t) n * 16 + 2);
	char *patch = malloc((size_t) n * 16 + 2);
	char *t = target;
	char *p = patch;

	for (int i = 0; i < n; i++)
	{
		t += sprintf(t, "%c\"k%d\":%d", i == 0 ? '{' : ',', i, i);
		p += sprintf(p, "%c\"k%d\":%s", i == 0 ? '{' : ',', i, i % 2 ? "null" : "1");
	}
	(void) sprintf(t, "}");
	(void) sprintf(p, "}");
	merge(target, patch);
	ok(strncmp(result, "{\"k0\":1,\"k2\":1,\"k4\":1,", 22) == 0 &&
		   strcmp(result + strlen(result) - 12, ",\"k19998\":1}") == 0,
	   "20,000 members");
	free(target);
	free(patch);
}

/* the patch from one document to another, or NULL */
static const char *
diff(const char *from, const char *to)
{
	size_t from_len = strlen(from);
	size_t to_len = strlen(to);
	char *f = exact_copy(from, from_len);
	char *t = exact_copy(to, to_len);
	char *dst = malloc(gs_merge_diff_room(f, from_len, to_len));
	void *scratch = malloc(gs_merge_diff_scratch_size(f, from_len, t, to_len) + 1);
	size_t len = 0;
	bool found = gs_merge_diff(f, from_len, t, to_len, scratch, dst, &len);

	if (found && len < sizeof(result))
	{
		memcpy(result, dst, len);
		result[len] = '\0';
	}
	free(f);
	free(t);
	free(dst);
	free(scratch);
	return found ? result : NULL;
}

static void
tells(const char *from, const char *to, const char *expected)
{
	char name[256];

	snprintf(name, sizeof(name), "%s to %s", from, to);
	is(diff(from, to), expected, name);
}

static void
test_diff(void)
{
	size_t levels = GS_MERGE_MAX_DEPTH + 2;
	char *deep = malloc(levels * 5 + 2);
	char *p = deep;

	tells("{}", "{}", "{}");
	tells("{\"a\":1}", "{\"a\":2}", "{\"a\":2}");
	tells("{\"a\":1,\"b\":[1]}", "{\"b\":[1],\"a\":1}", "{}");
	tells("{\"a\":1}", " { \"b\" : 2 } ", "{\"b\":2,\"a\":null}");
	tells("{\"a\":1}", "{\"\\u0061\":1}", "{}");
	tells("{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":3}}", "{\"a\":{\"c\":3}}");
	tells("{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":null}}");
	tells("{\"a\":{\"b\": 1}}", "{\"a\":{\"b\":1 }}", "{}");
	tells("{\"a\":[1,{\"b\":null}]}", "{\"a\":[{\"b\":null}]}", "{\"a\":[{\"b\":null}]}");
	tells("{\"a\":1}", "{\"a\":{\"b\":{}}}", "{\"a\":{\"b\":{}}}");
	tells("{\"a\":1,\"a\":2}", "{\"a\":2}", "{}");
	tells("{\"a\":2}", "{\"a\":2,\"a\":3}", "{\"a\":3}");
	tells("[1]", "{\"a\":1}", "{\"a\":1}");
	tells("{\"a\":1}", " [1]\n", "[1]");
	tells("{\"a\":1}", "null", "null");
	tells("1", "1", "1");

	/* what no patch can say */
	tells("{}", "{\"a\":null}", NULL);
	tells("{\"a\":1}", "{\"a\":null}", NULL);
	tells("{\"a\":1}", "{\"a\":{\"b\":{\"c\":null}}}", NULL);
	tells("[]", "{\"a\":null}", NULL);
	tells("{\"a\":null}", "{\"a\":null,\"b\":1}", "{\"b\":1}");

	/* what is no JSON */
	tells("", "{}", NULL);
	tells("{}", "", NULL);
	tells("{\"a\"}", "{}", NULL);
	tells("{}", "{\"a\":1", NULL);
	tells("{} {}", "{}", NULL);

	for (size_t i = 0; i < levels; i++)
		p += sprintf(p, "{\"\":");
	p += sprintf(p, "1");
	for (size_t i = 0; i < levels; i++)
		p += sprintf(p, "}");
	tells(deep, "1", "1");
	ok(diff("{\"a\":1}", deep) == NULL, "nested too deeply");
	free(deep);
}

int
main(void)
{
	test_diff();
	test_vectors();
	test_letter();
	test_names();
	test_wrong();
	test_depth();
	test_many();
	return tap_done();
}
