/* SPDX-License-Identifier: Apache-2.0 */
#include "src/pcm.h"

#include "base/macros.h"

/* Big endian comes last: only where a card has nothing else. */
const struct pcm_layout pcm_layouts[] = {
	{"S16_LE", 2, 0, 1, 16},  {"S32_LE", 4, 2, 3, 32},
	{"S24_3LE", 3, 1, 2, 24}, {"S24_LE", 4, 1, 2, 24},
	{"S16_BE", 2, 1, 0, 16},  {"S32_BE", 4, 1, 0, 32},
	{"S24_3BE", 3, 1, 0, 24}, {"S24_BE", 4, 2, 1, 24},
};
const size_t pcm_layout_count = ARRAY_SIZE(pcm_layouts);

void pcm_to_s16(const struct pcm_layout *layout, const uint8_t *from,
		size_t count, uint8_t *to)
{
	size_t i;

	for (i = 0; i < count; i++) {
		to[0] = from[layout->low];
		to[1] = from[layout->high];
		from += layout->bytes;
		to += 2;
	}
}
