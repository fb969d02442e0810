/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JPEG by TurboJPEG, 4:2:0, written straight into a slot. JPEG has the full
 * range of values and cameras mostly the limited one: those are stretched, or
 * every viewer would show them pale.
 */
#include "src/encoder_soft.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/videodev2.h>
#include <turbojpeg.h>

#define QUALITY_DEFAULT 85
#define SAMPLING TJSAMP_420

struct jpeg {
	struct soft soft;
	tjhandle codec;
	int quality;
	uint8_t *scratch;  /* for conversions */
	uint8_t *full;	   /* stretched, three planes; NULL: as it is */
	uint8_t luma[256]; /* limited to full range */
	uint8_t chroma[256];
};

static struct jpeg *jpeg_of(struct soft *s)
{
	return container_of(s, struct jpeg, soft);
}

/* V4L2's default is limited for all of YUV but JPEG's own. */
static bool is_full_range(const struct capture_format *source)
{
	if (source->quantization == V4L2_QUANTIZATION_DEFAULT)
		return source->colorspace == V4L2_COLORSPACE_JPEG;
	return source->quantization == V4L2_QUANTIZATION_FULL_RANGE;
}

/* From @low .. @low + @span, about @low + @span / 2, to 0 .. 255. */
static void init_stretch(uint8_t *table, int low, int span)
{
	int i;

	for (i = 0; i < 256; i++) {
		int v = ((i - low) * 510 + span) / (2 * span);

		table[i] = (uint8_t)MIN(MAX(v, 0), 255);
	}
}

static int alloc_planes(struct jpeg *j)
{
	const struct capture_format *source = &j->soft.base.source;
	size_t pixels = (size_t)source->width * source->height;

	j->scratch =
		malloc(pix_i420_scratch_bytes(source->width, source->height));
	if (!j->scratch)
		return -ENOMEM;
	if (is_full_range(source))
		return 0;
	init_stretch(j->luma, 16, 219);
	init_stretch(j->chroma, 16, 224);
	j->full = malloc(pixels + pixels / 2);
	return j->full ? 0 : -ENOMEM;
}

static int jpeg_open(struct soft *soft,
		     const struct capture_encoder_config *config)
{
	struct jpeg *j = jpeg_of(soft);
	const struct capture_format *source = &soft->base.source;
	unsigned long bytes;
	int r;

	r = soft_check_picture(soft, 2);
	if (r == 0)
		r = alloc_planes(j);
	if (r < 0)
		return r;
	j->quality = config->controls.quality > 0
			     ? (int)config->controls.quality
			     : QUALITY_DEFAULT;
	bytes = tjBufSize((int)source->width, (int)source->height, SAMPLING);
	if (bytes == (unsigned long)-1)
		return -ERANGE;
	soft->slot_bytes = bytes;
	j->codec = tjInitCompress();
	return j->codec ? 0 : -ENOMEM;
}

static void jpeg_close(struct soft *soft)
{
	struct jpeg *j = jpeg_of(soft);

	if (j->codec)
		(void)tjDestroy(j->codec);
	free(j->scratch);
	free(j->full);
}

static uint8_t *stretch_plane(const uint8_t *table, const uint8_t *src,
			      size_t stride, size_t width, size_t height,
			      uint8_t *out)
{
	size_t x;
	size_t y;

	for (y = 0; y < height; y++) {
		for (x = 0; x < width; x++)
			out[x] = table[src[x]];
		src += stride;
		out += width;
	}
	return out;
}

/* Makes @picture one of the full range. */
static void stretch(struct jpeg *j, struct pix_i420 *picture)
{
	size_t width = j->soft.base.source.width;
	size_t height = j->soft.base.source.height;
	uint8_t *out = j->full;
	int i;

	for (i = 0; i < 3; i++) {
		size_t w = i ? width / 2 : width;
		uint8_t *end = stretch_plane(i ? j->chroma : j->luma,
					     picture->data[i],
					     picture->stride[i], w,
					     i ? height / 2 : height, out);

		picture->data[i] = out;
		picture->stride[i] = w;
		out = end;
	}
	picture->bytes_touched += width * height * 3;
}

static int jpeg_encode(struct soft *soft, const struct capture_frame *frame,
		       const uint8_t *const *src)
{
	struct jpeg *j = jpeg_of(soft);
	struct pix_i420 picture;
	struct soft_slot *slot;
	unsigned long bytes = soft->slot_bytes;
	uint8_t *room;
	int strides[3];
	int r;
	int i;

	r = pix_to_i420(&soft->base.layout, src, j->scratch, &picture);
	if (r < 0)
		return r;
	if (j->full)
		stretch(j, &picture);
	for (i = 0; i < 3; i++)
		strides[i] = (int)picture.stride[i];
	slot = soft_slot_find(soft, &room);
	if (tjCompressFromYUVPlanes(j->codec, picture.data, (int)frame->width,
				    strides, (int)frame->height, SAMPLING,
				    &room, &bytes, j->quality,
				    TJFLAG_NOREALLOC))
		return -EIO;
	soft->base.stats.copies += picture.bytes_touched != 0;
	soft->base.stats.bytes_touched += picture.bytes_touched;
	soft_slot_push(soft, slot, &soft->origin, bytes);
	return 0;
}

const struct soft_codec soft_jpeg = {
	.name = "turbojpeg",
	.object_bytes = sizeof(struct jpeg),
	.open = jpeg_open,
	.close = jpeg_close,
	.encode = jpeg_encode,
};
