/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A V4L2 capture node. One queue, and a frame holder for each of its buffers.
 *
 * The structure lives while the owner has it or a frame is out: a closed
 * stream keeps its maps and descriptors (not the node) until then.
 *
 *	        start           failure          close
 *	OFF ----------> ON ----------> FAILED
 *	 ^-- stop ------'                |  any ----> CLOSED
 *	 ^------------- stop ------------'
 */
#include "src/source_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/frame.h"
#include "src/pixfmt.h"
#include "src/queue.h"
#include "src/v4l2.h"

enum stream_state { STREAM_OFF = 0, STREAM_ON, STREAM_FAILED, STREAM_CLOSED };

struct stream_frame {
	struct frame_holder holder;
	struct source_v4l2 *stream;
	uint32_t index;
};

struct source_v4l2 {
	struct capture_source base;
	int fd;
	enum stream_state state;
	struct queue queue;
	struct stream_frame frames[CAPTURE_BUFFERS_MAX];
	/* Fewest payload bytes of a whole picture, per plane; 1: any. */
	size_t whole_bytes[CAPTURE_PLANES_MAX];
	bool sequence_known;
	uint32_t sequence; /* of the last buffer seen */
	struct capture_source_stats stats;
};

static const struct source_ops v4l2_ops;
static int v4l2_stop(struct capture_source *source);

static struct source_v4l2 *self(struct capture_source *source)
{
	return container_of(source, struct source_v4l2, base);
}

static const struct source_v4l2 *self_const(const struct capture_source *source)
{
	return container_of(source, const struct source_v4l2, base);
}

static void set_state(struct source_v4l2 *s, enum stream_state next)
{
	assert(s->state != STREAM_CLOSED);
	assert(next != STREAM_ON || s->state == STREAM_OFF);
	s->state = next;
}

static void stream_destroy(struct source_v4l2 *s)
{
	queue_fini(&s->queue);
	sys_close(s->base.sys, &s->fd);
	free(s);
}

/* --- open --------------------------------------------------------------- */

/* Tries one fourcc: 0, -EPROTONOSUPPORT, -ERANGE, or the errno. */
static int try_format(struct source_v4l2 *s, uint32_t type,
		      const struct capture_source_config *config,
		      uint32_t fourcc)
{
	struct capture_format f = s->base.format;
	uint32_t width = config->width ? config->width : f.width;
	uint32_t height = config->height ? config->height : f.height;
	int r;

	r = v4l2_has_format(s->base.sys, s->fd, type, fourcc);
	if (r <= 0)
		return r < 0 ? r : -EPROTONOSUPPORT;
	f.fourcc = fourcc;
	f.width = width;
	f.height = height;
	memset(f.stride, 0, sizeof(f.stride));
	memset(f.size, 0, sizeof(f.size));
	r = v4l2_set_format(s->base.sys, s->fd, type, &f);
	if (r < 0)
		return r;
	if (f.fourcc != fourcc)
		return -EPROTONOSUPPORT;
	if (f.width != width || f.height != height)
		return -ERANGE;
	s->base.format = f;
	return 0;
}

static int negotiate(struct source_v4l2 *s, uint32_t type,
		     const struct capture_source_config *config)
{
	int worst = -EPROTONOSUPPORT;
	size_t i;
	int r;

	r = v4l2_get_format(s->base.sys, s->fd, type, &s->base.format);
	if (r < 0)
		return r;
	if (!config->fourcc_count)
		return try_format(s, type, config, s->base.format.fourcc);
	for (i = 0; i < config->fourcc_count; i++) {
		r = try_format(s, type, config, config->fourccs[i]);
		if (r == -ERANGE)
			worst = r;
		if (r != -ERANGE && r != -EPROTONOSUPPORT)
			return r;
	}
	return worst;
}

static void init_whole_bytes(struct source_v4l2 *s)
{
	struct pix_layout layout;
	uint32_t p;
	int r;

	r = pix_layout_init(&s->base.format, &layout);
	for (p = 0; p < s->base.format.plane_count; p++)
		s->whole_bytes[p] = r < 0 ? 1
					  : pix_layout_plane_bytes(&layout, p);
}

static void frame_release(struct frame_holder *holder);

static void init_frames(struct source_v4l2 *s, uint32_t track_id)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < s->queue.count; i++) {
		struct stream_frame *sf = &s->frames[i];
		struct capture_frame *frame = &sf->holder.frame;

		sf->stream = s;
		sf->index = i;
		sf->holder.release = frame_release;
		frame->track_id = track_id;
		frame->fourcc = s->base.format.fourcc;
		frame->width = s->base.format.width;
		frame->height = s->base.format.height;
		frame->plane_count = s->base.format.plane_count;
		for (p = 0; p < s->base.format.plane_count; p++) {
			const struct queue_plane *from =
				&s->queue.buffers[i].planes[p];
			struct capture_plane *to = &frame->planes[p];

			to->dmabuf_fd = from->dmabuf_fd;
			to->length = from->length;
			to->stride = s->base.format.stride[p];
			to->map = from->map;
		}
	}
}

static int stream_setup(struct source_v4l2 *s,
			const struct capture_source_config *config)
{
	uint32_t count = config->buffer_count ? config->buffer_count
					      : CAPTURE_SOURCE_BUFFERS;
	struct v4l2_node node;
	int r;

	r = v4l2_open(s->base.sys, config->path, &s->fd, &node);
	if (r < 0)
		return r;
	if (node.output_type)
		return -ENODEV; /* an M2M device is no camera */
	queue_init(&s->queue, s->base.sys, s->fd, node.capture_type);
	r = negotiate(s, node.capture_type, config);
	if (r < 0)
		return r;
	s->base.format.rate_num = config->rate_num;
	s->base.format.rate_den = config->rate_den;
	r = v4l2_set_rate(s->base.sys, s->fd, node.capture_type,
			  &s->base.format);
	if (r < 0)
		return r;
	r = queue_alloc(&s->queue, &s->base.format, count, config->rung);
	if (r < 0)
		return r;
	init_whole_bytes(s);
	init_frames(s, config->track_id);
	return 0;
}

int source_v4l2_open(const struct sys_ops *sys,
		     const struct capture_source_config *config,
		     struct capture_source **ret_source)
{
	struct source_v4l2 *s;
	int r;

	if (!config->path)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->base.ops = &v4l2_ops;
	s->base.sys = sys;
	s->fd = -EBADF;
	queue_init(&s->queue, sys, -EBADF, 0);
	r = stream_setup(s, config);
	if (r < 0) {
		stream_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static void v4l2_close(struct capture_source *source)
{
	struct source_v4l2 *s = self(source);

	(void)v4l2_stop(source); /* closing the node stops it too */
	set_state(s, STREAM_CLOSED);
	/* The frames' memory outlives the node: maps and dma-bufs hold it. */
	sys_close(s->base.sys, &s->fd);
	if (!s->queue.out)
		stream_destroy(s);
}

/* --- buffers ------------------------------------------------------------ */

/* Queues every free buffer; the errno of the first that was refused. */
static int give_all_free(struct source_v4l2 *s)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < s->queue.count && r == 0; i++) {
		if (s->queue.buffers[i].place == QUEUE_FREE)
			r = queue_give(&s->queue, i, NULL);
	}
	return r;
}

static void give_back(struct source_v4l2 *s, uint32_t index)
{
	queue_return(&s->queue, index);
	if (s->state != STREAM_ON)
		return; /* start() queues it */
	/* A refused one is tried again by the next dequeue. */
	if (queue_give(&s->queue, index, NULL) < 0)
		s->stats.requeue_errors++;
}

static void frame_release(struct frame_holder *holder)
{
	struct stream_frame *sf =
		container_of(holder, struct stream_frame, holder);
	struct source_v4l2 *s = sf->stream;

	give_back(s, sf->index);
	if (s->state == STREAM_CLOSED && !s->queue.out)
		stream_destroy(s);
}

static int v4l2_start(struct capture_source *source)
{
	struct source_v4l2 *s = self(source);
	int r;

	if (s->state != STREAM_OFF)
		return -EBUSY;
	r = give_all_free(s);
	if (r == 0)
		r = queue_on(&s->queue);
	if (r < 0) {
		(void)queue_off(&s->queue); /* the first error is told */
		return r;
	}
	s->sequence_known = false;
	set_state(s, STREAM_ON);
	return 0;
}

static int v4l2_stop(struct capture_source *source)
{
	struct source_v4l2 *s = self(source);

	if (s->state == STREAM_OFF)
		return 0;
	set_state(s, STREAM_OFF);
	return queue_off(&s->queue);
}

/* --- frames ------------------------------------------------------------- */

static void count_lost(struct source_v4l2 *s, uint32_t sequence)
{
	/* Unsigned, so that a wrap is a step of one. */
	uint32_t gap = sequence - s->sequence - 1;

	/* A step back is a driver's restart, not four billion frames. */
	if (s->sequence_known && gap <= INT32_MAX)
		s->stats.frames_lost += gap;
	s->sequence = sequence;
	s->sequence_known = true;
}

static bool is_short(const struct source_v4l2 *s, const struct queue_done *done)
{
	uint32_t p;

	for (p = 0; p < s->base.format.plane_count; p++) {
		if (done->bytesused[p] < s->whole_bytes[p])
			return true;
	}
	return false;
}

static enum capture_clock clock_of(uint32_t flags)
{
	switch (flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) {
	case V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC:
		return CAPTURE_CLOCK_MONOTONIC;
	case V4L2_BUF_FLAG_TIMESTAMP_COPY:
		return CAPTURE_CLOCK_COPY;
	default:
		return CAPTURE_CLOCK_UNKNOWN;
	}
}

static struct capture_frame *fill_frame(struct source_v4l2 *s,
					const struct queue_done *done)
{
	struct frame_holder *holder = &s->frames[done->index].holder;
	struct capture_frame *frame = &holder->frame;
	uint32_t p;

	frame->sequence = done->sequence;
	frame->stamp_ns = done->stamp_ns;
	frame->clock = clock_of(done->flags);
	frame->point = (done->flags & V4L2_BUF_FLAG_TSTAMP_SRC_MASK) ==
				       V4L2_BUF_FLAG_TSTAMP_SRC_SOE
			       ? CAPTURE_POINT_START_OF_EXPOSURE
			       : CAPTURE_POINT_END_OF_FRAME;
	frame->flags = done->flags & V4L2_BUF_FLAG_KEYFRAME ? CAPTURE_FRAME_KEY
							    : 0;
	for (p = 0; p < frame->plane_count; p++) {
		frame->planes[p].offset = done->offset[p];
		frame->planes[p].bytesused = done->bytesused[p];
	}
	holder->refs = 1;
	s->stats.frames++;
	return frame;
}

/*
 * One DQBUF: 0 and a frame, 0 and NULL (a useless buffer, queued again), or
 * the errno.
 */
static int take_one(struct source_v4l2 *s, struct capture_frame **ret_frame)
{
	struct queue_done done;
	int r;

	r = queue_take(&s->queue, &done);
	if (r < 0)
		return r;
	count_lost(s, done.sequence);
	if (!done.damaged && !is_short(s, &done)) {
		*ret_frame = fill_frame(s, &done);
		return 0;
	}
	if (done.damaged)
		s->stats.frames_error++;
	else
		s->stats.frames_short++;
	give_back(s, done.index);
	*ret_frame = NULL;
	return 0;
}

/* Takes until there is a frame or nothing; at most once round the queue. */
static int take_frame(struct source_v4l2 *s, struct capture_frame **ret_frame)
{
	struct capture_frame *frame = NULL;
	uint32_t i;
	int r;

	for (i = 0; i < s->queue.count; i++) {
		r = take_one(s, &frame);
		if (r < 0)
			return r;
		if (frame) {
			*ret_frame = frame;
			return 0;
		}
	}
	return -EAGAIN;
}

/* What a stream with nothing queued can still hope for. */
static int check_queued(struct source_v4l2 *s)
{
	int r = 0;

	if (s->queue.queued + s->queue.out < s->queue.count)
		r = give_all_free(s); /* refused before; maybe not now */
	if (s->queue.queued)
		return 0;
	return s->queue.out ? -ENOBUFS : r;
}

static int wait_frame(struct source_v4l2 *s, uint64_t deadline_ns)
{
	int r = queue_wait(s->base.sys, s->fd, POLLIN, deadline_ns);

	if (r < 0)
		return r;
	if (r & POLLIN)
		return 0;
	/* vb2 says POLLERR when it gave up, with POLLHUP when unplugged. */
	if (r & POLLHUP)
		return -ENODEV;
	if (r & (POLLERR | POLLNVAL))
		return -EIO;
	return -ETIMEDOUT;
}

static int next_frame(struct source_v4l2 *s, uint64_t deadline_ns,
		      struct capture_frame **ret_frame)
{
	int r;

	for (;;) {
		r = check_queued(s);
		if (r < 0)
			return r;
		r = take_frame(s, ret_frame);
		if (r != -EAGAIN || !deadline_ns)
			return r;
		if (sys_now_ns(s->base.sys, CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
		r = wait_frame(s, deadline_ns);
		if (r < 0)
			return r;
	}
}

static int v4l2_dequeue(struct capture_source *source, uint64_t deadline_ns,
			struct capture_frame **ret_frame)
{
	struct source_v4l2 *s = self(source);
	int r;

	if (s->state == STREAM_FAILED)
		return -EIO;
	if (s->state != STREAM_ON)
		return -EBUSY;
	r = next_frame(s, deadline_ns, ret_frame);
	/* These pass; after any other only a stop or a close helps. */
	if (r < 0 && r != -EAGAIN && r != -ETIMEDOUT && r != -ENOBUFS)
		set_state(s, STREAM_FAILED);
	return r;
}

/* --- the rest ----------------------------------------------------------- */

static struct capture_arena *v4l2_arena(const struct capture_source *source)
{
	return self_const(source)->queue.arena;
}

static int v4l2_fd(const struct capture_source *source)
{
	return self_const(source)->fd;
}

static void v4l2_stats(const struct capture_source *source,
		       struct capture_source_stats *ret_stats)
{
	const struct source_v4l2 *s = self_const(source);

	*ret_stats = s->stats;
	ret_stats->rung = s->queue.rung;
	ret_stats->buffer_count = s->queue.count;
	ret_stats->memory_bytes = s->queue.memory_bytes;
	ret_stats->map_read_bytes_per_s = s->queue.map_read_bytes_per_s;
}

static const struct source_ops v4l2_ops = {
	.close = v4l2_close,
	.start = v4l2_start,
	.stop = v4l2_stop,
	.dequeue = v4l2_dequeue,
	.fd = v4l2_fd,
	.stats = v4l2_stats,
	.arena = v4l2_arena,
};
