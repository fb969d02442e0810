/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/source.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/arena.h>

#include "base/macros.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define YU12_BYTES (64 * 48 * 3 / 2)

static struct fake_v4l2 *camera;

static int setup(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_v4l2_ops());
	camera = fake_v4l2_add(FAKE_CAMERA);
	return 0;
}

/* Every test closes what it opened: nothing may be left. */
static int teardown(void **state)
{
	(void)state;
	return sys_fault_open_fds() || sys_fault_open_maps() || camera->opens;
}

static struct capture_source_config config_of(void)
{
	static const uint32_t fourccs[] = {CAPTURE_FORMAT_YU12};
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = fourccs,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.track_id = 3,
	};

	return config;
}

static struct capture_source *open_with(const struct capture_source_config *c)
{
	struct capture_source *s;

	assert_int_equal(capture_source_open(sys_fault(), c, &s), 0);
	return s;
}

static struct capture_source *open_rung(enum capture_rung rung)
{
	struct capture_source_config config = config_of();

	config.rung = rung;
	return open_with(&config);
}

static struct capture_source *open_on(void)
{
	struct capture_source *s = open_rung(CAPTURE_RUNG_AUTO);

	assert_int_equal(capture_source_start(s), 0);
	return s;
}

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(1000000000);
}

static struct capture_frame *next(struct capture_source *s)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(s, soon(), &f), 0);
	return f;
}

static int refused(const struct capture_source_config *config)
{
	struct capture_source *s = NULL;
	int r = capture_source_open(sys_fault(), config, &s);

	assert_null(s);
	return r;
}

static struct capture_source_stats stats_of(const struct capture_source *s)
{
	struct capture_source_stats stats;

	capture_source_stats(s, &stats);
	return stats;
}

/* --- opening ------------------------------------------------------------ */

static void stream_takes_the_first_format_there_is(void **state)
{
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_H264, CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_YUYV};
	struct capture_source_config config = config_of();
	const struct capture_format *f;
	struct capture_source *s;

	(void)state;
	config.fourccs = fourccs;
	config.fourcc_count = ARRAY_SIZE(fourccs);
	s = open_with(&config);
	f = capture_source_format(s);
	assert_int_equal(f->fourcc, CAPTURE_FORMAT_NV12);
	assert_int_equal(f->width, 64);
	assert_int_equal(f->stride[0], 64);
	assert_int_equal(f->rate_num, 30);
	assert_int_equal(f->rate_den, 1);
	(void)capture_source_close(s);
}

static void stream_keeps_the_nodes_format_when_none_is_asked(void **state)
{
	struct capture_source_config config = {.path = "/dev/video0"};
	struct capture_source *s = open_with(&config);

	(void)state;
	assert_int_equal(capture_source_format(s)->fourcc, CAPTURE_FORMAT_YUYV);
	(void)capture_source_close(s);
}

static void stream_says_why_it_cannot_open(void **state)
{
	static const uint32_t h264[] = {CAPTURE_FORMAT_H264};
	struct capture_source_config config = config_of();

	(void)state;
	fake_v4l2_add(FAKE_ENCODER);
	config.width = 65;
	assert_int_equal(refused(&config), -ERANGE);
	config.height = 0;
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of();
	config.fourccs = h264;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config = config_of();
	config.path = "/dev/video1";
	assert_int_equal(refused(&config), -ENODEV);
	config.path = "/dev/null";
	assert_int_equal(refused(&config), -ENODEV);
	config.path = "/dev/video7";
	assert_int_equal(refused(&config), -ENOENT);
	config = config_of();
	camera->busy = true;
	assert_int_equal(refused(&config), -EBUSY);
}

/* --- the memory ladder -------------------------------------------------- */

static void stream_prefers_an_imported_arena(void **state)
{
	struct capture_source *s = open_rung(CAPTURE_RUNG_AUTO);

	(void)state;
	assert_int_equal(stats_of(s).rung, CAPTURE_RUNG_S1);
	assert_non_null(capture_source_arena(s));
	/* Buffers that were queued to try the import came back. */
	assert_int_equal(fake_v4l2_queued(camera), 0);
	(void)capture_source_close(s);
}

static enum capture_rung rung_taken(void)
{
	struct capture_source *s = open_on();
	struct capture_frame *f = next(s);
	enum capture_rung rung = stats_of(s).rung;

	assert_int_equal(f->planes[0].map[0], fake_v4l2_pixel(f->sequence));
	assert_int_equal(f->planes[0].dmabuf_fd >= 0, rung != CAPTURE_RUNG_S5);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
	return rung;
}

static void stream_falls_back_when_a_rung_is_missing(void **state)
{
	(void)state;
	fake_v4l2_udmabuf(false);
	assert_int_equal(rung_taken(), CAPTURE_RUNG_S3);
	fake_v4l2_udmabuf(true);
	camera->no_import = true;
	assert_int_equal(rung_taken(), CAPTURE_RUNG_S3);
	camera->no_import = false;
	camera->import_faults = true;
	assert_int_equal(rung_taken(), CAPTURE_RUNG_S3);
	camera->no_export = true;
	assert_int_equal(rung_taken(), CAPTURE_RUNG_S5);
}

static void stream_takes_no_other_rung_than_the_one_asked(void **state)
{
	struct capture_source_config config = config_of();
	struct capture_source *s;

	(void)state;
	camera->import_faults = true;
	config.rung = CAPTURE_RUNG_S1;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
	config.rung = CAPTURE_RUNG_S2;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
	s = open_rung(CAPTURE_RUNG_S5);
	assert_int_equal(stats_of(s).rung, CAPTURE_RUNG_S5);
	(void)capture_source_close(s);
	camera->no_export = true;
	config.rung = CAPTURE_RUNG_S3;
	assert_int_equal(refused(&config), -EOPNOTSUPP);
}

/* --- frames ------------------------------------------------------------- */

static void stream_frame_says_what_and_when_it_is(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f = next(s);

	(void)state;
	assert_int_equal(f->track_id, 3);
	assert_int_equal(f->fourcc, CAPTURE_FORMAT_YU12);
	assert_int_equal(f->width, 64);
	assert_int_equal(f->height, 48);
	assert_int_equal(f->sequence, 0);
	assert_int_equal(f->stamp_ns,
			 UINT64_C(1000000000) + FAKE_V4L2_FRAME_NS);
	assert_int_equal(f->clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(f->point, CAPTURE_POINT_START_OF_EXPOSURE);
	assert_int_equal(f->plane_count, 1);
	assert_int_equal(f->planes[0].bytesused, YU12_BYTES);
	assert_int_equal(f->planes[0].stride, 64);
	assert_int_equal(f->planes[0].map[YU12_BYTES - 1], fake_v4l2_pixel(0));
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void stream_works_with_planes_of_their_own(void **state)
{
	static const uint32_t ym12[] = {CAPTURE_FORMAT_YM12};
	struct capture_source_config config = config_of();
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	camera->mplane = true;
	config.fourccs = ym12;
	s = open_with(&config);
	assert_int_equal(capture_source_start(s), 0);
	f = next(s);
	assert_int_equal(f->plane_count, 3);
	assert_int_equal(f->planes[2].bytesused, 64 * 48 / 4);
	assert_int_equal(f->planes[2].stride, 32);
	assert_int_equal(f->planes[2].map[0], fake_v4l2_pixel(0));
	assert_int_not_equal(f->planes[1].dmabuf_fd, f->planes[2].dmabuf_fd);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void stream_gives_buffer_back_at_the_last_unref(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f = next(s);

	(void)state;
	assert_int_equal(fake_v4l2_queued(camera), 3);
	assert_ptr_equal(capture_frame_ref(f), f);
	(void)capture_frame_unref(f);
	assert_int_equal(fake_v4l2_queued(camera), 3);
	(void)capture_frame_unref(f);
	assert_int_equal(fake_v4l2_queued(camera), 4);
	assert_null(capture_frame_unref(NULL));
	(void)capture_source_close(s);
}

static void stream_says_when_all_frames_are_out(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f[4];
	struct capture_frame *extra;
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		f[i] = next(s);
	assert_int_equal(capture_source_dequeue(s, soon(), &extra), -ENOBUFS);
	(void)capture_frame_unref(f[2]);
	f[2] = next(s);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	(void)capture_source_close(s);
}

static void stream_frame_outlives_its_stream(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f = next(s);

	(void)state;
	(void)capture_source_close(s);
	assert_int_equal(camera->opens, 0);
	assert_int_equal(f->planes[0].map[100], fake_v4l2_pixel(0));
	(void)capture_frame_unref(f);
}

static void stream_stop_cancels_and_start_queues_all_again(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *held = next(s);
	struct capture_frame *f;

	(void)state;
	assert_int_equal(capture_source_start(s), -EBUSY);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(fake_v4l2_queued(camera), 0);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -EBUSY);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(fake_v4l2_queued(camera), 3);
	(void)capture_frame_unref(held);
	assert_int_equal(fake_v4l2_queued(camera), 4);
	(void)capture_frame_unref(next(s));
	(void)capture_source_close(s);
}

static void stream_returns_damaged_and_short_frames_and_counts(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f;

	(void)state;
	camera->error_frames = 2;
	f = next(s);
	assert_int_equal(f->sequence, 2);
	(void)capture_frame_unref(f);
	camera->short_frames = 1;
	(void)capture_frame_unref(next(s));
	camera->huge_frames = 1;
	(void)capture_frame_unref(next(s));
	assert_int_equal(stats_of(s).frames_error, 3);
	assert_int_equal(stats_of(s).frames_short, 1);
	assert_int_equal(stats_of(s).frames, 3);
	assert_int_equal(stats_of(s).frames_lost, 0);
	assert_int_equal(fake_v4l2_queued(camera), 4);
	(void)capture_source_close(s);
}

static void stream_counts_gaps_in_the_sequence(void **state)
{
	struct capture_source *s = open_on();

	(void)state;
	(void)capture_frame_unref(next(s));
	camera->lost_frames = 5;
	(void)capture_frame_unref(next(s));
	assert_int_equal(stats_of(s).frames_lost, 5);
	(void)capture_source_close(s);
}

/* --- trouble ------------------------------------------------------------ */

static void stream_does_not_wait_without_a_deadline(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f;

	(void)state;
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EAGAIN);
	(void)capture_source_close(s);
}

static void stream_times_out_when_the_camera_is_stuck(void **state)
{
	struct capture_source *s = open_on();
	uint64_t deadline_ns = soon();
	struct capture_frame *f;

	(void)state;
	camera->hang = true;
	assert_int_equal(capture_source_dequeue(s, deadline_ns, &f),
			 -ETIMEDOUT);
	assert_true(sys_now_ns(sys_fault(), CLOCK_MONOTONIC) >= deadline_ns);
	camera->hang = false; /* and it goes on when the camera does */
	(void)capture_frame_unref(next(s));
	(void)capture_source_close(s);
}

static void stream_refuses_a_buffer_that_it_never_queued(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f;

	(void)state;
	camera->bad_index = 1;
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -EPROTO);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -EIO);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	(void)capture_frame_unref(next(s));
	(void)capture_source_close(s);
}

static void stream_refuses_a_buffer_that_is_already_out(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *held = next(s);
	struct capture_frame *f;

	(void)state;
	camera->same_index = 1;
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -EPROTO);
	(void)capture_frame_unref(held);
	(void)capture_source_close(s);
}

static void stream_says_when_the_camera_is_unplugged(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *held = next(s);
	struct capture_frame *f;

	(void)state;
	camera->unplugged = true;
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENODEV);
	(void)capture_frame_unref(held);
	(void)capture_source_close(s);
}

static void stream_queues_a_refused_buffer_again_later(void **state)
{
	struct capture_source *s = open_on();
	struct capture_frame *f = next(s);

	(void)state;
	camera->refuse_qbuf = 1;
	(void)capture_frame_unref(f);
	assert_int_equal(stats_of(s).requeue_errors, 1);
	assert_int_equal(fake_v4l2_queued(camera), 3);
	(void)capture_frame_unref(next(s));
	assert_int_equal(fake_v4l2_queued(camera), 4);
	(void)capture_source_close(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(stream_takes_the_first_format_there_is),
		CASE(stream_keeps_the_nodes_format_when_none_is_asked),
		CASE(stream_says_why_it_cannot_open),
		CASE(stream_prefers_an_imported_arena),
		CASE(stream_falls_back_when_a_rung_is_missing),
		CASE(stream_takes_no_other_rung_than_the_one_asked),
		CASE(stream_frame_says_what_and_when_it_is),
		CASE(stream_works_with_planes_of_their_own),
		CASE(stream_gives_buffer_back_at_the_last_unref),
		CASE(stream_says_when_all_frames_are_out),
		CASE(stream_frame_outlives_its_stream),
		CASE(stream_stop_cancels_and_start_queues_all_again),
		CASE(stream_returns_damaged_and_short_frames_and_counts),
		CASE(stream_counts_gaps_in_the_sequence),
		CASE(stream_does_not_wait_without_a_deadline),
		CASE(stream_times_out_when_the_camera_is_stuck),
		CASE(stream_refuses_a_buffer_that_it_never_queued),
		CASE(stream_refuses_a_buffer_that_is_already_out),
		CASE(stream_says_when_the_camera_is_unplugged),
		CASE(stream_queues_a_refused_buffer_again_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
