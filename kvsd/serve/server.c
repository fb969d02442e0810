/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "io/crypto.h"
#include "io/loop_uring.h"
#include "io/store_local.h"
#include "proto/sigv4.h"
#include "serve/expiry.h"
#include "serve/http.h"

#define LISTEN_BACKLOG 1024
#define PORT_RETRY_MS 20

/* --- small things
 * ------------------------------------------------------------------ */

uint64_t server_wall_ms(const struct server_thread *t)
{
	return sys_now_ns(t->server->sys, CLOCK_REALTIME) / NS_PER_MS;
}

struct ingest_time server_time(const struct server_thread *t)
{
	return (struct ingest_time){.now_ns = loop_now_ns(t->loop),
				    .wall_ms = server_wall_ms(t)};
}

uint32_t server_random(struct server_thread *t)
{
	if (!t->random_left) {
		/* Without random bytes numbers repeat, but stay in order. */
		if (crypto_random(t->random, sizeof(t->random)) < 0)
			log_error("serve", "no random bytes");
		t->random_left = ARRAY_SIZE(t->random);
	}
	return t->random[--t->random_left];
}

/* FNV-1a: spread, not secrecy. */
struct server_thread *server_thread_of(struct server *s, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return &s->threads[h % s->thread_count];
}

void server_busy_begin(struct server *s)
{
	pthread_mutex_lock(&s->mutex);
	s->busy++;
	pthread_mutex_unlock(&s->mutex);
}

void server_busy_end(struct server *s)
{
	pthread_mutex_lock(&s->mutex);
	if (!--s->busy)
		pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

/* --- accepting
 * ----------------------------------------------------------------------- */

static void accepted(struct loop_op *op, int res);

static void accept_more(struct server_thread *t)
{
	if (t->stopping || loop_op_busy(&t->accept_op) ||
	    loop_timer_armed(&t->accept_timer) ||
	    t->connection_count >= CONNECTIONS_MAX)
		return;
	loop_accept(t->loop, &t->accept_op, t->listen_fd, accepted);
}

static void accept_again(struct loop_timer *timer)
{
	accept_more(container_of(timer, struct server_thread, accept_timer));
}

static void accepted(struct loop_op *op, int res)
{
	struct server_thread *t =
		container_of(op, struct server_thread, accept_op);

	if (res >= 0 && t->stopping) {
		sys_close(t->server->sys, &res);
	} else if (res >= 0) {
		exchange_accept(t, res);
	} else if (!t->stopping && res != -ECONNABORTED) {
		log_warn("serve", "accepting: %s", strerror(-res));
		if (loop_timer_set(t->loop, &t->accept_timer,
				   loop_now_ns(t->loop) + ACCEPT_RETRY_NS,
				   accept_again) < 0)
			log_error("serve", "accepting: no memory");
	}
	if (t->stopping)
		server_busy_end(t->server);
	accept_more(t);
}

void server_connection_gone(struct server_thread *t)
{
	accept_more(t);
}

/* --- a thread
 * ------------------------------------------------------------------------- */

static void stop_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, stop_task);
	struct list_node *n;
	struct list_node *tmp;

	t->stopping = true;
	if (loop_op_busy(&t->accept_op))
		loop_cancel(t->loop, &t->accept_op);
	else
		server_busy_end(t->server);
	loop_timer_cancel(t->loop, &t->accept_timer);
	expiry_stop(t->expiry);
	list_for_each_safe(n, tmp, &t->connections)
		exchange_stop(list_entry(n, struct exchange, link));
}

static void abort_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, abort_task);
	struct list_node *n;
	struct list_node *tmp;

	list_for_each_safe(n, tmp, &t->connections)
		exchange_cut(list_entry(n, struct exchange, link), -ECANCELED);
}

static void end_run(struct loop_task *task)
{
	loop_stop(container_of(task, struct server_thread, end_task)->loop);
}

static int thread_open(struct server_thread *t)
{
	int r = loop_uring_new(t->server->sys, LOOP_ENTRIES, &t->loop);

	live_table_init(&t->live, t->loop);
	if (r == -ENOSYS || r == -EPERM) {
		log_error("serve",
			  "this system does not allow io_uring (%s): "
			  "a kernel from 6.1 on is needed, and "
			  "kernel.io_uring_disabled = 0",
			  strerror(-r));
		return r;
	}
	if (r == 0)
		r = store_local_attach(t->server->store, t->loop, &t->store);
	if (r == 0)
		r = expiry_new(t, &t->expiry);
	if (r < 0)
		log_error("serve", "starting a thread: %s", strerror(-r));
	return r;
}

static void thread_close(struct server_thread *t)
{
	live_table_fini(&t->live);
	t->expiry = expiry_free(t->expiry);
	t->store = store_local_detach(t->store);
	t->loop = loop_free(t->loop);
}

static void tell_ready(struct server_thread *t, int result)
{
	struct server *s = t->server;

	pthread_mutex_lock(&s->mutex);
	t->result = result;
	t->gone = result < 0;
	s->ready++;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void *thread_main(void *arg)
{
	struct server_thread *t = arg;
	int r = thread_open(t);

	/* Accepting keeps the server busy: it ends in stop_run(). */
	if (r == 0)
		server_busy_begin(t->server);
	tell_ready(t, r);
	if (r == 0) {
		accept_more(t);
		r = loop_run(t->loop);
		if (r < 0) {
			log_error("serve", "event loop: %s", strerror(-r));
			/* Nothing can be served half: main() ends the rest. */
			(void)kill(getpid(), SIGTERM);
		}
	}
	pthread_mutex_lock(&t->server->mutex);
	t->result = r;
	t->gone = true;
	pthread_mutex_unlock(&t->server->mutex);
	thread_close(t);
	return NULL;
}

/* --- the port
 * --------------------------------------------------------------------------- */

static int bind_one(struct server *s, const struct addrinfo *a, bool shared,
		    int *ret_fd)
{
	const int on = 1;
	int fd = s->sys->socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return fd;
	r = s->sys->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r == 0 && shared)
		r = s->sys->setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on,
				       sizeof(on));
	if (r == 0)
		r = s->sys->bind(fd, a->ai_addr, a->ai_addrlen);
	if (r < 0) {
		sys_close(s->sys, &fd);
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
 * With SO_REUSEPORT a second process of the same user could take the port
 * too and get half of the connections; so it is tried without first. A
 * service that was killed holds its port a little longer than its process
 * lives: the accepts under way keep the socket until a kernel worker has
 * taken the ring apart (io_uring/io_uring.c, io_ring_exit_work()).
 */
static int bind_alone(struct server *s, const struct addrinfo *a, int *ret_fd)
{
	uint64_t end = sys_now_ns(s->sys, CLOCK_MONOTONIC) + SERVE_PORT_WAIT_NS;
	int r = bind_one(s, a, false, ret_fd);

	while (r == -EADDRINUSE && sys_now_ns(s->sys, CLOCK_MONOTONIC) < end) {
		(void)s->sys->poll(NULL, 0, PORT_RETRY_MS);
		r = bind_one(s, a, false, ret_fd);
	}
	return r;
}

static int listen_all(struct server *s, struct addrinfo *a)
{
	unsigned int i;
	int probe;
	int r = bind_alone(s, a, &probe);

	if (r < 0)
		return r;
	r = s->sys->listen(probe, 1);
	if (r == 0)
		r = port_of(probe, &s->port);
	sys_close(s->sys, &probe);
	set_port(a->ai_addr, s->port);
	for (i = 0; r == 0 && i < s->thread_count; i++) {
		r = bind_one(s, a, true, &s->threads[i].listen_fd);
		if (r == 0)
			r = s->sys->listen(s->threads[i].listen_fd,
					   LISTEN_BACKLOG);
	}
	return r;
}

static int open_port(struct server *s)
{
	const struct serve_options *o = s->options;
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	char port[8];
	int r;

	(void)snprintf(port, sizeof(port), "%u", o->port);
	r = getaddrinfo(o->address, port, &hints, &list);
	if (r) {
		log_error("serve", "--listen %s: %s", o->address,
			  gai_strerror(r));
		return -EINVAL;
	}
	r = listen_all(s, list);
	freeaddrinfo(list);
	if (r == -EADDRINUSE)
		log_error("serve",
			  "port %s of %s is in use by another "
			  "process",
			  port, o->address);
	else if (r < 0)
		log_error("serve", "listening on %s port %s: %s", o->address,
			  port, strerror(-r));
	return r;
}

/* --- start and stop
 * ------------------------------------------------------------------------ */

static void threads_init(struct server *s)
{
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		t->server = s;
		t->index = i;
		t->listen_fd = -EBADF;
		t->stop_task.run = stop_run;
		t->abort_task.run = abort_run;
		t->end_task.run = end_run;
		list_init(&t->connections);
		buf_init(&t->work, SIGV4_CANONICAL_BYTES_MAX);
	}
}

static void server_free(struct server *s)
{
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		sys_close(s->sys, &s->threads[i].listen_fd);
		buf_fini(&s->threads[i].work);
	}
	free(s->threads);
	s->threads = NULL;
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->changed);
}

static int start_threads(struct server *s)
{
	unsigned int i;
	unsigned int started = 0;
	int r = 0;

	for (i = 0; i < s->thread_count && r == 0; i++) {
		r = -pthread_create(&s->threads[i].thread, NULL, thread_main,
				    &s->threads[i]);
		s->threads[i].started = r == 0;
		started += r == 0;
	}
	pthread_mutex_lock(&s->mutex);
	while (s->ready < started)
		pthread_cond_wait(&s->changed, &s->mutex);
	for (i = 0; i < started && r == 0; i++)
		r = s->threads[i].result;
	pthread_mutex_unlock(&s->mutex);
	return r;
}

/* To every thread whose loop still runs. */
static void post_all(struct server *s, size_t task_offset)
{
	unsigned int i;

	pthread_mutex_lock(&s->mutex);
	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		if (t->started && !t->gone)
			loop_post(t->loop,
				  (struct loop_task *)(void *)((char *)t +
							       task_offset));
	}
	pthread_mutex_unlock(&s->mutex);
}

/* Return: nothing is left that callbacks could come for. */
static bool wait_quiet(struct server *s, uint64_t ns)
{
	struct timespec until;
	uint64_t at = sys_now_ns(s->sys, CLOCK_MONOTONIC) + ns;
	int r = 0;
	bool quiet;

	until.tv_sec = (time_t)(at / NS_PER_S);
	until.tv_nsec = (long)(at % NS_PER_S);
	pthread_mutex_lock(&s->mutex);
	while (s->busy && r == 0)
		r = pthread_cond_timedwait(&s->changed, &s->mutex, &until);
	quiet = !s->busy;
	pthread_mutex_unlock(&s->mutex);
	return quiet;
}

static int join_all(struct server *s)
{
	unsigned int i;
	int result = 0;

	for (i = 0; i < s->thread_count; i++) {
		if (!s->threads[i].started)
			continue;
		pthread_join(s->threads[i].thread, NULL);
		result = result ? result : s->threads[i].result;
	}
	return result;
}

int server_start(struct server *s)
{
	pthread_condattr_t attr;
	int r;

	s->threads = calloc(s->thread_count, sizeof(*s->threads));
	if (!s->threads)
		return -ENOMEM;
	threads_init(s);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	r = open_port(s);
	if (r == 0)
		r = start_threads(s);
	if (r == 0)
		return 0;
	post_all(s, offsetof(struct server_thread, stop_task));
	(void)wait_quiet(s, SERVE_STOP_NS_MAX);
	post_all(s, offsetof(struct server_thread, end_task));
	(void)join_all(s); /* the first error is the one to tell */
	server_free(s);
	return r;
}

int server_stop(struct server *s)
{
	int r;

	post_all(s, offsetof(struct server_thread, stop_task));
	if (!wait_quiet(s, SERVE_STOP_NS_MAX)) {
		post_all(s, offsetof(struct server_thread, abort_task));
		if (!wait_quiet(s, SERVE_STOP_NS_MAX))
			log_error("serve", "not everything has finished");
	}
	post_all(s, offsetof(struct server_thread, end_task));
	r = join_all(s);
	server_free(s);
	return r;
}
