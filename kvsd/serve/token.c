/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/token.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void token_encode(const char *text, char out[TOKEN_CHARS_MAX + 1])
{
	size_t len = strlen(text);
	size_t i;

	assert(len <= TOKEN_TEXT_BYTES_MAX);
	for (i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)text[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)(uint8_t)text[i + 1] << 8;
		if (i + 2 < len)
			v |= (uint8_t)text[i + 2];
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*out = '\0';
}

static int value_of(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

int token_decode(struct slice token, char out[TOKEN_TEXT_BYTES_MAX + 1])
{
	char check[TOKEN_CHARS_MAX + 1];
	size_t n = 0;
	size_t i;

	if (!token.len || token.len % 4 || token.len > TOKEN_CHARS_MAX ||
	    token.len / 4 * 3 > TOKEN_TEXT_BYTES_MAX)
		return -EINVAL;
	for (i = 0; i < token.len; i += 4) {
		uint32_t v = 0;
		size_t k;

		for (k = 0; k < 4; k++) {
			int d = value_of(token.ptr[i + k]);

			v = v << 6 | (uint32_t)(d < 0 ? 0 : d);
		}
		out[n++] = (char)(v >> 16);
		out[n++] = (char)(v >> 8);
		out[n++] = (char)v;
	}
	out[n] = '\0';
	/* Only what we would have written: wrong digits do not come back. */
	token_encode(out, check);
	return slice_is(token, check) ? 0 : -EINVAL;
}
