/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What synthetic sources show: pure functions of the frame's number, so that
 * a test knows each byte that it must get back.
 */
#ifndef CAPTURE_SRC_PATTERN_H
#define CAPTURE_SRC_PATTERN_H

#include <stdint.h>

#include <capture/api.h>

/* Whole periods per second of pattern_tone(). */
#define PATTERN_TONE_HZ 440u
/* Highest value of pattern_tone(): half of full scale. */
#define PATTERN_TONE_PEAK 16384

/*
 * Eight colour bars of equal width (75 %, BT.601, limited range) that move
 * left by two pixels a frame. YU12, NV12 or YUYV in one plane; even sides.
 */
void pattern_bars(const struct capture_format *format, uint64_t sequence,
		  uint8_t *to);

/*
 * Y16: counts rise by 8 a column and 4 a line from 27315 (0 degrees Celsius
 * in hundredths of a kelvin), and by 1 a frame; a square of 1/8 of the width
 * that is 4000 counts hotter goes round.
 */
void pattern_thermal(const struct capture_format *format, uint64_t sequence,
		     uint8_t *to);

/* CU08: I and Q of a chirp that starts anew with each frame. */
void pattern_chirp(uint32_t samples, uint64_t sequence, uint8_t *to);

/* S16 sine of PATTERN_TONE_HZ from sample @first on; all channels alike. */
void pattern_tone(uint64_t first, uint32_t samples, uint32_t sample_rate,
		  uint32_t channels, uint8_t *to);

#endif
