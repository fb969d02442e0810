/* SPDX-License-Identifier: Apache-2.0 */
/* A source that is behind catches up in a turn, and no further than it may. */
#include "agent/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/limits.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_take_more_of_a_source_that_is_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
