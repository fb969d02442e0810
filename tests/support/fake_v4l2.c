/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_v4l2_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-heap.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>

#define DEVICES_MAX 4
#define FDS_MAX 1024
#define SIDES 2
#define DATA_BYTES 1024

/* What a descriptor of ours stands for. */
struct fd_info {
	struct fake_device *device;
	bool udmabuf;
	bool heap;
	bool dmabuf;
	bool huge;
	off_t offset;
	uint32_t length;
};

static struct {
	struct fake_device devices[DEVICES_MAX];
	unsigned int device_count;
	bool no_udmabuf;
	bool has_heap;
	bool has_huge;
	uint64_t now_ns;
	struct fd_info fds[FDS_MAX];
} fake = { .now_ns = UINT64_C(1000000000) };

uint64_t fake_v4l2_now_ns(void)
{
	return fake.now_ns;
}

static const uint32_t raw_formats[] = { V4L2_PIX_FMT_YUV420,
					V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_YUYV,
					V4L2_PIX_FMT_YUV420M, V4L2_PIX_FMT_Y16 };
static const uint32_t sizes[SIDES][2] = { { 64, 48 }, { 128, 96 } };

/* --- formats ------------------------------------------------------------ */

/* A node that gives frames of its own: no M2M device. */
static bool is_source(const struct fake_device *d)
{
	return d->pub.kind != FAKE_ENCODER && d->pub.kind != FAKE_DECODER;
}

static bool is_data(const struct fake_device *d)
{
	return d->pub.kind == FAKE_RADIO || d->pub.kind == FAKE_METADATA;
}

static uint32_t raw_format_first(const struct fake_device *d)
{
	if (d->pub.counts)
		return 4;
	return d->pub.own_planes ? 3 : 0;
}

static uint32_t raw_format_count(const struct fake_device *d)
{
	if (d->pub.counts)
		return 5;
	/* The one of three planes needs the multi-planar calls. */
	return d->pub.mplane ? 4 : 3;
}

static bool is_raw_side(const struct fake_device *d, const struct fake_queue *q)
{
	if (d->pub.kind == FAKE_DECODER)
		return q == &d->cap;
	return is_source(d) || q == &d->out;
}

static void lay_out_raw(struct fake_device *d, struct fake_queue *q)
{
	uint32_t align = d->pub.stride_align ? d->pub.stride_align : 1;
	bool wide = q->fourcc == V4L2_PIX_FMT_YUYV ||
		    q->fourcc == V4L2_PIX_FMT_Y16;
	uint32_t bytes = wide ? 2 : 1;
	uint32_t stride = (q->width * bytes + align - 1) / align * align;

	q->plane_count = 1;
	q->stride[0] = stride;
	q->size[0] = stride * q->height;
	if (q->fourcc == V4L2_PIX_FMT_YUV420 || q->fourcc == V4L2_PIX_FMT_NV12)
		q->size[0] += q->size[0] / 2;
	if (q->fourcc == V4L2_PIX_FMT_YUV420M) {
		q->plane_count = 3;
		q->stride[1] = stride / 2;
		q->stride[2] = stride / 2;
		q->size[1] = stride / 2 * q->height / 2;
		q->size[2] = q->size[1];
	}
}

static void set_format(struct fake_device *d, struct fake_queue *q, uint32_t fourcc,
		       uint32_t width, uint32_t height)
{
	uint32_t i;

	if (is_data(d)) {
		q->fourcc = d->pub.kind == FAKE_RADIO ? V4L2_SDR_FMT_CU8
						      : V4L2_META_FMT_UVC;
		q->plane_count = 1;
		q->size[0] = d->pub.data_bytes ? d->pub.data_bytes : DATA_BYTES;
		return;
	}
	q->width = sizes[0][0];
	q->height = sizes[0][1];
	for (i = 0; i < SIDES; i++) {
		if (width >= sizes[i][0] && height >= sizes[i][1]) {
			q->width = sizes[i][0];
			q->height = sizes[i][1];
		}
	}
	if (!is_raw_side(d, q)) {
		q->fourcc = d->pub.codec ? d->pub.codec : V4L2_PIX_FMT_FWHT;
		q->plane_count = 1;
		q->stride[0] = 0;
		q->size[0] = 1000;
		return;
	}
	if (d->pub.kind == FAKE_ENCODER && d->pub.size_align) {
		q->width = ALIGN_UP(q->width, d->pub.size_align);
		q->height = ALIGN_UP(q->height, d->pub.size_align);
	}
	q->fourcc = raw_formats[raw_format_first(d)];
	for (i = raw_format_first(d); i < raw_format_count(d); i++) {
		if (raw_formats[i] == fourcc)
			q->fourcc = fourcc;
	}
	lay_out_raw(d, q);
}

static struct fake_queue *queue_of(struct fake_device *d, uint32_t type)
{
	bool mplane = d->pub.mplane;
	uint32_t cap = mplane ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
			      : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	uint32_t out = mplane ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
			      : V4L2_BUF_TYPE_VIDEO_OUTPUT;

	if (d->pub.kind == FAKE_RADIO)
		cap = V4L2_BUF_TYPE_SDR_CAPTURE;
	if (d->pub.kind == FAKE_METADATA)
		cap = V4L2_BUF_TYPE_META_CAPTURE;
	if (type == cap)
		return &d->cap;
	return !is_source(d) && type == out ? &d->out : NULL;
}

static void tell_format(const struct fake_device *d, const struct fake_queue *q,
			struct v4l2_format *f)
{
	uint32_t p;

	memset(&f->fmt, 0, sizeof(f->fmt));
	if (d->pub.kind == FAKE_RADIO) {
		f->fmt.sdr.pixelformat = q->fourcc;
		f->fmt.sdr.buffersize = q->size[0];
		return;
	}
	if (d->pub.kind == FAKE_METADATA) {
		f->fmt.meta.dataformat = q->fourcc;
		f->fmt.meta.buffersize = q->size[0];
		return;
	}
	if (!d->pub.mplane) {
		f->fmt.pix.width = q->width;
		f->fmt.pix.height = q->height;
		f->fmt.pix.pixelformat = q->fourcc;
		f->fmt.pix.bytesperline = q->stride[0];
		f->fmt.pix.sizeimage = q->size[0];
		return;
	}
	f->fmt.pix_mp.width = q->width;
	f->fmt.pix_mp.height = q->height;
	f->fmt.pix_mp.pixelformat = q->fourcc;
	f->fmt.pix_mp.num_planes = (uint8_t)q->plane_count;
	for (p = 0; p < q->plane_count; p++) {
		f->fmt.pix_mp.plane_fmt[p].bytesperline = q->stride[p];
		f->fmt.pix_mp.plane_fmt[p].sizeimage = q->size[p];
	}
}

static int do_format(struct fake_device *d, struct v4l2_format *f, bool set)
{
	struct fake_queue *q = queue_of(d, f->type);

	if (!q)
		return -EINVAL;
	if (set && q->count)
		return -EBUSY;
	if (set && d->pub.mplane)
		set_format(d, q, f->fmt.pix_mp.pixelformat,
			   f->fmt.pix_mp.width, f->fmt.pix_mp.height);
	else if (set)
		set_format(d, q, f->fmt.pix.pixelformat, f->fmt.pix.width,
			   f->fmt.pix.height);
	if (set && is_source(d)) {
		d->pub.settings.writes++;
		fake_settings_format(&d->pub.settings, q->width, q->height);
	}
	tell_format(d, q, f);
	return 0;
}

static int do_querycap(const struct fake_device *d, struct v4l2_capability *cap)
{
	bool mplane = d->pub.mplane;

	memset(cap, 0, sizeof(*cap));
	snprintf((char *)cap->driver, sizeof(cap->driver), "fake");
	snprintf((char *)cap->card, sizeof(cap->card), "fake card");
	snprintf((char *)cap->bus_info, sizeof(cap->bus_info), "platform:f");
	if (d->pub.kind == FAKE_RADIO)
		cap->device_caps = V4L2_CAP_SDR_CAPTURE | V4L2_CAP_TUNER;
	else if (d->pub.kind == FAKE_METADATA)
		cap->device_caps = V4L2_CAP_META_CAPTURE;
	else if (d->pub.kind == FAKE_CAMERA)
		cap->device_caps = mplane ? V4L2_CAP_VIDEO_CAPTURE_MPLANE
					  : V4L2_CAP_VIDEO_CAPTURE;
	else
		cap->device_caps = mplane ? V4L2_CAP_VIDEO_M2M_MPLANE
					  : V4L2_CAP_VIDEO_M2M;
	cap->device_caps |= V4L2_CAP_STREAMING;
	cap->capabilities = cap->device_caps | V4L2_CAP_DEVICE_CAPS;
	return 0;
}

static int do_enum_fmt(struct fake_device *d, struct v4l2_fmtdesc *desc)
{
	struct fake_queue *q = queue_of(d, desc->type);
	uint32_t count;

	if (!q)
		return -EINVAL;
	count = 1;
	if (is_raw_side(d, q) && !is_data(d))
		count = raw_format_count(d) - raw_format_first(d);
	if (desc->index >= count)
		return -EINVAL;
	desc->flags = is_raw_side(d, q) ? 0 : V4L2_FMT_FLAG_COMPRESSED;
	desc->pixelformat = V4L2_PIX_FMT_FWHT;
	if (is_raw_side(d, q) && !is_data(d))
		desc->pixelformat =
			raw_formats[raw_format_first(d) + desc->index];
	if (d->pub.codec && desc->flags)
		desc->pixelformat = d->pub.codec;
	if (is_data(d))
		desc->pixelformat = q->fourcc;
	memset(desc->description, 'x', sizeof(desc->description));
	return 0;
}

static int do_enum_sizes(struct v4l2_frmsizeenum *f)
{
	if (f->index >= SIDES)
		return -EINVAL;
	f->type = V4L2_FRMSIZE_TYPE_DISCRETE;
	f->discrete.width = sizes[f->index][0];
	f->discrete.height = sizes[f->index][1];
	return 0;
}

static int do_enum_rates(struct v4l2_frmivalenum *f)
{
	if (f->index >= 2)
		return -EINVAL;
	f->type = V4L2_FRMIVAL_TYPE_DISCRETE;
	f->discrete.numerator = 1;
	f->discrete.denominator = f->index ? 30 : 15;
	return 0;
}

/* --- buffers ------------------------------------------------------------ */

static void drop_memory(struct fake_buffer *b)
{
	uint32_t p;

	for (p = 0; p < FAKE_PLANES_MAX; p++) {
		if (b->mem_fd[p] > 0)
			close(b->mem_fd[p]);
		b->mem_fd[p] = 0;
	}
}

static void cancel_all(struct fake_queue *q)
{
	uint32_t i;

	for (i = 0; i < FAKE_BUFFERS_MAX; i++)
		q->buffers[i].place = IDLE;
	q->queued_count = 0;
	q->done_count = 0;
}

static void free_queue(struct fake_queue *q)
{
	uint32_t i;

	cancel_all(q);
	for (i = 0; i < FAKE_BUFFERS_MAX; i++)
		drop_memory(&q->buffers[i]);
	q->count = 0;
	q->streaming = false;
}

static int do_reqbufs(struct fake_device *d, struct v4l2_requestbuffers *req)
{
	struct fake_queue *q = queue_of(d, req->type);
	uint32_t i;
	uint32_t p;

	if (!q || (req->memory == V4L2_MEMORY_DMABUF && d->pub.no_import))
		return -EINVAL;
	if (q == &d->out && req->memory == V4L2_MEMORY_MMAP && d->pub.no_mmap &&
	    req->count)
		return -EINVAL;
	if (d->pub.busy || q->streaming)
		return -EBUSY;
	free_queue(q);
	q->memory = req->memory;
	if (req->count > FAKE_BUFFERS_MAX)
		req->count = FAKE_BUFFERS_MAX;
	q->count = req->count;
	for (i = 0; i < q->count && q->memory == V4L2_MEMORY_MMAP; i++) {
		for (p = 0; p < q->plane_count; p++) {
			int fd = memfd_create("fake", MFD_CLOEXEC);

			if (fd < 0 || ftruncate(fd, (off_t)q->size[p]) < 0)
				abort();
			q->buffers[i].mem_fd[p] = fd;
			q->buffers[i].mem_offset[p] = 0;
			q->buffers[i].length[p] = q->size[p];
			q->buffers[i].heads[p] = false;
		}
	}
	return 0;
}

/* Which memory an offset given to mmap() means. */
static uint32_t cookie(const struct fake_device *d, const struct fake_queue *q,
		       uint32_t index, uint32_t plane)
{
	return ((q == &d->out) << 20) | (index << 16) | (plane << 12);
}

static int do_querybuf(struct fake_device *d, struct v4l2_buffer *v)
{
	struct fake_queue *q = queue_of(d, v->type);
	uint32_t p;

	if (!q || v->index >= q->count || v->memory != V4L2_MEMORY_MMAP)
		return -EINVAL;
	if (!d->pub.mplane) {
		v->length = q->size[0];
		v->m.offset = cookie(d, q, v->index, 0);
		return 0;
	}
	if (v->length < q->plane_count)
		return -EINVAL;
	for (p = 0; p < q->plane_count; p++) {
		v->m.planes[p].length = q->size[p];
		v->m.planes[p].m.mem_offset = cookie(d, q, v->index, p);
	}
	return 0;
}

static int do_expbuf(struct fake_device *d, struct v4l2_exportbuffer *e)
{
	struct fake_queue *q = queue_of(d, e->type);
	int fd;

	if (d->pub.no_export)
		return -ENOTTY;
	if (!q || q->memory != V4L2_MEMORY_MMAP || e->index >= q->count ||
	    e->plane >= q->plane_count)
		return -EINVAL;
	fd = fcntl(q->buffers[e->index].mem_fd[e->plane], F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fd >= FDS_MAX)
		abort();
	fake.fds[fd] = (struct fd_info){ .dmabuf = true,
					 .length = q->size[e->plane] };
	e->fd = fd;
	return 0;
}

static int attach(const struct fake_device *d, struct fake_queue *q,
		  struct fake_buffer *b, uint32_t p, int fd, uint32_t length)
{
	const struct fd_info *info;

	if (fd < 0 || fd >= FDS_MAX || !fake.fds[fd].dmabuf)
		return -EBADF;
	info = &fake.fds[fd];
	/* vb2: what the user claims, and what the driver needs. */
	if (length > info->length || length < q->size[p])
		return -EINVAL;
	if (d->pub.contiguous && !info->huge)
		return -EINVAL;
	if (b->mem_fd[p] > 0)
		close(b->mem_fd[p]);
	b->mem_fd[p] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (b->mem_fd[p] < 0)
		abort();
	b->mem_offset[p] = info->offset;
	b->length[p] = info->length;
	b->heads[p] = d->pub.writes_heads && info->huge;
	return 0;
}

static bool is_output(const struct fake_device *d, const struct fake_queue *q)
{
	return q == &d->out;
}

static int take_planes(struct fake_device *d, struct fake_queue *q,
		       struct fake_buffer *b, const struct v4l2_buffer *v)
{
	uint32_t p;
	int r;

	for (p = 0; p < q->plane_count; p++) {
		uint32_t length = d->pub.mplane ? v->m.planes[p].length
						: v->length;
		uint32_t used = d->pub.mplane ? v->m.planes[p].bytesused
					      : v->bytesused;
		int fd = d->pub.mplane ? v->m.planes[p].m.fd : v->m.fd;

		if (q->memory == V4L2_MEMORY_DMABUF) {
			if (d->pub.import_faults)
				return -EFAULT;
			r = attach(d, q, b, p, fd, length);
			if (r < 0)
				return r;
			d->pub.imports++;
		}
		if (is_output(d, q) &&
		    (used > b->length[p] || used < q->size[p]))
			return -EINVAL;
		b->bytesused[p] = used;
	}
	return 0;
}

static int do_qbuf(struct fake_device *d, struct v4l2_buffer *v)
{
	struct fake_queue *q = queue_of(d, v->type);
	struct fake_buffer *b;
	int r;

	if (!q || v->index >= q->count || v->memory != q->memory)
		return -EINVAL;
	b = &q->buffers[v->index];
	if (b->place != IDLE)
		return -EINVAL;
	if (d->pub.mplane && v->length != q->plane_count)
		return -EINVAL;
	if (d->pub.refuse_qbuf) {
		d->pub.refuse_qbuf--;
		return -ENOMEM;
	}
	r = take_planes(d, q, b, v);
	if (r < 0)
		return r;
	b->place = QUEUED;
	b->stamp = v->timestamp;
	q->queued[q->queued_count++] = v->index;
	fake_v4l2_work(d);
	return 0;
}

static uint32_t shift(uint32_t *list, uint32_t *count)
{
	uint32_t first = list[0];

	(*count)--;
	memmove(list, list + 1, *count * sizeof(*list));
	return first;
}

static void spoil(struct fake_device *d, struct fake_queue *q,
		  struct v4l2_buffer *v)
{
	if (d->pub.bad_index) {
		d->pub.bad_index--;
		v->index = 99;
	} else if (d->pub.same_index) {
		d->pub.same_index--;
		v->index = (v->index + q->count - 1) % q->count;
	}
}

static int do_dqbuf(struct fake_device *d, struct v4l2_buffer *v)
{
	struct fake_queue *q = queue_of(d, v->type);
	struct fake_buffer *b;
	uint32_t p;

	if (!q || v->memory != q->memory || !q->streaming)
		return -EINVAL;
	if (!q->done_count)
		return (d->stopped || d->pub.ends_by_itself) && q == &d->cap
			       ? -EPIPE
			       : -EAGAIN;
	v->index = shift(q->done, &q->done_count);
	b = &q->buffers[v->index];
	b->place = IDLE;
	v->flags = b->flags;
	v->sequence = b->sequence;
	v->timestamp = b->stamp;
	if (d->pub.mplane) {
		for (p = 0; p < q->plane_count; p++) {
			v->m.planes[p].bytesused = b->bytesused[p];
			v->m.planes[p].data_offset = b->offset;
		}
	} else {
		v->bytesused = b->bytesused[0];
	}
	spoil(d, q, v);
	return 0;
}

static int do_stream(struct fake_device *d, uint32_t type, bool on)
{
	struct fake_queue *q = queue_of(d, type);

	if (!q || (on && !q->count))
		return -EINVAL;
	q->streaming = on;
	if (on)
		fake_v4l2_work(d);
	else
		cancel_all(q);
	return 0;
}

/* --- commands and controls ---------------------------------------------- */

static int do_encoder_cmd(struct fake_device *d, const struct v4l2_encoder_cmd *cmd,
			  bool only_try)
{
	if (d->pub.no_stop)
		return -ENOTTY;
	if (cmd->cmd != V4L2_ENC_CMD_STOP)
		return -EINVAL;
	if (!only_try) {
		d->stopping = true;
		fake_v4l2_work(d);
	}
	return 0;
}

static int codec_control(struct fake_device *d, struct v4l2_control *c)
{
	uint32_t i;

	for (i = 0; i < FAKE_CODEC_CONTROLS; i++) {
		struct fake_codec_control *known = &d->pub.controls[i];

		if (known->id != c->id)
			continue;
		if (known->menu && c->value > known->max)
			return -ERANGE;
		c->value = MIN(c->value, known->max);
		known->value = c->value;
		known->sets++;
		return 0;
	}
	return -EINVAL;
}

static int encoder_ioctl(struct fake_device *d, unsigned long request,
			 void *arg)
{
	struct v4l2_selection *s = arg;
	struct v4l2_event *event = arg;

	switch (request) {
	case VIDIOC_S_SELECTION:
		if (d->pub.no_crop || s->target != V4L2_SEL_TGT_CROP)
			return -EINVAL;
		d->pub.crop_width = s->r.width;
		d->pub.crop_height = s->r.height;
		return 0;
	case VIDIOC_SUBSCRIBE_EVENT:
		return d->pub.has_events ? 0 : -EINVAL;
	case VIDIOC_DQEVENT:
		if (!d->pub.source_changes)
			return -ENOENT;
		d->pub.source_changes--;
		memset(event, 0, sizeof(*event));
		event->type = V4L2_EVENT_SOURCE_CHANGE;
		return 0;
	default:
		return -ENOTTY;
	}
}

static int do_control(struct fake_device *d, struct v4l2_control *c)
{
	if (d->pub.no_controls)
		return -EINVAL;
	switch (c->id) {
	case V4L2_CID_MPEG_VIDEO_BITRATE:
		d->pub.bitrate = c->value;
		return 0;
	case V4L2_CID_MPEG_VIDEO_GOP_SIZE:
		d->pub.gop = (unsigned int)c->value;
		return 0;
	case V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME:
		d->force_key = true;
		d->pub.forced_keys++;
		return 0;
	default:
		return codec_control(d, c);
	}
}

/* --- system calls ------------------------------------------------------- */

static struct fd_info *info_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? &fake.fds[fd] : NULL;
}

static struct fake_device *device_of(int fd)
{
	struct fd_info *info = info_of(fd);

	return info ? info->device : NULL;
}

static int open_device(struct fake_device *d)
{
	int fd;

	if (d->pub.unplugged)
		return -ENXIO;
	fd = sys_posix()->openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	if (fd < 0 || fd >= FDS_MAX)
		abort();
	fake.fds[fd] = (struct fd_info){ .device = d };
	/* Who opens it next may look at it, no more. */
	if (d->pub.opens++)
		return fd;
	d->owner_fd = fd;
	d->sequence = 0;
	d->stopping = false;
	d->stopped = false;
	d->headers_given = 0;
	/* A camera stays as it was left. */
	if (!is_source(d) || !d->set_up) {
		set_format(d, &d->cap, V4L2_PIX_FMT_YUYV, 0, 0);
		set_format(d, &d->out, V4L2_PIX_FMT_YUYV, 0, 0);
	}
	d->set_up = true;
	return fd;
}

static int open_other(int dirfd, struct fd_info info)
{
	int fd = sys_posix()->openat(dirfd, "/dev/null", O_RDWR | O_CLOEXEC,
				     0);

	if (fd < 0 || fd >= FDS_MAX)
		abort();
	fake.fds[fd] = info;
	return fd;
}

static int fake_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	unsigned int n;

	if (!strcmp(path, "/dev/udmabuf"))
		return fake.no_udmabuf
			       ? -ENOENT
			       : open_other(dirfd, (struct fd_info){
							   .udmabuf = true });
	/* No test depends on the heaps of the machine it runs on. */
	if (!strncmp(path, "/dev/dma_heap/", 14))
		return !fake.has_heap || strcmp(path + 14, "system")
			       ? -ENOENT
			       : open_other(dirfd, (struct fd_info){
							   .heap = true });
	if (sscanf(path, "/dev/video%u", &n) == 1)
		return n < fake.device_count ? open_device(&fake.devices[n])
					     : -ENOENT;
	return sys_posix()->openat(dirfd, path, flags, mode);
}

static int fake_close(int fd)
{
	struct fd_info *info = info_of(fd);

	if (info && info->device) {
		info->device->pub.opens--;
		if (fd == info->device->owner_fd) {
			free_queue(&info->device->cap);
			free_queue(&info->device->out);
		}
	}
	if (info)
		memset(info, 0, sizeof(*info));
	return sys_posix()->close(fd);
}

static int do_udmabuf(const struct udmabuf_create *create)
{
	int fd;

	if (create->offset % 4096 || create->size % 4096 || !create->size)
		return -EINVAL;
	if (!(fcntl((int)create->memfd, F_GET_SEALS) & F_SEAL_SHRINK))
		return -EINVAL;
	fd = fcntl((int)create->memfd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fd >= FDS_MAX)
		abort();
	fake.fds[fd] = (struct fd_info){ .dmabuf = true,
					 .huge = info_of((int)create->memfd)->huge,
					 .offset = (off_t)create->offset,
					 .length = (uint32_t)create->size };
	return fd;
}

static int do_heap(struct dma_heap_allocation_data *data)
{
	int fd = memfd_create("heap", MFD_CLOEXEC);

	if (fd < 0 || fd >= FDS_MAX || ftruncate(fd, (off_t)data->len) < 0)
		abort();
	fake.fds[fd] = (struct fd_info){ .dmabuf = true,
					 .length = (uint32_t)data->len };
	data->fd = (uint32_t)fd;
	return 0;
}

/* What is set beside the format may change that. */
static int settings_ioctl(struct fake_device *d, unsigned long request, void *arg)
{
	struct fake_settings *s = &d->pub.settings;
	int r;

	if (!is_source(d))
		return -ENOTTY;
	s->is_sdr = d->pub.kind == FAKE_RADIO;
	r = fake_settings_ioctl(s, request, arg, d->cap.count);
	if (s->reset_width)
		set_format(d, &d->cap, V4L2_PIX_FMT_YUYV, s->reset_width,
			   s->reset_height);
	s->reset_width = 0;
	return r;
}

static int device_ioctl(struct fake_device *d, unsigned long request, void *arg)
{
	switch (request) {
	case VIDIOC_QUERYCAP:
		return do_querycap(d, arg);
	case VIDIOC_ENUM_FMT:
		return do_enum_fmt(d, arg);
	case VIDIOC_ENUM_FRAMESIZES:
		return do_enum_sizes(arg);
	case VIDIOC_ENUM_FRAMEINTERVALS:
		return do_enum_rates(arg);
	case VIDIOC_G_FMT:
		return do_format(d, arg, false);
	case VIDIOC_S_FMT:
		return do_format(d, arg, true);
	case VIDIOC_REQBUFS:
		return do_reqbufs(d, arg);
	case VIDIOC_QUERYBUF:
		return do_querybuf(d, arg);
	case VIDIOC_EXPBUF:
		return do_expbuf(d, arg);
	case VIDIOC_QBUF:
		return do_qbuf(d, arg);
	case VIDIOC_DQBUF:
		return do_dqbuf(d, arg);
	case VIDIOC_STREAMON:
		return do_stream(d, *(uint32_t *)arg, true);
	case VIDIOC_STREAMOFF:
		return do_stream(d, *(uint32_t *)arg, false);
	case VIDIOC_TRY_ENCODER_CMD:
		return do_encoder_cmd(d, arg, true);
	case VIDIOC_ENCODER_CMD:
		return do_encoder_cmd(d, arg, false);
	case VIDIOC_S_CTRL:
		return do_control(d, arg);
	default:
		if (d->pub.kind == FAKE_ENCODER)
			return encoder_ioctl(d, request, arg);
		return settings_ioctl(d, request, arg);
	}
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct fd_info *info = info_of(fd);

	if (info && info->udmabuf)
		return request == UDMABUF_CREATE ? do_udmabuf(arg) : -ENOTTY;
	if (info && info->heap)
		return request == DMA_HEAP_IOCTL_ALLOC ? do_heap(arg)
						       : -ENOTTY;
	if (!info || !info->device)
		return sys_posix()->ioctl(fd, request, arg);
	if (info->device->pub.unplugged)
		return -ENODEV;
	if (request == VIDIOC_REQBUFS && fd != info->device->owner_fd)
		return -EBUSY;
	return device_ioctl(info->device, request, arg);
}

static int fake_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		     void **ret_map)
{
	struct fake_device *d = device_of(fd);
	uint32_t index = (offset >> 16) & 0xf;
	uint32_t plane = (offset >> 12) & 0xf;
	struct fake_queue *q;

	if (!d)
		return sys_posix()->mmap(len, prot, flags, fd, offset,
					 ret_map);
	q = offset >> 20 ? &d->out : &d->cap;
	if (index >= q->count || q->memory != V4L2_MEMORY_MMAP ||
	    plane >= q->plane_count || len > q->size[plane])
		return -EINVAL;
	return sys_posix()->mmap(len, prot, flags,
				 q->buffers[index].mem_fd[plane], 0, ret_map);
}

static short events_of(struct fake_device *d)
{
	short events = 0;

	if (d->pub.unplugged)
		return POLLERR | POLLHUP;
	if (is_source(d) && d->cap.streaming && !d->pub.hang &&
	    !d->cap.done_count && d->cap.queued_count) {
		fake.now_ns += FAKE_V4L2_FRAME_NS;
		fake_v4l2_make_frame(d);
	}
	if (d->pub.settings.subscribed && d->pub.settings.events)
		events |= POLLPRI;
	if (d->cap.done_count)
		events |= POLLIN;
	if (d->out.done_count)
		events |= POLLOUT;
	return events;
}

/* Other descriptors are asked for what they have now: time is the fake's. */
static int fake_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	unsigned int ready = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct fake_device *d = device_of(fds[i].fd);

		if (!d)
			(void)sys_posix()->poll(&fds[i], 1, 0);
		else
			fds[i].revents = events_of(d) &
					 (short)(fds[i].events | POLLERR |
						 POLLHUP);
		ready += fds[i].revents != 0;
	}
	if (ready)
		return (int)ready;
	if (timeout_ms < 0)
		abort(); /* a wait without a deadline */
	fake.now_ns += (uint64_t)timeout_ms * 1000000u;
	return 0;
}

static int fake_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	(void)clock;
	ret_ts->tv_sec = (time_t)(fake.now_ns / 1000000000u);
	ret_ts->tv_nsec = (long)(fake.now_ns % 1000000000u);
	return 0;
}

static int fake_memfd_create(const char *name, unsigned int flags)
{
	/* No test depends on the huge pages of the machine it runs on. */
	unsigned int small = flags & ~(MFD_HUGETLB | MFD_HUGE_2MB);
	int fd;

	if (flags & MFD_HUGETLB && !fake.has_huge)
		return -EOPNOTSUPP;
	fd = sys_posix()->memfd_create(name, small);
	if (fd >= FDS_MAX)
		abort();
	if (fd >= 0)
		fake.fds[fd] = (struct fd_info){ .huge = flags & MFD_HUGETLB };
	return fd;
}

const struct sys_ops *fake_v4l2_ops(void)
{
	static struct sys_ops ops;

	ops = *sys_posix();
	ops.openat = fake_openat;
	ops.close = fake_close;
	ops.ioctl = fake_ioctl;
	ops.mmap = fake_mmap;
	ops.poll = fake_poll;
	ops.clock_gettime = fake_clock_gettime;
	ops.memfd_create = fake_memfd_create;
	return &ops;
}

void fake_v4l2_reset(void)
{
	unsigned int i;

	for (i = 0; i < fake.device_count; i++) {
		free_queue(&fake.devices[i].cap);
		free_queue(&fake.devices[i].out);
	}
	memset(&fake, 0, sizeof(fake));
	fake.now_ns = UINT64_C(1000000000);
}

struct fake_v4l2 *fake_v4l2_add(enum fake_v4l2_kind kind)
{
	struct fake_device *d;

	if (fake.device_count == DEVICES_MAX)
		abort();
	d = &fake.devices[fake.device_count++];
	d->pub.kind = kind;
	fake_settings_init(&d->pub.settings);
	return &d->pub;
}

void fake_v4l2_source_change(struct fake_v4l2 *dev)
{
	dev->settings.events += dev->settings.subscribed;
}

struct fake_state fake_v4l2_state(const struct fake_v4l2 *pub)
{
	const struct fake_device *d = (const struct fake_device *)pub;
	struct fake_state state = pub->settings.now;

	state.fourcc = d->cap.fourcc;
	state.width = d->cap.width;
	state.height = d->cap.height;
	state.size = d->cap.size[0];
	return state;
}

void fake_v4l2_huge_pages(bool present)
{
	fake.has_huge = present;
}

void fake_v4l2_heap(bool present)
{
	fake.has_heap = present;
}

void fake_v4l2_udmabuf(bool present)
{
	fake.no_udmabuf = !present;
}

unsigned int fake_v4l2_queued(const struct fake_v4l2 *pub)
{
	const struct fake_device *d = (const struct fake_device *)pub;

	return d->cap.queued_count + d->cap.done_count + d->out.queued_count +
	       d->out.done_count;
}
