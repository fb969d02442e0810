/* SPDX-License-Identifier: Apache-2.0 */
#include "src/thermal_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

/* Numbers that are the same in every run. */
static uint32_t seed;

static uint32_t next_number(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* --- counts ------------------------------------------------------------- */

static void counts_are_read_as_their_format_says(void **state)
{
	static const uint8_t bytes[] = {0x34, 0x12, 0xff, 0xff, 0x00, 0x80};
	uint16_t c[6];

	(void)state;
	thermal_read_row(CAPTURE_FORMAT_Y16, bytes, c, 3);
	assert_int_equal(c[0], 0x1234);
	assert_int_equal(c[1], 0xffff);
	assert_int_equal(c[2], 0x8000);
	thermal_read_row(CAPTURE_FORMAT_Y16_BE, bytes, c, 3);
	assert_int_equal(c[0], 0x3412);
	assert_int_equal(c[1], 0xffff);
	assert_int_equal(c[2], 0x0080);
	thermal_read_row(CAPTURE_FORMAT_GREY, bytes, c, 6);
	assert_int_equal(c[0], 0x34);
	assert_int_equal(c[5], 0x80);
}

/* What a driver leaves in the padding is no heat. */
static void counts_have_no_more_bits_than_their_format(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0x01, 0xc0};
	uint16_t c[2];

	(void)state;
	thermal_read_row(CAPTURE_FORMAT_Y14, bytes, c, 2);
	assert_int_equal(c[0], 0x3fff);
	assert_int_equal(c[1], 1);
	thermal_read_row(CAPTURE_FORMAT_Y12, bytes, c, 2);
	assert_int_equal(c[0], 0x0fff);
	thermal_read_row(CAPTURE_FORMAT_Y10, bytes, c, 2);
	assert_int_equal(c[0], 0x03ff);
	assert_int_equal(thermal_bits(CAPTURE_FORMAT_YUYV), 0);
}

/* --- the scene's range -------------------------------------------------- */

static struct thermal_histogram histogram;

static void range_leaves_outliers_out(void **state)
{
	uint16_t c[1000];
	struct thermal_span all;
	struct thermal_span s;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(c); i++)
		c[i] = (uint16_t)(8000 + i % 100);
	c[3] = 65535;
	c[4] = 0;
	s = thermal_histogram_take(&histogram, c, ARRAY_SIZE(c), 5, &all);
	assert_int_equal(all.min, 0);
	assert_int_equal(all.max, 65535);
	assert_int_equal(s.min, 8000);
	assert_int_equal(s.max, 8099);
	s = thermal_histogram_take(&histogram, c, ARRAY_SIZE(c), 0, &all);
	assert_int_equal(s.min, 0);
	assert_int_equal(s.max, 65535);
}

/* The rule by sorting, which no histogram can get wrong in the same way. */
static int by_value(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void range_is_that_of_the_sorted_counts(void **state)
{
	static const uint32_t permilles[] = {0, 1, 5, 37, 200};
	uint16_t c[700];
	struct thermal_span all;
	struct thermal_span s;
	unsigned int run;
	size_t i;

	(void)state;
	seed = 1;
	for (run = 0; run < 200; run++) {
		uint32_t permille = permilles[run % ARRAY_SIZE(permilles)];
		size_t n = 1 + next_number(ARRAY_SIZE(c));
		uint32_t below = 1 + next_number(THERMAL_BINS);
		size_t clip = n * permille / 1000;

		for (i = 0; i < n; i++)
			c[i] = (uint16_t)(65535 - next_number(below));
		if (permille && !clip && n > 2)
			clip = 1;
		s = thermal_histogram_take(&histogram, c, n, permille, &all);
		qsort(c, n, sizeof(c[0]), by_value);
		assert_int_equal(all.min, c[0]);
		assert_int_equal(all.max, c[n - 1]);
		assert_int_equal(s.min, c[clip]);
		assert_int_equal(s.max, c[n - 1 - clip]);
	}
	for (i = 0; i < THERMAL_BINS; i++)
		assert_int_equal(histogram.bins[i], 0);
}

/* --- the shown range ---------------------------------------------------- */

static struct thermal_range range_new(uint32_t hysteresis, uint32_t span_min)
{
	return (struct thermal_range){.hysteresis_permille = hysteresis,
				      .span_min = span_min};
}

static struct thermal_span span(uint32_t min, uint32_t max)
{
	return (struct thermal_span){min, max};
}

static void range_of_a_constant_scene_never_moves(void **state)
{
	struct thermal_range r = range_new(50, 64);
	int i;

	(void)state;
	assert_true(thermal_range_follow(&r, span(7000, 9000)));
	for (i = 0; i < 1000; i++)
		assert_false(thermal_range_follow(&r, span(7000, 9000)));
	assert_int_equal(r.min.value, 7000);
	assert_int_equal(r.max.value, 9000);
}

static void range_rests_inside_its_dead_band(void **state)
{
	struct thermal_range r = range_new(50, 64);
	int i;

	(void)state;
	seed = 7;
	assert_true(thermal_range_follow(&r, span(7000, 9000)));
	for (i = 0; i < 1000; i++) /* the band is 2000 / 20 */
		assert_false(thermal_range_follow(
			&r, span(6900 + next_number(201),
				 8900 + next_number(201))));
	assert_true(thermal_range_follow(&r, span(6899, 9000)));
}

/* Going there takes steps, ends, and ends for good. */
static void range_goes_to_a_new_scene_and_rests(void **state)
{
	struct thermal_range r = range_new(50, 64);
	uint32_t before;
	int moves = 0;
	int i;

	(void)state;
	(void)thermal_range_follow(&r, span(7000, 9000));
	before = r.max.value;
	while (thermal_range_follow(&r, span(7000, 29000))) {
		assert_true(r.max.value > before);
		assert_true(r.max.value - before <= (29000 - before + 3) / 4);
		before = r.max.value;
		moves++;
		assert_true(moves < 50);
	}
	assert_true(moves > 5);
	assert_int_equal(r.min.value, 7000);
	assert_in_range(r.max.value, 29000 - 22000 / 20, 29000);
	for (i = 0; i < 100; i++)
		assert_false(thermal_range_follow(&r, span(7000, 29000)));
}

static void range_is_never_narrower_than_asked(void **state)
{
	struct thermal_range r = range_new(50, 64);

	(void)state;
	(void)thermal_range_follow(&r, span(500, 500));
	assert_int_equal(r.max.value - r.min.value, 64);
	assert_int_equal(r.min.value, 468);
	r = range_new(50, 64);
	(void)thermal_range_follow(&r, span(65535, 65535));
	assert_int_equal(r.max.value, 65535);
	assert_int_equal(r.min.value, 65535 - 64);
	r = range_new(50, 65535);
	(void)thermal_range_follow(&r, span(0, 0));
	assert_int_equal(r.max.value, 65535);
}

/* Whatever scenes come, the range stays one, and arrives at a lasting one. */
static void range_holds_with_any_scenes(void **state)
{
	uint32_t run;

	(void)state;
	seed = 3;
	for (run = 0; run < 300; run++) {
		struct thermal_range r =
			range_new(next_number(501), 1 + next_number(2000));
		struct thermal_span s = {0, 0};
		uint32_t band;
		int i;

		for (i = 0; i < 50; i++) {
			s.min = next_number(THERMAL_BINS);
			s.max = s.min + next_number(THERMAL_BINS - s.min);
			(void)thermal_range_follow(&r, s);
			assert_true(r.max.value <= THERMAL_COUNT_MAX);
			assert_true(r.max.value - r.min.value >= r.span_min);
			assert_true(r.max.value > r.min.value);
		}
		for (i = 0; i < 200 && thermal_range_follow(&r, s); i++)
			;
		assert_true(i < 200);
		if (s.max - s.min < r.span_min)
			continue;
		band = (r.max.value - r.min.value) * r.hysteresis_permille /
		       1000;
		assert_true((uint32_t)abs((int)r.max.value - (int)s.max) <=
			    band);
		assert_true((uint32_t)abs((int)r.min.value - (int)s.min) <=
			    band);
	}
}

/* --- colours ------------------------------------------------------------ */

static void index_spans_all_colours_and_never_falls(void **state)
{
	static const struct thermal_span spans[] = {
		{0, 1},	    {0, 65535}, {65534, 65535}, {7000, 7064},
		{100, 355}, {1, 65535}, {30000, 43777},
	};
	static uint16_t counts[THERMAL_BINS];
	static uint8_t index[THERMAL_BINS];
	uint32_t width;
	uint32_t exact;
	size_t i;
	size_t k;

	(void)state;
	for (i = 0; i < THERMAL_BINS; i++)
		counts[i] = (uint16_t)i;
	for (k = 0; k < ARRAY_SIZE(spans); k++) {
		thermal_index_row(spans[k], counts, index, THERMAL_BINS);
		for (i = 1; i < THERMAL_BINS; i++)
			assert_true(index[i] >= index[i - 1]);
		assert_int_equal(index[0], 0);
		assert_int_equal(index[spans[k].min], 0);
		width = spans[k].max - spans[k].min;
		for (i = spans[k].min; i <= spans[k].max; i++) {
			exact = ((uint32_t)i - spans[k].min) * 255u / width;
			assert_in_range(index[i], exact, exact + 1);
		}
		assert_int_equal(index[spans[k].max], 255);
		assert_int_equal(index[THERMAL_COUNT_MAX], 255);
	}
}

static void palettes_of_grey_are_monotone_without_colour(void **state)
{
	struct thermal_colour white[THERMAL_COLOURS];
	struct thermal_colour black[THERMAL_COLOURS];
	size_t i;

	(void)state;
	thermal_palette_init(CAPTURE_PALETTE_WHITE_HOT, white);
	thermal_palette_init(CAPTURE_PALETTE_BLACK_HOT, black);
	assert_int_equal(white[0].y, 16);
	assert_int_equal(white[255].y, 235);
	for (i = 0; i < THERMAL_COLOURS; i++) {
		assert_int_equal(white[i].u, 128);
		assert_int_equal(white[i].v, 128);
		assert_int_equal(black[i].y, white[255 - i].y);
		if (i)
			assert_true(white[i].y >= white[i - 1].y);
	}
	assert_true(thermal_palette_is_grey(CAPTURE_PALETTE_BLACK_HOT));
	assert_false(thermal_palette_is_grey(CAPTURE_PALETTE_IRON));
}

static void palettes_of_colour_stay_in_range_without_jumps(void **state)
{
	static const enum capture_palette all[] = {CAPTURE_PALETTE_IRON,
						   CAPTURE_PALETTE_RAINBOW};
	struct thermal_colour c[THERMAL_COLOURS];
	size_t k;
	size_t i;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(all); k++) {
		thermal_palette_init(all[k], c);
		for (i = 0; i < THERMAL_COLOURS; i++) {
			assert_in_range(c[i].y, 16, 235);
			assert_in_range(c[i].u, 16, 240);
			assert_in_range(c[i].v, 16, 240);
			if (!i)
				continue;
			assert_true(abs(c[i].y - c[i - 1].y) < 8);
			assert_true(abs(c[i].u - c[i - 1].u) < 8);
			assert_true(abs(c[i].v - c[i - 1].v) < 8);
			/* Iron keeps its order when seen in grey. */
			if (all[k] == CAPTURE_PALETTE_IRON)
				assert_true(c[i].y >= c[i - 1].y);
		}
	}
	/* Cold is blue, hot is red. */
	assert_true(c[0].u > 160 && c[0].v < 128);
	assert_true(c[255].v > 200 && c[255].u < 128);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_read_as_their_format_says),
		cmocka_unit_test(counts_have_no_more_bits_than_their_format),
		cmocka_unit_test(range_leaves_outliers_out),
		cmocka_unit_test(range_is_that_of_the_sorted_counts),
		cmocka_unit_test(range_of_a_constant_scene_never_moves),
		cmocka_unit_test(range_rests_inside_its_dead_band),
		cmocka_unit_test(range_goes_to_a_new_scene_and_rests),
		cmocka_unit_test(range_is_never_narrower_than_asked),
		cmocka_unit_test(range_holds_with_any_scenes),
		cmocka_unit_test(index_spans_all_colours_and_never_falls),
		cmocka_unit_test(palettes_of_grey_are_monotone_without_colour),
		cmocka_unit_test(
			palettes_of_colour_stay_in_range_without_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
