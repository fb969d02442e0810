/* SPDX-License-Identifier: Apache-2.0 */
#include "src/align_clock.h"

/* Clocks are read in whole nanoseconds, each rounded by itself. */
#define ROUNDING_NS 2

bool align_clock_sample(struct align_clock *c, uint64_t before_ns,
			uint64_t at_ns, uint64_t after_ns)
{
	int64_t low = (int64_t)(at_ns - after_ns) - ROUNDING_NS;
	int64_t high = (int64_t)(at_ns - before_ns) + ROUNDING_NS;
	bool moved = c->known && (low > c->high || high < c->low);

	if (!c->known || moved) {
		c->low = low;
		c->high = high;
	} else {
		c->low = MAX(c->low, low);
		c->high = MIN(c->high, high);
	}
	c->known = true;
	return moved;
}

bool align_clock_look(struct align_clock *c, const struct sys_ops *sys,
		      clockid_t clock, uint64_t *ret_boot_ns)
{
	uint64_t before = sys_now_ns(sys, CLOCK_BOOTTIME);
	uint64_t at = sys_now_ns(sys, clock);

	*ret_boot_ns = sys_now_ns(sys, CLOCK_BOOTTIME);
	return align_clock_sample(c, before, at, *ret_boot_ns);
}

uint64_t align_clock_to_boot(const struct align_clock *c, uint64_t ns)
{
	int64_t offset = c->low + (c->high - c->low) / 2;

	if (offset > 0 && ns < (uint64_t)offset)
		return 0;
	return ns - (uint64_t)offset;
}

uint64_t align_clock_width_ns(const struct align_clock *c)
{
	return (uint64_t)(c->high - c->low) / 2;
}
