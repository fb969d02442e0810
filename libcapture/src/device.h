/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CAPTURE_SRC_DEVICE_H
#define CAPTURE_SRC_DEVICE_H

#include <stdint.h>
#include <stdio.h>

#include <capture/device.h>

#include "base/macros.h"

DEFINE_AUTO(capture_device_free, struct capture_device *)
DEFINE_AUTO(capture_device_list_free, struct capture_device_list *)

#define DEVICE_NODE_PATH_BYTES 32

/* "/dev/video<index>" */
static inline void device_node_path(uint32_t index,
				    char path[DEVICE_NODE_PATH_BYTES])
{
	(void)snprintf(path, DEVICE_NODE_PATH_BYTES, "/dev/video%u",
		       (unsigned int)index);
}

#endif
