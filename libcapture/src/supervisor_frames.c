/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a supervised source. Each that is out is one of a fixed set that
 * wraps a frame of the source, or the blank picture, and holds a reference
 * on it: so epoch and sequence are ours to write, and what restarts leave
 * with the user is bounded.
 */
#include "src/supervisor.h"

#include <assert.h>
#include <stddef.h>

#include "src/blank.h"
#include "src/frame_pool.h"

#define NS_PER_S UINT64_C(1000000000)

static void frame_release(struct frame_holder *holder)
{
	struct supervised_frame *f =
		container_of(holder, struct supervised_frame, holder);
	struct supervisor *s = f->supervisor;
	uint32_t open = f->open;

	/* A source that a call has is not to be touched. */
	if (!s->call || s->call_op == SUPERVISOR_OPEN || open != s->opens ||
	    !supervisor_call_keep(s->call, f->inner))
		(void)capture_frame_unref(f->inner);
	f->inner = NULL;
	s->free[s->free_count++] = (uint32_t)(f - s->frames);
	supervisor_frame_back(s, open);
}

void supervisor_init_frames(struct supervisor *s)
{
	uint32_t i;

	for (i = 0; i < CAPTURE_SUPERVISED_OUT_MAX; i++) {
		s->frames[i].supervisor = s;
		s->frames[i].holder.release = frame_release;
		s->free[i] = i;
	}
	s->free_count = CAPTURE_SUPERVISED_OUT_MAX;
}

/* Frames of another start, or of another epoch within, begin a new epoch. */
static void raise_epoch(struct supervisor *s, uint32_t start, uint32_t inner)
{
	bool same = s->epoch_start == start && s->epoch_inner == inner;

	if (s->epoch_used && !same)
		s->epoch++;
	if (!same)
		s->blank_sequence = 0;
	s->epoch_used = true;
	s->epoch_start = start;
	s->epoch_inner = inner;
}

static struct capture_frame *hand_out(struct supervisor *s,
				      struct capture_frame *inner,
				      uint32_t open, uint32_t start)
{
	struct supervised_frame *f;

	assert(s->free_count);
	f = &s->frames[s->free[--s->free_count]];
	raise_epoch(s, start, inner->epoch);
	f->inner = inner;
	f->open = open;
	f->holder.frame = *inner;
	f->holder.frame.epoch = s->epoch;
	f->holder.frame.track_id = s->config.source.track_id;
	f->holder.refs = 1;
	s->out++;
	return &f->holder.frame;
}

struct capture_frame *supervisor_wrap(struct supervisor *s,
				      struct capture_frame *inner)
{
	s->inner_out++;
	return hand_out(s, inner, s->opens, s->starts);
}

/* --- blank pictures ----------------------------------------------------- */

void supervisor_fini_blank(struct supervisor *s)
{
	s->picture = capture_frame_unref(s->picture);
	s->picture_text = NULL;
	frame_pool_close(s->pool);
	s->pool = NULL;
}

void supervisor_init_blank(struct supervisor *s)
{
	struct capture_source_config config = {
		.buffer_count = CAPTURE_BLANK_PICTURES,
		.track_id = s->config.source.track_id,
	};

	supervisor_fini_blank(s);
	if (s->config.blank == CAPTURE_BLANK_NONE ||
	    !blank_supports(&s->base.format))
		return;
	/* Without memory there are no blank pictures; all else goes on. */
	if (frame_pool_new(s->base.sys, &s->base.format, &config, &s->pool) < 0)
		s->pool = NULL;
}

bool supervisor_is_blank(const struct supervisor *s)
{
	if (!s->outage || !s->pool || s->state == SUPERVISOR_OFF)
		return false;
	return s->config.blank == CAPTURE_BLANK_OUTAGE ||
	       s->lost != CAPTURE_SIGNAL_OK;
}

static const char *cause_text(const struct supervisor *s)
{
	if (s->lost != CAPTURE_SIGNAL_OK)
		return capture_signal_name(s->lost);
	return s->gone ? "no device" : "no frames";
}

/*
 * Draws the cause unless it is drawn. While all pictures are out, the one
 * that is there goes on being shown: what is out must not change.
 */
static void draw_cause(struct supervisor *s)
{
	const char *lines[BLANK_LINES_MAX] = {cause_text(s),
					      s->config.blank_label};
	uint8_t *planes[CAPTURE_PLANES_MAX] = {NULL};
	struct capture_frame *picture;
	uint32_t p;

	if (s->picture && s->picture_text == lines[0])
		return;
	picture = frame_pool_take(s->pool);
	if (!picture)
		return;
	for (p = 0; p < picture->plane_count; p++)
		planes[p] = frame_pool_data(picture, p);
	frame_begin_write(s->base.sys, picture);
	blank_draw(&s->base.format, planes, lines);
	frame_end_write(s->base.sys, picture);
	(void)capture_frame_unref(s->picture);
	s->picture = picture;
	s->picture_text = lines[0];
}

static uint64_t period_ns(const struct capture_format *f)
{
	uint64_t period = NS_PER_S / CAPTURE_BLANK_RATE_UNKNOWN;

	if (f->rate_num && f->rate_den)
		period = NS_PER_S * f->rate_den / f->rate_num;
	/* Slower than one a second is a slide show that helps nobody. */
	return MIN(MAX(period, NS_PER_S / CAPTURE_BLANK_RATE_MAX), NS_PER_S);
}

struct capture_frame *supervisor_take_blank(struct supervisor *s,
					    uint64_t now_ns)
{
	uint64_t period = period_ns(&s->base.format);
	struct capture_frame *frame;

	if (!supervisor_is_blank(s) || now_ns < s->blank_ns || !s->free_count)
		return NULL;
	draw_cause(s);
	if (!s->picture) {
		s->blank_ns = now_ns + period;
		return NULL;
	}
	frame = hand_out(s, capture_frame_ref(s->picture), 0, 0);
	/* On the beat; those missed are left out. */
	if (now_ns - s->blank_ns >= period)
		s->blank_ns = now_ns;
	frame->flags = CAPTURE_FRAME_BLANK;
	frame->sequence = s->blank_sequence++;
	frame->stamp_ns = s->blank_ns;
	frame->clock = CAPTURE_CLOCK_MONOTONIC;
	frame->point = CAPTURE_POINT_ARRIVAL;
	s->blank_ns += period;
	s->stats.blank_frames++;
	return frame;
}
