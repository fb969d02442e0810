/* SPDX-License-Identifier: Apache-2.0 */
/* Where media is written: stdout, or a file that appears when it is whole. */
#ifndef KVSCTL_SINK_H
#define KVSCTL_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct sink {
	const char *path;	/* for messages and the rename */
	char *part;		/* what is written until then; NULL: @path */
	int fd;
	bool owned;
	uint64_t bytes;
	int error;		/* of the write that failed */
};

/**
 * sink_open() - NULL or "-" is stdout
 * @whole: write to "PATH.part" and rename at the end
 *
 * Media does not go to a terminal. Return: CTL_OK, CTL_USAGE, CTL_LOCAL
 * (explained).
 */
int sink_open(struct sink *s, const char *path, bool whole) MUST_CHECK;

/*
 * All of it. Return: 0, or the -errno of write, kept in @error; -EPIPE: the
 * reader of stdout went away.
 */
int sink_write(struct sink *s, const void *bytes, size_t len) MUST_CHECK;

/*
 * Closes. @good: rename what was written; else a ".part" is removed.
 * Return: CTL_OK, CTL_LOCAL (explained).
 */
int sink_close(struct sink *s, bool good) MUST_CHECK;

#endif
