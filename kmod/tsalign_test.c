// SPDX-License-Identifier: GPL-2.0-only
/* KUnit suite of tsalign's core. */
#include <kunit/test.h>
#include <linux/module.h>

#include "tsalign_core.h"

#define TSA_MS		1000000ull
#define TSA_S		(1000 * TSA_MS)
#define TSA_PERIOD	33333333ull
#define TSA_BEGIN	(100 * TSA_S)
#define TSA_LAG		(12 * TSA_MS)

/* --- maps ---------------------------------------------------------------- */

struct map_case {
	const char *name;
	struct tsa_map map;
	u64 counter;
	u64 ns;
};

static const struct map_case map_cases[] = {
	{ "base", { 5, 7, 3, 0 }, 5, 7 },
	{ "ahead", { 5, 7, 3, 0 }, 9, 19 },
	{ "behind", { 5, 7, 3, 0 }, 4, 4 },
	{ "ahead rounds down", { 0, 10, 3, 1 }, 1, 11 },
	{ "behind rounds down", { 1, 10, 3, 1 }, 0, 8 },
	{ "below 0", { 5, 7, 3, 0 }, 0, 0 },
	{ "past the end", { 5, 7, U64_MAX, 0 }, 9, U64_MAX },
	{ "over the counter's end", { U64_MAX, 100, 10, 0 }, 1, 120 },
	{ "128 bits", { 0, 0, 1ull << 62, 62 }, 1ull << 60, 1ull << 60 },
	{ "farthest back", { 1ull << 63, U64_MAX, 1, 0 }, 0, S64_MAX },
};

static void map_desc(const struct map_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(map, map_cases, map_desc);

static void map_apply_is_the_published_formula(struct kunit *test)
{
	const struct map_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, tsa_map_apply(&c->map, c->counter), c->ns);
}

static void map_compose_is_one_after_the_other(struct kunit *test)
{
	struct tsa_map a = { 1000, 5 * TSA_S, (1000ull << 47) / 27, 47 };
	struct tsa_map b = { 5 * TSA_S, 37 * TSA_S, (1ull << 47) + 12345, 47 };
	struct tsa_map c;
	u64 want;
	u64 got;

	KUNIT_ASSERT_EQ(test, tsa_map_compose(&a, &b, 28000, &c), 0);
	want = tsa_map_apply(&b, tsa_map_apply(&a, 28000));
	KUNIT_EXPECT_EQ(test, tsa_map_apply(&c, 28000), want);
	want = tsa_map_apply(&b, tsa_map_apply(&a, 27000000));
	got = tsa_map_apply(&c, 27000000);
	KUNIT_EXPECT_LE(test, got - want + 1, 2ull);
	KUNIT_EXPECT_LE(test, tsa_map_invert(&c, got) - 27000000 + 1, 2ull);
	a.mult = 0;
	KUNIT_EXPECT_EQ(test, tsa_map_compose(&a, &b, 28000, &c), -ERANGE);
}

/* --- counters ------------------------------------------------------------ */

struct wrap_case {
	const char *name;
	u32 bits;
	u64 first, raw, next;
};

static const struct wrap_case wrap_cases[] = {
	{ "forth", 8, 3, 9, 9 },
	{ "same", 8, 3, 3, 3 },
	{ "over the end", 8, 250, 3, 259 },
	{ "back", 8, 250, 240, 240 },
	{ "not below 0", 8, 3, 250, 250 },
	{ "32 bits", 32, U32_MAX, 0, 1ull << 32 },
	{ "began anew", 32, 1000, 0, 0 },
	{ "64 bits", 64, S64_MAX, 1ull << 63, 1ull << 63 },
};

static void wrap_desc(const struct wrap_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(wrap, wrap_cases, wrap_desc);

static void unwrap_follows_a_counter(struct kunit *test)
{
	const struct wrap_case *c = test->param_value;
	struct tsa_unwrap u;

	tsa_unwrap_init(&u, c->bits);
	KUNIT_EXPECT_EQ(test, tsa_unwrap(&u, c->first), c->first);
	KUNIT_EXPECT_EQ(test, tsa_unwrap(&u, c->raw), c->next);
}

/* --- rules --------------------------------------------------------------- */

struct rule_case {
	const char *name;
	struct tsalign_rule rule;
	s64 ns;
	const char *why;
};

#define TSA_RULE(from, to, d, r, e) { .stamped = TSALIGN_POINT_##from, \
	.point = TSALIGN_POINT_##to, .delay_ns = d, .readout_ns = r, \
	.exposure_ns = e }

static const struct rule_case rule_cases[] = {
	{ "same", TSA_RULE(SOF, SOF, 0, 0, 0), 0, NULL },
	{ "delay", TSA_RULE(ARRIVAL, ARRIVAL, 7, 0, 0), -7, NULL },
	{ "end to start", TSA_RULE(EOF, SOF, 2, 30, 0), -32, NULL },
	{ "start to mid", TSA_RULE(SOF, MID, 0, 30, 20), 5, NULL },
	{ "strobe to mid", TSA_RULE(SOE, MID, 0, 30, 20), 25, NULL },
	{ "end to exposure", TSA_RULE(EOF, SOE, 0, 30, 20), -50, NULL },
	{ "no readout", TSA_RULE(EOF, SOF, 0, 0, 9), 0, "readout_ns" },
	{ "no exposure", TSA_RULE(SOF, MID, 0, 9, 0), 0, "exposure_ns" },
	{ "from nowhere", TSA_RULE(UNKNOWN, MID, 0, 9, 9), 0, "stamped" },
	{ "to arrival", TSA_RULE(SOF, ARRIVAL, 0, 9, 9), 0, "point" },
	{ "endless", TSA_RULE(SOF, SOF, S64_MIN, 0, 0), 0, "delay_ns" },
};

static void rule_desc(const struct rule_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(rule, rule_cases, rule_desc);

static void rule_offset_or_its_contradiction(struct kunit *test)
{
	const struct rule_case *c = test->param_value;
	const char *why = NULL;
	s64 ns = 0;

	KUNIT_EXPECT_EQ(test, tsa_rule_offset(&c->rule, &ns, &why),
			c->why ? -EINVAL : 0);
	KUNIT_EXPECT_EQ(test, ns, c->ns);
	if (c->why)
		KUNIT_EXPECT_STREQ(test, why, c->why);
}

/* --- triggers ------------------------------------------------------------ */

struct trigger_case {
	const char *name;
	u64 rate_mhz, phase_ns, exposure_ns;
	bool centred;
	u64 ref_ns, next_ns, k;
};

static const struct trigger_case trigger_cases[] = {
	{ "first", 30000, 0, 0, false, 0, 33333333, 1 },
	{ "thirds", 30000, 0, 0, false, 99999999999, 100000000000, 3000 },
	{ "phase", 30000, 20000000, 0, false, 0, 20000000, 0 },
	{ "centred", 30000, 20000000, 10000000, true, 0, 15000000, 0 },
	{ "centred next", 30000, 20000000, 10000000, true, 15000000, 48333333,
	  1 },
	{ "slowest", 1, 0, 0, false, 5, 1000000000000, 1 },
	{ "fastest", 1000000, 0, 0, false, TSA_S, TSA_S + TSA_MS, 1001 },
	{ "no rate", 0, 0, 0, false, 5, U64_MAX, 0 },
	{ "the end", 30000, 0, 0, false, U64_MAX, U64_MAX, 0 },
};

static void trigger_desc(const struct trigger_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(trigger, trigger_cases, trigger_desc);

static void trigger_next_is_on_the_grid(struct kunit *test)
{
	const struct trigger_case *c = test->param_value;
	struct tsalign_trigger t = {
		.enable = 1,
		.rate_mhz = c->rate_mhz,
		.phase_ns = c->phase_ns,
		.pulse_ns = 20000,
		.exposure_ns = c->exposure_ns,
		.centred = c->centred,
	};
	const char *why = NULL;
	u64 k;

	KUNIT_EXPECT_EQ(test, tsa_trigger_check(&t, &why),
			c->rate_mhz ? 0 : -EINVAL);
	KUNIT_EXPECT_EQ(test, tsa_trigger_next(&t, c->ref_ns, &k), c->next_ns);
	KUNIT_EXPECT_EQ(test, k, c->k);
}

/* --- epochs -------------------------------------------------------------- */

struct step_case {
	const char *name;
	s64 ns;
	bool restarts;		/* the counter begins anew */
	bool known;		/* by tsa_fit_restart() */
	u64 epoch;
};

static const struct step_case step_cases[] = {
	{ "none", 0, false, false, 1 },
	{ "jitter's own size", 100000, false, false, 1 },
	{ "a frame late", TSA_PERIOD, false, false, 2 },
	{ "a frame early", -(s64)TSA_PERIOD, false, false, 2 },
	{ "far", 20000 * TSA_MS, false, false, 2 },
	{ "far back", -20000 * (s64)TSA_MS, false, false, 2 },
	{ "restart", 0, true, false, 2 },
	{ "suspend", 3600 * TSA_S, false, true, 2 },
};

static void step_desc(const struct step_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(step, step_cases, step_desc);

/* Dense near 0, below 2 ms, in no order. */
static u64 test_delay(u32 i)
{
	u32 r = (i * 2654435761u >> 8) % 2003;

	return (u64)r * r / 2;
}

static void fit_opens_one_epoch_for_a_step(struct kunit *test)
{
	const struct step_case *c = test->param_value;
	const struct tsa_fit_config config = { .nominal_mhz = 30000 };
	struct tsa_fit *fit = kunit_kzalloc(test, sizeof(*fit), GFP_KERNEL);
	struct tsa_estimate e;
	u64 counter = 5;
	u64 ns = TSA_BEGIN;
	u64 epoch = 0;
	u64 last = 0;
	u64 at = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, fit);
	tsa_fit_init(fit, &config);
	for (i = 0; i < 1800; i++) {
		counter++;
		ns += TSA_PERIOD;
		if (i == 900) {
			ns += c->ns;
			if (c->restarts)
				counter = 0;
			if (c->known)
				tsa_fit_restart(fit, TSALIGN_CAUSE_SUSPEND);
		}
		tsa_fit_add(fit, counter, ns + test_delay(i), 0);
		tsa_fit_estimate(fit, ns, &e);
		at = tsa_map_apply(&e.map, counter);
		if (e.state == TSALIGN_WAITING || (c->restarts && i > 899 &&
						   i < 904))
			continue;
		if (e.epoch == epoch)
			KUNIT_EXPECT_GE(test, at, last);
		epoch = e.epoch;
		last = at;
	}
	KUNIT_EXPECT_EQ(test, e.epoch, c->epoch);
	KUNIT_EXPECT_EQ(test, e.state, TSALIGN_LOCKED);
	KUNIT_EXPECT_LE(test, at, ns + e.sigma_ns);
	KUNIT_EXPECT_GE(test, at + e.sigma_ns, ns);
	KUNIT_EXPECT_LT(test, e.sigma_ns, 300000);
}

/* --- pairing ------------------------------------------------------------- */

struct pair_case {
	const char *name;
	u32 unheard;		/* edges of frame 50.. that were not heard */
	u32 glitches;		/* edges that were none */
	u32 counted;		/* frames lost, with a gap of the sequence */
	u32 uncounted;		/* and without */
	u64 slips;
};

static const struct pair_case pair_cases[] = {
	{ "none", 0, 0, 0, 0, 0 },
	{ "gap of the sequence", 0, 0, 2, 0, 0 },
	{ "edge not heard", 1, 0, 0, 0, 1 },
	{ "two not heard", 2, 0, 0, 0, 1 },
	{ "glitch", 0, 1, 0, 0, 1 },
	{ "frame not counted", 0, 0, 0, 1, 1 },
};

static void pair_desc(const struct pair_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(pair, pair_cases, pair_desc);

static void pairing_finds_a_slip_and_never_pairs_wrongly(struct kunit *test)
{
	const struct pair_case *c = test->param_value;
	struct tsa_pairing p;
	u64 sequence = 700;
	u64 ns = TSA_BEGIN;
	u64 got;
	u32 i;
	int r = -EAGAIN;

	tsa_pairing_init(&p);
	for (i = 0; i < 150; i++, sequence++) {
		u32 lost = i == 50 ? c->counted + c->uncounted : 0;

		ns += TSA_PERIOD;
		if (i == 50 && c->glitches)
			tsa_pairing_edge(&p, ns - TSA_PERIOD / 3);
		for (; lost; lost--, ns += TSA_PERIOD)
			tsa_pairing_edge(&p, ns);
		if (i == 50)
			sequence += c->counted;
		if (i < 50 || i >= 50 + c->unheard)
			tsa_pairing_edge(&p, ns);
		r = tsa_pairing_buffer(&p, sequence, ns + TSA_LAG +
				       test_delay(i), TSA_PERIOD, &got);
		if (!r)
			KUNIT_EXPECT_EQ(test, got, ns);
		else
			KUNIT_EXPECT_TRUE(test, i < 3 || i >= 50);
	}
	KUNIT_EXPECT_EQ(test, r, 0);
	KUNIT_EXPECT_EQ(test, p.slips, c->slips);
}

static void backdate_goes_by_the_rate(struct kunit *test)
{
	const struct tsa_fit_config config = { .nominal_mhz = 200000 };
	struct tsalign_pair pairs[] = { { 100, 0 }, { 101, 0 }, { 103, TSA_S } };
	struct tsa_fit *fit = kunit_kzalloc(test, sizeof(*fit), GFP_KERNEL);
	const struct tsa_fit_config none = { 0 };

	KUNIT_ASSERT_NOT_NULL(test, fit);
	tsa_fit_init(fit, &none);
	KUNIT_EXPECT_EQ(test, tsa_backdate(fit, pairs, 3), -EINVAL);
	tsa_fit_init(fit, &config);
	KUNIT_EXPECT_EQ(test, tsa_backdate(fit, pairs, 3), 0);
	KUNIT_EXPECT_LE(test, TSA_S - 15 * TSA_MS - pairs[0].host_ns + 2, 4ull);
	KUNIT_EXPECT_EQ(test, pairs[2].host_ns, TSA_S);
}

static struct kunit_case tsalign_cases[] = {
	KUNIT_CASE_PARAM(map_apply_is_the_published_formula, map_gen_params),
	KUNIT_CASE(map_compose_is_one_after_the_other),
	KUNIT_CASE_PARAM(unwrap_follows_a_counter, wrap_gen_params),
	KUNIT_CASE_PARAM(rule_offset_or_its_contradiction, rule_gen_params),
	KUNIT_CASE_PARAM(trigger_next_is_on_the_grid, trigger_gen_params),
	KUNIT_CASE_PARAM(fit_opens_one_epoch_for_a_step, step_gen_params),
	KUNIT_CASE_PARAM(pairing_finds_a_slip_and_never_pairs_wrongly,
			 pair_gen_params),
	KUNIT_CASE(backdate_goes_by_the_rate),
	{}
};

static struct kunit_suite tsalign_suite = {
	.name = "tsalign",
	.test_cases = tsalign_cases,
};

kunit_test_suite(tsalign_suite);

MODULE_DESCRIPTION("KUnit suite of tsalign");
MODULE_LICENSE("GPL");
