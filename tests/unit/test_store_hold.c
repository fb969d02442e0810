/* SPDX-License-Identifier: Apache-2.0 */
/* Legal holds in the store: nothing that makes room takes what is held. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"

#define ROWS 60u
#define STEP_MS 10000u
#define HELD_FROM 20u /* rows, of ROWS, of stream 0 */
#define HELD_TO 25u
#define MONTH_HOURS 720u

struct rig {
	struct store_rig store;
	struct store_holds holds; /* of stream 0 */
	int error;
};

static int find_holds(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		      struct store_holds *ret_holds)
{
	struct rig *rig = ctx;

	if (rig->error)
		return rig->error;
	if (id[0] != 1)
		return -ENOENT;
	*ret_holds = rig->holds;
	return 0;
}

static uint64_t ms_of(uint64_t row)
{
	return 1000000 + row * STEP_MS;
}

static int open_with(void **state, uint64_t bytes_max, bool threads)
{
	struct loop_fake_config loop = {.seed = 1, .threads = threads};
	struct rig *rig = calloc(1, sizeof(*rig));

	rig_init(&rig->store, &loop);
	rig->store.config.find_key = rig_find_key;
	rig->store.config.find_key_ctx = rig;
	rig->store.config.find_holds = find_holds;
	rig->store.config.compact_percent = 60;
	rig->store.config.bytes_max = bytes_max;
	rig->holds.count = 1;
	/* Frames last 2 s: the rows at both ends are touched, no more. */
	rig->holds.ranges[0].from_ms = ms_of(HELD_FROM) + 1500;
	rig->holds.ranges[0].to_ms = ms_of(HELD_TO);
	*state = rig;
	return rig_open(&rig->store);
}

static int setup(void **state)
{
	return open_with(state, 0, false);
}

static int setup_bound(void **state)
{
	return open_with(state, 12 << 20, false);
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	rig_fini(&rig->store);
	free(rig);
	return 0;
}

/* Row n of stream 0, and of stream 1 a moment later. */
static void fill(struct rig *rig, uint64_t from, uint64_t to, size_t bytes)
{
	uint64_t n;

	for (n = from; n < to; n++) {
		assert_int_equal(rig_put(&rig->store, 0, n + 1, bytes, 60000,
					 ms_of(n)),
				 0);
		assert_int_equal(rig_put(&rig->store, 1, 100000 + n, bytes,
					 60000, ms_of(n)),
				 0);
	}
}

/* Those that are held are there, and read as they were written. */
static unsigned int check_held(struct rig *rig, unsigned int *ret_others)
{
	struct store_fragment rows[ROWS * 2];
	unsigned int held = 0;
	int n = rig_list_all(&rig->store, 0, rows, ROWS * 2);
	int i;

	assert_true(n >= 0);
	for (i = 0; i < n; i++) {
		uint64_t row = rows[i].number.seq - 1;

		held += row >= HELD_FROM && row <= HELD_TO;
		assert_int_equal(rig_check_all(&rig->store, 0, &rows[i]), 0);
	}
	*ret_others = (unsigned int)n - held;
	return held;
}

static void hold_outlives_retention_and_compaction(void **state)
{
	struct rig *rig = *state;
	struct store_query q = {.to_ms = UINT64_MAX, .limit = ROWS};
	struct store_stream s = rig_stream(0);
	struct store_fragment rows[ROWS];
	struct store_local_stats stats;
	unsigned int before;
	unsigned int others;
	unsigned int i;

	fill(rig, 0, ROWS, 100000);
	rig_close(&rig->store);
	assert_int_equal(rig_open(&rig->store), 0);
	before = rig_segments(&rig->store);
	assert_true(rig_expire(&rig->store, 1, UINT64_MAX) > 0);
	assert_true(rig_expire(&rig->store, 0, UINT64_MAX) > 0);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	/* What shares a packed minute with them. */
	assert_true(others < 14);
	/* By retention only they are visible, in any order. */
	memcpy(q.stream_id, s.id, sizeof(q.stream_id));
	q.not_before_ms = UINT64_MAX;
	for (i = 0; i < 6; i++) {
		q.order = (enum store_order)(i / 2);
		q.descending = i % 2;
		assert_int_equal(rig_list(&rig->store, &q, rows),
				 HELD_TO - HELD_FROM + 1);
	}
	for (i = 0; i < 100; i++)
		store_local_compact(rig->store.local);
	store_local_stats(rig->store.local, &stats);
	assert_true(stats.compacted > 0);
	assert_true(rig_segments(&rig->store) < before);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	/* Made again from the segments, it is still what is held. */
	rig_close(&rig->store);
	rig_unlink(&rig->store, "index.db");
	assert_int_equal(rig_open(&rig->store), 0);
	assert_true(rig_expire(&rig->store, 0, UINT64_MAX) >= 0);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	/* The end of the hold lets retention go on. */
	rig->holds.count = 0;
	store_local_settle(rig->store.local);
	assert_true(rig_expire(&rig->store, 0, UINT64_MAX) > 0);
	assert_int_equal(check_held(rig, &others), 0);
	assert_int_equal(others, 0);
}

static void hold_outlives_the_stream_s_bound(void **state)
{
	struct rig *rig = *state;
	struct store_fragment rows[ROWS * 2];
	unsigned int others;
	int n;

	fill(rig, 0, ROWS, 100000);
	/* Ten fragments beside what is held: the newest. */
	assert_true(rig_trim(&rig->store, 0, 1000000) > 0);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	assert_in_range(others, 1, 10 + 13);
	n = rig_list_all(&rig->store, 0, rows, ROWS * 2);
	assert_int_equal(rows[n - 1].number.seq, ROWS);
	/* Nothing but what is held may be over the bound. */
	assert_true(rig_trim(&rig->store, 0, 0) >= 0);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	rig->holds.count = 0;
	assert_true(rig_trim(&rig->store, 0, 0) > 0);
	assert_int_equal(check_held(rig, &others), 0);
}

static void hold_outlives_storage_max(void **state)
{
	struct rig *rig = *state;
	struct store_local_stats stats;
	struct store_fragment rows[ROWS * 2];
	unsigned int others;
	int n;

	fill(rig, 0, ROWS * 2, 150000);
	store_local_stats(rig->store.local, &stats);
	assert_true(stats.dropped > 0);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	/* The newest goes on being kept, and the oldest unheld is gone. */
	n = rig_list_all(&rig->store, 0, rows, ROWS * 2);
	assert_int_equal(rows[n - 1].number.seq, ROWS * 2);
	assert_true(rows[0].number.seq > 1);
}

/* However long what is held before it is: the next to go is a minute. */
static void held_month_takes_no_more_of_the_others(void **state)
{
	const uint64_t hour_ms = 3600 * 1000;
	const uint64_t base_ms = ms_of(0) + MONTH_HOURS * hour_ms;
	struct rig *rig = *state;
	struct store_local_stats stats = {.dropped = 0};
	struct store_fragment rows[ROWS * 2];
	uint64_t n;
	int left;
	int r;

	rig->holds.ranges[0].from_ms = 0;
	rig->holds.ranges[0].to_ms = base_ms - hour_ms / 2;
	for (n = 0; n < MONTH_HOURS; n++) {
		r = rig_put(&rig->store, 0, n + 1, 1000, 1000,
			    ms_of(0) + n * hour_ms);
		assert_int_equal(r, 0);
	}
	for (n = 0; n < ROWS * 2 && !stats.dropped; n++) {
		r = rig_put(&rig->store, 1, 100000 + n, 100000, 60000,
			    base_ms + n * STEP_MS);
		assert_int_equal(r, 0);
		store_local_stats(rig->store.local, &stats);
	}
	/* A segment may begin and end within a minute. */
	assert_in_range(stats.dropped, 1, 3 * 60000 / STEP_MS);
	left = rig_list_all(&rig->store, 1, rows, ROWS * 2);
	assert_int_equal(left, n - stats.dropped);
	assert_true(left > (int)n / 2);
	assert_int_equal(rows[left - 1].number.seq, 100000 + n - 1);
}

static void hold_of_all_is_over_storage_max(void **state)
{
	struct rig *rig = *state;
	unsigned int others;

	rig->holds.ranges[0].from_ms = 0;
	rig->holds.ranges[0].to_ms = UINT64_MAX;
	fill(rig, 0, ROWS, 150000);
	fill(rig, ROWS, ROWS * 2, 150000);
	assert_int_equal(check_held(rig, &others), HELD_TO - HELD_FROM + 1);
	assert_int_equal(others, ROWS * 2 - (HELD_TO - HELD_FROM + 1));
}

static void holds_that_are_not_known_stop_all_dropping(void **state)
{
	struct rig *rig = *state;
	struct store_query q = {.to_ms = UINT64_MAX, .limit = 1};
	struct store_fragment rows[1];
	unsigned int others;

	fill(rig, 0, 10, 1000);
	rig->error = -ENOMEM;
	assert_true(rig_expire(&rig->store, 0, UINT64_MAX) < 0);
	assert_true(rig_trim(&rig->store, 0, 0) < 0);
	assert_true(rig_list(&rig->store, &q, rows) < 0);
	rig->error = 0;
	assert_int_equal(check_held(rig, &others), 0);
	assert_int_equal(others, 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			hold_outlives_retention_and_compaction, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			hold_outlives_the_stream_s_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(hold_outlives_storage_max,
						setup_bound, teardown),
		cmocka_unit_test_setup_teardown(
			held_month_takes_no_more_of_the_others, setup_bound,
			teardown),
		cmocka_unit_test_setup_teardown(hold_of_all_is_over_storage_max,
						setup_bound, teardown),
		cmocka_unit_test_setup_teardown(
			holds_that_are_not_known_stop_all_dropping, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
