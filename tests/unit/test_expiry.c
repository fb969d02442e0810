/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve/expiry.c in simulated time: the catalog is a fake that delays,
 * reorders and fails, the store a local one without a thread.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/limits.h"
#include "serve/expiry.h"
#include "serve/server.h"
#include "support/catalog_fake.h"
#include "support/catalog_wait.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"

#define STREAMS 70u /* more than are listed at a time */
#define HOUR_MS 3600000ull

static int64_t wall_ahead_s; /* of the real one */

static int clock_of_test(clockid_t id, struct timespec *ts)
{
	int r = sys_posix()->clock_gettime(id, ts);

	if (id == CLOCK_REALTIME)
		ts->tv_sec += wall_ahead_s;
	return r;
}

struct rig {
	struct sys_ops sys;
	struct store_rig store;
	struct server server;
	struct server_thread thread;
	uint64_t seq;
	struct store_stream streams[STREAMS];
};

static void start(struct rig *rig, unsigned int fail)
{
	struct loop_fake_config loop = {.seed = 3, .delay_ns_max = 1000000};
	struct catalog_fake_config catalog = {
		.seed = 5,
		.delay_ns_max = 20 * NS_PER_MS,
		.fail = fail,
	};
	unsigned int i;

	rig_init(&rig->store, &loop);
	assert_int_equal(rig_open(&rig->store), 0);
	assert_int_equal(pthread_mutex_init(&rig->server.mutex, NULL), 0);
	assert_int_equal(pthread_cond_init(&rig->server.changed, NULL), 0);
	wall_ahead_s = 0;
	rig->sys = *sys_posix();
	rig->sys.clock_gettime = clock_of_test;
	rig->server.sys = &rig->sys;
	rig->server.catalog = catalog_fake_new(&catalog);
	rig->server.store = rig->store.local;
	rig->server.threads = &rig->thread;
	rig->server.thread_count = 1;
	rig->thread.server = &rig->server;
	rig->thread.loop = rig->store.loop;
	rig->thread.store = rig->store.store;
	for (i = 0; i < STREAMS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "s%03u", i);
		rig->streams[i] =
			catalog_fake_add(rig->server.catalog, name, 1)->store;
	}
	assert_int_equal(expiry_new(&rig->thread, &rig->thread.expiry), 0);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct rig));
	start(*state, 0);
	return 0;
}

static int setup_failing(void **state)
{
	*state = calloc(1, sizeof(struct rig));
	start(*state, 400);
	return 0;
}

static void run_for(struct rig *rig, uint64_t ns)
{
	struct loop *l = rig->store.loop;
	uint64_t until = loop_now_ns(l) + ns;
	unsigned int i;

	while (loop_now_ns(l) < until) {
		loop_fake_advance(l, 20 * NS_PER_MS);
		for (i = 0; i < 4; i++)
			assert_true(loop_turn(l, 0) >= 0);
	}
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	/* In the middle of a run, too: it ends, and holds the server busy. */
	expiry_stop(rig->thread.expiry);
	while (rig->server.busy)
		run_for(rig, NS_PER_S);
	rig->thread.expiry = expiry_free(rig->thread.expiry);
	assert_int_equal(catalog_fake_pending(rig->server.catalog), 0);
	rig->server.catalog = catalog_fake_free(rig->server.catalog);
	rig_fini(&rig->store);
	(void)pthread_mutex_destroy(&rig->server.mutex);
	(void)pthread_cond_destroy(&rig->server.changed);
	free(rig);
	return 0;
}

/* Fragments of 100 kB that were received @age_ms ago. */
static void put(struct rig *rig, unsigned int stream, unsigned int count,
		uint64_t age_ms)
{
	uint64_t now_ms = server_wall_ms(&rig->thread);

	while (count--) {
		struct fragment_number number = {.seq = ++rig->seq};
		struct store_fragment meta =
			rig_meta(rig->seq, 100000, now_ms - age_ms + count);
		struct store_writer *w;

		assert_int_equal(store_writer_open(rig->store.store,
						   &rig->streams[stream],
						   &number, &w),
				 0);
		assert_int_equal(
			rig_add(&rig->store, w, rig->seq, 0, 100000, 50000), 0);
		assert_int_equal(rig_commit(&rig->store, w, &meta), 0);
	}
}

static int rows_of(struct rig *rig, unsigned int stream)
{
	static struct store_fragment rows[LIST_RESULTS_MAX];
	struct store_query q = {.to_ms = UINT64_MAX, .limit = LIST_RESULTS_MAX};

	memcpy(q.stream_id, rig->streams[stream].id, sizeof(q.stream_id));
	return rig_list(&rig->store, &q, rows);
}

static void age_is_looked_at_each_minute(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, 2 * HOUR_MS);
	put(rig, 0, 2, 0);
	put(rig, STREAMS - 1, 4, 2 * HOUR_MS);
	run_for(rig, 50 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 5);
	run_for(rig, 30 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 2);
	assert_int_equal(rows_of(rig, STREAMS - 1), 0);
	put(rig, 1, 4, 2 * HOUR_MS);
	run_for(rig, 70 * NS_PER_S);
	assert_int_equal(rows_of(rig, 1), 0);
}

static void clock_that_jumps_ahead_is_doubted(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, HOUR_MS / 2);
	put(rig, 1, 2, 2 * HOUR_MS);
	run_for(rig, 62 * NS_PER_S);
	assert_int_equal(rows_of(rig, 1), 0);
	/* By mistake: it is set back in time, and nothing is lost. */
	wall_ahead_s = 24 * 3600;
	run_for(rig, EXPIRY_STEP_NS - 70 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 3);
	wall_ahead_s = -7200;
	run_for(rig, 62 * NS_PER_S);
	wall_ahead_s = 0;
	run_for(rig, 70 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 3);
	/* In earnest. Bounds hold meanwhile. */
	wall_ahead_s = 24 * 3600;
	put(rig, 2, 20, 0);
	rig->thread.limits.stream_max = 500000;
	run_for(rig, 62 * NS_PER_S);
	assert_in_range(rows_of(rig, 2), 1, 5);
	assert_int_equal(rows_of(rig, 0), 3);
	/* The doubt begins with the minute, and ends with one. */
	run_for(rig, EXPIRY_STEP_NS + 62 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 0);
}

/* By hand, and then the time service on top of it. */
static void second_jump_is_doubted_as_the_first(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, HOUR_MS / 2);
	wall_ahead_s = 1200;
	run_for(rig, 122 * NS_PER_S);
	wall_ahead_s += 24 * 3600;
	/* The first would be believed by now. */
	run_for(rig, EXPIRY_STEP_NS);
	assert_int_equal(rows_of(rig, 0), 3);
	/* Set back most of it, and ahead again. */
	wall_ahead_s = 1200;
	run_for(rig, 62 * NS_PER_S);
	wall_ahead_s += 24 * 3600;
	run_for(rig, EXPIRY_STEP_NS - 62 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 3);
	run_for(rig, 190 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 0);
}

/* A run takes a while, and another clock is none of it. */
static void jump_during_a_run_drops_nothing(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, HOUR_MS / 2);
	put(rig, STREAMS - 1, 3, HOUR_MS / 2);
	put(rig, STREAMS - 2, 3, 2 * HOUR_MS);
	while (!rig->server.busy)
		run_for(rig, 20 * NS_PER_MS);
	wall_ahead_s = 24 * 3600;
	run_for(rig, 120 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 3);
	assert_int_equal(rows_of(rig, STREAMS - 1), 3);
	assert_int_equal(rows_of(rig, STREAMS - 2), 0);
}

struct one {
	struct store_op op;
	bool done;
	int res;
};

static void one_done(struct store_op *op, int res)
{
	struct one *one = container_of(op, struct one, op);

	one->res = res;
	one->done = true;
}

/* Return: false, it is left to a run. */
static bool expire_one(struct rig *rig, unsigned int stream)
{
	struct catalog_stream *s = calloc(1, sizeof(*s));
	struct one one = {.op.done = one_done};
	bool begun;

	s->retention_hours = 1;
	s->store = rig->streams[stream];
	begun = expiry_of_stream(rig->thread.expiry, s, &one.op);
	free(s);
	if (!begun)
		return false;
	assert_int_equal(loop_fake_until(rig->store.loop, &one.done), 0);
	assert_true(one.res >= 0);
	return true;
}

static void retention_is_shortened_by_the_same_clock(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, HOUR_MS / 2);
	put(rig, 1, 3, 2 * HOUR_MS);
	assert_true(expire_one(rig, 1));
	assert_int_equal(rows_of(rig, 1), 0);
	/* Also before a run has seen it. */
	wall_ahead_s = 24 * 3600;
	assert_false(expire_one(rig, 0));
	run_for(rig, 62 * NS_PER_S);
	assert_false(expire_one(rig, 0));
	assert_int_equal(rows_of(rig, 0), 3);
	wall_ahead_s = 0;
	assert_true(expire_one(rig, 0));
	assert_int_equal(rows_of(rig, 0), 3);
}

/* What is within a few minutes is how clocks are set. */
static void clock_that_is_set_a_little_is_believed(void **state)
{
	struct rig *rig = *state;

	put(rig, 0, 3, HOUR_MS - 60000);
	wall_ahead_s = EXPIRY_STEP_MS / 1000 - 60;
	run_for(rig, 62 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 0);
}

/* Segments are of 1 MiB here, so ten fragments fill one. */
static void bound_follows_what_is_written(void **state)
{
	struct rig *rig = *state;
	unsigned int i;

	rig->thread.limits.stream_max = 1500000;
	for (i = 0; i < 10; i++) {
		put(rig, STREAMS - 1, 25, 0);
		run_for(rig, 2 * NS_PER_S + NS_PER_S / 2);
		/* The bound, and what fits in a segment. */
		assert_in_range(rows_of(rig, STREAMS - 1), 10, 26);
	}
	/* Ages were not looked at for it. */
	put(rig, 0, 1, 2 * HOUR_MS);
	put(rig, 1, 12, 0);
	run_for(rig, 2 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 1);
	/* Nor are they forgotten. */
	run_for(rig, 62 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 0);
	/* One that nothing is written to any more is looked at each minute. */
	rig->thread.limits.stream_max = 500000;
	run_for(rig, 62 * NS_PER_S);
	assert_in_range(rows_of(rig, STREAMS - 1), 1, 5);
}

static void without_a_bound_nothing_is_asked_between(void **state)
{
	struct rig *rig = *state;
	unsigned int i;

	put(rig, 0, 30, 2 * HOUR_MS);
	for (i = 0; i < 100; i++) {
		run_for(rig, 100 * NS_PER_MS);
		assert_int_equal(catalog_fake_pending(rig->server.catalog), 0);
	}
	assert_int_equal(rows_of(rig, 0), 30);
}

static void what_fails_is_tried_again(void **state)
{
	struct rig *rig = *state;
	unsigned int i;

	/* Two lists are needed for it, of which each fails often. */
	put(rig, STREAMS - 1, 2, 2 * HOUR_MS);
	for (i = 0; i < 40 && rows_of(rig, STREAMS - 1); i++)
		run_for(rig, 61 * NS_PER_S);
	assert_in_range(i, 1, 39);
}

static void stop_ends_a_run(void **state)
{
	struct rig *rig = *state;

	while (!rig->server.busy)
		run_for(rig, 20 * NS_PER_MS);
	/* The rest is the teardown's. */
	assert_true(catalog_fake_pending(rig->server.catalog) > 0);
}

/* The seam itself: what is changed while it is fenced has no effect. */
static void fenced_catalog_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct catalog *c = rig->server.catalog;
	struct loop *l = rig->store.loop;
	struct catalog_stream *s = calloc(3, sizeof(*s));
	struct catalog_wait w[5];
	unsigned int i;

	memset(w, 0, sizeof(w));
	for (i = 0; i < 5; i++)
		w[i].op.done = catalog_wait_done;
	(void)snprintf(s[0].name, sizeof(s[0].name), "before");
	(void)snprintf(s[1].name, sizeof(s[1].name), "after");
	/* In flight when it happens. */
	catalog_create(c, l, &s[0], NULL, &w[0].op);
	catalog_fake_fence(c, true);
	catalog_create(c, l, &s[1], NULL, &w[1].op);
	catalog_find(c, l, "s000", NULL, &s[2], &w[2].op);
	for (i = 0; i < 3; i++)
		assert_int_equal(loop_fake_until(l, &w[i].done), 0);
	assert_int_equal(w[0].res, 0);
	assert_int_equal(w[1].res, -ESTALE);
	assert_int_equal(w[2].res, 0);
	catalog_remove(c, l, s[2].arn, NULL, &s[1], &w[3].op);
	catalog_retain(c, l, "s000", NULL, s[2].version, 5, &s[1], &w[4].op);
	for (i = 3; i < 5; i++) {
		assert_int_equal(loop_fake_until(l, &w[i].done), 0);
		assert_int_equal(w[i].res, -ESTALE);
	}
	assert_int_equal(catalog_fake_count(c), STREAMS + 1);
	/* Retention goes on by what it knows: dropping is the store's. */
	put(rig, 0, 3, 2 * HOUR_MS);
	run_for(rig, 65 * NS_PER_S);
	assert_int_equal(rows_of(rig, 0), 0);
	free(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(age_is_looked_at_each_minute,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			clock_that_jumps_ahead_is_doubted, setup, teardown),
		cmocka_unit_test_setup_teardown(
			second_jump_is_doubted_as_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(jump_during_a_run_drops_nothing,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			retention_is_shortened_by_the_same_clock, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			clock_that_is_set_a_little_is_believed, setup,
			teardown),
		cmocka_unit_test_setup_teardown(bound_follows_what_is_written,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_a_bound_nothing_is_asked_between, setup,
			teardown),
		cmocka_unit_test_setup_teardown(what_fails_is_tried_again,
						setup_failing, teardown),
		cmocka_unit_test_setup_teardown(stop_ends_a_run, setup,
						teardown),
		cmocka_unit_test_setup_teardown(fenced_catalog_changes_nothing,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
