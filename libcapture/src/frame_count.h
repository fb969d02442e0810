/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sensor's own counter in the telemetry rows of its frames: read, made 64
 * bits wide, and believed only where it goes on as time does. Pure.
 *
 * A count goes on if it moved by what passed since the last one that was
 * believed, within half a second and 1/64 of that time; wraps included. What
 * does not may be a torn row: one that the next frame goes on from is a core
 * that began anew.
 */
#ifndef CAPTURE_SRC_FRAME_COUNT_H
#define CAPTURE_SRC_FRAME_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/settings.h>

#include "base/macros.h"

struct frame_count {
	bool known; /* @raw was believed, at @stamp_ns */
	uint64_t raw;
	uint64_t stamp_ns;
	uint64_t ticks; /* the same, without wraps */
	bool doubt;	/* @doubt_raw was not, and may be another line */
	uint64_t doubt_raw;
	uint64_t doubt_ns;
};

enum frame_count_is {
	FRAME_COUNT_GOOD,
	FRAME_COUNT_ANEW,   /* good, and of another line than the last one */
	FRAME_COUNT_GUESSED /* by the stamp: no count that can be believed */
};

/**
 * frame_count_check() - whether a counter can be, whatever the format
 *
 * Return: 0 (also for none, @bits 0) or -EINVAL.
 */
int frame_count_check(const struct capture_counter_setting *setting) MUST_CHECK;

/**
 * frame_count_fits() - whether frames of @format have it
 *
 * Return: 0, -EPROTONOSUPPORT (pixels that are no 16 bits), -ERANGE (outside
 * of the frame).
 */
int frame_count_fits(const struct capture_counter_setting *setting,
		     const struct capture_format *format) MUST_CHECK;

/* Where its first byte lies in a frame of @format, which has it; and bytes. */
uint32_t frame_count_at(const struct capture_counter_setting *setting,
			const struct capture_format *format,
			uint32_t *ret_bytes);

/* The counter as it stands at @bytes. */
uint64_t frame_count_read(const struct capture_counter_setting *setting,
			  uint32_t fourcc, const uint8_t *bytes);

/**
 * frame_count_follow() - one frame's counter
 * @stamp_ns: of the frame; rises
 * @ret_ticks: always written: the count, without wraps
 */
enum frame_count_is
frame_count_follow(struct frame_count *c,
		   const struct capture_counter_setting *setting, uint64_t raw,
		   uint64_t stamp_ns, uint64_t *ret_ticks);

#endif
