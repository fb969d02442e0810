/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing devices and formats, and saying what there is when it fails. */
#ifndef AGENT_DEVICES_H
#define AGENT_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/device.h>

#include "agent/config.h"
#include "base/macros.h"
#include "base/sys.h"

#define DEVICES_FORMATS_MAX 32u

/**
 * devices_find() - the V4L2 node that a source means
 * @ret_device: capture_device_free() it
 *
 * Return: 0, -ENODEV (none that matches: @error lists what there is), or the
 * errno of asking the device.
 */
int devices_find(const struct sys_ops *sys, const struct agent_source *source,
		 struct capture_device **ret_device, char *error,
		 size_t error_size) MUST_CHECK;

/*
 * Fourccs to ask the source for, best first. For video: what M2M encoders for
 * H.264 take, what the software encoder takes, what other M2M encoders take.
 * Returns how many; 0: whatever it is set to.
 */
size_t devices_formats(const struct sys_ops *sys,
		       const struct agent_source *source,
		       uint32_t fourccs[DEVICES_FORMATS_MAX]);

/*
 * Whether a device may import this source's frames, and is all that reads
 * them: only who opens its encoder knows whether it does.
 */
bool devices_import(const struct sys_ops *sys,
		    const struct agent_source *source);

/*
 * Words for a failed open or start of a source.
 * @device: NULL if it is no V4L2 node, or not known
 */
void devices_explain_source(const struct capture_device *device,
			    const struct agent_source *source, int result,
			    char *error, size_t error_size);
/* Words for a failed capture_encoder_open(). */
void devices_explain_encoder(const struct sys_ops *sys,
			     const struct agent_source *source,
			     enum agent_encoder encoder, uint32_t fourcc,
			     int result, char *error, size_t error_size);

#endif
