/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as DMA-bufs, for a GPU, a neural network's accelerator or an encoder:
 * the descriptor that such a library imports, and what it must be told of it.
 *
 *	cc grab_dmabuf.c $(pkg-config --cflags --libs libcapture) -o grab_dmabuf
 *	./grab_dmabuf [CAMERA [FRAMES]]
 *
 * CAMERA is a path, or text of its card, bus or a sensor behind it (see
 * capture/media.h: capture_device_match()); without it, "/dev/video0".
 *
 * Ownership, the one rule: capture_source_dequeue() gives you one reference
 * to a frame. While you hold it, descriptor and memory are yours to read and
 * the driver does not write there. The last capture_frame_unref() gives the
 * buffer back. So hold a frame as long as the GPU works on it, but never all
 * of them: the camera needs buffers to write to. Here the last two are held.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capture/media.h>
#include <capture/source.h>

#define HELD 2u
#define WAIT_NS UINT64_C(2000000000)
/* Linear lines of pixels: DRM_FORMAT_MOD_LINEAR of drm_fourcc.h. */
#define MODIFIER_LINEAR UINT64_C(0)

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char *clock_name(enum capture_clock clock)
{
	switch (clock) {
	case CAPTURE_CLOCK_MONOTONIC:
		return "monotonic";
	case CAPTURE_CLOCK_REALTIME:
		return "realtime";
	case CAPTURE_CLOCK_BOOTTIME:
		return "boottime";
	case CAPTURE_CLOCK_COPY:
	case CAPTURE_CLOCK_UNKNOWN:
		break;
	}
	return "unknown";
}

/* All that eglCreateImage(), a Vulkan import or an NPU's driver asks for. */
static void print_frame(const struct capture_frame *f)
{
	uint32_t p;

	printf("frame %" PRIu32 ": %.4s %" PRIu32 "x%" PRIu32 ", modifier 0x%"
	       PRIx64 ", %" PRIu64 ".%09" PRIu64 " s %s%s\n", f->sequence,
	       (const char *)&f->fourcc, f->width, f->height, MODIFIER_LINEAR,
	       f->stamp_ns / 1000000000u, f->stamp_ns % 1000000000u,
	       clock_name(f->clock),
	       f->flags & CAPTURE_FRAME_ERROR ? ", damaged" : "");
	for (p = 0; p < f->plane_count; p++)
		printf("  plane %" PRIu32 ": dma-buf %d, offset %" PRIu32
		       ", stride %" PRIu32 ", %" PRIu32 " of %" PRIu32
		       " bytes\n", p, f->planes[p].dmabuf_fd,
		       f->planes[p].offset, f->planes[p].stride,
		       f->planes[p].bytesused, f->planes[p].length);
}

/* Takes the caller's reference. */
static void hold(struct capture_frame *held[HELD], struct capture_frame *frame)
{
	/* The oldest goes back to the driver, whatever the GPU did with it. */
	(void)capture_frame_unref(held[0]);
	memmove(held, held + 1, (HELD - 1) * sizeof(*held));
	held[HELD - 1] = frame;
}

static int grab(struct capture_source *source, unsigned long count)
{
	struct capture_frame *held[HELD] = { NULL };
	struct capture_frame *frame;
	unsigned long i;
	int r;

	r = capture_source_start(source);
	for (i = 0; r == 0 && i < count; i++) {
		/* Or poll capture_source_fd() in a loop, and deadline 0. */
		r = capture_source_dequeue(source, now_ns() + WAIT_NS, &frame);
		if (r < 0)
			break;
		print_frame(frame);
		if (frame->planes[0].dmabuf_fd < 0)
			fprintf(stderr, "no dma-buf here: use planes[].map\n");
		hold(held, frame);
	}
	/* Frames may even outlive their source. */
	for (i = 0; i < HELD; i++)
		held[i] = capture_frame_unref(held[i]);
	(void)capture_source_stop(source);
	return r;
}

int main(int argc, char **argv)
{
	/* Best first: what a GPU samples without a conversion. */
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_YUYV,
	};
	char path[CAPTURE_PATH_BYTES] = "/dev/video0";
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_V4L2,
		.path = path,
		.fourccs = fourccs,
		.fourcc_count = sizeof(fourccs) / sizeof(fourccs[0]),
		.buffer_count = 4 + HELD,
	};
	struct capture_source_stats stats;
	struct capture_source *source = NULL;
	int r = 0;

	if (argc > 1)
		r = capture_device_match(NULL, argv[1], path);
	if (r == 0)
		r = capture_source_open(NULL, &config, &source);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argc > 1 ? argv[1] : path,
			strerror(-r));
		return 1;
	}
	r = grab(source, argc > 2 ? strtoul(argv[2], NULL, 10) : 30);
	capture_source_stats(source, &stats);
	printf("%s: %" PRIu64 " frames, %" PRIu64 " lost, memory %s\n", path,
	       stats.frames, stats.frames_lost, capture_rung_name(stats.rung));
	source = capture_source_close(source);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
	return r < 0;
}
