/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A `struct sys_ops` that fails its n-th call and watches what is open.
 *
 * It wraps any other ops table (the kernel's, or a fake device's), passes
 * calls on, fails the n-th of them with a chosen errno, and records each
 * descriptor and mapping, so that a sweep sees a leak:
 *
 *	for (n = 1;; n++) {
 *		sys_fault_arm(n, -EIO);
 *		r = operation(sys_fault());
 *		if (!sys_fault_fired())
 *			break;          // more calls than it makes: done
 *		assert(r < 0 && !sys_fault_open_fds() &&
 *		       !sys_fault_open_maps());
 *	}
 *
 * Calls that cannot fail in practice are never failed: close and munmap
 * (the descriptor or map is gone anyway), clock_gettime, writing to an eventfd.
 * They do not count.
 * Process-wide state: ops tables have no argument to hang it on. Calls are
 * counted under a lock, so a threaded object may be swept too.
 */
#ifndef SUPPORT_SYS_FAULT_H
#define SUPPORT_SYS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sys.h"

/* The ops to give to the code under test. */
const struct sys_ops *sys_fault(void);

/* Which ops calls go to; NULL or never called: sys_posix(). */
void sys_fault_wrap(const struct sys_ops *inner);

/*
 * Fail the @n-th call from now (1 is the next; 0: none) with the negative
 * errno @err. Later calls pass. Starts the count again.
 */
void sys_fault_arm(unsigned long n, int err);
/* As sys_fault_arm(), but every call from the @n-th on fails. */
void sys_fault_arm_sticky(unsigned long n, int err);
/* Whether a call was failed since it was armed. */
bool sys_fault_fired(void);
/* Name of the last call that was failed ("ioctl"), or "". */
const char *sys_fault_where(void);
/* Calls since it was armed. */
unsigned long sys_fault_calls(void);

/* Only calls named @name ("fsync") count; NULL: all. Borrowed. */
void sys_fault_only(const char *name);

/*
 * Descriptors and maps that came from calls through the wrapper and were not
 * closed through it. Descriptors that an ioctl gives (EXPBUF, udmabuf) count
 * too.
 */
size_t sys_fault_open_fds(void);
size_t sys_fault_open_maps(void);

/* Forget everything: the start of a test. */
void sys_fault_reset(void);

#endif
