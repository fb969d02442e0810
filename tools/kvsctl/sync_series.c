/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sync_series.h"

#include "base/macros.h"

void sync_series_init(struct sync_series *s)
{
	*s = (struct sync_series){.length_ns = CTL_SYNC_POINT_NS};
}

static void merge(struct sync_point *to, const struct sync_point *from)
{
	to->count += from->count;
	to->offset_sum_ns += from->offset_sum_ns;
	to->offset_min_ns = MIN(to->offset_min_ns, from->offset_min_ns);
	to->offset_max_ns = MAX(to->offset_max_ns, from->offset_max_ns);
	to->jitter_ns = from->jitter_ns;
	to->drift_ppb = from->drift_ppb;
}

/* Points twice as long; an epoch's first one is kept to itself. */
static void halve(struct sync_series *s)
{
	size_t kept = 0;
	size_t i;

	s->length_ns *= 2;
	for (i = 0; i < s->count; i++) {
		struct sync_point *last = kept ? &s->points[kept - 1] : NULL;

		if (last && last->epoch == s->points[i].epoch &&
		    s->points[i].begin_ns - last->begin_ns < s->length_ns)
			merge(last, &s->points[i]);
		else
			s->points[kept++] = s->points[i];
	}
	s->count = kept;
}

void sync_series_add(struct sync_series *s, const struct sync_sample *sample)
{
	struct sync_point *last = s->count ? &s->points[s->count - 1] : NULL;
	const struct sync_point point = {
		.begin_ns = sample->at_ns,
		.count = 1,
		.offset_sum_ns = sample->offset_ns,
		.offset_min_ns = sample->offset_ns,
		.offset_max_ns = sample->offset_ns,
		.jitter_ns = sample->jitter_ns,
		.drift_ppb = sample->drift_ppb,
		.epoch = sample->epoch,
	};

	if (!s->samples || sample->offset_ns < s->offset_min_ns)
		s->offset_min_ns = sample->offset_ns;
	if (!s->samples || sample->offset_ns > s->offset_max_ns)
		s->offset_max_ns = sample->offset_ns;
	s->offset_sum_ns += (double)sample->offset_ns;
	s->samples++;
	if (last && last->epoch == sample->epoch &&
	    sample->at_ns - last->begin_ns < s->length_ns) {
		merge(last, &point);
		return;
	}
	if (s->count == CTL_SYNC_POINTS)
		halve(s);
	/* All of them epochs of one sample: the rest is not drawn. */
	if (s->count < CTL_SYNC_POINTS)
		s->points[s->count++] = point;
}

int64_t sync_series_mean_ns(const struct sync_series *s)
{
	return s->samples ? (int64_t)(s->offset_sum_ns / (double)s->samples)
			  : 0;
}

int64_t sync_point_mean_ns(const struct sync_point *p)
{
	return p->count ? p->offset_sum_ns / (int64_t)p->count : 0;
}
