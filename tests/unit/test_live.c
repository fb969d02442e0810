/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/loop_fake.h"

static const uint8_t id[STREAM_ID_BYTES] = {1, 2, 3};
static const uint8_t other_id[STREAM_ID_BYTES] = {4, 5, 6};
static struct live_table table;
static struct loop *loop;

static int setup(void **state)
{
	struct loop_fake_config config = {.seed = 1, .start_ns = NS_PER_S};

	(void)state;
	loop = loop_fake_new(&config);
	live_table_init(&table, loop);
	return 0;
}

/* Nothing may be left: what a test holds it gives back. */
static int teardown(void **state)
{
	size_t i;

	(void)state;
	live_table_fini(&table);
	assert_int_equal(table.kept_bytes, 0);
	assert_false(loop_timer_armed(&table.timer));
	for (i = 0; i < LIVE_BUCKETS; i++)
		assert_true(list_empty(&table.buckets[i]));
	loop = loop_free(loop);
	return 0;
}

static void no_news(struct live_reader *r)
{
	(void)r;
}

static struct live_fragment *begin(struct live_stream *s, uint64_t seq)
{
	const struct ingest_view view = {
		.number = {.seq = seq},
		.server_ms = 1000,
		.header = (const uint8_t *)"header",
		.header_bytes = 6,
	};

	return live_begin(s, &view);
}

static void live_hands_out_whole_elements_only(void **state)
{
	struct live_reader reader = {.changed = no_news};
	struct live_stream *s;
	struct live_fragment *f;
	const uint8_t *bytes;

	(void)state;
	s = live_stream_get(&table, id, 24);
	list_init(&reader.link);
	live_reader_add(s, &reader);
	f = begin(s, 1);
	assert_true(f->kept);
	live_bytes(f, (const uint8_t *)"0123456789", 10);
	assert_int_equal(live_peek(f, 0, &bytes), 0);
	live_boundary(f, 7);
	assert_int_equal(live_peek(f, 2, &bytes), 5);
	assert_memory_equal(bytes, "23456", 5);
	assert_int_equal(live_peek(f, 7, &bytes), 0);
	live_end(f, INGEST_WHOLE);
	assert_int_equal(live_peek(f, 7, &bytes), 3);
	live_end(f, INGEST_COMMITTED);
	assert_null(live_next(s, NULL));
	assert_int_equal(s->committed.seq, 1);
	live_reader_remove(s, &reader);
	live_stream_put(s);
	assert_null(live_stream_find(&table, id));
}

static void live_keeps_no_bytes_without_readers(void **state)
{
	struct live_stream *s;
	struct live_fragment *f;

	(void)state;
	s = live_stream_get(&table, id, 24);
	f = begin(s, 1);
	live_bytes(f, (const uint8_t *)"0123456789", 10);
	assert_int_equal(f->kept_bytes, 0);
	/* Readers see that it is on its way all the same. */
	assert_ptr_equal(live_next(s, NULL), f);
	assert_null(live_newest(s));
	live_end(f, INGEST_DROPPED);
	live_stream_put(s);
}

static void live_stops_keeping_at_its_bound(void **state)
{
	static uint8_t chunk[1 << 20];
	struct live_reader reader = {.changed = no_news};
	struct live_stream *s;
	struct live_fragment *f;
	int i;

	(void)state;
	table.bytes_max = 8 << 20;
	s = live_stream_get(&table, id, 24);
	list_init(&reader.link);
	live_reader_add(s, &reader);
	f = begin(s, 1);
	for (i = 0; i < 9; i++)
		live_bytes(f, chunk, sizeof(chunk));
	assert_true(f->overflow);
	assert_in_range(f->kept_bytes, 7 << 20, 8 << 20);
	assert_int_equal(f->media_bytes, 9 * sizeof(chunk));
	assert_true(table.kept_bytes <= table.bytes_max);
	live_end(f, INGEST_DROPPED);
	live_reader_remove(s, &reader);
	live_stream_put(s);
}

static void live_keeps_the_largest_fragment(void **state)
{
	static uint8_t chunk[1 << 20];
	struct live_reader reader = {.changed = no_news};
	struct live_stream *s;
	struct live_fragment *f;
	const uint8_t *bytes;
	size_t i;

	(void)state;
	s = live_stream_get(&table, id, 24);
	list_init(&reader.link);
	live_reader_add(s, &reader);
	f = begin(s, 1);
	for (i = 0; i < FRAGMENT_BYTES_MAX / sizeof(chunk); i++) {
		chunk[0] = (uint8_t)i;
		live_bytes(f, chunk, sizeof(chunk));
	}
	assert_false(f->overflow);
	live_end(f, INGEST_WHOLE);
	for (i = 0; i < FRAGMENT_BYTES_MAX / sizeof(chunk); i++) {
		assert_int_equal(live_peek(f, i * sizeof(chunk), &bytes),
				 LIVE_CHUNK_BYTES);
		assert_int_equal(bytes[0], i);
	}
	/* What only a reader holds is memory, too. */
	live_fragment_ref(f);
	live_end(f, INGEST_COMMITTED);
	assert_true(table.kept_bytes >= FRAGMENT_BYTES_MAX);
	live_fragment_put(f);
	assert_int_equal(table.kept_bytes, 0);
	live_reader_remove(s, &reader);
	live_stream_put(s);
}

static unsigned int watched_count;

static void watched(struct live_upload *u)
{
	(void)u;
	watched_count++;
}

static void uploads_hear_of_each_reader(void **state)
{
	struct live_upload uploads[2] = {{.watched = watched},
					 {.watched = watched}};
	struct live_reader reader = {.changed = no_news};
	struct live_stream *s;

	(void)state;
	s = live_stream_get(&table, id, 24);
	list_add_tail(&s->uploads, &uploads[0].link);
	list_add_tail(&s->uploads, &uploads[1].link);
	list_init(&reader.link);
	watched_count = 0;
	live_reader_add(s, &reader);
	assert_int_equal(watched_count, 2);
	live_reader_remove(s, &reader);
	assert_int_equal(watched_count, 2);
	list_del(&uploads[0].link);
	list_del(&uploads[1].link);
	live_stream_put(s);
}

/* --- retention 0
 * ------------------------------------------------------------------ */

/* The clock goes on by @ns; what is due runs. */
static void pass(uint64_t ns)
{
	loop_fake_advance(loop, ns);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
}

static void upload(const uint8_t *stream, uint64_t seq, size_t len)
{
	static uint8_t bytes[1 << 20];
	struct live_stream *s = live_stream_get(&table, stream, 0);
	struct live_fragment *f = begin(s, seq);

	while (len) {
		size_t n = MIN(len, sizeof(bytes));

		live_bytes(f, bytes, n);
		len -= n;
	}
	live_end(f, INGEST_WHOLE);
	live_stream_put(s);
}

static unsigned int buffered(const uint8_t *stream)
{
	struct live_stream *s = live_stream_find(&table, stream);
	struct live_fragment *f;
	unsigned int n = 0;

	for (f = s ? live_next(s, NULL) : NULL; f;
	     f = live_next(s, &f->view.number))
		n++;
	return n;
}

static void live_buffer_outlives_the_upload(void **state)
{
	(void)state;
	upload(id, 1, 10);
	pass(100 * NS_PER_S);
	upload(id, 2, 10);
	assert_int_equal(buffered(id), 2);
	/* Each fragment has the whole time, whatever came before and after. */
	pass(LIVE_BUFFER_NS_MAX - 100 * NS_PER_S - 1);
	assert_int_equal(buffered(id), 2);
	pass(1);
	assert_int_equal(buffered(id), 1);
	assert_int_equal(
		live_newest(live_stream_find(&table, id))->view.number.seq, 2);
	pass(100 * NS_PER_S);
	assert_null(live_stream_find(&table, id));
	assert_int_equal(table.kept_bytes, 0);
	assert_false(loop_timer_armed(&table.timer));
}

static void live_buffer_ends_during_the_upload_too(void **state)
{
	struct live_stream *s = live_stream_get(&table, id, 0);
	struct live_fragment *open = begin(s, 1);
	struct live_fragment *f = begin(s, 2);

	(void)state;
	live_bytes(f, (const uint8_t *)"0123456789", 10);
	live_end(f, INGEST_WHOLE);
	pass(LIVE_BUFFER_NS_MAX);
	/* One that is still growing neither ends nor keeps others. */
	assert_int_equal(buffered(id), 1);
	assert_ptr_equal(live_next(s, NULL), open);
	live_end(open, INGEST_DROPPED);
	live_stream_put(s);
	assert_null(live_stream_find(&table, id));
}

static void live_buffer_drops_the_oldest_of_a_stream(void **state)
{
	uint64_t seq;

	(void)state;
	/* Amazon's own: 5 min and 200 MB. */
	assert_int_equal(LIVE_BUFFER_NS_MAX, 300 * NS_PER_S);
	assert_int_equal(table.stream_bytes_max, 200 << 20);
	assert_true(table.bytes_max >= table.stream_bytes_max);
	/* A sanitizer takes several times of it. */
	table.stream_bytes_max = 20 << 20;
	for (seq = 1; seq <= 25; seq++)
		upload(id, seq, 1 << 20);
	assert_in_range(table.kept_bytes, 18 << 20, 20 << 20);
	assert_int_equal(buffered(id), 19); /* and their bookkeeping */
	assert_int_equal(
		live_newest(live_stream_find(&table, id))->view.number.seq, 25);
}

static void live_buffer_counts_what_small_fragments_take(void **state)
{
	uint64_t seq;

	(void)state;
	table.stream_bytes_max = 512 << 10;
	for (seq = 1; seq <= 500; seq++)
		upload(id, seq, 1);
	/* Not a chunk each. */
	assert_int_equal(buffered(id), 500);
	assert_true(table.kept_bytes >= 500 * sizeof(struct live_fragment));
	for (; seq <= 20000; seq++)
		upload(id, seq, 1);
	assert_true(buffered(id) <
		    table.stream_bytes_max / sizeof(struct live_fragment));
}

static void live_buffer_counts_fragments(void **state)
{
	struct fragment_number after = {0};
	uint64_t seq;

	(void)state;
	for (seq = 1; seq <= 2 * LIVE_BUFFER_FRAGMENTS_MAX; seq++)
		upload(id, seq, 1);
	assert_int_equal(buffered(id), LIVE_BUFFER_FRAGMENTS_MAX);
	/* Each is found from the one before it, from either end. */
	for (seq = LIVE_BUFFER_FRAGMENTS_MAX + 1;
	     seq <= 2 * LIVE_BUFFER_FRAGMENTS_MAX; seq++) {
		const struct live_fragment *f =
			live_next(live_stream_find(&table, id), &after);

		assert_int_equal(f->view.number.seq, seq);
		after = f->view.number;
	}
	assert_null(live_next(live_stream_find(&table, id), &after));
}

/* What a reader is in the middle of is no room: others give way. */
static void live_buffer_drops_what_frees_memory(void **state)
{
	struct live_fragment *f;

	(void)state;
	table.bytes_max = 8 << 20;
	upload(other_id, 1, 4 << 20);
	f = live_newest(live_stream_find(&table, other_id));
	live_fragment_ref(f);
	upload(id, 1, 1 << 20);
	upload(id, 2, 1 << 20);
	upload(id, 3, 3 << 20);
	assert_int_equal(buffered(other_id), 1);
	assert_int_equal(buffered(id), 1);
	live_fragment_put(f);
	/* It has gone: the oldest gives way. */
	upload(id, 4, 3 << 20);
	assert_int_equal(buffered(other_id), 0);
	assert_int_equal(buffered(id), 2);
}

static void live_buffer_of_others_makes_room(void **state)
{
	uint8_t stream[STREAM_ID_BYTES] = {0};
	unsigned int i;

	(void)state;
	table.bytes_max = 32 << 20;
	for (i = 0; i < 64; i++) {
		stream[0] = (uint8_t)i;
		upload(stream, 1, 1 << 20);
		assert_int_equal(buffered(stream), 1);
		assert_true(table.kept_bytes <= table.bytes_max + 4096);
	}
	stream[0] = 0;
	assert_null(live_stream_find(&table, stream));
}

static void live_buffer_goes_with_its_stream(void **state)
{
	struct live_stream *s;

	(void)state;
	upload(id, 1, 10);
	upload(other_id, 1, 10);
	s = live_stream_find(&table, id);
	live_stream_delete(s);
	assert_null(live_stream_find(&table, id));
	assert_int_equal(buffered(other_id), 1);
	/* What ends afterwards is not kept either. */
	s = live_stream_get(&table, id, 0);
	live_stream_delete(s);
	live_end(begin(s, 2), INGEST_WHOLE);
	live_stream_put(s);
	assert_null(live_stream_find(&table, id));
}

static void live_buffer_stays_when_there_is_a_retention(void **state)
{
	struct live_reader reader = {.changed = no_news};
	struct live_stream *s;
	struct live_upload u;
	struct live_fragment *f;

	(void)state;
	upload(id, 1, 10);
	live_stream_retention(&table, id, 24);
	live_stream_retention(&table, other_id, 24); /* nobody asked for it */
	s = live_stream_find(&table, id);
	assert_true(s->stored);
	assert_int_equal(s->retention_hours, 24);
	/* For who has begun to read; the next one of the stream is stored. */
	assert_int_equal(buffered(id), 1);
	assert_int_equal(live_newest(s)->view.number.seq, 1);
	s = live_stream_get(&table, id, 24);
	list_init(&reader.link);
	live_reader_add(s, &reader);
	f = begin(s, 2);
	assert_true(f->stored);
	live_end(f, INGEST_WHOLE);
	live_end(f, INGEST_COMMITTED);
	/* That one is the newest, and it is in the store. */
	assert_null(live_newest(s));
	assert_int_equal(buffered(id), 1);
	/* Uploads keep what they began with; readers hear at once. */
	list_add_tail(&s->uploads, &u.link);
	assert_ptr_equal(live_stream_get(&table, id, 0), s);
	assert_true(s->stored);
	assert_int_equal(s->retention_hours, 0);
	live_stream_put(s);
	list_del(&u.link);
	live_reader_remove(s, &reader);
	live_stream_put(s);
	pass(LIVE_BUFFER_NS_MAX);
	assert_null(live_stream_find(&table, id));
}

static void live_buffer_lets_a_reader_finish(void **state)
{
	struct live_stream *s;
	struct live_fragment *f;
	const uint8_t *bytes;

	(void)state;
	upload(id, 1, 10);
	s = live_stream_get(&table, id, 0);
	f = live_next(s, NULL);
	live_fragment_ref(f);
	pass(LIVE_BUFFER_NS_MAX);
	assert_null(live_next(s, NULL));
	assert_int_equal(f->state, LIVE_COMMITTED);
	assert_int_equal(live_peek(f, 0, &bytes), 10);
	live_fragment_put(f);
	live_stream_put(s);
}

/* Slow viewers have no claim to memory that others need. */
static void live_revokes_what_only_readers_hold(void **state)
{
	struct live_fragment *held[2];
	struct live_fragment *f;
	const uint8_t *bytes;
	uint64_t seq;

	(void)state;
	table.bytes_max = 8 << 20;
	for (seq = 1; seq <= 2; seq++) {
		upload(other_id, seq, 3 << 20);
		f = live_newest(live_stream_find(&table, other_id));
		live_fragment_ref(f);
		held[seq - 1] = f;
		pass(LIVE_BUFFER_NS_MAX / 2);
	}
	pass(LIVE_BUFFER_NS_MAX / 2);
	assert_null(live_stream_find(&table, other_id));
	assert_true(table.kept_bytes >= 6 << 20);
	/* The first one goes, and no more than that. */
	upload(id, 1, 4 << 20);
	assert_int_equal(buffered(id), 1);
	assert_true(table.kept_bytes <= table.bytes_max + 4096);
	assert_true(held[0]->revoked);
	assert_int_equal(live_peek(held[0], 0, &bytes), 0);
	assert_false(held[1]->revoked);
	assert_int_equal(live_peek(held[1], 0, &bytes), LIVE_CHUNK_BYTES);
	/* Neither is it counted twice. */
	live_fragment_put(held[0]);
	live_fragment_put(held[1]);
	assert_true(table.kept_bytes >= 4 << 20);
	assert_true(table.kept_bytes < 5 << 20);
}

/* With nothing else left: what is offered, and in use. */
static void live_revokes_the_oldest_in_use(void **state)
{
	struct live_fragment *old[2];
	uint64_t seq;

	(void)state;
	table.bytes_max = 8 << 20;
	for (seq = 1; seq <= 2; seq++) {
		upload(other_id, seq, 3 << 20);
		old[seq - 1] = live_newest(live_stream_find(&table, other_id));
		live_fragment_ref(old[seq - 1]);
	}
	upload(id, 1, 4 << 20);
	assert_int_equal(buffered(id), 1);
	assert_true(table.kept_bytes <= table.bytes_max + 4096);
	assert_true(old[0]->revoked);
	assert_false(old[1]->revoked);
	assert_int_equal(buffered(other_id), 1);
	live_fragment_put(old[0]);
	live_fragment_put(old[1]);
}

static void live_buffer_keeps_nothing_unreadable(void **state)
{
	(void)state;
	table.bytes_max = 8 << 20;
	upload(id, 1, 8 << 20);
	assert_null(live_stream_find(&table, id));
	assert_int_equal(table.kept_bytes, 0);
}

#define LIVE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIVE_TEST(live_hands_out_whole_elements_only),
		LIVE_TEST(live_keeps_no_bytes_without_readers),
		LIVE_TEST(live_stops_keeping_at_its_bound),
		LIVE_TEST(live_keeps_the_largest_fragment),
		LIVE_TEST(uploads_hear_of_each_reader),
		LIVE_TEST(live_buffer_outlives_the_upload),
		LIVE_TEST(live_buffer_ends_during_the_upload_too),
		LIVE_TEST(live_buffer_drops_the_oldest_of_a_stream),
		LIVE_TEST(live_buffer_counts_what_small_fragments_take),
		LIVE_TEST(live_buffer_counts_fragments),
		LIVE_TEST(live_buffer_drops_what_frees_memory),
		LIVE_TEST(live_buffer_of_others_makes_room),
		LIVE_TEST(live_buffer_goes_with_its_stream),
		LIVE_TEST(live_buffer_stays_when_there_is_a_retention),
		LIVE_TEST(live_buffer_lets_a_reader_finish),
		LIVE_TEST(live_revokes_what_only_readers_hold),
		LIVE_TEST(live_revokes_the_oldest_in_use),
		LIVE_TEST(live_buffer_keeps_nothing_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
