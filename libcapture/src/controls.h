/* SPDX-License-Identifier: Apache-2.0 */
/* One V4L2 control at a time, by id or name, of an open node. */
#ifndef CAPTURE_SRC_CONTROLS_H
#define CAPTURE_SRC_CONTROLS_H

#include <stdint.h>

#include <linux/videodev2.h>

#include <capture/settings.h>

#include "base/macros.h"

DEFINE_AUTO(capture_control_list_free, struct capture_control_list *)

/* "Test Pattern" -> "test_pattern"; cut to @ret's size. */
void control_key(const char *name, char ret[CAPTURE_CONTROL_NAME_BYTES]);

/**
 * control_find() - what the driver says of one control
 * @setting: its id or name
 *
 * Return: 0, -ENXIO (it has none such), or the errno of ioctl.
 */
int control_find(const struct sys_ops *sys, int fd,
		 const struct capture_control_setting *setting,
		 struct v4l2_query_ext_ctrl *ret_query) MUST_CHECK;

/**
 * control_value() - the value that a setting means, checked
 *
 * Return: 0, -ENXIO (no such menu entry), -ERANGE, -EOPNOTSUPP (type),
 * -EACCES (may not be read and written), or the errno of ioctl.
 */
int control_value(const struct sys_ops *sys, int fd,
		  const struct capture_control_setting *setting,
		  const struct v4l2_query_ext_ctrl *query,
		  int64_t *ret_value) MUST_CHECK;

/* Return: 0, -EOPNOTSUPP (type), or the errno of ioctl. */
int control_get(const struct sys_ops *sys, int fd,
		const struct v4l2_query_ext_ctrl *query,
		int64_t *ret_value) MUST_CHECK;
int control_set(const struct sys_ops *sys, int fd, uint32_t id, bool wide,
		int64_t value) MUST_CHECK;

/* Whether its value has 64 bits. */
static inline bool control_is_wide(const struct v4l2_query_ext_ctrl *query)
{
	return query->type == V4L2_CTRL_TYPE_INTEGER64;
}

/* As capture_control_list_new(), of an open node. */
int control_list_of(const struct sys_ops *sys, int fd,
		    struct capture_control_list **ret_list) MUST_CHECK;

#endif
