/* SPDX-License-Identifier: Apache-2.0 */
#include "support/mkv_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void mkv_build_raw(struct mkv_build *b, const void *bytes, size_t len)
{
	if (len > sizeof(b->bytes) - b->len)
		abort();
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

void mkv_build_head(struct mkv_build *b, uint32_t id, unsigned int width,
		    uint64_t size)
{
	uint8_t head[12];
	unsigned int n;

	n = ebml_write_id(head, id);
	n += ebml_write_size(head + n, width, size);
	mkv_build_raw(b, head, n);
}

void mkv_build_bytes(struct mkv_build *b, uint32_t id, const void *bytes,
		     size_t len)
{
	mkv_build_head(b, id, ebml_size_width(len), len);
	mkv_build_raw(b, bytes, len);
}

void mkv_build_text(struct mkv_build *b, uint32_t id, const char *text)
{
	mkv_build_bytes(b, id, text, strlen(text));
}

void mkv_build_uint(struct mkv_build *b, uint32_t id, size_t len,
		    uint64_t value)
{
	uint8_t bytes[8];

	store_be64(bytes, value);
	mkv_build_bytes(b, id, bytes + 8 - len, len);
}

void mkv_build_wrap(struct mkv_build *b, size_t at, uint32_t id,
		    unsigned int width)
{
	size_t size = b->len - at;
	uint8_t head[12];
	unsigned int n;

	n = ebml_write_id(head, id);
	n += ebml_write_size(head + n, width, size);
	if (n > sizeof(b->bytes) - b->len)
		abort();
	memmove(b->bytes + at + n, b->bytes + at, size);
	memcpy(b->bytes + at, head, n);
	b->len += n;
}

void mkv_build_ebml(struct mkv_build *b)
{
	size_t at = b->len;

	mkv_build_uint(b, MKV_ID_EBML_VERSION, 1, 1);
	mkv_build_uint(b, MKV_ID_EBML_READ_VERSION, 1, 1);
	mkv_build_uint(b, MKV_ID_EBML_MAX_ID_LENGTH, 1, 4);
	mkv_build_uint(b, MKV_ID_EBML_MAX_SIZE_LENGTH, 1, 8);
	mkv_build_text(b, MKV_ID_DOC_TYPE, "matroska");
	mkv_build_wrap(b, at, MKV_ID_EBML, 1);
}

void mkv_build_segment(struct mkv_build *b)
{
	size_t at;

	mkv_build_head(b, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
	at = b->len;
	/* Eight bytes, as the C producer writes it. */
	mkv_build_uint(b, MKV_ID_TIMECODE_SCALE, 8, 1000000);
	mkv_build_wrap(b, at, MKV_ID_INFO, 8);
}

void mkv_build_track(struct mkv_build *b, uint64_t number)
{
	size_t entry = b->len;
	size_t video;

	mkv_build_uint(b, MKV_ID_TRACK_NUMBER, 1, number);
	mkv_build_uint(b, MKV_ID_TRACK_TYPE, 1, MKV_TRACK_VIDEO);
	mkv_build_text(b, MKV_ID_CODEC_ID, "V_MPEG4/ISO/AVC");
	mkv_build_text(b, MKV_ID_TRACK_NAME, "kinesis_video");
	mkv_build_text(b, MKV_ID_CODEC_PRIVATE, "\1private");
	mkv_build_uint(b, MKV_ID_DEFAULT_DURATION, 4, 40000000);
	video = b->len;
	mkv_build_uint(b, MKV_ID_PIXEL_WIDTH, 2, 1280);
	mkv_build_uint(b, MKV_ID_PIXEL_HEIGHT, 2, 720);
	mkv_build_wrap(b, video, MKV_ID_VIDEO, 1);
	mkv_build_wrap(b, entry, MKV_ID_TRACK_ENTRY, 4);
}

void mkv_build_header(struct mkv_build *b, unsigned int tracks)
{
	unsigned int i;
	size_t at;

	mkv_build_ebml(b);
	mkv_build_segment(b);
	at = b->len;
	for (i = 1; i <= tracks; i++)
		mkv_build_track(b, i);
	mkv_build_wrap(b, at, MKV_ID_TRACKS, 4);
}

void mkv_build_cluster(struct mkv_build *b, uint64_t timecode)
{
	mkv_build_head(b, MKV_ID_CLUSTER, 1, EBML_SIZE_UNKNOWN);
	mkv_build_uint(b, MKV_ID_TIMECODE, 8, timecode);
}

void mkv_build_block(struct mkv_build *b, uint32_t id, unsigned int track,
		     int16_t relative, uint8_t flags, const char *payload)
{
	size_t at = b->len;
	uint8_t head[4];

	head[0] = (uint8_t)(0x80 | track);
	store_be16(head + 1, (uint16_t)relative);
	head[3] = flags;
	mkv_build_raw(b, head, sizeof(head));
	mkv_build_raw(b, payload, strlen(payload));
	mkv_build_wrap(b, at, id, 8);
}

void mkv_build_targets(struct mkv_build *b, uint32_t id, uint64_t uid)
{
	size_t at = b->len;

	mkv_build_uint(b, 0x68ca, 1, 50); /* TargetTypeValue */
	if (id)
		mkv_build_uint(b, id, 8, uid);
	mkv_build_wrap(b, at, MKV_ID_TARGETS, 1);
}

void mkv_build_simple_tag(struct mkv_build *b, const char *name,
			  const char *value)
{
	size_t at = b->len;

	mkv_build_text(b, MKV_ID_TAG_NAME, name);
	mkv_build_text(b, MKV_ID_TAG_STRING, value);
	mkv_build_wrap(b, at, MKV_ID_SIMPLE_TAG, 4);
}

void mkv_build_tag(struct mkv_build *b, const char *name, const char *value)
{
	size_t at = b->len;

	mkv_build_simple_tag(b, name, value);
	mkv_build_wrap(b, at, MKV_ID_TAG, 4);
	mkv_build_wrap(b, at, MKV_ID_TAGS, 4);
}
