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
};

/**
 * clock_map_sample() - the clocks, read one right after the other
 * @before_ns, @after_ns: CLOCK_MONOTONIC around the reading of @wall_ns
 *
 * Return: true when a new epoch begins here (also with the first sample).
 */
bool clock_map_sample(struct clock_map *m, uint64_t before_ns,
		      uint64_t wall_ns, uint64_t after_ns);

/* Unix epoch; valid once known. */
uint64_t clock_map_ns(const struct clock_map *m, uint64_t monotonic_ns);

/* For a frame's record: UINT32_MAX when it does not fit. */
uint32_t clock_map_sigma_ns(const struct clock_map *m);

#endif
