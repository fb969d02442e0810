/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IO_LOOP_URING_H
#define IO_LOOP_URING_H

#include "base/sys.h"
#include "core/loop.h"

/**
 * loop_uring_new() - an io_uring loop for the calling thread
 * @entries: submission queue size; LOOP_ENTRIES for a server, 32 for a client
 *
 * Return: 0, -ENOSYS / -EPERM (no io_uring here: an old or locked-down
 * kernel), -ENOMEM.
 */
int loop_uring_new(const struct sys_ops *sys, unsigned int entries,
		   struct loop **ret_loop) MUST_CHECK;

/*
 * For tests, before the first receive: as on a kernel that cannot choose
 * buffers itself.
 */
void loop_uring_recv_plain(struct loop *l);

#endif
