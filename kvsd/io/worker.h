/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that runs blocking jobs one after the other, in the order in which
 * they were submitted: SQLite and the making of files. Results go back with
 * loop_post().
 *
 * Without a thread (simulations, small tools) a job runs inside
 * worker_submit(), on the caller's thread; its owner sees no difference, since
 * results are posted either way. One that may wait does so for the next that
 * may not, without a clock.
 */
#ifndef IO_WORKER_H
#define IO_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"

struct worker;

/* Embedded in its owner; may be freed by run(). */
struct worker_job {
	void (*run)(struct worker_job *job);
	struct list_node link;
};

/**
 * worker_new() - start a worker
 * @threaded: false: no thread, see above
 * @batch_end: runs on the worker after everything that was queued has run;
 *	returns after how many ns it wants to run again without a job
 *	(UINT64_MAX: never). May be NULL.
 *
 * Return: 0, -ENOMEM, -EAGAIN (no thread to be had).
 */
int worker_new(bool threaded, uint64_t (*batch_end)(void *ctx), void *ctx,
	       struct worker **ret_worker) MUST_CHECK;
/* Any thread. */
void worker_submit(struct worker *w, struct worker_job *job);
/*
 * Any thread. As worker_submit(), in the same order, for what nobody waits
 * for: it begins when a job comes that may not wait, when @within_ns have gone
 * by since the first that may, or when there are @count_max of them.
 */
void worker_submit_later(struct worker *w, struct worker_job *job,
			 uint64_t within_ns, unsigned int count_max);
/*
 * Submits @job and waits until it has run. Not from the worker itself. @job
 * must outlive the call.
 */
void worker_call(struct worker *w, struct worker_job *job);
/* Runs what is queued, then ends the thread. Accepts NULL, returns NULL. */
struct worker *worker_free(struct worker *w);
DEFINE_AUTO(worker_free, struct worker *)

#endif
