/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer with a limit given at init (curl's dynbuf). Reading
 * consumes from the front. Never holds more than @max bytes.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct buf {
	uint8_t *data;	/* heap, may be NULL while empty */
	size_t start;	/* first unread byte */
	size_t end;	/* one past the last byte */
	size_t size;	/* bytes allocated */
	size_t max;	/* most bytes that may be held */
	bool failed;	/* an append was refused since the last reset */
};

void buf_init(struct buf *b, size_t max);
/* Frees the memory; the buffer may be used again afterwards. */
void buf_fini(struct buf *b);
/* Empties the buffer and clears @failed; keeps the memory. */
void buf_reset(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline uint8_t *buf_head(struct buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

static inline size_t buf_room(const struct buf *b)
{
	return b->max - buf_len(b);
}

/**
 * buf_add() - append bytes
 *
 * Return: 0, -ENOBUFS over the limit, -ENOMEM. On failure nothing is added
 * and @failed is set, so a run of appends may be checked once at its end.
 */
int buf_add(struct buf *b, const void *bytes, size_t len);
int buf_add_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Room for @len bytes at the end; NULL when over the limit or no memory. */
uint8_t *buf_reserve(struct buf *b, size_t len);
/* Makes @len bytes written after buf_reserve() part of the buffer. */
void buf_commit(struct buf *b, size_t len);
/* Drops @len bytes from the front; @len <= buf_len(). */
void buf_consume(struct buf *b, size_t len);

#endif
