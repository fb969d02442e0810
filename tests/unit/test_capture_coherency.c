/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A board whose coherent maps are slow to read: what the ladder makes of it.
 * The time of each reading is put on the clock: the ladder reads ordinary
 * memory, then the map, CAPTURE_MEASURE_RUNS times each, by turns.
 */
#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "src/limits.h"
#include "support/source_rig.h"

static struct {
	struct sys_ops ops;
	bool hints;	  /* the driver has NON_COHERENT memory */
	bool ignores;	  /* ... says so, and clears the flag all the same */
	bool always_slow; /* ... which is no faster */
	bool busy;	  /* others held the CPU during the first readings */
	bool slower;	  /* ... ever since the first of the map */
	bool non_coherent;
	unsigned int asked; /* for NON_COHERENT */
	unsigned int looks; /* at the clock since the last map */
	uint64_t ahead_ns;
} board;

static int board_ioctl(int fd, unsigned long request, void *arg)
{
	struct v4l2_requestbuffers *req = arg;
	bool wanted;
	int r;

	if (request != VIDIOC_REQBUFS)
		return fake_v4l2_ops()->ioctl(fd, request, arg);
	wanted = req->flags & V4L2_MEMORY_FLAG_NON_COHERENT;
	r = fake_v4l2_ops()->ioctl(fd, request, arg);
	if (r < 0 || !req->count || req->memory != V4L2_MEMORY_MMAP)
		return r;
	board.asked += wanted;
	board.non_coherent = wanted && board.hints && !board.ignores;
	req->flags = board.non_coherent ? V4L2_MEMORY_FLAG_NON_COHERENT : 0;
	if (board.hints)
		req->capabilities |= V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS;
	return r;
}

static int board_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		      void **ret_map)
{
	board.looks = 0;
	return fake_v4l2_ops()->mmap(len, prot, flags, fd, offset, ret_map);
}

/* Every second look ends a reading. */
static int board_clock(clockid_t clock, struct timespec *ret_ts)
{
	bool slow = !board.non_coherent || board.always_slow;
	int r = fake_v4l2_ops()->clock_gettime(clock, ret_ts);
	uint64_t ns;

	board.looks++;
	if (board.looks % 2 == 0) {
		bool map = (board.looks - 1) / (2 * CAPTURE_MEASURE_RUNS) % 2;

		if (board.busy)
			slow = board.looks <= 6 * CAPTURE_MEASURE_RUNS;
		if (board.slower)
			map = slow = board.looks > 2 * CAPTURE_MEASURE_RUNS;
		board.ahead_ns += map && slow ? 100000 : 10000;
	}
	ns = (uint64_t)ret_ts->tv_nsec + board.ahead_ns;
	ret_ts->tv_sec += (time_t)(ns / 1000000000);
	ret_ts->tv_nsec = (long)(ns % 1000000000);
	return r;
}

static int setup(void **state)
{
	int r = source_rig_setup(state);

	memset(&board, 0, sizeof(board));
	board.hints = true;
	board.ops = *fake_v4l2_ops();
	board.ops.ioctl = board_ioctl;
	board.ops.mmap = board_mmap;
	board.ops.clock_gettime = board_clock;
	sys_fault_wrap(&board.ops);
	/* So that the driver's memory is all there is. */
	fake_v4l2_udmabuf(false);
	return r;
}

static struct capture_source *open_rung(enum capture_rung rung)
{
	struct capture_source_config config = source_rig_config();

	config.width = 128;
	config.height = 96;
	config.rung = rung;
	return source_rig_open(&config);
}

static void slow_maps_become_cached_ones(void **state)
{
	struct capture_source *s = open_rung(CAPTURE_RUNG_AUTO);
	struct capture_frame *f;

	(void)state;
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	assert_int_equal(source_rig_stats(s).non_coherent, 1);
	assert_int_equal(board.asked, 1);
	/* As fast as ordinary memory: 18432 bytes in 10 us. */
	assert_int_equal(source_rig_stats(s).map_read_bytes_per_s,
			 UINT64_C(1843200000));
	assert_int_equal(capture_source_start(s), 0);
	f = source_rig_next(s);
	assert_true(f->planes[0].dmabuf_fd >= 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void what_is_asked_for_alone_stays_so(void **state)
{
	struct capture_source *s;

	(void)state;
	s = open_rung(CAPTURE_RUNG_S3);
	assert_int_equal(source_rig_stats(s).non_coherent, 1);
	(void)capture_source_close(s);
	s = open_rung(CAPTURE_RUNG_S5);
	assert_int_equal(source_rig_stats(s).non_coherent, 0);
	assert_int_equal(board.asked, 1);
	(void)capture_source_close(s);
}

static void busy_machine_makes_no_map_slow(void **state)
{
	struct capture_source *s;

	(void)state;
	board.busy = true;
	for (int i = 0; i < 2; i++) {
		s = open_rung(CAPTURE_RUNG_AUTO);
		assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
		assert_int_equal(source_rig_stats(s).non_coherent, 0);
		assert_int_equal(board.asked, 0);
		(void)capture_source_close(s);
		board.busy = false;
		board.slower = true;
	}
}

/* Open with nothing better than S5, and coherent memory for it. */
static void check_s5(unsigned int asked)
{
	struct capture_source *s = open_rung(CAPTURE_RUNG_AUTO);

	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S5);
	assert_int_equal(source_rig_stats(s).non_coherent, 0);
	assert_int_equal(board.asked, asked);
	(void)capture_source_close(s);
}

static void without_hints_it_is_not_asked_for(void **state)
{
	(void)state;
	board.hints = false;
	check_s5(0);
}

static void flag_that_is_cleared_is_no_cached_memory(void **state)
{
	(void)state;
	board.ignores = true;
	check_s5(1);
}

static void cached_memory_that_is_slow_is_not_kept(void **state)
{
	(void)state;
	board.always_slow = true;
	check_s5(1);
}

static struct capture_source *open_for_devices(enum capture_rung rung)
{
	struct capture_source_config config = source_rig_config();

	config.width = 128;
	config.height = 96;
	config.rung = rung;
	config.import_only = 1;
	return source_rig_open(&config);
}

static void what_devices_import_need_not_be_cached(void **state)
{
	struct capture_source *s = open_for_devices(CAPTURE_RUNG_AUTO);
	struct capture_frame *f;

	(void)state;
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	assert_int_equal(source_rig_stats(s).non_coherent, 0);
	assert_int_equal(board.asked, 0);
	assert_int_equal(capture_source_start(s), 0);
	f = source_rig_next(s);
	assert_true(f->planes[0].dmabuf_fd >= 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
	s = open_for_devices(CAPTURE_RUNG_S5);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S5);
	(void)capture_source_close(s);
}

/* Then the CPU must copy: cached memory is looked for as without it. */
static void what_cannot_be_exported_is_for_the_cpu(void **state)
{
	struct capture_source *s;

	(void)state;
	source_rig_camera->no_export = true;
	s = open_for_devices(CAPTURE_RUNG_AUTO);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S5);
	assert_int_equal(board.asked, 1);
	(void)capture_source_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, source_rig_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(slow_maps_become_cached_ones),
		TEST(what_is_asked_for_alone_stays_so),
		TEST(busy_machine_makes_no_map_slow),
		TEST(without_hints_it_is_not_asked_for),
		TEST(flag_that_is_cleared_is_no_cached_memory),
		TEST(cached_memory_that_is_slow_is_not_kept),
		TEST(what_devices_import_need_not_be_cached),
		TEST(what_cannot_be_exported_is_for_the_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
