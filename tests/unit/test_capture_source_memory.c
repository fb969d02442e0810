/* SPDX-License-Identifier: Apache-2.0 */
/* Between start and stop a V4L2 source takes no memory from the heap. */
#include <stdlib.h>

#include "support/source_rig.h"

static unsigned long allocations;

/* By the linker (--wrap): every call in this program, the library's too. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
	allocations++;
	return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	allocations++;
	return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	allocations++;
	return __real_realloc(old, bytes);
}

/* A thousand frames, of which every fourth is a copy and some are bad. */
static void run(struct capture_source *s)
{
	struct capture_frame *held[3] = {NULL};
	struct capture_frame *f;
	int i;

	for (i = 0; i < 1000; i++) {
		source_rig_camera->error_frames = i % 100 == 0;
		source_rig_camera->zero_stamps = i % 100 == 50;
		if (capture_source_dequeue(s, source_rig_soon(), &f) < 0)
			return;
		(void)capture_frame_unref(held[i % 3]);
		held[i % 3] = f;
	}
	for (i = 0; i < 3; i++)
		(void)capture_frame_unref(held[i]);
}

static void check_rung(enum capture_rung rung)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;
	unsigned long before;

	config.rung = rung;
	s = source_rig_open(&config);
	before = allocations;
	assert_true(before > 0); /* open does: the count works */
	assert_int_equal(capture_source_start(s), 0);
	run(s);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(allocations, before);
	assert_int_equal(source_rig_stats(s).frames, 1000);
	assert_true(source_rig_stats(s).copies > 100);
	assert_true(source_rig_stats(s).frames_error > 5);
	assert_true(source_rig_stats(s).stamps_bad > 5);
	(void)capture_source_close(s);
}

static void frames_take_no_memory(void **state)
{
	(void)state;
	fake_v4l2_heap(true);
	check_rung(CAPTURE_RUNG_S1);
	check_rung(CAPTURE_RUNG_S3);
	check_rung(CAPTURE_RUNG_S4);
	check_rung(CAPTURE_RUNG_S5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_RIG_CASE(frames_take_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
