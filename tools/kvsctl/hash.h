/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVSCTL_HASH_H
#define KVSCTL_HASH_H

#include <stddef.h>

#include "base/macros.h"

#define HASH_TEXT_CHARS 64u

/* SHA-256 as sha256sum(1) writes it. Return: 0, -EIO. */
int hash_text(const void *bytes, size_t len,
	      char out[HASH_TEXT_CHARS + 1]) MUST_CHECK;

#endif
