/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_of_a_second_then_the_rate),
		cmocka_unit_test(keys_do_not_share),
		cmocka_unit_test(slower_than_one_a_second_takes_one),
		cmocka_unit_test(a_full_table_forgets_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
