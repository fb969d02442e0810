/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "proto/mkv_reader.h"
#include "support/mkv_build.h"

static struct mkv_build b;
static size_t media_at; /* in @b */

/* --- what the reader makes of it --- */

static int on_frame_end(void *ctx, const struct mkv_frame *frame)
{
	(void)frame;
	(*(uint64_t *)ctx)++;
	return 0;
}

static uint64_t frames_read(void)
{
	static const struct mkv_reader_ops ops = {.frame_end = on_frame_end};
	struct mkv_reader r;
	uint64_t frames = 0;
	size_t used;

	mkv_reader_init(&r, &ops, &frames, 0);
	assert_int_equal(mkv_reader_feed(&r, b.bytes, b.len, &used), 0);
	assert_int_equal(mkv_reader_finish(&r), 0);
	mkv_reader_fini(&r);
	return frames;
}

/* --- media of every kind --- */

static void block(uint32_t id, unsigned int width, uint8_t flags,
		  const char *rest, size_t rest_len)
{
	static const uint8_t head[] = {0x81, 0, 0};
	size_t at = b.len;

	mkv_build_raw(&b, head, sizeof(head));
	mkv_build_raw(&b, &flags, 1);
	mkv_build_raw(&b, rest, rest_len);
	mkv_build_wrap(&b, at, id, width);
}

static void group(uint8_t flags, const char *rest, size_t rest_len)
{
	size_t at = b.len;

	block(MKV_ID_BLOCK, 2, flags, rest, rest_len);
	mkv_build_uint(&b, MKV_ID_BLOCK_DURATION, 2, 40);
	mkv_build_wrap(&b, at, MKV_ID_BLOCK_GROUP, 3);
}

static void build(bool known)
{
	size_t at;

	b.len = 0;
	mkv_build_header(&b, 1);
	media_at = b.len;
	at = b.len;
	if (!known)
		mkv_build_head(&b, MKV_ID_CLUSTER, 8, EBML_SIZE_UNKNOWN);
	mkv_build_uint(&b, MKV_ID_TIMECODE, 8, 1000);
	block(MKV_ID_SIMPLE_BLOCK, 1, 0x80, "key", 3);
	block(MKV_ID_SIMPLE_BLOCK, 8, 0, "", 0);
	block(MKV_ID_SIMPLE_BLOCK, 2, 0x04, "\2aabbcc", 7);  /* fixed */
	block(MKV_ID_SIMPLE_BLOCK, 4, 0x02, "\1\3aaabb", 7); /* Xiph */
	block(MKV_ID_SIMPLE_BLOCK, 1, 0x06,
	      "\1\x82"
	      "aabbb",
	      7); /* EBML */
	mkv_build_bytes(&b, MKV_ID_VOID, "\xa3\x81\xa3\x81", 4);
	group(0, "in a group", 10);
	group(0x04, "\4abcde", 6);
	block(MKV_ID_SIMPLE_BLOCK, 1, 0, "last", 4);
	if (known)
		mkv_build_wrap(&b, at, MKV_ID_CLUSTER, 4);
	mkv_build_tag(&b, "name", "\xa3\x81\x80");
}

static uint64_t frames_counted(size_t step)
{
	struct mkv_frames m = {.skip = 0};
	uint64_t frames = 0;
	size_t at;

	for (at = media_at; at < b.len; at += step)
		frames +=
			mkv_frames_add(&m, b.bytes + at, MIN(step, b.len - at));
	assert_false(m.lost);
	return frames;
}

static void frames_are_those_of_the_reader(void **state)
{
	unsigned int known;
	size_t step;

	(void)state;
	for (known = 0; known < 2; known++) {
		build(known);
		assert_int_equal(frames_read(), 2 + 3 + 2 + 2 + 1 + 5 + 1);
		for (step = 1; step <= b.len; step++)
			assert_int_equal(frames_counted(step), frames_read());
	}
}

/* A Block counts when its last byte has gone. */
static void a_frame_counts_when_it_is_whole(void **state)
{
	struct mkv_frames m = {.skip = 0};

	(void)state;
	b.len = 0;
	mkv_build_cluster(&b, 0);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "frame");
	assert_int_equal(mkv_frames_add(&m, b.bytes, b.len - 1), 0);
	assert_int_equal(mkv_frames_add(&m, b.bytes + b.len - 1, 1), 1);
}

static void what_is_no_media_ends_the_count(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"\0\0\0\0", 4},		  /* no id */
		{"\xa3\0\0\0\0\0\0\0\0", 9},	  /* no size */
		{"\xe7\xff\1", 3},		  /* an unknown one */
		{"\xa3\x82\x81\0\0\0", 6},	  /* no room for its head */
		{"\xa3\x84\x81\0\0\4\xff", 7},	  /* ... and the laces */
		{"\xa3\x8f\0\0\0\0\0\0\0\0", 10}, /* no track */
	};
	size_t i;
	size_t step;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (step = 1; step <= cases[i].len; step++) {
			struct mkv_frames m = {.skip = 0};
			size_t at;

			for (at = 0; at < cases[i].len; at += step)
				assert_int_equal(
					mkv_frames_add(
						&m,
						(const uint8_t *)cases[i].bytes +
							at,
						MIN(step, cases[i].len - at)),
					0);
			assert_true(m.lost);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_those_of_the_reader),
		cmocka_unit_test(a_frame_counts_when_it_is_whole),
		cmocka_unit_test(what_is_no_media_ends_the_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
