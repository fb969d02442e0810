/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * H.265 without compression: every coding unit is PCM, so a decoder gives
 * back the very samples that went in. IDR pictures, and others that are no
 * key frames though they stand alone. Pure, no kernel objects.
 */
#ifndef VH264ENC_HEVC_H
#define VH264ENC_HEVC_H

#include "vh264enc_bits.h"

/* @level_idc: thirty times the level. VPS, SPS and PPS. */
void vhevc_put_headers(struct vh264_out *o, const struct vh264_params *p);
void vhevc_put_frame(struct vh264_out *o, const struct vh264_params *p,
		     const struct vh264_picture *pic,
		     const struct vh264_frame *f);

#endif
