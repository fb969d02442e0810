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

/* Nobody holds the service up: neither who asks nor who does not read. */
static int bound_time(const struct sys_ops *sys, int fd)
{
	static const struct timeval most = {.tv_sec = ADMIN_WAIT_S_MAX};
	int r = sys->setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most,
				sizeof(most));

	if (r == 0)
		r = sys->setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most,
				    sizeof(most));
	return r;
}

/* A message ends with the sender's half of the connection. */
static int read_message(const struct sys_ops *sys, int fd, json_t **ret_json)
{
	char text[ADMIN_BYTES_MAX];
	size_t len = 0;
	ssize_t n;

	do {
		n = sys->read(fd, text + len, sizeof(text) - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
	} while (n && len < sizeof(text));
	if (n)
		return -EMSGSIZE;
	*ret_json = json_loadb(text, len, 0, NULL);
	return *ret_json ? 0 : -EPROTO;
}

static int write_message(const struct sys_ops *sys, int fd, const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	size_t done = 0;
	ssize_t n = 0;

	while (done < len && n >= 0) {
		n = sys->write(fd, text + done, len - done);
		done += n > 0 ? (size_t)n : 0;
	}
	free(text);
	if (n < 0)
		return (int)n;
	if (!len)
		return -ENOMEM;
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

/* --- the service --- */

static void answer(struct hold_socket *h, int fd)
{
	json_t *request = NULL;
	json_t *reply = NULL;
	int r = bound_time(h->sys, fd);

	if (r == 0)
		r = read_message(h->sys, fd, &request);
	if (r == 0) {
		reply = hold_apply(h->catalog, h->store, request);
		r = reply ? write_message(h->sys, fd, reply) : -ENOMEM;
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
		fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);
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
	struct sockaddr_un a = address_in(dir_fd);
	int r = bound_time(sys, fd);

	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	r = write_message(sys, fd, request);
	return r < 0 ? r : read_message(sys, fd, ret_reply);
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
