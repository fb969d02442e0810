/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system-call seam. Every module that talks to the kernel takes a
 * `const struct sys_ops *` and calls through it, so that tests can fail the
 * n-th call (tests/support/sys_fault.h) and replace a device.
 *
 * Each member has the arguments of the call it is named for and returns 0 or
 * a positive result, or a negative errno: libc's -1 + errno is converted in
 * sys_posix.c and nowhere else. Calls that the kernel may interrupt are
 * restarted there on EINTR, save poll(). Safe from any thread.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <poll.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>

#include "base/macros.h"

struct epoll_event;
struct itimerspec;
struct sockaddr;

struct sys_ops {
	int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
	/* Errors of close are reported but the descriptor is gone anyway. */
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	/* Returns the mapping through @ret_map, untouched on failure. */
	int (*mmap)(size_t len, int prot, int flags, int fd, off_t offset,
		    void **ret_map);
	int (*munmap)(void *map, size_t len);
	int (*poll)(struct pollfd *fds, unsigned int count, int timeout_ms);
	int (*memfd_create)(const char *name, unsigned int flags);
	int (*ftruncate)(int fd, off_t len);
	int (*fallocate)(int fd, int mode, off_t offset, off_t len);
	int (*fcntl)(int fd, int cmd, long arg);
	int (*fstat)(int fd, struct stat *ret_st);
	int (*fstatvfs)(int fd, struct statvfs *ret_st);
	int (*mkdirat)(int dirfd, const char *path, mode_t mode);
	int (*renameat)(int olddir, const char *from, int newdir,
			const char *to);
	int (*unlinkat)(int dirfd, const char *path, int flags);
	int (*flock)(int fd, int operation);
	ssize_t (*read)(int fd, void *bytes, size_t len);
	ssize_t (*write)(int fd, const void *bytes, size_t len);
	ssize_t (*pread)(int fd, void *bytes, size_t len, off_t offset);
	ssize_t (*pwrite)(int fd, const void *bytes, size_t len,
			  off_t offset);
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*socket)(int domain, int type, int protocol);
	int (*bind)(int fd, const struct sockaddr *addr, unsigned int len);
	int (*listen)(int fd, int backlog);
	int (*setsockopt)(int fd, int level, int name, const void *value,
			  unsigned int len);
	int (*eventfd)(unsigned int value, int flags);
	int (*timerfd_create)(clockid_t clock, int flags);
	/* What was set before is not given back. */
	int (*timerfd_settime)(int fd, int flags,
			       const struct itimerspec *value);
	int (*epoll_create1)(int flags);
	int (*epoll_ctl)(int epfd, int op, int fd, struct epoll_event *event);
	/* Fills all of @bytes from the kernel's CSPRNG, or fails. */
	int (*getrandom)(void *bytes, size_t len);
	int (*clock_gettime)(clockid_t clock, struct timespec *ret_ts);
};

/* The real kernel. */
const struct sys_ops *sys_posix(void);

/* Closes *@fd if it is open and leaves -EBADF; keeps errno. */
void sys_close(const struct sys_ops *sys, int *fd);

/*
 * Nanoseconds of @clock. A clock that cannot be read is a bug of ours or a
 * broken kernel: aborts.
 */
uint64_t sys_now_ns(const struct sys_ops *sys, clockid_t clock);

/**
 * sys_read_file() - read a whole small file
 * @max: refuse more bytes than this
 * @ret_bytes: heap, NUL-terminated after the last byte; caller frees
 *
 * Return: 0, -EFBIG (more than @max), -ENOMEM, or the errno of open or read.
 */
int sys_read_file(const struct sys_ops *sys, int dirfd, const char *path,
		  size_t max, char **ret_bytes, size_t *ret_len) MUST_CHECK;

/**
 * sys_write_file() - create or replace a file so that a crash leaves either
 * the old or the new content: temporary name, fsync, rename, fsync of @dirfd
 *
 * @dirfd must be a real directory descriptor (not AT_FDCWD).
 * Return: 0 or the errno of the step that failed; the old file is then whole.
 */
int sys_write_file(const struct sys_ops *sys, int dirfd, const char *path,
		   const void *bytes, size_t len, mode_t mode) MUST_CHECK;

#endif
