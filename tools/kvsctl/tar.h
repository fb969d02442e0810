/* SPDX-License-Identifier: Apache-2.0 */
/* Writes ustar archives of small files, all of them made up in memory. */
#ifndef KVSCTL_TAR_H
#define KVSCTL_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/macros.h"

#define TAR_BLOCK_BYTES 512u
#define TAR_NAME_BYTES 100u

/**
 * tar_add() - one regular file, mode 0644, of nobody
 * @name: shorter than TAR_NAME_BYTES; no '/' at the start
 *
 * Return: 0, -ENAMETOOLONG, -EFBIG (8 GiB or more), -EIO.
 */
int tar_add(FILE *out, const char *name, const void *bytes, size_t len,
	    uint64_t mtime_s) MUST_CHECK;

/* The two empty blocks. Return: 0, -EIO. */
int tar_end(FILE *out) MUST_CHECK;

#endif
