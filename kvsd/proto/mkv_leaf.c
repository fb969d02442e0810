/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_reader_int.h"

#include <string.h>

#include "proto/ebml.h"

static int end_timecode(struct mkv_reader *r, uint64_t value)
{
	uint64_t scale = r->doc.timecode_scale_ns;

	if (r->cluster_timed)
		return mkv_fail(r, MKV_ERR_TIMECODE);
	if (value > UINT64_MAX / scale)
		return mkv_fail(r, MKV_ERR_CLUSTER_TIME);
	r->cluster_timed = true;
	r->cluster_timecode = value;
	return MKV_EMIT(r, cluster_timecode, value, value * scale);
}

static int end_track_uint(struct mkv_reader *r, uint32_t id, uint64_t value)
{
	struct mkv_track *t = r->track;

	switch (id) {
	case MKV_ID_TRACK_NUMBER:
		t->number = value;
		return 0;
	case MKV_ID_TRACK_UID:
		t->uid = value;
		return 0;
	case MKV_ID_DEFAULT_DURATION:
		t->default_duration_ns = value;
		return 0;
	default:
		break;
	}
	if (value > UINT32_MAX)
		return mkv_fail(r, MKV_ERR_BAD_TRACK);
	switch (id) {
	case MKV_ID_TRACK_TYPE:
		t->type = (uint32_t)value;
		break;
	case MKV_ID_PIXEL_WIDTH:
		t->width = (uint32_t)value;
		break;
	case MKV_ID_PIXEL_HEIGHT:
		t->height = (uint32_t)value;
		break;
	case MKV_ID_COLOUR_SPACE: /* four characters, not a number */
		t->fourcc = ((uint32_t)value >> 24) |
			    (((uint32_t)value >> 8) & 0xff00) |
			    (((uint32_t)value << 8) & 0xff0000) |
			    ((uint32_t)value << 24);
		break;
	case MKV_ID_CHANNELS:
		t->channels = (uint32_t)value;
		break;
	case MKV_ID_BIT_DEPTH:
		t->bits = (uint32_t)value;
		break;
	default:
		break;
	}
	return 0;
}

static int end_uint(struct mkv_reader *r, uint32_t id, uint64_t value)
{
	switch (id) {
	case MKV_ID_TIMECODE:
		return end_timecode(r, value);
	case MKV_ID_BLOCK_DURATION:
		r->frame.duration_ticks = value;
		return 0;
	case MKV_ID_TIMECODE_SCALE:
		if (!value || value > MKV_TIMECODE_SCALE_NS_MAX)
			return mkv_fail(r, MKV_ERR_TIMECODE);
		r->doc.timecode_scale_ns = value;
		return 0;
	case MKV_ID_EBML_READ_VERSION:
		return value <= 1 ? 0 : mkv_fail(r, MKV_ERR_NOT_MATROSKA);
	case MKV_ID_EBML_MAX_ID_LENGTH:
		return value <= EBML_ID_BYTES_MAX
			       ? 0
			       : mkv_fail(r, MKV_ERR_NOT_MATROSKA);
	case MKV_ID_EBML_MAX_SIZE_LENGTH:
		return value <= EBML_SIZE_BYTES_MAX
			       ? 0
			       : mkv_fail(r, MKV_ERR_NOT_MATROSKA);
	default:
		return end_track_uint(r, id, value);
	}
}

/* The sampling rate is the one float we need; out of range becomes 0. */
static void end_float(struct mkv_reader *r)
{
	double rate = 0;
	uint32_t bits32;
	uint64_t bits64;
	float narrow;

	if (r->scratch_len == 4) {
		bits32 = (uint32_t)ebml_uint(r->scratch, 4);
		memcpy(&narrow, &bits32, sizeof(narrow));
		rate = (double)narrow;
	} else if (r->scratch_len == 8) {
		bits64 = ebml_uint(r->scratch, 8);
		memcpy(&rate, &bits64, sizeof(rate));
	}
	r->track->rate_hz = rate >= 1 && rate <= 1e7 ? (uint32_t)(rate + 0.5)
						     : 0;
}

static int end_leaf(struct mkv_reader *r)
{
	const struct mkv_element *e = r->leaf;
	int ret = 0;

	if (e->kind == KIND_UINT)
		ret = end_uint(r, e->id, ebml_uint(r->scratch, r->scratch_len));
	else if (e->kind == KIND_FLOAT)
		end_float(r);
	else if (e->id == MKV_ID_TAG_NAME)
		r->tag.tag.name_len = r->text_len;
	else if (e->id == MKV_ID_TAG_STRING)
		r->tag.tag.value_len = r->text_len;
	return ret ? ret : mkv_pop_ended(r);
}

/* Chooses where a string goes. One that must be whole has a bound. */
static int begin_text(struct mkv_reader *r, uint32_t id, uint64_t size)
{
	bool whole = false;

	r->text_len = 0;
	switch (id) {
	case MKV_ID_DOC_TYPE:
		r->text = r->doc_type;
		r->text_max = sizeof(r->doc_type) - 1;
		whole = true;
		break;
	case MKV_ID_CODEC_ID:
		r->text = r->track->codec_id;
		r->text_max = MKV_CODEC_ID_BYTES_MAX;
		whole = true;
		break;
	case MKV_ID_TRACK_NAME:
		r->text = r->track->name;
		r->text_max = MKV_TRACK_NAME_BYTES_MAX;
		break;
	case MKV_ID_TAG_NAME:
		r->text = r->tag_name;
		r->text_max = sizeof(r->tag_name);
		r->tag.name_bytes = size;
		break;
	default:
		r->text = r->tag_value;
		r->text_max = sizeof(r->tag_value);
		r->tag.value_bytes = size;
		break;
	}
	if (whole) {
		if (size > r->text_max)
			return mkv_fail(r, MKV_ERR_ELEMENT_SIZE);
		memset(r->text, 0, r->text_max);
	}
	return size <= MKV_SKIP_BYTES_MAX ? 0
					  : mkv_fail(r, MKV_ERR_ELEMENT_SIZE);
}

int mkv_begin_skip(struct mkv_reader *r, uint32_t id, uint64_t size)
{
	if (size > MKV_SKIP_BYTES_MAX)
		return mkv_fail(r, MKV_ERR_ELEMENT_SIZE);
	r->state = READ_SKIP;
	switch (id) {
	case MKV_ID_CODEC_PRIVATE:
		if (size > MKV_CODEC_PRIVATE_BYTES_MAX)
			return mkv_fail(r, MKV_ERR_CODEC_PRIVATE_SIZE);
		r->private_offset[r->doc.tracks_count] = r->offset;
		r->track->codec_private_bytes = (size_t)size;
		return 0;
	case MKV_ID_CONTENT_ENCODINGS:
		r->track->encoded = true;
		return 0;
	case MKV_ID_REFERENCE_BLOCK:
		r->group_reference = true;
		return 0;
	case MKV_ID_TAG_BINARY:
		r->tag.value_bytes = size;
		return 0;
	case MKV_ID_TAG_TRACK_UID:
	case MKV_ID_TAG_EDITION_UID:
	case MKV_ID_TAG_CHAPTER_UID:
	case MKV_ID_TAG_ATTACHMENT_UID:
		r->targeted = true;
		return 0;
	default:
		return 0;
	}
}

int mkv_begin_leaf(struct mkv_reader *r, const struct mkv_element *e,
		   uint64_t size)
{
	int ret = 0;

	r->leaf = e;
	r->scratch_len = 0;
	r->text = NULL;
	r->state = READ_LEAF;
	switch (e->kind) {
	case KIND_TEXT:
		ret = begin_text(r, e->id, size);
		break;
	case KIND_BLOCK:
		if (size > MKV_BLOCK_BYTES_MAX)
			return mkv_fail(r, MKV_ERR_ELEMENT_SIZE);
		if (!r->group)
			r->frame = (struct mkv_frame){.block_offset =
							      r->head_begin};
		else if (r->group_block)
			return mkv_fail(r, MKV_ERR_MALFORMED);
		r->state = READ_BLOCK;
		/* An empty block is cut short: mkv_read_block() says so. */
		return size ? 0 : mkv_fail(r, MKV_ERR_MALFORMED);
	default:
		if (size > sizeof(uint64_t))
			return mkv_fail(r, MKV_ERR_MALFORMED);
		break;
	}
	if (ret)
		return ret;
	return size ? 0 : end_leaf(r);
}

int mkv_read_leaf(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	size_t n = (size_t)MIN((uint64_t)len, r->body_end - r->offset);
	size_t keep;

	if (r->text) {
		keep = MIN(n, r->text_max - r->text_len);
		memcpy(r->text + r->text_len, p, keep);
		r->text_len += keep;
	} else {
		memcpy(r->scratch + r->scratch_len, p, n);
		r->scratch_len += (unsigned int)n;
	}
	r->offset += n;
	return r->offset == r->body_end ? end_leaf(r) : 0;
}
