/* SPDX-License-Identifier: Apache-2.0 */
#include "src/keyframe.h"

#include <string.h>

#include <capture/api.h>

#include "base/bytes.h"

#define H264_NAL_SLICE_FIRST 1u
#define H264_NAL_IDR 5u
#define H264_NAL_SPS 7u
#define H264_NAL_PPS 8u
#define H264_NAL_DELIMITER 9u
#define HEVC_NAL_VCL_LAST 31u
#define HEVC_NAL_IRAP_FIRST 16u
#define HEVC_NAL_IRAP_LAST 23u
#define HEVC_NAL_VPS 32u
#define HEVC_NAL_DELIMITER 35u

/* Frame tag, start code, sides. */
#define VP8_KEY_BYTES 10u

/* struct fwht_cframe_hdr of the kernel: magic, then big-endian words. */
#define FWHT_HEADER_BYTES 44u
#define FWHT_FLAGS_OFFSET 20u
#define FWHT_FLAG_I_FRAME (1u << 10)

/* Half of the range coder's first range, 0xff00. */
#define FFV1_KEY_WORD_MIN 0x7f80u

/* What a NAL unit is to us. */
enum nal_kind {
	NAL_OTHER = 0,
	NAL_DELIMITER, /* must stay the first of its picture */
	NAL_SET,
	NAL_PICTURE,
	NAL_KEY
};

struct nal {
	const uint8_t *start; /* its header; NULL: there are no more */
	const uint8_t *code;  /* the start code before it */
	const uint8_t *end;   /* trailing zeros belong to nobody */
	enum nal_kind kind;
	uint8_t set; /* of NAL_SET: a bit per kind */
};

#define SET_SPS 1u
#define SET_PPS 2u
#define SET_VPS 4u

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

static void h264_kind(struct nal *n)
{
	unsigned int type = *n->start & 0x1fu;

	if (type >= H264_NAL_SLICE_FIRST && type <= H264_NAL_IDR) {
		n->kind = type == H264_NAL_IDR ? NAL_KEY : NAL_PICTURE;
	} else if (type == H264_NAL_SPS || type == H264_NAL_PPS) {
		n->kind = NAL_SET;
		n->set = type == H264_NAL_SPS ? SET_SPS : SET_PPS;
	} else if (type == H264_NAL_DELIMITER) {
		n->kind = NAL_DELIMITER;
	}
}

static void hevc_kind(struct nal *n)
{
	static const uint8_t sets[] = {SET_VPS, SET_SPS, SET_PPS};
	unsigned int type = (*n->start >> 1) & 0x3fu;

	if (type <= HEVC_NAL_VCL_LAST) {
		n->kind = type >= HEVC_NAL_IRAP_FIRST &&
					  type <= HEVC_NAL_IRAP_LAST
				  ? NAL_KEY
				  : NAL_PICTURE;
	} else if (type >= HEVC_NAL_VPS && type < HEVC_NAL_VPS + sizeof(sets)) {
		n->kind = NAL_SET;
		n->set = sets[type - HEVC_NAL_VPS];
	} else if (type == HEVC_NAL_DELIMITER) {
		n->kind = NAL_DELIMITER;
	}
}

static bool is_annexb(uint32_t fourcc)
{
	return fourcc == CAPTURE_FORMAT_H264 || fourcc == CAPTURE_FORMAT_HEVC;
}

/* The NAL unit at @at, which next_nal() gave; its end is found later. */
static struct nal nal_at(uint32_t fourcc, const uint8_t *bytes,
			 const uint8_t *at)
{
	struct nal n = {.start = at};

	if (!at)
		return n;
	n.code = at - 3;
	if (n.code > bytes && !n.code[-1])
		n.code--;
	if (fourcc == CAPTURE_FORMAT_H264)
		h264_kind(&n);
	else
		hevc_kind(&n);
	return n;
}

/* Only the next start code tells where one ends: pictures are not searched. */
static const uint8_t *nal_end(struct nal *n, const uint8_t *end)
{
	const uint8_t *next = next_nal(n->start, end);

	n->end = next ? next - 3 : end;
	while (n->end > n->start + 1 && !n->end[-1])
		n->end--;
	return next;
}

/* The first slice decides: a picture's slices are all of one kind. */
static void annexb_scan(uint32_t fourcc, const uint8_t *bytes, size_t len,
			struct keyframe_parts *ret)
{
	const uint8_t need = fourcc == CAPTURE_FORMAT_H264
				     ? SET_SPS | SET_PPS
				     : SET_SPS | SET_PPS | SET_VPS;
	const uint8_t *end = bytes + len;
	struct nal n = nal_at(fourcc, bytes, next_nal(bytes, end));
	bool after_delimiter = false;
	uint8_t got = 0;

	while (n.start) {
		if (after_delimiter)
			ret->insert_at = (size_t)(n.code - bytes);
		after_delimiter = n.kind == NAL_DELIMITER;
		if (n.kind == NAL_SET)
			got |= n.set;
		if (n.kind == NAL_PICTURE || n.kind == NAL_KEY) {
			ret->picture = true;
			ret->key = n.kind == NAL_KEY;
			break;
		}
		n = nal_at(fourcc, bytes, nal_end(&n, end));
	}
	ret->any_set = got != 0;
	ret->all_sets = (got & need) == need;
}

size_t keyframe_copy_sets(uint32_t fourcc, const uint8_t *bytes, size_t len,
			  uint8_t *to, size_t max)
{
	static const uint8_t code[4] = {0, 0, 0, 1};
	const uint8_t *end = bytes + len;
	const uint8_t *next;
	size_t used = 0;
	struct nal n;

	if (!is_annexb(fourcc))
		return 0;
	n = nal_at(fourcc, bytes, next_nal(bytes, end));
	while (n.start && n.kind != NAL_PICTURE && n.kind != NAL_KEY) {
		next = nal_end(&n, end);
		if (n.kind == NAL_SET) {
			size_t bytes_of = (size_t)(n.end - n.start);

			if (max - used < sizeof(code) ||
			    max - used - sizeof(code) < bytes_of)
				return 0;
			memcpy(to + used, code, sizeof(code));
			memcpy(to + used + sizeof(code), n.start, bytes_of);
			used += sizeof(code) + bytes_of;
		}
		n = nal_at(fourcc, bytes, next);
	}
	return used;
}

/* RFC 6386 9.1: the lowest bit of the frame tag is clear in key frames. */
static bool vp8_find(const uint8_t *bytes, size_t len)
{
	static const uint8_t start[3] = {0x9d, 0x01, 0x2a};

	return len >= VP8_KEY_BYTES && !(bytes[0] & 1) &&
	       !memcmp(bytes + 3, start, sizeof(start));
}

static bool fwht_find(const uint8_t *bytes, size_t len)
{
	static const uint8_t magic[8] = {0x4f, 0x4f, 0x4f, 0x4f,
					 0xff, 0xff, 0xff, 0xff};

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
	struct keyframe_parts parts;

	keyframe_scan(fourcc, bytes, len, &parts);
	return parts.key;
}

void keyframe_scan(uint32_t fourcc, const uint8_t *bytes, size_t len,
		   struct keyframe_parts *ret_parts)
{
	struct keyframe_parts parts = {0};

	if (is_annexb(fourcc)) {
		annexb_scan(fourcc, bytes, len, &parts);
		*ret_parts = parts;
		return;
	}
	parts.picture = len > 0;
	parts.all_sets = true;
	switch (fourcc) {
	case CAPTURE_FORMAT_VP8:
		parts.key = vp8_find(bytes, len);
		break;
	case CAPTURE_FORMAT_FWHT:
		parts.key = fwht_find(bytes, len);
		break;
	case CAPTURE_FORMAT_FFV1:
		parts.key = ffv1_find(bytes, len);
		break;
	case CAPTURE_FORMAT_MJPG:
	case CAPTURE_FORMAT_JPEG:
	case CAPTURE_FORMAT_Y16:
	case CAPTURE_FORMAT_ALAW:
	case CAPTURE_FORMAT_ULAW:
	case CAPTURE_FORMAT_AAC:
		parts.key = parts.picture;
		break;
	default:
		break;
	}
	*ret_parts = parts;
}
