/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From CLOCK_MONOTONIC, which stamps frames, to the Unix epoch. Linux steers
 * both clocks alike, so between two steps of the wall clock they differ by a
 * constant: that is the mapping, one per epoch. A step opens a new epoch.
 *
 * Mapped time never goes back: after a step backward the old difference stays
 * in force, with an uncertainty that says how far it is off, until the wall
 * clock has caught up or the program starts again.
 */
#ifndef CORE_CLOCK_MAP_H
#define CORE_CLOCK_MAP_H

#include <stdbool.h>
#include <stdint.h>

/* A wider bracket than this tells nothing about the clocks. */
#define CLOCK_MAP_BRACKET_NS_MAX 100000u
#define CLOCK_MAP_STEP_NS_MIN 500000u	/* smaller differences are noise */

struct clock_map {
	bool known;
	uint32_t epoch;		/* 1, 2, ... */
	int64_t offset_ns;	/* mapped - monotonic */
	uint64_t sigma_ns;	/* of the offset */
	int64_t wall_offset_ns;	/* what the wall clock says; see held */
	bool held;		/* it was stepped back: offset_ns is older */
	/* Of the newest sample that told something. */
	uint64_t sampled_ns;	/* CLOCK_MONOTONIC */
	/* Before the last step forward: up to there these hold. 0: none. */
	uint64_t before_until_ns;
	int64_t before_offset_ns;
	int64_t before_wall_offset_ns;
	uint64_t before_sigma_ns;
	uint32_t before_epoch;
};

/**
 * clock_map_sample() - the clocks, read one right after the other
 * @before_ns, @after_ns: CLOCK_MONOTONIC around the reading of @wall_ns
 *
 * Return: true when a new epoch begins here (also with the first sample).
 */
bool clock_map_sample(struct clock_map *m, uint64_t before_ns,
		      uint64_t wall_ns, uint64_t after_ns);

/*
 * Unix epoch; valid once known. What is older than the last step, because it
 * was on its way meanwhile, has the time that it had before.
 */
uint64_t clock_map_ns(const struct clock_map *m, uint64_t monotonic_ns);

/* Of the same; UINT32_MAX when it does not fit a frame's record. */
uint32_t clock_map_sigma_ns(const struct clock_map *m, uint64_t monotonic_ns);

/* What the wall clock was ahead of CLOCK_MONOTONIC when it said this. */
int64_t clock_map_wall_offset_ns(const struct clock_map *m, uint64_t wall_ns);

/* Which epoch that time is of. */
uint32_t clock_map_epoch(const struct clock_map *m, uint64_t monotonic_ns);

#endif
