/* SPDX-License-Identifier: Apache-2.0 */
#include "src/align_submit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MHZ_PER_HZ UINT64_C(1000)
/* Processes that capture from what has the same name. */
#define NAMES_MAX 9

void align_submit_init(struct align_submit *s)
{
	*s = (struct align_submit){.fd = -EBADF};
}

static bool fits(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

void align_submit_name(struct align_submit *s, const char *kind,
		       const char *path)
{
	/* The kind, '-', the path's end, and "-9" for whoever comes later. */
	size_t room = sizeof(s->name) - 1 - strlen(kind) - 1 - 2;
	size_t bytes = strlen(path);
	char *c;

	if (bytes > room)
		path += bytes - room;
	(void)snprintf(s->name, sizeof(s->name), "%s-%s", kind,
		       path[0] == '/' ? path + 1 : path);
	for (c = s->name; *c; c++)
		*c = fits(*c) ? *c : '.';
}

static int open_device(const struct sys_ops *sys)
{
	struct tsalign_info info = {0};
	int fd = sys->openat(AT_FDCWD, ALIGN_DEVICE,
			     O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return fd == -ENOENT ? -ENODEV : fd;
	r = sys->ioctl(fd, TSALIGN_IOC_INFO, &info);
	if (r == 0 && info.abi != TSALIGN_ABI)
		r = -EPROTO;
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	return fd;
}

static int create(const struct align_submit *s, const struct sys_ops *sys,
		  int fd, uint64_t device_hz, struct tsalign_stream *ret)
{
	const struct tsalign_stream fresh = {
		.kind = TSALIGN_DEVICE,
		.counter = TSALIGN_COUNT_TICKS,
		.counter_bits = 64,
		.nominal_mhz = device_hz * MHZ_PER_HZ,
	};
	size_t bytes = strlen(s->name);
	int r = -EEXIST;
	char n;

	for (n = '1'; r == -EEXIST && n <= '0' + NAMES_MAX; n++) {
		*ret = fresh;
		memcpy(ret->name, s->name, bytes);
		if (n > '1') {
			ret->name[bytes] = '-';
			ret->name[bytes + 1] = (uint8_t)n;
		}
		r = sys->ioctl(fd, TSALIGN_IOC_CREATE, ret);
	}
	return r;
}

int align_submit_open(struct align_submit *s, const struct sys_ops *sys,
		      uint64_t device_hz, struct tsalign_stream *ret_stream,
		      const struct tsalign_page **ret_page)
{
	int fd;
	int r;

	if (!device_hz || device_hz > UINT64_MAX / MHZ_PER_HZ)
		return -EINVAL;
	fd = open_device(sys);
	if (fd < 0)
		return fd;
	r = create(s, sys, fd, device_hz, ret_stream);
	if (r == 0)
		r = align_page_map(sys, fd, ret_stream->id, ret_page);
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	s->fd = fd;
	s->id = ret_stream->id;
	s->restart = false;
	s->count = 0;
	s->width_ns = 0;
	s->given_ns = 0;
	return 0;
}

void align_submit_close(struct align_submit *s, const struct sys_ops *sys)
{
	if (s->fd >= 0)
		sys_close(sys, &s->fd);
}

void align_submit_restart(struct align_submit *s)
{
	s->restart = true;
	s->count = 0;
	s->width_ns = 0;
}

/* The first @count; none of them is kept, whatever the module says. */
static int give(struct align_submit *s, const struct sys_ops *sys,
		uint32_t count, uint64_t now_ns)
{
	struct tsalign_submit arg = {
		.id = s->id,
		.count = count,
		.clock = CLOCK_BOOTTIME,
		.error_ns = s->width_ns,
		.pairs = (uintptr_t)s->pairs,
		.flags = s->restart ? TSALIGN_SUBMIT_RESTART : 0,
	};
	int r = sys->ioctl(s->fd, TSALIGN_IOC_SUBMIT, &arg);

	s->count -= count;
	memmove(s->pairs, s->pairs + count, s->count * sizeof(s->pairs[0]));
	if (!s->count)
		s->width_ns = 0;
	s->restart = s->restart && r < 0;
	s->given_ns = now_ns;
	return r;
}

/* The module takes no time that has not come. */
static uint32_t count_past(const struct align_submit *s, uint64_t now_ns)
{
	uint32_t i;

	for (i = 0; i < s->count && s->pairs[i].host_ns <= now_ns; i++)
		;
	return i;
}

int align_submit_add(struct align_submit *s, const struct sys_ops *sys,
		     uint64_t counter, uint64_t host_ns, uint64_t width_ns,
		     uint64_t now_ns)
{
	uint32_t past;

	/* They lie ahead, all of them: the newest one does without. */
	if (s->count < CAPTURE_ALIGN_PAIRS_MAX) {
		s->pairs[s->count++] = (struct tsalign_pair){
			.counter = counter,
			.host_ns = host_ns,
		};
		s->width_ns =
			MAX(s->width_ns, (uint32_t)MIN(width_ns, UINT32_MAX));
	}
	past = count_past(s, now_ns);
	if (!past || (past < CAPTURE_ALIGN_PAIRS_MAX && !s->restart &&
		      now_ns - s->given_ns < CAPTURE_ALIGN_SUBMIT_NS))
		return 0;
	return give(s, sys, past, now_ns);
}
