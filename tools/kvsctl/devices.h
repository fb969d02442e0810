/* SPDX-License-Identifier: Apache-2.0 */
/* How devices are shown. */
#ifndef KVSCTL_DEVICES_H
#define KVSCTL_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include <capture/device.h>
#include <jansson.h>

/* V4L2's four characters; what cannot be printed becomes '?'. */
void devices_fourcc(uint32_t fourcc, char out[5]);

/* A driver's words, whatever its bytes are. The caller owns it. */
json_t *devices_text(const char *text);

/* "capture", "encoder", "decoder", "converter", "sdr", "metadata" */
const char *devices_kind(enum capture_device_kind kind);

/* A device with its formats. The caller owns it. */
json_t *devices_json(const struct capture_device *d);

#endif
