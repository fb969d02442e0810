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

#include <time.h>

#include "proto/epoch.h"

static void epoch_ms_is_exact_both_ways(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
		const char *formatted;
	} cases[] = {
		{ "1511852108.513", 1511852108513, "1511852108.513" },
		{ "1511852108", 1511852108000, "1511852108.000" },
		{ "1511852108.5", 1511852108500, "1511852108.500" },
		{ "1511852108.05", 1511852108050, "1511852108.050" },
		{ "1511852108.513999999", 1511852108513, "1511852108.513" },
		{ "0", 0, "0.000" },
		{ "0.001", 1, "0.001" },
		{ "253402300799.999", 253402300799999, "253402300799.999" },
	};
	char out[EPOCH_CHARS_MAX];
	uint64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(epoch_ms_parse(slice_of(cases[i].text), &ms),
				 0);
		assert_true(ms == cases[i].ms);
		epoch_ms_format(ms, out);
		assert_string_equal(out, cases[i].formatted);
	}
	epoch_ms_format(UINT64_MAX, out);
	assert_string_equal(out, "18446744073709551.615");
}

static void epoch_ms_parse_refuses_what_is_not_one(void **state)
{
	static const char *const cases[] = {
		"",	"1.",	     ".5",   "-1",	  "+1",
		"1e9",	"1.5.1",     " 1",   "1 ",	  "1.0123456789",
		"1,5",	"1.-5",	     "0x1",  "1.5x",	  "1511852108.",
	};
	uint64_t ms = 7;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (epoch_ms_parse(slice_of(cases[i]), &ms) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
	}
	assert_int_equal(epoch_ms_parse(SLICE("253402300800"), &ms), -ERANGE);
	assert_int_equal(ms, 7);
}

/* Every 41st hour of four hundred years and more, against the C library. */
static void epoch_calendar_agrees_with_gmtime(void **state)
{
	uint64_t s;

	(void)state;
	for (s = 0; s < 15000000000ull; s += 147601) {
		time_t t = (time_t)s;
		char basic[EPOCH_BASIC_CHARS + 1];
		char http[EPOCH_HTTP_CHARS + 1];
		char want[64];
		struct tm tm;
		uint64_t back;

		assert_non_null(gmtime_r(&t, &tm));
		epoch_basic_format(s, basic);
		assert_true(strftime(want, sizeof(want), "%Y%m%dT%H%M%SZ",
				     &tm) > 0);
		assert_string_equal(basic, want);
		assert_int_equal(epoch_basic_parse(slice_of(basic), &back), 0);
		assert_true(back == s);
		epoch_http_format(s, http);
		assert_true(strftime(want, sizeof(want),
				     "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
		assert_string_equal(http, want);
		assert_int_equal(epoch_http_parse(slice_of(http), &back), 0);
		assert_true(back == s);
	}
}

static void epoch_formats_reach_the_year_9999(void **state)
{
	char iso[EPOCH_ISO_CHARS_MAX + 1];
	char basic[EPOCH_BASIC_CHARS + 1];

	(void)state;
	epoch_basic_format(EPOCH_S_MAX, basic);
	assert_string_equal(basic, "99991231T235959Z");
	epoch_iso_format(EPOCH_S_MAX * 1000 + 999, iso);
	assert_string_equal(iso, "9999-12-31T23:59:59.999Z");
	epoch_iso_format(0, iso);
	assert_string_equal(iso, "1970-01-01T00:00:00.000Z");
}

static void epoch_dates_are_checked(void **state)
{
	static const char *const basic[] = {
		"",		     "20150830T123600",	 "20150830t123600Z",
		"20150830T123600z",  "20151330T123600Z", "20150831T243600Z",
		"20150832T123600Z",  "20150230T123600Z", "20150229T123600Z",
		"19690830T123600Z",  "2015083 T123600Z", "20150830T126000Z",
		"20150830T123660Z",  "20150030T123600Z", "20150800T123600Z",
		"20150830T123600Z ",
	};
	static const char *const http[] = {
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT",
	};
	uint64_t s;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(basic); i++) {
		if (epoch_basic_parse(slice_of(basic[i]), &s) != -EINVAL)
			fail_msg("accepted: %s", basic[i]);
	}
	for (i = 0; i < ARRAY_SIZE(http); i++) {
		if (epoch_http_parse(slice_of(http[i]), &s) != -EINVAL)
			fail_msg("accepted: %s", http[i]);
	}
	assert_int_equal(epoch_basic_parse(SLICE("20160229T000000Z"), &s), 0);
	assert_int_equal(epoch_basic_parse(SLICE("20000229T000000Z"), &s), 0);
	assert_int_equal(epoch_basic_parse(SLICE("21000229T000000Z"), &s),
			 -EINVAL);
	assert_int_equal(
		epoch_http_parse(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), &s),
		0);
	assert_int_equal(s, 784111777);
}

static void epoch_iso_needs_a_zone(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{ "2023-05-17T13:48:35.994Z", 1684331315994 },
		{ "2023-05-17T13:48:35Z", 1684331315000 },
		{ "2023-05-17T15:48:35+02:00", 1684331315000 },
		{ "2023-05-17T08:18:35.5-0530", 1684331315500 },
		{ "1970-01-01T00:00:00-00:01", 60000 },
	};
	static const char *const bad[] = {
		"",
		"2023-05-17T13:48:35",
		"2023-05-17T13:48:35.Z",
		"2023-05-17T13:48:35.994",
		"2023-05-17 13:48:35Z",
		"2023-05-17T13:48:35+2",
		"2023-05-17T13:48:35+24:00",
		"2023-05-17T13:48:35+02-00",
		"2023-05-17T13:48:35ZZ",
		"2023-5-17T13:48:35Z",
		"1970-01-01T00:00:00+00:01",
	};
	char out[EPOCH_ISO_CHARS_MAX + 1];
	uint64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(epoch_iso_parse(slice_of(good[i].text), &ms),
				 0);
		assert_true(ms == good[i].ms);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (epoch_iso_parse(slice_of(bad[i]), &ms) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	}
	epoch_iso_format(1684331315994, out);
	assert_string_equal(out, good[0].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(epoch_ms_is_exact_both_ways),
		cmocka_unit_test(epoch_ms_parse_refuses_what_is_not_one),
		cmocka_unit_test(epoch_calendar_agrees_with_gmtime),
		cmocka_unit_test(epoch_formats_reach_the_year_9999),
		cmocka_unit_test(epoch_dates_are_checked),
		cmocka_unit_test(epoch_iso_needs_a_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
