/* SPDX-License-Identifier: Apache-2.0 */
/* What sources tell their aligner beside the frames themselves. */
#ifndef CAPTURE_SRC_ALIGN_H
#define CAPTURE_SRC_ALIGN_H

#include <capture/align.h>
#include <capture/settings.h>

/*
 * Frames count @shift more than the driver, whose count the module hears: one
 * that stepped back or stood still was counted on. For the next frame.
 */
void align_shift_sequence(struct capture_align *align, uint32_t shift);

/*
 * The name of a source with a counter of its own, which is given to the
 * module as a stream; without a name it is not. Before capture_align_started().
 */
void align_name(struct capture_align *align, const char *kind,
		const char *path);

/*
 * The next frame's stamp is so many ticks later than its device_ticks: of a
 * FIFO's content, where only the end has a time.
 */
void align_stamp_after(struct capture_align *align, uint64_t ticks);

/* A count is what had been full by then: a frame is up to @tick_ns later. */
void align_set_tick(struct capture_align *align, uint64_t tick_ns);

/* The next frame's device_ticks are of its stamp: no sample, no sigma. */
void align_count_guessed(struct capture_align *align, bool guessed);

/**
 * align_setting_check() - whether a setting can be
 *
 * Return: NULL, or the name of what cannot: "point", "stamped", "delay".
 */
const char *align_setting_check(const struct capture_align_setting *setting);

/*
 * Which moment frames are to tell, and by which device: as
 * align_rule_attach(). Once, before capture_align_started().
 */
void align_set_rule(struct capture_align *align,
		    const struct capture_align_setting *setting, int node,
		    const char *path, const struct capture_format *format);

#endif
