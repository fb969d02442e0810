/* SPDX-License-Identifier: Apache-2.0 */
/* H.265 facts that muxing needs (ITU-T H.265, ISO/IEC 14496-15). */
#ifndef PROTO_H265_H
#define PROTO_H265_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/nal.h"

enum h265_nal_type {
	H265_NAL_BLA_W_LP = 16,
	H265_NAL_CRA = 21,
	H265_NAL_IRAP_LAST = 23,
	H265_NAL_VCL_LAST = 31,
	H265_NAL_VPS = 32,
	H265_NAL_SPS = 33,
	H265_NAL_PPS = 34,
	H265_NAL_AUD = 35,
	H265_NAL_FILLER = 38,
	H265_NAL_SEI_PREFIX = 39,
};

#define H265_DROP_PARAMETERS                                              \
	((UINT64_C(1) << H265_NAL_VPS) | (UINT64_C(1) << H265_NAL_SPS) |  \
	 (UINT64_C(1) << H265_NAL_PPS) | (UINT64_C(1) << H265_NAL_AUD) |  \
	 (UINT64_C(1) << H265_NAL_FILLER))

struct h265_sps {
	/* general_profile_space .. general_level_idc, as hvcC wants them */
	uint8_t profile_tier_level[12];
	uint8_t sub_layers; /* sps_max_sub_layers */
	bool temporal_id_nesting;
	uint8_t chroma_format;
	uint8_t bit_depth_luma;
	uint8_t bit_depth_chroma;
	uint32_t width; /* after the conformance window */
	uint32_t height;
};

/* hvcC, parsed; spans point into it. */
struct h265_hvcc {
	unsigned int length_bytes; /* 1, 2 or 4 */
	size_t vps_count;
	size_t sps_count;
	size_t pps_count;
	struct nal_span vps[NAL_PARAMETER_SETS_MAX];
	struct nal_span sps[NAL_PARAMETER_SETS_MAX];
	struct nal_span pps[NAL_PARAMETER_SETS_MAX];
	struct h265_sps info; /* of the first SPS */
};

/* True when an access unit's first slice is an IRAP picture's. */
bool h265_annexb_is_key(const uint8_t *bytes, size_t len);
bool h265_lengths_is_key(const uint8_t *bytes, size_t len,
			 unsigned int length_bytes);

/* As h264_parse_sps(); the NAL header is two bytes. */
int h265_parse_sps(struct nal_span nal, struct h265_sps *ret_sps) MUST_CHECK;

/* First VPS, SPS and PPS of an Annex B access unit; 0 or -ENOENT. */
int h265_find_parameters(const uint8_t *bytes, size_t len,
			 struct nal_span *ret_vps, struct nal_span *ret_sps,
			 struct nal_span *ret_pps) MUST_CHECK;

/* Appends the codec private of V_MPEGH/ISO/HEVC; errors as h264_write_avcc(). */
int h265_write_hvcc(struct buf *out, struct nal_span vps, struct nal_span sps,
		    struct nal_span pps) MUST_CHECK;

/* Errors as h264_parse_avcc(); VPS, SPS and PPS must be there. */
int h265_parse_hvcc(const uint8_t *bytes, size_t len,
		    struct h265_hvcc *ret_hvcc) MUST_CHECK;

#endif
