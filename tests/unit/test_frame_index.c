/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/frame_index.h"
#include "proto/limits.h"

#define FRAMES 300u

/* Two tracks, reordered timecodes, one gap, extremes at the end. */
static struct frame_entry frame_at(unsigned int i)
{
	struct frame_entry f = {
		.track = 1 + i % 2,
		.key = i % 30 == 0,
		.has_time = i % 2 == 0,
		.offset = 24 + (uint64_t)i * 2000,
		.head_bytes = 9,
		.bytes = 1500 + i % 7,
		.timecode = 1700000000000 + i * 40 - (i % 4) * 30,
		.duration = i % 10 ? 0 : 40,
	};

	if (f.has_time)
		f.time_ns = UINT64_C(1700000000000000123) + i * 40000001u;
	if (i == FRAMES - 1) {
		f.track = UINT32_MAX >> 3;
		f.timecode = 0;
		f.bytes = UINT32_MAX;
		f.offset = UINT64_MAX - UINT32_MAX;
		f.head_bytes = UINT32_MAX;
		f.duration = UINT64_MAX;
	}
	return f;
}

static void assert_same(const struct frame_entry *a,
			const struct frame_entry *b)
{
	assert_int_equal(a->track, b->track);
	assert_int_equal(a->key, b->key);
	assert_int_equal(a->has_time, b->has_time);
	assert_true(a->offset == b->offset);
	assert_int_equal(a->head_bytes, b->head_bytes);
	assert_int_equal(a->bytes, b->bytes);
	assert_true(a->timecode == b->timecode);
	assert_true(a->time_ns == b->time_ns);
	assert_true(a->duration == b->duration);
}

static void fill(struct buf *out)
{
	struct frame_index_writer w;
	struct frame_entry f;
	unsigned int i;

	frame_index_begin(&w, out);
	for (i = 0; i < FRAMES; i++) {
		f = frame_at(i);
		assert_int_equal(frame_index_add(&w, &f), 0);
		assert_int_equal(w.count, i + 1);
	}
}

static void frame_index_round_trips(void **state)
{
	struct frame_index_iter it;
	struct frame_entry want;
	struct frame_entry got;
	struct buf out;
	unsigned int i;

	(void)state;
	buf_init(&out, FRAME_INDEX_BYTES_MAX);
	fill(&out);
	/* The point of it: about a dozen bytes a frame. */
	assert_true(buf_len(&out) < FRAMES * 16);
	assert_int_equal(frame_index_open(&it, buf_head(&out), buf_len(&out)),
			 0);
	for (i = 0; i < FRAMES; i++) {
		want = frame_at(i);
		assert_int_equal(frame_index_next(&it, &got), 1);
		assert_same(&got, &want);
	}
	assert_int_equal(frame_index_next(&it, &got), 0);
	buf_fini(&out);
}

static void frame_index_may_be_empty(void **state)
{
	struct frame_index_iter it;
	struct frame_entry f;

	(void)state;
	assert_int_equal(frame_index_open(&it, NULL, 0), 0);
	assert_int_equal(frame_index_next(&it, &f), 0);
}

static void frame_index_ends_or_is_bad_at_every_cut(void **state)
{
	struct frame_index_iter it;
	unsigned int clean = 0;
	struct frame_entry f;
	struct buf out;
	size_t len;
	int ret;

	(void)state;
	buf_init(&out, FRAME_INDEX_BYTES_MAX);
	fill(&out);
	for (len = 2; len < buf_len(&out); len++) {
		assert_int_equal(frame_index_open(&it, buf_head(&out), len), 0);
		while ((ret = frame_index_next(&it, &f)) > 0)
			;
		clean += !ret;
		assert_true(!ret || ret == -EBADMSG);
	}
	assert_int_equal(clean, FRAMES - 1);
	assert_int_equal(frame_index_open(&it, buf_head(&out), 1), -EBADMSG);
	buf_fini(&out);
}

static void frame_index_rejects_other_forms(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{"\1\x09\x80\0\0\0\0", 7}, /* gap 0 in two bytes */
		{"\1\x01\0\0\0\0", 6},	   /* track 0 */
		{"\1\x09\1\2\0\0", 6},	   /* a head longer than its gap */
		{"\1\x0d\0\0\0\0\0", 7},   /* a duration of 0 said aloud */
		{"\1\x09\0\0\x80\x80\x80\x80\x10\0", 10}, /* 2^32 bytes */
		{"\1\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1\0",
		 15}, /* ends beyond 2^64 */
		{"\1\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\0\1\0",
		 15}, /* 65 bits */
		{"\1\x09\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1\0\0\0",
		 16}, /* eleven bytes */
	};
	struct frame_index_iter it;
	struct frame_entry f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(
			frame_index_open(&it, (const uint8_t *)rows[i].bytes,
					 rows[i].len),
			0);
		assert_int_equal(frame_index_next(&it, &f), -EBADMSG);
	}
	assert_int_equal(frame_index_open(&it, (const uint8_t *)"\2", 1),
			 -EBADMSG);
}

static void frame_index_add_rejects_overlaps_and_overflow(void **state)
{
	struct frame_index_writer w;
	struct frame_entry f = {
		.track = 1, .offset = 20, .head_bytes = 9, .bytes = 100};
	struct frame_entry bad;
	struct buf out;
	size_t len;

	(void)state;
	buf_init(&out, 40);
	frame_index_begin(&w, &out);
	assert_int_equal(frame_index_add(&w, &f), 0);
	len = buf_len(&out);
	assert_int_equal(frame_index_add(&w, &f), -EINVAL); /* overlaps */
	f.offset = 128;
	assert_int_equal(frame_index_add(&w, &f), -EINVAL); /* its head does */
	f.offset = 129;
	bad = f;
	bad.track = 0;
	assert_int_equal(frame_index_add(&w, &bad), -EINVAL);
	bad.track = UINT32_MAX;
	assert_int_equal(frame_index_add(&w, &bad), -EINVAL);
	bad = f;
	bad.offset = UINT64_MAX;
	assert_int_equal(frame_index_add(&w, &bad), -EINVAL);
	assert_int_equal(buf_len(&out), len);
	while (!frame_index_add(&w, &f))
		f.offset += 109;
	assert_int_equal(frame_index_add(&w, &f), -ENOBUFS);
	assert_true(buf_len(&out) <= 40);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_index_round_trips),
		cmocka_unit_test(frame_index_may_be_empty),
		cmocka_unit_test(frame_index_ends_or_is_bad_at_every_cut),
		cmocka_unit_test(frame_index_rejects_other_forms),
		cmocka_unit_test(frame_index_add_rejects_overlaps_and_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
