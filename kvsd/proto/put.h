/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of appends checked once, at its end: after the first that fails the
 * others do nothing, and put_end() takes back what was appended.
 */
#ifndef PROTO_PUT_H
#define PROTO_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/macros.h"

struct put {
	struct buf *out; /* borrowed */
	size_t begin;	 /* buf_len() at put_begin() */
	bool failed_before;
	int error;
};

static inline struct put put_begin(struct buf *out)
{
	return (struct put){.out = out,
			    .begin = buf_len(out),
			    .failed_before = out->failed};
}

/* 0, or the first error, with @out as it was at put_begin(). */
static inline MUST_CHECK int put_end(struct put *p)
{
	if (!p->error)
		return 0;
	p->out->end -= buf_len(p->out) - p->begin;
	p->out->failed = p->failed_before;
	return p->error;
}

static inline void put_bytes(struct put *p, const void *bytes, size_t len)
{
	if (!p->error)
		p->error = buf_add(p->out, bytes, len);
}

static inline void put_u8(struct put *p, uint8_t v)
{
	put_bytes(p, &v, 1);
}

static inline void put_be16(struct put *p, uint16_t v)
{
	uint8_t bytes[2];

	store_be16(bytes, v);
	put_bytes(p, bytes, sizeof(bytes));
}

static inline void put_be32(struct put *p, uint32_t v)
{
	uint8_t bytes[4];

	store_be32(bytes, v);
	put_bytes(p, bytes, sizeof(bytes));
}

static inline void put_be64(struct put *p, uint64_t v)
{
	uint8_t bytes[8];

	store_be64(bytes, v);
	put_bytes(p, bytes, sizeof(bytes));
}

/* Bytes put so far. */
static inline size_t put_len(const struct put *p)
{
	return buf_len(p->out) - p->begin;
}

/* The byte at @at of what was put, to fill a size in; not after an error. */
static inline uint8_t *put_at(const struct put *p, size_t at)
{
	return buf_head(p->out) + p->begin + at;
}

#endif
