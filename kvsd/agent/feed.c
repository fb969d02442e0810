/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/feed.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "core/limits.h"

/* --- frames -------------------------------------------------------------------------- */

/* @f's stamp on CLOCK_MONOTONIC. Return: false: it says nothing, take now. */
static bool to_monotonic(const struct feed_clock *c,
			 const struct output_frame *f, uint64_t *ret_ns)
{
	int64_t offset_ns = 0;

	if (f->clock == CAPTURE_CLOCK_REALTIME)
		offset_ns = clock_map_wall_offset_ns(&c->map, f->stamp_ns);
	else if (f->clock == CAPTURE_CLOCK_BOOTTIME)
		offset_ns = c->boot_offset_ns;
	else if (f->clock != CAPTURE_CLOCK_MONOTONIC)
		return false;
	if (!f->stamp_ns || (offset_ns > 0 &&
			     f->stamp_ns < (uint64_t)offset_ns))
		return false;
	*ret_ns = f->stamp_ns - (uint64_t)offset_ns;
	return true;
}

static uint32_t clock_id(enum capture_clock clock)
{
	switch (clock) {
	case CAPTURE_CLOCK_REALTIME:
		return CLOCK_REALTIME;
	case CAPTURE_CLOCK_BOOTTIME:
		return CLOCK_BOOTTIME;
	case CAPTURE_CLOCK_MONOTONIC:
	case CAPTURE_CLOCK_COPY:
	case CAPTURE_CLOCK_UNKNOWN:
		return CLOCK_MONOTONIC;
	}
	return CLOCK_MONOTONIC;
}

static enum kvs_stamp_meaning meaning_of(enum capture_point point)
{
	switch (point) {
	case CAPTURE_POINT_END_OF_FRAME:
		return KVS_STAMP_END_OF_FRAME;
	case CAPTURE_POINT_START_OF_EXPOSURE:
		return KVS_STAMP_START_OF_EXPOSURE;
	case CAPTURE_POINT_FIRST_SAMPLE:
		return KVS_STAMP_FIRST_SAMPLE;
	case CAPTURE_POINT_ARRIVAL:
		return KVS_STAMP_ARRIVAL;
	}
	return KVS_STAMP_UNKNOWN;
}

static enum kvs_aligned_by aligned_by(enum capture_aligned_by by)
{
	switch (by) {
	case CAPTURE_ALIGNED_NOT:
		return KVS_ALIGNED_UNKNOWN;
	case CAPTURE_ALIGNED_STAMP:
		return KVS_ALIGNED_STAMP;
	case CAPTURE_ALIGNED_ESTIMATE:
		return KVS_ALIGNED_ESTIMATE;
	case CAPTURE_ALIGNED_KERNEL:
		return KVS_ALIGNED_KERNEL;
	}
	return KVS_ALIGNED_UNKNOWN;
}

/* Two uncertainties; 0: one of them is not known. */
static uint32_t sigma_sum(uint32_t a, uint64_t b)
{
	if (a == UINT32_MAX || b >= UINT32_MAX - a)
		return 0;
	return a + (uint32_t)b;
}

/*
 * A step of the wall clock reaches a track with a key frame, since only there
 * a fragment can begin: frames before it, and what was on its way when the
 * step came, have the time that they had before.
 * Return: where on CLOCK_MONOTONIC to look up what maps @ns.
 */
static uint64_t map_at(const struct clock_map *m, struct feed_output *o,
		       bool key, uint64_t ns)
{
	bool forward = m->before_until_ns && m->before_epoch + 1 == m->epoch &&
		       o->map_epoch == m->before_epoch;

	if (!forward || (key && ns > m->before_until_ns))
		o->map_epoch = m->epoch;
	return o->map_epoch == m->epoch ? ns : MIN(ns, m->before_until_ns);
}

/*
 * The frame's time: that on the timeline of all sensors; of a frame that has
 * none, its stamp; of one without a stamp, now.
 */
static void stamp(const struct feed *f, struct feed_output *o,
		  const struct output_frame *from, struct kvs_frame *to)
{
	const struct clock_map *map = &f->clock->map;
	const struct capture_aligned *aligned = &from->aligned;
	int64_t boot_ns = f->clock->boot_offset_ns;
	uint64_t ns = 0;
	uint64_t at;
	bool known = to_monotonic(f->clock, from, &ns);

	if (!known)
		ns = sys_now_ns(f->sys, CLOCK_MONOTONIC);
	to->raw_stamp_ns = known ? from->stamp_ns : ns;
	to->raw_clock = known ? clock_id(from->clock) : CLOCK_MONOTONIC;
	to->meaning = known ? meaning_of(from->point) : KVS_STAMP_UNKNOWN;
	at = map_at(map, o, from->key, ns);
	to->sigma_ns = known ? clock_map_sigma_ns(map, at) : 0;
	to->aligned_by = aligned_by(aligned->by);
	if (aligned->by != CAPTURE_ALIGNED_NOT &&
	    (boot_ns <= 0 || aligned->ns >= (uint64_t)boot_ns)) {
		ns = aligned->ns - (uint64_t)boot_ns;
		to->boot_ns = aligned->ns;
		at = map_at(map, o, from->key, ns);
		to->sigma_ns = sigma_sum(clock_map_sigma_ns(map, at),
					 aligned->sigma_ns);
		if (to->sigma_ns)
			to->sigma_ns = sigma_sum(to->sigma_ns,
						 f->clock->boot_width_ns);
	}
	to->time_ns = clock_map_ns(map, at) + (ns - at);
	/* A B frame: files and the service want the order of decoding. */
	if (known && from->decode_ns > from->stamp_ns)
		to->decode_ns = to->time_ns + from->decode_ns - from->stamp_ns;
	/* Each grows by itself, so their sum changes when one of them does. */
	to->epoch = clock_map_epoch(map, at) + from->epoch + aligned->epoch;
}

/*
 * A new epoch of aligned time may begin before the last one ended, by what
 * the two differ; timecodes do not go back for that, nor do they stand: they
 * are slower until they are right again, and sigma says how far they are off.
 */
static void keep_order(struct feed_output *o, const struct output_frame *from,
		       struct kvs_frame *to)
{
	uint64_t step_ns = MIN((from->stamp_ns - o->stamp_ns) / 2, NS_PER_MS);
	uint64_t back_ns = o->time_ns - to->time_ns + MAX(step_ns, 1u);
	uint64_t decode_ns;

	if (from->stamp_ns > o->stamp_ns && to->time_ns <= o->time_ns) {
		if (to->sigma_ns)
			to->sigma_ns = sigma_sum(to->sigma_ns, back_ns);
		to->time_ns += back_ns;
		to->boot_ns += to->boot_ns ? back_ns : 0;
	}
	decode_ns = to->decode_ns ? to->decode_ns : to->time_ns;
	if (decode_ns < o->decode_ns)
		to->decode_ns = decode_ns = o->decode_ns;
	o->stamp_ns = from->stamp_ns;
	o->time_ns = to->time_ns;
	o->decode_ns = decode_ns;
}

static void put_frame(void *ctx, size_t output, const struct output_frame *from)
{
	struct feed *f = ctx;
	struct feed_output *o = &f->outputs[output];
	struct kvs_frame frame = {
		.track = o->track,
		.data = from->data,
		.bytes = from->bytes,
		.key = from->key,
	};
	char text[CAUSE_CHARS];
	int r;

	stamp(f, o, from, &frame);
	keep_order(o, from, &frame);
	r = kvs_producer_put_frame(f->stream->producer, &frame);
	if (r == 0) {
		o->frames_put++;
		if (o->tap)
			tap_frame(o->tap, &frame);
		(void)cause_over(&o->cause);
		return;
	}
	o->frames_refused++;
	/* Before the first key frame of the stream. */
	if (r == -EAGAIN || (r == -ERANGE && !o->frames_put))
		return;
	(void)snprintf(text, sizeof(text), "frames are refused: %s",
		       strerror(-r));
	cause_tell(&o->cause, LOG_WARN, f->stream->tracks[o->track].name, text);
}

static void raw_frame(void *ctx, size_t output,
		      const struct capture_frame *frame)
{
	struct feed *f = ctx;

	if (f->outputs[output].tap)
		tap_raw(f->outputs[output].tap, frame);
}

static void trouble(void *ctx, const char *text)
{
	struct feed *f = ctx;

	if (text)
		cause_tell(&f->cause, LOG_ERROR, f->config->name, text);
	else if (cause_over(&f->cause))
		log_info("agent", "%s: works again", f->config->name);
}

static const struct pipeline_calls calls = {
	.frame = put_frame,
	.trouble = trouble,
};

static const struct pipeline_calls calls_of_tap = {
	.frame = put_frame,
	.raw = raw_frame,
	.trouble = trouble,
};

/* --- life ---------------------------------------------------------------------------- */

int feed_open(struct feed *f, const struct sys_ops *sys,
	      const struct agent_source *config, const struct feed_clock *clock,
	      struct stream *stream, bool tapped)
{
	char error[PIPELINE_ERROR_CHARS];
	int r;

	f->sys = sys;
	f->config = config;
	f->clock = clock;
	f->stream = stream;
	r = pipeline_open(sys, config, stream->config->fragment_ms,
			  tapped ? &calls_of_tap : &calls, f, &f->pipeline,
			  error);
	if (r < 0) {
		log_error("agent", "%s: %s", config->name, error);
		return r;
	}
	f->info = *pipeline_info(f->pipeline);
	f->output_count = pipeline_output_count(f->pipeline);
	for (size_t i = 0; i < f->output_count; i++)
		f->outputs[i].info =
			*output_info(pipeline_output(f->pipeline, i));
	return 0;
}

int feed_tap(struct feed *f, const char *dir)
{
	for (size_t i = 0; i < f->output_count; i++) {
		struct feed_output *o = &f->outputs[i];
		int r = tap_open(dir, f->stream->tracks[o->track].name,
				 &o->tap);

		if (r < 0) {
			log_error("agent", "--tap %s: %s", dir, strerror(-r));
			return r;
		}
	}
	return 0;
}

int feed_start(struct feed *f)
{
	char error[PIPELINE_ERROR_CHARS];
	int r = pipeline_start(f->pipeline, error);

	if (r < 0)
		log_error("agent", "%s: %s", f->config->name, error);
	return r;
}

void feed_close(struct feed *f)
{
	for (size_t i = 0; i < f->output_count; i++) {
		struct feed_output *o = &f->outputs[i];

		if (f->pipeline)
			output_stats(pipeline_output(f->pipeline, i),
				     &o->stats);
		o->tap = tap_close(o->tap);
	}
	if (f->pipeline)
		pipeline_stats(f->pipeline, &f->stats);
	f->pipeline = pipeline_close(f->pipeline);
}
