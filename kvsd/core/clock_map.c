/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock_map.h"

#include "base/macros.h"

static uint64_t distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static void adopt(struct clock_map *m, int64_t offset_ns, uint64_t sigma_ns)
{
	m->wall_offset_ns = offset_ns;
	if (m->known && offset_ns < m->offset_ns) {
		m->held = true;
		m->sigma_ns = distance(m->offset_ns, offset_ns) + sigma_ns;
	} else {
		m->held = false;
		m->offset_ns = offset_ns;
		m->sigma_ns = sigma_ns;
	}
	m->known = true;
	m->epoch++;
}

bool clock_map_sample(struct clock_map *m, uint64_t before_ns,
		      uint64_t wall_ns, uint64_t after_ns)
{
	uint64_t bracket_ns = after_ns - before_ns;
	uint64_t middle_ns = before_ns + bracket_ns / 2;
	int64_t offset_ns = (int64_t)(wall_ns - middle_ns);
	uint64_t sigma_ns = bracket_ns / 2 + 1;

	if (!m->known) {
		adopt(m, offset_ns, sigma_ns);
		return true;
	}
	if (bracket_ns > CLOCK_MAP_BRACKET_NS_MAX)
		return false;
	if (distance(offset_ns, m->wall_offset_ns) >=
	    CLOCK_MAP_STEP_NS_MIN + bracket_ns) {
		adopt(m, offset_ns, sigma_ns);
		return true;
	}
	/* A narrower bracket knows better, if it does not turn time back. */
	if (!m->held && sigma_ns < m->sigma_ns && offset_ns >= m->offset_ns) {
		m->offset_ns = offset_ns;
		m->wall_offset_ns = offset_ns;
		m->sigma_ns = sigma_ns;
	}
	return false;
}

uint64_t clock_map_ns(const struct clock_map *m, uint64_t monotonic_ns)
{
	return monotonic_ns + (uint64_t)m->offset_ns;
}

uint32_t clock_map_sigma_ns(const struct clock_map *m)
{
	return m->sigma_ns >= UINT32_MAX ? UINT32_MAX : (uint32_t)m->sigma_ns;
}
