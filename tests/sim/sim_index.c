/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index against a plain list. From one seed: rows of a few streams whose
 * clocks run, jump ahead and are set back, some of them late or twice, each
 * queried in every order, from everywhere, page by page, while blocks are
 * packed, joined, split and expired. In the end nothing may need a segment.
 *
 * SEEDS=n (or an argument) runs seeds 1..n, SEED=n one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "io/index_sqlite.h"
#include "support/scratch.h"
#include "support/seeds.h"

#define SEEDS_DEFAULT 60u
#define STREAMS 2u
#define ROWS_MAX 1500u
#define SEGMENTS 40u

struct sim {
	uint64_t seed;
	uint64_t state;
	char dir[64];
	char path[96];
	struct index_db *ix;
	struct store_fragment rows[ROWS_MAX];
	unsigned int first_segments[ROWS_MAX];
	unsigned int count;
	uint64_t floor_ms[STREAMS]; /* what is older may be gone */
	uint64_t server_ms[STREAMS];
	uint64_t producer_ms[STREAMS];
	uint64_t seq;
	struct store_fragment expected[ROWS_MAX];
	struct store_fragment got[LIST_RESULTS_MAX];
};

static void broken(const struct sim *s, const char *what)
{
	fprintf(stderr, "sim_index: seed %" PRIu64 ": %s\n", s->seed, what);
	exit(1);
}

static uint64_t next_random(struct sim *s)
{
	return seeds_random(&s->state, 0);
}

static uint64_t below(struct sim *s, uint64_t n)
{
	return next_random(s) % n;
}

static void must(const struct sim *s, int r, const char *what)
{
	if (r < 0)
		broken(s, what);
}

/* --- rows --- */

static uint64_t step_clock(struct sim *s, uint64_t t)
{
	switch (below(s, 60)) {
	case 0:
		return t + below(s, 400000);
	case 1:
		return t - below(s, MIN(t, 400000u) + 1);
	case 2:
		return t;
	case 3:
		return 1000;
	default:
		return t + below(s, 4000);
	}
}

static void make_row(struct sim *s, struct store_fragment *f)
{
	unsigned int stream = (unsigned int)below(s, STREAMS);

	memset(f, 0, sizeof(*f));
	f->stream_id[0] = (uint8_t)(stream + 1);
	s->seq += 1 + below(s, 5);
	s->server_ms[stream] = step_clock(s, s->server_ms[stream]);
	s->producer_ms[stream] = step_clock(s, s->producer_ms[stream]);
	f->number.seq = s->seq;
	f->number.server_ms = s->server_ms[stream] + below(s, 3);
	f->number.random = (uint32_t)below(s, 1u << 28);
	f->server_ms = s->server_ms[stream];
	f->producer_ms = s->producer_ms[stream];
	f->duration_ms = (uint32_t)below(s, 5000);
	f->header_bytes = 600;
	f->media_bytes = (uint32_t)below(s, 1u << 20);
	f->frames_bytes = (uint32_t)below(s, 2000);
	f->segment = 1 + s->count * (SEGMENTS - 1) / ROWS_MAX +
		     (uint32_t)below(s, 2);
	f->page = (uint32_t)below(s, 10000);
}

static void insert(struct sim *s, unsigned int i)
{
	must(s, index_insert(s->ix, &s->rows[i], s->first_segments[i], 7),
	     "insert");
}

/* Rows come in the order of their number, a few of them later. */
static void add_rows(struct sim *s)
{
	struct store_fragment *f = &s->rows[s->count];
	unsigned int i;

	make_row(s, f);
	s->first_segments[s->count] =
		f->segment - (f->segment > 1 ? (unsigned int)below(s, 2) : 0);
	if (s->count && below(s, 20) == 0) {
		/* The number of a row that was lost before this one. */
		struct store_fragment *late = &s->rows[below(s, s->count)];

		f->number.seq = late->number.seq - 1;
		for (i = 0; i < s->count; i++)
			if (s->rows[i].number.seq == f->number.seq)
				return;
		memcpy(f->stream_id, late->stream_id, sizeof(f->stream_id));
	}
	insert(s, s->count++);
	i = (unsigned int)below(s, s->count);
	if (below(s, 10) == 0 &&
	    s->rows[i].server_ms >= s->floor_ms[s->rows[i].stream_id[0] - 1])
		insert(s, i); /* again: a no-op */
}

/* --- queries --- */

static uint64_t time_of(const struct store_query *q,
			const struct store_fragment *f)
{
	return q->order == STORE_BY_NUMBER	  ? 0
	       : q->order == STORE_BY_SERVER_TIME ? f->server_ms
						  : f->producer_ms;
}

static const struct store_query *sorting;

static int by_query(const void *a, const void *b)
{
	const struct store_fragment *x = a;
	const struct store_fragment *y = b;
	uint64_t t = time_of(sorting, x);
	uint64_t u = time_of(sorting, y);
	int c = t != u ? (t > u) - (t < u)
		       : (x->number.seq > y->number.seq) -
				 (x->number.seq < y->number.seq);

	return sorting->descending ? -c : c;
}

static unsigned int expect(struct sim *s, const struct store_query *q)
{
	unsigned int n = 0;
	unsigned int i;

	for (i = 0; i < s->count; i++) {
		const struct store_fragment *f = &s->rows[i];
		uint64_t t = time_of(q, f);

		if (memcmp(f->stream_id, q->stream_id, STREAM_ID_BYTES) ||
		    f->server_ms < q->not_before_ms ||
		    (q->order != STORE_BY_NUMBER &&
		     (t < q->from_ms || t > q->to_ms)))
			continue;
		s->expected[n++] = *f;
	}
	sorting = q;
	if (n)
		qsort(s->expected, n, sizeof(*s->expected), by_query);
	return n;
}

static void check_query(struct sim *s)
{
	unsigned int stream = (unsigned int)below(s, STREAMS);
	struct store_query q = {
		.stream_id = {(uint8_t)(stream + 1)},
		.order = (enum store_order)below(s, 3),
		.descending = below(s, 2),
		.to_ms = UINT64_MAX,
		.not_before_ms = s->floor_ms[stream],
		.limit = (uint32_t)(1 + below(s, below(s, 4) ? 200 : 5)),
	};
	struct store_fragment after;
	unsigned int have = 0;
	unsigned int want;
	int n;

	if (below(s, 3) && s->count) {
		q.from_ms = time_of(&q, &s->rows[below(s, s->count)]);
		q.to_ms = q.from_ms + below(s, 300000);
	}
	if (below(s, 4) == 0)
		q.not_before_ms += below(s, 100000);
	want = expect(s, &q);
	do {
		n = index_query(s->ix, &q, s->got);
		must(s, n, "query");
		if ((unsigned int)n > want - have ||
		    memcmp(s->got, s->expected + have,
			   (size_t)n * sizeof(*s->got)))
			broken(s, "a query has other rows than expected");
		have += (unsigned int)n;
		if (n) {
			after = s->got[n - 1];
			q.after = &after;
		}
	} while (n == (int)q.limit);
	if (have != want)
		broken(s, "a query has too few rows");
}

/* --- a run --- */

static void expire(struct sim *s)
{
	unsigned int stream = (unsigned int)below(s, STREAMS);
	uint8_t id[STREAM_ID_BYTES] = {(uint8_t)(stream + 1)};
	uint64_t ms = s->floor_ms[stream] + below(s, 200000);
	int r;

	s->floor_ms[stream] = ms;
	do {
		r = index_delete(s->ix, id, ms, NULL, 50);
		must(s, r, "delete");
	} while (r >= 50);
}

static int count_dead(void *ctx, const struct index_segment *seg)
{
	unsigned int *count = ctx;

	(void)seg;
	++*count;
	return 0;
}

static void delete_all(struct sim *s)
{
	unsigned int dead = 0;
	struct index_size size;
	unsigned int i;
	int r;

	for (i = 1; i <= STREAMS; i++) {
		uint8_t id[STREAM_ID_BYTES] = {(uint8_t)i};

		do {
			r = index_delete(s->ix, id, UINT64_MAX, NULL, 100);
			must(s, r, "delete");
		} while (r >= 100);
	}
	for (i = 1; i <= SEGMENTS; i++)
		must(s, index_segment_close(s->ix, i, 8), "close");
	must(s, index_segments_dead(s->ix, count_dead, &dead), "dead");
	if (dead != SEGMENTS)
		broken(s, "a segment is needed by no row");
	must(s, index_measure(s->ix, &size), "measure");
	if (size.tail_rows || size.blocks)
		broken(s, "rows are left");
}

static void open_index(struct sim *s, bool expect_made)
{
	static const uint8_t id[INDEX_ID_BYTES] = {9};
	bool made;

	must(s, index_open(s->path, id, &s->ix, &made), "open");
	if (made != expect_made)
		broken(s, "the index was made again");
}

static void run(struct sim *s)
{
	static const uint8_t generation[16] = {3};
	unsigned int rows = 100 + (unsigned int)below(s, ROWS_MAX - 100);
	unsigned int i;

	open_index(s, true);
	for (i = 1; i <= SEGMENTS; i++)
		must(s, index_segment_add(s->ix, i, generation, 1), "segment");
	for (i = 0; i < STREAMS; i++) {
		s->server_ms[i] = 1700000000000ull;
		s->producer_ms[i] = below(s, 2) ? 1000 : 1700000000000ull;
	}
	s->seq = 100;
	while (s->count < rows) {
		add_rows(s);
		if (below(s, 25) == 0)
			check_query(s);
		if (below(s, 200) == 0)
			expire(s);
		if (below(s, 400) == 0) {
			must(s, index_commit(s->ix), "commit");
			s->ix = index_close(s->ix);
			open_index(s, false);
		}
	}
	for (i = 0; i < 20; i++)
		check_query(s);
	delete_all(s);
	s->ix = index_close(s->ix);
}

static void run_seed(uint64_t seed)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	struct sim *s = calloc(1, sizeof(*s));
	char name[128];
	size_t i;

	if (!s)
		abort();
	s->seed = seed;
	s->state = seed;
	if (!scratch_dir(s->dir, sizeof(s->dir), "kvsd-sim"))
		broken(s, "no folder for it");
	(void)snprintf(s->path, sizeof(s->path), "%s/index.db", s->dir);
	run(s);
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", s->path, tails[i]);
		(void)unlink(name);
	}
	(void)rmdir(s->dir);
	free(s);
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, SEEDS_DEFAULT);
	uint64_t i;

	for (i = 0; i < seeds.count; i++)
		run_seed(seeds.first + i);
	printf("sim_index: %" PRIu64 " seeds\n", seeds.count);
	return 0;
}
