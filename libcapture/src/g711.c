/* SPDX-License-Identifier: Apache-2.0 */
#include "src/g711.h"

#define MANTISSA_BITS 4
#define MANTISSA_MASK 0xfu
#define SIGN 0x80u
#define ALAW_TOGGLE 0x55u
#define ULAW_BIAS 33u
#define ULAW_MAX 0x1fffu

/* Size without the sign, cut by @shift bits; -1 and 0 are both 0. */
static uint32_t magnitude(int16_t sample, int shift)
{
	int32_t v = sample < 0 ? ~(int32_t)sample : sample;

	return (uint32_t)v >> shift;
}

/* Position of the highest bit that is set; @v is not 0. */
static uint32_t top_bit(uint32_t v)
{
	uint32_t top = 0;

	while (v >>= 1)
		top++;
	return top;
}

uint8_t g711_alaw(int16_t sample)
{
	/* 11 bits: two to a step of the lowest segment. */
	uint32_t v = magnitude(sample, 4);
	uint32_t code = v;
	uint32_t segment;

	if (v > MANTISSA_MASK) {
		segment = top_bit(v) - MANTISSA_BITS + 1;
		code = segment << MANTISSA_BITS |
		       (v >> (segment - 1) & MANTISSA_MASK);
	}
	if (sample >= 0)
		code |= SIGN;
	return (uint8_t)(code ^ ALAW_TOGGLE);
}

uint8_t g711_ulaw(int16_t sample)
{
	uint32_t v = magnitude(sample, 2) + ULAW_BIAS;
	uint32_t segment;
	uint32_t code;

	if (v > ULAW_MAX)
		v = ULAW_MAX;
	segment = top_bit(v) - MANTISSA_BITS - 1;
	code = segment << MANTISSA_BITS | (v >> (segment + 1) & MANTISSA_MASK);
	if (sample < 0)
		code |= SIGN;
	return (uint8_t)~code;
}
