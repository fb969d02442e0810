/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes FWHT frames with the kernel's own decoder (vicodec) and measures
 * them against the raw frames they were made of; run it in a guest.
 *
 *	fwht_decode PACKETS [RAW]
 *
 * PACKETS: FWHT frames, one after the other (each says its length). RAW: the
 * YU12 frames in the same order, without padding. One JSON line per frame,
 * {"frame", "bytes", "key", "crc32c"[, "psnr"]}, then {"frames"[,
 * "psnr_min", "psnr_mean"]}. The checksum is of the decoded YU12 picture.
 *
 * Exit: 0; 1: something failed or a frame is missing; 77: no FWHT decoder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

#include <capture/device.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/sys.h"
#include "src/keyframe.h"
#include "src/pixfmt.h"
#include "src/queue.h"
#include "src/v4l2.h"

#define HEADER_BYTES 44u
#define WIDTH_OFFSET 12u
#define HEIGHT_OFFSET 16u
#define SIZE_OFFSET 40u
#define FILE_BYTES_MAX (256u << 20)
#define WAIT_NS UINT64_C(2000000000)
#define PSNR_SAME 99.0 /* printed for equal pictures */

struct decoder {
	const struct sys_ops *sys;
	int fd;
	struct v4l2_node node;
	struct queue in;
	struct queue out;
	bool running;
	struct capture_format format;
	struct pix_layout layout;	/* as the driver writes it */
	struct pix_layout tight;	/* without padding */
	size_t picture_bytes;
	uint8_t *picture;
};

static int failed(const char *what, int r)
{
	fprintf(stderr, "fwht_decode: %s: %s\n", what, strerror(-r));
	return r;
}

/* By squaring: a digit of the binary fraction per turn. No libm needed. */
static double log10_of(double x)
{
	double sum = 0.0;
	double bit;

	for (; x >= 10.0; x /= 10.0)
		sum += 1.0;
	for (; x < 1.0; x *= 10.0)
		sum -= 1.0;
	for (bit = 0.5; bit > 1e-6; bit /= 2.0) {
		x *= x;
		if (x >= 10.0) {
			x /= 10.0;
			sum += bit;
		}
	}
	return sum;
}

static double psnr(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t squares = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		int d = a[i] - b[i];

		squares += (uint64_t)(d * d);
	}
	if (!squares)
		return PSNR_SAME;
	return 10.0 * log10_of(255.0 * 255.0 * (double)len / (double)squares);
}

/* The node is found by what its queues list, as everywhere. */
static int find_decoder(char path[CAPTURE_PATH_BYTES])
{
	struct capture_device_list *list;
	size_t i;
	size_t f;
	int r;

	r = capture_device_list_new(NULL, &list);
	if (r < 0)
		return r;
	r = -ENODEV;
	for (i = 0; i < list->count && r < 0; i++) {
		const struct capture_device *d = list->devices[i];

		for (f = 0; f < d->input_format_count && r < 0; f++) {
			if (d->input_formats[f].fourcc != CAPTURE_FORMAT_FWHT)
				continue;
			strcpy(path, d->path);
			r = 0;
		}
	}
	(void)capture_device_list_free(list);
	return r;
}

static int decoder_open(struct decoder *d, const char *path, uint32_t width,
			uint32_t height)
{
	struct v4l2_event_subscription sub = {
		.type = V4L2_EVENT_SOURCE_CHANGE,
	};
	struct capture_format coded = {
		.fourcc = CAPTURE_FORMAT_FWHT,
		.width = width,
		.height = height,
		.plane_count = 1,
	};
	int r;

	r = v4l2_open(d->sys, path, &d->fd, &d->node);
	if (r < 0)
		return failed("open", r);
	queue_init(&d->in, d->sys, d->fd, d->node.output_type);
	queue_init(&d->out, d->sys, d->fd, d->node.capture_type);
	r = d->sys->ioctl(d->fd, VIDIOC_SUBSCRIBE_EVENT, &sub);
	if (r < 0)
		return failed("subscribe", r);
	r = v4l2_set_format(d->sys, d->fd, d->node.output_type, &coded);
	if (r < 0)
		return failed("coded format", r);
	r = queue_alloc(&d->in, &coded, 2, CAPTURE_RUNG_S5);
	if (r < 0)
		return failed("input buffers", r);
	r = queue_on(&d->in);
	return r < 0 ? failed("input on", r) : 0;
}

static int lay_out(struct decoder *d)
{
	struct capture_format tight = d->format;
	int r;

	r = pix_layout_init(&d->format, &d->layout);
	if (r < 0)
		return r;
	tight.stride[0] = tight.width;
	r = pix_layout_init(&tight, &d->tight);
	if (r < 0)
		return r;
	d->picture_bytes = pix_layout_plane_bytes(&d->tight, 0);
	d->picture = malloc(d->picture_bytes);
	return d->picture ? 0 : -ENOMEM;
}

/* Once the first frame is in, the driver knows what it will give. */
static int start_output(struct decoder *d)
{
	struct v4l2_event event;
	uint32_t i;
	int r;

	r = queue_wait(d->sys, d->fd, POLLPRI,
		       sys_now_ns(d->sys, CLOCK_MONOTONIC) + WAIT_NS);
	if (r < 0 || !(r & POLLPRI))
		return failed("source change", r < 0 ? r : -ETIMEDOUT);
	memset(&event, 0, sizeof(event));
	(void)d->sys->ioctl(d->fd, VIDIOC_DQEVENT, &event);
	r = v4l2_get_format(d->sys, d->fd, d->node.capture_type, &d->format);
	if (r < 0)
		return failed("raw format", r);
	d->format.fourcc = CAPTURE_FORMAT_YU12;
	memset(d->format.stride, 0, sizeof(d->format.stride));
	memset(d->format.size, 0, sizeof(d->format.size));
	r = v4l2_set_format(d->sys, d->fd, d->node.capture_type, &d->format);
	if (r == 0)
		r = lay_out(d);
	if (r == 0)
		r = queue_alloc(&d->out, &d->format, 3, CAPTURE_RUNG_S5);
	for (i = 0; r == 0 && i < d->out.count; i++)
		r = queue_give(&d->out, i, NULL);
	if (r == 0)
		r = queue_on(&d->out);
	if (r < 0)
		return failed("output", r);
	d->running = true;
	return 0;
}

static int put(struct decoder *d, const uint8_t *packet, size_t len)
{
	struct queue_payload payload = { .key = 1 };
	struct queue_done done;
	int slot;

	if (queue_take(&d->in, &done) == 0)
		queue_return(&d->in, done.index);
	slot = queue_find_free(&d->in);
	if (slot < 0)
		return slot;
	if (len > d->in.buffers[slot].planes[0].length)
		return -EMSGSIZE;
	memcpy(d->in.buffers[slot].planes[0].map, packet, len);
	payload.bytesused[0] = (uint32_t)len;
	return queue_give(&d->in, (uint32_t)slot, &payload);
}

/* The picture of the packet just put, into d->picture. */
static int get(struct decoder *d)
{
	uint64_t deadline_ns = sys_now_ns(d->sys, CLOCK_MONOTONIC) + WAIT_NS;
	const uint8_t *src[CAPTURE_PLANES_MAX] = { NULL };
	uint8_t *dst[CAPTURE_PLANES_MAX] = { d->picture };
	struct queue_done done;
	int r;

	while ((r = queue_take(&d->out, &done)) == -EAGAIN) {
		r = queue_wait(d->sys, d->fd, POLLIN, deadline_ns);
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
	}
	if (r < 0)
		return r;
	src[0] = d->out.buffers[done.index].planes[0].map;
	if (!done.damaged)
		(void)pix_copy(&d->layout, src, &d->tight, dst);
	queue_return(&d->out, done.index);
	r = queue_give(&d->out, done.index, NULL);
	return done.damaged ? -EBADMSG : r;
}

static int decode(struct decoder *d, const uint8_t *packet, size_t len)
{
	int r;

	r = put(d, packet, len);
	if (r < 0)
		return failed("put", r);
	if (!d->running) {
		r = start_output(d);
		if (r < 0)
			return r;
	}
	r = get(d);
	return r < 0 ? failed("get", r) : 0;
}

static size_t packet_bytes(const uint8_t *p, size_t left)
{
	uint64_t bytes;

	if (left < HEADER_BYTES)
		return 0;
	bytes = (uint64_t)HEADER_BYTES + load_be32(p + SIZE_OFFSET);
	return bytes <= left ? (size_t)bytes : 0;
}

static int run(struct decoder *d, const uint8_t *packets, size_t len,
	       const uint8_t *raw, size_t raw_len)
{
	double sum = 0.0;
	double least = PSNR_SAME;
	size_t at = 0;
	size_t raw_at = 0;
	unsigned int n;
	int r;

	for (n = 0; at < len; n++) {
		size_t bytes = packet_bytes(packets + at, len - at);
		double figure;

		if (!bytes)
			return failed("not a whole FWHT frame", -EBADMSG);
		r = decode(d, packets + at, bytes);
		if (r < 0)
			return r;
		printf("{\"frame\": %u, \"bytes\": %zu, \"key\": %s, "
		       "\"crc32c\": \"%08x\"",
		       n, bytes,
		       keyframe_find(CAPTURE_FORMAT_FWHT, packets + at, bytes)
			       ? "true"
			       : "false",
		       crc32c(0, d->picture, d->picture_bytes));
		at += bytes;
		if (raw) {
			if (d->picture_bytes > raw_len - raw_at)
				return failed("raw frames end", -ENODATA);
			figure = psnr(raw + raw_at, d->picture,
				      d->picture_bytes);
			raw_at += d->picture_bytes;
			sum += figure;
			least = figure < least ? figure : least;
			printf(", \"psnr\": %.2f", figure);
		}
		printf("}\n");
	}
	printf("{\"frames\": %u", n);
	if (raw && n)
		printf(", \"psnr_min\": %.2f, \"psnr_mean\": %.2f", least,
		       sum / n);
	printf("}\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct decoder d = { .sys = sys_posix(), .fd = -EBADF };
	char path[CAPTURE_PATH_BYTES];
	char *packets = NULL;
	size_t raw_len = 0;
	char *raw = NULL;
	size_t len;
	int r;

	if (argc < 2 || argc > 3)
		return failed("usage: fwht_decode PACKETS [RAW]", -EINVAL) != 0;
	r = find_decoder(path);
	if (r < 0)
		return failed("decoder", r) == -ENODEV ? 77 : 1;
	r = sys_read_file(d.sys, AT_FDCWD, argv[1], FILE_BYTES_MAX, &packets,
			  &len);
	if (r == 0 && argc > 2)
		r = sys_read_file(d.sys, AT_FDCWD, argv[2], FILE_BYTES_MAX,
				  &raw, &raw_len);
	if (r < 0)
		return failed("read", r) != 0;
	if (len < HEADER_BYTES)
		return failed("no frames", -EBADMSG) != 0;
	r = decoder_open(&d, path,
			 load_be32((uint8_t *)packets + WIDTH_OFFSET),
			 load_be32((uint8_t *)packets + HEIGHT_OFFSET));
	if (r == 0)
		r = run(&d, (uint8_t *)packets, len, (uint8_t *)raw, raw_len);
	queue_release(&d.out);
	queue_release(&d.in);
	sys_close(d.sys, &d.fd);
	free(d.picture);
	free(packets);
	free(raw);
	return r < 0;
}
