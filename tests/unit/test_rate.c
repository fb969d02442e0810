/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/rate.h"

#define FIFTH (NS_PER_S / 5)

static struct rate_table table;

static void a_burst_of_a_second_then_the_rate(void **state)
{
	uint64_t now = 1000 * NS_PER_S;
	unsigned int i;

	(void)state;
	memset(&table, 0, sizeof(table));
	for (i = 0; i < 5; i++)
		assert_true(rate_take(&table, 7, FIFTH, now));
	assert_false(rate_take(&table, 7, FIFTH, now));
	/* Refusals cost nothing. */
	assert_false(rate_take(&table, 7, FIFTH, now + FIFTH - 1));
	assert_true(rate_take(&table, 7, FIFTH, now + FIFTH));
	assert_false(rate_take(&table, 7, FIFTH, now + FIFTH));
	now += 10 * NS_PER_S;
	for (i = 0; i < 5; i++)
		assert_true(rate_take(&table, 7, FIFTH, now));
	assert_false(rate_take(&table, 7, FIFTH, now));
}

static void keys_do_not_share(void **state)
{
	uint64_t key;

	(void)state;
	memset(&table, 0, sizeof(table));
	for (key = 1; key <= 100; key++)
		assert_true(rate_take(&table, key, NS_PER_S, 5 * NS_PER_S));
	for (key = 1; key <= 100; key++)
		assert_false(rate_take(&table, key, NS_PER_S, 5 * NS_PER_S));
}

static void slower_than_one_a_second_takes_one(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	assert_true(rate_take(&table, 1, 20 * NS_PER_S, NS_PER_S));
	assert_false(rate_take(&table, 1, 20 * NS_PER_S, 20 * NS_PER_S));
	assert_true(rate_take(&table, 1, 20 * NS_PER_S, 21 * NS_PER_S));
}

static void a_full_table_forgets_and_goes_on(void **state)
{
	unsigned int i;

	(void)state;
	memset(&table, 0, sizeof(table));
	for (i = 1; i <= 20; i++) /* all want the same place */
		assert_true(rate_take(&table, (uint64_t)i * RATE_SLOTS, FIFTH,
				      NS_PER_S));
	for (i = 0; i < 5; i++)
		(void)rate_take(&table, 20ull * RATE_SLOTS, FIFTH, NS_PER_S);
	assert_false(rate_take(&table, 20ull * RATE_SLOTS, FIFTH, NS_PER_S));
}

/* Over any time no more than the bound and a quarter of a second's of it. */
static void a_pace_is_kept(void **state)
{
	static const uint64_t rates[] = {65536, 100000, 1 << 20, 12500000,
					 1ull << 40};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		struct pace p = {0};
		uint64_t start = 7 * NS_PER_S;
		uint64_t now = start;
		uint64_t sent = 0;
		uint64_t most;

		while (now < start + 10 * NS_PER_S) {
			size_t room = pace_room(&p, rates[i], now);
			uint64_t ready = pace_ready_ns(&p, rates[i]);

			if (!room) {
				assert_true(ready > now);
				now = ready;
				assert_true(pace_room(&p, rates[i], now) >=
					    PACE_STEP_BYTES);
				continue;
			}
			assert_true(room >= PACE_STEP_BYTES);
			room = room < (1u << 30) ? room : 1u << 30;
			pace_spend(&p, rates[i], room, now);
			sent += room;
			/* Time passes only by waiting. */
		}
		most = rates[i] * ((now - start) / 1000) / (NS_PER_S / 1000);
		assert_true(sent <= most + rates[i] / 4 + 2 * PACE_STEP_BYTES);
		assert_true(sent >= most - most / 10);
	}
}

static void no_bound_no_pace(void **state)
{
	struct pace p = {0};

	(void)state;
	pace_spend(&p, 0, 1 << 30, NS_PER_S);
	assert_true(pace_room(&p, 0, NS_PER_S) == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pace_is_kept),
		cmocka_unit_test(no_bound_no_pace),
		cmocka_unit_test(a_burst_of_a_second_then_the_rate),
		cmocka_unit_test(keys_do_not_share),
		cmocka_unit_test(slower_than_one_a_second_takes_one),
		cmocka_unit_test(a_full_table_forgets_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
