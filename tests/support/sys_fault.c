/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sys_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>

#define FDS_MAX 4096
#define MAPS_MAX 4096

struct map_record {
	void *map;
	size_t len;
};

static struct {
	pthread_mutex_t lock;
	const struct sys_ops *inner;
	const char *only;
	const char *where;
	unsigned long fail_at;
	unsigned long calls;
	int err;
	bool sticky;
	bool fired;
	bool fds[FDS_MAX];
	bool eventfds[FDS_MAX];
	size_t fd_count;
	struct map_record maps[MAPS_MAX];
	size_t map_count;
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER, .where = "" };

static const struct sys_ops *inner(void)
{
	return fault.inner ? fault.inner : sys_posix();
}

/* Counts a call of @name; negative when this one is to fail. */
static int enter(const char *name)
{
	int r = 0;

	pthread_mutex_lock(&fault.lock);
	if (!fault.only || !strcmp(fault.only, name)) {
		fault.calls++;
		if (fault.fail_at &&
		    (fault.calls == fault.fail_at ||
		     (fault.sticky && fault.calls > fault.fail_at))) {
			fault.fired = true;
			fault.where = name;
			r = fault.err;
		}
	}
	pthread_mutex_unlock(&fault.lock);
	return r;
}

static int note_fd(int fd)
{
	if (fd < 0)
		return fd;
	if (fd >= FDS_MAX)
		abort();
	pthread_mutex_lock(&fault.lock);
	fault.fd_count += !fault.fds[fd];
	fault.fds[fd] = true;
	pthread_mutex_unlock(&fault.lock);
	return fd;
}

static bool is_eventfd(int fd)
{
	bool is;

	pthread_mutex_lock(&fault.lock);
	is = fd >= 0 && fd < FDS_MAX && fault.eventfds[fd];
	pthread_mutex_unlock(&fault.lock);
	return is;
}

static int fault_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int r = enter("openat");

	return r < 0 ? r : note_fd(inner()->openat(dirfd, path, flags, mode));
}

static int fault_close(int fd)
{
	pthread_mutex_lock(&fault.lock);
	if (fd >= 0 && fd < FDS_MAX && fault.fds[fd]) {
		fault.fds[fd] = false;
		fault.eventfds[fd] = false;
		fault.fd_count--;
	}
	pthread_mutex_unlock(&fault.lock);
	return inner()->close(fd);
}

static int fault_ioctl(int fd, unsigned long request, void *arg)
{
	int r = enter("ioctl");

	if (r < 0)
		return r;
	r = inner()->ioctl(fd, request, arg);
	if (r >= 0 && request == DMA_HEAP_IOCTL_ALLOC)
		(void)note_fd((int)((struct dma_heap_allocation_data *)arg)->fd);
	if (r >= 0 && request == VIDIOC_EXPBUF)
		(void)note_fd(((struct v4l2_exportbuffer *)arg)->fd);
	if (r >= 0 &&
	    (request == UDMABUF_CREATE || request == UDMABUF_CREATE_LIST))
		(void)note_fd(r);
	return r;
}

static int fault_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		      void **ret_map)
{
	int r = enter("mmap");

	if (r < 0)
		return r;
	r = inner()->mmap(len, prot, flags, fd, offset, ret_map);
	if (r < 0)
		return r;
	pthread_mutex_lock(&fault.lock);
	if (fault.map_count == MAPS_MAX)
		abort();
	fault.maps[fault.map_count].map = *ret_map;
	fault.maps[fault.map_count].len = len;
	fault.map_count++;
	pthread_mutex_unlock(&fault.lock);
	return r;
}

static int fault_munmap(void *map, size_t len)
{
	size_t i;

	pthread_mutex_lock(&fault.lock);
	for (i = 0; i < fault.map_count; i++) {
		if (fault.maps[i].map != map)
			continue;
		if (fault.maps[i].len != len)
			abort(); /* half an unmap is a leak of the rest */
		fault.maps[i] = fault.maps[--fault.map_count];
		break;
	}
	pthread_mutex_unlock(&fault.lock);
	return inner()->munmap(map, len);
}

static int fault_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	int r = enter("poll");

	return r < 0 ? r : inner()->poll(fds, count, timeout_ms);
}

static int fault_memfd_create(const char *name, unsigned int flags)
{
	int r = enter("memfd_create");

	return r < 0 ? r : note_fd(inner()->memfd_create(name, flags));
}

static int fault_ftruncate(int fd, off_t len)
{
	int r = enter("ftruncate");

	return r < 0 ? r : inner()->ftruncate(fd, len);
}

static int fault_fallocate(int fd, int mode, off_t offset, off_t len)
{
	int r = enter("fallocate");

	return r < 0 ? r : inner()->fallocate(fd, mode, offset, len);
}

static int fault_fcntl(int fd, int cmd, long arg)
{
	int r = enter("fcntl");

	if (r < 0)
		return r;
	r = inner()->fcntl(fd, cmd, arg);
	return cmd == F_DUPFD_CLOEXEC || cmd == F_DUPFD ? note_fd(r) : r;
}

static int fault_fstat(int fd, struct stat *ret_st)
{
	int r = enter("fstat");

	return r < 0 ? r : inner()->fstat(fd, ret_st);
}

static int fault_fstatvfs(int fd, struct statvfs *ret_st)
{
	int r = enter("fstatvfs");

	return r < 0 ? r : inner()->fstatvfs(fd, ret_st);
}

static int fault_mkdirat(int dirfd, const char *path, mode_t mode)
{
	int r = enter("mkdirat");

	return r < 0 ? r : inner()->mkdirat(dirfd, path, mode);
}

static int fault_renameat(int olddir, const char *from, int newdir,
			  const char *to)
{
	int r = enter("renameat");

	return r < 0 ? r : inner()->renameat(olddir, from, newdir, to);
}

static int fault_unlinkat(int dirfd, const char *path, int flags)
{
	int r = enter("unlinkat");

	return r < 0 ? r : inner()->unlinkat(dirfd, path, flags);
}

static int fault_flock(int fd, int operation)
{
	int r = enter("flock");

	return r < 0 ? r : inner()->flock(fd, operation);
}

static ssize_t fault_read(int fd, void *bytes, size_t len)
{
	int r = enter("read");

	return r < 0 ? r : inner()->read(fd, bytes, len);
}

static ssize_t fault_write(int fd, const void *bytes, size_t len)
{
	int r = is_eventfd(fd) ? 0 : enter("write");

	return r < 0 ? r : inner()->write(fd, bytes, len);
}

static ssize_t fault_pread(int fd, void *bytes, size_t len, off_t offset)
{
	int r = enter("pread");

	return r < 0 ? r : inner()->pread(fd, bytes, len, offset);
}

static ssize_t fault_pwrite(int fd, const void *bytes, size_t len,
			    off_t offset)
{
	int r = enter("pwrite");

	return r < 0 ? r : inner()->pwrite(fd, bytes, len, offset);
}

static int fault_fsync(int fd)
{
	int r = enter("fsync");

	return r < 0 ? r : inner()->fsync(fd);
}

static int fault_fdatasync(int fd)
{
	int r = enter("fdatasync");

	return r < 0 ? r : inner()->fdatasync(fd);
}

static int fault_socket(int domain, int type, int protocol)
{
	int r = enter("socket");

	return r < 0 ? r : note_fd(inner()->socket(domain, type, protocol));
}

static int fault_bind(int fd, const struct sockaddr *addr, unsigned int len)
{
	int r = enter("bind");

	return r < 0 ? r : inner()->bind(fd, addr, len);
}

static int fault_listen(int fd, int backlog)
{
	int r = enter("listen");

	return r < 0 ? r : inner()->listen(fd, backlog);
}

static int fault_setsockopt(int fd, int level, int name, const void *value,
			    unsigned int len)
{
	int r = enter("setsockopt");

	return r < 0 ? r : inner()->setsockopt(fd, level, name, value, len);
}

static int fault_eventfd(unsigned int value, int flags)
{
	int r = enter("eventfd");

	if (r == 0)
		r = note_fd(inner()->eventfd(value, flags));
	pthread_mutex_lock(&fault.lock);
	if (r >= 0)
		fault.eventfds[r] = true;
	pthread_mutex_unlock(&fault.lock);
	return r;
}

static int fault_timerfd_create(clockid_t clock, int flags)
{
	int r = enter("timerfd_create");

	return r < 0 ? r : note_fd(inner()->timerfd_create(clock, flags));
}

static int fault_timerfd_settime(int fd, int flags,
				 const struct itimerspec *value)
{
	int r = enter("timerfd_settime");

	return r < 0 ? r : inner()->timerfd_settime(fd, flags, value);
}

static int fault_epoll_create1(int flags)
{
	int r = enter("epoll_create1");

	return r < 0 ? r : note_fd(inner()->epoll_create1(flags));
}

static int fault_epoll_ctl(int epfd, int op, int fd,
			   struct epoll_event *event)
{
	int r = enter("epoll_ctl");

	return r < 0 ? r : inner()->epoll_ctl(epfd, op, fd, event);
}

static int fault_getrandom(void *bytes, size_t len)
{
	int r = enter("getrandom");

	return r < 0 ? r : inner()->getrandom(bytes, len);
}

static int fault_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	return inner()->clock_gettime(clock, ret_ts);
}

static const struct sys_ops fault_ops = {
	.openat = fault_openat,
	.close = fault_close,
	.ioctl = fault_ioctl,
	.mmap = fault_mmap,
	.munmap = fault_munmap,
	.poll = fault_poll,
	.memfd_create = fault_memfd_create,
	.ftruncate = fault_ftruncate,
	.fallocate = fault_fallocate,
	.fcntl = fault_fcntl,
	.fstat = fault_fstat,
	.fstatvfs = fault_fstatvfs,
	.mkdirat = fault_mkdirat,
	.renameat = fault_renameat,
	.unlinkat = fault_unlinkat,
	.flock = fault_flock,
	.read = fault_read,
	.write = fault_write,
	.pread = fault_pread,
	.pwrite = fault_pwrite,
	.fsync = fault_fsync,
	.fdatasync = fault_fdatasync,
	.socket = fault_socket,
	.bind = fault_bind,
	.listen = fault_listen,
	.setsockopt = fault_setsockopt,
	.eventfd = fault_eventfd,
	.timerfd_create = fault_timerfd_create,
	.timerfd_settime = fault_timerfd_settime,
	.epoll_create1 = fault_epoll_create1,
	.epoll_ctl = fault_epoll_ctl,
	.getrandom = fault_getrandom,
	.clock_gettime = fault_clock_gettime,
};

const struct sys_ops *sys_fault(void)
{
	return &fault_ops;
}

void sys_fault_wrap(const struct sys_ops *ops)
{
	fault.inner = ops;
}

static void arm(unsigned long n, int err, bool sticky)
{
	pthread_mutex_lock(&fault.lock);
	fault.fail_at = n;
	fault.calls = 0;
	fault.err = err;
	fault.sticky = sticky;
	fault.fired = false;
	fault.where = "";
	pthread_mutex_unlock(&fault.lock);
}

void sys_fault_arm(unsigned long n, int err)
{
	arm(n, err, false);
}

void sys_fault_arm_sticky(unsigned long n, int err)
{
	arm(n, err, true);
}

bool sys_fault_fired(void)
{
	return fault.fired;
}

const char *sys_fault_where(void)
{
	return fault.where;
}

unsigned long sys_fault_calls(void)
{
	return fault.calls;
}

void sys_fault_only(const char *name)
{
	fault.only = name;
}

size_t sys_fault_open_fds(void)
{
	return fault.fd_count;
}

size_t sys_fault_open_maps(void)
{
	return fault.map_count;
}

void sys_fault_reset(void)
{
	arm(0, 0, false);
	fault.only = NULL;
	fault.inner = NULL;
	memset(fault.fds, 0, sizeof(fault.fds));
	memset(fault.eventfds, 0, sizeof(fault.eventfds));
	fault.fd_count = 0;
	fault.map_count = 0;
}
