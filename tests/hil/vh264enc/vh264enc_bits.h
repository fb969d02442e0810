/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * H.264 without compression: a key frame is I_PCM macroblocks, so a decoder
 * gives back the very samples that went in; all other frames are P_Skip, but
 * for a window of I_PCM macroblocks that moves on. Pure, no kernel objects.
 */
#ifndef VH264ENC_BITS_H
#define VH264ENC_BITS_H

#include <linux/types.h>

enum vh264_kind { VH264_IDR, VH264_I, VH264_P };

struct vh264_params {
	u32 width; /* visible, even */
	u32 height;
	u8 profile_idc;
	bool constrained; /* of the Baseline profile */
	u8 level_idc;
	bool level_1b;
	bool full_range;
};

/* Where the samples are; chroma_step 2: Cb and Cr alternate (NV12). */
struct vh264_picture {
	const u8 *plane[3];
	u32 stride[3];
	u32 chroma_step;
};

struct vh264_frame {
	enum vh264_kind kind;
	u32 frame_num; /* since the last IDR */
	u32 idr_id;
	int qp;
	u32 window_first; /* of a P frame: macroblocks sent, ... */
	u32 window_count; /* ... in raster order, around the end */
};

/* A growing byte string that knows when its memory was too small. */
struct vh264_out {
	u8 *bytes;
	size_t len;
	size_t max;
	bool overflow;
	u32 zeros;     /* before the next byte, in the payload */
	u8 part;       /* bits that are not a byte yet, ... */
	u32 part_bits; /* ... so many */
};

static inline u32 vh264_mbs(u32 pixels)
{
	return (pixels + 15) / 16;
}

/* What a frame cannot exceed: every third byte may be an escape. */
size_t vh264_frame_bytes_max(u32 width, u32 height);

/* Parts of any stream of NAL units. */
void vh264_begin_nal(struct vh264_out *o, u8 header);
void vh264_end_nal(struct vh264_out *o);
void vh264_put_byte(struct vh264_out *o, u8 byte);
void vh264_put_bits(struct vh264_out *o, u32 value, u32 count);
void vh264_put_ue(struct vh264_out *o, u32 value);
void vh264_put_se(struct vh264_out *o, int value);
/* Zeros up to the next byte. */
void vh264_align(struct vh264_out *o);
/* Those, then the samples of one macroblock. */
void vh264_put_pcm(struct vh264_out *o, const struct vh264_params *p,
		   const struct vh264_picture *pic, u32 mb);

void vh264_out_init(struct vh264_out *o, void *bytes, size_t max);
void vh264_put_headers(struct vh264_out *o, const struct vh264_params *p);
void vh264_put_frame(struct vh264_out *o, const struct vh264_params *p,
		     const struct vh264_picture *pic,
		     const struct vh264_frame *f);
/* Filler data of about @bytes bytes; less than a whole NAL unit: nothing. */
void vh264_put_filler(struct vh264_out *o, size_t bytes);

#endif
