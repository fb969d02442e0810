/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/h265.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/put.h"

#define HVCC_LENGTH_BYTES 4
#define HVCC_FIXED_BYTES 23
#define SUB_LAYERS_MAX 7

static bool is_key(struct nal_iter *it)
{
	struct nal_span nal;
	unsigned int type;

	while (nal_next(it, &nal) > 0) {
		type = nal_type(NAL_H265, nal);
		if (type <= H265_NAL_VCL_LAST)
			return type >= H265_NAL_BLA_W_LP &&
			       type <= H265_NAL_IRAP_LAST;
	}
	return false;
}

bool h265_annexb_is_key(const uint8_t *bytes, size_t len)
{
	struct nal_iter it;

	nal_iter_annexb(&it, bytes, len);
	return is_key(&it);
}

bool h265_lengths_is_key(const uint8_t *bytes, size_t len,
			 unsigned int length_bytes)
{
	struct nal_iter it;

	nal_iter_lengths(&it, bytes, len, length_bytes);
	return is_key(&it);
}

/* profile_tier_level() (7.3.3): keeps the general part, skips the others. */
static void read_profile(struct bit_reader *b, struct h265_sps *sps)
{
	bool profile[SUB_LAYERS_MAX] = {0};
	bool level[SUB_LAYERS_MAX] = {0};
	unsigned int subs = sps->sub_layers - 1u;
	unsigned int i;

	for (i = 0; i < sizeof(sps->profile_tier_level); i++)
		sps->profile_tier_level[i] = (uint8_t)bits_read(b, 8);
	if (!subs)
		return;
	for (i = 0; i < 8; i++) {
		if (i < subs) {
			profile[i] = bits_read(b, 1);
			level[i] = bits_read(b, 1);
		} else {
			(void)bits_read(b, 2);
		}
	}
	for (i = 0; i < subs; i++) {
		if (profile[i]) {
			(void)bits_read(b, 32);
			(void)bits_read(b, 32);
			(void)bits_read(b, 24);
		}
		if (level[i])
			(void)bits_read(b, 8);
	}
}

static int read_size(struct bit_reader *b, struct h265_sps *sps, bool planes)
{
	uint64_t width = bits_ue(b);
	uint64_t height = bits_ue(b);
	unsigned int chroma = planes ? 0 : sps->chroma_format;
	uint64_t crop[4] = {0}; /* left, right, top, bottom */
	uint64_t unit_x = chroma == 1 || chroma == 2 ? 2 : 1;
	uint64_t unit_y = chroma == 1 ? 2 : 1;
	unsigned int i;

	if (bits_read(b, 1)) {
		for (i = 0; i < ARRAY_SIZE(crop); i++)
			crop[i] = bits_ue(b);
	}
	if (b->bad || (crop[0] + crop[1]) * unit_x >= width ||
	    (crop[2] + crop[3]) * unit_y >= height)
		return -EBADMSG;
	width -= (crop[0] + crop[1]) * unit_x;
	height -= (crop[2] + crop[3]) * unit_y;
	if (width > NAL_PICTURE_SIDE_MAX || height > NAL_PICTURE_SIDE_MAX)
		return -EMSGSIZE;
	sps->width = (uint32_t)width;
	sps->height = (uint32_t)height;
	return 0;
}

int h265_parse_sps(struct nal_span nal, struct h265_sps *ret_sps)
{
	uint8_t rbsp[NAL_SPS_BYTES_MAX];
	struct h265_sps sps = {0};
	bool planes = false;
	struct bit_reader b;
	uint32_t chroma;
	uint32_t luma_bits;
	uint32_t chroma_bits;
	int ret;

	if (nal.len < 16 || nal_type(NAL_H265, nal) != H265_NAL_SPS)
		return -EBADMSG;
	if (nal.len > sizeof(rbsp))
		return -EMSGSIZE;
	b = (struct bit_reader){.bytes = rbsp};
	b.bits = 8 *
		 nal_unescape(rbsp, sizeof(rbsp), nal.bytes + 2, nal.len - 2);
	(void)bits_read(&b, 4); /* sps_video_parameter_set_id */
	sps.sub_layers = (uint8_t)(bits_read(&b, 3) + 1);
	if (sps.sub_layers > SUB_LAYERS_MAX)
		return -EBADMSG;
	sps.temporal_id_nesting = bits_read(&b, 1);
	read_profile(&b, &sps);
	(void)bits_ue(&b); /* sps_seq_parameter_set_id */
	chroma = bits_ue(&b);
	if (chroma > 3)
		return -EBADMSG;
	sps.chroma_format = (uint8_t)chroma;
	if (chroma == 3)
		planes = bits_read(&b, 1);
	ret = read_size(&b, &sps, planes);
	if (ret)
		return ret;
	luma_bits = bits_ue(&b);
	chroma_bits = bits_ue(&b);
	if (b.bad || luma_bits > 8 || chroma_bits > 8)
		return -EBADMSG;
	sps.bit_depth_luma = (uint8_t)(8 + luma_bits);
	sps.bit_depth_chroma = (uint8_t)(8 + chroma_bits);
	*ret_sps = sps;
	return 0;
}

int h265_find_parameters(const uint8_t *bytes, size_t len,
			 struct nal_span *ret_vps, struct nal_span *ret_sps,
			 struct nal_span *ret_pps)
{
	struct nal_span sets[3] = {0};
	struct nal_span nal;
	struct nal_iter it;
	unsigned int type;

	nal_iter_annexb(&it, bytes, len);
	while (nal_next(&it, &nal) > 0) {
		type = nal_type(NAL_H265, nal);
		if (type <= H265_NAL_VCL_LAST)
			break;
		if (type > H265_NAL_PPS)
			continue;
		if (!sets[type - H265_NAL_VPS].len)
			sets[type - H265_NAL_VPS] = nal;
	}
	if (!sets[0].len || !sets[1].len || !sets[2].len)
		return -ENOENT;
	*ret_vps = sets[0];
	*ret_sps = sets[1];
	*ret_pps = sets[2];
	return 0;
}

static void put_set(struct put *p, unsigned int type, struct nal_span nal)
{
	put_u8(p, (uint8_t)(0x80 | type)); /* array_completeness */
	put_be16(p, 1);
	put_be16(p, (uint16_t)nal.len);
	put_bytes(p, nal.bytes, nal.len);
}

int h265_write_hvcc(struct buf *out, struct nal_span vps, struct nal_span sps,
		    struct nal_span pps)
{
	struct put p = put_begin(out);
	struct h265_sps info;
	int ret;

	ret = h265_parse_sps(sps, &info);
	if (ret)
		return ret;
	if (vps.len < 2 || pps.len < 2 ||
	    nal_type(NAL_H265, vps) != H265_NAL_VPS ||
	    nal_type(NAL_H265, pps) != H265_NAL_PPS)
		return -EBADMSG;
	if (vps.len > UINT16_MAX || pps.len > UINT16_MAX)
		return -EMSGSIZE;
	put_u8(&p, 1); /* configurationVersion */
	put_bytes(&p, info.profile_tier_level, sizeof(info.profile_tier_level));
	put_be16(&p, 0xf000); /* min_spatial_segmentation_idc: not known */
	put_u8(&p, 0xfc);     /* parallelismType: not known */
	put_u8(&p, 0xfc | info.chroma_format);
	put_u8(&p, (uint8_t)(0xf8 | (info.bit_depth_luma - 8)));
	put_u8(&p, (uint8_t)(0xf8 | (info.bit_depth_chroma - 8)));
	put_be16(&p, 0); /* avgFrameRate: not known */
	put_u8(&p,
	       (uint8_t)(info.sub_layers << 3 | info.temporal_id_nesting << 2 |
			 (HVCC_LENGTH_BYTES - 1)));
	put_u8(&p, 3); /* arrays */
	put_set(&p, H265_NAL_VPS, vps);
	put_set(&p, H265_NAL_SPS, sps);
	put_set(&p, H265_NAL_PPS, pps);
	return put_end(&p);
}

static int add_set(struct h265_hvcc *h, unsigned int type, struct nal_span nal)
{
	struct nal_span *sets;
	size_t *count;

	switch (type) {
	case H265_NAL_VPS:
		sets = h->vps;
		count = &h->vps_count;
		break;
	case H265_NAL_SPS:
		sets = h->sps;
		count = &h->sps_count;
		break;
	case H265_NAL_PPS:
		sets = h->pps;
		count = &h->pps_count;
		break;
	default:
		return 0; /* SEI: not needed */
	}
	if (nal_type(NAL_H265, nal) != type)
		return -EBADMSG;
	if (*count == NAL_PARAMETER_SETS_MAX)
		return -EMSGSIZE;
	sets[(*count)++] = nal;
	return 0;
}

/* One array of NAL units of a type, from *@p. */
static int read_array(const uint8_t **p, const uint8_t *end,
		      struct h265_hvcc *h)
{
	struct nal_span nal;
	unsigned int count;
	unsigned int type;
	int ret;

	if (end - *p < 3)
		return -EBADMSG;
	type = **p & 0x3f;
	count = load_be16(*p + 1);
	*p += 3;
	while (count--) {
		if (end - *p < 2)
			return -EBADMSG;
		nal.len = load_be16(*p);
		nal.bytes = *p + 2;
		if (nal.len < 2 || nal.len > (size_t)(end - *p) - 2)
			return -EBADMSG;
		*p += 2 + nal.len;
		ret = add_set(h, type, nal);
		if (ret)
			return ret;
	}
	return 0;
}

int h265_parse_hvcc(const uint8_t *bytes, size_t len,
		    struct h265_hvcc *ret_hvcc)
{
	struct h265_hvcc h = {0};
	unsigned int arrays;
	const uint8_t *end;
	const uint8_t *p;
	int ret;

	if (len < HVCC_FIXED_BYTES || bytes[0] != 1)
		return -EBADMSG;
	end = bytes + len;
	h.length_bytes = (bytes[21] & 3u) + 1;
	if (h.length_bytes == 3)
		return -EBADMSG;
	p = bytes + HVCC_FIXED_BYTES;
	for (arrays = bytes[22]; arrays; arrays--) {
		ret = read_array(&p, end, &h);
		if (ret)
			return ret;
	}
	if (p != end || !h.vps_count || !h.sps_count || !h.pps_count)
		return -EBADMSG;
	ret = h265_parse_sps(h.sps[0], &h.info);
	if (ret)
		return ret;
	*ret_hvcc = h;
	return 0;
}
