/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a configuration to values. On failure the words say what is wrong. */
#ifndef AGENT_CONFIG_VALUE_H
#define AGENT_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct why {
	char *text;
	size_t size;
};

/* Writes the words. Return: -EINVAL. */
int wrong(struct why *w, const char *fmt, ...) PRINTF(2, 3);

/* Each returns 0 or -EINVAL; *@out is written on success only. */
int take_text(char *out, size_t size, const char *v, struct why *w) MUST_CHECK;
/* Begins with '/'. */
int take_path(char *out, size_t size, const char *v, struct why *w) MUST_CHECK;
int take_bool(bool *out, const char *v, struct why *w) MUST_CHECK;
int take_duration(uint64_t *out, const char *v, uint64_t min_ns,
		  uint64_t max_ns, struct why *w) MUST_CHECK;
int take_number(uint64_t *out, const char *v, uint64_t min, uint64_t max,
		struct why *w) MUST_CHECK;
int take_u32(uint32_t *out, const char *v, uint32_t min, uint32_t max,
	     struct why *w) MUST_CHECK;
/* One of @names (NULL: a gap): its index. The words list them all. */
int take_choice(unsigned int *out, const char *const *names, size_t count,
		const char *v, struct why *w) MUST_CHECK;
/* "A<separator>B", both at least 1. No words. */
int take_pair(const char *v, char separator, uint64_t max, uint64_t *ret_a,
	      uint64_t *ret_b) MUST_CHECK;
/* "auto" is 0; "Y16" is "Y16 ". */
int take_fourcc(uint32_t *out, const char *v, struct why *w) MUST_CHECK;

#endif
