/* SPDX-License-Identifier: Apache-2.0 */
/* io/conn.c: what it carries, how it ends and how it moves. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
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

#include "base/sys.h"
#include "core/limits.h"
#include "io/conn.h"
#include "io/conn_int.h"
#include "io/loop_uring.h"
#include "support/conn_bench.h"

static void conn_carries_parts_in_order(void **state)
{
	struct conn_bench *b = *state;
	uint8_t *bulk = malloc(CONN_BENCH_BULK_BYTES);
	struct iovec parts[3];
	size_t i;

	bench_open(b);
	for (i = 0; i < CONN_BENCH_BULK_BYTES; i++)
		bulk[i] = (uint8_t)(i * 2654435761u >> 13);
	parts[0] = (struct iovec){bulk, 11};
	parts[1] = (struct iovec){bulk + 11, CONN_BENCH_BULK_BYTES - 14};
	parts[2] = (struct iovec){bulk + CONN_BENCH_BULK_BYTES - 3, 3};
	assert_int_equal(conn_write(b->client.conn, parts, 3), 0);
	while (buf_len(&b->server.got) < CONN_BENCH_BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	assert_memory_equal(buf_head(&b->server.got), bulk,
			    CONN_BENCH_BULK_BYTES);
	bench_turn_until(b, &b->client.drained);
	assert_int_equal(conn_backlog(b->client.conn), 0);
	free(bulk);
}

static void conn_close_delivers_what_was_written_first(void **state)
{
	struct conn_bench *b = *state;

	bench_open(b);
	bench_say(b->server.conn, "last words");
	conn_close(b->server.conn);
	bench_turn_until(b, &b->client.closed);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->client.got), 10);
	assert_int_equal(b->client.ended, 1);
	assert_int_equal(b->client.why, 0);
	assert_int_equal(b->server.why, 0);
}

/* A reset would destroy the words on their way. */
static void conn_close_reads_on_when_the_peer_still_sends(void **state)
{
	struct conn_bench *b = *state;
	struct iovec part = {malloc(CONN_BENCH_BULK_BYTES),
			     CONN_BENCH_BULK_BYTES};

	memset(part.iov_base, 7, CONN_BENCH_BULK_BYTES);
	bench_open(b);
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	bench_turn_until(b, &b->server.offers);
	bench_say(b->server.conn, "no more");
	conn_close(b->server.conn);
	bench_turn_until(b, &b->client.closed);
	assert_int_equal(buf_len(&b->client.got), 7);
	bench_turn_until(b, &b->server.closed);
	free(part.iov_base);
}

static void conn_reports_a_refused_connection(void **state)
{
	struct conn_bench *b = *state;

	b->port = 1; /* nobody listens there */
	bench_connect(b, "127.0.0.1");
	bench_turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -ECONNREFUSED);
}

static void conn_reports_a_name_that_does_not_resolve(void **state)
{
	struct conn_bench *b = *state;

	bench_connect(b, "nowhere.invalid");
	bench_turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -EHOSTUNREACH);
}

static void conn_deadline_ends_a_silent_handshake(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	struct conn_bench *b = *state;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(b->port);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	bench_turn_until(b, &b->accepted);
	conn_deadline(b->server.conn, loop_now_ns(b->loop) + 1);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ETIMEDOUT);
	(void)close(fd);
}

static void conn_uses_what_came_before_a_reset(void **state)
{
	struct conn_bench *b = *state;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES];
	struct iovec part = {bytes, 1};

	b->server.wants = true;
	bench_lose_behind_kept(b, bytes);
	bench_turn_until_lost(b);
	assert_int_equal(conn_write(b->server.conn, &part, 1), -EPIPE);
	b->server.take = NULL;
	conn_resume(b->server.conn);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), CONN_BENCH_BEHIND_BYTES);
	assert_memory_equal(buf_head(&b->server.got), bytes,
			    CONN_BENCH_BEHIND_BYTES);
	assert_int_equal(b->server.why, -ECONNRESET);
	assert_int_equal(b->server.ended, 0);
}

static void conn_ends_at_a_reset_when_nothing_is_wanted(void **state)
{
	struct conn_bench *b = *state;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES];

	bench_lose_behind_kept(b, bytes);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ECONNRESET);
	assert_int_equal(buf_len(&b->server.got), 0);
}

/* Nobody takes what is left: it does not stay for ever. */
static void conn_waits_a_bounded_time_after_a_reset(void **state)
{
	struct conn_bench *b = *state;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES];

	b->server.wants = true;
	bench_lose_behind_kept(b, bytes);
	bench_turn_until_lost(b);
	assert_true(loop_timer_armed(&b->server.conn->timer));
	b->server.conn->stall_ns = 1; /* as if that time had passed */
	assert_int_equal(loop_timer_set(b->loop, &b->server.conn->timer, 1,
					b->server.conn->timer.fired),
			 0);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ECONNRESET);
}

/* Sending fails first; what has arrived is still there to be received. */
static void conn_uses_what_came_before_sending_failed(void **state)
{
	struct conn_bench *b = *state;
	struct conn *c;
	uint8_t bytes[CONN_BENCH_BEHIND_BYTES];
	struct iovec part = {bytes, CONN_BENCH_BEHIND_BYTES};

	memset(bytes, 5, sizeof(bytes));
	bench_open(b);
	b->server.wants = true;
	b->server.take = bench_take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	bench_turn_until_kept(b, b->server.conn, CONN_BENCH_BEHIND_BYTES);
	c = b->server.conn;
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	assert_int_equal(conn_write(c, &part, 1), 0);
	bench_turn_until_lost(b);
	assert_int_equal(conn_backlog(c), 0);
	b->server.take = NULL;
	conn_resume(c);
	conn_close(b->client.conn);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), CONN_BENCH_BEHIND_BYTES);
	assert_int_equal(b->server.why, -EPIPE);
}

static void *run_loop(void *arg)
{
	(void)!loop_run(arg);
	return NULL;
}

static void stop_run(struct loop_task *task);

struct stopper {
	struct loop_task task;
	struct loop *loop;
};

static void stop_run(struct loop_task *task)
{
	loop_stop(container_of(task, struct stopper, task)->loop);
}

static void conn_moves_to_another_thread_with_its_bytes(void **state)
{
	struct conn_bench *b = *state;
	struct stopper stop = {.task = {.run = stop_run}};
	struct loop *other;
	pthread_t thread;

	assert_int_equal(loop_uring_new(sys_posix(), 64, &other), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, other), 0);
	bench_open(b);
	b->server.move_to = other;
	b->server.echo = true;
	bench_say(b->client.conn, "take me along");
	while (buf_len(&b->client.got) < 13)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	assert_memory_equal(buf_head(&b->client.got), "take me along", 13);
	conn_close(b->client.conn);
	bench_turn_until(b, &b->client.closed);
	while (__atomic_load_n(&b->server.conn, __ATOMIC_ACQUIRE))
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	assert_true(pthread_equal(b->server.arrived_on, thread));
	stop.loop = other;
	loop_post(other, &stop.task);
	(void)pthread_join(thread, NULL);
	(void)loop_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_CASE(conn_carries_parts_in_order),
		BENCH_CASE(conn_close_delivers_what_was_written_first),
		BENCH_CASE(conn_close_reads_on_when_the_peer_still_sends),
		BENCH_CASE(conn_reports_a_refused_connection),
		BENCH_CASE(conn_reports_a_name_that_does_not_resolve),
		BENCH_CASE(conn_deadline_ends_a_silent_handshake),
		BENCH_CASE(conn_moves_to_another_thread_with_its_bytes),
		BENCH_CASE(conn_uses_what_came_before_a_reset),
		BENCH_CASE(conn_ends_at_a_reset_when_nothing_is_wanted),
		BENCH_CASE(conn_waits_a_bounded_time_after_a_reset),
		BENCH_CASE(conn_uses_what_came_before_sending_failed),
		BENCH_PLAIN(conn_carries_parts_in_order),
		BENCH_PLAIN(conn_close_delivers_what_was_written_first),
		BENCH_PLAIN(conn_close_reads_on_when_the_peer_still_sends),
		BENCH_PLAIN(conn_moves_to_another_thread_with_its_bytes),
		BENCH_PLAIN(conn_uses_what_came_before_a_reset),
		BENCH_PLAIN(conn_ends_at_a_reset_when_nothing_is_wanted),
		BENCH_PLAIN(conn_waits_a_bounded_time_after_a_reset),
		BENCH_PLAIN(conn_uses_what_came_before_sending_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
