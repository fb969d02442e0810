/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON on stdout, progress on stderr. */
#ifndef KVSCTL_OUTPUT_H
#define KVSCTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "kvsctl/limits.h"

/* JSON times are epoch seconds; 13 digits keep their milliseconds exact. */
#define OUTPUT_JSON_FLAGS JSON_REAL_PRECISION(13)

/* Indented, with a newline. Return: CTL_OK or CTL_LOCAL (explained). */
int output_json(const json_t *value);

/* Columns as wide as their widest cell; two spaces between. */
struct table {
	unsigned int columns;
	char **cells;		/* rows of @columns, the heads first */
	size_t count;
	size_t size;
	bool failed;		/* no memory, or too many rows */
};

void table_init(struct table *t, unsigned int columns);
void table_fini(struct table *t);
/* Cells go from left to right, row by row. Copied. */
void table_add(struct table *t, const char *text);
/* Return: CTL_OK, or CTL_LOCAL (explained) when a cell was lost. */
int table_print(const struct table *t);

/*
 * One line on stderr that is redrawn in place; nothing at all unless stderr
 * is a terminal. One thread at a time.
 */
struct progress {
	bool shown;
	uint64_t drawn_ns;	/* CLOCK_MONOTONIC */
	size_t width;		/* of the last line */
};

void progress_init(struct progress *p);
/* @total: 0 = unknown. @what: behind the figures. Draws now and then. */
void progress_draw(struct progress *p, uint64_t done, uint64_t total,
		   const char *what);
/* Clears the line. */
void progress_end(struct progress *p);

/* JSON epoch seconds to ms; 0 when it is no number. */
uint64_t output_ms(const json_t *seconds);
/* "2023-05-17T13:48:35.994Z", or "-" when it is no number. */
#define OUTPUT_TIME_CHARS 32u
void output_time(const json_t *seconds, char out[OUTPUT_TIME_CHARS]);

#endif
