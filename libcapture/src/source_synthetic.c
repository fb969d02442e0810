/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames made up here, for tests of all that comes behind a source. What is in
 * a frame follows from its number alone (src/pattern.h); when it is due, from
 * the instant of the start and the rate: frame k, from 0 on, is due at
 * start + (k + 1) / rate, as if a sensor had worked on it until then. A timer
 * makes the descriptor readable then; the frame itself is made when it is
 * fetched.
 */
#include "src/source_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include <capture/record.h>
#include <linux/videodev2.h>

#include "base/bytes.h"
#include "base/sys.h"
#include "src/frame.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/pattern.h"
#include "src/queue.h"

#define NS_PER_S UINT64_C(1000000000)
#define FORMAT_CU08 V4L2_SDR_FMT_CU8

/* What is made when the configuration leaves it open. */
#define BARS_WIDTH 640u
#define BARS_HEIGHT 480u
#define BARS_RATE 30u
#define THERMAL_WIDTH 160u
#define THERMAL_HEIGHT 120u
#define THERMAL_RATE 9u
#define RADAR_SAMPLES 1024u
#define RADAR_RATE 10u
#define TONE_RATE 48000u
/* Of 20 ms. */
#define TONE_FRAMES_PER_S 50u

struct synthetic {
	struct capture_source base;
	int timer_fd;
	bool on;
	struct frame_pool *pool;
	uint64_t start_ns;
	uint64_t next;		/* number of the next frame */
	uint32_t frame_samples; /* 0: pictures */
	struct capture_source_stats stats;
};

static const struct source_ops synthetic_ops;

static struct synthetic *self(struct capture_source *source)
{
	return container_of(source, struct synthetic, base);
}

static const struct synthetic *self_const(const struct capture_source *source)
{
	return container_of(source, const struct synthetic, base);
}

/* --- what is made ------------------------------------------------------- */

static int pick_fourcc(const struct capture_source_config *config,
		       const uint32_t *have, size_t count, uint32_t *ret)
{
	size_t i;
	size_t j;

	if (!config->fourcc_count) {
		*ret = have[0];
		return 0;
	}
	for (i = 0; i < config->fourcc_count; i++) {
		for (j = 0; j < count; j++) {
			if (config->fourccs[i] != have[j])
				continue;
			*ret = have[j];
			return 0;
		}
	}
	return -EPROTONOSUPPORT;
}

static void set_picture(struct capture_format *f,
			const struct capture_source_config *config,
			uint32_t width, uint32_t height, uint32_t rate)
{
	f->media = CAPTURE_MEDIA_PICTURE;
	f->width = config->width ? config->width : width;
	f->height = config->height ? config->height : height;
	f->rate_num = config->rate_num ? config->rate_num : rate;
	f->rate_den = config->rate_den ? config->rate_den : 1;
}

static int set_bars(struct capture_format *f,
		    const struct capture_source_config *config)
{
	static const uint32_t have[] = {
		CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_YUYV};

	set_picture(f, config, BARS_WIDTH, BARS_HEIGHT, BARS_RATE);
	if (f->width % 2 || f->height % 2)
		return -ERANGE;
	f->colorspace = V4L2_COLORSPACE_SMPTE170M;
	f->xfer_func = V4L2_XFER_FUNC_709;
	f->ycbcr_enc = V4L2_YCBCR_ENC_601;
	f->quantization = V4L2_QUANTIZATION_LIM_RANGE;
	if (pick_fourcc(config, have, ARRAY_SIZE(have), &f->fourcc) < 0)
		return -EPROTONOSUPPORT;
	if (f->fourcc == CAPTURE_FORMAT_YUYV) {
		f->stride[0] = 2 * f->width;
		f->size[0] = f->stride[0] * f->height;
	} else {
		f->stride[0] = f->width;
		f->size[0] = f->width * f->height / 2 * 3;
	}
	return 0;
}

static int set_thermal(struct capture_format *f,
		       const struct capture_source_config *config)
{
	static const uint32_t have[] = {CAPTURE_FORMAT_Y16};

	set_picture(f, config, THERMAL_WIDTH, THERMAL_HEIGHT, THERMAL_RATE);
	f->colorspace = V4L2_COLORSPACE_RAW;
	f->stride[0] = 2 * f->width;
	f->size[0] = f->stride[0] * f->height;
	return pick_fourcc(config, have, ARRAY_SIZE(have), &f->fourcc);
}

/* The rate of frames follows from samples; without a rate of samples back. */
static int set_samples(struct synthetic *s,
		       const struct capture_source_config *config,
		       uint32_t samples, uint32_t per_second)
{
	struct capture_format *f = &s->base.format;

	s->frame_samples = config->frame_samples ? config->frame_samples
						 : samples;
	if (s->frame_samples > CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	f->media = CAPTURE_MEDIA_SAMPLES;
	f->sample_rate = config->sample_rate;
	if (!f->sample_rate)
		f->sample_rate = s->frame_samples * per_second;
	f->rate_num = f->sample_rate;
	f->rate_den = s->frame_samples;
	f->stride[0] = 0;
	f->size[0] = s->frame_samples * f->sample_bytes;
	return 0;
}

static int set_radar(struct synthetic *s,
		     const struct capture_source_config *config)
{
	static const uint32_t have[] = {CAPTURE_FORMAT_RECORD, FORMAT_CU08};
	struct capture_format *f = &s->base.format;
	uint32_t hz = RADAR_RATE;
	int r;

	r = pick_fourcc(config, have, ARRAY_SIZE(have), &f->fourcc);
	if (r < 0)
		return r;
	if (config->rate_num)
		hz = MAX(config->rate_num / config->rate_den, 1);
	if (hz > UINT32_MAX / CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	f->channels = 1;
	f->sample_bytes = 2;
	r = set_samples(s, config, RADAR_SAMPLES, hz);
	if (r < 0 || f->fourcc == FORMAT_CU08)
		return r;
	f->media = CAPTURE_MEDIA_RECORD;
	f->size[0] += CAPTURE_RECORD_HEADER_BYTES;
	return 0;
}

static int set_tone(struct synthetic *s,
		    const struct capture_source_config *config)
{
	static const uint32_t have[] = {CAPTURE_FORMAT_S16};
	struct capture_format *f = &s->base.format;
	uint32_t rate = config->sample_rate ? config->sample_rate : TONE_RATE;
	int r;

	f->channels = config->channels ? config->channels : 1;
	if (f->channels > CAPTURE_CHANNELS_MAX)
		return -ERANGE;
	f->sample_bytes = 2 * f->channels;
	r = set_samples(s, config, MAX(rate / TONE_FRAMES_PER_S, 1),
			TONE_FRAMES_PER_S);
	f->sample_rate = rate;
	f->rate_num = rate;
	return r < 0 ? r
		     : pick_fourcc(config, have, ARRAY_SIZE(have), &f->fourcc);
}

static int set_format(struct synthetic *s,
		      const struct capture_source_config *config)
{
	s->base.format.plane_count = 1;
	if (!config->path)
		return -EINVAL;
	if (!strcmp(config->path, "bars"))
		return set_bars(&s->base.format, config);
	if (!strcmp(config->path, "thermal"))
		return set_thermal(&s->base.format, config);
	if (!strcmp(config->path, "radar"))
		return set_radar(s, config);
	if (!strcmp(config->path, "tone"))
		return set_tone(s, config);
	return -ENODEV;
}

static void make_record(const struct synthetic *s, uint8_t *to)
{
	struct capture_record record = {
		.type = FORMAT_CU08,
		.payload_bytes = s->frame_samples * s->base.format.sample_bytes,
		.sequence = (uint32_t)s->next,
		.device_ticks = s->next * s->frame_samples,
		.device_hz = s->base.format.sample_rate,
	};
	uint8_t *payload = to + CAPTURE_RECORD_HEADER_BYTES;
	int r;

	pattern_chirp(s->frame_samples, s->next, payload);
	r = capture_record_header_write(&record, payload, to);
	assert(r == 0);
}

static void make(const struct synthetic *s, uint8_t *to)
{
	const struct capture_format *f = &s->base.format;

	switch (f->fourcc) {
	case CAPTURE_FORMAT_Y16:
		pattern_thermal(f, s->next, to);
		break;
	case CAPTURE_FORMAT_RECORD:
		make_record(s, to);
		break;
	case FORMAT_CU08:
		pattern_chirp(s->frame_samples, s->next, to);
		break;
	case CAPTURE_FORMAT_S16:
		pattern_tone(s->next * s->frame_samples, s->frame_samples,
			     f->sample_rate, f->channels, to);
		break;
	default:
		pattern_bars(f, s->next, to);
		break;
	}
}

/* --- opening ------------------------------------------------------------ */

static void synthetic_destroy(struct synthetic *s)
{
	frame_pool_close(s->pool);
	sys_close(s->base.sys, &s->timer_fd);
	free(s);
}

static int synthetic_setup(struct synthetic *s,
			   const struct capture_source_config *config)
{
	int r;

	r = set_format(s, config);
	if (r < 0)
		return r;
	/* due_ns() multiplies these with nanoseconds. */
	if (s->base.format.rate_num > NS_PER_S ||
	    s->base.format.rate_den > CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	r = s->base.sys->timerfd_create(CLOCK_MONOTONIC,
					TFD_CLOEXEC | TFD_NONBLOCK);
	if (r < 0)
		return r;
	s->timer_fd = r;
	return frame_pool_new(s->base.sys, &s->base.format, config, &s->pool);
}

int source_synthetic_open(const struct sys_ops *sys,
			  const struct capture_source_config *config,
			  struct capture_source **ret_source)
{
	struct synthetic *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &synthetic_ops;
	s->base.sys = sys;
	s->timer_fd = -EBADF;
	r = synthetic_setup(s, config);
	if (r < 0) {
		synthetic_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static void synthetic_close(struct capture_source *source)
{
	synthetic_destroy(self(source));
}

/* --- time --------------------------------------------------------------- */

/* Nanoseconds of @frames whole frames, rounded up. */
static uint64_t frames_ns(const struct synthetic *s, uint64_t frames)
{
	uint64_t num = s->base.format.rate_num;
	uint64_t units = frames * s->base.format.rate_den;

	return units / num * NS_PER_S +
	       (units % num * NS_PER_S + num - 1) / num;
}

/* Frames that are due after @ns; the inverse of frames_ns(). */
static uint64_t frames_in(const struct synthetic *s, uint64_t ns)
{
	uint64_t num = s->base.format.rate_num;
	uint64_t units = ns / NS_PER_S * num + ns % NS_PER_S * num / NS_PER_S;

	return units / s->base.format.rate_den;
}

/* Readable when frame @number is due; at once if that has passed. */
static int set_timer(struct synthetic *s, uint64_t number)
{
	uint64_t ns = s->start_ns + frames_ns(s, number + 1);
	struct itimerspec at = {
		.it_value.tv_sec = (time_t)(ns / NS_PER_S),
		.it_value.tv_nsec = (long)(ns % NS_PER_S),
	};

	return s->base.sys->timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME,
					    &at);
}

static int synthetic_start(struct capture_source *source)
{
	struct synthetic *s = self(source);
	int r;

	if (s->on)
		return -EBUSY;
	s->start_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	s->next = 0;
	r = set_timer(s, 0);
	if (r < 0)
		return r;
	s->on = true;
	return 0;
}

static int synthetic_stop(struct capture_source *source)
{
	static const struct itimerspec never;
	struct synthetic *s = self(source);

	if (!s->on)
		return 0;
	s->on = false;
	return s->base.sys->timerfd_settime(s->timer_fd, 0, &never);
}

/* --- frames ------------------------------------------------------------- */

static void stamp(const struct synthetic *s, struct capture_frame *frame)
{
	frame->sequence = (uint32_t)s->next;
	frame->clock = CAPTURE_CLOCK_MONOTONIC;
	frame->stamp_ns = s->start_ns + frames_ns(s, s->next + 1);
	switch (s->base.format.media) {
	case CAPTURE_MEDIA_PICTURE:
		frame->point = CAPTURE_POINT_END_OF_FRAME;
		return;
	case CAPTURE_MEDIA_SAMPLES:
		frame->point = CAPTURE_POINT_FIRST_SAMPLE;
		frame->stamp_ns = s->start_ns + frames_ns(s, s->next);
		break;
	case CAPTURE_MEDIA_RECORD:
		frame->point = CAPTURE_POINT_ARRIVAL;
		break;
	}
	frame->device_ticks = s->next * s->frame_samples;
	frame->device_hz = s->base.format.sample_rate;
}

/*
 * A device writes into the buffers that it has and loses what comes then; the
 * oldest are let go here, as nothing was made of them yet.
 */
static void lose(struct synthetic *s, uint64_t due)
{
	uint64_t room = frame_pool_free_count(s->pool);

	if (due - s->next <= room)
		return;
	s->stats.frames_lost += due - s->next - room;
	s->next = due - room;
}

/* 0 and a frame, -EAGAIN when none is due, -ENOBUFS, or the timer's errno. */
static int take_due(struct capture_source *source,
		    struct capture_frame **ret_frame)
{
	struct synthetic *s = self(source);
	uint64_t now_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	uint64_t due = frames_in(s, now_ns - s->start_ns);
	struct capture_frame *frame;
	int r;

	if (due > s->next)
		lose(s, due);
	r = set_timer(s, s->next + (due > s->next));
	if (r < 0)
		return r;
	if (due <= s->next)
		return frame_pool_free_count(s->pool) ? -EAGAIN : -ENOBUFS;
	frame = frame_pool_take(s->pool);
	assert(frame); /* lose() left no more than there are */
	stamp(s, frame);
	frame_begin_write(s->base.sys, frame);
	make(s, frame_pool_data(frame, 0));
	frame_end_write(s->base.sys, frame);
	s->next++;
	s->stats.frames++;
	*ret_frame = frame;
	return 0;
}

static int synthetic_dequeue(struct capture_source *source,
			     uint64_t deadline_ns,
			     struct capture_frame **ret_frame)
{
	struct synthetic *s = self(source);

	if (!s->on)
		return -EBUSY;
	return source_wait_frame(source, take_due, deadline_ns, ret_frame);
}

/* --- the rest ----------------------------------------------------------- */

static int synthetic_fd(const struct capture_source *source)
{
	return self_const(source)->timer_fd;
}

static struct capture_arena *
synthetic_arena(const struct capture_source *source)
{
	return frame_pool_arena(self_const(source)->pool);
}

static enum capture_signal synthetic_signal(struct capture_source *source)
{
	(void)source;
	return CAPTURE_SIGNAL_OK;
}

static void synthetic_stats(const struct capture_source *source,
			    struct capture_source_stats *ret_stats)
{
	const struct synthetic *s = self_const(source);

	*ret_stats = s->stats;
	frame_pool_stats(s->pool, ret_stats);
}

static const struct source_ops synthetic_ops = {
	.close = synthetic_close,
	.start = synthetic_start,
	.stop = synthetic_stop,
	.dequeue = synthetic_dequeue,
	.fd = synthetic_fd,
	.stats = synthetic_stats,
	.arena = synthetic_arena,
	.signal = synthetic_signal,
};
