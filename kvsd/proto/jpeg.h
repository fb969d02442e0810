/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_JPEG_H
#define PROTO_JPEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every JPEG stands alone: a key frame is one that begins with SOI. */
static inline bool jpeg_is_key(const uint8_t *bytes, size_t len)
{
	return len >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 &&
	       bytes[2] == 0xff;
}

#endif
