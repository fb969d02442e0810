/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far another clock is from CLOCK_BOOTTIME. Linux steers all its clocks
 * alike, so they differ by a constant, but for a suspend or a clock that is
 * set. Each look brackets the constant; the brackets' intersection closes in
 * on it, and an empty one says that it is another constant now.
 */
#ifndef CAPTURE_SRC_ALIGN_CLOCK_H
#define CAPTURE_SRC_ALIGN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

struct align_clock {
	bool known;
	int64_t low; /* the clock - BOOTTIME lies in [low, high] */
	int64_t high;
};

/* A look of ours: @clock was @at_ns between @before_ns and @after_ns. */
/* Return: true when the constant is another one than before. */
bool align_clock_sample(struct align_clock *c, uint64_t before_ns,
			uint64_t at_ns, uint64_t after_ns);

/* Looks at the real clocks. Return: as above; CLOCK_BOOTTIME now. */
bool align_clock_look(struct align_clock *c, const struct sys_ops *sys,
		      clockid_t clock, uint64_t *ret_boot_ns);

/* @ns of the clock on CLOCK_BOOTTIME; 0 when that was before the boot. */
uint64_t align_clock_to_boot(const struct align_clock *c, uint64_t ns);

/* Nearer than this to the truth. */
uint64_t align_clock_width_ns(const struct align_clock *c);

#endif
