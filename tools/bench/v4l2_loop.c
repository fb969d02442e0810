/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/v4l2_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/videodev2.h>

static int call(struct v4l2_loop *l, int fd, unsigned long request, void *arg)
{
	l->ioctls++;
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int set_format(struct v4l2_loop *l, int fd, uint32_t type,
		      uint32_t fourcc, uint32_t width, uint32_t height,
		      uint32_t *ret_bytes)
{
	struct v4l2_format f = {.type = type};
	int r;

	f.fmt.pix.pixelformat = fourcc;
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	r = call(l, fd, VIDIOC_S_FMT, &f);
	if (r < 0)
		return r;
	if (f.fmt.pix.pixelformat != fourcc || f.fmt.pix.width != width ||
	    f.fmt.pix.height != height)
		return -ERANGE;
	*ret_bytes = f.fmt.pix.sizeimage;
	return 0;
}

static int request(struct v4l2_loop *l, int fd, uint32_t type, uint32_t memory)
{
	struct v4l2_requestbuffers b = {
		.count = V4L2_LOOP_BUFFERS, .type = type, .memory = memory};
	int r = call(l, fd, VIDIOC_REQBUFS, &b);

	return r < 0 ? r : b.count != V4L2_LOOP_BUFFERS ? -ENOMEM : 0;
}

static int queue(struct v4l2_loop *l, int fd, uint32_t type, uint32_t memory,
		 uint32_t index)
{
	struct v4l2_buffer b = {.index = index, .type = type, .memory = memory};

	if (memory == V4L2_MEMORY_DMABUF) {
		b.m.fd = l->dmabuf_fds[index];
		b.bytesused = l->frame_bytes;
	}
	return call(l, fd, VIDIOC_QBUF, &b);
}

static int take(struct v4l2_loop *l, int fd, uint32_t type, uint32_t memory,
		uint32_t *ret_index)
{
	struct v4l2_buffer b = {.type = type, .memory = memory};
	int r = call(l, fd, VIDIOC_DQBUF, &b);

	*ret_index = b.index;
	return r;
}

static int stream_on(struct v4l2_loop *l, int fd, int type)
{
	return call(l, fd, VIDIOC_STREAMON, &type);
}

static int export_all(struct v4l2_loop *l)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < V4L2_LOOP_BUFFERS && r == 0; i++) {
		struct v4l2_exportbuffer e = {
			.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
			.index = i,
			.flags = O_RDWR | O_CLOEXEC,
		};

		r = call(l, l->camera_fd, VIDIOC_EXPBUF, &e);
		if (r == 0)
			l->dmabuf_fds[i] = e.fd;
	}
	return r;
}

static int set_formats(struct v4l2_loop *l, uint32_t width, uint32_t height)
{
	struct v4l2_streamparm rate = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
	uint32_t coded_bytes;
	uint32_t input_bytes;
	int r;

	r = set_format(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
		       V4L2_PIX_FMT_YUV420, width, height, &l->frame_bytes);
	rate.parm.capture.timeperframe.numerator = 1;
	rate.parm.capture.timeperframe.denominator = 30;
	if (r == 0)
		r = call(l, l->camera_fd, VIDIOC_S_PARM, &rate);
	if (r == 0)
		r = set_format(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			       V4L2_PIX_FMT_FWHT, width, height, &coded_bytes);
	if (r == 0)
		r = set_format(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_OUTPUT,
			       V4L2_PIX_FMT_YUV420, width, height,
			       &input_bytes);
	return r;
}

static int set_gop(struct v4l2_loop *l)
{
	struct v4l2_control c = {.id = V4L2_CID_MPEG_VIDEO_GOP_SIZE,
				 .value = 4};

	return call(l, l->encoder_fd, VIDIOC_S_CTRL, &c);
}

static int start(struct v4l2_loop *l)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < V4L2_LOOP_BUFFERS && r == 0; i++) {
		r = queue(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			  V4L2_MEMORY_MMAP, i);
		if (r == 0)
			r = queue(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
				  V4L2_MEMORY_MMAP, i);
	}
	if (r == 0)
		r = stream_on(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_OUTPUT);
	if (r == 0)
		r = stream_on(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE);
	if (r == 0)
		r = stream_on(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE);
	return r;
}

int v4l2_loop_open(struct v4l2_loop *l, const char *camera, const char *encoder,
		   uint32_t width, uint32_t height)
{
	uint32_t i;
	int r;

	*l = (struct v4l2_loop){.camera_fd = -1, .encoder_fd = -1};
	for (i = 0; i < V4L2_LOOP_BUFFERS; i++)
		l->dmabuf_fds[i] = -1;
	l->camera_fd = open(camera, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	l->encoder_fd = open(encoder, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (l->camera_fd < 0 || l->encoder_fd < 0)
		return -errno;
	r = set_formats(l, width, height);
	if (r == 0)
		r = set_gop(l);
	if (r == 0)
		r = request(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			    V4L2_MEMORY_MMAP);
	if (r == 0)
		r = request(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_OUTPUT,
			    V4L2_MEMORY_DMABUF);
	if (r == 0)
		r = request(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			    V4L2_MEMORY_MMAP);
	if (r == 0)
		r = export_all(l);
	if (r == 0)
		r = start(l);
	l->ioctls = 0;
	return r;
}

/* A frame of the camera into the encoder's slot of the same index. */
static int move_frame(struct v4l2_loop *l)
{
	uint32_t i;
	int r = take(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
		     V4L2_MEMORY_MMAP, &i);

	if (r < 0)
		return r;
	r = queue(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_OUTPUT,
		  V4L2_MEMORY_DMABUF, i);
	l->inside += r == 0;
	return r;
}

/* A packet out, its frame back to the camera. */
static int move_packet(struct v4l2_loop *l)
{
	uint32_t i;
	int r = take(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
		     V4L2_MEMORY_MMAP, &i);

	if (r == 0)
		r = queue(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			  V4L2_MEMORY_MMAP, i);
	if (r == 0)
		r = take(l, l->encoder_fd, V4L2_BUF_TYPE_VIDEO_OUTPUT,
			 V4L2_MEMORY_DMABUF, &i);
	if (r == 0)
		r = queue(l, l->camera_fd, V4L2_BUF_TYPE_VIDEO_CAPTURE,
			  V4L2_MEMORY_MMAP, i);
	if (r < 0)
		return r;
	l->inside--;
	return 1;
}

int v4l2_loop_turn(struct v4l2_loop *l, int timeout_ms)
{
	struct pollfd fds[2] = {
		{.fd = l->camera_fd, .events = POLLIN},
		{.fd = l->encoder_fd, .events = POLLIN},
	};
	int r;

	l->waits++;
	r = poll(fds, l->inside ? 2 : 1, timeout_ms);
	if (r < 0)
		return -errno;
	if (r == 0)
		return -ETIMEDOUT;
	r = 0;
	if (l->inside && fds[1].revents & POLLIN)
		r = move_packet(l);
	if (r >= 0 && fds[0].revents & POLLIN) {
		int moved = move_frame(l);

		r = moved < 0 ? moved : r;
	}
	return r;
}

void v4l2_loop_close(struct v4l2_loop *l)
{
	int i;

	if (l->camera_fd >= 0)
		(void)close(l->camera_fd);
	if (l->encoder_fd >= 0)
		(void)close(l->encoder_fd);
	for (i = 0; i < V4L2_LOOP_BUFFERS; i++) {
		if (l->dmabuf_fds[i] >= 0)
			(void)close(l->dmabuf_fds[i]);
	}
}
