/* SPDX-License-Identifier: Apache-2.0 */
/* What people type for times and places, and how values are shown. Pure. */
#ifndef KVSCTL_TEXT_H
#define KVSCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/limits.h"

/**
 * text_time() - a moment
 *
 * "1511852108.513" (epoch seconds), "2023-05-17T13:48:35.994Z", "now",
 * "-90s", "-5min", "-2h" (before now).
 * Return: 0, -EINVAL.
 */
int text_time(const char *text, uint64_t now_ms, uint64_t *ret_ms) MUST_CHECK;

/* "24h", "7d", "0". Return: 0, -EINVAL, -ERANGE (over the service's limit). */
int text_retention(const char *text, uint32_t *ret_hours) MUST_CHECK;

enum start_kind {
	START_NOW,
	START_EARLIEST,
	START_FRAGMENT,
	START_SERVER_TIME,
	START_PRODUCER_TIME,
	START_TOKEN,
};

struct start {
	enum start_kind kind;
	const char *text;	/* FRAGMENT, TOKEN: points into what was read */
	uint64_t ms;		/* SERVER_TIME, PRODUCER_TIME */
};

/*
 * "NOW", "EARLIEST", "fragment:N", "server:TIME", "producer:TIME", "token:T".
 * Return: 0, -EINVAL.
 */
int text_start(const char *text, uint64_t now_ms,
	       struct start *ret_start) MUST_CHECK;

#define TEXT_SIZE_CHARS 16u
/* "999 B", "1.5 kB", "12.3 MB" */
void text_size(uint64_t bytes, char out[TEXT_SIZE_CHARS]);

#define TEXT_SPAN_CHARS 24u
/* "0.040 s", "2.000 s", "1:02:03" */
void text_span(uint64_t ms, char out[TEXT_SPAN_CHARS]);

/*
 * Cuts @text to @size with its end, and makes UTF-8 of it: bytes that are none
 * become '?'. A driver's words may be anything, and are cut anywhere.
 */
void text_utf8(const char *text, char *out, size_t size);

struct mkv_tag;

/*
 * The value of a tag of that name, with its end. Return: false, and @out as it
 * was: another name, or too long.
 */
bool text_of_tag(const struct mkv_tag *tag, const char *name, char *out,
		 size_t size);

#endif
