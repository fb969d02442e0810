/* SPDX-License-Identifier: Apache-2.0 */
/* From what the user means to the controls of each codec. */
#include "src/encoder_m2m.h"

#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"

/* Ids of what each codec calls by a name of its own; 0: it has none. */
struct codec_ids {
	uint32_t codec;
	uint32_t qp_i;
	uint32_t qp_p;
	uint32_t qp_min;
	uint32_t qp_max;
	uint32_t profile;
	uint32_t level;
	uint32_t period;
};

static const struct codec_ids codec_ids[] = {
	{
		.codec = CAPTURE_FORMAT_H264,
		.qp_i = V4L2_CID_MPEG_VIDEO_H264_I_FRAME_QP,
		.qp_p = V4L2_CID_MPEG_VIDEO_H264_P_FRAME_QP,
		.qp_min = V4L2_CID_MPEG_VIDEO_H264_MIN_QP,
		.qp_max = V4L2_CID_MPEG_VIDEO_H264_MAX_QP,
		.profile = V4L2_CID_MPEG_VIDEO_H264_PROFILE,
		.level = V4L2_CID_MPEG_VIDEO_H264_LEVEL,
		.period = V4L2_CID_MPEG_VIDEO_H264_I_PERIOD,
	},
	{
		.codec = CAPTURE_FORMAT_HEVC,
		.qp_i = V4L2_CID_MPEG_VIDEO_HEVC_I_FRAME_QP,
		.qp_p = V4L2_CID_MPEG_VIDEO_HEVC_P_FRAME_QP,
		.qp_min = V4L2_CID_MPEG_VIDEO_HEVC_MIN_QP,
		.qp_max = V4L2_CID_MPEG_VIDEO_HEVC_MAX_QP,
		.profile = V4L2_CID_MPEG_VIDEO_HEVC_PROFILE,
		.level = V4L2_CID_MPEG_VIDEO_HEVC_LEVEL,
	},
	{
		.codec = CAPTURE_FORMAT_VP8,
		.qp_i = V4L2_CID_MPEG_VIDEO_VPX_I_FRAME_QP,
		.qp_p = V4L2_CID_MPEG_VIDEO_VPX_P_FRAME_QP,
		.qp_min = V4L2_CID_MPEG_VIDEO_VPX_MIN_QP,
		.qp_max = V4L2_CID_MPEG_VIDEO_VPX_MAX_QP,
		.profile = V4L2_CID_MPEG_VIDEO_VP8_PROFILE,
	},
	{
		.codec = CAPTURE_FORMAT_FWHT,
		.qp_i = V4L2_CID_FWHT_I_FRAME_QP,
		.qp_p = V4L2_CID_FWHT_P_FRAME_QP,
	},
};

struct menu_value {
	uint32_t codec;
	int64_t ours;
	int32_t v4l2;
};

static const struct menu_value profiles[] = {
	{CAPTURE_FORMAT_H264, CAPTURE_PROFILE_H264_CONSTRAINED_BASELINE,
	 V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE},
	{CAPTURE_FORMAT_H264, CAPTURE_PROFILE_H264_BASELINE,
	 V4L2_MPEG_VIDEO_H264_PROFILE_BASELINE},
	{CAPTURE_FORMAT_H264, CAPTURE_PROFILE_H264_MAIN,
	 V4L2_MPEG_VIDEO_H264_PROFILE_MAIN},
	{CAPTURE_FORMAT_H264, CAPTURE_PROFILE_H264_HIGH,
	 V4L2_MPEG_VIDEO_H264_PROFILE_HIGH},
	{CAPTURE_FORMAT_HEVC, CAPTURE_PROFILE_HEVC_MAIN,
	 V4L2_MPEG_VIDEO_HEVC_PROFILE_MAIN},
	{CAPTURE_FORMAT_HEVC, CAPTURE_PROFILE_HEVC_MAIN_10,
	 V4L2_MPEG_VIDEO_HEVC_PROFILE_MAIN_10},
	{CAPTURE_FORMAT_VP8, CAPTURE_PROFILE_VP8_0,
	 V4L2_MPEG_VIDEO_VP8_PROFILE_0},
	{CAPTURE_FORMAT_VP8, CAPTURE_PROFILE_VP8_1,
	 V4L2_MPEG_VIDEO_VP8_PROFILE_1},
	{CAPTURE_FORMAT_VP8, CAPTURE_PROFILE_VP8_2,
	 V4L2_MPEG_VIDEO_VP8_PROFILE_2},
	{CAPTURE_FORMAT_VP8, CAPTURE_PROFILE_VP8_3,
	 V4L2_MPEG_VIDEO_VP8_PROFILE_3},
};

#define LEVEL(codec, tenths, name)                             \
	{                                                      \
		CAPTURE_FORMAT_##codec, tenths,                \
			V4L2_MPEG_VIDEO_##codec##_LEVEL_##name \
	}

static const struct menu_value levels[] = {
	LEVEL(H264, 9, 1B),   LEVEL(H264, 10, 1_0), LEVEL(H264, 11, 1_1),
	LEVEL(H264, 12, 1_2), LEVEL(H264, 13, 1_3), LEVEL(H264, 20, 2_0),
	LEVEL(H264, 21, 2_1), LEVEL(H264, 22, 2_2), LEVEL(H264, 30, 3_0),
	LEVEL(H264, 31, 3_1), LEVEL(H264, 32, 3_2), LEVEL(H264, 40, 4_0),
	LEVEL(H264, 41, 4_1), LEVEL(H264, 42, 4_2), LEVEL(H264, 50, 5_0),
	LEVEL(H264, 51, 5_1), LEVEL(H264, 52, 5_2), LEVEL(H264, 60, 6_0),
	LEVEL(H264, 61, 6_1), LEVEL(H264, 62, 6_2), LEVEL(HEVC, 10, 1),
	LEVEL(HEVC, 20, 2),   LEVEL(HEVC, 21, 2_1), LEVEL(HEVC, 30, 3),
	LEVEL(HEVC, 31, 3_1), LEVEL(HEVC, 40, 4),   LEVEL(HEVC, 41, 4_1),
	LEVEL(HEVC, 50, 5),   LEVEL(HEVC, 51, 5_1), LEVEL(HEVC, 52, 5_2),
	LEVEL(HEVC, 60, 6),   LEVEL(HEVC, 61, 6_1), LEVEL(HEVC, 62, 6_2),
};

/* One thing to set. @mask 0: our own wish, told to nobody. */
struct wish {
	uint32_t mask;
	uint32_t id;
	int64_t value;
};

struct outcome {
	uint32_t asked;
	uint32_t taken;
	uint32_t adjusted;
};

static const struct codec_ids *ids_of(uint32_t codec)
{
	static const struct codec_ids none;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(codec_ids); i++) {
		if (codec_ids[i].codec == codec)
			return &codec_ids[i];
	}
	return &none;
}

/* -1 stays -1; INT64_MAX: the codec has no such value. */
static int64_t menu_of(const struct menu_value *table, size_t count,
		       uint32_t codec, int64_t ours)
{
	size_t i;

	if (ours < 0)
		return ours;
	for (i = 0; i < count; i++) {
		if (table[i].codec == codec && table[i].ours == ours)
			return table[i].v4l2;
	}
	return INT64_MAX;
}

static int64_t mode_of(int64_t ours)
{
	static const int32_t modes[] = {
		[CAPTURE_BITRATE_VBR] = V4L2_MPEG_VIDEO_BITRATE_MODE_VBR,
		[CAPTURE_BITRATE_CBR] = V4L2_MPEG_VIDEO_BITRATE_MODE_CBR,
		[CAPTURE_BITRATE_CQ] = V4L2_MPEG_VIDEO_BITRATE_MODE_CQ,
	};

	return ours < 0 ? ours : modes[ours];
}

/* Sets one; @ret_value is what the driver made of it. */
static int set(struct m2m *m, uint32_t id, int64_t value, int64_t *ret_value)
{
	struct v4l2_control control = {.id = id};
	int r;

	if (!id)
		return -EOPNOTSUPP;
	if (value > INT32_MAX)
		return -ERANGE;
	control.value = (int32_t)value;
	r = m->base.sys->ioctl(m->fd, VIDIOC_S_CTRL, &control);
	/* Unknown; not in the menu; read-only. */
	if (r == -EINVAL || r == -ENOTTY || r == -EACCES)
		return -EOPNOTSUPP;
	if (r < 0)
		return r;
	*ret_value = control.value;
	return 0;
}

int m2m_set_control(struct m2m *m, uint32_t id, int64_t value)
{
	int64_t got;

	return set(m, id, value, &got);
}

static int grant(struct m2m *m, const struct wish *w, struct outcome *o)
{
	int64_t got = w->value;
	int r;

	if (w->value < 0)
		return 0;
	r = set(m, w->id, w->value, &got);
	o->asked |= w->mask;
	if (r == -EOPNOTSUPP || r == -ERANGE)
		return 0;
	if (r < 0)
		return r;
	o->taken |= w->mask;
	if (got != w->value)
		o->adjusted |= w->mask;
	return 0;
}

static int grant_all(struct m2m *m, const struct wish *w, size_t count,
		     struct outcome *o)
{
	size_t i;
	int r;

	for (i = 0; i < count; i++) {
		r = grant(m, &w[i], o);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_rate_control(struct m2m *m,
			    const struct capture_encoder_controls *c,
			    struct outcome *o)
{
	const struct codec_ids *ids = ids_of(m->base.codec);
	bool constant = c->qp >= 0 && c->bitrate < 0;
	const struct wish list[] = {
		/* First what decides whether the rest means something. */
		{0, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE,
		 c->bitrate >= 0 ? 1 : (constant ? 0 : -1)},
		{CAPTURE_CONTROL_BITRATE_MODE, V4L2_CID_MPEG_VIDEO_BITRATE_MODE,
		 mode_of(c->bitrate_mode)},
		/* A peak below the rate is refused, so the rate comes last. */
		{CAPTURE_CONTROL_BITRATE_PEAK, V4L2_CID_MPEG_VIDEO_BITRATE_PEAK,
		 c->bitrate_peak},
		{CAPTURE_CONTROL_BITRATE, V4L2_CID_MPEG_VIDEO_BITRATE,
		 c->bitrate},
		{CAPTURE_CONTROL_QUALITY, V4L2_CID_MPEG_VIDEO_CONSTANT_QUALITY,
		 c->quality},
		{CAPTURE_CONTROL_QUALITY, V4L2_CID_JPEG_COMPRESSION_QUALITY,
		 c->quality},
		{CAPTURE_CONTROL_QP_MIN, ids->qp_min, c->qp_min},
		{CAPTURE_CONTROL_QP_MAX, ids->qp_max, c->qp_max},
		{CAPTURE_CONTROL_QP, ids->qp_i, c->qp},
		{CAPTURE_CONTROL_QP, ids->qp_p, c->qp},
	};

	return grant_all(m, list, ARRAY_SIZE(list), o);
}

static int set_structure(struct m2m *m,
			 const struct capture_encoder_controls *c,
			 struct outcome *o)
{
	const struct codec_ids *ids = ids_of(m->base.codec);
	int64_t repeat = c->repeat_headers < 0 ? 1 : c->repeat_headers;
	int64_t mode =
		c->header_mode == CAPTURE_HEADERS_SEPARATE
			? V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE
			: V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME;
	uint32_t repeat_mask =
		c->repeat_headers < 0 ? 0 : CAPTURE_CONTROL_REPEAT_HEADERS;
	const struct wish list[] = {
		{CAPTURE_CONTROL_PROFILE, ids->profile,
		 menu_of(profiles, ARRAY_SIZE(profiles), m->base.codec,
			 c->profile)},
		{CAPTURE_CONTROL_LEVEL, ids->level,
		 menu_of(levels, ARRAY_SIZE(levels), m->base.codec, c->level)},
		/* Packets leave in the order in which frames came. */
		{0, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0},
		{CAPTURE_CONTROL_GOP, V4L2_CID_MPEG_VIDEO_GOP_SIZE,
		 c->gop_frames},
		{CAPTURE_CONTROL_GOP, ids->period, c->gop_frames},
		{c->header_mode < 0 ? 0 : CAPTURE_CONTROL_HEADER_MODE,
		 V4L2_CID_MPEG_VIDEO_HEADER_MODE, mode},
		/* What drivers have of these two does the same. */
		{repeat_mask, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, repeat},
		{repeat_mask, V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR,
		 repeat},
	};

	return grant_all(m, list, ARRAY_SIZE(list), o);
}

int m2m_set_controls(struct m2m *m, const struct capture_encoder_controls *c)
{
	struct outcome o = {0};
	int r;

	r = set_structure(m, c, &o);
	if (r == 0)
		r = set_rate_control(m, c, &o);
	if (r < 0)
		return r;
	m->base.stats.controls_ignored = o.asked & ~o.taken;
	m->base.stats.controls_adjusted = o.adjusted;
	return 0;
}
