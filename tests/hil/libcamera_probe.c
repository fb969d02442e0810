/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cameras of libcamera, on a machine that has one; run it in a guest with
 * vimc (tests/hil/test_libcamera.sh). Lines of "ok" and "not ok".
 *
 *	libcamera_probe WIDTHxHEIGHT	RGB24 of the first camera
 *	libcamera_probe missing		the module is not there
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <capture/source.h>

#include "base/macros.h"
#include "base/sys.h"

#define WAIT_NS UINT64_C(10000000000)
#define FRAMES 20u
#define BUFFERS_MAX 32u
#define FORMAT_RGB24 CAPTURE_FOURCC('R', 'G', 'B', '3')

static int bad;

static void need(bool ok, const char *what, int r)
{
	printf("%s - %s", ok ? "ok" : "not ok", what);
	printf(ok ? "\n" : " (%d)\n", r);
	bad |= !ok;
}

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static int open_camera(uint32_t fourcc, uint32_t width, uint32_t height,
		       const char *id, struct capture_source **ret)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_LIBCAMERA,
		.path = id,
		.fourccs = &fourcc,
		.fourcc_count = 1,
		.width = width,
		.height = height,
		.track_id = 7,
	};

	return capture_source_open(NULL, &config, ret);
}

/* Reads by the map; *@flat: all bytes are the same. */
static uint64_t sum(const struct capture_frame *f, bool *flat)
{
	const struct capture_plane *p = &f->planes[0];
	const uint8_t *at = p->map + p->offset;
	uint64_t s = 0;
	uint32_t i;

	*flat = true;
	for (i = 0; i < p->bytesused; i++) {
		s = s * 31 + at[i];
		*flat = *flat && at[i] == at[0];
	}
	return s;
}

static bool looks_right(const struct capture_frame *f, uint32_t w, uint32_t h)
{
	const struct capture_plane *p = &f->planes[0];
	bool flat;

	(void)sum(f, &flat);
	return !flat && f->track_id == 7 && f->fourcc == FORMAT_RGB24 &&
	       f->width == w && f->height == h && f->plane_count == 1 &&
	       p->stride >= w * 3 && p->bytesused >= p->stride * h &&
	       p->dmabuf_fd >= 0 && !f->flags;
}

/* @frames of one start. */
static void run(struct capture_source *s, uint32_t w, uint32_t h)
{
	struct capture_source_stats before;
	struct capture_source_stats after;
	struct capture_frame *f;
	uint64_t opened_ns = now_ns();
	uint64_t stamp_ns = 0;
	uint32_t sequence = 0;
	bool right = true;
	bool rising = true;
	uint32_t i;
	int r;

	capture_source_stats(s, &before);
	r = capture_source_start(s);
	need(r == 0, "it starts", r);
	for (i = 0; r == 0 && i < FRAMES; i++) {
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
		if (r < 0)
			break;
		right = right && looks_right(f, w, h);
		rising = rising && f->stamp_ns > stamp_ns &&
			 f->stamp_ns > opened_ns && f->stamp_ns < now_ns() &&
			 f->clock == CAPTURE_CLOCK_MONOTONIC &&
			 (!i || f->sequence > sequence);
		stamp_ns = f->stamp_ns;
		sequence = f->sequence;
		(void)capture_frame_unref(f);
	}
	need(i == FRAMES, "20 frames come", r);
	need(right, "frames are whole, have a dma-buf, and show something", 0);
	need(rising, "stamps and sequence rise, in CLOCK_MONOTONIC", 0);
	capture_source_stats(s, &after);
	need(after.frames - before.frames == FRAMES && !after.frames_error &&
		     !after.frames_short && !after.requeue_errors &&
		     !after.stamps_bad && !after.stamps_backward,
	     "the counters agree", (int)after.frames_error);
	need(sequence + 1 >= FRAMES &&
		     sequence + 1 - FRAMES <=
			     after.frames_lost - before.frames_lost,
	     "every gap in the sequence is counted", (int)sequence);
	need(capture_source_start(s) == -EBUSY, "it starts once", 0);
	need(capture_source_stop(s) == 0, "it stops", 0);
	need(capture_source_dequeue(s, 0, &f) == -EBUSY,
	     "no frame while it is off", 0);
}

/* Every buffer out: nothing comes until one goes back. */
static void starve(struct capture_source *s)
{
	struct capture_frame *held[BUFFERS_MAX] = {NULL};
	struct capture_source_stats stats;
	struct capture_frame *f = NULL;
	uint32_t i;
	int r = capture_source_start(s);

	capture_source_stats(s, &stats);
	for (i = 0; r == 0 && i < stats.buffer_count; i++)
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &held[i]);
	need(r == 0, "as many frames may be out as there are buffers", r);
	r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	need(r == -ENOBUFS, "all out: -ENOBUFS, at once", r);
	held[0] = capture_frame_unref(held[0]);
	r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	need(r == 0, "one back: one comes", r);
	(void)capture_frame_unref(r == 0 ? f : NULL);
	need(capture_source_stop(s) == 0, "it stops with frames out", 0);
	for (i = 0; i < stats.buffer_count; i++)
		(void)capture_frame_unref(held[i]);
}

static void outlive(uint32_t w, uint32_t h)
{
	struct capture_source *s = NULL;
	struct capture_frame *f = NULL;
	uint64_t before = 0;
	bool flat;
	int r;

	r = open_camera(FORMAT_RGB24, w, h, "", &s);
	if (r == 0)
		r = capture_source_start(s);
	if (r == 0)
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	if (r == 0)
		before = sum(f, &flat);
	(void)capture_source_close(s);
	need(f && sum(f, &flat) == before && !flat &&
		     fcntl(f->planes[0].dmabuf_fd, F_GETFD, 0) >= 0,
	     "a frame outlives its source", r);
	(void)capture_frame_unref(f);
}

static void refuse(uint32_t w, uint32_t h)
{
	struct capture_source *s;

	need(open_camera(FORMAT_RGB24, w + 1, h, NULL, &s) == -ERANGE,
	     "a size that it lacks is refused", 0);
	need(open_camera(CAPTURE_FORMAT_YUYV, w, h, NULL, &s) ==
		     -EPROTONOSUPPORT,
	     "a format that it lacks is refused", 0);
	need(open_camera(FORMAT_RGB24, w, h, "no such camera", &s) == -ENODEV,
	     "an unknown id is refused", 0);
}

static void camera(uint32_t w, uint32_t h)
{
	struct capture_source *s = NULL;
	struct capture_source *other;
	int fds;
	int r;

	/* libcamera's manager, and its dispatcher of this thread, stay. */
	outlive(w, h);
	fds = open_fds();
	refuse(w, h);
	r = open_camera(FORMAT_RGB24, w, h, NULL, &s);
	need(r == 0, "it opens again", r);
	if (r < 0)
		return;
	need(open_camera(FORMAT_RGB24, w, h, NULL, &other) == -EBUSY,
	     "it opens once at a time", 0);
	run(s, w, h);
	run(s, w, h);
	starve(s);
	(void)capture_source_close(s);
	outlive(w, h);
	outlive(w, h);
	need(open_fds() == fds, "no descriptor is left", open_fds() - fds);
}

int main(int argc, char **argv)
{
	struct capture_source *s;
	unsigned int w = 0;
	unsigned int h = 0;
	int r;

	if (argc == 2 && !strcmp(argv[1], "missing")) {
		r = open_camera(FORMAT_RGB24, 0, 0, NULL, &s);
		need(r == -EOPNOTSUPP, "without the module: -EOPNOTSUPP", r);
	} else if (argc == 2 && !strcmp(argv[1], "none")) {
		r = open_camera(FORMAT_RGB24, 0, 0, NULL, &s);
		need(r == -ENODEV, "without a camera: -ENODEV", r);
	} else if (argc == 2 && sscanf(argv[1], "%ux%u", &w, &h) == 2) {
		camera(w, h);
	} else {
		fprintf(stderr, "usage: libcamera_probe WxH|none|missing\n");
		return 2;
	}
	return bad;
}
