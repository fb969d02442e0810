/* SPDX-License-Identifier: Apache-2.0 */
/*
 * align_probe FRAMES DEVICE:FOURCC[@POINT[+DELAY_NS]]...: captures from all of
 * them at once and prints a JSON line for each frame: when it was taken and by
 * whose word, and in the end one for each device. The test that calls it judges.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <capture/align.h>
#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"

#define DEVICES_MAX 4
#define RATE 25
#define WAIT_MS 10000

struct device {
	char path[64];
	struct capture_source *source;
	unsigned long left; /* frames to take */
};

static int fail(const char *what, int r)
{
	printf("{\"error\": \"%s\", \"errno\": \"%s\"}\n", what, strerror(-r));
	return r;
}

static bool take_point(struct capture_align_setting *align, const char *text)
{
	char name[32];
	unsigned int point;
	char *end;

	if (!text[0])
		return true;
	if (sscanf(text, "@%31[a-z-]", name) != 1)
		return false;
	for (point = 0; point <= CAPTURE_ALIGN_MID_EXPOSURE; point++) {
		align->point = (enum capture_align_point)point;
		if (!strcmp(capture_align_point_name(align->point), name))
			break;
	}
	text += 1 + strlen(name);
	if (point > CAPTURE_ALIGN_MID_EXPOSURE || !text[0])
		return point <= CAPTURE_ALIGN_MID_EXPOSURE;
	align->delay_ns = strtoll(text + 1, &end, 10);
	return text[0] == '+' && end > text + 1 && !*end;
}

static int open_device(struct device *d, const char *text, unsigned long frames)
{
	const char *colon = strrchr(text, ':');
	struct capture_settings settings = {0};
	uint32_t fourcc;
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_V4L2,
		.path = d->path,
		.fourccs = &fourcc,
		.fourcc_count = 1,
		.width = 320,
		.height = 180,
		.rate_num = RATE,
		.rate_den = 1,
		.settings = &settings,
	};
	int r;

	if (!colon || strlen(colon + 1) < 4 ||
	    (size_t)(colon - text) >= sizeof(d->path) ||
	    !take_point(&settings.align, colon + 5))
		return fail(text, -EINVAL);
	memcpy(d->path, text, (size_t)(colon - text));
	fourcc = CAPTURE_FOURCC(colon[1], colon[2], colon[3], colon[4]);
	r = capture_source_open(NULL, &config, &d->source);
	if (r == 0)
		r = capture_source_start(d->source);
	if (r < 0)
		return fail(d->path, r);
	d->left = frames;
	return 0;
}

static void print_frame(const struct device *d, const struct capture_frame *f)
{
	printf("{\"device\": \"%s\", \"sequence\": %" PRIu32
	       ", \"by\": \"%s\", "
	       "\"ns\": %" PRIu64 ", \"sigma_ns\": %" PRIu64
	       ", \"epoch\": %" PRIu32 ", \"stamp_ns\": %" PRIu64 "}\n",
	       d->path, f->sequence, capture_aligned_by_name(f->aligned.by),
	       f->aligned.ns, f->aligned.sigma_ns, f->aligned.epoch,
	       f->stamp_ns);
}

static void print_state(const struct device *d)
{
	struct capture_alignment a;
	int r = capture_source_alignment(d->source, &a);

	if (r < 0) {
		(void)fail(d->path, r);
		return;
	}
	printf("{\"device\": \"%s\", \"state\": \"%s\", \"by\": \"%s\", "
	       "\"name\": \"%s\", \"minor\": %" PRId32 ", \"id\": %" PRIu32
	       ", \"epoch\": %" PRIu64 ", \"samples\": %" PRIu64
	       ", \"point\": \"%s\", \"delay_ns\": %" PRId64
	       ", \"wrong\": \"%s\"}\n",
	       d->path, capture_align_state_name(a.state),
	       capture_aligned_by_name(a.by), a.name, a.minor, a.id, a.epoch,
	       a.samples, capture_align_point_name(a.point), a.delay_ns,
	       a.wrong ? a.wrong : "");
}

static int take(struct device *d)
{
	struct capture_frame *f;
	int r = capture_source_dequeue(d->source, 0, &f);

	if (r < 0)
		return r == -EAGAIN || r == -ENOBUFS ? 0 : fail(d->path, r);
	print_frame(d, f);
	(void)capture_frame_unref(f);
	d->left--;
	return 0;
}

/* Until each has given its frames. */
static int take_all(struct device *devices, size_t count)
{
	for (;;) {
		struct pollfd fds[DEVICES_MAX];
		size_t open = 0;
		size_t i;
		int r;

		for (i = 0; i < count; i++) {
			fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
			if (!devices[i].left)
				continue;
			fds[i].fd = capture_source_fd(devices[i].source);
			open++;
		}
		if (!open)
			return 0;
		r = poll(fds, (nfds_t)count, WAIT_MS);
		if (r <= 0)
			return fail("poll", r ? -errno : -ETIMEDOUT);
		for (i = 0; i < count; i++) {
			r = fds[i].revents ? take(&devices[i]) : 0;
			if (r < 0)
				return r;
		}
	}
}

int main(int argc, char **argv)
{
	struct device devices[DEVICES_MAX] = {0};
	size_t count = 0;
	size_t i;
	int r = 0;

	if (argc < 3 || argc > 2 + DEVICES_MAX)
		return 2;
	while (r == 0 && count < (size_t)argc - 2) {
		r = open_device(&devices[count], argv[2 + count],
				strtoul(argv[1], NULL, 10));
		count++;
	}
	if (r == 0)
		r = take_all(devices, count);
	for (i = 0; i < count; i++) {
		if (r == 0)
			print_state(&devices[i]);
		devices[i].source = capture_source_close(devices[i].source);
	}
	return r < 0 ? 1 : 0;
}
