/* SPDX-License-Identifier: Apache-2.0 */
/* A thread for blocking jobs: order, and what may wait for others. */
#include "io/worker.h"

#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/limits.h"

#define HOUR_NS (3600 * NS_PER_S)
#define JOBS 4u
#define FEW 1000u /* more than of anything here */
#define HANG_S 60 /* a test that waits for longer has failed */

struct order {
	struct worker *worker;
	unsigned int ran[2 * JOBS];
	unsigned int count;
	unsigned int batches;
	uint64_t again_ns; /* what batch_end() says, once */
	sem_t ended;	   /* posted by it */
};

struct numbered {
	struct worker_job job;
	struct order *order;
	unsigned int number;
};

static void numbered_run(struct worker_job *job)
{
	struct numbered *n = container_of(job, struct numbered, job);

	assert_true(n->order->count < 2 * JOBS);
	n->order->ran[n->order->count++] = n->number;
}

static uint64_t batch_end(void *ctx)
{
	struct order *o = ctx;
	uint64_t again_ns = o->again_ns;

	o->again_ns = UINT64_MAX;
	o->batches++;
	(void)sem_post(&o->ended);
	return again_ns;
}

static void order_init(struct order *o, struct numbered *jobs, bool threaded)
{
	unsigned int i;

	*o = (struct order){.again_ns = UINT64_MAX};
	assert_int_equal(sem_init(&o->ended, 0, 0), 0);
	assert_int_equal(worker_new(threaded, batch_end, o, &o->worker), 0);
	for (i = 0; i < JOBS; i++)
		jobs[i] = (struct numbered){{.run = numbered_run}, o, i};
}

static void order_fini(struct order *o)
{
	o->worker = worker_free(o->worker);
	(void)sem_destroy(&o->ended);
}

static void wait_for(sem_t *s)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HANG_S;
	assert_int_equal(sem_timedwait(s, &until), 0);
}

static void expect_in_order(const struct order *o, unsigned int count)
{
	unsigned int i;

	assert_int_equal(o->count, count);
	for (i = 0; i < count; i++)
		assert_int_equal(o->ran[i], i);
}

static void worker_keeps_what_may_wait_for_what_may_not(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;
	unsigned int i;

	(void)state;
	order_init(&o, jobs, false);
	for (i = 0; i < JOBS - 1; i++)
		worker_submit_later(o.worker, &jobs[i].job, HOUR_NS, FEW);
	assert_int_equal(o.count, 0);
	worker_submit(o.worker, &jobs[i].job);
	expect_in_order(&o, JOBS);
	assert_int_equal(o.batches, 1);
	order_fini(&o);
}

static void worker_runs_at_once_when_many_wait(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;
	unsigned int i;

	(void)state;
	order_init(&o, jobs, false);
	for (i = 0; i < JOBS; i++) {
		worker_submit_later(o.worker, &jobs[i].job, HOUR_NS, 2);
		assert_int_equal(o.count, (i + 1) / 2 * 2);
	}
	expect_in_order(&o, JOBS);
	assert_int_equal(o.batches, 2);
	order_fini(&o);
}

static void worker_of_a_thread_runs_at_once_when_many_wait(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;
	unsigned int i;

	(void)state;
	order_init(&o, jobs, true);
	for (i = 0; i < JOBS; i++)
		worker_submit_later(o.worker, &jobs[i].job, HOUR_NS, JOBS);
	wait_for(&o.ended);
	expect_in_order(&o, JOBS);
	order_fini(&o);
}

static void worker_runs_in_order_when_it_is_called(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;
	unsigned int i;

	(void)state;
	order_init(&o, jobs, true);
	for (i = 0; i < JOBS - 1; i++)
		worker_submit_later(o.worker, &jobs[i].job, HOUR_NS, FEW);
	worker_call(o.worker, &jobs[i].job);
	expect_in_order(&o, JOBS);
	wait_for(&o.ended);
	assert_int_equal(o.batches, 1);
	order_fini(&o);
}

/* ... also while it waits for a later moment, and then for none. */
static void worker_wakes_for_what_has_waited(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;

	(void)state;
	order_init(&o, jobs, true);
	o.again_ns = HOUR_NS;
	worker_submit(o.worker, &jobs[0].job);
	wait_for(&o.ended);
	(void)usleep(20000); /* or it is not waiting yet */
	worker_submit_later(o.worker, &jobs[1].job, NS_PER_MS, FEW);
	wait_for(&o.ended);
	(void)usleep(20000);
	worker_submit_later(o.worker, &jobs[2].job, NS_PER_MS, FEW);
	wait_for(&o.ended);
	expect_in_order(&o, 3);
	/* One that turned without need would have turned often. */
	(void)usleep(50000);
	worker_call(o.worker, &jobs[3].job);
	order_fini(&o);
	assert_int_equal(o.batches, 4);
}

static void worker_wakes_when_its_batch_wants_to(void **state)
{
	struct numbered jobs[JOBS];
	struct order o;

	(void)state;
	order_init(&o, jobs, true);
	o.again_ns = NS_PER_MS;
	worker_submit(o.worker, &jobs[0].job);
	wait_for(&o.ended);
	wait_for(&o.ended);
	(void)usleep(50000);
	order_fini(&o);
	assert_int_equal(o.batches, 2);
}

static void worker_ends_with_what_waits(bool threaded)
{
	struct numbered jobs[JOBS];
	struct order o;
	unsigned int i;

	order_init(&o, jobs, threaded);
	for (i = 0; i < JOBS; i++)
		worker_submit_later(o.worker, &jobs[i].job, HOUR_NS, FEW);
	order_fini(&o);
	expect_in_order(&o, JOBS);
	assert_int_equal(o.batches, 1);
}

static void worker_runs_what_waits_at_its_end(void **state)
{
	(void)state;
	worker_ends_with_what_waits(false);
	worker_ends_with_what_waits(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worker_keeps_what_may_wait_for_what_may_not),
		cmocka_unit_test(worker_runs_at_once_when_many_wait),
		cmocka_unit_test(
			worker_of_a_thread_runs_at_once_when_many_wait),
		cmocka_unit_test(worker_runs_in_order_when_it_is_called),
		cmocka_unit_test(worker_wakes_for_what_has_waited),
		cmocka_unit_test(worker_wakes_when_its_batch_wants_to),
		cmocka_unit_test(worker_runs_what_waits_at_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
