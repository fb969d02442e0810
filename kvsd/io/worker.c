/* SPDX-License-Identifier: Apache-2.0 */
#include "io/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_SECOND 1000000000ull

struct worker {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_cond_t called; /* a worker_call() has ended */
	pthread_t thread;
	struct list_node queue;
	bool due;		/* not all of it may wait */
	uint64_t later_at_ns;	/* what may, until then; UINT64_MAX: none */
	unsigned int later_count;
	uint64_t (*batch_end)(void *ctx);
	void *ctx;
	bool threaded;
	bool running; /* without a thread: inside drain() */
	bool ending;
};

/* The lock is held on entry and on exit, not while jobs run. */
static void drain(struct worker *w)
{
	struct list_node batch;
	struct list_node *n;

	list_init(&batch);
	list_splice_tail(&batch, &w->queue);
	w->due = false;
	w->later_at_ns = UINT64_MAX;
	w->later_count = 0;
	(void)pthread_mutex_unlock(&w->lock);
	while ((n = list_pop(&batch))) {
		struct worker_job *job = list_entry(n, struct worker_job, link);

		job->run(job);
	}
	(void)pthread_mutex_lock(&w->lock);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

/* Return: after how many ns it wants to run again; UINT64_MAX: never. */
static uint64_t end_batch(struct worker *w)
{
	uint64_t wait_ns;

	if (!w->batch_end)
		return UINT64_MAX;
	(void)pthread_mutex_unlock(&w->lock);
	wait_ns = w->batch_end(w->ctx);
	(void)pthread_mutex_lock(&w->lock);
	return wait_ns;
}

/* Until @again_at_ns at most; UINT64_MAX: for ever. */
static void wait_for_work(struct worker *w, uint64_t again_at_ns)
{
	while (!w->due && !w->ending) {
		uint64_t at_ns = MIN(w->later_at_ns, again_at_ns);
		struct timespec ts = {
			.tv_sec = (time_t)(at_ns / NS_PER_SECOND),
			.tv_nsec = (long)(at_ns % NS_PER_SECOND),
		};

		if (at_ns == UINT64_MAX)
			(void)pthread_cond_wait(&w->wake, &w->lock);
		else if (pthread_cond_timedwait(&w->wake, &w->lock, &ts))
			return;
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t again_at_ns = UINT64_MAX;
	uint64_t wait_ns;

	(void)pthread_mutex_lock(&w->lock);
	for (;;) {
		wait_for_work(w, again_at_ns);
		if (w->ending && list_empty(&w->queue))
			break;
		drain(w);
		wait_ns = end_batch(w);
		again_at_ns = wait_ns == UINT64_MAX ? wait_ns
						    : now_ns() + wait_ns;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void worker_init(struct worker *w, bool threaded,
			uint64_t (*batch_end)(void *ctx), void *ctx)
{
	pthread_condattr_t attr;

	list_init(&w->queue);
	w->later_at_ns = UINT64_MAX;
	w->batch_end = batch_end;
	w->ctx = ctx;
	w->threaded = threaded;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->wake, &attr);
	(void)pthread_cond_init(&w->called, NULL);
	(void)pthread_condattr_destroy(&attr);
}

static void worker_fini(struct worker *w)
{
	(void)pthread_cond_destroy(&w->wake);
	(void)pthread_cond_destroy(&w->called);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

int worker_new(bool threaded, uint64_t (*batch_end)(void *ctx), void *ctx,
	       struct worker **ret_worker)
{
	struct worker *w = calloc(1, sizeof(*w));
	sigset_t all;
	sigset_t old;
	int r;

	if (!w)
		return -ENOMEM;
	worker_init(w, threaded, batch_end, ctx);
	if (threaded) {
		/* Signals are for the main thread. */
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		r = pthread_create(&w->thread, NULL, worker_main, w);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (r) {
			worker_fini(w);
			return -r;
		}
	}
	*ret_worker = w;
	return 0;
}

/* Without a thread: a job that submits another one runs it afterwards. */
static void run_here(struct worker *w)
{
	if (w->running)
		return;
	w->running = true;
	while (!list_empty(&w->queue)) {
		drain(w);
		while (list_empty(&w->queue) && !end_batch(w))
			; /* again at once */
	}
	w->running = false;
}

/* What is queued is not to wait any longer. The lock is held. */
static void wake(struct worker *w)
{
	w->due = true;
	if (w->threaded)
		(void)pthread_cond_signal(&w->wake);
	else
		run_here(w);
}

void worker_submit(struct worker *w, struct worker_job *job)
{
	(void)pthread_mutex_lock(&w->lock);
	list_add_tail(&w->queue, &job->link);
	wake(w);
	(void)pthread_mutex_unlock(&w->lock);
}

void worker_submit_later(struct worker *w, struct worker_job *job,
			 uint64_t within_ns, unsigned int count_max)
{
	(void)pthread_mutex_lock(&w->lock);
	list_add_tail(&w->queue, &job->link);
	if (++w->later_count >= count_max) {
		wake(w);
	} else if (w->later_count == 1) {
		/* It may be waiting for longer than that. */
		w->later_at_ns = now_ns() + within_ns;
		(void)pthread_cond_signal(&w->wake);
	}
	(void)pthread_mutex_unlock(&w->lock);
}

struct call {
	struct worker_job job;
	struct worker_job *inner;
	struct worker *worker;
	bool done;
};

static void call_run(struct worker_job *job)
{
	struct call *c = container_of(job, struct call, job);
	struct worker *w = c->worker;

	c->inner->run(c->inner);
	(void)pthread_mutex_lock(&w->lock);
	c->done = true;
	(void)pthread_cond_broadcast(&w->called);
	(void)pthread_mutex_unlock(&w->lock);
}

void worker_call(struct worker *w, struct worker_job *job)
{
	struct call c = { .job.run = call_run, .inner = job, .worker = w };

	worker_submit(w, &c.job);
	(void)pthread_mutex_lock(&w->lock);
	while (!c.done)
		(void)pthread_cond_wait(&w->called, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
}

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	(void)pthread_mutex_lock(&w->lock);
	w->ending = true;
	wake(w);
	(void)pthread_mutex_unlock(&w->lock);
	if (w->threaded)
		(void)pthread_join(w->thread, NULL);
	worker_fini(w);
	return NULL;
}
