/* SPDX-License-Identifier: Apache-2.0 */
#include "core/media_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mkv_reader.h"
#include "support/mkv_build.h"

static const struct fragment_number number = {
	.seq = 7, .server_ms = 1511852109126ull, .random = 99};

static enum media_tag kind(const char *name, size_t value_bytes)
{
	struct mkv_tag tag = {.name = name, .name_len = strlen(name)};

	return media_tag_kind(&tag, tag.name_len, value_bytes);
}

static void media_tag_kind_tells_reserved_names(void **state)
{
	(void)state;
	assert_int_equal(kind("name", 256), MEDIA_TAG_USER);
	assert_int_equal(kind("name", 257), MEDIA_TAG_TOO_LONG);
	assert_int_equal(kind("", 1), MEDIA_TAG_TOO_LONG);
	assert_int_equal(kind("AWS", 1), MEDIA_TAG_FORGED);
	assert_int_equal(kind("AWS_KINESISVIDEO_CONTINUATION_TOKEN", 1),
			 MEDIA_TAG_FORGED);
	assert_int_equal(kind("AWS_KINESISVIDEO_END_OF_FRAGMENT", 0),
			 MEDIA_TAG_END_OF_FRAGMENT);
	assert_int_equal(kind("AWS_KINESISVIDEO_NOTIFICATION", 0),
			 MEDIA_TAG_RESERVED);
	assert_int_equal(kind("AWS_KINESISVIDEO_NOTIFICATION", 257),
			 MEDIA_TAG_TOO_LONG);
	/* Too long to be counted is not too long to be believed. */
	assert_int_equal(kind("AWS_KINESISVIDEO_CONTINUATION_TOKEN", 257),
			 MEDIA_TAG_FORGED);
	assert_int_equal(kind("aws", 1), MEDIA_TAG_USER);
}

/* Tags as "name=value\n". */
static int collect(void *ctx, const struct mkv_tag_event *e)
{
	char *out = ctx;

	strncat(out, e->tag.name, e->tag.name_len);
	strcat(out, "=");
	strncat(out, e->tag.value, e->tag.value_len);
	strcat(out, "\n");
	return 0;
}

static const struct mkv_reader_ops ops = {.tag = collect};

static void read_tags(const void *bytes, size_t len, char *out)
{
	struct mkv_reader r;
	size_t used;

	out[0] = '\0';
	mkv_reader_init(&r, &ops, out, 0);
	assert_int_equal(mkv_reader_feed(&r, bytes, len, &used), 0);
	assert_int_equal(used, len);
	mkv_reader_fini(&r);
}

static void media_out_tags_are_what_readers_parse(void **state)
{
	struct mkv_build b = {.len = 0};
	struct buf out;
	char text[1024];

	(void)state;
	buf_init(&out, MEDIA_OUT_TAGS_BYTES_MAX);
	mkv_build_header(&b, 1);
	assert_int_equal(media_out_before(&out, &number, 1511852109126ull,
					  1511852108005ull),
			 0);
	mkv_build_raw(&b, buf_head(&out), buf_len(&out));
	mkv_build_cluster(&b, 0);
	buf_reset(&out);
	assert_int_equal(media_out_after(&out, &number, 15858), 0);
	mkv_build_raw(&b, buf_head(&out), buf_len(&out));
	read_tags(b.bytes, b.len, text);
	assert_string_equal(
		text, "AWS_KINESISVIDEO_FRAGMENT_NUMBER="
		      "91343852333181432422392623550593046743470833763\n"
		      "AWS_KINESISVIDEO_SERVER_TIMESTAMP=1511852109.126\n"
		      "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP=1511852108.005\n"
		      "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW=15858\n"
		      "AWS_KINESISVIDEO_CONTINUATION_TOKEN="
		      "91343852333181432422392623550593046743470833763\n");
	buf_fini(&out);
}

static void media_out_error_names_the_fragment(void **state)
{
	struct buf out;
	char text[1024];

	(void)state;
	buf_init(&out, MEDIA_OUT_TAGS_BYTES_MAX);
	assert_int_equal(media_out_exception(&out, SLICE("123"),
					     MEDIA_ERROR_NOT_FOUND),
			 0);
	read_tags(buf_head(&out), buf_len(&out), text);
	assert_string_equal(text,
			    "AWS_KINESISVIDEO_FRAGMENT_NUMBER=123\n"
			    "AWS_KINESISVIDEO_ERROR_CODE=FRAGMENT_NOT_FOUND\n"
			    "AWS_KINESISVIDEO_ERROR_ID=4000\n"
			    "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE=4000\n"
			    "AWS_KINESISVIDEO_EXCEPTION_MESSAGE="
			    "FRAGMENT_NOT_FOUND\n");
	buf_fini(&out);
}

static void media_out_open_segment_keeps_the_width(void **state)
{
	/* EBML (empty), Void, then Segments of 8-, 1-byte and unknown size. */
	uint8_t wide[] = {0x1a, 0x45, 0xdf, 0xa3, 0x80, 0x18, 0x53, 0x80,
			  0x67, 0x01, 0,    0,    0,    0,    0,    1,
			  0x23, 0xec};
	uint8_t narrow[] = {0x18, 0x53, 0x80, 0x67, 0x90, 0x15};
	uint8_t open[] = {0x18, 0x53, 0x80, 0x67, 0xff};
	uint8_t cut[] = {0x1a, 0x45, 0xdf, 0xa3, 0x84, 0x18};
	const uint8_t unknown[] = {0x01, 0xff, 0xff, 0xff,
				   0xff, 0xff, 0xff, 0xff};

	(void)state;
	media_out_open_segment(wide, sizeof(wide));
	assert_memory_equal(wide + 9, unknown, 8);
	assert_int_equal(wide[17], 0xec);
	media_out_open_segment(narrow, sizeof(narrow));
	assert_int_equal(narrow[4], 0xff);
	assert_int_equal(narrow[5], 0x15);
	media_out_open_segment(open, sizeof(open));
	assert_int_equal(open[4], 0xff);
	media_out_open_segment(cut, sizeof(cut));
	assert_int_equal(cut[5], 0x18);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(media_tag_kind_tells_reserved_names),
		cmocka_unit_test(media_out_tags_are_what_readers_parse),
		cmocka_unit_test(media_out_error_names_the_fragment),
		cmocka_unit_test(media_out_open_segment_keeps_the_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
