/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/thermal.h>

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "src/frame_pool.h"
#include "support/sys_fault.h"

#define WIDTH 40u
#define HEIGHT 20u
#define STRIDE 96u /* wider than the lines */

static struct frame_pool *pool;
static struct capture_format source;
static struct capture_thermal_config config;
static struct capture_thermal_view *view;

/* Frames of WIDTH x @height pixels. */
static void new_source(uint32_t fourcc, uint32_t width, uint32_t height)
{
	struct capture_source_config c = {
		.buffer_count = 6, .rung = CAPTURE_RUNG_S5, .track_id = 9};

	source = (struct capture_format){
		.fourcc = fourcc,
		.width = width,
		.height = height,
		.plane_count = 1,
		.stride = {STRIDE},
		.size = {STRIDE * height},
		.rate_num = 9,
		.rate_den = 1,
	};
	frame_pool_close(pool);
	assert_int_equal(frame_pool_new(sys_fault(), &source, &c, &pool), 0);
}

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	pool = NULL;
	view = NULL;
	capture_thermal_config_init(&config);
	new_source(CAPTURE_FORMAT_Y16, WIDTH, HEIGHT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	view = capture_thermal_view_free(view);
	frame_pool_close(pool);
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static void new_view(void)
{
	view = capture_thermal_view_free(view);
	assert_int_equal(capture_thermal_view_new(sys_fault(), &source, &config,
						  &view),
			 0);
}

static struct capture_frame *new_frame(void)
{
	static uint32_t sequence;
	struct capture_frame *f = frame_pool_take(pool);

	assert_non_null(f);
	f->sequence = ++sequence;
	return f;
}

static void put(struct capture_frame *f, uint32_t x, uint32_t y, uint16_t count)
{
	store_le16(frame_pool_data(f, 0) + y * STRIDE + (size_t)2 * x, count);
}

static void fill(struct capture_frame *f, uint16_t first, uint16_t step)
{
	uint32_t x;
	uint32_t y;

	/* What lies beyond the lines' ends is no picture. */
	memset(frame_pool_data(f, 0), 0xee, source.size[0]);
	for (y = 0; y < source.height; y++) {
		for (x = 0; x < source.width; x++)
			put(f, x, y, (uint16_t)(first + x * step));
	}
}

static void same_point(const struct capture_thermal_point *a,
		       const struct capture_thermal_point *b)
{
	assert_int_equal(a->x, b->x);
	assert_int_equal(a->y, b->y);
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->temperature_mk, b->temperature_mk);
}

/* A frame measures the same alone as through the view that it was put in. */
static void measured_alike(struct capture_frame *f)
{
	struct capture_thermal_reading seen;
	struct capture_thermal_reading alone;
	int r = capture_thermal_view_read(view, &seen);

	assert_int_equal(capture_thermal_measure(sys_fault(), &source, &config,
						 f, &alone),
			 r);
	if (r < 0)
		return;
	assert_int_equal(alone.sequence, seen.sequence);
	assert_int_equal(alone.epoch, seen.epoch);
	assert_int_equal(alone.stamp_ns, seen.stamp_ns);
	assert_int_equal(alone.clock, seen.clock);
	assert_int_equal(alone.radiometric, seen.radiometric);
	assert_int_equal(alone.mean, seen.mean);
	assert_int_equal(alone.mean_mk, seen.mean_mk);
	same_point(&alone.coldest, &seen.coldest);
	same_point(&alone.hottest, &seen.hottest);
	same_point(&alone.spot, &seen.spot);
}

/* Takes @f's reference and gives the view's. */
static struct capture_frame *apply(struct capture_frame *f)
{
	struct capture_frame *out;

	assert_int_equal(capture_thermal_view_apply(view, f, &out), 0);
	measured_alike(f);
	(void)capture_frame_unref(f);
	return out;
}

static void apply_one(struct capture_frame *f)
{
	(void)capture_frame_unref(apply(f));
}

static struct capture_thermal_stats stats_of(void)
{
	struct capture_thermal_stats stats;

	capture_thermal_view_stats(view, &stats);
	return stats;
}

static const uint8_t *luma(const struct capture_frame *f, uint32_t y)
{
	return f->planes[0].map + (size_t)y * f->planes[0].stride;
}

/* --- what the view is --------------------------------------------------- */

static void view_is_monotone_in_white_hot(void **state)
{
	struct capture_frame *out;
	uint32_t x;
	uint32_t y;

	(void)state;
	config.clip_permille = 0;
	new_view();
	out = new_frame();
	fill(out, 1000, 100);
	out = apply(out);
	assert_int_equal(out->fourcc, CAPTURE_FORMAT_YU12);
	assert_int_equal(out->width, WIDTH);
	assert_int_equal(out->height, HEIGHT);
	assert_int_equal(out->planes[0].bytesused, WIDTH * HEIGHT * 3 / 2);
	for (y = 0; y < HEIGHT; y++) {
		assert_int_equal(luma(out, y)[0], 16);
		assert_int_equal(luma(out, y)[WIDTH - 1], 235);
		for (x = 1; x < WIDTH; x++)
			assert_true(luma(out, y)[x] > luma(out, y)[x - 1]);
	}
	for (x = 0; x < WIDTH * HEIGHT / 2; x++)
		assert_int_equal(luma(out, HEIGHT)[x], 128);
	(void)capture_frame_unref(out);
	assert_int_equal(stats_of().shown_min, 1000);
	assert_int_equal(stats_of().shown_max, 1000 + (WIDTH - 1) * 100);
	assert_true(stats_of().rung == CAPTURE_RUNG_S1 ||
		    stats_of().rung == CAPTURE_RUNG_S5);
}

static void view_carries_what_the_frame_was(void **state)
{
	struct capture_frame *f = new_frame();
	struct capture_frame *out;
	uint32_t sequence = f->sequence;

	(void)state;
	new_view();
	fill(f, 1000, 1);
	f->track_id = 5;
	f->stamp_ns = 123456789;
	f->clock = CAPTURE_CLOCK_MONOTONIC;
	f->point = CAPTURE_POINT_START_OF_EXPOSURE;
	f->epoch = 3;
	f->device_ticks = 77;
	f->device_hz = 1000;
	f->flags = CAPTURE_FRAME_ERROR;
	out = apply(f);
	assert_int_equal(out->track_id, 5);
	assert_int_equal(out->sequence, sequence);
	assert_int_equal(out->stamp_ns, 123456789);
	assert_int_equal(out->clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(out->point, CAPTURE_POINT_START_OF_EXPOSURE);
	assert_int_equal(out->epoch, 3);
	assert_int_equal(out->device_ticks, 77);
	assert_int_equal(out->device_hz, 1000);
	assert_int_equal(out->flags, CAPTURE_FRAME_ERROR);
	(void)capture_frame_unref(out);
}

static void view_has_even_sides(void **state)
{
	const struct capture_format *format;
	struct capture_frame *out;
	uint32_t y;

	(void)state;
	new_source(CAPTURE_FORMAT_Y16, 7, 5);
	config.clip_permille = 0;
	config.palette = CAPTURE_PALETTE_RAINBOW;
	new_view();
	format = capture_thermal_view_format(view);
	assert_int_equal(format->width, 8);
	assert_int_equal(format->height, 6);
	assert_int_equal(format->size[0], 72);
	assert_int_equal(format->rate_num, 9);
	out = new_frame();
	fill(out, 3000, 500);
	out = apply(out);
	for (y = 0; y < 6; y++)
		assert_int_equal(luma(out, y)[7], luma(out, y)[6]);
	assert_memory_equal(luma(out, 5), luma(out, 4), 8);
	/* Blue to the left, red to the right. */
	assert_true(luma(out, 6)[0] > 150 && luma(out, 6)[3] < 128);
	assert_true(luma(out, 6)[12] < 128 && luma(out, 6)[15] > 200);
	(void)capture_frame_unref(out);
}

static void check_telemetry(bool on_top)
{
	struct capture_frame *out;
	uint32_t x;

	config.telemetry_rows = 3;
	config.telemetry_on_top = on_top;
	config.clip_permille = 0;
	new_view();
	assert_int_equal(capture_thermal_view_format(view)->height, 18);
	out = new_frame();
	fill(out, 1000, 100);
	for (x = 0; x < WIDTH; x++) {
		put(out, x, on_top ? 0 : 17, 65535);
		put(out, x, on_top ? 2 : 19, 0);
	}
	out = apply(out);
	assert_int_equal(stats_of().scene_min, 1000);
	assert_int_equal(stats_of().scene_max, 1000 + (WIDTH - 1) * 100);
	assert_memory_equal(luma(out, 0), luma(out, 16), WIDTH);
	assert_memory_equal(luma(out, 17), luma(out, 16), WIDTH);
	(void)capture_frame_unref(out);
}

static void view_leaves_telemetry_out(void **state)
{
	(void)state;
	check_telemetry(false);
	check_telemetry(true);
}

static void view_of_a_fixed_range_does_not_follow(void **state)
{
	struct capture_frame *out;
	uint32_t x;

	(void)state;
	config.range = CAPTURE_THERMAL_RANGE_FIXED;
	config.min = 1500;
	config.max = 2500;
	new_view();
	out = new_frame();
	fill(out, 1000, 100);
	out = apply(out);
	for (x = 0; x <= 5; x++)
		assert_int_equal(luma(out, 0)[x], 16);
	assert_true(luma(out, 0)[6] > 16 && luma(out, 0)[14] < 235);
	for (x = 15; x < WIDTH; x++)
		assert_int_equal(luma(out, 0)[x], 235);
	(void)capture_frame_unref(out);
	assert_int_equal(stats_of().shown_min, 1500);
	assert_int_equal(stats_of().shown_max, 2500);
}

/* The same scene in every format is the same view. */
static void view_is_the_same_of_every_format(void **state)
{
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_Y16, CAPTURE_FORMAT_Y16_BE, CAPTURE_FORMAT_Y14,
		CAPTURE_FORMAT_Y12, CAPTURE_FORMAT_Y10,
	};
	uint8_t first[WIDTH * HEIGHT * 3 / 2];
	struct capture_frame *out;
	size_t i;
	size_t b;

	(void)state;
	config.palette = CAPTURE_PALETTE_IRON;
	for (i = 0; i < ARRAY_SIZE(fourccs); i++) {
		uint8_t *p;

		new_source(fourccs[i], WIDTH, HEIGHT);
		new_view();
		out = new_frame();
		fill(out, 200, 20);
		p = frame_pool_data(out, 0);
		for (b = 0; b < source.size[0]; b += 2) {
			if (fourccs[i] == CAPTURE_FORMAT_Y16_BE)
				store_be16(p + b, load_le16(p + b));
			else if (fourccs[i] != CAPTURE_FORMAT_Y16)
				p[b + 1] |= 0xc0; /* padding, never zero */
		}
		out = apply(out);
		if (!i)
			memcpy(first, luma(out, 0), sizeof(first));
		assert_memory_equal(luma(out, 0), first, sizeof(first));
		(void)capture_frame_unref(out);
	}
}

/* --- the range ---------------------------------------------------------- */

static void view_of_a_constant_scene_does_not_flicker(void **state)
{
	struct capture_frame *out;
	struct capture_frame *f;
	uint8_t first[WIDTH];
	uint32_t i;

	(void)state;
	new_view();
	out = new_frame();
	fill(out, 1000, 100);
	out = apply(out);
	memcpy(first, luma(out, 0), sizeof(first));
	(void)capture_frame_unref(out);
	for (i = 0; i < 200; i++) {
		f = new_frame();
		fill(f, 1000, 100);
		/* Noise at both ends, and a pixel that glows now and then. */
		put(f, 0, 1, (uint16_t)(1000 - i % 90));
		put(f, WIDTH - 1, 1, (uint16_t)(4900 + i % 90));
		put(f, 3, 3, i % 3 ? 65535 : 0);
		out = apply(f);
		assert_memory_equal(luma(out, 0), first, sizeof(first));
		(void)capture_frame_unref(out);
	}
	assert_int_equal(stats_of().range_moves, 1);
}

static void view_follows_a_scene_that_changed(void **state)
{
	struct capture_frame *f;
	int i;

	(void)state;
	new_view();
	f = new_frame();
	fill(f, 1000, 100);
	apply_one(f);
	for (i = 0; i < 40; i++) {
		f = new_frame();
		fill(f, 20000, 100);
		apply_one(f);
	}
	assert_in_range(stats_of().shown_min, 19800, 20000);
	assert_in_range(stats_of().shown_max, 23700, 24000);
	assert_true(stats_of().range_moves > 5);
	assert_true(stats_of().range_moves < 40);
}

static void view_takes_a_new_epoch_as_it_is(void **state)
{
	struct capture_frame *f;

	(void)state;
	config.clip_permille = 0;
	new_view();
	f = new_frame();
	fill(f, 1000, 100);
	apply_one(f);
	f = new_frame();
	fill(f, 30000, 100);
	f->epoch = 1;
	apply_one(f);
	assert_int_equal(stats_of().shown_min, 30000);
}

static void view_learns_nothing_from_what_was_made_up(void **state)
{
	struct capture_frame *f;

	(void)state;
	config.clip_permille = 0;
	new_view();
	f = new_frame();
	fill(f, 0, 0);
	f->flags = CAPTURE_FRAME_BLANK;
	apply_one(f);
	f = new_frame();
	fill(f, 1000, 100);
	apply_one(f);
	assert_int_equal(stats_of().shown_min, 1000);
	f = new_frame();
	fill(f, 0, 0);
	f->flags = CAPTURE_FRAME_BLANK;
	apply_one(f);
	assert_int_equal(stats_of().shown_min, 1000);
	assert_int_equal(stats_of().shown_max, 4900);
}

/* --- ownership and trouble ---------------------------------------------- */

static void view_frames_are_bounded_and_come_back(void **state)
{
	struct capture_frame *out[CAPTURE_THERMAL_BUFFERS];
	struct capture_frame *f = new_frame();
	struct capture_frame *extra = NULL;
	size_t i;

	(void)state;
	new_view();
	fill(f, 1000, 100);
	for (i = 0; i < ARRAY_SIZE(out); i++)
		assert_int_equal(capture_thermal_view_apply(view, f, &out[i]),
				 0);
	assert_int_equal(capture_thermal_view_apply(view, f, &extra), -ENOBUFS);
	assert_null(extra);
	assert_int_equal(stats_of().frames_refused, 1);
	(void)capture_frame_unref(out[2]);
	assert_int_equal(capture_thermal_view_apply(view, f, &out[2]), 0);
	view = capture_thermal_view_free(view);
	assert_int_equal(luma(out[2], 0)[WIDTH - 1], 235);
	for (i = 0; i < ARRAY_SIZE(out); i++)
		(void)capture_frame_unref(out[i]);
	(void)capture_frame_unref(f);
}

static void view_allocates_nothing_for_a_frame(void **state)
{
	struct capture_frame *f = new_frame();
	struct capture_frame *out;
	size_t before;
	int i;

	(void)state;
	new_view();
	fill(f, 1000, 100);
	before = mallinfo2().uordblks;
	for (i = 0; i < 20; i++) {
		assert_int_equal(capture_thermal_view_apply(view, f, &out), 0);
		assert_int_equal(mallinfo2().uordblks, before);
		(void)capture_frame_unref(out);
	}
	(void)capture_frame_unref(f);
}

static int refused(void)
{
	struct capture_thermal_view *v = NULL;
	int r = capture_thermal_view_new(sys_fault(), &source, &config, &v);

	assert_null(v);
	return r;
}

static void view_refuses_what_cannot_be(void **state)
{
	(void)state;
	config.telemetry_rows = HEIGHT;
	assert_int_equal(refused(), -EINVAL);
	config.telemetry_rows = 0;
	config.hysteresis_permille = 501;
	assert_int_equal(refused(), -EINVAL);
	config.hysteresis_permille = 50;
	config.clip_permille = 201;
	assert_int_equal(refused(), -EINVAL);
	config.clip_permille = 5;
	config.span_min = 0;
	assert_int_equal(refused(), -EINVAL);
	config.range = CAPTURE_THERMAL_RANGE_FIXED;
	config.min = 5;
	config.max = 5;
	assert_int_equal(refused(), -EINVAL);
	config.max = 65536;
	assert_int_equal(refused(), -EINVAL);
	config.max = 65535;
	config.palette = (enum capture_palette)99;
	assert_int_equal(refused(), -EINVAL);
	config.palette = CAPTURE_PALETTE_IRON;
	source.stride[0] = WIDTH * 2 - 1;
	assert_int_equal(refused(), -EINVAL);
	source.stride[0] = STRIDE;
	source.fourcc = CAPTURE_FORMAT_YUYV;
	assert_int_equal(refused(), -EPROTONOSUPPORT);
	source.fourcc = CAPTURE_FORMAT_Y16;
	source.media = CAPTURE_MEDIA_SAMPLES;
	assert_int_equal(refused(), -EPROTONOSUPPORT);
}

static void view_refuses_frames_of_another_format(void **state)
{
	struct capture_frame *f = new_frame();
	struct capture_frame *out = NULL;
	struct capture_frame wrong;

	(void)state;
	new_view();
	wrong = *f;
	wrong.planes[0].stride -= 2;
	assert_int_equal(capture_thermal_view_apply(view, &wrong, &out),
			 -EINVAL);
	wrong = *f;
	wrong.planes[0].bytesused = STRIDE * (HEIGHT - 1) + WIDTH * 2 - 1;
	assert_int_equal(capture_thermal_view_apply(view, &wrong, &out),
			 -EINVAL);
	wrong = *f;
	wrong.planes[0].offset = 2;
	assert_int_equal(capture_thermal_view_apply(view, &wrong, &out),
			 -EINVAL);
	wrong = *f;
	wrong.planes[0].map = NULL;
	assert_int_equal(capture_thermal_view_apply(view, &wrong, &out),
			 -EINVAL);
	assert_null(out);
	(void)capture_frame_unref(f);
}

static void view_survives_any_failed_call(void **state)
{
	unsigned long n;
	int r;

	(void)state;
	frame_pool_close(pool);
	pool = NULL;
	for (n = 1;; n++) {
		sys_fault_arm(n, -EMFILE);
		r = capture_thermal_view_new(sys_fault(), &source, &config,
					     &view);
		if (!sys_fault_fired())
			break;
		/* Without a dma-buf it does as well. */
		if (r == 0)
			view = capture_thermal_view_free(view);
		assert_true(r == 0 || r == -EMFILE);
		assert_int_equal(sys_fault_open_fds(), 0);
		assert_int_equal(sys_fault_open_maps(), 0);
	}
	assert_int_equal(r, 0);
	assert_true(n > 3);
	sys_fault_arm(0, 0);
}

/* --- what the counts are kept in ---------------------------------------- */

static void counts_are_raw_while_they_fit(void **state)
{
	struct capture_format f = {.fourcc = CAPTURE_FORMAT_Y16,
				   .width = 320,
				   .height = 256,
				   .rate_num = 60,
				   .rate_den = 1};

	(void)state;
	assert_true(capture_thermal_fits_raw(&f)); /* 9.83 MB/s */
	assert_int_equal(capture_thermal_codec(&f), CAPTURE_FORMAT_Y16);
	f.rate_num = 62;
	assert_false(capture_thermal_fits_raw(&f)); /* 10.16 MB/s */
	assert_int_equal(capture_thermal_codec(&f),
			 HAVE_AVCODEC ? CAPTURE_FORMAT_FFV1 : 0);
	f.rate_num = 0;
	f.rate_den = 0;
	assert_false(capture_thermal_fits_raw(&f));
	f.rate_num = UINT32_MAX;
	f.rate_den = UINT32_MAX;
	f.width = UINT32_MAX;
	f.height = UINT32_MAX;
	assert_false(capture_thermal_fits_raw(&f));
	f.fourcc = CAPTURE_FORMAT_YUYV;
	assert_int_equal(capture_thermal_codec(&f), 0);
	assert_true(capture_thermal_is_counts(CAPTURE_FORMAT_Y16_BE));
	assert_false(capture_thermal_is_counts(CAPTURE_FORMAT_YU12));
}

static struct capture_thermal_reading read_view(void)
{
	struct capture_thermal_reading r;

	assert_int_equal(capture_thermal_view_read(view, &r), 0);
	return r;
}

static void temperatures_have_their_places(void **state)
{
	struct capture_thermal_reading r;
	struct capture_frame *f;

	(void)state;
	config.scale_uk = 10000; /* a count is 0.01 K */
	config.telemetry_rows = 2;
	config.telemetry_on_top = true;
	new_view();
	assert_int_equal(capture_thermal_view_read(view, &r), -EAGAIN);
	f = new_frame();
	fill(f, 29315, 0); /* 20 degrees Celsius */
	put(f, 3, 1, 1);   /* telemetry is no picture */
	put(f, 7, 2, 27315);
	put(f, 30, 11, 31015);
	put(f, 31, 11, 31015); /* of many the first */
	/* The centre of 40 x 18 is 20, 9; of nine pixels one is 9 K more. */
	put(f, 20, 2 + 9, 29315 + 900);
	f->stamp_ns = 77;
	f->epoch = 3;
	f->clock = CAPTURE_CLOCK_MONOTONIC;
	apply_one(f);
	r = read_view();
	assert_int_equal(r.radiometric, 1);
	assert_int_equal(r.stamp_ns, 77);
	assert_int_equal(r.epoch, 3);
	assert_int_equal(r.clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(r.coldest.x, 7);
	assert_int_equal(r.coldest.y, 0);
	assert_int_equal(r.coldest.temperature_mk, 273150);
	assert_int_equal(r.hottest.x, 30);
	assert_int_equal(r.hottest.y, 9);
	assert_int_equal(r.hottest.temperature_mk, 310150);
	assert_int_equal(r.spot.x, 20);
	assert_int_equal(r.spot.y, 9);
	assert_int_equal(r.spot.count, 29415);
	assert_int_equal(r.spot.temperature_mk, 294150);
	/* 720 pixels, 2300 counts more than 29315 each. */
	assert_int_equal(r.mean, 29318);
	assert_int_equal(r.mean_mk, 293182);
}

static void spots_end_with_the_picture(void **state)
{
	struct capture_thermal_reading r;
	struct capture_frame *f;

	(void)state;
	config.scale_uk = 15625; /* 1/64 K */
	config.offset_uk = -273150000;
	config.spot_x = WIDTH - 1;
	config.spot_y = HEIGHT - 1;
	config.spot_radius = CAPTURE_THERMAL_SPOT_RADIUS_MAX;
	new_view();
	f = new_frame();
	fill(f, 64 * 100, 0);
	apply_one(f);
	r = read_view();
	assert_int_equal(r.spot.count, 6400);
	assert_int_equal(r.spot.temperature_mk, 100000 - 273150);
	/* All of it at the sensor's end: nothing overflows. */
	config.scale_uk = 1000000000;
	config.offset_uk = INT64_C(1000000000000);
	new_view();
	f = new_frame();
	fill(f, UINT16_MAX, 0);
	apply_one(f);
	r = read_view();
	assert_int_equal(r.spot.temperature_mk, INT64_C(66535000000));
	assert_int_equal(r.hottest.temperature_mk, INT64_C(66535000000));
	assert_int_equal(r.mean, UINT16_MAX);
	assert_int_equal(r.mean_mk, INT64_C(66535000000));
	/* What was made up has no temperature. */
	f = new_frame();
	fill(f, 5, 0);
	f->flags |= CAPTURE_FRAME_BLANK;
	apply_one(f);
	assert_int_equal(capture_thermal_view_read(view, &r), -EAGAIN);
}

static void counts_without_a_scale_are_no_temperatures(void **state)
{
	struct capture_thermal_reading r;
	struct capture_frame *f;

	(void)state;
	new_view();
	f = new_frame();
	fill(f, 100, 1);
	apply_one(f);
	r = read_view();
	assert_int_equal(r.radiometric, 0);
	assert_int_equal(r.hottest.count, 100 + WIDTH - 1);
	assert_int_equal(r.hottest.temperature_mk, 0);
	assert_int_equal(r.spot.count, 100 + WIDTH / 2);
}

/* Lines longer than what is read at once, of one byte a pixel. */
static void frames_are_measured_where_they_lie(void **state)
{
	struct capture_source_config c = {.buffer_count = 2,
					  .rung = CAPTURE_RUNG_S5};
	struct capture_thermal_reading r;
	struct capture_frame *f;
	uint8_t *p;

	(void)state;
	source = (struct capture_format){
		.fourcc = CAPTURE_FORMAT_GREY,
		.width = 1301,
		.height = 5,
		.plane_count = 1,
		.stride = {1320},
		.size = {1320 * 5},
	};
	frame_pool_close(pool);
	assert_int_equal(frame_pool_new(sys_fault(), &source, &c, &pool), 0);
	config.telemetry_rows = 1;
	config.spot_x = 1024;
	config.spot_y = 1;
	f = new_frame();
	p = frame_pool_data(f, 0);
	memset(p, 250, source.size[0]); /* telemetry, and what is no pixel */
	for (uint32_t y = 0; y < 4; y++)
		memset(p + 1320 * (size_t)y, 10, 1301);
	p[1320 + 1025] = 100; /* beside the spot, in another run */
	p[1320 * 3 + 1300] = 3;
	assert_int_equal(capture_thermal_measure(NULL, &source, &config, f, &r),
			 0);
	assert_int_equal(r.hottest.x, 1025);
	assert_int_equal(r.hottest.y, 1);
	assert_int_equal(r.hottest.count, 100);
	assert_int_equal(r.coldest.x, 1300);
	assert_int_equal(r.coldest.y, 3);
	assert_int_equal(r.coldest.count, 3);
	assert_int_equal(r.spot.x, 1024);
	assert_int_equal(r.spot.count, 20); /* (8 * 10 + 100) / 9 */
	assert_int_equal(r.mean, 10);
	f->width--;
	assert_int_equal(capture_thermal_measure(NULL, &source, &config, f, &r),
			 -EINVAL);
	f->width++;
	config.telemetry_rows = 5;
	assert_int_equal(capture_thermal_measure(NULL, &source, &config, f, &r),
			 -EINVAL);
	source.fourcc = CAPTURE_FORMAT_YU12;
	assert_int_equal(capture_thermal_measure(NULL, &source, &config, f, &r),
			 -EPROTONOSUPPORT);
	(void)capture_frame_unref(f);
}

static void spots_that_cannot_be_are_refused(void **state)
{
	struct capture_thermal_config ok = config;

	(void)state;
#define REFUSED(change)                                                     \
	do {                                                                \
		config = ok;                                                \
		change;                                                     \
		assert_int_equal(capture_thermal_view_new(sys_fault(),      \
							  &source, &config, \
							  &view),           \
				 -EINVAL);                                  \
	} while (0)
	REFUSED(config.spot_x = WIDTH);
	REFUSED(config.spot_y = HEIGHT);
	REFUSED((config.telemetry_rows = 1, config.spot_y = HEIGHT - 1));
	REFUSED(config.spot_radius = CAPTURE_THERMAL_SPOT_RADIUS_MAX + 1);
	REFUSED(config.scale_uk = 1000000001);
	REFUSED(config.offset_uk = INT64_MIN);
#undef REFUSED
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(view_is_monotone_in_white_hot),
		CASE(view_carries_what_the_frame_was),
		CASE(view_has_even_sides),
		CASE(view_leaves_telemetry_out),
		CASE(view_of_a_fixed_range_does_not_follow),
		CASE(view_is_the_same_of_every_format),
		CASE(view_of_a_constant_scene_does_not_flicker),
		CASE(view_follows_a_scene_that_changed),
		CASE(view_takes_a_new_epoch_as_it_is),
		CASE(view_learns_nothing_from_what_was_made_up),
		CASE(view_frames_are_bounded_and_come_back),
		CASE(view_allocates_nothing_for_a_frame),
		CASE(view_refuses_what_cannot_be),
		CASE(view_refuses_frames_of_another_format),
		CASE(view_survives_any_failed_call),
		CASE(counts_are_raw_while_they_fit),
		CASE(temperatures_have_their_places),
		CASE(spots_end_with_the_picture),
		CASE(counts_without_a_scale_are_no_temperatures),
		CASE(frames_are_measured_where_they_lie),
		CASE(spots_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
