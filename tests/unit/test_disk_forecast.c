/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/disk_forecast.h"

#define MIB (1ull << 20)

/* @rate bytes more per minute, on a disk of @disk bytes. */
static unsigned int run(struct disk_forecast *f, uint64_t *used, int64_t rate,
			uint64_t disk, unsigned int minutes,
			uint64_t ret_told[8])
{
	unsigned int told = 0;
	uint64_t left;

	while (minutes--) {
		*used += (uint64_t)rate;
		if (disk_forecast_add(f, *used, disk - *used, &left)) {
			assert_true(told < 8);
			ret_told[told++] = left;
		}
	}
	return told;
}

static void forecast_tells_three_times_before_it_is_full(void **state)
{
	struct disk_forecast f = {.count = 0};
	uint64_t told[8];
	uint64_t used = 0;

	(void)state;
	/* Two days: 2,880 minutes. */
	assert_int_equal(run(&f, &used, 10 * MIB, 28800 * MIB, 2879, told), 3);
	assert_int_equal(told[0], 24 * 60);
	assert_int_equal(told[1], 6 * 60);
	assert_int_equal(told[2], 60);
}

static void forecast_is_quiet_while_nothing_grows(void **state)
{
	struct disk_forecast f = {.count = 0};
	uint64_t told[8];
	uint64_t used = 99 * MIB;

	(void)state;
	assert_int_equal(run(&f, &used, 0, 100 * MIB, 500, told), 0);
	/* It knows no rate at first: a start looks like a burst. */
	f = (struct disk_forecast){.count = 0};
	used = 0;
	assert_int_equal(run(&f, &used, 10 * MIB, 100 * MIB, 9, told), 0);
}

static void forecast_tells_again_after_there_was_room(void **state)
{
	struct disk_forecast f = {.count = 0};
	uint64_t told[8];
	uint64_t used = 0;

	(void)state;
	assert_int_equal(run(&f, &used, 10 * MIB, 5000 * MIB, 60, told), 1);
	assert_int_equal(run(&f, &used, 10 * MIB, 5000 * MIB, 60, told), 0);
	/* Retention took as much away. */
	assert_int_equal(
		run(&f, &used, -10 * (int64_t)MIB, 5000 * MIB, 100, told), 0);
	assert_int_equal(run(&f, &used, 10 * MIB, 5000 * MIB, 100, told), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forecast_tells_three_times_before_it_is_full),
		cmocka_unit_test(forecast_is_quiet_while_nothing_grows),
		cmocka_unit_test(forecast_tells_again_after_there_was_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
