/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sys_crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/sys_zero.h"

#define PENDING_MAX 65536
#define NAME_BYTES 64
#define SECTOR 512u

enum pending_kind { WRITE, ZERO, RENAME, UNLINK };

/* Something that is not durable yet. */
struct pending {
	enum pending_kind kind;
	bool lost;	/* a sync failed on it */
	ino_t inode;	/* of the file, or of the directory */
	int fd;		/* our own descriptor of it */
	off_t offset;
	size_t len;
	uint8_t *old;	/* what was there before */
	size_t old_len;	/* fewer than len past the end */
	char from[NAME_BYTES];
	char to[NAME_BYTES];
};

static struct {
	uint64_t random;
	unsigned long calls;
	unsigned long crash_at;
	bool keep_all;
	unsigned int fail_sync;
	unsigned int gone;
	struct pending *pending[PENDING_MAX];
	size_t count;
} disk;

static uint64_t next_random(uint64_t below)
{
	uint64_t z = (disk.random += 0x9e3779b97f4a7c15ull); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : 0;
}

static void pending_free(struct pending *p)
{
	(void)close(p->fd);
	free(p->old);
	free(p);
}

void sys_crash_arm(uint64_t seed, unsigned long calls, bool keep_all,
		   unsigned int fail_sync)
{
	while (disk.count)
		pending_free(disk.pending[--disk.count]);
	disk.random = seed;
	disk.calls = 0;
	disk.crash_at = calls;
	disk.keep_all = keep_all;
	disk.fail_sync = fail_sync;
}

/* --- the power cut --- */

static void put(int fd, const uint8_t *bytes, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, bytes, len, offset);

		if (n <= 0)
			abort();
		bytes += n;
		offset += n;
		len -= (size_t)n;
	}
}

/* Puts back what was there in bytes @from..@to of a write. */
static void restore(const struct pending *p, size_t from, size_t to)
{
	static const uint8_t zero[1 << 16];

	while (from < to) {
		size_t n = MIN(to - from, sizeof(zero));

		if (from < p->old_len) {
			n = MIN(n, p->old_len - from);
			put(p->fd, p->old + from, n, p->offset + (off_t)from);
		} else {
			put(p->fd, zero, n, p->offset + (off_t)from);
		}
		from += n;
	}
}

static void garble(const struct pending *p)
{
	uint8_t junk[SECTOR];
	size_t at = next_random(p->len) / SECTOR * SECTOR;
	size_t n = MIN((size_t)SECTOR, p->len - at);
	size_t i;

	for (i = 0; i < n; i++)
		junk[i] = (uint8_t)next_random(256);
	put(p->fd, junk, n, p->offset + (off_t)at);
}

static void cut_write(const struct pending *p)
{
	size_t at = next_random(p->len + 1) / SECTOR * SECTOR;

	switch (p->lost ? 1 + next_random(3) : next_random(4)) {
	case 0:
		break;
	case 1:
		restore(p, 0, p->len);
		break;
	case 2:
		if (next_random(2))
			restore(p, at, p->len);
		else
			restore(p, 0, at);
		break;
	default:
		garble(p);
		break;
	}
}

static void cut_zero(const struct pending *p)
{
	uint64_t ranges;

	switch (p->lost ? 1 + next_random(2) : next_random(3)) {
	case 0:
		break;
	case 1:
		restore(p, 0, p->len);
		break;
	default:
		/* An extent each. */
		for (ranges = 1 + next_random(3); ranges && p->len; ranges--) {
			size_t from = next_random(p->len) / SECTOR * SECTOR;
			size_t to = from + SECTOR * (1 + next_random(512));

			restore(p, from, MIN(p->len, to));
		}
		break;
	}
}

static void cut(const struct pending *p)
{
	if (p->kind == WRITE)
		cut_write(p);
	else if (p->kind == ZERO)
		cut_zero(p);
	else if (next_random(2))
		(void)renameat(p->fd, p->to, p->fd, p->from);
	else if (p->kind == UNLINK)
		(void)unlinkat(p->fd, p->to, 0);
}

void sys_crash_now(void)
{
	/* Last first, so that names and bytes are put back in order. */
	while (!disk.keep_all && disk.count)
		cut(disk.pending[--disk.count]);
	while (disk.count) { /* a killed process has unlinked its files */
		struct pending *p = disk.pending[--disk.count];

		if (p->kind == UNLINK)
			(void)unlinkat(p->fd, p->to, 0);
	}
	_exit(CRASH_EXIT);
}

static void enter(void)
{
	if (++disk.calls == disk.crash_at)
		sys_crash_now();
}

/* --- what is not durable --- */

static struct pending *hold(enum pending_kind kind, int fd)
{
	struct pending *p = calloc(1, sizeof(*p));
	struct stat st;

	if (!p || disk.count == PENDING_MAX || fstat(fd, &st) < 0)
		abort();
	p->kind = kind;
	p->inode = st.st_ino;
	p->fd = -1;
	disk.pending[disk.count++] = p;
	return p;
}

/* A descriptor that reads and writes whatever @fd was opened for. */
static int reopen(int fd)
{
	char path[64];
	int own;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	if (own < 0)
		abort();
	return own;
}

static void hold_bytes(enum pending_kind kind, int fd, size_t len,
		       off_t offset)
{
	struct pending *p = hold(kind, fd);
	ssize_t n;

	p->fd = reopen(fd);
	p->offset = offset;
	p->len = len;
	p->old = malloc(len ? len : 1);
	if (!p->old)
		abort();
	n = pread(p->fd, p->old, len, offset);
	p->old_len = n > 0 ? (size_t)n : 0;
}

static void hold_name(enum pending_kind kind, int dirfd, const char *from,
		      const char *to)
{
	struct pending *p = hold(kind, dirfd);

	p->fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	(void)snprintf(p->from, sizeof(p->from), "%s", from);
	(void)snprintf(p->to, sizeof(p->to), "%s", to);
}

static int sync_fd(int fd)
{
	bool fails = disk.fail_sync && next_random(1000) < disk.fail_sync;
	struct stat st;
	size_t left = 0;
	size_t i;

	if (fstat(fd, &st) < 0)
		abort();
	for (i = 0; i < disk.count; i++) {
		struct pending *p = disk.pending[i];

		if (p->inode != st.st_ino || p->lost) {
			disk.pending[left++] = p;
		} else if (fails) {
			p->lost = true;
			disk.pending[left++] = p;
		} else {
			if (p->kind == UNLINK)
				(void)unlinkat(p->fd, p->to, 0);
			pending_free(p);
		}
	}
	disk.count = left;
	return fails ? -EIO : 0;
}

/* --- the calls --- */

/* What a file loses at its end may be there again. */
static void hold_tail(int fd, off_t len)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		abort();
	if (S_ISREG(st.st_mode) && st.st_size > len)
		hold_bytes(ZERO, fd, (size_t)(st.st_size - len), len);
}

static int crash_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	enter();
	fd = sys_posix()->openat(dirfd, path, flags & ~O_TRUNC, mode);
	if (fd >= 0 && flags & O_TRUNC) {
		hold_tail(fd, 0);
		if (ftruncate(fd, 0) < 0)
			abort();
	}
	return fd;
}

static int crash_fallocate(int fd, int mode, off_t offset, off_t len)
{
	struct stat st;

	enter();
	if (mode == FALLOC_FL_ZERO_RANGE) {
		hold_bytes(ZERO, fd, (size_t)len, offset);
		sys_zero_range(fd, offset, len);
		return 0;
	}
	/* The file never gets shorter by it. */
	if (fstat(fd, &st) < 0 || st.st_size >= offset + len)
		return 0;
	return sys_posix()->ftruncate(fd, offset + len);
}

static int crash_ftruncate(int fd, off_t len)
{
	enter();
	hold_tail(fd, len);
	return sys_posix()->ftruncate(fd, len);
}

static int crash_renameat(int olddir, const char *from, int newdir,
			  const char *to)
{
	struct stat st;
	char saved[NAME_BYTES];
	int r;

	enter();
	if (fstatat(newdir, to, &st, 0) == 0) {
		/* Replaces: either of the two is there after the cut. */
		(void)snprintf(saved, sizeof(saved), ".gone-%d-%u",
			       (int)getpid(), disk.gone++);
		if (renameat(newdir, to, newdir, saved) < 0)
			abort();
		r = sys_posix()->renameat(olddir, from, newdir, to);
		hold_name(UNLINK, newdir, to, saved);
		return r;
	}
	r = sys_posix()->renameat(olddir, from, newdir, to);
	if (r == 0)
		hold_name(RENAME, newdir, from, to);
	return r;
}

static int crash_unlinkat(int dirfd, const char *path, int flags)
{
	char saved[NAME_BYTES];

	enter();
	if (flags)
		return sys_posix()->unlinkat(dirfd, path, flags);
	(void)snprintf(saved, sizeof(saved), ".gone-%d-%u", (int)getpid(),
		       disk.gone++);
	if (renameat(dirfd, path, dirfd, saved) < 0)
		return -errno;
	hold_name(UNLINK, dirfd, path, saved);
	return 0;
}

static ssize_t crash_write(int fd, const void *bytes, size_t len)
{
	enter();
	hold_bytes(WRITE, fd, len, lseek(fd, 0, SEEK_CUR));
	return sys_posix()->write(fd, bytes, len);
}

static ssize_t crash_pwrite(int fd, const void *bytes, size_t len,
			    off_t offset)
{
	enter();
	hold_bytes(WRITE, fd, len, offset);
	return sys_posix()->pwrite(fd, bytes, len, offset);
}

static int crash_fsync(int fd)
{
	enter();
	return sync_fd(fd);
}

const struct sys_ops *sys_crash(void)
{
	static struct sys_ops ops;

	ops = *sys_posix();
	ops.openat = crash_openat;
	ops.fallocate = crash_fallocate;
	ops.ftruncate = crash_ftruncate;
	ops.renameat = crash_renameat;
	ops.unlinkat = crash_unlinkat;
	ops.write = crash_write;
	ops.pwrite = crash_pwrite;
	ops.fsync = crash_fsync;
	ops.fdatasync = crash_fsync;
	return &ops;
}
