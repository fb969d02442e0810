/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "proto/fwht.h"
#include "proto/mkv_reader.h"
#include "proto/mkv_writer.h"

/* What the reader says of a document; strings are copied out. */
struct seen {
	struct mkv_document doc;
	uint8_t private_bytes[MKV_TRACKS_MAX][64];
	enum media_codec codec[MKV_TRACKS_MAX];
	unsigned int frames;
	struct mkv_frame frame[4];
	char payload[64];
	size_t payload_len;
	unsigned int tags;
	char tag_name[2][MKV_TAG_NAME_BYTES_MAX + 1];
	char tag_value[2][MKV_TAG_VALUE_BYTES_MAX + 1];
	uint64_t cluster_timecode;
};

static int see_document(void *ctx, const struct mkv_document *doc)
{
	struct seen *s = ctx;
	unsigned int i;

	s->doc = *doc;
	for (i = 0; i < doc->tracks_count; i++) {
		assert_true(doc->tracks[i].codec_private_bytes <= 64);
		if (doc->tracks[i].codec_private_bytes)
			memcpy(s->private_bytes[i],
			       doc->tracks[i].codec_private,
			       doc->tracks[i].codec_private_bytes);
		s->codec[i] = mkv_track_codec(&doc->tracks[i]);
	}
	return 0;
}

static int see_timecode(void *ctx, uint64_t timecode, uint64_t time_ns)
{
	struct seen *s = ctx;

	(void)time_ns;
	s->cluster_timecode = timecode;
	return 0;
}

static int see_payload(void *ctx, const uint8_t *bytes, size_t len)
{
	struct seen *s = ctx;

	assert_true(len <= sizeof(s->payload) - s->payload_len);
	memcpy(s->payload + s->payload_len, bytes, len);
	s->payload_len += len;
	return 0;
}

static int see_frame(void *ctx, const struct mkv_frame *f)
{
	struct seen *s = ctx;

	assert_true(s->frames < ARRAY_SIZE(s->frame));
	s->frame[s->frames++] = *f;
	return 0;
}

static int see_tag(void *ctx, const struct mkv_tag_event *t)
{
	struct seen *s = ctx;

	assert_true(s->tags < 2);
	memcpy(s->tag_name[s->tags], t->tag.name, t->tag.name_len);
	memcpy(s->tag_value[s->tags++], t->tag.value, t->tag.value_len);
	return 0;
}

static const struct mkv_reader_ops ops = {
	.document = see_document,
	.cluster_timecode = see_timecode,
	.frame_payload = see_payload,
	.frame_end = see_frame,
	.tag = see_tag,
};

static void read_back(const struct buf *out, struct seen *s)
{
	static struct mkv_reader r;
	size_t used;

	memset(s, 0, sizeof(*s));
	mkv_reader_init(&r, &ops, s, 0);
	assert_int_equal(mkv_reader_feed(&r, out->data + out->start,
					 buf_len(out), &used),
			 0);
	assert_int_equal(mkv_reader_finish(&r), 0);
	mkv_reader_fini(&r);
}

static struct mkv_track video_track(void)
{
	return (struct mkv_track){
		.number = 1,
		.uid = 0x0123456789abcdef,
		.type = MKV_TRACK_VIDEO,
		.codec_id = "V_MPEG4/ISO/AVC",
		.name = "camera",
		.codec_private = (const uint8_t *)"\1private",
		.codec_private_bytes = 8,
		.default_duration_ns = 33333333,
		.width = 1920,
		.height = 1080,
	};
}

static struct mkv_track audio_track(void)
{
	return (struct mkv_track){
		.number = 2,
		.type = MKV_TRACK_AUDIO,
		.codec_id = "A_AAC",
		.codec_private = (const uint8_t *)"\x12\x10",
		.codec_private_bytes = 2,
		.rate_hz = 44100,
		.channels = 2,
		.bits = 16,
	};
}

static void mkv_writer_header_reads_back(void **state)
{
	struct mkv_track tracks[3] = {video_track(), audio_track()};
	static struct seen s;
	struct buf out;
	unsigned int i;

	(void)state;
	tracks[2] = (struct mkv_track){.number = 126,
				       .type = MKV_TRACK_METADATA,
				       .codec_id = "X_KVSD/RADAR"};
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_header(&out, tracks, 3, 1000000,
					  (const uint8_t *)"0123456789abcdef"),
			 0);
	read_back(&out, &s);
	assert_int_equal(s.doc.tracks_count, 3);
	assert_int_equal(s.doc.timecode_scale_ns, 1000000);
	assert_int_equal(s.doc.end, buf_len(&out));
	for (i = 0; i < 3; i++) {
		const struct mkv_track *t = &s.doc.tracks[i];

		assert_int_equal(t->number, tracks[i].number);
		assert_int_equal(t->uid, tracks[i].uid ? tracks[i].uid
						       : tracks[i].number);
		assert_int_equal(t->type, tracks[i].type);
		assert_string_equal(t->codec_id, tracks[i].codec_id);
		assert_string_equal(t->name, tracks[i].name);
		assert_int_equal(t->codec_private_bytes,
				 tracks[i].codec_private_bytes);
		if (tracks[i].codec_private_bytes)
			assert_memory_equal(s.private_bytes[i],
					    tracks[i].codec_private,
					    tracks[i].codec_private_bytes);
		assert_int_equal(t->default_duration_ns,
				 tracks[i].default_duration_ns);
		assert_int_equal(t->width, tracks[i].width);
		assert_int_equal(t->height, tracks[i].height);
		assert_int_equal(t->rate_hz, tracks[i].rate_hz);
		assert_int_equal(t->channels, tracks[i].channels);
		assert_int_equal(t->bits, tracks[i].bits);
	}
	buf_fini(&out);
}

static void mkv_writer_header_rejects_bad_tracks(void **state)
{
	struct mkv_track tracks[4] = {video_track(), audio_track(),
				      audio_track(), audio_track()};
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_header(&out, tracks, 0, 1, NULL), -EINVAL);
	assert_int_equal(mkv_write_header(&out, tracks, 3, 1, NULL), -EINVAL);
	tracks[2].number = 3;
	assert_int_equal(mkv_write_header(&out, tracks, 4, 1, NULL), -EINVAL);
	assert_int_equal(mkv_write_header(&out, tracks, 3, 0, NULL), -EINVAL);
	tracks[2].number = 127; /* would read as unknown in a block head */
	assert_int_equal(mkv_write_header(&out, tracks, 3, 1, NULL), -EINVAL);
	tracks[2].number = 3;
	tracks[2].codec_id[0] = 0;
	assert_int_equal(mkv_write_header(&out, tracks, 3, 1, NULL), -EINVAL);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
}

static void mkv_writer_leaves_the_buffer_as_it_was_when_full(void **state)
{
	struct mkv_tag tag = {"name", 4, "value", 5};
	struct mkv_track track = video_track();
	struct buf out;
	size_t max;

	(void)state;
	for (max = 4; max < 100; max++) {
		buf_init(&out, max);
		assert_int_equal(buf_add(&out, "kept", 4), 0);
		assert_int_equal(mkv_write_header(&out, &track, 1, 1, NULL),
				 -ENOBUFS);
		assert_false(out.failed);
		assert_int_equal(buf_len(&out), 4);
		if (max < 30)
			assert_int_equal(mkv_write_tags(&out, &tag, 1),
					 -ENOBUFS);
		assert_true(max >= 30 || buf_len(&out) == 4);
		assert_memory_equal(buf_head(&out), "kept", 4);
		buf_fini(&out);
	}
}

static void mkv_writer_clusters_and_blocks_read_back(void **state)
{
	struct mkv_track tracks[2] = {video_track(), audio_track()};
	uint8_t cluster[MKV_CLUSTER_HEAD_BYTES];
	uint8_t block[MKV_BLOCK_HEAD_BYTES];
	static struct seen s;
	struct buf out;
	size_t header;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_header(&out, tracks, 2, 1000000, NULL), 0);
	header = buf_len(&out);
	mkv_cluster_head(cluster, 1511852108513);
	assert_int_equal(buf_add(&out, cluster, sizeof(cluster)), 0);
	mkv_block_head(block, 1, 0, true, 5);
	assert_int_equal(buf_add(&out, block, sizeof(block)), 0);
	assert_int_equal(buf_add(&out, "first", 5), 0);
	mkv_block_head(block, 2, -7, false, 0);
	assert_int_equal(buf_add(&out, block, sizeof(block)), 0);
	mkv_block_head(block, 2, INT16_MAX, false, 6);
	assert_int_equal(buf_add(&out, block, sizeof(block)), 0);
	assert_int_equal(buf_add(&out, "second", 6), 0);
	read_back(&out, &s);
	assert_true(s.cluster_timecode == 1511852108513);
	assert_int_equal(s.frames, 3);
	assert_memory_equal(s.payload, "firstsecond", 11);
	assert_int_equal(s.frame[0].track, 1);
	assert_true(s.frame[0].key);
	assert_int_equal(s.frame[0].block_offset,
			 header + MKV_CLUSTER_HEAD_BYTES);
	assert_int_equal(s.frame[0].payload_offset,
			 header + MKV_CLUSTER_HEAD_BYTES +
				 MKV_BLOCK_HEAD_BYTES);
	assert_int_equal(s.frame[1].track, 2);
	assert_int_equal(s.frame[1].relative, -7);
	assert_int_equal(s.frame[1].payload_bytes, 0);
	assert_false(s.frame[1].key);
	assert_int_equal(s.frame[2].relative, INT16_MAX);
	assert_true(s.frame[2].time_ns ==
		    (1511852108513 + INT16_MAX) * UINT64_C(1000000));
	buf_fini(&out);
}

static void mkv_writer_tags_read_back_after_a_cluster(void **state)
{
	static const struct mkv_tag tags[] = {
		{"AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", 34, "15858", 5},
		{"AWS_KINESISVIDEO_END_OF_FRAGMENT", 32, "", 0},
	};
	uint8_t cluster[MKV_CLUSTER_HEAD_BYTES];
	struct mkv_track track = video_track();
	static struct seen s;
	struct buf out;
	size_t at;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_header(&out, &track, 1, 1000000, NULL), 0);
	mkv_cluster_head(cluster, 0);
	assert_int_equal(buf_add(&out, cluster, sizeof(cluster)), 0);
	at = buf_len(&out);
	assert_int_equal(mkv_write_tags(&out, tags, 2), 0);
	/* Tags and Tag: 4-byte ids or 2, 4-byte sizes (marker 0x10). */
	assert_memory_equal(buf_head(&out) + at, "\x12\x54\xc3\x67\x10", 5);
	assert_memory_equal(buf_head(&out) + at + 8, "\x73\x73\x10", 3);
	read_back(&out, &s);
	assert_int_equal(s.tags, 2);
	assert_string_equal(s.tag_name[0], tags[0].name);
	assert_string_equal(s.tag_value[0], "15858");
	assert_string_equal(s.tag_name[1], tags[1].name);
	assert_string_equal(s.tag_value[1], "");
	buf_fini(&out);
}

static void mkv_writer_tags_reject_what_is_out_of_bounds(void **state)
{
	static char big[MKV_TAG_VALUE_BYTES_MAX + 1];
	struct mkv_tag tags[MKV_WRITE_TAGS_MAX + 1];
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tags); i++)
		tags[i] = (struct mkv_tag){"n", 1, "v", 1};
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_tags(&out, tags, 0), -EINVAL);
	assert_int_equal(mkv_write_tags(&out, tags, ARRAY_SIZE(tags)), -EINVAL);
	tags[0] = (struct mkv_tag){"", 0, "v", 1};
	assert_int_equal(mkv_write_tags(&out, tags, 1), -EINVAL);
	tags[0] = (struct mkv_tag){"n", 1, big, sizeof(big)};
	assert_int_equal(mkv_write_tags(&out, tags, 1), -EINVAL);
	tags[0] = (struct mkv_tag){big, MKV_TAG_NAME_BYTES_MAX + 1, "", 0};
	assert_int_equal(mkv_write_tags(&out, tags, 1), -EINVAL);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
}

static void mkv_writer_wraps_fourccs_and_formats(void **state)
{
	uint8_t bitmap[MKV_BITMAPINFO_BYTES];
	uint8_t wave[MKV_WAVEFORMATEX_BYTES];
	struct mkv_track tracks[3] = {
		{.number = 1,
		 .type = MKV_TRACK_VIDEO,
		 .codec_id = "V_MS/VFW/FOURCC",
		 .codec_private = bitmap,
		 .codec_private_bytes = sizeof(bitmap),
		 .width = 640,
		 .height = 480},
		{.number = 2,
		 .type = MKV_TRACK_AUDIO,
		 .codec_id = "A_MS/ACM",
		 .codec_private = wave,
		 .codec_private_bytes = sizeof(wave),
		 .rate_hz = 8000,
		 .channels = 1},
		{.number = 3,
		 .type = MKV_TRACK_VIDEO,
		 .codec_id = "V_UNCOMPRESSED",
		 .fourcc = 0x20363159, /* "Y16 " */
		 .width = 160,
		 .height = 120},
	};
	static struct seen s;
	struct buf out;

	(void)state;
	mkv_bitmapinfo(bitmap, FWHT_FOURCC, 640, 480);
	assert_memory_equal(bitmap + 16, "FWHT", 4);
	assert_int_equal(load_le32(bitmap), 40);
	mkv_waveformatex(wave, 6, 1, 8000, 8);
	buf_init(&out, 4096);
	assert_int_equal(mkv_write_header(&out, tracks, 3, 1000000, NULL), 0);
	read_back(&out, &s);
	assert_int_equal(s.codec[0], CODEC_FWHT);
	assert_int_equal(s.codec[1], CODEC_ALAW);
	assert_int_equal(s.codec[2], CODEC_RAW_VIDEO);
	assert_int_equal(s.doc.tracks[2].fourcc, 0x20363159);
	buf_fini(&out);
}

static void mkv_track_codec_accepts_the_documents_spellings(void **state)
{
	static const struct {
		const char *id;
		enum media_codec codec;
	} rows[] = {
		{"V_MPEG4/ISO/AVC", CODEC_H264},
		{"V_MPEG/ISO/AVC", CODEC_H264},
		{"V_MPEGH/ISO/HEVC", CODEC_H265},
		{"V_MPEG/ISO/HEVC", CODEC_H265},
		{"A_AAC", CODEC_AAC},
		{"A_AAC/MPEG4/LC", CODEC_AAC},
		{"A_AACX", CODEC_OTHER},
		{"V_MJPEG", CODEC_MJPEG},
		{"A_MS/ACM", CODEC_OTHER}, /* without a format */
		{"V_MS/VFW/FOURCC", CODEC_OTHER},
		{"V_VP9", CODEC_OTHER},
		{"", CODEC_OTHER},
	};
	struct mkv_track t = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)snprintf(t.codec_id, sizeof(t.codec_id), "%s",
			       rows[i].id);
		assert_int_equal(mkv_track_codec(&t), rows[i].codec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mkv_writer_header_reads_back),
		cmocka_unit_test(mkv_writer_header_rejects_bad_tracks),
		cmocka_unit_test(
			mkv_writer_leaves_the_buffer_as_it_was_when_full),
		cmocka_unit_test(mkv_writer_clusters_and_blocks_read_back),
		cmocka_unit_test(mkv_writer_tags_read_back_after_a_cluster),
		cmocka_unit_test(mkv_writer_tags_reject_what_is_out_of_bounds),
		cmocka_unit_test(mkv_writer_wraps_fourccs_and_formats),
		cmocka_unit_test(
			mkv_track_codec_accepts_the_documents_spellings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
