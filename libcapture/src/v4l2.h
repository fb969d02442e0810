/* SPDX-License-Identifier: Apache-2.0 */
/* Single calls to a V4L2 node, with one face for both plane APIs. */
#ifndef CAPTURE_SRC_V4L2_H
#define CAPTURE_SRC_V4L2_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/videodev2.h>

#include <capture/api.h>
#include <capture/device.h>

#include "base/macros.h"

/* What a node is: queue types are 0 where it has no such queue. */
struct v4l2_node {
	uint32_t capture_type;	/* enum v4l2_buf_type: it gives buffers */
	uint32_t output_type;	/* it takes buffers */
	struct v4l2_capability cap;
	uint32_t capabilities;	/* of this node, not of the whole device */
};

/**
 * v4l2_open() - open a node without blocking and ask what it is
 * @ret_fd: owned by the caller
 *
 * Return: 0, -ENODEV (not V4L2, or neither a streaming capture nor an M2M
 * node), or the errno of open.
 */
int v4l2_open(const struct sys_ops *sys, const char *path, int *ret_fd,
	      struct v4l2_node *ret_node) MUST_CHECK;

/*
 * The same, and of nodes that give samples or records: capture_type is
 * V4L2_BUF_TYPE_SDR_CAPTURE or V4L2_BUF_TYPE_META_CAPTURE.
 */
int v4l2_open_source(const struct sys_ops *sys, const char *path, int *ret_fd,
		     struct v4l2_node *ret_node) MUST_CHECK;

static inline bool v4l2_is_mplane(uint32_t type)
{
	return type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE ||
	       type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

/**
 * v4l2_get_format() - read a queue's format
 *
 * Return: 0, -EPROTO (planes or sides that cannot be), or the errno.
 */
int v4l2_get_format(const struct sys_ops *sys, int fd, uint32_t type,
		    struct capture_format *ret_format) MUST_CHECK;

/**
 * v4l2_set_format() - ask for a format
 * @format: in: wanted, strides of 0 leave them to the driver; out: what the
 *	driver made of it, which may be something else
 *
 * Return: 0, -EPROTO, -EBUSY, or the errno. @format is written on success.
 */
int v4l2_set_format(const struct sys_ops *sys, int fd, uint32_t type,
		    struct capture_format *format) MUST_CHECK;

/*
 * Reads (and if @format asks for one, first sets) the frame rate. A driver
 * without rates leaves 0/0. Return: 0, or the errno of a real failure.
 */
int v4l2_set_rate(const struct sys_ops *sys, int fd, uint32_t type,
		  struct capture_format *format) MUST_CHECK;

/*
 * Whether two timings make the same picture; their clocks may be 250 kHz
 * apart, as detected ones are.
 */
bool v4l2_same_timings(const struct v4l2_dv_timings *a,
		       const struct v4l2_dv_timings *b);

/* Whether queue @type lists @fourcc: 1, 0, or the errno of a real failure. */
int v4l2_has_format(const struct sys_ops *sys, int fd, uint32_t type,
		    uint32_t fourcc) MUST_CHECK;

/*
 * Sets one control. Return: 0, -EOPNOTSUPP (the driver does not have it), or
 * the errno. The driver clamps the value to its range.
 */
int v4l2_set_control(const struct sys_ops *sys, int fd, uint32_t id,
		     int32_t value) MUST_CHECK;

/*
 * What an M2M node does, from what its queues list: the errno of a real
 * failure, or an enum capture_device_kind.
 */
int v4l2_m2m_kind(const struct sys_ops *sys, int fd,
		  const struct v4l2_node *node) MUST_CHECK;

#endif
