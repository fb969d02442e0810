/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock_map.h"

#include "base/macros.h"

static uint64_t distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static void adopt(struct clock_map *m, int64_t offset_ns, uint64_t sigma_ns)
{
	int64_t wall_offset_ns = m->wall_offset_ns;

	m->wall_offset_ns = offset_ns;
	if (m->known && offset_ns < m->offset_ns) {
		m->held = true;
		m->sigma_ns = distance(m->offset_ns, offset_ns) + sigma_ns;
	} else {
		m->before_until_ns = m->sampled_ns;
		m->before_offset_ns = m->offset_ns;
		m->before_wall_offset_ns = wall_offset_ns;
		m->before_sigma_ns = m->sigma_ns;
		m->before_epoch = m->epoch;
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
		m->sampled_ns = before_ns;
		return true;
	}
	if (bracket_ns > CLOCK_MAP_BRACKET_NS_MAX)
		return false;
	if (distance(offset_ns, m->wall_offset_ns) >=
	    CLOCK_MAP_STEP_NS_MIN + bracket_ns) {
		adopt(m, offset_ns, sigma_ns);
		m->sampled_ns = before_ns;
		return true;
	}
	m->sampled_ns = before_ns;
	/* A narrower bracket knows better, if it does not turn time back. */
	if (!m->held && sigma_ns < m->sigma_ns && offset_ns >= m->offset_ns) {
		m->offset_ns = offset_ns;
		m->wall_offset_ns = offset_ns;
		m->sigma_ns = sigma_ns;
	}
	return false;
}

static bool is_before(const struct clock_map *m, uint64_t monotonic_ns)
{
	return m->before_until_ns && monotonic_ns <= m->before_until_ns;
}

uint64_t clock_map_ns(const struct clock_map *m, uint64_t monotonic_ns)
{
	return monotonic_ns + (uint64_t)(is_before(m, monotonic_ns) ?
					 m->before_offset_ns : m->offset_ns);
}

uint32_t clock_map_sigma_ns(const struct clock_map *m, uint64_t monotonic_ns)
{
	uint64_t sigma_ns = is_before(m, monotonic_ns) ? m->before_sigma_ns :
							 m->sigma_ns;

	return sigma_ns >= UINT32_MAX ? UINT32_MAX : (uint32_t)sigma_ns;
}

uint32_t clock_map_epoch(const struct clock_map *m, uint64_t monotonic_ns)
{
	return is_before(m, monotonic_ns) ? m->before_epoch : m->epoch;
}

int64_t clock_map_wall_offset_ns(const struct clock_map *m, uint64_t wall_ns)
{
	bool before = is_before(m, wall_ns -
				   (uint64_t)m->before_wall_offset_ns);

	return before ? m->before_wall_offset_ns : m->wall_offset_ns;
}
