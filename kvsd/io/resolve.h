/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses without blocking the loop: numeric addresses at
 * once, names by getaddrinfo(3) on a detached thread that posts its result.
 */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "core/loop.h"

#define RESOLVE_ADDRS_MAX 8u
#define RESOLVE_HOST_BYTES 256u

struct resolve_addr {
	struct sockaddr_storage addr;
	unsigned int len;
};

/* Heap; given to done(), who frees it with resolve_free(). */
struct resolve {
	struct loop_task task;
	struct loop *loop;
	void (*done)(struct resolve *r);
	void *owner;		/* NULL after resolve_cancel() */
	char host[RESOLVE_HOST_BYTES];
	uint16_t port;
	/* result */
	struct resolve_addr addrs[RESOLVE_ADDRS_MAX];
	unsigned int count;	/* 0 = the name does not resolve */
	const char *reason;	/* static words when count is 0 */
	int stage;		/* the thread's and the owner's, under a lock */
};

/**
 * resolve_start() - look up @host; done() runs on the loop, in a later turn
 *
 * Return: 0, -EINVAL (empty or too long a name), -ENOMEM, -EAGAIN (no thread).
 */
int resolve_start(struct loop *l, const char *host, uint16_t port,
		  void (*done)(struct resolve *r), void *owner,
		  struct resolve **ret_resolve) MUST_CHECK;
void resolve_free(struct resolve *r);

/*
 * The owner lost interest: the look-up frees itself when it ends, which may be
 * after the loop is gone (then done() does not run), or done() runs with
 * owner = NULL.
 */
void resolve_cancel(struct resolve *r);

#endif
