/* SPDX-License-Identifier: Apache-2.0 */
#include "src/frame_count.h"

#include <errno.h>

#include "base/bytes.h"
#include "src/thermal_map.h"

#define NS_PER_S UINT64_C(1000000000)
#define WORD_BYTES 2u
#define WORD_BITS 16u
/* A counter's lap is no shorter, or nobody knows how many there were. */
#define LAP_S 4u
#define SLACK_DIV 64u

static uint64_t mask_of(const struct capture_counter_setting *setting)
{
	return UINT64_MAX >> (64 - setting->bits);
}

int frame_count_check(const struct capture_counter_setting *setting)
{
	uint32_t bits = setting->bits;

	if (!bits)
		return 0;
	if (bits % WORD_BITS || bits > 64 || !setting->hz ||
	    setting->hz > NS_PER_S ||
	    mask_of(setting) / LAP_S < (uint64_t)setting->hz)
		return -EINVAL;
	return 0;
}

/* From the top; the format's height or more: there is none. */
static uint64_t row_of(const struct capture_counter_setting *setting,
		       uint32_t height)
{
	int64_t row = setting->row;

	return (uint64_t)(row < 0 ? row + (int64_t)height : row);
}

int frame_count_fits(const struct capture_counter_setting *setting,
		     const struct capture_format *format)
{
	uint64_t words = setting->bits / WORD_BITS;

	/* 16 bits of each pixel, whatever of them is the picture's. */
	if (thermal_bits(format->fourcc) <= 8)
		return -EPROTONOSUPPORT;
	if (row_of(setting, format->height) >= format->height ||
	    (uint64_t)setting->word + words > format->width)
		return -ERANGE;
	return 0;
}

uint32_t frame_count_at(const struct capture_counter_setting *setting,
			const struct capture_format *format,
			uint32_t *ret_bytes)
{
	*ret_bytes = setting->bits / WORD_BITS * WORD_BYTES;
	return (uint32_t)row_of(setting, format->height) * format->stride[0] +
	       setting->word * WORD_BYTES;
}

uint64_t frame_count_read(const struct capture_counter_setting *setting,
			  uint32_t fourcc, const uint8_t *bytes)
{
	bool big = fourcc == CAPTURE_FORMAT_Y16_BE;
	uint32_t count = setting->bits / WORD_BITS;
	uint64_t value = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		/* The highest word first. */
		const uint8_t *at =
			bytes +
			(setting->low_first ? count - 1 - i : i) * WORD_BYTES;

		value = value << WORD_BITS |
			(big ? load_be16(at) : load_le16(at));
	}
	return value;
}

static uint64_t ticks_in(const struct capture_counter_setting *setting,
			 uint64_t ns)
{
	return ns / NS_PER_S * setting->hz +
	       ns % NS_PER_S * setting->hz / NS_PER_S;
}

/* Whether @raw goes on from @from_raw, @ns later; 0 ticks do, too. */
static bool goes_on(const struct capture_counter_setting *setting,
		    uint64_t from_raw, uint64_t raw, uint64_t ns,
		    uint64_t *ret_step)
{
	uint64_t mask = mask_of(setting);
	uint64_t passed = ticks_in(setting, ns);
	uint64_t slack = passed / SLACK_DIV + setting->hz / 2 + 1;
	uint64_t ahead = (raw - from_raw - passed) & mask;
	uint64_t behind = (0 - ahead) & mask;

	/* So long ago that any count would do. */
	if (slack > mask / 2)
		return false;
	if (ahead <= slack) {
		*ret_step = passed + ahead;
		return true;
	}
	*ret_step = passed - behind;
	return behind <= slack && behind <= passed;
}

static void believe(struct frame_count *c, uint64_t raw, uint64_t stamp_ns,
		    uint64_t ticks)
{
	*c = (struct frame_count){
		.known = true,
		.raw = raw,
		.stamp_ns = stamp_ns,
		.ticks = ticks,
	};
}

enum frame_count_is
frame_count_follow(struct frame_count *c,
		   const struct capture_counter_setting *setting, uint64_t raw,
		   uint64_t stamp_ns, uint64_t *ret_ticks)
{
	uint64_t passed_ns = stamp_ns - c->stamp_ns;
	uint64_t step;

	*ret_ticks = raw;
	if (!c->known) {
		believe(c, raw, stamp_ns, raw);
		return FRAME_COUNT_GOOD;
	}
	if (raw != c->raw && goes_on(setting, c->raw, raw, passed_ns, &step)) {
		*ret_ticks = c->ticks + step;
		believe(c, raw, stamp_ns, *ret_ticks);
		return FRAME_COUNT_GOOD;
	}
	if (c->doubt && raw != c->doubt_raw &&
	    goes_on(setting, c->doubt_raw, raw, stamp_ns - c->doubt_ns,
		    &step)) {
		believe(c, raw, stamp_ns, raw);
		return FRAME_COUNT_ANEW;
	}
	/* One that stands still says nothing, and is no other line. */
	c->doubt = raw != c->raw;
	c->doubt_raw = raw;
	c->doubt_ns = stamp_ns;
	*ret_ticks = c->ticks + ticks_in(setting, passed_ns);
	return FRAME_COUNT_GUESSED;
}
