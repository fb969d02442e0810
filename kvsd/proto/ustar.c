/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ustar.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
	AT_NAME = 0,
	AT_SIZE = 124,
	AT_CHECKSUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	AT_PREFIX = 345,
	NAME_BYTES = 100,
	SIZE_DIGITS = 11,
	CHECKSUM_BYTES = 8,
	CHECKSUM_DIGITS = 6,
};

/* @digits octal digits, all of them. */
static int octal(const uint8_t *at, size_t digits, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < digits; i++) {
		if (at[i] < '0' || at[i] > '7')
			return -EINVAL;
		n = n << 3 | (uint64_t)(at[i] - '0');
	}
	*ret = n;
	return 0;
}

static uint64_t sum_of(const uint8_t *block)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < USTAR_BLOCK_BYTES; i++) {
		bool in = i >= AT_CHECKSUM && i < AT_CHECKSUM + CHECKSUM_BYTES;

		sum += in ? ' ' : block[i];
	}
	return sum;
}

static bool is_empty(const uint8_t *block)
{
	size_t i;

	for (i = 0; i < USTAR_BLOCK_BYTES; i++) {
		if (block[i])
			return false;
	}
	return true;
}

int ustar_parse(const uint8_t block[USTAR_BLOCK_BYTES],
		struct ustar_entry *ret_entry)
{
	struct ustar_entry e = {.bytes = 0};
	uint64_t sum;

	if (is_empty(block))
		return 0;
	if (octal(block + AT_CHECKSUM, CHECKSUM_DIGITS, &sum) < 0 ||
	    sum != sum_of(block) || memcmp(block + AT_MAGIC, "ustar", 6) != 0 ||
	    block[AT_TYPE] != '0' || block[AT_PREFIX] ||
	    octal(block + AT_SIZE, SIZE_DIGITS, &e.bytes) < 0)
		return -EINVAL;
	memcpy(e.name, block + AT_NAME, NAME_BYTES);
	if (!e.name[0])
		return -EINVAL;
	*ret_entry = e;
	return 1;
}
