/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of ustar archives (POSIX.1), as kvsctl export writes them. */
#ifndef PROTO_USTAR_H
#define PROTO_USTAR_H

#include <stdint.h>

#include "base/macros.h"

#define USTAR_BLOCK_BYTES 512u
#define USTAR_NAME_BYTES 101u /* with its NUL */

struct ustar_entry {
	char name[USTAR_NAME_BYTES];
	uint64_t bytes; /* of the file; blocks are filled up with zeros */
};

/**
 * ustar_parse() - one header
 * @ret_entry: a regular file
 *
 * Return: 1, 0 (an empty block: the archive ends), -EINVAL (its checksum does
 * not fit, or it is no plain file of a short name).
 */
int ustar_parse(const uint8_t block[USTAR_BLOCK_BYTES],
		struct ustar_entry *ret_entry) MUST_CHECK;

#endif
