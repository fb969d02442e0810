/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of [source NAME], and which kind of source has which. */
#ifndef AGENT_CONFIG_SOURCE_H
#define AGENT_CONFIG_SOURCE_H

#include <stddef.h>

#include "agent/config.h"
#include "agent/config_value.h"
#include "base/macros.h"

#define SOURCE_KEYS_MAX 48u
#define SOURCE_KEY_STREAM 1u	/* index of "stream" */

/* Where each key of a section was given; 0: it was not. */
struct source_lines {
	unsigned int section;
	unsigned int keys[SOURCE_KEYS_MAX];
};

void source_defaults(struct agent_source *s);

/* Return: 0, or -EINVAL with the words. */
int source_take(struct agent_source *s, struct source_lines *lines,
		const char *key, const char *value, unsigned int line,
		struct why *w) MUST_CHECK;

/**
 * source_check() - what only shows when all keys are known
 * @ret_line: of the key that is wrong, or of the section
 * @ret_key: its name
 *
 * Return: 0, or -EINVAL with the words.
 */
int source_check(const struct agent_source *s,
		 const struct source_lines *lines, unsigned int *ret_line,
		 const char **ret_key, struct why *w) MUST_CHECK;

#endif
