/* SPDX-License-Identifier: Apache-2.0 */
/* From a node to an encoder that runs: formats, controls, buffers. */
#include "src/encoder_m2m.h"

#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/v4l2.h"

/* The first compressed format that the device gives, or 0. */
static int first_codec(struct m2m *m, uint32_t type, uint32_t *ret_codec)
{
	struct v4l2_fmtdesc desc;
	uint32_t i;
	int r;

	for (i = 0; i < CAPTURE_FORMATS_MAX; i++) {
		memset(&desc, 0, sizeof(desc));
		desc.index = i;
		desc.type = type;
		r = m->base.sys->ioctl(m->fd, VIDIOC_ENUM_FMT, &desc);
		if (r == -EINVAL)
			break;
		if (r < 0)
			return r;
		if (desc.flags & V4L2_FMT_FLAG_COMPRESSED) {
			*ret_codec = desc.pixelformat;
			return 0;
		}
	}
	return -EPROTONOSUPPORT;
}

static int choose_codec(struct m2m *m, const struct v4l2_node *node,
			uint32_t codec)
{
	int r;

	r = v4l2_m2m_kind(m->base.sys, m->fd, node);
	if (r < 0)
		return r;
	if (r != CAPTURE_DEVICE_ENCODER)
		return -ENODEV;
	if (!codec)
		return first_codec(m, node->capture_type, &m->base.codec);
	r = v4l2_has_format(m->base.sys, m->fd, node->capture_type, codec);
	if (r <= 0)
		return r < 0 ? r : -EPROTONOSUPPORT;
	m->base.codec = codec;
	return 0;
}

/*
 * Devices that work in blocks round sizes up; the crop rectangle tells them
 * where the picture ends. Without one, padding at the lower edge is the
 * device's own affair.
 */
static int set_crop(struct m2m *m, const struct v4l2_node *node)
{
	const struct capture_format *source = &m->base.source;
	struct v4l2_selection s;
	int r;

	if (m->input.width == source->width &&
	    m->input.height == source->height)
		return 0;
	if (m->input.width < source->width || m->input.height < source->height)
		return -ERANGE;
	memset(&s, 0, sizeof(s));
	/* Selections take the single-planar type for both APIs. */
	s.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	s.target = V4L2_SEL_TGT_CROP;
	s.r.width = source->width;
	s.r.height = source->height;
	r = m->base.sys->ioctl(m->fd, VIDIOC_S_SELECTION, &s);
	if (r == -EINVAL && node->output_type != s.type) {
		s.type = node->output_type; /* before Linux 4.13 */
		r = m->base.sys->ioctl(m->fd, VIDIOC_S_SELECTION, &s);
	}
	if (r == -ENODEV)
		return r;
	if (r < 0)
		return m->input.width == source->width ? 0 : -ERANGE;
	if (s.r.left || s.r.top || s.r.width != source->width ||
	    s.r.height != source->height)
		return -ERANGE;
	return 0;
}

/* The same components, but each in memory of its own, or all in one. */
static uint32_t sibling_of(uint32_t fourcc)
{
	static const uint32_t pairs[][2] = {
		{CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_NM12},
		{CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_YM12},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (pairs[i][0] == fourcc)
			return pairs[i][1];
		if (pairs[i][1] == fourcc)
			return pairs[i][0];
	}
	return 0;
}

/*
 * The raw format to ask for: the source's, or one that differs in its memory
 * planes alone, into which frames are copied.
 */
static int choose_input(struct m2m *m, const struct v4l2_node *node)
{
	uint32_t fourcc = m->base.source.fourcc;
	int r;

	m->input = m->base.source;
	memset(m->input.size, 0, sizeof(m->input.size));
	r = v4l2_has_format(m->base.sys, m->fd, node->output_type, fourcc);
	if (r)
		return r < 0 ? r : 0;
	fourcc = sibling_of(fourcc);
	if (!fourcc)
		return -EPROTONOSUPPORT;
	r = v4l2_has_format(m->base.sys, m->fd, node->output_type, fourcc);
	if (r <= 0)
		return r < 0 ? r : -EPROTONOSUPPORT;
	m->input.fourcc = fourcc;
	memset(m->input.stride, 0, sizeof(m->input.stride));
	return 0;
}

static int set_input(struct m2m *m, const struct v4l2_node *node)
{
	uint32_t fourcc = m->input.fourcc;
	int r;

	r = v4l2_set_format(m->base.sys, m->fd, node->output_type, &m->input);
	if (r < 0)
		return r;
	if (m->input.fourcc != fourcc)
		return -EPROTONOSUPPORT;
	if (fourcc == m->base.source.fourcc &&
	    m->input.plane_count != m->base.source.plane_count)
		return -EPROTONOSUPPORT;
	return set_crop(m, node);
}

/* The coded format first: it decides what the raw side may be. */
static int set_formats(struct m2m *m, const struct v4l2_node *node,
		       struct capture_format *ret_coded)
{
	struct capture_format coded = m->base.source;
	int r;

	r = choose_input(m, node);
	if (r < 0)
		return r;
	coded.fourcc = m->base.codec;
	coded.plane_count = 1;
	memset(coded.stride, 0, sizeof(coded.stride));
	memset(coded.size, 0, sizeof(coded.size));
	r = v4l2_set_format(m->base.sys, m->fd, node->capture_type, &coded);
	if (r < 0)
		return r;
	r = set_input(m, node);
	if (r < 0)
		return r;
	/* The raw size decided how large a packet may be. */
	r = v4l2_get_format(m->base.sys, m->fd, node->capture_type, &coded);
	if (r < 0)
		return r;
	if (coded.fourcc != m->base.codec || coded.plane_count != 1)
		return -EPROTO;
	*ret_coded = coded;
	return v4l2_set_rate(m->base.sys, m->fd, node->output_type, &m->input);
}

/* Whether the camera's memory looks like what the encoder reads. */
static bool fits_import(const struct m2m *m)
{
	const struct capture_format *source = &m->base.source;
	uint32_t p;

	if (m->input.fourcc != source->fourcc)
		return false;
	for (p = 0; p < source->plane_count; p++) {
		if (m->input.stride[p] != source->stride[p] ||
		    m->input.size[p] > source->size[p])
			return false;
	}
	return true;
}

int m2m_alloc_copy_input(struct m2m *m)
{
	int r;

	r = pix_layout_init(&m->input, &m->input_layout);
	if (r < 0)
		m->input_layout.count = 0;
	/* Without layouts, only memory of the same shape can be copied. */
	if ((!m->base.layout.count || !m->input_layout.count) &&
	    !fits_import(m))
		return -ERANGE;
	m->base.stats.source_imported = false;
	return queue_alloc(&m->out, &m->input, CAPTURE_ENCODER_INPUTS,
			   CAPTURE_RUNG_S5);
}

int m2m_alloc_import_input(struct m2m *m)
{
	uint32_t i;
	int r;

	for (i = 0; i < CAPTURE_BUFFERS_MAX; i++)
		m->last_fd[i] = -EBADF;
	r = queue_alloc_import(&m->out, m->input.plane_count,
			       CAPTURE_ENCODER_INPUTS);
	m->base.stats.source_imported = r == 0;
	return r;
}

static int alloc_input(struct m2m *m, bool import)
{
	int r;

	if (!import || !fits_import(m))
		return m2m_alloc_copy_input(m);
	r = m2m_alloc_import_input(m);
	return r == -EOPNOTSUPP ? m2m_alloc_copy_input(m) : r;
}

static int start_packets(struct m2m *m)
{
	uint32_t i;
	int r;

	for (i = 0; i < m->cap.count; i++) {
		m->packets[i].m2m = m;
		m->packets[i].index = i;
		r = queue_give(&m->cap, i, NULL);
		if (r < 0)
			return r;
	}
	return queue_on(&m->cap);
}

static bool has_stop(const struct m2m *m)
{
	struct v4l2_encoder_cmd cmd;

	memset(&cmd, 0, sizeof(cmd));
	cmd.cmd = V4L2_ENC_CMD_STOP;
	return m->base.sys->ioctl(m->fd, VIDIOC_TRY_ENCODER_CMD, &cmd) >= 0;
}

/* Encoders that follow a signal by themselves say when it changes. */
static bool has_events(const struct m2m *m)
{
	struct v4l2_event_subscription sub;

	memset(&sub, 0, sizeof(sub));
	sub.type = V4L2_EVENT_SOURCE_CHANGE;
	return m->base.sys->ioctl(m->fd, VIDIOC_SUBSCRIBE_EVENT, &sub) >= 0;
}

int m2m_setup(struct m2m *m, const struct capture_encoder_config *config,
	      const char *path, uint32_t codec)
{
	uint32_t count = config->buffer_count ? config->buffer_count
					      : CAPTURE_ENCODER_BUFFERS;
	struct capture_format coded;
	struct v4l2_node node;
	int r;

	r = v4l2_open(m->base.sys, path, &m->fd, &node);
	if (r < 0)
		return r;
	if (!node.output_type)
		return -ENODEV;
	queue_init(&m->out, m->base.sys, m->fd, node.output_type);
	queue_init(&m->cap, m->base.sys, m->fd, node.capture_type);
	/* Packets are too short to tell by canaries whether it is sound. */
	m->cap.no_huge = true;
	r = choose_codec(m, &node, codec);
	if (r == 0)
		r = set_formats(m, &node, &coded);
	if (r == 0)
		r = m2m_set_controls(m, &config->controls);
	if (r < 0)
		return r;
	m->can_stop = has_stop(m);
	m->has_events = has_events(m);
	r = queue_alloc(&m->cap, &coded, count, config->rung);
	if (r == 0)
		r = alloc_input(m, config->source_dmabuf);
	if (r == 0)
		r = start_packets(m);
	if (r == 0)
		r = queue_on(&m->out);
	return r;
}
