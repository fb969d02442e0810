/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_BYTES_MIN 256u

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->start = 0;
	b->end = 0;
	b->failed = false;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
	size_t have = buf_len(b);
	size_t want;
	uint8_t *p;

	if (len > b->max - have) {
		b->failed = true;
		return NULL;
	}
	if (b->size - b->end >= len && b->data)
		return b->data + b->end;
	if (b->start && b->data) {
		memmove(b->data, b->data + b->start, have);
		b->start = 0;
		b->end = have;
		if (b->size - b->end >= len)
			return b->data + b->end;
	}
	want = MAX(b->size * 2, have + len);
	want = MIN(MAX(want, BUF_BYTES_MIN), MAX(b->max, (size_t)1));
	p = realloc(b->data, want);
	if (!p) {
		b->failed = true;
		return NULL;
	}
	b->data = p;
	b->size = want;
	return b->data + b->end;
}

void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->size - b->end);
	b->end += len;
}

int buf_add(struct buf *b, const void *bytes, size_t len)
{
	uint8_t *p;

	if (!len)
		return 0;
	p = buf_reserve(b, len);
	if (!p)
		return len > b->max - buf_len(b) ? -ENOBUFS : -ENOMEM;
	memcpy(p, bytes, len);
	buf_commit(b, len);
	return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	uint8_t *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	if ((size_t)n + 1 > b->max - buf_len(b)) {
		b->failed = true;
		return -ENOBUFS;
	}
	p = buf_reserve(b, (size_t)n + 1);
	if (!p)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf((char *)p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_commit(b, (size_t)n);
	return 0;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= buf_len(b));
	b->start += len;
	if (b->start == b->end) {
		b->start = 0;
		b->end = 0;
	}
}
