/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/db_sqlite.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"
#include "support/sys_fault.h"

#define ROWS 12u
#define STEPS_MAX 200u

static int setup_with(void **state, const struct loop_fake_config *loop)
{
	struct store_rig *rig = malloc(sizeof(*rig));

	rig_init(rig, loop);
	rig->config.find_key = rig_find_key;
	rig->config.compact_percent = 30;
	*state = rig;
	return rig_open(rig);
}

static int setup(void **state)
{
	struct loop_fake_config loop = {.seed = 1};

	return setup_with(state, &loop);
}

static int setup_faulty(void **state)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = 1};

	sys_fault_reset();
	return setup_with(state, &loop);
}

static int setup_threaded(void **state)
{
	struct loop_fake_config loop = {.seed = 1, .threads = true};

	return setup_with(state, &loop);
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static struct store_local_stats stats_of(struct store_rig *rig)
{
	struct store_local_stats stats;

	store_local_stats(rig->local, &stats);
	return stats;
}

/* ROWS fragments of stream 0 between many of stream 1, which all go. */
static void fill(struct store_rig *rig, size_t bytes)
{
	uint64_t seq;

	for (seq = 1; seq <= ROWS * 5; seq++)
		assert_int_equal(
			seq % 5 ? rig_put(rig, 1, seq, 180000, 60000, seq)
				: rig_put(rig, 0, seq, bytes, 60000, seq),
			0);
	/* Closed: none is being written to. */
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_expire(rig, 1, UINT64_MAX - 1),
			 (int)(ROWS * 5 - ROWS));
}

/* As far as it goes. */
static void compact(struct store_rig *rig)
{
	unsigned int i;

	for (i = 0; i < STEPS_MAX; i++)
		store_local_compact(rig->local);
}

static void check_rows(struct store_rig *rig, struct store_fragment *rows)
{
	unsigned int i;

	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 1), ROWS);
	for (i = 0; i < ROWS; i++) {
		assert_int_equal(rows[i].number.seq, (i + 1) * 5);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
}

static void store_compacts_sparse_segments(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment before[ROWS + 1];
	struct store_fragment rows[ROWS + 1];
	struct store_local_stats stats;
	uint64_t disk;
	unsigned int i;

	fill(rig, 40000);
	check_rows(rig, before);
	disk = stats_of(rig).disk_bytes;
	assert_true(disk > 8 << 20);
	compact(rig);
	stats = stats_of(rig);
	assert_true(stats.compacted >= 8);
	assert_true(stats.compacted_bytes > (uint64_t)ROWS * 40000);
	assert_true(stats.compacted_bytes < disk / 4);
	/* One with what is left, and what the writers have. */
	assert_in_range(rig_segments(rig), 1, 4);
	assert_true(stats.disk_bytes < 5 << 20);
	check_rows(rig, rows);
	for (i = 0; i < ROWS; i++)
		assert_int_not_equal(rows[i].segment, before[i].segment);
	/* All of it is needed: nothing is moved twice. */
	compact(rig);
	assert_int_equal(stats_of(rig).compacted_bytes, stats.compacted_bytes);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	check_rows(rig, rows);
	rig_close(rig);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	check_rows(rig, rows);
}

static void store_reads_on_what_was_moved(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	unsigned int i;

	fill(rig, 140000);
	check_rows(rig, rows);
	compact(rig);
	assert_true(stats_of(rig).compacted >= 8);
	/* By rows from before, and with the pages known and unknown. */
	for (i = 0; i < ROWS; i++) {
		assert_int_equal(rig_check(rig, 0, &rows[i], 70000, 1000),
				 1000);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
	assert_int_equal(stats_of(rig).reads_bad, 0);
	assert_int_equal(rig_expire(rig, 0, UINT64_MAX - 1), ROWS);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), -ENOENT);
}

struct reading {
	struct store_op op;
	uint8_t bytes[140000];
	bool done;
	int res;
};

static void read_done(struct store_op *op, int res)
{
	struct reading *r = container_of(op, struct reading, op);

	r->done = true;
	r->res = res;
}

/* Compacted between every two turns of a read. */
static void store_compacts_under_a_reader(void **state)
{
	struct store_rig *rig = *state;
	struct store_stream s = rig_stream(0);
	struct store_fragment rows[ROWS + 1];
	struct reading *r = calloc(1, sizeof(*r));
	unsigned int i;
	size_t j;

	fill(rig, sizeof(r->bytes));
	check_rows(rig, rows);
	for (i = 0; i < ROWS; i++) {
		r->op.done = read_done;
		r->done = false;
		store_read(rig->store, &s, &rows[i], 0, r->bytes,
			   sizeof(r->bytes), &r->op);
		while (!r->done) {
			store_local_compact(rig->local);
			assert_int_equal(loop_turn(rig->loop, UINT64_MAX), 0);
		}
		assert_int_equal(r->res, sizeof(r->bytes));
		for (j = 0; j < sizeof(r->bytes); j++)
			assert_int_equal(r->bytes[j],
					 rig_byte(rows[i].number.seq, j));
	}
	compact(rig);
	assert_true(stats_of(rig).compacted >= 8);
	free(r);
}

/* Of a damaged fragment nothing is moved, of the others everything. */
static void store_leaves_a_segment_with_damage(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	struct store_local_stats stats;
	unsigned int segments;
	unsigned int i;

	fill(rig, 40000);
	check_rows(rig, rows);
	rig_flip(rig, rows[3].segment, (off_t)rows[3].page * 4096 - 5000);
	compact(rig);
	stats = stats_of(rig);
	segments = rig_segments(rig);
	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 1), ROWS);
	for (i = 0; i < ROWS; i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]),
				 i == 3 ? -EBADMSG : 0);
	assert_true(stats.compacted >= 7);
	compact(rig);
	assert_int_equal(rig_segments(rig), segments);
	assert_int_equal(stats_of(rig).compacted_bytes, stats.compacted_bytes);
}

static void store_moves_nothing_that_was_not_synced(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment before[ROWS + 1];
	struct store_fragment rows[ROWS + 1];
	unsigned int i;

	fill(rig, 40000);
	check_rows(rig, before);
	sys_fault_only("fdatasync");
	sys_fault_arm_sticky(1, -EIO);
	for (i = 0; i < 4; i++)
		store_local_compact(rig->local);
	assert_true(sys_fault_fired());
	sys_fault_arm(0, 0);
	sys_fault_only(NULL);
	assert_int_equal(stats_of(rig).compacted, 0);
	assert_true(stats_of(rig).failures >= 1);
	check_rows(rig, rows);
	for (i = 0; i < ROWS; i++)
		assert_int_equal(rows[i].segment, before[i].segment);
	compact(rig);
	assert_true(stats_of(rig).compacted >= 8);
	check_rows(rig, rows);
}

static int no_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		     uint8_t ret_key[DATA_KEY_BYTES])
{
	(void)ctx;
	(void)id;
	(void)ret_key;
	return -ENOENT;
}

static bool removed;

static int maybe_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES])
{
	return removed ? no_stream(ctx, id, ret_key)
		       : rig_find_key(ctx, id, ret_key);
}

static void store_copies_nothing_of_a_removed_stream(void **state)
{
	struct store_rig *rig = *state;

	removed = false;
	rig->config.find_key = maybe_stream;
	fill(rig, 40000);
	removed = true;
	compact(rig);
	assert_int_equal(stats_of(rig).compacted, 0);
	assert_int_equal(rig_remove_stream(rig, 0), 0);
	assert_in_range(rig_segments(rig), 1, 3);
}

/* A fragment may be larger than the segments of now. */
static void store_leaves_what_fits_nowhere(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[4];
	uint64_t seq;

	assert_int_equal(rig_put(rig, 0, 1, 1300000, 60000, 1), 0);
	for (seq = 2; seq < 30; seq++)
		assert_int_equal(rig_put(rig, 1, seq, 180000, 60000, seq), 0);
	rig_close(rig);
	rig->config.compact_percent = 100;
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_expire(rig, 1, UINT64_MAX - 1), 28);
	compact(rig);
	assert_int_equal(rig_list_all(rig, 0, rows, 4), 1);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), 0);
}

static void store_compacts_within_its_bound(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	uint64_t disk;

	fill(rig, 40000);
	disk = stats_of(rig).disk_bytes;
	rig_close(rig);
	/* As much as there is: no room for another, and nothing is dropped. */
	rig->config.bytes_max = disk;
	assert_int_equal(rig_open(rig), 0);
	compact(rig);
	assert_int_equal(stats_of(rig).dropped, 0);
	assert_int_equal(stats_of(rig).compacted, 0);
	check_rows(rig, rows);
	rig_close(rig);
	rig->config.bytes_max = disk + (4 << 20);
	assert_int_equal(rig_open(rig), 0);
	compact(rig);
	assert_true(stats_of(rig).compacted >= 8);
	assert_int_equal(stats_of(rig).dropped, 0);
	check_rows(rig, rows);
}

static void store_compacts_by_itself(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];

	fill(rig, 40000);
	/* Its own look came too early: it is asked once, and goes on. */
	store_local_compact(rig->local);
	while (stats_of(rig).compacted < 8)
		check_rows(rig, rows);
	check_rows(rig, rows);
}

static void store_ends_while_it_compacts(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	unsigned int i;

	fill(rig, 40000);
	for (i = 0; i < 5; i++) {
		store_local_compact(rig->local);
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
		check_rows(rig, rows);
	}
}

/* --- what other parts leave behind --- */

/* Rows that say less than there is: memory is not sized by them. */
static void store_copies_only_what_its_row_says(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];

	fill(rig, 140000);
	rig_close(rig);
	assert_int_equal(rig_sql(rig,
				 "UPDATE fragments SET header_bytes=0, frames_bytes=0,"
				 " media_bytes=10"), 0);
	assert_int_equal(rig_open(rig), 0);
	compact(rig);
	assert_int_equal(stats_of(rig).compacted, 0);
	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 1), ROWS);
}

static struct store_rig *expired_rig;
static bool killed;

/* Between the look at the index and the copy, everything expires. */
static int expire_first(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES])
{
	struct store_rig *rig = TAKE_PTR(expired_rig);

	if (rig && rig_expire(rig, 0, UINT64_MAX - 1) != (int)ROWS)
		_exit(3);
	return rig_find_key(ctx, id, ret_key);
}

/* As a kill after the copy: its row is not moved. */
static int kill_after_sync(int fd)
{
	int r = sys_posix()->fdatasync(fd);

	if (killed)
		_exit(0);
	return r;
}

static void copy_and_die(struct store_rig *rig, bool early)
{
	struct sys_ops dies = *sys_posix();

	dies.fdatasync = kill_after_sync;
	rig->config.find_key = expire_first;
	rig->sys = &dies;
	if (rig_open(rig) < 0)
		_exit(1);
	fill(rig, 40000);
	expired_rig = rig;
	killed = early;
	store_local_compact(rig->local);
	_exit(expired_rig || early ? 4 : 0);
}

static void dies_after_expiry(struct store_rig *rig, bool early)
{
	struct store_fragment rows[ROWS + 1];
	int status;
	pid_t pid;

	rig_close(rig);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		copy_and_die(rig, early);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 1), 0);
}

static void store_replays_no_copy_without_a_row(void **state)
{
	dies_after_expiry(*state, false);
}

static void store_replays_no_copy_that_was_not_moved(void **state)
{
	dies_after_expiry(*state, true);
}

/* The sparsest segment has a fragment of a minute that is damaged. */
static void store_compacts_what_else_there_is(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	uint64_t seq;

	for (seq = 1; seq <= 6; seq++)
		assert_int_equal(rig_put(rig, 2, seq, 3000, 60000, seq * 10),
				 0);
	assert_int_equal(rig_put(rig, 2, 7, 3000, 3000, 400000), 0);
	for (seq = 8; seq <= 20; seq++)
		assert_int_equal(rig_put(rig, 1, seq, 180000, 60000, seq), 0);
	for (seq = 21; seq <= 81; seq++)
		assert_int_equal(
			seq % 5 ? rig_put(rig, 1, seq, 180000, 60000, seq)
				: rig_put(rig, 0, seq, 40000, 60000, seq),
			0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_in_range(rig_expire(rig, 1, UINT64_MAX - 1), 50, 70);
	rig_close(rig);
	assert_int_equal(rig_sql(rig,
				 "UPDATE blocks SET rows=zeroblob(length(rows))"), 0);
	assert_int_equal(rig_open(rig), 0);
	compact(rig);
	assert_true(stats_of(rig).compacted >= 6);
	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 1), 12);
	/* What was met on the way is told the next start. */
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 2, rows, ROWS + 1), 7);
}

/* START and END are not emptied: a segment of one fragment stays as it is. */
static void store_rewrites_nothing_for_ever(void **state)
{
	struct store_rig *rig = *state;
	uint64_t bytes;
	uint64_t seq;

	rig_close(rig);
	rig->config.compact_percent = 90;
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_put(rig, 0, 1, 40000, 40000, 1), 0);
	for (seq = 2; seq < 8; seq++)
		assert_int_equal(rig_put(rig, 1, seq, 180000, 60000, seq), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_expire(rig, 1, UINT64_MAX - 1), 6);
	compact(rig);
	bytes = stats_of(rig).compacted_bytes;
	assert_true(bytes > 40000);
	compact(rig);
	assert_int_equal(stats_of(rig).compacted_bytes, bytes);
}

/* Between the catalog's row and the index's the key is not known. */
static void store_compacts_after_a_removal(void **state)
{
	struct store_rig *rig = *state;

	rig->config.find_key = maybe_stream;
	removed = false;
	fill(rig, 40000);
	removed = true;
	compact(rig);
	assert_int_equal(stats_of(rig).compacted, 0);
	removed = false;
	compact(rig);
	assert_true(stats_of(rig).compacted >= 8);
}

/* Room for a part of a segment is room enough. */
static void store_compacts_with_little_room(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[ROWS + 1];
	uint64_t seq;

	rig_close(rig);
	rig->config.segment_bytes = 4 << 20;
	assert_int_equal(rig_open(rig), 0);
	for (seq = 1; seq <= ROWS * 5; seq++)
		assert_int_equal(
			seq % 5 ? rig_put(rig, 1, seq, 180000, 60000, seq)
				: rig_put(rig, 0, seq, 200000, 60000, seq),
			0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_expire(rig, 1, UINT64_MAX - 1), ROWS * 4);
	rig->config.bytes_max = stats_of(rig).disk_bytes + (3 << 19);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	compact(rig);
	assert_true(stats_of(rig).compacted >= 2);
	assert_int_equal(stats_of(rig).dropped, 0);
	check_rows(rig, rows);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define FAULTY(f) cmocka_unit_test_setup_teardown(f, setup_faulty, teardown)
#define THREADED(f) cmocka_unit_test_setup_teardown(f, setup_threaded, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(store_compacts_sparse_segments),
		CASE(store_reads_on_what_was_moved),
		CASE(store_compacts_under_a_reader),
		CASE(store_leaves_a_segment_with_damage),
		FAULTY(store_moves_nothing_that_was_not_synced),
		CASE(store_copies_nothing_of_a_removed_stream),
		CASE(store_leaves_what_fits_nowhere),
		CASE(store_compacts_within_its_bound),
		CASE(store_copies_only_what_its_row_says),
		CASE(store_replays_no_copy_without_a_row),
		CASE(store_replays_no_copy_that_was_not_moved),
		CASE(store_compacts_what_else_there_is),
		CASE(store_rewrites_nothing_for_ever),
		CASE(store_compacts_after_a_removal),
		CASE(store_compacts_with_little_room),
		THREADED(store_compacts_by_itself),
		THREADED(store_ends_while_it_compacts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
