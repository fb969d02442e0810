/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tools that work on a service's directory find its parts. */
#ifndef SERVE_TOOL_DIR_H
#define SERVE_TOOL_DIR_H

#include <stdbool.h>

#include "base/macros.h"
#include "base/sys.h"

#define TOOL_PATH_CHARS 4096

/* DIR/NAME can be opened. */
bool tool_has_file(const struct sys_ops *sys, const char *dir,
		   const char *name);

/* Return: 0, -EINVAL (empty or too long). */
int tool_set_path(char out[TOOL_PATH_CHARS], const char *value) MUST_CHECK;

/*
 * DIR of --quickstart keeps its data one level below, its key beside it:
 * @dir becomes the data's, and @master_key, when empty, the key's.
 * Return: 0, -ENAMETOOLONG.
 */
int tool_find_data(const struct sys_ops *sys, char dir[TOOL_PATH_CHARS],
		   char master_key[TOOL_PATH_CHARS]) MUST_CHECK;

#endif
