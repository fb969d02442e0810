/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/fragment_number.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The number as 32-bit words, most significant first; 157 bits used. */
#define WORDS 5u

#define RANDOM_MASK ((1u << FRAGMENT_RANDOM_BITS) - 1)

/* words = 1 | seq:64 | server_ms:64 | random:28 */
static void to_words(const struct fragment_number *n, uint32_t words[WORDS])
{
	words[0] = 1u << 28 | (uint32_t)(n->seq >> 36);
	words[1] = (uint32_t)(n->seq >> 4);
	words[2] = (uint32_t)(n->seq << 28) | (uint32_t)(n->server_ms >> 36);
	words[3] = (uint32_t)(n->server_ms >> 4);
	words[4] = (uint32_t)(n->server_ms << 28) | n->random;
}

static void from_words(const uint32_t words[WORDS], struct fragment_number *n)
{
	n->seq = (uint64_t)(words[0] & RANDOM_MASK) << 36 |
		 (uint64_t)words[1] << 4 | words[2] >> 28;
	n->server_ms = (uint64_t)(words[2] & RANDOM_MASK) << 36 |
		       (uint64_t)words[3] << 4 | words[4] >> 28;
	n->random = words[4] & RANDOM_MASK;
}

/* words /= 10. Return: the remainder. */
static unsigned int divide_by_10(uint32_t words[WORDS])
{
	uint64_t rest = 0;
	size_t i;

	for (i = 0; i < WORDS; i++) {
		rest = rest << 32 | words[i];
		words[i] = (uint32_t)(rest / 10);
		rest %= 10;
	}
	return (unsigned int)rest;
}

/* words = words * 10 + digit. Return: -EINVAL when it does not fit. */
static int append_digit(uint32_t words[WORDS], unsigned int digit)
{
	uint64_t carry = digit;
	size_t i = WORDS;

	while (i--) {
		carry += (uint64_t)words[i] * 10;
		words[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return carry ? -EINVAL : 0;
}

void fragment_number_format(const struct fragment_number *n,
			    char out[FRAGMENT_NUMBER_CHARS + 1])
{
	uint32_t words[WORDS];
	size_t i = FRAGMENT_NUMBER_CHARS;

	assert(n->seq <= FRAGMENT_SEQ_MAX);
	assert(n->random <= RANDOM_MASK);
	to_words(n, words);
	out[i] = '\0';
	while (i--)
		out[i] = (char)('0' + divide_by_10(words));
}

int fragment_number_parse(struct slice s, struct fragment_number *ret_number)
{
	uint32_t words[WORDS] = { 0 };
	struct fragment_number n;
	size_t i;

	if (s.len != FRAGMENT_NUMBER_CHARS)
		return -EINVAL;
	for (i = 0; i < s.len; i++) {
		unsigned int d = (unsigned char)s.ptr[i] - (unsigned int)'0';

		if (d > 9 || append_digit(words, d) < 0)
			return -EINVAL;
	}
	if (words[0] >> 28 != 1)
		return -EINVAL;
	from_words(words, &n);
	if (n.seq > FRAGMENT_SEQ_MAX)
		return -EINVAL;
	*ret_number = n;
	return 0;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

int fragment_number_compare(const struct fragment_number *a,
			    const struct fragment_number *b)
{
	int r = compare_u64(a->seq, b->seq);

	if (!r)
		r = compare_u64(a->server_ms, b->server_ms);
	return r ? r : compare_u64(a->random, b->random);
}
