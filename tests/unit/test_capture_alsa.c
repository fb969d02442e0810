/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be told without a sound card: libasound's "null" PCM, which gives
 * silence as fast as it is read. Real samples: tests/hil/test_audio_records.sh.
 */
#include <capture/source.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
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
		.kind = CAPTURE_SOURCE_ALSA,
		.path = path,
		.sample_rate = 16000,
		.channels = 2,
		.track_id = 5,
	};

	return config;
}

static int refused(const struct capture_source_config *config)
{
	struct capture_source *s = NULL;
	int r = capture_source_open(sys_fault(), config, &s);

	assert_null(s);
	return r;
}

#if HAVE_ALSA

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(5000000000);
}

static void frames_are_runs_of_samples(void **state)
{
	struct capture_source_config config = config_of("null");
	const struct capture_format *format;
	struct capture_source_stats stats;
	struct capture_source *s;
	struct capture_frame *f;
	int i;

	(void)state;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s), 0);
	format = capture_source_format(s);
	assert_int_equal(format->fourcc, CAPTURE_FORMAT_S16);
	assert_int_equal(format->media, CAPTURE_MEDIA_SAMPLES);
	assert_int_equal(format->sample_rate, 16000);
	assert_int_equal(format->channels, 2);
	assert_int_equal(format->sample_bytes, 4);
	assert_int_equal(format->size[0], 320 * 4);
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EBUSY);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(capture_source_start(s), -EBUSY);
	for (i = 0; i < 5; i++) {
		assert_int_equal(capture_source_dequeue(s, soon(), &f), 0);
		assert_int_equal(f->sequence, i);
		assert_int_equal(f->device_ticks, i * 320);
		assert_int_equal(f->device_hz, 16000);
		assert_int_equal(f->point, CAPTURE_POINT_FIRST_SAMPLE);
		assert_int_equal(f->clock, CAPTURE_CLOCK_MONOTONIC);
		assert_int_equal(f->planes[0].bytesused, 320 * 4);
		assert_int_equal(f->track_id, 5);
		(void)capture_frame_unref(f);
	}
	/* The first choice costs nothing. */
	capture_source_stats(s, &stats);
	assert_int_equal(stats.device_bits, 16);
	assert_int_equal(stats.bytes_touched, 0);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), 0);
	assert_int_equal(f->sequence, 0);
	assert_int_equal(f->device_ticks, 0);
	(void)capture_source_close(s);
	(void)capture_frame_unref(f);
}

static void all_out_is_told(void **state)
{
	struct capture_frame *held[CAPTURE_SOURCE_BUFFERS];
	struct capture_source_config config = config_of("null");
	struct capture_source *s;
	struct capture_frame *f;
	uint32_t i;

	(void)state;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s), 0);
	assert_int_equal(capture_source_start(s), 0);
	for (i = 0; i < CAPTURE_SOURCE_BUFFERS; i++)
		assert_int_equal(capture_source_dequeue(s, soon(), &held[i]),
				 0);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENOBUFS);
	(void)capture_frame_unref(held[0]);
	assert_int_equal(capture_source_dequeue(s, soon(), &held[0]), 0);
	for (i = 0; i < CAPTURE_SOURCE_BUFFERS; i++)
		(void)capture_frame_unref(held[i]);
	(void)capture_source_close(s);
}

static void what_cannot_be_had_is_refused(void **state)
{
	static const uint32_t yu12[] = {CAPTURE_FORMAT_YU12};
	struct capture_source_config config = config_of("hw:31,7");

	(void)state;
	assert_true(refused(&config) < 0);
	config.path = NULL;
	assert_int_equal(refused(&config), -EINVAL);
	config.path = "no such PCM";
	assert_int_equal(refused(&config), -ENOENT);
	config.path = "null";
	config.channels = 33;
	assert_int_equal(refused(&config), -ERANGE);
	config.channels = 1;
	config.frame_samples = UINT32_MAX;
	assert_int_equal(refused(&config), -ERANGE);
	config.frame_samples = 0;
	config.fourccs = yu12;
	config.fourcc_count = 1;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config.fourcc_count = 0;
	config.rung = CAPTURE_RUNG_S2;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
}

#else

static void alsa_is_not_built_in(void **state)
{
	struct capture_source_config config = config_of("null");

	(void)state;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
}

#endif

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
#if HAVE_ALSA
		TEST(frames_are_runs_of_samples),
		TEST(all_out_is_told),
		TEST(what_cannot_be_had_is_refused),
#else
		TEST(alsa_is_not_built_in),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
