// SPDX-License-Identifier: GPL-2.0-only
#include "vh264enc_hevc.h"

#include <linux/kernel.h>
#include <linux/string.h>

#define NAL_TRAIL_R 1
#define NAL_IDR_N_LP 20
#define NAL_VPS 32
#define NAL_SPS 33
#define NAL_PPS 34

#define LOG2_MAX_POC 8
#define SLICE_I 2
#define INIT_RANGE 510u

/*
 * The arithmetic coder. It codes one bin by a context, part_mode, which is
 * always 1, the more probable symbol; all else are bins that end it.
 */
struct cabac {
	struct vh264_out *out;
	u32 low;
	u32 range;
	u32 outstanding;
	bool first;
	u32 state; /* of part_mode */
};

/*
 * rangeTabLps of H.265 table 9-52, for a range of 448 and more: each unit
 * begins with the coder at its start, so there is no other. Indexed by state.
 */
static const u8 range_lps[] = {
	240, 227, 216, 205, 195, 185, 175, 166, 158, 150, 142, 135, 128,
	122, 116, 110, 104, 99,	 94,  89,  85,	80,  76,  72,  69,  65,
	62,  59,  56,  53,  50,	 48,  45,  43,	41,  39,  37,  35,  33,
	31,  30,  28,  27,  25,	 24,  23,  22,	21,  20,  19,  18,  17,
	16,  15,  14,  14,  13,	 12,  12,  11,	11,  10,  9,
};

static void cabac_begin(struct cabac *c)
{
	c->low = 0;
	c->range = INIT_RANGE;
	c->outstanding = 0;
	c->first = true;
}

static void cabac_bit(struct cabac *c, u32 bit)
{
	if (!c->first)
		vh264_put_bits(c->out, bit, 1);
	c->first = false;
	for (; c->outstanding; c->outstanding--)
		vh264_put_bits(c->out, !bit, 1);
}

static void cabac_renorm(struct cabac *c)
{
	while (c->range < 256) {
		if (c->low < 256) {
			cabac_bit(c, 0);
		} else if (c->low >= 512) {
			c->low -= 512;
			cabac_bit(c, 1);
		} else {
			c->low -= 256;
			c->outstanding++;
		}
		c->range <<= 1;
		c->low <<= 1;
	}
}

static void cabac_part_mode(struct cabac *c)
{
	c->range -= range_lps[c->state];
	if (c->state < ARRAY_SIZE(range_lps) - 1)
		c->state++;
	cabac_renorm(c);
}

/* A bin that ends it, if it is 1: the last bit written is the stop bit. */
static void cabac_terminate(struct cabac *c, u32 bin)
{
	c->range -= 2;
	if (!bin) {
		cabac_renorm(c);
		return;
	}
	c->low += c->range;
	c->range = 2;
	cabac_renorm(c);
	cabac_bit(c, c->low >> 9 & 1);
	vh264_put_bits(c->out, (c->low >> 7 & 3) | 1, 2);
}

static void begin_unit(struct vh264_out *o, u32 type)
{
	vh264_begin_nal(o, type << 1);
	vh264_put_byte(o, 1); /* layer 0, temporal id 0 */
}

static void put_profile(struct vh264_out *o, const struct vh264_params *p)
{
	vh264_put_bits(o, 0, 3);
	vh264_put_bits(o, 1, 5);	   /* Main */
	vh264_put_bits(o, 0x60000000, 32); /* also by Main 10's decoders */
	vh264_put_bits(o, 1, 1);	   /* progressive */
	vh264_put_bits(o, 0, 2);
	vh264_put_bits(o, 1, 1); /* frames only */
	vh264_put_bits(o, 0, 32);
	vh264_put_bits(o, 0, 12);
	vh264_put_bits(o, p->level_idc, 8);
}

/* One picture in the buffer, none reordered. */
static void put_ordering(struct vh264_out *o)
{
	vh264_put_bits(o, 1, 1);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
}

static void put_vps(struct vh264_out *o, const struct vh264_params *p)
{
	begin_unit(o, NAL_VPS);
	vh264_put_bits(o, 0, 4);
	vh264_put_bits(o, 3, 2);
	vh264_put_bits(o, 0, 6); /* one layer */
	vh264_put_bits(o, 0, 3); /* one sub-layer */
	vh264_put_bits(o, 1, 1);
	vh264_put_bits(o, 0xffff, 16);
	put_profile(o, p);
	put_ordering(o);
	vh264_put_bits(o, 0, 6);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 1); /* timing */
	vh264_put_bits(o, 0, 1);
	vh264_end_nal(o);
}

static void put_size(struct vh264_out *o, const struct vh264_params *p)
{
	u32 width = vh264_mbs(p->width) * 16;
	u32 height = vh264_mbs(p->height) * 16;
	bool cropped = width != p->width || height != p->height;

	vh264_put_ue(o, width);
	vh264_put_ue(o, height);
	vh264_put_bits(o, cropped, 1);
	if (cropped) {
		vh264_put_ue(o, 0);
		vh264_put_ue(o, (width - p->width) / 2);
		vh264_put_ue(o, 0);
		vh264_put_ue(o, (height - p->height) / 2);
	}
}

static void put_sps(struct vh264_out *o, const struct vh264_params *p)
{
	begin_unit(o, NAL_SPS);
	vh264_put_bits(o, 0, 4);
	vh264_put_bits(o, 0, 3);
	vh264_put_bits(o, 1, 1);
	put_profile(o, p);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 1); /* 4:2:0 */
	put_size(o, p);
	vh264_put_ue(o, 0); /* 8 bits */
	vh264_put_ue(o, 0);
	vh264_put_ue(o, LOG2_MAX_POC - 4);
	put_ordering(o);
	vh264_put_ue(o, 1); /* units of 16 x 16, ... */
	vh264_put_ue(o, 0); /* ... all of them: no split is coded */
	vh264_put_ue(o, 0); /* transforms of 4 to 16 */
	vh264_put_ue(o, 2);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 1); /* scaling lists */
	vh264_put_bits(o, 0, 1); /* asymmetric partitions */
	vh264_put_bits(o, 0, 1); /* sample adaptive offset */
	vh264_put_bits(o, 1, 1); /* PCM: */
	vh264_put_bits(o, 7, 4); /* 8 bits */
	vh264_put_bits(o, 7, 4);
	vh264_put_ue(o, 1); /* of 16 x 16 */
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 1, 1); /* not deblocked */
	vh264_put_ue(o, 0);	 /* reference picture sets */
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, 0, 1); /* temporal motion vectors */
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, 0, 1); /* VUI */
	vh264_put_bits(o, 0, 1);
	vh264_end_nal(o);
}

static void put_pps(struct vh264_out *o)
{
	begin_unit(o, NAL_PPS);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 7); /* slices that are simple */
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_se(o, 0); /* QP 26 */
	vh264_put_bits(o, 0, 3);
	vh264_put_se(o, 0);
	vh264_put_se(o, 0);
	vh264_put_bits(o, 0, 7); /* no tiles, no wavefronts */
	vh264_put_bits(o, 1, 1); /* deblocking: */
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, 1, 1); /* none */
	vh264_put_bits(o, 0, 2);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 2);
	vh264_end_nal(o);
}

void vhevc_put_headers(struct vh264_out *o, const struct vh264_params *p)
{
	put_vps(o, p);
	put_sps(o, p);
	put_pps(o);
}

static void put_slice_header(struct vh264_out *o, const struct vh264_frame *f)
{
	vh264_put_bits(o, 1, 1); /* the first slice of the picture */
	if (f->kind == VH264_IDR)
		vh264_put_bits(o, 0, 1);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, SLICE_I);
	if (f->kind != VH264_IDR) {
		vh264_put_bits(o, f->frame_num, LOG2_MAX_POC);
		vh264_put_bits(o, 0, 1); /* a set of its own: */
		vh264_put_ue(o, 0);	 /* no pictures before it, ... */
		vh264_put_ue(o, 0);	 /* ... and none after it */
	}
	vh264_put_se(o, 0);
	vh264_put_bits(o, 1, 1);
	vh264_align(o);
}

void vhevc_put_frame(struct vh264_out *o, const struct vh264_params *p,
		     const struct vh264_picture *pic,
		     const struct vh264_frame *f)
{
	u32 units = vh264_mbs(p->width) * vh264_mbs(p->height);
	struct cabac c = {.out = o};
	u32 i;

	begin_unit(o, f->kind == VH264_IDR ? NAL_IDR_N_LP : NAL_TRAIL_R);
	put_slice_header(o, f);
	cabac_begin(&c);
	for (i = 0; i < units; i++) {
		cabac_part_mode(&c);
		cabac_terminate(&c, 1); /* PCM follows */
		vh264_put_pcm(o, p, pic, i);
		cabac_begin(&c);
		cabac_terminate(&c, i + 1 == units);
	}
	vh264_align(o);
}
