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

#include "proto/fragment_number.h"

static void fragment_number_reads_a_captured_one(void **state)
{
	static const char text[] =
		"91343852333181432392682062607743920146159169392";
	char out[FRAGMENT_NUMBER_CHARS + 1];
	struct fragment_number n;

	(void)state;
	assert_int_equal(fragment_number_parse(SLICE(text), &n), 0);
	assert_int_equal(n.seq, 1);
	assert_true(n.server_ms == 1511852109126ull);
	assert_int_equal(n.random, 267317104);
	fragment_number_format(&n, out);
	assert_string_equal(out, text);
}

static void fragment_number_keeps_its_width_and_order(void **state)
{
	static const struct fragment_number rising[] = {
		{ 0, 0, 0 },
		{ 0, 0, 1 },
		{ 0, 0, (1u << 28) - 1 },
		{ 0, 1, 0 },
		{ 0, UINT64_MAX, 0 },
		{ 1, 0, 0 },
		{ 1, 0xffffffff, 5 },
		{ 0xfffffffff, 1, 1 },
		{ 0x1000000000, 0, 0 },
		{ FRAGMENT_SEQ_MAX, 0, 0 },
		{ FRAGMENT_SEQ_MAX, UINT64_MAX, (1u << 28) - 1 },
	};
	char last[FRAGMENT_NUMBER_CHARS + 1] = "";
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rising); i++) {
		char out[FRAGMENT_NUMBER_CHARS + 1];
		struct fragment_number n;

		fragment_number_format(&rising[i], out);
		assert_int_equal(strlen(out), FRAGMENT_NUMBER_CHARS);
		assert_true(strcmp(out, last) > 0);
		assert_int_equal(fragment_number_parse(slice_of(out), &n), 0);
		assert_int_equal(fragment_number_compare(&n, &rising[i]), 0);
		if (i) {
			assert_true(fragment_number_compare(&rising[i - 1],
							    &n) < 0);
			assert_true(fragment_number_compare(
					    &n, &rising[i - 1]) > 0);
		}
		memcpy(last, out, sizeof(last));
	}
}

static void fragment_number_parse_refuses_other_numbers(void **state)
{
	static const char *const cases[] = {
		"",
		"1",
		/* 2^156 - 1: the leading bit is missing */
		"91343852333181432387730302044767688728495783935",
		"00000000000000000000000000000000000000000000000",
		"99999999999999999999999999999999999999999999999",
		"9134385233318143239268206260774392014615916939",
		"913438523331814323926820626077439201461591693920",
		"9134385233318143239268206260774392014615916939x",
		"-1343852333181432392682062607743920146159169392",
	};
	struct fragment_number n;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (fragment_number_parse(slice_of(cases[i]), &n) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragment_number_reads_a_captured_one),
		cmocka_unit_test(fragment_number_keeps_its_width_and_order),
		cmocka_unit_test(fragment_number_parse_refuses_other_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
