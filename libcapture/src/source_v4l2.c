/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A V4L2 capture node: pictures, samples of a software radio, or metadata.
 * One queue, and a frame holder for each of its buffers.
 *
 * The structure lives while the owner has it or a frame is out: a closed
 * stream keeps its maps and descriptors (not the node) until then.
 *
 *	        start           failure          close
 *	OFF ----------> ON ----------> FAILED
 *	 ^-- stop ------'                |  any ----> CLOSED
 *	 ^------------- stop ------------'
 */
#include "src/source_v4l2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/controls.h"
#include "src/frame_pool.h"
#include "src/pixfmt.h"
#include "src/queue_canary.h"
#include "src/signal.h"
#include "src/v4l2.h"

/* Buffers that a driver needs to go on, unless it says more. */
#define BUFFERS_KEPT 2u

static const struct source_ops v4l2_ops;
static int v4l2_stop(struct capture_source *source);

void source_v4l2_set_state(struct source_v4l2 *s, enum stream_state next)
{
	assert(s->state != STREAM_CLOSED);
	assert(next != STREAM_ON || s->state == STREAM_OFF);
	s->state = next;
}

void source_v4l2_destroy(struct source_v4l2 *s)
{
	settings_end(&s->journal);
	frame_pool_close(s->copies);
	queue_fini(&s->queue);
	sys_close(s->base.sys, &s->fd);
	free(s);
}

/* --- formats ------------------------------------------------------------ */

/* The format that is wanted, from the one that is set. */
static void want_format(const struct source_v4l2 *s,
			const struct capture_source_config *config,
			uint32_t fourcc, struct capture_format *f)
{
	*f = s->base.format;
	f->fourcc = fourcc;
	if (f->media == CAPTURE_MEDIA_PICTURE && config->width) {
		f->width = config->width;
		f->height = config->height;
	}
	memset(f->stride, 0, sizeof(f->stride));
	memset(f->size, 0, sizeof(f->size));
	if (f->media == CAPTURE_MEDIA_SAMPLES && config->frame_samples)
		f->size[0] = config->frame_samples * f->sample_bytes;
}

/* Whether the driver gave what was wanted: 0, or the errno that says no. */
static int check_format(const struct capture_source_config *config,
			const struct capture_format *wanted,
			const struct capture_format *f)
{
	if (f->fourcc != wanted->fourcc)
		return -EPROTONOSUPPORT;
	if (f->width != wanted->width || f->height != wanted->height)
		return -ERANGE;
	if (f->media != CAPTURE_MEDIA_SAMPLES)
		return 0;
	if (config->channels && config->channels != f->channels)
		return -ERANGE;
	if (config->frame_samples &&
	    f->size[0] != (uint64_t)config->frame_samples * f->sample_bytes)
		return -ERANGE;
	return 0;
}

/* Tries one fourcc: 0, -EPROTONOSUPPORT, -ERANGE, or the errno. */
static int try_format(struct source_v4l2 *s,
		      const struct capture_source_config *config,
		      uint32_t fourcc)
{
	struct capture_format wanted;
	struct capture_format f;
	int r;

	want_format(s, config, fourcc, &wanted);
	r = v4l2_has_format(s->base.sys, s->fd, s->queue.type, fourcc);
	if (r <= 0)
		return r < 0 ? r : -EPROTONOSUPPORT;
	settings_will_change(&s->journal);
	f = wanted;
	r = v4l2_set_format(s->base.sys, s->fd, s->queue.type, &f);
	if (r == 0)
		r = check_format(config, &wanted, &f);
	if (r == 0)
		s->base.format = f;
	return r;
}

/* Whether the node is set to the first choice: then nothing is changed. */
static bool is_set(const struct source_v4l2 *s,
		   const struct capture_source_config *config)
{
	const struct capture_format *f = &s->base.format;
	struct capture_format wanted;

	want_format(s, config,
		    config->fourcc_count ? config->fourccs[0] : f->fourcc,
		    &wanted);
	return check_format(config, &wanted, f) == 0;
}

static int negotiate(struct source_v4l2 *s,
		     const struct capture_source_config *config)
{
	int worst = -EPROTONOSUPPORT;
	size_t i;
	int r;

	r = v4l2_get_format(s->base.sys, s->fd, s->queue.type, &s->base.format);
	if (r < 0)
		return r;
	if (config->width && s->base.format.media != CAPTURE_MEDIA_PICTURE)
		return -EINVAL;
	if (is_set(s, config))
		return 0;
	if (!config->fourcc_count)
		return try_format(s, config, s->base.format.fourcc);
	for (i = 0; i < config->fourcc_count; i++) {
		r = try_format(s, config, config->fourccs[i]);
		if (r == -ERANGE)
			worst = r;
		if (r != -ERANGE && r != -EPROTONOSUPPORT)
			return r;
	}
	return worst;
}

static int negotiate_rate(struct source_v4l2 *s,
			  const struct capture_source_config *config)
{
	struct capture_format *f = &s->base.format;
	int r;

	if (f->media == CAPTURE_MEDIA_SAMPLES) {
		r = settings_sample_rate(&s->journal, config->sample_rate,
					 &f->sample_rate);
		return r < 0 ? settings_fail(config->settings, "frequency", r)
			     : 0;
	}
	r = v4l2_set_rate(s->base.sys, s->fd, s->queue.type, f);
	if (r < 0 || !config->rate_num)
		return r;
	if (!f->rate_num)
		return settings_fail(config->settings, "rate", -ENXIO);
	if ((uint64_t)f->rate_num * config->rate_den ==
	    (uint64_t)config->rate_num * f->rate_den)
		return 0;
	f->rate_num = config->rate_num;
	f->rate_den = config->rate_den;
	settings_will_change(&s->journal);
	r = v4l2_set_rate(s->base.sys, s->fd, s->queue.type, f);
	if (r == 0 && !f->rate_num) /* it only tells */
		r = settings_fail(config->settings, "rate", -ENXIO);
	return r;
}

/* --- open --------------------------------------------------------------- */

static void init_whole_bytes(struct source_v4l2 *s)
{
	const struct capture_format *f = &s->base.format;
	struct pix_layout layout;
	uint32_t p;
	int r = -EPROTONOSUPPORT;

	if (f->media == CAPTURE_MEDIA_PICTURE)
		r = pix_layout_init(f, &layout);
	for (p = 0; p < f->plane_count; p++)
		s->whole_bytes[p] = r < 0 ? MAX(f->sample_bytes, 1u)
					  : pix_layout_plane_bytes(&layout, p);
}

static uint32_t borrow_max_of(const struct source_v4l2 *s, uint32_t asked)
{
	struct v4l2_control min = {.id = V4L2_CID_MIN_BUFFERS_FOR_CAPTURE};
	uint32_t kept = BUFFERS_KEPT;

	if (asked)
		return MIN(asked, s->queue.count);
	if (s->base.sys->ioctl(s->fd, VIDIOC_G_CTRL, &min) >= 0 &&
	    min.value > (int32_t)kept)
		kept = (uint32_t)min.value;
	return s->queue.count > kept ? s->queue.count - kept : 1;
}

static int alloc_copies(struct source_v4l2 *s,
			const struct capture_source_config *config)
{
	struct capture_source_stats pool = {0};
	struct capture_source_config want = {
		.track_id = config->track_id,
	};
	int r;

	s->borrow_max = borrow_max_of(s, config->borrow_max);
	s->stats.borrow_max = s->borrow_max;
	want.buffer_count = s->queue.count - s->borrow_max;
	if (!want.buffer_count)
		return 0;
	r = frame_pool_new(s->base.sys, &s->base.format, &want, &s->copies);
	if (r < 0)
		return r;
	frame_pool_stats(s->copies, &pool);
	s->stats.copy_count = pool.buffer_count;
	s->stats.memory_bytes = pool.memory_bytes;
	return 0;
}

static int configure(struct source_v4l2 *s,
		     const struct capture_source_config *config)
{
	int r;

	r = settings_begin(&s->journal, s->base.sys, s->fd, s->queue.type);
	if (r == 0)
		r = settings_apply_before(&s->journal, config->settings);
	if (r == 0)
		r = negotiate(s, config);
	if (r == 0)
		r = settings_apply_after(&s->journal, config->settings);
	if (r == 0)
		r = negotiate_rate(s, config);
	settings_applied(&s->journal);
	return r;
}

static int alloc_buffers(struct source_v4l2 *s)
{
	bool huge = !queue_canary_remembers(s->driver);
	int r;

	s->queue.no_huge = !huge;
	r = queue_alloc(&s->queue, &s->base.format, s->buffers_asked,
			s->rung_asked);
	if (r == 0 && s->queue.rung == CAPTURE_RUNG_S2)
		r = queue_canary_set(&s->queue, &s->base.format,
				     s->whole_bytes);
	/* Had it been S1, S2 would not have been asked for. */
	if (r == 0 && !huge && s->rung_asked == CAPTURE_RUNG_AUTO &&
	    s->queue.rung > CAPTURE_RUNG_S2)
		s->stats.s2_given_up = 1;
	return r;
}

static void keep_config(struct source_v4l2 *s,
			const struct capture_source_config *config,
			const struct v4l2_node *node)
{
	/* Its last byte stays 0. */
	memcpy(s->driver, node->cap.driver, sizeof(s->driver) - 1);
	s->rung_asked = config->rung;
	s->buffers_asked = config->buffer_count ? config->buffer_count
						: CAPTURE_SOURCE_BUFFERS;
	s->track_id = config->track_id;
	s->skip_first = config->skip_first;
	if (config->settings)
		s->counter = config->settings->counter;
}

static int check_counter(const struct source_v4l2 *s,
			 const struct capture_source_config *config)
{
	uint32_t bytes = 0;
	uint32_t at;
	int r;

	if (!s->counter.bits)
		return 0;
	r = frame_count_fits(&s->counter, &s->base.format);
	at = r < 0 ? 0 : frame_count_at(&s->counter, &s->base.format, &bytes);
	/* A driver whose lines are shorter than its pixels. */
	if (r == 0 && (uint64_t)at + bytes > s->whole_bytes[0])
		r = -EPROTO;
	return r < 0 ? settings_fail(config->settings, "counter", r) : 0;
}

static int stream_setup(struct source_v4l2 *s,
			const struct capture_source_config *config)
{
	struct v4l2_node node;
	int r;

	r = v4l2_open_source(s->base.sys, config->path, &s->fd, &node);
	if (r < 0)
		return r;
	if (node.output_type)
		return -ENODEV; /* an M2M device is no camera */
	queue_init(&s->queue, s->base.sys, s->fd, node.capture_type);
	s->queue.import_only = config->import_only;
	keep_config(s, config, &node);
	r = configure(s, config);
	if (r < 0)
		return r;
	init_whole_bytes(s);
	r = check_counter(s, config);
	if (r < 0)
		return r;
	r = alloc_buffers(s);
	if (r == 0)
		r = alloc_copies(s, config);
	if (r < 0)
		return r;
	s->events = s->base.format.media == CAPTURE_MEDIA_PICTURE &&
		    signal_subscribe(s->base.sys, s->fd);
	source_v4l2_init_frames(s);
	return 0;
}

/* Puts the device back as it was; its buffers go, their memory stays. */
static int restore(struct source_v4l2 *s)
{
	s->restored = true;
	if (s->fd < 0)
		return 0;
	queue_forget(&s->queue); /* or the format could not be changed */
	return settings_restore(&s->journal);
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
	(void)settings_fail(config->settings, "", 0);
	r = stream_setup(s, config);
	if (r < 0) {
		if (config->settings && config->settings->error)
			config->settings->error->error = r;
		(void)restore(s); /* the error that stopped it is told */
		source_v4l2_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static int v4l2_restore(struct capture_source *source)
{
	(void)v4l2_stop(source); /* the node's buffers go in any case */
	return restore(source_v4l2_of(source));
}

static void v4l2_close(struct capture_source *source)
{
	struct source_v4l2 *s = source_v4l2_of(source);

	(void)v4l2_restore(source); /* who wants to know asks before */
	source_v4l2_set_state(s, STREAM_CLOSED);
	/* The frames' memory outlives the node: maps and dma-bufs hold it. */
	sys_close(s->base.sys, &s->fd);
	if (!s->queue.out)
		source_v4l2_destroy(s);
}

/* --- on and off --------------------------------------------------------- */

/* Queues all, switches on, and expects what comes then. */
static int switch_on(struct source_v4l2 *s)
{
	uint64_t start_ns;
	int r;

	r = source_v4l2_give_free(s);
	start_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	if (r == 0)
		r = queue_on(&s->queue);
	if (r < 0) {
		(void)queue_off(&s->queue); /* the first error is told */
		return r;
	}
	s->course.start_ns = start_ns;
	s->course.skip_left = s->skip_first;
	s->course.stale_left = s->queue.count;
	s->course.stamp_seen_ns = 0;
	return 0;
}

/* The memory of the next rung, in the place of that which was given up. */
static int alloc_anew(struct source_v4l2 *s)
{
	int r = alloc_buffers(s);

	if (r < 0)
		return r;
	s->borrow_max = MIN(s->borrow_max, s->queue.count);
	s->stats.borrow_max = s->borrow_max;
	source_v4l2_init_frames(s);
	return 0;
}

int source_v4l2_leave_huge(struct source_v4l2 *s)
{
	int r = -EIO;

	queue_canary_remember(s->driver);
	s->stats.s2_given_up = 1;
	/* Short frames, which are right, may be out: theirs is the memory. */
	if (!s->queue.out) {
		queue_release(&s->queue);
		r = alloc_anew(s);
	}
	/* Within one start frames count on, whatever the driver does. */
	s->course.sequence_known = s->course.stamp_last_ns != 0;
	if (r == 0)
		r = switch_on(s);
	return r < 0 && source_goes_on(r) ? -EIO : r;
}

static int v4l2_start(struct capture_source *source)
{
	struct source_v4l2 *s = source_v4l2_of(source);
	int r = 0;

	if (s->state != STREAM_OFF || s->restored)
		return -EBUSY;
	memset(&s->course, 0, sizeof(s->course));
	/* S2 was given up, and no other rung was to be had then. */
	if (!s->queue.memory)
		r = alloc_anew(s);
	if (r == 0)
		r = switch_on(s);
	if (r < 0)
		return r;
	s->starts++;
	source_v4l2_set_state(s, STREAM_ON);
	return 0;
}

static int v4l2_stop(struct capture_source *source)
{
	struct source_v4l2 *s = source_v4l2_of(source);

	if (s->state == STREAM_OFF)
		return 0;
	source_v4l2_set_state(s, STREAM_OFF);
	return queue_off(&s->queue);
}

/* --- the rest ----------------------------------------------------------- */

static const struct source_v4l2 *self_const(const struct capture_source *source)
{
	return container_of(source, const struct source_v4l2, base);
}

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
	ret_stats->memory_bytes += s->queue.memory_bytes;
	ret_stats->map_read_bytes_per_s = s->queue.map_read_bytes_per_s;
	ret_stats->non_coherent = s->queue.non_coherent;
}

static enum capture_signal v4l2_signal(struct capture_source *source)
{
	return signal_query(source->sys, source_v4l2_of(source)->fd);
}

static int v4l2_set_one(struct capture_source *source,
			const struct capture_control_setting *setting)
{
	struct source_v4l2 *s = source_v4l2_of(source);

	return s->restored ? -EBUSY : settings_control(&s->journal, setting);
}

static int v4l2_get_one(struct capture_source *source,
			const struct capture_control_setting *setting,
			int64_t *ret_value)
{
	struct source_v4l2 *s = source_v4l2_of(source);
	struct v4l2_query_ext_ctrl query;
	int r;

	r = control_find(s->base.sys, s->fd, setting, &query);
	return r < 0 ? r : control_get(s->base.sys, s->fd, &query, ret_value);
}

static const struct source_ops v4l2_ops = {
	.close = v4l2_close,
	.start = v4l2_start,
	.stop = v4l2_stop,
	.dequeue = source_v4l2_dequeue,
	.fd = v4l2_fd,
	.stats = v4l2_stats,
	.arena = v4l2_arena,
	.signal = v4l2_signal,
	.set_control = v4l2_set_one,
	.get_control = v4l2_get_one,
	.restore = v4l2_restore,
};
