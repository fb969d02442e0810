/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The kernel's words that tsalign_core.c uses, in the kernel and outside it. */
#ifndef TSALIGN_PORT_H
#define TSALIGN_PORT_H

#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/types.h>

/* What each sample runs lies together: fewer pages and lines to fetch. */
#define tsa_hot __section(".text.tsa_hot")
#else
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define tsa_hot
#define U32_MAX UINT32_MAX
#define U64_MAX UINT64_MAX
#define S64_MAX INT64_MAX

static inline int fls64(u64 v)
{
	return v ? 64 - __builtin_clzll(v) : 0;
}

static inline u64 div64_u64(u64 n, u64 d)
{
	return n / d;
}

static inline s64 div64_s64(s64 n, s64 d)
{
	return n / d;
}
#endif

/* a * b, all 128 bits of it, by pieces: what every architecture has. */
static inline u64 tsa_mul_pieces(u64 a, u64 b, u64 *ret_high)
{
	u64 low = (a & U32_MAX) * (b & U32_MAX);
	u64 mid = (a >> 32) * (b & U32_MAX) + (low >> 32);
	u64 rest = (a & U32_MAX) * (b >> 32) + (mid & U32_MAX);

	/* No sum overflows: (2^32 - 1)^2 + 2 * (2^32 - 1) = 2^64 - 1. */
	*ret_high = (a >> 32) * (b >> 32) + (mid >> 32) + (rest >> 32);
	return (rest << 32) | (low & U32_MAX);
}

/* The same; one instruction where there is one. */
static inline u64 tsa_mul(u64 a, u64 b, u64 *ret_high)
{
#if defined(__x86_64__) || defined(__aarch64__)
	__uint128_t all = (__uint128_t)a * b;

	*ret_high = (u64)(all >> 64);
	return (u64)all;
#else
	return tsa_mul_pieces(a, b, ret_high);
#endif
}

/* a * b >> shift, at most U64_MAX; shift is 0..63. */
static inline u64 tsa_mul_shr(u64 a, u64 b, u32 shift)
{
	u64 high;
	u64 low = tsa_mul(a, b, &high);

	if (high >> shift)
		return U64_MAX;
	return shift ? (low >> shift) | (high << (64 - shift)) : low;
}

/* (n << shift) / d to the nearest, at most U64_MAX; shift is 0..63. */
u64 tsa_div_shl(u64 n, u32 shift, u64 d);

static inline u64 tsa_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline u64 tsa_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

static inline u64 tsa_add(u64 a, u64 b)
{
	return a + b < a ? U64_MAX : a + b;
}

static inline s64 tsa_clamp(s64 v, s64 limit)
{
	if (v > limit)
		return limit;
	return v < -limit ? -limit : v;
}

#endif /* TSALIGN_PORT_H */
