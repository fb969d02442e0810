/* SPDX-License-Identifier: Apache-2.0 */
/* Samples as cards have them, and as the library's tracks carry them. Pure. */
#ifndef CAPTURE_SRC_PCM_H
#define CAPTURE_SRC_PCM_H

#include <stddef.h>
#include <stdint.h>

/* Signed samples: where the upper 16 bits of each are. */
struct pcm_layout {
	const char *name; /* ALSA's */
	uint8_t bytes;	  /* of a sample */
	uint8_t low;	  /* which of them is the lower of the two */
	uint8_t high;
	uint8_t bits; /* that mean something */
};

#define PCM_SAMPLE_BYTES_MAX 4

/* Best first: what needs no work, then what has more bits. */
extern const struct pcm_layout pcm_layouts[];
extern const size_t pcm_layout_count;

/*
 * The upper 16 bits of @count samples, little endian. What is below them is
 * cut off, not rounded: so the same sample is the same on every card.
 */
void pcm_to_s16(const struct pcm_layout *layout, const uint8_t *from,
		size_t count, uint8_t *to);

#endif
