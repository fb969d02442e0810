/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rate.h"

#include "base/macros.h"

#define PROBES 8u
#define PACE_NS (NS_PER_S / 4)

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

/* Rounded up; exact up to a terabyte. */
static uint64_t bytes_ns(uint64_t per_s, uint64_t bytes)
{
	uint64_t whole = bytes / per_s;

	return whole * NS_PER_S +
	       ((bytes % per_s) * (NS_PER_S / 1000) + per_s - 1) / per_s * 1000;
}

/* What may be ahead of the clock; of a slow one, enough for a step. */
static uint64_t ahead_ns(uint64_t per_s)
{
	return MAX(PACE_NS, bytes_ns(per_s, PACE_STEP_BYTES));
}

size_t pace_room(const struct pace *p, uint64_t per_s, uint64_t now_ns)
{
	uint64_t room_ns;

	if (!per_s)
		return SIZE_MAX;
	if (now_ns < pace_ready_ns(p, per_s))
		return 0;
	room_ns = now_ns + ahead_ns(per_s) - MAX(p->busy_ns, now_ns);
	return MAX((size_t)(room_ns / 1000 * per_s / (NS_PER_S / 1000)),
		   (size_t)PACE_STEP_BYTES);
}

void pace_spend(struct pace *p, uint64_t per_s, size_t bytes, uint64_t now_ns)
{
	if (per_s)
		p->busy_ns = MAX(p->busy_ns, now_ns) + bytes_ns(per_s, bytes);
}

uint64_t pace_ready_ns(const struct pace *p, uint64_t per_s)
{
	uint64_t step_ns = bytes_ns(per_s, PACE_STEP_BYTES);
	uint64_t early_ns = ahead_ns(per_s) - step_ns;

	return p->busy_ns > early_ns ? p->busy_ns - early_ns : 0;
}
