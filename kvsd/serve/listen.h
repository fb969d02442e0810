/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: our own, or systemd's (sd_listen_fds(3)). */
#ifndef SERVE_LISTEN_H
#define SERVE_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"
#include "serve/options.h"

/**
 * listen_open() - @count sockets on one port, each with a queue of its own
 * @what: the key, for the log
 * @fds: filled; -EBADF where not
 *
 * With more than one SO_REUSEPORT is set, and the port is tried without it
 * first: a second process of the same user could take half of the connections
 * otherwise. Return: 0, or -errno with the reason logged.
 */
int listen_open(const struct sys_ops *sys, const struct serve_address *address,
		const char *what, unsigned int count, int *fds,
		uint16_t *ret_port) MUST_CHECK;

/* What systemd passed. */
struct listen_inherited {
	size_t count;		    /* sockets of the service */
	int fds[SERVE_THREADS_MAX]; /* owned */
	uint16_t port;		    /* of the first */
	int metrics;		    /* named "metrics"; -EBADF: none */
};

void listen_inherited_init(struct listen_inherited *in);
void listen_inherited_fini(const struct sys_ops *sys,
			   struct listen_inherited *in);

/**
 * listen_inherit() - take what LISTEN_FDS and LISTEN_PID announce
 *
 * Removes these variables, so call it before there are threads. Return: 0
 * (also when there is nothing), or -EINVAL with the reason logged: not a
 * number, too many, not a listening stream socket.
 */
int listen_inherit(const struct sys_ops *sys,
		   struct listen_inherited *in) MUST_CHECK;

/*
 * One descriptor per thread out of those inherited: threads share a socket
 * where there are fewer. Return: 0, -EINVAL (more sockets than threads,
 * logged), or the errno of duplicating.
 */
int listen_share(const struct sys_ops *sys, const struct listen_inherited *in,
		 unsigned int count, int *fds) MUST_CHECK;

#endif
