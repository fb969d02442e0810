/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S2 under a driver that writes by CPU where the kernel maps huge pages
 * wrongly for that: found out before a frame is given, told, and not tried
 * again; while drivers that write as they should keep S2.
 */
#include <errno.h>
#include <string.h>

#include <linux/dma-buf.h>

#include "src/queue.h"
#include "src/queue_canary.h"
#include "support/source_rig.h"

#define YU12_BYTES (128 * 96 * 3 / 2)
#define DATA_BYTES 16384u

static unsigned int syncs;

static int counted_ioctl(int fd, unsigned long request, void *arg)
{
	if (request == DMA_BUF_IOCTL_SYNC) {
		syncs++;
		return 0;
	}
	return fake_v4l2_ops()->ioctl(fd, request, arg);
}

static int setup(void **state)
{
	static struct sys_ops ops;
	int r = source_rig_setup(state);

	ops = *fake_v4l2_ops();
	ops.ioctl = counted_ioctl;
	sys_fault_wrap(&ops);
	syncs = 0;
	queue_canary_forget();
	fake_v4l2_huge_pages(true);
	source_rig_camera->contiguous = true;
	return r;
}

static int teardown(void **state)
{
	queue_assume_sync(false);
	queue_canary_forget();
	return source_rig_teardown(state);
}

static struct capture_source_config config_of(enum capture_rung rung)
{
	struct capture_source_config config = source_rig_config();

	config.width = 128;
	config.height = 96;
	config.rung = rung;
	return config;
}

static struct capture_source *open_on(enum capture_rung rung)
{
	struct capture_source_config config = config_of(rung);

	return source_rig_open_on(&config);
}

/* Each byte of a frame is its sequence's. */
static void check_frame(const struct capture_frame *f, uint32_t sequence)
{
	uint32_t p;
	uint32_t i;

	assert_int_equal(f->sequence, sequence);
	for (p = 0; p < f->plane_count; p++) {
		for (i = 0; i < f->planes[p].bytesused; i++)
			assert_int_equal(f->planes[p].map[i],
					 fake_v4l2_pixel(sequence));
	}
}

static void check_next(struct capture_source *s, uint32_t sequence,
		       uint32_t bytes)
{
	struct capture_frame *f = source_rig_next(s);

	assert_int_equal(f->planes[0].bytesused, bytes);
	check_frame(f, sequence);
	(void)capture_frame_unref(f);
}

/* --- drivers that write as they should ---------------------------------- */

static void sound_memory_is_kept(void **state)
{
	struct capture_source *s = open_on(CAPTURE_RUNG_AUTO);
	uint32_t i;

	(void)state;
	for (i = 0; i < 10; i++)
		check_next(s, i, YU12_BYTES);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S2);
	assert_int_equal(source_rig_stats(s).s2_given_up, 0);
	(void)capture_source_close(s);
}

static void each_buffer_is_looked_at_once(void **state)
{
	struct capture_source_config config = config_of(CAPTURE_RUNG_S2);
	struct capture_source *s;
	unsigned int before;
	uint32_t i;

	(void)state;
	queue_assume_sync(true);
	config.buffer_count = 3;
	s = source_rig_open_on(&config);
	/* Written once in each: begin, end. */
	assert_int_equal(syncs, 3 * 2);
	for (i = 0; i < 3; i++)
		check_next(s, i, YU12_BYTES);
	/* Looked at, then cleared where the driver may have left it. */
	assert_int_equal(syncs, 3 * 2 + 3 * 4);
	before = syncs;
	for (i = 3; i < 9; i++)
		check_next(s, i, YU12_BYTES);
	assert_int_equal(syncs, before);
	(void)capture_source_close(s);
}

/* A picture of a page or less is right in any case: no canary is in it. */
static void small_pictures_need_none(void **state)
{
	struct capture_source_config config = {.path = "/dev/video1"};
	struct capture_source *s;

	(void)state;
	fake_v4l2_add(FAKE_RADIO)->writes_heads = true;
	queue_assume_sync(true);
	config.rung = CAPTURE_RUNG_S2;
	s = source_rig_open_on(&config);
	syncs = 0;
	check_next(s, 0, 1024);
	assert_int_equal(syncs, 0);
	(void)capture_source_close(s);
}

/* --- a driver that does not --------------------------------------------- */

static void wrong_memory_is_left_before_a_frame_is_given(void **state)
{
	struct capture_source *s;
	uint32_t i;

	(void)state;
	source_rig_camera->writes_heads = true;
	s = open_on(CAPTURE_RUNG_AUTO);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S2);
	/* The first went into memory that is not there; the device counts on. */
	for (i = 1; i < 10; i++)
		check_next(s, i, YU12_BYTES);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	assert_int_equal(source_rig_stats(s).s2_given_up, 1);
	assert_int_equal(source_rig_stats(s).frames, 9);
	assert_null(capture_source_arena(s));
	(void)capture_source_close(s);
}

static void wrong_memory_is_not_tried_again(void **state)
{
	struct capture_source *s;
	unsigned int imports;

	(void)state;
	source_rig_camera->writes_heads = true;
	s = open_on(CAPTURE_RUNG_AUTO);
	check_next(s, 1, YU12_BYTES);
	(void)capture_source_close(s);
	imports = source_rig_camera->imports;
	s = open_on(CAPTURE_RUNG_AUTO);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	assert_int_equal(source_rig_stats(s).s2_given_up, 1);
	assert_int_equal(source_rig_camera->imports, imports);
	check_next(s, 0, YU12_BYTES);
	(void)capture_source_close(s);
}

static void wrong_memory_is_left_by_the_first_whole_frame(void **state)
{
	struct capture_source_config config = config_of(CAPTURE_RUNG_AUTO);
	struct capture_source *s;

	(void)state;
	source_rig_camera->writes_heads = true;
	source_rig_camera->short_frames = 1;
	source_rig_camera->error_frames = 2;
	config.skip_first = 1;
	s = source_rig_open_on(&config);
	/* 0 and 1 tell nothing, 2 is skipped, 3 tells; and anew 4 is skipped. */
	check_next(s, 5, YU12_BYTES);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	(void)capture_source_close(s);
}

static void wrong_memory_is_seen_with_planes_of_their_own(void **state)
{
	static const uint32_t ym12[] = {CAPTURE_FORMAT_YM12};
	struct capture_source_config config = config_of(CAPTURE_RUNG_AUTO);
	struct capture_source *s;

	(void)state;
	source_rig_camera->mplane = true;
	config.fourccs = ym12;
	s = source_rig_open_on(&config);
	check_next(s, 0, 128 * 96);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S2);
	(void)capture_source_close(s);
	source_rig_camera->writes_heads = true;
	s = source_rig_open_on(&config);
	check_next(s, 1, 128 * 96);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	(void)capture_source_close(s);
}

/* Nothing is given, and the device is as it was without that memory. */
static void wrong_memory_is_left_when_it_is_the_only_one_asked(void **state)
{
	struct capture_source_config config = config_of(CAPTURE_RUNG_S2);
	struct capture_source *s;

	(void)state;
	source_rig_camera->writes_heads = true;
	s = source_rig_open_on(&config);
	assert_int_equal(source_rig_dequeue_fails(s), -EOPNOTSUPP);
	assert_int_equal(source_rig_dequeue_fails(s), -EIO);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), -EOPNOTSUPP);
	(void)capture_source_close(s);
	assert_int_equal(source_rig_refused(&config), -EOPNOTSUPP);
}

/* --- data of any length ------------------------------------------------- */

static struct capture_source *open_radio(struct fake_v4l2 **ret_radio)
{
	struct capture_source_config config = {.path = "/dev/video1"};
	struct fake_v4l2 *radio = fake_v4l2_add(FAKE_RADIO);

	radio->contiguous = true;
	radio->data_bytes = DATA_BYTES;
	radio->writes_heads = true;
	radio->payload = 4096;
	*ret_radio = radio;
	return source_rig_open_on(&config);
}

static void short_frames_tell_nothing_yet(void **state)
{
	struct fake_v4l2 *radio;
	struct capture_source *s = open_radio(&radio);
	uint32_t i;

	(void)state;
	for (i = 0; i < 9; i++)
		check_next(s, i, 4096);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S2);
	/* It ends inside the canary. */
	radio->payload = 4102;
	check_next(s, 10, 4102);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	radio->payload = 0;
	check_next(s, 11, DATA_BYTES);
	(void)capture_source_close(s);
}

static void frames_that_are_out_keep_their_memory(void **state)
{
	struct fake_v4l2 *radio;
	struct capture_source *s = open_radio(&radio);
	struct capture_frame *out = source_rig_next(s);

	(void)state;
	radio->payload = 8192;
	assert_int_equal(source_rig_dequeue_fails(s), -EIO);
	check_frame(out, 0);
	(void)capture_frame_unref(out);
	/* It can be started again, and nothing wrong is given then either. */
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_start(s), 0);
	check_next(s, 3, 8192);
	assert_int_equal(source_rig_stats(s).rung, CAPTURE_RUNG_S3);
	(void)capture_source_close(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sound_memory_is_kept),
		CASE(each_buffer_is_looked_at_once),
		CASE(small_pictures_need_none),
		CASE(wrong_memory_is_left_before_a_frame_is_given),
		CASE(wrong_memory_is_not_tried_again),
		CASE(wrong_memory_is_left_by_the_first_whole_frame),
		CASE(wrong_memory_is_seen_with_planes_of_their_own),
		CASE(wrong_memory_is_left_when_it_is_the_only_one_asked),
		CASE(short_frames_tell_nothing_yet),
		CASE(frames_that_are_out_keep_their_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
