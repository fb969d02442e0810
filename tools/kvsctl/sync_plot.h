/* SPDX-License-Identifier: Apache-2.0 */
/* Offset, jitter and drift of sensors over time, as one SVG picture. */
#ifndef KVSCTL_SYNC_PLOT_H
#define KVSCTL_SYNC_PLOT_H

#include <stddef.h>
#include <stdio.h>

#include "base/macros.h"
#include "kvsctl/sync_series.h"

struct sync_plot_line {
	const char *name; /* any bytes: escaped */
	const struct sync_series *series;
};

/* The "nice" distance of about @count ticks over @span: 1, 2 or 5 x 10^n. */
double sync_plot_tick(double span, unsigned int count);

/* Return: 0, or -EIO: @out says no. */
int sync_plot_write(FILE *out, const struct sync_plot_line *lines,
		    size_t count) MUST_CHECK;

#endif
