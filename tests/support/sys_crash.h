/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that loses power. A `struct sys_ops` over the kernel's that knows
 * what was synced: writes through it reach the file at once, but each is held
 * as not durable until an fsync or fdatasync of its file. Renames and unlinks
 * are not durable until an fsync of their directory.
 *
 * FALLOC_FL_ZERO_RANGE is a write in this: until its file is synced, what was
 * there may come back, all of it or in part.
 *
 * At the power cut each of them is kept, dropped, torn at a sector or garbled,
 * as the seed says, and the process ends. A sync that is made to fail marks
 * what it should have written as lost for good, as Linux does: a later sync of
 * the same descriptor that says 0 saves nothing of it.
 *
 * No call waits for a real disk. Process-wide state, one thread.
 */
#ifndef SUPPORT_SYS_CRASH_H
#define SUPPORT_SYS_CRASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

const struct sys_ops *sys_crash(void);

/*
 * Starts over with everything durable.
 * @calls: the power goes at this call (0: never)
 * @keep_all: not the power goes, the process is killed: nothing is lost
 * @fail_sync: chance in 1000 that a sync fails
 */
void sys_crash_arm(uint64_t seed, unsigned long calls, bool keep_all,
		   unsigned int fail_sync);
/* Cuts the power now: exits the process with CRASH_EXIT. */
void sys_crash_now(void);

#define CRASH_EXIT 42

#endif
