/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcamera's names of pixel formats and colours, and V4L2's; what it says of
 * planes. Pure.
 */
#ifndef CAPTURE_SRC_LIBCAMERA_FORMAT_H
#define CAPTURE_SRC_LIBCAMERA_FORMAT_H

#include <cstdint>
#include <vector>

#include <libcamera/color_space.h>
#include <libcamera/framebuffer.h>
#include <libcamera/pixel_format.h>

extern "C" {
#include <capture/source.h>
}

/* 0: V4L2 has none such. */
uint32_t libcamera_to_v4l2(const libcamera::PixelFormat &format);
/* Not valid: libcamera has none such. */
libcamera::PixelFormat libcamera_of_v4l2(uint32_t v4l2);

void libcamera_set_colors(const libcamera::ColorSpace &c,
			  struct capture_format &f);

/* Whether the planes follow each other without a gap in one dma-buf. */
bool libcamera_is_one_piece(
	const std::vector<libcamera::FrameBuffer::Plane> &planes);
/* Whether they are as many, and as large, as can be. */
bool libcamera_is_possible(
	const std::vector<libcamera::FrameBuffer::Plane> &planes);

#endif
