/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages that the module tsalign publishes: found, mapped, read without a
 * system call. The only place, with its users src/align*.c, that knows
 * linux/tsalign.h.
 */
#ifndef CAPTURE_SRC_ALIGN_PAGE_H
#define CAPTURE_SRC_ALIGN_PAGE_H

#include <capture/align.h>
#include <linux/tsalign.h>

#include "base/sys.h"

#define ALIGN_DEVICE "/dev/tsalign"

/**
 * align_page_open() - the device, for reading, without waiting
 *
 * Return: a descriptor, or the errno of open.
 */
int align_page_open(const struct sys_ops *sys) MUST_CHECK;

/*
 * Maps the page of stream @id. Return: 0, or the errno of mmap. It is valid
 * until align_page_unmap(), also after @fd was closed.
 */
int align_page_map(const struct sys_ops *sys, int fd, uint32_t id,
		   const struct tsalign_page **ret_page) MUST_CHECK;
/* Takes NULL; returns NULL. */
const struct tsalign_page *align_page_unmap(const struct sys_ops *sys,
					    const struct tsalign_page *page);

/**
 * align_page_find() - the page of the V4L2 device @minor
 *
 * Return: 0, -ENOENT (no such stream, yet), -ENODEV (no module), or the errno
 * of what failed.
 */
int align_page_find(const struct sys_ops *sys, int32_t minor,
		    struct tsalign_stream *ret_stream,
		    const struct tsalign_page **ret_page) MUST_CHECK;

/**
 * align_page_read() - the map as it was at one moment
 * @page: written by the kernel meanwhile
 *
 * Bounded: TSALIGN_PAGE_TRIES. Any thread. No system call.
 * Return: 0, -EAGAIN (always being written), -EPROTO (another version, or a
 * map that cannot be).
 */
int align_page_read(const struct tsalign_page *page,
		    struct tsalign_page *ret_copy) MUST_CHECK;

/* What @page says, for people. @stream: its description; NULL: not known. */
void align_page_describe(const struct tsalign_page *page,
			 const struct tsalign_stream *stream,
			 struct capture_alignment *ret);

#endif
