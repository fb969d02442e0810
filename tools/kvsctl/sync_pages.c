/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sync.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "kvsctl/ctl.h"

struct pages {
	struct capture_timeline *timeline;
	struct capture_timeline_info info;
	struct capture_alignment streams[CAPTURE_ALIGN_STREAMS_MAX];
};

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/*
 * The driver's stamp on CLOCK_BOOTTIME: of its clocks the one by which it is
 * nearest to when the kernel heard of the buffer. None: that moment itself.
 */
static uint64_t stamp_on_boottime(const struct sync_clocks *c,
				  const struct capture_timeline_sample *sample)
{
	const uint64_t tries[] = {
		sample->stamp_ns,
		sample->stamp_ns + (uint64_t)c->monotonic_ns,
		sample->stamp_ns + (uint64_t)c->realtime_ns,
	};
	uint64_t best = sample->host_ns;
	uint64_t off = UINT64_MAX;
	size_t i;

	for (i = 0; sample->stamp_ns && i < ARRAY_SIZE(tries); i++) {
		if (distance(tries[i], sample->host_ns) >= off)
			continue;
		best = tries[i];
		off = distance(best, sample->host_ns);
	}
	return best;
}

static int read_samples(struct pages *p, struct sync *s)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < CTL_SYNC_EVENTS_TURN; i++) {
		struct capture_timeline_sample sample;
		struct sync_sensor *sensor;

		r = capture_timeline_next(p->timeline, &sample);
		if (r < 0)
			break;
		sensor = sync_sensor_of(s, sample.id);
		/* Offsets to another clock than ours say nothing. */
		if (!sensor || sample.error || !sample.aligned_ns ||
		    p->info.reference)
			continue;
		sync_add(s, sensor, sample.host_ns,
			 stamp_on_boottime(&s->clocks, &sample),
			 sample.aligned_ns, sample.epoch);
	}
	return r == -EAGAIN ? 0 : r;
}

static int read_streams(struct pages *p, struct sync *s)
{
	int count = capture_timeline_streams(p->timeline, p->streams);
	int i;

	for (i = 0; i < count; i++)
		sync_stream(s, &p->streams[i]);
	return count < 0 ? count : 0;
}

static int pages_turn(void *ctx, struct sync *s, int wait_ms)
{
	struct pages *p = ctx;
	struct pollfd fd = {capture_timeline_fd(p->timeline), POLLIN, 0};
	int r;

	if (poll(&fd, 1, wait_ms) < 0 && errno != EINTR)
		return ctl_fail(CTL_LOCAL, "poll: %s", strerror(errno));
	r = capture_timeline_info(p->timeline, &p->info);
	if (r == 0)
		r = read_streams(p, s);
	if (r == 0)
		r = read_samples(p, s);
	return r < 0 ? ctl_fail(CTL_LOCAL, "/dev/tsalign: %s", strerror(-r))
		     : CTL_OK;
}

static void pages_close(void *ctx)
{
	struct pages *p = ctx;

	(void)capture_timeline_close(p->timeline);
	free(p);
}

int sync_pages_open(struct sync *s, struct sync_from *ret_from)
{
	struct pages *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return ctl_fail(CTL_LOCAL, "out of memory");
	r = capture_timeline_open(NULL, &p->timeline);
	if (r < 0) {
		free(p);
		if (r == -ENOENT)
			return ctl_fail(CTL_LACKING,
					"tsalign.ko is not loaded: modprobe "
					"tsalign, or name devices to capture "
					"from: kvsctl sync /dev/video0");
		return ctl_fail(CTL_LACKING, "/dev/tsalign: %s",
				r == -EPROTO ? "a module of another version"
					     : strerror(-r));
	}
	s->by = "kernel";
	*ret_from = (struct sync_from){pages_turn, pages_close, p};
	return CTL_OK;
}
