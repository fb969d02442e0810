/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/h265.h"

#define SPAN(s) ((struct nal_span){(const uint8_t *)(s), sizeof(s) - 1})
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* Made by x265: 320x240, main profile. */
#define VPS                                                                \
	"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03" \
	"\x00\x00\x03\x00\x3c\x95\x98\x09"
#define SPS                                                                \
	"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03" \
	"\x00\x3c\xa0\x0a\x08\x0f\x16\x59\x59\xa4\x93\x2b\xc0\x5a\x02\x00" \
	"\x00\x03\x00\x02\x00\x00\x03\x00\x32\x10"
#define PPS "\x44\x01\xc1\x72\xb4\x62\x40"
/* The start of what libavformat made of them. */
#define HVCC_START                                                         \
	"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x3c\xf0\x00\xfc" \
	"\xfd\xf8\xf8\x00\x00\x0f"

static void h265_finds_irap_pictures(void **state)
{
	(void)state;
	/* IDR_W_RADL 19, CRA 21, BLA 16; TRAIL_R 1, RASL 9 */
	assert_true(h265_annexb_is_key(BYTES("\0\0\1\x26\x01\xaf")));
	assert_true(h265_annexb_is_key(BYTES("\0\0\1\x2a\x01\xaf")));
	assert_true(h265_annexb_is_key(BYTES("\0\0\1\x40\1\0\0\1\x20\x01")));
	assert_false(h265_annexb_is_key(BYTES("\0\0\1\x02\x01\xaf")));
	assert_false(h265_annexb_is_key(BYTES("\0\0\1\x12\1\0\0\1\x26\1")));
	assert_false(h265_annexb_is_key(BYTES("\0\0\1" VPS)));
	assert_true(h265_lengths_is_key(BYTES("\0\0\0\3\x26\x01\xaf"), 4));
	assert_false(h265_lengths_is_key(BYTES("\0\0\0\4\x26\x01\xaf"), 4));
}

static void h265_sps_gives_profile_and_size(void **state)
{
	static const char whole[] = SPS;
	struct h265_sps sps;
	size_t len;

	(void)state;
	assert_int_equal(h265_parse_sps(SPAN(SPS), &sps), 0);
	assert_int_equal(sps.width, 320);
	assert_int_equal(sps.height, 240);
	assert_int_equal(sps.chroma_format, 1);
	assert_int_equal(sps.bit_depth_luma, 8);
	assert_int_equal(sps.sub_layers, 1);
	assert_true(sps.temporal_id_nesting);
	assert_memory_equal(sps.profile_tier_level, &HVCC_START[1], 12);
	for (len = 0; len < 22; len++)
		assert_int_equal(
			h265_parse_sps((struct nal_span){(const uint8_t *)whole,
							 len},
				       &sps),
			-EBADMSG);
	assert_int_equal(h265_parse_sps(SPAN(VPS), &sps), -EBADMSG);
}

static void h265_hvcc_round_trips(void **state)
{
	static const uint8_t au[] = "\0\0\0\1" VPS "\0\0\0\1" SPS "\0\0\1" PPS
				    "\0\0\1\x26\x01\xaf";
	static struct h265_hvcc hvcc;
	struct nal_span vps;
	struct nal_span sps;
	struct nal_span pps;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 1024);
	assert_int_equal(
		h265_find_parameters(au, sizeof(au) - 1, &vps, &sps, &pps), 0);
	assert_int_equal(h265_write_hvcc(&out, vps, sps, pps), 0);
	assert_memory_equal(buf_head(&out), HVCC_START, sizeof(HVCC_START) - 1);
	assert_int_equal(h265_parse_hvcc(buf_head(&out), buf_len(&out), &hvcc),
			 0);
	assert_int_equal(hvcc.length_bytes, 4);
	assert_int_equal(hvcc.vps_count, 1);
	assert_memory_equal(hvcc.vps[0].bytes, VPS, sizeof(VPS) - 1);
	assert_memory_equal(hvcc.sps[0].bytes, SPS, sizeof(SPS) - 1);
	assert_memory_equal(hvcc.pps[0].bytes, PPS, sizeof(PPS) - 1);
	assert_int_equal(hvcc.info.height, 240);
	for (i = 0; i < buf_len(&out); i++)
		assert_int_equal(h265_parse_hvcc(buf_head(&out), i, &hvcc),
				 -EBADMSG);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_int_equal(h265_parse_hvcc(buf_head(&out), buf_len(&out), &hvcc),
			 -EBADMSG);
	assert_int_equal(h265_parse_hvcc(au, sizeof(au) - 1, &hvcc), -EBADMSG);
	buf_fini(&out);
}

static void h265_parameters_must_all_be_there(void **state)
{
	struct nal_span vps;
	struct nal_span sps;
	struct nal_span pps;
	struct buf out;

	(void)state;
	assert_int_equal(h265_find_parameters(BYTES("\0\0\1" VPS "\0\0\1" SPS),
					      &vps, &sps, &pps),
			 -ENOENT);
	buf_init(&out, 1024);
	assert_int_equal(h265_write_hvcc(&out, SPAN(SPS), SPAN(SPS), SPAN(PPS)),
			 -EBADMSG);
	assert_int_equal(h265_write_hvcc(&out, SPAN(VPS), SPAN(PPS), SPAN(PPS)),
			 -EBADMSG);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(h265_finds_irap_pictures),
		cmocka_unit_test(h265_sps_gives_profile_and_size),
		cmocka_unit_test(h265_hvcc_round_trips),
		cmocka_unit_test(h265_parameters_must_all_be_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
