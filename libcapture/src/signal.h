/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a receiver has a signal, and whether it is still the same one. */
#ifndef CAPTURE_SRC_SIGNAL_H
#define CAPTURE_SRC_SIGNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/source.h>

#include "base/macros.h"

/* By VIDIOC_ENUMINPUT and, where there are any, the DV timings. */
enum capture_signal signal_query(const struct sys_ops *sys, int fd);

/* Asks for source-change events: whether the driver has them. */
bool signal_subscribe(const struct sys_ops *sys, int fd);

/**
 * signal_changed() - take the events that wait and judge them
 * @format: what the queue was set to
 *
 * Return: 0 (no event, or nothing of it matters), -ENOLINK (no usable signal
 * any more), -ESTALE (another format now), or the errno of ioctl.
 */
int signal_changed(const struct sys_ops *sys, int fd, uint32_t type,
		   const struct capture_format *format) MUST_CHECK;

#endif
