/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop (core/loop.h) with a simulated clock, for tests and simulations.
 *
 * Each operation takes a time that the seed chooses, so operations complete
 * in an order that the seed chooses, in simulated time: nothing sleeps.
 *
 *	pread, pwrite, write_sync	are done on real descriptors through
 *					the sys ops, when they complete
 *	recv, send, poll		work on loop_fake_pair() only
 *	accept, connect			-EOPNOTSUPP
 *
 * When there is nothing to do and nothing to wait for, a turn that may wait
 * for ever returns -EDEADLK, or, when other threads post, waits for them in
 * real time (ten seconds, then -EDEADLK).
 */
#ifndef SUPPORT_LOOP_FAKE_H
#define SUPPORT_LOOP_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"
#include "core/loop.h"

struct loop_fake_config {
	const struct sys_ops *sys;	/* NULL: sys_posix() */
	uint64_t seed;
	uint64_t delay_ns_max;	/* of an operation; 0: the next turn */
	uint64_t start_ns;	/* of the clock */
	bool threads;		/* other threads post to this loop */
};

/* Free with loop_free(). Aborts when there is no memory. */
struct loop *loop_fake_new(const struct loop_fake_config *config);

/*
 * Fails the @n-th completion from now (1 is the next; 0: none) with @err,
 * without doing it.
 */
void loop_fake_fail(struct loop *l, unsigned long n, int err);
/* As above, but the operation does the first half of its bytes. */
void loop_fake_shorten(struct loop *l, unsigned long n);
bool loop_fake_fired(struct loop *l);
/* Completions since it was armed. */
unsigned long loop_fake_calls(struct loop *l);

/* Operations in flight. */
size_t loop_fake_busy(struct loop *l);
/* Moves the clock; timers and operations that are due run in later turns. */
void loop_fake_advance(struct loop *l, uint64_t ns);
/* Turns until @done is true. Return: 0, or the error of a turn. */
int loop_fake_until(struct loop *l, const bool *done);
/* From the loop's generator: 0..@below-1. */
uint64_t loop_fake_random(struct loop *l, uint64_t below);

/*
 * Two descriptors that are each other's peer, like a socket pair. Sends may
 * be short, what is received comes in pieces as the seed says.
 */
void loop_fake_pair(struct loop *l, int ret_fds[2]);
/* The peer reads what is left, then the end; its sends fail with -EPIPE. */
void loop_fake_close(struct loop *l, int fd);

#endif
