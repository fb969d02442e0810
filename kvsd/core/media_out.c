/* SPDX-License-Identifier: Apache-2.0 */
#include "core/media_out.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/ack.h"
#include "proto/ebml.h"
#include "proto/epoch.h"
#include "proto/mkv_writer.h"

#define PREFIX "AWS_KINESISVIDEO_"

static bool starts_with(struct slice s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && memcmp(s.ptr, prefix, len) == 0;
}

enum media_tag media_tag_kind(const struct mkv_tag *tag, uint64_t name_bytes,
			      uint64_t value_bytes)
{
	struct slice name = {tag->name, tag->name_len};
	bool ours = starts_with(name, "AWS");
	bool end = slice_is(name, PREFIX "END_OF_FRAGMENT");

	if (ours && !end && !slice_is(name, PREFIX "IMAGE_GENERATION") &&
	    !slice_is(name, PREFIX "IMAGE_PREFIX") &&
	    !slice_is(name, PREFIX "NOTIFICATION"))
		return MEDIA_TAG_FORGED;
	if (!name_bytes || name_bytes > TAG_NAME_BYTES_MAX ||
	    value_bytes > TAG_VALUE_BYTES_MAX)
		return MEDIA_TAG_TOO_LONG;
	if (end)
		return MEDIA_TAG_END_OF_FRAGMENT;
	return ours ? MEDIA_TAG_RESERVED : MEDIA_TAG_USER;
}

static struct mkv_tag tag_of(const char *name, struct slice value)
{
	return (struct mkv_tag){.name = name,
				.name_len = strlen(name),
				.value = value.ptr,
				.value_len = value.len};
}

void media_out_open_segment(uint8_t *header, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint64_t size;
		uint32_t id;
		int n = ebml_read_id(header + at, len - at, &id);
		int w;

		if (n <= 0)
			return;
		at += (size_t)n;
		w = ebml_read_size(header + at, len - at, &size);
		if (w <= 0)
			return;
		if (id == MKV_ID_SEGMENT) {
			(void)ebml_write_size(header + at, (unsigned int)w,
					      EBML_SIZE_UNKNOWN);
			return;
		}
		at += (size_t)w;
		if (size > len - at)
			return;
		at += (size_t)size;
	}
}

int media_out_before(struct buf *out, const struct fragment_number *number,
		     uint64_t server_ms, uint64_t producer_ms)
{
	char digits[FRAGMENT_NUMBER_CHARS + 1];
	char server[EPOCH_CHARS_MAX];
	char producer[EPOCH_CHARS_MAX];
	struct mkv_tag tags[3];

	fragment_number_format(number, digits);
	epoch_ms_format(server_ms, server);
	epoch_ms_format(producer_ms, producer);
	tags[0] = tag_of(PREFIX "FRAGMENT_NUMBER", slice_of(digits));
	tags[1] = tag_of(PREFIX "SERVER_TIMESTAMP", slice_of(server));
	tags[2] = tag_of(PREFIX "PRODUCER_TIMESTAMP", slice_of(producer));
	return mkv_write_tags(out, tags, ARRAY_SIZE(tags));
}

int media_out_after(struct buf *out, const struct fragment_number *number,
		    uint64_t behind_ms)
{
	char digits[FRAGMENT_NUMBER_CHARS + 1];
	char behind[24];
	struct mkv_tag tags[2];

	fragment_number_format(number, digits);
	(void)snprintf(behind, sizeof(behind), "%" PRIu64, behind_ms);
	tags[0] = tag_of(PREFIX "MILLIS_BEHIND_NOW", slice_of(behind));
	tags[1] = tag_of(PREFIX "CONTINUATION_TOKEN", slice_of(digits));
	return mkv_write_tags(out, tags, ARRAY_SIZE(tags));
}

static const char *error_text(enum media_error error)
{
	if (error >= MEDIA_ERROR_KMS_FIRST && error <= MEDIA_ERROR_KMS_LAST)
		return ack_error_name(error);
	if (error == MEDIA_ERROR_WRITING)
		return "ERROR_WRITING_TO_STREAM";
	return error == MEDIA_ERROR_NOT_FOUND ? "FRAGMENT_NOT_FOUND"
					      : "INTERNAL_ERROR";
}

static void put_element(struct buf *out, uint32_t id, const void *body,
			size_t len)
{
	uint8_t head[EBML_ID_BYTES_MAX + EBML_SIZE_BYTES_MAX];
	size_t n = ebml_write_id(head, id);

	n += ebml_write_size(head + n, ebml_size_width(len), len);
	(void)buf_add(out, head, n);
	(void)buf_add(out, body, len);
}

/* A Matroska document without tracks: a place for tags alone. */
static void put_empty_document(struct buf *out)
{
	uint8_t ebml[32];
	struct buf inner = {
		.data = ebml, .size = sizeof(ebml), .max = sizeof(ebml)};
	uint8_t segment[5];
	unsigned int n;

	put_element(&inner, MKV_ID_DOC_TYPE, "matroska", 8);
	put_element(&inner, MKV_ID_DOC_TYPE_VERSION, "\x02", 1);
	put_element(&inner, MKV_ID_DOC_TYPE_READ_VERSION, "\x02", 1);
	put_element(out, MKV_ID_EBML, ebml, buf_len(&inner));
	n = ebml_write_id(segment, MKV_ID_SEGMENT);
	n += ebml_write_size(segment + n, 1, EBML_SIZE_UNKNOWN);
	(void)buf_add(out, segment, n);
}

static int put_error(struct buf *out, struct slice number,
		     enum media_error error, bool exception)
{
	const char *text = error_text(error);
	struct mkv_tag tags[5];
	char id[16];
	size_t n = 0;

	(void)snprintf(id, sizeof(id), "%d", (int)error);
	if (number.len)
		tags[n++] = tag_of(PREFIX "FRAGMENT_NUMBER", number);
	tags[n++] = tag_of(PREFIX "ERROR_CODE", slice_of(text));
	tags[n++] = tag_of(PREFIX "ERROR_ID", slice_of(id));
	if (exception) {
		tags[n++] = tag_of(PREFIX "EXCEPTION_ERROR_CODE", slice_of(id));
		tags[n++] = tag_of(PREFIX "EXCEPTION_MESSAGE", slice_of(text));
	}
	put_empty_document(out);
	return mkv_write_tags(out, tags, n);
}

int media_out_error(struct buf *out, struct slice number,
		    enum media_error error)
{
	return put_error(out, number, error, false);
}

int media_out_exception(struct buf *out, struct slice number,
			enum media_error error)
{
	return put_error(out, number, error, true);
}
