/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "proto/frame_index.h"
#include "proto/limits.h"
#include "support/mkv_build.h"

/* A real avcC of 320x240, as x264 makes it (baseline). */
static const uint8_t avcc[] = {
	0x01, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x42,
	0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00,
	0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42,
	0xa4, 0x80, 0x01, 0x00, 0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
};

struct track {
	uint64_t number;
	uint64_t type;
	const char *codec;
	const void *private;
	size_t private_bytes;
};

static void add_track(struct mkv_build *b, const struct track *t)
{
	size_t at = b->len;

	mkv_build_uint(b, MKV_ID_TRACK_NUMBER, 1, t->number);
	mkv_build_uint(b, MKV_ID_TRACK_TYPE, 1, t->type);
	mkv_build_text(b, MKV_ID_CODEC_ID, t->codec);
	if (t->private_bytes)
		mkv_build_bytes(b, MKV_ID_CODEC_PRIVATE, t->private,
				t->private_bytes);
	mkv_build_wrap(b, at, MKV_ID_TRACK_ENTRY, 8);
}

static void header(struct mkv_build *b, const struct track *tracks,
		   size_t count)
{
	size_t at;
	size_t i;

	mkv_build_ebml(b);
	mkv_build_segment(b);
	at = b->len;
	for (i = 0; i < count; i++)
		add_track(b, &tracks[i]);
	mkv_build_wrap(b, at, MKV_ID_TRACKS, 8);
}

static const struct track h264 = {1, MKV_TRACK_VIDEO, "V_MPEG4/ISO/AVC", avcc,
				  sizeof(avcc)};
static const struct track aac = {2, MKV_TRACK_AUDIO, "A_AAC", "\x11\x88", 2};

/* Frames of track 1 at from, from + step, ..., in fragments of @count. */
static enum clip_error add(struct clip *c, const struct mkv_build *h,
			   uint64_t producer_ms, uint64_t timecode,
			   unsigned int count, unsigned int step)
{
	struct frame_index_writer w;
	struct store_fragment row = {.producer_ms = producer_ms,
				     .media_bytes = 200 * count};
	struct buf index;
	enum clip_error e;
	unsigned int i;

	buf_init(&index, FRAME_INDEX_BYTES_MAX);
	frame_index_begin(&w, &index);
	for (i = 0; i < count; i++) {
		const struct frame_entry f = {
			.track = 1,
			.key = i == 0,
			.offset = 200 * i + 10,
			.head_bytes = 6,
			.bytes = 50 + i,
			.timecode = timecode + (uint64_t)i * step,
		};

		assert_int_equal(frame_index_add(&w, &f), 0);
	}
	e = clip_add(c, &row, h->bytes, h->len, buf_head(&index),
		     buf_len(&index));
	buf_fini(&index);
	return e;
}

static const uint8_t *find_box(const struct buf *b, const char *type)
{
	size_t i;

	for (i = b->start; i + 4 <= b->end; i++) {
		if (memcmp(b->data + i, type, 4) == 0)
			return b->data + i + 4;
	}
	return NULL;
}

/* Duration in the movie header, milliseconds. */
static uint32_t movie_ms(struct clip *c, uint64_t *ret_file_bytes)
{
	const uint8_t *mvhd;
	struct buf out;
	uint32_t ms;

	buf_init(&out, MP4_HEADER_BYTES_MAX);
	assert_int_equal(clip_finish(c, &out, ret_file_bytes), CLIP_OK);
	mvhd = find_box(&out, "mvhd");
	assert_non_null(mvhd);
	ms = mvhd[0] ? (uint32_t)load_be64(mvhd + 24) : load_be32(mvhd + 16);
	*ret_file_bytes -= buf_len(&out);
	buf_fini(&out);
	return ms;
}

static void clip_follows_the_producer_clock(void **state)
{
	AUTO(clip_free) struct clip *c = clip_new();
	struct mkv_build h = {.len = 0};
	const struct clip_range *ranges;
	uint64_t sample_bytes;
	size_t count;

	(void)state;
	header(&h, &h264, 1);
	assert_int_equal(add(c, &h, 5000000, 0, 50, 40), CLIP_OK);
	assert_int_equal(add(c, &h, 5002000, 2000, 50, 40), CLIP_OK);
	assert_int_equal(movie_ms(c, &sample_bytes), 4000);
	ranges = clip_ranges(c, &count);
	assert_int_equal(count, 100);
	assert_int_equal(ranges[51].fragment, 1);
	assert_int_equal(ranges[51].offset, 210);
	assert_int_equal(ranges[51].bytes, 51);
	assert_int_equal(sample_bytes, 2 * (50 * 50 + 49 * 50 / 2));
}

static void clip_leaves_long_gaps_out_and_moves_overlaps(void **state)
{
	AUTO(clip_free) struct clip *c = clip_new();
	struct mkv_build h = {.len = 0};
	uint64_t bytes;

	(void)state;
	header(&h, &h264, 1);
	assert_int_equal(add(c, &h, 5000000, 0, 50, 40), CLIP_OK);
	/* An hour later, a new session. */
	assert_int_equal(add(c, &h, 8600000, 0, 50, 40), CLIP_OK);
	/* Begins before that one ended. */
	assert_int_equal(add(c, &h, 8601000, 0, 50, 40), CLIP_OK);
	assert_int_equal(movie_ms(c, &bytes), 6000);
}

static void clip_keeps_jitter_between_fragments(void **state)
{
	AUTO(clip_free) struct clip *c = clip_new();
	struct mkv_build h = {.len = 0};
	uint64_t bytes;
	uint64_t i;

	(void)state;
	header(&h, &h264, 1);
	/* Each starts 7 ms before its predecessor's estimated end: the clock
	 * counts, and nothing adds up. */
	for (i = 0; i < 100; i++)
		assert_int_equal(add(c, &h, 5000000 + i * 1993, i * 1993, 50,
				     40),
				 CLIP_OK);
	assert_int_equal(movie_ms(c, &bytes), 99 * 1993 + 2000);
}

static void clip_refuses_what_the_contract_refuses(void **state)
{
	static const uint8_t annexb[] = {0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x0d};
	static const struct {
		struct track tracks[2];
		size_t count;
		enum clip_error error;
	} cases[] = {
		{{{1, 1, "V_MPEG4/ISO/AVC", NULL, 0}}, 1, CLIP_PRIVATE_MISSING},
		{{{1, 1, "V_MPEG4/ISO/AVC", annexb, sizeof(annexb)}},
		 1,
		 CLIP_PRIVATE_INVALID},
		{{{1, 1, "V_MPEGH/ISO/HEVC", avcc, sizeof(avcc)}},
		 1,
		 CLIP_PRIVATE_INVALID},
		{{{1, 1, "V_VP9", NULL, 0}}, 1, CLIP_UNSUPPORTED},
		{{{1, 1, "V_FFV1", annexb, sizeof(annexb)}},
		 1,
		 CLIP_UNSUPPORTED},
		{{{1, 1, "V_UNCOMPRESSED", NULL, 0}}, 1, CLIP_UNSUPPORTED},
		{{{1, 1, "V_MPEG4/ISO/AVC", avcc, sizeof(avcc)},
		  {2, 1, "V_FFV1", annexb, sizeof(annexb)}},
		 2,
		 CLIP_UNSUPPORTED},
		{{{1, 2, "A_AAC", "\x11\x88", 2}}, 1, CLIP_UNSUPPORTED},
		{{{1, 1, "V_MPEG4/ISO/AVC", avcc, sizeof(avcc)},
		  {2, 2, "A_VORBIS", NULL, 0}},
		 2,
		 CLIP_UNSUPPORTED},
		{{{1, 1, "V_MPEG4/ISO/AVC", avcc, sizeof(avcc)},
		  {2, 2, "A_AAC", NULL, 0}},
		 2,
		 CLIP_PRIVATE_MISSING},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(clip_free) struct clip *c = clip_new();
		struct mkv_build h = {.len = 0};

		header(&h, cases[i].tracks, cases[i].count);
		assert_int_equal(add(c, &h, 1000, 0, 5, 40), cases[i].error);
	}
}

static void clip_refuses_changes_within_the_range(void **state)
{
	struct track two[2] = {h264, aac};
	uint8_t other[sizeof(avcc)];
	struct track changed = h264;
	struct mkv_build a = {.len = 0};
	struct mkv_build b = {.len = 0};
	struct mkv_build d = {.len = 0};
	AUTO(clip_free) struct clip *c = clip_new();

	(void)state;
	memcpy(other, avcc, sizeof(avcc));
	other[sizeof(other) - 1] ^= 1;
	changed.private = other;
	header(&a, &h264, 1);
	header(&b, two, 2);
	header(&d, &changed, 1);
	assert_int_equal(add(c, &a, 1000, 0, 5, 40), CLIP_OK);
	assert_int_equal(add(c, &b, 2000, 1000, 5, 40), CLIP_TRACKS_CHANGED);
	assert_int_equal(add(c, &d, 3000, 2000, 5, 40), CLIP_PRIVATE_CHANGED);
}

static void clip_refuses_a_broken_index(void **state)
{
	AUTO(clip_free) struct clip *c = clip_new();
	struct mkv_build h = {.len = 0};
	struct store_fragment row = {.media_bytes = 10};
	static const uint8_t junk[] = {1, 0xff, 0xff};

	(void)state;
	header(&h, &h264, 1);
	assert_int_equal(clip_add(c, &row, h.bytes, h.len, junk, sizeof(junk)),
			 CLIP_BAD_FRAME);
	assert_int_equal(clip_add(c, &row, h.bytes, h.len, NULL, 0),
			 CLIP_BAD_FRAME);
}

static void clip_unique_keeps_the_largest_number(void **state)
{
	struct store_fragment rows[5] = {
		{.producer_ms = 1, .number = {.seq = 1}},
		{.producer_ms = 1, .number = {.seq = 9}},
		{.producer_ms = 2, .number = {.seq = 2}},
		{.producer_ms = 3, .number = {.seq = 8}},
		{.producer_ms = 3, .number = {.seq = 3}},
	};

	(void)state;
	assert_int_equal(clip_unique(rows, 5), 3);
	assert_int_equal(rows[0].number.seq, 9);
	assert_int_equal(rows[1].number.seq, 2);
	assert_int_equal(rows[2].number.seq, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clip_follows_the_producer_clock),
		cmocka_unit_test(clip_leaves_long_gaps_out_and_moves_overlaps),
		cmocka_unit_test(clip_keeps_jitter_between_fragments),
		cmocka_unit_test(clip_refuses_what_the_contract_refuses),
		cmocka_unit_test(clip_refuses_changes_within_the_range),
		cmocka_unit_test(clip_refuses_a_broken_index),
		cmocka_unit_test(clip_unique_keeps_the_largest_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
