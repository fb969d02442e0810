/* SPDX-License-Identifier: Apache-2.0 */
/* What the models say about members that no codec knows. */
#ifndef SERVE_CONTROL_CHECK_H
#define SERVE_CONTROL_CHECK_H

#include <jansson.h>

#include "base/macros.h"

/*
 * Tags of a stream: at most 50 pairs, keys of 1..128 and values of 0..256
 * characters out of letters, separators, numbers and _.:/=+-@ .
 * Return: 0, -E2BIG (too many), -EINVAL.
 */
int control_check_tags(const json_t *tags) MUST_CHECK;

#endif
