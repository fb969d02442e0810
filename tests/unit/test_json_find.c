/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/json_find.h"

static const char reply[] =
	"{ \"Other\" : [1, {\"StreamInfo\": 5}, \"]}\"], \"Empty\":{},\n"
	"\"StreamInfo\": {\"Status\":\"ACTIVE\", \"Name\" : \"a\\\"b\","
	"\"DataRetentionInHours\":24,\"Time\":1.5e3,\"Flag\":true},"
	"\"DataEndpoint\":\"https:\\/\\/h\\u00e9\\ud83d\\ude00:1\" }";

static void json_find_walks_a_path(void **state)
{
	char text[64];
	uint64_t n;
	struct slice v;

	(void)state;
	assert_int_equal(json_find_string(slice_of(reply), "StreamInfo.Status",
					  text, sizeof(text)), 6);
	assert_string_equal(text, "ACTIVE");
	assert_int_equal(json_find_u64(slice_of(reply),
				       "StreamInfo.DataRetentionInHours", &n),
			 0);
	assert_int_equal(n, 24);
	assert_int_equal(json_find_u64(slice_of(reply), "StreamInfo.Time", &n),
			 -EINVAL);
	assert_int_equal(json_find(slice_of(reply), "StreamInfo.Flag", &v), 0);
	assert_true(slice_is(v, "true"));
	assert_int_equal(json_find(slice_of(reply), "Other", &v), 0);
	assert_true(slice_is(v, "[1, {\"StreamInfo\": 5}, \"]}\"]"));
}

static void json_find_misses_what_is_not_there(void **state)
{
	struct slice v;

	(void)state;
	assert_int_equal(json_find(slice_of(reply), "Status", &v), -ENOENT);
	assert_int_equal(json_find(slice_of(reply), "Empty.Status", &v),
			 -ENOENT);
	assert_int_equal(json_find(slice_of(reply), "StreamInfo.Status.X", &v),
			 -EBADMSG);
	assert_int_equal(json_find(slice_of("{}"), "a", &v), -ENOENT);
}

static void json_string_decodes_escapes(void **state)
{
	char text[64];

	(void)state;
	assert_true(json_find_string(slice_of(reply), "DataEndpoint", text,
				     sizeof(text)) > 0);
	assert_string_equal(text, "https://h\xc3\xa9\xf0\x9f\x98\x80:1");
	assert_int_equal(json_text(SLICE("\"\\t\\n\\\\\""), text, 64), 3);
	assert_string_equal(text, "\t\n\\");
}

static void json_string_refuses_what_does_not_fit_or_decode(void **state)
{
	static const char *const bad[] = {
		"5", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
		"\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\u0000\"", "\"\\\"",
	};
	char text[8];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(json_text(slice_of(bad[i]), text, 8),
				 -EINVAL);
	assert_int_equal(json_text(SLICE("\"12345678\""), text, 8), -ENOBUFS);
	assert_int_equal(json_text(SLICE("\"1234567\""), text, 8), 7);
	assert_int_equal(json_text(SLICE("\"\""), text, 0), -ENOBUFS);
}

static void json_find_refuses_what_is_not_json(void **state)
{
	static const char *const bad[] = {
		"", "[]", "\"a\"", "{", "{\"a\"", "{\"a\":", "{\"a\":}",
		"{\"a\" 1}", "{\"b\":1 \"a\":2}", "{\"b\":[1,\"a\":2}",
		"{\"b\":\"\n\",\"a\":1}", "{\"b\":,\"a\":1}", "{a:1}",
		"{\"b\":]\"a\":1}",
	};
	char deep[200] = "{\"b\":";
	struct slice v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(json_find(slice_of(bad[i]), "a", &v),
				 -EBADMSG);
	memset(deep + 5, '[', JSON_DEPTH_MAX + 1);
	assert_int_equal(json_find(slice_of(deep), "a", &v), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_find_walks_a_path),
		cmocka_unit_test(json_find_misses_what_is_not_there),
		cmocka_unit_test(json_string_decodes_escapes),
		cmocka_unit_test(
			json_string_refuses_what_does_not_fit_or_decode),
		cmocka_unit_test(json_find_refuses_what_is_not_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
