/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/arena.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake_v4l2.h"

static int reset(void **state)
{
	(void)state;
	fake_v4l2_reset();
	return 0;
}

static struct capture_arena *arena_of(size_t bytes)
{
	struct capture_arena *a;

	assert_int_equal(capture_arena_new(fake_v4l2_ops(), bytes, 0, &a), 0);
	return a;
}

static void arena_is_whole_pages_zeroed_and_sealed(void **state)
{
	struct capture_arena *a = arena_of(5000);
	int seals = fcntl(capture_arena_fd(a), F_GET_SEALS);

	(void)state;
	assert_int_equal(capture_arena_bytes(a) %
			 capture_arena_page_bytes(a), 0);
	assert_true(capture_arena_bytes(a) >= 5000);
	assert_int_equal(capture_arena_map(a)[4999], 0);
	/* udmabuf's terms. */
	assert_true(seals & F_SEAL_SHRINK);
	assert_false(seals & F_SEAL_WRITE);
	(void)capture_arena_unref(a);
}

/*
 * A page that is allocated but was never cleared is cleared at its first
 * fault: too late, when a device wrote to it before. mincore() tells them
 * apart.
 */
static void arena_pages_are_cleared_before_a_device_sees_them(void **state)
{
	struct capture_arena *a = arena_of(64 * (size_t)4096);
	unsigned char present[64];
	int i;

	(void)state;
	assert_int_equal(mincore(capture_arena_map(a), 64 * (size_t)4096, present), 0);
	for (i = 0; i < 64; i++)
		assert_true(present[i] & 1);
	(void)capture_arena_unref(a);
}

static void arena_refuses_impossible_sizes(void **state)
{
	struct capture_arena *a = NULL;

	(void)state;
	assert_int_equal(capture_arena_new(NULL, 0, 0, &a), -EINVAL);
	assert_int_equal(capture_arena_new(NULL, SIZE_MAX, 0, &a), -EINVAL);
	assert_int_equal(capture_arena_new(NULL, 4096, 0x80, &a), -EINVAL);
	assert_null(a);
}

static void span_stays_inside_its_arena(void **state)
{
	struct capture_arena *a = arena_of(8192);
	struct capture_span span = { NULL, 0, 0 };

	(void)state;
	assert_int_equal(capture_span_init(&span, a, 8192, 1), -EINVAL);
	assert_int_equal(capture_span_init(&span, a, 1, SIZE_MAX), -EINVAL);
	assert_null(capture_span_data(&span));
	assert_int_equal(capture_span_init(&span, a, 100, 8092), 0);
	assert_ptr_equal(capture_span_data(&span), capture_arena_map(a) + 100);
	capture_span_fini(&span);
	(void)capture_arena_unref(a);
}

static void span_keeps_its_arena_alive(void **state)
{
	struct capture_arena *a = arena_of(4096);
	struct capture_span span;
	struct capture_span copy;

	(void)state;
	capture_arena_map(a)[7] = 42;
	assert_int_equal(capture_span_init(&span, a, 7, 1), 0);
	(void)capture_arena_unref(a);
	copy = capture_span_dup(&span);
	capture_span_fini(&span);
	assert_null(span.arena);
	assert_int_equal(capture_span_data(&copy)[0], 42);
	capture_span_fini(&copy);
}

static void arena_exports_whole_pages_only(void **state)
{
	struct capture_arena *a = arena_of(8192);
	int fd = -EBADF;

	(void)state;
	assert_int_equal(capture_arena_export(a, 1, 4096, &fd), -EINVAL);
	assert_int_equal(capture_arena_export(a, 0, 100, &fd), -EINVAL);
	assert_int_equal(capture_arena_export(a, 4096, 8192, &fd), -EINVAL);
	assert_int_equal(capture_arena_export(a, 4096, 4096, &fd), 0);
	fake_v4l2_ops()->close(fd);
	fake_v4l2_udmabuf(false);
	assert_int_equal(capture_arena_export(a, 0, 4096, &fd), -ENOENT);
	(void)capture_arena_unref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(arena_is_whole_pages_zeroed_and_sealed,
				       reset),
		cmocka_unit_test_setup(
			arena_pages_are_cleared_before_a_device_sees_them,
			reset),
		cmocka_unit_test_setup(arena_refuses_impossible_sizes, reset),
		cmocka_unit_test_setup(span_stays_inside_its_arena, reset),
		cmocka_unit_test_setup(span_keeps_its_arena_alive, reset),
		cmocka_unit_test_setup(arena_exports_whole_pages_only, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
