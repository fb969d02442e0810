/* SPDX-License-Identifier: Apache-2.0 */
#include "src/pixfmt.h"

#include <errno.h>
#include <string.h>

#include "src/limits.h"

/* Per component: bytes per sample group and how the picture is divided. */
struct pix_info {
	uint32_t fourcc;
	uint8_t count;
	uint8_t separate;	/* each component in a memory plane of its own */
	struct {
		uint8_t bytes;
		uint8_t div_x;
		uint8_t div_y;
	} components[PIX_COMPONENTS_MAX];
};

static const struct pix_info infos[] = {
	{ CAPTURE_FORMAT_YU12, 3, 0, { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 2, 2 } } },
	{ CAPTURE_FORMAT_YV12, 3, 0, { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 2, 2 } } },
	{ CAPTURE_FORMAT_YM12, 3, 1, { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 2, 2 } } },
	{ CAPTURE_FORMAT_NV12, 2, 0, { { 1, 1, 1 }, { 2, 2, 2 } } },
	{ CAPTURE_FORMAT_NV21, 2, 0, { { 1, 1, 1 }, { 2, 2, 2 } } },
	{ CAPTURE_FORMAT_NM12, 2, 1, { { 1, 1, 1 }, { 2, 2, 2 } } },
	{ CAPTURE_FORMAT_YUYV, 1, 0, { { 4, 2, 1 } } },
	{ CAPTURE_FORMAT_UYVY, 1, 0, { { 4, 2, 1 } } },
	{ CAPTURE_FORMAT_GREY, 1, 0, { { 1, 1, 1 } } },
	{ CAPTURE_FORMAT_Y10, 1, 0, { { 2, 1, 1 } } },
	{ CAPTURE_FORMAT_Y12, 1, 0, { { 2, 1, 1 } } },
	{ CAPTURE_FORMAT_Y14, 1, 0, { { 2, 1, 1 } } },
	{ CAPTURE_FORMAT_Y16, 1, 0, { { 2, 1, 1 } } },
	{ CAPTURE_FORMAT_Y16_BE, 1, 0, { { 2, 1, 1 } } },
};

static const struct pix_info *info_of(uint32_t fourcc)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(infos); i++) {
		if (infos[i].fourcc == fourcc)
			return &infos[i];
	}
	return NULL;
}

/* The stride of component @i: the driver gives it for the first of a plane. */
static size_t component_stride(const struct pix_info *info,
			       const struct capture_format *format,
			       uint32_t i)
{
	uint32_t luma = format->stride[0];

	if (info->separate)
		return format->stride[i];
	return (size_t)luma * info->components[i].bytes /
	       info->components[i].div_x * info->components[0].div_x /
	       info->components[0].bytes;
}

int pix_layout_init(const struct capture_format *format,
		    struct pix_layout *ret_layout)
{
	const struct pix_info *info = info_of(format->fourcc);
	struct pix_layout layout = { 0 };
	size_t offset = 0;
	uint32_t i;

	if (!info)
		return -EPROTONOSUPPORT;
	if (!format->width || format->width > CAPTURE_SIDE_MAX ||
	    !format->height || format->height > CAPTURE_SIDE_MAX ||
	    format->plane_count != (info->separate ? info->count : 1u))
		return -EINVAL;
	layout.fourcc = format->fourcc;
	layout.count = info->count;
	for (i = 0; i < info->count; i++) {
		struct pix_component *c = &layout.components[i];
		uint32_t div_x = info->components[i].div_x;
		uint32_t div_y = info->components[i].div_y;

		c->plane = info->separate ? i : 0;
		c->offset = info->separate ? 0 : offset;
		c->stride = component_stride(info, format, i);
		c->row_bytes = (size_t)((format->width + div_x - 1) / div_x) *
			       info->components[i].bytes;
		c->rows = (format->height + div_y - 1) / div_y;
		if (c->stride < c->row_bytes)
			return -EINVAL;
		offset += c->stride * c->rows;
	}
	*ret_layout = layout;
	return 0;
}

size_t pix_layout_plane_bytes(const struct pix_layout *layout, uint32_t plane)
{
	size_t bytes = 0;
	uint32_t i;

	for (i = 0; i < layout->count; i++) {
		const struct pix_component *c = &layout->components[i];

		/* Padding after the last line need not be there. */
		if (c->plane == plane)
			bytes = c->offset + c->stride * (c->rows - 1) +
				c->row_bytes;
	}
	return bytes;
}

bool pix_frame_fits(const struct capture_format *format,
		    const struct pix_layout *layout,
		    const struct capture_frame *frame)
{
	uint32_t p;

	if (frame->fourcc != format->fourcc || frame->width != format->width ||
	    frame->height != format->height ||
	    frame->plane_count != format->plane_count)
		return false;
	for (p = 0; p < frame->plane_count; p++) {
		const struct capture_plane *plane = &frame->planes[p];

		if (plane->stride != format->stride[p] ||
		    plane->offset > plane->length ||
		    plane->bytesused > plane->length - plane->offset)
			return false;
		if (layout->count &&
		    plane->bytesused < pix_layout_plane_bytes(layout, p))
			return false;
	}
	return true;
}

uint64_t pix_layout_bytes(const struct pix_layout *layout)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < layout->count; i++)
		bytes += (uint64_t)layout->components[i].row_bytes *
			 layout->components[i].rows;
	return bytes;
}

uint64_t pix_copy(const struct pix_layout *from, const uint8_t *const *src,
		  const struct pix_layout *to, uint8_t *const *dst)
{
	uint32_t i;
	size_t y;

	for (i = 0; i < from->count; i++) {
		const struct pix_component *a = &from->components[i];
		const struct pix_component *b = &to->components[i];
		const uint8_t *in = src[a->plane] + a->offset;
		uint8_t *out = dst[b->plane] + b->offset;

		for (y = 0; y < a->rows; y++)
			memcpy(out + y * b->stride, in + y * a->stride,
			       a->row_bytes);
	}
	return 2 * pix_layout_bytes(from);
}

bool pix_has_i420(uint32_t fourcc)
{
	switch (fourcc) {
	case CAPTURE_FORMAT_YU12:
	case CAPTURE_FORMAT_YV12:
	case CAPTURE_FORMAT_YM12:
	case CAPTURE_FORMAT_NV12:
	case CAPTURE_FORMAT_NV21:
	case CAPTURE_FORMAT_NM12:
	case CAPTURE_FORMAT_YUYV:
	case CAPTURE_FORMAT_UYVY:
		return true;
	default:
		return false;
	}
}

size_t pix_i420_scratch_bytes(uint32_t width, uint32_t height)
{
	return (size_t)width * height * 3 / 2;
}

/* @first: where U comes in the pair, 0 or 1. */
static void split_chroma(const struct pix_component *c, const uint8_t *src,
			 unsigned int first, uint8_t *u, uint8_t *v)
{
	size_t pairs = c->row_bytes / 2;
	size_t x;
	size_t y;

	for (y = 0; y < c->rows; y++) {
		const uint8_t *in = src + y * c->stride;

		for (x = 0; x < pairs; x++) {
			*u++ = in[2 * x + first];
			*v++ = in[2 * x + 1 - first];
		}
	}
}

/* @luma: where Y comes in the pair of bytes, 0 (YUYV) or 1 (UYVY). */
static void unpack_422(const struct pix_component *c, const uint8_t *src,
		       unsigned int luma, uint8_t *y_out, uint8_t *u,
		       uint8_t *v)
{
	size_t groups = c->row_bytes / 4;
	unsigned int chroma = 1 - luma;
	size_t x;
	size_t y;

	for (y = 0; y < c->rows; y += 2) {
		const uint8_t *a = src + y * c->stride;
		const uint8_t *b = a + c->stride;
		uint8_t *ya = y_out + y * groups * 2;
		uint8_t *yb = ya + groups * 2;

		for (x = 0; x < groups; x++, a += 4, b += 4) {
			ya[2 * x] = a[luma];
			ya[2 * x + 1] = a[luma + 2];
			yb[2 * x] = b[luma];
			yb[2 * x + 1] = b[luma + 2];
			*u++ = (uint8_t)((a[chroma] + b[chroma] + 1) / 2);
			*v++ = (uint8_t)((a[chroma + 2] + b[chroma + 2] + 1) /
					 2);
		}
	}
}

/* Points @p at components as they lie; @u and @v say which is which. */
static void view_planar(const struct pix_layout *layout,
			const uint8_t *const *src, uint32_t u, uint32_t v,
			struct pix_i420 *p)
{
	uint32_t order[3];
	uint32_t i;

	order[0] = 0;
	order[1] = u;
	order[2] = v;
	for (i = 0; i < 3; i++) {
		const struct pix_component *c = &layout->components[order[i]];

		p->data[i] = src[c->plane] + c->offset;
		p->stride[i] = c->stride;
	}
	p->bytes_touched = 0;
}

static void view_semiplanar(const struct pix_layout *layout,
			    const uint8_t *const *src, unsigned int first,
			    uint8_t *scratch, struct pix_i420 *p)
{
	const struct pix_component *y = &layout->components[0];
	const struct pix_component *c = &layout->components[1];
	size_t chroma_bytes = c->row_bytes / 2 * c->rows;

	split_chroma(c, src[c->plane] + c->offset, first, scratch,
		     scratch + chroma_bytes);
	p->data[0] = src[y->plane] + y->offset;
	p->stride[0] = y->stride;
	p->data[1] = scratch;
	p->data[2] = scratch + chroma_bytes;
	p->stride[1] = c->row_bytes / 2;
	p->stride[2] = c->row_bytes / 2;
	p->bytes_touched = 4 * (uint64_t)chroma_bytes;
}

static void view_packed(const struct pix_layout *layout,
			const uint8_t *const *src, unsigned int luma,
			uint8_t *scratch, struct pix_i420 *p)
{
	const struct pix_component *c = &layout->components[0];
	size_t width = c->row_bytes / 2;
	size_t luma_bytes = width * c->rows;

	p->data[0] = scratch;
	p->data[1] = scratch + luma_bytes;
	p->data[2] = scratch + luma_bytes + luma_bytes / 4;
	p->stride[0] = width;
	p->stride[1] = width / 2;
	p->stride[2] = width / 2;
	unpack_422(c, src[c->plane] + c->offset, luma, scratch,
		   scratch + luma_bytes,
		   scratch + luma_bytes + luma_bytes / 4);
	p->bytes_touched = 2 * (uint64_t)luma_bytes +
			   (uint64_t)luma_bytes * 3 / 2;
}

int pix_to_i420(const struct pix_layout *layout, const uint8_t *const *src,
		uint8_t *scratch, struct pix_i420 *ret_picture)
{
	switch (layout->fourcc) {
	case CAPTURE_FORMAT_YU12:
	case CAPTURE_FORMAT_YM12:
		view_planar(layout, src, 1, 2, ret_picture);
		return 0;
	case CAPTURE_FORMAT_YV12:
		view_planar(layout, src, 2, 1, ret_picture);
		return 0;
	case CAPTURE_FORMAT_NV12:
	case CAPTURE_FORMAT_NM12:
		view_semiplanar(layout, src, 0, scratch, ret_picture);
		return 0;
	case CAPTURE_FORMAT_NV21:
		view_semiplanar(layout, src, 1, scratch, ret_picture);
		return 0;
	case CAPTURE_FORMAT_YUYV:
		view_packed(layout, src, 0, scratch, ret_picture);
		return 0;
	case CAPTURE_FORMAT_UYVY:
		view_packed(layout, src, 1, scratch, ret_picture);
		return 0;
	default:
		return -EPROTONOSUPPORT;
	}
}
