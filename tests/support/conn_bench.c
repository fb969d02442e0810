/* SPDX-License-Identifier: Apache-2.0 */
#include "support/conn_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sys.h"
#include "core/limits.h"
#include "io/conn_int.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "support/test_cert.h"

static void side_ready(struct conn *c, void *ctx)
{
	struct conn_side *s = ctx;

	(void)c;
	s->ready++;
}

static void side_arrived(struct conn *c, void *ctx)
{
	struct conn_side *s = ctx;

	(void)c;
	s->arrived_on = pthread_self();
	s->arrived++;
}

static size_t side_data(struct conn *c, void *ctx, const uint8_t *bytes,
			size_t len)
{
	struct conn_side *s = ctx;

	s->offers++;
	if (s->move_to && !s->arrived) {
		assert_int_equal(conn_move(c, s->move_to, side_arrived), 0);
		return 0;
	}
	if (s->take)
		return s->take(s, bytes, len);
	assert_int_equal(buf_add(&s->got, bytes, len), 0);
	if (s->echo) {
		struct iovec part = {(void *)(uintptr_t)bytes, len};

		assert_int_equal(conn_write(c, &part, 1), 0);
	}
	return len;
}

static void side_drained(struct conn *c, void *ctx)
{
	struct conn_side *s = ctx;

	(void)c;
	s->drained++;
}

static void side_ended(struct conn *c, void *ctx)
{
	struct conn_side *s = ctx;

	s->ended++;
	conn_close(c);
}

static bool side_wants(const struct conn *c, void *ctx)
{
	struct conn_side *s = ctx;

	(void)c;
	return s->wants;
}

static void side_closed(struct conn *c, void *ctx, int why)
{
	struct conn_side *s = ctx;

	s->closed++;
	s->why = why;
	(void)snprintf(s->reason, sizeof(s->reason), "%s", conn_reason(c));
	(void)conn_free(c);
	/* A test may watch for it from another thread. */
	__atomic_store_n(&s->conn, NULL, __ATOMIC_RELEASE);
}

static const struct conn_handler handler = {
	.ready = side_ready,
	.data = side_data,
	.drained = side_drained,
	.ended = side_ended,
	.wants = side_wants,
	.closed = side_closed,
};

static void accept_done(struct loop_op *op, int res)
{
	struct conn_bench *b = container_of(op, struct conn_bench, accept_op);

	if (res < 0)
		return;
	assert_int_equal(conn_new_server(b->loop, sys_posix(), b->server_tls,
					 res, &handler, &b->server,
					 &b->server.conn),
			 0);
	b->accepted++;
}

void bench_turn_until(struct conn_bench *b, const int *counter)
{
	int turns;

	for (turns = 0; turns < 100000 && !*counter; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_true(*counter);
}

int bench_setup(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	struct conn_bench *b = calloc(1, sizeof(*b));
	char cert[64];
	char key[64];

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/kvsd-conn-XXXXXX");
	if (!mkdtemp(b->dir))
		return -1;
	test_cert_write(b->dir, "IP:127.0.0.1");
	(void)snprintf(cert, sizeof(cert), "%s/cert.pem", b->dir);
	(void)snprintf(key, sizeof(key), "%s/key.pem", b->dir);
	assert_int_equal(tls_ctx_new_server(cert, key, &b->server_tls), 0);
	assert_int_equal(tls_ctx_new_client(cert, &b->client_tls), 0);
	assert_int_equal(loop_uring_new(sys_posix(), 64, &b->loop), 0);
	b->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(b->listen_fd, 8), 0);
	assert_int_equal(
		getsockname(b->listen_fd, (struct sockaddr *)&addr, &len), 0);
	b->port = ntohs(addr.sin_port);
	buf_init(&b->server.got, 2 * CONN_BENCH_BULK_BYTES);
	buf_init(&b->client.got, 2 * CONN_BENCH_BULK_BYTES);
	loop_accept(b->loop, &b->accept_op, b->listen_fd, accept_done);
	*state = b;
	return 0;
}

int bench_setup_plain(void **state)
{
	struct conn_bench *b;
	int r = bench_setup(state);

	if (r < 0)
		return r;
	b = *state;
	loop_uring_recv_plain(b->loop);
	return 0;
}

int bench_teardown(void **state)
{
	struct conn_bench *b = *state;
	char path[64];
	int turns;

	if (b->server.conn)
		conn_abort(b->server.conn, -ECANCELED);
	if (b->client.conn)
		conn_abort(b->client.conn, -ECANCELED);
	loop_cancel(b->loop, &b->accept_op);
	for (turns = 0; turns < 1000; turns++) {
		if (!b->server.conn && !b->client.conn &&
		    !loop_op_busy(&b->accept_op))
			break;
		(void)!loop_turn(b->loop, 10 * NS_PER_MS);
	}
	(void)loop_free(b->loop);
	(void)close(b->listen_fd);
	(void)tls_ctx_free(b->server_tls);
	(void)tls_ctx_free(b->client_tls);
	buf_fini(&b->server.got);
	buf_fini(&b->client.got);
	(void)snprintf(path, sizeof(path), "%s/cert.pem", b->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", b->dir);
	(void)unlink(path);
	(void)rmdir(b->dir);
	free(b);
	return 0;
}

void bench_connect(struct conn_bench *b, const char *host)
{
	assert_int_equal(conn_new_client(b->loop, sys_posix(), b->client_tls,
					 host, b->port, &handler, &b->client,
					 &b->client.conn),
			 0);
}

void bench_open(struct conn_bench *b)
{
	bench_connect(b, "127.0.0.1");
	bench_turn_until(b, &b->client.ready);
	bench_turn_until(b, &b->server.ready);
}

void bench_say(struct conn *c, const char *text)
{
	struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

	assert_int_equal(conn_write(c, &part, 1), 0);
}

size_t bench_take_nothing(struct conn_side *s, const uint8_t *bytes, size_t len)
{
	(void)s;
	(void)bytes;
	(void)len;
	return 0;
}

void bench_turn_until_kept(struct conn_bench *b, struct conn *c, size_t bytes)
{
	int turns;

	for (turns = 0; turns < 100000 && conn_kept(c) < bytes; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_int_equal(conn_kept(c), bytes);
}

/* Its end comes as a reset. */
static void reset_client(struct conn_bench *b)
{
	const struct linger hard = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(b->client.conn->fd, SOL_SOCKET, SO_LINGER,
				    &hard, sizeof(hard)),
			 0);
	conn_abort(b->client.conn, -ECANCELED);
	bench_turn_until(b, &b->client.closed);
}

void bench_lose_behind_kept(struct conn_bench *b, uint8_t *bytes)
{
	struct iovec part = {bytes, CONN_BENCH_BEHIND_BYTES};
	size_t i;

	for (i = 0; i < CONN_BENCH_BEHIND_BYTES; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	bench_open(b);
	b->server.take = bench_take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	bench_turn_until_kept(b, b->server.conn, CONN_BENCH_BEHIND_BYTES);
	reset_client(b);
}

void bench_turn_until_lost(struct conn_bench *b)
{
	int turns;

	for (turns = 0; turns < 100000 && !b->server.closed; turns++) {
		if (conn_lost(b->server.conn))
			return;
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	}
	fail_msg("it was closed before its bytes were used");
}
