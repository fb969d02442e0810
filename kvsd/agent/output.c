/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>
#include <capture/thermal.h>

#include "agent/devices.h"
#include "agent/encode_thread.h"
#include "core/backoff.h"
#include "core/limits.h"
#include "proto/fwht.h"

#define REOPEN_NS_MIN NS_PER_S
#define REOPEN_NS_MAX (30 * NS_PER_S)
#define LATE_FRAME_NS_MAX (10 * NS_PER_S) /* keeps sums small */
#define MEASURE_NS NS_PER_S /* between two frames that are measured */
#define BITRATE_VIDEO 4000000
#define BITRATE_AUDIO 64000

struct output {
	const struct sys_ops *sys;
	const struct output_calls *calls;
	void *ctx;
	const struct agent_source *source;
	struct capture_format format;	/* of what is encoded */
	struct capture_thermal_view *view; /* NULL: frames as they are */
	struct capture_encoder_config config;
	bool dmabuf;			/* frames can be imported */
	bool encodes;
	struct capture_encoder *encoder; /* NULL: passed on, or away */
	struct encode_thread *thread;	/* the encoder's, if it has one */
	uint32_t depth;			/* of its queue */
	bool key_wanted;		/* of the thread's next frame */
	/* Of a thermal core: counts that no view is made of are measured. */
	struct capture_thermal_config thermal;
	bool measures;
	bool has_reading;
	uint64_t bytes_measured;
	struct capture_thermal_reading reading;
	struct output_telemetry telemetry; /* of the frame that was measured */
	struct output_info info;
	uint8_t *private;		/* of the first encoder */
	struct backoff backoff;
	bool over;			/* at its end: nothing will come */
	uint64_t reopen_ns;		/* when the encoder is away */
	uint64_t frames_skipped;
	uint64_t frames_queue_full;
	uint64_t packets_direct;
	uint64_t reopened;
	struct output_stats closed;	/* of encoders that are gone */
};

/* --- opening ------------------------------------------------------------------------- */

static int64_t gop_frames(const struct output *o, uint64_t fragment_ms)
{
	uint64_t num = o->format.rate_num ? o->format.rate_num : 30;
	uint64_t den = o->format.rate_den ? o->format.rate_den : 1;
	uint64_t frames = num * fragment_ms / (den * 1000);

	if (o->source->gop_frames > 0)
		return o->source->gop_frames;
	return (int64_t)MAX(frames, 1u);
}

/* Backend and codec of each encoder by name. Return: false: passed on. */
static bool choose(const struct output *o, enum agent_encoder encoder,
		   struct capture_encoder_config *c)
{
	c->backend = CAPTURE_BACKEND_SOFTWARE;
	switch (encoder) {
	case AGENT_ENCODER_AUTO:
		c->backend = CAPTURE_BACKEND_AUTO;
		return true;
	case AGENT_ENCODER_M2M:
		c->backend = CAPTURE_BACKEND_M2M;
		return true;
	case AGENT_ENCODER_OPENH264:
		c->codec = CAPTURE_FORMAT_H264;
		return true;
	case AGENT_ENCODER_JPEG:
		c->codec = CAPTURE_FORMAT_JPEG;
		return true;
	case AGENT_ENCODER_FFV1:
		c->codec = CAPTURE_FORMAT_FFV1;
		return true;
	case AGENT_ENCODER_ALAW:
		c->codec = CAPTURE_FORMAT_ALAW;
		return true;
	case AGENT_ENCODER_ULAW:
		c->codec = CAPTURE_FORMAT_ULAW;
		return true;
	case AGENT_ENCODER_AAC:
		c->codec = CAPTURE_FORMAT_AAC;
		return true;
	case AGENT_ENCODER_RAW:
		/* One order of bytes, lines without padding. */
		c->codec = CAPTURE_FORMAT_Y16;
		return agent_source_class(o->source) == AGENT_CLASS_THERMAL;
	case AGENT_ENCODER_NONE:
		return false;
	}
	return false;
}

/* What "auto" means for frames of this class, best first; 0: nothing. */
static size_t candidates(const struct output *o, bool view,
			 enum agent_encoder out[2])
{
	enum agent_encoder asked = view ? o->source->view_encoder :
					  o->source->encoder;
	enum agent_class class = view ? AGENT_CLASS_VIDEO :
					agent_source_class(o->source);
	uint32_t codec;

	out[0] = asked;
	if (class == AGENT_CLASS_DATA)
		out[0] = AGENT_ENCODER_NONE;
	if (asked != AGENT_ENCODER_AUTO || class == AGENT_CLASS_VIDEO ||
	    class == AGENT_CLASS_DATA)
		return 1;
	if (class == AGENT_CLASS_AUDIO) {
		out[0] = AGENT_ENCODER_AAC;
		out[1] = AGENT_ENCODER_ALAW;
		return 2;
	}
	codec = capture_thermal_codec(&o->format);
	if (!codec && capture_thermal_is_counts(o->format.fourcc))
		return 0;
	/* What is no counts, the encoder refuses in its own words. */
	out[0] = codec == CAPTURE_FORMAT_FFV1 ? AGENT_ENCODER_FFV1 :
						AGENT_ENCODER_RAW;
	return 1;
}

/* Never raw by itself: the connection would fall behind for good. */
static void explain_too_much(const struct capture_format *f, char *error)
{
	(void)snprintf(error, OUTPUT_ERROR_CHARS,
		       "encoder auto: %ux%u at %u/%u is too much for raw "
		       "counts (10 MB/s), and FFV1 is not built in: build with "
		       "libavcodec, set a smaller size or rate, or encoder = "
		       "raw if the network takes it", f->width, f->height,
		       f->rate_num, f->rate_den);
}

static void fill_info(struct output *o)
{
	struct output_info *i = &o->info;
	struct capture_encoder_stats s;

	i->format = o->format;
	i->codec = o->format.fourcc;
	i->encoder = "none";
	i->rung = CAPTURE_RUNG_AUTO;
	if (!o->encoder)
		return;
	capture_encoder_stats(o->encoder, &s);
	i->codec = capture_encoder_codec(o->encoder);
	i->encoder = s.name;
	i->rung = s.rung;
	i->source_imported = s.source_imported;
}

uint64_t output_frame_ns(const struct capture_format *f)
{
	if (f->rate_num && f->rate_den)
		return NS_PER_S * f->rate_den / f->rate_num;
	if (f->sample_rate && f->sample_bytes)
		return f->size[0] / f->sample_bytes * NS_PER_S /
		       f->sample_rate;
	return 0;
}

/*
 * At most as many frames wait as there is memory for, each of them for those
 * in front of it. Whoever works in threads has them to wait for as well.
 */
static uint64_t late_ms(const struct output *o,
			const struct output_config *config)
{
	uint64_t frames = config->frames_all + (o->view ? o->depth : 0);
	uint64_t ms = MIN(output_frame_ns(config->format), LATE_FRAME_NS_MAX) *
		      frames / NS_PER_MS;

	/* A card's own buffer holds a second, whatever ours are. */
	if (o->info.threaded || o->source->kind == AGENT_AUDIO)
		ms = MAX(ms, LATE_THREADED_MS);
	if (o->source->kind == AGENT_LIBCAMERA) /* its own, and its queue */
		ms = MAX(ms, 2 * LATE_THREADED_MS);
	return MIN(ms, INTERLEAVE_MS_MAX);
}

/* The others take microseconds, which a thread would cost as well. */
static bool takes_long(uint32_t codec)
{
	return codec == CAPTURE_FORMAT_H264 || codec == CAPTURE_FORMAT_JPEG ||
	       codec == CAPTURE_FORMAT_FFV1 || codec == CAPTURE_FORMAT_AAC;
}

/* A device works by itself: no thread for it. */
static int start_thread(struct output *o)
{
	struct capture_encoder_stats s;

	if (!o->encoder)
		return 0;
	capture_encoder_stats(o->encoder, &s);
	if (s.backend != CAPTURE_BACKEND_SOFTWARE ||
	    !takes_long(capture_encoder_codec(o->encoder)))
		return 0;
	o->info.threaded = true;
	return encode_thread_new(o->sys, o->encoder, o->depth, &o->thread);
}

static struct capture_encoder *close_encoder(struct output *o)
{
	o->thread = encode_thread_free(o->thread);
	return capture_encoder_close(o->encoder);
}

static int keep_private(struct output *o)
{
	const uint8_t *bytes;
	size_t len;
	int r = capture_encoder_codec_private(o->encoder, &bytes, &len);

	if (r < 0 || !len)
		return r;
	o->private = malloc(len);
	if (!o->private)
		return -ENOMEM;
	memcpy(o->private, bytes, len);
	o->info.private = o->private;
	o->info.private_bytes = len;
	return 0;
}

static int open_encoder(struct output *o, const struct output_config *config,
			char *error)
{
	enum agent_encoder names[2];
	size_t count = candidates(o, config->view, names);
	int r = -EOPNOTSUPP;

	if (!count)
		explain_too_much(&o->format, error);
	for (size_t i = 0; i < count && r < 0; i++) {
		struct capture_encoder_config *c = &o->config;

		capture_encoder_config_init(c);
		o->encodes = choose(o, names[i], c);
		if (!o->encodes)
			return 0;
		c->path = o->source->encoder_device[0] ?
				  o->source->encoder_device : NULL;
		c->source = &o->format;
		c->source_dmabuf = o->dmabuf;
		c->controls.bitrate = o->source->bitrate > 0 ?
			o->source->bitrate : o->format.media ==
			CAPTURE_MEDIA_PICTURE ? BITRATE_VIDEO : BITRATE_AUDIO;
		c->controls.gop_frames = gop_frames(o, config->fragment_ms);
		c->controls.quality = o->source->quality;
		c->timeout_ns = o->source->encoder_timeout_ns;
		/* No sooner than a frame is given up. */
		if (o->source->encoder_stuck_ns)
			c->stuck_ns = MAX(c->timeout_ns,
					  o->source->encoder_stuck_ns);
		r = capture_encoder_open(o->sys, c, &o->encoder);
		if (r < 0)
			devices_explain_encoder(o->sys, o->source, names[i],
						o->format.fourcc, r, error,
						OUTPUT_ERROR_CHARS);
	}
	return r;
}

static void init_thermal(struct capture_thermal_config *config,
			 const struct agent_source *s)
{
	capture_thermal_config_init(config);
	config->palette = s->palette;
	config->telemetry_rows = s->telemetry_rows;
	config->telemetry_on_top = s->telemetry_on_top;
	config->scale_uk = s->scale_uk;
	config->offset_uk = s->offset_uk;
	if (s->has_spot) {
		config->spot_x = s->spot_x;
		config->spot_y = s->spot_y;
	}
	if (s->range_max) {
		config->range = CAPTURE_THERMAL_RANGE_FIXED;
		config->min = s->range_min;
		config->max = s->range_max;
	}
}

static const char *thermal_error(int r)
{
	if (r == -EPROTONOSUPPORT)
		return "not a picture of counts";
	return r == -EINVAL ? "telemetry_rows or spot do not fit" :
			      strerror(-r);
}

static int open_view(struct output *o, char *error)
{
	struct capture_thermal_stats stats;
	int r;

	r = capture_thermal_view_new(o->sys, &o->format, &o->thermal, &o->view);
	if (r < 0) {
		(void)snprintf(error, OUTPUT_ERROR_CHARS, "view: %s",
			       thermal_error(r));
		return r;
	}
	o->format = *capture_thermal_view_format(o->view);
	capture_thermal_view_stats(o->view, &stats);
	o->dmabuf = stats.rung != CAPTURE_RUNG_S5;
	/* Views wait, not the frames that they are of. */
	o->depth = CAPTURE_THERMAL_BUFFERS;
	return 0;
}

/* Counts that no view is made of: do the keys fit them? */
static int open_measure(struct output *o, char *error)
{
	const struct agent_source *s = o->source;
	const struct capture_format *f = &o->format;

	if (s->view || agent_source_class(s) != AGENT_CLASS_THERMAL ||
	    !capture_thermal_is_counts(f->fourcc))
		return 0;
	if (s->telemetry_rows >= f->height ||
	    (s->has_spot && (s->spot_x >= f->width ||
			     s->spot_y >= f->height - s->telemetry_rows))) {
		(void)snprintf(error, OUTPUT_ERROR_CHARS, "%s",
			       thermal_error(-EINVAL));
		return -EINVAL;
	}
	o->measures = true;
	return 0;
}

/* Passed on as one payload: one plane without gaps between the lines. */
static bool is_packed(const struct capture_format *f)
{
	return f->media != CAPTURE_MEDIA_PICTURE || f->plane_count == 1;
}

int output_open(const struct sys_ops *sys, const struct output_config *config,
		struct output **ret_output, char *error)
{
	AUTO(output_close) struct output *o = calloc(1, sizeof(*o));
	int r;

	(void)snprintf(error, OUTPUT_ERROR_CHARS, "no memory");
	if (!o)
		return -ENOMEM;
	o->sys = sys;
	o->calls = config->calls;
	o->ctx = config->ctx;
	o->source = config->source;
	o->format = *config->format;
	o->dmabuf = config->source_dmabuf;
	o->depth = MIN(MAX(config->frames_held, 1u), ENCODE_FRAMES_MAX);
	backoff_init(&o->backoff, sys_now_ns(sys, CLOCK_MONOTONIC));
	init_thermal(&o->thermal, o->source);
	r = config->view ? open_view(o, error) : open_measure(o, error);
	if (r == 0)
		r = open_encoder(o, config, error);
	if (r < 0)
		return r;
	if (!o->encodes && !is_packed(&o->format)) {
		(void)snprintf(error, OUTPUT_ERROR_CHARS,
			       "frames of more than one plane cannot be sent "
			       "raw: choose another format");
		return -EPROTONOSUPPORT;
	}
	fill_info(o);
	r = o->encoder ? keep_private(o) : 0;
	if (r == 0)
		r = start_thread(o);
	if (r < 0)
		return r;
	o->info.late_ms = late_ms(o, config);
	*ret_output = TAKE_PTR(o);
	return 0;
}

struct output *output_close(struct output *o)
{
	if (!o)
		return NULL;
	(void)close_encoder(o);
	(void)capture_thermal_view_free(o->view);
	free(o->private);
	free(o);
	return NULL;
}

const struct output_info *output_info(const struct output *o)
{
	return &o->info;
}

static void add_stats(const struct output *o, struct output_stats *sum)
{
	struct encode_thread_stats thread = { 0 };
	struct capture_encoder_stats s;

	if (o->thread) {
		encode_thread_stats(o->thread, &thread);
		s = thread.encoder;
	} else {
		capture_encoder_stats(o->encoder, &s);
	}
	sum->encode_ns += thread.busy_ns;
	sum->encode_ns_max = MAX(sum->encode_ns_max, thread.busy_ns_max);
	sum->queue_frames_max = MAX(sum->queue_frames_max, thread.frames_max);
	sum->frames_skipped += s.frames_skipped;
	sum->packets += s.packets_out;
	sum->copies += s.copies;
	sum->bytes_touched += s.bytes_touched;
}

void output_stats(const struct output *o, struct output_stats *ret)
{
	*ret = o->closed;
	ret->frames_skipped += o->frames_skipped;
	ret->frames_queue_full = o->frames_queue_full;
	ret->packets += o->packets_direct;
	ret->reopened = o->reopened;
	if (o->view) {
		capture_thermal_view_stats(o->view, &ret->thermal);
		ret->bytes_touched += ret->thermal.bytes_touched;
		ret->has_reading = capture_thermal_view_read(
			o->view, &ret->reading) == 0;
	}
	if (o->measures) {
		ret->bytes_touched += o->bytes_measured;
		ret->has_reading = o->has_reading;
		ret->reading = o->reading;
	}
	ret->telemetry = o->telemetry;
	if (o->encoder)
		add_stats(o, ret);
}

static int collect(struct output *o);
static int receive(struct output *o);

/* --- an encoder that failed ---------------------------------------------------------- */

static void plan_reopen(struct output *o, uint64_t now_ns)
{
	o->reopen_ns = now_ns + backoff_next(&o->backoff, REOPEN_NS_MIN,
					     2 * REOPEN_NS_MIN, REOPEN_NS_MAX);
}

static void encoder_failed(struct output *o, int why, uint64_t now_ns)
{
	char text[OUTPUT_ERROR_CHARS];

	(void)snprintf(text, sizeof(text), "encoder %s: %s", o->info.encoder,
		       why == -ETIMEDOUT ? "stuck" : strerror(-why));
	if (o->thread) { /* frames that waited are lost, and counted */
		encode_thread_stop(o->thread);
		(void)collect(o);
	} else { /* what was done is good; why it failed is known */
		(void)receive(o);
	}
	add_stats(o, &o->closed);
	o->encoder = close_encoder(o);
	plan_reopen(o, now_ns);
	o->calls->trouble(o->ctx, text);
}

static void reopen(struct output *o, uint64_t now_ns)
{
	char text[OUTPUT_ERROR_CHARS];
	int r = capture_encoder_open(o->sys, &o->config, &o->encoder);

	if (r == 0 && capture_encoder_codec(o->encoder) != o->info.codec) {
		o->encoder = capture_encoder_close(o->encoder);
		r = -EPROTONOSUPPORT;
	}
	if (r == 0)
		r = start_thread(o);
	if (r < 0)
		o->encoder = capture_encoder_close(o->encoder);
	if (r < 0) {
		plan_reopen(o, now_ns);
		devices_explain_encoder(o->sys, o->source, o->source->encoder,
					o->format.fourcc, r, text,
					sizeof(text));
		o->calls->trouble(o->ctx, text);
		return;
	}
	o->reopened++;
	o->calls->trouble(o->ctx, NULL);
}

/* --- running ------------------------------------------------------------------------- */

size_t output_fds(const struct output *o, struct pollfd *fds)
{
	int fd = o->encoder ? capture_encoder_fd(o->encoder) : -1;

	if (o->over)
		return 0;
	if (o->thread) {
		*fds = (struct pollfd){ .fd = encode_thread_fd(o->thread),
					.events = POLLIN };
		return 1;
	}
	/* Without a frame inside, an M2M device polls as an error. */
	if (fd < 0 || capture_encoder_deadline_ns(o->encoder) == UINT64_MAX)
		return 0;
	*fds = (struct pollfd){ .fd = fd, .events = POLLIN | POLLOUT };
	return 1;
}

uint64_t output_deadline_ns(const struct output *o)
{
	if (o->thread || o->over)
		return UINT64_MAX;
	if (o->encoder)
		return capture_encoder_deadline_ns(o->encoder);
	return o->encodes ? o->reopen_ns : UINT64_MAX;
}

static bool is_key(uint32_t fourcc, const uint8_t *data, size_t bytes,
		   bool flagged)
{
	if (fourcc == CAPTURE_FORMAT_FWHT)
		return fwht_is_key(data, bytes);
	if (fourcc == CAPTURE_FORMAT_H264 || fourcc == CAPTURE_FORMAT_HEVC ||
	    fourcc == CAPTURE_FORMAT_VP8)
		return flagged;
	return true; /* each frame stands alone */
}

static void hand_over(struct output *o, const struct capture_packet *packet)
{
	const struct output_frame f = {
		.data = packet->data,
		.bytes = packet->bytes,
		.key = is_key(packet->fourcc, packet->data, packet->bytes,
			      packet->flags & CAPTURE_PACKET_KEY),
		.stamp_ns = packet->stamp_ns,
		.decode_ns = packet->decode_ns,
		.clock = packet->clock,
		.point = packet->point,
		.epoch = packet->epoch,
		.aligned = packet->aligned,
	};

	o->calls->frame(o->ctx, &f);
}

/* Return: -EAGAIN nothing more yet, -EPIPE drained, or what went wrong. */
static int receive(struct output *o)
{
	for (;;) {
		struct capture_packet *packet;
		int r = capture_encoder_receive(o->encoder, 0, &packet);

		if (r < 0)
			return r;
		hand_over(o, packet);
		(void)capture_packet_unref(packet);
		backoff_reset(&o->backoff);
	}
}

static void take_back_frames(struct output *o)
{
	struct capture_frame *frame;
	int r;

	while (encode_thread_take_frame(o->thread, &frame, &r)) {
		if (r < 0)
			o->frames_skipped++;
		else if (o->calls->raw)
			o->calls->raw(o->ctx, frame);
		(void)capture_frame_unref(frame);
	}
}

/* What the thread has done. Return: -EAGAIN, or why it does no more. */
static int collect(struct output *o)
{
	struct capture_packet *packet;
	int state;

	/* In this order, so that nothing is missed that comes meanwhile. */
	encode_thread_clear(o->thread);
	state = encode_thread_state(o->thread);
	take_back_frames(o);
	while (encode_thread_take_packet(o->thread, &packet)) {
		/* Its frame is done, maybe since a moment: that comes first. */
		take_back_frames(o);
		hand_over(o, packet);
		encode_thread_return_packet(o->thread, packet);
		backoff_reset(&o->backoff);
	}
	return state ? state : -EAGAIN;
}

void output_run(struct output *o, uint64_t now_ns)
{
	int r;

	if (!o->encodes)
		return;
	if (!o->encoder) {
		if (now_ns >= o->reopen_ns)
			reopen(o, now_ns);
		return;
	}
	r = o->thread ? collect(o) : receive(o);
	if (r != -EAGAIN)
		encoder_failed(o, r, now_ns);
}

/* As the source gave it: compressed by itself, samples, records. */
static void pass_on(struct output *o, const struct capture_frame *frame)
{
	const struct capture_plane *plane = &frame->planes[0];
	struct output_frame f = {
		.data = plane->map ? plane->map + plane->offset : NULL,
		.bytes = plane->bytesused,
		.stamp_ns = frame->stamp_ns,
		.clock = frame->clock,
		.point = frame->point,
		.epoch = frame->epoch,
		.aligned = frame->aligned,
	};

	if (!f.data || frame->plane_count != 1 || !f.bytes) {
		o->frames_skipped++;
		return;
	}
	capture_frame_begin_read(NULL, frame);
	f.key = is_key(frame->fourcc, f.data, f.bytes,
		       frame->flags & CAPTURE_FRAME_KEY);
	o->packets_direct++;
	if (o->calls->raw)
		o->calls->raw(o->ctx, frame);
	o->calls->frame(o->ctx, &f);
	capture_frame_end_read(NULL, frame);
}

static void queue(struct output *o, struct capture_frame *frame)
{
	if (encode_thread_put(o->thread, capture_frame_ref(frame),
			      o->key_wanted) < 0) {
		(void)capture_frame_unref(frame);
		o->frames_queue_full++;
		return;
	}
	o->key_wanted = false;
}

static void encode(struct output *o, struct capture_frame *frame,
		   uint64_t now_ns)
{
	int r;

	if (o->thread) {
		queue(o, frame);
		return;
	}
	r = capture_encoder_submit(o->encoder, frame);
	if (r == -EAGAIN || r == -EINVAL) {
		/* No room; or not of the format that was agreed on. */
		o->frames_skipped++;
	} else if (r < 0) {
		encoder_failed(o, r, now_ns);
		return;
	} else if (o->calls->raw) {
		o->calls->raw(o->ctx, frame);
	}
	output_run(o, now_ns);
}

bool output_has_room(const struct output *o)
{
	return !o->thread || !encode_thread_full(o->thread);
}

/* The first of its telemetry. */
static void keep_telemetry(struct output *o, const struct capture_frame *frame)
{
	const struct capture_plane *p = &frame->planes[0];
	size_t below = (size_t)frame->height - o->source->telemetry_rows;
	size_t at = o->source->telemetry_on_top ? 0 : below * p->stride;
	size_t bytes = sizeof(o->telemetry.bytes);

	if (!o->source->telemetry_rows || !p->map || p->bytesused <= at)
		return;
	bytes = MIN(bytes, MIN(p->bytesused - at, (size_t)frame->width * 2));
	capture_frame_begin_read(NULL, frame);
	memcpy(o->telemetry.bytes, p->map + p->offset + at, bytes);
	capture_frame_end_read(NULL, frame);
	o->telemetry.count = bytes;
}

/* Not each frame: whoever reads the counts is not waiting for them. */
static void measure(struct output *o, struct capture_frame *frame)
{
	struct capture_thermal_reading reading;

	if (o->has_reading && o->reading.epoch == frame->epoch &&
	    frame->stamp_ns - o->reading.stamp_ns < MEASURE_NS)
		return;
	if (capture_thermal_measure(o->sys, &o->format, &o->thermal, frame,
				    &reading) < 0)
		return;
	o->reading = reading;
	o->has_reading = true;
	o->bytes_measured += frame->planes[0].bytesused;
	keep_telemetry(o, frame);
}

void output_put(struct output *o, struct capture_frame *frame, uint64_t now_ns)
{
	struct capture_frame *view;

	if (o->measures)
		measure(o, frame);
	if (!o->encodes) {
		pass_on(o, frame);
		return;
	}
	if (!o->encoder) {
		o->frames_skipped++;
		return;
	}
	if (!output_has_room(o)) {
		o->frames_queue_full++;
		return;
	}
	if (!o->view) {
		encode(o, frame, now_ns);
		return;
	}
	if (capture_thermal_view_apply(o->view, frame, &view) < 0) {
		o->frames_skipped++; /* all views are inside the encoder */
		return;
	}
	keep_telemetry(o, frame);
	encode(o, view, now_ns);
	(void)capture_frame_unref(view);
}

void output_end(struct output *o)
{
	if (o->thread)
		encode_thread_drain(o->thread);
	else if (o->encoder && capture_encoder_drain(o->encoder) < 0)
		o->over = true; /* nothing more is to be had */
}

bool output_drain(struct output *o)
{
	int r = -EPIPE;

	if (o->thread)
		r = collect(o);
	else if (o->encoder && !o->over)
		r = receive(o);
	o->over = r != -EAGAIN;
	return o->over;
}

void output_stop(struct output *o)
{
	if (!o->thread)
		return;
	encode_thread_stop(o->thread);
	(void)collect(o);
}

void output_force_key(struct output *o)
{
	if (o->thread)
		o->key_wanted = true;
	else if (o->encoder) /* key frames else come at the encoder's own pace */
		(void)!capture_encoder_force_key(o->encoder);
}
