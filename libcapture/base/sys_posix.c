/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/sys.h"

/* libc's convention to ours, restarting what a signal interrupted. */
#define RETRY(call)                                               \
	__extension__({                                           \
		long r_;                                          \
		do {                                              \
			r_ = (long)(call);                        \
		} while (r_ < 0 && errno == EINTR);               \
		r_ < 0 ? -(long)errno : r_;                       \
	})

static int posix_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return (int)RETRY(openat(dirfd, path, flags | O_CLOEXEC, mode));
}

static int posix_close(int fd)
{
	/* Linux has released the descriptor whatever close() returns. */
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static int posix_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)RETRY(ioctl(fd, request, arg));
}

static int posix_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		      void **ret_map)
{
	void *map = mmap(NULL, len, prot, flags, fd, offset);

	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

static int posix_munmap(void *map, size_t len)
{
	return munmap(map, len) < 0 ? -errno : 0;
}

static int posix_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	int n = poll(fds, count, timeout_ms);

	return n < 0 ? -errno : n;
}

static int posix_memfd_create(const char *name, unsigned int flags)
{
	return (int)RETRY(memfd_create(name, flags | MFD_CLOEXEC));
}

static int posix_ftruncate(int fd, off_t len)
{
	return (int)RETRY(ftruncate(fd, len));
}

static int posix_fallocate_(int fd, int mode, off_t offset, off_t len)
{
	return (int)RETRY(fallocate(fd, mode, offset, len));
}

static int posix_fcntl(int fd, int cmd, long arg)
{
	return (int)RETRY(fcntl(fd, cmd, arg));
}

static int posix_fstat(int fd, struct stat *ret_st)
{
	return fstat(fd, ret_st) < 0 ? -errno : 0;
}

static int posix_fstatvfs(int fd, struct statvfs *ret_st)
{
	return fstatvfs(fd, ret_st) < 0 ? -errno : 0;
}

static int posix_mkdirat(int dirfd, const char *path, mode_t mode)
{
	return mkdirat(dirfd, path, mode) < 0 ? -errno : 0;
}

static int posix_renameat(int olddir, const char *from, int newdir,
			  const char *to)
{
	return renameat(olddir, from, newdir, to) < 0 ? -errno : 0;
}

static int posix_unlinkat(int dirfd, const char *path, int flags)
{
	return unlinkat(dirfd, path, flags) < 0 ? -errno : 0;
}

static int posix_flock(int fd, int operation)
{
	return (int)RETRY(flock(fd, operation));
}

static ssize_t posix_read(int fd, void *bytes, size_t len)
{
	return RETRY(read(fd, bytes, len));
}

static ssize_t posix_write(int fd, const void *bytes, size_t len)
{
	return RETRY(write(fd, bytes, len));
}

static ssize_t posix_pread(int fd, void *bytes, size_t len, off_t offset)
{
	return RETRY(pread(fd, bytes, len, offset));
}

static ssize_t posix_pwrite(int fd, const void *bytes, size_t len,
			    off_t offset)
{
	return RETRY(pwrite(fd, bytes, len, offset));
}

static int posix_fsync(int fd)
{
	return (int)RETRY(fsync(fd));
}

static int posix_fdatasync(int fd)
{
	return (int)RETRY(fdatasync(fd));
}

static int posix_socket(int domain, int type, int protocol)
{
	return (int)RETRY(socket(domain, type | SOCK_CLOEXEC, protocol));
}

static int posix_bind(int fd, const struct sockaddr *addr, unsigned int len)
{
	return bind(fd, addr, len) < 0 ? -errno : 0;
}

static int posix_listen(int fd, int backlog)
{
	return listen(fd, backlog) < 0 ? -errno : 0;
}

static int posix_setsockopt(int fd, int level, int name, const void *value,
			    unsigned int len)
{
	return setsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
}

static int posix_eventfd(unsigned int value, int flags)
{
	int fd = eventfd(value, flags | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int posix_timerfd_create(clockid_t clock, int flags)
{
	int fd = timerfd_create(clock, flags | TFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int posix_timerfd_settime(int fd, int flags,
				 const struct itimerspec *value)
{
	return timerfd_settime(fd, flags, value, NULL) < 0 ? -errno : 0;
}

static int posix_epoll_create1(int flags)
{
	int fd = epoll_create1(flags | EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int posix_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return epoll_ctl(epfd, op, fd, event) < 0 ? -errno : 0;
}

static int posix_getrandom(void *bytes, size_t len)
{
	char *p = bytes;

	while (len) {
		long n = RETRY(getrandom(p, len, 0));

		if (n < 0)
			return (int)n;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int posix_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	return clock_gettime(clock, ret_ts) < 0 ? -errno : 0;
}

const struct sys_ops *sys_posix(void)
{
	static const struct sys_ops ops = {
		.openat = posix_openat,
		.close = posix_close,
		.ioctl = posix_ioctl,
		.mmap = posix_mmap,
		.munmap = posix_munmap,
		.poll = posix_poll,
		.memfd_create = posix_memfd_create,
		.ftruncate = posix_ftruncate,
		.fallocate = posix_fallocate_,
		.fcntl = posix_fcntl,
		.fstat = posix_fstat,
		.fstatvfs = posix_fstatvfs,
		.mkdirat = posix_mkdirat,
		.renameat = posix_renameat,
		.unlinkat = posix_unlinkat,
		.flock = posix_flock,
		.read = posix_read,
		.write = posix_write,
		.pread = posix_pread,
		.pwrite = posix_pwrite,
		.fsync = posix_fsync,
		.fdatasync = posix_fdatasync,
		.socket = posix_socket,
		.bind = posix_bind,
		.listen = posix_listen,
		.setsockopt = posix_setsockopt,
		.eventfd = posix_eventfd,
		.timerfd_create = posix_timerfd_create,
		.timerfd_settime = posix_timerfd_settime,
		.epoll_create1 = posix_epoll_create1,
		.epoll_ctl = posix_epoll_ctl,
		.getrandom = posix_getrandom,
		.clock_gettime = posix_clock_gettime,
	};

	return &ops;
}
