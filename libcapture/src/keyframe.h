/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a compressed frame can be decoded alone, by its own bytes. Pure. */
#ifndef CAPTURE_SRC_KEYFRAME_H
#define CAPTURE_SRC_KEYFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * H.264: an IDR slice; HEVC: an IRAP picture (both Annex B); FWHT: the I
 * frame flag of its header; FFV1: the key flag; JPEG, raw pictures, audio:
 * always. Damaged, empty or unknown: false.
 */
bool keyframe_find(uint32_t fourcc, const uint8_t *bytes, size_t len);

#endif
