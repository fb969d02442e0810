/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/h264.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/put.h"

#define AVCC_LENGTH_BYTES 4

static bool is_key(struct nal_iter *it)
{
	struct nal_span nal;
	unsigned int type;

	while (nal_next(it, &nal) > 0) {
		type = nal_type(NAL_H264, nal);
		if (type >= H264_NAL_SLICE && type <= H264_NAL_IDR)
			return type == H264_NAL_IDR;
	}
	return false;
}

bool h264_annexb_is_key(const uint8_t *bytes, size_t len)
{
	struct nal_iter it;

	nal_iter_annexb(&it, bytes, len);
	return is_key(&it);
}

bool h264_lengths_is_key(const uint8_t *bytes, size_t len,
			 unsigned int length_bytes)
{
	struct nal_iter it;

	nal_iter_lengths(&it, bytes, len, length_bytes);
	return is_key(&it);
}

/* Profiles whose SPS (and avcC) say the chroma format (7.3.2.1.1). */
static bool is_high(uint8_t profile)
{
	switch (profile) {
	case 44:
	case 83:
	case 86:
	case 100:
	case 110:
	case 118:
	case 122:
	case 128:
	case 134:
	case 135:
	case 138:
	case 139:
	case 244:
		return true;
	default:
		return false;
	}
}

static void skip_scaling_list(struct bit_reader *b, unsigned int size)
{
	int32_t last = 8;
	int32_t next = 8;
	unsigned int i;

	for (i = 0; i < size && next && !b->bad; i++) {
		next = (int32_t)(((uint32_t)last + (uint32_t)bits_se(b)) &
				 0xff);
		last = next ? next : last;
	}
}

static void skip_scaling_matrix(struct bit_reader *b, unsigned int lists)
{
	unsigned int i;

	for (i = 0; i < lists && !b->bad; i++) {
		if (bits_read(b, 1))
			skip_scaling_list(b, i < 6 ? 16 : 64);
	}
}

static void read_high(struct bit_reader *b, struct h264_sps *sps,
		      bool *ret_planes)
{
	uint32_t chroma = bits_ue(b);

	if (chroma > 3) {
		b->bad = true;
		return;
	}
	sps->chroma_format = (uint8_t)chroma;
	if (chroma == 3)
		*ret_planes = bits_read(b, 1);
	sps->bit_depth_luma = (uint8_t)(8 + (bits_ue(b) & 0x3f));
	sps->bit_depth_chroma = (uint8_t)(8 + (bits_ue(b) & 0x3f));
	if (sps->bit_depth_luma > 14 || sps->bit_depth_chroma > 14)
		b->bad = true;
	(void)bits_read(b, 1); /* qpprime_y_zero_transform_bypass_flag */
	if (bits_read(b, 1))
		skip_scaling_matrix(b, chroma == 3 ? 12 : 8);
}

static void skip_picture_order(struct bit_reader *b)
{
	uint32_t type = bits_ue(b);
	uint32_t count;

	if (type == 0) {
		(void)bits_ue(b); /* log2_max_pic_order_cnt_lsb_minus4 */
		return;
	}
	if (type != 1) {
		b->bad |= type > 2;
		return;
	}
	(void)bits_read(b, 1);
	(void)bits_se(b);
	(void)bits_se(b);
	count = bits_ue(b);
	b->bad |= count > 255;
	while (count-- && !b->bad)
		(void)bits_se(b);
}

/* Width and height in macroblocks and the cropping, to pixels. */
static int read_size(struct bit_reader *b, struct h264_sps *sps, bool planes)
{
	uint64_t width = ((uint64_t)bits_ue(b) + 1) * 16;
	uint64_t height = (uint64_t)bits_ue(b) + 1;
	unsigned int chroma = planes ? 0 : sps->chroma_format;
	uint32_t frames_only = bits_read(b, 1);
	uint64_t crop[4] = {0}; /* left, right, top, bottom */
	uint64_t unit_x = chroma == 1 || chroma == 2 ? 2 : 1;
	uint64_t unit_y = chroma == 1 ? 2 : 1;
	unsigned int i;

	height *= frames_only ? 16 : 32;
	unit_y *= frames_only ? 1 : 2;
	if (!frames_only)
		(void)bits_read(b, 1); /* mb_adaptive_frame_field_flag */
	(void)bits_read(b, 1);	       /* direct_8x8_inference_flag */
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

int h264_parse_sps(struct nal_span nal, struct h264_sps *ret_sps)
{
	struct h264_sps sps = {
		.chroma_format = 1, .bit_depth_luma = 8, .bit_depth_chroma = 8};
	uint8_t rbsp[NAL_SPS_BYTES_MAX];
	bool planes = false;
	struct bit_reader b;
	int ret;

	if (nal.len < 4 || nal_type(NAL_H264, nal) != H264_NAL_SPS)
		return -EBADMSG;
	if (nal.len > sizeof(rbsp))
		return -EMSGSIZE;
	b = (struct bit_reader){.bytes = rbsp};
	b.bits = 8 *
		 nal_unescape(rbsp, sizeof(rbsp), nal.bytes + 1, nal.len - 1);
	sps.profile = (uint8_t)bits_read(&b, 8);
	sps.compat = (uint8_t)bits_read(&b, 8);
	sps.level = (uint8_t)bits_read(&b, 8);
	(void)bits_ue(&b); /* seq_parameter_set_id */
	if (is_high(sps.profile))
		read_high(&b, &sps, &planes);
	(void)bits_ue(&b); /* log2_max_frame_num_minus4 */
	skip_picture_order(&b);
	(void)bits_ue(&b);	/* max_num_ref_frames */
	(void)bits_read(&b, 1); /* gaps_in_frame_num_value_allowed_flag */
	ret = read_size(&b, &sps, planes);
	if (ret)
		return ret;
	*ret_sps = sps;
	return 0;
}

int h264_find_parameters(const uint8_t *bytes, size_t len,
			 struct nal_span *ret_sps, struct nal_span *ret_pps)
{
	struct nal_span sps = {0};
	struct nal_span pps = {0};
	struct nal_span nal;
	struct nal_iter it;
	unsigned int type;

	nal_iter_annexb(&it, bytes, len);
	while (nal_next(&it, &nal) > 0 && !(sps.len && pps.len)) {
		type = nal_type(NAL_H264, nal);
		if (type == H264_NAL_SPS && !sps.len)
			sps = nal;
		else if (type == H264_NAL_PPS && !pps.len)
			pps = nal;
		else if (type >= H264_NAL_SLICE && type <= H264_NAL_IDR)
			break;
	}
	if (!sps.len || !pps.len)
		return -ENOENT;
	*ret_sps = sps;
	*ret_pps = pps;
	return 0;
}

int h264_write_avcc(struct buf *out, struct nal_span sps, struct nal_span pps)
{
	struct put p = put_begin(out);
	struct h264_sps info;
	int ret;

	ret = h264_parse_sps(sps, &info);
	if (ret)
		return ret;
	if (!pps.len || nal_type(NAL_H264, pps) != H264_NAL_PPS)
		return -EBADMSG;
	if (pps.len > UINT16_MAX)
		return -EMSGSIZE;
	put_u8(&p, 1);			 /* configurationVersion */
	put_bytes(&p, sps.bytes + 1, 3); /* profile, compatibility, level */
	put_u8(&p, 0xfc | (AVCC_LENGTH_BYTES - 1));
	put_u8(&p, 0xe0 | 1);
	put_be16(&p, (uint16_t)sps.len);
	put_bytes(&p, sps.bytes, sps.len);
	put_u8(&p, 1);
	put_be16(&p, (uint16_t)pps.len);
	put_bytes(&p, pps.bytes, pps.len);
	if (is_high(info.profile)) {
		put_u8(&p, 0xfc | info.chroma_format);
		put_u8(&p, (uint8_t)(0xf8 | (info.bit_depth_luma - 8)));
		put_u8(&p, (uint8_t)(0xf8 | (info.bit_depth_chroma - 8)));
		put_u8(&p, 0); /* SPS extensions */
	}
	return put_end(&p);
}

/* Takes @count {u16 length, NAL of @type} from *@p. */
static int read_sets(const uint8_t **p, const uint8_t *end, size_t count,
		     unsigned int type, struct nal_span *sets)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (end - *p < 2)
			return -EBADMSG;
		sets[i].len = load_be16(*p);
		sets[i].bytes = *p + 2;
		if (!sets[i].len || sets[i].len > (size_t)(end - *p) - 2 ||
		    nal_type(NAL_H264, sets[i]) != type)
			return -EBADMSG;
		*p += 2 + sets[i].len;
	}
	return 0;
}

/* What High profiles add; older muxers leave it out. */
static int check_extension(const uint8_t *p, const uint8_t *end,
			   uint8_t profile)
{
	struct nal_span sets[NAL_PARAMETER_SETS_MAX];
	size_t count;
	int ret;

	if (p == end)
		return 0;
	if (!is_high(profile) || end - p < 4)
		return -EBADMSG;
	count = p[3];
	p += 4;
	if (count > NAL_PARAMETER_SETS_MAX)
		return -EMSGSIZE;
	ret = read_sets(&p, end, count, H264_NAL_SPS_EXT, sets);
	if (ret)
		return ret;
	return p == end ? 0 : -EBADMSG;
}

int h264_parse_avcc(const uint8_t *bytes, size_t len,
		    struct h264_avcc *ret_avcc)
{
	const uint8_t *end;
	struct h264_avcc a = {0};
	const uint8_t *p;
	int ret;

	if (len < 7 || bytes[0] != 1)
		return -EBADMSG;
	end = bytes + len;
	a.length_bytes = (bytes[4] & 3u) + 1;
	a.sps_count = bytes[5] & 0x1f;
	if (a.length_bytes == 3 || !a.sps_count)
		return -EBADMSG;
	p = bytes + 6;
	ret = read_sets(&p, end, a.sps_count, H264_NAL_SPS, a.sps);
	if (ret)
		return ret;
	if (p == end)
		return -EBADMSG;
	a.pps_count = *p++;
	if (!a.pps_count)
		return -EBADMSG;
	if (a.pps_count > NAL_PARAMETER_SETS_MAX)
		return -EMSGSIZE;
	ret = read_sets(&p, end, a.pps_count, H264_NAL_PPS, a.pps);
	if (ret)
		return ret;
	ret = h264_parse_sps(a.sps[0], &a.info);
	if (ret)
		return ret;
	ret = check_extension(p, end, a.info.profile);
	if (ret)
		return ret;
	*ret_avcc = a;
	return 0;
}
