/* SPDX-License-Identifier: Apache-2.0 */
/* tsalign's fit, pairing and bursts: what is believed, and what is an epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsalign_core.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define S (1000 * MS)
#define PERIOD_NS 33333333u
#define BEGIN_NS (100 * S)

static uint64_t random_state;

static uint64_t random_u64(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Below 2 ms, and dense near 0. */
static uint64_t random_delay(void)
{
	uint64_t r = random_u64() % 2000;

	return r * r / 2;
}

/* A sensor of PERIOD_NS. */
struct sensor {
	struct tsa_fit fit;
	uint64_t counter;
	uint64_t ns;
	uint64_t epochs; /* verdicts */
};

static void sensor_init(struct sensor *s, const struct tsa_fit_config *config)
{
	static const struct tsa_fit_config none;

	random_state = 1;
	tsa_fit_init(&s->fit, config ? config : &none);
	s->counter = 7;
	s->ns = BEGIN_NS;
	s->epochs = 0;
}

static enum tsa_verdict sensor_give(struct sensor *s, uint64_t delay)
{
	enum tsa_verdict v;

	s->counter++;
	s->ns += PERIOD_NS;
	v = tsa_fit_add(&s->fit, s->counter, s->ns + delay, 0);
	s->epochs += v == TSA_EPOCH;
	return v;
}

static void sensor_run(struct sensor *s, unsigned int seconds)
{
	for (unsigned int i = 0; i < seconds * 30; i++)
		(void)sensor_give(s, random_delay());
}

static struct tsa_estimate sensor_estimate(const struct sensor *s)
{
	struct tsa_estimate e;

	tsa_fit_estimate(&s->fit, s->ns, &e);
	return e;
}

static void assert_near(const struct sensor *s)
{
	struct tsa_estimate e = sensor_estimate(s);
	uint64_t at = tsa_map_apply(&e.map, s->counter);

	assert_true(at + e.sigma_ns >= s->ns && at <= s->ns + e.sigma_ns);
}

static void fit_fits_where_it_is_embedded(void **state)
{
	(void)state;
	assert_true(sizeof(struct tsa_fit) < 8192);
}

static void fit_waits_then_locks(void **state)
{
	struct tsa_fit_config config = {.nominal_mhz = 30000};
	struct sensor s;
	struct tsa_estimate e;

	(void)state;
	sensor_init(&s, &config);
	e = sensor_estimate(&s);
	assert_int_equal(e.state, TSALIGN_WAITING);
	assert_int_equal(e.epoch, 1);
	assert_int_equal(e.cause, TSALIGN_CAUSE_START);
	for (int i = 0; i < 7; i++) {
		assert_int_equal(sensor_give(&s, random_delay()), TSA_TAKEN);
		e = sensor_estimate(&s);
		assert_int_equal(e.state, TSALIGN_WAITING);
		assert_true(e.sigma_ns == UINT64_MAX);
	}
	sensor_run(&s, 1);
	assert_int_equal(sensor_estimate(&s).state, TSALIGN_COARSE);
	assert_near(&s);
	sensor_run(&s, 20);
	e = sensor_estimate(&s);
	assert_int_equal(e.state, TSALIGN_LOCKED);
	assert_true(e.sigma_ns < 100 * US);
	assert_true(e.drift_ppb > -1000 && e.drift_ppb < 1000);
	assert_near(&s);
}

static void fit_tells_a_drift_by_its_sign(void **state)
{
	struct tsa_fit_config config = {.nominal_mhz = 29997};
	struct sensor s;

	(void)state;
	sensor_init(&s, &config);
	sensor_run(&s, 30);
	/* 30 Hz is 100 ppm faster than 29.997 Hz. */
	assert_true(sensor_estimate(&s).drift_ppb > 99000);
	assert_true(sensor_estimate(&s).drift_ppb < 101100);
}

static void fit_grows_its_bound_in_holdover(void **state)
{
	struct sensor s;
	struct tsa_estimate e;
	uint64_t sigma;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 30);
	sigma = sensor_estimate(&s).sigma_ns;
	s.ns += 10 * S;
	e = sensor_estimate(&s);
	assert_int_equal(e.state, TSALIGN_HOLDOVER);
	assert_true(e.sigma_ns > sigma);
	s.ns += 3600 * S;
	assert_true(sensor_estimate(&s).sigma_ns > e.sigma_ns);
}

static void fit_refuses_what_is_late_beyond_belief(void **state)
{
	struct sensor s;
	uint64_t outliers = 0;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 10);
	for (int i = 0; i < 5; i++)
		outliers += sensor_give(&s, 200 * MS) == TSA_OUTLIER;
	assert_int_equal(outliers, 5);
	assert_int_equal(sensor_estimate(&s).outliers, 5);
	assert_near(&s);
	sensor_run(&s, 10);
	assert_int_equal(s.epochs, 0);
	assert_near(&s);
}

static void fit_does_not_bend_to_one_early_sample(void **state)
{
	struct sensor s;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 20);
	s.ns -= 50 * MS;
	assert_int_equal(sensor_give(&s, 0), TSA_OUTLIER);
	s.ns += 50 * MS;
	sensor_run(&s, 20);
	assert_int_equal(s.epochs, 0);
	assert_near(&s);
}

static void fit_opens_one_epoch_for_a_step(void **state)
{
	static const int64_t steps_ms[] = {5,  33,  400,  20000,
					   -5, -33, -400, -20000};

	(void)state;
	for (size_t i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++) {
		struct sensor s;
		struct tsa_estimate e;

		sensor_init(&s, NULL);
		sensor_run(&s, 30);
		s.ns += (uint64_t)steps_ms[i] * MS;
		sensor_run(&s, 30);
		e = sensor_estimate(&s);
		assert_int_equal(s.epochs, 1);
		assert_int_equal(e.epoch, 2);
		assert_int_equal(e.cause, TSALIGN_CAUSE_DEVICE_STEP);
		assert_int_equal(e.state, TSALIGN_LOCKED);
		assert_near(&s);
	}
}

static void fit_opens_an_epoch_for_a_counter_that_began_anew(void **state)
{
	struct sensor s;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 10);
	s.counter = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(sensor_give(&s, 0), TSA_STALE);
	assert_int_equal(sensor_give(&s, 0), TSA_EPOCH);
	sensor_run(&s, 20);
	assert_int_equal(s.epochs, 1);
	assert_near(&s);
}

static void fit_ignores_duplicates(void **state)
{
	struct sensor s;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 10);
	for (int i = 0; i < 50; i++)
		assert_int_equal(tsa_fit_add(&s.fit, s.counter, s.ns, 0),
				 TSA_STALE);
	assert_int_equal(sensor_give(&s, 0), TSA_TAKEN);
	assert_int_equal(sensor_estimate(&s).epoch, 1);
}

static void fit_restarts_by_order_with_its_cause(void **state)
{
	struct sensor s;
	struct tsa_estimate e;

	(void)state;
	sensor_init(&s, NULL);
	sensor_run(&s, 10);
	tsa_fit_restart(&s.fit, TSALIGN_CAUSE_SUSPEND);
	e = sensor_estimate(&s);
	assert_int_equal(e.state, TSALIGN_WAITING);
	assert_int_equal(e.cause, TSALIGN_CAUSE_SUSPEND);
	assert_int_equal(e.epoch, 2);
	assert_int_equal(e.samples, 0);
	s.ns += 3600 * S;
	s.counter = 0;
	sensor_run(&s, 10);
	assert_int_equal(s.epochs, 0);
	assert_near(&s);
}

static void fit_counts_gaps_of_events_only(void **state)
{
	struct tsa_fit_config config = {.counter = TSALIGN_COUNT_TICKS};
	struct sensor s;

	(void)state;
	sensor_init(&s, NULL);
	(void)sensor_give(&s, 0);
	s.counter += 3;
	s.ns += 3u * PERIOD_NS;
	(void)sensor_give(&s, 0);
	assert_int_equal(sensor_estimate(&s).lost, 3);
	sensor_init(&s, &config);
	(void)sensor_give(&s, 0);
	s.counter += 3;
	(void)sensor_give(&s, 0);
	assert_int_equal(sensor_estimate(&s).lost, 0);
}

static void fit_holds_a_clock_of_nanoseconds(void **state)
{
	struct tsa_fit_config config = {.nominal_mhz = 1000000000000,
					.counter = TSALIGN_COUNT_TICKS};
	const uint64_t tai = UINT64_C(1900000000) * S;
	struct tsa_estimate e;
	struct tsa_fit fit;
	uint64_t ns = 0;

	(void)state;
	random_state = 9;
	tsa_fit_init(&fit, &config);
	for (unsigned int i = 0; i < 100; i++) {
		uint32_t trip = (uint32_t)(1000 + random_u64() % 5000);

		/* 20 ppm fast, read in the middle of a trip, or beside it. */
		ns = BEGIN_NS + i * S;
		(void)tsa_fit_add(&fit, tai + i * (S + 20 * US),
				  ns + random_u64() % trip, trip);
	}
	tsa_fit_estimate(&fit, ns, &e);
	assert_int_equal(e.state, TSALIGN_LOCKED);
	assert_true(e.drift_ppb > 19900 && e.drift_ppb < 20100);
	ns = tsa_map_apply(&e.map, tai + 99 * (S + 20 * US)) - 99 * S;
	assert_true(ns + e.sigma_ns >= BEGIN_NS && ns <= BEGIN_NS + e.sigma_ns);
	assert_true(e.sigma_ns < 20 * US);
}

/* Whatever is given: no time goes back within an epoch. */
static void fit_never_goes_back_whatever_comes(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 60; seed++) {
		struct tsa_fit_config config = {0};
		struct tsa_estimate e;
		struct tsa_fit fit;
		uint64_t counter = seed & 1 ? 0 : random_u64();
		uint64_t ns = random_u64() >> (seed % 8);
		uint64_t epoch = 0;
		uint64_t last = 0;

		random_state = seed;
		if (seed & 2)
			config.nominal_mhz = random_u64() >> seed;
		tsa_fit_init(&fit, &config);
		for (int i = 0; i < 2000; i++) {
			uint64_t kind = random_u64() % 100;
			uint64_t at;

			counter += kind ? 1 + random_u64() % 4 : random_u64();
			ns += kind > 2 ? random_u64() % (50 * MS)
				       : random_u64() >> (i % 64);
			if (kind == 3)
				ns -= random_u64() % S;
			(void)tsa_fit_add(&fit, counter, ns,
					  (uint32_t)random_u64() >> 8);
			tsa_fit_estimate(&fit, ns, &e);
			if (e.state == TSALIGN_WAITING)
				continue;
			at = tsa_map_apply(&e.map, fit.last_counter);
			assert_true(e.epoch != epoch || at >= last);
			assert_true(e.map.mult > 0);
			epoch = e.epoch;
			last = at;
		}
	}
}

/* --- pairing --------------------------------------------------------------- */

#define LAG_NS (12 * MS)

struct pairs {
	struct tsa_pairing pairing;
	uint64_t edge; /* the true one of the next buffer */
	uint64_t sequence;
};

static uint64_t true_edge_ns(uint64_t edge)
{
	return BEGIN_NS + edge * PERIOD_NS;
}

/* One frame; 0 when its edge was right, 1 when wrong, or the error. */
static int pairs_frame(struct pairs *p, bool heard, uint64_t late)
{
	uint64_t ns = true_edge_ns(p->edge);
	uint64_t got;
	int r;

	if (heard)
		tsa_pairing_edge(&p->pairing, ns);
	r = tsa_pairing_buffer(&p->pairing, p->sequence, ns + LAG_NS + late,
			       PERIOD_NS, &got);
	p->edge++;
	p->sequence++;
	return r ? r : got != ns;
}

static void pairs_lock(struct pairs *p)
{
	memset(p, 0, sizeof(*p));
	tsa_pairing_init(&p->pairing);
	p->sequence = 1000;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pairs_frame(p, true, 0), -EAGAIN);
	for (int i = 0; i < 100; i++)
		assert_int_equal(pairs_frame(p, true, random_delay()), 0);
}

static void pairing_follows_gaps_of_the_sequence(void **state)
{
	struct pairs p;

	(void)state;
	pairs_lock(&p);
	/* A frame lost and counted: its edge came all the same. */
	tsa_pairing_edge(&p.pairing, true_edge_ns(p.edge++));
	p.sequence++;
	for (int i = 0; i < 100; i++)
		assert_int_equal(pairs_frame(&p, true, 0), 0);
	assert_int_equal(p.pairing.slips, 0);
}

static void pairing_finds_a_slip_and_never_pairs_wrongly(void **state)
{
	(void)state;
	/* An edge not heard; one heard twice; a frame lost and not counted. */
	for (int kind = 0; kind < 3; kind++) {
		struct pairs p;
		unsigned int refused = 0;
		int r = 0;

		pairs_lock(&p);
		if (kind == 0)
			r = pairs_frame(&p, false, 0);
		if (kind == 1)
			tsa_pairing_edge(&p.pairing,
					 true_edge_ns(p.edge) - PERIOD_NS / 3);
		if (kind == 2)
			tsa_pairing_edge(&p.pairing, true_edge_ns(p.edge++));
		assert_int_not_equal(r, 1);
		for (int i = 0; i < 60; i++) {
			r = pairs_frame(&p, true, 0);
			assert_int_not_equal(r, 1);
			refused += r != 0;
		}
		assert_int_equal(r, 0);
		assert_int_equal(p.pairing.slips, 1);
		assert_true(refused < 20);
	}
}

static void pairing_forgives_late_buffers(void **state)
{
	struct pairs p;

	(void)state;
	pairs_lock(&p);
	for (int i = 0; i < 6; i++)
		assert_int_not_equal(pairs_frame(&p, true, 200 * MS), 1);
	for (int i = 0; i < 30; i++)
		assert_int_equal(pairs_frame(&p, true, 0), 0);
	assert_int_equal(p.pairing.slips, 0);
}

static void pairing_begins_anew_when_counts_do(void **state)
{
	struct pairs p;

	(void)state;
	pairs_lock(&p);
	p.sequence = 0;
	assert_int_equal(pairs_frame(&p, true, 0), -ESTALE);
	for (int i = 0; i < 10; i++)
		(void)pairs_frame(&p, true, 0);
	assert_int_equal(pairs_frame(&p, true, 0), 0);
}

static void pairing_survives_any_numbers(void **state)
{
	struct tsa_pairing p;

	(void)state;
	random_state = 3;
	tsa_pairing_init(&p);
	for (int i = 0; i < 20000; i++) {
		uint64_t got = 0;

		if (random_u64() % 2)
			tsa_pairing_edge(&p, random_u64() >> (i % 64));
		(void)!tsa_pairing_buffer(&p, random_u64() >> (i % 61),
					  random_u64() >> (i % 63),
					  random_u64() >> (i % 59), &got);
	}
}

/* --- bursts ---------------------------------------------------------------- */

static void backdate_goes_by_the_rate(void **state)
{
	struct tsalign_pair pairs[] = {{100, 0}, {101, 0}, {103, S}};
	struct tsa_fit_config config = {.nominal_mhz = 200000};
	struct sensor s;

	(void)state;
	sensor_init(&s, NULL);
	assert_int_equal(tsa_backdate(&s.fit, pairs, 3), -EINVAL);
	assert_int_equal(tsa_backdate(&s.fit, pairs, 0), 0);
	tsa_fit_init(&s.fit, &config);
	assert_int_equal(tsa_backdate(&s.fit, pairs, 3), 0);
	assert_int_equal(pairs[2].host_ns, S);
	assert_true(S - 10 * MS - pairs[1].host_ns + 2 <= 4);
	assert_true(S - 15 * MS - pairs[0].host_ns + 2 <= 4);
	sensor_init(&s, NULL);
	sensor_run(&s, 20);
	assert_int_equal(tsa_backdate(&s.fit, pairs, 3), 0);
	assert_true(S - 2u * PERIOD_NS - pairs[1].host_ns + US <= 2 * US);
	pairs[0].counter = 104;
	assert_int_equal(tsa_backdate(&s.fit, pairs, 3), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fit_fits_where_it_is_embedded),
		cmocka_unit_test(fit_waits_then_locks),
		cmocka_unit_test(fit_tells_a_drift_by_its_sign),
		cmocka_unit_test(fit_grows_its_bound_in_holdover),
		cmocka_unit_test(fit_refuses_what_is_late_beyond_belief),
		cmocka_unit_test(fit_does_not_bend_to_one_early_sample),
		cmocka_unit_test(fit_opens_one_epoch_for_a_step),
		cmocka_unit_test(
			fit_opens_an_epoch_for_a_counter_that_began_anew),
		cmocka_unit_test(fit_ignores_duplicates),
		cmocka_unit_test(fit_restarts_by_order_with_its_cause),
		cmocka_unit_test(fit_counts_gaps_of_events_only),
		cmocka_unit_test(fit_holds_a_clock_of_nanoseconds),
		cmocka_unit_test(fit_never_goes_back_whatever_comes),
		cmocka_unit_test(pairing_follows_gaps_of_the_sequence),
		cmocka_unit_test(pairing_finds_a_slip_and_never_pairs_wrongly),
		cmocka_unit_test(pairing_forgives_late_buffers),
		cmocka_unit_test(pairing_begins_anew_when_counts_do),
		cmocka_unit_test(pairing_survives_any_numbers),
		cmocka_unit_test(backdate_goes_by_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
