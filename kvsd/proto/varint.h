/* SPDX-License-Identifier: Apache-2.0 */
/* LEB128 integers in their only, shortest form; signed differences zigzag. */
#ifndef PROTO_VARINT_H
#define PROTO_VARINT_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10u

/* @out has room for VARINT_BYTES_MAX. Return: bytes written. */
static inline size_t varint_write(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	while (v > 0x7f) {
		out[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	return n;
}

/* Return: 0 and *@at moved on, or -EBADMSG: cut short, too long, over @max. */
static inline int varint_read(const uint8_t **at, const uint8_t *end,
			      uint64_t max, uint64_t *ret_value)
{
	unsigned int shift = 0;
	uint64_t v = 0;
	uint8_t byte;

	for (;;) {
		if (*at == end || shift > 63)
			return -EBADMSG;
		byte = *(*at)++;
		if (shift == 63 && byte > 1)
			return -EBADMSG;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
		shift += 7;
	}
	/* The last byte carries something, or a shorter form exists. */
	if ((!byte && shift) || v > max)
		return -EBADMSG;
	*ret_value = v;
	return 0;
}

/* The difference of two u64 modulo 2^64, small ones of either sign first. */
static inline uint64_t zigzag(uint64_t now, uint64_t before)
{
	uint64_t d = now - before;

	return d << 1 ^ (d >> 63 ? UINT64_MAX : 0);
}

static inline uint64_t unzigzag(uint64_t z, uint64_t before)
{
	return before + (z >> 1 ^ (z & 1 ? UINT64_MAX : 0));
}

#endif
