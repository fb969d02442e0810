/* SPDX-License-Identifier: Apache-2.0 */
#include "io/disk_reserve.h"

#include <errno.h>
#include <fcntl.h>

#include "base/log.h"
#include "core/limits.h"

#define RESERVE_NAME "reserve"

void disk_reserve_init(struct disk_reserve *r, const struct data_dir *d)
{
	int fd = d->sys->openat(d->fd, RESERVE_NAME, O_RDONLY | O_CLOEXEC, 0);

	r->dir = d;
	r->held = fd >= 0;
	sys_close(d->sys, &fd);
}

void disk_reserve_make(struct disk_reserve *r)
{
	const struct sys_ops *sys = r->dir->sys;
	uint64_t bytes = INDEX_RESERVE_BYTES_MAX;
	int err;
	int fd;

	if (r->held)
		return;
	fd = sys->openat(r->dir->fd, RESERVE_NAME,
			 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	err = sys->fallocate(fd, 0, 0, (off_t)bytes);
	while (err == -ENOSPC && bytes / 2 >= INDEX_RESERVE_BYTES_MIN) {
		bytes /= 2;
		err = sys->ftruncate(fd, 0);
		if (err == 0)
			err = sys->fallocate(fd, 0, 0, (off_t)bytes);
	}
	sys_close(sys, &fd);
	r->held = err == 0;
	if (err < 0)
		(void)sys->unlinkat(r->dir->fd, RESERVE_NAME, 0); /* empty */
}

bool disk_reserve_release(struct disk_reserve *r)
{
	if (!r->held)
		return false;
	r->held = false;
	if (r->dir->sys->unlinkat(r->dir->fd, RESERVE_NAME, 0) < 0)
		return false;
	log_warn("store", "%s: the disk is full; the reserve is given up",
		 r->dir->path);
	return true;
}
