/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sys_zero.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void sys_zero_range(int fd, off_t offset, off_t len)
{
	static _Alignas(4096) const char zero[1 << 16]; /* O_DIRECT */

	while (len) {
		size_t n = MIN((size_t)len, sizeof(zero));

		if (pwrite(fd, zero, n, offset) != (ssize_t)n)
			abort();
		offset += (off_t)n;
		len -= (off_t)n;
	}
}

static int zeroing_fallocate(int fd, int mode, off_t offset, off_t len)
{
	int r = sys_posix()->fallocate(fd, mode, offset, len);

	if (r != -EOPNOTSUPP || mode != FALLOC_FL_ZERO_RANGE)
		return r;
	sys_zero_range(fd, offset, len);
	return 0;
}

const struct sys_ops *sys_zeroing(void)
{
	static struct sys_ops ops;

	ops = *sys_posix();
	ops.fallocate = zeroing_fallocate;
	return &ops;
}
