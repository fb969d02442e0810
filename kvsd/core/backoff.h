/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capped exponential backoff with full jitter: the n-th wait is uniform in
 * [min, min(max, first * 2^n)]. Many devices that lose one service then do
 * not come back at one instant. Deterministic for a seed.
 */
#ifndef CORE_BACKOFF_H
#define CORE_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t random;	/* state of the generator */
	unsigned int failures;	/* since the last reset */
};

void backoff_init(struct backoff *b, uint64_t seed);

/**
 * backoff_next() - how long to wait after one more failure
 * @floor_ns: never less than this
 * @first_ns: bound of the first wait; doubles with each failure
 * @max_ns: never more than this
 */
uint64_t backoff_next(struct backoff *b, uint64_t floor_ns, uint64_t first_ns,
		      uint64_t max_ns);

/* It worked: the next failure waits as the first did. */
void backoff_reset(struct backoff *b);

#endif
