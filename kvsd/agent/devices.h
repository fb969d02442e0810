/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing devices and formats, and saying what there is when it fails. */
#ifndef AGENT_DEVICES_H
#define AGENT_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include <capture/device.h>

#include "agent/config.h"
#include "base/macros.h"
#include "base/sys.h"

#define DEVICES_FORMATS_MAX 32u

/**
 * devices_find_camera() - the camera that the configuration means
 * @ret_camera: capture_device_free() it
 *
 * Return: 0, -ENODEV (none that matches: @error lists what there is), or the
 * errno of asking the device.
 */
int devices_find_camera(const struct sys_ops *sys,
			const struct agent_config *config,
			struct capture_device **ret_camera, char *error,
			size_t error_size) MUST_CHECK;

/*
 * Fourccs to ask the camera for, best first: what M2M encoders for H.264 take,
 * what the software encoder takes, what other M2M encoders take. Returns how
 * many.
 */
size_t devices_formats(const struct sys_ops *sys,
		       const struct agent_config *config,
		       uint32_t fourccs[DEVICES_FORMATS_MAX]);

/* Words for a failed capture_source_open() or _start(). */
void devices_explain_camera(const struct capture_device *camera,
			    const struct agent_config *config, int result,
			    char *error, size_t error_size);
/* Words for a failed capture_encoder_open(). */
void devices_explain_encoder(const struct sys_ops *sys,
			     const struct agent_config *config,
			     uint32_t fourcc, int result, char *error,
			     size_t error_size);

#endif
