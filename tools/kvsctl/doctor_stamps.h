/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stamps of a run of frames say about their clock, their meaning and
 * the rate: numbers in, verdicts out. Pure.
 */
#ifndef KVSCTL_DOCTOR_STAMPS_H
#define KVSCTL_DOCTOR_STAMPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/frame.h>

#include "base/macros.h"

#define STAMPS_FRAMES_MAX 4096u
/* Under this many frames nothing is said. */
#define STAMPS_FRAMES_MIN 3u
/* A stamp that is older than this at its dequeue is of another clock. */
#define STAMPS_LAG_NS_MAX INT64_C(5000000000)

struct stamp_sample {
	uint64_t stamp_ns;   /* of the frame, of the clock in question */
	uint64_t dequeue_ns; /* CLOCK_MONOTONIC when we had it */
	uint32_t sequence;
};

/* What other clocks show when CLOCK_MONOTONIC shows 0. */
struct stamp_offsets {
	int64_t realtime_ns;
	int64_t boottime_ns;
};

enum stamp_verdict {
	STAMP_NOT_KNOWN = 0,
	STAMP_AGREES,	  /* nothing measured speaks against what is declared */
	STAMP_DOUBTFUL,	  /* possible, but unlikely */
	STAMP_CONTRADICTS /* what is declared cannot be true */
};

struct stamps {
	size_t frames;
	/* The clock that the stamps fit, whatever is declared. */
	enum capture_clock clock; /* UNKNOWN: none, or too few frames */
	enum stamp_verdict clock_verdict;
	enum stamp_verdict point_verdict;
	/* Dequeue less stamp, both as if of CLOCK_MONOTONIC. */
	int64_t lag_min_ns;
	int64_t lag_median_ns;
	int64_t lag_max_ns;
	/* Of frames - 1: stamps between the last dequeue and their own. */
	size_t between;
	bool increasing; /* each stamp is later than the one before */
	/* Of the device's own count and stamps; 0: not known. */
	uint64_t interval_ns; /* mean time of a frame */
	/* Of single steps: distance from the mean time of a frame. */
	uint64_t jitter_p50_ns;
	uint64_t jitter_p99_ns;
	uint64_t lost;	   /* sequence numbers that are missing */
	uint64_t repeated; /* that do not go up */
};

/**
 * stamps_analyse() - judge a run of frames
 * @samples: in the order of their dequeues, at most STAMPS_FRAMES_MAX count
 * @clock, @point: as the driver declares them
 */
void stamps_analyse(const struct stamp_sample *samples, size_t count,
		    enum capture_clock clock, enum capture_point point,
		    const struct stamp_offsets *offsets, struct stamps *ret);

/* "agrees", "doubtful", "contradicts", "not known" */
const char *stamp_verdict_name(enum stamp_verdict verdict);
const char *stamp_clock_name(enum capture_clock clock);
const char *stamp_point_name(enum capture_point point);

#endif
