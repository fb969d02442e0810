/* SPDX-License-Identifier: Apache-2.0 */
/* Wall-clock times as text. No locale, no time zone database, no floats. */
#ifndef PROTO_EPOCH_H
#define PROTO_EPOCH_H

#include <stdint.h>

#include "base/macros.h"
#include "proto/slice.h"

#define EPOCH_CHARS_MAX 24u	/* "18446744073709551.615" and a NUL */
#define EPOCH_BASIC_CHARS 16u	/* "20150830T123600Z" */
#define EPOCH_HTTP_CHARS 29u	/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define EPOCH_ISO_CHARS_MAX 24u	/* "2023-05-17T13:48:35.994Z" */
#define EPOCH_S_MAX 253402300799ull	/* the end of the year 9999 */

/**
 * epoch_ms_parse() - "1511852108.513" (seconds) to milliseconds
 *
 * The fraction is a decimal one of 1 to 9 digits, so ".5" is 500 ms. (One
 * known producer drops the zeros and means 5 ms by it; it cannot be told
 * apart.) Digits under a millisecond are dropped.
 * Return: 0, -EINVAL, -ERANGE (after the year 9999).
 */
int epoch_ms_parse(struct slice s, uint64_t *ret_ms) MUST_CHECK;

/* Seconds with three decimals. */
void epoch_ms_format(uint64_t ms, char out[EPOCH_CHARS_MAX]);

/* "20150830T123600Z". Return: 0, -EINVAL. */
int epoch_basic_parse(struct slice s, uint64_t *ret_s) MUST_CHECK;
/* @s <= EPOCH_S_MAX, as for the formats below. */
void epoch_basic_format(uint64_t s, char out[EPOCH_BASIC_CHARS + 1]);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110). Return: 0, -EINVAL. */
int epoch_http_parse(struct slice s, uint64_t *ret_s) MUST_CHECK;
void epoch_http_format(uint64_t s, char out[EPOCH_HTTP_CHARS + 1]);

/*
 * "2023-05-17T13:48:35.994Z", "2023-05-17T13:48:35+02:00"; a zone is
 * required. Return: 0, -EINVAL.
 */
int epoch_iso_parse(struct slice s, uint64_t *ret_ms) MUST_CHECK;
/* With milliseconds and 'Z'. */
void epoch_iso_format(uint64_t ms, char out[EPOCH_ISO_CHARS_MAX + 1]);

#endif
