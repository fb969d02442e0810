/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any samples: no overflow (by the sanitizer), no time that goes back within
 * an epoch, as many epochs as were told of, windows within their bounds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tsalign_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t left;
};

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->left) {
		v = v << 8 | *in->data++;
		in->left--;
	}
	return v;
}

/* Mostly small, at times anything. */
static uint64_t take_step(struct input *in)
{
	uint64_t kind = take(in, 1);

	if (kind < 224)
		return kind;
	if (kind < 240)
		return take(in, 4);
	return take(in, 8);
}

static void need(int holds)
{
	if (!holds)
		abort();
}

struct run {
	struct tsa_fit fit;
	struct tsa_pairing pairing;
	struct tsa_unwrap unwrap;
	uint64_t raw;
	uint64_t ns;
	uint64_t epoch;
	uint64_t shown;
	uint64_t told;
};

static void sample(struct run *r, struct input *in)
{
	struct tsa_estimate e;
	uint64_t counter;
	uint64_t edge;
	uint64_t at;

	r->raw += take_step(in);
	r->ns += take_step(in) * 250000 - 2000000;
	counter = tsa_unwrap(&r->unwrap, r->raw);
	r->told += tsa_fit_add(&r->fit, counter, r->ns,
			       (uint32_t)(r->raw >> 40)) == TSA_EPOCH;
	tsa_fit_estimate(&r->fit, r->ns + 1000, &e);
	need(e.epoch == 1 + r->told && r->fit.used <= TSA_FIT_BUCKETS);
	tsa_pairing_edge(&r->pairing, r->ns);
	(void)!tsa_pairing_buffer(&r->pairing, counter, r->ns + (r->raw & 511),
				  r->raw >> 20, &edge);
	if (e.state == TSALIGN_WAITING)
		return;
	at = tsa_map_apply(&e.map, r->fit.last_counter);
	need(e.map.mult && e.map.shift < 64);
	need(e.epoch != r->epoch || at >= r->shown);
	r->epoch = e.epoch;
	r->shown = at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct tsa_fit_config config = {0};
	struct tsalign_trigger t = {0};
	struct tsalign_rule rule = {0};
	struct run r = {.ns = 1000000000000};
	const char *why;
	uint64_t flags = take(&in, 1);
	uint64_t at;
	uint64_t k;
	int64_t offset;

	if (flags & 1)
		config.nominal_mhz = take(&in, 5);
	if (flags & 2)
		config.window_ns = take(&in, 8);
	if (flags & 4)
		config.step_ns = take(&in, 8);
	if (flags & 8)
		config.wander_ppb = (uint32_t)take(&in, 4);
	if (flags & 16)
		config.outlier_ns = take(&in, 8);
	if (flags & 32)
		config.drift_max_ppb = (uint32_t)take(&in, 4);
	tsa_fit_init(&r.fit, &config);
	tsa_pairing_init(&r.pairing);
	tsa_unwrap_init(&r.unwrap, (uint32_t)take(&in, 1));
	t.rate_mhz = take(&in, 3);
	t.phase_ns = take(&in, 5);
	t.exposure_ns = take(&in, 5);
	t.pulse_ns = 20000;
	t.enable = 1;
	t.centred = flags >> 6 & 1;
	rule.stamped = (uint32_t)(flags >> 5);
	rule.point = (uint32_t)(flags & 7);
	rule.exposure_ns = t.exposure_ns;
	rule.readout_ns = t.phase_ns;
	if (!tsa_rule_offset(&rule, &offset, &why) &&
	    rule.point == rule.stamped)
		need(!offset);
	if (!tsa_trigger_check(&t, &why)) {
		at = tsa_trigger_next(&t, config.window_ns, &k);
		need(at > config.window_ns || at == UINT64_MAX);
	}
	while (in.left)
		sample(&r, &in);
	return 0;
}
