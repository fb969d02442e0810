/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of counts as they are: 16 bits a pixel, little endian, line by
 * line without padding. For sensors so small that nothing need be packed.
 */
#include "src/encoder_soft.h"

#include <errno.h>

#include "base/bytes.h"
#include "src/thermal_map.h"

static int y16_open(struct soft *s, const struct capture_encoder_config *config)
{
	const struct capture_format *source = &s->base.source;

	(void)config;
	if (!thermal_bits(source->fourcc))
		return -EPROTONOSUPPORT;
	if (!s->base.layout.count)
		return -EINVAL; /* strides that cannot be */
	s->slot_bytes = (size_t)2 * source->width * source->height;
	return 0;
}

static void y16_close(struct soft *s)
{
	(void)s;
}

/* Counts are in the machine's order; the file's is little endian. */
static void store_row(uint16_t *counts, uint32_t width)
{
	uint32_t x;

	for (x = 0; x < width; x++)
		store_le16((uint8_t *)&counts[x], counts[x]);
}

static int y16_encode(struct soft *s, const struct capture_frame *frame,
		      const uint8_t *const *src)
{
	const struct pix_component *c = &s->base.layout.components[0];
	uint32_t width = frame->width;
	struct soft_slot *slot;
	uint8_t *room;
	size_t y;

	slot = soft_slot_find(s, &room);
	for (y = 0; y < c->rows; y++) {
		/* A slot begins at an even address: its bytes are even. */
		uint16_t *out = (uint16_t *)(void *)(room + y * 2 * width);

		thermal_read_row(frame->fourcc, src[0] + y * c->stride, out,
				 width);
		store_row(out, width);
	}
	s->base.stats.copies++;
	s->base.stats.bytes_touched += c->row_bytes * c->rows + s->slot_bytes;
	soft_slot_push(s, slot, &s->origin, s->slot_bytes);
	return 0;
}

const struct soft_codec soft_y16 = {
	.name = "y16",
	.object_bytes = sizeof(struct soft),
	.open = y16_open,
	.close = y16_close,
	.encode = y16_encode,
};
