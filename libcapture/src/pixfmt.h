/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the components of a raw picture lie, and the few conversions that
 * the software encoder needs. Pure: no system calls, no memory of its own.
 */
#ifndef CAPTURE_SRC_PIXFMT_H
#define CAPTURE_SRC_PIXFMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>

#include "base/macros.h"

#define PIX_COMPONENTS_MAX 3

/* One component (luma, or chroma, or interleaved chroma, or packed). */
struct pix_component {
	uint32_t plane;		/* memory plane it lies in */
	size_t offset;		/* from the payload's start in that plane */
	size_t stride;		/* bytes from line to line */
	size_t row_bytes;	/* bytes of a line that mean something */
	size_t rows;
};

struct pix_layout {
	uint32_t fourcc;
	uint32_t count;
	struct pix_component components[PIX_COMPONENTS_MAX];
};

/**
 * pix_layout_init() - work out a raw format's layout
 *
 * Return: 0, -EPROTONOSUPPORT (not a raw format known here), -EINVAL (sides,
 * strides or planes that cannot be).
 */
int pix_layout_init(const struct capture_format *format,
		    struct pix_layout *ret_layout) MUST_CHECK;

/* Payload bytes that a whole picture has in memory plane @plane. */
size_t pix_layout_plane_bytes(const struct pix_layout *layout,
			      uint32_t plane);

/*
 * Whether @frame is a whole picture of @format: nobody else checks what is
 * read of it. @layout: of @format; count 0: not known, as of a compressed one.
 */
bool pix_frame_fits(const struct capture_format *format,
		    const struct pix_layout *layout,
		    const struct capture_frame *frame);

/* Bytes that mean something, of all planes. */
uint64_t pix_layout_bytes(const struct pix_layout *layout);

/*
 * Copies the picture from @from's planes to @to's: same fourcc and sides,
 * maybe other strides. Return: bytes read + bytes written.
 */
uint64_t pix_copy(const struct pix_layout *from, const uint8_t *const *src,
		  const struct pix_layout *to, uint8_t *const *dst);

/* A picture as three planes of bytes, chroma halved both ways. */
struct pix_i420 {
	const uint8_t *data[3];
	size_t stride[3];
	uint64_t bytes_touched;	/* read + written to make it; 0: as it was */
};

/* Whether pix_to_i420() takes it. */
bool pix_has_i420(uint32_t fourcc);

/* Bytes of scratch that pix_to_i420() needs for these sides. */
size_t pix_i420_scratch_bytes(uint32_t width, uint32_t height);

/**
 * pix_to_i420() - see a picture as I420, converting what must be
 * @scratch: pix_i420_scratch_bytes() bytes; the result may point into it
 *
 * Sides must be even. YU12, YV12 and YM12 are taken as they lie; of NV12,
 * NV21 and NM12 only the chroma is written anew. 4:2:2 chroma lines are
 * averaged in pairs.
 *
 * Return: 0, or -EPROTONOSUPPORT.
 */
int pix_to_i420(const struct pix_layout *layout, const uint8_t *const *src,
		uint8_t *scratch, struct pix_i420 *ret_picture) MUST_CHECK;

#endif
