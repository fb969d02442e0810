/* SPDX-License-Identifier: Apache-2.0 */
/* What a picture of counts measures: sums and places, a run of pixels at once. */
#ifndef CAPTURE_SRC_THERMAL_MEASURE_H
#define CAPTURE_SRC_THERMAL_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/thermal.h>

#include "src/encoder_backend.h"

/* Return: 0, -EPROTONOSUPPORT (no counts), -EINVAL. */
int thermal_check(const struct capture_format *source,
		  const struct capture_thermal_config *config,
		  struct pix_layout *ret_layout);

/* Neither made up nor damaged. */
bool thermal_is_measurable(const struct capture_frame *frame);

/* Which frame it is of; nothing measured yet. */
void thermal_reading_init(struct capture_thermal_reading *reading,
			  const struct capture_frame *frame);

struct thermal_tally {
	const struct capture_thermal_config *config; /* borrowed */
	uint64_t pixels;			     /* of the picture */
	uint64_t sum;
	uint64_t spot_sum;
	uint32_t spot_pixels;
	struct capture_thermal_point spot; /* its place alone */
	struct capture_thermal_point coldest;
	struct capture_thermal_point hottest;
};

/* @rows: without telemetry; @config fits them (thermal_check()). */
void thermal_tally_init(struct thermal_tally *t,
			const struct capture_thermal_config *config,
			uint32_t width, uint32_t rows);

/* @count pixels of line @y from @x on. In order: from 0, 0, none left out. */
void thermal_tally_add(struct thermal_tally *t, uint32_t x, uint32_t y,
		       const uint16_t *counts, uint32_t count);

/* After all pixels were added. Leaves which frame it is of as it is. */
void thermal_tally_take(const struct thermal_tally *t,
			struct capture_thermal_reading *ret);

#endif
