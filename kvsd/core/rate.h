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

#endif
