/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's clocks as a test sets them, and chance that is the same everywhere. */
#ifndef TESTS_SUPPORT_FAKE_CLOCKS_H
#define TESTS_SUPPORT_FAKE_CLOCKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/sys.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)
#define US UINT64_C(1000)

/* CLOCK_BOOTTIME, and the others' difference to it. */
static struct {
	uint64_t boot_ns;
	int64_t monotonic_ns;
	int64_t realtime_ns;
	int64_t tai_ns;
} clocks;

static inline int fake_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	uint64_t ns = clocks.boot_ns;

	if (clock == CLOCK_MONOTONIC)
		ns += (uint64_t)clocks.monotonic_ns;
	else if (clock == CLOCK_REALTIME)
		ns += (uint64_t)clocks.realtime_ns;
	else if (clock == CLOCK_TAI)
		ns += (uint64_t)clocks.tai_ns;
	else
		assert_int_equal(clock, CLOCK_BOOTTIME);
	ret_ts->tv_sec = (time_t)(ns / S);
	ret_ts->tv_nsec = (long)(ns % S);
	return 0;
}

static inline void fake_clocks_init(void)
{
	clocks.boot_ns = 5000 * S;
	clocks.monotonic_ns = -(int64_t)(1000 * S); /* was suspended so long */
	clocks.realtime_ns = (int64_t)(1700000000 * S);
	clocks.tai_ns = clocks.realtime_ns + (int64_t)(37 * S);
}

/* In @ops: these clocks, at their start, and a device of the test's own. */
static inline void fake_clocks_ops(
	struct sys_ops *ops,
	int (*openat)(int dirfd, const char *path, int flags, mode_t mode),
	int (*close)(int fd),
	int (*ioctl)(int fd, unsigned long request, void *arg),
	int (*mmap)(size_t len, int prot, int flags, int fd, off_t offset,
		    void **ret_map),
	int (*munmap)(void *map, size_t len))
{
	ops->openat = openat;
	ops->close = close;
	ops->ioctl = ioctl;
	ops->mmap = mmap;
	ops->munmap = munmap;
	ops->clock_gettime = fake_clock_gettime;
	fake_clocks_init();
}

static inline uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint32_t seed;

static inline uint32_t random_below(uint32_t limit)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 8) * limit) >> 24);
}

#endif
