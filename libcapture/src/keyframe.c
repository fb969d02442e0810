/* SPDX-License-Identifier: Apache-2.0 */
#include "src/keyframe.h"

#include <string.h>

#include <capture/api.h>

#include "base/bytes.h"

#define H264_NAL_SLICE_FIRST 1u
#define H264_NAL_IDR 5u
#define HEVC_NAL_VCL_LAST 31u
#define HEVC_NAL_IRAP_FIRST 16u
#define HEVC_NAL_IRAP_LAST 23u

/* struct fwht_cframe_hdr of the kernel: magic, then big-endian words. */
#define FWHT_HEADER_BYTES 44u
#define FWHT_FLAGS_OFFSET 20u
#define FWHT_FLAG_I_FRAME (1u << 10)

/* Half of the range coder's first range, 0xff00. */
#define FFV1_KEY_WORD_MIN 0x7f80u

/* The first byte after the next start code, or NULL. */
static const uint8_t *next_nal(const uint8_t *p, const uint8_t *end)
{
	for (; end - p > 3; p++) {
		if (p[2] > 1)
			p += 2; /* neither of these three begins a code */
		else if (!p[0] && !p[1] && p[2] == 1)
			return p + 3;
	}
	return NULL;
}

/* 1: key, 0: another picture, -1: no picture data. */
static int h264_kind(uint8_t header)
{
	unsigned int type = header & 0x1fu;

	if (type < H264_NAL_SLICE_FIRST || type > H264_NAL_IDR)
		return -1;
	return type == H264_NAL_IDR;
}

static int hevc_kind(uint8_t header)
{
	unsigned int type = (header >> 1) & 0x3fu;

	if (type > HEVC_NAL_VCL_LAST)
		return -1;
	return type >= HEVC_NAL_IRAP_FIRST && type <= HEVC_NAL_IRAP_LAST;
}

/* The first slice decides: a picture's slices are all of one kind. */
static bool annexb_find(const uint8_t *bytes, size_t len,
			int (*kind)(uint8_t header))
{
	const uint8_t *end = bytes + len;
	const uint8_t *nal = bytes;
	int k;

	while ((nal = next_nal(nal, end))) {
		k = kind(*nal);
		if (k >= 0)
			return k;
	}
	return false;
}

static bool fwht_find(const uint8_t *bytes, size_t len)
{
	static const uint8_t magic[8] = { 0x4f, 0x4f, 0x4f, 0x4f,
					  0xff, 0xff, 0xff, 0xff };

	if (len < FWHT_HEADER_BYTES || memcmp(bytes, magic, sizeof(magic)))
		return false;
	return load_be32(bytes + FWHT_FLAGS_OFFSET) & FWHT_FLAG_I_FRAME;
}

/*
 * The first symbol of a frame is its key flag, range coded (RFC 9043, 3.8.1)
 * with even odds: one if the first word lies in the upper half.
 */
static bool ffv1_find(const uint8_t *bytes, size_t len)
{
	return len >= 2 && load_be16(bytes) >= FFV1_KEY_WORD_MIN;
}

bool keyframe_find(uint32_t fourcc, const uint8_t *bytes, size_t len)
{
	switch (fourcc) {
	case CAPTURE_FORMAT_H264:
		return annexb_find(bytes, len, h264_kind);
	case CAPTURE_FORMAT_HEVC:
		return annexb_find(bytes, len, hevc_kind);
	case CAPTURE_FORMAT_FWHT:
		return fwht_find(bytes, len);
	case CAPTURE_FORMAT_FFV1:
		return ffv1_find(bytes, len);
	case CAPTURE_FORMAT_MJPG:
	case CAPTURE_FORMAT_JPEG:
	case CAPTURE_FORMAT_Y16:
	case CAPTURE_FORMAT_ALAW:
	case CAPTURE_FORMAT_ULAW:
	case CAPTURE_FORMAT_AAC:
		return len != 0;
	default:
		return false;
	}
}
