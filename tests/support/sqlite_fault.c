/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sqlite_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/macros.h"
#include "support/fault_counter.h"

static struct fault_counter counter = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_bool is_full;

static bool has_no_room(void)
{
	if (!atomic_load(&is_full))
		return false;
	errno = ENOSPC;
	return true;
}

static bool fails(const char *name)
{
	int e = fault_counter_enter(&counter, name);

	if (e)
		errno = e;
	return e != 0;
}

static int fault_open(const char *path, int flags, int mode)
{
	return fails("open") ? -1 : open(path, flags, mode);
}

static ssize_t fault_read(int fd, void *bytes, size_t len)
{
	return fails("read") ? -1 : read(fd, bytes, len);
}

static ssize_t fault_pread(int fd, void *bytes, size_t len, off_t offset)
{
	return fails("pread") ? -1 : pread(fd, bytes, len, offset);
}

static ssize_t fault_write(int fd, const void *bytes, size_t len)
{
	return has_no_room() || fails("write") ? -1 : write(fd, bytes, len);
}

static ssize_t fault_pwrite(int fd, const void *bytes, size_t len,
			    off_t offset)
{
	return has_no_room() || fails("pwrite")
		       ? -1
		       : pwrite(fd, bytes, len, offset);
}

static int fault_ftruncate(int fd, off_t len)
{
	return fails("ftruncate") ? -1 : ftruncate(fd, len);
}

static int fault_unlink(const char *path)
{
	return fails("unlink") ? -1 : unlink(path);
}

API int fsync(int fd)
{
	return fails("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

API int fdatasync(int fd)
{
	return fails("fdatasync") ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static void install(void)
{
	static const struct {
		const char *name;
		sqlite3_syscall_ptr call;
	} calls[] = {
		{ "open", (sqlite3_syscall_ptr)fault_open },
		{ "read", (sqlite3_syscall_ptr)fault_read },
		{ "pread", (sqlite3_syscall_ptr)fault_pread },
		{ "pread64", (sqlite3_syscall_ptr)fault_pread },
		{ "write", (sqlite3_syscall_ptr)fault_write },
		{ "pwrite", (sqlite3_syscall_ptr)fault_pwrite },
		{ "pwrite64", (sqlite3_syscall_ptr)fault_pwrite },
		{ "ftruncate", (sqlite3_syscall_ptr)fault_ftruncate },
		{ "unlink", (sqlite3_syscall_ptr)fault_unlink },
	};
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	size_t i;

	if (!vfs || vfs->iVersion < 3)
		abort();
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		/* A build has one of pread and pread64. */
		if (vfs->xGetSystemCall(vfs, calls[i].name))
			(void)vfs->xSetSystemCall(vfs, calls[i].name,
						  calls[i].call);
	}
}

void sqlite_fault_arm(unsigned long n, int err)
{
	install();
	fault_counter_arm(&counter, n, err);
}

void sqlite_fault_full(bool full)
{
	install();
	atomic_store(&is_full, full);
}

const char *sqlite_fault_where(void)
{
	return counter.where;
}

unsigned long sqlite_fault_calls(void)
{
	return counter.calls;
}
