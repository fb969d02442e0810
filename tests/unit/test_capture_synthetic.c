/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/settings.h>
#include <capture/source.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/arena.h>
#include <capture/record.h>
#include <linux/videodev2.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "src/pattern.h"
#include "support/sys_fault.h"

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static struct capture_source_config config_of(const char *path)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = path,
		.rate_num = 1000,
		.rate_den = 1,
		.track_id = 7,
	};

	return config;
}

static struct capture_source *open_with(const struct capture_source_config *c)
{
	struct capture_source *s;

	assert_int_equal(capture_source_open(sys_fault(), c, &s), 0);
	return s;
}

static struct capture_source *open_on(const char *path, uint32_t fourcc)
{
	struct capture_source_config config = config_of(path);
	struct capture_source *s;

	config.fourccs = &fourcc;
	config.fourcc_count = 1;
	s = open_with(&config);
	assert_int_equal(capture_source_start(s), 0);
	return s;
}

static int refused(const struct capture_source_config *config)
{
	struct capture_source *s = NULL;
	int r = capture_source_open(sys_fault(), config, &s);

	assert_null(s);
	return r;
}

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(5000000000);
}

static struct capture_frame *next(struct capture_source *s)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(s, soon(), &f), 0);
	return f;
}

static const uint8_t *payload(const struct capture_frame *f)
{
	return f->planes[0].map + f->planes[0].offset;
}

/* --- what is made ------------------------------------------------------- */

static void bars_are_the_same_for_the_same_sequence(void **state)
{
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_YUYV};
	uint8_t *expected;
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(fourccs); i++) {
		struct capture_source *s = open_on("bars", fourccs[i]);
		const struct capture_format *format = capture_source_format(s);

		assert_int_equal(format->fourcc, fourccs[i]);
		expected = malloc(format->size[0]);
		assert_non_null(expected);
		for (n = 0; n < 3; n++) {
			struct capture_frame *f = next(s);

			pattern_bars(format, f->sequence, expected);
			assert_memory_equal(payload(f), expected,
					    format->size[0]);
			assert_int_equal(f->track_id, 7);
			assert_int_equal(f->clock, CAPTURE_CLOCK_MONOTONIC);
			assert_int_equal(f->planes[0].bytesused,
					 format->size[0]);
			(void)capture_frame_unref(f);
		}
		free(expected);
		(void)capture_source_close(s);
	}
}

static void bars_move_and_have_eight_colours(void **state)
{
	struct capture_format format = {
		.fourcc = CAPTURE_FORMAT_NV12,
		.width = 64,
		.height = 2,
		.stride = {64},
	};
	uint8_t first[64 * 3];
	uint8_t second[64 * 3];
	int x;

	(void)state;
	pattern_bars(&format, 0, first);
	pattern_bars(&format, 1, second);
	for (x = 0; x < 62; x++)
		assert_int_equal(second[x], first[x + 2]);
	for (x = 8; x < 64; x += 8)
		assert_int_not_equal(first[x], first[x - 1]);
	/* White and blue, of BT.601. */
	assert_int_equal(first[0], 180);
	assert_int_equal(first[128], 128);
	assert_int_equal(first[6 * 8], 35);
	assert_int_equal(first[128 + 6 * 8], 212);
	assert_int_equal(first[128 + 6 * 8 + 1], 114);
}

static void thermal_is_16_bits_with_something_hot(void **state)
{
	struct capture_source *s = open_on("thermal", CAPTURE_FORMAT_Y16);
	struct capture_frame *f = next(s);
	uint32_t counts = 27315 + f->sequence % 1000;
	uint32_t left = f->sequence % 160; /* of a square of 20 */
	uint32_t top = f->sequence % 120;
	uint32_t hot = left >= 140 && top >= 100 ? 4000 : 0;

	(void)state;
	assert_int_equal(f->width, 160);
	assert_int_equal(f->planes[0].bytesused, 160 * 120 * 2);
	assert_int_equal(load_le16(payload(f) + 160 * 120 * 2 - 2),
			 counts + 8 * 159 + 4 * 119 + hot);
	assert_int_equal(load_le16(payload(f) + (160 * top + left) * 2),
			 counts + 8 * left + 4 * top + 4000);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void tone_goes_on_over_frames(void **state)
{
	struct capture_source_config config = config_of("tone");
	struct capture_source *s;
	struct capture_frame *f;
	int16_t last = 0;
	int crossings = 0;
	int i;
	int n;

	(void)state;
	config.sample_rate = 44000;
	config.channels = 2;
	config.frame_samples = 44;
	s = open_with(&config);
	assert_int_equal(capture_source_format(s)->sample_bytes, 4);
	assert_int_equal(capture_source_start(s), 0);
	for (n = 0; n < 50; n++) {
		uint8_t expected[44 * 4];

		f = next(s);
		pattern_tone(f->device_ticks, 44, 44000, 2, expected);
		assert_memory_equal(payload(f), expected, sizeof(expected));
		assert_int_equal(f->device_hz, 44000);
		assert_int_equal(f->device_ticks % 44, 0);
		assert_int_equal(f->point, CAPTURE_POINT_FIRST_SAMPLE);
		(void)capture_frame_unref(f);
	}
	(void)capture_source_close(s);
	for (i = 0; i < 44000; i++) {
		uint8_t sample[2];
		int16_t v;

		pattern_tone((uint64_t)i, 1, 44000, 1, sample);
		v = (int16_t)load_le16(sample);
		assert_in_range(v + PATTERN_TONE_PEAK, 0,
				2 * PATTERN_TONE_PEAK);
		crossings += last < 0 && v >= 0;
		last = v;
	}
	assert_in_range(crossings, PATTERN_TONE_HZ - 1, PATTERN_TONE_HZ);
}

static void radar_gives_records_or_samples(void **state)
{
	struct capture_source *s = open_on("radar", CAPTURE_FORMAT_RECORD);
	struct capture_record record;
	struct capture_frame *f = next(s);
	uint8_t chirp[2048];

	(void)state;
	assert_int_equal(capture_source_format(s)->media, CAPTURE_MEDIA_RECORD);
	assert_int_equal(capture_record_check(payload(f),
					      f->planes[0].bytesused, &record),
			 0);
	assert_int_equal(record.sequence, f->sequence);
	assert_int_equal(record.payload_bytes, 2048);
	assert_int_equal(record.type, V4L2_SDR_FMT_CU8);
	assert_int_equal(record.device_ticks, f->device_ticks);
	pattern_chirp(1024, f->sequence, chirp);
	assert_memory_equal(payload(f) + 44, chirp, 2048);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);

	s = open_on("radar", V4L2_SDR_FMT_CU8);
	f = next(s);
	assert_int_equal(f->planes[0].bytesused, 2048);
	pattern_chirp(1024, f->sequence, chirp);
	assert_memory_equal(payload(f), chirp, 2048);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

/* --- time and ownership ------------------------------------------------- */

static void stamps_follow_from_the_sequence(void **state)
{
	struct capture_source_config config = config_of("thermal");
	struct capture_source *s;
	uint64_t start_ns = 0;
	int n;

	(void)state;
	config.rate_num = 30000;
	config.rate_den = 1001;
	s = open_with(&config);
	assert_int_equal(capture_source_start(s), 0);
	for (n = 0; n < 3; n++) {
		struct capture_frame *f = next(s);
		uint64_t at =
			((f->sequence + 1) * UINT64_C(1001000000000) + 29999) /
			30000;

		if (!n)
			start_ns = f->stamp_ns - at;
		assert_int_equal(f->stamp_ns, start_ns + at);
		assert_true(f->stamp_ns <=
			    sys_now_ns(sys_fault(), CLOCK_MONOTONIC));
		(void)capture_frame_unref(f);
	}
	(void)capture_source_close(s);
}

static void frames_that_find_no_buffer_are_lost_and_counted(void **state)
{
	struct capture_source *s = open_on("thermal", CAPTURE_FORMAT_Y16);
	struct capture_frame *held[CAPTURE_SOURCE_BUFFERS];
	struct capture_source_stats stats;
	struct capture_frame *f;
	uint32_t last;
	uint64_t lost;
	uint32_t i;

	(void)state;
	for (i = 0; i < CAPTURE_SOURCE_BUFFERS; i++)
		held[i] = next(s);
	last = held[CAPTURE_SOURCE_BUFFERS - 1]->sequence;
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENOBUFS);
	/* Until one more was lost: at 1 kHz the wait is short. */
	capture_source_stats(s, &stats);
	lost = stats.frames_lost;
	do {
		assert_int_equal(capture_source_dequeue(s, 0, &f), -ENOBUFS);
		capture_source_stats(s, &stats);
	} while (stats.frames_lost == lost);
	(void)capture_frame_unref(held[0]);
	f = next(s);
	capture_source_stats(s, &stats);
	assert_true(f->sequence > last + 1);
	assert_int_equal(stats.frames + stats.frames_lost, f->sequence + 1);
	(void)capture_frame_unref(f);
	for (i = 1; i < CAPTURE_SOURCE_BUFFERS; i++)
		(void)capture_frame_unref(held[i]);
	(void)capture_source_close(s);
}

static void frame_outlives_its_source(void **state)
{
	struct capture_source *s = open_on("bars", CAPTURE_FORMAT_YU12);
	struct capture_frame *f = next(s);
	struct capture_frame *g = next(s);

	(void)state;
	(void)capture_source_close(s);
	assert_int_equal(payload(f)[640 * 480 - 1],
			 payload(f)[640 * 479 + 639]);
	(void)capture_frame_unref(f);
	assert_int_equal(sys_fault_open_maps(), 1);
	(void)capture_frame_unref(g);
	assert_int_equal(sys_fault_open_maps(), 0);
}

static void dequeue_says_how_things_are(void **state)
{
	struct capture_source_config config = config_of("bars");
	struct capture_source *s;
	struct capture_frame *f;
	struct pollfd pfd;

	(void)state;
	config.rate_num = 1;
	config.rate_den = 3600;
	s = open_with(&config);
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EBUSY);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(capture_source_start(s), -EBUSY);
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EAGAIN);
	assert_int_equal(capture_source_dequeue(s, 1, &f), -ETIMEDOUT);
	pfd.fd = capture_source_fd(s);
	pfd.events = POLLIN;
	assert_int_equal(sys_posix()->poll(&pfd, 1, 0), 0);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_stop(s), 0);
	(void)capture_source_close(s);

	s = open_on("bars", CAPTURE_FORMAT_YU12);
	pfd.fd = capture_source_fd(s);
	assert_int_equal(sys_posix()->poll(&pfd, 1, 5000), 1);
	assert_int_equal(capture_source_dequeue(s, 0, &f), 0);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_OK);
	(void)capture_source_close(s);
}

static void rungs_are_told_or_refused(void **state)
{
	struct capture_source_config config = config_of("bars");
	struct capture_source_stats stats;
	struct capture_source *s;
	struct capture_frame *f;
	int udmabuf = sys_posix()->openat(AT_FDCWD, "/dev/udmabuf", O_RDWR, 0);

	(void)state;
	config.rung = CAPTURE_RUNG_S3;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
	config.rung = CAPTURE_RUNG_S1;
	if (udmabuf >= 0) {
		s = open_with(&config);
		assert_int_equal(capture_source_start(s), 0);
		f = next(s);
		assert_true(f->planes[0].dmabuf_fd >= 0);
		(void)capture_frame_unref(f);
		(void)capture_source_close(s);
		sys_close(sys_posix(), &udmabuf);
	} else {
		assert_int_equal(refused(&config), -EOPNOTSUPP);
	}
	config.rung = CAPTURE_RUNG_S5;
	s = open_with(&config);
	capture_source_stats(s, &stats);
	assert_int_equal(stats.rung, CAPTURE_RUNG_S5);
	assert_int_equal(stats.buffer_count, CAPTURE_SOURCE_BUFFERS);
	assert_non_null(capture_source_arena(s));
	assert_true(stats.memory_bytes >= 4 * 640 * 480 * 3 / 2);
	(void)capture_source_close(s);
}

static void first_frames_are_left_out_after_each_start(void **state)
{
	struct capture_source_config config = config_of("tone");
	struct capture_source_stats stats;
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	config.skip_first = 2;
	s = open_with(&config);
	assert_int_equal(capture_source_start(s), 0);
	f = next(s);
	/* Not equal: a slow machine loses frames. */
	assert_true(f->sequence >= 2);
	(void)capture_frame_unref(f);
	f = next(s);
	assert_true(f->sequence >= 3);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	f = next(s);
	assert_true(f->sequence >= 2);
	(void)capture_frame_unref(f);
	capture_source_stats(s, &stats);
	assert_int_equal(stats.frames, 3);
	assert_int_equal(stats.frames_skipped, 4);
	(void)capture_source_close(s);
}

static void what_is_of_cameras_alone_is_refused_by_name(void **state)
{
	static const struct capture_rect rect = {.width = 64, .height = 48};
	struct capture_source_config config = config_of("tone");
	struct capture_settings_error error;
	struct capture_settings settings = {.error = &error};

	(void)state;
	config.borrow_max = 2;
	assert_int_equal(refused(&config), -EINVAL);
	config.settings = &settings;
	assert_int_equal(refused(&config), -EINVAL);
	assert_string_equal(error.name, "borrow_max");
	config.borrow_max = 0;
	settings.crop = &rect;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
	assert_string_equal(error.name, "crop");
	settings.crop = NULL;
	settings.control_count = 1;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
	assert_string_equal(error.name, "controls");
	/* Nothing to set: nothing to refuse. */
	settings.control_count = 0;
	(void)capture_source_close(open_with(&config));
}

static void what_cannot_be_made_is_refused(void **state)
{
	static const uint32_t h264[] = {CAPTURE_FORMAT_H264};
	struct capture_source_config config = config_of("snow");

	(void)state;
	assert_int_equal(refused(&config), -ENODEV);
	config.path = NULL;
	assert_int_equal(refused(&config), -EINVAL);
	config.path = "bars";
	config.width = 641;
	config.height = 480;
	assert_int_equal(refused(&config), -ERANGE);
	config.width = 640;
	config.fourccs = h264;
	config.fourcc_count = 1;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config.path = "tone";
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config.fourcc_count = 0;
	config.frame_samples = UINT32_MAX;
	assert_int_equal(refused(&config), -ERANGE);
	config.frame_samples = 0;
	config.channels = 1000;
	assert_int_equal(refused(&config), -ERANGE);
	config.path = "radar";
	config.rate_num = UINT32_MAX;
	assert_int_equal(refused(&config), -ERANGE);
	config.path = "thermal";
	config.rate_num = 1;
	config.rate_den = UINT32_MAX;
	assert_int_equal(refused(&config), -ERANGE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(bars_are_the_same_for_the_same_sequence),
		TEST(bars_move_and_have_eight_colours),
		TEST(thermal_is_16_bits_with_something_hot),
		TEST(tone_goes_on_over_frames),
		TEST(radar_gives_records_or_samples),
		TEST(stamps_follow_from_the_sequence),
		TEST(frames_that_find_no_buffer_are_lost_and_counted),
		TEST(frame_outlives_its_source),
		TEST(dequeue_says_how_things_are),
		TEST(rungs_are_told_or_refused),
		TEST(first_frames_are_left_out_after_each_start),
		TEST(what_is_of_cameras_alone_is_refused_by_name),
		TEST(what_cannot_be_made_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
