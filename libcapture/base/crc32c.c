/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLY_REFLECTED 0x82f63b78u

static uint32_t table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
	uint32_t i;

	for (i = 0; i < 256; i++) {
		uint32_t c = i;
		int bit;

		for (bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ ((c & 1) ? POLY_REFLECTED : 0);
		table[i] = c;
	}
}

uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	(void)pthread_once(&table_once, table_fill);
	crc = ~crc;
	while (len--)
		crc = (crc >> 8) ^ table[(crc ^ *p++) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
/*
 * The instruction takes three cycles, but one can begin each cycle: three
 * lanes run side by side, and are put together with tables that say what
 * LANE_BYTES zeros do to a CRC (which is linear).
 */
#define LANE_BYTES 4096u
#define LANES_BYTES (3 * LANE_BYTES)

static uint32_t shift[4][256];
static pthread_once_t shift_once = PTHREAD_ONCE_INIT;

static void shift_fill(void)
{
	static const uint8_t zeros[LANE_BYTES];
	uint32_t bits[32];
	uint32_t i;
	int k;

	/* crc32c_table() inverts at both ends, which is undone here. */
	for (i = 0; i < 32; i++)
		bits[i] = ~crc32c_table(~(1u << i), zeros, sizeof(zeros));
	for (k = 0; k < 4; k++) {
		for (i = 0; i < 256; i++) {
			uint32_t v = 0;
			int bit;

			for (bit = 0; bit < 8; bit++)
				if (i & (1u << bit))
					v ^= bits[8 * k + bit];
			shift[k][i] = v;
		}
	}
}

static uint64_t shifted(uint64_t c)
{
	return shift[0][c & 0xff] ^ shift[1][c >> 8 & 0xff] ^
	       shift[2][c >> 16 & 0xff] ^ shift[3][c >> 24 & 0xff];
}

static uint64_t load_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

__attribute__((target("sse4.2"))) static uint64_t
crc32c_lanes(uint64_t a, const uint8_t *p)
{
	const uint8_t *end = p + LANE_BYTES;
	uint64_t b = 0;
	uint64_t c = 0;

	for (; p < end; p += 8) {
		a = __builtin_ia32_crc32di(a, load_u64(p));
		b = __builtin_ia32_crc32di(b, load_u64(p + LANE_BYTES));
		c = __builtin_ia32_crc32di(c, load_u64(p + 2 * LANE_BYTES));
	}
	return shifted(shifted(a) ^ b) ^ c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t c = ~crc;

	if (len >= LANES_BYTES)
		(void)pthread_once(&shift_once, shift_fill);
	for (; len >= LANES_BYTES; len -= LANES_BYTES, p += LANES_BYTES)
		c = crc32c_lanes(c, p);
	for (; len >= 8; len -= 8, p += 8)
		c = __builtin_ia32_crc32di(c, load_u64(p));
	while (len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, bytes, len);
#endif
	return crc32c_table(crc, bytes, len);
}
