/* SPDX-License-Identifier: Apache-2.0 */
#include "src/thermal_map.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

/* A moving end goes this part of the way, and stops within this of the band. */
#define STEP_DIV 4u
#define REST_DIV 4u

/* --- counts ------------------------------------------------------------- */

unsigned int thermal_bits(uint32_t fourcc)
{
	switch (fourcc) {
	case CAPTURE_FORMAT_Y16:
	case CAPTURE_FORMAT_Y16_BE:
		return 16;
	case CAPTURE_FORMAT_Y14:
		return 14;
	case CAPTURE_FORMAT_Y12:
		return 12;
	case CAPTURE_FORMAT_Y10:
		return 10;
	case CAPTURE_FORMAT_GREY:
		return 8;
	default:
		return 0;
	}
}

void thermal_read_row(uint32_t fourcc, const uint8_t *src, uint16_t *dst,
		      uint32_t width)
{
	unsigned int bits = thermal_bits(fourcc);
	uint16_t mask = (uint16_t)((1u << bits) - 1u);
	uint32_t x;

	assert(bits);
	if (fourcc == CAPTURE_FORMAT_Y16_BE) {
		for (x = 0; x < width; x++)
			dst[x] = load_be16(src + (size_t)2 * x);
	} else if (bits == 8) {
		for (x = 0; x < width; x++)
			dst[x] = src[x];
	} else {
		for (x = 0; x < width; x++)
			dst[x] = load_le16(src + (size_t)2 * x) & mask;
	}
}

/* --- the scene's range -------------------------------------------------- */

struct thermal_span thermal_histogram_take(struct thermal_histogram *h,
					   const uint16_t *counts, size_t count,
					   uint32_t clip_permille,
					   struct thermal_span *ret_all)
{
	struct thermal_span all = {THERMAL_COUNT_MAX, 0};
	struct thermal_span span;
	uint64_t clip = (uint64_t)count * clip_permille / 1000;
	uint64_t sum;
	size_t i;

	assert(count && clip_permille < 500);
	for (i = 0; i < count; i++) {
		h->bins[counts[i]]++;
		all.min = MIN(all.min, counts[i]);
		all.max = MAX(all.max, counts[i]);
	}
	/* Of a tiny picture too, one bad pixel is an outlier. */
	if (clip_permille && !clip && count > 2)
		clip = 1;
	span = all;
	/* 2 * clip < count: both ends stop, the lower not above the upper. */
	for (sum = h->bins[span.min]; sum <= clip; sum += h->bins[span.min])
		span.min++;
	for (sum = h->bins[span.max]; sum <= clip; sum += h->bins[span.max])
		span.max--;
	memset(h->bins + all.min, 0,
	       (all.max - all.min + 1) * sizeof(h->bins[0]));
	*ret_all = all;
	return span;
}

/* --- the shown range ---------------------------------------------------- */

/* At least @span_min wide, about the same middle, inside the counts. */
static struct thermal_span widen(struct thermal_span s, uint32_t span_min)
{
	uint32_t lacks;

	if (s.max - s.min >= span_min)
		return s;
	lacks = span_min - (s.max - s.min);
	s.min -= MIN(s.min, lacks / 2);
	s.max = s.min + span_min;
	if (s.max > THERMAL_COUNT_MAX) {
		s.max = THERMAL_COUNT_MAX;
		s.min = s.max - span_min;
	}
	return s;
}

static bool edge_follow(struct thermal_edge *edge, uint32_t target,
			uint32_t band)
{
	bool up = target > edge->value;
	uint32_t distance = up ? target - edge->value : edge->value - target;
	uint32_t step = (distance + STEP_DIV - 1) / STEP_DIV;

	if (distance <= (edge->moving ? band / REST_DIV : band)) {
		edge->moving = false;
		return false;
	}
	edge->moving = true;
	edge->value = up ? edge->value + step : edge->value - step;
	return true;
}

bool thermal_range_follow(struct thermal_range *range,
			  struct thermal_span scene)
{
	struct thermal_span shown = {range->min.value, range->max.value};
	uint32_t band;
	bool moved;

	assert(scene.min <= scene.max && scene.max <= THERMAL_COUNT_MAX);
	scene = widen(scene, range->span_min);
	if (!range->set) {
		range->set = true;
		range->min = (struct thermal_edge){scene.min, false};
		range->max = (struct thermal_edge){scene.max, false};
		return true;
	}
	band = (shown.max - shown.min) * range->hysteresis_permille / 1000;
	moved = edge_follow(&range->min, scene.min, band);
	moved |= edge_follow(&range->max, scene.max, band);
	if (range->max.value < range->min.value)
		range->max.value = range->min.value;
	shown.min = range->min.value;
	shown.max = range->max.value;
	shown = widen(shown, range->span_min);
	range->min.value = shown.min;
	range->max.value = shown.max;
	return moved;
}

/* --- colours ------------------------------------------------------------ */

struct stop {
	uint8_t at; /* colour number */
	uint8_t rgb[3];
};

/* Between two stops, red, green and blue are each a straight line. */
static const struct stop white_hot[] = {
	{0, {0, 0, 0}},
	{255, {255, 255, 255}},
};

static const struct stop black_hot[] = {
	{0, {255, 255, 255}},
	{255, {0, 0, 0}},
};

static const struct stop iron[] = {
	{0, {0, 0, 16}},	{48, {60, 0, 130}},    {96, {150, 0, 150}},
	{144, {215, 60, 60}},	{192, {250, 140, 10}}, {232, {255, 220, 70}},
	{255, {255, 255, 240}},
};

static const struct stop rainbow[] = {
	{0, {0, 0, 130}},     {40, {0, 20, 255}},   {100, {0, 220, 230}},
	{140, {30, 220, 40}}, {195, {255, 240, 0}}, {255, {230, 0, 0}},
};

static const struct {
	const struct stop *stops;
	size_t count;
	bool grey;
} palettes[] = {
	[CAPTURE_PALETTE_WHITE_HOT] = {white_hot, ARRAY_SIZE(white_hot), true},
	[CAPTURE_PALETTE_BLACK_HOT] = {black_hot, ARRAY_SIZE(black_hot), true},
	[CAPTURE_PALETTE_IRON] = {iron, ARRAY_SIZE(iron), false},
	[CAPTURE_PALETTE_RAINBOW] = {rainbow, ARRAY_SIZE(rainbow), false},
};

static int blend(int a, int b, int part, int whole)
{
	return a + ((b - a) * part + (b > a ? whole : -whole) / 2) / whole;
}

/* BT.601 of 8 bits, limited range, coefficients in 1/65536. */
static struct thermal_colour to_yuv(int r, int g, int b)
{
	int y = (16829 * r + 33039 * g + 6416 * b + 32768) >> 16;
	int u = (-9714 * r - 19070 * g + 28784 * b + 32768 + (128 << 16)) >> 16;
	int v = (28784 * r - 24103 * g - 4681 * b + 32768 + (128 << 16)) >> 16;

	return (struct thermal_colour){
		.y = (uint8_t)(y + 16), .u = (uint8_t)u, .v = (uint8_t)v};
}

void thermal_palette_init(enum capture_palette palette,
			  struct thermal_colour *ret_colours)
{
	const struct stop *stop;
	unsigned int i;

	assert((size_t)palette < ARRAY_SIZE(palettes));
	stop = palettes[palette].stops;
	for (i = 0; i < THERMAL_COLOURS; i++) {
		int part;
		int whole;

		if (i > stop[1].at)
			stop++;
		part = (int)i - stop[0].at;
		whole = stop[1].at - stop[0].at;
		ret_colours[i] = to_yuv(
			blend(stop[0].rgb[0], stop[1].rgb[0], part, whole),
			blend(stop[0].rgb[1], stop[1].rgb[1], part, whole),
			blend(stop[0].rgb[2], stop[1].rgb[2], part, whole));
	}
}

bool thermal_palette_is_grey(enum capture_palette palette)
{
	return palettes[palette].grey;
}

void thermal_index_row(struct thermal_span span, const uint16_t *counts,
		       uint8_t *ret_index, size_t count)
{
	uint32_t width = span.max - span.min;
	uint32_t scale;
	size_t i;

	assert(width && span.max <= THERMAL_COUNT_MAX);
	/* Rounded up, so that the last colour is reached; fits 32 bits. */
	scale = (((THERMAL_COLOURS - 1) << 16) + width - 1) / width;
	for (i = 0; i < count; i++) {
		uint32_t c = MIN(MAX(counts[i], span.min), span.max);

		ret_index[i] = (uint8_t)(((c - span.min) * scale) >> 16);
	}
}
