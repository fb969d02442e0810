/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/index_block.h"
#include "core/limits.h"
#include "io/db_sqlite.h"
#include "io/index_sqlite.h"
#include "support/scratch.h"

static const uint8_t dir_id[INDEX_ID_BYTES] = { 1 };
static const uint8_t other_id[INDEX_ID_BYTES] = { 2 };
static const uint8_t generation[16] = { 3 };
static char dir[64];
static char path[96];

static int setup(void **state)
{
	(void)state;
	if (!scratch_dir(dir, sizeof(dir), "kvsd-index"))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/index.db", dir);
	return 0;
}

static int teardown(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		char name[128];

		(void)snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		(void)unlink(name);
	}
	return rmdir(dir);
}

static struct index_db *open_it(bool expect_made)
{
	struct index_db *ix;
	bool made;

	assert_int_equal(index_open(path, dir_id, &ix, &made), 0);
	assert_int_equal(made, expect_made);
	return ix;
}

static struct store_fragment row(uint8_t stream, uint64_t seq,
				 uint64_t server_ms, uint64_t producer_ms)
{
	struct store_fragment f = {
		.number = { .seq = seq, .server_ms = server_ms + 1,
			    .random = 5 },
		.server_ms = server_ms,
		.producer_ms = producer_ms,
		.duration_ms = 2000,
		.header_bytes = 1,
		.media_bytes = 2,
		.frames_bytes = 3,
		.segment = 1,
		.page = (uint32_t)seq,
	};

	memset(f.stream_id, stream, sizeof(f.stream_id));
	return f;
}

/* Ten rows: numbers 1..10, server 1000.., producer backwards, in pairs. */
static void fill(struct index_db *ix)
{
	uint64_t i;

	assert_int_equal(index_segment_add(ix, 1, generation, 1), 0);
	for (i = 1; i <= 10; i++) {
		struct store_fragment f = row(7, i, 1000 + i / 2 * 10,
					      5000 - i * 100);

		assert_int_equal(index_insert(ix, &f, 1, (uint32_t)i + 1), 0);
		f = row(8, i + 100, 1000, 1000);
		assert_int_equal(index_insert(ix, &f, 1, (uint32_t)i + 1), 0);
	}
	assert_int_equal(index_commit(ix), 0);
}

static struct store_query query(enum store_order order, bool descending)
{
	struct store_query q = {
		.order = order,
		.descending = descending,
		.to_ms = UINT64_MAX,
		.limit = 100,
	};

	memset(q.stream_id, 7, sizeof(q.stream_id));
	return q;
}

static void expect(struct index_db *ix, const struct store_query *q,
		   const char *seqs)
{
	struct store_fragment rows[100];
	char got[256] = "";
	int count = index_query(ix, q, rows);
	int i;

	assert_true(count >= 0);
	for (i = 0; i < count; i++) {
		size_t len = strlen(got);

		(void)snprintf(got + len, sizeof(got) - len, "%s%llu",
			       i ? " " : "",
			       (unsigned long long)rows[i].number.seq);
	}
	assert_string_equal(got, seqs);
}

static void index_orders_by_number_and_both_clocks(void **state)
{
	struct index_db *ix = open_it(true);
	struct store_query q;

	(void)state;
	fill(ix);
	q = query(STORE_BY_NUMBER, false);
	expect(ix, &q, "1 2 3 4 5 6 7 8 9 10");
	q.descending = true;
	expect(ix, &q, "10 9 8 7 6 5 4 3 2 1");
	q = query(STORE_BY_SERVER_TIME, false);
	q.from_ms = 1010;
	q.to_ms = 1030;
	expect(ix, &q, "2 3 4 5 6 7");
	q.descending = true;
	expect(ix, &q, "7 6 5 4 3 2");
	q = query(STORE_BY_PRODUCER_TIME, false);
	q.from_ms = 4500;
	q.to_ms = 4800;
	expect(ix, &q, "5 4 3 2");
	q.descending = true;
	expect(ix, &q, "2 3 4 5");
	q.not_before_ms = 1020;
	expect(ix, &q, "4 5");
	index_close(ix);
}

static void index_row_comes_back_whole(void **state)
{
	struct store_fragment f = row(7, 1ull << 60, 1700000000123ull,
				      1700000000456ull);
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	struct store_fragment back;

	(void)state;
	f.number.random = (1u << 28) - 1;
	f.media_bytes = UINT32_MAX;
	f.segment = UINT32_MAX;
	assert_int_equal(index_insert(ix, &f, 1, 2), 0);
	assert_int_equal(index_query(ix, &q, &back), 1);
	/* By members: the structure has padding. */
	assert_memory_equal(back.stream_id, f.stream_id, STREAM_ID_BYTES);
	assert_true(back.number.seq == f.number.seq &&
		    back.number.server_ms == f.number.server_ms &&
		    back.number.random == f.number.random);
	assert_true(back.producer_ms == f.producer_ms &&
		    back.server_ms == f.server_ms &&
		    back.duration_ms == f.duration_ms);
	assert_true(back.header_bytes == f.header_bytes &&
		    back.media_bytes == f.media_bytes &&
		    back.frames_bytes == f.frames_bytes);
	assert_true(back.segment == f.segment && back.page == f.page);
	index_close(ix);
}

/* Every page size, every order, both ways: pages join without gap. */
static void index_pages_join(void **state)
{
	struct index_db *ix = open_it(true);
	int order;
	int down;
	uint32_t limit;

	(void)state;
	fill(ix);
	for (order = 0; order < 3; order++) {
		for (down = 0; down < 2; down++) {
			struct store_query q =
				query((enum store_order)order, down);
			struct store_fragment all[10];

			assert_int_equal(index_query(ix, &q, all), 10);
			for (limit = 1; limit < 10; limit++) {
				struct store_fragment page[10];
				struct store_fragment after;
				int have = 0;
				int n;

				q.limit = limit;
				q.after = NULL;
				while ((n = index_query(ix, &q, page)) > 0) {
					assert_memory_equal(
						page, all + have,
						(size_t)n * sizeof(*page));
					have += n;
					after = page[n - 1];
					q.after = &after;
				}
				assert_int_equal(n, 0);
				assert_int_equal(have, 10);
			}
		}
	}
	index_close(ix);
}

struct seen {
	struct index_segment segments[8];
	size_t count;
};

static int see(void *ctx, const struct index_segment *s)
{
	struct seen *seen = ctx;

	assert_true(seen->count < 8);
	seen->segments[seen->count++] = *s;
	return 0;
}

static void index_counts_what_segments_hold(void **state)
{
	struct index_db *ix = open_it(true);
	struct seen seen = { .count = 0 };
	struct store_fragment f;
	uint32_t i;

	(void)state;
	for (i = 1; i <= 3; i++)
		assert_int_equal(index_segment_add(ix, i, generation, 1), 0);
	f = row(7, 1, 10, 10);
	f.segment = 2;
	assert_int_equal(index_insert(ix, &f, 1, 50), 0);
	assert_int_equal(index_insert(ix, &f, 1, 50), 0); /* again: no-op */
	f = row(7, 2, 20, 20);
	f.segment = 3;
	assert_int_equal(index_insert(ix, &f, 3, 60), 0);
	for (i = 1; i <= 3; i++)
		assert_int_equal(index_segment_close(ix, i, 5), 0);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.segments[0].live, 1);
	assert_int_equal(seen.segments[0].mark, 5);
	assert_int_equal(seen.segments[1].live, 1);
	assert_int_equal(seen.segments[1].mark, 50);
	assert_int_equal(seen.segments[2].live, 1);
	assert_int_equal(seen.segments[2].mark, 60);
	assert_int_equal(index_delete(ix, f.stream_id, 20, NULL, 100), 1);
	seen.count = 0;
	assert_int_equal(index_segments_dead(ix, see, &seen), 0);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.segments[1].number, 2);
	assert_int_equal(index_delete(ix, f.stream_id, UINT64_MAX, NULL, 100),
			 1);
	seen.count = 0;
	assert_int_equal(index_segments_dead(ix, see, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(index_segment_drop(ix, 1), 0);
	index_close(ix);
}

static void index_deletes_in_slices(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);

	(void)state;
	fill(ix);
	assert_int_equal(index_delete(ix, q.stream_id, 1030, NULL, 3), 3);
	expect(ix, &q, "4 5 6 7 8 9 10");
	assert_int_equal(index_delete(ix, q.stream_id, 1030, NULL, 3), 2);
	expect(ix, &q, "6 7 8 9 10");
	assert_int_equal(index_delete(ix, q.stream_id, UINT64_MAX, NULL, 100),
			 5);
	expect(ix, &q, "");
	assert_int_equal(index_delete(ix, q.stream_id, UINT64_MAX, NULL, 100),
			 0);
	memset(q.stream_id, 8, sizeof(q.stream_id));
	expect(ix, &q, "101 102 103 104 105 106 107 108 109 110");
	index_close(ix);
}

static void index_forgets_what_was_not_committed(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	struct store_fragment f = row(7, 11, 1, 1);
	uint64_t seq = 0;

	(void)state;
	fill(ix);
	assert_int_equal(index_insert(ix, &f, 1, 99), 0);
	index_close(ix);
	ix = open_it(false);
	expect(ix, &q, "1 2 3 4 5 6 7 8 9 10");
	assert_int_equal(index_seq_max(ix, &seq), 0);
	assert_int_equal(seq, 110);
	index_close(ix);
}

static void index_of_another_directory_is_replaced(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	bool made;

	(void)state;
	fill(ix);
	index_close(ix);
	assert_int_equal(index_open(path, other_id, &ix, &made), 0);
	assert_true(made);
	expect(ix, &q, "");
	index_close(ix);
}

static void write_at(off_t offset, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, offset), len);
	close(fd);
}

static void index_that_is_damaged_is_replaced(void **state)
{
	static const uint8_t junk[8192] = "not a database at all";
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix;

	(void)state;
	write_at(0, junk, sizeof(junk));
	ix = open_it(true);
	fill(ix);
	index_close(ix);
	write_at(4096 * 2, junk, 4096); /* a page in the middle */
	ix = open_it(true);
	expect(ix, &q, "");
	index_close(ix);
}

static void index_says_enospc_and_goes_on_afterwards(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	struct store_fragment f;
	struct rlimit old;
	struct rlimit small;
	uint64_t seq = 0;
	int r = 0;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	fill(ix);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 256 << 10; /* of the log */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	while (r == 0 && seq < 100000) {
		seq++;
		f = row(9, seq, seq, seq);
		r = index_insert(ix, &f, 1, 5);
		if (r == 0 && seq % 100 == 0)
			r = index_commit(ix);
	}
	assert_true(r == -ENOSPC || r == -EIO);
	index_rollback(ix);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	expect(ix, &q, "1 2 3 4 5 6 7 8 9 10");
	f = row(7, 11, 2000, 2000);
	assert_int_equal(index_insert(ix, &f, 1, 5), 0);
	assert_int_equal(index_commit(ix), 0);
	index_close(ix);
	ix = open_it(false);
	expect(ix, &q, "1 2 3 4 5 6 7 8 9 10 11");
	index_close(ix);
}

/* --- blocks --- */

#define MINUTES 10u
#define ROWS_PER_MINUTE 30u

/* Stream 7: a fragment each 2 s, numbers from 1000 on by tens. */
static void fill_minutes(struct index_db *ix)
{
	uint64_t i;

	assert_int_equal(index_segment_add(ix, 1, generation, 1), 0);
	for (i = 0; i < MINUTES * ROWS_PER_MINUTE; i++) {
		struct store_fragment f = row(7, 1000 + i * 10, i * 2000,
					      500000 + i * 2000);

		assert_int_equal(index_insert(ix, &f, 1, 5), 0);
	}
	assert_int_equal(index_commit(ix), 0);
}

static struct index_size size_of(struct index_db *ix)
{
	struct index_size size;

	assert_int_equal(index_measure(ix, &size), 0);
	return size;
}

static void index_packs_what_is_two_minutes_old(void **state)
{
	struct index_db *ix = open_it(true);
	struct store_fragment rows[LIST_RESULTS_MAX];
	struct store_query q = query(STORE_BY_SERVER_TIME, false);
	struct index_size size;
	struct index_work work;
	int i;

	(void)state;
	fill_minutes(ix);
	size = size_of(ix);
	assert_in_range(size.blocks, MINUTES - 3, MINUTES - 1);
	assert_in_range(size.tail_rows, ROWS_PER_MINUTE, 2 * ROWS_PER_MINUTE);
	q.limit = LIST_RESULTS_MAX;
	assert_int_equal(index_query(ix, &q, rows), MINUTES * ROWS_PER_MINUTE);
	for (i = 0; i < (int)(MINUTES * ROWS_PER_MINUTE); i++)
		assert_int_equal(rows[i].number.seq, 1000 + i * 10);
	work = index_work(ix);
	q.from_ms = 200000;
	q.to_ms = 203999;
	assert_int_equal(index_query(ix, &q, rows), 2);
	assert_int_equal(rows[0].number.seq, 2000);
	/* Not more than the block with them and one before it. */
	assert_in_range(index_work(ix).blocks - work.blocks, 1, 2);
	assert_int_equal(index_work(ix).tail_rows, work.tail_rows);
	index_close(ix);
}

static void index_row_in_a_block_is_there_already(void **state)
{
	struct index_db *ix = open_it(true);
	struct store_fragment f = row(7, 1000, 0, 500000);
	struct index_size before;
	struct seen seen = { .count = 0 };

	(void)state;
	fill_minutes(ix);
	before = size_of(ix);
	assert_int_equal(index_insert(ix, &f, 1, 5), 0);
	assert_int_equal(size_of(ix).tail_rows, before.tail_rows);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.segments[0].live, MINUTES * ROWS_PER_MINUTE);
	index_close(ix);
}

static void index_late_row_joins_its_block(void **state)
{
	struct index_db *ix = open_it(true);
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct store_fragment f = row(7, 1005, 1000, 501000);
	struct store_fragment rows[LIST_RESULTS_MAX];
	struct index_size before;

	(void)state;
	fill_minutes(ix);
	before = size_of(ix);
	assert_int_equal(index_insert(ix, &f, 1, 5), 0);
	f = row(7, 9000, 600000, 1100000);
	assert_int_equal(index_insert(ix, &f, 1, 5), 0);
	assert_int_equal(size_of(ix).blocks, before.blocks);
	assert_int_equal(size_of(ix).tail_rows, before.tail_rows + 1);
	q.limit = 3;
	assert_int_equal(index_query(ix, &q, rows), 3);
	assert_int_equal(rows[1].number.seq, 1005);
	index_close(ix);
}

static void index_drops_whole_blocks(void **state)
{
	struct index_db *ix = open_it(true);
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct store_fragment rows[LIST_RESULTS_MAX];
	struct index_size before;
	struct seen seen = { .count = 0 };
	int gone;

	(void)state;
	fill_minutes(ix);
	before = size_of(ix);
	/* In the middle of the third minute. */
	gone = index_delete(ix, q.stream_id, 150000, NULL, 500);
	assert_in_range(gone, ROWS_PER_MINUTE, 75);
	assert_in_range(size_of(ix).blocks, before.blocks - 2,
			before.blocks - 1);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.segments[0].live,
			 MINUTES * ROWS_PER_MINUTE - (unsigned int)gone);
	q.limit = 1;
	q.not_before_ms = 150000;
	assert_int_equal(index_query(ix, &q, rows), 1);
	assert_int_equal(rows[0].number.seq, 1750);
	assert_true(index_delete(ix, q.stream_id, UINT64_MAX, NULL, 500) >=
		    200);
	assert_int_equal(size_of(ix).blocks, 0);
	assert_int_equal(size_of(ix).tail_rows, 0);
	index_close(ix);
}

static void run_sql(const char *sql)
{
	struct db *db;

	assert_int_equal(db_open(path, DB_INDEX, false, &db), 0);
	assert_int_equal(db_exec(db, sql), 0);
	(void)db_close(db);
}

static void index_of_version_1_is_taken_over(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	struct seen before = {.count = 0};
	struct seen after = {.count = 0};

	(void)state;
	fill(ix);
	assert_int_equal(index_segments(ix, see, &before), 0);
	assert_true(before.segments[0].bytes > 0);
	index_close(ix);
	run_sql("DROP TABLE blocks; ALTER TABLE streams DROP COLUMN bytes;"
		"ALTER TABLE segments DROP COLUMN bytes;"
		"PRAGMA user_version=1");
	ix = open_it(false);
	expect(ix, &q, "1 2 3 4 5 6 7 8 9 10");
	assert_int_equal(index_segments(ix, see, &after), 0);
	assert_int_equal(after.segments[0].bytes, before.segments[0].bytes);
	assert_int_equal(size_of(ix).blocks, 0);
	index_close(ix);
	ix = open_it(false);
	index_close(ix);
	run_sql("PRAGMA user_version=4");
	ix = open_it(true);
	expect(ix, &q, "");
	index_close(ix);
}

static void index_of_version_2_gets_its_bytes_counted(void **state)
{
	struct index_db *ix = open_it(true);
	struct seen before = {.count = 0};
	struct seen after = {.count = 0};

	(void)state;
	fill_minutes(ix);
	assert_int_equal(index_segments(ix, see, &before), 0);
	index_close(ix);
	run_sql("ALTER TABLE segments DROP COLUMN bytes;"
		"PRAGMA user_version=2");
	ix = open_it(false);
	assert_int_equal(index_segments(ix, see, &after), 0);
	assert_true(after.segments[0].bytes > 0);
	assert_int_equal(after.segments[0].bytes, before.segments[0].bytes);
	index_close(ix);
}

/* Of the tail and of a block; back again, and not from where it is not. */
static void index_relocates_rows(void **state)
{
	const uint64_t seqs[] = {1000,
				 1000 + 10 * (MINUTES * ROWS_PER_MINUTE - 1)};
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct index_db *ix = open_it(true);
	struct seen seen;
	struct index_row from;
	struct index_row to;
	struct index_row now;
	size_t i;

	(void)state;
	fill_minutes(ix);
	assert_int_equal(index_segment_add(ix, 100, generation, 1), 0);
	for (i = 0; i < ARRAY_SIZE(seqs); i++) {
		assert_int_equal(index_find(ix, q.stream_id, seqs[i], &from),
				 1);
		assert_int_equal(from.f.number.seq, seqs[i]);
		to = from;
		to.f.segment = 100;
		to.f.page = 77;
		to.first_segment = 100;
		assert_int_equal(index_relocate(ix, &from, &to, 80 + i), 1);
		assert_int_equal(index_relocate(ix, &from, &to, 80 + i), 0);
		assert_int_equal(index_find(ix, q.stream_id, seqs[i], &now), 1);
		assert_memory_equal(&now.f, &to.f, sizeof(now.f));
		assert_int_equal(now.first_segment, 100);
	}
	seen.count = 0;
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.segments[0].live, MINUTES * ROWS_PER_MINUTE - 2);
	assert_int_equal(seen.segments[seen.count - 1].number, 100);
	assert_int_equal(seen.segments[seen.count - 1].live, 2);
	assert_int_equal(seen.segments[seen.count - 1].mark, 81);
	/* What goes is counted off where it is now. */
	assert_true(index_delete(ix, q.stream_id, UINT64_MAX, NULL, 500) >=
		    200);
	seen.count = 0;
	assert_int_equal(index_segments(ix, see, &seen), 0);
	for (i = 0; i < seen.count; i++) {
		assert_int_equal(seen.segments[i].live, 0);
		assert_int_equal(seen.segments[i].bytes, 0);
	}
	assert_int_equal(index_find(ix, q.stream_id, 1000, &now), 0);
	index_close(ix);
}

static void index_trims_the_oldest_of_a_stream(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	static struct store_fragment rows[LIST_RESULTS_MAX];
	struct index_db *ix = open_it(true);
	struct seen seen = {.count = 0};
	uint64_t all = 0;
	uint64_t now = 0;
	int r;

	(void)state;
	fill_minutes(ix);
	assert_int_equal(index_stream_bytes(ix, q.stream_id, &all), 1);
	q.limit = LIST_RESULTS_MAX;
	r = index_query(ix, &q, rows);
	assert_true(all ==
		    (uint64_t)r * (rows[0].header_bytes + rows[0].media_bytes +
				   rows[0].frames_bytes));
	assert_int_equal(index_trim(ix, q.stream_id, all, NULL, 500), 0);
	/* Whole minutes of the packed ones, no more than it takes. */
	r = index_trim(ix, q.stream_id, all - 1, NULL, 500);
	assert_in_range(r, 1, ROWS_PER_MINUTE + 1);
	assert_int_equal(index_stream_bytes(ix, q.stream_id, &now), 1);
	assert_true(now < all);
	assert_int_equal(index_query(ix, &q, rows),
			 MINUTES * ROWS_PER_MINUTE - r);
	assert_int_equal(rows[0].number.seq, 1000 + r * 10);
	/* Into the tail, to the row. */
	do {
		r = index_trim(ix, q.stream_id, 3 * all / 10 / ROWS_PER_MINUTE,
			       NULL, 40);
		assert_true(r >= 0);
	} while (r >= 40);
	r = index_query(ix, &q, rows);
	assert_int_equal(r, 3 * MINUTES / 10);
	assert_int_equal(rows[r - 1].number.seq,
			 1000 + (MINUTES * ROWS_PER_MINUTE - 1) * 10);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.segments[0].live, r);
	index_close(ix);
}

/* Rows of query @q, of which each is in one of the holds or in [from, ...). */
static int count_and_check(struct index_db *ix, struct store_query *q,
			   const struct store_holds *holds)
{
	static struct store_fragment rows[LIST_RESULTS_MAX];
	int n;
	int i;

	q->holds = holds;
	q->limit = LIST_RESULTS_MAX;
	n = index_query(ix, q, rows);
	assert_true(n >= 0);
	for (i = 0; i < n; i++)
		assert_true(rows[i].server_ms >= q->not_before_ms ||
			    store_is_held(holds, &rows[i]));
	return n;
}

static void index_keeps_what_is_held(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	static struct store_fragment rows[LIST_RESULTS_MAX];
	struct store_holds holds = {.count = 2};
	struct index_db *ix = open_it(true);
	struct seen seen = {.count = 0};
	unsigned int held = 0;
	uint64_t oldest = 0;
	uint64_t all = 0;
	int total;
	int left;
	int r;
	int i;

	(void)state;
	fill_minutes(ix);
	q.limit = LIST_RESULTS_MAX;
	total = index_query(ix, &q, rows);
	/* One packed minute by the server's clock; one row of the tail. */
	holds.ranges[0].from_ms = rows[total / 3].server_ms;
	holds.ranges[0].to_ms = rows[total / 3].server_ms;
	holds.ranges[1].from_ms = rows[total - 2].producer_ms;
	holds.ranges[1].to_ms = rows[total - 2].producer_ms;
	for (i = 0; i < total; i++)
		held += store_is_held(&holds, &rows[i]);
	assert_in_range(held, 2, 8);
	do
		r = index_delete(ix, q.stream_id, INT64_MAX, &holds, 50);
	while (r >= 50);
	assert_true(r >= 0);
	/* Minutes go whole, so more than it is there, but only it is seen. */
	left = index_query(ix, &q, rows);
	assert_in_range(left, held, (int)held + ROWS_PER_MINUTE * 2);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_int_equal(seen.segments[0].live, left);
	for (i = 0; i < 6; i++) {
		q = query((enum store_order)(i / 2), i % 2);
		q.not_before_ms = INT64_MAX;
		assert_int_equal(count_and_check(ix, &q, &holds), held);
		q.holds = NULL;
		assert_int_equal(index_query(ix, &q, rows), 0);
	}
	/* It is nothing that a bound could take. */
	assert_int_equal(index_trim(ix, q.stream_id, 0, &holds, 50), 0);
	assert_int_equal(index_stream_bytes(ix, q.stream_id, &all), 1);
	assert_true(all > 0);
	assert_int_equal(index_oldest(ix, q.stream_id, &holds, &oldest), 0);
	assert_int_equal(index_oldest(ix, q.stream_id, NULL, &oldest), 1);
	assert_true(oldest <= holds.ranges[0].to_ms);
	/* Of the tail, where all that is packed is held. */
	holds.count = 1;
	assert_int_equal(index_oldest(ix, q.stream_id, &holds, &oldest), 1);
	assert_true(oldest > holds.ranges[0].to_ms);
	/* Without it, it goes. */
	assert_int_equal(index_delete(ix, q.stream_id, INT64_MAX, NULL, 500),
			 left);
	assert_int_equal(index_oldest(ix, q.stream_id, NULL, &oldest), 0);
	index_close(ix);
}

static void index_trims_around_what_is_held(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	static struct store_fragment rows[LIST_RESULTS_MAX];
	struct store_holds holds = {.count = 1};
	struct index_db *ix = open_it(true);
	uint64_t all = 0;
	int total;
	int r;

	(void)state;
	fill_minutes(ix);
	q.limit = LIST_RESULTS_MAX;
	total = index_query(ix, &q, rows);
	assert_int_equal(index_stream_bytes(ix, q.stream_id, &all), 1);
	/* The older half; a quarter of the bytes beside it. */
	holds.ranges[0].to_ms = rows[total / 2].server_ms;
	do
		r = index_trim(ix, q.stream_id, all / 4, &holds, 40);
	while (r >= 40);
	assert_true(r >= 0);
	r = index_query(ix, &q, rows);
	/* To the minute, and two of them at the edge of the hold. */
	assert_in_range(r, total / 2 + (int)ROWS_PER_MINUTE, 3 * total / 4 + 1);
	assert_int_equal(rows[0].number.seq, 1000);
	index_close(ix);
}

static void index_damaged_block_is_an_error(void **state)
{
	struct store_query q = query(STORE_BY_NUMBER, false);
	struct seen seen = {.count = 0};
	struct store_fragment rows[100];
	struct index_db *ix = open_it(true);

	(void)state;
	fill_minutes(ix);
	index_close(ix);
	run_sql("UPDATE blocks SET rows=zeroblob(length(rows))"
		" WHERE seq_first=1000");
	ix = open_it(false);
	assert_int_equal(index_query(ix, &q, rows), -EUCLEAN);
	q.descending = true;
	assert_int_equal(index_query(ix, &q, rows), 100);
	/* It goes all the same, but not what it may need. */
	assert_true(index_delete(ix, q.stream_id, UINT64_MAX, NULL, 500) >=
		    200);
	assert_int_equal(size_of(ix).blocks, 0);
	assert_int_equal(index_segments(ix, see, &seen), 0);
	assert_in_range(seen.segments[0].live, 1, INDEX_BLOCK_ROWS_MAX);
	index_close(ix);
}

static void block_refuses_each_broken_bit(void **state)
{
	static struct index_row rows[INDEX_BLOCK_ROWS_MAX];
	static struct index_row back[INDEX_BLOCK_ROWS_MAX];
	static uint8_t bytes[INDEX_BLOCK_BYTES_MAX];
	size_t len;
	size_t i;

	(void)state;
	memset(rows, 0, sizeof(rows));
	for (i = 0; i < 3; i++) {
		rows[i].f = row(7, 100 + i, UINT32_MAX - i, i * INT32_MAX);
		rows[i].first_segment = (uint32_t)(i % 2);
	}
	rows[1].f.number.server_ms = UINT64_MAX;
	len = index_block_pack(rows, 3, bytes);
	assert_int_equal(index_block_unpack(bytes, len, rows[0].f.stream_id,
					    back), 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(back[i].f.number.seq, rows[i].f.number.seq);
		assert_true(back[i].f.number.server_ms ==
			    rows[i].f.number.server_ms);
		assert_int_equal(back[i].f.producer_ms,
				 rows[i].f.producer_ms);
		assert_int_equal(back[i].first_segment,
				 rows[i].first_segment);
	}
	for (i = 0; i < len; i++)
		assert_int_equal(index_block_unpack(bytes, i,
						    rows[0].f.stream_id, back),
				 -EBADMSG);
	for (i = 0; i < len * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(index_block_unpack(bytes, len,
						    rows[0].f.stream_id, back),
				 -EBADMSG);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(index_orders_by_number_and_both_clocks),
		CASE(index_row_comes_back_whole),
		CASE(index_pages_join),
		CASE(index_counts_what_segments_hold),
		CASE(index_deletes_in_slices),
		CASE(index_forgets_what_was_not_committed),
		CASE(index_of_another_directory_is_replaced),
		CASE(index_that_is_damaged_is_replaced),
		CASE(index_says_enospc_and_goes_on_afterwards),
		CASE(index_packs_what_is_two_minutes_old),
		CASE(index_row_in_a_block_is_there_already),
		CASE(index_late_row_joins_its_block),
		CASE(index_drops_whole_blocks),
		CASE(index_of_version_1_is_taken_over),
		CASE(index_of_version_2_gets_its_bytes_counted),
		CASE(index_relocates_rows),
		CASE(index_trims_the_oldest_of_a_stream),
		CASE(index_keeps_what_is_held),
		CASE(index_trims_around_what_is_held),
		CASE(index_damaged_block_is_an_error),
		cmocka_unit_test(block_refuses_each_broken_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
