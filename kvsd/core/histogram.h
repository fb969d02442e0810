/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Percentiles of durations in bounded memory: 16 buckets per power of two, so
 * a result is at most 6.25 % above the true one.
 */
#ifndef CORE_HISTOGRAM_H
#define CORE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 640u	/* up to 2^43 units */

struct histogram {
	uint64_t count;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* How many are at most @value, which must be 2^n - 1: then it is exact. */
uint64_t histogram_at_most(const struct histogram *h, uint64_t value);

/* @per_mille: 500 = the median. 0 when it is empty. */
uint64_t histogram_percentile(const struct histogram *h,
			      unsigned int per_mille);

#endif
