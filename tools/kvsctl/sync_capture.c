/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sync.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <capture/source.h>

#include "kvsctl/ctl.h"

struct device {
	struct capture_source *source;
	struct sync_sensor *sensor;
};

struct capture {
	struct device devices[CTL_POSITIONALS_MAX];
	size_t count;
};

static const struct {
	const char *prefix;
	enum capture_source_kind kind;
	bool keep; /* the prefix is part of the path */
} prefixes[] = {
	{"synthetic:", CAPTURE_SOURCE_SYNTHETIC, false},
	{"libcamera:", CAPTURE_SOURCE_LIBCAMERA, false},
	{"alsa:", CAPTURE_SOURCE_ALSA, false},
	{"hw:", CAPTURE_SOURCE_ALSA, true},
	{"iio:device", CAPTURE_SOURCE_IIO, true},
	{"iio:", CAPTURE_SOURCE_IIO, false},
	{"tty:", CAPTURE_SOURCE_RECORDS, true},
	{"spi:", CAPTURE_SOURCE_RECORDS, true},
	{"udp:", CAPTURE_SOURCE_RECORDS, true},
	{"pipe:", CAPTURE_SOURCE_RECORDS, true},
};

static struct capture_source_config config_of(const char *device)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_V4L2,
		.path = device,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i].prefix);

		if (strncmp(device, prefixes[i].prefix, len) != 0)
			continue;
		config.kind = prefixes[i].kind;
		config.path = prefixes[i].keep ? device : device + len;
	}
	return config;
}

static int open_device(struct sync *s, struct device *d, const char *name)
{
	struct capture_source_config config = config_of(name);
	int r;

	d->sensor = sync_sensor(s, name);
	if (!d->sensor)
		return ctl_fail(CTL_USAGE, "too many devices");
	r = capture_source_open(NULL, &config, &d->source);
	if (r == 0) {
		r = capture_source_start(d->source);
		if (r < 0)
			d->source = capture_source_close(d->source);
	}
	if (r < 0)
		return ctl_fail(r == -ENOENT || r == -ENODEV ? CTL_NOT_FOUND
							     : CTL_LOCAL,
				"%s: %s", name,
				r == -EOPNOTSUPP ? "this kind of source is not "
						   "built in"
						 : strerror(-r));
	return CTL_OK;
}

static uint64_t stamp_on_boottime(const struct sync_clocks *c,
				  const struct capture_frame *f)
{
	if (f->clock == CAPTURE_CLOCK_MONOTONIC)
		return f->stamp_ns + (uint64_t)c->monotonic_ns;
	if (f->clock == CAPTURE_CLOCK_REALTIME)
		return f->stamp_ns + (uint64_t)c->realtime_ns;
	return f->stamp_ns;
}

/* What waits, and no more than one queue full. */
static int take_frames(struct sync *s, struct device *d)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < CTL_SYNC_EVENTS_TURN; i++) {
		struct capture_frame *f;

		r = capture_source_dequeue(d->source, 0, &f);
		if (r < 0)
			break;
		if (capture_source_alignment(d->source, &d->sensor->now) == 0)
			d->sensor->known = true;
		if (f->aligned.by != CAPTURE_ALIGNED_NOT)
			sync_add(s, d->sensor, sync_now_ns(),
				 stamp_on_boottime(&s->clocks, f),
				 f->aligned.ns, f->aligned.epoch);
		(void)capture_frame_unref(f);
	}
	return r == -EAGAIN || r == -ENOBUFS ? 0 : r;
}

static int capture_turn(void *ctx, struct sync *s, int wait_ms)
{
	struct capture *c = ctx;
	struct pollfd fds[CTL_POSITIONALS_MAX];
	size_t i;
	int r;

	for (i = 0; i < c->count; i++)
		fds[i] = (struct pollfd){
			.fd = capture_source_fd(c->devices[i].source),
			.events = POLLIN | POLLPRI,
		};
	if (poll(fds, (nfds_t)c->count, wait_ms) < 0 && errno != EINTR)
		return ctl_fail(CTL_LOCAL, "poll: %s", strerror(errno));
	for (i = 0; i < c->count; i++) {
		r = take_frames(s, &c->devices[i]);
		if (r < 0)
			return ctl_fail(CTL_LOCAL, "%s: %s",
					c->devices[i].sensor->name,
					strerror(-r));
	}
	return CTL_OK;
}

static void capture_close(void *ctx)
{
	struct capture *c = ctx;
	size_t i;

	for (i = 0; i < c->count; i++)
		(void)capture_source_close(c->devices[i].source);
	free(c);
}

int sync_capture_open(struct sync *s, const char *const *devices, size_t count,
		      struct sync_from *ret_from)
{
	struct capture *c = calloc(1, sizeof(*c));
	int code = CTL_OK;

	if (!c)
		return ctl_fail(CTL_LOCAL, "out of memory");
	while (c->count < count) {
		code = open_device(s, &c->devices[c->count], devices[c->count]);
		if (code != CTL_OK) {
			capture_close(c);
			return code;
		}
		c->count++;
	}
	s->by = "capture";
	*ret_from = (struct sync_from){capture_turn, capture_close, c};
	return CTL_OK;
}
