// SPDX-License-Identifier: GPL-2.0-only
#include "vh264enc_bits.h"

#include <linux/kernel.h>
#include <linux/string.h>

#define NAL_SLICE 0x41 /* nal_ref_idc 2 */
#define NAL_IDR 0x65   /* nal_ref_idc 3 */
#define NAL_SPS 0x67
#define NAL_PPS 0x68
#define NAL_FILLER 0x0c

#define LOG2_MAX_FRAME_NUM 8
#define INIT_QP 26
#define SLICE_P 5 /* all slices of the picture are alike */
#define SLICE_I 7
#define MB_I_PCM 25 /* in an I slice; 5 more in a P slice */
#define MB_BYTES 384
/* Headers of all kinds, far more than they take. */
#define HEADER_BYTES_MAX 512

size_t vh264_frame_bytes_max(u32 width, u32 height)
{
	size_t mbs = (size_t)vh264_mbs(width) * vh264_mbs(height);

	return mbs * (MB_BYTES + 4) * 3 / 2 + HEADER_BYTES_MAX;
}

void vh264_out_init(struct vh264_out *o, void *bytes, size_t max)
{
	memset(o, 0, sizeof(*o));
	o->bytes = bytes;
	o->max = max;
}

static void put_raw(struct vh264_out *o, u8 byte)
{
	if (o->len == o->max) {
		o->overflow = true;
		return;
	}
	o->bytes[o->len++] = byte;
}

/* A payload byte; nothing in there may look like a start code. */
void vh264_put_byte(struct vh264_out *o, u8 byte)
{
	if (o->zeros >= 2 && byte <= 3) {
		put_raw(o, 3);
		o->zeros = 0;
	}
	put_raw(o, byte);
	o->zeros = byte ? 0 : o->zeros + 1;
}

void vh264_put_bits(struct vh264_out *o, u32 value, u32 count)
{
	while (count--) {
		o->part = o->part << 1 | (value >> count & 1);
		if (++o->part_bits == 8) {
			vh264_put_byte(o, o->part);
			o->part_bits = 0;
		}
	}
}

void vh264_put_ue(struct vh264_out *o, u32 value)
{
	u32 bits = fls(value + 1);

	vh264_put_bits(o, 0, bits - 1);
	vh264_put_bits(o, value + 1, bits);
}

void vh264_put_se(struct vh264_out *o, int value)
{
	vh264_put_ue(o, value > 0 ? 2 * (u32)value - 1 : 2 * (u32)-value);
}

void vh264_begin_nal(struct vh264_out *o, u8 header)
{
	put_raw(o, 0);
	put_raw(o, 0);
	put_raw(o, 0);
	put_raw(o, 1);
	put_raw(o, header);
	o->zeros = 0;
	o->part_bits = 0;
}

void vh264_align(struct vh264_out *o)
{
	while (o->part_bits)
		vh264_put_bits(o, 0, 1);
}

void vh264_end_nal(struct vh264_out *o)
{
	vh264_put_bits(o, 1, 1);
	vh264_align(o);
}

static void put_vui(struct vh264_out *o, const struct vh264_params *p)
{
	vh264_put_bits(o, 0, 1); /* aspect ratio */
	vh264_put_bits(o, 0, 1); /* overscan */
	vh264_put_bits(o, 1, 1); /* video signal type */
	vh264_put_bits(o, 5, 3); /* unspecified format */
	vh264_put_bits(o, p->full_range, 1);
	vh264_put_bits(o, 0, 1); /* colour description */
	vh264_put_bits(o, 0, 1); /* chroma location */
	vh264_put_bits(o, 0, 1); /* timing */
	vh264_put_bits(o, 0, 1); /* NAL HRD */
	vh264_put_bits(o, 0, 1); /* VCL HRD */
	vh264_put_bits(o, 0, 1); /* pic_struct */
	vh264_put_bits(o, 1, 1); /* bitstream restriction */
	vh264_put_bits(o, 1, 1); /* motion vectors over the edges */
	vh264_put_ue(o, 0);	 /* bytes per picture: no bound */
	vh264_put_ue(o, 0);	 /* bits per macroblock: no bound */
	vh264_put_ue(o, 10);
	vh264_put_ue(o, 10);
	vh264_put_ue(o, 0); /* no reordering: decoders need not wait */
	vh264_put_ue(o, 1);
}

static void put_sps(struct vh264_out *o, const struct vh264_params *p)
{
	u32 mbs_w = vh264_mbs(p->width);
	u32 mbs_h = vh264_mbs(p->height);
	u32 right = (mbs_w * 16 - p->width) / 2;
	u32 bottom = (mbs_h * 16 - p->height) / 2;

	vh264_begin_nal(o, NAL_SPS);
	vh264_put_bits(o, p->profile_idc, 8);
	vh264_put_bits(o, p->profile_idc == 66, 1);
	vh264_put_bits(o, p->constrained, 1);
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, p->level_1b, 1);
	vh264_put_bits(o, 0, 4);
	vh264_put_bits(o, p->level_idc, 8);
	vh264_put_ue(o, 0);
	if (p->profile_idc == 100) {
		vh264_put_ue(o, 1); /* 4:2:0 */
		vh264_put_ue(o, 0); /* 8 bits */
		vh264_put_ue(o, 0);
		vh264_put_bits(o, 0, 2);
	}
	vh264_put_ue(o, LOG2_MAX_FRAME_NUM - 4);
	vh264_put_ue(o, 2); /* output order is decoding order */
	vh264_put_ue(o, 1); /* reference frames */
	vh264_put_bits(o, 0, 1);
	vh264_put_ue(o, mbs_w - 1);
	vh264_put_ue(o, mbs_h - 1);
	vh264_put_bits(o, 1, 1); /* frames, not fields */
	vh264_put_bits(o, 1, 1);
	vh264_put_bits(o, right || bottom, 1);
	if (right || bottom) {
		vh264_put_ue(o, 0);
		vh264_put_ue(o, right);
		vh264_put_ue(o, 0);
		vh264_put_ue(o, bottom);
	}
	vh264_put_bits(o, 1, 1);
	put_vui(o, p);
	vh264_end_nal(o);
}

static void put_pps(struct vh264_out *o)
{
	vh264_begin_nal(o, NAL_PPS);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 1); /* CAVLC */
	vh264_put_bits(o, 0, 1);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, 0, 2);
	vh264_put_se(o, INIT_QP - 26);
	vh264_put_se(o, 0);
	vh264_put_se(o, 0);
	vh264_put_bits(o, 1, 1); /* deblocking is told per slice */
	vh264_put_bits(o, 0, 1);
	vh264_put_bits(o, 0, 1);
	vh264_end_nal(o);
}

void vh264_put_headers(struct vh264_out *o, const struct vh264_params *p)
{
	put_sps(o, p);
	put_pps(o);
}

static void put_slice_header(struct vh264_out *o, const struct vh264_frame *f)
{
	vh264_put_ue(o, 0);
	vh264_put_ue(o, f->kind == VH264_P ? SLICE_P : SLICE_I);
	vh264_put_ue(o, 0);
	vh264_put_bits(o, f->frame_num, LOG2_MAX_FRAME_NUM);
	if (f->kind == VH264_IDR)
		vh264_put_ue(o, f->idr_id & 0xffff);
	if (f->kind == VH264_P) {
		vh264_put_bits(o, 0, 1); /* one reference, as in the PPS */
		vh264_put_bits(o, 0, 1); /* in the default order */
	}
	/* Reference marking: the sliding window. */
	vh264_put_bits(o, 0, f->kind == VH264_IDR ? 2 : 1);
	vh264_put_se(o, f->qp - INIT_QP);
	vh264_put_ue(o, 1); /* no deblocking: samples stay as they are */
}

/* Rows and columns past the picture repeat its edge; they are cropped. */
static void put_samples(struct vh264_out *o, const u8 *plane, u32 stride,
			u32 step, u32 x0, u32 y0, u32 side, u32 width,
			u32 height)
{
	u32 x, y;

	for (y = y0; y < y0 + side; y++) {
		const u8 *line = plane + (size_t)min(y, height - 1) * stride;

		for (x = x0; x < x0 + side; x++)
			vh264_put_byte(o, line[min(x, width - 1) * step]);
	}
}

void vh264_put_pcm(struct vh264_out *o, const struct vh264_params *p,
		   const struct vh264_picture *pic, u32 mb)
{
	u32 x = mb % vh264_mbs(p->width);
	u32 y = mb / vh264_mbs(p->width);
	int c;

	vh264_align(o);
	put_samples(o, pic->plane[0], pic->stride[0], 1, 16 * x, 16 * y, 16,
		    p->width, p->height);
	for (c = 1; c < 3; c++)
		put_samples(o, pic->plane[c], pic->stride[c], pic->chroma_step,
			    8 * x, 8 * y, 8, p->width / 2, p->height / 2);
}

static bool in_window(const struct vh264_frame *f, u32 mb, u32 mbs)
{
	return (mb + mbs - f->window_first) % mbs < f->window_count;
}

static void put_p_data(struct vh264_out *o, const struct vh264_params *p,
		       const struct vh264_picture *pic,
		       const struct vh264_frame *f, u32 mbs)
{
	u32 skipped = 0;
	u32 mb;

	for (mb = 0; mb < mbs; mb++) {
		if (!in_window(f, mb, mbs)) {
			skipped++;
			continue;
		}
		vh264_put_ue(o, skipped);
		skipped = 0;
		vh264_put_ue(o, 5 + MB_I_PCM);
		vh264_put_pcm(o, p, pic, mb);
	}
	if (skipped)
		vh264_put_ue(o, skipped);
}

void vh264_put_frame(struct vh264_out *o, const struct vh264_params *p,
		     const struct vh264_picture *pic,
		     const struct vh264_frame *f)
{
	u32 mbs = vh264_mbs(p->width) * vh264_mbs(p->height);
	u32 mb;

	vh264_begin_nal(o, f->kind == VH264_IDR ? NAL_IDR : NAL_SLICE);
	put_slice_header(o, f);
	if (f->kind == VH264_P) {
		put_p_data(o, p, pic, f, mbs);
	} else {
		for (mb = 0; mb < mbs; mb++) {
			vh264_put_ue(o, MB_I_PCM);
			vh264_put_pcm(o, p, pic, mb);
		}
	}
	vh264_end_nal(o);
}

void vh264_put_filler(struct vh264_out *o, size_t bytes)
{
	size_t i;

	if (bytes < 6)
		return;
	vh264_begin_nal(o, NAL_FILLER);
	for (i = 6; i < bytes; i++)
		vh264_put_byte(o, 0xff);
	vh264_end_nal(o);
}
