/* SPDX-License-Identifier: Apache-2.0 */
/* tsalign's core against 128-bit and long double models, and its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsalign_core.h"

#define MS 1000000u
#define ROUNDS 20000

__extension__ typedef unsigned __int128 wide;
__extension__ typedef __int128 wide_signed;

static uint64_t random_state;

static uint64_t random_u64(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Of any size, and often at an edge. */
static uint64_t random_any(void)
{
	static const uint64_t edges[] = {0,	     1,
					 UINT32_MAX, UINT64_C(1) << 32,
					 INT64_MAX,  UINT64_C(1) << 63,
					 UINT64_MAX};
	uint64_t pick = random_u64();

	if (pick % 8 < 7)
		return random_u64() >> (pick >> 8) % 64;
	return edges[(pick >> 8) % 7];
}

/* --- arithmetic ------------------------------------------------------------ */

static void products_are_those_of_128_bits(void **state)
{
	(void)state;
	random_state = 1;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t a = random_any();
		uint64_t b = random_any();
		uint32_t shift = (uint32_t)(random_u64() % 64);
		wide p = (wide)a * b;
		uint64_t high;

		assert_true(tsa_mul(a, b, &high) == (uint64_t)p);
		assert_true(high == (uint64_t)(p >> 64));
		assert_true(tsa_mul_pieces(a, b, &high) == (uint64_t)p);
		assert_true(high == (uint64_t)(p >> 64));
		p >>= shift;
		assert_true(tsa_mul_shr(a, b, shift) ==
			    (p > UINT64_MAX ? UINT64_MAX : (uint64_t)p));
	}
}

static void quotients_are_the_nearest(void **state)
{
	(void)state;
	random_state = 2;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t n = random_any();
		uint64_t d = random_any() | (i & 1);
		uint32_t shift = (uint32_t)(random_u64() % 64);
		wide q;

		if (!d)
			continue;
		q = (wide)n << shift;
		q = q / d + (q % d >= d - q % d);
		assert_true(tsa_div_shl(n, shift, d) ==
			    (q > UINT64_MAX ? UINT64_MAX : (uint64_t)q));
	}
}

/* --- maps ------------------------------------------------------------------ */

static struct tsa_map random_map(void)
{
	return (struct tsa_map){
		.base_counter = random_any(),
		.base_ns = random_any(),
		.mult = random_any(),
		.shift = (uint32_t)(random_u64() % 64),
	};
}

static void map_apply_is_the_published_formula(void **state)
{
	(void)state;
	random_state = 3;
	for (int i = 0; i < ROUNDS; i++) {
		struct tsa_map m = random_map();
		uint64_t counter = random_any();
		int64_t diff = (int64_t)(counter - m.base_counter);
		wide size =
			(wide)(diff < 0 ? -(wide)diff : (wide)diff) * m.mult;
		wide_signed at;

		size = (diff < 0 ? -(wide)diff : (wide)diff);
		size *= m.mult;
		/* Rounded down, as an arithmetic shift does. */
		if (diff < 0)
			size = (size >> m.shift) +
			       ((size & (((wide)1 << m.shift) - 1)) != 0);
		else
			size >>= m.shift;
		if (size > (wide)1 << 66)
			size = (wide)1 << 66;
		at = (wide_signed)m.base_ns +
		     (diff < 0 ? -(wide_signed)size : (wide_signed)size);
		if (at < 0)
			at = 0;
		if (at > (wide_signed)UINT64_MAX)
			at = (wide_signed)UINT64_MAX;
		assert_true(tsa_map_apply(&m, counter) == (uint64_t)at);
	}
}

static void map_invert_finds_the_nearest_counter(void **state)
{
	(void)state;
	random_state = 4;
	for (int i = 0; i < ROUNDS; i++) {
		struct tsa_map m = {
			.base_counter = random_u64() >> 2,
			.base_ns = (random_u64() >> 2) | (UINT64_C(1) << 60),
			.mult = (UINT64_C(1) << 46) + (random_u64() >> 18),
			.shift = (uint32_t)(random_u64() % 47),
		};
		uint64_t counter = m.base_counter +
				   (random_u64() & 0xffff) * (i & 1 ? 1 : -1);
		uint64_t ns = tsa_map_apply(&m, counter);

		if (!ns || ns == UINT64_MAX || counter > INT64_MAX)
			continue;
		/* A count is at least half a nanosecond: one to a result. */
		assert_true(tsa_map_invert(&m, ns) - counter + 1 <= 2);
	}
}

static void map_invert_saturates(void **state)
{
	struct tsa_map m = {100, 1000, 10, 0};

	(void)state;
	assert_int_equal(tsa_map_invert(&m, 1000), 100);
	assert_int_equal(tsa_map_invert(&m, 1014), 101);
	assert_int_equal(tsa_map_invert(&m, 1016), 102);
	assert_int_equal(tsa_map_invert(&m, 985), 98);
	assert_int_equal(tsa_map_invert(&m, 0), 0);
	m.base_counter = 5;
	assert_int_equal(tsa_map_invert(&m, 0), 0);
	m.base_counter = UINT64_MAX - 1;
	assert_true(tsa_map_invert(&m, UINT64_MAX) == UINT64_MAX);
	m.mult = 0;
	assert_true(tsa_map_invert(&m, 7) == m.base_counter);
}

static void map_compose_is_one_after_the_other(void **state)
{
	int composed = 0;

	(void)state;
	random_state = 5;
	for (int i = 0; i < ROUNDS; i++) {
		struct tsa_map a = random_map();
		struct tsa_map b = random_map();
		struct tsa_map c;
		uint64_t counter = random_any();
		uint64_t ns = tsa_map_apply(&a, counter);
		uint64_t one = tsa_map_apply(&b, ns);
		int r = tsa_map_compose(&a, &b, counter, &c);
		long double want;
		long double got;

		if (r < 0) {
			assert_int_equal(r, -ERANGE);
			continue;
		}
		composed++;
		assert_true(tsa_map_apply(&c, counter) == one);
		want = (long double)a.mult * (long double)b.mult;
		got = (long double)c.mult;
		for (uint32_t k = c.shift; k < a.shift + b.shift; k++)
			got *= 2;
		assert_true(c.shift < 64 && c.mult < UINT64_C(1) << 63);
		/* What was cut off is below one of mult. */
		assert_true(got <= want * 1.000000000001L);
		assert_true(got * (1 + 1 / (long double)c.mult) >=
			    want * 0.999999999999L);
	}
	assert_true(composed > ROUNDS / 50);
}

/* --- counters -------------------------------------------------------------- */

static void unwrap_follows_a_counter_of_any_width(void **state)
{
	(void)state;
	random_state = 6;
	for (uint32_t bits = 2; bits <= 64; bits++) {
		uint64_t mask = UINT64_MAX >> (64 - bits);
		uint64_t most = mask >> 1;
		struct tsa_unwrap u;
		uint64_t truth = mask - (mask >> 2);

		tsa_unwrap_init(&u, bits);
		for (int i = 0; i < 200; i++) {
			assert_true(tsa_unwrap(&u, truth & mask) == truth);
			if (bits > 55)
				truth += random_u64() & 0xffff;
			else
				truth += random_u64() % (most + 1);
		}
	}
}

static void unwrap_knows_a_step_back(void **state)
{
	struct tsa_unwrap u;

	(void)state;
	tsa_unwrap_init(&u, 8);
	assert_int_equal(tsa_unwrap(&u, 250), 250);
	assert_int_equal(tsa_unwrap(&u, 3), 259);
	assert_int_equal(tsa_unwrap(&u, 251), 251);
	assert_int_equal(tsa_unwrap(&u, 3), 259);
	tsa_unwrap_init(&u, 32);
	assert_int_equal(tsa_unwrap(&u, 1000), 1000);
	assert_int_equal(tsa_unwrap(&u, 0), 0);
	/* No counter is below 0: that was a turn. */
	assert_true(tsa_unwrap(&u, UINT32_MAX) == UINT32_MAX);
}

/* --- rules ----------------------------------------------------------------- */

static void rule_offset_leads_from_point_to_point(void **state)
{
	static const struct {
		struct tsalign_rule rule;
		int64_t ns;
	} cases[] = {
		{{.stamped = TSALIGN_POINT_SOF, .point = TSALIGN_POINT_SOF}, 0},
		{{.stamped = TSALIGN_POINT_EOF,
		  .point = TSALIGN_POINT_SOF,
		  .readout_ns = 30},
		 -30},
		{{.stamped = TSALIGN_POINT_SOF,
		  .point = TSALIGN_POINT_EOF,
		  .readout_ns = 30,
		  .delay_ns = 5},
		 25},
		{{.stamped = TSALIGN_POINT_SOF,
		  .point = TSALIGN_POINT_MID,
		  .readout_ns = 30,
		  .exposure_ns = 20},
		 5},
		{{.stamped = TSALIGN_POINT_SOE,
		  .point = TSALIGN_POINT_MID,
		  .exposure_ns = 20},
		 10},
		{{.stamped = TSALIGN_POINT_EOF,
		  .point = TSALIGN_POINT_SOE,
		  .readout_ns = 30,
		  .exposure_ns = 20},
		 -50},
		{{.stamped = TSALIGN_POINT_ARRIVAL,
		  .point = TSALIGN_POINT_ARRIVAL,
		  .delay_ns = 7},
		 -7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = NULL;
		int64_t ns = 1;

		assert_int_equal(tsa_rule_offset(&cases[i].rule, &ns, &why), 0);
		assert_int_equal(ns, cases[i].ns);
		assert_null(why);
	}
}

static void rule_offset_names_the_contradiction(void **state)
{
	static const struct {
		struct tsalign_rule rule;
		const char *why;
	} cases[] = {
		{{.stamped = 6}, "stamped"},
		{{.point = 6}, "point"},
		{{.point = TSALIGN_POINT_SOF}, "stamped"},
		{{.stamped = TSALIGN_POINT_ARRIVAL, .point = TSALIGN_POINT_SOF},
		 "stamped"},
		{{.stamped = TSALIGN_POINT_SOF, .point = TSALIGN_POINT_ARRIVAL},
		 "point"},
		{{.stamped = TSALIGN_POINT_SOF,
		  .point = TSALIGN_POINT_EOF,
		  .exposure_ns = 1},
		 "readout_ns"},
		{{.stamped = TSALIGN_POINT_SOF,
		  .point = TSALIGN_POINT_MID,
		  .readout_ns = 1},
		 "exposure_ns"},
		{{.delay_ns = INT64_MIN}, "delay_ns"},
		{{.readout_ns = UINT64_MAX}, "readout_ns"},
		{{.exposure_ns = UINT64_MAX}, "exposure_ns"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = "";
		int64_t ns = 1;

		assert_int_equal(tsa_rule_offset(&cases[i].rule, &ns, &why),
				 -EINVAL);
		assert_string_equal(why, cases[i].why);
		assert_int_equal(ns, 1);
	}
}

/* --- triggers -------------------------------------------------------------- */

static const struct tsalign_trigger trigger = {
	.enable = 1,
	.rate_mhz = 30000,
	.pulse_ns = MS,
	.exposure_ns = 10 * MS,
};

static void trigger_fires_on_the_grid(void **state)
{
	struct tsalign_trigger t = trigger;
	uint64_t k;

	(void)state;
	assert_int_equal(tsa_trigger_next(&t, 0, &k), 33333333);
	assert_int_equal(k, 1);
	assert_int_equal(tsa_trigger_next(&t, 33333333, &k), 66666666);
	/* Thirds do not add up: the hundredth second is exact. */
	assert_true(tsa_trigger_next(&t, 99999999999, &k) == 100000000000);
	assert_int_equal(k, 3000);
	t.phase_ns = 20 * MS;
	assert_int_equal(tsa_trigger_next(&t, 0, &k), 20 * MS);
	assert_int_equal(k, 0);
	t.centred = 1;
	assert_int_equal(tsa_trigger_next(&t, 0, &k), 15 * MS);
	assert_int_equal(tsa_trigger_next(&t, 15 * MS, &k), 48333333);
	assert_true(tsa_trigger_next(&t, UINT64_MAX, &k) == UINT64_MAX);
	t.rate_mhz = 0;
	assert_true(tsa_trigger_next(&t, 0, &k) == UINT64_MAX);
}

static void trigger_next_is_the_first_after(void **state)
{
	(void)state;
	random_state = 7;
	for (int i = 0; i < ROUNDS; i++) {
		struct tsalign_trigger t = trigger;
		uint64_t ref = random_any() >> 2;
		uint64_t at;
		uint64_t k;
		uint64_t was;
		wide want;

		t.rate_mhz = 1 + random_u64() % 1000000;
		t.phase_ns = random_u64() % (1000000000000 / t.rate_mhz);
		t.exposure_ns = random_u64() % (1000000000000 / t.rate_mhz);
		t.centred = i & 1;
		at = tsa_trigger_next(&t, ref, &k);
		assert_true(at > ref);
		want = (wide)k * 1000000000000 / t.rate_mhz + t.phase_ns -
		       (t.centred ? t.exposure_ns / 2 : 0);
		assert_true(want == at);
		/* The one before it is not after ref. */
		want = (wide)k * 1000000000000 / t.rate_mhz -
		       1000000000000 / t.rate_mhz;
		if (k > 1 && want > ref / 2)
			assert_true(at - ref <= 1000000000000 / t.rate_mhz + 1);
		was = k;
		assert_true(tsa_trigger_next(&t, at, &k) > at);
		assert_true(k == was + 1);
	}
}

static void trigger_check_names_the_field(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
		bool short_field;
		const char *why;
	} cases[] = {
#define FIELD(f, v) \
	{offsetof(struct tsalign_trigger, f), v, sizeof(trigger.f) == 4, #f}
		FIELD(index, TSALIGN_TRIGGERS_MAX),
		FIELD(enable, 2),
		FIELD(rate_mhz, 0),
		FIELD(rate_mhz, 1000001),
		FIELD(phase_ns, 33333333),
		FIELD(pulse_ns, 9999),
		FIELD(pulse_ns, 33333333),
		FIELD(centred, 2),
		FIELD(exposure_ns, 33333334),
	};
	const char *why = NULL;

	(void)state;
	assert_int_equal(tsa_trigger_check(&trigger, &why), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tsalign_trigger t = trigger;
		uint32_t v = (uint32_t)cases[i].value;

		if (cases[i].short_field)
			memcpy((char *)&t + cases[i].offset, &v, sizeof(v));
		else
			memcpy((char *)&t + cases[i].offset, &cases[i].value,
			       sizeof(cases[i].value));
		assert_int_equal(tsa_trigger_check(&t, &why), -EINVAL);
		assert_string_equal(why, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_are_those_of_128_bits),
		cmocka_unit_test(quotients_are_the_nearest),
		cmocka_unit_test(map_apply_is_the_published_formula),
		cmocka_unit_test(map_invert_finds_the_nearest_counter),
		cmocka_unit_test(map_invert_saturates),
		cmocka_unit_test(map_compose_is_one_after_the_other),
		cmocka_unit_test(unwrap_follows_a_counter_of_any_width),
		cmocka_unit_test(unwrap_knows_a_step_back),
		cmocka_unit_test(rule_offset_leads_from_point_to_point),
		cmocka_unit_test(rule_offset_names_the_contradiction),
		cmocka_unit_test(trigger_fires_on_the_grid),
		cmocka_unit_test(trigger_next_is_the_first_after),
		cmocka_unit_test(trigger_check_names_the_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
