/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that is behind catches up in a turn, and no further than it may.
 * Memory is chosen for whoever reads it.
 */
#include "agent/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/limits.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

static size_t frames;

static void count_frame(void *ctx, size_t output,
			const struct output_frame *frame)
{
	(void)ctx;
	(void)output;
	assert_true(frame->bytes > 0);
	frames++;
}

static void no_trouble(void *ctx, const char *text)
{
	(void)ctx;
	assert_null(text);
}

static const struct pipeline_calls calls = {
	.frame = count_frame,
	.trouble = no_trouble,
};

static struct pipeline *open_tone(void)
{
	static struct agent_source source;
	static char error[PIPELINE_ERROR_CHARS];
	struct pipeline *p = NULL;

	source = (struct agent_source){
		.kind = AGENT_SYNTHETIC,
		.pattern = AGENT_TONE,
		.encoder = AGENT_ENCODER_ALAW,
		.sample_rate = 8000,
		.buffers = 32,
		.timeout_ns = 60 * NS_PER_S,
		.bitrate = -1,
		.gop_frames = -1,
		.quality = -1,
	};
	frames = 0;
	assert_int_equal(pipeline_open(sys_fault(), &source, 2000, &calls, NULL,
				       &p, error), 0);
	assert_int_equal(pipeline_start(p, error), 0);
	return p;
}

static uint64_t now(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC);
}

static void turns_take_more_of_a_source_that_is_behind(void **state)
{
	struct pipeline *p;

	(void)state;
	sys_fault_reset();
	p = open_tone();
	/* Twenty frames or more; all but the last two are late. */
	(void)poll(NULL, 0, 400);
	pipeline_run(p, now());
	assert_int_equal(frames, PIPELINE_TURN_FRAMES_MAX);
	/* As if the turn were early: none of them is late, so one. */
	pipeline_run(p, 1);
	assert_int_equal(frames, PIPELINE_TURN_FRAMES_MAX + 1);
	pipeline_run(p, now());
	assert_true(frames > PIPELINE_TURN_FRAMES_MAX + 2);
	assert_null(pipeline_close(p));
	assert_int_equal(sys_fault_open_fds(), 0);
}

/* --- for a device alone -------------------------------------------------------------- */

/* A board whose maps of drivers' memory are slow to read, by its clock. */
static struct {
	struct sys_ops ops;
	unsigned int looks; /* at the clock since the last map */
	uint64_t ahead_ns;
} board;

static int board_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		      void **ret_map)
{
	board.looks = 0;
	return fake_v4l2_ops()->mmap(len, prot, flags, fd, offset, ret_map);
}

/*
 * The ladder reads ordinary memory three times, then the map, by turns: two
 * looks at the clock for each.
 */
static int board_clock(clockid_t clock, struct timespec *ret_ts)
{
	int r = fake_v4l2_ops()->clock_gettime(clock, ret_ts);
	uint64_t ns;

	if (++board.looks % 2 == 0)
		board.ahead_ns += (board.looks - 1) / 6 % 2 ? 1000000 : 10000;
	ns = (uint64_t)ret_ts->tv_nsec + board.ahead_ns;
	ret_ts->tv_sec += (time_t)(ns / NS_PER_S);
	ret_ts->tv_nsec = (long)(ns % NS_PER_S);
	return r;
}

static struct fake_v4l2 *encoder;

static int board_setup(void **state)
{
	(void)state;
	memset(&board, 0, sizeof(board));
	fake_v4l2_reset();
	(void)fake_v4l2_add(FAKE_CAMERA);
	encoder = fake_v4l2_add(FAKE_ENCODER);
	encoder->codec = CAPTURE_FORMAT_H264;
	fake_v4l2_udmabuf(false);
	board.ops = *fake_v4l2_ops();
	board.ops.mmap = board_mmap;
	board.ops.clock_gettime = board_clock;
	sys_fault_reset();
	sys_fault_wrap(&board.ops);
	return 0;
}

static int board_teardown(void **state)
{
	(void)state;
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static void read_frame(void *ctx, size_t output,
		       const struct capture_frame *frame)
{
	(void)ctx;
	(void)output;
	assert_non_null(frame);
}

static const struct pipeline_calls reading_calls = {
	.frame = count_frame,
	.raw = read_frame,
	.trouble = no_trouble,
};

static struct pipeline *open_camera(enum agent_encoder with,
				    const struct pipeline_calls *to)
{
	static struct agent_source source;
	static char error[PIPELINE_ERROR_CHARS];
	struct pipeline *p = NULL;

	source = (struct agent_source){
		.kind = AGENT_CAMERA,
		.encoder = with,
		.width = 128,
		.height = 96,
		.timeout_ns = 60 * NS_PER_S,
		.encoder_timeout_ns = 60 * NS_PER_S,
		.bitrate = -1,
		.gop_frames = -1,
		.quality = -1,
	};
	assert_int_equal(pipeline_open(sys_fault(), &source, 2000, to, NULL,
				       &p, error), 0);
	return p;
}

static void need_memory(struct pipeline *p, bool import_only,
			enum capture_rung rung, bool imported)
{
	assert_int_equal(pipeline_info(p)->import_only, import_only);
	assert_int_equal(pipeline_info(p)->rung, rung);
	assert_int_equal(output_info(pipeline_output(p, 0))->source_imported,
			 imported);
}

static void frames_that_a_device_alone_reads_may_be_slow(void **state)
{
	struct pipeline *p = open_camera(AGENT_ENCODER_AUTO, &calls);

	(void)state;
	need_memory(p, true, CAPTURE_RUNG_S3, true);
	assert_null(pipeline_close(p));
}

static void frames_that_are_tapped_are_for_the_cpu(void **state)
{
	struct pipeline *p = open_camera(AGENT_ENCODER_M2M, &reading_calls);

	(void)state;
	need_memory(p, false, CAPTURE_RUNG_S5, false);
	assert_null(pipeline_close(p));
}

static void encoder_that_does_not_import_gets_memory_for_the_cpu(void **state)
{
	struct pipeline *p;

	(void)state;
	encoder->no_import = true;
	p = open_camera(AGENT_ENCODER_M2M, &calls);
	need_memory(p, false, CAPTURE_RUNG_S5, false);
	assert_null(pipeline_close(p));
}

static void without_an_encoder_frames_are_for_the_cpu(void **state)
{
	struct pipeline *p = open_camera(AGENT_ENCODER_NONE, &calls);

	(void)state;
	need_memory(p, false, CAPTURE_RUNG_S5, false);
	assert_null(pipeline_close(p));
}

int main(void)
{
#define BOARD(f) cmocka_unit_test_setup_teardown(f, board_setup, board_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_take_more_of_a_source_that_is_behind),
		BOARD(frames_that_a_device_alone_reads_may_be_slow),
		BOARD(frames_that_are_tapped_are_for_the_cpu),
		BOARD(encoder_that_does_not_import_gets_memory_for_the_cpu),
		BOARD(without_an_encoder_frames_are_for_the_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
