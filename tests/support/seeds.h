/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulation runs:
 *
 *	SEEDS=n		seeds 1..n (or the first argument)
 *	SEEDS_PART=n	that part of the seeds it has without SEEDS: for a build
 *			in which all of them take long, and ran in another
 *	FIRST=n		seeds n, n + 1, ... instead
 *	SEED=n		that one only, with a trace where it has one
 *	FULL=1		the long form, where it has one
 */
#ifndef SUPPORT_SEEDS_H
#define SUPPORT_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

struct seeds {
	uint64_t first;
	uint64_t count;
	bool one; /* SEED was given */
	bool full;
};

/* @otherwise: how many when nothing says so. What is no number ends the
 * process: a replay of the wrong seed would tell nothing. */
struct seeds seeds_from(int argc, char **argv, uint64_t otherwise);
/* An environment variable. */
uint64_t seeds_number(const char *name, uint64_t otherwise);
/* splitmix64; @below 0: all 64 bits. */
uint64_t seeds_random(uint64_t *state, uint64_t below);

#endif
