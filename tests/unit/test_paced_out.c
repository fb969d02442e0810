/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/paced_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/macros.h"
#include "serve/http.h"
#include "serve/server.h"
#include "support/loop_fake.h"

#define RATE (1u << 20) /* bytes per second */
#define GIB (1ull << 30)

static struct server_thread thread;
static struct exchange ex;
static struct paced_out paced;
static unsigned int told;

static void ready(struct paced_out *p)
{
	assert_ptr_equal(p, &paced);
	told++;
}

static int setup(void **state)
{
	struct loop_fake_config config = {.seed = 1, .start_ns = NS_PER_S};

	(void)state;
	thread = (struct server_thread){.loop = loop_fake_new(&config)};
	ex = (struct exchange){.thread = &thread};
	told = 0;
	paced_out_init(&paced, &ex, ready);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	paced_out_fini(&paced);
	assert_false(loop_timer_armed(&paced.timer));
	thread.loop = loop_free(thread.loop);
	return 0;
}

/* Sends as much as it may. Return: for how long it then has to wait. */
static uint64_t send_until_held(size_t step)
{
	uint64_t now_ns = loop_now_ns(thread.loop);
	int r;

	while ((r = paced_out_room(&paced)) == 1)
		ex.sent_bytes += step;
	assert_int_equal(r, 0);
	assert_true(loop_timer_armed(&paced.timer));
	return paced.timer.expires_ns - now_ns;
}

static void wait_until_told(uint64_t ns)
{
	unsigned int before = told;

	loop_fake_advance(thread.loop, ns);
	assert_int_equal(loop_turn(thread.loop, 0), 0);
	assert_int_equal(told, before + 1);
}

static void paced_out_keeps_the_rate(void **state)
{
	uint64_t begin_ns = loop_now_ns(thread.loop);
	uint64_t gone_ns;
	unsigned int i;

	(void)state;
	thread.limits.get_rate = RATE;
	for (i = 0; i < 100; i++)
		wait_until_told(send_until_held(5000));
	gone_ns = loop_now_ns(thread.loop) - begin_ns;
	/* A quarter of a second's worth may be ahead, and one step. */
	assert_in_range(ex.sent_bytes, gone_ns * RATE / NS_PER_S / 2,
			gone_ns * RATE / NS_PER_S + RATE / 4 + 5000);
}

static void paced_out_holds_nobody_without_a_rate(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		assert_int_equal(paced_out_room(&paced), 1);
		ex.sent_bytes += GIB;
	}
	assert_false(loop_timer_armed(&paced.timer));
}

/* What went before the rate is not paid at it. */
static void paced_out_bills_no_past_when_a_reload_brings_a_rate(void **state)
{
	uint64_t fresh_ns;
	uint64_t fresh_bytes;

	(void)state;
	thread.limits.get_rate = RATE;
	fresh_ns = send_until_held(5000);
	fresh_bytes = ex.sent_bytes;
	thread.limits.get_rate = 0;
	loop_fake_advance(thread.loop, 10 * NS_PER_S);
	assert_int_equal(loop_turn(thread.loop, 0), 0);
	assert_int_equal(paced_out_room(&paced), 1);
	ex.sent_bytes += GIB;
	assert_int_equal(paced_out_room(&paced), 1);
	thread.limits.get_rate = RATE;
	/* As one that begins now. */
	assert_int_equal(send_until_held(5000), fresh_ns);
	assert_int_equal(ex.sent_bytes, GIB + 2 * fresh_bytes);
}

/* Nor is a debt kept that was made before the rate was taken away. */
static void paced_out_forgets_a_debt_when_a_reload_takes_the_rate(void **state)
{
	(void)state;
	thread.limits.get_rate = RATE;
	ex.sent_bytes = GIB;
	assert_in_range(send_until_held(5000), 1000 * NS_PER_S,
			1100 * NS_PER_S);
	thread.limits.get_rate = 0;
	assert_int_equal(paced_out_room(&paced), 1);
	thread.limits.get_rate = RATE;
	assert_in_range(send_until_held(5000), 1, NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(paced_out_keeps_the_rate, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			paced_out_holds_nobody_without_a_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(
			paced_out_bills_no_past_when_a_reload_brings_a_rate,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			paced_out_forgets_a_debt_when_a_reload_takes_the_rate,
			setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
