/* SPDX-License-Identifier: Apache-2.0 */
#include "core/disk_forecast.h"

#include "base/macros.h"

static const uint64_t bounds[] = {24 * 60, 6 * 60, 60}; /* minutes */

static unsigned int level_of(uint64_t minutes)
{
	unsigned int level = 0;

	while (level < ARRAY_SIZE(bounds) && minutes <= bounds[level])
		level++;
	return level;
}

bool disk_forecast_add(struct disk_forecast *f, uint64_t used, uint64_t room,
		       uint64_t *ret_minutes)
{
	const uint64_t slots = ARRAY_SIZE(f->used);
	uint64_t span = MIN(f->count, (uint64_t)DISK_FORECAST_MINUTES);
	uint64_t minutes = UINT64_MAX;
	unsigned int level;
	uint64_t then;

	f->used[f->count % slots] = used;
	then = f->used[(f->count - span) % slots];
	f->count++;
	if (span < DISK_FORECAST_MINUTES_MIN)
		return false;
	/* Rounded down: a rate under a byte a minute is none. */
	if (used > then && (used - then) / span)
		minutes = room / ((used - then) / span);
	level = level_of(minutes);
	if (level > f->level) {
		f->level = level;
		*ret_minutes = minutes;
		return true;
	}
	f->level = MIN(f->level, level_of(minutes / 2));
	return false;
}
