/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of pixel formats: DRM's, which libcamera uses, and V4L2's. Some look
 * alike and mean another thing. Pure.
 */
#ifndef CAPTURE_SRC_DRM_FORMAT_H
#define CAPTURE_SRC_DRM_FORMAT_H

#include <stdint.h>

/* Of linear memory. 0: not known here. */
uint32_t drm_format_to_v4l2(uint32_t drm);
uint32_t drm_format_of_v4l2(uint32_t v4l2);

/* V4L2's name when each component is in memory of its own; 0: none. */
uint32_t drm_format_apart(uint32_t v4l2);

#endif
