/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rate.h"

#include "base/macros.h"

#define PROBES 8u

static struct rate_slot *find(struct rate_table *t, uint64_t key)
{
	struct rate_slot *best = NULL;
	unsigned int i;

	for (i = 0; i < PROBES; i++) {
		struct rate_slot *s = &t->slots[(key + i) % RATE_SLOTS];

		if (s->key == key)
			return s;
		if (!best || s->busy_ns < best->busy_ns)
			best = s;
	}
	best->key = key;
	best->busy_ns = 0;
	return best;
}

bool rate_take(struct rate_table *t, uint64_t key, uint64_t interval_ns,
	       uint64_t now_ns)
{
	struct rate_slot *s = find(t, key);
	uint64_t busy_ns = MAX(s->busy_ns, now_ns) + interval_ns;

	if (busy_ns - now_ns > MAX(NS_PER_S, interval_ns))
		return false;
	s->busy_ns = busy_ns;
	return true;
}
