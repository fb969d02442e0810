/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "proto/mkv_reader.h"
#include "support/mkv_build.h"
#include "support/mkv_events.h"

static struct mkv_build b;
static struct buf log_whole;
static struct buf log_cut;

static int setup(void **state)
{
	(void)state;
	b.len = 0;
	buf_init(&log_whole, MKV_EVENTS_BYTES_MAX);
	buf_init(&log_cut, MKV_EVENTS_BYTES_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&log_whole);
	buf_fini(&log_cut);
	return 0;
}

static const char *log_text(struct buf *log)
{
	uint8_t *end = buf_reserve(log, 1);

	assert_non_null(end);
	*end = 0;
	return (const char *)buf_head(log);
}

/* The events of what was built; asserts that byte by byte gives the same. */
static const char *events(unsigned int flags, enum mkv_error *ret_error)
{
	enum mkv_error cut_error;
	int cut;
	int ret;

	buf_reset(&log_whole);
	buf_reset(&log_cut);
	ret = mkv_events_run(b.bytes, b.len, NULL, 0, flags, &log_whole,
			     ret_error);
	cut = mkv_events_run_slices(b.bytes, b.len, 1, flags, &log_cut,
				    &cut_error);
	assert_int_equal(ret, cut);
	assert_int_equal(*ret_error, cut_error);
	assert_string_equal(log_text(&log_whole), log_text(&log_cut));
	return log_text(&log_whole);
}

static const char *good_events(void)
{
	enum mkv_error error;
	const char *text = events(0, &error);

	assert_string_equal(mkv_error_name(error), "ok");
	return text;
}

static void expect_error(enum mkv_error want)
{
	enum mkv_error error;

	(void)events(0, &error);
	assert_string_equal(mkv_error_name(error), mkv_error_name(want));
}

static void expect_line(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no '%s' in:\n%s", line, text);
}

static unsigned int count_lines(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);
	unsigned int count = 0;
	const char *p;

	for (p = text; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		count += !strncmp(p, prefix, len);
	}
	return count;
}

/* Everything that real muxers write, in one small document. */
static void build_rich(void)
{
	size_t at;

	mkv_build_header(&b, 2);
	mkv_build_text(&b, MKV_ID_VOID, "........");
	mkv_build_tag(&b, "AWS_KINESISVIDEO_FRAGMENT_NUMBER", "91343852");
	mkv_build_cluster(&b, 1000);
	mkv_build_uint(&b, 0xa7, 1, 0); /* Position */
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "key frame");
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 2, -3, 0x80, "early");
	at = b.len;
	mkv_build_block(&b, MKV_ID_BLOCK, 1, 40, 0, "predicted");
	mkv_build_uint(&b, MKV_ID_BLOCK_DURATION, 1, 40);
	mkv_build_uint(&b, MKV_ID_REFERENCE_BLOCK, 1, 1);
	mkv_build_wrap(&b, at, MKV_ID_BLOCK_GROUP, 1);
	mkv_build_tag(&b, "name", "");
	at = b.len;
	mkv_build_text(&b, MKV_ID_CRC32, "crc!");
	mkv_build_uint(&b, MKV_ID_TIMECODE, 2, 2000);
	mkv_build_uint(&b, 0xab, 2, 300); /* PrevSize */
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "known size");
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 2, 1, 0x00, "");
	mkv_build_wrap(&b, at, MKV_ID_CLUSTER, 3);
	mkv_build_text(&b, MKV_ID_CUES, "any cues");
	mkv_build_cluster(&b, 3000);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0x7fff, 0x81, "last");
}

static void mkv_reader_reports_a_document(void **state)
{
	const char *text;

	(void)state;
	build_rich();
	text = good_events();
	expect_line(text, "document 0..");
	expect_line(text, "scale 1000000\n");
	expect_line(text, "track 1 type 1 V_MPEG4/ISO/AVC 'kinesis_video' "
			  "private 8 ");
	expect_line(text, " default 40000000 1280x720 0 Hz");
	expect_line(text, "track 2 ");
	expect_line(text, "timecode 1000 1000000000\n");
	expect_line(text, "+9 rel 0 tc 1000 ns 1000000000 dur 0 key flags 80");
	expect_line(text, "+5 rel -3 tc 997 ns 997000000 dur 0 key flags 80");
	expect_line(text, "+9 rel 40 tc 1040 ns 1040000000 dur 40 - flags 00");
	expect_line(text, "+10 rel 0 tc 2000 ns 2000000000 dur 0 key");
	expect_line(text, "+0 rel 1 tc 2001 ns 2001000000 dur 0 - flags 00");
	expect_line(text, "+4 rel 32767 tc 35767 ns 35767000000 dur 0 key "
			  "flags 81 lace 0/1");
	assert_int_equal(count_lines(text, "frame "), 6);
	assert_int_equal(count_lines(text, "cluster end "), 3);
	assert_int_equal(count_lines(text, "tag "), 2);
	assert_int_equal(count_lines(text, "tags end "), 2);
	assert_int_equal(count_lines(text, "document end "), 1);
}

static void mkv_reader_gives_the_same_events_however_cut(void **state)
{
	enum mkv_error error;
	enum mkv_error cut_error;
	size_t cuts[2];
	int ret;

	(void)state;
	build_rich();
	ret = mkv_events_run(b.bytes, b.len, NULL, 0, 0, &log_whole, &error);
	assert_int_equal(ret, 0);
	for (cuts[0] = 0; cuts[0] <= b.len; cuts[0]++) {
		for (cuts[1] = cuts[0]; cuts[1] <= b.len;
		     cuts[1] += 1 + cuts[0] % 7) {
			buf_reset(&log_cut);
			assert_int_equal(mkv_events_run(b.bytes, b.len, cuts, 2,
							0, &log_cut,
							&cut_error),
					 0);
			assert_string_equal(log_text(&log_whole),
					    log_text(&log_cut));
		}
	}
}

static void mkv_reader_says_truncated_or_ends_well_at_every_length(void **state)
{
	enum mkv_error error;
	unsigned int whole = 0;
	size_t len = 0;
	int ret;

	(void)state;
	build_rich();
	for (len = 0; len < b.len; len++) {
		buf_reset(&log_whole);
		ret = mkv_events_run(b.bytes, len, NULL, 0, 0, &log_whole,
				     &error);
		whole += !ret;
		if (ret)
			assert_true(error == MKV_ERR_TRUNCATED ||
				    error == MKV_ERR_NO_TRACKS ||
				    error == MKV_ERR_TIMECODE);
	}
	/* Empty, after Tracks, Void, Tags, Timecode, each block, ... */
	assert_true(whole >= 12 && whole < 30);
}

static void mkv_reader_accepts_an_empty_body(void **state)
{
	(void)state;
	assert_string_equal(good_events(), "ok\n");
}

static void mkv_reader_accepts_a_header_alone(void **state)
{
	(void)state;
	mkv_build_header(&b, 1);
	expect_line(good_events(), "document end ");
}

/* --- where things end ------------------------------------------------------ */

static void unknown_cluster_ends_at(uint32_t id)
{
	char line[64];

	b.len = 0;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 1);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	(void)snprintf(line, sizeof(line), "cluster end %zu\n", b.len);
	mkv_build_head(&b, id, 1, 0);
	expect_line(good_events(), line);
}

static void mkv_reader_ends_an_unknown_cluster_at_level_1(void **state)
{
	(void)state;
	unknown_cluster_ends_at(MKV_ID_TAGS);
	unknown_cluster_ends_at(MKV_ID_CUES);
	unknown_cluster_ends_at(MKV_ID_SEEK_HEAD);
	unknown_cluster_ends_at(MKV_ID_CHAPTERS);
	unknown_cluster_ends_at(MKV_ID_ATTACHMENTS);
}

static void mkv_reader_keeps_void_inside_an_unknown_cluster(void **state)
{
	char line[64];

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 1);
	mkv_build_text(&b, MKV_ID_VOID, "padding");
	mkv_build_text(&b, 0x6fab, "an element of tomorrow");
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	(void)snprintf(line, sizeof(line), "cluster end %zu\n", b.len);
	expect_line(good_events(), line);
}

static void mkv_reader_ignores_known_ids_out_of_place(void **state)
{
	size_t at;

	(void)state;
	mkv_build_ebml(&b);
	mkv_build_head(&b, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
	at = b.len;
	mkv_build_text(&b, MKV_ID_CODEC_PRIVATE, "not in a track");
	mkv_build_text(&b, MKV_ID_CONTENT_ENCODINGS, "");
	mkv_build_text(&b, MKV_ID_CODEC_ID, "neither");
	mkv_build_text(&b, MKV_ID_TAG_NAME, "nor this");
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 9, 0, 0, "nor this");
	mkv_build_wrap(&b, at, MKV_ID_INFO, 2);
	at = b.len;
	mkv_build_track(&b, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 4);
	mkv_build_cluster(&b, 0);
	mkv_build_text(&b, MKV_ID_REFERENCE_BLOCK, "x");
	mkv_build_text(&b, MKV_ID_TAG_BINARY, "x");
	expect_line(good_events(), "private 8 ");
}

struct seen {
	unsigned int clusters;
	unsigned int cluster_ends;
	unsigned int frames;
	int answer;
};

static int count_cluster(void *ctx, uint64_t offset, uint64_t size)
{
	struct seen *s = ctx;

	(void)offset;
	(void)size;
	s->clusters++;
	return 0;
}

static int count_cluster_end(void *ctx, uint64_t offset)
{
	struct seen *s = ctx;

	(void)offset;
	s->cluster_ends++;
	return 0;
}

static int count_frame(void *ctx, const struct mkv_frame *f)
{
	struct seen *s = ctx;

	(void)f;
	s->frames++;
	return s->answer;
}

static const struct mkv_reader_ops counting_ops = {
	.cluster_begin = count_cluster,
	.cluster_end = count_cluster_end,
	.frame_end = count_frame,
};

static void mkv_reader_ends_a_known_cluster_with_its_last_byte(void **state)
{
	static struct mkv_reader r;
	struct seen s = {0};
	size_t used;
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	at = b.len;
	mkv_build_uint(&b, MKV_ID_TIMECODE, 1, 0);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	mkv_build_wrap(&b, at, MKV_ID_CLUSTER, 8);
	mkv_reader_init(&r, &counting_ops, &s, 0);
	assert_int_equal(mkv_reader_feed(&r, b.bytes, b.len - 1, &used), 0);
	assert_int_equal(s.clusters, 1);
	assert_int_equal(s.cluster_ends, 0);
	assert_int_equal(mkv_reader_feed(&r, b.bytes + b.len - 1, 1, &used), 0);
	assert_int_equal(s.cluster_ends, 1);
	assert_int_equal(mkv_reader_finish(&r), 0);
	mkv_reader_fini(&r);
}

static void mkv_reader_ends_an_unknown_cluster_in_a_known_segment(void **state)
{
	const char *text;
	size_t at;

	(void)state;
	mkv_build_ebml(&b);
	at = b.len;
	mkv_build_track(&b, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 1);
	mkv_build_cluster(&b, 7);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	mkv_build_wrap(&b, at, MKV_ID_SEGMENT, 8);
	text = good_events();
	expect_line(text, "timecode 7 7000000\n"); /* the default scale */
	assert_int_equal(count_lines(text, "cluster end "), 1);
}

/* --- documents ------------------------------------------------------------- */

static void mkv_reader_takes_many_documents_when_told(void **state)
{
	enum mkv_error error;
	const char *text;
	size_t second;
	char line[64];

	(void)state;
	build_rich();
	second = b.len;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 5);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	expect_error(MKV_ERR_SECOND_SEGMENT);
	text = events(MKV_READER_MULTI, &error);
	assert_int_equal(error, MKV_OK);
	assert_int_equal(count_lines(text, "document end "), 2);
	(void)snprintf(line, sizeof(line), "document %zu..", second);
	expect_line(text, line);
}

static void mkv_reader_rejects_a_second_segment(void **state)
{
	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 5);
	mkv_build_head(&b, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
	expect_error(MKV_ERR_SECOND_SEGMENT);
}

static void mkv_reader_rejects_new_tracks_after_the_header(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 5);
	at = b.len;
	mkv_build_track(&b, 2);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 4);
	expect_error(MKV_ERR_NEW_TRACKS);
}

static void mkv_reader_counts_tracks(void **state)
{
	(void)state;
	mkv_build_header(&b, 3);
	(void)good_events();
	b.len = 0;
	mkv_build_header(&b, 4);
	expect_error(MKV_ERR_TOO_MANY_TRACKS);
	b.len = 0;
	mkv_build_ebml(&b);
	mkv_build_segment(&b);
	mkv_build_cluster(&b, 0);
	expect_error(MKV_ERR_NO_TRACKS);
}

static void mkv_reader_rejects_bad_tracks(void **state)
{
	size_t at;

	(void)state;
	mkv_build_ebml(&b);
	mkv_build_segment(&b);
	at = b.len;
	mkv_build_track(&b, 1);
	mkv_build_track(&b, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 4);
	expect_error(MKV_ERR_BAD_TRACK); /* a number twice */
	b.len = at;
	mkv_build_track(&b, 0);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 4);
	expect_error(MKV_ERR_BAD_TRACK);
	b.len = at;
	mkv_build_uint(&b, MKV_ID_TRACK_NUMBER, 1, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACK_ENTRY, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 4);
	expect_error(MKV_ERR_BAD_TRACK); /* no codec id */
}

static void mkv_reader_checks_the_ebml_header(void **state)
{
	(void)state;
	mkv_build_text(&b, MKV_ID_DOC_TYPE, "matroska");
	mkv_build_wrap(&b, 0, MKV_ID_EBML, 1);
	mkv_build_segment(&b);
	expect_error(MKV_ERR_NO_TRACKS);
	b.len = 0;
	mkv_build_text(&b, MKV_ID_DOC_TYPE, "mp4");
	mkv_build_wrap(&b, 0, MKV_ID_EBML, 1);
	expect_error(MKV_ERR_NOT_MATROSKA);
	b.len = 0;
	mkv_build_uint(&b, MKV_ID_EBML_READ_VERSION, 1, 2);
	mkv_build_wrap(&b, 0, MKV_ID_EBML, 1);
	expect_error(MKV_ERR_NOT_MATROSKA);
	b.len = 0;
	mkv_build_raw(&b, "not matroska at all", 19);
	expect_error(MKV_ERR_NOT_MATROSKA);
	b.len = 0;
	mkv_build_raw(&b, "\0\0\0\1", 4);
	expect_error(MKV_ERR_NOT_MATROSKA);
	b.len = 0;
	mkv_build_segment(&b);
	expect_error(MKV_ERR_NOT_MATROSKA);
}

/* --- tags ------------------------------------------------------------------ */

static void mkv_reader_leaves_tags_before_info_in_the_header(void **state)
{
	const char *text;
	size_t end;
	char line[64];
	size_t at;

	(void)state;
	mkv_build_ebml(&b);
	mkv_build_head(&b, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
	mkv_build_tag(&b, "EARLY", "value");
	at = b.len;
	mkv_build_uint(&b, MKV_ID_TIMECODE_SCALE, 3, 100000);
	mkv_build_wrap(&b, at, MKV_ID_INFO, 1);
	at = b.len;
	mkv_build_track(&b, 1);
	mkv_build_wrap(&b, at, MKV_ID_TRACKS, 1);
	end = b.len;
	mkv_build_tag(&b, "LATE", "value");
	text = good_events();
	(void)snprintf(line, sizeof(line), "document 0..%zu scale 100000\n",
		       end);
	expect_line(text, line);
	assert_int_equal(count_lines(text, "tags "), 2); /* begin and end */
	expect_line(text, " header ");
	assert_true(strstr(text, "'EARLY'") < strstr(text, "document "));
	assert_true(strstr(text, "'LATE'") > strstr(text, "document "));
}

static void mkv_reader_cuts_long_tags_and_says_so(void **state)
{
	char name[MKV_TAG_NAME_BYTES_MAX + 2];
	char value[MKV_TAG_VALUE_BYTES_MAX + 3];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = 0;
	mkv_build_header(&b, 1);
	mkv_build_tag(&b, name, value);
	expect_line(good_events(), " 257/1026 ");
}

static void mkv_reader_ends_tag_strings_at_a_nul(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	at = b.len;
	mkv_build_bytes(&b, MKV_ID_TAG_NAME, "name\0\0\0", 7);
	mkv_build_wrap(&b, at, MKV_ID_SIMPLE_TAG, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAG, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAGS, 1);
	expect_line(good_events(), " 7/0 'name'\n");
}

static void mkv_reader_tells_what_a_tag_is_about(void **state)
{
	static const uint32_t uids[] = {MKV_ID_TAG_TRACK_UID,
					MKV_ID_TAG_EDITION_UID,
					MKV_ID_TAG_CHAPTER_UID,
					MKV_ID_TAG_ATTACHMENT_UID};
	const char *text;
	size_t tags;
	size_t at;
	size_t i;

	(void)state;
	mkv_build_header(&b, 1);
	tags = b.len;
	for (i = 0; i < ARRAY_SIZE(uids); i++) {
		at = b.len;
		mkv_build_targets(&b, uids[i], i);
		mkv_build_simple_tag(&b, "before", "1");
		mkv_build_wrap(&b, at, MKV_ID_TAG, 1);
	}
	at = b.len;
	mkv_build_simple_tag(&b, "after", "1");
	mkv_build_simple_tag(&b, "after", "2");
	mkv_build_targets(&b, MKV_ID_TAG_TRACK_UID, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAG, 1);
	mkv_build_wrap(&b, tags, MKV_ID_TAGS, 2);
	text = good_events();
	assert_int_equal(count_lines(text, "tag-end"), 5);
	assert_int_equal(count_lines(text, "tag-end targeted"), 5);
	expect_line(text, "'after'\ntag-end targeted\ntags end");
}

static void mkv_reader_knows_targets_without_uid(void **state)
{
	const char *text;
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	at = b.len;
	mkv_build_targets(&b, MKV_ID_TAG_TRACK_UID, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAG, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAGS, 1);
	/* Of one Tag only; and a UID elsewhere in it means nothing. */
	at = b.len;
	mkv_build_targets(&b, 0, 0);
	mkv_build_uint(&b, MKV_ID_TAG_TRACK_UID, 1, 1);
	mkv_build_simple_tag(&b, "file's", "1");
	mkv_build_wrap(&b, at, MKV_ID_TAG, 1);
	mkv_build_wrap(&b, at, MKV_ID_TAGS, 1);
	mkv_build_tag(&b, "fragment's", "1");
	text = good_events();
	expect_line(text, "tag-end targeted\ntags end");
	expect_line(text, "'file's'\ntag-end\n");
	expect_line(text, "'fragment's'\ntag-end\n");
}

/* --- blocks ---------------------------------------------------------------- */

static void mkv_reader_rejects_an_undeclared_track(void **state)
{
	(void)state;
	mkv_build_header(&b, 2);
	mkv_build_cluster(&b, 5);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 3, 0, 0x80, "x");
	expect_error(MKV_ERR_UNDECLARED_TRACK);
}

static void mkv_reader_takes_track_numbers_of_any_width(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 5);
	at = b.len;
	mkv_build_raw(&b, "\1\0\0\0\0\0\0\1\0\0\x80wide", 15);
	mkv_build_wrap(&b, at, MKV_ID_SIMPLE_BLOCK, 2);
	expect_line(good_events(), "+4 rel 0 tc 5");
}

static void mkv_reader_checks_timecodes(void **state)
{
	size_t header;

	(void)state;
	mkv_build_header(&b, 1);
	header = b.len;
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, EBML_SIZE_UNKNOWN);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, "x");
	expect_error(MKV_ERR_TIMECODE); /* none before the first block */
	b.len = header;
	mkv_build_cluster(&b, 2);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, -3, 0x80, "x");
	expect_error(MKV_ERR_TIMECODE); /* before zero */
	b.len = header;
	mkv_build_cluster(&b, UINT64_MAX / 1000000 + 1);
	expect_error(MKV_ERR_CLUSTER_TIME); /* beyond 64 bits of ns */
	b.len = header;
	mkv_build_cluster(&b, UINT64_MAX / 1000000);
	mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 1, 0x80, "x");
	expect_error(MKV_ERR_TIMECODE);
	b.len = header;
	mkv_build_cluster(&b, 2);
	mkv_build_uint(&b, MKV_ID_TIMECODE, 1, 3);
	expect_error(MKV_ERR_TIMECODE); /* twice */
	b.len = header;
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, 0);
	expect_error(MKV_ERR_TIMECODE); /* a cluster without one */
}

static void mkv_reader_checks_the_timecode_scale(void **state)
{
	static const uint64_t bad[] = {0, 1000000001};
	size_t at;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		b.len = 0;
		mkv_build_ebml(&b);
		mkv_build_head(&b, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
		at = b.len;
		mkv_build_uint(&b, MKV_ID_TIMECODE_SCALE, 8, bad[i]);
		mkv_build_wrap(&b, at, MKV_ID_INFO, 1);
		expect_error(MKV_ERR_TIMECODE);
	}
}

static void mkv_reader_finds_key_frames_of_groups(void **state)
{
	const char *text;
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 0);
	at = b.len;
	mkv_build_uint(&b, MKV_ID_REFERENCE_BLOCK, 1, 1);
	mkv_build_block(&b, MKV_ID_BLOCK, 1, 1, 0x80, "p");
	mkv_build_wrap(&b, at, MKV_ID_BLOCK_GROUP, 1);
	at = b.len;
	mkv_build_block(&b, MKV_ID_BLOCK, 1, 2, 0, "i");
	mkv_build_wrap(&b, at, MKV_ID_BLOCK_GROUP, 1);
	text = good_events();
	expect_line(text, "rel 1 tc 1 ns 1000000 dur 0 - flags 80");
	expect_line(text, "rel 2 tc 2 ns 2000000 dur 0 key flags 00");
	at = b.len;
	mkv_build_block(&b, MKV_ID_BLOCK, 1, 3, 0, "a");
	mkv_build_block(&b, MKV_ID_BLOCK, 1, 3, 0, "b");
	mkv_build_wrap(&b, at, MKV_ID_BLOCK_GROUP, 1);
	expect_error(MKV_ERR_MALFORMED);
}

static void mkv_reader_rejects_a_block_without_a_head(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 0);
	at = b.len;
	mkv_build_raw(&b, "\x81\0\0", 3);
	mkv_build_wrap(&b, at, MKV_ID_SIMPLE_BLOCK, 1);
	expect_error(MKV_ERR_MALFORMED);
	b.len = at;
	mkv_build_head(&b, MKV_ID_SIMPLE_BLOCK, 1, 0);
	expect_error(MKV_ERR_MALFORMED);
	b.len = at;
	mkv_build_raw(&b, "\0\0\0\0\0\0", 6);
	mkv_build_wrap(&b, at, MKV_ID_SIMPLE_BLOCK, 1);
	expect_error(MKV_ERR_MALFORMED); /* track number */
}

/* --- lacing ---------------------------------------------------------------- */

static const char *lace_events(const void *block, size_t len,
			       enum mkv_error *ret_error)
{
	size_t at;

	b.len = 0;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 0);
	at = b.len;
	mkv_build_raw(&b, block, len);
	mkv_build_wrap(&b, at, MKV_ID_SIMPLE_BLOCK, 2);
	return events(0, ret_error);
}

static void mkv_reader_splits_laces(void **state)
{
	static const uint8_t fixed[] = "\x81\0\0\x84\2aabbcc";
	static const uint8_t xiph[] = "\x81\0\0\x82\2\1\3abbb..";
	/* 4, then -2 (0x80 | 63 - 2), the rest */
	static const uint8_t ebml[] = "\x81\0\0\x86\2\x84\xbd....bb.....";
	static const uint8_t one[] = "\x81\0\0\x86\0alone";
	enum mkv_error error;
	const char *text;

	(void)state;
	text = lace_events(fixed, sizeof(fixed) - 1, &error);
	assert_int_equal(error, MKV_OK);
	expect_line(text, "+2 rel 0 tc 0 ns 0 dur 0 key flags 84 lace 0/3");
	expect_line(text, "+2 rel 0 tc 0 ns 40000000 dur 0 key flags 84 "
			  "lace 1/3");
	expect_line(text, "ns 80000000 dur 0 key flags 84 lace 2/3");
	text = lace_events(xiph, sizeof(xiph) - 1, &error);
	assert_int_equal(error, MKV_OK);
	expect_line(text, "+1 rel");
	expect_line(text, "+3 rel");
	expect_line(text, "+2 rel");
	text = lace_events(ebml, sizeof(ebml) - 1, &error);
	assert_int_equal(error, MKV_OK);
	expect_line(text, "+4 rel");
	expect_line(text, "+2 rel");
	expect_line(text, "+5 rel");
	text = lace_events(one, sizeof(one) - 1, &error);
	assert_int_equal(error, MKV_OK);
	expect_line(text, "+5 rel 0 tc 0 ns 0 dur 0 key flags 86 lace 0/1");
}

static void mkv_reader_rejects_lace_lies(void **state)
{
	static const struct {
		const char *block;
		size_t len;
	} lies[] = {
		{"\x81\0\0\x84\2aabbc", 10},	      /* not divisible */
		{"\x81\0\0\x82\2\xff\xff\xff", 8},    /* no end of sizes */
		{"\x81\0\0\x82\2\5\5abbb", 11},	      /* more than there is */
		{"\x81\0\0\x82", 4},		      /* no count */
		{"\x81\0\0\x82\1", 5},		      /* no size */
		{"\x81\0\0\x86\2\x84\x80....bb", 13}, /* 4 - 63 */
		{"\x81\0\0\x86\2\0\0\0\0\0\0\0\0", 13},
		{"\x81\0\0\x86\2\x01\xff\xff\xff\xff\xff\xff\xff", 13},
	};
	enum mkv_error error;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		(void)lace_events(lies[i].block, lies[i].len, &error);
		assert_int_equal(error, MKV_ERR_LACING);
	}
}

/* --- sizes ----------------------------------------------------------------- */

static void mkv_reader_rejects_sizes_that_lie(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	at = b.len;
	/* A child larger than its known-size parent. */
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, 5);
	mkv_build_head(&b, MKV_ID_TIMECODE, 1, 8);
	expect_error(MKV_ERR_MALFORMED);
	/* A head that crosses its parent's end. */
	b.len = at;
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, 1);
	mkv_build_head(&b, MKV_ID_TIMECODE, 1, 0);
	expect_error(MKV_ERR_MALFORMED);
	/* Unknown size where Matroska has none. */
	b.len = at;
	mkv_build_head(&b, MKV_ID_TAGS, 1, EBML_SIZE_UNKNOWN);
	expect_error(MKV_ERR_MALFORMED);
	b.len = at;
	mkv_build_cluster(&b, 0);
	mkv_build_head(&b, MKV_ID_SIMPLE_BLOCK, 1, EBML_SIZE_UNKNOWN);
	expect_error(MKV_ERR_MALFORMED);
	/* An integer of nine bytes. */
	b.len = at;
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, EBML_SIZE_UNKNOWN);
	mkv_build_head(&b, MKV_ID_TIMECODE, 1, 9);
	expect_error(MKV_ERR_MALFORMED);
	/* A level-1 element in the wrong place. */
	b.len = at;
	mkv_build_head(&b, MKV_ID_CLUSTER, 1, 30);
	mkv_build_head(&b, MKV_ID_TRACKS, 1, 0);
	expect_error(MKV_ERR_MALFORMED);
}

static void mkv_reader_bounds_elements(void **state)
{
	size_t at;

	(void)state;
	mkv_build_header(&b, 1);
	at = b.len;
	mkv_build_cluster(&b, 0);
	mkv_build_head(&b, MKV_ID_SIMPLE_BLOCK, 8, MKV_BLOCK_BYTES_MAX + 1);
	expect_error(MKV_ERR_ELEMENT_SIZE);
	b.len = at;
	mkv_build_head(&b, MKV_ID_VOID, 8, MKV_SKIP_BYTES_MAX + 1u);
	expect_error(MKV_ERR_ELEMENT_SIZE);
	b.len = 0;
	mkv_build_ebml(&b);
	mkv_build_segment(&b);
	mkv_build_head(&b, MKV_ID_TRACKS, 8, 1u << 30);
	mkv_build_head(&b, MKV_ID_TRACK_ENTRY, 8, 1u << 29);
	at = b.len;
	mkv_build_head(&b, MKV_ID_CODEC_PRIVATE, 8,
		       MKV_CODEC_PRIVATE_BYTES_MAX + 1);
	expect_error(MKV_ERR_CODEC_PRIVATE_SIZE);
	b.len = at;
	mkv_build_head(&b, MKV_ID_CODEC_ID, 8, MKV_CODEC_ID_BYTES_MAX + 1);
	expect_error(MKV_ERR_ELEMENT_SIZE);
}

static void mkv_reader_bounds_the_header(void **state)
{
	static const uint8_t zeros[65536];
	static struct mkv_reader r;
	struct seen s = {0};
	unsigned int i;
	size_t used;
	int ret = 0;

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_head(&b, MKV_ID_VOID, 8, 4u << 20);
	mkv_reader_init(&r, &counting_ops, &s, 0);
	assert_int_equal(mkv_reader_feed(&r, b.bytes, b.len, &used), 0);
	for (i = 0; i < 64 && !ret; i++)
		ret = mkv_reader_feed(&r, zeros, sizeof(zeros), &used);
	assert_int_equal(ret, -EMSGSIZE);
	assert_int_equal(r.error, MKV_ERR_HEADER_SIZE);
	assert_true(r.offset <= MKV_HEADER_BYTES_MAX + sizeof(zeros));
	mkv_reader_fini(&r);
}

/* --- callbacks ------------------------------------------------------------- */

static void mkv_reader_pauses_and_goes_on(void **state)
{
	static struct mkv_reader r;
	struct seen s = {.answer = 1};
	unsigned int pauses = 0;
	size_t at = 0;
	size_t used;
	int ret;

	(void)state;
	build_rich();
	mkv_reader_init(&r, &counting_ops, &s, 0);
	do {
		ret = mkv_reader_feed(&r, b.bytes + at, b.len - at, &used);
		assert_true(ret >= 0);
		at += used;
		if (ret)
			assert_int_equal(s.frames, ++pauses);
	} while (ret);
	assert_int_equal(at, b.len);
	/* The last frame ends with the input: nothing is left to feed. */
	assert_int_equal(s.frames, 6);
	assert_int_equal(pauses, 5);
	assert_int_equal(mkv_reader_finish(&r), 0);
	mkv_reader_fini(&r);
}

static void mkv_reader_keeps_a_callback_error(void **state)
{
	static struct mkv_reader r;
	struct seen s = {.answer = -EDQUOT};
	size_t used = 12345;

	(void)state;
	build_rich();
	mkv_reader_init(&r, &counting_ops, &s, 0);
	assert_int_equal(mkv_reader_feed(&r, b.bytes, b.len, &used), -EDQUOT);
	assert_int_equal(used, 12345);
	assert_int_equal(r.error, MKV_ERR_CALLBACK);
	assert_int_equal(mkv_reader_feed(&r, b.bytes, b.len, &used), -EDQUOT);
	assert_int_equal(mkv_reader_finish(&r), -EDQUOT);
	assert_int_equal(s.frames, 1);
	mkv_reader_fini(&r);
}

#define READER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		READER_TEST(mkv_reader_reports_a_document),
		READER_TEST(mkv_reader_gives_the_same_events_however_cut),
		READER_TEST(
			mkv_reader_says_truncated_or_ends_well_at_every_length),
		READER_TEST(mkv_reader_accepts_an_empty_body),
		READER_TEST(mkv_reader_accepts_a_header_alone),
		READER_TEST(mkv_reader_ends_an_unknown_cluster_at_level_1),
		READER_TEST(mkv_reader_keeps_void_inside_an_unknown_cluster),
		READER_TEST(mkv_reader_ignores_known_ids_out_of_place),
		READER_TEST(mkv_reader_ends_a_known_cluster_with_its_last_byte),
		READER_TEST(
			mkv_reader_ends_an_unknown_cluster_in_a_known_segment),
		READER_TEST(mkv_reader_takes_many_documents_when_told),
		READER_TEST(mkv_reader_rejects_a_second_segment),
		READER_TEST(mkv_reader_rejects_new_tracks_after_the_header),
		READER_TEST(mkv_reader_counts_tracks),
		READER_TEST(mkv_reader_rejects_bad_tracks),
		READER_TEST(mkv_reader_checks_the_ebml_header),
		READER_TEST(mkv_reader_leaves_tags_before_info_in_the_header),
		READER_TEST(mkv_reader_cuts_long_tags_and_says_so),
		READER_TEST(mkv_reader_ends_tag_strings_at_a_nul),
		READER_TEST(mkv_reader_tells_what_a_tag_is_about),
		READER_TEST(mkv_reader_knows_targets_without_uid),
		READER_TEST(mkv_reader_rejects_an_undeclared_track),
		READER_TEST(mkv_reader_takes_track_numbers_of_any_width),
		READER_TEST(mkv_reader_checks_timecodes),
		READER_TEST(mkv_reader_checks_the_timecode_scale),
		READER_TEST(mkv_reader_finds_key_frames_of_groups),
		READER_TEST(mkv_reader_rejects_a_block_without_a_head),
		READER_TEST(mkv_reader_splits_laces),
		READER_TEST(mkv_reader_rejects_lace_lies),
		READER_TEST(mkv_reader_rejects_sizes_that_lie),
		READER_TEST(mkv_reader_bounds_elements),
		READER_TEST(mkv_reader_bounds_the_header),
		READER_TEST(mkv_reader_pauses_and_goes_on),
		READER_TEST(mkv_reader_keeps_a_callback_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
