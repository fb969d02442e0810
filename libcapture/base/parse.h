/* SPDX-License-Identifier: Apache-2.0 */
/* Strict text-to-number: the whole input, no sign, no space, no locale. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/**
 * parse_u64() - decimal digits to a number
 *
 * Return: 0, -EINVAL (empty or not all digits), -ERANGE (over @max).
 */
int parse_u64(const char *s, size_t len, uint64_t max,
	      uint64_t *ret_value) MUST_CHECK;

/**
 * parse_duration_ns() - "250ms", "2s", "5min", "1h" to nanoseconds
 *
 * A unit is required: a bare number is ambiguous in a config file.
 * Return: 0, -EINVAL, -ERANGE.
 */
int parse_duration_ns(const char *s, uint64_t *ret_ns) MUST_CHECK;

/**
 * parse_bytes() - "4096", "512K", "8M", "2G" (powers of 1024) to bytes
 *
 * Return: 0, -EINVAL, -ERANGE.
 */
int parse_bytes(const char *s, uint64_t *ret_bytes) MUST_CHECK;

#endif
