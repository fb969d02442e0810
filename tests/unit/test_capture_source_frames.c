/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a V4L2 source under a slow user and a driver that lies: copies,
 * drops, stamps and sequences; radios, metadata and dma-heaps.
 */
#include <errno.h>
#include <string.h>

#include "support/source_rig.h"

/* --- a slow user -------------------------------------------------------- */

static void borrow_copies_when_too_many_frames_are_out(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f[4];
	int i;

	(void)state;
	assert_int_equal(source_rig_stats(s).borrow_max, 2);
	assert_int_equal(source_rig_stats(s).copy_count, 2);
	for (i = 0; i < 4; i++)
		f[i] = source_rig_next(s);
	assert_int_equal(f[1]->flags & CAPTURE_FRAME_COPY, 0);
	assert_int_equal(f[2]->flags & CAPTURE_FRAME_COPY, CAPTURE_FRAME_COPY);
	assert_int_equal(f[3]->flags & CAPTURE_FRAME_COPY, CAPTURE_FRAME_COPY);
	/* The device keeps the other two. */
	assert_int_equal(fake_v4l2_queued(source_rig_camera), 2);
	for (i = 0; i < 4; i++) {
		assert_int_equal(f[i]->sequence, i);
		assert_int_equal(f[i]->track_id, 3);
		assert_int_equal(f[i]->fourcc, CAPTURE_FORMAT_YU12);
		assert_int_equal(f[i]->width, 64);
		assert_int_equal(f[i]->planes[0].stride, 64);
		assert_int_equal(f[i]->planes[0].bytesused, SOURCE_RIG_BYTES);
		assert_int_equal(f[i]->planes[0].map[0],
				 fake_v4l2_pixel((uint32_t)i));
		assert_int_equal(f[i]->planes[0].map[SOURCE_RIG_BYTES - 1],
				 fake_v4l2_pixel((uint32_t)i));
		assert_true(f[i]->planes[0].dmabuf_fd >= 0);
	}
	assert_int_equal(source_rig_stats(s).copies, 2);
	assert_int_equal(source_rig_stats(s).bytes_touched,
			 2 * 2 * SOURCE_RIG_BYTES);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	assert_int_equal(fake_v4l2_queued(source_rig_camera), 4);
	(void)capture_source_close(s);
}

static void borrow_drops_when_all_copies_are_out_too(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		f[i] = source_rig_next(s);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOBUFS);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOBUFS);
	assert_int_equal(source_rig_stats(s).frames_dropped, 2);
	assert_int_equal(source_rig_stats(s).frames_lost, 0);
	/* Dropped, not kept: the device never starves. */
	assert_int_equal(fake_v4l2_queued(source_rig_camera), 2);
	(void)capture_frame_unref(f[3]);
	f[3] = source_rig_next(s);
	assert_int_equal(f[3]->sequence, 6);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	(void)capture_source_close(s);
}

static void borrow_of_all_buffers_makes_no_copies(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_frame *f[4];
	struct capture_source *s;
	int i;

	(void)state;
	config.borrow_max = 32;
	s = source_rig_open_on(&config);
	assert_int_equal(source_rig_stats(s).copy_count, 0);
	for (i = 0; i < 4; i++)
		f[i] = source_rig_next(s);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOBUFS);
	assert_int_equal(source_rig_stats(s).copies, 0);
	assert_int_equal(source_rig_stats(s).frames_dropped, 0);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	(void)capture_source_close(s);
}

static void borrow_leaves_what_the_driver_needs(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;

	(void)state;
	source_rig_camera->settings.min_buffers = 3;
	s = source_rig_open(&config);
	assert_int_equal(source_rig_stats(s).borrow_max, 1);
	assert_int_equal(source_rig_stats(s).copy_count, 3);
	(void)capture_source_close(s);
	source_rig_camera->settings.min_buffers = 9;
	s = source_rig_open(&config);
	assert_int_equal(source_rig_stats(s).borrow_max, 1);
	(void)capture_source_close(s);
}

static void copies_of_many_planes_and_outliving_the_source(void **state)
{
	static const uint32_t ym12[] = {CAPTURE_FORMAT_YM12};
	struct capture_source_config config = source_rig_config();
	struct capture_frame *lent;
	struct capture_frame *copy;
	struct capture_source *s;

	(void)state;
	source_rig_camera->mplane = true;
	config.fourccs = ym12;
	config.borrow_max = 1;
	s = source_rig_open_on(&config);
	lent = source_rig_next(s);
	copy = source_rig_next(s);
	(void)capture_source_close(s);
	assert_int_equal(copy->flags & CAPTURE_FRAME_COPY, CAPTURE_FRAME_COPY);
	assert_int_equal(copy->plane_count, 3);
	assert_int_equal(copy->planes[2].bytesused, 64 * 48 / 4);
	assert_int_equal(copy->planes[2].map[64 * 48 / 4 - 1],
			 fake_v4l2_pixel(1));
	(void)capture_frame_unref(lent);
	assert_int_equal(copy->planes[1].map[0], fake_v4l2_pixel(1));
	(void)capture_frame_unref(copy);
}

/* --- the first frames --------------------------------------------------- */

static void skip_first_leaves_frames_out_after_each_start(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_frame *f;
	struct capture_source *s;

	(void)state;
	config.skip_first = 5; /* more than there are buffers */
	s = source_rig_open_on(&config);
	f = source_rig_next(s);
	assert_int_equal(f->sequence, 5);
	(void)capture_frame_unref(f);
	assert_int_equal(source_rig_stats(s).frames_skipped, 5);
	assert_int_equal(source_rig_stats(s).frames, 1);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	(void)capture_frame_unref(source_rig_next(s));
	assert_int_equal(source_rig_stats(s).frames_skipped, 10);
	(void)capture_source_close(s);
}

static void frames_of_before_the_start_are_left_out(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open(&config);
	struct capture_frame *f;

	(void)state;
	source_rig_camera->old_frames = 3;
	assert_int_equal(capture_source_start(s), 0);
	f = source_rig_next(s);
	assert_int_equal(f->sequence, 3);
	assert_int_equal(f->flags & CAPTURE_FRAME_STAMPED, 0);
	assert_int_equal(source_rig_stats(s).frames_stale, 3);
	assert_int_equal(source_rig_stats(s).stamps_bad, 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void a_clock_that_is_behind_does_not_hold_back_all_frames(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open(&config);
	struct capture_frame *f;
	uint64_t last_ns = 0;
	int i;

	(void)state;
	source_rig_camera->old_frames = 1000;
	assert_int_equal(capture_source_start(s), 0);
	for (i = 0; i < 3; i++) {
		f = source_rig_next(s);
		assert_int_equal(f->flags & CAPTURE_FRAME_STAMPED,
				 CAPTURE_FRAME_STAMPED);
		assert_int_equal(f->clock, CAPTURE_CLOCK_MONOTONIC);
		assert_int_equal(f->point, CAPTURE_POINT_ARRIVAL);
		assert_true(f->stamp_ns > last_ns);
		assert_int_equal(f->stamp_ns,
				 sys_now_ns(sys_fault(), CLOCK_MONOTONIC));
		last_ns = f->stamp_ns;
		(void)capture_frame_unref(f);
	}
	assert_int_equal(source_rig_stats(s).frames_stale, 4);
	assert_int_equal(source_rig_stats(s).stamps_bad, 3);
	(void)capture_source_close(s);
}

/* --- stamps and sequences ----------------------------------------------- */

/* A good frame, one with a lie, a good one: what the second is stamped. */
static void check_lie(unsigned int *lie, uint64_t *backward, uint64_t *bad)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *first = source_rig_next(s);
	struct capture_frame *second;
	struct capture_frame *third;

	*lie = 1;
	second = source_rig_next(s);
	assert_int_equal(*lie, 0);
	assert_int_equal(second->flags & CAPTURE_FRAME_STAMPED,
			 CAPTURE_FRAME_STAMPED);
	assert_int_equal(second->point, CAPTURE_POINT_ARRIVAL);
	assert_int_equal(second->clock, CAPTURE_CLOCK_MONOTONIC);
	assert_true(second->stamp_ns > first->stamp_ns);
	assert_true(second->stamp_ns <=
		    sys_now_ns(sys_fault(), CLOCK_MONOTONIC));
	(void)capture_frame_unref(first);
	third = source_rig_next(s);
	assert_int_equal(third->flags & CAPTURE_FRAME_STAMPED, 0);
	assert_int_equal(third->point, CAPTURE_POINT_START_OF_EXPOSURE);
	assert_true(third->stamp_ns > second->stamp_ns);
	(void)capture_frame_unref(second);
	(void)capture_frame_unref(third);
	*backward = source_rig_stats(s).stamps_backward;
	*bad = source_rig_stats(s).stamps_bad;
	assert_int_equal(source_rig_stats(s).frames, 3);
	(void)capture_source_close(s);
}

static void stamps_that_cannot_be_are_replaced_and_counted(void **state)
{
	uint64_t backward;
	uint64_t bad;

	(void)state;
	check_lie(&source_rig_camera->zero_stamps, &backward, &bad);
	assert_int_equal(bad, 1);
	check_lie(&source_rig_camera->odd_stamps, &backward, &bad);
	assert_int_equal(bad, 1);
	check_lie(&source_rig_camera->future_stamps, &backward, &bad);
	assert_int_equal(bad, 1);
	assert_int_equal(backward, 0);
}

static void stamps_that_step_back_are_replaced_and_counted(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f;
	uint64_t last_ns = 0;
	int i;

	(void)state;
	/* Long enough that half a second back is after the start. */
	for (i = 0; i < 30; i++) {
		source_rig_camera->back_stamps = i == 20 || i == 21;
		f = source_rig_next(s);
		assert_int_equal(!(f->flags & CAPTURE_FRAME_STAMPED),
				 i != 20 && i != 21);
		assert_true(f->stamp_ns > last_ns);
		last_ns = f->stamp_ns;
		(void)capture_frame_unref(f);
	}
	assert_int_equal(source_rig_stats(s).stamps_backward, 2);
	assert_int_equal(source_rig_stats(s).stamps_bad, 0);
	(void)capture_source_close(s);
}

static void sequences_that_step_back_or_stand_are_counted_on(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f;
	uint32_t i;

	(void)state;
	for (i = 0; i < 6; i++) {
		/* The driver says 0, 1, 2, 2, 3, -996. */
		source_rig_camera->same_sequences = i == 2;
		source_rig_camera->back_sequences = i == 5;
		f = source_rig_next(s);
		assert_int_equal(f->sequence, i);
		(void)capture_frame_unref(f);
	}
	/* One stood still, one went back. */
	assert_int_equal(source_rig_stats(s).sequence_errors, 2);
	assert_int_equal(source_rig_stats(s).frames_lost, 0);
	(void)capture_source_close(s);
}

/* Time passes for all devices. */
static void pass(uint64_t frames)
{
	(void)fake_v4l2_ops()->poll(
		NULL, 0, (int)(frames * FAKE_V4L2_FRAME_NS / 1000000));
}

static void frames_lost_without_a_buffer_are_told_apart(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;
	struct capture_frame *f[4];
	int i;

	(void)state;
	config.borrow_max = 32;
	s = source_rig_open_on(&config);
	for (i = 0; i < 4; i++)
		f[i] = source_rig_next(s);
	/* All buffers are out for three frames, then one comes back. */
	pass(3);
	(void)capture_frame_unref(f[0]);
	source_rig_camera->lost_frames = 3;
	f[0] = source_rig_next(s);
	assert_int_equal(source_rig_stats(s).frames_lost, 3);
	assert_int_equal(source_rig_stats(s).frames_starved, 3);
	/* Two of five are over when it comes back. */
	pass(2);
	(void)capture_frame_unref(f[0]);
	pass(3);
	source_rig_camera->lost_frames = 5;
	f[0] = source_rig_next(s);
	assert_int_equal(source_rig_stats(s).frames_lost, 8);
	assert_int_equal(source_rig_stats(s).frames_starved, 5);
	for (i = 0; i < 4; i++)
		(void)capture_frame_unref(f[i]);
	(void)capture_frame_unref(source_rig_next(s));
	/* It has buffers: what it loses now is its own affair. */
	pass(3);
	source_rig_camera->lost_frames = 3;
	(void)capture_frame_unref(source_rig_next(s));
	assert_int_equal(source_rig_stats(s).frames_lost, 11);
	assert_int_equal(source_rig_stats(s).frames_starved, 5);
	/* A stamp that says nothing tells nothing. */
	source_rig_camera->zero_stamps = 1;
	source_rig_camera->lost_frames = 2;
	(void)capture_frame_unref(source_rig_next(s));
	assert_int_equal(source_rig_stats(s).frames_lost, 13);
	assert_int_equal(source_rig_stats(s).frames_starved, 5);
	(void)capture_source_close(s);
}

static void epoch_rises_with_each_start(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);
	struct capture_frame *f = source_rig_next(s);

	(void)state;
	assert_int_equal(f->epoch, 0);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	f = source_rig_next(s);
	assert_int_equal(f->epoch, 1);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

/* --- sizes -------------------------------------------------------------- */

static void a_payload_outside_its_plane_is_damage(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	source_rig_camera->mplane = true;
	s = source_rig_open_on(&config);
	source_rig_camera->far_frames = 2;
	f = source_rig_next(s);
	assert_int_equal(f->sequence, 2);
	assert_int_equal(f->planes[0].offset, 0);
	(void)capture_frame_unref(f);
	assert_int_equal(source_rig_stats(s).frames_error, 2);
	assert_int_equal(fake_v4l2_queued(source_rig_camera), 4);
	(void)capture_source_close(s);
}

/* --- dma-heaps ---------------------------------------------------------- */

static void heap_memory_is_taken_when_the_drivers_is_no_good(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	fake_v4l2_udmabuf(false);
	fake_v4l2_heap(true);
	s = source_rig_open(&config);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	(void)capture_source_close(s);
	source_rig_camera->no_export = true;
	s = source_rig_open_on(&config);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S4);
	assert_null(capture_source_arena(s));
	f = source_rig_next(s);
	assert_int_equal(f->planes[0].map[SOURCE_RIG_BYTES - 1],
			 fake_v4l2_pixel(0));
	assert_true(f->planes[0].dmabuf_fd >= 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void heap_rung_is_refused_where_it_cannot_be_had(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;

	(void)state;
	config.rung = CAPTURE_RUNG_S4;
	assert_int_equal(source_rig_refused(&config), -EOPNOTSUPP);
	fake_v4l2_heap(true);
	source_rig_camera->import_faults = true;
	assert_int_equal(source_rig_refused(&config), -EOPNOTSUPP);
	source_rig_camera->import_faults = false;
	s = source_rig_open(&config);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S4);
	(void)capture_source_close(s);
}

/* --- radios and metadata ------------------------------------------------ */

static struct capture_source_config data_config(enum fake_v4l2_kind kind)
{
	struct capture_source_config config = {.path = "/dev/video1"};

	(void)fake_v4l2_add(kind);
	return config;
}

static void radio_gives_samples(void **state)
{
	struct capture_source_config config = data_config(FAKE_RADIO);
	const struct capture_format *format;
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	s = source_rig_open_on(&config);
	format = capture_source_format(s);
	assert_int_equal(format->media, CAPTURE_MEDIA_SAMPLES);
	assert_int_equal(format->fourcc, CAPTURE_FOURCC('C', 'U', '0', '8'));
	assert_int_equal(format->sample_bytes, 2);
	assert_int_equal(format->channels, 2);
	assert_int_equal(format->sample_rate, 300000);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S1);
	f = source_rig_next(s);
	assert_int_equal(f->plane_count, 1);
	assert_int_equal(f->planes[0].bytesused, 1024);
	assert_int_equal(f->planes[0].map[1023], fake_v4l2_pixel(0));
	assert_int_equal(f->width, 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void radio_takes_a_sample_rate_and_gives_it_back(void **state)
{
	struct capture_source_config config = data_config(FAKE_RADIO);
	struct capture_source *s;

	(void)state;
	config.sample_rate = 2400000;
	s = source_rig_open(&config);
	assert_int_equal(capture_source_format(s)->sample_rate, 2400000);
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	config.sample_rate = 0;
	s = source_rig_open(&config);
	assert_int_equal(capture_source_format(s)->sample_rate, 300000);
	(void)capture_source_close(s);
	config.sample_rate = 4000000;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	config.sample_rate = 0;
	config.channels = 1;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	config.channels = 2;
	config.frame_samples = 512;
	s = source_rig_open(&config);
	(void)capture_source_close(s);
	config.frame_samples = 100;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
}

static void metadata_gives_records(void **state)
{
	static const uint32_t uvch[] = {CAPTURE_FOURCC('U', 'V', 'C', 'H')};
	struct capture_source_config config = data_config(FAKE_METADATA);
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	config.fourccs = uvch;
	config.fourcc_count = 1;
	s = source_rig_open_on(&config);
	assert_int_equal(capture_source_format(s)->media, CAPTURE_MEDIA_RECORD);
	f = source_rig_next(s);
	assert_int_equal(f->fourcc, uvch[0]);
	assert_int_equal(f->planes[0].bytesused, 1024);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
	config.width = 64;
	config.height = 48;
	assert_int_equal(source_rig_refused(&config), -EINVAL);
	config = source_rig_config();
	config.path = "/dev/video1";
	config.width = 0;
	config.height = 0;
	assert_int_equal(source_rig_refused(&config), -EPROTONOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_RIG_CASE(borrow_copies_when_too_many_frames_are_out),
		SOURCE_RIG_CASE(borrow_drops_when_all_copies_are_out_too),
		SOURCE_RIG_CASE(borrow_of_all_buffers_makes_no_copies),
		SOURCE_RIG_CASE(borrow_leaves_what_the_driver_needs),
		SOURCE_RIG_CASE(copies_of_many_planes_and_outliving_the_source),
		SOURCE_RIG_CASE(skip_first_leaves_frames_out_after_each_start),
		SOURCE_RIG_CASE(frames_of_before_the_start_are_left_out),
		SOURCE_RIG_CASE(
			a_clock_that_is_behind_does_not_hold_back_all_frames),
		SOURCE_RIG_CASE(stamps_that_cannot_be_are_replaced_and_counted),
		SOURCE_RIG_CASE(stamps_that_step_back_are_replaced_and_counted),
		SOURCE_RIG_CASE(
			sequences_that_step_back_or_stand_are_counted_on),
		SOURCE_RIG_CASE(frames_lost_without_a_buffer_are_told_apart),
		SOURCE_RIG_CASE(epoch_rises_with_each_start),
		SOURCE_RIG_CASE(a_payload_outside_its_plane_is_damage),
		SOURCE_RIG_CASE(
			heap_memory_is_taken_when_the_drivers_is_no_good),
		SOURCE_RIG_CASE(heap_rung_is_refused_where_it_cannot_be_had),
		SOURCE_RIG_CASE(radio_gives_samples),
		SOURCE_RIG_CASE(radio_takes_a_sample_rate_and_gives_it_back),
		SOURCE_RIG_CASE(metadata_gives_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
