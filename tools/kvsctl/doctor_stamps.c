/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/doctor_stamps.h"

#include <stdlib.h>
#include <string.h>

/* The kernel gives whole microseconds: a stamp may seem that much older. */
#define ROUNDING_NS 1000

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a;
	const int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The value that @percent of @count sorted values do not exceed. */
static int64_t percentile(const int64_t *sorted, size_t count, size_t percent)
{
	size_t at = (count * percent + 99) / 100;

	return sorted[at ? at - 1 : 0];
}

/* How far @clock is ahead of CLOCK_MONOTONIC. */
static int64_t offset_of(enum capture_clock clock,
			 const struct stamp_offsets *offsets)
{
	if (clock == CAPTURE_CLOCK_REALTIME)
		return offsets->realtime_ns;
	if (clock == CAPTURE_CLOCK_BOOTTIME)
		return offsets->boottime_ns;
	return 0;
}

static int64_t lag_of(const struct stamp_sample *s, int64_t offset)
{
	return (int64_t)(s->dequeue_ns + (uint64_t)offset - s->stamp_ns);
}

/* No stamp is in the future of @clock, and none is from long ago. */
static bool fits(const struct stamp_sample *samples, size_t count,
		 enum capture_clock clock, const struct stamp_offsets *offsets)
{
	int64_t offset = offset_of(clock, offsets);
	size_t i;

	for (i = 0; i < count; i++) {
		int64_t lag = lag_of(&samples[i], offset);

		if (lag < -ROUNDING_NS || lag > STAMPS_LAG_NS_MAX)
			return false;
	}
	return true;
}

static enum capture_clock find_clock(const struct stamp_sample *samples,
				     size_t count, enum capture_clock declared,
				     const struct stamp_offsets *offsets)
{
	static const enum capture_clock clocks[] = {
		CAPTURE_CLOCK_MONOTONIC,
		CAPTURE_CLOCK_BOOTTIME,
		CAPTURE_CLOCK_REALTIME,
	};
	size_t i;

	/* What is declared first: two clocks may show the same. */
	if (declared != CAPTURE_CLOCK_UNKNOWN &&
	    declared != CAPTURE_CLOCK_COPY &&
	    fits(samples, count, declared, offsets))
		return declared;
	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		if (fits(samples, count, clocks[i], offsets))
			return clocks[i];
	}
	return CAPTURE_CLOCK_UNKNOWN;
}

static enum stamp_verdict judge_clock(enum capture_clock declared,
				      enum capture_clock found)
{
	if (declared == CAPTURE_CLOCK_UNKNOWN || declared == CAPTURE_CLOCK_COPY)
		return STAMP_NOT_KNOWN;
	return declared == found ? STAMP_AGREES : STAMP_CONTRADICTS;
}

/*
 * A frame is delivered after its end. So a stamp of the end is young and one
 * of the start, or of the first of a frame's samples, is at least about a
 * frame time old, unless the exposure and the readout are short. A long way to
 * us (USB, an ISP) makes both older: then nothing is known.
 */
static enum stamp_verdict judge_point(const struct stamps *s,
				      enum capture_point declared)
{
	bool young;

	if (!s->interval_ns || s->clock == CAPTURE_CLOCK_UNKNOWN)
		return STAMP_NOT_KNOWN;
	young = (uint64_t)s->lag_median_ns < s->interval_ns / 4;
	switch (declared) {
	case CAPTURE_POINT_END_OF_FRAME:
		return young ? STAMP_AGREES : STAMP_NOT_KNOWN;
	case CAPTURE_POINT_START_OF_EXPOSURE:
	case CAPTURE_POINT_FIRST_SAMPLE:
		return young ? STAMP_DOUBTFUL : STAMP_AGREES;
	case CAPTURE_POINT_ARRIVAL:
		break;
	}
	return STAMP_NOT_KNOWN;
}

static void measure_lag(const struct stamp_sample *samples, size_t count,
			int64_t offset, int64_t *sorted, struct stamps *ret)
{
	size_t i;

	for (i = 0; i < count; i++)
		sorted[i] = lag_of(&samples[i], offset);
	for (i = 1; i < count; i++)
		ret->between += sorted[i] >= -ROUNDING_NS &&
				samples[i].dequeue_ns - (uint64_t)sorted[i] >
					samples[i - 1].dequeue_ns;
	qsort(sorted, count, sizeof(*sorted), compare);
	ret->lag_min_ns = sorted[0];
	ret->lag_median_ns = percentile(sorted, count, 50);
	ret->lag_max_ns = sorted[count - 1];
}

static void measure_sequence(const struct stamp_sample *samples, size_t count,
			     struct stamps *ret)
{
	size_t i;

	ret->increasing = true;
	for (i = 1; i < count; i++) {
		int32_t step = (int32_t)(samples[i].sequence -
					 samples[i - 1].sequence);

		if (step <= 0)
			ret->repeated++;
		else
			ret->lost += (uint64_t)step - 1;
		ret->increasing &= samples[i].stamp_ns >
				   samples[i - 1].stamp_ns;
	}
}

static void measure_rate(const struct stamp_sample *samples, size_t count,
			 int64_t *sorted, struct stamps *ret)
{
	uint64_t steps = count - 1 + ret->lost;
	uint64_t span = samples[count - 1].stamp_ns - samples[0].stamp_ns;
	size_t n = 0;
	size_t i;

	if (!ret->increasing || ret->repeated)
		return;
	ret->interval_ns = span / steps;
	for (i = 1; i < count; i++) {
		int64_t step = (int64_t)(samples[i].stamp_ns -
					 samples[i - 1].stamp_ns);

		if (samples[i].sequence - samples[i - 1].sequence != 1)
			continue;
		sorted[n++] = llabs(step - (int64_t)ret->interval_ns);
	}
	if (!n)
		return;
	qsort(sorted, n, sizeof(*sorted), compare);
	ret->jitter_p50_ns = (uint64_t)percentile(sorted, n, 50);
	ret->jitter_p99_ns = (uint64_t)percentile(sorted, n, 99);
}

void stamps_analyse(const struct stamp_sample *samples, size_t count,
		    enum capture_clock clock, enum capture_point point,
		    const struct stamp_offsets *offsets, struct stamps *ret)
{
	static int64_t sorted[STAMPS_FRAMES_MAX];

	count = MIN(count, (size_t)STAMPS_FRAMES_MAX);
	memset(ret, 0, sizeof(*ret));
	ret->frames = count;
	if (count < STAMPS_FRAMES_MIN)
		return;
	ret->clock = find_clock(samples, count, clock, offsets);
	ret->clock_verdict = judge_clock(clock, ret->clock);
	measure_lag(samples, count, offset_of(ret->clock, offsets), sorted,
		    ret);
	measure_sequence(samples, count, ret);
	measure_rate(samples, count, sorted, ret);
	ret->point_verdict = judge_point(ret, point);
}

const char *stamp_verdict_name(enum stamp_verdict verdict)
{
	switch (verdict) {
	case STAMP_AGREES:
		return "agrees";
	case STAMP_DOUBTFUL:
		return "doubtful";
	case STAMP_CONTRADICTS:
		return "contradicts";
	case STAMP_NOT_KNOWN:
		break;
	}
	return "not known";
}

const char *stamp_clock_name(enum capture_clock clock)
{
	switch (clock) {
	case CAPTURE_CLOCK_MONOTONIC:
		return "monotonic";
	case CAPTURE_CLOCK_COPY:
		return "copied";
	case CAPTURE_CLOCK_REALTIME:
		return "realtime";
	case CAPTURE_CLOCK_BOOTTIME:
		return "boottime";
	case CAPTURE_CLOCK_UNKNOWN:
		break;
	}
	return "not known";
}

const char *stamp_point_name(enum capture_point point)
{
	switch (point) {
	case CAPTURE_POINT_END_OF_FRAME:
		return "end of frame";
	case CAPTURE_POINT_START_OF_EXPOSURE:
		return "start of exposure";
	case CAPTURE_POINT_FIRST_SAMPLE:
		return "first sample";
	case CAPTURE_POINT_ARRIVAL:
		return "arrival";
	}
	return "not known";
}
