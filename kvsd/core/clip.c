/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "proto/frame_index.h"
#include "proto/codec_check.h"
#include "proto/h264.h"
#include "proto/h265.h"
#include "proto/mkv_reader.h"
#include "proto/mp4.h"

#define CLIP_TRACKS_MAX 2u /* one of pictures, one of sound */
#define TIMESCALE_MS 1000u

struct clip_track {
	uint64_t number;
	enum media_codec codec;
	enum mp4_codec mp4_codec;
	uint8_t *codec_private;
	size_t codec_private_bytes;
	uint32_t width;
	uint32_t height;
	uint32_t rate_hz;
	uint16_t channels;
	struct mp4_sample *samples;
	int64_t *times_ns; /* presentation, clip's timeline */
	uint64_t *scratch; /* two per sample, at the end */
	size_t count;
	size_t size;
	uint64_t step_ns; /* between its last two frames */
};

struct clip {
	enum clip_error error; /* of the header being read */
	bool begun;	       /* tracks are known */
	uint64_t scale_ns;     /* of the fragment being added */
	uint32_t timescale;
	size_t track_count;
	struct clip_track tracks[CLIP_TRACKS_MAX];
	uint8_t *header; /* of the fragment before */
	size_t header_len;
	uint32_t fragments;
	int64_t offset_ns; /* document time -> producer time */
	int64_t shift_ns;  /* producer time -> clip */
	int64_t last_ns;   /* of the lead track, so far */
	int64_t end_ns;	   /* ... and its estimated end */
	struct clip_range *ranges;
	struct mp4_chunk *chunks;
	size_t range_count;
	size_t range_size;
	size_t chunk_count;
	size_t chunk_size;
};

struct clip *clip_new(void)
{
	return calloc(1, sizeof(struct clip));
}

struct clip *clip_free(struct clip *c)
{
	size_t i;

	if (!c)
		return NULL;
	for (i = 0; i < CLIP_TRACKS_MAX; i++) {
		free(c->tracks[i].codec_private);
		free(c->tracks[i].samples);
		free(c->tracks[i].times_ns);
		free(c->tracks[i].scratch);
	}
	free(c->header);
	free(c->ranges);
	free(c->chunks);
	free(c);
	return NULL;
}

/* --- tracks
 * ------------------------------------------------------------------------- */

static enum clip_error check_video(struct clip_track *t,
				   const struct mkv_track *track)
{
	struct h264_avcc avcc;
	struct h265_hvcc hvcc;
	const uint8_t *p = track->codec_private;
	size_t len = track->codec_private_bytes;

	if (!len)
		return CLIP_PRIVATE_MISSING;
	if (t->codec == CODEC_H264) {
		if (h264_parse_avcc(p, len, &avcc) < 0)
			return CLIP_PRIVATE_INVALID;
		t->mp4_codec = MP4_AVC1;
		t->width = avcc.info.width;
		t->height = avcc.info.height;
	} else {
		if (h265_parse_hvcc(p, len, &hvcc) < 0)
			return CLIP_PRIVATE_INVALID;
		t->mp4_codec = MP4_HVC1;
		t->width = hvcc.info.width;
		t->height = hvcc.info.height;
	}
	return CLIP_OK;
}

static enum clip_error check_audio(struct clip_track *t,
				   const struct mkv_track *track)
{
	t->rate_hz = track->rate_hz;
	t->channels = (uint16_t)track->channels;
	if (t->codec == CODEC_ALAW) {
		t->mp4_codec = MP4_ALAW;
		return CLIP_OK;
	}
	t->mp4_codec = MP4_MP4A;
	if (!track->codec_private_bytes)
		return CLIP_PRIVATE_MISSING;
	return codec_check(track) == CODEC_PLAYABLE ? CLIP_OK
						    : CLIP_PRIVATE_INVALID;
}

static enum clip_error make_track(struct clip_track *t,
				  const struct mkv_track *track)
{
	bool audio;
	enum clip_error e;

	t->number = track->number;
	t->codec = mkv_track_codec(track);
	audio = t->codec == CODEC_AAC || t->codec == CODEC_ALAW;
	if (track->encoded)
		return CLIP_UNSUPPORTED;
	e = audio ? check_audio(t, track) : check_video(t, track);
	/* G.711 is described by the sample entry alone. */
	if (e != CLIP_OK || t->codec == CODEC_ALAW)
		return e;
	t->codec_private = malloc(track->codec_private_bytes);
	if (!t->codec_private)
		return CLIP_NO_MEMORY;
	memcpy(t->codec_private, track->codec_private,
	       track->codec_private_bytes);
	t->codec_private_bytes = track->codec_private_bytes;
	return CLIP_OK;
}

static enum clip_error first_header(struct clip *c,
				    const struct mkv_document *doc)
{
	size_t i;

	if (!codec_clip_tracks(doc->tracks, doc->tracks_count))
		return CLIP_UNSUPPORTED;
	c->timescale = TIMESCALE_MS;
	if (NS_PER_S % doc->timecode_scale_ns == 0 &&
	    doc->timecode_scale_ns < NS_PER_MS)
		c->timescale = (uint32_t)(NS_PER_S / doc->timecode_scale_ns);
	c->track_count = MIN(doc->tracks_count, CLIP_TRACKS_MAX);
	for (i = 0; i < c->track_count; i++) {
		enum clip_error e = make_track(&c->tracks[i], &doc->tracks[i]);

		if (e != CLIP_OK)
			return e;
	}
	c->begun = true;
	return CLIP_OK;
}

static enum clip_error next_header(const struct clip *c,
				   const struct mkv_document *doc)
{
	size_t i;

	if (MIN(doc->tracks_count, CLIP_TRACKS_MAX) != c->track_count)
		return CLIP_TRACKS_CHANGED;
	for (i = 0; i < c->track_count; i++) {
		const struct clip_track *t = &c->tracks[i];
		const struct mkv_track *track = &doc->tracks[i];

		if (t->number != track->number ||
		    t->codec != mkv_track_codec(track))
			return CLIP_TRACKS_CHANGED;
		if (t->codec == CODEC_ALAW)
			continue;
		if (t->codec_private_bytes != track->codec_private_bytes ||
		    memcmp(t->codec_private, track->codec_private,
			   t->codec_private_bytes) != 0)
			return CLIP_PRIVATE_CHANGED;
	}
	return CLIP_OK;
}

static int on_document(void *ctx, const struct mkv_document *doc)
{
	struct clip *c = ctx;

	c->scale_ns = doc->timecode_scale_ns;
	c->error = c->begun ? next_header(c, doc) : first_header(c, doc);
	return c->error == CLIP_OK ? 0 : -ECANCELED;
}

static const struct mkv_reader_ops header_ops = {.document = on_document};

static enum clip_error read_header(struct clip *c, const uint8_t *header,
				   size_t len)
{
	/* A Cluster's id and unknown size: what ends a header. */
	static const uint8_t cluster[] = {0x1f, 0x43, 0xb6, 0x75, 0xff};
	struct mkv_reader reader;
	size_t used;
	bool known = c->header && c->header_len == len &&
		     memcmp(c->header, header, len) == 0;
	int r;

	if (known)
		return CLIP_OK;
	c->error = CLIP_BAD_FRAME;
	mkv_reader_init(&reader, &header_ops, c, 0);
	r = mkv_reader_feed(&reader, header, len, &used);
	if (r == 0)
		r = mkv_reader_feed(&reader, cluster, sizeof(cluster), &used);
	mkv_reader_fini(&reader);
	if (r < 0 || c->error != CLIP_OK)
		return c->error;
	free(c->header);
	c->header = malloc(len);
	if (!c->header)
		return CLIP_NO_MEMORY;
	memcpy(c->header, header, len);
	c->header_len = len;
	return CLIP_OK;
}

/* --- growing arrays
 * -------------------------------------------------------------------- */

/* Room for one more of @item bytes. Return: false: no memory. */
static bool grow(void **array, size_t *size, size_t count, size_t item)
{
	size_t more = *size ? *size * 2 : 256;
	void *p;

	if (count < *size)
		return true;
	p = realloc(*array, more * item);
	if (!p)
		return false;
	*array = p;
	*size = more;
	return true;
}

static bool track_grow(struct clip_track *t)
{
	void *samples = t->samples;
	void *times = t->times_ns;
	size_t size = t->size;
	size_t times_size = t->size;
	bool ok = grow(&samples, &size, t->count, sizeof(*t->samples));

	t->samples = samples;
	ok = ok && grow(&times, &times_size, t->count, sizeof(*t->times_ns));
	t->times_ns = times;
	if (ok)
		t->size = size;
	return ok;
}

/* --- frames
 * --------------------------------------------------------------------------- */

static struct clip_track *track_of(struct clip *c, uint32_t number,
				   uint32_t *ret_index)
{
	uint32_t i;

	for (i = 0; i < c->track_count; i++) {
		if (c->tracks[i].number == number) {
			*ret_index = i;
			return &c->tracks[i];
		}
	}
	return NULL;
}

static enum clip_error add_range(struct clip *c, uint32_t track,
				 const struct frame_entry *e)
{
	struct mp4_chunk *last;
	void *ranges = c->ranges;
	void *chunks = c->chunks;
	bool ok = grow(&ranges, &c->range_size, c->range_count,
		       sizeof(*c->ranges));

	c->ranges = ranges;
	ok = ok &&
	     grow(&chunks, &c->chunk_size, c->chunk_count, sizeof(*c->chunks));
	c->chunks = chunks;
	if (!ok || !c->chunks)
		return CLIP_NO_MEMORY;
	c->ranges[c->range_count++] = (struct clip_range){
		.fragment = c->fragments,
		.offset = (uint32_t)e->offset,
		.bytes = e->bytes,
	};
	last = c->chunk_count ? c->chunks + c->chunk_count - 1 : NULL;
	if (last && last->track == track)
		last->samples++;
	else
		c->chunks[c->chunk_count++] =
			(struct mp4_chunk){.track = track, .samples = 1};
	return CLIP_OK;
}

static enum clip_error add_frame(struct clip *c, const struct frame_entry *e,
				 uint64_t media_bytes)
{
	uint32_t index;
	struct clip_track *t = track_of(c, e->track, &index);
	int64_t at_ns = (int64_t)(e->timecode * c->scale_ns) + c->offset_ns +
			c->shift_ns;

	if (!t)
		return CLIP_OK; /* a third track: not in the clip */
	if (!e->bytes || e->offset + e->bytes > media_bytes)
		return CLIP_BAD_FRAME;
	if (c->range_count == CLIP_FRAMES_MAX)
		return CLIP_TOO_LONG;
	if (!track_grow(t))
		return CLIP_NO_MEMORY;
	if (t->count && at_ns > t->times_ns[t->count - 1])
		t->step_ns = (uint64_t)(at_ns - t->times_ns[t->count - 1]);
	t->times_ns[t->count] = at_ns;
	t->samples[t->count++] = (struct mp4_sample){
		.bytes = e->bytes,
		.key = e->key || index != 0,
	};
	return add_range(c, index, e);
}

/* First and last presentation time of the lead track, and its frames. */
struct lead {
	size_t count;
	int64_t opening_ns; /* the frame that came first */
	int64_t first_ns;
	int64_t last_ns;
};

static enum clip_error scan_lead(const struct clip *c, const uint8_t *frames,
				 size_t len, struct lead *ret_lead)
{
	struct lead lead = {.first_ns = INT64_MAX, .last_ns = INT64_MIN};
	struct frame_index_iter it;
	struct frame_entry e;
	int r;

	if (frame_index_open(&it, frames, len) < 0)
		return CLIP_BAD_FRAME;
	while ((r = frame_index_next(&it, &e)) > 0) {
		int64_t at_ns;

		if (e.track != c->tracks[0].number)
			continue;
		if (e.timecode > (uint64_t)INT64_MAX / 2 / c->scale_ns)
			return CLIP_BAD_FRAME;
		at_ns = (int64_t)(e.timecode * c->scale_ns);
		if (!lead.count++)
			lead.opening_ns = at_ns;
		lead.first_ns = MIN(lead.first_ns, at_ns);
		lead.last_ns = MAX(lead.last_ns, at_ns);
	}
	if (r < 0 || !lead.count)
		return CLIP_BAD_FRAME;
	*ret_lead = lead;
	return CLIP_OK;
}

/* Puts the fragment on the clip's timeline. */
static void place(struct clip *c, const struct store_fragment *row,
		  const struct lead *lead)
{
	const int64_t skew_ns = CLIP_SKEW_MS_MAX * (int64_t)NS_PER_MS;
	const int64_t gap_ns = CLIP_GAP_MS_MAX * (int64_t)NS_PER_MS;
	int64_t offset_ns =
		(int64_t)(row->producer_ms * NS_PER_MS) - lead->opening_ns;
	int64_t step_ns;
	int64_t start_ns;

	/* Within a session the document's times are exact: keep to them. */
	if (!c->fragments || llabs(offset_ns - c->offset_ns) > skew_ns)
		c->offset_ns = offset_ns;
	start_ns = lead->first_ns + c->offset_ns + c->shift_ns;
	/* A start between the two is jitter, not an overlap: moving it would
	 * add up over the clip. */
	if (c->fragments &&
	    (start_ns <= c->last_ns || start_ns > c->end_ns + gap_ns)) {
		c->shift_ns += c->end_ns - start_ns;
		start_ns = c->end_ns;
	}
	step_ns = lead->count > 1 ? (lead->last_ns - lead->first_ns) /
					    (int64_t)(lead->count - 1)
				  : (int64_t)c->tracks[0].step_ns;
	c->last_ns = start_ns + lead->last_ns - lead->first_ns;
	c->end_ns = c->last_ns + step_ns;
}

enum clip_error clip_add(struct clip *c, const struct store_fragment *row,
			 const uint8_t *header, size_t header_len,
			 const uint8_t *frames, size_t frames_len)
{
	struct frame_index_iter it;
	struct frame_entry e;
	struct lead lead;
	enum clip_error error = read_header(c, header, header_len);
	int r;

	if (error != CLIP_OK)
		return error;
	error = scan_lead(c, frames, frames_len, &lead);
	if (error != CLIP_OK)
		return error;
	if (row->producer_ms > (uint64_t)INT64_MAX / 4 / NS_PER_MS)
		return CLIP_BAD_FRAME;
	place(c, row, &lead);
	if (frame_index_open(&it, frames, frames_len) < 0)
		return CLIP_BAD_FRAME;
	while ((r = frame_index_next(&it, &e)) > 0) {
		error = add_frame(c, &e, row->media_bytes);
		if (error != CLIP_OK)
			return error;
	}
	c->fragments++;
	return r < 0 ? CLIP_BAD_FRAME : CLIP_OK;
}

/* --- the file
 * -------------------------------------------------------------------------- */

static uint64_t ticks(const struct clip *c, int64_t ns)
{
	uint64_t tick_ns = NS_PER_S / c->timescale;

	return ((uint64_t)ns + tick_ns / 2) / tick_ns;
}

static enum clip_error finish_track(struct clip *c, struct clip_track *t,
				    int64_t zero_ns, struct mp4_track *out)
{
	uint64_t *pts;
	uint64_t first = UINT64_MAX;
	uint64_t step;
	uint64_t delay;
	size_t i;

	t->scratch = calloc(t->count * 2, sizeof(*t->scratch));
	if (!t->scratch)
		return CLIP_NO_MEMORY;
	pts = t->scratch;
	for (i = 0; i < t->count; i++) {
		pts[i] = ticks(c, t->times_ns[i] - zero_ns);
		first = MIN(first, pts[i]);
	}
	step = MAX(ticks(c, (int64_t)t->step_ns), 1u);
	if (mp4_times_from_pts(pts, pts + t->count, t->count,
			       (uint32_t)MIN(step, c->timescale), t->samples,
			       &delay) < 0)
		return CLIP_BAD_FRAME;
	*out = (struct mp4_track){
		.codec = t->mp4_codec,
		.codec_private = t->codec_private,
		.codec_private_bytes = t->codec_private_bytes,
		.timescale = c->timescale,
		.width = t->width,
		.height = t->height,
		.rate_hz = t->rate_hz,
		.channels = t->channels,
		.samples = t->samples,
		.samples_count = t->count,
		.start_delay = first,
		.media_start = delay,
	};
	return CLIP_OK;
}

enum clip_error clip_finish(struct clip *c, struct buf *out,
			    uint64_t *ret_file_bytes)
{
	struct mp4_track tracks[CLIP_TRACKS_MAX];
	struct mp4_movie movie = {.timescale = c->timescale,
				  .tracks = tracks,
				  .chunks = c->chunks,
				  .chunks_count = c->chunk_count};
	int64_t zero_ns = INT64_MAX;
	size_t i;
	size_t k;
	int r;

	for (i = 0; i < c->track_count; i++) {
		if (!c->tracks[i].count)
			return CLIP_BAD_FRAME;
		for (k = 0; k < c->tracks[i].count; k++)
			zero_ns = MIN(zero_ns, c->tracks[i].times_ns[k]);
	}
	for (i = 0; i < c->track_count; i++) {
		enum clip_error e =
			finish_track(c, &c->tracks[i], zero_ns, &tracks[i]);

		if (e != CLIP_OK)
			return e;
	}
	movie.tracks_count = c->track_count;
	r = mp4_write_header(out, &movie, ret_file_bytes);
	if (r == -EINVAL)
		return CLIP_PRIVATE_INVALID;
	return r < 0 ? CLIP_NO_MEMORY : CLIP_OK;
}

const struct clip_range *clip_ranges(const struct clip *c, size_t *ret_count)
{
	*ret_count = c->range_count;
	return c->ranges;
}

size_t clip_unique(struct store_fragment *rows, size_t count)
{
	size_t kept = 0;
	size_t i;
	size_t k;

	for (i = 0; i < count; i++) {
		bool newest = true;

		for (k = 0; k < count && newest; k++)
			newest = rows[k].producer_ms != rows[i].producer_ms ||
				 fragment_number_compare(&rows[k].number,
							 &rows[i].number) <= 0;
		if (newest)
			rows[kept++] = rows[i];
	}
	return kept;
}
