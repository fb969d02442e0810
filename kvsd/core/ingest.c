/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ingest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/frame_probe.h"
#include "core/ingest_sink.h"
#include "core/media_out.h"
#include "proto/epoch.h"

#define NONE UINT32_MAX /* no fragment */
#define FRAME_NS_MAX (FRAGMENT_DURATION_MS_MAX * NS_PER_MS)

enum fragment_state {
	FRAGMENT_FREE = 0,
	FRAGMENT_OPEN,
	FRAGMENT_ENDED,
	FRAGMENT_CLOSING,
	FRAGMENT_COMMITTING,
};

/* Tags elements as they came, until it is known whose they are. */
struct tag_run {
	struct buf bytes;
	size_t whole;	    /* of @bytes: elements that are over */
	unsigned int count; /* of the producer's own tags */
	bool end_of_fragment;
	bool bad; /* over a limit, or a reserved name */
};

struct fragment {
	enum fragment_state state;
	struct ingest *in;
	unsigned int place;
	struct ingest_view view;
	struct ingest_sink sink;
	struct store_op op;
	struct store_fragment meta;
	struct tag_run tags; /* seen before the Cluster */
	bool timed;
	uint64_t timecode_ms; /* as sent */
	uint64_t media_bytes;
	bool lead_after;	 /* @lead_before_ms is of a fragment before */
	uint64_t lead_before_ms; /* latest frame of the lead track then */
	uint64_t first_ns;	 /* earliest frame, document time */
	uint64_t end_ns;	 /* latest end of a frame */
	struct {
		uint32_t frames;
		uint64_t last_ns;
		uint64_t step_ns; /* between its last two frames */
	} tracks[MKV_TRACKS_MAX];
};

enum session_state {
	SESSION_READING = 0,
	SESSION_FINISHING,
	SESSION_FAILED,
	SESSION_DROPPED,
};

struct ingest {
	struct ingest_config config;
	struct mkv_reader reader;
	enum session_state state;
	struct ingest_time at; /* of the call that is running */
	uint64_t start_ns;
	uint64_t last_byte_ns;
	uint64_t idle_ack_ns;	 /* next one */
	enum ack_error error;	 /* raised by a callback, not yet reported */
	struct mkv_document doc; /* tracks; header stays in the reader */
	bool in_document;
	unsigned int lead; /* index of the track whose order counts */
	bool any_before;   /* a fragment was timed in this session */
	uint64_t before_start_ms;
	uint64_t lead_last_ms; /* latest frame of the lead track */
	uint64_t base;	       /* reader offset of the current Cluster */
	uint32_t current;      /* open or ended fragment, or NONE */
	struct tag_run tags;   /* since the last Cluster */
	struct {
		unsigned int count;
		bool end_of_fragment;
		bool too_long;
	} tag; /* the one being read: metadata if its Targets allow */
	struct frame_probe probe;
	uint64_t block_offset; /* of the latest block */
	uint64_t block_end;    /* of its payload; 0 while it is open */
	bool block_simple;     /* its first byte was seen to say so */
	bool draining;	       /* no Cluster after this one */
	bool drained;	       /* ... and the reader was stopped for it */
	struct store_waiter waiter;
	bool waiting; /* @waiter is with the store */
	struct ingest_counts counts;
	struct fragment fragments[INGEST_FRAGMENTS_MAX];
};

/* --- acks and failure --- */

static void ack(struct ingest *in, enum ack_event event,
		const struct fragment *f, enum ack_error error)
{
	struct ack a = {.event = event, .error_id = error};

	if (in->state == SESSION_DROPPED)
		return;
	if (f) {
		a.has_timecode = f->timed;
		a.timecode_ms = f->timecode_ms;
		fragment_number_format(&f->view.number, a.fragment_number);
	}
	in->config.ops->ack(in->config.ctx, &a);
}

static void set_free(struct fragment *f)
{
	f->state = FRAGMENT_FREE;
	f->in->current = f->in->current == f->place ? NONE : f->in->current;
}

static void end_view(struct fragment *f, enum ingest_end how)
{
	f->in->config.ops->end(f->in->config.ctx, f->place, how);
}

/* Open or ended: it will not become whole. */
static void drop_fragment(struct fragment *f)
{
	ingest_sink_abort(&f->sink);
	end_view(f, INGEST_DROPPED);
	set_free(f);
}

static struct fragment *current(struct ingest *in)
{
	return in->current == NONE ? NULL : &in->fragments[in->current];
}

/* Ends the session with one ERROR ack that names @f. */
static void fail(struct ingest *in, const struct fragment *f,
		 enum ack_error error)
{
	struct fragment *open = current(in);

	if (in->state == SESSION_FAILED || in->state == SESSION_DROPPED)
		return;
	ack(in, ACK_ERROR, f, error);
	in->counts.error = error;
	in->state = SESSION_FAILED;
	if (open)
		drop_fragment(open);
}

/* In a reader callback: stops the reader; feed() reports. */
static int raise(struct ingest *in, enum ack_error error)
{
	in->error = error;
	return -ECANCELED;
}

/* --- the way out of a whole fragment --- */

static void committed(struct store_op *op, int res)
{
	struct fragment *f = container_of(op, struct fragment, op);
	struct ingest *in = f->in;

	if (res < 0) {
		end_view(f, INGEST_LOST);
		fail(in, f, ACK_ARCHIVAL_ERROR);
	} else {
		in->counts.persisted++;
		end_view(f, INGEST_COMMITTED);
		/* After an ERROR too: the device may forget these. */
		ack(in, ACK_PERSISTED, f, 0);
	}
	set_free(f);
	in->config.ops->progress(in->config.ctx);
}

static void set_meta(struct fragment *f)
{
	uint64_t span_ns = f->end_ns > f->first_ns ? f->end_ns - f->first_ns
						   : 0;

	f->meta = (struct store_fragment){
		.number = f->view.number,
		.producer_ms = f->view.producer_ms,
		.server_ms = f->view.server_ms,
		.duration_ms = (uint32_t)MIN(span_ns / NS_PER_MS, UINT32_MAX),
		.header_bytes = (uint32_t)f->view.header_bytes,
		.media_bytes = (uint32_t)f->media_bytes,
		.frames_bytes = (uint32_t)buf_len(&f->sink.frames),
	};
	memcpy(f->meta.stream_id, f->in->config.stream.id, STREAM_ID_BYTES);
}

/* A closing fragment goes on as far as the store takes it. */
static void push_closing(struct fragment *f)
{
	struct ingest *in = f->in;
	int r = ingest_sink_flush(&f->sink, true);

	if (r == 0)
		return;
	if (r < 0) {
		ingest_sink_abort(&f->sink);
		end_view(f, INGEST_LOST);
		fail(in, f, ACK_ARCHIVAL_ERROR);
		set_free(f);
		return;
	}
	f->state = FRAGMENT_COMMITTING;
	f->op.done = committed;
	ingest_sink_commit(&f->sink, &f->meta, &f->op);
}

/* Media bytes of @f: to the store, to live readers. */
static int add_media(struct fragment *f, const uint8_t *bytes, size_t len)
{
	struct ingest *in = f->in;
	int r;

	if (!len)
		return 0;
	f->media_bytes += len;
	if (f->media_bytes > FRAGMENT_BYTES_MAX)
		return raise(in, ACK_MAX_FRAGMENT_SIZE_REACHED);
	in->config.ops->bytes(in->config.ctx, f->place, bytes, len);
	r = ingest_sink_add(&f->sink, bytes, len);
	if (r < 0)
		return raise(in, r == -ENOMEM ? ACK_INTERNAL_ERROR
					      : ACK_ARCHIVAL_ERROR);
	return 0;
}

static void tag_run_reset(struct tag_run *t)
{
	buf_reset(&t->bytes);
	t->whole = 0;
	t->count = 0;
	t->end_of_fragment = false;
	t->bad = false;
}

/*
 * Nothing can join the ended fragment any more.
 * @late: the tags after it are its own
 * Return: 0 or, in a callback, what stops the reader.
 */
static int close_ended(struct ingest *in, bool late)
{
	struct fragment *f = current(in);
	int r;

	if (late && (in->tags.bad ||
		     in->tags.count + f->tags.count > FRAGMENT_TAGS_MAX))
		return raise(in, ACK_FRAGMENT_METADATA_LIMIT_REACHED);
	r = add_media(f, buf_head(&f->tags.bytes), buf_len(&f->tags.bytes));
	if (!r && late) {
		/* A session may be stopped in the middle of an element. */
		r = add_media(f, buf_head(&in->tags.bytes), in->tags.whole);
		tag_run_reset(&in->tags);
	}
	if (r < 0)
		return r;
	set_meta(f);
	in->current = NONE;
	in->counts.fragments++;
	end_view(f, INGEST_WHOLE);
	ack(in, ACK_RECEIVED, f, 0);
	if (!in->config.store) {
		set_free(f);
		return 0;
	}
	f->state = FRAGMENT_CLOSING;
	push_closing(f);
	return in->state == SESSION_FAILED ? -ECANCELED : 0;
}

/* --- reader events --- */

static int on_document(void *ctx, const struct mkv_document *doc)
{
	struct ingest *in = ctx;
	unsigned int i;

	in->doc = *doc;
	media_out_open_segment(buf_head(&in->reader.header),
			       buf_len(&in->reader.header));
	in->in_document = true;
	in->lead = 0;
	for (i = 0; i < doc->tracks_count; i++) {
		if (doc->tracks[i].type != MKV_TRACK_VIDEO)
			continue;
		in->lead = i;
		break;
	}
	if (in->config.ops->document)
		in->config.ops->document(in->config.ctx, doc);
	return 0;
}

static unsigned int free_places(const struct ingest *in)
{
	unsigned int i;
	unsigned int count = 0;

	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++)
		count += in->fragments[i].state == FRAGMENT_FREE;
	return count;
}

static struct fragment *take_place(struct ingest *in)
{
	unsigned int i;

	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++) {
		if (in->fragments[i].state == FRAGMENT_FREE)
			return &in->fragments[i];
	}
	return NULL;
}

static void open_fragment(struct ingest *in, struct fragment *f, uint64_t size)
{
	const struct ingest_ops *ops = in->config.ops;
	struct tag_run empty = f->tags;

	f->state = FRAGMENT_OPEN;
	f->view = (struct ingest_view){
		.number = {.seq = ops->next_seq(in->config.ctx),
			   .server_ms = in->at.wall_ms,
			   .random = ops->random(in->config.ctx)},
		.server_ms = in->at.wall_ms,
		.unknown_size = size == UINT64_MAX,
		.header = in->doc.header,
		.header_bytes = in->doc.header_bytes,
	};
	/* The buffers change hands, so that neither is allocated again. */
	f->tags = in->tags;
	in->tags = empty;
	tag_run_reset(&in->tags);
	f->timed = false;
	f->media_bytes = 0;
	f->first_ns = UINT64_MAX;
	f->end_ns = 0;
	memset(f->tracks, 0, sizeof(f->tracks));
	in->current = f->place;
	ingest_sink_begin(&f->sink, &f->view.number, f->view.header,
			  f->view.header_bytes);
	ops->begin(in->config.ctx, f->place, &f->view);
}

static int on_cluster_begin(void *ctx, uint64_t offset, uint64_t size)
{
	struct ingest *in = ctx;
	struct fragment *f;
	int r;

	if (current(in)) {
		r = close_ended(in, false);
		if (r < 0)
			return r;
	}
	if (in->draining) {
		in->drained = true;
		return -ECANCELED;
	}
	f = take_place(in);
	/* feed() leaves one free, and a Cluster that takes it pauses. */
	assert(f);
	in->base = offset;
	in->block_offset = offset;
	in->block_end = 0;
	open_fragment(in, f, size);
	return free_places(in) == 0;
}

static int on_cluster_timecode(void *ctx, uint64_t timecode, uint64_t time_ns)
{
	struct ingest *in = ctx;
	struct fragment *f = current(in);
	uint64_t start_ms = in->config.relative ? in->config.producer_start_ms
						: 0;

	(void)timecode;
	f->timed = true;
	f->timecode_ms = time_ns / NS_PER_MS;
	if (in->any_before && f->timecode_ms <= in->before_start_ms)
		return raise(in, ACK_FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS);
	if (f->timecode_ms > EPOCH_S_MAX * 1000 - start_ms)
		return raise(in, ACK_INVALID_PRODUCER_TIMESTAMP);
	if (f->tags.bad || f->tags.count > FRAGMENT_TAGS_MAX)
		return raise(in, ACK_FRAGMENT_METADATA_LIMIT_REACHED);
	f->view.producer_ms = start_ms + f->timecode_ms;
	f->lead_before_ms = in->lead_last_ms;
	f->lead_after = in->any_before;
	in->any_before = true;
	in->before_start_ms = f->timecode_ms;
	in->config.ops->timed(in->config.ctx, f->place, &f->view);
	ack(in, ACK_BUFFERING, f, 0);
	return 0;
}

static int on_frame_begin(void *ctx, const struct mkv_frame *frame)
{
	struct ingest *in = ctx;

	if (frame->block_offset != in->block_offset)
		in->block_simple = false;
	in->block_offset = frame->block_offset;
	in->block_end = 0;
	frame_probe_begin(&in->probe);
	return 0;
}

static int on_frame_payload(void *ctx, const uint8_t *bytes, size_t len)
{
	struct ingest *in = ctx;

	frame_probe_add(&in->probe, bytes, len);
	return 0;
}

/* Lengths and order of the fragment as far as this frame tells. */
static void note_times(struct ingest *in, struct fragment *f,
		       const struct mkv_frame *frame, uint64_t duration_ns)
{
	unsigned int t = frame->track_index;
	uint64_t last_ns = f->tracks[t].last_ns;
	uint64_t length_ns = duration_ns;

	if (f->tracks[t].frames && frame->time_ns > last_ns)
		f->tracks[t].step_ns = frame->time_ns - last_ns;
	if (!length_ns)
		length_ns = f->tracks[t].step_ns;
	f->tracks[t].frames++;
	f->tracks[t].last_ns = MAX(last_ns, frame->time_ns);
	f->first_ns = MIN(f->first_ns, frame->time_ns);
	f->end_ns = MAX(f->end_ns, frame->time_ns + length_ns);
	if (t == in->lead)
		in->lead_last_ms =
			MAX(in->lead_last_ms, frame->time_ns / NS_PER_MS);
	in->counts.frames++;
}

static uint64_t ticks_ns(const struct ingest *in, uint64_t ticks)
{
	uint64_t scale_ns = in->doc.timecode_scale_ns;

	return ticks > UINT64_MAX / scale_ns ? UINT64_MAX : ticks * scale_ns;
}

/*
 * A fragment has to start after the last frame of the one before. A Cluster's
 * timecode alone does not tell: muxers begin one with the sound that precedes
 * its key frame, and reordered pictures end later than they are stored. The
 * key frame that opens the lead track tells.
 */
static bool overlaps(const struct ingest *in, const struct fragment *f,
		     const struct mkv_frame *frame)
{
	return f->lead_after && frame->track_index == in->lead && frame->key &&
	       !f->tracks[in->lead].frames &&
	       frame->time_ns / NS_PER_MS <= f->lead_before_ms;
}

static int on_frame_end(void *ctx, const struct mkv_frame *frame)
{
	struct ingest *in = ctx;
	struct fragment *f = current(in);
	const struct mkv_track *track = &in->doc.tracks[frame->track_index];
	uint64_t start_ns = f->timecode_ms * NS_PER_MS;
	struct frame_entry e = {
		.track = (uint32_t)frame->track,
		.key = frame->key,
		.offset = frame->payload_offset - in->base,
		.bytes = frame->payload_bytes,
		.timecode = frame->timecode,
		.duration = frame->duration_ticks,
	};
	uint64_t duration_ns = frame->duration_ticks
				       ? ticks_ns(in, frame->duration_ticks)
				       : track->default_duration_ns;

	if (frame->lace_index == 0)
		e.head_bytes =
			(uint32_t)(frame->payload_offset - frame->block_offset);
	if (frame->time_ns > start_ns &&
	    frame->time_ns - start_ns > FRAME_NS_MAX)
		return raise(in, ACK_MAX_FRAGMENT_DURATION_REACHED);
	if (overlaps(in, f, frame))
		return raise(in, ACK_FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS);
	e.has_time = frame_probe_time(&in->probe, track, &e.time_ns);
	if (frame_index_add(&f->sink.index, &e) < 0)
		return raise(in, ACK_MAX_FRAGMENT_SIZE_REACHED);
	note_times(in, f, frame, MIN(duration_ns, FRAME_NS_MAX));
	if (frame->lace_index + 1 == frame->lace_count)
		in->block_end = frame->payload_offset + frame->payload_bytes;
	return 0;
}

static int on_cluster_end(void *ctx, uint64_t offset)
{
	struct ingest *in = ctx;
	struct fragment *f = current(in);
	unsigned int i;

	if (!f->timed)
		return raise(in, ACK_INVALID_MKV_DATA);
	for (i = 0; i < in->doc.tracks_count; i++) {
		if (!f->tracks[i].frames)
			return raise(in, ACK_FRAMES_MISSING_FOR_TRACK);
	}
	f->state = FRAGMENT_ENDED;
	in->block_offset = offset;
	in->block_end = 0;
	return 0;
}

static int on_tag(void *ctx, const struct mkv_tag_event *tag)
{
	struct ingest *in = ctx;

	if (tag->in_header)
		return 0;
	switch (media_tag_kind(&tag->tag, tag->name_bytes, tag->value_bytes)) {
	case MEDIA_TAG_USER:
		in->tag.count++;
		break;
	case MEDIA_TAG_END_OF_FRAGMENT:
		in->tag.end_of_fragment = true;
		break;
	case MEDIA_TAG_RESERVED:
		break;
	case MEDIA_TAG_FORGED:
		/* Readers look at the name, not at Targets. */
		in->tags.bad = true;
		break;
	case MEDIA_TAG_TOO_LONG:
		in->tag.too_long = true;
		break;
	}
	return 0;
}

static int on_tag_end(void *ctx, bool targeted)
{
	struct ingest *in = ctx;

	if (!targeted) {
		in->tags.count += in->tag.count;
		in->tags.end_of_fragment |= in->tag.end_of_fragment;
		in->tags.bad |= in->tag.too_long;
	}
	memset(&in->tag, 0, sizeof(in->tag));
	return 0;
}

static int on_tags_end(void *ctx, uint64_t offset)
{
	struct ingest *in = ctx;
	struct fragment *f = current(in);

	(void)offset;
	in->tags.whole = buf_len(&in->tags.bytes);
	if (f && f->state == FRAGMENT_ENDED && in->tags.end_of_fragment)
		return close_ended(in, true);
	return 0;
}

static int on_bytes(void *ctx, enum mkv_region region, uint64_t offset,
		    const uint8_t *bytes, size_t len)
{
	struct ingest *in = ctx;
	int r;

	switch (region) {
	case MKV_REGION_HEADER:
	case MKV_REGION_OTHER:
		return 0;
	case MKV_REGION_TAGS:
		if (!in->in_document)
			return 0;
		if (buf_add(&in->tags.bytes, bytes, len) < 0)
			in->tags.bad = true;
		return 0;
	case MKV_REGION_CLUSTER:
		break;
	}
	if (in->block_offset >= offset && in->block_offset - offset < len)
		in->block_simple = bytes[in->block_offset - offset] ==
				   MKV_ID_SIMPLE_BLOCK;
	r = add_media(current(in), bytes, len);
	if (r < 0)
		return r;
	/* What the store did not take is kept: stop reading. */
	return ingest_sink_behind(&current(in)->sink);
}

static const struct mkv_reader_ops reader_ops = {
	.bytes = on_bytes,
	.document = on_document,
	.cluster_begin = on_cluster_begin,
	.cluster_timecode = on_cluster_timecode,
	.frame_begin = on_frame_begin,
	.frame_payload = on_frame_payload,
	.frame_end = on_frame_end,
	.cluster_end = on_cluster_end,
	.tag = on_tag,
	.tag_end = on_tag_end,
	.tags_end = on_tags_end,
};

/* --- the session --- */

static enum ack_error reader_error(const struct ingest *in)
{
	if (in->error)
		return in->error;
	switch (in->reader.error) {
	case MKV_ERR_TOO_MANY_TRACKS:
		return ACK_MORE_THAN_ALLOWED_TRACKS_FOUND;
	case MKV_ERR_UNDECLARED_TRACK:
		return ACK_TRACK_NUMBER_MISMATCH;
	case MKV_ERR_CLUSTER_TIME:
		return ACK_INVALID_PRODUCER_TIMESTAMP;
	case MKV_ERR_NO_MEMORY:
		return ACK_INTERNAL_ERROR;
	default:
		return ACK_INVALID_MKV_DATA;
	}
}

/* Bytes that the store had no room for. */
static bool behind(const struct ingest *in)
{
	unsigned int i;

	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++) {
		const struct fragment *f = &in->fragments[i];

		if (f->state == FRAGMENT_CLOSING ||
		    (f->state != FRAGMENT_FREE && ingest_sink_behind(&f->sink)))
			return true;
	}
	return false;
}

/* Hands over what waits and, if that is not all, asks to be told. */
static void push(struct ingest *in)
{
	struct fragment *f;
	unsigned int i;

	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++) {
		if (in->fragments[i].state == FRAGMENT_CLOSING)
			push_closing(&in->fragments[i]);
	}
	f = current(in);
	if (f && ingest_sink_behind(&f->sink) &&
	    ingest_sink_flush(&f->sink, false) < 0)
		fail(in, f, ACK_ARCHIVAL_ERROR);
	if (in->waiting || !behind(in))
		return;
	in->waiting = true;
	store_wait(in->config.store, &in->waiter);
}

/* The reader stopped for good. A Cluster that was over by then stays. */
static void reader_failed(struct ingest *in)
{
	enum ack_error error = reader_error(in);
	struct fragment *f = current(in);

	if (!in->error && f && f->state == FRAGMENT_ENDED)
		(void)close_ended(in, false); /* the session fails anyway */
	fail(in, current(in), error);
	push(in);
}

static void writable(struct store_waiter *w)
{
	struct ingest *in = container_of(w, struct ingest, waiter);

	in->waiting = false;
	push(in);
	in->config.ops->progress(in->config.ctx);
}

static void tell_boundary(struct ingest *in)
{
	const struct fragment *f = current(in);
	uint64_t whole = in->block_end && in->block_simple ? in->block_end
							   : in->block_offset;

	if (f && f->timed && whole > in->base)
		in->config.ops->boundary(in->config.ctx, f->place,
					 whole - in->base);
}

size_t ingest_feed(struct ingest *in, struct ingest_time at,
		   const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	in->at = at;
	if (len) {
		in->last_byte_ns = at.now_ns;
		in->idle_ack_ns = at.now_ns + INGEST_IDLE_ACK_NS;
	}
	push(in);
	while (done < len && in->state == SESSION_READING &&
	       !ingest_blocked(in)) {
		size_t n = MIN(len - done, INGEST_SLICE_BYTES);
		size_t used = 0;

		if (mkv_reader_feed(&in->reader, bytes + done, n, &used) < 0) {
			if (!in->drained) {
				reader_failed(in);
				break;
			}
			in->state = SESSION_FINISHING;
		}
		done += used;
		in->counts.bytes += used;
		tell_boundary(in);
		if (in->draining && !current(in) &&
		    in->state == SESSION_READING)
			in->state = SESSION_FINISHING;
		push(in);
	}
	return in->state == SESSION_READING ? done : len;
}

void ingest_finish(struct ingest *in, struct ingest_time at)
{
	struct fragment *f;

	if (in->state != SESSION_READING)
		return;
	in->at = at;
	if (mkv_reader_finish(&in->reader) < 0) {
		reader_failed(in);
		return;
	}
	f = current(in);
	if (f && close_ended(in, true) < 0) {
		reader_failed(in);
		return;
	}
	if (in->state == SESSION_READING)
		in->state = SESSION_FINISHING;
	push(in);
}

void ingest_fail(struct ingest *in, enum ack_error error)
{
	/* Nor after an orderly end, while its fragments are being stored. */
	if (in->state != SESSION_READING)
		return;
	fail(in, current(in), error);
	push(in);
}

void ingest_drop(struct ingest *in)
{
	struct fragment *f = current(in);

	in->state = SESSION_DROPPED;
	if (f)
		drop_fragment(f);
	push(in);
}

void ingest_stop(struct ingest *in, struct ingest_time at)
{
	struct fragment *f = current(in);

	if (in->state != SESSION_READING)
		return;
	in->at = at;
	if (f && f->state == FRAGMENT_OPEN)
		drop_fragment(f);
	else if (f && close_ended(in, true) < 0)
		reader_failed(in);
	if (in->state == SESSION_READING)
		in->state = SESSION_FINISHING;
	push(in);
}

void ingest_drain(struct ingest *in, struct ingest_time at)
{
	const struct fragment *f = current(in);

	if (f && f->state == FRAGMENT_OPEN)
		in->draining = true;
	else
		ingest_stop(in, at);
}

void ingest_tick(struct ingest *in, struct ingest_time at)
{
	in->at = at;
	push(in);
	if (in->state != SESSION_READING)
		return;
	if (at.now_ns >= in->start_ns + in->config.duration_ns_max) {
		fail(in, current(in), ACK_MAX_CONNECTION_DURATION_REACHED);
		return;
	}
	/* Bytes may wait here for the store: that is not the device's
	 * silence. */
	if (ingest_blocked(in)) {
		in->last_byte_ns = at.now_ns;
		in->idle_ack_ns = at.now_ns + INGEST_IDLE_ACK_NS;
		return;
	}
	if (at.now_ns >= in->last_byte_ns + PUT_MEDIA_IDLE_NS_MAX) {
		ingest_stop(in, at);
		return;
	}
	if (at.now_ns >= in->idle_ack_ns) {
		ack(in, ACK_IDLE, NULL, 0);
		in->idle_ack_ns = at.now_ns + INGEST_IDLE_ACK_NS;
	}
}

uint64_t ingest_deadline_ns(const struct ingest *in)
{
	uint64_t at = in->start_ns + in->config.duration_ns_max;

	if (in->state != SESSION_READING)
		return UINT64_MAX;
	at = MIN(at, in->last_byte_ns + PUT_MEDIA_IDLE_NS_MAX);
	return MIN(at, in->idle_ack_ns);
}

bool ingest_blocked(const struct ingest *in)
{
	return in->state == SESSION_READING &&
	       (behind(in) || free_places(in) == 0);
}

bool ingest_over(const struct ingest *in)
{
	return in->state != SESSION_READING &&
	       free_places(in) == INGEST_FRAGMENTS_MAX;
}

bool ingest_ended(const struct ingest *in)
{
	return in->state != SESSION_READING;
}

bool ingest_under_way(const struct ingest *in)
{
	return free_places(in) < INGEST_FRAGMENTS_MAX;
}

bool ingest_failed(const struct ingest *in)
{
	return in->state == SESSION_FAILED;
}

uint64_t ingest_last_byte_ns(const struct ingest *in)
{
	return in->last_byte_ns;
}

struct ingest_counts ingest_counts(const struct ingest *in)
{
	return in->counts;
}

int ingest_new(const struct ingest_config *config, struct ingest_time at,
	       struct ingest **ret_ingest)
{
	struct ingest *in = calloc(1, sizeof(*in));
	unsigned int i;

	if (!in)
		return -ENOMEM;
	in->config = *config;
	if (!config->duration_ns_max)
		in->config.duration_ns_max = PUT_MEDIA_DURATION_NS_MAX;
	in->at = at;
	in->start_ns = at.now_ns;
	in->last_byte_ns = at.now_ns;
	in->idle_ack_ns = at.now_ns + INGEST_IDLE_ACK_NS;
	in->current = NONE;
	buf_init(&in->tags.bytes, INGEST_TAGS_BYTES_MAX);
	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++) {
		struct fragment *f = &in->fragments[i];

		f->in = in;
		f->place = i;
		buf_init(&f->tags.bytes, INGEST_TAGS_BYTES_MAX);
		ingest_sink_init(&f->sink, config->store, &in->config.stream);
	}
	in->waiter.writable = writable;
	list_init(&in->waiter.link);
	mkv_reader_init(&in->reader, &reader_ops, in, 0);
	*ret_ingest = in;
	return 0;
}

struct ingest *ingest_free(struct ingest *in)
{
	unsigned int i;

	if (!in)
		return NULL;
	for (i = 0; i < INGEST_FRAGMENTS_MAX; i++) {
		assert(in->fragments[i].state == FRAGMENT_FREE);
		buf_fini(&in->fragments[i].tags.bytes);
		ingest_sink_fini(&in->fragments[i].sink);
	}
	list_del(&in->waiter.link);
	buf_fini(&in->tags.bytes);
	mkv_reader_fini(&in->reader);
	memset(&in->config.stream, 0, sizeof(in->config.stream));
	free(in);
	return NULL;
}
