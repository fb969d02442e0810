/* SPDX-License-Identifier: Apache-2.0 */
#include "src/thermal_measure.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/sys.h"
#include "src/frame.h"
#include "src/limits.h"
#include "src/thermal_map.h"

#define HYSTERESIS_PERMILLE_MAX 500u
#define CLIP_PERMILLE_MAX 200u
#define SCALE_UK_MAX 1000000000u
#define OFFSET_UK_MAX INT64_C(1000000000000)
#define RUN_PIXELS 512u /* read at once, on the stack */

static int check_config(const struct capture_thermal_config *c)
{
	if ((unsigned int)c->palette > CAPTURE_PALETTE_RAINBOW ||
	    c->buffer_count > CAPTURE_BUFFERS_MAX ||
	    c->scale_uk > SCALE_UK_MAX || c->offset_uk > OFFSET_UK_MAX ||
	    c->offset_uk < -OFFSET_UK_MAX ||
	    c->spot_radius > CAPTURE_THERMAL_SPOT_RADIUS_MAX)
		return -EINVAL;
	switch (c->range) {
	case CAPTURE_THERMAL_RANGE_AUTO:
		if (c->hysteresis_permille > HYSTERESIS_PERMILLE_MAX ||
		    c->clip_permille > CLIP_PERMILLE_MAX || !c->span_min ||
		    c->span_min > THERMAL_COUNT_MAX)
			return -EINVAL;
		return 0;
	case CAPTURE_THERMAL_RANGE_FIXED:
		return c->min < c->max && c->max <= THERMAL_COUNT_MAX ? 0
								      : -EINVAL;
	}
	return -EINVAL;
}

static bool spot_fits(uint32_t at, uint32_t side)
{
	return at < side || at == CAPTURE_THERMAL_CENTRE;
}

int thermal_check(const struct capture_format *source,
		  const struct capture_thermal_config *config,
		  struct pix_layout *ret_layout)
{
	if (check_config(config) < 0)
		return -EINVAL;
	if (source->media != CAPTURE_MEDIA_PICTURE ||
	    !thermal_bits(source->fourcc))
		return -EPROTONOSUPPORT;
	if (config->telemetry_rows >= source->height ||
	    !spot_fits(config->spot_x, source->width) ||
	    !spot_fits(config->spot_y, source->height - config->telemetry_rows))
		return -EINVAL;
	return pix_layout_init(source, ret_layout);
}

/* --- what was measured -------------------------------------------------- */

bool thermal_is_measurable(const struct capture_frame *frame)
{
	return !(frame->flags & (CAPTURE_FRAME_BLANK | CAPTURE_FRAME_ERROR));
}

void thermal_reading_init(struct capture_thermal_reading *reading,
			  const struct capture_frame *frame)
{
	*reading = (struct capture_thermal_reading){
		.sequence = frame->sequence,
		.epoch = frame->epoch,
		.stamp_ns = frame->stamp_ns,
		.clock = frame->clock,
	};
}

static uint32_t spot_at(uint32_t at, uint32_t side)
{
	return at == CAPTURE_THERMAL_CENTRE ? side / 2 : at;
}

void thermal_tally_init(struct thermal_tally *t,
			const struct capture_thermal_config *config,
			uint32_t width, uint32_t rows)
{
	*t = (struct thermal_tally){
		.config = config,
		.pixels = (uint64_t)width * rows,
		.spot = {.x = spot_at(config->spot_x, width),
			 .y = spot_at(config->spot_y, rows)},
		.coldest = {.count = THERMAL_COUNT_MAX + 1},
	};
}

/* The mean around it, as far as the picture goes. */
static void add_spot(struct thermal_tally *t, uint32_t x, uint32_t y,
		     const uint16_t *counts, uint32_t count)
{
	uint32_t radius = t->config->spot_radius;
	uint32_t left = t->spot.x - MIN(radius, t->spot.x);
	uint32_t top = t->spot.y - MIN(radius, t->spot.y);
	uint32_t i;

	if (y < top || y > t->spot.y + radius)
		return;
	for (i = MAX(left, x); i <= t->spot.x + radius && i - x < count; i++) {
		t->spot_sum += counts[i - x];
		t->spot_pixels++;
	}
}

void thermal_tally_add(struct thermal_tally *t, uint32_t x, uint32_t y,
		       const uint16_t *counts, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		t->sum += counts[i];
		if (counts[i] < t->coldest.count)
			t->coldest = (struct capture_thermal_point){
				.x = x + i, .y = y, .count = counts[i]};
		/* The first of all is the hottest so far, even if it is 0. */
		if (counts[i] > t->hottest.count || (!x && !y && !i))
			t->hottest = (struct capture_thermal_point){
				.x = x + i, .y = y, .count = counts[i]};
	}
	add_spot(t, x, y, counts, count);
}

/* Of the mean of @pixels counts, which are @sum together. */
static int64_t temperature_mk(const struct capture_thermal_config *c,
			      uint64_t sum, uint64_t pixels)
{
	int64_t uk;

	if (!c->scale_uk)
		return 0;
	/* In two parts: the counts of a picture by a scale are over 64 bits. */
	uk = (int64_t)(sum / pixels * c->scale_uk +
		       (sum % pixels * c->scale_uk + pixels / 2) / pixels) +
	     c->offset_uk;
	return (uk + (uk < 0 ? -500 : 500)) / 1000;
}

void thermal_tally_take(const struct thermal_tally *t,
			struct capture_thermal_reading *ret)
{
	const struct capture_thermal_config *c = t->config;

	assert(t->pixels && t->spot_pixels); /* thermal_check() saw to it */
	ret->radiometric = c->scale_uk != 0;
	ret->coldest = t->coldest;
	ret->coldest.temperature_mk = temperature_mk(c, t->coldest.count, 1);
	ret->hottest = t->hottest;
	ret->hottest.temperature_mk = temperature_mk(c, t->hottest.count, 1);
	ret->spot = t->spot;
	ret->spot.count =
		(uint32_t)((t->spot_sum + t->spot_pixels / 2) / t->spot_pixels);
	ret->spot.temperature_mk =
		temperature_mk(c, t->spot_sum, t->spot_pixels);
	ret->mean = (uint32_t)((t->sum + t->pixels / 2) / t->pixels);
	ret->mean_mk = temperature_mk(c, t->sum, t->pixels);
}

/* --- a frame alone ------------------------------------------------------ */

static void measure_rows(const struct capture_format *source,
			 const struct pix_component *c, const uint8_t *src,
			 uint32_t rows, struct thermal_tally *tally)
{
	uint32_t pixel_bytes = c->row_bytes / source->width;
	uint16_t counts[RUN_PIXELS];
	uint32_t run;
	uint32_t x;
	uint32_t y;

	for (y = 0; y < rows; y++) {
		for (x = 0; x < source->width; x += run) {
			run = MIN(source->width - x, RUN_PIXELS);
			thermal_read_row(source->fourcc,
					 src + y * c->stride + x * pixel_bytes,
					 counts, run);
			thermal_tally_add(tally, x, y, counts, run);
		}
	}
}

int capture_thermal_measure(const struct sys_ops *sys,
			    const struct capture_format *source,
			    const struct capture_thermal_config *config,
			    struct capture_frame *frame,
			    struct capture_thermal_reading *ret_reading)
{
	const uint8_t *src[CAPTURE_PLANES_MAX];
	struct thermal_tally tally;
	struct pix_layout layout;
	uint32_t first;
	uint32_t rows;
	int r;

	r = thermal_check(source, config, &layout);
	if (r < 0)
		return r;
	if (!pix_frame_fits(source, &layout, frame))
		return -EINVAL;
	if (!thermal_is_measurable(frame))
		return -EAGAIN;
	sys = sys ? sys : sys_posix();
	rows = source->height - config->telemetry_rows;
	first = config->telemetry_on_top ? config->telemetry_rows : 0;
	thermal_tally_init(&tally, config, source->width, rows);
	r = frame_begin_read(sys, frame, src);
	if (r < 0)
		return r;
	measure_rows(source, &layout.components[0],
		     src[0] + (size_t)first * layout.components[0].stride, rows,
		     &tally);
	frame_end_read(sys, frame);
	thermal_reading_init(ret_reading, frame);
	thermal_tally_take(&tally, ret_reading);
	return 0;
}
