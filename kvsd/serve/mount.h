/* SPDX-License-Identifier: Apache-2.0 */
/* What a directory is mounted on, as far as what is promised depends on it. */
#ifndef SERVE_MOUNT_H
#define SERVE_MOUNT_H

#include <stdbool.h>

/*
 * @line: of /proc/self/mountinfo; @device: "8:1".
 * Return: whether it is that device's, with @option among the filesystem's.
 */
bool mount_has_option(const char *line, const char *device, const char *option);

/*
 * Warns if the filesystem of @fd needs a mount option that it does not have
 * for what fsync() promised to survive a power cut. Blocks.
 */
void mount_warn(int fd, const char *path);

#endif
