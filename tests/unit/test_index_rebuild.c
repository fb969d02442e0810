/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index made again from the segments alone against the one that grew with
 * them: every row, in every order, and what each segment is needed for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limits.h"
#include "io/index_sqlite.h"
#include "io/store_fsck.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"

#define STREAMS 4u
#define GONE 2u /* the stream that expires: segments get holes */
#define FRAGMENTS 220u
#define ROWS_MAX (STREAMS * FRAGMENTS * 6)
#define SEEN_MAX 200u
#define SEEDS 4u

struct dump {
	struct store_fragment rows[ROWS_MAX];
	unsigned int count;
	struct index_segment segments[SEEN_MAX];
	unsigned int segment_count;
};

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct store_rig));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void put(struct store_rig *rig, unsigned int stream, uint64_t seq,
		uint64_t server_ms, uint64_t producer_ms, size_t bytes)
{
	struct store_stream s = rig_stream(stream);
	struct fragment_number number = {.seq = seq, .server_ms = server_ms};
	struct store_fragment meta = rig_meta(seq, bytes, server_ms);
	struct store_writer *w;

	meta.producer_ms = producer_ms;
	assert_int_equal(store_writer_open(rig->store, &s, &number, &w), 0);
	assert_int_equal(rig_add(rig, w, seq, 0, bytes, 30000), 0);
	assert_int_equal(rig_commit(rig, w, &meta), 0);
}

/* Clocks that jump, fragments of all sizes, some in more than one segment. */
static void fill(struct store_rig *rig)
{
	struct loop *l = rig->loop;
	uint64_t ms = 100000000;
	uint64_t i;

	for (i = 0; i < FRAGMENTS; i++) {
		unsigned int stream =
			(unsigned int)loop_fake_random(l, STREAMS);
		uint64_t jump = loop_fake_random(l, 20);

		ms += jump ? 1 + loop_fake_random(l, 8000) : 4000000;
		if (jump == 1)
			ms -= 300000;
		put(rig, stream, 1 + i, ms,
		    ms - 1000 + loop_fake_random(l, 2000) +
			    (jump == 2 ? 5000000 : 0),
		    1 + loop_fake_random(l, jump == 3 ? 600000 : 90000));
	}
}

static int each_segment(void *ctx, const struct index_segment *s)
{
	struct dump *d = ctx;

	/* What nothing needs goes sooner or later. */
	if (s->live) {
		assert_true(d->segment_count < SEEN_MAX);
		d->segments[d->segment_count++] = *s;
	}
	return 0;
}

static void dump_segments(struct store_rig *rig, struct dump *d)
{
	struct index_db *ix;
	struct data_dir dir;
	char path[256];

	assert_int_equal(data_dir_open_readonly(sys_posix(), rig->path, &dir),
			 0);
	(void)snprintf(path, sizeof(path), "%s/index.db", rig->path);
	assert_int_equal(index_open_readonly(path, dir.id, &ix), 0);
	assert_int_equal(index_segments(ix, each_segment, d), 0);
	index_close(ix);
	data_dir_close(&dir);
}

/* Opens the store, drops the stream that is expired, closes it. */
static struct dump *dump(struct store_rig *rig)
{
	struct dump *d = calloc(1, sizeof(*d));
	struct store_query q = {.to_ms = UINT64_MAX, .limit = 100};
	unsigned int i;
	int n;

	assert_non_null(d);
	assert_int_equal(rig_open(rig), 0);
	assert_true(rig_expire(rig, GONE, UINT64_MAX) >= 0);
	for (i = 0; i < STREAMS * 6; i++) {
		struct store_stream s = rig_stream(i / 6);

		memcpy(q.stream_id, s.id, sizeof(q.stream_id));
		q.order = (enum store_order)(i % 6 / 2);
		q.descending = i % 2;
		q.after = NULL;
		do {
			assert_true(d->count + q.limit <= ROWS_MAX);
			n = rig_list(rig, &q, &d->rows[d->count]);
			assert_true(n >= 0);
			d->count += (unsigned int)n;
			q.after = &d->rows[d->count - 1];
		} while (n);
	}
	rig_close(rig);
	dump_segments(rig, d);
	return d;
}

static void compare(const struct dump *a, struct dump *b)
{
	unsigned int i;

	assert_int_equal(a->count, b->count);
	for (i = 0; i < a->count; i++)
		assert_memory_equal(&a->rows[i], &b->rows[i],
				    sizeof(a->rows[i]));
	assert_int_equal(a->segment_count, b->segment_count);
	for (i = 0; i < a->segment_count; i++) {
		assert_int_equal(a->segments[i].number, b->segments[i].number);
		assert_memory_equal(a->segments[i].generation,
				    b->segments[i].generation, 16);
		assert_int_equal(a->segments[i].live, b->segments[i].live);
		assert_int_equal(a->segments[i].bytes, b->segments[i].bytes);
	}
	free(b);
}

static void repair(struct store_rig *rig)
{
	struct data_dir dir;
	const struct fsck_config config = {
		.dir = &dir,
		.level = FSCK_MEDIA,
		.find_key = rig_find_key,
	};

	assert_int_equal(data_dir_open(sys_posix(), rig->path, false, &dir), 0);
	assert_int_equal(store_fsck_repair(&config), 0);
	data_dir_close(&dir);
}

static void index_from_segments_has_the_same_rows(void **state)
{
	struct store_rig *rig = *state;
	struct loop_fake_config loop = {.seed = 1};
	struct store_local_stats stats;
	struct dump *grown;
	unsigned int i;

	for (loop.seed = 1; loop.seed <= SEEDS; loop.seed++) {
		rig_init(rig, &loop);
		rig->config.find_key = rig_find_key;
		rig->config.compact_percent = 90;
		assert_int_equal(rig_open(rig), 0);
		fill(rig);
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
		assert_true(rig_expire(rig, GONE, UINT64_MAX) > 10);
		/* On half of the seeds some rows are somewhere else now. */
		for (i = 0; loop.seed % 2 && i < 60; i++)
			store_local_compact(rig->local);
		store_local_stats(rig->local, &stats);
		assert_int_equal(stats.compacted > 0, loop.seed % 2);
		rig_close(rig);
		grown = dump(rig);
		assert_true(grown->count > FRAGMENTS * 6 / 2);
		assert_true(grown->segment_count > 3);
		/* By the repair, and by a start. */
		rig_unlink(rig, "index.db");
		repair(rig);
		compare(grown, dump(rig));
		rig_unlink(rig, "index.db");
		compare(grown, dump(rig));
		free(grown);
		rig_fini(rig);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			index_from_segments_has_the_same_rows, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
