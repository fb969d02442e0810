/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_reader_int.h"

#include <assert.h>
#include <errno.h>

#include "proto/ebml.h"

static int begin_frame(struct mkv_reader *r)
{
	const struct mkv_track *t = &r->doc.tracks[r->frame.track_index];
	struct mkv_frame *f = &r->frame;

	f->payload_offset = r->offset;
	f->payload_bytes = r->laces[f->lace_index];
	if (f->lace_index) {
		if (t->default_duration_ns > UINT64_MAX - f->time_ns)
			return mkv_fail(r, MKV_ERR_TIMECODE);
		f->time_ns += t->default_duration_ns;
	}
	r->state = READ_PAYLOAD;
	return MKV_EMIT(r, frame_begin, f);
}

/* Ends the frames that are complete at this offset and begins the next. */
static int end_frames(struct mkv_reader *r)
{
	struct mkv_frame *f = &r->frame;
	bool last;
	int ret;

	while (r->offset == f->payload_offset + f->payload_bytes) {
		last = f->lace_index + 1 == f->lace_count;
		if (last && r->group)
			return mkv_pop_ended(
				r); /* end_group() ends the frame */
		f->key = r->group || (f->flags & MKV_BLOCK_KEY);
		ret = MKV_EMIT(r, frame_end, f);
		if (ret)
			return ret;
		if (last)
			return mkv_pop_ended(r);
		f->lace_index++;
		if (r->group)
			f->key = false;
		ret = begin_frame(r);
		if (ret)
			return ret;
	}
	return 0;
}

static int begin_frames(struct mkv_reader *r)
{
	int ret = begin_frame(r);

	return ret ? ret : end_frames(r);
}

/* One more lace size; the last is what remains. */
static int add_lace(struct mkv_reader *r, uint64_t size)
{
	uint64_t left = r->body_end - r->offset;

	if (size > left || r->lace_sum > left - size)
		return mkv_fail(r, MKV_ERR_LACING);
	r->lace_sum += size;
	r->laces[r->laces_known++] = (uint32_t)size;
	r->scratch_len = 0;
	r->lace_size = 0;
	if (r->laces_known + 1 < r->frame.lace_count)
		return 0;
	r->laces[r->laces_known++] = (uint32_t)(left - r->lace_sum);
	return begin_frames(r);
}

static int begin_lace(struct mkv_reader *r, uint8_t count_byte)
{
	uint64_t left = r->body_end - r->offset;
	unsigned int count = count_byte + 1u;
	unsigned int i;

	r->frame.lace_count = count;
	r->laces_known = 0;
	r->lace_sum = 0;
	r->lace_size = 0;
	r->scratch_len = 0;
	if (count > 1 && (r->frame.flags & MKV_BLOCK_LACING) != 4)
		return 0;
	if (left % count)
		return mkv_fail(r, MKV_ERR_LACING);
	for (i = 0; i < count; i++)
		r->laces[i] = (uint32_t)(left / count);
	return begin_frames(r);
}

/* The first EBML lace size is plain, the others are signed differences. */
static int ebml_lace(struct mkv_reader *r)
{
	uint64_t value;
	int64_t size;
	int width;

	width = ebml_read_vint(r->scratch, r->scratch_len, &value);
	if (width == -EAGAIN)
		return 0;
	if (width < 0)
		return mkv_fail(r, MKV_ERR_LACING);
	size = (int64_t)value;
	if (r->laces_known) {
		size -= (INT64_C(1) << (7 * width - 1)) - 1;
		size += r->laces[r->laces_known - 1];
	}
	if (size < 0)
		return mkv_fail(r, MKV_ERR_LACING);
	return add_lace(r, (uint64_t)size);
}

int mkv_read_lace(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	int ret = 0;

	while (!ret && len && r->state == READ_LACE) {
		if (r->offset == r->body_end)
			return mkv_fail(r, MKV_ERR_LACING);
		r->offset++;
		len--;
		if (!r->frame.lace_count) {
			ret = begin_lace(r, *p++);
		} else if ((r->frame.flags & MKV_BLOCK_LACING) == 2) {
			r->lace_size += *p;
			if (*p++ != 255)
				ret = add_lace(r, r->lace_size);
		} else {
			r->scratch[r->scratch_len++] = *p++;
			ret = ebml_lace(r);
		}
	}
	if (!ret && r->state == READ_LACE && r->offset == r->body_end)
		return mkv_fail(r, MKV_ERR_LACING);
	return ret;
}

static int find_track(struct mkv_reader *r, uint64_t number)
{
	unsigned int i;

	for (i = 0; i < r->doc.tracks_count; i++) {
		if (r->doc.tracks[i].number == number) {
			r->frame.track_index = i;
			r->frame.track = number;
			return 0;
		}
	}
	return mkv_fail(r, MKV_ERR_UNDECLARED_TRACK);
}

/* Track, timecode and flags are in scratch. */
static int begin_block(struct mkv_reader *r, uint64_t number,
		       const uint8_t *rest)
{
	uint64_t scale = r->doc.timecode_scale_ns;
	struct mkv_frame *f = &r->frame;
	int ret;

	ret = find_track(r, number);
	if (ret)
		return ret;
	f->relative = (int16_t)((rest[0] << 8) | rest[1]);
	f->flags = rest[2];
	f->key = !r->group && (f->flags & MKV_BLOCK_KEY);
	if (!r->cluster_timed)
		return mkv_fail(r, MKV_ERR_TIMECODE);
	/* end_timecode() keeps the cluster's at most UINT64_MAX / scale. */
	if (f->relative < 0) {
		if ((uint64_t) - (int64_t)f->relative > r->cluster_timecode)
			return mkv_fail(r, MKV_ERR_TIMECODE);
	} else if ((uint64_t)f->relative >
		   UINT64_MAX / scale - r->cluster_timecode) {
		return mkv_fail(r, MKV_ERR_TIMECODE);
	}
	f->timecode = r->cluster_timecode + (uint64_t)(int64_t)f->relative;
	f->time_ns = f->timecode * scale;
	r->group_block = r->group;
	if (f->flags & MKV_BLOCK_LACING) {
		f->lace_count = 0;
		r->state = READ_LACE;
		return r->offset < r->body_end ? 0
					       : mkv_fail(r, MKV_ERR_LACING);
	}
	f->lace_count = 1;
	r->laces[0] = (uint32_t)(r->body_end - r->offset);
	return begin_frames(r);
}

int mkv_read_block(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	unsigned int wants = 1;
	uint64_t number;
	int width;

	while (len) {
		r->scratch[r->scratch_len++] = *p++;
		r->offset++;
		len--;
		wants = ebml_width(r->scratch[0]) + 3;
		if (wants == 3)
			return mkv_fail(r, MKV_ERR_MALFORMED);
		if (r->scratch_len == wants)
			break;
		if (r->offset == r->body_end)
			return mkv_fail(r, MKV_ERR_MALFORMED);
	}
	if (r->scratch_len < wants)
		return 0;
	width = ebml_read_vint(r->scratch, r->scratch_len, &number);
	assert(width > 0);
	return begin_block(r, number, r->scratch + width);
}

int mkv_read_payload(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	uint64_t end = r->frame.payload_offset + r->frame.payload_bytes;
	size_t n = (size_t)MIN((uint64_t)len, end - r->offset);
	int ret;

	r->offset += n;
	ret = MKV_EMIT(r, frame_payload, p, n);
	return ret ? ret : end_frames(r);
}
