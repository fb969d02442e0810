/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cameras of libcamera, on a machine that has one; run it in a guest with
 * vimc (tests/hil/test_libcamera.sh). Lines of "ok" and "not ok".
 *
 *	libcamera_probe WIDTHxHEIGHT	the first camera
 *	libcamera_probe missing		the module is not there
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"
#include "base/sys.h"

#define WAIT_NS UINT64_C(10000000000)
#define FRAMES 20u
#define BUFFERS_MAX 32u
#define FORMAT_RGB24 CAPTURE_FOURCC('R', 'G', 'B', '3')
#define FORMAT_BGR24 CAPTURE_FOURCC('B', 'G', 'R', '3')
/* Frames within which a control shows. */
#define CONTROL_FRAMES 100u

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

static struct capture_source_config config_of(const uint32_t *fourcc,
					      uint32_t width, uint32_t height)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_LIBCAMERA,
		.fourccs = fourcc,
		.fourcc_count = 1,
		.width = width,
		.height = height,
		.track_id = 7,
	};

	return config;
}

static int open_camera(uint32_t fourcc, uint32_t width, uint32_t height,
		       const char *id, struct capture_source **ret)
{
	struct capture_source_config config = config_of(&fourcc, width, height);

	config.path = id;
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
	       p->dmabuf_fd >= 0 && !(f->flags & ~CAPTURE_FRAME_COPY);
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

/* Every frame out: nothing comes until one goes back. */
static void starve(uint32_t w, uint32_t h, uint32_t borrow_max)
{
	const uint32_t fourcc = FORMAT_RGB24;
	struct capture_source_config config = config_of(&fourcc, w, h);
	struct capture_frame *held[BUFFERS_MAX] = {NULL};
	struct capture_source_stats stats;
	struct capture_source *s = NULL;
	struct capture_frame *f = NULL;
	bool right = true;
	uint32_t lent;
	uint32_t i;
	int r;

	config.borrow_max = borrow_max;
	r = capture_source_open(NULL, &config, &s);
	need(r == 0, "it opens with borrow_max", r);
	if (r < 0)
		return;
	capture_source_stats(s, &stats);
	lent = borrow_max ? MIN(borrow_max, stats.buffer_count)
			  : stats.buffer_count - 2;
	need(stats.borrow_max == lent &&
		     stats.copy_count == stats.buffer_count - lent,
	     "so many may be lent, the rest are copies", (int)stats.borrow_max);
	r = capture_source_start(s);
	for (i = 0; r == 0 && i < stats.buffer_count; i++) {
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &held[i]);
		right = right && r == 0 && looks_right(held[i], w, h) &&
			!(held[i]->flags & CAPTURE_FRAME_COPY) == (i < lent);
	}
	need(r == 0, "as many frames may be out as there are buffers", r);
	need(right, "those beyond are copies, and whole", 0);
	r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	need(r == -ENOBUFS, "all out: -ENOBUFS", r);
	held[0] = capture_frame_unref(held[0]);
	r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	need(r == 0 && !(f->flags & CAPTURE_FRAME_COPY),
	     "one back: one comes, as it lies", r);
	(void)capture_frame_unref(r == 0 ? f : NULL);
	capture_source_stats(s, &stats);
	need(stats.copies == stats.copy_count &&
		     !stats.copies == !stats.bytes_touched &&
		     !stats.copies == !stats.frames_dropped,
	     "copies and drops are counted", (int)stats.copies);
	need(capture_source_stop(s) == 0, "it stops with frames out", 0);
	(void)capture_source_close(s);
	/* Lent and copied ones outlive it alike. */
	for (i = 1; i < stats.buffer_count; i++) {
		right = right && looks_right(held[i], w, h);
		(void)capture_frame_unref(held[i]);
	}
	need(right, "all of them outlive it", 0);
}

/* Mean of all bytes. */
static uint32_t brightness_of(const struct capture_frame *f)
{
	const struct capture_plane *p = &f->planes[0];
	uint64_t s = 0;
	uint32_t i;

	for (i = 0; i < p->bytesused; i++)
		s += p->map[p->offset + i];
	return (uint32_t)(s / MAX(p->bytesused, 1u));
}

/* The yellow bar, which has no blue: what its first byte is over its third. */
static int64_t yellow_bar(const struct capture_frame *f)
{
	const struct capture_plane *p = &f->planes[0];
	int64_t more = 0;
	uint32_t x;
	uint32_t y;

	for (y = 0; y < f->height; y++) {
		const uint8_t *row = p->map + p->offset + y * p->stride;

		for (x = f->width * 9 / 64; x < f->width * 11 / 64; x++)
			more += row[3 * x] - row[3 * x + 2];
	}
	return more;
}

/*
 * vimc's pipeline has these two, and no other; libcamera 0.0.3 sets the second
 * up in a way that the kernel (6.12) refuses at the start (-EPIPE).
 */
static void format(uint32_t fourcc, uint32_t w, uint32_t h, bool blue_first)
{
	struct capture_source *s = NULL;
	struct capture_frame *f = NULL;
	int64_t more = 0;
	int r;

	r = open_camera(fourcc, w, h, NULL, &s);
	need(r == 0 && capture_source_format(s)->fourcc == fourcc,
	     "a format by its name", r);
	if (r < 0)
		return;
	r = capture_source_start(s);
	if (r == -EPIPE && blue_first) {
		need(capture_source_dequeue(s, 0, &f) == -EBUSY &&
			     capture_source_start(s) == -EPIPE,
		     "what does not start is off", r);
		(void)capture_source_close(s);
		return;
	}
	if (r == 0)
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	if (r == 0)
		more = yellow_bar(f);
	need(r == 0 && f->fourcc == fourcc && more && (more < 0) == blue_first,
	     "its bytes are in the order that it says", (int)more);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

/* Frames until @bright or darker than @than; the last one's brightness. */
static uint32_t wait_brightness(struct capture_source *s, bool bright,
				uint32_t than)
{
	struct capture_frame *f;
	uint32_t now = 0;
	uint32_t i;

	for (i = 0; i < CONTROL_FRAMES; i++) {
		if (capture_source_dequeue(s, now_ns() + WAIT_NS, &f) < 0)
			return bright ? 0 : UINT32_MAX;
		now = brightness_of(f);
		(void)capture_frame_unref(f);
		if (bright ? now > than : now < than)
			break;
	}
	return now;
}

static void controls(uint32_t w, uint32_t h)
{
	const uint32_t fourcc = FORMAT_RGB24;
	struct capture_source_config config = config_of(&fourcc, w, h);
	struct capture_control_setting dark = {.name = "brightness",
					       .value = -1000};
	struct capture_control_setting light = {.name = "Brightness",
						.value = 1000};
	const struct capture_settings settings = {.controls = &dark,
						  .control_count = 1};
	struct capture_source *s = NULL;
	uint32_t before;
	uint32_t now;
	int r;

	config.settings = &settings;
	config.skip_first = 3;
	r = capture_source_open(NULL, &config, &s);
	if (r == 0)
		r = capture_source_start(s);
	need(r == 0, "it starts with a control set", r);
	if (r < 0) {
		(void)capture_source_close(s);
		return;
	}
	before = wait_brightness(s, false, 64);
	need(before < 64, "a control of the config shows", (int)before);
	need(capture_source_set_control(s, &light) == 0,
	     "a control is set under way", 0);
	need(wait_brightness(s, true, before + 64) > before + 64,
	     "and shows too", (int)before);
	(void)capture_source_stop(s);
	r = capture_source_start(s);
	need(r == 0 && wait_brightness(s, true, before + 64) > before + 64,
	     "a start again keeps it", r);
	light.value = 1001;
	need(capture_source_set_control(s, &light) == -ERANGE,
	     "what is out of its range is refused", 0);
	light.value = 0; /* libcamera puts nothing back */
	r = capture_source_set_control(s, &light);
	now = wait_brightness(s, false, 250);
	need(r == 0 && now < 250 && now > before, "its default again", r);
	(void)capture_source_close(s);
}

/* What cannot be honoured, and the name that it is refused by. */
static void refuse_settings(uint32_t w, uint32_t h)
{
	static const struct capture_rect rect = {0, 0, 64, 64};
	static const struct {
		struct capture_control_setting control;
		const char *name;
		int error;
	} cases[] = {
		{{.name = "exposure_time", .value = 100},
		 "exposure_time",
		 -ENXIO},
		{{.name = "analogue_gain", .value = 2000},
		 "analogue_gain",
		 -ENXIO},
		{{.id = 0x980900, .value = 1}, "0x980900", -ENXIO},
		{{.name = "contrast", .value = 1 << 20}, "contrast", -ERANGE},
		{{.name = "contrast", .item = "high"}, "contrast", -EOPNOTSUPP},
	};
	const uint32_t fourcc = FORMAT_RGB24;
	struct capture_settings_error error;
	struct capture_settings settings = {.error = &error};
	struct capture_source_config config = config_of(&fourcc, w, h);
	struct capture_source *s = NULL;
	size_t i;
	int r;

	config.settings = &settings;
	settings.control_count = 1;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&error, 0, sizeof(error));
		settings.controls = &cases[i].control;
		r = capture_source_open(NULL, &config, &s);
		need(r == cases[i].error && error.error == r &&
			     !strcmp(error.name, cases[i].name),
		     cases[i].name, r);
	}
	settings.control_count = 0;
	config.rate_num = 30;
	config.rate_den = 1;
	r = capture_source_open(NULL, &config, &s);
	need(r == -ENXIO && !strcmp(error.name, "rate"),
	     "a rate that the pipeline cannot set", r);
	config.rate_num = 0;
	config.rate_den = 0;
	settings.crop = &rect;
	r = capture_source_open(NULL, &config, &s);
	need(r == -EOPNOTSUPP && !strcmp(error.name, "crop"), "a crop", r);
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

/* Frames to be left out are so once: not by the module and by the library. */
static void skip(uint32_t w, uint32_t h)
{
	const uint32_t fourcc = FORMAT_RGB24;
	struct capture_source_config config = config_of(&fourcc, w, h);
	struct capture_source_stats stats = {0};
	struct capture_source *s = NULL;
	struct capture_frame *f = NULL;
	int r;

	config.skip_first = 3;
	r = capture_source_open(NULL, &config, &s);
	if (r == 0)
		r = capture_source_start(s);
	if (r == 0)
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &f);
	if (s)
		capture_source_stats(s, &stats);
	need(r == 0 && stats.frames_skipped == 3 && stats.frames == 1,
	     "the first three are left out, and no more", r);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
}

static void refuse(uint32_t w, uint32_t h)
{
	struct capture_source *s;

	need(open_camera(FORMAT_RGB24, w + 1, h, NULL, &s) == -ERANGE,
	     "a size that it lacks is refused", 0);
	need(open_camera(CAPTURE_FORMAT_YUYV, w, h, NULL, &s) ==
			     -EPROTONOSUPPORT &&
		     open_camera(CAPTURE_FORMAT_NV12, w, h, NULL, &s) ==
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
	(void)capture_source_close(s);
	starve(w, h, 0);
	starve(w, h, 1);
	starve(w, h, BUFFERS_MAX);
	skip(w, h);
	format(FORMAT_RGB24, w, h, false);
	format(FORMAT_BGR24, w, h, true);
	controls(w, h);
	refuse_settings(w, h);
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
