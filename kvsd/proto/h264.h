/* SPDX-License-Identifier: Apache-2.0 */
/* H.264 facts that muxing needs (ITU-T H.264, ISO/IEC 14496-15). */
#ifndef PROTO_H264_H
#define PROTO_H264_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/nal.h"

enum h264_nal_type {
	H264_NAL_SLICE = 1,
	H264_NAL_IDR = 5,
	H264_NAL_SEI = 6,
	H264_NAL_SPS = 7,
	H264_NAL_PPS = 8,
	H264_NAL_AUD = 9,
	H264_NAL_FILLER = 12,
	H264_NAL_SPS_EXT = 13,
};

/* What avcC framing leaves out of a frame: see nal_annexb_to_pieces(). */
#define H264_DROP_PARAMETERS                                     \
	((UINT64_C(1) << H264_NAL_SPS) | (UINT64_C(1) << H264_NAL_PPS) | \
	 (UINT64_C(1) << H264_NAL_AUD) | (UINT64_C(1) << H264_NAL_FILLER))

struct h264_sps {
	uint8_t profile;
	uint8_t compat; /* constraint flags */
	uint8_t level;
	uint8_t chroma_format;
	uint8_t bit_depth_luma;
	uint8_t bit_depth_chroma;
	uint32_t width; /* after cropping */
	uint32_t height;
};

/* avcC, parsed; spans point into it. */
struct h264_avcc {
	unsigned int length_bytes; /* 1, 2 or 4 */
	size_t sps_count;
	size_t pps_count;
	struct nal_span sps[NAL_PARAMETER_SETS_MAX];
	struct nal_span pps[NAL_PARAMETER_SETS_MAX];
	struct h264_sps info; /* of the first SPS */
};

/* True when an Annex B access unit holds an IDR slice. Stops at its first slice. */
bool h264_annexb_is_key(const uint8_t *bytes, size_t len);
/* The same for length-prefixed framing; false when malformed. */
bool h264_lengths_is_key(const uint8_t *bytes, size_t len,
			 unsigned int length_bytes);

/**
 * h264_parse_sps() - a sequence parameter set
 * @nal: with its NAL header byte, emulation prevention in place
 *
 * Return: 0, -EBADMSG (not an SPS, or malformed), -EMSGSIZE (over
 * NAL_SPS_BYTES_MAX, or a side over NAL_PICTURE_SIDE_MAX).
 */
int h264_parse_sps(struct nal_span nal, struct h264_sps *ret_sps) MUST_CHECK;

/**
 * h264_find_parameters() - first SPS and PPS of an Annex B access unit
 *
 * Return: 0, -ENOENT when either is missing.
 */
int h264_find_parameters(const uint8_t *bytes, size_t len,
			 struct nal_span *ret_sps,
			 struct nal_span *ret_pps) MUST_CHECK;

/**
 * h264_write_avcc() - append the codec private of V_MPEG4/ISO/AVC
 *
 * Length prefixes of 4 bytes. Return: 0, the errors of h264_parse_sps(),
 * -EBADMSG (@pps is none), -EMSGSIZE (over 65535 bytes), -ENOBUFS, -ENOMEM;
 * on failure @out is as it was.
 */
int h264_write_avcc(struct buf *out, struct nal_span sps,
		    struct nal_span pps) MUST_CHECK;

/**
 * h264_parse_avcc() - check and read a codec private
 *
 * Return: 0, -EBADMSG: Annex B bytes, a version other than 1, no SPS or PPS, a
 * length that lies, an SPS that does not parse, trailing bytes; -EMSGSIZE.
 */
int h264_parse_avcc(const uint8_t *bytes, size_t len,
		    struct h264_avcc *ret_avcc) MUST_CHECK;

#endif
