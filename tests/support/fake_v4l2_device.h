/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a fake V4L2 device: its calls, fake_v4l2.c, its work, fake_v4l2_work.c. */
#ifndef SUPPORT_FAKE_V4L2_DEVICE_H
#define SUPPORT_FAKE_V4L2_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#include "support/fake_v4l2.h"

#define FAKE_BUFFERS_MAX 32
#define FAKE_PLANES_MAX 3

enum place { IDLE = 0, QUEUED, DONE };

struct fake_buffer {
	enum place place;
	int mem_fd[FAKE_PLANES_MAX];	/* MMAP: memory of ours; DMABUF: a duplicate */
	off_t mem_offset[FAKE_PLANES_MAX];
	uint32_t length[FAKE_PLANES_MAX];
	bool heads[FAKE_PLANES_MAX];	/* see writes_heads */
	uint32_t bytesused[FAKE_PLANES_MAX];
	struct timeval stamp;
	uint32_t flags;
	uint32_t sequence;
	uint32_t offset;	/* data_offset of each plane */
};

struct fake_queue {
	uint32_t fourcc;
	uint32_t width;
	uint32_t height;
	uint32_t plane_count;
	uint32_t stride[FAKE_PLANES_MAX];
	uint32_t size[FAKE_PLANES_MAX];
	uint32_t memory;
	uint32_t count;
	bool streaming;
	struct fake_buffer buffers[FAKE_BUFFERS_MAX];
	/* In the order they were queued, and were done. */
	uint32_t queued[FAKE_BUFFERS_MAX];
	uint32_t queued_count;
	uint32_t done[FAKE_BUFFERS_MAX];
	uint32_t done_count;
};

struct fake_device {
	struct fake_v4l2 pub;
	struct fake_queue cap;
	struct fake_queue out;
	int owner_fd;		/* the first that opened it: its queues */
	uint32_t sequence;
	bool stopping;
	bool stopped;
	bool force_key;
	bool set_up;		/* the format has its first value */
	unsigned int headers_given; /* buffers of headers alone */
	unsigned int held_for;	/* so many more packets, ... */
	uint32_t held;		/* ... this one */
};

/* The fake's time. */
uint64_t fake_v4l2_now_ns(void);
/* A camera, radio or metadata node fills its first queued buffer. */
void fake_v4l2_make_frame(struct fake_device *d);
/* An encoder does what it can. */
void fake_v4l2_work(struct fake_device *d);

#endif
