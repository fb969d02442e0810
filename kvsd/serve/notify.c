/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/limits.h"

#define TEXT_BYTES_MAX 512u
#define NS_PER_US 1000u
#define SEND_S_MAX 1

/* "/run/x", or "@x" for the abstract namespace. */
static int set_address(struct notify *n, const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 ||
	    len >= sizeof(n->to.sun_path))
		return -EINVAL;
	n->to.sun_family = AF_UNIX;
	memcpy(n->to.sun_path, path, len);
	if (path[0] == '@')
		n->to.sun_path[0] = '\0';
	n->to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

static void read_watchdog(struct notify *n)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us;
	uint64_t who;

	if (!usec)
		return;
	if (pid && (parse_u64(pid, strlen(pid), INT32_MAX, &who) < 0 ||
		    (pid_t)who != getpid()))
		return; /* for another process */
	if (parse_u64(usec, strlen(usec), UINT64_MAX / NS_PER_US, &us) < 0 ||
	    !us) {
		log_warn("serve", "WATCHDOG_USEC: '%.40s' is not a number",
			 usec);
		return;
	}
	n->watchdog_ns = us * NS_PER_US;
}

/* A manager that is busy is waited for, but not for ever. */
static int open_socket(struct notify *n)
{
	static const struct timeval most = {.tv_sec = SEND_S_MAX};
	int fd = n->sys->socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return fd;
	r = n->sys->setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most,
			       sizeof(most));
	if (r < 0) {
		sys_close(n->sys, &fd);
		return r;
	}
	n->fd = fd;
	return 0;
}

void notify_init(struct notify *n, const struct sys_ops *sys)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int r;

	*n = (struct notify){.sys = sys, .fd = -EBADF};
	if (!path || !path[0])
		return;
	if (set_address(n, path) < 0) {
		log_warn("serve", "NOTIFY_SOCKET: '%.100s' is no address",
			 path);
		return;
	}
	r = open_socket(n);
	if (r < 0) {
		log_warn("serve", "NOTIFY_SOCKET: %s", strerror(-r));
		return;
	}
	read_watchdog(n);
}

void notify_fini(struct notify *n)
{
	sys_close(n->sys, &n->fd);
}

void notify_send(struct notify *n, const char *fmt, ...)
{
	char text[TEXT_BYTES_MAX];
	va_list args;
	ssize_t sent;
	int len;

	if (n->fd < 0)
		return;
	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len <= 0)
		return;
	len = MIN(len, (int)sizeof(text) - 1);
	sent = sendto(n->fd, text, (size_t)len, MSG_NOSIGNAL,
		      (const struct sockaddr *)&n->to, n->to_bytes);
	if (sent < 0 && !n->failed)
		log_warn("serve", "NOTIFY_SOCKET: %s", strerror(errno));
	n->failed = sent < 0;
}
