/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/h264.h"

#define SPAN(s) ((struct nal_span){(const uint8_t *)(s), sizeof(s) - 1})
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* Made by x264: 1920x1080 high (cropped from 1088), 64x64 interlaced, and
 * 320x240 4:4:4 predictive. */
#define SPS_HD                                                             \
	"\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\x00\x00\x03" \
	"\x00\x04\x00\x00\x03\x00\xc8\x3c\x60\xc6\x58"
#define PPS_HD "\x68\xeb\xe3\xcb\x22\xc0"
#define SPS_INTERLACED                                                     \
	"\x67\x64\x00\x15\xac\xd9\x44\x4d\x80\x88\x00\x00\x03\x00\x08\x00" \
	"\x00\x03\x01\x90\xf8\xa1\x4c\xb0"
#define SPS_444                                                            \
	"\x67\xf4\x00\x0d\x91\x9b\x28\x28\x3f\x60\x22\x00\x00\x03\x00\x02" \
	"\x00\x00\x03\x00\x64\x1e\x28\x53\x2c"
/* 640x480 baseline, without VUI. */
#define SPS_BASELINE "\x67\x42\xc0\x1e\xda\x02\x80\xf6\x80"
#define PPS_BASELINE "\x68\xce\x3c\x80"

static void h264_annexb_iterates_over_start_codes(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		size_t lens[4];
	} rows[] = {
		{"", 0, {0}},
		{"no start code", 13, {0}},
		{"\0\0\1", 3, {0}},
		{"\0\0\1\x65", 4, {1}},
		{"\0\0\0\1\x67\x42\0\0\1\x68", 10, {2, 1}},
		{"junk\0\0\1\x67\0\0\0\1\x68\xaa", 14, {1, 2}},
		{"\0\0\1\0\0\1\x65\xbb", 8, {2}}, /* an empty unit */
		{"\0\0\1\x65\xbb\0\0\0", 8, {2}}, /* trailing zeros */
		{"\0\0\1\x65\1\1\0\1\1\0\0\1\x41", 13, {6, 1}},
	};
	struct nal_span nal;
	struct nal_iter it;
	size_t i;
	size_t n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		nal_iter_annexb(&it, (const uint8_t *)rows[i].bytes,
				rows[i].len);
		for (n = 0; nal_next(&it, &nal) > 0; n++)
			assert_int_equal(nal.len, rows[i].lens[n]);
		assert_int_equal(rows[i].lens[n], 0);
	}
}

static void h264_lengths_iterate_and_reject_lies(void **state)
{
	struct nal_span nal;
	struct nal_iter it;

	(void)state;
	nal_iter_lengths(&it, BYTES("\0\0\0\2ab\0\0\0\0\0\0\0\1c"), 4);
	assert_int_equal(nal_next(&it, &nal), 1);
	assert_memory_equal(nal.bytes, "ab", 2);
	assert_int_equal(nal_next(&it, &nal), 1);
	assert_int_equal(nal.len, 1);
	assert_int_equal(nal_next(&it, &nal), 0);
	nal_iter_lengths(&it, BYTES("\0\0\0\3ab"), 4);
	assert_int_equal(nal_next(&it, &nal), -EBADMSG);
	nal_iter_lengths(&it,
			 BYTES("\xff\xff\xff\xff"
			       "ab"),
			 4);
	assert_int_equal(nal_next(&it, &nal), -EBADMSG);
	nal_iter_lengths(&it, BYTES("\0\0"), 4);
	assert_int_equal(nal_next(&it, &nal), -EBADMSG);
	nal_iter_lengths(&it, BYTES("\0\1a"), 2);
	assert_int_equal(nal_next(&it, &nal), 1);
	nal_iter_lengths(&it, BYTES("\1a"), 1);
	assert_int_equal(nal_next(&it, &nal), 1);
	assert_int_equal(nal_next(&it, &nal), 0);
}

static void h264_annexb_becomes_pieces_without_parameters(void **state)
{
	static const uint8_t au[] = "\0\0\0\1\x09\x10\0\0\0\1" SPS_BASELINE
				    "\0\0\0\1" PPS_BASELINE
				    "\0\0\1\x06\x05\0\0\1\x65slice";
	struct nal_piece pieces[2];
	size_t bytes = 0;
	size_t count = 0;

	(void)state;
	assert_int_equal(nal_annexb_to_pieces(NAL_H264, au, sizeof(au) - 1,
					      H264_DROP_PARAMETERS, pieces, 2,
					      &count, &bytes),
			 0);
	assert_int_equal(count, 2);
	assert_int_equal(bytes, 4 + 2 + 4 + 6);
	assert_memory_equal(pieces[0].prefix, "\0\0\0\2", 4);
	assert_memory_equal(pieces[1].prefix, "\0\0\0\6", 4);
	/* Spans, not copies. */
	assert_ptr_equal(pieces[1].nal.bytes, au + sizeof(au) - 1 - 6);
	count = 77;
	assert_int_equal(nal_annexb_to_pieces(NAL_H264, au, sizeof(au) - 1, 0,
					      pieces, 2, &count, &bytes),
			 -E2BIG);
	assert_int_equal(count, 77);
}

static void h264_finds_key_frames(void **state)
{
	(void)state;
	assert_true(h264_annexb_is_key(BYTES("\0\0\1\x09\0\0\1\x65\x88")));
	assert_true(h264_annexb_is_key(BYTES("\0\0\0\1\x67\0\0\1\x25\x88")));
	assert_false(h264_annexb_is_key(BYTES("\0\0\1\x41\0\0\1\x65\x88")));
	assert_false(h264_annexb_is_key(BYTES("\0\0\1\x67\0\0\1\x68")));
	assert_false(h264_annexb_is_key(BYTES("")));
	assert_true(h264_lengths_is_key(BYTES("\0\0\0\2\x65\x88"), 4));
	assert_false(h264_lengths_is_key(BYTES("\0\0\0\2\x41\x88"), 4));
	assert_false(h264_lengths_is_key(BYTES("\0\0\0\7\x65\x88"), 4));
	assert_true(nal_is_annexb(BYTES("\0\0\0\1\x65")));
	assert_true(nal_is_annexb(BYTES("\0\0\1\x65")));
	assert_false(nal_is_annexb(BYTES("\0\0\0\2\x65")));
	assert_false(nal_is_annexb(BYTES("\0\0\1")));
}

static void h264_escapes_and_unescapes(void **state)
{
	static const struct {
		const char *rbsp;
		size_t len;
		const char *escaped;
		size_t escaped_len;
	} rows[] = {
		{"abc", 3, "abc", 3},
		{"\0\0\0", 3, "\0\0\3\0", 4},
		{"\0\0\1", 3, "\0\0\3\1", 4},
		{"\0\0\2", 3, "\0\0\3\2", 4},
		{"\0\0\3", 3, "\0\0\3\3", 4},
		{"\0\0\4", 3, "\0\0\4", 3},
		{"\0\0\0\0\0\0", 6, "\0\0\3\0\0\3\0\0", 8},
		{"\0\0", 2, "\0\0", 2},
	};
	uint8_t out[16];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(nal_escape(out, sizeof(out),
					    (const uint8_t *)rows[i].rbsp,
					    rows[i].len),
				 rows[i].escaped_len);
		assert_memory_equal(out, rows[i].escaped, rows[i].escaped_len);
		assert_int_equal(nal_escape(out, rows[i].escaped_len - 1,
					    (const uint8_t *)rows[i].rbsp,
					    rows[i].len),
				 0);
		assert_int_equal(nal_unescape(out, sizeof(out),
					      (const uint8_t *)rows[i].escaped,
					      rows[i].escaped_len),
				 rows[i].len);
		assert_memory_equal(out, rows[i].rbsp, rows[i].len);
	}
	assert_int_equal(nal_unescape(out, 1, BYTES("abc")), 1);
}

static void h264_sps_gives_the_picture_size(void **state)
{
	struct h264_sps sps;

	(void)state;
	assert_int_equal(h264_parse_sps(SPAN(SPS_HD), &sps), 0);
	assert_int_equal(sps.profile, 100);
	assert_int_equal(sps.level, 40);
	assert_int_equal(sps.width, 1920);
	assert_int_equal(sps.height, 1080);
	assert_int_equal(h264_parse_sps(SPAN(SPS_INTERLACED), &sps), 0);
	assert_int_equal(sps.width, 64);
	assert_int_equal(sps.height, 64);
	assert_int_equal(h264_parse_sps(SPAN(SPS_444), &sps), 0);
	assert_int_equal(sps.profile, 244);
	assert_int_equal(sps.chroma_format, 3);
	assert_int_equal(sps.width, 320);
	assert_int_equal(sps.height, 240);
	assert_int_equal(h264_parse_sps(SPAN(SPS_BASELINE), &sps), 0);
	assert_int_equal(sps.profile, 66);
	assert_int_equal(sps.compat, 0xc0);
	assert_int_equal(sps.width, 640);
	assert_int_equal(sps.height, 480);
	assert_int_equal(sps.bit_depth_luma, 8);
}

static void h264_sps_rejects_every_cut(void **state)
{
	static const char whole[] = SPS_BASELINE;
	struct h264_sps sps = {.width = 7};
	uint8_t big[NAL_SPS_BYTES_MAX + 1] = {0x67};
	size_t len;

	(void)state;
	for (len = 0; len < sizeof(whole) - 2; len++)
		assert_int_equal(
			h264_parse_sps((struct nal_span){(const uint8_t *)whole,
							 len},
				       &sps),
			-EBADMSG);
	assert_int_equal(h264_parse_sps(SPAN(PPS_HD), &sps), -EBADMSG);
	assert_int_equal(h264_parse_sps((struct nal_span){big, sizeof(big)},
					&sps),
			 -EMSGSIZE);
	assert_int_equal(sps.width, 7);
}

static void h264_avcc_round_trips(void **state)
{
	static const uint8_t au[] = "\0\0\0\1" SPS_HD "\0\0\0\1" PPS_HD
				    "\0\0\1\x65\x88";
	static struct h264_avcc avcc;
	struct nal_span sps;
	struct nal_span pps;
	struct buf out;

	(void)state;
	buf_init(&out, 1024);
	assert_int_equal(h264_find_parameters(au, sizeof(au) - 1, &sps, &pps),
			 0);
	assert_int_equal(h264_write_avcc(&out, sps, pps), 0);
	assert_int_equal(h264_parse_avcc(buf_head(&out), buf_len(&out), &avcc),
			 0);
	assert_int_equal(avcc.length_bytes, 4);
	assert_int_equal(avcc.sps_count, 1);
	assert_int_equal(avcc.pps_count, 1);
	assert_int_equal(avcc.sps[0].len, sizeof(SPS_HD) - 1);
	assert_memory_equal(avcc.sps[0].bytes, SPS_HD, sizeof(SPS_HD) - 1);
	assert_memory_equal(avcc.pps[0].bytes, PPS_HD, sizeof(PPS_HD) - 1);
	assert_int_equal(avcc.info.width, 1920);
	/* High: the chroma format and depths follow. */
	assert_memory_equal(buf_head(&out) + buf_len(&out) - 4,
			    "\xfd\xf8\xf8\0", 4);
	/* Bytes behind them are not. */
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_int_equal(h264_parse_avcc(buf_head(&out), buf_len(&out), &avcc),
			 -EBADMSG);
	out.end--;
	/* Without them, as older muxers write it: accepted too. */
	assert_int_equal(
		h264_parse_avcc(buf_head(&out), buf_len(&out) - 4, &avcc), 0);
	buf_reset(&out);
	assert_int_equal(h264_write_avcc(&out, SPAN(SPS_BASELINE),
					 SPAN(PPS_BASELINE)),
			 0);
	assert_int_equal(buf_len(&out), 11 + 9 + 4);
	assert_int_equal(h264_write_avcc(&out, SPAN(SPS_BASELINE),
					 SPAN(SPS_BASELINE)),
			 -EBADMSG);
	assert_int_equal(buf_len(&out), 11 + 9 + 4);
	buf_fini(&out);
}

static void h264_avcc_rejects_what_is_not_one(void **state)
{
	static struct h264_avcc avcc;
	uint8_t bytes[64];
	struct buf out;
	size_t len;
	size_t i;

	(void)state;
	/* Annex B in the codec private: the usual mistake. */
	assert_int_equal(h264_parse_avcc(BYTES("\0\0\0\1" SPS_BASELINE
					       "\0\0\0\1" PPS_BASELINE),
					 &avcc),
			 -EBADMSG);
	buf_init(&out, 1024);
	assert_int_equal(h264_write_avcc(&out, SPAN(SPS_BASELINE),
					 SPAN(PPS_BASELINE)),
			 0);
	len = buf_len(&out);
	memcpy(bytes, buf_head(&out), len);
	for (i = 0; i < len; i++)
		assert_int_equal(h264_parse_avcc(bytes, i, &avcc), -EBADMSG);
	bytes[len] = 0;
	assert_int_equal(h264_parse_avcc(bytes, len + 1, &avcc), -EBADMSG);
	assert_int_equal(h264_parse_avcc(bytes, len, &avcc), 0);
	bytes[0] = 2; /* version */
	assert_int_equal(h264_parse_avcc(bytes, len, &avcc), -EBADMSG);
	bytes[0] = 1;
	bytes[4] = 0xfe; /* lengths of 3 bytes */
	assert_int_equal(h264_parse_avcc(bytes, len, &avcc), -EBADMSG);
	bytes[4] = 0xff;
	bytes[5] = 0xe0; /* no SPS */
	assert_int_equal(h264_parse_avcc(bytes, len, &avcc), -EBADMSG);
	buf_fini(&out);
}

static void h264_find_parameters_stops_at_the_slice(void **state)
{
	struct nal_span sps;
	struct nal_span pps;

	(void)state;
	assert_int_equal(h264_find_parameters(BYTES("\0\0\1\x67\x42\0\0\1\x65"
						    "\0\0\1\x68\xce"),
					      &sps, &pps),
			 -ENOENT);
	assert_int_equal(h264_find_parameters(BYTES("\0\0\1\x68\xce"), &sps,
					      &pps),
			 -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(h264_annexb_iterates_over_start_codes),
		cmocka_unit_test(h264_lengths_iterate_and_reject_lies),
		cmocka_unit_test(h264_annexb_becomes_pieces_without_parameters),
		cmocka_unit_test(h264_finds_key_frames),
		cmocka_unit_test(h264_escapes_and_unescapes),
		cmocka_unit_test(h264_sps_gives_the_picture_size),
		cmocka_unit_test(h264_sps_rejects_every_cut),
		cmocka_unit_test(h264_avcc_round_trips),
		cmocka_unit_test(h264_avcc_rejects_what_is_not_one),
		cmocka_unit_test(h264_find_parameters_stops_at_the_slice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
