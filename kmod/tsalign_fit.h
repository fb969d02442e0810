/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One stream's fit: what tsalign_fit.c and tsalign_line.c keep of it. */
#ifndef TSALIGN_FIT_H
#define TSALIGN_FIT_H

#include "tsalign_core.h"

/*
 * A window is up to so many buckets of equal length, each with its earliest
 * sample against the line. They begin at one sample each; a full window merges
 * them by pairs until it is as long as it shall be, then it drops the oldest.
 */
#define TSA_FIT_BUCKETS		128
#define TSA_FIT_BUCKETS_MIN	32	/* kept, however old */
#define TSA_STEP_SAMPLES	20	/* that a late step must have given */

struct tsa_bucket {
	u64 counter;	/* of its earliest sample against the line */
	u64 ns;		/* that sample's host time + width_ns: never early */
	u64 start_ns;	/* host time of its first sample */
	u32 count;
	u32 width_ns;
};

struct tsa_fit {
	struct tsa_fit_config config;	/* defaults filled in */
	/* The line under the samples, as of the newest; mult 0: none yet. */
	struct tsa_map line;
	/* What is published: follows the line without going back. */
	struct tsa_map shown;
	bool showing;
	bool started;		/* any sample ever */
	enum tsalign_state state;
	enum tsalign_epoch_cause cause;
	u64 last_counter;
	u64 last_ns;
	u64 interval_ns;	/* between samples, smoothed */
	u64 epoch;
	u64 samples;
	u64 outliers;
	u64 lost;
	/* Of the line, by the last solution. */
	u64 lambda_ns;		/* mean lateness near the line */
	u64 sigma_ns;
	u64 sigma_ppb;
	s64 drift_ppb;
	u64 solved_ns;		/* host time of that */
	u32 unsolved;		/* samples since */
	u64 step_ns;		/* least move that may be a step, <= 2^61 */
	u64 doubt_ns;		/* a step that may have begun */
	u64 surprise_ns;	/* a sample under the line, */
	u64 surprised_ns;	/* then */
	u64 lag_ns;		/* shown from the line */
	u64 lag_ppb;
	u64 width_ns;		/* least of the window */
	u64 span_ns;		/* of the window */
	u64 jitter_ns;
	/* Early samples that may be a step. */
	s64 early_ns;
	u64 early_sample;
	u32 early;
	/* A counter that began anew below the last one. */
	u64 stale_counter;
	u32 stale;
	u32 run;		/* newest buckets that are all late */
	u64 total;		/* samples in the window */
	u64 bucket_ns;
	u32 used;
	struct tsa_bucket bucket[TSA_FIT_BUCKETS];
	/* Scratch of a solution: too much for a stack. */
	u32 x[TSA_FIT_BUCKETS];
	s32 r[TSA_FIT_BUCKETS];
	u64 late[TSA_FIT_BUCKETS];
	u8 hull[TSA_FIT_BUCKETS];
};

/* tsalign_line.c: solves the window anew; -EAGAIN: no line (yet). */
int tsa_line_solve(struct tsa_fit *fit);

/* Sets @line's rate to n / d, ns per count. */
void tsa_line_rate(struct tsa_map *line, u64 n, u64 d);

/* Of the nominal rate, fast: positive; 0 when there is none. */
s64 tsa_line_drift(const struct tsa_fit *fit);

/* A sample's lateness against the line. */
s64 tsa_line_late(const struct tsa_map *line, u64 counter, u64 ns);

#endif /* TSALIGN_FIT_H */
