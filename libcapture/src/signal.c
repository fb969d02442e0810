/* SPDX-License-Identifier: Apache-2.0 */
#include "src/signal.h"

#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/limits.h"
#include "src/v4l2.h"

static bool has_cable(const struct sys_ops *sys, int fd)
{
	struct v4l2_control power = {.id = V4L2_CID_DV_RX_POWER_PRESENT};

	/* A receiver that does not tell may well have one. */
	return sys->ioctl(fd, VIDIOC_G_CTRL, &power) < 0 || power.value;
}

static enum capture_signal by_timings(const struct sys_ops *sys, int fd)
{
	struct v4l2_dv_timings timings;

	memset(&timings, 0, sizeof(timings));
	switch (sys->ioctl(fd, VIDIOC_QUERY_DV_TIMINGS, &timings)) {
	case -ENOLINK:
		return has_cable(sys, fd) ? CAPTURE_SIGNAL_NONE
					  : CAPTURE_SIGNAL_NO_CABLE;
	case -ENOLCK:
		return CAPTURE_SIGNAL_NO_LOCK;
	case -ERANGE:
		return CAPTURE_SIGNAL_RANGE;
	case 0:
		return CAPTURE_SIGNAL_OK;
	default:
		return CAPTURE_SIGNAL_UNKNOWN;
	}
}

static enum capture_signal by_status(uint32_t status)
{
	if (status & V4L2_IN_ST_NO_POWER)
		return CAPTURE_SIGNAL_NO_CABLE;
	if (status & V4L2_IN_ST_NO_SIGNAL)
		return CAPTURE_SIGNAL_NONE;
	if (status & (V4L2_IN_ST_NO_H_LOCK | V4L2_IN_ST_NO_V_LOCK |
		      V4L2_IN_ST_NO_STD_LOCK | V4L2_IN_ST_NO_SYNC |
		      V4L2_IN_ST_NO_EQU | V4L2_IN_ST_NO_CARRIER))
		return CAPTURE_SIGNAL_NO_LOCK;
	return CAPTURE_SIGNAL_OK;
}

enum capture_signal signal_query(const struct sys_ops *sys, int fd)
{
	struct v4l2_input input;
	enum capture_signal signal;
	int index = 0;

	memset(&input, 0, sizeof(input));
	if (sys->ioctl(fd, VIDIOC_G_INPUT, &index) < 0)
		return CAPTURE_SIGNAL_UNKNOWN;
	input.index = (uint32_t)index;
	if (sys->ioctl(fd, VIDIOC_ENUMINPUT, &input) < 0)
		return CAPTURE_SIGNAL_UNKNOWN;
	signal = by_status(input.status);
	/* The timings know why; the status of many receivers does not. */
	if (input.capabilities & V4L2_IN_CAP_DV_TIMINGS) {
		enum capture_signal timed = by_timings(sys, fd);

		return timed == CAPTURE_SIGNAL_UNKNOWN ||
				       timed == CAPTURE_SIGNAL_OK
			       ? signal
			       : timed;
	}
	/* A sensor has no status: none of its bits says that all is well. */
	if (signal == CAPTURE_SIGNAL_OK && !input.std)
		return CAPTURE_SIGNAL_UNKNOWN;
	return signal;
}

bool signal_subscribe(const struct sys_ops *sys, int fd)
{
	struct v4l2_event_subscription sub;
	int input = 0;

	if (sys->ioctl(fd, VIDIOC_G_INPUT, &input) < 0)
		input = 0;
	memset(&sub, 0, sizeof(sub));
	sub.type = V4L2_EVENT_SOURCE_CHANGE;
	sub.id = (uint32_t)input;
	return sys->ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &sub) >= 0;
}

/* 1: the source changed; 0: no event of that kind waits; or the errno. */
static int take_events(const struct sys_ops *sys, int fd)
{
	struct v4l2_event event;
	int changed = 0;
	int i;
	int r;

	for (i = 0; i < CAPTURE_EVENTS_MAX; i++) {
		memset(&event, 0, sizeof(event));
		r = sys->ioctl(fd, VIDIOC_DQEVENT, &event);
		if (r == -ENOENT)
			break;
		if (r < 0)
			return r;
		if (event.type == V4L2_EVENT_SOURCE_CHANGE)
			changed = 1;
	}
	return changed;
}

/* Whether the receiver is set to other timings than those at its input. */
static bool other_timings(const struct sys_ops *sys, int fd)
{
	struct v4l2_dv_timings set;
	struct v4l2_dv_timings found;

	memset(&set, 0, sizeof(set));
	memset(&found, 0, sizeof(found));
	if (sys->ioctl(fd, VIDIOC_G_DV_TIMINGS, &set) < 0 ||
	    sys->ioctl(fd, VIDIOC_QUERY_DV_TIMINGS, &found) < 0)
		return false;
	return !v4l2_same_timings(&set, &found);
}

static bool same_format(const struct capture_format *a,
			const struct capture_format *b)
{
	return a->fourcc == b->fourcc && a->width == b->width &&
	       a->height == b->height && a->plane_count == b->plane_count &&
	       !memcmp(a->stride, b->stride, sizeof(a->stride)) &&
	       !memcmp(a->size, b->size, sizeof(a->size));
}

int signal_changed(const struct sys_ops *sys, int fd, uint32_t type,
		   const struct capture_format *format)
{
	struct capture_format now;
	enum capture_signal signal;
	int r;

	r = take_events(sys, fd);
	if (r <= 0)
		return r;
	signal = signal_query(sys, fd);
	if (signal != CAPTURE_SIGNAL_OK && signal != CAPTURE_SIGNAL_UNKNOWN)
		return -ENOLINK;
	r = v4l2_get_format(sys, fd, type, &now);
	if (r < 0)
		return r;
	if (!same_format(&now, format) || other_timings(sys, fd))
		return -ESTALE;
	return 0;
}
