/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "proto/mp4.h"

static struct mp4_sample video[4] = {
	{.bytes = 1000, .duration = 3000, .cts_offset = 3000, .key = true},
	{.bytes = 200, .duration = 3000, .cts_offset = 6000},
	{.bytes = 100, .duration = 3000, .cts_offset = 0},
	{.bytes = 300, .duration = 3000, .cts_offset = 3000},
};
static struct mp4_sample audio[3] = {
	{.bytes = 50, .duration = 1024, .key = true},
	{.bytes = 50, .duration = 1024, .key = true},
	{.bytes = 50, .duration = 1000, .key = true},
};
static struct mp4_track tracks[2];
static const struct mp4_chunk chunks[] = {
	{0, 2}, {1, 2}, {0, 1}, {0, 1}, {1, 1}};
static struct mp4_movie movie;
static struct buf out;

static int setup(void **state)
{
	(void)state;
	tracks[0] = (struct mp4_track){
		.codec = MP4_AVC1,
		.codec_private = (const uint8_t *)"avcC bytes",
		.codec_private_bytes = 10,
		.timescale = 90000,
		.width = 640,
		.height = 480,
		.samples = video,
		.samples_count = ARRAY_SIZE(video),
		.media_start = 3000,
	};
	tracks[1] = (struct mp4_track){
		.codec = MP4_MP4A,
		.codec_private = (const uint8_t *)"\x12\x10",
		.codec_private_bytes = 2,
		.timescale = 44100,
		.rate_hz = 44100,
		.channels = 2,
		.samples = audio,
		.samples_count = ARRAY_SIZE(audio),
		.start_delay = 20,
	};
	movie = (struct mp4_movie){.timescale = 1000,
				   .tracks = tracks,
				   .tracks_count = 2,
				   .chunks = chunks,
				   .chunks_count = ARRAY_SIZE(chunks)};
	buf_init(&out, MP4_HEADER_BYTES_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

struct box {
	const uint8_t *body;
	size_t len;
};

/* The @n-th child box of @type (from 0); fails the test when it is missing. */
static struct box child(struct box in, const char *type, unsigned int n)
{
	size_t at = 0;
	size_t size;

	while (at + 8 <= in.len) {
		size = load_be32(in.body + at);
		assert_true(size >= 8 && size <= in.len - at);
		if (!memcmp(in.body + at + 4, type, 4) && !n--)
			return (struct box){in.body + at + 8, size - 8};
		at += size;
	}
	fail_msg("no box %s", type);
	return (struct box){0};
}

static bool has_child(struct box in, const char *type)
{
	size_t at;

	for (at = 0; at + 8 <= in.len; at += load_be32(in.body + at)) {
		if (!memcmp(in.body + at + 4, type, 4))
			return true;
	}
	return false;
}

static struct box moov(void)
{
	struct box file = {buf_head(&out), buf_len(&out)};
	size_t ftyp = load_be32(file.body);

	file.body += ftyp;
	file.len -= ftyp;
	return child(file, "moov", 0);
}

static struct box stbl_of(unsigned int track)
{
	struct box mdia = child(child(moov(), "trak", track), "mdia", 0);

	return child(child(mdia, "minf", 0), "stbl", 0);
}

/* u32 number @i after the version and flags. */
static uint32_t word(struct box b, unsigned int i)
{
	assert_true(4 + 4 * i + 4 <= b.len);
	return load_be32(b.body + 4 + 4 * i);
}

static void mp4_header_has_the_sizes_it_says(void **state)
{
	uint64_t bytes = 0;
	size_t len;

	(void)state;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	len = buf_len(&out);
	assert_int_equal(bytes, len + 1750);
	assert_int_equal(load_be32(buf_head(&out) + len - 8), 1750 + 8);
	assert_memory_equal(buf_head(&out) + len - 4, "mdat", 4);
	assert_memory_equal(buf_head(&out) + 4, "ftyp", 4);
}

static void mp4_tables_say_where_samples_are(void **state)
{
	uint64_t bytes;
	struct box b;
	size_t len;

	(void)state;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	len = buf_len(&out);
	b = child(stbl_of(0), "stco", 0);
	assert_int_equal(word(b, 0), 3);
	assert_int_equal(word(b, 1), len);
	assert_int_equal(word(b, 2), len + 1200 + 100);
	assert_int_equal(word(b, 3), len + 1200 + 100 + 100);
	b = child(stbl_of(1), "stco", 0);
	assert_int_equal(word(b, 0), 2);
	assert_int_equal(word(b, 1), len + 1200);
	assert_int_equal(word(b, 2), len + 1200 + 100 + 100 + 300);
	b = child(stbl_of(0), "stsc", 0);
	assert_int_equal(word(b, 0), 2); /* 2 in the first, then 1 each */
	assert_int_equal(word(b, 1), 1);
	assert_int_equal(word(b, 2), 2);
	assert_int_equal(word(b, 4), 2);
	assert_int_equal(word(b, 5), 1);
	b = child(stbl_of(0), "stsz", 0);
	assert_int_equal(word(b, 0), 0);
	assert_int_equal(word(b, 1), 4);
	assert_int_equal(word(b, 2), 1000);
	assert_int_equal(word(b, 5), 300);
	b = child(stbl_of(1), "stsz", 0);
	assert_int_equal(word(b, 0), 50); /* all alike: no table */
	assert_int_equal(word(b, 1), 3);
	assert_int_equal(b.len, 12);
}

static void mp4_tables_say_when_samples_are(void **state)
{
	uint64_t bytes;
	struct box b;

	(void)state;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	b = child(stbl_of(0), "stts", 0);
	assert_int_equal(word(b, 0), 1);
	assert_int_equal(word(b, 1), 4);
	assert_int_equal(word(b, 2), 3000);
	b = child(stbl_of(1), "stts", 0);
	assert_int_equal(word(b, 0), 2);
	assert_int_equal(word(b, 1), 2);
	assert_int_equal(word(b, 4), 1000);
	b = child(stbl_of(0), "ctts", 0);
	assert_int_equal(b.body[0], 0);
	assert_int_equal(word(b, 0), 4);
	assert_int_equal(word(b, 4), 6000);
	assert_false(has_child(stbl_of(1), "ctts"));
	b = child(stbl_of(0), "stss", 0);
	assert_int_equal(word(b, 0), 1);
	assert_int_equal(word(b, 1), 1);
	assert_false(has_child(stbl_of(1), "stss")); /* all are sync */
}

static void mp4_edits_align_the_tracks(void **state)
{
	uint64_t bytes;
	struct box b;

	(void)state;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	b = child(child(child(moov(), "trak", 0), "edts", 0), "elst", 0);
	assert_int_equal(word(b, 0), 1);
	assert_int_equal(word(b, 1), 133); /* 12000 / 90000 s */
	assert_int_equal(word(b, 2), 3000);
	b = child(child(child(moov(), "trak", 1), "edts", 0), "elst", 0);
	assert_int_equal(word(b, 0), 2);
	assert_int_equal(word(b, 1), 20);
	assert_int_equal(word(b, 2), UINT32_MAX); /* empty */
	assert_int_equal(word(b, 4), 69);	  /* 3048 / 44100 s */
	assert_int_equal(word(b, 5), 0);
	tracks[0].media_start = 0;
	buf_reset(&out);
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	assert_false(has_child(child(moov(), "trak", 0), "edts"));
}

static void mp4_negative_offsets_take_version_1(void **state)
{
	uint64_t bytes;
	struct box b;

	(void)state;
	video[2].cts_offset = -3000;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	video[2].cts_offset = 0;
	b = child(stbl_of(0), "ctts", 0);
	assert_int_equal(b.body[0], 1);
	assert_int_equal(word(b, 6), (uint32_t)-3000);
}

static void mp4_entries_carry_their_codecs(void **state)
{
	struct box entry;
	struct box stsd;
	uint64_t bytes;

	(void)state;
	tracks[0].codec = MP4_HVC1;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	stsd = child(stbl_of(0), "stsd", 0);
	entry = child((struct box){stsd.body + 8, stsd.len - 8}, "hvc1", 0);
	assert_int_equal(load_be16(entry.body + 24), 640);
	entry = child((struct box){entry.body + 78, entry.len - 78}, "hvcC", 0);
	assert_memory_equal(entry.body, "avcC bytes", 10);
	stsd = child(stbl_of(1), "stsd", 0);
	entry = child((struct box){stsd.body + 8, stsd.len - 8}, "mp4a", 0);
	assert_int_equal(load_be16(entry.body + 16), 2);
	entry = child((struct box){entry.body + 28, entry.len - 28}, "esds", 0);
	assert_memory_equal(entry.body + entry.len - 2 - 4, "\x12\x10", 2);
	tracks[1].codec = MP4_ALAW;
	buf_reset(&out);
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	stsd = child(stbl_of(1), "stsd", 0);
	(void)child((struct box){stsd.body + 8, stsd.len - 8}, "alaw", 0);
}

static void mp4_goes_wide_beyond_4_gib(void **state)
{
	uint32_t before = video[0].bytes;
	uint64_t bytes;
	struct box b;
	size_t len;

	(void)state;
	video[0].bytes = UINT32_MAX - 100;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	video[0].bytes = before;
	len = buf_len(&out);
	assert_true(bytes == len + UINT64_C(1750) - 1000 + UINT32_MAX - 100);
	assert_int_equal(load_be32(buf_head(&out) + len - 16), 1);
	assert_true(load_be64(buf_head(&out) + len - 8) == bytes - len + 16);
	b = child(stbl_of(0), "co64", 0);
	assert_int_equal(word(b, 0), 3);
	assert_true(load_be64(b.body + 8) == len);
	assert_true(load_be64(b.body + 16) ==
		    len + UINT64_C(300) + UINT32_MAX - 100);
}

static void mp4_rejects_what_does_not_add_up(void **state)
{
	static const struct mp4_chunk few[] = {{0, 4}, {1, 2}};
	static const struct mp4_chunk many[] = {{0, 4}, {1, 4}};
	static const struct mp4_chunk none[] = {{0, 4}, {1, 3}, {0, 0}};
	static const struct mp4_chunk other[] = {{0, 4}, {2, 3}};
	static const struct mp4_chunk *const bad[] = {few, many, none, other};
	static const size_t bad_count[] = {2, 2, 3, 2};
	uint64_t bytes = 77;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		movie.chunks = bad[i];
		movie.chunks_count = bad_count[i];
		assert_int_equal(mp4_write_header(&out, &movie, &bytes),
				 -EINVAL);
	}
	assert_int_equal(setup(NULL), 0);
	tracks[0].codec_private_bytes = 0;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), -EINVAL);
	assert_int_equal(setup(NULL), 0);
	tracks[1].timescale = 0;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), -EINVAL);
	assert_int_equal(setup(NULL), 0);
	tracks[0].width = 0;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), -EINVAL);
	assert_int_equal(setup(NULL), 0);
	movie.tracks_count = 0;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), -EINVAL);
	assert_int_equal(bytes, 77);
}

static void mp4_leaves_the_buffer_as_it_was_when_full(void **state)
{
	uint64_t bytes;
	size_t whole;
	size_t max;

	(void)state;
	assert_int_equal(mp4_write_header(&out, &movie, &bytes), 0);
	whole = buf_len(&out);
	for (max = 4; max < whole + 4; max += 13) {
		buf_fini(&out);
		buf_init(&out, max);
		assert_int_equal(buf_add(&out, "kept", 4), 0);
		assert_int_equal(mp4_write_header(&out, &movie, &bytes),
				 -ENOBUFS);
		assert_int_equal(buf_len(&out), 4);
		assert_false(out.failed);
	}
}

static void mp4_times_come_from_presentation_times(void **state)
{
	/* I P B B P: decode order, 40 ms apart */
	static const uint64_t pts[] = {1000, 1120, 1040, 1080, 1160};
	struct mp4_sample s[5] = {{.bytes = 5, .key = true}};
	uint64_t scratch[5];
	uint64_t delay;
	uint64_t dts;
	size_t i;

	(void)state;
	assert_int_equal(mp4_times_from_pts(pts, scratch, 5, 33, s, &delay), 0);
	assert_int_equal(delay, 40);
	dts = pts[0] - delay;
	for (i = 0; i < 5; i++) {
		assert_true(s[i].cts_offset >= 0);
		assert_int_equal(dts + (uint64_t)s[i].cts_offset, pts[i]);
		assert_int_equal(s[i].duration, i < 4 ? 40 : 33);
		dts += s[i].duration;
	}
	assert_int_equal(s[0].bytes, 5);
	assert_true(s[0].key);
}

static void mp4_times_reject_extremes(void **state)
{
	uint64_t scratch[MP4_REORDER_MAX + 2];
	struct mp4_sample s[MP4_REORDER_MAX + 2];
	uint64_t pts[MP4_REORDER_MAX + 2] = {0};
	uint64_t delay;
	size_t i;

	(void)state;
	assert_int_equal(mp4_times_from_pts(pts, scratch, 0, 1, s, &delay),
			 -EINVAL);
	pts[1] = (uint64_t)INT32_MAX + 1;
	assert_int_equal(mp4_times_from_pts(pts, scratch, 2, 1, s, &delay),
			 -ERANGE);
	for (i = 0; i < ARRAY_SIZE(pts) - 1; i++)
		pts[i] = i + 1;
	pts[i] = 0;
	assert_int_equal(mp4_times_from_pts(pts, scratch, ARRAY_SIZE(pts), 1, s,
					    &delay),
			 -ERANGE);
}

#define MP4_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MP4_TEST(mp4_header_has_the_sizes_it_says),
		MP4_TEST(mp4_tables_say_where_samples_are),
		MP4_TEST(mp4_tables_say_when_samples_are),
		MP4_TEST(mp4_edits_align_the_tracks),
		MP4_TEST(mp4_negative_offsets_take_version_1),
		MP4_TEST(mp4_entries_carry_their_codecs),
		MP4_TEST(mp4_goes_wide_beyond_4_gib),
		MP4_TEST(mp4_rejects_what_does_not_add_up),
		MP4_TEST(mp4_leaves_the_buffer_as_it_was_when_full),
		MP4_TEST(mp4_times_come_from_presentation_times),
		MP4_TEST(mp4_times_reject_extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
