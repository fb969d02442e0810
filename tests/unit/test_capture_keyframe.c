/* SPDX-License-Identifier: Apache-2.0 */
#include "src/keyframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/api.h>

#define FIND(fourcc, ...)                                     \
	keyframe_find(fourcc, (const uint8_t[]){__VA_ARGS__}, \
		      sizeof((const uint8_t[]){__VA_ARGS__}))

static void keyframe_finds_idr_behind_parameter_sets(void **state)
{
	(void)state;
	assert_true(FIND(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 0x67, 9, 0, 0, 1,
			 0x68, 9, 0, 0, 1, 0x65, 0x88));
	assert_false(FIND(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 0x67, 9, 0, 0, 1,
			  0x41, 0x88));
	/* A slice that is none: the first decides. */
	assert_false(
		FIND(CAPTURE_FORMAT_H264, 0, 0, 1, 0x41, 1, 0, 0, 1, 0x65, 1));
}

static void keyframe_finds_irap_of_hevc(void **state)
{
	(void)state;
	assert_true(FIND(CAPTURE_FORMAT_HEVC, 0, 0, 1, 0x40, 1, 0, 0, 1, 0x26,
			 1)); /* VPS, IDR_W_RADL */
	assert_false(FIND(CAPTURE_FORMAT_HEVC, 0, 0, 1, 0x02, 1));
}

static void keyframe_reads_fwht_flag(void **state)
{
	uint8_t header[44] = {0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	assert_false(keyframe_find(CAPTURE_FORMAT_FWHT, header, 44));
	header[22] = 0x04; /* bit 10 of the big-endian word at 20 */
	assert_true(keyframe_find(CAPTURE_FORMAT_FWHT, header, 44));
	assert_false(keyframe_find(CAPTURE_FORMAT_FWHT, header, 43));
	header[0] = 0;
	assert_false(keyframe_find(CAPTURE_FORMAT_FWHT, header, 44));
}

static void keyframe_of_jpeg_is_every_frame(void **state)
{
	(void)state;
	assert_true(FIND(CAPTURE_FORMAT_MJPG, 0xff));
	assert_false(FIND(CAPTURE_FORMAT_YU12, 0, 0, 1, 0x65, 1));
}

static void keyframe_reads_frame_tag_of_vp8(void **state)
{
	(void)state;
	assert_true(FIND(CAPTURE_FORMAT_VP8, 0x10, 2, 0, 0x9d, 1, 0x2a, 64, 0,
			 48, 0));
	assert_false(FIND(CAPTURE_FORMAT_VP8, 0x11, 2, 0, 0x9d, 1, 0x2a, 64, 0,
			  48, 0));
	assert_false(FIND(CAPTURE_FORMAT_VP8, 0x10, 2, 0, 0x9d, 1, 0x2b, 64, 0,
			  48, 0));
	assert_false(
		FIND(CAPTURE_FORMAT_VP8, 0x10, 2, 0, 0x9d, 1, 0x2a, 64, 0, 48));
}

#define SCAN(fourcc, ...)                            \
	scan(fourcc, (const uint8_t[]){__VA_ARGS__}, \
	     sizeof((const uint8_t[]){__VA_ARGS__}))

static struct keyframe_parts scan(uint32_t fourcc, const uint8_t *bytes,
				  size_t len)
{
	struct keyframe_parts parts;

	keyframe_scan(fourcc, bytes, len, &parts);
	return parts;
}

static void keyframe_tells_headers_from_pictures(void **state)
{
	struct keyframe_parts p;

	(void)state;
	p = SCAN(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 0x67, 9, 0, 0, 1, 0x68, 9);
	assert_true(!p.picture && p.any_set && p.all_sets && !p.key);
	p = SCAN(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 0x68, 9, 0, 0, 1, 0x65, 9);
	assert_true(p.picture && p.any_set && !p.all_sets && p.key);
	/* Sets that come after the picture are of the next one. */
	p = SCAN(CAPTURE_FORMAT_H264, 0, 0, 1, 0x65, 9, 0, 0, 1, 0x67, 9, 0, 0,
		 1, 0x68, 9);
	assert_true(p.picture && !p.any_set && p.key);
	p = SCAN(CAPTURE_FORMAT_HEVC, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0,
		 1, 0x26, 1);
	assert_true(p.key && !p.all_sets); /* no VPS */
	p = SCAN(CAPTURE_FORMAT_H264, 0, 0, 1, 0x06, 1);
	assert_true(!p.picture && !p.any_set);
	p = SCAN(CAPTURE_FORMAT_FWHT, 1);
	assert_true(p.picture && p.all_sets && !p.key);
}

static void keyframe_puts_headers_behind_the_delimiter(void **state)
{
	(void)state;
	assert_int_equal(SCAN(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 9, 0xf0, 0, 0, 0,
			      1, 0x65, 9)
				 .insert_at,
			 6);
	assert_int_equal(SCAN(CAPTURE_FORMAT_H264, 0, 0, 1, 9, 0xf0, 0, 0, 1,
			      0x65, 9)
				 .insert_at,
			 5);
	assert_int_equal(
		SCAN(CAPTURE_FORMAT_H264, 0, 0, 0, 1, 0x65, 9).insert_at, 0);
}

static void keyframe_copies_sets_alone(void **state)
{
	static const uint8_t unit[] = {0, 0, 1,	   9, 0xf0, 0, 0, 1, 0x67,
				       1, 2, 0,	   0, 0,    1, 6, 7, 0,
				       0, 1, 0x68, 3, 0,    0, 0, 1, 0x65};
	static const uint8_t want[] = {0, 0, 0, 1, 0x67, 1, 2,
				       0, 0, 0, 1, 0x68, 3};
	uint8_t to[sizeof(want)];

	(void)state;
	assert_int_equal(keyframe_copy_sets(CAPTURE_FORMAT_H264, unit,
					    sizeof(unit), to, sizeof(to)),
			 sizeof(want));
	assert_memory_equal(to, want, sizeof(want));
	assert_int_equal(keyframe_copy_sets(CAPTURE_FORMAT_H264, unit,
					    sizeof(unit), to, sizeof(to) - 1),
			 0);
	assert_int_equal(keyframe_copy_sets(CAPTURE_FORMAT_VP8, unit,
					    sizeof(unit), to, sizeof(to)),
			 0);
}

/* Heap blocks of the exact size, so that a sanitizer sees a step outside. */
static void keyframe_stays_inside_when_cut_anywhere(void **state)
{
	static const uint8_t whole[] = {0, 0,	 0, 1, 0x67, 0,	  0,
					1, 0x68, 0, 0, 1,    0x65};
	uint8_t sets[32];
	size_t len;

	(void)state;
	for (len = 0; len <= sizeof(whole); len++) {
		uint8_t *cut = malloc(len ? len : 1);

		assert_non_null(cut);
		memcpy(cut, whole, len);
		assert_int_equal(keyframe_find(CAPTURE_FORMAT_H264, cut, len),
				 len == sizeof(whole));
		(void)keyframe_find(CAPTURE_FORMAT_HEVC, cut, len);
		(void)keyframe_find(CAPTURE_FORMAT_VP8, cut, len);
		(void)keyframe_copy_sets(CAPTURE_FORMAT_H264, cut, len, sets,
					 sizeof(sets));
		(void)keyframe_copy_sets(CAPTURE_FORMAT_HEVC, cut, len, sets,
					 sizeof(sets));
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyframe_finds_idr_behind_parameter_sets),
		cmocka_unit_test(keyframe_finds_irap_of_hevc),
		cmocka_unit_test(keyframe_reads_fwht_flag),
		cmocka_unit_test(keyframe_of_jpeg_is_every_frame),
		cmocka_unit_test(keyframe_reads_frame_tag_of_vp8),
		cmocka_unit_test(keyframe_tells_headers_from_pictures),
		cmocka_unit_test(keyframe_puts_headers_behind_the_delimiter),
		cmocka_unit_test(keyframe_copies_sets_alone),
		cmocka_unit_test(keyframe_stays_inside_when_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
