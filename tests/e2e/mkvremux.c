/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkvremux mkv|mp4 < IN > OUT: writes a Matroska file again with our writer,
 * or as MP4, so that other readers can be asked what they see. Holds all of
 * it in memory; a program for tests.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/mkv_reader.h"
#include "proto/mkv_writer.h"
#include "proto/mp4.h"

#define INPUT_BYTES_MAX (256u << 20)
#define FRAMES_MAX 65536u
#define CLUSTER_TICKS_MAX 2000
#define MS_NS 1000000u

struct frame {
	unsigned int track_index;
	uint64_t time_ms;
	uint64_t offset;
	uint32_t bytes;
	bool key;
};

static struct mkv_document doc; /* points into the reader */
static struct frame frames[FRAMES_MAX];
static size_t frames_count;
static const uint8_t *input;

static int on_document(void *ctx, const struct mkv_document *d)
{
	(void)ctx;
	doc = *d;
	return 0;
}

static int on_frame(void *ctx, const struct mkv_frame *f)
{
	(void)ctx;
	if (frames_count == FRAMES_MAX)
		return -E2BIG;
	frames[frames_count++] = (struct frame){
		.track_index = f->track_index,
		.time_ms = f->time_ns / MS_NS,
		.offset = f->payload_offset,
		.bytes = f->payload_bytes,
		.key = f->key,
	};
	return 0;
}

static const struct mkv_reader_ops ops = {.document = on_document,
					  .frame_end = on_frame};

static int put_out(const void *bytes, size_t len)
{
	return fwrite(bytes, 1, len, stdout) == len ? 0 : -EIO;
}

/* A cluster at each key frame of the first track, as a producer does. */
static int write_mkv(void)
{
	uint8_t cluster[MKV_CLUSTER_HEAD_BYTES];
	uint8_t block[MKV_BLOCK_HEAD_BYTES];
	struct mkv_tag tag = {"AWS_KINESISVIDEO_END_OF_FRAGMENT", 32, "", 0};
	uint64_t base = 0;
	struct buf out;
	int64_t rel;
	size_t i;
	int ret;

	buf_init(&out, MKV_HEADER_BYTES_MAX + 4096);
	ret = mkv_write_header(&out, doc.tracks, doc.tracks_count, MS_NS, NULL);
	for (i = 0; !ret && i < frames_count; i++) {
		rel = (int64_t)(frames[i].time_ms - base);
		if (!i || rel > CLUSTER_TICKS_MAX || rel < INT16_MIN ||
		    (!frames[i].track_index && frames[i].key)) {
			base = frames[i].time_ms;
			rel = 0;
			mkv_cluster_head(cluster, base);
			ret = i ? mkv_write_tags(&out, &tag, 1) : 0;
			if (!ret)
				ret = buf_add(&out, cluster, sizeof(cluster));
		}
		mkv_block_head(
			block,
			(unsigned int)doc.tracks[frames[i].track_index].number,
			(int16_t)rel, frames[i].key, frames[i].bytes);
		if (!ret)
			ret = buf_add(&out, block, sizeof(block));
		if (!ret)
			ret = put_out(buf_head(&out), buf_len(&out));
		buf_reset(&out);
		if (!ret)
			ret = put_out(input + frames[i].offset,
				      frames[i].bytes);
	}
	buf_fini(&out);
	return ret;
}

static int mp4_codec_of(const struct mkv_track *t, enum mp4_codec *ret_codec)
{
	switch (mkv_track_codec(t)) {
	case CODEC_H264:
		*ret_codec = MP4_AVC1;
		return 0;
	case CODEC_H265:
		*ret_codec = MP4_HVC1;
		return 0;
	case CODEC_AAC:
		*ret_codec = MP4_MP4A;
		return 0;
	case CODEC_ALAW:
		*ret_codec = MP4_ALAW;
		return 0;
	default:
		return -ENOTSUP;
	}
}

/* Fills a track's samples from the frames; @pts and @scratch are scratch. */
static int fill_track(unsigned int index, struct mp4_track *t,
		      struct mp4_sample *samples, uint64_t *pts,
		      uint64_t *scratch, uint64_t *ret_first_ms)
{
	const struct mkv_track *m = &doc.tracks[index];
	uint64_t first = UINT64_MAX;
	size_t count = 0;
	size_t i;
	int ret;

	for (i = 0; i < frames_count; i++) {
		if (frames[i].track_index != index)
			continue;
		samples[count].bytes = frames[i].bytes;
		samples[count].key = frames[i].key;
		first = MIN(first, frames[i].time_ms);
		pts[count++] = frames[i].time_ms;
	}
	*t = (struct mp4_track){
		.codec_private = m->codec_private,
		.codec_private_bytes = m->codec_private_bytes,
		.timescale = 1000,
		.width = m->width,
		.height = m->height,
		.rate_hz = m->rate_hz,
		.channels = (uint16_t)m->channels,
		.samples = samples,
		.samples_count = count,
	};
	*ret_first_ms = first;
	ret = mp4_codec_of(m, &t->codec);
	if (ret)
		return ret;
	return mp4_times_from_pts(pts, scratch, count, 20, samples,
				  &t->media_start);
}

static int write_mp4(void)
{
	static struct mp4_sample samples[MKV_TRACKS_MAX][FRAMES_MAX];
	static uint64_t pts[FRAMES_MAX];
	static uint64_t scratch[FRAMES_MAX];
	static struct mp4_chunk chunks[FRAMES_MAX];
	struct mp4_track tracks[MKV_TRACKS_MAX];
	uint64_t first[MKV_TRACKS_MAX];
	struct mp4_movie movie = {.timescale = 1000,
				  .tracks = tracks,
				  .tracks_count = doc.tracks_count,
				  .chunks = chunks};
	uint64_t begin = UINT64_MAX;
	uint64_t file_bytes;
	struct buf out;
	unsigned int k;
	size_t i;
	int ret = 0;

	for (k = 0; !ret && k < doc.tracks_count; k++) {
		ret = fill_track(k, &tracks[k], samples[k], pts, scratch,
				 &first[k]);
		begin = MIN(begin, first[k]);
	}
	if (ret)
		return ret;
	for (k = 0; k < doc.tracks_count; k++)
		tracks[k].start_delay = first[k] - begin;
	for (i = 0; i < frames_count; i++) {
		if (i && frames[i].track_index == frames[i - 1].track_index)
			chunks[movie.chunks_count - 1].samples++;
		else
			chunks[movie.chunks_count++] =
				(struct mp4_chunk){frames[i].track_index, 1};
	}
	buf_init(&out, MP4_HEADER_BYTES_MAX);
	ret = mp4_write_header(&out, &movie, &file_bytes);
	if (!ret)
		ret = put_out(buf_head(&out), buf_len(&out));
	for (i = 0; !ret && i < frames_count; i++)
		ret = put_out(input + frames[i].offset, frames[i].bytes);
	buf_fini(&out);
	return ret;
}

static int read_stdin(struct buf *in)
{
	uint8_t *room;
	ssize_t n;

	for (;;) {
		room = buf_reserve(in, 1 << 16);
		if (!room)
			return -ENOMEM;
		n = read(STDIN_FILENO, room, 1 << 16);
		if (n <= 0)
			return n ? -EIO : 0;
		buf_commit(in, (size_t)n);
	}
}

int main(int argc, char **argv)
{
	static struct mkv_reader r;
	struct buf in;
	size_t used;
	int ret;

	if (argc != 2 || (strcmp(argv[1], "mkv") && strcmp(argv[1], "mp4"))) {
		(void)fprintf(stderr, "usage: mkvremux mkv|mp4 < IN > OUT\n");
		return 2;
	}
	buf_init(&in, INPUT_BYTES_MAX);
	mkv_reader_init(&r, &ops, NULL, 0);
	ret = read_stdin(&in);
	input = buf_head(&in);
	if (!ret)
		ret = mkv_reader_feed(&r, input, buf_len(&in), &used);
	if (!ret)
		ret = mkv_reader_finish(&r);
	if (!ret)
		ret = strcmp(argv[1], "mkv") ? write_mp4() : write_mkv();
	if (!ret && fflush(stdout))
		ret = -EIO;
	if (ret)
		(void)fprintf(stderr, "mkvremux: %s (%s)\n", strerror(-ret),
			      mkv_error_name(r.error));
	mkv_reader_fini(&r);
	buf_fini(&in);
	return ret ? 1 : 0;
}
