// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The line under a window's samples.
 *
 * A sample is late by a delay >= 0 whose density near 0 is 1 / lambda. All
 * lines under all samples are possible; one that passes d under the lower
 * hull at the samples' centroid is exp(-n * d / lambda) as likely as one that
 * touches it. The mean of d over all of them is about 2 * lambda / n, and at
 * that height every slope that stays under the hull is as likely as another:
 * the line is the middle one of them. The likeliest line, the hull's edge at
 * the centroid, would be late by that d on average. The error bound is where
 * lines at TSA_BOUND * lambda / n can still go.
 *
 * Coordinates are relative to the present line at the newest sample, which
 * makes them small: x < 2^TSA_X_BITS in units of 2^k ns, |r| <= 2^30 ns.
 */
#include "tsalign_fit.h"

#define TSA_X_BITS	29
#define TSA_R_MAX	((s64)1 << 30)
/* A line this far below the likeliest one, in lambda / n, is not believed. */
#define TSA_BOUND	6
/* Nothing is known better than this: the host's own clock reading. */
#define TSA_SIGMA_MIN_NS	50
/* Half windows under 2^31 ns, 2 s, are short. */
#define TSA_PRIOR_BITS	31
/* No time or distance beyond: sums of two stay within s64. */
#define TSA_FAR		((s64)1 << 61)
/* Likelihood of a late run by chance: e^-12 to be told, e^-40 to be a step. */
#define TSA_RUN_DOUBT	12
#define TSA_RUN_STEP	40

struct tsa_solution {
	u32 x_shift;
	u32 x_now;	/* of the newest sample */
	u32 x_mid;	/* of the centroid */
	s64 r_mid;	/* of the hull there */
	u32 corners;
	s64 now;	/* the line at x_now */
	s64 mid;	/* and at x_mid */
	s64 slope;	/* in 2^-30 per unit of x */
};

tsa_hot s64 tsa_line_late(const struct tsa_map *line, u64 counter, u64 ns)
{
	u64 on_time = tsa_map_apply(line, counter);

	on_time = tsa_min(on_time, (u64)TSA_FAR);
	return (s64)(tsa_min(ns, (u64)TSA_FAR) - on_time);
}

/* The most bits of n / d that stay below 2^47; 0 for none. */
void tsa_line_rate(struct tsa_map *line, u64 n, u64 d)
{
	line->shift = 63;
	line->mult = n && d ? tsa_div_shl(n, line->shift, d) : 0;
	while (line->mult >> 47 && line->shift) {
		line->shift--;
		line->mult = tsa_div_shl(n, line->shift, d);
	}
}

s64 tsa_line_drift(const struct tsa_fit *fit)
{
	const struct tsa_map *line = &fit->line;
	u64 nominal;
	u64 apart;

	if (!fit->config.nominal_mhz || !line->mult)
		return 0;
	nominal = tsa_div_shl(1000000000000ull, line->shift,
			      fit->config.nominal_mhz);
	apart = nominal > line->mult ? nominal - line->mult :
				       line->mult - nominal;
	apart = tsa_div_shl(apart, 40, line->mult);
	apart = tsa_min(tsa_mul_shr(apart, 1000000000, 40), S64_MAX);
	return nominal > line->mult ? (s64)apart : -(s64)apart;
}

/* Buckets into x and r. */
static void tsa_project(struct tsa_fit *fit, struct tsa_solution *s)
{
	const struct tsa_map *line = &fit->line;
	u64 span = tsa_mul_shr(fit->last_counter - fit->bucket[0].counter,
			       line->mult, line->shift);
	u64 weight = 0;
	u64 sum = 0;
	u32 i;

	span = tsa_min(span, (u64)TSA_FAR);
	fit->span_ns = span;
	s->x_shift = fls64(span) > TSA_X_BITS ? fls64(span) - TSA_X_BITS : 0;
	s->x_now = (u32)(span >> s->x_shift);
	for (i = 0; i < fit->used; i++) {
		const struct tsa_bucket *b = &fit->bucket[i];
		u64 back = tsa_mul_shr(fit->last_counter - b->counter,
				       line->mult, line->shift);
		s64 late = tsa_line_late(line, b->counter, b->ns);
		/* Weights < 2^24, x < 2^29, 2^7 buckets: the sum < 2^60. */
		u64 count = tsa_min(b->count, (1u << 24) - 1);

		back = tsa_min(back, span);
		fit->x[i] = (u32)((span - back) >> s->x_shift);
		fit->r[i] = (s32)tsa_clamp(late, TSA_R_MAX);
		sum += fit->x[i] * count;
		weight += count;
	}
	fit->total = weight;
	s->x_mid = (u32)div64_u64(sum, weight);
}

/* Is bucket b above the line from a to c, or on it? */
static bool tsa_above(const struct tsa_fit *fit, u32 a, u32 b, u32 c)
{
	/* Products of 2^29 and 2^31. */
	s64 left = ((s64)fit->r[b] - fit->r[a]) *
		   ((s64)fit->x[c] - fit->x[a]);
	s64 right = ((s64)fit->r[c] - fit->r[a]) *
		    ((s64)fit->x[b] - fit->x[a]);

	return left >= right;
}

/* The lower hull's corners, left to right. */
static void tsa_hull(struct tsa_fit *fit, struct tsa_solution *s)
{
	u8 *hull = fit->hull;
	u32 n = 0;
	u32 i;

	for (i = 0; i < fit->used; i++) {
		if (n && fit->x[i] <= fit->x[hull[n - 1]]) {
			/* Of one place by rounding: the lower one. */
			if (fit->r[i] >= fit->r[hull[n - 1]])
				continue;
			n--;
		}
		while (n >= 2 && tsa_above(fit, hull[n - 2], hull[n - 1], i))
			n--;
		hull[n++] = (u8)i;
	}
	s->corners = n;
}

/* The hull's height at the centroid. */
static bool tsa_height(const struct tsa_fit *fit, struct tsa_solution *s)
{
	u32 i;

	for (i = 1; i < s->corners; i++) {
		u32 a = fit->hull[i - 1];
		u32 b = fit->hull[i];

		if (fit->x[b] < s->x_mid)
			continue;
		s->r_mid = fit->r[a] +
			   div64_s64(((s64)fit->r[b] - fit->r[a]) *
				     ((s64)s->x_mid - fit->x[a]),
				     (s64)fit->x[b] - fit->x[a]);
		return true;
	}
	return false;
}

/* Rounding must not put it above the hull. */
static s64 tsa_below(const struct tsa_solution *s, u64 down)
{
	return s->r_mid - 1 - (s64)tsa_min(down, (u64)TSA_R_MAX);
}

/*
 * The lines through @down below the hull at the centroid which stay under the
 * hull: where they are at the newest sample.
 */
static bool tsa_band(const struct tsa_fit *fit, const struct tsa_solution *s,
		     u64 down, s64 *ret_low, s64 *ret_high)
{
	s64 mid = tsa_below(s, down);
	s64 ahead = (s64)s->x_now - s->x_mid;
	s64 high = TSA_FAR;
	s64 low = -TSA_FAR;
	u32 i;

	for (i = 0; i < s->corners; i++) {
		s64 dx = (s64)fit->x[fit->hull[i]] - s->x_mid;
		s64 dr = fit->r[fit->hull[i]] - mid;
		s64 at;

		if (!dx)
			continue;
		/* |dr| <= 2^31 + 2^30, ahead < 2^29. */
		at = mid + div64_s64(dr * ahead, dx);
		if (dx > 0 && at < high)
			high = at;
		if (dx < 0 && at > low)
			low = at;
	}
	*ret_low = low;
	*ret_high = high;
	return low > -TSA_FAR && high < TSA_FAR && ahead > 0;
}

/* While the window is short, the nominal rate says more than the samples. */
static void tsa_prior(const struct tsa_fit *fit, const struct tsa_solution *s,
		      s64 mid, s64 *low, s64 *high)
{
	s64 ahead = (s64)(s->x_now - s->x_mid) << s->x_shift;
	s64 drift;
	s64 most = fit->config.drift_max_ppb;
	s64 at;

	if (!fit->config.nominal_mhz || ahead >> TSA_PRIOR_BITS)
		return;
	/* 2^31 times 2^31. */
	drift = tsa_clamp(tsa_line_drift(fit), 1000000000);
	at = mid + div64_s64((drift - most) * ahead, 1000000000);
	most = mid + div64_s64((drift + most) * ahead, 1000000000);
	/* Samples that contradict it are right. */
	if (at > *high || most < *low)
		return;
	if (at > *low)
		*low = at;
	if (most < *high)
		*high = most;
}

static bool tsa_choose(const struct tsa_fit *fit, struct tsa_solution *s)
{
	u64 down = div64_u64(2 * fit->lambda_ns, fit->total);
	s64 low;
	s64 high;

	if (!tsa_band(fit, s, down, &low, &high))
		return false;
	s->mid = tsa_below(s, down);
	tsa_prior(fit, s, s->mid, &low, &high);
	/* Differences within 2^32 + 1, products below 2^63. */
	s->now = tsa_clamp(low + (high - low) / 2, (s64)1 << 31);
	s->slope = div64_s64((s->now - s->mid) * ((s64)1 << 30),
			     (s64)s->x_now - s->x_mid);
	return true;
}

/* r becomes the lateness against the solution. */
static void tsa_residuals(struct tsa_fit *fit, const struct tsa_solution *s)
{
	/* No rate is off by more than 2^3; 2^33 times 2^29. */
	s64 slope = tsa_clamp(s->slope, (s64)1 << 33);
	u32 i;

	for (i = 0; i < fit->used; i++) {
		s64 at = s->mid + (slope * ((s64)fit->x[i] - s->x_mid) >> 30);

		fit->r[i] = (s32)tsa_clamp(fit->r[i] - at, TSA_R_MAX);
	}
}

/* Puts v[k] where sorting would. */
static void tsa_select(u64 *v, u32 n, u32 k)
{
	u32 first = 0;
	u32 last = n - 1;

	while (first < last) {
		u64 pivot = v[first + (last - first) / 2];
		u32 i = first;
		u32 j = last;

		/* Each end stops at the pivot at the latest. */
		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j) {
				u64 swap = v[i];

				v[i++] = v[j];
				v[j] = swap;
				if (!j)
					break;
				j--;
			}
		}
		if (k <= j && j < last)
			last = j;
		else if (k >= i)
			first = i;
		else
			return;
	}
}

/*
 * The least of m delays is lambda / m on average, whatever the delays are
 * further up: the median of all buckets, which a few bursts do not move.
 */
static void tsa_lambda(struct tsa_fit *fit)
{
	u32 n = fit->used;
	u32 mid = n / 2 + 1 < n ? n / 2 + 1 : n - 1;
	u32 i;

	for (i = 0; i < n; i++) {
		/* 2^30 times 2^24. */
		fit->late[i] = fit->r[i] > 0 ? (u64)fit->r[i] *
			tsa_min(fit->bucket[i].count, (1u << 24) - 1) : 0;
	}
	tsa_select(fit->late, n, mid);
	/* / ln 2; two of them are 0, being what the line was laid on. */
	fit->lambda_ns = tsa_min(fit->late[mid], (u64)1 << 40) * 1477 / 1024;
}

/*
 * Newest buckets none of which came near the line: doubt, or a step. A step
 * has one height: a bucket below what enough later samples say is not of it.
 */
static void tsa_runs(struct tsa_fit *fit)
{
	s64 apart = (s64)(fit->step_ns + 2 * fit->lambda_ns);
	s64 least = TSA_FAR;
	u64 count = 0;
	u32 i;

	fit->doubt_ns = 0;
	fit->run = 0;
	for (i = fit->used; i-- > fit->used / 4;) {
		s64 late = fit->r[i];
		u64 score;

		if (count >= TSA_STEP_SAMPLES && late < least - apart)
			break;
		if (late < least)
			least = late;
		if (least <= 0)
			break;
		count += tsa_min(fit->bucket[i].count, (1u << 24) - 1);
		score = tsa_mul_shr((u64)least, count, 0);
		if (score >= TSA_RUN_DOUBT * fit->lambda_ns)
			fit->doubt_ns = tsa_max(fit->doubt_ns, (u64)least);
		if (score >= TSA_RUN_STEP * fit->lambda_ns &&
		    (u64)least >= fit->step_ns)
			fit->run = fit->used - i;
	}
}

/* How wrong the line may be at the newest sample, and per second after it. */
static void tsa_bound(struct tsa_fit *fit, const struct tsa_solution *s)
{
	/* A few delays say little of their mean. */
	u64 lambda = fit->lambda_ns + div64_u64(fit->lambda_ns * 8, fit->used);
	u64 ahead = (u64)(s->x_now - s->x_mid) << s->x_shift;
	u64 ms = div64_u64(fit->span_ns, 1000000);
	/* 2^20 (tsa_fit_init) times 2^41. */
	u64 bend = fit->config.wander_ppb * ms;
	u64 down = div64_u64(TSA_BOUND * lambda, fit->total);
	s64 low;
	s64 high;
	u64 wide;

	if (!tsa_band(fit, s, down, &low, &high))
		return;
	tsa_prior(fit, s, tsa_below(s, down), &low, &high);
	low = s->now - low;
	high -= s->now;
	if (high < low)
		high = low;
	wide = high > 0 ? (u64)tsa_clamp(high, (s64)1 << 33) : 0;
	/* (2^33 * 10^9) < 2^63; a rate that turns bends by w * t^2 / 8. */
	fit->sigma_ppb = div64_u64(wide * 1000000000, tsa_max(ahead, 1)) +
			 div64_u64(bend, 2000) + 1;
	fit->sigma_ns = wide + div64_u64(tsa_mul_shr(bend, ms, 0), 4000000) +
			TSA_SIGMA_MIN_NS;
}

/* mult near 2^47: 2^-47 of an hour is 0.03 ns. */
static void tsa_normalise(struct tsa_map *line)
{
	while (line->mult >> 50 && line->shift) {
		line->mult >>= 1;
		line->shift--;
	}
	while (!(line->mult >> 45) && line->shift < 63) {
		line->mult <<= 1;
		line->shift++;
	}
}

/* Puts the solution into the line, based at the newest sample. */
static bool tsa_adopt(struct tsa_fit *fit, const struct tsa_solution *s)
{
	struct tsa_map *line = &fit->line;
	u64 base = tsa_map_apply(line, fit->last_counter);
	u64 turn = tsa_mul_shr(line->mult, (u64)(s->slope < 0 ? -s->slope :
						 s->slope), 30 + s->x_shift);

	if (s->slope < 0 ? turn >= line->mult :
	    turn > U64_MAX / 2 || line->mult + turn > U64_MAX / 2)
		return false;
	base = tsa_min(base, (u64)TSA_FAR);
	if (s->now < 0 && base < (u64)-s->now)
		return false;
	line->base_counter = fit->last_counter;
	line->base_ns = base + (u64)s->now;
	line->mult = s->slope < 0 ? line->mult - turn : line->mult + turn;
	tsa_normalise(line);
	return true;
}

static void tsa_width(struct tsa_fit *fit)
{
	u32 i;

	fit->width_ns = U32_MAX;
	for (i = 0; i < fit->used; i++)
		fit->width_ns = tsa_min(fit->width_ns, fit->bucket[i].width_ns);
}

int tsa_line_solve(struct tsa_fit *fit)
{
	struct tsa_solution s = { 0 };

	/* Else it may be of more buckets than there are by now. */
	fit->run = 0;
	fit->unsolved = 0;
	fit->solved_ns = fit->last_ns;
	tsa_project(fit, &s);
	tsa_hull(fit, &s);
	if (!tsa_height(fit, &s) || !tsa_choose(fit, &s))
		return -EAGAIN;
	tsa_residuals(fit, &s);
	tsa_lambda(fit);
	tsa_runs(fit);
	tsa_bound(fit, &s);
	tsa_width(fit);
	if (!tsa_adopt(fit, &s))
		return -ERANGE;
	fit->drift_ppb = tsa_line_drift(fit);
	return 0;
}
