/* SPDX-License-Identifier: Apache-2.0 */
/* io/conn.c: what it keeps for handlers that are behind, and in what memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/conn.h"
#include "io/conn_int.h"
#include "support/conn_bench.h"

static void conn_holds_back_a_peer_when_nothing_is_taken(void **state)
{
	struct conn_bench *b = *state;
	struct iovec part = {malloc(CONN_BENCH_BULK_BYTES),
			     CONN_BENCH_BULK_BYTES};
	int turns;
	int offers;

	memset(part.iov_base, 3, CONN_BENCH_BULK_BYTES);
	bench_open(b);
	b->server.take = bench_take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	for (turns = 0; turns < 2000; turns++)
		assert_int_equal(loop_turn(b->loop, 0), 0);
	offers = b->server.offers;
	for (turns = 0; turns < 100; turns++)
		assert_int_equal(loop_turn(b->loop, 0), 0);
	assert_int_equal(b->server.offers, offers); /* it stopped */
	b->server.take = NULL;
	conn_resume(b->server.conn);
	while (buf_len(&b->server.got) < CONN_BENCH_BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	free(part.iov_base);
}

static void conn_counts_what_is_kept(void **state)
{
	struct conn_bench *b = *state;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES];

	b->server.wants = true;
	bench_lose_behind_kept(b, bytes);
	assert_true(b->loop->kept_bytes >= CONN_BENCH_BEHIND_BYTES);
	bench_turn_until_lost(b);
	b->server.take = NULL;
	conn_resume(b->server.conn);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->loop->kept_bytes, 0);
}

static size_t take_all_but_one(struct conn_side *s, const uint8_t *bytes,
			       size_t len)
{
	(void)s;
	(void)bytes;
	return len - 1;
}

static void conn_keeps_a_byte_in_little_memory(void **state)
{
	struct conn_bench *b = *state;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES] = {0};
	struct iovec part = {bytes, CONN_BENCH_BEHIND_BYTES};
	int turns;

	bench_open(b);
	b->server.take = take_all_but_one;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	bench_turn_until(b, &b->server.offers);
	bench_turn_until_kept(b, b->server.conn, 1);
	/* A part of the next record may be there before the rest of it. */
	for (turns = 0; turns < 1000 && b->loop->kept_bytes > 1024; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_true(b->loop->kept_bytes <= 1024);
	assert_int_equal(conn_kept(b->server.conn), 1);
}

/*
 * As if others kept all that may be kept: it waits with little, and with what
 * the turn brought in which it was seen.
 */
static void conn_keeps_little_where_all_keep_much(void **state)
{
	struct conn_bench *b = *state;
	struct iovec part = {malloc(CONN_BENCH_BULK_BYTES),
			     CONN_BENCH_BULK_BYTES};
	int turns;

	memset(part.iov_base, 3, CONN_BENCH_BULK_BYTES);
	bench_open(b);
	b->loop->kept_bytes += LOOP_KEPT_BYTES_MAX + 1;
	b->server.take = bench_take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	for (turns = 0; turns < 2000; turns++) {
		assert_int_equal(loop_turn(b->loop, 0), 0);
		assert_true(b->loop->kept_bytes <=
			    LOOP_KEPT_BYTES_MAX +
				    LOOP_RECV_BUFFERS * LOOP_RECV_BYTES +
				    (160u << 10));
	}
	b->server.take = NULL;
	conn_resume(b->server.conn);
	while (buf_len(&b->server.got) < CONN_BENCH_BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	b->loop->kept_bytes -= LOOP_KEPT_BYTES_MAX + 1;
	free(part.iov_base);
}

/* --- learning how it is sent to --- */

static struct loop_op *given; /* the receive that the test completes */
static int given_cancelled;

static void given_recv_many(struct loop *l, struct loop_op *op, int fd)
{
	(void)l;
	(void)fd;
	op->state = 1;
	given = op;
}

static void given_cancel(struct loop *l, struct loop_op *op)
{
	(void)l;
	given_cancelled += op == given;
}

/*
 * @bytes of the connection's own socket; NULL: @res instead, and it is over.
 * They are taken as they come: left there until they are enough, they might
 * fill the window before.
 */
static void give(struct conn *c, uint8_t *bytes, int res)
{
	if (bytes) {
		for (res = 0; res < (int)LOOP_RECV_BYTES;) {
			ssize_t n = recv(c->fd, bytes + res,
					 LOOP_RECV_BYTES - (size_t)res,
					 MSG_DONTWAIT);

			assert_true(n > 0 || errno == EAGAIN);
			res += (int)MAX(n, 0);
			if (n < 0)
				assert_int_equal(
					loop_turn(c->loop, 10 * NS_PER_MS), 0);
		}
		given->bytes = bytes;
	} else {
		given->state = 0;
	}
	given->done(given, res);
}

/* That the loop ran out of buffers says nothing of the peer. */
static void conn_goes_on_learning_when_the_loop_had_no_buffer(void **state)
{
	struct conn_bench *b = *state;
	const struct loop_ops *real = b->loop->ops;
	struct loop_ops ops = *real;
	struct iovec part = {calloc(1, CONN_BENCH_BULK_BYTES),
			     CONN_BENCH_BULK_BYTES};
	uint8_t bytes[LOOP_RECV_BYTES];
	struct conn *c;
	int i;

	bench_open(b);
	c = b->server.conn;
	ops.recv_many = given_recv_many;
	b->loop->ops = &ops;
	loop_cancel(b->loop, &c->recv_op);
	for (given = NULL; !given;)
		assert_int_equal(loop_turn(b->loop, 10 * NS_PER_MS), 0);
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	assert_int_equal(loop_turn(b->loop, 0), 0);
	ops.cancel = given_cancel;
	given_cancelled = 0;
	for (i = 0; i < 4; i++) {
		give(c, bytes, 0);
		give(c, NULL, -ENOBUFS);
		give(c, bytes, 0);
		assert_int_equal(given_cancelled, i == 3);
	}
	/* All were full: it receives into memory of its own now. */
	ops = *real;
	give(c, NULL, -ECANCELED);
	assert_true(c->recv_own);
	while (buf_len(&b->server.got) < CONN_BENCH_BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	b->loop->ops = real;
	free(part.iov_base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_CASE(conn_holds_back_a_peer_when_nothing_is_taken),
		BENCH_CASE(conn_counts_what_is_kept),
		BENCH_CASE(conn_keeps_a_byte_in_little_memory),
		BENCH_CASE(conn_keeps_little_where_all_keep_much),
		BENCH_CASE(conn_goes_on_learning_when_the_loop_had_no_buffer),
		BENCH_PLAIN(conn_holds_back_a_peer_when_nothing_is_taken),
		BENCH_PLAIN(conn_counts_what_is_kept),
		BENCH_PLAIN(conn_keeps_a_byte_in_little_memory),
		BENCH_PLAIN(conn_keeps_little_where_all_keep_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
