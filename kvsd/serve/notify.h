/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3): datagrams of "KEY=value" lines to the socket that systemd
 * names in NOTIFY_SOCKET. Without that variable all of it does nothing. One
 * thread.
 */
#ifndef SERVE_NOTIFY_H
#define SERVE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/macros.h"
#include "base/sys.h"

struct notify {
	const struct sys_ops *sys;
	int fd; /* -EBADF: nobody asked */
	struct sockaddr_un to;
	socklen_t to_bytes;
	uint64_t watchdog_ns; /* 0: not watched */
	bool failed;	      /* and said so */
};

/*
 * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. What is wrong with
 * them is logged and taken for absent. Never fails.
 */
void notify_init(struct notify *n, const struct sys_ops *sys);
void notify_fini(struct notify *n);

/* Sends @fmt. A manager that does not take it is told of once, and again when
 * it had taken some in between. */
void notify_send(struct notify *n, const char *fmt, ...) PRINTF(2, 3);

#endif
