/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Baseline JPEG (T.81) of means: each block of 8 x 8 samples has its mean and
 * nothing else, so that whoever decodes it can be compared with the means of
 * what went in. Pure, no kernel objects.
 */
#ifndef VH264ENC_JPEG_H
#define VH264ENC_JPEG_H

#include "vh264enc_bits.h"

/* @quality: 1..100; at 100 a block is its mean, rounded. */
void vjpeg_put_picture(struct vh264_out *o, u32 width, u32 height,
		       const struct vh264_picture *pic, u32 quality);

#endif
