/* SPDX-License-Identifier: Apache-2.0 */
#include "src/v4l2.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"
#include "src/limits.h"

static int classify(struct v4l2_node *node)
{
	uint32_t caps = node->cap.capabilities & V4L2_CAP_DEVICE_CAPS
				? node->cap.device_caps
				: node->cap.capabilities;

	node->capabilities = caps;
	node->capture_type = 0;
	node->output_type = 0;
	if (!(caps & V4L2_CAP_STREAMING))
		return -ENODEV;
	if (caps & V4L2_CAP_VIDEO_M2M_MPLANE) {
		node->capture_type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
		node->output_type = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
	} else if (caps & V4L2_CAP_VIDEO_M2M) {
		node->capture_type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
		node->output_type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	} else if (caps & V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
		node->capture_type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
	} else if (caps & V4L2_CAP_VIDEO_CAPTURE) {
		node->capture_type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	} else if (caps & V4L2_CAP_SDR_CAPTURE) {
		node->capture_type = V4L2_BUF_TYPE_SDR_CAPTURE;
	} else if (caps & V4L2_CAP_META_CAPTURE) {
		node->capture_type = V4L2_BUF_TYPE_META_CAPTURE;
	} else {
		return -ENODEV;
	}
	return 0;
}

static bool is_data(uint32_t type)
{
	return type == V4L2_BUF_TYPE_SDR_CAPTURE ||
	       type == V4L2_BUF_TYPE_META_CAPTURE;
}

int v4l2_open(const struct sys_ops *sys, const char *path, int *ret_fd,
	      struct v4l2_node *ret_node)
{
	struct v4l2_node node;
	int fd;
	int r;

	r = v4l2_open_source(sys, path, &fd, &node);
	if (r < 0)
		return r;
	if (is_data(node.capture_type)) {
		sys_close(sys, &fd);
		return -ENODEV;
	}
	*ret_fd = fd;
	*ret_node = node;
	return 0;
}

int v4l2_open_source(const struct sys_ops *sys, const char *path, int *ret_fd,
		     struct v4l2_node *ret_node)
{
	struct v4l2_node node;
	int fd;
	int r;

	fd = sys->openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
	/* A node whose hardware went away answers ENXIO. */
	if (fd < 0)
		return fd == -ENXIO ? -ENODEV : fd;
	memset(&node, 0, sizeof(node));
	r = sys->ioctl(fd, VIDIOC_QUERYCAP, &node.cap);
	if (r == -ENOTTY || r == -EINVAL)
		r = -ENODEV; /* some other kind of file */
	if (r >= 0)
		r = classify(&node);
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	*ret_fd = fd;
	*ret_node = node;
	return 0;
}

static int unpack_mplane(const struct v4l2_pix_format_mplane *pix,
			 struct capture_format *f)
{
	uint32_t i;

	if (!pix->num_planes || pix->num_planes > CAPTURE_PLANES_MAX)
		return -EPROTO;
	f->fourcc = pix->pixelformat;
	f->width = pix->width;
	f->height = pix->height;
	f->plane_count = pix->num_planes;
	for (i = 0; i < f->plane_count; i++) {
		f->stride[i] = pix->plane_fmt[i].bytesperline;
		f->size[i] = pix->plane_fmt[i].sizeimage;
	}
	f->colorspace = pix->colorspace;
	f->xfer_func = pix->xfer_func;
	f->ycbcr_enc = pix->ycbcr_enc;
	f->quantization = pix->quantization;
	return 0;
}

/* Bytes of one sample (of I and Q where it has both), and its channels. */
static void describe_samples(struct capture_format *f)
{
	static const struct {
		uint32_t fourcc;
		uint32_t bytes;
		uint32_t channels;
	} known[] = {
		{V4L2_SDR_FMT_CU8, 2, 2},    {V4L2_SDR_FMT_CS8, 2, 2},
		{V4L2_SDR_FMT_CU16LE, 4, 2}, {V4L2_SDR_FMT_CS14LE, 4, 2},
		{V4L2_SDR_FMT_RU12LE, 2, 1},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].fourcc != f->fourcc)
			continue;
		f->sample_bytes = known[i].bytes;
		f->channels = known[i].channels;
	}
}

static int unpack_data(const struct v4l2_format *v, struct capture_format *ret)
{
	bool sdr = v->type == V4L2_BUF_TYPE_SDR_CAPTURE;
	struct capture_format f = {0};

	f.media = sdr ? CAPTURE_MEDIA_SAMPLES : CAPTURE_MEDIA_RECORD;
	f.fourcc = sdr ? v->fmt.sdr.pixelformat : v->fmt.meta.dataformat;
	f.plane_count = 1;
	f.size[0] = sdr ? v->fmt.sdr.buffersize : v->fmt.meta.buffersize;
	if (!f.size[0] || f.size[0] > CAPTURE_ARENA_BYTES_MAX)
		return -EPROTO;
	if (sdr)
		describe_samples(&f);
	*ret = f;
	return 0;
}

static int unpack(const struct v4l2_format *v, struct capture_format *ret)
{
	const struct v4l2_pix_format *pix = &v->fmt.pix;
	struct capture_format f = {0};
	uint32_t i;
	int r = 0;

	if (is_data(v->type))
		return unpack_data(v, ret);
	if (v4l2_is_mplane(v->type)) {
		r = unpack_mplane(&v->fmt.pix_mp, &f);
	} else {
		f.fourcc = pix->pixelformat;
		f.width = pix->width;
		f.height = pix->height;
		f.plane_count = 1;
		f.stride[0] = pix->bytesperline;
		f.size[0] = pix->sizeimage;
		f.colorspace = pix->colorspace;
		f.xfer_func = pix->xfer_func;
		f.ycbcr_enc = pix->ycbcr_enc;
		f.quantization = pix->quantization;
	}
	if (r < 0)
		return r;
	if (!f.width || f.width > CAPTURE_SIDE_MAX || !f.height ||
	    f.height > CAPTURE_SIDE_MAX)
		return -EPROTO;
	for (i = 0; i < f.plane_count; i++) {
		if (!f.size[i] || f.size[i] > CAPTURE_ARENA_BYTES_MAX)
			return -EPROTO;
	}
	*ret = f;
	return 0;
}

static void pack_mplane(const struct capture_format *f,
			struct v4l2_pix_format_mplane *pix)
{
	uint32_t i;

	pix->width = f->width;
	pix->height = f->height;
	pix->pixelformat = f->fourcc;
	pix->field = V4L2_FIELD_NONE;
	pix->colorspace = f->colorspace;
	pix->xfer_func = (uint8_t)f->xfer_func;
	pix->ycbcr_enc = (uint8_t)f->ycbcr_enc;
	pix->quantization = (uint8_t)f->quantization;
	pix->num_planes = (uint8_t)f->plane_count;
	for (i = 0; i < f->plane_count; i++) {
		pix->plane_fmt[i].bytesperline = f->stride[i];
		pix->plane_fmt[i].sizeimage = f->size[i];
	}
}

static void pack(const struct capture_format *f, struct v4l2_format *v)
{
	struct v4l2_pix_format *pix = &v->fmt.pix;

	if (v->type == V4L2_BUF_TYPE_SDR_CAPTURE) {
		v->fmt.sdr.pixelformat = f->fourcc;
		v->fmt.sdr.buffersize = f->size[0];
		return;
	}
	if (v->type == V4L2_BUF_TYPE_META_CAPTURE) {
		v->fmt.meta.dataformat = f->fourcc;
		v->fmt.meta.buffersize = f->size[0];
		return;
	}
	if (v4l2_is_mplane(v->type)) {
		pack_mplane(f, &v->fmt.pix_mp);
		return;
	}
	pix->width = f->width;
	pix->height = f->height;
	pix->pixelformat = f->fourcc;
	pix->field = V4L2_FIELD_NONE;
	pix->bytesperline = f->stride[0];
	pix->sizeimage = f->size[0];
	pix->colorspace = f->colorspace;
	/* Without the magic the driver ignores what follows it. */
	pix->priv = V4L2_PIX_FMT_PRIV_MAGIC;
	pix->xfer_func = f->xfer_func;
	pix->ycbcr_enc = f->ycbcr_enc;
	pix->quantization = f->quantization;
}

int v4l2_get_format(const struct sys_ops *sys, int fd, uint32_t type,
		    struct capture_format *ret_format)
{
	struct v4l2_format v;
	int r;

	memset(&v, 0, sizeof(v));
	v.type = type;
	r = sys->ioctl(fd, VIDIOC_G_FMT, &v);
	return r < 0 ? r : unpack(&v, ret_format);
}

int v4l2_set_format(const struct sys_ops *sys, int fd, uint32_t type,
		    struct capture_format *format)
{
	struct v4l2_format v;
	int r;

	memset(&v, 0, sizeof(v));
	v.type = type;
	pack(format, &v);
	r = sys->ioctl(fd, VIDIOC_S_FMT, &v);
	return r < 0 ? r : unpack(&v, format);
}

static bool is_output(uint32_t type)
{
	return type == V4L2_BUF_TYPE_VIDEO_OUTPUT ||
	       type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

int v4l2_set_rate(const struct sys_ops *sys, int fd, uint32_t type,
		  struct capture_format *format)
{
	struct v4l2_fract *period;
	struct v4l2_streamparm parm;
	int r;

	memset(&parm, 0, sizeof(parm));
	parm.type = type;
	/* V4L2 speaks of the time of a frame, not of frames in a time. */
	period = is_output(type) ? &parm.parm.output.timeperframe
				 : &parm.parm.capture.timeperframe;
	period->numerator = format->rate_den;
	period->denominator = format->rate_num;
	if (format->rate_num && format->rate_den)
		r = sys->ioctl(fd, VIDIOC_S_PARM, &parm);
	else
		r = sys->ioctl(fd, VIDIOC_G_PARM, &parm);
	if (r == -ENOTTY || r == -EINVAL || r == -ENODATA) {
		format->rate_num = 0;
		format->rate_den = 0;
		return 0;
	}
	if (r < 0)
		return r;
	format->rate_num = period->denominator;
	format->rate_den = period->numerator;
	if (!format->rate_num || !format->rate_den) {
		format->rate_num = 0;
		format->rate_den = 0;
	}
	return 0;
}

bool v4l2_same_timings(const struct v4l2_dv_timings *a,
		       const struct v4l2_dv_timings *b)
{
	const struct v4l2_bt_timings *x = &a->bt;
	const struct v4l2_bt_timings *y = &b->bt;
	uint64_t apart = x->pixelclock > y->pixelclock
				 ? x->pixelclock - y->pixelclock
				 : y->pixelclock - x->pixelclock;

	return a->type == b->type && x->width == y->width &&
	       x->height == y->height && x->interlaced == y->interlaced &&
	       x->hfrontporch + x->hsync + x->hbackporch ==
		       y->hfrontporch + y->hsync + y->hbackporch &&
	       x->vfrontporch + x->vsync + x->vbackporch ==
		       y->vfrontporch + y->vsync + y->vbackporch &&
	       apart <= 250000;
}

/* One entry of the list: 1, 0 at its end, or the errno. */
static int enum_format(const struct sys_ops *sys, int fd, uint32_t type,
		       uint32_t index, struct v4l2_fmtdesc *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->index = index;
	ret->type = type;
	r = sys->ioctl(fd, VIDIOC_ENUM_FMT, ret);
	if (r == -EINVAL || r == -ENOTTY)
		return 0;
	return r < 0 ? r : 1;
}

int v4l2_has_format(const struct sys_ops *sys, int fd, uint32_t type,
		    uint32_t fourcc)
{
	struct v4l2_fmtdesc desc;
	uint32_t i;
	int r;

	for (i = 0; i < CAPTURE_FORMATS_MAX; i++) {
		r = enum_format(sys, fd, type, i, &desc);
		if (r <= 0)
			return r;
		if (desc.pixelformat == fourcc)
			return 1;
	}
	return 0;
}

int v4l2_set_control(const struct sys_ops *sys, int fd, uint32_t id,
		     int32_t value)
{
	struct v4l2_control control = {.id = id, .value = value};
	int r = sys->ioctl(fd, VIDIOC_S_CTRL, &control);

	if (r == -EINVAL || r == -ENOTTY)
		return -EOPNOTSUPP;
	return r < 0 ? r : 0;
}

/* 1 when the queue lists a compressed format, 0 when only raw ones. */
static int lists_compressed(const struct sys_ops *sys, int fd, uint32_t type)
{
	struct v4l2_fmtdesc desc;
	uint32_t i;
	int r;

	for (i = 0; i < CAPTURE_FORMATS_MAX; i++) {
		r = enum_format(sys, fd, type, i, &desc);
		if (r <= 0)
			return r;
		if (desc.flags & V4L2_FMT_FLAG_COMPRESSED)
			return 1;
	}
	return 0;
}

int v4l2_m2m_kind(const struct sys_ops *sys, int fd,
		  const struct v4l2_node *node)
{
	int gives;
	int takes;

	gives = lists_compressed(sys, fd, node->capture_type);
	if (gives < 0)
		return gives;
	takes = lists_compressed(sys, fd, node->output_type);
	if (takes < 0)
		return takes;
	if (gives && !takes)
		return CAPTURE_DEVICE_ENCODER;
	return takes ? CAPTURE_DEVICE_DECODER : CAPTURE_DEVICE_CONVERTER;
}
