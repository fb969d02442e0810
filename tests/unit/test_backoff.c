/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/backoff.h"

static void backoff_grows_to_its_cap_with_jitter(void **state)
{
	struct backoff b;
	uint64_t sum[12] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		backoff_init(&b, seed);
		for (unsigned int i = 0; i < 12; i++) {
			uint64_t ns = backoff_next(&b, 10, 1000, 60000);

			assert_in_range(ns, 10, i < 6 ? 1000u << i : 60000);
			sum[i] += ns;
		}
	}
	assert_in_range(sum[0] / 200, 400, 600);
	assert_in_range(sum[4] / 200, 6500, 9500);
	assert_in_range(sum[11] / 200, 25000, 35000);
	backoff_reset(&b);
	assert_in_range(backoff_next(&b, 0, 1000, 60000), 0, 1000);
	assert_int_equal(backoff_next(&b, 500, 100, 400), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backoff_grows_to_its_cap_with_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
