/* SPDX-License-Identifier: Apache-2.0 */
#include "core/histogram.h"

#include "base/macros.h"

#define SUB_BITS 4u
#define SUB_COUNT (1u << SUB_BITS)

static unsigned int bucket_of(uint64_t value)
{
	unsigned int shift = 0;
	uint64_t i;

	while (value >> shift >= 2 * SUB_COUNT)
		shift++;
	i = (uint64_t)shift * SUB_COUNT + (value >> shift);
	return (unsigned int)MIN(i, (uint64_t)HISTOGRAM_BUCKETS - 1);
}

/* The largest value of a bucket. */
static uint64_t bucket_top(unsigned int i)
{
	unsigned int shift = i < 2 * SUB_COUNT ? 0 : i / SUB_COUNT - 1;
	uint64_t low = i - (uint64_t)shift * SUB_COUNT;

	return ((low + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->count++;
	h->buckets[bucket_of(value)]++;
}

uint64_t histogram_at_most(const struct histogram *h, uint64_t value)
{
	uint64_t seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		/* The last one has what is too large for any. */
		if (i + 1 == HISTOGRAM_BUCKETS || bucket_top(i) > value)
			break;
		seen += h->buckets[i];
	}
	return seen;
}

uint64_t histogram_percentile(const struct histogram *h,
			      unsigned int per_mille)
{
	uint64_t rank = (h->count * per_mille + 999) / 1000;
	uint64_t seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen && seen >= rank)
			return bucket_top(i);
	}
	return 0;
}
