/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine whose caches must be told of DMA, behind `struct sys_ops`: counts
 * DMA_BUF_IOCTL_SYNC and answers it, passes all else on. An access that ends
 * without having begun, or begins twice, is an error.
 *
 * Process-wide; fake_sync_over() begins a test, fake_sync_end() ends it.
 */
#ifndef SUPPORT_FAKE_SYNC_H
#define SUPPORT_FAKE_SYNC_H

#include "base/sys.h"

struct fake_sync {
	unsigned int reads;	/* that began and ended */
	unsigned int writes;
	unsigned int open;	/* that began */
	unsigned int errors;	/* in that order, or no access that there is */
};

/* The ops to give on; @inner: which ones it lies over. */
const struct sys_ops *fake_sync_over(const struct sys_ops *inner);
/* Caches as those of the machine that the tests run on. */
void fake_sync_end(void);
struct fake_sync fake_sync_counts(void);

#endif
