/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/tsalign made up: opened and closed, one stream's page mapped, by the
 * clocks of fake_clocks.h. What its ioctls do is the test's own.
 */
#ifndef SUPPORT_FAKE_TSALIGN_H
#define SUPPORT_FAKE_TSALIGN_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/tsalign.h>

#include "base/sys.h"
#include "support/fake_clocks.h"

#define FAKE_FD 1000

static struct {
	struct sys_ops ops;
	bool no_module;
	int access;		  /* O_RDONLY or O_RDWR: how it may be opened */
	uint32_t id;		  /* of the stream */
	unsigned int opens;	  /* tried */
	unsigned int descriptors; /* open now */
	unsigned int maps;	  /* that are there now */
	struct tsalign_page *page;
} device;

static int fake_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	(void)dirfd;
	(void)mode;
	assert_string_equal(path, "/dev/tsalign");
	assert_int_equal(flags & O_ACCMODE, device.access);
	assert_true(flags & O_CLOEXEC);
	device.opens++;
	if (device.no_module)
		return -ENOENT;
	device.descriptors++;
	return FAKE_FD;
}

static int fake_close(int fd)
{
	assert_int_equal(fd, FAKE_FD);
	assert_true(device.descriptors > 0);
	device.descriptors--;
	return 0;
}

static int fake_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		     void **ret_map)
{
	assert_int_equal(prot, PROT_READ);
	assert_int_equal(flags, MAP_SHARED);
	assert_int_equal(fd, FAKE_FD);
	assert_int_equal(offset, device.id * (off_t)len);
	device.maps++;
	*ret_map = device.page;
	return 0;
}

static int fake_munmap(void *map, size_t len)
{
	(void)len;
	assert_ptr_equal(map, device.page);
	device.maps--;
	return 0;
}

/* A device without a page; the clocks at their start. */
static void fake_tsalign_init(uint32_t id, int access,
			      int (*ioctl)(int fd, unsigned long request,
					   void *arg))
{
	static struct tsalign_page page;

	memset(&device, 0, sizeof(device));
	memset(&page, 0, sizeof(page));
	device.page = &page;
	device.id = id;
	device.access = access;
	device.ops = *sys_posix();
	fake_clocks_ops(&device.ops, fake_openat, fake_close, ioctl, fake_mmap,
			fake_munmap);
}

/* cmocka's teardown: nothing of it is open or mapped. */
static int fake_tsalign_left(void **state)
{
	(void)state;
	assert_int_equal(device.maps, 0);
	assert_int_equal(device.descriptors, 0);
	return 0;
}

#endif
