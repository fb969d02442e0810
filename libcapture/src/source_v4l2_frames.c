/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a V4L2 source: what the driver gives is checked, counted, stamped
 * so that time rises, and handed out, as it lies or as a copy. No call here
 * allocates memory, but the one that leaves S2.
 */
#include "src/source_v4l2.h"

#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/frame_pool.h"
#include "src/queue_canary.h"
#include "src/signal.h"

/* --- buffers ------------------------------------------------------------ */

static int give(struct source_v4l2 *s, uint32_t index)
{
	/* Before: the driver may fill it at once. */
	s->frames[index].given_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	return queue_give(&s->queue, index, NULL);
}

int source_v4l2_give_free(struct source_v4l2 *s)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < s->queue.count && r == 0; i++) {
		if (s->queue.buffers[i].place == QUEUE_FREE)
			r = give(s, i);
	}
	return r;
}

static void give_back(struct source_v4l2 *s, uint32_t index)
{
	queue_return(&s->queue, index);
	if (s->state != STREAM_ON)
		return; /* start() queues it */
	/* A refused one is tried again by the next dequeue. */
	if (give(s, index) < 0)
		s->stats.requeue_errors++;
}

static void frame_release(struct frame_holder *holder)
{
	struct stream_frame *sf =
		container_of(holder, struct stream_frame, holder);
	struct source_v4l2 *s = sf->stream;

	give_back(s, sf->index);
	if (s->state == STREAM_CLOSED && !s->queue.out)
		source_v4l2_destroy(s);
}

void source_v4l2_init_frames(struct source_v4l2 *s)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < s->queue.count; i++) {
		struct stream_frame *sf = &s->frames[i];
		struct capture_frame *frame = &sf->holder.frame;

		sf->stream = s;
		sf->index = i;
		sf->holder.release = frame_release;
		frame->track_id = s->track_id;
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

/* --- sequence and time -------------------------------------------------- */

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

/*
 * How many of @lost frames, evenly spread between the last buffer and this
 * one, were over before the driver was given this buffer: it had none then.
 * The rest it lost by itself.
 */
static uint32_t starved(const struct source_v4l2 *s,
			const struct queue_done *done, uint32_t lost)
{
	uint64_t last_ns = s->course.stamp_seen_ns;
	uint64_t given_ns = s->frames[done->index].given_ns;
	uint64_t frame_ns;

	if (clock_of(done->flags) != CAPTURE_CLOCK_MONOTONIC || !last_ns ||
	    done->stamp_ns <= last_ns || given_ns <= last_ns)
		return 0;
	frame_ns = (done->stamp_ns - last_ns) / ((uint64_t)lost + 1);
	if (given_ns >= done->stamp_ns || !frame_ns)
		return lost;
	return (uint32_t)MIN((given_ns - last_ns) / frame_ns, lost);
}

static void count_on(struct source_v4l2 *s, const struct queue_done *done)
{
	struct stream_course *c = &s->course;
	uint32_t driver = done->sequence;
	/* Unsigned, so that a wrap is a step of one. */
	uint32_t step = driver - c->sequence_driver;

	if (!c->sequence_known) {
		c->sequence = driver;
		c->sequence_known = true;
	} else if (!step || step > INT32_MAX) {
		/* Back, or nowhere: not four billion lost frames. */
		s->stats.sequence_errors++;
		c->sequence++;
	} else {
		s->stats.frames_lost += step - 1;
		s->stats.frames_starved += starved(s, done, step - 1);
		c->sequence += step;
	}
	c->sequence_driver = driver;
	c->stamp_seen_ns = done->stamp_ns;
	s->base.sequence_shift = c->sequence - driver;
}

static bool is_before_start(const struct source_v4l2 *s,
			    const struct queue_done *done)
{
	/* Stamps have whole microseconds. */
	return done->stamp_ns / 1000 < s->course.start_ns / 1000;
}

/*
 * Some drivers begin with what an older start left in their memory. No more
 * than a queue full: a clock that is off would hold back all frames.
 */
static bool is_stale(struct source_v4l2 *s, const struct queue_done *done)
{
	if (!s->course.stale_left)
		return false;
	if (clock_of(done->flags) != CAPTURE_CLOCK_MONOTONIC ||
	    !done->stamp_ns || !is_before_start(s, done)) {
		s->course.stale_left = 0;
		return false;
	}
	s->course.stale_left--;
	return true;
}

/* Whether a stamp can be one of the clock that the driver names. */
static bool stamp_is_possible(struct source_v4l2 *s,
			      const struct queue_done *done)
{
	bool monotonic = clock_of(done->flags) == CAPTURE_CLOCK_MONOTONIC;
	uint64_t now_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);

	if (!done->stamp_ns ||
	    (monotonic && (is_before_start(s, done) ||
			   done->stamp_ns > now_ns + CAPTURE_STAMP_AHEAD_NS))) {
		s->stats.stamps_bad++;
		return false;
	}
	if (done->stamp_ns <= s->course.stamp_last_ns) {
		s->stats.stamps_backward++;
		return false;
	}
	return true;
}

static void stamp_frame(struct source_v4l2 *s, const struct queue_done *done,
			struct capture_frame *frame)
{
	uint64_t last_ns = s->course.stamp_last_ns;

	frame->clock = clock_of(done->flags);
	frame->point = (done->flags & V4L2_BUF_FLAG_TSTAMP_SRC_MASK) ==
				       V4L2_BUF_FLAG_TSTAMP_SRC_SOE
			       ? CAPTURE_POINT_START_OF_EXPOSURE
			       : CAPTURE_POINT_END_OF_FRAME;
	if (stamp_is_possible(s, done)) {
		frame->stamp_ns = done->stamp_ns;
	} else {
		uint64_t now_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);

		/* After the last one, even if that was of another clock. */
		frame->stamp_ns = MAX(now_ns, last_ns + 1);
		frame->clock = CAPTURE_CLOCK_MONOTONIC;
		frame->point = CAPTURE_POINT_ARRIVAL;
		frame->flags |= CAPTURE_FRAME_STAMPED;
	}
	s->course.stamp_last_ns = frame->stamp_ns;
}

/* --- frames ------------------------------------------------------------- */

static bool is_short(const struct source_v4l2 *s, const struct queue_done *done)
{
	uint32_t p;

	for (p = 0; p < s->base.format.plane_count; p++) {
		if (done->bytesused[p] < s->whole_bytes[p])
			return true;
	}
	return false;
}

/* A frame that is not short has all its rows. */
static void follow_counter(struct source_v4l2 *s, const struct queue_done *done,
			   struct capture_frame *frame)
{
	const uint8_t *data = s->queue.buffers[done->index].planes[0].map;
	enum frame_count_is is;
	uint32_t bytes;
	uint32_t at = frame_count_at(&s->counter, &s->base.format, &bytes);
	uint64_t raw;

	queue_begin_read(&s->queue, done->index);
	raw = frame_count_read(&s->counter, frame->fourcc,
			       data + done->offset[0] + at);
	queue_end_read(&s->queue, done->index);
	is = frame_count_follow(&s->course.count, &s->counter, raw,
				frame->stamp_ns, &frame->device_ticks);
	frame->device_hz = s->counter.hz;
	s->base.count_guessed = is == FRAME_COUNT_GUESSED;
	s->stats.counts_guessed += is == FRAME_COUNT_GUESSED;
	s->counts_anew += is == FRAME_COUNT_ANEW;
	s->stats.counts_anew = s->counts_anew;
}

static void describe_frame(struct source_v4l2 *s, const struct queue_done *done,
			   struct capture_frame *frame)
{
	frame->flags = done->flags & V4L2_BUF_FLAG_KEYFRAME ? CAPTURE_FRAME_KEY
							    : 0;
	frame->sequence = s->course.sequence;
	stamp_frame(s, done, frame);
	if (s->counter.bits)
		follow_counter(s, done, frame);
	frame->epoch = s->starts - 1 + s->counts_anew;
	s->stats.frames++;
}

static struct capture_frame *lend_frame(struct source_v4l2 *s,
					const struct queue_done *done)
{
	struct frame_holder *holder = &s->frames[done->index].holder;
	struct capture_frame *frame = &holder->frame;
	uint32_t p;

	describe_frame(s, done, frame);
	for (p = 0; p < frame->plane_count; p++) {
		frame->planes[p].offset = done->offset[p];
		frame->planes[p].bytesused = done->bytesused[p];
	}
	holder->refs = 1;
	return frame;
}

/* The frame in memory of our own; its buffer goes back at once. */
static int copy_frame(struct source_v4l2 *s, const struct queue_done *done,
		      struct capture_frame **ret_frame)
{
	const struct queue_buffer *from = &s->queue.buffers[done->index];
	struct capture_frame *frame = frame_pool_take(s->copies);
	uint32_t p;

	if (!frame) {
		s->stats.frames_dropped++;
		give_back(s, done->index);
		return -ENOBUFS;
	}
	describe_frame(s, done, frame);
	frame->flags |= CAPTURE_FRAME_COPY;
	queue_begin_read(&s->queue, done->index);
	frame_begin_write(s->base.sys, frame);
	for (p = 0; p < frame->plane_count; p++) {
		/* The pool's planes are as large as the format's. */
		uint32_t bytes =
			MIN(done->bytesused[p], frame->planes[p].length);

		memcpy(frame_pool_data(frame, p),
		       from->planes[p].map + done->offset[p], bytes);
		frame->planes[p].bytesused = bytes;
		s->stats.bytes_touched += 2 * (uint64_t)bytes;
	}
	frame_end_write(s->base.sys, frame);
	queue_end_read(&s->queue, done->index);
	s->stats.copies++;
	give_back(s, done->index);
	*ret_frame = frame;
	return 0;
}

/* Counts what is wrong with a buffer: whether anything is. */
static bool is_useless(struct source_v4l2 *s, const struct queue_done *done)
{
	if (is_stale(s, done)) {
		s->stats.frames_stale++;
		return true;
	}
	count_on(s, done);
	if (done->damaged) {
		s->stats.frames_error++;
		return true;
	}
	if (is_short(s, done)) {
		s->stats.frames_short++;
		return true;
	}
	if (s->course.skip_left) {
		s->course.skip_left--;
		s->stats.frames_skipped++;
		return true;
	}
	return false;
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
	*ret_frame = NULL;
	if (is_useless(s, &done)) {
		/* Whatever spoilt it may have told so. */
		s->frames_unasked = CAPTURE_EVENTS_EVERY;
		give_back(s, done.index);
		return 0;
	}
	if (queue_canary_lives(&s->queue, &done)) {
		queue_return(&s->queue, done.index);
		return source_v4l2_leave_huge(s);
	}
	if (s->copies && s->queue.out > s->borrow_max)
		return copy_frame(s, &done, ret_frame);
	*ret_frame = lend_frame(s, &done);
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
		r = source_v4l2_give_free(
			s); /* refused before; maybe not now */
	if (s->queue.queued)
		return 0;
	return s->queue.out ? -ENOBUFS : r;
}

static int wait_frame(struct source_v4l2 *s, uint64_t deadline_ns)
{
	short events = s->events ? POLLIN | POLLPRI : POLLIN;
	int r = queue_wait(s->base.sys, s->fd, events, deadline_ns);

	if (r < 0)
		return r;
	if (r & (POLLIN | POLLPRI))
		return 0;
	/* vb2 says POLLERR when it gave up, with POLLHUP when unplugged. */
	if (r & POLLHUP)
		return -ENODEV;
	if (r & (POLLERR | POLLNVAL))
		return -EIO;
	return -ETIMEDOUT;
}

static int ask_events(struct source_v4l2 *s)
{
	int r;

	s->frames_unasked = 0;
	if (!s->events)
		return 0;
	r = queue_wait(s->base.sys, s->fd, POLLPRI, 0);
	if (r < 0 || !(r & POLLPRI))
		return MIN(r, 0);
	return signal_changed(s->base.sys, s->fd, s->queue.type,
			      &s->base.format);
}

static int next_frame(struct source_v4l2 *s, uint64_t deadline_ns,
		      struct capture_frame **ret_frame)
{
	int r;

	for (;;) {
		r = check_queued(s);
		/* Not only when idle: a slow user finds frames all the time. */
		if (r == 0 && ++s->frames_unasked >= CAPTURE_EVENTS_EVERY)
			r = ask_events(s);
		if (r < 0)
			return r;
		r = take_frame(s, ret_frame);
		if (r != -EAGAIN)
			return r;
		r = ask_events(s);
		if (r < 0 || !deadline_ns)
			return r < 0 ? r : -EAGAIN;
		if (sys_now_ns(s->base.sys, CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
		r = wait_frame(s, deadline_ns);
		if (r < 0)
			return r;
	}
}

int source_v4l2_dequeue(struct capture_source *source, uint64_t deadline_ns,
			struct capture_frame **ret_frame)
{
	struct source_v4l2 *s = source_v4l2_of(source);
	int r;

	if (s->state == STREAM_FAILED)
		return s->failure;
	if (s->state != STREAM_ON)
		return -EBUSY;
	r = next_frame(s, deadline_ns, ret_frame);
	/* These pass; after any other only a stop or a close helps. */
	if (!source_goes_on(r)) {
		s->failure = r == -ENOLINK || r == -ESTALE ? r : -EIO;
		source_v4l2_set_state(s, STREAM_FAILED);
	}
	return r;
}
