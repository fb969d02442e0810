/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which encoder an output takes for counts, and how it refuses to; how late
 * its frames may be; how it ends.
 */
#include "agent/output.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>
#include <capture/thermal.h>

#include "base/bytes.h"
#include "core/limits.h"
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

static size_t frames_out;

static void count_frame(void *ctx, const struct output_frame *frame)
{
	(void)ctx;
	assert_true(frame->bytes > 0);
	frames_out++;
}

static int open_output(void)
{
	static const struct output_calls calls = { .frame = count_frame };
	const struct output_config config = {
		.source = &source,
		.format = &format,
		.frames_held = ENCODE_FRAMES_MAX,
		.frames_all = 16,
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

/* Sixteen buffers of a slow sensor are more than a second. */
static void frames_are_as_late_as_there_are_buffers(void **state)
{
	(void)state;
	source.encoder = HAVE_AVCODEC ? AGENT_ENCODER_FFV1 :
					AGENT_ENCODER_RAW;
	assert_int_equal(open_output(), 0);
	assert_int_equal(output_info(output)->late_ms, 16 * 1000 / 9);
	output = output_close(output);
	format.rate_num = 1;
	assert_int_equal(open_output(), 0);
	assert_int_equal(output_info(output)->late_ms, INTERLEAVE_MS_MAX);
	output = output_close(output);
	/* Little of it is the sensor's; an encoder's thread takes time. */
	format.rate_num = 1000;
	assert_int_equal(open_output(), 0);
	assert_int_equal(output_info(output)->late_ms,
			 HAVE_AVCODEC ? LATE_THREADED_MS : 16);
	output = output_close(output);
	source.encoder = AGENT_ENCODER_RAW;
	assert_int_equal(open_output(), 0);
	assert_int_equal(output_info(output)->late_ms, 16);
}

static struct capture_frame *thermal_frame(uint32_t sequence, uint64_t stamp_ns)
{
	static uint8_t counts[320 * 120];
	static struct capture_frame f;

	memset(counts, 0x10, sizeof(counts));
	counts[320 * 118] = 0xab; /* telemetry: the last two rows */
	store_le16(counts + 320 * 7 + 2 * 9, (uint16_t)(30000 + sequence));
	f = (struct capture_frame){
		.fourcc = CAPTURE_FORMAT_Y16,
		.width = 160,
		.height = 120,
		.sequence = sequence,
		.stamp_ns = stamp_ns,
		.plane_count = 1,
		.planes = {{.dmabuf_fd = -1, .length = sizeof(counts),
			    .bytesused = sizeof(counts), .stride = 320,
			    .map = counts}},
	};
	return &f;
}

/* A frame a second, and the first of each epoch; no view needed for that. */
static void counts_without_a_view_are_measured(void **state)
{
	struct output_stats stats;
	struct capture_frame *f;

	(void)state;
	source.encoder = AGENT_ENCODER_RAW;
	source.telemetry_rows = 2;
	source.scale_uk = 10000;
	assert_int_equal(open_output(), 0);
	output_stats(output, &stats);
	assert_false(stats.has_reading);
	output_put(output, thermal_frame(1, NS_PER_S), 1);
	output_put(output, thermal_frame(2, 2 * NS_PER_S - 1), 2);
	output_stats(output, &stats);
	assert_true(stats.has_reading);
	assert_int_equal(stats.thermal.frames, 0);
	assert_int_equal(stats.reading.sequence, 1);
	assert_int_equal(stats.reading.hottest.x, 9);
	assert_int_equal(stats.reading.hottest.y, 7);
	assert_int_equal(stats.reading.hottest.temperature_mk, 300010);
	assert_int_equal(stats.reading.coldest.count, 0x1010);
	assert_int_equal(stats.telemetry.count, OUTPUT_TELEMETRY_BYTES);
	assert_int_equal(stats.telemetry.bytes[0], 0xab);
	output_put(output, thermal_frame(3, 2 * NS_PER_S), 3);
	output_stats(output, &stats);
	assert_int_equal(stats.reading.sequence, 3);
	f = thermal_frame(4, 2 * NS_PER_S + 1);
	f->flags = CAPTURE_FRAME_BLANK; /* made up: measures nothing */
	f->epoch = 1;
	output_put(output, f, 4);
	f = thermal_frame(5, 2 * NS_PER_S + 2);
	f->epoch = 1;
	output_put(output, f, 5);
	output_stats(output, &stats);
	assert_int_equal(stats.reading.sequence, 5);
	assert_int_equal(stats.reading.epoch, 1);
	output = output_close(output);
	source.telemetry_on_top = true;
	assert_int_equal(open_output(), 0);
	output_put(output, thermal_frame(6, NS_PER_S), 6);
	output_stats(output, &stats);
	assert_int_equal(stats.telemetry.bytes[0], 0x10);
	assert_int_equal(stats.reading.hottest.y, 5);
	output = output_close(output);
	source.telemetry_on_top = false;
	source.view = true; /* it is the view that measures, then */
	assert_int_equal(open_output(), 0);
	output_put(output, thermal_frame(6, NS_PER_S), 6);
	output_stats(output, &stats);
	assert_false(stats.has_reading);
	output = output_close(output);
	source.view = false;
	source.has_spot = true;
	source.spot_y = 118; /* telemetry */
	assert_int_equal(open_output(), -EINVAL);
	assert_string_equal(error, "telemetry_rows or spot do not fit");
}

#if HAVE_AVCODEC
#define SOUND_FRAMES 12
#define HANG_MS 60000

/* Twelve frames of a tone into an output that is then at its end. */
static void put_sound(void)
{
	const struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = "tone",
		.sample_rate = 48000,
		.channels = 1,
		.buffer_count = 16,
	};
	struct capture_source *tone;

	assert_int_equal(capture_source_open(NULL, &config, &tone), 0);
	source.kind = AGENT_AUDIO;
	source.encoder = AGENT_ENCODER_AAC;
	format = *capture_source_format(tone);
	frames_out = 0;
	need_encoder("aac");
	assert_int_equal(capture_source_start(tone), 0);
	for (int i = 0; i < SOUND_FRAMES; i++) {
		struct capture_frame *frame;

		assert_int_equal(capture_source_dequeue(tone, UINT64_MAX,
							&frame), 0);
		output_put(output, frame, 1);
		(void)capture_frame_unref(frame);
	}
	output_end(output);
	(void)capture_source_close(tone);
}

/* One turn: never waits. */
static bool drained(struct output *o)
{
	struct pollfd fd;

	if (output_drain(o))
		return true;
	assert_int_equal(output_fds(o, &fd), 1);
	assert_int_equal(poll(&fd, 1, HANG_MS), 1);
	return false;
}

/* Two at once, as neither is waited for: then nothing is left of both. */
static void outputs_end_together(void **state)
{
	struct output *first;
	struct output_stats stats;
	size_t counted;
	bool ended[2] = { false, false };

	(void)state;
	sys_fault_reset(); /* the real clock: there are threads */
	put_sound();
	first = output;
	counted = frames_out;
	put_sound();
	frames_out += counted;
	while (!ended[0] || !ended[1]) {
		ended[0] = ended[0] || drained(first);
		ended[1] = ended[1] || drained(output);
	}
	/* 12 frames of 960 samples are 12 packets of 1024, or one less. */
	assert_in_range(frames_out, 2 * 11, 2 * 13);
	output_stop(first);
	output_stats(first, &stats);
	assert_int_equal(stats.frames_skipped, 0);
	(void)output_close(first);
	output_stats(output, &stats);
	assert_int_equal(stats.frames_skipped, 0);
}
#endif

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(counts_that_are_few_are_kept_raw),
		CASE(counts_that_are_many_are_not_kept_raw_by_themselves),
		CASE(counts_that_are_many_are_kept_raw_when_told),
		CASE(counts_that_are_many_take_ffv1_where_it_is),
		CASE(frames_are_as_late_as_there_are_buffers),
		CASE(counts_without_a_view_are_measured),
#if HAVE_AVCODEC
		CASE(outputs_end_together),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
