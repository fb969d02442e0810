/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/list.h"
#include "base/parse.h"
#include "base/sys.h"

static void buf_keeps_its_limit(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_add(&b, "12345678", 8), 0);
	assert_int_equal(buf_add(&b, "abc", 3), -ENOBUFS);
	assert_true(b.failed);
	assert_int_equal(buf_len(&b), 8);
	buf_consume(&b, 5);
	assert_int_equal(buf_add(&b, "abcdefg", 7), 0);
	assert_int_equal(buf_len(&b), 10);
	assert_memory_equal(buf_head(&b), "678abcdefg", 10);
	buf_fini(&b);
}

static void buf_printf_appends_without_its_nul(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(buf_printf(&b, "%d-%s", 42, "x"), 0);
	assert_int_equal(buf_printf(&b, "%c", 'y'), 0);
	assert_int_equal(buf_len(&b), 5);
	assert_memory_equal(buf_head(&b), "42-xy", 5);
	buf_fini(&b);
}

static void crc32c_matches_rfc3720_vectors(void **state)
{
	uint8_t zeros[32] = { 0 };
	uint8_t ones[32];
	uint8_t counting[1000];
	size_t i;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43u);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	for (i = 0; i < sizeof(counting); i++)
		counting[i] = (uint8_t)(i * 7);
	for (i = 0; i < 64; i++)
		assert_int_equal(crc32c(5, counting + i, 930 - i),
				 crc32c_table(5, counting + i, 930 - i));
}

static void crc32c_is_the_same_by_lanes_and_by_table(void **state)
{
	static uint8_t bytes[100000];
	uint32_t rng = 1;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bytes); i++) {
		rng = rng * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(rng >> 24);
	}
	/* Around whole turns of the three lanes, at odd places. */
	for (i = 0; i < 40; i++) {
		size_t len = 12288 * (1 + i % 4) + i * 7 - 20;
		const uint8_t *p = bytes + i * 3;

		assert_int_equal(crc32c((uint32_t)i, p, len),
				 crc32c_table((uint32_t)i, p, len));
	}
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)),
			 crc32c_table(0, bytes, sizeof(bytes)));
}

static void parse_refuses_what_is_not_a_whole_number(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_int_equal(parse_u64("", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("+1", 2, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("1 ", 2, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("11", 2, 10, &v), -ERANGE);
	assert_int_equal(parse_u64("18446744073709551616", 20, UINT64_MAX, &v),
			 -ERANGE);
	assert_int_equal(v, 77);
	assert_int_equal(parse_u64("18446744073709551615", 20, UINT64_MAX, &v),
			 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(parse_duration_ns("250ms", &v), 0);
	assert_int_equal(v, 250000000);
	assert_int_equal(parse_duration_ns("2", &v), -EINVAL);
	assert_int_equal(parse_bytes("8M", &v), 0);
	assert_int_equal(v, 8 << 20);
	assert_int_equal(parse_bytes("8MB", &v), -EINVAL);
}

static void list_survives_double_removal(void **state)
{
	struct list_node head;
	struct list_node a;
	struct list_node b;

	(void)state;
	list_init(&head);
	list_add_tail(&head, &a);
	list_add_tail(&head, &b);
	list_del(&a);
	list_del(&a);
	assert_ptr_equal(list_pop(&head), &b);
	assert_null(list_pop(&head));
}

static void write_file_replaces_whole_content(void **state)
{
	const struct sys_ops *sys = sys_posix();
	char dir[] = "/tmp/kvsd-base-XXXXXX";
	char *text;
	size_t len;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	assert_true(fd >= 0);
	assert_int_equal(sys_write_file(sys, fd, "f", "first", 5, 0600), 0);
	assert_int_equal(sys_write_file(sys, fd, "f", "2nd", 3, 0600), 0);
	assert_int_equal(sys_read_file(sys, fd, "f", 100, &text, &len), 0);
	assert_string_equal(text, "2nd");
	free(text);
	assert_int_equal(sys_read_file(sys, fd, "f", 2, &text, &len), -EFBIG);
	assert_int_equal(sys->unlinkat(fd, "f", 0), 0);
	sys_close(sys, &fd);
	assert_int_equal(fd, -EBADF);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_keeps_its_limit),
		cmocka_unit_test(buf_printf_appends_without_its_nul),
		cmocka_unit_test(crc32c_matches_rfc3720_vectors),
		cmocka_unit_test(crc32c_is_the_same_by_lanes_and_by_table),
		cmocka_unit_test(parse_refuses_what_is_not_a_whole_number),
		cmocka_unit_test(list_survives_double_removal),
		cmocka_unit_test(write_file_replaces_whole_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
