/* SPDX-License-Identifier: Apache-2.0 */
/* Which encoder an output takes for counts, and how it refuses to. */
#include "agent/output.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/thermal.h>

#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

uint32_t __real_capture_thermal_codec(const struct capture_format *format);
uint32_t __wrap_capture_thermal_codec(const struct capture_format *format);

static bool no_avcodec;

/* As in a build without libavcodec: FFV1 is nothing to choose. */
uint32_t __wrap_capture_thermal_codec(const struct capture_format *format)
{
	uint32_t codec = __real_capture_thermal_codec(format);

	return no_avcodec && codec == CAPTURE_FORMAT_FFV1 ? 0 : codec;
}

static struct agent_source source;
static struct capture_format format;
static struct output *output;
static char error[OUTPUT_ERROR_CHARS];

static int setup(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_v4l2_ops());
	no_avcodec = false;
	output = NULL;
	memset(error, 0, sizeof(error));
	source = (struct agent_source){
		.kind = AGENT_THERMAL,
		.encoder = AGENT_ENCODER_AUTO,
		.bitrate = -1,
		.gop_frames = -1,
		.quality = -1,
	};
	format = (struct capture_format){
		.media = CAPTURE_MEDIA_PICTURE,
		.fourcc = CAPTURE_FORMAT_Y16,
		.width = 160,
		.height = 120,
		.plane_count = 1,
		.stride = {320},
		.size = {320 * 120},
		.rate_num = 9,
		.rate_den = 1,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	output = output_close(output);
	return sys_fault_open_fds() || sys_fault_open_maps();
}

/* 640x512, 60 a second: four times what fits raw. */
static void make_large(void)
{
	format.width = 640;
	format.height = 512;
	format.stride[0] = 1280;
	format.size[0] = 1280 * 512;
	format.rate_num = 60;
}

static int open_output(void)
{
	static const struct output_calls calls;
	const struct output_config config = {
		.source = &source,
		.format = &format,
		.frames_held = 1,
		.fragment_ms = 2000,
		.calls = &calls,
	};

	return output_open(sys_fault(), &config, &output, error);
}

static void need_encoder(const char *name)
{
	assert_int_equal(open_output(), 0);
	assert_string_equal(output_info(output)->encoder, name);
}

static void counts_that_are_few_are_kept_raw(void **state)
{
	(void)state;
	no_avcodec = true;
	need_encoder("y16");
}

static void counts_that_are_many_are_not_kept_raw_by_themselves(void **state)
{
	(void)state;
	no_avcodec = true;
	make_large();
	assert_int_equal(open_output(), -EOPNOTSUPP);
	assert_null(output);
	assert_non_null(strstr(error, "640x512 at 60/1 is too much for raw"));
	assert_non_null(strstr(error, "FFV1 is not built in"));
	assert_non_null(strstr(error, "encoder = raw"));
}

static void counts_that_are_many_are_kept_raw_when_told(void **state)
{
	(void)state;
	no_avcodec = true;
	make_large();
	source.encoder = AGENT_ENCODER_RAW;
	need_encoder("y16");
}

static void counts_that_are_many_take_ffv1_where_it_is(void **state)
{
	(void)state;
	make_large();
#if HAVE_AVCODEC
	need_encoder("ffv1");
#else
	assert_int_equal(open_output(), -EOPNOTSUPP);
	source.encoder = AGENT_ENCODER_FFV1;
	assert_int_equal(open_output(), -ENODEV);
	assert_string_equal(error, "encoder ffv1: not built in");
#endif
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(counts_that_are_few_are_kept_raw),
		CASE(counts_that_are_many_are_not_kept_raw_by_themselves),
		CASE(counts_that_are_many_are_kept_raw_when_told),
		CASE(counts_that_are_many_take_ffv1_where_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
