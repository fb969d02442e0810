// SPDX-License-Identifier: GPL-2.0-only
#include "vh264enc_jpeg.h"

#include <linux/kernel.h>
#include <linux/string.h>

#define BLOCK 8u
#define DC_CODES 9 /* categories 0..8: differences of eight bits */

/* A Huffman table of DC categories; code lengths 2, 3, 3, 3, 3, 3, 4, 5, 6. */
static const u8 dc_lengths[16] = {0, 1, 5, 1, 1, 1};
static const struct {
	u8 code;
	u8 bits;
} dc_codes[DC_CODES] = {{0x0, 2}, {0x2, 3}, {0x3, 3},  {0x4, 3}, {0x5, 3},
			{0x6, 3}, {0xe, 4}, {0x1e, 5}, {0x3e, 6}};

static void put(struct vh264_out *o, u8 byte)
{
	if (o->len == o->max) {
		o->overflow = true;
		return;
	}
	o->bytes[o->len++] = byte;
}

static void put16(struct vh264_out *o, u32 value)
{
	put(o, value >> 8);
	put(o, value);
}

static void put_marker(struct vh264_out *o, u8 marker, u32 bytes)
{
	put(o, 0xff);
	put(o, marker);
	if (bytes)
		put16(o, bytes);
}

/* Coded data, in which 0xff must not look like a marker. */
static void put_bits(struct vh264_out *o, u32 value, u32 count)
{
	while (count--) {
		o->part = o->part << 1 | (value >> count & 1);
		if (++o->part_bits < 8)
			continue;
		put(o, o->part);
		if (o->part == 0xff)
			put(o, 0);
		o->part_bits = 0;
	}
}

static void put_tables(struct vh264_out *o, u32 step)
{
	u32 i;

	put_marker(o, 0xdb, 67); /* DQT: one for all components */
	put(o, 0);
	for (i = 0; i < 64; i++)
		put(o, step);
	put_marker(o, 0xc4, 19 + DC_CODES); /* DHT, DC */
	put(o, 0x00);
	for (i = 0; i < 16; i++)
		put(o, dc_lengths[i]);
	for (i = 0; i < DC_CODES; i++)
		put(o, i);
	put_marker(o, 0xc4, 20); /* DHT, AC: "end of block" is the bit 0 */
	put(o, 0x10);
	for (i = 0; i < 16; i++)
		put(o, i == 0);
	put(o, 0x00);
}

static void put_headers(struct vh264_out *o, u32 width, u32 height)
{
	u32 i;

	put_marker(o, 0xc0, 17); /* SOF0: 4:2:0 */
	put(o, 8);
	put16(o, height);
	put16(o, width);
	put(o, 3);
	for (i = 0; i < 3; i++) {
		put(o, i + 1);
		put(o, i ? 0x11 : 0x22);
		put(o, 0);
	}
	put_marker(o, 0xda, 12); /* SOS */
	put(o, 3);
	for (i = 0; i < 3; i++) {
		put(o, i + 1);
		put(o, 0x00);
	}
	put(o, 0);
	put(o, 63);
	put(o, 0);
}

/* Mean of the block at @x, @y; the last samples stand in for those beyond. */
static int mean(const struct vh264_picture *pic, u32 plane, u32 width,
		u32 height, u32 x, u32 y)
{
	u32 step = plane ? pic->chroma_step : 1;
	u32 sum = 0;
	u32 i;
	u32 j;

	for (j = 0; j < BLOCK; j++) {
		const u8 *row = pic->plane[plane] +
				min(y + j, height - 1) * pic->stride[plane];

		for (i = 0; i < BLOCK; i++)
			sum += row[min(x + i, width - 1) * step];
	}
	return (sum + 32) / 64;
}

/* Its difference to the block before, then no more. */
static void put_block(struct vh264_out *o, int dc, int *last)
{
	int diff = dc - *last;
	u32 bits = fls(abs(diff));

	put_bits(o, dc_codes[bits].code, dc_codes[bits].bits);
	put_bits(o, diff < 0 ? diff - 1 : diff, bits);
	put_bits(o, 0, 1);
	*last = dc;
}

void vjpeg_put_picture(struct vh264_out *o, u32 width, u32 height,
		       const struct vh264_picture *pic, u32 quality)
{
	/* A coefficient of 8 is a mean of 1: so many of those is one step. */
	int coarse = 1 + (100 - clamp(quality, 1u, 100u)) / 10;
	int last[3] = {0, 0, 0};
	u32 mbs = vh264_mbs(width) * vh264_mbs(height);
	u32 mb;
	u32 i;

	put_marker(o, 0xd8, 0);
	put_tables(o, 8 * coarse);
	put_headers(o, width, height);
	for (mb = 0; mb < mbs; mb++) {
		u32 x = mb % vh264_mbs(width);
		u32 y = mb / vh264_mbs(width);

		for (i = 0; i < 4; i++)
			put_block(o,
				  (mean(pic, 0, width, height,
					16 * x + i % 2 * BLOCK,
					16 * y + i / 2 * BLOCK) -
				   128) / coarse,
				  &last[0]);
		for (i = 1; i < 3; i++)
			put_block(o,
				  (mean(pic, i, width / 2, height / 2,
					BLOCK * x, BLOCK * y) -
				   128) / coarse,
				  &last[i]);
	}
	while (o->part_bits)
		put_bits(o, 1, 1);
	put_marker(o, 0xd9, 0);
}
