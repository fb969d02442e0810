/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: one catalog, one TLS context, and per thread a loop, a store,
 * a listener, connections and the streams that hash to it. Threads share
 * nothing else that changes.
 */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
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
#include "serve/listen.h"
#include "serve/live.h"
#include "core/rate.h"
#include "serve/metrics.h"
#include "serve/options.h"

struct catalog;
struct data_dir;
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
	struct tls_ctx *tls; /* of new connections */
	struct serve_limits limits;
	struct metrics *metrics;  /* written by this thread only */
	struct metrics *snapshot; /* filled for who posted snapshot_task */
	struct loop_task snapshot_task;
	struct loop_task snapshot_done; /* posted to @snapshot_to */
	struct loop *snapshot_to;
	void *snapshot_ctx;
	struct loop_op accept_op;
	struct loop_timer accept_timer; /* after -EMFILE and the like */
	struct list_node connections;
	size_t connection_count;
	size_t body_bytes; /* of JSON bodies held */
	struct live_table live;
	struct rate_table rates; /* of the streams of this thread */
	struct expiry *expiry;
	struct buf work;     /* scratch of the signature check */
	uint32_t random[64]; /* drawn in bulk */
	size_t random_left;
	bool stopping;	/* no new requests; fragments may end */
	bool finishing; /* ... and now they may not */
	struct loop_task stop_task;
	struct loop_task finish_task;
	struct loop_task abort_task;
	struct loop_task end_task;
	struct loop_task reload_task;
	struct loop_task ping_task;
	atomic_bool pinged;	      /* @ping_task is on its way */
	atomic_uint_fast64_t beat_ns; /* when it ran last */
	pthread_t thread;
	bool started;
	bool gone; /* under the server's mutex: no loop any more */
	int result;
};

/*
 * Ending, in this order: every thread closes what is idle; uploads and readers
 * go on to the end of their fragment (stop), for limits.drain_ns; then they
 * keep what is whole (finish), for SERVE_FINISH_NS_MAX; then connections are
 * cut (abort); when nothing is left that a callback could come for, the loops
 * end.
 */
struct server {
	const struct sys_ops *sys;
	const struct serve_options *options; /* what a reload cannot change */
	struct tls_ctx *tls;
	const struct listen_inherited *inherited;
	const struct data_dir *dir;
	/* While it stops, once a SERVE_PING_NS: true, and it hurries. */
	bool (*while_stopping)(void *ctx);
	/* While a reload waits for a thread, as often. */
	void (*while_reloading)(void *ctx);
	void *while_stopping_ctx; /* of both */
	struct catalog *catalog;
	struct store_local *store;
	uint16_t port; /* that we listen on */
	unsigned int thread_count;
	struct server_thread *threads;
	pthread_mutex_t rates_lock;
	struct rate_table rates; /* of what any thread runs (serve/quota.h) */
	/* Exchanges and expiry runs, over all threads. */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	size_t busy;
	unsigned int ready; /* threads that run, or failed to */
	/* The reload under way: read by threads until the last has taken it. */
	struct tls_ctx *next_tls;
	struct serve_limits next_limits;
	unsigned int reload_left;
	/* What the operations thread goes by; the main thread writes. */
	atomic_bool draining;
	atomic_uint_fast64_t alive_within_ns;
	atomic_uint_fast64_t disk_free_min;
	atomic_uint_fast64_t cert_expires_s; /* Unix epoch */
	atomic_uint_fast64_t reloads;
	atomic_uint_fast64_t reload_failures;
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

/* The calling thread's connection counts, brought up to date. */
struct metrics *server_metrics(struct server_thread *t);

/* Runs @task on the thread's loop. Return: false when it has none any more. */
bool server_post(struct server_thread *t, struct loop_task *task);

/*
 * Asks every thread to note the time. Who does not turn leaves its beat_ns
 * behind.
 */
void server_ping(struct server *s);

/*
 * How long the thread that turned last has not turned; @ret_index: which.
 * Any thread.
 */
uint64_t server_silent_ns(const struct server *s, uint64_t now_ns,
			  unsigned int *ret_index);

/**
 * server_reload() - new connections get @tls, all get @limits
 * @tls: a reference is taken
 *
 * Blocks until every thread has it. Return: 0; -EBUSY: a thread has not taken
 * the one before; -ETIMEDOUT: not within SERVE_RELOAD_NS_MAX.
 */
int server_reload(struct server *s, struct tls_ctx *tls,
		  const struct serve_limits *limits) MUST_CHECK;

/**
 * server_start() - take the port and start the threads
 * @s: sys, options, tls, inherited, dir, catalog and store are set; zero
 *	otherwise
 *
 * Return: 0, or -errno with the reason logged: -EADDRINUSE, -EACCES,
 * -ENOSYS / -EPERM (no io_uring), -ENOMEM; then nothing is left running.
 */
int server_start(struct server *s) MUST_CHECK;

/*
 * Ends the threads as described above. Return: 0, or the error with which one
 * ended before it was told to.
 */
int server_stop(struct server *s, uint64_t drain_ns);
/* After server_stop(): frees what server_start() made. */
void server_free(struct server *s);

#endif
