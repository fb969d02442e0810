/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/hold_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/data_dir.h"
#include "serve/hold.h"

#define SOCKET_NAME "admin"

struct hold_socket {
	const struct sys_ops *sys;
	const struct data_dir *dir;
	struct catalog *catalog;
	struct store_local *store;
	int listen_fd;
	int stop_fd;
	pthread_t thread;
};

/* Through the descriptor: a path may be longer than an address. */
static struct sockaddr_un address_in(int dir_fd)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s",
		       dir_fd, SOCKET_NAME);
	return a;
}

/* A connection, not blocking. Nobody holds the service up with one. */
struct talk {
	const struct sys_ops *sys;
	int fd;
	int stop_fd; /* readable: no more of it; -1: there is none */
	uint64_t until_ns;
};

static struct talk talk_on(const struct sys_ops *sys, int fd, int stop_fd)
{
	return (struct talk){
		.sys = sys,
		.fd = fd,
		.stop_fd = stop_fd,
		.until_ns = sys_now_ns(sys, CLOCK_MONOTONIC) +
			    ADMIN_WAIT_S_MAX * NS_PER_S,
	};
}

/* Return: 0; -ETIMEDOUT; -ECANCELED; or poll's error. */
static int talk_wait(const struct talk *t, short events)
{
	struct pollfd fds[] = {{.fd = t->fd, .events = events},
			       {.fd = t->stop_fd, .events = POLLIN}};

	for (;;) {
		uint64_t now_ns = sys_now_ns(t->sys, CLOCK_MONOTONIC);
		int r;

		if (now_ns >= t->until_ns)
			return -ETIMEDOUT;
		r = t->sys->poll(fds, ARRAY_SIZE(fds),
				 (int)((t->until_ns - now_ns) / NS_PER_MS) + 1);
		if (r < 0 && r != -EINTR)
			return r;
		if (r > 0)
			return fds[1].revents ? -ECANCELED : 0;
	}
}

/* A message ends with the sender's half of the connection. */
static int read_message(const struct talk *t, json_t **ret_json)
{
	char text[ADMIN_BYTES_MAX];
	size_t len = 0;
	ssize_t n;

	do {
		int r = talk_wait(t, POLLIN);

		if (r < 0)
			return r;
		n = t->sys->read(t->fd, text + len, sizeof(text) - len);
		if (n < 0 && n != -EAGAIN && n != -EINTR)
			return (int)n;
		len += n > 0 ? (size_t)n : 0;
	} while (n && len < sizeof(text));
	if (n)
		return -EMSGSIZE;
	*ret_json = json_loadb(text, len, 0, NULL);
	return *ret_json ? 0 : -EPROTO;
}

/* What is done is said even while stopping, unless nobody reads. */
static int write_all(const struct talk *t, const char *text, size_t len)
{
	while (len) {
		ssize_t n = t->sys->write(t->fd, text, len);
		int r = 0;

		if (n == -EAGAIN)
			r = talk_wait(t, POLLOUT);
		else if (n < 0 && n != -EINTR)
			r = (int)n;
		if (r < 0)
			return r;
		text += n > 0 ? (size_t)n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_message(const struct talk *t, const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	int r = text ? write_all(t, text, strlen(text)) : -ENOMEM;

	free(text);
	if (r < 0)
		return r;
	return shutdown(t->fd, SHUT_WR) < 0 ? -errno : 0;
}

/* --- the service --- */

static void answer(struct hold_socket *h, int fd)
{
	json_t *request = NULL;
	json_t *reply = NULL;
	struct talk t = talk_on(h->sys, fd, h->stop_fd);
	int r = read_message(&t, &request);

	if (r == 0) {
		reply = hold_apply(h->catalog, h->store, request);
		r = reply ? write_message(&t, reply) : -ENOMEM;
	}
	if (r < 0)
		log_debug("serve", "%s: %s", SOCKET_NAME, strerror(-r));
	json_decref(request);
	json_decref(reply);
}

static void *socket_main(void *arg)
{
	struct hold_socket *h = arg;
	struct pollfd fds[] = {{.fd = h->listen_fd, .events = POLLIN},
			       {.fd = h->stop_fd, .events = POLLIN}};

	(void)pthread_setname_np(pthread_self(), "kvsd-admin");
	for (;;) {
		int r = h->sys->poll(fds, ARRAY_SIZE(fds), -1);
		int fd;

		if (r == -EINTR)
			continue;
		if (r < 0 || fds[1].revents)
			break;
		fd = accept4(h->listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			answer(h, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			(void)h->sys->poll(&fds[1], 1, ADMIN_RETRY_MS);
		sys_close(h->sys, &fd);
	}
	return NULL;
}

static int open_listener(struct hold_socket *h)
{
	struct sockaddr_un a = address_in(h->dir->fd);
	int r;

	/* The directory is locked: a socket in it is a dead one's. */
	r = h->sys->unlinkat(h->dir->fd, SOCKET_NAME, 0);
	if (r < 0 && r != -ENOENT)
		return r;
	r = h->sys->socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r < 0)
		return r;
	h->listen_fd = r;
	/* Before the bind: the file is never anybody else's to open. */
	if (fchmod(h->listen_fd, 0600) < 0)
		return -errno;
	r = h->sys->bind(h->listen_fd, (const struct sockaddr *)&a, sizeof(a));
	return r < 0 ? r : h->sys->listen(h->listen_fd, ADMIN_BACKLOG);
}

static void socket_free(struct hold_socket *h)
{
	(void)h->sys->unlinkat(h->dir->fd, SOCKET_NAME, 0);
	sys_close(h->sys, &h->listen_fd);
	sys_close(h->sys, &h->stop_fd);
	free(h);
}

int hold_socket_start(const struct sys_ops *sys, const struct data_dir *dir,
		      struct catalog *catalog, struct store_local *store,
		      struct hold_socket **ret_socket)
{
	struct hold_socket *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	*h = (struct hold_socket){
		.sys = sys,
		.dir = dir,
		.catalog = catalog,
		.store = store,
		.listen_fd = -EBADF,
		.stop_fd = sys->eventfd(0, EFD_CLOEXEC),
	};
	r = h->stop_fd < 0 ? h->stop_fd : open_listener(h);
	if (r == 0)
		r = -pthread_create(&h->thread, NULL, socket_main, h);
	if (r < 0) {
		socket_free(h);
		return r;
	}
	*ret_socket = h;
	return 0;
}

struct hold_socket *hold_socket_stop(struct hold_socket *h)
{
	static const uint64_t one = 1;

	if (!h)
		return NULL;
	/* An eventfd of 0 takes it. */
	while (h->sys->write(h->stop_fd, &one, sizeof(one)) < 0)
		;
	(void)pthread_join(h->thread, NULL);
	socket_free(h);
	return NULL;
}

/* --- who asks --- */

static int ask(const struct sys_ops *sys, int dir_fd, int fd,
	       const json_t *request, json_t **ret_reply)
{
	static const struct timeval most = {.tv_sec = ADMIN_WAIT_S_MAX};
	struct sockaddr_un a = address_in(dir_fd);
	struct talk t;
	int r;

	/* A connect that does not block would not wait for its turn. */
	r = sys->setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	t = talk_on(sys, fd, -1);
	r = write_message(&t, request);
	return r < 0 ? r : read_message(&t, ret_reply);
}

int hold_socket_ask(const struct sys_ops *sys, const char *dir,
		    const json_t *request, json_t **ret_reply)
{
	int dir_fd = sys->openat(AT_FDCWD, dir,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int fd = -EBADF;
	int r = dir_fd;

	if (r >= 0) {
		fd = sys->socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		r = fd < 0 ? fd : ask(sys, dir_fd, fd, request, ret_reply);
	}
	sys_close(sys, &fd);
	sys_close(sys, &dir_fd);
	return r;
}
