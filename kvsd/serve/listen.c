/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/limits.h"

#define LISTEN_BACKLOG 1024
#define PORT_RETRY_MS 20
#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define METRICS_NAME "metrics"

/* --- our own
 * ------------------------------------------------------------------------- */

static int bind_one(const struct sys_ops *sys, const struct addrinfo *a,
		    bool shared, int *ret_fd)
{
	const int on = 1;
	int fd = sys->socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return fd;
	r = sys->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r == 0 && shared)
		r = sys->setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on,
				    sizeof(on));
	if (r == 0)
		r = sys->bind(fd, a->ai_addr, a->ai_addrlen);
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int port_of(int fd, uint16_t *ret_port)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	memset(&ss, 0, sizeof(ss));
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	*ret_port = ntohs(ss.ss_family == AF_INET6
				  ? ((struct sockaddr_in6 *)&ss)->sin6_port
				  : ((struct sockaddr_in *)&ss)->sin_port);
	return 0;
}

static void set_port(struct sockaddr *addr, uint16_t port)
{
	if (addr->sa_family == AF_INET6)
		((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)addr)->sin_port = htons(port);
}

/*
 * A service that was killed holds its port a little longer than its process
 * lives: the accepts under way keep the socket until a kernel worker has
 * taken the ring apart (io_uring/io_uring.c, io_ring_exit_work()).
 */
static int bind_alone(const struct sys_ops *sys, const struct addrinfo *a,
		      int *ret_fd)
{
	uint64_t end = sys_now_ns(sys, CLOCK_MONOTONIC) + SERVE_PORT_WAIT_NS;
	int r = bind_one(sys, a, false, ret_fd);

	while (r == -EADDRINUSE && sys_now_ns(sys, CLOCK_MONOTONIC) < end) {
		(void)sys->poll(NULL, 0, PORT_RETRY_MS);
		r = bind_one(sys, a, false, ret_fd);
	}
	return r;
}

static int listen_all(const struct sys_ops *sys, struct addrinfo *a,
		      unsigned int count, int *fds, uint16_t *ret_port)
{
	unsigned int i;
	int probe;
	int r = bind_alone(sys, a, &probe);

	if (r < 0)
		return r;
	r = sys->listen(probe, count > 1 ? 1 : LISTEN_BACKLOG);
	if (r == 0)
		r = port_of(probe, ret_port);
	if (r == 0 && count == 1) {
		fds[0] = probe;
		return 0;
	}
	sys_close(sys, &probe);
	if (r == 0)
		set_port(a->ai_addr, *ret_port);
	for (i = 0; r == 0 && i < count; i++) {
		r = bind_one(sys, a, true, &fds[i]);
		if (r == 0)
			r = sys->listen(fds[i], LISTEN_BACKLOG);
	}
	return r;
}

int listen_open(const struct sys_ops *sys, const struct serve_address *address,
		const char *what, unsigned int count, int *fds,
		uint16_t *ret_port)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	char port[8];
	unsigned int i;
	int r;

	for (i = 0; i < count; i++)
		fds[i] = -EBADF;
	(void)snprintf(port, sizeof(port), "%u", address->port);
	r = getaddrinfo(address->host, port, &hints, &list);
	if (r) {
		log_error("serve", "%s: %s: %s", what, address->host,
			  gai_strerror(r));
		return -EINVAL;
	}
	r = listen_all(sys, list, count, fds, ret_port);
	freeaddrinfo(list);
	if (r == -EADDRINUSE)
		log_error("serve",
			  "%s: port %s of %s is in use by another process",
			  what, port, address->host);
	else if (r < 0)
		log_error("serve", "%s: listening on %s port %s: %s", what,
			  address->host, port, strerror(-r));
	for (i = 0; r < 0 && i < count; i++)
		sys_close(sys, &fds[i]);
	return r;
}

/* --- systemd's
 * ----------------------------------------------------------------------- */

void listen_inherited_init(struct listen_inherited *in)
{
	size_t i;

	*in = (struct listen_inherited){.metrics = -EBADF};
	for (i = 0; i < ARRAY_SIZE(in->fds); i++)
		in->fds[i] = -EBADF;
}

void listen_inherited_fini(const struct sys_ops *sys,
			   struct listen_inherited *in)
{
	size_t i;

	for (i = 0; i < in->count; i++)
		sys_close(sys, &in->fds[i]);
	sys_close(sys, &in->metrics);
	in->count = 0;
}

static int refuse(int fd, const char *why)
{
	log_error("serve", "socket %d that systemd passed: %s", fd, why);
	return -EINVAL;
}

/*
 * Blocking, as an own one is: io_uring waits for a connection only then.
 * Nobody else accepts on it while we run.
 */
static int prepare(const struct sys_ops *sys, int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int flags;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) < 0 ||
	    value != SOCK_STREAM)
		return refuse(fd, "not a stream socket (ListenStream=)");
	value = 0;
	len = sizeof(value);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) < 0 ||
	    !value)
		return refuse(fd, "not a listening socket (Accept=no)");
	flags = sys->fcntl(fd, F_GETFL, 0);
	if (flags < 0 || sys->fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
	    sys->fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return refuse(fd, "its flags cannot be set");
	return 0;
}

/* The name of the next descriptor in "a:b:c"; moves @names on. */
static bool next_is_metrics(const char **names)
{
	size_t len = strcspn(*names, ":");
	bool is = len == strlen(METRICS_NAME) &&
		  memcmp(*names, METRICS_NAME, len) == 0;

	*names += len + ((*names)[len] == ':');
	return is;
}

static int take(const struct sys_ops *sys, struct listen_inherited *in, int fd,
		bool metrics)
{
	int r = prepare(sys, fd);

	if (r < 0)
		return r;
	if (metrics) {
		if (in->metrics >= 0)
			return refuse(fd, "a second one named " METRICS_NAME);
		in->metrics = fd;
		return 0;
	}
	if (in->count == ARRAY_SIZE(in->fds))
		return refuse(fd, "too many");
	in->fds[in->count++] = fd;
	return 0;
}

static int inherit(const struct sys_ops *sys, struct listen_inherited *in)
{
	const char *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	uint64_t n;
	int i;
	int r = 0;

	if (!pid || !fds)
		return 0;
	if (parse_u64(pid, strlen(pid), INT32_MAX, &n) < 0 ||
	    (pid_t)n != getpid())
		return 0; /* for another process */
	if (parse_u64(fds, strlen(fds), SERVE_THREADS_MAX + 1, &n) < 0) {
		log_error("serve", "LISTEN_FDS: '%.40s': at most %u", fds,
			  SERVE_THREADS_MAX + 1);
		return -EINVAL;
	}
	names = names ? names : "";
	for (i = 0; r == 0 && i < (int)n; i++)
		r = take(sys, in, FIRST_FD + i, next_is_metrics(&names));
	if (r == 0 && in->count)
		r = port_of(in->fds[0], &in->port);
	return r;
}

int listen_inherit(const struct sys_ops *sys, struct listen_inherited *in)
{
	int r = inherit(sys, in);

	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return r;
}

int listen_share(const struct sys_ops *sys, const struct listen_inherited *in,
		 unsigned int count, int *fds)
{
	unsigned int i;

	if (in->count > count) {
		log_error("serve",
			  "systemd passed %zu sockets for %u threads: some "
			  "would not be served",
			  in->count, count);
		return -EINVAL;
	}
	for (i = 0; i < count; i++) {
		fds[i] = sys->fcntl(in->fds[i % in->count], F_DUPFD_CLOEXEC, 0);
		if (fds[i] < 0)
			return fds[i];
	}
	return 0;
}
