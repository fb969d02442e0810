/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "io/crypto.h"
#include "io/loop_uring.h"
#include "io/store_local.h"
#include "io/tls.h"
#include "proto/sigv4.h"
#include "serve/expiry.h"
#include "serve/http.h"

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
	if (t->stopping || t->gone || loop_op_busy(&t->accept_op) ||
	    loop_timer_armed(&t->accept_timer) ||
	    t->connection_count >= t->limits.connections)
		return;
	loop_accept(t->loop, &t->accept_op, t->listen_fd, accepted);
}

static void accept_again(struct loop_timer *timer)
{
	accept_more(container_of(timer, struct server_thread, accept_timer));
}

/*
 * Who connects now is refused, and does not wait for an end that may be long;
 * a socket of systemd's stays with it, and who connects waits for the next
 * start.
 */
static void accept_over(struct server_thread *t)
{
	sys_close(t->server->sys, &t->listen_fd);
	server_busy_end(t->server);
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
		accept_over(t);
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
		accept_over(t);
	loop_timer_cancel(t->loop, &t->accept_timer);
	expiry_stop(t->expiry);
	list_for_each_safe(n, tmp, &t->connections)
		exchange_stop(list_entry(n, struct exchange, link));
}

static void finish_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, finish_task);
	struct list_node *n;
	struct list_node *tmp;

	t->finishing = true;
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

static void ping_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, ping_task);

	atomic_store_explicit(&t->beat_ns,
			      sys_now_ns(t->server->sys, CLOCK_MONOTONIC),
			      memory_order_relaxed);
	/* After it the task may be posted again. */
	atomic_store_explicit(&t->pinged, false, memory_order_release);
}

static void reload_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, reload_task);
	struct server *s = t->server;
	struct tls_ctx *old = t->tls;

	t->tls = tls_ctx_ref(s->next_tls);
	t->limits = s->next_limits;
	t->live.bytes_max = t->limits.live_memory;
	(void)tls_ctx_free(old);
	pthread_mutex_lock(&s->mutex);
	s->reload_left--;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
	accept_more(t);
}

struct metrics *server_metrics(struct server_thread *t)
{
	t->metrics->connections = t->connection_count;
	return t->metrics;
}

static void snapshot_run(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, snapshot_task);

	*t->snapshot = *server_metrics(t);
	loop_post(t->snapshot_to, &t->snapshot_done);
}

static int thread_open(struct server_thread *t)
{
	int r = loop_uring_new(t->server->sys, LOOP_ENTRIES, &t->loop);

	live_table_init(&t->live, t->loop);
	t->live.bytes_max = t->limits.live_memory;
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
	char name[16]; /* the kernel's bound */
	int r = thread_open(t);

	(void)snprintf(name, sizeof(name), "kvsd-ring-%u", t->index);
	(void)pthread_setname_np(pthread_self(), name);

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

static int open_port(struct server *s)
{
	int fds[SERVE_THREADS_MAX];
	unsigned int i;
	int r;

	for (i = 0; i < s->thread_count; i++)
		fds[i] = -EBADF;
	if (s->inherited->count) {
		r = listen_share(s->sys, s->inherited, s->thread_count, fds);
		s->port = s->inherited->port;
	} else {
		r = listen_open(s->sys, &s->options->listen, "listen",
				s->thread_count, fds, &s->port);
	}
	for (i = 0; i < s->thread_count; i++)
		s->threads[i].listen_fd = fds[i];
	return r;
}

/* --- start and stop
 * ------------------------------------------------------------------------ */

/* Return: 0, -ENOMEM. */
static int threads_init(struct server *s)
{
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
	bool whole = true;
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		t->server = s;
		t->index = i;
		t->listen_fd = -EBADF;
		t->tls = tls_ctx_ref(s->tls);
		t->limits = s->options->limits;
		t->stop_task.run = stop_run;
		t->finish_task.run = finish_run;
		t->abort_task.run = abort_run;
		t->end_task.run = end_run;
		t->reload_task.run = reload_run;
		t->ping_task.run = ping_run;
		t->snapshot_task.run = snapshot_run;
		atomic_init(&t->pinged, false);
		atomic_init(&t->beat_ns, now_ns);
		list_init(&t->connections);
		buf_init(&t->work, SIGV4_CANONICAL_BYTES_MAX);
		t->metrics = calloc(1, sizeof(*t->metrics));
		t->snapshot = calloc(1, sizeof(*t->snapshot));
		whole &= t->metrics && t->snapshot;
	}
	return whole ? 0 : -ENOMEM;
}

void server_free(struct server *s)
{
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		sys_close(s->sys, &t->listen_fd);
		(void)tls_ctx_free(t->tls);
		buf_fini(&t->work);
		free(t->metrics);
		free(t->snapshot);
	}
	(void)tls_ctx_free(s->next_tls);
	s->next_tls = NULL;
	free(s->threads);
	s->threads = NULL;
	pthread_mutex_destroy(&s->mutex);
	pthread_mutex_destroy(&s->rates_lock);
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

bool server_post(struct server_thread *t, struct loop_task *task)
{
	bool there;

	pthread_mutex_lock(&t->server->mutex);
	there = t->started && !t->gone;
	if (there)
		loop_post(t->loop, task);
	pthread_mutex_unlock(&t->server->mutex);
	return there;
}

/* To every thread whose loop still runs. Return: how many. */
static unsigned int post_all(struct server *s, size_t task_offset)
{
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];
		char *task = (char *)t + task_offset;

		count += server_post(t, (struct loop_task *)(void *)task);
	}
	return count;
}

void server_ping(struct server *s)
{
	unsigned int i;

	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		if (!atomic_exchange_explicit(&t->pinged, true,
					      memory_order_acquire) &&
		    !server_post(t, &t->ping_task))
			atomic_store_explicit(&t->pinged, false,
					      memory_order_relaxed);
	}
}

uint64_t server_silent_ns(const struct server *s, uint64_t now_ns,
			  unsigned int *ret_index)
{
	uint64_t longest = 0;
	unsigned int i;

	*ret_index = 0;
	for (i = 0; i < s->thread_count; i++) {
		uint64_t beat = atomic_load_explicit(&s->threads[i].beat_ns,
						     memory_order_relaxed);

		if (now_ns > beat && now_ns - beat > longest) {
			longest = now_ns - beat;
			*ret_index = i;
		}
	}
	return longest;
}

/* Until @left is 0. Return: it is. Called and left with the mutex held. */
static bool wait_reload(struct server *s, uint64_t until_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};
	int r = 0;

	while (s->reload_left && r == 0)
		r = pthread_cond_timedwait(&s->changed, &s->mutex, &until);
	return !s->reload_left;
}

int server_reload(struct server *s, struct tls_ctx *tls,
		  const struct serve_limits *limits)
{
	uint64_t until_ns =
		sys_now_ns(s->sys, CLOCK_MONOTONIC) + SERVE_RELOAD_NS_MAX;
	unsigned int i;
	bool taken;

	pthread_mutex_lock(&s->mutex);
	taken = s->reload_left == 0;
	if (taken) {
		(void)tls_ctx_free(s->next_tls);
		s->next_tls = tls_ctx_ref(tls);
		s->next_limits = *limits;
		for (i = 0; i < s->thread_count; i++) {
			if (!s->threads[i].started || s->threads[i].gone)
				continue;
			s->reload_left++;
			loop_post(s->threads[i].loop,
				  &s->threads[i].reload_task);
		}
	}
	pthread_mutex_unlock(&s->mutex);
	if (!taken)
		return -EBUSY;
	for (;;) {
		uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);

		pthread_mutex_lock(&s->mutex);
		taken = wait_reload(s, MIN(until_ns, now_ns + SERVE_PING_NS));
		pthread_mutex_unlock(&s->mutex);
		if (taken)
			return 0;
		if (s->while_reloading)
			s->while_reloading(s->while_stopping_ctx);
		if (now_ns + SERVE_PING_NS >= until_ns)
			return -ETIMEDOUT;
	}
}

/* Return: nothing is left that callbacks could come for. */
static bool wait_slice(struct server *s, uint64_t until_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};
	int r = 0;
	bool quiet;

	pthread_mutex_lock(&s->mutex);
	while (s->busy && r == 0)
		r = pthread_cond_timedwait(&s->changed, &s->mutex, &until);
	quiet = !s->busy;
	pthread_mutex_unlock(&s->mutex);
	return quiet;
}

static bool wait_quiet(struct server *s, uint64_t ns)
{
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
	uint64_t until_ns = now_ns + ns;

	for (;;) {
		if (wait_slice(s, MIN(until_ns, now_ns + SERVE_PING_NS)))
			return true;
		now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
		if (now_ns >= until_ns)
			return false;
		if (s->while_stopping &&
		    s->while_stopping(s->while_stopping_ctx))
			return false;
	}
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

static void sync_init(struct server *s)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&s->mutex, NULL);
	pthread_mutex_init(&s->rates_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
}

int server_start(struct server *s)
{
	int r;

	s->threads = calloc(s->thread_count, sizeof(*s->threads));
	if (!s->threads)
		return -ENOMEM;
	sync_init(s);
	r = threads_init(s);
	if (r == 0)
		r = open_port(s);
	if (r == 0)
		r = start_threads(s);
	if (r == 0)
		return 0;
	(void)server_stop(s, 0); /* the first error is the one to tell */
	server_free(s);
	return r;
}

int server_stop(struct server *s, uint64_t drain_ns)
{
	(void)post_all(s, offsetof(struct server_thread, stop_task));
	if (!wait_quiet(s, drain_ns)) {
		(void)post_all(s, offsetof(struct server_thread, finish_task));
		if (!wait_quiet(s, SERVE_FINISH_NS_MAX))
			(void)post_all(s, offsetof(struct server_thread,
						   abort_task));
		if (!wait_quiet(s, SERVE_STOP_NS_MAX))
			log_error("serve", "not everything has finished");
	}
	(void)post_all(s, offsetof(struct server_thread, end_task));
	return join_all(s);
}
