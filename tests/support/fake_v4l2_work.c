/* SPDX-License-Identifier: Apache-2.0 */
/* What the fake devices do: frames, packets, and what is wrong with them. */
#include "support/fake_v4l2_device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/videodev2.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define HUGE_BYTES (2u << 20)

static uint32_t shift(uint32_t *list, uint32_t *count)
{
	uint32_t first = list[0];

	(*count)--;
	memmove(list, list + 1, *count * sizeof(*list));
	return first;
}

uint8_t fake_v4l2_pixel(uint32_t sequence)
{
	return (uint8_t)(sequence * 7 + 16);
}

static void finish(struct fake_queue *q, uint32_t index)
{
	q->buffers[index].place = DONE;
	q->done[q->done_count++] = index;
}

/* Takes one from a countdown: whether this one goes wrong. */
static bool count_down(unsigned int *left)
{
	return *left ? (*left)-- : 0;
}

static void fill(const struct fake_buffer *b, uint32_t p, uint32_t bytes,
		 uint8_t value)
{
	uint8_t line[4096];
	uint32_t at = 0;

	memset(line, value, sizeof(line));
	while (at < bytes) {
		uint32_t n = MIN(bytes - at, (uint32_t)sizeof(line));
		off_t to = b->heads[p] ? at / HUGE_BYTES * HUGE_BYTES : at;

		if (pwrite(b->mem_fd[p], line, n, b->mem_offset[p] + to) !=
		    (ssize_t)n)
			abort();
		at += n;
	}
}

/* The stamp of a frame made now, and what goes wrong with it. */
static struct timeval stamp_of(struct fake_device *d)
{
	uint64_t ns = fake_v4l2_now_ns();
	struct timeval tv;

	if (count_down(&d->pub.back_stamps))
		ns -= 500000000u;
	if (count_down(&d->pub.future_stamps))
		ns += UINT64_C(3600000000000);
	if (count_down(&d->pub.old_frames))
		ns = 1000000;
	tv.tv_sec = (time_t)(ns / 1000000000u);
	tv.tv_usec = (suseconds_t)(ns % 1000000000u / 1000);
	if (count_down(&d->pub.zero_stamps))
		memset(&tv, 0, sizeof(tv));
	if (count_down(&d->pub.odd_stamps))
		tv.tv_usec = 2000000;
	return tv;
}

void fake_v4l2_make_frame(struct fake_device *d)
{
	struct fake_queue *q = &d->cap;
	uint32_t index = shift(q->queued, &q->queued_count);
	struct fake_buffer *b = &q->buffers[index];
	bool is_short = count_down(&d->pub.short_frames);
	bool is_huge = count_down(&d->pub.huge_frames);
	uint32_t p;

	d->sequence += d->pub.lost_frames;
	d->pub.lost_frames = 0;
	for (p = 0; p < q->plane_count; p++) {
		uint32_t bytes = d->pub.payload ? d->pub.payload : q->size[p];

		fill(b, p, bytes, fake_v4l2_pixel(d->sequence));
		b->bytesused[p] = bytes - is_short;
		if (is_huge)
			b->bytesused[p] = UINT32_MAX;
	}
	if (d->pub.telemetry_bytes &&
	    pwrite(b->mem_fd[0], d->pub.telemetry, d->pub.telemetry_bytes,
		   b->mem_offset[0] + d->pub.telemetry_at) !=
		    (ssize_t)d->pub.telemetry_bytes)
		abort();
	b->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC |
		   V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
	if (count_down(&d->pub.error_frames))
		b->flags |= V4L2_BUF_FLAG_ERROR;
	b->sequence = d->sequence;
	if (count_down(&d->pub.back_sequences))
		b->sequence -= 1000;
	if (!count_down(&d->pub.same_sequences))
		d->sequence++;
	b->offset = count_down(&d->pub.far_frames) ? q->size[0] + 8 : 0;
	b->stamp = stamp_of(d);
	d->pub.frames++;
	finish(q, index);
}

static uint32_t crc_of(const struct fake_queue *q, const struct fake_buffer *b)
{
	uint8_t bytes[4096];
	uint32_t crc = 0;
	uint32_t p;

	for (p = 0; p < q->plane_count; p++) {
		uint32_t at = 0;

		while (at < q->size[p]) {
			uint32_t n =
				MIN(q->size[p] - at, (uint32_t)sizeof(bytes));

			if (pread(b->mem_fd[p], bytes, n,
				  b->mem_offset[p] + at) != (ssize_t)n)
				abort();
			crc = crc32c(crc, bytes, n);
			at += n;
		}
	}
	return crc;
}

static size_t put_fwht(struct fake_device *d, bool key, uint32_t crc,
		       uint8_t *packet)
{
	static const uint8_t magic[8] = {0x4f, 0x4f, 0x4f, 0x4f,
					 0xff, 0xff, 0xff, 0xff};

	memset(packet, 0, FAKE_V4L2_PACKET_BYTES);
	memcpy(packet, magic, sizeof(magic));
	store_be32(packet + 8, 3); /* version */
	store_be32(packet + 12, d->out.width);
	store_be32(packet + 16, d->out.height);
	store_be32(packet + 20, key ? 1u << 10 : 0);
	store_be32(packet + 44, crc);
	return FAKE_V4L2_PACKET_BYTES;
}

static size_t put_nal(const struct fake_device *d, uint8_t h264, uint16_t hevc,
		      uint8_t *to)
{
	static const uint8_t code[4] = {0, 0, 0, 1};
	bool is_hevc = d->pub.codec == V4L2_PIX_FMT_HEVC;

	memcpy(to, code, sizeof(code));
	to[4] = is_hevc ? (uint8_t)(hevc << 1) : h264;
	to[5] = is_hevc ? 1 : 0x42;
	return 6;
}

static size_t put_sets(const struct fake_device *d, bool sps, bool pps,
		       uint8_t *to)
{
	size_t n = 0;

	if (sps && d->pub.codec == V4L2_PIX_FMT_HEVC)
		n += put_nal(d, 0, 32, to + n);
	if (sps)
		n += put_nal(d, 0x67, 33, to + n);
	if (pps)
		n += put_nal(d, 0x68, 34, to + n);
	return n;
}

/* A nibble a byte, and the bytes can be no start code. */
static size_t put_crc(uint32_t crc, uint8_t *to)
{
	int i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8_t)(0x80 | (crc >> (28 - 4 * i) & 0xf));
	return 8;
}

uint32_t fake_v4l2_packet_crc(const uint8_t *bytes, size_t len)
{
	uint32_t crc = 0;
	size_t i;

	for (i = len - 8; i < len; i++)
		crc = crc << 4 | (bytes[i] & 0xf);
	return crc;
}

static size_t put_annexb(struct fake_device *d, bool key, uint32_t crc,
			 uint8_t *to)
{
	bool sets = d->pub.headers == FAKE_HEADERS_EACH_KEY ||
		    (d->pub.headers == FAKE_HEADERS_FIRST_KEY && !d->sequence);
	size_t n = 0;

	if (d->pub.delimiters)
		n += put_nal(d, 0x09, 35, to);
	if (key && sets)
		n += put_sets(d, true, true, to + n);
	n += put_nal(d, key ? 0x65 : 0x41, key ? 19 : 1, to + n);
	return n + put_crc(crc, to + n);
}

static size_t put_vp8(bool key, uint32_t crc, uint8_t *to)
{
	static const uint8_t start[10] = {0x10, 0,    0,    0x9d, 0x01,
					  0x2a, 0x40, 0x00, 0x30, 0x00};

	memcpy(to, start, sizeof(start));
	to[0] |= !key;
	return sizeof(start) + put_crc(crc, to + sizeof(start));
}

static size_t put_packet(struct fake_device *d, bool key, uint32_t crc,
			 uint8_t *to)
{
	size_t n;

	switch (d->pub.codec) {
	case V4L2_PIX_FMT_H264:
	case V4L2_PIX_FMT_HEVC:
		n = put_annexb(d, key, crc, to);
		break;
	case V4L2_PIX_FMT_VP8:
		n = put_vp8(key, crc, to);
		break;
	case V4L2_PIX_FMT_JPEG:
		n = put_crc(crc, to);
		break;
	default:
		return put_fwht(d, key, crc, to);
	}
	return n;
}

static void write_bytes(const struct fake_buffer *b, const uint8_t *bytes,
			size_t len)
{
	if (pwrite(b->mem_fd[0], bytes, len, b->mem_offset[0]) != (ssize_t)len)
		abort();
}

/* The checksum stays at the end. */
static size_t fill_up(const struct fake_buffer *b, uint8_t *packet, size_t len)
{
	size_t room = MIN(b->length[0], 8192u);

	memmove(packet + room - 8, packet + len - 8, 8);
	memset(packet + len - 8, 0xff, room - len);
	return room;
}

static void write_packet(struct fake_device *d, const struct fake_buffer *in,
			 struct fake_buffer *b)
{
	static uint8_t packet[8192];
	bool key = !d->sequence || d->force_key ||
		   (d->pub.gop && d->sequence % d->pub.gop == 0);
	size_t len;

	d->force_key = false;
	len = put_packet(d, key, crc_of(&d->out, in), packet);
	if (count_down(&d->pub.full_packets))
		len = fill_up(b, packet, len);
	write_bytes(b, packet, len);
	b->bytesused[0] = (uint32_t)len;
	if (count_down(&d->pub.short_frames))
		b->bytesused[0] = 0;
	b->flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	if (count_down(&d->pub.error_frames))
		b->flags |= V4L2_BUF_FLAG_ERROR;
	b->stamp = in->stamp;
	if (count_down(&d->pub.strange_keys))
		b->stamp.tv_sec += 1000;
	b->sequence = d->sequence;
}

/* Headers alone, with a stamp that is no frame's. True: more may follow. */
static bool give_headers(struct fake_device *d)
{
	unsigned int buffers = d->pub.headers == FAKE_HEADERS_ALONE   ? 1
			       : d->pub.headers == FAKE_HEADERS_APART ? 2
								      : 0;
	bool first = d->headers_given == 0;
	uint8_t bytes[64];
	struct fake_buffer *b;
	uint32_t out;

	if (d->headers_given >= buffers)
		return false;
	out = shift(d->cap.queued, &d->cap.queued_count);
	b = &d->cap.buffers[out];
	b->bytesused[0] = (uint32_t)put_sets(d, first, !first || buffers == 1,
					     bytes);
	write_bytes(b, bytes, b->bytesused[0]);
	b->flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	memset(&b->stamp, 0, sizeof(b->stamp));
	d->headers_given++;
	finish(&d->cap, out);
	return true;
}

/* A packet leaves, or waits for others to overtake it. */
static void finish_packet(struct fake_device *d, uint32_t index)
{
	if (d->pub.late_packet) {
		d->held_for = d->pub.late_packet;
		d->held = index;
		d->pub.late_packet = 0;
		return;
	}
	finish(&d->cap, index);
	if (d->held_for && --d->held_for == 0)
		finish(&d->cap, d->held);
}

static void encode_one(struct fake_device *d)
{
	uint32_t in = shift(d->out.queued, &d->out.queued_count);
	uint32_t out;

	d->pub.frames++;
	if (count_down(&d->pub.skip_packets)) {
		d->sequence++;
		finish(&d->out, in);
		return;
	}
	/* Last in, first out: who pairs by index pairs wrongly. */
	out = d->cap.queued[--d->cap.queued_count];
	write_packet(d, &d->out.buffers[in], &d->cap.buffers[out]);
	d->sequence++;
	finish(&d->out, in);
	finish_packet(d, out);
}

static void end_stream(struct fake_device *d)
{
	uint32_t out = d->cap.queued[--d->cap.queued_count];
	struct fake_buffer *b = &d->cap.buffers[out];

	if (d->held_for)
		finish(&d->cap, d->held);
	d->held_for = 0;
	b->bytesused[0] = 0;
	b->flags = V4L2_BUF_FLAG_LAST;
	finish(&d->cap, out);
	d->stopping = false;
	d->stopped = true;
}

void fake_v4l2_work(struct fake_device *d)
{
	if (d->pub.kind != FAKE_ENCODER || d->pub.hang || d->stopped)
		return;
	while (d->out.streaming && d->cap.streaming && d->out.queued_count &&
	       d->cap.queued_count) {
		if (!give_headers(d))
			encode_one(d);
	}
	if (d->stopping && !d->out.queued_count && d->cap.queued_count)
		end_stream(d);
}
