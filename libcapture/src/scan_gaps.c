/* SPDX-License-Identifier: Apache-2.0 */
#include "src/scan_gaps.h"

#include "base/macros.h"

#define NS_PER_S UINT64_C(1000000000)

void scan_gaps_init(struct scan_gaps *g, uint32_t rate, uint32_t frame_scans)
{
	*g = (struct scan_gaps){
		.scan_ns = rate ? NS_PER_S / rate : 0,
		.frame_scans = frame_scans,
	};
}

/* How many scans two that are @ns apart are from each other. */
static uint64_t steps_in(const struct scan_gaps *g, uint64_t ns)
{
	return ns / g->scan_ns + (ns % g->scan_ns >= (g->scan_ns + 1) / 2);
}

void scan_gaps_put(struct scan_gaps *g, uint64_t ns)
{
	uint64_t steps;

	if (!g->scan_ns || !ns)
		return;
	if (!g->last_ns) {
		g->from_ns = ns;
		g->last_ns = ns;
		return;
	}
	g->steps++;
	if (ns <= g->last_ns)
		return;
	steps = steps_in(g, ns - g->last_ns);
	g->in_gaps += steps ? steps - 1 : 0;
	g->last_ns = ns;
}

uint64_t scan_gaps_end_frame(struct scan_gaps *g, int64_t *ret_scans)
{
	uint64_t steps;
	uint64_t frames;

	*ret_scans = 0;
	if (!g->scan_ns || !g->frame_scans)
		return 0;
	steps = steps_in(g, g->last_ns - g->from_ns);
	if (steps >= g->steps) {
		g->newly = MIN(g->in_gaps, steps - g->steps);
		*ret_scans = (int64_t)g->newly;
		g->missing += g->newly;
	} else {
		uint64_t back =
			MIN(g->steps - steps, MIN(g->newly, g->missing));

		g->newly = 0;
		*ret_scans = -(int64_t)back;
		g->missing -= back;
	}
	g->from_ns = g->last_ns;
	g->steps = 0;
	g->in_gaps = 0;
	frames = g->missing / g->frame_scans;
	g->missing %= g->frame_scans;
	return frames;
}
