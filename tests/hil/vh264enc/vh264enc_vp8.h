/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VP8 (RFC 6386) of flat blocks: each block of 4 x 4 samples that is sent
 * becomes its mean, as near as the quantiser allows; at VP8_QP_EXACT it is
 * the mean. Frames between keys send a window of macroblocks and take the
 * rest from the frame before. Pure, no kernel objects.
 */
#ifndef VH264ENC_VP8_H
#define VH264ENC_VP8_H

#include "vh264enc_bits.h"

#define VP8_QP_MAX 127
#define VP8_QP_EXACT 4 /* a step of the quantiser is a step of the mean */
/* What a macroblock takes at most: 24 coefficients and its modes. */
#define VP8_MB_BYTES_MAX 96

/* What a decoder has: one sample stands for the 16 of its block. */
struct vvp8_state {
	u8 *blocks; /* vvp8_state_bytes() of them, the user's */
};

size_t vvp8_state_bytes(u32 width, u32 height);

/* @version: 0..3, the profile. VH264_I is as VH264_IDR: there is no other. */
void vvp8_put_frame(struct vh264_out *o, const struct vh264_params *p,
		    u32 version, const struct vh264_picture *pic,
		    const struct vh264_frame *f, struct vvp8_state *state);

/* Zeros behind the data, which decoders do not read. */
void vvp8_put_padding(struct vh264_out *o, size_t bytes);

#endif
