/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of its own for a test: below $TMPDIR if that is set, else in
 * memory, else in /tmp. No unit test needs a disk (what a disk may lose is
 * sys_crash's and the guests'), and waiting for one was most of the time of
 * those that sync.
 */
#ifndef SUPPORT_SCRATCH_H
#define SUPPORT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Parent of the folders. */
const char *scratch_parent(void);
/* @path: of @size bytes, where its name goes: <parent>/@name-<random>.
 * Return: false: none was made, errno says why. */
bool scratch_dir(char *path, size_t size, const char *name);

#endif
