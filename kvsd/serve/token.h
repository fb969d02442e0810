/* SPDX-License-Identifier: Apache-2.0 */
/* Page tokens: a short text in base64, opaque to clients. */
#ifndef SERVE_TOKEN_H
#define SERVE_TOKEN_H

#include <stddef.h>

#include "base/macros.h"
#include "proto/slice.h"

#define TOKEN_CHARS_MAX 1024u
#define TOKEN_TEXT_BYTES_MAX 704u

/* @text: at most TOKEN_TEXT_BYTES_MAX characters */
void token_encode(const char *text, char out[TOKEN_CHARS_MAX + 1]);

/* Return: 0, -EINVAL (not one of ours). */
int token_decode(struct slice token,
		 char out[TOKEN_TEXT_BYTES_MAX + 1]) MUST_CHECK;

#endif
