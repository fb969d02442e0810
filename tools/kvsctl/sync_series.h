/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `kvsctl sync` remembers of one sensor: figures of the whole run, and a
 * bounded row of points for the plot. Pure.
 */
#ifndef KVSCTL_SYNC_SERIES_H
#define KVSCTL_SYNC_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsctl/limits.h"

/* Means over a stretch of time. */
struct sync_point {
	uint64_t begin_ns; /* since the run began */
	uint64_t count;
	int64_t offset_sum_ns;
	int64_t offset_min_ns;
	int64_t offset_max_ns;
	uint64_t jitter_ns; /* the newest of these */
	int64_t drift_ppb;
	uint64_t epoch;
};

struct sync_series {
	struct sync_point points[CTL_SYNC_POINTS];
	size_t count;
	uint64_t length_ns; /* of a point; doubles when there are too many */
	/* Of all samples. */
	uint64_t samples;
	int64_t offset_min_ns;
	int64_t offset_max_ns;
	double offset_sum_ns;
};

/* One sample of a sensor. */
struct sync_sample {
	uint64_t at_ns;	   /* since the run began; not before the last */
	int64_t offset_ns; /* raw stamp - aligned */
	uint64_t jitter_ns;
	int64_t drift_ppb;
	uint64_t epoch;
};

void sync_series_init(struct sync_series *s);
void sync_series_add(struct sync_series *s, const struct sync_sample *sample);

/* 0 without samples. */
int64_t sync_series_mean_ns(const struct sync_series *s);
int64_t sync_point_mean_ns(const struct sync_point *p);

#endif
