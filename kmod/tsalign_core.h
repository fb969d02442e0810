/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decisions of tsalign: pure functions of their arguments, no locks, no
 * clocks, no allocation, no floating point. The same file is compiled into the
 * module, its KUnit suite, libcapture (for hosts without the module) and the
 * unit tests of user space; tsalign_port.h has the few kernel words it needs.
 *
 * Threads: none; the caller serialises calls on one object.
 */
#ifndef TSALIGN_CORE_H
#define TSALIGN_CORE_H

#include "tsalign_port.h"

#include <linux/tsalign.h>

/* A linear map of a counter to nanoseconds. */
struct tsa_map {
	u64 base_counter;
	u64 base_ns;
	u64 mult;
	u32 shift;
};

/* base_ns + (counter - base_counter) * mult >> shift; saturates at 0, ~0. */
u64 tsa_map_apply(const struct tsa_map *map, u64 counter);

/* The counter at which @map gives @ns, the nearest; 0 or ~0 beyond. */
u64 tsa_map_invert(const struct tsa_map *map, u64 ns);

/* counter -> a's ns, which is b's counter -> b's ns, around @counter. */
int tsa_map_compose(const struct tsa_map *a, const struct tsa_map *b,
		    u64 counter, struct tsa_map *ret);

/* Extends a counter of @bits to 64; a step back beyond half a turn is one. */
struct tsa_unwrap {
	u64 last;
	u32 bits;
	bool started;
};

void tsa_unwrap_init(struct tsa_unwrap *u, u32 bits);
u64 tsa_unwrap(struct tsa_unwrap *u, u64 raw);

/*
 * One stream's fit. Samples are late by a delay that is never negative and
 * often near its least (interrupts, queues): the fit is the highest line under
 * the window's samples, the likeliest one for such a delay, kept as the lower
 * convex hull of the window's earliest samples.
 */
struct tsa_fit_config {
	u64 nominal_mhz;	/* 0: learnt */
	u64 window_ns;		/* 0: the default */
	u64 outlier_ns;		/* least lateness that is one; 0: learnt */
	u64 step_ns;		/* least jump that may be a step; 0: learnt */
	u32 drift_max_ppb;	/* of nominal; 0: the default */
	u32 wander_ppb;		/* how fast the rate itself changes, per s; 0: 1 */
	enum tsalign_counter counter;	/* lost counts gaps of events only */
};

enum tsa_verdict {
	TSA_TAKEN,
	TSA_OUTLIER,		/* late beyond belief, or not yet believed */
	TSA_EPOCH,		/* a step: the fit began anew with it */
	TSA_STALE,		/* counter not after the last one's: ignored */
};

struct tsa_fit;			/* defined below: sized for embedding */

void tsa_fit_init(struct tsa_fit *fit, const struct tsa_fit_config *config);

/* A sample: @counter unwrapped, @ns host time. @width_ns as submit.error_ns. */
enum tsa_verdict tsa_fit_add(struct tsa_fit *fit, u64 counter, u64 ns,
			     u32 width_ns);

/* A step that the caller knows of (clock set, suspend, replug). */
void tsa_fit_restart(struct tsa_fit *fit, enum tsalign_epoch_cause cause);

struct tsa_estimate {
	struct tsa_map map;
	enum tsalign_state state;
	u64 sigma_ns, sigma_ppb;
	s64 drift_ppb;
	u64 jitter_ns;
	u64 epoch, samples, outliers, lost;
	enum tsalign_epoch_cause cause;	/* of the epoch */
};

/* As of host time @now_ns. */
void tsa_fit_estimate(const struct tsa_fit *fit, u64 now_ns,
		      struct tsa_estimate *ret);

/*
 * @ns of the newest map never goes back within an epoch for a later counter,
 * though the line was fitted anew: the published line is slewed onto the new
 * one. tsa_fit_estimate() gives the published line.
 */

/*
 * Where a rule's point lies against the samples' moment, ns to add (negative:
 * before). -EINVAL: the rule contradicts itself; @ret_why names the field.
 */
int tsa_rule_offset(const struct tsalign_rule *rule, s64 *ret_ns,
		    const char **ret_why);

/*
 * Buffers against the strobe edges that began their exposures: which edge is
 * a buffer's, and whether the two counts have slipped against each other.
 */
#define TSA_PAIR_EDGES	64

struct tsa_pairing {
	u64 edge_ns[TSA_PAIR_EDGES];
	u64 edges;		/* ever */
	s64 offset;		/* edge number - buffer sequence, once known */
	s64 candidate;
	u32 agreed;
	bool known;
	u64 slips;
	u64 lag_ns;		/* least of late, buffer after edge */
	s64 doubt;		/* edges that lags say the counts slipped by */
	u32 doubts;		/* in a row */
};

void tsa_pairing_init(struct tsa_pairing *p);
void tsa_pairing_edge(struct tsa_pairing *p, u64 edge_ns);

/* 0 and the edge's time, -EAGAIN: not known (yet), -ESTALE: slipped just now. */
int tsa_pairing_buffer(struct tsa_pairing *p, u64 sequence, u64 arrival_ns,
		       u64 period_ns, u64 *ret_edge_ns);

/*
 * Burst: @pairs of a FIFO of which only the last one's host_ns is real; the
 * others get theirs by the fit's rate, else by nominal. -EINVAL: no rate.
 */
int tsa_backdate(const struct tsa_fit *fit, struct tsalign_pair *pairs,
		 u32 count);

/*
 * A trigger output. ref = k / rate + phase (- exposure / 2 when centred).
 * tsa_trigger_next(): the first firing after reference time @ref_ns.
 * tsa_trigger_check(): -EINVAL with the field's name in @ret_why.
 */
int tsa_trigger_check(const struct tsalign_trigger *t, const char **ret_why);
u64 tsa_trigger_next(const struct tsalign_trigger *t, u64 ref_ns, u64 *ret_k);

#include "tsalign_fit.h"	/* struct tsa_fit: for embedding only */

#endif /* TSALIGN_CORE_H */
