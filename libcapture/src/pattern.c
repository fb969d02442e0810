/* SPDX-License-Identifier: Apache-2.0 */
#include "src/pattern.h"

#include <string.h>

#include "base/bytes.h"

#define BARS 8u
#define BAR_STEP 2u /* pixels a frame: even, so that chroma moves along */

#define THERMAL_BASE 27315u
#define THERMAL_HOT 4000u

/* White, yellow, cyan, green, magenta, red, blue, black. */
static const uint8_t bar_y[BARS] = {180, 162, 131, 112, 84, 65, 35, 16};
static const uint8_t bar_u[BARS] = {128, 44, 156, 72, 184, 100, 212, 128};
static const uint8_t bar_v[BARS] = {128, 142, 44, 58, 198, 212, 114, 128};

static uint32_t bar_of(const struct capture_format *format, uint64_t sequence,
		       uint32_t x)
{
	uint64_t at = (x + sequence % format->width * BAR_STEP) % format->width;

	return (uint32_t)(at * BARS / format->width);
}

static void repeat_row(uint8_t *rows, size_t stride, size_t bytes,
		       uint32_t count)
{
	uint32_t i;

	for (i = 1; i < count; i++)
		memcpy(rows + i * stride, rows, bytes);
}

static void bars_yuyv(const struct capture_format *format, uint64_t sequence,
		      uint8_t *to)
{
	uint32_t x;

	for (x = 0; x < format->width; x += 2) {
		uint32_t bar = bar_of(format, sequence, x);

		to[2 * x] = bar_y[bar];
		to[2 * x + 1] = bar_u[bar];
		to[2 * x + 2] = bar_y[bar_of(format, sequence, x + 1)];
		to[2 * x + 3] = bar_v[bar];
	}
	repeat_row(to, format->stride[0], (size_t)2 * format->width,
		   format->height);
}

static void bars_chroma(const struct capture_format *format, uint64_t sequence,
			uint8_t *to)
{
	size_t half = format->stride[0] / 2;
	uint8_t *v = to + half * (format->height / 2);
	uint32_t x;

	for (x = 0; x < format->width / 2; x++) {
		uint32_t bar = bar_of(format, sequence, 2 * x);

		if (format->fourcc == CAPTURE_FORMAT_NV12) {
			to[2 * x] = bar_u[bar];
			to[2 * x + 1] = bar_v[bar];
		} else {
			to[x] = bar_u[bar];
			v[x] = bar_v[bar];
		}
	}
	if (format->fourcc == CAPTURE_FORMAT_NV12) {
		repeat_row(to, 2 * half, format->width, format->height / 2);
		return;
	}
	repeat_row(to, half, format->width / 2, format->height / 2);
	repeat_row(v, half, format->width / 2, format->height / 2);
}

void pattern_bars(const struct capture_format *format, uint64_t sequence,
		  uint8_t *to)
{
	size_t stride = format->stride[0];
	uint32_t x;

	if (format->fourcc == CAPTURE_FORMAT_YUYV) {
		bars_yuyv(format, sequence, to);
		return;
	}
	for (x = 0; x < format->width; x++)
		to[x] = bar_y[bar_of(format, sequence, x)];
	repeat_row(to, stride, format->width, format->height);
	bars_chroma(format, sequence, to + stride * format->height);
}

void pattern_thermal(const struct capture_format *format, uint64_t sequence,
		     uint8_t *to)
{
	uint32_t side = format->width / 8;
	uint32_t left = (uint32_t)(sequence % format->width);
	uint32_t top = (uint32_t)(sequence % format->height);
	uint32_t x;
	uint32_t y;

	for (y = 0; y < format->height; y++) {
		for (x = 0; x < format->width; x++) {
			uint32_t v = THERMAL_BASE + 8 * x + 4 * y +
				     (uint32_t)(sequence % 1000);

			if (x - left < side && y - top < side)
				v += THERMAL_HOT;
			store_le16(to + 2 * x, (uint16_t)v);
		}
		to += format->stride[0];
	}
}

/*
 * Sine of @phase (2^32: a whole turn) at @peak, by a polynomial of the fifth
 * degree over a quarter turn: 80 dB, and the same on every machine.
 */
static int32_t sine(uint32_t phase, int32_t peak)
{
	uint32_t quarter = phase >> 30;
	int64_t x = phase & 0x3fffffff; /* 30 bits: a quarter turn */
	int64_t square;
	int64_t y;

	if (quarter & 1)
		x = (INT64_C(1) << 30) - x;
	x >>= 10; /* 20 bits */
	square = x * x >> 20;
	/* pi/2 - 0.64321 x^2 + 0.07271 x^4, in 20 bits */
	y = INT64_C(1646922) - (square * 674475 >> 20) +
	    ((square * square >> 20) * 76242 >> 20);
	y = y * x >> 20;
	if (y > INT64_C(1) << 20)
		y = INT64_C(1) << 20;
	y = y * peak >> 20;
	return (int32_t)(quarter & 2 ? -y : y);
}

void pattern_chirp(uint32_t samples, uint64_t sequence, uint8_t *to)
{
	uint32_t phase = (uint32_t)sequence << 24;
	uint32_t step = 0;
	uint32_t i;

	for (i = 0; i < samples; i++) {
		to[2 * i] = (uint8_t)(128 + sine(phase + (1u << 30), 100));
		to[2 * i + 1] = (uint8_t)(128 + sine(phase, 100));
		phase += step;
		step += 1u << 20;
	}
}

void pattern_tone(uint64_t first, uint32_t samples, uint32_t sample_rate,
		  uint32_t channels, uint8_t *to)
{
	uint32_t i;
	uint32_t c;

	for (i = 0; i < samples; i++) {
		/* Of one second: whole periods, so nothing adds up. */
		uint64_t at = (first + i) % sample_rate * PATTERN_TONE_HZ %
			      sample_rate;
		uint32_t phase = (uint32_t)((at << 32) / sample_rate);
		int32_t v = sine(phase, PATTERN_TONE_PEAK);

		for (c = 0; c < channels; c++) {
			store_le16(to, (uint16_t)(int16_t)v);
			to += 2;
		}
	}
}
