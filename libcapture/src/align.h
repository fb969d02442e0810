/* SPDX-License-Identifier: Apache-2.0 */
/* What sources tell their aligner beside the frames themselves. */
#ifndef CAPTURE_SRC_ALIGN_H
#define CAPTURE_SRC_ALIGN_H

#include <capture/align.h>

/*
 * Frames count @shift more than the driver, whose count the module hears: one
 * that stepped back or stood still was counted on. For the next frame.
 */
void align_shift_sequence(struct capture_align *align, uint32_t shift);

#endif
