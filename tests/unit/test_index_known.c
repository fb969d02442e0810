/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an index knows without asking SQLite: one that stays open does and
 * answers as one that is opened anew before each step, and so knows nothing.
 */
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
#include "io/index_sqlite.h"
#include "support/scratch.h"
#include "support/seeds.h"

#define SEEDS 6u
#define STEPS 250u
#define STREAMS 2u
#define SEGMENTS 6u

static const uint8_t dir_id[INDEX_ID_BYTES] = {1};
static const uint8_t generation[16] = {3};

struct side {
	char path[96];
	struct index_db *ix;
	bool anew;
};

struct rig {
	char dir[64];
	struct side sides[2];
	uint64_t state;
	uint64_t seq;
	uint64_t server_ms[STREAMS];
	struct store_holds holds[STREAMS];
	struct store_fragment got[2][LIST_RESULTS_MAX];
};

static struct index_db *open_index(const char *path)
{
	struct index_db *ix;
	bool made;

	assert_int_equal(index_open(path, dir_id, &ix, &made), 0);
	return ix;
}

static void open_side(struct rig *rig, struct side *s, const char *name)
{
	uint32_t i;

	(void)snprintf(s->path, sizeof(s->path), "%s/%s", rig->dir, name);
	s->ix = open_index(s->path);
	for (i = 1; i <= SEGMENTS; i++)
		assert_int_equal(index_segment_add(s->ix, i, generation, 1), 0);
	assert_int_equal(index_commit(s->ix), 0);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	if (!scratch_dir(rig->dir, sizeof(rig->dir), "kvsd-known"))
		return -1;
	*state = rig;
	return 0;
}

static void close_side(struct side *s)
{
	s->ix = index_close(s->ix);
	assert_int_equal(index_remove(s->path), 0);
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	int r = rmdir(rig->dir);

	free(rig);
	return r;
}

static uint64_t below(struct rig *rig, uint64_t n)
{
	return seeds_random(&rig->state, n);
}

static void id_of(uint64_t stream, uint8_t id[STREAM_ID_BYTES])
{
	memset(id, (int)stream + 1, STREAM_ID_BYTES);
}

/* --- a step is made once, and taken by both --- */

struct step {
	enum {
		ADD,
		LATE,
		EXPIRE,
		TRIM,
		REMOVE,
		UNDO,
		STEP_KINDS,
	} kind;
	uint64_t stream;
	uint64_t before_ms;
	uint64_t bytes_max;
	unsigned int rows;
	struct store_fragment f[40];
};

static struct store_fragment fragment(struct rig *rig, uint64_t stream,
				      uint64_t seq)
{
	struct store_fragment f = {
		.number = {.seq = seq, .random = 5},
		.server_ms = rig->server_ms[stream],
		.duration_ms = 2000,
		.header_bytes = 1,
		.media_bytes = 100 + (uint32_t)below(rig, 100),
		.frames_bytes = 3,
		.segment = 1 + (uint32_t)below(rig, SEGMENTS),
		.page = (uint32_t)seq,
	};

	/* The producer's clock is another: holds go by it, too. */
	f.producer_ms = 5000000 + f.server_ms + below(rig, 100);
	f.number.server_ms = f.server_ms;
	id_of(stream, f.stream_id);
	return f;
}

static void plan_rows(struct rig *rig, struct step *s)
{
	unsigned int i;

	s->rows = 1 + (unsigned int)below(rig, 40);
	/* A clock that is set back: a block comes before others. */
	if (s->kind == LATE)
		rig->server_ms[s->stream] -=
			below(rig, MIN(rig->server_ms[s->stream], 200000u) + 1);
	for (i = 0; i < s->rows; i++) {
		uint64_t seq = rig->seq += 10;

		if (s->kind == LATE && seq > 900)
			seq -= 5 + 10 * below(rig, 80);
		rig->server_ms[s->stream] += below(rig, 50)
						     ? 500 + below(rig, 4000)
						     : below(rig, 200000);
		s->f[i] = fragment(rig, s->stream, seq);
	}
}

static void plan_holds(struct rig *rig, uint64_t stream)
{
	struct store_holds *h = &rig->holds[stream];
	uint32_t i;

	h->count = (uint32_t)below(rig, 3);
	for (i = 0; i < h->count; i++) {
		uint64_t t = rig->server_ms[stream];

		/* Of what was just added, and of what comes. */
		t -= below(rig, MIN(t, (uint64_t)200000) + 1);
		h->ranges[i].from_ms = below(rig, 2) ? t : t + 5000000;
		h->ranges[i].to_ms = h->ranges[i].from_ms + below(rig, 900000);
	}
}

static void plan(struct rig *rig, struct step *s)
{
	static const uint8_t kinds[] = {ADD,	ADD,  ADD,   ADD,  ADD,
					LATE,	TRIM, TRIM,  TRIM, EXPIRE,
					EXPIRE, UNDO, REMOVE};

	s->kind = kinds[below(rig, below(rig, 8) ? 12 : 13)];
	s->stream = below(rig, STREAMS);
	s->before_ms = rig->server_ms[s->stream];
	s->before_ms -= below(rig, MIN(s->before_ms, (uint64_t)900000) + 1);
	s->bytes_max = 20000 + below(rig, 3000);
	s->rows = 0;
	if (!below(rig, 25))
		plan_holds(rig, s->stream);
	if (s->kind <= LATE || s->kind == UNDO)
		plan_rows(rig, s);
}

static int apply(struct rig *rig, const struct step *s, struct index_db *ix)
{
	const struct store_holds *holds = &rig->holds[s->stream];
	uint8_t id[STREAM_ID_BYTES];
	unsigned int i;
	int r = 0;

	id_of(s->stream, id);
	for (i = 0; i < s->rows; i++)
		assert_int_equal(index_insert(ix, &s->f[i],
					      MAX(s->f[i].segment, 2u) - 1,
					      i + 2),
				 0);
	if (s->kind == EXPIRE || s->kind == UNDO)
		r = index_delete(ix, id, s->before_ms, holds,
				 INDEX_ROWS_PER_DELETE);
	else if (s->kind == TRIM)
		r = index_trim(ix, id, s->bytes_max, holds,
			       INDEX_ROWS_PER_DELETE);
	else if (s->kind == REMOVE)
		r = index_delete(ix, id, UINT64_MAX, NULL, 1000);
	if (s->kind == UNDO)
		index_rollback(ix);
	else
		assert_int_equal(index_commit(ix), 0);
	return r;
}

/* --- and asked of both --- */

static int add_live(void *ctx, const struct index_segment *s)
{
	uint64_t *sums = ctx;

	sums[0] = sums[0] * 31 + s->live;
	sums[1] = sums[1] * 31 + s->bytes;
	sums[2] = sums[2] * 31 + s->mark;
	return 0;
}

static void compare_stream(struct rig *rig, uint64_t stream)
{
	struct store_query q = {.to_ms = UINT64_MAX, .limit = LIST_RESULTS_MAX};
	uint64_t bytes[2] = {0};
	uint64_t oldest[2] = {0};
	int n[2][3];
	unsigned int i;

	id_of(stream, q.stream_id);
	q.holds = &rig->holds[stream];
	for (i = 0; i < 2; i++) {
		struct index_db *ix = rig->sides[i].ix;

		n[i][0] = index_query(ix, &q, rig->got[i]);
		n[i][1] = index_stream_bytes(ix, q.stream_id, &bytes[i]);
		n[i][2] = index_oldest(ix, q.stream_id, q.holds, &oldest[i]);
	}
	assert_memory_equal(n[0], n[1], sizeof(n[0]));
	assert_true(n[0][0] >= 0);
	assert_memory_equal(rig->got[0], rig->got[1],
			    (size_t)n[0][0] * sizeof(rig->got[0][0]));
	assert_int_equal(bytes[0], bytes[1]);
	assert_int_equal(oldest[0], oldest[1]);
}

static void compare(struct rig *rig)
{
	uint64_t sums[2][3] = {{0}};
	uint64_t i;

	for (i = 0; i < 2; i++)
		assert_int_equal(
			index_segments(rig->sides[i].ix, add_live, sums[i]), 0);
	assert_memory_equal(sums[0], sums[1], sizeof(sums[0]));
	for (i = 0; i < STREAMS; i++)
		compare_stream(rig, i);
}

static void run_seed(struct rig *rig, uint64_t seed)
{
	struct step *s = calloc(1, sizeof(*s));
	unsigned int i;

	rig->state = seed;
	rig->seq = 0;
	memset(rig->holds, 0, sizeof(rig->holds));
	memset(rig->server_ms, 0, sizeof(rig->server_ms));
	open_side(rig, &rig->sides[0], "kept.db");
	open_side(rig, &rig->sides[1], "anew.db");
	for (i = 0; i < STEPS; i++) {
		struct side *anew = &rig->sides[1];

		plan(rig, s);
		anew->ix = index_close(anew->ix);
		anew->ix = open_index(anew->path);
		assert_int_equal(apply(rig, s, rig->sides[0].ix),
				 apply(rig, s, anew->ix));
		compare(rig);
	}
	close_side(&rig->sides[0]);
	close_side(&rig->sides[1]);
	free(s);
}

static void what_is_known_is_what_is_there(void **state)
{
	uint64_t first = seeds_number("FIRST", 1);
	uint64_t count = seeds_number("SEEDS", SEEDS);
	uint64_t seed;

	for (seed = first; seed < first + count; seed++)
		run_seed(*state, seed);
}

/* --- what is held is read once --- */

static void add_minutes(struct rig *rig, struct index_db *ix,
			unsigned int minutes)
{
	unsigned int i;

	for (i = 0; i < minutes * 30; i++) {
		struct store_fragment f;

		rig->server_ms[0] += 2000;
		f = fragment(rig, 0, ++rig->seq);
		assert_int_equal(index_insert(ix, &f, f.segment, i + 2), 0);
	}
}

static void what_is_held_is_not_unpacked_again(void **state)
{
	struct rig *rig = *state;
	struct side *s = &rig->sides[0];
	uint8_t id[STREAM_ID_BYTES];
	uint64_t unpacked;
	unsigned int i;

	id_of(0, id);
	rig->state = 1;
	rig->seq = 0;
	rig->server_ms[0] = 0;
	open_side(rig, s, "kept.db");
	add_minutes(rig, s->ix, 120);
	/* By the producer's clock: by the other, a walk jumps over it. */
	rig->holds[0].count = 1;
	rig->holds[0].ranges[0].from_ms = 5000000 + rig->server_ms[0];
	rig->holds[0].ranges[0].to_ms = UINT32_MAX * 1000ull;
	add_minutes(rig, s->ix, 120);
	for (i = 0; i < 3; i++) {
		unpacked = index_work(s->ix).unpacked;
		while (index_delete(s->ix, id, rig->server_ms[0] - 600000,
				    &rig->holds[0], INDEX_ROWS_PER_DELETE) > 0)
			;
		while (index_trim(s->ix, id, 1, &rig->holds[0],
				  INDEX_ROWS_PER_DELETE) > 0)
			;
		assert_int_equal(index_commit(s->ix), 0);
		unpacked = index_work(s->ix).unpacked - unpacked;
		/* Two hours of minutes, and minutes that came since. */
		if (i == 0)
			assert_true(unpacked >= 120);
		else
			assert_true(unpacked <= 20);
		add_minutes(rig, s->ix, 5);
	}
	close_side(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_known_is_what_is_there,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_held_is_not_unpacked_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
