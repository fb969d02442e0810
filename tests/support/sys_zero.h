/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FALLOC_FL_ZERO_RANGE also where the filesystem has none (tmpfs): by writing
 * zeros. What a file of a dead segment needs to become a spare.
 */
#ifndef SUPPORT_SYS_ZERO_H
#define SUPPORT_SYS_ZERO_H

#include "base/sys.h"

/* sys_posix() with that. */
const struct sys_ops *sys_zeroing(void);
/* Zeroes a range, and lets the file grow to it. Aborts where it cannot. */
void sys_zero_range(int fd, off_t offset, off_t len);

#endif
