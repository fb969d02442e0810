/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame_index.h"

#include <errno.h>

#include "proto/limits.h"
#include "proto/varint.h"

#define INDEX_VERSION 1
#define FLAG_KEY 1u
#define FLAG_TIME 2u
#define FLAG_DURATION 4u
#define TRACK_SHIFT 3
#define TRACK_MAX (UINT32_MAX >> TRACK_SHIFT)
#define FIELDS_MAX 7u

void frame_index_begin(struct frame_index_writer *w, struct buf *out)
{
	*w = (struct frame_index_writer){.out = out};
}

int frame_index_add(struct frame_index_writer *w,
		    const struct frame_entry *frame)
{
	uint8_t bytes[1 + FIELDS_MAX * VARINT_BYTES_MAX];
	uint64_t flags = 0;
	size_t n = 0;
	int ret;

	if (!frame->track || frame->track > TRACK_MAX ||
	    frame->offset < w->end ||
	    frame->head_bytes > frame->offset - w->end ||
	    frame->bytes > UINT64_MAX - frame->offset)
		return -EINVAL;
	flags |= frame->key ? FLAG_KEY : 0;
	flags |= frame->has_time ? FLAG_TIME : 0;
	flags |= frame->duration ? FLAG_DURATION : 0;
	if (!w->count)
		bytes[n++] = INDEX_VERSION;
	n += varint_write(bytes + n,
			  (uint64_t)frame->track << TRACK_SHIFT | flags);
	n += varint_write(bytes + n, frame->offset - w->end);
	n += varint_write(bytes + n, frame->head_bytes);
	n += varint_write(bytes + n, frame->bytes);
	n += varint_write(bytes + n, zigzag(frame->timecode, w->timecode));
	if (frame->has_time)
		n += varint_write(bytes + n,
				  zigzag(frame->time_ns, w->time_ns));
	if (frame->duration)
		n += varint_write(bytes + n, frame->duration);
	if (buf_len(w->out) + n > FRAME_INDEX_BYTES_MAX)
		return -ENOBUFS;
	ret = buf_add(w->out, bytes, n);
	if (ret)
		return ret;
	w->count++;
	w->end = frame->offset + frame->bytes;
	w->timecode = frame->timecode;
	if (frame->has_time)
		w->time_ns = frame->time_ns;
	return 0;
}

int frame_index_open(struct frame_index_iter *it, const uint8_t *bytes,
		     size_t len)
{
	if (len && bytes[0] != INDEX_VERSION)
		return -EBADMSG;
	/* A version alone, without a frame, is never written. */
	if (len == 1)
		return -EBADMSG;
	*it = (struct frame_index_iter){
		.next = len ? bytes + 1 : bytes,
		.end = len ? bytes + len : bytes,
	};
	return 0;
}

static int read_varint(struct frame_index_iter *it, uint64_t max,
		       uint64_t *ret_value)
{
	return varint_read(&it->next, it->end, max, ret_value);
}

int frame_index_next(struct frame_index_iter *it, struct frame_entry *ret_frame)
{
	struct frame_entry f = {0};
	uint64_t field[FIELDS_MAX] = {0};
	uint64_t flags;
	int ret = 0;

	if (it->next == it->end)
		return 0;
	if (read_varint(it, UINT32_MAX, &field[0]) ||
	    read_varint(it, UINT64_MAX - it->payload_end, &field[1]) ||
	    read_varint(it, MIN(field[1], UINT32_MAX), &field[2]) ||
	    read_varint(it, UINT32_MAX, &field[3]) ||
	    read_varint(it, UINT64_MAX, &field[4]))
		return -EBADMSG;
	flags = field[0];
	if (flags & FLAG_TIME)
		ret = read_varint(it, UINT64_MAX, &field[5]);
	if (!ret && flags & FLAG_DURATION)
		ret = read_varint(it, UINT64_MAX, &field[6]);
	f.track = (uint32_t)(flags >> TRACK_SHIFT);
	f.offset = it->payload_end + field[1];
	if (ret || !f.track || field[3] > UINT64_MAX - f.offset ||
	    (flags & FLAG_DURATION && !field[6]))
		return -EBADMSG;
	f.key = flags & FLAG_KEY;
	f.has_time = flags & FLAG_TIME;
	f.head_bytes = (uint32_t)field[2];
	f.bytes = (uint32_t)field[3];
	f.timecode = unzigzag(field[4], it->timecode);
	f.duration = field[6];
	if (f.has_time) {
		f.time_ns = unzigzag(field[5], it->time_ns);
		it->time_ns = f.time_ns;
	}
	it->payload_end = f.offset + f.bytes;
	it->timecode = f.timecode;
	*ret_frame = f;
	return 1;
}
