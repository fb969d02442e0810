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

#include "support/store_rig.h"

static int setup(void **state)
{
	struct loop_fake_config loop = { .seed = 1, .delay_ns_max = 1000000 };
	struct store_rig *rig = malloc(sizeof(*rig));

	rig_init(rig, &loop);
	*state = rig;
	return rig_open(rig);
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static void store_reads_back_what_was_committed(void **state)
{
	static const size_t sizes[] = { 1,	 100,	 4096,	 65407,
					65408,	 65409,	 130816, 130817,
					1000000, 3500000 };
	struct store_fragment rows[16];
	struct store_rig *rig = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(rig_put(rig, 0, i + 1, sizes[i], 100000,
					 1000 + i), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 16), ARRAY_SIZE(sizes));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(rows[i].number.seq, i + 1);
		assert_int_equal(rows[i].server_ms, 1000 + i);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 16), ARRAY_SIZE(sizes));
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(store_reads_back_what_was_committed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
