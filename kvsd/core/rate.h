/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests per second, each key on its own: the generic cell rate algorithm,
 * one time per key, in a table of fixed size. A key whose time has passed is
 * as one never seen, so nothing is ever cleaned up; where too many are busy
 * the one that is free soonest is forgotten. Pure.
 */
#ifndef CORE_RATE_H
#define CORE_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

/* All zeroes: empty. */
struct rate_table {
	struct rate_slot {
		uint64_t key;
		uint64_t busy_ns; /* CLOCK_MONOTONIC; past: free */
	} slots[RATE_SLOTS];
};

/**
 * rate_take() - one more request
 * @key: evenly spread
 * @interval_ns: between requests that go on for ever; a second's worth of
 *	them, at least one, may come at once
 *
 * Return: it may run; false: too many, and it is not counted.
 */
bool rate_take(struct rate_table *t, uint64_t key, uint64_t interval_ns,
	       uint64_t now_ns);

/* Bytes per second, smoothed over a quarter of one. All zeroes: none yet. */
struct pace {
	uint64_t busy_ns; /* CLOCK_MONOTONIC; past: free */
};

/**
 * pace_room() - how many bytes may go now
 * @per_s: 0: no bound
 *
 * Return: SIZE_MAX (no bound), 0 (wait until pace_ready_ns()), else at least
 * PACE_STEP_BYTES.
 */
size_t pace_room(const struct pace *p, uint64_t per_s, uint64_t now_ns);
void pace_spend(struct pace *p, uint64_t per_s, size_t bytes, uint64_t now_ns);
/* When pace_room() is not 0 again. */
uint64_t pace_ready_ns(const struct pace *p, uint64_t per_s);

#endif
