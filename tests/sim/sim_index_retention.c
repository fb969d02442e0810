/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A day of a directory's index: streams of 2 s fragments, each with its
 * retention applied every minute, as the service does. Once the first
 * retention period is over, what the index holds and what ListFragments reads
 * must stay as they are.
 *
 * Work is counted in rows read, not in time. STREAMS, HOURS and KEEP (hours)
 * say how much; SEEDS of 1000 or more means the full day of 1000 streams.
 * JSON=1: one object instead of the table, with the processor time of a query;
 * of the hours after the first retention period, both halves.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/limits.h"
#include "io/index_sqlite.h"
#include "support/scratch.h"
#include "support/seeds.h"

#define FRAGMENT_MS 2000u
#define MINUTE_MS 60000u
#define ROWS_PER_SEGMENT 200u
#define START_MS 1700000000000ull
#define QUERIES_PER_HOUR 200u
#define QUERIES_MAX QUERIES_PER_HOUR
#define HOURS_MAX 1000u

struct figures {
	struct index_size size;
	uint64_t rows_p99; /* read for a row of the answer, in 1/100 */
	uint64_t rows_max;
	uint64_t ns_p99; /* of a query */
};

struct sim {
	char dir[64];
	char path[96];
	struct index_db *ix;
	uint64_t streams;
	uint64_t hours;
	uint64_t keep_hours;
	uint64_t state;
	uint64_t now_ms;
	uint64_t seq;
	uint64_t rows; /* inserted */
	uint32_t segment;
	uint32_t segment_rows;
	uint64_t work[QUERIES_MAX];
	uint64_t ns[QUERIES_MAX];
	unsigned int work_count;
	struct figures hourly[HOURS_MAX + 1];
	bool json;
	struct store_fragment got[LIST_RESULTS_MAX];
};

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "sim_index_retention: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint64_t below(struct sim *s, uint64_t n)
{
	return seeds_random(&s->state, n);
}

static void stream_id(uint64_t stream, uint8_t id[STREAM_ID_BYTES])
{
	memset(id, 0, STREAM_ID_BYTES);
	memcpy(id, &stream, sizeof(stream));
	id[STREAM_ID_BYTES - 1] = 1;
}

/* --- what comes in --- */

static void next_segment(struct sim *s)
{
	static const uint8_t generation[16] = {5};

	if (s->segment)
		must(index_segment_close(s->ix, s->segment, 1000), "close");
	s->segment++;
	s->segment_rows = 0;
	must(index_segment_add(s->ix, s->segment, generation, 1), "segment");
}

static void add_fragment(struct sim *s, uint64_t stream)
{
	struct store_fragment f = {
		.server_ms = s->now_ms + below(s, 300),
		.duration_ms = FRAGMENT_MS - 33 + (uint32_t)below(s, 67),
		.header_bytes = 700,
		.media_bytes = 100000 + (uint32_t)below(s, 100000),
		.frames_bytes = 150 + (uint32_t)below(s, 50),
		.segment = s->segment,
		.page = s->segment_rows * 50,
	};

	f.number.seq = ++s->seq;
	f.number.server_ms = f.server_ms;
	f.number.random = (uint32_t)below(s, 1u << 28);
	f.producer_ms = s->now_ms - 500 + below(s, 40);
	stream_id(stream, f.stream_id);
	must(index_insert(s->ix, &f, s->segment, s->segment_rows * 50 + 1),
	     "insert");
	s->rows++;
	if (++s->segment_rows == ROWS_PER_SEGMENT)
		next_segment(s);
}

/* --- what goes --- */

struct dead {
	uint32_t numbers[1000];
	unsigned int count;
};

static int collect(void *ctx, const struct index_segment *seg)
{
	struct dead *d = ctx;

	if (d->count < ARRAY_SIZE(d->numbers))
		d->numbers[d->count++] = seg->number;
	return 0;
}

static void expire(struct sim *s)
{
	uint64_t keep_ms = s->keep_hours * 60 * MINUTE_MS;
	struct dead d = {.count = 0};
	uint8_t id[STREAM_ID_BYTES];
	uint64_t i;
	int r;

	for (i = 0; i < s->streams; i++) {
		stream_id(i, id);
		do {
			r = index_delete(s->ix, id, s->now_ms - keep_ms, NULL,
					 INDEX_ROWS_PER_DELETE);
			must(r, "delete");
		} while (r >= (int)INDEX_ROWS_PER_DELETE);
	}
	must(index_segments_dead(s->ix, collect, &d), "dead segments");
	for (i = 0; i < d.count; i++)
		must(index_segment_drop(s->ix, d.numbers[i]), "drop");
	must(index_commit(s->ix), "commit");
}

/* --- what is asked --- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Up to a page from anywhere in what is kept, in any order. */
static void query(struct sim *s)
{
	struct store_query q = {
		.order = (enum store_order)below(s, 3),
		.descending = below(s, 2),
		.to_ms = UINT64_MAX,
		.limit = (uint32_t)(1 + below(s, LIST_RESULTS_MAX)),
	};
	uint64_t age_ms =
		MIN(s->keep_hours * 60 * MINUTE_MS, s->now_ms - START_MS);
	struct index_work before = index_work(s->ix);
	struct index_work after;
	uint64_t read;
	uint64_t ns;
	int n;

	stream_id(below(s, s->streams), q.stream_id);
	q.not_before_ms = s->now_ms - age_ms;
	if (below(s, 4)) {
		q.from_ms = q.not_before_ms + below(s, age_ms);
		q.to_ms = q.from_ms + below(s, 3600000);
	}
	ns = cpu_ns();
	n = index_query(s->ix, &q, s->got);
	s->ns[s->work_count] = cpu_ns() - ns;
	must(n, "query");
	after = index_work(s->ix);
	/* A block costs as much as the rows in it. */
	read = after.tail_rows - before.tail_rows +
	       (after.blocks - before.blocks) * (MINUTE_MS / FRAGMENT_MS);
	s->work[s->work_count++] = read > (uint64_t)n ? read - (uint64_t)n : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static struct figures look(struct sim *s)
{
	struct figures f;
	unsigned int i;

	s->work_count = 0;
	for (i = 0; i < QUERIES_PER_HOUR; i++)
		query(s);
	qsort(s->work, s->work_count, sizeof(*s->work), by_value);
	qsort(s->ns, s->work_count, sizeof(*s->ns), by_value);
	f.ns_p99 = s->ns[s->work_count * 99 / 100];
	f.rows_p99 = s->work[s->work_count * 99 / 100];
	f.rows_max = s->work[s->work_count - 1];
	must(index_measure(s->ix, &f.size), "measure");
	return f;
}

/* --- the day --- */

static void hour(struct sim *s)
{
	uint64_t end_ms = s->now_ms + 60 * MINUTE_MS;
	uint64_t i;

	while (s->now_ms < end_ms) {
		for (i = 0; i < s->streams; i++)
			add_fragment(s, i);
		s->now_ms += FRAGMENT_MS;
		if (s->now_ms / MINUTE_MS !=
		    (s->now_ms - FRAGMENT_MS) / MINUTE_MS)
			expire(s);
	}
}

static int compare(const struct figures *full, const struct figures *now,
		   uint64_t h)
{
	if (now->size.bytes > full->size.bytes + full->size.bytes / 10)
		fprintf(stderr, "hour %" PRIu64 ": the index grows\n", h);
	else if (now->size.tail_rows + now->size.blocks >
		 (full->size.tail_rows + full->size.blocks) * 11 / 10)
		fprintf(stderr, "hour %" PRIu64 ": its rows grow\n", h);
	/* Blocks at both ends of a range, and what the tail gives in vain. */
	else if (now->rows_p99 > 2 * full->rows_p99 + 300)
		fprintf(stderr, "hour %" PRIu64 ": queries read more\n", h);
	else
		return 0;
	return 1;
}

/* --- what is told --- */

static void print_head(const struct sim *s)
{
	if (s->json)
		return;
	printf("%" PRIu64 " streams, kept %" PRIu64 " h\n", s->streams,
	       s->keep_hours);
	printf("hour  tail rows     blocks      bytes  per stream-day  "
	       "rows read beyond the answer: p99, max; us of a query: p99\n");
}

static uint64_t per_stream_day(const struct sim *s, uint64_t h,
			       const struct figures *f)
{
	return f->size.bytes * 24 / MIN(h, s->keep_hours) / s->streams;
}

static void print_hour(const struct sim *s, uint64_t h)
{
	const struct figures *f = &s->hourly[h];

	if (s->json)
		return;
	printf("%4" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
	       "  %14" PRIu64 "  %" PRIu64 ", %" PRIu64 "; %" PRIu64 "\n",
	       h, f->size.tail_rows, f->size.blocks, f->size.bytes,
	       per_stream_day(s, h, f), f->rows_p99, f->rows_max,
	       f->ns_p99 / 1000);
	(void)fflush(stdout);
}

/* Means over hours @from..@to-1, after the name @half. */
static void print_half(const struct sim *s, const char *half, uint64_t from,
		       uint64_t to)
{
	uint64_t rows = 0;
	uint64_t bytes = 0;
	uint64_t read = 0;
	uint64_t ns = 0;
	uint64_t h;

	for (h = from; h < to; h++) {
		rows += s->hourly[h].size.tail_rows + s->hourly[h].size.blocks;
		bytes += s->hourly[h].size.bytes;
		read += s->hourly[h].rows_p99;
		ns += s->hourly[h].ns_p99;
	}
	printf(", \"%s\": {\"rows\": %" PRIu64 ", \"bytes\": %" PRIu64
	       ", \"rows_read_p99\": %" PRIu64 ", \"query_ns_p99\": %" PRIu64
	       "}",
	       half, rows / (to - from), bytes / (to - from),
	       read / (to - from), ns / (to - from));
}

static void print_end(const struct sim *s)
{
	uint64_t from = s->keep_hours + 1;
	uint64_t middle = from + (s->hours + 1 - from) / 2;
	const struct figures *last = &s->hourly[s->hours];

	if (!s->json) {
		printf("%" PRIu64 " fragments\n", s->rows);
		return;
	}
	printf("{\"streams\": %" PRIu64 ", \"hours\": %" PRIu64
	       ", \"kept_hours\": %" PRIu64 ", \"fragments\": %" PRIu64
	       ", \"tail_rows\": %" PRIu64 ", \"blocks\": %" PRIu64
	       ", \"bytes_per_stream_day\": %" PRIu64,
	       s->streams, s->hours, s->keep_hours, s->rows,
	       last->size.tail_rows, last->size.blocks,
	       per_stream_day(s, s->hours, last));
	if (middle > from) {
		print_half(s, "first_half", from, middle);
		print_half(s, "second_half", middle, s->hours + 1);
	}
	printf("}\n");
}

static int day(struct sim *s)
{
	uint64_t first = s->keep_hours + 1;
	uint64_t h;

	print_head(s);
	for (h = 1; h <= s->hours; h++) {
		hour(s);
		s->hourly[h] = look(s);
		print_hour(s, h);
		/* A row per minute is waited for at either end. */
		if (h > first && compare(&s->hourly[first], &s->hourly[h], h))
			return 1;
	}
	print_end(s);
	return 0;
}

static void open_index(struct sim *s)
{
	static const uint8_t id[INDEX_ID_BYTES] = {9};
	bool made;

	if (!scratch_dir(s->dir, sizeof(s->dir), "kvsd-sim"))
		must(-errno, "mkdtemp");
	(void)snprintf(s->path, sizeof(s->path), "%s/index.db", s->dir);
	must(index_open(s->path, id, &s->ix, &made), "open");
}

static void close_index(struct sim *s)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	char name[128];
	size_t i;

	s->ix = index_close(s->ix);
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", s->path, tails[i]);
		(void)unlink(name);
	}
	(void)rmdir(s->dir);
}

int main(void)
{
	bool all = seeds_number("SEEDS", 1) >= 1000;
	struct sim *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		abort();
	s->streams = seeds_number("STREAMS", all ? 1000 : 10);
	s->hours = MIN(seeds_number("HOURS", all ? 24 : 6), HOURS_MAX);
	s->json = seeds_number("JSON", 0);
	s->keep_hours = seeds_number("KEEP", all ? 6 : 2);
	s->state = seeds_number("SEED", 1);
	s->now_ms = START_MS;
	s->seq = 1;
	open_index(s);
	next_segment(s);
	r = day(s);
	close_index(s);
	free(s);
	return r;
}
