/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/names.h"

static struct slice repeat(char *out, char c, size_t count)
{
	memset(out, c, count);
	return (struct slice){ out, count };
}

static void name_patterns_follow_the_models(void **state)
{
	char text[KMS_KEY_ID_CHARS_MAX + 1];

	(void)state;
	assert_true(name_stream_valid(SLICE("Front_door.2-x")));
	assert_false(name_stream_valid(SLICE("")));
	assert_false(name_stream_valid(SLICE("a b")));
	assert_false(name_stream_valid(SLICE("a/b")));
	assert_false(name_stream_valid(SLICE("caf\xc3\xa9")));
	assert_false(name_stream_valid((struct slice){ "a\0b", 3 }));
	assert_true(name_stream_valid(repeat(text, 'a', 256)));
	assert_false(name_stream_valid(repeat(text, 'a', 257)));
	assert_true(name_device_valid(repeat(text, 'a', 128)));
	assert_false(name_device_valid(repeat(text, 'a', 129)));

	assert_true(name_media_type_valid(SLICE("video/h264")));
	assert_true(name_media_type_valid(SLICE("video/h264,audio/aac")));
	assert_true(name_media_type_valid(SLICE("a.b+c-d_e/1")));
	assert_false(name_media_type_valid(SLICE("video")));
	assert_false(name_media_type_valid(SLICE("video/")));
	assert_false(name_media_type_valid(SLICE("/h264")));
	assert_false(name_media_type_valid(SLICE("video/h264,")));
	assert_false(name_media_type_valid(SLICE("video/h264, audio/aac")));
	assert_false(name_media_type_valid(SLICE("video/h264/x")));
	assert_false(name_media_type_valid(SLICE("")));
	memset(text, 'a', sizeof(text));
	text[1] = '/';
	assert_true(name_media_type_valid((struct slice){ text, 128 }));
	assert_false(name_media_type_valid((struct slice){ text, 129 }));

	assert_true(name_kms_key_valid(SLICE("alias/aws/kinesisvideo")));
	assert_false(name_kms_key_valid(SLICE("")));
	assert_false(name_kms_key_valid(SLICE("a\nb")));
	assert_true(name_kms_key_valid(repeat(text, 'k', 2048)));
	assert_false(name_kms_key_valid(repeat(text, 'k', 2049)));

	assert_true(name_version_valid(SLICE("Ws0fZvFGXzEpuZ2CE1s9")));
	assert_false(name_version_valid(SLICE("a-b")));
	assert_false(name_version_valid(repeat(text, 'v', 65)));
	assert_true(name_region_valid(SLICE("eu-central-1")));
	assert_false(name_region_valid(SLICE("EU")));
	assert_true(name_account_valid(SLICE("123456789012")));
	assert_false(name_account_valid(SLICE("12345678901")));
	assert_false(name_account_valid(SLICE("12345678901a")));
}

static const char arn_text[] = "arn:aws-cn:kinesisvideo:cn-north-1:"
			       "123456789012:stream/Front_door.2-x/"
			       "1511852108513";

static void stream_arn_survives_a_round_trip(void **state)
{
	struct stream_arn arn;
	struct buf b;

	(void)state;
	assert_int_equal(stream_arn_parse(SLICE(arn_text), &arn), 0);
	assert_true(slice_is(arn.partition, "aws-cn"));
	assert_true(slice_is(arn.region, "cn-north-1"));
	assert_true(slice_is(arn.account, "123456789012"));
	assert_true(slice_is(arn.name, "Front_door.2-x"));
	assert_true(arn.created_ms == 1511852108513ull);
	buf_init(&b, ARN_CHARS_MAX);
	assert_int_equal(stream_arn_format(&b, &arn), 0);
	assert_int_equal(buf_len(&b), sizeof(arn_text) - 1);
	assert_memory_equal(buf_head(&b), arn_text, sizeof(arn_text) - 1);

	arn.name = SLICE("a/b");
	assert_int_equal(stream_arn_format(&b, &arn), -EINVAL);
	arn.name = SLICE("a");
	arn.created_ms = 10000000000000ull;
	assert_int_equal(stream_arn_format(&b, &arn), -EINVAL);
	buf_fini(&b);
}

static void stream_arn_parse_refuses_other_resources(void **state)
{
#define A "arn:aws:kinesisvideo:us-east-1:123456789012:"
	static const char *const cases[] = {
		"",
		"arn",
		"arn:aws",
		A,
		A "stream",
		A "stream/a",
		A "stream/a/",
		A "stream//1511852108513",
		A "stream/a/151185210851",
		A "stream/a/15118521085133",
		A "stream/a/151185210851x",
		A "stream/a/1511852108513/",
		A "channel/a/1511852108513",
		A "Stream/a/1511852108513",
		"ARN:aws:kinesisvideo:r:123456789012:stream/a/1511852108513",
		"arn:aws:kinesis:r:123456789012:stream/a/1511852108513",
		"arn::kinesisvideo:r:123456789012:stream/a/1511852108513",
		"arn:aws:kinesisvideo::123456789012:stream/a/1511852108513",
		"arn:aws:kinesisvideo:r:12345678901:stream/a/1511852108513",
		"arn:aws:kinesisvideo:R:123456789012:stream/a/1511852108513",
	};
	struct stream_arn arn;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (stream_arn_parse(slice_of(cases[i]), &arn) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
	}
}

static void version_format_makes_valid_distinct_text(void **state)
{
	uint8_t random[16] = { 0 };
	char a[VERSION_CHARS + 1];
	char b[VERSION_CHARS + 1];

	(void)state;
	version_format(random, a);
	assert_true(name_version_valid(slice_of(a)));
	random[15] = 1;
	version_format(random, b);
	assert_true(name_version_valid(slice_of(b)));
	assert_string_not_equal(a, b);
	memset(random, 0xff, sizeof(random));
	version_format(random, b);
	assert_int_equal(strlen(b), VERSION_CHARS);
	assert_true(name_version_valid(slice_of(b)));
	random[0] = 0xfe;
	version_format(random, a);
	/* 62^20 is less than 2^128, but well over any counter of changes. */
	assert_string_not_equal(a, b);
}

static void slice_cut_leaves_the_rest(void **state)
{
	struct slice s = SLICE("a,,b");

	(void)state;
	assert_true(slice_is(slice_cut(&s, ','), "a"));
	assert_true(slice_is(slice_cut(&s, ','), ""));
	assert_true(slice_is(slice_cut(&s, ','), "b"));
	assert_int_equal(s.len, 0);
	assert_true(slice_is(slice_cut(&s, ','), ""));
	assert_true(slice_compare(SLICE("a"), SLICE("ab")) < 0);
	assert_true(slice_compare(SLICE("b"), SLICE("ab")) > 0);
	assert_int_equal(slice_compare(SLICE("a"), SLICE("a")), 0);
	assert_true(slice_eq_nocase(SLICE("HoSt"), SLICE("host")));
	assert_false(slice_eq_nocase(SLICE("host"), SLICE("hos")));
	assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_patterns_follow_the_models),
		cmocka_unit_test(stream_arn_survives_a_round_trip),
		cmocka_unit_test(stream_arn_parse_refuses_other_resources),
		cmocka_unit_test(version_format_makes_valid_distinct_text),
		cmocka_unit_test(slice_cut_leaves_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
