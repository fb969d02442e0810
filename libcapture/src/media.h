/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CAPTURE_SRC_MEDIA_H
#define CAPTURE_SRC_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/media.h>

#include "base/macros.h"

DEFINE_AUTO(capture_media_free, struct capture_media_graph *)
DEFINE_AUTO(capture_media_list_free, struct capture_media_list *)

/* Of MEDIA_ENT_F_IO_V4L, whose entity is a capture or output node. */
bool media_is_video_node(const struct capture_media_entity *entity);

/*
 * "/dev/NAME" of a character device, as the kernel named it. Empty: no such
 * device or no sysfs. Return: 0, -ENOMEM, -EMFILE, -ENFILE.
 */
int media_device_path(const struct sys_ops *sys, uint32_t major, uint32_t minor,
		      char ret_path[CAPTURE_PATH_BYTES]) MUST_CHECK;

/* -ENOMEM, -EMFILE, -ENFILE: our trouble, not that of the node asked. */
bool media_is_ours(int r);

#endif
