/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `make bench` measures of capture and M2M encoding, and measures with:
 *
 *	bench_capture library|record|software|loop CAMERA ENCODER WIDTHxHEIGHT
 *
 * library: libcapture, as the agent uses it, to FWHT. record: the same to
 * H.264, and its packets as Matroska to /dev/null. software: that by openh264,
 * whatever ENCODER is. loop: the buffers of
 * library moved by bare V4L2 calls, which is what the kernel's own work costs.
 * All run until SIGTERM or SIGINT, then print one JSON object: frames, calls
 * and allocations, all counted from the 30th frame on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>
#include <capture/source.h>
#include <kvs/recorder.h>

#include "base/macros.h"
#include "base/sys.h"
#include "bench/v4l2_loop.h"

#define WARM_FRAMES 30u
#define WAIT_MS 2000

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* --- counting
 * -------------------------------------------------------------------- */

static struct {
	uint64_t frames;
	uint64_t ioctls;
	uint64_t waits;
	/* Until the last whole frame. */
	uint64_t frame_ioctls;
	uint64_t frame_waits;
	uint64_t allocations;
	bool over;
} counts;

/*
 * Every allocation of the process passes here: glibc allows to replace the
 * four (info libc, "Replacing malloc").
 */
static _Atomic uint64_t allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
	return __libc_realloc(old, size);
}

static int count_ioctl(int fd, unsigned long request, void *arg)
{
	counts.ioctls += !counts.over;
	return sys_posix()->ioctl(fd, request, arg);
}

static int count_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	counts.waits += !counts.over;
	return sys_posix()->poll(fds, count, timeout_ms);
}

static void one_frame(void)
{
	counts.frame_ioctls = counts.ioctls;
	counts.frame_waits = counts.waits;
	if (counts.frames++ != WARM_FRAMES)
		return;
	counts.ioctls = 0;
	counts.waits = 0;
	atomic_store(&allocations, 0);
}

/* Closing is no frame's. */
static void stop_counting(void)
{
	counts.allocations = atomic_load(&allocations);
	counts.over = true;
}

static int print_counts(const char *how, uint64_t copies)
{
	uint64_t frames;

	if (counts.frames <= WARM_FRAMES + 1) {
		(void)fprintf(stderr, "bench_capture: only %llu frames\n",
			      (unsigned long long)counts.frames);
		return 1;
	}
	frames = counts.frames - WARM_FRAMES - 1;
	printf("{\"how\": \"%s\", \"frames\": %llu, \"ioctls\": %llu, "
	       "\"waits\": %llu, \"allocations\": %llu, \"copies\": %llu}\n",
	       how, (unsigned long long)frames,
	       (unsigned long long)counts.frame_ioctls,
	       (unsigned long long)counts.frame_waits,
	       (unsigned long long)counts.allocations,
	       (unsigned long long)copies);
	return 0;
}

static int failed(const char *what, int r)
{
	(void)fprintf(stderr, "bench_capture: %s: %s\n", what, strerror(-r));
	return 1;
}

/* --- the library
 * --------------------------------------------------------------------- */

enum what { LIBRARY, RECORD, SOFTWARE };

static const char *const whats[] = {
	[LIBRARY] = "library",
	[RECORD] = "record",
	[SOFTWARE] = "software",
};

struct pair {
	struct capture_source *source;
	struct capture_encoder *encoder;
	struct kvs_recorder *recorder; /* NULL: packets are dropped */
	bool software;
	int fd;			       /* it writes to */
};

static int open_recorder(struct pair *p, uint32_t width, uint32_t height)
{
	const struct kvs_track track = {
		.kind = KVS_TRACK_VIDEO,
		.payload = KVS_PAYLOAD_H264_ANNEXB,
		.codec_id = "V_MPEG4/ISO/AVC",
		.width = width,
		.height = height,
	};
	struct kvs_recorder_config config = {.tracks = &track,
					     .track_count = 1};

	p->fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (p->fd < 0)
		return -errno;
	config.fd = p->fd;
	return kvs_recorder_new(&config, &p->recorder);
}

static int open_pair(struct pair *p, const struct sys_ops *sys,
		     const char *const *args, uint32_t width, uint32_t height,
		     enum what what)
{
	bool record = what != LIBRARY;
	const uint32_t yu12 = CAPTURE_FORMAT_YU12;
	struct capture_source_config source = {
		.path = args[0],
		.fourccs = &yu12,
		.fourcc_count = 1,
		.width = width,
		.height = height,
		.rate_num = 30,
		.rate_den = 1,
	};
	struct capture_encoder_config encoder;
	int r;

	r = capture_source_open(sys, &source, &p->source);
	if (r < 0)
		return r;
	capture_encoder_config_init(&encoder);
	encoder.backend = what == SOFTWARE ? CAPTURE_BACKEND_SOFTWARE
					   : CAPTURE_BACKEND_M2M;
	encoder.path = what == SOFTWARE ? NULL : args[1];
	encoder.source = capture_source_format(p->source);
	encoder.source_dmabuf = true;
	encoder.codec = record ? CAPTURE_FORMAT_H264 : CAPTURE_FORMAT_FWHT;
	encoder.controls.gop_frames = record ? 30 : 4;
	if (what == SOFTWARE)
		encoder.controls.bitrate = 2000000;
	r = capture_encoder_open(sys, &encoder, &p->encoder);
	if (r == 0 && record)
		r = open_recorder(p, width, height);
	return r < 0 ? r : capture_source_start(p->source);
}

static int put(struct pair *p, const struct capture_packet *packet)
{
	const struct kvs_frame frame = {
		.data = packet->data,
		.bytes = packet->bytes,
		.time_ns = packet->stamp_ns,
		.raw_stamp_ns = packet->stamp_ns,
	};

	return p->recorder ? kvs_recorder_put_frame(p->recorder, &frame) : 0;
}

static int receive_all(struct pair *p)
{
	struct capture_packet *packet;
	int r;

	while ((r = capture_encoder_receive(p->encoder, 0, &packet)) == 0) {
		one_frame();
		r = put(p, packet);
		(void)capture_packet_unref(packet);
		if (r < 0)
			return r;
	}
	return r == -EAGAIN ? 0 : r;
}

static int capture_one(struct pair *p)
{
	struct capture_frame *frame;
	int r;

	r = capture_source_dequeue(p->source, 0, &frame);
	if (r < 0)
		return r == -EAGAIN || r == -ENOBUFS ? 0 : r;
	r = capture_encoder_submit(p->encoder, frame);
	(void)capture_frame_unref(frame);
	return r == -EAGAIN ? 0 : r;
}

/* As kvsd/agent/pipeline.c: one poll for both, then what is ready. */
static int run_pair(struct pair *p, const struct sys_ops *sys)
{
	while (!stopped) {
		struct pollfd fds[2] = {
			{.fd = capture_source_fd(p->source), .events = POLLIN},
			{.fd = capture_encoder_fd(p->encoder),
			 .events = POLLIN | POLLOUT},
		};
		bool busy = capture_encoder_deadline_ns(p->encoder) !=
			    UINT64_MAX;
		int r = sys->poll(fds, busy ? 2 : 1, WAIT_MS);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		if (busy && fds[1].revents)
			r = receive_all(p);
		if (r >= 0 && fds[0].revents)
			r = capture_one(p);
		/* In software the packet is there at once. */
		if (r >= 0 && p->software)
			r = receive_all(p);
		if (r < 0)
			return r;
	}
	return 0;
}

static int library(const char *const *args, uint32_t width, uint32_t height,
		   enum what what)
{
	struct sys_ops sys = *sys_posix();
	struct pair p = {.fd = -1, .software = what == SOFTWARE};
	struct capture_encoder_stats stats = {0};
	int r;

	sys.ioctl = count_ioctl;
	sys.poll = count_poll;
	r = open_pair(&p, &sys, args, width, height, what);
	if (r == 0)
		r = run_pair(&p, &sys);
	stop_counting();
	if (p.encoder)
		capture_encoder_stats(p.encoder, &stats);
	(void)capture_encoder_close(p.encoder);
	(void)capture_source_close(p.source);
	if (p.recorder && r == 0)
		r = kvs_recorder_finish(p.recorder);
	(void)kvs_recorder_free(p.recorder);
	sys_close(&sys, &p.fd);
	if (r < 0)
		return failed(whats[what], r);
	return print_counts(whats[what], stats.copies);
}

/* --- bare calls
 * -------------------------------------------------------------------- */

static int bare(const char *const *args, uint32_t width, uint32_t height)
{
	struct v4l2_loop loop;
	int r = v4l2_loop_open(&loop, args[0], args[1], width, height);

	while (r >= 0 && !stopped) {
		r = v4l2_loop_turn(&loop, WAIT_MS);
		counts.ioctls += loop.ioctls;
		counts.waits += loop.waits;
		loop.ioctls = 0;
		loop.waits = 0;
		if (r == -EINTR)
			r = 0;
		for (; r > 0; r--)
			one_frame();
	}
	stop_counting();
	v4l2_loop_close(&loop);
	if (r < 0)
		return failed("loop", r);
	return print_counts("loop", 0);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	const char *const *args = (const char *const *)argv + 2;
	unsigned int width;
	unsigned int height;
	char end;
	size_t i;

	if (argc != 5 ||
	    sscanf(argv[4], "%ux%u%c", &width, &height, &end) != 2) {
		(void)fprintf(stderr,
			      "usage: bench_capture library|record|software|"
			      "loop "
			      "CAMERA ENCODER WIDTHxHEIGHT\n");
		return 2;
	}
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	for (i = 0; i < ARRAY_SIZE(whats); i++) {
		if (strcmp(argv[1], whats[i]) == 0)
			return library(args, width, height, (enum what)i);
	}
	if (strcmp(argv[1], "loop") == 0)
		return bare(args, width, height);
	(void)fprintf(stderr, "bench_capture: %s?\n", argv[1]);
	return 2;
}
