/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: [sections], key = value, comments from # or ; at the
 * start of a line, or from " ;" on. Through libinih, the only file that does.
 */
#ifndef IO_CONFIG_INI_H
#define IO_CONFIG_INI_H

#include <stddef.h>

#include "base/macros.h"
#include "base/sys.h"

#define CONFIG_BYTES_MAX (256u << 10)
#define CONFIG_LINE_CHARS_MAX 190u	/* inih's line buffer */
#define CONFIG_ERROR_CHARS 512u

/*
 * One entry, or the start of a section (@key and @value are NULL), on @line of
 * the file. On failure write what is wrong with it to @why, without place or
 * key. Return: 0, or any negative errno.
 */
typedef int config_ini_fn(void *ctx, unsigned int line, const char *section,
			  const char *key, const char *value, char *why,
			  size_t why_size);

/**
 * config_ini_read() - read a whole file
 * @ret_error: CONFIG_ERROR_CHARS; on failure "PATH:12: [camera] rate: ..."
 *
 * The first mistake ends it. Return: 0, -EINVAL (a mistake in the file), or
 * the errno of reading it.
 */
int config_ini_read(const struct sys_ops *sys, const char *path,
		    config_ini_fn *fn, void *ctx,
		    char *ret_error) MUST_CHECK;

#endif
