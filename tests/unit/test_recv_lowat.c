/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/recv_lowat.h"

#define BEGAN (1000 * NS_PER_S)
#define FRAGMENT (2 * NS_PER_S)

/* One that took @took_ns; its last bytes come at its end. */
static void fragment(struct recv_lowat *l, uint64_t at_ns, uint64_t took_ns,
		     size_t bytes)
{
	recv_lowat_begin(l, at_ns);
	recv_lowat_bytes(l, bytes, at_ns + took_ns);
	recv_lowat_end(l);
}

static struct recv_lowat learned(uint64_t took_ns, size_t bytes)
{
	struct recv_lowat l = {.open = false};
	unsigned int i;

	for (i = 0; i < RECV_LOWAT_LEARN; i++)
		fragment(&l, BEGAN + i * took_ns, took_ns, bytes);
	return l;
}

static void nothing_to_go_by(void **state)
{
	struct recv_lowat l = {.open = false};
	uint64_t look_ns;

	(void)state;
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	recv_lowat_begin(&l, BEGAN);
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	assert_true(look_ns == UINT64_MAX);
	recv_lowat_bytes(&l, 100000, BEGAN + FRAGMENT);
	recv_lowat_end(&l);
	/* Between two fragments each byte may be a new one's. */
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	assert_true(look_ns == UINT64_MAX);
	recv_lowat_begin(&l, BEGAN);
	assert_true(recv_lowat(&l, BEGAN, &look_ns) > 1);
}

static void the_middle_of_a_fragment(void **state)
{
	const size_t bytes = 100000;
	struct recv_lowat l = learned(FRAGMENT, bytes);
	const uint64_t end_ns =
		BEGAN + FRAGMENT -
		MAX(FRAGMENT / RECV_LOWAT_END_PART, RECV_LOWAT_END_NS_MIN);
	uint64_t look_ns;

	(void)state;
	recv_lowat_begin(&l, BEGAN);
	/* What comes in RECV_LOWAT_NS. */
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns),
			 bytes * RECV_LOWAT_NS / FRAGMENT);
	assert_in_range(look_ns, BEGAN + RECV_LOWAT_NS,
			BEGAN + RECV_LOWAT_NS * 3 / 2 + RECV_LOWAT_STEP_NS);
	assert_int_equal(look_ns % RECV_LOWAT_STEP_NS, 0);
	/* Nobody waits into its end. */
	assert_true(recv_lowat(&l, end_ns - 1, &look_ns) > 1);
	assert_in_range(look_ns, end_ns, end_ns + RECV_LOWAT_STEP_NS);
	assert_int_equal(recv_lowat(&l, end_ns, &look_ns), 1);
	assert_true(look_ns == UINT64_MAX);
}

static void the_shortest_counts(void **state)
{
	struct recv_lowat l = learned(4 * NS_PER_S, 100000);
	uint64_t look_ns;

	(void)state;
	fragment(&l, BEGAN, FRAGMENT, 100000);
	recv_lowat_begin(&l, BEGAN);
	assert_true(recv_lowat(&l, BEGAN + NS_PER_S, &look_ns) > 1);
	assert_int_equal(recv_lowat(&l, BEGAN + FRAGMENT, &look_ns), 1);
	/* Out of a spool it took no time: each byte at once from now on. */
	fragment(&l, BEGAN, 0, 100000);
	recv_lowat_begin(&l, BEGAN);
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	fragment(&l, BEGAN, RECV_LOWAT_FRAGMENT_NS_MIN - 1, 100000);
	fragment(&l, BEGAN, RECV_LOWAT_FRAGMENT_NS_MIN, 100000);
	recv_lowat_begin(&l, BEGAN);
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	fragment(&l, BEGAN, RECV_LOWAT_FRAGMENT_NS_MIN, 100000);
	recv_lowat_begin(&l, BEGAN);
	assert_true(recv_lowat(&l, BEGAN, &look_ns) > 1);
}

static void bounds(void **state)
{
	struct recv_lowat l = learned(FRAGMENT, 100u << 20);
	uint64_t look_ns;

	(void)state;
	recv_lowat_begin(&l, BEGAN);
	assert_in_range(recv_lowat(&l, BEGAN, &look_ns),
			RECV_LOWAT_BYTES_MAX / 2, RECV_LOWAT_BYTES_MAX);
	assert_true(RECV_LOWAT_BYTES_MAX < LOOP_RECV_BYTES);
	/* It is there at once, and so is the look. */
	assert_in_range(look_ns, BEGAN + 1, BEGAN + RECV_LOWAT_STEP_NS);
	/* A device that sends next to nothing. */
	l = learned(FRAGMENT, 1);
	recv_lowat_begin(&l, BEGAN);
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
	l = learned(UINT64_MAX / 4, SIZE_MAX);
	recv_lowat_begin(&l, BEGAN);
	assert_in_range(recv_lowat(&l, BEGAN, &look_ns), 1,
			RECV_LOWAT_BYTES_MAX);
	/* The times of a turn and of a moment in it. */
	l = learned(FRAGMENT, 100000);
	recv_lowat_begin(&l, BEGAN);
	recv_lowat_bytes(&l, 100000, BEGAN - 1);
	recv_lowat_end(&l);
	recv_lowat_begin(&l, BEGAN);
	assert_int_equal(recv_lowat(&l, BEGAN, &look_ns), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_go_by),
		cmocka_unit_test(the_middle_of_a_fragment),
		cmocka_unit_test(the_shortest_counts),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
