/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: one catalog, one TLS context, and per thread a loop, a store,
 * a listener, connections and the streams that hash to it. Threads share
 * nothing else that changes.
 */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/sys.h"
#include "core/ingest.h"
#include "core/limits.h"
#include "core/loop.h"
#include "serve/live.h"
#include "serve/options.h"

struct catalog;
struct expiry;
struct store;
struct store_local;
struct tls_ctx;
struct server;

struct server_thread {
	struct server *server;
	unsigned int index;
	struct loop *loop;
	struct store *store;
	int listen_fd;
	struct loop_op accept_op;
	struct loop_timer accept_timer; /* after -EMFILE and the like */
	struct list_node connections;
	size_t connection_count;
	size_t body_bytes; /* of JSON bodies held */
	struct live_table live;
	struct expiry *expiry;
	struct buf work;     /* scratch of the signature check */
	uint32_t random[64]; /* drawn in bulk */
	size_t random_left;
	bool stopping;
	struct loop_task stop_task;
	struct loop_task abort_task;
	struct loop_task end_task;
	pthread_t thread;
	bool started;
	bool gone; /* under the server's mutex: no loop any more */
	int result;
};

/*
 * Ending, in this order: every thread closes what is idle and tells the rest
 * to finish (stop); when SERVE_STOP_NS_MAX are over connections are cut
 * (abort); when nothing is left that a callback could come for, the loops end.
 */
struct server {
	const struct sys_ops *sys;
	const struct serve_options *options;
	struct tls_ctx *tls;
	struct catalog *catalog;
	struct store_local *store;
	uint16_t port; /* that we listen on */
	unsigned int thread_count;
	struct server_thread *threads;
	/* Exchanges and expiry runs, over all threads. */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	size_t busy;
	unsigned int ready; /* threads that run, or failed to */
};

/* The thread that owns the stream of that name. */
struct server_thread *server_thread_of(struct server *s, const char *name);

/* Wall clock, Unix epoch. */
uint64_t server_wall_ms(const struct server_thread *t);
struct ingest_time server_time(const struct server_thread *t);

/* 32 random bits that need not be secret. */
uint32_t server_random(struct server_thread *t);

/* Something that callbacks may still come for begins or ends. */
void server_busy_begin(struct server *s);
void server_busy_end(struct server *s);

/* A connection of this thread is gone: there may be room to accept again. */
void server_connection_gone(struct server_thread *t);

/**
 * server_start() - take the port and start the threads
 * @s: sys, options, tls, catalog and store are set; zero otherwise
 *
 * Return: 0, or -errno with the reason logged: -EADDRINUSE, -EACCES,
 * -ENOSYS / -EPERM (no io_uring), -ENOMEM; then nothing is left running.
 */
int server_start(struct server *s) MUST_CHECK;

/*
 * Ends it as described above and frees what server_start() made. Return: 0,
 * or the error with which a thread ended before it was told to.
 */
int server_stop(struct server *s);

#endif
