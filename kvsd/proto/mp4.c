/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mp4.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/put.h"

#define TKHD_ENABLED_IN_MOVIE 3u
#define DREF_SELF_CONTAINED 1u
#define ASC_BYTES_MAX 1024u /* keeps every descriptor length below 2^14 */

/* What is worked out once per track. */
struct track_plan {
	const struct mp4_track *t;
	uint32_t id;
	uint64_t ticks;	      /* of all samples */
	uint64_t movie_ticks; /* the same in movie time */
	bool reordered;	      /* a cts offset is not zero */
	bool backward;	      /* a cts offset is negative */
	bool all_keys;
	bool same_bytes;
	size_t chunks;
	size_t offsets_at; /* of the chunk offset table in what was put */
	size_t next_sample;
	size_t next_chunk;
};

struct movie_plan {
	const struct mp4_movie *m;
	struct track_plan tracks[MP4_TRACKS_MAX];
	uint64_t media_bytes;
	bool wide; /* chunk offsets of 64 bits */
};

static size_t box_begin(struct put *p, const char *type)
{
	size_t at = put_len(p);

	put_be32(p, 0);
	put_bytes(p, type, 4);
	return at;
}

static size_t full_box_begin(struct put *p, const char *type, uint8_t version,
			     uint32_t flags)
{
	size_t at = box_begin(p, type);

	put_be32(p, (uint32_t)version << 24 | flags);
	return at;
}

static void box_end(struct put *p, size_t at)
{
	if (!p->error)
		store_be32(put_at(p, at), (uint32_t)(put_len(p) - at));
}

static void put_zeros(struct put *p, size_t len)
{
	static const uint8_t zeros[36];

	assert(len <= sizeof(zeros));
	put_bytes(p, zeros, len);
}

/* A count that is known only after the rows behind it. */
static size_t count_begin(struct put *p)
{
	put_be32(p, 0);
	return put_len(p);
}

static void count_end(struct put *p, size_t rows_at, uint32_t count)
{
	if (!p->error)
		store_be32(put_at(p, rows_at - 4), count);
}

static void put_time(struct put *p, uint8_t version, uint64_t v)
{
	if (version)
		put_be64(p, v);
	else
		put_be32(p, (uint32_t)v);
}

static bool is_video(const struct mp4_track *t)
{
	return t->codec == MP4_AVC1 || t->codec == MP4_HVC1;
}

/* --- planning -------------------------------------------------------------- */

static bool track_valid(const struct mp4_track *t)
{
	if (!t->timescale || !t->samples_count ||
	    t->samples_count > MP4_SAMPLES_MAX)
		return false;
	if (is_video(t))
		return t->width && t->height && t->width <= UINT16_MAX &&
		       t->height <= UINT16_MAX && t->codec_private_bytes &&
		       t->codec_private_bytes <= MKV_CODEC_PRIVATE_BYTES_MAX;
	if (!t->rate_hz || !t->channels)
		return false;
	return t->codec != MP4_MP4A ||
	       (t->codec_private_bytes &&
		t->codec_private_bytes <= ASC_BYTES_MAX);
}

static int plan_track(struct track_plan *plan, const struct mp4_movie *m,
		      const struct mp4_track *t)
{
	size_t i;

	if (!track_valid(t))
		return -EINVAL;
	plan->t = t;
	plan->all_keys = true;
	plan->same_bytes = true;
	for (i = 0; i < t->samples_count; i++) {
		plan->ticks += t->samples[i].duration;
		plan->reordered |= t->samples[i].cts_offset != 0;
		plan->backward |= t->samples[i].cts_offset < 0;
		plan->all_keys &= t->samples[i].key;
		plan->same_bytes &= t->samples[i].bytes == t->samples[0].bytes;
	}
	/* At most 2^22 samples of 2^32 ticks, times 2^32: split the division. */
	if (plan->ticks / t->timescale > INT32_MAX ||
	    t->start_delay > UINT64_MAX / 4 || t->media_start > INT64_MAX)
		return -EINVAL;
	plan->movie_ticks =
		plan->ticks / t->timescale * m->timescale +
		plan->ticks % t->timescale * m->timescale / t->timescale;
	return 0;
}

/* Checks that the chunks use up all samples, and adds the bytes up. */
static int plan_chunks(struct movie_plan *plan)
{
	const struct mp4_movie *m = plan->m;
	const struct mp4_track *t;
	struct track_plan *tp;
	size_t i;
	uint32_t k;

	for (i = 0; i < m->chunks_count; i++) {
		if (m->chunks[i].track >= m->tracks_count)
			return -EINVAL;
		tp = &plan->tracks[m->chunks[i].track];
		t = &m->tracks[m->chunks[i].track];
		if (!m->chunks[i].samples ||
		    m->chunks[i].samples > t->samples_count - tp->next_sample)
			return -EINVAL;
		for (k = 0; k < m->chunks[i].samples; k++)
			plan->media_bytes +=
				t->samples[tp->next_sample++].bytes;
		tp->chunks++;
	}
	for (i = 0; i < m->tracks_count; i++) {
		tp = &plan->tracks[i];
		if (tp->next_sample != m->tracks[i].samples_count)
			return -EINVAL;
		tp->next_sample = 0;
	}
	plan->wide = plan->media_bytes > UINT32_MAX - MP4_HEADER_BYTES_MAX;
	return 0;
}

static int plan_movie(struct movie_plan *plan, const struct mp4_movie *m)
{
	size_t i;
	int ret;

	if (!m->timescale || !m->tracks_count ||
	    m->tracks_count > MP4_TRACKS_MAX)
		return -EINVAL;
	*plan = (struct movie_plan){.m = m};
	for (i = 0; i < m->tracks_count; i++) {
		plan->tracks[i].id = (uint32_t)i + 1;
		ret = plan_track(&plan->tracks[i], m, &m->tracks[i]);
		if (ret)
			return ret;
	}
	return plan_chunks(plan);
}

/* --- sample descriptions --------------------------------------------------- */

static void put_visual_entry(struct put *p, const struct mp4_track *t)
{
	size_t entry = box_begin(p, t->codec == MP4_AVC1 ? "avc1" : "hvc1");
	size_t config;

	put_zeros(p, 6);
	put_be16(p, 1); /* data_reference_index */
	put_zeros(p, 16);
	put_be16(p, (uint16_t)t->width);
	put_be16(p, (uint16_t)t->height);
	put_be32(p, 0x00480000); /* 72 dpi */
	put_be32(p, 0x00480000);
	put_be32(p, 0);
	put_be16(p, 1);	  /* frame_count */
	put_zeros(p, 32); /* compressorname */
	put_be16(p, 24);  /* depth */
	put_be16(p, 0xffff);
	config = box_begin(p, t->codec == MP4_AVC1 ? "avcC" : "hvcC");
	put_bytes(p, t->codec_private, t->codec_private_bytes);
	box_end(p, config);
	box_end(p, entry);
}

/* Tag and length of an MPEG-4 descriptor; the length in two bytes. */
static void put_descriptor(struct put *p, uint8_t tag, size_t len)
{
	put_u8(p, tag);
	put_u8(p, (uint8_t)(0x80 | len >> 7));
	put_u8(p, len & 0x7f);
}

/* ISO/IEC 14496-1 7.2.6 */
static void put_esds(struct put *p, const struct mp4_track *t)
{
	size_t box = full_box_begin(p, "esds", 0, 0);
	size_t asc = t->codec_private_bytes;

	put_descriptor(p, 3, 3 + 3 + 13 + 3 + asc + 3 + 1);
	put_be16(p, 0); /* ES_ID */
	put_u8(p, 0);
	put_descriptor(p, 4, 13 + 3 + asc);
	put_u8(p, 0x40);	 /* MPEG-4 audio */
	put_u8(p, 0x15);	 /* audio stream */
	put_zeros(p, 3 + 4 + 4); /* buffer size and bit rates: not known */
	put_descriptor(p, 5, asc);
	put_bytes(p, t->codec_private, asc);
	put_descriptor(p, 6, 1);
	put_u8(p, 2); /* SLConfig: as MP4 has it */
	box_end(p, box);
}

static void put_audio_entry(struct put *p, const struct mp4_track *t)
{
	size_t entry = box_begin(p, t->codec == MP4_MP4A   ? "mp4a"
				    : t->codec == MP4_ALAW ? "alaw"
							   : "ulaw");

	put_zeros(p, 6);
	put_be16(p, 1); /* data_reference_index */
	put_zeros(p, 8);
	put_be16(p, t->channels);
	put_be16(p, 16); /* bits per sample, decoded */
	put_be32(p, 0);
	/* 16.16; a rate that does not fit is in the codec private. */
	put_be32(p, t->rate_hz <= UINT16_MAX ? t->rate_hz << 16 : 0);
	if (t->codec == MP4_MP4A)
		put_esds(p, t);
	box_end(p, entry);
}

static void put_stsd(struct put *p, const struct mp4_track *t)
{
	size_t box = full_box_begin(p, "stsd", 0, 0);

	put_be32(p, 1);
	if (is_video(t))
		put_visual_entry(p, t);
	else
		put_audio_entry(p, t);
	box_end(p, box);
}

/* --- sample tables --------------------------------------------------------- */

/* Rows of {run length, value}: one field of the samples. */
static void put_runs(struct put *p, const struct mp4_track *t,
		     uint32_t (*field)(const struct mp4_sample *s))
{
	size_t rows = count_begin(p);
	uint32_t count = 0;
	size_t begin = 0;
	size_t i;

	for (i = 1; i <= t->samples_count; i++) {
		if (i < t->samples_count &&
		    field(&t->samples[i]) == field(&t->samples[begin]))
			continue;
		put_be32(p, (uint32_t)(i - begin));
		put_be32(p, field(&t->samples[begin]));
		begin = i;
		count++;
	}
	count_end(p, rows, count);
}

static uint32_t field_duration(const struct mp4_sample *s)
{
	return s->duration;
}

static uint32_t field_cts(const struct mp4_sample *s)
{
	return (uint32_t)s->cts_offset;
}

static void put_stss(struct put *p, const struct mp4_track *t)
{
	size_t box = full_box_begin(p, "stss", 0, 0);
	size_t rows = count_begin(p);
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < t->samples_count; i++) {
		if (!t->samples[i].key)
			continue;
		put_be32(p, (uint32_t)i + 1);
		count++;
	}
	count_end(p, rows, count);
	box_end(p, box);
}

/* Rows of {first chunk, samples per chunk, description}. */
static void put_stsc(struct put *p, const struct mp4_movie *m,
		     const struct track_plan *tp)
{
	size_t box = full_box_begin(p, "stsc", 0, 0);
	size_t rows = count_begin(p);
	uint32_t previous = 0;
	uint32_t chunk = 0;
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < m->chunks_count; i++) {
		if (m->chunks[i].track != tp->id - 1)
			continue;
		chunk++;
		if (m->chunks[i].samples == previous)
			continue;
		previous = m->chunks[i].samples;
		put_be32(p, chunk);
		put_be32(p, previous);
		put_be32(p, 1);
		count++;
	}
	count_end(p, rows, count);
	box_end(p, box);
}

static void put_stsz(struct put *p, const struct track_plan *tp)
{
	const struct mp4_track *t = tp->t;
	size_t box = full_box_begin(p, "stsz", 0, 0);
	/* A common size of 0 would mean "see the table". */
	bool table = !tp->same_bytes || !t->samples[0].bytes;
	size_t i;

	put_be32(p, table ? 0 : t->samples[0].bytes);
	put_be32(p, (uint32_t)t->samples_count);
	for (i = 0; table && i < t->samples_count; i++)
		put_be32(p, t->samples[i].bytes);
	box_end(p, box);
}

/* Leaves room for the offsets: they depend on the length of all this. */
static void put_offsets(struct put *p, const struct movie_plan *plan,
			struct track_plan *tp)
{
	size_t box = full_box_begin(p, plan->wide ? "co64" : "stco", 0, 0);
	size_t i;

	put_be32(p, (uint32_t)tp->chunks);
	tp->offsets_at = put_len(p);
	for (i = 0; i < tp->chunks; i++)
		put_time(p, plan->wide, 0);
	box_end(p, box);
}

static void put_stbl(struct put *p, const struct movie_plan *plan,
		     struct track_plan *tp)
{
	size_t stbl = box_begin(p, "stbl");
	size_t box;

	put_stsd(p, tp->t);
	box = full_box_begin(p, "stts", 0, 0);
	put_runs(p, tp->t, field_duration);
	box_end(p, box);
	if (tp->reordered) {
		box = full_box_begin(p, "ctts", tp->backward, 0);
		put_runs(p, tp->t, field_cts);
		box_end(p, box);
	}
	if (!tp->all_keys)
		put_stss(p, tp->t);
	put_stsc(p, plan->m, tp);
	put_stsz(p, tp);
	put_offsets(p, plan, tp);
	box_end(p, stbl);
}

/* --- tracks and movie ------------------------------------------------------ */

static void put_matrix(struct put *p)
{
	put_be32(p, 0x00010000);
	put_zeros(p, 12);
	put_be32(p, 0x00010000);
	put_zeros(p, 12);
	put_be32(p, 0x40000000);
}

static uint64_t track_movie_ticks(const struct track_plan *tp)
{
	return tp->t->start_delay + tp->movie_ticks;
}

static void put_tkhd(struct put *p, const struct track_plan *tp)
{
	uint64_t ticks = track_movie_ticks(tp);
	uint8_t version = ticks > UINT32_MAX;
	size_t box = full_box_begin(p, "tkhd", version, TKHD_ENABLED_IN_MOVIE);

	put_time(p, version, 0); /* creation, modification: not known */
	put_time(p, version, 0);
	put_be32(p, tp->id);
	put_be32(p, 0);
	put_time(p, version, ticks);
	put_zeros(p, 8);
	put_be32(p, 0);				   /* layer, alternate group */
	put_be16(p, is_video(tp->t) ? 0 : 0x0100); /* volume */
	put_be16(p, 0);
	put_matrix(p);
	put_be32(p, tp->t->width << 16);
	put_be32(p, tp->t->height << 16);
	box_end(p, box);
}

/* An empty edit delays the start; the next one skips what reordering adds. */
static void put_edts(struct put *p, const struct track_plan *tp)
{
	const struct mp4_track *t = tp->t;
	uint8_t version = track_movie_ticks(tp) > UINT32_MAX ||
			  t->media_start > INT32_MAX;
	size_t edts;
	size_t box;

	if (!t->start_delay && !t->media_start)
		return;
	edts = box_begin(p, "edts");
	box = full_box_begin(p, "elst", version, 0);
	put_be32(p, t->start_delay ? 2 : 1);
	if (t->start_delay) {
		put_time(p, version, t->start_delay);
		put_time(p, version, UINT64_MAX); /* media time -1: empty */
		put_be32(p, 0x00010000);
	}
	put_time(p, version, tp->movie_ticks);
	put_time(p, version, t->media_start);
	put_be32(p, 0x00010000);
	box_end(p, box);
	box_end(p, edts);
}

static void put_mdhd(struct put *p, const struct track_plan *tp)
{
	uint8_t version = tp->ticks > UINT32_MAX;
	size_t box = full_box_begin(p, "mdhd", version, 0);

	put_time(p, version, 0);
	put_time(p, version, 0);
	put_be32(p, tp->t->timescale);
	put_time(p, version, tp->ticks);
	put_be16(p, 0x55c4); /* "und" */
	put_be16(p, 0);
	box_end(p, box);
}

static void put_hdlr(struct put *p, const struct mp4_track *t)
{
	size_t box = full_box_begin(p, "hdlr", 0, 0);

	put_be32(p, 0);
	put_bytes(p, is_video(t) ? "vide" : "soun", 4);
	put_zeros(p, 12);
	put_bytes(p, is_video(t) ? "video" : "audio", 6); /* with its NUL */
	box_end(p, box);
}

static void put_minf(struct put *p, const struct movie_plan *plan,
		     struct track_plan *tp)
{
	size_t minf = box_begin(p, "minf");
	size_t dinf;
	size_t dref;
	size_t box;

	if (is_video(tp->t)) {
		box = full_box_begin(p, "vmhd", 0, 1);
		put_zeros(p, 8);
	} else {
		box = full_box_begin(p, "smhd", 0, 0);
		put_zeros(p, 4);
	}
	box_end(p, box);
	dinf = box_begin(p, "dinf");
	dref = full_box_begin(p, "dref", 0, 0);
	put_be32(p, 1);
	box_end(p, full_box_begin(p, "url ", 0, DREF_SELF_CONTAINED));
	box_end(p, dref);
	box_end(p, dinf);
	put_stbl(p, plan, tp);
	box_end(p, minf);
}

static void put_trak(struct put *p, const struct movie_plan *plan,
		     struct track_plan *tp)
{
	size_t trak = box_begin(p, "trak");
	size_t mdia;

	put_tkhd(p, tp);
	put_edts(p, tp);
	mdia = box_begin(p, "mdia");
	put_mdhd(p, tp);
	put_hdlr(p, tp->t);
	put_minf(p, plan, tp);
	box_end(p, mdia);
	box_end(p, trak);
}

static void put_mvhd(struct put *p, const struct movie_plan *plan)
{
	uint64_t ticks = 0;
	uint8_t version;
	size_t box;
	size_t i;

	for (i = 0; i < plan->m->tracks_count; i++)
		ticks = MAX(ticks, track_movie_ticks(&plan->tracks[i]));
	version = ticks > UINT32_MAX;
	box = full_box_begin(p, "mvhd", version, 0);
	put_time(p, version, 0);
	put_time(p, version, 0);
	put_be32(p, plan->m->timescale);
	put_time(p, version, ticks);
	put_be32(p, 0x00010000); /* rate */
	put_be16(p, 0x0100);	 /* volume */
	put_zeros(p, 10);
	put_matrix(p);
	put_zeros(p, 24);
	put_be32(p, (uint32_t)plan->m->tracks_count + 1); /* next id */
	box_end(p, box);
}

static void put_ftyp(struct put *p)
{
	size_t box = box_begin(p, "ftyp");

	put_bytes(p, "isom", 4);
	put_be32(p, 512);
	put_bytes(p, "isomiso2avc1mp41", 16);
	box_end(p, box);
}

static void put_mdat_head(struct put *p, uint64_t media_bytes)
{
	if (media_bytes > UINT32_MAX - 8) {
		put_be32(p, 1);
		put_bytes(p, "mdat", 4);
		put_be64(p, media_bytes + 16);
	} else {
		put_be32(p, (uint32_t)media_bytes + 8);
		put_bytes(p, "mdat", 4);
	}
}

/* The file begins with what was put, so its length is where media begins. */
static void fill_offsets(struct put *p, struct movie_plan *plan)
{
	const struct mp4_movie *m = plan->m;
	uint64_t offset = put_len(p);
	struct track_plan *tp;
	uint8_t *row;
	uint32_t k;
	size_t i;

	for (i = 0; i < m->chunks_count; i++) {
		tp = &plan->tracks[m->chunks[i].track];
		if (plan->wide) {
			row = put_at(p, tp->offsets_at + 8 * tp->next_chunk);
			store_be64(row, offset);
		} else {
			row = put_at(p, tp->offsets_at + 4 * tp->next_chunk);
			store_be32(row, (uint32_t)offset);
		}
		tp->next_chunk++;
		for (k = 0; k < m->chunks[i].samples; k++)
			offset += tp->t->samples[tp->next_sample++].bytes;
	}
}

int mp4_write_header(struct buf *out, const struct mp4_movie *movie,
		     uint64_t *ret_file_bytes)
{
	struct put p = put_begin(out);
	struct movie_plan plan;
	size_t moov;
	size_t i;
	int ret;

	ret = plan_movie(&plan, movie);
	if (ret)
		return ret;
	put_ftyp(&p);
	moov = box_begin(&p, "moov");
	put_mvhd(&p, &plan);
	for (i = 0; i < movie->tracks_count; i++)
		put_trak(&p, &plan, &plan.tracks[i]);
	box_end(&p, moov);
	put_mdat_head(&p, plan.media_bytes);
	/* Past that, a narrow chunk offset could overflow. */
	if (!p.error && put_len(&p) > MP4_HEADER_BYTES_MAX)
		p.error = -ENOBUFS;
	if (!p.error)
		fill_offsets(&p, &plan);
	ret = put_end(&p);
	if (ret)
		return ret;
	*ret_file_bytes = put_len(&p) + plan.media_bytes;
	return 0;
}

/* Insertion sort: coded pictures are near their place, or it gives up. */
static int sort_pts(uint64_t *pts, size_t count)
{
	uint64_t moving;
	size_t i;
	size_t k;

	for (i = 1; i < count; i++) {
		moving = pts[i];
		for (k = i; k && pts[k - 1] > moving; k--) {
			if (i - k == MP4_REORDER_MAX)
				return -ERANGE;
			pts[k] = pts[k - 1];
		}
		pts[k] = moving;
	}
	return 0;
}

int mp4_times_from_pts(const uint64_t *pts, uint64_t *scratch, size_t count,
		       uint32_t last_duration, struct mp4_sample *samples,
		       uint64_t *ret_delay)
{
	uint64_t delay = 0;
	uint64_t step;
	size_t i;
	int ret;

	if (!count)
		return -EINVAL;
	memcpy(scratch, pts, count * sizeof(*pts));
	ret = sort_pts(scratch, count);
	if (ret)
		return ret;
	for (i = 0; i < count; i++) {
		if (scratch[i] > pts[i])
			delay = MAX(delay, scratch[i] - pts[i]);
		step = i + 1 < count ? scratch[i + 1] - scratch[i] : 0;
		/* Halves, so that a difference and the delay fit together. */
		if (step > INT32_MAX || delay > INT32_MAX / 2 ||
		    (pts[i] > scratch[i] &&
		     pts[i] - scratch[i] > INT32_MAX / 2))
			return -ERANGE;
	}
	for (i = 0; i < count; i++) {
		samples[i].duration =
			i + 1 < count ? (uint32_t)(scratch[i + 1] - scratch[i])
				      : last_duration;
		samples[i].cts_offset = (int32_t)(pts[i] - scratch[i] + delay);
	}
	*ret_delay = delay;
	return 0;
}
