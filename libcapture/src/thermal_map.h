/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts to 16 bits, a range that follows the scene, colours. Pure: integers
 * only, no system calls, no memory of its own.
 */
#ifndef CAPTURE_SRC_THERMAL_MAP_H
#define CAPTURE_SRC_THERMAL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/thermal.h>

#include "base/macros.h"

#define THERMAL_COUNT_MAX 65535u
#define THERMAL_BINS (THERMAL_COUNT_MAX + 1u)
#define THERMAL_COLOURS 256u

/* Bits of a count in @fourcc; 0: not a picture of counts. */
unsigned int thermal_bits(uint32_t fourcc);

/*
 * @width pixels at @src, as @fourcc lays them out, to counts. @fourcc is one
 * that thermal_bits() knows.
 */
void thermal_read_row(uint32_t fourcc, const uint8_t *src, uint16_t *dst,
		      uint32_t width);

/* How many pixels have each count. All bins are 0 between two frames. */
struct thermal_histogram {
	uint32_t bins[THERMAL_BINS];
};

struct thermal_span {
	uint32_t min;
	uint32_t max;
};

/**
 * thermal_histogram_take() - the range of a picture, outliers left out
 * @counts, @count: the picture; at least one pixel
 * @clip_permille: of the pixels at each end; 0: none, else at least one
 * @ret_all: of all pixels
 *
 * Leaves @h empty.
 */
struct thermal_span thermal_histogram_take(struct thermal_histogram *h,
					   const uint16_t *counts,
					   size_t count,
					   uint32_t clip_permille,
					   struct thermal_span *ret_all);

/* One end of the shown range. */
struct thermal_edge {
	uint32_t value;
	bool moving;
};

/* The shown range; the rule stands at struct capture_thermal_config. */
struct thermal_range {
	bool set;	/* false: the next scene is taken as it is */
	uint32_t hysteresis_permille;
	uint32_t span_min;
	struct thermal_edge min;
	struct thermal_edge max;
};

/* Follows one frame's @scene. Return: whether the range is another now. */
bool thermal_range_follow(struct thermal_range *range,
			  struct thermal_span scene);

struct thermal_colour {
	uint8_t y;
	uint8_t u;
	uint8_t v;
};

/* Coldest first; BT.601, limited range. */
void thermal_palette_init(enum capture_palette palette,
			  struct thermal_colour *ret_colours);

/* Whether all its colours are grey. */
bool thermal_palette_is_grey(enum capture_palette palette);

/* Counts to colours: 0 at @span.min and below, 255 at @span.max and above. */
void thermal_index_row(struct thermal_span span, const uint16_t *counts,
		       uint8_t *ret_index, size_t count);

#endif
