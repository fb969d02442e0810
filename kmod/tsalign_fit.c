// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* A stream's samples: which are believed, when an epoch ends, what is shown. */
#include "tsalign_fit.h"

#define TSA_WINDOW_NS		64000000000ull
#define TSA_DRIFT_PPB		5000000u
#define TSA_DRIFT_MAX_PPB	500000000u
#define TSA_WANDER_PPB		1u
#define TSA_WANDER_MAX_PPB	1000000u

/* Host times beyond (73 years) are no times; differences stay within s64. */
#define TSA_NS_MAX		((u64)1 << 61)

/* No counter goes so far at once; maps tell ahead from back by 2^63. */
#define TSA_COUNT_MAX		((u64)1 << 61)

/* So many samples until the map holds. */
#define TSA_COARSE_SAMPLES	8
/* Locked: so many buckets, an eighth of the window. */
#define TSA_LOCKED_BUCKETS	16
#define TSA_LOCKED_PART		8

/* A move under half a millisecond is the delay's rather than the clock's. */
#define TSA_STEP_NS		500000u
/* A late step is one when it has lasted. */
#define TSA_STEP_LASTED_NS	3000000000ull
/* Nothing is early by delay: so many of the last so many make a step. */
#define TSA_EARLY_STEP		4
#define TSA_EARLY_WITHIN	64
/* A counter that runs below the last one: began anew. */
#define TSA_STALE_STEP		4

#define TSA_OUTLIER_LAMBDAS	12
/* The line is solved anew when so much of the window is new, or so old. */
#define TSA_SOLVE_PART		16
#define TSA_SOLVE_NS		1000000000u
#define TSA_HOLDOVER_INTERVALS	8
#define TSA_HOLDOVER_MIN_NS	1000000000ull
#define TSA_SLEW_MAX_NS		4000000000ull
#define TSA_SLEW_PART		16

void tsa_fit_init(struct tsa_fit *fit, const struct tsa_fit_config *config)
{
	struct tsa_fit_config *c = &fit->config;

	memset(fit, 0, sizeof(*fit));
	*c = *config;
	if (!c->window_ns)
		c->window_ns = TSA_WINDOW_NS;
	c->window_ns = tsa_min(c->window_ns, TSA_NS_MAX);
	if (!c->drift_max_ppb)
		c->drift_max_ppb = TSA_DRIFT_PPB;
	if (c->drift_max_ppb > TSA_DRIFT_MAX_PPB)
		c->drift_max_ppb = TSA_DRIFT_MAX_PPB;
	if (!c->wander_ppb)
		c->wander_ppb = TSA_WANDER_PPB;
	if (c->wander_ppb > TSA_WANDER_MAX_PPB)
		c->wander_ppb = TSA_WANDER_MAX_PPB;
	fit->epoch = 1;
	fit->cause = TSALIGN_CAUSE_START;
	fit->state = TSALIGN_WAITING;
}

/* An empty window; the rate is kept, as the best that is known. */
static void tsa_forget(struct tsa_fit *fit)
{
	fit->used = 0;
	fit->bucket_ns = 0;
	fit->state = TSALIGN_WAITING;
	fit->showing = false;
	fit->early = 0;
	fit->stale = 0;
	fit->run = 0;
	fit->lambda_ns = 0;
	fit->doubt_ns = 0;
	fit->surprise_ns = 0;
	fit->lag_ns = 0;
	fit->lag_ppb = 0;
	fit->sigma_ns = 0;
	fit->sigma_ppb = 0;
	fit->span_ns = 0;
}

void tsa_fit_restart(struct tsa_fit *fit, enum tsalign_epoch_cause cause)
{
	tsa_forget(fit);
	fit->started = false;
	fit->epoch++;
	fit->cause = cause;
	fit->samples = 0;
	fit->outliers = 0;
	fit->lost = 0;
}

/* --- the window ---------------------------------------------------------- */

static tsa_hot void tsa_bucket_begin(struct tsa_bucket *b, u64 counter, u64 ns,
				     u32 width_ns)
{
	b->counter = counter;
	b->ns = ns + width_ns;
	b->start_ns = ns;
	b->count = 1;
	b->width_ns = width_ns;
}

/* Only @count buckets from @first on stay. */
static void tsa_keep(struct tsa_fit *fit, u32 first, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		fit->bucket[i] = fit->bucket[first + i];
	fit->used = count;
}

static void tsa_drop(struct tsa_fit *fit, u32 count)
{
	tsa_keep(fit, count, fit->used - count);
}

/* The first one takes the second one's samples. */
static tsa_hot void tsa_join(const struct tsa_fit *fit, struct tsa_bucket *a,
			     const struct tsa_bucket *b)
{
	u32 count = a->count + b->count;
	u64 start_ns = a->start_ns;

	if (tsa_line_late(&fit->line, b->counter, b->ns) <
	    tsa_line_late(&fit->line, a->counter, a->ns))
		*a = *b;
	a->start_ns = start_ns;
	a->count = count < b->count ? U32_MAX : count;
}

static void tsa_make_room(struct tsa_fit *fit)
{
	u64 want = div64_u64(fit->config.window_ns, TSA_FIT_BUCKETS * 3 / 4);
	u32 i;

	if (fit->bucket_ns >= want ||
	    fit->last_ns - fit->bucket[0].start_ns >= fit->config.window_ns) {
		tsa_drop(fit, 1);
		return;
	}
	for (i = 0; i < TSA_FIT_BUCKETS / 2; i++) {
		tsa_join(fit, &fit->bucket[2 * i], &fit->bucket[2 * i + 1]);
		fit->bucket[i] = fit->bucket[2 * i];
	}
	fit->used = TSA_FIT_BUCKETS / 2;
	fit->bucket_ns = tsa_max(2 * fit->bucket_ns,
				 (fit->last_ns - fit->bucket[0].start_ns) /
				 (TSA_FIT_BUCKETS / 2));
	fit->bucket_ns = tsa_min(fit->bucket_ns, want);
}

/*
 * Does a bucket's least say what the line does not know? A sample above all
 * lines that are believed moves none of them; @count that late may be a step.
 */
static tsa_hot bool tsa_tells(const struct tsa_fit *fit, s64 late, u32 count)
{
	return fit->used < TSA_LOCKED_BUCKETS || fit->doubt_ns || fit->run ||
	       late < (s64)tsa_min(fit->sigma_ns, S64_MAX) ||
	       tsa_mul_shr((u64)late, count, 0) >=
		       TSA_OUTLIER_LAMBDAS * fit->lambda_ns;
}

static tsa_hot bool tsa_due(const struct tsa_fit *fit, u64 ns)
{
	return (u64)fit->unsolved * TSA_SOLVE_PART >= fit->total ||
	       ns > fit->solved_ns + TSA_SOLVE_NS;
}

/* Is the line to be solved anew? @late: the sample, against the present one. */
static tsa_hot bool tsa_insert(struct tsa_fit *fit, u64 counter, u64 ns, u32 width_ns,
			       s64 late)
{
	struct tsa_bucket b;
	struct tsa_bucket *last;

	fit->unsolved++;
	tsa_bucket_begin(&b, counter, ns, width_ns);
	if (fit->used) {
		last = &fit->bucket[fit->used - 1];
		if (ns < last->start_ns ||
		    ns - last->start_ns < fit->bucket_ns) {
			u64 was = last->counter;

			tsa_join(fit, last, &b);
			return fit->used < 3 ||
			       (last->counter != was &&
				tsa_tells(fit, late, last->count));
		}
	}
	if (fit->used == TSA_FIT_BUCKETS)
		tsa_make_room(fit);
	while (fit->used > TSA_FIT_BUCKETS_MIN &&
	       ns > fit->bucket[1].start_ns &&
	       ns - fit->bucket[1].start_ns > fit->config.window_ns)
		tsa_drop(fit, 1);
	fit->bucket[fit->used++] = b;
	return tsa_tells(fit, late, 1) || tsa_due(fit, ns);
}

/* A first rate: the nominal one, or that of the first two samples. */
static void tsa_first_rate(struct tsa_fit *fit, u64 counter, u64 ns)
{
	struct tsa_map *line = &fit->line;
	u64 nominal = fit->config.nominal_mhz;
	u64 n = 1000000000000ull;
	u64 d = nominal;

	if (line->mult)
		return;
	if (!d) {
		d = counter - fit->bucket[0].counter;
		n = ns > fit->bucket[0].ns ? ns - fit->bucket[0].ns : 0;
	}
	tsa_line_rate(line, n, d);
	line->base_counter = counter;
	line->base_ns = ns;
	fit->drift_ppb = tsa_line_drift(fit);
}

/* --- what is shown ------------------------------------------------------- */

static tsa_hot void tsa_show(struct tsa_fit *fit)
{
	u64 at = fit->last_counter;
	u64 want = tsa_map_apply(&fit->line, at);
	u64 shown;
	u64 lag;
	u64 slew;
	u64 turn;

	want = want > fit->width_ns ? want - fit->width_ns : 0;
	if (!fit->showing) {
		fit->shown = fit->line;
		fit->shown.base_counter = at;
		fit->shown.base_ns = want;
		fit->showing = true;
		return;
	}
	shown = tsa_map_apply(&fit->shown, at);
	lag = want > shown ? want - shown : shown - want;
	slew = tsa_min(fit->span_ns / TSA_SLEW_PART, TSA_SLEW_MAX_NS);
	slew = tsa_max(slew, 2 * tsa_min(fit->interval_ns, TSA_NS_MAX));
	/* Never by more than half of the rate: time only goes on. */
	slew = tsa_max(slew, tsa_add(lag, lag));
	fit->lag_ns = lag;
	fit->lag_ppb = 0;
	fit->shown = fit->line;
	fit->shown.base_counter = at;
	fit->shown.base_ns = shown;
	if (!slew)
		return;
	/* mult < 2^50 and lag / slew <= 1 / 2. */
	lag = tsa_div_shl(lag, 30, slew);
	fit->lag_ppb = tsa_mul_shr(lag, 1000000000, 30);
	turn = tsa_mul_shr(fit->line.mult, lag, 30);
	fit->shown.mult += want > shown ? turn : -turn;
}

static tsa_hot void tsa_settle(struct tsa_fit *fit)
{
	if (fit->total < TSA_COARSE_SAMPLES)
		return;
	if (fit->state == TSALIGN_WAITING)
		fit->state = TSALIGN_COARSE;
	if (fit->used >= TSA_LOCKED_BUCKETS &&
	    fit->span_ns >= fit->config.window_ns / TSA_LOCKED_PART)
		fit->state = TSALIGN_LOCKED;
	tsa_show(fit);
}

/* --- samples ------------------------------------------------------------- */

/* The bound as of @now_ns, were the line what it seems. */
static tsa_hot u64 tsa_sigma_line(const struct tsa_fit *fit, u64 now_ns)
{
	u64 age = now_ns > fit->last_ns ? now_ns - fit->last_ns : 0;
	u64 ms = div64_u64(age, 1000000);
	u64 sigma = tsa_add(fit->sigma_ns, fit->lag_ns);
	/* By 2^30 for 10^9, and more than the difference on top. */
	u64 drift = tsa_mul_shr(tsa_add(fit->sigma_ppb, fit->lag_ppb), age, 30);

	sigma = tsa_add(sigma, tsa_add(drift, drift / 8));
	/* 2^20 times 2^44; half of what a bend at both ends could be. */
	return tsa_add(sigma, tsa_mul_shr(fit->config.wander_ppb * ms, ms, 20));
}

static tsa_hot u64 tsa_sigma(const struct tsa_fit *fit, u64 now_ns)
{
	u64 surprised = now_ns > fit->surprised_ns ?
				now_ns - fit->surprised_ns : 0;
	u64 sigma = tsa_add(tsa_sigma_line(fit, now_ns), fit->doubt_ns);

	if (surprised < fit->config.window_ns)
		sigma = tsa_add(sigma, fit->surprise_ns);
	return sigma;
}

static tsa_hot u64 tsa_step_least(const struct tsa_fit *fit, u64 sigma)
{
	u64 least = fit->config.step_ns;

	sigma = tsa_min(sigma, TSA_NS_MAX);
	least = least ? tsa_max(least, sigma) : tsa_max(TSA_STEP_NS, 6 * sigma);
	return tsa_min(least, TSA_NS_MAX);
}

/* A counter not after the last one; often enough, it began anew. */
static enum tsa_verdict tsa_stale(struct tsa_fit *fit, u64 counter)
{
	if (!fit->stale || counter > fit->stale_counter)
		fit->stale++;
	else if (counter < fit->stale_counter)
		fit->stale = 1;
	fit->stale_counter = counter;
	return fit->stale < TSA_STALE_STEP ? TSA_STALE : TSA_EPOCH;
}

/* Early beyond the bound: is it the clock that went? */
static enum tsa_verdict tsa_early(struct tsa_fit *fit, s64 early, u64 step)
{
	s64 apart = early - fit->early_ns;
	u64 alike = tsa_add(step, 16 * fit->lambda_ns);

	if (apart < 0)
		apart = -apart;
	if (!fit->early || (u64)apart > alike ||
	    fit->samples + fit->outliers - fit->early_sample >
		    TSA_EARLY_WITHIN) {
		fit->early = 0;
		fit->early_ns = early;
		fit->early_sample = fit->samples + fit->outliers;
	}
	fit->early++;
	if (fit->early >= TSA_EARLY_STEP)
		return TSA_EPOCH;
	fit->outliers++;
	return TSA_OUTLIER;
}

/* What the line says of a sample. */
static tsa_hot enum tsa_verdict tsa_judge(struct tsa_fit *fit, s64 late, u64 ns)
{
	u64 sigma = tsa_sigma_line(fit, ns);
	u64 step = fit->step_ns = tsa_step_least(fit, sigma);
	u64 limit = fit->config.outlier_ns;

	if (late < 0 && (u64)-late > step)
		return tsa_early(fit, -late, step);
	if (late < 0 && (u64)-late > sigma) {
		fit->surprise_ns = (u64)-late;
		fit->surprised_ns = ns;
	}
	if (!limit)
		limit = tsa_add(sigma, TSA_OUTLIER_LAMBDAS * fit->lambda_ns);
	if (late > 0 && (u64)late > limit)
		return TSA_OUTLIER;
	if (late > 0)
		fit->jitter_ns += ((u64)late >> 6);
	fit->jitter_ns -= fit->jitter_ns >> 6;
	return TSA_TAKEN;
}

/* The newest buckets have been late for long: the clock stepped with them. */
static bool tsa_stepped(struct tsa_fit *fit)
{
	const struct tsa_bucket *b;
	u64 count = 0;
	u32 keep = fit->run;
	u32 first;
	u32 i;

	if (!keep)
		return false;
	for (i = fit->used - keep; i < fit->used; i++)
		count += fit->bucket[i].count;
	first = fit->used - keep;
	b = &fit->bucket[first];
	if (count < TSA_STEP_SAMPLES ||
	    fit->last_ns < b->start_ns + TSA_STEP_LASTED_NS)
		return false;
	tsa_fit_restart(fit, TSALIGN_CAUSE_DEVICE_STEP);
	/* They are of the new epoch already. */
	fit->started = true;
	tsa_keep(fit, first, keep);
	fit->samples = count;
	fit->line.base_counter = fit->bucket[keep - 1].counter;
	fit->line.base_ns = fit->bucket[keep - 1].ns;
	if (!tsa_line_solve(fit))
		tsa_settle(fit);
	return true;
}

static enum tsa_verdict tsa_begin(struct tsa_fit *fit, u64 counter, u64 ns,
				  u32 width_ns, enum tsa_verdict verdict)
{
	if (verdict == TSA_EPOCH)
		tsa_fit_restart(fit, TSALIGN_CAUSE_DEVICE_STEP);
	else
		tsa_forget(fit);
	fit->started = true;
	fit->last_counter = counter;
	fit->last_ns = ns;
	fit->samples++;
	fit->line.base_counter = counter;
	fit->line.base_ns = ns + width_ns;
	(void)tsa_insert(fit, counter, ns, width_ns, 0);
	return verdict;
}

static tsa_hot void tsa_count(struct tsa_fit *fit, u64 counter, u64 ns)
{
	u64 gap = counter - fit->last_counter - 1;
	s64 interval = (s64)(ns > fit->last_ns ? ns - fit->last_ns : 0);

	if (fit->config.counter == TSALIGN_COUNT_EVENTS)
		fit->lost = tsa_add(fit->lost, gap);
	fit->interval_ns = (u64)((s64)fit->interval_ns +
				 (interval - (s64)fit->interval_ns) / 8);
	fit->last_counter = counter;
	fit->last_ns = tsa_max(fit->last_ns, ns);
}

tsa_hot enum tsa_verdict tsa_fit_add(struct tsa_fit *fit, u64 counter, u64 ns,
				     u32 width_ns)
{
	enum tsa_verdict verdict = TSA_TAKEN;
	s64 late;

	if (ns >= TSA_NS_MAX)
		return TSA_OUTLIER;
	if (!fit->started)
		return tsa_begin(fit, counter, ns, width_ns, TSA_TAKEN);
	if (counter <= fit->last_counter ||
	    counter - fit->last_counter > TSA_COUNT_MAX) {
		verdict = tsa_stale(fit, counter);
		if (verdict == TSA_EPOCH)
			tsa_begin(fit, counter, ns, width_ns, verdict);
		return verdict;
	}
	fit->stale = 0;
	tsa_first_rate(fit, counter, ns + width_ns);
	/* The first ones were too late to be of use. */
	if (!fit->line.mult)
		return tsa_begin(fit, counter, ns, width_ns, TSA_TAKEN);
	late = tsa_line_late(&fit->line, counter, ns + width_ns);
	if (fit->state != TSALIGN_WAITING)
		verdict = tsa_judge(fit, late, ns);
	if (verdict == TSA_EPOCH)
		return tsa_begin(fit, counter, ns, width_ns, verdict);
	if (verdict == TSA_OUTLIER && late < 0)
		return verdict;
	tsa_count(fit, counter, ns);
	if (verdict == TSA_OUTLIER)
		fit->outliers++;
	else
		fit->samples++;
	if (tsa_insert(fit, counter, ns, width_ns, late)) {
		if (tsa_line_solve(fit) == -ERANGE) {
			fit->line.mult = 0;
			fit->drift_ppb = 0;
			return tsa_begin(fit, counter, ns, width_ns,
					 fit->state == TSALIGN_WAITING ?
					 TSA_TAKEN : TSA_EPOCH);
		}
		if (fit->state != TSALIGN_WAITING && tsa_stepped(fit))
			return TSA_EPOCH;
	}
	tsa_settle(fit);
	return verdict;
}

/* --- the estimate -------------------------------------------------------- */

tsa_hot void tsa_fit_estimate(const struct tsa_fit *fit, u64 now_ns,
			      struct tsa_estimate *ret)
{
	u64 quiet = tsa_max(TSA_HOLDOVER_INTERVALS *
			    tsa_min(fit->interval_ns, TSA_NS_MAX / 8),
			    TSA_HOLDOVER_MIN_NS);

	memset(ret, 0, sizeof(*ret));
	ret->map = fit->showing ? fit->shown : fit->line;
	ret->state = fit->state;
	if (fit->state != TSALIGN_WAITING && now_ns > fit->last_ns &&
	    now_ns - fit->last_ns > quiet)
		ret->state = TSALIGN_HOLDOVER;
	ret->sigma_ns = fit->state == TSALIGN_WAITING ? U64_MAX :
							tsa_sigma(fit, now_ns);
	ret->sigma_ppb = fit->sigma_ppb + fit->lag_ppb;
	ret->drift_ppb = fit->drift_ppb;
	ret->jitter_ns = fit->jitter_ns;
	ret->epoch = fit->epoch;
	ret->samples = fit->samples;
	ret->outliers = fit->outliers;
	ret->lost = fit->lost;
	ret->cause = fit->cause;
}
