/* SPDX-License-Identifier: Apache-2.0 */
/* A trouble is told once, until another one, or none, takes its place. */
#ifndef AGENT_CAUSE_H
#define AGENT_CAUSE_H

#include <stdio.h>
#include <string.h>

#include "agent/output.h"
#include "base/log.h"

#define CAUSE_CHARS OUTPUT_ERROR_CHARS

struct cause {
	char text[CAUSE_CHARS];
};

/* @who: the source or stream that it is about. */
static inline void cause_tell(struct cause *c, enum log_level level,
			      const char *who, const char *text)
{
	if (strncmp(c->text, text, sizeof(c->text) - 1) == 0)
		return;
	(void)snprintf(c->text, sizeof(c->text), "%s", text);
	log_line(level, "agent", "%s: %s", who, text);
}

/* Return: true if there was one. */
static inline bool cause_over(struct cause *c)
{
	bool was = c->text[0];

	c->text[0] = '\0';
	return was;
}

#endif
