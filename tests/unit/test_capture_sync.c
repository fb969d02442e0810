/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CPU reads and writes of dma-bufs on a machine whose caches must be
 * told, and that no machine with coherent ones pays for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <capture/encoder.h>
#include <capture/record.h>
#include <capture/thermal.h>

#include "src/queue.h"
#include "support/fake_sync.h"
#include "support/source_rig.h"

static int setup(void **state)
{
	int r = source_rig_setup(state);

	sys_fault_wrap(fake_sync_over(fake_v4l2_ops()));
	return r;
}

/* For sources that are no fake devices: real time, and still a udmabuf. */
static void use_real_time(void)
{
	static struct sys_ops ops;

	ops = *fake_v4l2_ops();
	ops.clock_gettime = sys_posix()->clock_gettime;
	ops.poll = sys_posix()->poll;
	sys_fault_wrap(fake_sync_over(&ops));
}

static int teardown(void **state)
{
	struct fake_sync counts = fake_sync_counts();

	fake_sync_end();
	return source_rig_teardown(state) || counts.errors || counts.open;
}

static void check(unsigned int reads, unsigned int writes)
{
	assert_int_equal(fake_sync_counts().reads, reads);
	assert_int_equal(fake_sync_counts().writes, writes);
}

/* Four frames of which the last two are copies. */
static void take_copies(enum capture_rung rung)
{
	struct capture_source_config config = source_rig_config();
	struct capture_frame *f[4];
	struct capture_source *s;
	int i;

	config.rung = rung;
	s = source_rig_open_on(&config);
	for (i = 0; i < 4; i++)
		f[i] = source_rig_next(s);
	assert_int_equal(source_rig_stats(s).copies, 2);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	(void)capture_source_close(s);
}

static void copies_read_one_buffer_and_write_another(void **state)
{
	(void)state;
	take_copies(CAPTURE_RUNG_S1);
	check(2, 2);
	/* The driver syncs its own memory. */
	take_copies(CAPTURE_RUNG_S3);
	check(2, 4);
}

static void coherent_memory_costs_no_call(void **state)
{
	(void)state;
	queue_assume_sync(false);
	take_copies(CAPTURE_RUNG_S1);
	check(0, 0);
}

static void made_up_frames_are_written(void **state)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = "tone",
	};
	struct capture_source *s;

	(void)state;
	use_real_time();
	s = source_rig_open_on(&config);
	(void)capture_frame_unref(source_rig_next(s));
	check(0, 1);
	(void)capture_source_close(s);
	/* What no device can import need not be told. */
	config.rung = CAPTURE_RUNG_S5;
	s = source_rig_open_on(&config);
	(void)capture_frame_unref(source_rig_next(s));
	check(0, 1);
	(void)capture_source_close(s);
}

static void records_are_written(void **state)
{
	uint8_t bytes[CAPTURE_RECORD_HEADER_BYTES + 8] = {0};
	struct capture_record record = {.payload_bytes = 8};
	char path[] = "pipe:/tmp/test_sync.XXXXXX";
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_RECORDS,
		.path = path,
	};
	struct capture_source *s;
	int fd;

	(void)state;
	use_real_time();
	assert_int_equal(capture_record_header_write(
				 &record, bytes + CAPTURE_RECORD_HEADER_BYTES,
				 bytes),
			 0);
	fd = mkstemp(path + strlen("pipe:"));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	s = source_rig_open_on(&config);
	(void)capture_frame_unref(source_rig_next(s));
	check(0, 1);
	(void)capture_source_close(s);
	(void)close(fd);
	(void)unlink(path + strlen("pipe:"));
}

static void thermal_view_reads_counts_and_writes_a_picture(void **state)
{
	static const uint32_t y16[] = {CAPTURE_FORMAT_Y16};
	struct capture_source_config config = source_rig_config();
	struct capture_thermal_config view_config;
	struct capture_thermal_view *view;
	struct capture_frame *counts;
	struct capture_frame *picture;
	struct capture_source *s;

	(void)state;
	use_real_time();
	config.kind = CAPTURE_SOURCE_SYNTHETIC;
	config.path = "thermal";
	config.fourccs = y16;
	s = source_rig_open_on(&config);
	capture_thermal_config_init(&view_config);
	assert_int_equal(capture_thermal_view_new(sys_fault(),
						  capture_source_format(s),
						  &view_config, &view),
			 0);
	counts = source_rig_next(s);
	check(0, 1);
	assert_int_equal(capture_thermal_view_apply(view, counts, &picture), 0);
	check(1, 2);
	(void)capture_frame_unref(picture);
	(void)capture_frame_unref(counts);
	(void)capture_thermal_view_free(view);
	(void)capture_source_close(s);
}

static void encoder_that_copies_reads(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct fake_v4l2 *device = fake_v4l2_add(FAKE_ENCODER);
	struct capture_encoder_config to;
	struct capture_encoder *e;
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	device->stride_align = 256; /* so it cannot take them as they are */
	s = source_rig_open_on(&config);
	capture_encoder_config_init(&to);
	to.backend = CAPTURE_BACKEND_M2M;
	to.source = capture_source_format(s);
	assert_int_equal(capture_encoder_open(sys_fault(), &to, &e), 0);
	f = source_rig_next(s);
	assert_int_equal(capture_encoder_submit(e, f), 0);
	check(1, 0); /* QBUF syncs what is written: the driver's memory */
	(void)capture_frame_unref(f);
	(void)capture_encoder_close(e);
	(void)capture_source_close(s);
}

static void users_reads_are_told(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f = source_rig_next(s);

	(void)state;
	capture_frame_begin_read(sys_fault(), f);
	check(0, 0);
	assert_int_equal(fake_sync_counts().open, 1);
	capture_frame_end_read(sys_fault(), f);
	check(1, 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(copies_read_one_buffer_and_write_another),
		TEST(coherent_memory_costs_no_call),
		TEST(made_up_frames_are_written),
		TEST(records_are_written),
		TEST(thermal_view_reads_counts_and_writes_a_picture),
		TEST(encoder_that_copies_reads),
		TEST(users_reads_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
