/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 256

void sys_close(const struct sys_ops *sys, int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)sys->close(*fd); /* gone either way */
	*fd = -EBADF;
	errno = saved;
}

uint64_t sys_now_ns(const struct sys_ops *sys, clockid_t clock)
{
	struct timespec ts;

	if (sys->clock_gettime(clock, &ts) < 0)
		abort();
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int read_all(const struct sys_ops *sys, int fd, char *bytes, size_t max,
		    size_t *ret_len)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = sys->read(fd, bytes + len, max + 1 - len);

		if (n < 0)
			return (int)n;
		if (!n)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
	}
	*ret_len = len;
	return 0;
}

int sys_read_file(const struct sys_ops *sys, int dirfd, const char *path,
		  size_t max, char **ret_bytes, size_t *ret_len)
{
	char *bytes;
	int fd;
	int r;

	fd = sys->openat(dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	bytes = malloc(max + 1);
	r = bytes ? read_all(sys, fd, bytes, max, ret_len) : -ENOMEM;
	sys_close(sys, &fd);
	if (r < 0) {
		free(bytes);
		return r;
	}
	bytes[*ret_len] = '\0';
	*ret_bytes = bytes;
	return 0;
}

static int write_all(const struct sys_ops *sys, int fd, const char *bytes,
		     size_t len)
{
	while (len) {
		ssize_t n = sys->write(fd, bytes, len);

		if (n < 0)
			return (int)n;
		if (!n)
			return -EIO;
		bytes += n;
		len -= (size_t)n;
	}
	return sys->fsync(fd);
}

int sys_write_file(const struct sys_ops *sys, int dirfd, const char *path,
		   const void *bytes, size_t len, mode_t mode)
{
	char temp[NAME_BYTES_MAX];
	int fd;
	int r;

	r = snprintf(temp, sizeof(temp), "%s.new", path);
	if (r < 0 || (size_t)r >= sizeof(temp))
		return -ENAMETOOLONG;
	fd = sys->openat(dirfd, temp, O_WRONLY | O_CREAT | O_TRUNC, mode);
	if (fd < 0)
		return fd;
	r = write_all(sys, fd, bytes, len);
	sys_close(sys, &fd);
	if (r == 0)
		r = sys->renameat(dirfd, temp, dirfd, path);
	if (r < 0) {
		(void)sys->unlinkat(dirfd, temp, 0); /* best effort */
		return r;
	}
	return sys->fsync(dirfd);
}
