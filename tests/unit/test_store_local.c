/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/store_local_int.h"
#include "support/store_rig.h"
#include "support/sys_fault.h"

static int start(void **state, bool threaded)
{
	struct loop_fake_config loop = {
		.seed = 1,
		.delay_ns_max = 1000000,
		.threads = threaded,
	};
	struct store_rig *rig = malloc(sizeof(*rig));

	rig_init(rig, &loop);
	*state = rig;
	return rig_open(rig);
}

static int setup(void **state)
{
	return start(state, false);
}

static int setup_threaded(void **state)
{
	return start(state, true);
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static void store_reads_back_what_was_committed(void **state)
{
	static const size_t sizes[] = { 1,	 100,	 4096,	 65407,
					65408,	 65409,	 130816, 130817,
					1000000, 3500000 };
	struct store_fragment rows[16];
	struct store_rig *rig = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(rig_put(rig, 0, i + 1, sizes[i], 100000,
					 1000 + i), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 16), ARRAY_SIZE(sizes));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(rows[i].number.seq, i + 1);
		assert_int_equal(rows[i].server_ms, 1000 + i);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 16), ARRAY_SIZE(sizes));
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
}

/* --- reading --- */

static void store_reads_any_range(void **state)
{
	static const struct {
		uint64_t offset;
		size_t len;
		int expect;
	} ranges[] = {
		{ 0, 1, 1 },
		{ 65407, 2, 2 },
		{ 65408, 65408, 65408 },
		{ 65400, 70000, 70000 },
		{ 199999, 1, 1 },
		{ 199999, 100, 1 },
		{ 200000, 100, 0 },
		{ UINT64_MAX, 100, 0 },
		{ 5, 0, 0 },
	};
	struct store_rig *rig = *state;
	struct store_fragment f;
	size_t i;

	assert_int_equal(rig_put(rig, 0, 1, 200000, 16384, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 1);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		assert_int_equal(rig_check(rig, 0, &f, ranges[i].offset,
					   ranges[i].len), ranges[i].expect);
}

static void store_refuses_another_streams_key(void **state)
{
	struct store_rig *rig = *state;
	struct store_local_stats stats;
	struct store_fragment f;
	struct store_stream s;

	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 1);
	assert_int_equal(rig_check(rig, 1, &f, 0, 1000), -EBADMSG);
	s = rig_stream(1);
	memcpy(f.stream_id, s.id, sizeof(f.stream_id));
	assert_int_equal(rig_check(rig, 1, &f, 0, 1000), -EBADMSG);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.reads_bad, 2);
}

/* Invariant 8, and only what is damaged is lost. */
static void store_gives_no_byte_of_a_damaged_page(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment f;

	assert_int_equal(rig_put(rig, 0, 1, 200000, 16384, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 1);
	rig_close(rig);
	/* The second of its pages. */
	rig_flip(rig, f.segment, 4096 + 65536 + 5000);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_check(rig, 0, &f, 0, 65408), 65408);
	assert_int_equal(rig_check(rig, 0, &f, 0, 65409), -EBADMSG);
	assert_int_equal(rig_check(rig, 0, &f, 130816, 69184), 69184);
}

struct many {
	struct store_op op;
	unsigned int *left;
	uint8_t bytes[70000];
	int res;
};

static void many_done(struct store_op *op, int res)
{
	struct many *m = container_of(op, struct many, op);

	m->res = res;
	--*m->left;
}

static void store_runs_more_reads_than_it_has_room_for(void **state)
{
	struct store_stream s = rig_stream(0);
	struct store_rig *rig = *state;
	unsigned int left = 100;
	struct store_fragment f;
	struct many *all;
	size_t i;
	size_t j;

	assert_int_equal(rig_put(rig, 0, 1, 200000, 16384, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 1);
	all = calloc(100, sizeof(*all));
	for (i = 0; i < 100; i++) {
		all[i].op.done = many_done;
		all[i].left = &left;
		store_read(rig->store, &s, &f, i * 1000, all[i].bytes,
			   sizeof(all[i].bytes), &all[i].op);
	}
	assert_int_equal(left, 100); /* never from inside the call */
	while (left)
		assert_int_equal(loop_turn(rig->loop, UINT64_MAX), 0);
	for (i = 0; i < 100; i++) {
		assert_int_equal(all[i].res, sizeof(all[i].bytes));
		for (j = 0; j < sizeof(all[i].bytes); j++)
			assert_int_equal(all[i].bytes[j],
					 rig_byte(1, i * 1000 + j));
	}
	free(all);
}

/* --- committing --- */

struct commit {
	struct store_op op;
	bool done;
	int res;
};

static void commit_done(struct store_op *op, int res)
{
	struct commit *c = container_of(op, struct commit, op);

	c->done = true;
	c->res = res;
}

static struct store_writer *begin(struct store_rig *rig, unsigned int stream,
				  uint64_t seq, size_t bytes)
{
	struct fragment_number number = { .seq = seq };
	struct store_stream s = rig_stream(stream);
	struct store_writer *w;

	assert_int_equal(store_writer_open(rig->store, &s, &number, &w), 0);
	if (bytes)
		assert_int_equal(rig_add(rig, w, seq, 0, bytes, 10000), 0);
	return w;
}

static void store_shares_one_sync_between_commits(void **state)
{
	struct store_rig *rig = *state;
	struct store_local_stats before;
	struct store_local_stats after;
	struct commit c[50];
	size_t i;

	/* The first is in flight alone; the others wait for it together. */
	assert_int_equal(rig_put(rig, 0, 1, 100, 100, 1), 0);
	store_local_stats(rig->local, &before);
	for (i = 0; i < 50; i++) {
		struct store_fragment meta = rig_meta(i + 2, 1000, 1);

		c[i] = (struct commit){ .op.done = commit_done };
		store_writer_commit(rig->store,
				    begin(rig, (unsigned int)i, i + 2, 1000),
				    &meta, &c[i].op);
		assert_false(c[i].done);
	}
	for (i = 0; i < 50; i++) {
		assert_int_equal(loop_fake_until(rig->loop, &c[i].done), 0);
		assert_int_equal(c[i].res, 0);
	}
	store_local_stats(rig->local, &after);
	assert_int_equal(after.commits - before.commits, 50);
	assert_int_equal(after.syncs - before.syncs, 2);
}

static void store_rejects_sizes_that_do_not_add_up(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment meta = rig_meta(1, 1000, 1);
	struct store_fragment f;

	meta.media_bytes++;
	assert_int_equal(rig_commit(rig, begin(rig, 0, 1, 1000), &meta),
			 -EINVAL);
	meta = rig_meta(1, 0, 1);
	assert_int_equal(rig_commit(rig, begin(rig, 0, 1, 0), &meta), -EINVAL);
	meta = rig_meta(1, 1000, INT64_MAX);
	assert_int_equal(rig_commit(rig, begin(rig, 0, 1, 1000), &meta),
			 -EINVAL);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 0);
}

static void store_forgets_what_was_aborted(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment f;

	store_writer_abort(rig->store, begin(rig, 0, 1, 300000));
	store_writer_abort(rig->store, begin(rig, 0, 2, 0));
	store_writer_abort(rig->store, NULL);
	assert_int_equal(rig_put(rig, 0, 3, 1000, 1000, 1), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, &f, 1), 1);
	assert_int_equal(f.number.seq, 3);
}

static void store_pushes_back_when_its_buffers_are_full(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment meta = rig_meta(1, 20000000, 1);
	struct store_writer *w = begin(rig, 0, 1, 0);
	static uint8_t bytes[1 << 20];
	size_t taken = 0;
	int r;
	size_t i;

	assert_int_equal(rig_put(rig, 1, 2, 1, 1, 1), 0); /* has a segment */
	for (;;) {
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = rig_byte(1, taken + i);
		r = store_writer_add(w, rig->store, bytes, sizeof(bytes));
		if (r == -EAGAIN)
			break;
		assert_true(r > 0);
		taken += (size_t)r;
		assert_true(taken < 6000000);
	}
	assert_int_equal(rig_add(rig, w, 1, taken, 20000000 - taken, 100000),
			 0);
	assert_int_equal(rig_commit(rig, w, &meta), 0);
	assert_int_equal(rig_list_all(rig, 0, &meta, 1), 1);
	assert_int_equal(rig_check_all(rig, 0, &meta), 0);
}

static void store_refuses_a_fragment_that_is_too_large(void **state)
{
	struct store_rig *rig = *state;
	struct store_writer *w = begin(rig, 0, 1, 0);

	assert_int_equal(rig_add(rig, w, 1, 0, STORE_FRAGMENT_BYTES_MAX,
				 1 << 20), 0);
	assert_int_equal(store_writer_add(w, rig->store, "x", 1), -EFBIG);
	assert_int_equal(store_writer_add(w, rig->store, "x", 1), -EFBIG);
	store_writer_abort(rig->store, w);
}

/* Many slow writers whose fragments cross segments. */
static void store_interleaves_fragments_over_segments(void **state)
{
	struct store_writer *w[20];
	struct store_rig *rig = *state;
	struct store_fragment f;
	unsigned int i;
	size_t at;

	for (i = 0; i < 20; i++)
		w[i] = begin(rig, i, i + 1, 0);
	for (at = 0; at < 500000; at += 20000)
		for (i = 0; i < 20; i++)
			assert_int_equal(rig_add(rig, w[i], i + 1, at, 20000,
						 20000), 0);
	for (i = 0; i < 20; i++) {
		struct store_fragment meta = rig_meta(i + 1, 500000, 1);

		assert_int_equal(rig_commit(rig, w[i], &meta), 0);
	}
	assert_true(rig_segments(rig) > 8);
	for (i = 0; i < 20; i++) {
		assert_int_equal(rig_list_all(rig, i, &f, 1), 1);
		assert_int_equal(rig_check_all(rig, i, &f), 0);
	}
	rig_close(rig);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < 20; i++) {
		assert_int_equal(rig_list_all(rig, i, &f, 1), 1);
		assert_int_equal(rig_check_all(rig, i, &f), 0);
	}
}

/* --- failures --- */

static void store_gives_a_segment_up_after_a_failed_sync(void **state)
{
	struct store_rig *rig = *state;
	struct store_local_stats stats;
	struct store_fragment rows[3];
	struct store_writer *with_pages;
	struct store_writer *without;
	struct store_fragment meta;

	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), 0);
	with_pages = begin(rig, 1, 10, 200000);
	without = begin(rig, 2, 11, 1000);
	loop_fake_fail(rig->loop, 1, -EIO);
	assert_int_equal(rig_put(rig, 0, 2, 1000, 1000, 2), -EIO);
	loop_fake_fail(rig->loop, 0, 0);
	/* What had pages in it ends; what had none goes on elsewhere. */
	assert_int_equal(store_writer_add(with_pages, rig->store, "x", 1),
			 -EIO);
	store_writer_abort(rig->store, with_pages);
	meta = rig_meta(11, 1000, 1);
	assert_int_equal(rig_commit(rig, without, &meta), 0);
	assert_int_equal(rig_put(rig, 0, 3, 1000, 1000, 3), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 2);
	assert_int_equal(rows[1].number.seq, 3);
	assert_int_not_equal(rows[0].segment, rows[1].segment);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), 0);
	assert_int_equal(rig_check_all(rig, 0, &rows[1]), 0);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.failures, 1);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 2);
	assert_int_equal(rig_check_all(rig, 0, &rows[1]), 0);
}

static void store_takes_a_short_write_for_a_failure(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[3];

	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), 0);
	loop_fake_shorten(rig->loop, 1);
	assert_int_equal(rig_put(rig, 0, 2, 1000, 1000, 2), -EIO);
	assert_int_equal(rig_put(rig, 0, 3, 1000, 1000, 3), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 2);
}

static void store_says_enospc_without_hammering_and_recovers(void **state)
{
	struct loop_fake_config loop = { .sys = sys_fault(), .seed = 1 };
	struct store_rig *rig = malloc(sizeof(*rig));
	struct store_fragment rows[3];
	unsigned long calls;
	unsigned int i;

	(void)state;
	sys_fault_reset();
	rig_init(rig, &loop);
	sys_fault_only("fallocate");
	sys_fault_arm_sticky(1, -ENOSPC);
	assert_int_equal(rig_open(rig), 0);
	(void)loop_turn(rig->loop, 1);
	calls = sys_fault_calls();
	for (i = 0; i < 100; i++)
		assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), -ENOSPC);
	assert_int_equal(sys_fault_calls(), calls);
	sys_fault_arm(0, 0);
	loop_fake_advance(rig->loop, 2 * NS_PER_S);
	assert_int_equal(rig_put(rig, 0, 2, 1000, 1000, 1), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 1);
	/* Full while there is a segment: it is used up first. */
	sys_fault_arm_sticky(1, -ENOSPC);
	for (i = 3; rig_put(rig, 0, i, 300000, 300000, 1) == 0; i++)
		assert_true(i < 100);
	assert_true(i > 4);
	sys_fault_arm(0, 0);
	loop_fake_advance(rig->loop, 2 * NS_PER_S);
	assert_int_equal(rig_put(rig, 0, i + 1, 300000, 300000, 1), 0);
	rig_fini(rig);
	free(rig);
	sys_fault_reset();
}

/* --- start-up --- */

static void store_makes_a_lost_index_again(void **state)
{
	struct store_fragment before[32];
	struct store_fragment after[32];
	struct store_rig *rig = *state;
	struct store_local_stats stats;
	size_t i;

	for (i = 0; i < 32; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 100000 + i, 16384,
					 1000 + i), 0);
	assert_int_equal(rig_list_all(rig, 0, before, 32), 32);
	rig_close(rig);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.recovered, 32);
	assert_int_equal(rig_list_all(rig, 0, after, 32), 32);
	assert_memory_equal(before, after, sizeof(before));
	for (i = 0; i < 32; i++)
		assert_int_equal(rig_check_all(rig, 0, &after[i]), 0);
}

static void store_replays_nothing_after_a_clean_end(void **state)
{
	struct store_rig *rig = *state;
	struct store_local_stats stats;

	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.recovered, 0);
}

static int only_stream_0(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			 uint8_t ret_key[DATA_KEY_BYTES])
{
	struct store_stream s = rig_stream(0);

	(void)ctx;
	if (memcmp(id, s.id, sizeof(s.id)))
		return -ENOENT;
	memcpy(ret_key, s.key, sizeof(s.key));
	return 0;
}

static void store_drops_streams_that_the_catalog_does_not_have(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment row;
	int round;

	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), 0);
	assert_int_equal(rig_put(rig, 1, 2, 1000, 1000, 1), 0);
	rig->config.find_key = only_stream_0;
	for (round = 0; round < 2; round++) {
		rig_close(rig);
		if (round)
			rig_unlink(rig, "index.db");
		assert_int_equal(rig_open(rig), 0);
		assert_int_equal(rig_list_all(rig, 0, &row, 1), 1);
		assert_int_equal(rig_check_all(rig, 0, &row), 0);
		assert_int_equal(rig_list_all(rig, 1, &row, 1), 0);
	}
}

/* Invariant 5. */
static void store_refuses_segments_of_another_directory(void **state)
{
	struct loop_fake_config loop = { .seed = 2 };
	struct store_rig *rig = *state;
	struct store_rig other;
	char from[128];
	char to[128];

	rig_init(&other, &loop);
	assert_int_equal(rig_open(&other), 0);
	assert_int_equal(rig_put(rig, 0, 1, 1000, 1000, 1), 0);
	rig_close(rig);
	rig_close(&other);
	(void)snprintf(from, sizeof(from), "%s/segments/00000001.seg",
		       rig->path);
	(void)snprintf(to, sizeof(to), "%s/segments/00000077.seg", other.path);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(rig_open(&other), -EMEDIUMTYPE);
	rig_fini(&other);
}

static void store_never_gives_a_number_twice(void **state)
{
	struct store_stream s = rig_stream(0);
	struct store_rig *rig = *state;
	uint64_t last = 0;
	int round;
	int i;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < 100; i++) {
			uint64_t seq = store_next_seq(rig->store, s.id);

			assert_true(seq > last);
			last = seq;
		}
		assert_int_equal(rig_put(rig, 0, last, 10, 10, 1), 0);
		rig_close(rig);
		if (round == 1)
			rig_unlink(rig, "sequence");
		if (round == 2)
			rig_unlink(rig, "index.db");
		assert_int_equal(rig_open(rig), 0);
	}
}

/* --- deleting --- */

static void store_expires_fragments_and_then_segments(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[64];
	struct store_query q = { .to_ms = UINT64_MAX, .limit = 64 };
	struct store_stream s = rig_stream(0);
	unsigned int segments;
	size_t i;

	for (i = 0; i < 60; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 200000, 50000, i), 0);
	segments = rig_segments(rig);
	assert_true(segments > 10);
	/* Invisible at once, by the query. */
	memcpy(q.stream_id, s.id, sizeof(s.id));
	q.not_before_ms = 50;
	assert_int_equal(rig_list(rig, &q, rows), 10);
	/* The worker may just have made one more. */
	assert_true(rig_segments(rig) >= segments);
	assert_int_equal(rig_expire(rig, 0, 50), 50);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 10);
	assert_true(rig_segments(rig) < 7);
	for (i = 0; i < 10; i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	assert_int_equal(rig_expire(rig, 0, 50), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 10);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), 0);
}

/* By size, of one stream and not of the other; for good. */
static void store_trims_a_stream_to_its_bound(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[64];
	unsigned int segments;
	uint64_t i;

	/* Five minutes. */
	for (i = 0; i < 30; i++) {
		assert_int_equal(rig_put(rig, 0, 2 * i + 1, 200000, 50000,
					 i * 10000),
				 0);
		assert_int_equal(
			rig_put(rig, 1, 2 * i + 2, 50000, 50000, i * 10000), 0);
	}
	segments = rig_segments(rig);
	assert_int_equal(rig_trim(rig, 0, 30 * 200000), 0);
	assert_in_range(rig_trim(rig, 0, 18 * 200000), 12, 18);
	assert_in_range(rig_list_all(rig, 0, rows, 64), 12, 18);
	assert_int_equal(rig_trim(rig, 0, 2 * 200000 + 1) > 0, 1);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 2);
	assert_int_equal(rows[0].number.seq, 57);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), 0);
	assert_int_equal(rig_expire(rig, 1, 250000), 25);
	assert_int_equal(rig_list_all(rig, 1, rows, 64), 5);
	assert_true(rig_segments(rig) < segments);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 2);
	assert_int_equal(rig_trim(rig, 5, 0), 0); /* has nothing */
}

static void store_drops_the_oldest_for_its_bound(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[200];
	struct store_local_stats stats;
	int count[2];
	int i;

	rig_close(rig);
	rig->config.bytes_max = 12ull << 20;
	assert_int_equal(rig_open(rig), 0);
	/* 30 MiB and more, stream 1 from the middle on. */
	for (i = 0; i < 200; i++)
		assert_int_equal(rig_put(rig, i > 100 && i % 2, (uint64_t)i + 1,
					 160000, 50000, (uint64_t)i * 20000),
				 0);
	assert_in_range(rig_segments(rig), 8, 12);
	store_local_stats(rig->local, &stats);
	for (i = 0; i < 2; i++) {
		count[i] = rig_list_all(rig, (unsigned int)i, rows, 200);
		/* Both have what is newest, and nothing before it. */
		assert_in_range(count[i], 15, 40);
		assert_in_range(rows[0].number.seq, 120, 170);
		assert_int_equal(rows[count[i] - 1].number.seq,
				 i ? 200 : 199);
		assert_int_equal(rig_check_all(rig, (unsigned int)i, rows), 0);
	}
	assert_int_equal(stats.dropped, 200 - count[0] - count[1]);
	/* Without a bound again nothing goes. */
	rig_close(rig);
	rig->config.bytes_max = 0;
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < 30; i++)
		assert_int_equal(rig_put(rig, 0, (uint64_t)i + 201, 160000,
					 50000, (uint64_t)i * 20000), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 200), count[0] + 30);
}

/* Segments that end early count for what is in them, not for what they were. */
static void store_counts_bytes_for_its_bound(void **state)
{
	struct store_rig *rig = *state;
	struct store_local_stats stats;
	struct store_fragment rows[40];
	uint64_t i;

	rig->config.bytes_max = 12ull << 20;
	for (i = 0; i < 30; i++) {
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
		assert_int_equal(
			rig_put(rig, 0, i + 1, 100000, 50000, i * 200000), 0);
	}
	assert_int_equal(rig_list_all(rig, 0, rows, 40), 30);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.dropped, 0);
	assert_true(stats.segments >= 30);
	assert_in_range(stats.disk_bytes, 30 * 100000, 12 << 20);
}

static void store_says_how_much_room_there_is(void **state)
{
	struct store_rig *rig = *state;
	uint64_t used;
	uint64_t room;

	assert_int_equal(store_local_room(rig->local, &used, &room), 0);
	assert_true(used >= 1 << 20 && room);
	rig_close(rig);
	rig->config.bytes_max = 12ull << 20;
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_put(rig, 0, 1, 100000, 50000, 1), 0);
	assert_int_equal(store_local_room(rig->local, &used, &room), 1);
	assert_int_equal(used + room, 12ull << 20);
}

/* No disk has so much left: what can go goes, what is in use stays. */
static void store_drops_the_oldest_for_the_disk(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[100];
	struct store_local_stats stats;
	uint64_t used;
	uint64_t room;
	int count;
	int i;

	for (i = 0; i < 60; i++)
		assert_int_equal(rig_put(rig, 0, (uint64_t)i + 1, 160000,
					 50000, (uint64_t)i * 20000), 0);
	rig_close(rig);
	/* Far from it: nothing goes. */
	rig->config.free_min = 1;
	assert_int_equal(rig_open(rig), 0);
	for (; i < 70; i++)
		assert_int_equal(rig_put(rig, 0, (uint64_t)i + 1, 160000,
					 50000, (uint64_t)i * 20000), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 100), 70);
	assert_int_equal(store_local_room(rig->local, &used, &room), 1);
	assert_true(room > 0);
	rig_close(rig);
	rig->config.free_min = 1ull << 60;
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(store_local_room(rig->local, &used, &room), 1);
	assert_int_equal(room, 0);
	for (; i < 90; i++)
		assert_int_equal(rig_put(rig, 0, (uint64_t)i + 1, 160000,
					 50000, (uint64_t)i * 20000), 0);
	count = rig_list_all(rig, 0, rows, 100);
	assert_in_range(count, 1, 25);
	assert_int_equal(rows[count - 1].number.seq, 90);
	assert_in_range(rig_segments(rig), 1, 4);
	for (i = 0; i < count; i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.dropped, 90 - count);
}

/* Others have filled it: what is in a segment that is written stays. */
static void store_keeps_what_frees_no_room(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[100];
	struct store_local_stats stats;
	uint32_t segment = 0;
	int before = 0;
	int in_it = 0;
	int count;
	int i;

	rig_close(rig);
	rig->config.free_min = 1ull << 60;
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < 80; i++) {
		/* All in one minute, then packed minutes. */
		assert_int_equal(rig_put(rig, 0, (uint64_t)i + 1, 160000, 50000,
					 (uint64_t)i * (i < 40 ? 10 : 20000)),
				 0);
		count = rig_list_all(rig, 0, rows, 100);
		assert_true(count > 0);
		assert_int_equal(rows[count - 1].number.seq, i + 1);
		if (rows[count - 1].segment != segment) {
			/* The one before is closed when this one is made. */
			before = in_it;
			in_it = 0;
		} else {
			in_it++;
		}
		segment = rows[count - 1].segment;
		assert_in_range(count, before + in_it, 25);
	}
	assert_in_range(rig_segments(rig), 1, 4);
	store_local_stats(rig->local, &stats);
	assert_int_equal(stats.dropped, 80 - count);
}

static void store_removes_a_stream_and_no_other(void **state)
{
	static struct store_fragment rows[1200];
	struct store_rig *rig = *state;
	struct store_fragment old;
	size_t i;

	for (i = 0; i < 1100; i++)
		assert_int_equal(rig_put(rig, i % 11 ? 0 : 1, i + 1, 5000,
					 5000, i), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 1200), 1000);
	old = rows[0];
	assert_int_equal(rig_remove_stream(rig, 0), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 1200), 0);
	assert_int_equal(rig_list_all(rig, 1, rows, 1200), 100);
	for (i = 0; i < 100; i++)
		assert_int_equal(rig_check_all(rig, 1, &rows[i]), 0);
	assert_int_equal(rig_remove_stream(rig, 1), 0);
	/* What is left is open for writing. */
	assert_true(rig_segments(rig) <= 2);
	assert_int_equal(rig_check(rig, 0, &old, 0, 10), -ENOENT);
}

static void store_keeps_a_segment_that_a_writer_needs(void **state)
{
	struct store_rig *rig = *state;
	struct store_writer *slow = begin(rig, 5, 1, 200000);
	struct store_fragment meta = rig_meta(1, 200000, 99);
	struct store_fragment row;
	size_t i;

	for (i = 0; i < 30; i++)
		assert_int_equal(rig_put(rig, 0, i + 2, 200000, 50000, i), 0);
	assert_int_equal(rig_expire(rig, 0, 1000), 30);
	assert_int_equal(rig_commit(rig, slow, &meta), 0);
	assert_int_equal(rig_list_all(rig, 5, &row, 1), 1);
	assert_int_equal(rig_check_all(rig, 5, &row), 0);
}

static void store_leaves_no_segment_when_nothing_was_stored(void **state)
{
	struct store_rig *rig = *state;
	int i;

	for (i = 0; i < 5; i++) {
		rig_close(rig);
		assert_int_equal(rig_segments(rig), 0);
		assert_int_equal(rig_open(rig), 0);
	}
}

/* --- a transaction that is gone --- */

/* Holds the worker, so that what is queued meanwhile is one batch. */
struct hold {
	struct worker_job job;
	sem_t go;
};

struct undo {
	struct worker_job job;
	struct store_local *sl;
	bool some; /* was applied and not committed */
};

static void hold_run(struct worker_job *job)
{
	(void)sem_wait(&container_of(job, struct hold, job)->go);
}

/* As SQLite does it when a statement fails; the store is not told. */
static void undo_run(struct worker_job *job)
{
	struct undo *u = container_of(job, struct undo, job);

	u->some = !list_empty(&u->sl->changes);
	index_rollback(u->sl->index);
}

/* A query fails until all is applied again. */
static void wait_for_rows(struct store_rig *rig, int count)
{
	struct store_fragment rows[64];
	unsigned int tries;

	for (tries = 0; tries < 3000; tries++) {
		if (rig_list_all(rig, 0, rows, 64) == count)
			return;
		(void)usleep(10000);
	}
	fail_msg("rows are missing");
}

/* @next: another row follows; else only the commit can see it. */
static void undone_rows_are_applied_again(struct store_rig *rig, bool next)
{
	struct hold hold = {.job.run = hold_run};
	struct undo u = {.job.run = undo_run, .sl = rig->local};
	struct store_fragment rows[64];
	uint64_t seq;
	int count = 4;

	/* Now there is a segment, and the next one too. */
	assert_int_equal(rig_put(rig, 0, 1, 100, 100, 1001), 0);
	store_local_settle(rig->local);
	assert_int_equal(sem_init(&hold.go, 0, 0), 0);
	worker_submit(rig->local->worker, &hold.job);
	for (seq = 2; seq <= 4; seq++)
		assert_int_equal(rig_put(rig, 0, seq, 100, 100, 1000 + seq), 0);
	worker_submit(rig->local->worker, &u.job);
	if (next) {
		count++;
		assert_int_equal(rig_put(rig, 0, seq, 100, 100, 1000 + seq), 0);
	}
	(void)sem_post(&hold.go);
	wait_for_rows(rig, count);
	assert_true(u.some);
	rig_close(rig);
	(void)sem_destroy(&hold.go);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), count);
}

static void store_applies_again_what_was_undone(void **state)
{
	undone_rows_are_applied_again(*state, true);
}

static void store_applies_again_what_was_undone_before_the_commit(void **state)
{
	undone_rows_are_applied_again(*state, false);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define THREADED(f) \
	{ #f " (threaded)", f, setup_threaded, teardown, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(store_applies_again_what_was_undone,
						setup_threaded, teardown),
		cmocka_unit_test_setup_teardown(
			store_applies_again_what_was_undone_before_the_commit,
			setup_threaded, teardown),
		CASE(store_reads_back_what_was_committed),
		CASE(store_reads_any_range),
		CASE(store_refuses_another_streams_key),
		CASE(store_gives_no_byte_of_a_damaged_page),
		CASE(store_runs_more_reads_than_it_has_room_for),
		CASE(store_shares_one_sync_between_commits),
		CASE(store_rejects_sizes_that_do_not_add_up),
		CASE(store_forgets_what_was_aborted),
		CASE(store_pushes_back_when_its_buffers_are_full),
		CASE(store_refuses_a_fragment_that_is_too_large),
		CASE(store_interleaves_fragments_over_segments),
		CASE(store_gives_a_segment_up_after_a_failed_sync),
		CASE(store_takes_a_short_write_for_a_failure),
		cmocka_unit_test_setup_teardown(store_keeps_what_frees_no_room,
						setup, teardown),
		cmocka_unit_test(
			store_says_enospc_without_hammering_and_recovers),
		CASE(store_makes_a_lost_index_again),
		CASE(store_replays_nothing_after_a_clean_end),
		CASE(store_drops_streams_that_the_catalog_does_not_have),
		CASE(store_refuses_segments_of_another_directory),
		CASE(store_never_gives_a_number_twice),
		CASE(store_expires_fragments_and_then_segments),
		CASE(store_trims_a_stream_to_its_bound),
		CASE(store_drops_the_oldest_for_its_bound),
		CASE(store_counts_bytes_for_its_bound),
		CASE(store_says_how_much_room_there_is),
		CASE(store_drops_the_oldest_for_the_disk),
		CASE(store_removes_a_stream_and_no_other),
		CASE(store_keeps_a_segment_that_a_writer_needs),
		CASE(store_leaves_no_segment_when_nothing_was_stored),
		THREADED(store_reads_back_what_was_committed),
		THREADED(store_interleaves_fragments_over_segments),
		THREADED(store_expires_fragments_and_then_segments),
		THREADED(store_removes_a_stream_and_no_other),
		THREADED(store_makes_a_lost_index_again),
		THREADED(store_runs_more_reads_than_it_has_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
