/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that takes seconds for each write: uploads through core/ingest.h into
 * the local store, on a simulated clock. Producers wait; nothing is dropped,
 * nothing piles up, and nobody is taken for silent.
 */
#include "core/ingest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limits.h"
#include "support/mkv_build.h"
#include "support/store_rig.h"

#define WALL_MS 1700000000000ull
#define UPLOADS 12u
#define FRAGMENTS 16u
#define FRAMES 8u
#define FRAME_BYTES 30000u
#define MEDIA_BYTES_MAX (FRAMES * (FRAME_BYTES + 16) + 64)
#define BODY_BYTES_MAX (8192 + FRAGMENTS * MEDIA_BYTES_MAX)
#define PIECE_BYTES 16384u /* what a receive brings */
#define TICKS_MAX 1000000u

struct upload {
	struct store_rig *rig;
	struct ingest *in;
	unsigned int index;
	uint8_t *body;
	size_t len;
	size_t taken;
	size_t starts[FRAGMENTS]; /* of each Cluster, in @body */
	size_t ends[FRAGMENTS];
	unsigned int received;
	unsigned int persisted;
	unsigned int errors;
	unsigned int waits; /* times that it was told to */
	bool finished;
};

/* --- the body --- */

static void append(struct upload *u, const void *bytes, size_t len)
{
	assert_true(u->len + len <= BODY_BYTES_MAX);
	memcpy(u->body + u->len, bytes, len);
	u->len += len;
}

static void append_frame(struct upload *u, uint64_t seq, unsigned int frame)
{
	struct mkv_build b = {.len = 0};
	uint8_t head[4] = {0x81, (uint8_t)(frame * 100 >> 8),
			   (uint8_t)(frame * 100), frame ? 0 : MKV_BLOCK_KEY};
	size_t i;

	mkv_build_head(&b, MKV_ID_SIMPLE_BLOCK, 4, sizeof(head) + FRAME_BYTES);
	mkv_build_raw(&b, head, sizeof(head));
	append(u, b.bytes, b.len);
	assert_true(u->len + FRAME_BYTES <= BODY_BYTES_MAX);
	for (i = 0; i < FRAME_BYTES; i++)
		u->body[u->len++] = rig_byte(seq + frame, i);
}

static void build_body(struct upload *u)
{
	struct mkv_build header = {.len = 0};
	unsigned int i;
	unsigned int k;

	u->body = malloc(BODY_BYTES_MAX);
	assert_non_null(u->body);
	mkv_build_header(&header, 1);
	append(u, header.bytes, header.len);
	for (i = 0; i < FRAGMENTS; i++) {
		struct mkv_build b = {.len = 0};

		u->starts[i] = u->len;
		mkv_build_cluster(&b, i * 1000ull);
		append(u, b.bytes, b.len);
		for (k = 0; k < FRAMES; k++)
			append_frame(u, u->index * 1000u + i * 16u, k);
		u->ends[i] = u->len;
	}
}

/* --- what the ingest says --- */

static void on_ack(void *ctx, const struct ack *ack)
{
	struct upload *u = ctx;

	if (ack->event == ACK_ERROR)
		u->errors++;
	if (ack->event == ACK_RECEIVED) {
		assert_int_equal(ack->timecode_ms, 1000 * u->received);
		u->received++;
	}
	if (ack->event == ACK_PERSISTED) {
		/* One store commits a session's fragments in order. */
		assert_int_equal(ack->timecode_ms, 1000 * u->persisted);
		u->persisted++;
	}
}

static void on_view(void *ctx, unsigned int fragment,
		    const struct ingest_view *view)
{
	(void)ctx;
	(void)fragment;
	(void)view;
}

static void on_bytes(void *ctx, unsigned int fragment, const uint8_t *bytes,
		     size_t len)
{
	(void)ctx;
	(void)fragment;
	(void)bytes;
	(void)len;
}

static void on_boundary(void *ctx, unsigned int fragment, uint64_t media)
{
	(void)ctx;
	(void)fragment;
	(void)media;
}

static void on_end(void *ctx, unsigned int fragment, enum ingest_end how)
{
	(void)ctx;
	(void)fragment;
	assert_true(how == INGEST_WHOLE || how == INGEST_COMMITTED);
}

static void on_progress(void *ctx)
{
	(void)ctx;
}

static uint32_t on_random(void *ctx)
{
	(void)ctx;
	return 1;
}

static uint64_t on_next_seq(void *ctx)
{
	struct upload *u = ctx;
	struct store_stream s = rig_stream(u->index);

	return store_next_seq(u->rig->store, s.id);
}

static const struct ingest_ops ops = {
	.ack = on_ack,
	.begin = on_view,
	.timed = on_view,
	.bytes = on_bytes,
	.boundary = on_boundary,
	.end = on_end,
	.progress = on_progress,
	.random = on_random,
	.next_seq = on_next_seq,
};

/* --- the run --- */

static struct ingest_time at(const struct store_rig *rig)
{
	uint64_t now_ns = loop_now_ns(rig->loop);

	return (struct ingest_time){now_ns, WALL_MS + now_ns / NS_PER_MS};
}

/* All that its device has, until it is not taken any more. */
static void send_some(struct upload *u)
{
	while (u->taken < u->len && !ingest_blocked(u->in)) {
		size_t n = MIN(u->len - u->taken, (size_t)PIECE_BYTES);
		size_t used =
			ingest_feed(u->in, at(u->rig), u->body + u->taken, n);

		u->taken += used;
		u->waits += ingest_blocked(u->in);
	}
	if (u->taken == u->len && !u->finished)
		ingest_finish(u->in, at(u->rig));
	u->finished |= u->taken == u->len;
}

/* What was taken from devices and is not on the disk. */
static size_t in_memory(const struct upload *uploads)
{
	size_t total = 0;
	unsigned int i;

	for (i = 0; i < UPLOADS; i++) {
		const struct upload *u = &uploads[i];

		total += u->taken;
		if (u->persisted)
			total -= u->ends[u->persisted - 1];
	}
	return total;
}

static bool over(const struct upload *uploads)
{
	unsigned int i;

	for (i = 0; i < UPLOADS; i++) {
		if (!ingest_over(uploads[i].in))
			return false;
	}
	return true;
}

/* As timers do. One that is due again at once would spin. */
static uint64_t tick(struct store_rig *rig, struct upload *uploads)
{
	uint64_t now_ns = loop_now_ns(rig->loop);
	uint64_t at_ns = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < UPLOADS; i++) {
		struct ingest *in = uploads[i].in;

		if (ingest_deadline_ns(in) <= now_ns)
			ingest_tick(in, at(rig));
		assert_true(ingest_deadline_ns(in) > now_ns);
		at_ns = MIN(at_ns, ingest_deadline_ns(in));
	}
	return at_ns - now_ns;
}

/* Return: the most that was in memory. */
static size_t run(struct store_rig *rig, struct upload *uploads)
{
	size_t most = 0;
	unsigned int ticks = 0;
	unsigned int i;

	while (!over(uploads)) {
		assert_true(++ticks < TICKS_MAX);
		for (i = 0; i < UPLOADS; i++)
			send_some(&uploads[i]);
		most = MAX(most, in_memory(uploads));
		if (!over(uploads))
			assert_int_equal(
				loop_turn(rig->loop, tick(rig, uploads)), 0);
	}
	return most;
}

struct wait {
	struct store_op op;
	bool done;
	int res;
};

static void read_done(struct store_op *op, int res)
{
	struct wait *w = container_of(op, struct wait, op);

	w->res = res;
	w->done = true;
}

static void check_stored(struct store_rig *rig, const struct upload *u)
{
	static struct store_fragment rows[FRAGMENTS + 1];
	static uint8_t got[MEDIA_BYTES_MAX];
	struct store_stream s = rig_stream(u->index);
	unsigned int i;

	assert_int_equal(rig_list_all(rig, u->index, rows, FRAGMENTS + 1),
			 FRAGMENTS);
	for (i = 0; i < FRAGMENTS; i++) {
		struct wait w = {.op = {.done = read_done}};
		size_t len = u->ends[i] - u->starts[i];

		assert_int_equal(rows[i].media_bytes, len);
		store_read(rig->store, &s, &rows[i], rows[i].header_bytes, got,
			   len, &w.op);
		assert_int_equal(loop_fake_until(rig->loop, &w.done), 0);
		assert_int_equal(w.res, len);
		assert_memory_equal(got, u->body + u->starts[i], len);
	}
}

static void slow_disk_makes_producers_wait(void **state)
{
	struct loop_fake_config loop = {
		.seed = 7, .start_ns = NS_PER_S, .delay_ns_max = 40 * NS_PER_S};
	static struct upload uploads[UPLOADS];
	struct store_rig rig;
	size_t most;
	unsigned int i;

	(void)state;
	rig_init(&rig, &loop);
	assert_int_equal(rig_open(&rig), 0);
	for (i = 0; i < UPLOADS; i++) {
		struct ingest_config config = {.stream = rig_stream(i),
					       .store = rig.store,
					       .relative = true,
					       .producer_start_ms = WALL_MS,
					       .ops = &ops,
					       .ctx = &uploads[i]};

		uploads[i] = (struct upload){.rig = &rig, .index = i};
		build_body(&uploads[i]);
		assert_int_equal(ingest_new(&config, at(&rig), &uploads[i].in),
				 0);
	}
	most = run(&rig, uploads);
	/* Minutes, of which no one write was given more than one. */
	assert_true(loop_now_ns(rig.loop) > 4 * PUT_MEDIA_IDLE_NS_MAX);
	/* The buffers, and of each session its page and what it keeps. */
	assert_in_range(most, STORE_WRITE_BUFFER_BYTES,
			STORE_WRITE_BUFFERS * STORE_WRITE_BUFFER_BYTES +
				UPLOADS * (INGEST_PENDING_BYTES_MAX +
					   (64u << 10) + PIECE_BYTES));
	for (i = 0; i < UPLOADS; i++) {
		struct upload *u = &uploads[i];

		assert_int_equal(u->errors, 0);
		assert_true(u->waits > 0);
		assert_int_equal(u->received, FRAGMENTS);
		assert_int_equal(u->persisted, FRAGMENTS);
		check_stored(&rig, u);
		u->in = ingest_free(u->in);
		free(u->body);
	}
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_disk_makes_producers_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
