/* SPDX-License-Identifier: Apache-2.0 */
#include "core/backoff.h"

#include "base/macros.h"

#define DOUBLINGS_MAX 32u

void backoff_init(struct backoff *b, uint64_t seed)
{
	b->random = seed;
	b->failures = 0;
}

/* splitmix64: any seed will do, zero included. */
static uint64_t random_next(struct backoff *b)
{
	uint64_t z = (b->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t backoff_next(struct backoff *b, uint64_t floor_ns, uint64_t first_ns,
		      uint64_t max_ns)
{
	unsigned int doublings = MIN(b->failures, DOUBLINGS_MAX);
	uint64_t bound = max_ns;

	if (first_ns <= max_ns >> doublings)
		bound = first_ns << doublings;
	if (b->failures < DOUBLINGS_MAX)
		b->failures++;
	if (bound <= floor_ns)
		return floor_ns;
	return floor_ns + random_next(b) % (bound - floor_ns + 1);
}

void backoff_reset(struct backoff *b)
{
	b->failures = 0;
}
