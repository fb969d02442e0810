/* SPDX-License-Identifier: Apache-2.0 */
#include "src/queue.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/dma-buf.h>
#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/queue_memory.h"
#include "src/v4l2.h"

#define NS_PER_MS 1000000u

void queue_init(struct queue *q, const struct sys_ops *sys, int fd,
		uint32_t type)
{
	uint32_t i;
	uint32_t p;

	memset(q, 0, sizeof(*q));
	q->sys = sys;
	q->fd = fd;
	q->type = type;
	q->sync = queue_needs_sync();
	for (i = 0; i < CAPTURE_BUFFERS_MAX; i++) {
		for (p = 0; p < CAPTURE_PLANES_MAX; p++)
			q->buffers[i].planes[p].dmabuf_fd = -EBADF;
	}
}

static void set_place(struct queue *q, uint32_t index, enum queue_place place)
{
	struct queue_buffer *b = &q->buffers[index];

	q->queued -= b->place == QUEUE_QUEUED;
	q->out -= b->place == QUEUE_OUT;
	b->place = place;
	q->queued += place == QUEUE_QUEUED;
	q->out += place == QUEUE_OUT;
}

void queue_forget(struct queue *q)
{
	if (q->streaming)
		(void)queue_off(q); /* its buffers are ours either way */
	if (q->memory)
		queue_memory_free(q);
	q->memory = 0;
}

void queue_release(struct queue *q)
{
	queue_forget(q);
	queue_fini(q);
}

void queue_fini(struct queue *q)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < CAPTURE_BUFFERS_MAX; i++) {
		for (p = 0; p < CAPTURE_PLANES_MAX; p++) {
			struct queue_plane *plane = &q->buffers[i].planes[p];

			if (plane->map_bytes)
				(void)q->sys->munmap(plane->map,
						     plane->map_bytes);
			plane->map = NULL;
			plane->map_bytes = 0;
			sys_close(q->sys, &plane->dmabuf_fd);
		}
		q->buffers[i].place = QUEUE_FREE;
		q->buffers[i].canaries = false;
	}
	q->arena = capture_arena_unref(q->arena);
	q->memory = 0;
	q->count = 0;
	q->queued = 0;
	q->out = 0;
	q->memory_bytes = 0;
	q->cache_hints = false;
	q->non_coherent = false;
}

/* One plane's part of a v4l2_plane; the single-planar call takes the same. */
static void fill_plane(const struct queue *q, const struct queue_plane *plane,
		       uint32_t p, const struct queue_payload *payload,
		       struct v4l2_plane *v)
{
	bool import = q->memory == V4L2_MEMORY_DMABUF;
	bool foreign = import && q->rung == CAPTURE_RUNG_AUTO;

	assert(payload || !foreign);
	v->bytesused = payload ? payload->bytesused[p] : 0;
	v->length = plane->length;
	if (foreign) {
		v->m.fd = payload->fds[p];
		v->length = payload->lengths[p];
	} else if (import) {
		v->m.fd = plane->dmabuf_fd;
	}
}

static void fill_buffer(const struct queue *q, uint32_t index,
			struct v4l2_buffer *v, struct v4l2_plane *planes)
{
	memset(v, 0, sizeof(*v));
	memset(planes, 0, CAPTURE_PLANES_MAX * sizeof(*planes));
	v->index = index;
	v->type = q->type;
	v->memory = q->memory;
	v->field = V4L2_FIELD_NONE;
	if (v4l2_is_mplane(q->type)) {
		v->m.planes = planes;
		v->length = q->plane_count;
	}
}

int queue_give(struct queue *q, uint32_t index,
	       const struct queue_payload *payload)
{
	struct v4l2_plane planes[CAPTURE_PLANES_MAX];
	struct queue_buffer *b = &q->buffers[index];
	struct v4l2_buffer v;
	uint32_t p;
	int r;

	assert(index < q->count);
	assert(b->place == QUEUE_FREE);
	fill_buffer(q, index, &v, planes);
	for (p = 0; p < q->plane_count; p++)
		fill_plane(q, &b->planes[p], p, payload, &planes[p]);
	if (!v4l2_is_mplane(q->type)) {
		v.bytesused = planes[0].bytesused;
		v.length = planes[0].length;
		if (q->memory == V4L2_MEMORY_DMABUF)
			v.m.fd = planes[0].m.fd;
	}
	if (payload) {
		v.timestamp.tv_sec = (time_t)(payload->key / 1000000);
		v.timestamp.tv_usec = (suseconds_t)(payload->key % 1000000);
	}
	r = q->sys->ioctl(q->fd, VIDIOC_QBUF, &v);
	if (r < 0)
		return r;
	set_place(q, index, QUEUE_QUEUED);
	return 0;
}

/* Checks what the kernel says of one plane against the memory we gave it. */
static bool plane_sane(const struct queue *q, const struct queue_plane *plane,
		       uint32_t offset, uint32_t bytesused)
{
	/* The length of imported memory is its owner's to know. */
	if (q->memory == V4L2_MEMORY_DMABUF && q->rung == CAPTURE_RUNG_AUTO)
		return true;
	return bytesused <= plane->length && offset <= bytesused;
}

static void unpack_done(const struct queue *q, const struct v4l2_buffer *v,
			const struct v4l2_plane *planes,
			struct queue_done *done)
{
	const struct queue_buffer *b = &q->buffers[v->index];
	bool mplane = v4l2_is_mplane(q->type);
	uint32_t p;

	memset(done, 0, sizeof(*done));
	done->index = v->index;
	done->flags = v->flags;
	done->sequence = v->sequence;
	done->damaged = v->flags & V4L2_BUF_FLAG_ERROR;
	if (v->timestamp.tv_sec >= 0 && v->timestamp.tv_usec >= 0 &&
	    v->timestamp.tv_usec < 1000000)
		done->stamp_ns = (uint64_t)v->timestamp.tv_sec * 1000000000u +
				 (uint64_t)v->timestamp.tv_usec * 1000u;
	for (p = 0; p < q->plane_count; p++) {
		uint32_t bytesused = mplane ? planes[p].bytesused
					    : v->bytesused;
		uint32_t offset = mplane ? planes[p].data_offset : 0;

		if (!plane_sane(q, &b->planes[p], offset, bytesused)) {
			done->damaged = true;
			continue;
		}
		done->offset[p] = offset;
		/* V4L2 counts the bytes before the payload in. */
		done->bytesused[p] = bytesused - offset;
	}
}

int queue_take(struct queue *q, struct queue_done *ret_done)
{
	struct v4l2_plane planes[CAPTURE_PLANES_MAX];
	struct v4l2_buffer v;
	int r;

	fill_buffer(q, 0, &v, planes);
	r = q->sys->ioctl(q->fd, VIDIOC_DQBUF, &v);
	if (r < 0)
		return r;
	if (v.index >= q->count || q->buffers[v.index].place != QUEUE_QUEUED)
		return -EPROTO;
	unpack_done(q, &v, planes, ret_done);
	set_place(q, v.index, QUEUE_OUT);
	return 0;
}

void queue_return(struct queue *q, uint32_t index)
{
	assert(index < q->count);
	assert(q->buffers[index].place == QUEUE_OUT);
	set_place(q, index, QUEUE_FREE);
}

int queue_find_free(const struct queue *q)
{
	uint32_t i;

	for (i = 0; i < q->count; i++) {
		if (q->buffers[i].place == QUEUE_FREE)
			return (int)i;
	}
	return -EAGAIN;
}

int queue_on(struct queue *q)
{
	int type = (int)q->type;
	int r = q->sys->ioctl(q->fd, VIDIOC_STREAMON, &type);

	if (r < 0)
		return r;
	q->streaming = true;
	return 0;
}

int queue_off(struct queue *q)
{
	int type = (int)q->type;
	int r = q->sys->ioctl(q->fd, VIDIOC_STREAMOFF, &type);
	uint32_t i;

	q->streaming = false;
	for (i = 0; i < q->count; i++) {
		if (q->buffers[i].place == QUEUE_QUEUED)
			set_place(q, i, QUEUE_FREE);
	}
	return r < 0 ? r : 0;
}

#if defined(__x86_64__) || defined(__i386__)
static bool needs_sync = false; /* DMA snoops the caches, by architecture */
#else
static bool needs_sync = true;
#endif

bool queue_needs_sync(void)
{
	return needs_sync;
}

void queue_assume_sync(bool needed)
{
	needs_sync = needed;
}

void queue_sync_fd(const struct sys_ops *sys, int dmabuf_fd, uint64_t flags)
{
	struct dma_buf_sync sync = {.flags = flags};

	/* An exporter that has nothing to do says 0; none can say more. */
	(void)sys->ioctl(dmabuf_fd, DMA_BUF_IOCTL_SYNC, &sync);
}

static void queue_sync(struct queue *q, uint32_t index, uint64_t flags)
{
	uint32_t p;

	/* The driver's own memory is synced by QBUF and DQBUF. */
	if (!q->sync || q->memory != V4L2_MEMORY_DMABUF)
		return;
	for (p = 0; p < q->plane_count; p++)
		queue_sync_fd(q->sys, q->buffers[index].planes[p].dmabuf_fd,
			      flags);
}

void queue_begin_read(struct queue *q, uint32_t index)
{
	queue_sync(q, index, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START);
}

void queue_end_read(struct queue *q, uint32_t index)
{
	queue_sync(q, index, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END);
}

int queue_wait(const struct sys_ops *sys, int fd, short events,
	       uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now_ns = sys_now_ns(sys, CLOCK_MONOTONIC);
		uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns
							: 0;
		/* Rounded up, or the last millisecond would be a busy loop. */
		uint64_t left_ms = left_ns / NS_PER_MS +
				   (left_ns % NS_PER_MS != 0);
		int r = sys->poll(&pfd, 1, (int)MIN(left_ms, INT_MAX));

		if (r == -EINTR)
			continue; /* poll is the one call not restarted */
		if (r < 0)
			return r;
		return r ? pfd.revents : 0;
	}
}
