/* SPDX-License-Identifier: Apache-2.0 */
/* The module's streams and samples, for who looks at all of them. */
#include <capture/align.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/align_page.h"

struct capture_timeline {
	const struct sys_ops *sys;
	int fd;
	/* Mapped once: a page outlives its stream. */
	const struct tsalign_page *pages[TSALIGN_STREAMS_MAX];
	/* Samples that were read at once and not yet handed out. */
	struct tsalign_event events[16];
	size_t event_count;
	size_t event_next;
};

DEFINE_AUTO(capture_timeline_close, struct capture_timeline *)

static int get_info(struct capture_timeline *t, struct tsalign_info *ret)
{
	*ret = (struct tsalign_info){0};
	return t->sys->ioctl(t->fd, TSALIGN_IOC_INFO, ret);
}

int capture_timeline_open(const struct sys_ops *sys,
			  struct capture_timeline **ret_timeline)
{
	AUTO(capture_timeline_close)
	struct capture_timeline *t = calloc(1, sizeof(*t));
	struct tsalign_info info;
	int r;

	if (!t)
		return -ENOMEM;
	t->sys = sys ? sys : sys_posix();
	r = align_page_open(t->sys);
	t->fd = r;
	if (r >= 0)
		r = get_info(t, &info);
	if (r < 0)
		return r == -ENOTTY ? -EPROTO : r;
	if (info.abi != TSALIGN_ABI)
		return -EPROTO;
	*ret_timeline = TAKE_PTR(t);
	return 0;
}

struct capture_timeline *capture_timeline_close(struct capture_timeline *t)
{
	size_t i;

	if (!t)
		return NULL;
	for (i = 0; i < TSALIGN_STREAMS_MAX; i++)
		t->pages[i] = align_page_unmap(t->sys, t->pages[i]);
	if (t->fd >= 0)
		sys_close(t->sys, &t->fd);
	free(t);
	return NULL;
}

int capture_timeline_info(struct capture_timeline *timeline,
			  struct capture_timeline_info *ret_info)
{
	struct tsalign_info info;
	int r = get_info(timeline, &info);

	if (r < 0)
		return r;
	*ret_info = (struct capture_timeline_info){
		.abi = info.abi,
		.reference = info.reference & 0xff,
		.streams = info.streams,
		.triggers = info.triggers,
		.sees_v4l2 = info.features & TSALIGN_FEATURE_VB2,
		.injects = info.features & TSALIGN_FEATURE_INJECT,
	};
	return 0;
}

/* Return: 0, -ENOENT: there is none, or it cannot be read now; or an errno. */
static int look_at(struct capture_timeline *t, uint32_t id,
		   struct capture_alignment *ret)
{
	struct tsalign_stream stream = {.id = id};
	struct tsalign_page page;
	int r;

	r = t->sys->ioctl(t->fd, TSALIGN_IOC_STREAM, &stream);
	if (r < 0)
		return r;
	if (!t->pages[id])
		r = align_page_map(t->sys, t->fd, id, &t->pages[id]);
	if (r < 0)
		return r == -ENXIO ? -ENOENT : r;
	if (align_page_read(t->pages[id], &page) < 0)
		return -ENOENT;
	/* Whoever has the slot next has another page. */
	if (page.state == TSALIGN_GONE)
		t->pages[id] = align_page_unmap(t->sys, t->pages[id]);
	stream.id = id;
	align_page_describe(&page, &stream, ret);
	return 0;
}

int capture_timeline_streams(struct capture_timeline *timeline,
			     struct capture_alignment *ret_streams)
{
	int count = 0;
	uint32_t id;
	int r;

	for (id = 0; id < TSALIGN_STREAMS_MAX; id++) {
		r = look_at(timeline, id, &ret_streams[count]);
		if (r == 0)
			count++;
		else if (r != -ENOENT)
			return r;
	}
	return count;
}

int capture_timeline_fd(const struct capture_timeline *timeline)
{
	return timeline->fd;
}

static int read_events(struct capture_timeline *t)
{
	ssize_t n = t->sys->read(t->fd, t->events, sizeof(t->events));

	t->event_next = 0;
	t->event_count = 0;
	if (n < 0)
		return (int)n;
	if (n == 0)
		return -EAGAIN;
	if ((size_t)n > sizeof(t->events) ||
	    (size_t)n % sizeof(t->events[0]) != 0)
		return -EPROTO;
	t->event_count = (size_t)n / sizeof(t->events[0]);
	return 0;
}

int capture_timeline_next(struct capture_timeline *timeline,
			  struct capture_timeline_sample *ret_sample)
{
	const struct tsalign_event *e;
	int r;

	do {
		if (timeline->event_next == timeline->event_count) {
			r = read_events(timeline);
			if (r < 0)
				return r;
		}
		e = &timeline->events[timeline->event_next++];
	} while (e->type != TSALIGN_EV_SAMPLE);
	*ret_sample = (struct capture_timeline_sample){
		.id = e->stream,
		.outlier = e->flags & TSALIGN_EVF_OUTLIER,
		.error = e->flags & TSALIGN_EVF_ERROR,
		.host_ns = e->host_ns,
		.counter = e->counter,
		.stamp_ns = e->stamp_ns,
		.aligned_ns = e->aligned_ns,
		.sigma_ns = e->sigma_ns,
		.epoch = e->epoch,
	};
	return 0;
}
