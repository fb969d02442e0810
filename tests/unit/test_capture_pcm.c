/* SPDX-License-Identifier: Apache-2.0 */
#include "src/pcm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

/* What ALSA's names mean, said another way: by width, bytes and order. */
static const struct {
	const char *name;
	unsigned int bits;
	unsigned int bytes;
	bool big;
} formats[] = {
	{"S16_LE", 16, 2, false}, {"S32_LE", 32, 4, false},
	{"S24_3LE", 24, 3, false}, {"S24_LE", 24, 4, false},
	{"S16_BE", 16, 2, true},  {"S32_BE", 32, 4, true},
	{"S24_3BE", 24, 3, true}, {"S24_BE", 24, 4, true},
};

/* @value, aligned to 32 bits, as a sample of a format. */
static void store(size_t format, int32_t value, uint8_t *to)
{
	unsigned int bytes = formats[format].bytes;
	int32_t v = value >> (32 - formats[format].bits);
	unsigned int i;

	for (i = 0; i < bytes; i++) {
		unsigned int at = formats[format].big ? bytes - 1 - i : i;

		to[at] = (uint8_t)((uint32_t)v >> (8 * i));
	}
}

static void order_is_as_documented(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(pcm_layout_count, ARRAY_SIZE(formats));
	for (i = 0; i < pcm_layout_count; i++) {
		assert_string_equal(pcm_layouts[i].name, formats[i].name);
		assert_int_equal(pcm_layouts[i].bytes, formats[i].bytes);
		assert_int_equal(pcm_layouts[i].bits, formats[i].bits);
		assert_in_range(pcm_layouts[i].bytes, 2, PCM_SAMPLE_BYTES_MAX);
	}
}

static void upper_16_bits_are_kept(void **state)
{
	static const int32_t values[] = {
		0, 0x12345678, -0x12345678, INT32_MAX, INT32_MIN, -1, 0x80ff,
	};
	uint8_t from[ARRAY_SIZE(values) * PCM_SAMPLE_BYTES_MAX];
	uint8_t to[ARRAY_SIZE(values) * 2];
	size_t f;
	size_t i;

	(void)state;
	for (f = 0; f < pcm_layout_count; f++) {
		for (i = 0; i < ARRAY_SIZE(values); i++)
			store(f, values[i], from + i * formats[f].bytes);
		pcm_to_s16(&pcm_layouts[f], from, ARRAY_SIZE(values), to);
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			uint16_t got = (uint16_t)(to[2 * i] |
						  to[2 * i + 1] << 8);

			assert_int_equal(got,
					 (uint16_t)((uint32_t)values[i] >> 16));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_as_documented),
		cmocka_unit_test(upper_16_bits_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
