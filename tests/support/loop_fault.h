/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails the n-th operation of all io_uring loops of a process. What io_uring
 * does is not seen by tests/support/sys_fault.h; this is its counterpart.
 *
 * A test that links it with -Wl,--wrap=loop_uring_new (tests/build.mk) gets
 * loops that count, except those made with sys_posix(): they belong to the
 * test's own client. The read of a loop's wake-up eventfd cannot fail in
 * practice; it is neither counted nor failed.
 */
#ifndef SUPPORT_LOOP_FAULT_H
#define SUPPORT_LOOP_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/loop.h"

enum loop_fault_mode {
	LOOP_FAULT_UNDONE,	/* it fails at once and has no effect */
	LOOP_FAULT_DONE,	/* it takes place, and is said to have failed */
};

/* Fail the @n-th operation from now (0: none) with @err (negative). */
void loop_fault_arm(unsigned long n, int err, enum loop_fault_mode mode);
/* "recv", or NULL when none has failed since. */
const char *loop_fault_where(void);
unsigned long loop_fault_calls(void);

/*
 * Bounds the wait of each turn of these loops; UINT64_MAX: none. For a clock
 * that runs faster than the kernel's (struct sys_ops).
 */
void loop_fault_wait_max(uint64_t ns);

#endif
