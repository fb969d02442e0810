/* SPDX-License-Identifier: Apache-2.0 */
#include "core/fragmenter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/mkv_writer.h"

_Static_assert(MKV_CLUSTER_HEAD_BYTES + MKV_BLOCK_HEAD_BYTES <=
		       FRAME_HEADER_BYTES_MAX,
	       "a fragment's first header fits");

struct waiting {
	struct fragmenter_frame frame;
	uint64_t arrived_ns;
	uint32_t setup;
};

struct queue {
	struct waiting *ring;	/* INTERLEAVE_FRAMES_MAX */
	size_t first;
	size_t count;
	uint64_t last_ns;	/* order of the last frame put */
	bool any;		/* last_ns is set */
};

struct private {
	uint8_t *bytes;
	size_t len;
};

/* The codec privates that were in force together. */
struct setup {
	uint32_t id;		/* 0: unused */
	struct private private[FRAGMENT_TRACKS_MAX];
};

struct fragmenter {
	struct mkv_track tracks[FRAGMENT_TRACKS_MAX];
	bool private_later[FRAGMENT_TRACKS_MAX];
	size_t track_count;
	size_t lead;		/* track that decides the cuts */
	bool lead_is_video;
	uint64_t fragment_ms;
	uint64_t interleave_ns;
	struct queue queues[FRAGMENT_TRACKS_MAX];
	struct setup setups[FRAGMENT_SETUPS_MAX];
	uint32_t setup;		/* id of the newest */
	bool started;		/* the first key frame has come */
	bool ended;
	bool open;
	uint8_t tracks_expected; /* of the open fragment */
	uint8_t tracks_seen;	/* in it */
	uint8_t tracks_put;	/* had a frame since it was opened */
	uint32_t open_setup;
	uint64_t open_ms;	/* its timecode */
	uint64_t open_bytes;
	uint64_t end_ms;	/* latest block so far, of all fragments */
	bool end_known;
	uint64_t floor_ns;	/* nothing earlier is taken */
	uint64_t newest_arrival_ns;
};

static uint64_t round_ms(uint64_t ns)
{
	return ns / NS_PER_MS + (ns % NS_PER_MS >= NS_PER_MS / 2);
}

/* --- setups -------------------------------------------------------------- */

static struct setup *setup_of(const struct fragmenter *f, uint32_t id)
{
	const struct setup *s = &f->setups[id % FRAGMENT_SETUPS_MAX];

	return s->id == id ? (struct setup *)(uintptr_t)s : NULL;
}

static int private_set(struct private *p, const uint8_t *bytes, size_t len)
{
	uint8_t *copy;

	if (len > MKV_CODEC_PRIVATE_BYTES_MAX)
		return -EMSGSIZE;
	copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, bytes, len);
	free(p->bytes);
	p->bytes = copy;
	p->len = len;
	return 0;
}

static void setup_fini(struct setup *s)
{
	for (size_t i = 0; i < FRAGMENT_TRACKS_MAX; i++)
		free(s->private[i].bytes);
	memset(s, 0, sizeof(*s));
}

/* A new setup like the newest, save for one track. */
static int setup_push(struct fragmenter *f, uint32_t track,
		      const uint8_t *bytes, size_t len)
{
	struct setup *old = setup_of(f, f->setup);
	struct setup next = { .id = f->setup + 1 };
	struct setup *slot;
	int r = 0;

	for (size_t i = 0; i < f->track_count && r == 0; i++) {
		if (i == track)
			r = private_set(&next.private[i], bytes, len);
		else if (old->private[i].bytes)
			r = private_set(&next.private[i], old->private[i].bytes,
					old->private[i].len);
	}
	if (r < 0) {
		setup_fini(&next);
		return r;
	}
	slot = &f->setups[next.id % FRAGMENT_SETUPS_MAX];
	setup_fini(slot);
	*slot = next;
	f->setup = next.id;
	return 0;
}

int fragmenter_private(struct fragmenter *f, uint32_t track,
		       const uint8_t *bytes, size_t len)
{
	struct private *p;

	if (track >= f->track_count)
		return -EINVAL;
	p = &setup_of(f, f->setup)->private[track];
	if (p->bytes && p->len == len && memcmp(p->bytes, bytes, len) == 0)
		return 0;
	/* Nothing refers to the newest yet: fill it in. */
	if (!p->bytes && !f->started)
		return private_set(p, bytes, len);
	return setup_push(f, track, bytes, len);
}

static bool private_known(const struct fragmenter *f, size_t track)
{
	return !f->private_later[track] ||
	       setup_of(f, f->setup)->private[track].bytes;
}

int fragmenter_header(const struct fragmenter *f, uint32_t setup,
		      uint8_t tracks, const uint8_t *segment_uid,
		      struct buf *out)
{
	struct mkv_track declared[FRAGMENT_TRACKS_MAX];
	const struct setup *s = setup_of(f, setup);
	size_t count = 0;

	if (!s)
		return -ENOENT;
	for (size_t i = 0; i < f->track_count; i++) {
		if (!(tracks >> i & 1))
			continue;
		declared[count] = f->tracks[i];
		declared[count].codec_private = s->private[i].bytes;
		declared[count].codec_private_bytes = s->private[i].len;
		count++;
	}
	return mkv_write_header(out, declared, count,
				MKV_TIMECODE_SCALE_DEFAULT_NS, segment_uid);
}

/* --- life ---------------------------------------------------------------- */

static int take_tracks(struct fragmenter *f,
		       const struct fragmenter_config *config)
{
	struct setup *s = &f->setups[1];

	s->id = 1;
	f->setup = 1;
	for (size_t i = 0; i < config->track_count; i++) {
		struct mkv_track *t = &f->tracks[i];
		int r;

		*t = config->tracks[i];
		t->number = i + 1;
		f->private_later[i] = config->private_later[i];
		if (t->type == MKV_TRACK_VIDEO && !f->lead_is_video) {
			f->lead = i;
			f->lead_is_video = true;
		}
		if (!t->codec_private_bytes)
			continue;
		r = private_set(&s->private[i], t->codec_private,
				t->codec_private_bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

int fragmenter_new(const struct fragmenter_config *config,
		   struct fragmenter **ret_fragmenter)
{
	AUTO(fragmenter_free) struct fragmenter *f = NULL;
	int r;

	if (!config->track_count || config->track_count > FRAGMENT_TRACKS_MAX ||
	    config->fragment_ms < FRAGMENT_MS_MIN ||
	    config->fragment_ms > FRAGMENT_MS_MAX ||
	    config->interleave_ms > INTERLEAVE_MS_MAX)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->track_count = config->track_count;
	f->fragment_ms = config->fragment_ms;
	f->interleave_ns = config->interleave_ms * NS_PER_MS;
	for (size_t i = 0; i < f->track_count; i++) {
		f->queues[i].ring = calloc(INTERLEAVE_FRAMES_MAX,
					   sizeof(*f->queues[i].ring));
		if (!f->queues[i].ring)
			return -ENOMEM;
	}
	r = take_tracks(f, config);
	if (r < 0)
		return r;
	*ret_fragmenter = TAKE_PTR(f);
	return 0;
}

struct fragmenter *fragmenter_free(struct fragmenter *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < FRAGMENT_TRACKS_MAX; i++)
		free(f->queues[i].ring);
	for (size_t i = 0; i < FRAGMENT_SETUPS_MAX; i++)
		setup_fini(&f->setups[i]);
	free(f);
	return NULL;
}

void fragmenter_end(struct fragmenter *f)
{
	f->ended = true;
}

void fragmenter_restart(struct fragmenter *f)
{
	f->open = false;
	f->started = false;
	f->floor_ns = 0;
	for (size_t i = 0; i < f->track_count; i++)
		f->floor_ns = MAX(f->floor_ns, f->queues[i].last_ns);
}

static uint64_t order_of(const struct fragmenter_frame *frame)
{
	return frame->order_ns ? frame->order_ns : frame->time_ns;
}

/* --- frames in ----------------------------------------------------------- */

int fragmenter_check(const struct fragmenter *f, uint32_t track, bool key,
		     uint64_t order_ns, size_t bytes)
{
	const struct queue *q;

	if (track >= f->track_count)
		return -EINVAL;
	q = &f->queues[track];
	if (bytes + FRAME_HEADER_BYTES_MAX > FRAGMENT_CUT_BYTES_MAX)
		return -EMSGSIZE;
	if ((q->any && order_ns < q->last_ns) || order_ns < f->floor_ns)
		return -ERANGE;
	if (!f->started && f->lead_is_video && (track != f->lead || !key))
		return -EAGAIN;
	if (!private_known(f, track))
		return key ? -EBADMSG : -EAGAIN;
	return 0;
}

void fragmenter_put(struct fragmenter *f, const struct fragmenter_frame *frame,
		    uint64_t now_ns)
{
	struct queue *q = &f->queues[frame->track];
	struct waiting *w;

	assert(q->count < INTERLEAVE_FRAMES_MAX);
	if (!f->started) {
		f->started = true;
		f->floor_ns = order_of(frame);
	}
	w = &q->ring[(q->first + q->count++) % INTERLEAVE_FRAMES_MAX];
	w->frame = *frame;
	w->arrived_ns = now_ns;
	w->setup = f->setup;
	q->last_ns = order_of(frame);
	q->any = true;
	f->tracks_put |= (uint8_t)(1u << frame->track);
	f->newest_arrival_ns = now_ns;
}

/* --- blocks out ---------------------------------------------------------- */

static const struct waiting *head_of(const struct queue *q)
{
	return q->count ? &q->ring[q->first] : NULL;
}

/* The track with the earliest frame, or track_count. */
static size_t earliest(const struct fragmenter *f)
{
	size_t best = f->track_count;

	for (size_t i = 0; i < f->track_count; i++) {
		const struct waiting *w = head_of(&f->queues[i]);

		if (w && (best == f->track_count ||
			  order_of(&w->frame) <
			  order_of(&head_of(&f->queues[best])->frame)))
			best = i;
	}
	return best;
}

static uint8_t all_tracks(const struct fragmenter *f)
{
	return (uint8_t)((1u << f->track_count) - 1);
}

/* Whether an expected track could still bring an earlier frame. */
static bool must_wait(const struct fragmenter *f, size_t track)
{
	const struct waiting *w = head_of(&f->queues[track]);
	uint8_t expected = f->open ? (uint8_t)(f->tracks_expected |
					       f->tracks_put) : all_tracks(f);

	for (size_t i = 0; i < f->track_count; i++) {
		const struct queue *q = &f->queues[i];

		if (i == track || q->count || !(expected >> i & 1))
			continue;
		if (!q->any || q->last_ns < order_of(&w->frame))
			return true;
	}
	return false;
}

/* When the frame at the head of @track may go in any case. */
static uint64_t wait_over_ns(const struct fragmenter *f, size_t track)
{
	const struct queue *q = &f->queues[track];

	if (f->ended || !f->started || q->count == INTERLEAVE_FRAMES_MAX ||
	    !must_wait(f, track))
		return 0;
	return head_of(q)->arrived_ns + f->interleave_ns;
}

static bool cut_is_due(const struct fragmenter *f, const struct waiting *w)
{
	uint64_t ms = round_ms(w->frame.time_ns);
	uint64_t age_ms = ms > f->open_ms ? ms - f->open_ms : 0;
	bool lead = f->lead_is_video && (f->tracks_expected >> f->lead & 1);
	/* Key frames jitter; one missed is a whole interval more. */
	uint64_t slack_ms = lead ? MIN(FRAGMENT_SLACK_MS_MAX,
				       f->fragment_ms - FRAGMENT_MS_MIN) : 0;
	bool at_key = lead ? w->frame.track == f->lead && w->frame.key : true;

	if (w->setup != f->open_setup || age_ms >= FRAGMENT_CUT_MS_MAX ||
	    f->open_bytes + w->frame.bytes + FRAME_HEADER_BYTES_MAX >
		    FRAGMENT_CUT_BYTES_MAX)
		return true;
	/* The lead track comes back: with its key frame, at once. */
	if (!lead && f->lead_is_video && w->frame.track == f->lead &&
	    w->frame.key && age_ms >= FRAGMENT_MS_MIN)
		return true;
	if (!at_key || age_ms + slack_ms < f->fragment_ms)
		return false;
	return f->tracks_seen == f->tracks_expected ||
	       age_ms >= FRAGMENT_MS_MAX;
}

static uint8_t expected_next(const struct fragmenter *f,
			     const struct waiting *w)
{
	uint8_t tracks = 0;
	uint8_t known = 0;

	for (size_t i = 0; i < f->track_count; i++)
		if (private_known(f, i))
			known |= (uint8_t)(1u << i);
	/* At first every track is; later those that were heard of. */
	tracks = f->end_known ? (uint8_t)(f->tracks_seen | f->tracks_put) :
				all_tracks(f);
	return (uint8_t)((tracks & known) | 1u << w->frame.track);
}

static void open_fragment(struct fragmenter *f, const struct waiting *w,
			  struct fragmenter_block *b)
{
	uint64_t ms = round_ms(w->frame.time_ns);

	if (f->end_known && ms <= f->end_ms)
		ms = f->end_ms + 1;
	f->tracks_expected = expected_next(f, w);
	f->tracks_seen = 0;
	f->tracks_put = 0;
	for (size_t i = 0; i < f->track_count; i++)
		if (f->queues[i].count)
			f->tracks_put |= (uint8_t)(1u << i);
	f->open = true;
	f->open_ms = ms;
	f->open_bytes = 0;
	f->open_setup = w->setup;
	f->end_ms = ms;
	f->end_known = true;
	f->floor_ns = MAX(f->floor_ns, order_of(&w->frame));
	b->opens = true;
	b->head.timecode_ms = ms;
	b->head.setup = w->setup;
	b->head.tracks = f->tracks_expected;
}

static void write_block(struct fragmenter *f, const struct waiting *w,
			struct fragmenter_block *b)
{
	uint64_t ms = MAX(round_ms(w->frame.time_ns), f->open_ms);

	if (b->opens) {
		mkv_cluster_head(b->header, f->open_ms);
		b->header_bytes = MKV_CLUSTER_HEAD_BYTES;
	}
	mkv_block_head(b->header + b->header_bytes, w->frame.track + 1,
		       (int16_t)(ms - f->open_ms), w->frame.key,
		       w->frame.bytes);
	b->header_bytes += MKV_BLOCK_HEAD_BYTES;
	f->open_bytes += b->header_bytes + w->frame.bytes;
	f->tracks_seen |= (uint8_t)(1u << w->frame.track);
	f->end_ms = MAX(f->end_ms, ms);
}

bool fragmenter_next(struct fragmenter *f, uint64_t now_ns,
		     struct fragmenter_block *ret_block)
{
	struct fragmenter_block *b = ret_block;
	size_t track = earliest(f);
	struct queue *q;
	const struct waiting *w;

	if (track == f->track_count || now_ns < wait_over_ns(f, track))
		return false;
	q = &f->queues[track];
	w = head_of(q);
	memset(b, 0, offsetof(struct fragmenter_block, header));
	b->held = w->frame.held;
	b->track = w->frame.track;
	b->time_ns = w->frame.time_ns;
	if (!f->started) {
		b->drop = true; /* restarted: these belong to what is gone */
	} else if (!f->open || cut_is_due(f, w)) {
		open_fragment(f, w, b);
		write_block(f, w, b);
	} else if (!(f->tracks_expected >> track & 1)) {
		b->drop = true;
	} else {
		write_block(f, w, b);
	}
	q->first = (q->first + 1) % INTERLEAVE_FRAMES_MAX;
	q->count--;
	return true;
}

uint64_t fragmenter_deadline_ns(const struct fragmenter *f)
{
	size_t track = earliest(f);

	if (track < f->track_count)
		return wait_over_ns(f, track);
	return f->open ? f->newest_arrival_ns + FRAGMENT_IDLE_NS : UINT64_MAX;
}

bool fragmenter_idle(struct fragmenter *f, uint64_t now_ns)
{
	if (!f->open || earliest(f) < f->track_count ||
	    now_ns < f->newest_arrival_ns + FRAGMENT_IDLE_NS)
		return false;
	f->open = false;
	return true;
}
