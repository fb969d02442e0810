/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/ebml.h"

static void ebml_size_round_trips_at_every_width(void **state)
{
	static const uint64_t sizes[] = {0,
					 1,
					 126,
					 127,
					 128,
					 16382,
					 16383,
					 1u << 20,
					 UINT32_MAX,
					 EBML_SIZE_MAX - 1,
					 EBML_SIZE_MAX};
	uint8_t bytes[8];
	unsigned int width;
	uint64_t size;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (width = ebml_size_width(sizes[i]); width <= 8; width++) {
			assert_int_equal(
				ebml_write_size(bytes, width, sizes[i]), width);
			assert_int_equal(ebml_read_size(bytes, 8, &size),
					 width);
			assert_true(size == sizes[i]);
			assert_int_equal(ebml_read_size(bytes, width - 1,
							&size),
					 -EAGAIN);
		}
	}
}

static void ebml_size_width_is_minimal(void **state)
{
	(void)state;
	/* 127 in one byte would read as unknown. */
	assert_int_equal(ebml_size_width(126), 1);
	assert_int_equal(ebml_size_width(127), 2);
	assert_int_equal(ebml_size_width(16382), 2);
	assert_int_equal(ebml_size_width(16383), 3);
	assert_int_equal(ebml_size_width(EBML_SIZE_MAX), 8);
}

static void ebml_size_is_unknown_when_all_ones(void **state)
{
	uint8_t bytes[8];
	unsigned int width;
	uint64_t size;

	(void)state;
	for (width = 1; width <= 8; width++) {
		(void)ebml_write_size(bytes, width, EBML_SIZE_UNKNOWN);
		size = 0;
		assert_int_equal(ebml_read_size(bytes, width, &size), width);
		assert_true(size == EBML_SIZE_UNKNOWN);
	}
	assert_int_equal(ebml_read_size((const uint8_t *)"\xff", 1, &size), 1);
	assert_int_equal(ebml_read_size((const uint8_t *)"\0\xff", 2, &size),
			 -EINVAL);
}

static void ebml_id_rejects_reserved_forms(void **state)
{
	uint32_t id = 0;

	(void)state;
	assert_int_equal(
		ebml_read_id((const uint8_t *)"\x1a\x45\xdf\xa3", 4, &id), 4);
	assert_int_equal(id, 0x1a45dfa3);
	assert_int_equal(ebml_read_id((const uint8_t *)"\x1a\x45", 2, &id),
			 -EAGAIN);
	assert_int_equal(ebml_read_id((const uint8_t *)"", 0, &id), -EAGAIN);
	assert_int_equal(ebml_read_id((const uint8_t *)"\xff", 1, &id),
			 -EINVAL);
	assert_int_equal(ebml_read_id((const uint8_t *)"\x80", 1, &id),
			 -EINVAL);
	assert_int_equal(ebml_read_id((const uint8_t *)"\x08xxxx", 5, &id),
			 -EINVAL);
	assert_int_equal(ebml_read_id((const uint8_t *)"\0", 1, &id), -EINVAL);
	assert_int_equal(id, 0x1a45dfa3);
}

static void ebml_id_round_trips(void **state)
{
	static const uint32_t ids[] = {0xa3, 0x4286, 0x2ad7b1, 0x1f43b675};
	uint8_t bytes[4];
	uint32_t id;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(ebml_write_id(bytes, ids[i]), i + 1);
		assert_int_equal(ebml_read_id(bytes, i + 1, &id), i + 1);
		assert_int_equal(id, ids[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ebml_size_round_trips_at_every_width),
		cmocka_unit_test(ebml_size_width_is_minimal),
		cmocka_unit_test(ebml_size_is_unknown_when_all_ones),
		cmocka_unit_test(ebml_id_rejects_reserved_forms),
		cmocka_unit_test(ebml_id_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
